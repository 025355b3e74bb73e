#include "support.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dnsel/archive.h"
#include "record_codec.h"

static void ids_are_the_first_bytes_of_the_digest(void **state)
{
    (void)state;
    dns_digest digest = dns_digest_of("/a/b.mp4", 8);
    char hex[33], text[17];
    uint64_t id;
    dns_digest_text(&digest, hex);
    dns_id_text(dns_id_of_name("/a/b.mp4"), text);
    assert_memory_equal(text, hex, 16);
    assert_true(dns_id_parse(&id, text));
    assert_int_equal(id, dns_id_of_name("/a/b.mp4"));
    static const char *const wrong[] = {
        "", "0", "00000000000000000", "000000000000000g", "000000000000000A", "0x00000000000000"};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        assert_false(dns_id_parse(&id, wrong[i]));
    uint8_t key[8];
    dns_id_to_key(key, 0x0102030405060708);
    assert_int_equal(key[0], 1);
    assert_int_equal(dns_id_from_key(key), 0x0102030405060708);
}

static void kinds_have_names(void **state)
{
    (void)state;
    for (int k = 0; k < DNS_KIND_COUNT; k++) {
        dns_kind kind = DNS_KIND_COUNT;
        assert_true(dns_kind_parse(&kind, dns_kind_name((dns_kind)k)));
        assert_int_equal(kind, k);
    }
    dns_kind kind;
    assert_false(dns_kind_parse(&kind, "unknown"));
    assert_string_equal(dns_kind_name(DNS_KIND_COUNT), "unknown");
}

/* The bytes of the format page: what this test holds fixed, files hold. */
static void a_record_has_the_documented_bytes(void **state)
{
    (void)state;
    int8_t codes[6] = {1, -2, 3, 4, -5, 6};
    float scales[2] = {0.5f, 2.0f};
    dns_record record = {.kind = DNS_KIND_FINE_ATTENTION,
                         .dtype = DNS_I8,
                         .rank = 3,
                         .shape = {1, 2, 3},
                         .data = codes,
                         .scales = scales,
                         .id = 0x1122334455667788};
    memset(record.model.bytes, 0xab, 16);
    uint8_t *value;
    size_t size;
    assert_ok(dns_record_encode(&value, &size, &record));
    assert_int_equal(size, 64 + 16);
    static const uint8_t expected[56] = {
        'D',  'N',  'S',  'r',  1,    5,    3,    3,    0x88, 0x77, 0x66, 0x55, 0x44, 0x33,
        0x22, 0x11, 1,    0,    0,    0,    2,    0,    0,    0,    3,    0,    0,    0,
        0,    0,    0,    0,    16,   0,    0,    0,    0,    0,    0,    0,    0xab, 0xab,
        0xab, 0xab, 0xab, 0xab, 0xab, 0xab, 0xab, 0xab, 0xab, 0xab, 0xab, 0xab, 0xab, 0xab};
    assert_memory_equal(value, expected, 56);
    assert_memory_equal(value + 64, codes, 6);
    assert_memory_equal(value + 72, scales, 8);
    dns_record got;
    assert_ok(dns_record_decode(&got, value, size, DNS_KIND_FINE_ATTENTION, record.id));
    assert_ok(dns_record_check(&got));
    float x[6];
    assert_ok(dns_record_to_f32(x, &got));
    const float wanted[6] = {0.5f, -1, 1.5f, 8, -10, 12};
    assert_memory_equal(x, wanted, sizeof x);
    assert_status(dns_record_decode(&got, value, size, DNS_KIND_FINE_ATTENTION, 7),
                  DNS_ERR_CORRUPT);
    assert_status(dns_record_decode(&got, value, size, DNS_KIND_REGIONS, record.id),
                  DNS_ERR_CORRUPT);
    assert_status(dns_record_decode(&got, value, size - 8, DNS_KIND_FINE_ATTENTION, record.id),
                  DNS_ERR_CORRUPT);
    dns_free(value);

    uint16_t half[2] = {0x3c00, 0xc000};
    record = (dns_record){
        .kind = DNS_KIND_REGIONS, .dtype = DNS_F16, .rank = 3, .shape = {1, 1, 2}, .data = half};
    assert_ok(dns_record_to_f32(x, &record));
    assert_true(x[0] == 1 && x[1] == -2);
    record.dtype = DNS_U8;
    assert_status(dns_record_to_f32(x, &record), DNS_ERR_UNSUPPORTED);
}

