#include "tail_views.h"

#include <pthread.h>
#include <string.h>

#include "dnsel/memory.h"

dns_status dns_tail_views_create(dns_tail_views **out, const dns_backbone_front *front,
                                 const size_t *scenes, size_t n_pictures, size_t n_views)
{
    dns_status status = DNS_OK;
    dns_tail_views *v = NULL;
    size_t n;
    *out = NULL;
    DNS_TRY(dns_alloc(&v, 1, sizeof *v));
    v->n_pictures = n_pictures;
    v->n_views = n_views;
    v->trunk = dns_backbone_front_trunk(front);
    v->fixed = DNS_TAIL_REGIONS * dns_backbone_front_fixed(front);
    if (n_pictures == 0 || n_views < 2 || !dns_size_multiply(n_pictures, n_views, &n))
        DNS_FAIL(DNS_ERR_ARG, "%zu pictures in %zu views; at least one in two is needed",
                 n_pictures, n_views);
    DNS_TRY(dns_alloc(&v->scenes, n_pictures, sizeof *v->scenes));
    memcpy(v->scenes, scenes, n_pictures * sizeof *scenes);
    DNS_TRY(dns_alloc(&v->data, n, (v->trunk + v->fixed) * sizeof *v->data));
    *out = v;
    v = NULL;
out:
    dns_tail_views_free(v);
    return status;
}

void dns_tail_views_free(dns_tail_views *v)
{
    if (v == NULL)
        return;
    dns_free(v->scenes);
    dns_free(v->data);
    dns_free(v);
}

void dns_tail_views_read(float *trunk, float *fixed, const dns_tail_views *v, size_t picture,
                         size_t view)
{
    const uint16_t *data = v->data + (picture * v->n_views + view) * (v->trunk + v->fixed);
    dns_tensor tensor = {.dtype = DNS_F16, .rank = 1, .shape = {v->trunk}, .data = data};
    dns_tensor_to_f32(trunk, &tensor);
    tensor.shape[0] = v->fixed;
    tensor.data = data + v->trunk;
    dns_tensor_to_f32(fixed, &tensor);
}

/* All views of one picture are one task. */
struct fill {
    dns_tail_views *views;
    dns_view_maker make;
    void *payload;
    size_t frame_bytes;
    const dns_progress *progress;
    dns_cancel *cancel;
    struct worker {
        dns_backbone_front_session *session;
        uint8_t *frames;
        float *trunk, *fixed;
    } * workers;
    pthread_mutex_t lock;
    size_t n_done;
};

static void pack(uint16_t *out, const float *x, size_t n)
{
    for (size_t i = 0; i < n; i++)
        out[i] = dns_f16_from_f32(x[i]);
}

static dns_status fill_task(void *payload, size_t picture, size_t worker)
{
    struct fill *f = payload;
    dns_tail_views *v = f->views;
    struct worker *w = &f->workers[worker];
    if (dns_cancelled(f->cancel))
        return dns_status_set(DNS_ERR_CANCELLED, "interrupted");
    for (size_t i = 0; i < v->n_views; i++) {
        dns_status status = f->make(f->payload, w->frames + i * f->frame_bytes, picture, i, worker);
        if (status != DNS_OK)
            return status;
    }
    dns_status status =
        dns_backbone_front_run(w->session, w->trunk, w->fixed, w->frames, v->n_views);
    for (size_t i = 0; i < v->n_views && status == DNS_OK; i++) {
        uint16_t *out = v->data + (picture * v->n_views + i) * (v->trunk + v->fixed);
        pack(out, w->trunk + i * v->trunk, v->trunk);
        pack(out + v->trunk, w->fixed + i * v->fixed, v->fixed);
    }
    pthread_mutex_lock(&f->lock);
    f->n_done++;
    if (f->progress != NULL && f->progress->report != NULL)
        f->progress->report(f->progress->payload, f->n_done, v->n_pictures, "pictures");
    pthread_mutex_unlock(&f->lock);
    return status;
}

static dns_status open_worker(struct worker *w, const struct fill *f,
                              const dns_backbone_front *front)
{
    dns_status status = DNS_OK;
    size_t n = f->views->n_views;
    DNS_TRY(dns_backbone_front_session_create(&w->session, front));
    DNS_TRY(dns_alloc(&w->frames, n, f->frame_bytes));
    DNS_TRY(dns_alloc(&w->trunk, n, f->views->trunk * sizeof *w->trunk));
    DNS_TRY(dns_alloc(&w->fixed, n, f->views->fixed * sizeof *w->fixed));
out:
    return status;
}

dns_status dns_tail_views_fill(dns_tail_views *views, const dns_backbone_front *front,
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
    for (size_t i = 0; i < n_workers; i++)
        DNS_TRY(open_worker(&f.workers[i], &f, front));
    DNS_TRY(dns_pool_run(pool, views->n_pictures, fill_task, &f));
out:
    for (size_t i = 0; f.workers != NULL && i < n_workers; i++) {
        dns_backbone_front_session_free(f.workers[i].session);
        dns_free(f.workers[i].frames);
        dns_free(f.workers[i].trunk);
        dns_free(f.workers[i].fixed);
    }
    dns_free(f.workers);
    pthread_mutex_destroy(&f.lock);
    return status;
}
