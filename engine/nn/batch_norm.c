#include "dnsel/batch_norm.h"

#include <math.h>

static const double EPSILON = 1e-5, MOMENTUM = 0.1;

static double reciprocal_deviation(dns_real variance)
{
    return 1.0 / sqrt((double)variance + EPSILON);
}

void dns_batch_norm_statistics(dns_real *mean, dns_real *variance, const dns_real *x, size_t n,
                               size_t dim)
{
    for (size_t j = 0; j < dim; j++) {
        double sum = 0, squares = 0;
        for (size_t i = 0; i < n; i++)
            sum += (double)x[i * dim + j];
        double centre = sum / (double)n;
        for (size_t i = 0; i < n; i++) {
            double off = (double)x[i * dim + j] - centre;
            squares += off * off;
        }
        mean[j] = (dns_real)centre;
        variance[j] = (dns_real)(squares / (double)n);
    }
}

void dns_batch_norm_apply(dns_real *y, const dns_real *x, const dns_real *mean,
                          const dns_real *variance, const dns_real *w, const dns_real *b, size_t n,
                          size_t dim)
{
    for (size_t j = 0; j < dim; j++) {
        dns_real scale = (dns_real)(reciprocal_deviation(variance[j]) * (double)w[j]);
        for (size_t i = 0; i < n; i++)
            y[i * dim + j] = (x[i * dim + j] - mean[j]) * scale + b[j];
    }
}

void dns_batch_norm_track(dns_real *running_mean, dns_real *running_variance, const dns_real *mean,
                          const dns_real *variance, size_t n, size_t dim)
{
    double unbiased = (double)n / (double)(n - 1);
    for (size_t j = 0; j < dim; j++) {
        running_mean[j] =
            (dns_real)((1 - MOMENTUM) * (double)running_mean[j] + MOMENTUM * (double)mean[j]);
        running_variance[j] = (dns_real)((1 - MOMENTUM) * (double)running_variance[j] +
                                         MOMENTUM * unbiased * (double)variance[j]);
    }
}

/* With h = (x - mean) * rstd: dx = w * rstd * (dy - mean(dy) - h * mean(dy * h)). */
void dns_batch_norm_backward(dns_real *dx, dns_real *dw, dns_real *db, const dns_real *dy,
                             const dns_real *x, const dns_real *mean, const dns_real *variance,
                             const dns_real *w, size_t n, size_t dim)
{
    for (size_t j = 0; j < dim; j++) {
        double rstd = reciprocal_deviation(variance[j]), sum = 0, sum_h = 0;
        for (size_t i = 0; i < n; i++) {
            double h = (double)(x[i * dim + j] - mean[j]) * rstd;
            sum += (double)dy[i * dim + j];
            sum_h += (double)dy[i * dim + j] * h;
        }
        for (size_t i = 0; i < n; i++) {
            double h = (double)(x[i * dim + j] - mean[j]) * rstd;
            double centred = (double)dy[i * dim + j] - sum / (double)n - h * sum_h / (double)n;
            dx[i * dim + j] = (dns_real)((double)w[j] * rstd * centred);
        }
        dw[j] += (dns_real)sum_h;
        db[j] += (dns_real)sum;
    }
}

void dns_batch_norm_fold(dns_real *scale, dns_real *shift, const dns_real *mean,
                         const dns_real *variance, const dns_real *w, const dns_real *b, size_t dim)
{
    for (size_t j = 0; j < dim; j++) {
        double factor = (double)w[j] * reciprocal_deviation(variance[j]);
        scale[j] = (dns_real)factor;
        shift[j] = (dns_real)((double)b[j] - (double)mean[j] * factor);
    }
}
