/* Values, kept promises and equality for any number of threads of the layers of coarse network,
 * selector, classifier. */
#include "support.h"

#include <math.h>
#include <string.h>

#include "dnsel/activation.h"
#include "dnsel/batch_norm.h"
#include "dnsel/cross_entropy.h"
#include "dnsel/dropout.h"
#include "dnsel/encoder.h"
#include "dnsel/layer_norm.h"
#include "dnsel/mlp.h"
#include "dnsel/netvlad.h"
#include "dnsel/self_attention.h"

static void fill(dns_random *random, float *values, size_t n, double scale)
{
    for (size_t i = 0; i < n; i++)
        values[i] = (float)(scale * dns_random_normal(random));
}

static void layer_norm_gives_mean_and_deviation(void **state)
{
    (void)state;
    const float x[] = {1, 2, 3, 6}, w[] = {1, 1, 1, 2}, b[] = {0, 0, 0, 5};
    float y[4], mean, rstd;
    assert_ok(dns_layer_norm_forward(y, &mean, &rstd, x, w, b, 1, 4, NULL));
    assert_float_equal(mean, 3, 1e-6);
    assert_float_equal(rstd, 1 / sqrt(3.5 + 1e-5), 1e-6);
    assert_float_equal(y[0], -2 / sqrt(3.5 + 1e-5), 1e-6);
    assert_float_equal(y[3], 5 + 6 / sqrt(3.5 + 1e-5), 1e-6);
    float in_place[] = {1, 2, 3, 6};
    assert_ok(dns_layer_norm_forward(in_place, NULL, NULL, in_place, w, b, 1, 4, NULL));
    assert_memory_equal(in_place, y, sizeof y);
}

static void batch_norm_tracks_with_the_unbiased_variance(void **state)
{
    (void)state;
    const float x[] = {1, 3, 8}, w = 2, b = 1;
    float mean, variance, running_mean = 10, running_variance = 20, y[3], scale, shift;
    dns_batch_norm_statistics(&mean, &variance, x, 3, 1);
    assert_float_equal(mean, 4, 1e-6);
    assert_float_equal(variance, 26.0 / 3, 1e-5);
    dns_batch_norm_track(&running_mean, &running_variance, &mean, &variance, 3, 1);
    assert_float_equal(running_mean, 9.4, 1e-5);
    assert_float_equal(running_variance, 18 + 0.1 * 13, 1e-5);
    dns_batch_norm_apply(y, x, &mean, &variance, &w, &b, 3, 1);
    assert_float_equal(y[2], 1 + 2 * 4 / sqrt(26.0 / 3 + 1e-5), 1e-5);
    dns_batch_norm_fold(&scale, &shift, &mean, &variance, &w, &b, 1);
    for (size_t i = 0; i < 3; i++)
        assert_float_equal(x[i] * scale + shift, y[i], 1e-5);
}

static void dropout_drops_its_share_and_keeps_the_mean(void **state)
{
    enum { N = 100000 };
    static float x[N], y[N], piece[N];
    (void)state;
    for (size_t i = 0; i < N; i++)
        x[i] = 1;
    dns_dropout dropout = {0.3, dns_dropout_key(1, 2, 3)};
    assert_ok(dns_dropout_run(y, x, N, &dropout, NULL));
    size_t n_dropped = 0;
    for (size_t i = 0; i < N; i++) {
        assert_true(y[i] == 0 || fabsf(y[i] - 1 / 0.7f) < 1e-6f);
        n_dropped += y[i] == 0;
    }
    assert_true(fabs((double)n_dropped / N - 0.3) < 4 * sqrt(0.3 * 0.7 / N));
    /* A piece of the array is dropped as it is in the whole. */
    dns_dropout_apply(piece, x, 1000, 777, &dropout);
    assert_memory_equal(piece, y + 777, 1000 * sizeof *y);
    /* Another key drops others; rate 0 copies. */
    dropout.key = dns_dropout_key(1, 2, 4);
    assert_ok(dns_dropout_run(piece, x, N, &dropout, NULL));
    assert_true(memcmp(piece, y, sizeof y) != 0);
    dropout.rate = 0;
    assert_ok(dns_dropout_run(piece, y, N, &dropout, NULL));
    assert_memory_equal(piece, y, sizeof y);
}

