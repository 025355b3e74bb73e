#include "coarse_net.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "dnsel/memory.h"

#define LAYER "transformer.layers.0."

static const char *const names[N_COARSE_TENSORS] = {
    [GATE_W] = "attention.transform.weight",
    [GATE_B] = "attention.transform.bias",
    [GATE_U] = "attention.context_vector.weight",
    [ENCODER + DNS_ENCODER_IN_W] = LAYER "self_attn.in_proj_weight",
    [ENCODER + DNS_ENCODER_IN_B] = LAYER "self_attn.in_proj_bias",
    [ENCODER + DNS_ENCODER_OUT_W] = LAYER "self_attn.out_proj.weight",
    [ENCODER + DNS_ENCODER_OUT_B] = LAYER "self_attn.out_proj.bias",
    [ENCODER + DNS_ENCODER_LINEAR1_W] = LAYER "linear1.weight",
    [ENCODER + DNS_ENCODER_LINEAR1_B] = LAYER "linear1.bias",
    [ENCODER + DNS_ENCODER_LINEAR2_W] = LAYER "linear2.weight",
    [ENCODER + DNS_ENCODER_LINEAR2_B] = LAYER "linear2.bias",
    [ENCODER + DNS_ENCODER_NORM1_W] = LAYER "norm1.weight",
    [ENCODER + DNS_ENCODER_NORM1_B] = LAYER "norm1.bias",
    [ENCODER + DNS_ENCODER_NORM2_W] = LAYER "norm2.weight",
    [ENCODER + DNS_ENCODER_NORM2_B] = LAYER "norm2.bias",
    [FRAME_NORM_W] = "transformer.norm.weight",
    [FRAME_NORM_B] = "transformer.norm.bias",
    [CENTROIDS] = "netvlad.centroids",
    [ASSIGNMENT] = "netvlad.conv.weight",
    [REDUCTION] = "netvlad.reduction_layer.weight",
    [NORM_W] = "netvlad.norm.weight",
    [NORM_B] = "netvlad.norm.bias",
    [PROJECTION] = "projection.weight",
};

/* ---- making ---- */

/* Rank and sizes of a tensor; rank 0 when the shape has none. */
static size_t sizes_of(size_t sizes[4], coarse_tensor tensor, const dns_coarse_shape *s)
{
    bool is_mean = s->kind == DNS_COARSE_MEAN;
    size_t rows = s->dim, columns = 0, rank = 1;
    switch ((int)tensor) {
    case GATE_W:
        rows = s->hidden, columns = s->dim, rank = 2;
        break;
    case GATE_B:
        rows = s->hidden;
        break;
    case GATE_U:
        rows = 1, columns = s->hidden, rank = 2;
        break;
    case ENCODER + DNS_ENCODER_IN_W:
        rows = 3 * s->dim, columns = s->dim, rank = 2;
        break;
    case ENCODER + DNS_ENCODER_IN_B:
        rows = 3 * s->dim;
        break;
    case ENCODER + DNS_ENCODER_OUT_W:
        columns = s->dim, rank = 2;
        break;
    case ENCODER + DNS_ENCODER_LINEAR1_W:
        rows = s->feed_forward, columns = s->dim, rank = 2;
        break;
    case ENCODER + DNS_ENCODER_LINEAR1_B:
        rows = s->feed_forward;
        break;
    case ENCODER + DNS_ENCODER_LINEAR2_W:
        columns = s->feed_forward, rank = 2;
        break;
    case CENTROIDS:
        rows = s->n_clusters, columns = s->dim, rank = 2;
        break;
    case ASSIGNMENT:
        rows = s->n_clusters, columns = s->dim, rank = 4;
        break;
    case REDUCTION:
        rows = s->out, columns = s->n_clusters * s->dim, rank = 2;
        break;
    case NORM_W:
    case NORM_B:
        rows = s->out;
        break;
    case PROJECTION:
        rows = s->out, columns = s->dim, rank = 2;
        break;
    }
    sizes[0] = rows;
    sizes[1] = columns;
    sizes[2] = sizes[3] = 1;
    if (tensor == PROJECTION)
        return is_mean && s->projection ? rank : 0;
    return is_mean || (tensor <= GATE_U && s->hidden == 0) ? 0 : rank;
}

static bool is_whole(const dns_coarse_shape *s)
{
    if (s->dim == 0 || s->out == 0)
        return false;
    if (s->kind == DNS_COARSE_MEAN)
        return s->projection || s->out == s->dim;
    return !s->projection && s->n_heads > 0 && s->dim % s->n_heads == 0 && s->feed_forward > 0 &&
           s->n_clusters > 0;
}

