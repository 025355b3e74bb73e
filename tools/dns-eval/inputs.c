#include "inputs.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dnsel/checkpoint.h"
#include "dnsel/features_file.h"
#include "dnsel/file.h"
#include "dnsel/memory.h"
#include "dnsel/pickle.h"

enum { LIMIT = 1 << 30 };

static dns_status annotations_from_pickle(dns_json **out, const char *text, size_t size,
                                          const char *path)
{
    dns_pickle *pickle;
    char *json = NULL;
    size_t n = 0;
    dns_status status = dns_pickle_parse(&pickle, NULL, text, size, path);
    if (status != DNS_OK)
        return status;
    FILE *stream = open_memstream(&json, &n);
    dns_json_writer w = dns_json_writer_to(stream, false);
    dns_pickle_write_json(&w, NULL, dns_pickle_root(pickle));
    status = dns_json_finish(&w);
    fclose(stream);
    if (status == DNS_OK)
        status = dns_json_parse(out, json, n, path);
    free(json);
    dns_pickle_free(pickle);
    return status;
}

dns_status dns_read_annotations(dns_json **out, const char *path)
{
    char *text;
    size_t size;
    *out = NULL;
    dns_status status = dns_file_read(&text, &size, path, LIMIT);
    if (status != DNS_OK)
        return status;
    size_t start = strspn(text, " \t\r\n");
    if (text[start] == '{')
        status = dns_json_parse(out, text, size, path);
    else if ((unsigned char)text[0] == 0x80 || text[0] == '(')
        status = annotations_from_pickle(out, text, size, path);
    else
        status = dns_protocol_pairs(out, text, path);
    dns_free(text);
    return status;
}

/* Lines of a text as strings in place. */
static dns_status split_lines(const char ***lines, size_t *n, char *text)
{
    size_t capacity = 0;
    *lines = NULL;
    *n = 0;
    for (char *line = text; *line != '\0';) {
        char *end = line + strcspn(line, "\r\n");
        char *next = *end != '\0' ? end + 1 : end;
        *end = '\0';
        if (*line != '\0') {
            dns_status status = dns_reserve(lines, &capacity, *n + 1, sizeof **lines);
            if (status != DNS_OK)
                return status;
            (*lines)[(*n)++] = line;
        }
        line = next;
    }
    return DNS_OK;
}

/* "dir/FIVR-5K.scores.safetensors" and "queries" -> "dir/FIVR-5K.queries.txt" */
static dns_status list_path(char **out, const char *given, const char *scores, const char *what)
{
    if (given != NULL)
        return dns_string_copy(out, given);
    const char *slash = strrchr(scores, '/'), *name = slash != NULL ? slash + 1 : scores;
    const char *end = strstr(name, ".scores.");
    if (end == NULL)
        end = strrchr(name, '.') != NULL ? strrchr(name, '.') : name + strlen(name);
    return dns_string_format(out, "%.*s.%s.txt", (int)(end - scores), scores, what);
}

struct list {
    char *path, *text;
    const char **ids;
    size_t n;
};

static dns_status read_list(struct list *l, const char *given, const char *scores, const char *what)
{
    size_t size;
    dns_status status = list_path(&l->path, given, scores, what);
    if (status == DNS_OK)
        status = dns_file_read(&l->text, &size, l->path, LIMIT);
    if (status == DNS_OK)
        status = split_lines(&l->ids, &l->n, l->text);
    return status;
}

static void free_list(struct list *l)
{
    dns_free(l->path);
    dns_free(l->text);
    dns_free(l->ids);
}

