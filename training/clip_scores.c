#include "dnsel/clip_scores.h"

#include <string.h>

#include "dnsel/f2f.h"
#include "dnsel/gemm.h"
#include "dnsel/memory.h"
#include "dnsel/video_similarity.h"

static size_t values_of(const dns_training_set *set)
{
    return dns_training_set_n_regions(set) * dns_training_set_dim(set);
}

/* *x = one clip, extended by appending itself to at least 4 frames, to be freed. */
static dns_status read_clip(float **x, size_t *n_frames, dns_clip_range range, size_t clip)
{
    size_t n = range.clips->n_frames[range.first + clip], values = values_of(range.set);
    *x = NULL;
    if (n == 0)
        return dns_status_set(DNS_ERR_ARG, "no frames");
    *n_frames = dns_visil_extended(n);
    dns_status status = dns_alloc(x, *n_frames, values * sizeof **x);
    if (status != DNS_OK)
        return status;
    dns_clips_read_one(*x, range.set, range.clips, range.first + clip);
    for (size_t i = n; i < *n_frames; i++)
        memcpy(*x + i * values, *x + (i - n) * values, values * sizeof **x);
    return DNS_OK;
}

/* ---- fine ---- */

struct target {
    void *data;
    dns_dtype dtype;
    size_t n_frames;
};

struct comparing {
    float *scores;
    dns_clip_range queries, targets;
    const dns_fine_comparison *how;
    const dns_coarse_pair *pairs;
    float *const *by_direction; /* every direction instead of that of the rule; NULL */
    dns_cancel *cancel;
    struct target *kept;          /* [targets.n] */
    dns_visil_session **sessions; /* [workers], with a net */
};

/* Signs of x codes, bit k of a region in byte k / 8 from the lowest. */
static dns_status make_codes(uint8_t **out, const float *x, size_t n_rows, size_t dim,
                             const dns_fine_comparison *how)
{
    dns_status status = DNS_OK;
    float *z = NULL;
    *out = NULL;
    DNS_TRY(dns_alloc(&z, n_rows, how->n_bits * sizeof *z));
    DNS_TRY(dns_gemm_dense_f32(false, false, n_rows, how->n_bits, dim, x, how->codes, 0, z));
    DNS_TRY(dns_alloc(out, n_rows, how->n_bits / 8));
    for (size_t i = 0; i < n_rows * how->n_bits; i++)
        if (z[i] > 0)
            (*out)[i / 8] |= (uint8_t)(1 << (i % 8));
out:
    dns_free(z);
    return status;
}

static dns_status keep_target(struct target *t, const struct comparing *c, const float *x,
                              dns_visil_session *session)
{
    dns_status status = DNS_OK;
    size_t regions = dns_training_set_n_regions(c->targets.set),
           dim = dns_training_set_dim(c->targets.set), n = t->n_frames * regions * dim;
    uint16_t *half;
    if (session != NULL) {
        t->dtype = dns_visil_shape_of(c->how->net)->codes ? DNS_U8 : DNS_F16;
        DNS_TRY(
            dns_alloc(&t->data, dns_visil_bytes(c->how->net, t->n_frames, regions, t->dtype), 1));
        return dns_visil_index(session, t->data, NULL, x, t->n_frames, regions, t->dtype);
    }
    if (c->how->codes != NULL) {
        t->dtype = DNS_U8;
        return make_codes((uint8_t **)&t->data, x, t->n_frames * regions, dim, c->how);
    }
    t->dtype = DNS_F16;
    DNS_TRY(dns_alloc(&half, n, sizeof *half));
    for (size_t i = 0; i < n; i++)
        half[i] = dns_f16_from_f32(x[i]);
    t->data = half;
out:
    return status;
}

static dns_status target_task(void *payload, size_t target, size_t worker)
{
    struct comparing *c = payload;
    struct target *t = &c->kept[target];
    float *x;
    dns_status status = read_clip(&x, &t->n_frames, c->targets, target);
    if (status == DNS_OK)
        status = keep_target(t, c, x, c->sessions != NULL ? c->sessions[worker] : NULL);
    dns_free(x);
    return status;
}

/* One query against some of the kept targets. */
struct job {
    float *scores; /* [n]; or by_direction[.] */
    float *by_direction[DNS_DIRECTIONS];
    const float *x;
    size_t n_frames;
    const struct target *targets;
    size_t n;
};

static void put_directions(const struct job *job, size_t i, const dns_score_map *map)
{
    for (int d = 0; d < DNS_DIRECTIONS; d++)
        job->by_direction[d][i] = dns_video_similarity_forward(map, (dns_direction)d);
}

/* The last comparison once more, from its clipped map: all directions. */
static dns_status put_net_directions(const struct job *job, size_t i,
                                     const dns_visil_session *session)
{
    dns_visil_maps maps = dns_visil_last_maps(session);
    size_t rows = maps.n_rows, columns = maps.n_columns;
    float *clipped = NULL;
    dns_status status = dns_alloc(&clipped, rows * columns, sizeof *clipped);
    if (status != DNS_OK)
        return status;
    dns_hardtanh_forward(clipped, maps.comparator, rows * columns);
    put_directions(job, i, &(dns_score_map){.map = clipped, .rows = rows, .columns = columns});
    dns_free(clipped);
    return DNS_OK;
}

