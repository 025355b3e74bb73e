#include <stdio.h>

#include "train_commands.h"
#include "default_model.h"
#include "dnsel/file_list.h"
#include "dnsel/preparation.h"
#include "prepare_features.h"
#include "terminal.h"

struct settings {
    dns_string_list videos, photos, features;
    const char *model, *out, *scenes;
    size_t folds, copies, frames, jobs;
    double similarity;
    uint64_t seed;
    int progress;
};

static void say(void *payload, dns_message_level level, const char *line)
{
    const dns_invocation *invocation = payload;
    if (level == DNS_MESSAGE_WARNING || level == DNS_MESSAGE_ERROR)
        dns_complain(invocation, "%s", line);
    else if (!invocation->quiet)
        printf("%s\n", line);
    fflush(stdout);
}

static dns_status prepare(dns_preparation_report *report, const struct settings *s,
                          const dns_preparation_options *options)
{
    dns_status status = DNS_OK;
    dns_file_list list = {0};
    dns_model *model = NULL;
    const dns_file_list_options any = {.all_files = true};
    if (s->features.n > 0)
        return dns_prepare_from_features(report, s->out, s->features.items, s->features.n, options);
    for (size_t i = 0; i < s->videos.n; i++)
        DNS_TRY(dns_file_list_add(&list, s->videos.items[i], NULL));
    for (size_t i = 0; i < s->photos.n; i++)
        DNS_TRY(dns_file_list_add(&list, s->photos.items[i], &any));
    DNS_TRY(dns_file_list_unique(&list));
    for (size_t i = 0; i < list.n_problems; i++)
        dns_logger_print(options->logger, DNS_MESSAGE_WARNING, "%s", list.problems[i]);
    DNS_TRY(dns_default_model_open(&model, s->model));
    DNS_TRY(dns_training_prepare(report, s->out, model, (const char *const *)list.paths, list.n,
                                 options));
out:
    dns_model_close(model);
    dns_file_list_free(&list);
    return status;
}

static int run(const dns_invocation *invocation)
{
    const struct settings *s = invocation->settings;
    dns_status status = DNS_OK;
    dns_pool *pool = NULL;
    dns_preparation_report report = {0};
    dns_terminal terminal = dns_terminal_open((dns_progress_style)s->progress, invocation->quiet);
    const dns_progress progress = dns_terminal_progress(&terminal);
    const dns_logger logger = {(void *)(uintptr_t)invocation, say};
    double start = dns_seconds();
    char duration[32];
    if (s->out == NULL || (s->videos.n + s->photos.n == 0) == (s->features.n == 0))
        DNS_FAIL(DNS_ERR_ARG, "--out is needed, and --videos or --photos, or else --features");
    DNS_TRY(dns_pool_create(&pool, s->jobs));
    dns_preparation_options options = dns_preparation_options_default();
    options.n_folds = s->folds;
    options.copies = s->copies;
    options.max_frames = s->frames;
    options.scenes = s->scenes;
    options.scene_similarity = s->similarity;
    options.seed = s->seed;
    options.pool = pool;
    options.progress = &progress;
    options.logger = &logger;
    options.cancel = dns_interrupt_catch();
    DNS_TRY(prepare(&report, s, &options));
    dns_terminal_close(&terminal);
    dns_duration_text(duration, sizeof duration, dns_seconds() - start);
    if (!invocation->quiet)
        printf("%s: %zu videos (%zu pictures, %zu hosts) of %zu scenes in %zu folds, %zu views of "
               "%zu frames in all; %zu views made now, %zu files left out, %s\n",
               s->out, report.n_videos, report.n_stills, report.n_hosts, report.n_scenes, s->folds,
               report.n_views, report.n_frames, report.n_made, report.n_skipped, duration);
out:
    dns_terminal_close(&terminal);
    dns_pool_free(pool);
    if (status != DNS_OK)
        return dns_fail(invocation, status);
    return report.n_skipped > 0 ? DNS_EXIT_PARTIAL : DNS_EXIT_OK;
}

static const struct settings defaults = {
    .folds = 4, .copies = 1, .frames = 24, .similarity = 0.5, .seed = 1};
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
     .help = "folder of still pictures, videos of one frame; may be repeated"},
    {.name = "features",
     .kind = DNS_OPTION_LIST,
     .offset = AT(features),
     .value = "FILE",
     .help = "features that were extracted elsewhere (HDF5, .npz, .npy, safetensors), instead of "
             "videos; may be repeated"},
    DNS_MODEL_OPTION(struct settings, model),
    {.name = "out",
     .letter = 'o',
     .kind = DNS_OPTION_STRING,
     .offset = AT(out),
     .value = "DATA",
     .help = "folder that is made, or gone on with"},
    {.name = "scenes",
     .kind = DNS_OPTION_STRING,
     .offset = AT(scenes),
     .value = "CSV",
     .help = "columns file and scene_group: which files are of one scene, besides those that look "
             "alike"},
    {.name = "similarity",
     .kind = DNS_OPTION_NUMBER,
     .offset = AT(similarity),
     .value = "X",
     .help =
         "videos whose mean vectors have this cosine or more are of one scene; 1: equal ones alone",
     .minimum = -1,
     .maximum = 1},
    {.name = "folds",
     .kind = DNS_OPTION_COUNT,
     .offset = AT(folds),
     .value = "N",
     .help = "parts that are held out in turn",
     .minimum = 1,
     .maximum = 64},
    {.name = "copies",
     .kind = DNS_OPTION_COUNT,
     .offset = AT(copies),
     .value = "N",
     .help = "edited copies of a video by each of 14 kinds of edits",
     .maximum = 64},
    {.name = "frames",
     .kind = DNS_OPTION_COUNT,
     .offset = AT(frames),
     .value = "N",
     .help = "frames of a video, one a second; of a longer one a part is drawn",
     .minimum = 1,
     .maximum = 4096},
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
    {.name = "progress",
     .kind = DNS_OPTION_CHOICE,
     .offset = AT(progress),
     .choices = DNS_PROGRESS_CHOICES,
     .help = "how progress is shown on standard error"},
    {0},
};
const dns_command dns_train_prepare = {
    .name = "prepare",
    .synopsis = "",
    .summary = "make a training set: features of videos and of edited copies of them",
    .description =
        "Takes up to --frames seconds of every video, makes edited copies of it by seed (the edits "
        "of dns-eval make-edits), extracts the region features of all of them with the model, and "
        "divides the videos into folds so that no scene is in two. All other commands that train "
        "networks read the folder that this one makes.\n\n"
        "Videos of a tenth of the scenes are set aside as hosts: other footage that excerpts are "
        "embedded in. Interrupted or killed, the same command goes on where it stopped. Takes "
        "9 KB of disk a frame.",
    .examples = "  dns-train prepare --videos ~/Videos --out my-data\n"
                "  dns-train fine-attention --data my-data --model my-model\n",
    .options = options,
    .settings_size = sizeof(struct settings),
    .defaults = &defaults,
    .min_operands = 0,
    .max_operands = 0,
    .run = run,
};
