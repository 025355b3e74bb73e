#include "dnsel/selector_learning.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dnsel/losses.h"
#include "dnsel/memory.h"
#include "dnsel/rank.h"

dns_selector_learning_options dns_selector_learning_options_default(void)
{
    return (dns_selector_learning_options){
        .steps = 200,
        .batch = 64,
        .rate = 1e-3,
        .dropout = 0.5,
        .threshold = 0.2,
        .shape = {.hidden = 512, .channels = {32, 64, 128}, .widths = {100, 100}},
        .seed = 1,
        .checkpoint_every = 50};
}

static float difference(const dns_trial_scores *s, size_t pair)
{
    return fabsf(s->fine[pair] / 2 + 0.5f - s->expected[pair]);
}

dns_status dns_selector_choose_threshold(float *t, const dns_trial_scores *s, const bool *asked,
                                         double share)
{
    dns_status status = DNS_OK;
    size_t m = s->trial->database.n, n = 0;
    float *values = NULL;
    uint32_t *order = NULL;
    DNS_TRY(dns_alloc(&values, s->trial->queries.n, m * sizeof *values));
    DNS_TRY(dns_alloc(&order, s->trial->queries.n, m * sizeof *order));
    for (size_t i = 0; i < s->trial->queries.n; i++)
        for (size_t j = 0; (asked == NULL || asked[i]) && j < m; j++)
            values[n++] = difference(s, i * m + j);
    if (n == 0 || !(share > 0 && share < 1))
        DNS_FAIL(DNS_ERR_ARG, "a share of %g of %zu pairs", share, n);
    DNS_TRY(dns_rank_descending(order, values, n));
    *t = values[order[(size_t)(share * (double)n)]];
out:
    dns_free(values);
    dns_free(order);
    return status;
}

/* ---- learning ---- */

/* Pairs of one query, those labelled 0 first. */
struct labelled {
    size_t query;
    uint32_t *targets; /* [database.n] */
    size_t n_zero;
};

struct learning {
    const dns_trial_scores *s;
    const dns_selector_learning_options *o;
    dns_pool *pool;
    dns_selector *net;
    dns_selector_trainer *trainer;
    struct labelled *queries; /* [n_queries] that have pairs of both labels */
    size_t n_queries;
    uint32_t *targets;
    /* The batch in hand. */
    dns_selector_pair *pairs;
    float *coarse, *labels, *logits, *dlogits; /* [batch] */
    dns_selector_video *videos;                /* [2 batch] */
    float **frames;                            /* [2 batch], read for this batch */
    size_t n_videos;
    size_t *number_of; /* [queries.n + database.n] in the batch, plus 1; 0: not there */
};

static dns_status label_pairs(struct learning *l)
{
    dns_status status = DNS_OK;
    const dns_trial *trial = l->s->trial;
    size_t m = trial->database.n;
    DNS_TRY(dns_alloc(&l->queries, trial->queries.n, sizeof *l->queries));
    DNS_TRY(dns_alloc(&l->targets, trial->queries.n, m * sizeof *l->targets));
    for (size_t i = 0; i < trial->queries.n; i++) {
        struct labelled *q = &l->queries[l->n_queries];
        size_t n_one = 0;
        *q = (struct labelled){.query = i, .targets = l->targets + i * m};
        for (size_t j = 0; j < m; j++)
            if (difference(l->s, i * m + j) > (float)l->o->threshold)
                q->targets[m - ++n_one] = (uint32_t)j;
            else
                q->targets[q->n_zero++] = (uint32_t)j;
        if ((l->o->asked == NULL || l->o->asked[i]) && n_one > 0 && q->n_zero > 0)
            l->n_queries++;
    }
    if (l->n_queries == 0)
        DNS_FAIL(DNS_ERR_ARG, "no query has pairs on both sides of t = %g", l->o->threshold);
out:
    return status;
}

