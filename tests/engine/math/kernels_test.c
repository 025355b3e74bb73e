/* Every kernel of every instruction set that this processor has, against its plain twin. */
#include <math.h>
#include <string.h>

#include "dnsel/kernels.h"
#include "support.h"

static dns_kernels plain, tables[8];
static size_t n_tables;
static dns_random dice;

static int make_tables(void **state)
{
    (void)state;
    static const unsigned wanted[] = {
        DNS_CPU_AVX2, DNS_CPU_AVX2 | DNS_CPU_AVX512, DNS_CPU_AVX2 | DNS_CPU_AVX512 | DNS_CPU_VNNI,
        DNS_CPU_AVX2 | DNS_CPU_AVX512 | DNS_CPU_VPOPCNTDQ, DNS_CPU_ALL};
    unsigned found = dns_cpu_detect();
    dns_kernels_get(&plain, 0);
    for (size_t i = 0; i < sizeof wanted / sizeof *wanted; i++)
        if ((wanted[i] & ~DNS_CPU_BF16 & ~found) == 0)
            dns_kernels_get(&tables[n_tables++], wanted[i] & found);
    dice = dns_random_seed(11);
    return 0;
}

static size_t below(size_t n)
{
    return (size_t)dns_random_below(&dice, n);
}

/* Bytes more than asked, so that the start can be moved off its alignment. */
enum { SPARE = 64 };

static float *floats(size_t n)
{
    float *x;
    assert_ok(dns_alloc(&x, n + SPARE, sizeof *x));
    for (size_t i = 0; i < n + SPARE; i++)
        x[i] = (float)dns_random_normal(&dice);
    return x;
}

static void *bytes(size_t n)
{
    uint8_t *x;
    assert_ok(dns_alloc(&x, n + SPARE, 1));
    for (size_t i = 0; i < n + SPARE; i++)
        x[i] = (uint8_t)dns_random_next(&dice);
    return x;
}

#define FOR_TABLES(k) for (const dns_kernels *k = tables; k < tables + n_tables; k++)

static void rows_agree(void **state)
{
    (void)state;
    for (int round = 0; round < 60; round++) {
        size_t n = below(20), dim = round % 3 == 0 ? 512 : below(700), shift = below(4);
        float *rows = floats(n * dim), *query = floats(dim), *expected = floats(n),
              *out = floats(n);
        plain.rows_f32(expected, query, rows + shift, n, dim);
        FOR_TABLES(k)
        {
            float after = out[n];
            k->rows_f32(out, query, rows + shift, n, dim);
            test_assert_close("rows_f32", out, expected, n, 2e-4, 1e-5);
            assert_true(out[n] == after);
        }
        dns_free(rows), dns_free(query), dns_free(expected), dns_free(out);
    }
}

static void rows_of_bytes_are_exact(void **state)
{
    (void)state;
    for (int round = 0; round < 60; round++) {
        size_t n = below(20), dim = round % 3 == 0 ? 512 : below(700), shift = below(16);
        int8_t *rows = bytes(n * dim), *query = bytes(dim);
        int32_t *expected = bytes(n * 4), *out = bytes(n * 4);
        if (round == 0)
            memset(rows, -128, n * dim), memset(query, -128, dim);
        plain.rows_i8(expected, query, rows + shift, n, dim);
        FOR_TABLES(k)
        {
            int32_t after = out[n];
            k->rows_i8(out, query, rows + shift, n, dim);
            assert_memory_equal(out, expected, n * 4);
            assert_int_equal(out[n], after);
        }
        plain.sums_i8(expected, rows + shift, n, dim);
        FOR_TABLES(k)
        {
            k->sums_i8(out, rows + shift, n, dim);
            assert_memory_equal(out, expected, n * 4);
        }
        dns_free(rows), dns_free(query), dns_free(expected), dns_free(out);
    }
}

static void distances_of_rows_are_exact(void **state)
{
    (void)state;
    for (int round = 0; round < 60; round++) {
        size_t n = below(30), n_bytes = round % 3 == 0 ? 64 : below(200), shift = below(16);
        uint8_t *rows = bytes(n * n_bytes), *query = bytes(n_bytes);
        uint32_t *expected = bytes(n * 4), *out = bytes(n * 4);
        plain.rows_hamming(expected, query, rows + shift, n, n_bytes);
        for (size_t i = 0; i < n; i++) {
            uint32_t count = 0;
            for (size_t b = 0; b < 8 * n_bytes; b++)
                count += (query[b / 8] ^ rows[shift + i * n_bytes + b / 8]) >> b % 8 & 1;
            assert_int_equal(expected[i], count);
        }
        FOR_TABLES(k)
        {
            uint32_t after = out[n];
            k->rows_hamming(out, query, rows + shift, n, n_bytes);
            assert_memory_equal(out, expected, n * 4);
            assert_int_equal(out[n], after);
        }
        dns_free(rows), dns_free(query), dns_free(expected), dns_free(out);
    }
}

