/*
 * What tells whether two videos are near-duplicates, for a classifier of pairs
 * (docs/classifier.md): regular features from coarse data alone, which a search has of every pair
 * before anything is compared finely, and privileged ones from the fine comparison.
 */
#ifndef DNSEL_PAIR_FEATURES_H
#define DNSEL_PAIR_FEATURES_H

#include "dnsel/alignment.h"

#ifdef __cplusplus
extern "C" {
#endif

enum {
    DNS_PAIR_BLOCKS = 16,   /* of a coarse vector */
    DNS_PAIR_FEATURES = 20, /* x */
    DNS_PAIR_PRIVILEGED = 1 + DNS_ALIGNMENT_FEATURES
};

/* One side of a pair; borrowed. */
typedef struct dns_pair_side {
    const float *coarse; /* [dim] */
    float scalar;        /* the selector's; 0 without one */
    double duration;     /* seconds */
} dns_pair_side;

/* x = the coarse similarity; the inner products of the 16 stretches [b dim / 16, (b + 1) dim / 16)
 * of the coarse vectors, whose sum it is; the distance of log(1 + duration); both scalars. Of the
 * parts only the scalars depend on which video is the query. */
DNS_API void dns_pair_features(float x[DNS_PAIR_FEATURES], const dns_pair_side *query,
                               const dns_pair_side *target, size_t dim);

/* Privileged: the fine similarity in [-1, 1], then dns_alignment_features. */
DNS_API void dns_pair_privileged(float out[DNS_PAIR_PRIVILEGED], float fine,
                                 const dns_alignment *alignment);

#ifdef __cplusplus
}
#endif

#endif
