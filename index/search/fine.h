/*
 * The fine comparison of one query with many stored videos, whatever they are compared by.
 */
#ifndef DNS_SEARCH_FINE_H
#define DNS_SEARCH_FINE_H

#include "dnsel/search.h"

/* Networks of the model; immutable but for the sessions, one a worker. */
typedef struct dns_fine_ranker dns_fine_ranker;

DNS_MUST_CHECK dns_status dns_fine_ranker_create(dns_fine_ranker **out, const dns_model *model,
                                                 dns_fine fine, size_t n_workers);
void dns_fine_ranker_free(dns_fine_ranker *ranker);

/* The kind of record that it reads. */
dns_kind dns_fine_kind(dns_fine fine);

/* The query of the comparisons that follow; the record must stay. */
DNS_MUST_CHECK dns_status dns_fine_set_query(dns_fine_ranker *ranker, const dns_record *query);

/* *score in [-1, 1] of the query with a stored record, by one worker. */
DNS_MUST_CHECK dns_status dns_fine_compare(dns_fine_ranker *ranker, size_t worker, float *score,
                                           const dns_record *target);

#endif
