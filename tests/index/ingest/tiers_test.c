#include "support.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "dnsel/feature_import.h"
#include "dnsel/tiers.h"

/* Made-up features: row v has 4 + v % 5 frames of 9 regions of 16 values. */
enum { ROWS = 40, REGIONS = 9, DIM = 16, FRAME = REGIONS * DIM };

static const char *id_of(void *payload, size_t row)
{
    snprintf(payload, 16, "row-%02zu", row);
    return payload;
}

static dns_status shape_of(size_t shape[3], void *payload, size_t row)
{
    (void)payload;
    shape[0] = 4 + row % 5;
    shape[1] = REGIONS;
    shape[2] = DIM;
    return DNS_OK;
}

static dns_status read_row(float *x, void *payload, size_t row)
{
    (void)payload;
    dns_random random = dns_random_stream(5, row);
    for (size_t r = 0; r < (4 + row % 5) * REGIONS; r++) {
        double square = 0;
        for (size_t k = 0; k < DIM; k++) {
            x[r * DIM + k] = (float)dns_random_normal(&random);
            square += (double)x[r * DIM + k] * (double)x[r * DIM + k];
        }
        for (size_t k = 0; k < DIM; k++)
            x[r * DIM + k] /= (float)sqrt(square);
    }
    return DNS_OK;
}

static dns_model *model;
static dns_embedder *embedder;

