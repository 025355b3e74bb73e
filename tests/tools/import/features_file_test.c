#include "support.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dnsel/features_file.h"
#include "dnsel/file.h"
#include "dnsel/safetensors.h"

/* On damaged files libhdf5 loses a block now and then. */
const char *__lsan_default_suppressions(void);
const char *__lsan_default_suppressions(void)
{
    return "leak:libhdf5";
}

static dns_features_file *open_fixture(const char *name)
{
    char path[4096], fixture[128];
    snprintf(fixture, sizeof fixture, "import/%s", name);
    test_data_path(path, sizeof path, fixture);
    dns_features_file *file;
    assert_ok(dns_features_file_open(&file, path));
    return file;
}

/* The video as it should be, whole; the caller frees it. */
static float *expected_video(dns_features_shape *shape, const char *id)
{
    char path[4096];
    dns_safetensors *file;
    test_data_path(path, sizeof path, "import/features.safetensors");
    assert_ok(dns_safetensors_open(&file, path));
    const dns_tensor *t = dns_safetensors_find(file, id);
    assert_non_null(t);
    *shape =
        (dns_features_shape){t->shape[0], t->rank == 3 ? t->shape[1] : 1, t->shape[t->rank - 1]};
    float *values;
    assert_ok(dns_alloc(&values, dns_tensor_count(t), sizeof *values));
    dns_tensor_to_f32(values, t);
    dns_safetensors_close(file);
    return values;
}

/* The whole video, and every slab of it. */
static void check_video(dns_features_file *file, const char *id, double tolerance)
{
    size_t index;
    dns_features_shape expected, shape;
    float *values = expected_video(&expected, id), *read;
    if (!dns_features_file_find(&index, file, id))
        fail_msg("no video '%s'", id);
    assert_string_equal(dns_features_file_id(file, index), id);
    assert_ok(dns_features_file_shape(&shape, file, index));
    assert_int_equal(shape.n_frames, expected.n_frames);
    assert_int_equal(shape.n_regions, expected.n_regions);
    assert_int_equal(shape.dim, expected.dim);
    size_t width = shape.n_regions * shape.dim;
    assert_ok(dns_alloc(&read, shape.n_frames * width, sizeof *read));
    for (size_t first = 0; first <= shape.n_frames; first++)
        for (size_t n = 0; n <= shape.n_frames - first; n++) {
            memset(read, 0xff, shape.n_frames * width * sizeof *read);
            assert_ok(dns_features_file_read(read, file, index, first, n));
            test_assert_close(id, read, values + first * width, n * width, tolerance, tolerance);
            if (n < shape.n_frames)
                assert_true(isnan(read[n * width])); /* nothing is written beyond */
        }
    assert_status(dns_features_file_read(read, file, index, 0, shape.n_frames + 1), DNS_ERR_ARG);
    assert_status(dns_features_file_read(read, file, index, shape.n_frames + 1, 0), DNS_ERR_ARG);
    assert_status(dns_features_file_read(read, file, index, 1, SIZE_MAX), DNS_ERR_ARG);
    dns_free(values);
    dns_free(read);
}

static void check_file(const char *name, const char *container, double tolerance)
{
    dns_features_file *file = open_fixture(name);
    size_t index;
    assert_string_equal(dns_features_file_container(file), container);
    assert_int_equal(dns_features_file_count(file), 3);
    for (size_t i = 1; i < 3; i++)
        assert_true(strcmp(dns_features_file_id(file, i - 1), dns_features_file_id(file, i)) < 0);
    check_video(file, "vid_a", tolerance);
    check_video(file, "1/1_1_Y", tolerance);
    check_video(file, "global", tolerance);
    assert_false(dns_features_file_find(&index, file, "vid"));
    assert_false(dns_features_file_find(&index, file, "zzz"));
    dns_features_file_close(file);
}

static void all_containers_hold_the_same_features(void **state)
{
    (void)state;
    check_file("features.safetensors", "safetensors", 0);
    check_file("features.npz", "npz", 0);
    check_file("features.deflated.npz", "npz", 1e-3); /* f16, column-major */
    dns_features_file *one = open_fixture("features.npy");
    assert_string_equal(dns_features_file_container(one), "npy");
    assert_int_equal(dns_features_file_count(one), 1);
    assert_string_equal(dns_features_file_id(one, 0), "features");
    dns_features_file_close(one);
    dns_features_file *runs = open_fixture("features.runs.npz");
    assert_int_equal(dns_features_file_count(runs), 2);
    check_video(runs, "vid_a", 1e-3);
    check_video(runs, "1/1_1_Y", 1e-3);
    dns_features_file_close(runs);
    dns_features_file_close(NULL);
}

