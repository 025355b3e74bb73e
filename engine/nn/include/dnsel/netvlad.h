/*
 * NetVLAD (docs/networks/coarse.md) over packed sequences (dnsel/sequences.h): soft assignment of N
 * frames to K centroids, and per video the sum of what is left over, before the reduction to a
 * short vector.
 */
#ifndef DNSEL_NETVLAD_H
#define DNSEL_NETVLAD_H

#include "dnsel/pool.h"
#include "dnsel/real.h"
#include "dnsel/sequences.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct dns_netvlad {
    size_t dim, n_clusters;
    const dns_real *centroids,
        *assignment; /* [K, dim] each; the second is the 1x1 convolution without bias */
} dns_netvlad;

/*
 * a = softmax over k of (assignment x),  V_k = sum over the video's frames of a_k (x - c_k),
 * v = norm([norm(V_1), ..., norm(V_K)]).
 *
 * v is [videos, K * dim]; a [N, K] and lengths [videos * K + videos] (of all V_k, then of the
 * whole) are kept for the backward pass. A video without frames gives zeros.
 */
DNS_API DNS_MUST_CHECK dns_status dns_netvlad_forward(dns_real *v, dns_real *a, dns_real *lengths,
                                                      const dns_real *x, dns_sequences videos,
                                                      const dns_netvlad *netvlad, dns_pool *pool);

/* dx [N, dim] (overwritten) from dv [videos, K * dim], which is overwritten on the way; dcentroids
 * and dassignment are added to. DNS_ERR_NOMEM. */
DNS_API DNS_MUST_CHECK dns_status dns_netvlad_backward(dns_real *dx, dns_real *dcentroids,
                                                       dns_real *dassignment, dns_real *dv,
                                                       const dns_real *v, const dns_real *a,
                                                       const dns_real *lengths, const dns_real *x,
                                                       dns_sequences videos,
                                                       const dns_netvlad *netvlad, dns_pool *pool);

#ifdef __cplusplus
}
#endif

#endif
