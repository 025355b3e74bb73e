#include "media_source.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <math.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <libavcodec/avcodec.h>
#include <libavutil/avstring.h>
#include <libavutil/imgutils.h>

#include "dnsel/memory.h"
#include "media_message.h"

enum { BUFFER_SIZE = 1 << 16, MAX_BAD_READS = 64 };

/* What may be read. Not among them: whatever opens other files or devices (hls, dash, concat, imf,
 * sdp, ...), draws text (tty, svg) or has no signature. Sound files are let through to be told
 * apart from what is no media file at all. */
static const char ALLOWED[] =
    "mov,mp4,matroska,webm,avi,mpeg,mpegts,mpegvideo,flv,live_flv,kux,asf,ogg,gif,apng,ivf,obu,av1,"
    "h264,hevc,h263,h261,m4v,vc1,vc1test,mjpeg,mjpeg_2000,dirac,dnxhd,cavsvideo,avs2,avs3,nut,nuv,"
    "rm,wtv,dv,mxf,gxf,lxf,lvf,pva,swf,flic,smjpeg,smk,bink,roq,yuv4mpegpipe,mpjpeg,xmv,vivo,"
    "jpeg_pipe,jpegls_pipe,jpegxl_pipe,j2k_pipe,png_pipe,webp_pipe,gif_pipe,bmp_pipe,tiff_pipe,"
    "qoi_pipe,psd_pipe,dpx_pipe,exr_pipe,pcx_pipe,sgi_pipe,sunrast_pipe,dds_pipe,"
    "pam_pipe,pbm_pipe,pgm_pipe,pgmyuv_pipe,ppm_pipe,pfm_pipe,ico,"
    "mp3,wav,w64,flac,aac,ac3,eac3,aiff,amr,au,caf,ape,tta,wv,dts,mpc,mpc8,tak,loas,truehd,mlp";

static int read_bytes(void *payload, uint8_t *bytes, int n)
{
    dns_source *s = payload;
    if (dns_source_check(s) != DNS_OK)
        return AVERROR_EXIT;
    ssize_t got;
    do {
        got = pread(s->descriptor, bytes, (size_t)n, s->position);
    } while (got < 0 && errno == EINTR);
    if (got < 0)
        return AVERROR(errno);
    s->position += got;
    return got == 0 ? AVERROR_EOF : (int)got;
}

static int64_t seek_bytes(void *payload, int64_t offset, int whence)
{
    dns_source *s = payload;
    whence &= ~AVSEEK_FORCE;
    if (whence == AVSEEK_SIZE)
        return s->size;
    int64_t base = whence == SEEK_CUR ? s->position : whence == SEEK_END ? s->size : 0;
    if (__builtin_add_overflow(base, offset, &base) || base < 0)
        return AVERROR(EINVAL);
    return s->position = base;
}

static int refuse_other_file(AVFormatContext *format, AVIOContext **io, const char *url, int flags,
                             AVDictionary **options)
{
    (void)flags, (void)options;
    *io = NULL;
    av_log(format, AV_LOG_ERROR, "refers to another file, '%s'", url);
    return AVERROR(EPERM);
}

static int wants_interrupt(void *payload)
{
    return dns_source_check(payload) != DNS_OK;
}

dns_status dns_source_check(const dns_source *s)
{
    if (dns_cancelled(s->cancel))
        return dns_status_set(DNS_ERR_CANCELLED, "cancelled");
    if (dns_seconds() > s->deadline)
        return dns_status_set(DNS_ERR_TIMEOUT, "took longer than allowed");
    return DNS_OK;
}

void dns_source_resume(dns_source *s)
{
    s->deadline = dns_seconds() + s->seconds_left;
}

void dns_source_pause(dns_source *s)
{
    s->seconds_left = s->deadline - dns_seconds();
}

/* A fifo or a device would block or never end: not even opened for reading without O_NONBLOCK. */
static dns_status open_descriptor(dns_source *s, const char *path)
{
    s->descriptor = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC | O_NOCTTY);
    if (s->descriptor < 0)
        return errno == ENXIO ? dns_status_set(DNS_ERR_FORMAT, "not a regular file")
                              : dns_status_set_errno("open");
    struct stat info;
    if (fstat(s->descriptor, &info) != 0)
        return dns_status_set_errno("stat");
    if (!S_ISREG(info.st_mode))
        return dns_status_set(DNS_ERR_FORMAT,
                              S_ISDIR(info.st_mode) ? "is a directory" : "not a regular file");
    if (info.st_size == 0)
        return dns_status_set(DNS_ERR_FORMAT, "empty file");
    s->size = info.st_size;
    return DNS_OK;
}

