/* What a search does with a pair of videos, and an index with one: whole steps of
 * docs/networks/teacher.md on random features. */
#include <math.h>
#include <string.h>

#include "dnsel/f2f.h"
#include "dnsel/gemm.h"
#include "dnsel/linalg.h"
#include "dnsel/mapcnn.h"
#include "dnsel/memory.h"
#include "dnsel/video_similarity.h"
#include "speed_run.h"

enum { N_QUERY = 30, N_TARGET = 60, N_REGIONS = 9, DIM = 512, TEACHER_DIM = 3840, N_LAYERS = 4 };

static const double products = (double)N_QUERY * N_REGIONS * N_TARGET * N_REGIONS;

/* What pooling drops is not needed. */
double speed_comparator_work(size_t h, size_t w, size_t layer)
{
    double of_first = 9.0 * 32 * (double)(h / 2 * 2 * (w / 2 * 2));
    double of_second = 9.0 * 32 * 64 * (double)(h / 4 * 2 * (w / 4 * 2));
    double of_third = 9.0 * 64 * 128 * (double)(h / 4 * (w / 4));
    return 2.0 * (layer == 0 ? of_first : of_second + of_third);
}

/* One way to compare: a packed query, a stored target, a comparator. */
typedef struct pair {
    dns_f2f_query *query;
    dns_tensor target;
    const float *scales;
    const dns_mapcnn *net; /* NULL: similarities of frames alone */
    const struct pair *reference;
    struct bench *bench;
    float score, similarity[N_QUERY * N_TARGET];
} pair;

typedef struct bench {
    float *query, *target; /* [N_QUERY or N_TARGET, N_REGIONS, TEACHER_DIM or DIM] unit vectors */
    int8_t *bytes;         /* the target's levels, and */
    float *scales;         /* its scales */
    uint8_t *codes;        /* the target's signs */
    uint8_t *query_codes;
    float *weights[N_LAYERS], *bias[N_LAYERS];
    dns_mapcnn *net, *net_i8;
    float *products; /* [N_QUERY * N_REGIONS, N_TARGET * N_REGIONS] */
    float *map;      /* of the comparator */
    void *scratch;
    size_t n_scratch;
} bench;

static dns_status reserve_scratch(bench *b, size_t n)
{
    return dns_reserve(&b->scratch, &b->n_scratch, n, 1);
}

static dns_status compare(void *data)
{
    pair *p = data;
    bench *b = p->bench;
    size_t h = dns_mapcnn_output(N_QUERY), w = dns_mapcnn_output(N_TARGET);
    dns_status status = dns_f2f_run(p->similarity, p->query, &p->target, p->scales, b->scratch);
    if (status != DNS_OK || p->net == NULL)
        return status;
    status = dns_mapcnn_run(b->map, p->net, p->similarity, N_QUERY, N_TARGET, b->scratch);
    dns_hardtanh_forward(b->map, b->map, h * w);
    const dns_score_map map = {.map = b->map, .rows = h, .columns = w};
    p->score = dns_video_similarity_forward(&map, DNS_DIRECTION_QUERY);
    return status;
}

static double difference(void *data)
{
    const pair *p = data;
    double largest = 0.0;
    if (p->net != NULL)
        return fabs((double)p->score - (double)p->reference->score);
    for (size_t i = 0; i < N_QUERY * N_TARGET; i++)
        largest =
            fmax(largest, fabs((double)p->similarity[i] - (double)p->reference->similarity[i]));
    return largest;
}

