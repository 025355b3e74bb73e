#include "dnsel/preparation.h"

#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "dnsel/edits.h"
#include "dnsel/extractor.h"
#include "dnsel/memory.h"
#include "dnsel/record.h"
#include "dnsel/whitening.h"

/* Pictures that are edited are larger than the network sees them, so that crops keep some detail.
 */
enum { SIDE = 288, LABEL = 40 };

dns_preparation_options dns_preparation_options_default(void)
{
    return (dns_preparation_options){
        .n_folds = 4, .copies = 1, .max_frames = 24, .scene_similarity = 0.5, .seed = 1};
}

/* "rate" changes nothing at one frame a second. */
static const dns_edit_kind kinds[] = {
    DNS_EDIT_REENCODE, DNS_EDIT_CROP,  DNS_EDIT_FLIP,  DNS_EDIT_ROTATE,   DNS_EDIT_OVERLAY,
    DNS_EDIT_COLOUR,   DNS_EDIT_BLUR,  DNS_EDIT_PAD,   DNS_EDIT_PIXELATE, DNS_EDIT_PIP,
    DNS_EDIT_SPEED,    DNS_EDIT_MIX_A, DNS_EDIT_MIX_B, DNS_EDIT_MIX_C};
enum { N_KINDS = sizeof kinds / sizeof kinds[0] };

/* Working memory of one thread. */
struct worker {
    dns_extractor_session *session;
    float *raw, *x;
    size_t raw_capacity, x_capacity;
};

struct preparation {
    const dns_preparation_options *o;
    dns_preparation_report *report;
    dns_extractor *extractor;
    dns_whitening *whitening;
    dns_media_options media, large; /* as the network sees frames, and to be edited */
    dns_training_writer *writer;
    struct worker *workers;
    dns_training_video *videos; /* [n_videos]; while originals are made, one a file */
    size_t *n_frames;           /* of originals; 0: not there */
    size_t n_videos;
    char (*labels)[LABEL]; /* of copies, [N_KINDS * copies] */
    size_t n_labels;
    bool *done;            /* [n_videos, n_labels] */
    pthread_mutex_t lock;  /* of the writer, the report and what follows */
    size_t n_steps, n_all; /* for progress */
    const char *unit;
};

/* ---- frames ---- */

/* Which part of a longer video is used: the second at which it begins. */
static double part_start(const struct preparation *p, const char *path, const dns_media *media)
{
    const char *slash = strrchr(path, '/');
    dns_random random = dns_random_stream(p->o->seed, dns_id_of_name(slash ? slash + 1 : path));
    double u = dns_random_uniform(&random);
    double spare = dns_media_info(media).duration - (double)p->o->max_frames;
    return spare > 0 ? floor(u * spare) : 0;
}

static dns_status read_from(dns_pictures *out, const struct preparation *p, const char *path,
                            const dns_media_options *options, bool from_start)
{
    dns_status status = DNS_OK;
    dns_media *media = NULL;
    dns_frame frame;
    size_t bytes = options->size * options->size * 3, capacity = 0;
    *out = (dns_pictures){.width = options->size, .height = options->size};
    DNS_TRY(dns_media_open(&media, path, options));
    double start = from_start ? 0 : part_start(p, path, media);
    while (out->n < p->o->max_frames && (status = dns_media_next(media, &frame)) == DNS_OK) {
        if (frame.time < start)
            continue;
        DNS_TRY(dns_reserve(&out->pixels, &capacity, out->n + 1, bytes));
        memcpy(out->pixels + out->n++ * bytes, frame.pixels, bytes);
    }
    if (status == DNS_EOF)
        status = DNS_OK;
out:
    dns_media_close(media);
    if (status != DNS_OK)
        dns_pictures_free(out);
    return status;
}

/* A container may say that a video is longer than it is. */
static dns_status read_frames(dns_pictures *out, const struct preparation *p, const char *path,
                              const dns_media_options *options)
{
    dns_status status = read_from(out, p, path, options, false);
    if (status == DNS_OK && out->n == 0)
        status = read_from(out, p, path, options, true);
    if (status == DNS_OK && out->n == 0)
        status = dns_status_set(DNS_ERR_DECODE, "%s: no frames", path);
    return status;
}

