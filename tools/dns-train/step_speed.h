/* How fast the steps of a training were, as a share of what this machine can do. */
#ifndef DNS_STEP_SPEED_H
#define DNS_STEP_SPEED_H

#include "dnsel/trainer.h"

/* Prints operations a second of the steps, beside those of large matrix products on the same
 * threads, measured now. */
void dns_step_speed_print(const dns_trainer_report *report, dns_pool *pool);

#endif
