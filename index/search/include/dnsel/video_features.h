/*
 * What a classifier is shown of a stored video (spec/cpfd.md 2.1): regular features from records
 * that every index keeps, and privileged blocks from records that are large, slow to make or not
 * always there.
 */
#ifndef DNSEL_VIDEO_FEATURES_H
#define DNSEL_VIDEO_FEATURES_H

#include "dnsel/store.h"

#ifdef __cplusplus
extern "C" {
#endif

enum {
    DNS_FEATURES_REGIONS = 128, /* P1 */
    DNS_FEATURES_TEMPORAL = 12, /* P3 */
    DNS_FEATURES_METADATA = 68  /* P4 */
};

/* Regular features of coarse vectors of `dim` numbers: dim + 2. */
DNS_API size_t dns_regular_features_count(size_t dim);

/* x [dim + 2] = the coarse vector, the selector's scalar (0 without a record), log(1 + seconds).
 * DNS_ERR_SHAPE unless `coarse` is one row of numbers; DNS_ERR_UNSUPPORTED for codes. */
DNS_API DNS_MUST_CHECK dns_status dns_regular_features(float *x, const dns_record *coarse,
                                                       const dns_record *selector, double duration);

/* P1: mean and standard deviation of the region vectors x [n_frames, n_regions, dim], each
 * projected to 64 numbers by a fixed random matrix. Vectors that attention has weighted give the
 * attention-weighted mean. DNS_ERR_NOMEM. */
DNS_API DNS_MUST_CHECK dns_status dns_region_features(float out[DNS_FEATURES_REGIONS],
                                                      const float *x, size_t n_frames,
                                                      size_t n_regions, size_t dim);

/* P3, of the similarity of frames (cosine of their mean vectors): share of neighbours below 0.5
 * (cuts) and log of their number, mean and smallest similarity of neighbours, histogram of at most
 * 256 x 256 evenly spread pairs in 8 bins over [-1, 1]. DNS_ERR_NOMEM. */
DNS_API DNS_MUST_CHECK dns_status dns_temporal_features(float out[DNS_FEATURES_TEMPORAL],
                                                        const float *x, size_t n_frames,
                                                        size_t n_regions, size_t dim);

/* P4: the words of the file's name (never of its folders), hashed with signs into 64 numbers of
 * unit length; log duration, log pixels, aspect, log bytes a second. */
DNS_API void dns_metadata_features(float out[DNS_FEATURES_METADATA], const dns_meta *meta);

/* *x = region vectors of a stored video from the first of regions, archive and fine attention that
 * it has, to be freed with dns_free; *found false and *x NULL when it has none. */
DNS_API DNS_MUST_CHECK dns_status dns_stored_regions(float **x, size_t shape[3], bool *found,
                                                     const dns_snapshot *snapshot, uint64_t id);

#ifdef __cplusplus
}
#endif

#endif
