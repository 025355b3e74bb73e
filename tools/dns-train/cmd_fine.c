/* dns-train teacher, fine-attention, fine-binary: networks that compare videos frame by frame. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "train_commands.h"
#include "data_and_model.h"
#include "dnsel/fine_learning.h"
#include "dnsel/memory.h"
#include "dnsel/model.h"
#include "fine_section.h"
#include "labelled_pairs.h"
#include "step_speed.h"
#include "terminal.h"

struct settings {
    const char *data, *model, *pairs, *checkpoint, *curve;
    size_t steps, batch, frames, folds, seeds, queries, jobs;
    double rate;
    uint64_t seed;
    int recipe, direction, regions, progress;
    double tau;
    bool attention, always, both_ways, codes_alone;
};

struct work {
    const dns_invocation *invocation;
    const struct settings *s;
    dns_fine_kind kind;
    dns_pool *pool;
    dns_cancel *cancel;
    dns_terminal terminal;
    dns_data_and_model both;
    dns_model *model; /* of both */
    dns_training_set *set;
    dns_visil *teacher, *float_net, *net;
    dns_fine_comparison teacher_comparison;
    dns_labelled_pair *pairs;
    size_t n_pairs;
    dns_fine_options options, float_options;
    size_t n_trainings, n_done; /* of folds and seeds */
    double start;               /* of the first */
};

/* ---- what is to be done ---- */

static void choose_rule(struct work *w)
{
    dns_similarity_rule model = dns_model_similarity(w->model);
    bool published = w->options.recipe == DNS_FINE_PUBLISHED;
    if (w->s->regions > 0)
        w->options.rule.regions = (dns_region_step)(w->s->regions - 1);
    else if (!published && w->kind != DNS_FINE_ATTENTION)
        w->options.rule.regions = model.regions;
}

static void set_options(struct work *w)
{
    const struct settings *s = w->s;
    dns_fine_options *o = &w->options;
    *o = dns_fine_options_default(w->kind, (dns_fine_recipe)s->recipe);
    if (s->attention && w->kind != DNS_FINE_BINARY)
        o->gate = true;
    if (s->steps > 0)
        o->trainer.steps = s->steps;
    if (s->batch > 0)
        o->sampler.batch = s->batch;
    o->sampler.batch = dns_sampler_fitting_batch(w->set, o->sampler.batch);
    if (s->frames > 0)
        o->sampler.max_frames = s->frames;
    if (s->rate > 0)
        o->trainer.schedule.peak = s->rate;
    if (s->tau > 0)
        o->tau = s->tau;
    o->both_ways = s->both_ways;
    o->sampler.seed = s->seed;
    o->trainer.checkpoint = s->checkpoint;
    o->trainer.curve = s->curve;
    o->trainer.cancel = w->cancel;
    choose_rule(w);
    o->pairs = w->pairs;
    o->n_pairs = w->n_pairs;
    w->float_options = dns_fine_options_default(DNS_FINE_ATTENTION, DNS_FINE_MEASURED);
    w->float_options.rule = o->rule;
    w->float_options.sampler.batch =
        dns_sampler_fitting_batch(w->set, w->float_options.sampler.batch);
    w->float_options.sampler = o->sampler;
}

/* Networks of the model that this one is learnt from. */
static dns_status open_relatives(struct work *w)
{
    dns_status status = DNS_OK;
    bool measured = w->s->recipe == DNS_FINE_MEASURED;
    if (!measured && w->kind != DNS_FINE_TEACHER && w->pairs == NULL) {
        DNS_TRY(dns_visil_from_model(&w->teacher, w->model, "teacher"));
        w->teacher_comparison.net = w->teacher;
        w->options.teacher = &w->teacher_comparison;
    }
    if (measured && w->kind == DNS_FINE_BINARY &&
        dns_model_section(w->model, "fine_attention") != NULL) {
        DNS_TRY(dns_visil_from_model(&w->float_net, w->model, "fine_attention"));
        w->options.float_net = w->float_net;
    }
out:
    return status;
}

static dns_status open_work(struct work *w)
{
    dns_status status = DNS_OK;
    const struct settings *s = w->s;
    w->cancel = dns_interrupt_catch();
    w->terminal = dns_terminal_open((dns_progress_style)s->progress, w->invocation->quiet);
    DNS_TRY(dns_pool_create(&w->pool, s->jobs));
    DNS_TRY(dns_data_and_model_open(&w->both, s->data, s->model));
    w->set = w->both.set;
    w->model = w->both.model;
    if (s->pairs != NULL)
        DNS_TRY(dns_labelled_pairs_read(&w->pairs, &w->n_pairs, s->pairs, w->set));
    set_options(w);
    DNS_TRY(open_relatives(w));
out:
    return status;
}

