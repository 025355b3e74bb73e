#include "support.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "dnsel/feature_import.h"

/* Made-up features: row v has 1 + v % 7 frames of 9 regions of 8 values. */
enum { ROWS = 30, REGIONS = 9, DIM = 8 };
struct made {
    size_t n, first;
    size_t wrong_dim, no_frames, not_finite; /* rows; SIZE_MAX: none */
    char name[32];
};

static const char *id_of(void *payload, size_t row)
{
    struct made *m = payload;
    snprintf(m->name, sizeof m->name, "row/%02zu", m->first + row);
    return m->name;
}

static dns_status shape_of(size_t shape[3], void *payload, size_t row)
{
    struct made *m = payload;
    shape[0] = row == m->no_frames ? 0 : 1 + (m->first + row) % 7;
    shape[1] = REGIONS;
    shape[2] = row == m->wrong_dim ? DIM + 1 : DIM;
    return DNS_OK;
}

static void draw(float *x, size_t number, size_t n_frames)
{
    dns_random random = dns_random_stream(3, number);
    for (size_t r = 0; r < n_frames * REGIONS; r++) {
        double square = 0;
        for (size_t k = 0; k < DIM; k++) {
            x[r * DIM + k] = (float)dns_random_normal(&random);
            square += (double)x[r * DIM + k] * (double)x[r * DIM + k];
        }
        for (size_t k = 0; k < DIM; k++)
            x[r * DIM + k] /= (float)sqrt(square);
    }
}

static dns_status read_row(float *x, void *payload, size_t row)
{
    struct made *m = payload;
    size_t shape[3];
    shape_of(shape, payload, row);
    draw(x, m->first + row, shape[0]);
    if (row == m->not_finite)
        x[5] = NAN;
    return DNS_OK;
}

static dns_feature_source source_of(struct made *made)
{
    return (dns_feature_source){.name = "made-up",
                                .n = made->n,
                                .payload = made,
                                .id = id_of,
                                .shape = shape_of,
                                .read = read_row,
                                .file_size = 100,
                                .mtime_ns = 1};
}

static struct made whole(size_t n)
{
    return (struct made){
        .n = n, .wrong_dim = SIZE_MAX, .no_frames = SIZE_MAX, .not_finite = SIZE_MAX};
}

static dns_model *model;
static dns_embedder *embedder;

static int setup(void **state)
{
    (void)state;
    char directory[256];
    snprintf(directory, sizeof directory, "%s/model", test_folder());
    const dns_model_edit edits[] = {{"name", "\"test\"", NULL, 0},
                                    {"coarse", "{\"kind\":\"mean\",\"dim\":8}", NULL, 0}};
    assert_ok(dns_model_edit_apply(directory, edits, 2));
    assert_ok(dns_model_open(&model, directory));
    assert_ok(dns_embedder_create_for_features(&embedder, model, DIM));
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    dns_embedder_free(embedder);
    dns_model_close(model);
    return 0;
}

static dns_store *new_index(const char *name)
{
    char directory[256];
    dns_store *store;
    dns_store_settings settings = dns_embedder_settings(embedder);
    settings.dtype[DNS_KIND_REGIONS] = DNS_F32;
    snprintf(directory, sizeof directory, "%s/%s", test_folder(), name);
    assert_ok(dns_store_create(&store, directory, &settings, NULL));
    return store;
}

static dns_digest contents(dns_store *store)
{
    dns_snapshot *snapshot;
    dns_digest digest;
    assert_ok(dns_snapshot_open(&snapshot, store));
    assert_ok(dns_snapshot_digest(&digest, snapshot, NULL));
    dns_snapshot_close(snapshot);
    return digest;
}

