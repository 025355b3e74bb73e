#include "sample.h"

#include <stdio.h>
#include <string.h>

#include "support.h"

void sample_folder(char path[256], const char *name)
{
    static unsigned n;
    snprintf(path, 256, "%s/%s-%u", test_folder(), name, n++);
}

dns_store_settings sample_settings(void)
{
    dns_store_settings s = dns_store_settings_init();
    strcpy(s.model_name, "sample");
    s.model = dns_digest_of("sample", 6);
    static const struct {
        dns_kind kind;
        dns_dtype dtype;
    } kept[] = {{DNS_KIND_CODES, DNS_U8},
                {DNS_KIND_SELECTOR, DNS_F32},
                {DNS_KIND_FINE_BINARY, DNS_U8},
                {DNS_KIND_FINE_ATTENTION, DNS_I8},
                {DNS_KIND_REGIONS, DNS_F16}};
    for (size_t i = 0; i < sizeof kept / sizeof *kept; i++) {
        s.kept[kept[i].kind] = true;
        s.dtype[kept[i].kind] = kept[i].dtype;
    }
    return s;
}

const char *sample_name(size_t i)
{
    static char name[64];
    snprintf(name, sizeof name, "/videos/%03zu/clip %zu.mp4", i % 7, i);
    return name;
}

typedef struct sample {
    size_t n_frames;
    float coarse[SAMPLE_DIM], selector;
    uint8_t codes[SAMPLE_DIM / 8], binary[SAMPLE_FRAMES * SAMPLE_REGIONS * SAMPLE_DIM / 8];
    int8_t attention[SAMPLE_FRAMES * SAMPLE_REGIONS * SAMPLE_DIM];
    float scales[SAMPLE_FRAMES * SAMPLE_REGIONS], times[SAMPLE_FRAMES];
    uint16_t regions[SAMPLE_FRAMES * SAMPLE_REGIONS * SAMPLE_DIM];
} sample;

static sample made; /* large; tests are single-threaded where they use it */

static void make(size_t i, unsigned version)
{
    dns_random random = dns_random_stream(version, i);
    made.n_frames = 4 + dns_random_below(&random, SAMPLE_FRAMES - 4);
    for (size_t d = 0; d < SAMPLE_DIM; d++)
        made.coarse[d] = (float)dns_random_normal(&random);
    made.selector = (float)dns_random_uniform(&random);
    size_t n = made.n_frames * SAMPLE_REGIONS;
    for (size_t d = 0; d < sizeof made.codes; d++)
        made.codes[d] = (uint8_t)dns_random_next(&random);
    for (size_t d = 0; d < n * SAMPLE_DIM / 8; d++)
        made.binary[d] = (uint8_t)dns_random_next(&random);
    for (size_t d = 0; d < n * SAMPLE_DIM; d++) {
        made.attention[d] = (int8_t)dns_random_next(&random);
        made.regions[d] = (uint16_t)(dns_random_next(&random) & 0x3fff);
    }
    for (size_t r = 0; r < n; r++)
        made.scales[r] = (float)dns_random_uniform(&random);
    for (size_t t = 0; t < made.n_frames; t++)
        made.times[t] = (float)t;
}

enum { N_RECORDS = 6 };

static void records_of(dns_record records[N_RECORDS])
{
    size_t t = made.n_frames, r = SAMPLE_REGIONS, d = SAMPLE_DIM;
    records[0] = (dns_record){
        .kind = DNS_KIND_COARSE, .dtype = DNS_F32, .rank = 1, .shape = {d}, .data = made.coarse};
    records[1] = (dns_record){
        .kind = DNS_KIND_CODES, .dtype = DNS_U8, .rank = 1, .shape = {d / 8}, .data = made.codes};
    records[2] = (dns_record){.kind = DNS_KIND_SELECTOR,
                              .dtype = DNS_F32,
                              .rank = 1,
                              .shape = {1},
                              .data = &made.selector};
    records[3] = (dns_record){.kind = DNS_KIND_FINE_BINARY,
                              .dtype = DNS_U8,
                              .rank = 3,
                              .shape = {t, r, d / 8},
                              .data = made.binary};
    records[4] = (dns_record){.kind = DNS_KIND_FINE_ATTENTION,
                              .dtype = DNS_I8,
                              .rank = 3,
                              .shape = {t, r, d},
                              .data = made.attention,
                              .scales = made.scales};
    records[5] = (dns_record){.kind = DNS_KIND_REGIONS,
                              .dtype = DNS_F16,
                              .rank = 3,
                              .shape = {t, r, d},
                              .data = made.regions};
}

static dns_meta meta_of(size_t i, unsigned version)
{
    return (dns_meta){.name = sample_name(i),
                      .file_size = 1000 + i,
                      .mtime_ns = (int64_t)i * 1000003 - 5,
                      .content = dns_digest_of(&i, sizeof i),
                      .duration = (double)made.n_frames,
                      .width = 320,
                      .height = 240,
                      .n_frames = (uint32_t)made.n_frames,
                      .n_errors = version,
                      .damaged = version > 0,
                      .frame_times = made.times};
}

dns_status sample_put(dns_batch *batch, size_t i, unsigned version)
{
    dns_record records[N_RECORDS];
    make(i, version);
    records_of(records);
    dns_meta meta = meta_of(i, version);
    return dns_batch_put(batch, &meta, records, N_RECORDS, NULL);
}

