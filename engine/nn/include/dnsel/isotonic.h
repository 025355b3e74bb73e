/*
 * Isotonic regression: the non-decreasing function that is nearest to given points, by pooling
 * adjacent violators.
 */
#ifndef DNSEL_ISOTONIC_H
#define DNSEL_ISOTONIC_H

#include <stddef.h>

#include "dnsel/status.h"

#ifdef __cplusplus
extern "C" {
#endif

/* A piecewise linear, non-decreasing map: knots with x strictly increasing, constant before the
 * first and after the last. */
typedef struct dns_isotonic {
    size_t n;
    float *x, *y; /* [n] */
} dns_isotonic;

/* *out minimises sum of weights[i] * (out(x[i]) - y[i])^2 over all non-decreasing step values at
 * the given x; points of equal x count as one with their weighted mean. `weights` NULL: all 1. Each
 * constant stretch keeps its two ends as knots; between stretches the map is linear. Free with
 * dns_isotonic_free; all zero after a failure. Errors: DNS_ERR_ARG (n = 0), DNS_ERR_RANGE (a value
 * that is not finite, a weight that is not positive), DNS_ERR_NOMEM. */
DNS_API DNS_MUST_CHECK dns_status dns_isotonic_fit(dns_isotonic *out, const float *x,
                                                   const float *y, const float *weights, size_t n);

/* *out = a copy of n knots. Errors: DNS_ERR_RANGE unless n > 0, all are finite, x increases and y
 * never falls. */
DNS_API DNS_MUST_CHECK dns_status dns_isotonic_create(dns_isotonic *out, const float *x,
                                                      const float *y, size_t n);
DNS_API void dns_isotonic_free(dns_isotonic *map);

DNS_API float dns_isotonic_at(const dns_isotonic *map, float x);

#ifdef __cplusplus
}
#endif

#endif
