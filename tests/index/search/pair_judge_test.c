#include <math.h>
#include <stdio.h>
#include <string.h>

#include "dnsel/classifier.h"
#include "dnsel/pair_features.h"
#include "dnsel/search.h"
#include "support.h"

/* Made-up videos of one coarse vector and one region vector each. */
enum { VIDEOS = 300, DIM = 48, TRAINED = 64 };

static float vectors[VIDEOS + 1][DIM];
static char model_directory[256], index_directory[256];

static void draw_vector(size_t v)
{
    dns_random random = dns_random_stream(3, v);
    double squares = 0;
    for (size_t j = 0; j < DIM; j++) {
        vectors[v][j] = (float)dns_random_normal(&random);
        squares += (double)vectors[v][j] * (double)vectors[v][j];
    }
    for (size_t j = 0; j < DIM; j++)
        vectors[v][j] /= (float)sqrt(squares);
}

static double duration_of(size_t v)
{
    return 1 + (double)(v % 17);
}

static void put(dns_batch *batch, size_t v)
{
    char name[32];
    snprintf(name, sizeof name, "video-%03zu", v);
    const dns_record records[] = {
        {.kind = DNS_KIND_COARSE, .dtype = DNS_F32, .rank = 1, .shape = {DIM}, .data = vectors[v]},
        {.kind = DNS_KIND_REGIONS,
         .dtype = DNS_F32,
         .rank = 3,
         .shape = {1, 1, DIM},
         .data = vectors[v]}};
    const dns_meta meta = {
        .name = name, .path = "", .imported = true, .n_frames = 1, .duration = duration_of(v)};
    assert_ok(dns_batch_put(batch, &meta, records, 2, NULL));
}

static dns_model *open_model(void)
{
    dns_model *model = NULL;
    assert_ok(dns_model_open(&model, model_directory));
    return model;
}

/* Any classifier of the kind: that it is a good one is not asked here. */
static dns_classifier *train(dns_label_task task, size_t dim, const char *origin)
{
    static const char *const names[] = {"different", "duplicate"};
    static float x[TRAINED * DNS_PAIR_FEATURES], y[TRAINED * 2], weights[TRAINED];
    dns_random random = dns_random_seed(8);
    for (size_t i = 0; i < TRAINED * DNS_PAIR_FEATURES; i++)
        x[i] = (float)dns_random_normal(&random);
    for (size_t i = 0; i < TRAINED; i++) {
        y[2 * i + (x[i * dim] > 0)] = 1;
        weights[i] = 1;
    }
    const dns_classifier_shape shape = {task, dim, 2, names, origin};
    const dns_classifier_plan plan = {.hidden = 8, .epochs = 5, .batch = 16, .rate = 1e-2};
    const dns_soft_targets targets = {y, weights, 1};
    dns_classifier *classifier = NULL;
    assert_ok(dns_classifier_train(&classifier, &shape, &plan, x, TRAINED, NULL, &targets, 1));
    memset(y, 0, sizeof y);
    return classifier;
}

static void install(dns_label_task task, size_t dim, const char *origin)
{
    dns_classifier *classifier = train(task, dim, origin);
    assert_ok(dns_classifier_install(classifier, model_directory));
    dns_classifier_free(classifier);
}

static int setup(void **state)
{
    (void)state;
    dns_batch *batch;
    dns_store *store;
    snprintf(model_directory, sizeof model_directory, "%s/model", test_folder());
    snprintf(index_directory, sizeof index_directory, "%s/index", test_folder());
    const dns_model_edit edits[] = {{"name", "\"test\"", NULL, 0},
                                    {"coarse", "{\"kind\":\"mean\",\"dim\":48}", NULL, 0}};
    assert_ok(dns_model_edit_apply(model_directory, edits, 2));
    dns_model *model = open_model();
    dns_store_settings settings = dns_store_settings_init();
    strcpy(settings.model_name, "test");
    settings.model = dns_model_digest(model);
    settings.kept[DNS_KIND_REGIONS] = true;
    settings.dtype[DNS_KIND_REGIONS] = DNS_F32;
    assert_ok(dns_store_create(&store, index_directory, &settings, NULL));
    assert_ok(dns_batch_create(&batch, store, NULL));
    for (size_t v = 0; v <= VIDEOS; v++)
        draw_vector(v);
    for (size_t v = 0; v < VIDEOS; v++)
        put(batch, v);
    assert_ok(dns_batch_commit(batch));
    dns_batch_free(batch);
    dns_store_close(store);
    dns_model_close(model);
    return 0;
}

