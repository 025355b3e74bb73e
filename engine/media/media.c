#include "dnsel/media.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include <libavcodec/avcodec.h>

#include "dnsel/memory.h"
#include "media_lookahead.h"
#include "media_message.h"
#include "media_picture.h"
#include "media_sampler.h"
#include "media_source.h"

struct dns_media {
    dns_media_options options;
    dns_source *source;
    AVCodecContext *decoder;
    AVFrame *frame;
    dns_sampler sampler;
    dns_clock clock;
    dns_lookahead *lookahead;
    dns_picture *picture;
    dns_orientation orientation;
    size_t n_frames, n_decoded, n_errors;
    bool is_draining;
    dns_status ended; /* what every further call returns; DNS_OK while there may be more */
};

/* ---- names ---- */

static const char *const SAMPLINGS[] = {"exact", "count", "keyframe"};
static const char *const GEOMETRIES[] = {"short-side-crop", "stretch"};
static const char *const INTERPOLATIONS[] = {"opencv-cubic", "area", "bicubic"};

static dns_status parse_name(int *out, const char *what, const char *name, const char *const *names,
                             int n_names)
{
    char known[64];
    size_t used = 0;
    for (int i = 0; i < n_names; i++) {
        if (strcmp(name, names[i]) == 0) {
            *out = i;
            return DNS_OK;
        }
        used += (size_t)snprintf(known + used, sizeof known - used, "%s%s", i > 0 ? ", " : "",
                                 names[i]);
    }
    return dns_status_set(DNS_ERR_ARG, "%s '%s' is not one of: %s", what, name, known);
}

const char *dns_sampling_name(dns_sampling sampling)
{
    return SAMPLINGS[sampling];
}

const char *dns_geometry_name(dns_geometry geometry)
{
    return GEOMETRIES[geometry];
}

const char *dns_interpolation_name(dns_interpolation interpolation)
{
    return INTERPOLATIONS[interpolation];
}

dns_status dns_sampling_parse(dns_sampling *out, const char *name)
{
    int value = 0;
    dns_status status = parse_name(&value, "sampling", name, SAMPLINGS, 3);
    *out = (dns_sampling)value;
    return status;
}

dns_status dns_geometry_parse(dns_geometry *out, const char *name)
{
    int value = 0;
    dns_status status = parse_name(&value, "geometry", name, GEOMETRIES, 2);
    *out = (dns_geometry)value;
    return status;
}

dns_status dns_interpolation_parse(dns_interpolation *out, const char *name)
{
    int value = 0;
    dns_status status = parse_name(&value, "interpolation", name, INTERPOLATIONS, 3);
    *out = (dns_interpolation)value;
    return status;
}

dns_media_options dns_media_options_default(void)
{
    return (dns_media_options){
        .sampling = DNS_SAMPLING_EXACT,
        .geometry = DNS_GEOMETRY_SHORT_SIDE_CROP,
        .interpolation = DNS_INTERPOLATION_AREA,
        .short_side = 256,
        .size = 224,
        .gap_seconds = 12,
        .n_threads = 1,
        .max_pixels = 1 << 26,
        .max_frames = 100000,
        .max_duration = 86400,
        .max_seconds = 3600,
    };
}

/* ---- open ---- */

dns_status dns_media_check_options(const dns_media_options *o)
{
    if (o->size < 1 || o->size > 4096)
        return dns_status_set(DNS_ERR_ARG, "size %zu is not in 1 to 4096", o->size);
    if (o->geometry == DNS_GEOMETRY_SHORT_SIDE_CROP &&
        (o->short_side < o->size || o->short_side > 8192))
        return dns_status_set(DNS_ERR_ARG, "short side %zu is not in %zu (the size) to 8192",
                              o->short_side, o->size);
    if ((unsigned)o->sampling > DNS_SAMPLING_KEYFRAME ||
        (unsigned)o->geometry > DNS_GEOMETRY_STRETCH ||
        (unsigned)o->interpolation > DNS_INTERPOLATION_BICUBIC)
        return dns_status_set(DNS_ERR_ARG, "unknown sampling, geometry or interpolation");
    if (o->n_threads < 1 || o->n_threads > 64)
        return dns_status_set(DNS_ERR_ARG, "%zu decoder threads are not in 1 to 64", o->n_threads);
    if (!(o->gap_seconds > 0) || !(o->max_seconds >= 0) || !(o->max_duration >= 0))
        return dns_status_set(DNS_ERR_ARG, "a number of seconds is negative");
    return DNS_OK;
}

