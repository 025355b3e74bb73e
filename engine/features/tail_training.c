#include "dnsel/tail_training.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dnsel/gemm.h"
#include "dnsel/memory.h"
#include "dnsel/trainer.h"
#include "tail_views.h"

enum { EMBED_BATCH = 64, NEIGHBOURS = 12 };

dns_tail_training_options dns_tail_training_options_default(void)
{
    return (dns_tail_training_options){.runs = 1,
                                       .stride = 1,
                                       .steps = 300,
                                       .batch = 48,
                                       .rate = 3e-4,
                                       .weight_decay = 1e-2,
                                       .tau = 0.05,
                                       .warm_up = 10,
                                       .cluster = 1,
                                       .seed = 1,
                                       .checkpoint_every = 50};
}

/* One training; `run` is the one at hand. */
struct training {
    size_t run;
    dns_backbone_tail *net;
    const dns_tail_views *views;
    const dns_tail_training_options *o;
    dns_pool *pool;
    size_t out;           /* values of a region vector */
    uint32_t *neighbours; /* [n_pictures, NEIGHBOURS]; NULL: batches are drawn at random */
    /* One batch: views a of all pictures, then views b. */
    size_t *pictures; /* [batch] */
    float *trunk, *fixed, *regions, *dregions;
};

dns_status dns_tail_embed(dns_backbone_tail *net, float *regions, const dns_tail_views *v,
                          size_t from, size_t n, size_t view, dns_pool *pool)
{
    dns_status status = DNS_OK;
    float *trunk = NULL, *fixed = NULL;
    size_t values = DNS_TAIL_REGIONS * dns_backbone_tail_out(net);
    DNS_TRY(dns_alloc(&trunk, EMBED_BATCH, v->trunk * sizeof *trunk));
    DNS_TRY(dns_alloc(&fixed, EMBED_BATCH, v->fixed * sizeof *fixed));
    for (size_t first = 0; first < n; first += EMBED_BATCH) {
        size_t here = n - first < EMBED_BATCH ? n - first : EMBED_BATCH;
        for (size_t i = 0; i < here; i++)
            dns_tail_views_read(trunk + i * v->trunk, fixed + i * v->fixed, v, from + first + i,
                                view);
        const dns_tail_batch batch = {trunk, fixed, here};
        DNS_TRY(dns_backbone_tail_forward(net, regions + first * values, NULL, &batch, pool));
    }
out:
    dns_free(trunk);
    dns_free(fixed);
    return status;
}

struct neighbour {
    float similarity;
    uint32_t picture;
};

static int nearest_first(const void *a, const void *b)
{
    const struct neighbour *x = a, *y = b;
    if (x->similarity != y->similarity)
        return x->similarity < y->similarity ? 1 : -1;
    return x->picture < y->picture ? -1 : x->picture > y->picture;
}

/* The nearest pictures of other scenes by the mean of the untrained region vectors. */
static dns_status find_neighbours(struct training *t)
{
    dns_status status = DNS_OK;
    const dns_tail_views *v = t->views;
    size_t n = v->n_pictures;
    float *regions = NULL, *means = NULL, *row = NULL;
    struct neighbour *list = NULL;
    DNS_TRY(dns_alloc(&regions, n, DNS_TAIL_REGIONS * t->out * sizeof *regions));
    DNS_TRY(dns_alloc(&means, n, t->out * sizeof *means));
    DNS_TRY(dns_alloc(&row, n, sizeof *row));
    DNS_TRY(dns_alloc(&list, n, sizeof *list));
    DNS_TRY(dns_alloc(&t->neighbours, n, NEIGHBOURS * sizeof *t->neighbours));
    DNS_TRY(dns_tail_embed(t->net, regions, v, 0, n, 0, t->pool));
    for (size_t i = 0; i < n; i++)
        for (size_t r = 0; r < DNS_TAIL_REGIONS; r++)
            for (size_t k = 0; k < t->out; k++)
                means[i * t->out + k] += regions[(i * DNS_TAIL_REGIONS + r) * t->out + k];
    for (size_t i = 0; i < n; i++) {
        size_t m = 0;
        DNS_TRY(dns_gemm_dense_f32(false, true, 1, n, t->out, means + i * t->out, means, 0, row));
        for (size_t j = 0; j < n; j++)
            if (v->scenes[j] != v->scenes[i])
                list[m++] = (struct neighbour){row[j], (uint32_t)j};
        qsort(list, m, sizeof *list, nearest_first);
        for (size_t k = 0; k < NEIGHBOURS; k++)
            t->neighbours[i * NEIGHBOURS + k] =
                m > 0 ? list[k < m ? k : m - 1].picture : (uint32_t)i;
    }
out:
    dns_free(regions);
    dns_free(means);
    dns_free(row);
    dns_free(list);
    return status;
}

static bool scene_taken(const struct training *t, size_t n, size_t picture)
{
    for (size_t i = 0; i < n; i++)
        if (t->views->scenes[t->pictures[i]] == t->views->scenes[picture])
            return true;
    return false;
}