/* Every row is there, at least 4 frames long, with the very values. */
static void rows_become_records_without_video(void **state)
{
    (void)state;
    static float x[7 * REGIONS * DIM], all[7 * REGIONS * DIM];
    struct made made = whole(ROWS);
    dns_feature_source source = source_of(&made);
    dns_store *store = new_index("whole");
    dns_snapshot *snapshot;
    dns_ingest_report report;
    const dns_ingest_options options = {0};
    assert_ok(dns_ingest_features(&report, store, embedder, &source, 1, 1 << 20, &options));
    assert_int_equal(report.n_added, ROWS);
    assert_int_equal(report.n_failures, 0);
    dns_ingest_report_free(&report);
    assert_ok(dns_snapshot_open(&snapshot, store));
    for (size_t v = 0; v < ROWS; v++) {
        static const size_t extended[] = {4, 4, 6, 4, 5, 6, 7};
        size_t n = 1 + v % 7, frame = REGIONS * DIM;
        uint64_t id;
        dns_meta meta;
        dns_record record;
        assert_ok(dns_snapshot_find(&id, snapshot, id_of(&made, v)));
        assert_ok(dns_snapshot_meta(&meta, snapshot, id));
        assert_true(meta.imported);
        assert_string_equal(meta.name, id_of(&made, v));
        assert_int_equal(meta.n_frames, extended[v % 7]);
        assert_ok(dns_snapshot_get(&record, snapshot, DNS_KIND_REGIONS, id, true));
        assert_int_equal(dns_record_frames(&record), extended[v % 7]);
        assert_int_equal(record.shape[0], n == 1 ? 1 : extended[v % 7]); /* equal ones are merged */
        draw(x, v, n);
        assert_ok(dns_record_to_f32(all, &record));
        for (size_t t = 0; t < extended[v % 7]; t++)
            assert_memory_equal(all + t * frame, x + t % n * frame, frame * sizeof *x);
        assert_ok(dns_snapshot_get(&record, snapshot, DNS_KIND_COARSE, id, true));
    }
    dns_snapshot_close(snapshot);
    dns_store_close(store);
}

/* Parts in any order and number of threads end with the same contents; what is there is left. */
static void an_import_goes_on_where_it_was(void **state)
{
    (void)state;
    struct made all = whole(ROWS), half = whole(ROWS / 2);
    dns_feature_source source = source_of(&all), first = source_of(&half);
    dns_store *store = new_index("parts"), *at_once = new_index("at-once");
    dns_pool *pool;
    dns_ingest_report report;
    assert_ok(dns_pool_create(&pool, 3));
    const dns_ingest_options options = {.pool = pool};
    dns_cancel cancel = {true};
    const dns_ingest_options stopped = {.cancel = &cancel}, dry = {.dry_run = true};
    assert_ok(dns_ingest_features(&report, at_once, embedder, &source, 1, 1 << 20, &dry));
    assert_int_equal(report.n_added, ROWS);
    dns_ingest_report_free(&report);
    assert_ok(dns_ingest_features(&report, at_once, embedder, &source, 1, 1 << 20, &options));
    assert_int_equal(report.n_added, ROWS);
    dns_ingest_report_free(&report);
    assert_ok(dns_ingest_features(&report, store, embedder, &source, 1, 1 << 20, &stopped));
    assert_true(report.interrupted);
    assert_int_equal(report.n_added, 0);
    dns_ingest_report_free(&report);
    assert_ok(dns_ingest_features(&report, store, embedder, &first, 1, 1 << 20, &options));
    assert_int_equal(report.n_added, ROWS / 2);
    dns_ingest_report_free(&report);
    assert_ok(dns_ingest_features(&report, store, embedder, &source, 1, 1 << 20, &options));
    assert_int_equal(report.n_added, ROWS - ROWS / 2);
    assert_int_equal(report.n_unchanged, ROWS / 2);
    dns_ingest_report_free(&report);
    dns_digest a = contents(store), b = contents(at_once);
    assert_true(dns_digest_equal(&a, &b));
    source.mtime_ns++; /* a new version of the file */
    assert_ok(dns_ingest_features(&report, store, embedder, &source, 1, 1 << 20, &options));
    assert_int_equal(report.n_updated, ROWS);
    dns_ingest_report_free(&report);
    dns_store_close(store);
    dns_store_close(at_once);
    dns_pool_free(pool);
}

