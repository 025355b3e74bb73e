#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "train_commands.h"
#include "dnsel/extractor.h"
#include "dnsel/file.h"
#include "dnsel/memory.h"
#include "dnsel/tail_training.h"
#include "pictures.h"
#include "terminal.h"

struct settings {
    dns_string_list videos, photos;
    const char *out, *name, *scenes, *resume, *log_file;
    size_t per_video, views, runs, steps, batch, cluster, dim, jobs;
    double stride, rate, weight_decay, tau;
    uint64_t seed;
    int backbone, geometry, progress;
};

struct work {
    const dns_invocation *invocation;
    const struct settings *s;
    dns_pool *pool;
    dns_cancel *cancel;
    dns_terminal terminal;
    const dns_backbone *backbone;
    dns_safetensors *base;
    dns_graph *graph;
    dns_backbone_front *front;
    dns_backbone_tail *tail;
    dns_media_options media;
    dns_training_pictures pictures;
    dns_tail_views *views;
    FILE *log;
    double loss; /* smoothed */
};

static void warn(void *payload, dns_message_level level, const char *line)
{
    (void)level;
    dns_complain(payload, "%s", line);
}

static dns_status open_backbone(struct work *w)
{
    static const char *const names[] = {"efficientnet-lite0", "efficientnet-lite1",
                                        "efficientnet-lite2"};
    dns_status status = DNS_OK;
    char *path = NULL;
    DNS_TRY(dns_backbone_find(&w->backbone, names[w->s->backbone]));
    DNS_TRY(dns_backbone_path(&path, w->backbone->name));
    DNS_TRY(dns_safetensors_open(&w->base, path));
    DNS_TRY(dns_backbone_graph(&w->graph, w->backbone, w->base, NULL));
    DNS_TRY(dns_backbone_front_create(&w->front, w->backbone, w->graph));
    DNS_TRY(dns_backbone_tail_of(&w->tail, w->backbone, w->graph, w->s->dim, true));
    w->media = dns_media_options_default();
    w->media.geometry = (dns_geometry)w->s->geometry;
    w->media.size = w->backbone->input_size;
out:
    dns_free(path);
    return status;
}

static dns_status read_pictures(struct work *w)
{
    dns_status status = DNS_OK;
    dns_file_list list = {0};
    DNS_TRY(dns_training_files(&list, &w->s->videos, &w->s->photos));
    const dns_training_pictures_options options = {
        .per_video = w->s->per_video,
        .scenes = w->s->scenes,
        .seed = w->s->seed,
        .media = w->media,
        .logger = {(void *)(uintptr_t)w->invocation, warn},
        .progress = dns_terminal_progress(&w->terminal),
        .cancel = w->cancel,
        .pool = w->pool};
    DNS_TRY(dns_training_pictures_read(&w->pictures, &list, &options));
out:
    dns_file_list_free(&list);
    return status;
}

static dns_status make_views(struct work *w)
{
    size_t side = w->backbone->input_size;
    const dns_progress progress = dns_terminal_progress(&w->terminal);
    dns_status status =
        dns_tail_views_create(&w->views, w->front, w->pictures.scenes, w->pictures.n, w->s->views);
    if (status == DNS_OK)
        status = dns_tail_views_fill(w->views, w->front, side * side * 3, dns_training_view,
                                     &w->pictures, w->pool, &progress, w->cancel);
    return status;
}

static dns_status set_whitening(struct work *w, dns_whitening **out)
{
    dns_status status = dns_tail_fit_whitening(out, w->tail, w->views, w->s->dim, w->pool);
    if (status == DNS_OK)
        dns_backbone_tail_set_whitening(w->tail, dns_whitening_mean(*out),
                                        dns_whitening_matrix(*out));
    return status;
}

static void on_step(void *payload, size_t step, double loss, double norm)
{
    struct work *w = payload;
    w->loss = step == 1 ? loss : 0.95 * w->loss + 0.05 * loss;
    if (w->log != NULL)
        fprintf(w->log, "{\"step\":%zu,\"loss\":%.6g,\"gradient_norm\":%.6g}\n", step, loss, norm);
}

