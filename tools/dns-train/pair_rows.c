/* Rows of pairs of videos: near-duplicates or not (docs/classifier.md). */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dnsel/csv.h"
#include "dnsel/labelled_csv.h"
#include "dnsel/memory.h"
#include "dnsel/pair_features.h"
#include "dnsel/random.h"
#include "dnsel/video_features.h"
#include "row_maker.h"

enum { NO_LABEL = -1, DIFFERENT, DUPLICATE, BLOCKS = 1 };

struct pair {
    size_t query, target; /* places */
    int label;
    int64_t group;
};

struct work {
    struct row_maker *m;
    dns_csv *csv;
    struct pair *pairs;
    size_t n_pairs, capacity;
    dns_random random;
    uint8_t *mark;      /* [n_ids] of the query in hand: 1 the video may not be drawn */
    uint8_t *original;  /* [n_ids] named as an original in the table */
    struct near *order; /* [n_ids] */
};

struct near {
    float similarity;
    size_t place;
};

static dns_status add_pair(struct work *w, struct pair pair)
{
    dns_status status = dns_reserve(&w->pairs, &w->capacity, w->n_pairs + 1, sizeof *w->pairs);
    if (status == DNS_OK)
        w->pairs[w->n_pairs++] = pair;
    return status;
}

/* ---- pairs that are drawn ---- */

static int nearest_first(const void *a, const void *b)
{
    const struct near *x = a, *y = b;
    if (x->similarity != y->similarity)
        return x->similarity < y->similarity ? 1 : -1;
    return x->place < y->place ? -1 : x->place > y->place;
}

/* Up to n videos that are not marked, half of them the most similar to the query, the others at
 * random. */
static dns_status draw_pairs(struct work *w, struct pair like, size_t n)
{
    const struct row_maker *m = w->m;
    dns_status status = DNS_OK;
    const float *query = m->coarse + like.query * m->dim;
    size_t n_free = 0;
    for (size_t i = 0; i < m->n_ids; i++) {
        float product = 0;
        for (size_t j = 0; j < m->dim && !w->mark[i]; j++)
            product += query[j] * m->coarse[i * m->dim + j];
        if (!w->mark[i])
            w->order[n_free++] = (struct near){product, i};
    }
    if (n_free > 0)
        qsort(w->order, n_free, sizeof *w->order, nearest_first);
    n = n < n_free ? n : n_free;
    const size_t nearest = (n + 1) / 2;
    for (size_t i = 0; i < n; i++) {
        if (i >= nearest) { /* Fisher and Yates among the rest */
            size_t other = i + (size_t)dns_random_below(&w->random, n_free - i);
            struct near kept = w->order[i];
            w->order[i] = w->order[other];
            w->order[other] = kept;
        }
        like.target = w->order[i].place;
        DNS_TRY(add_pair(w, like));
    }
out:
    return status;
}

/* ---- the table ---- */

/* Columns video, other, label. */
static dns_status read_labelled(struct work *w, size_t video, size_t other)
{
    struct row_maker *m = w->m;
    dns_status status = DNS_OK;
    dns_row_file *named = NULL;
    DNS_TRY(dns_label_table_read(&named, m->labels, DNS_LABEL_PAIR));
    const dns_labelled_rows *rows = dns_row_file_rows(named);
    for (size_t row = 0; row < rows->n; row++) {
        struct pair pair = {.label = NO_LABEL};
        DNS_TRY(row_maker_find(&pair.query, m, row, dns_csv_field(w->csv, row, video)));
        DNS_TRY(row_maker_find(&pair.target, m, row, dns_csv_field(w->csv, row, other)));
        if (pair.query == pair.target)
            DNS_FAIL(DNS_ERR_ARG, "%s: row %zu: a video is no pair with itself", m->labels,
                     row + 1);
        if (rows->labelled[row] != 0)
            pair.label = rows->y[row * 2 + 1] == 1 ? DUPLICATE : DIFFERENT;
        pair.group = rows->groups[row] >= 0 ? rows->groups[row] : (int64_t)pair.query;
        DNS_TRY(add_pair(w, pair));
    }
out:
    dns_row_file_free(named);
    return status;
}

/* A table of copies: columns query, original, and perhaps group or scene_group, exclude. */
struct truth {
    size_t query, original, group, exclude;
    size_t *originals; /* [rows] places */
};

static dns_status mark_excluded(struct work *w, const char *names)
{
    char name[4096];
    while (*names != '\0') {
        size_t n = strcspn(names, ";"), place;
        snprintf(name, sizeof name, "%.*s", (int)(n < sizeof name ? n : sizeof name - 1), names);
        names += n + (names[n] == ';');
        dns_status status = dns_video_names_find(&place, w->m->names, name);
        if (status == DNS_OK)
            w->mark[place] = 1;
        else if (status != DNS_ERR_NOTFOUND)
            return status;
    }
    return DNS_OK;
}

/* All rows of one copy, of which `row` is the first: its originals and those of their scene are
 * duplicates, the other originals are not; other copies are not looked at. */
