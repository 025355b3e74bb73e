/*
 * Packed sequences: the frames of all videos stand in one array of rows without padding, video v in
 * rows offsets[v] .. offsets[v+1] - 1. Masked frames of a padded batch are simply left out: the
 * coarse network does not know their order.
 */
#ifndef DNSEL_SEQUENCES_H
#define DNSEL_SEQUENCES_H

#include <stddef.h>

typedef struct dns_sequences {
    size_t n;              /* videos */
    const size_t *offsets; /* [n + 1], not decreasing, from 0 */
} dns_sequences;

static inline size_t dns_sequences_rows(dns_sequences s)
{
    return s.offsets[s.n];
}

static inline size_t dns_sequences_length(dns_sequences s, size_t v)
{
    return s.offsets[v + 1] - s.offsets[v];
}

static inline size_t dns_sequences_longest(dns_sequences s)
{
    size_t longest = 0;
    for (size_t v = 0; v < s.n; v++)
        longest = dns_sequences_length(s, v) > longest ? dns_sequences_length(s, v) : longest;
    return longest;
}

#endif
