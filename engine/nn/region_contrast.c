/* Similarities of all pictures of one side with all of the other, and back (dnsel/backbone_tail.h).
 */
#include <string.h>

#include "dnsel/backbone_tail.h"
#include "dnsel/cross_entropy.h"
#include "dnsel/linear.h"
#include "dnsel/memory.h"

struct contrast {
    dns_real *s, *da, *db, *products;
    uint8_t *winners;
    const uint8_t *won;
    const dns_real *a, *b, *ds;
    size_t n, m, n_regions, dim;
};

/* All products of one picture of a with all of b, [n_regions, m * n_regions], then the maxima. */
static dns_status forward_task(void *payload, size_t i, size_t worker)
{
    const struct contrast *c = payload;
    size_t regions = c->n_regions, columns = c->m * regions;
    dns_real *products = c->products + worker * regions * columns;
    dns_status status = dns_linear_forward(products, c->a + i * regions * c->dim, c->b, NULL,
                                           regions, c->dim, columns, NULL);
    if (status != DNS_OK)
        return status;
    for (size_t j = 0; j < c->m; j++) {
        dns_real sum = 0;
        for (size_t o = 0; o < regions; o++) {
            const dns_real *x = products + o * columns + j * regions;
            size_t best = 0;
            for (size_t p = 1; p < regions; p++)
                best = x[p] > x[best] ? p : best;
            c->winners[(i * regions + o) * c->m + j] = (uint8_t)best;
            sum += x[best];
        }
        c->s[i * c->m + j] = sum / (dns_real)regions;
    }
    return DNS_OK;
}

dns_status dns_region_contrast_forward(dns_real *s, uint8_t *winners, const dns_real *a,
                                       const dns_real *b, size_t n, size_t m, size_t n_regions,
                                       size_t dim, dns_pool *pool)
{
    struct contrast c = {.s = s,
                         .winners = winners,
                         .a = a,
                         .b = b,
                         .n = n,
                         .m = m,
                         .n_regions = n_regions,
                         .dim = dim};
    if (n_regions == 0 || n_regions > 255)
        return dns_status_set(DNS_ERR_SHAPE, "%zu regions, 1 to 255 are compared", n_regions);
    dns_status status =
        dns_alloc(&c.products, dns_pool_size(pool) * n_regions * n_regions, m * sizeof *c.products);
    if (status == DNS_OK)
        status = dns_pool_run(pool, n, forward_task, &c);
    dns_free(c.products);
    return status;
}

static void add_scaled(dns_real *restrict y, dns_real factor, const dns_real *restrict x, size_t n)
{
    for (size_t k = 0; k < n; k++)
        y[k] += factor * x[k];
}

static dns_status backward_a_task(void *payload, size_t i, size_t worker)
{
    (void)worker;
    const struct contrast *c = payload;
    for (size_t o = 0; o < c->n_regions; o++)
        for (size_t j = 0; j < c->m; j++) {
            size_t p = c->won[(i * c->n_regions + o) * c->m + j];
            add_scaled(c->da + (i * c->n_regions + o) * c->dim,
                       c->ds[i * c->m + j] / (dns_real)c->n_regions,
                       c->b + (j * c->n_regions + p) * c->dim, c->dim);
        }
    return DNS_OK;
}

static dns_status backward_b_task(void *payload, size_t j, size_t worker)
{
    (void)worker;
    const struct contrast *c = payload;
    for (size_t i = 0; i < c->n; i++)
        for (size_t o = 0; o < c->n_regions; o++) {
            size_t p = c->won[(i * c->n_regions + o) * c->m + j];
            add_scaled(c->db + (j * c->n_regions + p) * c->dim,
                       c->ds[i * c->m + j] / (dns_real)c->n_regions,
                       c->a + (i * c->n_regions + o) * c->dim, c->dim);
        }
    return DNS_OK;
}

dns_status dns_region_contrast_backward(dns_real *da, dns_real *db, const dns_real *ds,
                                        const uint8_t *winners, const dns_real *a,
                                        const dns_real *b, size_t n, size_t m, size_t n_regions,
                                        size_t dim, dns_pool *pool)
{
    struct contrast c = {.da = da,
                         .db = db,
                         .ds = ds,
                         .won = winners,
                         .a = a,
                         .b = b,
                         .n = n,
                         .m = m,
                         .n_regions = n_regions,
                         .dim = dim};
    dns_status status = dns_pool_run(pool, n, backward_a_task, &c);
    return status == DNS_OK ? dns_pool_run(pool, m, backward_b_task, &c) : status;
}

/* One direction of the loss; scores, dscores and winners are scratch. */
static dns_status one_way(double *loss, dns_real *da, dns_real *db, const dns_real *a,
                          const dns_real *b, const dns_region_pairs *pairs, dns_real *scores,
                          dns_real *dscores, uint8_t *winners, dns_pool *pool)
{
    size_t n = pairs->n;
    double here;
    dns_status status = dns_region_contrast_forward(scores, winners, a, b, n, n, pairs->n_regions,
                                                    pairs->dim, pool);
    if (status != DNS_OK)
        return status;
    dns_info_nce(&here, dscores, scores, NULL, n, n, pairs->tau);
    *loss += here / 2;
    for (size_t i = 0; i < n * n; i++)
        dscores[i] /= 2;
    return dns_region_contrast_backward(da, db, dscores, winners, a, b, n, n, pairs->n_regions,
                                        pairs->dim, pool);
}

dns_status dns_region_info_nce(double *loss, dns_real *da, dns_real *db, const dns_region_pairs *p,
                               dns_pool *pool)
{
    dns_status status = DNS_OK;
    dns_real *scores = NULL, *dscores = NULL;
    uint8_t *winners = NULL;
    *loss = 0;
    DNS_TRY(dns_alloc(&scores, p->n, p->n * sizeof *scores));
    DNS_TRY(dns_alloc(&dscores, p->n, p->n * sizeof *dscores));
    DNS_TRY(dns_alloc(&winners, p->n * p->n_regions, p->n));
    DNS_TRY(one_way(loss, da, db, p->a, p->b, p, scores, dscores, winners, pool));
    DNS_TRY(one_way(loss, db, da, p->b, p->a, p, scores, dscores, winners, pool));
out:
    dns_free(scores);
    dns_free(dscores);
    dns_free(winners);
    return status;
}
