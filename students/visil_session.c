#include <math.h>
#include <string.h>

#include "dnsel/attention.h"
#include "dnsel/binarise.h"
#include "dnsel/f2f.h"
#include "dnsel/frame_similarity.h"
#include "dnsel/mapcnn.h"
#include "dnsel/memory.h"
#include "dnsel/normalise.h"
#include "dnsel/runs.h"
#include "dnsel/video_similarity.h"
#include "visil_net.h"

enum { FEWEST_FRAMES = 4, CHUNK_FRAMES = 2048 };

/* A growing array. */
struct buffer {
    float *data;
    size_t capacity;
};

struct dns_visil_session {
    const dns_visil *net;
    dns_mapcnn *comparator;
    size_t chunk;
    dns_visil_video query;
    dns_runs query_runs;
    dns_f2f_query *packed[2];     /* the query by form, made when a target asks for it */
    const dns_f2f_query *lent[2]; /* those of another session */
    dns_f2f_query *cut[2];        /* the same by fewer bits, for codes that have fewer */
    size_t cut_bits[2];
    size_t bits;                           /* of codes by which the target in hand is compared */
    struct buffer x, hidden, gate;         /* indexing */
    struct buffer query_rows, target_rows; /* as f32, [n_frames * n_regions, dim] */
    struct buffer stored;               /* similarities of stored frames where some were merged */
    struct buffer frames, map, clipped; /* of the last comparison */
    size_t n_query, n_target;
    struct bytes {
        uint8_t *data;
        size_t capacity;
    } query_codes, target_codes;      /* cut to fewer bits */
    struct buffer scratch, comparing; /* of the kernels */
    dns_frame_scratch frame_scratch;
};

static dns_status grow(struct buffer *buffer, size_t n)
{
    return dns_reserve(&buffer->data, &buffer->capacity, n, sizeof(float));
}

dns_status dns_visil_set_comparator(dns_visil_session *s, dns_mapcnn_form form)
{
    if (!dns_visil_has_comparator(s->net))
        return DNS_OK;
    const dns_comparator head = dns_visil_comparator(s->net);
    dns_mapcnn_weights weights = {.replicate = head.padding == DNS_PADDING_EDGE};
    memcpy(weights.channels, head.channels, sizeof weights.channels);
    memcpy(weights.weight, head.weight, sizeof weights.weight);
    memcpy(weights.bias, head.bias, sizeof weights.bias);
    dns_mapcnn_free(s->comparator);
    return dns_mapcnn_create(&s->comparator, form, &weights);
}

dns_status dns_visil_session_create(dns_visil_session **out, const dns_visil *net)
{
    dns_status status = DNS_OK;
    dns_visil_session *s = NULL;
    *out = NULL;
    if (net->shape.dim == 0)
        DNS_FAIL(DNS_ERR_ARG, "a comparator that does not know the size of its regions");
    DNS_TRY(dns_alloc(&s, 1, sizeof *s));
    s->net = net;
    s->chunk = CHUNK_FRAMES;
    DNS_TRY(dns_visil_set_comparator(s, DNS_MAPCNN_F32));
    *out = s;
    s = NULL;
out:
    dns_visil_session_free(s);
    return status;
}

static void drop_query(dns_visil_session *s)
{
    for (size_t i = 0; i < 2; i++) {
        dns_f2f_query_free(s->packed[i]);
        dns_f2f_query_free(s->cut[i]);
        s->packed[i] = s->cut[i] = NULL;
        s->lent[i] = NULL;
    }
    s->query = (dns_visil_video){0};
}

void dns_visil_session_free(dns_visil_session *s)
{
    if (s == NULL)
        return;
    struct buffer *buffers[] = {&s->x,           &s->hidden,    &s->gate,  &s->query_rows,
                                &s->target_rows, &s->frames,    &s->map,   &s->clipped,
                                &s->scratch,     &s->comparing, &s->stored};
    for (size_t i = 0; i < sizeof buffers / sizeof *buffers; i++)
        dns_free(buffers[i]->data);
    dns_free(s->query_codes.data);
    dns_free(s->target_codes.data);
    drop_query(s);
    dns_mapcnn_free(s->comparator);
    dns_frame_scratch_free(&s->frame_scratch);
    dns_free(s);
}