static dns_status take_copy(struct work *w, const struct truth *t, size_t row)
{
    dns_status status = DNS_OK;
    struct pair pair = {.label = DUPLICATE};
    const dns_csv *csv = w->csv;
    const char *query = dns_csv_field(csv, row, t->query);
    DNS_TRY(row_maker_find(&pair.query, w->m, row, query));
    const char *group = dns_csv_field(csv, row, t->group);
    pair.group = *group != '\0' ? dns_group_of_name(group) : (int64_t)t->originals[row];
    for (size_t i = 0; i < w->m->n_ids; i++)
        w->mark[i] = !w->original[i];
    w->mark[pair.query] = 1;
    for (size_t i = 0; i < dns_csv_rows(csv); i++) {
        const bool same = strcmp(dns_csv_field(csv, i, t->query), query) == 0;
        const bool scene = *group != '\0' && strcmp(dns_csv_field(csv, i, t->group), group) == 0;
        if (same)
            DNS_TRY(mark_excluded(w, dns_csv_field(csv, i, t->exclude)));
        pair.target = t->originals[i];
        if ((same || scene) && w->mark[pair.target] != 2 && pair.target != pair.query) {
            w->mark[pair.target] = 2; /* taken */
            DNS_TRY(add_pair(w, pair));
        }
    }
    pair.label = DIFFERENT;
    DNS_TRY(draw_pairs(w, pair, w->m->n_negatives > 0 ? w->m->n_negatives : w->m->n_ids));
out:
    return status;
}

static dns_status read_truth(struct work *w, struct truth *t)
{
    dns_status status = DNS_OK;
    const size_t n = dns_csv_rows(w->csv);
    DNS_TRY(dns_alloc(&t->originals, n, sizeof *t->originals));
    for (size_t i = 0; i < n; i++) {
        DNS_TRY(row_maker_find(&t->originals[i], w->m, i, dns_csv_field(w->csv, i, t->original)));
        w->original[t->originals[i]] = 1;
    }
    for (size_t i = 0; i < n; i++) {
        bool first = true;
        for (size_t j = 0; j < i && first; j++)
            first =
                strcmp(dns_csv_field(w->csv, j, t->query), dns_csv_field(w->csv, i, t->query)) != 0;
        if (first)
            DNS_TRY(take_copy(w, t, i));
    }
out:
    dns_free(t->originals);
    return status;
}

static dns_status read_pairs(struct work *w)
{
    struct row_maker *m = w->m;
    dns_status status = DNS_OK;
    DNS_TRY(dns_csv_read(&w->csv, m->labels));
    const size_t video = dns_csv_column(w->csv, "video"), other = dns_csv_column(w->csv, "other");
    struct truth truth = {.query = dns_csv_column(w->csv, "query"),
                          .original = dns_csv_column(w->csv, "original"),
                          .group = dns_csv_column(w->csv, "group"),
                          .exclude = dns_csv_column(w->csv, "exclude")};
    if (truth.group == SIZE_MAX)
        truth.group = dns_csv_column(w->csv, "scene_group");
    if (truth.query != SIZE_MAX && truth.original != SIZE_MAX)
        DNS_TRY(read_truth(w, &truth));
    else if (video != SIZE_MAX && other != SIZE_MAX && dns_csv_column(w->csv, "label") != SIZE_MAX)
        DNS_TRY(read_labelled(w, video, other));
    else
        DNS_FAIL(DNS_ERR_FORMAT,
                 "%s: wanted are columns 'video', 'other' and 'label', or 'query' and 'original'",
                 m->labels);
    if (w->n_pairs == 0)
        DNS_FAIL(DNS_ERR_ARG, "%s: no pair", m->labels);
    for (size_t i = 0; m->n_pool > 0 && i < m->n_ids; i++) {
        memset(w->mark, 0, m->n_ids);
        w->mark[i] = 1;
        DNS_TRY(
            draw_pairs(w, (struct pair){.query = i, .label = NO_LABEL, .group = -1}, m->n_pool));
    }
out:
    return status;
}

/* ---- features ---- */

static int by_query(const void *a, const void *b)
{
    const struct pair *x = a, *y = b;
    if (x->query != y->query)
        return x->query < y->query ? -1 : 1;
    return x->target < y->target ? -1 : x->target > y->target;
}

/* What all pairs of one query share. */
struct side {
    float *regions, *fine; /* fine [n_ids] */
    size_t shape[3];
    bool found;
};

static dns_status fill_privileged(struct work *w, dns_row_slot slot, const struct pair *pair,
                                  const struct side *query)
{
    dns_status status = DNS_OK;
    float *regions = NULL;
    size_t shape[3];
    bool found;
    dns_alignment alignment;
    const float fine = query->fine[pair->target];
    if (!query->found || !isfinite(fine))
        return DNS_OK;
    DNS_TRY(dns_stored_regions(&regions, shape, &found, w->m->snapshot, w->m->ids[pair->target]));
    if (found) {
        DNS_TRY(dns_align_regions(&alignment, query->regions, query->shape, regions, shape,
                                  DNS_REGIONS_CHAMFER));
        dns_pair_privileged(slot.privileged, fine, &alignment);
        *slot.present = 1;
    }
out:
    dns_free(regions);
    return status;
}

