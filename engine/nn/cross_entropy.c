#include "dnsel/cross_entropy.h"

#include <math.h>

#include "dnsel/activation.h"

void dns_softmax(dns_real *rows, size_t n, size_t m)
{
    for (size_t i = 0; i < n; i++) {
        dns_real *row = rows + i * m, largest = -INFINITY;
        for (size_t j = 0; j < m; j++)
            largest = row[j] > largest ? row[j] : largest;
        double sum = 0;
        for (size_t j = 0; j < m; j++)
            row[j] = largest == -INFINITY ? -INFINITY : row[j] - largest;
        dns_exp(row, row, m);
        for (size_t j = 0; j < m; j++)
            sum += (double)row[j];
        dns_real factor = sum > 0 ? (dns_real)(1 / sum) : 0;
        for (size_t j = 0; j < m; j++)
            row[j] *= factor;
    }
}

/* log of the sum of exp(scale * logit) over a row. */
static double log_sum_exp(const dns_real *row, size_t m, double scale)
{
    double largest = -INFINITY, sum = 0;
    for (size_t j = 0; j < m; j++)
        largest = fmax(largest, scale * (double)row[j]);
    for (size_t j = 0; j < m; j++)
        sum += exp(scale * (double)row[j] - largest);
    return largest + log(sum);
}

void dns_cross_entropy(double *loss, dns_real *dlogits, const dns_real *logits,
                       const dns_real *targets, const dns_real *weights, size_t n, size_t m,
                       double scale)
{
    double total = 0;
    for (size_t i = 0; i < n; i++) {
        const dns_real *row = logits + i * m, *target = targets + i * m;
        double weight = weights != NULL ? (double)weights[i] : 1, mass = 0, norm;
        norm = log_sum_exp(row, m, scale);
        for (size_t j = 0; j < m; j++) {
            mass += (double)target[j];
            if (target[j] > 0)
                total += weight * (double)target[j] * (norm - scale * (double)row[j]);
        }
        for (size_t j = 0; dlogits != NULL && j < m; j++) {
            double p = exp(scale * (double)row[j] - norm);
            dlogits[i * m + j] =
                (dns_real)(weight * scale / (double)n * (mass * p - (double)target[j]));
        }
    }
    *loss = total / (double)n;
}

void dns_info_nce(double *loss, dns_real *dsimilarities, const dns_real *similarities,
                  const size_t *positives, size_t n, size_t m, double tau)
{
    double total = 0;
    for (size_t i = 0; i < n; i++) {
        const dns_real *row = similarities + i * m;
        size_t positive = positives != NULL ? positives[i] : i;
        double norm = log_sum_exp(row, m, 1 / tau);
        total += norm - (double)row[positive] / tau;
        for (size_t j = 0; dsimilarities != NULL && j < m; j++) {
            double p = exp((double)row[j] / tau - norm);
            dsimilarities[i * m + j] = (dns_real)((p - (j == positive)) / (tau * (double)n));
        }
    }
    *loss = total / (double)n;
}
