/* Frame-to-frame similarity and the comparator against reference outputs of the published networks.
 */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "dnsel/f2f.h"
#include "dnsel/mapcnn.h"
#include "dnsel/safetensors.h"
#include "support.h"

/* A safetensors file of tests/data/golden, or of the shared set; skips the test without it. */
static dns_safetensors *golden(const char *name)
{
    char path[4300];
    dns_safetensors *file;
    snprintf(path, sizeof path, "golden/%s.safetensors", name);
    char here[4200];
    test_data_path(here, sizeof here, path);
    if (dns_file_exists(here)) {
        assert_ok(dns_safetensors_open(&file, here));
        return file;
    }
    if (test_shared() == NULL)
        skip();
    snprintf(path, sizeof path, "%s/golden/%s.safetensors", test_shared(), name);
    if (!dns_file_exists(path))
        skip();
    assert_ok(dns_safetensors_open(&file, path));
    return file;
}

static const dns_tensor *find(const dns_safetensors *file, const char *name)
{
    const dns_tensor *tensor = dns_safetensors_find(file, name);
    if (tensor == NULL)
        fail_msg("%s: no %s", dns_safetensors_path(file), name);
    return tensor;
}

static void *scratch_of(size_t n)
{
    void *scratch;
    assert_ok(dns_alloc(&scratch, n, 1));
    return scratch;
}

/* Largest less smallest. */
static double spread(const dns_tensor *tensor)
{
    const float *values = tensor->data;
    double low = INFINITY, high = -INFINITY;
    for (size_t i = 0; i < dns_tensor_count(tensor); i++) {
        low = fmin(low, (double)values[i]);
        high = fmax(high, (double)values[i]);
    }
    return high - low;
}

static void assert_near(const char *what, const float *got, const dns_tensor *expected,
                        double tolerance)
{
    test_assert_close(what, got, expected->data, dns_tensor_count(expected), tolerance, 0);
}

static void check_comparator(const dns_safetensors *weights, const char *prefix, bool replicate,
                             const dns_tensor *map, const dns_tensor *expected)
{
    static const char *const layers[4] = {"conv1", "conv2", "conv3", "fconv"};
    dns_mapcnn_weights w = {.replicate = replicate};
    for (size_t i = 0; i < 4; i++) {
        char name[80];
        snprintf(name, sizeof name, "%s.%s.weight", prefix, layers[i]);
        const dns_tensor *weight = find(weights, name);
        w.weight[i] = weight->data;
        if (i < 3)
            w.channels[i] = weight->shape[0];
        snprintf(name, sizeof name, "%s.%s.bias", prefix, layers[i]);
        w.bias[i] = find(weights, name)->data;
    }
    for (dns_mapcnn_form form = DNS_MAPCNN_F32; form <= DNS_MAPCNN_I8; form++) {
        dns_mapcnn *net;
        float out[256];
        assert_true(dns_tensor_count(expected) <= sizeof out / sizeof *out);
        assert_ok(dns_mapcnn_create(&net, form, &w));
        void *scratch = scratch_of(dns_mapcnn_scratch(net, map->shape[0], map->shape[1]));
        assert_ok(dns_mapcnn_run(out, net, map->data, map->shape[0], map->shape[1], scratch));
        if (form == DNS_MAPCNN_F32)
            assert_near("comparator", out, expected, 1e-5 * spread(expected));
        else
            assert_near("comparator in bytes", out, expected, fmax(0.01, 0.02 * spread(expected)));
        dns_free(scratch);
        dns_mapcnn_free(net);
    }
}

/* x [T,R,D] weighted by u.x/2 + 1/2 (docs/networks/teacher.md). */
static float *teacher_weighted(const dns_tensor *x, const float *u)
{
    float *out;
    size_t dim = x->shape[2];
    assert_ok(dns_alloc(&out, dns_tensor_count(x), sizeof *out));
    dns_tensor_to_f32(out, x);
    for (size_t r = 0; r < x->shape[0] * x->shape[1]; r++) {
        double product = 0;
        for (size_t k = 0; k < dim; k++)
            product += (double)u[k] * (double)out[r * dim + k];
        for (size_t k = 0; k < dim; k++)
            out[r * dim + k] *= (float)(product / 2 + 0.5);
    }
    return out;
}

