#include "dnsel/coarse_recall.h"

#include <stdlib.h>
#include <string.h>

#include "coarse_ranking.h"
#include "dnsel/memory.h"

/* Queries, and the nearest of each. */
struct asking {
    struct dns_searcher searcher; /* of which scans read store, pool, and what they opened */
    const dns_snapshot *snapshot;
    size_t n, dim;
    float *vectors; /* [n, dim] */
    uint64_t *own;  /* [n]; NULL: none is of the index */
    uint64_t *ids;  /* [n, DNS_COARSE_NEAREST] by the exact scan */
    size_t *n_ids;  /* [n] */
    double *seconds;
    dns_cancel *cancel;
};

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* n vectors of the index, evenly. */
static dns_status take_own(struct asking *a)
{
    dns_status status = DNS_OK;
    uint64_t *ids = NULL;
    size_t n_ids;
    dns_record r;
    DNS_TRY(dns_snapshot_ids(&ids, &n_ids, a->snapshot, DNS_KIND_COARSE));
    if (a->n > n_ids)
        a->n = n_ids;
    DNS_TRY(dns_alloc(&a->own, a->n, sizeof *a->own));
    for (size_t i = 0; i < a->n; i++) {
        a->own[i] = ids[(size_t)((double)i / (double)a->n * (double)n_ids)];
        DNS_TRY(dns_snapshot_get(&r, a->snapshot, DNS_KIND_COARSE, a->own[i], true));
        if (i == 0) {
            a->dim = r.shape[0];
            DNS_TRY(dns_alloc(&a->vectors, a->n, a->dim * sizeof *a->vectors));
        }
        if (r.shape[0] != a->dim)
            DNS_FAIL(DNS_ERR_SHAPE, "coarse vectors of %zu and of %zu dimensions", r.shape[0],
                     a->dim);
        memcpy(a->vectors + i * a->dim, r.data, a->dim * sizeof *a->vectors);
    }
out:
    dns_free(ids);
    return status;
}

static dns_status take_given(struct asking *a, const float *queries)
{
    dns_record r;
    dns_cursor *cursor;
    dns_status status = dns_cursor_create(&cursor, a->snapshot, DNS_KIND_COARSE, 0);
    if (status != DNS_OK)
        return status;
    status = dns_cursor_next(&r, cursor);
    a->dim = status == DNS_OK ? r.shape[0] : 0;
    dns_cursor_free(cursor);
    if (status == DNS_OK)
        status = dns_alloc(&a->vectors, a->n, a->dim * sizeof *a->vectors);
    if (status == DNS_OK)
        memcpy(a->vectors, queries, a->n * a->dim * sizeof *a->vectors);
    return status;
}

static bool is_near(const struct asking *a, size_t q, uint64_t id)
{
    for (size_t i = 0; i < a->n_ids[q]; i++)
        if (a->ids[q * DNS_COARSE_NEAREST + i] == id)
            return true;
    return false;
}

/* One query. The exact scan, which comes first, says what is near; for others *n_both is added to.
 */
static dns_status ask(struct dns_coarse_ranking *ranking, size_t *n_both, struct asking *a,
                      size_t q, dns_coarse_scan scan)
{
    const struct dns_coarse_wanted wanted = {.vector = a->vectors + q * a->dim,
                                             .dim = a->dim,
                                             .n_best = DNS_COARSE_NEAREST + (a->own != NULL),
                                             .scan = scan};
    if (dns_cancelled(a->cancel))
        return dns_status_set(DNS_ERR_CANCELLED, "interrupted");
    double start = dns_seconds();
    dns_status status = dns_coarse_rank(ranking, &a->searcher, a->snapshot, &wanted);
    a->seconds[q] = dns_seconds() - start - ranking->open_seconds;
    for (size_t i = 0; status == DNS_OK && i < ranking->n; i++) {
        uint64_t id = ranking->ids[i];
        if (a->own != NULL && id == a->own[q])
            continue;
        if (scan != DNS_SCAN_EXACT)
            *n_both += is_near(a, q, id);
        else if (a->n_ids[q] < DNS_COARSE_NEAREST)
            a->ids[q * DNS_COARSE_NEAREST + a->n_ids[q]++] = id;
    }
    return status;
}

static dns_status measure(dns_coarse_recall *out, struct asking *a, dns_coarse_scan scan)
{
    dns_status status = DNS_OK;
    size_t n_both = 0, n_near = 0;
    *out = (dns_coarse_recall){.scan = scan};
    for (size_t q = 0; q < a->n && status == DNS_OK; q++) {
        struct dns_coarse_ranking ranking = {0};
        status = ask(&ranking, &n_both, a, q, scan);
        out->open_seconds += ranking.open_seconds;
        if (ranking.note[0] != '\0') /* another scan answered */
            out->scan = DNS_SCAN_AUTO;
        else if (scan == DNS_SCAN_AUTO)
            out->scan = ranking.scan;
        n_near += a->n_ids[q];
        dns_coarse_ranking_free(&ranking);
    }
    qsort(a->seconds, a->n, sizeof *a->seconds, by_value);
    out->seconds = a->seconds[a->n / 2];
    out->recall = scan == DNS_SCAN_EXACT || n_near == 0 ? 1 : (double)n_both / (double)n_near;
    return status;
}

dns_status dns_coarse_recall_measure(dns_coarse_recall out[DNS_SCAN_COUNT],
                                     const dns_snapshot *snapshot, const float *queries,
                                     size_t n_queries, dns_pool *pool, dns_cancel *cancel)
{
    static const dns_coarse_scan order[] = {DNS_SCAN_EXACT, DNS_SCAN_INT8, DNS_SCAN_CODES,
                                            DNS_SCAN_FAISS, DNS_SCAN_AUTO};
    dns_status status = DNS_OK;
    struct asking a = {.searcher = {.store = dns_snapshot_store(snapshot), .pool = pool},
                       .snapshot = snapshot,
                       .n = n_queries,
                       .cancel = cancel};
    if (n_queries == 0 || dns_snapshot_count(snapshot, DNS_KIND_COARSE) == 0)
        return dns_status_set(DNS_ERR_ARG, "no queries, or nothing to find");
    DNS_TRY(queries != NULL ? take_given(&a, queries) : take_own(&a));
    DNS_TRY(dns_alloc(&a.ids, a.n, DNS_COARSE_NEAREST * sizeof *a.ids));
    DNS_TRY(dns_alloc(&a.n_ids, a.n, sizeof *a.n_ids));
    DNS_TRY(dns_alloc(&a.seconds, a.n, sizeof *a.seconds));
    for (size_t i = 0; i < sizeof order / sizeof order[0]; i++)
        DNS_TRY(measure(&out[order[i]], &a, order[i]));
out:
    for (size_t i = 0; i < DNS_MATRIX_COUNT; i++)
        dns_matrix_close(a.searcher.matrices[i].matrix);
    dns_coarse_ann_close(&a.searcher.ann);
    dns_free(a.vectors);
    dns_free(a.own);
    dns_free(a.ids);
    dns_free(a.n_ids);
    dns_free(a.seconds);
    return status;
}
