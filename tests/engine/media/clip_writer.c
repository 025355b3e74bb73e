#include "clip_writer.h"

#include <stdlib.h>
#include <string.h>

#include <libavformat/avformat.h>
#include <libavutil/display.h>
#include <libavutil/opt.h>
#include <libavutil/pixdesc.h>

#include "support.h"

/* An assertion that tells FFmpeg's reason. */
#define check(expression)                                            \
    do {                                                             \
        int check_code = (expression);                               \
        if (check_code < 0)                                          \
            fail_msg("%s: %s", #expression, av_err2str(check_code)); \
    } while (0)

/* The encoder of HEVC loses memory, which LeakSanitizer would lay at our door. */
const char *__lsan_default_suppressions(void);
const char *__lsan_default_suppressions(void)
{
    return "leak:libx265\n";
}

bool test_has_encoder(const char *name)
{
    return avcodec_find_encoder_by_name(name) != NULL;
}

/* Sets one component of one pixel; 8 to 16 bits. */
static void put(AVFrame *f, const AVPixFmtDescriptor *d, int c, int x, int y, int value)
{
    const AVComponentDescriptor *p = &d->comp[c];
    uint8_t *at =
        f->data[p->plane] + (ptrdiff_t)y * f->linesize[p->plane] + x * p->step + p->offset;
    if (p->depth > 8) {
        uint16_t wide = (uint16_t)(value << (p->depth - 8) << p->shift);
        memcpy(at, &wide, 2);
    } else {
        *at = (uint8_t)(value >> (8 - p->depth) << p->shift);
    }
}

static void fill(AVFrame *f, const int samples[4], int left, int right)
{
    const AVPixFmtDescriptor *d = av_pix_fmt_desc_get(f->format);
    for (int c = 0; c < d->nb_components; c++) {
        bool is_chroma = (c == 1 || c == 2) && !(d->flags & AV_PIX_FMT_FLAG_RGB);
        int sx = is_chroma ? d->log2_chroma_w : 0, sy = is_chroma ? d->log2_chroma_h : 0;
        int height = AV_CEIL_RSHIFT(f->height, sy), end = AV_CEIL_RSHIFT(right, sx);
        for (int y = 0; y < height; y++)
            for (int x = left >> sx; x < end; x++)
                put(f, d, c, x, y, samples[c]);
    }
}

void test_frame_fill(AVFrame *frame, const int samples[4])
{
    fill(frame, samples, 0, frame->width);
}

static void paint_number(AVFrame *frame, int number)
{
    const AVPixFmtDescriptor *d = av_pix_fmt_desc_get(frame->format);
    bool is_rgb = d->flags & AV_PIX_FMT_FLAG_RGB;
    for (int bit = 0; bit < 8; bit++) {
        int value = number >> bit & 1 ? 235 : 16, chroma = is_rgb ? value : 128;
        int samples[4] = {value, d->nb_components < 3 ? 255 : chroma, chroma, 255};
        fill(frame, samples, frame->width * bit / 8, frame->width * (bit + 1) / 8);
    }
}

int test_frame_number(const uint8_t *pixels, size_t width, size_t height)
{
    int number = 0;
    for (size_t bit = 0; bit < 8; bit++) {
        size_t x = width * (2 * bit + 1) / 16, y = height / 2;
        number |= (pixels[3 * (y * width + x)] > 128) << bit;
    }
    return number;
}

static AVCodecContext *encoder_for(const test_clip *clip, const char *name, int width, int height,
                                   bool with_global_header)
{
    const AVCodec *codec = avcodec_find_encoder_by_name(name);
    assert_non_null(codec);
    AVCodecContext *encoder = avcodec_alloc_context3(codec);
    assert_non_null(encoder);
    encoder->width = width;
    encoder->height = height;
    encoder->pix_fmt = clip->format != 0 ? clip->format : AV_PIX_FMT_YUV420P;
    encoder->time_base = clip->stamps != NULL ? (AVRational){1, 1000}
                                              : (AVRational){1, clip->rate ? clip->rate : 25};
    if (clip->stamps == NULL)
        encoder->framerate = av_inv_q(encoder->time_base);
    encoder->gop_size = clip->gop != 0 ? clip->gop : 12;
    encoder->max_b_frames = clip->n_b_frames;
    encoder->sample_aspect_ratio = clip->aspect;
    encoder->colorspace = clip->colour_space != 0 ? clip->colour_space : AVCOL_SPC_UNSPECIFIED;
    encoder->color_range = clip->colour_range;
    encoder->thread_count = 1;
    encoder->bit_rate = 2000000;
    encoder->strict_std_compliance = FF_COMPLIANCE_EXPERIMENTAL;
    if (with_global_header)
        encoder->flags |= AV_CODEC_FLAG_GLOBAL_HEADER;
    AVDictionary *options = NULL;
    if (clip->encoder_options != NULL)
        check(av_dict_parse_string(&options, clip->encoder_options, "=", ":", 0));
    check(avcodec_open2(encoder, codec, &options));
    av_dict_free(&options);
    return encoder;
}

static void drain(AVCodecContext *encoder, AVFormatContext *out, const test_clip *clip)
{
    AVPacket *packet = av_packet_alloc();
    int code;
    while ((code = avcodec_receive_packet(encoder, packet)) >= 0) {
        packet->stream_index = 0;
        if (packet->duration == 0 && clip->stamps == NULL)
            packet->duration = 1;
        av_packet_rescale_ts(packet, encoder->time_base, out->streams[0]->time_base);
        if (clip->without_stamps)
            packet->pts = packet->dts = AV_NOPTS_VALUE;
        check(av_write_frame(out, packet));
        av_packet_unref(packet);
    }
    assert_true(code == AVERROR(EAGAIN) || code == AVERROR_EOF);
    av_packet_free(&packet);
}

static void encode_frame(AVCodecContext *encoder, AVFormatContext *out, const test_clip *clip,
                         int number)
{
    AVFrame *frame = av_frame_alloc();
    frame->width = encoder->width;
    frame->height = encoder->height;
    frame->format = encoder->pix_fmt;
    frame->colorspace = encoder->colorspace;
    frame->color_range = encoder->color_range;
    frame->sample_aspect_ratio = clip->aspect;
    check(av_frame_get_buffer(frame, 0));
    frame->pts = clip->stamps != NULL ? clip->stamps[number] : number;
    (clip->paint != NULL ? clip->paint : paint_number)(frame, number);
    check(avcodec_send_frame(encoder, frame));
    av_frame_free(&frame);
    drain(encoder, out, clip);
}

static void describe_stream(AVStream *stream, const AVCodecContext *encoder, const test_clip *clip)
{
    check(avcodec_parameters_from_context(stream->codecpar, encoder));
    stream->time_base = encoder->time_base;
    if (clip->stamps == NULL)
        stream->avg_frame_rate = av_inv_q(encoder->time_base);
    stream->sample_aspect_ratio = clip->aspect;
    if (clip->turn != 0) {
        uint8_t *matrix =
            av_stream_new_side_data(stream, AV_PKT_DATA_DISPLAYMATRIX, 9 * sizeof(int32_t));
        assert_non_null(matrix);
        av_display_rotation_set((int32_t *)(void *)matrix, clip->turn);
    }
}

void test_clip_write(const char *path, const test_clip *given)
{
    test_clip clip = *given;
    if (clip.aspect.den == 0)
        clip.aspect = (AVRational){0, 1};
    int width = clip.width != 0 ? clip.width : 64, height = clip.height != 0 ? clip.height : 48;
    int n_frames = clip.n_frames != 0 ? clip.n_frames : 25;
    const char *name = clip.codec != NULL ? clip.codec : "mpeg4";
    AVFormatContext *out = NULL;
    av_log_set_level(AV_LOG_ERROR);
    check(avformat_alloc_output_context2(&out, NULL, clip.container, path));
    if (clip.keep_negative)
        out->avoid_negative_ts = 0;
    AVCodecContext *encoder =
        encoder_for(&clip, name, width, height, out->oformat->flags & AVFMT_GLOBALHEADER);
    AVStream *stream = avformat_new_stream(out, NULL);
    describe_stream(stream, encoder, &clip);
    check(avio_open(&out->pb, path, AVIO_FLAG_WRITE));
    AVDictionary *options = NULL;
    if (clip.muxer_options != NULL)
        check(av_dict_parse_string(&options, clip.muxer_options, "=", ":", 0));
    check(avformat_write_header(out, &options));
    av_dict_free(&options);
    for (int i = 0; i < n_frames; i++) {
        if (clip.second_width != 0 && i == n_frames / 2) {
            check(avcodec_send_frame(encoder, NULL));
            drain(encoder, out, &clip);
            avcodec_free_context(&encoder);
            encoder = encoder_for(&clip, name, clip.second_width, clip.second_height, false);
        }
        encode_frame(encoder, out, &clip, i);
    }
    check(avcodec_send_frame(encoder, NULL));
    drain(encoder, out, &clip);
    check(av_write_trailer(out));
    avcodec_free_context(&encoder);
    avio_closep(&out->pb);
    avformat_free_context(out);
}

/* One packet of a picture that belongs to the sound. */
static AVPacket *cover_picture(AVStream *stream)
{
    test_clip clip = {.format = AV_PIX_FMT_RGB24, .aspect = {0, 1}};
    AVCodecContext *encoder = encoder_for(&clip, "png", 32, 32, false);
    AVFrame *frame = av_frame_alloc();
    AVPacket *packet = av_packet_alloc();
    frame->width = frame->height = 32;
    frame->format = AV_PIX_FMT_RGB24;
    check(av_frame_get_buffer(frame, 0));
    paint_number(frame, 1);
    check(avcodec_send_frame(encoder, frame));
    check(avcodec_send_frame(encoder, NULL));
    check(avcodec_receive_packet(encoder, packet));
    check(avcodec_parameters_from_context(stream->codecpar, encoder));
    stream->disposition = AV_DISPOSITION_ATTACHED_PIC;
    packet->stream_index = 1;
    av_frame_free(&frame);
    avcodec_free_context(&encoder);
    return packet;
}

void test_sound_write(const char *path, bool with_cover)
{
    const AVCodec *codec = avcodec_find_encoder_by_name(with_cover ? "flac" : "pcm_s16le");
    AVCodecContext *encoder = avcodec_alloc_context3(codec);
    AVFormatContext *out = NULL;
    AVPacket *cover = NULL, *packet = av_packet_alloc();
    AVFrame *frame = av_frame_alloc();
    encoder->sample_rate = 8000;
    encoder->sample_fmt = AV_SAMPLE_FMT_S16;
    av_channel_layout_default(&encoder->ch_layout, 1);
    check(avcodec_open2(encoder, codec, NULL));
    check(avformat_alloc_output_context2(&out, NULL, NULL, path));
    check(avcodec_parameters_from_context(avformat_new_stream(out, NULL)->codecpar, encoder));
    if (with_cover)
        cover = cover_picture(avformat_new_stream(out, NULL));
    check(avio_open(&out->pb, path, AVIO_FLAG_WRITE));
    check(avformat_write_header(out, NULL));
    if (with_cover)
        check(av_write_frame(out, cover));
    frame->nb_samples = encoder->frame_size > 0 ? encoder->frame_size : 1024;
    frame->format = AV_SAMPLE_FMT_S16;
    av_channel_layout_copy(&frame->ch_layout, &encoder->ch_layout);
    check(av_frame_get_buffer(frame, 0));
    memset(frame->data[0], 0, (size_t)frame->nb_samples * 2);
    for (int i = 0; i <= 4; i++) {
        frame->pts = (int64_t)i * frame->nb_samples;
        check(avcodec_send_frame(encoder, i < 4 ? frame : NULL));
        while (avcodec_receive_packet(encoder, packet) >= 0) {
            packet->stream_index = 0;
            check(av_write_frame(out, packet));
            av_packet_unref(packet);
        }
    }
    check(av_write_trailer(out));
    avio_closep(&out->pb);
    avformat_free_context(out);
    avcodec_free_context(&encoder);
    av_frame_free(&frame);
    av_packet_free(&packet);
    av_packet_free(&cover);
}
