#include "dnsel/convnet.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include <dnnl.h>
#include <omp.h>
#if defined(__SSE2__)
#include <immintrin.h>
#endif

#include "dnsel/cpu.h"
#include "dnsel/memory.h"
#include "dnsel/progress.h"

enum { ALIGNMENT = 64 };

/* A map in working memory, alive from the step that writes it to the last one that reads it. */
struct value {
    dnnl_memory_desc_t layout;
    size_t size, offset;
    size_t first, last;
};

struct step {
    int node;
    int tap;                    /* its number when this step only hands a map out, otherwise -1 */
    dnnl_primitive_t primitive; /* NULL for such a step */
    char implementation[40];
    size_t from, to; /* values */
    dnnl_memory_t weights, bias;
    dnnl_memory_desc_t scratch;
    dnnl_data_type_t type; /* of the map handed out */
    float scale;
};

struct dns_convnet {
    dnnl_engine_t engine;
    dnnl_stream_t stream; /* for the weights */
    size_t batch;
    size_t n_layers;
    dns_layer *layers; /* without weights */
    struct value *values;
    size_t n_values, values_capacity;
    struct step *steps;
    size_t n_steps, steps_capacity;
    size_t arena_size, scratch_size;
};

struct dns_convnet_session {
    const dns_convnet *net;
    dnnl_stream_t stream;
    uint8_t *arena, *scratch;
    dnnl_memory_t *values, *scratches;
};

/* ---- the calling thread ---- */

/* oneDNN would start a team of OpenMP threads, and one map of denormal numbers costs 60 times its
 * normal time. */
struct thread_state {
    int n_threads;
    unsigned floats;
};

static struct thread_state enter_single(void)
{
    struct thread_state state = {omp_get_max_threads(), 0};
    if (state.n_threads != 1)
        omp_set_num_threads(1);
#if defined(__SSE2__)
    state.floats = _mm_getcsr();
    _mm_setcsr(state.floats | 0x8040); /* FTZ | DAZ */
#endif
    return state;
}

static void leave_single(struct thread_state state)
{
#if defined(__SSE2__)
    _mm_setcsr(state.floats);
#endif
    if (state.n_threads != 1)
        omp_set_num_threads(state.n_threads);
}

static dns_status from_dnnl(dnnl_status_t code, const char *what)
{
    if (code == dnnl_success)
        return DNS_OK;
    return dns_status_set(code == dnnl_out_of_memory ? DNS_ERR_NOMEM : DNS_ERR_BACKEND,
                          "oneDNN: %s: status %d", what, (int)code);
}

#define TRY_DNNL(call, what) DNS_TRY(from_dnnl((call), (what)))

/* ---- precision ---- */

static const char *const precision_names[] = {"f32", "int8"};

const char *dns_precision_name(dns_precision precision)
{
    return precision_names[precision];
}

dns_status dns_precision_parse(dns_precision *out, const char *name)
{
    for (int i = 0; i < 2; i++)
        if (strcmp(name, precision_names[i]) == 0) {
            *out = (dns_precision)i;
            return DNS_OK;
        }
    return dns_status_set(DNS_ERR_ARG, "precision '%s', not f32 or int8", name);
}

bool dns_precision_available(dns_precision precision)
{
    return precision == DNS_PRECISION_F32 || (dns_cpu_flags() & DNS_CPU_VNNI) != 0;
}

/* ---- compiling ---- */

/* A node's map while the graph is compiled. */
struct node {
    size_t value;
    dnnl_data_type_t type;
    float scale;
    int last_reader; /* node */
};

struct compiler {
    dns_convnet *net;
    const dns_graph *graph;
    dns_precision precision;
    const float *ranges;
    struct node *nodes;
};

static dns_status describe(dnnl_memory_desc_t *layout, const dns_convnet *net,
                           const dns_layer *layer, dnnl_data_type_t type, dnnl_format_tag_t tag)
{
    const dnnl_dims_t dims = {(dnnl_dim_t)net->batch, (dnnl_dim_t)layer->out_channels,
                              (dnnl_dim_t)layer->height, (dnnl_dim_t)layer->width};
    return from_dnnl(dnnl_memory_desc_init_by_tag(layout, 4, dims, type, tag), "layout");
}

