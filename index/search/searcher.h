/* What a searcher holds, for the files of this room. */
#ifndef DNS_SEARCHER_H
#define DNS_SEARCHER_H

#include "dnsel/calibration.h"
#include "dnsel/matrix.h"
#include "dnsel/search.h"
#include "dnsel/selector.h"
#include "coarse_ann_open.h"
#include "fine.h"
#include "fine_cost.h"
#include "pair_judge.h"

struct dns_searcher {
    dns_store *store;
    const dns_model *model;
    dns_pool *pool;
    dns_fine fine;
    bool asymmetric;
    dns_fine_ranker *ranker; /* NULL with DNS_FINE_NONE */
    struct dns_fine_cost cost;
    /* NULL: the model has none, or the index keeps no selector records. */
    dns_selector *selector;
    dns_selector_session *selector_session;
    dns_calibration *calibration;
    dns_pair_judge *pair; /* NULL: the model has no classifier of pairs of its vectors */
    char *networks;
    /* At the state last searched; kept while the index does not change. */
    struct {
        dns_matrix *matrix;
        uint64_t generation;
    } matrices[DNS_MATRIX_COUNT];
    struct dns_coarse_ann ann;
    /* The stored query last asked for. */
    dns_snapshot *query_snapshot;
    dns_record query_records[DNS_KIND_COUNT];
};

/* A matrix at the state of `snapshot`; borrowed until the next call with a later one. */
DNS_MUST_CHECK dns_status dns_searcher_rows(dns_matrix_rows *out, dns_searcher *s,
                                            const dns_snapshot *snapshot, dns_matrix_id id);

/* Selector and calibration of the model, where index and model have them. */
DNS_MUST_CHECK dns_status dns_searcher_load_judges(dns_searcher *s);
bool dns_searcher_has_selector(const dns_searcher *s);

/* expected [n] = what fine / 2 + 1/2 to expect of each coarse score; coarse / 2 + 1/2 without
 * calibration. */
DNS_MUST_CHECK dns_status dns_searcher_expected(const dns_searcher *s, float *expected,
                                                const float *coarse, size_t n);

/* confidence [n] that the coarse score is wrong of the videos `ids`. */
DNS_MUST_CHECK dns_status dns_searcher_confidence(dns_searcher *s, float *confidence,
                                                  const dns_snapshot *snapshot, float query_scalar,
                                                  const uint64_t *ids, const float *coarse,
                                                  size_t n);

#endif
