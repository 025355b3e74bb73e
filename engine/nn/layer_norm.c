#include "dnsel/layer_norm.h"

#include <tgmath.h>

enum { ROWS = 32, COLUMNS = 64, LANES = 16 };

static const double EPSILON = 1e-5;

struct run {
    dns_real *y, *mean, *rstd;
    const dns_real *x, *w, *b;
    dns_real *dx, *dw, *db;
    const dns_real *dy, *kept_mean, *kept_rstd;
    size_t n, dim;
};

static size_t end_of(size_t first, size_t size, size_t n)
{
    return n - first < size ? n : first + size;
}

/* Sixteen sums side by side, so that the compiler may use whole vectors. */
static dns_real sum_of(const dns_real *x, size_t n)
{
    dns_real lanes[LANES] = {0}, sum = 0;
    size_t i = 0;
    for (; i + LANES <= n; i += LANES) {
        for (size_t j = 0; j < LANES; j++)
            lanes[j] += x[i + j];
    }
    for (; i < n; i++)
        lanes[0] += x[i];
    for (size_t j = 0; j < LANES; j++)
        sum += lanes[j];
    return sum;
}

static dns_real squares_about(const dns_real *x, dns_real mean, size_t n)
{
    dns_real lanes[LANES] = {0}, sum = 0;
    size_t i = 0;
    for (; i + LANES <= n; i += LANES) {
        for (size_t j = 0; j < LANES; j++)
            lanes[j] += (x[i + j] - mean) * (x[i + j] - mean);
    }
    for (; i < n; i++)
        lanes[0] += (x[i] - mean) * (x[i] - mean);
    for (size_t j = 0; j < LANES; j++)
        sum += lanes[j];
    return sum;
}

static dns_status forward_task(void *payload, size_t task, size_t worker)
{
    (void)worker;
    const struct run *r = payload;
    for (size_t i = task * ROWS; i < end_of(task * ROWS, ROWS, r->n); i++) {
        const dns_real *x = r->x + i * r->dim;
        dns_real *y = r->y + i * r->dim;
        dns_real mean = sum_of(x, r->dim) / (dns_real)r->dim;
        dns_real variance = squares_about(x, mean, r->dim) / (dns_real)r->dim;
        dns_real rstd = 1 / sqrt(variance + (dns_real)EPSILON);
        for (size_t j = 0; j < r->dim; j++)
            y[j] = (x[j] - mean) * rstd * r->w[j] + r->b[j];
        if (r->mean != NULL) {
            r->mean[i] = mean;
            r->rstd[i] = rstd;
        }
    }
    return DNS_OK;
}

dns_status dns_layer_norm_forward(dns_real *y, dns_real *mean, dns_real *rstd, const dns_real *x,
                                  const dns_real *w, const dns_real *b, size_t n, size_t dim,
                                  dns_pool *pool)
{
    struct run r = {.y = y, .mean = mean, .rstd = rstd, .x = x, .w = w, .b = b, .n = n, .dim = dim};
    return dns_pool_run(pool, (n + ROWS - 1) / ROWS, forward_task, &r);
}

/* Sums over all rows, in order, for some columns. */
static dns_status weight_task(void *payload, size_t task, size_t worker)
{
    (void)worker;
    const struct run *r = payload;
    for (size_t i = 0; i < r->n; i++) {
        const dns_real *x = r->x + i * r->dim, *dy = r->dy + i * r->dim;
        dns_real mean = r->kept_mean[i], rstd = r->kept_rstd[i];
        for (size_t j = task * COLUMNS; j < end_of(task * COLUMNS, COLUMNS, r->dim); j++) {
            r->dw[j] += dy[j] * (x[j] - mean) * rstd;
            r->db[j] += dy[j];
        }
    }
    return DNS_OK;
}

/* With h = (x - mean) * rstd and g = dy * w: dx = rstd * (g - mean(g) - h * mean(g * h)). */
static dns_status input_task(void *payload, size_t task, size_t worker)
{
    (void)worker;
    const struct run *r = payload;
    for (size_t i = task * ROWS; i < end_of(task * ROWS, ROWS, r->n); i++) {
        const dns_real *x = r->x + i * r->dim, *dy = r->dy + i * r->dim;
        dns_real *dx = r->dx + i * r->dim;
        dns_real mean = r->kept_mean[i], rstd = r->kept_rstd[i];
        double sum_g = 0, sum_gh = 0;
        for (size_t j = 0; j < r->dim; j++) {
            double g = (double)dy[j] * (double)r->w[j];
            sum_g += g;
            sum_gh += g * (double)((x[j] - mean) * rstd);
        }
        dns_real mean_g = (dns_real)(sum_g / (double)r->dim);
        dns_real mean_gh = (dns_real)(sum_gh / (double)r->dim);
        for (size_t j = 0; j < r->dim; j++)
            dx[j] = rstd * (dy[j] * r->w[j] - mean_g - (x[j] - mean) * rstd * mean_gh);
    }
    return DNS_OK;
}

dns_status dns_layer_norm_backward(dns_real *dx, dns_real *dw, dns_real *db, const dns_real *dy,
                                   const dns_real *x, const dns_real *mean, const dns_real *rstd,
                                   const dns_real *w, size_t n, size_t dim, dns_pool *pool)
{
    struct run r = {.dx = dx,
                    .dw = dw,
                    .db = db,
                    .dy = dy,
                    .x = x,
                    .kept_mean = mean,
                    .kept_rstd = rstd,
                    .w = w,
                    .n = n,
                    .dim = dim};
    dns_status status = DNS_OK;
    DNS_TRY(dns_pool_run(pool, (dim + COLUMNS - 1) / COLUMNS, weight_task, &r));
    DNS_TRY(dns_pool_run(pool, (n + ROWS - 1) / ROWS, input_task, &r));
out:
    return status;
}
