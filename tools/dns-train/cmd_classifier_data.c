#include <math.h>
#include <stdio.h>
#include <string.h>

#include "train_commands.h"
#include "default_model.h"
#include "dnsel/csv.h"
#include "dnsel/file.h"
#include "dnsel/labelled_csv.h"
#include "dnsel/memory.h"
#include "dnsel/search.h"
#include "dnsel/video_features.h"
#include "terminal.h"

enum { MOST_BLOCKS = 4 };

struct settings {
    const char *index, *labels, *privileged, *model, *out;
    int task;
    size_t anchors, jobs;
};

struct work {
    const struct settings *s;
    dns_store *store;
    dns_snapshot *snapshot;
    dns_model *model;
    dns_pool *pool;
    dns_csv *csv;
    size_t *label_rows; /* [n_ids] row of the table, SIZE_MAX without a label */
    uint64_t *ids;
    bool *is_anchor;
    size_t n_ids, n_anchors;
    bool wanted[MOST_BLOCKS + 1]; /* p1 .. p4 */
    float *profiles;              /* [n_ids, n_anchors] fine similarity; NaN where none was made */
    size_t n_without_regions;
};

static dns_status parse_blocks(struct work *w)
{
    const char *text = w->s->privileged;
    while (*text != '\0') {
        size_t length = strcspn(text, ",");
        if (length != 2 || text[0] != 'p' || text[1] < '1' || text[1] > '0' + MOST_BLOCKS)
            return dns_status_set(DNS_ERR_ARG, "--priv %s: p1 to p4, with commas between",
                                  w->s->privileged);
        w->wanted[text[1] - '0'] = true;
        text += length + (text[length] == ',');
    }
    return DNS_OK;
}

static size_t place_of(const struct work *w, uint64_t id)
{
    size_t low = 0, high = w->n_ids;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (w->ids[middle] < id)
            low = middle + 1;
        else
            high = middle;
    }
    return low < w->n_ids && w->ids[low] == id ? low : SIZE_MAX;
}

static dns_status read_labels(struct work *w)
{
    dns_status status = DNS_OK;
    DNS_TRY(dns_csv_read(&w->csv, w->s->labels));
    const size_t video = dns_csv_column(w->csv, "video"), label = dns_csv_column(w->csv, "label");
    if (video == SIZE_MAX || label == SIZE_MAX)
        DNS_FAIL(DNS_ERR_FORMAT, "%s: wanted are columns 'video' and 'label'", w->s->labels);
    for (size_t row = 0; row < dns_csv_rows(w->csv); row++) {
        uint64_t id;
        const char *name = dns_csv_field(w->csv, row, video);
        status = dns_snapshot_find(&id, w->snapshot, name);
        size_t place = status == DNS_OK ? place_of(w, id) : SIZE_MAX;
        if (status == DNS_ERR_NOTFOUND || (status == DNS_OK && place == SIZE_MAX))
            DNS_FAIL(DNS_ERR_ARG, "%s: row %zu: no video '%s' with a coarse vector in %s",
                     w->s->labels, row + 1, name, w->s->index);
        if (status != DNS_OK)
            goto out;
        if (w->label_rows[place] != SIZE_MAX)
            DNS_FAIL(DNS_ERR_ARG, "%s: row %zu: '%s' has a label already", w->s->labels, row + 1,
                     name);
        if (*dns_csv_field(w->csv, row, label) != '\0')
            w->label_rows[place] = row;
    }
out:
    return status;
}

/* Videos without a label, evenly spread over the ids, which are hashes: a random choice. */
static void choose_anchors(struct work *w)
{
    size_t free_ = 0, seen = 0;
    for (size_t i = 0; i < w->n_ids; i++)
        free_ += w->label_rows[i] == SIZE_MAX;
    const size_t half = (free_ + 1) / 2; /* the others stay rows */
    const size_t n = !w->wanted[2] ? 0 : w->s->anchors < half ? w->s->anchors : half;
    for (size_t i = 0; i < w->n_ids && n > 0; i++) {
        if (w->label_rows[i] != SIZE_MAX)
            continue;
        w->is_anchor[i] = seen * n / free_ != (seen + 1) * n / free_;
        w->n_anchors += w->is_anchor[i];
        seen++;
    }
}