void sample_expect(const dns_snapshot *snapshot, size_t i, unsigned version)
{
    dns_record expected[N_RECORDS], got;
    dns_meta meta;
    make(i, version);
    records_of(expected);
    uint64_t id = dns_id_of_name(sample_name(i));
    assert_ok(dns_snapshot_meta(&meta, snapshot, id));
    dns_meta m = meta_of(i, version);
    assert_string_equal(meta.name, m.name);
    assert_string_equal(meta.path, m.name);
    assert_int_equal(meta.file_size, m.file_size);
    assert_int_equal(meta.mtime_ns, m.mtime_ns);
    assert_true(dns_digest_equal(&meta.content, &m.content));
    assert_true(meta.duration == m.duration && meta.width == m.width && meta.height == m.height);
    assert_true(meta.n_frames == m.n_frames && meta.damaged == m.damaged &&
                meta.n_errors == m.n_errors);
    assert_false(meta.imported);
    assert_memory_equal(meta.frame_times, m.frame_times, 4 * made.n_frames);
    for (size_t k = 0; k < N_RECORDS; k++) {
        assert_ok(dns_snapshot_get(&got, snapshot, expected[k].kind, id, true));
        assert_int_equal(got.dtype, expected[k].dtype);
        assert_int_equal(got.rank, expected[k].rank);
        assert_int_equal(got.id, id);
        size_t n = got.dtype == DNS_F32 ? 4 : got.dtype == DNS_F16 ? 2 : 1;
        for (size_t d = 0; d < got.rank; d++) {
            assert_int_equal(got.shape[d], expected[k].shape[d]);
            n *= got.shape[d];
        }
        assert_int_equal(got.size, n);
        assert_int_equal((uintptr_t)got.data % (n >= 2048 ? 16 : 8), 0);
        assert_memory_equal(got.data, expected[k].data, n);
        assert_true((got.scales != NULL) == (expected[k].scales != NULL));
        if (got.scales != NULL)
            assert_memory_equal(got.scales, expected[k].scales, 4 * got.shape[0] * got.shape[1]);
    }
}

int sample_compare(const dns_snapshot *snapshot, size_t i, unsigned version, bool present)
{
    dns_record expected[N_RECORDS], got;
    dns_meta meta;
    uint64_t id = dns_id_of_name(sample_name(i));
    dns_status status = dns_snapshot_meta(&meta, snapshot, id);
    if (status != DNS_OK)
        return status == DNS_ERR_NOTFOUND ? (present ? -1 : 1) : 0;
    if (!present || strcmp(meta.name, sample_name(i)) != 0)
        return -1;
    make(i, version);
    records_of(expected);
    if (meta.n_frames != made.n_frames || meta.n_errors != version ||
        memcmp(meta.frame_times, made.times, 4 * made.n_frames) != 0)
        return -1;
    int verdict = 1;
    for (size_t k = 0; k < N_RECORDS; k++) {
        status = dns_snapshot_get(&got, snapshot, expected[k].kind, id, true);
        if (status == DNS_OK && (memcmp(got.data, expected[k].data, got.size) != 0 ||
                                 memcmp(got.shape, expected[k].shape, sizeof got.shape) != 0))
            return -1;
        if (status == DNS_ERR_NOTFOUND)
            return -1;
        if (status != DNS_OK)
            verdict = 0;
    }
    return verdict;
}

void sample_patch(const char *directory, dns_kind kind, uint64_t id, size_t at, const void *bytes,
                  size_t size, bool fix_checksum)
{
    sample_patch_version(directory, kind, DNS_RECORD_VERSION, id, at, bytes, size, fix_checksum);
}

void sample_patch_version(const char *directory, dns_kind kind, uint8_t version, uint64_t id,
                          size_t at, const void *bytes, size_t size, bool fix_checksum)
{
    char path[300], *file;
    size_t n, n_found = 0;
    snprintf(path, sizeof path, "%s/data.mdb", directory);
    assert_ok(dns_file_read(&file, &n, path, (size_t)1 << 30));
    uint8_t start[16] = {'D', 'N', 'S', 'r', version, (uint8_t)kind};
    memcpy(start + 8, &id, 8);
    for (size_t i = 0; i + DNS_RECORD_HEADER <= n; i += 8) {
        uint8_t *record = (uint8_t *)file + i;
        if (memcmp(record, start, 6) != 0 || memcmp(record + 8, start + 8, 8) != 0)
            continue;
        uint64_t payload;
        memcpy(&payload, record + 32, 8);
        memcpy(record + at, bytes, size);
        if (fix_checksum) {
            uint64_t parts[2] = {dns_checksum(record, 56),
                                 dns_checksum(record + DNS_RECORD_HEADER, payload)};
            uint64_t checksum = dns_checksum(parts, sizeof parts);
            memcpy(record + 56, &checksum, 8);
        }
        n_found++;
    }
    assert_true(n_found > 0);
    FILE *stream = fopen(path, "r+b");
    assert_non_null(stream);
    assert_int_equal(fwrite(file, 1, n, stream), n);
    assert_int_equal(fclose(stream), 0);
    dns_free(file);
}

void sample_index(const char *directory, size_t n)
{
    dns_store *store;
    dns_batch *batch;
    dns_store_settings settings = sample_settings();
    assert_ok(dns_store_create(&store, directory, &settings, NULL));
    assert_ok(dns_batch_create(&batch, store, NULL));
    for (size_t i = 0; i < n; i++)
        assert_ok(sample_put(batch, i, 0));
    assert_ok(dns_batch_commit(batch));
    dns_batch_free(batch);
    dns_store_close(store);
}
