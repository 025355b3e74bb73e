/* Region features of edited views, and how well a whitening finds pictures again by them. */
#include <math.h>
#include <pthread.h>
#include <string.h>

#include "dnsel/linear.h"
#include "dnsel/memory.h"
#include "region_views.h"

enum { PARTS = 4, ROWS = 64, COLUMNS = 128 };

struct dns_region_views {
    size_t n_pictures, n_views, dim;
    size_t *scenes;
    uint16_t *data;
};

dns_status dns_region_views_create(dns_region_views **out, size_t dim, const size_t *scenes,
                                   size_t n_pictures, size_t n_views)
{
    dns_status status = DNS_OK;
    dns_region_views *v = NULL;
    size_t n;
    *out = NULL;
    DNS_TRY(dns_alloc(&v, 1, sizeof *v));
    *v = (dns_region_views){.n_pictures = n_pictures, .n_views = n_views, .dim = dim};
    if (n_pictures == 0 || n_views < 2 || !dns_size_multiply(n_pictures, n_views, &n))
        DNS_FAIL(DNS_ERR_ARG, "%zu pictures in %zu views; at least one in two is needed",
                 n_pictures, n_views);
    DNS_TRY(dns_alloc(&v->scenes, n_pictures, sizeof *v->scenes));
    memcpy(v->scenes, scenes, n_pictures * sizeof *scenes);
    DNS_TRY(dns_alloc(&v->data, n, DNS_REGIONS * dim * sizeof *v->data));
    *out = v;
    v = NULL;
out:
    dns_region_views_free(v);
    return status;
}

void dns_region_views_free(dns_region_views *v)
{
    if (v == NULL)
        return;
    dns_free(v->scenes);
    dns_free(v->data);
    dns_free(v);
}

size_t dns_region_views_count(const dns_region_views *v)
{
    return v->n_pictures;
}

size_t dns_region_views_scene(const dns_region_views *v, size_t picture)
{
    return v->scenes[picture];
}

size_t dns_region_views_per_picture(const dns_region_views *v)
{
    return v->n_views;
}

size_t dns_region_views_dim(const dns_region_views *v)
{
    return v->dim;
}

static uint16_t *view_at(const dns_region_views *v, size_t picture, size_t view)
{
    return v->data + (picture * v->n_views + view) * DNS_REGIONS * v->dim;
}

void dns_region_views_put(dns_region_views *v, size_t picture, size_t view, const float *regions)
{
    uint16_t *out = view_at(v, picture, view);
    for (size_t i = 0; i < DNS_REGIONS * v->dim; i++)
        out[i] = dns_f16_from_f32(regions[i]);
}

void dns_region_views_get(float *regions, const dns_region_views *v, size_t picture, size_t view)
{
    const dns_tensor tensor = {.dtype = DNS_F16,
                               .rank = 1,
                               .shape = {DNS_REGIONS * v->dim},
                               .data = view_at(v, picture, view)};
    dns_tensor_to_f32(regions, &tensor);
}

/* ---- filling ---- */

struct fill {
    dns_region_views *views;
    dns_view_maker make;
    void *payload;
    size_t frame_bytes;
    const dns_progress *progress;
    dns_cancel *cancel;
    struct worker {
        dns_extractor_session *session;
        uint8_t *frames;
        float *regions;
    } * workers;
    pthread_mutex_t lock;
    size_t n_done;
};

/* All views of one picture. */
static dns_status fill_task(void *payload, size_t picture, size_t worker)
{
    struct fill *f = payload;
    dns_region_views *v = f->views;
    struct worker *w = &f->workers[worker];
    if (dns_cancelled(f->cancel))
        return dns_status_set(DNS_ERR_CANCELLED, "interrupted");
    dns_status status = DNS_OK;
    for (size_t i = 0; i < v->n_views && status == DNS_OK; i++)
        status = f->make(f->payload, w->frames + i * f->frame_bytes, picture, i, worker);
    if (status == DNS_OK)
        status = dns_extractor_run(w->session, w->regions, w->frames, v->n_views);
    for (size_t i = 0; i < v->n_views && status == DNS_OK; i++)
        dns_region_views_put(v, picture, i, w->regions + i * DNS_REGIONS * v->dim);
    pthread_mutex_lock(&f->lock);
    f->n_done++;
    if (f->progress != NULL && f->progress->report != NULL)
        f->progress->report(f->progress->payload, f->n_done, v->n_pictures, "pictures");
    pthread_mutex_unlock(&f->lock);
    return status;
}

