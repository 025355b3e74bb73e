/* A libavfilter graph with named ends. */
#ifndef DNS_MEDIA_GRAPH_H
#define DNS_MEDIA_GRAPH_H

#include <libavfilter/avfilter.h>
#include <libavutil/frame.h>

#include "dnsel/remake.h"
#include "media_picture.h"

typedef struct dns_graph {
    AVFilterGraph *graph;
    size_t n_inputs;
    AVFilterContext *inputs[DNS_REMAKE_INPUTS], *output;
    bool is_closed[DNS_REMAKE_INPUTS];
} dns_graph;

/* What frames of an input look like at first; they may change size and format on the way. */
typedef struct dns_graph_input {
    int width, height, format;
    AVRational time_base, aspect;
    dns_orientation orientation;
} dns_graph_input;

/* `tail` is a chain of filters that is put behind [out]. Errors: DNS_ERR_ARG. */
dns_status dns_graph_open(dns_graph *out, const dns_graph_input *inputs, size_t n_inputs,
                          const char *description, const char *tail);
void dns_graph_close(dns_graph *graph);

/* Hands a frame (kept by reference) to an input; NULL closes it. */
dns_status dns_graph_feed(dns_graph *graph, size_t input, AVFrame *frame);

/* DNS_OK with a frame, DNS_EOF, or DNS_ERR_BUSY when input *wanted has to be fed first. */
dns_status dns_graph_take(dns_graph *graph, AVFrame *frame, size_t *wanted);

#endif
