#include "dnsel/linalg.h"

#include <math.h>
#include <omp.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include <cblas.h>
#include <lapacke.h>

#include "dnsel/memory.h"

/* OpenBLAS takes as many threads as OpenMP would; a worker has one, other callers get their number
 * back. */
static int enter_single(void)
{
    int n_threads = omp_get_max_threads();
    omp_set_num_threads(1);
    return n_threads;
}

static dns_status from_lapack(const char *what, lapack_int info, size_t m, size_t n)
{
    if (info == 0)
        return DNS_OK;
    if (info == LAPACK_WORK_MEMORY_ERROR || info == LAPACK_TRANSPOSE_MEMORY_ERROR)
        return dns_status_set(DNS_ERR_NOMEM, "%s [%zu,%zu]: out of memory", what, m, n);
    if (info < 0)
        return dns_status_set(DNS_ERR_RANGE, "%s [%zu,%zu]: not finite", what, m, n);
    return dns_status_set(DNS_ERR_BACKEND, "%s [%zu,%zu]: no convergence", what, m, n);
}

static bool is_finite(const double *a, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (!isfinite(a[i]))
            return false;
    return true;
}

static dns_status check(const char *what, const double *a, size_t m, size_t n)
{
    size_t count;
    if (!dns_size_multiply(m, n, &count) || count > INT32_MAX)
        return dns_status_set(DNS_ERR_SHAPE, "%s [%zu,%zu]: too large", what, m, n);
    if (!is_finite(a, count))
        return dns_status_set(DNS_ERR_RANGE, "%s [%zu,%zu]: not finite", what, m, n);
    return DNS_OK;
}

static void swap_rows(double *a, double *b, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        double kept = a[i];
        a[i] = b[i];
        b[i] = kept;
    }
}

static void make_sign_definite(double *row, size_t n)
{
    double largest = 0.0;
    for (size_t i = 0; i < n; i++)
        if (fabs(row[i]) > fabs(largest))
            largest = row[i];
    for (size_t i = 0; largest < 0.0 && i < n; i++)
        row[i] = -row[i];
}

dns_status dns_eigen_symmetric(double *values, double *matrix, size_t n)
{
    if (n == 0)
        return DNS_OK;
    dns_status status = check("eigenvectors", matrix, n, n);
    if (status != DNS_OK)
        return status;
    /* Our lower triangle is the upper one by columns, and LAPACK's columns of vectors are our rows.
     */
    int n_threads = enter_single();
    lapack_int info =
        LAPACKE_dsyevd(LAPACK_COL_MAJOR, 'V', 'U', (lapack_int)n, matrix, (lapack_int)n, values);
    omp_set_num_threads(n_threads);
    if (info != 0)
        return from_lapack("eigenvectors", info, n, n);
    for (size_t i = 0; i < n / 2; i++) {
        swap_rows(&values[i], &values[n - 1 - i], 1);
        swap_rows(matrix + i * n, matrix + (n - 1 - i) * n, n);
    }
    for (size_t i = 0; i < n; i++)
        make_sign_definite(matrix + i * n, n);
    return DNS_OK;
}

dns_status dns_svd(double *u, double *s, double *vt, double *a, size_t m, size_t n)
{
    if (m == 0 || n == 0)
        return DNS_OK;
    dns_status status = check("singular values", a, m, n);
    if (status != DNS_OK)
        return status;
    size_t r = m < n ? m : n;
    /* By columns A is its transpose [n,m] = (Vt)^T diag(s) U^T, so the factors change places. */
    int n_threads = enter_single();
    lapack_int info = LAPACKE_dgesdd(LAPACK_COL_MAJOR, 'S', (lapack_int)n, (lapack_int)m, a,
                                     (lapack_int)n, s, vt, (lapack_int)n, u, (lapack_int)r);
    omp_set_num_threads(n_threads);
    return from_lapack("singular values", info, m, n);
}

