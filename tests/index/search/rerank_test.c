/* Leaving comparisons early must not be seen in any answer. */
#include "support.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dnsel/cpu.h"
#include "dnsel/normalise.h"
#include "dnsel/search.h"
#include "dnsel/visil.h"
#include "fine.h"

enum { VIDEOS = 150, REGIONS = 4, DIM = 16, BITS = 64, MOST = 28, FRAME = REGIONS * DIM };

static dns_random draws;

/* A model with networks for one rule, an index of everything that they compare, and queries. */
struct world {
    dns_model *model;
    dns_store *store;
    dns_visil *nets[2]; /* binary, attention */
    float *x[VIDEOS + 4];
    size_t n_frames[VIDEOS + 4];
};

static size_t below(size_t n)
{
    return (size_t)dns_random_below(&draws, n);
}

/* Every third video shows a piece of an earlier one, more or less noisy. */
static void draw_videos(struct world *w)
{
    for (size_t v = 0; v < VIDEOS + 4; v++) {
        size_t n = w->n_frames[v] = 4 + below(MOST - 4);
        size_t like = v >= VIDEOS ? 3 * (v - VIDEOS) : v % 3 != 0 ? below(v) / 3 * 3 : v;
        double noise = v % 3 == 0 && v < VIDEOS ? 1 : 0.1 + 0.6 * dns_random_uniform(&draws);
        assert_ok(dns_alloc(&w->x[v], n * FRAME, sizeof(float)));
        for (size_t i = 0; i < n * FRAME; i++)
            w->x[v][i] = (float)(noise * dns_random_normal(&draws) / 4) +
                         (like != v ? w->x[like][i % (w->n_frames[like] * FRAME)] : 0);
        dns_normalise_forward(w->x[v], NULL, w->x[v], n * REGIONS, DIM);
    }
}

static void make_model(struct world *w, const char *path, dns_similarity_rule rule, bool calibrated)
{
    static const char *const directions[] = {"query", "target", "max", "symmetric"};
    static const char *const steps[] = {"chamfer", "same", "symmetric"};
    static const char *const sections[] = {"fine_binary", "fine_attention"};
    static const char *const kinds[] = {"{}", "{\"comparator\":\"int8\"}"};
    dns_named_tensor tensors[2][16];
    char similarity[80];
    snprintf(similarity, sizeof similarity, "{\"direction\":\"%s\",\"regions\":\"%s\"}",
             directions[rule.direction], steps[rule.regions]);
    const float x[] = {-1, 0.5F, 1}, y[] = {0.3F, 0.6F, 0.8F};
    const dns_tensor points = {.dtype = DNS_F32, .rank = 1, .shape = {3}, .data = x};
    const dns_tensor values = {.dtype = DNS_F32, .rank = 1, .shape = {3}, .data = y};
    const dns_named_tensor expected[] = {{"expected.x", points},
                                         {"expected.y", values},
                                         {"deviation.x", points},
                                         {"deviation.y", values}};
    dns_model_edit edits[6] = {
        {"name", "\"test\"", NULL, 0},
        {"coarse", "{\"kind\":\"mean\",\"dim\":16}", NULL, 0},
        {"similarity", similarity, NULL, 0},
        {"calibration", calibrated ? "{\"threshold\":0.625}" : NULL, expected, 4}};
    for (size_t i = 0; i < 2; i++) {
        const dns_visil_shape shape = {.codes = i == 0,
                                       .gate = i == 0 ? DNS_GATE_NONE : DNS_GATE_STUDENT,
                                       .dim = DIM,
                                       .hidden = i == 0 ? 0 : 8,
                                       .code_bits = i == 0 ? BITS : 0,
                                       .channels = {4, 8, 8}};
        assert_ok(dns_visil_create(&w->nets[i], &shape, rule, false));
        assert_ok(dns_visil_initialise(w->nets[i], i == 0 ? 1 : 4, &draws));
        const dns_parameters *p = dns_visil_parameters(w->nets[i]);
        size_t n = dns_parameters_count(p);
        for (size_t j = 0; j < n; j++) {
            const dns_parameter *t = dns_parameters_at(p, j);
            tensors[i][j] = (dns_named_tensor){
                t->name, dns_tensor_f32(dns_parameters_weight(p, j), t->rank, t->shape)};
        }
        edits[4 + i] = (dns_model_edit){sections[i], kinds[rule.direction % 2], tensors[i], n};
    }
    assert_ok(dns_model_edit_apply(path, edits, 6));
    assert_ok(dns_model_open(&w->model, path));
}

