/* dns-train all: the other commands one after the other, each gone on with after an interruption.
 */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "train_commands.h"
#include "dnsel/file.h"
#include "dnsel/file_list.h"
#include "dnsel/gemm.h"
#include "dnsel/memory.h"
#include "dnsel/pool.h"
#include "dnsel/progress.h"
#include "terminal.h"

enum { MOST_ARGUMENTS = 64 };

struct settings {
    dns_string_list videos, photos, set;
    const char *out, *work, *name, *scenes;
    size_t folds, seeds, jobs;
    uint64_t seed;
    bool backbone, projection;
};

struct work {
    const dns_invocation *invocation;
    const struct settings *s;
    char *folder, *data; /* of intermediate files; the training set in it */
    size_t n_videos, n_photos;
    size_t frames, views, queries; /* chosen so that memory and time stay within bounds */
    bool partial;
};

/* ---- one stage ---- */

struct stage {
    const dns_command *command;
    char *arguments[MOST_ARGUMENTS];
    size_t n;
    char *folder; /* of its checkpoints */
};

static void stage_free(struct stage *stage)
{
    for (size_t i = 0; i < stage->n; i++)
        dns_free(stage->arguments[i]);
    dns_free(stage->folder);
}

static dns_status add(struct stage *stage, const char *format, ...) DNS_PRINTF(2, 3);
static dns_status add(struct stage *stage, const char *format, ...)
{
    char text[4096];
    va_list arguments;
    va_start(arguments, format);
    int n = vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    if (n < 0 || (size_t)n >= sizeof text || stage->n == MOST_ARGUMENTS)
        return dns_status_set(DNS_ERR_LIMIT, "too many or too long arguments of a stage");
    return dns_string_copy(&stage->arguments[stage->n++], text);
}

/* --set COMMAND.OPTION=VALUE */
static dns_status add_own_settings(struct stage *stage, const struct settings *s)
{
    dns_status status = DNS_OK;
    size_t n = strlen(stage->command->name);
    for (size_t i = 0; i < s->set.n && status == DNS_OK; i++)
        if (strncmp(s->set.items[i], stage->command->name, n) == 0 && s->set.items[i][n] == '.')
            status = add(stage, "--%s", s->set.items[i] + n + 1);
    return status;
}

static dns_status join(char **out, const struct stage *stage)
{
    dns_status status = dns_string_copy(out, stage->command->name);
    for (size_t i = 0; i < stage->n && status == DNS_OK; i++) {
        char *before = *out;
        status = dns_string_format(out, "%s\n%s", before, stage->arguments[i]);
        dns_free(before);
    }
    return status;
}

/* Whether the stage was finished before, with the same arguments. */
static dns_status is_done(bool *done, const char *marker, const char *arguments)
{
    dns_status status = DNS_OK;
    char *found = NULL;
    size_t size;
    *done = dns_file_exists(marker);
    if (!*done)
        return DNS_OK;
    DNS_TRY(dns_file_read(&found, &size, marker, 1 << 20));
    if (strcmp(found, arguments) != 0)
        DNS_FAIL(DNS_ERR_MODEL,
                 "%s: this stage was finished with other options; give another --work, or remove "
                 "that folder and the model to begin again",
                 marker);
out:
    dns_free(found);
    return status;
}

/* *code is that of the command; DNS_OK also when the command itself failed and has said so. */
static dns_status run_stage(int *code, struct work *w, struct stage *stage)
{
    dns_status status = DNS_OK;
    char *marker = NULL, *arguments = NULL;
    bool done;
    dns_arguments parsed = {0};
    *code = DNS_EXIT_OK;
    DNS_TRY(add_own_settings(stage, w->s));
    DNS_TRY(join(&arguments, stage));
    DNS_TRY(dns_string_format(&marker, "%s/%s.done", w->folder, stage->command->name));
    DNS_TRY(is_done(&done, marker, arguments));
    if (!w->invocation->quiet)
        printf("== %s%s\n", stage->command->name, done ? ": done before" : "");
    fflush(stdout);
    if (done)
        goto out;
    DNS_TRY(dns_arguments_parse(&parsed, stage->command, (int)stage->n, stage->arguments));
    dns_invocation invocation = *w->invocation;
    invocation.command = stage->command;
    invocation.settings = parsed.settings;
    invocation.operands = parsed.operands;
    invocation.n_operands = parsed.n_operands;
    *code = stage->command->run(&invocation);
    w->partial = w->partial || *code == DNS_EXIT_PARTIAL;
    if (*code == DNS_EXIT_PARTIAL)
        *code = DNS_EXIT_OK;
    if (*code == DNS_EXIT_OK)
        DNS_TRY(dns_file_write(marker, arguments, strlen(arguments)));
out:
    dns_arguments_free(&parsed, stage->command);
    dns_free(arguments);
    dns_free(marker);
    return status;
}