/* P2: each anchor asks the whole index, and every video is compared finely. */
static dns_status compare_with_anchors(struct work *w)
{
    dns_status status = DNS_OK;
    dns_searcher *searcher = NULL;
    dns_answer *answer = NULL;
    dns_query query;
    dns_search_options options = dns_search_options_default();
    options.k = 0;
    options.budget = DNS_BUDGET_ALL;
    options.min_score = -INFINITY;
    options.cancel = dns_interrupt_catch();
    if (w->n_anchors == 0)
        DNS_FAIL(DNS_ERR_ARG, "%s: no video without a label is left to be an anchor of p2",
                 w->s->index);
    DNS_TRY(dns_default_model_open(&w->model, w->s->model));
    DNS_TRY(dns_pool_create(&w->pool, w->s->jobs));
    const dns_searcher_options how = {.pool = w->pool};
    DNS_TRY(dns_searcher_open(&searcher, w->store, w->model, &how));
    if (dns_searcher_fine(searcher) == DNS_FINE_NONE)
        DNS_FAIL(DNS_ERR_UNSUPPORTED, "%s: keeps nothing that videos could be compared by finely",
                 w->s->index);
    DNS_TRY(dns_alloc(&w->profiles, w->n_ids * w->n_anchors, sizeof *w->profiles));
    for (size_t i = 0; i < w->n_ids * w->n_anchors; i++)
        w->profiles[i] = NAN;
    for (size_t i = 0, anchor = 0; i < w->n_ids; i++) {
        char text[17];
        if (!w->is_anchor[i])
            continue;
        dns_id_text(w->ids[i], text);
        DNS_TRY(dns_searcher_stored_query(&query, searcher, text));
        DNS_TRY(dns_search(&answer, searcher, &query, &options));
        for (size_t r = 0; r < answer->n_results; r++) {
            size_t place = place_of(w, answer->results[r].id);
            if (place != SIZE_MAX)
                w->profiles[place * w->n_anchors + anchor] = answer->results[r].fine;
        }
        dns_answer_free(answer);
        answer = NULL;
        anchor++;
    }
out:
    dns_answer_free(answer);
    dns_searcher_close(searcher);
    return status;
}

static size_t block_sizes(size_t sizes[MOST_BLOCKS], const struct work *w)
{
    const size_t all[] = {DNS_FEATURES_REGIONS, w->n_anchors, DNS_FEATURES_TEMPORAL,
                          DNS_FEATURES_METADATA};
    size_t n = 0;
    for (size_t b = 0; b < MOST_BLOCKS; b++)
        if (w->wanted[b + 1])
            sizes[n++] = all[b];
    return n;
}

static dns_status fill_privileged(struct work *w, dns_row_slot slot, size_t place,
                                  const dns_meta *meta)
{
    dns_status status = DNS_OK;
    float *regions = NULL, *to = slot.privileged;
    uint8_t *present = slot.present;
    size_t shape[3];
    bool found = false;
    if (w->wanted[1] || w->wanted[3])
        DNS_TRY(dns_stored_regions(&regions, shape, &found, w->snapshot, w->ids[place]));
    w->n_without_regions += (w->wanted[1] || w->wanted[3]) && !found;
    if (w->wanted[1]) {
        if (found)
            DNS_TRY(dns_region_features(to, regions, shape[0], shape[1], shape[2]));
        *present++ = found;
        to += DNS_FEATURES_REGIONS;
    }
    if (w->wanted[2]) {
        const float *profile = w->profiles + place * w->n_anchors;
        *present = 1;
        for (size_t a = 0; a < w->n_anchors; a++)
            *present = *present && isfinite(profile[a]);
        for (size_t a = 0; *present && a < w->n_anchors; a++)
            to[a] = profile[a];
        present++;
        to += w->n_anchors;
    }
    if (w->wanted[3]) {
        if (found)
            DNS_TRY(dns_temporal_features(to, regions, shape[0], shape[1], shape[2]));
        *present++ = found;
        to += DNS_FEATURES_TEMPORAL;
    }
    if (w->wanted[4]) {
        dns_metadata_features(to, meta);
        *present = 1;
    }
out:
    dns_free(regions);
    return status;
}

