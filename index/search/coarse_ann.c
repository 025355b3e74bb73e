#include "coarse_ann_open.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "dnsel/matrix.h"
#include "dnsel/memory.h"
#include "dnsel/scan.h"

enum {
    FLAT_VIDEOS = 20000,     /* by "auto" */
    PROBES = 64,             /* stored vectors that choose the effort */
    NEAREST = 10,            /* of each */
    FOUND = 2 * NEAREST + 34 /* as many as a query for ten and itself looks at */
};

static const double enough_recall = 0.95;

/* ---- what it is made of ---- */

dns_status dns_coarse_ann_factory(char factory[DNS_ANN_FACTORY], const char *setting,
                                  size_t n_videos)
{
    size_t n_lists = 1;
    memset(factory, 0, DNS_ANN_FACTORY);
    if (strcmp(setting, "none") == 0)
        return DNS_OK;
    if (setting[0] == '\0' || strcmp(setting, "auto") == 0) {
        while ((double)n_lists * (double)n_lists < 2 * (double)n_videos)
            n_lists *= 2; /* between 1.4 and 2.8 sqrt(n) */
        snprintf(factory, DNS_ANN_FACTORY, n_videos <= FLAT_VIDEOS ? "Flat" : "IVF%zu,SQ8",
                 n_lists);
        return DNS_OK;
    }
    dns_status status = dns_ann_check_factory(setting, DNS_F32);
    if (status == DNS_OK)
        strcpy(factory, setting);
    return status;
}

/* Whether an index of `have` may stay where `want` would be built now: by "auto" the number of
 * lists need not grow with every video. */
static bool may_stay(const char *have, const char *want, const char *setting)
{
    unsigned long a, b;
    if (strcmp(have, want) == 0)
        return true;
    return setting[0] == '\0' && sscanf(have, "IVF%lu,SQ8", &a) == 1 &&
           sscanf(want, "IVF%lu,SQ8", &b) == 1 && a <= 2 * b && b <= 2 * a;
}

static dns_status path_of(char **path, const dns_snapshot *snapshot)
{
    return dns_path_join(path, dns_store_directory(dns_snapshot_store(snapshot)),
                         DNS_COARSE_ANN_FILE);
}

/* The file, if it is of this index and not newer than the snapshot. */
static dns_status load(dns_ann **out, uint64_t *generation, const dns_snapshot *snapshot,
                       const char *path, bool map)
{
    dns_ann_origin origin;
    const dns_ann_load_options options = {.map = map};
    dns_digest identity = dns_store_identity(dns_snapshot_store(snapshot));
    dns_status status = dns_ann_load(out, &origin, path, &options);
    if (status != DNS_OK)
        return status;
    *generation = origin.generation;
    if (!dns_digest_equal(&origin.source, &identity))
        status = dns_status_set(DNS_ERR_FORMAT, "%s: of another index", path);
    else if (origin.generation > dns_snapshot_generation(snapshot))
        status = dns_status_set(DNS_ERR_VERSION, "%s: newer than this state of the index", path);
    else if (dns_ann_get_info(*out).dtype != DNS_F32)
        status = dns_status_set(DNS_ERR_FORMAT, "%s: holds codes", path);
    if (status != DNS_OK) {
        dns_ann_free(*out);
        *out = NULL;
    }
    return status;
}

/* Failures that a file has by itself: it is not used. */
static bool is_unusable(dns_status status)
{
    switch (status) {
    case DNS_ERR_NOTFOUND:
    case DNS_ERR_FORMAT:
    case DNS_ERR_VERSION:
    case DNS_ERR_CORRUPT:
    case DNS_ERR_IO:
    case DNS_ERR_BACKEND:
        return true;
    default:
        return false;
    }
}

/* ---- building ---- */

static int by_row_id(const void *a, const void *b)
{
    uint64_t x = ((const dns_hit *)a)->id, y = ((const dns_hit *)b)->id;
    return x < y ? -1 : x > y;
}

