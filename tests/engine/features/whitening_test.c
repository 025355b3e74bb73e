#include "support.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "dnsel/whitening.h"

enum { IN = 24, OUT = 10, N = 400 };

/* Correlated vectors far from 0, of falling variance. */
static float *make_vectors(size_t n, uint64_t seed)
{
    dns_random mixing = dns_random_seed(1), random = dns_random_seed(seed);
    float *vectors;
    double mix[IN][IN];
    for (size_t i = 0; i < IN; i++)
        for (size_t k = 0; k < IN; k++)
            mix[i][k] = dns_random_normal(&mixing) / (1.0 + (double)k);
    assert_ok(dns_alloc(&vectors, n * IN, sizeof *vectors));
    for (size_t v = 0; v < n; v++) {
        double source[IN];
        for (size_t k = 0; k < IN; k++)
            source[k] = dns_random_normal(&random);
        for (size_t i = 0; i < IN; i++) {
            double value = 3.0 + 0.1 * (double)i;
            for (size_t k = 0; k < IN; k++)
                value += mix[i][k] * source[k];
            vectors[v * IN + i] = (float)value;
        }
    }
    return vectors;
}

static dns_whitening *learn(const float *vectors, size_t n, size_t out_dim)
{
    dns_whitening_learner *learner;
    dns_whitening *whitening;
    assert_ok(dns_whitening_learner_create(&learner, IN));
    assert_ok(dns_whitening_learner_add(learner, vectors, n));
    assert_int_equal(dns_whitening_learner_count(learner), n);
    assert_ok(dns_whitening_learner_solve(&whitening, learner, out_dim));
    dns_whitening_learner_free(learner);
    return whitening;
}

static void learnt_coordinates_are_uncorrelated_and_of_equal_size(void **state)
{
    float *vectors = make_vectors(N, 2);
    dns_whitening *whitening = learn(vectors, N, OUT);
    const float *mean = dns_whitening_mean(whitening), *matrix = dns_whitening_matrix(whitening);
    assert_int_equal(dns_whitening_in_dim(whitening), IN);
    assert_int_equal(dns_whitening_out_dim(whitening), OUT);
    double product[OUT][OUT] = {{0}}, centre[IN] = {0};
    for (size_t v = 0; v < N; v++) {
        double y[OUT] = {0};
        for (size_t i = 0; i < IN; i++) {
            centre[i] += (double)vectors[v * IN + i] / N;
            for (size_t k = 0; k < OUT; k++)
                y[k] +=
                    ((double)vectors[v * IN + i] - (double)mean[i]) * (double)matrix[i * OUT + k];
        }
        for (size_t a = 0; a < OUT; a++)
            for (size_t b = 0; b < OUT; b++)
                product[a][b] += y[a] * y[b];
    }
    for (size_t i = 0; i < IN; i++)
        assert_true(fabs(centre[i] - (double)mean[i]) < 1e-6);
    for (size_t a = 0; a < OUT; a++)
        for (size_t b = 0; b < OUT; b++)
            assert_true(fabs(product[a][b] - (a == b ? 1.0 : 0.0)) < 1e-4);
    dns_whitening_free(whitening);
    dns_free(vectors);
}

static void merged_learners_equal_one(void **state)
{
    float *vectors = make_vectors(N, 3);
    dns_whitening_learner *parts[3], *narrow;
    dns_whitening *merged, *whole = learn(vectors, N, OUT);
    static const size_t cuts[] = {0, 100, 101, N};
    for (size_t i = 0; i < 3; i++) {
        assert_ok(dns_whitening_learner_create(&parts[i], IN));
        assert_ok(
            dns_whitening_learner_add(parts[i], vectors + cuts[i] * IN, cuts[i + 1] - cuts[i]));
    }
    assert_ok(dns_whitening_learner_merge(parts[2], parts[0]));
    assert_ok(dns_whitening_learner_merge(parts[2], parts[1]));
    assert_int_equal(dns_whitening_learner_count(parts[2]), N);
    assert_ok(dns_whitening_learner_solve(&merged, parts[2], OUT));
    test_assert_close("mean", dns_whitening_mean(merged), dns_whitening_mean(whole), IN, 1e-6,
                      1e-6);
    test_assert_close("matrix", dns_whitening_matrix(merged), dns_whitening_matrix(whole), IN * OUT,
                      1e-6, 1e-4);
    assert_ok(dns_whitening_learner_create(&narrow, IN - 1));
    assert_status(dns_whitening_learner_merge(narrow, parts[0]), DNS_ERR_SHAPE);
    dns_whitening_learner_free(narrow);
    for (size_t i = 0; i < 3; i++)
        dns_whitening_learner_free(parts[i]);
    dns_whitening_free(merged);
    dns_whitening_free(whole);
    dns_free(vectors);
}

