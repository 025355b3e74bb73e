#include "support.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dnsel/search.h"

/* Made-up videos of random region vectors; every third is a noisy copy of the one before it. */
enum { VIDEOS = 40, REGIONS = 9, DIM = 16, FRAMES = 6, VALUES = FRAMES * REGIONS * DIM };

static float regions[VIDEOS + 1][VALUES], coarse[VIDEOS + 1][DIM];
static dns_model *model;
static dns_store *store;
static char directory[256];

static void normalise(float *x)
{
    double square = 0;
    for (size_t i = 0; i < DIM; i++)
        square += (double)x[i] * (double)x[i];
    for (size_t i = 0; i < DIM; i++)
        x[i] /= (float)sqrt(square);
}

static void draw_video(size_t v, const float *like, double noise)
{
    dns_random random = dns_random_stream(7, v);
    memset(coarse[v], 0, sizeof coarse[v]);
    for (size_t i = 0; i < VALUES; i++)
        regions[v][i] = (like != NULL ? like[i] : 0) + (float)(noise * dns_random_normal(&random));
    for (size_t r = 0; r < FRAMES * REGIONS; r++) {
        normalise(regions[v] + r * DIM);
        for (size_t k = 0; k < DIM; k++)
            coarse[v][k] += regions[v][r * DIM + k];
    }
    normalise(coarse[v]);
}

static void records_of(dns_record records[2], size_t v)
{
    records[0] = (dns_record){
        .kind = DNS_KIND_COARSE, .dtype = DNS_F32, .rank = 1, .shape = {DIM}, .data = coarse[v]};
    records[1] = (dns_record){.kind = DNS_KIND_REGIONS,
                              .dtype = DNS_F32,
                              .rank = 3,
                              .shape = {FRAMES, REGIONS, DIM},
                              .data = regions[v]};
}

static void put(dns_batch *batch, size_t v)
{
    char name[32];
    dns_record records[2];
    snprintf(name, sizeof name, "video-%02zu", v);
    records_of(records, v);
    const dns_meta meta = {.name = name, .path = "", .imported = true, .n_frames = FRAMES};
    assert_ok(dns_batch_put(batch, &meta, records, 2, NULL));
}

static int setup(void **state)
{
    (void)state;
    char model_directory[256];
    dns_batch *batch;
    snprintf(model_directory, sizeof model_directory, "%s/model", test_folder());
    snprintf(directory, sizeof directory, "%s/index", test_folder());
    const dns_model_edit edits[] = {
        {"name", "\"test\"", NULL, 0},
        {"coarse", "{\"kind\":\"mean\",\"dim\":16}", NULL, 0},
        {"similarity", "{\"direction\":\"query\",\"regions\":\"chamfer\"}", NULL, 0}};
    assert_ok(dns_model_edit_apply(model_directory, edits, 3));
    assert_ok(dns_model_open(&model, model_directory));
    dns_store_settings settings = dns_store_settings_init();
    strcpy(settings.model_name, "test");
    settings.model = dns_model_digest(model);
    settings.kept[DNS_KIND_REGIONS] = true;
    settings.dtype[DNS_KIND_REGIONS] = DNS_F32;
    assert_ok(dns_store_create(&store, directory, &settings, NULL));
    assert_ok(dns_batch_create(&batch, store, NULL));
    for (size_t v = 0; v < VIDEOS; v++) {
        draw_video(v, v % 3 == 1 ? regions[v - 1] : NULL, v % 3 == 1 ? 0.15 : 1);
        put(batch, v);
    }
    draw_video(VIDEOS, regions[9], 0.3); /* the query: another copy of video 9, as video 10 is */
    assert_ok(dns_batch_commit(batch));
    dns_batch_free(batch);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    dns_store_close(store);
    dns_model_close(model);
    return 0;
}

