/*
 * Depthwise convolution on small maps: every channel has its own k x k kernel. Maps are [n, height,
 * width, channels] (channels last); stride 1, zero padding that keeps the size.
 */
#ifndef DNSEL_DEPTHWISE_H
#define DNSEL_DEPTHWISE_H

#include "dnsel/pool.h"
#include "dnsel/real.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct dns_depthwise {
    size_t n, height, width, channels, kernel; /* kernel odd */
} dns_depthwise;

/* y[i, r, c, k] = b[k] + sum over (u, v) of x[i, r + u - k/2, c + v - k/2, k] * w[k, u, v]; w is
 * [channels, kernel, kernel] as PyTorch stores it. Errors: DNS_ERR_SHAPE for an even kernel,
 * DNS_ERR_NOMEM. */
DNS_API DNS_MUST_CHECK dns_status dns_depthwise_forward(dns_real *y, const dns_real *x,
                                                        const dns_real *w, const dns_real *b,
                                                        const dns_depthwise *shape, dns_pool *pool);

/* From dy: dx is overwritten, dw and db are added to, images in order. */
DNS_API DNS_MUST_CHECK dns_status dns_depthwise_backward(dns_real *dx, dns_real *dw, dns_real *db,
                                                         const dns_real *dy, const dns_real *x,
                                                         const dns_real *w,
                                                         const dns_depthwise *shape,
                                                         dns_pool *pool);

#ifdef __cplusplus
}
#endif

#endif
