/*
 * The k best of many scores, in the order of dnsel/scan.h. A buffer of 2 k and more: whenever it is
 * full it is cut to its k best, and from then on almost every score is turned away by one
 * comparison with the worst of those. Private.
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
    struct topk_entry *entries; /* [capacity], borrowed */
    size_t n, k, capacity;
    const uint64_t *ids;     /* of rows; NULL: the row's number */
    bool bounded;            /* it was cut: */
    struct topk_entry bound; /* the worst that was kept then */
};

/* Entries that a buffer for the k best of n_rows needs; k is at most n_rows. */
size_t dns_topk_capacity(size_t k, size_t n_rows);

/* Offers scores [n] of rows first_row, first_row + 1, ... DNS_ERR_RANGE for a NaN or an infinite
 * score that would be kept. */
dns_status dns_topk_offer(struct topk *top, const float *scores, size_t n, size_t first_row);

/* Takes over what `other` kept. */
void dns_topk_merge(struct topk *top, const struct topk *other);

/* Leaves the k best, best first; nothing may be offered afterwards. */
void dns_topk_finish(struct topk *top);

/* As if nothing had been offered. */
void dns_topk_clear(struct topk *top);

#endif
