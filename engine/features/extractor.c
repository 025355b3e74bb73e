#include "dnsel/extractor.h"

#include <math.h>
#include <string.h>

#include "dnsel/memory.h"
#include "frame_kernels.h"

enum { PIXEL_PERIOD = 48, CHANNELS_MAXIMUM = 4096 };

struct dns_extractor {
    const dns_backbone *backbone;
    dns_convnet *net;
    dns_precision precision;
    size_t tap_offset[DNS_BACKBONE_TAPS]; /* where each tap starts in a region vector */
};

struct dns_extractor_session {
    const dns_extractor *extractor;
    dns_convnet_session *net;
};

/* ---- pieces ---- */

void dns_frames_normalise(float *out, const uint8_t *frames, size_t n_pixels,
                          const dns_backbone *backbone)
{
    float factor[PIXEL_PERIOD], offset[PIXEL_PERIOD];
    for (size_t i = 0; i < PIXEL_PERIOD; i++) {
        factor[i] = (float)(1.0 / backbone->deviation[i % 3]);
        offset[i] = (float)(-backbone->mean[i % 3] / backbone->deviation[i % 3]);
    }
    dns_frame_kernels_get()->scale_bytes(out, frames, 3 * n_pixels, factor, offset);
}

dns_status dns_region_pool(float *out, size_t stride_out, const dns_map *map, size_t index,
                           size_t window, size_t stride)
{
    const dns_frame_kernels *kernels = dns_frame_kernels_get();
    size_t channels = map->channels, map_size = map->height * map->width * channels;
    if (window < 1 || 2 * stride + window > map->height || 2 * stride + window > map->width ||
        index >= map->n || channels > CHANNELS_MAXIMUM ||
        (map->dtype != DNS_F32 && map->dtype != DNS_U8))
        return dns_status_set(
            DNS_ERR_SHAPE, "windows of %zu, %zu apart, on map %zu of [%zu,%zu,%zu,%zu] %s", window,
            stride, index, map->n, map->height, map->width, channels, dns_dtype_name(map->dtype));
    for (size_t r = 0; r < DNS_REGIONS; r++) {
        size_t corner =
            index * map_size + ((r / 3) * stride * map->width + (r % 3) * stride) * channels;
        float *region = out + r * stride_out;
        if (map->dtype == DNS_F32) {
            kernels->window_max_f32(region, (const float *)map->data + corner, map->width, channels,
                                    window);
            continue;
        }
        uint8_t maxima[CHANNELS_MAXIMUM];
        kernels->window_max_u8(maxima, (const uint8_t *)map->data + corner, map->width, channels,
                               window);
        for (size_t c = 0; c < channels; c++)
            region[c] = map->scale * (float)maxima[c];
    }
    return DNS_OK;
}

static void normalise(float *x, size_t n)
{
    float squares[16] = {0.0f}, sum = 0.0f;
    size_t i = 0;
    for (; i + 16 <= n; i += 16)
        for (size_t k = 0; k < 16; k++)
            squares[k] += x[i + k] * x[i + k];
    for (; i < n; i++)
        squares[0] += x[i] * x[i];
    for (size_t k = 0; k < 16; k++)
        sum += squares[k];
    float norm = sqrtf(sum);
    float factor = 1.0f / (norm > 1e-12f ? norm : 1e-12f);
    for (i = 0; i < n; i++)
        x[i] *= factor;
}

/* ---- extractor ---- */

static dns_status check_taps(const dns_backbone *backbone, const dns_graph *graph)
{
    if (dns_graph_n_taps(graph) != DNS_BACKBONE_TAPS)
        return dns_status_set(DNS_ERR_SHAPE, "a graph of %zu taps, %s has %d",
                              dns_graph_n_taps(graph), backbone->name, DNS_BACKBONE_TAPS);
    for (int i = 0; i < DNS_BACKBONE_TAPS; i++) {
        const dns_backbone_tap *tap = &backbone->taps[i];
        int node = dns_graph_find(graph, tap->layer);
        const dns_layer *layer = node < 0 ? NULL : dns_graph_layer(graph, (size_t)node);
        if (layer == NULL || layer->tap != i || layer->out_channels != tap->channels)
            return dns_status_set(DNS_ERR_SHAPE, "'%s' of %s is not tap %d of the graph",
                                  tap->layer, backbone->name, i);
    }
    return DNS_OK;
}

