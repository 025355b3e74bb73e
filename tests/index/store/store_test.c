#include "support.h"

#include <math.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "dnsel/json.h"
#include "dnsel/store.h"
#include "dnsel/verify.h"
#include "sample.h"

static char folder[256];

static void a_store_gives_back_what_was_put(void **state)
{
    (void)state;
    dns_store *store;
    dns_batch *batch;
    dns_snapshot *snapshot;
    enum { N = 300 };
    sample_folder(folder, "round");
    sample_index(folder, N);
    assert_ok(dns_store_open(&store, folder, DNS_STORE_READ, NULL));
    assert_ok(dns_snapshot_open(&snapshot, store));
    assert_int_equal(dns_snapshot_count(snapshot, DNS_KIND_META), N);
    for (size_t i = 0; i < N; i++)
        sample_expect(snapshot, i, 0);
    dns_snapshot_close(snapshot);
    assert_status(dns_batch_create(&batch, store, NULL), DNS_ERR_ARG);
    assert_null(batch);
    dns_store_close(store);

    /* Replaced, updated and removed ones, over several commits and a reopening. */
    assert_ok(dns_store_open(&store, folder, DNS_STORE_WRITE, NULL));
    dns_batch_options options = {.max_videos = 7};
    assert_ok(dns_batch_create(&batch, store, &options));
    for (size_t i = 0; i < N; i += 3)
        assert_ok(sample_put(batch, i, 1));
    for (size_t i = 1; i < N; i += 3)
        assert_ok(dns_batch_remove(batch, dns_id_of_name(sample_name(i))));
    assert_status(dns_batch_remove(batch, dns_id_of_name(sample_name(1))), DNS_ERR_NOTFOUND);
    assert_true(dns_batch_pending(batch) > 0);
    assert_ok(dns_batch_commit(batch));
    assert_int_equal(dns_batch_pending(batch), 0);
    dns_batch_free(batch);
    dns_store_close(store);

    assert_ok(dns_store_open(&store, folder, DNS_STORE_WRITE, NULL));
    assert_ok(dns_snapshot_open(&snapshot, store));
    for (size_t i = 0; i < N; i++) {
        dns_record record;
        uint64_t id = dns_id_of_name(sample_name(i));
        if (i % 3 != 1)
            sample_expect(snapshot, i, i % 3 == 0);
        else
            for (int k = 0; k < DNS_KIND_COUNT; k++)
                assert_status(dns_snapshot_get(&record, snapshot, (dns_kind)k, id, false),
                              DNS_ERR_NOTFOUND);
    }
    uint64_t *ids;
    size_t n;
    assert_ok(dns_snapshot_ids(&ids, &n, snapshot, DNS_KIND_COARSE));
    assert_int_equal(n, 200);
    for (size_t i = 1; i < n; i++)
        assert_true(ids[i - 1] < ids[i]);
    dns_cursor *cursor;
    dns_record record;
    assert_ok(dns_cursor_create(&cursor, snapshot, DNS_KIND_REGIONS, ids[50] + 1));
    for (size_t i = 51; i < n; i++) {
        assert_ok(dns_cursor_next(&record, cursor));
        assert_int_equal(record.id, ids[i]);
        assert_ok(dns_record_check(&record));
    }
    assert_int_equal(dns_cursor_next(&record, cursor), DNS_EOF);
    assert_int_equal(dns_cursor_next(&record, cursor), DNS_EOF);
    dns_cursor_free(cursor);
    dns_free(ids);
    dns_snapshot_close(snapshot);
    dns_store_close(store);
}

