#include "support.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "npy.h"
#include "zip_file.h"
#include "dnsel/file.h"

static void strided_arrays_become_row_major(void **state)
{
    (void)state;
    /* A 2x3 transpose, every second element, and a stride of 0, against indices done by hand. */
    const int16_t in[] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11};
    int16_t out[6];
    strided transposed = {.element = 2, .rank = 2, .shape = {3, 2}, .strides = {1, 3}};
    dns_strided_copy(out, in, &transposed);
    assert_memory_equal(out, ((int16_t[]){0, 3, 1, 4, 2, 5}), sizeof out);
    strided stepped = {.element = 2, .rank = 2, .shape = {2, 3}, .strides = {6, 2}};
    dns_strided_copy(out, in, &stepped);
    assert_memory_equal(out, ((int16_t[]){0, 2, 4, 6, 8, 10}), sizeof out);
    strided repeated = {.element = 2, .rank = 2, .shape = {2, 3}, .strides = {1, 0}};
    dns_strided_copy(out, in, &repeated);
    assert_memory_equal(out, ((int16_t[]){0, 0, 0, 1, 1, 1}), sizeof out);
    strided scalar = {.element = 2};
    dns_strided_copy(out, in + 7, &scalar);
    assert_int_equal(out[0], 7);
}

static void strided_sizes_are_measured_and_overflow_is_seen(void **state)
{
    (void)state;
    size_t count, extent;
    strided a = {.element = 4, .rank = 2, .shape = {3, 2}, .strides = {1, 3}};
    assert_true(dns_strided_measure(&count, &extent, &a));
    assert_int_equal(count, 6);
    assert_int_equal(extent, 6);
    assert_false(dns_strided_is_row_major(&a));
    dns_strided_fill(&a, false);
    assert_true(dns_strided_is_row_major(&a));
    dns_strided_fill(&a, true);
    assert_int_equal(a.strides[1], 3);
    a.shape[0] = 0;
    assert_true(dns_strided_measure(&count, &extent, &a));
    assert_int_equal(count + extent, 0);
    assert_true(dns_strided_is_row_major(&a));
    strided huge = {
        .element = 4, .rank = 2, .shape = {1u << 31, (size_t)1 << 33}, .strides = {1, 1}};
    assert_false(dns_strided_measure(&count, &extent, &huge));
    strided far = {.element = 4, .rank = 1, .shape = {3}, .strides = {SIZE_MAX / 2}};
    assert_false(dns_strided_measure(&count, &extent, &far));
    strided wide = {.element = 8, .rank = 1, .shape = {SIZE_MAX / 4}, .strides = {1}};
    assert_false(dns_strided_measure(&count, &extent, &wide));
}

static void bytes_swap_in_place(void **state)
{
    (void)state;
    uint8_t bytes[] = {1, 2, 3, 4, 5, 6, 7, 8};
    dns_bytes_swap(bytes, 2, 4);
    assert_memory_equal(bytes, ((uint8_t[]){4, 3, 2, 1, 8, 7, 6, 5}), 8);
    dns_bytes_swap(bytes, 4, 2);
    assert_memory_equal(bytes, ((uint8_t[]){3, 4, 1, 2, 7, 8, 5, 6}), 8);
    dns_bytes_swap(bytes, 8, 1);
    assert_int_equal(bytes[0], 3);
}

static dns_status parse_header(npy_header *header, const char *text)
{
    char file[512] = "\x93NUMPY\1\0";
    size_t n = strlen(text);
    file[8] = (char)n;
    memcpy(file + 10, text, n);
    return dns_npy_parse(header, file, 10 + n, "test");
}

