#include "pages.h"

#include <string.h>

#include "dnsel/memory.h"

enum { PAGE_HEADER = 16, NODE_HEADER = 8, TREE_BYTES = 48, MIN_PAGE = 512, MAX_PAGE = 65536 };
enum { PAGE_BRANCH = 1, PAGE_LEAF = 2, PAGE_OVERFLOW = 4, PAGE_META = 8 };
enum { NODE_OVERFLOW = 1, NODE_TREE = 2 };
enum { TREE_INTEGER_KEYS = 8 };

#define LMDB_MAGIC 0xBEEFC0DEu
#define LMDB_VERSION 1u
#define LIMIT_PAGES ((uint64_t)1 << 36)

static uint16_t u16(const uint8_t *at)
{
    uint16_t value;
    memcpy(&value, at, sizeof value);
    return value;
}

static uint32_t u32(const uint8_t *at)
{
    uint32_t value;
    memcpy(&value, at, sizeof value);
    return value;
}

static uint64_t u64(const uint8_t *at)
{
    uint64_t value;
    memcpy(&value, at, sizeof value);
    return value;
}

static dns_status damaged(const dns_pages *pages, uint64_t page, const char *reason)
{
    return dns_status_set(DNS_ERR_CORRUPT, "%s: page %llu: %s", pages->path,
                          (unsigned long long)page, reason);
}

/* ---- meta pages ---- */

dns_status dns_pages_measure(size_t *page_size, const uint8_t *bytes, size_t size, const char *path)
{
    if (size < DNS_PAGES_META_BYTES)
        return dns_status_set(DNS_ERR_CORRUPT, "%s: cut short", path);
    const uint8_t *meta = bytes + PAGE_HEADER;
    if (u32(meta) != LMDB_MAGIC)
        return dns_status_set(DNS_ERR_CORRUPT,
                              "%s: its first page is damaged, or it is no LMDB file", path);
    if (u32(meta + 4) != LMDB_VERSION)
        return dns_status_set(DNS_ERR_VERSION, "%s: LMDB data version %u, this program reads %u",
                              path, u32(meta + 4), LMDB_VERSION);
    size_t n = u32(meta + 24);
    if (n < MIN_PAGE || n > MAX_PAGE || (n & (n - 1)) != 0)
        return dns_status_set(DNS_ERR_CORRUPT, "%s: pages of %zu bytes", path, n);
    *page_size = n;
    return DNS_OK;
}

static void read_tree(dns_tree *tree, const uint8_t *at, const char *name)
{
    *tree = (dns_tree){
        .integer_keys = (u16(at + 4) & TREE_INTEGER_KEYS) != 0,
        .depth = u16(at + 6),
        .n_branches = u64(at + 8),
        .n_leaves = u64(at + 16),
        .n_overflow = u64(at + 24),
        .n_entries = u64(at + 32),
        .root = u64(at + 40),
    };
    strncpy(tree->name, name, sizeof tree->name - 1);
}

dns_status dns_pages_root(dns_root *out, const dns_pages *pages, unsigned which)
{
    size_t page_size = 0;
    if (pages->n_pages <= which)
        return damaged(pages, which, "cut off");
    const uint8_t *page = pages->base + which * pages->page_size, *meta = page + PAGE_HEADER;
    dns_status status = dns_pages_measure(&page_size, page, pages->page_size, pages->path);
    if (status != DNS_OK)
        return status;
    if (page_size != pages->page_size || u64(page) != which || u16(page + 10) != PAGE_META)
        return damaged(pages, which, "a damaged meta page");
    read_tree(&out->spare, meta + 24, "free");
    read_tree(&out->main, meta + 72, "main");
    out->map_size = u64(meta + 16);
    out->last_page = u64(meta + 120);
    out->transaction = u64(meta + 128);
    /* Of the flags of the trees, these files have one only. */
    if ((u16(meta + 28) & 0xff) != TREE_INTEGER_KEYS || u16(meta + 76) != 0 || out->last_page < 1 ||
        out->last_page > LIMIT_PAGES)
        return damaged(pages, which, "a damaged meta page");
    return DNS_OK;
}