static void an_update_touches_only_what_it_names(void **state)
{
    (void)state;
    dns_store *store;
    dns_batch *batch;
    dns_snapshot *snapshot;
    dns_record record;
    dns_meta meta;
    sample_folder(folder, "update");
    sample_index(folder, 5);
    uint64_t id = dns_id_of_name(sample_name(2));
    float value = 0.25f;
    dns_record selector = {
        .kind = DNS_KIND_SELECTOR, .dtype = DNS_F32, .rank = 1, .shape = {1}, .data = &value};
    assert_ok(dns_store_open(&store, folder, DNS_STORE_WRITE, NULL));
    assert_ok(dns_batch_create(&batch, store, NULL));
    assert_ok(dns_batch_update(batch, id, NULL, &selector, 1, 1u << DNS_KIND_REGIONS));
    assert_status(dns_batch_update(batch, 12345, NULL, &selector, 1, 0), DNS_ERR_NOTFOUND);
    assert_status(dns_batch_update(batch, id, NULL, NULL, 0, 1u << DNS_KIND_META), DNS_ERR_ARG);
    assert_ok(dns_batch_commit(batch));
    assert_ok(dns_snapshot_open(&snapshot, store));
    assert_ok(dns_snapshot_get(&record, snapshot, DNS_KIND_SELECTOR, id, true));
    assert_true(*(const float *)record.data == value);
    assert_status(dns_snapshot_get(&record, snapshot, DNS_KIND_REGIONS, id, true),
                  DNS_ERR_NOTFOUND);
    assert_ok(dns_snapshot_get(&record, snapshot, DNS_KIND_COARSE, id, true));
    assert_ok(dns_snapshot_meta(&meta, snapshot, id));
    dns_meta renewed = meta;
    renewed.mtime_ns = 77;
    assert_ok(dns_batch_update(batch, id, &renewed, NULL, 0, 0));
    renewed.name = "/another";
    assert_status(dns_batch_update(batch, id, &renewed, NULL, 0, 0), DNS_ERR_ARG);
    dns_snapshot_close(snapshot);
    assert_ok(dns_batch_commit(batch));
    assert_ok(dns_snapshot_open(&snapshot, store));
    assert_ok(dns_snapshot_meta(&meta, snapshot, id));
    assert_int_equal(meta.mtime_ns, 77);
    assert_int_equal(dns_snapshot_generation(snapshot), 3);
    dns_snapshot_close(snapshot);
    dns_batch_free(batch);
    dns_store_close(store);
}

static void a_put_refuses_what_does_not_fit(void **state)
{
    (void)state;
    dns_store *store;
    dns_batch *batch;
    float x[512] = {0}, scale = 1;
    sample_folder(folder, "refuse");
    dns_store_settings settings = sample_settings();
    assert_ok(dns_store_create(&store, folder, &settings, NULL));
    assert_ok(dns_batch_create(&batch, store, NULL));
    dns_meta meta = {.name = "a", .n_frames = 2};
    dns_record r = {
        .kind = DNS_KIND_COARSE, .dtype = DNS_F32, .rank = 1, .shape = {512}, .data = x};
#define PUT(change, expected)                                             \
    do {                                                                  \
        dns_record bad = r;                                               \
        dns_meta m = meta;                                                \
        (void)m, change;                                                  \
        assert_status(dns_batch_put(batch, &m, &bad, 1, NULL), expected); \
        assert_int_equal(dns_batch_pending(batch), 0);                    \
    } while (0)
    PUT(bad.rank = 2, DNS_ERR_SHAPE);
    PUT(bad.dtype = DNS_F64, DNS_ERR_SHAPE);
    PUT(bad.dtype = (dns_dtype)99, DNS_ERR_SHAPE);
    PUT(bad.shape[0] = 0, DNS_ERR_SHAPE);
    PUT(bad.data = NULL, DNS_ERR_ARG);
    PUT(bad.size = 7, DNS_ERR_ARG);
    PUT(bad.kind = DNS_KIND_META, DNS_ERR_ARG);
    PUT(bad.kind = (dns_kind)DNS_KIND_COUNT, DNS_ERR_ARG);
    PUT(m.name = "", DNS_ERR_ARG);
    PUT(m.name = NULL, DNS_ERR_ARG);
    PUT(m.duration = -1, DNS_ERR_RANGE);
    PUT((bad.kind = DNS_KIND_REGIONS, bad.rank = 3, bad.shape[0] = 1, bad.shape[1] = 1,
         bad.shape[2] = 8),
        DNS_ERR_SHAPE);
    PUT((bad.kind = DNS_KIND_REGIONS, bad.rank = 3, bad.shape[0] = 2, bad.shape[1] = UINT32_MAX,
         bad.shape[2] = 8),
        DNS_ERR_SHAPE);
    PUT((bad.kind = DNS_KIND_CODES, bad.dtype = DNS_I8), DNS_ERR_ARG); /* no scales */
    dns_record twice[2] = {r, r};
    assert_status(dns_batch_put(batch, &meta, twice, 2, NULL), DNS_ERR_ARG);
    r.kind = DNS_KIND_CODES;
    r.dtype = DNS_I8;
    r.scales = &scale;
    assert_ok(dns_batch_put(batch, &meta, &r, 1, NULL));
    dns_batch_free(batch);
    dns_store_close(store);
}