static dns_status add_value(size_t *out, dns_convnet *net, const dnnl_memory_desc_t *layout)
{
    dns_status status = DNS_OK;
    DNS_TRY(
        dns_reserve(&net->values, &net->values_capacity, net->n_values + 1, sizeof *net->values));
    net->values[net->n_values] = (struct value){.layout = *layout,
                                                .size = dnnl_memory_desc_get_size(layout),
                                                .first = net->n_steps,
                                                .last = net->n_steps};
    *out = net->n_values++;
out:
    return status;
}

/* Appends a step that runs `description`, or hands out `from` when that is NULL. */
static dns_status add_step(dns_convnet *net, const_dnnl_primitive_desc_t description,
                           struct step step)
{
    dns_status status = DNS_OK;
    const char *name = "hand-out";
    DNS_TRY(dns_reserve(&net->steps, &net->steps_capacity, net->n_steps + 1, sizeof *net->steps));
    if (description != NULL) {
        TRY_DNNL(dnnl_primitive_desc_query(description, dnnl_query_impl_info_str, 0, (void *)&name),
                 "implementation");
        if (strncmp(name, "ref", 3) == 0)
            DNS_FAIL(DNS_ERR_BACKEND, "oneDNN: layer '%s' would run its reference code (%s)",
                     net->layers[step.node].name, name);
        step.scratch = *dnnl_primitive_desc_query_md(description, dnnl_query_scratchpad_md, 0);
        size_t scratch_size = dnnl_memory_desc_get_size(&step.scratch);
        net->scratch_size = scratch_size > net->scratch_size ? scratch_size : net->scratch_size;
        TRY_DNNL(dnnl_primitive_create(&step.primitive, description), "primitive");
    }
    snprintf(step.implementation, sizeof step.implementation, "%s", name);
    net->values[step.from].last = net->n_steps;
    net->values[step.to].last = net->n_steps;
    net->steps[net->n_steps++] = step;
out:
    return status;
}

static dns_status create_attributes(dnnl_primitive_attr_t *out)
{
    dns_status status = DNS_OK;
    TRY_DNNL(dnnl_primitive_attr_create(out), "attributes");
    TRY_DNNL(dnnl_primitive_attr_set_scratchpad_mode(*out, dnnl_scratchpad_mode_user),
             "scratchpad");
out:
    return status;
}

/* *to = a value with the content of `from` in another layout or type, times `factor`; `from` itself
 * when nothing changes. */
static dns_status add_reorder(size_t *to, struct compiler *c, int node, size_t from,
                              const dnnl_memory_desc_t *layout, float factor, bool always)
{
    dns_status status = DNS_OK;
    dns_convnet *net = c->net;
    dnnl_primitive_attr_t attributes = NULL;
    dnnl_primitive_desc_t description = NULL;
    *to = from;
    if (!always && dnnl_memory_desc_equal(&net->values[from].layout, layout))
        goto out;
    DNS_TRY(create_attributes(&attributes));
    if (factor != 1.0f)
        TRY_DNNL(dnnl_primitive_attr_set_output_scales(attributes, 1, 0, &factor), "scale");
    TRY_DNNL(dnnl_reorder_primitive_desc_create(&description, &net->values[from].layout,
                                                net->engine, layout, net->engine, attributes),
             "reorder");
    DNS_TRY(add_value(to, net, layout));
    DNS_TRY(add_step(net, description,
                     (struct step){.node = node, .tap = -1, .from = from, .to = *to}));
out:
    if (description != NULL)
        dnnl_primitive_desc_destroy(description);
    if (attributes != NULL)
        dnnl_primitive_attr_destroy(attributes);
    return status;
}

/* Post-operations in this order: the residual is added, the activation applied. Bytes without a
 * sign are the activation themselves: they end at 0, and at a range of at most 6. */