/* ---- the stages ---- */

static dns_status add_sources(struct stage *stage, const struct settings *s)
{
    dns_status status = DNS_OK;
    for (size_t i = 0; i < s->videos.n; i++)
        DNS_TRY(add(stage, "--videos=%s", s->videos.items[i]));
    for (size_t i = 0; i < s->photos.n; i++)
        DNS_TRY(add(stage, "--photos=%s", s->photos.items[i]));
    if (s->scenes != NULL)
        DNS_TRY(add(stage, "--scenes=%s", s->scenes));
out:
    return status;
}

/* With few files batches are smaller: each has scenes that are all different. */
static dns_status add_batch(struct stage *stage, const struct work *w)
{
    bool backbone = stage->command == &dns_train_backbone;
    size_t usual = backbone ? 48 : 96, n = w->n_videos + w->n_photos;
    size_t scenes = backbone ? n : n / 2;
    return scenes < usual ? add(stage, "--batch=%zu", scenes) : DNS_OK;
}

static dns_status add_pictures(struct stage *stage, struct work *w)
{
    dns_status status = DNS_OK;
    DNS_TRY(add_sources(stage, w->s));
    DNS_TRY(add(stage, "--out=%s", w->s->out));
    DNS_TRY(add(stage, "--frames=%zu", w->frames));
    DNS_TRY(add(stage, "--views=%zu", w->views));
    DNS_TRY(add_batch(stage, w));
out:
    return status;
}

/* Pictures are for the backbone: frames of one picture teach comparing videos nothing. */
static dns_status add_preparation(struct stage *stage, struct work *w)
{
    dns_status status = DNS_OK;
    for (size_t i = 0; i < w->s->videos.n; i++)
        DNS_TRY(add(stage, "--videos=%s", w->s->videos.items[i]));
    if (w->s->scenes != NULL)
        DNS_TRY(add(stage, "--scenes=%s", w->s->scenes));
    DNS_TRY(add(stage, "--model=%s", w->s->out));
    DNS_TRY(add(stage, "--out=%s", w->data));
    DNS_TRY(add(stage, "--folds=%zu", w->s->folds));
out:
    return status;
}

static dns_status add_network(struct stage *stage, struct work *w)
{
    dns_status status = DNS_OK;
    DNS_TRY(add(stage, "--data=%s", w->data));
    DNS_TRY(add(stage, "--model=%s", w->s->out));
    DNS_TRY(add(stage, "--queries=%zu", w->queries));
    if (strcmp(stage->command->name, "selector") != 0)
        DNS_TRY(add(stage, "--seeds=%zu", w->s->seeds));
out:
    return status;
}

static dns_status add_arguments(struct stage *stage, struct work *w)
{
    dns_status status = DNS_OK;
    const dns_command *c = stage->command;
    DNS_TRY(dns_string_format(&stage->folder, "%s/%s", w->folder, c->name));
    DNS_TRY(dns_directory_make(stage->folder));
    if (c == &dns_train_backbone || c == &dns_train_projection)
        DNS_TRY(add_pictures(stage, w));
    else if (c == &dns_train_prepare)
        DNS_TRY(add_preparation(stage, w));
    else
        DNS_TRY(add_network(stage, w));
    if (c == &dns_train_backbone)
        DNS_TRY(add(stage, "--name=%s", w->s->name));
    if (c != &dns_train_prepare)
        DNS_TRY(add(stage, "--checkpoint=%s/checkpoint", stage->folder));
    if (c == &dns_train_selector)
        DNS_TRY(add(stage, "--report=%s/routers.json", stage->folder));
    DNS_TRY(add(stage, "--seed=%llu", (unsigned long long)w->s->seed));
    DNS_TRY(add(stage, "--jobs=%zu", w->s->jobs));
out:
    return status;
}

static dns_status run_all(int *code, struct work *w)
{
    static const dns_command *const commands[] = {&dns_train_backbone,    &dns_train_projection,
                                                  &dns_train_prepare,     &dns_train_fine_attention,
                                                  &dns_train_fine_binary, &dns_train_coarse,
                                                  &dns_train_selector};
    dns_status status = DNS_OK;
    *code = DNS_EXIT_OK;
    for (size_t i = 0;
         i < sizeof commands / sizeof commands[0] && status == DNS_OK && *code == DNS_EXIT_OK;
         i++) {
        struct stage stage = {.command = commands[i]};
        if ((commands[i] == &dns_train_backbone && !w->s->backbone) ||
            (commands[i] == &dns_train_projection && !w->s->projection))
            continue;
        status = add_arguments(&stage, w);
        if (status == DNS_OK)
            status = run_stage(code, w, &stage);
        stage_free(&stage);
    }
    return status;
}

