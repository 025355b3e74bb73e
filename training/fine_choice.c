/* Which network, and which direction of its score, did best on folds that it was not trained on. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "dnsel/fine_learning.h"
#include "dnsel/memory.h"

dns_fine_choice_options dns_fine_choice_options_default(const dns_training_set *set)
{
    return (dns_fine_choice_options){.n_folds = dns_training_set_n_folds(set),
                                     .n_seeds = 1,
                                     .direction = -1,
                                     .trial = dns_trial_options_default()};
}

struct choosing {
    const dns_training_set *set;
    const dns_fine_options *options, *float_options;
    const dns_fine_choice_options *choice;
    dns_pool *pool;
    dns_trial trial;
    float *scores[DNS_DIRECTIONS];
    double *ap;
};

static dns_status measure(double map[DNS_DIRECTIONS], struct choosing *c,
                          const dns_fine_comparison *how)
{
    dns_status status = DNS_OK;
    DNS_TRY(dns_clip_direction_scores(c->scores, dns_trial_queries(&c->trial),
                                      dns_trial_database(&c->trial), how, c->pool,
                                      c->choice->cancel));
    for (int d = 0; d < DNS_DIRECTIONS; d++)
        DNS_TRY(dns_trial_precision(&map[d], c->ap, &c->trial, c->scores[d]));
out:
    return status;
}

static dns_status open_trial(struct choosing *c, size_t fold)
{
    dns_status status = DNS_OK;
    dns_trial_options o = c->choice->trial;
    o.fold = fold;
    DNS_TRY(dns_trial_create(&c->trial, c->set, &o));
    for (int d = 0; d < DNS_DIRECTIONS; d++)
        DNS_TRY(dns_alloc(&c->scores[d], c->trial.queries.n,
                          c->trial.database.n * sizeof *c->scores[d]));
    DNS_TRY(dns_alloc(&c->ap, c->trial.queries.n, sizeof *c->ap));
out:
    return status;
}

static void close_trial(struct choosing *c)
{
    dns_trial_free(&c->trial);
    for (int d = 0; d < DNS_DIRECTIONS; d++) {
        dns_free(c->scores[d]);
        c->scores[d] = NULL;
    }
    dns_free(c->ap);
    c->ap = NULL;
}

/* Files of one of many trainings. */
static dns_status own_file(const char **out, char **text, size_t fold, uint64_t seed)
{
    dns_status status = DNS_OK;
    if (*out != NULL)
        status = dns_string_format(text, "%s.%zu.%llu", *out, fold, (unsigned long long)seed);
    if (*out != NULL && status == DNS_OK)
        *out = *text;
    return status;
}

/* The float network whose comparator a binary one takes, trained on the same folds. */
static dns_status train_float(dns_visil **out, const struct choosing *c,
                              const dns_fine_options *own)
{
    dns_status status = DNS_OK;
    dns_fine_options o = *c->float_options;
    dns_trainer_report report;
    o.sampler.held_out = own->sampler.held_out;
    o.sampler.seed = own->sampler.seed;
    o.trainer.progress = NULL;
    o.trainer.cancel = c->choice->cancel;
    DNS_TRY(dns_fine_start(out, c->set, &o));
    DNS_TRY(dns_fine_train(&report, *out, c->set, &o, c->pool));
out:
    return status;
}

/* What needs no network: regions, or their codes. */
static dns_status measure_plain(dns_fine_figures *f, struct choosing *c, const dns_visil *start)
{
    const dns_parameters *p = dns_visil_parameters(start);
    dns_fine_comparison how = {.rule = c->options->rule};
    if (c->options->kind == DNS_FINE_BINARY) {
        how.codes = dns_parameters_weight(p, dns_parameters_find(p, "binarization.W"));
        how.n_bits = c->options->code_bits;
    }
    return measure(f->map[DNS_FINE_PLAIN], c, &how);
}

