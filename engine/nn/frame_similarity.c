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
    dns_free(trace->target_product);
    dns_free(trace->query_product);
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

static dns_real gate_of(const dns_real *gates, size_t region)
{
    return gates == NULL ? 1 : gates[region];
}

static dns_real factor_of(const dns_frame_pair *p, dns_region_step step)
{
    return (dns_real)(1.0 / (double)p->n_regions / (step == DNS_REGIONS_SYMMETRIC ? 2 : 1));
}

/* sim[j] += factor * max over target regions of the products [n_target, R] of one query region
 * `row`. */
static void max_over_target(dns_real *sim, dns_frame_trace *trace, const dns_real *products,
                            const dns_frame_pair *p, size_t row, dns_real factor)
{
    size_t regions = p->n_regions;
    dns_real gate = gate_of(p->x_gate, row);
    for (size_t j = 0; j < p->n_target; j++) {
        const dns_real *product = products + j * regions;
        dns_real most = gate * gate_of(p->y_gate, j * regions) * product[0];
        size_t best = 0;
        for (size_t q = 1; q < regions; q++) {
            dns_real value = gate * gate_of(p->y_gate, j * regions + q) * product[q];
            best = value > most ? q : best;
            most = value > most ? value : most;
        }
        sim[j] += factor * most;
        if (trace != NULL)
            trace->target_region[row * p->n_target + j] = (uint8_t)best;
        if (trace != NULL && p->x_gate != NULL)
            trace->target_product[row * p->n_target + j] = product[best];
    }
}

/* sim[j] += factor * sum over target regions of the maximum over the regions of query frame i,
 * products [R, n_target, R]. */
static void max_over_query(dns_real *sim, dns_frame_trace *trace, const dns_real *products,
                           const dns_frame_pair *p, size_t i, dns_real factor)
{
    size_t regions = p->n_regions, width = p->n_target * regions;
    for (size_t column = 0; column < width; column++) {
        dns_real gate = gate_of(p->y_gate, column), most = 0;
        size_t best = 0;
        for (size_t o = 0; o < regions; o++) {
            dns_real value =
                gate * gate_of(p->x_gate, i * regions + o) * products[o * width + column];
            best = o == 0 || value > most ? o : best;
            most = o == 0 || value > most ? value : most;
        }
        sim[column / regions] += factor * most;
        if (trace != NULL)
            trace->query_region[column * p->n_query + i] = (uint8_t)best;
        if (trace != NULL && p->x_gate != NULL)
            trace->query_product[column * p->n_query + i] = products[best * width + column];
    }
}

static dns_status chamfer(dns_real *sim, dns_frame_trace *trace, const dns_frame_pair *p,
                          dns_region_step step, dns_frame_scratch *scratch)
{
    dns_status status = DNS_OK;
    size_t regions = p->n_regions, width = p->n_target * regions, block = block_frames(p);
    dns_real factor = factor_of(p, step);
    DNS_TRY(dns_reserve(&scratch->products, &scratch->capacity, block * regions * width,
                        sizeof(dns_real)));
    memset(sim, 0, p->n_query * p->n_target * sizeof *sim);
    for (size_t first = 0; first < p->n_query; first += block) {
        size_t frames = p->n_query - first < block ? p->n_query - first : block;
        DNS_TRY(dns_matmul(
            scratch->products, width, (dns_matrix){p->x + first * regions * p->dim, p->dim, false},
            (dns_matrix){p->y, p->dim, true}, frames * regions, width, p->dim, false));
        for (size_t k = 0; k < frames; k++) {
            size_t i = first + k;
            const dns_real *products = scratch->products + k * regions * width;
            for (size_t o = 0; o < regions; o++)
                max_over_target(sim + i * p->n_target, trace, products + o * width, p,
                                i * regions + o, factor);
            if (step == DNS_REGIONS_SYMMETRIC)
                max_over_query(sim + i * p->n_target, trace, products, p, i, factor);
        }
    }
out:
    return status;
}

/* Without gates one product of R * dim entries; with gates one of dim for each region, which are
 * kept apart. */
static dns_status same(dns_real *sim, dns_frame_trace *trace, const dns_frame_pair *p,
                       dns_frame_scratch *scratch)
{
    dns_status status = DNS_OK;
    size_t regions = p->n_regions, length = regions * p->dim, cells = p->n_query * p->n_target;
    if (p->x_gate == NULL) {
        DNS_TRY(dns_matmul(sim, p->n_target, (dns_matrix){p->x, length, false},
                           (dns_matrix){p->y, length, true}, p->n_query, p->n_target, length,
                           false));
        for (size_t i = 0; i < cells; i++)
            sim[i] /= (dns_real)regions;
        return DNS_OK;
    }
    DNS_TRY(dns_reserve(&scratch->products, &scratch->capacity, cells * regions, sizeof(dns_real)));
    dns_real *products = trace != NULL ? trace->target_product : scratch->products;
    for (size_t r = 0; r < regions; r++)
        DNS_TRY(dns_matmul(products + r * p->n_target, regions * p->n_target,
                           (dns_matrix){p->x + r * p->dim, length, false},
                           (dns_matrix){p->y + r * p->dim, length, true}, p->n_query, p->n_target,
                           p->dim, false));
    memset(sim, 0, cells * sizeof *sim);
    for (size_t row = 0; row < p->n_query * regions; row++) {
        for (size_t j = 0; j < p->n_target; j++)
            sim[row / regions * p->n_target + j] +=
                p->x_gate[row] * p->y_gate[j * regions + row % regions] *
                products[row * p->n_target + j] / (dns_real)regions;
    }
out:
    return status;
}

