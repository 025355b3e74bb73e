/* A container opened by its descriptor: packets of its video stream, under limits of time and a
 * wish to stop. */
#ifndef DNS_MEDIA_SOURCE_H
#define DNS_MEDIA_SOURCE_H

#include <libavformat/avformat.h>

#include "dnsel/media.h"

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

/* AVCodecContext.max_pixels for a limit: decoders count edges and alignment too. */
int64_t dns_source_decoder_limit(size_t max_pixels);

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

#endif
