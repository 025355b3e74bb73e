/*
 * Figures of merit on plain arrays (docs/evaluation.md). Scores are doubles, larger is better. A
 * list is given as labels in rank order (hits[r] is true when the r-th ranked item is relevant).
 */
#ifndef DNSEL_METRICS_H
#define DNSEL_METRICS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "dnsel/status.h"

#ifdef __cplusplus
extern "C" {
#endif

/* order [n] = 0 .. n-1 by descending score; equal scores stay in index order (stable), as the
 * published evaluators have it: give items sorted by id. NaN ranks last. */
DNS_API DNS_MUST_CHECK dns_status dns_rank(size_t *order, const double *scores, size_t n);

/* AP = (1 / n_relevant) * sum over hits of (hits so far / rank). n_relevant counts also items that
 * are not in the list; 0 when it is 0. */
DNS_API double dns_average_precision(const bool *hits, size_t n, size_t n_relevant);

/* EVVE's: the n-th hit (from 0) at rank r (from 0) adds the mean of n/r (1 at r = 0) and
 * (n+1)/(r+1). */
DNS_API double dns_average_precision_trapezoid(const bool *hits, size_t n, size_t n_relevant);

/* sklearn's: sum over distinct thresholds of (R_n - R_{n-1}) P_n; equal scores count together.
 * `labels` and `scores` are in any order; `n_relevant` may exceed the number of true labels. Also
 * micro-AP, over the pooled pairs of all queries. */
DNS_API DNS_MUST_CHECK dns_status dns_average_precision_grouped(double *out, const bool *labels,
                                                                const double *scores, size_t n,
                                                                size_t n_relevant);

enum { DNS_PR_POINTS = 21 };

/* precision[i] = the largest precision at any recall >= i / 20. */
DNS_API void dns_precision_recall(double precision[DNS_PR_POINTS], const bool *hits, size_t n,
                                  size_t n_relevant);

/* Recall at `k`: share of relevant items within the first k. */
DNS_API double dns_recall_at(const bool *hits, size_t n, size_t n_relevant, size_t k);

/* A mean with its 95 % interval from a bootstrap over the n values (queries, never pairs),
 * `n_rounds` resamples. */
typedef struct dns_interval {
    double mean, low, high;
} dns_interval;

DNS_API DNS_MUST_CHECK dns_status dns_bootstrap_mean(dns_interval *out, const double *values,
                                                     size_t n, size_t n_rounds, uint64_t seed);

/* A mean with its 95 % interval by Student's t over n independent values (seeds); the limits are
 * NaN for fewer than two. */
DNS_API dns_interval dns_student_mean(const double *values, size_t n);

#ifdef __cplusplus
}
#endif

#endif
