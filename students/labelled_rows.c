#include "dnsel/labelled_rows.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dnsel/json.h"
#include "dnsel/memory.h"
#include "dnsel/random.h"
#include "dnsel/safetensors.h"

static const char kind[] = "dnsel.labelled-rows";
enum { DEAL_STREAM = 1000 }; /* of the random numbers of a seed */
static const size_t most_numbers = (size_t)1 << 31;

static const char *const task_names[] = {"class", "tags", "pair"};

const char *dns_label_task_name(dns_label_task task)
{
    return task_names[task];
}

bool dns_label_task_parse(dns_label_task *task, const char *text)
{
    for (size_t i = 0; i < sizeof task_names / sizeof *task_names; i++)
        if (strcmp(text, task_names[i]) == 0) {
            *task = (dns_label_task)i;
            return true;
        }
    return false;
}

size_t dns_labelled_rows_privileged(const dns_labelled_rows *rows)
{
    size_t sum = 0;
    for (size_t b = 0; b < rows->n_blocks; b++)
        sum += rows->block_sizes[b];
    return sum;
}

/* ---- checks ---- */

static dns_status check_label(const dns_labelled_rows *rows, size_t row)
{
    const float *y = rows->y + row * rows->n_labels;
    size_t given = 0;
    for (size_t j = 0; j < rows->n_labels; j++) {
        if (y[j] != 0 && y[j] != 1)
            return dns_status_set(DNS_ERR_RANGE, "row %zu: label '%s' is %g, neither 0 nor 1",
                                  row + 1, rows->labels[j], (double)y[j]);
        given += y[j] == 1;
    }
    if (rows->task != DNS_LABEL_TAGS && given != 1)
        return dns_status_set(DNS_ERR_RANGE, "row %zu has %zu labels, a class is just one", row + 1,
                              given);
    return DNS_OK;
}

static dns_status check_privileged(const dns_labelled_rows *rows, size_t row, size_t width)
{
    const float *values = rows->n_blocks > 0 ? rows->privileged + row * width : NULL;
    for (size_t b = 0; b < rows->n_blocks; values += rows->block_sizes[b++]) {
        if (rows->present != NULL && rows->present[row * rows->n_blocks + b] == 0)
            continue;
        for (size_t j = 0; j < rows->block_sizes[b]; j++)
            if (!isfinite(values[j]))
                return dns_status_set(DNS_ERR_RANGE,
                                      "row %zu: privileged block %zu, feature %zu is not finite",
                                      row + 1, b + 1, j + 1);
    }
    return DNS_OK;
}

dns_status dns_labelled_rows_check_values(const dns_labelled_rows *rows)
{
    dns_status status = DNS_OK;
    const size_t width = dns_labelled_rows_privileged(rows);
    for (size_t i = 0; i < rows->n; i++) {
        for (size_t j = 0; j < rows->dim; j++)
            if (!isfinite(rows->x[i * rows->dim + j]))
                DNS_FAIL(DNS_ERR_RANGE, "row %zu: feature %zu is not finite", i + 1, j + 1);
        DNS_TRY(check_privileged(rows, i, width));
        if (rows->labelled[i] != 0)
            DNS_TRY(check_label(rows, i));
    }
out:
    return status;
}

dns_status dns_labelled_rows_check(const dns_labelled_rows *rows)
{
    dns_status status = DNS_OK;
    const bool tags = rows->task == DNS_LABEL_TAGS;
    size_t n_labelled = 0, varied = 0;
    if (rows->n == 0 || rows->dim == 0)
        DNS_FAIL(DNS_ERR_ARG, "%zu rows of %zu features: nothing to learn from", rows->n,
                 rows->dim);
    if (rows->n_labels < (tags ? 1 : 2))
        DNS_FAIL(DNS_ERR_ARG, "%zu labels: nothing to tell apart", rows->n_labels);
    DNS_TRY(dns_labelled_rows_check_values(rows));
    for (size_t i = 0; i < rows->n; i++)
        n_labelled += rows->labelled[i] != 0;
    if (n_labelled == 0)
        DNS_FAIL(DNS_ERR_ARG, "none of %zu rows has a label", rows->n);
    for (size_t j = 0; j < rows->n_labels; j++) {
        size_t positives = 0;
        for (size_t i = 0; i < rows->n; i++)
            positives += rows->labelled[i] != 0 && rows->y[i * rows->n_labels + j] == 1;
        varied += positives > 0 && positives < n_labelled;
    }
    if (varied == 0)
        DNS_FAIL(DNS_ERR_ARG, "all %zu labelled rows have the same label: nothing to tell apart",
                 n_labelled);
out:
    return status;
}

