#include <fenv.h>
#include <string.h>

#include <libavcodec/avcodec.h>

#include "dnsel/memory.h"
#include "media_graph.h"
#include "media_message.h"

/* What pictures go through when they are to look like JPEG. */
typedef struct jpeg {
    AVCodecContext *encoder, *decoder;
    AVPacket *packet;
    int64_t n_sent; /* the encoder wants ascending times, whatever those of the pictures are */
} jpeg;

static AVCodecContext *context_for(const AVCodec *codec)
{
    return codec != NULL ? avcodec_alloc_context3(codec) : NULL;
}

/* libjpeg's quality is a percentage of its tables; FFmpeg's quantiser multiplies tables whose mean
 * at 16 is that of libjpeg's at 100 per cent. */
static int quantiser_of(int quality)
{
    int percent = quality < 50 ? 5000 / quality : 200 - 2 * quality;
    int quantiser = percent * 16 / 100;
    return quantiser < 2 ? 2 : quantiser > 31 ? 31 : quantiser;
}

static dns_status jpeg_open(jpeg *j, int width, int height, int quality)
{
    const AVCodec *encoder = avcodec_find_encoder(AV_CODEC_ID_MJPEG);
    const AVCodec *decoder = avcodec_find_decoder(AV_CODEC_ID_MJPEG);
    j->encoder = context_for(encoder);
    j->decoder = context_for(decoder);
    j->packet = av_packet_alloc();
    if (j->encoder == NULL || j->decoder == NULL || j->packet == NULL)
        return dns_status_set(DNS_ERR_UNSUPPORTED, "no encoder for JPEG");
    j->encoder->width = width;
    j->encoder->height = height;
    j->encoder->pix_fmt = AV_PIX_FMT_YUVJ420P;
    j->encoder->time_base = (AVRational){1, 1};
    j->encoder->thread_count = j->decoder->thread_count = 1;
    j->encoder->flags |= AV_CODEC_FLAG_QSCALE | AV_CODEC_FLAG_BITEXACT;
    j->encoder->global_quality = FF_QP2LAMBDA * quantiser_of(quality);
    int error = avcodec_open2(j->encoder, encoder, NULL);
    if (error >= 0)
        error = avcodec_open2(j->decoder, decoder, NULL);
    return error < 0 ? dns_av_status(error, "mjpeg") : DNS_OK;
}

static void jpeg_close(jpeg *j)
{
    avcodec_free_context(&j->encoder);
    avcodec_free_context(&j->decoder);
    av_packet_free(&j->packet);
}

/* Replaces a frame by what is left of it after JPEG. */
static dns_status jpeg_spoil(jpeg *j, AVFrame *frame)
{
    int64_t stamp = frame->pts;
    frame->quality = j->encoder->global_quality;
    frame->pts = j->n_sent++;
    int error = avcodec_send_frame(j->encoder, frame);
    if (error >= 0)
        error = avcodec_receive_packet(j->encoder, j->packet);
    av_frame_unref(frame);
    if (error >= 0)
        error = avcodec_send_packet(j->decoder, j->packet);
    av_packet_unref(j->packet);
    if (error >= 0)
        error = avcodec_receive_frame(j->decoder, frame);
    frame->pts = stamp;
    return error < 0 ? dns_av_status(error, "mjpeg") : DNS_OK;
}

/* Picture i as a frame of its own; NULL after the last. */
static dns_status frame_of(AVFrame **out, const dns_pictures *pictures, size_t i)
{
    *out = NULL;
    if (i >= pictures->n)
        return DNS_OK;
    AVFrame *frame = av_frame_alloc();
    if (frame != NULL) {
        frame->width = (int)pictures->width;
        frame->height = (int)pictures->height;
        frame->format = AV_PIX_FMT_RGB24;
        frame->pts = (int64_t)i;
    }
    if (frame == NULL || av_frame_get_buffer(frame, 0) < 0) {
        av_frame_free(&frame);
        return dns_status_set(DNS_ERR_NOMEM, "no memory for a frame");
    }
    size_t row = 3 * pictures->width;
    const uint8_t *pixels = pictures->pixels + i * pictures->height * row;
    for (size_t y = 0; y < pictures->height; y++) {
        uint8_t *to = frame->data[0] + (ptrdiff_t)y * frame->linesize[0];
        memcpy(to, pixels + y * row, row);
        if (pictures->width % 2 != 0) /* swscale takes chroma from pairs, the last one too */
            memcpy(to + row, to + row - 3, 3);
    }
    *out = frame;
    return DNS_OK;
}

static dns_status append(dns_pictures *out, size_t *capacity, const AVFrame *frame)
{
    size_t row = 3 * (size_t)frame->width, size = row * (size_t)frame->height;
    dns_status status = dns_reserve(&out->pixels, capacity, (out->n + 1) * size, 1);
    if (status != DNS_OK)
        return status;
    out->width = (size_t)frame->width;
    out->height = (size_t)frame->height;
    for (size_t y = 0; y < out->height; y++)
        memcpy(out->pixels + out->n * size + y * row,
               frame->data[0] + (ptrdiff_t)y * frame->linesize[0], row);
    out->n++;
    return DNS_OK;
}

/* The next frame of a graph over pictures; next[i] counts the pictures that input i was fed. */
static dns_status take(dns_graph *graph, const dns_pictures *inputs, size_t *next, AVFrame *frame)
{
    size_t wanted = 0;
    dns_status status;
    while ((status = dns_graph_take(graph, frame, &wanted)) == DNS_ERR_BUSY) {
        AVFrame *fed = NULL;
        status = frame_of(&fed, &inputs[wanted], next[wanted]++);
        if (status == DNS_OK)
            status = dns_graph_feed(graph, wanted, fed);
        av_frame_free(&fed);
        if (status != DNS_OK)
            return status;
    }
    return status;
}

