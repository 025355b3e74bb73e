#include <math.h>
#include <stdio.h>
#include <string.h>

#include "dnsel/alignment.h"
#include "dnsel/pair_features.h"
#include "dnsel/video_features.h"
#include "support.h"

enum { DIM = 32, REGIONS = 9, FRAMES = 12, WIDTH = REGIONS * DIM };

static void unit(float *v)
{
    double squares = 0;
    for (size_t j = 0; j < DIM; j++)
        squares += (double)v[j] * (double)v[j];
    for (size_t j = 0; j < DIM; j++)
        v[j] /= (float)sqrt(squares);
}

static void draw(float *x, size_t n_frames, uint64_t seed)
{
    dns_random random = dns_random_seed(seed);
    for (size_t i = 0; i < n_frames * REGIONS; i++) {
        for (size_t j = 0; j < DIM; j++)
            x[i * DIM + j] = (float)dns_random_normal(&random);
        unit(x + i * DIM);
    }
}

static void assert_finite(const float *x, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (!isfinite(x[i]))
            fail_msg("number %zu is not finite", i);
}

/* ---- alignment ---- */

/* The score of every start, by the definition: all monotone paths, tried out. */
static double best_from(const float *map, size_t n, size_t m, size_t i, size_t j, double threshold,
                        double gap)
{
    double best = 0;
    if (i >= n || j >= m)
        return 0;
    double gain = (double)map[i * m + j] - threshold;
    best = fmax(best, gain + best_from(map, n, m, i + 1, j + 1, threshold, gap));
    best = fmax(best, best_from(map, n, m, i + 1, j, threshold, gap) - gap);
    best = fmax(best, best_from(map, n, m, i, j + 1, threshold, gap) - gap);
    return best;
}

static void the_stretch_is_the_best_of_all_paths(void **state)
{
    (void)state;
    enum { MOST = 6 };
    dns_random random = dns_random_seed(2);
    for (size_t round = 0; round < 60; round++) {
        const size_t n = 1 + dns_random_below(&random, MOST), m = 1 + dns_random_below(&random, 5);
        float map[MOST * MOST];
        double mean = 0, best = 0;
        for (size_t i = 0; i < n * m; i++) {
            map[i] = (float)(2 * dns_random_uniform(&random) - 1);
            mean += (double)map[i] / (double)(n * m);
        }
        dns_alignment a;
        assert_ok(dns_align_map(&a, map, n, m));
        const double gap = fmax((double)a.threshold - mean, 0) / 2;
        for (size_t i = 0; i < n; i++)
            for (size_t j = 0; j < m; j++)
                best = fmax(best, best_from(map, n, m, i, j, (double)a.threshold, gap));
        assert_true(fabs((double)a.score - best / (double)(n < m ? n : m)) < 1e-5);
        assert_true(a.query_end <= n && a.target_end <= m && a.query_start <= a.query_end);
        assert_true(a.n_pairs <= a.query_end - a.query_start &&
                    a.n_pairs <= a.target_end - a.target_start);
    }
}

static void an_excerpt_is_found_where_it_is(void **state)
{
    (void)state;
    float video[FRAMES * WIDTH], other[FRAMES * WIDTH], excerpt[5 * WIDTH];
    const size_t whole[] = {FRAMES, REGIONS, DIM}, part[] = {5, REGIONS, DIM};
    draw(video, FRAMES, 1);
    draw(other, FRAMES, 2);
    for (size_t i = 0; i < 5 * WIDTH; i++)
        excerpt[i] = 3 * video[4 * WIDTH + i]; /* lengths do not count */
    for (int step = DNS_REGIONS_CHAMFER; step <= DNS_REGIONS_SYMMETRIC; step++) {
        dns_alignment a, b;
        assert_ok(dns_align_regions(&a, excerpt, part, video, whole, (dns_region_step)step));
        assert_int_equal(a.query_start, 0);
        assert_int_equal(a.query_end, 5);
        assert_int_equal(a.target_start, 4);
        assert_int_equal(a.target_end, 9);
        assert_int_equal(a.n_pairs, 5);
        assert_int_equal(a.n_peaks, 1);
        assert_true(a.matched == 1 && a.threshold <= 0.5F);
        assert_true(fabsf(a.chamfer_query - 1) < 1e-4F && a.chamfer_target < 0.9F);
        assert_ok(dns_align_regions(&b, excerpt, part, other, whole, (dns_region_step)step));
        assert_true(b.score < a.score / 2 && b.chamfer_query < 0.9F);
        float features[DNS_ALIGNMENT_FEATURES];
        dns_alignment_features(features, &a);
        assert_true(features[3] == 1 && features[5] == logf(2));
    }
}

