#include <stdio.h>
#include <string.h>

#include "train_commands.h"
#include "data_and_model.h"
#include "dnsel/coarse_learning.h"
#include "dnsel/memory.h"
#include "json_text.h"
#include "section_weights.h"
#include "terminal.h"

enum recipe { CONTRAST, PUBLISHED, BOTH, MEAN };

struct settings {
    const char *data, *model, *checkpoint, *log_file;
    int recipe, progress;
    size_t folds, seeds, queries, steps, batch, published_steps, published_batch, out, feed_forward,
        clusters, jobs;
    double rate, published_rate, tau, share, pull;
    uint64_t seed;
    bool always;
};

struct work {
    const dns_invocation *invocation;
    const struct settings *s;
    dns_pool *pool;
    dns_cancel *cancel;
    dns_terminal terminal;
    dns_progress progress;
    dns_data_and_model in;
    dns_visil *teacher;
    const char *teacher_name;
    dns_coarse_learning_options recipes[2];
    dns_coarse_choice choice;
    FILE *log;
};

static void on_step(void *payload, const dns_curve_point *point)
{
    FILE *log = payload;
    fprintf(log, "{\"step\":%zu,\"loss\":%.6g,\"gradient_norm\":%.6g}\n", point->step, point->loss,
            point->gradient_norm);
}

static void set_recipes(struct work *w)
{
    const struct settings *s = w->s;
    for (int k = 0; k < 2; k++) {
        dns_coarse_learning_options *o = &w->recipes[k];
        *o = dns_coarse_learning_options_default((dns_coarse_recipe)k);
        o->teacher =
            (dns_fine_comparison){.net = w->teacher, .rule = dns_model_similarity(w->in.model)};
        o->sampler.seed = s->seed;
        o->checkpoint = s->checkpoint;
        o->cancel = w->cancel;
        o->payload = w->log;
        o->report = w->log != NULL ? on_step : NULL;
    }
    dns_coarse_learning_options *contrast = &w->recipes[0], *published = &w->recipes[1];
    contrast->steps = s->recipe == CONTRAST || s->recipe == BOTH ? s->steps : 0;
    contrast->sampler.batch = dns_sampler_fitting_batch(w->in.set, s->batch);
    contrast->rate = s->rate;
    contrast->tau = s->tau;
    contrast->share = s->share;
    contrast->pull = s->pull;
    published->steps = s->recipe == PUBLISHED || s->recipe == BOTH ? s->published_steps : 0;
    published->sampler.batch = dns_sampler_fitting_batch(w->in.set, s->published_batch);
    published->rate = s->published_rate;
    published->shape.out = s->out;
    published->shape.feed_forward = s->feed_forward;
    published->shape.n_clusters = s->clusters;
}

static dns_status choose(struct work *w)
{
    dns_coarse_choice_options o = {.n_folds = w->s->folds > 0 ? w->s->folds
                                                              : dns_training_set_n_folds(w->in.set),
                                   .n_seeds = w->s->seeds,
                                   .trial = dns_trial_options_default(),
                                   .progress = &w->progress};
    memcpy(o.recipes, w->recipes, sizeof o.recipes);
    o.trial.per_video = w->s->queries;
    dns_status status = dns_coarse_choose(&w->choice, w->in.set, &o, w->pool);
    dns_terminal_close(&w->terminal);
    if (status != DNS_OK)
        return status;
    const dns_coarse_choice *c = &w->choice;
    for (int k = 0; k < DNS_COARSE_CANDIDATES && !w->invocation->quiet; k++)
        if (c->tried[k])
            printf("%-10s mAP %.4f, against the mean %+.4f [%+.4f, %+.4f]\n",
                   dns_coarse_candidate_name((dns_coarse_candidate)k), c->map[k], c->gain[k].mean,
                   c->gain[k].low, c->gain[k].high);
    if (w->s->always && c->best == DNS_COARSE_PLAIN_MEAN && w->s->recipe != MEAN)
        w->choice.best =
            w->s->recipe == PUBLISHED ? DNS_COARSE_LEARNT_AS_PUBLISHED : DNS_COARSE_LEARNT;
    return DNS_OK;
}

static void put_recipe(dns_json_writer *j, const struct work *w)
{
    const dns_coarse_learning_options *o = &w->recipes[w->choice.best - 1];
    dns_json_put_integer(j, "steps", (int64_t)o->steps);
    dns_json_put_integer(j, "batch", (int64_t)o->sampler.batch);
    dns_json_put_number(j, "rate", o->rate, 6);
    dns_json_put_string(j, "teacher", w->teacher_name);
    if (w->choice.best == DNS_COARSE_LEARNT) {
        dns_json_put_number(j, "tau", o->tau, 6);
        dns_json_put_number(j, "share", o->share, 6);
        dns_json_put_number(j, "pull", o->pull, 6);
    }
}

