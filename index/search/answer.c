#include "answer.h"

#include <math.h>
#include <stdlib.h>

#include "dnsel/memory.h"

struct ranked {
    float score;
    uint32_t row;
    uint64_t id;
};

static int better_first(const void *a, const void *b)
{
    const struct ranked *x = a, *y = b;
    if (x->score != y->score)
        return x->score < y->score ? 1 : -1;
    return x->id < y->id ? -1 : x->id > y->id;
}

/* Heap with the worst of the k best on top. */
static void sift_down(struct ranked *heap, size_t n)
{
    for (size_t i = 0;;) {
        size_t worst = i, left = 2 * i + 1, right = left + 1;
        if (left < n && better_first(&heap[left], &heap[worst]) > 0)
            worst = left;
        if (right < n && better_first(&heap[right], &heap[worst]) > 0)
            worst = right;
        if (worst == i)
            return;
        struct ranked kept = heap[i];
        heap[i] = heap[worst];
        heap[worst] = kept;
        i = worst;
    }
}

static void sift_up(struct ranked *heap, size_t i)
{
    for (size_t parent; i > 0 && better_first(&heap[i], &heap[parent = (i - 1) / 2]) > 0;
         i = parent) {
        struct ranked kept = heap[i];
        heap[i] = heap[parent];
        heap[parent] = kept;
    }
}

/*
 * Fine and coarse scores in one list. A calibrated model tells what fine score to expect of a
 * coarse one, so the two share a scale. Without calibration they do not: mixing raw cosines with
 * fine scores lost half of the mAP (docs/query.md), so what was compared comes first, and the
 * coarse scores of the rest end below the lowest of it.
 */
static float lowest_fine(const struct dns_scored *s)
{
    float lowest = INFINITY;
    for (size_t i = 0; i < s->n; i++)
        if (!isnan(s->fine[i]))
            lowest = fminf(lowest, s->fine[i] / 2 + 0.5f);
    return lowest;
}

static float score_of(const struct dns_scored *s, size_t i, float lowest)
{
    if (!isnan(s->fine[i]))
        return s->fine[i] / 2 + 0.5f;
    float score = s->expected[i];
    if (!s->calibrated && score >= lowest)
        score = lowest - 1e-6f * (1 - s->coarse[i]) - 1e-6f;
    return score;
}

static dns_status describe(dns_result *out, const struct dns_scored *s, const struct ranked *r,
                           const dns_snapshot *snapshot)
{
    dns_meta meta;
    char text[17];
    *out = (dns_result){.id = r->id,
                        .stage = isnan(s->fine[r->row]) ? DNS_STAGE_COARSE : DNS_STAGE_FINE,
                        .score = r->score,
                        .coarse = s->coarse[r->row],
                        .fine = s->fine[r->row],
                        .expected = s->expected[r->row],
                        .confidence = s->confidence != NULL ? s->confidence[r->row] : NAN,
                        .probability = s->probability != NULL ? s->probability[r->row] : NAN};
    dns_status status = dns_snapshot_meta(&meta, snapshot, r->id);
    dns_id_text(r->id, text);
    if (status == DNS_OK)
        status = dns_string_copy(&out->name, meta.imported ? meta.name : text);
    if (status == DNS_OK)
        status = dns_string_copy(&out->path, meta.path);
    return status;
}

dns_status dns_answer_fill(dns_answer *a, const struct dns_scored *s, const dns_snapshot *snapshot,
                           const dns_query *query, const dns_search_options *o)
{
    dns_status status = DNS_OK;
    struct ranked *heap = NULL;
    size_t n = 0, k = o->k == 0 || o->k > s->n ? s->n : o->k;
    float lowest = lowest_fine(s);
    DNS_TRY(dns_alloc(&heap, k, sizeof *heap));
    for (size_t i = 0; i < s->n && k > 0; i++) {
        struct ranked r = {score_of(s, i, lowest), (uint32_t)i, s->ids[i]};
        if (!((double)r.score >= o->min_score) ||
            (o->exclude_self && query->stored && r.id == query->id))
            continue;
        if (n < k) {
            heap[n] = r;
            sift_up(heap, n++);
        } else if (better_first(&r, &heap[0]) < 0) {
            heap[0] = r;
            sift_down(heap, n);
        }
    }
    if (n > 0)
        qsort(heap, n, sizeof *heap, better_first);
    DNS_TRY(dns_alloc(&a->results, n, sizeof *a->results));
    for (size_t i = 0; i < n; i++) {
        a->n_results = i + 1;
        DNS_TRY(describe(&a->results[i], s, &heap[i], snapshot));
    }
out:
    dns_free(heap);
    return status;
}

void dns_answer_free(dns_answer *a)
{
    if (a == NULL)
        return;
    for (size_t i = 0; a->results != NULL && i < a->n_results; i++) {
        dns_free(a->results[i].name);
        dns_free(a->results[i].path);
    }
    dns_free(a->results);
    dns_free(a);
}