/* Stored vectors that the effort is chosen by, and what is nearest to them. */
struct probes {
    size_t n, dim;
    float *vectors; /* [n, dim] */
    uint64_t *ids;  /* [n] their own */
    dns_hit *exact; /* [n, NEAREST + 1], by id */
    size_t n_exact;
    dns_hit *found; /* [n, FOUND] */
    size_t *n_found;
};

static dns_status take_probes(struct probes *p, const dns_scan_rows *rows, dns_pool *pool)
{
    dns_status status = DNS_OK;
    p->n = rows->n_rows < PROBES ? rows->n_rows : PROBES;
    p->dim = rows->dim;
    DNS_TRY(dns_alloc(&p->vectors, p->n, p->dim * sizeof *p->vectors));
    DNS_TRY(dns_alloc(&p->ids, p->n, sizeof *p->ids));
    DNS_TRY(dns_alloc(&p->exact, p->n, (NEAREST + 1) * sizeof *p->exact));
    DNS_TRY(dns_alloc(&p->found, p->n, FOUND * sizeof *p->found));
    DNS_TRY(dns_alloc(&p->n_found, p->n, sizeof *p->n_found));
    for (size_t i = 0; i < p->n; i++) {
        size_t row = (size_t)((double)i / (double)p->n * (double)rows->n_rows);
        memcpy(p->vectors + i * p->dim, (const float *)rows->vectors + row * p->dim,
               p->dim * sizeof *p->vectors);
        p->ids[i] = rows->ids[row];
    }
    DNS_TRY(dns_scan_search(p->exact, &p->n_exact, rows, p->vectors, p->n, NEAREST + 1, pool));
    for (size_t i = 0; i < p->n; i++)
        qsort(p->exact + i * (NEAREST + 1), p->n_exact, sizeof *p->exact, by_row_id);
out:
    return status;
}

static void free_probes(struct probes *p)
{
    dns_free(p->vectors);
    dns_free(p->ids);
    dns_free(p->exact);
    dns_free(p->found);
    dns_free(p->n_found);
}

/* The share of the nearest, each vector itself left out, that the index finds. */
static dns_status measure(double *recall, struct probes *p, const dns_ann *ann, dns_pool *pool)
{
    size_t n_wanted = 0, n_both = 0;
    dns_status status = dns_ann_search(p->found, p->n_found, ann, p->vectors, p->n, FOUND, pool);
    for (size_t i = 0; status == DNS_OK && i < p->n; i++) {
        const dns_hit *exact = p->exact + i * (NEAREST + 1);
        for (size_t j = 0; j < p->n_exact; j++)
            n_wanted += exact[j].id != p->ids[i];
        for (size_t j = 0; j < p->n_found[i]; j++) {
            const dns_hit *hit = &p->found[i * FOUND + j];
            n_both += hit->id != p->ids[i] &&
                      bsearch(hit, exact, p->n_exact, sizeof *exact, by_row_id) != NULL;
        }
    }
    *recall = n_wanted > 0 ? (double)n_both / (double)n_wanted : 1;
    return status;
}

/* The least effort, in steps of two, that finds enough. */
static dns_status choose_effort(double *recall, dns_ann *ann, const dns_scan_rows *rows,
                                dns_pool *pool)
{
    dns_status status = DNS_OK;
    struct probes p = {0};
    dns_ann_info info = dns_ann_get_info(ann);
    size_t most = info.n_lists > 0 ? info.n_lists : 4096;
    DNS_TRY(take_probes(&p, rows, pool));
    for (size_t effort = info.n_lists > 0 ? 1 : 16;; effort *= 2) {
        if (info.effort > 0)
            DNS_TRY(dns_ann_set_effort(ann, effort));
        DNS_TRY(measure(recall, &p, ann, pool));
        if (info.effort == 0 || *recall >= enough_recall || effort >= most)
            break;
    }
out:
    free_probes(&p);
    return status;
}

