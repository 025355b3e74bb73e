/*
 * The k best of many scores, in the order of dnsel/scan.h. A heap whose root is the worst that is
 * kept: almost every score is turned away by one comparison with it. Private.
 */
#ifndef DNS_TOPK_H
#define DNS_TOPK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "dnsel/status.h"

struct topk_entry {
    float score;
    uint32_t row;
};

struct topk {
    struct topk_entry *entries; /* [k], borrowed */
    size_t n, k;
    const uint64_t *ids; /* of rows; NULL: the row's number */
};

/* Offers scores [n] of rows first_row, first_row + 1, ... DNS_ERR_RANGE for a NaN or an infinite
 * score that would be kept. */
dns_status dns_topk_offer(struct topk *top, const float *scores, size_t n, size_t first_row);

/* Takes over what `other` kept. */
void dns_topk_merge(struct topk *top, const struct topk *other);

/* Sorts the entries, best first; nothing may be offered afterwards. */
void dns_topk_sort(struct topk *top);

#endif
