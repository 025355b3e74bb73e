#include "coarse_ranking.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dnsel/memory.h"
#include "dnsel/rounding.h"
#include "dnsel/scan.h"

enum {
    SMALL = 16 << 20,  /* bytes of coarse vectors that are scanned as they are in no time */
    MANY = 2000000,    /* videos from which on FAISS is asked unless something else is wanted */
    FEW = 32,          /* one exact score from its record costs as much as scanning so many rows */
    RESCORE_CHUNK = 64 /* hits a task */
};

static const char *const scan_names[] = {"auto", "exact", "int8", "codes", "faiss"};

const char *dns_coarse_scan_name(dns_coarse_scan scan)
{
    return scan_names[scan];
}

/* How many by rounded vectors are scored exactly, so that (nearly) all of the n best are among
 * them: docs/ann.md has the measurements. */
static size_t candidates(dns_coarse_scan scan, size_t n)
{
    return scan == DNS_SCAN_CODES ? 10 * n + 1000 : 2 * n + 32;
}

static dns_coarse_scan choose(const struct dns_coarse_wanted *wanted, size_t n)
{
    bool few = candidates(DNS_SCAN_INT8, wanted->n_best) <= n / FEW;
    return few && n * wanted->dim * sizeof(float) > SMALL ? DNS_SCAN_INT8 : DNS_SCAN_EXACT;
}

/* Whether the query is as long as rows of `dim` elements. */
static dns_status check_dim(const struct dns_coarse_wanted *wanted, dns_dtype dtype, size_t dim)
{
    if (dim == (dtype == DNS_U8 ? (wanted->dim + 7) / 8 : wanted->dim))
        return DNS_OK;
    return dns_status_set(DNS_ERR_SHAPE, "coarse vector of %zu dimensions, the index has %zu",
                          wanted->dim, dtype == DNS_U8 ? 8 * dim : dim);
}

/* ---- exact scores of a few ---- */

struct rescoring {
    const dns_snapshot *snapshot;
    const struct dns_coarse_wanted *wanted;
    dns_hit *hits;
    size_t n;
};

/* From the record, so that it is the snapshot's whatever gave the hit. */
static dns_status fetch(void *payload, const float **vector, const dns_hit *hit)
{
    const struct rescoring *r = payload;
    dns_record record;
    *vector = NULL;
    dns_status status = dns_snapshot_get(&record, r->snapshot, DNS_KIND_COARSE, hit->id, false);
    if (status == DNS_ERR_NOTFOUND)
        return DNS_OK;
    if (status == DNS_OK)
        status = check_dim(r->wanted, DNS_F32, record.shape[0]);
    if (status == DNS_OK)
        *vector = record.data;
    return status;
}

static dns_status rescore_task(void *payload, size_t task, size_t worker)
{
    (void)worker;
    const struct rescoring *r = payload;
    size_t first = task * RESCORE_CHUNK,
           n = r->n - first < RESCORE_CHUNK ? r->n - first : RESCORE_CHUNK, n_left = n;
    dns_status status = dns_scan_rescore(r->hits + first, &n_left, r->wanted->vector,
                                         r->wanted->dim, fetch, payload);
    for (size_t i = n_left; i < n; i++)
        r->hits[first + i].score = -INFINITY; /* gone */
    return status;
}

static int by_id(const void *a, const void *b)
{
    uint64_t x = ((const dns_hit *)a)->id, y = ((const dns_hit *)b)->id;
    return x < y ? -1 : x > y;
}

/* The n_best of the hits, in order of their ids. */
static dns_status take(struct dns_coarse_ranking *out, dns_hit *hits, size_t n)
{
    dns_status status = DNS_OK;
    qsort(hits, n, sizeof *hits, by_id);
    DNS_TRY(dns_alloc(&out->ids, n, sizeof *out->ids));
    DNS_TRY(dns_alloc(&out->scores, n, sizeof *out->scores));
    for (size_t i = 0; i < n; i++) {
        out->ids[i] = hits[i].id;
        out->scores[i] = hits[i].score;
    }
    out->n = n;
out:
    return status;
}

static dns_status rescore(struct dns_coarse_ranking *out, dns_hit *hits, size_t n, dns_searcher *s,
                          const dns_snapshot *snapshot, const struct dns_coarse_wanted *wanted)
{
    dns_status status = DNS_OK;
    struct rescoring r = {.snapshot = snapshot, .wanted = wanted, .hits = hits, .n = n};
    DNS_TRY(dns_pool_run(s->pool, (n + RESCORE_CHUNK - 1) / RESCORE_CHUNK, rescore_task, &r));
    dns_hits_sort(hits, n);
    while (n > 0 && isinf(hits[n - 1].score))
        n--;
    status = take(out, hits, n < wanted->n_best ? n : wanted->n_best);
out:
    return status;
}