/* ---- pages and nodes ---- */

/* The start of page `n` as a branch or leaf with its number of nodes. */
static dns_status enter(const uint8_t **out, unsigned *n_nodes, bool *is_leaf,
                        const dns_pages *pages, uint64_t n)
{
    if (n < 2 || n >= pages->n_pages)
        return damaged(pages, n, "a reference to it leads out of the file");
    const uint8_t *page = pages->base + n * pages->page_size;
    unsigned flags = u16(page + 10), lower = u16(page + 12), upper = u16(page + 14);
    if (upper == 0 && pages->page_size == MAX_PAGE)
        upper = MAX_PAGE;
    if (u64(page) != n || (flags != PAGE_BRANCH && flags != PAGE_LEAF) || lower < PAGE_HEADER ||
        lower % 2 != 0 || lower > upper || upper > pages->page_size)
        return damaged(pages, n, "a damaged page header");
    *is_leaf = flags == PAGE_LEAF;
    *n_nodes = (lower - PAGE_HEADER) / 2;
    if (*n_nodes == 0 || (!*is_leaf && *n_nodes < 2))
        return damaged(pages, n, "an empty page in use");
    *out = page;
    return DNS_OK;
}

/* Node `i` with its key inside the page. Leaf values are looked at by read_value. */
static dns_status node_at(const uint8_t **out, const dns_pages *pages, const uint8_t *page,
                          unsigned i)
{
    size_t at = u16(page + PAGE_HEADER + 2 * i);
    if (at < u16(page + 12) || at % 2 != 0 || at + NODE_HEADER > pages->page_size ||
        at + NODE_HEADER + u16(page + at + 6) > pages->page_size)
        return damaged(pages, u64(page), "an entry lies outside");
    *out = page + at;
    return DNS_OK;
}

static uint64_t child_of(const uint8_t *node)
{
    return u16(node) | (uint64_t)u16(node + 2) << 16 | (uint64_t)u16(node + 4) << 32;
}

static int compare(const dns_tree *tree, const uint8_t *a, size_t a_size, const uint8_t *b,
                   size_t b_size)
{
    if (tree->integer_keys && a_size == 8 && b_size == 8)
        return u64(a) < u64(b) ? -1 : u64(a) > u64(b);
    size_t n = a_size < b_size ? a_size : b_size;
    int order = n > 0 ? memcmp(a, b, n) : 0;
    return order != 0 ? order : (a_size > b_size) - (a_size < b_size);
}

/* Key and value without looking at the pages of a value of its own; for such a one `value` is NULL.
 */
static dns_status read_entry(dns_entry *out, const dns_pages *pages, const uint8_t *page,
                             const uint8_t *node)
{
    size_t key_size = u16(node + 6), size = u16(node) | (size_t)u16(node + 2) << 16;
    unsigned flags = u16(node + 4);
    const uint8_t *value = node + NODE_HEADER + key_size, *end = page + pages->page_size;
    *out = (dns_entry){.key = node + NODE_HEADER,
                       .key_size = key_size,
                       .value = value,
                       .value_size = size,
                       .page = u64(page),
                       .overflow = DNS_PAGE_NONE,
                       .is_tree = flags == NODE_TREE};
    if ((flags != 0 && flags != NODE_OVERFLOW && flags != NODE_TREE) ||
        (flags == NODE_OVERFLOW ? 8 : size) > (size_t)(end - value))
        return damaged(pages, u64(page), "an entry lies outside");
    if (flags == NODE_OVERFLOW) {
        uint64_t first = u64(value),
                 n = (PAGE_HEADER + size + pages->page_size - 1) / pages->page_size;
        if (first < 2 || first >= pages->n_pages || n > pages->n_pages - first)
            return damaged(pages, first, "a value reaches out of the file");
        out->value = NULL;
        out->overflow = first;
        out->n_overflow = n;
    }
    return DNS_OK;
}

