/* Records that become smaller: shorter codes, merged frames. */
#include "support.h"

#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "dnsel/feature_import.h"
#include "dnsel/normalise.h"
#include "dnsel/search.h"
#include "dnsel/tiers.h"
#include "dnsel/visil.h"

/* Row v: 12 frames of which some repeat the one before, and some nearly. */
enum { ROWS = 12, FRAMES = 12, REGIONS = 9, DIM = 16, FRAME = REGIONS * DIM, BITS = 192 };

static const char *id_of(void *payload, size_t row)
{
    snprintf(payload, 16, "row-%02zu", row);
    return payload;
}

static dns_status shape_of(size_t shape[3], void *payload, size_t row)
{
    (void)payload, (void)row;
    shape[0] = FRAMES;
    shape[1] = REGIONS;
    shape[2] = DIM;
    return DNS_OK;
}

static dns_status read_row(float *x, void *payload, size_t row)
{
    (void)payload;
    dns_random random = dns_random_stream(9, row);
    for (size_t t = 0; t < FRAMES; t++) {
        double fresh = t % 4 == 0 ? 1 : t % 4 == 2 ? 0.05 : 0;
        for (size_t i = 0; i < FRAME; i++)
            x[t * FRAME + i] = (t > 0 && fresh < 1 ? x[(t - 1) * FRAME + i] : 0) +
                               (float)(fresh * dns_random_normal(&random) / 4);
        if (fresh > 0)
            dns_normalise_forward(x + t * FRAME, NULL, x + t * FRAME, REGIONS, DIM);
    }
    return DNS_OK;
}

static dns_model *model;
static dns_embedder *embedder;

