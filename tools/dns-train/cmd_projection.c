#include <math.h>
#include <stdio.h>
#include <string.h>

#include "train_commands.h"
#include "dnsel/memory.h"
#include "dnsel/metrics.h"
#include "dnsel/projection_training.h"
#include "json_text.h"
#include "pictures.h"
#include "terminal.h"

enum { MANY = 1 << 16 };

struct settings {
    dns_string_list videos, photos;
    const char *out, *scenes, *checkpoint;
    size_t per_video, views, steps, batch, dim, wide, folds, seeds, jobs;
    double rate, tau, pull;
    uint64_t seed;
    int progress;
};

/* What may become the model's whitening, in the order in which it is preferred. */
enum candidate { PRESENT, PCA, TRAINED, CANDIDATES };
static const char *const candidate_names[CANDIDATES] = {"the model's whitening", "PCA",
                                                        "trained projection"};

struct work {
    const dns_invocation *invocation;
    const struct settings *s;
    dns_pool *pool;
    dns_cancel *cancel;
    dns_terminal terminal;
    dns_model *model;
    dns_extractor *extractor;
    dns_training_pictures pictures;
    dns_region_views *views;
    dns_whitening *wide, *candidates[CANDIDATES]; /* PRESENT is NULL in a model without one */
    size_t *fold_of;
    double *found[CANDIDATES]; /* [pictures], the mean over seeds of 1 / rank */
    double means[CANDIDATES];
};

static void warn(void *payload, dns_message_level level, const char *line)
{
    (void)level;
    dns_complain(payload, "%s", line);
}

static void say(const struct work *w, const char *text)
{
    if (!w->invocation->quiet)
        printf("%s\n", text);
    fflush(stdout);
}

static dns_status open_model(struct work *w, dns_media_options *media)
{
    dns_status status = DNS_OK;
    const dns_extractor_options exact = {.precision = DNS_PRECISION_F32};
    DNS_TRY(dns_model_open(&w->model, w->s->out));
    DNS_TRY(dns_extractor_open(&w->extractor, w->model, &exact));
    DNS_TRY(dns_model_media_options(media, w->model));
    const dns_safetensors *file = dns_model_weights(w->model, "whitening");
    if (file != NULL)
        DNS_TRY(dns_whitening_load(&w->candidates[PRESENT], file, 0));
out:
    return status;
}

static dns_status make_views(struct work *w)
{
    dns_status status = DNS_OK;
    dns_media_options media;
    dns_file_list list = {0};
    DNS_TRY(open_model(w, &media));
    DNS_TRY(dns_training_files(&list, &w->s->videos, &w->s->photos));
    const dns_progress progress = dns_terminal_progress(&w->terminal);
    const dns_training_pictures_options options = {
        .per_video = w->s->per_video,
        .scenes = w->s->scenes,
        .seed = w->s->seed,
        .media = media,
        .logger = {(void *)(uintptr_t)w->invocation, warn},
        .progress = progress,
        .cancel = w->cancel,
        .pool = w->pool};
    say(w, "reading pictures");
    DNS_TRY(dns_training_pictures_read(&w->pictures, &list, &options));
    say(w, "features of edited views");
    DNS_TRY(dns_region_views_create(&w->views, dns_extractor_backbone(w->extractor)->region_dim,
                                    w->pictures.scenes, w->pictures.n, w->s->views));
    DNS_TRY(dns_region_views_fill(w->views, w->extractor, media.size * media.size * 3,
                                  dns_training_view, &w->pictures, w->pool, &progress, w->cancel));
out:
    dns_file_list_free(&list);
    return status;
}

/* Trains on the part; each training has a checkpoint of its own. */
static dns_status train(dns_whitening **out, struct work *w, const dns_picture_part *part,
                        uint64_t seed, const char *name)
{
    const struct settings *s = w->s;
    char *checkpoint = NULL;
    dns_status status = DNS_OK;
    dns_projection_training_options o = dns_projection_training_options_default();
    *out = NULL;
    if (s->checkpoint != NULL)
        DNS_TRY(dns_string_format(&checkpoint, "%s.%s", s->checkpoint, name));
    o.steps = s->steps;
    o.batch = s->batch;
    o.out_dim = s->dim;
    o.rate = s->rate;
    o.tau = s->tau;
    o.pull = s->pull;
    o.seed = seed;
    o.checkpoint = checkpoint;
    o.progress = dns_terminal_progress(&w->terminal);
    o.cancel = w->cancel;
    DNS_TRY(dns_projection_train(out, w->views, w->wide, part, &o, w->pool));
out:
    dns_free(checkpoint);
    return status;
}