static void stored_elements_become_wide(void **state)
{
    (void)state;
    for (int round = 0; round < 40; round++) {
        size_t n = below(600), shift = below(8);
        uint8_t *in = bytes(2 * n + 2 * shift);
        float *expected = floats(n), *out = floats(n);
        int8_t *signs = bytes(n), *expected_signs = bytes(n);
        for (size_t i = 0; i < n; i++)
            in[2 * (i + shift) + 1] &= 0xbf; /* halves that are finite */
        plain.widen_f16(expected, (const uint16_t *)(const void *)in + shift, n);
        FOR_TABLES(k)
        {
            float after = out[n];
            k->widen_f16(out, (const uint16_t *)(const void *)in + shift, n);
            test_assert_close("widen_f16", out, expected, n, 0, 0);
            assert_true(out[n] == after);
        }
        plain.widen_i8(expected, (const int8_t *)in + shift, n, 0.3f);
        FOR_TABLES(k)
        {
            k->widen_i8(out, (const int8_t *)in + shift, n, 0.3f);
            test_assert_close("widen_i8", out, expected, n, 0, 0);
        }
        plain.widen_bits(expected_signs, in, n);
        FOR_TABLES(k)
        {
            int8_t after = signs[n];
            k->widen_bits(signs, in, n);
            assert_memory_equal(signs, expected_signs, n);
            assert_int_equal(signs[n], after);
        }
        dns_free(in), dns_free(expected), dns_free(out), dns_free(signs), dns_free(expected_signs);
    }
}

/* A shape of the comparison of frames: often of the usual size, often odd. */
typedef struct shape {
    size_t n_rows, n_frames, n_regions, dim;
} shape;

static shape any_shape(int round)
{
    return (shape){DNS_LANES * (1 + below(9)), 1 + below(5), round % 3 == 0 ? 9 : 1 + below(23),
                   round % 3 == 0 ? 512 : 1 + below(200)};
}

static void rows_become_the_same_bytes(void **state)
{
    (void)state;
    for (int round = 0; round < 60; round++) {
        size_t dim = round % 3 == 0 ? 512 : below(300), shift = below(4);
        float *row = floats(dim);
        int8_t *expected = bytes(dim), *out = bytes(dim);
        for (size_t i = 0; i < dim && round % 5 == 4; i++)
            row[shift + i] = round % 2 == 0 ? 0 : row[shift + i] * 1e-42F; /* denormal */
        float scale = plain.row_to_i8(expected, row + shift, dim);
        FOR_TABLES(k)
        {
            int8_t after = out[dim];
            assert_true(k->row_to_i8(out, row + shift, dim) == scale);
            assert_memory_equal(out, expected, dim);
            assert_int_equal(out[dim], after);
        }
        dns_free(row), dns_free(expected), dns_free(out);
    }
}

static void largest_products_agree(void **state)
{
    (void)state;
    for (int round = 0; round < 60; round++) {
        shape s = any_shape(round);
        size_t n_out = s.n_frames * s.n_rows, shift = below(4);
        float *panels = floats(s.n_rows * s.dim),
              *target = floats(s.n_frames * s.n_regions * s.dim);
        float *expected = floats(n_out), *out = floats(n_out);
        plain.max_f32(expected, panels, s.n_rows, target + shift, s.n_frames, s.n_regions, s.dim);
        FOR_TABLES(k)
        {
            float after = out[n_out];
            k->max_f32(out, panels, s.n_rows, target + shift, s.n_frames, s.n_regions, s.dim);
            test_assert_close("max_f32", out, expected, n_out, 2e-4, 1e-5);
            assert_true(out[n_out] == after);
        }
        dns_free(panels), dns_free(target), dns_free(expected), dns_free(out);
    }
}

