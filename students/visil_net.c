#include "visil_net.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "dnsel/linalg.h"
#include "dnsel/memory.h"

static const char *const conv_names[DNS_COMPARATOR_LAYERS] = {"conv1", "conv2", "conv3", "fconv"};

static const char *head_name(dns_padding padding)
{
    return padding == DNS_PADDING_EDGE ? "video_comperator" : "visil_head"; /* as published */
}

/* ---- making ---- */

static dns_status add(dns_visil *net, size_t *index, const char *name, size_t rank,
                      const size_t *shape)
{
    return dns_parameters_add(net->parameters, index, name, rank, shape, DNS_PARAMETER_TRAINED);
}

static dns_status declare_head(dns_visil *net)
{
    dns_status status = DNS_OK;
    size_t in = 1;
    for (size_t l = 0; l < DNS_COMPARATOR_LAYERS; l++) {
        size_t out = l < 3 ? net->shape.channels[l] : 1, kernel = l < 3 ? 3 : 1;
        char name[64];
        snprintf(name, sizeof name, "%s.%s.weight", head_name(net->shape.padding), conv_names[l]);
        DNS_TRY(add(net, &net->conv_weight[l], name, 4, (size_t[]){out, in, kernel, kernel}));
        snprintf(name, sizeof name, "%s.%s.bias", head_name(net->shape.padding), conv_names[l]);
        DNS_TRY(add(net, &net->conv_bias[l], name, 1, &out));
        in = out;
    }
out:
    return status;
}

static dns_status declare(dns_visil *net)
{
    const dns_visil_shape *s = &net->shape;
    dns_status status = DNS_OK;
    if (s->codes)
        DNS_TRY(add(net, &net->code_weight, "binarization.W", 2, (size_t[]){s->dim, s->code_bits}));
    if (s->gate == DNS_GATE_STUDENT) {
        DNS_TRY(add(net, &net->transform_weight, "attention.transform.weight", 2,
                    (size_t[]){s->hidden, s->dim}));
        DNS_TRY(add(net, &net->transform_bias, "attention.transform.bias", 1, &s->hidden));
    }
    if (s->gate != DNS_GATE_NONE)
        DNS_TRY(add(net, &net->context, "attention.context_vector.weight", 2,
                    (size_t[]){1, s->gate == DNS_GATE_STUDENT ? s->hidden : s->dim}));
    if (dns_visil_has_comparator(net))
        DNS_TRY(declare_head(net));
out:
    return status;
}

dns_status dns_visil_create(dns_visil **out, const dns_visil_shape *shape, dns_similarity_rule rule,
                            bool training)
{
    dns_status status = DNS_OK;
    dns_visil *net = NULL;
    *out = NULL;
    if (shape->codes ? shape->gate != DNS_GATE_NONE || shape->code_bits == 0
                     : shape->code_bits != 0)
        DNS_FAIL(DNS_ERR_ARG, "a network has codes or a gate, not both");
    if ((shape->gate == DNS_GATE_STUDENT) != (shape->hidden != 0) ||
        ((shape->codes || shape->gate != DNS_GATE_NONE) && shape->dim == 0))
        DNS_FAIL(DNS_ERR_ARG, "a gate or codes without their size");
    if (!shape->codes && shape->channels[0] == 0)
        DNS_FAIL(DNS_ERR_ARG, "only codes are compared without a comparator");
    DNS_TRY(dns_alloc(&net, 1, sizeof *net));
    net->shape = *shape;
    net->rule = rule;
    DNS_TRY(dns_parameters_create(&net->parameters));
    DNS_TRY(declare(net));
    DNS_TRY(dns_parameters_allocate(net->parameters, training));
    *out = net;
    net = NULL;
out:
    dns_visil_free(net);
    return status;
}

void dns_visil_free(dns_visil *net)
{
    if (net == NULL)
        return;
    dns_parameters_free(net->parameters);
    dns_free(net);
}

/* ---- loading ---- */

static const dns_tensor *find(const dns_safetensors *file, const char *prefix, const char *name)
{
    char whole[512];
    snprintf(whole, sizeof whole, "%s%s", prefix, name);
    return dns_safetensors_find(file, whole);
}

static dns_status read_matrix(size_t *rows, size_t *columns, const dns_safetensors *file,
                              const dns_tensor *tensor, const char *name)
{
    if (tensor->rank != 2)
        return dns_status_set(DNS_ERR_SHAPE, "%s: tensor '%s': rank %zu, expected 2",
                              dns_safetensors_path(file), name, tensor->rank);
    *rows = tensor->shape[0];
    *columns = tensor->shape[1];
    return DNS_OK;
}