dns_status dns_coarse_create(dns_coarse **out, const dns_coarse_shape *shape, bool training)
{
    dns_status status = DNS_OK;
    dns_coarse *net = NULL;
    *out = NULL;
    if (!is_whole(shape))
        DNS_FAIL(DNS_ERR_ARG,
                 "coarse network: %zu to %zu values, %zu heads, %zu clusters do not fit",
                 shape->dim, shape->out, shape->n_heads, shape->n_clusters);
    DNS_TRY(dns_alloc(&net, 1, sizeof *net));
    net->shape = *shape;
    DNS_TRY(dns_parameters_create(&net->parameters));
    for (coarse_tensor t = 0; t < N_COARSE_TENSORS; t++) {
        size_t sizes[4], rank = sizes_of(sizes, t, shape);
        net->index[t] = NO_TENSOR;
        if (rank > 0)
            DNS_TRY(dns_parameters_add(net->parameters, &net->index[t], names[t], rank, sizes,
                                       DNS_PARAMETER_TRAINED));
    }
    DNS_TRY(dns_parameters_allocate(net->parameters, training));
    *out = net;
    net = NULL;
out:
    dns_coarse_free(net);
    return status;
}

void dns_coarse_free(dns_coarse *net)
{
    if (net == NULL)
        return;
    dns_parameters_free(net->parameters);
    dns_free(net);
}

/* ---- loading ---- */

/* The sizes of a matrix in a file; its further sizes, if any, must be 1. */
static dns_status read_matrix(size_t *rows, size_t *columns, const dns_safetensors *file,
                              const char *prefix, coarse_tensor tensor)
{
    char name[512], text[128];
    snprintf(name, sizeof name, "%s%s", prefix, names[tensor]);
    const dns_tensor *t = dns_safetensors_find(file, name);
    if (t == NULL)
        return dns_status_set(DNS_ERR_NOTFOUND, "%s: no tensor '%s'", dns_safetensors_path(file),
                              name);
    if (t->rank >= 2 && t->shape[0] * t->shape[1] == dns_tensor_count(t)) {
        *rows = t->shape[0];
        *columns = t->shape[1];
        return DNS_OK;
    }
    dns_tensor_shape_text(t, text, sizeof text);
    return dns_status_set(DNS_ERR_SHAPE, "%s: tensor '%s': shape %s, expected a matrix",
                          dns_safetensors_path(file), name, text);
}

static bool has(const dns_safetensors *file, const char *prefix, coarse_tensor tensor)
{
    char name[512];
    snprintf(name, sizeof name, "%s%s", prefix, names[tensor]);
    return dns_safetensors_find(file, name) != NULL;
}

static dns_status read_shape(dns_coarse_shape *s, const dns_safetensors *file, const char *prefix,
                             size_t n_heads)
{
    dns_status status = DNS_OK;
    size_t other;
    *s = (dns_coarse_shape){0};
    if (has(file, prefix, PROJECTION)) {
        s->projection = true;
        DNS_TRY(read_matrix(&s->out, &s->dim, file, prefix, PROJECTION));
        goto out;
    }
    s->kind = DNS_COARSE_PUBLISHED;
    s->n_heads = n_heads > 0 ? n_heads : 8;
    DNS_TRY(read_matrix(&s->n_clusters, &s->dim, file, prefix, CENTROIDS));
    DNS_TRY(read_matrix(&s->out, &other, file, prefix, REDUCTION));
    DNS_TRY(read_matrix(&s->feed_forward, &other, file, prefix, ENCODER + DNS_ENCODER_LINEAR1_W));
    if (has(file, prefix, GATE_W))
        DNS_TRY(read_matrix(&s->hidden, &other, file, prefix, GATE_W));
out:
    return status;
}

dns_status dns_coarse_load(dns_coarse **out, const dns_safetensors *file, const char *prefix,
                           size_t n_heads, bool training)
{
    dns_status status = DNS_OK;
    dns_coarse *net = NULL;
    dns_coarse_shape shape;
    *out = NULL;
    DNS_TRY(read_shape(&shape, file, prefix, n_heads));
    if (!is_whole(&shape))
        DNS_FAIL(DNS_ERR_SHAPE, "%s: tensor '%s%s': %zu columns and %zu heads do not fit",
                 dns_safetensors_path(file), prefix, names[CENTROIDS], shape.dim, shape.n_heads);
    DNS_TRY(dns_coarse_create(&net, &shape, training));
    DNS_TRY(dns_parameters_load(net->parameters, file, prefix));
    *out = net;
    net = NULL;
out:
    dns_coarse_free(net);
    return status;
}

