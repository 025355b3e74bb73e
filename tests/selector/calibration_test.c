#include "support.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "dnsel/calibration.h"

enum { N = 4000 };
static float coarse[N], fine[N], expected[N], deviation[N];

/* Fine scores around a step, the more scattered the larger the coarse score. */
static void fill(void)
{
    dns_random random = dns_random_seed(4);
    for (size_t i = 0; i < N; i++) {
        coarse[i] = (float)dns_random_uniform(&random);
        double mean = coarse[i] < 0.5f ? 0.2 : 0.2 + ((double)coarse[i] - 0.5);
        fine[i] = (float)(mean + 0.1 * (double)coarse[i] * dns_random_normal(&random));
    }
}

static void the_map_is_what_coarse_scores_promise(void **state)
{
    (void)state;
    dns_calibration *c;
    fill();
    assert_ok(dns_calibration_fit(&c, coarse, fine, NULL, N));
    const float at[] = {0.1f, 0.3f, 0.75f, 0.95f};
    dns_calibration_map(c, expected, deviation, at, 4);
    test_assert_close("expected", expected, (float[]){0.2f, 0.2f, 0.45f, 0.65f}, 4, 0.03, 0);
    test_assert_close("deviation", deviation, (float[]){0.01f, 0.03f, 0.075f, 0.095f}, 4, 0.015, 0);
    /* Flat stretches keep the order of coarse scores, and nothing falls. */
    float ramp[1000];
    for (size_t i = 0; i < 1000; i++)
        ramp[i] = (float)i / 500 - 0.5f;
    dns_calibration_map(c, ramp, NULL, ramp, 1000);
    for (size_t i = 1; i < 1000; i++)
        assert_true(ramp[i] > ramp[i - 1]);
    dns_calibration_free(c);
}

static void weights_pull_the_map(void **state)
{
    (void)state;
    dns_calibration *c;
    const float x[] = {0, 0, 1}, y[] = {0, 1, 2}, weights[] = {1, 3, 1};
    assert_ok(dns_calibration_fit(&c, x, y, weights, 3));
    dns_calibration_map(c, expected, deviation, x, 3);
    assert_float_equal(expected[0], 0.75, 1e-6);
    assert_float_equal(expected[2], 2 + 1e-4, 1e-6);
    assert_float_equal(deviation[0], sqrt((0.75 * 0.75 + 3 * 0.25 * 0.25) / 5), 1e-6);
    dns_calibration_free(c);
    const float same[100] = {0}; /* several stretches of one coarse score */
    assert_ok(dns_calibration_fit(&c, same, coarse, NULL, 100));
    dns_calibration_map(c, expected, deviation, x, 1);
    assert_true(deviation[0] > 0.2f);
    dns_calibration_free(c);
    assert_status(dns_calibration_fit(&c, x, y, NULL, 0), DNS_ERR_ARG);
    assert_null(c);
    assert_status(dns_calibration_fit(&c, x, (float[]){0, NAN, 1}, NULL, 3), DNS_ERR_RANGE);
}

static void models_keep_it(void **state)
{
    (void)state;
    char directory[256];
    dns_calibration *c, *loaded;
    dns_model *model;
    dns_named_tensor tensors[DNS_CALIBRATION_TENSORS];
    fill();
    assert_ok(dns_calibration_fit(&c, coarse, fine, NULL, N));
    dns_calibration_tensors(tensors, c);
    dns_model_edit edit = {"calibration", "{\"kind\": \"isotonic\"}", tensors,
                           DNS_CALIBRATION_TENSORS};
    snprintf(directory, sizeof directory, "%s/model", test_folder());
    assert_ok(dns_model_edit_apply(directory, &edit, 1));
    assert_ok(dns_model_open(&model, directory));
    assert_ok(dns_calibration_from_model(&loaded, model));
    static float again[N], again_deviation[N];
    dns_calibration_map(c, expected, deviation, coarse, N);
    dns_calibration_map(loaded, again, again_deviation, coarse, N);
    assert_memory_equal(expected, again, sizeof again);
    assert_memory_equal(deviation, again_deviation, sizeof again);
    dns_calibration_free(loaded);
    dns_model_close(model);
    edit = (dns_model_edit){.section = "calibration"};
    assert_ok(dns_model_edit_apply(directory, &edit, 1));
    assert_ok(dns_model_open(&model, directory));
    assert_status(dns_calibration_from_model(&loaded, model), DNS_ERR_UNSUPPORTED);
    dns_model_close(model);
    dns_calibration_free(c);
    dns_calibration_free(NULL);
}

/* Writes two maps and loads them. */
static dns_status load(const float *x, const float *y, const float *dx, const float *dy, size_t n,
                       size_t n_dy)
{
    char path[256];
    dns_safetensors *file;
    dns_calibration *c;
    const dns_named_tensor tensors[] = {{"expected.x", dns_tensor_f32(x, 1, &n)},
                                        {"expected.y", dns_tensor_f32(y, 1, &n)},
                                        {"deviation.x", dns_tensor_f32(dx, 1, &n)},
                                        {"deviation.y", dns_tensor_f32(dy, 1, &n_dy)}};
    snprintf(path, sizeof path, "%s/knots.safetensors", test_folder());
    assert_ok(dns_safetensors_write(path, tensors, n_dy == 0 ? 3 : 4, NULL, 0));
    assert_ok(dns_safetensors_open(&file, path));
    dns_status status = dns_calibration_load(&c, file);
    dns_calibration_free(c);
    dns_safetensors_close(file);
    return status;
}

static void bad_files_are_refused(void **state)
{
    (void)state;
    const float up[] = {0, 1}, down[] = {1, 0}, negative[] = {-1, 1}, nan[] = {0, NAN};
    assert_ok(load(up, up, up, down, 2, 2));
    assert_status(load(down, up, up, up, 2, 2), DNS_ERR_RANGE);
    assert_status(load(up, down, up, up, 2, 2), DNS_ERR_RANGE);
    assert_status(load(up, up, down, up, 2, 2), DNS_ERR_RANGE);
    assert_status(load(up, up, up, negative, 2, 2), DNS_ERR_RANGE);
    assert_status(load(nan, up, up, up, 2, 2), DNS_ERR_RANGE);
    assert_status(load(up, up, up, up, 2, 1), DNS_ERR_SHAPE);
    assert_status(load(up, up, up, up, 2, 0), DNS_ERR_NOTFOUND);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_map_is_what_coarse_scores_promise),
        cmocka_unit_test(weights_pull_the_map),
        cmocka_unit_test(models_keep_it),
        cmocka_unit_test(bad_files_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
