#include "support.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "dnsel/matrix.h"
#include "dnsel/rounding.h"
#include "sample.h"

static char folder[256], path[300];
static dns_store *store;
static dns_batch *batch;

static void begin(const char *name, size_t n)
{
    sample_folder(folder, name);
    sample_index(folder, n);
    snprintf(path, sizeof path, "%s/coarse.matrix", folder);
    assert_ok(dns_store_open(&store, folder, DNS_STORE_WRITE, NULL));
    assert_ok(dns_batch_create(&batch, store, NULL));
}

static void end(void)
{
    dns_batch_free(batch);
    dns_store_close(store);
}

/* The row that a record makes. */
static void expect_row(const dns_matrix_rows *rows, size_t row, dns_matrix_id id,
                       const dns_record *record)
{
    const uint8_t *got =
        (const uint8_t *)rows->vectors + row * rows->dim * dns_dtype_size(rows->dtype);
    int8_t small[SAMPLE_DIM];
    float scale;
    switch (id) {
    case DNS_MATRIX_COARSE_I8:
        assert_ok(dns_rows_to_i8(small, &scale, record->data, 1, SAMPLE_DIM));
        assert_int_equal(rows->dtype, DNS_I8);
        assert_int_equal(rows->dim, SAMPLE_DIM);
        assert_memory_equal(small, got, SAMPLE_DIM);
        assert_true(rows->scales[row] == scale);
        break;
    case DNS_MATRIX_COARSE_BITS:
        assert_ok(dns_codes_from_f32((uint8_t *)small, record->data, 1, SAMPLE_DIM));
        assert_int_equal(rows->dtype, DNS_U8);
        assert_int_equal(rows->dim, SAMPLE_DIM / 8);
        assert_memory_equal(small, got, SAMPLE_DIM / 8);
        break;
    default:
        assert_int_equal(record->dtype, rows->dtype);
        assert_int_equal(record->shape[0], rows->dim);
        assert_memory_equal(record->data, got, record->size);
        assert_true(rows->scales == NULL || rows->scales[row] == record->scales[0]);
    }
}

/* The rows are exactly the records of the snapshot, each once. */
static void expect_rows(const dns_snapshot *snapshot, dns_matrix_id id, dns_matrix_source source,
                        dns_pool *pool)
{
    dns_matrix *m;
    dns_matrix_options options = {.check = true, .pool = pool};
    dns_kind kind = id == DNS_MATRIX_CODES      ? DNS_KIND_CODES
                    : id == DNS_MATRIX_SELECTOR ? DNS_KIND_SELECTOR
                                                : DNS_KIND_COARSE;
    assert_ok(dns_matrix_open(&m, snapshot, id, &options));
    dns_matrix_rows rows = dns_matrix_get(m);
    assert_int_equal(rows.source, source);
    assert_int_equal(rows.n_rows, dns_snapshot_count(snapshot, kind));
    assert_int_equal((uintptr_t)rows.vectors % 64, 0);
    uint64_t *ids;
    size_t n;
    bool *seen;
    assert_ok(dns_snapshot_ids(&ids, &n, snapshot, kind));
    assert_ok(dns_alloc(&seen, n, sizeof *seen));
    for (size_t row = 0; row < rows.n_rows; row++) {
        dns_record record;
        assert_ok(dns_snapshot_get(&record, snapshot, kind, rows.ids[row], true));
        expect_row(&rows, row, id, &record);
        for (size_t i = 0; i < n; i++)
            if (ids[i] == rows.ids[row]) {
                assert_false(seen[i]);
                seen[i] = true;
            }
        if (source != DNS_MATRIX_PATCHED && row > 0)
            assert_true(rows.ids[row - 1] < rows.ids[row]);
    }
    assert_true((rows.reason[0] == '\0') == (source == DNS_MATRIX_FILE));
    dns_free(seen);
    dns_free(ids);
    dns_matrix_close(m);
}