static dns_status open_container(dns_source *s)
{
    dns_status status = DNS_OK;
    const AVInputFormat *kind = NULL;
    unsigned char *buffer = av_malloc(BUFFER_SIZE);
    if (buffer != NULL)
        s->io = avio_alloc_context(buffer, BUFFER_SIZE, 0, s, read_bytes, NULL, seek_bytes);
    s->format = avformat_alloc_context();
    if (s->io == NULL || s->format == NULL)
        DNS_FAIL(DNS_ERR_NOMEM, "no memory for a container");
    buffer = NULL; /* the io's from here on */
    s->format->pb = s->io;
    s->format->flags |= AVFMT_FLAG_CUSTOM_IO;
    s->format->io_open = refuse_other_file;
    s->format->interrupt_callback = (AVIOInterruptCB){wants_interrupt, s};
    s->format->protocol_whitelist = av_strdup("none");

    int error = av_probe_input_buffer2(s->io, &kind, "", NULL, 0, 0);
    DNS_TRY(dns_source_check(s));
    if (error < 0)
        DNS_FAIL(DNS_ERR_FORMAT, "not a media file");
    if (av_match_list(kind->name, ALLOWED, ',') <= 0)
        DNS_FAIL(DNS_ERR_FORMAT, "'%s' files are not read", kind->name);
    error = avformat_open_input(&s->format, "", kind, NULL);
    DNS_TRY(dns_source_check(s));
    if (error < 0)
        DNS_TRY(dns_av_status(error, kind->name));
out:
    av_free(buffer);
    return status;
}

static bool is_cover_art(const AVStream *stream)
{
    return stream->disposition & (AV_DISPOSITION_ATTACHED_PIC | AV_DISPOSITION_TIMED_THUMBNAILS);
}

/* The default stream before others, then the one with the largest picture, then the first. */
static AVStream *best_stream(const AVFormatContext *format)
{
    AVStream *best = NULL;
    for (unsigned i = 0; i < format->nb_streams; i++) {
        AVStream *a = format->streams[i];
        if (a->codecpar->codec_type != AVMEDIA_TYPE_VIDEO || is_cover_art(a))
            continue;
        int64_t a_area = (int64_t)a->codecpar->width * a->codecpar->height;
        int a_default = a->disposition & AV_DISPOSITION_DEFAULT;
        if (best == NULL || a_default > (best->disposition & AV_DISPOSITION_DEFAULT) ||
            (a_default == (best->disposition & AV_DISPOSITION_DEFAULT) &&
             a_area > (int64_t)best->codecpar->width * best->codecpar->height))
            best = a;
    }
    return best;
}

static dns_status check_size(const AVFormatContext *format, size_t max_pixels)
{
    for (unsigned i = 0; i < format->nb_streams; i++) {
        const AVCodecParameters *p = format->streams[i]->codecpar;
        if (p->codec_type == AVMEDIA_TYPE_VIDEO && p->width > 0 && p->height > 0 &&
            max_pixels > 0 && (uint64_t)p->width * (uint64_t)p->height > max_pixels)
            return dns_status_set(DNS_ERR_LIMIT, "pictures of %dx%d, more than %zu pixels",
                                  p->width, p->height, max_pixels);
    }
    return DNS_OK;
}

/* AVCodecContext.max_pixels for a limit: decoders count edges and alignment too. */
static int64_t decoder_limit(size_t max_pixels)
{
    return max_pixels == 0 || max_pixels > INT_MAX / 2
               ? INT_MAX
               : (int64_t)(max_pixels + max_pixels / 4 + 65536);
}

/* Reads the first packets for what the header leaves open: frame rate, delay of the decoder, pixel
 * format. */
static dns_status examine(dns_source *s, size_t max_pixels)
{
    dns_status status = DNS_OK;
    AVDictionary **per_stream = NULL;
    unsigned n_streams = s->format->nb_streams;
    DNS_TRY(check_size(s->format, max_pixels));
    DNS_TRY(dns_alloc(&per_stream, n_streams, sizeof *per_stream));
    for (unsigned i = 0; i < n_streams; i++)
        av_dict_set_int(&per_stream[i], "max_pixels", decoder_limit(max_pixels), 0);
    int error = avformat_find_stream_info(s->format, n_streams > 0 ? per_stream : NULL);
    DNS_TRY(dns_source_check(s));
    if (error < 0)
        DNS_TRY(dns_av_status(error, "streams"));
    DNS_TRY(check_size(s->format, max_pixels));
out:
    for (unsigned i = 0; per_stream != NULL && i < n_streams; i++)
        av_dict_free(&per_stream[i]);
    dns_free(per_stream);
    return status;
}

static dns_status choose_stream(dns_source *s)
{
    s->stream = best_stream(s->format);
    if (s->stream == NULL) {
        for (unsigned i = 0; i < s->format->nb_streams; i++)
            if (is_cover_art(s->format->streams[i]))
                return dns_status_set(DNS_ERR_UNSUPPORTED, "no video stream, only cover art");
        return dns_status_set(DNS_ERR_UNSUPPORTED, "no video stream");
    }
    s->decoder = avcodec_find_decoder(s->stream->codecpar->codec_id);
    if (s->decoder == NULL)
        return dns_status_set(DNS_ERR_UNSUPPORTED, "no decoder for '%s'",
                              avcodec_get_name(s->stream->codecpar->codec_id));
    for (unsigned i = 0; i < s->format->nb_streams; i++)
        if (s->format->streams[i] != s->stream)
            s->format->streams[i]->discard = AVDISCARD_ALL;
    return DNS_OK;
}