static int setup(void **state)
{
    (void)state;
    char directory[256];
    const dns_visil_shape shape = {
        .codes = true, .dim = DIM, .code_bits = BITS, .channels = {4, 4, 4}};
    const dns_similarity_rule rule = {DNS_DIRECTION_QUERY, DNS_REGIONS_CHAMFER};
    dns_visil *net;
    dns_random random = dns_random_seed(1);
    assert_ok(dns_visil_create(&net, &shape, rule, false));
    assert_ok(dns_visil_initialise(net, 1, &random));
    dns_parameters *p = dns_visil_parameters(net);
    dns_named_tensor tensors[16];
    for (size_t i = 0; i < dns_parameters_count(p); i++) {
        const dns_parameter *t = dns_parameters_at(p, i);
        tensors[i] = (dns_named_tensor){
            t->name, dns_tensor_f32(dns_parameters_weight(p, i), t->rank, t->shape)};
    }
    snprintf(directory, sizeof directory, "%s/model", test_folder());
    const dns_model_edit edits[] = {
        {"name", "\"test\"", NULL, 0},
        {"coarse", "{\"kind\":\"mean\",\"dim\":16}", NULL, 0},
        {"similarity", "{\"direction\":\"query\",\"regions\":\"chamfer\"}", NULL, 0},
        {"fine_binary", "{}", tensors, dns_parameters_count(p)}};
    assert_ok(dns_model_edit_apply(directory, edits, 4));
    dns_visil_free(net);
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

static dns_store_settings keeping(dns_dtype regions, size_t code_bits, float merge)
{
    dns_store_settings settings = dns_embedder_settings(embedder);
    assert_true(settings.kept[DNS_KIND_FINE_BINARY]);
    settings.kept[DNS_KIND_REGIONS] = true;
    settings.dtype[DNS_KIND_REGIONS] = regions;
    settings.code_bits = code_bits;
    settings.merge = merge;
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

/* With `with` for the model; every video changes, and none a second time. */
static void convert(dns_store *store, const dns_model *with, const dns_store_settings *wanted)
{
    dns_ingest_report report;
    const dns_ingest_options options = {0};
    assert_ok(dns_tiers_run(&report, store, with, wanted, &options));
    assert_int_equal(report.n_failures, 0);
    assert_int_equal(report.n_updated, ROWS);
    dns_ingest_report_free(&report);
    assert_ok(dns_tiers_run(&report, store, NULL, wanted, &options));
    assert_int_equal(report.n_unchanged, ROWS);
    dns_ingest_report_free(&report);
}

static void expect_equal(dns_store *a, dns_store *b)
{
    dns_digest x = contents(a), y = contents(b);
    assert_true(dns_digest_equal(&x, &y));
}

static void records_shrink_to_what_x_would_give(void **state)
{
    (void)state;
    static const dns_dtype dtypes[] = {DNS_F32, DNS_F16, DNS_I8};
    for (size_t i = 0; i < 3; i++) {
        char names[2][32];
        snprintf(names[0], sizeof names[0], "shrunk-%zu", i);
        snprintf(names[1], sizeof names[1], "direct-%zu", i);
        dns_store_settings from = keeping(dtypes[i], 0, 0), to = keeping(dtypes[i], 64, 0.5f);
        dns_store *shrunk = build(names[0], &from), *direct = build(names[1], &to);
        dns_tiers_plan plan;
        assert_ok(dns_tiers_plan_make(&plan, shrunk, &to));
        assert_int_equal(plan.n_shrink, ROWS);
        assert_int_equal(plan.n_make, 0);
        convert(shrunk, NULL, &to);
        expect_equal(shrunk, direct);
        assert_int_equal(dns_store_settings_get(shrunk)->code_bits, 64);
        dns_store_close(shrunk);
        dns_store_close(direct);
    }
}

static void only_unmerged_frames_lead_back(void **state)
{
    (void)state;
    dns_store_settings small = keeping(DNS_F32, 64, 0.5f), large = keeping(DNS_F32, 128, 0);
    dns_ingest_report report;
    const dns_ingest_options options = {0};
    dns_store *store = build("no-way-back", &small);
    assert_status(dns_tiers_run(&report, store, model, &large, &options), DNS_ERR_UNSUPPORTED);
    assert_true(dns_store_settings_get(store)->merge == 0.5f);
    dns_store_close(store);

    small.kept[DNS_KIND_ARCHIVE] = large.kept[DNS_KIND_ARCHIVE] = true;
    store = build("way-back", &small);
    convert(store, model, &large);
    dns_store_close(store);

    /* Without regions the codes are made of the archive alone, bit for bit as of itself. */
    dns_store_settings bare = small;
    bare.kept[DNS_KIND_REGIONS] = large.kept[DNS_KIND_REGIONS] = false;
    dns_store *a = build("a", &bare), *b = build("b", &bare);
    convert(a, model, &large);
    bare.merge = 0.25f;
    convert(b, model, &bare);
    convert(b, model, &large);
    expect_equal(a, b);
    dns_store_close(a);
    dns_store_close(b);

    large = keeping(DNS_F32, 256, 0);
    store = build("too-long", &small);
    assert_status(dns_tiers_run(&report, store, model, &large, &options), DNS_ERR_UNSUPPORTED);
    dns_store_close(store);
}

static dns_record record_of(const dns_snapshot *snapshot, dns_kind kind, size_t row)
{
    char id[16];
    dns_record record;
    assert_ok(dns_snapshot_get(&record, snapshot, kind, dns_id_of_name(id_of(id, row)), true));
    return record;
}

/* Frames 1 and 3 of 4 repeat the one before; frame 2 is near it. */
static void frames_within_the_distance_are_stored_once(void **state)
{
    (void)state;
    static const struct {
        float merge;
        size_t n_stored;
    } cases[] = {{0, 6}, {0.01f, 6}, {0.5f, 3}, {2, 1}};
    for (size_t c = 0; c < sizeof cases / sizeof *cases; c++) {
        char name[32];
        static float x[FRAMES * FRAME], whole[FRAMES * FRAME];
        snprintf(name, sizeof name, "merged-%zu", c);
        dns_store_settings settings = keeping(DNS_F32, 0, cases[c].merge);
        dns_store *store = build(name, &settings);
        dns_snapshot *snapshot;
        assert_ok(dns_snapshot_open(&snapshot, store));
        for (size_t v = 0; v < ROWS; v++) {
            dns_record record = record_of(snapshot, DNS_KIND_REGIONS, v);
            assert_int_equal(record.shape[0], cases[c].n_stored);
            assert_true(record.merged == cases[c].merge);
            assert_int_equal(dns_record_frames(&record), FRAMES);
            assert_ok(dns_record_to_f32(x, &record));
            assert_ok(read_row(whole, NULL, v));
            for (size_t r = 0; r < FRAMES * REGIONS; r++) {
                double square = 0;
                for (size_t i = r * DIM; i < (r + 1) * DIM; i++)
                    square += (double)(x[i] - whole[i]) * (double)(x[i] - whole[i]);
                assert_true(sqrt(square) <= (double)cases[c].merge + 1e-6);
            }
            assert_true(record_of(snapshot, DNS_KIND_FINE_BINARY, v).shape[0] <=
                        (cases[c].merge == 0 ? 6 : FRAMES));
        }
        dns_snapshot_close(snapshot);
        dns_store_close(store);
    }
}

/* The scores of all pairs of rows, by what `fine` compares. */
static void score_all(float scores[ROWS][ROWS], dns_store *store, dns_fine fine)
{
    dns_searcher *searcher;
    const dns_searcher_options how = {.fine = fine};
    dns_search_options options = dns_search_options_default();
    options.k = 0;
    options.budget = DNS_BUDGET_ALL;
    assert_ok(dns_searcher_open(&searcher, store, model, &how));
    for (size_t q = 0; q < ROWS; q++) {
        char id[16];
        dns_query query;
        dns_answer *answer;
        assert_ok(dns_searcher_stored_query(&query, searcher, id_of(id, q)));
        assert_ok(dns_search(&answer, searcher, &query, &options));
        assert_int_equal(answer->n_results, ROWS);
        for (size_t i = 0; i < ROWS; i++) {
            size_t v = 0;
            while (strcmp(answer->results[i].name, id_of(id, v)) != 0)
                v++;
            assert_int_equal(answer->results[i].stage, DNS_STAGE_FINE);
            scores[q][v] = answer->results[i].fine;
        }
        dns_answer_free(answer);
    }
    dns_searcher_close(searcher);
}

/* As merged_frames_are_exact sees it: the same videos with every frame stored. */
static dns_store *spread_out(dns_store *merged)
{
    char directory[256];
    dns_store *store;
    dns_batch *batch;
    dns_snapshot *snapshot;
    snprintf(directory, sizeof directory, "%s/spread", test_folder());
    assert_ok(dns_store_create(&store, directory, dns_store_settings_get(merged), NULL));
    assert_ok(dns_batch_create(&batch, store, NULL));
    assert_ok(dns_snapshot_open(&snapshot, merged));
    for (size_t v = 0; v < ROWS; v++) {
        static const dns_kind kinds[] = {DNS_KIND_COARSE, DNS_KIND_FINE_BINARY, DNS_KIND_REGIONS};
        static uint8_t data[3][FRAMES * FRAME * 4];
        dns_record records[3];
        dns_meta meta;
        char id[16];
        assert_ok(dns_snapshot_meta(&meta, snapshot, dns_id_of_name(id_of(id, v))));
        for (size_t k = 0; k < 3; k++) {
            records[k] = record_of(snapshot, kinds[k], v);
            if (k == 0)
                continue;
            assert_non_null(records[k].runs);
            size_t frame = records[k].size / records[k].shape[0], n = 0;
            for (size_t i = 0; i < records[k].shape[0]; i++)
                for (size_t t = 0; t < records[k].runs[i]; t++, n++)
                    memcpy(data[k] + n * frame, (const uint8_t *)records[k].data + i * frame,
                           frame);
            records[k].shape[0] = n;
            records[k].data = data[k];
            records[k].size = 0;
            records[k].runs = NULL;
        }
        assert_ok(dns_batch_put(batch, &meta, records, 3, NULL));
    }
    assert_ok(dns_batch_commit(batch));
    dns_batch_free(batch);
    dns_snapshot_close(snapshot);
    return store;
}

static void merged_frames_are_exact(void **state)
{
    (void)state;
    static const dns_fine fine[] = {DNS_FINE_REGIONS, DNS_FINE_BINARY};
    dns_store_settings settings = keeping(DNS_F32, 0, 0);
    dns_store *merged = build("exact", &settings), *spread = spread_out(merged);
    for (size_t i = 0; i < 2; i++) {
        static float a[ROWS][ROWS], b[ROWS][ROWS];
        score_all(a, merged, fine[i]);
        score_all(b, spread, fine[i]);
        assert_memory_equal(a, b, sizeof a);
    }
    dns_store_close(merged);
    dns_store_close(spread);
}

/* A conversion that is under way: some codes are long, some short, and all can be compared. */
static void a_half_converted_index_answers(void **state)
{
    (void)state;
    static float all[ROWS][ROWS], half[ROWS][ROWS], cut[ROWS][ROWS];
    dns_store_settings from = keeping(DNS_F32, 192, 0), to = keeping(DNS_F32, 64, 0);
    dns_store *store = build("half", &from), *narrow = build("narrow", &to);
    score_all(all, store, DNS_FINE_BINARY);
    score_all(cut, narrow, DNS_FINE_BINARY);
    dns_snapshot *snapshot;
    dns_batch *batch;
    assert_ok(dns_snapshot_open(&snapshot, narrow));
    assert_ok(dns_batch_create(&batch, store, NULL));
    for (size_t v = 0; v < ROWS; v += 2) {
        char id[16];
        dns_record record = record_of(snapshot, DNS_KIND_FINE_BINARY, v);
        assert_ok(dns_batch_update(batch, dns_id_of_name(id_of(id, v)), NULL, &record, 1, 0));
    }
    assert_ok(dns_batch_commit(batch));
    dns_batch_free(batch);
    dns_snapshot_close(snapshot);
    score_all(half, store, DNS_FINE_BINARY);
    for (size_t q = 0; q < ROWS; q++)
        for (size_t v = 0; v < ROWS; v++)
            assert_true(half[q][v] == (q % 2 == 0 || v % 2 == 0 ? cut[q][v] : all[q][v]));
    dns_store_close(store);
    dns_store_close(narrow);
}

/* A tenth of a second in all. */
static void slowly(void *payload, size_t done, size_t total, const char *unit)
{
    (void)payload, (void)done, (void)total, (void)unit;
    usleep(100000 / ROWS);
}

static int convert_slowly(const char *directory, const dns_store_settings *wanted)
{
    dns_store *store;
    dns_ingest_report report;
    const dns_ingest_options options = {.progress = {NULL, slowly}};
    if (dns_store_open(&store, directory, DNS_STORE_WRITE, NULL) != DNS_OK ||
        dns_tiers_run(&report, store, NULL, wanted, &options) != DNS_OK)
        return 1;
    dns_ingest_report_free(&report);
    dns_store_close(store);
    return 0;
}

/* Another process makes the index smaller and is killed, sooner or later; meanwhile and afterwards
 * every answer is whole, and the next run ends as if nothing had been. */
static void a_killed_conversion_can_be_repeated_under_readers(void **state)
{
    (void)state;
    dns_store_settings from = keeping(DNS_F32, 192, 0), to = keeping(DNS_F32, 64, 0.5f);
    dns_store *direct = build("never-killed", &to);
    static float scores[ROWS][ROWS], expected[ROWS][ROWS];
    score_all(expected, direct, DNS_FINE_BINARY);
    for (unsigned wait = 0; wait < 4; wait++) {
        char name[32], directory[256];
        snprintf(name, sizeof name, "killed-%u", wait);
        snprintf(directory, sizeof directory, "%s/%s", test_folder(), name);
        dns_store_close(build(name, &from));
        fflush(NULL);
        pid_t pid = fork();
        assert_true(pid >= 0);
        if (pid == 0)
            _exit(convert_slowly(directory, &to));
        dns_store *store;
        assert_ok(dns_store_open(&store, directory, DNS_STORE_READ, NULL));
        score_all(scores, store, DNS_FINE_BINARY);
        usleep(wait * 40000);
        score_all(scores, store, DNS_FINE_BINARY);
        kill(pid, SIGKILL);
        assert_int_equal(waitpid(pid, NULL, 0), pid);
        score_all(scores, store, DNS_FINE_BINARY);
        dns_store_close(store);
        assert_int_equal(convert_slowly(directory, &to), 0);
        assert_ok(dns_store_open(&store, directory, DNS_STORE_READ, NULL));
        score_all(scores, store, DNS_FINE_BINARY);
        assert_memory_equal(scores, expected, sizeof scores);
        expect_equal(store, direct);
        dns_store_close(store);
    }
    dns_store_close(direct);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(records_shrink_to_what_x_would_give),
        cmocka_unit_test(only_unmerged_frames_lead_back),
        cmocka_unit_test(frames_within_the_distance_are_stored_once),
        cmocka_unit_test(merged_frames_are_exact),
        cmocka_unit_test(a_half_converted_index_answers),
        cmocka_unit_test(a_killed_conversion_can_be_repeated_under_readers),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