static void close_work(struct work *w)
{
    dns_visil_free(w->teacher);
    dns_visil_free(w->float_net);
    dns_visil_free(w->net);
    dns_data_and_model_close(&w->both);
    dns_free(w->pairs);
    dns_pool_free(w->pool);
}

/* ---- what is said ---- */

static void print_row(const char *what, const double map[DNS_DIRECTIONS])
{
    printf("  %-10s", what);
    for (int d = 0; d < DNS_DIRECTIONS; d++)
        printf("  %s %.4f", dns_direction_name((dns_direction)d), map[d]);
    printf("\n");
}

static void on_figures(void *payload, const dns_fine_figures *f)
{
    struct work *w = payload;
    dns_terminal_close(&w->terminal);
    if (w->invocation->quiet)
        return;
    printf("fold %zu, seed %llu, %zu queries, mAP", f->fold, (unsigned long long)f->seed,
           f->n_queries);
    if (f->training.steps > 0)
        printf(" (%zu steps, loss %.3f, %.0f s)", f->training.steps, f->training.loss,
               f->training.seconds);
    printf(":\n");
    for (int k = 0; k < DNS_FINE_CANDIDATES; k++)
        print_row(dns_fine_candidate_name((dns_fine_candidate)k), f->map[k]);
    if (w->n_done++ == 0 && w->n_trainings > 1) {
        char left[32];
        dns_duration_text(left, sizeof left,
                          (dns_seconds() - w->start) * (double)(w->n_trainings - 1));
        printf("%zu more trainings of folds and seeds: about %s\n", w->n_trainings - 1, left);
    }
    fflush(stdout);
}

static void print_choice(const struct work *w, const dns_fine_choice *choice)
{
    if (w->invocation->quiet || choice->n_trainings == 0)
        return;
    printf("mean of %zu trainings:\n", choice->n_trainings);
    for (int k = 0; k < DNS_FINE_CANDIDATES; k++)
        print_row(dns_fine_candidate_name((dns_fine_candidate)k), choice->map[k]);
    printf("kept: %s, direction %s\n", dns_fine_candidate_name(choice->candidate),
           dns_direction_name(choice->direction));
    fflush(stdout);
}

/* ---- the command ---- */

static bool has_copies(const dns_training_set *set)
{
    for (size_t i = 0; i < dns_training_set_n_videos(set); i++)
        if (dns_training_set_video(set, i)->n_views > 1)
            return true;
    return false;
}

static dns_status choose(struct work *w, dns_fine_choice *choice)
{
    dns_fine_choice_options o = dns_fine_choice_options_default(w->set);
    const dns_progress progress = dns_terminal_progress(&w->terminal);
    bool own_direction = w->kind == DNS_FINE_ATTENTION;
    if (w->s->folds > 0)
        o.n_folds = w->s->folds;
    o.n_seeds = w->s->seeds;
    o.direction = w->s->direction > 0 ? w->s->direction - 1
                  : own_direction     ? -1
                                      : (int)dns_model_similarity(w->model).direction;
    o.always = w->s->always || w->kind == DNS_FINE_TEACHER;
    o.trial.per_video = w->s->queries;
    o.trial.seed = w->s->seed;
    o.progress = &progress;
    o.cancel = w->cancel;
    o.payload = w;
    o.report = on_figures;
    if (!has_copies(w->set)) {
        dns_complain(w->invocation,
                     "%s: no edited copies to validate on: the trained network is "
                     "kept unseen",
                     w->s->data);
        *choice = (dns_fine_choice){.candidate = DNS_FINE_TRAINED,
                                    .direction = o.direction >= 0 ? (dns_direction)o.direction
                                                                  : w->options.rule.direction};
        return DNS_OK;
    }
    w->n_trainings = o.n_folds * o.n_seeds;
    w->start = dns_seconds();
    bool from_float = w->kind == DNS_FINE_BINARY && w->s->recipe == DNS_FINE_MEASURED;
    dns_status status = dns_fine_choose(choice, w->set, &w->options,
                                        from_float ? &w->float_options : NULL, &o, w->pool);
    if (w->s->codes_alone && w->kind == DNS_FINE_BINARY)
        choice->candidate = DNS_FINE_PLAIN;
    return status;
}