static void npy_headers_are_read_strictly(void **state)
{
    (void)state;
    npy_header h;
    assert_ok(parse_header(&h, "{'descr': '>f2', 'fortran_order': True, 'shape': (3, 4), }\n"));
    assert_int_equal(h.dtype, DNS_F16);
    assert_true(h.is_swapped && h.is_column_major);
    assert_int_equal(h.rank, 2);
    assert_int_equal(h.count, 12);
    assert_ok(parse_header(&h, "{\"shape\":(),\"descr\":\"|b1\",\"fortran_order\":False}"));
    assert_int_equal(h.rank, 0);
    assert_int_equal(h.count, 1);
    assert_int_equal(h.dtype, DNS_BOOL);
    assert_ok(parse_header(&h, "{'shape': (7L,), 'descr': '<i8', 'fortran_order': False}"));
    assert_int_equal(h.shape[0], 7);
    assert_ok(parse_header(
        &h, "{'shape': (0, 18446744073709551615), 'descr': '<i8', 'fortran_order': False}"));
    assert_int_equal(h.count, 0);
    assert_status(
        parse_header(&h,
                     "{'shape': (18446744073709551616,), 'descr': '<i8', 'fortran_order': False}"),
        DNS_ERR_CORRUPT);
    assert_status(
        parse_header(&h,
                     "{'shape': (4294967296, 4294967296), 'descr': '<i8', 'fortran_order': False}"),
        DNS_ERR_CORRUPT);
    assert_status(parse_header(&h, "{'shape': (2,), 'descr': '<i8'}"), DNS_ERR_CORRUPT);
    assert_status(parse_header(&h, "{'shape': (2"), DNS_ERR_CORRUPT);
    assert_status(parse_header(&h, "{'shape': (2,), 'descr': '<i8', 'fortran_order': 0}"),
                  DNS_ERR_CORRUPT);
    assert_status(
        parse_header(&h, "{'shape': (1,1,1,1,1,1,1,1,1), 'descr': '<i8', 'fortran_order': False}"),
        DNS_ERR_CORRUPT);
    assert_status(
        parse_header(&h, "{'shape': (2,), 'other': 1, 'descr': '<i8', 'fortran_order': False}"),
        DNS_ERR_CORRUPT);
    assert_status(parse_header(&h, "{'shape': (2,), 'descr': '|O', 'fortran_order': False}"),
                  DNS_ERR_UNSUPPORTED);
    assert_status(
        parse_header(&h, "{'shape': (2,), 'descr': [('a', '<f4')], 'fortran_order': False}"),
        DNS_ERR_UNSUPPORTED);
    assert_status(dns_npy_parse(&h, "\x93NUMPY\4\0\1\0\0\0", 12, "test"), DNS_ERR_VERSION);
    assert_status(dns_npy_parse(&h, "\x93NUMPX\4\0\1\0\0\0", 12, "test"), DNS_ERR_FORMAT);
    assert_status(dns_npy_parse(&h, "\x93NUMPY\1\0\xff\0{}", 12, "test"), DNS_ERR_CORRUPT);
    assert_status(dns_npy_parse(&h, "\x93NUMPY\1", 7, "test"), DNS_ERR_CORRUPT);
}

static void npy_headers_survive_a_round_trip(void **state)
{
    (void)state;
    char file[256 + 64];
    npy_header h;
    for (size_t rank = 0; rank <= DNS_TENSOR_RANK; rank++)
        for (int dtype = DNS_F32; dtype <= DNS_BOOL; dtype++) {
            if (dtype == DNS_BF16)
                continue;
            dns_tensor tensor = {.dtype = (dns_dtype)dtype, .rank = rank};
            for (size_t i = 0; i < rank; i++)
                tensor.shape[i] = i == 0 ? 1u << 20 : 2 + i % 3;
            size_t size = dns_npy_write_header(file, &tensor);
            assert_int_equal(size % 64, 0);
            assert_ok(dns_npy_parse(&h, file, size, "test"));
            assert_int_equal(h.dtype, dtype);
            assert_int_equal(h.rank, rank);
            assert_int_equal(h.offset, size);
            assert_memory_equal(h.shape, tensor.shape, sizeof h.shape);
            assert_false(h.is_swapped || h.is_column_major);
        }
}

