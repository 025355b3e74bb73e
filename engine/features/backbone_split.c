#include "dnsel/backbone_split.h"

#include <string.h>

#include "dnsel/extractor.h"
#include "dnsel/memory.h"
#include "dnsel/normalise.h"

enum { BATCH = 4 };

/* The node behind the last strided convolution's block: the trunk. */
static dns_status find_trunk(int *out, const dns_graph *graph)
{
    int trunk = DNS_NO_NODE;
    for (size_t i = 0; i + 1 < dns_graph_size(graph); i++) {
        const dns_layer *layer = dns_graph_layer(graph, i);
        if (layer->kind == DNS_LAYER_CONVOLUTION && layer->stride > 1)
            trunk = (int)i + 1; /* the projection of the strided depthwise convolution */
    }
    const dns_layer *layer = trunk == DNS_NO_NODE ? NULL : dns_graph_layer(graph, (size_t)trunk);
    if (layer == NULL || layer->kernel != 1 ||
        dns_graph_layer(graph, (size_t)trunk - 1)->groups == 1)
        return dns_status_set(DNS_ERR_UNSUPPORTED,
                              "this backbone has no tail of inverted residual blocks to train");
    *out = trunk;
    return DNS_OK;
}

static dns_status describe_tail(dns_tail_shape *s, const dns_backbone *backbone,
                                const dns_graph *graph, int trunk, size_t out_dim)
{
    const dns_layer *start = dns_graph_layer(graph, (size_t)trunk);
    const dns_backbone_tap *head_tap = &backbone->taps[DNS_BACKBONE_TAPS - 1];
    size_t n = dns_graph_size(graph), node = (size_t)trunk + 1;
    *s = (dns_tail_shape){.size = start->height,
                          .window = head_tap->window,
                          .stride = head_tap->stride,
                          .head = head_tap->channels,
                          .fixed = backbone->region_dim - head_tap->channels,
                          .out = out_dim};
    for (; node + 3 < n + 1 && n - node > 1; node += 3) {
        const dns_layer *e = dns_graph_layer(graph, node), *d = dns_graph_layer(graph, node + 1),
                        *p = dns_graph_layer(graph, node + 2);
        if (s->n_blocks == DNS_TAIL_BLOCKS || p == NULL || e->kernel != 1 ||
            d->groups != d->in_channels || p->kernel != 1)
            return dns_status_set(DNS_ERR_UNSUPPORTED,
                                  "layer %s is not part of an inverted residual block", e->name);
        s->blocks[s->n_blocks++] = (dns_tail_block){.expand = e->name,
                                                    .depthwise = d->name,
                                                    .project = p->name,
                                                    .in = e->in_channels,
                                                    .expanded = e->out_channels,
                                                    .out = p->out_channels,
                                                    .kernel = d->kernel};
    }
    const dns_layer *head = dns_graph_layer(graph, n - 1);
    s->head_name = head->name;
    if (strcmp(head->name, head_tap->layer) != 0)
        return dns_status_set(DNS_ERR_UNSUPPORTED, "layer %s is the last, not the tapped %s",
                              head->name, head_tap->layer);
    return DNS_OK;
}

static void copy_layer(const dns_parameters *p, const dns_layer *layer, size_t index)
{
    const dns_parameter *weight = dns_parameters_at(p, index),
                        *bias = dns_parameters_at(p, index + 1);
    memcpy(dns_parameters_weight(p, index), layer->weights, weight->count * sizeof(float));
    memcpy(dns_parameters_weight(p, index + 1), layer->bias, bias->count * sizeof(float));
}

dns_status dns_backbone_tail_of(dns_backbone_tail **out, const dns_backbone *backbone,
                                const dns_graph *graph, size_t out_dim, bool training)
{
    dns_tail_shape shape;
    int trunk;
    *out = NULL;
    dns_status status = find_trunk(&trunk, graph);
    if (status == DNS_OK)
        status = describe_tail(&shape, backbone, graph, trunk, out_dim);
    if (status == DNS_OK)
        status = dns_backbone_tail_create(out, &shape, training);
    for (size_t i = 0; status == DNS_OK && i <= 3 * shape.n_blocks; i++)
        copy_layer(dns_backbone_tail_parameters(*out),
                   dns_graph_layer(graph, (size_t)trunk + 1 + i), 2 * i);
    return status;
}

/* ---- front ---- */

struct dns_backbone_front {
    const dns_backbone *backbone;
    dns_convnet *net;
    size_t trunk, fixed;
};

struct dns_backbone_front_session {
    const dns_backbone_front *front;
    dns_convnet_session *net;
};