/* The same by a library alone: all products by one GEMM, then the maximum and the mean. */
static dns_status compare_by_gemm(void *data)
{
    pair *p = data;
    const float *rows = p->bench->products;
    enum { WIDTH = N_TARGET * N_REGIONS };
    dns_status status =
        dns_gemm_dense_f32(false, true, N_QUERY * N_REGIONS, WIDTH, DIM, p->bench->query,
                           p->target.data, 0.0f, p->bench->products);
    for (size_t i = 0; i < N_QUERY; i++)
        for (size_t j = 0; j < N_TARGET; j++) {
            float mean = 0.0f;
            for (size_t o = 0; o < N_REGIONS; o++) {
                const float *of_frame = rows + (i * N_REGIONS + o) * WIDTH + j * N_REGIONS;
                float largest = of_frame[0];
                for (size_t r = 1; r < N_REGIONS; r++)
                    largest = of_frame[r] > largest ? of_frame[r] : largest;
                mean += largest;
            }
            p->similarity[i * N_TARGET + j] = mean / N_REGIONS;
        }
    return status;
}

static dns_status comparator_alone(void *data)
{
    pair *p = data;
    return dns_mapcnn_run(p->bench->map, p->net, p->reference->similarity, N_QUERY, N_TARGET,
                          p->bench->scratch);
}

/* The selector's map and comparator for one video (its attention is gemm_attention). */
static dns_status selector(void *data)
{
    pair *p = data;
    bench *b = p->bench;
    float *means = b->products, *map = means + N_TARGET * DIM;
    dns_region_mean(means, p->target.data, N_TARGET, N_REGIONS, DIM);
    dns_status status =
        dns_gemm_dense_f32(false, true, N_TARGET, N_TARGET, DIM, means, means, 0.0f, map);
    if (status != DNS_OK)
        return status;
    const dns_mapcnn *net = p->net != NULL ? p->net : b->net;
    return dns_mapcnn_run(b->map, net, map, N_TARGET, N_TARGET, b->scratch);
}

static void to_bytes(int8_t *levels, float *scales, const float *x, size_t n_rows, size_t dim)
{
    for (size_t r = 0; r < n_rows; r++, x += dim, levels += dim) {
        float largest = 0.0f;
        for (size_t k = 0; k < dim; k++)
            largest = fmaxf(largest, fabsf(x[k]));
        scales[r] = largest / 127.0f;
        for (size_t k = 0; k < dim; k++)
            levels[k] = (int8_t)rintf(x[k] / scales[r]);
    }
}

static void to_codes(uint8_t *codes, const float *x, size_t n)
{
    memset(codes, 0, n / 8);
    for (size_t i = 0; i < n; i++)
        codes[i / 8] |= (uint8_t)((x[i] > 0.0f) << i % 8);
}

static dns_status make_comparators(bench *b)
{
    static const size_t n_in[N_LAYERS] = {1, 32, 64, 128}, n_out[N_LAYERS] = {32, 64, 128, 1};
    dns_status status = DNS_OK;
    dns_mapcnn_weights weights = {.channels = {32, 64, 128}};
    for (size_t i = 0; i < N_LAYERS; i++) {
        size_t taps = i < 3 ? 9 : 1;
        DNS_TRY(speed_floats(&b->weights[i], n_in[i] * n_out[i] * taps, /* Xavier */
                             sqrt(6.0 / (double)((n_in[i] + n_out[i]) * taps))));
        DNS_TRY(dns_alloc(&b->bias[i], n_out[i], sizeof(float)));
        weights.weight[i] = b->weights[i];
        weights.bias[i] = b->bias[i];
    }
    DNS_TRY(dns_mapcnn_create(&b->net, DNS_MAPCNN_F32, &weights));
    DNS_TRY(dns_mapcnn_create(&b->net_i8, DNS_MAPCNN_I8, &weights));
    DNS_TRY(reserve_scratch(b, dns_mapcnn_scratch(b->net_i8, N_TARGET, N_TARGET)));
out:
    return status;
}

/* Random unit vectors, half of every target frame a query frame, so that similarities are as large
 * as between copies. */