/* Adds what a whitening finds in the part, `share` of it, to the candidate's. */
static dns_status measure(struct work *w, enum candidate c, const dns_whitening *whitening,
                          const dns_picture_part *part, double share)
{
    dns_status status = DNS_OK;
    double mean, *ranks = NULL;
    DNS_TRY(dns_alloc(&ranks, w->pictures.n, sizeof *ranks));
    DNS_TRY(dns_region_views_find(&mean, ranks, w->views, whitening, part, w->pool));
    for (size_t i = 0; i < w->pictures.n; i++)
        w->found[c][i] += isnan(ranks[i]) ? 0 : share * ranks[i];
out:
    dns_free(ranks);
    return status;
}

/* Every picture is looked for with a map that was trained without its scene. */
static dns_status validate(struct work *w)
{
    dns_status status = DNS_OK;
    const dns_picture_part all = {0};
    dns_whitening *trained = NULL;
    char name[64];
    DNS_TRY(dns_alloc(&w->fold_of, w->pictures.n, sizeof *w->fold_of));
    DNS_TRY(dns_region_views_folds(w->fold_of, w->views, w->s->folds, w->s->seed));
    for (int c = 0; c < CANDIDATES; c++)
        DNS_TRY(dns_alloc(&w->found[c], w->pictures.n, sizeof *w->found[c]));
    for (int c = PRESENT; c <= PCA; c++)
        if (w->candidates[c] != NULL)
            DNS_TRY(measure(w, (enum candidate)c, w->candidates[c], &all, 1));
    for (size_t seed = 0; seed < w->s->seeds; seed++)
        for (size_t fold = 0; fold < w->s->folds; fold++) {
            const dns_picture_part others = {w->fold_of, fold, true},
                                   mine = {w->fold_of, fold, false};
            snprintf(name, sizeof name, "fold%zu-seed%zu", fold, seed);
            DNS_TRY(train(&trained, w, &others, w->s->seed + seed, name));
            DNS_TRY(measure(w, TRAINED, trained, &mine, 1 / (double)w->s->seeds));
            dns_whitening_free(trained);
            trained = NULL;
        }
out:
    dns_whitening_free(trained);
    return status;
}

/* By how much candidate c finds more than another, over pictures. */
static dns_status gain_over(dns_interval *out, const struct work *w, int c, int other)
{
    double *gain;
    dns_status status = dns_alloc(&gain, w->pictures.n, sizeof *gain);
    for (size_t i = 0; i < w->pictures.n && status == DNS_OK; i++)
        gain[i] = w->found[c][i] - w->found[other][i];
    if (status == DNS_OK)
        status = dns_bootstrap_mean(out, gain, w->pictures.n, 2000, 1);
    dns_free(gain);
    return status;
}

/* The best on pictures of scenes that were not trained on; one that is preferred gives way only to
 * what is better beyond chance. */
static dns_status choose(enum candidate *best, struct work *w)
{
    dns_status status = DNS_OK;
    dns_interval gain, over_best;
    *best = w->candidates[PRESENT] != NULL ? PRESENT : PCA;
    for (int c = 0; c < CANDIDATES; c++) {
        if (c != TRAINED && w->candidates[c] == NULL)
            continue;
        for (size_t i = 0; i < w->pictures.n; i++)
            w->means[c] += w->found[c][i] / (double)w->pictures.n;
        DNS_TRY(gain_over(&gain, w, c, PCA));
        DNS_TRY(gain_over(&over_best, w, c, (int)*best));
        if (!w->invocation->quiet)
            printf("%-22s mean 1 / rank %.4f, against PCA %+.4f [%+.4f, %+.4f]\n",
                   candidate_names[c], w->means[c], gain.mean, gain.low, gain.high);
        if (over_best.low > 0)
            *best = (enum candidate)c;
    }
out:
    return status;
}

