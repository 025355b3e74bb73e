#include "rerank.h"

#include <math.h>
#include <stdlib.h>

#include "dnsel/memory.h"
#include "dnsel/router.h"

enum {
    FIRST_ROUND = 64, /* comparisons, the best by coarse score: they raise the floor for the rest */
    AHEAD = 64,       /* records that the disk may be asked for before they are needed */
    PLACE_STEP = 64
};

struct candidate {
    uint64_t id;
    uint32_t row;
    dns_place place;
    double seconds; /* the comparison took; 0: none made */
};

/* The k best scores that are certain, the lowest of them on top. */
struct best {
    float *scores;
    size_t n, k;
};

struct work {
    struct dns_rerank *r;
    dns_kind kind;
    struct candidate *candidates; /* [n], those with a record; in the order of comparison */
    size_t n, first;              /* of the round in hand */
    size_t frame_bytes;
    float floor; /* of fine scores; -INFINITY: all are compared to the end */
    struct best best;
};

/* ---- who, and where ---- */

static dns_status place_task(void *payload, size_t task, size_t worker)
{
    (void)worker;
    struct work *w = payload;
    size_t end = (task + 1) * PLACE_STEP < w->n ? (task + 1) * PLACE_STEP : w->n;
    for (size_t i = task * PLACE_STEP; i < end; i++) {
        struct candidate *c = &w->candidates[i];
        dns_status status = dns_snapshot_place(&c->place, w->r->snapshot, w->kind, c->id);
        if (status != DNS_OK && status != DNS_ERR_NOTFOUND)
            return status;
    }
    return DNS_OK;
}

/* A video too short or not yet rebuilt has no record: it is left out here, and counted. */
static dns_status find_candidates(struct work *w)
{
    dns_status status = DNS_OK;
    const struct dns_rerank *r = w->r;
    size_t n = 0;
    DNS_TRY(dns_alloc(&w->candidates, r->n_routed, sizeof *w->candidates));
    w->n = r->n_routed;
    for (size_t i = 0; i < w->n; i++)
        w->candidates[i] = (struct candidate){.id = r->ids[r->routed[i]], .row = r->routed[i]};
    DNS_TRY(dns_pool_run(r->searcher->pool, (w->n + PLACE_STEP - 1) / PLACE_STEP, place_task, w));
    for (size_t i = 0; i < w->n; i++)
        if (w->candidates[i].place.size > 0)
            w->candidates[n++] = w->candidates[i];
    w->r->n_missing = w->n - n;
    w->n = n;
out:
    return status;
}

static int by_place(const void *a, const void *b)
{
    uint64_t x = ((const struct candidate *)a)->place.offset,
             y = ((const struct candidate *)b)->place.offset;
    return x < y ? -1 : x > y;
}

/* ---- what is certain already ---- */

static void keep_best(struct best *best, float score)
{
    float *heap = best->scores;
    size_t i;
    if (best->n < best->k) {
        for (i = best->n++; i > 0 && heap[(i - 1) / 2] > score; i = (i - 1) / 2)
            heap[i] = heap[(i - 1) / 2];
        heap[i] = score;
        return;
    }
    if (best->k == 0 || score <= heap[0])
        return;
    for (i = 0;;) {
        size_t child = 2 * i + 1;
        child += child + 1 < best->n && heap[child + 1] < heap[child];
        if (child >= best->n || heap[child] >= score)
            break;
        heap[i] = heap[child];
        i = child;
    }
    heap[i] = score;
}

static bool is_listed(const struct dns_rerank *r, uint64_t id)
{
    return !(r->options->exclude_self && r->query->stored && r->query->id == id);
}

/*
 * With a calibration, scores that stay coarse stand among the others and are known at once; without
 * one they come after everything that was compared (answer.c), and say nothing.
 */
static dns_status begin_best(struct work *w)
{
    dns_status status = DNS_OK;
    const struct dns_rerank *r = w->r;
    bool *is_candidate = NULL;
    w->best.k = r->options->k < r->n_rows ? r->options->k : 0; /* all are listed: no k-th */
    if (w->best.k == 0)
        return DNS_OK;
    DNS_TRY(dns_alloc(&w->best.scores, w->best.k, sizeof *w->best.scores));
    if (!dns_searcher_is_calibrated(r->searcher))
        goto out;
    DNS_TRY(dns_alloc(&is_candidate, r->n_rows, sizeof *is_candidate));
    for (size_t i = 0; i < w->n; i++)
        is_candidate[w->candidates[i].row] = true;
    for (size_t i = 0; i < r->n_rows; i++)
        if (!is_candidate[i] && is_listed(r, r->ids[i]))
            keep_best(&w->best, r->expected[i]);
out:
    dns_free(is_candidate);
    return status;
}