static dns_status set_post_operations(dnnl_primitive_attr_t attributes, const dns_layer *layer,
                                      const struct node *residual, const struct node *result)
{
    dns_status status = DNS_OK;
    dnnl_post_ops_t operations = NULL;
    TRY_DNNL(dnnl_post_ops_create(&operations), "post-operations");
    if (residual != NULL)
        TRY_DNNL(dnnl_post_ops_append_sum_v2(operations, residual->scale / result->scale,
                                             residual->type),
                 "residual");
    if (result->type == dnnl_f32 && layer->activation == DNS_ACTIVATION_RELU)
        TRY_DNNL(dnnl_post_ops_append_eltwise(operations, 1.0f, dnnl_eltwise_relu, 0.0f, 0.0f),
                 "ReLU");
    if (result->type == dnnl_f32 && layer->activation == DNS_ACTIVATION_RELU6)
        TRY_DNNL(dnnl_post_ops_append_eltwise(operations, 1.0f, dnnl_eltwise_clip, 0.0f, 6.0f),
                 "ReLU6");
    TRY_DNNL(dnnl_primitive_attr_set_post_ops(attributes, operations), "post-operations");
out:
    if (operations != NULL)
        dnnl_post_ops_destroy(operations);
    return status;
}

/* Weights and bias as numbers that the primitive takes: as they are for f32; for bytes w / s_w and
 * b / (s_x s_w), with factors [out_channels] = s_x s_w / s_y back to the scale of the result. */
static void quantise(int8_t *weights, float *bias, float *factors, const dns_layer *layer,
                     float input_scale, float result_scale)
{
    size_t per_channel = layer->in_channels / layer->groups * layer->kernel * layer->kernel;
    for (size_t o = 0; o < layer->out_channels; o++) {
        const float *w = layer->weights + o * per_channel;
        float largest = 1e-12f;
        for (size_t i = 0; i < per_channel; i++)
            largest = fmaxf(largest, fabsf(w[i]));
        float scale = largest / 127.0f;
        for (size_t i = 0; i < per_channel; i++)
            weights[o * per_channel + i] = (int8_t)lrintf(w[i] / scale);
        bias[o] = layer->bias[o] / (input_scale * scale);
        factors[o] = input_scale * scale / result_scale;
    }
}

/* *out = `data` in the layout that the primitive wants. */
static dns_status place(dnnl_memory_t *out, dns_convnet *net, const dnnl_memory_desc_t *given,
                        const void *data, const dnnl_memory_desc_t *wanted)
{
    dns_status status = DNS_OK;
    dnnl_memory_t from = NULL;
    dnnl_primitive_desc_t description = NULL;
    dnnl_primitive_t reorder = NULL;
    TRY_DNNL(dnnl_memory_create(&from, given, net->engine, (void *)(uintptr_t)data), "weights");
    TRY_DNNL(dnnl_memory_create(out, wanted, net->engine, DNNL_MEMORY_ALLOCATE), "weights");
    TRY_DNNL(dnnl_reorder_primitive_desc_create(&description, given, net->engine, wanted,
                                                net->engine, NULL),
             "reorder of weights");
    TRY_DNNL(dnnl_primitive_create(&reorder, description), "reorder of weights");
    dnnl_exec_arg_t arguments[] = {{DNNL_ARG_FROM, from}, {DNNL_ARG_TO, *out}};
    TRY_DNNL(dnnl_primitive_execute(reorder, net->stream, 2, arguments), "reorder of weights");
    TRY_DNNL(dnnl_stream_wait(net->stream), "reorder of weights");
out:
    if (reorder != NULL)
        dnnl_primitive_destroy(reorder);
    if (description != NULL)
        dnnl_primitive_desc_destroy(description);
    if (from != NULL)
        dnnl_memory_destroy(from);
    return status;
}

/* A convolution between its attributes and its primitive. */
struct convolution {
    dnnl_primitive_attr_t attributes;
    dnnl_primitive_desc_t description;
    dnnl_memory_desc_t given_weights, given_bias;
    int8_t *weights;       /* NULL for f32 */
    float *bias, *factors; /* NULL for f32 */
};

static void convolution_free(struct convolution *conv)
{
    if (conv->description != NULL)
        dnnl_primitive_desc_destroy(conv->description);
    if (conv->attributes != NULL)
        dnnl_primitive_attr_destroy(conv->attributes);
    dns_free(conv->weights);
    dns_free(conv->bias);
    dns_free(conv->factors);
}

