/* Frame-to-frame similarity and the comparator on one map, against their definitions. Runs once for
 * each instruction set: ctest sets DNS_CPU_MASK. */
#include <math.h>
#include <string.h>

#include "dnsel/cpu.h"
#include "dnsel/f2f.h"
#include "dnsel/linalg.h"
#include "dnsel/mapcnn.h"
#include "support.h"

static dns_random dice;

static size_t below(size_t n)
{
    return (size_t)dns_random_below(&dice, n);
}

static float *floats(size_t n)
{
    float *x;
    assert_ok(dns_alloc(&x, n + 1, sizeof *x));
    for (size_t i = 0; i < n; i++)
        x[i] = (float)dns_random_normal(&dice);
    return x;
}

static float *unit_vectors(size_t n, size_t dim)
{
    float *x = floats(n * dim);
    dns_normalise_rows(x, n, dim);
    return x;
}

static void define_f2f(float *out, dns_f2f_step step, const float *q, size_t n_query,
                       const float *t, size_t n_target, size_t n_regions, size_t dim);

/* The mean of the largest products both ways (docs/networks/teacher.md, symmetric). */
static void define_symmetric(float *out, const float *q, size_t n_query, const float *t,
                             size_t n_target, size_t n_regions, size_t dim)
{
    float *back = floats(n_query * n_target);
    define_f2f(out, DNS_F2F_MAX, q, n_query, t, n_target, n_regions, dim);
    define_f2f(back, DNS_F2F_MAX, t, n_target, q, n_query, n_regions, dim);
    for (size_t i = 0; i < n_query; i++)
        for (size_t j = 0; j < n_target; j++)
            out[i * n_target + j] = (out[i * n_target + j] + back[j * n_query + i]) / 2;
    dns_free(back);
}

/* docs/networks/teacher.md, word for word. */
static void define_f2f(float *out, dns_f2f_step step, const float *q, size_t n_query,
                       const float *t, size_t n_target, size_t n_regions, size_t dim)
{
    if (step == DNS_F2F_SYMMETRIC) {
        define_symmetric(out, q, n_query, t, n_target, n_regions, dim);
        return;
    }
    for (size_t i = 0; i < n_query; i++)
        for (size_t j = 0; j < n_target; j++) {
            double mean = 0;
            for (size_t o = 0; o < n_regions; o++) {
                double largest = -INFINITY;
                for (size_t p = 0; p < n_regions; p++) {
                    double product = 0;
                    for (size_t k = 0; k < dim; k++)
                        product += (double)q[(i * n_regions + o) * dim + k] *
                                   (double)t[(j * n_regions + p) * dim + k];
                    if (step == DNS_F2F_SAME ? p == o : product > largest)
                        largest = product;
                }
                mean += largest / (double)n_regions;
            }
            out[i * n_target + j] = (float)mean;
        }
}

static void run(float *out, const dns_f2f_query *query, const dns_tensor *target,
                const float *scales)
{
    char *scratch;
    size_t n = dns_f2f_scratch(query);
    assert_ok(dns_alloc(&scratch, n, 1));
    memset(scratch, 0xff, n); /* NaN: nothing may be taken for granted */
    assert_ok(dns_f2f_run(out, query, target, scales, scratch));
    dns_free(scratch);
}

typedef struct pair {
    size_t n_query, n_target, n_regions, dim;
    dns_f2f_step step;
} pair;

static pair any_pair(int round)
{
    pair p = {1 + below(9), 1 + below(40), round % 2 == 0 ? 9 : 1 + below(12),
              round % 4 == 0 ? 512 : 8 * (1 + below(30)),
              round % 5 == 4   ? DNS_F2F_SAME
              : round % 5 == 3 ? DNS_F2F_SYMMETRIC
                               : DNS_F2F_MAX};
    if (round % 5 == 3)
        p.n_query += below(30); /* more than a block */
    if (round % 7 == 0)
        p.n_query = 1, p.n_target = 1;
    return p;
}

static dns_tensor tensor_of(dns_dtype dtype, const void *data, const pair *p)
{
    size_t width = dtype == DNS_U8 ? p->dim / 8 : p->dim;
    return (dns_tensor){
        .dtype = dtype, .rank = 3, .shape = {p->n_target, p->n_regions, width}, .data = data};
}