/* The floor as a fine score. Halving and rounding to the score of the list moves a fine score by
 * less than the margin. */
static void raise_floor(struct work *w)
{
    const float margin = 0x1p-21F;
    double floor = w->r->options->min_score;
    if (w->best.k > 0 && w->best.n == w->best.k)
        floor = fmax(floor, (double)w->best.scores[0]);
    if (!w->r->options->exhaustive && isinf(w->r->deadline))
        w->floor = (float)(2 * floor - 1) - margin;
}

/* ---- comparing ---- */

static dns_status compare_task(void *payload, size_t task, size_t worker)
{
    struct work *w = payload;
    const struct dns_rerank *r = w->r;
    struct candidate *c = &w->candidates[w->first + task];
    float *fine = &r->fine[c->row];
    dns_record record;
    if (dns_cancelled(r->options->cancel))
        return dns_status_set(DNS_ERR_CANCELLED, "interrupted");
    if (w->first + task + AHEAD < w->n)
        dns_snapshot_read_ahead(r->snapshot, &c[AHEAD].place);
    double start = dns_seconds();
    if (start > r->deadline)
        return DNS_OK; /* keeps its coarse score */
    dns_status status = dns_snapshot_get(&record, r->snapshot, w->kind, c->id, false);
    if (status == DNS_OK)
        status = dns_fine_compare(r->searcher->ranker, worker, fine, w->floor, &record);
    if (status == DNS_OK && !isfinite(*fine) && !(isinf(*fine) && *fine < 0))
        status = dns_status_set(DNS_ERR_CORRUPT, "fine score is not finite");
    if (status != DNS_OK) {
        char id[17];
        dns_id_text(c->id, id);
        return dns_status_context(status, "video %s", id);
    }
    c->seconds = dns_seconds() - start;
    return DNS_OK;
}

static dns_status compare_next(struct work *w, size_t n)
{
    struct dns_rerank *r = w->r;
    dns_status status = dns_pool_run(r->searcher->pool, n, compare_task, w);
    if (status != DNS_OK)
        return status;
    for (size_t i = w->first; i < w->first + n; i++) {
        float fine = r->fine[w->candidates[i].row];
        r->n_pairs += !isnan(fine);
        r->n_left += !isnan(fine) && isinf(fine);
        if (isfinite(fine) && is_listed(r, w->candidates[i].id))
            keep_best(&w->best, fine / 2 + 0.5F);
    }
    w->first += n;
    raise_floor(w);
    return DNS_OK;
}

/* The FIRST_ROUND best by coarse score to the front. */
static dns_status pick_first(struct work *w, size_t n_first)
{
    dns_status status = DNS_OK;
    uint32_t *chosen = NULL;
    float *expected = NULL;
    struct candidate *sorted = NULL;
    bool *is_first = NULL;
    const dns_router_options router = {.router = DNS_ROUTER_COARSE};
    DNS_TRY(dns_alloc(&chosen, n_first, sizeof *chosen));
    DNS_TRY(dns_alloc(&expected, w->n, sizeof *expected));
    DNS_TRY(dns_alloc(&is_first, w->n, sizeof *is_first));
    DNS_TRY(dns_alloc(&sorted, w->n, sizeof *sorted));
    for (size_t i = 0; i < w->n; i++)
        expected[i] = w->r->expected[w->candidates[i].row];
    const dns_router_input input = {.n = w->n, .coarse = expected, .expected = expected};
    DNS_TRY(dns_router_choose(chosen, n_first, &input, &router));
    for (size_t i = 0; i < n_first; i++)
        is_first[chosen[i]] = true;
    for (size_t i = 0, first = 0, rest = n_first; i < w->n; i++)
        sorted[is_first[i] ? first++ : rest++] = w->candidates[i];
    dns_free(w->candidates);
    w->candidates = sorted;
    sorted = NULL;
out:
    dns_free(sorted);
    dns_free(is_first);
    dns_free(expected);
    dns_free(chosen);
    return status;
}

