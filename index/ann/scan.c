#include "dnsel/scan.h"

#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "dnsel/cpu.h"
#include "dnsel/memory.h"
#include "dnsel/rounding.h"
#include "scan_kernels.h"
#include "topk.h"

enum {
    GROUP = 64, /* queries asked together: their f32 vectors stay in the second-level cache */
    GROUP_BYTES = 64u << 20, /* of buffers for one group */
    MAX_DIM = 65536,         /* sums of int8 products stay below 2^31 */
    TASKS_PER_WORKER = 4
};

/* One group of queries on its way over all rows. */
struct scan {
    const dns_scan_rows *rows;
    scan_kernel kernel;
    size_t row_bytes, tile_rows, task_rows;
    size_t scratch_bytes; /* of a worker, for the kernel */

    const void *queries; /* as the kernel wants them */
    int8_t *query_codes; /* [GROUP, dim] for I8 */
    float query_scales[GROUP];
    int32_t query_sums[GROUP];
    size_t n_queries;

    /* Of each worker. */
    uint8_t *scratch;   /* [n_workers, scratch_bytes] */
    float *tile_scores; /* [n_workers, GROUP, stride] */
    size_t stride;
    struct topk *tops;          /* [n_workers, GROUP]; NULL when all scores are wanted */
    struct topk_entry *entries; /* [n_workers, group, capacity] */
    size_t n_workers;

    float *scores; /* where all scores of this group go, or NULL */
    dns_hit *hits; /* of this group, or NULL */
    size_t k;
};

static size_t element_size(dns_dtype dtype)
{
    return dtype == DNS_F32 ? sizeof(float) : 1;
}

static dns_status check_rows(const dns_scan_rows *rows)
{
    if (rows->dtype != DNS_F32 && rows->dtype != DNS_I8 && rows->dtype != DNS_U8)
        return dns_status_set(DNS_ERR_ARG, "vectors of dtype %s cannot be scanned",
                              dns_dtype_name(rows->dtype));
    if (rows->dim == 0 || rows->dim > MAX_DIM)
        return dns_status_set(DNS_ERR_SHAPE, "vectors of %zu elements, expected 1 to %d", rows->dim,
                              MAX_DIM);
    if (rows->n_rows >= DNS_NO_ROW)
        return dns_status_set(DNS_ERR_LIMIT, "%zu vectors, at most 2^32 - 2 can be scanned",
                              rows->n_rows);
    return DNS_OK;
}

static dns_status check_queries(const dns_scan_rows *rows, const void *queries, size_t n_queries)
{
    if (rows->dtype == DNS_U8)
        return DNS_OK;
    const float *x = queries;
    for (size_t i = 0; i < n_queries * rows->dim; i++)
        if (!isfinite(x[i]))
            return dns_status_set(DNS_ERR_RANGE, "query %zu: element %zu is not finite",
                                  i / rows->dim, i % rows->dim);
    return DNS_OK;
}

static scan_kernel choose_kernel(dns_dtype dtype)
{
    struct scan_kernels kernels = dns_scan_kernels(dns_cpu_flags());
    return dtype == DNS_F32 ? kernels.f32 : dtype == DNS_I8 ? kernels.i8 : kernels.codes;
}

/* Everything that does not depend on the group. `group` queries are asked together; k = 0: all
 * scores are wanted. */
static dns_status prepare(struct scan *scan, const dns_scan_rows *rows, size_t k, size_t group,
                          size_t n_workers)
{
    dns_status status = DNS_OK;
    scan->rows = rows;
    scan->kernel = choose_kernel(rows->dtype);
    scan->n_workers = n_workers;
    scan->k = k;
    scan->row_bytes = rows->dim * element_size(rows->dtype);
    scan->tile_rows = SCAN_TILE_BYTES / scan->row_bytes / 8 * 8;
    scan->tile_rows = scan->tile_rows < 8                ? 8
                      : scan->tile_rows > SCAN_TILE_ROWS ? SCAN_TILE_ROWS
                                                         : scan->tile_rows;
    scan->stride =
        scan->tile_rows + 16; /* not a power of two, so that queries do not share cache sets */
    size_t n_tiles = rows->n_rows / scan->tile_rows + 1, n_tasks = n_workers * TASKS_PER_WORKER;
    scan->task_rows = (n_tiles + n_tasks - 1) / n_tasks * scan->tile_rows;
    if (rows->dtype == DNS_U8)
        scan->scratch_bytes = scan->tile_rows * ((scan->row_bytes + 63) / 64 * 64);
    DNS_TRY(dns_alloc(&scan->scratch, n_workers, scan->scratch_bytes));
    DNS_TRY(dns_alloc(&scan->tile_scores, n_workers, GROUP * scan->stride * sizeof(float)));
    if (rows->dtype == DNS_I8)
        DNS_TRY(dns_alloc(&scan->query_codes, GROUP, rows->dim));
    if (k == 0)
        goto out;
    DNS_TRY(dns_alloc(&scan->tops, n_workers * GROUP, sizeof *scan->tops));
    size_t capacity = dns_topk_capacity(k, rows->n_rows);
    DNS_TRY(dns_alloc(&scan->entries, n_workers * group, capacity * sizeof *scan->entries));
    for (size_t worker = 0; worker < n_workers; worker++)
        for (size_t q = 0; q < group; q++)
            scan->tops[worker * GROUP + q] =
                (struct topk){.entries = scan->entries + (worker * group + q) * capacity,
                              .k = k,
                              .capacity = capacity,
                              .ids = rows->ids};
out:
    return status;
}

