#include "step_speed.h"

#include <stdio.h>

#include "dnsel/gemm.h"
#include "dnsel/memory.h"

enum { SIDE = 768, ROUNDS = 6 };

struct products {
    const float *a, *b;
    float *c; /* [threads, SIDE, SIDE] */
    double *rates;
};

/* The best of some products: operations a second of this thread's processor time. */
static dns_status product_task(void *payload, size_t i, size_t worker)
{
    struct products *p = payload;
    const double operations = 2.0 * SIDE * SIDE * SIDE;
    float *c = p->c + worker * SIDE * SIDE;
    for (size_t round = 0; round < ROUNDS; round++) {
        double start = dns_thread_seconds();
        dns_status status = dns_gemm_dense_f32(false, false, SIDE, SIDE, SIDE, p->a, p->b, 0, c);
        double taken = dns_thread_seconds() - start;
        if (status != DNS_OK)
            return status;
        if (taken > 0 && operations / taken > p->rates[i])
            p->rates[i] = operations / taken;
    }
    return DNS_OK;
}

/* Of one thread, the mean over all of them at once. 0 when it cannot be measured. */
static double product_rate(dns_pool *pool)
{
    struct products p = {0};
    float *a = NULL;
    double sum = 0;
    size_t n = dns_pool_size(pool), cells = (size_t)SIDE * SIDE;
    if (dns_alloc(&a, cells, sizeof *a) == DNS_OK &&
        dns_alloc(&p.c, n, cells * sizeof *p.c) == DNS_OK &&
        dns_alloc(&p.rates, n, sizeof *p.rates) == DNS_OK) {
        for (size_t i = 0; i < cells; i++)
            a[i] = (float)(i % 7) - 3;
        p.a = p.b = a;
        if (dns_pool_run(pool, n, product_task, &p) == DNS_OK)
            for (size_t i = 0; i < n; i++)
                sum += p.rates[i] / (double)n;
    }
    dns_free(a);
    dns_free(p.c);
    dns_free(p.rates);
    return sum;
}

void dns_step_speed_print(const dns_trainer_report *r, dns_pool *pool)
{
    double peak = product_rate(pool), n = (double)dns_pool_size(pool);
    if (peak <= 0 || r->seconds <= 0 || r->processor_seconds <= 0)
        return;
    printf(
        "steps: %.1f Gflop/s, %.0f %% of the %.1f that products of %d x %d reach on %zu threads; "
        "by processor time %.0f %%\n",
        r->operations / r->seconds * 1e-9, 100 * r->operations / r->seconds / (peak * n),
        peak * n * 1e-9, SIDE, SIDE, dns_pool_size(pool),
        100 * r->operations / r->processor_seconds / peak);
}
