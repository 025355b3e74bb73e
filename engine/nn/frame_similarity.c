#include "dnsel/frame_similarity.h"

#include <stdbool.h>
#include <string.h>

#include "dnsel/memory.h"
#include "matmul.h"

/* Products of a block of query frames with the whole target are made at a time, about this many. */
enum { BLOCK_ENTRIES = 1 << 18, MOST_REGIONS = 256 };

void dns_frame_trace_free(dns_frame_trace *trace)
{
    dns_free(trace->target_region);
    dns_free(trace->query_region);
    *trace = (dns_frame_trace){0};
}

void dns_frame_scratch_free(dns_frame_scratch *scratch)
{
    dns_free(scratch->products);
    *scratch = (dns_frame_scratch){0};
}

static size_t block_frames(const dns_frame_pair *p)
{
    size_t per_frame = p->n_regions * p->n_regions * p->n_target;
    size_t frames = BLOCK_ENTRIES / (per_frame == 0 ? 1 : per_frame);
    frames = frames < 1 ? 1 : frames;
    return frames < p->n_query ? frames : p->n_query;
}

/* sim[j] += factor * max over target regions of products[j * R + p], for one query region; who won
 * into `won`. */
static void max_over_target(dns_real *sim, uint8_t *won, const dns_real *products, size_t n_target,
                            size_t n_regions, dns_real factor)
{
    for (size_t j = 0; j < n_target; j++) {
        const dns_real *row = products + j * n_regions;
        size_t best = 0;
        for (size_t p = 1; p < n_regions; p++)
            best = row[p] > row[best] ? p : best;
        sim[j] += factor * row[best];
        if (won != NULL)
            won[j] = (uint8_t)best;
    }
}

/* sim[j] += factor * sum over p of max over the query regions of one frame, products [R, n_target *
 * R]. */
static void max_over_query(dns_real *sim, uint8_t *won, size_t won_stride, const dns_real *products,
                           size_t n_target, size_t n_regions, dns_real factor)
{
    size_t width = n_target * n_regions;
    for (size_t jp = 0; jp < width; jp++) {
        size_t best = 0;
        for (size_t o = 1; o < n_regions; o++)
            best = products[o * width + jp] > products[best * width + jp] ? o : best;
        sim[jp / n_regions] += factor * products[best * width + jp];
        if (won != NULL)
            won[jp * won_stride] = (uint8_t)best;
    }
}

static dns_status chamfer(dns_real *sim, dns_frame_trace *trace, const dns_frame_pair *p,
                          bool symmetric, dns_frame_scratch *scratch)
{
    dns_status status = DNS_OK;
    size_t regions = p->n_regions, width = p->n_target * regions, block = block_frames(p);
    dns_real factor = (dns_real)(1.0 / (double)regions / (symmetric ? 2 : 1));
    DNS_TRY(dns_reserve(&scratch->products, &scratch->capacity, block * regions * width,
                        sizeof(dns_real)));
    for (size_t first = 0; first < p->n_query; first += block) {
        size_t frames = p->n_query - first < block ? p->n_query - first : block;
        DNS_TRY(dns_matmul(
            scratch->products, width, (dns_matrix){p->x + first * regions * p->dim, p->dim, false},
            (dns_matrix){p->y, p->dim, true}, frames * regions, width, p->dim, false));
        for (size_t i = 0; i < frames; i++) {
            size_t row = first + i;
            const dns_real *products = scratch->products + i * regions * width;
            for (size_t o = 0; o < regions; o++)
                max_over_target(
                    sim + row * p->n_target,
                    trace == NULL ? NULL : trace->target_region + (row * regions + o) * p->n_target,
                    products + o * width, p->n_target, regions, factor);
            if (symmetric)
                max_over_query(sim + row * p->n_target,
                               trace == NULL ? NULL : trace->query_region + row, p->n_query,
                               products, p->n_target, regions, factor);
        }
    }
out:
    return status;
}

dns_status dns_frame_similarity_forward(dns_real *sim, dns_frame_trace *trace,
                                        const dns_frame_pair *p, dns_region_step step,
                                        dns_frame_scratch *scratch)
{
    dns_status status = DNS_OK;
    size_t length = p->n_regions * p->dim, cells = p->n_query * p->n_target;
    if (p->n_regions > MOST_REGIONS)
        DNS_FAIL(DNS_ERR_LIMIT, "%zu regions a frame", p->n_regions);
    if (step == DNS_REGIONS_SAME) {
        DNS_TRY(dns_matmul(sim, p->n_target, (dns_matrix){p->x, length, false},
                           (dns_matrix){p->y, length, true}, p->n_query, p->n_target, length,
                           false));
        for (size_t i = 0; i < cells; i++)
            sim[i] /= (dns_real)p->n_regions;
        return DNS_OK;
    }
    bool symmetric = step == DNS_REGIONS_SYMMETRIC;
    if (trace != NULL)
        DNS_TRY(
            dns_reserve(&trace->target_region, &trace->target_capacity, cells * p->n_regions, 1));
    if (trace != NULL && symmetric)
        DNS_TRY(dns_reserve(&trace->query_region, &trace->query_capacity, cells * p->n_regions, 1));
    memset(sim, 0, cells * sizeof *sim);
    DNS_TRY(chamfer(sim, trace, p, symmetric, scratch));
out:
    return status;
}

