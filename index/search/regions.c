/*
 * Two steps where there is a floor: first in bytes, four times as fast, with a bound of what bytes
 * can hide; in floats only what that bound lets pass.
 *
 *     q.t = q'.t' + (q - q').t + q'.(t - t') <= q'.t' + |q - q'| |t| + |q'| |t - t'|
 *
 * with q', t' what the bytes stand for. The largest of products, means of them and the score of the
 * video move by no more than their terms, so the same bound holds for the score.
 */
#include "regions.h"

#include <math.h>

#include "dnsel/cpu.h"
#include "dnsel/f2f.h"
#include "dnsel/kernels.h"
#include "dnsel/memory.h"
#include "dnsel/runs.h"
#include "dnsel/video_similarity.h"

struct dns_region_query {
    dns_kernels kernels;
    dns_similarity_rule rule;
    dns_runs runs;
    size_t n_frames, n_regions, dim; /* frames as stored */
    dns_f2f_query *floats;
    dns_f2f_query *bytes;   /* NULL where bytes are no faster */
    double length, rounded; /* largest mean over a frame's regions: of |q|, |q - q'| */
};

void dns_region_scratch_free(struct dns_region_scratch *s)
{
    dns_free(s->stored);
    dns_free(s->map);
    dns_free(s->floats);
    dns_free(s->scales);
    dns_free(s->bytes);
    dns_free(s->kernels);
    *s = (struct dns_region_scratch){0};
}

void dns_region_query_free(dns_region_query *q)
{
    if (q == NULL)
        return;
    dns_f2f_query_free(q->floats);
    dns_f2f_query_free(q->bytes);
    dns_free(q);
}

static dns_status measure_rounding(dns_region_query *q, const float *x)
{
    dns_status status = DNS_OK;
    int8_t *codes = NULL;
    DNS_TRY(dns_alloc(&codes, q->dim, 1));
    for (size_t i = 0; i < q->n_frames; i++) {
        double length = 0, rounded = 0;
        for (size_t o = 0; o < q->n_regions; o++, x += q->dim) {
            double square = 0, lost = 0;
            float scale = q->kernels.row_to_i8(codes, x, q->dim);
            for (size_t k = 0; k < q->dim; k++) {
                double of = (double)x[k] - (double)scale * codes[k];
                square += (double)x[k] * (double)x[k];
                lost += of * of;
            }
            length += sqrt(square) / (double)q->n_regions;
            rounded += sqrt(lost) / (double)q->n_regions;
        }
        q->length = fmax(q->length, length);
        q->rounded = fmax(q->rounded, rounded);
    }
out:
    dns_free(codes);
    return status;
}

dns_status dns_region_query_create(dns_region_query **out, dns_similarity_rule rule,
                                   const dns_record *query)
{
    dns_status status = DNS_OK;
    dns_region_query *q = NULL;
    dns_f2f_step step = dns_f2f_step_of(rule.regions);
    float *x = NULL;
    dns_record stored = *query;
    stored.runs = NULL;
    *out = NULL;
    DNS_TRY(dns_alloc(&q, 1, sizeof *q));
    q->runs = dns_runs_of(query->runs, query->shape[0]);
    dns_kernels_get(&q->kernels, dns_cpu_flags());
    q->rule = rule;
    q->n_frames = query->shape[0];
    q->n_regions = query->shape[1];
    q->dim = query->shape[2];
    DNS_TRY(dns_alloc(&x, q->n_frames * q->n_regions, q->dim * sizeof *x));
    DNS_TRY(dns_record_to_f32(x, &stored));
    DNS_TRY(
        dns_f2f_query_create(&q->floats, DNS_F2F_F32, step, x, q->n_frames, q->n_regions, q->dim));
    if ((q->kernels.cpu & DNS_CPU_VNNI) && step != DNS_F2F_SYMMETRIC && q->dim % 4 == 0 &&
        q->dim <= DNS_I8_DIM) {
        DNS_TRY(dns_f2f_query_create(&q->bytes, DNS_F2F_I8, step, x, q->n_frames, q->n_regions,
                                     q->dim));
        DNS_TRY(measure_rounding(q, x));
    }
    *out = q;
    q = NULL;
out:
    dns_free(x);
    dns_region_query_free(q);
    return status;
}

/* ---- in bytes ---- */

/* What a target is in bytes, and how far that is off: the largest of |t| and |t - t'|. */
struct rounded {
    const int8_t *codes;
    const float *scales;
    double length, lost;
};

