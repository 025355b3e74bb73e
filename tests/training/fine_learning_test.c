#include "dnsel/fine_learning.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "dnsel/file.h"
#include "dnsel/itq.h"
#include "dnsel/linalg.h"
#include "support.h"
#include "synthetic_set.h"

static const test_set_options options = {.n_scenes = 30,
                                         .n_folds = 3,
                                         .dim = 16,
                                         .n_regions = 3,
                                         .n_copies = 3,
                                         .n_hosts = 3,
                                         .noise = 1.3,
                                         .seed = 4};

static dns_training_set *set;

static int open_set(void **state)
{
    (void)state;
    char path[512];
    snprintf(path, sizeof path, "%s/set", test_folder());
    test_set_write(path, &options);
    assert_ok(dns_training_set_open(&set, path));
    return 0;
}

static int close_set(void **state)
{
    (void)state;
    dns_training_set_close(set);
    return 0;
}

static dns_fine_options quick(dns_fine_kind kind, dns_fine_recipe recipe)
{
    dns_fine_options o = dns_fine_options_default(kind, recipe);
    o.code_bits = 16;
    o.sampler.batch = 6;
    o.sampler.max_frames = 12;
    o.sampler.held_out = 1;
    o.trainer.steps = 12;
    o.trainer.schedule.warm_up = 2;
    return o;
}

static void copy_weights(float **out, size_t *n, const dns_visil *net)
{
    dns_parameters *p = dns_visil_parameters(net);
    *n = dns_parameters_size(p);
    assert_ok(dns_alloc(out, *n, sizeof **out));
    memcpy(*out, dns_parameters_block(p, DNS_WEIGHTS), *n * sizeof **out);
}

static bool weights_are(const dns_visil *net, const float *expected, size_t n)
{
    const float *w = dns_parameters_block(dns_visil_parameters(net), DNS_WEIGHTS);
    return memcmp(w, expected, n * sizeof *w) == 0;
}

static void the_start_is_nearly_the_plain_comparison(void **state)
{
    (void)state;
    dns_visil *net;
    dns_trial trial;
    dns_trial_options t = dns_trial_options_default();
    dns_fine_options o = quick(DNS_FINE_ATTENTION, DNS_FINE_MEASURED);
    t.fold = 1;
    assert_ok(dns_trial_create(&trial, set, &t));
    size_t n = trial.queries.n * trial.database.n;
    float *scores[2][DNS_DIRECTIONS], *one;
    assert_ok(dns_alloc(&one, n, sizeof *one));
    for (int k = 0; k < 2; k++)
        for (int d = 0; d < DNS_DIRECTIONS; d++)
            assert_ok(dns_alloc(&scores[k][d], n, sizeof *one));
    assert_ok(dns_fine_start(&net, set, &o));
    const dns_fine_comparison by_net = {.net = net}, plain = {.rule = o.rule};
    assert_ok(dns_clip_direction_scores(scores[0], dns_trial_queries(&trial),
                                        dns_trial_database(&trial), &by_net, NULL, NULL));
    assert_ok(dns_clip_direction_scores(scores[1], dns_trial_queries(&trial),
                                        dns_trial_database(&trial), &plain, NULL, NULL));
    double with[DNS_DIRECTIONS], without[DNS_DIRECTIONS], *ap;
    assert_ok(dns_alloc(&ap, trial.queries.n, sizeof *ap));
    for (int d = 0; d < DNS_DIRECTIONS; d++) {
        assert_ok(dns_trial_precision(&with[d], ap, &trial, scores[0][d]));
        assert_ok(dns_trial_precision(&without[d], ap, &trial, scores[1][d]));
        assert_float_equal(with[d], without[d], 0.1);
        assert_true(with[d] > 0.3);
    }
    /* Each direction is what the rule of that direction gives alone. */
    for (int k = 0; k < 2; k++) {
        const dns_fine_comparison *how = k == 0 ? &by_net : &plain;
        assert_ok(dns_clip_fine_scores(one, dns_trial_queries(&trial), dns_trial_database(&trial),
                                       how, NULL, NULL));
        assert_memory_equal(one, scores[k][o.rule.direction], n * sizeof *one);
    }
    for (size_t i = 0; i < n; i++)
        assert_true(scores[0][DNS_DIRECTION_MAX][i] >= scores[0][DNS_DIRECTION_QUERY][i] &&
                    scores[0][DNS_DIRECTION_MAX][i] >= scores[0][DNS_DIRECTION_TARGET][i]);
    for (int k = 0; k < 2; k++)
        for (int d = 0; d < DNS_DIRECTIONS; d++)
            dns_free(scores[k][d]);
    dns_free(one);
    dns_free(ap);
    dns_visil_free(net);
    dns_trial_free(&trial);
}

