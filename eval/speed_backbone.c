/* A frame through the default backbone, in floats and in bytes; left out where the backbone is not
 * installed. */
#include <math.h>
#include <string.h>

#include "dnsel/extractor.h"
#include "dnsel/memory.h"
#include "dnsel/random.h"
#include "speed_run.h"

enum { N_FRAMES = 4, SIZE = 224, FRAME = SIZE * SIZE * 3 };

typedef struct way {
    dns_extractor *extractor;
    dns_extractor_session *session;
    const uint8_t *frames;
    float *regions; /* [N_FRAMES][9][region_dim] */
    const struct way *reference;
} way;

static dns_status run(void *data)
{
    way *w = data;
    return dns_extractor_run(w->session, w->regions, w->frames, N_FRAMES);
}

static double loss(void *data)
{
    const way *w = data;
    double largest = 0.0;
    size_t n = N_FRAMES * DNS_REGIONS * dns_extractor_backbone(w->extractor)->region_dim;
    for (size_t i = 0; i < n; i++)
        largest = fmax(largest, fabs((double)(w->regions[i] - w->reference->regions[i])));
    return largest;
}

/* Coloured fields under noise. */
static void draw(uint8_t *frames)
{
    dns_random random = dns_random_seed(1);
    for (size_t i = 0; i < (size_t)N_FRAMES * FRAME; i++) {
        size_t pixel = i / 3 % (SIZE * SIZE), field = pixel / SIZE / 40 * 3 + pixel % SIZE / 32;
        frames[i] =
            (uint8_t)(40 * ((field + i % 3 + i / FRAME) % 5) + dns_random_below(&random, 60));
    }
}

static dns_status open_way(way *w, const dns_backbone *backbone, const dns_graph *graph,
                           dns_precision precision)
{
    dns_status status = DNS_OK;
    float *pixels = NULL, *ranges = NULL;
    if (precision == DNS_PRECISION_INT8) {
        DNS_TRY(dns_alloc(&pixels, (size_t)N_FRAMES * FRAME, sizeof *pixels));
        DNS_TRY(dns_alloc(&ranges, dns_graph_size(graph), sizeof *ranges));
        dns_frames_normalise(pixels, w->frames, (size_t)N_FRAMES * SIZE * SIZE, backbone);
        DNS_TRY(dns_graph_calibrate(ranges, graph, pixels, N_FRAMES));
    }
    DNS_TRY(dns_extractor_create(&w->extractor, backbone, graph, 0, precision, ranges));
    DNS_TRY(dns_extractor_session_create(&w->session, w->extractor));
    DNS_TRY(dns_alloc(&w->regions, (size_t)N_FRAMES * DNS_REGIONS,
                      backbone->region_dim * sizeof *w->regions));
    DNS_TRY(run(w));
out:
    dns_free(pixels);
    dns_free(ranges);
    return status;
}

static void close_way(way *w)
{
    dns_extractor_session_free(w->session);
    dns_extractor_free(w->extractor);
    dns_free(w->regions);
}

/* *graph = that of the installed backbone, NULL when there is none. */
static dns_status open_graph(dns_graph **graph, const dns_backbone **backbone)
{
    dns_status status = DNS_OK;
    dns_safetensors *base = NULL;
    char *path = NULL;
    *graph = NULL;
    DNS_TRY(dns_backbone_find(backbone, "efficientnet-lite0"));
    if (dns_backbone_path(&path, (*backbone)->name) != DNS_OK || !dns_file_exists(path))
        goto out;
    DNS_TRY(dns_safetensors_open(&base, path));
    DNS_TRY(dns_backbone_graph(graph, *backbone, base, NULL));
out:
    dns_safetensors_close(base);
    dns_free(path);
    return status;
}

dns_status speed_backbone(dns_speed *speed)
{
    dns_status status = DNS_OK;
    const dns_backbone *backbone;
    dns_graph *graph;
    uint8_t *frames = NULL;
    way ways[2] = {{0}};
    double operations = 0.0;
    DNS_TRY(open_graph(&graph, &backbone));
    if (graph == NULL)
        return DNS_OK;
    for (size_t i = 0; i < dns_graph_size(graph); i++)
        operations += 2.0 * N_FRAMES * dns_graph_cost(graph, i);
    DNS_TRY(dns_alloc(&frames, N_FRAMES, FRAME));
    draw(frames);
    ways[0].frames = ways[1].frames = frames;
    ways[1].reference = &ways[0];
    DNS_TRY(open_way(&ways[0], backbone, graph, DNS_PRECISION_F32));
    DNS_TRY(speed_measure(speed, &(speed_case){.name = "frame_f32",
                                               .what = "EfficientNet-Lite0, 224x224, regions",
                                               .work = {.f32 = operations},
                                               .units = N_FRAMES,
                                               .run = run,
                                               .data = &ways[0]}));
    if (dns_precision_available(DNS_PRECISION_INT8)) {
        DNS_TRY(open_way(&ways[1], backbone, graph, DNS_PRECISION_INT8));
        DNS_TRY(speed_measure(speed, &(speed_case){.name = "frame_int8",
                                                   .what = "EfficientNet-Lite0, 224x224, regions",
                                                   .work = {.i8 = operations},
                                                   .units = N_FRAMES,
                                                   .run = run,
                                                   .loss = loss,
                                                   .data = &ways[1]}));
    }
out:
    close_way(&ways[0]);
    close_way(&ways[1]);
    dns_graph_free(graph);
    dns_free(frames);
    return status;
}
