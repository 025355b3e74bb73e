/*
 * Where two videos agree: the best common stretch of their frame-to-frame similarity, found by
 * dynamic programming (local alignment, as Smith and Waterman's), and the Chamfer similarities of
 * both directions. Privileged features of pairs and of videos (docs/classifier.md).
 */
#ifndef DNSEL_ALIGNMENT_H
#define DNSEL_ALIGNMENT_H

#include <stddef.h>

#include "dnsel/similarity_rule.h"
#include "dnsel/status.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct dns_alignment {
    size_t n_query, n_target;            /* frames that were compared */
    float chamfer_query, chamfer_target; /* mean over rows (columns) of the largest similarity */
    float score; /* of the best stretch: sum over its pairs of frames of similarity - threshold,
                    less its skipped frames, divided by the frames of the shorter video */
    size_t query_start, query_end;   /* its frames; the end is not part of it */
    size_t target_start, target_end; /* both empty when no cell passes the threshold */
    size_t n_pairs;                  /* pairs of frames in it */
    float matched;   /* share of all query frames that have a partner above the threshold */
    size_t n_peaks;  /* offsets at which the videos agree: diagonals whose sum above the threshold
                        is no less than its neighbours' and than half of the largest */
    float threshold; /* mean of the map + its deviation, but at most 0.5 */
} dns_alignment;

/*
 * Of the similarities map [n_query, n_target], in [-1, 1]. A cell gains what it is above the
 * threshold or costs what it is below; skipping a frame of either video costs half of what a cell
 * of mean similarity costs. Time n_query * n_target, memory n_query + n_target. Errors: DNS_ERR_ARG
 * (no frames), DNS_ERR_RANGE (a similarity that is not finite), DNS_ERR_NOMEM.
 */
DNS_API DNS_MUST_CHECK dns_status dns_align_map(dns_alignment *out, const float *map,
                                                size_t n_query, size_t n_target);

enum { DNS_ALIGNMENT_FRAMES = 256 };

/* The same of region vectors, shapes [n_frames, n_regions, dim], brought to unit length first;
 * frame by frame they are compared by `step`. Of a longer video DNS_ALIGNMENT_FRAMES evenly spread
 * frames are looked at, and counted. Errors also: DNS_ERR_SHAPE when regions or dim differ,
 * DNS_ERR_LIMIT above 256 regions. */
DNS_API DNS_MUST_CHECK dns_status dns_align_regions(dns_alignment *out, const float *query,
                                                    const size_t query_shape[3],
                                                    const float *target,
                                                    const size_t target_shape[3],
                                                    dns_region_step step);

enum { DNS_ALIGNMENT_FEATURES = 6 };

/* As numbers for a network: both Chamfer similarities, score, share of the shorter video's frames
 * that are in the stretch, share that is matched, log(1 + peaks). */
DNS_API void dns_alignment_features(float out[DNS_ALIGNMENT_FEATURES],
                                    const dns_alignment *alignment);

#ifdef __cplusplus
}
#endif

#endif
