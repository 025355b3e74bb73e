#include "media_picture.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include <libavutil/display.h>
#include <libavutil/imgutils.h>
#include <libavutil/opt.h>
#include <libavutil/pixdesc.h>
#include <libswscale/swscale.h>

#include "dnsel/memory.h"
#include "media_message.h"
#include "media_resize.h"

/* What a scaler was made for. */
typedef struct scaler_key {
    int width, height, format, colour_space, colour_range, out_width, out_height, flags;
} scaler_key;

typedef struct scaler {
    struct SwsContext *context;
    scaler_key key;
} scaler;

/* RGB rows, padded as swscale wants them. */
typedef struct raster {
    uint8_t *pixels;
    size_t capacity, stride;
    int width, height;
} raster;

struct dns_picture {
    dns_media_options options;
    scaler to_rgb, to_size;
    raster whole, turned, square;
    uint8_t *out;
};

dns_orientation dns_orientation_of_matrix(const int32_t *m)
{
    dns_orientation o = {0};
    if (m == NULL)
        return o;
    int64_t a = m[0], b = m[1], c = m[3], d = m[4];
    o.transpose = llabs(a) + llabs(d) < llabs(b) + llabs(c);
    o.mirror_x = (o.transpose ? c : a) < 0;
    o.mirror_y = (o.transpose ? b : d) < 0;
    return o;
}

dns_orientation dns_orientation_of_exif(int value)
{
    static const dns_orientation table[9] = {
        [2] = {0, 1, 0}, [3] = {0, 1, 1}, [4] = {0, 0, 1}, [5] = {1, 0, 0},
        [6] = {1, 1, 0}, [7] = {1, 1, 1}, [8] = {1, 0, 1},
    };
    return value >= 1 && value <= 8 ? table[value] : table[0];
}

dns_status dns_picture_create(dns_picture **out, const dns_media_options *options)
{
    dns_status status = DNS_OK;
    dns_picture *p = NULL;
    *out = NULL;
    DNS_TRY(dns_alloc(&p, 1, sizeof *p));
    p->options = *options;
    DNS_TRY(dns_alloc(&p->out, options->size * options->size, 3));
    *out = p;
    p = NULL;
out:
    dns_picture_free(p);
    return status;
}

void dns_picture_free(dns_picture *p)
{
    if (p == NULL)
        return;
    sws_freeContext(p->to_rgb.context);
    sws_freeContext(p->to_size.context);
    dns_free(p->whole.pixels);
    dns_free(p->turned.pixels);
    dns_free(p->square.pixels);
    dns_free(p->out);
    dns_free(p);
}

static dns_status raster_reserve(raster *r, int width, int height)
{
    size_t stride = ((size_t)width * 3 + 127) / 64 * 64;
    dns_status status = dns_reserve(&r->pixels, &r->capacity, stride * (size_t)height + 64, 1);
    r->stride = stride;
    r->width = width;
    r->height = height;
    return status;
}

/* BT.601 where the file says nothing: untagged copies of one video then look alike, whatever their
 * size. */
static int colour_space_of(const AVFrame *frame)
{
    switch (frame->colorspace) {
    case AVCOL_SPC_BT709:
        return SWS_CS_ITU709;
    case AVCOL_SPC_FCC:
        return SWS_CS_FCC;
    case AVCOL_SPC_SMPTE240M:
        return SWS_CS_SMPTE240M;
    case AVCOL_SPC_BT2020_NCL:
    case AVCOL_SPC_BT2020_CL:
        return SWS_CS_BT2020;
    default:
        return SWS_CS_ITU601;
    }
}

/* Gray pictures use the whole range unless they say otherwise, colour pictures the other way round.
 */
static bool is_full_range(const AVFrame *frame, const AVPixFmtDescriptor *d)
{
    bool is_gray = d->nb_components <= 2 && !(d->flags & AV_PIX_FMT_FLAG_PAL);
    if (is_gray || strncmp(d->name, "yuvj", 4) == 0)
        return frame->color_range != AVCOL_RANGE_MPEG;
    return frame->color_range == AVCOL_RANGE_JPEG;
}

static dns_status scaler_prepare(scaler *s, scaler_key key)
{
    if (s->context != NULL && memcmp(&s->key, &key, sizeof key) == 0)
        return DNS_OK;
    sws_freeContext(s->context);
    s->key = key;
    s->context = sws_alloc_context();
    if (s->context == NULL)
        return dns_status_set(DNS_ERR_NOMEM, "no memory for a scaler");
    const AVPixFmtDescriptor *d = av_pix_fmt_desc_get(key.format);
    av_opt_set_int(s->context, "srcw", key.width, 0);
    av_opt_set_int(s->context, "srch", key.height, 0);
    av_opt_set_int(s->context, "src_format", key.format, 0);
    av_opt_set_int(s->context, "dstw", key.out_width, 0);
    av_opt_set_int(s->context, "dsth", key.out_height, 0);
    av_opt_set_int(s->context, "dst_format", AV_PIX_FMT_RGB24, 0);
    av_opt_set_int(s->context, "sws_flags", key.flags, 0);
    if (d->flags & AV_PIX_FMT_FLAG_ALPHA)
        av_opt_set(s->context, "alphablend", "uniform_color", 0); /* on black */
    int error = sws_init_context(s->context, NULL, NULL);
    if (error < 0) {
        sws_freeContext(s->context);
        s->context = NULL;
        return dns_av_status(error, "scaler");
    }
    const int *table = sws_getCoefficients(key.colour_space);
    /* Refused for what has no colour matrix, which is as well. */
    (void)sws_setColorspaceDetails(s->context, table, key.colour_range, table, 1, 0, 1 << 16,
                                   1 << 16);
    return DNS_OK;
}

