#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "dnsel/rounding.h"
#include "dnsel/scan.h"
#include "support.h"

/* Vectors with many equal scores: elements are small integers, so that all kernels give the same
 * sums. */
struct fixture {
    size_t n_rows, n_queries, dim;
    float *f32, *queries, *scales;
    uint8_t *codes, *query_codes;
    int8_t *i8;
    uint64_t *ids;
};

static void fixture_open(struct fixture *f, size_t n_rows, size_t n_queries, size_t dim)
{
    dns_random random = dns_random_seed(n_rows + dim);
    *f = (struct fixture){.n_rows = n_rows, .n_queries = n_queries, .dim = dim};
    assert_ok(dns_alloc(&f->f32, n_rows * dim, sizeof(float)));
    assert_ok(dns_alloc(&f->i8, n_rows, dim));
    assert_ok(dns_alloc(&f->codes, n_rows, dim));
    assert_ok(dns_alloc(&f->scales, n_rows, sizeof(float)));
    assert_ok(dns_alloc(&f->ids, n_rows, sizeof *f->ids));
    assert_ok(dns_alloc(&f->queries, n_queries * dim, sizeof(float)));
    assert_ok(dns_alloc(&f->query_codes, n_queries, dim));
    for (size_t i = 0; i < n_rows * dim; i++) {
        f->i8[i] = (int8_t)((int)dns_random_below(&random, 7) - 3);
        f->f32[i] = f->i8[i];
        f->codes[i] = (uint8_t)dns_random_below(&random, 4);
    }
    for (size_t r = 0; r < n_rows; r++) {
        f->scales[r] = 1.0f;
        f->ids[r] = dns_random_next(&random); /* all 64 bits */
    }
    for (size_t i = 0; i < n_queries * dim; i++) {
        f->queries[i] = (float)((int)dns_random_below(&random, 255) - 127);
        f->query_codes[i] = (uint8_t)dns_random_below(&random, 4);
    }
    for (size_t q = 0; q < n_queries; q++)
        f->queries[q * dim] = 127.0f; /* so that a query's scale is 1 and int8 is exact */
}

static void fixture_close(struct fixture *f)
{
    dns_free(f->f32);
    dns_free(f->i8);
    dns_free(f->codes);
    dns_free(f->scales);
    dns_free(f->ids);
    dns_free(f->queries);
    dns_free(f->query_codes);
}

static dns_scan_rows rows_of(const struct fixture *f, dns_dtype dtype)
{
    const void *vectors = dtype == DNS_F32  ? (const void *)f->f32
                          : dtype == DNS_I8 ? (const void *)f->i8
                                            : f->codes;
    return (dns_scan_rows){f->n_rows, dtype, f->dim, f->ids, vectors, f->scales};
}

static const void *queries_of(const struct fixture *f, dns_dtype dtype)
{
    return dtype == DNS_U8 ? (const void *)f->query_codes : f->queries;
}

static const dns_dtype dtypes[] = {DNS_F32, DNS_I8, DNS_U8};

static void same_hits(const dns_hit *a, const dns_hit *b, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (a[i].id != b[i].id || a[i].score != b[i].score || a[i].row != b[i].row)
            fail_msg("hit %zu: id %llx row %u score %.9g, expected id %llx row %u score %.9g", i,
                     (unsigned long long)a[i].id, a[i].row, (double)a[i].score,
                     (unsigned long long)b[i].id, b[i].row, (double)b[i].score);
}

/* What the answer must be, from definitions alone. */
static dns_hit *sort_everything(const struct fixture *f, dns_dtype dtype, size_t q)
{
    dns_hit *all;
    assert_ok(dns_alloc(&all, f->n_rows + 1, sizeof *all));
    for (size_t r = 0; r < f->n_rows; r++) {
        long sum = 0;
        for (size_t i = 0; i < f->dim; i++)
            if (dtype == DNS_U8)
                sum +=
                    __builtin_popcount(f->codes[r * f->dim + i] ^ f->query_codes[q * f->dim + i]);
            else
                sum += (long)f->i8[r * f->dim + i] * (long)f->queries[q * f->dim + i];
        float score = dtype == DNS_U8 ? 1.0f - 2.0f * (float)sum / (float)(8 * f->dim) : (float)sum;
        all[r] = (dns_hit){f->ids[r], score, (uint32_t)r};
    }
    dns_hits_sort(all, f->n_rows);
    return all;
}