static void learning_refuses_what_it_cannot_use(void **state)
{
    float *vectors = make_vectors(N, 4);
    dns_whitening_learner *learner;
    dns_whitening *whitening;
    assert_status(dns_whitening_learner_create(&learner, 0), DNS_ERR_SHAPE);
    assert_ok(dns_whitening_learner_create(&learner, IN));
    assert_ok(dns_whitening_learner_add(learner, vectors, 0));
    assert_ok(dns_whitening_learner_add(learner, vectors, OUT));
    assert_status(dns_whitening_learner_solve(&whitening, learner, OUT), DNS_ERR_LIMIT);
    assert_status(dns_whitening_learner_solve(&whitening, learner, 0), DNS_ERR_ARG);
    assert_status(dns_whitening_learner_solve(&whitening, learner, IN + 1), DNS_ERR_ARG);
    assert_null(whitening);
    vectors[5] = NAN;
    assert_status(dns_whitening_learner_add(learner, vectors, 1), DNS_ERR_RANGE);
    assert_int_equal(dns_whitening_learner_count(learner), OUT);
    dns_whitening_learner_free(learner);
    dns_free(vectors);
}

static void applying_follows_the_formula(void **state)
{
    float *vectors = make_vectors(N, 5), *result;
    dns_whitening *whitening = learn(vectors, N, OUT);
    const float *mean = dns_whitening_mean(whitening), *matrix = dns_whitening_matrix(whitening);
    assert_ok(dns_alloc(&result, N * OUT, sizeof *result));
    assert_ok(dns_whitening_apply(whitening, result, vectors, N));
    for (size_t v = 0; v < N; v++) {
        double y[OUT] = {0}, square = 0.0;
        float expected[OUT];
        for (size_t k = 0; k < OUT; k++) {
            for (size_t i = 0; i < IN; i++)
                y[k] +=
                    ((double)vectors[v * IN + i] - (double)mean[i]) * (double)matrix[i * OUT + k];
            square += y[k] * y[k];
        }
        for (size_t k = 0; k < OUT; k++)
            expected[k] = (float)(y[k] / sqrt(square));
        test_assert_close("row", result + v * OUT, expected, OUT, 1e-5, 1e-4);
    }
    dns_free(result);
    dns_whitening_free(whitening);
    dns_free(vectors);
}

/* ---- files ---- */

static dns_safetensors *write_file(const dns_named_tensor *tensors, size_t n)
{
    char path[512];
    dns_safetensors *file;
    snprintf(path, sizeof path, "%s/whitening.safetensors", test_folder());
    assert_ok(dns_safetensors_write(path, tensors, n, NULL, 0));
    assert_ok(dns_safetensors_open(&file, path));
    return file;
}

static void stored_matrices_are_read_and_cut(void **state)
{
    static const float mean[3] = {1, 2, 3}, matrix[6] = {1, 2, 3, 4, 5, 6};
    static const float first_column[3] = {1, 3, 5};
    const size_t shape[2] = {3, 2};
    uint16_t halves[6];
    for (size_t i = 0; i < 6; i++)
        halves[i] = dns_f16_from_f32(matrix[i]);
    dns_tensor half = dns_tensor_f32(NULL, 2, shape);
    half.dtype = DNS_F16;
    half.data = halves;
    const dns_named_tensor tensors[] = {{"pca.mean", dns_tensor_f32(mean, 1, shape)},
                                        {"pca.DVt", half}};
    dns_whitening *whitening;
    dns_safetensors *file = write_file(tensors, 2);
    assert_ok(dns_whitening_load(&whitening, file, 0));
    assert_memory_equal(dns_whitening_matrix(whitening), matrix, sizeof matrix);
    dns_whitening_free(whitening);
    assert_ok(dns_whitening_load(&whitening, file, 1));
    assert_int_equal(dns_whitening_out_dim(whitening), 1);
    assert_memory_equal(dns_whitening_mean(whitening), mean, sizeof mean);
    assert_memory_equal(dns_whitening_matrix(whitening), first_column, sizeof first_column);
    dns_whitening_free(whitening);
    assert_status(dns_whitening_load(&whitening, file, 3), DNS_ERR_SHAPE);
    assert_null(whitening);
    dns_safetensors_close(file);
}

