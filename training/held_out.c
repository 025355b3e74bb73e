#include "dnsel/held_out.h"

#include <string.h>

#include "dnsel/memory.h"

struct holding {
    const dns_training_set *set;
    const dns_held_out_options *o;
    dns_pool *pool;
    dns_held_out *out;
    size_t fold;
    dns_trial trial; /* of the fold */
};

static dns_status checkpoint_of(char **out, const struct holding *h, const char *what)
{
    *out = NULL;
    return h->o->checkpoint == NULL
               ? DNS_OK
               : dns_string_format(out, "%s.%s.%zu", h->o->checkpoint, what, h->fold);
}

/* *net = a fine network trained without the fold. */
static dns_status train_fine(dns_visil **net, const struct holding *h,
                             const dns_fine_options *options, const dns_visil *float_net,
                             const char *what)
{
    dns_status status = DNS_OK;
    dns_fine_options o = *options;
    dns_trainer_report report;
    char *checkpoint = NULL;
    DNS_TRY(checkpoint_of(&checkpoint, h, what));
    o.sampler.held_out = h->fold;
    o.trainer.checkpoint = checkpoint;
    o.trainer.curve = NULL;
    o.trainer.progress = NULL;
    o.trainer.cancel = h->o->cancel;
    if (float_net != NULL)
        o.float_net = float_net;
    DNS_TRY(dns_fine_start(net, h->set, &o));
    if (o.trainer.steps > 0)
        DNS_TRY(dns_fine_train(&report, *net, h->set, &o, h->pool));
out:
    dns_free(checkpoint);
    return status;
}

/* scores of the fold's trial in the wanted direction. */
static dns_status compare(float *scores, const struct holding *h, const dns_fine_comparison *how)
{
    dns_status status = DNS_OK;
    float *all[DNS_DIRECTIONS] = {NULL};
    size_t n = h->trial.queries.n * h->trial.database.n;
    for (int d = 0; d < DNS_DIRECTIONS; d++)
        DNS_TRY(dns_alloc(&all[d], n, sizeof *all[d]));
    DNS_TRY(dns_clip_direction_scores(all, dns_trial_queries(&h->trial),
                                      dns_trial_database(&h->trial), how, h->pool, h->o->cancel));
    memcpy(scores, all[h->o->direction], n * sizeof *scores);
out:
    for (int d = 0; d < DNS_DIRECTIONS; d++)
        dns_free(all[d]);
    return status;
}

static dns_status fine_scores(float *scores, const struct holding *h)
{
    dns_status status = DNS_OK;
    dns_visil *net = NULL, *float_net = NULL;
    dns_fine_comparison how = h->o->comparison;
    if (h->o->fine != NULL) {
        if (h->o->float_options != NULL)
            DNS_TRY(train_fine(&float_net, h, h->o->float_options, NULL, "float"));
        DNS_TRY(train_fine(&net, h, h->o->fine, float_net, "fine"));
        how = (dns_fine_comparison){.net = net};
    }
    DNS_TRY(compare(scores, h, &how));
out:
    dns_visil_free(net);
    dns_visil_free(float_net);
    return status;
}

static dns_status coarse_scores(float *scores, const struct holding *h)
{
    dns_status status = DNS_OK;
    dns_coarse *net = NULL;
    char *checkpoint = NULL;
    if (h->o->coarse == NULL)
        return dns_trial_coarse_scores(scores, &h->trial, h->o->coarse_net, h->pool);
    dns_coarse_learning_options o = *h->o->coarse;
    DNS_TRY(checkpoint_of(&checkpoint, h, "coarse"));
    o.sampler.held_out = h->fold;
    o.checkpoint = checkpoint;
    o.progress = NULL;
    o.cancel = h->o->cancel;
    DNS_TRY(dns_coarse_learn(&net, h->set, &o, h->pool));
    DNS_TRY(dns_trial_coarse_scores(scores, &h->trial, net, h->pool));
out:
    dns_coarse_free(net);
    dns_free(checkpoint);
    return status;
}

/* Rows of the fold's trial go where the same queries stand in the trial of all: queries of a video
 * do not depend on the folds, and come in the same order. */
static void put_rows(struct holding *h, const float *coarse, const float *fine)
{
    const dns_trial *all = &h->out->trial;
    size_t m = all->database.n, row = 0;
    for (size_t i = 0; i < all->queries.n; i++) {
        if (dns_training_set_video(h->set, all->query_video[i])->fold != h->fold)
            continue;
        memcpy(h->out->coarse + i * m, coarse + row * m, m * sizeof *coarse);
        memcpy(h->out->fine + i * m, fine + row * m, m * sizeof *fine);
        row++;
    }
}

static dns_status hold_out(struct holding *h)
{
    dns_status status = DNS_OK;
    dns_trial_options o = h->o->trial;
    float *coarse = NULL, *fine = NULL;
    o.fold = h->fold;
    DNS_TRY(dns_trial_create(&h->trial, h->set, &o));
    size_t m = h->trial.database.n;
    DNS_TRY(dns_alloc(&coarse, h->trial.queries.n, m * sizeof *coarse));
    DNS_TRY(dns_alloc(&fine, h->trial.queries.n, m * sizeof *fine));
    DNS_TRY(coarse_scores(coarse, h));
    DNS_TRY(fine_scores(fine, h));
    put_rows(h, coarse, fine);
out:
    dns_trial_free(&h->trial);
    dns_free(coarse);
    dns_free(fine);
    return status;
}

dns_status dns_held_out_scores(dns_held_out *out, const dns_training_set *set,
                               const dns_held_out_options *options, dns_pool *pool)
{
    dns_status status = DNS_OK;
    struct holding h = {.set = set, .o = options, .pool = pool, .out = out};
    dns_trial_options o = options->trial;
    size_t n_folds = dns_training_set_n_folds(set);
    *out = (dns_held_out){0};
    o.fold = DNS_NO_FOLD;
    DNS_TRY(dns_trial_create(&out->trial, set, &o));
    size_t n = out->trial.queries.n, m = out->trial.database.n;
    DNS_TRY(dns_alloc(&out->coarse, n, m * sizeof *out->coarse));
    DNS_TRY(dns_alloc(&out->fine, n, m * sizeof *out->fine));
    for (h.fold = 0; h.fold < n_folds; h.fold++) {
        DNS_TRY(hold_out(&h));
        if (options->progress != NULL && options->progress->report != NULL)
            options->progress->report(options->progress->payload, h.fold + 1, n_folds, "folds");
    }
out:
    return status;
}

void dns_held_out_free(dns_held_out *s)
{
    dns_trial_free(&s->trial);
    dns_free(s->coarse);
    dns_free(s->fine);
    *s = (dns_held_out){0};
}
