/* Rows of videos: class and tags (docs/classifier.md). */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "dnsel/alignment.h"
#include "dnsel/csv.h"
#include "dnsel/labelled_csv.h"
#include "dnsel/memory.h"
#include "dnsel/video_features.h"
#include "row_maker.h"

enum { TIERS = 3, MOST_BLOCKS = TIERS + 4 };

struct work {
    struct row_maker *m;
    dns_csv *csv;
    size_t *label_rows; /* [n_ids] row of the table, SIZE_MAX without a label */
    size_t *anchors;    /* [n_anchors] places */
    bool *is_anchor;    /* [n_ids] */
    size_t n_anchors, n_tiers;
    float *profiles[TIERS]; /* of each fine comparison: [n_anchors, n_ids] similarity, or NaN */
    float *anchor_regions;  /* of the anchor last needed */
    size_t anchor_shape[3], anchor_at;
    bool anchor_found;
};

static dns_status read_labels(struct work *w)
{
    struct row_maker *m = w->m;
    dns_status status = DNS_OK;
    size_t place;
    DNS_TRY(dns_csv_read(&w->csv, m->labels));
    const size_t video = dns_csv_column(w->csv, "video"), label = dns_csv_column(w->csv, "label");
    if (video == SIZE_MAX || label == SIZE_MAX)
        DNS_FAIL(DNS_ERR_FORMAT, "%s: wanted are columns 'video' and 'label'", m->labels);
    for (size_t row = 0; row < dns_csv_rows(w->csv); row++) {
        const char *name = dns_csv_field(w->csv, row, video);
        DNS_TRY(row_maker_find(&place, m, row, name));
        if (w->label_rows[place] != SIZE_MAX)
            DNS_FAIL(DNS_ERR_ARG, "%s: row %zu: '%s' has a label already", m->labels, row + 1,
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
    const struct row_maker *m = w->m;
    size_t free_ = 0, seen = 0;
    for (size_t i = 0; i < m->n_ids; i++)
        free_ += w->label_rows[i] == SIZE_MAX;
    const size_t half = (free_ + 1) / 2; /* the others stay rows */
    const size_t n = !m->wanted[2] && !m->wanted[3] ? 0 : m->n_anchors < half ? m->n_anchors : half;
    for (size_t i = 0; i < m->n_ids && n > 0; i++) {
        if (w->label_rows[i] != SIZE_MAX)
            continue;
        w->is_anchor[i] = seen * n / free_ != (seen + 1) * n / free_;
        if (w->is_anchor[i])
            w->anchors[w->n_anchors++] = i;
        seen++;
    }
}

/* P2 by one fine comparison: each anchor is compared with the whole index. */
static dns_status compare_anchors(struct work *w, dns_searcher *searcher)
{
    const struct row_maker *m = w->m;
    float **profile = &w->profiles[w->n_tiers];
    dns_status status = dns_alloc(profile, w->n_anchors, m->n_ids * sizeof **profile);
    for (size_t a = 0; status == DNS_OK && a < w->n_anchors; a++) {
        status = row_maker_compare(*profile + a * m->n_ids, m, searcher, w->anchors[a]);
        m->progress.report(m->progress.payload, a + 1, w->n_anchors, "anchors");
    }
    w->n_tiers += status == DNS_OK;
    return status;
}

/* P2 by every comparison that index and model have. */
static dns_status compare_with_anchors(struct work *w)
{
    static const dns_fine tiers[TIERS] = {DNS_FINE_ATTENTION, DNS_FINE_BINARY, DNS_FINE_REGIONS};
    struct row_maker *m = w->m;
    dns_status status = DNS_OK;
    dns_searcher *searcher = NULL;
    if (w->n_anchors == 0)
        DNS_FAIL(DNS_ERR_ARG, "%s: no video without a label is left to be an anchor of p2",
                 m->index);
    DNS_TRY(row_maker_open_model(m));
    for (size_t i = 0; i < TIERS; i++) {
        const dns_searcher_options how = {.pool = m->pool, .fine = tiers[i]};
        status = dns_searcher_open(&searcher, m->store, m->model, &how);
        if (status == DNS_OK)
            status = compare_anchors(w, searcher);
        dns_searcher_close(searcher);
        searcher = NULL;
        if (status == DNS_ERR_UNSUPPORTED) {
            dns_free(w->profiles[w->n_tiers]);
            w->profiles[w->n_tiers] = NULL;
        }
        if (status != DNS_OK && status != DNS_ERR_UNSUPPORTED)
            goto out;
    }
    status = DNS_OK;
    if (w->n_tiers == 0)
        DNS_FAIL(DNS_ERR_UNSUPPORTED, "%s: keeps nothing that videos could be compared by finely",
                 m->index);
out:
    return status;
}

static size_t block_sizes(size_t sizes[MOST_BLOCKS], const struct work *w)
{
    const bool *wanted = w->m->wanted;
    size_t n = 0;
    if (wanted[1])
        sizes[n++] = DNS_FEATURES_REGIONS;
    for (size_t tier = 0; tier < w->n_tiers; tier++)
        sizes[n++] = w->n_anchors;
    if (wanted[3]) {
        sizes[n++] = DNS_FEATURES_TEMPORAL;
        sizes[n++] = DNS_ALIGNMENT_FEATURES;
    }
    if (wanted[4])
        sizes[n++] = DNS_FEATURES_METADATA;
    return n;
}

/* A comparison that could not be made counts as the mean of the others. */
static bool fill_profile(float *to, const struct work *w, size_t tier, size_t place)
{
    double sum = 0;
    size_t n = 0;
    for (size_t a = 0; a < w->n_anchors; a++) {
        to[a] = w->profiles[tier][a * w->m->n_ids + place];
        sum += isfinite(to[a]) ? (double)to[a] : 0;
        n += isfinite(to[a]);
    }
    for (size_t a = 0; a < w->n_anchors; a++)
        if (!isfinite(to[a]))
            to[a] = n > 0 ? (float)(sum / (double)n) : 0;
    return n > 0;
}

/* The anchor with the largest coarse similarity. */
static size_t nearest_anchor(const struct work *w, size_t place)
{
    const struct row_maker *m = w->m;
    size_t nearest = SIZE_MAX;
    double largest = -INFINITY;
    for (size_t a = 0; a < w->n_anchors; a++) {
        double product = 0;
        for (size_t j = 0; j < m->dim; j++)
            product += (double)m->coarse[place * m->dim + j] *
                       (double)m->coarse[w->anchors[a] * m->dim + j];
        if (product > largest) {
            largest = product;
            nearest = w->anchors[a];
        }
    }
    return nearest;
}

static dns_status fill_alignment(float *to, uint8_t *present, struct work *w, size_t place,
                                 const float *regions, const size_t shape[3])
{
    dns_status status = DNS_OK;
    dns_alignment alignment;
    const size_t anchor = nearest_anchor(w, place);
    if (anchor == SIZE_MAX)
        return DNS_OK;
    if (anchor != w->anchor_at) {
        dns_free(w->anchor_regions);
        DNS_TRY(dns_stored_regions(&w->anchor_regions, w->anchor_shape, &w->anchor_found,
                                   w->m->snapshot, w->m->ids[anchor]));
        w->anchor_at = anchor;
    }
    if (!w->anchor_found)
        goto out;
    DNS_TRY(dns_align_regions(&alignment, regions, shape, w->anchor_regions, w->anchor_shape,
                              DNS_REGIONS_CHAMFER));
    dns_alignment_features(to, &alignment);
    *present = 1;
out:
    return status;
}

static dns_status fill_privileged(struct work *w, dns_row_slot slot, size_t place)
{
    const bool *wanted = w->m->wanted;
    dns_status status = DNS_OK;
    float *regions = NULL, *to = slot.privileged;
    uint8_t *present = slot.present;
    size_t shape[3];
    bool found = false;
    if (wanted[1] || wanted[3]) {
        DNS_TRY(dns_stored_regions(&regions, shape, &found, w->m->snapshot, w->m->ids[place]));
        w->m->n_without_regions += !found;
    }
    if (wanted[1]) {
        if (found)
            DNS_TRY(dns_region_features(to, regions, shape[0], shape[1], shape[2]));
        *present++ = found;
        to += DNS_FEATURES_REGIONS;
    }
    for (size_t tier = 0; tier < w->n_tiers; tier++, to += w->n_anchors)
        *present++ = fill_profile(to, w, tier, place);
    if (wanted[3]) {
        if (found)
            DNS_TRY(dns_temporal_features(to, regions, shape[0], shape[1], shape[2]));
        *present++ = found;
        to += DNS_FEATURES_TEMPORAL;
        if (found)
            DNS_TRY(fill_alignment(to, present, w, place, regions, shape));
        present++;
        to += DNS_ALIGNMENT_FEATURES;
    }
    if (wanted[4]) {
        dns_meta meta;
        DNS_TRY(dns_snapshot_meta(&meta, w->m->snapshot, w->m->ids[place]));
        dns_metadata_features(to, &meta);
        *present = !meta.imported;
    }
out:
    dns_free(regions);
    return status;
}

static dns_status fill_regular(float *x, const struct row_maker *m, size_t place)
{
    dns_status status = DNS_OK;
    dns_record coarse, selector;
    DNS_TRY(dns_snapshot_get(&coarse, m->snapshot, DNS_KIND_COARSE, m->ids[place], true));
    status = dns_snapshot_get(&selector, m->snapshot, DNS_KIND_SELECTOR, m->ids[place], true);
    if (status == DNS_OK || status == DNS_ERR_NOTFOUND)
        status = dns_regular_features(x, &coarse, status == DNS_OK ? &selector : NULL,
                                      m->durations[place]);
out:
    return status;
}

static dns_status write_rows(struct work *w, const dns_labelled_rows *named)
{
    const struct row_maker *m = w->m;
    dns_status status = DNS_OK;
    dns_row_file *file = NULL;
    size_t sizes[MOST_BLOCKS], row = 0;
    char origin[33];
    dns_digest_text(&dns_store_settings_get(m->store)->model, origin);
    const dns_labelled_rows shape = {.task = named->task,
                                     .n = m->n_ids - w->n_anchors,
                                     .dim = dns_regular_features_count(m->dim),
                                     .n_labels = named->n_labels,
                                     .labels = named->labels,
                                     .origin = origin,
                                     .n_blocks = block_sizes(sizes, w),
                                     .block_sizes = sizes};
    DNS_TRY(dns_row_file_create(&file, &shape));
    for (size_t i = 0; i < m->n_ids; i++) {
        if (dns_cancelled(m->cancel))
            DNS_FAIL(DNS_ERR_CANCELLED, "interrupted");
        if (w->is_anchor[i])
            continue;
        dns_row_slot slot = dns_row_file_slot(file, row++);
        DNS_TRY(fill_regular(slot.x, m, i));
        if (slot.present != NULL)
            DNS_TRY(fill_privileged(w, slot, i));
        m->progress.report(m->progress.payload, row, shape.n, "videos");
        const size_t from = w->label_rows[i];
        if (from == SIZE_MAX)
            continue;
        *slot.labelled = 1;
        *slot.group = named->groups[from];
        memcpy(slot.y, named->y + from * named->n_labels, named->n_labels * sizeof *slot.y);
    }
    DNS_TRY(dns_row_file_write(dns_row_file_rows(file), m->out));
    printf("%zu rows of %zu features, %zu privileged, %zu labels: %s\n", shape.n, shape.dim,
           dns_labelled_rows_privileged(&shape), shape.n_labels, m->out);
out:
    dns_row_file_free(file);
    return status;
}

dns_status make_video_rows(struct row_maker *m)
{
    dns_status status = DNS_OK;
    struct work w = {.m = m, .anchor_at = SIZE_MAX};
    dns_row_file *named = NULL;
    DNS_TRY(dns_alloc(&w.label_rows, m->n_ids, sizeof *w.label_rows));
    DNS_TRY(dns_alloc(&w.is_anchor, m->n_ids, sizeof *w.is_anchor));
    DNS_TRY(dns_alloc(&w.anchors, m->n_ids, sizeof *w.anchors));
    for (size_t i = 0; i < m->n_ids; i++)
        w.label_rows[i] = SIZE_MAX;
    DNS_TRY(read_labels(&w));
    DNS_TRY(dns_label_table_read(&named, m->labels, m->task));
    choose_anchors(&w);
    if (m->wanted[2])
        DNS_TRY(compare_with_anchors(&w));
    DNS_TRY(write_rows(&w, dns_row_file_rows(named)));
out:
    dns_row_file_free(named);
    for (size_t i = 0; i < TIERS; i++)
        dns_free(w.profiles[i]);
    dns_free(w.anchor_regions);
    dns_free(w.anchors);
    dns_free(w.is_anchor);
    dns_free(w.label_rows);
    dns_csv_free(w.csv);
    return status;
}
