#include "selector_mlp.h"

#include <math.h>
#include <string.h>

#include "dnsel/activation.h"
#include "dnsel/batch_norm.h"
#include "dnsel/cpu.h"
#include "dnsel/gemm.h"
#include "dnsel/memory.h"

enum { LANES = 8, ROWS = 256 };

/* ---- folding ---- */

/* Scale and shift of the batch norm whose tensors begin at `first`. */
static dns_status read_norm(float **scale, float **shift, const dns_selector *net,
                            selector_tensor first, size_t width)
{
    dns_status status = DNS_OK;
    DNS_TRY(dns_alloc(scale, width, sizeof **scale));
    DNS_TRY(dns_alloc(shift, width, sizeof **shift));
    dns_batch_norm_fold(*scale, *shift, dns_selector_weight(net, first + 2),
                        dns_selector_weight(net, first + 3), dns_selector_weight(net, first),
                        dns_selector_weight(net, first + 1), width);
out:
    return status;
}

dns_status dns_selector_mlp_create(selector_mlp *out, const dns_selector *net)
{
    dns_status status = DNS_OK;
    selector_mlp m = {.last_bias = dns_selector_weight(net, LINEAR2_B)[0]};
    float *scale = NULL, *shift = NULL, *scale1 = NULL, *shift1 = NULL;
    size_t n0 = net->shape.widths[0], n1 = net->shape.widths[1];
    const float *w0 = dns_selector_weight(net, LINEAR0), *w1 = dns_selector_weight(net, LINEAR1);
    size_t p0 = m.widths[0] = (n0 + LANES - 1) / LANES * LANES;
    size_t p1 = m.widths[1] = (n1 + LANES - 1) / LANES * LANES;
    *out = (selector_mlp){0};
    DNS_TRY(dns_alloc(&m.in, (N_INPUTS + 1) * p0, sizeof *m.in));
    DNS_TRY(dns_alloc(&m.between, p0 * p1, sizeof *m.between));
    DNS_TRY(dns_alloc(&m.bias, p1, sizeof *m.bias));
    DNS_TRY(dns_alloc(&m.last, p1, sizeof *m.last));
    DNS_TRY(read_norm(&scale, &shift, net, NORM0_W, n0));
    DNS_TRY(read_norm(&scale1, &shift1, net, NORM1_W, n1));
    for (size_t j = 0; j < n0; j++) {
        for (size_t i = 0; i < N_INPUTS; i++)
            m.in[i * p0 + j] = w0[j * N_INPUTS + i] * scale[j];
        m.in[N_INPUTS * p0 + j] = shift[j];
    }
    for (size_t k = 0; k < n1; k++) {
        for (size_t j = 0; j < n0; j++)
            m.between[j * p1 + k] = w1[k * n0 + j] * scale1[k];
        m.bias[k] = shift1[k];
        m.last[k] = dns_selector_weight(net, LINEAR2_W)[k];
    }
    *out = m;
    m = (selector_mlp){0};
out:
    dns_free(scale);
    dns_free(shift);
    dns_free(scale1);
    dns_free(shift1);
    dns_selector_mlp_free(&m);
    return status;
}

void dns_selector_mlp_free(selector_mlp *mlp)
{
    dns_free(mlp->in);
    dns_free(mlp->between);
    dns_free(mlp->bias);
    dns_free(mlp->last);
    *mlp = (selector_mlp){0};
}

/* ---- eight numbers at a time ---- */

/* Compilers turn operations on these into the vectors of the processor at hand. */
typedef float lanes __attribute__((vector_size(LANES * sizeof(float)), may_alias));
typedef int32_t lane_bits __attribute__((vector_size(LANES * sizeof(float)), may_alias));

#define INLINE static inline __attribute__((always_inline))

/* Defines `name` for the processor at hand: the INLINE function name_body, compiled for each
 * instruction set. */