/* In f32 the maps of more than one frame leave the second-level cache. */
static size_t default_batch(dns_precision precision)
{
    return precision == DNS_PRECISION_F32 ? 1 : 4;
}

dns_status dns_extractor_create(dns_extractor **out, const dns_backbone *backbone,
                                const dns_graph *graph, size_t batch, dns_precision precision,
                                const float *ranges)
{
    dns_status status = DNS_OK;
    dns_extractor *e = NULL;
    *out = NULL;
    DNS_TRY(check_taps(backbone, graph));
    DNS_TRY(dns_alloc(&e, 1, sizeof *e));
    e->backbone = backbone;
    e->precision = precision;
    for (size_t i = 1; i < DNS_BACKBONE_TAPS; i++)
        e->tap_offset[i] = e->tap_offset[i - 1] + backbone->taps[i - 1].channels;
    DNS_TRY(dns_convnet_create(&e->net, graph, batch == 0 ? default_batch(precision) : batch,
                               precision, ranges));
    *out = e;
    e = NULL;
out:
    dns_extractor_free(e);
    return status;
}

void dns_extractor_free(dns_extractor *extractor)
{
    if (extractor == NULL)
        return;
    dns_convnet_free(extractor->net);
    dns_free(extractor);
}

const dns_backbone *dns_extractor_backbone(const dns_extractor *extractor)
{
    return extractor->backbone;
}

dns_precision dns_extractor_precision(const dns_extractor *extractor)
{
    return extractor->precision;
}

const dns_convnet *dns_extractor_net(const dns_extractor *extractor)
{
    return extractor->net;
}

dns_status dns_extractor_session_create(dns_extractor_session **out, const dns_extractor *extractor)
{
    dns_status status = DNS_OK;
    dns_extractor_session *session = NULL;
    *out = NULL;
    DNS_TRY(dns_alloc(&session, 1, sizeof *session));
    session->extractor = extractor;
    DNS_TRY(dns_convnet_session_create(&session->net, extractor->net));
    *out = session;
    session = NULL;
out:
    dns_extractor_session_free(session);
    return status;
}

void dns_extractor_session_free(dns_extractor_session *session)
{
    if (session == NULL)
        return;
    dns_convnet_session_free(session->net);
    dns_free(session);
}

/* One batch under way: where the regions of its n frames go. */
struct batch {
    const dns_extractor *extractor;
    float *regions;
    size_t n;
};

static dns_status pool_tap(void *payload, size_t tap, const dns_map *map)
{
    const struct batch *batch = payload;
    const dns_backbone *backbone = batch->extractor->backbone;
    const dns_backbone_tap *t = &backbone->taps[tap];
    dns_status status = DNS_OK;
    for (size_t i = 0; status == DNS_OK && i < batch->n; i++) {
        float *frame = batch->regions + i * DNS_REGIONS * backbone->region_dim +
                       batch->extractor->tap_offset[tap];
        status = dns_region_pool(frame, backbone->region_dim, map, i, t->window, t->stride);
        for (size_t r = 0; status == DNS_OK && r < DNS_REGIONS; r++)
            normalise(frame + r * backbone->region_dim, t->channels);
    }
    return status;
}