/* ---- folds ---- */

struct member {
    int64_t group;
    size_t row;
};

static int by_group(const void *a, const void *b)
{
    int64_t x = ((const struct member *)a)->group, y = ((const struct member *)b)->group;
    return x < y ? -1 : x > y;
}

dns_status dns_labelled_rows_leaders(size_t *leader, size_t *n, const dns_labelled_rows *rows)
{
    struct member *members = NULL;
    size_t n_members = 0;
    dns_status status = dns_alloc(&members, rows->n, sizeof *members);
    *n = 0;
    for (size_t i = 0; status == DNS_OK && i < rows->n; i++) {
        leader[i] = i;
        if (rows->labelled[i] == 0)
            continue;
        if (rows->groups == NULL || rows->groups[i] < 0)
            ++*n;
        else
            members[n_members++] = (struct member){rows->groups[i], i};
    }
    if (n_members > 0)
        qsort(members, n_members, sizeof *members, by_group);
    for (size_t i = 0; i < n_members; i++) {
        bool first = i == 0 || members[i].group != members[i - 1].group;
        leader[members[i].row] = first ? members[i].row : leader[members[i - 1].row];
        *n += first;
    }
    dns_free(members);
    return status;
}

static size_t smallest(const size_t *sizes, size_t n)
{
    size_t best = 0;
    for (size_t i = 1; i < n; i++)
        best = sizes[i] < sizes[best] ? i : best;
    return best;
}

dns_status dns_labelled_rows_deal(size_t *folds, const dns_labelled_rows *rows, size_t n_folds,
                                  uint64_t seed)
{
    dns_status status = DNS_OK;
    size_t *order = NULL, *leader = NULL, *sizes = NULL, n_labelled = 0, n_groups = 0;
    DNS_TRY(dns_alloc(&order, rows->n, sizeof *order));
    DNS_TRY(dns_alloc(&leader, rows->n, sizeof *leader));
    DNS_TRY(dns_labelled_rows_leaders(leader, &n_groups, rows));
    if (n_folds < 2 || n_folds > n_groups)
        DNS_FAIL(DNS_ERR_ARG, "%zu folds of %zu labelled rows or groups: between 2 and that many",
                 n_folds, n_groups);
    DNS_TRY(dns_alloc(&sizes, n_folds, sizeof *sizes));
    for (size_t i = 0; i < rows->n; i++) {
        folds[i] = SIZE_MAX;
        if (rows->labelled[i] != 0)
            order[n_labelled++] = i;
    }
    dns_random random = dns_random_stream(seed, DEAL_STREAM);
    dns_random_shuffle(&random, order, n_labelled);
    for (size_t i = 0; i < n_labelled; i++) {
        size_t *fold = &folds[leader[order[i]]];
        if (*fold == SIZE_MAX)
            *fold = smallest(sizes, n_folds);
        sizes[*fold]++;
        folds[order[i]] = *fold;
    }
out:
    dns_free(sizes);
    dns_free(leader);
    dns_free(order);
    return status;
}

/* ---- rows that own their memory ---- */

struct dns_row_file {
    dns_labelled_rows rows;
    float *x, *y, *privileged;
    uint8_t *labelled, *present;
    int64_t *groups;
    size_t *block_sizes;
    char **labels, *origin;
};