static dns_status reserve_trace(dns_frame_trace *t, const dns_frame_pair *p, dns_region_step step)
{
    dns_status status = DNS_OK;
    size_t n = p->n_query * p->n_target * p->n_regions;
    bool gated = p->x_gate != NULL, maxima = step != DNS_REGIONS_SAME;
    if (maxima)
        DNS_TRY(dns_reserve(&t->target_region, &t->target_capacity, n, 1));
    if (gated)
        DNS_TRY(dns_reserve(&t->target_product, &t->target_product_capacity, n, sizeof(dns_real)));
    if (step == DNS_REGIONS_SYMMETRIC)
        DNS_TRY(dns_reserve(&t->query_region, &t->query_capacity, n, 1));
    if (step == DNS_REGIONS_SYMMETRIC && gated)
        DNS_TRY(dns_reserve(&t->query_product, &t->query_product_capacity, n, sizeof(dns_real)));
out:
    return status;
}

dns_status dns_frame_similarity_forward(dns_real *sim, dns_frame_trace *trace,
                                        const dns_frame_pair *p, dns_region_step step,
                                        dns_frame_scratch *scratch)
{
    dns_status status = DNS_OK;
    if (p->n_regions > MOST_REGIONS)
        DNS_FAIL(DNS_ERR_LIMIT, "%zu regions a frame", p->n_regions);
    if (trace != NULL)
        DNS_TRY(reserve_trace(trace, p, step));
    if (step == DNS_REGIONS_SAME)
        DNS_TRY(same(sim, trace, p, scratch));
    else
        DNS_TRY(chamfer(sim, trace, p, step, scratch));
out:
    return status;
}

/* ---- backward ---- */

/* Gradients of the products of one query frame, [R, n_target * R]: dsim goes to those that won. */
static void spread(dns_real *dproducts, const dns_real *dsim, const dns_frame_trace *trace,
                   const dns_frame_pair *p, size_t row, dns_region_step step)
{
    size_t regions = p->n_regions, width = p->n_target * regions;
    dns_real factor = factor_of(p, step);
    memset(dproducts, 0, regions * width * sizeof *dproducts);
    for (size_t j = 0; j < p->n_target; j++) {
        dns_real d = factor * dsim[row * p->n_target + j];
        for (size_t o = 0; o < regions; o++) {
            size_t won = trace->target_region[(row * regions + o) * p->n_target + j];
            dproducts[o * width + j * regions + won] += d;
        }
        for (size_t q = 0; step == DNS_REGIONS_SYMMETRIC && q < regions; q++) {
            size_t won = trace->query_region[(j * regions + q) * p->n_query + row];
            dproducts[won * width + j * regions + q] += d;
        }
    }
}

static dns_status chamfer_backward(dns_real *dx, dns_real *dy, const dns_real *dsim,
                                   const dns_frame_trace *trace, const dns_frame_pair *p,
                                   dns_region_step step, dns_frame_scratch *scratch)
{
    dns_status status = DNS_OK;
    size_t regions = p->n_regions, width = p->n_target * regions, block = block_frames(p);
    DNS_TRY(dns_reserve(&scratch->products, &scratch->capacity, block * regions * width,
                        sizeof(dns_real)));
    for (size_t first = 0; first < p->n_query; first += block) {
        size_t frames = p->n_query - first < block ? p->n_query - first : block;
        size_t at = first * regions * p->dim, rows = frames * regions;
        for (size_t i = 0; i < frames; i++)
            spread(scratch->products + i * regions * width, dsim, trace, p, first + i, step);
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
    if (p->x_gate != NULL)
        return dns_status_set(DNS_ERR_ARG, "regions behind gates do not learn");
    if (step == DNS_REGIONS_SAME)
        return same_backward(dx, dy, dsim, p, scratch);
    return chamfer_backward(dx, dy, dsim, trace, p, step, scratch);
}

void dns_frame_gates_backward(dns_real *dx_gate, dns_real *dy_gate, const dns_real *dsim,
                              const dns_frame_trace *trace, const dns_frame_pair *p,
                              dns_region_step step)
{
    size_t regions = p->n_regions;
    dns_real factor = factor_of(p, step);
    for (size_t row = 0; row < p->n_query * regions; row++) {
        for (size_t j = 0; j < p->n_target; j++) {
            size_t at = row * p->n_target + j;
            size_t won = step == DNS_REGIONS_SAME ? row % regions : trace->target_region[at];
            dns_real d = factor * dsim[row / regions * p->n_target + j] * trace->target_product[at];
            if (dx_gate != NULL)
                dx_gate[row] += d * p->y_gate[j * regions + won];
            if (dy_gate != NULL)
                dy_gate[j * regions + won] += d * p->x_gate[row];
        }
    }
    for (size_t column = 0; step == DNS_REGIONS_SYMMETRIC && column < p->n_target * regions;
         column++) {
        for (size_t i = 0; i < p->n_query; i++) {
            size_t at = column * p->n_query + i, won = i * regions + trace->query_region[at];
            dns_real d =
                factor * dsim[i * p->n_target + column / regions] * trace->query_product[at];
            if (dx_gate != NULL)
                dx_gate[won] += d * p->y_gate[column];
            if (dy_gate != NULL)
                dy_gate[column] += d * p->x_gate[won];
        }
    }
}