/* Records as an index has them; the last 4 videos are the queries. */
struct records {
    dns_record all[4];
    float vector[DIM], half_scales[MOST * REGIONS];
    uint8_t codes[MOST * REGIONS * BITS / 8];
    float weights[MOST * REGIONS * BITS];
    int8_t bytes[MOST * FRAME];
    float scales[MOST * REGIONS];
    uint16_t halves[MOST * FRAME];
};

static void make_records(struct records *r, struct world *w, size_t v, bool asymmetric)
{
    size_t n = w->n_frames[v];
    dns_visil_session *binary, *attention;
    memset(r->vector, 0, sizeof r->vector);
    for (size_t i = 0; i < n * FRAME; i++) {
        r->vector[i % DIM] += w->x[v][i];
        r->halves[i] = dns_f16_from_f32(w->x[v][i]);
    }
    dns_normalise_forward(r->vector, NULL, r->vector, 1, DIM);
    assert_ok(dns_visil_session_create(&binary, w->nets[0]));
    assert_ok(dns_visil_session_create(&attention, w->nets[1]));
    assert_ok(dns_visil_index(binary, asymmetric ? (void *)r->weights : r->codes, NULL, w->x[v], n,
                              REGIONS, asymmetric ? DNS_F32 : DNS_U8));
    assert_ok(dns_visil_index(attention, r->bytes, r->scales, w->x[v], n, REGIONS, DNS_I8));
    r->all[0] = (dns_record){
        .kind = DNS_KIND_COARSE, .dtype = DNS_F32, .rank = 1, .shape = {DIM}, .data = r->vector};
    r->all[1] = (dns_record){.kind = DNS_KIND_REGIONS,
                             .dtype = DNS_F16,
                             .rank = 3,
                             .shape = {n, REGIONS, DIM},
                             .data = r->halves};
    r->all[2] = (dns_record){.kind = DNS_KIND_FINE_BINARY,
                             .dtype = asymmetric ? DNS_F32 : DNS_U8,
                             .rank = 3,
                             .shape = {n, REGIONS, asymmetric ? BITS : BITS / 8},
                             .data = asymmetric ? (const void *)r->weights : r->codes};
    r->all[3] = (dns_record){.kind = DNS_KIND_FINE_ATTENTION,
                             .dtype = DNS_I8,
                             .rank = 3,
                             .shape = {n, REGIONS, DIM},
                             .data = r->bytes,
                             .scales = r->scales};
    dns_visil_session_free(binary);
    dns_visil_session_free(attention);
}

static void make_index(struct world *w, const char *path)
{
    static const dns_kind kinds[] = {DNS_KIND_REGIONS, DNS_KIND_FINE_BINARY,
                                     DNS_KIND_FINE_ATTENTION};
    static const dns_dtype types[] = {DNS_F16, DNS_U8, DNS_I8};
    struct records *r;
    dns_batch *batch;
    dns_store_settings settings = dns_store_settings_init();
    assert_ok(dns_alloc(&r, 1, sizeof *r));
    strcpy(settings.model_name, "test");
    settings.model = dns_model_digest(w->model);
    for (size_t i = 0; i < 3; i++) {
        settings.kept[kinds[i]] = true;
        settings.dtype[kinds[i]] = types[i];
    }
    assert_ok(dns_store_create(&w->store, path, &settings, NULL));
    assert_ok(dns_batch_create(&batch, w->store, NULL));
    for (size_t v = 0; v < VIDEOS; v++) {
        char name[32];
        snprintf(name, sizeof name, "video-%03zu", v);
        const dns_meta meta = {
            .name = name, .path = "", .imported = true, .n_frames = (uint32_t)w->n_frames[v]};
        make_records(r, w, v, false);
        /* Every tenth has nothing to be compared by. */
        assert_ok(dns_batch_put(batch, &meta, r->all, v % 10 == 9 ? 1 : 4, NULL));
    }
    assert_ok(dns_batch_commit(batch));
    dns_batch_free(batch);
    dns_free(r);
}

