#include "dnsel/video_similarity.h"

#include <math.h>
#include <stdbool.h>

void dns_hardtanh_forward(dns_real *y, const dns_real *x, size_t n)
{
    for (size_t i = 0; i < n; i++)
        y[i] = x[i] < -1 ? -1 : x[i] > 1 ? 1 : x[i];
}

void dns_hardtanh_backward(dns_real *dx, const dns_real *dy, const dns_real *x, size_t n)
{
    for (size_t i = 0; i < n; i++)
        dx[i] = x[i] > -1 && x[i] < 1 ? dy[i] : 0;
}

double dns_range_penalty(dns_real *dx, const dns_real *x, size_t n, dns_real weight)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++) {
        sum += fmax(0, fabs((double)x[i]) - 1);
        if (dx != NULL && x[i] > 1)
            dx[i] += weight;
        if (dx != NULL && x[i] < -1)
            dx[i] -= weight;
    }
    return sum;
}

/* A map seen along rows, or along columns. */
struct seen {
    const dns_real *map;
    size_t lines, cells, line_step, cell_step;
    const uint8_t *line_mask, *cell_mask;
};

static struct seen along(const dns_score_map *m, bool columns)
{
    return columns ? (struct seen){m->map,     m->columns,     m->rows,    1,
                                   m->columns, m->column_mask, m->row_mask}
                   : (struct seen){m->map, m->rows,     m->columns,    m->columns,
                                   1,      m->row_mask, m->column_mask};
}

static bool is_real(const uint8_t *mask, size_t i)
{
    return mask == NULL || mask[i] != 0;
}

static size_t count_real(const uint8_t *mask, size_t n)
{
    size_t real = 0;
    for (size_t i = 0; i < n; i++)
        real += is_real(mask, i);
    return real;
}

/* Cell of a line's maximum; `cells` when none is real. */
static size_t winner(const struct seen *s, size_t line)
{
    const dns_real *values = s->map + line * s->line_step;
    size_t best = s->cells;
    for (size_t i = 0; i < s->cells; i++) {
        if (is_real(s->cell_mask, i) &&
            (best == s->cells || values[i * s->cell_step] > values[best * s->cell_step]))
            best = i;
    }
    return best;
}

static dns_real mean_of_maxima(const struct seen *s)
{
    size_t n = count_real(s->line_mask, s->lines);
    if (n == 0 || count_real(s->cell_mask, s->cells) == 0)
        return 0;
    dns_real sum = 0;
    for (size_t i = 0; i < s->lines; i++) {
        if (is_real(s->line_mask, i))
            sum += s->map[i * s->line_step + winner(s, i) * s->cell_step];
    }
    return sum / (dns_real)n;
}

static void spread(dns_real *dmap, dns_real d, const struct seen *s)
{
    size_t n = count_real(s->line_mask, s->lines);
    if (n == 0 || count_real(s->cell_mask, s->cells) == 0)
        return;
    for (size_t i = 0; i < s->lines; i++) {
        if (is_real(s->line_mask, i))
            dmap[i * s->line_step + winner(s, i) * s->cell_step] += d / (dns_real)n;
    }
}

dns_real dns_video_similarity_forward(const dns_score_map *map, dns_direction direction)
{
    struct seen rows = along(map, false), columns = along(map, true);
    if (direction == DNS_DIRECTION_QUERY)
        return mean_of_maxima(&rows);
    if (direction == DNS_DIRECTION_TARGET)
        return mean_of_maxima(&columns);
    dns_real query = mean_of_maxima(&rows), target = mean_of_maxima(&columns);
    if (direction == DNS_DIRECTION_MAX)
        return target > query ? target : query;
    return (query + target) / 2;
}

void dns_video_similarity_backward(dns_real *dmap, dns_real dscore, const dns_score_map *map,
                                   dns_direction direction)
{
    struct seen rows = along(map, false), columns = along(map, true);
    bool by_rows = direction != DNS_DIRECTION_TARGET, by_columns = direction != DNS_DIRECTION_QUERY;
    if (direction == DNS_DIRECTION_MAX) {
        by_columns = mean_of_maxima(&columns) > mean_of_maxima(&rows);
        by_rows = !by_columns;
    }
    dns_real d = direction == DNS_DIRECTION_SYMMETRIC ? dscore / 2 : dscore;
    if (by_rows)
        spread(dmap, d, &rows);
    if (by_columns)
        spread(dmap, d, &columns);
}
