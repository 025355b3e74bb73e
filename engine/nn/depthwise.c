#include "dnsel/depthwise.h"

#include <string.h>

#include "dnsel/memory.h"

/* Channels of one task: whole vectors, and a gradient that one task sums alone. */
enum { BLOCK = 32 };

struct depthwise {
    dns_depthwise s;
    dns_real *y, *dx, *dw, *db;
    const dns_real *x, *w, *b, *dy;
};

/* One tap of the kernel between two maps: the rows and columns where both ends lie inside. */
struct tap {
    size_t first_row, n_rows, first_column, n_columns; /* of the output */
    ptrdiff_t shift; /* from an output cell to its input cell, in cells */
};

static struct tap tap_of(const dns_depthwise *s, size_t u, size_t v)
{
    ptrdiff_t half = (ptrdiff_t)(s->kernel / 2), du = (ptrdiff_t)u - half, dv = (ptrdiff_t)v - half;
    ptrdiff_t height = (ptrdiff_t)s->height, width = (ptrdiff_t)s->width;
    ptrdiff_t top = du < 0 ? -du : 0, bottom = du > 0 ? height - du : height;
    ptrdiff_t left = dv < 0 ? -dv : 0, right = dv > 0 ? width - dv : width;
    return (struct tap){
        .first_row = (size_t)top,
        .n_rows = bottom > top ? (size_t)(bottom - top) : 0,
        .first_column = (size_t)left,
        .n_columns = right > left ? (size_t)(right - left) : 0,
        .shift = du * width + dv,
    };
}

static size_t block_size(const dns_depthwise *s, size_t task)
{
    size_t left = s->channels - task * BLOCK;
    return left < BLOCK ? left : BLOCK;
}

/* kernel[u, v, channel of the block] */
static void gather_kernel(dns_real *out, const dns_real *w, const dns_depthwise *s, size_t first,
                          size_t n)
{
    size_t area = s->kernel * s->kernel;
    for (size_t t = 0; t < area; t++)
        for (size_t c = 0; c < n; c++)
            out[t * BLOCK + c] = w[(first + c) * area + t];
}

static void add_product(dns_real *restrict y, const dns_real *restrict a,
                        const dns_real *restrict b, size_t n)
{
    for (size_t c = 0; c < n; c++)
        y[c] += a[c] * b[c];
}

static dns_status forward_task(void *payload, size_t task, size_t worker)
{
    (void)worker;
    const struct depthwise *d = payload;
    const dns_depthwise *s = &d->s;
    size_t first = task * BLOCK, n = block_size(s, task), cells = s->height * s->width;
    dns_real *kernel;
    dns_status status = dns_alloc(&kernel, s->kernel * s->kernel * BLOCK, sizeof *kernel);
    if (status != DNS_OK)
        return status;
    gather_kernel(kernel, d->w, s, first, n);
    for (size_t i = 0; i < s->n; i++) {
        dns_real *y = d->y + i * cells * s->channels + first;
        const dns_real *x = d->x + i * cells * s->channels + first;
        for (size_t cell = 0; cell < cells; cell++)
            memcpy(y + cell * s->channels, d->b + first, n * sizeof *y);
        for (size_t u = 0; u < s->kernel; u++)
            for (size_t v = 0; v < s->kernel; v++) {
                struct tap t = tap_of(s, u, v);
                const dns_real *k = kernel + (u * s->kernel + v) * BLOCK;
                for (size_t r = t.first_row; r < t.first_row + t.n_rows; r++)
                    for (size_t c = t.first_column; c < t.first_column + t.n_columns; c++) {
                        size_t cell = r * s->width + c, from = (size_t)((ptrdiff_t)cell + t.shift);
                        add_product(y + cell * s->channels, x + from * s->channels, k, n);
                    }
            }
    }
    dns_free(kernel);
    return DNS_OK;
}

dns_status dns_depthwise_forward(dns_real *y, const dns_real *x, const dns_real *w,
                                 const dns_real *b, const dns_depthwise *shape, dns_pool *pool)
{
    struct depthwise d = {.s = *shape, .y = y, .x = x, .w = w, .b = b};
    if (shape->kernel % 2 == 0)
        return dns_status_set(DNS_ERR_SHAPE, "depthwise kernel of even size %zu", shape->kernel);
    return dns_pool_run(pool, (shape->channels + BLOCK - 1) / BLOCK, forward_task, &d);
}

static dns_status backward_task(void *payload, size_t task, size_t worker)
{
    (void)worker;
    const struct depthwise *d = payload;
    const dns_depthwise *s = &d->s;
    size_t first = task * BLOCK, n = block_size(s, task), cells = s->height * s->width,
           area = s->kernel * s->kernel;
    dns_real *kernel = NULL, *gradient = NULL, *bias;
    dns_status status = DNS_OK;
    DNS_TRY(dns_alloc(&kernel, area * BLOCK, sizeof *kernel));
    DNS_TRY(dns_alloc(&gradient, (area + 1) * BLOCK, sizeof *gradient));
    bias = gradient + area * BLOCK;
    gather_kernel(kernel, d->w, s, first, n);
    for (size_t i = 0; i < s->n; i++) {
        size_t offset = i * cells * s->channels + first;
        dns_real *dx = d->dx + offset;
        const dns_real *dy = d->dy + offset, *x = d->x + offset;
        for (size_t cell = 0; cell < cells; cell++) {
            memset(dx + cell * s->channels, 0, n * sizeof *dx);
            for (size_t c = 0; c < n; c++)
                bias[c] += dy[cell * s->channels + c];
        }
        for (size_t u = 0; u < s->kernel; u++)
            for (size_t v = 0; v < s->kernel; v++) {
                struct tap t = tap_of(s, u, v);
                size_t at = (u * s->kernel + v) * BLOCK;
                for (size_t r = t.first_row; r < t.first_row + t.n_rows; r++)
                    for (size_t c = t.first_column; c < t.first_column + t.n_columns; c++) {
                        size_t cell = r * s->width + c, from = (size_t)((ptrdiff_t)cell + t.shift);
                        add_product(dx + from * s->channels, dy + cell * s->channels, kernel + at,
                                    n);
                        add_product(gradient + at, dy + cell * s->channels, x + from * s->channels,
                                    n);
                    }
            }
    }
    for (size_t c = 0; c < n; c++) {
        d->db[first + c] += bias[c];
        for (size_t t = 0; t < area; t++)
            d->dw[(first + c) * area + t] += gradient[t * BLOCK + c];
    }
out:
    dns_free(kernel);
    dns_free(gradient);
    return status;
}

dns_status dns_depthwise_backward(dns_real *dx, dns_real *dw, dns_real *db, const dns_real *dy,
                                  const dns_real *x, const dns_real *w, const dns_depthwise *shape,
                                  dns_pool *pool)
{
    struct depthwise d = {.s = *shape, .dx = dx, .dw = dw, .db = db, .dy = dy, .x = x, .w = w};
    if (shape->kernel % 2 == 0)
        return dns_status_set(DNS_ERR_SHAPE, "depthwise kernel of even size %zu", shape->kernel);
    return dns_pool_run(pool, (shape->channels + BLOCK - 1) / BLOCK, backward_task, &d);
}
