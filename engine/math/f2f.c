#include "dnsel/f2f.h"

#include <float.h>
#include <math.h>
#include <stdbool.h>
#include <string.h>

#include "dnsel/cpu.h"
#include "dnsel/kernels.h"
#include "dnsel/memory.h"

/* Target frames that are compared at a time: few enough to stay in the cache while all query panels
 * pass. */
enum { CHUNK = 16, ALIGNMENT = 64 };

/* What the panels hold. */
typedef enum packing { PACKED_F32, PACKED_I8, PACKED_BITS } packing;

/* Query rows are packed region by region, row o * n_frames + i: the mean over regions is then one
 * of whole vectors. */
struct dns_f2f_query {
    dns_kernels kernels;
    dns_f2f_form form; /* as asked for; what the panels hold depends on the processor too */
    packing packing;
    dns_f2f_step step;
    size_t n_frames, n_regions, dim;
    size_t n_rows;       /* n_frames * n_regions made a multiple of DNS_LANES */
    size_t tile_regions; /* regions and dim as the kernels see them: DNS_F2F_SAME is one region of
                            n_regions * dim */
    size_t tile_dim;
    void *panels;
    float *factors; /* [n_rows] of each row's products, the division by n_regions included; not for
                       bits */
};

static size_t rounded(size_t n, size_t to)
{
    return (n + to - 1) / to * to;
}

static dns_status query_make(dns_f2f_query **out, packing panels, dns_f2f_step step,
                             size_t n_frames, size_t n_regions, size_t dim)
{
    dns_status status = DNS_OK;
    dns_f2f_query *q = NULL;
    size_t count;
    *out = NULL;
    if (n_frames == 0 || n_regions == 0 || dim == 0 ||
        !dns_size_multiply(n_frames, n_regions, &count) || !dns_size_multiply(count, dim, &count) ||
        count > SIZE_MAX / 64)
        return dns_status_set(DNS_ERR_SHAPE, "query of [%zu,%zu,%zu]", n_frames, n_regions, dim);
    DNS_TRY(dns_alloc(&q, 1, sizeof *q));
    dns_kernels_get(&q->kernels, dns_cpu_flags());
    q->packing = panels;
    q->step = step;
    q->n_frames = n_frames;
    q->n_regions = n_regions;
    q->dim = dim;
    q->tile_regions = step == DNS_F2F_MAX ? n_regions : 1;
    q->tile_dim = step == DNS_F2F_MAX ? dim : n_regions * dim;
    q->n_rows = rounded(n_frames * q->tile_regions, DNS_LANES);
    size_t n_bytes = panels == PACKED_F32  ? 4 * q->tile_dim
                     : panels == PACKED_I8 ? q->tile_dim
                                           : q->tile_dim / 8;
    DNS_TRY(dns_alloc(&q->panels, q->n_rows, n_bytes));
    DNS_TRY(dns_alloc(&q->factors, q->n_rows, sizeof *q->factors));
    *out = q;
    q = NULL;
out:
    dns_f2f_query_free(q);
    return status;
}

/* Stored row (frame i, region o) of packed row r. */
static size_t stored_row(const dns_f2f_query *q, size_t r)
{
    return r % q->n_frames * q->tile_regions + r / q->n_frames;
}

static size_t panel_width(const dns_f2f_query *q, size_t start)
{
    return q->n_rows - start < DNS_PANEL ? q->n_rows - start : DNS_PANEL;
}

static void pack_f32(dns_f2f_query *q, const float *features)
{
    float *panels = q->panels;
    for (size_t r = 0; r < q->n_frames * q->tile_regions; r++) {
        size_t at = r % DNS_PANEL, width = panel_width(q, r - at);
        const float *row = features + stored_row(q, r) * q->tile_dim;
        float *column = panels + (r - at) * q->tile_dim + at;
        for (size_t k = 0; k < q->tile_dim; k++)
            column[k * width] = row[k];
        q->factors[r] = 1.0f / (float)q->n_regions;
    }
}

static float largest_magnitude(const float *x, size_t n)
{
    float largest = 0.0f;
    for (size_t i = 0; i < n; i++)
        largest = fabsf(x[i]) > largest ? fabsf(x[i]) : largest;
    return largest;
}