/* On all folds. */
static dns_status train_finally(struct work *w, const dns_fine_choice *choice,
                                dns_trainer_report *report)
{
    dns_status status = DNS_OK;
    const dns_progress progress = dns_terminal_progress(&w->terminal);
    w->options.trainer.progress = &progress;
    *report = (dns_trainer_report){.loss = NAN};
    DNS_TRY(dns_fine_start(&w->net, w->set, &w->options));
    if (choice->candidate == DNS_FINE_PLAIN && w->kind == DNS_FINE_BINARY) {
        dns_visil *start = w->net;
        status = dns_visil_codes_alone(&w->net, start);
        dns_visil_free(start);
        if (status != DNS_OK)
            goto out;
    }
    if (choice->candidate == DNS_FINE_TRAINED)
        DNS_TRY(dns_fine_train(report, w->net, w->set, &w->options, w->pool));
    dns_terminal_close(&w->terminal);
    if (report->operations > 0 && !w->invocation->quiet)
        dns_step_speed_print(report, w->pool);
out:
    return status;
}

static int run_kind(const dns_invocation *invocation, dns_fine_kind kind)
{
    struct work w = {.invocation = invocation, .s = invocation->settings, .kind = kind};
    dns_status status = DNS_OK;
    dns_fine_choice choice;
    dns_trainer_report report;
    double start = dns_seconds();
    DNS_TRY(open_work(&w));
    DNS_TRY(choose(&w, &choice));
    dns_terminal_close(&w.terminal);
    print_choice(&w, &choice);
    DNS_TRY(train_finally(&w, &choice, &report));
    const dns_fine_section_facts facts = {.set = w.set,
                                          .options = &w.options,
                                          .choice = &choice,
                                          .report = &report,
                                          .n_seeds = w.s->seeds,
                                          .net = w.net};
    DNS_TRY(dns_fine_section_write(w.s->model, &facts));
    if (!invocation->quiet && choice.candidate == DNS_FINE_PLAIN && kind != DNS_FINE_BINARY)
        printf("%s: no %s network is kept; regions are compared directly\n", w.s->model,
               dns_fine_section(kind));
    else if (!invocation->quiet)
        printf("%s: %s, %s, in %.0f s\n", w.s->model, dns_fine_section(kind),
               dns_fine_candidate_name(choice.candidate), dns_seconds() - start);
out:
    dns_terminal_close(&w.terminal);
    int code = status == DNS_OK ? DNS_EXIT_OK : dns_fail(invocation, status);
    close_work(&w);
    return code;
}

static int run_teacher(const dns_invocation *invocation)
{
    return run_kind(invocation, DNS_FINE_TEACHER);
}

static int run_attention(const dns_invocation *invocation)
{
    return run_kind(invocation, DNS_FINE_ATTENTION);
}

static int run_binary(const dns_invocation *invocation)
{
    return run_kind(invocation, DNS_FINE_BINARY);
}

