#include "dnsel/dropout.h"

#include <string.h>

enum { STRETCH = 1 << 14 };

/* SplitMix64's finaliser. */
static uint64_t mix(uint64_t z)
{
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

uint64_t dns_dropout_key(uint64_t seed, uint64_t step, uint64_t layer)
{
    return mix(mix(mix(seed + 0x9e3779b97f4a7c15u) + step) + layer);
}

void dns_dropout_apply(dns_real *y, const dns_real *x, size_t n, uint64_t first,
                       const dns_dropout *dropout)
{
    if (dropout->rate <= 0) {
        if (y != x)
            memcpy(y, x, n * sizeof *y);
        return;
    }
    const uint64_t threshold = (uint64_t)(dropout->rate * 0x1p53);
    const dns_real scale = (dns_real)(1 / (1 - dropout->rate));
    for (size_t i = 0; i < n; i++) {
        uint64_t drawn = mix(dropout->key + (first + i + 1) * 0x9e3779b97f4a7c15u) >> 11;
        y[i] = drawn < threshold ? 0 : x[i] * scale;
    }
}

struct run {
    dns_real *y;
    const dns_real *x;
    size_t n;
    const dns_dropout *dropout;
};

static dns_status task(void *payload, size_t number, size_t worker)
{
    (void)worker;
    const struct run *r = payload;
    size_t first = number * STRETCH, left = r->n - first;
    dns_dropout_apply(r->y + first, r->x + first, left < STRETCH ? left : STRETCH, first,
                      r->dropout);
    return DNS_OK;
}

dns_status dns_dropout_run(dns_real *y, const dns_real *x, size_t n, const dns_dropout *dropout,
                           dns_pool *pool)
{
    struct run r = {y, x, n, dropout};
    return dns_pool_run(pool, (n + STRETCH - 1) / STRETCH, task, &r);
}