static void a_matrix_is_the_snapshot_whatever_the_file_is(void **state)
{
    (void)state;
    dns_snapshot *first, *second;
    dns_pool *pool;
    assert_ok(dns_pool_create(&pool, 3));
    begin("matrix", 200);
    assert_ok(dns_snapshot_open(&first, store));
    expect_rows(first, DNS_MATRIX_COARSE, DNS_MATRIX_RECORDS, pool); /* no file yet */
    assert_ok(dns_matrix_refresh(first, DNS_MATRIX_COARSE, NULL, NULL));
    assert_ok(dns_matrix_refresh(first, DNS_MATRIX_CODES, NULL, NULL));
    expect_rows(first, DNS_MATRIX_COARSE, DNS_MATRIX_FILE, pool);
    expect_rows(first, DNS_MATRIX_CODES, DNS_MATRIX_FILE, NULL);
    expect_rows(first, DNS_MATRIX_SELECTOR, DNS_MATRIX_RECORDS, NULL);
    assert_ok(dns_matrix_refresh_all(first, NULL, NULL));
    expect_rows(first, DNS_MATRIX_SELECTOR, DNS_MATRIX_FILE, NULL);
    expect_rows(first, DNS_MATRIX_COARSE_I8, DNS_MATRIX_FILE, pool);
    assert_ok(dns_matrix_refresh(first, DNS_MATRIX_COARSE_BITS, NULL, NULL));
    expect_rows(first, DNS_MATRIX_COARSE_BITS, DNS_MATRIX_RECORDS, pool);

    for (size_t i = 0; i < 40; i++) /* changed, removed, new, removed again */
        assert_ok(sample_put(batch, 3 * i, 1));
    for (size_t i = 0; i < 30; i++)
        assert_ok(dns_batch_remove(batch, dns_id_of_name(sample_name(5 * i + 1))));
    for (size_t i = 0; i < 25; i++)
        assert_ok(sample_put(batch, 200 + i, 0));
    assert_ok(dns_batch_commit(batch));
    for (size_t i = 0; i < 5; i++)
        assert_ok(dns_batch_remove(batch, dns_id_of_name(sample_name(200 + i))));
    assert_ok(dns_batch_commit(batch));
    assert_ok(dns_snapshot_open(&second, store));
    expect_rows(second, DNS_MATRIX_COARSE, DNS_MATRIX_PATCHED, pool);
    expect_rows(second, DNS_MATRIX_CODES, DNS_MATRIX_PATCHED, NULL);
    expect_rows(second, DNS_MATRIX_COARSE_I8, DNS_MATRIX_PATCHED, NULL);
    bool current;
    char *reason;
    assert_ok(dns_matrix_verify(&current, &reason, second, DNS_MATRIX_COARSE));
    assert_false(current);
    assert_non_null(strstr(reason, "generation"));
    dns_free(reason);

    assert_ok(dns_matrix_refresh(second, DNS_MATRIX_COARSE, NULL, NULL));
    expect_rows(second, DNS_MATRIX_COARSE, DNS_MATRIX_FILE, pool);
    expect_rows(first, DNS_MATRIX_COARSE, DNS_MATRIX_RECORDS,
                pool); /* the file is newer than that snapshot */
    assert_ok(dns_matrix_verify(&current, &reason, second, DNS_MATRIX_COARSE));
    assert_true(current);
    assert_null(reason);

    /* Removing everything, then starting anew from an empty file. */
    for (size_t i = 0; i < 225; i++)
        (void)!dns_batch_remove(batch, dns_id_of_name(sample_name(i)));
    assert_ok(dns_batch_commit(batch));
    dns_snapshot_close(first);
    assert_ok(dns_snapshot_open(&first, store));
    assert_int_equal(dns_snapshot_count(first, DNS_KIND_META), 0);
    expect_rows(first, DNS_MATRIX_COARSE, DNS_MATRIX_PATCHED, NULL);
    assert_ok(dns_matrix_refresh(first, DNS_MATRIX_COARSE, NULL, NULL));
    expect_rows(first, DNS_MATRIX_COARSE, DNS_MATRIX_FILE, NULL);
    assert_ok(sample_put(batch, 1, 1));
    assert_ok(dns_batch_commit(batch));
    dns_snapshot_close(second);
    assert_ok(dns_snapshot_open(&second, store));
    expect_rows(second, DNS_MATRIX_COARSE, DNS_MATRIX_RECORDS, NULL);
    dns_snapshot_close(first);
    dns_snapshot_close(second);
    end();
    dns_pool_free(pool);
}