static dns_status read_head(dns_visil_shape *shape, const dns_safetensors *file, const char *prefix)
{
    shape->padding =
        find(file, prefix, "visil_head.conv1.weight") ? DNS_PADDING_ZERO : DNS_PADDING_EDGE;
    for (size_t l = 0; l < 3; l++) {
        char name[64];
        snprintf(name, sizeof name, "%s.%s.weight", head_name(shape->padding), conv_names[l]);
        const dns_tensor *t = find(file, prefix, name);
        if (t == NULL)
            return dns_status_set(DNS_ERR_NOTFOUND, "%s: no tensor '%s%s'",
                                  dns_safetensors_path(file), prefix, name);
        if (t->rank != 4 || t->shape[2] != 3 || t->shape[3] != 3) {
            char text[128];
            dns_tensor_shape_text(t, text, sizeof text);
            return dns_status_set(DNS_ERR_UNSUPPORTED,
                                  "%s: tensor '%s%s': %s is no 3x3 convolution",
                                  dns_safetensors_path(file), prefix, name, text);
        }
        shape->channels[l] = t->shape[0];
    }
    return DNS_OK;
}

/* The shape of the network from the names and sizes in a file. */
static dns_status read_shape(dns_visil_shape *shape, const dns_safetensors *file,
                             const char *prefix)
{
    dns_status status = DNS_OK;
    size_t one;
    const dns_tensor *code = find(file, prefix, "binarization.W");
    const dns_tensor *transform = find(file, prefix, "attention.transform.weight");
    const dns_tensor *context = find(file, prefix, "attention.context_vector.weight");
    *shape = (dns_visil_shape){0};
    bool is_alone = code != NULL && !find(file, prefix, "visil_head.conv1.weight") &&
                    !find(file, prefix, "video_comperator.conv1.weight");
    if (!is_alone)
        DNS_TRY(read_head(shape, file, prefix));
    if (code != NULL) {
        shape->codes = true;
        DNS_TRY(read_matrix(&shape->dim, &shape->code_bits, file, code, "binarization.W"));
    } else if (transform != NULL) {
        shape->gate = DNS_GATE_STUDENT;
        DNS_TRY(read_matrix(&shape->hidden, &shape->dim, file, transform,
                            "attention.transform.weight"));
    } else if (context != NULL) {
        shape->gate = DNS_GATE_TEACHER;
        DNS_TRY(read_matrix(&one, &shape->dim, file, context, "attention.context_vector.weight"));
    }
out:
    return status;
}

static double context_length(const dns_visil *net)
{
    const dns_real *u = dns_parameters_weight(net->parameters, net->context);
    double sum = 0;
    for (size_t i = 0; i < net->shape.dim; i++)
        sum += (double)u[i] * (double)u[i];
    return sqrt(sum);
}

void dns_visil_project(dns_visil *net)
{
    if (net->shape.gate != DNS_GATE_TEACHER)
        return;
    dns_real *u = dns_parameters_weight(net->parameters, net->context);
    double length = fmax(context_length(net), 1e-6);
    for (size_t i = 0; i < net->shape.dim; i++)
        u[i] = (dns_real)((double)u[i] / length);
}

dns_status dns_visil_load(dns_visil **out, const dns_safetensors *file, const char *prefix,
                          dns_similarity_rule rule, bool training)
{
    dns_status status = DNS_OK;
    dns_visil *net = NULL;
    dns_visil_shape shape;
    *out = NULL;
    DNS_TRY(read_shape(&shape, file, prefix));
    DNS_TRY(dns_visil_create(&net, &shape, rule, training));
    DNS_TRY(dns_parameters_load(net->parameters, file, prefix));
    if (shape.gate == DNS_GATE_TEACHER && fabs(context_length(net) - 1) > 1e-6) {
        net->rescaled_from = context_length(net);
        dns_visil_project(net);
    }
    *out = net;
    net = NULL;
out:
    dns_visil_free(net);
    return status;
}

dns_status dns_visil_set_dim(dns_visil *net, size_t dim)
{
    if (dim == 0 || (net->shape.dim != 0 && net->shape.dim != dim))
        return dns_status_set(DNS_ERR_SHAPE, "a network for regions of %zu dimensions, not %zu",
                              net->shape.dim, dim);
    net->shape.dim = dim;
    return DNS_OK;
}

dns_status dns_visil_codes_alone(dns_visil **out, const dns_visil *net)
{
    const dns_visil_shape shape = {
        .codes = true, .dim = net->shape.dim, .code_bits = net->shape.code_bits};
    *out = NULL;
    if (!net->shape.codes)
        return dns_status_set(DNS_ERR_ARG, "a network without codes");
    dns_status status = dns_visil_create(out, &shape, net->rule, false);
    if (status == DNS_OK)
        memcpy(dns_parameters_weight((*out)->parameters, (*out)->code_weight),
               dns_parameters_weight(net->parameters, net->code_weight),
               shape.dim * shape.code_bits * sizeof(dns_real));
    return status;
}