static void parse_record(const uint8_t *bytes, size_t size)
{
    /* On 8 bytes, as in the file. */
    uint8_t *copy;
    dns_record record;
    dns_meta meta;
    assert_ok(dns_alloc(&copy, size, 1));
    memcpy(copy, bytes, size);
    for (int k = 0; k < DNS_KIND_COUNT; k++) {
        if (dns_record_decode(&record, copy, size, (dns_kind)k, 42) != DNS_OK)
            continue;
        /* Touch all that a caller would touch. */
        volatile uint8_t sum = 0;
        for (size_t i = 0; i < record.size; i++)
            sum ^= ((const uint8_t *)record.data)[i];
        size_t n_frames = record.rank == 3 ? dns_record_frames(&record) : 0;
        if (n_frames > 0 && n_frames < 1000 && record.size < 100000 && record.dtype != DNS_U8 &&
            k != DNS_KIND_ARCHIVE) {
            float *x;
            assert_ok(dns_alloc(&x, n_frames * record.shape[1], record.shape[2] * sizeof *x));
            if (dns_record_to_f32(x, &record) != DNS_OK)
                sum++;
            dns_free(x);
        }
        for (size_t r = 0; record.scales != NULL && r < record.size / record.shape[record.rank - 1];
             r++)
            sum ^= (uint8_t)(record.scales[r] > 0);
        if (dns_record_check(&record) == DNS_OK && k != DNS_KIND_META)
            assert_int_equal(size % 8, 0);
        if (k == DNS_KIND_META && dns_meta_decode(&meta, &record) == DNS_OK) {
            sum ^= (uint8_t)strlen(meta.name) ^ (uint8_t)strlen(meta.path);
            for (size_t t = 0; meta.frame_times != NULL && t < meta.n_frames; t++)
                sum ^= (uint8_t)(meta.frame_times[t] > 1);
        }
        if (k == DNS_KIND_ARCHIVE) {
            float *x;
            size_t n = record.shape[0] * record.shape[1] * record.shape[2];
            if (n < 100000) {
                assert_ok(dns_alloc(&x, n, sizeof *x));
                if (dns_archive_unpack(x, &record) != DNS_OK)
                    sum++;
                dns_free(x);
            }
        }
    }
    dns_free(copy);
}

static void damaged_records_are_refused_without_harm(void **state)
{
    (void)state;
    uint8_t *value, *payload;
    size_t size, payload_size;
    float x[2 * 3 * 16], times[2] = {0, 1};
    for (size_t i = 0; i < 96; i++)
        x[i] = (float)i;
    dns_record record = {.kind = DNS_KIND_REGIONS,
                         .dtype = DNS_F32,
                         .rank = 3,
                         .shape = {2, 3, 16},
                         .data = x,
                         .id = 42};
    assert_ok(dns_record_encode(&value, &size, &record));
    test_fuzz(value, size, 20000, parse_record);
    dns_free(value);
    int8_t codes[96];
    float scales[6] = {1, 2, 3, 4, 5, 6};
    uint16_t runs[2] = {3, 1};
    memset(codes, 5, sizeof codes);
    record.dtype = DNS_I8;
    record.data = codes;
    record.scales = scales;
    record.runs = runs;
    record.merged = 0.25f;
    assert_ok(dns_record_encode(&value, &size, &record));
    test_fuzz(value, size, 20000, parse_record);
    dns_free(value);
    dns_meta meta = {
        .name = "row 17", .path = "/b.mp4", .imported = true, .n_frames = 2, .frame_times = times};
    assert_ok(dns_meta_encode(&payload, &payload_size, &meta));
    record = (dns_record){.kind = DNS_KIND_META,
                          .dtype = DNS_U8,
                          .rank = 1,
                          .shape = {payload_size},
                          .size = payload_size,
                          .id = 42};
    record.data = payload;
    assert_ok(dns_record_encode(&value, &size, &record));
    test_fuzz(value, size, 20000, parse_record);
    dns_free(value);
    dns_free(payload);
    void *block;
    assert_ok(dns_archive_pack(&record, &block, x, 2, 3, 16));
    record.id = 42;
    assert_ok(dns_record_encode(&value, &size, &record));
    test_fuzz(value, size, 20000, parse_record);
    dns_free(value);
    dns_free(block);
}

