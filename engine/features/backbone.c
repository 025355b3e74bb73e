#include "dnsel/backbone.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dnsel/memory.h"

/* ---- the registry ---- */

#define IMAGENET_MEAN                         \
    {                                         \
        0.485 * 255, 0.456 * 255, 0.406 * 255 \
    }
#define IMAGENET_DEVIATION                    \
    {                                         \
        0.229 * 255, 0.224 * 255, 0.225 * 255 \
    }

/* EfficientNet-Lite's scaling; the first and the last stage are never repeated (fixed head and
 * stem). */
struct lite {
    double width, depth;
};

struct entry {
    dns_backbone backbone;
    const struct lite *lite; /* NULL: ResNet-50 */
};

static const struct lite lite_scales[] = {{1.0, 1.0}, {1.0, 1.1}, {1.1, 1.2}};

#define LITE(number, stage3, stage4, stage6, c3, c4, c6)                \
    {                                                                   \
        {.name = "efficientnet-lite" #number,                           \
         .input_size = 224,                                             \
         .mean = {127, 127, 127},                                       \
         .deviation = {128, 128, 128},                                  \
         .epsilon = 1e-3,                                               \
         .taps = {{"_blocks." #stage3 "._expand_conv", c3, 56, 28, 14}, \
                  {"_blocks." #stage4 "._expand_conv", c4, 28, 14, 7},  \
                  {"_blocks." #stage6 "._expand_conv", c6, 14, 6, 3},   \
                  {"_conv_head", 1280, 7, 3, 2}},                       \
         .region_dim = (c3) + (c4) + (c6) + 1280},                      \
            &lite_scales[number]                                        \
    }

static const struct entry registry[] = {
    LITE(0, 3, 5, 11, 144, 240, 672),
    LITE(1, 4, 7, 15, 144, 240, 672),
    LITE(2, 4, 7, 15, 144, 288, 720),
    {{.name = "resnet50",
      .input_size = 224,
      .mean = IMAGENET_MEAN,
      .deviation = IMAGENET_DEVIATION,
      .epsilon = 1e-5,
      .taps = {{"layer1.2.conv3", 256, 56, 28, 14},
               {"layer2.3.conv3", 512, 28, 14, 7},
               {"layer3.5.conv3", 1024, 14, 6, 3},
               {"layer4.2.conv3", 2048, 7, 3, 2}},
      .region_dim = 3840},
     NULL},
};

enum { N_BACKBONES = sizeof registry / sizeof *registry };

size_t dns_backbone_count(void)
{
    return N_BACKBONES;
}

const dns_backbone *dns_backbone_at(size_t index)
{
    return index < N_BACKBONES ? &registry[index].backbone : NULL;
}

static const struct entry *find_entry(const char *name)
{
    for (size_t i = 0; i < N_BACKBONES; i++)
        if (strcmp(registry[i].backbone.name, name) == 0)
            return &registry[i];
    return NULL;
}

dns_status dns_backbone_find(const dns_backbone **out, const char *name)
{
    char known[256] = "";
    const struct entry *entry = find_entry(name);
    *out = entry == NULL ? NULL : &entry->backbone;
    if (entry != NULL)
        return DNS_OK;
    for (size_t i = 0; i < N_BACKBONES; i++) {
        size_t used = strlen(known);
        snprintf(known + used, sizeof known - used, "%s%s", i == 0 ? "" : ", ",
                 registry[i].backbone.name);
    }
    return dns_status_set(DNS_ERR_UNSUPPORTED, "backbone '%s', known are %s", name, known);
}

dns_status dns_backbone_path(char **out, const char *name)
{
    const char *folder = getenv("DNS_BACKBONES");
    const char *own_cache = getenv("DNS_CACHE");
    const char *cache = getenv("XDG_CACHE_HOME");
    const char *home = getenv("HOME");
    *out = NULL;
    if (folder != NULL && folder[0] != '\0')
        return dns_string_format(out, "%s/%s.safetensors", folder, name);
    if (own_cache != NULL && own_cache[0] != '\0')
        return dns_string_format(out, "%s/backbones/%s.safetensors", own_cache, name);
    if (cache != NULL && cache[0] != '\0')
        return dns_string_format(out, "%s/dnsel/backbones/%s.safetensors", cache, name);
    if (home != NULL && home[0] != '\0')
        return dns_string_format(out, "%s/.cache/dnsel/backbones/%s.safetensors", home, name);
    return dns_status_set(DNS_ERR_NOTFOUND,
                          "backbone '%s': none of DNS_BACKBONES, XDG_CACHE_HOME, HOME is set",
                          name);
}

/* ---- weights ---- */

struct builder {
    dns_graph *graph;
    const dns_backbone *backbone;
    const dns_safetensors *base, *tail;
    const char *prefix; /* of the names in `base` */
    dns_hasher *hasher; /* takes the tensors of `base`; NULL: none is wanted */
    size_t n_tail;      /* tensors of `tail` that were used */
};

static const dns_tensor *find(const struct builder *b, const dns_safetensors *file,
                              const char *layer, const char *suffix)
{
    char name[160];
    snprintf(name, sizeof name, "%s%s.%s", file == b->base ? b->prefix : "", layer, suffix);
    return dns_safetensors_find(file, name);
}

/* *out = the tensor "<layer>.<suffix>" as f32. */
static dns_status load(float **out, const struct builder *b, const dns_safetensors *file,
                       const char *layer, const char *suffix, size_t rank, const size_t *shape)
{
    dns_status status = DNS_OK;
    *out = NULL;
    const dns_tensor *tensor = find(b, file, layer, suffix);
    if (tensor == NULL)
        DNS_FAIL(DNS_ERR_NOTFOUND, "%s: no tensor '%s.%s', which %s needs",
                 dns_safetensors_path(file), layer, suffix, b->backbone->name);
    if (tensor->rank != rank || memcmp(tensor->shape, shape, rank * sizeof *shape) != 0) {
        char found[128], expected[128];
        dns_tensor wanted = dns_tensor_f32(NULL, rank, shape);
        dns_tensor_shape_text(tensor, found, sizeof found);
        dns_tensor_shape_text(&wanted, expected, sizeof expected);
        DNS_FAIL(DNS_ERR_SHAPE, "%s: tensor '%s.%s': shape %s, expected %s",
                 dns_safetensors_path(file), layer, suffix, found, expected);
    }
    DNS_TRY(dns_alloc(out, dns_tensor_count(tensor), sizeof **out));
    dns_tensor_to_f32(*out, tensor);
out:
    return status;
}

static void hash_tensor(const struct builder *b, const char *layer, const char *suffix)
{
    const dns_tensor *tensor = find(b, b->base, layer, suffix);
    if (b->hasher == NULL || tensor == NULL)
        return;
    char text[256];
    char shape[128];
    dns_tensor_shape_text(tensor, shape, sizeof shape);
    snprintf(text, sizeof text, "%s.%s %s %s\n", layer, suffix, dns_dtype_name(tensor->dtype),
             shape);
    dns_hasher_add(b->hasher, text, strlen(text));
    dns_hasher_add(b->hasher, tensor->data, dns_tensor_bytes(tensor));
}

static const char *const norm_parts[] = {"weight", "bias", "running_mean", "running_var"};

/* weights and bias of "y = gamma (w x - mean) / sqrt(variance + epsilon) + beta". */
static dns_status fold(float *weights, float *bias, const struct builder *b,
                       const dns_safetensors *file, const char *norm, size_t out_channels,
                       size_t per_channel)
{
    dns_status status = DNS_OK;
    float *parts[4] = {NULL};
    for (size_t i = 0; i < 4; i++)
        DNS_TRY(load(&parts[i], b, file, norm, norm_parts[i], 1, &out_channels));
    for (size_t o = 0; o < out_channels; o++) {
        double gamma = (double)parts[0][o], beta = (double)parts[1][o];
        double mean = (double)parts[2][o], variance = (double)parts[3][o];
        if (!(variance >= 0.0))
            DNS_FAIL(DNS_ERR_RANGE, "%s: '%s.running_var': %g", dns_safetensors_path(file), norm,
                     variance);
        double factor = gamma / sqrt(variance + b->backbone->epsilon);
        for (size_t i = 0; i < per_channel; i++)
            weights[o * per_channel + i] = (float)(factor * (double)weights[o * per_channel + i]);
        bias[o] = (float)(beta - mean * factor);
    }
out:
    for (size_t i = 0; i < 4; i++)
        dns_free(parts[i]);
    return status;
}

/* Adds the convolution layer->name, whose batch normalisation is called `norm`. */
static dns_status add_convolution(int *node, struct builder *b, dns_layer layer, const char *norm)
{
    dns_status status = DNS_OK;
    float *weights = NULL, *bias = NULL;
    const dns_layer *input = dns_graph_layer(b->graph, (size_t)layer.input);
    const size_t shape[] = {layer.out_channels, input->out_channels / layer.groups, layer.kernel,
                            layer.kernel};
    size_t per_channel = shape[1] * shape[2] * shape[3];
    hash_tensor(b, layer.name, "weight");
    hash_tensor(b, layer.name, "bias");
    for (size_t i = 0; i < 4; i++)
        hash_tensor(b, norm, norm_parts[i]);

    const dns_safetensors *file = b->base;
    if (b->tail != NULL && find(b, b->tail, layer.name, "weight") != NULL) {
        file = b->tail;
        b->n_tail += 2;
    }
    DNS_TRY(load(&weights, b, file, layer.name, "weight", 4, shape));
    if (file == b->tail || find(b, file, layer.name, "bias") != NULL) {
        DNS_TRY(load(&bias, b, file, layer.name, "bias", 1, &layer.out_channels));
    } else {
        DNS_TRY(dns_alloc(&bias, layer.out_channels, sizeof *bias));
        DNS_TRY(fold(weights, bias, b, file, norm, layer.out_channels, per_channel));
    }
    layer.kind = DNS_LAYER_CONVOLUTION;
    layer.weights = weights;
    layer.bias = bias;
    DNS_TRY(dns_graph_add(b->graph, node, &layer));
out:
    dns_free(weights);
    dns_free(bias);
    return status;
}

/* ---- EfficientNet-Lite ---- */

struct stage {
    size_t repeats, kernel, stride, expansion, channels;
};

static const struct stage lite_stages[] = {
    {1, 3, 1, 1, 16},  {2, 3, 2, 6, 24},  {2, 5, 2, 6, 40},  {3, 3, 2, 6, 80},
    {3, 5, 1, 6, 112}, {4, 5, 2, 6, 192}, {1, 3, 1, 6, 320},
};

enum { N_STAGES = sizeof lite_stages / sizeof *lite_stages };

/* The nearest multiple of 8, but not less than 90 % of the wish. */
static size_t scale_channels(size_t channels, double width)
{
    double wish = (double)channels * width;
    size_t rounded = (size_t)(wish + 4.0) / 8 * 8;
    return (double)rounded < 0.9 * wish ? rounded + 8 : rounded;
}

/* TensorFlow's "same" for an even map: the odd row and column go below and right. */
static dns_layer same_padded(size_t kernel, size_t stride, size_t out_channels,
                             dns_activation activation)
{
    size_t total = kernel - stride;
    return (dns_layer){.out_channels = out_channels,
                       .kernel = kernel,
                       .stride = stride,
                       .pad_begin = total / 2,
                       .pad_end = total - total / 2,
                       .groups = 1,
                       .activation = activation,
                       .residual = DNS_NO_NODE};
}

/* One inverted residual: expansion by 1x1, depthwise, projection by 1x1, added to its input where
 * shapes allow. */
static dns_status add_block(int *trunk, struct builder *b, size_t number, size_t kernel,
                            size_t stride, size_t expansion, size_t channels)
{
    dns_status status = DNS_OK;
    char norm[64];
    int x = *trunk;
    size_t in_channels = dns_graph_layer(b->graph, (size_t)x)->out_channels;
    if (expansion > 1) {
        dns_layer expand = same_padded(1, 1, in_channels * expansion, DNS_ACTIVATION_RELU6);
        snprintf(expand.name, sizeof expand.name, "_blocks.%zu._expand_conv", number);
        snprintf(norm, sizeof norm, "_blocks.%zu._bn0", number);
        expand.input = x;
        DNS_TRY(add_convolution(&x, b, expand, norm));
    }
    dns_layer depthwise =
        same_padded(kernel, stride, in_channels * expansion, DNS_ACTIVATION_RELU6);
    snprintf(depthwise.name, sizeof depthwise.name, "_blocks.%zu._depthwise_conv", number);
    snprintf(norm, sizeof norm, "_blocks.%zu._bn1", number);
    depthwise.input = x;
    depthwise.groups = depthwise.out_channels;
    DNS_TRY(add_convolution(&x, b, depthwise, norm));

    dns_layer project = same_padded(1, 1, channels, DNS_ACTIVATION_NONE);
    snprintf(project.name, sizeof project.name, "_blocks.%zu._project_conv", number);
    snprintf(norm, sizeof norm, "_blocks.%zu._bn2", number);
    project.input = x;
    if (stride == 1 && in_channels == channels)
        project.residual = *trunk;
    DNS_TRY(add_convolution(trunk, b, project, norm));
out:
    return status;
}

static dns_status build_lite(struct builder *b, const struct lite *scale)
{
    dns_status status = DNS_OK;
    int x;
    size_t number = 0;
    dns_layer stem = same_padded(3, 2, 32, DNS_ACTIVATION_RELU6);
    dns_layer head = same_padded(1, 1, 1280, DNS_ACTIVATION_RELU6);
    snprintf(stem.name, sizeof stem.name, "_conv_stem");
    snprintf(head.name, sizeof head.name, "_conv_head");
    DNS_TRY(add_convolution(&x, b, stem, "_bn0"));
    for (size_t s = 0; s < N_STAGES; s++) {
        const struct stage *stage = &lite_stages[s];
        bool fixed = s == 0 || s + 1 == N_STAGES;
        size_t repeats =
            fixed ? stage->repeats : (size_t)ceil((double)stage->repeats * scale->depth);
        for (size_t i = 0; i < repeats; i++)
            DNS_TRY(add_block(&x, b, number++, stage->kernel, i == 0 ? stage->stride : 1,
                              stage->expansion, scale_channels(stage->channels, scale->width)));
    }
    head.input = x;
    DNS_TRY(add_convolution(&x, b, head, "_bn1"));
out:
    return status;
}

/* ---- ResNet-50 ---- */

static dns_layer even_padded(size_t kernel, size_t stride, size_t out_channels, int input,
                             dns_activation activation)
{
    return (dns_layer){.input = input,
                       .out_channels = out_channels,
                       .kernel = kernel,
                       .stride = stride,
                       .pad_begin = kernel / 2,
                       .pad_end = kernel / 2,
                       .groups = 1,
                       .activation = activation,
                       .residual = DNS_NO_NODE};
}

/* Convolution "<block>.conv<i>" with "<block>.bn<i>". */
static dns_status add_numbered(int *node, struct builder *b, const char *block, int i,
                               dns_layer layer)
{
    char norm[64];
    snprintf(layer.name, sizeof layer.name, "%s.conv%d", block, i);
    snprintf(norm, sizeof norm, "%s.bn%d", block, i);
    return add_convolution(node, b, layer, norm);
}

/* 1x1, 3x3 with the stride, 1x1, added to the input or to its projection. */
static dns_status add_bottleneck(int *trunk, struct builder *b, const char *block, size_t width,
                                 size_t stride, bool project)
{
    dns_status status = DNS_OK;
    int x, shortcut = *trunk;
    DNS_TRY(add_numbered(&x, b, block, 1, even_padded(1, 1, width, *trunk, DNS_ACTIVATION_RELU)));
    DNS_TRY(add_numbered(&x, b, block, 2, even_padded(3, stride, width, x, DNS_ACTIVATION_RELU)));
    if (project) {
        char norm[64];
        dns_layer layer = even_padded(1, stride, 4 * width, *trunk, DNS_ACTIVATION_NONE);
        snprintf(layer.name, sizeof layer.name, "%s.downsample.0", block);
        snprintf(norm, sizeof norm, "%s.downsample.1", block);
        DNS_TRY(add_convolution(&shortcut, b, layer, norm));
    }
    dns_layer last = even_padded(1, 1, 4 * width, x, DNS_ACTIVATION_RELU);
    last.residual = shortcut;
    DNS_TRY(add_numbered(trunk, b, block, 3, last));
out:
    return status;
}

static dns_status build_resnet50(struct builder *b)
{
    static const size_t blocks[4] = {3, 4, 6, 3};
    dns_status status = DNS_OK;
    int x;
    dns_layer stem = even_padded(7, 2, 64, 0, DNS_ACTIVATION_RELU);
    snprintf(stem.name, sizeof stem.name, "conv1");
    DNS_TRY(add_convolution(&x, b, stem, "bn1"));
    dns_layer pool = even_padded(3, 2, 0, x, DNS_ACTIVATION_NONE);
    snprintf(pool.name, sizeof pool.name, "maxpool");
    pool.kind = DNS_LAYER_MAX_POOL;
    DNS_TRY(dns_graph_add(b->graph, &x, &pool));
    for (size_t stage = 0; stage < 4; stage++)
        for (size_t i = 0; i < blocks[stage]; i++) {
            char block[32];
            snprintf(block, sizeof block, "layer%zu.%zu", stage + 1, i);
            DNS_TRY(add_bottleneck(&x, b, block, (size_t)64 << stage, stage > 0 && i == 0 ? 2 : 1,
                                   i == 0));
        }
out:
    return status;
}

/* ---- graph and digest ---- */

static dns_status build(dns_graph **out, dns_digest *digest, const dns_backbone *backbone,
                        const dns_safetensors *base, const dns_safetensors *tail)
{
    dns_status status = DNS_OK;
    const struct entry *entry = find_entry(backbone->name);
    struct builder b = {.backbone = backbone, .base = base, .tail = tail, .prefix = ""};
    if (entry == NULL)
        DNS_FAIL(DNS_ERR_UNSUPPORTED, "backbone '%s'", backbone->name);
    if (dns_safetensors_find(base, "cnn.conv1.weight") != NULL)
        b.prefix = "cnn.";
    if (digest != NULL)
        DNS_TRY(dns_hasher_create(&b.hasher));
    DNS_TRY(dns_graph_create(&b.graph, backbone->input_size, backbone->input_size, 3));
    DNS_TRY(entry->lite != NULL ? build_lite(&b, entry->lite) : build_resnet50(&b));
    for (size_t i = 0; i < DNS_BACKBONE_TAPS; i++)
        DNS_TRY(dns_graph_tap(b.graph, dns_graph_find(b.graph, backbone->taps[i].layer)));
    if (tail != NULL && b.n_tail != dns_safetensors_count(tail))
        DNS_FAIL(DNS_ERR_FORMAT, "%s: %zu tensors, but %zu belong to layers of %s",
                 dns_safetensors_path(tail), dns_safetensors_count(tail), b.n_tail, backbone->name);
    if (digest != NULL)
        *digest = dns_hasher_digest(b.hasher);
    if (out != NULL) {
        *out = b.graph;
        b.graph = NULL;
    }
out:
    dns_graph_free(b.graph);
    dns_hasher_free(b.hasher);
    return status;
}

dns_status dns_backbone_graph(dns_graph **out, const dns_backbone *backbone,
                              const dns_safetensors *base, const dns_safetensors *tail)
{
    *out = NULL;
    return build(out, NULL, backbone, base, tail);
}

dns_status dns_backbone_digest(dns_digest *out, const dns_backbone *backbone,
                               const dns_safetensors *base)
{
    return build(NULL, out, backbone, base, NULL);
}
