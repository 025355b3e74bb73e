#include "dnsel/whitening.h"

#include <math.h>
#include <string.h>

#include "dnsel/linalg.h"
#include "dnsel/memory.h"

struct dns_whitening_learner {
    size_t dim, n;
    double *sum;     /* of x */
    double *scatter; /* [dim][dim] of x x^T */
};

dns_status dns_whitening_learner_create(dns_whitening_learner **out, size_t dim)
{
    dns_status status = DNS_OK;
    dns_whitening_learner *l = NULL;
    size_t square;
    *out = NULL;
    if (dim < 1 || !dns_size_multiply(dim, dim, &square))
        DNS_FAIL(DNS_ERR_SHAPE, "vectors of %zu values", dim);
    DNS_TRY(dns_alloc(&l, 1, sizeof *l));
    l->dim = dim;
    DNS_TRY(dns_alloc(&l->sum, dim, sizeof *l->sum));
    DNS_TRY(dns_alloc(&l->scatter, square, sizeof *l->scatter));
    *out = l;
    l = NULL;
out:
    dns_whitening_learner_free(l);
    return status;
}

void dns_whitening_learner_free(dns_whitening_learner *learner)
{
    if (learner == NULL)
        return;
    dns_free(learner->sum);
    dns_free(learner->scatter);
    dns_free(learner);
}

dns_status dns_whitening_learner_add(dns_whitening_learner *learner, const float *vectors, size_t n)
{
    size_t dim = learner->dim;
    for (size_t i = 0; i < n * dim; i++)
        if (!isfinite(vectors[i]))
            return dns_status_set(DNS_ERR_RANGE, "vector %zu: value %zu is not finite", i / dim,
                                  i % dim);
    dns_status status = dns_scatter_add(learner->scatter, vectors, n, dim, NULL);
    if (status != DNS_OK)
        return status;
    for (size_t i = 0; i < n; i++)
        for (size_t k = 0; k < dim; k++)
            learner->sum[k] += (double)vectors[i * dim + k];
    learner->n += n;
    return DNS_OK;
}

dns_status dns_whitening_learner_merge(dns_whitening_learner *learner,
                                       const dns_whitening_learner *other)
{
    size_t dim = learner->dim;
    if (dim != other->dim)
        return dns_status_set(DNS_ERR_SHAPE, "vectors of %zu and of %zu values", dim, other->dim);
    for (size_t i = 0; i < dim * dim; i++)
        learner->scatter[i] += other->scatter[i];
    for (size_t i = 0; i < dim; i++)
        learner->sum[i] += other->sum[i];
    learner->n += other->n;
    return DNS_OK;
}

size_t dns_whitening_learner_count(const dns_whitening_learner *learner)
{
    return learner->n;
}

dns_status dns_whitening_learner_solve(dns_whitening **out, const dns_whitening_learner *learner,
                                       size_t out_dim)
{
    dns_status status = DNS_OK;
    size_t dim = learner->dim;
    double n = (double)learner->n;
    double *scatter = NULL, *values = NULL;
    float *mean = NULL, *matrix = NULL;
    *out = NULL;
    if (out_dim < 1 || out_dim > dim)
        DNS_FAIL(DNS_ERR_ARG, "whitening from %zu to %zu values", dim, out_dim);
    if (learner->n <= out_dim)
        DNS_FAIL(DNS_ERR_LIMIT, "%zu vectors for a whitening to %zu values", learner->n, out_dim);
    DNS_TRY(dns_alloc(&scatter, dim * dim, sizeof *scatter));
    DNS_TRY(dns_alloc(&values, dim, sizeof *values));
    DNS_TRY(dns_alloc(&mean, dim, sizeof *mean));
    DNS_TRY(dns_alloc(&matrix, dim * out_dim, sizeof *matrix));
    for (size_t i = 0; i < dim; i++) {
        mean[i] = (float)(learner->sum[i] / n);
        for (size_t k = 0; k < dim; k++)
            scatter[i * dim + k] =
                learner->scatter[i * dim + k] - learner->sum[i] * learner->sum[k] / n;
    }
    DNS_TRY(dns_eigen_symmetric(values, scatter, dim)); /* row k is the vector of values[k] */
    for (size_t k = 0; k < out_dim; k++) {
        double factor = 1.0 / sqrt((values[k] > 0.0 ? values[k] : 0.0) + 1e-7);
        for (size_t i = 0; i < dim; i++)
            matrix[i * out_dim + k] = (float)(scatter[k * dim + i] * factor);
    }
    DNS_TRY(dns_whitening_create(out, mean, matrix, dim, out_dim));
out:
    dns_free(scatter);
    dns_free(values);
    dns_free(mean);
    dns_free(matrix);
    return status;
}