static void training_lowers_the_loss(void **state)
{
    (void)state;
    static const dns_fine_kind kinds[] = {DNS_FINE_TEACHER, DNS_FINE_ATTENTION, DNS_FINE_BINARY};
    for (size_t i = 0; i < 3; i++) {
        dns_visil *net;
        dns_trainer_report report;
        dns_fine_options o = quick(kinds[i], DNS_FINE_MEASURED);
        char curve[512];
        snprintf(curve, sizeof curve, "%s/curve", test_folder());
        o.trainer.steps = 40;
        o.trainer.schedule.peak = 3e-3;
        o.trainer.curve = curve;
        assert_ok(dns_fine_start(&net, set, &o));
        assert_ok(dns_fine_train(&report, net, set, &o, NULL));
        char *text;
        size_t size, step;
        double first;
        assert_ok(dns_file_read(&text, &size, curve, 1 << 20));
        assert_int_equal(sscanf(text, "{\"step\":%zu,\"loss\":%lf", &step, &first), 2);
        if (!(report.loss < first))
            fail_msg("%s: loss went from %g to %g", dns_fine_section(kinds[i]), first, report.loss);
        assert_true(report.operations > 1e6);
        dns_free(text);
        dns_visil_free(net);
    }
}

static dns_cancel cancel;

static void cancel_late(void *payload, const dns_curve_point *point)
{
    (void)payload;
    if (point->step == 7)
        atomic_store(&cancel.wanted, true);
}

/* Of every network by every recipe: any number of threads, and interrupted in the middle. */
static void the_same_weights_for_any_threads_and_after_a_break(void **state)
{
    (void)state;
    dns_pool *pool;
    dns_visil *teacher;
    dns_fine_options to = quick(DNS_FINE_TEACHER, DNS_FINE_PUBLISHED);
    assert_ok(dns_pool_create(&pool, 3));
    assert_ok(dns_fine_start(&teacher, set, &to));
    const dns_fine_comparison by_teacher = {.net = teacher};
    for (int i = 0; i < 6; i++) {
        dns_fine_options o = quick((dns_fine_kind)(i % 3), (dns_fine_recipe)(i / 3));
        dns_visil *net;
        dns_trainer_report report;
        float *expected;
        size_t n;
        char path[512];
        snprintf(path, sizeof path, "%s/checkpoint%d", test_folder(), i);
        o.teacher = i > 3 ? &by_teacher : NULL;
        o.sigma = i == 5 ? 0.05 : o.sigma;
        assert_ok(dns_fine_start(&net, set, &o));
        assert_ok(dns_fine_train(&report, net, set, &o, NULL));
        copy_weights(&expected, &n, net);
        dns_visil_free(net);
        o.trainer.checkpoint = path;
        o.trainer.report = cancel_late;
        o.trainer.cancel = &cancel;
        atomic_store(&cancel.wanted, false);
        assert_ok(dns_fine_start(&net, set, &o));
        assert_false(weights_are(net, expected, n));
        assert_status(dns_fine_train(&report, net, set, &o, pool), DNS_ERR_CANCELLED);
        dns_visil_free(net);
        o.trainer.cancel = NULL;
        assert_ok(dns_fine_start(&net, set, &o));
        assert_ok(dns_fine_train(&report, net, set, &o, pool));
        if (!weights_are(net, expected, n))
            fail_msg("%s by recipe %d: other weights", dns_fine_section(o.kind), (int)o.recipe);
        dns_visil_free(net);
        dns_free(expected);
    }
    dns_visil_free(teacher);
    dns_pool_free(pool);
}

static void a_binary_network_takes_the_comparator_of_the_float_one(void **state)
{
    (void)state;
    dns_visil *float_net, *binary;
    dns_fine_options o = quick(DNS_FINE_ATTENTION, DNS_FINE_MEASURED),
                     b = quick(DNS_FINE_BINARY, DNS_FINE_MEASURED);
    assert_ok(dns_fine_start(&float_net, set, &o));
    b.float_net = float_net;
    assert_ok(dns_fine_start(&binary, set, &b));
    dns_parameters *p = dns_visil_parameters(float_net), *q = dns_visil_parameters(binary);
    const float *first =
        dns_parameters_weight(p, dns_parameters_find(p, "visil_head.conv1.weight"));
    const float *first_b =
        dns_parameters_weight(q, dns_parameters_find(q, "visil_head.conv1.weight"));
    for (size_t i = 0; i < 32 * 9; i++)
        assert_float_equal(first_b[i], 1.5f * first[i], 1e-6);
    size_t conv2 = dns_parameters_find(p, "visil_head.conv2.weight");
    assert_memory_equal(dns_parameters_weight(q, dns_parameters_find(q, "visil_head.conv2.weight")),
                        dns_parameters_weight(p, conv2),
                        dns_parameters_at(p, conv2)->count * sizeof(float));
    dns_visil_free(binary);
    o = quick(DNS_FINE_TEACHER, DNS_FINE_MEASURED);
    dns_visil *teacher;
    assert_ok(dns_fine_start(&teacher, set, &o));
    b.float_net = teacher;
    assert_status(dns_fine_start(&binary, set, &b), DNS_ERR_SHAPE);
    assert_null(binary);
    dns_visil_free(teacher);
    dns_visil_free(float_net);
}