static dns_status read_value(dns_entry *entry, const dns_pages *pages)
{
    if (entry->overflow == DNS_PAGE_NONE)
        return DNS_OK;
    const uint8_t *run = pages->base + entry->overflow * pages->page_size;
    if (u64(run) != entry->overflow || u16(run + 10) != PAGE_OVERFLOW ||
        u32(run + 12) != entry->n_overflow)
        return damaged(pages, entry->overflow, "a damaged header of a value");
    entry->value = run + PAGE_HEADER;
    return DNS_OK;
}

/* The page as a whole: entries fill it without gap or overlap, keys ascend. */
static dns_status check_page(const dns_pages *pages, const dns_tree *tree, const uint8_t *page,
                             unsigned n, bool is_leaf)
{
    uint64_t taken[MAX_PAGE / 2 / 64]; /* a bit for each two bytes */
    const uint8_t *previous = NULL;
    size_t filled = 0;
    memset(taken, 0, pages->page_size / 16);
    for (unsigned i = 0; i < n; i++) {
        const uint8_t *node;
        dns_status status = node_at(&node, pages, page, i);
        if (status != DNS_OK)
            return status;
        size_t size = NODE_HEADER + u16(node + 6);
        if (is_leaf) {
            bool outside = u16(node + 4) == NODE_OVERFLOW;
            size += outside ? 8 : u16(node) | (size_t)u16(node + 2) << 16;
            if (size > pages->page_size - (size_t)(node - page))
                return damaged(pages, u64(page), "an entry lies outside");
        }
        size = (size + 1) & ~(size_t)1;
        filled += size;
        for (size_t at = (size_t)(node - page) / 2, end = at + size / 2; at < end; at++) {
            if ((taken[at / 64] >> at % 64 & 1) != 0)
                return damaged(pages, u64(page), "entries overlap");
            taken[at / 64] |= (uint64_t)1 << at % 64;
        }
        bool has_key = is_leaf || i > 0; /* the first key of a branch is empty */
        if (has_key && previous != NULL &&
            compare(tree, previous + NODE_HEADER, u16(previous + 6), node + NODE_HEADER,
                    u16(node + 6)) >= 0)
            return damaged(pages, u64(page), "keys out of order");
        if (has_key)
            previous = node;
    }
    size_t upper = u16(page + 14) == 0 ? MAX_PAGE : u16(page + 14);
    if (filled != pages->page_size - upper)
        return damaged(pages, u64(page), "entries do not fill the page");
    return DNS_OK;
}

/* ---- walking ---- */

/* Goes down from `page` to a leaf: to the child where `key` belongs, or to the first one for NULL.
 */
static dns_status descend(dns_walk *walk, uint64_t n, const uint8_t *key, size_t key_size)
{
    for (;;) {
        const uint8_t *page, *node;
        unsigned n_nodes, at = 0;
        bool is_leaf;
        if (walk->depth == DNS_PAGES_DEPTH)
            return damaged(walk->pages, n, "the tree is too deep");
        dns_status status = enter(&page, &n_nodes, &is_leaf, walk->pages, n);
        if (status == DNS_OK && is_leaf != (walk->depth + 1 == walk->tree->depth))
            status = damaged(walk->pages, n, "not the kind of page that is expected here");
        if (status == DNS_OK)
            status = check_page(walk->pages, walk->tree, page, n_nodes, is_leaf);
        if (status == DNS_OK && walk->seen != NULL && !walk->seen(walk->payload, n, 1))
            status = damaged(walk->pages, n, "used twice");
        if (status != DNS_OK)
            return status;
        /* The first node whose key is `key` or more; in a branch, the child before that unless it
         * is equal. */
        unsigned low = is_leaf ? 0 : 1, high = n_nodes;
        while (key != NULL && low < high) {
            unsigned middle = (low + high) / 2;
            status = node_at(&node, walk->pages, page, middle);
            if (status != DNS_OK)
                return status;
            int order = compare(walk->tree, node + NODE_HEADER, u16(node + 6), key, key_size);
            if (order < 0 || (order == 0 && !is_leaf))
                low = middle + 1;
            else
                high = middle;
        }
        if (key != NULL)
            at = is_leaf ? low : low - 1;
        walk->stack[walk->depth].page = n;
        walk->stack[walk->depth].at = at;
        walk->stack[walk->depth].n = n_nodes;
        walk->depth++;
        if (is_leaf)
            return DNS_OK;
        status = node_at(&node, walk->pages, page, at);
        if (status != DNS_OK)
            return status;
        n = child_of(node);
    }
}

