/*
 * The coarse vectors of an index in FAISS, too: a file coarse.faiss beside data.mdb, derived from
 * it and tied to it by identity and generation. It can be deleted at any time and is never the only
 * place of anything: queries score what it finds by the records of their own snapshot, so that what
 * was removed is never in an answer, and look at what changed since it was written themselves. A
 * damaged or foreign file is not used. docs/ann.md.
 */
#ifndef DNSEL_COARSE_ANN_H
#define DNSEL_COARSE_ANN_H

#include "dnsel/ann.h"
#include "dnsel/store.h"

#ifdef __cplusplus
extern "C" {
#endif

#define DNS_COARSE_ANN_FILE "coarse.faiss"

/* factory = what an index of n_videos gets by the setting `ann` of dns_store_settings: by "" (or
 * "auto") Flat up to 20,000 videos, which is exact, and beyond IVF<about 2 sqrt(n)>,SQ8; by "none"
 * "". DNS_ERR_ARG for a text that is no index of f32 vectors. */
DNS_API DNS_MUST_CHECK dns_status dns_coarse_ann_factory(char factory[DNS_ANN_FACTORY],
                                                         const char *setting, size_t n_videos);

typedef struct dns_coarse_ann_report {
    char factory[DNS_ANN_FACTORY]; /* "": there is no file now */
    bool rebuilt;                  /* false: what changed was taken out and put in, if anything */
    size_t n_vectors, n_changed;
    size_t effort; /* dns_ann_set_effort; 0 where there is no choice */
    double recall; /* rebuilt: of the ten nearest to stored vectors, found with this effort */
} dns_coarse_ann_report;

/* Brings the file to the state of `snapshot` by the setting of its store: changes it by the journal
 * where its kind can add and remove, otherwise, or with `rebuild`, builds it anew and chooses the
 * least effort that finds 95 % of the ten nearest to some of its own vectors. Replaced atomically;
 * removed where there are too few videos for the kind, or none. Only while no other process writes
 * the index. Errors: DNS_ERR_ARG (setting), DNS_ERR_RANGE (a vector is not finite),
 * DNS_ERR_CANCELLED, DNS_ERR_BACKEND, DNS_ERR_FULL, those of dns_matrix_open. */
DNS_API DNS_MUST_CHECK dns_status dns_coarse_ann_refresh(dns_coarse_ann_report *report,
                                                         const dns_snapshot *snapshot, bool rebuild,
                                                         dns_pool *pool, dns_cancel *cancel);

typedef struct dns_coarse_ann_state {
    bool exists;
    bool usable;   /* whole, of this index, and not newer than the snapshot */
    bool current;  /* of the snapshot's generation */
    char why[256]; /* it is not usable; "" when it is, or there is none */
    dns_ann_info info;
    uint64_t generation;
    uint64_t bytes;
    size_t n_changed; /* videos changed since */
    size_t n_wrong;   /* compared: vectors that are none of the index's, or lacking */
} dns_coarse_ann_state;

/* What there is; with `compare` every id and vector is compared with the records, but for those of
 * videos changed since: a file that was changed by others is told by n_wrong. A vector counts as
 * the record's when it is equal, or, of a kind that rounds, nearer to it than the origin is. */
DNS_API DNS_MUST_CHECK dns_status dns_coarse_ann_look(dns_coarse_ann_state *out,
                                                      const dns_snapshot *snapshot, bool compare);

#ifdef __cplusplus
}
#endif

#endif
