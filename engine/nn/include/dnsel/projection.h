/*
 * A trainable linear map of region vectors (docs/training.md): y = norm(W z), where z are the
 * leading coordinates of a PCA whitening, more than are kept in the end, and W starts as the
 * identity, which is the PCA itself.
 *
 *     loss = InfoNCE of two views of each picture (dns_region_info_nce) + pull ||W - W0||^2 / out
 */
#ifndef DNSEL_PROJECTION_H
#define DNSEL_PROJECTION_H

#include "dnsel/parameters.h"
#include "dnsel/pool.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct dns_projection dns_projection;

/* *out = the map of the first `out_dim` of `in` coordinates: its one parameter "weight" [out_dim,
 * in] is the identity, cut off. DNS_ERR_ARG unless 0 < out_dim <= in. */
DNS_API DNS_MUST_CHECK dns_status dns_projection_create(dns_projection **out, size_t in,
                                                        size_t out_dim);
DNS_API void dns_projection_free(dns_projection *projection);
DNS_API dns_parameters *dns_projection_parameters(const dns_projection *projection);

/* Two views of n pictures of different scenes, z [n, n_regions, in] each. */
typedef struct dns_projection_batch {
    const dns_real *a, *b;
    size_t n, n_regions;
    double tau, pull;
} dns_projection_batch;

/* *loss of the batch; the gradient of "weight" += its derivative. */
DNS_API DNS_MUST_CHECK dns_status dns_projection_loss(double *loss, dns_projection *projection,
                                                      const dns_projection_batch *batch,
                                                      dns_pool *pool);

/* weight / rows * the squared distance of w [rows, columns] from the identity, cut off; its
 * gradient is added to dw. */
DNS_API double dns_pull_to_identity(dns_real *dw, const dns_real *w, size_t rows, size_t columns,
                                    double weight);

#ifdef __cplusplus
}
#endif

#endif
