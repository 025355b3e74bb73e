/* Every kernel of the scan against its plain twin. */
#include <math.h>
#include <string.h>

#include "dnsel/cpu.h"
#include "scan_kernels.h"
#include "support.h"

enum { MAX_ROWS = 37, MAX_QUERIES = 9, MAX_DIM = 1031, STRIDE = 48 };

struct fixture {
    float *rows_f32, *queries_f32;
    uint8_t *rows, *queries; /* int8 or codes */
    float row_scales[MAX_ROWS], query_scales[MAX_QUERIES];
    int32_t query_sums[MAX_QUERIES];
    void *scratch;
};

/* Blocks of just the size that a kernel may read, so that a sanitizer sees a read past the end. */
static void fixture_open(struct fixture *f, size_t n_rows, size_t n_queries, size_t dim)
{
    dns_random random = dns_random_stream(dim, n_rows * 100 + n_queries);
    assert_ok(dns_alloc(&f->rows_f32, n_rows * dim, sizeof(float)));
    assert_ok(dns_alloc(&f->queries_f32, n_queries * dim, sizeof(float)));
    assert_ok(dns_alloc(&f->rows, n_rows, dim));
    assert_ok(dns_alloc(&f->queries, n_queries, dim));
    assert_ok(dns_alloc(&f->scratch, (n_rows + 7) / 8 * 8, (dim + 63) / 64 * 64));
    for (size_t i = 0; i < n_rows * dim; i++) {
        f->rows_f32[i] = (float)dns_random_normal(&random);
        f->rows[i] = (uint8_t)dns_random_next(&random);
    }
    for (size_t i = 0; i < n_queries * dim; i++) {
        f->queries_f32[i] = (float)dns_random_normal(&random);
        f->queries[i] = (uint8_t)dns_random_next(&random);
    }
    for (size_t r = 0; r < n_rows; r++)
        f->row_scales[r] = (float)dns_random_uniform(&random);
    for (size_t q = 0; q < n_queries; q++) {
        f->query_scales[q] = (float)dns_random_uniform(&random);
        f->query_sums[q] = 0;
        for (size_t i = 0; i < dim; i++)
            f->query_sums[q] += (int8_t)f->queries[q * dim + i];
    }
}

static void fixture_close(struct fixture *f)
{
    dns_free(f->rows_f32);
    dns_free(f->queries_f32);
    dns_free(f->rows);
    dns_free(f->queries);
    dns_free(f->scratch);
}

static void run(float *scores, scan_kernel kernel, const struct fixture *f, bool is_f32,
                size_t n_rows, size_t n_queries, size_t dim)
{
    struct scan_tile tile = {
        .rows = is_f32 ? (const void *)f->rows_f32 : f->rows,
        .queries = is_f32 ? (const void *)f->queries_f32 : f->queries,
        .row_scales = f->row_scales,
        .query_scales = f->query_scales,
        .query_sums = f->query_sums,
        .n_rows = n_rows,
        .n_queries = n_queries,
        .dim = dim,
        .scratch = f->scratch,
        .scores = scores,
        .stride = STRIDE,
    };
    memset(scores, 0, MAX_QUERIES * STRIDE * sizeof *scores);
    kernel(&tile);
}

/* Calls `check` for sizes around those of the vectors. */
static void for_all_sizes(void (*check)(const struct fixture *f, size_t n_rows, size_t n_queries,
                                        size_t dim))
{
    static const size_t dims[] = {1,  2,  7,  8,   9,   15,  16,  17,   31,   33,
                                  63, 64, 65, 127, 128, 129, 512, 1000, 1024, MAX_DIM};
    static const size_t rows[] = {1, 2, 3, 4, 5, 7, 8, 9, 16, MAX_ROWS},
                        queries[] = {1, 2, 3, 4, 5, 8, MAX_QUERIES};
    for (size_t d = 0; d < sizeof dims / sizeof *dims; d++)
        for (size_t r = 0; r < sizeof rows / sizeof *rows; r++)
            for (size_t q = 0; q < sizeof queries / sizeof *queries; q++) {
                struct fixture f;
                fixture_open(&f, rows[r], queries[q], dims[d]);
                check(&f, rows[r], queries[q], dims[d]);
                fixture_close(&f);
            }
}

static float a[MAX_QUERIES * STRIDE], b[MAX_QUERIES * STRIDE];

static void assert_equal_scores(const char *name, size_t n_rows, size_t n_queries, size_t dim)
{
    for (size_t q = 0; q < n_queries; q++)
        for (size_t r = 0; r < n_rows; r++)
            if (a[q * STRIDE + r] != b[q * STRIDE + r])
                fail_msg("%s: row %zu of %zu, query %zu of %zu, dim %zu: %.9g, expected %.9g", name,
                         r, n_rows, q, n_queries, dim, (double)b[q * STRIDE + r],
                         (double)a[q * STRIDE + r]);
}

static void check_f32(const struct fixture *f, size_t n_rows, size_t n_queries, size_t dim)
{
    unsigned flags = dns_cpu_detect();
    run(a, dns_scan_f32_plain, f, true, n_rows, n_queries, dim);
    if (flags & DNS_CPU_AVX2) {
        run(b, dns_scan_f32_avx2, f, true, n_rows, n_queries, dim);
        for (size_t q = 0; q < n_queries; q++)
            test_assert_close("f32 avx2", b + q * STRIDE, a + q * STRIDE, n_rows,
                              2e-6 * sqrt((double)dim), 1e-6);
    }
    if (flags & DNS_CPU_AVX512) {
        run(a, dns_scan_f32_avx512, f, true, n_rows, n_queries, dim);
        assert_equal_scores("f32 avx512 against avx2", n_rows, n_queries, dim);
    }
}

