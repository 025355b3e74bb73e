#include "dnsel/ingest.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "dnsel/memory.h"
#include "ingest_report.h"

/* One run. Workers embed side by side; what touches batch or report is done under the lock. */
struct run {
    dns_store *store;
    const dns_embedder *embedder;
    const dns_file_list *list;
    const dns_ingest_options *options;
    const dns_store_settings *settings;
    dns_digest settings_digest;
    dns_snapshot *before;            /* the index as it was at the start: what is there already */
    dns_embedder_session **sessions; /* [workers] */
    pthread_mutex_t lock;
    dns_batch *batch;
    dns_ingest_report *report;
    size_t n_done;
};

static int64_t modified_ns(const struct stat *info)
{
    return (int64_t)info->st_mtim.tv_sec * 1000000000 + info->st_mtim.tv_nsec;
}

enum action { ACTION_NEW, ACTION_CHANGED, ACTION_TOUCHED, ACTION_NONE };

/* What is to be done with a file. *known is its old meta when there is one. */
static dns_status decide(enum action *out, dns_meta *known, const struct run *run, const char *path,
                         const struct stat *info)
{
    uint64_t id = dns_id_of_name(path);
    dns_status status = dns_snapshot_meta(known, run->before, id);
    if (status == DNS_ERR_NOTFOUND) {
        *out = ACTION_NEW;
        return DNS_OK;
    }
    *out = ACTION_CHANGED; /* also when the old record is damaged: it is made anew */
    if (status != DNS_OK)
        return status == DNS_ERR_CORRUPT ? DNS_OK : status;
    if (!dns_digest_equal(&known->settings, &run->settings_digest) ||
        known->file_size != (uint64_t)info->st_size ||
        !dns_ingest_is_complete(run->before, run->settings, id))
        return DNS_OK;
    if (known->mtime_ns == modified_ns(info)) {
        *out = ACTION_NONE;
        return DNS_OK;
    }
    dns_digest content;
    status = dns_digest_of_file(&content, path);
    if (status == DNS_OK && dns_digest_equal(&content, &known->content))
        *out = ACTION_TOUCHED;
    return status;
}

static dns_meta describe(const struct run *run, const char *path, const struct stat *info,
                         const dns_embedding *e)
{
    return (dns_meta){
        .name = path,
        .path = path,
        .damaged = e->n_errors > 0,
        .n_errors = (uint32_t)e->n_errors,
        .file_size = (uint64_t)info->st_size,
        .mtime_ns = modified_ns(info),
        .settings = run->settings_digest,
        .duration = e->duration,
        .width = (uint32_t)e->width,
        .height = (uint32_t)e->height,
        .n_frames = (uint32_t)e->n_frames,
        .frame_times = e->times,
    };
}

/* Embeds one video and puts it into the batch. Failures of the file are failures of the task;
 * *fatal tells those of the index apart. */
static dns_status take_video(struct run *run, const char *path, const struct stat *info,
                             bool is_new, size_t worker, bool *fatal)
{
    dns_status status = DNS_OK;
    dns_embedder_session *session = run->sessions[worker];
    dns_embedding embedding;
    dns_record records[DNS_KIND_COUNT];
    size_t n_records = 0;
    DNS_TRY(dns_embed_file(&embedding, session, path, NULL));
    double start = dns_thread_seconds();
    DNS_TRY(dns_embed_records(records, &n_records, session, &embedding, run->settings));
    dns_meta meta = describe(run, path, info, &embedding);
    DNS_TRY(dns_digest_of_file(&meta.content, path));
    double embedded = dns_thread_seconds();
    pthread_mutex_lock(&run->lock);
    dns_ingest_report *r = run->report;
    status = dns_batch_put(run->batch, &meta, records, n_records, NULL);
    *fatal = status != DNS_OK;
    if (status == DNS_OK) {
        *(is_new ? &r->n_added : &r->n_updated) += 1;
        r->n_damaged += meta.damaged;
        r->n_frames += embedding.n_frames;
        r->video_seconds += embedding.duration;
        r->decode_seconds += embedding.decode_seconds;
        r->feature_seconds += embedding.feature_seconds;
        r->record_seconds += embedded - start;
        r->store_seconds += dns_thread_seconds() - embedded;
    }
    pthread_mutex_unlock(&run->lock);
out:
    return status;
}

/* The same content under a new time of change: only the note is renewed, so that the next run need
 * not read the file. */
static dns_status touch_video(struct run *run, const dns_meta *known, const struct stat *info)
{
    dns_meta meta = *known;
    meta.mtime_ns = modified_ns(info);
    pthread_mutex_lock(&run->lock);
    dns_status status = dns_batch_update(run->batch, dns_id_of_name(meta.name), &meta, NULL, 0, 0);
    run->report->n_unchanged += status == DNS_OK;
    pthread_mutex_unlock(&run->lock);
    return status;
}