/* ---- looking ---- */

const dns_visil_shape *dns_visil_shape_of(const dns_visil *net)
{
    return &net->shape;
}

dns_similarity_rule dns_visil_rule(const dns_visil *net)
{
    return net->rule;
}

double dns_visil_rescaled_from(const dns_visil *net)
{
    return net->rescaled_from;
}

dns_parameters *dns_visil_parameters(const dns_visil *net)
{
    return net->parameters;
}

dns_comparator dns_visil_comparator(const dns_visil *net)
{
    dns_comparator head = {.padding = net->shape.padding};
    memcpy(head.channels, net->shape.channels, sizeof head.channels);
    for (size_t l = 0; l < DNS_COMPARATOR_LAYERS; l++) {
        head.weight[l] = dns_parameters_weight(net->parameters, net->conv_weight[l]);
        head.bias[l] = dns_parameters_weight(net->parameters, net->conv_bias[l]);
    }
    return head;
}

/* ---- first values ---- */

/* The first two channels carry the map itself, and its mean along the diagonal, to the end
 * (docs/networks/teacher.md). */
static dns_status start_as_chamfer(dns_visil *net, double factor)
{
    enum { CARRIED = 2, TAPS = 9, CENTRE = 4 };
    size_t in = 1;
    for (size_t l = 0; l < 3; l++) {
        if (net->shape.channels[l] < CARRIED)
            return dns_status_set(DNS_ERR_ARG, "a comparator with fewer than 2 channels");
        dns_real *w = dns_parameters_weight(net->parameters, net->conv_weight[l]);
        memset(w, 0, CARRIED * in * TAPS * sizeof *w);
        for (size_t c = 0; l > 0 && c < CARRIED; c++)
            w[(c * in + c) * TAPS + CENTRE] = 1;
        if (l == 0) {
            w[CENTRE] = (dns_real)factor;
            for (size_t k = 0; k < TAPS; k += CENTRE)
                w[TAPS + k] = (dns_real)(factor / 3);
        }
        in = net->shape.channels[l];
    }
    dns_real *last = dns_parameters_weight(net->parameters, net->conv_weight[3]);
    for (size_t c = 0; c < in; c++)
        last[c] = c < CARRIED ? (dns_real)0.5 : last[c] * (dns_real)0.1;
    return DNS_OK;
}

static dns_status start_as_rotation(dns_visil *net, dns_random *random)
{
    dns_status status = DNS_OK;
    size_t dim = net->shape.dim, bits = net->shape.code_bits;
    size_t most = dim > bits ? dim : bits, least = dim > bits ? bits : dim;
    dns_real *w = dns_parameters_weight(net->parameters, net->code_weight);
    double *square = NULL;
    DNS_TRY(dns_alloc(&square, most * least, sizeof *square));
    for (size_t i = 0; i < most * least; i++)
        square[i] = dns_random_normal(random);
    DNS_TRY(dns_orthonormalise(square, most, least));
    for (size_t i = 0; i < dim; i++) {
        for (size_t j = 0; j < bits; j++)
            w[i * bits + j] = (dns_real)(dim >= bits ? square[i * bits + j] : square[j * dim + i]);
    }
out:
    dns_free(square);
    return status;
}

dns_status dns_visil_initialise(dns_visil *net, double identity, dns_random *random)
{
    dns_status status = DNS_OK;
    dns_parameters *p = net->parameters;
    bool has_comparator = dns_visil_has_comparator(net);
    for (size_t l = 0; has_comparator && l < DNS_COMPARATOR_LAYERS; l++) {
        dns_parameters_set_xavier(p, net->conv_weight[l], random);
        dns_parameters_set_constant(p, net->conv_bias[l], 0);
    }
    if (has_comparator && identity != 0)
        DNS_TRY(start_as_chamfer(net, identity));
    if (net->shape.codes)
        DNS_TRY(start_as_rotation(net, random));
    if (net->shape.gate == DNS_GATE_STUDENT) {
        double bound = 1 / sqrt((double)net->shape.dim);
        dns_parameters_set_uniform(p, net->transform_weight, bound, random);
        dns_parameters_set_uniform(p, net->transform_bias, bound, random);
        dns_parameters_set_uniform(p, net->context, 1 / sqrt((double)net->shape.hidden), random);
    }
    if (net->shape.gate == DNS_GATE_TEACHER)
        dns_parameters_set_normal(p, net->context, 1, random);
    dns_visil_project(net);
out:
    return status;
}
