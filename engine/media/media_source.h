/* A container opened by its descriptor: packets of its video stream, under limits of time and a
 * wish to stop. */
#ifndef DNS_MEDIA_SOURCE_H
#define DNS_MEDIA_SOURCE_H

#include <libavcodec/avcodec.h>
#include <libavformat/avformat.h>

#include "dnsel/media.h"
#include "media_sampler.h"

typedef struct dns_source {
    AVFormatContext *format;
    AVStream *stream;       /* the video */
    const AVCodec *decoder; /* of it */
    size_t n_errors;        /* damaged packets up to now */
    size_t n_bad_reads;     /* in a row */

    AVIOContext *io;
    int descriptor;
    int64_t position, size;
    double seconds_left, deadline;
    dns_cancel *cancel;
} dns_source;

/* Errors as dns_media_open. */
dns_status dns_source_open(dns_source **out, const char *path, const dns_media_options *options);
void dns_source_close(dns_source *source);

/* The time between these two counts against max_seconds. dns_source_open returns with the clock
 * running. */
void dns_source_resume(dns_source *source);
void dns_source_pause(dns_source *source);

/* DNS_OK, DNS_ERR_CANCELLED or DNS_ERR_TIMEOUT. */
dns_status dns_source_check(const dns_source *source);

/* The next packet of the video stream, owned by the caller; DNS_EOF at the end. */
dns_status dns_source_read(dns_source *source, AVPacket *packet);

/* Goes to the last key frame at or before a time, counted from the start of the stream; sets the
 * origin of the clock. Does nothing where the file cannot be searched. */
void dns_source_seek(dns_source *source, dns_clock *clock, double seconds);

/* *decoder = one for the video stream, with the threads and the limit of pixels of the options. */
dns_status dns_source_open_decoder(const dns_source *source, AVCodecContext **decoder,
                                   const dns_media_options *options);

/* Frames a second as OpenCV asks for them; 0 when the container says nothing. */
double dns_source_frame_rate(const dns_source *source);
/* Seconds; 0 when the container says nothing. */
double dns_source_duration(const dns_source *source);
/* The display matrix of the stream, NULL when it has none. */
const int32_t *dns_source_matrix(const dns_source *source);
/* A clock for the stream's frames. */
dns_clock dns_source_clock(const dns_source *source);

#endif