static dns_status handle_file(struct run *run, const char *path, size_t worker, bool *fatal)
{
    struct stat info;
    dns_meta known;
    enum action action;
    if (stat(path, &info) != 0)
        return dns_status_set_errno("%s", path);
    if (!S_ISREG(info.st_mode))
        return dns_status_set(DNS_ERR_FORMAT, "%s: not a regular file", path);
    dns_status status = decide(&action, &known, run, path, &info);
    if (status != DNS_OK)
        return status;
    if (action == ACTION_NONE || run->options->dry_run) {
        pthread_mutex_lock(&run->lock);
        dns_ingest_report *r = run->report;
        *(action == ACTION_NEW       ? &r->n_added
          : action == ACTION_CHANGED ? &r->n_updated
                                     : &r->n_unchanged) += 1;
        pthread_mutex_unlock(&run->lock);
        return DNS_OK;
    }
    if (action == ACTION_TOUCHED) {
        *fatal = true; /* nothing but the index can fail here */
        status = touch_video(run, &known, &info);
        *fatal = status != DNS_OK;
        return status;
    }
    return take_video(run, path, &info, action == ACTION_NEW, worker, fatal);
}

static dns_status ingest_task(void *payload, size_t task, size_t worker)
{
    struct run *run = payload;
    const char *path = run->list->paths[task];
    bool fatal = false;
    if (dns_cancelled(run->options->cancel)) {
        pthread_mutex_lock(&run->lock);
        run->report->interrupted = true;
        pthread_mutex_unlock(&run->lock);
        return DNS_OK;
    }
    dns_status status = handle_file(run, path, worker, &fatal);
    pthread_mutex_lock(&run->lock);
    if (status != DNS_OK && !fatal)
        status = dns_ingest_add_failure(run->report, &run->options->logger, path, status);
    run->n_done++;
    if (run->options->progress.report != NULL)
        run->options->progress.report(run->options->progress.payload, run->n_done, run->list->n,
                                      "videos");
    pthread_mutex_unlock(&run->lock);
    return status;
}

/* Videos of the index whose file is no longer there. Imported rows have no file to look for. */
static dns_status prune(struct run *run)
{
    dns_status status = DNS_OK;
    uint64_t *ids = NULL;
    size_t n = 0;
    DNS_TRY(dns_snapshot_ids(&ids, &n, run->before, DNS_KIND_META));
    for (size_t i = 0; i < n; i++) {
        dns_meta meta;
        struct stat info;
        if (dns_snapshot_meta(&meta, run->before, ids[i]) != DNS_OK || meta.imported ||
            stat(meta.path, &info) == 0)
            continue;
        if (!run->options->dry_run)
            DNS_TRY(dns_batch_remove(run->batch, ids[i]));
        run->report->n_removed++;
    }
out:
    dns_free(ids);
    return status;
}

static dns_status open_run(struct run *run)
{
    dns_status status = DNS_OK;
    dns_store_settings made = dns_embedder_settings(run->embedder);
    size_t n_workers = dns_pool_size(run->options->pool);
    if (!dns_digest_equal(&made.model, &run->settings->model))
        DNS_FAIL(DNS_ERR_MODEL, "%s: made by model '%s', not by '%s'",
                 dns_store_directory(run->store), run->settings->model_name, made.model_name);
    DNS_TRY(dns_snapshot_open(&run->before, run->store));
    if (!run->options->dry_run)
        DNS_TRY(dns_batch_create(&run->batch, run->store, NULL));
    DNS_TRY(dns_alloc(&run->sessions, n_workers, sizeof *run->sessions));
    for (size_t i = 0; i < n_workers; i++)
        DNS_TRY(dns_embedder_session_create(&run->sessions[i], run->embedder));
out:
    return status;
}

static void close_run(struct run *run)
{
    for (size_t i = 0; run->sessions != NULL && i < dns_pool_size(run->options->pool); i++)
        dns_embedder_session_free(run->sessions[i]);
    dns_free(run->sessions);
    dns_batch_free(run->batch);
    dns_snapshot_close(run->before);
    pthread_mutex_destroy(&run->lock);
}

dns_status dns_ingest_run(dns_ingest_report *report, dns_store *store, const dns_embedder *embedder,
                          const dns_file_list *list, const dns_ingest_options *options)
{
    dns_status status = DNS_OK;
    double start = dns_seconds();
    struct run run = {.store = store,
                      .embedder = embedder,
                      .list = list,
                      .options = options,
                      .settings = dns_store_settings_get(store),
                      .report = report};
    *report = (dns_ingest_report){0};
    run.settings_digest = dns_store_settings_digest(run.settings);
    pthread_mutex_init(&run.lock, NULL);
    DNS_TRY(open_run(&run));
    status = dns_pool_run(options->pool, list->n, ingest_task, &run);
    if (status == DNS_OK && options->prune && !report->interrupted)
        status = prune(&run);
    status = dns_ingest_save(report, run.batch, status);
out:
    close_run(&run);
    report->wall_seconds = dns_seconds() - start;
    return status;
}
