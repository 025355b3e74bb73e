#include "dnsel/convnet.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "dnsel/memory.h"

enum { SIZE_MAXIMUM = 65536, NODES_MAXIMUM = 4096 };

struct dns_graph {
    dns_layer *layers; /* weights and bias of each are owned */
    size_t n, capacity;
    size_t n_taps;
};

static bool size_fits(size_t size)
{
    return size >= 1 && size <= SIZE_MAXIMUM;
}

dns_status dns_graph_create(dns_graph **out, size_t height, size_t width, size_t channels)
{
    dns_graph *graph = NULL;
    dns_status status = DNS_OK;
    *out = NULL;
    if (!size_fits(height) || !size_fits(width) || !size_fits(channels))
        DNS_FAIL(DNS_ERR_SHAPE, "picture [%zu,%zu,%zu]", height, width, channels);
    DNS_TRY(dns_alloc(&graph, 1, sizeof *graph));
    DNS_TRY(dns_reserve(&graph->layers, &graph->capacity, 64, sizeof *graph->layers));
    graph->layers[0] = (dns_layer){.kind = DNS_LAYER_INPUT,
                                   .name = "input",
                                   .input = DNS_NO_NODE,
                                   .residual = DNS_NO_NODE,
                                   .in_channels = channels,
                                   .out_channels = channels,
                                   .height = height,
                                   .width = width,
                                   .tap = -1};
    graph->n = 1;
    *out = graph;
    graph = NULL;
out:
    dns_graph_free(graph);
    return status;
}

void dns_graph_free(dns_graph *graph)
{
    if (graph == NULL)
        return;
    for (size_t i = 0; i < graph->n; i++) {
        dns_free((void *)(uintptr_t)graph->layers[i].weights);
        dns_free((void *)(uintptr_t)graph->layers[i].bias);
    }
    dns_free(graph->layers);
    dns_free(graph);
}

static bool has_node(const dns_graph *graph, int node)
{
    return node >= 0 && (size_t)node < graph->n;
}

/* Rows or columns of the output; 0 when the kernel does not fit. */
static size_t output_size(size_t input, const dns_layer *layer)
{
    size_t padded = input + layer->pad_begin + layer->pad_end;
    return padded < layer->kernel ? 0 : (padded - layer->kernel) / layer->stride + 1;
}

/* Completes the layer from its input node, or says what does not fit. */
static dns_status fit(dns_layer *layer, const dns_graph *graph)
{
    const dns_layer *input = &graph->layers[layer->input];
    if (!size_fits(layer->kernel) || !size_fits(layer->stride) ||
        layer->pad_begin >= layer->kernel || layer->pad_end >= layer->kernel)
        return dns_status_set(
            DNS_ERR_SHAPE, "layer '%s': kernel %zu, stride %zu, padding %zu and %zu", layer->name,
            layer->kernel, layer->stride, layer->pad_begin, layer->pad_end);
    layer->in_channels = input->out_channels;
    layer->height = output_size(input->height, layer);
    layer->width = output_size(input->width, layer);
    if (layer->height == 0 || layer->width == 0)
        return dns_status_set(DNS_ERR_SHAPE, "layer '%s': kernel %zu on a map of %zux%zu",
                              layer->name, layer->kernel, input->height, input->width);
    if (layer->kind == DNS_LAYER_MAX_POOL) {
        layer->out_channels = layer->in_channels;
        layer->groups = 1;
        return DNS_OK;
    }
    if (!size_fits(layer->out_channels) || !size_fits(layer->groups) ||
        layer->in_channels % layer->groups != 0 || layer->out_channels % layer->groups != 0)
        return dns_status_set(DNS_ERR_SHAPE, "layer '%s': %zu to %zu channels in %zu groups",
                              layer->name, layer->in_channels, layer->out_channels, layer->groups);
    if (layer->residual != DNS_NO_NODE) {
        const dns_layer *other = &graph->layers[layer->residual];
        if (other->height != layer->height || other->width != layer->width ||
            other->out_channels != layer->out_channels)
            return dns_status_set(DNS_ERR_SHAPE,
                                  "layer '%s' [%zu,%zu,%zu] and its residual '%s' [%zu,%zu,%zu]",
                                  layer->name, layer->height, layer->width, layer->out_channels,
                                  other->name, other->height, other->width, other->out_channels);
    }
    return DNS_OK;
}