dns_status dns_walk_start(dns_walk *walk, const dns_pages *pages, const dns_tree *tree,
                          const uint8_t *key, size_t key_size)
{
    walk->pages = pages;
    walk->tree = tree;
    walk->depth = 0;
    walk->last_key = NULL;
    if (tree->root == DNS_PAGE_NONE)
        return DNS_OK;
    dns_status status = descend(walk, tree->root, key, key_size);
    if (status != DNS_OK && walk->depth > 0)
        walk->stack[walk->depth - 1]
            .at++; /* dns_walk_next leaves out the child that cannot be read */
    return status;
}

/* The keys in the branches above: each child's own key is its smallest or less, its neighbour's is
 * larger. */
static dns_status check_bounds(const dns_walk *walk, const dns_entry *entry)
{
    for (unsigned level = 0; level + 1 < walk->depth; level++) {
        unsigned at = walk->stack[level].at;
        const uint8_t *page = walk->pages->base + walk->stack[level].page * walk->pages->page_size;
        const uint8_t *node;
        for (unsigned i = at > 0 ? at : 1; i <= at + 1 && i < walk->stack[level].n; i++) {
            dns_status status = node_at(&node, walk->pages, page, i);
            if (status != DNS_OK)
                return status;
            int order =
                compare(walk->tree, entry->key, entry->key_size, node + NODE_HEADER, u16(node + 6));
            if (i == at ? order < 0 : order >= 0)
                return damaged(walk->pages, walk->stack[level].page,
                               "a key that does not fit the pages below");
        }
    }
    return DNS_OK;
}

dns_status dns_walk_next(dns_entry *out, dns_walk *walk)
{
    while (walk->depth > 0) {
        unsigned level = walk->depth - 1;
        bool at_leaf = walk->depth == walk->tree->depth;
        const uint8_t *page = walk->pages->base + walk->stack[level].page * walk->pages->page_size,
                      *node;
        if (walk->stack[level].at >= walk->stack[level].n) {
            walk->depth--;
            if (walk->depth > 0)
                walk->stack[walk->depth - 1].at++;
            continue;
        }
        dns_status status = node_at(&node, walk->pages, page, walk->stack[level].at);
        if (!at_leaf) {
            if (status == DNS_OK)
                status = descend(walk, child_of(node), NULL, 0);
            if (status != DNS_OK) {
                walk->stack[walk->depth - 1].at++;
                return status;
            }
            continue;
        }
        walk->stack[level].at++;
        if (status == DNS_OK)
            status = read_entry(out, walk->pages, page, node);
        if (status == DNS_OK && !walk->shallow)
            status = read_value(out, walk->pages);
        if (status != DNS_OK)
            return status;
        if (walk->last_key != NULL &&
            compare(walk->tree, walk->last_key, walk->last_size, out->key, out->key_size) >= 0)
            return damaged(walk->pages, out->page, "keys out of order");
        if (out->overflow != DNS_PAGE_NONE && walk->seen != NULL &&
            !walk->seen(walk->payload, out->overflow, out->n_overflow))
            return damaged(walk->pages, out->overflow, "used twice");
        if (walk->seen != NULL)
            status = check_bounds(walk, out);
        if (status != DNS_OK)
            return status;
        walk->last_key = out->key;
        walk->last_size = out->key_size;
        return DNS_OK;
    }
    return DNS_EOF;
}