/* Rounds that double; the first of the most promising, each in the order of the disk. */
static dns_status compare_all(struct work *w)
{
    dns_status status = DNS_OK;
    size_t n_round = 4 * w->best.k > FIRST_ROUND ? 4 * w->best.k : FIRST_ROUND;
    bool in_rounds = w->best.k > 0 && !w->r->options->exhaustive && n_round < w->n;
    w->r->n_planned = w->r->n_routed;
    qsort(w->candidates, w->n, sizeof *w->candidates, by_place);
    if (in_rounds)
        DNS_TRY(pick_first(w, n_round));
    for (size_t i = 0; i < AHEAD && i < w->n; i++)
        dns_snapshot_read_ahead(w->r->snapshot, &w->candidates[i].place);
    for (; w->first < w->n; n_round *= 2) {
        size_t left = w->n - w->first;
        DNS_TRY(compare_next(w, in_rounds && n_round < left ? n_round : left));
    }
out:
    return status;
}

/* ---- in limited time ---- */

/* Frames as far as bytes tell: nothing is read for them. */
static uint32_t candidate_frames(const void *payload, size_t i)
{
    const struct work *w = payload;
    return (uint32_t)(w->candidates[w->first + i].place.size / w->frame_bytes);
}

/* The searcher learns from the candidates first .. end-1 what comparisons cost. */
static void learn_cost(struct work *w, size_t first, size_t end)
{
    size_t step = (end - first) / DNS_COST_SAMPLES + 1;
    for (size_t i = first; i < end; i += step)
        if (w->candidates[i].seconds > 0)
            dns_fine_cost_add(&w->r->searcher->cost,
                              (double)w->r->record->shape[0] *
                                  (double)(w->candidates[i].place.size / w->frame_bytes),
                              w->candidates[i].seconds);
}

/*
 * Comparisons under a time limit, the most promising first. How many fit is decided at the start,
 * by what comparisons cost so far; a first query finds that out with its best candidates, but for
 * the very first of each worker, in which libraries set themselves up. The deadline still holds:
 * a machine may slow down.
 */
static dns_status compare_in_time(struct work *w)
{
    enum { PROBES = 8 };
    dns_status status = DNS_OK;
    struct dns_rerank *r = w->r;
    struct dns_fine_cost *cost = &r->searcher->cost;
    size_t n_workers = dns_pool_size(r->searcher->pool), fit;
    if (cost->n_seen == 0) {
        size_t warm = w->n < n_workers ? w->n : n_workers;
        DNS_TRY(compare_next(w, warm));
        DNS_TRY(compare_next(w, w->n - warm < PROBES ? w->n - warm : PROBES));
        learn_cost(w, warm, w->first);
    }
    r->n_planned = w->first;
    if (cost->n_seen > 0 && w->first < w->n) {
        double left = 0.9 * (r->deadline - dns_seconds()) * (double)n_workers;
        DNS_TRY(dns_fine_cost_plan(&fit, cost, left, r->record->shape[0], w->n - w->first,
                                   candidate_frames, w));
        DNS_TRY(compare_next(w, fit));
        learn_cost(w, r->n_planned, w->first);
        r->n_planned += fit;
    }
out:
    return status;
}

/* ---- all of it ---- */

static size_t record_bytes(const dns_record *record)
{
    size_t size = dns_dtype_size(record->dtype);
    for (size_t i = 0; i < record->rank; i++)
        size *= record->shape[i];
    return size;
}

dns_status dns_rerank_run(struct dns_rerank *r)
{
    dns_status status = DNS_OK;
    struct work w = {.r = r, .kind = dns_fine_kind(r->searcher->fine), .floor = -INFINITY};
    w.frame_bytes = record_bytes(r->record) / r->record->shape[0];
    r->n_planned = r->n_pairs = r->n_left = r->n_missing = 0;
    for (size_t i = 0; i < r->n_rows; i++)
        r->fine[i] = NAN;
    DNS_TRY(dns_fine_set_query(r->searcher->ranker, r->record));
    DNS_TRY(find_candidates(&w));
    DNS_TRY(begin_best(&w));
    raise_floor(&w);
    DNS_TRY(isinf(r->deadline) ? compare_all(&w) : compare_in_time(&w));
out:
    dns_free(w.best.scores);
    dns_free(w.candidates);
    return status;
}
