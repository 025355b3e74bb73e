/*
 * The way forward and back through teacher and fine students over a batch of pairs
 * (docs/networks/teacher.md). The loss is the caller's: it turns scores into derivatives of scores.
 *
 *     dns_visil_forward(trainer, &batch, scores, &penalty);
 *     loss = dns_loss_l1(dscores, scores, teacher, n_pairs) + r * penalty;
 *     dns_parameters_zero_gradients(p);
 *     dns_visil_backward(trainer, &batch, dscores, r);
 *     dns_adam_step(p, &adam, rate, step, pool);
 *     dns_visil_project(net);
 *
 * Results are the same for any number of threads.
 */
#ifndef DNSEL_VISIL_TRAINING_H
#define DNSEL_VISIL_TRAINING_H

#include "dnsel/visil.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct dns_visil_trainer dns_visil_trainer;

/* What stands for the sign in training: smooth codes erf(z / sqrt(2 sigma)), or signs and
 * straight-through gradients. */
typedef struct dns_visil_codes {
    double sigma;            /* > 0: smooth codes; published 1e-6 */
    double straight_through; /* with sigma 0: gradients pass where |z| is below this */
} dns_visil_codes;

/* `net` (made for training) and `pool` are borrowed. Errors: DNS_ERR_ARG for a net without
 * gradients. */
DNS_API DNS_MUST_CHECK dns_status dns_visil_trainer_create(dns_visil_trainer **out, dns_visil *net,
                                                           const dns_visil_codes *codes,
                                                           dns_pool *pool);
DNS_API void dns_visil_trainer_free(dns_visil_trainer *trainer);

typedef struct dns_visil_pair {
    size_t query, target; /* numbers of videos */
} dns_visil_pair;

/*
 * Videos and the pairs of them that are compared. `padded_frames` is the common length of a padded
 * batch, at least the longest: pairs are then compared as if every video were padded to it and
 * masked, as the published training does. With 0 every pair is compared at its own size, as in use.
 * The two differ only in videos whose length is no multiple of 4, and in the penalty of padded
 * cells. Edge padding (teacher) has no masks: there padded_frames must be 0.
 */
typedef struct dns_visil_batch {
    const dns_real
        *x; /* [sum of n_frames, n_regions, dim]: real frames only, one video behind the other */
    const size_t *n_frames; /* [n_videos], at least 4 when padded_frames is 0 */
    size_t n_videos, n_regions, padded_frames;
    const dns_visil_pair *pairs;
    size_t n_pairs;
} dns_visil_batch;

/* scores [n_pairs] in [-1, 1]; *penalty = the range regulariser, summed over all cells of all
 * comparator maps, those of padding too (docs/networks/teacher.md). Errors: DNS_ERR_SHAPE,
 * DNS_ERR_ARG for a batch that contradicts itself. */
DNS_API DNS_MUST_CHECK dns_status dns_visil_forward(dns_visil_trainer *trainer,
                                                    const dns_visil_batch *batch, dns_real *scores,
                                                    double *penalty);

/* Adds to the net's gradients those of sum(dscores * scores) + penalty_weight * penalty. `batch` is
 * that of the last forward call, unchanged. */
DNS_API DNS_MUST_CHECK dns_status dns_visil_backward(dns_visil_trainer *trainer,
                                                     const dns_visil_batch *batch,
                                                     const dns_real *dscores,
                                                     double penalty_weight);

#ifdef __cplusplus
}
#endif

#endif