static void a_colliding_id_is_refused(void **state)
{
    (void)state;
    /* Two names with one id are not to be had, so the name in a record is changed into another of
     * the same length. */
    dns_store *store;
    dns_batch *batch;
    dns_snapshot *snapshot;
    dns_meta meta;
    uint64_t id = dns_id_of_name(sample_name(2)), found;
    sample_folder(folder, "collide");
    sample_index(folder, 4);
    assert_ok(dns_store_open(&store, folder, DNS_STORE_READ, NULL));
    assert_ok(dns_snapshot_open(&snapshot, store));
    assert_ok(dns_snapshot_meta(&meta, snapshot, id));
    size_t at = DNS_RECORD_HEADER + 88 + 4 * meta.n_frames + strlen(meta.name) - 1;
    dns_snapshot_close(snapshot);
    dns_store_close(store);
    sample_patch(folder, DNS_KIND_META, id, at, "Z", 1, true);
    assert_ok(dns_store_open(&store, folder, DNS_STORE_WRITE, NULL));
    assert_ok(dns_batch_create(&batch, store, NULL));
    assert_status(sample_put(batch, 2, 0), DNS_ERR_EXISTS);
    assert_non_null(strstr(dns_status_message(), ".mpZ"));
    assert_ok(sample_put(batch, 3, 0)); /* the same name again is no collision */
    assert_ok(dns_snapshot_open(&snapshot, store));
    assert_status(dns_snapshot_find(&found, snapshot, sample_name(2)), DNS_ERR_NOTFOUND);
    dns_snapshot_close(snapshot);
    dns_batch_free(batch);
    dns_store_close(store);
}

static void records_of_other_models_and_versions_are_refused(void **state)
{
    (void)state;
    dns_store *store;
    dns_snapshot *snapshot;
    dns_record record;
    uint64_t id = dns_id_of_name(sample_name(1));
    sample_folder(folder, "foreign");
    sample_index(folder, 3);
    uint8_t version = DNS_RECORD_WITH_RUNS + 1;
    sample_patch(folder, DNS_KIND_COARSE, id, 40, "another model!!!", 16, true);
    sample_patch(folder, DNS_KIND_REGIONS, id, 4, &version, 1, true);
    sample_patch(folder, DNS_KIND_FINE_BINARY, id, 64 + 700, "x", 1, false);
    assert_ok(dns_store_open(&store, folder, DNS_STORE_READ, NULL));
    assert_ok(dns_snapshot_open(&snapshot, store));
    assert_status(dns_snapshot_get(&record, snapshot, DNS_KIND_COARSE, id, true), DNS_ERR_MODEL);
    assert_non_null(strstr(dns_status_message(), "'sample'"));
    assert_status(dns_snapshot_get(&record, snapshot, DNS_KIND_REGIONS, id, true), DNS_ERR_VERSION);
    assert_ok(dns_snapshot_get(&record, snapshot, DNS_KIND_FINE_BINARY, id, false));
    assert_status(dns_record_check(&record), DNS_ERR_CORRUPT);
    assert_status(dns_snapshot_get(&record, snapshot, DNS_KIND_FINE_BINARY, id, true),
                  DNS_ERR_CORRUPT);
    assert_ok(dns_snapshot_get(&record, snapshot, DNS_KIND_FINE_ATTENTION, id, true));
    dns_digest digest;
    assert_status(dns_snapshot_digest(&digest, snapshot, NULL), DNS_ERR_MODEL);
    dns_snapshot_close(snapshot);
    dns_store_close(store);
}

