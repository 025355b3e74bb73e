#include "dnsel/labelled_csv.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dnsel/csv.h"
#include "dnsel/file.h"
#include "dnsel/memory.h"

enum { MOST_BLOCKS = 64, HEADING = 48 };

struct block {
    size_t number, size;
    size_t *columns;
};

struct table {
    const char *path;
    dns_csv *csv;
    size_t label, group, dim, n_blocks;
    size_t *x; /* [dim] columns */
    struct block blocks[MOST_BLOCKS];
    char **names; /* of labels, sorted */
    size_t n_names;
};

static void close_table(struct table *t)
{
    for (size_t b = 0; b < t->n_blocks; b++)
        dns_free(t->blocks[b].columns);
    for (size_t i = 0; i < t->n_names; i++)
        dns_free(t->names[i]);
    dns_free(t->names);
    dns_free(t->x);
    dns_csv_free(t->csv);
}

/* Columns `prefix`0, `prefix`1, ... as far as they go. */
static dns_status find_columns(size_t **columns, size_t *n, const dns_csv *csv, const char *prefix)
{
    size_t capacity = 0;
    char heading[HEADING];
    for (*n = 0;; ++*n) {
        snprintf(heading, sizeof heading, "%s%zu", prefix, *n);
        size_t column = dns_csv_column(csv, heading);
        if (column == SIZE_MAX)
            return DNS_OK;
        dns_status status = dns_reserve(columns, &capacity, *n + 1, sizeof **columns);
        if (status != DNS_OK)
            return status;
        (*columns)[*n] = column;
    }
}