static dns_status prepare(dns_media *m)
{
    dns_status status = DNS_OK;
    double rate = dns_source_frame_rate(m->source);
    m->frame = av_frame_alloc();
    if (m->frame == NULL)
        DNS_FAIL(DNS_ERR_NOMEM, "no memory for a frame");
    DNS_TRY(dns_source_open_decoder(m->source, &m->decoder, &m->options));
    m->orientation = dns_orientation_of_matrix(dns_source_matrix(m->source));
    m->sampler = dns_sampler_make(&m->options, rate, dns_source_duration(m->source));
    m->clock = dns_source_clock(m->source);
    DNS_TRY(dns_lookahead_create(&m->lookahead, m->source, &m->sampler, &m->clock));
    DNS_TRY(dns_picture_create(&m->picture, &m->options));
out:
    return status;
}

dns_status dns_media_open(dns_media **out, const char *path, const dns_media_options *options)
{
    dns_status status = DNS_OK;
    dns_media *m = NULL;
    *out = NULL;
    DNS_TRY(dns_alloc(&m, 1, sizeof *m));
    m->options = options != NULL ? *options : dns_media_options_default();
    DNS_TRY(dns_media_check_options(&m->options));
    DNS_TRY(dns_source_open(&m->source, path, &m->options));
    DNS_TRY(prepare(m));
    dns_source_pause(m->source);
    *out = m;
    m = NULL;
out:
    if (status != DNS_OK && status != DNS_ERR_ARG)
        status = dns_status_context(status, "%s", path);
    dns_media_close(m);
    return status;
}

void dns_media_close(dns_media *m)
{
    if (m == NULL)
        return;
    dns_picture_free(m->picture);
    dns_lookahead_free(m->lookahead);
    avcodec_free_context(&m->decoder);
    av_frame_free(&m->frame);
    dns_source_close(m->source);
    dns_free(m);
}

/* ---- frames ---- */

static void count_error(dns_media *m)
{
    m->n_errors++;
    dns_lookahead_give_up(m->lookahead);
}

/* Hands the decoder its next packet; at the end of the file, the wish for what it still holds. */
static dns_status feed(dns_media *m)
{
    AVPacket *packet = NULL;
    dns_verdict verdict = DNS_VERDICT_ASK;
    dns_status status = dns_lookahead_next(m->lookahead, &packet, &verdict);
    if (status == DNS_EOF && !m->is_draining) {
        m->is_draining = true;
        (void)avcodec_send_packet(m->decoder, NULL);
        return DNS_OK;
    }
    if (status != DNS_OK)
        return status;
    m->decoder->reordered_opaque = verdict;
    m->decoder->skip_frame = verdict == DNS_VERDICT_PASS_REF ? AVDISCARD_NONREF : AVDISCARD_DEFAULT;
    int error = avcodec_send_packet(m->decoder, packet);
    if (error == AVERROR(ENOMEM))
        return dns_av_status(error, "decoder");
    if (error < 0)
        count_error(m);
    return DNS_OK;
}

static bool is_too_large(const dns_media *m)
{
    return m->options.max_pixels > 0 &&
           (uint64_t)m->frame->width * (uint64_t)m->frame->height > m->options.max_pixels;
}