static dns_status copy_finite(const float **out, const float *values, size_t n, const char *name)
{
    float *copy = NULL;
    *out = NULL;
    dns_status status = DNS_OK;
    for (size_t i = 0; i < n; i++)
        if (!isfinite(values[i]))
            DNS_FAIL(DNS_ERR_RANGE, "layer '%s': a weight is not finite", name);
    DNS_TRY(dns_alloc(&copy, n, sizeof *copy));
    memcpy(copy, values, n * sizeof *copy);
    *out = copy;
out:
    return status;
}

static size_t weight_count(const dns_layer *layer)
{
    return layer->out_channels * (layer->in_channels / layer->groups) * layer->kernel *
           layer->kernel;
}

dns_status dns_graph_add(dns_graph *graph, int *node, const dns_layer *layer)
{
    dns_status status = DNS_OK;
    dns_layer added = *layer;
    added.weights = added.bias = NULL;
    added.name[sizeof added.name - 1] = '\0';
    added.tap = -1;
    *node = DNS_NO_NODE;
    if (graph->n >= NODES_MAXIMUM)
        DNS_FAIL(DNS_ERR_LIMIT, "a graph of more than %d nodes", NODES_MAXIMUM);
    bool convolution = layer->kind == DNS_LAYER_CONVOLUTION;
    if (layer->kind == DNS_LAYER_INPUT || (convolution && (!layer->weights || !layer->bias)))
        DNS_FAIL(DNS_ERR_ARG, "layer '%s': neither a pool nor a convolution with weights",
                 added.name);
    if (!has_node(graph, layer->input) ||
        (layer->residual != DNS_NO_NODE && !has_node(graph, layer->residual)))
        DNS_FAIL(DNS_ERR_ARG, "layer '%s' reads node %d and adds node %d of %zu", added.name,
                 layer->input, layer->residual, graph->n);
    DNS_TRY(fit(&added, graph));
    DNS_TRY(dns_reserve(&graph->layers, &graph->capacity, graph->n + 1, sizeof *graph->layers));
    if (convolution) {
        DNS_TRY(copy_finite(&added.weights, layer->weights, weight_count(&added), added.name));
        DNS_TRY(copy_finite(&added.bias, layer->bias, added.out_channels, added.name));
    }
    *node = (int)graph->n;
    graph->layers[graph->n++] = added;
    added.weights = NULL;
out:
    if (status != DNS_OK)
        dns_free((void *)(uintptr_t)added.weights);
    return status;
}

dns_status dns_graph_tap(dns_graph *graph, int node)
{
    if (!has_node(graph, node) || node == 0)
        return dns_status_set(DNS_ERR_ARG, "tap at node %d of %zu", node, graph->n);
    /* Numbered in the order of the nodes, which is that in which they are handed out. */
    graph->layers[node].tap = 0;
    graph->n_taps = 0;
    for (size_t i = 0; i < graph->n; i++)
        if (graph->layers[i].tap >= 0)
            graph->layers[i].tap = (int)graph->n_taps++;
    return DNS_OK;
}

size_t dns_graph_size(const dns_graph *graph)
{
    return graph->n;
}

size_t dns_graph_n_taps(const dns_graph *graph)
{
    return graph->n_taps;
}

const dns_layer *dns_graph_layer(const dns_graph *graph, size_t node)
{
    return node < graph->n ? &graph->layers[node] : NULL;
}

int dns_graph_find(const dns_graph *graph, const char *name)
{
    for (size_t i = 0; i < graph->n; i++)
        if (strcmp(graph->layers[i].name, name) == 0)
            return (int)i;
    return DNS_NO_NODE;
}

double dns_graph_cost(const dns_graph *graph, size_t node)
{
    const dns_layer *layer = dns_graph_layer(graph, node);
    if (layer == NULL || layer->kind != DNS_LAYER_CONVOLUTION)
        return 0.0;
    return (double)(layer->height * layer->width) * (double)weight_count(layer);
}

/* ---- the plain form ---- */

