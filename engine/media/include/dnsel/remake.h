/*
 * Videos made from videos: parts of files go through a graph of filters into a new file, or
 * pictures in memory into pictures. Made for edited copies (dnsel/edits.h).
 *
 * The graph is a description in FFmpeg's language, with inputs [0], [1], ... and the output [out]:
 * "[0]hflip[a];[a][1]overlay=10:10[out]". It must come from the program, never from outside: some
 * filters open files, and an endless one is never interrupted. Inputs arrive upright, as yuv420p in
 * BT.601, with square pixels and their first frame at time 0. Everything runs on the calling
 * thread, and the same call gives the same bytes with the same libraries.
 */
#ifndef DNSEL_REMAKE_H
#define DNSEL_REMAKE_H

#include <stddef.h>
#include <stdint.h>

#include "dnsel/media.h"
#include "dnsel/status.h"

#ifdef __cplusplus
extern "C" {
#endif

enum { DNS_REMAKE_INPUTS = 3 };

/* Part of a file, in seconds; duration 0 is up to the end. */
typedef struct dns_remake_input {
    const char *path;
    double start, duration;
} dns_remake_input;

/* Start from dns_remake_options_default. */
typedef struct dns_remake_options {
    double rate;        /* 25: frames a second of the new file, 1 to 120 */
    int quality;        /* 60: 1 to 100, to be read as that of JPEG */
    size_t max_pixels;  /* 2^26: of a picture that is read, as in dnsel/media.h */
    double max_seconds; /* 3,600 of the wall clock for each input; 0: none */
    dns_cancel *cancel; /* NULL */
} dns_remake_options;

DNS_API dns_remake_options dns_remake_options_default(void);

/* Writes an MP4 file without sound: H.264 where x264 is there, MPEG-4 otherwise; sides are made
 * even. It appears when it is whole. *n_frames (may be NULL) is the number of its frames. Errors:
 * those of dns_media_open for an input; DNS_ERR_ARG (the description, or options); DNS_ERR_DECODE
 * when no frame comes out; DNS_ERR_IO and DNS_ERR_FULL. */
DNS_API DNS_MUST_CHECK dns_status dns_remake_file(const char *path, const dns_remake_input *inputs,
                                                  size_t n_inputs, const char *description,
                                                  const dns_remake_options *options,
                                                  size_t *n_frames);

/* RGB pictures of one size. */
typedef struct dns_pictures {
    uint8_t *pixels; /* [n][height][width][3] */
    size_t n, width, height;
} dns_pictures;

/* *out = what the graph makes of the inputs, which stand for videos of one frame a second, at most
 * as many pictures as the first input has;
 * `quality` 1 to 100 sends each picture through JPEG, 0 does not. *out belongs to the caller: free
 * with dns_pictures_free. Errors: DNS_ERR_ARG (the description, an empty input), DNS_ERR_DECODE
 * when no picture comes out, DNS_ERR_NOMEM. */
DNS_API DNS_MUST_CHECK dns_status dns_remake_pictures(dns_pictures *out, const dns_pictures *inputs,
                                                      size_t n_inputs, const char *description,
                                                      int quality);

/* *out = pictures brought to the size of options, as dns_media_next does with frames of files (only
 * geometry, interpolation, short_side and size are looked at; NULL means the default). Free with
 * dns_pictures_free. Errors: DNS_ERR_ARG, DNS_ERR_NOMEM. */
DNS_API DNS_MUST_CHECK dns_status dns_pictures_fit(dns_pictures *out, const dns_pictures *pictures,
                                                   const dns_media_options *options);

/* Frees the pixels and clears the fields. */
DNS_API void dns_pictures_free(dns_pictures *pictures);

#ifdef __cplusplus
}
#endif

#endif