static dns_status compare_by_net(const struct comparing *c, dns_visil_session *session,
                                 const struct job *job)
{
    dns_status status = DNS_OK;
    size_t regions = dns_training_set_n_regions(c->queries.set);
    void *data = NULL;
    bool codes = dns_visil_shape_of(c->how->net)->codes;
    dns_dtype dtype = codes ? DNS_U8 : DNS_F32;
    DNS_TRY(dns_alloc(&data, dns_visil_bytes(c->how->net, job->n_frames, regions, dtype), 1));
    DNS_TRY(dns_visil_index(session, data, NULL, job->x, job->n_frames, regions, dtype));
    const dns_visil_video query = {
        .dtype = dtype, .n_frames = job->n_frames, .n_regions = regions, .data = data};
    DNS_TRY(dns_visil_set_query(session, &query));
    for (size_t i = 0; i < job->n; i++) {
        const struct target *t = &job->targets[i];
        const dns_visil_video video = {
            .dtype = t->dtype, .n_frames = t->n_frames, .n_regions = regions, .data = t->data};
        float score;
        DNS_TRY(dns_visil_compare(session, &score, &video));
        if (c->by_direction != NULL)
            DNS_TRY(put_net_directions(job, i, session));
        else
            job->scores[i] = score;
    }
out:
    dns_free(data);
    return status;
}

static dns_status pack_query(dns_f2f_query **out, const struct comparing *c, const float *x,
                             size_t n_frames)
{
    size_t regions = dns_training_set_n_regions(c->queries.set),
           dim = dns_training_set_dim(c->queries.set);
    dns_f2f_step step = dns_f2f_step_of(c->how->rule.regions);
    uint8_t *codes;
    *out = NULL;
    if (c->how->codes == NULL)
        return dns_f2f_query_create(out, DNS_F2F_F32, step, x, n_frames, regions, dim);
    dns_status status = make_codes(&codes, x, n_frames * regions, dim, c->how);
    if (status == DNS_OK)
        status = dns_f2f_query_create_bits(out, step, codes, n_frames, regions, c->how->n_bits);
    dns_free(codes);
    return status;
}

static dns_status compare_plainly(const struct comparing *c, const struct job *job)
{
    dns_status status = DNS_OK;
    dns_f2f_query *query = NULL;
    float *map = NULL;
    void *scratch = NULL;
    size_t capacity = 0, regions = dns_training_set_n_regions(c->targets.set),
           dim = dns_training_set_dim(c->targets.set);
    DNS_TRY(pack_query(&query, c, job->x, job->n_frames));
    DNS_TRY(dns_alloc(&scratch, dns_f2f_scratch(query), 1));
    for (size_t i = 0; i < job->n; i++) {
        const struct target *t = &job->targets[i];
        const dns_tensor tensor = {
            .dtype = t->dtype,
            .rank = 3,
            .shape = {t->n_frames, regions, t->dtype == DNS_U8 ? c->how->n_bits / 8 : dim},
            .data = t->data};
        DNS_TRY(dns_reserve(&map, &capacity, job->n_frames * t->n_frames, sizeof *map));
        DNS_TRY(dns_f2f_run(map, query, &tensor, NULL, scratch));
        const dns_score_map whole = {.map = map, .rows = job->n_frames, .columns = t->n_frames};
        if (c->by_direction != NULL)
            put_directions(job, i, &whole);
        else
            job->scores[i] = dns_video_similarity_forward(&whole, c->how->rule.direction);
    }
out:
    dns_f2f_query_free(query);
    dns_free(scratch);
    dns_free(map);
    return status;
}

/* Reads the query and compares it with n targets from `first` on. */
static dns_status compare(const struct comparing *c, float *scores, size_t query, size_t first,
                          size_t n, size_t worker)
{
    float *x;
    struct job job = {.scores = scores, .targets = c->kept + first, .n = n};
    if (dns_cancelled(c->cancel))
        return dns_status_set(DNS_ERR_CANCELLED, "interrupted");
    for (int d = 0; d < DNS_DIRECTIONS && c->by_direction != NULL; d++)
        job.by_direction[d] = c->by_direction[d] + query * c->targets.n;
    dns_status status = read_clip(&x, &job.n_frames, c->queries, query);
    job.x = x;
    if (status == DNS_OK)
        status = c->sessions != NULL ? compare_by_net(c, c->sessions[worker], &job)
                                     : compare_plainly(c, &job);
    dns_free(x);
    return status;
}

static dns_status query_task(void *payload, size_t query, size_t worker)
{
    const struct comparing *c = payload;
    float *scores = c->scores != NULL ? c->scores + query * c->targets.n : NULL;
    return compare(c, scores, query, 0, c->targets.n, worker);
}

static dns_status pair_task(void *payload, size_t pair, size_t worker)
{
    const struct comparing *c = payload;
    return compare(c, &c->scores[pair], c->pairs[pair].query, c->pairs[pair].target, 1, worker);
}

