#include "dnsel/binarise.h"

#include <math.h>
#include <string.h>

#include "matmul.h"

/* Work is cut by output into pieces whose size does not depend on the number of threads. */
enum { ROWS = 128, INPUTS = 64 };

struct projection {
    dns_real *z, *dx, *dw;
    const dns_real *x, *w, *dz;
    size_t n, dim, bits;
};

static size_t min(size_t a, size_t b)
{
    return a < b ? a : b;
}

static size_t pieces(size_t n, size_t size)
{
    return (n + size - 1) / size;
}

static dns_status project_task(void *payload, size_t task, size_t worker)
{
    (void)worker;
    const struct projection *p = payload;
    size_t first = task * ROWS;
    return dns_matmul(
        p->z + first * p->bits, p->bits, (dns_matrix){p->x + first * p->dim, p->dim, false},
        (dns_matrix){p->w, p->bits, false}, min(ROWS, p->n - first), p->bits, p->dim, false);
}

dns_status dns_binarise_project(dns_real *z, const dns_real *x, const dns_real *w, size_t n,
                                size_t dim, size_t bits, dns_pool *pool)
{
    struct projection p = {.z = z, .x = x, .w = w, .n = n, .dim = dim, .bits = bits};
    return dns_pool_run(pool, pieces(n, ROWS), project_task, &p);
}

static dns_status input_task(void *payload, size_t task, size_t worker)
{
    (void)worker;
    const struct projection *p = payload;
    size_t first = task * ROWS;
    return dns_matmul(
        p->dx + first * p->dim, p->dim, (dns_matrix){p->dz + first * p->bits, p->bits, false},
        (dns_matrix){p->w, p->bits, true}, min(ROWS, p->n - first), p->dim, p->bits, false);
}

static dns_status weight_task(void *payload, size_t task, size_t worker)
{
    (void)worker;
    const struct projection *p = payload;
    size_t first = task * INPUTS;
    return dns_matmul(p->dw + first * p->bits, p->bits, (dns_matrix){p->x + first, p->dim, true},
                      (dns_matrix){p->dz, p->bits, false}, min(INPUTS, p->dim - first), p->bits,
                      p->n, true);
}

dns_status dns_binarise_project_backward(dns_real *dx, dns_real *dw, const dns_real *dz,
                                         const dns_real *x, const dns_real *w, size_t n, size_t dim,
                                         size_t bits, dns_pool *pool)
{
    struct projection p = {
        .dx = dx, .dw = dw, .dz = dz, .x = x, .w = w, .n = n, .dim = dim, .bits = bits};
    dns_status status = DNS_OK;
    if (dx != NULL)
        DNS_TRY(dns_pool_run(pool, pieces(n, ROWS), input_task, &p));
    DNS_TRY(dns_pool_run(pool, pieces(dim, INPUTS), weight_task, &p));
out:
    return status;
}

void dns_binarise_erf_forward(dns_real *y, const dns_real *z, size_t n, double sigma)
{
    dns_real scale = (dns_real)(1 / sqrt(2 * sigma));
    for (size_t i = 0; i < n; i++)
        y[i] = (dns_real)erf(z[i] * scale);
}

void dns_binarise_erf_backward(dns_real *dz, const dns_real *dy, const dns_real *z, size_t n,
                               double sigma)
{
    const double two_over_root_pi = 1.12837916709551257390;
    dns_real scale = (dns_real)(1 / sqrt(2 * sigma));
    dns_real height = (dns_real)(two_over_root_pi / sqrt(2 * sigma));
    for (size_t i = 0; i < n; i++) {
        dns_real t = z[i] * scale;
        dz[i] = dy[i] * height * (dns_real)exp(-t * t);
    }
}

void dns_binarise_sign_forward(dns_real *y, const dns_real *z, size_t n)
{
    for (size_t i = 0; i < n; i++)
        y[i] = z[i] > 0 ? 1 : -1;
}

void dns_binarise_sign_backward(dns_real *dz, const dns_real *dy, const dns_real *z, size_t n,
                                double limit)
{
    for (size_t i = 0; i < n; i++)
        dz[i] = fabs((double)z[i]) < limit ? dy[i] : 0;
}

size_t dns_code_bytes(size_t dim)
{
    return dim / 8 + (dim % 8 != 0);
}

void dns_binarise_pack(uint8_t *bits, const dns_real *z, size_t n, size_t dim)
{
    size_t bytes = dns_code_bytes(dim);
    memset(bits, 0, n * bytes);
    for (size_t i = 0; i < n; i++) {
        for (size_t k = 0; k < dim; k++)
            bits[i * bytes + k / 8] |= (uint8_t)((z[i * dim + k] > 0) << (k % 8));
    }
}

void dns_binarise_unpack(dns_real *y, const uint8_t *bits, size_t n, size_t dim)
{
    size_t bytes = dns_code_bytes(dim);
    for (size_t i = 0; i < n; i++) {
        for (size_t k = 0; k < dim; k++)
            y[i * dim + k] = bits[i * bytes + k / 8] >> (k % 8) & 1 ? 1 : -1;
    }
}