static dns_status fill_row(struct work *w, dns_row_slot slot, size_t place)
{
    dns_status status = DNS_OK;
    dns_record coarse, selector;
    dns_meta meta;
    const uint64_t id = w->ids[place];
    DNS_TRY(dns_snapshot_get(&coarse, w->snapshot, DNS_KIND_COARSE, id, true));
    DNS_TRY(dns_snapshot_meta(&meta, w->snapshot, id));
    status = dns_snapshot_get(&selector, w->snapshot, DNS_KIND_SELECTOR, id, true);
    if (status != DNS_OK && status != DNS_ERR_NOTFOUND)
        goto out;
    DNS_TRY(
        dns_regular_features(slot.x, &coarse, status == DNS_OK ? &selector : NULL, meta.duration));
    if (slot.present != NULL)
        DNS_TRY(fill_privileged(w, slot, place, &meta));
out:
    return status;
}

/* The labels as rows of their own, by which names are collected and checked as in any table. */
static dns_status write_rows(struct work *w, const dns_labelled_rows *named)
{
    dns_status status = DNS_OK;
    dns_row_file *file = NULL;
    dns_record coarse;
    size_t sizes[MOST_BLOCKS], row = 0;
    char origin[33];
    DNS_TRY(dns_snapshot_get(&coarse, w->snapshot, DNS_KIND_COARSE, w->ids[0], true));
    dns_digest_text(&dns_store_settings_get(w->store)->model, origin);
    const dns_labelled_rows shape = {.task = named->task,
                                     .n = w->n_ids - w->n_anchors,
                                     .dim = dns_regular_features_count(coarse.shape[0]),
                                     .n_labels = named->n_labels,
                                     .labels = named->labels,
                                     .origin = origin,
                                     .n_blocks = block_sizes(sizes, w),
                                     .block_sizes = sizes};
    DNS_TRY(dns_row_file_create(&file, &shape));
    for (size_t i = 0; i < w->n_ids; i++) {
        if (w->is_anchor[i])
            continue;
        dns_row_slot slot = dns_row_file_slot(file, row++);
        DNS_TRY(fill_row(w, slot, i));
        if (w->label_rows[i] == SIZE_MAX)
            continue;
        *slot.labelled = 1;
        memcpy(slot.y, named->y + w->label_rows[i] * named->n_labels,
               named->n_labels * sizeof *slot.y);
    }
    DNS_TRY(dns_row_file_write(dns_row_file_rows(file), w->s->out));
    printf("%zu rows of %zu features, %zu privileged, %zu labels: %s\n", shape.n, shape.dim,
           dns_labelled_rows_privileged(&shape), shape.n_labels, w->s->out);
out:
    dns_row_file_free(file);
    return status;
}

static dns_status make_data(struct work *w)
{
    const struct settings *s = w->s;
    dns_status status = DNS_OK;
    dns_row_file *named = NULL;
    DNS_TRY(parse_blocks(w));
    DNS_TRY(dns_snapshot_open(&w->snapshot, w->store));
    DNS_TRY(dns_snapshot_ids(&w->ids, &w->n_ids, w->snapshot, DNS_KIND_COARSE));
    if (w->n_ids == 0)
        DNS_FAIL(DNS_ERR_ARG, "%s: no video has a coarse vector", s->index);
    DNS_TRY(dns_alloc(&w->label_rows, w->n_ids, sizeof *w->label_rows));
    DNS_TRY(dns_alloc(&w->is_anchor, w->n_ids, sizeof *w->is_anchor));
    for (size_t i = 0; i < w->n_ids; i++)
        w->label_rows[i] = SIZE_MAX;
    DNS_TRY(read_labels(w));
    DNS_TRY(dns_label_table_read(&named, s->labels, (dns_label_task)s->task));
    choose_anchors(w);
    if (w->wanted[2])
        DNS_TRY(compare_with_anchors(w));
    DNS_TRY(write_rows(w, dns_row_file_rows(named)));
out:
    dns_row_file_free(named);
    return status;
}

