#include "dnsel/coarse_learning.h"

#include <stdio.h>
#include <string.h>

#include "dnsel/cross_entropy.h"
#include "dnsel/gemm.h"
#include "dnsel/losses.h"
#include "dnsel/memory.h"
#include "dnsel/projection.h"
#include "dnsel/trainer.h"

dns_coarse_learning_options dns_coarse_learning_options_default(dns_coarse_recipe recipe)
{
    dns_coarse_learning_options o = {.recipe = recipe,
                                     .steps = 200,
                                     .rate = 2e-4,
                                     .sampler = dns_sampler_options_default(),
                                     .teacher = {.rule = {DNS_DIRECTION_MAX, DNS_REGIONS_SAME}},
                                     .tau = 0.1,
                                     .teacher_tau = 0.1,
                                     .share = 0.3,
                                     .pull = 0.1,
                                     .checkpoint_every = 50};
    o.sampler.batch = 48;
    o.sampler.seed = 1;
    if (recipe == DNS_COARSE_DISTILLED) {
        o.steps = 1000;
        o.rate = 1e-5;
        o.sampler.batch = 32;
        o.sampler.max_frames = 64;
        o.shape = (dns_coarse_shape){
            .out = 1024, .hidden = 512, .n_heads = 8, .feed_forward = 2048, .n_clusters = 64};
        o.dropout = 0.1;
    }
    return o;
}

/* One learning. Arrays belong to the batch in hand and grow with it. */
struct learning {
    const dns_training_set *set;
    const dns_coarse_learning_options *o;
    dns_pool *pool;
    dns_sampler *sampler;
    dns_sample sample;
    dns_coarse *net;
    dns_coarse_trainer *trainer;
    size_t out;
    float *x; /* of all clips of the sample */
    dns_coarse_video *videos;
    float *embeddings, *dembeddings; /* [clips, out] */
    float *scores, *dscores, *taught;
    dns_coarse_pair *pairs;
    size_t x_capacity, videos_capacity, embedding_capacity, dembedding_capacity, score_capacity,
        dscore_capacity, taught_capacity, pair_capacity;
};

/* ---- what both recipes share ---- */

/* Reads the sample and embeds it. */
static dns_status embed(struct learning *l, const dns_dropout *dropout)
{
    dns_status status = DNS_OK;
    const dns_clips *clips = &l->sample.clips;
    size_t values = dns_training_set_n_regions(l->set) * dns_training_set_dim(l->set), first = 0,
           n = clips->n * l->out;
    DNS_TRY(dns_reserve(&l->x, &l->x_capacity, clips->n_all * values, sizeof *l->x));
    DNS_TRY(dns_reserve(&l->videos, &l->videos_capacity, clips->n, sizeof *l->videos));
    DNS_TRY(dns_reserve(&l->embeddings, &l->embedding_capacity, n, sizeof *l->embeddings));
    DNS_TRY(dns_reserve(&l->dembeddings, &l->dembedding_capacity, n, sizeof *l->dembeddings));
    DNS_TRY(dns_clips_read(l->x, l->set, clips, l->pool));
    for (size_t i = 0; i < clips->n; i++) {
        l->videos[i] = (dns_coarse_video){l->x + first * values, clips->n_frames[i]};
        first += clips->n_frames[i];
    }
    memset(l->dembeddings, 0, n * sizeof *l->dembeddings);
    const dns_coarse_batch batch = {l->videos, clips->n, dns_training_set_n_regions(l->set),
                                    dropout};
    DNS_TRY(dns_coarse_forward(l->trainer, l->embeddings, &batch));
out:
    return status;
}

static dns_status go_back(struct learning *l, const dns_dropout *dropout)
{
    const dns_coarse_batch batch = {l->videos, l->sample.clips.n,
                                    dns_training_set_n_regions(l->set), dropout};
    return dns_coarse_backward(l->trainer, &batch, l->dembeddings);
}

