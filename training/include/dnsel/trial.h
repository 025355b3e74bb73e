/*
 * Trials: queries made of edited copies of held-out videos against a database of originals
 * (docs/training.md). What every validation, calibration and comparison of networks is measured
 * on.
 */
#ifndef DNSEL_TRIAL_H
#define DNSEL_TRIAL_H

#include "dnsel/clip_scores.h"
#include "dnsel/metrics.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct dns_trial_options {
    size_t fold;       /* whose videos are asked for; DNS_NO_FOLD: all */
    size_t max_frames; /* 24: of a query, but for embedded ones, and of a video of the database */
    size_t per_video;  /* queries of a video, drawn from all; 0: all of them */
    uint64_t seed;
} dns_trial_options;

DNS_API dns_trial_options dns_trial_options_default(void);

/*
 * Of each video of the fold, neither host nor still: every edited copy whole, a part of 3 to 8
 * frames of one of them, and two such parts embedded in 15 to 40 frames of a host (none without
 * hosts). The database is the originals of all videos that are neither host nor still, of all
 * folds. Relevant are those of the same scene.
 */
typedef struct dns_trial {
    const dns_training_set *set; /* borrowed */
    dns_clips queries, database;
    size_t *query_video;     /* [queries.n] the video that is shown */
    const char **query_edit; /* [queries.n] its edit, "part" or "embed" */
    size_t *database_video;  /* [database.n] */
    bool *relevant;          /* [queries.n, database.n] */
    size_t *n_relevant;      /* [queries.n] */
    size_t capacity;
} dns_trial;

/* The same for the same options. Free with dns_trial_free. DNS_ERR_ARG when there is nothing to ask
 * for: no copies, or no videos in the fold. */
DNS_API DNS_MUST_CHECK dns_status dns_trial_create(dns_trial *out, const dns_training_set *set,
                                                   const dns_trial_options *options);
DNS_API void dns_trial_free(dns_trial *trial);

DNS_API dns_clip_range dns_trial_queries(const dns_trial *trial);
DNS_API dns_clip_range dns_trial_database(const dns_trial *trial);

/* ap [queries.n] of scores [queries.n, database.n]; *mean their mean. */
DNS_API DNS_MUST_CHECK dns_status dns_trial_precision(double *mean, double *ap,
                                                      const dns_trial *trial, const float *scores);

#ifdef __cplusplus
}
#endif

#endif