static dns_searcher *open_searcher(dns_pool *pool, dns_fine fine)
{
    dns_searcher *searcher;
    const dns_searcher_options options = {.pool = pool, .fine = fine};
    assert_ok(dns_searcher_open(&searcher, store, model, &options));
    return searcher;
}

static dns_answer *ask(dns_searcher *searcher, size_t v, const dns_search_options *options)
{
    dns_answer *answer;
    dns_record records[2];
    records_of(records, v);
    const dns_query query = {.records = records, .n_records = 2};
    assert_ok(dns_search(&answer, searcher, &query, options));
    return answer;
}

/* Mean over query rows of the maximum over target columns of the mean over query regions of the
 * maximum over target regions. */
static double chamfer(const float *q, const float *t)
{
    double score = 0;
    for (size_t i = 0; i < FRAMES; i++) {
        double best_frame = -INFINITY;
        for (size_t j = 0; j < FRAMES; j++) {
            double sum = 0;
            for (size_t o = 0; o < REGIONS; o++) {
                double best = -INFINITY;
                for (size_t p = 0; p < REGIONS; p++) {
                    double dot = 0;
                    for (size_t k = 0; k < DIM; k++)
                        dot += (double)q[(i * REGIONS + o) * DIM + k] *
                               (double)t[(j * REGIONS + p) * DIM + k];
                    best = fmax(best, dot);
                }
                sum += best;
            }
            best_frame = fmax(best_frame, sum / REGIONS);
        }
        score += best_frame / FRAMES;
    }
    return score;
}

static size_t number(const dns_result *r)
{
    return (size_t)strtoul(r->name + strlen("video-"), NULL, 10);
}

static void everything_compared_is_ranked_by_the_fine_score(void **state)
{
    (void)state;
    dns_searcher *searcher = open_searcher(NULL, DNS_FINE_AUTO);
    assert_int_equal(dns_searcher_fine(searcher), DNS_FINE_REGIONS);
    dns_search_options options = dns_search_options_default();
    options.k = 0;
    dns_answer *answer = ask(searcher, VIDEOS, &options);
    assert_int_equal(answer->n_results, VIDEOS);
    assert_int_equal(answer->n_pairs, VIDEOS);
    assert_int_equal(number(&answer->results[0]), 9);
    assert_int_equal(number(&answer->results[1]), 10);
    for (size_t i = 0; i < VIDEOS; i++) {
        const dns_result *r = &answer->results[i];
        double expected = chamfer(regions[VIDEOS], regions[number(r)]);
        assert_int_equal(r->stage, DNS_STAGE_FINE);
        assert_true(fabs((double)r->fine - expected) < 1e-5);
        assert_true(fabs((double)r->score - (expected / 2 + 0.5)) < 1e-5);
        assert_true(i == 0 || r->score <= r[-1].score);
    }
    dns_answer_free(answer);
    dns_searcher_close(searcher);
}

/* Only the best by coarse score are looked at when no more can be in the answer. */
static void a_short_list_is_the_beginning_of_the_long_one(void **state)
{
    (void)state;
    dns_searcher *searcher = open_searcher(NULL, DNS_FINE_AUTO);
    static const size_t budgets[] = {0, 1, 7, 30, VIDEOS};
    for (size_t b = 0; b < sizeof budgets / sizeof budgets[0]; b++)
        for (size_t k = 1; k < VIDEOS; k += 6) {
            dns_search_options options = dns_search_options_default();
            options.budget = DNS_BUDGET_COUNT;
            options.amount = (double)budgets[b];
            options.k = 0;
            dns_answer *all = ask(searcher, VIDEOS, &options);
            options.k = k;
            dns_answer *some = ask(searcher, VIDEOS, &options);
            assert_int_equal(all->n_scored, VIDEOS);
            assert_true(some->n_scored <= VIDEOS && some->n_scored >= k);
            assert_int_equal(some->n_videos, VIDEOS);
            assert_int_equal(some->n_pairs, all->n_pairs);
            assert_int_equal(some->n_results, k);
            for (size_t i = 0; i < k; i++) {
                assert_int_equal(some->results[i].id, all->results[i].id);
                assert_true(some->results[i].score == all->results[i].score);
            }
            dns_answer_free(all);
            dns_answer_free(some);
        }
    dns_searcher_close(searcher);
}

