#include "support.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "dnsel/coarse_ann.h"
#include "dnsel/coarse_recall.h"
#include "dnsel/search.h"

/* Videos of a coarse vector alone, in clusters. */
enum { VIDEOS = 600, DIM = 32, CLUSTERS = 30, K = 8 };

static dns_model *model;
static dns_store *store;
static dns_batch *batch;
static char directory[256], path[300];
static size_t n_indexes;

static void draw(float *x, size_t v, size_t version)
{
    dns_random cluster = dns_random_stream(5, v % CLUSTERS),
               own = dns_random_stream(1000 + version, v);
    double square = 0;
    for (size_t i = 0; i < DIM; i++) {
        x[i] = (float)(dns_random_normal(&cluster) + 0.4 * dns_random_normal(&own));
        square += (double)x[i] * (double)x[i];
    }
    for (size_t i = 0; i < DIM; i++)
        x[i] /= (float)sqrt(square);
}

static uint64_t id_of(size_t v)
{
    char name[32];
    snprintf(name, sizeof name, "video-%04zu", v);
    return dns_id_of_name(name);
}

static void put(size_t v, size_t version)
{
    float x[DIM];
    char name[32];
    draw(x, v, version);
    snprintf(name, sizeof name, "video-%04zu", v);
    const dns_record record = {
        .kind = DNS_KIND_COARSE, .dtype = DNS_F32, .rank = 1, .shape = {DIM}, .data = x};
    const dns_meta meta = {.name = name, .path = "", .imported = true};
    assert_ok(dns_batch_put(batch, &meta, &record, 1, NULL));
}

static int setup(void **state)
{
    (void)state;
    char model_directory[256];
    snprintf(model_directory, sizeof model_directory, "%s/model", test_folder());
    const dns_model_edit edits[] = {{"name", "\"test\"", NULL, 0},
                                    {"coarse", "{\"kind\":\"mean\",\"dim\":32}", NULL, 0}};
    assert_ok(dns_model_edit_apply(model_directory, edits, 2));
    assert_ok(dns_model_open(&model, model_directory));
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    dns_model_close(model);
    return 0;
}

static void begin(const char *factory, size_t n)
{
    snprintf(directory, sizeof directory, "%s/index-%zu", test_folder(), n_indexes++);
    snprintf(path, sizeof path, "%s/" DNS_COARSE_ANN_FILE, directory);
    dns_store_settings settings = dns_store_settings_init();
    strcpy(settings.model_name, "test");
    strcpy(settings.ann, factory);
    settings.model = dns_model_digest(model);
    assert_ok(dns_store_create(&store, directory, &settings, NULL));
    assert_ok(dns_batch_create(&batch, store, NULL));
    for (size_t v = 0; v < n; v++)
        put(v, 0);
    assert_ok(dns_batch_commit(batch));
}

static void end(void)
{
    dns_batch_free(batch);
    dns_store_close(store);
}

static dns_coarse_ann_report refresh(bool rebuild)
{
    dns_snapshot *snapshot;
    dns_coarse_ann_report report;
    assert_ok(dns_snapshot_open(&snapshot, store));
    assert_ok(dns_coarse_ann_refresh(&report, snapshot, rebuild, NULL, NULL));
    dns_snapshot_close(snapshot);
    return report;
}

static dns_coarse_ann_state look(void)
{
    dns_snapshot *snapshot;
    dns_coarse_ann_state state;
    assert_ok(dns_snapshot_open(&snapshot, store));
    assert_ok(dns_coarse_ann_look(&state, snapshot, true));
    dns_snapshot_close(snapshot);
    return state;
}

static dns_answer *ask(dns_coarse_scan scan, size_t query)
{
    dns_searcher *searcher;
    dns_answer *answer;
    float vector[DIM];
    const dns_searcher_options how = {.fine = DNS_FINE_AUTO};
    dns_search_options options = dns_search_options_default();
    options.k = K;
    options.scan = scan;
    assert_ok(dns_searcher_open(&searcher, store, model, &how));
    draw(vector, query, 77);
    const dns_record record = {
        .kind = DNS_KIND_COARSE, .dtype = DNS_F32, .rank = 1, .shape = {DIM}, .data = vector};
    const dns_query asked = {.records = &record, .n_records = 1};
    assert_ok(dns_search(&answer, searcher, &asked, &options));
    dns_searcher_close(searcher);
    return answer;
}

