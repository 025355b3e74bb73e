/*
 * Exact nearest neighbours by reading every vector: the oracle for every approximate index, and the
 * default while it is fast enough (200,000 vectors of 1024 dimensions as int8 take 5 ms a query on
 * one core, a million 512-bit codes 2 ms). Works in place on a mapped matrix (dnsel/matrix.h).
 *
 * An answer is a function of the rows and the query alone: it does not depend on the number of
 * threads, on the order of rows, or on how many queries are asked together. Order: score
 * descending, then id ascending.
 */
#ifndef DNSEL_SCAN_H
#define DNSEL_SCAN_H

#include <stddef.h>
#include <stdint.h>

#include "dnsel/pool.h"
#include "dnsel/status.h"
#include "dnsel/tensor.h"

#ifdef __cplusplus
extern "C" {
#endif

/* The vectors to be scanned; everything is borrowed. */
typedef struct dns_scan_rows {
    size_t n_rows; /* below 2^32 */
    /* How rows are stored, and what their score is:
     *   DNS_F32: the inner product (docs/query.md: coarse similarity, vectors of unit length);
     *   DNS_I8:  the same, of rows scale * i8 and of a query that is rounded to int8 likewise;
     *   DNS_U8:  bit codes: 1 - 2 * (differing bits) / bits, the cosine of the signs. */
    dns_dtype dtype;
    size_t dim;          /* elements of a row: bytes for codes */
    const uint64_t *ids; /* [n_rows], all different; NULL: the row's number */
    const void *vectors; /* [n_rows, dim] */
    const float *scales; /* [n_rows], DNS_I8 only */
} dns_scan_rows;

typedef struct dns_hit {
    uint64_t id;
    float score;
    uint32_t row; /* in the scanned rows; DNS_NO_ROW in answers of an index (dnsel/ann.h) */
} dns_hit;

enum { DNS_NO_ROW = UINT32_MAX };

/* hits[q * k + i], i < *n_found = the best rows for query q, best first, with *n_found = min(k,
 * n_rows); hits has room for n_queries * k. queries [n_queries, dim] are f32, for codes u8. Rows
 * are shared out over the pool (may be NULL). Memory: 16 bytes for each of k a query and
 * worker, queries being taken in groups. Errors: DNS_ERR_ARG (k = 0, dtype); DNS_ERR_SHAPE (dim is
 * 0 or above 65536); DNS_ERR_RANGE when an element of a query is not finite, or its product with a
 * row that would be among the best; DNS_ERR_LIMIT (2^32 rows). */
DNS_API DNS_MUST_CHECK dns_status dns_scan_search(dns_hit *hits, size_t *n_found,
                                                  const dns_scan_rows *rows, const void *queries,
                                                  size_t n_queries, size_t k, dns_pool *pool);

/* scores [n_queries, n_rows] = all scores in the order of rows. Errors as above, but for products,
 * which are not looked at. */
DNS_API DNS_MUST_CHECK dns_status dns_scan_scores(float *scores, const dns_scan_rows *rows,
                                                  const void *queries, size_t n_queries,
                                                  dns_pool *pool);

/* Gives the exact vector [dim] of a hit, borrowed until the next call, or NULL for a hit that is to
 * be dropped. */
typedef dns_status (*dns_scan_fetch)(void *payload, const float **vector, const dns_hit *hit);

/* Scores the hits of one query again, exactly, by the inner product with the vectors that `fetch`
 * gives, and sorts them: after a scan of int8 or codes with a larger k. *n_hits = those that are
 * left. DNS_ERR_RANGE for what is not finite, and errors of `fetch`. */
DNS_API DNS_MUST_CHECK dns_status dns_scan_rescore(dns_hit *hits, size_t *n_hits,
                                                   const float *query, size_t dim,
                                                   dns_scan_fetch fetch, void *payload);

/* Puts hits into their order. */
DNS_API void dns_hits_sort(dns_hit *hits, size_t n_hits);

/* *recall = of what an exact search found, the share that another search found too: the mean over
 * queries of the overlap of found[q * k + i], i < n_found[q], with exact[q * k + i], i < n_exact. 1
 * when n_exact or n_queries is 0. */
DNS_API DNS_MUST_CHECK dns_status dns_scan_recall(double *recall, const dns_hit *found,
                                                  const size_t *n_found, const dns_hit *exact,
                                                  size_t n_exact, size_t n_queries, size_t k);

#ifdef __cplusplus
}
#endif

#endif