void dns_row_file_free(dns_row_file *file)
{
    if (file == NULL)
        return;
    dns_free(file->x);
    dns_free(file->y);
    dns_free(file->privileged);
    dns_free(file->labelled);
    dns_free(file->present);
    dns_free(file->groups);
    dns_free(file->block_sizes);
    for (size_t i = 0; file->labels != NULL && i < file->rows.n_labels; i++)
        dns_free(file->labels[i]);
    dns_free(file->labels);
    dns_free(file->origin);
    dns_free(file);
}

static dns_status copy_names(dns_row_file *f, const dns_labelled_rows *shape)
{
    dns_status status = DNS_OK;
    DNS_TRY(dns_alloc(&f->block_sizes, shape->n_blocks, sizeof *f->block_sizes));
    for (size_t b = 0; b < shape->n_blocks; b++)
        f->block_sizes[b] = shape->block_sizes[b];
    DNS_TRY(dns_alloc(&f->labels, shape->n_labels, sizeof *f->labels));
    for (size_t i = 0; i < shape->n_labels; i++)
        DNS_TRY(dns_string_copy(&f->labels[i], shape->labels[i]));
    if (shape->origin != NULL)
        DNS_TRY(dns_string_copy(&f->origin, shape->origin));
out:
    return status;
}

dns_status dns_row_file_create(dns_row_file **out, const dns_labelled_rows *shape)
{
    dns_status status = DNS_OK;
    dns_row_file *f = NULL;
    size_t width = shape->dim, numbers;
    *out = NULL;
    for (size_t b = 0; b < shape->n_blocks; b++)
        if (__builtin_add_overflow(width, shape->block_sizes[b], &width) || width > most_numbers)
            DNS_FAIL(DNS_ERR_LIMIT, "privileged blocks of more than %zu numbers", most_numbers);
    if (shape->dim > most_numbers || shape->n_labels > most_numbers ||
        !dns_size_multiply(shape->n, width + shape->n_labels + shape->n_blocks, &numbers) ||
        numbers > most_numbers)
        DNS_FAIL(DNS_ERR_LIMIT, "%zu rows of %zu features and %zu labels are too many", shape->n,
                 width, shape->n_labels);
    DNS_TRY(dns_alloc(&f, 1, sizeof *f));
    f->rows = *shape;
    DNS_TRY(copy_names(f, shape));
    DNS_TRY(dns_alloc(&f->x, shape->n * shape->dim, sizeof *f->x));
    DNS_TRY(dns_alloc(&f->y, shape->n * shape->n_labels, sizeof *f->y));
    DNS_TRY(dns_alloc(&f->labelled, shape->n, sizeof *f->labelled));
    DNS_TRY(dns_alloc(&f->groups, shape->n, sizeof *f->groups));
    for (size_t i = 0; i < shape->n; i++)
        f->groups[i] = -1;
    if (shape->n_blocks > 0) {
        DNS_TRY(dns_alloc(&f->privileged, shape->n * (width - shape->dim), sizeof *f->privileged));
        DNS_TRY(dns_alloc(&f->present, shape->n * shape->n_blocks, sizeof *f->present));
    }
    f->rows.x = f->x;
    f->rows.y = f->y;
    f->rows.labelled = f->labelled;
    f->rows.groups = f->groups;
    f->rows.privileged = f->privileged;
    f->rows.present = f->present;
    f->rows.block_sizes = f->block_sizes;
    f->rows.labels = (const char *const *)f->labels;
    f->rows.origin = f->origin;
    *out = f;
    f = NULL;
out:
    dns_row_file_free(f);
    return status;
}

const dns_labelled_rows *dns_row_file_rows(const dns_row_file *file)
{
    return &file->rows;
}

dns_row_slot dns_row_file_slot(dns_row_file *f, size_t row)
{
    const dns_labelled_rows *r = &f->rows;
    return (dns_row_slot){
        .x = f->x + row * r->dim,
        .y = f->y + row * r->n_labels,
        .labelled = f->labelled + row,
        .group = f->groups + row,
        .privileged =
            r->n_blocks > 0 ? f->privileged + row * dns_labelled_rows_privileged(r) : NULL,
        .present = r->n_blocks > 0 ? f->present + row * r->n_blocks : NULL,
    };
}

