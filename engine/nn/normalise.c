#include "dnsel/normalise.h"

#include <math.h>
#include <stdbool.h>

static const double SMALLEST = 1e-12;

/* Eight sums side by side, so that the compiler may use whole vectors. */
static double dot(const dns_real *a, const dns_real *b, size_t n)
{
    enum { LANES = 8 };
    double lanes[LANES] = {0}, sum = 0;
    size_t i = 0;
    for (; i + LANES <= n; i += LANES) {
        for (size_t j = 0; j < LANES; j++)
            lanes[j] += (double)a[i + j] * (double)b[i + j];
    }
    for (; i < n; i++)
        sum += (double)a[i] * (double)b[i];
    for (size_t j = 0; j < LANES; j++)
        sum += lanes[j];
    return sum;
}

void dns_normalise_forward(dns_real *y, dns_real *norm, const dns_real *x, size_t n, size_t dim)
{
    for (size_t i = 0; i < n; i++) {
        dns_real length = (dns_real)fmax(sqrt(dot(x + i * dim, x + i * dim, dim)), SMALLEST);
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
        bool is_scaled = norm[i] > (dns_real)SMALLEST;
        dns_real along = is_scaled ? (dns_real)dot(y + i * dim, dy + i * dim, dim) : 0;
        for (size_t j = 0; j < dim; j++)
            dx[i * dim + j] = (dy[i * dim + j] - along * y[i * dim + j]) / norm[i];
    }
}