static void places_are_told_without_reading(void **state)
{
    (void)state;
    static const dns_kind kinds[] = {DNS_KIND_COARSE, DNS_KIND_FINE_BINARY}; /* in a leaf; alone */
    enum { N = 20 };
    dns_store *store;
    dns_snapshot *snapshot;
    dns_place place;
    sample_folder(folder, "places");
    sample_index(folder, N);
    assert_ok(dns_store_open(&store, folder, DNS_STORE_READ, NULL));
    assert_ok(dns_snapshot_open(&snapshot, store));
    for (size_t k = 0; k < 2; k++) {
        uintptr_t base = 0;
        for (size_t i = 0; i < N; i++) {
            dns_record record;
            uint64_t id = dns_id_of_name(sample_name(i));
            assert_ok(dns_snapshot_get(&record, snapshot, kinds[k], id, false));
            assert_ok(dns_snapshot_place(&place, snapshot, kinds[k], id));
            size_t payload = dns_dtype_size(record.dtype);
            for (size_t d = 0; d < record.rank; d++)
                payload *= record.shape[d];
            assert_true(place.size >= DNS_RECORD_HEADER + payload);
            assert_true(i == 0 || base == (uintptr_t)record.data - place.offset);
            base = (uintptr_t)record.data - place.offset;
            dns_snapshot_read_ahead(snapshot, &place);
            assert_ok(dns_record_check(&record));
        }
    }
    assert_status(dns_snapshot_place(&place, snapshot, DNS_KIND_COARSE, 12345), DNS_ERR_NOTFOUND);
    assert_status(dns_snapshot_place(&place, snapshot, DNS_KIND_COUNT, 12345), DNS_ERR_ARG);
    place = (dns_place){.offset = UINT64_MAX / 2, .size = 1};
    dns_snapshot_read_ahead(snapshot, &place); /* nothing there */
    dns_snapshot_close(snapshot);
    dns_store_close(store);
}

static void names_paths_and_ids_are_found(void **state)
{
    (void)state;
    dns_store *store;
    dns_batch *batch;
    dns_snapshot *snapshot;
    char file[300], link_path[300], text[17];
    uint64_t id, row, got;
    sample_folder(folder, "find");
    dns_store_settings settings = sample_settings();
    assert_ok(dns_store_create(&store, folder, &settings, NULL));
    assert_ok(dns_batch_create(&batch, store, NULL));
    snprintf(file, sizeof file, "%s/a.mp4", folder);
    snprintf(link_path, sizeof link_path, "%s/link.mp4", folder);
    assert_ok(dns_file_write(file, "x", 1));
    assert_int_equal(symlink(file, link_path), 0);
    dns_meta meta = {.name = file};
    assert_ok(dns_batch_put(batch, &meta, NULL, 0, &id));
    meta = (dns_meta){.name = "00000000000000ff", .path = "/somewhere/b.mp4", .imported = true};
    assert_ok(dns_batch_put(batch, &meta, NULL, 0, &row));
    assert_ok(dns_batch_commit(batch));
    assert_ok(dns_snapshot_open(&snapshot, store));
    assert_ok(dns_snapshot_find(&got, snapshot, file));
    assert_int_equal(got, id);
    assert_ok(dns_snapshot_find(&got, snapshot, link_path));
    assert_int_equal(got, id);
    dns_id_text(id, text);
    assert_ok(dns_snapshot_find(&got, snapshot, text));
    assert_int_equal(got, id);
    assert_int_equal(unlink(file), 0);
    char indirect[600];
    snprintf(indirect, sizeof indirect, "%s/../%s/a.mp4", folder, strrchr(folder, '/') + 1);
    assert_ok(
        dns_snapshot_find(&got, snapshot, indirect)); /* the file is gone, its folder is not */
    assert_int_equal(got, id);
    assert_ok(dns_snapshot_find(&got, snapshot, "00000000000000ff"));
    assert_int_equal(got, row);
    assert_ok(dns_snapshot_meta(&meta, snapshot, row));
    assert_true(meta.imported);
    assert_string_equal(meta.path, "/somewhere/b.mp4");
    assert_null(meta.frame_times);
    assert_status(dns_snapshot_find(&got, snapshot, "nothing"), DNS_ERR_NOTFOUND);
    assert_status(dns_snapshot_find(&got, snapshot, ""), DNS_ERR_NOTFOUND);
    assert_status(dns_snapshot_find(&got, snapshot, "00000000000000fe"), DNS_ERR_NOTFOUND);
    dns_snapshot_close(snapshot);
    dns_batch_free(batch);
    dns_store_close(store);
}