static dns_status train(struct work *w)
{
    const struct settings *s = w->s;
    dns_tail_training_options options = dns_tail_training_options_default();
    options.runs = s->runs;
    options.stride = s->stride;
    options.steps = s->steps;
    options.batch = s->batch;
    options.rate = s->rate;
    options.weight_decay = s->weight_decay;
    options.tau = s->tau;
    options.cluster = s->cluster;
    options.seed = s->seed;
    options.checkpoint = s->resume;
    options.progress = dns_terminal_progress(&w->terminal);
    options.cancel = w->cancel;
    options.payload = w;
    options.report = on_step;
    return dns_tail_train(w->tail, w->views, &options, w->pool);
}

/* What a reader needs to make this model again. */
static dns_status provenance(char **out, const struct work *w)
{
    const struct settings *s = w->s;
    return dns_string_format(
        out,
        "{\"command\":\"dns-train "
        "backbone\",\"files\":%zu,\"pictures\":%zu,\"views\":%zu,\"runs\":%zu,\"stride\":%g,"
        "\"steps\":%zu,"
        "\"batch\":%zu,"
        "\"cluster\":%zu,\"rate\":%g,\"weight_decay\":%g,\"tau\":%g,\"seed\":%llu,\"final_loss\":%."
        "4g}",
        w->pictures.n_files, w->pictures.n, s->views, s->runs, s->stride, s->steps, s->batch,
        s->cluster, s->rate, s->weight_decay, s->tau, (unsigned long long)s->seed, w->loss);
}

/* Half precision keeps every figure and halves the file; it is what is read back, so it is what
 * counts. */
static dns_status narrow(uint16_t **out, const float *x, size_t n)
{
    dns_status status = dns_alloc(out, n, sizeof **out);
    for (size_t i = 0; i < n && status == DNS_OK; i++)
        (*out)[i] = dns_f16_from_f32(x[i]);
    return status;
}

static dns_status write_model(struct work *w, const dns_whitening *whitening)
{
    enum { LAYERS = 64 };
    dns_status status = DNS_OK;
    dns_named_tensor tensors[LAYERS], white[2];
    uint16_t *blocks[LAYERS + 2] = {NULL};
    char *note = NULL, *backbone = NULL, *coarse = NULL, *preprocessing = NULL, *name = NULL,
         *space = NULL, text[33];
    dns_digest digest;
    const dns_parameters *p = dns_backbone_tail_parameters(w->tail);
    size_t n = dns_parameters_count(p), in = dns_whitening_in_dim(whitening),
           dim = dns_whitening_out_dim(whitening);
    for (size_t i = 0; i < n; i++) {
        const dns_parameter *q = dns_parameters_at(p, i);
        DNS_TRY(narrow(&blocks[i], dns_parameters_weight(p, i), q->count));
        tensors[i] =
            (dns_named_tensor){q->name, {.dtype = DNS_F16, .rank = q->rank, .data = blocks[i]}};
        memcpy(tensors[i].tensor.shape, q->shape, q->rank * sizeof *q->shape);
    }
    DNS_TRY(narrow(&blocks[LAYERS], dns_whitening_mean(whitening), in));
    DNS_TRY(narrow(&blocks[LAYERS + 1], dns_whitening_matrix(whitening), in * dim));
    white[0] = (dns_named_tensor){
        "pca.mean", {.dtype = DNS_F16, .rank = 1, .shape = {in}, .data = blocks[LAYERS]}};
    white[1] = (dns_named_tensor){
        "pca.DVt", {.dtype = DNS_F16, .rank = 2, .shape = {in, dim}, .data = blocks[LAYERS + 1]}};
    DNS_TRY(dns_backbone_digest(&digest, w->backbone, w->base));
    dns_digest_text(&digest, text);
    DNS_TRY(provenance(&note, w));
    DNS_TRY(dns_string_format(&name, "\"%s\"", w->s->name));
    DNS_TRY(dns_string_format(&backbone, "{\"name\":\"%s\",\"weights\":\"%s\",\"provenance\":%s}",
                              w->backbone->name, text, note));
    DNS_TRY(dns_string_format(
        &preprocessing,
        "{\"geometry\":\"%s\",\"interpolation\":\"%s\",\"short_side\":%zu,\"size\":%zu}",
        dns_geometry_name(w->media.geometry), dns_interpolation_name(w->media.interpolation),
        w->media.short_side, w->media.size));
    DNS_TRY(dns_string_format(&coarse, "{\"kind\":\"mean\",\"dim\":%zu}", dim));
    DNS_TRY(dns_string_format(&space, "{\"dim\":%zu,\"provenance\":%s}", dim, note));
    const dns_model_edit edits[] = {
        {"name", name, NULL, 0},
        {"preprocessing", preprocessing, NULL, 0},
        {"backbone", backbone, tensors, n},
        {"whitening", space, white, 2},
        {"coarse", coarse, NULL, 0},
        {"similarity", "{\"direction\":\"max\",\"regions\":\"same\"}", NULL, 0},
    };
    DNS_TRY(dns_model_edit_apply(w->s->out, edits, sizeof edits / sizeof edits[0]));
out:
    for (size_t i = 0; i < LAYERS + 2; i++)
        dns_free(blocks[i]);
    dns_free(note);
    dns_free(name);
    dns_free(backbone);
    dns_free(preprocessing);
    dns_free(coarse);
    dns_free(space);
    return status;
}