static void copy_row(dns_row_file *to, size_t at, const dns_labelled_rows *from, size_t row,
                     bool with_label)
{
    dns_row_slot slot = dns_row_file_slot(to, at);
    size_t width = dns_labelled_rows_privileged(from);
    memcpy(slot.x, from->x + row * from->dim, from->dim * sizeof *slot.x);
    *slot.labelled = with_label && from->labelled[row] != 0;
    if (*slot.labelled)
        memcpy(slot.y, from->y + row * from->n_labels, from->n_labels * sizeof *slot.y);
    *slot.group = from->groups != NULL ? from->groups[row] : -1;
    if (from->n_blocks == 0)
        return;
    memcpy(slot.privileged, from->privileged + row * width, width * sizeof *slot.privileged);
    for (size_t b = 0; b < from->n_blocks; b++)
        slot.present[b] = from->present == NULL || from->present[row * from->n_blocks + b] != 0;
}

dns_status dns_row_file_select(dns_row_file **out, const dns_labelled_rows *rows, const bool *kept)
{
    dns_labelled_rows shape = *rows;
    shape.n = 0;
    for (size_t i = 0; i < rows->n; i++)
        shape.n += kept[i];
    dns_status status = dns_row_file_create(out, &shape);
    for (size_t i = 0, at = 0; status == DNS_OK && i < rows->n; i++)
        if (kept[i])
            copy_row(*out, at++, rows, i, true);
    return status;
}

dns_status dns_row_file_append_unlabelled(dns_row_file **out, const dns_labelled_rows *a,
                                          const dns_labelled_rows *b)
{
    dns_status status = DNS_OK;
    dns_row_file *f = NULL;
    dns_labelled_rows shape = *a;
    *out = NULL;
    bool same = a->dim == b->dim && a->n_blocks == b->n_blocks;
    for (size_t i = 0; same && i < a->n_blocks; i++)
        same = a->block_sizes[i] == b->block_sizes[i];
    if (!same)
        DNS_FAIL(DNS_ERR_SHAPE,
                 "unlabelled rows have %zu features and %zu privileged blocks, labelled ones %zu "
                 "and %zu, all of equal size",
                 b->dim, b->n_blocks, a->dim, a->n_blocks);
    shape.n += b->n;
    DNS_TRY(dns_row_file_create(&f, &shape));
    for (size_t i = 0; i < a->n; i++)
        copy_row(f, i, a, i, true);
    for (size_t i = 0; i < b->n; i++)
        copy_row(f, a->n + i, b, i, false);
    *out = f;
    f = NULL;
out:
    dns_row_file_free(f);
    return status;
}

/* ---- files ---- */

static dns_status labels_text(char **text, const dns_labelled_rows *rows)
{
    size_t size = 0;
    FILE *stream = open_memstream(text, &size);
    if (stream == NULL)
        return dns_status_set_errno("names of labels");
    dns_json_writer w = dns_json_writer_to(stream, false);
    dns_json_begin_array(&w, NULL);
    for (size_t i = 0; i < rows->n_labels; i++)
        dns_json_put_string(&w, NULL, rows->labels[i]);
    dns_json_end_array(&w);
    dns_status status = dns_json_finish(&w);
    fclose(stream);
    return status;
}

