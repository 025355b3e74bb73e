#include "dnsel/tiers.h"

#include <pthread.h>
#include <string.h>

#include "dnsel/archive.h"
#include "dnsel/memory.h"
#include "ingest_report.h"
#include "record_makers.h"

/* Videos a snapshot: what an older one still sees cannot be used again, and the file would grow. */
enum { CHUNK = 256 };

/* What one video needs. */
struct need {
    bool make[DNS_KIND_COUNT]; /* from X */
    bool any;
    dns_record shrink[DNS_KIND_COUNT]; /* [n_shrink] records to be made of themselves */
    size_t n_shrink;
    unsigned dropped;
    bool has_x;
    dns_record x; /* where X is to be read from */
};

static bool changes(const struct need *need)
{
    return need->any || need->n_shrink > 0 || need->dropped != 0;
}

/* The most exact X: regions as floats, else the archive, else regions as int8; never regions of
 * which some stand for others that were not equal. */
static void note_x(struct need *need, const dns_record *record)
{
    bool regions = record->kind == DNS_KIND_REGIONS && record->merged == 0;
    if (regions ||
        (record->kind == DNS_KIND_ARCHIVE && (!need->has_x || need->x.dtype == DNS_I8))) {
        need->x = *record;
        need->has_x = true;
    }
}

static dns_status look(struct need *need, const dns_snapshot *snapshot, uint64_t id,
                       const dns_store_settings *wanted)
{
    memset(need, 0, sizeof *need);
    for (int kind = DNS_KIND_META + 1; kind < DNS_KIND_COUNT; kind++) {
        dns_record record;
        dns_status status = dns_snapshot_get(&record, snapshot, (dns_kind)kind, id, false);
        if (status != DNS_OK && status != DNS_ERR_NOTFOUND)
            return status;
        bool there = status == DNS_OK;
        if (there)
            note_x(need, &record);
        if (!wanted->kept[kind])
            need->dropped |= (unsigned)there << kind;
        else if (there && dns_record_fits(&record, wanted))
            continue;
        else if (there && dns_record_can_shrink(&record, wanted))
            need->shrink[need->n_shrink++] = record;
        else
            need->make[kind] = need->any = true;
    }
    return DNS_OK;
}

dns_status dns_tiers_plan_make(dns_tiers_plan *out, dns_store *store,
                               const dns_store_settings *wanted)
{
    dns_status status = DNS_OK;
    dns_snapshot *snapshot = NULL;
    uint64_t *ids = NULL;
    *out = (dns_tiers_plan){0};
    DNS_TRY(dns_snapshot_open(&snapshot, store));
    DNS_TRY(dns_snapshot_ids(&ids, &out->n_videos, snapshot, DNS_KIND_META));
    for (size_t i = 0; i < out->n_videos; i++) {
        struct need need;
        if (look(&need, snapshot, ids[i], wanted) != DNS_OK)
            continue; /* damaged: a failure of this video when its turn comes */
        for (int kind = 0; kind < DNS_KIND_COUNT; kind++)
            out->makes[kind] |= need.make[kind];
        out->n_make += need.any;
        out->n_shrink += !need.any && need.n_shrink > 0;
        out->n_drop += !need.any && need.n_shrink == 0 && need.dropped != 0;
        out->n_homeless += need.any && !need.has_x;
        if (need.has_x && out->dim == 0)
            out->dim = need.x.shape[2];
    }
out:
    dns_free(ids);
    dns_snapshot_close(snapshot);
    return status;
}

struct worker {
    dns_embedder_session *session; /* NULL: nothing is made */
    dns_record_session *shrinker;
    float *x;
    size_t capacity;
};

struct run {
    dns_store *store;
    const dns_store_settings *wanted;
    const dns_ingest_options *options;
    dns_embedder *embedder; /* NULL: nothing is made */
    struct worker *workers;
    dns_snapshot *snapshot; /* of the chunk */
    const uint64_t *ids;    /* [CHUNK] of the chunk */
    dns_batch *batch;
    pthread_mutex_t lock;
    dns_ingest_report *report;
    size_t n_done, n_videos;
};