/* A part of a frame, in pixels. */
typedef struct window {
    int left, top, width, height;
} window;

static dns_status convert(scaler *s, const AVFrame *frame, window w, raster *to, int flags,
                          bool as_tagged)
{
    dns_status status = DNS_OK;
    const AVPixFmtDescriptor *d = av_pix_fmt_desc_get(frame->format);
    const uint8_t *planes[4];
    uint8_t *out_planes[4] = {to->pixels};
    int out_strides[4] = {(int)to->stride};
    int steps[4], step_components[4];
    DNS_TRY(scaler_prepare(s, (scaler_key){w.width, w.height, frame->format,
                                           as_tagged ? colour_space_of(frame) : SWS_CS_DEFAULT,
                                           is_full_range(frame, d), to->width, to->height, flags}));
    av_image_fill_max_pixsteps(steps, step_components, d);
    for (int i = 0; i < 4; i++) {
        bool is_chroma = i == 1 || i == 2;
        int left = is_chroma ? w.left >> d->log2_chroma_w : w.left;
        int top = is_chroma ? w.top >> d->log2_chroma_h : w.top;
        planes[i] = frame->data[i];
        if (planes[i] != NULL && !(i == 1 && (d->flags & AV_PIX_FMT_FLAG_PAL)))
            planes[i] += (ptrdiff_t)top * frame->linesize[i] + (ptrdiff_t)left * steps[i];
    }
    if (sws_scale(s->context, planes, frame->linesize, 0, w.height, out_planes, out_strides) < 0)
        DNS_FAIL(DNS_ERR_DECODE, "picture cannot be scaled");
out:
    return status;
}

/* Whether a window of the format starts at a whole byte of every plane. */
static bool may_be_cut(const AVPixFmtDescriptor *d)
{
    bool is_packed_subsampled =
        (d->log2_chroma_w || d->log2_chroma_h) && !(d->flags & AV_PIX_FMT_FLAG_PLANAR);
    return !(d->flags & (AV_PIX_FMT_FLAG_BITSTREAM | AV_PIX_FMT_FLAG_BAYER)) &&
           !is_packed_subsampled;
}

/* The centre square that is size/short_side of the shorter side, as it is shown. */
static window centre_window(const dns_picture *p, int width, int height, AVRational pixel_aspect,
                            const AVPixFmtDescriptor *d)
{
    double aspect = pixel_aspect.num > 0 && pixel_aspect.den > 0 ? av_q2d(pixel_aspect) : 1;
    aspect = fmin(fmax(aspect, 1. / 16), 16);
    double side =
        fmin(width * aspect, height) * (double)p->options.size / (double)p->options.short_side;
    window w = {.width = (int)lrint(side / aspect), .height = (int)lrint(side)};
    w.width = w.width < 1 ? 1 : w.width > width ? width : w.width;
    w.height = w.height < 1 ? 1 : w.height > height ? height : w.height;
    w.left = (width - w.width) / 2 >> d->log2_chroma_w << d->log2_chroma_w;
    w.top = (height - w.height) / 2 >> d->log2_chroma_h << d->log2_chroma_h;
    return w;
}

/* Turns [height][width] into [width'][height'] as shown; out_stride in bytes. */
static void turn(const raster *from, dns_orientation o, uint8_t *out, size_t out_stride)
{
    int width = o.transpose ? from->height : from->width;
    int height = o.transpose ? from->width : from->height;
    for (int y = 0; y < height; y++) {
        uint8_t *row = out + (size_t)y * out_stride;
        int v = o.mirror_y ? height - 1 - y : y;
        if (!o.transpose && !o.mirror_x) {
            memcpy(row, from->pixels + (size_t)v * from->stride, (size_t)width * 3);
            continue;
        }
        for (int x = 0; x < width; x++) {
            int u = o.mirror_x ? width - 1 - x : x;
            size_t at = o.transpose ? (size_t)u * from->stride + (size_t)v * 3
                                    : (size_t)v * from->stride + (size_t)u * 3;
            memcpy(row + 3 * (size_t)x, from->pixels + at, 3);
        }
    }
}

/* b after a. */
static dns_orientation both(dns_orientation a, dns_orientation b)
{
    bool mirror_x = b.transpose ? a.mirror_y : a.mirror_x;
    bool mirror_y = b.transpose ? a.mirror_x : a.mirror_y;
    return (dns_orientation){a.transpose != b.transpose, mirror_x != b.mirror_x,
                             mirror_y != b.mirror_y};
}

