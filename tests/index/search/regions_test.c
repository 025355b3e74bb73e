#include "support.h"

#include <math.h>

#include "dnsel/cpu.h"
#include "dnsel/normalise.h"
#include "dnsel/rounding.h"
#include "dnsel/runs.h"
#include "dnsel/video_similarity.h"
#include "regions.h"

enum { MOST = 30, LONGEST = 4 };

static dns_random draws;

static size_t below(size_t n)
{
    return (size_t)dns_random_below(&draws, n);
}

struct video {
    size_t n, regions, dim;
    float *x, *scales;
    uint16_t *halves;
    int8_t *bytes;
    uint16_t runs[MOST]; /* frames that a stored one stands for */
    bool merged;
};

static struct video draw(size_t n, size_t regions, size_t dim, const struct video *like)
{
    struct video v = {.n = n, .regions = regions, .dim = dim, .merged = below(3) == 0};
    size_t rows = n * regions;
    for (size_t i = 0; i < n; i++)
        v.runs[i] = (uint16_t)(1 + below(LONGEST));
    assert_ok(dns_alloc(&v.x, rows * dim, sizeof *v.x));
    assert_ok(dns_alloc(&v.halves, rows * dim, sizeof *v.halves));
    assert_ok(dns_alloc(&v.bytes, rows * dim, 1));
    assert_ok(dns_alloc(&v.scales, rows, sizeof *v.scales));
    for (size_t i = 0; i < rows * dim; i++)
        v.x[i] = (float)dns_random_normal(&draws) +
                 (like != NULL ? like->x[i % (like->n * regions * dim)] * (float)dim / 8 : 0);
    dns_normalise_forward(v.x, NULL, v.x, rows, dim);
    assert_ok(dns_rows_to_i8(v.bytes, v.scales, v.x, rows, dim));
    for (size_t i = 0; i < rows * dim; i++)
        v.halves[i] = dns_f16_from_f32(v.x[i]);
    return v;
}

static void drop(struct video *v)
{
    dns_free(v->x), dns_free(v->scales), dns_free(v->halves), dns_free(v->bytes);
}

static dns_record record_of(const struct video *v, dns_dtype dtype)
{
    return (dns_record){.kind = DNS_KIND_REGIONS,
                        .dtype = dtype,
                        .rank = 3,
                        .shape = {v->n, v->regions, v->dim},
                        .data = dtype == DNS_F32   ? (const void *)v->x
                                : dtype == DNS_F16 ? (const void *)v->halves
                                                   : v->bytes,
                        .scales = dtype == DNS_I8 ? v->scales : NULL,
                        .runs = v->merged ? v->runs : NULL};
}

/* By the definition, in doubles, of what the two records hold. */
static float define(const dns_record *q, const dns_record *t, dns_similarity_rule rule)
{
    size_t n = dns_runs_of(q->runs, q->shape[0]).n_frames,
           m = dns_runs_of(t->runs, t->shape[0]).n_frames, regions = q->shape[1], dim = q->shape[2];
    float *x, *y, *map;
    assert_ok(dns_alloc(&map, n * m, sizeof *map));
    assert_ok(dns_alloc(&x, n * regions * dim, sizeof *x));
    assert_ok(dns_alloc(&y, m * regions * dim, sizeof *y));
    assert_ok(dns_record_to_f32(x, q));
    assert_ok(dns_record_to_f32(y, t));
    for (size_t i = 0; i < n * m; i++) {
        double rows = 0, columns = 0, same = 0;
        for (size_t o = 0; o < regions; o++) {
            double row = -2, column = -2;
            for (size_t p = 0; p < regions; p++) {
                double there = 0, back = 0;
                for (size_t k = 0; k < dim; k++) {
                    there += (double)x[(i / m * regions + o) * dim + k] *
                             (double)y[(i % m * regions + p) * dim + k];
                    back += (double)x[(i / m * regions + p) * dim + k] *
                            (double)y[(i % m * regions + o) * dim + k];
                }
                row = fmax(row, there);
                column = fmax(column, back);
                same += p == o ? there : 0;
            }
            rows += row, columns += column;
        }
        map[i] = (float)((rule.regions == DNS_REGIONS_SAME      ? same
                          : rule.regions == DNS_REGIONS_CHAMFER ? rows
                                                                : (rows + columns) / 2) /
                         (double)regions);
    }
    dns_free(x), dns_free(y);
    const dns_score_map of = {.map = map, .rows = n, .columns = m};
    float score = dns_video_similarity_forward(&of, rule.direction);
    dns_free(map);
    return score;
}

