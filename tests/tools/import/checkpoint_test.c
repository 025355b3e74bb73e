#include "support.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <zip.h>

#include "dnsel/checkpoint.h"
#include "dnsel/json.h"

static dns_checkpoint *open_fixture(const char *name)
{
    char path[4096];
    test_data_path(path, sizeof path, name);
    dns_checkpoint *checkpoint;
    assert_ok(dns_checkpoint_open(&checkpoint, path));
    return checkpoint;
}

static void assert_same_tensor(const char *name, const dns_tensor *a, const dns_tensor *b)
{
    if (a == NULL)
        fail_msg("no tensor '%s'", name);
    if (a->dtype != b->dtype || a->rank != b->rank ||
        memcmp(a->shape, b->shape, a->rank * sizeof *a->shape) != 0)
        fail_msg("tensor '%s': another type or shape", name);
    if (dns_tensor_bytes(a) > 0 && memcmp(a->data, b->data, dns_tensor_bytes(a)) != 0)
        fail_msg("tensor '%s': other values", name);
}

/* Every tensor of the safetensors file, and none more, bit by bit. */
static void assert_equal_to(const dns_checkpoint *checkpoint, const char *path)
{
    dns_safetensors *expected;
    assert_ok(dns_safetensors_open(&expected, path));
    for (size_t i = 0; i < dns_safetensors_count(expected); i++) {
        const char *name = dns_safetensors_name(expected, i);
        assert_same_tensor(name, dns_checkpoint_find(checkpoint, name),
                           dns_safetensors_at(expected, i));
    }
    assert_int_equal(dns_checkpoint_count(checkpoint), dns_safetensors_count(expected));
    dns_safetensors_close(expected);
}

static void check_fixture(const char *file, const char *expected, const char *container,
                          const char *part)
{
    char path[4096], name[128];
    snprintf(name, sizeof name, "import/%s", file);
    dns_checkpoint *checkpoint = open_fixture(name);
    snprintf(name, sizeof name, "import/%s", expected);
    test_data_path(path, sizeof path, name);
    assert_equal_to(checkpoint, path);
    assert_string_equal(dns_checkpoint_container(checkpoint), container);
    assert_string_equal(dns_checkpoint_part(checkpoint), part);
    dns_checkpoint_close(checkpoint);
}

static void all_types_strides_and_containers_are_equal(void **state)
{
    (void)state;
    check_fixture("torch.zip.pth", "torch.expected.safetensors", "pytorch", "model");
    check_fixture("torch.deflated.pth", "torch.expected.safetensors", "pytorch", "model");
    check_fixture("torch.legacy.pth", "torch.expected.safetensors", "pytorch-legacy", "model");
    check_fixture("torch.bare.pth", "torch.expected.safetensors", "pytorch", "");
    check_fixture("torch.untyped.pth", "torch.untyped.expected.safetensors", "pytorch", "");
    check_fixture("torch.big.pth", "torch.plain.expected.safetensors", "pytorch", "");
    check_fixture("torch.plain.legacy.pth", "torch.plain.expected.safetensors", "pytorch-legacy",
                  "");
    check_fixture("arrays.2.pickle", "arrays.expected.safetensors", "pickle", "");
    check_fixture("arrays.5.pickle", "arrays.expected.safetensors", "pickle", "");
    check_fixture("arrays.npz", "arrays.expected.safetensors", "npz", "");
    check_fixture("arrays.deflated.npz", "arrays.expected.safetensors", "npz", "");
    check_fixture("torch.expected.safetensors", "torch.expected.safetensors", "safetensors", "");
    dns_checkpoint *npy = open_fixture("import/array.npy");
    const dns_tensor *array = dns_checkpoint_find(npy, "array");
    assert_int_equal(array->rank, 3);
    assert_true(((const float *)array->data)[23] == 23);
    dns_checkpoint_close(npy);
    dns_checkpoint_close(NULL);
}

