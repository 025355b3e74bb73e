#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "train_commands.h"
#include "dnsel/file_list.h"
#include "dnsel/memory.h"
#include "dnsel/whitening_training.h"
#include "frame_edits.h"
#include "ranges.h"
#include "json_text.h"
#include "terminal.h"

struct settings {
    dns_string_list videos;
    const char *out, *backbone;
    size_t dim, frames, copies, jobs, short_side;
    uint64_t seed;
    int geometry, interpolation, progress;
    bool calibrate;
};

static const struct settings defaults = {.backbone = "efficientnet-lite0",
                                         .dim = 512,
                                         .frames = 24,
                                         .copies = 3,
                                         .short_side = 256,
                                         .seed = 1,
                                         .interpolation = DNS_INTERPOLATION_AREA,
                                         .calibrate = true};

static const dns_option options[] = {
    {.name = "videos",
     .kind = DNS_OPTION_LIST,
     .offset = offsetof(struct settings, videos),
     .value = "PATH",
     .help = "a video, or a folder of videos; may be repeated"},
    {.name = "out",
     .letter = 'o',
     .kind = DNS_OPTION_STRING,
     .offset = offsetof(struct settings, out),
     .value = "DIR",
     .help = "model directory, made when it does not exist"},
    {.name = "backbone",
     .kind = DNS_OPTION_STRING,
     .offset = offsetof(struct settings, backbone),
     .value = "NAME",
     .help = "network of a new model"},
    {.name = "geometry",
     .kind = DNS_OPTION_CHOICE,
     .offset = offsetof(struct settings, geometry),
     .value = "HOW",
     .choices = "short-side-crop|stretch",
     .help = "how a new model fits a frame into the square"},
    {.name = "interpolation",
     .kind = DNS_OPTION_CHOICE,
     .offset = offsetof(struct settings, interpolation),
     .value = "HOW",
     .choices = "opencv-cubic|area|bicubic",
     .help = "how a new model scales frames"},
    {.name = "short-side",
     .kind = DNS_OPTION_COUNT,
     .offset = offsetof(struct settings, short_side),
     .value = "PIXELS",
     .minimum = 224,
     .maximum = 4096,
     .help = "short side before a new model crops"},
    {.name = "dim",
     .kind = DNS_OPTION_COUNT,
     .offset = offsetof(struct settings, dim),
     .value = "N",
     .minimum = 1,
     .maximum = 3840,
     .help = "values of a region vector"},
    {.name = "frames",
     .kind = DNS_OPTION_COUNT,
     .offset = offsetof(struct settings, frames),
     .value = "N",
     .minimum = 1,
     .maximum = 10000,
     .help = "frames drawn from a video"},
    {.name = "copies",
     .kind = DNS_OPTION_COUNT,
     .offset = offsetof(struct settings, copies),
     .value = "N",
     .maximum = 100,
     .help = "edited copies of every frame; 0 is frames alone, which is clearly worse"},
    {.name = "seed",
     .kind = DNS_OPTION_SEED,
     .offset = offsetof(struct settings, seed),
     .value = "N",
     .help = "of all random choices"},
    {.name = "calibrate",
     .kind = DNS_OPTION_FLAG,
     .offset = offsetof(struct settings, calibrate),
     .help = "note the ranges of all maps, which int8 needs"},
    {.name = "jobs",
     .letter = 'j',
     .kind = DNS_OPTION_COUNT,
     .offset = offsetof(struct settings, jobs),
     .value = "N",
     .help = "threads; 0 is one a processor"},
    {.name = "progress",
     .kind = DNS_OPTION_CHOICE,
     .offset = offsetof(struct settings, progress),
     .value = "STYLE",
     .choices = DNS_PROGRESS_CHOICES,
     .help = "how progress is shown"},
    {0},
};

/* ---- the model ---- */

static dns_status write_preprocessing(dns_json_text *text, const struct settings *s,
                                      const dns_backbone *backbone)
{
    dns_status status = dns_json_text_open(text);
    if (status != DNS_OK)
        return status;
    dns_json_writer *w = &text->writer;
    dns_json_begin_object(w, NULL);
    dns_json_put_string(w, "sampling", dns_sampling_name(DNS_SAMPLING_EXACT));
    dns_json_put_string(w, "geometry", dns_geometry_name((dns_geometry)s->geometry));
    dns_json_put_string(w, "interpolation",
                        dns_interpolation_name((dns_interpolation)s->interpolation));
    dns_json_put_integer(w, "short_side", (int64_t)s->short_side);
    dns_json_put_integer(w, "size", (int64_t)backbone->input_size);
    dns_json_end_object(w);
    return dns_json_text_finish(text);
}

