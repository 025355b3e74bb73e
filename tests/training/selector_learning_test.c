#include "dnsel/selector_learning.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "dnsel/calibration.h"
#include "support.h"
#include "synthetic_set.h"

enum { DIM = 16, MOST = 300 * 64 };

static const test_set_options small = {.n_scenes = 24,
                                       .n_folds = 2,
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

/* Coarse scores are made up: those in the middle are wrong, the others right, which a network that
 * sees them can learn. */
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
        coarse[i] = (float)dns_random_uniform(&random);
        expected[i] = 0.5f;
        bool wrong = coarse[i] > 0.45f && coarse[i] < 0.55f;
        fine[i] = (wrong ? 0.6f : 0.1f) * (float)(1 - 2 * (int)dns_random_below(&random, 2)) *
                  (float)dns_random_uniform(&random);
    }
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    dns_trial_free(&trial);
    dns_training_set_close(set);
    return 0;
}

static dns_selector_learning_options short_learning(void)
{
    dns_selector_learning_options o = dns_selector_learning_options_default();
    o.steps = 150;
    o.batch = 32;
    o.rate = 1e-2;
    o.dropout = 0;
    o.threshold = 0.06;
    o.shape = (dns_selector_shape){.hidden = 4, .channels = {4, 4, 4}, .widths = {32, 32}};
    return o;
}

static void the_threshold_follows_the_share(void **state)
{
    (void)state;
    float t;
    size_t n = 0;
    assert_ok(dns_selector_choose_threshold(&t, &scores, NULL, 0.05));
    for (size_t i = 0; i < n_pairs; i++)
        n += fabsf(fine[i] / 2 + 0.5f - expected[i]) > t;
    assert_true(n <= n_pairs / 20 + 1 && n + n_pairs / 100 >= n_pairs / 20);
    assert_status(dns_selector_choose_threshold(&t, &scores, NULL, 0), DNS_ERR_ARG);
    assert_status(dns_selector_choose_threshold(&t, &scores, NULL, 1), DNS_ERR_ARG);
    bool *none;
    assert_ok(dns_alloc(&none, trial.queries.n, sizeof *none));
    assert_status(dns_selector_choose_threshold(&t, &scores, none, 0.1), DNS_ERR_ARG);
    dns_free(none);
}

/* The probability that a wrong pair gets more confidence than a right one. */
static double auroc(double threshold)
{
    size_t better = 0, all = 0;
    for (size_t i = 0; i < n_pairs; i += 3)
        for (size_t j = 0; j < n_pairs; j += 7) {
            bool a = fabsf(fine[i] / 2 + 0.5f - expected[i]) > (float)threshold,
                 b = fabsf(fine[j] / 2 + 0.5f - expected[j]) > (float)threshold;
            if (a && !b) {
                all++;
                better += confidence[i] > confidence[j];
            }
        }
    return (double)better / (double)all;
}

static void it_learns_which_coarse_scores_are_wrong(void **state)
{
    (void)state;
    dns_selector *net;
    const dns_selector_learning_options o = short_learning();
    assert_ok(dns_selector_learn(&net, &scores, &o, NULL));
    assert_ok(dns_selector_judge(confidence, &scores, net, NULL));
    double area = auroc(o.threshold);
    if (!(area > 0.85))
        fail_msg("AUROC %.3f", area);
    dns_selector_free(net);
}

static dns_cancel cancel;
static void stop_at_13(void *payload, const dns_curve_point *point)
{
    (void)payload;
    if (point->step == 13)
        atomic_store(&cancel.wanted, true);
}

static void threads_and_interruptions_change_nothing(void **state)
{
    (void)state;
    char path[256];
    dns_pool *pool;
    dns_selector *whole, *resumed;
    dns_selector_learning_options o = short_learning();
    o.steps = 30;
    o.dropout = 0.5;
    snprintf(path, sizeof path, "%s/selector.checkpoint", test_folder());
    assert_ok(dns_pool_create(&pool, 3));
    assert_ok(dns_selector_learn(&whole, &scores, &o, NULL));
    o.checkpoint = path;
    o.cancel = &cancel;
    o.report = stop_at_13;
    assert_status(dns_selector_learn(&resumed, &scores, &o, pool), DNS_ERR_CANCELLED);
    assert_null(resumed);
    atomic_store(&cancel.wanted, false);
    o.report = NULL;
    assert_ok(dns_selector_learn(&resumed, &scores, &o, pool));
    dns_parameters *a = dns_selector_parameters(whole), *b = dns_selector_parameters(resumed);
    assert_memory_equal(dns_parameters_block(a, DNS_WEIGHTS), dns_parameters_block(b, DNS_WEIGHTS),
                        dns_parameters_size(a) * sizeof(float));
    dns_selector_free(resumed);
    o.seed = 2;
    assert_status(dns_selector_learn(&resumed, &scores, &o, pool), DNS_ERR_MODEL);
    o.checkpoint = NULL;
    o.batch = 3;
    assert_status(dns_selector_learn(&resumed, &scores, &o, pool), DNS_ERR_ARG);
    o.batch = 32;
    o.threshold = 10;
    assert_status(dns_selector_learn(&resumed, &scores, &o, pool), DNS_ERR_ARG);
    dns_selector_free(whole);
    dns_pool_free(pool);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_threshold_follows_the_share),
        cmocka_unit_test(it_learns_which_coarse_scores_are_wrong),
        cmocka_unit_test(threads_and_interruptions_change_nothing),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