static void twice_the_speed_is_one_stretch(void **state)
{
    (void)state;
    float video[FRAMES * WIDTH], fast[FRAMES / 2 * WIDTH];
    const size_t whole[] = {FRAMES, REGIONS, DIM}, half[] = {FRAMES / 2, REGIONS, DIM};
    draw(video, FRAMES, 3);
    for (size_t t = 0; t < FRAMES / 2; t++)
        memcpy(fast + t * WIDTH, video + 2 * t * WIDTH, WIDTH * sizeof *fast);
    dns_alignment a;
    assert_ok(dns_align_regions(&a, fast, half, video, whole, DNS_REGIONS_SAME));
    assert_int_equal(a.query_end - a.query_start, FRAMES / 2);
    assert_int_equal(a.target_end - a.target_start, FRAMES - 1);
    assert_int_equal(a.n_pairs, FRAMES / 2);
}

static void odd_maps_give_finite_features(void **state)
{
    (void)state;
    float map[64], features[DNS_ALIGNMENT_FEATURES];
    const float values[] = {-1, 0, 0.3F, 1};
    dns_alignment a;
    for (size_t v = 0; v < 4; v++)
        for (size_t n = 1; n < 9; n += 7) {
            for (size_t i = 0; i < 64; i++)
                map[i] = values[v];
            assert_ok(dns_align_map(&a, map, n, 64 / n));
            dns_alignment_features(features, &a);
            assert_finite(features, DNS_ALIGNMENT_FEATURES);
            assert_int_equal(a.n_pairs > 0, values[v] > 0.5F);
            assert_true(a.matched == (values[v] > 0.5F));
        }
    float video[2 * DNS_ALIGNMENT_FRAMES], still[3] = {0};
    for (size_t i = 0; i < 2 * DNS_ALIGNMENT_FRAMES; i++)
        video[i] = (float)sin((double)i);
    assert_ok(dns_align_regions(&a, video, (const size_t[]){2 * DNS_ALIGNMENT_FRAMES, 1, 1}, still,
                                (const size_t[]){3, 1, 1}, DNS_REGIONS_CHAMFER));
    assert_int_equal(a.n_query, DNS_ALIGNMENT_FRAMES);
    dns_alignment_features(features, &a);
    assert_finite(features, DNS_ALIGNMENT_FEATURES);
}

static void what_cannot_be_aligned_is_refused(void **state)
{
    (void)state;
    const float map[] = {0, NAN, 0, 0};
    dns_alignment a;
    assert_status(dns_align_map(&a, map, 0, 4), DNS_ERR_ARG);
    assert_status(dns_align_map(&a, map, 4, 0), DNS_ERR_ARG);
    assert_status(dns_align_map(&a, map, 2, 2), DNS_ERR_RANGE);
    assert_status(dns_align_regions(&a, map, (const size_t[]){1, 2, 2}, map,
                                    (const size_t[]){2, 1, 2}, DNS_REGIONS_SAME),
                  DNS_ERR_SHAPE);
    assert_status(dns_align_regions(&a, map, (const size_t[]){1, 1, 4}, map,
                                    (const size_t[]){2, 1, 2}, DNS_REGIONS_SAME),
                  DNS_ERR_SHAPE);
    float many[257] = {0};
    assert_status(dns_align_regions(&a, many, (const size_t[]){1, 257, 1}, many,
                                    (const size_t[]){1, 257, 1}, DNS_REGIONS_SAME),
                  DNS_ERR_LIMIT);
}