static dns_status read_x(struct worker *w, const struct need *need, size_t dim)
{
    const dns_record *x = &need->x;
    size_t n;
    if (x->shape[2] != dim)
        return dns_status_set(DNS_ERR_SHAPE, "vectors of %zu values, the others have %zu",
                              x->shape[2], dim);
    if (!dns_size_multiply(dns_record_frames(x), x->shape[1], &n) || !dns_size_multiply(n, dim, &n))
        return dns_status_set(DNS_ERR_CORRUPT, "an impossible shape");
    dns_status status = dns_record_check(x);
    if (status == DNS_OK)
        status = dns_reserve(&w->x, &w->capacity, n, sizeof *w->x);
    if (status != DNS_OK)
        return status;
    return x->kind == DNS_KIND_ARCHIVE ? dns_archive_unpack(w->x, x) : dns_record_to_f32(w->x, x);
}

/* The records that the video lacks. */
static dns_status make_records(dns_record *records, size_t *n, struct run *run,
                               const struct need *need, struct worker *w)
{
    dns_status status = DNS_OK;
    *n = 0;
    if (!need->any)
        return DNS_OK;
    if (!need->has_x)
        return dns_status_set(DNS_ERR_UNSUPPORTED,
                              "no archive and no whole regions record to make others from");
    status = read_x(w, need, dns_embedder_dim(run->embedder));
    if (status != DNS_OK)
        return status;
    dns_store_settings settings = *run->wanted;
    memcpy(settings.kept, need->make, sizeof settings.kept);
    const dns_embedding embedding = {.n_frames = dns_record_frames(&need->x),
                                     .n_regions = need->x.shape[1],
                                     .dim = need->x.shape[2],
                                     .regions = w->x};
    return dns_embed_records(records, n, w->session, &embedding, &settings);
}

/* Those that become smaller. */
static dns_status shrink_records(dns_record *records, size_t *n, struct run *run,
                                 const struct need *need, struct worker *w)
{
    dns_status status = DNS_OK;
    for (size_t i = 0; i < need->n_shrink && status == DNS_OK; i++)
        status = dns_record_shrink(&records[(*n)++], w->shrinker, &need->shrink[i], run->wanted);
    return status;
}

static dns_status convert(struct run *run, uint64_t id, size_t worker, bool *fatal)
{
    struct need need;
    dns_record records[DNS_KIND_COUNT];
    size_t n_records = 0;
    dns_status status = look(&need, run->snapshot, id, run->wanted);
    bool change = status == DNS_OK && changes(&need);
    if (change && !run->options->dry_run) {
        status = make_records(records, &n_records, run, &need, &run->workers[worker]);
        if (status == DNS_OK)
            status = shrink_records(records, &n_records, run, &need, &run->workers[worker]);
    }
    if (status != DNS_OK)
        return status;
    pthread_mutex_lock(&run->lock);
    if (change && !run->options->dry_run)
        status = dns_batch_update(run->batch, id, NULL, records, n_records, need.dropped);
    *fatal = status != DNS_OK;
    if (status == DNS_OK)
        *(change ? &run->report->n_updated : &run->report->n_unchanged) += 1;
    pthread_mutex_unlock(&run->lock);
    return status;
}

static dns_status convert_task(void *payload, size_t task, size_t worker)
{
    struct run *run = payload;
    bool fatal = false, stop = dns_cancelled(run->options->cancel);
    char id[17];
    dns_status status = stop ? DNS_OK : convert(run, run->ids[task], worker, &fatal);
    dns_id_text(run->ids[task], id);
    pthread_mutex_lock(&run->lock);
    run->report->interrupted |= stop;
    if (status != DNS_OK && !fatal) {
        dns_status_context(status, "video %s", id);
        status = dns_ingest_add_failure(run->report, &run->options->logger, id, status);
    }
    run->n_done++;
    if (run->options->progress.report != NULL)
        run->options->progress.report(run->options->progress.payload, run->n_done, run->n_videos,
                                      "videos");
    pthread_mutex_unlock(&run->lock);
    return status;
}

