#include "dnsel/isotonic.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "dnsel/memory.h"

/* A stretch of points with one value. */
struct block {
    double sum, weight; /* of weight * y, and of weight */
    float first, last;  /* x */
};

struct point {
    float x, y, weight;
};

static int by_x_then_y(const void *left, const void *right)
{
    const struct point *a = left, *b = right;
    if (a->x != b->x)
        return a->x < b->x ? -1 : 1;
    if (a->y != b->y) /* sums of equal sets of points then do not depend on the order given */
        return a->y < b->y ? -1 : 1;
    return (a->weight > b->weight) - (a->weight < b->weight);
}

static double value(const struct block *block)
{
    return block->sum / block->weight;
}

/* blocks[0 .. return-1] = the pooled points. */
static size_t pool_adjacent_violators(struct block *blocks, const struct point *points, size_t n)
{
    size_t n_blocks = 0;
    for (size_t i = 0; i < n;) {
        struct block new = {0, 0, points[i].x, points[i].x};
        for (; i < n && points[i].x == new.first; i++) {
            new.sum += (double)points[i].weight *(double)points[i].y;
            new.weight += (double)points[i].weight;
        }
        while (n_blocks > 0 && value(&blocks[n_blocks - 1]) >= value(&new)) {
            const struct block *before = &blocks[--n_blocks];
            new.sum += before->sum;
            new.weight += before->weight;
            new.first = before->first;
        }
        blocks[n_blocks++] = new;
    }
    return n_blocks;
}

dns_status dns_isotonic_fit(dns_isotonic *out, const float *x, const float *y, const float *weights,
                            size_t n)
{
    dns_status status = DNS_OK;
    struct point *points = NULL;
    struct block *blocks = NULL;
    float *knots_x = NULL, *knots_y = NULL;
    size_t n_knots = 0;
    *out = (dns_isotonic){0};
    if (n == 0)
        DNS_FAIL(DNS_ERR_ARG, "isotonic regression: no points");
    DNS_TRY(dns_alloc(&points, n, sizeof *points));
    DNS_TRY(dns_alloc(&blocks, n, sizeof *blocks));
    for (size_t i = 0; i < n; i++) {
        points[i] = (struct point){x[i] + 0.0f, y[i], weights != NULL ? weights[i] : 1.0f};
        if (!(isfinite(x[i]) && isfinite(y[i]) && points[i].weight > 0 &&
              isfinite(points[i].weight)))
            DNS_FAIL(DNS_ERR_RANGE, "isotonic regression: point %zu is (%g, %g), weight %g", i,
                     (double)x[i], (double)y[i], (double)points[i].weight);
    }
    qsort(points, n, sizeof *points, by_x_then_y);
    size_t n_blocks = pool_adjacent_violators(blocks, points, n);
    DNS_TRY(dns_alloc(&knots_x, 2 * n_blocks, sizeof *knots_x));
    DNS_TRY(dns_alloc(&knots_y, 2 * n_blocks, sizeof *knots_y));
    for (size_t b = 0; b < n_blocks; b++) {
        float ends[2] = {blocks[b].first, blocks[b].last};
        for (int end = 0; end < (ends[0] < ends[1] ? 2 : 1); end++) {
            knots_x[n_knots] = ends[end];
            knots_y[n_knots++] = (float)value(&blocks[b]);
        }
    }
    *out = (dns_isotonic){n_knots, knots_x, knots_y};
    knots_x = knots_y = NULL;
out:
    dns_free(points);
    dns_free(blocks);
    dns_free(knots_x);
    dns_free(knots_y);
    return status;
}

dns_status dns_isotonic_create(dns_isotonic *out, const float *x, const float *y, size_t n)
{
    dns_status status = DNS_OK;
    dns_isotonic map = {.n = n};
    *out = (dns_isotonic){0};
    if (n == 0)
        DNS_FAIL(DNS_ERR_RANGE, "isotonic map: no knots");
    for (size_t i = 0; i < n; i++) {
        if (!(isfinite(x[i]) && isfinite(y[i]) &&
              (i == 0 || (x[i] > x[i - 1] && y[i] >= y[i - 1]))))
            DNS_FAIL(DNS_ERR_RANGE, "isotonic map: knot %zu (%g, %g) is not finite or not in order",
                     i, (double)x[i], (double)y[i]);
    }
    DNS_TRY(dns_alloc(&map.x, n, sizeof *map.x));
    DNS_TRY(dns_alloc(&map.y, n, sizeof *map.y));
    memcpy(map.x, x, n * sizeof *x);
    memcpy(map.y, y, n * sizeof *y);
    *out = map;
    map = (dns_isotonic){0};
out:
    dns_isotonic_free(&map);
    return status;
}

void dns_isotonic_free(dns_isotonic *map)
{
    if (map == NULL)
        return;
    dns_free(map->x);
    dns_free(map->y);
    *map = (dns_isotonic){0};
}

float dns_isotonic_at(const dns_isotonic *map, float x)
{
    size_t low = 0, high = map->n - 1;
    if (!(x > map->x[low]))
        return map->y[low];
    if (x >= map->x[high])
        return map->y[high];
    while (high - low > 1) {
        size_t middle = low + (high - low) / 2;
        if (map->x[middle] <= x)
            low = middle;
        else
            high = middle;
    }
    float share = (x - map->x[low]) / (map->x[high] - map->x[low]);
    return map->y[low] + share * (map->y[high] - map->y[low]);
}