static void budgets_decide_how_many_are_compared(void **state)
{
    (void)state;
    static const struct {
        dns_budget_kind kind;
        double amount;
        size_t expected;
    } cases[] = {{DNS_BUDGET_NONE, 0, 0},      {DNS_BUDGET_COUNT, 3, 3},
                 {DNS_BUDGET_SHARE, 0.25, 10}, {DNS_BUDGET_ALL, 0, VIDEOS},
                 {DNS_BUDGET_AUTO, 0, VIDEOS}, {DNS_BUDGET_COUNT, 1e9, VIDEOS}};
    dns_searcher *searcher = open_searcher(NULL, DNS_FINE_AUTO);
    dns_search_options options = dns_search_options_default();
    options.k = 0;
    for (size_t c = 0; c < sizeof cases / sizeof cases[0]; c++) {
        options.budget = cases[c].kind;
        options.amount = cases[c].amount;
        dns_answer *answer = ask(searcher, VIDEOS, &options);
        assert_int_equal(answer->n_pairs, cases[c].expected);
        assert_int_equal(answer->n_wanted, cases[c].expected);
        size_t n_fine = 0;
        for (size_t i = 0; i < VIDEOS; i++) {
            n_fine += answer->results[i].stage == DNS_STAGE_FINE;
            assert_true(i == 0 || answer->results[i].score <= answer->results[i - 1].score);
        }
        assert_int_equal(n_fine, cases[c].expected);
        dns_answer_free(answer);
    }
    dns_searcher_close(searcher);
}

/* Without fine comparisons the order is that of the cosine. */
static void coarse_alone_is_the_order_of_cosines(void **state)
{
    (void)state;
    dns_searcher *searcher = open_searcher(NULL, DNS_FINE_NONE);
    dns_search_options options = dns_search_options_default();
    options.k = 7;
    dns_answer *answer = ask(searcher, VIDEOS, &options);
    assert_int_equal(answer->n_results, 7);
    for (size_t i = 0; i < 7; i++) {
        const dns_result *r = &answer->results[i];
        double cosine = 0;
        size_t n_better = 0;
        for (size_t k = 0; k < DIM; k++)
            cosine += (double)coarse[VIDEOS][k] * (double)coarse[number(r)][k];
        for (size_t v = 0; v < VIDEOS; v++) {
            double other = 0;
            for (size_t k = 0; k < DIM; k++)
                other += (double)coarse[VIDEOS][k] * (double)coarse[v][k];
            n_better += other > cosine + 1e-9;
        }
        assert_int_equal(n_better, i);
        assert_true(fabs(cosine - (double)r->coarse) < 1e-5 && isnan(r->fine));
    }
    dns_answer_free(answer);
    dns_searcher_close(searcher);
}

static void threads_and_k_change_nothing_else(void **state)
{
    (void)state;
    dns_pool *pool;
    assert_ok(dns_pool_create(&pool, 3));
    dns_searcher *alone = open_searcher(NULL, DNS_FINE_AUTO),
                 *together = open_searcher(pool, DNS_FINE_AUTO);
    dns_search_options all = dns_search_options_default(), few = all;
    all.k = 0;
    few.k = 5;
    all.budget = few.budget = DNS_BUDGET_COUNT;
    all.amount = few.amount = 20;
    for (size_t v = 0; v <= VIDEOS; v += 8) {
        dns_answer *a = ask(alone, v, &all), *b = ask(together, v, &few);
        assert_int_equal(b->n_results, 5);
        for (size_t i = 0; i < 5; i++) {
            assert_string_equal(a->results[i].name, b->results[i].name);
            assert_true(a->results[i].score == b->results[i].score);
        }
        dns_answer_free(a);
        dns_answer_free(b);
    }
    dns_searcher_close(alone);
    dns_searcher_close(together);
    dns_pool_free(pool);
}