dns_status dns_orthonormalise(double *a, size_t m, size_t n)
{
    dns_status status = DNS_OK;
    double *tau = NULL;
    int *is_negative = NULL;
    int n_threads = enter_single();
    if (m < n)
        DNS_FAIL(DNS_ERR_SHAPE, "orthonormal basis of %zu columns in %zu dimensions", n, m);
    if (n == 0)
        goto out;
    DNS_TRY(check("orthonormal basis", a, m, n));
    DNS_TRY(dns_alloc(&tau, n, sizeof *tau));
    DNS_TRY(dns_alloc(&is_negative, n, sizeof *is_negative));
    lapack_int info =
        LAPACKE_dgeqrf(LAPACK_ROW_MAJOR, (lapack_int)m, (lapack_int)n, a, (lapack_int)n, tau);
    for (size_t j = 0; j < n; j++)
        is_negative[j] = a[j * n + j] < 0.0;
    if (info == 0)
        info = LAPACKE_dorgqr(LAPACK_ROW_MAJOR, (lapack_int)m, (lapack_int)n, (lapack_int)n, a,
                              (lapack_int)n, tau);
    DNS_TRY(from_lapack("orthonormal basis", info, m, n));
    for (size_t i = 0; i < m; i++)
        for (size_t j = 0; j < n; j++)
            if (is_negative[j])
                a[i * n + j] = -a[i * n + j];
out:
    omp_set_num_threads(n_threads);
    dns_free(is_negative);
    dns_free(tau);
    return status;
}

dns_status dns_gemm_f64(bool transpose_a, bool transpose_b, size_t m, size_t n, size_t k,
                        double alpha, const double *a, const double *b, double beta, double *c)
{
    if (m > INT32_MAX || n > INT32_MAX || k > INT32_MAX)
        return dns_status_set(DNS_ERR_SHAPE, "product [%zu,%zu] x [%zu,%zu]", m, k, k, n);
    if (m == 0 || n == 0)
        return DNS_OK;
    size_t lda = transpose_a ? m : k, ldb = transpose_b ? k : n;
    int n_threads = enter_single();
    cblas_dgemm(CblasRowMajor, transpose_a ? CblasTrans : CblasNoTrans,
                transpose_b ? CblasTrans : CblasNoTrans, (blasint)m, (blasint)n, (blasint)k, alpha,
                a, (blasint)(lda > 0 ? lda : 1), b, (blasint)(ldb > 0 ? ldb : 1), beta, c,
                (blasint)n);
    omp_set_num_threads(n_threads);
    return DNS_OK;
}

dns_status dns_scatter_add(double *g, const float *x, size_t m, size_t n, const double *mean)
{
    enum { BLOCK = 256 };
    double *block = NULL;
    if (n > INT32_MAX)
        return dns_status_set(DNS_ERR_SHAPE, "scatter of %zu dimensions", n);
    dns_status status = dns_alloc(&block, BLOCK * n, sizeof *block);
    if (status != DNS_OK)
        return status;
    int n_threads = enter_single();
    for (size_t at = 0; at < m && n > 0; at += BLOCK) {
        size_t n_rows = m - at < BLOCK ? m - at : BLOCK;
        for (size_t i = 0; i < n_rows; i++)
            for (size_t j = 0; j < n; j++)
                block[i * n + j] = (double)x[(at + i) * n + j] - (mean != NULL ? mean[j] : 0.0);
        cblas_dsyrk(CblasRowMajor, CblasLower, CblasTrans, (blasint)n, (blasint)n_rows, 1.0, block,
                    (blasint)n, 1.0, g, (blasint)n);
    }
    omp_set_num_threads(n_threads);
    for (size_t i = 0; i < n; i++)
        for (size_t j = i + 1; j < n; j++)
            g[i * n + j] = g[j * n + i];
    dns_free(block);
    return DNS_OK;
}

double dns_norm(const float *x, size_t n)
{
    double sum = 0.0;
    for (size_t i = 0; i < n; i++)
        sum += (double)x[i] * (double)x[i];
    return sqrt(sum);
}

void dns_normalise_rows(float *x, size_t n_rows, size_t dim)
{
    for (size_t i = 0; i < n_rows; i++) {
        float *row = x + i * dim;
        double norm = dns_norm(row, dim);
        float factor = (float)(1.0 / (norm > 1e-12 ? norm : 1e-12));
        for (size_t k = 0; k < dim; k++)
            row[k] *= factor;
    }
}
