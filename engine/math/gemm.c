#include "dnsel/gemm.h"

#include <stdint.h>

#include <omp.h>

#include <dnnl.h>

#include "dnsel/cpu.h"

/* Rows of `length` elements, `ld` apart. */
static bool fits(size_t length, size_t ld)
{
    return ld >= length && ld <= INT32_MAX;
}

static dns_status from_dnnl(dnnl_status_t code, size_t m, size_t n, size_t k)
{
    if (code == dnnl_success)
        return DNS_OK;
    return dns_status_set(code == dnnl_out_of_memory ? DNS_ERR_NOMEM : DNS_ERR_BACKEND,
                          "oneDNN: product [%zu,%zu] x [%zu,%zu]: status %d", m, k, k, n,
                          (int)code);
}

/* oneDNN would start a team of OpenMP threads; the number is a property of this thread, so it is
 * put back. */
static int enter_single(void)
{
    int n_threads = omp_get_max_threads();
    if (n_threads != 1)
        omp_set_num_threads(1);
    return n_threads;
}

static void leave_single(int n_threads)
{
    if (n_threads != 1)
        omp_set_num_threads(n_threads);
}

static void scale(float *c, size_t m, size_t n, size_t ldc, float beta)
{
    for (size_t i = 0; i < m; i++)
        for (size_t j = 0; j < n; j++)
            c[i * ldc + j] = beta == 0.0f ? 0.0f : beta * c[i * ldc + j];
}

dns_status dns_gemm_f32(bool transpose_a, bool transpose_b, size_t m, size_t n, size_t k,
                        float alpha, const float *a, size_t lda, const float *b, size_t ldb,
                        float beta, float *c, size_t ldc)
{
    if (!fits(transpose_a ? m : k, lda) || !fits(transpose_b ? k : n, ldb) || !fits(n, ldc) ||
        m > INT32_MAX || k > INT32_MAX)
        return dns_status_set(DNS_ERR_SHAPE,
                              "product [%zu,%zu] x [%zu,%zu] with rows %zu, %zu, %zu apart", m, k,
                              k, n, lda, ldb, ldc);
    if (m == 0 || n == 0)
        return DNS_OK;
    if (k == 0) {
        scale(c, m, n, ldc, beta);
        return DNS_OK;
    }
    (void)dns_cpu_flags(); /* settles the processor mask before oneDNN makes code */
    int n_threads = enter_single();
    dnnl_status_t code = dnnl_sgemm(transpose_a ? 'T' : 'N', transpose_b ? 'T' : 'N', (dnnl_dim_t)m,
                                    (dnnl_dim_t)n, (dnnl_dim_t)k, alpha, a, (dnnl_dim_t)lda, b,
                                    (dnnl_dim_t)ldb, beta, c, (dnnl_dim_t)ldc);
    leave_single(n_threads);
    return from_dnnl(code, m, n, k);
}

dns_status dns_gemm_dense_f32(bool transpose_a, bool transpose_b, size_t m, size_t n, size_t k,
                              const float *a, const float *b, float beta, float *c)
{
    return dns_gemm_f32(transpose_a, transpose_b, m, n, k, 1.0f, a, transpose_a ? m : k, b,
                        transpose_b ? k : n, beta, c, n);
}