/* ---- one entry ---- */

/* As descend, but trusting the order of keys within a page. */
static dns_status find(const uint8_t **page, const uint8_t **node, bool *equal,
                       const dns_pages *pages, const dns_tree *tree, const uint8_t *key,
                       size_t key_size)
{
    uint64_t n = tree->root;
    for (unsigned depth = 1; depth <= tree->depth && depth <= DNS_PAGES_DEPTH; depth++) {
        unsigned n_nodes;
        bool is_leaf;
        dns_status status = enter(page, &n_nodes, &is_leaf, pages, n);
        if (status != DNS_OK)
            return status;
        if (is_leaf != (depth == tree->depth))
            return damaged(pages, n, "not the kind of page that is expected here");
        unsigned low = is_leaf ? 0 : 1, high = n_nodes;
        *equal = false;
        while (low < high) {
            unsigned middle = (low + high) / 2;
            status = node_at(node, pages, *page, middle);
            if (status != DNS_OK)
                return status;
            int order = compare(tree, (*node) + NODE_HEADER, u16((*node) + 6), key, key_size);
            if (order == 0 && is_leaf) {
                *equal = true;
                return DNS_OK;
            }
            if (order <= 0)
                low = middle + 1;
            else
                high = middle;
        }
        if (is_leaf)
            return DNS_OK;
        status = node_at(node, pages, *page, low - 1);
        if (status != DNS_OK)
            return status;
        n = child_of(*node);
    }
    return damaged(pages, tree->root, "the tree is too deep");
}

/* The last entry of the leaf before that of `walk`; *page stays NULL when there is none. */
static dns_status previous_leaf(const uint8_t **page, const uint8_t **node, const dns_walk *walk)
{
    for (unsigned level = walk->depth - 1; level-- > 0;) {
        if (walk->stack[level].at == 0)
            continue;
        const uint8_t *at = walk->pages->base + walk->stack[level].page * walk->pages->page_size;
        dns_status status = node_at(node, walk->pages, at, walk->stack[level].at - 1);
        for (unsigned depth = level + 1; status == DNS_OK && depth < walk->depth; depth++) {
            unsigned n_nodes;
            bool is_leaf;
            status = enter(&at, &n_nodes, &is_leaf, walk->pages, child_of(*node));
            if (status == DNS_OK && is_leaf != (depth + 1 == walk->depth))
                status =
                    damaged(walk->pages, u64(at), "not the kind of page that is expected here");
            if (status == DNS_OK)
                status = node_at(node, walk->pages, at, n_nodes - 1);
        }
        *page = at;
        return status;
    }
    return DNS_OK;
}

/* A damaged key can hide an entry. It is not there only if the entries before and after its place
 * have a smaller and a larger key, and the pages on the way are in order. */