/* ---- how much of it, and how long ---- */

static dns_status count_files(struct work *w)
{
    dns_status status = DNS_OK;
    dns_file_list videos = {0}, photos = {0};
    const dns_file_list_options any = {.all_files = true};
    for (size_t i = 0; i < w->s->videos.n; i++)
        DNS_TRY(dns_file_list_add(&videos, w->s->videos.items[i], NULL));
    for (size_t i = 0; i < w->s->photos.n; i++)
        DNS_TRY(dns_file_list_add(&photos, w->s->photos.items[i], &any));
    w->n_videos = videos.n;
    w->n_photos = photos.n;
out:
    dns_file_list_free(&videos);
    dns_file_list_free(&photos);
    return status;
}

/* 250 KB a picture and 38 KB a view within 3 GB; with many videos some of the queries of each. */
static void choose_sizes(struct work *w)
{
    const double bytes = 3e9, a_picture = 250e3 + 8 * 38e3;
    w->views = 8;
    w->frames = 5;
    while (w->frames > 1 && (double)(w->frames * w->n_videos + w->n_photos) * a_picture > bytes)
        w->frames--;
    w->queries = w->n_videos > 200 ? 4 : 0;
}

/* Floating-point operations a second of one thread, in matrix products. */
static dns_status measure_speed(double *rate)
{
    enum { N = 384 };
    dns_status status = DNS_OK;
    float *a = NULL, *c = NULL;
    double start, operations = 0;
    DNS_TRY(dns_alloc(&a, N, N * sizeof *a));
    DNS_TRY(dns_alloc(&c, N, N * sizeof *c));
    DNS_TRY(dns_gemm_dense_f32(false, false, N, N, N, a, a, 0, c));
    start = dns_thread_seconds(); /* whatever else the machine does */
    while (dns_thread_seconds() - start < 0.2) {
        DNS_TRY(dns_gemm_dense_f32(false, false, N, N, N, a, a, 0, c));
        operations += 2.0 * N * N * N;
    }
    *rate = operations / (dns_thread_seconds() - start);
out:
    dns_free(a);
    dns_free(c);
    return status;
}

/* Seconds of one core that multiplies 1e11 a second, as counted on two cores of an EPYC with
 * AVX-512: 25 ms a frame to make and look at, 14 ms a view in a step of the backbone, and so much a
 * training of each network; validation is by pairs. */
static dns_status estimate(double *seconds, const struct work *w)
{
    const double frame = 0.025, tail_view = 0.014, fine = 20, coarse = 20, selector = 60,
                 pair = 0.4e-3;
    double rate = 1, videos = (double)w->n_videos, folds = (double)w->s->folds,
           seeds = (double)w->s->seeds;
    size_t n_threads = w->s->jobs > 0 ? w->s->jobs : dns_processor_count();
    dns_status status = measure_speed(&rate);
    double pictures = (double)w->frames * videos + (double)w->n_photos;
    double pairs = videos * (w->queries > 0 ? (double)w->queries : 17) * videos;
    double work = w->s->backbone ? pictures * (double)w->views * frame + 420 * 96 * tail_view : 0;
    work += w->s->projection ? pictures * (double)w->views * frame + 60 * (folds + 1) : 0;
    work += videos * 12 * 15 * frame; /* 12 frames of a video on average, 15 views */
    work += 2 * seeds * (fine * (folds + 1) + 3 * pairs * pair);
    work += seeds * coarse * (folds + 1) + selector * (folds + 1) + (fine + coarse) * folds +
            pairs * pair;
    *seconds = work * 1e11 / rate / (double)n_threads;
    return status;
}

static dns_status say_how_long(const struct work *w)
{
    double seconds;
    char text[48];
    dns_status status = estimate(&seconds, w);
    if (status != DNS_OK || w->invocation->quiet)
        return status;
    dns_duration_text(text, sizeof text, seconds);
    printf("%zu videos and %zu pictures; about %s while the machine does nothing else; "
           "intermediate files in %s\n",
           w->n_videos, w->n_photos, text, w->folder);
    fflush(stdout);
    return DNS_OK;
}