static int weight_dims(dnnl_dims_t dims, const dns_layer *layer)
{
    int rank = 0;
    if (layer->groups > 1)
        dims[rank++] = (dnnl_dim_t)layer->groups;
    dims[rank++] = (dnnl_dim_t)(layer->out_channels / layer->groups);
    dims[rank++] = (dnnl_dim_t)(layer->in_channels / layer->groups);
    dims[rank++] = (dnnl_dim_t)layer->kernel;
    dims[rank++] = (dnnl_dim_t)layer->kernel;
    return rank;
}

/* Every layout is left to oneDNN: given one of ours it may fall back to its reference code. */
static dns_status describe_convolution(struct convolution *conv, const struct compiler *c,
                                       const dns_layer *layer, const struct node *input,
                                       const struct node *result)
{
    dns_status status = DNS_OK;
    dnnl_memory_desc_t from, to, weights;
    dnnl_convolution_desc_t op;
    dnnl_dims_t dims;
    int rank = weight_dims(dims, layer);
    const dnnl_dims_t out_channels = {(dnnl_dim_t)layer->out_channels};
    const dnnl_dims_t strides = {(dnnl_dim_t)layer->stride, (dnnl_dim_t)layer->stride};
    const dnnl_dims_t begin = {(dnnl_dim_t)layer->pad_begin, (dnnl_dim_t)layer->pad_begin};
    const dnnl_dims_t end = {(dnnl_dim_t)layer->pad_end, (dnnl_dim_t)layer->pad_end};
    dnnl_data_type_t type = conv->weights == NULL ? dnnl_f32 : dnnl_s8;

    DNS_TRY(describe(&from, c->net, dns_graph_layer(c->graph, (size_t)layer->input), input->type,
                     dnnl_format_tag_any));
    DNS_TRY(describe(&to, c->net, layer, result->type, dnnl_format_tag_any));
    TRY_DNNL(dnnl_memory_desc_init_by_tag(&weights, rank, dims, type, dnnl_format_tag_any),
             "weights");
    TRY_DNNL(dnnl_memory_desc_init_by_tag(&conv->given_weights, rank, dims, type,
                                          rank == 5 ? dnnl_goihw : dnnl_oihw),
             "weights");
    TRY_DNNL(dnnl_memory_desc_init_by_tag(&conv->given_bias, 1, out_channels, dnnl_f32, dnnl_x),
             "bias");
    TRY_DNNL(dnnl_convolution_forward_desc_init(&op, dnnl_forward_inference,
                                                dnnl_convolution_direct, &from, &weights,
                                                &conv->given_bias, &to, strides, begin, end),
             layer->name);
    TRY_DNNL(
        dnnl_primitive_desc_create(&conv->description, &op, conv->attributes, c->net->engine, NULL),
        layer->name);
out:
    return status;
}

/* *value = where the convolution writes: onto its residual when nothing reads that afterwards,
 * otherwise onto a copy of it, otherwise onto a new map. */
static dns_status choose_target(size_t *value, struct compiler *c, int node, const dns_layer *layer,
                                const dnnl_memory_desc_t *wanted)
{
    if (layer->residual == DNS_NO_NODE)
        return add_value(value, c->net, wanted);
    const struct node *residual = &c->nodes[layer->residual];
    bool needed = residual->last_reader > node || layer->residual == layer->input;
    dnnl_memory_desc_t layout = *wanted;
    layout.data_type = residual->type;
    return add_reorder(value, c, node, residual->value, &layout, 1.0f, needed);
}

static dns_status prepare_bytes(struct convolution *conv, const dns_layer *layer,
                                const struct node *input, const struct node *result)
{
    dns_status status = DNS_OK;
    size_t per_channel = layer->in_channels / layer->groups * layer->kernel * layer->kernel;
    DNS_TRY(dns_alloc(&conv->weights, layer->out_channels, per_channel));
    DNS_TRY(dns_alloc(&conv->bias, layer->out_channels, sizeof(float)));
    DNS_TRY(dns_alloc(&conv->factors, layer->out_channels, sizeof(float)));
    quantise(conv->weights, conv->bias, conv->factors, layer, input->scale, result->scale);
    TRY_DNNL(dnnl_primitive_attr_set_output_scales(
                 conv->attributes, (dnnl_dim_t)layer->out_channels, 1 << 1, conv->factors),
             "scales");
out:
    return status;
}

