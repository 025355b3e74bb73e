#include "dnsel/training_set.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dnsel/json.h"
#include "dnsel/linalg.h"
#include "dnsel/memory.h"
#include "dnsel/store.h"
#include "training_files.h"

struct view {
    char *edit;
    dns_record record;
};

struct dns_training_set {
    dns_json *manifest;
    char *settings;
    size_t settings_size;
    dns_store *store;
    dns_snapshot *snapshot;
    dns_training_video *videos;
    size_t *first_view; /* [n_videos + 1] */
    struct view *views;
    size_t n_videos, n_scenes, n_folds, n_regions, dim;
    dns_digest features;
};

dns_status dns_training_view_name(char **out, const char *path, const char *label)
{
    return dns_string_format(out, "%s#%s", path, label);
}

dns_status dns_training_view_id(uint64_t *id, const char *path, const char *label)
{
    char *name = NULL;
    dns_status status = dns_training_view_name(&name, path, label);
    if (status == DNS_OK)
        *id = dns_id_of_name(name);
    dns_free(name);
    return status;
}

/* ---- opening ---- */

static dns_status read_manifest(dns_training_set *set, const char *directory)
{
    dns_status status = DNS_OK;
    char *path = NULL;
    FILE *stream = NULL;
    DNS_TRY(dns_path_join(&path, directory, "manifest.json"));
    if (!dns_file_exists(path))
        DNS_FAIL(DNS_ERR_FORMAT, "%s: no training set, or one whose preparation was not finished",
                 directory);
    DNS_TRY(dns_json_read(&set->manifest, path));
    const char *schema = dns_json_string(dns_json_get(set->manifest, "schema"), "");
    if (strncmp(schema, "dnsel.training/", 15) != 0)
        DNS_FAIL(DNS_ERR_FORMAT, "%s: no manifest of a training set", path);
    if (strcmp(schema, DNS_TRAINING_SCHEMA) != 0)
        DNS_FAIL(DNS_ERR_VERSION, "%s: %s, this is %s", path, schema, DNS_TRAINING_SCHEMA);
    const dns_json *m = set->manifest;
    set->n_videos = dns_json_size(dns_json_get(m, "videos"));
    set->n_folds = (size_t)dns_json_integer(dns_json_get(m, "folds"), 0);
    set->n_regions = (size_t)dns_json_integer(dns_json_get(m, "regions"), 0);
    set->dim = (size_t)dns_json_integer(dns_json_get(m, "dim"), 0);
    if (set->n_videos == 0 || set->n_folds == 0 || set->n_regions == 0 || set->dim == 0 ||
        set->n_regions > 256 || set->dim > 1 << 20 || set->n_videos > UINT32_MAX ||
        !dns_digest_parse(&set->features, dns_json_string(dns_json_get(m, "features"), "")))
        DNS_FAIL(DNS_ERR_FORMAT, "%s: numbers are missing", path);
    stream = open_memstream(&set->settings, &set->settings_size);
    if (stream == NULL)
        DNS_FAIL(DNS_ERR_NOMEM, "%s", path);
    dns_json_writer w = dns_json_writer_to(stream, false);
    dns_json_put_value(&w, NULL, dns_json_get(m, "settings"));
    DNS_TRY(dns_json_finish(&w));
    fflush(stream);
    if (set->settings_size > 0 && set->settings[set->settings_size - 1] == '\n')
        set->settings[set->settings_size - 1] = '\0';
out:
    if (stream != NULL)
        fclose(stream);
    dns_free(path);
    return status;
}

static dns_status read_view(dns_training_set *set, size_t video, size_t view, const char *label)
{
    dns_status status = DNS_OK;
    struct view *v = &set->views[set->first_view[video] + view];
    const char *path = set->videos[video].path;
    uint64_t id;
    DNS_TRY(dns_training_view_id(&id, path, label));
    DNS_TRY(dns_string_copy(&v->edit, label));
    v->edit[strcspn(v->edit, ".")] = '\0';
    status = dns_snapshot_get(&v->record, set->snapshot, DNS_KIND_REGIONS, id, false);
    if (status == DNS_ERR_NOTFOUND)
        DNS_FAIL(DNS_ERR_CORRUPT, "%s: no features of its view '%s'", path, label);
    if (status == DNS_OK &&
        (v->record.rank != 3 || v->record.shape[0] == 0 || v->record.shape[1] != set->n_regions ||
         v->record.shape[2] != set->dim || v->record.dtype != DNS_F16))
        DNS_FAIL(DNS_ERR_CORRUPT, "%s: features of its view '%s' have another shape", path, label);
out:
    return status;
}

static dns_status read_video(dns_training_set *set, size_t i, const dns_json *json)
{
    dns_training_video *v = &set->videos[i];
    const dns_json *views = dns_json_get(json, "views");
    int64_t scene = dns_json_integer(dns_json_get(json, "scene"), -1),
            fold = dns_json_integer(dns_json_get(json, "fold"), -1);
    v->path = dns_json_string(dns_json_get(json, "path"), NULL);
    v->host = dns_json_bool(dns_json_get(json, "host"), false);
    v->still = dns_json_bool(dns_json_get(json, "still"), false);
    v->n_views = dns_json_size(views);
    if (v->path == NULL || scene < 0 || (size_t)scene >= set->n_videos || fold < 0 ||
        (size_t)fold >= set->n_folds || v->n_views == 0)
        return dns_status_set(DNS_ERR_FORMAT, "manifest.json: video %zu is not described", i);
    v->scene = (size_t)scene;
    v->fold = (size_t)fold;
    if (v->scene >= set->n_scenes)
        set->n_scenes = v->scene + 1;
    for (size_t k = 0; k < v->n_views; k++) {
        dns_status status =
            read_view(set, i, k, dns_json_string(dns_json_at(views, k), "original"));
        if (status != DNS_OK)
            return status;
    }
    return DNS_OK;
}

