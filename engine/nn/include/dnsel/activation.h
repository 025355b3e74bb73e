/*
 * Transcendental functions over arrays. In single precision they are short polynomials that the
 * compiler turns into vectors for the processor at hand, without fused operations, so that every
 * processor gives the same bits.
 */
#ifndef DNSEL_ACTIVATION_H
#define DNSEL_ACTIVATION_H

#include <stddef.h>

#include "dnsel/real.h"
#include "dnsel/status.h"

#ifdef __cplusplus
extern "C" {
#endif

/* y[i] of x[i], i < n; y may be x. Finite x, or -infinity. */

/* Within 4e-7 of the value. */
DNS_API void dns_tanh(dns_real *y, const dns_real *x, size_t n);
/* e^x, within 2e-7 times the value; 0 below -87, for x up to 88. */
DNS_API void dns_exp(dns_real *y, const dns_real *x, size_t n);
/* 1 / (1 + e^-x), within 2e-7. */
DNS_API void dns_sigmoid(dns_real *y, const dns_real *x, size_t n);

#ifdef __cplusplus
}
#endif

#endif