void dns_visil_set_chunk(dns_visil_session *session, size_t n_frames)
{
    session->chunk = n_frames < FEWEST_FRAMES ? FEWEST_FRAMES : n_frames;
}

/* ---- indexing ---- */

size_t dns_visil_extended(size_t n_frames)
{
    while (n_frames > 0 && n_frames < FEWEST_FRAMES)
        n_frames *= 2;
    return n_frames;
}

/* Width of a region as f32: codes become -1 and +1. */
static size_t row_width(const dns_visil *net)
{
    return net->shape.codes ? net->shape.code_bits : net->shape.dim;
}

/* Entries of a region in its stored form: dimensions, or bytes of its code. */
static size_t row_entries(const dns_visil *net, dns_dtype dtype)
{
    return dtype == DNS_U8 ? dns_code_bytes(net->shape.code_bits) : row_width(net);
}

/* What the network stores, and what it also takes for a query. */
static bool is_stored(const dns_visil *net, dns_dtype dtype)
{
    return net->shape.codes ? dtype == DNS_U8
                            : dtype == DNS_F32 || dtype == DNS_F16 || dtype == DNS_I8;
}

static bool is_query(const dns_visil *net, dns_dtype dtype)
{
    return is_stored(net, dtype) || dtype == DNS_F32;
}

size_t dns_visil_bytes(const dns_visil *net, size_t n_frames, size_t n_regions, dns_dtype dtype)
{
    return dns_visil_extended(n_frames) * n_regions * row_entries(net, dtype) *
           dns_dtype_size(dtype);
}

/* s->x [n, dim] = the weighted rows of x, in place of the copy that is there. */
static dns_status weigh(dns_visil_session *s, size_t n)
{
    const dns_visil *net = s->net;
    const dns_visil_shape *shape = &net->shape;
    dns_status status = DNS_OK;
    if (shape->gate == DNS_GATE_NONE)
        return DNS_OK;
    DNS_TRY(grow(&s->gate, n));
    const float *u = dns_parameters_weight(net->parameters, net->context);
    if (shape->gate == DNS_GATE_STUDENT) {
        DNS_TRY(grow(&s->hidden, n * shape->hidden));
        DNS_TRY(dns_attention_forward(s->gate.data, s->hidden.data, s->x.data,
                                      dns_parameters_weight(net->parameters, net->transform_weight),
                                      dns_parameters_weight(net->parameters, net->transform_bias),
                                      u, n, shape->dim, shape->hidden, NULL));
    } else {
        DNS_TRY(dns_attention_teacher_forward(s->gate.data, s->x.data, u, n, shape->dim, NULL));
    }
    dns_attention_apply(s->x.data, s->x.data, s->gate.data, n, shape->dim);
out:
    return status;
}

static void store_i8(int8_t *codes, float *scales, const float *x, size_t n, size_t dim)
{
    for (size_t i = 0; i < n; i++) {
        const float *row = x + i * dim;
        float largest = 0;
        for (size_t j = 0; j < dim; j++)
            largest = fmaxf(largest, fabsf(row[j]));
        scales[i] = largest / 127;
        for (size_t j = 0; j < dim; j++)
            codes[i * dim + j] = largest > 0 ? (int8_t)lrintf(row[j] * (127 / largest)) : 0;
    }
}

static void store_f16(uint16_t *half, const float *x, size_t n)
{
    for (size_t i = 0; i < n; i++)
        half[i] = dns_f16_from_f32(x[i]);
}

/* What a code is made of, divided by the sum of its magnitudes: the product with the code's signs
 * is then 1, with others a difference of bits that counts each by how certain it was. */
static void store_weights(float *out, const float *z, size_t n, size_t bits)
{
    for (size_t i = 0; i < n; i++, z += bits, out += bits) {
        float sum = 0;
        for (size_t k = 0; k < bits; k++)
            sum += fabsf(z[k]);
        for (size_t k = 0; k < bits; k++)
            out[k] = sum > 0 ? z[k] / sum : 0;
    }
}

