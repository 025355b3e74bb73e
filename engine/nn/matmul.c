#include "matmul.h"

#ifdef DNS_REAL_DOUBLE

dns_status dns_matmul(dns_real *c, size_t stride, dns_matrix a, dns_matrix b, size_t m, size_t n,
                      size_t k, bool accumulate)
{
    for (size_t i = 0; i < m; i++) {
        for (size_t j = 0; j < n; j++) {
            dns_real sum = 0;
            for (size_t l = 0; l < k; l++)
                sum += (a.transposed ? a.data[l * a.stride + i] : a.data[i * a.stride + l]) *
                       (b.transposed ? b.data[j * b.stride + l] : b.data[l * b.stride + j]);
            c[i * stride + j] = accumulate ? c[i * stride + j] + sum : sum;
        }
    }
    return DNS_OK;
}

#else

#include "dnsel/gemm.h"

dns_status dns_matmul(dns_real *c, size_t stride, dns_matrix a, dns_matrix b, size_t m, size_t n,
                      size_t k, bool accumulate)
{
    return dns_gemm_f32(a.transposed, b.transposed, m, n, k, 1, a.data, a.stride, b.data, b.stride,
                        accumulate ? 1 : 0, c, stride);
}

#endif
