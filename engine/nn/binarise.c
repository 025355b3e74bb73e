#include "dnsel/binarise.h"

#include <math.h>
#include <string.h>

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