/* ---- backward ---- */

/* Gradients of the products of one query frame, [R, n_target * R]: dsim goes to those that won. */
static void spread(dns_real *dproducts, const dns_real *dsim, const dns_frame_trace *trace,
                   const dns_frame_pair *p, size_t row, bool symmetric)
{
    size_t regions = p->n_regions, width = p->n_target * regions;
    dns_real factor = (dns_real)(1.0 / (double)regions / (symmetric ? 2 : 1));
    memset(dproducts, 0, regions * width * sizeof *dproducts);
    for (size_t j = 0; j < p->n_target; j++) {
        dns_real d = factor * dsim[row * p->n_target + j];
        for (size_t o = 0; o < regions; o++) {
            size_t won = trace->target_region[(row * regions + o) * p->n_target + j];
            dproducts[o * width + j * regions + won] += d;
        }
        for (size_t q = 0; symmetric && q < regions; q++) {
            size_t won = trace->query_region[(j * regions + q) * p->n_query + row];
            dproducts[won * width + j * regions + q] += d;
        }
    }
}

static dns_status chamfer_backward(dns_real *dx, dns_real *dy, const dns_real *dsim,
                                   const dns_frame_trace *trace, const dns_frame_pair *p,
                                   bool symmetric, dns_frame_scratch *scratch)
{
    dns_status status = DNS_OK;
    size_t regions = p->n_regions, width = p->n_target * regions, block = block_frames(p);
    DNS_TRY(dns_reserve(&scratch->products, &scratch->capacity, block * regions * width,
                        sizeof(dns_real)));
    for (size_t first = 0; first < p->n_query; first += block) {
        size_t frames = p->n_query - first < block ? p->n_query - first : block;
        size_t at = first * regions * p->dim, rows = frames * regions;
        for (size_t i = 0; i < frames; i++)
            spread(scratch->products + i * regions * width, dsim, trace, p, first + i, symmetric);
        if (dx != NULL)
            DNS_TRY(dns_matmul(dx + at, p->dim, (dns_matrix){scratch->products, width, false},
                               (dns_matrix){p->y, p->dim, false}, rows, p->dim, width, true));
        if (dy != NULL)
            DNS_TRY(dns_matmul(dy, p->dim, (dns_matrix){scratch->products, width, true},
                               (dns_matrix){p->x + at, p->dim, false}, width, p->dim, rows, true));
    }
out:
    return status;
}

static dns_status same_backward(dns_real *dx, dns_real *dy, const dns_real *dsim,
                                const dns_frame_pair *p, dns_frame_scratch *scratch)
{
    dns_status status = DNS_OK;
    size_t length = p->n_regions * p->dim, cells = p->n_query * p->n_target;
    DNS_TRY(dns_reserve(&scratch->products, &scratch->capacity, cells, sizeof(dns_real)));
    for (size_t i = 0; i < cells; i++)
        scratch->products[i] = dsim[i] / (dns_real)p->n_regions;
    if (dx != NULL)
        DNS_TRY(dns_matmul(dx, length, (dns_matrix){scratch->products, p->n_target, false},
                           (dns_matrix){p->y, length, false}, p->n_query, length, p->n_target,
                           true));
    if (dy != NULL)
        DNS_TRY(dns_matmul(dy, length, (dns_matrix){scratch->products, p->n_target, true},
                           (dns_matrix){p->x, length, false}, p->n_target, length, p->n_query,
                           true));
out:
    return status;
}

dns_status dns_frame_similarity_backward(dns_real *dx, dns_real *dy, const dns_real *dsim,
                                         const dns_frame_trace *trace, const dns_frame_pair *p,
                                         dns_region_step step, dns_frame_scratch *scratch)
{
    if (step == DNS_REGIONS_SAME)
        return same_backward(dx, dy, dsim, p, scratch);
    return chamfer_backward(dx, dy, dsim, trace, p, step == DNS_REGIONS_SYMMETRIC, scratch);
}