static dns_status make_room_for_scores(struct learning *l, size_t n)
{
    dns_status status = DNS_OK;
    DNS_TRY(dns_reserve(&l->scores, &l->score_capacity, n, sizeof *l->scores));
    DNS_TRY(dns_reserve(&l->dscores, &l->dscore_capacity, n, sizeof *l->dscores));
    DNS_TRY(dns_reserve(&l->taught, &l->taught_capacity, n, sizeof *l->taught));
out:
    return status;
}

/* ---- contrast ---- */

/* dQ = dS T, dT = dS^T Q. */
static dns_status scores_back(struct learning *l, size_t n)
{
    dns_status status = DNS_OK;
    const float *queries = l->embeddings, *targets = l->embeddings + n * l->out;
    DNS_TRY(dns_gemm_dense_f32(false, false, n, l->out, n, l->dscores, targets, 0, l->dembeddings));
    DNS_TRY(dns_gemm_dense_f32(true, false, n, l->out, n, l->dscores, queries, 0,
                               l->dembeddings + n * l->out));
out:
    return status;
}

static dns_status contrast_step(void *payload, dns_step_facts *facts, size_t step)
{
    struct learning *l = payload;
    const dns_coarse_learning_options *o = l->o;
    dns_status status = DNS_OK;
    dns_parameters *p = dns_coarse_parameters(l->net);
    const dns_coarse_shape *shape = dns_coarse_shape_of(l->net);
    const dns_distilled_contrast_options how = {o->tau, o->teacher_tau, o->share};
    DNS_TRY(dns_sampler_contrast(&l->sample, l->sampler, step));
    size_t n = l->sample.n;
    const dns_clip_range queries = {l->set, &l->sample.clips, 0, n},
                         targets = {l->set, &l->sample.clips, n, n};
    DNS_TRY(make_room_for_scores(l, n * n));
    DNS_TRY(embed(l, NULL));
    if (o->share > 0)
        DNS_TRY(dns_clip_fine_scores(l->taught, queries, targets, &o->teacher, l->pool, o->cancel));
    DNS_TRY(
        dns_clip_coarse_scores(l->scores, l->embeddings, n, l->embeddings + n * l->out, n, l->out));
    DNS_TRY(dns_distilled_contrast(&facts->loss, l->dscores, l->scores, l->taught, n, &how));
    DNS_TRY(scores_back(l, n));
    DNS_TRY(go_back(l, NULL));
    facts->loss += dns_pull_to_identity(dns_parameters_gradient(p, 0), dns_parameters_weight(p, 0),
                                        shape->out, shape->dim, o->pull);
out:
    return status;
}

/* ---- published ---- */

static dns_status distil_step(void *payload, dns_step_facts *facts, size_t step)
{
    struct learning *l = payload;
    const dns_coarse_learning_options *o = l->o;
    dns_status status = DNS_OK;
    const dns_dropout dropout = {o->dropout, dns_dropout_key(o->sampler.seed, step, 0)};
    DNS_TRY(dns_sampler_triplets(&l->sample, l->sampler, step));
    size_t n = l->sample.n;
    const dns_clip_range clips = {l->set, &l->sample.clips, 0, 3 * n};
    DNS_TRY(make_room_for_scores(l, 2 * n));
    DNS_TRY(dns_reserve(&l->pairs, &l->pair_capacity, 2 * n, sizeof *l->pairs));
    for (size_t i = 0; i < 2 * n; i++)
        l->pairs[i] = (dns_coarse_pair){i % n, n + i};
    DNS_TRY(embed(l, &dropout));
    DNS_TRY(dns_clip_pair_scores(l->taught, clips, l->pairs, 2 * n, &o->teacher, l->pool));
    for (size_t i = 0; i < 2 * n; i++)
        l->taught[i] = l->taught[i] / 2 + 0.5f;
    dns_coarse_scores(l->scores, l->embeddings, l->out, l->pairs, 2 * n);
    facts->loss = dns_loss_l1(l->dscores, l->scores, l->taught, 2 * n);
    dns_coarse_scores_backward(l->dembeddings, l->dscores, l->embeddings, l->out, l->pairs, 2 * n);
    DNS_TRY(go_back(l, &dropout));
out:
    return status;
}

