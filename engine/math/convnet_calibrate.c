#include "dnsel/convnet.h"

#include <math.h>
#include <string.h>

#include "dnsel/memory.h"

struct ranges {
    float *sums;
    const int *nodes; /* by tap */
};

static dns_status note_largest(void *payload, size_t tap, const dns_map *map)
{
    struct ranges *ranges = payload;
    const float *values = map->data;
    float largest = 0.0f;
    for (size_t i = 0; i < map->n * map->height * map->width * map->channels; i++)
        largest = fmaxf(largest, fabsf(values[i]));
    ranges->sums[ranges->nodes[tap]] += largest;
    return DNS_OK;
}

/* The same graph with every node tapped; nodes [dns_graph_size] are those of the taps. */
static dns_status tap_everything(dns_graph **out, int *nodes, const dns_graph *graph)
{
    dns_status status = DNS_OK;
    const dns_layer *picture = dns_graph_layer(graph, 0);
    dns_graph *copy = NULL;
    DNS_TRY(dns_graph_create(&copy, picture->height, picture->width, picture->out_channels));
    for (size_t i = 1; i < dns_graph_size(graph); i++) {
        DNS_TRY(dns_graph_add(copy, &nodes[i - 1], dns_graph_layer(graph, i)));
        DNS_TRY(dns_graph_tap(copy, nodes[i - 1]));
    }
    *out = copy;
    copy = NULL;
out:
    dns_graph_free(copy);
    return status;
}

dns_status dns_graph_calibrate(float *ranges, const dns_graph *graph, const float *pictures,
                               size_t n)
{
    dns_status status = DNS_OK;
    dns_graph *tapped = NULL;
    dns_convnet *net = NULL;
    dns_convnet_session *session = NULL;
    int *nodes = NULL;
    size_t n_nodes = dns_graph_size(graph);
    const dns_layer *picture = dns_graph_layer(graph, 0);
    size_t picture_size = picture->height * picture->width * picture->out_channels;
    memset(ranges, 0, n_nodes * sizeof *ranges);
    if (n == 0)
        DNS_FAIL(DNS_ERR_ARG, "calibration without pictures");
    DNS_TRY(dns_alloc(&nodes, n_nodes, sizeof *nodes));
    DNS_TRY(tap_everything(&tapped, nodes, graph));
    DNS_TRY(dns_convnet_create(&net, tapped, 1, DNS_PRECISION_F32, NULL));
    DNS_TRY(dns_convnet_session_create(&session, net));
    struct ranges sums = {ranges, nodes};
    for (size_t p = 0; p < n; p++) {
        memcpy(dns_convnet_session_input(session), pictures + p * picture_size,
               picture_size * sizeof *pictures);
        DNS_TRY(dns_convnet_run(session, note_largest, &sums, NULL));
    }
    for (size_t i = 0; i < n_nodes; i++)
        ranges[i] /= (float)n;
out:
    dns_convnet_session_free(session);
    dns_convnet_free(net);
    dns_graph_free(tapped);
    dns_free(nodes);
    return status;
}