static dns_status provenance(dns_json_text *text, const struct work *w, enum candidate best)
{
    const struct settings *s = w->s;
    dns_status status = dns_json_text_open(text);
    if (status != DNS_OK)
        return status;
    dns_json_writer *j = &text->writer;
    dns_json_begin_object(j, NULL);
    dns_json_put_string(j, "command", "dns-train projection");
    dns_json_put_string(j, "kept", candidate_names[best]);
    dns_json_put_integer(j, "files", (int64_t)w->pictures.n_files);
    dns_json_put_integer(j, "pictures", (int64_t)w->pictures.n);
    dns_json_put_integer(j, "views", (int64_t)s->views);
    dns_json_put_integer(j, "steps", (int64_t)s->steps);
    dns_json_put_integer(j, "batch", (int64_t)s->batch);
    dns_json_put_integer(j, "wide", (int64_t)s->wide);
    dns_json_put_number(j, "rate", s->rate, 6);
    dns_json_put_number(j, "tau", s->tau, 6);
    dns_json_put_number(j, "pull", s->pull, 6);
    dns_json_put_integer(j, "seed", (int64_t)s->seed);
    dns_json_put_integer(j, "folds", (int64_t)s->folds);
    dns_json_put_integer(j, "seeds", (int64_t)s->seeds);
    dns_json_begin_object(j, "mean_1_over_rank");
    for (int c = 0; c < CANDIDATES; c++)
        if (c == TRAINED || w->candidates[c] != NULL)
            dns_json_put_number(j, candidate_names[c], w->means[c], 4);
    dns_json_end_object(j);
    dns_json_end_object(j);
    return dns_json_text_finish(text);
}

/* Networks that read other region vectors are worth nothing with these. */
static dns_status save(struct work *w, const dns_whitening *whitening, enum candidate best)
{
    dns_json_text note = {0};
    char coarse[64];
    snprintf(coarse, sizeof coarse, "{\"kind\": \"mean\", \"dim\": %zu}",
             dns_whitening_out_dim(whitening));
    const dns_model_edit more[] = {
        {"coarse", coarse, NULL, 0},       {"teacher", NULL, NULL, 0},
        {"fine_attention", NULL, NULL, 0}, {"itq", NULL, NULL, 0},
        {"fine_binary", NULL, NULL, 0},    {"selector", NULL, NULL, 0},
        {"router", NULL, NULL, 0},         {"calibration", NULL, NULL, 0}};
    dns_status status = provenance(&note, w, best);
    if (status == DNS_OK)
        status =
            dns_whitening_save(whitening, w->s->out, note.data, more, sizeof more / sizeof more[0]);
    dns_json_text_free(&note);
    return status;
}

static dns_status work_through(struct work *w)
{
    dns_status status = DNS_OK;
    enum candidate best;
    size_t raw = dns_extractor_backbone(w->extractor)->region_dim;
    const dns_picture_part all = {0};
    DNS_TRY(dns_region_views_whitening(&w->wide, w->views, w->s->wide < raw ? w->s->wide : raw,
                                       w->pool));
    DNS_TRY(dns_whitening_cut(&w->candidates[PCA], w->wide, w->s->dim));
    say(w, "training without each fold in turn");
    DNS_TRY(validate(w));
    dns_terminal_close(&w->terminal);
    DNS_TRY(choose(&best, w));
    if (best == TRAINED) {
        say(w, "training on all pictures");
        DNS_TRY(train(&w->candidates[TRAINED], w, &all, w->s->seed, "all"));
    }
    if (best != PRESENT)
        DNS_TRY(save(w, w->candidates[best], best));
    dns_terminal_close(&w->terminal);
    if (!w->invocation->quiet)
        printf("%s: %s%s\n", w->s->out, candidate_names[best],
               best == PRESENT ? " stays as it was" : " is its whitening now");
out:
    return status;
}

static void close_work(struct work *w)
{
    for (int c = 0; c < CANDIDATES; c++) {
        dns_whitening_free(w->candidates[c]);
        dns_free(w->found[c]);
    }
    dns_whitening_free(w->wide);
    dns_free(w->fold_of);
    dns_region_views_free(w->views);
    dns_training_pictures_free(&w->pictures);
    dns_extractor_free(w->extractor);
    dns_model_close(w->model);
    dns_pool_free(w->pool);
}

static int run(const dns_invocation *invocation)
{
    struct work w = {.invocation = invocation, .s = invocation->settings};
    dns_status status = DNS_OK;
    if (w.s->out == NULL || w.s->videos.n + w.s->photos.n == 0)
        DNS_FAIL(DNS_ERR_ARG, "--out and at least one of --videos and --photos are needed");
    if (w.s->dim > w.s->wide)
        DNS_FAIL(DNS_ERR_ARG, "--dim %zu is above --wide %zu", w.s->dim, w.s->wide);
    w.cancel = dns_interrupt_catch();
    w.terminal = dns_terminal_open((dns_progress_style)w.s->progress, invocation->quiet);
    DNS_TRY(dns_pool_create(&w.pool, w.s->jobs));
    DNS_TRY(make_views(&w));
    DNS_TRY(work_through(&w));
out:
    dns_terminal_close(&w.terminal);
    int code = status == DNS_OK ? DNS_EXIT_OK : dns_fail(invocation, status);
    close_work(&w);
    return code;
}