static dns_status try_one(dns_fine_figures *f, struct choosing *c, size_t fold, uint64_t seed)
{
    dns_status status = DNS_OK;
    dns_fine_options o = *c->options;
    dns_visil *net = NULL, *float_net = NULL;
    char *checkpoint = NULL, *curve = NULL;
    *f = (dns_fine_figures){.fold = fold, .seed = seed, .n_queries = c->trial.queries.n};
    o.sampler.held_out = fold;
    o.sampler.seed = seed;
    o.trainer.progress = NULL;
    o.trainer.cancel = c->choice->cancel;
    DNS_TRY(own_file(&o.trainer.checkpoint, &checkpoint, fold, seed));
    DNS_TRY(own_file(&o.trainer.curve, &curve, fold, seed));
    if (o.kind == DNS_FINE_BINARY && c->float_options != NULL) {
        DNS_TRY(train_float(&float_net, c, &o));
        o.float_net = float_net;
    }
    DNS_TRY(dns_fine_start(&net, c->set, &o));
    const dns_fine_comparison how = {.net = net};
    DNS_TRY(measure_plain(f, c, net));
    DNS_TRY(measure(f->map[DNS_FINE_UNTRAINED], c, &how));
    memcpy(f->map[DNS_FINE_TRAINED], f->map[DNS_FINE_UNTRAINED], sizeof f->map[0]);
    if (o.trainer.steps > 0) {
        DNS_TRY(dns_fine_train(&f->training, net, c->set, &o, c->pool));
        DNS_TRY(measure(f->map[DNS_FINE_TRAINED], c, &how));
    }
out:
    dns_free(checkpoint);
    dns_free(curve);
    dns_visil_free(net);
    dns_visil_free(float_net);
    return status;
}

/* The best mean; of equal ones the simpler. */
static void decide(dns_fine_choice *out, const dns_fine_choice_options *choice)
{
    double best = -1;
    for (int k = choice->always ? DNS_FINE_UNTRAINED : DNS_FINE_PLAIN; k < DNS_FINE_CANDIDATES; k++)
        for (int d = 0; d < DNS_DIRECTIONS; d++)
            if ((choice->direction < 0 || choice->direction == d) && out->map[k][d] > best) {
                best = out->map[k][d];
                out->candidate = (dns_fine_candidate)k;
                out->direction = (dns_direction)d;
            }
}

dns_status dns_fine_choose(dns_fine_choice *out, const dns_training_set *set,
                           const dns_fine_options *options, const dns_fine_options *float_options,
                           const dns_fine_choice_options *choice, dns_pool *pool)
{
    dns_status status = DNS_OK;
    struct choosing c = {.set = set,
                         .options = options,
                         .float_options = float_options,
                         .choice = choice,
                         .pool = pool};
    dns_fine_figures f;
    size_t n_all = choice->n_folds * choice->n_seeds;
    *out = (dns_fine_choice){0};
    if (n_all == 0 || choice->n_folds > dns_training_set_n_folds(set))
        DNS_FAIL(DNS_ERR_ARG, "%zu folds with %zu seeds each, the set has %zu folds",
                 choice->n_folds, choice->n_seeds, dns_training_set_n_folds(set));
    for (size_t fold = 0; fold < choice->n_folds; fold++) {
        DNS_TRY(open_trial(&c, fold));
        for (size_t s = 0; s < choice->n_seeds; s++) {
            DNS_TRY(try_one(&f, &c, fold, options->sampler.seed + s));
            for (int k = 0; k < DNS_FINE_CANDIDATES; k++)
                for (int d = 0; d < DNS_DIRECTIONS; d++)
                    out->map[k][d] += f.map[k][d] / (double)n_all;
            out->n_trainings++;
            if (choice->report != NULL)
                choice->report(choice->payload, &f);
            if (choice->progress != NULL)
                choice->progress->report(choice->progress->payload, out->n_trainings, n_all,
                                         "trainings");
        }
        close_trial(&c);
    }
    decide(out, choice);
out:
    close_trial(&c);
    return status;
}