dns_status dns_region_views_fill(dns_region_views *views, const dns_extractor *extractor,
                                 size_t frame_bytes, dns_view_maker make, void *payload,
                                 dns_pool *pool, const dns_progress *progress, dns_cancel *cancel)
{
    dns_status status = DNS_OK;
    struct fill f = {.views = views,
                     .make = make,
                     .payload = payload,
                     .frame_bytes = frame_bytes,
                     .progress = progress,
                     .cancel = cancel};
    size_t n_workers = dns_pool_size(pool);
    pthread_mutex_init(&f.lock, NULL);
    DNS_TRY(dns_alloc(&f.workers, n_workers, sizeof *f.workers));
    for (size_t i = 0; i < n_workers; i++) {
        DNS_TRY(dns_extractor_session_create(&f.workers[i].session, extractor));
        DNS_TRY(dns_alloc(&f.workers[i].frames, views->n_views, frame_bytes));
        DNS_TRY(dns_alloc(&f.workers[i].regions, views->n_views * DNS_REGIONS,
                          views->dim * sizeof(float)));
    }
    DNS_TRY(dns_pool_run(pool, views->n_pictures, fill_task, &f));
out:
    for (size_t i = 0; f.workers != NULL && i < n_workers; i++) {
        dns_extractor_session_free(f.workers[i].session);
        dns_free(f.workers[i].frames);
        dns_free(f.workers[i].regions);
    }
    dns_free(f.workers);
    pthread_mutex_destroy(&f.lock);
    return status;
}

/* ---- PCA: so many learners, however many threads, so that sums are always the same ---- */

struct learning {
    const dns_region_views *views;
    dns_whitening_learner *learners[PARTS];
};

static dns_status learn_task(void *payload, size_t part, size_t worker)
{
    (void)worker;
    struct learning *l = payload;
    const dns_region_views *v = l->views;
    dns_status status = DNS_OK;
    float *rows = NULL;
    size_t n = v->n_pictures * v->n_views, values = DNS_REGIONS * v->dim;
    DNS_TRY(dns_whitening_learner_create(&l->learners[part], v->dim));
    DNS_TRY(dns_alloc(&rows, ROWS * values, sizeof *rows));
    for (size_t from = part * n / PARTS, end = (part + 1) * n / PARTS; from < end; from += ROWS) {
        size_t here = end - from < ROWS ? end - from : ROWS;
        for (size_t i = 0; i < here; i++)
            dns_region_views_get(rows + i * values, v, (from + i) / v->n_views,
                                 (from + i) % v->n_views);
        DNS_TRY(dns_whitening_learner_add(l->learners[part], rows, here * DNS_REGIONS));
    }
out:
    dns_free(rows);
    return status;
}

dns_status dns_region_views_whitening(dns_whitening **out, const dns_region_views *views,
                                      size_t out_dim, dns_pool *pool)
{
    dns_status status = DNS_OK;
    struct learning l = {.views = views};
    *out = NULL;
    DNS_TRY(dns_pool_run(pool, PARTS, learn_task, &l));
    for (size_t i = 1; i < PARTS; i++)
        DNS_TRY(dns_whitening_learner_merge(l.learners[0], l.learners[i]));
    DNS_TRY(dns_whitening_learner_solve(out, l.learners[0], out_dim));
out:
    for (size_t i = 0; i < PARTS; i++)
        dns_whitening_learner_free(l.learners[i]);
    return status;
}

/* ---- folds ---- */

dns_status dns_region_views_folds(size_t *fold_of, const dns_region_views *v, size_t n_folds,
                                  uint64_t seed)
{
    if (n_folds < 2)
        return dns_status_set(DNS_ERR_ARG, "%zu folds, at least 2 are needed", n_folds);
    for (size_t i = 0; i < v->n_pictures; i++) {
        dns_random random = dns_random_stream(seed, v->scenes[i]);
        fold_of[i] = dns_random_below(&random, n_folds);
    }
    return DNS_OK;
}

bool dns_picture_part_has(const dns_picture_part *part, size_t picture)
{
    return part->fold_of == NULL || (part->fold_of[picture] == part->fold) != part->others;
}

/* ---- finding pictures again ---- */

struct finding {
    const dns_region_views *views;
    const dns_whitening *whitening;
    const dns_picture_part *part;
    double *ranks;
    float *originals; /* [n_pictures][9][out] */
};

