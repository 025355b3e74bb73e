#include "selector_net.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "dnsel/memory.h"

static const char *const names[N_SELECTOR_TENSORS] = {
    [GATE_W] = "attention.transform.weight",
    [GATE_B] = "attention.transform.bias",
    [GATE_U] = "attention.context_vector.weight",
    [CONV_W] = "visil_head.conv1.weight",
    [CONV_W + 1] = "visil_head.conv2.weight",
    [CONV_W + 2] = "visil_head.conv3.weight",
    [CONV_W + 3] = "visil_head.fconv.weight",
    [CONV_B] = "visil_head.conv1.bias",
    [CONV_B + 1] = "visil_head.conv2.bias",
    [CONV_B + 2] = "visil_head.conv3.bias",
    [CONV_B + 3] = "visil_head.fconv.bias",
    [LINEAR0] = "mlp.model.0.weight",
    [NORM0_W] = "mlp.model.1.weight",
    [NORM0_B] = "mlp.model.1.bias",
    [NORM0_MEAN] = "mlp.model.1.running_mean",
    [NORM0_VARIANCE] = "mlp.model.1.running_var",
    [NORM0_COUNT] = "mlp.model.1.num_batches_tracked",
    [LINEAR1] = "mlp.model.4.weight",
    [NORM1_W] = "mlp.model.5.weight",
    [NORM1_B] = "mlp.model.5.bias",
    [NORM1_MEAN] = "mlp.model.5.running_mean",
    [NORM1_VARIANCE] = "mlp.model.5.running_var",
    [NORM1_COUNT] = "mlp.model.5.num_batches_tracked",
    [LINEAR2_W] = "mlp.model.8.weight",
    [LINEAR2_B] = "mlp.model.8.bias",
};

/* ---- making ---- */

struct layout {
    size_t rank, sizes[4];
    dns_parameter_kind kind;
};

static struct layout matrix(size_t rows, size_t columns)
{
    return (struct layout){2, {rows, columns}, DNS_PARAMETER_TRAINED};
}

static struct layout vector(size_t n, dns_parameter_kind kind)
{
    return (struct layout){1, {n}, kind};
}

static struct layout layout_of(selector_tensor tensor, const dns_selector_shape *s)
{
    if (tensor >= CONV_W && tensor < LINEAR0) {
        size_t layer = (tensor - CONV_W) % DNS_COMPARATOR_LAYERS, kernel = layer < 3 ? 3 : 1;
        size_t in = layer == 0 ? 1 : s->channels[layer - 1],
               out = layer < 3 ? s->channels[layer] : 1;
        if (tensor >= CONV_B)
            return vector(out, DNS_PARAMETER_TRAINED);
        return (struct layout){4, {out, in, kernel, kernel}, DNS_PARAMETER_TRAINED};
    }
    size_t width = tensor < LINEAR1 ? s->widths[0] : s->widths[1];
    switch ((int)tensor) {
    case GATE_W:
        return matrix(s->hidden, s->dim);
    case GATE_B:
        return vector(s->hidden, DNS_PARAMETER_TRAINED);
    case GATE_U:
        return matrix(1, s->hidden);
    case LINEAR0:
        return matrix(s->widths[0], N_INPUTS);
    case LINEAR1:
        return matrix(s->widths[1], s->widths[0]);
    case LINEAR2_W:
        return matrix(1, s->widths[1]);
    case LINEAR2_B:
        return vector(1, DNS_PARAMETER_TRAINED);
    case NORM0_COUNT:
    case NORM1_COUNT:
        return (struct layout){.kind = DNS_PARAMETER_COUNTER};
    case NORM0_MEAN:
    case NORM1_MEAN:
    case NORM0_VARIANCE:
    case NORM1_VARIANCE:
        return vector(width, DNS_PARAMETER_BUFFER);
    }
    return vector(width, DNS_PARAMETER_TRAINED);
}

dns_status dns_selector_create(dns_selector **out, const dns_selector_shape *shape, bool training)
{
    dns_status status = DNS_OK;
    dns_selector *net = NULL;
    *out = NULL;
    if (shape->dim == 0 || shape->hidden == 0 || shape->channels[0] == 0 ||
        shape->channels[1] == 0 || shape->channels[2] == 0 || shape->widths[0] == 0 ||
        shape->widths[1] == 0)
        DNS_FAIL(DNS_ERR_ARG, "selector with a size of 0");
    DNS_TRY(dns_alloc(&net, 1, sizeof *net));
    net->shape = *shape;
    DNS_TRY(dns_parameters_create(&net->parameters));
    for (selector_tensor t = 0; t < N_SELECTOR_TENSORS; t++) {
        struct layout layout = layout_of(t, shape);
        size_t index;
        DNS_TRY(dns_parameters_add(net->parameters, &index, names[t], layout.rank, layout.sizes,
                                   layout.kind));
    }
    DNS_TRY(dns_parameters_allocate(net->parameters, training));
    *out = net;
    net = NULL;
out:
    dns_selector_free(net);
    return status;
}

