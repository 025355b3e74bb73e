/*
 * A training that can be stopped: parameters, moments and the number of steps taken, in one file
 * that also says which training it belongs to.
 */
#ifndef DNSEL_TRAINING_CHECKPOINT_H
#define DNSEL_TRAINING_CHECKPOINT_H

#include "dnsel/parameters.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Writes the state after `step` steps; `training` is a line that says what is trained, on what and
 * how. Nothing for a `path` of NULL. */
DNS_API DNS_MUST_CHECK dns_status dns_checkpoint_save(const dns_parameters *p, const char *path,
                                                      const char *training, size_t step);

/* Goes back to it: *step = the steps taken, 0 when `path` is NULL or no such file exists.
 * DNS_ERR_MODEL for a checkpoint of another training; the errors of reading and of
 * dns_parameters_load_checkpoint. */
DNS_API DNS_MUST_CHECK dns_status dns_checkpoint_load(size_t *step, dns_parameters *p,
                                                      const char *path, const char *training);

#ifdef __cplusplus
}
#endif

#endif