static dns_status make_videos(bench *b, size_t dim)
{
    dns_status status = DNS_OK;
    size_t n_query = N_QUERY * N_REGIONS, n_target = N_TARGET * N_REGIONS;
    DNS_TRY(speed_floats(&b->query, n_query * dim, 1.0));
    DNS_TRY(speed_floats(&b->target, n_target * dim, 1.0));
    for (size_t i = 0; i < n_target * dim; i++)
        b->target[i] += b->query[i % (n_query * dim)];
    dns_normalise_rows(b->query, n_query, dim);
    dns_normalise_rows(b->target, n_target, dim);
    DNS_TRY(dns_alloc(&b->bytes, n_target * dim, 1));
    DNS_TRY(dns_alloc(&b->scales, n_target, sizeof(float)));
    DNS_TRY(dns_alloc(&b->codes, n_target * dim / 8, 1));
    DNS_TRY(dns_alloc(&b->query_codes, n_query * dim / 8, 1));
    to_bytes(b->bytes, b->scales, b->target, n_target, dim);
    to_codes(b->codes, b->target, n_target * dim);
    to_codes(b->query_codes, b->query, n_query * dim);
    DNS_TRY(dns_alloc(&b->products, n_query * n_target, sizeof(float)));
    DNS_TRY(dns_alloc(&b->map, N_TARGET * N_TARGET, sizeof(float)));
out:
    return status;
}

static void bench_free(bench *b)
{
    for (size_t i = 0; i < N_LAYERS; i++) {
        dns_free(b->weights[i]);
        dns_free(b->bias[i]);
    }
    void *blocks[] = {b->query,       b->target,   b->bytes, b->scales, b->codes,
                      b->query_codes, b->products, b->map,   b->scratch};
    for (size_t i = 0; i < sizeof blocks / sizeof *blocks; i++)
        dns_free(blocks[i]);
    dns_mapcnn_free(b->net);
    dns_mapcnn_free(b->net_i8);
}

static dns_tensor stored(dns_dtype dtype, const void *data, size_t width)
{
    return (dns_tensor){
        .dtype = dtype, .rank = 3, .shape = {N_TARGET, N_REGIONS, width}, .data = data};
}

/* The ways to compare frames, in the order of `pair ways[]`. */
enum { FLOATS, BYTES, CODES, ASYMMETRIC, SAME, SAME_BYTES, SYMMETRIC, N_WAYS };

static dns_status make_ways(pair *ways, bench *b, size_t dim)
{
    dns_status status = DNS_OK;
    for (size_t i = 0; i < N_WAYS; i++) {
        bool in_codes = i == CODES || i == ASYMMETRIC, same = i == SAME || i == SAME_BYTES;
        bool in_bytes = i == BYTES || i == SAME_BYTES;
        ways[i].bench = b;
        ways[i].reference = &ways[i == SAME_BYTES ? SAME : FLOATS];
        ways[i].target = stored(DNS_F32, b->target, dim);
        if (in_bytes)
            ways[i].target = stored(DNS_I8, b->bytes, dim), ways[i].scales = b->scales;
        if (in_codes)
            ways[i].target = stored(DNS_U8, b->codes, dim / 8);
        if (i == CODES)
            DNS_TRY(dns_f2f_query_create_bits(&ways[i].query, DNS_F2F_MAX, b->query_codes, N_QUERY,
                                              N_REGIONS, dim));
        else
            DNS_TRY(dns_f2f_query_create(&ways[i].query,
                                         in_bytes || i == ASYMMETRIC ? DNS_F2F_I8 : DNS_F2F_F32,
                                         same             ? DNS_F2F_SAME
                                         : i == SYMMETRIC ? DNS_F2F_SYMMETRIC
                                                          : DNS_F2F_MAX,
                                         b->query, N_QUERY, N_REGIONS, dim));
        DNS_TRY(reserve_scratch(b, dns_f2f_scratch(ways[i].query)));
    }
out:
    return status;
}