static void activations_are_close_to_the_functions(void **state)
{
    enum { N = 100003 };
    static float x[N], y[N];
    (void)state;
    for (size_t i = 0; i < N; i++)
        x[i] = (float)(-87 + 174.0 * (double)i / (N - 1));
    dns_exp(y, x, N);
    for (size_t i = 0; i < N; i++)
        assert_true(fabs((double)y[i] / exp((double)x[i]) - 1) < 2e-7);
    dns_sigmoid(y, x, N);
    for (size_t i = 0; i < N; i++)
        assert_true(fabs((double)y[i] - 1 / (1 + exp(-(double)x[i]))) < 2e-7);
    for (size_t i = 0; i < N; i++)
        x[i] *= 0.125f;
    dns_tanh(y, x, N);
    for (size_t i = 0; i < N; i++)
        assert_true(fabs((double)y[i] - tanh((double)x[i])) < 4e-7);
    float edges[] = {-INFINITY, -1000, 0};
    const float powers[] = {0, 0, 1}, halves[] = {0, 0, 0.5f}, tangents[] = {-1, -1, 0};
    dns_exp(y, edges, 3);
    assert_memory_equal(y, powers, sizeof powers);
    dns_sigmoid(y, edges, 3);
    test_assert_close("sigmoid", y, halves, 3, 1e-30, 0);
    dns_tanh(y, edges, 3);
    test_assert_close("tanh", y, tangents, 3, 4e-7, 0);
}

static void softmax_bears_extremes(void **state)
{
    (void)state;
    float rows[] = {1000, 1000, -1000, -INFINITY, -INFINITY, -INFINITY};
    const float expected[] = {0.5f, 0.5f, 0, 0, 0, 0};
    dns_softmax(rows, 2, 3);
    test_assert_close("softmax", rows, expected, 6, 1e-7, 0);
}

static void losses_have_known_values(void **state)
{
    (void)state;
    double loss;
    const float similarities[] = {2, 0, 0, 2}, target[] = {0.25f, 0.75f}, weight = 3;
    const size_t swapped[] = {1, 0};
    dns_info_nce(&loss, NULL, similarities, NULL, 2, 2, 0.5);
    assert_float_equal(loss, log1p(exp(-4)), 1e-9);
    dns_info_nce(&loss, NULL, similarities, swapped, 2, 2, 0.5);
    assert_float_equal(loss, log1p(exp(4)), 1e-9);
    dns_cross_entropy(&loss, NULL, similarities, target, &weight, 1, 2, 1);
    assert_float_equal(loss, 3 * (0.25 * log1p(exp(-2)) + 0.75 * log1p(exp(2))), 1e-6);
}

enum { DIM = 32, HEADS = 4, HIDDEN = 48, CLUSTERS = 8, VIDEOS = 5, ROWS = 212 };

/* Longer than one stretch of queries, one frame, none. */
static const size_t offsets[VIDEOS + 1] = {0, 7, 8, 8, 142, ROWS};
static const dns_sequences videos = {VIDEOS, offsets};

struct network {
    float weights[DNS_ENCODER_TENSORS][3 * DIM * DIM], centroids[CLUSTERS * DIM],
        assignment[CLUSTERS * DIM];
    float x[ROWS * DIM], dv[VIDEOS * CLUSTERS * DIM];
    dns_encoder encoder;
    dns_netvlad netvlad;
};

struct passes {
    float y[ROWS * DIM], v[VIDEOS * CLUSTERS * DIM], a[ROWS * CLUSTERS],
        lengths[VIDEOS * (CLUSTERS + 1)];
    float dv[VIDEOS * CLUSTERS * DIM], dy[ROWS * DIM], dx[ROWS * DIM];
    float gradients[DNS_ENCODER_TENSORS][3 * DIM * DIM], dcentroids[CLUSTERS * DIM],
        dassignment[CLUSTERS * DIM];
};

