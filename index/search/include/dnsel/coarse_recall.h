/*
 * What each way of finding the best by coarse vectors (dnsel/search.h) finds of what the exact scan
 * finds, and what it takes, on an index as it is.
 */
#ifndef DNSEL_COARSE_RECALL_H
#define DNSEL_COARSE_RECALL_H

#include "dnsel/search.h"

#ifdef __cplusplus
extern "C" {
#endif

enum { DNS_COARSE_NEAREST = 10 };

typedef struct dns_coarse_recall {
    dns_coarse_scan scan; /* that was measured; AUTO for one that cannot be used here */
    double recall;        /* of the DNS_COARSE_NEAREST nearest, those that it finds */
    double seconds;       /* median of a query, exact scores of the candidates included */
    double open_seconds;  /* once, at the first query */
} dns_coarse_recall;

/* out[scan] for every dns_coarse_scan, out[DNS_SCAN_AUTO] being what AUTO chooses. Queries are
 * `queries` [n_queries, dim], or with NULL n_queries vectors of the index, each of which is left
 * out of its own answer. DNS_ERR_ARG for none, and where the index is empty. */
DNS_API DNS_MUST_CHECK dns_status dns_coarse_recall_measure(dns_coarse_recall out[DNS_SCAN_COUNT],
                                                            const dns_snapshot *snapshot,
                                                            const float *queries, size_t n_queries,
                                                            dns_pool *pool, dns_cancel *cancel);

#ifdef __cplusplus
}
#endif

#endif