static dns_status measure_all(dns_speed *speed, const speed_case *cases, size_t n)
{
    dns_status status = DNS_OK;
    for (size_t i = 0; i < n && status == DNS_OK; i++)
        status = speed_measure(speed, &cases[i]);
    return status;
}

/* Multiply-adds and words of one pair of videos. */
struct pair_work {
    double f2f, words, first, rest;
};

static const char pair_frames[] = "30 x 60 frames";

static dns_status speed_frames(dns_speed *speed, pair *ways, const struct pair_work *w)
{
    const double own = 2.0 * N_TARGET * N_TARGET;
    const speed_case alone[] = {
        {.name = "f2f_f32",
         .what = pair_frames,
         .work.f32 = w->f2f,
         .run = compare,
         .data = &ways[FLOATS]},
        {.name = "f2f_by_gemm",
         .what = pair_frames,
         .work.f32 = w->f2f,
         .run = compare_by_gemm,
         .data = &ways[FLOATS]},
        {.name = "f2f_i8",
         .what = pair_frames,
         .work.i8 = w->f2f,
         .run = compare,
         .loss = difference,
         .data = &ways[BYTES]},
        {.name = "f2f_codes",
         .what = pair_frames,
         .work.words = w->words,
         .run = compare,
         .data = &ways[CODES]},
        {.name = "f2f_asymmetric",
         .what = pair_frames,
         .work.i8 = w->f2f,
         .run = compare,
         .data = &ways[ASYMMETRIC]},
        {.name = "f2f_same",
         .what = pair_frames,
         .work.f32 = w->f2f / N_REGIONS,
         .run = compare,
         .data = &ways[SAME]},
        {.name = "f2f_symmetric",
         .what = pair_frames,
         .work.f32 = w->f2f,
         .run = compare,
         .data = &ways[SYMMETRIC]},
        {.name = "f2f_same_i8",
         .what = pair_frames,
         .work.i8 = w->f2f / N_REGIONS,
         .run = compare,
         .loss = difference,
         .data = &ways[SAME_BYTES]},
        {.name = "selector_map",
         .what = "60 frames",
         .work.f32 =
             own * DIM + speed_comparator_work(60, 60, 0) + speed_comparator_work(60, 60, 1),
         .run = selector,
         .data = &ways[FLOATS]},
    };
    return measure_all(speed, alone, sizeof alone / sizeof *alone);
}

static dns_status speed_comparators(dns_speed *speed, bench *b, pair *ways,
                                    const struct pair_work *w)
{
    static const char maps[] = "30 x 60";
    pair floats = {.net = b->net, .bench = b, .reference = &ways[FLOATS]};
    pair bytes = {.net = b->net_i8, .bench = b, .reference = &ways[FLOATS]};
    pair map = {
        .net = b->net_i8, .bench = b, .target = ways[FLOATS].target, .reference = &ways[FLOATS]};
    const double own = 2.0 * N_TARGET * N_TARGET * DIM + speed_comparator_work(60, 60, 0);
    const speed_case nets[] = {
        {.name = "comparator_f32",
         .what = maps,
         .work.f32 = w->first + w->rest,
         .run = comparator_alone,
         .data = &floats},
        {.name = "comparator_i8",
         .what = maps,
         .work = {.f32 = w->first, .i8 = w->rest},
         .run = comparator_alone,
         .data = &bytes},
        {.name = "selector_map_i8",
         .what = "60 frames, comparator in bytes",
         .work = {.f32 = own, .i8 = speed_comparator_work(60, 60, 1)},
         .run = selector,
         .data = &map},
    };
    return measure_all(speed, nets, sizeof nets / sizeof *nets);
}