static void what_else_a_checkpoint_says_is_metadata(void **state)
{
    (void)state;
    static const char *const files[] = {"import/torch.zip.pth", "import/torch.legacy.pth"};
    for (size_t i = 0; i < 2; i++) {
        dns_checkpoint *checkpoint = open_fixture(files[i]);
        const char *text = dns_checkpoint_metadata(checkpoint);
        dns_json *json;
        assert_ok(dns_json_parse(&json, text, strlen(text), "metadata"));
        assert_int_equal(dns_json_integer(dns_json_get(json, "global_step"), 0), 42);
        const dns_json *args = dns_json_get(json, "args");
        assert_string_equal(dns_json_string(dns_json_get(args, "network"), ""), "fine_attention");
        assert_int_equal(dns_json_integer(dns_json_get(args, "heads"), 0), 8);
        assert_true(dns_json_number(dns_json_get(args, "ratio"), 0) == 0.5);
        assert_null(dns_json_get(json, "model"));
        assert_null(dns_json_get(json, "optimizer"));
        assert_null(strchr(text, '\n'));
        dns_json_free(json);
        dns_checkpoint_close(checkpoint);
    }
}

static void tensors_are_sorted_and_found_by_name(void **state)
{
    (void)state;
    dns_checkpoint *checkpoint = open_fixture("import/torch.zip.pth");
    const dns_named_tensor *tensors = dns_checkpoint_tensors(checkpoint);
    for (size_t i = 1; i < dns_checkpoint_count(checkpoint); i++)
        assert_true(strcmp(tensors[i - 1].name, tensors[i].name) < 0);
    assert_null(dns_checkpoint_find(checkpoint, "nothing"));
    assert_int_equal(dns_checkpoint_find(checkpoint, "i64")->rank, 0);
    dns_checkpoint_close(checkpoint);
}

static void golden_checkpoints_equal_their_weights(void **state)
{
    (void)state;
    static const char *const pairs[][3] = {
        {"fine_attention.zip.pth", "fine_attention", "model"},
        {"fine_attention.legacy.pth", "fine_attention", "model"},
        {"selector.zip.pth", "selector", "model"},
        {"selector.legacy.pth", "selector", "model"},
        {"teacher.bare.pth", "teacher", ""},
    };
    const char *shared = test_shared();
    if (shared == NULL)
        skip();
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++) {
        char path[4200], expected[4200];
        snprintf(path, sizeof path, "%s/golden/checkpoints/%s", shared, pairs[i][0]);
        snprintf(expected, sizeof expected, "%s/golden/%s.weights.safetensors", shared,
                 pairs[i][1]);
        dns_checkpoint *checkpoint;
        assert_ok(dns_checkpoint_open(&checkpoint, path));
        assert_equal_to(checkpoint, expected);
        assert_string_equal(dns_checkpoint_part(checkpoint), pairs[i][2]);
        dns_checkpoint_close(checkpoint);
    }
}

static void assert_refused(const char *file, dns_status expected, const char *mentions)
{
    char path[4096];
    dns_checkpoint *checkpoint;
    test_data_path(path, sizeof path, file);
    assert_status(dns_checkpoint_open(&checkpoint, path), expected);
    assert_null(checkpoint);
    if (strstr(dns_status_message(), mentions) == NULL)
        fail_msg("'%s' does not mention '%s'", dns_status_message(), mentions);
}

static void refusals_say_why(void **state)
{
    (void)state;
    assert_refused("import/refused.runs.pth", DNS_ERR_UNSUPPORTED, "__builtin__.print");
    assert_refused("import/refused.module.pth", DNS_ERR_UNSUPPORTED,
                   "torch.nn.modules.linear.Linear");
    assert_refused("import/refused.complex.pth", DNS_ERR_UNSUPPORTED, "torch.ComplexFloatStorage");
    assert_refused("import/refused.script.pt", DNS_ERR_UNSUPPORTED, "TorchScript");
    assert_refused("import/refused.object.npy", DNS_ERR_UNSUPPORTED, "'|O'");
    assert_refused("import/refused.text.npy", DNS_ERR_UNSUPPORTED, "an array of text");
    assert_refused("import/refused.loop.pickle", DNS_ERR_UNSUPPORTED, "contains itself");
    assert_refused("import/annotation.4.pickle", DNS_ERR_FORMAT, "holds no tensors");
    assert_refused("import/features.hdf5", DNS_ERR_FORMAT, "no PyTorch");
    assert_refused("import/nothing", DNS_ERR_NOTFOUND, "nothing");
    assert_refused("import", DNS_ERR_FORMAT, "not a regular file");
    dns_checkpoint *checkpoint;
    assert_status(dns_checkpoint_open_memory(&checkpoint, "", 0, "empty"), DNS_ERR_FORMAT);
}