#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)
#define FUSED optimize("O3", "fp-contract=fast")
#define FOR_EACH_PROCESSOR(name, parameters, arguments)                           \
    __attribute__((target("avx512f,avx512dq,avx512vl"),                           \
                   FUSED)) static void name##_avx512 parameters                   \
    {                                                                             \
        name##_body arguments;                                                    \
    }                                                                             \
    __attribute__((target("avx2,fma"), FUSED)) static void name##_avx2 parameters \
    {                                                                             \
        name##_body arguments;                                                    \
    }                                                                             \
    static void name parameters                                                   \
    {                                                                             \
        unsigned flags = dns_cpu_flags();                                         \
        if ((flags & DNS_CPU_AVX512) != 0)                                        \
            name##_avx512 arguments;                                              \
        else if ((flags & DNS_CPU_AVX2) != 0)                                     \
            name##_avx2 arguments;                                                \
        else                                                                      \
            name##_body arguments;                                                \
    }
#else
#define FOR_EACH_PROCESSOR(name, parameters, arguments) \
    static void name parameters                         \
    {                                                   \
        name##_body arguments;                          \
    }
#endif

#define RELU(x) ((lanes)((lane_bits)(x) & ((x) > 0.0f)))

INLINE float sum_of(const lanes *x)
{
    lanes sum = *x + __builtin_shuffle(*x, (lane_bits){4, 5, 6, 7, 0, 1, 2, 3});
    sum += __builtin_shuffle(sum, (lane_bits){2, 3, 0, 1, 6, 7, 4, 5});
    return sum[0] + sum[1];
}

/* ---- any pairs ---- */

/* h [rows, widths[0]] = the first layer of some pairs. */
INLINE void first_layer_body(float *h, const selector_mlp *m, const float *inputs, size_t rows)
{
    size_t blocks = m->widths[0] / LANES;
    const lanes *w = (const lanes *)m->in;
    for (size_t i = 0; i < rows; i++) {
        const float *x = inputs + i * N_INPUTS;
        lanes *out = (lanes *)(h + i * m->widths[0]);
        for (size_t j = 0; j < blocks; j++) {
            lanes z =
                x[0] * w[j] + x[1] * w[blocks + j] + x[2] * w[2 * blocks + j] + w[3 * blocks + j];
            out[j] = RELU(z);
        }
    }
}
FOR_EACH_PROCESSOR(first_layer, (float *h, const selector_mlp *m, const float *inputs, size_t rows),
                   (h, m, inputs, rows))

/* logits [rows] from z [rows, widths[1]], the second layer before its ReLU. */
INLINE void last_layer_body(float *logits, const selector_mlp *m, const float *z, size_t rows)
{
    size_t blocks = m->widths[1] / LANES;
    const lanes *last = (const lanes *)m->last;
    for (size_t i = 0; i < rows; i++) {
        const lanes *row = (const lanes *)(z + i * m->widths[1]);
        lanes sum = {0};
        for (size_t k = 0; k < blocks; k++)
            sum += RELU(row[k]) * last[k];
        logits[i] = m->last_bias + sum_of(&sum);
    }
}
FOR_EACH_PROCESSOR(last_layer, (float *logits, const selector_mlp *m, const float *z, size_t rows),
                   (logits, m, z, rows))

dns_status dns_selector_mlp_run(float *confidence, const selector_mlp *m, const float *inputs,
                                size_t n)
{
    dns_status status = DNS_OK;
    size_t p0 = m->widths[0], p1 = m->widths[1];
    float *h = NULL, *z = NULL;
    DNS_TRY(dns_alloc(&h, ROWS * p0, sizeof *h));
    DNS_TRY(dns_alloc(&z, ROWS * p1, sizeof *z));
    for (size_t i = 0; i < n * N_INPUTS; i++) {
        if (!isfinite(inputs[i]))
            DNS_FAIL(DNS_ERR_RANGE, "selector: pair %zu is not finite", i / N_INPUTS);
    }
    for (size_t begin = 0; begin < n; begin += ROWS) {
        size_t rows = n - begin < ROWS ? n - begin : ROWS;
        first_layer(h, m, inputs + begin * N_INPUTS, rows);
        for (size_t i = 0; i < rows; i++)
            memcpy(z + i * p1, m->bias, p1 * sizeof *z);
        DNS_TRY(dns_gemm_dense_f32(false, false, rows, p1, p0, h, m->between, 1, z));
        last_layer(confidence + begin, m, z, rows);
    }
    dns_sigmoid(confidence, confidence, n);
out:
    dns_free(h);
    dns_free(z);
    return status;
}