static dns_status run_batch(dns_extractor_session *session, float *regions, const uint8_t *frames,
                            size_t n, double *seconds)
{
    dns_status status = DNS_OK;
    const dns_extractor *e = session->extractor;
    size_t values = e->backbone->input_size * e->backbone->input_size * 3;
    size_t rest = dns_convnet_batch(e->net) - n;
    struct batch batch = {e, regions, n};
    float *input = dns_convnet_session_input(session->net);
    dns_frames_normalise(input, frames, n * values / 3, e->backbone);
    memset(input + n * values, 0, rest * values * sizeof *input);
    DNS_TRY(dns_convnet_run(session->net, pool_tap, &batch, seconds));
    for (size_t r = 0; r < n * DNS_REGIONS; r++)
        normalise(regions + r * e->backbone->region_dim, e->backbone->region_dim);
out:
    return status;
}

dns_status dns_extractor_run(dns_extractor_session *session, float *regions, const uint8_t *frames,
                             size_t n)
{
    const dns_backbone *backbone = session->extractor->backbone;
    size_t frame_size = backbone->input_size * backbone->input_size * 3;
    size_t capacity = dns_convnet_batch(session->extractor->net);
    dns_status status = DNS_OK;
    for (size_t i = 0; status == DNS_OK && i < n; i += capacity)
        status = run_batch(session, regions + i * DNS_REGIONS * backbone->region_dim,
                           frames + i * frame_size, n - i < capacity ? n - i : capacity, NULL);
    return status;
}

dns_status dns_extractor_profile(dns_extractor_session *session, double *seconds, float *regions,
                                 const uint8_t *frames)
{
    return run_batch(session, regions, frames, dns_convnet_batch(session->extractor->net), seconds);
}

/* ---- from a model ---- */

dns_extractor_options dns_extractor_options_default(void)
{
    return (dns_extractor_options){.precision = -1};
}

/* *precision and *ranges (NULL for f32) as the model and the caller want them. */
static dns_status choose_precision(dns_precision *precision, float **ranges,
                                   const dns_json *section, int wanted, size_t n_nodes)
{
    const dns_json *list = dns_json_get(section, "ranges");
    *ranges = NULL;
    *precision = (dns_precision)wanted;
    if (wanted < 0) {
        const char *name = dns_json_string(dns_json_get(section, "precision"), "f32");
        if (dns_precision_parse(precision, name) != DNS_OK)
            return dns_status_set(DNS_ERR_FORMAT, "precision '%s'", name);
        if (!dns_precision_available(*precision))
            *precision = DNS_PRECISION_F32;
    }
    if (*precision == DNS_PRECISION_F32)
        return DNS_OK;
    if (list == NULL)
        return dns_status_set(DNS_ERR_FORMAT, "no ranges, which int8 needs: `dns-train ranges` "
                                              "measures them");
    if (dns_json_kind_of(list) != DNS_JSON_ARRAY || dns_json_size(list) != n_nodes)
        return dns_status_set(DNS_ERR_FORMAT, "%zu ranges for the %zu layers that int8 needs",
                              dns_json_size(list), n_nodes);
    dns_status status = dns_alloc(ranges, n_nodes, sizeof **ranges);
    for (size_t i = 0; status == DNS_OK && i < n_nodes; i++)
        (*ranges)[i] = (float)dns_json_number(dns_json_at(list, i), 0.0);
    return status;
}

/* The installed backbone, checked against the digest in the model. */
static dns_status open_base(dns_safetensors **out, const dns_backbone *backbone,
                            const dns_json *section, const char *given_path)
{
    dns_status status = DNS_OK;
    dns_safetensors *base = NULL;
    char *path = NULL;
    dns_digest found, expected;
    char text[33];
    if (given_path != NULL)
        DNS_TRY(dns_string_copy(&path, given_path));
    else
        DNS_TRY(dns_backbone_path(&path, backbone->name));
    status = dns_safetensors_open(&base, path);
    if (status == DNS_ERR_NOTFOUND)
        DNS_FAIL(
            DNS_ERR_NOTFOUND,
            "%s: the backbone %s is not installed (tools/setup or 'dns-model import' installs it)",
            path, backbone->name);
    DNS_TRY(status);
    DNS_TRY(dns_backbone_digest(&found, backbone, base));
    if (!dns_digest_parse(&expected, dns_json_string(dns_json_get(section, "weights"), "")))
        DNS_FAIL(DNS_ERR_FORMAT, "section 'backbone' has no digest 'weights'");
    dns_digest_text(&found, text);
    if (!dns_digest_equal(&found, &expected))
        DNS_FAIL(DNS_ERR_MODEL, "%s: weights %s, the model was made with %s", path, text,
                 dns_json_string(dns_json_get(section, "weights"), ""));
    *out = base;
    base = NULL;
out:
    dns_safetensors_close(base);
    dns_free(path);
    return status;
}

