/* Scanning all rows, and how that grows with their number. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "dnsel/budget.h"
#include "dnsel/memory.h"
#include "dnsel/rounding.h"
#include "dnsel/scan.h"
#include "scale_parts.h"

enum { TRIES = 5, FIRST = 10 };

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

double scale_median(double *values, size_t n)
{
    if (n == 0)
        return 0;
    qsort(values, n, sizeof *values, by_value);
    return (values[(n - 1) / 2] + values[n / 2]) / 2;
}

/* Rows as floats and as codes, and queries of both forms. */
struct rows {
    dns_scan_rows floats, codes;
    const float *queries;       /* [n_queries, dim] */
    const uint8_t *query_codes; /* [n_queries, dim / 8] */
    size_t n_queries;
    const dns_scale_options *o;
    /* Scratch: [rows] */
    float *scores;
    uint32_t *chosen;
    dns_hit *hits; /* [candidates] */
};

static dns_status grow_scratch(struct rows *r, size_t n)
{
    dns_free(r->scores);
    dns_free(r->chosen);
    r->scores = NULL;
    r->chosen = NULL;
    dns_status status = dns_alloc(&r->scores, n, sizeof *r->scores);
    return status == DNS_OK ? dns_alloc(&r->chosen, n, sizeof *r->chosen) : status;
}

static dns_status scan_floats(struct rows *r, size_t n, size_t q)
{
    dns_scan_rows rows = r->floats;
    rows.n_rows = n;
    return dns_scan_scores(r->scores, &rows, r->queries + q * rows.dim, 1, r->o->pool);
}

static dns_status scan_codes(struct rows *r, size_t n, size_t q, size_t *n_found)
{
    dns_scan_rows rows = r->codes;
    rows.n_rows = n;
    return dns_scan_search(r->hits, n_found, &rows, r->query_codes + q * rows.dim, 1,
                           DNS_SCALE_CANDIDATES, r->o->pool);
}

static dns_status choose(struct rows *r, size_t n)
{
    const dns_router_input input = {.n = n, .coarse = r->scores};
    const dns_router_options router = DNS_ROUTER_OPTIONS_INIT;
    return dns_router_choose(r->chosen, dns_budget_share(0.05, n), &input, &router);
}

/* Medians over the queries, each preceded by one that warms the caches. */
static dns_status time_size(dns_scale_growth *out, struct rows *r, size_t n)
{
    dns_status status = DNS_OK;
    double scan[TRIES], codes[TRIES], route[TRIES];
    size_t found;
    *out = (dns_scale_growth){.n = n};
    if (dns_cancelled(r->o->cancel))
        DNS_FAIL(DNS_ERR_CANCELLED, "interrupted");
    if (r->floats.vectors != NULL)
        DNS_TRY(scan_floats(r, n, 0));
    for (size_t i = 0; i < TRIES && r->floats.vectors != NULL; i++) {
        double start = dns_seconds();
        DNS_TRY(scan_floats(r, n, i % r->n_queries));
        scan[i] = dns_seconds() - start;
    }
    for (size_t i = 0; i < TRIES; i++) {
        double start = dns_seconds();
        DNS_TRY(choose(r, n));
        route[i] = dns_seconds() - start;
    }
    for (size_t i = 0; i < TRIES && r->codes.vectors != NULL; i++) {
        double start = dns_seconds();
        DNS_TRY(scan_codes(r, n, i % r->n_queries, &found));
        codes[i] = dns_seconds() - start;
    }
    out->scan = r->floats.vectors != NULL ? scale_median(scan, TRIES) : 0;
    out->route = scale_median(route, TRIES);
    out->codes = r->codes.vectors != NULL ? scale_median(codes, TRIES) : 0;
out:
    return status;
}

static dns_status best_time(double *best, struct rows *r, dns_status (*run)(struct rows *, size_t))
{
    for (size_t i = 0; i < TRIES; i++) {
        double start = dns_seconds();
        dns_status status = run(r, i % r->n_queries);
        double taken = dns_seconds() - start;
        if (status != DNS_OK)
            return status;
        if (i == 0 || taken < *best)
            *best = taken;
    }
    return DNS_OK;
}

static dns_status all_floats(struct rows *r, size_t q)
{
    return scan_floats(r, r->floats.n_rows, q);
}

static dns_status all_codes(struct rows *r, size_t q)
{
    size_t found;
    return scan_codes(r, r->codes.n_rows, q, &found);
}

