/* Processor flags, matrix products and decompositions. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include <omp.h>

#include "dnsel/cpu.h"
#include "dnsel/gemm.h"
#include "dnsel/linalg.h"
#include "support.h"

static void cpu_names_come_back(void **state)
{
    (void)state;
    char text[64];
    unsigned mask;
    assert_ok(dns_cpu_parse(&mask, "all"));
    assert_int_equal(mask, DNS_CPU_ALL);
    assert_ok(dns_cpu_parse(&mask, "baseline"));
    assert_int_equal(mask, 0);
    dns_cpu_text(text, sizeof text, mask);
    assert_string_equal(text, "baseline");
    assert_ok(dns_cpu_parse(&mask, "avx2,vnni"));
    assert_int_equal(mask, DNS_CPU_AVX2 | DNS_CPU_VNNI);
    dns_cpu_text(text, sizeof text, DNS_CPU_ALL);
    assert_string_equal(text, "avx2,avx512,vnni,vpopcntdq,bf16");
    assert_ok(dns_cpu_parse(&mask, text));
    assert_int_equal(mask, DNS_CPU_ALL);
    assert_status(dns_cpu_parse(&mask, "avx2,"), DNS_ERR_ARG);
    assert_status(dns_cpu_parse(&mask, ""), DNS_ERR_ARG);
    assert_status(dns_cpu_parse(&mask, "avx"), DNS_ERR_ARG);
    dns_cpu_model(text, sizeof text);
    assert_true(strlen(text) > 0);
}

static void mask_limits_what_is_used_and_is_then_settled(void **state)
{
    (void)state;
    unsigned found = dns_cpu_detect();
    assert_ok(dns_cpu_mask(DNS_CPU_ALL & ~DNS_CPU_BF16));
    assert_int_equal(dns_cpu_flags(), found & ~DNS_CPU_BF16);
    assert_status(dns_cpu_mask(0), DNS_ERR_BUSY);
    assert_int_equal(dns_cpu_flags(), found & ~DNS_CPU_BF16);
}

static void fill(dns_random *random, float *x, size_t n)
{
    for (size_t i = 0; i < n; i++)
        x[i] = (float)dns_random_normal(random);
}

static void products_agree_with_the_definition(void **state)
{
    (void)state;
    dns_random random = dns_random_seed(3);
    float *a, *b, *c, *expected;
    enum { LARGEST = 70 * 80 };
    assert_ok(dns_alloc(&a, LARGEST, 4));
    assert_ok(dns_alloc(&b, LARGEST, 4));
    assert_ok(dns_alloc(&c, LARGEST, 4));
    assert_ok(dns_alloc(&expected, LARGEST, 4));
    omp_set_num_threads(3);
    for (int round = 0; round < 200; round++) {
        size_t m = dns_random_below(&random, 40), n = dns_random_below(&random, 40);
        size_t k = dns_random_below(&random, 70),
               gap = round % 5 == 0 ? 0 : dns_random_below(&random, 5);
        bool ta = round & 1, tb = round & 2;
        size_t lda = (ta ? m : k) + gap, ldb = (tb ? k : n) + gap, ldc = n + gap;
        float alpha = round & 4 ? 1.0f : 0.5f, beta = (float)(round % 3) - 1.0f;
        fill(&random, a, LARGEST), fill(&random, b, LARGEST), fill(&random, c, LARGEST);
        memcpy(expected, c, LARGEST * sizeof *c);
        for (size_t i = 0; i < m; i++)
            for (size_t j = 0; j < n; j++) {
                double sum = 0, old = (double)c[i * ldc + j];
                for (size_t p = 0; p < k; p++)
                    sum += (double)(ta ? a[p * lda + i] : a[i * lda + p]) *
                           (double)(tb ? b[j * ldb + p] : b[p * ldb + j]);
                expected[i * ldc + j] = (float)((double)alpha * sum + (double)beta * old);
                if (beta == 0.0f)
                    c[i * ldc + j] = NAN; /* must not be read */
            }
        assert_ok(dns_gemm_f32(ta, tb, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc));
        test_assert_close("product", c, expected, LARGEST, 1e-4, 1e-5);
        if (alpha == 1.0f && beta == 0.0f && gap == 0) {
            assert_ok(dns_gemm_dense_f32(ta, tb, m, n, k, a, b, beta, c));
            test_assert_close("dense product", c, expected, m * n, 1e-4, 1e-5);
        }
    }
    assert_int_equal(omp_get_max_threads(), 3);
    omp_set_num_threads(1);
    assert_status(dns_gemm_f32(false, false, 4, 4, 4, 1, a, 3, b, 4, 0, c, 4), DNS_ERR_SHAPE);
    assert_status(dns_gemm_f32(false, true, 4, 4, 8, 1, a, 8, b, 7, 0, c, 4), DNS_ERR_SHAPE);
    assert_status(dns_gemm_f32(false, false, 4, 4, 4, 1, a, 4, b, 4, 0, c, 3), DNS_ERR_SHAPE);
    dns_free(a), dns_free(b), dns_free(c), dns_free(expected);
}

