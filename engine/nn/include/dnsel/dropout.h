/*
 * Dropout. Whether an entry is dropped is a function of a key and its position alone, so no mask is
 * stored: the backward pass is the same call on the gradient, and neither order nor threads matter.
 */
#ifndef DNSEL_DROPOUT_H
#define DNSEL_DROPOUT_H

#include <stddef.h>
#include <stdint.h>

#include "dnsel/pool.h"
#include "dnsel/real.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Where and when: a seed, and a number that differs for every layer and step (dns_dropout_key). */
typedef struct dns_dropout {
    double rate; /* in [0, 1): the share that is dropped; 0 copies */
    uint64_t key;
} dns_dropout;

/* A key for one use: `layer` within `step` of a training that began with `seed`. */
DNS_API uint64_t dns_dropout_key(uint64_t seed, uint64_t step, uint64_t layer);

/* y[i] = x[i] / (1 - rate) or 0, for n entries that stand at positions first, first + 1, ... of the
 * whole array. y may be x. */
DNS_API void dns_dropout_apply(dns_real *y, const dns_real *x, size_t n, uint64_t first,
                               const dns_dropout *dropout);

/* The same for a whole array, shared out to a pool. */
DNS_API DNS_MUST_CHECK dns_status dns_dropout_run(dns_real *y, const dns_real *x, size_t n,
                                                  const dns_dropout *dropout, dns_pool *pool);

#ifdef __cplusplus
}
#endif

#endif