static dns_status read_videos(dns_training_set *set)
{
    dns_status status = DNS_OK;
    const dns_json *videos = dns_json_get(set->manifest, "videos");
    size_t n = 0;
    DNS_TRY(dns_alloc(&set->videos, set->n_videos, sizeof *set->videos));
    DNS_TRY(dns_alloc(&set->first_view, set->n_videos + 1, sizeof *set->first_view));
    for (size_t i = 0; i < set->n_videos; i++) {
        n += dns_json_size(dns_json_get(dns_json_at(videos, i), "views"));
        set->first_view[i + 1] = n;
    }
    DNS_TRY(dns_alloc(&set->views, n, sizeof *set->views));
    for (size_t i = 0; i < set->n_videos; i++)
        DNS_TRY(read_video(set, i, dns_json_at(videos, i)));
out:
    return status;
}

dns_status dns_training_set_open(dns_training_set **out, const char *directory)
{
    dns_status status = DNS_OK;
    dns_training_set *set = NULL;
    char *features = NULL;
    *out = NULL;
    DNS_TRY(dns_alloc(&set, 1, sizeof *set));
    DNS_TRY(read_manifest(set, directory));
    DNS_TRY(dns_path_join(&features, directory, "features"));
    DNS_TRY(dns_store_open(&set->store, features, DNS_STORE_READ, NULL));
    DNS_TRY(dns_snapshot_open(&set->snapshot, set->store));
    DNS_TRY(read_videos(set));
    *out = set;
    set = NULL;
out:
    dns_free(features);
    dns_training_set_close(set);
    return status;
}

void dns_training_set_close(dns_training_set *set)
{
    if (set == NULL)
        return;
    for (size_t i = 0; set->views != NULL && i < set->first_view[set->n_videos]; i++)
        dns_free(set->views[i].edit);
    dns_free(set->views);
    dns_free(set->videos);
    dns_free(set->first_view);
    dns_snapshot_close(set->snapshot);
    dns_store_close(set->store);
    free(set->settings);
    dns_json_free(set->manifest);
    dns_free(set);
}

/* ---- looking ---- */

size_t dns_training_set_n_videos(const dns_training_set *set)
{
    return set->n_videos;
}

size_t dns_training_set_n_scenes(const dns_training_set *set)
{
    return set->n_scenes;
}

size_t dns_training_set_n_folds(const dns_training_set *set)
{
    return set->n_folds;
}

size_t dns_training_set_n_regions(const dns_training_set *set)
{
    return set->n_regions;
}

size_t dns_training_set_dim(const dns_training_set *set)
{
    return set->dim;
}

dns_digest dns_training_set_features(const dns_training_set *set)
{
    return set->features;
}

const char *dns_training_set_settings(const dns_training_set *set)
{
    return set->settings;
}

const dns_training_video *dns_training_set_video(const dns_training_set *set, size_t video)
{
    return &set->videos[video];
}

static const struct view *view_of(const dns_training_set *set, size_t video, size_t view)
{
    return &set->views[set->first_view[video] + view];
}

dns_training_view dns_training_set_view(const dns_training_set *set, size_t video, size_t view)
{
    const struct view *v = view_of(set, video, view);
    return (dns_training_view){v->edit, v->record.shape[0]};
}

void dns_training_set_read(float *x, const dns_training_set *set, size_t video, size_t view,
                           size_t first, size_t n)
{
    const struct view *v = view_of(set, video, view);
    const uint16_t *data = v->record.data;
    size_t frame = set->n_regions * set->dim;
    dns_record part = v->record;
    part.shape[0] = n;
    part.data = data + first * frame;
    part.size = n * frame * sizeof *data;
    (void)!dns_record_to_f32(x, &part); /* F16, as was checked */
}

struct means {
    const dns_training_set *set;
    float *means;
};

static dns_status mean_task(void *payload, size_t i, size_t worker)
{
    (void)worker;
    const struct means *m = payload;
    size_t dim = m->set->dim, rows = dns_training_set_view(m->set, i, 0).n_frames;
    float *x = NULL, *mean = m->means + i * dim;
    dns_status status = dns_alloc(&x, rows * m->set->n_regions, dim * sizeof *x);
    if (status != DNS_OK)
        return status;
    dns_training_set_read(x, m->set, i, 0, 0, rows);
    memset(mean, 0, dim * sizeof *mean);
    for (size_t r = 0; r < rows * m->set->n_regions; r++)
        for (size_t k = 0; k < dim; k++)
            mean[k] += x[r * dim + k];
    dns_normalise_rows(mean, 1, dim);
    dns_free(x);
    return DNS_OK;
}

dns_status dns_training_set_means(float *means, const dns_training_set *set, dns_pool *pool)
{
    struct means m = {set, means};
    return dns_pool_run(pool, set->n_videos, mean_task, &m);
}