static double *matrix(size_t n)
{
    double *a;
    assert_ok(dns_alloc(&a, n, sizeof *a));
    return a;
}

static void assert_orthonormal_rows(const double *a, size_t m, size_t n)
{
    for (size_t i = 0; i < m; i++)
        for (size_t j = 0; j < m; j++) {
            double dot = 0;
            for (size_t k = 0; k < n; k++)
                dot += a[i * n + k] * a[j * n + k];
            assert_true(fabs(dot - (i == j)) < 1e-12);
        }
}

static void assert_rebuilds(const double *a, const double *v, const double *values, size_t n)
{
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j < n; j++) {
            double sum = 0;
            for (size_t k = 0; k < n; k++)
                sum += values[k] * v[k * n + i] * v[k * n + j];
            assert_true(fabs(sum - a[i * n + j]) < 1e-11);
        }
}

static void eigenvectors_rebuild_the_matrix(void **state)
{
    (void)state;
    dns_random random = dns_random_seed(5);
    for (size_t n = 1; n < 40; n += 6) {
        double *a = matrix(n * n), *v = matrix(n * n), *values = matrix(n);
        for (size_t i = 0; i < n; i++)
            for (size_t j = 0; j <= i; j++) {
                a[i * n + j] = a[j * n + i] = v[i * n + j] = dns_random_normal(&random);
                if (j < i)
                    v[j * n + i] = 1e9; /* the upper triangle is not read */
            }
        assert_ok(dns_eigen_symmetric(values, v, n));
        assert_orthonormal_rows(v, n, n);
        assert_rebuilds(a, v, values, n);
        for (size_t i = 0; i + 1 < n; i++)
            assert_true(values[i] >= values[i + 1]);
        for (size_t i = 0; i < n; i++) {
            double largest = 0;
            for (size_t j = 0; j < n; j++)
                if (fabs(v[i * n + j]) > fabs(largest))
                    largest = v[i * n + j];
            assert_true(largest > 0);
        }
        dns_free(a), dns_free(v), dns_free(values);
    }
    double bad[4] = {1, 0, NAN, 1}, values[2];
    assert_status(dns_eigen_symmetric(values, bad, 2), DNS_ERR_RANGE);
    assert_ok(dns_eigen_symmetric(values, bad, 0));
}

static void singular_vectors_rebuild_the_matrix(void **state)
{
    (void)state;
    dns_random random = dns_random_seed(6);
    const size_t sizes[][2] = {{1, 1}, {5, 3}, {3, 5}, {20, 20}, {1, 7}, {33, 8}};
    for (size_t c = 0; c < sizeof sizes / sizeof *sizes; c++) {
        size_t m = sizes[c][0], n = sizes[c][1], r = m < n ? m : n;
        double *a = matrix(m * n), *copy = matrix(m * n), *u = matrix(m * r), *s = matrix(r);
        double *vt = matrix(r * n);
        for (size_t i = 0; i < m * n; i++)
            a[i] = copy[i] = dns_random_normal(&random);
        assert_ok(dns_svd(u, s, vt, copy, m, n));
        assert_orthonormal_rows(vt, r, n);
        for (size_t k = 0; k < r; k++)
            assert_true(s[k] >= 0 && (k == 0 || s[k] <= s[k - 1]));
        for (size_t i = 0; i < m; i++)
            for (size_t j = 0; j < n; j++) {
                double sum = 0;
                for (size_t k = 0; k < r; k++)
                    sum += u[i * r + k] * s[k] * vt[k * n + j];
                assert_true(fabs(sum - a[i * n + j]) < 1e-12);
            }
        dns_free(a), dns_free(copy), dns_free(u), dns_free(s), dns_free(vt);
    }
    double bad[1] = {INFINITY}, u[1], s[1], vt[1];
    assert_status(dns_svd(u, s, vt, bad, 1, 1), DNS_ERR_RANGE);
}