static void a_snapshot_does_not_change_while_others_write(void **state)
{
    (void)state;
    dns_store *store;
    dns_batch *batch;
    dns_snapshot *old, *new;
    sample_folder(folder, "snapshot");
    sample_index(folder, 40);
    assert_ok(dns_store_open(&store, folder, DNS_STORE_WRITE, NULL));
    assert_ok(dns_snapshot_open(&old, store));
    assert_ok(dns_batch_create(&batch, store, NULL));
    for (unsigned version = 1; version <= 12;
         version++) { /* enough commits to use every free page again */
        for (size_t i = 0; i < 40; i += 2)
            assert_ok(sample_put(batch, i, version));
        assert_ok(dns_batch_remove(batch, dns_id_of_name(sample_name(2 * version + 1))));
        assert_ok(dns_batch_commit(batch));
    }
    for (size_t i = 0; i < 40; i++)
        sample_expect(old, i, 0);
    assert_int_equal(dns_snapshot_count(old, DNS_KIND_META), 40);
    assert_ok(dns_snapshot_open(&new, store));
    for (size_t i = 0; i < 40; i += 2)
        sample_expect(new, i, 12);
    assert_int_equal(dns_snapshot_count(new, DNS_KIND_META), 28);
    assert_int_equal(dns_snapshot_generation(new), 13);
    dns_snapshot_close(old);
    dns_snapshot_close(new);
    dns_batch_free(batch);
    dns_store_close(store);
}

static void the_journal_tells_what_changed(void **state)
{
    (void)state;
    dns_store *store;
    dns_batch *batch;
    dns_snapshot *snapshot;
    uint64_t *ids;
    size_t n;
    sample_folder(folder, "journal");
    sample_index(folder, 10);
    assert_ok(dns_store_open(&store, folder, DNS_STORE_WRITE, NULL));
    assert_ok(dns_batch_create(&batch, store, NULL));
    assert_ok(sample_put(batch, 3, 1));
    assert_ok(dns_batch_commit(batch));
    assert_ok(dns_batch_remove(batch, dns_id_of_name(sample_name(5))));
    assert_ok(sample_put(batch, 3, 2));
    assert_ok(dns_batch_commit(batch));
    assert_ok(dns_snapshot_open(&snapshot, store));
    assert_ok(dns_snapshot_changes(&ids, &n, snapshot, 1));
    uint64_t a = dns_id_of_name(sample_name(3)), b = dns_id_of_name(sample_name(5));
    assert_int_equal(n, 2);
    assert_int_equal(ids[0], a < b ? a : b);
    assert_int_equal(ids[1], a < b ? b : a);
    dns_free(ids);
    assert_ok(dns_snapshot_changes(&ids, &n, snapshot, 3));
    assert_int_equal(n, 0);
    dns_free(ids);
    assert_status(dns_snapshot_changes(&ids, &n, snapshot, 4), DNS_ERR_NOTFOUND);
    dns_snapshot_close(snapshot);

    /* It does not grow without end, and says so when it does not reach back. */
    dns_batch_options options = {.max_videos = 0};
    dns_batch_free(batch);
    assert_ok(dns_batch_create(&batch, store, &options));
    char name[32];
    for (unsigned round = 0; round < 105; round++) {
        for (unsigned i = 0; i < 1000; i++) {
            snprintf(name, sizeof name, "v%u", i);
            dns_meta meta = {.name = name, .n_errors = round};
            assert_ok(dns_batch_put(batch, &meta, NULL, 0, NULL));
        }
        assert_ok(dns_batch_commit(batch));
    }
    assert_ok(dns_snapshot_open(&snapshot, store));
    assert_int_equal(dns_snapshot_generation(snapshot), 108);
    assert_status(dns_snapshot_changes(&ids, &n, snapshot, 1), DNS_ERR_NOTFOUND);
    assert_ok(dns_snapshot_changes(&ids, &n, snapshot, 100));
    assert_int_equal(n, 1000);
    dns_free(ids);
    dns_snapshot_close(snapshot);
    dns_batch_free(batch);
    dns_store_close(store);
}

static dns_digest digest_of(const char *directory)
{
    dns_store *store;
    dns_snapshot *snapshot;
    dns_digest digest;
    assert_ok(dns_store_open(&store, directory, DNS_STORE_READ, NULL));
    assert_ok(dns_snapshot_open(&snapshot, store));
    assert_ok(dns_snapshot_digest(&digest, snapshot, NULL));
    dns_snapshot_close(snapshot);
    dns_store_close(store);
    return digest;
}