static void floats_follow_the_definition(void **state)
{
    (void)state;
    for (int round = 0; round < 60; round++) {
        pair p = any_pair(round);
        p.dim += round % 3; /* any dim is fine */
        size_t n_out = p.n_query * p.n_target, n_elements = p.n_target * p.n_regions * p.dim;
        float *q = unit_vectors(p.n_query * p.n_regions, p.dim),
              *t = unit_vectors(p.n_target * p.n_regions, p.dim);
        float *expected = floats(n_out), *out = floats(n_out);
        uint16_t *halves;
        dns_f2f_query *query;
        assert_ok(
            dns_f2f_query_create(&query, DNS_F2F_F32, p.step, q, p.n_query, p.n_regions, p.dim));
        assert_int_equal(dns_f2f_query_frames(query), p.n_query);

        define_f2f(expected, p.step, q, p.n_query, t, p.n_target, p.n_regions, p.dim);
        dns_tensor target = tensor_of(DNS_F32, t, &p);
        run(out, query, &target, NULL);
        test_assert_close("f32", out, expected, n_out, 2e-6, 0);

        assert_ok(dns_alloc(&halves, n_elements, 2));
        for (size_t i = 0; i < n_elements; i++) {
            halves[i] = dns_f16_from_f32(t[i]);
            t[i] = dns_f32_from_f16(halves[i]);
        }
        define_f2f(expected, p.step, q, p.n_query, t, p.n_target, p.n_regions, p.dim);
        target = tensor_of(DNS_F16, halves, &p);
        run(out, query, &target, NULL);
        test_assert_close("f16", out, expected, n_out, 2e-6, 0);

        dns_f2f_query_free(query);
        dns_free(q), dns_free(t), dns_free(expected), dns_free(out), dns_free(halves);
    }
    dns_f2f_query_free(NULL);
}

/* x = scale * codes, scale = largest / 127, as the store does. */
static void to_bytes(int8_t *codes, float *scales, float *x, size_t n_rows, size_t dim)
{
    for (size_t r = 0; r < n_rows; r++) {
        float largest = 0;
        for (size_t k = 0; k < dim; k++)
            largest = fmaxf(largest, fabsf(x[r * dim + k]));
        scales[r] = largest / 127.0f;
        for (size_t k = 0; k < dim; k++) {
            codes[r * dim + k] = (int8_t)(largest > 0 ? rintf(x[r * dim + k] / scales[r]) : 0);
            x[r * dim + k] = scales[r] * codes[r * dim + k];
        }
    }
}

/* The target is exactly what its bytes say; the query loses half a level of 127 in the byte form.
 */
static void bytes_follow_the_definition(void **state)
{
    (void)state;
    for (int round = 0; round < 60; round++) {
        pair p = any_pair(round);
        p.dim += round % 3;
        size_t n_out = p.n_query * p.n_target, n_rows = p.n_target * p.n_regions;
        float *q = unit_vectors(p.n_query * p.n_regions, p.dim), *t = unit_vectors(n_rows, p.dim);
        float *expected = floats(n_out), *out = floats(n_out), *scales = floats(n_rows);
        int8_t *codes;
        dns_f2f_query *query;
        assert_ok(dns_alloc(&codes, n_rows * p.dim, 1));
        memset(t, 0, p.dim * sizeof *t); /* a region of zeros has scale 0 */
        to_bytes(codes, scales, t, n_rows, p.dim);
        define_f2f(expected, p.step, q, p.n_query, t, p.n_target, p.n_regions, p.dim);
        dns_tensor target = tensor_of(DNS_I8, codes, &p);
        assert_ok(
            dns_f2f_query_create(&query, DNS_F2F_F32, p.step, q, p.n_query, p.n_regions, p.dim));
        run(out, query, &target, scales);
        test_assert_close("i8, float query", out, expected, n_out, 2e-6, 0);
        dns_f2f_query_free(query);
        assert_ok(
            dns_f2f_query_create(&query, DNS_F2F_I8, p.step, q, p.n_query, p.n_regions, p.dim));
        run(out, query, &target, scales);
        test_assert_close("i8, byte query", out, expected, n_out, 0.01, 0);
        dns_f2f_query_free(query);
        dns_free(q), dns_free(t), dns_free(expected), dns_free(out), dns_free(codes),
            dns_free(scales);
    }
}