static dns_status run(struct comparing *c, size_t n_tasks, dns_task task, dns_pool *pool)
{
    dns_status status = DNS_OK;
    size_t n_workers = dns_pool_size(pool);
    DNS_TRY(dns_alloc(&c->kept, c->targets.n, sizeof *c->kept));
    if (c->how->net != NULL) {
        DNS_TRY(dns_alloc(&c->sessions, n_workers, sizeof *c->sessions));
        for (size_t i = 0; i < n_workers; i++)
            DNS_TRY(dns_visil_session_create(&c->sessions[i], c->how->net));
    }
    DNS_TRY(dns_pool_run(pool, c->targets.n, target_task, c));
    DNS_TRY(dns_pool_run(pool, n_tasks, task, c));
out:
    for (size_t i = 0; c->kept != NULL && i < c->targets.n; i++)
        dns_free(c->kept[i].data);
    for (size_t i = 0; c->sessions != NULL && i < n_workers; i++)
        dns_visil_session_free(c->sessions[i]);
    dns_free(c->kept);
    dns_free(c->sessions);
    return status;
}

dns_status dns_clip_fine_scores(float *scores, dns_clip_range queries, dns_clip_range targets,
                                const dns_fine_comparison *how, dns_pool *pool, dns_cancel *cancel)
{
    struct comparing c = {
        .scores = scores, .queries = queries, .targets = targets, .how = how, .cancel = cancel};
    return run(&c, queries.n, query_task, pool);
}

dns_status dns_clip_direction_scores(float *const scores[DNS_DIRECTIONS], dns_clip_range queries,
                                     dns_clip_range targets, const dns_fine_comparison *how,
                                     dns_pool *pool, dns_cancel *cancel)
{
    struct comparing c = {.by_direction = scores,
                          .queries = queries,
                          .targets = targets,
                          .how = how,
                          .cancel = cancel};
    return run(&c, queries.n, query_task, pool);
}

dns_status dns_clip_pair_scores(float *scores, dns_clip_range clips, const dns_coarse_pair *pairs,
                                size_t n_pairs, const dns_fine_comparison *how, dns_pool *pool)
{
    struct comparing c = {
        .scores = scores, .queries = clips, .targets = clips, .how = how, .pairs = pairs};
    return run(&c, n_pairs, pair_task, pool);
}

/* ---- coarse ---- */

enum { TOGETHER = 16 };

dns_status dns_clip_embed(float *embeddings, dns_clip_range range, const dns_coarse *net,
                          dns_pool *pool)
{
    dns_status status = DNS_OK;
    dns_coarse_session *session = NULL;
    float *x[TOGETHER] = {NULL};
    size_t out = dns_coarse_shape_of(net)->out;
    DNS_TRY(dns_coarse_session_create(&session, net, pool));
    for (size_t from = 0; from < range.n; from += TOGETHER) {
        size_t n = range.n - from < TOGETHER ? range.n - from : TOGETHER;
        dns_coarse_video videos[TOGETHER];
        for (size_t i = 0; i < n; i++) {
            dns_free(x[i]);
            DNS_TRY(read_clip(&x[i], &videos[i].n_frames, range, from + i));
            videos[i].x = x[i];
        }
        DNS_TRY(dns_coarse_embed(session, embeddings + from * out, videos, n,
                                 dns_training_set_n_regions(range.set)));
    }
out:
    for (size_t i = 0; i < TOGETHER; i++)
        dns_free(x[i]);
    dns_coarse_session_free(session);
    return status;
}

dns_status dns_clip_coarse_scores(float *scores, const float *a, size_t n, const float *b, size_t m,
                                  size_t dim)
{
    return dns_gemm_dense_f32(false, true, n, m, dim, a, b, 0, scores);
}

/* ---- selector ---- */

struct scalars {
    float *out;
    dns_clip_range range;
    dns_selector_session **sessions;
};

static dns_status scalar_task(void *payload, size_t clip, size_t worker)
{
    struct scalars *s = payload;
    float *x;
    size_t n_frames;
    dns_status status = read_clip(&x, &n_frames, s->range, clip);
    if (status == DNS_OK)
        status = dns_selector_scalar(s->sessions[worker], &s->out[clip], x, n_frames,
                                     dns_training_set_n_regions(s->range.set));
    dns_free(x);
    return status;
}

dns_status dns_clip_scalars(float *scalars, dns_clip_range clips, const dns_selector *net,
                            dns_pool *pool)
{
    dns_status status = DNS_OK;
    struct scalars s = {.out = scalars, .range = clips};
    size_t n_workers = dns_pool_size(pool);
    DNS_TRY(dns_alloc(&s.sessions, n_workers, sizeof *s.sessions));
    for (size_t i = 0; i < n_workers; i++)
        DNS_TRY(dns_selector_session_create(&s.sessions[i], net));
    DNS_TRY(dns_pool_run(pool, clips.n, scalar_task, &s));
out:
    for (size_t i = 0; s.sessions != NULL && i < n_workers; i++)
        dns_selector_session_free(s.sessions[i]);
    dns_free(s.sessions);
    return status;
}
