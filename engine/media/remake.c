#include "dnsel/remake.h"

#include <fenv.h>
#include <math.h>
#include <stdio.h>

#include <libavformat/avformat.h>
#include <libavutil/opt.h>

#include "dnsel/file.h"
#include "dnsel/memory.h"
#include "media_graph.h"
#include "media_message.h"
#include "media_source.h"

/* Time base of frames on their way into the graph. */
enum { TICKS = 90000, BUFFER_SIZE = 1 << 16, SEEK_FROM = 5 /* seconds */ };

/* One input: decoded, cut to its part. */
typedef struct reader {
    dns_source *source;
    AVCodecContext *decoder;
    AVFrame *frame; /* the next one of the part, its time in TICKS; NULL after the last */
    AVPacket *packet;
    dns_clock clock;
    double start, end;
    int64_t last; /* time stamp handed on */
    size_t n_frames;
    bool is_draining;
} reader;

/* The new file. */
typedef struct writer {
    dns_replacement *replacement;
    FILE *stream;
    AVIOContext *io;
    AVFormatContext *format;
    AVCodecContext *encoder;
    AVPacket *packet;
    size_t n_frames;
} writer;

dns_remake_options dns_remake_options_default(void)
{
    return (dns_remake_options){
        .rate = 25, .quality = 60, .max_pixels = 1 << 26, .max_seconds = 3600};
}

/* ---- reading ---- */

static dns_status feed_decoder(reader *r)
{
    dns_status status = dns_source_read(r->source, r->packet);
    if (status != DNS_OK && status != DNS_EOF)
        return status;
    if (status == DNS_EOF && r->is_draining)
        return DNS_EOF;
    r->is_draining = status == DNS_EOF;
    int error = avcodec_send_packet(r->decoder, r->is_draining ? NULL : r->packet);
    av_packet_unref(r->packet);
    return error == AVERROR(ENOMEM) ? dns_av_status(error, "decoder")
                                    : DNS_OK; /* damage is passed over */
}

/* The next frame of the part goes to r->frame; DNS_EOF after the last. */
static dns_status read_frame(reader *r, size_t max_pixels)
{
    for (;;) {
        int error = avcodec_receive_frame(r->decoder, r->frame);
        if (error == AVERROR(ENOMEM))
            return dns_av_status(error, "decoder");
        if (error == AVERROR_EOF)
            return DNS_EOF;
        if (error < 0) {
            dns_status status = feed_decoder(r);
            if (status != DNS_OK)
                return status;
            continue;
        }
        int64_t stamp = r->frame->best_effort_timestamp;
        double time = dns_clock_time(&r->clock, stamp != AV_NOPTS_VALUE, stamp);
        if (time >= r->end)
            return DNS_EOF;
        uint64_t n_pixels = (uint64_t)r->frame->width * (uint64_t)r->frame->height;
        if (time < r->start || (max_pixels > 0 && n_pixels > max_pixels))
            continue;
        int64_t tick = llrint((time - r->start) * TICKS);
        r->frame->pts = r->last = tick > r->last ? tick : r->last + 1;
        r->frame->pict_type = AV_PICTURE_TYPE_NONE; /* else the encoder would repeat it */
        r->n_frames++;
        return DNS_OK;
    }
}

static void reader_close(reader *r)
{
    av_packet_free(&r->packet);
    av_frame_free(&r->frame);
    avcodec_free_context(&r->decoder);
    dns_source_close(r->source);
}

static dns_status reader_open(reader *r, const dns_remake_input *input,
                              const dns_media_options *media)
{
    dns_status status = DNS_OK;
    *r = (reader){.start = input->start, .end = INFINITY, .last = -1};
    if (!(input->start >= 0) || !(input->duration >= 0))
        DNS_FAIL(DNS_ERR_ARG, "a part from %g for %g seconds", input->start, input->duration);
    if (input->duration > 0)
        r->end = input->start + input->duration;
    DNS_TRY(dns_source_open(&r->source, input->path, media));
    DNS_TRY(dns_source_open_decoder(r->source, &r->decoder, media));
    r->clock = dns_source_clock(r->source);
    if (r->start > SEEK_FROM)
        dns_source_seek(r->source, &r->clock, r->start);
    r->frame = av_frame_alloc();
    r->packet = av_packet_alloc();
    if (r->frame == NULL || r->packet == NULL)
        DNS_FAIL(DNS_ERR_NOMEM, "no memory for a frame");
    /* The first frame tells what the graph has to expect. */
    status = read_frame(r, media->max_pixels);
    if (status == DNS_EOF)
        status = dns_status_set(DNS_ERR_DECODE, "no frame from %g to %g seconds", r->start, r->end);
out:
    return status == DNS_OK ? DNS_OK : dns_status_context(status, "%s", input->path);
}

static dns_graph_input describe(const reader *r)
{
    dns_graph_input in = {
        .width = r->frame->width,
        .height = r->frame->height,
        .format = r->frame->format,
        .time_base = {1, TICKS},
        .aspect = r->frame->sample_aspect_ratio,
        .orientation = dns_orientation_of_matrix(dns_source_matrix(r->source)),
    };
    if (in.aspect.num <= 0)
        in.aspect = r->source->stream->sample_aspect_ratio;
    return in;
}

