/*
 * LMDB's file format (data version 1, 64-bit, little-endian), read with every offset checked: LMDB
 * itself follows what its pages say, and a flipped bit in one can make it crash. Only reading; LMDB
 * does all the writing.
 *
 * Two meta pages hold the roots of two trees: free pages and the main tree, whose values are the
 * descriptions of the named trees. A page is a branch (keys and children), a leaf (keys and values)
 * or the first of a run of overflow pages that hold one value too large for a leaf.
 */
#ifndef DNS_STORE_PAGES_H
#define DNS_STORE_PAGES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "dnsel/status.h"

/* The file in memory. Nothing at or past n_pages is ever touched. */
typedef struct dns_pages {
    const uint8_t *base;
    uint64_t n_pages;
    size_t page_size;
    const char *path; /* for messages */
} dns_pages;

typedef struct dns_tree {
    char name[24];
    uint64_t root; /* DNS_PAGE_NONE: empty */
    uint64_t n_entries, n_branches, n_leaves, n_overflow;
    unsigned depth;
    bool integer_keys; /* native 8-byte integers instead of bytes */
} dns_tree;

#define DNS_PAGE_NONE UINT64_MAX

typedef struct dns_root {
    uint64_t transaction, last_page, map_size;
    dns_tree spare, main; /* free pages; the named trees */
} dns_root;

enum { DNS_PAGES_DEPTH = 24, DNS_PAGES_META_BYTES = 16 + 136 };

/* The page size that the first bytes of a file (at least DNS_PAGES_META_BYTES) tell.
 * DNS_ERR_FORMAT, DNS_ERR_VERSION, DNS_ERR_CORRUPT. */
DNS_MUST_CHECK dns_status dns_pages_measure(size_t *page_size, const uint8_t *bytes, size_t size,
                                            const char *path);

/* What meta page 0 or 1 says. DNS_ERR_CORRUPT. */
DNS_MUST_CHECK dns_status dns_pages_root(dns_root *out, const dns_pages *pages, unsigned which);

/* A key and its value, in place. */
typedef struct dns_entry {
    const uint8_t *key, *value;
    size_t key_size, value_size;
    bool is_tree;  /* the value describes a named tree */
    uint64_t page; /* the leaf */
    uint64_t
        overflow; /* first page of the value's own run; DNS_PAGE_NONE when it lies in the leaf */
    uint64_t n_overflow;
} dns_entry;

/* A position in a tree. */
typedef struct dns_walk {
    const dns_pages *pages;
    const dns_tree *tree;
    unsigned depth; /* 0: at the end */
    struct {
        uint64_t page;
        unsigned at, n;
    } stack[DNS_PAGES_DEPTH];
    const uint8_t *last_key; /* of the entry given last; order is checked against it */
    size_t last_size;
    bool shallow; /* do not look at overflow pages: their entries have value NULL */
    bool (*seen)(void *payload, uint64_t page,
                 uint64_t n); /* called once a page or run; false stops: used twice */
    void *payload;
} dns_walk;

/* At the first entry whose key is `key` or more; NULL: at the first of all. `pages` and `tree` are
 * borrowed. */
DNS_MUST_CHECK dns_status dns_walk_start(dns_walk *walk, const dns_pages *pages,
                                         const dns_tree *tree, const uint8_t *key, size_t key_size);

/* Gives the entry and goes on. DNS_EOF at the end. DNS_ERR_CORRUPT: what lies here cannot be read;
 * the next call goes on after it. Every page is checked as a whole when it is entered. */
DNS_MUST_CHECK dns_status dns_walk_next(dns_entry *out, dns_walk *walk);

/* The entry with this key. DNS_ERR_NOTFOUND only when the order of the keys around it proves that
 * it is not there; then around[0] and around[1] are the entries before and after its place (key
 * NULL: none). A key that was damaged without leaving its place can still hide an entry: whoever
 * knows the values can tell by these two. */
DNS_MUST_CHECK dns_status dns_tree_get(dns_entry *out, dns_entry around[2], const dns_pages *pages,
                                       const dns_tree *tree, const uint8_t *key, size_t key_size);

/* The same without a look at overflow pages: the value of an entry that has some is NULL. */
DNS_MUST_CHECK dns_status dns_tree_locate(dns_entry *out, dns_entry around[2],
                                          const dns_pages *pages, const dns_tree *tree,
                                          const uint8_t *key, size_t key_size);

/* The named tree `name` of the main tree. DNS_ERR_NOTFOUND. */
DNS_MUST_CHECK dns_status dns_tree_open(dns_tree *out, const dns_pages *pages, const dns_root *root,
                                        const char *name);

/* Checks all trees: every page reached once and by one tree only, none of them in the list of free
 * pages, keys in order, counters right. `shallow` leaves the overflow pages themselves out (they
 * are most of a file). `problem` (may be NULL) is called with the name of the tree and one line for
 * each finding; the number of findings is returned in *n_problems. */
DNS_MUST_CHECK dns_status
dns_pages_verify(size_t *n_problems, uint64_t *n_free, const dns_pages *pages, const dns_root *root,
                 bool shallow, void (*problem)(void *payload, const char *tree, const char *text),
                 void *payload);

#endif
