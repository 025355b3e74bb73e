/*
 * What a classifier is shown of a stored video (docs/classifier.md): regular features from records
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
    DNS_FEATURES_TEMPORAL = 12, /* P3, beside the alignment of dnsel/alignment.h */
    DNS_FEATURES_METADATA = 261 /* P4 */
};

/* Regular features of coarse vectors of `dim` numbers: dim + 2. */
DNS_API size_t dns_regular_features_count(size_t dim);

/* x [dim + 2] = the coarse vector, the selector's scalar (0 without a record), log(1 + seconds).
 * DNS_ERR_SHAPE unless `coarse` is one row of numbers; DNS_ERR_UNSUPPORTED for codes. */
DNS_API DNS_MUST_CHECK dns_status dns_regular_features(float *x, const dns_record *coarse,
                                                       const dns_record *selector, double duration);

/* P1 of the region vectors x [n_frames, n_regions, dim], whose lengths are their weights (those
 * that attention has weighted, or unit vectors, which all weigh the same), each part projected by a
 * fixed random matrix: weighted mean of the unit vectors to 48 numbers, weighted standard deviation
 * of each dimension to 32, and the largest value in each dimension among the 8 most salient regions
 * to 48. Those are chosen one after the other, each by the largest weight * (1 - its largest cosine
 * with the mean and with the regions chosen before). DNS_ERR_NOMEM. */
DNS_API DNS_MUST_CHECK dns_status dns_region_features(float out[DNS_FEATURES_REGIONS],
                                                      const float *x, size_t n_frames,
                                                      size_t n_regions, size_t dim);

/* P3, of the similarity of frames (cosine of their mean vectors): share of neighbours below 0.5
 * (cuts) and log of their number, mean and smallest similarity of neighbours, histogram of at most
 * 256 x 256 evenly spread pairs in 8 bins over [-1, 1]. DNS_ERR_NOMEM. */
DNS_API DNS_MUST_CHECK dns_status dns_temporal_features(float out[DNS_FEATURES_TEMPORAL],
                                                        const float *x, size_t n_frames,
                                                        size_t n_regions, size_t dim);

/* P4: the words of the file's name (never of its folders), hashed with signs into 256 numbers of
 * unit length; log duration, log pixels, aspect, log bytes a second, years since 1970 of its last
 * change; all 0 for an imported row, which is no file. */
DNS_API void dns_metadata_features(float out[DNS_FEATURES_METADATA], const dns_meta *meta);

/* *x = region vectors of a stored video from the first of fine attention, regions and archive that
 * it has, to be freed with dns_free; *found false and *x NULL when it has none. */
DNS_API DNS_MUST_CHECK dns_status dns_stored_regions(float **x, size_t shape[3], bool *found,
                                                     const dns_snapshot *snapshot, uint64_t id);

#ifdef __cplusplus
}
#endif

#endif
