/*
 * Frame-to-frame similarity of two videos: [n_query, n_target] from their region vectors
 * (docs/networks/teacher.md). Frames have a fixed number
 * of regions, never masked.
 */
#ifndef DNSEL_FRAME_SIMILARITY_H
#define DNSEL_FRAME_SIMILARITY_H

#include <stddef.h>
#include <stdint.h>

#include "dnsel/real.h"
#include "dnsel/similarity_rule.h"
#include "dnsel/status.h"

#ifdef __cplusplus
extern "C" {
#endif

/*
 * Two videos. With gates (attention weights of regions, both or neither) what is compared is x *
 * gate. Only gates learn there, not x: the gradient of a gate needs nothing but the product that
 * won and the other side's gate, so the way back costs no products at all and the weighted vectors
 * are never made.
 */
typedef struct dns_frame_pair {
    const dns_real *x, *y; /* [n_query, n_regions, dim], [n_target, n_regions, dim] */
    size_t n_query, n_target, n_regions, dim;
    const dns_real *x_gate,
        *y_gate; /* [n_query, n_regions], [n_target, n_regions]; NULL: 1 everywhere */
} dns_frame_pair;

/*
 * What the way back needs: which region won a maximum, and, with gates, the product of x and y
 * without them. The forward function grows the arrays as needed, so that one trace serves pair
 * after pair; start with {0}.
 */
typedef struct dns_frame_trace {
    uint8_t *target_region;   /* [n_query, n_regions, n_target]: the p of the maximum over target
                                 regions */
    uint8_t *query_region;    /* [n_target, n_regions, n_query]: the o of the maximum over query
                                 regions, symmetric only */
    dns_real *target_product; /* of the shapes of the two */
    dns_real *query_product;
    size_t target_capacity, query_capacity, target_product_capacity, query_product_capacity;
} dns_frame_trace;

DNS_API void dns_frame_trace_free(dns_frame_trace *trace);

/* Working memory of one thread; start with {0}. */
typedef struct dns_frame_scratch {
    dns_real *products;
    size_t capacity;
} dns_frame_scratch;

DNS_API void dns_frame_scratch_free(dns_frame_scratch *scratch);

/*
 * sim[i][j] by the region step:
 *     chamfer     1/R sum_o max_p <x_io, y_jp>
 *     same        1/R sum_r <x_ir, y_jr>
 *     symmetric   (1/R sum_o max_p <x_io, y_jp> + 1/R sum_p max_o <x_io, y_jp>) / 2
 * where the first of equal maxima wins. `trace` may be NULL when there is no way back. Errors:
 * DNS_ERR_LIMIT above 256 regions.
 */
DNS_API DNS_MUST_CHECK dns_status dns_frame_similarity_forward(dns_real *sim,
                                                               dns_frame_trace *trace,
                                                               const dns_frame_pair *pair,
                                                               dns_region_step step,
                                                               dns_frame_scratch *scratch);

/* dx and dy, of the shapes of x and y, are added to (each NULL when not wanted). DNS_ERR_ARG for a
 * pair with gates. */
DNS_API DNS_MUST_CHECK dns_status dns_frame_similarity_backward(
    dns_real *dx, dns_real *dy, const dns_real *dsim, const dns_frame_trace *trace,
    const dns_frame_pair *pair, dns_region_step step, dns_frame_scratch *scratch);

/* For a pair with gates: dx_gate [n_query, n_regions] and dy_gate [n_target, n_regions] are added
 * to (each NULL when not wanted). */
DNS_API void dns_frame_gates_backward(dns_real *dx_gate, dns_real *dy_gate, const dns_real *dsim,
                                      const dns_frame_trace *trace, const dns_frame_pair *pair,
                                      dns_region_step step);

#ifdef __cplusplus
}
#endif

#endif
