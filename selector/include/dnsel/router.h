/*
 * Routers: which k of the n targets of one query are worth a fine score. All work on plain arrays
 * and know nothing of videos. For one budget over many queries, pass the pairs of all queries as
 * one array.
 */
#ifndef DNSEL_ROUTER_H
#define DNSEL_ROUTER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "dnsel/status.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef enum dns_router {
    DNS_ROUTER_RANDOM,   /* the lower reference */
    DNS_ROUTER_COARSE,   /* largest coarse score: the baseline that any other must beat */
    DNS_ROUTER_SELECTOR, /* largest confidence that the coarse score is wrong: published DnS (spec
                            8) */
    DNS_ROUTER_HYBRID,   /* largest confidence among the best `hybrid_share` by coarse score */
    DNS_ROUTER_EXPECTED, /* largest expected fine score + optimism * its deviation (upper confidence
                            bound) */
    DNS_ROUTER_PAIR      /* largest probability of being near-duplicates, from coarse data alone: a
                            classifier of pairs (docs/query.md) */
} dns_router;

typedef struct dns_router_options {
    dns_router router;
    double hybrid_share; /* in [0, 1] */
    double optimism;     /* 0: the expectation itself */
    uint64_t seed;       /* of DNS_ROUTER_RANDOM */
} dns_router_options;

#define DNS_ROUTER_OPTIONS_INIT                          \
    {                                                    \
        .router = DNS_ROUTER_COARSE, .hybrid_share = 0.4 \
    }

/* What is known of the n pairs, each array [n]; those that a router does not read may be NULL. */
typedef struct dns_router_input {
    size_t n;
    const float *coarse;      /* coarse, hybrid */
    const float *confidence;  /* selector, hybrid: dns_selector_confidence */
    const float *expected;    /* expected: dns_calibration_map */
    const float *deviation;   /* expected, when optimism is not 0 */
    const float *probability; /* pair */
} dns_router_input;

/* chosen[0..k-1] = the k targets to be scored, the most promising first; equal ones in order of
 * position. A hybrid whose share holds fewer than k targets looks at the best k by coarse score.
 * Errors: DNS_ERR_ARG (k above n, an array that the router needs is NULL, a share outside [0, 1],
 * an optimism that is not finite), DNS_ERR_RANGE (a NaN), DNS_ERR_LIMIT (n above 2^32 - 1),
 * DNS_ERR_NOMEM. */
DNS_API DNS_MUST_CHECK dns_status dns_router_choose(uint32_t *chosen, size_t k,
                                                    const dns_router_input *input,
                                                    const dns_router_options *options);

/* "random", "coarse", "selector", "hybrid", "expected", "pair"; NULL for another value. And back:
 * false when unknown. */
DNS_API const char *dns_router_name(dns_router router);
DNS_API bool dns_router_parse(dns_router *router, const char *text);

#ifdef __cplusplus
}
#endif

#endif