static dns_status write_backbone(dns_json_text *text, const dns_backbone *backbone)
{
    dns_status status = DNS_OK;
    char *path = NULL;
    dns_safetensors *base = NULL;
    dns_digest digest;
    char hex[33];
    DNS_TRY(dns_backbone_path(&path, backbone->name));
    DNS_TRY(dns_safetensors_open(&base, path));
    DNS_TRY(dns_backbone_digest(&digest, backbone, base));
    dns_digest_text(&digest, hex);
    DNS_TRY(dns_json_text_open(text));
    dns_json_begin_object(&text->writer, NULL);
    dns_json_put_string(&text->writer, "name", backbone->name);
    dns_json_put_string(&text->writer, "weights", hex);
    dns_json_put_string(&text->writer, "precision", dns_precision_name(DNS_PRECISION_F32));
    dns_json_end_object(&text->writer);
    DNS_TRY(dns_json_text_finish(text));
out:
    dns_safetensors_close(base);
    dns_free(path);
    return status;
}

/* Opens the model, or begins a new one with the installed backbone. */
static dns_status open_or_begin(dns_model **out, const struct settings *s)
{
    dns_status status = DNS_OK;
    dns_json_text backbone_text = {0}, preprocessing = {0};
    const dns_backbone *backbone;
    *out = NULL;
    char *manifest = NULL;
    DNS_TRY(dns_path_join(&manifest, s->out, "model.json"));
    if (!dns_file_exists(manifest)) {
        DNS_TRY(dns_backbone_find(&backbone, s->backbone));
        DNS_TRY(write_backbone(&backbone_text, backbone));
        DNS_TRY(write_preprocessing(&preprocessing, s, backbone));
        const dns_model_edit edits[] = {{"preprocessing", preprocessing.data, NULL, 0},
                                        {"backbone", backbone_text.data, NULL, 0}};
        DNS_TRY(dns_model_edit_apply(s->out, edits, 2));
    }
    DNS_TRY(dns_model_open(out, s->out));
out:
    dns_json_text_free(&backbone_text);
    dns_json_text_free(&preprocessing);
    dns_free(manifest);
    return status;
}

/* ---- the command ---- */

static dns_status write_provenance(dns_json_text *text, const struct settings *s,
                                   const dns_whitening_training_facts *facts)
{
    dns_status status = dns_json_text_open(text);
    if (status != DNS_OK)
        return status;
    dns_json_writer *w = &text->writer;
    dns_json_begin_object(w, NULL);
    dns_json_put_string(w, "command", "dns-train whitening");
    dns_json_put_string(w, "version", DNS_VERSION);
    dns_json_put_integer(w, "seed", (int64_t)s->seed);
    dns_json_put_integer(w, "videos", (int64_t)facts->n_videos);
    dns_json_put_integer(w, "frames", (int64_t)facts->n_frames);
    dns_json_put_integer(w, "edited_copies_of_each", (int64_t)s->copies);
    dns_json_put_integer(w, "vectors", (int64_t)facts->n_vectors);
    dns_json_end_object(w);
    return dns_json_text_finish(text);
}

/* What needs no training: the mean of the region vectors as coarse vector, pairs routed by it,
 * frames compared region by region in the same position, the larger of both directions
 * (docs/training.md). A model that has such sections keeps them; only the size of an untrained
 * coarse vector follows the whitening. */
enum { N_SECTIONS = 3 };

static size_t untrained_sections(dns_model_edit edits[N_SECTIONS], char coarse[64],
                                 const dns_model *model, size_t dim)
{
    size_t n = 0;
    snprintf(coarse, 64, "{\"kind\": \"mean\", \"dim\": %zu}", dim);
    const dns_json *section = dns_model_section(model, "coarse");
    if (section == NULL ||
        (strcmp(dns_json_string(dns_json_get(section, "kind"), ""), "mean") == 0 &&
         dns_json_get(section, "file") == NULL))
        edits[n++] = (dns_model_edit){"coarse", coarse, NULL, 0};
    if (dns_model_section(model, "similarity") == NULL)
        edits[n++] = (dns_model_edit){"similarity",
                                      "{\"direction\": \"max\", \"regions\": \"same\"}", NULL, 0};
    if (dns_model_section(model, "router") == NULL)
        edits[n++] = (dns_model_edit){"router", "{\"kind\": \"coarse\"}", NULL, 0};
    return n;
}

static void write_line(void *payload, dns_message_level level, const char *line)
{
    dns_complain(payload, "%s", line);
}

