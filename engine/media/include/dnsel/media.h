/*
 * A video file becomes sampled RGB frames (docs/features.md).
 *
 * Every regular file that FFmpeg reads is a video here, still pictures included (one frame). The
 * file is opened by its descriptor, so that no name is ever taken for a protocol, and nothing it
 * refers to is opened: playlists and the like are refused. The first open silences FFmpeg's own log
 * for the whole process.
 */
#ifndef DNSEL_MEDIA_H
#define DNSEL_MEDIA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "dnsel/progress.h"
#include "dnsel/status.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Which frames are kept. Times count from the first frame of the video stream. Time stamps that are
 * missing or run backwards are made up from the frame rate. */
typedef enum dns_sampling {
    /* For every whole second s the first frame with time >= s. A frame serves one second only, so
     * that a video of less than one frame a second yields each of its frames once. Frames that no
     * kept frame depends on are not decoded. */
    DNS_SAMPLING_EXACT,
    /* The published counting: with F frames a second by the container (25 when absent or above
     * 144), decoded frames 0, r, 2r, ... with r = F rounded half to even; every frame when r is 0.
     * A frame that does not decode is not counted. Everything is decoded. */
    DNS_SAMPLING_COUNT,
    /* Key frames alone, at most one a second: a twentieth of the cost of EXACT or less. Where they
     * are further apart than max(1, min(gap_seconds, duration / 4)) seconds, frames about that far
     * apart between them are decoded too. So a short video gets the four frames that the networks
     * need, and one with hardly any key frames costs nearly as much as with EXACT. */
    DNS_SAMPLING_KEYFRAME
} dns_sampling;

/* How a frame becomes size x size pixels. */
typedef enum dns_geometry {
    DNS_GEOMETRY_SHORT_SIDE_CROP, /* the short side becomes short_side, the centre is cut out */
    DNS_GEOMETRY_STRETCH          /* the whole frame, its shape ignored */
} dns_geometry;

typedef enum dns_interpolation {
    /* What published features were made with: cv2.resize with INTER_CUBIC on bytes, not
     * antialiased. As in OpenCV, pixels are taken as square and every colour matrix as BT.601. */
    DNS_INTERPOLATION_OPENCV_CUBIC,
    DNS_INTERPOLATION_AREA,   /* mean of the covered pixels */
    DNS_INTERPOLATION_BICUBIC /* bicubic widened to the step, antialiased */
} dns_interpolation;

/* Names as in model.json: "exact", "count", "keyframe"; "short-side-crop", "stretch";
 * "opencv-cubic", "area", "bicubic". Parsing an unknown name is DNS_ERR_ARG, and the message lists
 * the known ones. */
DNS_API const char *dns_sampling_name(dns_sampling sampling);
DNS_API const char *dns_geometry_name(dns_geometry geometry);
DNS_API const char *dns_interpolation_name(dns_interpolation interpolation);
DNS_API DNS_MUST_CHECK dns_status dns_sampling_parse(dns_sampling *out, const char *name);
DNS_API DNS_MUST_CHECK dns_status dns_geometry_parse(dns_geometry *out, const char *name);
DNS_API DNS_MUST_CHECK dns_status dns_interpolation_parse(dns_interpolation *out, const char *name);

/* Start from dns_media_options_default. In limits 0 means none. */
typedef struct dns_media_options {
    dns_sampling sampling;           /* EXACT */
    dns_geometry geometry;           /* SHORT_SIDE_CROP */
    dns_interpolation interpolation; /* AREA */
    size_t short_side;               /* 256; at least `size` */
    size_t size;                     /* 224: width and height of the frames given out, 1 to 4096 */
    double gap_seconds;              /* 12, for KEYFRAME */
    size_t n_threads;                /* 1: threads of the decoder */

    /* Limits: a file that passes one fails with DNS_ERR_LIMIT, or DNS_ERR_TIMEOUT for the clock.
     * Memory is at most about 20 pictures of max_pixels and 64 MiB. A picture that grows beyond
     * max_pixels on the way counts as damaged. */
    size_t max_pixels;   /* 2^26: of a picture */
    size_t max_frames;   /* 100,000 kept frames */
    double max_duration; /* 86,400 seconds of video */
    double max_seconds;  /* 3,600 seconds of the wall clock spent within these functions */
    dns_cancel *cancel;  /* NULL; DNS_ERR_CANCELLED once it is wanted */
} dns_media_options;

DNS_API dns_media_options dns_media_options_default(void);

/* One kept frame. */
typedef struct dns_frame {
    const uint8_t *pixels; /* RGB, [height][width][3]; borrowed until the next call on this file */
    size_t width, height;  /* both options.size */
    double time;           /* seconds since the first frame */
} dns_frame;

/* An open video. Belongs to one thread at a time. */
typedef struct dns_media dns_media;

/* Opens a file and finds its video stream. `options` is copied (the cancel is borrowed); NULL means
 * the default. Errors: DNS_ERR_NOTFOUND and DNS_ERR_IO (the file cannot be opened); DNS_ERR_FORMAT
 * (not a regular file, empty, not a media file, a playlist); DNS_ERR_UNSUPPORTED (no video stream:
 * audio only or cover art only; no decoder); DNS_ERR_DECODE (the header is damaged); DNS_ERR_LIMIT,
 * DNS_ERR_TIMEOUT, DNS_ERR_CANCELLED; DNS_ERR_ARG (options). */
DNS_API DNS_MUST_CHECK dns_status dns_media_open(dns_media **out, const char *path,
                                                 const dns_media_options *options);

/* The next kept frame, in order of time; DNS_EOF after the last. What is damaged is stepped over
 * and counted; a file of which no frame at all decodes is DNS_ERR_DECODE. Also DNS_ERR_LIMIT,
 * DNS_ERR_TIMEOUT, DNS_ERR_CANCELLED, DNS_ERR_NOMEM. After an error or the end, every further call
 * returns the same. */
DNS_API DNS_MUST_CHECK dns_status dns_media_next(dns_media *media, dns_frame *frame);

/* What is known of an open video; the counts are those up to now. */
typedef struct dns_media_facts {
    const char *container; /* FFmpeg's short names, "matroska,webm"; borrowed from the media */
    const char *codec;     /* likewise, "h264" */
    size_t width, height;  /* as the header says, after rotation; pixels may not be square */
    double frame_rate;     /* frames a second by the container, 0 when it says nothing */
    double duration;       /* seconds, 0 when the container says nothing */
    size_t n_frames;       /* kept */
    size_t n_decoded;      /* frames that came out of the decoder */
    size_t n_errors; /* damaged packets and frames; more than 0: the file is damaged or cut short */
} dns_media_facts;

DNS_API dns_media_facts dns_media_info(const dns_media *media);

/* NULL is fine. */
DNS_API void dns_media_close(dns_media *media);

#ifdef __cplusplus
}
#endif

#endif