static int run(const dns_invocation *invocation)
{
    struct work w = {.invocation = invocation, .s = invocation->settings};
    dns_status status = DNS_OK;
    int code = DNS_EXIT_OK;
    if (w.s->out == NULL || w.s->videos.n == 0)
        DNS_FAIL(DNS_ERR_ARG, "--videos and --out are needed");
    if (w.s->work != NULL)
        DNS_TRY(dns_string_copy(&w.folder, w.s->work));
    else
        DNS_TRY(dns_string_format(&w.folder, "%s.work", w.s->out));
    DNS_TRY(dns_string_format(&w.data, "%s/data", w.folder));
    DNS_TRY(dns_directory_make(w.folder));
    DNS_TRY(count_files(&w));
    choose_sizes(&w);
    DNS_TRY(say_how_long(&w));
    DNS_TRY(run_all(&code, &w));
    if (code == DNS_EXIT_OK && !invocation->quiet)
        printf("%s is complete; %s may be removed\n", w.s->out, w.folder);
    if (code == DNS_EXIT_OK && w.partial)
        code = DNS_EXIT_PARTIAL;
out:
    if (status != DNS_OK)
        code = dns_fail(invocation, status);
    dns_free(w.folder);
    dns_free(w.data);
    return code;
}

static const struct settings defaults = {
    .name = "trained", .folds = 4, .seeds = 1, .seed = 1, .backbone = true};
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
     .help = "folder of still pictures, which help the backbone; may be repeated"},
    {.name = "out",
     .letter = 'o',
     .kind = DNS_OPTION_STRING,
     .offset = AT(out),
     .value = "MODEL",
     .help = "model directory that is made"},
    {.name = "work",
     .kind = DNS_OPTION_STRING,
     .offset = AT(work),
     .value = "DIR",
     .help = "folder of intermediate files; MODEL.work when not given"},
    {.name = "name",
     .kind = DNS_OPTION_STRING,
     .offset = AT(name),
     .value = "NAME",
     .help = "name of the model"},
    {.name = "scenes",
     .kind = DNS_OPTION_STRING,
     .offset = AT(scenes),
     .value = "CSV",
     .help = "columns file and scene_group: which files are of one scene"},
    {.name = "backbone",
     .kind = DNS_OPTION_FLAG,
     .offset = AT(backbone),
     .help =
         "train the tail of the backbone first; with --no-backbone MODEL must be there already"},
    {.name = "projection",
     .kind = DNS_OPTION_FLAG,
     .offset = AT(projection),
     .help = "also try a trained projection of region vectors"},
    {.name = "folds",
     .kind = DNS_OPTION_COUNT,
     .offset = AT(folds),
     .value = "N",
     .help = "parts of the videos that are held out in turn",
     .minimum = 2,
     .maximum = 64},
    {.name = "seeds",
     .kind = DNS_OPTION_COUNT,
     .offset = AT(seeds),
     .value = "N",
     .help = "trainings of each network for each fold, to decide what is kept",
     .minimum = 1,
     .maximum = 100},
    {.name = "set",
     .kind = DNS_OPTION_LIST,
     .offset = AT(set),
     .value = "COMMAND.OPTION=VALUE",
     .help = "option of a stage, for example coarse.steps=400; may be repeated"},
    {.name = "seed",
     .kind = DNS_OPTION_SEED,
     .offset = AT(seed),
     .value = "N",
     .help = "seed of everything drawn"},
    {.name = "jobs",
     .letter = 'j',
     .kind = DNS_OPTION_COUNT,
     .offset = AT(jobs),
     .value = "N",
     .help = "threads; 0 is one a processor; the result is the same",
     .maximum = 256},
    {0},
};
const dns_command dns_train_all = {
    .name = "all",
    .synopsis = "",
    .summary = "make a model of your own from a folder of videos",
    .description =
        "Runs backbone, projection (if asked for), prepare, fine-attention, fine-binary, coarse "
        "and selector one after the other, each with its defaults or what --set says. Says "
        "beforehand about how long it takes. What a stage tries is kept only where it is better on "
        "videos held out.\n\n"
        "Interrupted or killed, the same command goes on where it stopped and ends with the same "
        "model: finished stages are noted in the work folder, and an unfinished one has its "
        "checkpoints there. Needs less than 4 GB of memory for 1,000 clips.",
    .examples = "dns-train all --videos ~/Videos --out my-model\n"
                "dns-index build my.dns ~/Videos --model my-model\n",
    .options = options,
    .settings_size = sizeof(struct settings),
    .defaults = &defaults,
    .run = run,
};
