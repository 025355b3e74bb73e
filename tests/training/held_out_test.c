#include "dnsel/held_out.h"

#include <stdio.h>
#include <string.h>

#include "support.h"
#include "synthetic_set.h"

enum { DIM = 16 };

static const test_set_options small = {.n_scenes = 16,
                                       .n_folds = 2,
                                       .dim = DIM,
                                       .n_regions = 3,
                                       .n_copies = 2,
                                       .n_hosts = 2,
                                       .noise = 1,
                                       .seed = 7};
static dns_training_set *set;
static dns_coarse *mean;

static int setup(void **state)
{
    (void)state;
    char path[512];
    snprintf(path, sizeof path, "%s/set", test_folder());
    test_set_write(path, &small);
    assert_ok(dns_training_set_open(&set, path));
    assert_ok(dns_coarse_plain_mean(&mean, DIM));
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    dns_coarse_free(mean);
    dns_training_set_close(set);
    return 0;
}

/* What was not trained is the same for all folds. */
static void untrained_scores_are_those_of_one_trial(void **state)
{
    (void)state;
    dns_held_out out;
    const dns_similarity_rule rule = {DNS_DIRECTION_MAX, DNS_REGIONS_SAME};
    const dns_held_out_options o = {.comparison = {.rule = rule},
                                    .direction = DNS_DIRECTION_MAX,
                                    .coarse_net = mean,
                                    .trial = dns_trial_options_default()};
    assert_ok(dns_held_out_scores(&out, set, &o, NULL));
    size_t n = out.trial.queries.n * out.trial.database.n;
    float *scores;
    assert_ok(dns_alloc(&scores, n, sizeof *scores));
    assert_ok(dns_clip_fine_scores(scores, dns_trial_queries(&out.trial),
                                   dns_trial_database(&out.trial), &o.comparison, NULL, NULL));
    assert_memory_equal(scores, out.fine, n * sizeof *scores);
    assert_ok(dns_trial_coarse_scores(scores, &out.trial, mean, NULL));
    test_assert_close("coarse", scores, out.coarse, n, 1e-6, 0);
    dns_free(scores);
    dns_held_out_free(&out);
}

/* The rows of a fold come from networks that were trained without it. */
static void trained_scores_come_from_networks_without_the_fold(void **state)
{
    (void)state;
    dns_held_out out, again;
    dns_fine_options fine = dns_fine_options_default(DNS_FINE_ATTENTION, DNS_FINE_MEASURED);
    dns_coarse_learning_options coarse = dns_coarse_learning_options_default(DNS_COARSE_CONTRAST);
    char path[256];
    fine.trainer.steps = coarse.steps = 4;
    fine.sampler.batch = coarse.sampler.batch = 4;
    coarse.rate = 1e-2;
    snprintf(path, sizeof path, "%s/held", test_folder());
    const dns_held_out_options o = {.fine = &fine,
                                    .direction = DNS_DIRECTION_QUERY,
                                    .coarse = &coarse,
                                    .checkpoint = path,
                                    .trial = dns_trial_options_default()};
    assert_ok(dns_held_out_scores(&out, set, &o, NULL));
    assert_ok(dns_held_out_scores(&again, set, &o, NULL));
    size_t m = out.trial.database.n, n = out.trial.queries.n * m;
    assert_memory_equal(out.fine, again.fine, n * sizeof *out.fine);
    assert_memory_equal(out.coarse, again.coarse, n * sizeof *out.coarse);
    fine.sampler.held_out = coarse.sampler.held_out = 1;
    dns_trial trial;
    dns_trial_options t = o.trial;
    dns_coarse *net;
    float *scores;
    t.fold = 1;
    assert_ok(dns_trial_create(&trial, set, &t));
    assert_ok(dns_coarse_learn(&net, set, &coarse, NULL));
    assert_ok(dns_alloc(&scores, trial.queries.n, m * sizeof *scores));
    assert_ok(dns_trial_coarse_scores(scores, &trial, net, NULL));
    size_t row = 0, same = 0;
    for (size_t i = 0; i < out.trial.queries.n; i++)
        if (dns_training_set_video(set, out.trial.query_video[i])->fold == 1) {
            assert_int_equal(trial.query_video[row], out.trial.query_video[i]);
            same += memcmp(scores + row++ * m, out.coarse + i * m, m * sizeof *scores) == 0;
        }
    assert_int_equal(row, trial.queries.n);
    assert_int_equal(same, row);
    dns_free(scores);
    dns_coarse_free(net);
    dns_trial_free(&trial);
    dns_held_out_free(&out);
    dns_held_out_free(&again);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(untrained_scores_are_those_of_one_trial),
        cmocka_unit_test(trained_scores_come_from_networks_without_the_fold),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
