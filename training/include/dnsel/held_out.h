/*
 * Scores of networks on scenes that they were not trained on: for every fold the networks of a
 * model are trained again without it. What calibration, selector and router are made from, for
 * scores of copies that a network was trained on are too good to be true.
 */
#ifndef DNSEL_HELD_OUT_H
#define DNSEL_HELD_OUT_H

#include "dnsel/coarse_learning.h"
#include "dnsel/fine_learning.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct dns_held_out_options {
    /* How fine networks were trained; steps 0: the start. NULL: `comparison` for all folds. */
    const dns_fine_options *fine;
    const dns_fine_options *float_options; /* of the float network whose comparator a binary one
                                              takes; NULL: that of fine->float_net */
    dns_fine_comparison comparison;
    dns_direction direction; /* of the fine scores */
    /* How coarse networks were trained; NULL: `coarse_net` for all folds. */
    const dns_coarse_learning_options *coarse;
    const dns_coarse *coarse_net;
    dns_trial_options trial;
    const char *checkpoint;       /* ".fine.FOLD", ".float.FOLD" and ".coarse.FOLD" are put behind
                                     it; NULL: none */
    const dns_progress *progress; /* unit "folds" */
    dns_cancel *cancel;
} dns_held_out_options;

/* A trial over all folds and its scores, owned. */
typedef struct dns_held_out {
    dns_trial trial;
    float *coarse, *fine; /* [queries.n, database.n] */
} dns_held_out;

/* Free with dns_held_out_free, also after an error. Errors: those of training and of
 * dns_trial_create, for every fold must have something to ask for. */
DNS_API DNS_MUST_CHECK dns_status dns_held_out_scores(dns_held_out *out,
                                                      const dns_training_set *set,
                                                      const dns_held_out_options *options,
                                                      dns_pool *pool);
DNS_API void dns_held_out_free(dns_held_out *scores);

#ifdef __cplusplus
}
#endif

#endif
