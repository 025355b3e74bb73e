#include "dnsel/trial.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "dnsel/frame_similarity.h"
#include "dnsel/sampler.h"
#include "dnsel/video_similarity.h"
#include "support.h"
#include "synthetic_set.h"

enum { DIM = 64, REGIONS = 3 };

static const test_set_options small = {.n_scenes = 12,
                                       .n_folds = 3,
                                       .dim = DIM,
                                       .n_regions = REGIONS,
                                       .n_copies = 2,
                                       .n_hosts = 2,
                                       .noise = 1,
                                       .seed = 7};
static dns_training_set *set;
static dns_trial trial;

static int setup(void **state)
{
    (void)state;
    char path[512];
    snprintf(path, sizeof path, "%s/set", test_folder());
    test_set_write(path, &small);
    assert_ok(dns_training_set_open(&set, path));
    dns_trial_options o = dns_trial_options_default();
    o.fold = 1;
    assert_ok(dns_trial_create(&trial, set, &o));
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    dns_trial_free(&trial);
    dns_training_set_close(set);
    return 0;
}

static void a_trial_asks_for_copies_of_one_fold(void **state)
{
    (void)state;
    size_t n_videos = 0, n_asked = 0, n_embedded = 0, n_parts = 0;
    for (size_t i = 0; i < dns_training_set_n_videos(set); i++) {
        const dns_training_video *v = dns_training_set_video(set, i);
        n_videos += !v->host;
        n_asked += !v->host && v->fold == 1;
    }
    assert_int_equal(trial.database.n, n_videos);
    assert_true(n_asked > 0);
    assert_int_equal(trial.queries.n, n_asked * 5);
    for (size_t i = 0; i < trial.queries.n; i++) {
        const dns_training_video *v = dns_training_set_video(set, trial.query_video[i]);
        size_t n = 0, frames = trial.queries.n_frames[i];
        assert_true(v->fold == 1 && !v->host);
        for (size_t j = 0; j < trial.database.n; j++) {
            bool same = dns_training_set_video(set, trial.database_video[j])->scene == v->scene;
            assert_int_equal(trial.relevant[i * trial.database.n + j], same);
            n += same;
        }
        assert_int_equal(trial.n_relevant[i], n);
        if (strcmp(trial.query_edit[i], "embed") == 0) {
            n_embedded++;
            assert_in_range(frames, 15 + 3, 40 + 8);
        } else if (strcmp(trial.query_edit[i], "part") == 0) {
            n_parts++;
            assert_in_range(frames, 3, 8);
        }
    }
    assert_int_equal(n_embedded, 2 * n_asked);
    assert_int_equal(n_parts, n_asked);
}

static void some_queries_may_be_drawn_and_nothing_is_an_error(void **state)
{
    (void)state;
    dns_trial some, again;
    dns_trial_options o = dns_trial_options_default();
    o.per_video = 2;
    assert_ok(dns_trial_create(&some, set, &o));
    assert_ok(dns_trial_create(&again, set, &o));
    assert_int_equal(some.queries.n, 2 * some.database.n);
    assert_memory_equal(some.queries.frames, again.queries.frames,
                        some.queries.n_all * sizeof *some.queries.frames);
    dns_trial_free(&some);
    dns_trial_free(&again);
    o.fold = 17;
    assert_status(dns_trial_create(&some, set, &o), DNS_ERR_ARG);
}

/* Region vectors compared by the layers, frame by frame. */
static float by_definition(size_t query, size_t target, dns_similarity_rule rule)
{
    float q[48 * REGIONS * DIM], t[48 * REGIONS * DIM], map[48 * 48];
    size_t n = trial.queries.n_frames[query], m = trial.database.n_frames[target];
    dns_frame_scratch scratch = {0};
    dns_clips_read_one(q, set, &trial.queries, query);
    dns_clips_read_one(t, set, &trial.database, target);
    for (; n < 4; n *= 2)
        memcpy(q + n * REGIONS * DIM, q, n * REGIONS * DIM * sizeof *q);
    const dns_frame_pair pair = {
        .x = q, .y = t, .n_query = n, .n_target = m, .n_regions = REGIONS, .dim = DIM};
    assert_ok(dns_frame_similarity_forward(map, NULL, &pair, rule.regions, &scratch));
    const dns_score_map whole = {.map = map, .rows = n, .columns = m};
    dns_frame_scratch_free(&scratch);
    return dns_video_similarity_forward(&whole, rule.direction);
}

