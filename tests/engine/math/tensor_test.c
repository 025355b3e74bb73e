/* Tensors and safetensors files. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "dnsel/file.h"
#include "dnsel/safetensors.h"
#include "support.h"

static void dtype_names_come_back(void **state)
{
    (void)state;
    dns_dtype dtype;
    for (int i = DNS_F32; i <= DNS_BOOL; i++) {
        assert_true(dns_dtype_parse(&dtype, dns_dtype_name((dns_dtype)i)));
        assert_int_equal(dtype, i);
        assert_in_range(dns_dtype_size(dtype), 1, 8);
    }
    assert_false(dns_dtype_parse(&dtype, "F8_E4M3"));
    assert_false(dns_dtype_parse(&dtype, ""));
}

static void shapes_are_counted_and_printed(void **state)
{
    (void)state;
    char text[32];
    dns_tensor t = dns_tensor_f32(NULL, 2, (size_t[]){3, 512});
    assert_int_equal(dns_tensor_count(&t), 1536);
    assert_int_equal(dns_tensor_bytes(&t), 6144);
    dns_tensor_shape_text(&t, text, sizeof text);
    assert_string_equal(text, "[3,512]");
    dns_tensor_shape_text(&t, text, 5);
    assert_string_equal(text, "[3,5");
    t.rank = 0;
    assert_int_equal(dns_tensor_count(&t), 1);
    dns_tensor_shape_text(&t, text, sizeof text);
    assert_string_equal(text, "[]");
}

static void every_half_comes_back(void **state)
{
    (void)state;
    for (unsigned h = 0; h < 0x10000; h++) {
        float value = dns_f32_from_f16((uint16_t)h);
        if ((h & 0x7c00) == 0x7c00 && (h & 0x3ff) != 0)
            assert_true(isnan(value) && isnan(dns_f32_from_f16(dns_f16_from_f32(value))));
        else
            assert_int_equal(dns_f16_from_f32(value), h);
    }
}

/* Each float lies between two halves; the nearer must be taken, the even one in the middle. */
static void halves_are_the_nearest(void **state)
{
    (void)state;
    dns_random random = dns_random_seed(1);
    for (int i = 0; i < 200000; i++) {
        uint16_t low = (uint16_t)dns_random_below(&random, 0x7bff);
        float a = dns_f32_from_f16(low), b = dns_f32_from_f16((uint16_t)(low + 1));
        float part = i % 4 == 0 ? 0.5f : (float)dns_random_uniform(&random);
        float value = a + part * (b - a);
        float below = value - a, above = b - value;
        bool low_wins = below < above || (below == above && low % 2 == 0);
        uint16_t expected = (uint16_t)(low_wins ? low : low + 1);
        assert_int_equal(dns_f16_from_f32(value), expected);
        assert_int_equal(dns_f16_from_f32(-value), expected | 0x8000);
    }
    assert_int_equal(dns_f16_from_f32(65519.996f), 0x7bff);
    assert_int_equal(dns_f16_from_f32(65520.0f), 0x7c00);
    assert_int_equal(dns_f16_from_f32(INFINITY), 0x7c00);
    assert_int_equal(dns_f16_from_f32(0x1p-25f), 0);
    assert_int_equal(dns_f16_from_f32(0x1.8p-25f), 1);
}