static void to_codes(uint8_t *codes, float *x, size_t n_rows, size_t dim)
{
    memset(codes, 0, n_rows * dim / 8);
    for (size_t i = 0; i < n_rows * dim; i++) {
        codes[i / 8] |= (uint8_t)((x[i] > 0) << i % 8);
        x[i] = x[i] > 0 ? 1.0f : -1.0f;
    }
}

static void codes_follow_the_definition(void **state)
{
    (void)state;
    for (int round = 0; round < 60; round++) {
        pair p = any_pair(round);
        p.dim = 64 * (1 + (p.dim - 1) / 64);
        size_t n_out = p.n_query * p.n_target, n_query = p.n_query * p.n_regions,
               n_target = p.n_target * p.n_regions;
        float *q = unit_vectors(n_query, p.dim), *t = floats(n_target * p.dim);
        float *expected = floats(n_out), *out = floats(n_out);
        uint8_t *q_codes, *t_codes;
        dns_f2f_query *query;
        assert_ok(dns_alloc(&q_codes, n_query * p.dim / 8, 1));
        assert_ok(dns_alloc(&t_codes, n_target * p.dim / 8, 1));
        to_codes(t_codes, t, n_target, p.dim);
        dns_tensor target = tensor_of(DNS_U8, t_codes, &p);

        define_f2f(expected, p.step, q, p.n_query, t, p.n_target, p.n_regions, p.dim);
        assert_ok(
            dns_f2f_query_create(&query, DNS_F2F_F32, p.step, q, p.n_query, p.n_regions, p.dim));
        run(out, query, &target, NULL);
        test_assert_close("asymmetric", out, expected, n_out, 2e-5, 1e-5);
        dns_f2f_query_free(query);
        assert_ok(
            dns_f2f_query_create(&query, DNS_F2F_I8, p.step, q, p.n_query, p.n_regions, p.dim));
        run(out, query, &target, NULL);
        test_assert_close("asymmetric, byte query", out, expected, n_out,
                          0.01 * sqrt((double)p.dim), 0);
        dns_f2f_query_free(query);

        to_codes(q_codes, q, n_query, p.dim);
        define_f2f(expected, p.step, q, p.n_query, t, p.n_target, p.n_regions, p.dim);
        for (size_t i = 0; i < n_out; i++)
            expected[i] /= (float)p.dim;
        assert_ok(
            dns_f2f_query_create_bits(&query, p.step, q_codes, p.n_query, p.n_regions, p.dim));
        run(out, query, &target, NULL);
        test_assert_close("bits", out, expected, n_out, 3e-7, 0);
        dns_f2f_query_free(query);
        dns_free(q), dns_free(t), dns_free(expected), dns_free(out), dns_free(q_codes),
            dns_free(t_codes);
    }
}

