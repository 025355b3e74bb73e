/* A small network of the same make as EfficientNet-Lite, with random weights. */
#ifndef DNS_TEST_SMALL_BACKBONE_H
#define DNS_TEST_SMALL_BACKBONE_H

#include "support.h"

#include <stdio.h>

#include "dnsel/backbone.h"

enum { SIZE = 28, TAP_SUM = 6 + 8 + 12 + 10 };

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

static inline int add(dns_graph *graph, const char *name, int input, size_t out, size_t kernel,
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

static inline dns_graph *make_graph(bool with_blocks)
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

#endif