/* *values = the matrix as f64, whatever file it is in. */
static dns_status read_matrix(double **values, size_t rows, size_t columns, const char *path)
{
    dns_status status = DNS_OK;
    dns_checkpoint *file = NULL;
    float *narrow = NULL;
    DNS_TRY(dns_checkpoint_open(&file, path));
    const dns_tensor *scores = dns_checkpoint_find(file, "scores");
    if (scores == NULL && dns_checkpoint_count(file) == 1)
        scores = &dns_checkpoint_tensors(file)[0].tensor;
    if (scores == NULL)
        DNS_FAIL(DNS_ERR_FORMAT, "%s: no tensor 'scores'", path);
    if (scores->rank != 2 || scores->shape[0] != rows || scores->shape[1] != columns) {
        char shape[64];
        dns_tensor_shape_text(scores, shape, sizeof shape);
        DNS_FAIL(DNS_ERR_SHAPE, "%s: scores %s, the id lists want [%zu,%zu]", path, shape, rows,
                 columns);
    }
    size_t n = rows * columns;
    DNS_TRY(dns_alloc(values, n, sizeof **values));
    if (scores->dtype == DNS_F64) {
        memcpy(*values, scores->data, n * sizeof **values);
        goto out;
    }
    DNS_TRY(dns_alloc(&narrow, n, sizeof *narrow));
    dns_tensor_to_f32(narrow, scores);
    for (size_t i = 0; i < n; i++)
        (*values)[i] = (double)narrow[i];
out:
    dns_free(narrow);
    dns_checkpoint_close(file);
    return status;
}

static dns_status read_hdf5(double **values, size_t rows, size_t columns, const char *path)
{
    dns_status status = DNS_OK;
    dns_features_file *file = NULL;
    dns_features_shape shape;
    float *narrow = NULL;
    size_t index = 0;
    DNS_TRY(dns_features_file_open(&file, path));
    if (!dns_features_file_find(&index, file, "scores") && dns_features_file_count(file) != 1)
        DNS_FAIL(DNS_ERR_FORMAT, "%s: no data set 'scores'", path);
    DNS_TRY(dns_features_file_shape(&shape, file, index));
    if (shape.n_frames != rows || shape.n_regions * shape.dim != columns)
        DNS_FAIL(DNS_ERR_SHAPE, "%s: scores [%zu,%zu], the id lists want [%zu,%zu]", path,
                 shape.n_frames, shape.n_regions * shape.dim, rows, columns);
    DNS_TRY(dns_alloc(values, rows * columns, sizeof **values));
    DNS_TRY(dns_alloc(&narrow, rows * columns, sizeof *narrow));
    DNS_TRY(dns_features_file_read(narrow, file, index, 0, rows));
    for (size_t i = 0; i < rows * columns; i++)
        (*values)[i] = (double)narrow[i];
out:
    dns_free(narrow);
    dns_features_file_close(file);
    return status;
}

static bool ends_with(const char *text, const char *end)
{
    size_t n = strlen(text), m = strlen(end);
    return n >= m && strcmp(text + n - m, end) == 0;
}

dns_status dns_read_scores(dns_scores **out, const char *path, const char *queries,
                           const char *database)
{
    dns_status status = DNS_OK;
    struct list q = {0}, d = {0};
    double *values = NULL;
    dns_json *json = NULL;
    *out = NULL;
    if (ends_with(path, ".json")) {
        DNS_TRY(dns_json_read(&json, path));
        DNS_TRY(dns_scores_from_json(out, json));
        goto out;
    }
    if (!dns_file_exists(path))
        DNS_FAIL(DNS_ERR_NOTFOUND, "%s: no such file", path);
    DNS_TRY(read_list(&q, queries, path, "queries"));
    DNS_TRY(read_list(&d, database, path, "database"));
    if (ends_with(path, ".h5") || ends_with(path, ".hdf5") || ends_with(path, ".hdf"))
        DNS_TRY(read_hdf5(&values, q.n, d.n, path));
    else
        DNS_TRY(read_matrix(&values, q.n, d.n, path));
    DNS_TRY(dns_scores_from_matrix(out, q.ids, q.n, d.ids, d.n, NULL, values));
out:
    free_list(&q);
    free_list(&d);
    dns_free(values);
    dns_json_free(json);
    return status;
}

static dns_status id_of_meta(char **out, const dns_meta *meta, bool extensions)
{
    const char *slash = strrchr(meta->path, '/'), *name = slash != NULL ? slash + 1 : meta->path;
    if (meta->imported)
        return dns_string_copy(out, meta->name);
    const char *dot = extensions ? NULL : strrchr(name, '.');
    return dns_string_format(
        out, "%.*s", (int)(dot != NULL && dot != name ? (size_t)(dot - name) : strlen(name)), name);
}

