/* Which coarse network did best on folds that it was not trained on. */
#include <stdio.h>

#include "dnsel/coarse_learning.h"
#include "dnsel/memory.h"

enum { ROUNDS = 2000 };

const char *dns_coarse_candidate_name(dns_coarse_candidate candidate)
{
    static const char *const names[DNS_COARSE_CANDIDATES] = {"mean", "contrast", "published"};
    return names[candidate];
}

dns_status dns_coarse_plain_mean(dns_coarse **out, size_t dim)
{
    const dns_coarse_shape shape = {.kind = DNS_COARSE_MEAN, .dim = dim, .out = dim};
    return dns_coarse_create(out, &shape, false);
}

dns_status dns_trial_coarse_scores(float *scores, const dns_trial *trial, const dns_coarse *net,
                                   dns_pool *pool)
{
    dns_status status = DNS_OK;
    size_t n = trial->queries.n, m = trial->database.n, dim = dns_coarse_shape_of(net)->out;
    float *queries = NULL, *database = NULL;
    DNS_TRY(dns_alloc(&queries, n, dim * sizeof *queries));
    DNS_TRY(dns_alloc(&database, m, dim * sizeof *database));
    DNS_TRY(dns_clip_embed(queries, dns_trial_queries(trial), net, pool));
    DNS_TRY(dns_clip_embed(database, dns_trial_database(trial), net, pool));
    DNS_TRY(dns_clip_coarse_scores(scores, queries, n, database, m, dim));
out:
    dns_free(queries);
    dns_free(database);
    return status;
}

struct choosing {
    const dns_training_set *set;
    const dns_coarse_choice_options *o;
    dns_pool *pool;
    dns_trial trial;                   /* of the fold in hand */
    double *ap[DNS_COARSE_CANDIDATES]; /* of the queries of all folds so far */
    size_t capacity, n;                /* queries of the folds before */
    size_t n_done;
};

/* Adds `share` of the average precisions of a network to the candidate's. */
static dns_status measure(struct choosing *c, dns_coarse_candidate candidate, const dns_coarse *net,
                          double share)
{
    dns_status status = DNS_OK;
    float *scores = NULL;
    double *ap = NULL, mean;
    DNS_TRY(dns_alloc(&scores, c->trial.queries.n, c->trial.database.n * sizeof *scores));
    DNS_TRY(dns_alloc(&ap, c->trial.queries.n, sizeof *ap));
    DNS_TRY(dns_trial_coarse_scores(scores, &c->trial, net, c->pool));
    DNS_TRY(dns_trial_precision(&mean, ap, &c->trial, scores));
    for (size_t i = 0; i < c->trial.queries.n; i++)
        c->ap[candidate][c->n + i] += share * ap[i];
out:
    dns_free(scores);
    dns_free(ap);
    return status;
}

static dns_status try_recipe(struct choosing *c, size_t recipe, size_t fold, size_t seed)
{
    dns_status status = DNS_OK;
    dns_coarse_learning_options o = c->o->recipes[recipe];
    dns_coarse *net = NULL;
    char *checkpoint = NULL;
    o.sampler.held_out = fold;
    o.sampler.seed += seed;
    if (o.checkpoint != NULL)
        DNS_TRY(dns_string_format(&checkpoint, "%s.%s.%zu.%zu", o.checkpoint,
                                  dns_coarse_candidate_name((dns_coarse_candidate)(recipe + 1)),
                                  fold, seed));
    o.checkpoint = checkpoint;
    DNS_TRY(dns_coarse_learn(&net, c->set, &o, c->pool));
    DNS_TRY(measure(c, (dns_coarse_candidate)(recipe + 1), net, 1 / (double)c->o->n_seeds));
    c->n_done++;
    if (c->o->progress != NULL && c->o->progress->report != NULL)
        c->o->progress->report(c->o->progress->payload, c->n_done,
                               c->o->n_folds * c->o->n_seeds *
                                   ((c->o->recipes[0].steps > 0) + (c->o->recipes[1].steps > 0)),
                               "trainings");
out:
    dns_coarse_free(net);
    dns_free(checkpoint);
    return status;
}

static dns_status try_fold(struct choosing *c, size_t fold)
{
    dns_status status = DNS_OK;
    dns_trial_options o = c->o->trial;
    dns_coarse *mean = NULL;
    o.fold = fold;
    DNS_TRY(dns_trial_create(&c->trial, c->set, &o));
    size_t needed = c->n + c->trial.queries.n, capacity = c->capacity;
    for (int k = 0; k < DNS_COARSE_CANDIDATES; k++) {
        c->capacity = capacity;
        DNS_TRY(dns_reserve(&c->ap[k], &c->capacity, needed, sizeof *c->ap[k]));
    }
    DNS_TRY(dns_coarse_plain_mean(&mean, dns_training_set_dim(c->set)));
    DNS_TRY(measure(c, DNS_COARSE_PLAIN_MEAN, mean, 1));
    for (size_t recipe = 0; recipe < 2; recipe++)
        for (size_t seed = 0; c->o->recipes[recipe].steps > 0 && seed < c->o->n_seeds; seed++)
            DNS_TRY(try_recipe(c, recipe, fold, seed));
    c->n = needed;
out:
    dns_coarse_free(mean);
    dns_trial_free(&c->trial);
    return status;
}

static dns_status decide(dns_coarse_choice *out, struct choosing *c)
{
    dns_status status = DNS_OK;
    double *gain = NULL;
    out->n_queries = c->n;
    DNS_TRY(dns_alloc(&gain, c->n, sizeof *gain));
    for (int k = 0; k < DNS_COARSE_CANDIDATES; k++) {
        out->tried[k] = k == DNS_COARSE_PLAIN_MEAN || c->o->recipes[k - 1].steps > 0;
        if (!out->tried[k])
            continue;
        for (size_t i = 0; i < c->n; i++) {
            out->map[k] += c->ap[k][i] / (double)c->n;
            gain[i] = c->ap[k][i] - c->ap[DNS_COARSE_PLAIN_MEAN][i];
        }
        DNS_TRY(dns_bootstrap_mean(&out->gain[k], gain, c->n, ROUNDS, 1));
        if (out->map[k] > out->map[out->best] && out->gain[k].low > 0)
            out->best = (dns_coarse_candidate)k;
    }
out:
    dns_free(gain);
    return status;
}

dns_status dns_coarse_choose(dns_coarse_choice *out, const dns_training_set *set,
                             const dns_coarse_choice_options *options, dns_pool *pool)
{
    dns_status status = DNS_OK;
    struct choosing c = {.set = set, .o = options, .pool = pool};
    *out = (dns_coarse_choice){0};
    if (options->n_folds == 0 || options->n_folds > dns_training_set_n_folds(set) ||
        options->n_seeds == 0)
        DNS_FAIL(DNS_ERR_ARG, "%zu folds with %zu seeds each, the set has %zu folds",
                 options->n_folds, options->n_seeds, dns_training_set_n_folds(set));
    for (size_t fold = 0; fold < options->n_folds; fold++)
        DNS_TRY(try_fold(&c, fold));
    DNS_TRY(decide(out, &c));
out:
    for (int k = 0; k < DNS_COARSE_CANDIDATES; k++)
        dns_free(c.ap[k]);
    return status;
}