/* *out stays NULL where there are too few vectors to train it. */
static dns_status build(dns_ann **out, double *recall, const char *factory,
                        const dns_snapshot *snapshot, dns_pool *pool, dns_cancel *cancel)
{
    enum { ROWS = 4096 };
    dns_status status = DNS_OK;
    dns_matrix *matrix = NULL;
    dns_ann *ann = NULL;
    const dns_matrix_options options = {.pool = pool, .cancel = cancel};
    *out = NULL;
    DNS_TRY(dns_matrix_open(&matrix, snapshot, DNS_MATRIX_COARSE, &options));
    dns_matrix_rows m = dns_matrix_get(matrix);
    const dns_scan_rows rows = {
        .n_rows = m.n_rows, .dtype = m.dtype, .dim = m.dim, .ids = m.ids, .vectors = m.vectors};
    if (rows.n_rows == 0)
        goto out;
    DNS_TRY(dns_ann_create(&ann, factory, DNS_F32, rows.dim));
    size_t n_lists = dns_ann_get_info(ann).n_lists;
    if (rows.n_rows < n_lists || (strstr(factory, "PQ") != NULL && rows.n_rows < 256))
        goto out;
    DNS_TRY(dns_ann_train(ann, rows.vectors, rows.n_rows, pool));
    for (size_t row = 0; row < rows.n_rows; row += ROWS) {
        if (dns_cancelled(cancel))
            DNS_FAIL(DNS_ERR_CANCELLED, "interrupted");
        DNS_TRY(dns_ann_add(ann, rows.ids + row, (const float *)rows.vectors + row * rows.dim,
                            rows.n_rows - row < ROWS ? rows.n_rows - row : ROWS, pool));
    }
    DNS_TRY(choose_effort(recall, ann, &rows, pool));
    *out = ann;
    ann = NULL;
out:
    dns_ann_free(ann);
    dns_matrix_close(matrix);
    return status;
}

/* ---- changing ---- */

/* Puts the changed videos in that are there: *n_put. */
static dns_status put_changed(size_t *n_put, dns_ann *ann, const dns_snapshot *snapshot,
                              const uint64_t *changed, size_t n_changed, dns_pool *pool)
{
    dns_status status = DNS_OK;
    size_t dim = dns_ann_get_info(ann).dim, n = 0;
    float *vectors = NULL;
    uint64_t *ids = NULL;
    DNS_TRY(dns_alloc(&vectors, n_changed, dim * sizeof *vectors));
    DNS_TRY(dns_alloc(&ids, n_changed, sizeof *ids));
    for (size_t i = 0; i < n_changed; i++) {
        dns_record r;
        status = dns_snapshot_get(&r, snapshot, DNS_KIND_COARSE, changed[i], true);
        if (status == DNS_ERR_NOTFOUND)
            continue;
        if (status == DNS_OK && r.shape[0] != dim)
            status = dns_status_set(DNS_ERR_SHAPE, "coarse vectors of %zu and of %zu dimensions",
                                    r.shape[0], dim);
        if (status != DNS_OK)
            goto out;
        memcpy(vectors + n * dim, r.data, dim * sizeof *vectors);
        ids[n++] = changed[i];
    }
    *n_put = n;
    status = dns_ann_add(ann, ids, vectors, n, pool);
out:
    dns_free(vectors);
    dns_free(ids);
    return status;
}

/* Brings `ann` from its generation to the snapshot's; *done is false when it must be built anew. */
static dns_status change(bool *done, size_t *n_changed, dns_ann *ann, uint64_t generation,
                         const dns_snapshot *snapshot, dns_pool *pool)
{
    dns_status status = DNS_OK;
    uint64_t *changed = NULL;
    size_t n = 0, n_put = 0, n_videos = dns_snapshot_count(snapshot, DNS_KIND_COARSE);
    *done = false;
    status = dns_snapshot_changes(&changed, &n, snapshot, generation);
    if (status == DNS_ERR_NOTFOUND)
        return DNS_OK;
    if (status != DNS_OK || n > n_videos / 2)
        goto out;
    size_t before = dns_ann_get_info(ann).n_vectors;
    if (dns_ann_get_info(ann).can_remove)
        DNS_TRY(dns_ann_remove(ann, NULL, changed, n));
    else if (n_videos != before + n)
        goto out; /* not only new ones: something would have to go */
    DNS_TRY(put_changed(&n_put, ann, snapshot, changed, n, pool));
    *done = dns_ann_get_info(ann).n_vectors == n_videos;
    *n_changed = n;
out:
    dns_free(changed);
    return status;
}

