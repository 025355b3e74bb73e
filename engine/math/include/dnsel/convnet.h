/*
 * Convolution networks for inference, by oneDNN: a graph is built, compiled for a batch size and a
 * precision, and run by sessions. Pictures and maps are NHWC: [n][height][width][channels].
 *
 * Everything here runs on the calling thread alone and gives the same bits for the same input,
 * whatever else is in the batch. Processors differ in the last bits.
 */
#ifndef DNSEL_CONVNET_H
#define DNSEL_CONVNET_H

#include <stdbool.h>
#include <stddef.h>

#include "dnsel/tensor.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef enum dns_activation {
    DNS_ACTIVATION_NONE,
    DNS_ACTIVATION_RELU,
    DNS_ACTIVATION_RELU6 /* min(max(x, 0), 6) */
} dns_activation;

typedef enum dns_layer_kind {
    DNS_LAYER_INPUT, /* node 0 of every graph */
    DNS_LAYER_CONVOLUTION,
    DNS_LAYER_MAX_POOL
} dns_layer_kind;

enum { DNS_NO_NODE = -1 };

/* One node of a graph. A convolution is a cross-correlation, y = activation(w * x + bias +
 * residual), square kernels, zeros outside the map. Nodes are numbered in the order in which they
 * are added. */
typedef struct dns_layer {
    dns_layer_kind kind;
    char name[64];
    int input;             /* the node read */
    size_t out_channels;   /* convolution only; a pool keeps its channels */
    size_t kernel, stride; /* at least 1 */
    size_t pad_begin;      /* rows above and columns left */
    size_t pad_end;        /* rows below and columns right */
    size_t groups; /* 1, or in_channels (depthwise), or any divisor of both numbers of channels */
    dns_activation activation;
    int residual; /* node of the same shape that is added before the activation, or DNS_NO_NODE */
    const float *weights; /* [out_channels][in_channels / groups][kernel][kernel] */
    const float *bias;    /* [out_channels] */
    /* Filled in by the graph. */
    size_t in_channels, height, width; /* of the output map */
    int tap;                           /* its number when the node is tapped, otherwise -1 */
} dns_layer;

/* ---- graph ---- */

typedef struct dns_graph dns_graph;

/* A graph whose node 0 is a picture of that shape. DNS_ERR_SHAPE when a size is 0 or above 65536.
 */
DNS_API DNS_MUST_CHECK dns_status dns_graph_create(dns_graph **out, size_t height, size_t width,
                                                   size_t channels);
DNS_API void dns_graph_free(dns_graph *graph);

/* Adds a convolution or pool; *node is its number. Weights and bias are copied. DNS_ERR_SHAPE when
 * sizes do not fit, DNS_ERR_RANGE when a weight is not finite. */
DNS_API DNS_MUST_CHECK dns_status dns_graph_add(dns_graph *graph, int *node,
                                                const dns_layer *layer);

/* The map of this node will be handed out; taps are numbered from 0. */
DNS_API DNS_MUST_CHECK dns_status dns_graph_tap(dns_graph *graph, int node);

DNS_API size_t dns_graph_size(const dns_graph *graph);
DNS_API size_t dns_graph_n_taps(const dns_graph *graph);
/* Borrowed; NULL when there is no such node. */
DNS_API const dns_layer *dns_graph_layer(const dns_graph *graph, size_t node);
/* The node of that name, or DNS_NO_NODE. */
DNS_API int dns_graph_find(const dns_graph *graph, const char *name);
/* Multiply-adds of one picture at one node. */
DNS_API double dns_graph_cost(const dns_graph *graph, size_t node);

/* ---- maps handed out ---- */

/* n maps [height][width][channels]. Values are data[i] (DNS_F32) or data[i] * scale (DNS_U8,
 * DNS_I8). */
typedef struct dns_map {
    size_t n, height, width, channels;
    dns_dtype dtype;
    float scale;
    const void *data;
} dns_map;

