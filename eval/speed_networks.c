/* What is computed once a video, and once a query: the networks whole, at their published sizes
 * (docs/evaluation.md), and the products in which most of their time goes. */
#include <math.h>

#include "dnsel/coarse.h"
#include "dnsel/gemm.h"
#include "dnsel/long_linear.h"
#include "dnsel/memory.h"
#include "dnsel/rank.h"
#include "dnsel/selector.h"
#include "speed_run.h"

enum { N_VIDEOS = 32, N_FRAMES = 60, N_REGIONS = 9, N_ROWS = N_FRAMES * N_REGIONS, DIM = 512 };

/* ---- products ---- */

enum { VLAD = 32768, OUT = 1024 };

typedef struct product {
    size_t n_videos;
    float *rows, *weights, *out;
} product;

static dns_status gate(void *data)
{
    product *p = data;
    return dns_gemm_dense_f32(false, true, N_ROWS, DIM, DIM, p->rows, p->weights, 0.0f, p->out);
}

static dns_status reduction(void *data)
{
    product *p = data;
    return dns_long_linear_forward(p->out, p->rows, p->weights, p->n_videos, VLAD, OUT, NULL);
}

dns_status speed_products(dns_speed *speed)
{
    static const struct {
        const char *name, *what;
        size_t n_videos;
    } reductions[] = {{"vlad_reduction_1", "32768 to 1024: a video", 1},
                      {"vlad_reduction_8", "the same, a video of 8", 8},
                      {"vlad_reduction_32", "the same, a video of 32", 32}};
    dns_status status = DNS_OK;
    product p = {.n_videos = 1};
    DNS_TRY(speed_floats(&p.weights, (size_t)VLAD * OUT, 0.01));
    DNS_TRY(speed_floats(&p.rows, (size_t)N_VIDEOS * VLAD, 0.01));
    DNS_TRY(dns_alloc(&p.out, (size_t)N_ROWS * DIM, sizeof *p.out));
    DNS_TRY(speed_measure(speed, &(speed_case){.name = "gate_product",
                                               .what = "540 x 512 x 512: regions of a video",
                                               .work.f32 = 2.0 * N_ROWS * DIM * DIM,
                                               .run = gate,
                                               .data = &p}));
    for (size_t i = 0; i < sizeof reductions / sizeof *reductions; i++) {
        p.n_videos = reductions[i].n_videos;
        const speed_case item = {
            .name = reductions[i].name,
            .what = reductions[i].what,
            .work = {.f32 = 2.0 * (double)p.n_videos * VLAD * OUT, .bytes = 4.0 * VLAD * OUT},
            .units = (double)p.n_videos,
            .run = reduction,
            .data = &p};
        DNS_TRY(speed_measure(speed, &item));
    }
out:
    dns_free(p.out);
    dns_free(p.rows);
    dns_free(p.weights);
    return status;
}

/* ---- the coarse student ---- */

typedef struct coarse_bench {
    dns_coarse *net;
    dns_coarse_session *session;
    dns_coarse_video videos[N_VIDEOS];
    size_t n_videos;
    float *x, *embeddings;
} coarse_bench;

static dns_status embed(void *data)
{
    coarse_bench *b = data;
    return dns_coarse_embed(b->session, b->embeddings, b->videos, b->n_videos, N_REGIONS);
}

