/*
 * Learning a coarse network from a training set, by one of two recipes:
 *
 *   contrast   a matrix behind the mean vector, which starts as the identity, so as the mean vector
 *              itself (docs/training.md). Batches of edited copies and originals in clusters of
 *              near neighbours; loss: dns_distilled_contrast with the fine scores of the batch as
 *              the teacher's opinion, plus a pull back to the start. Half of the queries are
 *              excerpts and embedded excerpts, whose mean vector is the hardest to recognise.
 *   published  attention, encoder and NetVLAD (docs/training.md), triplets, L1 to the teacher's
 *              s/2 + 1/2, Adam at a constant rate (7.3, 7.5).
 */
#ifndef DNSEL_COARSE_LEARNING_H
#define DNSEL_COARSE_LEARNING_H

#include "dnsel/clip_scores.h"
#include "dnsel/sampler.h"
#include "dnsel/trainer.h"
#include "dnsel/trial.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef enum dns_coarse_recipe { DNS_COARSE_CONTRAST, DNS_COARSE_DISTILLED } dns_coarse_recipe;

typedef struct dns_coarse_learning_options {
    dns_coarse_recipe recipe;
    size_t steps;
    double rate;
    dns_sampler_options sampler; /* with held_out and seed */
    dns_fine_comparison teacher;
    /* contrast */
    double tau, teacher_tau, share, pull;
    /* published; dim and kind are filled in */
    dns_coarse_shape shape;
    double dropout;
    const char *checkpoint; /* file; NULL: none. Found there, learning goes on from it */
    size_t checkpoint_every;
    const dns_progress *progress; /* NULL: none */
    dns_cancel *cancel;
    void *payload;
    void (*report)(void *payload, const dns_curve_point *point); /* may be NULL */
} dns_coarse_learning_options;

/* Contrast: 200 steps of 48 scenes, rate 2e-4 after 20 steps of warm-up down a cosine, tau 0.1,
 * teacher's share 0.3 at 0.1, pull 0.1. Published: 1000 steps of 32 triplets of at most 64 frames,
 * rate 1e-5, the published sizes, dropout 0.1. The teacher is the plain comparison until it is set.
 */
DNS_API dns_coarse_learning_options dns_coarse_learning_options_default(dns_coarse_recipe recipe);

/* *out = the network. The same for any number of threads, interrupted and resumed or not. Errors:
 * those of dns_sampler_create and of dns_trainer_run; DNS_ERR_ARG for options that
 * contradict themselves. */
DNS_API DNS_MUST_CHECK dns_status dns_coarse_learn(dns_coarse **out, const dns_training_set *set,
                                                   const dns_coarse_learning_options *options,
                                                   dns_pool *pool);

/* ---- choosing ---- */

typedef enum dns_coarse_candidate {
    DNS_COARSE_PLAIN_MEAN,
    DNS_COARSE_LEARNT, /* by contrast */
    DNS_COARSE_LEARNT_AS_PUBLISHED,
    DNS_COARSE_CANDIDATES
} dns_coarse_candidate;

/* "mean", "contrast", "published". */
DNS_API const char *dns_coarse_candidate_name(dns_coarse_candidate candidate);

typedef struct dns_coarse_choice_options {
    /* [DNS_COARSE_CANDIDATES - 1] by contrast and as published; steps 0: not tried. held_out is
     * set; seeds count up from theirs. A checkpoint gets ".contrast.FOLD.SEED" behind it. */
    dns_coarse_learning_options recipes[2];
    size_t n_folds, n_seeds;
    dns_trial_options trial;      /* its fold is set */
    const dns_progress *progress; /* unit "trainings" */
} dns_coarse_choice_options;

/* Everything over all queries of all folds, means over seeds. */
typedef struct dns_coarse_choice {
    size_t n_queries;
    bool tried[DNS_COARSE_CANDIDATES];
    double map[DNS_COARSE_CANDIDATES];
    dns_interval gain[DNS_COARSE_CANDIDATES]; /* against the plain mean, paired over queries */
    /* The largest mAP, of equals the simpler; what the interval does not tell from the plain mean
     * is no better than it. */
    dns_coarse_candidate best;
} dns_coarse_choice;

/* Each fold is left out of a learning by each recipe and seed, and its queries are asked. The
 * errors of dns_coarse_learn and dns_trial_create. */
DNS_API DNS_MUST_CHECK dns_status dns_coarse_choose(dns_coarse_choice *out,
                                                    const dns_training_set *set,
                                                    const dns_coarse_choice_options *options,
                                                    dns_pool *pool);

/* scores [queries.n, database.n] of a trial by a coarse network. */
DNS_API DNS_MUST_CHECK dns_status dns_trial_coarse_scores(float *scores, const dns_trial *trial,
                                                          const dns_coarse *net, dns_pool *pool);

/* *out = the plain mean vector of `dim` values. */
DNS_API DNS_MUST_CHECK dns_status dns_coarse_plain_mean(dns_coarse **out, size_t dim);

#ifdef __cplusplus
}
#endif

#endif
