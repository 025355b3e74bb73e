/*
 * What is drawn for a step of training: clips and which of them belong together. Everything is a
 * function of the seed and the number of the step, so that a training that goes on from a
 * checkpoint sees the same.
 */
#ifndef DNSEL_SAMPLER_H
#define DNSEL_SAMPLER_H

#include "dnsel/training_set.h"

#ifdef __cplusplus
extern "C" {
#endif

enum { DNS_NO_FOLD = 0x7fffffff };

typedef struct dns_sampler_options {
    size_t batch;      /* 16: scenes of a contrastive batch, or triplets */
    size_t cluster;    /* 4: they come as a random video and so many less one of its neighbours */
    size_t neighbours; /* 12: how many nearest videos of other scenes these are drawn from */
    size_t max_frames; /* 16: of a clip */
    bool stills;       /* true: still pictures too */
    size_t held_out;   /* DNS_NO_FOLD: fold whose videos are not drawn */
    uint64_t seed;
} dns_sampler_options;

DNS_API dns_sampler_options dns_sampler_options_default(void);

/* `batch`, or as many scenes as are left to draw from whichever fold is held out, if that is less
 * (at least 2). */
DNS_API size_t dns_sampler_fitting_batch(const dns_training_set *set, size_t batch);

/* Immutable; `set` is borrowed. */
typedef struct dns_sampler dns_sampler;

/* Finds the neighbours of each video by its mean vector. Errors: DNS_ERR_ARG when the folds that
 * are left have fewer scenes than a batch (contrastive), or fewer than 2. */
DNS_API DNS_MUST_CHECK dns_status dns_sampler_create(dns_sampler **out, const dns_training_set *set,
                                                     const dns_sampler_options *options,
                                                     dns_pool *pool);
DNS_API void dns_sampler_free(dns_sampler *sampler);

/* Videos that may be drawn, hosts left out. */
DNS_API size_t dns_sampler_n_videos(const dns_sampler *sampler);

/* What was drawn; start with {0}, reuse, free. */
typedef struct dns_sample {
    size_t n;            /* scenes or triplets */
    size_t *videos;      /* [n] number of the video in the set */
    float *similarities; /* [2n] of labelled pairs, (anchor, positive) first; NaN without pairs */
    dns_clips clips;
    size_t capacity, pair_capacity;
} dns_sample;

DNS_API void dns_sample_free(dns_sample *sample);

/*
 * A contrastive batch (docs/training.md): `batch` videos of distinct scenes, in clusters of
 * near neighbours. clips 0 .. n-1 are queries, n .. 2n-1 the targets: target i shows what query i
 * shows, all others are its negatives.
 *
 *     query   an edited copy (8 %: the original); .35 an excerpt of 3 to 8 frames within 4 or more
 *             frames of a scene outside the batch, .25 a part of 3 to 8, .05 every second frame,
 *             .05 every frame twice, else a part as long as possible
 *     target  .7 the original, else another copy; it shows all that the query shows
 *
 * Every clip is wrapped to a multiple of 4 frames.
 */
DNS_API DNS_MUST_CHECK dns_status dns_sampler_contrast(dns_sample *sample,
                                                       const dns_sampler *sampler, size_t step);

/*
 * Triplets (docs/training.md): clips 0 .. n-1 are anchors, n .. 2n-1 positives, 2n .. 3n-1
 * negatives. Every video is an anchor once in each pass over the set, in a random order. The
 * positive is an edited copy, or another video of the scene, the negative one of the nearest
 * videos of other scenes; both with the published temporal augmentation, never the anchor. Clips
 * are parts of at most max_frames, and wrapped only below 4 frames.
 */
DNS_API DNS_MUST_CHECK dns_status dns_sampler_triplets(dns_sample *sample,
                                                       const dns_sampler *sampler, size_t step);

/* Labelled pairs, as in the published similarity files: with them triplets are drawn from these
 * alone. */
typedef struct dns_labelled_pair {
    uint32_t query, video; /* numbers in the set */
    float similarity;      /* the teacher's, in [-1, 1] */
    bool positive;
} dns_labelled_pair;

/* Copied. Pairs with a held-out video are left out. DNS_ERR_ARG when no query has both a positive
 * and a negative. */
DNS_API DNS_MUST_CHECK dns_status dns_sampler_set_pairs(dns_sampler *sampler,
                                                        const dns_labelled_pair *pairs, size_t n);

#ifdef __cplusplus
}
#endif

#endif