dns_status speed_coarse(dns_speed *speed)
{
    const dns_coarse_shape shape = {.kind = DNS_COARSE_PUBLISHED,
                                    .dim = DIM,
                                    .out = OUT,
                                    .hidden = DIM,
                                    .n_heads = 8,
                                    .feed_forward = 4 * DIM,
                                    .n_clusters = VLAD / DIM};
    /* Gate, encoder, assignment and sums of NetVLAD, of 60 frames each; attention is among them. */
    const double gates = 2.0 * N_ROWS * DIM * DIM;
    const double encoder = 2.0 * N_FRAMES * DIM * (12.0 * DIM + 2.0 * N_FRAMES);
    const double vlad = 4.0 * N_FRAMES * VLAD, reduced = 2.0 * VLAD * OUT;
    dns_status status = DNS_OK;
    coarse_bench b = {.n_videos = N_VIDEOS};
    dns_random random = dns_random_seed(1);
    DNS_TRY(dns_coarse_create(&b.net, &shape, false));
    dns_coarse_initialise(b.net, &random);
    DNS_TRY(dns_coarse_session_create(&b.session, b.net, NULL));
    DNS_TRY(speed_floats(&b.x, (size_t)N_ROWS * DIM, 0.07));
    DNS_TRY(dns_alloc(&b.embeddings, (size_t)N_VIDEOS * OUT, sizeof *b.embeddings));
    for (size_t v = 0; v < N_VIDEOS; v++)
        b.videos[v] = (dns_coarse_video){b.x, N_FRAMES};
    speed_case item = {.name = "coarse_32",
                       .what = "60 frames, a video of 32",
                       .work = {.f32 = N_VIDEOS * (gates + encoder + vlad + reduced)},
                       .units = N_VIDEOS,
                       .run = embed,
                       .data = &b};
    DNS_TRY(speed_measure(speed, &item));
    b.n_videos = 1;
    item.name = "coarse_1", item.what = "60 frames, alone", item.units = 1.0;
    item.work = (speed_work){.f32 = gates + encoder + vlad + reduced};
    DNS_TRY(speed_measure(speed, &item));
out:
    dns_coarse_session_free(b.session);
    dns_coarse_free(b.net);
    dns_free(b.x);
    dns_free(b.embeddings);
    return status;
}

/* ---- the selector ---- */

enum { N_PAIRS = 200000 };

typedef struct selector_bench {
    dns_selector *net;
    dns_selector_session *session;
    float *x, *scalars, *coarse, *confidence, scalar;
    uint32_t *order;
} selector_bench;

static dns_status scalar(void *data)
{
    selector_bench *b = data;
    return dns_selector_scalar(b->session, &b->scalar, b->x, N_FRAMES, N_REGIONS);
}

static dns_status route(void *data)
{
    selector_bench *b = data;
    return dns_selector_route(b->session, b->confidence, 0.1f, b->scalars, b->coarse, N_PAIRS,
                              NULL);
}

static dns_status rank(void *data)
{
    selector_bench *b = data;
    return dns_rank_descending(b->order, b->confidence, N_PAIRS);
}

dns_status speed_selector(dns_speed *speed)
{
    const dns_selector_shape shape = {
        .dim = DIM, .hidden = DIM, .channels = {32, 64, 128}, .widths = {100, 100}};
    const double gates = 2.0 * N_ROWS * DIM * DIM, map = 2.0 * N_FRAMES * N_FRAMES * DIM;
    dns_status status = DNS_OK;
    selector_bench b = {0};
    dns_random random = dns_random_seed(1);
    DNS_TRY(dns_selector_create(&b.net, &shape, false));
    dns_selector_initialise(b.net, &random);
    DNS_TRY(dns_selector_session_create(&b.session, b.net));
    DNS_TRY(speed_floats(&b.x, (size_t)N_ROWS * DIM, 0.07));
    DNS_TRY(speed_floats(&b.scalars, N_PAIRS, 1.0));
    DNS_TRY(speed_floats(&b.coarse, N_PAIRS, 1.0));
    DNS_TRY(dns_alloc(&b.confidence, N_PAIRS, sizeof *b.confidence));
    DNS_TRY(dns_alloc(&b.order, N_PAIRS, sizeof *b.order));
    for (size_t i = 0; i < N_PAIRS; i++) /* long-tailed, as scalars are; similarities */
        b.scalars[i] = b.scalars[i] * fabsf(b.scalars[i]), b.coarse[i] = fabsf(b.coarse[i]);
    const speed_case cases[] = {
        {.name = "selector_scalar",
         .what = "60 frames: gate, map, comparator",
         .work.f32 = gates + map + speed_comparator_work(N_FRAMES, N_FRAMES, 0) +
                     speed_comparator_work(N_FRAMES, N_FRAMES, 1),
         .run = scalar,
         .data = &b},
        {.name = "selector_mlp", .what = "1 query, 200,000 targets", .run = route, .data = &b},
        {.name = "rank", .what = "200,000 confidences", .run = rank, .data = &b},
    };
    DNS_TRY(route(&b)); /* what is ranked, even if a filter leaves routing out */
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        DNS_TRY(speed_measure(speed, &cases[i]));
out:
    dns_selector_session_free(b.session);
    dns_selector_free(b.net);
    dns_free(b.x);
    dns_free(b.scalars);
    dns_free(b.coarse);
    dns_free(b.confidence);
    dns_free(b.order);
    return status;
}