/* Features of pictures of the network's size: into the set. */
static dns_status put_features(struct preparation *p, const dns_pictures *frames, const char *path,
                               const char *label, size_t worker)
{
    dns_status status = DNS_OK;
    struct worker *w = &p->workers[worker];
    size_t raw = dns_whitening_in_dim(p->whitening), dim = dns_whitening_out_dim(p->whitening);
    size_t rows = frames->n * 9;
    if (w->session == NULL)
        DNS_TRY(dns_extractor_session_create(&w->session, p->extractor));
    DNS_TRY(dns_reserve(&w->raw, &w->raw_capacity, rows * raw, sizeof *w->raw));
    DNS_TRY(dns_reserve(&w->x, &w->x_capacity, rows * dim, sizeof *w->x));
    DNS_TRY(dns_extractor_run(w->session, w->raw, frames->pixels, frames->n));
    DNS_TRY(dns_whitening_apply(p->whitening, w->x, w->raw, rows));
    pthread_mutex_lock(&p->lock);
    status = dns_training_writer_put(p->writer, path, label, w->x, frames->n, 9);
    p->report->n_made += status == DNS_OK;
    p->report->n_frames += status == DNS_OK ? frames->n : 0;
    pthread_mutex_unlock(&p->lock);
out:
    return status;
}

static void advance(struct preparation *p, size_t n)
{
    p->n_steps += n;
    if (p->o->progress != NULL)
        p->o->progress->report(p->o->progress->payload, p->n_steps, p->n_all, p->unit);
}

/* Whether the whole preparation must end; otherwise what failed is named and left out. */
static dns_status forgive(struct preparation *p, dns_status status, const char *path,
                          const char *label)
{
    switch (status) {
    case DNS_ERR_CANCELLED:
    case DNS_ERR_NOMEM:
    case DNS_ERR_FULL:
    case DNS_ERR_BACKEND:
    case DNS_ERR_INTERNAL:
        return status;
    default:
        dns_logger_print(p->o->logger, DNS_MESSAGE_WARNING, "left out %s%s%s: %s", path,
                         label[0] != '\0' ? ", " : "", label, dns_status_message());
        return DNS_OK;
    }
}

/* ---- originals ---- */

static dns_status original_task(void *payload, size_t i, size_t worker)
{
    struct preparation *p = payload;
    dns_pictures frames = {0};
    dns_status status = DNS_OK;
    if (dns_cancelled(p->o->cancel))
        return dns_status_set(DNS_ERR_CANCELLED, "interrupted");
    if (p->n_frames[i] == 0) {
        status = read_frames(&frames, p, p->videos[i].path, &p->media);
        if (status == DNS_OK)
            status = put_features(p, &frames, p->videos[i].path, "original", worker);
        p->n_frames[i] = status == DNS_OK ? frames.n : 0;
    } else {
        pthread_mutex_lock(&p->lock);
        p->report->n_frames += p->n_frames[i];
        pthread_mutex_unlock(&p->lock);
    }
    dns_pictures_free(&frames);
    pthread_mutex_lock(&p->lock);
    if (status != DNS_OK) {
        p->report->n_skipped++;
        status = forgive(p, status, p->videos[i].path, "");
    }
    advance(p, 1);
    pthread_mutex_unlock(&p->lock);
    return status;
}

static void drop_unreadable(struct preparation *p)
{
    size_t n = 0;
    for (size_t i = 0; i < p->n_videos; i++) {
        if (p->n_frames[i] == 0)
            continue;
        p->videos[n] = p->videos[i];
        p->videos[n].still = p->n_frames[i] == 1;
        p->n_frames[n++] = p->n_frames[i];
    }
    p->n_videos = n;
}

static dns_status make_originals(struct preparation *p)
{
    dns_status status = DNS_OK;
    for (size_t i = 0; i < p->n_videos; i++)
        (void)dns_training_writer_has(&p->n_frames[i], p->writer, p->videos[i].path, "original");
    p->unit = "videos";
    p->n_steps = 0;
    p->n_all = p->n_videos;
    DNS_TRY(dns_pool_run(p->o->pool, p->n_videos, original_task, p));
    size_t n_files = p->n_videos;
    drop_unreadable(p);
    if (p->n_videos == 0)
        DNS_FAIL(DNS_ERR_NOTFOUND, "none of %zu files can be decoded", n_files);
out:
    return status;
}