static const struct settings defaults = {.seeds = 1, .seed = 1};
#define AT(field) offsetof(struct settings, field)
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
     .help = "model directory with which the data was prepared; the network is put into it"},
    {.name = "recipe",
     .kind = DNS_OPTION_CHOICE,
     .offset = AT(recipe),
     .choices = "measured|published",
     .help = "measured: what did best on little data; published: as the papers have it"},
    {.name = "steps",
     .kind = DNS_OPTION_COUNT,
     .offset = AT(steps),
     .value = "N",
     .help = "training steps; 0 is the recipe's own number"},
    {.name = "rate",
     .kind = DNS_OPTION_NUMBER,
     .offset = AT(rate),
     .value = "X",
     .help = "peak learning rate; 0 is the recipe's own"},
    {.name = "batch",
     .kind = DNS_OPTION_COUNT,
     .offset = AT(batch),
     .value = "N",
     .help = "scenes, or triplets, a step; 0 is the recipe's own number",
     .maximum = 4096},
    {.name = "frames",
     .kind = DNS_OPTION_COUNT,
     .offset = AT(frames),
     .value = "N",
     .help = "frames of a clip at most; 0 is the recipe's own number",
     .maximum = 4096},
    {.name = "tau",
     .kind = DNS_OPTION_NUMBER,
     .offset = AT(tau),
     .value = "X",
     .help = "temperature of InfoNCE; 0 is the recipe's own"},
    {.name = "both-ways",
     .kind = DNS_OPTION_FLAG,
     .offset = AT(both_ways),
     .help = "InfoNCE over the queries of each target too"},
    {.name = "attention",
     .kind = DNS_OPTION_FLAG,
     .offset = AT(attention),
     .help = "learn weights of regions by the measured recipe too"},
    {.name = "regions",
     .kind = DNS_OPTION_CHOICE,
     .offset = AT(regions),
     .choices = "auto|chamfer|same|symmetric",
     .help = "how regions of two frames are compared; auto: same by the measured recipe, chamfer "
             "by the published one, and what the model says for teacher and binary"},
    {.name = "direction",
     .kind = DNS_OPTION_CHOICE,
     .offset = AT(direction),
     .choices = "auto|query|target|max|symmetric",
     .help = "direction of the video score that is kept; auto: what wins on validation for "
             "fine-attention, what the model says for the others"},
    {.name = "always",
     .kind = DNS_OPTION_FLAG,
     .offset = AT(always),
     .help = "keep a network even when comparing regions without one did better"},
    {.name = "codes-alone",
     .kind = DNS_OPTION_FLAG,
     .offset = AT(codes_alone),
     .help =
         "of a binary network keep the codes, compared without a comparator, whatever did better"},
    {.name = "pairs",
     .kind = DNS_OPTION_STRING,
     .offset = AT(pairs),
     .value = "FILE",
     .help = "labelled pairs for the published recipe: CSV with query, video, similarity and "
             "positive, or a pickle of teacher's similarities as published"},
    {.name = "folds",
     .kind = DNS_OPTION_COUNT,
     .offset = AT(folds),
     .value = "N",
     .help = "folds that are held out in turn; 0 is all"},
    {.name = "seeds",
     .kind = DNS_OPTION_COUNT,
     .offset = AT(seeds),
     .value = "N",
     .help = "trainings of each fold, with seeds that follow each other",
     .minimum = 1,
     .maximum = 100},
    {.name = "queries",
     .kind = DNS_OPTION_COUNT,
     .offset = AT(queries),
     .value = "N",
     .help = "validation queries of a video; 0 is all, about 17"},
    {.name = "seed",
     .kind = DNS_OPTION_SEED,
     .offset = AT(seed),
     .value = "N",
     .help = "seed of everything drawn"},
    {.name = "checkpoint",
     .kind = DNS_OPTION_STRING,
     .offset = AT(checkpoint),
     .value = "FILE",
     .help = "kept while training; found there, training goes on from it with the same result"},
    {.name = "curve",
     .kind = DNS_OPTION_STRING,
     .offset = AT(curve),
     .value = "FILE",
     .help = "loss and rate of every step, one JSON object a line; those of folds get .FOLD.SEED "
             "behind the name"},
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

#define FINE_COMMAND(variable, title, line, text, runner)                                     \
    const dns_command variable = {.name = title,                                              \
                                  .synopsis = "",                                             \
                                  .summary = line,                                            \
                                  .description = text,                                        \
                                  .examples = "  dns-train " title                            \
                                              " --data my-data --model my-model --seeds 3\n", \
                                  .options = options,                                         \
                                  .settings_size = sizeof(struct settings),                   \
                                  .defaults = &defaults,                                      \
                                  .min_operands = 0,                                          \
                                  .max_operands = 0,                                          \
                                  .run = runner}

#define VALIDATION                                                                                 \
    "First it is trained once for every fold and seed, without that fold, and compared on the "    \
    "fold's edited copies with its own untrained start and with the plain comparison of regions, " \
    "in every direction. What won by the mean is kept, trained on all folds, and written into "    \
    "the model with all figures."

FINE_COMMAND(dns_train_teacher, "teacher", "train the teacher, which students can learn from",
             "The comparator of ViSiL with edge padding; by the published recipe with its "
             "attention, on triplets.\n\n" VALIDATION,
             run_teacher);
FINE_COMMAND(dns_train_fine_attention, "fine-attention",
             "train the network that compares region vectors",
             "By the measured recipe a comparator on region vectors of weight 1, by the published "
             "one a student of the model's teacher with attention.\n\n" VALIDATION
             "\n\nAlso sets the model's rule of similarity: regions and direction.",
             run_attention);
FINE_COMMAND(dns_train_fine_binary, "fine-binary", "make the network that compares binary codes",
             "By the measured recipe a random rotation and the comparator of the model's "
             "fine-attention network, without training (--steps trains both); by the published "
             "one a student of the model's teacher, its codes from ITQ.\n\n" VALIDATION,
             run_binary);