static dns_status round_target(struct rounded *out, const dns_region_query *q,
                               struct dns_region_scratch *s, const dns_record *target)
{
    dns_status status = DNS_OK;
    size_t n_rows = target->shape[0] * target->shape[1];
    const float *x = target->data;
    *out = (struct rounded){.codes = target->data, .scales = target->scales};
    if (target->dtype != DNS_I8) {
        DNS_TRY(dns_reserve(&s->scales, &s->scales_capacity, n_rows, sizeof *s->scales));
        DNS_TRY(dns_reserve(&s->bytes, &s->bytes_capacity, n_rows * q->dim, 1));
        DNS_TRY(dns_reserve(&s->floats, &s->floats_capacity, q->dim, sizeof *s->floats));
        for (size_t r = 0; r < n_rows; r++) {
            const float *row = x + r * q->dim;
            if (target->dtype == DNS_F16) {
                q->kernels.widen_f16(s->floats, (const uint16_t *)target->data + r * q->dim,
                                     q->dim);
                row = s->floats;
            }
            s->scales[r] = q->kernels.row_to_i8(s->bytes + r * q->dim, row, q->dim);
            out->lost = fmax(out->lost, (double)s->scales[r]);
        }
        out->codes = s->bytes;
        out->scales = s->scales;
        out->lost *= 0.501 * sqrt((double)q->dim); /* half a level in every dimension */
    }
    for (size_t r = 0; r < n_rows; r++) {
        int32_t square;
        const int8_t *row = out->codes + r * q->dim;
        q->kernels.rows_i8(&square, row, row, 1, q->dim);
        out->length = fmax(out->length, (double)out->scales[r] * sqrt((double)square));
    }
    out->length += out->lost;
out:
    return status;
}

static dns_tensor tensor_of(const dns_record *record, dns_dtype dtype, const void *data)
{
    return (dns_tensor){.dtype = dtype,
                        .rank = 3,
                        .shape = {record->shape[0], record->shape[1], record->shape[2]},
                        .data = data};
}

/* The score of the similarities in s->stored. */
static dns_status finish(float *score, const dns_region_query *q, struct dns_region_scratch *s,
                         const dns_runs *columns)
{
    dns_status status = DNS_OK;
    dns_score_map map = {.map = s->stored, .rows = q->runs.n_frames, .columns = columns->n_frames};
    if (q->runs.lengths != NULL || columns->lengths != NULL) {
        DNS_TRY(dns_reserve(&s->map, &s->map_capacity, map.rows * map.columns, sizeof *s->map));
        dns_runs_expand(s->map, s->stored, &q->runs, columns);
        map.map = s->map;
    }
    *score = dns_video_similarity_forward(&map, q->rule.direction);
out:
    return status;
}

/* Whether the score in floats is certainly below the floor. */
static dns_status rule_out(bool *below, const dns_region_query *q, struct dns_region_scratch *s,
                           float floor, const dns_record *target, const dns_runs *columns)
{
    dns_status status = DNS_OK;
    struct rounded t;
    float score;
    DNS_TRY(round_target(&t, q, s, target));
    const dns_tensor codes = tensor_of(target, DNS_I8, t.codes);
    DNS_TRY(dns_f2f_run(s->stored, q->bytes, &codes, t.scales, s->kernels));
    DNS_TRY(finish(&score, q, s, columns));
    double hidden = q->rounded * t.length + (q->length + q->rounded) * t.lost;
    /* Sums of n floats are off by less than n units of rounding of the sum of their magnitudes;
     * there are two of them, and the means. */
    double n = (double)(q->n_regions * q->dim + q->runs.n_frames + columns->n_frames + 64);
    hidden += 2 * n * 0x1p-24 * (q->length + q->rounded) * t.length;
    *below = (double)score + hidden < (double)floor;
out:
    return status;
}

/* ---- in floats ---- */

/* Shared by both forms of the query: the larger of what they need. */
static size_t kernel_bytes(const dns_region_query *q)
{
    size_t floats = q->floats != NULL ? dns_f2f_scratch(q->floats) : 0;
    size_t bytes = q->bytes != NULL ? dns_f2f_scratch(q->bytes) : 0;
    return floats > bytes ? floats : bytes;
}

/* Bytes are made of a target's floats in the time of comparing those with some 16 regions. */
static bool bytes_pay(const dns_region_query *q, const dns_record *target)
{
    size_t n = q->rule.regions == DNS_REGIONS_SAME ? q->n_frames : q->n_frames * q->n_regions;
    return q->bytes != NULL && (target->dtype == DNS_I8 || n > 16);
}

dns_status dns_region_compare(const dns_region_query *q, struct dns_region_scratch *s, float *score,
                              float floor, const dns_record *target)
{
    dns_status status = DNS_OK;
    const dns_runs columns = dns_runs_of(target->runs, target->shape[0]);
    bool below = false;
    *score = -INFINITY;
    DNS_TRY(dns_reserve(&s->stored, &s->stored_capacity, q->n_frames * target->shape[0],
                        sizeof *s->stored));
    DNS_TRY(dns_reserve(&s->kernels, &s->kernels_capacity, kernel_bytes(q), 1));
    const dns_tensor tensor = tensor_of(target, target->dtype, target->data);
    if (bytes_pay(q, target) && floor > -1 && target->shape[2] == q->dim &&
        target->shape[1] == q->n_regions)
        DNS_TRY(rule_out(&below, q, s, floor, target, &columns));
    if (below)
        goto out;
    DNS_TRY(dns_f2f_run(s->stored, q->floats, &tensor, target->scales, s->kernels));
    DNS_TRY(finish(score, q, s, &columns));
out:
    return status;
}