static void hdf5_holds_the_same_features(void **state)
{
    (void)state;
    if (!dns_features_file_has_hdf5())
        skip();
    check_file("features.hdf5", "hdf5", 0);
    check_file("features.f16.hdf5", "hdf5", 1e-3);
    check_file("features.f64.hdf5", "hdf5", 1e-7);
}

static void without_hdf5_the_file_is_refused_by_name(void **state)
{
    (void)state;
    char path[4096];
    dns_features_file *file;
    if (dns_features_file_has_hdf5())
        skip();
    test_data_path(path, sizeof path, "import/features.hdf5");
    assert_status(dns_features_file_open(&file, path), DNS_ERR_UNSUPPORTED);
}

static void assert_bad(dns_features_file *file, const char *id, dns_status expected,
                       const char *mentions)
{
    size_t index;
    dns_features_shape shape;
    float value;
    assert_true(dns_features_file_find(&index, file, id));
    assert_status(dns_features_file_shape(&shape, file, index), expected);
    if (strstr(dns_status_message(), mentions) == NULL || strstr(dns_status_message(), id) == NULL)
        fail_msg("'%s' does not mention '%s' and '%s'", dns_status_message(), mentions, id);
    assert_status(dns_features_file_read(&value, file, index, 0, 0), expected);
}

static void bad_datasets_are_errors_of_their_own(void **state)
{
    (void)state;
    if (!dns_features_file_has_hdf5())
        skip();
    dns_features_file *file = open_fixture("refused.hdf5");
    assert_int_equal(dns_features_file_count(file), 9); /* links are not followed */
    assert_bad(file, "text", DNS_ERR_UNSUPPORTED, "not an array of numbers");
    assert_bad(file, "rank", DNS_ERR_UNSUPPORTED, "4 dimensions");
    assert_bad(file, "wide", DNS_ERR_LIMIT, "8192 regions");
    assert_bad(file, "long", DNS_ERR_LIMIT, "8589934592");
    assert_bad(file, "chunk", DNS_ERR_LIMIT, "chunks");
    assert_bad(file, "elsewhere", DNS_ERR_UNSUPPORTED, "other files");
    assert_bad(file, "virtual", DNS_ERR_UNSUPPORTED, "other files");
    assert_bad(file, "lzf", DNS_ERR_UNSUPPORTED, "filter (32000)");
    size_t index;
    dns_features_shape shape;
    assert_true(dns_features_file_find(&index, file, "none"));
    assert_ok(dns_features_file_shape(&shape, file, index));
    assert_int_equal(shape.n_frames, 0);
    dns_features_file_close(file);
}

static void golden_hdf5_is_read(void **state)
{
    (void)state;
    static const struct {
        const char *id;
        dns_features_shape shape;
    } expected[] = {
        {"1/1_1_Y", {3, 9, 512}},
        {"24/24_9_X", {12, 9, 512}},
        {"global_only", {5, 1, 512}},
        {"vid_a", {7, 9, 512}},
    };
    const char *shared = test_shared();
    if (shared == NULL || !dns_features_file_has_hdf5())
        skip();
    char path[4200];
    snprintf(path, sizeof path, "%s/golden/checkpoints/features.hdf5", shared);
    dns_features_file *file;
    assert_ok(dns_features_file_open(&file, path));
    assert_int_equal(dns_features_file_count(file), 4);
    for (size_t i = 0; i < 4; i++) {
        dns_features_shape shape;
        assert_string_equal(dns_features_file_id(file, i), expected[i].id);
        assert_ok(dns_features_file_shape(&shape, file, i));
        assert_memory_equal(&shape, &expected[i].shape, sizeof shape);
        size_t rows = shape.n_frames * shape.n_regions;
        float *x;
        assert_ok(dns_alloc(&x, rows * shape.dim, sizeof *x));
        assert_ok(dns_features_file_read(x, file, i, 0, shape.n_frames));
        for (size_t r = 0; r < rows; r++) { /* region vectors are of unit length */
            double square = 0;
            for (size_t k = 0; k < shape.dim; k++)
                square += (double)x[r * shape.dim + k] * (double)x[r * shape.dim + k];
            assert_true(fabs(square - 1) < 1e-5);
        }
        dns_free(x);
    }
    dns_features_file_close(file);
}

static dns_status open_bytes(const char *name, const void *bytes, size_t size)
{
    char path[256];
    dns_features_file *file;
    snprintf(path, sizeof path, "%s/%s", test_folder(), name);
    assert_ok(dns_file_write(path, bytes, size));
    dns_status status = dns_features_file_open(&file, path);
    assert_true((status == DNS_OK) == (file != NULL));
    dns_features_file_close(file);
    return status;
}

