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

/* Query frames that are packed together: 16 regions of a frame each fill whole vectors. */
enum { BLOCK_MAX = DNS_LANES, BLOCK_SAME = DNS_PANEL };

/*
 * Frames are packed by blocks, within them region by region: row o * (frames of the block) + i. The
 * mean over regions is then one of whole vectors, and a block can be compared without the rest.
 *
 * DNS_F2F_SAME is one region of n_regions * dim to the kernels; but in bytes, where each region has
 * its own scale, it is n_regions planes of rows, which are added up.
 */
struct dns_f2f_query {
    dns_kernels kernels;
    dns_f2f_form form; /* as asked for; what the panels hold depends on the processor too */
    packing packing;
    dns_f2f_step step;
    size_t n_frames, n_regions, dim;
    size_t block;        /* frames */
    bool padded;         /* blocks are filled up to DNS_LANES frames: DNS_F2F_SYMMETRIC */
    size_t n_planes;     /* 1 but for DNS_F2F_SAME in bytes */
    size_t tile_regions; /* regions and dim of a plane as the kernels see them */
    size_t tile_dim;
    size_t n_rows; /* of a plane, those that fill up blocks included */
    void *panels;
    float *factors; /* [n_planes, n_rows] of each row's products, the division by n_regions
                       included; not for bits */
};

static size_t rounded(size_t n, size_t to)
{
    return (n + to - 1) / to * to;
}

/* Rows of a region in a block of n frames. */
static size_t region_rows(const dns_f2f_query *q, size_t n)
{
    return q->padded ? DNS_LANES : n;
}

/* Rows of a block of n frames, made a multiple of DNS_LANES. */
static size_t block_rows(const dns_f2f_query *q, size_t n)
{
    return rounded(region_rows(q, n) * q->tile_regions, DNS_LANES);
}

static size_t row_bytes(const dns_f2f_query *q)
{
    return q->packing == PACKED_F32  ? 4 * q->tile_dim
           : q->packing == PACKED_I8 ? q->tile_dim
                                     : q->tile_dim / 8;
}

/* A block and where its rows begin in a plane. */
typedef struct block {
    size_t first, n_frames, n_rows, at;
} block;

static block block_at(const dns_f2f_query *q, size_t first)
{
    size_t left = q->n_frames - first;
    block b = {.first = first, .n_frames = left < q->block ? left : q->block};
    b.n_rows = block_rows(q, b.n_frames);
    b.at = first / q->block * block_rows(q, q->block);
    return b;
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
    bool by_planes = step == DNS_F2F_SAME && panels == PACKED_I8;
    q->block = step == DNS_F2F_SAME ? BLOCK_SAME : BLOCK_MAX;
    q->padded = step == DNS_F2F_SYMMETRIC;
    q->n_planes = by_planes ? n_regions : 1;
    q->tile_regions = step == DNS_F2F_SAME ? 1 : n_regions;
    q->tile_dim = step == DNS_F2F_SAME && !by_planes ? n_regions * dim : dim;
    const block last = block_at(q, (n_frames - 1) / q->block * q->block);
    q->n_rows = last.at + last.n_rows;
    DNS_TRY(dns_alloc(&q->panels, q->n_planes * q->n_rows, row_bytes(q)));
    DNS_TRY(dns_alloc(&q->factors, q->n_planes * q->n_rows, sizeof *q->factors));
    *out = q;
    q = NULL;
out:
    dns_f2f_query_free(q);
    return status;
}

/* Where row r of a block comes from: frame and region, the plane's region in bytes of
 * DNS_F2F_SAME, in rows of tile_dim. */
static size_t stored_row(const dns_f2f_query *q, const block *b, size_t plane, size_t r)
{
    size_t frame = b->first + r % b->n_frames;
    return q->n_planes > 1 ? frame * q->n_planes + plane
                           : frame * q->tile_regions + r / b->n_frames;
}

static size_t panel_width(const block *b, size_t start)
{
    return b->n_rows - start < DNS_PANEL ? b->n_rows - start : DNS_PANEL;
}

static void pack_f32(dns_f2f_query *q, const block *b, const float *features)
{
    float *panels = (float *)q->panels + b->at * q->tile_dim;
    size_t stride = region_rows(q, b->n_frames);
    for (size_t i = 0; i < b->n_frames * q->tile_regions; i++) {
        size_t r = i / b->n_frames * stride + i % b->n_frames;
        size_t at = r % DNS_PANEL, width = panel_width(b, r - at);
        const float *row = features + stored_row(q, b, 0, i) * q->tile_dim;
        float *column = panels + (r - at) * q->tile_dim + at;
        for (size_t k = 0; k < q->tile_dim; k++)
            column[k * width] = row[k];
        q->factors[b->at + r] = 1.0f / (float)q->n_regions;
    }
}