/* How many results of FAISS are those of the exact scan, scores included. */
static size_t count_same(dns_coarse_scan by, size_t query)
{
    size_t n = 0;
    dns_answer *exact = ask(DNS_SCAN_EXACT, query), *other = ask(DNS_SCAN_FAISS, query);
    assert_int_equal(other->scan, by);
    assert_true((other->scan_note[0] == '\0') == (by == DNS_SCAN_FAISS));
    assert_int_equal(other->n_results, K);
    for (size_t i = 0; i < other->n_results; i++)
        for (size_t j = 0; j < exact->n_results; j++)
            n += other->results[i].id == exact->results[j].id &&
                 other->results[i].coarse == exact->results[j].coarse;
    dns_answer_free(exact);
    dns_answer_free(other);
    return n;
}

static void the_kind_follows_setting_and_size(void **state)
{
    (void)state;
    char factory[DNS_ANN_FACTORY];
    assert_ok(dns_coarse_ann_factory(factory, "", 20000));
    assert_string_equal(factory, "Flat");
    assert_ok(dns_coarse_ann_factory(factory, "auto", 225960));
    assert_string_equal(factory, "IVF1024,SQ8");
    assert_ok(dns_coarse_ann_factory(factory, "none", 225960));
    assert_string_equal(factory, "");
    assert_ok(dns_coarse_ann_factory(factory, "HNSW32", 1));
    assert_string_equal(factory, "HNSW32");
    assert_status(dns_coarse_ann_factory(factory, "BFlat", 1), DNS_ERR_ARG);
    assert_status(dns_coarse_ann_factory(factory, "IVF16,Nonsense", 1), DNS_ERR_ARG);
}

static void every_kind_is_built_asked_changed_and_compared(void **state)
{
    (void)state;
    static const struct {
        const char *setting, *factory;
        double recall;
        bool can_remove;
    } cases[] = {{"", "Flat", 1, true},
                 {"IVF8,SQ8", "IVF8,SQ8", 0.9, true},
                 {"IVF8,Flat", "IVF8,Flat", 0.9, true},
                 {"SQ8", "SQ8", 0.95, true},
                 {"PQ16", "PQ16", 0.6, true},
                 {"HNSW16", "HNSW16", 0.9, false},
                 {"IVF8,PQ16,RFlat", "IVF8,PQ16,RFlat", 0.9, false}};
    for (size_t c = 0; c < sizeof cases / sizeof cases[0]; c++) {
        begin(cases[c].setting, VIDEOS);
        assert_false(look().exists);
        dns_coarse_ann_report r = refresh(false);
        assert_true(r.rebuilt && r.recall >= cases[c].recall);
        assert_string_equal(r.factory, cases[c].factory);
        assert_int_equal(r.n_vectors, VIDEOS);
        dns_coarse_ann_state s = look();
        assert_true(s.exists && s.usable && s.current);
        assert_int_equal(s.n_wrong, 0);
        assert_int_equal(s.info.effort, r.effort);
        r = refresh(false); /* nothing to do */
        assert_false(r.rebuilt);
        assert_int_equal(r.n_changed, 0);
        size_t n_same = 0;
        for (size_t q = 0; q < 20; q++)
            n_same += count_same(DNS_SCAN_FAISS, q);
        assert_true((double)n_same >= cases[c].recall * 20 * K);

        for (size_t v = VIDEOS; v < VIDEOS + 20; v++) /* new ones only */
            put(v, 0);
        assert_ok(dns_batch_commit(batch));
        r = refresh(false);
        assert_false(r.rebuilt);
        assert_int_equal(r.n_changed, 20);
        assert_int_equal(look().n_wrong, 0);
        for (size_t v = 0; v < 10; v++)
            assert_ok(dns_batch_remove(batch, id_of(v)));
        put(30, 1);
        assert_ok(dns_batch_commit(batch));
        r = refresh(false);
        assert_int_equal(r.rebuilt, !cases[c].can_remove);
        assert_int_equal(r.n_vectors, VIDEOS + 10);
        s = look();
        assert_true(s.usable && s.current);
        assert_int_equal(s.n_wrong, 0);
        end();
    }
}