static void close_work(struct work *w)
{
    if (w->log != NULL)
        fclose(w->log);
    dns_tail_views_free(w->views);
    dns_training_pictures_free(&w->pictures);
    dns_backbone_tail_free(w->tail);
    dns_backbone_front_free(w->front);
    dns_graph_free(w->graph);
    dns_safetensors_close(w->base);
    dns_pool_free(w->pool);
}

static void say(const struct work *w, const char *text)
{
    if (!w->invocation->quiet)
        printf("%s\n", text);
    fflush(stdout);
}

static int run(const dns_invocation *invocation)
{
    struct work w = {.invocation = invocation, .s = invocation->settings};
    dns_status status = DNS_OK;
    dns_whitening *before = NULL, *after = NULL;
    double start = dns_seconds();
    if (w.s->out == NULL || w.s->videos.n + w.s->photos.n == 0)
        DNS_FAIL(DNS_ERR_ARG, "--out and at least one of --videos and --photos are needed");
    w.cancel = dns_interrupt_catch();
    w.terminal = dns_terminal_open((dns_progress_style)w.s->progress, invocation->quiet);
    DNS_TRY(dns_pool_create(&w.pool, w.s->jobs));
    if (w.s->log_file != NULL && (w.log = fopen(w.s->log_file, "wbe")) == NULL) {
        status = dns_status_set_errno("%s", w.s->log_file);
        goto out;
    }
    DNS_TRY(open_backbone(&w));
    say(&w, "reading pictures");
    DNS_TRY(read_pictures(&w));
    say(&w, "making edited views");
    DNS_TRY(make_views(&w));
    DNS_TRY(set_whitening(&w, &before));
    say(&w, "training");
    w.terminal = dns_terminal_open((dns_progress_style)w.s->progress, invocation->quiet);
    DNS_TRY(train(&w));
    DNS_TRY(set_whitening(&w, &after));
    DNS_TRY(write_model(&w, after));
    dns_terminal_close(&w.terminal);
    if (!invocation->quiet)
        printf("%s: backbone tail and whitening from %zu pictures of %zu files (%zu left out), "
               "loss %.3f, %.0f s\n",
               w.s->out, w.pictures.n, w.pictures.n_files, w.pictures.n_unreadable, w.loss,
               dns_seconds() - start);
out:
    dns_terminal_close(&w.terminal);
    dns_whitening_free(before);
    dns_whitening_free(after);
    int code = status == DNS_OK ? DNS_EXIT_OK : dns_fail(invocation, status);
    close_work(&w);
    return code;
}

