#include "support.h"

#include <stdio.h>
#include <string.h>

#include "dnsel/backbone_split.h"
#include "dnsel/extractor.h"

enum { SIZE = 28, N = 5, OUT = 4, TAP_SUM = 6 + 8 + 12 + 10 };

/* A small network of the same make: strided convolutions, one strided depthwise block, one block
 * behind it, a head. */
static const dns_backbone small = {
    .name = "small",
    .input_size = SIZE,
    .mean = {127, 127, 127},
    .deviation = {128, 128, 128},
    .epsilon = 1e-3,
    .taps = {{"stem", 6, 28, 14, 7},
             {"half", 8, 14, 6, 3},
             {"expand0", 12, 14, 6, 3},
             {"head", 10, 7, 3, 2}},
    .region_dim = TAP_SUM,
};

static dns_random randomness;
static float weights[4096], bias[64];

static int add(dns_graph *graph, const char *name, int input, size_t out, size_t kernel,
               size_t stride, size_t groups, dns_activation activation, int residual)
{
    dns_layer layer = {.kind = DNS_LAYER_CONVOLUTION,
                       .input = input,
                       .out_channels = out,
                       .kernel = kernel,
                       .stride = stride,
                       .groups = groups,
                       .activation = activation,
                       .residual = residual,
                       .weights = weights,
                       .bias = bias};
    int node;
    size_t pad = kernel - 1;
    layer.pad_begin = stride > 1 ? (pad - 1) / 2 : pad / 2;
    layer.pad_end = stride > 1 ? pad - 1 - layer.pad_begin : pad - layer.pad_begin;
    snprintf(layer.name, sizeof layer.name, "%s", name);
    for (size_t i = 0; i < 4096; i++)
        weights[i] = (float)dns_random_normal(&randomness) * 0.5f;
    for (size_t i = 0; i < 64; i++)
        bias[i] = (float)dns_random_normal(&randomness) * 0.5f + 0.3f;
    assert_ok(dns_graph_add(graph, &node, &layer));
    return node;
}

static dns_graph *make_graph(bool with_blocks)
{
    dns_graph *graph;
    randomness = dns_random_seed(3);
    assert_ok(dns_graph_create(&graph, SIZE, SIZE, 3));
    int x = add(graph, "stem", 0, 6, 3, 1, 1, DNS_ACTIVATION_RELU6, DNS_NO_NODE);
    assert_ok(dns_graph_tap(graph, x));
    x = add(graph, "half", x, 8, 3, 2, 1, DNS_ACTIVATION_RELU6, DNS_NO_NODE);
    assert_ok(dns_graph_tap(graph, x));
    x = add(graph, "expand0", x, 12, 1, 1, 1, DNS_ACTIVATION_RELU6, DNS_NO_NODE);
    assert_ok(dns_graph_tap(graph, x));
    x = add(graph, "depthwise0", x, 12, 3, 2, with_blocks ? 12 : 1, DNS_ACTIVATION_RELU6,
            DNS_NO_NODE);
    int trunk = add(graph, "project0", x, 6, 1, 1, 1, DNS_ACTIVATION_NONE, DNS_NO_NODE);
    x = add(graph, "expand1", trunk, 14, 1, 1, 1, DNS_ACTIVATION_RELU6, DNS_NO_NODE);
    x = add(graph, "depthwise1", x, 14, 5, 1, 14, DNS_ACTIVATION_RELU6, DNS_NO_NODE);
    x = add(graph, "project1", x, 6, 1, 1, 1, DNS_ACTIVATION_NONE, trunk);
    x = add(graph, "head", x, 10, 1, 1, 1, DNS_ACTIVATION_RELU6, DNS_NO_NODE);
    assert_ok(dns_graph_tap(graph, x));
    return graph;
}

static uint8_t frames[N * SIZE * SIZE * 3];

/* Front and tail together give the region vectors that the whole network gives. */
static void front_and_tail_make_the_whole(void **state)
{
    (void)state;
    dns_graph *graph = make_graph(true);
    dns_extractor *extractor;
    dns_extractor_session *whole;
    dns_backbone_front *front;
    dns_backbone_front_session *session;
    dns_backbone_tail *tail;
    static float expected[N * DNS_REGIONS * TAP_SUM], joined[N * DNS_REGIONS * TAP_SUM],
        regions[N * DNS_REGIONS * OUT];
    static float trunk[N * 7 * 7 * 6], fixed[N * DNS_REGIONS * (TAP_SUM - 10)], mean[TAP_SUM],
        matrix[TAP_SUM * OUT];
    for (size_t i = 0; i < sizeof frames; i++)
        frames[i] = (uint8_t)dns_random_next(&randomness);
    for (size_t i = 0; i < TAP_SUM * OUT; i++)
        matrix[i] = (float)dns_random_normal(&randomness);
    assert_ok(dns_extractor_create(&extractor, &small, graph, 2, DNS_PRECISION_F32, NULL));
    assert_ok(dns_extractor_session_create(&whole, extractor));
    assert_ok(dns_extractor_run(whole, expected, frames, N));
    assert_ok(dns_backbone_front_create(&front, &small, graph));
    assert_int_equal(dns_backbone_front_trunk(front), 7 * 7 * 6);
    assert_int_equal(dns_backbone_front_fixed(front), TAP_SUM - 10);
    assert_ok(dns_backbone_front_session_create(&session, front));
    assert_ok(dns_backbone_front_run(session, trunk, fixed, frames, N));
    assert_ok(dns_backbone_tail_of(&tail, &small, graph, OUT, true));
    dns_backbone_tail_set_whitening(tail, mean, matrix);
    const dns_tail_batch batch = {trunk, fixed, N};
    assert_ok(dns_backbone_tail_forward(tail, regions, joined, &batch, NULL));
    test_assert_close("joined", joined, expected, N * DNS_REGIONS * TAP_SUM, 2e-6, 0);
    const dns_parameters *p = dns_backbone_tail_parameters(tail);
    assert_int_equal(dns_parameters_count(p), 8);
    assert_string_equal(dns_parameters_at(p, 0)->name, "expand1.weight");
    assert_string_equal(dns_parameters_at(p, 7)->name, "head.bias");
    dns_backbone_tail_free(tail);
    dns_backbone_front_session_free(session);
    dns_backbone_front_free(front);
    dns_extractor_session_free(whole);
    dns_extractor_free(extractor);
    dns_graph_free(graph);
}

static void other_networks_are_refused(void **state)
{
    (void)state;
    dns_graph *graph = make_graph(false);
    dns_backbone_tail *tail;
    dns_backbone_front *front;
    assert_status(dns_backbone_tail_of(&tail, &small, graph, OUT, false), DNS_ERR_UNSUPPORTED);
    assert_status(dns_backbone_front_create(&front, &small, graph), DNS_ERR_UNSUPPORTED);
    dns_graph_free(graph);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(front_and_tail_make_the_whole),
        cmocka_unit_test(other_networks_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
