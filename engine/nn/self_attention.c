#include "dnsel/self_attention.h"

#include <math.h>
#include <stdint.h>

#include "dnsel/cross_entropy.h"
#include "dnsel/memory.h"
#include "matmul.h"

enum { QUERIES = 64 }; /* rows of scores held at once, so that a long video needs little memory */

enum part { Q, K, V };

struct run {
    dns_real *y, *p, *dqkv;
    const dns_real *qkv, *kept_p, *dy;
    dns_sequences videos;
    size_t n_heads, dim;
    const dns_dropout *dropout;
    dns_real *scratch; /* [workers, scratch_size] */
    size_t scratch_size;
};

/* One head of one video: q, k, v [n_frames, width] in rows 3 dim apart. */
struct head {
    size_t first, n_frames, width, column;
    size_t offset; /* of its probabilities */
    dns_real scale;
};

size_t dns_self_attention_count(dns_sequences videos, size_t n_heads)
{
    size_t sum = 0;
    for (size_t v = 0; v < videos.n; v++)
        sum += dns_sequences_length(videos, v) * dns_sequences_length(videos, v);
    return sum * n_heads;
}

static struct head head_of(const struct run *r, size_t task)
{
    size_t video = task / r->n_heads, number = task % r->n_heads;
    dns_sequences before = {video, r->videos.offsets};
    struct head h = {.first = r->videos.offsets[video], .width = r->dim / r->n_heads};
    h.n_frames = dns_sequences_length(r->videos, video);
    h.column = number * h.width;
    h.offset = dns_self_attention_count(before, r->n_heads) + number * h.n_frames * h.n_frames;
    h.scale = (dns_real)(1 / sqrt((double)h.width));
    return h;
}

/* From row `row` of the video on. */
static dns_matrix part_of(const struct run *r, const struct head *h, enum part part, size_t row,
                          bool transposed)
{
    size_t stride = 3 * r->dim;
    return (dns_matrix){r->qkv + (h->first + row) * stride + part * r->dim + h->column, stride,
                        transposed};
}

static dns_status forward_task(void *payload, size_t task, size_t worker)
{
    const struct run *r = payload;
    struct head h = head_of(r, task);
    dns_status status = DNS_OK;
    for (size_t row = 0; row < h.n_frames; row += QUERIES) {
        size_t rows = h.n_frames - row < QUERIES ? h.n_frames - row : QUERIES;
        size_t count = rows * h.n_frames, position = h.offset + row * h.n_frames;
        dns_real *used = r->scratch + worker * r->scratch_size;
        dns_real *p = r->p != NULL ? r->p + position : used;
        DNS_TRY(dns_matmul(p, h.n_frames, part_of(r, &h, Q, row, false), part_of(r, &h, K, 0, true),
                           rows, h.n_frames, h.width, false));
        for (size_t i = 0; i < count; i++)
            p[i] *= h.scale;
        dns_softmax(p, rows, h.n_frames);
        if (r->dropout != NULL)
            dns_dropout_apply(used, p, count, position, r->dropout);
        else
            used = p;
        DNS_TRY(dns_matmul(r->y + (h.first + row) * r->dim + h.column, r->dim,
                           (dns_matrix){used, h.n_frames, false}, part_of(r, &h, V, 0, false), rows,
                           h.width, h.n_frames, false));
    }
out:
    return status;
}

static dns_status run_heads(struct run *r, dns_task task, dns_pool *pool)
{
    size_t count;
    if (!dns_size_multiply(dns_pool_size(pool), r->scratch_size, &count))
        count = SIZE_MAX;
    dns_status status = dns_alloc(&r->scratch, count, sizeof *r->scratch);
    if (status == DNS_OK)
        status = dns_pool_run(pool, r->videos.n * r->n_heads, task, r);
    dns_free(r->scratch);
    return status;
}

dns_status dns_self_attention_forward(dns_real *y, dns_real *p, const dns_real *qkv,
                                      dns_sequences videos, size_t n_heads, size_t dim,
                                      const dns_dropout *dropout, dns_pool *pool)
{
    struct run r = {.y = y,
                    .p = p,
                    .qkv = qkv,
                    .videos = videos,
                    .n_heads = n_heads,
                    .dim = dim,
                    .dropout = dropout};
    size_t longest = dns_sequences_longest(videos);
    r.scratch_size = longest * (longest < QUERIES ? longest : QUERIES);
    return run_heads(&r, forward_task, pool);
}

/* With P' the dropped P: dV = P'^T dY, dP' = dY V^T, dS = P (dP - rowsum(dP P)), dQ = dS K and dK =
 * dS^T Q, both times the scale. */
static dns_status backward_task(void *payload, size_t task, size_t worker)
{
    const struct run *r = payload;
    struct head h = head_of(r, task);
    dns_status status = DNS_OK;
    size_t n = h.n_frames, stride = 3 * r->dim;
    const dns_real *p = r->kept_p + h.offset, *used = p;
    dns_real *ds = r->scratch + worker * r->scratch_size, *dropped = ds + n * n;
    dns_real *dqkv = r->dqkv + h.first * stride + h.column;
    dns_matrix dy = {r->dy + h.first * r->dim + h.column, r->dim, false};
    DNS_TRY(dns_matmul(ds, n, dy, part_of(r, &h, V, 0, true), n, n, h.width, false));
    if (r->dropout != NULL) {
        dns_dropout_apply(dropped, p, n * n, h.offset, r->dropout);
        dns_dropout_apply(ds, ds, n * n, h.offset, r->dropout);
        used = dropped;
    }
    DNS_TRY(dns_matmul(dqkv + V * r->dim, stride, (dns_matrix){used, n, true}, dy, n, h.width, n,
                       false));
    for (size_t i = 0; i < n; i++) {
        double sum = 0;
        for (size_t j = 0; j < n; j++)
            sum += (double)ds[i * n + j] * (double)p[i * n + j];
        for (size_t j = 0; j < n; j++)
            ds[i * n + j] = (ds[i * n + j] - (dns_real)sum) * p[i * n + j] * h.scale;
    }
    DNS_TRY(dns_matmul(dqkv + Q * r->dim, stride, (dns_matrix){ds, n, false},
                       part_of(r, &h, K, 0, false), n, h.width, n, false));
    DNS_TRY(dns_matmul(dqkv + K * r->dim, stride, (dns_matrix){ds, n, true},
                       part_of(r, &h, Q, 0, false), n, h.width, n, false));
out:
    return status;
}

dns_status dns_self_attention_backward(dns_real *dqkv, const dns_real *dy, const dns_real *qkv,
                                       const dns_real *p, dns_sequences videos, size_t n_heads,
                                       size_t dim, const dns_dropout *dropout, dns_pool *pool)
{
    struct run r = {.dqkv = dqkv,
                    .dy = dy,
                    .qkv = qkv,
                    .kept_p = p,
                    .videos = videos,
                    .n_heads = n_heads,
                    .dim = dim,
                    .dropout = dropout};
    size_t longest = dns_sequences_longest(videos);
    r.scratch_size = 2 * longest * longest;
    return run_heads(&r, backward_task, pool);
}