/* ---- writing ---- */

static int write_bytes(void *payload, uint8_t *bytes, int n)
{
    FILE *stream = payload;
    return fwrite(bytes, 1, (size_t)n, stream) == (size_t)n ? n : AVERROR(ENOSPC);
}

static int64_t seek_bytes(void *payload, int64_t offset, int whence)
{
    FILE *stream = payload;
    if (whence == AVSEEK_SIZE)
        return AVERROR(ENOSYS);
    return fseeko(stream, offset, whence & ~AVSEEK_FORCE) == 0 ? ftello(stream) : AVERROR(EIO);
}

static dns_status open_encoder(writer *w, const AVFrame *frame, const dns_remake_options *o)
{
    const AVCodec *codec = avcodec_find_encoder_by_name("libx264");
    bool is_x264 = codec != NULL;
    AVDictionary *options = NULL;
    if (codec == NULL)
        codec = avcodec_find_encoder(AV_CODEC_ID_MPEG4);
    if (codec == NULL || (w->encoder = avcodec_alloc_context3(codec)) == NULL)
        return dns_status_set(DNS_ERR_UNSUPPORTED, "no encoder for H.264 or MPEG-4");
    AVCodecContext *e = w->encoder;
    e->width = frame->width;
    e->height = frame->height;
    e->pix_fmt = frame->format;
    e->sample_aspect_ratio = (AVRational){1, 1};
    e->framerate = av_d2q(o->rate, 100000);
    e->time_base = av_inv_q(e->framerate);
    e->colorspace = AVCOL_SPC_SMPTE170M;
    e->color_range = AVCOL_RANGE_MPEG;
    e->thread_count = 1;
    e->flags |= AV_CODEC_FLAG_BITEXACT | AV_CODEC_FLAG_GLOBAL_HEADER;
    if (is_x264) {
        av_dict_set(&options, "preset", "veryfast", 0);
        av_dict_set(&options, "mbtree", "0", 0); /* it reads memory that x264 never wrote */
        av_dict_set_int(&options, "crf", 48 - 35 * o->quality / 100, 0);
    } else {
        e->flags |= AV_CODEC_FLAG_QSCALE;
        e->global_quality = FF_QP2LAMBDA * (2 + (100 - o->quality) / 4);
    }
    dns_av_forget();
    int error = avcodec_open2(e, codec, &options);
    av_dict_free(&options);
    return error < 0 ? dns_av_status(error, codec->name) : DNS_OK;
}

static dns_status writer_open(writer *w, const char *path, const AVFrame *frame,
                              const dns_remake_options *o)
{
    dns_status status = DNS_OK;
    unsigned char *buffer = NULL;
    int error = 0;
    DNS_TRY(dns_replacement_open(&w->replacement, &w->stream, path));
    DNS_TRY(open_encoder(w, frame, o));
    w->packet = av_packet_alloc();
    buffer = av_malloc(BUFFER_SIZE);
    if (buffer != NULL)
        w->io =
            avio_alloc_context(buffer, BUFFER_SIZE, 1, w->stream, NULL, write_bytes, seek_bytes);
    if (w->io == NULL || w->packet == NULL)
        DNS_FAIL(DNS_ERR_NOMEM, "no memory for a file");
    buffer = NULL;
    error = avformat_alloc_output_context2(&w->format, NULL, "mp4", NULL);
    if (error < 0)
        DNS_TRY(dns_av_status(error, "mp4"));
    w->format->pb = w->io;
    w->format->flags |= AVFMT_FLAG_CUSTOM_IO | AVFMT_FLAG_BITEXACT;
    AVStream *stream = avformat_new_stream(w->format, NULL);
    if (stream == NULL || avcodec_parameters_from_context(stream->codecpar, w->encoder) < 0)
        DNS_FAIL(DNS_ERR_NOMEM, "no memory for a stream");
    stream->time_base = w->encoder->time_base;
    stream->avg_frame_rate = w->encoder->framerate;
    error = avformat_write_header(w->format, NULL);
    if (error < 0)
        DNS_TRY(dns_av_status(error, "mp4"));
out:
    av_free(buffer);
    return status;
}

/* Encodes a frame, or what is left for NULL. */
static dns_status write_frame(writer *w, const AVFrame *frame)
{
    int error = avcodec_send_frame(w->encoder, frame);
    while (error >= 0) {
        error = avcodec_receive_packet(w->encoder, w->packet);
        if (error == AVERROR(EAGAIN) || error == AVERROR_EOF)
            return DNS_OK;
        if (error < 0)
            break;
        w->packet->stream_index = 0;
        if (w->packet->duration == 0)
            w->packet->duration = 1;
        av_packet_rescale_ts(w->packet, w->encoder->time_base, w->format->streams[0]->time_base);
        error = av_interleaved_write_frame(w->format, w->packet);
        w->n_frames += error >= 0;
    }
    return dns_av_status(error, "encoder");
}

