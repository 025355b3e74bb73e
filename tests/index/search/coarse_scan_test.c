#include "support.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dnsel/matrix.h"
#include "dnsel/search.h"

/* Videos of a coarse vector alone, in clusters, so that a query has near and far neighbours. */
enum { VIDEOS = 3000, DIM = 64, CLUSTERS = 100, K = 10 };

static float vectors[VIDEOS + 100][DIM];
static dns_model *model;
static dns_store *store;
static dns_batch *batch;
static char directory[256];

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

static const char *video_name(size_t v)
{
    static char name[32];
    snprintf(name, sizeof name, "video-%04zu", v);
    return name;
}

static void put(size_t v, size_t version)
{
    draw(vectors[v], v, version);
    const dns_record record = {
        .kind = DNS_KIND_COARSE, .dtype = DNS_F32, .rank = 1, .shape = {DIM}, .data = vectors[v]};
    const dns_meta meta = {.name = video_name(v), .path = "", .imported = true};
    assert_ok(dns_batch_put(batch, &meta, &record, 1, NULL));
}

static int setup(void **state)
{
    (void)state;
    char model_directory[256];
    dns_snapshot *snapshot;
    snprintf(model_directory, sizeof model_directory, "%s/model", test_folder());
    snprintf(directory, sizeof directory, "%s/index", test_folder());
    const dns_model_edit edits[] = {{"name", "\"test\"", NULL, 0},
                                    {"coarse", "{\"kind\":\"mean\",\"dim\":64}", NULL, 0}};
    assert_ok(dns_model_edit_apply(model_directory, edits, 2));
    assert_ok(dns_model_open(&model, model_directory));
    dns_store_settings settings = dns_store_settings_init();
    strcpy(settings.model_name, "test");
    settings.model = dns_model_digest(model);
    assert_ok(dns_store_create(&store, directory, &settings, NULL));
    assert_ok(dns_batch_create(&batch, store, NULL));
    for (size_t v = 0; v < VIDEOS; v++)
        put(v, 0);
    assert_ok(dns_batch_commit(batch));
    assert_ok(dns_snapshot_open(&snapshot, store));
    assert_ok(dns_matrix_refresh_all(snapshot, NULL, NULL));
    dns_snapshot_close(snapshot);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    dns_batch_free(batch);
    dns_store_close(store);
    dns_model_close(model);
    return 0;
}

static dns_answer *ask(dns_pool *pool, size_t query, const dns_search_options *options)
{
    dns_searcher *searcher;
    dns_answer *answer;
    float vector[DIM];
    const dns_searcher_options how = {.pool = pool, .fine = DNS_FINE_AUTO};
    assert_ok(dns_searcher_open(&searcher, store, model, &how));
    draw(vector, query, 77); /* another member of the cluster */
    const dns_record record = {
        .kind = DNS_KIND_COARSE, .dtype = DNS_F32, .rank = 1, .shape = {DIM}, .data = vector};
    const dns_query asked = {.records = &record, .n_records = 1};
    assert_ok(dns_search(&answer, searcher, &asked, options));
    dns_searcher_close(searcher);
    return answer;
}

static dns_answer *ask_by(dns_coarse_scan scan, size_t query)
{
    dns_search_options options = dns_search_options_default();
    options.k = K;
    options.scan = scan;
    return ask(NULL, query, &options);
}

static void expect_same(const dns_answer *a, const dns_answer *b)
{
    assert_int_equal(a->n_results, b->n_results);
    for (size_t i = 0; i < a->n_results; i++) {
        assert_int_equal(a->results[i].id, b->results[i].id);
        assert_true(a->results[i].score == b->results[i].score);
        assert_true(a->results[i].coarse == b->results[i].coarse);
    }
}