static void pack_i8(dns_f2f_query *q, const float *features)
{
    uint8_t *panels = q->panels;
    for (size_t r = 0; r < q->n_rows; r++) {
        size_t at = r % DNS_PANEL, width = panel_width(q, r - at);
        bool is_padding = r >= q->n_frames * q->tile_regions;
        const float *row = features + (is_padding ? 0 : stored_row(q, r) * q->tile_dim);
        uint8_t *column = panels + (r - at) * q->tile_dim + 4 * at;
        float scale = is_padding ? 0.0f : largest_magnitude(row, q->tile_dim) / 127.0f;
        float inverse = scale > FLT_MIN ? 1.0f / scale : 0.0f;
        for (size_t k = 0; k < q->tile_dim; k++) {
            float level = fminf(fmaxf(rintf(row[k] * inverse), -127.0f), 127.0f);
            column[k / 4 * 4 * width + k % 4] = (uint8_t)(128 + (int)level);
        }
        q->factors[r] = scale / (float)q->n_regions;
    }
}

dns_status dns_f2f_query_create(dns_f2f_query **out, dns_f2f_form form, dns_f2f_step step,
                                const float *features, size_t n_frames, size_t n_regions,
                                size_t dim)
{
    bool in_bytes = form == DNS_F2F_I8 && step == DNS_F2F_MAX && dim % 4 == 0 &&
                    dim <= DNS_I8_DIM && (dns_cpu_flags() & DNS_CPU_VNNI);
    dns_status status =
        query_make(out, in_bytes ? PACKED_I8 : PACKED_F32, step, n_frames, n_regions, dim);
    if (status != DNS_OK)
        return status;
    for (size_t i = 0; i < n_frames * n_regions * dim; i++)
        if (!isfinite(features[i])) {
            dns_f2f_query_free(*out);
            *out = NULL;
            return dns_status_set(DNS_ERR_RANGE, "query frame %zu is not finite",
                                  i / (n_regions * dim));
        }
    (*out)->form = form;
    if (in_bytes)
        pack_i8(*out, features);
    else
        pack_f32(*out, features);
    return DNS_OK;
}

dns_status dns_f2f_query_create_bits(dns_f2f_query **out, dns_f2f_step step, const uint8_t *codes,
                                     size_t n_frames, size_t n_regions, size_t dim)
{
    *out = NULL;
    if (dim % 64 != 0)
        return dns_status_set(DNS_ERR_SHAPE, "codes of %zu bits, not a multiple of 64", dim);
    dns_status status = query_make(out, PACKED_BITS, step, n_frames, n_regions, dim);
    if (status != DNS_OK)
        return status;
    dns_f2f_query *q = *out;
    uint64_t *panels = q->panels;
    size_t n_words = q->tile_dim / 64;
    for (size_t r = 0; r < q->n_frames * q->tile_regions; r++)
        for (size_t w = 0; w < n_words; w++) {
            const uint8_t *word = codes + (stored_row(q, r) * n_words + w) * 8;
            memcpy(&panels[(r - r % DNS_LANES) * n_words + w * DNS_LANES + r % DNS_LANES], word, 8);
        }
    return DNS_OK;
}

void dns_f2f_query_free(dns_f2f_query *query)
{
    if (query == NULL)
        return;
    dns_free(query->factors);
    dns_free(query->panels);
    dns_free(query);
}

size_t dns_f2f_query_frames(const dns_f2f_query *query)
{
    return query->n_frames;
}

/* Where the parts of the scratch memory begin, in bytes. */
typedef struct layout {
    size_t max;    /* [CHUNK, n_rows] floats; of bits, uint32_t */
    size_t means;  /* [n_frames] floats */
    size_t sums;   /* [CHUNK, n_regions] int32_t */
    size_t scales; /* [CHUNK, n_regions] floats, all 1: those of codes */
    size_t signs;  /* [CHUNK, n_regions, dim] bytes */
    size_t wide;   /* [CHUNK, n_regions, dim] floats */
    size_t end;
} layout;

