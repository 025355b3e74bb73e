/*
 * A trained projection (docs/training.md): the whitening matrix as a linear map that is trained
 * on edited copies, starting from PCA whitening. The result is a whitening like any other, one mean
 * and one matrix, so nothing that reads it changes.
 */
#ifndef DNSEL_PROJECTION_TRAINING_H
#define DNSEL_PROJECTION_TRAINING_H

#include "dnsel/extractor.h"
#include "dnsel/pool.h"
#include "dnsel/progress.h"
#include "dnsel/tail_training.h"
#include "dnsel/whitening.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ---- views ---- */

/* Region features before whitening of all views of all pictures, [n_pictures][n_views][9][dim] in
 * half precision: 42 KB a view for EfficientNet-Lite0. View 0 is the picture as it is. */
typedef struct dns_region_views dns_region_views;

/* Empty views. `scenes` [n_pictures] says which pictures are of one scene: never negatives of each
 * other. Copied. DNS_ERR_ARG without pictures or for fewer than two views. */
DNS_API DNS_MUST_CHECK dns_status dns_region_views_create(dns_region_views **out, size_t dim,
                                                          const size_t *scenes, size_t n_pictures,
                                                          size_t n_views);
DNS_API void dns_region_views_free(dns_region_views *views);
DNS_API size_t dns_region_views_count(const dns_region_views *views); /* pictures */

/* One view, regions [9][dim], in and out. */
DNS_API void dns_region_views_put(dns_region_views *views, size_t picture, size_t view,
                                  const float *regions);
DNS_API void dns_region_views_get(float *regions, const dns_region_views *views, size_t picture,
                                  size_t view);

/* Makes all views and their features. `progress` and `cancel` may be NULL. */
DNS_API DNS_MUST_CHECK dns_status dns_region_views_fill(dns_region_views *views,
                                                        const dns_extractor *extractor,
                                                        size_t frame_bytes, dns_view_maker make,
                                                        void *payload, dns_pool *pool,
                                                        const dns_progress *progress,
                                                        dns_cancel *cancel);

/* *out = the PCA whitening of all views. Errors as dns_whitening_learner_solve. */
DNS_API DNS_MUST_CHECK dns_status dns_region_views_whitening(dns_whitening **out,
                                                             const dns_region_views *views,
                                                             size_t out_dim, dns_pool *pool);

/* ---- folds ---- */

/* Pictures of one scene are in one fold: fold_of [n_pictures], drawn by seed. */
DNS_API DNS_MUST_CHECK dns_status dns_region_views_folds(size_t *fold_of,
                                                         const dns_region_views *views,
                                                         size_t n_folds, uint64_t seed);

/* Which pictures: those of fold `fold`, or all others. fold_of NULL: all. */
typedef struct dns_picture_part {
    const size_t *fold_of;
    size_t fold;
    bool others;
} dns_picture_part;

/* How well a whitening finds pictures again: of every picture of the part one edited view is
 * compared with view 0 of it and of all pictures of other scenes, by the mean of the region Chamfer
 * similarities in both directions. ranks [n_pictures] = 1 / rank of the picture itself, NaN for
 * pictures that were not asked; *mean their mean. */
DNS_API DNS_MUST_CHECK dns_status dns_region_views_find(double *mean, double *ranks,
                                                        const dns_region_views *views,
                                                        const dns_whitening *whitening,
                                                        const dns_picture_part *part,
                                                        dns_pool *pool);

/* ---- training ---- */

typedef struct dns_projection_training_options {
    size_t steps, batch; /* pictures of distinct scenes a step */
    size_t out_dim;
    double rate, tau, pull;
    uint64_t seed;
    const char *checkpoint; /* file; NULL: none. Found there, training goes on from it */
    size_t checkpoint_every;
    dns_progress progress;
    dns_cancel *cancel;
} dns_projection_training_options;

/* As measured best: 400 steps of 96 pictures to 512 values, rate 1e-3 down a cosine to 0, tau 0.05,
 * pull 0.1. */
DNS_API dns_projection_training_options dns_projection_training_options_default(void);

/* *out = the map of `wide`, a whitening to more values than are kept, with a trained projection
 * behind it. The same for any number of threads, interrupted and resumed or not. DNS_ERR_CANCELLED
 * after saving a checkpoint; DNS_ERR_ARG for fewer scenes in the part than a batch needs, or an
 * out_dim above that of `wide`; DNS_ERR_MODEL for a checkpoint of another training. */
DNS_API DNS_MUST_CHECK dns_status dns_projection_train(
    dns_whitening **out, const dns_region_views *views, const dns_whitening *wide,
    const dns_picture_part *part, const dns_projection_training_options *options, dns_pool *pool);

/* *out = the first out_dim values of a whitening: of a PCA, the PCA to that many. DNS_ERR_ARG when
 * it has fewer. */
DNS_API DNS_MUST_CHECK dns_status dns_whitening_cut(dns_whitening **out,
                                                    const dns_whitening *whitening, size_t out_dim);

#ifdef __cplusplus
}
#endif

#endif