static dns_status learn(dns_whitening_training_facts *facts, const dns_invocation *invocation,
                        const dns_file_list *list, dns_pool *pool, dns_terminal *terminal)
{
    const struct settings *s = invocation->settings;
    dns_status status = DNS_OK;
    dns_model *model = NULL;
    dns_extractor *extractor = NULL;
    dns_whitening *whitening = NULL;
    dns_json_text provenance = {0}, backbone = {0};
    size_t n_calibrated;
    const dns_extractor_options exact = {.precision = DNS_PRECISION_F32};
    const dns_logger logger = {(void *)(uintptr_t)invocation, write_line};
    const dns_progress progress = dns_terminal_progress(terminal);
    dns_whitening_training_options o = dns_whitening_training_options_default();
    DNS_TRY(open_or_begin(&model, s));
    DNS_TRY(dns_extractor_open(&extractor, model, &exact));
    DNS_TRY(dns_model_media_options(&o.media, model));
    o.out_dim = s->dim;
    o.frames_per_video = s->frames;
    o.copies = s->copies;
    o.edit = s->copies > 0 ? dns_frame_edit : NULL;
    o.seed = s->seed;
    o.progress = &progress;
    o.logger = &logger;
    o.cancel = dns_interrupt_catch();
    o.media.cancel = o.cancel;
    DNS_TRY(dns_whitening_train(&whitening, facts, extractor, (const char *const *)list->paths,
                                list->n, &o, pool));
    if (s->calibrate)
        DNS_TRY(dns_ranges_measure(&backbone, &n_calibrated, model, list, s->seed, o.cancel));
    DNS_TRY(write_provenance(&provenance, s, facts));
    char coarse[64];
    dns_model_edit edits[N_SECTIONS + 1];
    size_t n = untrained_sections(edits, coarse, model, s->dim);
    if (s->calibrate)
        edits[n++] = (dns_model_edit){"backbone", backbone.data, NULL, 0};
    DNS_TRY(dns_whitening_save(whitening, s->out, provenance.data, edits, n));
out:
    dns_json_text_free(&provenance);
    dns_json_text_free(&backbone);
    dns_whitening_free(whitening);
    dns_extractor_free(extractor);
    dns_model_close(model);
    return status;
}

static int run(const dns_invocation *invocation)
{
    const struct settings *s = invocation->settings;
    dns_status status = DNS_OK;
    dns_file_list list = {0};
    dns_pool *pool = NULL;
    dns_whitening_training_facts facts = {0};
    dns_terminal terminal = dns_terminal_open((dns_progress_style)s->progress, invocation->quiet);
    int code = DNS_EXIT_OK;
    if (s->videos.n == 0 || s->out == NULL)
        DNS_FAIL(DNS_ERR_ARG, "--videos and --out are needed");
    for (size_t i = 0; i < s->videos.n; i++)
        DNS_TRY(dns_file_list_add(&list, s->videos.items[i], NULL));
    DNS_TRY(dns_file_list_unique(&list));
    for (size_t i = 0; i < list.n_problems; i++)
        dns_complain(invocation, "%s", list.problems[i]);
    DNS_TRY(dns_pool_create(&pool, s->jobs));
    DNS_TRY(learn(&facts, invocation, &list, pool, &terminal));
    dns_terminal_close(&terminal);
    if (!invocation->quiet)
        printf("whitening from %zu frames of %zu videos, %zu vectors\n", facts.n_frames,
               facts.n_videos, facts.n_vectors);
    if (facts.n_skipped > 0 || list.n_problems > 0)
        code = DNS_EXIT_PARTIAL;
out:
    dns_terminal_close(&terminal);
    if (status != DNS_OK)
        code = dns_fail(invocation, status);
    dns_file_list_free(&list);
    dns_pool_free(pool);
    return code;
}

const dns_command dns_train_whitening = {
    .name = "whitening",
    .summary = "learn the whitening of region features",
    .description =
        "Draws frames from the videos, makes edited copies of them, computes the region features "
        "with the backbone "
        "of the model, and stores the "
        "PCA whitening of them in the model directory. A directory without a model gets "
        "a new one, with the backbone "
        "that is named and installed, and what needs no training: the mean of the region vectors "
        "as coarse vector. The ranges that int8 needs are measured on frames "
        "of the same videos.\n\n"
        "Videos that do not decode are named on standard error; the rest is used and "
        "the exit code is 3.",
    .examples = "dns-train whitening --videos ~/Videos --out my-model  # a new model\n"
                "dns-train whitening --videos a.mp4 --videos b.mp4 -o my-model --seed 2\n",
    .options = options,
    .settings_size = sizeof(struct settings),
    .defaults = &defaults,
    .run = run,
};
