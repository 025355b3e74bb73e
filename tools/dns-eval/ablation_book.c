#include "ablation_book.h"

#include <stdio.h>
#include <string.h>

#include "dnsel/file.h"
#include "dnsel/json.h"
#include "dnsel/memory.h"

enum { MOST_BYTES = 1 << 30, DIGITS = 7 };

struct entry {
    char method[DNS_ABLATION_NAME];
    size_t fold;
    uint64_t seed;
    double *ap;
    size_t n;
};

struct dns_ablation_book {
    struct entry *entries;
    size_t n, capacity;
    FILE *file;
};

static dns_status keep(dns_ablation_book *b, const char *method, size_t fold, uint64_t seed,
                       const double *ap, size_t n)
{
    dns_status status = dns_reserve(&b->entries, &b->capacity, b->n + 1, sizeof *b->entries);
    if (status != DNS_OK)
        return status;
    struct entry *e = &b->entries[b->n];
    *e = (struct entry){.fold = fold, .seed = seed, .n = n};
    snprintf(e->method, sizeof e->method, "%s", method);
    status = dns_alloc(&e->ap, n, sizeof *e->ap);
    if (status != DNS_OK)
        return status;
    memcpy(e->ap, ap, n * sizeof *ap);
    b->n++;
    return DNS_OK;
}

/* One line of the file. */
static dns_status read_line(dns_ablation_book *b, const char *line, size_t size, const char *path,
                            const char *settings)
{
    dns_status status = DNS_OK;
    dns_json *json = NULL;
    double *ap = NULL;
    DNS_TRY(dns_json_parse(&json, line, size, path));
    const char *begun = dns_json_string(dns_json_get(json, "settings"), NULL);
    if (begun != NULL && strcmp(begun, settings) != 0)
        DNS_FAIL(DNS_ERR_MODEL, "%s: begun with other settings (%s)", path, begun);
    const dns_json *values = dns_json_get(json, "ap");
    size_t n = dns_json_size(values);
    DNS_TRY(dns_alloc(&ap, n, sizeof *ap));
    for (size_t i = 0; i < n; i++)
        ap[i] = dns_json_number(dns_json_at(values, i), 0);
    if (begun == NULL)
        DNS_TRY(keep(b, dns_json_string(dns_json_get(json, "method"), ""),
                     (size_t)dns_json_integer(dns_json_get(json, "fold"), 0),
                     (uint64_t)dns_json_integer(dns_json_get(json, "seed"), 0), ap, n));
out:
    dns_free(ap);
    dns_json_free(json);
    return status;
}

static dns_status put_line(dns_ablation_book *b, dns_json_writer *w)
{
    dns_json_end_object(w);
    dns_status status = dns_json_finish(w);
    if (status == DNS_OK && fflush(b->file) != 0)
        status = dns_status_set_errno("results of the ablation");
    return status;
}

/* Whole lines are read, the file is cut off behind them, and opened to be added to. */
static dns_status open_file(dns_ablation_book *b, const char *path, const char *settings)
{
    dns_status status = DNS_OK;
    char *text = NULL;
    size_t size = 0, at = 0;
    if (dns_file_exists(path))
        DNS_TRY(dns_file_read(&text, &size, path, MOST_BYTES));
    for (const char *end; at < size && (end = memchr(text + at, '\n', size - at)) != NULL;) {
        DNS_TRY(read_line(b, text + at, (size_t)(end - text) - at, path, settings));
        at = (size_t)(end - text) + 1;
    }
    DNS_TRY(dns_file_write(path, text != NULL ? text : "", at));
    b->file = fopen(path, "abe");
    if (b->file == NULL) {
        status = dns_status_set_errno("%s", path);
        goto out;
    }
    if (at == 0) {
        dns_json_writer w = dns_json_writer_to(b->file, false);
        dns_json_begin_object(&w, NULL);
        dns_json_put_string(&w, "settings", settings);
        DNS_TRY(put_line(b, &w));
    }
out:
    dns_free(text);
    return status;
}

