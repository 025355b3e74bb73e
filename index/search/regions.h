/* Region features compared without a network: similarity of frames, then of videos. */
#ifndef DNS_SEARCH_REGIONS_H
#define DNS_SEARCH_REGIONS_H

#include "dnsel/similarity_rule.h"
#include "dnsel/record.h"

/* A prepared query; immutable, shared by all workers. */
typedef struct dns_region_query dns_region_query;

/* Scratch of one worker; start with {0}. */
struct dns_region_scratch {
    float *stored, *map; /* similarities of stored frames; of all where some were merged */
    float *floats, *scales;
    int8_t *bytes;
    void *kernels;
    size_t stored_capacity, map_capacity, floats_capacity, scales_capacity, bytes_capacity,
        kernels_capacity;
};

void dns_region_scratch_free(struct dns_region_scratch *scratch);

/* Borrows the record's runs. DNS_ERR_UNSUPPORTED for a record of codes; DNS_ERR_RANGE when it is
 * not finite. */
DNS_MUST_CHECK dns_status dns_region_query_create(dns_region_query **out, dns_similarity_rule rule,
                                                  const dns_record *query);
void dns_region_query_free(dns_region_query *query);

/* *score = that of the query and a stored record, compared in floats; -INFINITY may come instead of
 * one below `floor`. */
DNS_MUST_CHECK dns_status dns_region_compare(const dns_region_query *query,
                                             struct dns_region_scratch *scratch, float *score,
                                             float floor, const dns_record *target);

#endif