static void what_the_file_is_too_old_for_is_seen_all_the_same(void **state)
{
    (void)state;
    begin("Flat", VIDEOS);
    refresh(false);
    dns_answer *before = ask(DNS_SCAN_FAISS, 3);
    for (size_t i = 0; i < 3; i++)
        assert_ok(dns_batch_remove(batch, before->results[i].id));
    put(VIDEOS + 3, 0);
    put(33, 5);             /* changed within its cluster, */
    put(4, 900 * CLUSTERS); /* and another */
    assert_ok(dns_batch_commit(batch));
    dns_coarse_ann_state s = look();
    assert_true(s.usable && !s.current);
    assert_int_equal(s.n_changed, 6);
    assert_int_equal(s.n_wrong, 0);
    for (size_t q = 0; q < 20; q++)
        assert_int_equal(count_same(DNS_SCAN_FAISS, q), K);
    dns_answer *after = ask(DNS_SCAN_FAISS, 3);
    for (size_t i = 0; i < after->n_results; i++)
        for (size_t j = 0; j < 3; j++)
            assert_true(after->results[i].id != before->results[j].id);
    dns_answer_free(before);
    dns_answer_free(after);

    for (size_t v = 100; v < 200; v++) /* too much to look at each */
        put(v, 2);
    assert_ok(dns_batch_commit(batch));
    assert_int_equal(count_same(DNS_SCAN_EXACT, 3), K);
    end();
}

static void one_searcher_sees_the_file_that_took_the_place(void **state)
{
    (void)state;
    dns_searcher *searcher;
    dns_answer *answer;
    dns_search_options options = dns_search_options_default();
    const dns_searcher_options how = {.fine = DNS_FINE_AUTO};
    float vector[DIM];
    options.k = K;
    options.scan = DNS_SCAN_FAISS;
    begin("Flat", VIDEOS);
    refresh(false);
    assert_ok(dns_searcher_open(&searcher, store, model, &how));
    draw(vector, 3, 77);
    const dns_record record = {
        .kind = DNS_KIND_COARSE, .dtype = DNS_F32, .rank = 1, .shape = {DIM}, .data = vector};
    const dns_query asked = {.records = &record, .n_records = 1};
    for (size_t round = 0; round < 5; round++) {
        for (size_t v = 0; v < 50; v++)
            put(VIDEOS + 50 * round + v, 0);
        put(VIDEOS + 1000 * CLUSTERS + 3, 76 + round);
        assert_ok(dns_batch_commit(batch));
        if (round % 2 == 1)
            refresh(false);
        assert_ok(dns_search(&answer, searcher, &asked, &options));
        dns_answer *exact = ask(DNS_SCAN_EXACT, 3);
        if (round % 2 == 1)
            assert_int_equal(answer->scan, DNS_SCAN_FAISS);
        for (size_t i = 0; i < K; i++)
            assert_int_equal(answer->results[i].id, exact->results[i].id);
        dns_answer_free(answer);
        dns_answer_free(exact);
    }
    dns_searcher_close(searcher);
    end();
}

