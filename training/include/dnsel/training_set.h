/*
 * What networks are trained and validated on: region features of videos and of edited copies of
 * them, extracted once (`dns-train prepare`), and which videos belong to which scene and fold
 * (docs/training.md). A folder:
 *
 *     features/      an index (dnsel/store.h) of records `regions` [T, R, D], F16, one a view;
 *                    `dns-index verify` checks it
 *     manifest.json  videos, their scenes and folds, their views, how it was made
 *
 * View 0 of a video is the video as it is, every other an edited copy. Features are read from the
 * mapped index, so a set may be larger than memory.
 */
#ifndef DNSEL_TRAINING_SET_H
#define DNSEL_TRAINING_SET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "dnsel/file.h"
#include "dnsel/pool.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ---- reading ---- */

/* Immutable; read by any number of threads. One handle on a folder in a process at a time. */
typedef struct dns_training_set dns_training_set;

typedef struct dns_training_video {
    const char *path;
    size_t scene; /* from 0; videos of one scene are never negatives of each other */
    size_t fold;  /* from 0; all videos of a scene are in one */
    bool host;    /* other footage that excerpts are embedded in: never in a database, never a query
                   */
    bool still;   /* a picture */
    size_t n_views;
} dns_training_video;

typedef struct dns_training_view {
    const char *edit; /* "original" for view 0, else the name of an edit (dnsel/edits.h) */
    size_t n_frames;
} dns_training_view;

/* Errors: those of dns_store_open and of reading JSON; DNS_ERR_FORMAT (no manifest.json of ours, or
 * preparation was not finished), DNS_ERR_VERSION, DNS_ERR_CORRUPT (a view without its features). */
DNS_API DNS_MUST_CHECK dns_status dns_training_set_open(dns_training_set **out,
                                                        const char *directory);
DNS_API void dns_training_set_close(dns_training_set *set);

DNS_API size_t dns_training_set_n_videos(const dns_training_set *set);
DNS_API size_t dns_training_set_n_scenes(const dns_training_set *set);
DNS_API size_t dns_training_set_n_folds(const dns_training_set *set);
DNS_API size_t dns_training_set_n_regions(const dns_training_set *set);
DNS_API size_t dns_training_set_dim(const dns_training_set *set);
/* Of what made the features: the sections "backbone", "whitening" and "preprocessing" of the model
 * (dns_model_digest_of); a network trained on this set belongs to such a model. Zero for features
 * of others. */
DNS_API dns_digest dns_training_set_features(const dns_training_set *set);
/* How it was made, one JSON object. Borrowed. */
DNS_API const char *dns_training_set_settings(const dns_training_set *set);

/* Borrowed. */
DNS_API const dns_training_video *dns_training_set_video(const dns_training_set *set, size_t video);
DNS_API dns_training_view dns_training_set_view(const dns_training_set *set, size_t video,
                                                size_t view);

/* x [n, R, D] = frames first .. first + n - 1 of a view. */
DNS_API void dns_training_set_read(float *x, const dns_training_set *set, size_t video, size_t view,
                                   size_t first, size_t n);

/* means [n_videos, D] = the normalised mean of the region vectors of each video as it is. */
DNS_API DNS_MUST_CHECK dns_status dns_training_set_means(float *means, const dns_training_set *set,
                                                         dns_pool *pool);

/* ---- clips: footage put together from frames of views ---- */

typedef struct dns_clip_frame {
    uint32_t video, view, frame;
} dns_clip_frame;

/* A list of clips, each a sequence of frames. Start with {0}. */
typedef struct dns_clips {
    size_t n;
    size_t *n_frames;       /* [n] */
    dns_clip_frame *frames; /* of all clips, one behind the other */
    size_t n_all;           /* frames of all clips */
    size_t capacity, frame_capacity;
} dns_clips;

DNS_API void dns_clips_clear(dns_clips *clips);
DNS_API void dns_clips_free(dns_clips *clips);
/* Begins a clip; frames are added to the last one begun. */
DNS_API DNS_MUST_CHECK dns_status dns_clips_begin(dns_clips *clips);
DNS_API DNS_MUST_CHECK dns_status dns_clips_add(dns_clips *clips, size_t video, size_t view,
                                                size_t frame);
/* Appends the last clip to itself until it has a multiple of 4 frames (docs/training.md). */
DNS_API DNS_MUST_CHECK dns_status dns_clips_wrap(dns_clips *clips);
/* Number of the first frame of a clip among all. */
DNS_API size_t dns_clips_first(const dns_clips *clips, size_t clip);
/* x [n_all, R, D]. */
DNS_API DNS_MUST_CHECK dns_status dns_clips_read(float *x, const dns_training_set *set,
                                                 const dns_clips *clips, dns_pool *pool);
/* x [n_frames[clip], R, D] of one clip. */
DNS_API void dns_clips_read_one(float *x, const dns_training_set *set, const dns_clips *clips,
                                size_t clip);

/* ---- writing ---- */

/* One writer a folder. Calls are not for several threads at once. */
typedef struct dns_training_writer dns_training_writer;

typedef struct dns_training_source {
    size_t dim;           /* D */
    dns_digest features;  /* as dns_training_set_features */
    const char *settings; /* how the set is made, one JSON object */
} dns_training_source;

/* Makes a folder, or goes on with one that was begun with the same source: DNS_ERR_MODEL when it is
 * another. */
DNS_API DNS_MUST_CHECK dns_status dns_training_writer_open(dns_training_writer **out,
                                                           const char *directory,
                                                           const dns_training_source *source);
/* Commits what waits; the set is not finished by that. NULL is fine. */
DNS_API void dns_training_writer_close(dns_training_writer *writer);

/* Whether the view of a video is there, and its frames; `label` is "original", or the name of an
 * edit, with ".2", ".3" behind it for further copies by the same edit. */
DNS_API bool dns_training_writer_has(size_t *n_frames, dns_training_writer *writer,
                                     const char *path, const char *label);
/* Features x [n_frames, n_regions, D] of a view. Errors: those of dns_batch_put. */
DNS_API DNS_MUST_CHECK dns_status dns_training_writer_put(dns_training_writer *writer,
                                                          const char *path, const char *label,
                                                          const float *x, size_t n_frames,
                                                          size_t n_regions);
/* Normalised mean [D] of the region vectors of a view that is there. */
DNS_API DNS_MUST_CHECK dns_status dns_training_writer_mean(float *mean, dns_training_writer *writer,
                                                           const char *path, const char *label);

/* Writes the manifest: the set is finished. `videos` are those that have an original (n_views is
 * not read); their views are all that were put, in the order of `labels`. */
DNS_API DNS_MUST_CHECK dns_status dns_training_writer_finish(dns_training_writer *writer,
                                                             const dns_training_video *videos,
                                                             size_t n_videos, size_t n_folds,
                                                             const char *const *labels,
                                                             size_t n_labels);

#ifdef __cplusplus
}
#endif

#endif