void dns_selector_free(dns_selector *net)
{
    if (net == NULL)
        return;
    dns_parameters_free(net->parameters);
    dns_free(net);
}

/* ---- loading ---- */

/* Rows and columns of a matrix in a file, or channels of a convolution. */
static dns_status read_sizes(size_t *rows, size_t *columns, const dns_safetensors *file,
                             const char *prefix, selector_tensor tensor)
{
    char name[512];
    snprintf(name, sizeof name, "%s%s", prefix, names[tensor]);
    const dns_tensor *t = dns_safetensors_find(file, name);
    if (t == NULL)
        return dns_status_set(DNS_ERR_NOTFOUND, "%s: no tensor '%s'", dns_safetensors_path(file),
                              name);
    if (t->rank < 2)
        return dns_status_set(DNS_ERR_SHAPE, "%s: tensor '%s': rank %zu, expected a matrix",
                              dns_safetensors_path(file), name, t->rank);
    *rows = t->shape[0];
    *columns = t->shape[1];
    return DNS_OK;
}

static dns_status check_variances(const dns_selector *net, const dns_safetensors *file,
                                  const char *prefix)
{
    static const selector_tensor variances[] = {NORM0_VARIANCE, NORM1_VARIANCE};
    for (size_t i = 0; i < 2; i++) {
        const float *v = dns_selector_weight(net, variances[i]);
        for (size_t j = 0; j < net->shape.widths[i]; j++) {
            if (v[j] < 0)
                return dns_status_set(DNS_ERR_RANGE, "%s: tensor '%s%s': variance %g",
                                      dns_safetensors_path(file), prefix, names[variances[i]],
                                      (double)v[j]);
        }
    }
    return DNS_OK;
}

dns_status dns_selector_load(dns_selector **out, const dns_safetensors *file, const char *prefix,
                             bool training)
{
    dns_status status = DNS_OK;
    dns_selector *net = NULL;
    dns_selector_shape s = {0};
    size_t other;
    *out = NULL;
    DNS_TRY(read_sizes(&s.hidden, &s.dim, file, prefix, GATE_W));
    for (size_t l = 0; l < 3; l++)
        DNS_TRY(read_sizes(&s.channels[l], &other, file, prefix, CONV_W + (selector_tensor)l));
    DNS_TRY(read_sizes(&s.widths[1], &s.widths[0], file, prefix, LINEAR1));
    DNS_TRY(dns_selector_create(&net, &s, training));
    DNS_TRY(dns_parameters_load(net->parameters, file, prefix));
    DNS_TRY(check_variances(net, file, prefix));
    *out = net;
    net = NULL;
out:
    dns_selector_free(net);
    return status;
}

dns_status dns_selector_from_model(dns_selector **out, const dns_model *model)
{
    const dns_safetensors *file = dns_model_weights(model, "selector");
    *out = NULL;
    if (file == NULL)
        return dns_status_set(DNS_ERR_UNSUPPORTED, "model '%s' has no selector",
                              dns_model_name(model));
    return dns_selector_load(out, file, "", false);
}

/* ---- looking ---- */

const dns_selector_shape *dns_selector_shape_of(const dns_selector *net)
{
    return &net->shape;
}

dns_parameters *dns_selector_parameters(const dns_selector *net)
{
    return net->parameters;
}

float *dns_selector_weight(const dns_selector *net, selector_tensor tensor)
{
    return dns_parameters_weight(net->parameters, tensor);
}

float *dns_selector_gradient(const dns_selector *net, selector_tensor tensor)
{
    return dns_parameters_gradient(net->parameters, tensor);
}

/* ---- first values ---- */

void dns_selector_initialise(dns_selector *net, dns_random *random)
{
    dns_parameters *p = net->parameters;
    for (selector_tensor t = 0; t < N_SELECTOR_TENSORS; t++) {
        const dns_parameter *tensor = dns_parameters_at(p, t);
        bool is_one = t == NORM0_W || t == NORM1_W || t == NORM0_VARIANCE || t == NORM1_VARIANCE;
        if (t <= GATE_U)
            dns_parameters_set_uniform(
                p, t, 1 / sqrt((double)(t == GATE_U ? net->shape.hidden : net->shape.dim)), random);
        else if (t == LINEAR2_B)
            dns_parameters_set_uniform(p, t, 1 / sqrt((double)net->shape.widths[1]), random);
        else if (tensor->rank > 1)
            dns_parameters_set_xavier(p, t, random);
        else
            dns_parameters_set_constant(p, t, is_one ? 1 : 0);
    }
}

void dns_selector_frame_means(float *means, const float *x, const float *gates, size_t n_frames,
                              size_t n_regions, size_t dim)
{
    memset(means, 0, n_frames * dim * sizeof *means);
    for (size_t t = 0; t < n_frames; t++) {
        float *restrict mean = means + t * dim;
        for (size_t r = 0; r < n_regions; r++) {
            const float *restrict region = x + (t * n_regions + r) * dim;
            float weight = gates[t * n_regions + r] / (float)n_regions;
            for (size_t j = 0; j < dim; j++)
                mean[j] += weight * region[j];
        }
    }
}
