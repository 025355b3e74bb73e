/* From scores to the sorted list that is given out. */
#ifndef DNS_SEARCH_ANSWER_H
#define DNS_SEARCH_ANSWER_H

#include "dnsel/search.h"

/* All videos with their scores; arrays [n]. */
struct dns_scored {
    size_t n;
    const uint64_t *ids;
    const float *coarse, *expected;
    bool calibrated;          /* expected is on the scale of fine / 2 + 1/2 */
    const float *confidence;  /* NULL without a selector */
    const float *probability; /* NULL unless the router is PAIR */
    const float *fine;        /* NaN: not compared */
};

DNS_MUST_CHECK dns_status dns_answer_fill(dns_answer *answer, const struct dns_scored *scored,
                                          const dns_snapshot *snapshot, const dns_query *query,
                                          const dns_search_options *options);

#endif
