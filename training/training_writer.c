#include <stdio.h>
#include <string.h>

#include "dnsel/json.h"
#include "dnsel/linalg.h"
#include "dnsel/memory.h"
#include "dnsel/store.h"
#include "dnsel/training_set.h"
#include "training_files.h"

struct dns_training_writer {
    char *directory;
    dns_training_source source;
    char *settings;
    dns_store *store;
    dns_batch *batch;
    dns_snapshot *snapshot; /* of the last commit; NULL when it must be taken again */
    size_t n_regions;       /* of what was put first; 0 until then */
};

static void digest_of_source(dns_digest *out, const dns_training_source *source)
{
    char text[33];
    dns_digest_text(&source->features, text);
    char *all = NULL;
    if (dns_string_format(&all, "%zu %s %s", source->dim, text, source->settings) == DNS_OK)
        *out = dns_digest_of(all, strlen(all));
    dns_free(all);
}

/* The index belongs to a "model" that stands for all that the features depend on: so an index of
 * other settings is refused by the store itself. */
static dns_status open_store(dns_training_writer *w)
{
    dns_status status = DNS_OK;
    char *path = NULL, *file = NULL;
    dns_store_settings settings = dns_store_settings_init();
    dns_store_options options = DNS_STORE_OPTIONS_INIT;
    DNS_TRY(dns_path_join(&path, w->directory, "features"));
    DNS_TRY(dns_path_join(&file, path, "index.json"));
    digest_of_source(&settings.model, &w->source);
    if (dns_file_exists(file)) {
        options.model = &settings.model;
        status = dns_store_open(&w->store, path, DNS_STORE_WRITE, &options);
        if (status == DNS_ERR_MODEL)
            DNS_FAIL(DNS_ERR_MODEL, "%s: was begun with another model or other options",
                     w->directory);
        goto out;
    }
    snprintf(settings.model_name, sizeof settings.model_name, "training set");
    settings.kept[DNS_KIND_COARSE] = false;
    settings.kept[DNS_KIND_REGIONS] = true;
    settings.dtype[DNS_KIND_REGIONS] = DNS_F16;
    DNS_TRY(dns_directory_make(w->directory));
    DNS_TRY(dns_store_create(&w->store, path, &settings, &options));
out:
    dns_free(path);
    dns_free(file);
    return status;
}

/* Regions of a frame of what is there. */
static dns_status find_regions(dns_training_writer *w)
{
    dns_status status = DNS_OK;
    dns_cursor *cursor = NULL;
    dns_record record;
    DNS_TRY(dns_snapshot_open(&w->snapshot, w->store));
    DNS_TRY(dns_cursor_create(&cursor, w->snapshot, DNS_KIND_REGIONS, 0));
    status = dns_cursor_next(&record, cursor);
    if (status == DNS_OK)
        w->n_regions = record.shape[1];
    else if (status == DNS_EOF)
        status = DNS_OK;
out:
    dns_cursor_free(cursor);
    return status;
}

dns_status dns_training_writer_open(dns_training_writer **out, const char *directory,
                                    const dns_training_source *source)
{
    dns_status status = DNS_OK;
    dns_training_writer *w = NULL;
    *out = NULL;
    if (source->dim == 0)
        DNS_FAIL(DNS_ERR_ARG, "features of no values");
    DNS_TRY(dns_alloc(&w, 1, sizeof *w));
    w->source = *source;
    DNS_TRY(dns_string_copy(&w->directory, directory));
    DNS_TRY(dns_string_copy(&w->settings, source->settings));
    w->source.settings = w->settings;
    DNS_TRY(open_store(w));
    DNS_TRY(find_regions(w));
    DNS_TRY(dns_batch_create(&w->batch, w->store, NULL));
    *out = w;
    w = NULL;
out:
    dns_training_writer_close(w);
    return status;
}

void dns_training_writer_close(dns_training_writer *w)
{
    if (w == NULL)
        return;
    if (w->batch != NULL)
        (void)!dns_batch_commit(w->batch);
    dns_batch_free(w->batch);
    dns_snapshot_close(w->snapshot);
    dns_store_close(w->store);
    dns_free(w->directory);
    dns_free(w->settings);
    dns_free(w);
}

/* What was put is seen only when it is committed. */
static dns_status refresh(dns_training_writer *w)
{
    dns_status status = DNS_OK;
    if (dns_batch_pending(w->batch) == 0 && w->snapshot != NULL)
        return DNS_OK;
    DNS_TRY(dns_batch_commit(w->batch));
    dns_snapshot_close(w->snapshot);
    w->snapshot = NULL;
    DNS_TRY(dns_snapshot_open(&w->snapshot, w->store));
out:
    return status;
}

static dns_status find(dns_record *record, dns_training_writer *w, const char *path,
                       const char *label)
{
    uint64_t id;
    dns_status status = dns_training_view_id(&id, path, label);
    if (status == DNS_OK)
        status = dns_snapshot_get(record, w->snapshot, DNS_KIND_REGIONS, id, false);
    return status;
}

bool dns_training_writer_has(size_t *n_frames, dns_training_writer *w, const char *path,
                             const char *label)
{
    dns_record record;
    *n_frames = 0;
    if (refresh(w) != DNS_OK || find(&record, w, path, label) != DNS_OK)
        return false;
    *n_frames = record.shape[0];
    return true;
}