dns_status dns_coarse_from_model(dns_coarse **out, const dns_model *model)
{
    const dns_json *section = dns_model_section(model, "coarse");
    const dns_safetensors *file = dns_model_weights(model, "coarse");
    const char *kind = dns_json_string(dns_json_get(section, "kind"), "published");
    int64_t heads = dns_json_integer(dns_json_get(section, "heads"), 8);
    int64_t dim = dns_json_integer(dns_json_get(section, "dim"), 0);
    bool is_mean = strcmp(kind, "mean") == 0;
    dns_status status = DNS_OK;
    *out = NULL;
    if (section == NULL)
        DNS_FAIL(DNS_ERR_UNSUPPORTED, "model '%s' has no coarse network", dns_model_name(model));
    if (!is_mean && strcmp(kind, "published") != 0)
        DNS_FAIL(DNS_ERR_UNSUPPORTED, "model '%s': coarse network of kind '%s'",
                 dns_model_name(model), kind);
    if (file == NULL && (!is_mean || dim <= 0 || dim > 1 << 20))
        DNS_FAIL(DNS_ERR_FORMAT, "model '%s': coarse network without a file%s",
                 dns_model_name(model), is_mean ? " or a dim" : "");
    if (file == NULL) {
        dns_coarse_shape shape = {.dim = (size_t)dim, .out = (size_t)dim};
        DNS_TRY(dns_coarse_create(out, &shape, false));
        goto out;
    }
    DNS_TRY(dns_coarse_load(out, file, "", heads > 0 ? (size_t)heads : 0, false));
    if (is_mean != ((*out)->shape.kind == DNS_COARSE_MEAN)) {
        dns_coarse_free(*out);
        *out = NULL;
        DNS_FAIL(DNS_ERR_FORMAT, "model '%s': %s holds no coarse network of kind '%s'",
                 dns_model_name(model), dns_safetensors_path(file), kind);
    }
out:
    return status;
}

/* ---- looking ---- */

const dns_coarse_shape *dns_coarse_shape_of(const dns_coarse *net)
{
    return &net->shape;
}

dns_parameters *dns_coarse_parameters(const dns_coarse *net)
{
    return net->parameters;
}

const dns_real *dns_coarse_weight(const dns_coarse *net, coarse_tensor tensor)
{
    size_t index = net->index[tensor];
    return index == NO_TENSOR ? NULL : dns_parameters_weight(net->parameters, index);
}

dns_real *dns_coarse_gradient(const dns_coarse *net, coarse_tensor tensor)
{
    size_t index = net->index[tensor];
    return index == NO_TENSOR ? NULL : dns_parameters_gradient(net->parameters, index);
}

dns_encoder dns_coarse_encoder(const dns_coarse *net)
{
    const dns_coarse_shape *s = &net->shape;
    dns_encoder encoder = {.dim = s->dim, .n_heads = s->n_heads, .hidden = s->feed_forward};
    for (size_t i = 0; i < DNS_ENCODER_TENSORS; i++)
        encoder.w[i] = dns_coarse_weight(net, ENCODER + (coarse_tensor)i);
    return encoder;
}

dns_netvlad dns_coarse_netvlad(const dns_coarse *net)
{
    return (dns_netvlad){net->shape.dim, net->shape.n_clusters, dns_coarse_weight(net, CENTROIDS),
                         dns_coarse_weight(net, ASSIGNMENT)};
}

/* ---- first values ---- */

static void start_mean(dns_coarse *net)
{
    if (net->index[PROJECTION] == NO_TENSOR)
        return;
    dns_real *w = dns_parameters_weight(net->parameters, net->index[PROJECTION]);
    dns_parameters_set_constant(net->parameters, net->index[PROJECTION], 0);
    for (size_t i = 0; i < net->shape.out && i < net->shape.dim; i++)
        w[i * net->shape.dim + i] = 1;
}

void dns_coarse_initialise(dns_coarse *net, dns_random *random)
{
    const dns_coarse_shape *s = &net->shape;
    dns_parameters *p = net->parameters;
    if (s->kind == DNS_COARSE_MEAN) {
        start_mean(net);
        return;
    }
    for (coarse_tensor t = 0; t < PROJECTION; t++) {
        if (net->index[t] == NO_TENSOR)
            continue;
        const dns_parameter *tensor = dns_parameters_at(p, net->index[t]);
        bool is_matrix = tensor->rank > 1;
        bool is_scale = strstr(names[t], "norm") != NULL && strstr(names[t], "weight") != NULL;
        if (t == ENCODER + DNS_ENCODER_IN_W)
            dns_parameters_set_xavier(p, net->index[t], random);
        else if (t == CENTROIDS)
            dns_parameters_set_normal(p, net->index[t], 1 / sqrt((double)s->dim), random);
        else if (t == REDUCTION)
            dns_parameters_set_normal(p, net->index[t], 1 / sqrt((double)tensor->shape[1]), random);
        else if (is_matrix && t != ASSIGNMENT)
            dns_parameters_set_uniform(p, net->index[t], 1 / sqrt((double)tensor->shape[1]),
                                       random);
        else if (t == GATE_B)
            dns_parameters_set_uniform(p, net->index[t], 1 / sqrt((double)s->dim), random);
        else
            dns_parameters_set_constant(p, net->index[t], is_scale ? 1 : 0);
    }
    memcpy(dns_parameters_weight(p, net->index[ASSIGNMENT]),
           dns_parameters_weight(p, net->index[CENTROIDS]),
           s->n_clusters * s->dim * sizeof(dns_real));
}