static void published_pca_becomes_a_matrix(void **state)
{
    /* Eigenvalues 1, 9, 4 with the unit vectors as columns in another order. */
    static const float mean[3] = {0.5f, 0, -1};
    static const float d[3] = {1, 9, 4}, v[9] = {0, 1, 0, 0, 0, 1, 1, 0, 0};
    static const float expected[6] = {1.0f / 3, 0, 0, 0.5f, 0, 0};
    const size_t shape[2] = {3, 3};
    const dns_named_tensor tensors[] = {{"mean", dns_tensor_f32(mean, 1, shape)},
                                        {"d", dns_tensor_f32(d, 1, shape)},
                                        {"V", dns_tensor_f32(v, 2, shape)}};
    dns_whitening *whitening;
    dns_safetensors *file = write_file(tensors, 3);
    assert_ok(dns_whitening_load(&whitening, file, 2));
    test_assert_close("matrix", dns_whitening_matrix(whitening), expected, 6, 1e-7, 1e-6);
    assert_memory_equal(dns_whitening_mean(whitening), mean, sizeof mean);
    dns_whitening_free(whitening);
    dns_safetensors_close(file);
}

static void a_saved_whitening_gives_the_same_vectors(void **state)
{
    char directory[512];
    float *vectors = make_vectors(N, 6), *before, *after;
    dns_whitening *whitening = learn(vectors, N, OUT), *loaded;
    dns_model *model;
    snprintf(directory, sizeof directory, "%s/model", test_folder());
    const dns_model_edit more = {"backbone", "{\"name\": \"x\"}", NULL, 0};
    assert_ok(dns_whitening_save(whitening, directory, "{\"seed\": 6}", &more, 1));
    assert_ok(dns_model_open(&model, directory));
    const dns_json *section = dns_model_section(model, "whitening");
    assert_int_equal(dns_json_integer(dns_json_get(section, "dim"), 0), OUT);
    assert_int_equal(dns_json_integer(dns_json_get(dns_json_get(section, "provenance"), "seed"), 0),
                     6);
    assert_non_null(dns_model_section(model, "backbone"));
    assert_ok(dns_whitening_load(&loaded, dns_model_weights(model, "whitening"), 0));
    assert_ok(dns_alloc(&before, N * OUT, sizeof *before));
    assert_ok(dns_alloc(&after, N * OUT, sizeof *after));
    assert_ok(dns_whitening_apply(whitening, before, vectors, N));
    assert_ok(dns_whitening_apply(loaded, after, vectors, N));
    test_assert_close("vectors", after, before, N * OUT, 5e-3, 0.0);
    assert_status(dns_whitening_save(whitening, directory, "{", NULL, 0), DNS_ERR_FORMAT);
    dns_free(before);
    dns_free(after);
    dns_model_close(model);
    dns_whitening_free(loaded);
    dns_whitening_free(whitening);
    dns_free(vectors);
}

static dns_status load_three(const char *name_of_d, const float *d, size_t n_d, const float *v)
{
    static const float mean[3];
    const size_t shape[2] = {3, 3};
    const dns_named_tensor tensors[] = {{"mean", dns_tensor_f32(mean, 1, shape)},
                                        {name_of_d, dns_tensor_f32(d, 1, &n_d)},
                                        {"V", dns_tensor_f32(v, 2, shape)}};
    dns_whitening *whitening;
    dns_safetensors *file = write_file(tensors, 3);
    dns_status status = dns_whitening_load(&whitening, file, 0);
    assert_true((status == DNS_OK) == (whitening != NULL));
    dns_whitening_free(whitening);
    dns_safetensors_close(file);
    return status;
}

static void unfit_files_are_refused(void **state)
{
    static const float d[3] = {1, 9, 4}, negative[3] = {1, -9, 4};
    static const float v[9] = {0, 1, 0, 0, 0, 1, 1, 0, 0}, bad[9] = {NAN};
    assert_ok(load_three("d", d, 3, v));
    assert_status(load_three("d", d, 2, v), DNS_ERR_SHAPE);
    assert_status(load_three("e", d, 3, v), DNS_ERR_NOTFOUND);
    assert_status(load_three("d", negative, 3, v), DNS_ERR_RANGE);
    assert_status(load_three("d", d, 3, bad), DNS_ERR_RANGE);
    dns_whitening *whitening;
    assert_status(dns_whitening_create(&whitening, d, v, 3, 4), DNS_ERR_SHAPE);
    assert_status(dns_whitening_create(&whitening, d, v, 3, 0), DNS_ERR_SHAPE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(learnt_coordinates_are_uncorrelated_and_of_equal_size),
        cmocka_unit_test(merged_learners_equal_one),
        cmocka_unit_test(learning_refuses_what_it_cannot_use),
        cmocka_unit_test(applying_follows_the_formula),
        cmocka_unit_test(stored_matrices_are_read_and_cut),
        cmocka_unit_test(published_pca_becomes_a_matrix),
        cmocka_unit_test(a_saved_whitening_gives_the_same_vectors),
        cmocka_unit_test(unfit_files_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
