/*
 * What routing is worth: figures of every router at every budget, on plain arrays
 * (docs/evaluation.md). Each query was compared with every video once, coarsely and
 * finely; a router at a budget is then a choice among those scores.
 */
#ifndef DNSEL_RETRIEVAL_H
#define DNSEL_RETRIEVAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "dnsel/metrics.h"
#include "dnsel/status.h"

#ifdef __cplusplus
extern "C" {
#endif

/* One query against n videos; arrays [n], borrowed. */
typedef struct dns_retrieval_query {
    size_t n;
    const float *coarse; /* cosine */
    const float
        *expected; /* what the coarse score lets one expect, on the scale of fine / 2 + 1/2 */
    const float *confidence; /* selector; NULL without one */
    const float
        *probability;  /* of a near-duplicate, from a classifier of pairs; NULL without one */
    const float *fine; /* in [-1, 1] */
    const bool *relevant;
    const bool *excluded; /* takes no rank; NULL: none */
    size_t n_relevant;    /* also counts relevant videos that are not among the n */
    const char *edit;     /* class of the query; "" */
} dns_retrieval_query;

/* The orders in which pairs may be given a fine score: the routers of dnsel/router.h, and three
 * that know the answer. */
typedef enum dns_ranker {
    DNS_RANKER_RANDOM,
    DNS_RANKER_COARSE,
    DNS_RANKER_SELECTOR,
    DNS_RANKER_HYBRID,
    DNS_RANKER_EXPECTED,
    DNS_RANKER_PAIR,
    DNS_RANKER_ORACLE_FINE,       /* largest fine score: the ceiling of routers without labels */
    DNS_RANKER_ORACLE_DIFFERENCE, /* largest |fine / 2 + 1/2 - expected|: what the selector is
                                     trained for */
    DNS_RANKER_ORACLE_GAIN,       /* relevant ones that gain, others that fall; uncalibrated, where
                                     all that is chosen rises: relevant ones */
    DNS_RANKER_COUNT
} dns_ranker;

DNS_API const char *dns_ranker_name(dns_ranker ranker);

/* Shares of the videos that are compared finely. */
enum { DNS_BUDGETS = 9 };
extern DNS_API const double
    dns_budgets[DNS_BUDGETS]; /* 0, 0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 1 */

typedef struct dns_retrieval_options {
    bool calibrated; /* expected and fine scores share a scale; otherwise what was compared finely
                        is ranked first */
    double hybrid_share;
    size_t bootstrap_rounds;
    uint64_t seed;
} dns_retrieval_options;

#define DNS_RETRIEVAL_OPTIONS_INIT                                                    \
    {                                                                                 \
        .calibrated = false, .hybrid_share = 0.4, .bootstrap_rounds = 2000, .seed = 1 \
    }

/* Figures over queries, for one ranker, budget and class of edits. */
typedef struct dns_retrieval_figures {
    size_t n_queries;
    dns_interval map;  /* mean average precision */
    dns_interval loss; /* paired: mAP at budget 1 less this one */
    double recall_1;   /* share of queries whose first is relevant */
    double recall_10;  /* mean share of relevant videos within the first ten */
    double micro_ap;   /* over the pooled pairs */
    double curve[DNS_PR_POINTS];
} dns_retrieval_figures;

typedef struct dns_retrieval dns_retrieval;

/* Computes everything. Errors: DNS_ERR_ARG without queries or relevant videos; DNS_ERR_RANGE for a
 * NaN. Rankers that need a confidence or a probability are left out when a query has none.
 */
DNS_API DNS_MUST_CHECK dns_status dns_retrieval_run(dns_retrieval **out,
                                                    const dns_retrieval_query *queries,
                                                    size_t n_queries,
                                                    const dns_retrieval_options *options);
DNS_API void dns_retrieval_free(dns_retrieval *retrieval);

/* Classes of edits, sorted; number 0 is all queries together ("all"). */
DNS_API size_t dns_retrieval_n_edits(const dns_retrieval *retrieval);
DNS_API const char *dns_retrieval_edit(const dns_retrieval *retrieval, size_t edit);
/* NULL when the ranker was left out. */
DNS_API const dns_retrieval_figures *
dns_retrieval_get(const dns_retrieval *retrieval, dns_ranker ranker, size_t budget, size_t edit);

/* Average precision of every query, in their order; NULL when the ranker was left out. */
DNS_API const double *dns_retrieval_precisions(const dns_retrieval *retrieval, dns_ranker ranker,
                                               size_t budget);

/* Area under mAP(share) from 0 to 0.3, divided by 0.3; of all queries. */
DNS_API double dns_retrieval_area(const dns_retrieval *retrieval, dns_ranker ranker);

#ifdef __cplusplus
}
#endif

#endif
