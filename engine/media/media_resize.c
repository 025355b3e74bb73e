#include "media_resize.h"

#include <math.h>

#include "dnsel/memory.h"

/* Four source positions and their weights in 1/2048. */
typedef struct taps {
    size_t at[4];
    int32_t weight[4];
} taps;

/* Keys' kernel with a = -0.75, in float as OpenCV has it. */
static void cubic_weights(float x, float w[4])
{
    const float a = -0.75f;
    w[0] = ((a * (x + 1) - 5 * a) * (x + 1) + 8 * a) * (x + 1) - 4 * a;
    w[1] = ((a + 2) * x - (a + 3)) * x * x + 1;
    w[2] = ((a + 2) * (1 - x) - (a + 3)) * (1 - x) * (1 - x) + 1;
    w[3] = 1.f - w[0] - w[1] - w[2];
}

static taps taps_at(size_t position, double step, size_t n_source)
{
    taps t;
    float w[4];
    float centre = (float)(((double)position + 0.5) * step - 0.5);
    float whole = floorf(centre);
    cubic_weights(centre - whole, w);
    for (int i = 0; i < 4; i++) {
        float at = whole + (float)(i - 1);
        t.at[i] = at <= 0 ? 0 : at >= (float)(n_source - 1) ? n_source - 1 : (size_t)at;
        t.weight[i] = (int32_t)rintf(w[i] * 2048);
    }
    return t;
}

static void resize_row(const uint8_t *row, const taps *columns, size_t size, int32_t *out)
{
    for (size_t x = 0; x < size; x++) {
        const taps *t = &columns[x];
        for (size_t c = 0; c < 3; c++)
            out[3 * x + c] =
                row[3 * t->at[0] + c] * t->weight[0] + row[3 * t->at[1] + c] * t->weight[1] +
                row[3 * t->at[2] + c] * t->weight[2] + row[3 * t->at[3] + c] * t->weight[3];
    }
}

/* The vertical sum is in float, in this order, as OpenCV's vector code has it: integers differ by
 * one now and then. */
static void mix_rows(int32_t *const rows[4], const taps *t, size_t n, uint8_t *out)
{
    float w[4];
    for (int i = 0; i < 4; i++)
        w[i] = (float)t->weight[i] * (1.f / (1 << 22));
    for (size_t i = 0; i < n; i++) {
        float sum = (float)rows[3][i] * w[3];
        sum = (float)rows[2][i] * w[2] + sum;
        sum = (float)rows[1][i] * w[1] + sum;
        sum = (float)rows[0][i] * w[0] + sum;
        float rounded = rintf(sum);
        out[i] = rounded <= 0 ? 0 : rounded >= 255 ? 255 : (uint8_t)rounded;
    }
}

void dns_cubic_centre(dns_cubic *q, size_t short_side)
{
    double shorter = (double)(q->width < q->height ? q->width : q->height);
    double factor = (double)short_side / shorter;
    q->step_x = q->step_y = 1 / factor;
    q->left = ((size_t)nearbyint((double)q->width * factor) - q->size) / 2;
    q->top = ((size_t)nearbyint((double)q->height * factor) - q->size) / 2;
}

void dns_cubic_stretch(dns_cubic *q)
{
    q->step_x = 1 / ((double)q->size / (double)q->width);
    q->step_y = 1 / ((double)q->size / (double)q->height);
    q->left = q->top = 0;
}

dns_status dns_cubic_resize(const dns_cubic *q, const uint8_t *source, uint8_t *out)
{
    dns_status status = DNS_OK;
    size_t n = 3 * q->size;
    taps *columns = NULL;
    int32_t *lines = NULL; /* the last four rows used, at (row mod 4) */
    size_t held[4] = {SIZE_MAX, SIZE_MAX, SIZE_MAX, SIZE_MAX};
    DNS_TRY(dns_alloc(&columns, q->size, sizeof *columns));
    DNS_TRY(dns_alloc(&lines, 4 * n, sizeof *lines));
    for (size_t x = 0; x < q->size; x++)
        columns[x] = taps_at(q->left + x, q->step_x, q->width);
    for (size_t y = 0; y < q->size; y++) {
        taps t = taps_at(q->top + y, q->step_y, q->height);
        int32_t *rows[4];
        for (int i = 0; i < 4; i++) {
            size_t slot = t.at[i] % 4;
            rows[i] = lines + slot * n;
            if (held[slot] != t.at[i])
                resize_row(source + t.at[i] * q->stride, columns, q->size, rows[i]);
            held[slot] = t.at[i];
        }
        mix_rows(rows, &t, n, out + y * n);
    }
out:
    dns_free(lines);
    dns_free(columns);
    return status;
}
