#include "dnsel/coarse_learning.h"

#include <stdio.h>
#include <string.h>

#include "dnsel/trial.h"
#include "support.h"
#include "synthetic_set.h"

enum { DIM = 16 };

static const test_set_options small = {.n_scenes = 40,
                                       .n_folds = 2,
                                       .dim = DIM,
                                       .n_regions = 3,
                                       .n_copies = 3,
                                       .n_hosts = 3,
                                       .noise = 2,
                                       .seed = 7};
static dns_training_set *set;

static int setup(void **state)
{
    (void)state;
    char path[512];
    snprintf(path, sizeof path, "%s/set", test_folder());
    test_set_write(path, &small);
    assert_ok(dns_training_set_open(&set, path));
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    dns_training_set_close(set);
    return 0;
}

static double losses[100];
static void keep_loss(void *payload, const dns_curve_point *point)
{
    (void)payload;
    losses[point->step - 1] = point->loss;
}

static dns_coarse_learning_options short_learning(dns_coarse_recipe recipe)
{
    dns_coarse_learning_options o = dns_coarse_learning_options_default(recipe);
    o.steps = 60;
    o.sampler.batch = 8;
    o.sampler.held_out = 0;
    o.rate = recipe == DNS_COARSE_CONTRAST ? 5e-3 : 1e-3;
    o.report = keep_loss;
    if (recipe == DNS_COARSE_DISTILLED)
        o.shape = (dns_coarse_shape){
            .out = 12, .hidden = 8, .n_heads = 2, .feed_forward = 16, .n_clusters = 3};
    return o;
}

static double mean_of(const double *values, size_t n)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += values[i] / (double)n;
    return sum;
}

static size_t weights_of(const float **weights, const dns_coarse *net)
{
    *weights = dns_parameters_block(dns_coarse_parameters(net), DNS_WEIGHTS);
    return dns_parameters_size(dns_coarse_parameters(net)) * sizeof **weights;
}

static void both_recipes_lower_their_loss_alike_for_any_threads(void **state)
{
    (void)state;
    dns_pool *pool;
    assert_ok(dns_pool_create(&pool, 3));
    for (int recipe = 0; recipe < 2; recipe++) {
        dns_coarse *alone, *together;
        const float *a, *b;
        dns_coarse_learning_options o = short_learning((dns_coarse_recipe)recipe);
        assert_ok(dns_coarse_learn(&alone, set, &o, NULL));
        double first = mean_of(losses, 15), last = mean_of(losses + 45, 15);
        if (!(last < 0.95 * first))
            fail_msg("recipe %d: loss from %.4f to %.4f", recipe, first, last);
        assert_ok(dns_coarse_learn(&together, set, &o, pool));
        size_t n = weights_of(&a, alone);
        assert_int_equal(weights_of(&b, together), n);
        assert_memory_equal(a, b, n);
        dns_coarse_free(alone);
        dns_coarse_free(together);
    }
    dns_pool_free(pool);
}

static void contrast_starts_at_the_mean_vector(void **state)
{
    (void)state;
    dns_coarse *learnt, *mean;
    dns_trial trial;
    static float a[64 * DIM], b[64 * DIM];
    dns_trial_options t = dns_trial_options_default();
    dns_coarse_learning_options o = short_learning(DNS_COARSE_CONTRAST);
    const dns_coarse_shape shape = {.kind = DNS_COARSE_MEAN, .dim = DIM, .out = DIM};
    o.steps = 1;
    o.rate = 0;
    t.per_video = 1;
    assert_ok(dns_coarse_learn(&learnt, set, &o, NULL));
    assert_ok(dns_coarse_create(&mean, &shape, false));
    assert_ok(dns_trial_create(&trial, set, &t));
    assert_ok(dns_clip_embed(a, dns_trial_database(&trial), learnt, NULL));
    assert_ok(dns_clip_embed(b, dns_trial_database(&trial), mean, NULL));
    test_assert_close("embeddings", a, b, trial.database.n * DIM, 1e-6, 0);
    dns_trial_free(&trial);
    dns_coarse_free(learnt);
    dns_coarse_free(mean);
}

static dns_cancel cancel;
static void stop_at_25(void *payload, const dns_curve_point *point)
{
    (void)payload;
    if (point->step == 25)
        atomic_store(&cancel.wanted, true);
}