dns_status dns_row_file_write(const dns_labelled_rows *rows, const char *path)
{
    dns_status status = DNS_OK;
    char *labels = NULL;
    int64_t *sizes = NULL, *groups = NULL;
    uint8_t *present = NULL;
    const size_t width = dns_labelled_rows_privileged(rows);
    DNS_TRY(labels_text(&labels, rows));
    DNS_TRY(dns_alloc(&groups, rows->n, sizeof *groups));
    for (size_t i = 0; i < rows->n; i++)
        groups[i] = rows->groups != NULL ? rows->groups[i] : -1;
    DNS_TRY(dns_alloc(&sizes, rows->n_blocks, sizeof *sizes));
    DNS_TRY(dns_alloc(&present, rows->n * rows->n_blocks, sizeof *present));
    for (size_t b = 0; b < rows->n_blocks; b++)
        sizes[b] = (int64_t)rows->block_sizes[b];
    for (size_t i = 0; i < rows->n * rows->n_blocks; i++)
        present[i] = rows->present == NULL || rows->present[i] != 0;
    const dns_named_tensor tensors[] = {
        {"x", dns_tensor_f32(rows->x, 2, (size_t[]){rows->n, rows->dim})},
        {"y", dns_tensor_f32(rows->y, 2, (size_t[]){rows->n, rows->n_labels})},
        {"labelled", {.dtype = DNS_U8, .rank = 1, .shape = {rows->n}, .data = rows->labelled}},
        {"groups", {.dtype = DNS_I64, .rank = 1, .shape = {rows->n}, .data = groups}},
        {"privileged", dns_tensor_f32(rows->privileged, 2, (size_t[]){rows->n, width})},
        {"block_sizes", {.dtype = DNS_I64, .rank = 1, .shape = {rows->n_blocks}, .data = sizes}},
        {"present",
         {.dtype = DNS_U8, .rank = 2, .shape = {rows->n, rows->n_blocks}, .data = present}},
    };
    const dns_metadata metadata[] = {{"kind", kind},
                                     {"task", dns_label_task_name(rows->task)},
                                     {"labels", labels},
                                     {"origin", rows->origin}};
    DNS_TRY(dns_safetensors_write(path, tensors, rows->n_blocks > 0 ? 7 : 4, metadata,
                                  rows->origin != NULL ? 4 : 3));
out:
    dns_free(present);
    dns_free(groups);
    dns_free(sizes);
    free(labels);
    return status;
}

/* The tensor of a dtype whose shape is [rows, columns]; SIZE_MAX: any, told in *columns. */
static dns_status find(const dns_tensor **out, const dns_safetensors *file, const char *name,
                       dns_dtype dtype, size_t rank, size_t rows)
{
    const dns_tensor *t = dns_safetensors_find(file, name);
    if (t == NULL || t->dtype != dtype || t->rank != rank ||
        (rows != SIZE_MAX && t->shape[0] != rows))
        return dns_status_set(DNS_ERR_SHAPE, "%s: no fitting tensor '%s'",
                              dns_safetensors_path(file), name);
    *out = t;
    return DNS_OK;
}

struct tensors {
    const dns_tensor *x, *y, *labelled, *groups, *privileged, *present;
};

static dns_status find_tensors(struct tensors *t, dns_labelled_rows *shape, size_t **sizes,
                               const dns_safetensors *file)
{
    dns_status status = DNS_OK;
    const dns_tensor *blocks = NULL;
    DNS_TRY(find(&t->x, file, "x", DNS_F32, 2, SIZE_MAX));
    shape->n = t->x->shape[0];
    shape->dim = t->x->shape[1];
    DNS_TRY(find(&t->y, file, "y", DNS_F32, 2, shape->n));
    DNS_TRY(find(&t->labelled, file, "labelled", DNS_U8, 1, shape->n));
    if (dns_safetensors_find(file, "groups") != NULL)
        DNS_TRY(find(&t->groups, file, "groups", DNS_I64, 1, shape->n));
    if (t->y->shape[1] != shape->n_labels)
        DNS_FAIL(DNS_ERR_SHAPE, "%s: 'y' has %zu columns for %zu labels",
                 dns_safetensors_path(file), t->y->shape[1], shape->n_labels);
    if (dns_safetensors_find(file, "block_sizes") == NULL)
        goto out;
    DNS_TRY(find(&blocks, file, "block_sizes", DNS_I64, 1, SIZE_MAX));
    shape->n_blocks = blocks->shape[0];
    DNS_TRY(dns_alloc(sizes, shape->n_blocks, sizeof **sizes));
    DNS_TRY(find(&t->privileged, file, "privileged", DNS_F32, 2, shape->n));
    DNS_TRY(find(&t->present, file, "present", DNS_U8, 2, shape->n));
    size_t left = t->privileged->shape[1];
    for (size_t b = 0; b < shape->n_blocks; b++) {
        int64_t size = ((const int64_t *)blocks->data)[b];
        if (size <= 0 || (uint64_t)size > left)
            DNS_FAIL(DNS_ERR_SHAPE, "%s: block %zu has %lld features", dns_safetensors_path(file),
                     b + 1, (long long)size);
        (*sizes)[b] = (size_t)size;
        left -= (size_t)size;
    }
    if (left != 0 || t->present->shape[1] != shape->n_blocks)
        DNS_FAIL(DNS_ERR_SHAPE, "%s: privileged blocks do not fit", dns_safetensors_path(file));
    shape->block_sizes = *sizes;
out:
    return status;
}