static dns_status add_convolution(struct compiler *c, int node, const dns_layer *layer)
{
    dns_status status = DNS_OK;
    dns_convnet *net = c->net;
    struct convolution conv = {0};
    struct step step = {.node = node, .tap = -1};
    const struct node *input = &c->nodes[layer->input];
    const struct node *residual =
        layer->residual == DNS_NO_NODE ? NULL : &c->nodes[layer->residual];
    struct node target = c->nodes[node];
    bool bytes = input->type != dnnl_f32;
    if (!bytes) { /* the first convolution of a net of bytes */
        target.type = dnnl_f32;
        target.scale = 1.0f;
    }
    DNS_TRY(create_attributes(&conv.attributes));
    if (bytes)
        DNS_TRY(prepare_bytes(&conv, layer, input, &target));
    DNS_TRY(set_post_operations(conv.attributes, layer, residual, &target));
    DNS_TRY(describe_convolution(&conv, c, layer, input, &target));

    const_dnnl_primitive_desc_t pd = conv.description;
    DNS_TRY(add_reorder(&step.from, c, node, input->value,
                        dnnl_primitive_desc_query_md(pd, dnnl_query_src_md, 0), 1.0f, false));
    const dnnl_memory_desc_t *wanted = dnnl_primitive_desc_query_md(pd, dnnl_query_dst_md, 0);
    DNS_TRY(choose_target(&step.to, c, node, layer, wanted));
    net->values[step.to].layout = *wanted; /* of the residual's type until now */
    DNS_TRY(place(&step.weights, net, &conv.given_weights,
                  bytes ? (const void *)conv.weights : layer->weights,
                  dnnl_primitive_desc_query_md(pd, dnnl_query_weights_md, 0)));
    DNS_TRY(place(&step.bias, net, &conv.given_bias, bytes ? conv.bias : layer->bias,
                  dnnl_primitive_desc_query_md(pd, dnnl_query_weights_md, 1)));
    DNS_TRY(add_step(net, pd, step));
    step.weights = step.bias = NULL; /* the net's from here on */
    c->nodes[node].value = step.to;
    if (target.type != c->nodes[node].type) {
        dnnl_memory_desc_t layout = *wanted;
        layout.data_type = c->nodes[node].type;
        DNS_TRY(add_reorder(&c->nodes[node].value, c, node, step.to, &layout,
                            1.0f / c->nodes[node].scale, false));
    }
out:
    if (step.weights != NULL)
        dnnl_memory_destroy(step.weights);
    if (step.bias != NULL)
        dnnl_memory_destroy(step.bias);
    convolution_free(&conv);
    return status;
}

static dns_status add_pool(struct compiler *c, int node, const dns_layer *layer)
{
    dns_status status = DNS_OK;
    dns_convnet *net = c->net;
    dnnl_primitive_attr_t attributes = NULL;
    dnnl_primitive_desc_t description = NULL;
    dnnl_memory_desc_t to;
    dnnl_pooling_desc_t op;
    struct step step = {.node = node, .tap = -1, .from = c->nodes[layer->input].value};
    const dnnl_dims_t strides = {(dnnl_dim_t)layer->stride, (dnnl_dim_t)layer->stride};
    const dnnl_dims_t kernel = {(dnnl_dim_t)layer->kernel, (dnnl_dim_t)layer->kernel};
    const dnnl_dims_t begin = {(dnnl_dim_t)layer->pad_begin, (dnnl_dim_t)layer->pad_begin};
    const dnnl_dims_t end = {(dnnl_dim_t)layer->pad_end, (dnnl_dim_t)layer->pad_end};
    DNS_TRY(create_attributes(&attributes));
    DNS_TRY(describe(&to, net, layer, c->nodes[node].type, dnnl_format_tag_any));
    TRY_DNNL(dnnl_pooling_forward_desc_init(&op, dnnl_forward_inference, dnnl_pooling_max,
                                            &net->values[step.from].layout, &to, strides, kernel,
                                            begin, end),
             layer->name);
    TRY_DNNL(dnnl_primitive_desc_create(&description, &op, attributes, net->engine, NULL),
             layer->name);
    DNS_TRY(
        add_value(&step.to, net, dnnl_primitive_desc_query_md(description, dnnl_query_dst_md, 0)));
    DNS_TRY(add_step(net, description, step));
    c->nodes[node].value = step.to;
out:
    if (description != NULL)
        dnnl_primitive_desc_destroy(description);
    if (attributes != NULL)
        dnnl_primitive_attr_destroy(attributes);
    return status;
}