static void teacher_gives_its_reference_maps(void **state)
{
    (void)state;
    dns_safetensors *weights = golden("teacher_clip.weights"),
                    *expected = golden("teacher_clip.expected");
    const float *u = find(weights, "attention.context_vector.weight")->data;
    const dns_tensor *q = find(expected, "input.query"), *t = find(expected, "input.copy");
    const dns_tensor *f2f = find(expected, "f2f");
    float *rows = teacher_weighted(q, u), *columns = teacher_weighted(t, u), *out;
    dns_f2f_query *query;
    assert_ok(dns_alloc(&out, dns_tensor_count(f2f), sizeof *out));
    assert_ok(dns_f2f_query_create(&query, DNS_F2F_F32, DNS_F2F_MAX, rows, q->shape[0], q->shape[1],
                                   q->shape[2]));
    const dns_tensor target = dns_tensor_f32(columns, 3, t->shape);
    void *scratch = scratch_of(dns_f2f_scratch(query));
    assert_ok(dns_f2f_run(out, query, &target, NULL, scratch));
    assert_near("f2f", out, f2f, 1e-5 * spread(f2f));
    check_comparator(weights, "video_comperator", true, f2f, find(expected, "comparator"));
    dns_f2f_query_free(query);
    dns_free(scratch), dns_free(out), dns_free(rows), dns_free(columns);
    dns_safetensors_close(weights);
    dns_safetensors_close(expected);
}

/* One byte a bit to one bit a bit. */
static uint8_t *packed(const dns_tensor *bits)
{
    const uint8_t *values = bits->data;
    uint8_t *codes;
    size_t n = dns_tensor_count(bits);
    assert_ok(dns_alloc(&codes, n / 8, 1));
    for (size_t i = 0; i < n; i++)
        codes[i / 8] |= (uint8_t)(values[i] << i % 8);
    return codes;
}

static void students_give_their_reference_maps(void **state)
{
    (void)state;
    static const char *const videos[] = {"copy", "part", "unrelated", "five", "four"};
    dns_safetensors *weights = golden("fine_binary.weights"),
                    *expected = golden("fine_binary.expected");
    const dns_tensor *q = find(expected, "index.query");
    uint8_t *rows = packed(q);
    dns_f2f_query *query;
    assert_ok(dns_f2f_query_create_bits(&query, DNS_F2F_MAX, rows, q->shape[0], q->shape[1],
                                        q->shape[2]));
    void *scratch = scratch_of(dns_f2f_scratch(query));
    for (size_t i = 0; i < sizeof videos / sizeof *videos; i++) {
        char name[40];
        float *out;
        snprintf(name, sizeof name, "index.%s", videos[i]);
        const dns_tensor *t = find(expected, name);
        snprintf(name, sizeof name, "f2f.%s", videos[i]);
        const dns_tensor *f2f = find(expected, name);
        uint8_t *columns = packed(t);
        const dns_tensor target = {.dtype = DNS_U8,
                                   .rank = 3,
                                   .shape = {t->shape[0], t->shape[1], t->shape[2] / 8},
                                   .data = columns};
        assert_ok(dns_alloc(&out, dns_tensor_count(f2f), sizeof *out));
        assert_ok(dns_f2f_run(out, query, &target, NULL, scratch));
        assert_near(name, out, f2f, 1e-5 * spread(f2f));
        snprintf(name, sizeof name, "comparator.%s", videos[i]);
        check_comparator(weights, "visil_head", false, f2f, find(expected, name));
        dns_free(out), dns_free(columns);
    }
    dns_f2f_query_free(query);
    dns_free(scratch), dns_free(rows);
    dns_safetensors_close(weights);
    dns_safetensors_close(expected);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(teacher_gives_its_reference_maps),
        cmocka_unit_test(students_give_their_reference_maps),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
