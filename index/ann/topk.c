#include "topk.h"

#include <math.h>

enum { BLOCK = 16, LEAST = 64 };

static uint64_t id_of(const struct topk *top, uint32_t row)
{
    return top->ids != NULL ? top->ids[row] : row;
}

static bool better(const struct topk *top, struct topk_entry a, struct topk_entry b)
{
    return a.score > b.score || (a.score == b.score && id_of(top, a.row) < id_of(top, b.row));
}

size_t dns_topk_capacity(size_t k, size_t n_rows)
{
    return n_rows / 2 <= k || n_rows <= k + LEAST ? n_rows : k > LEAST ? 2 * k : k + LEAST;
}

static void swap(struct topk_entry *a, struct topk_entry *b)
{
    struct topk_entry kept = *a;
    *a = *b;
    *b = kept;
}

/* Moves the k best to the front, in no order: quickselect, all entries being different. */
static void select_best(struct topk *top, size_t k)
{
    struct topk_entry *e = top->entries;
    for (size_t low = 0, high = top->n; high - low > 1 && low < k;) {
        size_t middle = low + (high - low) / 2, last = high - 1;
        if (better(top, e[middle], e[low]))
            swap(&e[middle], &e[low]);
        if (better(top, e[last], e[low]))
            swap(&e[last], &e[low]);
        if (better(top, e[last], e[middle]))
            swap(&e[last], &e[middle]);
        struct topk_entry pivot = e[middle];
        size_t i = low, j = last;
        while (i <= j) {
            while (better(top, e[i], pivot))
                i++;
            while (better(top, pivot, e[j]))
                j--;
            if (i <= j) {
                swap(&e[i++], &e[j]);
                if (j == 0)
                    break;
                j--;
            }
        }
        /* low .. j are the pivot or better, i .. high - 1 the pivot or worse. */
        if (k <= j)
            high = j + 1;
        else if (k >= i)
            low = i;
        else
            return;
    }
}

/* Cuts the buffer to its k best. */
static void cut(struct topk *top)
{
    if (top->n <= top->k)
        return;
    select_best(top, top->k);
    top->n = top->k;
    top->bound = top->entries[0];
    for (size_t i = 1; i < top->n; i++)
        if (better(top, top->bound, top->entries[i]))
            top->bound = top->entries[i];
    top->bounded = true;
}

static void keep(struct topk *top, struct topk_entry entry)
{
    if (top->bounded && !better(top, entry, top->bound))
        return;
    if (top->n == top->capacity) {
        cut(top);
        if (!better(top, entry, top->bound))
            return;
    }
    top->entries[top->n++] = entry;
}

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
        if (top->bounded && end == start + BLOCK && !any_reaches(scores + start, top->bound.score))
            continue;
        for (size_t i = start; i < end; i++) {
            struct topk_entry entry = {scores[i], (uint32_t)(first_row + i)};
            if (!isfinite(entry.score))
                cut(top); /* is it among the best? */
            if (top->bounded && entry.score < top->bound.score)
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

/* Puts `entry` into the hole at `i` of the first n, whose children are heaps, the worst on top. */
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

void dns_topk_finish(struct topk *top)
{
    cut(top);
    for (size_t i = top->n / 2; i-- > 0;)
        sift_down(top, i, top->n, top->entries[i]);
    for (size_t n = top->n; n > 1; n--) {
        struct topk_entry worst = top->entries[0];
        sift_down(top, 0, n - 1, top->entries[n - 1]);
        top->entries[n - 1] = worst;
    }
}

void dns_topk_clear(struct topk *top)
{
    top->n = 0;
    top->bounded = false;
}
