/* Which videos are of one scene, and which scenes are held out together. */
#include <stdlib.h>
#include <string.h>

#include "dnsel/csv.h"
#include "dnsel/gemm.h"
#include "dnsel/memory.h"
#include "dnsel/preparation.h"
#include "dnsel/random.h"

/* ---- scenes ---- */

/* Union-find; the root is the smallest number of a set. */
static size_t root_of(size_t *parent, size_t i)
{
    while (parent[i] != i) {
        parent[i] = parent[parent[i]];
        i = parent[i];
    }
    return i;
}

static void join(size_t *parent, size_t a, size_t b)
{
    a = root_of(parent, a);
    b = root_of(parent, b);
    parent[a > b ? a : b] = a > b ? b : a;
}

static dns_status join_similar(size_t *parent, const float *means, size_t n, size_t dim,
                               double similarity)
{
    dns_status status = DNS_OK;
    float *row = NULL;
    DNS_TRY(dns_alloc(&row, n, sizeof *row));
    for (size_t i = 1; i < n; i++) {
        DNS_TRY(dns_gemm_dense_f32(false, true, 1, i, dim, means + i * dim, means, 0, row));
        for (size_t j = 0; j < i; j++)
            if ((double)row[j] >= similarity)
                join(parent, i, j);
    }
out:
    dns_free(row);
    return status;
}

struct entry {
    const char *group;
    size_t video;
};

static int by_group(const void *a, const void *b)
{
    const struct entry *x = a, *y = b;
    int order = strcmp(x->group, y->group);
    return order != 0 ? order : x->video < y->video ? -1 : x->video > y->video;
}

static const char *name_of(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash != NULL ? slash + 1 : path;
}

static dns_status join_groups(size_t *parent, const dns_training_video *videos, size_t n,
                              const char *path)
{
    dns_status status = DNS_OK;
    dns_csv *table = NULL;
    struct entry *entries = NULL;
    size_t m = 0;
    DNS_TRY(dns_csv_read(&table, path));
    size_t file = dns_csv_column(table, "file"), group = dns_csv_column(table, "scene_group");
    if (file == SIZE_MAX || group == SIZE_MAX)
        DNS_FAIL(DNS_ERR_FORMAT, "%s: no columns 'file' and 'scene_group'", path);
    DNS_TRY(dns_alloc(&entries, n, sizeof *entries));
    for (size_t i = 0; i < n; i++)
        for (size_t row = 0; row < dns_csv_rows(table); row++)
            if (strcmp(name_of(videos[i].path), dns_csv_field(table, row, file)) == 0 &&
                dns_csv_field(table, row, group)[0] != '\0') {
                entries[m++] = (struct entry){dns_csv_field(table, row, group), i};
                break;
            }
    qsort(entries, m, sizeof *entries, by_group);
    for (size_t i = 1; i < m; i++)
        if (strcmp(entries[i].group, entries[i - 1].group) == 0)
            join(parent, entries[i].video, entries[i - 1].video);
out:
    dns_free(entries);
    dns_csv_free(table);
    return status;
}

dns_status dns_training_find_scenes(dns_training_video *videos, size_t n, const char *table,
                                    const float *means, size_t dim, double similarity)
{
    dns_status status = DNS_OK;
    size_t *parent = NULL, n_scenes = 0;
    DNS_TRY(dns_alloc(&parent, n, sizeof *parent));
    for (size_t i = 0; i < n; i++)
        parent[i] = i;
    if (table != NULL)
        DNS_TRY(join_groups(parent, videos, n, table));
    DNS_TRY(join_similar(parent, means, n, dim, similarity));
    for (size_t i = 0; i < n; i++) {
        size_t root = root_of(parent, i);
        videos[i].scene = root == i ? n_scenes++ : videos[root].scene;
    }
out:
    dns_free(parent);
    return status;
}

/* ---- folds ---- */

struct scene {
    size_t n_videos, first; /* first: its first video */
};

static size_t emptiest(const size_t *n_in, size_t n_folds)
{
    size_t best = 0;
    for (size_t i = 1; i < n_folds; i++)
        if (n_in[i] < n_in[best])
            best = i;
    return best;
}

/* Among scenes of one video that is no picture, the longest ones. */
static void choose_hosts(dns_training_video *videos, const size_t *n_frames,
                         const struct scene *scenes, size_t n_scenes)
{
    size_t n_moving = 0;
    for (size_t s = 0; s < n_scenes; s++)
        n_moving += !videos[scenes[s].first].still;
    for (size_t k = 0; k < n_moving / 10; k++) {
        size_t best = SIZE_MAX;
        for (size_t s = 0; s < n_scenes; s++) {
            size_t v = scenes[s].first;
            if (scenes[s].n_videos == 1 && !videos[v].still && !videos[v].host &&
                (best == SIZE_MAX || n_frames[v] > n_frames[best]))
                best = v;
        }
        if (best == SIZE_MAX)
            return;
        videos[best].host = true;
    }
}

dns_status dns_training_make_folds(dns_training_video *videos, size_t n, const size_t *n_frames,
                                   size_t n_folds, uint64_t seed)
{
    dns_status status = DNS_OK;
    struct scene *scenes = NULL;
    size_t n_scenes = 0, *order = NULL, *fold = NULL, *n_in = NULL;
    dns_random random = dns_random_seed(seed);
    DNS_TRY(dns_alloc(&scenes, n, sizeof *scenes));
    for (size_t i = 0; i < n; i++) {
        struct scene *s = &scenes[videos[i].scene];
        videos[i].host = false;
        if (s->n_videos++ == 0)
            s->first = i;
        if (videos[i].scene >= n_scenes)
            n_scenes = videos[i].scene + 1;
    }
    if (n_folds == 0 || n_scenes < n_folds)
        DNS_FAIL(DNS_ERR_ARG, "%zu folds from %zu scenes", n_folds, n_scenes);
    choose_hosts(videos, n_frames, scenes, n_scenes);
    DNS_TRY(dns_alloc(&order, n_scenes, sizeof *order));
    DNS_TRY(dns_alloc(&fold, n_scenes, sizeof *fold));
    DNS_TRY(dns_alloc(&n_in, 3 * n_folds, sizeof *n_in));
    for (size_t s = 0; s < n_scenes; s++)
        order[s] = s;
    dns_random_shuffle(&random, order, n_scenes);
    for (size_t k = 0; k < n_scenes; k++) { /* videos, hosts and pictures each spread evenly */
        const struct scene *s = &scenes[order[k]];
        const dns_training_video *v = &videos[s->first];
        size_t *counts = n_in + (v->host ? n_folds : v->still ? 2 * n_folds : 0);
        fold[order[k]] = emptiest(counts, n_folds);
        counts[fold[order[k]]] += s->n_videos;
    }
    for (size_t i = 0; i < n; i++)
        videos[i].fold = fold[videos[i].scene];
out:
    dns_free(scenes);
    dns_free(order);
    dns_free(fold);
    dns_free(n_in);
    return status;
}
