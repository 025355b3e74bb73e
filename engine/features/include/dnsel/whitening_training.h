/*
 * Learning the whitening of a model from videos (docs/training.md): from frames and, which is
 * clearly better, edited copies of them together.
 */
#ifndef DNSEL_WHITENING_TRAINING_H
#define DNSEL_WHITENING_TRAINING_H

#include "dnsel/extractor.h"
#include "dnsel/pool.h"
#include "dnsel/progress.h"
#include "dnsel/random.h"
#include "dnsel/whitening.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Makes an edited copy of a frame, RGB [size][size][3], in place. Draws from `random` alone, so
 * that the same seed gives the same copies. Called from several threads. */
typedef dns_status (*dns_frame_editor)(void *payload, uint8_t *frame, size_t size,
                                       dns_random *random);

typedef struct dns_whitening_training_options {
    size_t out_dim;          /* 512 */
    size_t frames_per_video; /* 24: of a longer video so many are drawn at random */
    size_t copies;           /* 3: edited copies of every frame, when there is an editor */
    uint64_t seed;
    dns_media_options media; /* how frames are made: dns_model_media_options */
    dns_frame_editor edit;   /* NULL: frames alone */
    void *payload;           /* of the editor */
    const dns_progress *progress;
    const dns_logger *logger; /* told of every video that is left out */
    dns_cancel *cancel;
} dns_whitening_training_options;

DNS_API dns_whitening_training_options dns_whitening_training_options_default(void);

/* What the whitening was learnt from. */
typedef struct dns_whitening_training_facts {
    size_t n_videos, n_skipped; /* a video that does not decode is skipped */
    size_t n_frames;            /* without copies */
    size_t n_vectors;
} dns_whitening_training_facts;

/* *out = the whitening of the region features that the extractor gives for the videos. The same for
 * any number of threads. DNS_ERR_LIMIT for fewer vectors than out_dim + 1, DNS_ERR_SHAPE when
 * frames are not of the extractor's size, DNS_ERR_CANCELLED, DNS_ERR_NOMEM, and what the editor
 * returns. */
DNS_API DNS_MUST_CHECK dns_status dns_whitening_train(dns_whitening **out,
                                                      dns_whitening_training_facts *facts,
                                                      const dns_extractor *extractor,
                                                      const char *const *paths, size_t n_paths,
                                                      const dns_whitening_training_options *options,
                                                      dns_pool *pool);

/* Frames drawn in the same way from the videos: up to n of them into frames [n][size][size][3],
 * *n_out in all; for calibration. */
DNS_API DNS_MUST_CHECK dns_status dns_frames_draw(uint8_t *frames, size_t *n_out, size_t n,
                                                  const char *const *paths, size_t n_paths,
                                                  const dns_media_options *media, uint64_t seed,
                                                  dns_cancel *cancel);

#ifdef __cplusplus
}
#endif

#endif