/* Codes of the n rows in s->x, or their weights. */
static dns_status store_codes(dns_visil_session *s, void *data, size_t n, dns_dtype dtype)
{
    const dns_visil *net = s->net;
    size_t dim = net->shape.dim, bits = net->shape.code_bits;
    dns_status status = DNS_OK;
    DNS_TRY(grow(&s->hidden, n * bits));
    dns_normalise_forward(s->x.data, NULL, s->x.data, n, dim);
    DNS_TRY(dns_binarise_project(s->hidden.data, s->x.data,
                                 dns_parameters_weight(net->parameters, net->code_weight), n, dim,
                                 bits, NULL));
    if (dtype == DNS_U8)
        dns_binarise_pack(data, s->hidden.data, n, bits);
    else
        store_weights(data, s->hidden.data, n, bits);
out:
    return status;
}

dns_status dns_visil_index(dns_visil_session *s, void *data, float *scales, const float *x,
                           size_t n_frames, size_t n_regions, dns_dtype dtype)
{
    dns_status status = DNS_OK;
    size_t dim = s->net->shape.dim, n = n_frames * n_regions;
    size_t whole = dns_visil_bytes(s->net, n_frames, n_regions, dtype);
    if (n_frames == 0)
        DNS_FAIL(DNS_ERR_ARG, "no frames");
    if (!is_query(s->net, dtype))
        DNS_FAIL(DNS_ERR_ARG, "this network does not store %s", dns_dtype_name(dtype));
    DNS_TRY(grow(&s->x, n * dim));
    for (size_t i = 0; i < n * dim; i++) {
        if (!isfinite(x[i]))
            DNS_FAIL(DNS_ERR_RANGE, "frame %zu: a feature is not finite", i / (n_regions * dim));
    }
    memcpy(s->x.data, x, n * dim * sizeof *x);
    DNS_TRY(weigh(s, n));
    if (s->net->shape.codes)
        DNS_TRY(store_codes(s, data, n, dtype));
    else if (dtype == DNS_I8)
        store_i8(data, scales, s->x.data, n, dim);
    else if (dtype == DNS_F16)
        store_f16(data, s->x.data, n * dim);
    else
        memcpy(data, s->x.data, n * dim * sizeof *x);
    /* Every region is stored by itself, so appending the video is appending what was stored. */
    size_t size = n * row_entries(s->net, dtype) * dns_dtype_size(dtype);
    for (; size < whole; size *= 2, n *= 2) {
        memcpy((char *)data + size, data, size);
        if (dtype == DNS_I8)
            memcpy(scales + n, scales, n * sizeof *scales);
    }
out:
    return status;
}

/* ---- comparing ---- */

/* Bytes from one code of a video to the next. */
static size_t code_stride(const dns_visil *net, const dns_visil_video *video)
{
    return video->row_bytes > 0 ? video->row_bytes : row_entries(net, DNS_U8);
}

/* Bits of a video's codes; of their weights as many as the network makes. */
static size_t code_bits(const dns_visil *net, const dns_visil_video *video)
{
    size_t bits = video->dtype == DNS_U8 ? 8 * code_stride(net, video) : net->shape.code_bits;
    return bits < net->shape.code_bits ? bits : net->shape.code_bits;
}

/* Entries of a region in the comparison in hand. */
static size_t compared(const dns_visil_session *s)
{
    return s->net->shape.codes ? s->bits : s->net->shape.dim;
}

/* *codes = the first s->bits of the codes of stored frames [first, first + n), dense. */
static dns_status first_bits(const uint8_t **codes, struct bytes *buffer,
                             const dns_visil_session *s, const dns_visil_video *video, size_t first,
                             size_t n)
{
    size_t stride = code_stride(s->net, video), kept = dns_code_bytes(s->bits);
    size_t n_rows = n * video->n_regions;
    const uint8_t *from = (const uint8_t *)video->data + first * video->n_regions * stride;
    *codes = from;
    if (stride == kept)
        return DNS_OK;
    dns_status status = dns_reserve(&buffer->data, &buffer->capacity, n_rows * kept, 1);
    for (size_t i = 0; status == DNS_OK && i < n_rows; i++)
        memcpy(buffer->data + i * kept, from + i * stride, kept);
    *codes = buffer->data;
    return status;
}

