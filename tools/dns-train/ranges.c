#include "ranges.h"

#include <math.h>
#include <string.h>

#include "dnsel/memory.h"
#include "dnsel/whitening_training.h"

enum { CALIBRATION_FRAMES = 64, RANGE_DIGITS = 17 };

static dns_status copy_all_but_ranges(void *payload, const char *key, const dns_json *value)
{
    if (strcmp(key, "ranges") != 0)
        dns_json_put_value(payload, key, value);
    return DNS_OK;
}

/* To 8 significant bits, which are few digits too. */
static double rounded_up(float range)
{
    int exponent;
    double fraction = frexp((double)range, &exponent);
    return ldexp(ceil(fraction * 256.0), exponent - 8);
}

dns_status dns_ranges_measure(dns_json_text *text, size_t *n_frames, const dns_model *model,
                              const dns_file_list *videos, uint64_t seed, dns_cancel *cancel)
{
    dns_status status = DNS_OK;
    const dns_backbone *backbone;
    dns_graph *graph = NULL;
    uint8_t *frames = NULL;
    float *pixels = NULL, *ranges = NULL;
    dns_media_options media;
    DNS_TRY(dns_model_media_options(&media, model));
    media.cancel = cancel;
    size_t n_pixels = media.size * media.size;
    DNS_TRY(dns_model_backbone_graph(&graph, &backbone, model, NULL));
    DNS_TRY(dns_alloc(&frames, CALIBRATION_FRAMES, n_pixels * 3));
    DNS_TRY(dns_alloc(&pixels, CALIBRATION_FRAMES * n_pixels, 3 * sizeof *pixels));
    DNS_TRY(dns_alloc(&ranges, dns_graph_size(graph), sizeof *ranges));
    DNS_TRY(dns_frames_draw(frames, n_frames, CALIBRATION_FRAMES,
                            (const char *const *)videos->paths, videos->n, &media, seed, cancel));
    dns_frames_normalise(pixels, frames, *n_frames * n_pixels, backbone);
    DNS_TRY(dns_graph_calibrate(ranges, graph, pixels, *n_frames));
    DNS_TRY(dns_json_text_open(text));
    dns_json_begin_object(&text->writer, NULL);
    DNS_TRY(
        dns_json_each(dns_model_section(model, "backbone"), copy_all_but_ranges, &text->writer));
    dns_json_begin_array(&text->writer, "ranges");
    dns_json_put_number(&text->writer, NULL, 1.0, RANGE_DIGITS); /* the input, never quantised */
    for (size_t i = 1; i < dns_graph_size(graph); i++)
        dns_json_put_number(&text->writer, NULL, rounded_up(ranges[i]), RANGE_DIGITS);
    dns_json_end_array(&text->writer);
    dns_json_end_object(&text->writer);
    DNS_TRY(dns_json_text_finish(text));
out:
    dns_graph_free(graph);
    dns_free(frames);
    dns_free(pixels);
    dns_free(ranges);
    return status;
}