static dns_status drop(const char *path)
{
    return unlink(path) == 0 || !dns_file_exists(path) ? DNS_OK : dns_status_set_errno("%s", path);
}

dns_status dns_coarse_ann_refresh(dns_coarse_ann_report *report, const dns_snapshot *snapshot,
                                  bool rebuild, dns_pool *pool, dns_cancel *cancel)
{
    dns_status status = DNS_OK;
    dns_store *store = dns_snapshot_store(snapshot);
    const char *setting = dns_store_settings_get(store)->ann;
    const dns_ann_origin origin = {dns_store_identity(store), dns_snapshot_generation(snapshot)};
    size_t n = dns_snapshot_count(snapshot, DNS_KIND_COARSE);
    char *path = NULL, factory[DNS_ANN_FACTORY];
    dns_ann *ann = NULL;
    uint64_t generation = 0;
    bool done = false;
    *report = (dns_coarse_ann_report){.recall = NAN};
    DNS_TRY(path_of(&path, snapshot));
    DNS_TRY(dns_coarse_ann_factory(factory, setting, n));
    if (factory[0] != '\0' && !rebuild) {
        status = load(&ann, &generation, snapshot, path, true);
        if (status != DNS_OK && !is_unusable(status))
            goto out;
        if (status == DNS_OK && may_stay(dns_ann_get_info(ann).factory, factory, setting)) {
            if (generation == origin.generation)
                goto current;
            dns_ann_free(ann); /* mapped, it cannot be changed */
            DNS_TRY(load(&ann, &generation, snapshot, path, false));
            DNS_TRY(change(&done, &report->n_changed, ann, generation, snapshot, pool));
        }
    }
    if (!done) {
        dns_ann_free(ann);
        ann = NULL;
        report->rebuilt = true;
        report->n_changed = n;
        if (factory[0] != '\0')
            DNS_TRY(build(&ann, &report->recall, factory, snapshot, pool, cancel));
    }
    status = ann != NULL ? dns_ann_save(ann, path, &origin) : drop(path);
    if (status != DNS_OK || ann == NULL)
        goto out;
current:;
    dns_ann_info info = dns_ann_get_info(ann);
    memcpy(report->factory, info.factory, sizeof info.factory);
    report->n_vectors = info.n_vectors;
    report->effort = info.effort;
    status = DNS_OK;
out:
    dns_ann_free(ann);
    dns_free(path);
    return status;
}

/* ---- for a search ---- */

static bool is_same_file(const struct dns_coarse_ann *a, const struct stat *info)
{
    return a->device == info->st_dev && a->inode == info->st_ino &&
           a->modified.tv_sec == info->st_mtim.tv_sec &&
           a->modified.tv_nsec == info->st_mtim.tv_nsec;
}

void dns_coarse_ann_close(struct dns_coarse_ann *a)
{
    dns_ann_free(a->ann);
    dns_free(a->changed);
    *a = (struct dns_coarse_ann){0};
}