/* The number of a clip in the batch; it is read when it is new. Clips are extended to 4 frames. */
static dns_status take_video(size_t *number, struct learning *l, dns_clip_range clips, size_t clip,
                             size_t slot)
{
    dns_status status = DNS_OK;
    size_t n = clips.clips->n_frames[clip], extended = dns_coarse_extended(n),
           values = dns_training_set_n_regions(clips.set) * dns_training_set_dim(clips.set);
    if (l->number_of[slot] == 0) {
        float *x;
        DNS_TRY(dns_alloc(&x, extended, values * sizeof *x));
        l->frames[l->n_videos] = x;
        dns_clips_read_one(x, clips.set, clips.clips, clip);
        for (size_t i = n; i < extended; i++)
            memcpy(x + i * values, x + (i - n) * values, values * sizeof *x);
        l->videos[l->n_videos++] = (dns_selector_video){x, extended};
        l->number_of[slot] = l->n_videos;
    }
    *number = l->number_of[slot] - 1;
out:
    return status;
}

static dns_status add_pair(struct learning *l, size_t at, const struct labelled *q, bool one,
                           dns_random *random)
{
    dns_status status = DNS_OK;
    const dns_trial *trial = l->s->trial;
    size_t m = trial->database.n;
    size_t j = one ? q->n_zero + dns_random_below(random, m - q->n_zero)
                   : dns_random_below(random, q->n_zero);
    size_t target = q->targets[j];
    DNS_TRY(take_video(&l->pairs[at].query, l, dns_trial_queries(trial), q->query, q->query));
    DNS_TRY(take_video(&l->pairs[at].target, l, dns_trial_database(trial), target,
                       trial->queries.n + target));
    l->coarse[at] = l->s->coarse[q->query * m + target];
    l->labels[at] = one;
out:
    return status;
}

static void forget_batch(struct learning *l)
{
    for (size_t i = 0; i < l->n_videos; i++) {
        dns_free(l->frames[i]);
        l->frames[i] = NULL;
    }
    l->n_videos = 0;
    memset(l->number_of, 0,
           (l->s->trial->queries.n + l->s->trial->database.n) * sizeof *l->number_of);
}

/* Four pairs a query, two of each label. */
static dns_status draw_batch(struct learning *l, size_t step)
{
    dns_status status = DNS_OK;
    dns_random random = dns_random_stream(l->o->seed, step);
    const struct labelled *q = NULL;
    forget_batch(l);
    for (size_t i = 0; i < l->o->batch && status == DNS_OK; i++) {
        if (i % 4 == 0)
            q = &l->queries[dns_random_below(&random, l->n_queries)];
        status = add_pair(l, i, q, i % 2 == 0, &random);
    }
    return status;
}

static dns_status learn_step(void *payload, dns_step_facts *facts, size_t step)
{
    struct learning *l = payload;
    dns_status status = DNS_OK;
    const dns_dropout dropout = {l->o->dropout, dns_dropout_key(l->o->seed, step, 0)};
    DNS_TRY(draw_batch(l, step));
    const dns_selector_batch batch = {.videos = l->videos,
                                      .n_videos = l->n_videos,
                                      .n_regions = dns_training_set_n_regions(l->s->trial->set),
                                      .pairs = l->pairs,
                                      .coarse = l->coarse,
                                      .n_pairs = l->o->batch,
                                      .dropout = l->o->dropout > 0 ? &dropout : NULL};
    DNS_TRY(dns_selector_forward(l->trainer, l->logits, &batch));
    facts->loss = dns_loss_cross_entropy(l->dlogits, l->logits, l->labels, l->o->batch);
    DNS_TRY(dns_selector_backward(l->trainer, &batch, l->dlogits));
out:
    return status;
}