static const struct settings defaults = {.name = "trained",
                                         .per_video = 5,
                                         .views = 8,
                                         .runs = 6,
                                         .stride = 1.4,
                                         .steps = 70,
                                         .batch = 48,
                                         .cluster = 3,
                                         .dim = 512,
                                         .rate = 3e-4,
                                         .weight_decay = 1e-2,
                                         .tau = 0.05,
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
     .help = "model directory that is made, or whose backbone, whitening and coarse network are "
             "replaced"},
    {.name = "name",
     .kind = DNS_OPTION_STRING,
     .offset = AT(name),
     .value = "NAME",
     .help = "name of the model"},
    {.name = "scenes",
     .kind = DNS_OPTION_STRING,
     .offset = AT(scenes),
     .value = "CSV",
     .help = "columns file and scene_group: files of one scene are never taken for different"},
    {.name = "backbone",
     .kind = DNS_OPTION_CHOICE,
     .offset = AT(backbone),
     .choices = "efficientnet-lite0|efficientnet-lite1|efficientnet-lite2",
     .help = "network whose tail is trained"},
    {.name = "geometry",
     .kind = DNS_OPTION_CHOICE,
     .offset = AT(geometry),
     .choices = "short-side-crop|stretch",
     .help = "how frames are brought to the size of the network"},
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
     .help = "views of a picture, the picture itself included; 38 KB each",
     .minimum = 2,
     .maximum = 4096},
    {.name = "runs",
     .kind = DNS_OPTION_COUNT,
     .offset = AT(runs),
     .value = "N",
     .help = "trainings with seeds of their own, whose mean weights are taken",
     .minimum = 1,
     .maximum = 100},
    {.name = "stride",
     .kind = DNS_OPTION_NUMBER,
     .offset = AT(stride),
     .value = "X",
     .help = "how far the weights go from the start towards that mean, and beyond it above 1"},
    {.name = "steps",
     .kind = DNS_OPTION_COUNT,
     .offset = AT(steps),
     .value = "N",
     .help = "steps of a training",
     .minimum = 1,
     .maximum = 1e7},
    {.name = "batch",
     .kind = DNS_OPTION_COUNT,
     .offset = AT(batch),
     .value = "N",
     .help = "scenes a step",
     .minimum = 2,
     .maximum = 4096},
    {.name = "cluster",
     .kind = DNS_OPTION_COUNT,
     .offset = AT(cluster),
     .value = "N",
     .help = "pictures of a batch come in groups of so many near neighbours",
     .minimum = 1,
     .maximum = 12},
    {.name = "rate",
     .kind = DNS_OPTION_NUMBER,
     .offset = AT(rate),
     .value = "X",
     .help = "peak learning rate"},
    {.name = "weight-decay",
     .kind = DNS_OPTION_NUMBER,
     .offset = AT(weight_decay),
     .value = "X",
     .help = "decoupled weight decay"},
    {.name = "tau",
     .kind = DNS_OPTION_NUMBER,
     .offset = AT(tau),
     .value = "X",
     .help = "temperature of InfoNCE"},
    {.name = "dim",
     .kind = DNS_OPTION_COUNT,
     .offset = AT(dim),
     .value = "N",
     .help = "values of a region after whitening",
     .minimum = 8,
     .maximum = 2048},
    {.name = "seed",
     .kind = DNS_OPTION_SEED,
     .offset = AT(seed),
     .value = "N",
     .help = "seed of everything drawn"},
    {.name = "checkpoint",
     .kind = DNS_OPTION_STRING,
     .offset = AT(resume),
     .value = "FILE",
     .help = "kept while training; found there, training goes on from it with the same result"},
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
const dns_command dns_train_backbone = {
    .name = "backbone",
    .synopsis = "",
    .summary = "train the tail of the backbone, and the whitening behind it, on edited copies",
    .description = "Takes pictures from videos and photographs, makes edited views of them, and "
                   "trains the last blocks of the backbone so that views of one picture are nearer "
                   "to each other than to those of others; takes the mean of several such "
                   "trainings, fits the whitening anew and writes both into a model directory. No "
                   "labels are needed. With the defaults this takes some minutes; memory is 250 KB "
                   "a picture and 38 KB a view.",
    .examples = "  dns-train backbone --videos ~/Videos --out my-model\n"
                "  dns-index build my.dns ~/Videos --model my-model\n",
    .options = options,
    .settings_size = sizeof(struct settings),
    .defaults = &defaults,
    .min_operands = 0,
    .max_operands = 0,
    .run = run,
};