static dns_status add_tap(struct compiler *c, int node, const dns_layer *layer)
{
    dns_status status = DNS_OK;
    dnnl_memory_desc_t plain;
    struct step step = {.node = node,
                        .tap = layer->tap,
                        .type = c->nodes[node].type,
                        .scale = c->nodes[node].scale};
    DNS_TRY(describe(&plain, c->net, layer, c->nodes[node].type, dnnl_nhwc));
    DNS_TRY(add_reorder(&step.from, c, node, c->nodes[node].value, &plain, 1.0f, false));
    step.to = step.from;
    DNS_TRY(add_step(c->net, NULL, step));
out:
    return status;
}

/* Type and scale of every node's map, and who reads it last. */
static dns_status plan_nodes(struct compiler *c)
{
    for (size_t i = 0; i < c->net->n_layers; i++) {
        const dns_layer *layer = dns_graph_layer(c->graph, i);
        struct node *node = &c->nodes[i];
        *node = (struct node){.type = dnnl_f32, .scale = 1.0f};
        if (layer->kind != DNS_LAYER_INPUT)
            c->nodes[layer->input].last_reader = (int)i;
        if (layer->residual != DNS_NO_NODE)
            c->nodes[layer->residual].last_reader = (int)i;
        if (c->precision == DNS_PRECISION_F32 || layer->kind == DNS_LAYER_INPUT)
            continue;
        if (layer->kind == DNS_LAYER_MAX_POOL) {
            node->type = c->nodes[layer->input].type;
            node->scale = c->nodes[layer->input].scale;
            continue;
        }
        float range = c->ranges[i];
        if (!isfinite(range) || !(range > 0.0f))
            return dns_status_set(DNS_ERR_RANGE, "layer '%s': range %g", layer->name,
                                  (double)range);
        if (layer->activation == DNS_ACTIVATION_RELU6 && range > 6.0f)
            range = 6.0f;
        bool is_signed = layer->activation == DNS_ACTIVATION_NONE;
        node->type = is_signed ? dnnl_s8 : dnnl_u8;
        node->scale = range / (is_signed ? 127.0f : 255.0f);
    }
    return DNS_OK;
}

static bool alive_together(const struct value *a, const struct value *b)
{
    return a->first <= b->last && b->first <= a->last;
}

/* Offsets in one arena: each value takes the lowest place that no value alive at the same time
 * covers. */
