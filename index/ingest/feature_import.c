#include "dnsel/feature_import.h"

#include <pthread.h>
#include <stdlib.h>

#include "dnsel/memory.h"
#include "ingest_report.h"

/* One row of all sources. */
struct row {
    const dns_feature_source *source;
    size_t index;
    uint64_t id;
    bool repeated; /* an earlier row has the same id */
};

struct worker {
    dns_embedder_session *session;
    float *x;
    size_t capacity;
};

/* One run. Sources, batch and report are touched under the lock; records are made side by side. */
struct run {
    dns_store *store;
    const dns_ingest_options *options;
    const dns_store_settings *settings;
    dns_digest settings_digest;
    dns_snapshot *before;
    dns_batch *batch;
    struct row *rows;
    struct worker *workers;
    size_t n_rows, n_done, dim, n_regions, max_values;
    pthread_mutex_t lock;
    dns_ingest_report *report;
};

static bool is_there(const struct run *run, const struct row *row, bool *known)
{
    dns_meta meta;
    *known = dns_snapshot_meta(&meta, run->before, row->id) == DNS_OK;
    return *known && meta.file_size == row->source->file_size &&
           meta.mtime_ns == row->source->mtime_ns &&
           dns_digest_equal(&meta.settings, &run->settings_digest) &&
           dns_ingest_is_complete(run->before, run->settings, row->id);
}

static dns_status read_row(struct worker *w, size_t shape[3], const struct run *run,
                           const struct row *row)
{
    const dns_feature_source *source = row->source;
    size_t n;
    dns_status status = source->shape(shape, source->payload, row->index);
    if (status != DNS_OK)
        return status;
    if (shape[2] != run->dim)
        return dns_status_set(DNS_ERR_SHAPE, "vectors of %zu values, the others have %zu", shape[2],
                              run->dim);
    if (shape[1] != run->n_regions)
        return dns_status_set(DNS_ERR_SHAPE, "%zu regions a frame, the others have %zu", shape[1],
                              run->n_regions);
    if (!dns_size_multiply(shape[0], shape[1], &n) || !dns_size_multiply(n, shape[2], &n) ||
        n > run->max_values)
        return dns_status_set(DNS_ERR_LIMIT, "[%zu,%zu,%zu] is more than %zu values", shape[0],
                              shape[1], shape[2], run->max_values);
    status = dns_reserve(&w->x, &w->capacity, n, sizeof *w->x);
    return status == DNS_OK ? source->read(w->x, source->payload, row->index) : status;
}

static dns_status take_row(struct run *run, const struct row *row, bool known, struct worker *w,
                           bool *fatal)
{
    dns_status status = DNS_OK;
    size_t shape[3], n_records = 0;
    dns_embedding embedding;
    dns_record records[DNS_KIND_COUNT];
    pthread_mutex_lock(&run->lock);
    status = read_row(w, shape, run, row);
    pthread_mutex_unlock(&run->lock);
    if (status != DNS_OK)
        goto out;
    double start = dns_thread_seconds();
    DNS_TRY(dns_embed_features(&embedding, w->session, w->x, shape[0], shape[1]));
    DNS_TRY(dns_embed_records(records, &n_records, w->session, &embedding, run->settings));
    double made = dns_thread_seconds();
    pthread_mutex_lock(&run->lock);
    const dns_meta meta = {.name = row->source->id(row->source->payload, row->index),
                           .path = "",
                           .imported = true,
                           .file_size = row->source->file_size,
                           .mtime_ns = row->source->mtime_ns,
                           .settings = run->settings_digest,
                           .duration = embedding.duration,
                           .n_frames = (uint32_t)embedding.n_frames};
    status = dns_batch_put(run->batch, &meta, records, n_records, NULL);
    /* What is wrong with this row alone is no failure of the index. */
    *fatal = status != DNS_OK && status != DNS_ERR_ARG && status != DNS_ERR_SHAPE &&
             status != DNS_ERR_EXISTS && status != DNS_ERR_LIMIT;
    if (status == DNS_OK) {
        *(known ? &run->report->n_updated : &run->report->n_added) += 1;
        run->report->n_frames += embedding.n_frames;
        run->report->video_seconds += embedding.duration;
        run->report->record_seconds += made - start;
        run->report->store_seconds += dns_thread_seconds() - made;
    }
    pthread_mutex_unlock(&run->lock);
out:
    return status;
}

static dns_status handle_row(struct run *run, const struct row *row, size_t worker, bool *fatal)
{
    bool known;
    if (row->repeated)
        return dns_status_set(DNS_ERR_EXISTS, "an earlier row has the same id");
    bool there = is_there(run, row, &known);
    if (!there && !run->options->dry_run)
        return take_row(run, row, known, &run->workers[worker], fatal);
    pthread_mutex_lock(&run->lock);
    *(there   ? &run->report->n_unchanged
      : known ? &run->report->n_updated
              : &run->report->n_added) += 1;
    pthread_mutex_unlock(&run->lock);
    return DNS_OK;
}

static dns_status note_failure(struct run *run, const struct row *row, dns_status code)
{
    char *path = NULL;
    dns_status status = dns_string_format(&path, "%s: %s", row->source->name,
                                          row->source->id(row->source->payload, row->index));
    if (status == DNS_OK) {
        dns_status_context(code, "%s", path);
        status = dns_ingest_add_failure(run->report, &run->options->logger, path, code);
    }
    dns_free(path);
    return status;
}