/* The next frame out of the decoder, in m->frame; DNS_EOF after the last. */
static dns_status decode(dns_media *m)
{
    for (;;) {
        dns_status status = dns_source_check(m->source);
        if (status != DNS_OK)
            return status;
        int error = avcodec_receive_frame(m->decoder, m->frame);
        if (error == 0 && is_too_large(m)) {
            count_error(m);
            continue;
        }
        if (error == 0) {
            m->n_decoded++;
            if (m->frame->decode_error_flags != 0 || m->frame->flags & AV_FRAME_FLAG_CORRUPT)
                count_error(m);
            return DNS_OK;
        }
        if (error == AVERROR_EOF)
            return DNS_EOF;
        if (error == AVERROR(ENOMEM))
            return dns_av_status(error, "decoder");
        if (error != AVERROR(EAGAIN))
            count_error(m);
        status = feed(m);
        if (status != DNS_OK)
            return status;
    }
}

/* Whether to keep m->frame, and its time. */
static bool choose(dns_media *m, double *time)
{
    int64_t stamp = m->frame->best_effort_timestamp;
    if (!m->clock.has_origin)
        m->clock.has_origin = dns_lookahead_origin(m->lookahead, &m->clock.origin);
    *time = dns_clock_time(&m->clock, stamp != AV_NOPTS_VALUE, stamp);
    switch (m->frame->reordered_opaque) {
    case DNS_VERDICT_KEEP:
        return true;
    case DNS_VERDICT_PASS:
    case DNS_VERDICT_PASS_REF:
        return false;
    default:
        return dns_sampler_keep(&m->sampler, *time,
                                m->frame->reordered_opaque == DNS_VERDICT_ASK_KEY, INFINITY);
    }
}

static dns_status check_limits(const dns_media *m, double time)
{
    const dns_media_options *o = &m->options;
    if (o->max_frames > 0 && m->n_frames >= o->max_frames)
        return dns_status_set(DNS_ERR_LIMIT, "more than %zu frames", o->max_frames);
    if (o->max_duration > 0 && time > o->max_duration)
        return dns_status_set(DNS_ERR_LIMIT, "longer than %g seconds", o->max_duration);
    return DNS_OK;
}

static dns_status next_frame(dns_media *m, dns_frame *out)
{
    dns_status status = DNS_OK;
    double time = 0;
    do {
        status = decode(m);
        if (status == DNS_EOF && m->n_decoded == 0)
            status = dns_av_status(AVERROR_INVALIDDATA, "no frame decodes");
        if (status != DNS_OK)
            return status;
    } while (!choose(m, &time));
    DNS_TRY(check_limits(m, time));
    DNS_TRY(dns_picture_render(m->picture, m->frame, m->orientation,
                               m->source->stream->sample_aspect_ratio, &out->pixels));
    out->width = out->height = m->options.size;
    out->time = time;
    m->n_frames++;
out:
    return status;
}

dns_status dns_media_next(dns_media *m, dns_frame *frame)
{
    *frame = (dns_frame){0};
    if (m->ended == DNS_EOF)
        return DNS_EOF;
    if (m->ended != DNS_OK)
        return dns_status_set(m->ended, "%s: after an earlier error", "video");
    dns_source_resume(m->source);
    dns_status status = next_frame(m, frame);
    dns_source_pause(m->source);
    if (status != DNS_OK)
        m->ended = status;
    return status;
}

dns_media_facts dns_media_info(const dns_media *m)
{
    const AVCodecParameters *p = m->source->stream->codecpar;
    AVRational aspect = m->source->stream->sample_aspect_ratio;
    bool turned = m->orientation.transpose;
    int width = p->width;
    if (aspect.num > 0 && aspect.den > 0)
        width = (int)av_rescale(width, aspect.num, aspect.den);
    return (dns_media_facts){
        .container = m->source->format->iformat->name,
        .codec = avcodec_get_name(p->codec_id),
        .width = (size_t)(turned ? p->height : width),
        .height = (size_t)(turned ? width : p->height),
        .frame_rate = dns_source_frame_rate(m->source),
        .duration = dns_source_duration(m->source),
        .n_frames = m->n_frames,
        .n_decoded = m->n_decoded,
        .n_errors = m->n_errors + m->source->n_errors,
    };
}
