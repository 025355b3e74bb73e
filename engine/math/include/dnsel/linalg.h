/*
 * Decompositions in double precision by LAPACK (OpenBLAS), and what whitening, ITQ and normalised
 * vectors need besides. Row-major. Every call runs on the calling thread alone. OpenBLAS 0.3.21
 * knows no processor newer than itself and then takes its AVX2 kernels: half the speed that AVX-512
 * would give, the same numbers.
 */
#ifndef DNSEL_LINALG_H
#define DNSEL_LINALG_H

#include <stdbool.h>
#include <stddef.h>

#include "dnsel/status.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Eigenvectors of a symmetric matrix [n,n], of which the lower triangle is read: values [n]
 * descending, and row i of the matrix becomes the unit vector of values[i], its entry of largest
 * magnitude positive. DNS_ERR_RANGE when the matrix is not finite, DNS_ERR_BACKEND without
 * convergence. */
DNS_API DNS_MUST_CHECK dns_status dns_eigen_symmetric(double *values, double *matrix, size_t n);

/* Singular values: A [m,n] = U diag(s) Vt with r = min(m,n), u [m,r], s [r] descending, vt [r,n]. A
 * is overwritten. Errors as above. */
DNS_API DNS_MUST_CHECK dns_status dns_svd(double *u, double *s, double *vt, double *a, size_t m,
                                          size_t n);

/* The columns of A [m,n], m >= n, are replaced by an orthonormal basis of their span (QR, R with a
 * positive diagonal): of a matrix of normal numbers, a random rotation. Errors as above. */
DNS_API DNS_MUST_CHECK dns_status dns_orthonormalise(double *a, size_t m, size_t n);

/* C = alpha op(A) op(B) + beta C without gaps between rows, as dns_gemm_dense_f32 (dnsel/gemm.h).
 */
DNS_API DNS_MUST_CHECK dns_status dns_gemm_f64(bool transpose_a, bool transpose_b, size_t m,
                                               size_t n, size_t k, double alpha, const double *a,
                                               const double *b, double beta, double *c);

/* Scatter G [n,n] += (X - mean)^T (X - mean) over the rows of X [m,n] in single precision, summed
 * in double; both triangles. mean [n], NULL for zero. */
DNS_API DNS_MUST_CHECK dns_status dns_scatter_add(double *g, const float *x, size_t m, size_t n,
                                                  const double *mean);

/* Divides each row of x [n_rows, dim] by max(its L2 norm, 1e-12). */
DNS_API void dns_normalise_rows(float *x, size_t n_rows, size_t dim);

/* The L2 norm of n numbers, summed in double. */
DNS_API double dns_norm(const float *x, size_t n);

#ifdef __cplusplus
}
#endif

#endif