static dns_status row_task(void *payload, size_t task, size_t worker)
{
    struct run *run = payload;
    bool fatal = false, stop = dns_cancelled(run->options->cancel);
    dns_status status = stop ? DNS_OK : handle_row(run, &run->rows[task], worker, &fatal);
    pthread_mutex_lock(&run->lock);
    run->report->interrupted |= stop;
    if (status != DNS_OK && !fatal)
        status = note_failure(run, &run->rows[task], status);
    run->n_done++;
    if (run->options->progress.report != NULL)
        run->options->progress.report(run->options->progress.payload, run->n_done, run->n_rows,
                                      "videos");
    pthread_mutex_unlock(&run->lock);
    return status;
}

static int by_id(const void *a, const void *b)
{
    const struct row *x = *(struct row *const *)a, *y = *(struct row *const *)b;
    if (x->id != y->id)
        return x->id < y->id ? -1 : 1;
    return x < y ? -1 : x > y;
}

static dns_status list_rows(struct run *run, const dns_feature_source *sources, size_t n_sources)
{
    dns_status status = DNS_OK;
    struct row **sorted = NULL;
    size_t n = 0;
    for (size_t i = 0; i < n_sources; i++)
        n += sources[i].n;
    DNS_TRY(dns_alloc(&run->rows, n, sizeof *run->rows));
    DNS_TRY(dns_alloc(&sorted, n, sizeof *sorted));
    for (size_t i = 0; i < n_sources; i++)
        for (size_t k = 0; k < sources[i].n; k++, run->n_rows++) {
            run->rows[run->n_rows] = (struct row){
                &sources[i], k, dns_id_of_name(sources[i].id(sources[i].payload, k)), false};
            sorted[run->n_rows] = &run->rows[run->n_rows];
        }
    if (n > 1)
        qsort(sorted, n, sizeof *sorted, by_id);
    for (size_t i = 1; i < n; i++)
        sorted[i]->repeated = sorted[i]->id == sorted[i - 1]->id;
out:
    dns_free(sorted);
    return status;
}

/* Frames of all videos must be comparable: their number of regions is that of the index, or of the
 * first row that can be read. */
static dns_status find_regions(struct run *run)
{
    static const dns_kind kinds[] = {DNS_KIND_FINE_ATTENTION, DNS_KIND_FINE_BINARY,
                                     DNS_KIND_REGIONS, DNS_KIND_ARCHIVE};
    size_t shape[3];
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0] && run->n_regions == 0; i++) {
        dns_cursor *cursor;
        dns_record record;
        dns_status status = dns_cursor_create(&cursor, run->before, kinds[i], 0);
        if (status != DNS_OK)
            return status;
        if (dns_cursor_next(&record, cursor) == DNS_OK)
            run->n_regions = record.shape[1];
        dns_cursor_free(cursor);
    }
    for (size_t i = 0; i < run->n_rows && run->n_regions == 0; i++) {
        const struct row *row = &run->rows[i];
        if (row->source->shape(shape, row->source->payload, row->index) == DNS_OK &&
            shape[2] == run->dim)
            run->n_regions = shape[1];
    }
    return DNS_OK;
}

static dns_status open_run(struct run *run, const dns_embedder *embedder)
{
    dns_status status = DNS_OK;
    dns_store_settings made = dns_embedder_settings(embedder);
    size_t n_workers = dns_pool_size(run->options->pool);
    if (!dns_digest_equal(&made.model, &run->settings->model))
        DNS_FAIL(DNS_ERR_MODEL, "%s: made by model '%s', not by '%s'",
                 dns_store_directory(run->store), run->settings->model_name, made.model_name);
    run->dim = dns_embedder_dim(embedder);
    DNS_TRY(dns_snapshot_open(&run->before, run->store));
    if (!run->options->dry_run)
        DNS_TRY(dns_batch_create(&run->batch, run->store, NULL));
    DNS_TRY(dns_alloc(&run->workers, n_workers, sizeof *run->workers));
    for (size_t i = 0; i < n_workers; i++)
        DNS_TRY(dns_embedder_session_create(&run->workers[i].session, embedder));
out:
    return status;
}

static void close_run(struct run *run)
{
    for (size_t i = 0; run->workers != NULL && i < dns_pool_size(run->options->pool); i++) {
        dns_embedder_session_free(run->workers[i].session);
        dns_free(run->workers[i].x);
    }
    dns_free(run->workers);
    dns_free(run->rows);
    dns_batch_free(run->batch);
    dns_snapshot_close(run->before);
    pthread_mutex_destroy(&run->lock);
}

dns_status dns_ingest_features(dns_ingest_report *report, dns_store *store,
                               const dns_embedder *embedder, const dns_feature_source *sources,
                               size_t n_sources, size_t max_values,
                               const dns_ingest_options *options)
{
    dns_status status = DNS_OK;
    double start = dns_seconds();
    struct run run = {.store = store,
                      .options = options,
                      .settings = dns_store_settings_get(store),
                      .max_values = max_values,
                      .report = report};
    *report = (dns_ingest_report){0};
    run.settings_digest = dns_store_settings_digest(run.settings);
    pthread_mutex_init(&run.lock, NULL);
    DNS_TRY(open_run(&run, embedder));
    DNS_TRY(list_rows(&run, sources, n_sources));
    DNS_TRY(find_regions(&run));
    status = dns_pool_run(options->pool, run.n_rows, row_task, &run);
    status = dns_ingest_save(report, run.batch, status);
out:
    close_run(&run);
    report->wall_seconds = dns_seconds() - start;
    return status;
}