static void largest_products_both_ways_agree(void **state)
{
    (void)state;
    for (int round = 0; round < 40; round++) {
        shape s = any_shape(round);
        size_t n_out = s.n_frames * DNS_LANES, shift = below(4);
        float *panels = floats(s.n_regions * DNS_LANES * s.dim),
              *target = floats(s.n_frames * s.n_regions * s.dim);
        float *expected = floats(n_out), *out = floats(n_out);
        plain.both_f32(expected, panels, target + shift, s.n_frames, s.n_regions, s.dim);
        FOR_TABLES(k)
        {
            float after = out[n_out];
            k->both_f32(out, panels, target + shift, s.n_frames, s.n_regions, s.dim);
            test_assert_close("both_f32", out, expected, n_out, 2e-3, 1e-5);
            assert_true(out[n_out] == after);
        }
        dns_free(panels), dns_free(target), dns_free(expected), dns_free(out);
    }
}

static void largest_products_of_bytes_agree(void **state)
{
    (void)state;
    for (int round = 0; round < 60; round++) {
        shape s = any_shape(round);
        s.dim = (s.dim + 3) / 4 * 4;
        size_t n_out = s.n_frames * s.n_rows, n_target = s.n_frames * s.n_regions,
               shift = below(16);
        uint8_t *panels = bytes(s.n_rows * s.dim);
        int8_t *target = bytes(n_target * s.dim);
        float *scales = floats(n_target), *expected = floats(n_out), *out = floats(n_out);
        int32_t *sums = bytes(n_target * 4);
        for (size_t i = 0; i < n_target; i++)
            scales[i] = fabsf(scales[i]);
        plain.sums_i8(sums, target + shift, n_target, s.dim);
        plain.max_i8(expected, panels, s.n_rows, target + shift, scales, sums, s.n_frames,
                     s.n_regions, s.dim);
        FOR_TABLES(k)
        {
            float after = out[n_out];
            k->max_i8(out, panels, s.n_rows, target + shift, scales, sums, s.n_frames, s.n_regions,
                      s.dim);
            test_assert_close("max_i8", out, expected, n_out, 0, 0);
            assert_true(out[n_out] == after);
        }
        dns_free(panels), dns_free(target), dns_free(scales), dns_free(sums), dns_free(expected),
            dns_free(out);
    }
}

static void fewest_bits_are_exact(void **state)
{
    (void)state;
    for (int round = 0; round < 60; round++) {
        shape s = any_shape(round);
        size_t n_words = (const size_t[]){8, 4, 2, 72, 31, 32, 1 + below(100)}[round % 7];
        size_t n_out = s.n_frames * s.n_rows, shift = below(16);
        uint64_t *panels = bytes(s.n_rows * n_words * 8);
        uint8_t *target = bytes(s.n_frames * s.n_regions * n_words * 8);
        uint32_t *expected = bytes(n_out * 4), *out = bytes(n_out * 4);
        if (round < 7) /* all bits differ: the largest sums */
            memset(panels, 0, s.n_rows * n_words * 8),
                memset(target, 255, s.n_frames * s.n_regions * n_words * 8);
        plain.min_hamming(expected, panels, s.n_rows, target + shift, s.n_frames, s.n_regions,
                          n_words);
        FOR_TABLES(k)
        {
            uint32_t after = out[n_out];
            k->min_hamming(out, panels, s.n_rows, target + shift, s.n_frames, s.n_regions, n_words);
            assert_memory_equal(out, expected, n_out * 4);
            assert_int_equal(out[n_out], after);
        }
        dns_free(panels), dns_free(target), dns_free(expected), dns_free(out);
    }
}

static void convolutions_agree(void **state)
{
    (void)state;
    for (int round = 0; round < 60; round++) {
        size_t n_in = 1 + below(5), n_out = 1 + below(8), width = 1 + below(40),
               n_columns = width + 2 + below(3);
        size_t in_row = n_columns * DNS_LANES, in_plane = 3 * in_row, out_plane = width * DNS_LANES;
        float *in = floats(n_in * in_plane),
              *weights = floats(n_in * 9 * DNS_LANES * n_out * DNS_LANES);
        float *bias = floats(n_out * DNS_LANES), *expected = floats(n_out * out_plane),
              *out = floats(n_out * out_plane);
        plain.conv_f32(expected, out_plane, in, in_row, in_plane, n_in, weights, bias, n_out,
                       width);
        FOR_TABLES(k)
        {
            k->conv_f32(out, out_plane, in, in_row, in_plane, n_in, weights, bias, n_out, width);
            test_assert_close("conv_f32", out, expected, n_out * out_plane, 1e-3, 1e-5);
        }
        plain.conv_first_f32(expected, out_plane, in, n_columns, weights, bias, n_out, width);
        FOR_TABLES(k)
        {
            k->conv_first_f32(out, out_plane, in, n_columns, weights, bias, n_out, width);
            test_assert_close("conv_first_f32", out, expected, n_out * out_plane, 1e-4, 1e-5);
        }
        dns_free(in), dns_free(weights), dns_free(bias), dns_free(expected), dns_free(out);
    }
}