static dns_status divide(struct preparation *p)
{
    dns_status status = DNS_OK;
    float *means = NULL;
    size_t dim = dns_whitening_out_dim(p->whitening);
    DNS_TRY(dns_alloc(&means, p->n_videos, dim * sizeof *means));
    for (size_t i = 0; i < p->n_videos; i++)
        DNS_TRY(
            dns_training_writer_mean(means + i * dim, p->writer, p->videos[i].path, "original"));
    DNS_TRY(dns_training_find_scenes(p->videos, p->n_videos, p->o->scenes, means, dim,
                                     p->o->scene_similarity));
    DNS_TRY(
        dns_training_make_folds(p->videos, p->n_videos, p->n_frames, p->o->n_folds, p->o->seed));
    for (size_t i = 0; i < p->n_videos; i++) {
        p->report->n_hosts += p->videos[i].host;
        p->report->n_stills += p->videos[i].still;
        if (p->videos[i].scene >= p->report->n_scenes)
            p->report->n_scenes = p->videos[i].scene + 1;
    }
    p->report->n_videos = p->n_videos;
out:
    dns_free(means);
    return status;
}

/* ---- copies ---- */

/* Pictures at another speed: those that are nearest in time. */
static dns_status at_speed(dns_pictures *out, const dns_pictures *in, double speed)
{
    size_t bytes = in->width * in->height * 3, n = (size_t)ceil((double)in->n / speed - 1e-9);
    *out = (dns_pictures){NULL, n > 0 ? n : 1, in->width, in->height};
    dns_status status = dns_alloc(&out->pixels, out->n, bytes);
    for (size_t i = 0; i < out->n && status == DNS_OK; i++) {
        size_t from = (size_t)((double)i * speed + 0.5);
        memcpy(out->pixels + i * bytes, in->pixels + (from < in->n ? from : in->n - 1) * bytes,
               bytes);
    }
    return status;
}

/* Footage for pictures in pictures: a host of the same fold, so that nothing of a held-out fold is
 * trained on; without one any other scene of the fold; without one any other. */
static size_t choose_host(const struct preparation *p, size_t video, dns_random *random)
{
    enum { ANY, SAME_FOLD, HOST };
    for (int wanted = HOST; wanted >= ANY; wanted--) {
        size_t found = SIZE_MAX, n = 0;
        for (size_t i = 0; i < p->n_videos; i++)
            if (p->videos[i].scene != p->videos[video].scene &&
                (wanted == ANY || p->videos[i].fold == p->videos[video].fold) &&
                (wanted < HOST || p->videos[i].host) && dns_random_below(random, ++n) == 0)
                found = i;
        if (found != SIZE_MAX)
            return found;
    }
    return SIZE_MAX;
}

static dns_status make_copy(struct preparation *p, const dns_pictures *original, size_t video,
                            size_t label, size_t worker)
{
    dns_status status = DNS_OK;
    dns_pictures timed = {0}, host = {0}, edited = {0}, fitted = {0};
    dns_edit_plan plan;
    const char *path = p->videos[video].path, *slash = strrchr(path, '/');
    dns_random random =
        dns_random_stream(p->o->seed + label + 1, dns_id_of_name(slash != NULL ? slash + 1 : path));
    dns_edit_draw(&plan, kinds[label % N_KINDS], original->width, original->height, &random);
    DNS_TRY(at_speed(&timed, original, original->n > 1 ? plan.speed : 1));
    if (plan.base == DNS_EDIT_PIP) {
        size_t other = choose_host(p, video, &random);
        if (other == SIZE_MAX)
            DNS_FAIL(DNS_ERR_ARG, "no other footage");
        DNS_TRY(read_frames(&host, p, p->videos[other].path, &p->large));
    }
    DNS_TRY(dns_edit_apply_pictures(&edited, &timed, host.n > 0 ? &host : NULL, &plan));
    DNS_TRY(dns_pictures_fit(&fitted, &edited, &p->media));
    DNS_TRY(put_features(p, &fitted, path, p->labels[label], worker));
out:
    dns_pictures_free(&timed);
    dns_pictures_free(&host);
    dns_pictures_free(&edited);
    dns_pictures_free(&fitted);
    return status;
}