/* Pictures of distinct scenes: random ones, each followed by some of its near neighbours. */
static void draw_pictures(struct training *t, dns_random *random)
{
    size_t n = 0;
    while (n < t->o->batch) {
        size_t seed = dns_random_below(random, t->views->n_pictures);
        if (scene_taken(t, n, seed))
            continue;
        t->pictures[n++] = seed;
        for (size_t i = 1; i < t->o->cluster && n < t->o->batch; i++) {
            size_t near = t->neighbours[seed * NEIGHBOURS + dns_random_below(random, NEIGHBOURS)];
            if (!scene_taken(t, n, near))
                t->pictures[n++] = near;
        }
    }
}

/* Two different views of each picture. */
static void draw_batch(struct training *t, size_t step)
{
    const dns_tail_views *v = t->views;
    dns_random random = dns_random_stream(t->o->seed + t->run, step);
    draw_pictures(t, &random);
    for (size_t i = 0; i < t->o->batch; i++) {
        size_t a = dns_random_below(&random, v->n_views),
               b = dns_random_below(&random, v->n_views - 1);
        b += b >= a;
        size_t j = t->o->batch + i;
        dns_tail_views_read(t->trunk + i * v->trunk, t->fixed + i * v->fixed, v, t->pictures[i], a);
        dns_tail_views_read(t->trunk + j * v->trunk, t->fixed + j * v->fixed, v, t->pictures[i], b);
    }
}

static dns_status train_step(void *payload, dns_step_facts *facts, size_t step)
{
    struct training *t = payload;
    dns_status status = DNS_OK;
    size_t n = t->o->batch, half = n * DNS_TAIL_REGIONS * t->out;
    const dns_tail_batch batch = {t->trunk, t->fixed, 2 * n};
    draw_batch(t, step);
    DNS_TRY(dns_backbone_tail_forward(t->net, t->regions, NULL, &batch, t->pool));
    memset(t->dregions, 0, 2 * half * sizeof *t->dregions);
    const dns_region_pairs pairs = {t->regions, t->regions + half, n, DNS_TAIL_REGIONS,
                                    t->out,     t->o->tau};
    DNS_TRY(dns_region_info_nce(&facts->loss, t->dregions, t->dregions + half, &pairs, t->pool));
    DNS_TRY(dns_backbone_tail_backward(t->net, t->dregions, &batch, t->pool));
out:
    return status;
}

static void on_step(void *payload, const dns_curve_point *point)
{
    const struct training *t = payload;
    if (t->o->report != NULL)
        t->o->report(t->o->payload, t->run * t->o->steps + point->step, point->loss,
                     point->gradient_norm);
}

static void on_progress(void *payload, size_t done, size_t total, const char *unit)
{
    const struct training *t = payload;
    const dns_progress *whole = &t->o->progress;
    if (whole->report != NULL)
        whole->report(whole->payload, t->run * total + done, t->o->runs * total, unit);
}

/* Which training a checkpoint belongs to, and how far it came. */
static void describe(char *text, size_t size, const struct training *t)
{
    const dns_tail_training_options *o = t->o;
    snprintf(text, size,
             "backbone tail, batches of %zu, tau %g, cluster %zu, seed %llu, %zu pictures in %zu "
             "views",
             o->batch, o->tau, o->cluster, (unsigned long long)(o->seed + t->run),
             t->views->n_pictures, t->views->n_views);
}

static size_t count_scenes(const dns_tail_views *v)
{
    size_t n = 0;
    for (size_t i = 0; i < v->n_pictures; i++) {
        bool seen = false;
        for (size_t j = 0; j < i && !seen; j++)
            seen = v->scenes[j] == v->scenes[i];
        n += !seen;
    }
    return n;
}

static dns_status open_training(struct training *t)
{
    dns_status status = DNS_OK;
    const dns_tail_views *v = t->views;
    size_t n = t->o->batch, half = n * DNS_TAIL_REGIONS * t->out, n_scenes = count_scenes(v);
    if (t->o->runs == 0)
        DNS_FAIL(DNS_ERR_ARG, "no runs");
    if (n < 2 || n_scenes < n)
        DNS_FAIL(DNS_ERR_ARG, "batches of %zu scenes from %zu scenes", n, n_scenes);
    DNS_TRY(dns_alloc(&t->pictures, n, sizeof *t->pictures));
    DNS_TRY(dns_alloc(&t->trunk, 2 * n, v->trunk * sizeof *t->trunk));
    DNS_TRY(dns_alloc(&t->fixed, 2 * n, v->fixed * sizeof *t->fixed));
    DNS_TRY(dns_alloc(&t->regions, 2 * half, sizeof *t->regions));
    DNS_TRY(dns_alloc(&t->dregions, 2 * half, sizeof *t->dregions));
    if (t->o->cluster > 1)
        DNS_TRY(find_neighbours(t));
out:
    return status;
}

