#include "topk.h"

#include <math.h>

static uint64_t id_of(const struct topk *top, uint32_t row)
{
    return top->ids != NULL ? top->ids[row] : row;
}

static bool better(const struct topk *top, struct topk_entry a, struct topk_entry b)
{
    return a.score > b.score || (a.score == b.score && id_of(top, a.row) < id_of(top, b.row));
}

/* Puts `entry` into the hole at `i` of the first n, whose children are heaps. */
static void sift_down(struct topk *top, size_t i, size_t n, struct topk_entry entry)
{
    for (size_t child; (child = 2 * i + 1) < n; i = child) {
        if (child + 1 < n && better(top, top->entries[child], top->entries[child + 1]))
            child++;
        if (!better(top, entry, top->entries[child]))
            break;
        top->entries[i] = top->entries[child];
    }
    top->entries[i] = entry;
}

static void keep(struct topk *top, struct topk_entry entry)
{
    if (top->n == top->k) {
        if (better(top, entry, top->entries[0]))
            sift_down(top, 0, top->n, entry);
        return;
    }
    size_t i = top->n++;
    for (; i > 0 && better(top, top->entries[(i - 1) / 2], entry); i = (i - 1) / 2)
        top->entries[i] = top->entries[(i - 1) / 2];
    top->entries[i] = entry;
}

enum { BLOCK = 16 };

/* Whether any score of a block is not below the bound; true for a NaN. */
static bool any_reaches(const float *scores, float bound)
{
    int any = 0;
    for (size_t i = 0; i < BLOCK; i++)
        any |= !(scores[i] < bound);
    return any != 0;
}

dns_status dns_topk_offer(struct topk *top, const float *scores, size_t n, size_t first_row)
{
    for (size_t start = 0; start < n; start += BLOCK) {
        size_t end = n - start < BLOCK ? n : start + BLOCK;
        if (top->n == top->k && end == start + BLOCK &&
            !any_reaches(scores + start, top->entries[0].score))
            continue;
        for (size_t i = start; i < end; i++) {
            struct topk_entry entry = {scores[i], (uint32_t)(first_row + i)};
            if (top->n == top->k && entry.score < top->entries[0].score)
                continue;
            if (!isfinite(entry.score))
                return dns_status_set(DNS_ERR_RANGE,
                                      "vector %016llx: its product with the query is not finite",
                                      (unsigned long long)id_of(top, entry.row));
            keep(top, entry);
        }
    }
    return DNS_OK;
}

void dns_topk_merge(struct topk *top, const struct topk *other)
{
    for (size_t i = 0; i < other->n; i++)
        keep(top, other->entries[i]);
}

void dns_topk_sort(struct topk *top)
{
    for (size_t n = top->n; n > 1; n--) {
        struct topk_entry worst = top->entries[0];
        sift_down(top, 0, n - 1, top->entries[n - 1]);
        top->entries[n - 1] = worst;
    }
}