static void the_digest_does_not_depend_on_how_it_was_written(void **state)
{
    (void)state;
    char other[256];
    dns_store *store;
    dns_batch *batch;
    sample_folder(folder, "digest");
    sample_folder(other, "digest");
    sample_index(folder, 50);
    dns_digest expected = digest_of(folder);
    dns_store_settings settings = sample_settings();
    assert_ok(dns_store_create(&store, other, &settings, NULL));
    dns_batch_options options = {.max_bytes = 200000};
    assert_ok(dns_batch_create(&batch, store, &options));
    for (size_t i = 60; i-- > 0;)
        assert_ok(sample_put(batch, i, i % 2));
    for (size_t i = 1; i < 50; i += 2)
        assert_ok(sample_put(batch, i, 0));
    for (size_t i = 50; i < 60; i++)
        assert_ok(dns_batch_remove(batch, dns_id_of_name(sample_name(i))));
    assert_ok(dns_batch_commit(batch));
    dns_batch_free(batch);
    dns_store_close(store);
    dns_digest got = digest_of(other);
    assert_true(dns_digest_equal(&got, &expected));
    assert_ok(dns_store_open(&store, other, DNS_STORE_WRITE, NULL));
    assert_ok(dns_batch_create(&batch, store, NULL));
    assert_ok(sample_put(batch, 7, 3));
    assert_ok(dns_batch_commit(batch));
    dns_batch_free(batch);
    dns_store_close(store);
    got = digest_of(other);
    assert_false(dns_digest_equal(&got, &expected));
}

static void opening_tells_what_is_wrong(void **state)
{
    (void)state;
    dns_store *store;
    char path[300], text[2000];
    sample_folder(folder, "open");
    assert_status(dns_store_open(&store, folder, DNS_STORE_READ, NULL), DNS_ERR_NOTFOUND);
    assert_null(store);
    assert_ok(dns_directory_make(folder));
    assert_status(dns_store_open(&store, folder, DNS_STORE_WRITE, NULL), DNS_ERR_NOTFOUND);
    dns_store_settings settings = sample_settings();
    settings.fps = 0;
    assert_status(dns_store_create(&store, folder, &settings, NULL), DNS_ERR_ARG);
    settings = sample_settings();
    assert_ok(dns_store_create(&store, folder, &settings, NULL));
    assert_string_equal(dns_store_directory(store), folder);
    assert_string_equal(dns_store_created_by(store), "dnsel " DNS_VERSION);
    dns_store *second;
    assert_status(dns_store_open(&second, folder, DNS_STORE_READ, NULL), DNS_ERR_BUSY);
    dns_store_close(store);
    assert_status(dns_store_create(&store, folder, &settings, NULL), DNS_ERR_EXISTS);

    dns_digest model = dns_digest_of("other", 5);
    dns_store_options options = DNS_STORE_OPTIONS_INIT;
    options.model = &model;
    assert_status(dns_store_open(&store, folder, DNS_STORE_READ, &options), DNS_ERR_MODEL);
    assert_non_null(strstr(dns_status_message(), "'sample'"));
    options.model = &settings.model;
    assert_ok(dns_store_open(&store, folder, DNS_STORE_READ, &options));
    const dns_store_settings *got = dns_store_settings_get(store);
    assert_memory_equal(got->kept, settings.kept, sizeof settings.kept);
    assert_string_equal(got->model_name, "sample");
    assert_true(got->fps == 1 && got->dtype[DNS_KIND_REGIONS] == DNS_F16);
    dns_digest before = dns_store_settings_digest(got),
               after = dns_store_settings_digest(&settings);
    assert_true(dns_digest_equal(&before, &after));
    assert_status(dns_store_set_kept(store, &settings), DNS_ERR_ARG);
    dns_store_close(store);
    settings.fps = 2;
    after = dns_store_settings_digest(&settings);
    assert_false(dns_digest_equal(&before, &after));

    snprintf(path, sizeof path, "%s/index.json", folder);
    char *json;
    size_t size;
    assert_ok(dns_file_read(&json, &size, path, sizeof text));
    struct {
        const char *find, *replace;
        dns_status expected;
    } cases[] = {{"\"version\": 1", "\"version\": 3", DNS_ERR_VERSION},
                 {"dnsel-index", "other-index", DNS_ERR_FORMAT},
                 {"{", "[", DNS_ERR_FORMAT},
                 {"\"fps\": 1", "\"fps\": 2", DNS_ERR_CORRUPT},
                 {"regions", "stories", DNS_ERR_CORRUPT}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char *found = strstr(json, cases[i].find);
        assert_non_null(found);
        size_t at = (size_t)(found - json), n = strlen(cases[i].find);
        snprintf(text, sizeof text, "%.*s%s%s", (int)at, json, cases[i].replace, found + n);
        assert_ok(dns_file_write(path, text, strlen(text)));
        assert_status(dns_store_open(&store, folder, DNS_STORE_READ, NULL), cases[i].expected);
    }
    for (size_t at = 0; at < size; at++) { /* any flipped bit is refused, or does not matter */
        FILE *stream = fopen(path, "wb");
        assert_non_null(stream);
        json[at] ^= (char)(1 << at % 8);
        assert_int_equal(fwrite(json, 1, size, stream), size);
        json[at] ^= (char)(1 << at % 8);
        assert_int_equal(fclose(stream), 0);
        if (dns_store_open(&store, folder, DNS_STORE_READ, NULL) == DNS_OK) {
            got = dns_store_settings_get(store);
            assert_memory_equal(got->kept, sample_settings().kept, sizeof got->kept);
            assert_string_equal(got->model_name, "sample");
            assert_true(got->fps == 1);
        }
        dns_store_close(store);
    }
    assert_ok(dns_file_write(path, json, size));
    assert_ok(dns_store_open(&store, folder, DNS_STORE_READ, NULL));
    dns_store_close(store);
    dns_free(json);
}