static void too_few_videos_have_no_file(void **state)
{
    (void)state;
    begin("IVF64,SQ8", 40);
    dns_coarse_ann_report r = refresh(false);
    assert_string_equal(r.factory, "");
    assert_false(look().exists);
    assert_int_equal(count_same(DNS_SCAN_EXACT, 1), K);
    for (size_t v = 40; v < 100; v++)
        put(v, 0);
    assert_ok(dns_batch_commit(batch));
    r = refresh(false);
    assert_string_equal(r.factory, "IVF64,SQ8");
    dns_store_settings settings = *dns_store_settings_get(store);
    strcpy(settings.ann, "none");
    assert_ok(dns_store_set_kept(store, &settings));
    r = refresh(false);
    assert_string_equal(r.factory, "");
    assert_false(dns_file_exists(path));
    strcpy(settings.ann, "nothing known");
    assert_ok(dns_store_set_kept(store, &settings));
    dns_snapshot *snapshot;
    assert_ok(dns_snapshot_open(&snapshot, store));
    assert_status(dns_coarse_ann_refresh(&r, snapshot, false, NULL, NULL), DNS_ERR_ARG);
    dns_cancel cancel = {true};
    strcpy(settings.ann, "Flat");
    assert_ok(dns_store_set_kept(store, &settings));
    assert_status(dns_coarse_ann_refresh(&r, snapshot, false, NULL, &cancel), DNS_ERR_CANCELLED);
    assert_false(dns_file_exists(path));
    dns_snapshot_close(snapshot);
    end();
    assert_ok(dns_store_open(&store, directory, DNS_STORE_READ, NULL)); /* it is kept */
    assert_string_equal(dns_store_settings_get(store)->ann, "Flat");
    dns_store_close(store);
}

static void foreign_vectors_are_told(void **state)
{
    (void)state;
    dns_ann *ann;
    float x[DIM];
    begin("Flat", 50);
    dns_snapshot *snapshot;
    assert_ok(dns_snapshot_open(&snapshot, store));
    dns_ann_origin origin = {dns_store_identity(store), dns_snapshot_generation(snapshot)};
    dns_snapshot_close(snapshot);
    assert_ok(dns_ann_create(&ann, "Flat", DNS_F32, DIM));
    for (size_t v = 1; v < 52; v++) { /* 0 lacks, 50 and 51 are none, 7 is another */
        uint64_t id = id_of(v);
        draw(x, v, v == 7);
        assert_ok(dns_ann_add(ann, &id, x, 1, NULL));
    }
    assert_ok(dns_ann_save(ann, path, &origin));
    dns_coarse_ann_state s = look();
    assert_true(s.usable && s.current);
    assert_int_equal(s.n_wrong, 3 + 2); /* and two that the index has lack */
    for (size_t q = 0; q < 50; q++) {   /* what is not there is not answered */
        dns_answer *answer = ask(DNS_SCAN_FAISS, q);
        for (size_t i = 0; i < answer->n_results; i++)
            assert_true(answer->results[i].id != id_of(50) && answer->results[i].id != id_of(51));
        dns_answer_free(answer);
    }
    refresh(true);
    assert_int_equal(look().n_wrong, 0);

    origin.generation += 5; /* of a later state */
    assert_ok(dns_ann_save(ann, path, &origin));
    s = look();
    assert_true(s.exists && !s.usable && strstr(s.why, "newer") != NULL);
    assert_int_equal(count_same(DNS_SCAN_EXACT, 3), K);
    origin.generation -= 5;
    origin.source.bytes[3] ^= 1; /* of another index */
    assert_ok(dns_ann_save(ann, path, &origin));
    s = look();
    assert_true(s.exists && !s.usable && strstr(s.why, "another index") != NULL);
    assert_int_equal(count_same(DNS_SCAN_EXACT, 3), K);
    assert_true(refresh(false).rebuilt);
    assert_true(look().usable);
    dns_ann_free(ann);
    end();
}

static void ask_damaged(const uint8_t *bytes, size_t size)
{
    FILE *stream = fopen(path, "wb");
    assert_non_null(stream);
    assert_true(size == 0 || fwrite(bytes, 1, size, stream) == size);
    assert_int_equal(fclose(stream), 0);
    dns_answer *exact = ask(DNS_SCAN_EXACT, 3), *answer = ask(DNS_SCAN_FAISS, 3);
    for (size_t i = 0; i < K; i++)
        assert_int_equal(answer->results[i].id, exact->results[i].id);
    dns_answer_free(exact);
    dns_answer_free(answer);
}