static void check_search(size_t n_rows, size_t n_queries, size_t dim, size_t k, dns_pool *pool)
{
    struct fixture f;
    fixture_open(&f, n_rows, n_queries, dim);
    dns_hit *hits;
    assert_ok(dns_alloc(&hits, n_queries * k, sizeof *hits));
    for (size_t t = 0; t < 3; t++) {
        dns_scan_rows rows = rows_of(&f, dtypes[t]);
        size_t n_found;
        assert_ok(
            dns_scan_search(hits, &n_found, &rows, queries_of(&f, dtypes[t]), n_queries, k, pool));
        assert_int_equal(n_found, k < n_rows ? k : n_rows);
        for (size_t q = 0; q < n_queries; q++) {
            dns_hit *expected = sort_everything(&f, dtypes[t], q);
            same_hits(hits + q * k, expected, n_found);
            dns_free(expected);
        }
    }
    dns_free(hits);
    fixture_close(&f);
}

static void search_finds_the_best_in_order(void **state)
{
    check_search(1000, 1, 24, 10, NULL);
    check_search(1000, 3, 24, 1, NULL);
    check_search(777, 5, 33, 100, NULL);
    check_search(5000, 2, 2, 50, NULL); /* almost all scores are equal */
}

static void more_neighbours_than_rows(void **state)
{
    check_search(1, 2, 8, 10, NULL);
    check_search(17, 2, 8, 17, NULL);
    check_search(300, 2, 8, 1000, NULL);
}

static void more_queries_than_a_group(void **state)
{
    check_search(300, 150, 16, 5, NULL);
}

static void any_number_of_threads_gives_the_same(void **state)
{
    for (size_t n_threads = 1; n_threads <= 5; n_threads++) {
        dns_pool *pool;
        assert_ok(dns_pool_create(&pool, n_threads));
        check_search(3001, 3, 16, 40, pool);
        check_search(5, 3, 16, 40, pool);
        dns_pool_free(pool);
    }
}

static void queries_together_or_alone_give_the_same_bits(void **state)
{
    enum { ROWS = 500, DIM = 1000, QUERIES = 11, K = 20 };
    dns_random random = dns_random_seed(7);
    float *rows, *queries;
    assert_ok(dns_alloc(&rows, ROWS * DIM, sizeof *rows));
    assert_ok(dns_alloc(&queries, QUERIES * DIM, sizeof *queries));
    for (size_t i = 0; i < ROWS * DIM; i++)
        rows[i] = (float)dns_random_normal(&random);
    for (size_t i = 0; i < QUERIES * DIM; i++)
        queries[i] = (float)dns_random_normal(&random);
    dns_scan_rows scanned = {ROWS, DNS_F32, DIM, NULL, rows, NULL};
    dns_hit together[QUERIES * K], alone[K];
    float *scores;
    size_t n_found;
    assert_ok(dns_alloc(&scores, QUERIES * ROWS, sizeof *scores));
    assert_ok(dns_scan_search(together, &n_found, &scanned, queries, QUERIES, K, NULL));
    assert_ok(dns_scan_scores(scores, &scanned, queries, QUERIES, NULL));
    for (size_t q = 0; q < QUERIES; q++) {
        assert_ok(dns_scan_search(alone, &n_found, &scanned, queries + q * DIM, 1, K, NULL));
        same_hits(together + q * K, alone, K);
        for (size_t i = 0; i < K; i++) {
            assert_int_equal(alone[i].id, alone[i].row); /* no ids: the row's number */
            assert_true(alone[i].score == scores[q * ROWS + alone[i].row]);
        }
    }
    dns_free(rows);
    dns_free(queries);
    dns_free(scores);
}

static void scores_are_all_scores_in_order(void **state)
{
    struct fixture f;
    fixture_open(&f, 700, 70, 16);
    float *scores;
    assert_ok(dns_alloc(&scores, f.n_queries * f.n_rows, sizeof *scores));
    for (size_t t = 0; t < 3; t++) {
        dns_scan_rows rows = rows_of(&f, dtypes[t]);
        assert_ok(dns_scan_scores(scores, &rows, queries_of(&f, dtypes[t]), f.n_queries, NULL));
        for (size_t q = 0; q < f.n_queries; q++) {
            dns_hit *expected = sort_everything(&f, dtypes[t], q);
            for (size_t i = 0; i < f.n_rows; i++)
                assert_true(scores[q * f.n_rows + expected[i].row] == expected[i].score);
            dns_free(expected);
        }
    }
    dns_free(scores);
    fixture_close(&f);
}

