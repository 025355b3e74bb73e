/*
 * Preparing a training set (dnsel/training_set.h) from folders of videos and pictures: features of
 * every video and of edited copies of it, scenes, folds.
 */
#ifndef DNSEL_PREPARATION_H
#define DNSEL_PREPARATION_H

#include "dnsel/model.h"
#include "dnsel/pool.h"
#include "dnsel/progress.h"
#include "dnsel/training_set.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ---- scenes and folds ---- */

/* Sets `scene` of every video. Videos whose means [n, dim] have a product of at least `similarity`
 * are of one scene, and all that are joined by a chain of such pairs; so are those that a table
 * with the columns file (the name without folders) and scene_group puts together, unless it is
 * NULL; a group of "" is none. Scenes are numbered by their first videos. Errors: those of reading;
 * DNS_ERR_FORMAT. */
DNS_API DNS_MUST_CHECK dns_status dns_training_find_scenes(dns_training_video *videos, size_t n,
                                                           const char *table, const float *means,
                                                           size_t dim, double similarity);

/* Sets `fold` and `host`: scenes in random order, each to the fold with the fewest videos. Of the
 * scenes of one video, no picture, a tenth of all that are no pictures become hosts: those with the
 * most frames (n_frames [n]), spread over the folds. DNS_ERR_ARG for fewer scenes than folds. */
DNS_API DNS_MUST_CHECK dns_status dns_training_make_folds(dns_training_video *videos, size_t n,
                                                          const size_t *n_frames, size_t n_folds,
                                                          uint64_t seed);

/* ---- the whole preparation ---- */

typedef struct dns_preparation_options {
    size_t n_folds;          /* 4 */
    size_t copies;           /* 1: of each kind of edit; 0: originals alone */
    size_t max_frames;       /* 24: of a longer video a part of so many seconds, drawn by seed */
    const char *scenes;      /* table of scenes; NULL: by similarity alone */
    double scene_similarity; /* 0.5 */
    uint64_t seed;           /* 1 */
    dns_pool *pool;
    const dns_progress *progress; /* NULL: none. Units "videos", then "copies" */
    const dns_logger *logger;     /* told what is left out, and how long it will take; NULL: none */
    dns_cancel *cancel;
} dns_preparation_options;

DNS_API dns_preparation_options dns_preparation_options_default(void);

typedef struct dns_preparation_report {
    size_t n_videos, n_stills, n_hosts, n_scenes; /* stills and hosts are among the videos */
    size_t n_skipped;                             /* files that do not decode */
    size_t n_views, n_frames;                     /* originals and copies */
    size_t n_made; /* views whose features were made now; the others were there */
} dns_preparation_report;

/*
 * Copies are made by every kind of edit that acts on pictures or on speed; excerpts and embedding
 * are put together from features when they are drawn (dnsel/sampler.h). Hosts get no copies.
 *
 * Makes the set in `directory`, or goes on where it was interrupted: what is there already is not
 * made again. Files are videos and pictures; copies are drawn by seed and name of file, so that
 * the same files in another folder give the same set, for any number of threads. Errors:
 * DNS_ERR_NOTFOUND (nothing decodes), DNS_ERR_MODEL (begun with other files, another model or other
 * options), DNS_ERR_CANCELLED (what was made is kept), those of the model, of the scenes and of
 * writing.
 */
DNS_API DNS_MUST_CHECK dns_status dns_training_prepare(dns_preparation_report *report,
                                                       const char *directory,
                                                       const dns_model *model,
                                                       const char *const *paths, size_t n_paths,
                                                       const dns_preparation_options *options);

#ifdef __cplusplus
}
#endif

#endif
