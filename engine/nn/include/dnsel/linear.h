/*
 * Linear layer: y = W x + b, W stored [out, in].
 */
#ifndef DNSEL_LINEAR_H
#define DNSEL_LINEAR_H

#include "dnsel/pool.h"
#include "dnsel/real.h"

#ifdef __cplusplus
extern "C" {
#endif

/* y [n, out] = x [n, in] W^T + b. `b` [out] may be NULL. */
DNS_API DNS_MUST_CHECK dns_status dns_linear_forward(dns_real *y, const dns_real *x,
                                                     const dns_real *w, const dns_real *b, size_t n,
                                                     size_t in, size_t out, dns_pool *pool);

/* From dy [n, out]: dx [n, in] = dy W (overwritten; NULL when not wanted), dW [out, in] += dy^T x,
 * db [out] += column sums of dy (NULL without a bias), rows in order; with dW NULL neither of them
 * is made. dx may not be dy. */
DNS_API DNS_MUST_CHECK dns_status dns_linear_backward(dns_real *dx, dns_real *dw, dns_real *db,
                                                      const dns_real *dy, const dns_real *x,
                                                      const dns_real *w, size_t n, size_t in,
                                                      size_t out, dns_pool *pool);

#ifdef __cplusplus
}
#endif

#endif