static layout layout_of(const dns_f2f_query *q)
{
    size_t n_target = CHUNK * q->n_regions;
    layout l = {.max = 0};
    l.means = l.max + rounded(CHUNK * q->n_rows * 4, ALIGNMENT);
    l.sums = l.means + rounded(q->n_frames * 4, ALIGNMENT);
    l.end = l.scales = l.sums + rounded(n_target * 4, ALIGNMENT);
    if (q->packing == PACKED_BITS)
        return l;
    l.signs = l.scales + rounded(n_target * 4, ALIGNMENT);
    l.end = l.wide = l.signs + rounded(n_target * q->dim, ALIGNMENT);
    if (q->packing == PACKED_F32)
        l.end = l.wide + rounded(n_target * q->dim * 4, ALIGNMENT);
    return l;
}

size_t dns_f2f_scratch(const dns_f2f_query *query)
{
    return layout_of(query).end;
}

/* Up to CHUNK frames of a target. */
typedef struct chunk {
    const char *data; /* as stored */
    const float *scales;
    size_t n_frames;
    dns_dtype dtype;
} chunk;

static const float *wide_rows(const dns_f2f_query *q, const chunk *c, char *scratch,
                              const layout *l)
{
    float *wide = (float *)(void *)(scratch + l->wide);
    int8_t *signs = (int8_t *)(scratch + l->signs);
    size_t n_rows = c->n_frames * q->n_regions, n = n_rows * q->dim;
    switch (c->dtype) {
    case DNS_F16:
        q->kernels.widen_f16(wide, (const uint16_t *)(const void *)c->data, n);
        return wide;
    case DNS_I8:
        for (size_t i = 0; i < n_rows; i++)
            q->kernels.widen_i8(wide + i * q->dim, (const int8_t *)c->data + i * q->dim, q->dim,
                                c->scales[i]);
        return wide;
    case DNS_U8:
        q->kernels.widen_bits(signs, (const uint8_t *)c->data, n);
        q->kernels.widen_i8(wide, signs, n, 1.0f);
        return wide;
    default:
        return (const float *)(const void *)c->data;
    }
}

static void max_f32(const dns_f2f_query *q, const chunk *c, char *scratch, const layout *l)
{
    q->kernels.max_f32((float *)(void *)(scratch + l->max), q->panels, q->n_rows,
                       wide_rows(q, c, scratch, l), c->n_frames, q->tile_regions, q->tile_dim);
}

static void max_i8(const dns_f2f_query *q, const chunk *c, char *scratch, const layout *l)
{
    int32_t *sums = (int32_t *)(void *)(scratch + l->sums);
    const int8_t *rows = (const int8_t *)c->data;
    const float *scales = c->scales;
    size_t n_rows = c->n_frames * q->n_regions;
    if (c->dtype == DNS_U8) {
        float *ones = (float *)(void *)(scratch + l->scales);
        int8_t *signs = (int8_t *)(scratch + l->signs);
        q->kernels.widen_bits(signs, (const uint8_t *)c->data, n_rows * q->dim);
        for (size_t i = 0; i < n_rows; i++)
            ones[i] = 1.0f;
        rows = signs;
        scales = ones;
    }
    q->kernels.sums_i8(sums, rows, n_rows, q->dim);
    q->kernels.max_i8((float *)(void *)(scratch + l->max), q->panels, q->n_rows, rows, scales, sums,
                      c->n_frames, q->n_regions, q->dim);
}

/* Column j of out [n_frames, n_columns] = means over the regions of what one target frame has left.
 */
static void mean_products(float *out, size_t n_columns, const dns_f2f_query *q, const float *max,
                          float *means)
{
    memset(means, 0, q->n_frames * sizeof *means);
    for (size_t o = 0; o < q->tile_regions; o++) {
        const float *of_region = max + o * q->n_frames, *factors = q->factors + o * q->n_frames;
        for (size_t i = 0; i < q->n_frames; i++)
            means[i] += factors[i] * of_region[i];
    }
    for (size_t i = 0; i < q->n_frames; i++)
        out[i * n_columns] = means[i];
}

