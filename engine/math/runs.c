#include "dnsel/runs.h"

#include <string.h>

static size_t length_of(const dns_runs *runs, size_t i)
{
    return runs->lengths != NULL ? runs->lengths[i] : 1;
}

dns_runs dns_runs_of(const uint16_t *lengths, size_t n)
{
    dns_runs runs = {.lengths = lengths, .n = n};
    for (size_t i = 0; i < n; i++)
        runs.n_frames += length_of(&runs, i);
    return runs;
}

dns_runs dns_runs_part(size_t *at, const dns_runs *whole, size_t first, size_t n_frames)
{
    dns_runs part = {.n_frames = n_frames};
    size_t passed = 0, i = 0;
    for (; i < whole->n && passed + length_of(whole, i) <= first; i++)
        passed += length_of(whole, i);
    *at = i;
    part.skip = first - passed;
    part.lengths = whole->lengths != NULL ? whole->lengths + i : NULL;
    for (; i < whole->n && passed < first + n_frames; i++, part.n++)
        passed += length_of(whole, i);
    return part;
}

/* One row of a map. */
static void expand_row(float *out, const float *row, const dns_runs *columns)
{
    size_t at = 0;
    for (size_t j = 0; j < columns->n; j++) {
        size_t length = length_of(columns, j) - (j == 0 ? columns->skip : 0);
        for (size_t k = 0; k < length && at < columns->n_frames; k++)
            out[at++] = row[j];
    }
}

void dns_runs_expand(float *out, const float *map, const dns_runs *rows, const dns_runs *columns)
{
    size_t width = columns->n_frames, at = 0;
    for (size_t i = 0; i < rows->n; i++) {
        size_t length = length_of(rows, i) - (i == 0 ? rows->skip : 0);
        for (size_t k = 0; k < length && at < rows->n_frames; k++, at++) {
            if (k == 0)
                expand_row(out + at * width, map + i * columns->n, columns);
            else
                memcpy(out + at * width, out + (at - 1) * width, width * sizeof *out);
        }
    }
}