/* ---- pairs ---- */

static void partial_products_add_up_to_the_cosine(void **state)
{
    (void)state;
    enum { UNEVEN = 37 };
    float a[UNEVEN], b[UNEVEN], x[DNS_PAIR_FEATURES], y[DNS_PAIR_FEATURES];
    dns_random random = dns_random_seed(4);
    double product = 0, parts = 0;
    for (size_t i = 0; i < UNEVEN; i++) {
        a[i] = (float)dns_random_normal(&random);
        b[i] = (float)dns_random_normal(&random);
        product += (double)a[i] * (double)b[i];
    }
    const dns_pair_side first = {a, 0.25F, 9}, second = {b, -1, 99};
    dns_pair_features(x, &first, &second, UNEVEN);
    for (size_t i = 0; i < DNS_PAIR_BLOCKS; i++)
        parts += (double)x[1 + i];
    assert_true(fabs(product - (double)x[0]) < 1e-5 && fabs(product - parts) < 1e-5);
    assert_true(fabs((double)x[17] - log(10)) < 1e-6);
    assert_true(x[18] == 0.25F && x[19] == -1);
    dns_pair_features(y, &second, &first, UNEVEN);
    assert_memory_equal(x, y, 18 * sizeof *x);
    assert_true(y[18] == -1 && y[19] == 0.25F);
    dns_alignment alignment = {.chamfer_query = 0.5F, .chamfer_target = 0.75F};
    float privileged[DNS_PAIR_PRIVILEGED];
    dns_pair_privileged(privileged, 0.125F, &alignment);
    assert_true(privileged[0] == 0.125F && privileged[1] == 0.5F && privileged[2] == 0.75F);
    assert_finite(privileged, DNS_PAIR_PRIVILEGED);
}

/* ---- videos ---- */

static void regular_features_are_vector_scalar_and_duration(void **state)
{
    (void)state;
    const float vector[] = {0.5F, -0.5F}, number = 0.75F;
    float x[4];
    dns_record coarse = {
        .kind = DNS_KIND_COARSE, .dtype = DNS_F32, .rank = 1, .shape = {2}, .data = vector};
    const dns_record scalar = {
        .kind = DNS_KIND_SELECTOR, .dtype = DNS_F32, .rank = 1, .shape = {1}, .data = &number};
    assert_int_equal(dns_regular_features_count(2), 4);
    assert_ok(dns_regular_features(x, &coarse, &scalar, 9));
    test_assert_close("x", x, (const float[]){0.5F, -0.5F, 0.75F, logf(10)}, 4, 1e-6, 0);
    assert_ok(dns_regular_features(x, &coarse, NULL, -1));
    assert_true(x[2] == 0 && x[3] == 0);
    coarse.dtype = DNS_U8;
    assert_status(dns_regular_features(x, &coarse, NULL, 1), DNS_ERR_UNSUPPORTED);
    coarse.rank = 2;
    assert_status(dns_regular_features(x, &coarse, NULL, 1), DNS_ERR_SHAPE);
}

/* All regions alike but one: it alone is salient, and mean and deviation hardly know it. */
static void a_region_that_stands_out_is_seen(void **state)
{
    (void)state;
    enum { MEAN = 48, DEVIATION = 32 };
    float x[FRAMES * WIDTH] = {0}, with[DNS_FEATURES_REGIONS], without[DNS_FEATURES_REGIONS];
    for (size_t i = 0; i < FRAMES * REGIONS; i++)
        x[i * DIM] = 1;
    assert_ok(dns_region_features(without, x, FRAMES, REGIONS, DIM));
    for (size_t i = MEAN; i < MEAN + DEVIATION; i++)
        assert_true(fabsf(without[i]) < 1e-6F);
    x[5 * DIM] = 0;
    x[5 * DIM + 7] = 1;
    assert_ok(dns_region_features(with, x, FRAMES, REGIONS, DIM));
    double moved = 0, salient = 0;
    for (size_t i = 0; i < MEAN; i++)
        moved += fabs((double)(with[i] - without[i])) / MEAN;
    for (size_t i = MEAN + DEVIATION; i < DNS_FEATURES_REGIONS; i++)
        salient += fabs((double)(with[i] - without[i])) / 48;
    assert_true(moved < 0.02 && salient > 0.1);
    /* The same directions, of which attention all but closes that one's eyes. */
    for (size_t j = 0; j < DIM; j++)
        x[5 * DIM + j] *= 1e-6F;
    float closed[DNS_FEATURES_REGIONS];
    assert_ok(dns_region_features(closed, x, FRAMES, REGIONS, DIM));
    test_assert_close("mean and deviation", closed, without, MEAN + DEVIATION, 1e-4, 0);
}