static void place_values(dns_convnet *net)
{
    for (size_t i = 0; i < net->n_values; i++) {
        struct value *value = &net->values[i];
        size_t size = (value->size + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
        value->offset = 0;
        for (size_t j = 0; j < i; j++) {
            const struct value *other = &net->values[j];
            if (alive_together(value, other) && value->offset < other->offset + other->size &&
                other->offset < value->offset + size) {
                value->offset =
                    (other->offset + other->size + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
                j = (size_t)-1; /* look at all of them again */
            }
        }
        if (value->offset + size > net->arena_size)
            net->arena_size = value->offset + size;
    }
}

static dns_status compile(struct compiler *c)
{
    dns_status status = DNS_OK;
    dns_convnet *net = c->net;
    dnnl_memory_desc_t picture;
    DNS_TRY(plan_nodes(c));
    DNS_TRY(describe(&picture, net, dns_graph_layer(c->graph, 0), dnnl_f32, dnnl_nhwc));
    DNS_TRY(add_value(&c->nodes[0].value, net, &picture));
    for (size_t i = 1; i < net->n_layers; i++) {
        const dns_layer *layer = dns_graph_layer(c->graph, i);
        if (layer->kind == DNS_LAYER_CONVOLUTION)
            DNS_TRY(add_convolution(c, (int)i, layer));
        else
            DNS_TRY(add_pool(c, (int)i, layer));
        if (layer->tap >= 0)
            DNS_TRY(add_tap(c, (int)i, layer));
    }
    place_values(net);
out:
    return status;
}

dns_status dns_convnet_create(dns_convnet **out, const dns_graph *graph, size_t batch,
                              dns_precision precision, const float *ranges)
{
    dns_status status = DNS_OK;
    struct thread_state thread = enter_single();
    struct compiler c = {.graph = graph, .precision = precision, .ranges = ranges};
    size_t n = dns_graph_size(graph);
    (void)dns_cpu_flags(); /* settles the processor mask before oneDNN makes code */
    *out = NULL;
    if (batch < 1 || batch > 1024 || (precision == DNS_PRECISION_INT8) != (ranges != NULL))
        DNS_FAIL(DNS_ERR_ARG, "batch of %zu in %s %s ranges", batch, dns_precision_name(precision),
                 ranges == NULL ? "without" : "with");
    if (!dns_precision_available(precision))
        DNS_FAIL(DNS_ERR_UNSUPPORTED, "this processor has no AVX-512 VNNI for %s",
                 dns_precision_name(precision));
    DNS_TRY(dns_alloc(&c.nodes, n, sizeof *c.nodes));
    DNS_TRY(dns_alloc(&c.net, 1, sizeof *c.net));
    c.net->batch = batch;
    DNS_TRY(dns_alloc(&c.net->layers, n, sizeof *c.net->layers));
    for (size_t i = 0; i < n; i++) {
        c.net->layers[i] = *dns_graph_layer(graph, i);
        c.net->layers[i].weights = c.net->layers[i].bias = NULL;
    }
    c.net->n_layers = n;
    TRY_DNNL(dnnl_engine_create(&c.net->engine, dnnl_cpu, 0), "engine");
    TRY_DNNL(dnnl_stream_create(&c.net->stream, c.net->engine, dnnl_stream_default_flags),
             "stream");
    DNS_TRY(compile(&c));
    *out = c.net;
    c.net = NULL;
out:
    dns_convnet_free(c.net);
    dns_free(c.nodes);
    leave_single(thread);
    return status;
}

void dns_convnet_free(dns_convnet *net)
{
    if (net == NULL)
        return;
    for (size_t i = 0; i < net->n_steps; i++) {
        struct step *step = &net->steps[i];
        if (step->primitive != NULL)
            dnnl_primitive_destroy(step->primitive);
        if (step->weights != NULL)
            dnnl_memory_destroy(step->weights);
        if (step->bias != NULL)
            dnnl_memory_destroy(step->bias);
    }
    if (net->stream != NULL)
        dnnl_stream_destroy(net->stream);
    if (net->engine != NULL)
        dnnl_engine_destroy(net->engine);
    dns_free(net->steps);
    dns_free(net->values);
    dns_free(net->layers);
    dns_free(net);
}

size_t dns_convnet_batch(const dns_convnet *net)
{
    return net->batch;
}

size_t dns_convnet_n_steps(const dns_convnet *net)
{
    return net->n_steps;
}

dns_convnet_step dns_convnet_step_at(const dns_convnet *net, size_t index)
{
    const struct step *step = &net->steps[index];
    const dns_layer *layer = &net->layers[step->node];
    bool convolution = step->weights != NULL;
    bool pool = step->primitive != NULL && layer->kind == DNS_LAYER_MAX_POOL;
    return (dns_convnet_step){
        .node = step->node,
        .name = convolution || pool || step->primitive == NULL ? layer->name : "reorder",
        .implementation = step->implementation,
        .multiply_adds = convolution ? (double)net->batch * (double)(layer->height * layer->width) *
                                           (double)layer->out_channels *
                                           (double)(layer->in_channels / layer->groups) *
                                           (double)(layer->kernel * layer->kernel)
                                     : 0.0};
}

/* ---- running ---- */

dns_status dns_convnet_session_create(dns_convnet_session **out, const dns_convnet *net)
{
    dns_status status = DNS_OK;
    dns_convnet_session *s = NULL;
    *out = NULL;
    DNS_TRY(dns_alloc(&s, 1, sizeof *s));
    s->net = net;
    TRY_DNNL(dnnl_stream_create(&s->stream, net->engine, dnnl_stream_default_flags), "stream");
    DNS_TRY(dns_alloc(&s->arena, net->arena_size, 1));
    DNS_TRY(dns_alloc(&s->scratch, net->scratch_size, 1));
    DNS_TRY(dns_alloc(&s->values, net->n_values, sizeof *s->values));
    DNS_TRY(dns_alloc(&s->scratches, net->n_steps, sizeof *s->scratches));
    for (size_t i = 0; i < net->n_values; i++)
        TRY_DNNL(dnnl_memory_create(&s->values[i], &net->values[i].layout, net->engine,
                                    s->arena + net->values[i].offset),
                 "map");
    for (size_t i = 0; i < net->n_steps; i++)
        if (net->steps[i].primitive != NULL)
            TRY_DNNL(dnnl_memory_create(&s->scratches[i], &net->steps[i].scratch, net->engine,
                                        s->scratch),
                     "scratch memory");
    *out = s;
    s = NULL;
out:
    dns_convnet_session_free(s);
    return status;
}

void dns_convnet_session_free(dns_convnet_session *session)
{
    if (session == NULL)
        return;
    for (size_t i = 0; session->values != NULL && i < session->net->n_values; i++)
        if (session->values[i] != NULL)
            dnnl_memory_destroy(session->values[i]);
    for (size_t i = 0; session->scratches != NULL && i < session->net->n_steps; i++)
        if (session->scratches[i] != NULL)
            dnnl_memory_destroy(session->scratches[i]);
    if (session->stream != NULL)
        dnnl_stream_destroy(session->stream);
    dns_free(session->values);
    dns_free(session->scratches);
    dns_free(session->arena);
    dns_free(session->scratch);
    dns_free(session);
}

float *dns_convnet_session_input(dns_convnet_session *session)
{
    return (float *)(void *)(session->arena + session->net->values[0].offset);
}

static dns_status run_step(dns_convnet_session *s, size_t index)
{
    const struct step *step = &s->net->steps[index];
    dnnl_exec_arg_t arguments[5] = {{DNNL_ARG_SRC, s->values[step->from]},
                                    {DNNL_ARG_DST, s->values[step->to]},
                                    {DNNL_ARG_SCRATCHPAD, s->scratches[index]},
                                    {DNNL_ARG_WEIGHTS, step->weights},
                                    {DNNL_ARG_BIAS, step->bias}};
    dnnl_status_t code = dnnl_primitive_execute(step->primitive, s->stream,
                                                step->weights == NULL ? 3 : 5, arguments);
    if (code == dnnl_success)
        code = dnnl_stream_wait(s->stream);
    return from_dnnl(code, s->net->layers[step->node].name);
}

static dns_status hand_out(dns_convnet_session *s, size_t index, dns_map_sink sink, void *payload)
{
    const struct step *step = &s->net->steps[index];
    const dns_layer *layer = &s->net->layers[step->node];
    const struct value *value = &s->net->values[step->from];
    dns_map map = {.n = s->net->batch,
                   .height = layer->height,
                   .width = layer->width,
                   .channels = layer->out_channels,
                   .dtype = step->type == dnnl_f32  ? DNS_F32
                            : step->type == dnnl_u8 ? DNS_U8
                                                    : DNS_I8,
                   .scale = step->scale,
                   .data = s->arena + value->offset};
    return sink(payload, (size_t)step->tap, &map);
}

dns_status dns_convnet_run(dns_convnet_session *session, dns_map_sink sink, void *payload,
                           double *seconds)
{
    dns_status status = DNS_OK;
    struct thread_state thread = enter_single();
    for (size_t i = 0; i < session->net->n_steps; i++) {
        double start = seconds == NULL ? 0.0 : dns_seconds();
        if (session->net->steps[i].primitive != NULL)
            DNS_TRY(run_step(session, i));
        else if (sink != NULL)
            DNS_TRY(hand_out(session, i, sink, payload));
        if (seconds != NULL)
            seconds[i] += dns_seconds() - start;
    }
out:
    leave_single(thread);
    return status;
}
