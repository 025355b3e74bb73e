#include "dnsel/projection.h"

#include "dnsel/backbone_tail.h"
#include "dnsel/linear.h"
#include "dnsel/memory.h"
#include "dnsel/normalise.h"

struct dns_projection {
    dns_parameters *parameters;
    size_t weight, in, out;
};

dns_status dns_projection_create(dns_projection **out, size_t in, size_t out_dim)
{
    dns_status status = DNS_OK;
    dns_projection *p = NULL;
    *out = NULL;
    if (out_dim == 0 || out_dim > in)
        DNS_FAIL(DNS_ERR_ARG, "a projection from %zu to %zu values", in, out_dim);
    DNS_TRY(dns_alloc(&p, 1, sizeof *p));
    p->in = in;
    p->out = out_dim;
    DNS_TRY(dns_parameters_create(&p->parameters));
    DNS_TRY(dns_parameters_add(p->parameters, &p->weight, "weight", 2, (size_t[]){out_dim, in},
                               DNS_PARAMETER_TRAINED));
    DNS_TRY(dns_parameters_allocate(p->parameters, true));
    dns_real *w = dns_parameters_weight(p->parameters, p->weight);
    for (size_t i = 0; i < out_dim; i++)
        w[i * in + i] = 1;
    *out = p;
    p = NULL;
out:
    dns_projection_free(p);
    return status;
}

void dns_projection_free(dns_projection *p)
{
    if (p == NULL)
        return;
    dns_parameters_free(p->parameters);
    dns_free(p);
}

dns_parameters *dns_projection_parameters(const dns_projection *p)
{
    return p->parameters;
}

/* Both views go through the map, a before b: arrays [2 n R, .]. */
struct pass {
    dns_real *y, *norm, *dy;
};

static dns_status forward(struct pass *pass, const dns_projection *p, const dns_projection_batch *b,
                          dns_pool *pool)
{
    dns_status status = DNS_OK;
    size_t rows = b->n * b->n_regions;
    const dns_real *w = dns_parameters_weight(p->parameters, p->weight);
    DNS_TRY(dns_alloc(&pass->y, 2 * rows, p->out * sizeof *pass->y));
    DNS_TRY(dns_alloc(&pass->dy, 2 * rows, p->out * sizeof *pass->dy));
    DNS_TRY(dns_alloc(&pass->norm, 2 * rows, sizeof *pass->norm));
    DNS_TRY(dns_linear_forward(pass->y, b->a, w, NULL, rows, p->in, p->out, pool));
    DNS_TRY(dns_linear_forward(pass->y + rows * p->out, b->b, w, NULL, rows, p->in, p->out, pool));
    dns_normalise_forward(pass->y, pass->norm, pass->y, 2 * rows, p->out);
out:
    return status;
}

double dns_pull_to_identity(dns_real *dw, const dns_real *w, size_t rows, size_t columns,
                            double weight)
{
    double sum = 0, scale = weight / (double)rows;
    for (size_t i = 0; i < rows; i++)
        for (size_t j = 0; j < columns; j++) {
            double away = (double)w[i * columns + j] - (i == j);
            sum += away * away;
            dw[i * columns + j] += (dns_real)(2 * scale * away);
        }
    return scale * sum;
}

dns_status dns_projection_loss(double *loss, dns_projection *p, const dns_projection_batch *b,
                               dns_pool *pool)
{
    dns_status status = DNS_OK;
    struct pass pass = {0};
    size_t rows = b->n * b->n_regions, half = rows * p->out;
    const dns_real *w = dns_parameters_weight(p->parameters, p->weight);
    dns_real *dw = dns_parameters_gradient(p->parameters, p->weight);
    DNS_TRY(forward(&pass, p, b, pool));
    const dns_region_pairs pairs = {pass.y, pass.y + half, b->n, b->n_regions, p->out, b->tau};
    DNS_TRY(dns_region_info_nce(loss, pass.dy, pass.dy + half, &pairs, pool));
    dns_normalise_backward(pass.dy, pass.dy, pass.y, pass.norm, 2 * rows, p->out);
    DNS_TRY(dns_linear_backward(NULL, dw, NULL, pass.dy, b->a, w, rows, p->in, p->out, pool));
    DNS_TRY(
        dns_linear_backward(NULL, dw, NULL, pass.dy + half, b->b, w, rows, p->in, p->out, pool));
    *loss += dns_pull_to_identity(dw, w, p->out, p->in, b->pull);
out:
    dns_free(pass.y);
    dns_free(pass.dy);
    dns_free(pass.norm);
    return status;
}