static float largest_magnitude(const float *x, size_t n)
{
    float largest = 0.0f;
    for (size_t i = 0; i < n; i++)
        largest = fabsf(x[i]) > largest ? fabsf(x[i]) : largest;
    return largest;
}

static void pack_i8(dns_f2f_query *q, const block *b, size_t plane, const float *features)
{
    size_t start = plane * q->n_rows + b->at;
    uint8_t *panels = (uint8_t *)q->panels + start * q->tile_dim;
    for (size_t r = 0; r < b->n_rows; r++) {
        size_t at = r % DNS_PANEL, width = panel_width(b, r - at);
        bool is_padding = r >= b->n_frames * q->tile_regions;
        const float *row = features + (is_padding ? 0 : stored_row(q, b, plane, r) * q->tile_dim);
        uint8_t *column = panels + (r - at) * q->tile_dim + 4 * at;
        float scale = is_padding ? 0.0f : largest_magnitude(row, q->tile_dim) / 127.0f;
        float inverse = scale > FLT_MIN ? 1.0f / scale : 0.0f;
        for (size_t k = 0; k < q->tile_dim; k++) {
            float level = fminf(fmaxf(rintf(row[k] * inverse), -127.0f), 127.0f);
            column[k / 4 * 4 * width + k % 4] = (uint8_t)(128 + (int)level);
        }
        q->factors[start + r] = scale / (float)q->n_regions;
    }
}

static void pack_bits(dns_f2f_query *q, const block *b, const uint8_t *codes)
{
    size_t n_words = q->tile_dim / 64;
    uint64_t *panels = (uint64_t *)q->panels + b->at * n_words;
    for (size_t r = 0; r < b->n_frames * q->tile_regions; r++)
        for (size_t w = 0; w < n_words; w++) {
            const uint8_t *word = codes + (stored_row(q, b, 0, r) * n_words + w) * 8;
            memcpy(&panels[(r - r % DNS_LANES) * n_words + w * DNS_LANES + r % DNS_LANES], word, 8);
        }
}

dns_status dns_f2f_query_create(dns_f2f_query **out, dns_f2f_form form, dns_f2f_step step,
                                const float *features, size_t n_frames, size_t n_regions,
                                size_t dim)
{
    bool in_bytes = form == DNS_F2F_I8 && step != DNS_F2F_SYMMETRIC && dim % 4 == 0 &&
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
    for (size_t first = 0; first < n_frames; first += (*out)->block) {
        const block b = block_at(*out, first);
        for (size_t plane = 0; in_bytes && plane < (*out)->n_planes; plane++)
            pack_i8(*out, &b, plane, features);
        if (!in_bytes)
            pack_f32(*out, &b, features);
    }
    return DNS_OK;
}

/* Codes as floats of +-1 / dim: their products with signs are exact. */
static dns_status create_signs(dns_f2f_query **out, dns_f2f_step step, const uint8_t *codes,
                               size_t n_frames, size_t n_regions, size_t dim)
{
    dns_status status = query_make(out, PACKED_F32, step, n_frames, n_regions, dim);
    float *signs = NULL;
    size_t n = n_frames * n_regions * dim;
    if (status != DNS_OK)
        return status;
    DNS_TRY(dns_alloc(&signs, n, sizeof *signs));
    for (size_t i = 0; i < n; i++)
        signs[i] = (codes[i / 8] >> i % 8 & 1 ? 1.0f : -1.0f) / (float)dim;
    (*out)->form = DNS_F2F_I8; /* compares with codes alone */
    for (size_t first = 0; first < n_frames; first += (*out)->block) {
        const block b = block_at(*out, first);
        pack_f32(*out, &b, signs);
    }
out:
    dns_free(signs);
    if (status != DNS_OK) {
        dns_f2f_query_free(*out);
        *out = NULL;
    }
    return status;
}