static int run(const dns_invocation *invocation)
{
    const struct settings *s = invocation->settings;
    struct work w = {.s = s};
    dns_status status = DNS_OK;
    int code = DNS_EXIT_OK;
    if (s->index == NULL || s->labels == NULL || s->out == NULL)
        DNS_FAIL(DNS_ERR_ARG, "--index, --labels and --out are needed");
    status = dns_store_open(&w.store, s->index, DNS_STORE_READ, NULL);
    if (status == DNS_ERR_NOTFOUND)
        code = DNS_EXIT_NO_INDEX;
    if (status == DNS_OK)
        status = make_data(&w);
    if (status == DNS_OK && w.n_without_regions > 0)
        dns_complain(invocation, "%zu videos have no region features: p1 and p3 are missing there",
                     w.n_without_regions);
out:
    dns_free(w.profiles);
    dns_free(w.is_anchor);
    dns_free(w.label_rows);
    dns_free(w.ids);
    dns_csv_free(w.csv);
    dns_snapshot_close(w.snapshot);
    dns_pool_free(w.pool);
    dns_model_close(w.model);
    dns_store_close(w.store);
    if (status == DNS_OK)
        return DNS_EXIT_OK;
    int failed = dns_fail(invocation, status);
    return code == DNS_EXIT_OK ? failed : code;
}

static const struct settings defaults = {.privileged = "p1,p3,p4", .anchors = 128};
#define AT(field) offsetof(struct settings, field)
static const dns_option options[] = {
    {.name = "index",
     .kind = DNS_OPTION_STRING,
     .offset = AT(index),
     .value = "INDEX",
     .help = "the videos"},
    {.name = "labels",
     .kind = DNS_OPTION_STRING,
     .offset = AT(labels),
     .value = "FILE",
     .help = "TSV or CSV with columns video and label"},
    {.name = "task",
     .kind = DNS_OPTION_CHOICE,
     .offset = AT(task),
     .choices = "class|tags",
     .help = "one label a video, or several with | between"},
    {.name = "priv",
     .kind = DNS_OPTION_STRING,
     .offset = AT(privileged),
     .value = "BLOCKS",
     .help = "p1 region statistics, p2 fine similarity to anchors, p3 temporal structure, p4 "
             "metadata"},
    {.name = "anchors",
     .kind = DNS_OPTION_COUNT,
     .offset = AT(anchors),
     .value = "N",
     .help = "videos without a label that p2 compares with, and that give no row",
     .minimum = 1,
     .maximum = 100000},
    DNS_MODEL_OPTION(struct settings, model),
    {.name = "jobs",
     .letter = 'j',
     .kind = DNS_OPTION_COUNT,
     .offset = AT(jobs),
     .value = "N",
     .help = "threads; 0 is one a processor",
     .maximum = 256},
    {.name = "out",
     .letter = 'o',
     .kind = DNS_OPTION_STRING,
     .offset = AT(out),
     .value = "FILE",
     .help = "rows to learn from, .cpf"},
    {0},
};
const dns_command dns_train_classifier_data = {
    .name = "classifier-data",
    .synopsis = "",
    .summary = "make rows for a classifier from an index and labels",
    .description = "Regular features are the coarse vector, the selector's scalar and the log "
                   "duration. Every video of the index gives a row, without a label where the "
                   "table has none. The rows go to dns-train classifier.",
    .examples = "  dns-train classifier-data --index videos.dns --labels labels.tsv --out "
                "train.cpf\n",
    .options = options,
    .settings_size = sizeof(struct settings),
    .defaults = &defaults,
    .run = run,
};
