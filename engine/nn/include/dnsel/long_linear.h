/*
 * A linear layer whose weights are far larger than what it reads, such as NetVLAD's reduction
 * (32768 -> 1024, 128 MB): the weights are streamed from memory once, for all rows at a time, and
 * never copied.
 */
#ifndef DNSEL_LONG_LINEAR_H
#define DNSEL_LONG_LINEAR_H

#include "dnsel/pool.h"
#include "dnsel/real.h"

#ifdef __cplusplus
extern "C" {
#endif

/* y [n, out] = x [n, in] W^T, W [out, in]. Best for n up to some hundred and in of many thousands.
 * A row of y does not depend on the other rows. */
DNS_API DNS_MUST_CHECK dns_status dns_long_linear_forward(dns_real *y, const dns_real *x,
                                                          const dns_real *w, size_t n, size_t in,
                                                          size_t out, dns_pool *pool);

#ifdef __cplusplus
}
#endif

#endif
