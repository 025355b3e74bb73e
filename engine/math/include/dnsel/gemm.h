/*
 * Matrix products, row-major, by oneDNN. Every call runs on the calling thread alone and gives the
 * same bits for the same input; work is shared out by the caller (dnsel/pool.h), never inside a
 * product.
 */
#ifndef DNSEL_GEMM_H
#define DNSEL_GEMM_H

#include <stdbool.h>
#include <stddef.h>

#include "dnsel/status.h"

#ifdef __cplusplus
extern "C" {
#endif

/* C = alpha op(A) op(B) + beta C, with op(A) [m,k], op(B) [k,n], C [m,n]. A is stored [m,k], or
 * [k,m] when transpose_a; B [k,n], or [n,k] when transpose_b. lda, ldb, ldc are elements from one
 * stored row to the next, at least its length. With beta = 0 C is written without being read. Sizes
 * of 0 are fine. DNS_ERR_SHAPE, DNS_ERR_BACKEND. */
DNS_API DNS_MUST_CHECK dns_status dns_gemm_f32(bool transpose_a, bool transpose_b, size_t m,
                                               size_t n, size_t k, float alpha, const float *a,
                                               size_t lda, const float *b, size_t ldb, float beta,
                                               float *c, size_t ldc);

/* The same without gaps between rows, alpha = 1: C = op(A) op(B) + beta C. */
DNS_API DNS_MUST_CHECK dns_status dns_gemm_dense_f32(bool transpose_a, bool transpose_b, size_t m,
                                                     size_t n, size_t k, const float *a,
                                                     const float *b, float beta, float *c);

#ifdef __cplusplus
}
#endif

#endif