static void stored_videos_are_queries_and_can_be_left_out(void **state)
{
    (void)state;
    dns_searcher *searcher = open_searcher(NULL, DNS_FINE_AUTO);
    dns_search_options options = dns_search_options_default();
    dns_query query;
    dns_answer *answer;
    assert_ok(dns_searcher_stored_query(&query, searcher, "video-09"));
    assert_ok(dns_search(&answer, searcher, &query, &options));
    assert_string_equal(answer->results[0].name, "video-09");
    assert_string_equal(answer->results[1].name, "video-10");
    dns_answer_free(answer);
    options.exclude_self = true;
    assert_ok(dns_search(&answer, searcher, &query, &options));
    assert_string_equal(answer->results[0].name, "video-10");
    dns_answer_free(answer);
    options.min_score = 0.99;
    options.exclude_self = false;
    assert_ok(dns_search(&answer, searcher, &query, &options));
    assert_int_equal(answer->n_results, 1);
    dns_answer_free(answer);
    assert_status(dns_searcher_stored_query(&query, searcher, "video-99"), DNS_ERR_NOTFOUND);
    dns_searcher_close(searcher);
}

/* What is added or removed counts from the next query on. */
static void changes_are_seen_by_the_next_query(void **state)
{
    (void)state;
    dns_searcher *searcher = open_searcher(NULL, DNS_FINE_AUTO);
    dns_search_options options = dns_search_options_default();
    dns_batch *batch;
    dns_answer *answer = ask(searcher, VIDEOS, &options);
    uint64_t generation = answer->generation;
    dns_answer_free(answer);
    assert_ok(dns_batch_create(&batch, store, NULL));
    put(batch, VIDEOS);
    assert_ok(dns_batch_commit(batch));
    answer = ask(searcher, VIDEOS, &options);
    assert_true(answer->generation > generation);
    assert_int_equal(answer->n_videos, VIDEOS + 1);
    assert_int_equal(number(&answer->results[0]), VIDEOS);
    dns_answer_free(answer);
    assert_ok(dns_batch_remove(batch, dns_id_of_name("video-40")));
    assert_ok(dns_batch_commit(batch));
    answer = ask(searcher, VIDEOS, &options);
    assert_int_equal(answer->n_videos, VIDEOS);
    assert_int_equal(number(&answer->results[0]), 9);
    dns_answer_free(answer);
    dns_batch_free(batch);
    dns_searcher_close(searcher);
}

/* With time enough all are compared; with none a query is answered by what is there, the most
 * promising having come first. */
static void a_time_limit_is_planned_for(void **state)
{
    (void)state;
    dns_pool *pool;
    assert_ok(dns_pool_create(&pool, 2));
    dns_searcher *searcher = open_searcher(pool, DNS_FINE_AUTO);
    dns_search_options options = dns_search_options_default(), timed = options;
    options.k = timed.k = 0;
    timed.max_seconds = 1e6;
    for (size_t round = 0; round < 3; round++) {
        dns_answer *a = ask(searcher, VIDEOS, &options), *b = ask(searcher, VIDEOS, &timed);
        assert_int_equal(b->n_planned, VIDEOS);
        assert_int_equal(b->n_pairs, VIDEOS);
        for (size_t i = 0; i < VIDEOS; i++) {
            assert_string_equal(a->results[i].name, b->results[i].name);
            assert_true(a->results[i].score == b->results[i].score);
        }
        dns_answer_free(a);
        dns_answer_free(b);
    }
    timed.max_seconds = 1e-9;
    dns_answer *answer = ask(searcher, VIDEOS, &timed);
    assert_int_equal(answer->n_wanted, VIDEOS);
    assert_int_equal(answer->n_planned, 0); /* what a comparison costs is known by now */
    assert_int_equal(answer->n_pairs, 0);
    assert_int_equal(answer->n_results, VIDEOS);
    dns_answer_free(answer);
    dns_searcher_close(searcher);
    dns_pool_free(pool);
}