static dns_status fill_rows(struct work *w, dns_row_file *file, dns_searcher *searcher)
{
    const struct row_maker *m = w->m;
    dns_status status = DNS_OK;
    struct side query = {0};
    DNS_TRY(dns_alloc(&query.fine, m->n_ids, sizeof *query.fine));
    for (size_t i = 0; i < w->n_pairs; i++) {
        const struct pair *pair = &w->pairs[i];
        if (dns_cancelled(m->cancel))
            DNS_FAIL(DNS_ERR_CANCELLED, "interrupted");
        if (searcher != NULL && (i == 0 || pair->query != w->pairs[i - 1].query)) {
            dns_free(query.regions);
            DNS_TRY(dns_stored_regions(&query.regions, query.shape, &query.found, m->snapshot,
                                       m->ids[pair->query]));
            DNS_TRY(row_maker_compare(query.fine, m, searcher, pair->query));
            w->m->n_without_regions += !query.found;
        }
        dns_row_slot slot = dns_row_file_slot(file, i);
        const size_t ends[] = {pair->query, pair->target};
        dns_pair_side sides[2];
        for (size_t e = 0; e < 2; e++)
            sides[e] = (dns_pair_side){m->coarse + ends[e] * m->dim, m->scalars[ends[e]],
                                       m->durations[ends[e]]};
        dns_pair_features(slot.x, &sides[0], &sides[1], m->dim);
        if (searcher != NULL)
            DNS_TRY(fill_privileged(w, slot, pair, &query));
        *slot.group = pair->group;
        *slot.labelled = pair->label != NO_LABEL;
        if (pair->label != NO_LABEL)
            slot.y[pair->label] = 1;
        m->progress.report(m->progress.payload, i + 1, w->n_pairs, "pairs");
    }
out:
    dns_free(query.fine);
    dns_free(query.regions);
    return status;
}

static dns_status write_rows(struct work *w)
{
    static const char *const names[] = {"different", "duplicate"};
    static const size_t sizes[BLOCKS] = {DNS_PAIR_PRIVILEGED};
    struct row_maker *m = w->m;
    dns_status status = DNS_OK;
    dns_row_file *file = NULL;
    dns_searcher *searcher = NULL;
    char origin[33];
    size_t n_duplicates = 0, n_unlabelled = 0;
    dns_digest_text(&dns_store_settings_get(m->store)->model, origin);
    DNS_TRY(row_maker_open_model(m));
    const dns_searcher_options how = {.pool = m->pool};
    DNS_TRY(dns_searcher_open(&searcher, m->store, m->model, &how));
    const bool fine = dns_searcher_fine(searcher) != DNS_FINE_NONE;
    const dns_labelled_rows shape = {.task = DNS_LABEL_PAIR,
                                     .n = w->n_pairs,
                                     .dim = DNS_PAIR_FEATURES,
                                     .n_labels = 2,
                                     .labels = names,
                                     .origin = origin,
                                     .n_blocks = fine ? BLOCKS : 0,
                                     .block_sizes = sizes};
    DNS_TRY(dns_row_file_create(&file, &shape));
    qsort(w->pairs, w->n_pairs, sizeof *w->pairs, by_query);
    DNS_TRY(fill_rows(w, file, fine ? searcher : NULL));
    for (size_t i = 0; i < w->n_pairs; i++) {
        n_duplicates += w->pairs[i].label == DUPLICATE;
        n_unlabelled += w->pairs[i].label == NO_LABEL;
    }
    DNS_TRY(dns_row_file_write(dns_row_file_rows(file), m->out));
    printf("%zu pairs of %zu features, %zu privileged; %zu duplicates, %zu without label: %s\n",
           w->n_pairs, shape.dim, dns_labelled_rows_privileged(&shape), n_duplicates, n_unlabelled,
           m->out);
out:
    dns_searcher_close(searcher);
    dns_row_file_free(file);
    return status;
}

dns_status make_pair_rows(struct row_maker *m)
{
    dns_status status = DNS_OK;
    struct work w = {.m = m, .random = dns_random_seed(m->seed)};
    DNS_TRY(dns_alloc(&w.mark, m->n_ids, sizeof *w.mark));
    DNS_TRY(dns_alloc(&w.original, m->n_ids, sizeof *w.original));
    DNS_TRY(dns_alloc(&w.order, m->n_ids, sizeof *w.order));
    DNS_TRY(read_pairs(&w));
    DNS_TRY(write_rows(&w));
out:
    dns_free(w.order);
    dns_free(w.original);
    dns_free(w.mark);
    dns_free(w.pairs);
    dns_csv_free(w.csv);
    return status;
}