static void nothing_to_scan_is_no_error(void **state)
{
    float query[4] = {1, 2, 3, 4};
    dns_hit hits[3];
    size_t n_found = 99;
    dns_scan_rows rows = {0, DNS_F32, 4, NULL, NULL, NULL};
    assert_ok(dns_scan_search(hits, &n_found, &rows, query, 1, 3, NULL));
    assert_int_equal(n_found, 0);
    assert_ok(dns_scan_scores(NULL, &rows, query, 1, NULL));
    struct fixture f;
    fixture_open(&f, 10, 1, 4);
    rows = rows_of(&f, DNS_I8);
    n_found = 99;
    assert_ok(dns_scan_search(hits, &n_found, &rows, query, 0, 3, NULL));
    assert_int_equal(n_found, 0);
    fixture_close(&f);
}

static void bad_arguments_are_refused(void **state)
{
    float query[4] = {1, 2, 3, 4}, vectors[8] = {0}, score;
    dns_hit hits[3];
    size_t n_found;
    dns_scan_rows rows = {2, DNS_F32, 4, NULL, vectors, NULL};
    assert_status(dns_scan_search(hits, &n_found, &rows, query, 1, 0, NULL), DNS_ERR_ARG);
    rows.dtype = DNS_F16;
    assert_status(dns_scan_search(hits, &n_found, &rows, query, 1, 3, NULL), DNS_ERR_ARG);
    assert_status(dns_scan_scores(&score, &rows, query, 1, NULL), DNS_ERR_ARG);
    rows.dtype = DNS_F32;
    rows.dim = 0;
    assert_status(dns_scan_search(hits, &n_found, &rows, query, 1, 3, NULL), DNS_ERR_SHAPE);
    rows.dim = 65537;
    assert_status(dns_scan_search(hits, &n_found, &rows, query, 1, 3, NULL), DNS_ERR_SHAPE);
    rows.dim = 4;
    rows.n_rows = UINT32_MAX;
    assert_status(dns_scan_search(hits, &n_found, &rows, query, 1, 3, NULL), DNS_ERR_LIMIT);
}

static void what_is_not_finite_is_refused(void **state)
{
    struct fixture f;
    fixture_open(&f, 600, 2, 8);
    dns_hit hits[10];
    size_t n_found;
    float bad[] = {NAN, INFINITY, -INFINITY};
    for (size_t i = 0; i < 3; i++)
        for (size_t t = 0; t < 2; t++) {
            dns_scan_rows rows = rows_of(&f, dtypes[t]);
            float kept = f.queries[13];
            f.queries[13] = bad[i];
            assert_status(dns_scan_search(hits, &n_found, &rows, f.queries, 2, 5, NULL),
                          DNS_ERR_RANGE);
            assert_string_equal(dns_status_message(), "query 1: element 5 is not finite");
            f.queries[13] = kept;
        }
    dns_scan_rows rows = rows_of(&f, DNS_F32);
    f.f32[8 * 599 + 3] = NAN; /* long after the heaps have filled */
    f.ids[599] = 0xabcd;
    assert_status(dns_scan_search(hits, &n_found, &rows, f.queries, 2, 5, NULL), DNS_ERR_RANGE);
    assert_string_equal(dns_status_message(),
                        "vector 000000000000abcd: its product with the query is not finite");
    f.f32[8 * 599 + 3] = 1.0f;
    rows = rows_of(&f, DNS_I8);
    f.scales[300] = NAN;
    assert_status(dns_scan_search(hits, &n_found, &rows, f.queries, 2, 5, NULL), DNS_ERR_RANGE);
    fixture_close(&f);
}

/* Zeros have no direction, but a score: 0. */
static void zeros_are_no_error(void **state)
{
    float query[16] = {0}, scale = 0.0f;
    int8_t row[16] = {0};
    dns_hit hit;
    size_t n_found;
    dns_scan_rows rows = {1, DNS_I8, 16, NULL, row, &scale};
    assert_ok(dns_scan_search(&hit, &n_found, &rows, query, 1, 1, NULL));
    assert_true(n_found == 1 && hit.score == 0.0f);
}

static void int8_is_close_to_f32(void **state)
{
    enum { DIM = 512 };
    dns_random random = dns_random_seed(3);
    float rows[4 * DIM], query[DIM], scales[4];
    int8_t codes[4 * DIM];
    for (size_t i = 0; i < DIM; i++)
        query[i] = (float)dns_random_normal(&random) / 22.6f;
    for (size_t i = 0; i < 4 * DIM; i++)
        rows[i] = (float)dns_random_normal(&random) / 22.6f;
    assert_ok(dns_rows_to_i8(codes, scales, rows, 4, DIM));
    float exact[4], rounded[4];
    dns_scan_rows f32 = {4, DNS_F32, DIM, NULL, rows, NULL},
                  i8 = {4, DNS_I8, DIM, NULL, codes, scales};
    assert_ok(dns_scan_scores(exact, &f32, query, 1, NULL));
    assert_ok(dns_scan_scores(rounded, &i8, query, 1, NULL));
    test_assert_close("int8 scores", rounded, exact, 4, 3e-3, 0.0);
}

