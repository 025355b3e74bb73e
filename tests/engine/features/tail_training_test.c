#include "small_backbone.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "dnsel/tail_training.h"

enum { PICTURES = 24, VIEWS = 3, OUT = 8, FRAME = SIZE * SIZE * 3 };

/* Pictures are smooth random patterns; views differ in noise. */
static dns_status make_view(void *payload, uint8_t *frame, size_t picture, size_t view,
                            size_t worker)
{
    (void)payload, (void)worker;
    dns_random pattern = dns_random_stream(1, picture),
               noise = dns_random_stream(2, picture * VIEWS + view);
    double wave[6];
    for (size_t i = 0; i < 6; i++)
        wave[i] = dns_random_uniform(&pattern);
    for (size_t i = 0; i < FRAME; i++) {
        double x = (double)(i / 3 % SIZE) / SIZE, y = (double)(i / 3 / SIZE) / SIZE;
        double value = 128 + 60 * sin(6 * (wave[0] * x + wave[1] * y) + (double)(i % 3) * wave[2]) +
                       50 * wave[3 + i % 3];
        value += view > 0 ? 8 * dns_random_normal(&noise) : 0;
        frame[i] = (uint8_t)(value < 0 ? 0 : value > 255 ? 255 : value);
    }
    return DNS_OK;
}

static dns_graph *graph;
static dns_tail_views *views;
static double losses[200];

static void keep_loss(void *payload, size_t step, double loss, double norm)
{
    (void)payload;
    assert_true(norm > 0);
    losses[step - 1] = loss;
}

static int setup(void **state)
{
    (void)state;
    dns_backbone_front *front;
    size_t scenes[PICTURES];
    graph = make_graph(true);
    for (size_t i = 0; i < PICTURES; i++)
        scenes[i] = i / 2;
    assert_ok(dns_backbone_front_create(&front, &small, graph));
    assert_status(dns_tail_views_create(&views, front, scenes, PICTURES, 1), DNS_ERR_ARG);
    assert_ok(dns_tail_views_create(&views, front, scenes, PICTURES, VIEWS));
    assert_ok(dns_tail_views_fill(views, front, FRAME, make_view, NULL, NULL, NULL, NULL));
    dns_backbone_front_free(front);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    dns_tail_views_free(views);
    dns_graph_free(graph);
    return 0;
}

static dns_backbone_tail *make_tail(void)
{
    dns_backbone_tail *net;
    float mean[TAP_SUM] = {0}, matrix[TAP_SUM * OUT];
    dns_random random = dns_random_seed(8);
    for (size_t i = 0; i < TAP_SUM * OUT; i++)
        matrix[i] = (float)dns_random_normal(&random);
    assert_ok(dns_backbone_tail_of(&net, &small, graph, OUT, true));
    dns_backbone_tail_set_whitening(net, mean, matrix);
    return net;
}

static dns_tail_training_options short_training(void)
{
    dns_tail_training_options o = dns_tail_training_options_default();
    o.steps = 150;
    o.batch = 8;
    o.rate = 1e-2;
    o.cluster = 3;
    o.report = keep_loss;
    return o;
}

static const float *weights_of(const dns_backbone_tail *net, size_t *n)
{
    dns_parameters *p = dns_backbone_tail_parameters(net);
    *n = dns_parameters_size(p);
    return dns_parameters_block(p, DNS_WEIGHTS);
}

static void training_lowers_the_loss_alike_for_any_threads(void **state)
{
    (void)state;
    dns_pool *pool;
    dns_tail_training_options o = short_training();
    dns_backbone_tail *alone = make_tail(), *together = make_tail();
    assert_ok(dns_tail_train(alone, views, &o, NULL));
    double first = 0, last = 0;
    for (size_t i = 0; i < 10; i++) {
        first += losses[i];
        last += losses[o.steps - 1 - i];
    }
    if (!(last < 0.8 * first))
        fail_msg("mean loss of ten steps went from %.3f to %.3f", first / 10, last / 10);
    assert_ok(dns_pool_create(&pool, 3));
    assert_ok(dns_tail_train(together, views, &o, pool));
    size_t n;
    const float *a = weights_of(alone, &n), *b = weights_of(together, &n);
    assert_memory_equal(a, b, n * sizeof *a);
    dns_pool_free(pool);
    dns_backbone_tail_free(alone);
    dns_backbone_tail_free(together);
}

/* Two runs give the mean of the weights of two trainings with seeds one apart, a stride from the
 * start. */