static void int8_codes_keep_their_scales(void **state)
{
    (void)state;
    dns_snapshot *snapshot;
    begin("int8", 0);
    for (int round = 0; round < 2; round++) {
        for (int i = 0; i < 50; i++) {
            int8_t codes[33];
            float scale = (float)(i + 1 + 100 * round);
            char name[16];
            memset(codes, i, sizeof codes);
            snprintf(name, sizeof name, "%d", i + 30 * round);
            dns_meta meta = {.name = name};
            dns_record r = {.kind = DNS_KIND_CODES,
                            .dtype = DNS_I8,
                            .rank = 1,
                            .shape = {33},
                            .data = codes,
                            .scales = &scale};
            assert_ok(dns_batch_put(batch, &meta, &r, 1, NULL));
        }
        assert_ok(dns_batch_commit(batch));
        assert_ok(dns_snapshot_open(&snapshot, store));
        if (round == 0)
            assert_ok(dns_matrix_refresh(snapshot, DNS_MATRIX_CODES, NULL, NULL));
        expect_rows(snapshot, DNS_MATRIX_CODES, round == 0 ? DNS_MATRIX_FILE : DNS_MATRIX_PATCHED,
                    NULL);
        dns_snapshot_close(snapshot);
    }
    end();
}

static void mixed_vectors_are_refused(void **state)
{
    (void)state;
    dns_snapshot *snapshot;
    dns_matrix *m;
    begin("mixed", 20);
    assert_ok(dns_snapshot_open(&snapshot, store));
    assert_status(dns_matrix_open(&m, snapshot, DNS_MATRIX_COUNT, NULL), DNS_ERR_ARG);
    assert_status(dns_matrix_refresh(snapshot, DNS_MATRIX_COUNT, NULL, NULL), DNS_ERR_ARG);
    assert_ok(dns_matrix_refresh(snapshot, DNS_MATRIX_COARSE, NULL, NULL));
    dns_snapshot_close(snapshot);
    float x[7] = {0};
    dns_record r = {.kind = DNS_KIND_COARSE, .dtype = DNS_F32, .rank = 1, .shape = {7}, .data = x};
    assert_ok(dns_batch_update(batch, dns_id_of_name(sample_name(4)), NULL, &r, 1, 0));
    assert_ok(dns_batch_commit(batch));
    assert_ok(dns_snapshot_open(&snapshot, store));
    assert_status(dns_matrix_open(&m, snapshot, DNS_MATRIX_COARSE, NULL), DNS_ERR_SHAPE);
    assert_null(m);
    assert_status(dns_matrix_refresh(snapshot, DNS_MATRIX_COARSE, NULL, NULL), DNS_ERR_SHAPE);
    assert_status(dns_matrix_open(&m, snapshot, DNS_MATRIX_COARSE_I8, NULL), DNS_ERR_SHAPE);
    dns_snapshot_close(snapshot);
    end();
}

static void a_vector_that_cannot_be_rounded_is_named(void **state)
{
    (void)state;
    dns_snapshot *snapshot;
    dns_matrix *m;
    begin("infinite", 20);
    float x[SAMPLE_DIM] = {INFINITY};
    char id[17];
    dns_id_text(dns_id_of_name(sample_name(4)), id);
    dns_record r = {
        .kind = DNS_KIND_COARSE, .dtype = DNS_F32, .rank = 1, .shape = {SAMPLE_DIM}, .data = x};
    assert_ok(dns_batch_update(batch, dns_id_of_name(sample_name(4)), NULL, &r, 1, 0));
    assert_ok(dns_batch_commit(batch));
    assert_ok(dns_snapshot_open(&snapshot, store));
    assert_status(dns_matrix_open(&m, snapshot, DNS_MATRIX_COARSE_I8, NULL), DNS_ERR_RANGE);
    assert_non_null(strstr(dns_status_message(), id));
    assert_status(dns_matrix_refresh(snapshot, DNS_MATRIX_COARSE_I8, NULL, NULL), DNS_ERR_RANGE);
    dns_snapshot_close(snapshot);
    end();
}

/* What is scanned for int8 and for bits depends on which codes an index keeps. */
static void codes_that_are_kept_are_the_ones_scanned(void **state)
{
    (void)state;
    dns_store_settings settings = dns_store_settings_init();
    assert_int_equal(dns_matrix_small(&settings, DNS_I8), DNS_MATRIX_COARSE_I8);
    assert_int_equal(dns_matrix_small(&settings, DNS_U8), DNS_MATRIX_COARSE_BITS);
    settings.kept[DNS_KIND_CODES] = true;
    settings.dtype[DNS_KIND_CODES] = DNS_U8;
    assert_int_equal(dns_matrix_small(&settings, DNS_I8), DNS_MATRIX_COARSE_I8);
    assert_int_equal(dns_matrix_small(&settings, DNS_U8), DNS_MATRIX_CODES);
    settings.dtype[DNS_KIND_CODES] = DNS_I8;
    assert_int_equal(dns_matrix_small(&settings, DNS_I8), DNS_MATRIX_CODES);
    assert_string_equal(dns_matrix_name(DNS_MATRIX_COARSE_I8), "coarse-int8.matrix");
    assert_string_equal(dns_matrix_name(DNS_MATRIX_COUNT), "unknown");
}

