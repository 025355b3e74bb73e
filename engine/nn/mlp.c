#include "dnsel/mlp.h"

#include "dnsel/linear.h"
#include "dnsel/memory.h"

void dns_relu_forward(dns_real *y, const dns_real *x, size_t n)
{
    for (size_t i = 0; i < n; i++)
        y[i] = x[i] > 0 ? x[i] : 0;
}

void dns_relu_backward(dns_real *dx, const dns_real *dy, const dns_real *y, size_t n)
{
    for (size_t i = 0; i < n; i++)
        dx[i] = y[i] > 0 ? dy[i] : 0;
}

dns_status dns_mlp_forward(dns_real *const *outputs, const dns_real *x, size_t n,
                           const dns_mlp *mlp, dns_pool *pool)
{
    dns_status status = DNS_OK;
    for (size_t l = 0; l < mlp->n_layers; l++) {
        DNS_TRY(dns_linear_forward(outputs[l], l == 0 ? x : outputs[l - 1], mlp->w[l], mlp->b[l], n,
                                   mlp->sizes[l], mlp->sizes[l + 1], pool));
        if (l + 1 < mlp->n_layers)
            dns_relu_forward(outputs[l], outputs[l], n * mlp->sizes[l + 1]);
    }
out:
    return status;
}

dns_status dns_mlp_backward(dns_real *dx, dns_real *const *dw, dns_real *const *db,
                            const dns_real *dy, const dns_real *const *outputs, const dns_real *x,
                            size_t n, const dns_mlp *mlp, dns_pool *pool)
{
    dns_status status = DNS_OK;
    dns_real *gradients[2] = {NULL, NULL}; /* of two neighbouring layers */
    size_t widest = 0;
    for (size_t l = 1; l < mlp->n_layers; l++)
        widest = mlp->sizes[l] > widest ? mlp->sizes[l] : widest;
    for (size_t i = 0; i < 2; i++)
        DNS_TRY(dns_alloc(&gradients[i], n * widest, sizeof *gradients[i]));
    for (size_t l = mlp->n_layers; l-- > 0;) {
        dns_real *below = l > 0 ? gradients[l % 2] : dx;
        DNS_TRY(dns_linear_backward(below, dw[l], mlp->b[l] != NULL ? db[l] : NULL, dy,
                                    l > 0 ? outputs[l - 1] : x, mlp->w[l], n, mlp->sizes[l],
                                    mlp->sizes[l + 1], pool));
        if (l > 0)
            dns_relu_backward(below, below, outputs[l - 1], n * mlp->sizes[l]);
        dy = below;
    }
out:
    dns_free(gradients[0]);
    dns_free(gradients[1]);
    return status;
}