static void unfit_pairs_are_refused(void **state)
{
    (void)state;
    enum { DIM = 64 };
    float features[2 * DIM] = {1}, out[4], scales[4] = {1};
    const uint8_t codes[2 * DIM / 8] = {0};
    char *scratch;
    dns_f2f_query *query;
    assert_status(dns_f2f_query_create(&query, DNS_F2F_F32, DNS_F2F_MAX, features, 0, 2, DIM),
                  DNS_ERR_SHAPE);
    assert_null(query);
    assert_status(dns_f2f_query_create(&query, DNS_F2F_F32, DNS_F2F_MAX, features, 1, 0, DIM),
                  DNS_ERR_SHAPE);
    assert_status(
        dns_f2f_query_create(&query, DNS_F2F_F32, DNS_F2F_MAX, features, SIZE_MAX, 2, DIM),
        DNS_ERR_SHAPE);
    assert_status(dns_f2f_query_create_bits(&query, DNS_F2F_MAX, codes, 1, 2, 72), DNS_ERR_SHAPE);
    assert_null(query);
    features[DIM] = NAN;
    assert_status(dns_f2f_query_create(&query, DNS_F2F_F32, DNS_F2F_MAX, features, 1, 2, DIM),
                  DNS_ERR_RANGE);
    assert_null(query);
    features[DIM] = 0;

    dns_tensor f32 = dns_tensor_f32(features, 3, (size_t[]){1, 2, DIM});
    dns_tensor i8 = {.dtype = DNS_I8, .rank = 3, .shape = {1, 2, DIM}, .data = codes};
    dns_tensor u8 = {.dtype = DNS_U8, .rank = 3, .shape = {1, 2, DIM / 8}, .data = codes};
    dns_tensor i16 = {.dtype = DNS_I16, .rank = 3, .shape = {1, 2, DIM}, .data = codes};
    dns_tensor other = dns_tensor_f32(features, 3, (size_t[]){1, 1, DIM});
    assert_ok(dns_f2f_query_create(&query, DNS_F2F_F32, DNS_F2F_MAX, features, 1, 2, DIM));
    assert_ok(dns_alloc(&scratch, dns_f2f_scratch(query), 1));
    assert_status(dns_f2f_run(out, query, &i16, NULL, scratch), DNS_ERR_ARG);
    assert_status(dns_f2f_run(out, query, &i8, NULL, scratch), DNS_ERR_ARG);
    assert_status(dns_f2f_run(out, query, &other, NULL, scratch), DNS_ERR_SHAPE);
    f32.shape[0] = 0;
    assert_ok(dns_f2f_run(out, query, &f32, NULL, scratch));
    f32.rank = 2;
    assert_status(dns_f2f_run(out, query, &f32, NULL, scratch), DNS_ERR_SHAPE);
    f32.rank = 3;
    dns_f2f_query_free(query);
    dns_free(scratch);

    assert_ok(dns_f2f_query_create(&query, DNS_F2F_I8, DNS_F2F_MAX, features, 1, 2, DIM));
    assert_status(dns_f2f_run(out, query, &f32, NULL, NULL), DNS_ERR_ARG);
    dns_f2f_query_free(query);
    assert_ok(dns_f2f_query_create_bits(&query, DNS_F2F_MAX, codes, 1, 2, DIM));
    assert_status(dns_f2f_run(out, query, &i8, scales, NULL), DNS_ERR_ARG);
    u8.shape[2] = DIM;
    assert_status(dns_f2f_run(out, query, &u8, NULL, NULL), DNS_ERR_SHAPE);
    dns_f2f_query_free(query);
}

static void means_of_regions_give_the_mean_of_products(void **state)
{
    (void)state;
    enum { T = 3, R = 9, D = 20 };
    float *x = floats(T * R * D), m[T * D];
    dns_region_mean(m, x, T, R, D);
    for (size_t i = 0; i < T; i++)
        for (size_t j = 0; j < T; j++) {
            double mean = 0, product = 0;
            for (size_t o = 0; o < R; o++)
                for (size_t p = 0; p < R; p++)
                    for (size_t k = 0; k < D; k++)
                        mean += (double)x[(i * R + o) * D + k] * (double)x[(j * R + p) * D + k] /
                                (R * R);
            for (size_t k = 0; k < D; k++)
                product += (double)m[i * D + k] * (double)m[j * D + k];
            assert_true(fabs(mean - product) < 1e-5);
        }
    dns_free(x);
}

/* A 3x3 convolution [n_out,n_in,3,3] with ReLU, of maps [n_in,h,w], at one place. */
static double define_conv(const float *in, size_t n_in, size_t h, size_t w, const float *weight,
                          float bias, size_t y, size_t x, bool replicate)
{
    double sum = (double)bias;
    for (size_t c = 0; c < n_in; c++)
        for (int dy = -1; dy <= 1; dy++)
            for (int dx = -1; dx <= 1; dx++) {
                long yy = (long)y + dy, xx = (long)x + dx;
                bool outside = yy < 0 || xx < 0 || yy >= (long)h || xx >= (long)w;
                if (outside && !replicate)
                    continue;
                yy = yy < 0 ? 0 : yy >= (long)h ? (long)h - 1 : yy;
                xx = xx < 0 ? 0 : xx >= (long)w ? (long)w - 1 : xx;
                sum += (double)weight[(c * 3 + (size_t)(dy + 1)) * 3 + (size_t)(dx + 1)] *
                       (double)in[(c * h + (size_t)yy) * w + (size_t)xx];
            }
    return sum > 0 ? sum : 0;
}

