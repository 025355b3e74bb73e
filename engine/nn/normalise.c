#include "dnsel/normalise.h"

#include <math.h>

static const double SMALLEST = 1e-12;

void dns_normalise_forward(dns_real *y, dns_real *norm, const dns_real *x, size_t n, size_t dim)
{
    for (size_t i = 0; i < n; i++) {
        double sum = 0;
        for (size_t j = 0; j < dim; j++)
            sum += (double)x[i * dim + j] * (double)x[i * dim + j];
        dns_real length = (dns_real)fmax(sqrt(sum), SMALLEST);
        for (size_t j = 0; j < dim; j++)
            y[i * dim + j] = x[i * dim + j] / length;
        if (norm != NULL)
            norm[i] = length;
    }
}

void dns_normalise_backward(dns_real *dx, const dns_real *dy, const dns_real *y,
                            const dns_real *norm, size_t n, size_t dim)
{
    for (size_t i = 0; i < n; i++) {
        dns_real along = 0;
        for (size_t j = 0; j < dim && norm[i] > (dns_real)SMALLEST; j++)
            along += y[i * dim + j] * dy[i * dim + j];
        for (size_t j = 0; j < dim; j++)
            dx[i * dim + j] = (dy[i * dim + j] - along * y[i * dim + j]) / norm[i];
    }
}