/* *rows = regions of stored frames [first, first + n) as f32, converted into a buffer unless they
 * are. */
static dns_status as_f32(const float **rows, struct buffer *buffer, struct bytes *bytes,
                         const dns_visil_session *s, const dns_visil_video *video, size_t first,
                         size_t n)
{
    dns_status status = DNS_OK;
    size_t width = compared(s), at = first * video->n_regions, count = n * video->n_regions;
    size_t stored = row_width(s->net);
    if (video->dtype == DNS_F32 && width == stored) {
        *rows = (const float *)video->data + at * width;
        return DNS_OK;
    }
    DNS_TRY(grow(buffer, count * width));
    *rows = buffer->data;
    if (video->dtype == DNS_F32) { /* weights of codes that are compared by their first bits */
        for (size_t i = 0; i < count; i++)
            store_weights(buffer->data + i * width, (const float *)video->data + (at + i) * stored,
                          1, width);
        return DNS_OK;
    }
    if (video->dtype == DNS_U8) {
        const uint8_t *codes;
        DNS_TRY(first_bits(&codes, bytes, s, video, first, n));
        dns_binarise_unpack(buffer->data, codes, count, width);
        return DNS_OK;
    }
    for (size_t i = 0; i < count; i++) {
        float *out = buffer->data + i * width;
        const uint16_t *half = (const uint16_t *)video->data + (at + i) * width;
        const int8_t *code = (const int8_t *)video->data + (at + i) * width;
        for (size_t j = 0; j < width; j++)
            out[j] = video->dtype == DNS_F16 ? dns_f32_from_f16(half[j])
                                             : video->scales[at + i] * code[j];
    }
out:
    return status;
}

static dns_status check_video(const dns_visil *net, const dns_visil_video *video, bool fits)
{
    if (!fits)
        return dns_status_set(DNS_ERR_ARG, "this network does not store %s",
                              dns_dtype_name(video->dtype));
    if (video->dtype == DNS_U8 && code_stride(net, video) > row_entries(net, DNS_U8))
        return dns_status_set(DNS_ERR_SHAPE, "codes of %zu bytes, the network makes %zu",
                              code_stride(net, video), row_entries(net, DNS_U8));
    size_t n_frames = dns_runs_of(video->runs, video->n_frames).n_frames;
    if (n_frames < FEWEST_FRAMES)
        return dns_status_set(DNS_ERR_SHAPE, "a video of %zu frames, at least 4 are needed",
                              n_frames);
    return DNS_OK;
}

/* Whether the kernels have this comparison: not codes of other sizes than whole words. */
static bool is_packed(const dns_visil_session *s)
{
    return !s->net->shape.codes || s->bits % 64 == 0;
}

/* Bytes are multiplied when both sides were stored as bytes; the weights of a code against codes,
 * which are bytes to the kernels, always. */
static dns_f2f_form form_for(const dns_visil_session *s, dns_dtype target)
{
    bool in_bytes =
        target == DNS_U8 ? s->query.dtype == DNS_F32 : s->query.dtype == DNS_I8 && target == DNS_I8;
    return in_bytes ? DNS_F2F_I8 : DNS_F2F_F32;
}

