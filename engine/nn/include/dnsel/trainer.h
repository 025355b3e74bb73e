/*
 * The one loop of every training: a step gives gradients, AdamW moves the weights along a schedule,
 * validation keeps the best, checkpoints make it possible to stop and go on.
 *
 * A step must be a function of its number and of the weights alone, the same for any number of
 * threads. Then so is the result, whether the training was interrupted or not.
 */
#ifndef DNSEL_TRAINER_H
#define DNSEL_TRAINER_H

#include "dnsel/optimiser.h"
#include "dnsel/progress.h"

#ifdef __cplusplus
extern "C" {
#endif

/* What a step reports. */
typedef struct dns_step_facts {
    double loss;
    double operations; /* multiplications and additions that the step took; 0: not counted */
} dns_step_facts;

/* What is trained. */
typedef struct dns_trainer_task {
    dns_parameters *parameters; /* made for training */
    void *payload;
    /* Step `step`, from 1: adds to the gradients, which are zero. */
    dns_status (*step)(void *payload, dns_step_facts *facts, size_t step);
    void (*moved)(void *payload); /* after the weights were moved, to bring them back to where they
                                     must be; may be NULL */
    dns_status (*validate)(void *payload,
                           double *figure); /* larger is better; NULL: the last weights count */
    const char *description; /* all that the weights depend on besides the options: a checkpoint
                                with another one is refused */
} dns_trainer_task;

/* One line of the curve. */
typedef struct dns_curve_point {
    size_t step;                      /* 0: the untrained start */
    double loss, gradient_norm, rate; /* NaN for step 0 */
    double validation;                /* NaN where there was none */
} dns_curve_point;

typedef struct dns_trainer_options {
    size_t steps;
    dns_adam adam;
    dns_schedule schedule; /* its `steps` is not read */
    double clip;           /* largest norm of the gradient; 0: none */
    size_t validate_every; /* steps; also at the start and the end. 0: only at start and end */
    size_t patience; /* validations in succession without a better one that end the training; 0: go
                        on to the end */
    const char *checkpoint;  /* file, and FILE.best beside it; NULL: none. Found there, training
                                goes on from it */
    size_t checkpoint_every; /* steps; 0: only at the end and when cancelled */
    const char *curve;       /* file of JSON lines, one a dns_curve_point; NULL: none */
    const dns_progress *progress; /* NULL: none. Unit "steps" */
    dns_cancel *cancel;
    void *payload;
    void (*report)(void *payload, const dns_curve_point *point); /* may be NULL */
} dns_trainer_options;

/* 200 steps of AdamW: rate 1e-3 after 20 steps of warm-up, cosine to 5 %, weight decay 1e-4
 * (docs/training.md). */
DNS_API dns_trainer_options dns_trainer_options_default(void);

typedef struct dns_trainer_report {
    size_t steps;                         /* done in all, those before a checkpoint too */
    size_t best_step;                     /* whose weights were kept; 0: the untrained start */
    double start, best;                   /* validation; NaN without */
    double loss;                          /* mean over the last tenth of the steps done now */
    double seconds;                       /* of the steps done now, without validation */
    double processor_seconds, operations; /* of them */
} dns_trainer_report;

/*
 * Trains. With a validation the weights that did best are left in the parameters, the untrained
 * start's if nothing was better; without, the last ones. Errors: DNS_ERR_CANCELLED (after saving a
 * checkpoint, if there is a file for it; the weights are then those of the last step);
 * DNS_ERR_MODEL for a checkpoint of another training; DNS_ERR_RANGE when a gradient is not finite;
 * those of the task and of files.
 */
DNS_API DNS_MUST_CHECK dns_status dns_trainer_run(dns_trainer_report *report,
                                                  const dns_trainer_task *task,
                                                  const dns_trainer_options *options,
                                                  dns_pool *pool);

#ifdef __cplusplus
}
#endif

#endif