dns_status dns_index_ids_read(dns_index_ids *out, dns_store *store, bool extensions)
{
    dns_status status = DNS_OK;
    dns_snapshot *snapshot = NULL;
    *out = (dns_index_ids){0};
    DNS_TRY(dns_snapshot_open(&snapshot, store));
    DNS_TRY(dns_snapshot_ids(&out->keys, &out->n, snapshot, DNS_KIND_META));
    DNS_TRY(dns_alloc(&out->texts, out->n, sizeof *out->texts));
    for (size_t i = 0; i < out->n; i++) {
        dns_meta meta;
        DNS_TRY(dns_snapshot_meta(&meta, snapshot, out->keys[i]));
        DNS_TRY(id_of_meta(&out->texts[i], &meta, extensions));
    }
out:
    dns_snapshot_close(snapshot);
    if (status != DNS_OK)
        dns_index_ids_free(out);
    return status;
}

void dns_index_ids_free(dns_index_ids *ids)
{
    for (size_t i = 0; ids->texts != NULL && i < ids->n; i++)
        dns_free(ids->texts[i]);
    dns_free(ids->texts);
    dns_free(ids->keys);
    *ids = (dns_index_ids){0};
}

size_t dns_index_ids_find(const dns_index_ids *ids, uint64_t key)
{
    size_t low = 0, high = ids->n; /* keys ascend */
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (ids->keys[middle] < key)
            low = middle + 1;
        else
            high = middle;
    }
    return low < ids->n && ids->keys[low] == key ? low : SIZE_MAX;
}

static size_t find_text(const dns_index_ids *ids, const char *text)
{
    for (size_t i = 0; i < ids->n; i++)
        if (strcmp(ids->texts[i], text) == 0)
            return i;
    return SIZE_MAX;
}

static dns_status score_row(dns_scores *scores, size_t row, dns_searcher *searcher,
                            const dns_index_ids *ids, size_t video,
                            const dns_search_options *options)
{
    char key[17];
    dns_query query;
    dns_answer *answer = NULL;
    dns_id_text(ids->keys[video], key);
    dns_status status = dns_searcher_stored_query(&query, searcher, key);
    if (status == DNS_OK)
        status = dns_search(&answer, searcher, &query, options);
    for (size_t i = 0; status == DNS_OK && i < answer->n_results; i++) {
        size_t found = dns_index_ids_find(ids, answer->results[i].id);
        if (found == SIZE_MAX)
            continue;
        size_t column = dns_scores_column(scores, ids->texts[found]);
        scores->values[row * scores->n_database + column] = (double)answer->results[i].score;
    }
    dns_answer_free(answer);
    return status;
}

dns_status dns_scores_from_index(dns_scores **out, dns_searcher *searcher, const dns_index_ids *ids,
                                 const dns_json *queries, const dns_search_options *options,
                                 const dns_progress *progress)
{
    dns_status status = DNS_OK;
    const char **names = NULL;
    size_t *videos = NULL, n = 0, n_named = dns_json_size(queries);
    dns_search_options all = *options;
    all.k = 0;
    *out = NULL;
    DNS_TRY(dns_alloc(&names, n_named, sizeof *names));
    DNS_TRY(dns_alloc(&videos, n_named, sizeof *videos));
    for (size_t i = 0; i < n_named; i++) {
        names[n] = dns_json_string(dns_json_at(queries, i), "");
        videos[n] = find_text(ids, names[n]);
        n += videos[n] != SIZE_MAX;
    }
    DNS_TRY(dns_scores_create(out, names, n, (const char *const *)ids->texts, ids->n));
    for (size_t i = 0; i < n; i++) {
        DNS_TRY(score_row(*out, i, searcher, ids, videos[i], &all));
        if (progress != NULL && progress->report != NULL)
            progress->report(progress->payload, i + 1, n, "queries");
    }
out:
    if (status != DNS_OK) {
        dns_scores_free(*out);
        *out = NULL;
    }
    dns_free(names);
    dns_free(videos);
    return status;
}