static void plain_scores_follow_the_rule(void **state)
{
    (void)state;
    static float scores[64 * 16];
    const dns_similarity_rule rules[] = {{DNS_DIRECTION_QUERY, DNS_REGIONS_CHAMFER},
                                         {DNS_DIRECTION_MAX, DNS_REGIONS_SAME},
                                         {DNS_DIRECTION_MAX, DNS_REGIONS_SYMMETRIC}};
    for (size_t r = 0; r < 3; r++) {
        const dns_fine_comparison how = {.rule = rules[r]};
        assert_ok(dns_clip_fine_scores(scores, dns_trial_queries(&trial),
                                       dns_trial_database(&trial), &how, NULL, NULL));
        for (size_t i = 0; i < trial.queries.n * trial.database.n; i += 7)
            assert_float_equal(scores[i],
                               by_definition(i / trial.database.n, i % trial.database.n, rules[r]),
                               2e-3);
    }
    dns_cancel cancel = {0};
    atomic_store(&cancel.wanted, true);
    const dns_fine_comparison how = {.rule = rules[0]};
    assert_status(dns_clip_fine_scores(scores, dns_trial_queries(&trial),
                                       dns_trial_database(&trial), &how, NULL, &cancel),
                  DNS_ERR_CANCELLED);
}

/* The same scores from the matrix, from pairs, and by any number of threads; codes too. */
static void networks_and_codes_agree_with_themselves(void **state)
{
    (void)state;
    static float scores[64 * 16], together[64 * 16], codes[DIM * DIM];
    dns_visil *net;
    dns_pool *pool;
    dns_random random = dns_random_seed(4);
    for (size_t i = 0; i < DIM * DIM; i++)
        codes[i] = (float)dns_random_normal(&random);
    const dns_visil_shape shape = {.padding = DNS_PADDING_ZERO, .dim = DIM, .channels = {4, 4, 4}};
    const dns_similarity_rule rule = {DNS_DIRECTION_MAX, DNS_REGIONS_SAME};
    assert_ok(dns_visil_create(&net, &shape, rule, false));
    assert_ok(dns_visil_initialise(net, 1, &random));
    assert_ok(dns_pool_create(&pool, 3));
    const dns_fine_comparison ways[] = {
        {.net = net}, {.rule = rule, .codes = codes, .n_bits = DIM}, {.rule = rule}};
    for (size_t w = 0; w < 3; w++) {
        size_t n = trial.queries.n * trial.database.n;
        double ap[64], mean;
        assert_ok(dns_clip_fine_scores(scores, dns_trial_queries(&trial),
                                       dns_trial_database(&trial), &ways[w], NULL, NULL));
        assert_ok(dns_clip_fine_scores(together, dns_trial_queries(&trial),
                                       dns_trial_database(&trial), &ways[w], pool, NULL));
        assert_memory_equal(scores, together, n * sizeof *scores);
        assert_ok(dns_trial_precision(&mean, ap, &trial, scores));
        if (!(mean > 0.6))
            fail_msg("way %zu: mAP %.3f of noisy copies", w, mean);
        dns_clip_range database = dns_trial_database(&trial);
        assert_ok(dns_clip_fine_scores(scores, database, database, &ways[w], NULL, NULL));
        const dns_coarse_pair pairs[] = {{0, 1}, {3, 3}, {5, 2}};
        float some[3];
        assert_ok(dns_clip_pair_scores(some, database, pairs, 3, &ways[w], pool));
        for (size_t p = 0; p < 3; p++)
            assert_true(some[p] == scores[pairs[p].query * database.n + pairs[p].target]);
    }
    dns_pool_free(pool);
    dns_visil_free(net);
}

static void means_and_scalars_of_clips(void **state)
{
    (void)state;
    static float a[64 * DIM], b[16 * DIM], scores[64 * 16], scalars[16], again[16];
    dns_coarse *mean;
    dns_selector *selector;
    dns_random random = dns_random_seed(2);
    double ap[64], map;
    const dns_coarse_shape shape = {.kind = DNS_COARSE_MEAN, .dim = DIM, .out = DIM};
    const dns_selector_shape sizes = {
        .dim = DIM, .hidden = 4, .channels = {8, 8, 8}, .widths = {4, 4}};
    assert_ok(dns_coarse_create(&mean, &shape, false));
    assert_ok(dns_clip_embed(a, dns_trial_queries(&trial), mean, NULL));
    assert_ok(dns_clip_embed(b, dns_trial_database(&trial), mean, NULL));
    assert_ok(dns_clip_coarse_scores(scores, a, trial.queries.n, b, trial.database.n, DIM));
    assert_true(b[0] != 0);
    assert_ok(dns_trial_precision(&map, ap, &trial, scores));
    assert_true(map > 0.5);
    assert_ok(dns_selector_create(&selector, &sizes, false));
    dns_selector_initialise(selector, &random);
    assert_ok(dns_clip_scalars(scalars, dns_trial_database(&trial), selector, NULL));
    assert_ok(dns_clip_scalars(again, dns_trial_database(&trial), selector, NULL));
    assert_memory_equal(scalars, again, trial.database.n * sizeof *scalars);
    assert_true(scalars[0] != scalars[1]);
    dns_selector_free(selector);
    dns_coarse_free(mean);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_trial_asks_for_copies_of_one_fold),
        cmocka_unit_test(some_queries_may_be_drawn_and_nothing_is_an_error),
        cmocka_unit_test(plain_scores_follow_the_rule),
        cmocka_unit_test(networks_and_codes_agree_with_themselves),
        cmocka_unit_test(means_and_scalars_of_clips),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