static void convolutions_of_bytes_agree(void **state)
{
    (void)state;
    for (int round = 0; round < 60; round++) {
        size_t n_in = 1 + below(5), n_out = 1 + below(8), width = 1 + below(40),
               n_columns = width + 2 + below(3);
        size_t in_row = n_columns * DNS_LANES, in_plane = 3 * in_row, out_plane = width * DNS_LANES;
        uint8_t *in = bytes(n_in * in_plane);
        int8_t *weights = bytes(n_in * 9 * DNS_LANES * n_out * DNS_LANES);
        float *scale = floats(n_out * DNS_LANES), *bias = floats(n_out * DNS_LANES);
        float *expected = floats(n_out * out_plane), *out = floats(n_out * out_plane);
        plain.conv_i8(expected, out_plane, in, in_row, in_plane, n_in, weights, scale, bias, n_out,
                      width);
        FOR_TABLES(k)
        {
            k->conv_i8(out, out_plane, in, in_row, in_plane, n_in, weights, scale, bias, n_out,
                       width);
            test_assert_close("conv_i8", out, expected, n_out * out_plane, 1e-2, 1e-6);
        }
        dns_free(in), dns_free(weights), dns_free(scale), dns_free(bias), dns_free(expected),
            dns_free(out);
    }
}

static void small_steps_of_the_comparator_agree(void **state)
{
    (void)state;
    for (int round = 0; round < 40; round++) {
        size_t n = 1 + below(30), n_in = 1 + below(9), plane = n * DNS_LANES, n_bytes = below(500);
        float *top = floats(2 * plane), *bottom = floats(2 * plane), *expected = floats(plane),
              *out = floats(plane);
        float largest = plain.pool_f32(expected, top, bottom, n);
        FOR_TABLES(k)
        {
            assert_true(k->pool_f32(out, top, bottom, n) == largest);
            test_assert_close("pool_f32", out, expected, plane, 0, 0);
        }
        float *in = floats(n_in * plane), *weights = floats(n_in * DNS_LANES);
        plain.relu_dot_f32(expected, in, plane, n_in, weights, 0.5f, n);
        FOR_TABLES(k)
        {
            k->relu_dot_f32(out, in, plane, n_in, weights, 0.5f, n);
            test_assert_close("relu_dot_f32", out, expected, n, 1e-4, 1e-5);
        }
        float *values = floats(n_bytes);
        uint8_t *codes = bytes(n_bytes), *expected_codes = bytes(n_bytes);
        for (size_t i = 0; i < n_bytes; i++)
            values[i] = i % 5 == 0 ? (float)(i % 512) - 0.5f : values[i] * 200.0f;
        plain.quantise_u8(expected_codes, values, n_bytes, 1.0f);
        FOR_TABLES(k)
        {
            uint8_t after = codes[n_bytes];
            k->quantise_u8(codes, values, n_bytes, 1.0f);
            assert_memory_equal(codes, expected_codes, n_bytes);
            assert_int_equal(codes[n_bytes], after);
        }
        dns_free(top), dns_free(bottom), dns_free(expected), dns_free(out), dns_free(in),
            dns_free(weights);
        dns_free(values), dns_free(codes), dns_free(expected_codes);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rows_agree),
        cmocka_unit_test(rows_of_bytes_are_exact),
        cmocka_unit_test(distances_of_rows_are_exact),
        cmocka_unit_test(stored_elements_become_wide),
        cmocka_unit_test(rows_become_the_same_bytes),
        cmocka_unit_test(largest_products_agree),
        cmocka_unit_test(largest_products_both_ways_agree),
        cmocka_unit_test(largest_products_of_bytes_agree),
        cmocka_unit_test(fewest_bits_are_exact),
        cmocka_unit_test(convolutions_agree),
        cmocka_unit_test(convolutions_of_bytes_agree),
        cmocka_unit_test(small_steps_of_the_comparator_agree),
    };
    return cmocka_run_group_tests(tests, make_tables, NULL);
}