static dns_status copies_task(void *payload, size_t i, size_t worker)
{
    struct preparation *p = payload;
    dns_status status = DNS_OK;
    dns_pictures original = {0};
    const bool *done = p->done + i * p->n_labels;
    for (size_t k = 0; k < p->n_labels && status == DNS_OK; k++) {
        if (dns_cancelled(p->o->cancel)) {
            status = dns_status_set(DNS_ERR_CANCELLED, "interrupted");
        } else if (!done[k]) {
            if (original.n == 0)
                status = read_frames(&original, p, p->videos[i].path, &p->large);
            if (status == DNS_OK)
                status = make_copy(p, &original, i, k, worker);
        }
        pthread_mutex_lock(&p->lock);
        if (status != DNS_OK)
            status = forgive(p, status, p->videos[i].path, p->labels[k]);
        else
            p->report->n_views += !done[k];
        advance(p, 1);
        pthread_mutex_unlock(&p->lock);
    }
    dns_pictures_free(&original);
    return status;
}

static size_t choose_work(struct preparation *p)
{
    size_t n_frames = 0, n;
    for (size_t i = 0; i < p->n_videos; i++)
        for (size_t k = 0; k < p->n_labels; k++) {
            bool *done = &p->done[i * p->n_labels + k];
            *done = p->videos[i].host ||
                    dns_training_writer_has(&n, p->writer, p->videos[i].path, p->labels[k]);
            if (*done && !p->videos[i].host) {
                p->report->n_frames += n;
                p->report->n_views++;
            }
            n_frames += *done ? 0 : p->n_frames[i];
        }
    return n_frames;
}

static dns_status make_copies(struct preparation *p, double seconds_a_frame)
{
    dns_status status = DNS_OK;
    p->n_labels = N_KINDS * p->o->copies;
    DNS_TRY(dns_alloc(&p->labels, p->n_labels, sizeof *p->labels));
    for (size_t i = 0; i < p->n_labels; i++) {
        const char *name = dns_edit_name(kinds[i % N_KINDS]);
        if (i < N_KINDS)
            snprintf(p->labels[i], LABEL, "%s", name);
        else
            snprintf(p->labels[i], LABEL, "%s.%zu", name, i / N_KINDS + 1);
    }
    DNS_TRY(dns_alloc(&p->done, p->n_videos, p->n_labels + 1));
    size_t n_frames = choose_work(p);
    if (n_frames > 0 && seconds_a_frame > 0)
        dns_logger_print(p->o->logger, DNS_MESSAGE_INFO,
                         "edited copies: about %zu frames, about %.0f minutes", n_frames,
                         ceil((double)n_frames * seconds_a_frame / 60));
    p->unit = "copies";
    p->n_steps = 0;
    p->n_all = p->n_videos * p->n_labels;
    DNS_TRY(dns_pool_run(p->o->pool, p->n_videos, copies_task, p));
out:
    return status;
}

/* ---- the whole ---- */

/* All that features and folds depend on but the model and the pictures themselves. */
static dns_status describe(char **out, const struct preparation *p)
{
    dns_status status = DNS_OK;
    const dns_preparation_options *o = p->o;
    dns_hasher *hasher = NULL;
    char text[33], table[33] = "";
    DNS_TRY(dns_hasher_create(&hasher));
    for (size_t i = 0; i < p->n_videos; i++) {
        const char *slash = strrchr(p->videos[i].path, '/');
        const char *name = slash != NULL ? slash + 1 : p->videos[i].path;
        dns_hasher_add(hasher, name, strlen(name) + 1);
    }
    dns_digest digest = dns_hasher_digest(hasher);
    dns_digest_text(&digest, text);
    if (o->scenes != NULL) {
        DNS_TRY(dns_digest_of_file(&digest, o->scenes));
        dns_digest_text(&digest, table);
    }
    DNS_TRY(dns_string_format(
        out,
        "{\"command\":\"dns-train prepare\",\"files\":%zu,\"names\":\"%s\",\"folds\":%zu,"
        "\"copies\":%zu,\"max_frames\":%zu,\"scenes\":\"%s\",\"scene_similarity\":%g,\"seed\":%"
        "llu}",
        p->n_videos, text, o->n_folds, o->copies, o->max_frames, table, o->scene_similarity,
        (unsigned long long)o->seed));
out:
    dns_hasher_free(hasher);
    return status;
}