static void students_need_a_teacher(void **state)
{
    (void)state;
    dns_visil *net;
    dns_trainer_report report;
    dns_fine_options o = quick(DNS_FINE_ATTENTION, DNS_FINE_PUBLISHED);
    assert_ok(dns_fine_start(&net, set, &o));
    assert_status(dns_fine_train(&report, net, set, &o, NULL), DNS_ERR_UNSUPPORTED);
    const dns_labelled_pair pairs[] = {{2, 3, 0.7f, true}, {2, 4, -0.4f, false}};
    o.sampler.held_out = DNS_NO_FOLD;
    o.pairs = pairs;
    o.n_pairs = 2;
    assert_ok(dns_fine_train(&report, net, set, &o, NULL));
    assert_int_equal(report.steps, 12);
    o.sampler.batch = 0;
    assert_status(dns_fine_train(&report, net, set, &o, NULL), DNS_ERR_ARG);
    dns_visil_free(net);
}

static size_t n_reported;

static void count_figures(void *payload, const dns_fine_figures *f)
{
    (void)payload;
    n_reported++;
    assert_true(f->n_queries > 10);
    for (int k = 0; k < DNS_FINE_CANDIDATES; k++)
        for (int d = 0; d < DNS_DIRECTIONS; d++)
            assert_true(f->map[k][d] > 0 && f->map[k][d] <= 1);
}

static void the_choice_is_the_best_mean(void **state)
{
    (void)state;
    dns_fine_choice choice;
    dns_fine_options o = quick(DNS_FINE_ATTENTION, DNS_FINE_MEASURED),
                     b = quick(DNS_FINE_BINARY, DNS_FINE_MEASURED);
    dns_fine_choice_options c = dns_fine_choice_options_default(set);
    o.trainer.steps = 4;
    b.trainer.steps = 0;
    b.code_bits = 64;
    c.n_folds = 2;
    c.n_seeds = 2;
    c.report = count_figures;
    assert_ok(dns_fine_choose(&choice, set, &o, NULL, &c, NULL));
    assert_int_equal(choice.n_trainings, 4);
    assert_int_equal(n_reported, 4);
    for (int k = 0; k < DNS_FINE_CANDIDATES; k++)
        for (int d = 0; d < DNS_DIRECTIONS; d++)
            assert_true(choice.map[k][d] <= choice.map[choice.candidate][choice.direction]);
    c.always = true;
    c.direction = DNS_DIRECTION_QUERY;
    assert_ok(dns_fine_choose(&choice, set, &b, &o, &c, NULL));
    assert_int_equal(choice.direction, DNS_DIRECTION_QUERY);
    assert_int_equal(choice.candidate, DNS_FINE_UNTRAINED); /* no steps: both are the same */
    c.n_folds = 9;
    assert_status(dns_fine_choose(&choice, set, &o, NULL, &c, NULL), DNS_ERR_ARG);
}

/* Vectors around the corners of a turned square: the signs of ITQ tell the corners apart. */
static void itq_finds_the_rotation(void **state)
{
    (void)state;
    enum { N = 400 };
    float x[N * 2], w[4];
    dns_random random = dns_random_seed(1);
    for (size_t i = 0; i < N; i++) {
        double angle =
            0.3 + (0.25 + 0.5 * (double)(i % 4)) * 3.14159265 + 0.1 * dns_random_normal(&random);
        x[2 * i] = (float)cos(angle);
        x[2 * i + 1] = (float)sin(angle);
    }
    assert_ok(dns_itq_learn(w, x, N, 2, 2, 50, &random));
    assert_float_equal(w[0] * w[0] + w[2] * w[2], 1, 1e-5);
    assert_float_equal(w[0] * w[1] + w[2] * w[3], 0, 1e-5);
    unsigned codes[4];
    for (size_t i = 0; i < 4; i++) {
        double a = 0.3 + (0.25 + 0.5 * (double)i) * 3.14159265;
        double z0 = cos(a) * (double)w[0] + sin(a) * (double)w[2],
               z1 = cos(a) * (double)w[1] + sin(a) * (double)w[3];
        assert_true(fabs(z0) > 0.6 && fabs(z1) > 0.6); /* far from the borders: 0.71 at best */
        codes[i] = (z0 > 0) + 2u * (z1 > 0);
        for (size_t j = 0; j < i; j++)
            assert_int_not_equal(codes[i], codes[j]);
    }
    assert_status(dns_itq_learn(w, x, N, 2, 3, 50, &random), DNS_ERR_ARG);
    assert_status(dns_itq_learn(w, x, 0, 2, 2, 50, &random), DNS_ERR_ARG);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_start_is_nearly_the_plain_comparison),
        cmocka_unit_test(training_lowers_the_loss),
        cmocka_unit_test(the_same_weights_for_any_threads_and_after_a_break),
        cmocka_unit_test(a_binary_network_takes_the_comparator_of_the_float_one),
        cmocka_unit_test(students_need_a_teacher),
        cmocka_unit_test(the_choice_is_the_best_mean),
        cmocka_unit_test(itq_finds_the_rotation),
    };
    return cmocka_run_group_tests(tests, open_set, close_set);
}