dns_status dns_training_writer_put(dns_training_writer *w, const char *path, const char *label,
                                   const float *x, size_t n_frames, size_t n_regions)
{
    dns_status status = DNS_OK;
    char *name = NULL;
    uint16_t *half = NULL;
    size_t n = n_frames * n_regions * w->source.dim;
    if (n_frames == 0 || n_regions == 0 || (w->n_regions != 0 && w->n_regions != n_regions))
        DNS_FAIL(DNS_ERR_SHAPE, "%s: features of %zu frames, %zu regions", path, n_frames,
                 n_regions);
    w->n_regions = n_regions;
    DNS_TRY(dns_training_view_name(&name, path, label));
    DNS_TRY(dns_alloc(&half, n, sizeof *half));
    for (size_t i = 0; i < n; i++)
        half[i] = dns_f16_from_f32(x[i]);
    const dns_meta meta = {
        .name = name, .path = path, .imported = true, .n_frames = (uint32_t)n_frames};
    const dns_record record = {.kind = DNS_KIND_REGIONS,
                               .dtype = DNS_F16,
                               .rank = 3,
                               .shape = {n_frames, n_regions, w->source.dim},
                               .data = half};
    DNS_TRY(dns_batch_put(w->batch, &meta, &record, 1, NULL));
out:
    dns_free(half);
    dns_free(name);
    return status;
}

dns_status dns_training_writer_mean(float *mean, dns_training_writer *w, const char *path,
                                    const char *label)
{
    dns_status status = DNS_OK;
    float *x = NULL;
    dns_record record;
    size_t dim = w->source.dim;
    DNS_TRY(refresh(w));
    DNS_TRY(find(&record, w, path, label));
    size_t rows = record.shape[0] * record.shape[1];
    DNS_TRY(dns_alloc(&x, rows, dim * sizeof *x));
    DNS_TRY(dns_record_to_f32(x, &record));
    memset(mean, 0, dim * sizeof *mean);
    for (size_t r = 0; r < rows; r++)
        for (size_t k = 0; k < dim; k++)
            mean[k] += x[r * dim + k];
    dns_normalise_rows(mean, 1, dim);
out:
    dns_free(x);
    return status;
}

/* ---- the manifest ---- */

static dns_status write_video(dns_json_writer *j, dns_training_writer *w,
                              const dns_training_video *v, const char *const *labels,
                              size_t n_labels)
{
    size_t n_frames;
    dns_json_begin_object(j, NULL);
    dns_json_put_string(j, "path", v->path);
    dns_json_put_integer(j, "scene", (int64_t)v->scene);
    dns_json_put_integer(j, "fold", (int64_t)v->fold);
    if (v->host)
        dns_json_put_bool(j, "host", true);
    if (v->still)
        dns_json_put_bool(j, "still", true);
    if (!dns_training_writer_has(&n_frames, w, v->path, "original"))
        return dns_status_set(DNS_ERR_NOTFOUND, "%s: its features were not put", v->path);
    dns_json_begin_array(j, "views");
    dns_json_put_string(j, NULL, "original");
    for (size_t i = 0; i < n_labels; i++)
        if (strcmp(labels[i], "original") != 0 &&
            dns_training_writer_has(&n_frames, w, v->path, labels[i]))
            dns_json_put_string(j, NULL, labels[i]);
    dns_json_end_array(j);
    dns_json_end_object(j);
    return DNS_OK;
}

dns_status dns_training_writer_finish(dns_training_writer *w, const dns_training_video *videos,
                                      size_t n_videos, size_t n_folds, const char *const *labels,
                                      size_t n_labels)
{
    dns_status status = DNS_OK;
    char *path = NULL, text[33];
    dns_replacement *file = NULL;
    dns_json *settings = NULL;
    FILE *stream;
    dns_record first;
    if (n_videos == 0)
        DNS_FAIL(DNS_ERR_ARG, "a training set without videos");
    DNS_TRY(refresh(w));
    DNS_TRY(find(&first, w, videos[0].path, "original"));
    DNS_TRY(dns_json_parse(&settings, w->source.settings, strlen(w->source.settings), "settings"));
    DNS_TRY(dns_path_join(&path, w->directory, "manifest.json"));
    DNS_TRY(dns_replacement_open(&file, &stream, path));
    dns_json_writer j = dns_json_writer_to(stream, false);
    dns_digest_text(&w->source.features, text);
    dns_json_begin_object(&j, NULL);
    dns_json_put_string(&j, "schema", DNS_TRAINING_SCHEMA);
    dns_json_put_integer(&j, "folds", (int64_t)n_folds);
    dns_json_put_integer(&j, "regions", (int64_t)first.shape[1]);
    dns_json_put_integer(&j, "dim", (int64_t)w->source.dim);
    dns_json_put_string(&j, "features", text);
    dns_json_put_value(&j, "settings", settings);
    dns_json_begin_array(&j, "videos");
    for (size_t i = 0; i < n_videos; i++)
        DNS_TRY(write_video(&j, w, &videos[i], labels, n_labels));
    dns_json_end_array(&j);
    dns_json_end_object(&j);
    DNS_TRY(dns_json_finish(&j));
    status = dns_replacement_commit(file);
    file = NULL;
out:
    dns_replacement_abandon(file);
    dns_json_free(settings);
    dns_free(path);
    return status;
}