static void files_of_two_indexes_do_not_mix(void **state)
{
    (void)state;
    dns_store *store;
    char other[256], from[300], to[300];
    sample_folder(folder, "mixed");
    sample_folder(other, "mixed");
    sample_index(folder, 2);
    sample_index(other, 2);
    snprintf(from, sizeof from, "%s/data.mdb", other);
    snprintf(to, sizeof to, "%s/data.mdb", folder);
    assert_int_equal(rename(from, to), 0);
    assert_status(dns_store_open(&store, folder, DNS_STORE_READ, NULL), DNS_ERR_FORMAT);
    assert_status(dns_store_open(&store, other, DNS_STORE_READ, NULL),
                  DNS_ERR_CORRUPT); /* no data.mdb */
    assert_status(dns_store_open(&store, other, DNS_STORE_WRITE, NULL), DNS_ERR_CORRUPT);
}

static void kept_kinds_can_be_changed(void **state)
{
    (void)state;
    dns_store *store;
    sample_folder(folder, "kept");
    sample_index(folder, 3);
    dns_store_settings settings = sample_settings();
    assert_ok(dns_store_open(&store, folder, DNS_STORE_WRITE, NULL));
    settings.kept[DNS_KIND_REGIONS] = false;
    settings.kept[DNS_KIND_ARCHIVE] = true;
    settings.dtype[DNS_KIND_ARCHIVE] = DNS_F32;
    assert_status(dns_store_set_kept(store, &settings), DNS_ERR_ARG);
    assert_true(dns_store_settings_get(store)->kept[DNS_KIND_REGIONS]);
    settings.dtype[DNS_KIND_ARCHIVE] = DNS_I8;
    assert_ok(dns_store_set_kept(store, &settings));
    dns_store_close(store);
    assert_ok(dns_store_open(&store, folder, DNS_STORE_READ, NULL));
    assert_false(dns_store_settings_get(store)->kept[DNS_KIND_REGIONS]);
    assert_true(dns_store_settings_get(store)->kept[DNS_KIND_ARCHIVE]);
    dns_store_close(store);
}