static void region_features_know_no_order_and_no_common_length(void **state)
{
    (void)state;
    float x[FRAMES * WIDTH], turned[FRAMES * WIDTH], a[DNS_FEATURES_REGIONS],
        b[DNS_FEATURES_REGIONS];
    draw(x, FRAMES, 5);
    for (size_t t = 0; t < FRAMES; t++)
        for (size_t i = 0; i < WIDTH; i++)
            turned[t * WIDTH + i] = 0.5F * x[(FRAMES - 1 - t) * WIDTH + i];
    assert_ok(dns_region_features(a, x, FRAMES, REGIONS, DIM));
    assert_ok(dns_region_features(b, turned, FRAMES, REGIONS, DIM));
    test_assert_close("features", a, b, DNS_FEATURES_REGIONS, 1e-5, 0);
}

static void features_of_odd_videos_are_finite(void **state)
{
    (void)state;
    float x[FRAMES * WIDTH] = {0}, p1[DNS_FEATURES_REGIONS], p3[DNS_FEATURES_TEMPORAL];
    for (size_t n = 0; n <= 2; n++) {
        assert_ok(dns_region_features(p1, x, n, REGIONS, DIM));
        assert_ok(dns_temporal_features(p3, x, n, REGIONS, DIM));
        assert_finite(p1, DNS_FEATURES_REGIONS);
        assert_finite(p3, DNS_FEATURES_TEMPORAL);
    }
}

static void a_cut_is_counted(void **state)
{
    (void)state;
    float x[FRAMES * WIDTH], p3[DNS_FEATURES_TEMPORAL];
    for (size_t t = 0; t < FRAMES; t++)
        draw(x + t * WIDTH, 1, t < 4 ? 1 : t < 8 ? 2 : 3);
    assert_ok(dns_temporal_features(p3, x, FRAMES, REGIONS, DIM));
    assert_true(fabsf(p3[0] - 2.0F / (FRAMES - 1)) < 1e-6F && fabsf(p3[1] - logf(3)) < 1e-6F);
    float sum = 0;
    for (size_t b = 4; b < DNS_FEATURES_TEMPORAL; b++)
        sum += p3[b];
    assert_true(fabsf(sum - 1) < 1e-5F);
}

static void names_are_hashed_without_their_folders(void **state)
{
    (void)state;
    float a[DNS_FEATURES_METADATA], b[DNS_FEATURES_METADATA];
    dns_meta meta = {.name = "/one/Red Car.mp4",
                     .path = "",
                     .duration = 10,
                     .width = 320,
                     .height = 180,
                     .file_size = 1000,
                     .mtime_ns = (int64_t)1577836800 * 1000000000};
    dns_metadata_features(a, &meta);
    meta.name = "/another/car_red.mp4";
    dns_metadata_features(b, &meta);
    assert_memory_equal(a, b, sizeof a);
    double squares = 0;
    for (size_t i = 0; i < 256; i++)
        squares += (double)a[i] * (double)a[i];
    assert_true(fabs(squares - 1) < 1e-6);
    assert_true(fabsf(a[256] - logf(11)) < 1e-6F && fabsf(a[258] - 320.0F / 180) < 1e-6F);
    assert_true(fabsf(a[260] - 50) < 0.01F); /* the first of January 2020 */
    meta.name = "/another/blue.mp4";
    dns_metadata_features(b, &meta);
    assert_memory_not_equal(a, b, sizeof a);
    meta = (dns_meta){.name = "", .path = ""};
    dns_metadata_features(b, &meta);
    assert_finite(b, DNS_FEATURES_METADATA);
    meta = (dns_meta){.name = "row 7", .path = "", .imported = true, .duration = 3};
    dns_metadata_features(b, &meta);
    for (size_t i = 0; i < DNS_FEATURES_METADATA; i++)
        assert_true(b[i] == 0);
}