dns_status dns_backbone_front_create(dns_backbone_front **out, const dns_backbone *backbone,
                                     const dns_graph *graph)
{
    dns_status status = DNS_OK;
    dns_backbone_front *f = NULL;
    dns_graph *cut = NULL;
    int trunk, node;
    const dns_layer *input = dns_graph_layer(graph, 0);
    *out = NULL;
    DNS_TRY(find_trunk(&trunk, graph));
    DNS_TRY(dns_alloc(&f, 1, sizeof *f));
    f->backbone = backbone;
    f->fixed = backbone->region_dim - backbone->taps[DNS_BACKBONE_TAPS - 1].channels;
    DNS_TRY(dns_graph_create(&cut, input->height, input->width,
                             input->out_channels > 0 ? input->out_channels : 3));
    for (size_t i = 1; i <= (size_t)trunk; i++)
        DNS_TRY(dns_graph_add(cut, &node, dns_graph_layer(graph, i)));
    for (size_t t = 0; t + 1 < DNS_BACKBONE_TAPS; t++)
        DNS_TRY(dns_graph_tap(cut, dns_graph_find(cut, backbone->taps[t].layer)));
    DNS_TRY(dns_graph_tap(cut, trunk));
    const dns_layer *last = dns_graph_layer(cut, (size_t)trunk);
    f->trunk = last->height * last->width * last->out_channels;
    DNS_TRY(dns_convnet_create(&f->net, cut, BATCH, DNS_PRECISION_F32, NULL));
    *out = f;
    f = NULL;
out:
    dns_graph_free(cut);
    dns_backbone_front_free(f);
    return status;
}

void dns_backbone_front_free(dns_backbone_front *f)
{
    if (f == NULL)
        return;
    dns_convnet_free(f->net);
    dns_free(f);
}

size_t dns_backbone_front_trunk(const dns_backbone_front *f)
{
    return f->trunk;
}

size_t dns_backbone_front_fixed(const dns_backbone_front *f)
{
    return f->fixed;
}

dns_status dns_backbone_front_session_create(dns_backbone_front_session **out,
                                             const dns_backbone_front *front)
{
    dns_status status = dns_alloc(out, 1, sizeof **out);
    if (status != DNS_OK)
        return status;
    (*out)->front = front;
    status = dns_convnet_session_create(&(*out)->net, front->net);
    if (status != DNS_OK) {
        dns_free(*out);
        *out = NULL;
    }
    return status;
}

void dns_backbone_front_session_free(dns_backbone_front_session *s)
{
    if (s == NULL)
        return;
    dns_convnet_session_free(s->net);
    dns_free(s);
}

/* Where the maps of one run of the network go. */
struct destination {
    const dns_backbone_front *front;
    float *trunk, *fixed;
    size_t n;
};

static dns_status take_map(void *payload, size_t tap, const dns_map *map)
{
    struct destination *d = payload;
    const dns_backbone_tap *taps = d->front->backbone->taps;
    size_t fixed = d->front->fixed, offset = 0;
    if (tap + 1 == DNS_BACKBONE_TAPS) {
        memcpy(d->trunk, map->data, d->n * d->front->trunk * sizeof *d->trunk);
        return DNS_OK;
    }
    for (size_t t = 0; t < tap; t++)
        offset += taps[t].channels;
    for (size_t i = 0; i < d->n; i++) {
        float *out = d->fixed + i * DNS_REGIONS * fixed + offset;
        dns_status status = dns_region_pool(out, fixed, map, i, taps[tap].window, taps[tap].stride);
        if (status != DNS_OK)
            return status;
        for (size_t r = 0; r < DNS_REGIONS; r++)
            dns_normalise_forward(out + r * fixed, NULL, out + r * fixed, 1, map->channels);
    }
    return DNS_OK;
}

dns_status dns_backbone_front_run(dns_backbone_front_session *s, float *trunk, float *fixed,
                                  const uint8_t *frames, size_t n)
{
    const dns_backbone_front *f = s->front;
    size_t pixels = f->backbone->input_size * f->backbone->input_size;
    float *input = dns_convnet_session_input(s->net);
    for (size_t first = 0; first < n; first += BATCH) {
        size_t here = n - first < BATCH ? n - first : BATCH;
        struct destination d = {f, trunk + first * f->trunk, fixed + first * DNS_REGIONS * f->fixed,
                                here};
        dns_frames_normalise(input, frames + first * 3 * pixels, here * pixels, f->backbone);
        memset(input + here * 3 * pixels, 0, (BATCH - here) * 3 * pixels * sizeof *input);
        dns_status status = dns_convnet_run(s->net, take_map, &d, NULL);
        if (status != DNS_OK)
            return status;
    }
    return DNS_OK;
}