static void every_dtype_becomes_f32(void **state)
{
    (void)state;
    float out[2];
    struct {
        dns_dtype dtype;
        const void *data;
        float expected[2];
    } cases[] = {
        {DNS_F32, (float[]){1.5f, -2}, {1.5f, -2}},
        {DNS_F64, (double[]){1.5, -2}, {1.5f, -2}},
        {DNS_F16, (uint16_t[]){0x3e00, 0xc000}, {1.5f, -2}},
        {DNS_BF16, (uint16_t[]){0x3fc0, 0xc000}, {1.5f, -2}},
        {DNS_I8, (int8_t[]){3, -2}, {3, -2}},
        {DNS_U8, (uint8_t[]){3, 255}, {3, 255}},
        {DNS_I16, (int16_t[]){3, -300}, {3, -300}},
        {DNS_U16, (uint16_t[]){3, 65535}, {3, 65535}},
        {DNS_I32, (int32_t[]){3, -70000}, {3, -70000}},
        {DNS_U32, (uint32_t[]){3, 4294967295u}, {3, 4294967296.0f}},
        {DNS_I64, (int64_t[]){3, -(1LL << 40)}, {3, -0x1p40f}},
        {DNS_U64, (uint64_t[]){3, 1ULL << 63}, {3, 0x1p63f}},
        {DNS_BOOL, (uint8_t[]){0, 1}, {0, 1}},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        dns_tensor t = {.dtype = cases[i].dtype, .rank = 1, .shape = {2}, .data = cases[i].data};
        dns_tensor_to_f32(out, &t);
        test_assert_close(dns_dtype_name(t.dtype), out, cases[i].expected, 2, 0, 0);
    }
}

static void path_in(char *path, size_t size, const char *name)
{
    snprintf(path, size, "%s/%s", test_folder(), name);
}

static const float weights[6] = {1, 2, 3, 4, 5, 6};
static const int8_t bytes3[3] = {-1, 0, 1};
static const int64_t steps = 7;

static const dns_named_tensor written[] = {
    {"bias", {.dtype = DNS_I8, .rank = 1, .shape = {3}, .data = bytes3}},
    {"weight", {.dtype = DNS_F32, .rank = 2, .shape = {2, 3}, .data = weights}},
    {"steps", {.dtype = DNS_I64, .rank = 0, .data = &steps}},
    {"empty", {.dtype = DNS_F32, .rank = 2, .shape = {0, 4}, .data = NULL}},
};
static const dns_metadata lines[] = {{"origin", "a \"test\""}, {"format", "pt"}};

static void write_example(const char *path)
{
    assert_ok(dns_safetensors_write(path, written, 4, lines, 2));
}

static void written_file_is_read_back(void **state)
{
    (void)state;
    char path[256];
    dns_safetensors *file;
    path_in(path, sizeof path, "a.safetensors");
    write_example(path);
    assert_ok(dns_safetensors_open(&file, path));
    assert_string_equal(dns_safetensors_path(file), path);
    assert_int_equal(dns_safetensors_count(file), 4);
    const char *sorted[] = {"bias", "empty", "steps", "weight"};
    for (size_t i = 0; i < 4; i++) {
        assert_string_equal(dns_safetensors_name(file, i), sorted[i]);
        assert_ptr_equal(dns_safetensors_find(file, sorted[i]), dns_safetensors_at(file, i));
    }
    assert_null(dns_safetensors_find(file, "weights"));
    const dns_tensor *w = dns_safetensors_find(file, "weight");
    assert_int_equal(w->rank, 2);
    assert_int_equal(w->shape[1], 3);
    assert_memory_equal(w->data, weights, sizeof weights);
    assert_memory_equal(dns_safetensors_find(file, "bias")->data, bytes3, 3);
    assert_memory_equal(dns_safetensors_find(file, "steps")->data, &steps, 8);
    assert_int_equal(dns_tensor_count(dns_safetensors_find(file, "empty")), 0);

    assert_int_equal(dns_safetensors_metadata_count(file), 2);
    assert_string_equal(dns_safetensors_metadata(file, "origin"), "a \"test\"");
    assert_null(dns_safetensors_metadata(file, "other"));
    const char *key, *value;
    dns_safetensors_metadata_at(file, 0, &key, &value);
    assert_string_equal(key, "format");
    assert_string_equal(value, "pt");
    dns_safetensors_close(file);
    dns_safetensors_close(NULL);
}

