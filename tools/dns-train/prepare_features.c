#include "prepare_features.h"

#include <stdio.h>

#include "dnsel/features_file.h"
#include "dnsel/memory.h"

struct gathering {
    const dns_preparation_options *o;
    dns_preparation_report *report;
    dns_training_writer *writer;
    char *settings;
    size_t dim;
    dns_training_video *videos;
    size_t *n_frames, n, capacity, frame_capacity;
    float *x;
    size_t x_capacity;
};

static dns_status add_video(struct gathering *g, dns_features_file *file, size_t i)
{
    dns_status status = DNS_OK;
    dns_features_shape shape;
    char *name = NULL;
    const char *id = dns_features_file_id(file, i);
    DNS_TRY(dns_features_file_shape(&shape, file, i));
    if (shape.dim != g->dim || shape.n_frames == 0)
        DNS_FAIL(DNS_ERR_SHAPE, "%zu frames of %zu values, the set has %zu", shape.n_frames,
                 shape.dim, g->dim);
    size_t n = shape.n_frames < g->o->max_frames ? shape.n_frames : g->o->max_frames;
    DNS_TRY(dns_reserve(&g->x, &g->x_capacity, n * shape.n_regions * shape.dim, sizeof *g->x));
    DNS_TRY(dns_string_copy(&name, id));
    size_t there;
    if (!dns_training_writer_has(&there, g->writer, id, "original")) {
        DNS_TRY(dns_features_file_read(g->x, file, i, 0, n));
        DNS_TRY(dns_training_writer_put(g->writer, id, "original", g->x, n, shape.n_regions));
        g->report->n_made++;
    }
    DNS_TRY(dns_reserve(&g->videos, &g->capacity, g->n + 1, sizeof *g->videos));
    DNS_TRY(dns_reserve(&g->n_frames, &g->frame_capacity, g->n + 1, sizeof *g->n_frames));
    g->videos[g->n] = (dns_training_video){.path = name, .still = n == 1};
    g->n_frames[g->n++] = n;
    g->report->n_frames += n;
    name = NULL;
out:
    dns_free(name);
    return status;
}

static dns_status add_file(struct gathering *g, dns_features_file *file)
{
    size_t n = dns_features_file_count(file);
    for (size_t i = 0; i < n; i++) {
        if (dns_cancelled(g->o->cancel))
            return dns_status_set(DNS_ERR_CANCELLED, "interrupted");
        dns_status status = add_video(g, file, i);
        if (status == DNS_ERR_NOMEM || status == DNS_ERR_FULL || status == DNS_ERR_IO)
            return status;
        if (status != DNS_OK) {
            g->report->n_skipped++;
            dns_logger_print(g->o->logger, DNS_MESSAGE_WARNING, "left out %s: %s",
                             dns_features_file_id(file, i), dns_status_message());
        }
        if (g->o->progress != NULL)
            g->o->progress->report(g->o->progress->payload, i + 1, n, "videos");
    }
    return DNS_OK;
}

/* The first video whose shape can be read says what the values of all are. */
static dns_status open_writer(struct gathering *g, const char *directory, dns_features_file *file)
{
    dns_features_shape shape;
    dns_status status = DNS_ERR_NOTFOUND;
    for (size_t i = 0; i < dns_features_file_count(file) && status != DNS_OK; i++)
        status = dns_features_file_shape(&shape, file, i);
    if (status != DNS_OK)
        return dns_status_set(status, "no features in the first file");
    g->dim = shape.dim;
    status = dns_string_format(&g->settings,
                               "{\"command\":\"dns-train prepare --features\",\"folds\":%zu,"
                               "\"max_frames\":%zu,\"scene_similarity\":%g,\"seed\":%llu}",
                               g->o->n_folds, g->o->max_frames, g->o->scene_similarity,
                               (unsigned long long)g->o->seed);
    if (status != DNS_OK)
        return status;
    const dns_training_source source = {.dim = g->dim, .settings = g->settings};
    return dns_training_writer_open(&g->writer, directory, &source);
}

static dns_status divide(struct gathering *g)
{
    dns_status status = DNS_OK;
    float *means = NULL;
    if (g->n == 0)
        DNS_FAIL(DNS_ERR_NOTFOUND, "no video of the files can be used");
    DNS_TRY(dns_alloc(&means, g->n, g->dim * sizeof *means));
    for (size_t i = 0; i < g->n; i++)
        DNS_TRY(
            dns_training_writer_mean(means + i * g->dim, g->writer, g->videos[i].path, "original"));
    DNS_TRY(dns_training_find_scenes(g->videos, g->n, g->o->scenes, means, g->dim,
                                     g->o->scene_similarity));
    DNS_TRY(dns_training_make_folds(g->videos, g->n, g->n_frames, g->o->n_folds, g->o->seed));
    for (size_t i = 0; i < g->n; i++) {
        g->report->n_hosts += g->videos[i].host;
        g->report->n_stills += g->videos[i].still;
        if (g->videos[i].scene >= g->report->n_scenes)
            g->report->n_scenes = g->videos[i].scene + 1;
    }
    g->report->n_videos = g->report->n_views = g->n;
    DNS_TRY(dns_training_writer_finish(g->writer, g->videos, g->n, g->o->n_folds, NULL, 0));
out:
    dns_free(means);
    return status;
}

dns_status dns_prepare_from_features(dns_preparation_report *report, const char *directory,
                                     const char *const *files, size_t n_files,
                                     const dns_preparation_options *options)
{
    dns_status status = DNS_OK;
    struct gathering g = {.o = options, .report = report};
    dns_features_file *file = NULL;
    *report = (dns_preparation_report){0};
    for (size_t i = 0; i < n_files; i++) {
        DNS_TRY(dns_features_file_open(&file, files[i]));
        if (i == 0)
            DNS_TRY(open_writer(&g, directory, file));
        DNS_TRY(add_file(&g, file));
        dns_features_file_close(file);
        file = NULL;
    }
    DNS_TRY(divide(&g));
out:
    dns_features_file_close(file);
    dns_training_writer_close(g.writer);
    for (size_t i = 0; i < g.n; i++)
        dns_free((void *)(uintptr_t)g.videos[i].path);
    dns_free(g.videos);
    dns_free(g.n_frames);
    dns_free(g.x);
    dns_free(g.settings);
    return status;
}
