/*
 * Training the tail of a backbone on edited copies, without labels (docs/training.md): two views
 * of one picture shall be nearer to each other than to the views of all other pictures of the
 * batch.
 *
 *     loss = (InfoNCE(S(a, b)) + InfoNCE(S(b, a))) / 2,   S(a, b)[i, j] = 1/9 sum_o max_p <a_io,
 * b_jp>
 *
 * Everything in front of the tail is computed once a view and kept in half precision, so a step is
 * only the tail.
 */
#ifndef DNSEL_TAIL_TRAINING_H
#define DNSEL_TAIL_TRAINING_H

#include "dnsel/backbone_split.h"
#include "dnsel/progress.h"
#include "dnsel/whitening.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ---- views ---- */

/* Draws view `view` of a picture, RGB [size][size][3]; view 0 is the picture as it is, others are
 * edited copies. Called from several threads; the same arguments must give the same bytes. */
typedef dns_status (*dns_view_maker)(void *payload, uint8_t *frame, size_t picture, size_t view,
                                     size_t worker);

/* What the tail reads of all views of all pictures: [n_pictures][n_views], about 38 KB each for
 * EfficientNet-Lite0. */
typedef struct dns_tail_views dns_tail_views;

/* `scenes` [n_pictures] says which pictures are of one scene: never negatives of each other.
 * Copied. */
DNS_API DNS_MUST_CHECK dns_status dns_tail_views_create(dns_tail_views **out,
                                                        const dns_backbone_front *front,
                                                        const size_t *scenes, size_t n_pictures,
                                                        size_t n_views);
DNS_API void dns_tail_views_free(dns_tail_views *views);

/* Makes all views. `progress` and `cancel` may be NULL. */
DNS_API DNS_MUST_CHECK dns_status dns_tail_views_fill(
    dns_tail_views *views, const dns_backbone_front *front, size_t frame_bytes, dns_view_maker make,
    void *payload, dns_pool *pool, const dns_progress *progress, dns_cancel *cancel);

/* ---- training ---- */

typedef struct dns_tail_training_options {
    size_t runs;         /* trainings from the same start, with seeds `seed`, `seed` + 1, ... */
    double stride;       /* weights become start + stride * (mean over the runs - start) */
    size_t steps, batch; /* of one run; pictures of distinct scenes a step */
    double rate, weight_decay, tau;
    size_t warm_up;
    size_t
        cluster; /* pictures of a batch come in groups of so many near neighbours; 1: at random */
    uint64_t seed;
    const char *checkpoint; /* file, and FILE.1, ... of further runs; NULL: none. Found there,
                               training goes on from it with the same result */
    size_t checkpoint_every;
    dns_progress progress;
    dns_cancel *cancel;
    void *payload;
    void (*report)(void *payload, size_t step, double loss,
                   double gradient_norm); /* after each step, counted over all runs; may be NULL */
} dns_tail_training_options;

/* One run, stride 1, of 300 steps of 48 pictures, rate 3e-4, weight decay 1e-2, tau 0.05, cosine to
 * 0. */
DNS_API dns_tail_training_options dns_tail_training_options_default(void);

/* Trains `net`, made with training, its whitening set, on all views. The same options give the same
 * weights for any number of threads, interrupted and resumed or not. DNS_ERR_CANCELLED after saving
 * a checkpoint; DNS_ERR_ARG for no runs, or fewer scenes than a batch needs; DNS_ERR_MODEL for a
 * checkpoint of another training. */
DNS_API DNS_MUST_CHECK dns_status dns_tail_train(dns_backbone_tail *net,
                                                 const dns_tail_views *views,
                                                 const dns_tail_training_options *options,
                                                 dns_pool *pool);

/* *out = whitening to `out_dim`, learnt from the joined vectors that the tail gives for all views:
 * to be fitted anew after training. */
DNS_API DNS_MUST_CHECK dns_status dns_tail_fit_whitening(dns_whitening **out,
                                                         dns_backbone_tail *net,
                                                         const dns_tail_views *views,
                                                         size_t out_dim, dns_pool *pool);

/* Region vectors [n][9][out] of one view of each of the pictures `from` to `from + n - 1`. */
DNS_API DNS_MUST_CHECK dns_status dns_tail_embed(dns_backbone_tail *net, float *regions,
                                                 const dns_tail_views *views, size_t from, size_t n,
                                                 size_t view, dns_pool *pool);

#ifdef __cplusplus
}
#endif

#endif