static void release(struct scan *scan)
{
    dns_free(scan->scratch);
    dns_free(scan->tile_scores);
    dns_free(scan->query_codes);
    dns_free(scan->tops);
    dns_free(scan->entries);
}

static dns_status set_queries(struct scan *scan, const void *queries, size_t n_queries)
{
    size_t dim = scan->rows->dim;
    scan->n_queries = n_queries;
    scan->queries = queries;
    if (scan->rows->dtype != DNS_I8)
        return DNS_OK;
    scan->queries = scan->query_codes;
    dns_status status =
        dns_rows_to_i8(scan->query_codes, scan->query_scales, queries, n_queries, dim);
    if (status != DNS_OK)
        return status;
    for (size_t q = 0; q < n_queries; q++) {
        scan->query_sums[q] = 0;
        for (size_t i = 0; i < dim; i++)
            scan->query_sums[q] += scan->query_codes[q * dim + i];
    }
    return DNS_OK;
}

/* From what the kernel gives to what the caller gets. */
static float final_score(const dns_scan_rows *rows, float score)
{
    return rows->dtype == DNS_U8 ? 1.0f + 2.0f * score / (float)(8 * rows->dim) : score;
}

/* Hands the scores of a tile on: to the buffers of this worker, or to the caller's array. */
static dns_status deliver(struct scan *scan, const struct scan_tile *tile, size_t first_row,
                          size_t worker)
{
    dns_status status = DNS_OK;
    for (size_t q = 0; q < tile->n_queries; q++) {
        const float *scores = tile->scores + q * tile->stride;
        if (scan->tops != NULL) {
            DNS_TRY(
                dns_topk_offer(&scan->tops[worker * GROUP + q], scores, tile->n_rows, first_row));
            continue;
        }
        for (size_t r = 0; r < tile->n_rows; r++)
            scan->scores[q * scan->rows->n_rows + first_row + r] =
                final_score(scan->rows, scores[r]);
    }
out:
    return status;
}

static dns_status scan_task(void *payload, size_t task, size_t worker)
{
    struct scan *scan = payload;
    const dns_scan_rows *rows = scan->rows;
    dns_status status = DNS_OK;
    size_t start = task * scan->task_rows;
    size_t end = rows->n_rows - start < scan->task_rows ? rows->n_rows : start + scan->task_rows;
    for (size_t row = start; row < end; row += scan->tile_rows) {
        struct scan_tile tile = {
            .rows = (const uint8_t *)rows->vectors + row * scan->row_bytes,
            .row_scales = rows->scales != NULL ? rows->scales + row : NULL,
            .n_rows = end - row < scan->tile_rows ? end - row : scan->tile_rows,
            .dim = rows->dim,
            .queries = scan->queries,
            .query_scales = scan->query_scales,
            .query_sums = scan->query_sums,
            .n_queries = scan->n_queries,
            .scratch = scan->scratch + worker * scan->scratch_bytes,
            .scores = scan->tile_scores + worker * GROUP * scan->stride,
            .stride = scan->stride,
        };
        scan->kernel(&tile);
        DNS_TRY(deliver(scan, &tile, row, worker));
    }
out:
    return status;
}

/* The answer to one query from what all workers kept. */
static dns_status finish_task(void *payload, size_t q, size_t worker)
{
    (void)worker;
    struct scan *scan = payload;
    const dns_scan_rows *rows = scan->rows;
    struct topk *best = &scan->tops[q];
    for (size_t other = 1; other < scan->n_workers; other++)
        dns_topk_merge(best, &scan->tops[other * GROUP + q]);
    dns_topk_finish(best);
    for (size_t i = 0; i < best->n; i++) {
        uint32_t row = best->entries[i].row;
        scan->hits[q * scan->k + i] = (dns_hit){rows->ids != NULL ? rows->ids[row] : row,
                                                final_score(rows, best->entries[i].score), row};
    }
    for (size_t other = 0; other < scan->n_workers; other++)
        dns_topk_clear(&scan->tops[other * GROUP + q]);
    return DNS_OK;
}

static dns_status run_group(struct scan *scan, const void *queries, size_t n_queries,
                            dns_pool *pool)
{
    dns_status status = DNS_OK;
    DNS_TRY(set_queries(scan, queries, n_queries));
    DNS_TRY(dns_pool_run(pool, (scan->rows->n_rows + scan->task_rows - 1) / scan->task_rows,
                         scan_task, scan));
    if (scan->tops != NULL)
        DNS_TRY(dns_pool_run(pool, n_queries, finish_task, scan));
out:
    return status;
}

