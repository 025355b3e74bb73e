/*
 * Matrix products of the layers, in their number type. Row-major. One thread; a result depends on
 * its operands only.
 */
#ifndef DNSEL_MATMUL_H
#define DNSEL_MATMUL_H

#include <stdbool.h>
#include <stddef.h>

#include "dnsel/real.h"
#include "dnsel/status.h"

/* A matrix in memory: entry (i, j) is data[i * stride + j], or data[j * stride + i] when it is read
 * transposed. */
typedef struct dns_matrix {
    const dns_real *data;
    size_t stride;
    bool transposed;
} dns_matrix;

/* c [m, n] (rows `stride` apart) = a [m, k] b [k, n], or += when `accumulate`. */
DNS_MUST_CHECK dns_status dns_matmul(dns_real *c, size_t stride, dns_matrix a, dns_matrix b,
                                     size_t m, size_t n, size_t k, bool accumulate);

#endif
