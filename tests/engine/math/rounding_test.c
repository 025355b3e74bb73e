#include "support.h"

#include <math.h>

#include "dnsel/rounding.h"

static void int8_rows_are_off_by_half_a_step_at_most(void **state)
{
    (void)state;
    enum { ROWS = 50, DIM = 37 };
    float x[ROWS * DIM], y[ROWS * DIM], scales[ROWS];
    int8_t codes[ROWS * DIM];
    dns_random random = dns_random_seed(1);
    for (size_t i = 0; i < ROWS * DIM; i++)
        x[i] = (float)dns_random_normal(&random) * (float)(i / DIM);
    assert_ok(dns_rows_to_i8(codes, scales, x, ROWS, DIM));
    dns_rows_from_i8(y, codes, scales, ROWS, DIM);
    for (size_t r = 0; r < ROWS; r++) {
        float largest = 0;
        for (size_t i = 0; i < DIM; i++)
            largest = fmaxf(largest, fabsf(x[r * DIM + i]));
        assert_true(fabsf(scales[r] - largest / 127) <= 1e-6f * largest);
        for (size_t i = 0; i < DIM; i++)
            assert_true(fabsf(x[r * DIM + i] - y[r * DIM + i]) <= 0.5001f * scales[r]);
    }
}

static void rows_at_the_edges_are_rounded_too(void **state)
{
    (void)state;
    int8_t codes[4];
    float scale, y[4];
    const float tiny[4] = {1e-45f, -1e-45f, 0, 0}, row[4] = {-1, 0.5f, 1, 0.25f};
    float wrong[4] = {0, 1, NAN, 0};
    assert_ok(dns_rows_to_i8(codes, &scale, tiny, 1, 4));
    dns_rows_from_i8(y, codes, &scale, 1, 4);
    assert_true(fabsf(y[0]) < 1e-30f);
    assert_ok(dns_rows_to_i8(codes, &scale, row, 1, 4));
    assert_true(codes[0] == -127 && codes[2] == 127 && (codes[1] == 64 || codes[1] == 63) &&
                codes[3] == 32);
    assert_status(dns_rows_to_i8(codes, &scale, wrong, 1, 4), DNS_ERR_RANGE);
    wrong[2] = -INFINITY;
    assert_status(dns_rows_to_i8(codes, &scale, wrong, 1, 4), DNS_ERR_RANGE);
}

static void codes_hold_the_signs(void **state)
{
    (void)state;
    float x[2 * 10] = {1, -1, 0, 2, -0.0f, 3, 4, 5, -1, 1, -1, -2, -3, -4, -5, -6, -7, -8, -9, 1};
    uint8_t codes[4];
    assert_ok(dns_codes_from_f32(codes, x, 2, 10));
    assert_int_equal(codes[0], 0xe9);
    assert_int_equal(codes[1], 0x02);
    assert_int_equal(codes[2], 0x00);
    assert_int_equal(codes[3], 0x02);
    x[13] = NAN;
    assert_status(dns_codes_from_f32(codes, x, 2, 10), DNS_ERR_RANGE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(int8_rows_are_off_by_half_a_step_at_most),
        cmocka_unit_test(rows_at_the_edges_are_rounded_too),
        cmocka_unit_test(codes_hold_the_signs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