static void check_i8(const struct fixture *f, size_t n_rows, size_t n_queries, size_t dim)
{
    unsigned flags = dns_cpu_detect();
    run(a, dns_scan_i8_plain, f, false, n_rows, n_queries, dim);
    if (flags & DNS_CPU_AVX2) {
        run(b, dns_scan_i8_avx2, f, false, n_rows, n_queries, dim);
        assert_equal_scores("i8 avx2", n_rows, n_queries, dim);
    }
    if (flags & DNS_CPU_VNNI) {
        run(b, dns_scan_i8_vnni, f, false, n_rows, n_queries, dim);
        assert_equal_scores("i8 vnni", n_rows, n_queries, dim);
    }
}

static void check_codes(const struct fixture *f, size_t n_rows, size_t n_queries, size_t dim)
{
    unsigned flags = dns_cpu_detect();
    run(a, dns_scan_codes_plain, f, false, n_rows, n_queries, dim);
    if (flags & DNS_CPU_AVX2) {
        run(b, dns_scan_codes_popcnt, f, false, n_rows, n_queries, dim);
        assert_equal_scores("codes popcnt", n_rows, n_queries, dim);
    }
    if (flags & DNS_CPU_VPOPCNTDQ) {
        run(b, dns_scan_codes_vpopcntdq, f, false, n_rows, n_queries, dim);
        assert_equal_scores("codes vpopcntdq", n_rows, n_queries, dim);
    }
}

static void f32_kernels_agree(void **state)
{
    for_all_sizes(check_f32);
}

static void i8_kernels_agree(void **state)
{
    for_all_sizes(check_i8);
}

static void codes_kernels_agree(void **state)
{
    for_all_sizes(check_codes);
}

/* The plain twins themselves, by numbers that can be worked out by hand. */
static void plain_kernels_are_right(void **state)
{
    float row[3] = {1, 2, 3}, query[3] = {4, -5, 6}, score, row_scale = 0.5f, query_scale = 2.0f;
    int8_t row_i8[2] = {-128, 127}, query_i8[2] = {127, 3};
    uint8_t row_bits[9] = {0xff, 0, 0, 0, 0, 0, 0, 0, 0x01},
            query_bits[9] = {0x0f, 0, 0, 0, 0, 0, 0, 0, 0x80};
    struct scan_tile tile = {.rows = row,
                             .queries = query,
                             .n_rows = 1,
                             .n_queries = 1,
                             .dim = 3,
                             .scores = &score,
                             .stride = 1,
                             .row_scales = &row_scale,
                             .query_scales = &query_scale};
    dns_scan_f32_plain(&tile);
    assert_true(score == 12.0f);
    tile.rows = row_i8, tile.queries = query_i8, tile.dim = 2;
    dns_scan_i8_plain(&tile);
    assert_true(score == -128.0f * 127.0f + 381.0f);
    tile.rows = row_bits, tile.queries = query_bits, tile.dim = 9;
    dns_scan_codes_plain(&tile);
    assert_true(score == -6.0f);
}

/* Extremes must not overflow: the widest row that is allowed. */
static void i8_kernels_do_not_overflow(void **state)
{
    enum { DIM = 65536 };
    int8_t *rows, *query;
    float scale = 1.0f, scores[8];
    int32_t sum = DIM * -127;
    assert_ok(dns_alloc(&rows, 2, DIM));
    assert_ok(dns_alloc(&query, 1, DIM));
    memset(rows, 127, DIM);
    memset(rows + DIM, -127, DIM);
    memset(query, -127, DIM);
    float scales[2] = {1.0f, 1.0f};
    struct scan_tile tile = {.rows = rows,
                             .queries = query,
                             .n_rows = 2,
                             .n_queries = 1,
                             .dim = DIM,
                             .scores = scores,
                             .stride = 8,
                             .row_scales = scales,
                             .query_scales = &scale,
                             .query_sums = &sum};
    scan_kernel kernels[] = {dns_scan_i8_plain, dns_scan_i8_avx2, dns_scan_i8_vnni};
    unsigned needs[] = {0, DNS_CPU_AVX2, DNS_CPU_VNNI};
    for (size_t i = 0; i < 3; i++) {
        if ((dns_cpu_detect() & needs[i]) != needs[i])
            continue;
        kernels[i](&tile);
        assert_true(scores[0] == -127.0f * 127.0f * DIM);
        assert_true(scores[1] == 127.0f * 127.0f * DIM);
    }
    dns_free(rows);
    dns_free(query);
}

static void table_follows_the_processor(void **state)
{
    struct scan_kernels kernels = dns_scan_kernels(0);
    assert_true(kernels.f32 == dns_scan_f32_plain && kernels.i8 == dns_scan_i8_plain);
    assert_true(kernels.codes == dns_scan_codes_plain);
    kernels = dns_scan_kernels(DNS_CPU_AVX2 | DNS_CPU_AVX512);
    assert_true(kernels.f32 == dns_scan_f32_avx512 && kernels.i8 == dns_scan_i8_avx2);
    assert_true(kernels.codes == dns_scan_codes_popcnt);
    kernels = dns_scan_kernels(DNS_CPU_ALL);
    assert_true(kernels.i8 == dns_scan_i8_vnni && kernels.codes == dns_scan_codes_vpopcntdq);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(plain_kernels_are_right),    cmocka_unit_test(f32_kernels_agree),
        cmocka_unit_test(i8_kernels_agree),           cmocka_unit_test(codes_kernels_agree),
        cmocka_unit_test(i8_kernels_do_not_overflow), cmocka_unit_test(table_follows_the_processor),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