static dns_status open_table(struct table *t, const char *path, bool featured)
{
    dns_status status = DNS_OK;
    char prefix[HEADING];
    t->path = path;
    DNS_TRY(dns_csv_read(&t->csv, path));
    t->label = dns_csv_column(t->csv, "label");
    t->group = dns_csv_column(t->csv, "group");
    if (t->group == SIZE_MAX)
        t->group = dns_csv_column(t->csv, "scene_group");
    if (!featured)
        goto out;
    DNS_TRY(find_columns(&t->x, &t->dim, t->csv, "x"));
    if (t->dim == 0)
        DNS_FAIL(DNS_ERR_FORMAT, "%s: no column x0", path);
    for (size_t number = 1; number <= MOST_BLOCKS; number++) {
        struct block *block = &t->blocks[t->n_blocks];
        *block = (struct block){.number = number};
        snprintf(prefix, sizeof prefix, "p%zu_", number);
        status = find_columns(&block->columns, &block->size, t->csv, prefix);
        t->n_blocks += block->columns != NULL;
        if (status != DNS_OK)
            goto out;
    }
out:
    return status;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Calls for each label of a row: one name, or for tags those between |. */
struct label_visit {
    dns_status (*visit)(void *payload, const char *name, size_t length);
    void *payload;
};

static dns_status each_label(const struct table *t, size_t row, dns_label_task task,
                             const struct label_visit *v)
{
    const char *text = dns_csv_field(t->csv, row, t->label);
    dns_status status = DNS_OK;
    while (*text != '\0' && status == DNS_OK) {
        size_t length = task == DNS_LABEL_TAGS ? strcspn(text, "|") : strlen(text);
        if (length > 0)
            status = v->visit(v->payload, text, length);
        text += length + (text[length] == '|');
    }
    return status;
}

static dns_status collect_name(void *payload, const char *name, size_t length)
{
    struct table *t = payload;
    size_t capacity = t->n_names;
    for (size_t i = 0; i < t->n_names; i++)
        if (strlen(t->names[i]) == length && strncmp(t->names[i], name, length) == 0)
            return DNS_OK;
    dns_status status = dns_reserve(&t->names, &capacity, t->n_names + 1, sizeof *t->names);
    if (status == DNS_OK)
        status = dns_string_format(&t->names[t->n_names], "%.*s", (int)length, name);
    if (status == DNS_OK)
        t->n_names++;
    return status;
}

/* Where the labels of one row go. */
struct marking {
    const struct table *t;
    const dns_labelled_rows *rows;
    dns_row_slot slot;
    size_t row;
};

static dns_status mark_label(void *payload, const char *name, size_t length)
{
    struct marking *m = payload;
    for (size_t j = 0; j < m->rows->n_labels; j++) {
        const char *known = m->rows->labels[j];
        bool digit = m->rows->task == DNS_LABEL_PAIR && length == 1 && (size_t)(*name - '0') == j;
        if (digit || (strlen(known) == length && strncmp(known, name, length) == 0)) {
            m->slot.y[j] = 1;
            *m->slot.labelled = 1;
            return DNS_OK;
        }
    }
    return dns_status_set(DNS_ERR_FORMAT, "%s: row %zu: unknown label '%.*s'", m->t->path,
                          m->row + 1, (int)(length < 80 ? length : 80), name);
}

static dns_status read_number(float *out, const struct table *t, size_t row, size_t column,
                              const char *what, size_t number)
{
    const char *text = dns_csv_field(t->csv, row, column);
    char *end;
    double value = strtod(text, &end);
    if (end == text || *end != '\0' || !isfinite((float)value))
        return dns_status_set(DNS_ERR_FORMAT, "%s: row %zu: %s%zu is '%.40s', no finite number",
                              t->path, row + 1, what, number, text);
    *out = (float)value;
    return DNS_OK;
}

static dns_status read_block(float *out, uint8_t *present, const struct table *t, size_t row,
                             const struct block *block)
{
    dns_status status = DNS_OK;
    size_t filled = 0;
    char prefix[HEADING];
    for (size_t j = 0; j < block->size; j++)
        filled += *dns_csv_field(t->csv, row, block->columns[j]) != '\0';
    *present = filled > 0;
    snprintf(prefix, sizeof prefix, "p%zu_", block->number);
    for (size_t j = 0; *present && j < block->size; j++)
        DNS_TRY(read_number(&out[j], t, row, block->columns[j], prefix, j));
out:
    return status;
}

static dns_status fill_row(dns_row_file *file, const struct table *t, size_t row)
{
    dns_status status = DNS_OK;
    struct marking m = {t, dns_row_file_rows(file), dns_row_file_slot(file, row), row};
    const struct label_visit visit = {mark_label, &m};
    for (size_t j = 0; j < t->dim; j++)
        DNS_TRY(read_number(&m.slot.x[j], t, row, t->x[j], "x", j));
    float *privileged = m.slot.privileged;
    for (size_t b = 0; b < t->n_blocks; b++) {
        DNS_TRY(read_block(privileged, &m.slot.present[b], t, row, &t->blocks[b]));
        privileged += t->blocks[b].size;
    }
    DNS_TRY(each_label(t, row, m.rows->task, &visit));
    *m.slot.group = dns_group_of_name(dns_csv_field(t->csv, row, t->group));
out:
    return status;
}

int64_t dns_group_of_name(const char *name)
{
    return *name != '\0' ? (int64_t)(dns_checksum(name, strlen(name)) & INT64_MAX) : -1;
}

static dns_status read_table(dns_row_file **out, const char *path, bool featured,
                             dns_label_task task, const char *const *labels, size_t n_labels)
{
    static const char *const pair[] = {"different", "duplicate"};
    dns_status status = DNS_OK;
    struct table t = {0};
    dns_row_file *file = NULL;
    size_t sizes[MOST_BLOCKS];
    *out = NULL;
    DNS_TRY(open_table(&t, path, featured));
    const struct label_visit collect = {collect_name, &t};
    if (task == DNS_LABEL_PAIR) {
        labels = pair;
        n_labels = 2;
    } else if (labels == NULL) {
        for (size_t i = 0; i < dns_csv_rows(t.csv); i++)
            DNS_TRY(each_label(&t, i, task, &collect));
        if (t.n_names > 0)
            qsort(t.names, t.n_names, sizeof *t.names, by_name);
        labels = (const char *const *)t.names;
        n_labels = t.n_names;
    }
    for (size_t b = 0; b < t.n_blocks; b++)
        sizes[b] = t.blocks[b].size;
    const dns_labelled_rows shape = {.task = task,
                                     .n = dns_csv_rows(t.csv),
                                     .dim = t.dim,
                                     .n_labels = n_labels,
                                     .labels = labels,
                                     .n_blocks = t.n_blocks,
                                     .block_sizes = sizes};
    DNS_TRY(dns_row_file_create(&file, &shape));
    for (size_t i = 0; i < shape.n; i++)
        DNS_TRY(fill_row(file, &t, i));
    *out = file;
    file = NULL;
out:
    dns_row_file_free(file);
    close_table(&t);
    return status;
}

dns_status dns_labelled_csv_read(dns_row_file **out, const char *path, dns_label_task task,
                                 const char *const *labels, size_t n_labels)
{
    return read_table(out, path, true, task, labels, n_labels);
}

dns_status dns_label_table_read(dns_row_file **out, const char *path, dns_label_task task)
{
    dns_status status = read_table(out, path, false, task, NULL, 0);
    if (status != DNS_OK || dns_row_file_rows(*out)->n_labels > 0)
        return status;
    dns_row_file_free(*out);
    *out = NULL;
    return dns_status_set(DNS_ERR_ARG, "%s: no row has a label", path);
}

dns_status dns_labelled_file_read(dns_row_file **out, const char *path, dns_label_task task,
                                  const char *const *labels, size_t n_labels)
{
    size_t length = strlen(path);
    const char *ending = length > 4 ? path + length - 4 : "";
    if (strcmp(ending, ".csv") == 0 || strcmp(ending, ".tsv") == 0)
        return dns_labelled_csv_read(out, path, task, labels, n_labels);
    dns_status status = dns_row_file_read(out, path);
    if (status != DNS_OK || labels == NULL)
        return status;
    const dns_labelled_rows *rows = dns_row_file_rows(*out);
    bool same = rows->task == task && rows->n_labels == n_labels;
    for (size_t i = 0; same && i < n_labels; i++)
        same = strcmp(rows->labels[i], labels[i]) == 0;
    if (same)
        return DNS_OK;
    dns_row_file_free(*out);
    *out = NULL;
    return dns_status_set(DNS_ERR_MODEL, "%s: task or labels are not those of the classifier",
                          path);
}