static dns_status open_preparation(struct preparation *p, const char *directory,
                                   const dns_model *model, const char *const *paths, size_t n_paths)
{
    static const char *const sections[] = {"backbone", "whitening", "preprocessing"};
    dns_status status = DNS_OK;
    dns_training_source source = {0};
    char *settings = NULL;
    if (p->o->max_frames == 0)
        DNS_FAIL(DNS_ERR_ARG, "no frames of a video");
    DNS_TRY(dns_extractor_open(&p->extractor, model, NULL));
    const dns_safetensors *weights = dns_model_weights(model, "whitening");
    if (weights == NULL)
        DNS_FAIL(DNS_ERR_UNSUPPORTED, "%s: has no whitening", dns_model_directory(model));
    DNS_TRY(dns_whitening_load(&p->whitening, weights, 0));
    DNS_TRY(dns_model_media_options(&p->media, model));
    p->media.cancel = p->o->cancel;
    p->large = p->media;
    p->large.size = p->large.short_side = SIDE;
    DNS_TRY(dns_alloc(&p->workers, dns_pool_size(p->o->pool), sizeof *p->workers));
    DNS_TRY(dns_alloc(&p->videos, n_paths, sizeof *p->videos));
    DNS_TRY(dns_alloc(&p->n_frames, n_paths, sizeof *p->n_frames));
    for (size_t i = 0; i < n_paths; i++)
        p->videos[i].path = paths[i];
    p->n_videos = n_paths;
    DNS_TRY(describe(&settings, p));
    source.dim = dns_whitening_out_dim(p->whitening);
    source.settings = settings;
    DNS_TRY(dns_model_digest_of(&source.features, model, sections, 3));
    DNS_TRY(dns_training_writer_open(&p->writer, directory, &source));
out:
    dns_free(settings);
    return status;
}

static void close_preparation(struct preparation *p)
{
    for (size_t i = 0; p->workers != NULL && i < dns_pool_size(p->o->pool); i++) {
        dns_extractor_session_free(p->workers[i].session);
        dns_free(p->workers[i].raw);
        dns_free(p->workers[i].x);
    }
    dns_training_writer_close(p->writer);
    dns_free(p->workers);
    dns_free(p->videos);
    dns_free(p->n_frames);
    dns_free(p->labels);
    dns_free(p->done);
    dns_whitening_free(p->whitening);
    dns_extractor_free(p->extractor);
    pthread_mutex_destroy(&p->lock);
}

dns_status dns_training_prepare(dns_preparation_report *report, const char *directory,
                                const dns_model *model, const char *const *paths, size_t n_paths,
                                const dns_preparation_options *options)
{
    dns_status status = DNS_OK;
    struct preparation p = {.o = options, .report = report};
    const char **labels = NULL;
    *report = (dns_preparation_report){0};
    pthread_mutex_init(&p.lock, NULL);
    DNS_TRY(open_preparation(&p, directory, model, paths, n_paths));
    double start = dns_seconds();
    DNS_TRY(make_originals(&p));
    double a_frame = report->n_made > 0 ? (dns_seconds() - start) / (double)report->n_frames : 0;
    DNS_TRY(divide(&p));
    DNS_TRY(make_copies(&p, a_frame));
    DNS_TRY(dns_alloc(&labels, p.n_labels, sizeof *labels));
    for (size_t i = 0; i < p.n_labels; i++)
        labels[i] = p.labels[i];
    DNS_TRY(dns_training_writer_finish(p.writer, p.videos, p.n_videos, options->n_folds, labels,
                                       p.n_labels));
    report->n_views += p.n_videos;
out:
    dns_free(labels);
    close_preparation(&p);
    return status;
}
