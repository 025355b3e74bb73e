#include <math.h>
#include <string.h>

#include "dnsel/attention.h"
#include "dnsel/binarise.h"
#include "dnsel/f2f.h"
#include "dnsel/frame_similarity.h"
#include "dnsel/mapcnn.h"
#include "dnsel/memory.h"
#include "dnsel/normalise.h"
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
    dns_f2f_query *packed[2];              /* the query by form, made when a target asks for it */
    struct buffer x, hidden, gate;         /* indexing */
    struct buffer query_rows, target_rows; /* as f32, [n_frames * n_regions, dim] */
    struct buffer frames, map, clipped;    /* of the last comparison */
    size_t n_query, n_target;
    struct buffer scratch; /* of the kernels */
    dns_frame_scratch frame_scratch;
};

static dns_status grow(struct buffer *buffer, size_t n)
{
    return dns_reserve(&buffer->data, &buffer->capacity, n, sizeof(float));
}

static dns_status pack_comparator(dns_visil_session *s)
{
    const dns_comparator head = dns_visil_comparator(s->net);
    dns_mapcnn_weights weights = {.replicate = head.padding == DNS_PADDING_EDGE};
    memcpy(weights.channels, head.channels, sizeof weights.channels);
    memcpy(weights.weight, head.weight, sizeof weights.weight);
    memcpy(weights.bias, head.bias, sizeof weights.bias);
    return dns_mapcnn_create(&s->comparator, DNS_MAPCNN_F32, &weights);
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
    DNS_TRY(pack_comparator(s));
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
        s->packed[i] = NULL;
    }
    s->query = (dns_visil_video){0};
}