static dns_status time_tier(dns_scale_scan *out, struct rows *r, const dns_scan_rows *rows,
                            dns_status (*run)(struct rows *, size_t))
{
    out->bytes = rows->n_rows * rows->dim * dns_dtype_size(rows->dtype);
    dns_status status = best_time(&out->scan, r, run);
    return status == DNS_OK ? scale_read_time(&out->read, rows->vectors, out->bytes, r->o->pool)
                            : status;
}

/* The first ten by floats among the first thousand by codes: what rescoring could still find. */
static dns_status measure_recall(double *recall, struct rows *r)
{
    dns_status status = DNS_OK;
    dns_hit exact[FIRST];
    size_t n_exact = 0, n_found = 0, n_both = 0, n_all = 0;
    for (size_t q = 0; q < r->n_queries; q++) {
        DNS_TRY(dns_scan_search(exact, &n_exact, &r->floats, r->queries + q * r->floats.dim, 1,
                                FIRST, r->o->pool));
        DNS_TRY(scan_codes(r, r->codes.n_rows, q, &n_found));
        for (size_t i = 0; i < n_exact; i++)
            for (size_t j = 0; j < n_found; j++)
                n_both += exact[i].id == r->hits[j].id;
        n_all += n_exact;
    }
    *recall = n_all > 0 ? (double)n_both / (double)n_all : 0;
out:
    return status;
}

/* ---- growth ---- */

/* Rows that are in memory alone. Floats may be left out: 10 million of them would be 20 GB, their
 * codes are 0.6. */
struct making {
    const dns_made_corpus *corpus;
    float *vectors;     /* [n, dim] or NULL */
    float *scratch;     /* [workers, dim] */
    const float *query; /* [dim] */
    float *scores;      /* [n]: coarse similarities with it, for the router */
    uint8_t *codes;
    dns_cancel *cancel;
};

static dns_status make_row(void *payload, size_t task, size_t worker)
{
    const struct making *m = payload;
    if (dns_cancelled(m->cancel))
        return dns_status_set(DNS_ERR_CANCELLED, "interrupted");
    size_t dim = m->corpus->dim;
    float *vector = m->vectors != NULL ? m->vectors + task * dim : m->scratch + worker * dim;
    const dns_made_video video = dns_made_video_at(m->corpus, task);
    dns_made_vector(vector, m->corpus, &video);
    m->scores[task] = 0;
    for (size_t i = 0; i < dim; i++)
        m->scores[task] += vector[i] * m->query[i];
    return dns_codes_from_f32(m->codes + task * dim / 8, vector, 1, dim);
}

static dns_status time_made(dns_scale_growth *out, struct rows *r, size_t n, bool floats)
{
    dns_status status = DNS_OK;
    size_t dim = r->o->corpus.dim;
    struct rows made = *r;
    struct making m = {.corpus = &r->o->corpus, .cancel = r->o->cancel, .query = r->queries};
    made.scores = NULL;
    made.chosen = NULL;
    if (floats)
        DNS_TRY(dns_alloc(&m.vectors, n * dim, sizeof *m.vectors));
    DNS_TRY(dns_alloc(&m.scratch, dns_pool_size(r->o->pool) * dim, sizeof *m.scratch));
    DNS_TRY(dns_alloc(&m.codes, n * dim / 8, 1));
    DNS_TRY(grow_scratch(&made, n));
    m.scores = made.scores;
    DNS_TRY(dns_pool_run(r->o->pool, n, make_row, &m));
    made.floats = (dns_scan_rows){.n_rows = n, .dtype = DNS_F32, .dim = dim, .vectors = m.vectors};
    made.codes = (dns_scan_rows){
        .n_rows = n, .dtype = DNS_U8, .dim = dim / 8, .vectors = r->codes.vectors ? m.codes : NULL};
    DNS_TRY(time_size(out, &made, n));
out:
    dns_free(made.scores);
    dns_free(made.chosen);
    dns_free(m.vectors);
    dns_free(m.scratch);
    dns_free(m.codes);
    return status;
}

