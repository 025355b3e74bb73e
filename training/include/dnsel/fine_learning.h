/*
 * Learning the networks that compare videos frame by frame (dnsel/visil.h) from a training set, by
 * one of two recipes:
 *
 *   measured    what did best on little data (docs/training.md): the comparator starts as the
 *               plain comparison, regions keep weight 1, InfoNCE over contrastive batches, the
 * score of both directions, AdamW with a cosine. The binary network is a random rotation with the
 *               comparator of the float network, whose first layer is multiplied by 1.5.
 *   published   docs/training.md: the teacher by a hinge over triplets and the range regulariser,
 * the students by L1 to the teacher's scores, attention and codes learnt (from ITQ, with erf), Adam
 * at a constant rate.
 *
 * and choosing between what they give and what needs no learning, by validation on held-out folds.
 */
#ifndef DNSEL_FINE_LEARNING_H
#define DNSEL_FINE_LEARNING_H

#include "dnsel/clip_scores.h"
#include "dnsel/sampler.h"
#include "dnsel/trainer.h"
#include "dnsel/trial.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef enum dns_fine_kind { DNS_FINE_TEACHER, DNS_FINE_ATTENTION, DNS_FINE_BINARY } dns_fine_kind;
typedef enum dns_fine_recipe { DNS_FINE_MEASURED, DNS_FINE_PUBLISHED } dns_fine_recipe;

/* "teacher", "fine_attention", "fine_binary": the sections of a model. */
DNS_API const char *dns_fine_section(dns_fine_kind kind);

typedef struct dns_fine_options {
    dns_fine_kind kind;
    dns_fine_recipe recipe;
    dns_similarity_rule rule; /* in which the network is trained */
    bool gate;                /* attention, learnt; otherwise every region has weight 1 */
    double identity;          /* the comparator starts as the plain comparison times this; 0: Xavier
                               */
    size_t code_bits;         /* of the binary network */
    bool itq;                 /* its W starts from ITQ; otherwise from a random rotation */
    double sigma, straight_through; /* dns_visil_codes */
    double tau;                     /* of InfoNCE */
    bool both_ways; /* InfoNCE also over the queries of each target, not only the targets of each
                       query */
    double margin;  /* of the teacher's hinge */
    double penalty; /* weight of the range regulariser: of its mean over pairs; in
                       the published students of its sum (docs/training.md) */
    dns_sampler_options sampler; /* with seed and held_out */
    dns_trainer_options trainer; /* steps 0: the start is not trained */
    const dns_visil *float_net;  /* binary, measured: its comparator is taken; NULL: a start of
                                    its own */
    const dns_fine_comparison
        *teacher;                   /* published students; NULL: labelled pairs with similarities
                                     */
    const dns_labelled_pair *pairs; /* triplets are drawn from these; NULL: from the set */
    size_t n_pairs;
} dns_fine_options;

/* The recipes as they stand in the specifications, max of both directions and regions in the same
 * position (measured) or query rows and all products (published). */
DNS_API dns_fine_options dns_fine_options_default(dns_fine_kind kind, dns_fine_recipe recipe);

/* *out = the network before training, made for training. Depends on sampler.seed alone (and, for
 * ITQ, on the regions of videos that are not held out). */
DNS_API DNS_MUST_CHECK dns_status dns_fine_start(dns_visil **out, const dns_training_set *set,
                                                 const dns_fine_options *options);

/* Trains it. The same for any number of threads, interrupted and resumed or not. Errors: those of
 * dns_sampler_create and dns_trainer_run; DNS_ERR_UNSUPPORTED for published students without a
 * teacher or similarities. */
DNS_API DNS_MUST_CHECK dns_status dns_fine_train(dns_trainer_report *report, dns_visil *net,
                                                 const dns_training_set *set,
                                                 const dns_fine_options *options, dns_pool *pool);

/* ---- choosing ---- */

/* Mean average precision over the queries of a trial, by direction: of the plain comparison of
 * regions (or codes) without a network, of the network before training, and after. */
typedef enum dns_fine_candidate {
    DNS_FINE_PLAIN,
    DNS_FINE_UNTRAINED,
    DNS_FINE_TRAINED,
    DNS_FINE_CANDIDATES
} dns_fine_candidate;

DNS_API const char *dns_fine_candidate_name(dns_fine_candidate candidate);

typedef struct dns_fine_figures {
    size_t fold, n_queries;
    uint64_t seed;
    double map[DNS_FINE_CANDIDATES][DNS_DIRECTIONS];
    dns_trainer_report training;
} dns_fine_figures;

typedef struct dns_fine_choice_options {
    size_t n_folds, n_seeds;      /* folds 0 .. n_folds - 1, each with so many seeds */
    int direction;                /* -1: what wins; else a dns_direction */
    bool always;                  /* a network even when the plain comparison wins */
    dns_trial_options trial;      /* its fold is set */
    const dns_progress *progress; /* unit "trainings" */
    dns_cancel *cancel;
    void *payload;
    void (*report)(void *payload, const dns_fine_figures *figures); /* after each; may be NULL */
} dns_fine_choice_options;

/* All folds, one seed, all queries, direction by validation. */
DNS_API dns_fine_choice_options dns_fine_choice_options_default(const dns_training_set *set);

typedef struct dns_fine_choice {
    double map[DNS_FINE_CANDIDATES][DNS_DIRECTIONS]; /* means over folds and seeds */
    dns_fine_candidate candidate;                    /* what won */
    dns_direction direction;
    size_t n_trainings;
} dns_fine_choice;

/*
 * For every fold and seed (options->sampler.seed + number): trains on the other folds and looks at
 * the queries of this one. A binary network by the measured recipe takes its comparator from a
 * float network trained by `float_options` on the same folds (NULL: that of options->float_net).
 * What won by the mean is chosen. Training options that name a checkpoint or a curve get
 * ".fold.seed" behind the name.
 */
DNS_API DNS_MUST_CHECK dns_status dns_fine_choose(dns_fine_choice *out, const dns_training_set *set,
                                                  const dns_fine_options *options,
                                                  const dns_fine_options *float_options,
                                                  const dns_fine_choice_options *choice,
                                                  dns_pool *pool);

#ifdef __cplusplus
}
#endif

#endif
