#include "dnsel/rounding.h"

#include "dnsel/kernels.h"

#include <math.h>
#include <stdbool.h>
#include <string.h>

dns_status dns_rows_to_i8(int8_t *codes, float *scales, const float *x, size_t n_rows, size_t dim)
{
    dns_kernels kernels;
    dns_kernels_get(&kernels, dns_cpu_flags());
    for (size_t r = 0; r < n_rows; r++, x += dim, codes += dim) {
        bool finite = true;
        for (size_t i = 0; i < dim; i++)
            finite &= isfinite(x[i]) != 0;
        if (!finite)
            return dns_status_set(DNS_ERR_RANGE, "row %zu has an element that is not finite", r);
        scales[r] = kernels.row_to_i8(codes, x, dim);
    }
    return DNS_OK;
}

void dns_rows_from_i8(float *x, const int8_t *codes, const float *scales, size_t n_rows, size_t dim)
{
    for (size_t r = 0; r < n_rows; r++)
        for (size_t i = 0; i < dim; i++)
            x[r * dim + i] = scales[r] * (float)codes[r * dim + i];
}

dns_status dns_codes_from_f32(uint8_t *codes, const float *x, size_t n_rows, size_t dim)
{
    size_t n_bytes = (dim + 7) / 8;
    memset(codes, 0, n_rows * n_bytes);
    for (size_t row = 0; row < n_rows; row++)
        for (size_t i = 0; i < dim; i++) {
            float value = x[row * dim + i];
            if (isnan(value))
                return dns_status_set(DNS_ERR_RANGE, "vector %zu: element %zu is not a number", row,
                                      i);
            codes[row * n_bytes + i / 8] |= (uint8_t)((value > 0.0f) << i % 8);
        }
    return DNS_OK;
}