/* ---- one query ---- */

/*
 * With the query's scalar fixed, every unit j of the first layer is affine in (s, c), scalar and
 * coarse similarity of the target: z_j = a_j + b_j s + g_j c. A grid is laid over the targets.
 * Within one of its cells most units are positive everywhere or nowhere; the second layer before
 * its ReLU is then affine too, up to the few units whose line z_j = 0 crosses the cell. So a target
 * costs some 3 rows of weights instead of 100.
 */

enum { CELLS = 64 /* along an axis, about */, GROUP = 4 };

struct axis {
    double origin, step;
    size_t n;
};

/* Steps are powers of two and the origin a multiple of them, so that a few more targets change
 * nothing as a rule. */
static struct axis axis_over(const float *values, size_t n)
{
    double low = values[0], high = values[0];
    for (size_t i = 1; i < n; i++) {
        low = (double)values[i] < low ? (double)values[i] : low;
        high = (double)values[i] > high ? (double)values[i] : high;
    }
    if (high - low < 1e-30)
        return (struct axis){low, 1, 1};
    double step = exp2(ceil(log2((high - low) / CELLS)));
    double origin = floor(low / step) * step;
    return (struct axis){origin, step, (size_t)((high - origin) / step) + 1};
}

static size_t cell_of(const struct axis *axis, float value)
{
    double at = ((double)value - axis->origin) / axis->step;
    size_t cell = at > 0 ? (size_t)at : 0;
    return cell < axis->n ? cell : axis->n - 1;
}

struct route {
    const selector_mlp *m;
    const float *targets, *coarse;
    float *confidence;
    struct axis s, c;
    const float *first;        /* [widths[0]]: a_j */
    const uint32_t *positions; /* targets in order of their cells */
    const uint32_t *begins;    /* [cells + 1] */
    float *scratch;            /* [workers, 3 widths[1] + GROUP widths[0]] */
    uint32_t *units;           /* [workers, widths[0]] */
};

/* The second layer over one cell: its value at the centre, its slopes, and the units that are
 * neither on nor off. */
struct cell {
    float s, c;
    lanes *centre, *along_s, *along_c; /* [widths[1] / LANES] */
    uint32_t *units; /* room for all; first those that are on, then those that cross */
    float *values;   /* theirs, likewise */
    size_t n_crossing;
};

/* a_j + b_j s + g_j c */
INLINE float unit_at(const struct route *r, size_t j, float s, float c)
{
    size_t p0 = r->m->widths[0];
    return r->first[j] + r->m->in[p0 + j] * s + r->m->in[2 * p0 + j] * c;
}

