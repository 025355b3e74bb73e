/* Connected sets of near-duplicates, and which of each to keep. */
#ifndef DNS_DUPLICATE_GROUPS_H
#define DNS_DUPLICATE_GROUPS_H

#include "dnsel/store.h"

/* Two videos that are near-duplicates. */
typedef struct dns_pair {
    uint64_t a, b;
    float score;
} dns_pair;

typedef struct dns_pair_list {
    dns_pair *items;
    size_t n, capacity;
} dns_pair_list;

DNS_MUST_CHECK dns_status dns_pair_list_add(dns_pair_list *list, uint64_t a, uint64_t b,
                                            float score);

typedef enum dns_groups_format {
    DNS_GROUPS_TEXT,
    DNS_GROUPS_NDJSON,
    DNS_GROUPS_CSV,
    DNS_GROUPS_SURPLUS, /* only the paths of copies of what is kept, one a line: not of what others
                           connect with it */
    DNS_GROUPS_SURPLUS_NULL /* ending with a NUL byte */
} dns_groups_format;

/*
 * Writes to standard output the sets of videos that pairs connect, directly or through others,
 * those first that hold the most bytes in copies of the one to keep. Suggested is the video whose
 * decoding met no errors, then the longest in whole seconds, then the one of most pixels, then of
 * most bytes, then the first by name. The others follow by their score with it, or, where that pair
 * was not found, by their best score in the set. Videos that were removed since are left out. *n =
 * groups.
 */
DNS_MUST_CHECK dns_status dns_groups_print(size_t *n, const dns_pair_list *pairs, dns_store *store,
                                           dns_groups_format format);

#endif