static void name_bytes(const uint8_t *bytes, size_t size)
{
    char name[4096];
    float p4[DNS_FEATURES_METADATA];
    size = size < sizeof name - 1 ? size : sizeof name - 1;
    memcpy(name, bytes, size);
    name[size] = '\0';
    const dns_meta meta = {.name = name,
                           .path = "",
                           .duration = (double)(size % 7) - 3,
                           .height = (uint32_t)size % 3,
                           .width = UINT32_MAX,
                           .file_size = UINT64_MAX,
                           .mtime_ns = INT64_MIN};
    dns_metadata_features(p4, &meta);
    assert_finite(p4, DNS_FEATURES_METADATA);
}

static void any_name_gives_finite_numbers(void **state)
{
    (void)state;
    char name[300];
    memset(name, 'x', sizeof name);
    memcpy(name, "/a/b c-d.mp4 \xc3\xa4\xff", 16);
    test_fuzz(name, sizeof name, 200, name_bytes);
}

/* Region vectors as any bytes may make them, finite: the features are too. */
static void region_bytes(const uint8_t *bytes, size_t size)
{
    enum { MOST = 64 };
    float x[MOST * 4], p1[DNS_FEATURES_REGIONS], p3[DNS_FEATURES_TEMPORAL],
        aligned[DNS_ALIGNMENT_FEATURES];
    size_t n = size / sizeof(float) < MOST * 4 ? size / sizeof(float) / 4 : MOST;
    memcpy(x, bytes, n * 4 * sizeof *x);
    for (size_t i = 0; i < n * 4; i++)
        if (!isfinite(x[i]) || fabsf(x[i]) > 1e15F)
            x[i] = 0;
    assert_ok(dns_region_features(p1, x, n / 2, 2, 4));
    assert_ok(dns_temporal_features(p3, x, n / 2, 2, 4));
    assert_finite(p1, DNS_FEATURES_REGIONS);
    assert_finite(p3, DNS_FEATURES_TEMPORAL);
    dns_alignment a;
    const size_t shape[] = {n / 2, 2, 4};
    if (n < 2)
        return;
    assert_ok(dns_align_regions(&a, x, shape, x, shape, DNS_REGIONS_SYMMETRIC));
    dns_alignment_features(aligned, &a);
    assert_finite(aligned, DNS_ALIGNMENT_FEATURES);
}

static void any_regions_give_finite_numbers(void **state)
{
    (void)state;
    float x[64 * 4];
    dns_random random = dns_random_seed(9);
    for (size_t i = 0; i < 64 * 4; i++)
        x[i] = (float)dns_random_normal(&random);
    test_fuzz(x, sizeof x, 200, region_bytes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_stretch_is_the_best_of_all_paths),
        cmocka_unit_test(an_excerpt_is_found_where_it_is),
        cmocka_unit_test(twice_the_speed_is_one_stretch),
        cmocka_unit_test(odd_maps_give_finite_features),
        cmocka_unit_test(what_cannot_be_aligned_is_refused),
        cmocka_unit_test(partial_products_add_up_to_the_cosine),
        cmocka_unit_test(regular_features_are_vector_scalar_and_duration),
        cmocka_unit_test(a_region_that_stands_out_is_seen),
        cmocka_unit_test(region_features_know_no_order_and_no_common_length),
        cmocka_unit_test(features_of_odd_videos_are_finite),
        cmocka_unit_test(a_cut_is_counted),
        cmocka_unit_test(names_are_hashed_without_their_folders),
        cmocka_unit_test(any_name_gives_finite_numbers),
        cmocka_unit_test(any_regions_give_finite_numbers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
