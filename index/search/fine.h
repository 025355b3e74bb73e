/*
 * The fine comparison of one query with many stored videos, whatever they are compared by.
 */
#ifndef DNS_SEARCH_FINE_H
#define DNS_SEARCH_FINE_H

#include "dnsel/mapcnn.h"
#include "dnsel/search.h"

/* Networks of the model; immutable but for the sessions, one a worker. */
typedef struct dns_fine_ranker dns_fine_ranker;

DNS_MUST_CHECK dns_status dns_fine_ranker_create(dns_fine_ranker **out, const dns_model *model,
                                                 dns_fine fine, dns_mapcnn_form comparator,
                                                 size_t n_workers);
void dns_fine_ranker_free(dns_fine_ranker *ranker);

/* The kind of record that it reads. */
dns_kind dns_fine_kind(dns_fine fine);

/* The comparator that the model's section names: "comparator": "f32" (when nothing is named) or
 * "int8". DNS_ERR_FORMAT for another word. */
DNS_MUST_CHECK dns_status dns_fine_model_comparator(dns_mapcnn_form *out, const dns_model *model,
                                                    dns_fine fine);

/* The query of the comparisons that follow, prepared once for all workers; the record must stay. */
DNS_MUST_CHECK dns_status dns_fine_set_query(dns_fine_ranker *ranker, const dns_record *query);

/* *score in [-1, 1] of the query with a stored record, by one worker; -INFINITY may come instead of
 * one below `floor`. */
DNS_MUST_CHECK dns_status dns_fine_compare(dns_fine_ranker *ranker, size_t worker, float *score,
                                           float floor, const dns_record *target);

#endif