static void videos_before_the_first_are_not_there(void **state)
{
    (void)state;
    dns_searcher *searcher = open_searcher(NULL, DNS_FINE_AUTO);
    dns_search_options options = dns_search_options_default();
    options.k = 0;
    dns_answer *all = ask(searcher, VIDEOS, &options);
    options.first_id = dns_id_of_name("video-20");
    dns_answer *some = ask(searcher, VIDEOS, &options);
    size_t n = 0;
    for (size_t i = 0; i < all->n_results; i++) {
        if (all->results[i].id < options.first_id)
            continue;
        assert_true(n < some->n_results);
        assert_string_equal(some->results[n].name, all->results[i].name);
        assert_true(some->results[n++].score == all->results[i].score);
    }
    assert_int_equal(n, some->n_results);
    assert_int_equal(n, some->n_videos);
    assert_true(n > 0 && n < VIDEOS);
    dns_answer_free(some);
    options.first_id = UINT64_MAX;
    some = ask(searcher, VIDEOS, &options);
    assert_int_equal(some->n_results, 0);
    dns_answer_free(some);
    dns_answer_free(all);
    dns_searcher_close(searcher);
}

/* A model whose calibration section holds losses of 9 queries at 3 budgets. */
static dns_status promise(double *share, const char *name, float last_share, double max_loss)
{
    char path[256];
    float loss[9][3], shares[3] = {0, 0.25F, last_share};
    dns_model *calibrated;
    for (size_t q = 0; q < 9; q++) {
        loss[q][0] = 0.5F;
        loss[q][1] = 0.1F;
        loss[q][2] = 0;
    }
    const float x[] = {-1, 1}, y[] = {0, 1};
    const dns_named_tensor tensors[] = {
        {"expected.x", {.dtype = DNS_F32, .rank = 1, .shape = {2}, .data = x}},
        {"expected.y", {.dtype = DNS_F32, .rank = 1, .shape = {2}, .data = y}},
        {"deviation.x", {.dtype = DNS_F32, .rank = 1, .shape = {2}, .data = x}},
        {"deviation.y", {.dtype = DNS_F32, .rank = 1, .shape = {2}, .data = y}},
        {"budget.loss", {.dtype = DNS_F32, .rank = 2, .shape = {9, 3}, .data = loss}},
        {"budget.share", {.dtype = DNS_F32, .rank = 1, .shape = {3}, .data = shares}}};
    const dns_model_edit edits[] = {
        {"name", "\"test\"", NULL, 0},
        {"coarse", "{\"kind\":\"mean\",\"dim\":16}", NULL, 0},
        {"similarity", "{\"direction\":\"query\",\"regions\":\"chamfer\"}", NULL, 0},
        {"calibration", "{\"loss_bound\":0.5}", tensors, 6}};
    snprintf(path, sizeof path, "%s/%s", test_folder(), name);
    assert_ok(dns_model_edit_apply(path, edits, 4));
    assert_ok(dns_model_open(&calibrated, path));
    dns_searcher *searcher;
    const dns_searcher_options options = {.fine = DNS_FINE_REGIONS};
    assert_ok(dns_searcher_open(&searcher, store, calibrated, &options));
    dns_status status = dns_searcher_promise(share, searcher, max_loss);
    dns_searcher_close(searcher);
    dns_model_close(calibrated);
    return status;
}