static float *define_layer(const float *in, size_t n_in, size_t h, size_t w, const float *weight,
                           const float *bias, size_t n_out, bool replicate, size_t pool)
{
    float *out = floats(n_out * (h / pool) * (w / pool));
    for (size_t c = 0; c < n_out; c++)
        for (size_t y = 0; y < h / pool; y++)
            for (size_t x = 0; x < w / pool; x++) {
                double largest = 0;
                for (size_t k = 0; k < pool * pool; k++)
                    largest = fmax(largest, define_conv(in, n_in, h, w, weight + c * n_in * 9,
                                                        bias[c], y * pool + k / pool,
                                                        x * pool + k % pool, replicate));
                out[(c * (h / pool) + y) * (w / pool) + x] = (float)largest;
            }
    return out;
}

static void define_comparator(float *out, const dns_mapcnn_weights *net, const float *map, size_t h,
                              size_t w)
{
    const size_t *c = net->channels;
    float *first =
        define_layer(map, 1, h, w, net->weight[0], net->bias[0], c[0], net->replicate, 2);
    h /= 2, w /= 2;
    float *second =
        define_layer(first, c[0], h, w, net->weight[1], net->bias[1], c[1], net->replicate, 2);
    h /= 2, w /= 2;
    float *third =
        define_layer(second, c[1], h, w, net->weight[2], net->bias[2], c[2], net->replicate, 1);
    for (size_t i = 0; i < h * w; i++) {
        double sum = (double)net->bias[3][0];
        for (size_t k = 0; k < c[2]; k++)
            sum += (double)net->weight[3][k] * (double)third[k * h * w + i];
        out[i] = (float)sum;
    }
    dns_free(first), dns_free(second), dns_free(third);
}

/* Weights of the size that Xavier's initialisation gives, so that values stay near 1. */
static dns_mapcnn_weights any_weights(size_t c0, size_t c1, size_t c2, bool replicate)
{
    dns_mapcnn_weights w = {.channels = {c0, c1, c2}, .replicate = replicate};
    const size_t n_in[4] = {1, c0, c1, c2}, n_out[4] = {c0, c1, c2, 1};
    for (size_t l = 0; l < 4; l++) {
        size_t taps = l < 3 ? 9 : 1, n = n_in[l] * n_out[l] * taps;
        float *weight = floats(n), *bias = floats(n_out[l]);
        for (size_t i = 0; i < n; i++)
            weight[i] *= sqrtf(2.0f / (float)((n_in[l] + n_out[l]) * taps));
        for (size_t i = 0; i < n_out[l]; i++)
            bias[i] *= 0.1f;
        w.weight[l] = weight;
        w.bias[l] = bias;
    }
    return w;
}

static void free_weights(dns_mapcnn_weights *w)
{
    for (size_t l = 0; l < 4; l++) {
        dns_free((void *)(uintptr_t)w->weight[l]);
        dns_free((void *)(uintptr_t)w->bias[l]);
    }
}

static void run_comparator(float *out, const dns_mapcnn *net, const float *map, size_t h, size_t w)
{
    char *scratch;
    size_t n = dns_mapcnn_scratch(net, h, w);
    assert_ok(dns_alloc(&scratch, n, 1));
    memset(scratch, 0xff, n);
    assert_ok(dns_mapcnn_run(out, net, map, h, w, scratch));
    dns_free(scratch);
}

static void comparator_follows_the_definition(void **state)
{
    (void)state;
    static const size_t channels[][3] = {{32, 64, 128}, {32, 64, 128}, {5, 7, 3},
                                         {16, 48, 33},  {1, 1, 1},     {40, 16, 80}};
    for (size_t round = 0; round < 12; round++) {
        const size_t *c = channels[round % 6];
        size_t h = round == 0 ? 30 : 4 + below(21), w = round == 0 ? 60 : 4 + below(33);
        if (round == 1)
            h = w = 4;
        dns_mapcnn_weights weights = any_weights(c[0], c[1], c[2], round / 3 % 2 != 0);
        size_t n = dns_mapcnn_output(h) * dns_mapcnn_output(w);
        float *map = floats(h * w), *expected = floats(n), *out = floats(n);
        for (size_t i = 0; i < h * w; i++)
            map[i] = tanhf(map[i]);
        dns_mapcnn *net;
        define_comparator(expected, &weights, map, h, w);
        assert_ok(dns_mapcnn_create(&net, DNS_MAPCNN_F32, &weights));
        run_comparator(out, net, map, h, w);
        test_assert_close("comparator", out, expected, n, 2e-6, 2e-6);
        dns_mapcnn_free(net);
        assert_ok(dns_mapcnn_create(&net, DNS_MAPCNN_I8, &weights));
        run_comparator(out, net, map, h, w);
        test_assert_close("comparator in bytes", out, expected, n, 0.03, 0);
        memset(map, 0, h * w * sizeof *map); /* nothing but biases */
        define_comparator(expected, &weights, map, h, w);
        run_comparator(out, net, map, h, w);
        test_assert_close("comparator of zeros", out, expected, n, 0.02, 0);
        dns_mapcnn_free(net);
        free_weights(&weights);
        dns_free(map), dns_free(expected), dns_free(out);
    }
    dns_mapcnn_free(NULL);
}