/* Without waiting for the disk, as dns_file_write does. */
static void overwrite(const char *bytes, size_t size)
{
    FILE *stream = fopen(path, "wb");
    assert_non_null(stream);
    assert_int_equal(fwrite(bytes, 1, size, stream), size);
    assert_int_equal(fclose(stream), 0);
}

static void a_damaged_file_costs_time_only(void **state)
{
    (void)state;
    dns_snapshot *snapshot;
    char *bytes;
    size_t size;
    begin("damaged", 60);
    assert_ok(dns_snapshot_open(&snapshot, store));
    assert_ok(dns_matrix_refresh(snapshot, DNS_MATRIX_COARSE, NULL, NULL));
    assert_ok(dns_file_read(&bytes, &size, path, 1 << 24));
    dns_random random = dns_random_seed(5);
    size_t n_unused = 0;
    for (int round = 0; round < 400; round++) {
        size_t at = dns_random_below(&random, size);
        char before = bytes[at];
        bytes[at] ^= (char)(1 << dns_random_below(&random, 8));
        overwrite(bytes, size);
        bytes[at] = before;
        bool current;
        assert_ok(dns_matrix_verify(&current, NULL, snapshot, DNS_MATRIX_COARSE));
        /* What is right all the same is padding: after the header, and between vectors and ids. */
        n_unused += current;
        if (current)
            assert_true((at >= 88 && at < 4096) ||
                        (at >= 4096 + 60 * 4 * SAMPLE_DIM && at < 4096 + 16384));
        expect_rows(snapshot, DNS_MATRIX_COARSE, current ? DNS_MATRIX_FILE : DNS_MATRIX_RECORDS,
                    NULL);
    }
    assert_true(n_unused < 200);
    for (size_t cut = 0; cut < size; cut += 511) {
        overwrite(bytes, cut);
        expect_rows(snapshot, DNS_MATRIX_COARSE, DNS_MATRIX_RECORDS, NULL);
    }
    assert_ok(dns_matrix_refresh(snapshot, DNS_MATRIX_COARSE, NULL,
                                 NULL)); /* sees the damage and writes it again */
    expect_rows(snapshot, DNS_MATRIX_COARSE, DNS_MATRIX_FILE, NULL);
    char *again;
    size_t again_size;
    assert_ok(dns_file_read(&again, &again_size, path, 1 << 24));
    assert_int_equal(size, again_size);
    assert_memory_equal(bytes, again, size);
    dns_free(again);
    dns_free(bytes);
    dns_cancel cancel = {true};
    assert_int_equal(unlink(path), 0);
    assert_status(dns_matrix_refresh(snapshot, DNS_MATRIX_COARSE, NULL, &cancel),
                  DNS_ERR_CANCELLED);
    assert_false(dns_file_exists(path));
    dns_matrix *m;
    dns_matrix_options options = {.cancel = &cancel};
    assert_status(dns_matrix_open(&m, snapshot, DNS_MATRIX_COARSE, &options), DNS_ERR_CANCELLED);
    dns_snapshot_close(snapshot);
    end();
}

static void a_file_of_another_index_is_not_used(void **state)
{
    (void)state;
    dns_snapshot *snapshot;
    char other[300], from[300];
    begin("one", 10);
    assert_ok(dns_snapshot_open(&snapshot, store));
    assert_ok(dns_matrix_refresh(snapshot, DNS_MATRIX_COARSE, NULL, NULL));
    dns_snapshot_close(snapshot);
    strcpy(from, path);
    strcpy(other, folder);
    end();
    begin("two", 10);
    assert_int_equal(rename(from, path), 0);
    assert_ok(dns_snapshot_open(&snapshot, store));
    expect_rows(snapshot, DNS_MATRIX_COARSE, DNS_MATRIX_RECORDS, NULL);
    dns_snapshot_close(snapshot);
    end();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_matrix_is_the_snapshot_whatever_the_file_is),
        cmocka_unit_test(int8_codes_keep_their_scales),
        cmocka_unit_test(mixed_vectors_are_refused),
        cmocka_unit_test(a_vector_that_cannot_be_rounded_is_named),
        cmocka_unit_test(codes_that_are_kept_are_the_ones_scanned),
        cmocka_unit_test(a_damaged_file_costs_time_only),
        cmocka_unit_test(a_file_of_another_index_is_not_used),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