dns_status dns_model_backbone_graph(dns_graph **graph, const dns_backbone **backbone,
                                    const dns_model *model, const char *path)
{
    dns_status status = DNS_OK;
    const dns_json *section = dns_model_section(model, "backbone");
    dns_safetensors *base = NULL;
    *graph = NULL;
    if (section == NULL)
        DNS_FAIL(DNS_ERR_FORMAT, "no section 'backbone'");
    DNS_TRY(dns_backbone_find(backbone, dns_json_string(dns_json_get(section, "name"), "")));
    DNS_TRY(open_base(&base, *backbone, section, path));
    DNS_TRY(dns_backbone_graph(graph, *backbone, base, dns_model_weights(model, "backbone")));
out:
    dns_safetensors_close(base);
    return status == DNS_OK ? DNS_OK
                            : dns_status_context(status, "model %s", dns_model_directory(model));
}

dns_status dns_extractor_open(dns_extractor **out, const dns_model *model,
                              const dns_extractor_options *options)
{
    dns_status status = DNS_OK;
    const dns_extractor_options o = options == NULL ? dns_extractor_options_default() : *options;
    const dns_backbone *backbone;
    dns_graph *graph = NULL;
    dns_precision precision;
    float *ranges = NULL;
    *out = NULL;
    DNS_TRY(dns_model_backbone_graph(&graph, &backbone, model, o.backbone_path));
    DNS_TRY(choose_precision(&precision, &ranges, dns_model_section(model, "backbone"), o.precision,
                             dns_graph_size(graph)));
    DNS_TRY(dns_extractor_create(out, backbone, graph, o.batch, precision, ranges));
out:
    dns_free(ranges);
    dns_graph_free(graph);
    return status;
}

/* ---- preprocessing ---- */

/* Reads the choice `key` by its name. */
#define READ_CHOICE(field, key, parse)                                                \
    do {                                                                              \
        const char *name = dns_json_string(dns_json_get(section, key), NULL);         \
        if (name != NULL && parse(&options.field, name) != DNS_OK)                    \
            return dns_status_set(DNS_ERR_FORMAT, "model %s: preprocessing: %s '%s'", \
                                  dns_model_directory(model), key, name);             \
    } while (0)

dns_status dns_model_media_options(dns_media_options *out, const dns_model *model)
{
    const dns_json *section = dns_model_section(model, "preprocessing");
    dns_media_options options = dns_media_options_default();
    READ_CHOICE(sampling, "sampling", dns_sampling_parse);
    READ_CHOICE(geometry, "geometry", dns_geometry_parse);
    READ_CHOICE(interpolation, "interpolation", dns_interpolation_parse);
    int64_t size = dns_json_integer(dns_json_get(section, "size"), (int64_t)options.size);
    int64_t short_side =
        dns_json_integer(dns_json_get(section, "short_side"), (int64_t)options.short_side);
    if (size < 1 || size > 4096 || short_side < size || short_side > 65536)
        return dns_status_set(DNS_ERR_FORMAT, "model %s: preprocessing: size %lld of %lld",
                              dns_model_directory(model), (long long)size, (long long)short_side);
    options.size = (size_t)size;
    options.short_side = (size_t)short_side;
    *out = options;
    return DNS_OK;
}