static void orthonormal_basis_spans_the_columns(void **state)
{
    (void)state;
    dns_random random = dns_random_seed(7);
    enum { M = 17, N = 6 };
    double a[M * N], q[M * N], qt[N * M], r[N * N];
    for (size_t i = 0; i < M * N; i++)
        a[i] = q[i] = dns_random_normal(&random);
    assert_ok(dns_orthonormalise(q, M, N));
    for (size_t i = 0; i < M; i++)
        for (size_t j = 0; j < N; j++)
            qt[j * M + i] = q[i * N + j];
    assert_orthonormal_rows(qt, N, M);
    assert_ok(dns_gemm_f64(true, false, N, N, M, 1.0, q, a, 0.0, r)); /* R = Q^T A */
    for (size_t i = 0; i < N; i++) {
        assert_true(r[i * N + i] > 0);
        for (size_t j = 0; j < i; j++)
            assert_true(fabs(r[i * N + j]) < 1e-12);
    }
    assert_ok(dns_gemm_f64(false, false, M, N, N, -1.0, q, r, 1.0, a));
    for (size_t i = 0; i < M * N; i++)
        assert_true(fabs(a[i]) < 1e-12);
    assert_status(dns_orthonormalise(q, N, M), DNS_ERR_SHAPE);
    q[3] = NAN;
    assert_status(dns_orthonormalise(q, M, N), DNS_ERR_RANGE);
    const double left[] = {1, 2}, right[] = {3, 4};
    assert_ok(dns_gemm_f64(false, true, 1, 1, 2, 2.0, left, right, 0.0, r));
    assert_true(r[0] == 22.0);
}

static void scatter_is_the_sum_of_outer_products(void **state)
{
    (void)state;
    dns_random random = dns_random_seed(8);
    enum { M = 300, N = 7 };
    static float x[M * N];
    double g[N * N] = {0}, expected[N * N] = {0}, mean[N];
    fill(&random, x, M * N);
    for (size_t j = 0; j < N; j++)
        mean[j] = 0.1 * (double)j;
    for (size_t i = 0; i < M; i++)
        for (size_t j = 0; j < N; j++)
            for (size_t k = 0; k < N; k++)
                expected[j * N + k] +=
                    ((double)x[i * N + j] - mean[j]) * ((double)x[i * N + k] - mean[k]);
    assert_ok(dns_scatter_add(g, x, 100, N, mean));
    assert_ok(dns_scatter_add(g, x + 100 * N, M - 100, N, mean));
    for (size_t i = 0; i < N * N; i++)
        assert_true(fabs(g[i] - expected[i]) < 1e-9);
    double one[1] = {1};
    assert_ok(dns_scatter_add(one, (float[]){2, 3}, 2, 1, NULL));
    assert_true(one[0] == 14.0);
}

static void rows_get_unit_length_and_zero_stays_zero(void **state)
{
    (void)state;
    float x[3 * 2] = {3, 4, 0, 0, -1e-20f, 0};
    dns_normalise_rows(x, 3, 2);
    const float expected[] = {0.6f, 0.8f, 0, 0, -1e-8f, 0};
    test_assert_close("rows", x, expected, 6, 1e-9, 1e-6);
    assert_true(fabs(dns_norm(expected, 2) - 1) < 1e-7);
    assert_true(dns_norm(NULL, 0) == 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(cpu_names_come_back),
        cmocka_unit_test(mask_limits_what_is_used_and_is_then_settled),
        cmocka_unit_test(products_agree_with_the_definition),
        cmocka_unit_test(eigenvectors_rebuild_the_matrix),
        cmocka_unit_test(singular_vectors_rebuild_the_matrix),
        cmocka_unit_test(orthonormal_basis_spans_the_columns),
        cmocka_unit_test(scatter_is_the_sum_of_outer_products),
        cmocka_unit_test(rows_get_unit_length_and_zero_stays_zero),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
