/*
 * What routing is worth on a trial, and what of that a model has to know: how coarse scores become
 * expected fine ones, which router, how much a query loses at a budget, from which score on two
 * videos are copies (docs/training.md).
 */
#ifndef DNSEL_ROUTING_STUDY_H
#define DNSEL_ROUTING_STUDY_H

#include "dnsel/calibration.h"
#include "dnsel/retrieval.h"
#include "dnsel/selector_learning.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ---- calibration ---- */

/* *out = the map from coarse scores to fine / 2 + 1/2, of all pairs of the queries that are `asked`
 * [queries.n] (NULL: all). */
DNS_API DNS_MUST_CHECK dns_status dns_trial_calibrate(dns_calibration **out,
                                                      const dns_trial_scores *scores,
                                                      const bool *asked);

/* expected [queries.n, database.n]: those of a query by the pairs of queries of all other folds,
 * so that nothing is judged by itself; of a trial of one fold by all its pairs. `scores->expected`
 * is not read. */
DNS_API DNS_MUST_CHECK dns_status dns_trial_expect(float *expected, const dns_trial_scores *scores);

/* asked[i] = whether query i is, or is not, of a fold. */
DNS_API void dns_trial_of_fold(bool *asked, const dns_trial *trial, size_t fold, bool others);

/* ---- the study ---- */

/* All routers at all budgets on one list of calibrated scores. `confidence` [queries.n, database.n]
 * may be NULL: no selector. Free with dns_retrieval_free. */
DNS_API DNS_MUST_CHECK dns_status dns_trial_route(dns_retrieval **out,
                                                  const dns_trial_scores *scores,
                                                  const float *confidence, double hybrid_share,
                                                  size_t bootstrap_rounds);

/* The router that a program can follow with the largest area under mAP up to 30 %; of those within
 * `tolerance` of the best the first in the order coarse, expected, selector, hybrid. */
DNS_API dns_ranker dns_study_best_router(const dns_retrieval *retrieval, double tolerance);

/* loss [n_queries, DNS_BUDGETS] of a ranker: what the average precision of a query falls short of
 * comparing everything finely, at least 0; for dns_budget_conformal with bound 1. */
DNS_API void dns_study_losses(float *loss, const dns_retrieval *retrieval, dns_ranker ranker,
                              size_t n_queries);

/* The smallest score, on the scale fine / 2 + 1/2, from which on pairs are copies with at least
 * this precision, and the share of all copies above it. +infinity and 0 when no score is that
 * precise. */
DNS_API DNS_MUST_CHECK dns_status dns_trial_threshold(double *threshold, double *recall,
                                                      const dns_trial_scores *scores,
                                                      double precision);

#ifdef __cplusplus
}
#endif

#endif