static dns_status open_learning(struct learning *l)
{
    dns_status status = DNS_OK;
    const dns_trial *trial = l->s->trial;
    dns_selector_shape shape = l->o->shape;
    dns_random random = dns_random_stream(l->o->seed, 0);
    size_t n = l->o->batch;
    if (n < 4)
        DNS_FAIL(DNS_ERR_ARG, "batches of %zu pairs, at least 4 are needed", n);
    shape.dim = dns_training_set_dim(trial->set);
    DNS_TRY(label_pairs(l));
    DNS_TRY(dns_selector_create(&l->net, &shape, true));
    dns_selector_initialise(l->net, &random);
    DNS_TRY(dns_selector_trainer_create(&l->trainer, l->net, l->pool));
    DNS_TRY(dns_alloc(&l->pairs, n, sizeof *l->pairs));
    DNS_TRY(dns_alloc(&l->coarse, n, sizeof *l->coarse));
    DNS_TRY(dns_alloc(&l->labels, n, sizeof *l->labels));
    DNS_TRY(dns_alloc(&l->logits, n, sizeof *l->logits));
    DNS_TRY(dns_alloc(&l->dlogits, n, sizeof *l->dlogits));
    DNS_TRY(dns_alloc(&l->videos, 2 * n, sizeof *l->videos));
    DNS_TRY(dns_alloc(&l->frames, 2 * n, sizeof *l->frames));
    DNS_TRY(dns_alloc(&l->number_of, trial->queries.n + trial->database.n, sizeof *l->number_of));
out:
    return status;
}

static void close_learning(struct learning *l)
{
    if (l->number_of != NULL)
        forget_batch(l);
    dns_selector_trainer_free(l->trainer);
    dns_selector_free(l->net);
    dns_free(l->queries);
    dns_free(l->targets);
    dns_free(l->pairs);
    dns_free(l->coarse);
    dns_free(l->labels);
    dns_free(l->logits);
    dns_free(l->dlogits);
    dns_free(l->videos);
    dns_free(l->frames);
    dns_free(l->number_of);
}

dns_status dns_selector_learn(dns_selector **out, const dns_trial_scores *scores,
                              const dns_selector_learning_options *o, dns_pool *pool)
{
    dns_status status = DNS_OK;
    struct learning l = {.s = scores, .o = o, .pool = pool};
    dns_trainer_report report;
    char what[160];
    *out = NULL;
    DNS_TRY(open_learning(&l));
    snprintf(what, sizeof what,
             "selector, batches of %zu, t %.6g, dropout %g, seed %llu, %zu of %zu queries",
             o->batch, o->threshold, o->dropout, (unsigned long long)o->seed, l.n_queries,
             scores->trial->queries.n);
    const dns_trainer_task task = {.parameters = dns_selector_parameters(l.net),
                                   .payload = &l,
                                   .step = learn_step,
                                   .description = what};
    const dns_trainer_options how = {.steps = o->steps,
                                     .adam = DNS_ADAM_INIT,
                                     .schedule = {.shape = DNS_SCHEDULE_COSINE,
                                                  .peak = o->rate,
                                                  .warm_up = o->steps / 10,
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

/* ---- judging ---- */

dns_status dns_selector_judge(float *confidence, const dns_trial_scores *s, const dns_selector *net,
                              dns_pool *pool)
{
    dns_status status = DNS_OK;
    const dns_trial *trial = s->trial;
    dns_selector_session *session = NULL;
    float *queries = NULL, *database = NULL;
    size_t m = trial->database.n;
    DNS_TRY(dns_alloc(&queries, trial->queries.n, sizeof *queries));
    DNS_TRY(dns_alloc(&database, m, sizeof *database));
    DNS_TRY(dns_clip_scalars(queries, dns_trial_queries(trial), net, pool));
    DNS_TRY(dns_clip_scalars(database, dns_trial_database(trial), net, pool));
    DNS_TRY(dns_selector_session_create(&session, net));
    for (size_t i = 0; i < trial->queries.n; i++)
        DNS_TRY(dns_selector_route(session, confidence + i * m, queries[i], database,
                                   s->coarse + i * m, m, pool));
out:
    dns_selector_session_free(session);
    dns_free(queries);
    dns_free(database);
    return status;
}
