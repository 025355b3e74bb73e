/*
 * Adam and AdamW, gradient clipping, learning-rate schedules (docs/training.md).
 */
#ifndef DNSEL_OPTIMISER_H
#define DNSEL_OPTIMISER_H

#include "dnsel/parameters.h"
#include "dnsel/pool.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct dns_adam {
    double beta1, beta2, epsilon;
    double weight_decay;
    bool decoupled; /* AdamW: the decay shrinks the weight itself instead of joining the gradient */
} dns_adam;

/* As published: no weight decay. */
#define DNS_ADAM_INIT                                                                       \
    {                                                                                       \
        .beta1 = 0.9, .beta2 = 0.999, .epsilon = 1e-8, .weight_decay = 0, .decoupled = true \
    }

/*
 * One step, the `step`-th from 1:
 *     m = b1 m + (1 - b1) g,  v = b2 v + (1 - b2) g^2,
 *     w -= rate * (m / (1 - b1^step)) / (sqrt(v / (1 - b2^step)) + eps)
 * for every trained tensor; `rate` is multiplied by the tensor's own, and a tensor whose own is 0
 * is left as it is, moments too. Gradients are kept. Errors: DNS_ERR_ARG for step 0 or parameters
 * without training; DNS_ERR_RANGE for a gradient that is not finite: nothing has moved then.
 */
DNS_API DNS_MUST_CHECK dns_status dns_adam_step(dns_parameters *p, const dns_adam *adam,
                                                double rate, size_t step, dns_pool *pool);

/* Euclidean norm of all gradients that are not frozen, summed in double in a fixed order. */
DNS_API double dns_gradient_norm(const dns_parameters *p);

/* Scales the gradients so that their norm is at most `limit`; the norm before. */
DNS_API double dns_gradient_clip(dns_parameters *p, double limit);

/* Learning rates: up from 0 over `warm_up` steps, then constant, or down a half cosine to `last`
 * times the peak in step `steps`. */
typedef enum dns_schedule_shape { DNS_SCHEDULE_CONSTANT, DNS_SCHEDULE_COSINE } dns_schedule_shape;

typedef struct dns_schedule {
    dns_schedule_shape shape;
    double peak;
    size_t warm_up, steps;
    double last;
} dns_schedule;

/* The rate of a step, counted from 1. */
DNS_API double dns_schedule_rate(const dns_schedule *schedule, size_t step);

#ifdef __cplusplus
}
#endif

#endif
