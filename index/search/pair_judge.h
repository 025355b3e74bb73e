/* How likely the query and each video are near-duplicates, from coarse data alone: the classifier
 * of pairs of a model (dnsel/pair_features.h), for the router PAIR. */
#ifndef DNS_PAIR_JUDGE_H
#define DNS_PAIR_JUDGE_H

#include "dnsel/model.h"
#include "dnsel/search.h"

typedef struct dns_pair_judge dns_pair_judge;

/* *out = NULL, without an error, when the model has no classifier of pairs, or one that was learnt
 * from vectors of another model. */
DNS_MUST_CHECK dns_status dns_pair_judge_from_model(dns_pair_judge **out, const dns_model *model);
void dns_pair_judge_free(dns_pair_judge *judge);

/* probability [n] of the videos `ids`, all of which have a coarse vector. What is read of the
 * videos is kept while the index does not change. Errors: DNS_ERR_ARG (a query without a coarse
 * vector), DNS_ERR_SHAPE (its size), DNS_ERR_CORRUPT, DNS_ERR_NOMEM. */
DNS_MUST_CHECK dns_status dns_pair_judge_run(float *probability, dns_pair_judge *judge,
                                             const dns_snapshot *snapshot, const dns_query *query,
                                             const uint64_t *ids, size_t n, dns_pool *pool);

#endif