/* ---- from the first step to the last ---- */

static dns_status open_learning(struct learning *l)
{
    dns_status status = DNS_OK;
    bool contrast = l->o->recipe == DNS_COARSE_CONTRAST;
    dns_coarse_shape shape = l->o->shape;
    dns_random random = dns_random_stream(l->o->sampler.seed, 0);
    shape.dim = dns_training_set_dim(l->set);
    shape.kind = contrast ? DNS_COARSE_MEAN : DNS_COARSE_PUBLISHED;
    if (contrast) {
        shape.projection = true;
        shape.out = shape.out > 0 ? shape.out : shape.dim;
    }
    l->out = shape.out;
    DNS_TRY(dns_sampler_create(&l->sampler, l->set, &l->o->sampler, l->pool));
    DNS_TRY(dns_coarse_create(&l->net, &shape, true));
    dns_coarse_initialise(l->net, &random);
    DNS_TRY(dns_coarse_trainer_create(&l->trainer, l->net, l->pool));
out:
    return status;
}

static void close_learning(struct learning *l)
{
    dns_sampler_free(l->sampler);
    dns_sample_free(&l->sample);
    dns_coarse_trainer_free(l->trainer);
    dns_coarse_free(l->net);
    dns_free(l->x);
    dns_free(l->videos);
    dns_free(l->embeddings);
    dns_free(l->dembeddings);
    dns_free(l->scores);
    dns_free(l->dscores);
    dns_free(l->taught);
    dns_free(l->pairs);
}

static void describe(char *text, size_t size, const struct learning *l)
{
    const dns_coarse_learning_options *o = l->o;
    snprintf(text, size,
             "coarse recipe %d, batches of %zu, tau %g and %g, share %g, pull %g, seed %llu, fold "
             "%zu, %zu values, %zu videos",
             (int)o->recipe, o->sampler.batch, o->tau, o->teacher_tau, o->share, o->pull,
             (unsigned long long)o->sampler.seed, o->sampler.held_out, l->out,
             dns_sampler_n_videos(l->sampler));
}

dns_status dns_coarse_learn(dns_coarse **out, const dns_training_set *set,
                            const dns_coarse_learning_options *o, dns_pool *pool)
{
    dns_status status = DNS_OK;
    struct learning l = {.set = set, .o = o, .pool = pool};
    bool contrast = o->recipe == DNS_COARSE_CONTRAST;
    dns_trainer_report report;
    char what[256];
    *out = NULL;
    DNS_TRY(open_learning(&l));
    describe(what, sizeof what, &l);
    const dns_trainer_task task = {.parameters = dns_coarse_parameters(l.net),
                                   .payload = &l,
                                   .step = contrast ? contrast_step : distil_step,
                                   .description = what};
    const dns_trainer_options how = {
        .steps = o->steps,
        .adam = DNS_ADAM_INIT,
        .schedule = {.shape = contrast ? DNS_SCHEDULE_COSINE : DNS_SCHEDULE_CONSTANT,
                     .peak = o->rate,
                     .warm_up = contrast ? o->steps / 10 : 0,
                     .last = 0.05},
        .checkpoint = o->checkpoint,
        .checkpoint_every = o->checkpoint_every,
        .progress = o->progress,
        .cancel = o->cancel,
        .payload = o->payload,
        .report = o->report};
    DNS_TRY(dns_trainer_run(&report, &task, &how, pool));
    *out = l.net;
    l.net = NULL;
out:
    close_learning(&l);
    return status;
}
