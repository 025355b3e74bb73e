/*
 * Batch normalisation of [n, dim] over the n rows (docs/networks/selector.md), epsilon 1e-5. In
 * training the statistics are those of the batch (dns_batch_norm_statistics), and the running ones
 * follow them; at inference the running ones serve. Small: one thread.
 */
#ifndef DNSEL_BATCH_NORM_H
#define DNSEL_BATCH_NORM_H

#include <stddef.h>

#include "dnsel/real.h"
#include "dnsel/status.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Mean and biased variance [dim] of the columns of x [n, dim], n > 0. */
DNS_API void dns_batch_norm_statistics(dns_real *mean, dns_real *variance, const dns_real *x,
                                       size_t n, size_t dim);

/* y [n, dim] = (x - mean) / sqrt(variance + epsilon) * w + b; mean, variance, w, b [dim]. y may be
 * x. */
DNS_API void dns_batch_norm_apply(dns_real *y, const dns_real *x, const dns_real *mean,
                                  const dns_real *variance, const dns_real *w, const dns_real *b,
                                  size_t n, size_t dim);

/* running = 0.9 running + 0.1 batch, with the unbiased variance n / (n - 1). n > 1. */
DNS_API void dns_batch_norm_track(dns_real *running_mean, dns_real *running_variance,
                                  const dns_real *mean, const dns_real *variance, size_t n,
                                  size_t dim);

/* From dy [n, dim] through the statistics of the batch: dx (overwritten; may be dy), dw and db
 * [dim] added to. */
DNS_API void dns_batch_norm_backward(dns_real *dx, dns_real *dw, dns_real *db, const dns_real *dy,
                                     const dns_real *x, const dns_real *mean,
                                     const dns_real *variance, const dns_real *w, size_t n,
                                     size_t dim);

/* The same layer as scale and shift, y = scale * x + shift, to be folded into the linear layer
 * before it: scale, shift [dim]. */
DNS_API void dns_batch_norm_fold(dns_real *scale, dns_real *shift, const dns_real *mean,
                                 const dns_real *variance, const dns_real *w, const dns_real *b,
                                 size_t dim);

#ifdef __cplusplus
}
#endif

#endif
