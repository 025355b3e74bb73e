#include "dnsel/linear.h"

#include <string.h>

#include "matmul.h"

/* Work is cut by output into pieces whose size does not depend on the number of threads. */
enum { ROWS = 288, OUTPUTS = 64 };

struct linear {
    dns_real *y, *dx, *dw, *db;
    const dns_real *x, *w, *b, *dy;
    size_t n, in, out;
};

static size_t min(size_t a, size_t b)
{
    return a < b ? a : b;
}

static size_t pieces(size_t n, size_t size)
{
    return (n + size - 1) / size;
}

static dns_status forward_task(void *payload, size_t task, size_t worker)
{
    (void)worker;
    const struct linear *l = payload;
    size_t first = task * ROWS, rows = min(ROWS, l->n - first);
    dns_real *y = l->y + first * l->out;
    for (size_t i = 0; l->b != NULL && i < rows; i++)
        memcpy(y + i * l->out, l->b, l->out * sizeof *y);
    return dns_matmul(y, l->out, (dns_matrix){l->x + first * l->in, l->in, false},
                      (dns_matrix){l->w, l->in, true}, rows, l->out, l->in, l->b != NULL);
}

dns_status dns_linear_forward(dns_real *y, const dns_real *x, const dns_real *w, const dns_real *b,
                              size_t n, size_t in, size_t out, dns_pool *pool)
{
    struct linear l = {.y = y, .x = x, .w = w, .b = b, .n = n, .in = in, .out = out};
    return dns_pool_run(pool, pieces(n, ROWS), forward_task, &l);
}

static dns_status input_task(void *payload, size_t task, size_t worker)
{
    (void)worker;
    const struct linear *l = payload;
    size_t first = task * ROWS, rows = min(ROWS, l->n - first);
    return dns_matmul(l->dx + first * l->in, l->in,
                      (dns_matrix){l->dy + first * l->out, l->out, false},
                      (dns_matrix){l->w, l->in, false}, rows, l->in, l->out, false);
}

static dns_status weight_task(void *payload, size_t task, size_t worker)
{
    (void)worker;
    const struct linear *l = payload;
    size_t first = task * OUTPUTS, outputs = min(OUTPUTS, l->out - first);
    for (size_t i = 0; l->db != NULL && i < l->n; i++) {
        for (size_t j = 0; j < outputs; j++)
            l->db[first + j] += l->dy[i * l->out + first + j];
    }
    return dns_matmul(l->dw + first * l->in, l->in, (dns_matrix){l->dy + first, l->out, true},
                      (dns_matrix){l->x, l->in, false}, outputs, l->in, l->n, true);
}

dns_status dns_linear_backward(dns_real *dx, dns_real *dw, dns_real *db, const dns_real *dy,
                               const dns_real *x, const dns_real *w, size_t n, size_t in,
                               size_t out, dns_pool *pool)
{
    struct linear l = {
        .dx = dx, .dw = dw, .db = db, .dy = dy, .x = x, .w = w, .n = n, .in = in, .out = out};
    dns_status status = DNS_OK;
    if (dx != NULL)
        DNS_TRY(dns_pool_run(pool, pieces(n, ROWS), input_task, &l));
    if (dw != NULL)
        DNS_TRY(dns_pool_run(pool, pieces(out, OUTPUTS), weight_task, &l));
out:
    return status;
}