dns_status dns_source_open(dns_source **out, const char *path, const dns_media_options *options)
{
    dns_status status = DNS_OK;
    dns_source *s = NULL;
    *out = NULL;
    dns_av_silence();
    dns_av_forget();
    DNS_TRY(dns_alloc(&s, 1, sizeof *s));
    s->descriptor = -1;
    s->cancel = options->cancel;
    s->seconds_left = options->max_seconds > 0 ? options->max_seconds : INFINITY;
    dns_source_resume(s);
    DNS_TRY(dns_source_check(s));
    DNS_TRY(open_descriptor(s, path));
    DNS_TRY(open_container(s));
    DNS_TRY(examine(s, options->max_pixels));
    DNS_TRY(choose_stream(s));
    *out = s;
    s = NULL;
out:
    dns_source_close(s);
    return status;
}

void dns_source_close(dns_source *s)
{
    if (s == NULL)
        return;
    avformat_close_input(&s->format);
    if (s->io != NULL)
        av_freep(&s->io->buffer);
    avio_context_free(&s->io);
    if (s->descriptor >= 0)
        close(s->descriptor);
    dns_free(s);
}

dns_status dns_source_read(dns_source *s, AVPacket *packet)
{
    for (;;) {
        dns_status status = dns_source_check(s);
        if (status != DNS_OK)
            return status;
        int error = av_read_frame(s->format, packet);
        if (error == AVERROR(ENOMEM))
            return dns_av_status(error, "packet");
        if (error == AVERROR_EOF)
            return s->io->error < 0 && s->io->error != AVERROR_EOF
                       ? dns_av_status(s->io->error, "read")
                       : DNS_EOF;
        if (error < 0) {
            if (++s->n_errors, ++s->n_bad_reads >= MAX_BAD_READS)
                return DNS_EOF;
            continue;
        }
        s->n_bad_reads = 0;
        if (packet->stream_index == s->stream->index && packet->size > 0) {
            s->n_errors += (packet->flags & AV_PKT_FLAG_CORRUPT) != 0;
            return DNS_OK;
        }
        av_packet_unref(packet);
    }
}

void dns_source_seek(dns_source *s, dns_clock *clock, double seconds)
{
    int64_t origin = s->stream->start_time;
    if (origin == AV_NOPTS_VALUE)
        return;
    int64_t stamp = origin + (int64_t)(seconds * clock->unit_den / clock->unit_num);
    if (avformat_seek_file(s->format, s->stream->index, INT64_MIN, stamp, stamp, 0) < 0)
        return;
    clock->origin = origin;
    clock->has_origin = true;
}

dns_status dns_source_open_decoder(const dns_source *s, AVCodecContext **decoder,
                                   const dns_media_options *options)
{
    *decoder = avcodec_alloc_context3(s->decoder);
    if (*decoder == NULL)
        return dns_status_set(DNS_ERR_NOMEM, "no memory for a decoder");
    int error = avcodec_parameters_to_context(*decoder, s->stream->codecpar);
    if (error >= 0) {
        (*decoder)->pkt_timebase = s->stream->time_base;
        (*decoder)->thread_count = (int)options->n_threads;
        (*decoder)->max_pixels = decoder_limit(options->max_pixels);
        dns_av_forget();
        error = avcodec_open2(*decoder, s->decoder, NULL);
    }
    if (error >= 0)
        return DNS_OK;
    avcodec_free_context(decoder);
    return dns_av_status(error, s->decoder->name);
}

static double positive(AVRational r)
{
    double value = r.num > 0 && r.den > 0 ? av_q2d(r) : 0;
    return isfinite(value) ? value : 0;
}

double dns_source_frame_rate(const dns_source *s)
{
    double rate = positive(s->stream->avg_frame_rate);
    return rate > 0 ? rate : positive(s->stream->r_frame_rate);
}

double dns_source_duration(const dns_source *s)
{
    if (s->stream->duration > 0)
        return (double)s->stream->duration * positive(s->stream->time_base);
    return s->format->duration > 0 ? (double)s->format->duration / AV_TIME_BASE : 0;
}

const int32_t *dns_source_matrix(const dns_source *s)
{
    size_t size = 0;
    const void *matrix = av_stream_get_side_data(s->stream, AV_PKT_DATA_DISPLAYMATRIX, &size);
    return size >= 9 * sizeof(int32_t) ? matrix : NULL;
}

dns_clock dns_source_clock(const dns_source *s)
{
    double rate = dns_source_frame_rate(s);
    return (dns_clock){
        .unit_num = s->stream->time_base.num,
        .unit_den = s->stream->time_base.den,
        .period = rate >= 0.01 && rate <= 1000 ? 1 / rate : 0.04,
    };
}