/* *out = the packed query for targets of a type. */
static dns_status packed_query(const dns_f2f_query **out, dns_visil_session *s, dns_dtype target)
{
    dns_status status = DNS_OK;
    const dns_visil_video *q = &s->query;
    dns_f2f_form form = form_for(s, target);
    dns_f2f_step step = dns_f2f_step_of(s->net->rule.regions);
    size_t i = form == DNS_F2F_I8;
    const float *rows;
    const uint8_t *codes;
    bool whole = !s->net->shape.codes || s->bits == code_bits(s->net, q);
    dns_f2f_query **packed = whole ? &s->packed[i] : &s->cut[i];
    *out = whole ? s->lent[i] : NULL;
    if (*out != NULL)
        return DNS_OK;
    if (!whole && s->cut_bits[i] != s->bits) {
        dns_f2f_query_free(*packed);
        *packed = NULL;
        s->cut_bits[i] = s->bits;
    }
    if (*packed == NULL && q->dtype == DNS_U8) {
        DNS_TRY(first_bits(&codes, &s->query_codes, s, q, 0, q->n_frames));
        DNS_TRY(dns_f2f_query_create_bits(packed, step, codes, q->n_frames, q->n_regions, s->bits));
    } else if (*packed == NULL) {
        DNS_TRY(as_f32(&rows, &s->query_rows, &s->query_codes, s, q, 0, q->n_frames));
        DNS_TRY(
            dns_f2f_query_create(packed, form, step, rows, q->n_frames, q->n_regions, compared(s)));
    }
    *out = *packed;
out:
    return status;
}

dns_status dns_visil_set_query(dns_visil_session *s, const dns_visil_video *query)
{
    const dns_f2f_query *packed;
    dns_status status = check_video(s->net, query, is_query(s->net, query->dtype));
    drop_query(s);
    if (status != DNS_OK)
        return status;
    s->query = *query;
    s->query_runs = dns_runs_of(query->runs, query->n_frames);
    s->bits = code_bits(s->net, query);
    /* For targets that were stored as the query was; others are seldom, and seen to later. */
    if (is_packed(s))
        status = packed_query(&packed, s, s->net->shape.codes ? DNS_U8 : query->dtype);
    if (status != DNS_OK)
        drop_query(s);
    return status;
}

void dns_visil_borrow_query(dns_visil_session *s, const dns_visil_session *from)
{
    drop_query(s);
    s->query = from->query;
    s->query_runs = from->query_runs;
    memcpy(s->lent, from->packed, sizeof s->lent);
}

/* Codes are compared by as many bits as query and target both have. */
static void set_bits(dns_visil_session *s, const dns_visil_video *target)
{
    size_t of_query = code_bits(s->net, &s->query), of_target = code_bits(s->net, target);
    s->bits = of_query < of_target ? of_query : of_target;
}

/* A chunk of a target: the frames that are compared, and the stored ones that they are. */
struct chunk {
    const dns_visil_video *target;
    size_t at; /* of its first stored frame */
    dns_runs columns;
    size_t n_seen, n_stored; /* query frames whose rows are in s->frames, and stored ones */
};

/* Rows first .. end-1 of out [stored query frames, stored target frames]; `end` is moved to where
 * the kernels can stop. */
static dns_status compare_packed(dns_visil_session *s, float *out, const struct chunk *c,
                                 size_t first, size_t *end)
{
    dns_status status = DNS_OK;
    const dns_visil_video *target = c->target;
    const dns_f2f_query *query;
    const uint8_t *rows;
    size_t regions = target->n_regions, at = c->at * regions;
    size_t entries = target->dtype == DNS_U8 ? dns_code_bytes(s->bits) : compared(s);
    DNS_TRY(packed_query(&query, s, target->dtype));
    DNS_TRY(grow(&s->scratch, dns_f2f_scratch(query) / sizeof(float) + 1));
    if (target->dtype == DNS_U8)
        DNS_TRY(first_bits(&rows, &s->target_codes, s, target, c->at, c->columns.n));
    else
        rows = (const uint8_t *)target->data + at * entries * dns_dtype_size(target->dtype);
    const dns_tensor part = {
        .dtype = target->dtype, .rank = 3, .shape = {c->columns.n, regions, entries}, .data = rows};
    size_t block = dns_f2f_query_block(query), stop = (*end + block - 1) / block * block;
    *end = stop < s->query.n_frames ? stop : s->query.n_frames;
    DNS_TRY(dns_f2f_run_rows(out, query, first, *end, &part,
                             target->dtype == DNS_I8 ? target->scales + at : NULL,
                             s->scratch.data));
out:
    return status;
}