struct opened {
    dns_model *model;
    dns_store *store;
    dns_pool *pool;
    dns_searcher *searcher;
};

static struct opened open_all(size_t n_threads)
{
    struct opened o = {.model = open_model()};
    assert_ok(dns_store_open(&o.store, index_directory, DNS_STORE_WRITE, NULL));
    assert_ok(dns_pool_create(&o.pool, n_threads));
    const dns_searcher_options how = {.pool = o.pool};
    assert_ok(dns_searcher_open(&o.searcher, o.store, o.model, &how));
    return o;
}

static void close_all(struct opened *o)
{
    dns_searcher_close(o->searcher);
    dns_pool_free(o->pool);
    dns_store_close(o->store);
    dns_model_close(o->model);
}

static dns_search_options by_pairs(size_t n_compared)
{
    dns_search_options options = dns_search_options_default();
    options.k = 0;
    options.budget = DNS_BUDGET_COUNT;
    options.amount = (double)n_compared;
    options.model_router = false;
    options.router.router = DNS_ROUTER_PAIR;
    return options;
}

static size_t number(const dns_result *r)
{
    size_t v = 0;
    assert_int_equal(sscanf(r->name, "video-%zu", &v), 1);
    return v;
}

static void the_most_probable_pairs_are_compared(void **state)
{
    (void)state;
    char origin[33];
    dns_model *model = open_model();
    dns_digest before = dns_model_digest(model);
    dns_digest_text(&before, origin);
    dns_model_close(model);
    install(DNS_LABEL_PAIR, DNS_PAIR_FEATURES, origin);
    dns_classifier *classifier = train(DNS_LABEL_PAIR, DNS_PAIR_FEATURES, origin);
    for (size_t n_threads = 1; n_threads <= 3; n_threads += 2) {
        struct opened o = open_all(n_threads);
        const dns_digest after = dns_model_digest(o.model);
        assert_true(dns_digest_equal(&before, &after));
        assert_true(dns_searcher_offers(o.searcher, DNS_ROUTER_PAIR));
        assert_false(dns_searcher_offers(o.searcher, DNS_ROUTER_SELECTOR));
        const dns_search_options options = by_pairs(20);
        dns_query query;
        dns_answer *answer;
        assert_ok(dns_searcher_stored_query(&query, o.searcher, "video-005"));
        assert_true(query.duration == duration_of(5));
        assert_ok(dns_search(&answer, o.searcher, &query, &options));
        assert_int_equal(answer->n_results, VIDEOS);
        assert_int_equal(answer->n_pairs, 20);
        assert_int_equal(answer->router, DNS_ROUTER_PAIR);
        float least = 1, most = 0;
        for (size_t i = 0; i < answer->n_results; i++) {
            const dns_result *r = &answer->results[i];
            const size_t v = number(r);
            float x[DNS_PAIR_FEATURES], p[2];
            const dns_pair_side a = {vectors[5], 0, duration_of(5)},
                                b = {vectors[v], 0, duration_of(v)};
            dns_pair_features(x, &a, &b, DIM);
            assert_ok(dns_classifier_predict(p, classifier, x, 1, NULL));
            assert_true(fabsf(p[1] - r->probability) < 1e-6F);
            if (r->stage == DNS_STAGE_FINE)
                least = fminf(least, r->probability);
            else
                most = fmaxf(most, r->probability);
        }
        assert_true(least >= most);
        dns_answer_free(answer);
        close_all(&o);
    }
    dns_classifier_free(classifier);
}