INLINE void set_cell(struct cell *cell, const struct route *r)
{
    const selector_mlp *m = r->m;
    size_t p0 = m->widths[0], blocks = m->widths[1] / LANES, n_on = 0;
    const float *b = m->in + p0, *g = m->in + 2 * p0;
    float reach_s = (float)(r->s.step / 2), reach_c = (float)(r->c.step / 2);
    for (size_t j = 0; j < p0; j++) {
        float z = unit_at(r, j, cell->s, cell->c);
        cell->values[n_on] = z;
        cell->units[n_on] = (uint32_t)j;
        n_on += z >= fabsf(b[j]) * reach_s + fabsf(g[j]) * reach_c;
    }
    for (size_t k = 0; k < blocks; k++) {
        lanes centre = ((const lanes *)m->bias)[k], along_s = {0}, along_c = {0};
        for (size_t i = 0; i < n_on; i++) {
            size_t j = cell->units[i];
            lanes row = ((const lanes *)m->between)[j * blocks + k];
            centre += cell->values[i] * row;
            along_s += b[j] * row;
            along_c += g[j] * row;
        }
        cell->centre[k] = centre;
        cell->along_s[k] = along_s;
        cell->along_c[k] = along_c;
    }
    cell->n_crossing = 0;
    for (size_t j = 0; j < p0; j++) {
        float reach = fabsf(b[j]) * reach_s + fabsf(g[j]) * reach_c;
        cell->units[cell->n_crossing] = (uint32_t)j;
        cell->n_crossing += fabsf(unit_at(r, j, cell->s, cell->c)) < reach;
    }
}

/* Logits of GROUP targets of the cell, which share what is read of the weights. */
INLINE void logits_in(const struct cell *cell, const struct route *r, const uint32_t *at)
{
    size_t blocks = r->m->widths[1] / LANES, n = cell->n_crossing;
    const lanes *between = (const lanes *)r->m->between, *last = (const lanes *)r->m->last;
    float s[GROUP], c[GROUP], *values = cell->values;
    lanes sum0 = {0}, sum1 = {0}, sum2 = {0}, sum3 = {0};
    for (size_t g = 0; g < GROUP; g++) {
        s[g] = r->targets[at[g]] - cell->s;
        c[g] = r->coarse[at[g]] - cell->c;
        for (size_t i = 0; i < n; i++) {
            float z = unit_at(r, cell->units[i], r->targets[at[g]], r->coarse[at[g]]);
            values[i * GROUP + g] = z > 0 ? z : 0;
        }
    }
    for (size_t k = 0; k < blocks; k++) {
        lanes centre = cell->centre[k], along_s = cell->along_s[k], along_c = cell->along_c[k];
        lanes v0 = centre + s[0] * along_s + c[0] * along_c;
        lanes v1 = centre + s[1] * along_s + c[1] * along_c;
        lanes v2 = centre + s[2] * along_s + c[2] * along_c;
        lanes v3 = centre + s[3] * along_s + c[3] * along_c;
        for (size_t i = 0; i < n; i++) {
            lanes row = between[cell->units[i] * blocks + k];
            v0 += values[i * GROUP] * row;
            v1 += values[i * GROUP + 1] * row;
            v2 += values[i * GROUP + 2] * row;
            v3 += values[i * GROUP + 3] * row;
        }
        sum0 += RELU(v0) * last[k];
        sum1 += RELU(v1) * last[k];
        sum2 += RELU(v2) * last[k];
        sum3 += RELU(v3) * last[k];
    }
    r->confidence[at[0]] = r->m->last_bias + sum_of(&sum0);
    r->confidence[at[1]] = r->m->last_bias + sum_of(&sum1);
    r->confidence[at[2]] = r->m->last_bias + sum_of(&sum2);
    r->confidence[at[3]] = r->m->last_bias + sum_of(&sum3);
}

/* All cells of one row of the grid. */
INLINE void route_row_body(const struct route *r, size_t row, size_t worker)
{
    size_t p0 = r->m->widths[0], p1 = r->m->widths[1];
    float *scratch = r->scratch + worker * (3 * p1 + GROUP * p0);
    struct cell cell = {.centre = (lanes *)scratch,
                        .along_s = (lanes *)(scratch + p1),
                        .along_c = (lanes *)(scratch + 2 * p1),
                        .values = scratch + 3 * p1,
                        .units = r->units + worker * p0};
    cell.s = (float)(r->s.origin + ((double)row + 0.5) * r->s.step);
    for (size_t column = 0; column < r->c.n; column++) {
        size_t number = row * r->c.n + column;
        if (r->begins[number] == r->begins[number + 1])
            continue;
        cell.c = (float)(r->c.origin + ((double)column + 0.5) * r->c.step);
        set_cell(&cell, r);
        for (uint32_t i = r->begins[number]; i < r->begins[number + 1]; i += GROUP) {
            uint32_t at[GROUP], left = r->begins[number + 1] - i;
            for (uint32_t g = 0; g < GROUP; g++) /* a last group is filled up by its last target */
                at[g] = r->positions[i + (g < left ? g : left - 1)];
            logits_in(&cell, r, at);
        }
    }
}
FOR_EACH_PROCESSOR(route_row, (const struct route *r, size_t row, size_t worker), (r, row, worker))