static dns_status prove_missing(dns_entry around[2], const dns_pages *pages, const dns_tree *tree,
                                const uint8_t *key, size_t key_size)
{
    dns_walk walk = {0};
    const uint8_t *page = NULL, *node = NULL;
    dns_status status = dns_walk_start(&walk, pages, tree, key, key_size);
    if (status != DNS_OK)
        return status;
    uint64_t leaf = walk.stack[walk.depth - 1].page;
    unsigned at = walk.stack[walk.depth - 1].at;
    if (at > 0) {
        page = pages->base + leaf * pages->page_size;
        status = node_at(&node, pages, page, at - 1);
    } else {
        status = previous_leaf(&page, &node, &walk);
    }
    if (status == DNS_OK && page != NULL)
        status = read_entry(&around[0], pages, page, node);
    if (status == DNS_OK && page != NULL)
        status = read_value(&around[0], pages);
    if (status == DNS_OK && page != NULL &&
        compare(tree, around[0].key, around[0].key_size, key, key_size) >= 0)
        status = damaged(pages, leaf, "keys out of order");
    if (status != DNS_OK)
        return status;
    status = dns_walk_next(&around[1], &walk);
    if (status == DNS_EOF) {
        around[1] = (dns_entry){0};
        return DNS_OK;
    }
    if (status == DNS_OK && compare(tree, around[1].key, around[1].key_size, key, key_size) <= 0)
        status = damaged(pages, around[1].page, "keys out of order");
    return status;
}

dns_status dns_tree_locate(dns_entry *out, dns_entry around[2], const dns_pages *pages,
                           const dns_tree *tree, const uint8_t *key, size_t key_size)
{
    const uint8_t *page, *node = NULL;
    bool equal = false;
    memset(around, 0, 2 * sizeof *around);
    if (tree->root != DNS_PAGE_NONE) {
        dns_status status = find(&page, &node, &equal, pages, tree, key, key_size);
        if (status == DNS_OK && !equal)
            status = prove_missing(around, pages, tree, key, key_size);
        if (status != DNS_OK)
            return status;
    }
    if (!equal)
        return dns_status_set(DNS_ERR_NOTFOUND, "%s: no such entry in tree '%s'", pages->path,
                              tree->name);
    return read_entry(out, pages, page, node);
}

dns_status dns_tree_get(dns_entry *out, dns_entry around[2], const dns_pages *pages,
                        const dns_tree *tree, const uint8_t *key, size_t key_size)
{
    dns_status status = dns_tree_locate(out, around, pages, tree, key, key_size);
    return status == DNS_OK ? read_value(out, pages) : status;
}

dns_status dns_tree_open(dns_tree *out, const dns_pages *pages, const dns_root *root,
                         const char *name)
{
    dns_entry entry, around[2];
    dns_status status =
        dns_tree_get(&entry, around, pages, &root->main, (const uint8_t *)name, strlen(name));
    if (status != DNS_OK)
        return status;
    if (!entry.is_tree || entry.value_size != TREE_BYTES)
        return damaged(pages, entry.page, "a damaged description of a tree");
    read_tree(out, entry.value, name);
    if (u16(entry.value + 4) != 0 || (out->root == DNS_PAGE_NONE) != (out->n_entries == 0))
        return damaged(pages, entry.page, "a damaged description of a tree");
    return DNS_OK;
}

/* ---- all of it ---- */

typedef struct census {
    const dns_pages *pages;
    uint64_t *used; /* a bit a page */
    uint64_t n_bits;
    size_t n_problems;
    bool shallow;
    void (*problem)(void *payload, const char *tree, const char *text);
    void *payload;
} census;

static bool mark(void *payload, uint64_t page, uint64_t n)
{
    census *all = payload;
    bool fresh = true;
    for (uint64_t i = page; i < page + n; i++) {
        if (i >= all->n_bits || (all->used[i / 64] >> i % 64 & 1) != 0) {
            fresh = false;
            continue;
        }
        all->used[i / 64] |= (uint64_t)1 << i % 64;
    }
    return fresh;
}

static void found(census *all, const char *tree, const char *text)
{
    all->n_problems++;
    if (all->problem != NULL)
        all->problem(all->payload, tree, text);
}