/* The mean loss counts one more query, of the largest loss: (9 * 0.1 + 0.5) / 10 = 0.14. */
static void a_promise_about_the_loss_becomes_a_budget(void **state)
{
    (void)state;
    double share;
    assert_ok(promise(&share, "calibrated", 1, 0.141));
    assert_true(share == 0.25);
    assert_ok(promise(&share, "calibrated", 1, 0.139));
    assert_true(share == 1);
    assert_ok(promise(&share, "calibrated", 1, 0.6));
    assert_true(share == 0);
    assert_status(promise(&share, "calibrated", 1, 0.04), DNS_ERR_NOTFOUND);
    assert_status(promise(&share, "calibrated", 1, -1), DNS_ERR_ARG);
    assert_status(promise(&share, "falling", 0.2F, 0.1), DNS_ERR_RANGE);
    dns_searcher *searcher = open_searcher(NULL, DNS_FINE_AUTO);
    assert_status(dns_searcher_promise(&share, searcher, 0.1), DNS_ERR_UNSUPPORTED);
    assert_non_null(strstr(dns_status_message(), "calibration"));
    assert_true(dns_searcher_threshold(searcher) == 0.75);
    dns_searcher_close(searcher);
}

static void mistakes_are_named(void **state)
{
    (void)state;
    dns_searcher *searcher;
    dns_searcher_options options = {.fine = DNS_FINE_BINARY};
    assert_status(dns_searcher_open(&searcher, store, model, &options), DNS_ERR_UNSUPPORTED);
    char other[256];
    dns_model *foreign;
    snprintf(other, sizeof other, "%s/other", test_folder());
    const dns_model_edit edits[] = {{"name", "\"other\"", NULL, 0},
                                    {"coarse", "{\"kind\":\"mean\",\"dim\":17}", NULL, 0}};
    assert_ok(dns_model_edit_apply(other, edits, 2));
    assert_ok(dns_model_open(&foreign, other));
    options.fine = DNS_FINE_AUTO;
    assert_status(dns_searcher_open(&searcher, store, foreign, &options), DNS_ERR_MODEL);
    assert_non_null(strstr(dns_status_message(), "'test'"));
    dns_model_close(foreign);
    searcher = open_searcher(NULL, DNS_FINE_AUTO);
    dns_search_options how = dns_search_options_default();
    dns_answer *answer;
    dns_query nothing = {0};
    assert_status(dns_search(&answer, searcher, &nothing, &how), DNS_ERR_ARG);
    dns_record records[2];
    records_of(records, 0);
    records[0].shape[0] = DIM - 1;
    const dns_query bent = {.records = records, .n_records = 2};
    assert_status(dns_search(&answer, searcher, &bent, &how), DNS_ERR_SHAPE);
    dns_cancel cancel = {true};
    how.cancel = &cancel;
    records_of(records, 0);
    assert_status(dns_search(&answer, searcher, &bent, &how), DNS_ERR_CANCELLED);
    how = dns_search_options_default();
    how.model_router = false;
    how.router.router = DNS_ROUTER_SELECTOR;
    assert_status(dns_search(&answer, searcher, &bent, &how), DNS_ERR_UNSUPPORTED);
    dns_searcher_close(searcher);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(everything_compared_is_ranked_by_the_fine_score),
        cmocka_unit_test(a_short_list_is_the_beginning_of_the_long_one),
        cmocka_unit_test(budgets_decide_how_many_are_compared),
        cmocka_unit_test(coarse_alone_is_the_order_of_cosines),
        cmocka_unit_test(threads_and_k_change_nothing_else),
        cmocka_unit_test(stored_videos_are_queries_and_can_be_left_out),
        cmocka_unit_test(changes_are_seen_by_the_next_query),
        cmocka_unit_test(a_time_limit_is_planned_for),
        cmocka_unit_test(videos_before_the_first_are_not_there),
        cmocka_unit_test(a_promise_about_the_loss_becomes_a_budget),
        cmocka_unit_test(mistakes_are_named),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