/* The section without its weights, with what was tried and what came of it. */
static dns_status describe(dns_json_text *text, const struct work *w)
{
    const dns_coarse_choice *c = &w->choice;
    dns_status status = dns_json_text_open(text);
    if (status != DNS_OK)
        return status;
    dns_json_writer *j = &text->writer;
    dns_json_begin_object(j, NULL);
    if (c->best == DNS_COARSE_LEARNT_AS_PUBLISHED) {
        dns_json_put_string(j, "kind", "published");
        dns_json_put_integer(j, "heads", (int64_t)w->recipes[1].shape.n_heads);
    } else {
        dns_json_put_string(j, "kind", "mean");
        dns_json_put_integer(j, "dim", (int64_t)dns_training_set_dim(w->in.set));
    }
    dns_json_begin_object(j, "provenance");
    dns_json_put_string(j, "command", "dns-train coarse");
    dns_json_put_string(j, "kept", dns_coarse_candidate_name(c->best));
    dns_json_put_integer(j, "seed", (int64_t)w->s->seed);
    dns_json_put_integer(j, "seeds", (int64_t)w->s->seeds);
    dns_json_put_integer(j, "queries", (int64_t)c->n_queries);
    if (c->best != DNS_COARSE_PLAIN_MEAN)
        put_recipe(j, w);
    dns_json_begin_object(j, "held_out_mAP");
    for (int k = 0; k < DNS_COARSE_CANDIDATES; k++)
        if (c->tried[k])
            dns_json_put_number(j, dns_coarse_candidate_name((dns_coarse_candidate)k), c->map[k],
                                4);
    dns_json_end_object(j);
    dns_json_end_object(j);
    dns_json_end_object(j);
    return dns_json_text_finish(text);
}

/* What won is learnt once more from all folds. */
static dns_status learn_and_save(struct work *w)
{
    dns_status status = DNS_OK;
    dns_coarse *net = NULL;
    dns_section_weights weights = {0};
    dns_json_text text = {0};
    char *checkpoint = NULL;
    DNS_TRY(describe(&text, w));
    if (w->choice.best != DNS_COARSE_PLAIN_MEAN) {
        dns_coarse_learning_options o = w->recipes[w->choice.best - 1];
        o.sampler.held_out = DNS_NO_FOLD;
        o.progress = &w->progress;
        if (o.checkpoint != NULL)
            DNS_TRY(dns_string_format(&checkpoint, "%s.%s.all", o.checkpoint,
                                      dns_coarse_candidate_name(w->choice.best)));
        o.checkpoint = checkpoint;
        DNS_TRY(dns_coarse_learn(&net, w->in.set, &o, w->pool));
        DNS_TRY(dns_section_weights_of(&weights, dns_coarse_parameters(net), DNS_F16));
    }
    /* What reads coarse scores belongs to the network before. */
    const dns_model_edit edits[] = {
        {"coarse", text.data, net != NULL ? weights.tensors : NULL, weights.n},
        {"selector", NULL, NULL, 0},
        {"router", NULL, NULL, 0},
        {"calibration", NULL, NULL, 0}};
    DNS_TRY(dns_model_edit_apply(w->s->model, edits, sizeof edits / sizeof edits[0]));
out:
    dns_section_weights_free(&weights);
    dns_coarse_free(net);
    dns_json_text_free(&text);
    dns_free(checkpoint);
    return status;
}

static int run(const dns_invocation *invocation)
{
    struct work w = {.invocation = invocation, .s = invocation->settings};
    dns_status status = DNS_OK;
    double start = dns_seconds();
    w.cancel = dns_interrupt_catch();
    w.terminal = dns_terminal_open((dns_progress_style)w.s->progress, invocation->quiet);
    w.progress = dns_terminal_progress(&w.terminal);
    DNS_TRY(dns_data_and_model_open(&w.in, w.s->data, w.s->model));
    DNS_TRY(dns_model_fine_network(&w.teacher, &w.teacher_name, w.in.model));
    DNS_TRY(dns_pool_create(&w.pool, w.s->jobs));
    if (w.s->log_file != NULL && (w.log = fopen(w.s->log_file, "wbe")) == NULL) {
        status = dns_status_set_errno("%s", w.s->log_file);
        goto out;
    }
    set_recipes(&w);
    DNS_TRY(choose(&w));
    DNS_TRY(learn_and_save(&w));
    dns_terminal_close(&w.terminal);
    if (!invocation->quiet)
        printf("%s: coarse network '%s', %.0f s\n", w.s->model,
               dns_coarse_candidate_name(w.choice.best), dns_seconds() - start);
out:
    dns_terminal_close(&w.terminal);
    int code = status == DNS_OK ? DNS_EXIT_OK : dns_fail(invocation, status);
    if (w.log != NULL)
        fclose(w.log);
    dns_visil_free(w.teacher);
    dns_data_and_model_close(&w.in);
    dns_pool_free(w.pool);
    return code;
}