static void f32_checks_name_type_and_shape(void **state)
{
    (void)state;
    char path[256];
    dns_safetensors *file;
    const float *data;
    path_in(path, sizeof path, "b.safetensors");
    write_example(path);
    assert_ok(dns_safetensors_open(&file, path));
    size_t shape[2] = {2, 0};
    assert_ok(dns_safetensors_f32(&data, file, "weight", 2, shape));
    assert_int_equal(shape[1], 3);
    assert_true(data[5] == 6.0f);
    assert_status(dns_safetensors_f32(&data, file, "weight", 2, (size_t[]){2, 4}), DNS_ERR_SHAPE);
    assert_null(data);
    assert_status(dns_safetensors_f32(&data, file, "weight", 1, (size_t[]){6}), DNS_ERR_SHAPE);
    assert_status(dns_safetensors_f32(&data, file, "bias", 1, (size_t[]){3}), DNS_ERR_SHAPE);
    assert_status(dns_safetensors_f32(&data, file, "nothing", 1, (size_t[]){3}), DNS_ERR_NOTFOUND);
    dns_safetensors_close(file);
}

static void order_of_input_does_not_change_the_file(void **state)
{
    (void)state;
    char path[256], *one, *two;
    size_t n_one, n_two;
    path_in(path, sizeof path, "c.safetensors");
    write_example(path);
    assert_ok(dns_file_read(&one, &n_one, path, 1 << 20));
    const dns_named_tensor other[] = {written[3], written[1], written[0], written[2]};
    assert_ok(dns_safetensors_write(path, other, 4, (dns_metadata[]){lines[1], lines[0]}, 2));
    assert_ok(dns_file_read(&two, &n_two, path, 1 << 20));
    assert_int_equal(n_one, n_two);
    assert_memory_equal(one, two, n_one);
    size_t n_data = 24 + 8 + 3;
    assert_int_equal((n_one - n_data) % 64, 0);
    dns_free(one);
    dns_free(two);
}

static void names_given_twice_are_refused(void **state)
{
    (void)state;
    char path[256];
    path_in(path, sizeof path, "d.safetensors");
    const dns_named_tensor twice[] = {written[0], written[1], {"bias", written[1].tensor}};
    assert_status(dns_safetensors_write(path, twice, 3, NULL, 0), DNS_ERR_ARG);
    const dns_named_tensor reserved[] = {{"__metadata__", written[1].tensor}};
    assert_status(dns_safetensors_write(path, reserved, 1, NULL, 0), DNS_ERR_ARG);
    const dns_metadata same[] = {lines[0], lines[0]};
    assert_status(dns_safetensors_write(path, NULL, 0, same, 2), DNS_ERR_ARG);
    assert_false(dns_file_exists(path));
    assert_status(dns_safetensors_write("/nowhere/at/all", written, 1, NULL, 0), DNS_ERR_NOTFOUND);
}

static void too_long_headers_are_not_written(void **state)
{
    (void)state;
    char path[256], *name;
    path_in(path, sizeof path, "long.safetensors");
    assert_ok(dns_alloc(&name, (16 << 20) + 1, 1));
    memset(name, 'n', 16 << 20);
    const dns_named_tensor tensors[] = {{name, written[1].tensor}};
    assert_status(dns_safetensors_write(path, tensors, 1, NULL, 0), DNS_ERR_LIMIT);
    dns_free(name);
}

/* A file of this header and n_data zero bytes. */
static dns_status open_with(const char *header, size_t n_data)
{
    uint8_t *bytes;
    size_t n = strlen(header);
    dns_safetensors *file;
    assert_ok(dns_alloc(&bytes, 8 + n + n_data, 1));
    bytes[0] = (uint8_t)n, bytes[1] = (uint8_t)(n >> 8);
    memcpy(bytes + 8, header, n);
    dns_status status = dns_safetensors_open_memory(&file, bytes, 8 + n + n_data, "test");
    assert_true((status == DNS_OK) == (file != NULL));
    dns_safetensors_close(file);
    dns_free(bytes);
    return status;
}

#define TENSOR(name, dtype, shape, range) \
    "\"" name "\":{\"dtype\":\"" dtype "\",\"shape\":" shape ",\"data_offsets\":" range "}"

