/*
 * Approximate nearest neighbours by FAISS, for indexes too large to be read whole for every query
 * (dnsel/scan.h does that, exactly, and is the faster below some hundred thousand vectors).
 *
 * What an index is made of is said by FAISS's factory text:
 *
 *   of f32 vectors, by inner product             of bit codes, by Hamming distance
 *   Flat            exact                        BFlat           exact
 *   IVF1024,Flat    1024 lists, exact in them    BIVF1024        1024 lists, exact in them
 *   IVF1024,SQ8     1 byte an element            BIVF1024_HNSW32 lists found by a graph
 *   IVF1024,PQ64    64 bytes a vector            BHNSW32         a graph of 32 neighbours
 *   HNSW32          a graph of 32 neighbours
 *
 * also SQ4, SQ6, SQfp16, PQ<m>x4fs, and an exact second look behind any of them
 * (IVF1024,SQ8,RFlat). About 4 sqrt(n) lists suit n vectors.
 *
 * An index may be searched from several threads at once, and changed by one while nobody searches.
 * FAISS runs with one thread in every call but training and adding.
 */
#ifndef DNSEL_ANN_H
#define DNSEL_ANN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "dnsel/file.h"
#include "dnsel/pool.h"
#include "dnsel/scan.h"
#include "dnsel/tensor.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct dns_ann dns_ann;

enum { DNS_ANN_FACTORY = 64 }; /* longest factory text, its NUL included */

/* *out = an empty index for vectors of `dim` elements: of DNS_F32, or of DNS_U8 (codes of `dim`
 * bytes). DNS_ERR_ARG for a factory text that is none of the above or does not go with the
 * dimension, DNS_ERR_SHAPE for a dim of 0 or above 65536. */
DNS_API DNS_MUST_CHECK dns_status dns_ann_create(dns_ann **out, const char *factory,
                                                 dns_dtype dtype, size_t dim);
DNS_API void dns_ann_free(dns_ann *ann);

/* Whether a factory text is one of the above, for F32 or U8; DNS_ERR_ARG when not. That it goes
 * with a dimension only dns_ann_create can tell. */
DNS_API DNS_MUST_CHECK dns_status dns_ann_check_factory(const char *factory, dns_dtype dtype);

typedef struct dns_ann_info {
    char factory[DNS_ANN_FACTORY];
    dns_dtype dtype;
    size_t dim, n_vectors;
    bool trained; /* or needs no training */
    bool can_remove;
    bool mapped; /* lists are read from the file when they are searched; nothing can be changed */
    size_t n_lists; /* of an IVF; 0 for others */
    size_t effort;  /* see dns_ann_set_effort; 0 when there is no choice */
} dns_ann_info;

DNS_API dns_ann_info dns_ann_get_info(const dns_ann *ann);

/* Learns from n vectors [n, dim], of which an even sample of 64 a list is used; some 50 a list do,
 * and PQ needs a few thousand. FAISS takes as many threads as the pool has, which must be idle.
 * Nothing is done when trained already. DNS_ERR_ARG for fewer vectors than lists, DNS_ERR_RANGE for
 * an element that is not finite, DNS_ERR_BACKEND (FAISS's own text). */
DNS_API DNS_MUST_CHECK dns_status dns_ann_train(dns_ann *ann, const void *vectors, size_t n,
                                                dns_pool *pool);

/* Adds n vectors [n, dim] with ids [n], which the index does not have yet (that is not checked).
 * DNS_ERR_ARG when not trained, DNS_ERR_RANGE for an element that is not finite or the id
 * UINT64_MAX, DNS_ERR_UNSUPPORTED when mapped, DNS_ERR_BACKEND. */
DNS_API DNS_MUST_CHECK dns_status dns_ann_add(dns_ann *ann, const uint64_t *ids,
                                              const void *vectors, size_t n, dns_pool *pool);

/* Removes the ids that are there; *n_removed (may be NULL) = how many. Reads all ids.
 * DNS_ERR_UNSUPPORTED for graphs, second looks, and when mapped: build anew. */
DNS_API DNS_MUST_CHECK dns_status dns_ann_remove(dns_ann *ann, size_t *n_removed,
                                                 const uint64_t *ids, size_t n);

/* Calls `visit` with each vector of an f32 index, in no order: its id, and the vector [dim] as the
 * index has it, that is rounded, or NULL for kinds that cannot give it back. `visit` stops it by
 * returning an error, which is then returned. DNS_ERR_UNSUPPORTED for codes, DNS_ERR_BACKEND. */
DNS_API DNS_MUST_CHECK dns_status dns_ann_visit(const dns_ann *ann,
                                                dns_status (*visit)(void *payload, uint64_t id,
                                                                    const float *vector),
                                                void *payload);

/* How much of the index a query looks at: lists of an IVF (nprobe, at most n_lists), candidates of
 * a graph (efSearch). More is slower and better. DNS_ERR_ARG for 0, DNS_ERR_UNSUPPORTED when there
 * is no choice. */
DNS_API DNS_MUST_CHECK dns_status dns_ann_set_effort(dns_ann *ann, size_t effort);

/* hits[q * k + i], i < n_found[q] = the nearest to query q that were found, best first, scores and
 * order as in dnsel/scan.h (scores of SQ and PQ are those of the rounded vectors); n_found
 * [n_queries] is at most min(k, vectors). queries [n_queries, dim]. Shared out over the pool (may
 * be NULL) by queries; an answer does not depend on the number of threads. DNS_ERR_ARG (k = 0, not
 * trained), DNS_ERR_RANGE, DNS_ERR_BACKEND. */
DNS_API DNS_MUST_CHECK dns_status dns_ann_search(dns_hit *hits, size_t *n_found, const dns_ann *ann,
                                                 const void *queries, size_t n_queries, size_t k,
                                                 dns_pool *pool);

/* What an index was built from, in the caller's words: say, the identity of a store and its
 * generation. */
typedef struct dns_ann_origin {
    dns_digest source;
    uint64_t generation;
} dns_ann_origin;

/* Writes the index as one file (docs/ann.md) in the place of an old one, atomically. `origin` may
 * be NULL. */
DNS_API DNS_MUST_CHECK dns_status dns_ann_save(const dns_ann *ann, const char *path,
                                               const dns_ann_origin *origin);

typedef struct dns_ann_load_options {
    bool map; /* leave the lists of an IVF in the file, which must stay as it is; others are read
                 all the same */
    bool trusted; /* skip the checksum, which reads the whole file. FAISS may crash on a damaged one
                   */
} dns_ann_load_options;

#define DNS_ANN_LOAD_OPTIONS_INIT \
    {                             \
        false, false              \
    }

/* *out = the index of a file; *origin (may be NULL) as it was saved. `options` may be NULL.
 * DNS_ERR_NOTFOUND, DNS_ERR_FORMAT, DNS_ERR_VERSION, DNS_ERR_CORRUPT, DNS_ERR_IO, DNS_ERR_BACKEND.
 */
DNS_API DNS_MUST_CHECK dns_status dns_ann_load(dns_ann **out, dns_ann_origin *origin,
                                               const char *path,
                                               const dns_ann_load_options *options);

#ifdef __cplusplus
}
#endif

#endif
