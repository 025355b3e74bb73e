#include "dnsel/projection_training.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "dnsel/gemm.h"
#include "dnsel/memory.h"
#include "dnsel/projection.h"
#include "dnsel/trainer.h"
#include "region_views.h"

dns_projection_training_options dns_projection_training_options_default(void)
{
    return (dns_projection_training_options){.steps = 400,
                                             .batch = 96,
                                             .out_dim = 512,
                                             .rate = 1e-3,
                                             .tau = 0.05,
                                             .pull = 0.1,
                                             .seed = 1,
                                             .checkpoint_every = 50};
}

/* One training. */
struct training {
    const dns_region_views *views;
    const dns_whitening *wide;
    const dns_projection_training_options *o;
    dns_pool *pool;
    dns_projection *projection;
    dns_region_views *coordinates; /* the views after `wide` */
    size_t *mine;                  /* pictures of the part */
    size_t n_mine;
    size_t *drawn; /* [batch] */
    float *a, *b;  /* [batch][9][wide] */
};

/* ---- coordinates ---- */

static dns_status coordinates_task(void *payload, size_t task, size_t worker)
{
    (void)worker;
    struct training *t = payload;
    size_t picture = t->mine[task], dim = dns_region_views_dim(t->views),
           wide = dns_whitening_out_dim(t->wide);
    dns_status status = DNS_OK;
    float *raw = NULL, *z = NULL;
    DNS_TRY(dns_alloc(&raw, DNS_REGIONS * dim, sizeof *raw));
    DNS_TRY(dns_alloc(&z, DNS_REGIONS * wide, sizeof *z));
    for (size_t view = 0; view < dns_region_views_per_picture(t->views); view++) {
        dns_region_views_get(raw, t->views, picture, view);
        DNS_TRY(dns_whitening_apply(t->wide, z, raw, DNS_REGIONS));
        dns_region_views_put(t->coordinates, picture, view, z);
    }
out:
    dns_free(raw);
    dns_free(z);
    return status;
}

static dns_status find_mine(struct training *t, const dns_picture_part *part)
{
    dns_status status = DNS_OK;
    size_t n = dns_region_views_count(t->views), n_scenes = 0;
    DNS_TRY(dns_alloc(&t->mine, n, sizeof *t->mine));
    for (size_t i = 0; i < n; i++) {
        if (!dns_picture_part_has(part, i))
            continue;
        bool seen = false;
        for (size_t j = 0; j < t->n_mine && !seen; j++)
            seen =
                dns_region_views_scene(t->views, t->mine[j]) == dns_region_views_scene(t->views, i);
        n_scenes += !seen;
        t->mine[t->n_mine++] = i;
    }
    if (t->o->batch < 2 || n_scenes < t->o->batch)
        DNS_FAIL(DNS_ERR_ARG, "batches of %zu scenes from %zu scenes", t->o->batch, n_scenes);
out:
    return status;
}

static dns_status open_training(struct training *t, const dns_picture_part *part)
{
    dns_status status = DNS_OK;
    size_t n = dns_region_views_count(t->views), wide = dns_whitening_out_dim(t->wide);
    size_t *scenes = NULL;
    DNS_TRY(dns_projection_create(&t->projection, wide, t->o->out_dim));
    DNS_TRY(find_mine(t, part));
    DNS_TRY(dns_alloc(&scenes, n, sizeof *scenes));
    DNS_TRY(dns_region_views_create(&t->coordinates, wide, scenes, n,
                                    dns_region_views_per_picture(t->views)));
    DNS_TRY(dns_pool_run(t->pool, t->n_mine, coordinates_task, t));
    DNS_TRY(dns_alloc(&t->drawn, t->o->batch, sizeof *t->drawn));
    DNS_TRY(dns_alloc(&t->a, t->o->batch * DNS_REGIONS, wide * sizeof *t->a));
    DNS_TRY(dns_alloc(&t->b, t->o->batch * DNS_REGIONS, wide * sizeof *t->b));
out:
    dns_free(scenes);
    return status;
}

static void close_training(struct training *t)
{
    dns_projection_free(t->projection);
    dns_region_views_free(t->coordinates);
    dns_free(t->mine);
    dns_free(t->drawn);
    dns_free(t->a);
    dns_free(t->b);
}

/* ---- steps ---- */

static bool scene_taken(const struct training *t, size_t n, size_t picture)
{
    for (size_t i = 0; i < n; i++)
        if (dns_region_views_scene(t->views, t->drawn[i]) ==
            dns_region_views_scene(t->views, picture))
            return true;
    return false;
}