static dns_status embed_task(void *payload, size_t picture, size_t worker)
{
    (void)worker;
    struct finding *f = payload;
    float *raw;
    dns_status status = dns_alloc(&raw, DNS_REGIONS * f->views->dim, sizeof *raw);
    if (status != DNS_OK)
        return status;
    dns_region_views_get(raw, f->views, picture, 0);
    size_t values = DNS_REGIONS * dns_whitening_out_dim(f->whitening);
    status = dns_whitening_apply(f->whitening, f->originals + picture * values, raw, DNS_REGIONS);
    dns_free(raw);
    return status;
}

/* The sum of both directions of the region Chamfer similarity from products [9][9], `stride`
 * between rows. */
static float both_directions(const float *products, size_t stride)
{
    float sum = 0, columns[DNS_REGIONS];
    for (size_t p = 0; p < DNS_REGIONS; p++)
        columns[p] = -INFINITY;
    for (size_t o = 0; o < DNS_REGIONS; o++) {
        float best = -INFINITY;
        for (size_t p = 0; p < DNS_REGIONS; p++) {
            float x = products[o * stride + p];
            best = fmaxf(best, x);
            columns[p] = fmaxf(columns[p], x);
        }
        sum += best;
    }
    for (size_t p = 0; p < DNS_REGIONS; p++)
        sum += columns[p];
    return sum;
}

static dns_status find_task(void *payload, size_t picture, size_t worker)
{
    (void)worker;
    struct finding *f = payload;
    const dns_region_views *v = f->views;
    dns_status status = DNS_OK;
    float *raw = NULL, *query = NULL, *products = NULL, *scores = NULL;
    size_t out = dns_whitening_out_dim(f->whitening), rank = 1;
    f->ranks[picture] = (double)NAN;
    if (!dns_picture_part_has(f->part, picture))
        return DNS_OK;
    DNS_TRY(dns_alloc(&raw, DNS_REGIONS * v->dim, sizeof *raw));
    DNS_TRY(dns_alloc(&query, DNS_REGIONS * out, sizeof *query));
    DNS_TRY(dns_alloc(&products, DNS_REGIONS * DNS_REGIONS, COLUMNS * sizeof *products));
    DNS_TRY(dns_alloc(&scores, v->n_pictures, sizeof *scores));
    dns_region_views_get(raw, v, picture, 1 + picture % (v->n_views - 1));
    DNS_TRY(dns_whitening_apply(f->whitening, query, raw, DNS_REGIONS));
    for (size_t from = 0; from < v->n_pictures; from += COLUMNS) {
        size_t n = v->n_pictures - from < COLUMNS ? v->n_pictures - from : COLUMNS;
        DNS_TRY(dns_linear_forward(products, query, f->originals + from * DNS_REGIONS * out, NULL,
                                   DNS_REGIONS, out, n * DNS_REGIONS, NULL));
        for (size_t j = 0; j < n; j++)
            scores[from + j] = both_directions(products + j * DNS_REGIONS, n * DNS_REGIONS);
    }
    for (size_t j = 0; j < v->n_pictures; j++)
        rank += v->scenes[j] != v->scenes[picture] && scores[j] >= scores[picture];
    f->ranks[picture] = 1 / (double)rank;
out:
    dns_free(raw);
    dns_free(query);
    dns_free(products);
    dns_free(scores);
    return status;
}

dns_status dns_region_views_find(double *mean, double *ranks, const dns_region_views *views,
                                 const dns_whitening *whitening, const dns_picture_part *part,
                                 dns_pool *pool)
{
    dns_status status = DNS_OK;
    struct finding f = {.views = views, .whitening = whitening, .part = part, .ranks = ranks};
    size_t n = 0;
    double sum = 0;
    if (dns_whitening_in_dim(whitening) != views->dim)
        DNS_FAIL(DNS_ERR_SHAPE, "whitening of %zu values, features have %zu",
                 dns_whitening_in_dim(whitening), views->dim);
    DNS_TRY(dns_alloc(&f.originals, views->n_pictures * DNS_REGIONS,
                      dns_whitening_out_dim(whitening) * sizeof *f.originals));
    DNS_TRY(dns_pool_run(pool, views->n_pictures, embed_task, &f));
    DNS_TRY(dns_pool_run(pool, views->n_pictures, find_task, &f));
    for (size_t i = 0; i < views->n_pictures; i++)
        if (!isnan(ranks[i])) {
            sum += ranks[i];
            n++;
        }
    *mean = n > 0 ? sum / (double)n : 0;
out:
    dns_free(f.originals);
    return status;
}
