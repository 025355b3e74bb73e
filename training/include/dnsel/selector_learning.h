/*
 * Learning a selector (docs/training.md): which pairs have a coarse score
 * that is wrong? From pairs of a trial of which both scores are known. Coarse scores must have been
 * put on the scale of fine ones first, or the label holds for nearly every pair.
 */
#ifndef DNSEL_SELECTOR_LEARNING_H
#define DNSEL_SELECTOR_LEARNING_H

#include "dnsel/selector_training.h"
#include "dnsel/trainer.h"
#include "dnsel/trial.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Scores of all pairs of a trial, [queries.n, database.n]. */
typedef struct dns_trial_scores {
    const dns_trial *trial;
    const float *coarse;   /* cosines, the third input of the network */
    const float *expected; /* what they let one expect, on the scale of fine / 2 + 1/2 */
    const float *fine;     /* in [-1, 1] */
} dns_trial_scores;

/* The t for which |fine / 2 + 1/2 - expected| > t holds for `share` of the pairs of the queries
 * that are `asked` [queries.n] (NULL: all). DNS_ERR_ARG without pairs or for a share outside (0,
 * 1). */
DNS_API DNS_MUST_CHECK dns_status dns_selector_choose_threshold(float *t,
                                                                const dns_trial_scores *scores,
                                                                const bool *asked, double share);

typedef struct dns_selector_learning_options {
    size_t steps, batch; /* pairs; half of them are labelled 1 */
    double rate, dropout, threshold;
    dns_selector_shape shape; /* dim is filled in */
    const bool *asked;        /* [queries.n] queries whose pairs are learnt from; NULL: all */
    uint64_t seed;
    const char *checkpoint;
    size_t checkpoint_every;
    const dns_progress *progress; /* NULL: none */
    dns_cancel *cancel;
    void *payload;
    void (*report)(void *payload, const dns_curve_point *point); /* may be NULL */
} dns_selector_learning_options;

/* 200 steps of 64 pairs, rate 1e-3 (published 1e-4 for 100 epochs), dropout 0.5, t 0.2, published
 * sizes. */
DNS_API dns_selector_learning_options dns_selector_learning_options_default(void);

/* *out = the network. Each step takes `batch` pairs of batch / 4 queries, so that few videos have
 * to be read for many pairs. The same for any number of threads, interrupted and resumed or not.
 * Errors: DNS_ERR_ARG when one of the labels does not occur, or for a batch below 4; those of
 * dns_trainer_run. */
DNS_API DNS_MUST_CHECK dns_status dns_selector_learn(dns_selector **out,
                                                     const dns_trial_scores *scores,
                                                     const dns_selector_learning_options *options,
                                                     dns_pool *pool);

/* confidence [queries.n, database.n] of all pairs. */
DNS_API DNS_MUST_CHECK dns_status dns_selector_judge(float *confidence,
                                                     const dns_trial_scores *scores,
                                                     const dns_selector *net, dns_pool *pool);

#ifdef __cplusplus
}
#endif

#endif