static struct world *open_world(dns_similarity_rule rule, bool calibrated, size_t number)
{
    struct world *w;
    char path[256];
    assert_ok(dns_alloc(&w, 1, sizeof *w));
    draws = dns_random_stream(5, number);
    draw_videos(w);
    snprintf(path, sizeof path, "%s/model-%zu", test_folder(), number);
    make_model(w, path, rule, calibrated);
    snprintf(path, sizeof path, "%s/index-%zu", test_folder(), number);
    make_index(w, path);
    return w;
}

static void close_world(struct world *w)
{
    dns_store_close(w->store);
    dns_model_close(w->model);
    for (size_t i = 0; i < 2; i++)
        dns_visil_free(w->nets[i]);
    for (size_t v = 0; v < VIDEOS + 4; v++)
        dns_free(w->x[v]);
    dns_free(w);
}

static void assert_same(const dns_answer *a, const dns_answer *b)
{
    assert_int_equal(a->n_results, b->n_results);
    assert_int_equal(a->n_pairs, b->n_pairs);
    assert_int_equal(a->n_missing, b->n_missing);
    for (size_t i = 0; i < a->n_results; i++) {
        const dns_result *x = &a->results[i], *y = &b->results[i];
        assert_string_equal(x->name, y->name);
        assert_true(x->score == y->score && x->coarse == y->coarse && x->stage == y->stage);
        assert_true(x->fine == y->fine || (isnan(x->fine) && isnan(y->fine)));
    }
}

static dns_search_options any_options(void)
{
    static const dns_router router[] = {DNS_ROUTER_COARSE, DNS_ROUTER_RANDOM, DNS_ROUTER_EXPECTED};
    static const size_t k[] = {1, 3, 10, 0};
    dns_search_options o = dns_search_options_default();
    o.k = k[below(4)];
    o.budget = below(2) ? DNS_BUDGET_ALL : DNS_BUDGET_COUNT;
    o.amount = (double)(5 + below(VIDEOS));
    o.model_router = false;
    o.router.router = router[below(3)];
    o.exclude_self = below(2);
    if (o.k == 0 || below(3) == 0)
        o.min_score = 0.4 + 0.5 * dns_random_uniform(&draws);
    return o;
}

/* Asks a stored query and one of its own; *n_left += comparisons that were left. */
static void ask_both(size_t *n_left, struct world *w, dns_fine fine, bool asymmetric,
                     dns_pool *pool)
{
    dns_searcher *searchers[2];
    struct records *r;
    assert_ok(dns_alloc(&r, 1, sizeof *r));
    for (size_t i = 0; i < 2; i++) {
        const dns_searcher_options options = {
            .pool = i == 0 ? NULL : pool, .fine = fine, .asymmetric = asymmetric};
        assert_ok(dns_searcher_open(&searchers[i], w->store, w->model, &options));
    }
    for (size_t q = 0; q < 4; q++) {
        dns_search_options o = any_options(), all = o;
        dns_answer *exact, *alone, *together;
        dns_query query = {.records = r->all, .n_records = 4};
        make_records(r, w, VIDEOS + q, asymmetric);
        if (q == 0 && !asymmetric)
            assert_ok(dns_searcher_stored_query(&query, searchers[0], "video-000"));
        all.exhaustive = true;
        assert_ok(dns_search(&exact, searchers[0], &query, &all));
        assert_ok(dns_search(&alone, searchers[0], &query, &o));
        assert_ok(dns_search(&together, searchers[1], &query, &o));
        assert_int_equal(exact->n_left, 0);
        assert_same(exact, alone);
        assert_same(exact, together);
        assert_int_equal(alone->n_left, together->n_left);
        *n_left += alone->n_left;
        dns_answer_free(exact);
        dns_answer_free(alone);
        dns_answer_free(together);
    }
    for (size_t i = 0; i < 2; i++)
        dns_searcher_close(searchers[i]);
    dns_free(r);
}