static const struct settings defaults = {.per_video = 5,
                                         .views = 4,
                                         .steps = 400,
                                         .batch = 96,
                                         .dim = 512,
                                         .wide = 1024,
                                         .folds = 4,
                                         .seeds = 1,
                                         .rate = 1e-3,
                                         .tau = 0.05,
                                         .pull = 0.1,
                                         .seed = 1};
#define AT(field) offsetof(struct settings, field)
static const dns_option options[] = {
    {.name = "videos",
     .kind = DNS_OPTION_LIST,
     .offset = AT(videos),
     .value = "DIR",
     .help = "folder of videos; may be repeated"},
    {.name = "photos",
     .kind = DNS_OPTION_LIST,
     .offset = AT(photos),
     .value = "DIR",
     .help = "folder of still pictures, each a scene of its own; may be repeated"},
    {.name = "out",
     .letter = 'o',
     .kind = DNS_OPTION_STRING,
     .offset = AT(out),
     .value = "MODEL",
     .help = "model directory whose whitening is replaced, if that is better"},
    {.name = "scenes",
     .kind = DNS_OPTION_STRING,
     .offset = AT(scenes),
     .value = "CSV",
     .help = "columns file and scene_group: files of one scene are never taken for different"},
    {.name = "frames",
     .kind = DNS_OPTION_COUNT,
     .offset = AT(per_video),
     .value = "N",
     .help = "pictures of a video",
     .minimum = 1,
     .maximum = 1000},
    {.name = "views",
     .kind = DNS_OPTION_COUNT,
     .offset = AT(views),
     .value = "N",
     .help = "views of a picture, the picture itself included; 60 KB each",
     .minimum = 2,
     .maximum = 4096},
    {.name = "steps",
     .kind = DNS_OPTION_COUNT,
     .offset = AT(steps),
     .value = "N",
     .help = "training steps",
     .minimum = 1,
     .maximum = 1e7},
    {.name = "batch",
     .kind = DNS_OPTION_COUNT,
     .offset = AT(batch),
     .value = "N",
     .help = "scenes a step",
     .minimum = 2,
     .maximum = 4096},
    {.name = "rate",
     .kind = DNS_OPTION_NUMBER,
     .offset = AT(rate),
     .value = "X",
     .help = "peak learning rate"},
    {.name = "tau",
     .kind = DNS_OPTION_NUMBER,
     .offset = AT(tau),
     .value = "X",
     .help = "temperature of InfoNCE"},
    {.name = "pull",
     .kind = DNS_OPTION_NUMBER,
     .offset = AT(pull),
     .value = "X",
     .help = "weight of the distance from PCA in the loss"},
    {.name = "dim",
     .kind = DNS_OPTION_COUNT,
     .offset = AT(dim),
     .value = "N",
     .help = "values of a region vector",
     .minimum = 8,
     .maximum = 2048},
    {.name = "wide",
     .kind = DNS_OPTION_COUNT,
     .offset = AT(wide),
     .value = "N",
     .help = "values of the PCA in front of the trained map",
     .minimum = 8,
     .maximum = MANY},
    {.name = "folds",
     .kind = DNS_OPTION_COUNT,
     .offset = AT(folds),
     .value = "N",
     .help = "parts of the scenes, each left out of one training, to decide what is kept",
     .minimum = 2,
     .maximum = 100},
    {.name = "seeds",
     .kind = DNS_OPTION_COUNT,
     .offset = AT(seeds),
     .value = "N",
     .help = "trainings a fold",
     .minimum = 1,
     .maximum = 100},
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
const dns_command dns_train_projection = {
    .name = "projection",
    .synopsis = "",
    .summary = "train the projection of region vectors on edited copies, where that is better",
    .description =
        "Takes pictures from videos and photographs, makes edited views of them, and trains the "
        "linear map from region features to region vectors so that views of one picture are "
        "nearer to each other than to those of others, beginning with PCA whitening. Each fold "
        "of the scenes is left out of one training and asks which is better: the whitening that "
        "the model has, PCA of these pictures, or the trained map. The best becomes the model's "
        "whitening; networks of the model that read the old one are then removed.",
    .examples = "dns-train projection --videos ~/Videos --out my-model\n",
    .options = options,
    .settings_size = sizeof(struct settings),
    .defaults = &defaults,
    .run = run,
};