/* The run at hand, from the weights as they are. */
static dns_status train_once(struct training *t)
{
    const dns_tail_training_options *o = t->o;
    dns_status status = DNS_OK;
    char what[256], *path = NULL;
    dns_trainer_report report;
    dns_adam adam = DNS_ADAM_INIT;
    adam.weight_decay = o->weight_decay;
    describe(what, sizeof what, t);
    if (o->checkpoint != NULL && t->run > 0)
        DNS_TRY(dns_string_format(&path, "%s.%zu", o->checkpoint, t->run));
    const dns_progress progress = {t, on_progress};
    const dns_trainer_task task = {.parameters = dns_backbone_tail_parameters(t->net),
                                   .payload = t,
                                   .step = train_step,
                                   .description = what};
    const dns_trainer_options how = {.steps = o->steps,
                                     .adam = adam,
                                     .schedule = {.shape = DNS_SCHEDULE_COSINE,
                                                  .peak = o->rate,
                                                  .warm_up = o->warm_up,
                                                  .last = 0},
                                     .checkpoint = path != NULL ? path : o->checkpoint,
                                     .checkpoint_every = o->checkpoint_every,
                                     .progress = &progress,
                                     .cancel = o->cancel,
                                     .payload = t,
                                     .report = on_step};
    DNS_TRY(dns_trainer_run(&report, &task, &how, t->pool));
out:
    dns_free(path);
    return status;
}

/* What single runs learn is partly common to all and partly their own. The mean keeps the common
 * part, and as that is shorter than each, the way from the start is made longer again. */
static dns_status train_runs(struct training *t)
{
    dns_status status = DNS_OK;
    const dns_parameters *p = dns_backbone_tail_parameters(t->net);
    size_t n = dns_parameters_size(p);
    float *weights = dns_parameters_block(p, DNS_WEIGHTS), *start = NULL;
    double *sum = NULL;
    DNS_TRY(dns_alloc(&start, n, sizeof *start));
    DNS_TRY(dns_alloc(&sum, n, sizeof *sum));
    memcpy(start, weights, n * sizeof *start);
    for (t->run = 0; t->run < t->o->runs; t->run++) {
        memcpy(weights, start, n * sizeof *weights);
        memset(dns_parameters_block(p, DNS_MOMENT_1), 0, n * sizeof *weights);
        memset(dns_parameters_block(p, DNS_MOMENT_2), 0, n * sizeof *weights);
        DNS_TRY(train_once(t));
        for (size_t i = 0; i < n; i++)
            sum[i] += (double)weights[i];
    }
    for (size_t i = 0; i < n; i++)
        weights[i] = (float)((double)start[i] +
                             t->o->stride * (sum[i] / (double)t->o->runs - (double)start[i]));
out:
    dns_free(start);
    dns_free(sum);
    return status;
}

dns_status dns_tail_train(dns_backbone_tail *net, const dns_tail_views *views,
                          const dns_tail_training_options *options, dns_pool *pool)
{
    struct training t = {
        .net = net, .views = views, .o = options, .pool = pool, .out = dns_backbone_tail_out(net)};
    dns_status status = open_training(&t);
    if (status == DNS_OK)
        status = train_runs(&t);
    dns_free(t.neighbours);
    dns_free(t.pictures);
    dns_free(t.trunk);
    dns_free(t.fixed);
    dns_free(t.regions);
    dns_free(t.dregions);
    return status;
}

dns_status dns_tail_fit_whitening(dns_whitening **out, dns_backbone_tail *net,
                                  const dns_tail_views *v, size_t out_dim, dns_pool *pool)
{
    dns_status status = DNS_OK;
    size_t joined = dns_backbone_tail_joined(net), n = v->n_pictures * v->n_views;
    dns_whitening_learner *learner = NULL;
    float *trunk = NULL, *fixed = NULL, *regions = NULL, *vectors = NULL;
    *out = NULL;
    DNS_TRY(dns_whitening_learner_create(&learner, joined));
    DNS_TRY(dns_alloc(&trunk, EMBED_BATCH, v->trunk * sizeof *trunk));
    DNS_TRY(dns_alloc(&fixed, EMBED_BATCH, v->fixed * sizeof *fixed));
    DNS_TRY(dns_alloc(&regions, EMBED_BATCH * DNS_TAIL_REGIONS,
                      dns_backbone_tail_out(net) * sizeof *regions));
    DNS_TRY(dns_alloc(&vectors, EMBED_BATCH * DNS_TAIL_REGIONS, joined * sizeof *vectors));
    for (size_t first = 0; first < n; first += EMBED_BATCH) {
        size_t here = n - first < EMBED_BATCH ? n - first : EMBED_BATCH;
        for (size_t i = 0; i < here; i++)
            dns_tail_views_read(trunk + i * v->trunk, fixed + i * v->fixed, v,
                                (first + i) / v->n_views, (first + i) % v->n_views);
        const dns_tail_batch batch = {trunk, fixed, here};
        DNS_TRY(dns_backbone_tail_forward(net, regions, vectors, &batch, pool));
        DNS_TRY(dns_whitening_learner_add(learner, vectors, here * DNS_TAIL_REGIONS));
    }
    DNS_TRY(dns_whitening_learner_solve(out, learner, out_dim));
out:
    dns_whitening_learner_free(learner);
    dns_free(trunk);
    dns_free(fixed);
    dns_free(regions);
    dns_free(vectors);
    return status;
}
