#include "support.h"

#include <math.h>
#include <string.h>

#include "dnsel/isotonic.h"

static double loss_of(const dns_isotonic *map, const float *x, const float *y, size_t n)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += pow((double)dns_isotonic_at(map, x[i]) - (double)y[i], 2);
    return sum;
}

static void violators_are_pooled(void **state)
{
    (void)state;
    const float x[] = {4, 1, 2, 3, 5}, y[] = {4, 1, 3, 2, 3};
    dns_isotonic map;
    assert_ok(dns_isotonic_fit(&map, x, y, NULL, 5));
    const float knots_x[] = {1, 2, 3, 4, 5}, knots_y[] = {1, 2.5f, 2.5f, 3.5f, 3.5f};
    assert_int_equal(map.n, 5);
    assert_memory_equal(map.x, knots_x, sizeof knots_x);
    assert_memory_equal(map.y, knots_y, sizeof knots_y);
    assert_float_equal(dns_isotonic_at(&map, -7), 1, 0);
    assert_float_equal(dns_isotonic_at(&map, 1.5f), 1.75, 1e-6);
    assert_float_equal(dns_isotonic_at(&map, 2.25f), 2.5, 0);
    assert_float_equal(dns_isotonic_at(&map, 3.5f), 3, 1e-6);
    assert_float_equal(dns_isotonic_at(&map, 99), 3.5, 0);
    dns_isotonic_free(&map);
    assert_null(map.x);
}

static void points_of_equal_x_are_averaged_by_weight(void **state)
{
    (void)state;
    const float x[] = {1, 1, 2}, y[] = {0, 4, 9}, weights[] = {3, 1, 1};
    dns_isotonic map;
    assert_ok(dns_isotonic_fit(&map, x, y, weights, 3));
    assert_int_equal(map.n, 2);
    assert_float_equal(map.y[0], 1, 0);
    assert_float_equal(map.y[1], 9, 0);
    dns_isotonic_free(&map);
}

/* The best non-decreasing values by trying all ways to cut into stretches of equal value. */
static double best_by_enumeration(const float *y, size_t n)
{
    double best = INFINITY;
    for (unsigned cuts = 0; cuts < 1u << (n - 1); cuts++) {
        double before = -INFINITY, loss = 0;
        size_t first = 0;
        for (size_t i = 0; i < n; i++) {
            if (i + 1 < n && (cuts >> i & 1) == 0)
                continue;
            double mean = 0;
            for (size_t j = first; j <= i; j++)
                mean += (double)y[j] / (double)(i + 1 - first);
            for (size_t j = first; j <= i; j++)
                loss += pow((double)y[j] - mean, 2);
            if (mean < before)
                loss = INFINITY;
            before = mean;
            first = i + 1;
        }
        best = fmin(best, loss);
    }
    return best;
}

static void no_other_monotone_map_is_nearer(void **state)
{
    (void)state;
    dns_random random = dns_random_seed(1);
    for (int round = 0; round < 50; round++) {
        float x[10], y[10];
        for (size_t i = 0; i < 10; i++) {
            x[i] = (float)i;
            y[i] = (float)dns_random_normal(&random) + 0.2f * (float)i;
        }
        dns_isotonic map;
        assert_ok(dns_isotonic_fit(&map, x, y, NULL, 10));
        assert_float_equal(loss_of(&map, x, y, 10), best_by_enumeration(y, 10), 1e-5);
        for (size_t i = 1; i < map.n; i++)
            assert_true(map.x[i] > map.x[i - 1] && map.y[i] >= map.y[i - 1]);
        dns_isotonic_free(&map);
    }
}

static void bad_points_and_knots_are_refused(void **state)
{
    (void)state;
    const float x[] = {1, 2}, nan[] = {NAN, 1}, falling[] = {2, 1}, weights[] = {1, 0};
    dns_isotonic map;
    assert_status(dns_isotonic_fit(&map, x, x, NULL, 0), DNS_ERR_ARG);
    assert_status(dns_isotonic_fit(&map, nan, x, NULL, 2), DNS_ERR_RANGE);
    assert_status(dns_isotonic_fit(&map, x, nan, NULL, 2), DNS_ERR_RANGE);
    assert_status(dns_isotonic_fit(&map, x, x, weights, 2), DNS_ERR_RANGE);
    assert_status(dns_isotonic_create(&map, x, falling, 2), DNS_ERR_RANGE);
    assert_status(dns_isotonic_create(&map, falling, x, 2), DNS_ERR_RANGE);
    assert_status(dns_isotonic_create(&map, nan, x, 2), DNS_ERR_RANGE);
    assert_status(dns_isotonic_create(&map, x, x, 0), DNS_ERR_RANGE);
    assert_null(map.x);
    assert_ok(dns_isotonic_create(&map, x, x, 2));
    assert_float_equal(dns_isotonic_at(&map, 1.5f), 1.5, 0);
    dns_isotonic_free(&map);
    dns_isotonic_free(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(violators_are_pooled),
        cmocka_unit_test(points_of_equal_x_are_averaged_by_weight),
        cmocka_unit_test(no_other_monotone_map_is_nearer),
        cmocka_unit_test(bad_points_and_knots_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