/* ---- scans ---- */

static dns_status open_rows(dns_matrix_rows *m, struct dns_coarse_ranking *out, dns_searcher *s,
                            const dns_snapshot *snapshot, dns_matrix_id id)
{
    double start = dns_seconds();
    dns_status status = dns_searcher_rows(m, s, snapshot, id);
    out->open_seconds += dns_seconds() - start;
    return status;
}

/* The rows that count: those from first_id on. False when they are not in one piece. */
static bool cut_rows(dns_scan_rows *rows, const dns_matrix_rows *m, uint64_t first_id)
{
    *rows = (dns_scan_rows){.n_rows = m->n_rows,
                            .dtype = m->dtype,
                            .dim = m->dim,
                            .ids = m->ids,
                            .vectors = m->vectors,
                            .scales = m->scales};
    if (first_id == 0)
        return true;
    if (m->source == DNS_MATRIX_PATCHED)
        return false;
    size_t low = 0;
    for (size_t high = m->n_rows; low < high;) {
        size_t middle = low + (high - low) / 2;
        if (m->ids[middle] < first_id)
            low = middle + 1;
        else
            high = middle;
    }
    rows->n_rows -= low;
    rows->ids += low;
    rows->vectors = (const uint8_t *)m->vectors + low * m->dim * dns_dtype_size(m->dtype);
    rows->scales = m->scales != NULL ? m->scales + low : NULL;
    return true;
}

/* The n_best by one matrix. Not done where the rows that count are not in one piece. */
static dns_status scan_best(struct dns_coarse_ranking *out, bool *done, dns_searcher *s,
                            const dns_snapshot *snapshot, const struct dns_coarse_wanted *wanted)
{
    dns_status status = DNS_OK;
    const dns_store_settings *settings = dns_store_settings_get(s->store);
    bool exact = out->scan == DNS_SCAN_EXACT;
    dns_matrix_id id =
        exact ? DNS_MATRIX_COARSE
              : dns_matrix_small(settings, out->scan == DNS_SCAN_INT8 ? DNS_I8 : DNS_U8);
    dns_matrix_rows m;
    dns_scan_rows rows;
    dns_hit *hits = NULL;
    uint8_t *bits = NULL;
    const void *query = wanted->vector;
    size_t k = exact ? wanted->n_best : candidates(out->scan, wanted->n_best), n;
    *done = false;
    DNS_TRY(open_rows(&m, out, s, snapshot, id));
    if (!cut_rows(&rows, &m, wanted->first_id))
        goto out;
    *done = true;
    out->n_videos = rows.n_rows;
    if (rows.n_rows == 0)
        goto out;
    DNS_TRY(check_dim(wanted, m.dtype, m.dim));
    if (m.dtype == DNS_U8) {
        DNS_TRY(dns_alloc(&bits, m.dim, 1));
        DNS_TRY(dns_codes_from_f32(bits, wanted->vector, 1, wanted->dim));
        query = bits;
    }
    if (k > rows.n_rows)
        k = rows.n_rows;
    DNS_TRY(dns_alloc(&hits, k, sizeof *hits));
    DNS_TRY(dns_scan_search(hits, &n, &rows, query, 1, k, s->pool));
    status = exact ? take(out, hits, n) : rescore(out, hits, n, s, snapshot, wanted);
out:
    dns_free(bits);
    dns_free(hits);
    return status;
}