static void scores_follow_the_rule_and_the_floor(void **state)
{
    (void)state;
    static const dns_dtype types[] = {DNS_F32, DNS_F16, DNS_I8};
    size_t n_left = 0;
    draws = dns_random_seed(21);
    for (size_t round = 0; round < 96; round++) {
        const dns_similarity_rule rule = {(dns_direction)(round % 4),
                                          (dns_region_step)(round / 4 % 3)};
        size_t regions = 1 + below(6), dim = 4 * (1 + below(20)) + (round % 12 == 11);
        struct video q = draw(1 + below(MOST), regions, dim, NULL),
                     t = draw(1 + below(MOST), regions, dim, round % 2 ? &q : NULL);
        dns_record from = record_of(&q, types[round % 3]), to = record_of(&t, types[round / 3 % 3]);
        dns_region_query *query;
        struct dns_region_scratch scratch = {0};
        float exact, got, expected = define(&from, &to, rule);
        assert_ok(dns_region_query_create(&query, rule, &from));
        assert_ok(dns_region_compare(query, &scratch, &exact, -INFINITY, &to));
        assert_true(fabsf(exact - expected) < 2e-5F);
        for (size_t i = 0; i < 8; i++) {
            /* Just at the score bytes alone would decide by chance. */
            float floor = i < 2 ? exact : exact + 0.05F * (float)dns_random_normal(&draws);
            assert_ok(dns_region_compare(query, &scratch, &got, floor, &to));
            assert_true(got == exact || (exact < floor && isinf(got) && got < 0));
            n_left += isinf(got);
        }
        dns_region_query_free(query);
        dns_region_scratch_free(&scratch);
        drop(&q), drop(&t);
    }
    if (dns_cpu_flags() & DNS_CPU_VNNI)
        assert_true(n_left > 50);
}

static void other_regions_are_refused(void **state)
{
    (void)state;
    draws = dns_random_seed(22);
    struct video q = draw(5, 3, 16, NULL), t = draw(5, 2, 16, NULL), narrow = draw(5, 3, 12, NULL);
    for (int step = 0; step < 3; step++) {
        const dns_similarity_rule rule = {DNS_DIRECTION_QUERY, (dns_region_step)step};
        dns_record from = record_of(&q, DNS_F32), to = record_of(&t, DNS_F32),
                   other = record_of(&narrow, DNS_F16), codes = record_of(&q, DNS_U8);
        dns_region_query *query;
        struct dns_region_scratch scratch = {0};
        float score;
        assert_ok(dns_region_query_create(&query, rule, &from));
        assert_status(dns_region_compare(query, &scratch, &score, 0.5F, &to), DNS_ERR_SHAPE);
        assert_status(dns_region_compare(query, &scratch, &score, 0.5F, &other), DNS_ERR_SHAPE);
        dns_region_query_free(query);
        assert_status(dns_region_query_create(&query, rule, &codes), DNS_ERR_UNSUPPORTED);
        assert_null(query);
        q.x[7] = NAN;
        assert_status(dns_region_query_create(&query, rule, &from), DNS_ERR_RANGE);
        q.x[7] = 0;
        dns_region_scratch_free(&scratch);
    }
    drop(&q), drop(&t), drop(&narrow);
    dns_region_query_free(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(scores_follow_the_rule_and_the_floor),
        cmocka_unit_test(other_regions_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