static void a_changed_index_is_judged_anew(void **state)
{
    (void)state;
    struct opened o = open_all(1);
    dns_search_options options = by_pairs(VIDEOS + 1);
    dns_query query;
    dns_answer *answer;
    dns_batch *batch;
    assert_ok(dns_searcher_stored_query(&query, o.searcher, "video-005"));
    assert_ok(dns_search(&answer, o.searcher, &query, &options));
    assert_int_equal(answer->n_videos, VIDEOS);
    const uint64_t middle = answer->results[0].id;
    dns_answer_free(answer);
    assert_ok(dns_batch_create(&batch, o.store, NULL));
    put(batch, VIDEOS);
    assert_ok(dns_batch_commit(batch));
    assert_ok(dns_search(&answer, o.searcher, &query, &options));
    assert_int_equal(answer->n_videos, VIDEOS + 1);
    for (size_t i = 0; i < answer->n_results; i++)
        assert_true(isfinite(answer->results[i].probability));
    dns_answer_free(answer);
    options.first_id = middle;
    assert_ok(dns_search(&answer, o.searcher, &query, &options));
    assert_true(answer->n_videos < VIDEOS);
    for (size_t i = 0; i < answer->n_results; i++)
        assert_true(answer->results[i].id >= middle && isfinite(answer->results[i].probability));
    dns_answer_free(answer);
    options.router.router = DNS_ROUTER_COARSE;
    assert_ok(dns_search(&answer, o.searcher, &query, &options));
    assert_true(isnan(answer->results[0].probability));
    dns_answer_free(answer);
    dns_batch_free(batch);
    close_all(&o);
}

static void what_is_no_judge_of_these_pairs_is_not_asked(void **state)
{
    (void)state;
    const struct {
        dns_label_task task;
        size_t dim;
        const char *origin;
    } others[] = {{DNS_LABEL_PAIR, DNS_PAIR_FEATURES, "another model"},
                  {DNS_LABEL_PAIR, DNS_PAIR_FEATURES - 1, NULL},
                  {DNS_LABEL_CLASS, DNS_PAIR_FEATURES, NULL}};
    for (size_t i = 0; i <= sizeof others / sizeof *others; i++) {
        const dns_model_edit none = {"classifier", NULL, NULL, 0};
        if (i < sizeof others / sizeof *others)
            install(others[i].task, others[i].dim, others[i].origin);
        else
            assert_ok(dns_model_edit_apply(model_directory, &none, 1));
        struct opened o = open_all(1);
        dns_search_options options = by_pairs(3);
        dns_query query;
        dns_answer *answer;
        assert_false(dns_searcher_offers(o.searcher, DNS_ROUTER_PAIR));
        assert_ok(dns_searcher_stored_query(&query, o.searcher, "video-005"));
        assert_status(dns_search(&answer, o.searcher, &query, &options), DNS_ERR_UNSUPPORTED);
        options.model_router = true;
        assert_ok(dns_search(&answer, o.searcher, &query, &options));
        assert_int_equal(answer->router, DNS_ROUTER_COARSE);
        dns_answer_free(answer);
        close_all(&o);
    }
    dns_model *model = open_model();
    dns_classifier *classifier = NULL;
    assert_status(dns_classifier_from_model(&classifier, model), DNS_ERR_UNSUPPORTED);
    dns_model_close(model);
}

static void a_section_of_another_version_is_refused(void **state)
{
    (void)state;
    install(DNS_LABEL_PAIR, DNS_PAIR_FEATURES, NULL);
    dns_model *model = open_model();
    dns_classifier *classifier = NULL;
    assert_ok(dns_classifier_from_model(&classifier, model));
    assert_string_equal(dns_classifier_shape_of(classifier)->labels[1], "duplicate");
    dns_classifier_free(classifier);
    dns_model_close(model);
    const float number = 1;
    const dns_named_tensor tensor = {"x", dns_tensor_f32(&number, 1, (size_t[]){1})};
    const struct {
        const char *json;
        dns_status expected;
    } bad[] = {{"{\"version\":\"2\",\"task\":\"pair\",\"labels\":[]}", DNS_ERR_VERSION},
               {"{\"version\":\"1\",\"task\":\"pears\",\"labels\":[]}", DNS_ERR_FORMAT},
               {"{\"version\":\"1\",\"task\":\"pair\",\"labels\":[\"a\",\"b\"]}", DNS_ERR_SHAPE}};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        const dns_model_edit edit = {"classifier", bad[i].json, &tensor, 1};
        assert_ok(dns_model_edit_apply(model_directory, &edit, 1));
        model = open_model();
        assert_status(dns_classifier_from_model(&classifier, model), bad[i].expected);
        assert_null(classifier);
        dns_model_close(model);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_most_probable_pairs_are_compared),
        cmocka_unit_test(a_changed_index_is_judged_anew),
        cmocka_unit_test(what_is_no_judge_of_these_pairs_is_not_asked),
        cmocka_unit_test(a_section_of_another_version_is_refused),
    };
    return cmocka_run_group_tests(tests, setup, NULL);
}