static void make(struct network *n)
{
    dns_random random = dns_random_seed(7);
    n->encoder = (dns_encoder){.dim = DIM, .n_heads = HEADS, .hidden = HIDDEN};
    for (size_t i = 0; i < DNS_ENCODER_TENSORS; i++) {
        fill(&random, n->weights[i], 3 * DIM * DIM, 0.2);
        n->encoder.w[i] = n->weights[i];
    }
    fill(&random, n->centroids, CLUSTERS * DIM, 1);
    fill(&random, n->assignment, CLUSTERS * DIM, 1);
    fill(&random, n->x, ROWS * DIM, 1);
    fill(&random, n->dv, VIDEOS * CLUSTERS * DIM, 1);
    n->netvlad = (dns_netvlad){DIM, CLUSTERS, n->centroids, n->assignment};
}

static void run(struct passes *p, const struct network *n, dns_pool *pool)
{
    dns_dropout dropout = {0.1, dns_dropout_key(3, 1, 4)};
    dns_encoder_tape *tape;
    float *gradients[DNS_ENCODER_TENSORS];
    memset(p, 0, sizeof *p);
    for (size_t i = 0; i < DNS_ENCODER_TENSORS; i++)
        gradients[i] = p->gradients[i];
    memcpy(p->dv, n->dv, sizeof p->dv);
    assert_ok(dns_encoder_tape_create(&tape));
    assert_ok(dns_encoder_forward(p->y, tape, true, n->x, videos, &n->encoder, &dropout, pool));
    assert_ok(dns_netvlad_forward(p->v, p->a, p->lengths, p->y, videos, &n->netvlad, pool));
    assert_ok(dns_netvlad_backward(p->dy, p->dcentroids, p->dassignment, p->dv, p->v, p->a,
                                   p->lengths, p->y, videos, &n->netvlad, pool));
    assert_ok(dns_encoder_backward(p->dx, gradients, p->dy, tape, n->x, videos, &n->encoder,
                                   &dropout, pool));
    dns_encoder_tape_free(tape);
}

static void threads_do_not_change_a_bit(void **state)
{
    static struct network network;
    static struct passes alone, together;
    (void)state;
    make(&network);
    run(&alone, &network, NULL);
    for (size_t n_threads = 2; n_threads <= 5; n_threads += 3) {
        dns_pool *pool;
        assert_ok(dns_pool_create(&pool, n_threads));
        run(&together, &network, pool);
        assert_memory_equal(&alone, &together, sizeof alone);
        dns_pool_free(pool);
    }
}

static void a_packed_video_equals_the_video_alone(void **state)
{
    static struct network network;
    static float packed[ROWS * DIM], single[ROWS * DIM];
    (void)state;
    make(&network);
    dns_encoder_tape *tape;
    assert_ok(dns_encoder_tape_create(&tape));
    assert_ok(
        dns_encoder_forward(packed, tape, false, network.x, videos, &network.encoder, NULL, NULL));
    for (size_t v = 0; v < VIDEOS; v++) {
        size_t first = offsets[v], n = offsets[v + 1] - first;
        const size_t own[] = {0, n};
        assert_ok(dns_encoder_forward(single, tape, true, network.x + first * DIM,
                                      (dns_sequences){1, own}, &network.encoder, NULL, NULL));
        test_assert_close("encoder", single, packed + first * DIM, n * DIM, 2e-6, 2e-6);
    }
    dns_encoder_tape_free(tape);
}

static void relu_cuts_and_passes(void **state)
{
    (void)state;
    float x[] = {-1, 0, 2}, dx[3];
    const float expected[] = {0, 0, 2}, dy[] = {5, 6, 7}, expected_dx[] = {0, 0, 7};
    dns_relu_forward(x, x, 3);
    assert_memory_equal(x, expected, sizeof x);
    dns_relu_backward(dx, dy, x, 3);
    assert_memory_equal(dx, expected_dx, sizeof dx);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(layer_norm_gives_mean_and_deviation),
        cmocka_unit_test(batch_norm_tracks_with_the_unbiased_variance),
        cmocka_unit_test(dropout_drops_its_share_and_keeps_the_mean),
        cmocka_unit_test(activations_are_close_to_the_functions),
        cmocka_unit_test(softmax_bears_extremes),
        cmocka_unit_test(losses_have_known_values),
        cmocka_unit_test(threads_do_not_change_a_bit),
        cmocka_unit_test(a_packed_video_equals_the_video_alone),
        cmocka_unit_test(relu_cuts_and_passes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