static void what_is_no_feature_file_is_refused(void **state)
{
    (void)state;
    char path[4096], *bytes;
    size_t size;
    dns_features_file *file;
    test_data_path(path, sizeof path, "import/nothing.npz");
    assert_status(dns_features_file_open(&file, path), DNS_ERR_NOTFOUND);
    assert_null(file);
    test_data_path(path, sizeof path, "import/annotation.4.pickle");
    assert_status(dns_features_file_open(&file, path), DNS_ERR_FORMAT);
    assert_status(open_bytes("empty", "", 0), DNS_ERR_FORMAT);
    assert_status(open_bytes("cut.npy", "\x93NUMPY\1\0\x76\0{'descr': '<f4', 'fortran_order'", 42),
                  DNS_ERR_CORRUPT);
    test_data_path(path, sizeof path, "import/features.npy");
    assert_ok(dns_file_read(&bytes, &size, path, 1 << 20));
    assert_status(open_bytes("cut.npy", bytes, size - 1), DNS_ERR_CORRUPT);
    dns_free(bytes);
    test_data_path(path, sizeof path, "import/features.npz");
    assert_ok(dns_file_read(&bytes, &size, path, 1 << 20));
    assert_status(open_bytes("cut.npz", bytes, size - 1), DNS_ERR_CORRUPT);
    dns_free(bytes);
    test_data_path(path, sizeof path, "import/features.hdf5");
    assert_ok(dns_file_read(&bytes, &size, path, 1 << 20));
    if (dns_features_file_has_hdf5())
        assert_status(open_bytes("cut.hdf5", bytes, size - 1), DNS_ERR_CORRUPT);
    dns_free(bytes);
}

static void parse_damaged(const uint8_t *bytes, size_t size)
{
    /* A name of its own each time: libhdf5 takes a file that it could not close for the one that is
     * opened next. */
    static unsigned round;
    char path[256];
    dns_features_file *file;
    snprintf(path, sizeof path, "%s/damaged.%u", test_folder(), round++);
    FILE *stream = fopen(path, "wb");
    assert_non_null(stream);
    assert_int_equal(fwrite(bytes, 1, size, stream), size);
    fclose(stream);
    dns_status status = dns_features_file_open(&file, path);
    if (status != DNS_OK)
        return;
    for (size_t i = 0; i < dns_features_file_count(file); i++) {
        dns_features_shape shape;
        if (dns_features_file_shape(&shape, file, i) != DNS_OK)
            continue;
        size_t n = shape.n_frames < 8 ? shape.n_frames : 8,
               values = n * shape.n_regions * shape.dim;
        float *out = values < 1 << 16 ? malloc((values + 1) * sizeof *out) : NULL;
        if (out != NULL)
            (void)(dns_features_file_read(out, file, i, shape.n_frames - n, n) == DNS_OK);
        free(out);
    }
    dns_features_file_close(file);
}

static void damaged_feature_files_never_crash(void **state)
{
    (void)state;
    static const char *const files[] = {"features.npz", "features.deflated.npz",
                                        "features.runs.npz", "features.npy",
                                        "features.safetensors"};
    for (size_t f = 0; f < sizeof files / sizeof *files; f++) {
        char path[4096], name[128], *bytes;
        size_t size;
        snprintf(name, sizeof name, "import/%s", files[f]);
        test_data_path(path, sizeof path, name);
        assert_ok(dns_file_read(&bytes, &size, path, 1 << 20));
        test_fuzz(bytes, size, 600, parse_damaged);
        dns_free(bytes);
    }
}

static void damaged_hdf5_never_crashes(void **state)
{
    (void)state;
    if (!dns_features_file_has_hdf5())
        skip();
    static const char *const files[] = {"features.hdf5", "features.f16.hdf5", "features.f64.hdf5"};
    for (size_t f = 0; f < sizeof files / sizeof *files; f++) {
        char path[4096], name[128], *bytes;
        size_t size;
        snprintf(name, sizeof name, "import/%s", files[f]);
        test_data_path(path, sizeof path, name);
        assert_ok(dns_file_read(&bytes, &size, path, 1 << 20));
        test_fuzz(bytes, size, 300, parse_damaged);
        dns_free(bytes);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_containers_hold_the_same_features),
        cmocka_unit_test(hdf5_holds_the_same_features),
        cmocka_unit_test(without_hdf5_the_file_is_refused_by_name),
        cmocka_unit_test(bad_datasets_are_errors_of_their_own),
        cmocka_unit_test(golden_hdf5_is_read),
        cmocka_unit_test(what_is_no_feature_file_is_refused),
        cmocka_unit_test(damaged_feature_files_never_crash),
        cmocka_unit_test(damaged_hdf5_never_crashes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
