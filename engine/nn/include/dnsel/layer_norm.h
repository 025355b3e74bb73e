/*
 * Layer normalisation (docs/networks/coarse.md): every row by its own mean and biased variance,
 * epsilon 1e-5.
 */
#ifndef DNSEL_LAYER_NORM_H
#define DNSEL_LAYER_NORM_H

#include "dnsel/pool.h"
#include "dnsel/real.h"

#ifdef __cplusplus
extern "C" {
#endif

/* y [n, dim] = (x - mean) * rstd * w + b, with w and b [dim]. mean and rstd [n] are kept for the
 * backward pass; NULL when there will be none. y may be x. */
DNS_API DNS_MUST_CHECK dns_status dns_layer_norm_forward(dns_real *y, dns_real *mean,
                                                         dns_real *rstd, const dns_real *x,
                                                         const dns_real *w, const dns_real *b,
                                                         size_t n, size_t dim, dns_pool *pool);

/* From dy [n, dim]: dx (overwritten; may be dy), dw += column sums of dy * (x - mean) * rstd, db +=
 * column sums of dy. */
DNS_API DNS_MUST_CHECK dns_status dns_layer_norm_backward(dns_real *dx, dns_real *dw, dns_real *db,
                                                          const dns_real *dy, const dns_real *x,
                                                          const dns_real *mean,
                                                          const dns_real *rstd, const dns_real *w,
                                                          size_t n, size_t dim, dns_pool *pool);

#ifdef __cplusplus
}
#endif

#endif