/* Pictures of distinct scenes, two different views of each. */
static void draw_batch(struct training *t, size_t step)
{
    dns_random random = dns_random_stream(t->o->seed, step);
    size_t n_views = dns_region_views_per_picture(t->views), n = 0,
           values = DNS_REGIONS * dns_whitening_out_dim(t->wide);
    while (n < t->o->batch) {
        size_t picture = t->mine[dns_random_below(&random, t->n_mine)];
        if (!scene_taken(t, n, picture))
            t->drawn[n++] = picture;
    }
    for (size_t i = 0; i < n; i++) {
        size_t a = dns_random_below(&random, n_views), b = dns_random_below(&random, n_views - 1);
        b += b >= a;
        dns_region_views_get(t->a + i * values, t->coordinates, t->drawn[i], a);
        dns_region_views_get(t->b + i * values, t->coordinates, t->drawn[i], b);
    }
}

static dns_status train_step(void *payload, dns_step_facts *facts, size_t step)
{
    struct training *t = payload;
    const dns_projection_batch batch = {t->a,        t->b,      t->o->batch,
                                        DNS_REGIONS, t->o->tau, t->o->pull};
    draw_batch(t, step);
    return dns_projection_loss(&facts->loss, t->projection, &batch, t->pool);
}

static dns_status run_steps(struct training *t)
{
    const dns_projection_training_options *o = t->o;
    dns_trainer_report report;
    char what[256];
    snprintf(what, sizeof what,
             "projection %zu to %zu, batches of %zu, tau %g, pull %g, seed %llu, %zu of %zu "
             "pictures in %zu views",
             dns_whitening_out_dim(t->wide), o->out_dim, o->batch, o->tau, o->pull,
             (unsigned long long)o->seed, t->n_mine, dns_region_views_count(t->views),
             dns_region_views_per_picture(t->views));
    const dns_trainer_task task = {.parameters = dns_projection_parameters(t->projection),
                                   .payload = t,
                                   .step = train_step,
                                   .description = what};
    const dns_trainer_options options = {
        .steps = o->steps,
        .adam = DNS_ADAM_INIT,
        .schedule = {.shape = DNS_SCHEDULE_COSINE, .peak = o->rate, .last = 0},
        .checkpoint = o->checkpoint,
        .checkpoint_every = o->checkpoint_every,
        .progress = &o->progress,
        .cancel = o->cancel};
    return dns_trainer_run(&report, &task, &options, t->pool);
}

/* Mean of the wide whitening; its matrix times the transposed weights. */
static dns_status compose(dns_whitening **out, const struct training *t)
{
    size_t in = dns_whitening_in_dim(t->wide), wide = dns_whitening_out_dim(t->wide);
    float *matrix;
    dns_status status = dns_alloc(&matrix, in, t->o->out_dim * sizeof *matrix);
    if (status == DNS_OK)
        status = dns_gemm_dense_f32(
            false, true, in, t->o->out_dim, wide, dns_whitening_matrix(t->wide),
            dns_parameters_weight(dns_projection_parameters(t->projection), 0), 0, matrix);
    if (status == DNS_OK)
        status = dns_whitening_create(out, dns_whitening_mean(t->wide), matrix, in, t->o->out_dim);
    dns_free(matrix);
    return status;
}

dns_status dns_projection_train(dns_whitening **out, const dns_region_views *views,
                                const dns_whitening *wide, const dns_picture_part *part,
                                const dns_projection_training_options *options, dns_pool *pool)
{
    dns_status status = DNS_OK;
    struct training t = {.views = views, .wide = wide, .o = options, .pool = pool};
    *out = NULL;
    DNS_TRY(open_training(&t, part));
    DNS_TRY(run_steps(&t));
    DNS_TRY(compose(out, &t));
out:
    close_training(&t);
    return status;
}

dns_status dns_whitening_cut(dns_whitening **out, const dns_whitening *w, size_t out_dim)
{
    size_t in = dns_whitening_in_dim(w), wide = dns_whitening_out_dim(w);
    const float *from = dns_whitening_matrix(w);
    float *matrix;
    *out = NULL;
    if (out_dim == 0 || out_dim > wide)
        return dns_status_set(DNS_ERR_ARG, "%zu values of a whitening to %zu", out_dim, wide);
    dns_status status = dns_alloc(&matrix, in, out_dim * sizeof *matrix);
    for (size_t i = 0; i < in && status == DNS_OK; i++)
        memcpy(matrix + i * out_dim, from + i * wide, out_dim * sizeof *matrix);
    if (status == DNS_OK)
        status = dns_whitening_create(out, dns_whitening_mean(w), matrix, in, out_dim);
    dns_free(matrix);
    return status;
}