/* Also of an odd number of bytes, so that every part must be brought to its place. */
static void merged_frames_come_back_with_their_lengths(void **state)
{
    (void)state;
    int8_t codes[3 * 5] = {1, 2, 3, 4, 5, -1, -2, -3, -4, -5, 7, 7, 7, 7, 7};
    float scales[3] = {1, 0.5f, 2}, x[7 * 5];
    uint16_t runs[3] = {2, 1, 4};
    dns_record record = {.kind = DNS_KIND_REGIONS,
                         .dtype = DNS_I8,
                         .rank = 3,
                         .shape = {3, 1, 5},
                         .data = codes,
                         .scales = scales,
                         .runs = runs,
                         .merged = 0.125f,
                         .id = 5};
    uint8_t *value, *copy;
    size_t size;
    dns_record got;
    assert_int_equal(dns_record_payload_size(&record), 16 + 12 + 6);
    assert_ok(dns_record_encode(&value, &size, &record));
    assert_int_equal(value[4], DNS_RECORD_WITH_RUNS);
    assert_memory_equal(value + 28, &record.merged, 4);
    assert_memory_equal(value + 64 + 28, runs, sizeof runs);
    assert_ok(dns_record_decode(&got, value, size, DNS_KIND_REGIONS, 5));
    assert_ok(dns_record_check(&got));
    assert_memory_equal(got.runs, runs, sizeof runs);
    assert_true(got.merged == 0.125f && got.size == sizeof codes);
    assert_int_equal(dns_record_frames(&got), 7);
    assert_ok(dns_record_to_f32(x, &got));
    static const size_t from[7] = {0, 0, 1, 2, 2, 2, 2};
    for (size_t t = 0; t < 7; t++)
        for (size_t k = 0; k < 5; k++)
            assert_true(x[t * 5 + k] == scales[from[t]] * codes[from[t] * 5 + k]);

    /* A sound checksum does not make an empty run right. */
    assert_ok(dns_alloc(&copy, size, 1));
    memcpy(copy, value, size);
    memset(copy + 64 + 28, 0, 2);
    uint64_t parts[2] = {dns_checksum(copy, 56), dns_checksum(copy + 64, 34)};
    uint64_t checksum = dns_checksum(parts, sizeof parts);
    memcpy(copy + 56, &checksum, 8);
    assert_ok(dns_record_decode(&got, copy, size, DNS_KIND_REGIONS, 5));
    assert_status(dns_record_check(&got), DNS_ERR_CORRUPT);
    copy[4] = DNS_RECORD_VERSION; /* with a distance, without lengths */
    assert_status(dns_record_decode(&got, copy, size, DNS_KIND_REGIONS, 5), DNS_ERR_CORRUPT);
    memcpy(copy, value, size);
    const float none = NAN;
    memcpy(copy + 28, &none, 4);
    assert_status(dns_record_decode(&got, copy, size, DNS_KIND_REGIONS, 5), DNS_ERR_CORRUPT);
    copy[4] = DNS_RECORD_WITH_RUNS + 1;
    assert_status(dns_record_decode(&got, copy, size, DNS_KIND_REGIONS, 5), DNS_ERR_VERSION);
    dns_free(copy);
    dns_free(value);

    runs[1] = 0;
    assert_status(dns_record_encode(&value, &size, &record), DNS_ERR_ARG);
    runs[1] = 1;
    record.merged = -1;
    assert_status(dns_record_encode(&value, &size, &record), DNS_ERR_ARG);
    record.runs = NULL;
    record.merged = 0.5f;
    assert_status(dns_record_encode(&value, &size, &record), DNS_ERR_ARG);
    float vector[4] = {1, 2, 3, 4};
    record = (dns_record){.kind = DNS_KIND_COARSE,
                          .dtype = DNS_F32,
                          .rank = 1,
                          .shape = {4},
                          .data = vector,
                          .runs = runs};
    assert_status(dns_record_encode(&value, &size, &record), DNS_ERR_ARG);
}

