/* Ground truth of a retrieval test: which videos of an index are relevant to which query. */
#ifndef DNS_EVAL_TRUTH_H
#define DNS_EVAL_TRUTH_H

#include "inputs.h"

typedef struct dns_truth_query {
    const char *name;          /* file name, as in the table; borrowed from the truth */
    const char *edit;          /* class; "" */
    bool *relevant, *excluded; /* [ids->n], in the order of ids */
    size_t n_relevant;         /* also those that are not in the index */
} dns_truth_query;

typedef struct dns_truth dns_truth;

/* Reads a CSV with the columns `query` and `original`, and optionally `group` or `scene_group` (all
 * originals of a group are relevant to each of its queries), `edit`, and `exclude` (1: the row is
 * left out; otherwise names of videos, separated by
 * ';', that take no rank for this query). Originals are file names with or without extension, or
 * ids. DNS_ERR_FORMAT. */
DNS_MUST_CHECK dns_status dns_truth_read(dns_truth **out, const char *path, dns_store *store);
void dns_truth_free(dns_truth *truth);

const dns_index_ids *dns_truth_ids(const dns_truth *truth);
size_t dns_truth_count(const dns_truth *truth);
const dns_truth_query *dns_truth_at(const dns_truth *truth, size_t index);
/* Originals that the index does not hold. */
size_t dns_truth_missing(const dns_truth *truth);

#endif