static dns_status writer_finish(writer *w)
{
    dns_status status = DNS_OK;
    DNS_TRY(write_frame(w, NULL));
    int error = av_write_trailer(w->format);
    if (error >= 0)
        error = w->io->error;
    if (error < 0)
        DNS_TRY(dns_av_status(error, "mp4"));
    dns_replacement *whole = w->replacement;
    w->replacement = NULL;
    DNS_TRY(dns_replacement_commit(whole));
out:
    return status;
}

static void writer_close(writer *w)
{
    avformat_free_context(w->format);
    if (w->io != NULL)
        av_freep(&w->io->buffer);
    avio_context_free(&w->io);
    avcodec_free_context(&w->encoder);
    av_packet_free(&w->packet);
    dns_replacement_abandon(w->replacement);
}

/* ---- both ---- */

/* Hands reader i's frame on and reads the next. */
static dns_status feed_graph(dns_graph *graph, reader *readers, size_t i, size_t max_pixels)
{
    reader *r = &readers[i];
    dns_status status = dns_graph_feed(graph, i, r->frame);
    if (status != DNS_OK || r->frame == NULL)
        return status;
    status = read_frame(r, max_pixels);
    if (status == DNS_EOF) {
        av_frame_free(&r->frame);
        status = DNS_OK;
    }
    return status;
}

static dns_status check_options(const dns_remake_options *o)
{
    if (!(o->rate >= 1 && o->rate <= 120))
        return dns_status_set(DNS_ERR_ARG, "%g frames a second are not in 1 to 120", o->rate);
    if (o->quality < 1 || o->quality > 100)
        return dns_status_set(DNS_ERR_ARG, "quality %d is not in 1 to 100", o->quality);
    return DNS_OK;
}

static dns_status make(writer *w, const char *path, dns_graph *graph, reader *readers,
                       const dns_remake_options *o)
{
    dns_status status = DNS_OK;
    size_t wanted = 0;
    AVFrame *frame = av_frame_alloc();
    if (frame == NULL)
        DNS_FAIL(DNS_ERR_NOMEM, "no memory for a frame");
    for (;;) {
        DNS_TRY(dns_source_check(readers[0].source));
        status = dns_graph_take(graph, frame, &wanted);
        if (status == DNS_EOF)
            break;
        if (status == DNS_ERR_BUSY) {
            DNS_TRY(feed_graph(graph, readers, wanted, o->max_pixels));
            continue;
        }
        if (status != DNS_OK)
            goto out;
        if (w->encoder == NULL)
            DNS_TRY(writer_open(w, path, frame, o));
        DNS_TRY(write_frame(w, frame));
        av_frame_unref(frame);
    }
    if (w->encoder == NULL)
        DNS_FAIL(DNS_ERR_DECODE, "no frame comes out of the filters");
    DNS_TRY(writer_finish(w));
out:
    av_frame_free(&frame);
    return status;
}

dns_status dns_remake_file(const char *path, const dns_remake_input *inputs, size_t n_inputs,
                           const char *description, const dns_remake_options *options,
                           size_t *n_frames)
{
    dns_status status = DNS_OK;
    dns_remake_options o = options != NULL ? *options : dns_remake_options_default();
    dns_media_options media = dns_media_options_default();
    dns_graph_input ends[DNS_REMAKE_INPUTS];
    reader readers[DNS_REMAKE_INPUTS] = {{0}};
    dns_graph graph = {0};
    writer w = {0};
    char tail[160];
    fenv_t caller; /* floating-point numbers as everywhere, whatever the caller's thread does with
                      denormals */
    fegetenv(&caller);
    fesetenv(FE_DFL_ENV);
    media.max_pixels = o.max_pixels;
    media.max_seconds = o.max_seconds;
    media.cancel = o.cancel;
    DNS_TRY(check_options(&o));
    if (n_inputs < 1 || n_inputs > DNS_REMAKE_INPUTS)
        DNS_FAIL(DNS_ERR_ARG, "%zu inputs, 1 to %d are possible", n_inputs, DNS_REMAKE_INPUTS);
    for (size_t i = 0; i < n_inputs; i++) {
        DNS_TRY(reader_open(&readers[i], &inputs[i], &media));
        ends[i] = describe(&readers[i]);
    }
    AVRational rate = av_d2q(o.rate, 100000);
    snprintf(tail, sizeof tail,
             "fps=%d/%d,scale='max(2,trunc(iw/2)*2)':'max(2,trunc(ih/2)*2)',format=yuv420p",
             rate.num, rate.den);
    DNS_TRY(dns_graph_open(&graph, ends, n_inputs, description, tail));
    DNS_TRY(make(&w, path, &graph, readers, &o));
    if (n_frames != NULL)
        *n_frames = w.n_frames;
out:
    writer_close(&w);
    dns_graph_close(&graph);
    for (size_t i = 0; i < DNS_REMAKE_INPUTS; i++)
        reader_close(&readers[i]);
    fesetenv(&caller);
    return status;
}