static dns_status route_task(void *payload, size_t row, size_t worker)
{
    route_row(payload, row, worker);
    return DNS_OK;
}

/* Targets in order of their cells: *positions [n], *begins [cells + 1]. */
static dns_status sort_by_cell(uint32_t **positions, uint32_t **begins, const struct route *r,
                               size_t n)
{
    dns_status status = DNS_OK;
    uint32_t *cells = NULL;
    size_t n_cells = r->s.n * r->c.n;
    DNS_TRY(dns_alloc(&cells, n, sizeof *cells));
    DNS_TRY(dns_alloc(positions, n, sizeof **positions));
    DNS_TRY(dns_alloc(begins, n_cells + 2, sizeof **begins));
    uint32_t *counts =
        *begins + 2; /* so that begins[k + 1] is where cell k begins, and is its cursor below */
    for (size_t i = 0; i < n; i++) {
        cells[i] =
            (uint32_t)(cell_of(&r->s, r->targets[i]) * r->c.n + cell_of(&r->c, r->coarse[i]));
        counts[cells[i]]++;
    }
    for (size_t k = 2; k < n_cells + 2; k++)
        (*begins)[k] += (*begins)[k - 1];
    for (size_t i = 0; i < n; i++)
        (*positions)[(*begins)[cells[i] + 1]++] = (uint32_t)i;
out:
    dns_free(cells);
    return status;
}

dns_status dns_selector_mlp_route(float *confidence, const selector_mlp *m, float query,
                                  const float *targets, const float *coarse, size_t n,
                                  dns_pool *pool)
{
    dns_status status = DNS_OK;
    size_t p0 = m->widths[0];
    float *first = NULL;
    uint32_t *positions = NULL, *begins = NULL;
    struct route r = {.m = m, .targets = targets, .coarse = coarse, .confidence = confidence};
    if (n > UINT32_MAX)
        DNS_FAIL(DNS_ERR_LIMIT, "selector: %zu targets", n);
    if (n == 0)
        goto out;
    if (!isfinite(query))
        DNS_FAIL(DNS_ERR_RANGE, "selector: the query's scalar is not finite");
    for (size_t i = 0; i < n; i++) {
        if (!isfinite(targets[i]) || !isfinite(coarse[i]))
            DNS_FAIL(DNS_ERR_RANGE, "selector: target %zu is not finite", i);
    }
    r.s = axis_over(targets, n);
    r.c = axis_over(coarse, n);
    DNS_TRY(sort_by_cell(&positions, &begins, &r, n));
    r.positions = positions;
    r.begins = begins;
    DNS_TRY(dns_alloc(&first, p0, sizeof *first));
    for (size_t j = 0; j < p0; j++)
        first[j] = m->in[3 * p0 + j] + query * m->in[j];
    r.first = first;
    DNS_TRY(dns_alloc(&r.scratch, dns_pool_size(pool) * (3 * m->widths[1] + GROUP * p0),
                      sizeof *r.scratch));
    DNS_TRY(dns_alloc(&r.units, dns_pool_size(pool) * p0, sizeof *r.units));
    DNS_TRY(dns_pool_run(pool, r.s.n, route_task, &r));
    dns_sigmoid(confidence, confidence, n);
out:
    dns_free(first);
    dns_free(positions);
    dns_free(begins);
    dns_free(r.scratch);
    dns_free(r.units);
    return status;
}