static void a_meta_record_keeps_every_field(void **state)
{
    (void)state;
    uint8_t *payload;
    float times[3] = {0, 1.5f, 2.25f};
    char name[5000];
    memset(name, 'n', sizeof name);
    name[4095] = '\0';
    dns_meta meta = {.name = name,
                     .n_frames = 3,
                     .frame_times = times,
                     .duration = 3.25,
                     .file_size = UINT64_MAX,
                     .mtime_ns = INT64_MIN,
                     .n_errors = UINT32_MAX,
                     .width = 1,
                     .height = 2,
                     .damaged = true};
    dns_record record = {.kind = DNS_KIND_META, .rank = 1};
    assert_ok(dns_meta_encode(&payload, &record.size, &meta));
    record.data = payload;
    dns_meta got;
    assert_ok(dns_meta_decode(&got, &record));
    assert_string_equal(got.name, name);
    assert_string_equal(got.path, name);
    assert_true(got.mtime_ns == INT64_MIN && got.file_size == UINT64_MAX &&
                got.n_errors == UINT32_MAX);
    assert_true(got.duration == 3.25 && got.width == 1 && got.height == 2 && got.damaged &&
                !got.imported);
    assert_memory_equal(got.frame_times, times, sizeof times);
    dns_free(payload);
    name[4095] = 'n';
    name[4096] = '\0';
    assert_status(dns_meta_encode(&payload, &record.size, &meta), DNS_ERR_ARG);
    meta.name = "a";
    meta.duration = NAN;
    assert_status(dns_meta_encode(&payload, &record.size, &meta), DNS_ERR_RANGE);
    meta.duration = 0;
    meta.imported = true;
    meta.path = name;
    assert_status(dns_meta_encode(&payload, &record.size, &meta), DNS_ERR_ARG);
}

static void an_archive_is_off_by_half_a_step_at_most(void **state)
{
    (void)state;
    enum { T = 7, R = 9, D = 512 };
    float *x, *y;
    dns_record record;
    void *block;
    dns_random random = dns_random_seed(3);
    assert_ok(dns_alloc(&x, T * R * D, sizeof *x));
    assert_ok(dns_alloc(&y, T * R * D, sizeof *y));
    for (size_t i = 0; i < T * R * D; i++)
        x[i] = i / D == 5 ? 0.0f : (float)dns_random_normal(&random);
    assert_ok(dns_archive_pack(&record, &block, x, T, R, D));
    assert_true(record.size < T * R * D + 4 * T * R + 1000);
    assert_ok(dns_archive_unpack(y, &record));
    for (size_t r = 0; r < T * R; r++) {
        float largest = 0;
        for (size_t d = 0; d < D; d++)
            largest = fmaxf(largest, fabsf(x[r * D + d]));
        for (size_t d = 0; d < D; d++)
            assert_true(fabsf(x[r * D + d] - y[r * D + d]) <= largest / 127 * 0.5001f);
    }
    record.shape[0]--;
    assert_status(dns_archive_unpack(y, &record), DNS_ERR_CORRUPT);
    record.shape[0]++;
    record.size -= 3;
    assert_status(dns_archive_unpack(y, &record), DNS_ERR_CORRUPT);
    record.kind = DNS_KIND_REGIONS;
    assert_status(dns_archive_unpack(y, &record), DNS_ERR_ARG);
    dns_free(block);
    x[700] = NAN;
    assert_status(dns_archive_pack(&record, &block, x, T, R, D), DNS_ERR_RANGE);
    assert_null(block);
    assert_status(dns_archive_pack(&record, &block, x, 0, R, D), DNS_ERR_SHAPE);
    assert_status(dns_archive_pack(&record, &block, x, SIZE_MAX / 2, R, D), DNS_ERR_SHAPE);
    dns_free(x);
    dns_free(y);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ids_are_the_first_bytes_of_the_digest),
        cmocka_unit_test(kinds_have_names),
        cmocka_unit_test(a_record_has_the_documented_bytes),
        cmocka_unit_test(damaged_records_are_refused_without_harm),
        cmocka_unit_test(merged_frames_come_back_with_their_lengths),
        cmocka_unit_test(a_meta_record_keeps_every_field),
        cmocka_unit_test(an_archive_is_off_by_half_a_step_at_most),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
