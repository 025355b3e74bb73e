/*
 * The block that EfficientNet-Lite is made of, batch normalisation folded into its three
 * convolutions, on small maps [n, size, size, channels]:
 *
 *     e = ReLU6(W_e x + b_e)            1x1, in -> expanded
 *     d = ReLU6(depthwise(e))           k x k
 *     y = W_p d + b_p (+ x)             1x1, expanded -> out; x is added when in = out
 *
 * For training the tail of the backbone (docs/training.md). Stride 1.
 */
#ifndef DNSEL_INVERTED_RESIDUAL_H
#define DNSEL_INVERTED_RESIDUAL_H

#include "dnsel/pool.h"
#include "dnsel/real.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct dns_inverted_residual {
    size_t size, in, expanded, out, kernel;
    const dns_real *expand_w, *expand_b;       /* [expanded, in], [expanded] */
    const dns_real *depthwise_w, *depthwise_b; /* [expanded, kernel, kernel], [expanded] */
    const dns_real *project_w, *project_b;     /* [out, expanded], [out] */
} dns_inverted_residual;

/* Gradients are added to; same shapes. */
typedef struct dns_inverted_residual_gradient {
    dns_real *expand_w, *expand_b, *depthwise_w, *depthwise_b, *project_w, *project_b;
} dns_inverted_residual_gradient;

/* What the way back needs, and working memory; start with {0}, grows as needed, serves call after
 * call. */
typedef struct dns_inverted_residual_trace {
    dns_real *e, *d; /* [n, size, size, expanded], after ReLU6 */
    dns_real *scratch;
    size_t e_capacity, d_capacity, scratch_capacity;
} dns_inverted_residual_trace;

DNS_API void dns_inverted_residual_trace_free(dns_inverted_residual_trace *trace);

/* y [n, size, size, out] = the block of x [n, size, size, in]. */
DNS_API DNS_MUST_CHECK dns_status dns_inverted_residual_forward(dns_real *y,
                                                                dns_inverted_residual_trace *trace,
                                                                const dns_inverted_residual *block,
                                                                const dns_real *x, size_t n,
                                                                dns_pool *pool);

/* From dy: dx is overwritten (NULL when not wanted), gradients are added to. `trace` and x are
 * those of the forward call; the trace is used up. */
DNS_API DNS_MUST_CHECK dns_status dns_inverted_residual_backward(
    dns_real *dx, dns_inverted_residual_gradient *gradient, const dns_real *dy,
    dns_inverted_residual_trace *trace, const dns_inverted_residual *block, const dns_real *x,
    size_t n, dns_pool *pool);

/* y = min(max(x, 0), 6), in place; and back: dy becomes 0 where y was cut. */
DNS_API void dns_relu6_forward(dns_real *y, size_t n);
DNS_API void dns_relu6_backward(dns_real *dy, const dns_real *y, size_t n);

#ifdef __cplusplus
}
#endif

#endif
