/* The fine comparisons of one query: in the order of the disk, leaving what cannot be listed. */
#ifndef DNS_RERANK_H
#define DNS_RERANK_H

#include "searcher.h"

struct dns_rerank {
    /* Given; arrays are [n_rows] unless said, rows being videos. */
    dns_searcher *searcher;
    const dns_snapshot *snapshot;
    const dns_query *query;
    const dns_record *record; /* the query's, of the kind that is compared */
    const dns_search_options *options;
    size_t n_rows;
    const uint64_t *ids;
    const float *expected;
    const uint32_t *routed; /* [n_routed] rows, the most promising first */
    size_t n_routed;
    double deadline; /* in dns_seconds; INFINITY: none */
    /* Found: fine [n_rows] is NaN where nothing was compared and -INFINITY where a comparison was
     * left, because the video cannot come into the list. */
    float *fine;
    size_t n_planned, n_pairs, n_left, n_missing;
};

/*
 * A comparison may be left when it is certain that `options->k` videos are better or its score is
 * below `options->min_score`: the list is the same as without. What counts as better are scores
 * that no later comparison changes. They are looked at between rounds of comparisons, so that what
 * is left does not depend on the number of threads. Under a deadline nothing is left.
 */
DNS_MUST_CHECK dns_status dns_rerank_run(struct dns_rerank *rerank);

#endif
