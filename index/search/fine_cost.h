/* What fine comparisons cost here and now, learned from those that were made. */
#ifndef DNS_FINE_COST_H
#define DNS_FINE_COST_H

#include <stddef.h>
#include <stdint.h>

#include "dnsel/status.h"

enum { DNS_COST_SAMPLES = 64 };

/* The last comparisons: query frames times target frames, and seconds. */
struct dns_fine_cost {
    double cells[DNS_COST_SAMPLES], seconds[DNS_COST_SAMPLES];
    size_t n_seen;
};

void dns_fine_cost_add(struct dns_fine_cost *cost, double cells, double seconds);

/* *n = how many of the first n_targets comparisons fit into `seconds` of one worker, by a cost
 * model fitted to the samples (DNS_ERR_ARG when there are none). `frames` gives the frames of
 * target i; it is asked for no more than the time allows, and a few. */
DNS_MUST_CHECK dns_status dns_fine_cost_plan(size_t *n, const struct dns_fine_cost *cost,
                                             double seconds, size_t n_query_frames,
                                             size_t n_targets,
                                             uint32_t (*frames)(const void *payload, size_t i),
                                             const void *payload);

#endif
