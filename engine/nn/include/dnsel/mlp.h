/*
 * Multi-layer perceptron: linear layers with ReLU between them, none after the last.
 */
#ifndef DNSEL_MLP_H
#define DNSEL_MLP_H

#include "dnsel/pool.h"
#include "dnsel/real.h"

#ifdef __cplusplus
extern "C" {
#endif

/* y [n] = max(x, 0); y may be x. */
DNS_API void dns_relu_forward(dns_real *y, const dns_real *x, size_t n);
/* dx = dy where y > 0, otherwise 0; y is the output of the forward pass. dx may be dy. */
DNS_API void dns_relu_backward(dns_real *dx, const dns_real *dy, const dns_real *y, size_t n);

/* Layer l reads sizes[l] numbers and gives sizes[l + 1]: w[l] [sizes[l + 1], sizes[l]], b[l]
 * [sizes[l + 1]] or NULL. */
typedef struct dns_mlp {
    size_t n_layers;
    const size_t *sizes;                 /* [n_layers + 1] */
    const dns_real *const *w, *const *b; /* [n_layers] */
} dns_mlp;

/* outputs[l] [n, sizes[l + 1]] = what layer l gives, after its ReLU; the last one is the answer. x
 * is [n, sizes[0]]. */
DNS_API DNS_MUST_CHECK dns_status dns_mlp_forward(dns_real *const *outputs, const dns_real *x,
                                                  size_t n, const dns_mlp *mlp, dns_pool *pool);

/* From dy [n, the last size]: dx [n, sizes[0]] is overwritten (NULL when not wanted), dw[l] and
 * db[l] (NULL where b is) are added to. DNS_ERR_NOMEM. */
DNS_API DNS_MUST_CHECK dns_status dns_mlp_backward(dns_real *dx, dns_real *const *dw,
                                                   dns_real *const *db, const dns_real *dy,
                                                   const dns_real *const *outputs,
                                                   const dns_real *x, size_t n, const dns_mlp *mlp,
                                                   dns_pool *pool);

#ifdef __cplusplus
}
#endif

#endif