/* The slope of log(seconds) over log(n). */
static double exponent(const dns_scale_growth *g, size_t n, size_t offset)
{
    double sx = 0, sy = 0, sxx = 0, sxy = 0, m = 0;
    for (size_t i = 0; i < n; i++) {
        double seconds;
        memcpy(&seconds, (const char *)&g[i] + offset, sizeof seconds);
        if (seconds <= 0)
            continue;
        double x = log((double)g[i].n), y = log(seconds);
        sx += x, sy += y, sxx += x * x, sxy += x * y, m++;
    }
    return m >= 2 ? (m * sxy - sx * sy) / (m * sxx - sx * sx) : NAN;
}

static dns_status measure_growth(dns_scale_report *out, struct rows *r)
{
    static const size_t sizes[] = {1000, 10000, 100000};
    dns_status status = DNS_OK;
    size_t n_rows = r->floats.n_rows, n = 0;
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++)
        if (sizes[i] < n_rows)
            DNS_TRY(time_size(&out->growth[n++], r, sizes[i]));
    DNS_TRY(time_size(&out->growth[n++], r, n_rows));
    if (r->o->n_growth > n_rows)
        DNS_TRY(time_made(&out->growth[n++], r, r->o->n_growth, true));
    size_t n_last = out->growth[n - 1].n;
    if (r->o->n_growth_codes > n_last && r->codes.vectors != NULL)
        DNS_TRY(time_made(&out->growth[n++], r, r->o->n_growth_codes, false));
out:
    out->n_growth = n;
    out->scan_exponent = exponent(out->growth, n, offsetof(dns_scale_growth, scan));
    out->codes_exponent = exponent(out->growth, n, offsetof(dns_scale_growth, codes));
    out->route_exponent = exponent(out->growth, n, offsetof(dns_scale_growth, route));
    return status;
}

/* ---- all of it ---- */

static dns_scan_rows rows_of(const dns_matrix *matrix)
{
    const dns_matrix_rows m = dns_matrix_get(matrix);
    return (dns_scan_rows){.n_rows = m.n_rows,
                           .dtype = m.dtype,
                           .dim = m.dim,
                           .ids = m.ids,
                           .vectors = m.vectors,
                           .scales = m.scales};
}

static dns_status make_queries(float *queries, uint8_t *codes, const dns_scale_options *o)
{
    for (size_t q = 0; q < o->n_queries; q++) {
        const dns_made_video video = dns_made_query(&o->corpus, q, o->n_videos);
        dns_made_vector(queries + q * o->corpus.dim, &o->corpus, &video);
    }
    return dns_codes_from_f32(codes, queries, o->n_queries, o->corpus.dim);
}

dns_status scale_measure_rows(dns_scale_report *out, const dns_snapshot *snapshot,
                              const dns_scale_options *o)
{
    dns_status status = DNS_OK;
    dns_matrix *floats = NULL, *codes = NULL;
    struct rows r = {.o = o, .n_queries = o->n_queries};
    float *queries = NULL;
    uint8_t *query_codes = NULL;
    DNS_TRY(dns_alloc(&queries, o->n_queries * o->corpus.dim, sizeof *queries));
    DNS_TRY(dns_alloc(&query_codes, o->n_queries * o->corpus.dim / 8, 1));
    DNS_TRY(dns_alloc(&r.hits, DNS_SCALE_CANDIDATES, sizeof *r.hits));
    DNS_TRY(make_queries(queries, query_codes, o));
    r.queries = queries;
    r.query_codes = query_codes;
    DNS_TRY(dns_matrix_open(&floats, snapshot, DNS_MATRIX_COARSE, NULL));
    r.floats = rows_of(floats);
    DNS_TRY(grow_scratch(&r, r.floats.n_rows));
    DNS_TRY(time_tier(&out->floats, &r, &r.floats, all_floats));
    if (o->kept[DNS_KIND_CODES]) {
        DNS_TRY(dns_matrix_open(&codes, snapshot, DNS_MATRIX_CODES, NULL));
        r.codes = rows_of(codes);
        DNS_TRY(time_tier(&out->codes, &r, &r.codes, all_codes));
        DNS_TRY(measure_recall(&out->recall, &r));
    }
    DNS_TRY(measure_growth(out, &r));
    DNS_TRY(
        dns_coarse_recall_measure(out->scans, snapshot, queries, o->n_queries, o->pool, o->cancel));
out:
    dns_matrix_close(codes);
    dns_matrix_close(floats);
    dns_free(r.scores);
    dns_free(r.chosen);
    dns_free(r.hits);
    dns_free(queries);
    dns_free(query_codes);
    return status;
}