static void a_bad_row_costs_one_line(void **state)
{
    (void)state;
    struct made bad = whole(10), again = whole(2);
    bad.wrong_dim = 2;
    bad.no_frames = 4;
    bad.not_finite = 6;
    const dns_feature_source sources[] = {source_of(&bad), source_of(&again)};
    dns_store *store = new_index("bad");
    dns_ingest_report report;
    const dns_ingest_options options = {0};
    /* 6 frames are too much: row 5; rows 12 and 13 of the second source are new, 0 and 1 are not */
    assert_ok(
        dns_ingest_features(&report, store, embedder, sources, 2, 6 * REGIONS * DIM - 1, &options));
    assert_int_equal(report.n_failures, 6);
    assert_int_equal(report.n_added, 6);
    static const struct {
        const char *path;
        dns_status status;
    } expected[] = {{"made-up: row/00", DNS_ERR_EXISTS}, {"made-up: row/01", DNS_ERR_EXISTS},
                    {"made-up: row/02", DNS_ERR_SHAPE},  {"made-up: row/04", DNS_ERR_ARG},
                    {"made-up: row/05", DNS_ERR_LIMIT},  {"made-up: row/06", DNS_ERR_LIMIT}};
    for (size_t i = 0; i < 6; i++) {
        assert_string_equal(report.failures[i].path, expected[i].path);
        assert_int_equal(report.failures[i].status, expected[i].status);
        assert_non_null(strstr(report.failures[i].message, expected[i].path));
    }
    dns_ingest_report_free(&report);
    assert_ok(dns_ingest_features(&report, store, embedder, sources, 1, 1 << 20, &options));
    assert_int_equal(report.n_failures, 3);
    assert_int_equal(report.failures[2].status, DNS_ERR_RANGE);
    dns_ingest_report_free(&report);
    dns_store_close(store);
}

static void an_embedder_of_features_knows_its_limits(void **state)
{
    (void)state;
    dns_embedder *other;
    dns_embedder_session *session;
    dns_embedding embedding;
    dns_store_settings settings = dns_embedder_settings(embedder);
    float x[DIM] = {0};
    assert_status(dns_embedder_create_for_features(&other, model, DIM + 1), DNS_ERR_SHAPE);
    assert_int_equal(dns_embedder_dim(embedder), DIM);
    assert_ok(dns_embedder_check(embedder, &settings));
    settings.kept[DNS_KIND_FINE_BINARY] = true;
    assert_status(dns_embedder_check(embedder, &settings), DNS_ERR_UNSUPPORTED);
    assert_ok(dns_embedder_session_create(&session, embedder));
    assert_status(dns_embed_file(&embedding, session, "any.mp4", NULL), DNS_ERR_UNSUPPORTED);
    assert_status(dns_embed_features(&embedding, session, x, 0, 1), DNS_ERR_ARG);
    assert_ok(dns_embed_features(&embedding, session, x, 1, 1));
    assert_int_equal(embedding.n_frames, 4);
    x[3] = INFINITY;
    assert_status(dns_embed_features(&embedding, session, x, 1, 1), DNS_ERR_RANGE);
    dns_embedder_session_free(session);
}

static void an_index_of_another_model_is_refused(void **state)
{
    (void)state;
    char directory[256];
    dns_store *store;
    struct made made = whole(1);
    dns_feature_source source = source_of(&made);
    dns_ingest_report report;
    const dns_ingest_options options = {0};
    dns_store_settings settings = dns_embedder_settings(embedder);
    settings.model.bytes[0] ^= 1;
    snprintf(directory, sizeof directory, "%s/foreign", test_folder());
    assert_ok(dns_store_create(&store, directory, &settings, NULL));
    assert_status(dns_ingest_features(&report, store, embedder, &source, 1, 1 << 20, &options),
                  DNS_ERR_MODEL);
    dns_ingest_report_free(&report);
    dns_store_close(store);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rows_become_records_without_video),
        cmocka_unit_test(an_import_goes_on_where_it_was),
        cmocka_unit_test(a_bad_row_costs_one_line),
        cmocka_unit_test(an_embedder_of_features_knows_its_limits),
        cmocka_unit_test(an_index_of_another_model_is_refused),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