dns_status dns_f2f_query_create_bits(dns_f2f_query **out, dns_f2f_step step, const uint8_t *codes,
                                     size_t n_frames, size_t n_regions, size_t dim)
{
    *out = NULL;
    if (dim % 64 != 0)
        return dns_status_set(DNS_ERR_SHAPE, "codes of %zu bits, not a multiple of 64", dim);
    if (step == DNS_F2F_SYMMETRIC)
        return create_signs(out, step, codes, n_frames, n_regions, dim);
    dns_status status = query_make(out, PACKED_BITS, step, n_frames, n_regions, dim);
    if (status != DNS_OK)
        return status;
    for (size_t first = 0; first < n_frames; first += (*out)->block) {
        const block b = block_at(*out, first);
        pack_bits(*out, &b, codes);
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

size_t dns_f2f_query_block(const dns_f2f_query *query)
{
    return query->block;
}

/* Where the parts of the scratch memory begin, in bytes. */
typedef struct layout {
    size_t max;    /* [CHUNK, rows of a block] floats; of bits, uint32_t */
    size_t means;  /* [CHUNK, frames of a block] floats; of bits, uint32_t */
    size_t sums;   /* [CHUNK, n_regions] int32_t */
    size_t scales; /* [CHUNK, n_regions] floats: all 1, those of codes; or of a plane */
    size_t signs;  /* [CHUNK, n_regions, dim] bytes */
    size_t plane;  /* [CHUNK, dim] bytes: one region of each frame */
    size_t wide;   /* [CHUNK, n_regions, dim] floats */
    size_t end;
} layout;

static layout layout_of(const dns_f2f_query *q)
{
    size_t n_target = CHUNK * q->n_regions;
    layout l = {.max = 0};
    l.means = l.max + rounded(CHUNK * block_rows(q, q->block) * 4, ALIGNMENT);
    l.sums = l.means + rounded(CHUNK * q->block * 4, ALIGNMENT);
    l.end = l.scales = l.sums + rounded(n_target * 4, ALIGNMENT);
    if (q->packing == PACKED_BITS)
        return l;
    l.signs = l.scales + rounded(2 * n_target * 4, ALIGNMENT);
    l.plane = l.signs + rounded(n_target * q->dim, ALIGNMENT);
    l.end = l.wide = l.plane + (q->n_planes > 1 ? rounded(CHUNK * q->dim, ALIGNMENT) : 0);
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

/* The same in bytes with a scale each, in *scales. */
static const int8_t *byte_rows(const float **scales, const dns_f2f_query *q, const chunk *c,
                               char *scratch, const layout *l)
{
    size_t n_rows = c->n_frames * q->n_regions;
    if (c->dtype != DNS_U8) {
        *scales = c->scales;
        return (const int8_t *)c->data;
    }
    float *ones = (float *)(void *)(scratch + l->scales);
    int8_t *signs = (int8_t *)(scratch + l->signs);
    q->kernels.widen_bits(signs, (const uint8_t *)c->data, n_rows * q->dim);
    for (size_t i = 0; i < n_rows; i++)
        ones[i] = 1.0f;
    *scales = ones;
    return signs;
}

/* means [n_frames] += over the regions, what one target frame has left of a block's rows. */
static void add_products(float *means, const dns_f2f_query *q, const block *b, const float *max,
                         const float *factors)
{
    for (size_t o = 0; o < q->tile_regions; o++, max += b->n_frames, factors += b->n_frames)
        for (size_t i = 0; i < b->n_frames; i++)
            means[i] += factors[i] * max[i];
}

static void add_bits(uint32_t *sums, const dns_f2f_query *q, const block *b, const uint32_t *min)
{
    for (size_t o = 0; o < q->tile_regions; o++, min += b->n_frames)
        for (size_t i = 0; i < b->n_frames; i++)
            sums[i] += min[i];
}

/* A chunk in the form in which the kernels read it. */
typedef struct rows {
    const chunk *chunk;
    const float *wide;
    const int8_t *bytes;
    const float *scales;
} rows;

static void block_floats(float *means, const dns_f2f_query *q, const block *b, const rows *t,
                         char *scratch, const layout *l)
{
    float *max = (float *)(void *)(scratch + l->max);
    q->kernels.max_f32(max, (const float *)q->panels + b->at * q->tile_dim, b->n_rows, t->wide,
                       t->chunk->n_frames, q->tile_regions, q->tile_dim);
    for (size_t j = 0; j < t->chunk->n_frames; j++)
        add_products(means + j * b->n_frames, q, b, max + j * b->n_rows, q->factors + b->at);
}

static void block_both(float *means, const dns_f2f_query *q, const block *b, const rows *t,
                       char *scratch, const layout *l)
{
    float *sums = (float *)(void *)(scratch + l->max), factor = 0.5f / (float)q->n_regions;
    q->kernels.both_f32(sums, (const float *)q->panels + b->at * q->tile_dim, t->wide,
                        t->chunk->n_frames, q->n_regions, q->dim);
    for (size_t j = 0; j < t->chunk->n_frames; j++)
        for (size_t i = 0; i < b->n_frames; i++)
            means[j * b->n_frames + i] = factor * sums[j * DNS_LANES + i];
}

static void block_bits(uint32_t *sums, const dns_f2f_query *q, const block *b, const rows *t,
                       char *scratch, const layout *l)
{
    uint32_t *min = (uint32_t *)(void *)(scratch + l->max);
    size_t n_words = q->tile_dim / 64;
    q->kernels.min_hamming(min, (const uint64_t *)q->panels + b->at * n_words, b->n_rows,
                           (const uint8_t *)t->chunk->data, t->chunk->n_frames, q->tile_regions,
                           n_words);
    for (size_t j = 0; j < t->chunk->n_frames; j++)
        add_bits(sums + j * b->n_frames, q, b, min + j * b->n_rows);
}

/* Region `plane` of each frame of a chunk, and its scale. */
static void gather_plane(int8_t *bytes, float *scales, const dns_f2f_query *q, const rows *t,
                         size_t plane)
{
    for (size_t j = 0; j < t->chunk->n_frames; j++) {
        size_t row = j * q->n_regions + plane;
        memcpy(bytes + j * q->dim, t->bytes + row * q->dim, q->dim);
        scales[j] = t->scales[row];
    }
}

static void block_i8(float *means, const dns_f2f_query *q, const block *b, const rows *t,
                     char *scratch, const layout *l)
{
    float *max = (float *)(void *)(scratch + l->max);
    int32_t *sums = (int32_t *)(void *)(scratch + l->sums);
    const int8_t *bytes = t->bytes;
    const float *scales = t->scales;
    for (size_t plane = 0; plane < q->n_planes; plane++) {
        size_t start = plane * q->n_rows + b->at;
        if (q->n_planes > 1) {
            float *gathered = (float *)(void *)(scratch + l->scales) + CHUNK * q->n_regions;
            gather_plane((int8_t *)(scratch + l->plane), gathered, q, t, plane);
            bytes = (const int8_t *)(scratch + l->plane);
            scales = gathered;
        }
        q->kernels.sums_i8(sums, bytes, t->chunk->n_frames * q->tile_regions, q->dim);
        q->kernels.max_i8(max, (const uint8_t *)q->panels + start * q->tile_dim, b->n_rows, bytes,
                          scales, sums, t->chunk->n_frames, q->tile_regions, q->dim);
        for (size_t j = 0; j < t->chunk->n_frames; j++)
            add_products(means + j * b->n_frames, q, b, max + j * b->n_rows, q->factors + start);
    }
}

/* Rows of `b` of out [n_frames, n_columns], as many columns as the chunk has frames. */
static void run_block(float *out, size_t n_columns, const dns_f2f_query *q, const block *b,
                      const rows *t, char *scratch, const layout *l)
{
    float *means = (float *)(void *)(scratch + l->means);
    uint32_t *sums = (uint32_t *)(void *)(scratch + l->means);
    size_t n = t->chunk->n_frames;
    memset(means, 0, n * b->n_frames * sizeof *means);
    out += b->first * n_columns;
    if (q->packing == PACKED_BITS) {
        float factor = 2.0f / ((float)q->tile_regions * (float)q->tile_dim);
        block_bits(sums, q, b, t, scratch, l);
        for (size_t i = 0; i < b->n_frames; i++)
            for (size_t j = 0; j < n; j++)
                out[i * n_columns + j] = 1.0f - factor * (float)sums[j * b->n_frames + i];
        return;
    }
    if (q->packing == PACKED_I8)
        block_i8(means, q, b, t, scratch, l);
    else if (q->step == DNS_F2F_SYMMETRIC)
        block_both(means, q, b, t, scratch, l);
    else
        block_floats(means, q, b, t, scratch, l);
    for (size_t i = 0; i < b->n_frames; i++)
        for (size_t j = 0; j < n; j++)
            out[i * n_columns + j] = means[j * b->n_frames + i];
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

dns_status dns_f2f_run_rows(float *out, const dns_f2f_query *query, size_t first, size_t end,
                            const dns_tensor *target, const float *scales, void *scratch)
{
    dns_status status = check_target(query, target, scales);
    if (status == DNS_OK &&
        (first % query->block != 0 || (end % query->block != 0 && end != query->n_frames) ||
         first > end || end > query->n_frames))
        status = dns_status_set(DNS_ERR_ARG, "rows %zu to %zu of a query of %zu frames", first, end,
                                query->n_frames);
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
        rows t = {.chunk = &c};
        if (query->packing == PACKED_F32)
            t.wide = wide_rows(query, &c, scratch, &l);
        if (query->packing == PACKED_I8)
            t.bytes = byte_rows(&t.scales, query, &c, scratch, &l);
        for (size_t i = first; i < end; i += query->block) {
            const block b = block_at(query, i);
            run_block(out + j, n_columns, query, &b, &t, scratch, &l);
        }
    }
    return DNS_OK;
}

dns_status dns_f2f_run(float *out, const dns_f2f_query *query, const dns_tensor *target,
                       const float *scales, void *scratch)
{
    return dns_f2f_run_rows(out, query, 0, query->n_frames, target, scales, scratch);
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