static dns_status compare_plainly(dns_visil_session *s, float *out, const struct chunk *c)
{
    const dns_visil *net = s->net;
    dns_status status = DNS_OK;
    size_t n_query = s->query.n_frames, n = c->columns.n;
    dns_frame_pair pair = {
        .n_query = n_query, .n_target = n, .n_regions = c->target->n_regions, .dim = compared(s)};
    DNS_TRY(as_f32(&pair.x, &s->query_rows, &s->query_codes, s, &s->query, 0, n_query));
    DNS_TRY(as_f32(&pair.y, &s->target_rows, &s->target_codes, s, c->target, c->at, n));
    DNS_TRY(dns_frame_similarity_forward(out, NULL, &pair, net->rule.regions, &s->frame_scratch));
    for (size_t i = 0; s->query.dtype == DNS_U8 && i < n_query * n; i++)
        out[i] /= (float)s->bits;
out:
    return status;
}

/* s->frames has at least the rows of the first `wanted` query frames. Stored frames are compared
 * once, and their similarities repeated as often as they stand for. */
static dns_status compare_frames(dns_visil_session *s, struct chunk *c, size_t wanted)
{
    dns_status status = DNS_OK;
    const dns_runs *query = &s->query_runs;
    bool merged = query->lengths != NULL || c->columns.lengths != NULL;
    size_t end = c->n_stored, n_seen = c->n_seen, n_columns = c->columns.n_frames;
    while (n_seen < wanted)
        n_seen += query->lengths != NULL ? query->lengths[end++] : (end++, 1);
    if (end == c->n_stored)
        goto out;
    DNS_TRY(grow(&s->frames, query->n_frames * n_columns));
    if (merged)
        DNS_TRY(grow(&s->stored, query->n * c->columns.n));
    float *map = merged ? s->stored.data : s->frames.data;
    if (is_packed(s)) {
        DNS_TRY(compare_packed(s, map, c, c->n_stored, &end));
    } else {
        DNS_TRY(compare_plainly(s, map, c));
        end = query->n;
    }
    const dns_runs rows = dns_runs_of(query->lengths != NULL ? query->lengths + c->n_stored : NULL,
                                      end - c->n_stored);
    if (merged)
        dns_runs_expand(s->frames.data + c->n_seen * n_columns, map + c->n_stored * c->columns.n,
                        &rows, &c->columns);
    c->n_stored = end;
    c->n_seen += rows.n_frames;
out:
    return status;
}

/* What a chunk's score is worth to the video's: the sum of the chunks before it, and how many there
 * are in all. */
struct chunks {
    double sum;
    size_t n, n_done;
    float floor;
};

/* The score of the video if the chunk in hand has `part` and all after it the highest. Every step
 * of it, rounding included, grows with each of its terms: no score can come out above the one of
 * the largest terms. */
static float highest(const struct chunks *c, float part)
{
    double sum = c->sum + part;
    for (size_t i = c->n_done + 1; i < c->n; i++)
        sum += 1;
    return (float)(sum / (double)c->n);
}

static bool can_leave(const dns_visil_session *s, const struct chunks *c)
{
    /* A column whose rows were not all seen may hold a 1: only the mean over rows tells. */
    dns_direction direction = s->net->rule.direction;
    return c->floor > -1 &&
           (direction == DNS_DIRECTION_QUERY || direction == DNS_DIRECTION_SYMMETRIC);
}

/* Frames of a video that a row of the map stands for, where the score is taken from. */
static size_t pooled(const dns_visil *net)
{
    return dns_visil_has_comparator(net) ? DNS_COMPARATOR_POOLED : 1;
}

/* Rows first .. end-1 of the map that the score is made of; `end` is moved to where it can stop. */
static dns_status map_rows(dns_visil_session *s, struct chunk *c, size_t first, size_t *end)
{
    dns_status status = DNS_OK;
    size_t n_query = s->query_runs.n_frames, n = c->columns.n_frames;
    size_t columns = n / pooled(s->net);
    const float *map = s->map.data;
    if (dns_visil_has_comparator(s->net)) {
        DNS_TRY(compare_frames(s, c, dns_mapcnn_input(*end, n_query)));
        DNS_TRY(dns_mapcnn_run_rows(s->map.data, s->comparator, s->frames.data, n_query, n, first,
                                    *end, s->comparing.data));
    } else {
        DNS_TRY(compare_frames(s, c, *end));
        *end = c->n_seen;
        map = s->frames.data;
    }
    dns_hardtanh_forward(s->clipped.data + first * columns, map + first * columns,
                         (*end - first) * columns);
out:
    return status;
}