/* Frames of YCbCr through JPEG to RGB. */
static dns_status spoil(dns_graph *back, jpeg *j, AVFrame *frame, int quality)
{
    dns_status status = DNS_OK;
    size_t wanted = 0;
    if (j->encoder == NULL) {
        dns_graph_input end = {frame->width, frame->height, AV_PIX_FMT_YUVJ420P,
                               {1, 1},       {1, 1},        {0}};
        DNS_TRY(jpeg_open(j, frame->width, frame->height, quality));
        DNS_TRY(dns_graph_open(back, &end, 1, "[0]null[out]", "format=rgb24"));
    }
    DNS_TRY(jpeg_spoil(j, frame));
    DNS_TRY(dns_graph_feed(back, 0, frame));
    av_frame_unref(frame);
    DNS_TRY(dns_graph_take(back, frame, &wanted));
out:
    return status;
}

static dns_status check_inputs(const dns_pictures *inputs, size_t n_inputs, int quality)
{
    if (n_inputs < 1 || n_inputs > DNS_REMAKE_INPUTS)
        return dns_status_set(DNS_ERR_ARG, "%zu inputs, 1 to %d are possible", n_inputs,
                              DNS_REMAKE_INPUTS);
    for (size_t i = 0; i < n_inputs; i++)
        if (inputs[i].n == 0 || inputs[i].width - 1 >= 16384 || inputs[i].height - 1 >= 16384)
            return dns_status_set(DNS_ERR_ARG, "%zu pictures of %zux%zu", inputs[i].n,
                                  inputs[i].width, inputs[i].height);
    if (quality < 0 || quality > 100)
        return dns_status_set(DNS_ERR_ARG, "quality %d is not in 0 to 100", quality);
    return DNS_OK;
}

dns_status dns_remake_pictures(dns_pictures *out, const dns_pictures *inputs, size_t n_inputs,
                               const char *description, int quality)
{
    dns_status status = DNS_OK;
    dns_graph_input ends[DNS_REMAKE_INPUTS];
    dns_graph graph = {0}, back = {0};
    jpeg j = {0};
    size_t next[DNS_REMAKE_INPUTS] = {0}, capacity = 0;
    AVFrame *frame = NULL;
    const char *tail = quality > 0 ? "scale=out_range=pc,format=yuvj420p" : "format=rgb24";
    fenv_t caller; /* as in dns_remake_file */
    *out = (dns_pictures){0};
    fegetenv(&caller);
    fesetenv(FE_DFL_ENV);
    DNS_TRY(check_inputs(inputs, n_inputs, quality));
    for (size_t i = 0; i < n_inputs; i++)
        ends[i] = (dns_graph_input){
            (int)inputs[i].width, (int)inputs[i].height, AV_PIX_FMT_RGB24, {1, 1}, {1, 1}, {0}};
    DNS_TRY(dns_graph_open(&graph, ends, n_inputs, description, tail));
    frame = av_frame_alloc();
    if (frame == NULL)
        DNS_FAIL(DNS_ERR_NOMEM, "no memory for a frame");
    /* Filters that repeat their last picture for ever would not end by themselves. */
    while (out->n < inputs[0].n && (status = take(&graph, inputs, next, frame)) == DNS_OK) {
        if (quality > 0)
            DNS_TRY(spoil(&back, &j, frame, quality));
        DNS_TRY(append(out, &capacity, frame));
        av_frame_unref(frame);
    }
    if (status == DNS_EOF)
        status = out->n > 0 ? DNS_OK
                            : dns_status_set(DNS_ERR_DECODE, "no frame comes out of the filters");
out:
    av_frame_free(&frame);
    jpeg_close(&j);
    dns_graph_close(&back);
    dns_graph_close(&graph);
    fesetenv(&caller);
    if (status != DNS_OK)
        dns_pictures_free(out);
    return status;
}

dns_status dns_pictures_fit(dns_pictures *out, const dns_pictures *pictures,
                            const dns_media_options *options)
{
    dns_status status = DNS_OK;
    dns_media_options o = options != NULL ? *options : dns_media_options_default();
    dns_picture *renderer = NULL;
    AVFrame *frame = NULL;
    size_t size = 3 * o.size * o.size;
    *out = (dns_pictures){.width = o.size, .height = o.size};
    DNS_TRY(dns_media_check_options(&o));
    DNS_TRY(check_inputs(pictures, 1, 0));
    DNS_TRY(dns_picture_create(&renderer, &o));
    DNS_TRY(dns_alloc(&out->pixels, pictures->n, size));
    for (; out->n < pictures->n; out->n++) {
        const uint8_t *pixels = NULL;
        DNS_TRY(frame_of(&frame, pictures, out->n));
        DNS_TRY(
            dns_picture_render(renderer, frame, (dns_orientation){0}, (AVRational){1, 1}, &pixels));
        memcpy(out->pixels + out->n * size, pixels, size);
        av_frame_free(&frame);
    }
out:
    av_frame_free(&frame);
    dns_picture_free(renderer);
    if (status != DNS_OK)
        dns_pictures_free(out);
    return status;
}

void dns_pictures_free(dns_pictures *pictures)
{
    dns_free(pictures->pixels);
    *pictures = (dns_pictures){0};
}