static void mean_bits(float *out, size_t n_columns, const dns_f2f_query *q, const uint32_t *min,
                      uint32_t *sums)
{
    float factor = 2.0f / ((float)q->tile_regions * (float)q->tile_dim);
    memset(sums, 0, q->n_frames * sizeof *sums);
    for (size_t o = 0; o < q->tile_regions; o++)
        for (size_t i = 0; i < q->n_frames; i++)
            sums[i] += min[o * q->n_frames + i];
    for (size_t i = 0; i < q->n_frames; i++)
        out[i * n_columns] = 1.0f - factor * (float)sums[i];
}

static void run_chunk(float *out, size_t n_columns, const dns_f2f_query *q, const chunk *c,
                      char *scratch, const layout *l)
{
    void *max = scratch + l->max, *means = scratch + l->means;
    if (q->packing == PACKED_BITS)
        q->kernels.min_hamming(max, q->panels, q->n_rows, (const uint8_t *)c->data, c->n_frames,
                               q->tile_regions, q->tile_dim / 64);
    else if (q->packing == PACKED_I8)
        max_i8(q, c, scratch, l);
    else
        max_f32(q, c, scratch, l);
    for (size_t j = 0; j < c->n_frames; j++)
        if (q->packing == PACKED_BITS)
            mean_bits(out + j, n_columns, q, (const uint32_t *)max + j * q->n_rows, means);
        else
            mean_products(out + j, n_columns, q, (const float *)max + j * q->n_rows, means);
}

static dns_status check_target(const dns_f2f_query *q, const dns_tensor *target,
                               const float *scales)
{
    bool of_floats = target->dtype == DNS_F32 || target->dtype == DNS_F16;
    bool known = target->dtype == DNS_U8 ||
                 (q->packing != PACKED_BITS && target->dtype == DNS_I8) ||
                 (q->packing == PACKED_F32 && q->form == DNS_F2F_F32 && of_floats);
    if (!known)
        return dns_status_set(DNS_ERR_ARG, "a target of %s cannot be compared with this query",
                              dns_dtype_name(target->dtype));
    if (target->dtype == DNS_I8 && scales == NULL)
        return dns_status_set(DNS_ERR_ARG, "a target of I8 has no scales");
    size_t width = target->dtype == DNS_U8 ? q->dim / 8 : q->dim;
    if (target->rank != 3 || target->shape[1] != q->n_regions || target->shape[2] != width ||
        (target->dtype == DNS_U8 && q->dim % 8 != 0)) {
        char text[64];
        dns_tensor_shape_text(target, text, sizeof text);
        return dns_status_set(DNS_ERR_SHAPE, "target %s, expected [n,%zu,%zu]", text, q->n_regions,
                              width);
    }
    return DNS_OK;
}

dns_status dns_f2f_run(float *out, const dns_f2f_query *query, const dns_tensor *target,
                       const float *scales, void *scratch)
{
    dns_status status = check_target(query, target, scales);
    if (status != DNS_OK)
        return status;
    const layout l = layout_of(query);
    size_t n_columns = target->shape[0];
    size_t frame_bytes = target->shape[1] * target->shape[2] * dns_dtype_size(target->dtype);
    for (size_t j = 0; j < n_columns; j += CHUNK) {
        const chunk c = {.data = (const char *)target->data + j * frame_bytes,
                         .scales = scales != NULL ? scales + j * query->n_regions : NULL,
                         .n_frames = n_columns - j < CHUNK ? n_columns - j : CHUNK,
                         .dtype = target->dtype};
        run_chunk(out + j, n_columns, query, &c, scratch, &l);
    }
    return DNS_OK;
}

void dns_region_mean(float *out, const float *x, size_t n_frames, size_t n_regions, size_t dim)
{
    float factor = 1.0f / (float)n_regions;
    for (size_t t = 0; t < n_frames; t++, out += dim, x += n_regions * dim) {
        memset(out, 0, dim * sizeof *out);
        for (size_t r = 0; r < n_regions; r++)
            for (size_t k = 0; k < dim; k++)
                out[k] += x[r * dim + k];
        for (size_t k = 0; k < dim; k++)
            out[k] *= factor;
    }
}
