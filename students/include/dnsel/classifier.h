/*
 * A classifier over vectors that the index already has: standardisation, one hidden layer with
 * ReLU, K outputs (docs/classifier.md). Teacher and student of dnsel/cpfd.h are both of this kind;
 * they differ in what they are shown.
 */
#ifndef DNSEL_CLASSIFIER_H
#define DNSEL_CLASSIFIER_H

#include "dnsel/labelled_rows.h"
#include "dnsel/model.h"
#include "dnsel/pool.h"
#include "dnsel/progress.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Immutable once trained or opened; shared freely between threads. */
typedef struct dns_classifier dns_classifier;

/* What it reads and answers. */
typedef struct dns_classifier_shape {
    dns_label_task task;
    size_t dim, n_labels;
    const char *const *labels; /* [n_labels] */
    const char *origin;        /* of what it reads, dnsel/labelled_rows.h; NULL: not known */
} dns_classifier_shape;

/* How it is trained: Adam with decoupled weight decay, the rate falling to 0 along a half cosine,
 * He's first weights. First weights and the order of rows follow from `seed` and the sizes alone,
 * so that two trainings that differ in targets only are paired. */
typedef struct dns_classifier_plan {
    size_t hidden, epochs, batch;
    double rate, weight_decay;
    uint64_t seed;
    dns_cancel *cancel; /* looked at before each batch; NULL: never */
} dns_classifier_plan;

#define DNS_CLASSIFIER_PLAN_INIT                                                                \
    {                                                                                           \
        .hidden = 256, .epochs = 25, .batch = 64, .rate = 2e-3, .weight_decay = 1e-2, .seed = 0 \
    }

/* One term of the loss, for n rows: probabilities to be matched, how much each row counts (at K
 * sigmoids: each row and label), and the temperature by which logits are divided. */
typedef struct dns_soft_targets {
    const float *targets; /* [n, n_labels] */
    const float *weights; /* [n]; for tags [n, n_labels] */
    double temperature;
} dns_soft_targets;

/* *loss = 1/n sum_i weights[i] * CE(targets[i], softmax(logits[i] / temperature)), for tags the
 * binary cross-entropy summed over labels; its gradient on the logits is added to dlogits [n,
 * n_labels]. */
DNS_API void dns_soft_loss(double *loss, float *dlogits, const float *logits,
                           const dns_soft_targets *term, dns_label_task task, size_t n,
                           size_t n_labels);

/* *out = a classifier trained on x [n, dim]. A feature that is NaN is missing: it counts as the
 * mean. Mean and deviation come from the rows for which standardised[i] is not 0 (NULL: all). The
 * loss is the sum of the terms. Errors: DNS_ERR_ARG (a size, rate or number of terms of 0),
 * DNS_ERR_RANGE (infinite features or targets: a gradient that is not finite), DNS_ERR_CANCELLED,
 * DNS_ERR_NOMEM. */
DNS_API DNS_MUST_CHECK dns_status
dns_classifier_train(dns_classifier **out, const dns_classifier_shape *shape,
                     const dns_classifier_plan *plan, const float *x, size_t n,
                     const uint8_t *standardised, const dns_soft_targets *terms, size_t n_terms);

DNS_API void dns_classifier_free(dns_classifier *classifier);

/* A .cpm file: safetensors with the metadata of the shape; no file of privileged features or of a
 * teacher is needed to use it. Errors of opening: those of safetensors, DNS_ERR_FORMAT when it is
 * another kind of file, DNS_ERR_VERSION, DNS_ERR_CORRUPT also for weights that are not finite. */
DNS_API DNS_MUST_CHECK dns_status dns_classifier_open(dns_classifier **out, const char *path);
DNS_API DNS_MUST_CHECK dns_status dns_classifier_save(const dns_classifier *classifier,
                                                      const char *path);

/* The same as the section "classifier" of a model, which does not count for the model's digest:
 * what was indexed with it stays valid. Errors: DNS_ERR_UNSUPPORTED when the model has none,
 * otherwise those of dns_classifier_open and of dns_model_edit_apply. */
DNS_API DNS_MUST_CHECK dns_status dns_classifier_from_model(dns_classifier **out,
                                                            const dns_model *model);
DNS_API DNS_MUST_CHECK dns_status dns_classifier_install(const dns_classifier *classifier,
                                                         const char *directory);

/* Borrowed. */
DNS_API const dns_classifier_shape *dns_classifier_shape_of(const dns_classifier *classifier);
DNS_API size_t dns_classifier_hidden(const dns_classifier *classifier);
/* Bytes of its numbers. */
DNS_API size_t dns_classifier_bytes(const dns_classifier *classifier);

/* Probability above which a tag is given: [n_labels], 0.5 at first. */
DNS_API const float *dns_classifier_thresholds(const dns_classifier *classifier);
/* Before it is shared. DNS_ERR_RANGE unless all lie in [0, 1]. */
DNS_API DNS_MUST_CHECK dns_status dns_classifier_set_thresholds(dns_classifier *classifier,
                                                                const float *thresholds);

/* logits [n, n_labels] of x [n, dim]; probabilities likewise. Independent of the number of threads.
 * DNS_ERR_NOMEM. */
DNS_API DNS_MUST_CHECK dns_status dns_classifier_logits(float *logits,
                                                        const dns_classifier *classifier,
                                                        const float *x, size_t n, dns_pool *pool);
DNS_API DNS_MUST_CHECK dns_status dns_classifier_predict(float *probabilities,
                                                         const dns_classifier *classifier,
                                                         const float *x, size_t n, dns_pool *pool);

/* In place: probabilities of logits / temperature. */
DNS_API void dns_label_probabilities(float *logits, dns_label_task task, size_t n, size_t n_labels,
                                     double temperature);

#ifdef __cplusplus
}
#endif

#endif