static const struct settings defaults = {.seeds = 1,
                                         .steps = 200,
                                         .batch = 48,
                                         .rate = 2e-4,
                                         .tau = 0.1,
                                         .share = 0.3,
                                         .pull = 0.1,
                                         .published_steps = 1000,
                                         .published_batch = 32,
                                         .published_rate = 1e-5,
                                         .out = 1024,
                                         .feed_forward = 2048,
                                         .clusters = 64,
                                         .seed = 1};
#define AT(field) offsetof(struct settings, field)
#define COUNT(text, field, low, high, what)                                                      \
    {                                                                                            \
        .name = text, .kind = DNS_OPTION_COUNT, .offset = AT(field), .value = "N", .help = what, \
        .minimum = low, .maximum = high                                                          \
    }
#define NUMBER(text, field, what)                                                                \
    {                                                                                            \
        .name = text, .kind = DNS_OPTION_NUMBER, .offset = AT(field), .value = "X", .help = what \
    }
static const dns_option options[] = {
    {.name = "data",
     .kind = DNS_OPTION_STRING,
     .offset = AT(data),
     .value = "DATA",
     .help = "training set of dns-train prepare"},
    {.name = "model",
     .letter = 'm',
     .kind = DNS_OPTION_STRING,
     .offset = AT(model),
     .value = "MODEL",
     .help = "model directory that made the features and gets the network"},
    {.name = "recipe",
     .kind = DNS_OPTION_CHOICE,
     .offset = AT(recipe),
     .choices = "contrast|published|both|mean",
     .help = "what is tried beside the plain mean vector"},
    {.name = "always",
     .kind = DNS_OPTION_FLAG,
     .offset = AT(always),
     .help = "keep the learnt network even where the mean vector is better"},
    COUNT("folds", folds, 0, 64, "folds that are held out; 0: all of the set"),
    COUNT("seeds", seeds, 1, 100, "trainings a fold"),
    COUNT("queries", queries, 0, 1000, "queries of a video, drawn from all; 0: all"),
    COUNT("steps", steps, 1, 1e7, "steps of the contrast"),
    COUNT("batch", batch, 2, 4096, "scenes a step of the contrast"),
    NUMBER("rate", rate, "peak learning rate of the contrast"),
    NUMBER("tau", tau, "temperature of the contrast"),
    NUMBER("share", share, "part of the fine network's opinion in what is aimed at, 0 to 1"),
    NUMBER("pull", pull, "weight of the distance from the mean vector in the loss"),
    COUNT("published-steps", published_steps, 1, 1e8, "steps of the published recipe"),
    COUNT("published-batch", published_batch, 1, 4096, "triplets a step of the published recipe"),
    NUMBER("published-rate", published_rate, "learning rate of the published recipe"),
    COUNT("out", out, 8, 65536, "values of a published coarse vector"),
    COUNT("feed-forward", feed_forward, 1, 65536, "width of the published encoder's hidden layer"),
    COUNT("clusters", clusters, 1, 4096, "clusters of the published NetVLAD"),
    {.name = "seed",
     .kind = DNS_OPTION_SEED,
     .offset = AT(seed),
     .value = "N",
     .help = "seed of everything drawn"},
    {.name = "checkpoint",
     .kind = DNS_OPTION_STRING,
     .offset = AT(checkpoint),
     .value = "FILE",
     .help = "beginning of the names of checkpoints, kept while training; found there, training "
             "goes on from them with the same result"},
    {.name = "log",
     .kind = DNS_OPTION_STRING,
     .offset = AT(log_file),
     .value = "FILE",
     .help = "loss of every step, one JSON object a line"},
    {.name = "jobs",
     .letter = 'j',
     .kind = DNS_OPTION_COUNT,
     .offset = AT(jobs),
     .value = "N",
     .help = "threads; 0 is one a processor; the result is the same",
     .maximum = 256},
    {.name = "progress",
     .kind = DNS_OPTION_CHOICE,
     .offset = AT(progress),
     .choices = DNS_PROGRESS_CHOICES,
     .help = "how progress is shown on standard error"},
    {0},
};
const dns_command dns_train_coarse = {
    .name = "coarse",
    .synopsis = "",
    .summary = "train the network of coarse vectors, where that is better than the mean vector",
    .description =
        "Two recipes. Contrast: a matrix behind the mean vector that starts as the identity, "
        "trained so that a copy is nearer to its original than to near neighbours, with part of "
        "the aim taken from the model's fine network. Published: attention, encoder and NetVLAD "
        "learn the fine network's scores from triplets. Each fold of the set is held out in turn; "
        "what finds its edited copies best, the plain mean vector included, is learnt once more "
        "from all folds and becomes the model's coarse network. Selector, router and calibration "
        "of the model are removed, for they belong to the network before.",
    .examples = "dns-train coarse --data my-data --model my-model\n"
                "dns-train coarse --data my-data --model my-model --recipe both --seeds 3\n",
    .options = options,
    .settings_size = sizeof(struct settings),
    .defaults = &defaults,
    .run = run,
};