static dns_status open_run(struct run *run, const dns_model *model, const dns_tiers_plan *plan)
{
    dns_status status = DNS_OK;
    size_t n_workers = dns_pool_size(run->options->pool);
    const char *directory = dns_store_directory(run->store);
    if (plan->n_make > 0 && plan->n_homeless == plan->n_make)
        DNS_FAIL(DNS_ERR_UNSUPPORTED,
                 "%s: keeps neither archive nor whole regions records to make others from; the "
                 "videos must be decoded again",
                 directory);
    DNS_TRY(dns_alloc(&run->workers, n_workers, sizeof *run->workers));
    for (size_t i = 0; i < n_workers; i++)
        DNS_TRY(dns_record_session_create(&run->workers[i].shrinker, NULL));
    if (plan->n_make == 0)
        goto out;
    if (model == NULL)
        DNS_FAIL(DNS_ERR_ARG, "%s: records of %zu videos must be made: give a model", directory,
                 plan->n_make);
    DNS_TRY(dns_embedder_create_for_features(&run->embedder, model, plan->dim));
    const dns_store_settings made = dns_embedder_settings(run->embedder);
    const dns_store_settings *settings = dns_store_settings_get(run->store);
    if (!dns_digest_equal(&made.model, &settings->model))
        DNS_FAIL(DNS_ERR_MODEL, "%s: made by model '%s', not by '%s'", directory,
                 settings->model_name, made.model_name);
    DNS_TRY(dns_embedder_check(run->embedder, run->wanted));
    for (size_t i = 0; i < n_workers; i++)
        DNS_TRY(dns_embedder_session_create(&run->workers[i].session, run->embedder));
out:
    return status;
}

static void close_run(struct run *run)
{
    for (size_t i = 0; run->workers != NULL && i < dns_pool_size(run->options->pool); i++) {
        dns_embedder_session_free(run->workers[i].session);
        dns_record_session_free(run->workers[i].shrinker);
        dns_free(run->workers[i].x);
    }
    dns_free(run->workers);
    dns_embedder_free(run->embedder);
    dns_batch_free(run->batch);
    pthread_mutex_destroy(&run->lock);
}

static dns_status convert_chunk(struct run *run, const uint64_t *ids, size_t n)
{
    run->ids = ids;
    dns_status status = dns_snapshot_open(&run->snapshot, run->store);
    if (status != DNS_OK)
        return status;
    status = dns_pool_run(run->options->pool, n, convert_task, run);
    dns_snapshot_close(run->snapshot);
    return dns_ingest_save(run->report, run->batch, status);
}

static dns_status list_videos(uint64_t **ids, size_t *n, dns_store *store)
{
    dns_snapshot *snapshot;
    *ids = NULL;
    dns_status status = dns_snapshot_open(&snapshot, store);
    if (status != DNS_OK)
        return status;
    status = dns_snapshot_ids(ids, n, snapshot, DNS_KIND_META);
    dns_snapshot_close(snapshot);
    return status;
}

dns_status dns_tiers_run(dns_ingest_report *report, dns_store *store, const dns_model *model,
                         const dns_store_settings *wanted, const dns_ingest_options *options)
{
    dns_status status = DNS_OK;
    double start = dns_seconds();
    dns_tiers_plan plan;
    uint64_t *ids = NULL;
    struct run run = {.store = store, .wanted = wanted, .options = options, .report = report};
    *report = (dns_ingest_report){0};
    pthread_mutex_init(&run.lock, NULL);
    DNS_TRY(dns_tiers_plan_make(&plan, store, wanted));
    DNS_TRY(open_run(&run, model, &plan));
    DNS_TRY(list_videos(&ids, &run.n_videos, store));
    if (!options->dry_run) {
        DNS_TRY(dns_batch_create(&run.batch, store, NULL));
        DNS_TRY(dns_store_set_kept(store, wanted));
    }
    for (size_t i = 0; i < run.n_videos && !report->interrupted; i += CHUNK)
        DNS_TRY(convert_chunk(&run, ids + i, run.n_videos - i < CHUNK ? run.n_videos - i : CHUNK));
out:
    dns_free(ids);
    close_run(&run);
    report->wall_seconds = dns_seconds() - start;
    return status;
}