static void leaving_early_changes_no_answer(void **state)
{
    (void)state;
    static const dns_fine fine[] = {DNS_FINE_BINARY, DNS_FINE_ATTENTION, DNS_FINE_REGIONS};
    dns_pool *pool;
    size_t n_left[3] = {0}, n_asymmetric = 0;
    assert_ok(dns_pool_create(&pool, 3));
    for (size_t i = 0; i < 12; i++) {
        const dns_similarity_rule rule = {(dns_direction)(i % 4), (dns_region_step)(i / 4 % 3)};
        struct world *w = open_world(rule, (i + i / 4) % 2, i);
        for (size_t f = 0; f < 3; f++)
            ask_both(&n_left[f], w, fine[f], false, pool);
        ask_both(&n_asymmetric, w, DNS_FINE_BINARY, true, pool);
        close_world(w);
    }
    assert_true(n_left[0] > 50 && n_left[1] > 50);
    if (dns_cpu_flags() & DNS_CPU_VNNI) /* else regions are compared in floats alone */
        assert_true(n_left[2] > 50);
    assert_true(n_asymmetric > 50);
    dns_pool_free(pool);
}

/* Planned for a limit of time or not, all that can be compared is, and the rest is counted. */
static void videos_without_a_record_are_counted(void **state)
{
    (void)state;
    const dns_similarity_rule rule = {DNS_DIRECTION_MAX, DNS_REGIONS_SAME};
    struct world *w = open_world(rule, true, 100);
    for (size_t timed = 0; timed < 2; timed++) {
        dns_searcher *searcher;
        const dns_searcher_options options = {.fine = DNS_FINE_BINARY};
        dns_search_options o = dns_search_options_default();
        dns_query query;
        dns_answer *answer;
        assert_ok(dns_searcher_open(&searcher, w->store, w->model, &options));
        assert_true(dns_searcher_threshold(searcher) == 0.625);
        /* A query without a record of its own is refused; one with is not. */
        assert_status(dns_searcher_stored_query(&query, searcher, "video-019"), DNS_ERR_NOTFOUND);
        assert_ok(dns_searcher_stored_query(&query, searcher, "video-018"));
        o.k = 0;
        o.budget = DNS_BUDGET_ALL;
        o.max_seconds = timed ? 1e6 : 0;
        assert_ok(dns_search(&answer, searcher, &query, &o));
        assert_int_equal(answer->n_wanted, VIDEOS);
        assert_int_equal(answer->n_missing, VIDEOS / 10);
        assert_int_equal(answer->n_pairs, VIDEOS - VIDEOS / 10);
        for (size_t i = 0; i < VIDEOS; i++) {
            size_t v = (size_t)strtoul(answer->results[i].name + strlen("video-"), NULL, 10);
            assert_true((answer->results[i].stage == DNS_STAGE_COARSE) == (v % 10 == 9));
        }
        dns_answer_free(answer);
        dns_searcher_close(searcher);
    }
    close_world(w);
}

static void unfit_comparisons_are_refused(void **state)
{
    (void)state;
    const dns_similarity_rule rule = {DNS_DIRECTION_MAX, DNS_REGIONS_SAME};
    struct world *w = open_world(rule, false, 101);
    dns_searcher *searcher;
    const dns_searcher_options options = {.fine = DNS_FINE_REGIONS, .asymmetric = true};
    assert_status(dns_searcher_open(&searcher, w->store, w->model, &options), DNS_ERR_UNSUPPORTED);
    char path[256];
    dns_model *model;
    const dns_model_edit edit = {"fine_attention", "{\"comparator\":\"int4\"}", NULL, 0};
    snprintf(path, sizeof path, "%s/model-101", test_folder());
    assert_ok(dns_model_edit_apply(path, &edit, 1));
    assert_ok(dns_model_open(&model, path));
    dns_mapcnn_form form;
    assert_status(dns_fine_model_comparator(&form, model, DNS_FINE_ATTENTION), DNS_ERR_FORMAT);
    assert_ok(dns_fine_model_comparator(&form, model, DNS_FINE_BINARY));
    assert_int_equal(form, DNS_MAPCNN_F32);
    dns_model_close(model);
    close_world(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(leaving_early_changes_no_answer),
        cmocka_unit_test(videos_without_a_record_are_counted),
        cmocka_unit_test(unfit_comparisons_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