static float activate(float x, dns_activation activation)
{
    if (activation != DNS_ACTIVATION_NONE && x < 0.0f)
        return 0.0f;
    return activation == DNS_ACTIVATION_RELU6 && x > 6.0f ? 6.0f : x;
}

/* One output value before the residual: all taps of the kernel that lie inside the map. */
static float convolve_at(const float *map, const dns_layer *in, const dns_layer *layer, size_t y,
                         size_t x, size_t channel)
{
    size_t per_group = layer->in_channels / layer->groups;
    size_t first = channel / (layer->out_channels / layer->groups) * per_group;
    size_t kernel = layer->kernel;
    const float *weights = layer->weights + channel * per_group * kernel * kernel;
    float sum = layer->bias[channel];
    for (size_t ky = 0; ky < kernel; ky++) {
        size_t row = y * layer->stride + ky - layer->pad_begin; /* wraps above the map */
        if (row >= in->height)
            continue;
        for (size_t kx = 0; kx < kernel; kx++) {
            size_t column = x * layer->stride + kx - layer->pad_begin;
            if (column >= in->width)
                continue;
            const float *pixel = map + (row * in->width + column) * in->out_channels + first;
            for (size_t c = 0; c < per_group; c++)
                sum += pixel[c] * weights[(c * kernel + ky) * kernel + kx];
        }
    }
    return sum;
}

static float maximum_at(const float *map, const dns_layer *in, const dns_layer *layer, size_t y,
                        size_t x, size_t channel)
{
    float maximum = -INFINITY;
    for (size_t ky = 0; ky < layer->kernel; ky++)
        for (size_t kx = 0; kx < layer->kernel; kx++) {
            size_t row = y * layer->stride + ky - layer->pad_begin;
            size_t column = x * layer->stride + kx - layer->pad_begin;
            if (row >= in->height || column >= in->width)
                continue;
            float value = map[(row * in->width + column) * in->out_channels + channel];
            maximum = value > maximum ? value : maximum;
        }
    return maximum;
}

static void run_layer(float *out, const float *map, const float *residual, const dns_layer *in,
                      const dns_layer *layer)
{
    for (size_t y = 0; y < layer->height; y++)
        for (size_t x = 0; x < layer->width; x++)
            for (size_t c = 0; c < layer->out_channels; c++) {
                size_t i = (y * layer->width + x) * layer->out_channels + c;
                if (layer->kind == DNS_LAYER_MAX_POOL) {
                    out[i] = maximum_at(map, in, layer, y, x, c);
                    continue;
                }
                float value = convolve_at(map, in, layer, y, x, c);
                out[i] = activate(residual ? value + residual[i] : value, layer->activation);
            }
}

dns_status dns_graph_run_plain(const dns_graph *graph, const float *pictures, size_t n,
                               dns_map_sink sink, void *payload)
{
    dns_status status = DNS_OK;
    float **maps = NULL;
    DNS_TRY(dns_alloc(&maps, graph->n, sizeof *maps));
    for (size_t i = 0; i < graph->n; i++) {
        const dns_layer *layer = &graph->layers[i];
        DNS_TRY(
            dns_alloc(&maps[i], layer->height * layer->width, layer->out_channels * sizeof(float)));
    }
    const dns_layer *picture = &graph->layers[0];
    size_t picture_size = picture->height * picture->width * picture->out_channels;
    for (size_t p = 0; p < n; p++) {
        memcpy(maps[0], pictures + p * picture_size, picture_size * sizeof(float));
        for (size_t i = 1; i < graph->n; i++) {
            const dns_layer *layer = &graph->layers[i];
            run_layer(maps[i], maps[layer->input],
                      layer->residual == DNS_NO_NODE ? NULL : maps[layer->residual],
                      &graph->layers[layer->input], layer);
            if (layer->tap >= 0)
                DNS_TRY(sink(payload, (size_t)layer->tap,
                             &(dns_map){1, layer->height, layer->width, layer->out_channels,
                                        DNS_F32, 1.0f, maps[i]}));
        }
    }
out:
    for (size_t i = 0; maps != NULL && i < graph->n; i++)
        dns_free(maps[i]);
    dns_free(maps);
    return status;
}