/* Reads a fixture, replaces the first `old` by `new` of equal length, and opens the result. */
static dns_status open_changed(const char *file, const char *old, const char *new, size_t n)
{
    char path[4096], *bytes;
    size_t size, at = 0;
    test_data_path(path, sizeof path, file);
    assert_ok(dns_file_read(&bytes, &size, path, 1 << 20));
    while (at + n <= size && memcmp(bytes + at, old, n) != 0)
        at++;
    assert_true(at + n <= size);
    memcpy(bytes + at, new, n);
    dns_checkpoint *checkpoint;
    dns_status status = dns_checkpoint_open_memory(&checkpoint, bytes, size, "changed");
    dns_checkpoint_close(checkpoint);
    dns_free(bytes);
    return status;
}

static void lies_about_sizes_are_found(void **state)
{
    (void)state;
    /* The legacy container has no checksums, so that what is changed there is what is found. */
    static const char shape[] = "K\0K\x03K\x02\x86";
    assert_status(open_changed("import/torch.plain.legacy.pth", shape, "K\1K\x03K\x02\x86", 7),
                  DNS_ERR_CORRUPT);
    assert_non_null(strstr(dns_status_message(), "tensor 'a': lies outside its storage"));
    assert_status(open_changed("import/torch.plain.legacy.pth", shape, "K\0K\x04K\x02\x86", 7),
                  DNS_ERR_CORRUPT);
    assert_status(open_changed("import/torch.plain.legacy.pth", shape, "NNK\x03K\x02\x86", 7),
                  DNS_ERR_CORRUPT);
    assert_status(open_changed("import/torch.plain.legacy.pth", "M\xe9\x03.", "M\xe8\x03.", 4),
                  DNS_ERR_VERSION);
    assert_status(open_changed("import/torch.plain.legacy.pth", "FloatStorage", "UloatStorage", 12),
                  DNS_ERR_UNSUPPORTED);
    assert_status(open_changed("import/torch.zip.pth", "FloatStorage", "UloatStorage", 12),
                  DNS_ERR_CORRUPT);
    assert_non_null(strstr(dns_status_message(), "CRC"));
    assert_status(open_changed("import/arrays.npz", "'shape': (3,)", "'shape': (4,)", 13),
                  DNS_ERR_CORRUPT);
}

static void every_cut_is_found(void **state)
{
    (void)state;
    static const char *const files[] = {"import/torch.zip.pth", "import/torch.legacy.pth",
                                        "import/arrays.npz", "import/arrays.5.pickle",
                                        "import/array.npy"};
    for (size_t f = 0; f < sizeof files / sizeof *files; f++) {
        char path[4096], *bytes;
        size_t size;
        test_data_path(path, sizeof path, files[f]);
        assert_ok(dns_file_read(&bytes, &size, path, 1 << 20));
        for (size_t cut = 0; cut < size; cut += 1 + cut / 64) {
            dns_checkpoint *checkpoint;
            dns_status status = dns_checkpoint_open_memory(&checkpoint, bytes, cut, "cut");
            if (status != DNS_ERR_CORRUPT && status != DNS_ERR_FORMAT)
                fail_msg("%s cut to %zu of %zu bytes: %s", files[f], cut, size,
                         dns_status_name(status));
        }
        dns_free(bytes);
    }
}

/* 256 MiB of zeros in an archive of a few hundred KiB. */
static void a_zip_bomb_is_refused(void **state)
{
    (void)state;
    const size_t size = 256 << 20;
    char path[256],
        header[] =
            "\x93NUMPY\1\0\x76\0{'descr': '|u1', 'fortran_order': False, 'shape': (268435328,), }";
    snprintf(path, sizeof path, "%s/bomb.npz", test_folder());
    char *zeros = calloc(size, 1);
    assert_non_null(zeros);
    memcpy(zeros, header, sizeof header - 1);
    memset(zeros + sizeof header - 1, ' ', 128 - (sizeof header - 1));
    int error;
    zip_t *archive = zip_open(path, ZIP_CREATE | ZIP_TRUNCATE, &error);
    assert_non_null(archive);
    zip_source_t *source = zip_source_buffer(archive, zeros, size, 0);
    zip_int64_t index = zip_file_add(archive, "zeros.npy", source, 0);
    assert_true(index >= 0);
    assert_int_equal(zip_set_file_compression(archive, (zip_uint64_t)index, ZIP_CM_DEFLATE, 1), 0);
    assert_int_equal(zip_close(archive), 0);
    free(zeros);
    dns_checkpoint *checkpoint;
    assert_status(dns_checkpoint_open(&checkpoint, path), DNS_ERR_LIMIT);
    assert_null(checkpoint);
}

