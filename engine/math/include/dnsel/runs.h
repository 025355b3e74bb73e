/*
 * Runs of frames: a video whose consecutive frames are alike is stored with one frame of each run
 * and how many it stands for. What is computed of stored frames is brought back to all frames here.
 */
#ifndef DNSEL_RUNS_H
#define DNSEL_RUNS_H

#include <stddef.h>
#include <stdint.h>

#include "dnsel/status.h"

#ifdef __cplusplus
extern "C" {
#endif

/* n stored frames and the frames that they stand for; a value, which borrows `lengths`. */
typedef struct dns_runs {
    const uint16_t *lengths; /* [n]; NULL: each stands for itself */
    size_t n;
    size_t skip;     /* frames of the first run that come before this part of a video */
    size_t n_frames; /* in this part */
} dns_runs;

/* A whole video of n stored frames. */
DNS_API dns_runs dns_runs_of(const uint16_t *lengths, size_t n);

/* Frames [first, first + n_frames) of a whole video that has them: *at = the stored frame of the
 * first of them, where the part's stored frames begin. */
DNS_API dns_runs dns_runs_part(size_t *at, const dns_runs *whole, size_t first, size_t n_frames);

/* out [rows->n_frames, columns->n_frames] = map [rows->n, columns->n] with rows and columns
 * repeated as often as they stand for. */
DNS_API void dns_runs_expand(float *out, const float *map, const dns_runs *rows,
                             const dns_runs *columns);

#ifdef __cplusplus
}
#endif

#endif
