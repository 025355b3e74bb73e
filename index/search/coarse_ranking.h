/* Coarse ranking: the score of every video, or of the best alone. */
#ifndef DNS_COARSE_RANKING_H
#define DNS_COARSE_RANKING_H

#include "searcher.h"

struct dns_coarse_wanted {
    const float *vector; /* [dim] of the query */
    size_t dim;
    size_t n_best;     /* videos; 0: all are needed */
    uint64_t first_id; /* videos with a smaller id are left out */
    dns_coarse_scan scan;
};

/* Zero it first; free it also after a failure. */
struct dns_coarse_ranking {
    size_t n_videos; /* that were ranked */
    size_t n;        /* that have a score: all, or at least min(n_best, n_videos) */
    uint64_t *ids;   /* [n]; of the best alone ascending */
    float *scores;   /* [n] exact inner products */
    dns_coarse_scan scan;
    char note[DNS_SCAN_NOTE];
    double open_seconds; /* of opening what was scanned */
};

DNS_MUST_CHECK dns_status dns_coarse_rank(struct dns_coarse_ranking *out, dns_searcher *s,
                                          const dns_snapshot *snapshot,
                                          const struct dns_coarse_wanted *wanted);
void dns_coarse_ranking_free(struct dns_coarse_ranking *ranking);

#endif