static void what_scans_find_is_measured(void **state)
{
    (void)state;
    dns_coarse_recall recall[DNS_SCAN_COUNT];
    dns_snapshot *snapshot;
    float queries[3 * DIM];
    dns_cancel cancel = {true};
    begin("", 0);
    assert_ok(dns_snapshot_open(&snapshot, store));
    assert_status(dns_coarse_recall_measure(recall, snapshot, NULL, 10, NULL, NULL), DNS_ERR_ARG);
    dns_snapshot_close(snapshot);
    for (size_t v = 0; v < VIDEOS; v++)
        put(v, 0);
    assert_ok(dns_batch_commit(batch));
    assert_ok(dns_snapshot_open(&snapshot, store));
    assert_status(dns_coarse_recall_measure(recall, snapshot, NULL, 0, NULL, NULL), DNS_ERR_ARG);
    assert_status(dns_coarse_recall_measure(recall, snapshot, NULL, 10, NULL, &cancel),
                  DNS_ERR_CANCELLED);
    for (size_t q = 0; q < 3; q++)
        draw(queries + q * DIM, q, 77);
    for (size_t round = 0; round < 2; round++) {
        const float *asked = round == 0 ? NULL : queries;
        assert_ok(
            dns_coarse_recall_measure(recall, snapshot, asked, asked == NULL ? 40 : 3, NULL, NULL));
        assert_int_equal(recall[DNS_SCAN_EXACT].scan, DNS_SCAN_EXACT);
        assert_true(recall[DNS_SCAN_EXACT].recall == 1);
        assert_int_equal(recall[DNS_SCAN_INT8].scan, DNS_SCAN_INT8);
        assert_true(recall[DNS_SCAN_INT8].recall == 1);
        assert_true(recall[DNS_SCAN_CODES].recall == 1); /* all are scored */
        assert_int_equal(recall[DNS_SCAN_FAISS].scan, round == 0 ? DNS_SCAN_AUTO : DNS_SCAN_FAISS);
        assert_true(recall[DNS_SCAN_FAISS].recall == 1);
        assert_int_equal(recall[DNS_SCAN_AUTO].scan, DNS_SCAN_EXACT);
        refresh(false);
    }
    dns_store_settings settings = *dns_store_settings_get(store);
    strcpy(settings.ann, "IVF64,Flat");
    assert_ok(dns_store_set_kept(store, &settings));
    refresh(false);
    dns_ann *ann; /* that looks at one list alone */
    dns_ann_origin origin;
    assert_ok(dns_ann_load(&ann, &origin, path, NULL));
    assert_ok(dns_ann_set_effort(ann, 1));
    assert_ok(dns_ann_save(ann, path, &origin));
    dns_ann_free(ann);
    assert_ok(dns_coarse_recall_measure(recall, snapshot, NULL, 40, NULL, NULL));
    assert_true(recall[DNS_SCAN_FAISS].recall < 1 && recall[DNS_SCAN_FAISS].recall > 0.1);
    dns_snapshot_close(snapshot);
    end();
}

static void a_damaged_file_is_not_used(void **state)
{
    (void)state;
    char *bytes;
    size_t size;
    begin("IVF4,SQ8", 100);
    refresh(false);
    assert_ok(dns_file_read(&bytes, &size, path, 1 << 24));
    test_fuzz(bytes, size, 60, ask_damaged);
    ask_damaged((uint8_t *)bytes, size / 2);
    assert_false(look().usable);
    assert_true(refresh(false).rebuilt); /* sees the damage */
    assert_true(look().usable && look().n_wrong == 0);
    dns_free(bytes);
    end();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_kind_follows_setting_and_size),
        cmocka_unit_test(every_kind_is_built_asked_changed_and_compared),
        cmocka_unit_test(what_the_file_is_too_old_for_is_seen_all_the_same),
        cmocka_unit_test(one_searcher_sees_the_file_that_took_the_place),
        cmocka_unit_test(too_few_videos_have_no_file),
        cmocka_unit_test(foreign_vectors_are_told),
        cmocka_unit_test(what_scans_find_is_measured),
        cmocka_unit_test(a_damaged_file_is_not_used),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
