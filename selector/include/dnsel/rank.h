/*
 * Ranking: positions of an array in order of its values. One stable radix sort, so that equal
 * values keep the order of the database, whatever the processor or the number of threads
 * (docs/evaluation.md: "descending score, stable for ties").
 */
#ifndef DNSEL_RANK_H
#define DNSEL_RANK_H

#include <stddef.h>
#include <stdint.h>

#include "dnsel/status.h"

#ifdef __cplusplus
extern "C" {
#endif

/* order[0..n-1] = positions of `values` [n], the largest value first; -0 equals +0. Linear in n
 * (200,000 values: about two milliseconds). Errors: DNS_ERR_RANGE for a NaN, DNS_ERR_LIMIT for n
 * above 2^32 - 1, DNS_ERR_NOMEM. */
DNS_API DNS_MUST_CHECK dns_status dns_rank_descending(uint32_t *order, const float *values,
                                                      size_t n);

#ifdef __cplusplus
}
#endif

#endif