/* Receives each tapped map as soon as it is computed, in the order of the nodes; it is gone
 * afterwards. A failure ends the run and is returned by it. */
typedef dns_status (*dns_map_sink)(void *payload, size_t tap, const dns_map *map);

/* The plain C form of every layer, f32, for tests and as the definition. `pictures`
 * [n][height][width][channels]. */
DNS_API DNS_MUST_CHECK dns_status dns_graph_run_plain(const dns_graph *graph, const float *pictures,
                                                      size_t n, dns_map_sink sink, void *payload);

/* ---- compiled ---- */

typedef enum dns_precision {
    DNS_PRECISION_F32,
    /* Signed bytes for weights (one scale a channel), bytes for maps (one scale a map), sums in 32
     * bits. The first convolution stays in f32. */
    DNS_PRECISION_INT8
} dns_precision;

DNS_API const char *dns_precision_name(dns_precision precision); /* "f32", "int8" */
DNS_API DNS_MUST_CHECK dns_status dns_precision_parse(dns_precision *out, const char *name);
/* INT8 wants AVX-512 VNNI: without it the products of bytes saturate. */
DNS_API bool dns_precision_available(dns_precision precision);

/* *ranges [dns_graph_size], written by the caller's array: for every node the mean over the
 * pictures of the largest magnitude in its map, which INT8 needs. `pictures`
 * [n][height][width][channels]. */
DNS_API DNS_MUST_CHECK dns_status dns_graph_calibrate(float *ranges, const dns_graph *graph,
                                                      const float *pictures, size_t n);

/* A graph with its weights in the layout of this processor; immutable, shared freely. */
typedef struct dns_convnet dns_convnet;

/* Compiles for runs of `batch` pictures. `ranges` [dns_graph_size] only for INT8, otherwise NULL.
 * The graph is not needed afterwards. DNS_ERR_UNSUPPORTED (precision), DNS_ERR_ARG, DNS_ERR_RANGE
 * (a range is not positive), DNS_ERR_BACKEND when oneDNN refuses or offers only its reference code
 * for a layer, which is hundreds of times slower. */
DNS_API DNS_MUST_CHECK dns_status dns_convnet_create(dns_convnet **out, const dns_graph *graph,
                                                     size_t batch, dns_precision precision,
                                                     const float *ranges);
/* After all its sessions. NULL is fine. */
DNS_API void dns_convnet_free(dns_convnet *net);

DNS_API size_t dns_convnet_batch(const dns_convnet *net);

/* What is executed, layer by layer, for reports. */
typedef struct dns_convnet_step {
    int node;
    const char *name;           /* of the layer, or "reorder"; borrowed */
    const char *implementation; /* oneDNN's name of the code; borrowed */
    double multiply_adds;       /* of the whole batch */
} dns_convnet_step;
DNS_API size_t dns_convnet_n_steps(const dns_convnet *net);
DNS_API dns_convnet_step dns_convnet_step_at(const dns_convnet *net, size_t step);

/* Working memory for one run at a time. */
typedef struct dns_convnet_session dns_convnet_session;

DNS_API DNS_MUST_CHECK dns_status dns_convnet_session_create(dns_convnet_session **out,
                                                             const dns_convnet *net);
DNS_API void dns_convnet_session_free(dns_convnet_session *session);

/* Where the pictures go before each run: [batch][height][width][channels]; overwritten by the run.
 */
DNS_API float *dns_convnet_session_input(dns_convnet_session *session);

/* Runs the batch. `sink` may be NULL. `seconds` [dns_convnet_n_steps], unless NULL, is increased by
 * the time of each step. */
DNS_API DNS_MUST_CHECK dns_status dns_convnet_run(dns_convnet_session *session, dns_map_sink sink,
                                                  void *payload, double *seconds);

#ifdef __cplusplus
}
#endif

#endif