static void how_frames_are_kept_is_a_setting(void **state)
{
    (void)state;
    dns_store *store;
    dns_verify_report report;
    char path[300], *json;
    size_t size;
    sample_folder(folder, "codec");
    sample_index(folder, 3);
    dns_store_settings settings = sample_settings();
    assert_ok(dns_store_open(&store, folder, DNS_STORE_WRITE, NULL));
    static const struct {
        size_t code_bits;
        float merge;
    } wrong[] = {{100, 0}, {1 << 17, 0}, {0, -0.1f}, {0, 2.1f}, {0, NAN}};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        settings.code_bits = wrong[i].code_bits;
        settings.merge = wrong[i].merge;
        assert_status(dns_store_set_kept(store, &settings), DNS_ERR_ARG);
    }
    settings.code_bits = 256;
    settings.merge = 0.3f;
    assert_ok(dns_store_set_kept(store, &settings));
    dns_store_close(store);
    assert_ok(dns_store_open(&store, folder, DNS_STORE_READ, NULL));
    assert_int_equal(dns_store_settings_get(store)->code_bits, 256);
    assert_true(dns_store_settings_get(store)->merge == 0.3f);
    dns_store_close(store);

    /* Its digest covers both. */
    snprintf(path, sizeof path, "%s/index.json", folder);
    assert_ok(dns_file_read(&json, &size, path, 1 << 16));
    assert_non_null(strstr(json, "\"version\": 2"));
    char *bits = strstr(json, "256");
    assert_non_null(bits);
    memcpy(bits, "128", 3);
    assert_ok(dns_file_write(path, json, size));
    dns_free(json);
    assert_ok(dns_store_verify(&report, folder, NULL));
    assert_int_equal(report.verdict, DNS_VERIFY_REPAIRABLE);
}

/* Runs are part of a video's frames, and what an index of merged frames says of itself. */
static void merged_frames_count_as_the_videos_frames(void **state)
{
    (void)state;
    dns_store *store;
    dns_batch *batch;
    dns_snapshot *snapshot;
    dns_store_stat stat;
    dns_verify_report report;
    dns_store_settings settings = sample_settings();
    uint8_t codes[2 * 3 * 8] = {7};
    uint16_t runs[2] = {5, 1};
    for (int k = DNS_KIND_META + 1; k < DNS_KIND_COUNT; k++)
        settings.kept[k] = k == DNS_KIND_FINE_BINARY;
    sample_folder(folder, "runs");
    assert_ok(dns_store_create(&store, folder, &settings, NULL));
    assert_ok(dns_batch_create(&batch, store, NULL));
    const dns_record record = {.kind = DNS_KIND_FINE_BINARY,
                               .dtype = DNS_U8,
                               .rank = 3,
                               .shape = {2, 3, 8},
                               .data = codes,
                               .runs = runs};
    dns_meta meta = {.name = "v", .path = "", .imported = true, .n_frames = 5};
    assert_status(dns_batch_put(batch, &meta, &record, 1, NULL), DNS_ERR_SHAPE);
    meta.n_frames = 6;
    uint64_t id;
    assert_ok(dns_batch_put(batch, &meta, &record, 1, &id));
    assert_ok(dns_batch_commit(batch));
    assert_ok(dns_snapshot_open(&snapshot, store));
    assert_ok(dns_snapshot_stat(&stat, snapshot));
    assert_int_equal(stat.n_frames, 6);
    assert_int_equal(stat.kinds[DNS_KIND_FINE_BINARY].n_frames, 2);
    dns_snapshot_close(snapshot);
    dns_batch_free(batch);
    dns_store_close(store);
    assert_ok(dns_store_verify(&report, folder, NULL));
    assert_int_equal(report.verdict, DNS_VERIFY_OK);
    const uint16_t other[2] = {4, 1};
    sample_patch_version(folder, DNS_KIND_FINE_BINARY, DNS_RECORD_WITH_RUNS, id,
                         DNS_RECORD_HEADER + sizeof codes, other, sizeof other, true);
    assert_ok(dns_store_verify(&report, folder, NULL));
    assert_int_equal(report.verdict, DNS_VERIFY_CORRUPT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_store_gives_back_what_was_put),
        cmocka_unit_test(an_update_touches_only_what_it_names),
        cmocka_unit_test(a_put_refuses_what_does_not_fit),
        cmocka_unit_test(a_colliding_id_is_refused),
        cmocka_unit_test(records_of_other_models_and_versions_are_refused),
        cmocka_unit_test(places_are_told_without_reading),
        cmocka_unit_test(names_paths_and_ids_are_found),
        cmocka_unit_test(a_snapshot_does_not_change_while_others_write),
        cmocka_unit_test(the_journal_tells_what_changed),
        cmocka_unit_test(the_digest_does_not_depend_on_how_it_was_written),
        cmocka_unit_test(opening_tells_what_is_wrong),
        cmocka_unit_test(files_of_two_indexes_do_not_mix),
        cmocka_unit_test(kept_kinds_can_be_changed),
        cmocka_unit_test(how_frames_are_kept_is_a_setting),
        cmocka_unit_test(merged_frames_count_as_the_videos_frames),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