static int setup(void **state)
{
    (void)state;
    char directory[256];
    snprintf(directory, sizeof directory, "%s/model", test_folder());
    const dns_model_edit edits[] = {{"name", "\"test\"", NULL, 0},
                                    {"coarse", "{\"kind\":\"mean\",\"dim\":16}", NULL, 0}};
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

/* coarse, and what is given; F32 regions. */
static dns_store_settings keeping(bool codes, bool regions, bool archive)
{
    dns_store_settings settings = dns_embedder_settings(embedder);
    settings.kept[DNS_KIND_CODES] = codes;
    settings.kept[DNS_KIND_REGIONS] = regions;
    settings.kept[DNS_KIND_ARCHIVE] = archive;
    settings.dtype[DNS_KIND_REGIONS] = DNS_F32;
    return settings;
}

static dns_store *build(const char *name, const dns_store_settings *settings)
{
    char directory[256], id[16];
    dns_store *store;
    dns_ingest_report report;
    const dns_ingest_options options = {0};
    const dns_feature_source source = {.name = "made-up",
                                       .n = ROWS,
                                       .payload = id,
                                       .id = id_of,
                                       .shape = shape_of,
                                       .read = read_row};
    snprintf(directory, sizeof directory, "%s/%s", test_folder(), name);
    assert_ok(dns_store_create(&store, directory, settings, NULL));
    assert_ok(dns_ingest_features(&report, store, embedder, &source, 1, 1 << 20, &options));
    assert_int_equal(report.n_added, ROWS);
    dns_ingest_report_free(&report);
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

static void convert(dns_store *store, const dns_store_settings *wanted, dns_pool *pool)
{
    dns_ingest_report report;
    const dns_ingest_options options = {.pool = pool};
    assert_ok(dns_tiers_run(&report, store, model, wanted, &options));
    assert_int_equal(report.n_failures, 0);
    assert_int_equal(report.n_updated, ROWS);
    dns_ingest_report_free(&report);
    assert_ok(dns_tiers_run(&report, store, NULL, wanted, &options));
    assert_int_equal(report.n_unchanged, ROWS);
    dns_ingest_report_free(&report);
}

/* From regions as floats nothing is lost: the same records as of an index made so, bit for bit. */
static void records_from_regions_equal_those_built_directly(void **state)
{
    (void)state;
    dns_pool *pool;
    assert_ok(dns_pool_create(&pool, 3));
    dns_store_settings from = keeping(false, true, false), to = keeping(true, true, true);
    to.dtype[DNS_KIND_REGIONS] = DNS_I8;
    dns_store *converted = build("from", &from), *direct = build("direct", &to);
    convert(converted, &to, pool);
    dns_digest a = contents(converted), b = contents(direct);
    assert_true(dns_digest_equal(&a, &b));
    assert_int_equal(dns_store_settings_get(converted)->dtype[DNS_KIND_REGIONS], DNS_I8);
    assert_true(dns_store_settings_get(converted)->kept[DNS_KIND_ARCHIVE]);
    dns_store_close(converted);
    dns_store_close(direct);
    dns_pool_free(pool);
}

/* From the archive all is as exact as it: half a step of its int8 in each value. */
static void records_from_the_archive_are_as_exact_as_it(void **state)
{
    (void)state;
    float x[8 * FRAME];
    dns_store_settings from = keeping(false, false, true), to = keeping(false, true, false);
    dns_store *store = build("archived", &from);
    dns_snapshot *snapshot;
    convert(store, &to, NULL);
    assert_ok(dns_snapshot_open(&snapshot, store));
    assert_int_equal(dns_snapshot_count(snapshot, DNS_KIND_ARCHIVE), 0);
    for (size_t v = 0; v < ROWS; v++) {
        char id[16];
        dns_record record;
        assert_ok(dns_snapshot_get(&record, snapshot, DNS_KIND_REGIONS,
                                   dns_id_of_name(id_of(id, v)), true));
        assert_ok(read_row(x, NULL, v));
        const float *got = record.data;
        for (size_t r = 0; r < (4 + v % 5) * REGIONS; r++) {
            float largest = 0;
            for (size_t k = 0; k < DIM; k++)
                largest = fmaxf(largest, fabsf(x[r * DIM + k]));
            for (size_t k = 0; k < DIM; k++)
                assert_true(fabsf(got[r * DIM + k] - x[r * DIM + k]) <= largest / 127 * 0.501f);
        }
    }
    dns_snapshot_close(snapshot);
    dns_store_close(store);
}

static void stop_at_ten(void *payload, size_t done, size_t total, const char *unit)
{
    (void)total, (void)unit;
    if (done == 10)
        atomic_store(&((dns_cancel *)payload)->wanted, true);
}

static void an_interrupted_conversion_goes_on(void **state)
{
    (void)state;
    dns_store_settings from = keeping(false, true, false), to = keeping(true, false, true);
    dns_store *store = build("stopped", &from), *whole = build("whole", &from);
    dns_cancel cancel = {false};
    const dns_ingest_options stopping = {.cancel = &cancel, .progress = {&cancel, stop_at_ten}};
    dns_ingest_report report;
    assert_ok(dns_tiers_run(&report, store, model, &to, &stopping));
    assert_true(report.interrupted);
    assert_int_equal(report.n_updated, 10);
    dns_ingest_report_free(&report);
    dns_tiers_plan plan;
    assert_ok(dns_tiers_plan_make(&plan, store, &to));
    assert_int_equal(plan.n_make, ROWS - 10);
    assert_true(plan.makes[DNS_KIND_ARCHIVE] && plan.makes[DNS_KIND_CODES]);
    assert_int_equal(plan.dim, DIM);
    const dns_ingest_options on = {0}, dry = {.dry_run = true};
    assert_ok(dns_tiers_run(&report, store, model, &to, &dry));
    assert_int_equal(report.n_updated, ROWS - 10);
    dns_ingest_report_free(&report);
    assert_ok(dns_tiers_run(&report, store, model, &to, &on));
    assert_int_equal(report.n_updated, ROWS - 10);
    assert_int_equal(report.n_unchanged, 10);
    dns_ingest_report_free(&report);
    convert(whole, &to, NULL);
    dns_digest a = contents(store), b = contents(whole);
    assert_true(dns_digest_equal(&a, &b));
    dns_store_close(store);
    dns_store_close(whole);
}

static void what_cannot_be_done_is_refused_untouched(void **state)
{
    (void)state;
    dns_store_settings from = keeping(false, false, false), to = keeping(true, false, false);
    dns_store *store = build("bare", &from);
    dns_digest before = contents(store);
    dns_ingest_report report;
    dns_tiers_plan plan;
    const dns_ingest_options options = {0};
    assert_ok(dns_tiers_plan_make(&plan, store, &to));
    assert_int_equal(plan.n_homeless, ROWS);
    assert_status(dns_tiers_run(&report, store, model, &to, &options), DNS_ERR_UNSUPPORTED);
    assert_non_null(strstr(dns_status_message(), "neither archive nor whole regions"));
    dns_digest after = contents(store);
    assert_true(dns_digest_equal(&before, &after));
    assert_false(dns_store_settings_get(store)->kept[DNS_KIND_CODES]);
    dns_store_close(store);

    from = keeping(false, true, false);
    store = build("mistakes", &from);
    assert_status(dns_tiers_run(&report, store, NULL, &to, &options), DNS_ERR_ARG);
    to.kept[DNS_KIND_FINE_BINARY] = true;
    to.dtype[DNS_KIND_FINE_BINARY] = DNS_U8;
    assert_status(dns_tiers_run(&report, store, model, &to, &options), DNS_ERR_UNSUPPORTED);
    to = keeping(false, false, false);
    to.dtype[DNS_KIND_COARSE] = DNS_U8;
    assert_status(dns_tiers_run(&report, store, model, &to, &options), DNS_ERR_ARG);
    char directory[256];
    dns_model *other;
    snprintf(directory, sizeof directory, "%s/other", test_folder());
    const dns_model_edit edits[] = {{"name", "\"other\"", NULL, 0},
                                    {"coarse", "{\"kind\":\"mean\",\"dim\":16}", NULL, 0},
                                    {"similarity", "{\"direction\":\"query\"}", NULL, 0}};
    assert_ok(dns_model_edit_apply(directory, edits, 3));
    assert_ok(dns_model_open(&other, directory));
    to = keeping(true, true, false);
    assert_status(dns_tiers_run(&report, store, other, &to, &options), DNS_ERR_MODEL);
    dns_model_close(other);
    dns_store_close(store);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(records_from_regions_equal_those_built_directly),
        cmocka_unit_test(records_from_the_archive_are_as_exact_as_it),
        cmocka_unit_test(an_interrupted_conversion_goes_on),
        cmocka_unit_test(what_cannot_be_done_is_refused_untouched),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