static dns_status read_labels(dns_json **names, const char ***labels, dns_labelled_rows *shape,
                              const dns_safetensors *file)
{
    dns_status status = DNS_OK;
    const char *path = dns_safetensors_path(file), *found = dns_safetensors_metadata(file, "kind");
    if (found == NULL || strcmp(found, kind) != 0)
        DNS_FAIL(DNS_ERR_FORMAT, "%s: no rows to learn from", path);
    found = dns_safetensors_metadata(file, "task");
    if (found == NULL || !dns_label_task_parse(&shape->task, found))
        DNS_FAIL(DNS_ERR_FORMAT, "%s: no known task", path);
    found = dns_safetensors_metadata(file, "labels");
    DNS_TRY(
        dns_json_parse(names, found != NULL ? found : "", found != NULL ? strlen(found) : 0, path));
    shape->n_labels = dns_json_size(*names);
    DNS_TRY(dns_alloc(labels, shape->n_labels, sizeof **labels));
    for (size_t i = 0; i < shape->n_labels; i++) {
        (*labels)[i] = dns_json_string(dns_json_at(*names, i), NULL);
        if ((*labels)[i] == NULL)
            DNS_FAIL(DNS_ERR_FORMAT, "%s: label %zu has no name", path, i + 1);
    }
    shape->labels = *labels;
    shape->origin = dns_safetensors_metadata(file, "origin");
out:
    return status;
}

dns_status dns_row_file_read(dns_row_file **out, const char *path)
{
    dns_status status = DNS_OK;
    dns_safetensors *file = NULL;
    dns_json *names = NULL;
    const char **labels = NULL;
    size_t *sizes = NULL;
    dns_row_file *f = NULL;
    dns_labelled_rows shape = {0};
    struct tensors t = {0};
    *out = NULL;
    DNS_TRY(dns_safetensors_open(&file, path));
    DNS_TRY(read_labels(&names, &labels, &shape, file));
    DNS_TRY(find_tensors(&t, &shape, &sizes, file));
    DNS_TRY(dns_row_file_create(&f, &shape));
    dns_tensor_to_f32(f->x, t.x);
    dns_tensor_to_f32(f->y, t.y);
    memcpy(f->labelled, t.labelled->data, shape.n);
    if (t.groups != NULL)
        memcpy(f->groups, t.groups->data, shape.n * sizeof *f->groups);
    if (shape.n_blocks > 0) {
        dns_tensor_to_f32(f->privileged, t.privileged);
        memcpy(f->present, t.present->data, shape.n * shape.n_blocks);
    }
    status = dns_labelled_rows_check_values(&f->rows);
    if (status != DNS_OK) {
        status = dns_status_context(DNS_ERR_FORMAT, "%s", path);
        goto out;
    }
    *out = f;
    f = NULL;
out:
    dns_row_file_free(f);
    dns_free(sizes);
    dns_free(labels);
    dns_json_free(names);
    dns_safetensors_close(file);
    return status;
}
