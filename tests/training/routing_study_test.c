#include "dnsel/routing_study.h"

#include <math.h>
#include <stdio.h>

#include "dnsel/budget.h"
#include "support.h"
#include "synthetic_set.h"

enum { DIM = 16, MOST = 300 * 64 };

static const test_set_options small = {.n_scenes = 24,
                                       .n_folds = 3,
                                       .dim = DIM,
                                       .n_regions = 3,
                                       .n_copies = 2,
                                       .n_hosts = 2,
                                       .noise = 1,
                                       .seed = 7};
static dns_training_set *set;
static dns_trial trial;
static float coarse[MOST], fine[MOST], expected[MOST], confidence[MOST];
static dns_trial_scores scores = {&trial, coarse, expected, fine};
static size_t n_pairs;

/* Fine scores tell copies apart, coarse ones do so less well: fine = f(coarse) + what they miss. */
static int setup(void **state)
{
    (void)state;
    char path[512];
    dns_random random = dns_random_seed(3);
    dns_trial_options o = dns_trial_options_default();
    snprintf(path, sizeof path, "%s/set", test_folder());
    test_set_write(path, &small);
    assert_ok(dns_training_set_open(&set, path));
    assert_ok(dns_trial_create(&trial, set, &o));
    n_pairs = trial.queries.n * trial.database.n;
    assert_true(n_pairs <= MOST);
    for (size_t i = 0; i < n_pairs; i++) {
        fine[i] = (trial.relevant[i] ? 0.7f : 0.0f) + 0.08f * (float)dns_random_normal(&random);
        coarse[i] = 0.6f * fine[i] + 0.15f * (float)dns_random_normal(&random);
        confidence[i] = (float)dns_random_uniform(&random);
    }
    assert_ok(dns_trial_expect(expected, &scores));
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    dns_trial_free(&trial);
    dns_training_set_close(set);
    return 0;
}

static void expectations_come_from_other_folds(void **state)
{
    (void)state;
    bool *others;
    dns_calibration *c;
    float *mapped;
    size_t m = trial.database.n;
    double bias = 0;
    assert_ok(dns_alloc(&others, trial.queries.n, sizeof *others));
    assert_ok(dns_alloc(&mapped, m, sizeof *mapped));
    dns_trial_of_fold(others, &trial, 1, true);
    assert_ok(dns_trial_calibrate(&c, &scores, others));
    for (size_t i = 0; i < trial.queries.n; i++) {
        if (others[i])
            continue;
        assert_int_equal(dns_training_set_video(set, trial.query_video[i])->fold, 1);
        dns_calibration_map(c, mapped, NULL, coarse + i * m, m);
        assert_memory_equal(mapped, expected + i * m, m * sizeof *mapped);
    }
    for (size_t i = 0; i < n_pairs; i++)
        bias += (double)(fine[i] / 2 + 0.5f - expected[i]) / (double)n_pairs;
    assert_true(fabs(bias) < 0.01);
    dns_calibration_free(c);
    dns_free(others);
    dns_free(mapped);
}

static void the_best_router_is_found(void **state)
{
    (void)state;
    dns_retrieval *r;
    assert_ok(dns_trial_route(&r, &scores, NULL, 0.4, 100));
    assert_int_equal(dns_study_best_router(r, 1), DNS_RANKER_COARSE);
    assert_null(dns_retrieval_get(r, DNS_RANKER_SELECTOR, 0, 0));
    dns_retrieval_free(r);
    /* A selector that knows which pairs are copies beats the coarse order. */
    for (size_t i = 0; i < n_pairs; i++)
        confidence[i] = trial.relevant[i] ? 0.9f : 0.1f;
    assert_ok(dns_trial_route(&r, &scores, confidence, 0.4, 100));
    assert_int_equal(dns_study_best_router(r, 0), DNS_RANKER_SELECTOR);
    assert_true(dns_retrieval_area(r, DNS_RANKER_SELECTOR) >
                dns_retrieval_area(r, DNS_RANKER_COARSE));
    dns_retrieval_free(r);
}

static void losses_can_be_promised(void **state)
{
    (void)state;
    dns_retrieval *r;
    static float loss[300 * DNS_BUDGETS];
    size_t level, strict;
    assert_true(trial.queries.n <= 300);
    assert_ok(dns_trial_route(&r, &scores, NULL, 0.4, 100));
    dns_study_losses(loss, r, DNS_RANKER_COARSE, trial.queries.n);
    double mean = 0;
    for (size_t i = 0; i < trial.queries.n; i++) {
        assert_true(loss[i * DNS_BUDGETS + DNS_BUDGETS - 1] == 0);
        mean += (double)loss[i * DNS_BUDGETS] / (double)trial.queries.n;
    }
    assert_true(mean > 0.02);
    assert_ok(dns_budget_conformal(&level, loss, trial.queries.n, DNS_BUDGETS, 1, 0.1));
    assert_ok(dns_budget_conformal(&strict, loss, trial.queries.n, DNS_BUDGETS, 1, 0.02));
    assert_true(strict >= level);
    dns_retrieval_free(r);
}

static void copies_are_told_from_a_score_on(void **state)
{
    (void)state;
    double threshold, recall;
    size_t above = 0, right = 0;
    assert_ok(dns_trial_threshold(&threshold, &recall, &scores, 0.99));
    for (size_t i = 0; i < n_pairs; i++)
        if ((double)fine[i] / 2 + 0.5 >= threshold) {
            above++;
            right += trial.relevant[i];
        }
    assert_true(threshold > 0.55 && threshold < 0.75);
    assert_true(recall > 0.95);
    assert_true((double)right >= 0.99 * (double)above);
    assert_ok(dns_trial_threshold(&threshold, &recall, &scores, 1.01));
    assert_true(isinf(threshold) && recall == 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(expectations_come_from_other_folds),
        cmocka_unit_test(the_best_router_is_found),
        cmocka_unit_test(losses_can_be_promised),
        cmocka_unit_test(copies_are_told_from_a_score_on),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
