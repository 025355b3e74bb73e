/*
 * From the comparator's map to one score: clipping to [-1, 1] and the Chamfer similarity of videos
 * (docs/networks/teacher.md).
 */
#ifndef DNSEL_VIDEO_SIMILARITY_H
#define DNSEL_VIDEO_SIMILARITY_H

#include <stddef.h>
#include <stdint.h>

#include "dnsel/real.h"
#include "dnsel/similarity_rule.h"
#include "dnsel/status.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Hardtanh: y = min(max(x, -1), 1); y may be x. */
DNS_API void dns_hardtanh_forward(dns_real *y, const dns_real *x, size_t n);
/* dx = dy where -1 < x < 1, otherwise 0; dx may be dy. */
DNS_API void dns_hardtanh_backward(dns_real *dx, const dns_real *dy, const dns_real *x, size_t n);

/* Range regulariser: the sum over n cells of |min(0, x + 1)| + |max(0, x - 1)|. Adds `weight` times
 * its derivative to dx (NULL when not wanted). */
DNS_API double dns_range_penalty(dns_real *dx, const dns_real *x, size_t n, dns_real weight);

/* A map [rows, columns] with masks of its rows and columns (NULL: all are real). */
typedef struct dns_score_map {
    const dns_real *map;
    size_t rows, columns;
    const uint8_t *row_mask, *column_mask;
} dns_score_map;

/*
 * Mean over real rows of the maximum over real columns, or the same with rows and columns
 * exchanged, or the larger or the mean of both (the rows' when equal). 0 without a real cell. The
 * first of equal maxima wins.
 */
DNS_API dns_real dns_video_similarity_forward(const dns_score_map *map, dns_direction direction);

/* dmap [rows, columns] += the gradient times `dscore`. */
DNS_API void dns_video_similarity_backward(dns_real *dmap, dns_real dscore,
                                           const dns_score_map *map, dns_direction direction);

#ifdef __cplusplus
}
#endif

#endif