static dns_status speed_whole_pairs(dns_speed *speed, bench *b, pair *ways,
                                    const struct pair_work *w)
{
    dns_status status = DNS_OK;
    pair with_floats =
        ways[CODES]; /* its comparator in floats: what that in bytes is compared with */
    with_floats.net = ways[FLOATS].net = b->net;
    ways[BYTES].net = ways[CODES].net = b->net_i8;
    ways[CODES].reference = &with_floats;
    DNS_TRY(compare(&ways[FLOATS]));
    DNS_TRY(compare(&with_floats));
    const speed_case pairs[] = {
        {.name = "pair_attention_f32",
         .what = pair_frames,
         .work.f32 = w->f2f + w->first + w->rest,
         .run = compare,
         .data = &ways[FLOATS]},
        {.name = "pair_attention_i8",
         .what = pair_frames,
         .work = {.f32 = w->first, .i8 = w->f2f + w->rest},
         .run = compare,
         .loss = difference,
         .data = &ways[BYTES]},
        {.name = "pair_binary_f32",
         .what = pair_frames,
         .work = {.f32 = w->first + w->rest, .words = w->words},
         .run = compare,
         .data = &with_floats},
        {.name = "pair_binary_i8",
         .what = pair_frames,
         .work = {.f32 = w->first, .i8 = w->rest, .words = w->words},
         .run = compare,
         .loss = difference,
         .data = &ways[CODES]},
    };
    DNS_TRY(measure_all(speed, pairs, sizeof pairs / sizeof *pairs));
out:
    return status;
}

dns_status speed_students(dns_speed *speed)
{
    const struct pair_work work = {.f2f = 2.0 * products * DIM,
                                   .words = products * DIM / 64,
                                   .first = speed_comparator_work(N_QUERY, N_TARGET, 0),
                                   .rest = speed_comparator_work(N_QUERY, N_TARGET, 1)};
    dns_status status = DNS_OK;
    bench b = {0};
    pair ways[N_WAYS] = {{0}};
    DNS_TRY(make_videos(&b, DIM));
    DNS_TRY(make_comparators(&b));
    DNS_TRY(make_ways(ways, &b, DIM));
    DNS_TRY(compare(&ways[FLOATS])); /* the references of the others */
    DNS_TRY(compare(&ways[SAME]));
    DNS_TRY(speed_frames(speed, ways, &work));
    DNS_TRY(speed_comparators(speed, &b, ways, &work));
    DNS_TRY(speed_whole_pairs(speed, &b, ways, &work));
out:
    for (size_t i = 0; i < N_WAYS; i++)
        dns_f2f_query_free(ways[i].query);
    bench_free(&b);
    return status;
}

dns_status speed_teacher(dns_speed *speed)
{
    static const char frames[] = "30 x 60 frames of 3840";
    const double first = speed_comparator_work(N_QUERY, N_TARGET, 0);
    const double rest = speed_comparator_work(N_QUERY, N_TARGET, 1);
    const double f2f = 2.0 * products * TEACHER_DIM;
    dns_status status = DNS_OK;
    bench b = {0};
    pair ways[N_WAYS] = {{0}};
    DNS_TRY(make_videos(&b, TEACHER_DIM));
    DNS_TRY(make_comparators(&b));
    DNS_TRY(make_ways(ways, &b, TEACHER_DIM));
    ways[FLOATS].net = b.net;
    ways[BYTES].net = b.net_i8;
    DNS_TRY(compare(&ways[FLOATS]));
    const speed_case pairs[] = {
        {.name = "pair_teacher_f32",
         .what = frames,
         .work.f32 = f2f + first + rest,
         .run = compare,
         .data = &ways[FLOATS]},
        {.name = "pair_teacher_i8",
         .what = frames,
         .work = {.f32 = first, .i8 = f2f + rest},
         .run = compare,
         .loss = difference,
         .data = &ways[BYTES]},
    };
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++)
        DNS_TRY(speed_measure(speed, &pairs[i]));
out:
    for (size_t i = 0; i < N_WAYS; i++)
        dns_f2f_query_free(ways[i].query);
    bench_free(&b);
    return status;
}