static void headers_that_lie_are_refused(void **state)
{
    (void)state;
    static const struct {
        const char *header;
        size_t n_data;
        dns_status expected;
    } cases[] = {
        {"{}", 0, DNS_OK},
        {"{" TENSOR("a", "F32", "[2]", "[0,8]") "}  ", 8, DNS_OK},
        {"{" TENSOR("b", "U8", "[2]", "[4,6]") "," TENSOR("a", "F32", "[]", "[0,4]") "}", 6,
         DNS_OK},
        {"{" TENSOR("a", "F32", "[2]", "[0,8]") "}", 7, DNS_ERR_CORRUPT},
        {"{" TENSOR("a", "F32", "[2]", "[0,8]") "}", 9, DNS_ERR_CORRUPT},
        {"{" TENSOR("a", "F32", "[2]", "[0,4]") "}", 4, DNS_ERR_CORRUPT},
        {"{" TENSOR("a", "F32", "[2]", "[8,0]") "}", 8, DNS_ERR_CORRUPT},
        {"{" TENSOR("a", "F32", "[2]", "[-8,0]") "}", 8, DNS_ERR_CORRUPT},
        {"{" TENSOR("a", "F32", "[-2]", "[0,8]") "}", 8, DNS_ERR_CORRUPT},
        {"{" TENSOR("a", "F32", "[2.0]", "[0,8]") "}", 8, DNS_ERR_CORRUPT},
        {"{" TENSOR("a", "F32", "2", "[0,8]") "}", 8, DNS_ERR_CORRUPT},
        {"{" TENSOR("a", "F32", "[2]", "[0,8,8]") "}", 8, DNS_ERR_CORRUPT},
        {"{" TENSOR("a", "F32", "[4294967296,4294967296]", "[0,0]") "}", 0, DNS_ERR_CORRUPT},
        {"{" TENSOR("a", "F32", "[1]", "[0,4]") "," TENSOR("b", "F32", "[1]", "[2,6]") "}", 6,
         DNS_ERR_CORRUPT},
        {"{" TENSOR("a", "F32", "[1]", "[0,4]") "," TENSOR("b", "F32", "[1]", "[8,12]") "}", 12,
         DNS_ERR_CORRUPT},
        {"{" TENSOR("a", "F32", "[1]", "[0,4]") "," TENSOR("a", "F32", "[1]", "[4,8]") "}", 8,
         DNS_ERR_FORMAT},
        {"{" TENSOR("a", "F8_E4M3", "[1]", "[0,1]") "}", 1, DNS_ERR_UNSUPPORTED},
        {"{" TENSOR("a", "U8", "[1,1,1,1,1,1,1,1,1]", "[0,1]") "}", 1, DNS_ERR_UNSUPPORTED},
        {"{\"a\":{\"shape\":[1],\"data_offsets\":[0,1]}}", 1, DNS_ERR_CORRUPT},
        {"{\"a\":3}", 0, DNS_ERR_CORRUPT},
        {"{\"__metadata__\":{\"k\":\"v\"}}", 0, DNS_OK},
        {"{\"__metadata__\":{\"k\":1}}", 0, DNS_ERR_CORRUPT},
        {"{\"__metadata__\":[]}", 0, DNS_ERR_CORRUPT},
        {"[]", 0, DNS_ERR_FORMAT},
        {"{", 0, DNS_ERR_FORMAT},
        {"{}x", 0, DNS_ERR_FORMAT},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        dns_status status = open_with(cases[i].header, cases[i].n_data);
        if (status != cases[i].expected)
            fail_msg("%s + %zu: %s", cases[i].header, cases[i].n_data, dns_status_name(status));
    }
}

