/*
 * L2 normalisation of rows: y = x / max(||x||, 1e-12).
 */
#ifndef DNSEL_NORMALISE_H
#define DNSEL_NORMALISE_H

#include <stddef.h>

#include "dnsel/real.h"
#include "dnsel/status.h"

#ifdef __cplusplus
extern "C" {
#endif

/* y [n, dim] of x [n, dim]; y may be x. norm [n] receives max(||x||, 1e-12) for the way back (NULL
 * when not wanted). */
DNS_API void dns_normalise_forward(dns_real *y, dns_real *norm, const dns_real *x, size_t n,
                                   size_t dim);

/* dx = (dy - y (y . dy)) / norm, or dy / norm where the norm was cut off at 1e-12; dx may be dy. */
DNS_API void dns_normalise_backward(dns_real *dx, const dns_real *dy, const dns_real *y,
                                    const dns_real *norm, size_t n, size_t dim);

#ifdef __cplusplus
}
#endif

#endif