void dns_visil_session_free(dns_visil_session *s)
{
    if (s == NULL)
        return;
    struct buffer *buffers[] = {&s->x,          &s->hidden,      &s->gate,
                                &s->query_rows, &s->target_rows, &s->frames,
                                &s->map,        &s->clipped,     &s->scratch};
    for (size_t i = 0; i < sizeof buffers / sizeof *buffers; i++)
        dns_free(buffers[i]->data);
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

/* Entries of a stored region: dimensions, or bytes of its code. */
static size_t row_entries(const dns_visil *net)
{
    return net->shape.codes ? dns_code_bytes(net->shape.code_bits) : net->shape.dim;
}

static bool dtype_fits(const dns_visil *net, dns_dtype dtype)
{
    return net->shape.codes ? dtype == DNS_U8
                            : dtype == DNS_F32 || dtype == DNS_F16 || dtype == DNS_I8;
}

size_t dns_visil_bytes(const dns_visil *net, size_t n_frames, size_t n_regions, dns_dtype dtype)
{
    return dns_visil_extended(n_frames) * n_regions * row_entries(net) * dns_dtype_size(dtype);
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

/* Codes of the n rows in s->x. */
static dns_status store_codes(dns_visil_session *s, uint8_t *data, size_t n)
{
    const dns_visil *net = s->net;
    size_t dim = net->shape.dim, bits = net->shape.code_bits;
    dns_status status = DNS_OK;
    DNS_TRY(grow(&s->hidden, n * bits));
    dns_normalise_forward(s->x.data, NULL, s->x.data, n, dim);
    DNS_TRY(dns_binarise_project(s->hidden.data, s->x.data,
                                 dns_parameters_weight(net->parameters, net->code_weight), n, dim,
                                 bits, NULL));
    dns_binarise_pack(data, s->hidden.data, n, bits);
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
    if (!dtype_fits(s->net, dtype))
        DNS_FAIL(DNS_ERR_ARG, "this network does not store %s", dns_dtype_name(dtype));
    DNS_TRY(grow(&s->x, n * dim));
    for (size_t i = 0; i < n * dim; i++) {
        if (!isfinite(x[i]))
            DNS_FAIL(DNS_ERR_RANGE, "frame %zu: a feature is not finite", i / (n_regions * dim));
    }
    memcpy(s->x.data, x, n * dim * sizeof *x);
    DNS_TRY(weigh(s, n));
    if (dtype == DNS_U8)
        DNS_TRY(store_codes(s, data, n));
    else if (dtype == DNS_I8)
        store_i8(data, scales, s->x.data, n, dim);
    else if (dtype == DNS_F16)
        store_f16(data, s->x.data, n * dim);
    else
        memcpy(data, s->x.data, n * dim * sizeof *x);
    /* Every region is stored by itself, so appending the video is appending what was stored. */
    size_t size = n * row_entries(s->net) * dns_dtype_size(dtype);
    for (; size < whole; size *= 2, n *= 2) {
        memcpy((char *)data + size, data, size);
        if (dtype == DNS_I8)
            memcpy(scales + n, scales, n * sizeof *scales);
    }
out:
    return status;
}

/* ---- comparing ---- */

/* Width of a region as f32: codes become -1 and +1. */
static size_t row_width(const dns_visil *net)
{
    return net->shape.codes ? net->shape.code_bits : net->shape.dim;
}

/* *rows = regions of frames [first, first + n) as f32, converted into `buffer` unless they are. */
static dns_status as_f32(const float **rows, struct buffer *buffer, const dns_visil_session *s,
                         const dns_visil_video *video, size_t first, size_t n)
{
    dns_status status = DNS_OK;
    size_t width = row_width(s->net), at = first * video->n_regions, count = n * video->n_regions;
    if (video->dtype == DNS_F32) {
        *rows = (const float *)video->data + at * width;
        return DNS_OK;
    }
    DNS_TRY(grow(buffer, count * width));
    *rows = buffer->data;
    if (video->dtype == DNS_U8) {
        dns_binarise_unpack(buffer->data, (const uint8_t *)video->data + at * row_entries(s->net),
                            count, width);
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

static dns_status check_video(const dns_visil_session *s, const dns_visil_video *video)
{
    if (!dtype_fits(s->net, video->dtype))
        return dns_status_set(DNS_ERR_ARG, "this network does not store %s",
                              dns_dtype_name(video->dtype));
    if (video->n_frames < FEWEST_FRAMES)
        return dns_status_set(DNS_ERR_SHAPE, "a video of %zu frames, at least 4 are needed",
                              video->n_frames);
    return DNS_OK;
}

dns_status dns_visil_set_query(dns_visil_session *s, const dns_visil_video *query)
{
    dns_status status = check_video(s, query);
    drop_query(s);
    if (status == DNS_OK)
        s->query = *query;
    return status;
}

/* Whether the kernels have this comparison: not the symmetric step, nor codes of other sizes than
 * whole words. */
static bool is_packed(const dns_visil *net)
{
    return net->rule.regions != DNS_REGIONS_SYMMETRIC &&
           (!net->shape.codes || net->shape.code_bits % 64 == 0);
}

/* *out = the packed query for targets of a type; bytes are multiplied when both sides were stored
 * as bytes. */
static dns_status packed_query(const dns_f2f_query **out, dns_visil_session *s, dns_dtype target)
{
    dns_status status = DNS_OK;
    const dns_visil_video *q = &s->query;
    dns_f2f_form form = q->dtype == DNS_I8 && target == DNS_I8 ? DNS_F2F_I8 : DNS_F2F_F32;
    dns_f2f_step step = s->net->rule.regions == DNS_REGIONS_SAME ? DNS_F2F_SAME : DNS_F2F_MAX;
    dns_f2f_query **packed = &s->packed[form == DNS_F2F_I8];
    const float *rows;
    if (*packed == NULL && s->net->shape.codes) {
        DNS_TRY(dns_f2f_query_create_bits(packed, step, q->data, q->n_frames, q->n_regions,
                                          s->net->shape.code_bits));
    } else if (*packed == NULL) {
        DNS_TRY(as_f32(&rows, &s->query_rows, s, q, 0, q->n_frames));
        DNS_TRY(dns_f2f_query_create(packed, form, step, rows, q->n_frames, q->n_regions,
                                     row_width(s->net)));
    }
    *out = *packed;
out:
    return status;
}

static dns_status compare_frames_packed(dns_visil_session *s, const dns_visil_video *target,
                                        size_t first, size_t n)
{
    dns_status status = DNS_OK;
    const dns_f2f_query *query;
    size_t regions = target->n_regions, entries = row_entries(s->net);
    DNS_TRY(packed_query(&query, s, target->dtype));
    DNS_TRY(grow(&s->scratch, dns_f2f_scratch(query) / sizeof(float) + 1));
    const dns_tensor part = {.dtype = target->dtype,
                             .rank = 3,
                             .shape = {n, regions, entries},
                             .data = (const char *)target->data +
                                     first * regions * entries * dns_dtype_size(target->dtype)};
    DNS_TRY(dns_f2f_run(s->frames.data, query, &part,
                        target->dtype == DNS_I8 ? target->scales + first * regions : NULL,
                        s->scratch.data));
out:
    return status;
}

static dns_status compare_frames_plainly(dns_visil_session *s, const dns_visil_video *target,
                                         size_t first, size_t n)
{
    const dns_visil *net = s->net;
    dns_status status = DNS_OK;
    size_t n_query = s->query.n_frames;
    dns_frame_pair pair = {
        .n_query = n_query, .n_target = n, .n_regions = target->n_regions, .dim = row_width(net)};
    DNS_TRY(as_f32(&pair.x, &s->query_rows, s, &s->query, 0, n_query));
    DNS_TRY(as_f32(&pair.y, &s->target_rows, s, target, first, n));
    DNS_TRY(dns_frame_similarity_forward(s->frames.data, NULL, &pair, net->rule.regions,
                                         &s->frame_scratch));
    for (size_t i = 0; net->shape.codes && i < n_query * n; i++)
        s->frames.data[i] /= (float)net->shape.code_bits;
out:
    return status;
}

/* The score of one chunk; its maps stay in the session. */
static dns_status compare_chunk(dns_visil_session *s, float *score, const dns_visil_video *target,
                                size_t first, size_t n)
{
    dns_status status = DNS_OK;
    size_t n_query = s->query.n_frames, rows = n_query / 4, columns = n / 4;
    DNS_TRY(grow(&s->frames, n_query * n));
    DNS_TRY(grow(&s->map, rows * columns));
    DNS_TRY(grow(&s->clipped, rows * columns));
    DNS_TRY(
        (is_packed(s->net) ? compare_frames_packed : compare_frames_plainly)(s, target, first, n));
    s->n_query = n_query;
    s->n_target = n;
    DNS_TRY(grow(&s->scratch, dns_mapcnn_scratch(s->comparator, n_query, n) / sizeof(float) + 1));
    DNS_TRY(
        dns_mapcnn_run(s->map.data, s->comparator, s->frames.data, n_query, n, s->scratch.data));
    dns_hardtanh_forward(s->clipped.data, s->map.data, rows * columns);
    dns_score_map map = {.map = s->clipped.data, .rows = rows, .columns = columns};
    *score = dns_video_similarity_forward(&map, s->net->rule.direction);
out:
    return status;
}

dns_status dns_visil_compare(dns_visil_session *s, float *score, const dns_visil_video *target)
{
    dns_status status = DNS_OK;
    double sum = 0;
    size_t n_chunks = 0;
    *score = 0;
    if (s->query.n_frames == 0)
        DNS_FAIL(DNS_ERR_ARG, "a comparison without a query");
    DNS_TRY(check_video(s, target));
    if (target->n_regions != s->query.n_regions)
        DNS_FAIL(DNS_ERR_SHAPE, "a query of %zu regions a frame and a target of %zu",
                 s->query.n_regions, target->n_regions);
    for (size_t first = 0; first < target->n_frames; first += s->chunk) {
        size_t left = target->n_frames - first, n = left < s->chunk ? left : s->chunk;
        float part;
        if (n < FEWEST_FRAMES)
            break;
        DNS_TRY(compare_chunk(s, &part, target, first, n));
        sum += part;
        n_chunks++;
    }
    *score = (float)(sum / (double)n_chunks);
out:
    return status;
}

dns_visil_maps dns_visil_last_maps(const dns_visil_session *s)
{
    return (dns_visil_maps){s->frames.data, s->n_query, s->n_target, s->map.data};
}