dns_status dns_scan_search(dns_hit *hits, size_t *n_found, const dns_scan_rows *rows,
                           const void *queries, size_t n_queries, size_t k, dns_pool *pool)
{
    dns_status status = DNS_OK;
    struct scan scan = {0};
    *n_found = 0;
    if (k == 0)
        return dns_status_set(DNS_ERR_ARG, "the number of neighbours is 0");
    DNS_TRY(check_rows(rows));
    DNS_TRY(check_queries(rows, queries, n_queries));
    size_t n_workers = dns_pool_size(pool), n_kept = k < rows->n_rows ? k : rows->n_rows;
    if (n_kept == 0 || n_queries == 0)
        goto out;
    size_t group = GROUP_BYTES / sizeof(struct topk_entry) / n_workers /
                   dns_topk_capacity(n_kept, rows->n_rows);
    group = group < 1 ? 1 : group > GROUP ? GROUP : group;
    DNS_TRY(prepare(&scan, rows, n_kept, group, n_workers));
    scan.k = k; /* buffers keep n_kept; answers lie k apart */
    for (size_t q = 0; q < n_queries; q += group) {
        scan.hits = hits + q * k;
        DNS_TRY(run_group(&scan,
                          (const uint8_t *)queries +
                              q * rows->dim * (rows->dtype == DNS_U8 ? 1 : sizeof(float)),
                          n_queries - q < group ? n_queries - q : group, pool));
    }
    *n_found = n_kept;
out:
    release(&scan);
    return status;
}

dns_status dns_scan_scores(float *scores, const dns_scan_rows *rows, const void *queries,
                           size_t n_queries, dns_pool *pool)
{
    dns_status status = DNS_OK;
    struct scan scan = {0};
    DNS_TRY(check_rows(rows));
    DNS_TRY(check_queries(rows, queries, n_queries));
    DNS_TRY(prepare(&scan, rows, 0, GROUP, dns_pool_size(pool)));
    for (size_t q = 0; q < n_queries; q += GROUP) {
        scan.scores = scores + q * rows->n_rows;
        DNS_TRY(run_group(&scan,
                          (const uint8_t *)queries +
                              q * rows->dim * (rows->dtype == DNS_U8 ? 1 : sizeof(float)),
                          n_queries - q < GROUP ? n_queries - q : GROUP, pool));
    }
out:
    release(&scan);
    return status;
}

dns_status dns_scan_rescore(dns_hit *hits, size_t *n_hits, const float *query, size_t dim,
                            dns_scan_fetch fetch, void *payload)
{
    dns_status status = DNS_OK;
    size_t n = 0;
    scan_kernel kernel = choose_kernel(DNS_F32);
    for (size_t i = 0; i < *n_hits; i++) {
        const float *vector = NULL;
        float scores[8];
        DNS_TRY(fetch(payload, &vector, &hits[i]));
        if (vector == NULL)
            continue;
        struct scan_tile tile = {.rows = vector,
                                 .n_rows = 1,
                                 .dim = dim,
                                 .queries = query,
                                 .n_queries = 1,
                                 .scores = scores,
                                 .stride = 8};
        kernel(&tile);
        if (!isfinite(scores[0]))
            DNS_FAIL(DNS_ERR_RANGE, "vector %016llx: its product with the query is not finite",
                     (unsigned long long)hits[i].id);
        hits[n] = hits[i];
        hits[n++].score = scores[0];
    }
    *n_hits = n;
    dns_hits_sort(hits, n);
out:
    return status;
}

static int compare_hits(const void *a, const void *b)
{
    const dns_hit *x = a, *y = b;
    if (x->score != y->score)
        return x->score > y->score ? -1 : 1;
    return x->id < y->id ? -1 : x->id > y->id;
}

void dns_hits_sort(dns_hit *hits, size_t n_hits)
{
    if (n_hits > 1)
        qsort(hits, n_hits, sizeof *hits, compare_hits);
}

static int compare_ids(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

dns_status dns_scan_recall(double *recall, const dns_hit *found, const size_t *n_found,
                           const dns_hit *exact, size_t n_exact, size_t n_queries, size_t k)
{
    dns_status status = DNS_OK;
    uint64_t *ids = NULL;
    size_t n_common = 0;
    *recall = 1.0;
    if (n_exact == 0 || n_queries == 0)
        return DNS_OK;
    DNS_TRY(dns_alloc(&ids, n_exact, sizeof *ids));
    for (size_t q = 0; q < n_queries; q++) {
        for (size_t i = 0; i < n_exact; i++)
            ids[i] = exact[q * k + i].id;
        qsort(ids, n_exact, sizeof *ids, compare_ids);
        for (size_t i = 0; i < n_found[q]; i++)
            n_common +=
                bsearch(&found[q * k + i].id, ids, n_exact, sizeof *ids, compare_ids) != NULL;
    }
    *recall = (double)n_common / (double)(n_exact * n_queries);
out:
    dns_free(ids);
    return status;
}