dns_status dns_ablation_open(dns_ablation_book **out, const char *path, const char *settings)
{
    dns_ablation_book *b;
    *out = NULL;
    dns_status status = dns_alloc(&b, 1, sizeof *b);
    if (status != DNS_OK)
        return status;
    status = open_file(b, path, settings);
    if (status == DNS_OK)
        *out = b;
    else
        dns_ablation_close(b);
    return status;
}

void dns_ablation_close(dns_ablation_book *b)
{
    if (b == NULL)
        return;
    for (size_t i = 0; i < b->n; i++)
        dns_free(b->entries[i].ap);
    dns_free(b->entries);
    if (b->file != NULL)
        fclose(b->file);
    dns_free(b);
}

bool dns_ablation_has(const dns_ablation_book *b, const char *method, size_t fold, uint64_t seed)
{
    for (size_t i = 0; i < b->n; i++)
        if (b->entries[i].fold == fold && b->entries[i].seed == seed &&
            strcmp(b->entries[i].method, method) == 0)
            return true;
    return false;
}

dns_status dns_ablation_put(dns_ablation_book *b, const char *method, size_t fold, uint64_t seed,
                            const double *ap, size_t n)
{
    if (dns_ablation_has(b, method, fold, seed))
        return DNS_OK;
    dns_json_writer w = dns_json_writer_to(b->file, false);
    dns_json_begin_object(&w, NULL);
    dns_json_put_string(&w, "method", method);
    dns_json_put_integer(&w, "fold", (int64_t)fold);
    dns_json_put_integer(&w, "seed", (int64_t)seed);
    dns_json_begin_array(&w, "ap");
    for (size_t i = 0; i < n; i++)
        dns_json_put_number(&w, NULL, ap[i], DIGITS);
    dns_json_end_array(&w);
    dns_status status = put_line(b, &w);
    return status == DNS_OK ? keep(b, method, fold, seed, ap, n) : status;
}

const char *dns_ablation_method(const dns_ablation_book *b, size_t index)
{
    size_t n = 0;
    for (size_t i = 0; i < b->n; i++) {
        bool first = true;
        for (size_t j = 0; j < i && first; j++)
            first = strcmp(b->entries[j].method, b->entries[i].method) != 0;
        if (first && n++ == index)
            return b->entries[i].method;
    }
    return NULL;
}

/* Seeds of a method in a fold. */
static size_t count_seeds(const dns_ablation_book *b, const char *method, size_t fold)
{
    size_t n = 0;
    for (size_t i = 0; i < b->n; i++)
        n += b->entries[i].fold == fold && strcmp(b->entries[i].method, method) == 0;
    return n;
}

dns_status dns_ablation_gather(double **ap, size_t *n, const dns_ablation_book *b,
                               const char *method)
{
    dns_status status = DNS_OK;
    size_t start[256] = {0}, n_folds = 0, all = 0;
    *ap = NULL;
    *n = 0;
    for (size_t i = 0; i < b->n; i++)
        if (strcmp(b->entries[i].method, method) == 0 && b->entries[i].fold < 256) {
            size_t fold = b->entries[i].fold;
            start[fold] = b->entries[i].n;
            n_folds = fold + 1 > n_folds ? fold + 1 : n_folds;
        }
    for (size_t fold = 0; fold < n_folds; fold++) {
        size_t here = start[fold];
        start[fold] = all;
        all += here;
    }
    DNS_TRY(dns_alloc(ap, all, sizeof **ap));
    for (size_t i = 0; i < b->n; i++) {
        const struct entry *e = &b->entries[i];
        if (strcmp(e->method, method) != 0 || e->fold >= 256)
            continue;
        double share = 1 / (double)count_seeds(b, method, e->fold);
        for (size_t k = 0; k < e->n; k++)
            (*ap)[start[e->fold] + k] += share * e->ap[k];
    }
    *n = all;
out:
    return status;
}