static void runs_are_averaged(void **state)
{
    (void)state;
    dns_tail_training_options o = short_training();
    dns_backbone_tail *start = make_tail(), *both = make_tail(), *first = make_tail(),
                      *second = make_tail();
    o.report = NULL;
    o.steps = 20;
    o.runs = 0;
    assert_status(dns_tail_train(both, views, &o, NULL), DNS_ERR_ARG);
    o.runs = 2;
    o.stride = 1.5;
    assert_ok(dns_tail_train(both, views, &o, NULL));
    o.runs = 1;
    o.stride = 1;
    assert_ok(dns_tail_train(first, views, &o, NULL));
    o.seed++;
    assert_ok(dns_tail_train(second, views, &o, NULL));
    size_t n;
    const float *w = weights_of(both, &n), *a = weights_of(first, &n), *b = weights_of(second, &n),
                *s = weights_of(start, &n);
    assert_memory_not_equal(a, b, n * sizeof *a);
    for (size_t i = 0; i < n; i++)
        assert_true(fabs(w[i] - (s[i] + 1.5 * ((double)(a[i] + b[i]) / 2 - s[i]))) < 1e-6);
    dns_backbone_tail_free(start);
    dns_backbone_tail_free(both);
    dns_backbone_tail_free(first);
    dns_backbone_tail_free(second);
}

/* Cancelled in the middle and run again: the same weights. */
enum { STEPS = 50, STOP_FIRST = 25, STOP_SECOND = STEPS + 25 };

static dns_cancel cancel;
static void cancel_twice(void *payload, size_t step, double loss, double norm)
{
    (void)payload, (void)loss, (void)norm;
    if (step == STOP_FIRST || step == STOP_SECOND)
        atomic_store(&cancel.wanted, true);
}

static void interrupted_training_ends_the_same(void **state)
{
    (void)state;
    char path[256];
    snprintf(path, sizeof path, "%s/tail.checkpoint", test_folder());
    dns_tail_training_options o = short_training();
    dns_backbone_tail *whole = make_tail(), *parts[3] = {make_tail(), make_tail(), make_tail()};
    o.steps = STEPS;
    o.runs = 2;
    o.report = NULL;
    assert_ok(dns_tail_train(whole, views, &o, NULL));
    o.checkpoint = path;
    o.cancel = &cancel;
    o.report = cancel_twice;
    for (size_t i = 0; i < 2; i++) {
        assert_status(dns_tail_train(parts[i], views, &o, NULL), DNS_ERR_CANCELLED);
        atomic_store(&cancel.wanted, false);
    }
    assert_ok(dns_tail_train(parts[2], views, &o, NULL));
    size_t n;
    const float *a = weights_of(whole, &n), *b = weights_of(parts[2], &n);
    assert_memory_equal(a, b, n * sizeof *a);
    o.seed = 99;
    assert_status(dns_tail_train(parts[2], views, &o, NULL), DNS_ERR_MODEL);
    o = short_training();
    o.batch = PICTURES;
    assert_status(dns_tail_train(parts[2], views, &o, NULL), DNS_ERR_ARG);
    dns_backbone_tail_free(whole);
    for (size_t i = 0; i < 3; i++)
        dns_backbone_tail_free(parts[i]);
}

static void whitening_is_fitted_to_all_views(void **state)
{
    (void)state;
    dns_backbone_tail *net = make_tail();
    dns_whitening *whitening;
    assert_ok(dns_tail_fit_whitening(&whitening, net, views, OUT, NULL));
    assert_int_equal(dns_whitening_in_dim(whitening), TAP_SUM);
    assert_int_equal(dns_whitening_out_dim(whitening), OUT);
    dns_backbone_tail_set_whitening(net, dns_whitening_mean(whitening),
                                    dns_whitening_matrix(whitening));
    static float regions[PICTURES * DNS_TAIL_REGIONS * OUT];
    assert_ok(dns_tail_embed(net, regions, views, 0, PICTURES, 1, NULL));
    for (size_t i = 0; i < PICTURES * DNS_TAIL_REGIONS; i++) {
        double norm = 0;
        for (size_t k = 0; k < OUT; k++)
            norm += (double)regions[i * OUT + k] * (double)regions[i * OUT + k];
        assert_true(fabs(norm - 1) < 1e-5);
    }
    dns_whitening_free(whitening);
    dns_backbone_tail_free(net);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(training_lowers_the_loss_alike_for_any_threads),
        cmocka_unit_test(runs_are_averaged),
        cmocka_unit_test(interrupted_training_ends_the_same),
        cmocka_unit_test(whitening_is_fitted_to_all_views),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
