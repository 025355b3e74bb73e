#include "dnsel/attention.h"

#include <math.h>
#include <string.h>

#include "dnsel/activation.h"
#include "dnsel/linear.h"
#include "matmul.h"

enum { ROWS = 512, COLUMNS = 256 };

struct attention {
    dns_real *gate, *h, *du, *db;
    const dns_real *dgate, *known_gate, *x, *u;
    size_t n, dim, hidden;
};

static size_t min(size_t a, size_t b)
{
    return a < b ? a : b;
}

static size_t pieces(size_t n, size_t size)
{
    return (n + size - 1) / size;
}

/* Sixteen sums side by side, so that the compiler may use whole vectors. */
static dns_real dot(const dns_real *a, const dns_real *b, size_t n)
{
    enum { LANES = 16 };
    dns_real lanes[LANES] = {0}, sum = 0;
    size_t i = 0;
    for (; i + LANES <= n; i += LANES) {
        for (size_t j = 0; j < LANES; j++)
            lanes[j] += a[i + j] * b[i + j];
    }
    for (; i < n; i++)
        sum += a[i] * b[i];
    for (size_t j = 0; j < LANES; j++)
        sum += lanes[j];
    return sum;
}

/* ---- students ---- */

static dns_status gate_task(void *payload, size_t task, size_t worker)
{
    (void)worker;
    const struct attention *a = payload;
    for (size_t i = task * ROWS; i < min(a->n, (task + 1) * ROWS); i++) {
        dns_real *h = a->h + i * a->hidden;
        dns_tanh(h, h, a->hidden);
        a->gate[i] = (dns_real)(1 / (1 + exp(-dot(h, a->u, a->hidden))));
    }
    return DNS_OK;
}

dns_status dns_attention_forward(dns_real *gate, dns_real *h, const dns_real *x, const dns_real *w,
                                 const dns_real *b, const dns_real *u, size_t n, size_t dim,
                                 size_t hidden, dns_pool *pool)
{
    struct attention a = {.gate = gate, .h = h, .u = u, .n = n, .hidden = hidden};
    dns_status status = dns_linear_forward(h, x, w, b, n, dim, hidden, pool);
    return status != DNS_OK ? status : dns_pool_run(pool, pieces(n, ROWS), gate_task, &a);
}

/* Columns of du, over all rows in order; must come before h is used up. */
static dns_status context_task(void *payload, size_t task, size_t worker)
{
    (void)worker;
    const struct attention *a = payload;
    size_t first = task * COLUMNS, last = min(a->hidden, first + COLUMNS);
    for (size_t i = 0; i < a->n; i++) {
        dns_real g = a->dgate[i] * a->known_gate[i] * (1 - a->known_gate[i]);
        for (size_t j = first; j < last; j++)
            a->du[j] += g * a->h[i * a->hidden + j];
    }
    return DNS_OK;
}

static dns_status hidden_task(void *payload, size_t task, size_t worker)
{
    (void)worker;
    const struct attention *a = payload;
    for (size_t i = task * ROWS; i < min(a->n, (task + 1) * ROWS); i++) {
        dns_real g = a->dgate[i] * a->known_gate[i] * (1 - a->known_gate[i]);
        dns_real *h = a->h + i * a->hidden;
        for (size_t j = 0; j < a->hidden; j++)
            h[j] = g * a->u[j] * (1 - h[j] * h[j]);
    }
    return DNS_OK;
}

dns_status dns_attention_backward(dns_real *dx, dns_real *dw, dns_real *db, dns_real *du,
                                  const dns_real *dgate, const dns_real *gate, dns_real *h,
                                  const dns_real *x, const dns_real *w, const dns_real *u, size_t n,
                                  size_t dim, size_t hidden, dns_pool *pool)
{
    struct attention a = {
        .h = h, .du = du, .dgate = dgate, .known_gate = gate, .u = u, .n = n, .hidden = hidden};
    dns_status status = DNS_OK;
    DNS_TRY(dns_pool_run(pool, pieces(hidden, COLUMNS), context_task, &a));
    DNS_TRY(dns_pool_run(pool, pieces(n, ROWS), hidden_task, &a));
    DNS_TRY(dns_linear_backward(dx, dw, db, h, x, w, n, dim, hidden, pool));
out:
    return status;
}

/* ---- teacher ---- */

static dns_status teacher_task(void *payload, size_t task, size_t worker)
{
    (void)worker;
    const struct attention *a = payload;
    for (size_t i = task * ROWS; i < min(a->n, (task + 1) * ROWS); i++)
        a->gate[i] = dot(a->x + i * a->dim, a->u, a->dim) / 2 + (dns_real)0.5;
    return DNS_OK;
}

dns_status dns_attention_teacher_forward(dns_real *gate, const dns_real *x, const dns_real *u,
                                         size_t n, size_t dim, dns_pool *pool)
{
    struct attention a = {.gate = gate, .x = x, .u = u, .n = n, .dim = dim};
    return dns_pool_run(pool, pieces(n, ROWS), teacher_task, &a);
}

static dns_status teacher_context_task(void *payload, size_t task, size_t worker)
{
    (void)worker;
    const struct attention *a = payload;
    size_t first = task * COLUMNS, last = min(a->dim, first + COLUMNS);
    for (size_t i = 0; i < a->n; i++) {
        for (size_t j = first; j < last; j++)
            a->du[j] += a->dgate[i] / 2 * a->x[i * a->dim + j];
    }
    return DNS_OK;
}

dns_status dns_attention_teacher_backward(dns_real *dx, dns_real *du, const dns_real *dgate,
                                          const dns_real *x, const dns_real *u, size_t n,
                                          size_t dim, dns_pool *pool)
{
    struct attention a = {.du = du, .dgate = dgate, .x = x, .u = u, .n = n, .dim = dim};
    for (size_t i = 0; dx != NULL && i < n; i++) {
        for (size_t j = 0; j < dim; j++)
            dx[i * dim + j] = dgate[i] / 2 * u[j];
    }
    return dns_pool_run(pool, pieces(dim, COLUMNS), teacher_context_task, &a);
}

/* ---- both ---- */

void dns_attention_apply(dns_real *y, const dns_real *x, const dns_real *gate, size_t n, size_t dim)
{
    for (size_t i = 0; i < n; i++) {
        for (size_t j = 0; j < dim; j++)
            y[i * dim + j] = x[i * dim + j] * gate[i];
    }
}

void dns_attention_apply_backward(dns_real *dx, dns_real *dgate, const dns_real *dy,
                                  const dns_real *x, const dns_real *gate, size_t n, size_t dim)
{
    for (size_t i = 0; i < n; i++) {
        dgate[i] = dot(dy + i * dim, x + i * dim, dim);
        for (size_t j = 0; dx != NULL && j < dim; j++)
            dx[i * dim + j] = dy[i * dim + j] * gate[i];
    }
}