/* *score = that of one chunk, whose maps stay in the session; -INFINITY when, before all rows of
 * the comparator's output were made, no values of the rest could bring the video to the floor. */
static dns_status compare_chunk(dns_visil_session *s, float *score, const dns_visil_video *target,
                                size_t at, size_t n, const struct chunks *c)
{
    dns_status status = DNS_OK;
    size_t n_query = s->query_runs.n_frames, each = pooled(s->net);
    size_t rows = n_query / each, columns = n / each;
    bool leaves = can_leave(s, c);
    const dns_runs whole = dns_runs_of(target->runs, target->n_frames);
    struct chunk chunk = {.target = target};
    chunk.columns = dns_runs_part(&chunk.at, &whole, at, n);
    DNS_TRY(grow(&s->map, rows * columns));
    DNS_TRY(grow(&s->clipped, rows * columns));
    if (s->comparator != NULL)
        DNS_TRY(
            grow(&s->comparing, dns_mapcnn_scratch(s->comparator, n_query, n) / sizeof(float) + 1));
    s->n_query = n_query;
    s->n_target = n;
    const dns_score_map map = {.map = s->clipped.data, .rows = rows, .columns = columns};
    for (size_t i = 0; i < rows * columns; i++)
        s->clipped.data[i] = 1;
    for (size_t row = 0, end; row < rows; row = end) {
        end = leaves ? row + 1 : rows;
        DNS_TRY(map_rows(s, &chunk, row, &end));
        *score = dns_video_similarity_forward(&map, s->net->rule.direction);
        if (leaves && highest(c, *score) < c->floor) {
            *score = -INFINITY;
            break;
        }
    }
out:
    return status;
}

static size_t count_chunks(const dns_visil_session *s, size_t n_frames)
{
    return n_frames / s->chunk + (n_frames % s->chunk >= FEWEST_FRAMES);
}

dns_status dns_visil_compare_above(dns_visil_session *s, float *score, float floor,
                                   const dns_visil_video *target)
{
    dns_status status = DNS_OK;
    size_t n_frames = dns_runs_of(target->runs, target->n_frames).n_frames;
    struct chunks c = {.n = count_chunks(s, n_frames), .floor = floor};
    *score = 0;
    if (s->query.n_frames == 0)
        DNS_FAIL(DNS_ERR_ARG, "a comparison without a query");
    DNS_TRY(check_video(s->net, target, is_stored(s->net, target->dtype)));
    if (target->n_regions != s->query.n_regions)
        DNS_FAIL(DNS_ERR_SHAPE, "a query of %zu regions a frame and a target of %zu",
                 s->query.n_regions, target->n_regions);
    set_bits(s, target);
    for (; c.n_done < c.n; c.n_done++) {
        size_t at = c.n_done * s->chunk, left = n_frames - at;
        float part = 0;
        DNS_TRY(compare_chunk(s, &part, target, at, left < s->chunk ? left : s->chunk, &c));
        c.sum += part;
        if (isinf(part))
            break;
    }
    *score = (float)(c.sum / (double)c.n);
out:
    return status;
}

dns_status dns_visil_compare(dns_visil_session *s, float *score, const dns_visil_video *target)
{
    return dns_visil_compare_above(s, score, -INFINITY, target);
}

dns_visil_maps dns_visil_last_maps(const dns_visil_session *s)
{
    size_t each = pooled(s->net);
    return (dns_visil_maps){.frames = s->frames.data,
                            .n_query = s->n_query,
                            .n_target = s->n_target,
                            .comparator = each > 1 ? s->map.data : s->frames.data,
                            .n_rows = s->n_query / each,
                            .n_columns = s->n_target / each};
}