static int compare_ids(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

/* Takes out the hits whose videos changed since, and puts all that changed in their place: their
 * records tell what they are now. */
static size_t bring_up_to_date(dns_hit *hits, size_t n, const struct dns_coarse_ann *a)
{
    size_t n_kept = 0;
    for (size_t i = 0; i < n; i++)
        if (a->n_changed == 0 ||
            bsearch(&hits[i].id, a->changed, a->n_changed, sizeof *a->changed, compare_ids) == NULL)
            hits[n_kept++] = hits[i];
    for (size_t i = 0; i < a->n_changed; i++)
        hits[n_kept++] = (dns_hit){.id = a->changed[i], .row = DNS_NO_ROW};
    return n_kept;
}

/* The n_best by FAISS. Not done, and noted why, where that cannot be. */
static dns_status ask_faiss(struct dns_coarse_ranking *out, bool *done, dns_searcher *s,
                            const dns_snapshot *snapshot, const struct dns_coarse_wanted *wanted)
{
    dns_status status = DNS_OK;
    size_t n_videos = dns_snapshot_count(snapshot, DNS_KIND_COARSE), n = 0,
           k = candidates(DNS_SCAN_FAISS, wanted->n_best);
    dns_hit *hits = NULL;
    double start = dns_seconds();
    *done = false;
    DNS_TRY(dns_coarse_ann_open(&s->ann, snapshot));
    out->open_seconds += dns_seconds() - start;
    const char *why = s->ann.ann == NULL                        ? s->ann.why
                      : wanted->first_id > 0                    ? "videos are left out"
                      : s->ann.n_changed > n_videos / FEW + FEW ? "the file is too old"
                                                                : NULL;
    if (why == NULL) {
        DNS_TRY(check_dim(wanted, DNS_F32, dns_ann_get_info(s->ann.ann).dim));
        k += s->ann.n_changed;
        DNS_TRY(dns_alloc(&hits, k + s->ann.n_changed, sizeof *hits));
        DNS_TRY(dns_ann_search(hits, &n, s->ann.ann, wanted->vector, 1, k, s->pool));
        DNS_TRY(rescore(out, hits, bring_up_to_date(hits, n, &s->ann), s, snapshot, wanted));
        out->n_videos = n_videos;
        *done = out->n >= (wanted->n_best < n_videos ? wanted->n_best : n_videos);
        why = "it found too few";
    }
    if (!*done)
        snprintf(out->note, sizeof out->note, "not by faiss: %s", why);
out:
    dns_free(hits);
    return status;
}

/* Every video's score. The videos before first_id are left out as if they were not there. */
static dns_status scan_all(struct dns_coarse_ranking *out, dns_searcher *s,
                           const dns_snapshot *snapshot, const struct dns_coarse_wanted *wanted)
{
    dns_status status = DNS_OK;
    dns_matrix_rows m;
    size_t n = 0;
    DNS_TRY(open_rows(&m, out, s, snapshot, DNS_MATRIX_COARSE));
    DNS_TRY(dns_alloc(&out->ids, m.n_rows, sizeof *out->ids));
    DNS_TRY(dns_alloc(&out->scores, m.n_rows, sizeof *out->scores));
    if (m.n_rows > 0) {
        const dns_scan_rows rows = {m.n_rows, m.dtype, m.dim, m.ids, m.vectors, m.scales};
        DNS_TRY(check_dim(wanted, DNS_F32, m.dim));
        DNS_TRY(dns_scan_scores(out->scores, &rows, wanted->vector, 1, s->pool));
    }
    for (size_t i = 0; i < m.n_rows; i++)
        if (m.ids[i] >= wanted->first_id) {
            out->ids[n] = m.ids[i];
            out->scores[n++] = out->scores[i];
        }
    out->n = out->n_videos = n;
    out->scan = DNS_SCAN_EXACT;
out:
    return status;
}

static bool by_faiss(const struct dns_coarse_wanted *wanted, size_t n)
{
    return wanted->scan == DNS_SCAN_FAISS ||
           (wanted->scan == DNS_SCAN_AUTO && n >= MANY && wanted->first_id == 0 &&
            candidates(DNS_SCAN_FAISS, wanted->n_best) <= n / FEW);
}

dns_status dns_coarse_rank(struct dns_coarse_ranking *out, dns_searcher *s,
                           const dns_snapshot *snapshot, const struct dns_coarse_wanted *wanted)
{
    dns_status status = DNS_OK;
    size_t n = dns_snapshot_count(snapshot, DNS_KIND_COARSE);
    bool done = false, asked = wanted->scan != DNS_SCAN_AUTO && wanted->scan != DNS_SCAN_EXACT;
    if (wanted->n_best > 0 && wanted->n_best < n) {
        out->scan = DNS_SCAN_FAISS;
        if (by_faiss(wanted, n))
            DNS_TRY(ask_faiss(out, &done, s, snapshot, wanted));
        if (done)
            goto out;
        dns_coarse_ranking_free(out);
        out->scan = wanted->scan == DNS_SCAN_AUTO || wanted->scan == DNS_SCAN_FAISS
                        ? choose(wanted, n)
                        : wanted->scan;
        DNS_TRY(scan_best(out, &done, s, snapshot, wanted));
        if (done)
            goto out;
    }
    if (asked)
        snprintf(out->note, sizeof out->note, "every video was scored");
    status = scan_all(out, s, snapshot, wanted);
out:
    return status;
}

void dns_coarse_ranking_free(struct dns_coarse_ranking *ranking)
{
    dns_free(ranking->ids);
    dns_free(ranking->scores);
    ranking->ids = NULL;
    ranking->scores = NULL;
    ranking->n = 0;
}