static void rounded_vectors_find_what_all_vectors_find(void **state)
{
    (void)state;
    size_t n_common = 0, n_codes = 0;
    for (size_t q = 0; q < 20; q++) {
        dns_answer *exact = ask_by(DNS_SCAN_EXACT, q), *small = ask_by(DNS_SCAN_INT8, q),
                   *codes = ask_by(DNS_SCAN_CODES, q), *chosen = ask_by(DNS_SCAN_AUTO, q);
        assert_int_equal(exact->scan, DNS_SCAN_EXACT);
        assert_int_equal(small->scan, DNS_SCAN_INT8);
        assert_int_equal(codes->scan, DNS_SCAN_CODES);
        assert_int_equal(chosen->scan, DNS_SCAN_EXACT); /* so few are scanned in no time */
        assert_int_equal(exact->n_videos, VIDEOS);
        assert_int_equal(small->n_videos, VIDEOS);
        assert_int_equal(small->n_scored, K);
        assert_string_equal(small->scan_note, "");
        expect_same(exact, small);
        expect_same(exact, chosen);
        assert_int_equal(codes->n_results, K);
        for (size_t i = 0; i < K; i++)
            for (size_t j = 0; j < K; j++)
                if (codes->results[i].id == exact->results[j].id) {
                    assert_true(codes->results[i].coarse == exact->results[j].coarse);
                    n_common++;
                }
        n_codes += K;
        dns_answer_free(exact);
        dns_answer_free(small);
        dns_answer_free(codes);
        dns_answer_free(chosen);
    }
    assert_true(10 * n_common > 9 * n_codes);
}

static void everything_is_scored_where_the_answer_needs_it(void **state)
{
    (void)state;
    dns_search_options options = dns_search_options_default();
    options.k = 0;
    options.scan = DNS_SCAN_INT8;
    dns_answer *answer = ask(NULL, 3, &options);
    assert_int_equal(answer->scan, DNS_SCAN_EXACT);
    assert_int_equal(answer->n_scored, VIDEOS);
    assert_int_equal(answer->n_results, VIDEOS);
    assert_true(answer->scan_note[0] != '\0');
    dns_answer_free(answer);
    options.scan = DNS_SCAN_AUTO;
    answer = ask(NULL, 3, &options);
    assert_string_equal(answer->scan_note, "");
    dns_answer_free(answer);
}

static void threads_and_left_out_videos_change_nothing_else(void **state)
{
    (void)state;
    dns_pool *pool;
    assert_ok(dns_pool_create(&pool, 3));
    dns_search_options options = dns_search_options_default();
    options.first_id = (uint64_t)1 << 63;
    for (int scan = DNS_SCAN_EXACT; scan <= DNS_SCAN_CODES; scan++) {
        options.scan = (dns_coarse_scan)scan;
        dns_answer *one = ask(NULL, 8, &options), *three = ask(pool, 8, &options);
        expect_same(one, three);
        assert_int_equal(one->scan, scan);
        assert_true(one->n_videos > VIDEOS / 3 && one->n_videos < VIDEOS * 2 / 3);
        for (size_t i = 0; i < one->n_results; i++)
            assert_true(one->results[i].id >= options.first_id);
        dns_answer_free(one);
        dns_answer_free(three);
    }
    dns_pool_free(pool);
}

/* The files are older than the index. */
static void what_was_added_and_removed_is_seen_at_once(void **state)
{
    (void)state;
    dns_search_options options = dns_search_options_default();
    dns_answer *before = ask_by(DNS_SCAN_EXACT, 7);
    uint64_t gone = before->results[0].id;
    dns_answer_free(before);
    assert_ok(dns_batch_remove(batch, gone));
    put(VIDEOS + 7, 77); /* of the cluster of query 7 */
    for (size_t v = 0; v < 50; v++)
        put(v, 1);
    assert_ok(dns_batch_commit(batch));
    for (int scan = DNS_SCAN_EXACT; scan <= DNS_SCAN_CODES; scan++) {
        dns_answer *exact = ask_by(DNS_SCAN_EXACT, 7), *other = ask_by((dns_coarse_scan)scan, 7);
        bool added = false;
        for (size_t i = 0; i < other->n_results; i++) {
            assert_true(other->results[i].id != gone);
            added |= other->results[i].id == dns_id_of_name(video_name(VIDEOS + 7));
        }
        assert_true(added);
        assert_int_equal(other->n_videos, VIDEOS);
        if (scan != DNS_SCAN_CODES)
            expect_same(exact, other);
        dns_answer_free(exact);
        dns_answer_free(other);
        options.scan = (dns_coarse_scan)scan;
        options.first_id = (uint64_t)1 << 62;
        other = ask(NULL, 7, &options);
        for (size_t i = 0; i < other->n_results; i++)
            assert_true(other->results[i].id >= options.first_id);
        dns_answer_free(other);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rounded_vectors_find_what_all_vectors_find),
        cmocka_unit_test(everything_is_scored_where_the_answer_needs_it),
        cmocka_unit_test(threads_and_left_out_videos_change_nothing_else),
        cmocka_unit_test(what_was_added_and_removed_is_seen_at_once),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
