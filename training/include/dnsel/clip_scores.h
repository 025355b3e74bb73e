/*
 * Scores of clips of a training set (dnsel/training_set.h): every query with every target, finely
 * by a network or without one, and coarsely. What validation, calibration and distillation read.
 */
#ifndef DNSEL_CLIP_SCORES_H
#define DNSEL_CLIP_SCORES_H

#include "dnsel/coarse_training.h"
#include "dnsel/progress.h"
#include "dnsel/selector.h"
#include "dnsel/training_set.h"
#include "dnsel/visil.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Some clips of a list. */
typedef struct dns_clip_range {
    const dns_training_set *set;
    const dns_clips *clips;
    size_t first, n;
} dns_clip_range;

/* How two clips are compared finely. */
typedef struct dns_fine_comparison {
    const dns_visil *net;     /* NULL: region vectors themselves, by the rule */
    dns_similarity_rule rule; /* without a net; chamfer or same */
    const float *codes;       /* without a net: [D, n_bits], region vectors x become the signs of
                                 x codes; NULL: floats */
    size_t n_bits;            /* a multiple of 64 */
} dns_fine_comparison;

/* scores [queries.n, targets.n] in [-1, 1], each clip extended to at least 4 frames. Targets are
 * kept in memory in half precision or as codes, queries are read one a thread. The same for any
 * number of threads. Errors: DNS_ERR_ARG
 * for an empty clip; DNS_ERR_SHAPE; DNS_ERR_CANCELLED. `cancel` may be NULL. */
DNS_API DNS_MUST_CHECK dns_status dns_clip_fine_scores(float *scores, dns_clip_range queries,
                                                       dns_clip_range targets,
                                                       const dns_fine_comparison *how,
                                                       dns_pool *pool, dns_cancel *cancel);

/* The same in every direction at once, whatever the rule says: scores[d] [queries.n, targets.n] for
 * each dns_direction d. Targets of more than 2048 frames are scored by their last chunk. */
DNS_API DNS_MUST_CHECK dns_status dns_clip_direction_scores(float *const scores[DNS_DIRECTIONS],
                                                            dns_clip_range queries,
                                                            dns_clip_range targets,
                                                            const dns_fine_comparison *how,
                                                            dns_pool *pool, dns_cancel *cancel);

/* scores [n_pairs] of some pairs of clips. */
DNS_API DNS_MUST_CHECK dns_status dns_clip_pair_scores(float *scores, dns_clip_range clips,
                                                       const dns_coarse_pair *pairs, size_t n_pairs,
                                                       const dns_fine_comparison *how,
                                                       dns_pool *pool);

/* embeddings [clips.n, out] of a coarse network. */
DNS_API DNS_MUST_CHECK dns_status dns_clip_embed(float *embeddings, dns_clip_range clips,
                                                 const dns_coarse *net, dns_pool *pool);
/* scores [n, m] = the products of all pairs of rows of a [n, dim] and b [m, dim]. */
DNS_API DNS_MUST_CHECK dns_status dns_clip_coarse_scores(float *scores, const float *a, size_t n,
                                                         const float *b, size_t m, size_t dim);

/* scalars [clips.n] of a selector. */
DNS_API DNS_MUST_CHECK dns_status dns_clip_scalars(float *scalars, dns_clip_range clips,
                                                   const dns_selector *net, dns_pool *pool);

#ifdef __cplusplus
}
#endif

#endif
