/*
 * How many pairs to route: by a share, by time, or by a promise about the loss.
 */
#ifndef DNSEL_BUDGET_H
#define DNSEL_BUDGET_H

#include <stddef.h>
#include <stdint.h>

#include "dnsel/status.h"

#ifdef __cplusplus
extern "C" {
#endif

/* floor(share * n), `share` in [0, 1] (docs/query.md), except that a product which rounding has put
 * just below a whole number counts as that number: 0.29 of 100 is 29. */
DNS_API size_t dns_budget_share(double share, size_t n);

/* Seconds of one fine score: fixed + per_cell * (query frames) * (target frames). */
typedef struct dns_cost_model {
    double fixed, per_cell;
} dns_cost_model;

/* Least squares with neither term negative. cells[i] = query frames * target frames of a score that
 * took seconds[i]. Errors: DNS_ERR_ARG (n = 0), DNS_ERR_RANGE (a value that is negative or not
 * finite). */
DNS_API DNS_MUST_CHECK dns_status dns_budget_fit_cost(dns_cost_model *out, const double *cells,
                                                      const double *seconds, size_t n);

/* The number of first targets, in the order in which they would be scored, whose costs fit into
 * `seconds` together. n_target_frames is [n]. */
DNS_API size_t dns_budget_seconds(const dns_cost_model *cost, double seconds, size_t n_query_frames,
                                  const uint32_t *n_target_frames, size_t n);

/* Conformal risk control (Angelopoulos et al. 2022; docs/query.md): *level = the
 * smallest budget level j for which (n R(j) + bound) / (n + 1) <= max_loss, R(j) being the mean
 * loss of the n calibration queries; the expected loss of a further query is then at most max_loss,
 * provided that queries are exchangeable.
 *
 * loss is [n_queries, n_levels], levels from the smallest budget to the largest, values in [0,
 * bound]. Theory asks for a loss that never grows with the budget; where one does, the largest loss
 * at this or any larger level counts. With n queries nothing below bound / (n + 1) can be promised.
 *
 * Errors: DNS_ERR_NOTFOUND (no level keeps the promise), DNS_ERR_ARG (no queries or levels; bound
 * or max_loss not positive), DNS_ERR_RANGE (a loss outside [0, bound]). */
DNS_API DNS_MUST_CHECK dns_status dns_budget_conformal(size_t *level, const float *loss,
                                                       size_t n_queries, size_t n_levels,
                                                       double bound, double max_loss);

#ifdef __cplusplus
}
#endif

#endif