static dns_orientation orientation_of_frame(const AVFrame *frame)
{
    const AVFrameSideData *side = av_frame_get_side_data(frame, AV_FRAME_DATA_DISPLAYMATRIX);
    if (side != NULL && side->size >= 9 * sizeof(int32_t))
        return dns_orientation_of_matrix((const int32_t *)(const void *)side->data);
    const AVDictionaryEntry *exif = av_dict_get(frame->metadata, "Orientation", NULL, 0);
    return dns_orientation_of_exif(exif != NULL ? (int)strtol(exif->value, NULL, 10) : 1);
}

/* As the published features were made: the whole picture to RGB, turned, then scaled and cut by
 * OpenCV's arithmetic. */
static dns_status render_as_opencv(dns_picture *p, const AVFrame *frame, dns_orientation o)
{
    dns_status status = DNS_OK;
    const raster *source = &p->whole;
    DNS_TRY(raster_reserve(&p->whole, frame->width, frame->height));
    DNS_TRY(convert(&p->to_rgb, frame, (window){0, 0, frame->width, frame->height}, &p->whole,
                    SWS_BICUBIC, false));
    if (o.transpose || o.mirror_x || o.mirror_y) {
        DNS_TRY(raster_reserve(&p->turned, o.transpose ? frame->height : frame->width,
                               o.transpose ? frame->width : frame->height));
        turn(&p->whole, o, p->turned.pixels, p->turned.stride);
        source = &p->turned;
    }
    dns_cubic q = {.width = (size_t)source->width,
                   .height = (size_t)source->height,
                   .stride = source->stride,
                   .size = p->options.size};
    if (p->options.geometry == DNS_GEOMETRY_STRETCH)
        dns_cubic_stretch(&q);
    else
        dns_cubic_centre(&q, p->options.short_side);
    DNS_TRY(dns_cubic_resize(&q, source->pixels, p->out));
out:
    return status;
}

/* The window alone is scaled, and turned when it is small. */
static dns_status render_window(dns_picture *p, const AVFrame *frame, dns_orientation o,
                                AVRational pixel_aspect)
{
    dns_status status = DNS_OK;
    const AVPixFmtDescriptor *d = av_pix_fmt_desc_get(frame->format);
    int size = (int)p->options.size;
    int flags = SWS_ACCURATE_RND | SWS_BITEXACT | SWS_FULL_CHR_H_INT;
    flags |= p->options.interpolation == DNS_INTERPOLATION_AREA ? SWS_AREA : SWS_BICUBIC;
    window w = {0, 0, frame->width, frame->height};
    AVFrame *plain = NULL;
    if (p->options.geometry == DNS_GEOMETRY_SHORT_SIDE_CROP && !may_be_cut(d)) {
        DNS_TRY(raster_reserve(&p->whole, frame->width, frame->height));
        DNS_TRY(convert(&p->to_rgb, frame, w, &p->whole, flags, true));
        plain = av_frame_alloc();
        if (plain == NULL)
            DNS_FAIL(DNS_ERR_NOMEM, "no memory for a frame");
        plain->data[0] = p->whole.pixels;
        plain->linesize[0] = (int)p->whole.stride;
        plain->width = frame->width;
        plain->height = frame->height;
        plain->format = AV_PIX_FMT_RGB24;
        plain->color_range = AVCOL_RANGE_JPEG;
        frame = plain;
        d = av_pix_fmt_desc_get(frame->format);
    }
    if (p->options.geometry == DNS_GEOMETRY_SHORT_SIDE_CROP)
        w = centre_window(p, frame->width, frame->height, pixel_aspect, d);
    DNS_TRY(raster_reserve(&p->square, size, size));
    DNS_TRY(convert(&p->to_size, frame, w, &p->square, flags, true));
    turn(&p->square, o, p->out, p->options.size * 3);
out:
    av_frame_free(&plain);
    return status;
}

dns_status dns_picture_render(dns_picture *p, const AVFrame *frame, dns_orientation orientation,
                              AVRational pixel_aspect, const uint8_t **pixels)
{
    const AVPixFmtDescriptor *d = av_pix_fmt_desc_get(frame->format);
    if (d == NULL || (d->flags & AV_PIX_FMT_FLAG_HWACCEL) || !sws_isSupportedInput(frame->format))
        return dns_status_set(DNS_ERR_UNSUPPORTED, "pixel format '%s'", d != NULL ? d->name : "?");
    if (frame->sample_aspect_ratio.num > 0)
        pixel_aspect = frame->sample_aspect_ratio;
    orientation = both(orientation_of_frame(frame), orientation);
    *pixels = p->out;
    return p->options.interpolation == DNS_INTERPOLATION_OPENCV_CUBIC
               ? render_as_opencv(p, frame, orientation)
               : render_window(p, frame, orientation, pixel_aspect);
}
