#include "media_graph.h"

#include <stdio.h>

#include <libavfilter/buffersink.h>
#include <libavfilter/buffersrc.h>
#include <libavutil/opt.h>

#include "dnsel/memory.h"
#include "media_message.h"

/* The conversions that libavfilter puts in by itself: the same on every processor. */
#define SCALING "flags=bicubic+accurate_rnd+full_chroma_int+bitexact"

static dns_status bad_description(int error, const char *description)
{
    if (error == AVERROR(ENOMEM))
        return dns_av_status(error, "filters");
    dns_av_status(error, description);
    return dns_status_context(DNS_ERR_ARG, "filters");
}

static dns_status add_input(dns_graph *g, size_t i, const dns_graph_input *in)
{
    char name[16], arguments[256];
    AVRational aspect = in->aspect.num > 0 && in->aspect.den > 0 ? in->aspect : (AVRational){1, 1};
    snprintf(name, sizeof name, "source%zu", i);
    snprintf(arguments, sizeof arguments,
             "video_size=%dx%d:pix_fmt=%d:time_base=%d/%d:pixel_aspect=%d/%d", in->width,
             in->height, in->format, in->time_base.num, in->time_base.den, aspect.num, aspect.den);
    int error = avfilter_graph_create_filter(&g->inputs[i], avfilter_get_by_name("buffer"), name,
                                             arguments, NULL, g->graph);
    return error < 0 ? bad_description(error, arguments) : DNS_OK;
}

/* *text = the whole graph: inputs made upright, square and alike, the description, the tail. */
static dns_status whole_text(char **text, const dns_graph_input *inputs, size_t n_inputs,
                             const char *description, const char *tail)
{
    char heads[DNS_REMAKE_INPUTS][320];
    for (size_t i = 0; i < DNS_REMAKE_INPUTS; i++) {
        heads[i][0] = '\0';
        if (i >= n_inputs)
            continue;
        dns_orientation o = inputs[i].orientation;
        snprintf(heads[i], sizeof heads[i],
                 "[s%zu]scale=w='max(1,trunc(iw*sar+0.5))':h=ih:out_color_matrix=bt601:out_range="
                 "tv:" SCALING ",setsar=1,format=yuv420p%s%s%s[%zu];",
                 i, o.transpose ? ",transpose=cclock_flip" : "", o.mirror_x ? ",hflip" : "",
                 o.mirror_y ? ",vflip" : "", i);
    }
    return dns_string_format(text, "%s%s%s%s;[out]%s[end]", heads[0], heads[1], heads[2],
                             description, tail);
}

/* A list of one loose end. */
static AVFilterInOut *loose_end(const char *name, AVFilterContext *filter, AVFilterInOut *next)
{
    AVFilterInOut *end = avfilter_inout_alloc();
    if (end == NULL) {
        avfilter_inout_free(&next);
        return NULL;
    }
    end->name = av_strdup(name);
    end->filter_ctx = filter;
    end->next = next;
    return end;
}

dns_status dns_graph_open(dns_graph *g, const dns_graph_input *inputs, size_t n_inputs,
                          const char *description, const char *tail)
{
    dns_status status = DNS_OK;
    char *text = NULL;
    AVFilterInOut *sources = NULL, *sink = NULL;
    *g = (dns_graph){.graph = avfilter_graph_alloc(), .n_inputs = n_inputs};
    dns_av_silence();
    dns_av_forget();
    if (n_inputs < 1 || n_inputs > DNS_REMAKE_INPUTS)
        DNS_FAIL(DNS_ERR_ARG, "%zu inputs, 1 to %d are possible", n_inputs, DNS_REMAKE_INPUTS);
    if (g->graph == NULL)
        DNS_FAIL(DNS_ERR_NOMEM, "no memory for filters");
    g->graph->nb_threads = 1;
    g->graph->scale_sws_opts = av_strdup(SCALING);
    for (size_t i = 0; i < n_inputs; i++)
        DNS_TRY(add_input(g, i, &inputs[i]));
    int error = avfilter_graph_create_filter(&g->output, avfilter_get_by_name("buffersink"), "sink",
                                             NULL, NULL, g->graph);
    if (error < 0)
        DNS_TRY(bad_description(error, "sink"));
    for (size_t i = 0; i < n_inputs; i++) {
        char name[8];
        snprintf(name, sizeof name, "s%zu", i);
        sources = loose_end(name, g->inputs[i], sources);
    }
    sink = loose_end("end", g->output, NULL);
    DNS_TRY(whole_text(&text, inputs, n_inputs, description, tail));
    error = avfilter_graph_parse_ptr(g->graph, text, &sink, &sources, NULL);
    if (error >= 0)
        error = avfilter_graph_config(g->graph, NULL);
    if (error < 0)
        DNS_TRY(bad_description(error, description));
out:
    avfilter_inout_free(&sources);
    avfilter_inout_free(&sink);
    dns_free(text);
    if (status != DNS_OK)
        dns_graph_close(g);
    return status;
}

void dns_graph_close(dns_graph *g)
{
    avfilter_graph_free(&g->graph);
}

dns_status dns_graph_feed(dns_graph *g, size_t input, AVFrame *frame)
{
    g->is_closed[input] = frame == NULL;
    int error = av_buffersrc_add_frame_flags(g->inputs[input], frame, AV_BUFFERSRC_FLAG_KEEP_REF);
    /* A filter that has seen enough closes its input, which is no error. */
    return error < 0 && error != AVERROR_EOF ? dns_av_status(error, "filters") : DNS_OK;
}

dns_status dns_graph_take(dns_graph *g, AVFrame *frame, size_t *wanted)
{
    int error = av_buffersink_get_frame(g->output, frame);
    if (error >= 0)
        return DNS_OK;
    if (error == AVERROR_EOF)
        return DNS_EOF;
    if (error != AVERROR(EAGAIN))
        return dns_av_status(error, "filters");
    unsigned most = 0;
    size_t best = SIZE_MAX;
    for (size_t i = 0; i < g->n_inputs; i++) {
        unsigned n_failed = av_buffersrc_get_nb_failed_requests(g->inputs[i]);
        if (!g->is_closed[i] && (best == SIZE_MAX || n_failed > most)) {
            best = i;
            most = n_failed;
        }
    }
    if (best == SIZE_MAX)
        return dns_status_set(DNS_ERR_INTERNAL, "filters want more than there is");
    *wanted = best;
    return DNS_ERR_BUSY;
}
