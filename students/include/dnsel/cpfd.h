/*
 * Confidence-aware privileged feature distillation: a teacher that sees features which exist only
 * in training teaches a student that does not, row by row as far as it is sure (CPFD, CIKM 2024;
 * the public text gives no formula: what is reconstructed here is told in docs/classifier.md and
 * docs/classifier.md).
 *
 *     w_i = alpha * c_i^gamma                                    c_i: how sure the teacher is
 *     L   = 1/N sum_i [ lab_i (1 - w_i) CE(y_i, p_s)  +  w_i T^2 CE(p_t, p_s) ]
 *
 *     dns_cpfd_create(&cpfd, rows, &options, pool);      cross-fits the teachers
 *     dns_cpfd_student(&student, cpfd, &how, &plan);     as often as wanted
 */
#ifndef DNSEL_CPFD_H
#define DNSEL_CPFD_H

#include "dnsel/classifier.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef enum dns_cpfd_method {
    DNS_CPFD_BASE, /* labels alone: w = 0 */
    DNS_CPFD_SELF, /* a teacher without privileged features, w = alpha */
    DNS_CPFD_PFD,  /* privileged teacher, w = alpha */
    DNS_CPFD_CPFD  /* privileged teacher, w = alpha c^gamma */
} dns_cpfd_method;

/* How sure the teacher is, from its probabilities p; in [0, 1]. For tags of each label, with (p, 1
 * - p). */
typedef enum dns_confidence_kind {
    DNS_CONFIDENCE_ENTROPY, /* 1 - H(p) / log K */
    DNS_CONFIDENCE_MAX,     /* largest p */
    DNS_CONFIDENCE_MARGIN,  /* largest minus second */
    DNS_CONFIDENCE_LABEL,   /* p of the true label; the largest p where there is none */
    DNS_CONFIDENCE_GATE     /* 1 when the largest p exceeds the threshold, otherwise 0 */
} dns_confidence_kind;

typedef struct dns_confidence {
    dns_confidence_kind kind;
    double threshold; /* of the gate */
} dns_confidence;

/* "entropy", "max", "margin", "label", "gate:0.9". DNS_ERR_ARG for others. */
DNS_API DNS_MUST_CHECK dns_status dns_confidence_parse(dns_confidence *out, const char *text);

/* c [n], for tags [n, n_labels], of p [n, n_labels]. y and labelled are read for
 * DNS_CONFIDENCE_LABEL only. */
DNS_API void dns_confidence_measure(float *c, const dns_confidence *how, const float *p,
                                    const float *y, const uint8_t *labelled, dns_label_task task,
                                    size_t n, size_t n_labels);

/* The folded targets of T = 1, where both terms of L are one cross-entropy: g [n, n_labels] and
 * weights W, from teacher's p and w (W and w [n], for tags [n, n_labels]):
 *     W = lab (1 - w) + w,  g = (lab (1 - w) y + w p) / W.  */
DNS_API void dns_cpfd_fold(float *g, float *weights, const float *w, const float *p,
                           const dns_labelled_rows *rows);

typedef struct dns_cpfd_options {
    size_t folds;
    dns_classifier_plan teacher;  /* its seed also deals the rows to folds */
    const dns_progress *progress; /* told of each "teachers" trained; NULL: nobody */
} dns_cpfd_options;

#define DNS_CPFD_OPTIONS_INIT    \
    {                            \
        .folds = 5, .teacher = { \
            .hidden = 256,       \
            .epochs = 100,       \
            .batch = 32,         \
            .rate = 2e-3,        \
            .weight_decay = 1e-2 \
        }                        \
    }

/* Rows, borrowed, with what their teachers say of them. */
typedef struct dns_cpfd dns_cpfd;

/* Trains, for the privileged teacher (where rows have privileged blocks) and for the one without:
 * a network a fold, which scores the labelled rows it has not seen, and one on all labelled rows,
 * which scores the others. Networks are trained side by side on the pool; the result does not
 * depend on it. Errors: those of dns_labelled_rows_check and dns_labelled_rows_deal;
 * DNS_ERR_CANCELLED. */
DNS_API DNS_MUST_CHECK dns_status dns_cpfd_create(dns_cpfd **out, const dns_labelled_rows *rows,
                                                  const dns_cpfd_options *options, dns_pool *pool);
DNS_API void dns_cpfd_free(dns_cpfd *cpfd);

/* Borrowed: logits [n, n_labels] of the privileged teacher (else of the one without); the fold [n]
 * each row was held out of, SIZE_MAX where there is no label. */
DNS_API const float *dns_cpfd_teacher_logits(const dns_cpfd *cpfd, bool privileged);
DNS_API const size_t *dns_cpfd_folds(const dns_cpfd *cpfd);
/* The network trained on all labelled rows; NULL without privileged blocks. */
DNS_API const dns_classifier *dns_cpfd_teacher(const dns_cpfd *cpfd);

/* What a teacher reads: [x ; privileged ; presence bits] of each row, missing blocks as NaN.
 * *out [n, *width], to be freed with dns_free. */
DNS_API DNS_MUST_CHECK dns_status dns_cpfd_teacher_input(float **out, size_t *width,
                                                         const dns_labelled_rows *rows);

/* How a student is taught. */
typedef struct dns_cpfd_student_options {
    dns_cpfd_method method;
    dns_confidence confidence;
    double alpha, gamma, temperature;
    bool shuffled; /* a control: confidences dealt to rows at random */
} dns_cpfd_student_options;

#define DNS_CPFD_STUDENT_INIT                                                           \
    {                                                                                   \
        .method = DNS_CPFD_CPFD, .confidence = {DNS_CONFIDENCE_ENTROPY, 0}, .alpha = 1, \
        .gamma = 2, .temperature = 1                                                    \
    }

/* Errors: DNS_ERR_ARG unless 0 <= alpha <= 1, gamma >= 0, temperature > 0; also for PFD and CPFD
 * without privileged blocks. May run on several threads at once. */
DNS_API DNS_MUST_CHECK dns_status dns_cpfd_student(dns_classifier **out, const dns_cpfd *cpfd,
                                                   const dns_cpfd_student_options *how,
                                                   const dns_classifier_plan *plan);

/* What can be known before any student is trained, from rows scored by networks that had not seen
 * them (docs/classifier.md). */
typedef struct dns_teacher_diagnosis {
    double macro_f1, accuracy;    /* of the privileged teacher */
    double base_macro_f1;         /* without privileged features */
    double auroc;                 /* of confidence against being right */
    double calibration_error;     /* of the largest probability */
    double confidence;            /* mean */
    double *presence_correlation; /* [n_blocks] of confidence with the presence bit; 0 where the
                                     bit never changes */
    size_t n_blocks;
    bool worthwhile; /* auroc >= 0.65 and macro_f1 > base_macro_f1 */
} dns_teacher_diagnosis;

/* DNS_ERR_ARG without privileged blocks. Free with dns_teacher_diagnosis_free. */
DNS_API DNS_MUST_CHECK dns_status dns_cpfd_diagnose(dns_teacher_diagnosis *out,
                                                    const dns_cpfd *cpfd,
                                                    const dns_confidence *confidence);
DNS_API void dns_teacher_diagnosis_free(dns_teacher_diagnosis *diagnosis);

#ifdef __cplusplus
}
#endif

#endif
