/* --all: every video of an index against the rest. */
#ifndef DNS_ALL_PAIRS_H
#define DNS_ALL_PAIRS_H

#include "dnsel/search.h"
#include "duplicate_groups.h"
#include "program.h"

typedef struct dns_all_pairs {
    const dns_invocation *invocation;
    dns_store *store;
    dns_searcher *searcher;
    dns_search_options options; /* budget, router, time, cancel; of each query */
    double min_score;           /* pairs below it are left out */
    bool ndjson;
    bool groups; /* write connected sets at the end, not each video's as it is found */
    dns_groups_format groups_format;
    const char *resume;                 /* file of what is done; NULL: none */
    size_t n_pairs, n_groups, n_failed; /* out */
} dns_all_pairs;

/* Writes the duplicates of each video among those of higher id as they are found, so that each pair
 * comes once; or with `groups` sets of them when all are compared. Damaged videos cost a line each.
 * DNS_ERR_CANCELLED when interrupted: with `resume` another run goes on, and of groups knows the
 * pairs that were found before. */
DNS_MUST_CHECK dns_status dns_all_pairs_run(dns_all_pairs *all);

#endif