static void interrupted_learning_ends_the_same(void **state)
{
    (void)state;
    for (int recipe = 0; recipe < 2; recipe++) {
        char path[256];
        dns_coarse *whole, *resumed;
        const float *a, *b;
        dns_coarse_learning_options o = short_learning((dns_coarse_recipe)recipe);
        snprintf(path, sizeof path, "%s/coarse%d.checkpoint", test_folder(), recipe);
        assert_ok(dns_coarse_learn(&whole, set, &o, NULL));
        o.checkpoint = path;
        o.cancel = &cancel;
        o.report = stop_at_25;
        assert_status(dns_coarse_learn(&resumed, set, &o, NULL), DNS_ERR_CANCELLED);
        assert_null(resumed);
        atomic_store(&cancel.wanted, false);
        o.report = NULL;
        assert_ok(dns_coarse_learn(&resumed, set, &o, NULL));
        size_t n = weights_of(&a, whole);
        assert_int_equal(weights_of(&b, resumed), n);
        assert_memory_equal(a, b, n);
        dns_coarse_free(resumed);
        o.sampler.seed = 5;
        assert_status(dns_coarse_learn(&resumed, set, &o, NULL), DNS_ERR_MODEL);
        o.checkpoint = NULL;
        o.sampler.batch = 400;
        if (recipe == DNS_COARSE_CONTRAST)
            assert_status(dns_coarse_learn(&resumed, set, &o, NULL), DNS_ERR_ARG);
        dns_coarse_free(whole);
    }
}

static void batches_fit_the_scenes_that_are_left(void **state)
{
    (void)state;
    size_t large = dns_sampler_fitting_batch(set, 1000);
    dns_coarse *net;
    dns_coarse_learning_options o = short_learning(DNS_COARSE_CONTRAST);
    assert_in_range(large, 10, 37);
    assert_int_equal(dns_sampler_fitting_batch(set, 7), 7);
    o.steps = 1;
    o.sampler.batch = large;
    for (o.sampler.held_out = 0; o.sampler.held_out < 2; o.sampler.held_out++) {
        assert_ok(dns_coarse_learn(&net, set, &o, NULL));
        dns_coarse_free(net);
    }
}

/* What wins on queries of folds not trained on is chosen; nothing tried leaves the mean. */
static void the_best_on_held_out_folds_is_chosen(void **state)
{
    (void)state;
    dns_coarse_choice choice;
    dns_coarse_choice_options o = {
        .recipes = {short_learning(DNS_COARSE_CONTRAST), short_learning(DNS_COARSE_DISTILLED)},
        .n_folds = 2,
        .n_seeds = 2,
        .trial = dns_trial_options_default()};
    o.recipes[0].steps = o.recipes[1].steps = 20;
    o.recipes[0].report = o.recipes[1].report = NULL;
    assert_ok(dns_coarse_choose(&choice, set, &o, NULL));
    assert_int_equal(choice.n_queries, (40 - 3 + 8) * 6);
    for (int k = 0; k < DNS_COARSE_CANDIDATES; k++) {
        assert_true(choice.tried[k]);
        assert_true(choice.map[k] <= choice.map[choice.best] || choice.gain[k].low <= 0);
        assert_true(choice.gain[k].low <= choice.map[k] - choice.map[0] + 1e-9 &&
                    choice.gain[k].high >= choice.map[k] - choice.map[0] - 1e-9);
    }
    assert_true(choice.best == DNS_COARSE_PLAIN_MEAN || choice.gain[choice.best].low > 0);
    assert_true(choice.map[DNS_COARSE_LEARNT] > choice.map[DNS_COARSE_LEARNT_AS_PUBLISHED]);
    o.recipes[0].steps = o.recipes[1].steps = 0;
    assert_ok(dns_coarse_choose(&choice, set, &o, NULL));
    assert_int_equal(choice.best, DNS_COARSE_PLAIN_MEAN);
    assert_false(choice.tried[DNS_COARSE_LEARNT]);
    o.n_folds = 3;
    assert_status(dns_coarse_choose(&choice, set, &o, NULL), DNS_ERR_ARG);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(both_recipes_lower_their_loss_alike_for_any_threads),
        cmocka_unit_test(contrast_starts_at_the_mean_vector),
        cmocka_unit_test(interrupted_learning_ends_the_same),
        cmocka_unit_test(batches_fit_the_scenes_that_are_left),
        cmocka_unit_test(the_best_on_held_out_folds_is_chosen),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
