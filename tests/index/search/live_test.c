#include "support.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "dnsel/coarse_ann.h"
#include "dnsel/matrix.h"
#include "dnsel/search.h"

/* One process exchanges ten videos for ten others again and again while another asks: an even
 * generation holds the videos called b, an odd one those called a, and all of them one that stays.
 */
enum { REGIONS = 9, DIM = 16, FRAMES = 5, VALUES = FRAMES * REGIONS * DIM, SET = 10, COMMITS = 60 };

static dns_model *model;
static char directory[256];

static void put(dns_batch *batch, const char *name)
{
    static float x[VALUES], coarse[DIM];
    dns_random random = dns_random_stream(11, dns_id_of_name(name));
    for (size_t i = 0; i < VALUES; i++)
        x[i] = (float)dns_random_normal(&random) / 4;
    for (size_t i = 0; i < DIM; i++)
        coarse[i] = (float)dns_random_normal(&random) / 4;
    const dns_record records[] = {
        {.kind = DNS_KIND_COARSE, .dtype = DNS_F32, .rank = 1, .shape = {DIM}, .data = coarse},
        {.kind = DNS_KIND_REGIONS,
         .dtype = DNS_F32,
         .rank = 3,
         .shape = {FRAMES, REGIONS, DIM},
         .data = x}};
    const dns_meta meta = {.name = name, .path = "", .imported = true, .n_frames = FRAMES};
    assert_ok(dns_batch_put(batch, &meta, records, 2, NULL));
}

static const char *video_name(char set, size_t i)
{
    static char name[16];
    snprintf(name, sizeof name, "%c-%02zu", set, i);
    return name;
}

static int setup(void **state)
{
    (void)state;
    char model_directory[256];
    dns_store *store;
    dns_batch *batch;
    snprintf(model_directory, sizeof model_directory, "%s/model", test_folder());
    snprintf(directory, sizeof directory, "%s/index", test_folder());
    const dns_model_edit edits[] = {{"name", "\"test\"", NULL, 0},
                                    {"coarse", "{\"kind\":\"mean\",\"dim\":16}", NULL, 0}};
    assert_ok(dns_model_edit_apply(model_directory, edits, 2));
    assert_ok(dns_model_open(&model, model_directory));
    dns_store_settings settings = dns_store_settings_init();
    strcpy(settings.model_name, "test");
    settings.model = dns_model_digest(model);
    settings.kept[DNS_KIND_REGIONS] = true;
    settings.dtype[DNS_KIND_REGIONS] = DNS_F32;
    assert_ok(dns_store_create(&store, directory, &settings, NULL));
    assert_ok(dns_batch_create(&batch, store, NULL));
    put(batch, "stays");
    for (size_t i = 0; i < SET; i++)
        put(batch, video_name('a', i));
    assert_ok(dns_batch_commit(batch));
    dns_batch_free(batch);
    dns_store_close(store);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    dns_model_close(model);
    return 0;
}

/* The other process; ends with 0 when all went well. */
static int write_and_write(void)
{
    dns_store *store;
    dns_batch *batch;
    if (dns_store_open(&store, directory, DNS_STORE_WRITE, NULL) != DNS_OK ||
        dns_batch_create(&batch, store, NULL) != DNS_OK)
        return 1;
    for (size_t c = 0; c < COMMITS; c++) {
        char old = c % 2 == 0 ? 'a' : 'b', new = c % 2 == 0 ? 'b' : 'a';
        for (size_t i = 0; i < SET; i++) {
            if (dns_batch_remove(batch, dns_id_of_name(video_name(old, i))) != DNS_OK)
                return 2;
            put(batch, video_name(new, i));
        }
        if (dns_batch_commit(batch) != DNS_OK)
            return 3;
        dns_snapshot *snapshot;
        dns_coarse_ann_report report;
        if (c % 3 == 0 && (dns_snapshot_open(&snapshot, store) != DNS_OK ||
                           dns_matrix_refresh(snapshot, DNS_MATRIX_COARSE, NULL, NULL) != DNS_OK ||
                           dns_coarse_ann_refresh(&report, snapshot, false, NULL, NULL) != DNS_OK))
            return 4;
        if (c % 3 == 0)
            dns_snapshot_close(snapshot);
    }
    dns_batch_free(batch);
    dns_store_close(store);
    return 0;
}

/* By coarse vectors alone, through FAISS where its file can be used. */
static void check_few(dns_searcher *searcher, const dns_query *query)
{
    dns_answer *answer;
    dns_search_options options = dns_search_options_default();
    options.k = 5;
    options.budget = DNS_BUDGET_NONE;
    options.scan = DNS_SCAN_FAISS;
    assert_ok(dns_search(&answer, searcher, query, &options));
    char set = answer->generation % 2 == 1 ? 'a' : 'b';
    assert_int_equal(answer->n_videos, SET + 1);
    assert_int_equal(answer->n_results, 5);
    assert_string_equal(answer->results[0].name, "stays");
    for (size_t i = 1; i < answer->n_results; i++)
        assert_int_equal(answer->results[i].name[0], set);
    dns_answer_free(answer);
}

static void check_answer(const dns_answer *answer)
{
    char set = answer->generation % 2 == 1 ? 'a' : 'b';
    assert_int_equal(answer->n_videos, SET + 1);
    assert_int_equal(answer->n_results, SET + 1);
    assert_int_equal(answer->n_pairs, SET + 1);
    for (size_t i = 0; i < answer->n_results; i++) {
        const dns_result *r = &answer->results[i];
        assert_int_equal(r->stage, DNS_STAGE_FINE);
        assert_true(strcmp(r->name, "stays") == 0 || r->name[0] == set);
    }
    assert_string_equal(answer->results[0].name, "stays");
}

static void every_answer_is_of_one_generation_while_another_process_writes(void **state)
{
    (void)state;
    dns_store *store;
    dns_searcher *searcher;
    dns_search_options options = dns_search_options_default();
    options.k = 0;
    int code = -1;
    size_t n_answers = 0;
    uint64_t last = 0, generations = 0;
    fflush(NULL);
    pid_t writer = fork();
    assert_true(writer >= 0);
    if (writer == 0)
        _exit(write_and_write());
    assert_ok(dns_store_open(&store, directory, DNS_STORE_READ, NULL));
    const dns_searcher_options how = {.fine = DNS_FINE_AUTO};
    assert_ok(dns_searcher_open(&searcher, store, model, &how));
    for (bool running = true; running; n_answers++) {
        dns_query query;
        dns_answer *answer;
        running = waitpid(writer, &code, WNOHANG) == 0;
        assert_ok(dns_searcher_stored_query(&query, searcher, "stays"));
        assert_ok(dns_search(&answer, searcher, &query, &options));
        assert_true(answer->generation >= last);
        generations += answer->generation > last;
        last = answer->generation;
        check_answer(answer);
        dns_answer_free(answer);
        check_few(searcher, &query);
    }
    assert_int_equal(code, 0);
    assert_int_equal(last, COMMITS + 1);
    assert_true(generations > 1 && n_answers > 1);
    dns_searcher_close(searcher);
    dns_store_close(store);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_answer_is_of_one_generation_while_another_process_writes),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