/* Free pages: a count and so many page numbers, descending. */
static dns_status check_spare(census *all, uint64_t *n_free, const dns_entry *entry,
                              uint64_t last_page)
{
    if (entry->key_size != 8 || entry->value_size < 8 || entry->value_size % 8 != 0)
        return damaged(all->pages, entry->page, "a damaged list of free pages");
    uint64_t n = u64(entry->value), previous = UINT64_MAX;
    if (n > entry->value_size / 8 - 1)
        return damaged(all->pages, entry->page, "a damaged list of free pages");
    for (uint64_t i = 1; i <= n; i++) {
        uint64_t page = u64(entry->value + 8 * i);
        if (page < 2 || page > last_page || page >= previous)
            return damaged(all->pages, entry->page, "a damaged list of free pages");
        if (!mark(all, page, 1))
            return damaged(all->pages, page, "both free and in use");
        previous = page;
    }
    *n_free += n;
    return DNS_OK;
}

static dns_status check_tree(census *all, uint64_t *n_free, const dns_tree *tree,
                             const dns_root *root)
{
    dns_walk walk = {.seen = mark, .payload = all, .shallow = all->shallow && tree != &root->spare};
    uint64_t n_entries = 0;
    size_t n_before = all->n_problems;
    dns_status status = dns_walk_start(&walk, all->pages, tree, NULL, 0);
    while (status != DNS_EOF) {
        dns_entry entry;
        if (status == DNS_OK)
            status = dns_walk_next(&entry, &walk);
        if (status == DNS_EOF)
            break;
        if (status == DNS_OK) {
            n_entries++;
            if (tree == &root->spare)
                status = check_spare(all, n_free, &entry, root->last_page);
        }
        if (status != DNS_OK && status != DNS_ERR_CORRUPT)
            return status;
        if (status == DNS_ERR_CORRUPT)
            found(all, tree->name, dns_status_message());
        status = walk.depth == 0 ? DNS_EOF : DNS_OK;
    }
    if (all->n_problems == n_before && n_entries != tree->n_entries)
        found(all, tree->name, "the number of entries is wrong");
    return DNS_OK;
}

dns_status dns_pages_verify(size_t *n_problems, uint64_t *n_free, const dns_pages *pages,
                            const dns_root *root, bool shallow,
                            void (*problem)(void *payload, const char *tree, const char *text),
                            void *payload)
{
    dns_status status = DNS_OK;
    census all = {.pages = pages, .shallow = shallow, .problem = problem, .payload = payload};
    dns_walk walk = {0};
    dns_entry entry;
    *n_problems = 0;
    *n_free = 0;
    /* Free pages may lie past the end of the file, but not without end. */
    all.n_bits = root->last_page + 1;
    if (all.n_bits > pages->n_pages + ((uint64_t)1 << 24)) {
        found(&all, "pages", "the meta page counts far more pages than the file has");
        goto out;
    }
    DNS_TRY(dns_alloc(&all.used, (size_t)(all.n_bits / 64 + 1), sizeof *all.used));
    DNS_TRY(check_tree(&all, n_free, &root->main, root));
    status = dns_walk_start(&walk, pages, &root->main, NULL, 0);
    while (status == DNS_OK && (status = dns_walk_next(&entry, &walk)) == DNS_OK) {
        dns_tree tree;
        char name[sizeof tree.name] = "";
        if (entry.key_size >= sizeof name) {
            found(&all, "main", "a tree with a name that is none of ours");
            continue;
        }
        memcpy(name, entry.key, entry.key_size);
        status = dns_tree_open(&tree, pages, root, name);
        if (status == DNS_OK)
            status = check_tree(&all, n_free, &tree, root);
        else if (status == DNS_ERR_CORRUPT || status == DNS_ERR_NOTFOUND) {
            found(&all, name, dns_status_message());
            status = DNS_OK;
        }
    }
    if (status != DNS_EOF && status != DNS_ERR_CORRUPT) /* damage of the main tree was told above */
        goto out;
    DNS_TRY(check_tree(&all, n_free, &root->spare, root));
    status = DNS_OK;
out:
    *n_problems = all.n_problems;
    dns_free(all.used);
    return status;
}