static void npz_files_survive_a_round_trip(void **state)
{
    (void)state;
    char path[256], expected[4096];
    dns_checkpoint *before = open_fixture("import/torch.zip.pth"), *after;
    snprintf(path, sizeof path, "%s/out.npz", test_folder());
    assert_ok(dns_npz_write(path, dns_checkpoint_tensors(before), dns_checkpoint_count(before)));
    assert_ok(dns_checkpoint_open(&after, path));
    assert_int_equal(dns_checkpoint_count(after), dns_checkpoint_count(before));
    for (size_t i = 0; i < dns_checkpoint_count(before); i++) {
        const dns_named_tensor *t = &dns_checkpoint_tensors(before)[i];
        const dns_tensor *read = dns_checkpoint_find(after, t->name);
        if (t->tensor.dtype != DNS_BF16) {
            assert_same_tensor(t->name, read, &t->tensor);
            continue;
        }
        float wide[8];
        dns_tensor_to_f32(wide, &t->tensor);
        assert_int_equal(read->dtype, DNS_F32);
        assert_memory_equal(read->data, wide, dns_tensor_bytes(read));
    }
    dns_checkpoint_close(after);
    /* The same input gives the same bytes. */
    char *first, *second;
    size_t n_first, n_second;
    assert_ok(dns_file_read(&first, &n_first, path, 1 << 20));
    assert_ok(dns_npz_write(path, dns_checkpoint_tensors(before), dns_checkpoint_count(before)));
    assert_ok(dns_file_read(&second, &n_second, path, 1 << 20));
    assert_int_equal(n_first, n_second);
    assert_memory_equal(first, second, n_first);
    dns_free(first);
    dns_free(second);
    snprintf(expected, sizeof expected, "%s/no/such/folder/out.npz", test_folder());
    assert_status(dns_npz_write(expected, dns_checkpoint_tensors(before), 1), DNS_ERR_NOTFOUND);
    dns_checkpoint_close(before);
}

static void parse_damaged(const uint8_t *bytes, size_t size)
{
    dns_checkpoint *checkpoint;
    if (dns_checkpoint_open_memory(&checkpoint, bytes, size, "fuzz") != DNS_OK)
        return;
    size_t sum = 0; /* every byte can be read */
    for (size_t i = 0; i < dns_checkpoint_count(checkpoint); i++) {
        const dns_tensor *t = &dns_checkpoint_tensors(checkpoint)[i].tensor;
        for (size_t k = 0; k < dns_tensor_bytes(t); k++)
            sum += ((const uint8_t *)t->data)[k];
    }
    assert_true(sum < SIZE_MAX);
    dns_checkpoint_close(checkpoint);
}

static void damaged_checkpoints_never_crash(void **state)
{
    (void)state;
    static const char *const files[] = {
        "import/torch.zip.pth",    "import/torch.deflated.pth",
        "import/torch.legacy.pth", "import/torch.untyped.pth",
        "import/torch.big.pth",    "import/arrays.5.pickle",
        "import/arrays.npz",       "import/torch.expected.safetensors"};
    for (size_t f = 0; f < sizeof files / sizeof *files; f++) {
        char path[4096], *bytes;
        size_t size;
        test_data_path(path, sizeof path, files[f]);
        assert_ok(dns_file_read(&bytes, &size, path, 1 << 20));
        test_fuzz(bytes, size, 1500, parse_damaged);
        dns_free(bytes);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_types_strides_and_containers_are_equal),
        cmocka_unit_test(what_else_a_checkpoint_says_is_metadata),
        cmocka_unit_test(tensors_are_sorted_and_found_by_name),
        cmocka_unit_test(golden_checkpoints_equal_their_weights),
        cmocka_unit_test(refusals_say_why),
        cmocka_unit_test(lies_about_sizes_are_found),
        cmocka_unit_test(every_cut_is_found),
        cmocka_unit_test(a_zip_bomb_is_refused),
        cmocka_unit_test(npz_files_survive_a_round_trip),
        cmocka_unit_test(damaged_checkpoints_never_crash),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