dns_status dns_coarse_ann_open(struct dns_coarse_ann *a, const dns_snapshot *snapshot)
{
    dns_status status = DNS_OK;
    char *path = NULL;
    struct stat info = {0};
    if (a->looked && a->generation == dns_snapshot_generation(snapshot))
        return DNS_OK;
    DNS_TRY(path_of(&path, snapshot));
    bool exists = stat(path, &info) == 0;
    if (a->ann == NULL || !exists || !is_same_file(a, &info)) {
        dns_coarse_ann_close(a);
        a->device = info.st_dev;
        a->inode = info.st_ino;
        a->modified = info.st_mtim;
        status = load(&a->ann, &a->file_generation, snapshot, path, true);
    }
    a->looked = true;
    a->generation = dns_snapshot_generation(snapshot);
    dns_free(a->changed);
    a->changed = NULL;
    a->n_changed = 0;
    if (status == DNS_OK)
        status = dns_snapshot_changes(&a->changed, &a->n_changed, snapshot, a->file_generation);
    if (is_unusable(status)) {
        snprintf(a->why, sizeof a->why, "%s", dns_status_message());
        dns_ann_free(a->ann);
        a->ann = NULL;
        status = DNS_OK;
    }
out:
    dns_free(path);
    return status;
}

/* ---- looking and comparing ---- */

struct comparing {
    const dns_snapshot *snapshot;
    const uint64_t *changed;
    size_t n_changed, dim;
    bool exact;
    size_t n_right, n_wrong;
};

static int by_id(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

static dns_status compare_one(void *payload, uint64_t id, const float *vector)
{
    struct comparing *c = payload;
    dns_record r;
    if (c->n_changed > 0 && bsearch(&id, c->changed, c->n_changed, sizeof id, by_id) != NULL)
        return DNS_OK;
    dns_status status = dns_snapshot_get(&r, c->snapshot, DNS_KIND_COARSE, id, false);
    if (status != DNS_OK && status != DNS_ERR_NOTFOUND)
        return status;
    bool right = status == DNS_OK && r.shape[0] == c->dim;
    if (right && vector != NULL) {
        double off = 0, square = 0;
        const float *x = r.data;
        for (size_t i = 0; i < c->dim; i++) {
            double difference = (double)vector[i] - (double)x[i];
            off += difference * difference;
            square += (double)x[i] * (double)x[i];
        }
        right = c->exact ? off == 0 : off < square || off == 0;
    }
    c->n_right += right;
    c->n_wrong += !right;
    return DNS_OK;
}

static dns_status compare(dns_coarse_ann_state *out, const dns_ann *ann,
                          const dns_snapshot *snapshot, const uint64_t *changed)
{
    const char *factory = out->info.factory;
    struct comparing c = {.snapshot = snapshot,
                          .changed = changed,
                          .n_changed = out->n_changed,
                          .dim = out->info.dim,
                          .exact = strstr(factory, "SQ") == NULL && strstr(factory, "PQ") == NULL};
    dns_status status = dns_ann_visit(ann, compare_one, &c);
    size_t n_videos = dns_snapshot_count(snapshot, DNS_KIND_COARSE);
    out->n_wrong = c.n_wrong;
    if (status == DNS_OK && out->current && c.n_right < n_videos)
        out->n_wrong += n_videos - c.n_right;
    return status;
}

dns_status dns_coarse_ann_look(dns_coarse_ann_state *out, const dns_snapshot *snapshot,
                               bool compare_all)
{
    dns_status status = DNS_OK;
    char *path = NULL;
    dns_ann *ann = NULL;
    uint64_t *changed = NULL;
    struct stat info;
    *out = (dns_coarse_ann_state){0};
    DNS_TRY(path_of(&path, snapshot));
    if (stat(path, &info) != 0)
        goto out;
    out->exists = true;
    out->bytes = (uint64_t)info.st_size;
    status = load(&ann, &out->generation, snapshot, path, true);
    if (status == DNS_OK)
        status = dns_snapshot_changes(&changed, &out->n_changed, snapshot, out->generation);
    if (is_unusable(status)) {
        snprintf(out->why, sizeof out->why, "%s", dns_status_message());
        status = DNS_OK;
        goto out;
    }
    if (status != DNS_OK)
        goto out;
    out->usable = true;
    out->info = dns_ann_get_info(ann);
    out->current = out->generation == dns_snapshot_generation(snapshot);
    if (compare_all)
        status = compare(out, ann, snapshot, changed);
out:
    dns_free(changed);
    dns_ann_free(ann);
    dns_free(path);
    return status;
}
