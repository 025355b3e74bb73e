#include "dnsel/itq.h"

#include <string.h>

#include "dnsel/linalg.h"
#include "dnsel/memory.h"

struct itq {
    size_t n, dim, bits;
    double *covariance, *values; /* [dim, dim]: rows become eigenvectors */
    double *x, *v, *z;           /* rows, V = X P, V R */
    double *r, *product, *u, *s, *qt;
};

static dns_status allocate(struct itq *q)
{
    dns_status status = DNS_OK;
    size_t square = q->bits * q->bits;
    DNS_TRY(dns_alloc(&q->covariance, q->dim, q->dim * sizeof(double)));
    DNS_TRY(dns_alloc(&q->values, q->dim, sizeof(double)));
    DNS_TRY(dns_alloc(&q->x, q->n, q->dim * sizeof(double)));
    DNS_TRY(dns_alloc(&q->v, q->n, q->bits * sizeof(double)));
    DNS_TRY(dns_alloc(&q->z, q->n, q->bits * sizeof(double)));
    DNS_TRY(dns_alloc(&q->r, square, sizeof(double)));
    DNS_TRY(dns_alloc(&q->product, square, sizeof(double)));
    DNS_TRY(dns_alloc(&q->u, square, sizeof(double)));
    DNS_TRY(dns_alloc(&q->s, q->bits, sizeof(double)));
    DNS_TRY(dns_alloc(&q->qt, square, sizeof(double)));
out:
    return status;
}

static void release(struct itq *q)
{
    double *all[] = {q->covariance, q->values,  q->x, q->v, q->z,
                     q->r,          q->product, q->u, q->s, q->qt};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++)
        dns_free(all[i]);
}

/* One round: R = Q U^T of the codes as they are. */
static dns_status turn(struct itq *q)
{
    dns_status status = DNS_OK;
    size_t n = q->n, bits = q->bits;
    DNS_TRY(dns_gemm_f64(false, false, n, bits, bits, 1, q->v, q->r, 0, q->z));
    for (size_t i = 0; i < n * bits; i++)
        q->z[i] = q->z[i] > 0 ? 1 : -1;
    DNS_TRY(dns_gemm_f64(true, false, bits, bits, n, 1, q->z, q->v, 0, q->product));
    DNS_TRY(dns_svd(q->u, q->s, q->qt, q->product, bits, bits));
    DNS_TRY(dns_gemm_f64(true, true, bits, bits, bits, 1, q->qt, q->u, 0, q->r));
out:
    return status;
}

dns_status dns_itq_learn(float *w, const float *x, size_t n, size_t dim, size_t bits,
                         size_t n_rounds, dns_random *random)
{
    dns_status status = DNS_OK;
    struct itq q = {.n = n, .dim = dim, .bits = bits};
    double *mean = NULL;
    if (n == 0 || bits == 0 || bits > dim)
        DNS_FAIL(DNS_ERR_ARG, "%zu bits of %zu vectors of %zu values", bits, n, dim);
    DNS_TRY(allocate(&q));
    DNS_TRY(dns_alloc(&mean, dim, sizeof *mean));
    for (size_t i = 0; i < n * dim; i++)
        q.x[i] = (double)x[i];
    for (size_t i = 0; i < n * dim; i++)
        mean[i % dim] += q.x[i] / (double)n;
    DNS_TRY(dns_scatter_add(q.covariance, x, n, dim, mean));
    DNS_TRY(dns_eigen_symmetric(q.values, q.covariance, dim));
    DNS_TRY(dns_gemm_f64(false, true, n, bits, dim, 1, q.x, q.covariance, 0, q.v));
    for (size_t i = 0; i < bits * bits; i++)
        q.r[i] = dns_random_normal(random);
    DNS_TRY(dns_orthonormalise(q.r, bits, bits));
    for (size_t round = 0; round < n_rounds; round++)
        DNS_TRY(turn(&q));
    for (size_t i = 0; i < dim; i++)
        for (size_t j = 0; j < bits; j++) {
            double sum = 0;
            for (size_t k = 0; k < bits; k++)
                sum += q.covariance[k * dim + i] * q.r[k * bits + j];
            w[i * bits + j] = (float)sum;
        }
out:
    dns_free(mean);
    release(&q);
    return status;
}
