/*
 * Binary codes (docs/networks/fine-binary.md): z = norm(x) W, and from z the smooth codes of
 * training, the signs of the straight-through estimator, or the packed bits of an index.
 */
#ifndef DNSEL_BINARISE_H
#define DNSEL_BINARISE_H

#include <stddef.h>
#include <stdint.h>

#include "dnsel/pool.h"
#include "dnsel/real.h"
#include "dnsel/status.h"

#ifdef __cplusplus
extern "C" {
#endif

/* z [n, bits] = x [n, dim] W, for W [dim, bits]; rows of x are normalised already. */
DNS_API DNS_MUST_CHECK dns_status dns_binarise_project(dns_real *z, const dns_real *x,
                                                       const dns_real *w, size_t n, size_t dim,
                                                       size_t bits, dns_pool *pool);
/* dx = dz W^T (overwritten; NULL when not wanted), dW += x^T dz, rows in order. */
DNS_API DNS_MUST_CHECK dns_status
dns_binarise_project_backward(dns_real *dx, dns_real *dw, const dns_real *dz, const dns_real *x,
                              const dns_real *w, size_t n, size_t dim, size_t bits, dns_pool *pool);

/* y = erf(z / sqrt(2 sigma)); y may be z only when there is no way back. */
DNS_API void dns_binarise_erf_forward(dns_real *y, const dns_real *z, size_t n, double sigma);
/* dz = dy * 2 / sqrt(pi) * exp(-z^2 / (2 sigma)) / sqrt(2 sigma); dz may be dy. */
DNS_API void dns_binarise_erf_backward(dns_real *dz, const dns_real *dy, const dns_real *z,
                                       size_t n, double sigma);

/* y = sign(z), -1 for 0 as the stored bit has it. */
DNS_API void dns_binarise_sign_forward(dns_real *y, const dns_real *z, size_t n);
/* Straight through: dz = dy where |z| < limit, otherwise 0; dz may be dy. */
DNS_API void dns_binarise_sign_backward(dns_real *dz, const dns_real *dy, const dns_real *z,
                                        size_t n, double limit);

/* Bytes of one packed code of `dim` bits: dim / 8 rounded up. */
DNS_API size_t dns_code_bytes(size_t dim);

/* bits [n, dns_code_bytes(dim)] of z [n, dim]: bit k mod 8, from the least significant, of byte k /
 * 8 is z_k > 0; bits behind the last are 0. */
DNS_API void dns_binarise_pack(uint8_t *bits, const dns_real *z, size_t n, size_t dim);

/* Back to -1 and +1. */
DNS_API void dns_binarise_unpack(dns_real *y, const uint8_t *bits, size_t n, size_t dim);

#ifdef __cplusplus
}
#endif

#endif