static void misaligned_floats_are_refused(void **state)
{
    (void)state;
    static const char text[] =
        "{" TENSOR("b", "U8", "[1]", "[0,1]") "," TENSOR("a", "F32", "[1]", "[1,5]") "}";
    _Alignas(8) uint8_t bytes[8 + sizeof text - 1 + 5] = {sizeof text - 1};
    memcpy(bytes + 8, text, sizeof text - 1);
    dns_safetensors *file;
    const float *data;
    assert_ok(dns_safetensors_open_memory(&file, bytes, sizeof bytes, "test"));
    const dns_tensor *a = dns_safetensors_find(file, "a");
    assert_true((uintptr_t)a->data % 4 != 0);
    assert_status(dns_safetensors_f32(&data, file, "a", 1, (size_t[]){1}), DNS_ERR_FORMAT);
    float value = 1;
    dns_tensor_to_f32(&value, a); /* works on any address */
    assert_true(value == 0.0f);
    dns_safetensors_close(file);
}

static void other_files_are_refused(void **state)
{
    (void)state;
    char path[256];
    dns_safetensors *file;
    assert_status(dns_safetensors_open(&file, "/nowhere/at/all"), DNS_ERR_NOTFOUND);
    assert_null(file);
    assert_status(dns_safetensors_open(&file, test_folder()), DNS_ERR_FORMAT);
    path_in(path, sizeof path, "empty");
    assert_ok(dns_file_write(path, "", 0));
    assert_status(dns_safetensors_open(&file, path), DNS_ERR_FORMAT);
    const uint8_t large[16] = {0, 0, 0, 2, 0, 0, 0, 0, '{', '}'};
    assert_status(dns_safetensors_open_memory(&file, large, sizeof large, "test"), DNS_ERR_FORMAT);
    const uint8_t cut[12] = {9, 0, 0, 0, 0, 0, 0, 0, '{', '}'};
    assert_status(dns_safetensors_open_memory(&file, cut, sizeof cut, "test"), DNS_ERR_CORRUPT);
}

static void parse(const uint8_t *bytes, size_t size)
{
    dns_safetensors *file;
    if (dns_safetensors_open_memory(&file, bytes, size, "fuzz") != DNS_OK) {
        assert_null(file);
        return;
    }
    volatile unsigned sum = 0;
    for (size_t i = 0; i < dns_safetensors_count(file); i++) {
        const dns_tensor *t = dns_safetensors_at(file, i);
        const uint8_t *data = t->data;
        for (size_t k = 0; k < dns_tensor_bytes(t); k++)
            sum += data[k];
    }
    dns_safetensors_close(file);
}

static void damaged_files_do_no_harm(void **state)
{
    (void)state;
    char path[256], *bytes;
    size_t size;
    path_in(path, sizeof path, "fuzzed.safetensors");
    write_example(path);
    assert_ok(dns_file_read(&bytes, &size, path, 1 << 20));
    test_fuzz(bytes, size, 20000, parse);
    dns_free(bytes);
}

static void published_files_are_read(void **state)
{
    (void)state;
    char path[4200];
    dns_safetensors *file;
    if (test_shared() == NULL)
        skip();
    snprintf(path, sizeof path, "%s/golden/fine_attention.weights.safetensors", test_shared());
    if (!dns_file_exists(path))
        skip();
    assert_ok(dns_safetensors_open(&file, path));
    assert_true(dns_safetensors_count(file) >= 11);
    dns_safetensors_close(file);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(dtype_names_come_back),
        cmocka_unit_test(shapes_are_counted_and_printed),
        cmocka_unit_test(every_half_comes_back),
        cmocka_unit_test(halves_are_the_nearest),
        cmocka_unit_test(every_dtype_becomes_f32),
        cmocka_unit_test(written_file_is_read_back),
        cmocka_unit_test(f32_checks_name_type_and_shape),
        cmocka_unit_test(order_of_input_does_not_change_the_file),
        cmocka_unit_test(names_given_twice_are_refused),
        cmocka_unit_test(too_long_headers_are_not_written),
        cmocka_unit_test(headers_that_lie_are_refused),
        cmocka_unit_test(misaligned_floats_are_refused),
        cmocka_unit_test(other_files_are_refused),
        cmocka_unit_test(damaged_files_do_no_harm),
        cmocka_unit_test(published_files_are_read),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
