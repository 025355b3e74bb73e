/*
 * The video comparator: a small CNN that reads a map of frame similarities [rows, columns]
 * (docs/networks/teacher.md), the same in teacher, fine students and selector:
 *
 *     conv 3x3, 1 -> c1, mask, ReLU, maxpool 2x2 (floor)
 *     conv 3x3, c1 -> c2, mask, ReLU, maxpool 2x2 (floor)
 *     conv 3x3, c2 -> c3, mask, ReLU
 *     conv 1x1, c3 -> 1
 *
 * Every 3x3 convolution pads by one cell, with zeros (students, selector) or with the edge
 * (teacher).
 *
 * Masks (docs/networks/teacher.md): cell (i, j) is real when row i and column j are. Cells that are
 * not become 0 after each of the three convolutions, before ReLU; the masks of rows and of columns
 * are pooled along, by the maximum. Nothing is masked after the 1x1 convolution, so padded cells of
 * the output hold its bias.
 *
 * Maps inside are [rows, columns, channels].
 */
#ifndef DNSEL_COMPARATOR_H
#define DNSEL_COMPARATOR_H

#include <stddef.h>
#include <stdint.h>

#include "dnsel/real.h"
#include "dnsel/status.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef enum dns_padding { DNS_PADDING_ZERO, DNS_PADDING_EDGE } dns_padding;

enum {
    DNS_COMPARATOR_LAYERS = 4,
    DNS_COMPARATOR_POOLED = 4 /* frames that become one row or column of the output */
};

/* Borrowed weights, as stored: weight[l] [out, in, 3, 3] (the last [1, c3, 1, 1]), bias[l] [out].
 */
typedef struct dns_comparator {
    size_t channels[3]; /* c1, c2, c3 */
    dns_padding padding;
    const dns_real *weight[DNS_COMPARATOR_LAYERS], *bias[DNS_COMPARATOR_LAYERS];
} dns_comparator;

/* Where gradients are added to, of the same shapes. */
typedef struct dns_comparator_gradient {
    dns_real *weight[DNS_COMPARATOR_LAYERS], *bias[DNS_COMPARATOR_LAYERS];
} dns_comparator_gradient;

/* One map to be read; masks are [rows] and [columns] of 0 or 1, or NULL when everything is real. */
typedef struct dns_comparator_input {
    const dns_real *map; /* [rows, columns] */
    size_t rows, columns;
    const uint8_t *row_mask, *column_mask;
} dns_comparator_input;

/* What the way back needs: the maps between the layers and where their maxima came from. Grown as
 * needed, so that one trace serves map after map; start with {0}. */
typedef struct dns_comparator_trace {
    dns_real *maps[3]; /* after ReLU and pooling: [rows/2, columns/2, c1], [rows/4, columns/4, c2],
                          [.., c3] */
    uint8_t *winners[2]; /* which of the 4 cells won, of the shapes of the first two */
    size_t map_capacity[3], winner_capacity[2];
} dns_comparator_trace;

DNS_API void dns_comparator_trace_free(dns_comparator_trace *trace);

/* Working memory of one thread; start with {0}. */
typedef struct dns_comparator_scratch {
    dns_real *patches, *cells, *weights, *gradients;
    uint8_t *masks;
    size_t patch_capacity, cell_capacity, weight_capacity, gradient_capacity, mask_capacity;
} dns_comparator_scratch;

DNS_API void dns_comparator_scratch_free(dns_comparator_scratch *scratch);

/* out [rows/4, columns/4], both floored twice, not clipped. Errors: DNS_ERR_SHAPE below 4 rows or
 * columns. */
DNS_API DNS_MUST_CHECK dns_status dns_comparator_forward(dns_real *out, dns_comparator_trace *trace,
                                                         const dns_comparator *net,
                                                         const dns_comparator_input *input,
                                                         dns_comparator_scratch *scratch);

/* From dout: gradients are added to, dmap [rows, columns] is overwritten (NULL when not wanted).
 * `trace` is that of the forward call with the same net and input. */
DNS_API DNS_MUST_CHECK dns_status
dns_comparator_backward(dns_real *dmap, dns_comparator_gradient *gradient, const dns_real *dout,
                        const dns_comparator_trace *trace, const dns_comparator *net,
                        const dns_comparator_input *input, dns_comparator_scratch *scratch);

#ifdef __cplusplus
}
#endif

#endif