static void zip_entries_stream_and_lies_are_found(void **state)
{
    (void)state;
    char path[4096], *bytes;
    size_t size, index;
    dns_zip *zip;
    dns_zip_stream *stream;
    test_data_path(path, sizeof path, "import/arrays.deflated.npz");
    assert_ok(dns_file_read(&bytes, &size, path, 1 << 20));
    assert_true(dns_zip_recognise(bytes, size));
    assert_false(dns_zip_recognise("PK", 2));
    assert_ok(dns_zip_open(&zip, bytes, size, "test"));
    assert_int_equal(dns_zip_count(zip), 4);
    assert_false(dns_zip_find(&index, zip, "nothing"));
    assert_true(dns_zip_find(&index, zip, "V.npy"));
    assert_string_equal(dns_zip_name(zip, index), "V.npy");
    assert_string_equal(dns_zip_name(zip, 99), "");
    size_t unpacked;
    assert_ok(dns_zip_size(&unpacked, zip, index));
    assert_int_equal(unpacked, 128 + 48);
    void *whole, *nothing;
    assert_ok(dns_zip_read(&whole, &unpacked, zip, index, 1000));
    assert_status(dns_zip_read(&nothing, &unpacked, zip, index, 175), DNS_ERR_LIMIT);
    assert_null(nothing);
    assert_status(dns_zip_size(&unpacked, zip, 99), DNS_ERR_CORRUPT);
    char piece[48];
    assert_ok(dns_zip_stream_open(&stream, zip, index));
    assert_ok(dns_zip_stream_read(stream, NULL, 128));
    assert_ok(dns_zip_stream_read(stream, piece, 48));
    assert_memory_equal(piece, (char *)whole + 128, 48);
    assert_status(dns_zip_stream_read(stream, piece, 1), DNS_ERR_CORRUPT);
    dns_zip_stream_close(stream);
    dns_free(whole);
    dns_zip_close(zip);
    dns_zip_close(NULL);
    /* The first entry says that it unpacks to 2 GiB: in the central directory and in its local
     * header. */
    for (size_t at = 0; at + 46 < size; at++)
        if (memcmp(bytes + at, "PK\1\2", 4) == 0 || memcmp(bytes + at, "PK\3\4", 4) == 0)
            memcpy(bytes + at + (bytes[at + 2] == 1 ? 24 : 22), "\0\0\0\x7f", 4);
    if (dns_zip_open(&zip, bytes, size, "test") == DNS_OK) {
        assert_status(dns_zip_size(&unpacked, zip, 0), DNS_ERR_CORRUPT);
        dns_zip_close(zip);
    }
    dns_free(bytes);
    assert_status(dns_zip_open(&zip, "PK\3\4 and nothing more", 20, "test"), DNS_ERR_CORRUPT);
    assert_null(zip);
}

static void parse_npy(const uint8_t *bytes, size_t size)
{
    npy_header header;
    dns_tensor tensor;
    void *owned;
    if (dns_npy_parse(&header, bytes, size, "fuzz") == DNS_OK && header.count < 1u << 20 &&
        dns_npy_tensor(&tensor, &owned, &header, bytes + header.offset, size - header.offset,
                       "fuzz") == DNS_OK)
        dns_free(owned);
}

static void damaged_arrays_never_crash(void **state)
{
    (void)state;
    char path[4096], *bytes;
    size_t size;
    test_data_path(path, sizeof path, "import/array.npy");
    assert_ok(dns_file_read(&bytes, &size, path, 1 << 20));
    test_fuzz(bytes, size, 20000, parse_npy);
    dns_free(bytes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(strided_arrays_become_row_major),
        cmocka_unit_test(strided_sizes_are_measured_and_overflow_is_seen),
        cmocka_unit_test(bytes_swap_in_place),
        cmocka_unit_test(npy_headers_are_read_strictly),
        cmocka_unit_test(npy_headers_survive_a_round_trip),
        cmocka_unit_test(zip_entries_stream_and_lies_are_found),
        cmocka_unit_test(damaged_arrays_never_crash),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
