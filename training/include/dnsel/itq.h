/* Iterative quantisation: a rotation after PCA whose signs lose the least
 * (docs/networks/fine-binary.md). */
#ifndef DNSEL_ITQ_H
#define DNSEL_ITQ_H

#include <stddef.h>

#include "dnsel/random.h"
#include "dnsel/status.h"

#ifdef __cplusplus
extern "C" {
#endif

/* w [dim, bits] = P R of rows x [n, dim], not centred: P the first `bits` eigenvectors of their
 * covariance, R from a random rotation by `n_rounds` (published: 50) rounds of B = sign(X P R),
 * SVD of B^T X P = U S Q^T, R = Q U^T. Errors: DNS_ERR_ARG for more bits than dimensions or no
 * rows; those of dnsel/linalg.h. */
DNS_API DNS_MUST_CHECK dns_status dns_itq_learn(float *w, const float *x, size_t n, size_t dim,
                                                size_t bits, size_t n_rounds, dns_random *random);

#ifdef __cplusplus
}
#endif

#endif