struct exact_vectors {
    const float *vectors;
    size_t dim, n_fetched;
    uint32_t missing;
};

static dns_status fetch(void *payload, const float **vector, const dns_hit *hit)
{
    struct exact_vectors *exact = payload;
    if (hit->row == exact->missing)
        return dns_status_set(DNS_ERR_NOTFOUND, "row %u", hit->row);
    exact->n_fetched++;
    *vector = exact->vectors + hit->row * exact->dim;
    return DNS_OK;
}

static void rescore_gives_what_the_exact_scan_gives(void **state)
{
    enum { ROWS = 200, DIM = 100, K = 30 };
    dns_random random = dns_random_seed(11);
    float *vectors, query[DIM];
    uint8_t codes[ROWS * 13], query_code[13];
    assert_ok(dns_alloc(&vectors, ROWS * DIM, sizeof *vectors));
    for (size_t i = 0; i < ROWS * DIM; i++)
        vectors[i] = (float)dns_random_normal(&random);
    memcpy(query, vectors + 42 * DIM, sizeof query);
    assert_ok(dns_codes_from_f32(codes, vectors, ROWS, DIM));
    assert_ok(dns_codes_from_f32(query_code, query, 1, DIM));
    dns_scan_rows by_code = {ROWS, DNS_U8, 13, NULL, codes, NULL},
                  exactly = {ROWS, DNS_F32, DIM, NULL, vectors, NULL};
    dns_hit hits[ROWS], expected[ROWS];
    size_t n_found;
    assert_ok(dns_scan_search(expected, &n_found, &exactly, query, 1, ROWS, NULL));
    assert_ok(dns_scan_search(hits, &n_found, &by_code, query_code, 1, ROWS, NULL));
    assert_true(hits[0].row == 42 && hits[0].score == 1.0f);
    struct exact_vectors exact = {vectors, DIM, 0, DNS_NO_ROW};
    assert_ok(dns_scan_rescore(hits, &n_found, query, DIM, fetch, &exact));
    assert_int_equal(exact.n_fetched, ROWS);
    same_hits(hits, expected, ROWS);
    exact.missing = hits[5].row;
    assert_status(dns_scan_rescore(hits, &n_found, query, DIM, fetch, &exact), DNS_ERR_NOTFOUND);
    exact.missing = DNS_NO_ROW;
    vectors[17 * DIM] = NAN;
    assert_status(dns_scan_rescore(hits, &n_found, query, DIM, fetch, &exact), DNS_ERR_RANGE);
    dns_free(vectors);
}

static void recall_counts_what_both_found(void **state)
{
    dns_hit exact[6] = {{1, 9, 0}, {2, 8, 0}, {3, 7, 0}, {4, 9, 0}, {5, 8, 0}, {6, 7, 0}};
    dns_hit found[6] = {{3, 9, 0}, {9, 8, 0}, {1, 7, 0}, {4, 9, 0}, {0, 0, 0}, {0, 0, 0}};
    size_t n_found[2] = {3, 1};
    double recall;
    assert_ok(dns_scan_recall(&recall, found, n_found, exact, 3, 2, 3));
    assert_true(recall == 0.5);
    assert_ok(dns_scan_recall(&recall, found, n_found, exact, 1, 2, 3));
    assert_true(recall == 1.0);
    assert_ok(dns_scan_recall(&recall, found, n_found, exact, 0, 2, 3));
    assert_true(recall == 1.0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(search_finds_the_best_in_order),
        cmocka_unit_test(more_neighbours_than_rows),
        cmocka_unit_test(more_queries_than_a_group),
        cmocka_unit_test(any_number_of_threads_gives_the_same),
        cmocka_unit_test(queries_together_or_alone_give_the_same_bits),
        cmocka_unit_test(scores_are_all_scores_in_order),
        cmocka_unit_test(nothing_to_scan_is_no_error),
        cmocka_unit_test(bad_arguments_are_refused),
        cmocka_unit_test(what_is_not_finite_is_refused),
        cmocka_unit_test(zeros_are_no_error),
        cmocka_unit_test(int8_is_close_to_f32),
        cmocka_unit_test(rescore_gives_what_the_exact_scan_gives),
        cmocka_unit_test(recall_counts_what_both_found),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