/* Rows that a piece must not read yet are not numbers. */
static void comparators_run_by_pieces(void **state)
{
    (void)state;
    for (size_t round = 0; round < 24; round++) {
        size_t h = 4 + below(40), w = 4 + below(30), rows = dns_mapcnn_output(h);
        size_t columns = dns_mapcnn_output(w), n = rows * columns;
        dns_mapcnn_weights weights = any_weights(16, 20, 40, round % 2 != 0);
        float *map = floats(h * w), *part = floats(h * w), *whole = floats(n), *out = floats(n);
        char *scratch;
        dns_mapcnn *net;
        assert_ok(
            dns_mapcnn_create(&net, round / 2 % 2 ? DNS_MAPCNN_I8 : DNS_MAPCNN_F32, &weights));
        run_comparator(whole, net, map, h, w);
        assert_ok(dns_alloc(&scratch, dns_mapcnn_scratch(net, h, w), 1));
        for (size_t i = 0; i < h * w; i++)
            part[i] = NAN;
        assert_int_equal(dns_mapcnn_input(rows, h), h);
        assert_int_equal(dns_mapcnn_input(0, h), 0);
        for (size_t first = 0, end; first < rows; first = end) {
            end = first + 1 + below(rows - first);
            size_t n_read = dns_mapcnn_input(end, h);
            assert_true(n_read <= 4 * end + 7);
            memcpy(part, map, n_read * w * sizeof *map);
            assert_ok(dns_mapcnn_run_rows(out, net, part, h, w, first, end, scratch));
            assert_memory_equal(out, whole, end * columns * sizeof *out);
        }
        dns_mapcnn_free(net);
        free_weights(&weights);
        dns_free(scratch), dns_free(map), dns_free(part), dns_free(whole), dns_free(out);
    }
}

static void unfit_comparators_are_refused(void **state)
{
    (void)state;
    dns_mapcnn *net;
    float map[16] = {0}, out[1];
    dns_mapcnn_weights weights = any_weights(2, 2, 2, false);
    assert_ok(dns_mapcnn_create(&net, DNS_MAPCNN_F32, &weights));
    assert_status(dns_mapcnn_run(out, net, map, 3, 4, NULL), DNS_ERR_SHAPE);
    assert_status(dns_mapcnn_run(out, net, map, 4, 3, NULL), DNS_ERR_SHAPE);
    assert_int_equal(dns_mapcnn_scratch(net, SIZE_MAX / 2, 4), 0);
    dns_mapcnn_free(net);
    weights.channels[1] = 0;
    assert_status(dns_mapcnn_create(&net, DNS_MAPCNN_F32, &weights), DNS_ERR_SHAPE);
    assert_null(net);
    weights.channels[1] = 4097;
    assert_status(dns_mapcnn_create(&net, DNS_MAPCNN_F32, &weights), DNS_ERR_SHAPE);
    weights.channels[1] = 2;
    for (size_t l = 0; l < 4; l++) {
        float *weight = (float *)(uintptr_t)weights.weight[l], kept = *weight;
        *weight = NAN;
        assert_status(dns_mapcnn_create(&net, DNS_MAPCNN_I8, &weights), DNS_ERR_RANGE);
        assert_null(net);
        *weight = kept;
    }
    free_weights(&weights);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(floats_follow_the_definition),
        cmocka_unit_test(bytes_follow_the_definition),
        cmocka_unit_test(codes_follow_the_definition),
        cmocka_unit_test(unfit_pairs_are_refused),
        cmocka_unit_test(means_of_regions_give_the_mean_of_products),
        cmocka_unit_test(comparator_follows_the_definition),
        cmocka_unit_test(comparators_run_by_pieces),
        cmocka_unit_test(unfit_comparators_are_refused),
    };
    dice = dns_random_seed(12);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
