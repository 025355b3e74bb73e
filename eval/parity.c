#include "dnsel/parity.h"

#include <dirent.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "dnsel/memory.h"
#include "parity_set.h"

static dns_status (*const families[])(dns_parity *p) = {
    dns_parity_fine,     dns_parity_fine_training, dns_parity_coarse, dns_parity_coarse_training,
    dns_parity_selector,
};

struct open_file {
    char *name;
    dns_safetensors *file; /* NULL: looked for and not there */
    bool known;            /* some family has asked for it */
};

struct dns_parity {
    const char *directory;
    dns_pool *pool;
    struct open_file *files;
    size_t n_files, file_capacity;
    dns_parity_item *items;
    size_t n_items, item_capacity;
    char **unknown;
    size_t n_unknown, unknown_capacity;
};

dns_pool *dns_parity_pool(const dns_parity *p)
{
    return p->pool;
}

/* ---- files ---- */

static dns_status open_file(dns_parity *p, const char *name)
{
    dns_status status = DNS_OK;
    struct open_file opened = {0};
    char *path = NULL;
    DNS_TRY(dns_reserve(&p->files, &p->file_capacity, p->n_files + 1, sizeof *p->files));
    DNS_TRY(dns_string_format(&path, "%s/%s.safetensors", p->directory, name));
    DNS_TRY(dns_string_copy(&opened.name, name));
    p->files[p->n_files++] = opened;
    if (dns_file_exists(path))
        DNS_TRY(dns_safetensors_open(&p->files[p->n_files - 1].file, path));
out:
    dns_free(path);
    return status;
}

static dns_status find_file(dns_parity *p, size_t *index, const char *name)
{
    *index = 0;
    while (*index < p->n_files && strcmp(p->files[*index].name, name) != 0)
        (*index)++;
    return *index < p->n_files ? DNS_OK : open_file(p, name);
}

dns_status dns_parity_file(dns_parity *p, const dns_safetensors **out, const char *name)
{
    size_t index;
    dns_status status = find_file(p, &index, name);
    *out = NULL;
    if (status == DNS_OK) {
        p->files[index].known = true;
        *out = p->files[index].file;
    }
    return status;
}

dns_status dns_parity_need(dns_parity *p, const dns_safetensors **out, const char *name)
{
    dns_status status = dns_parity_file(p, out, name);
    if (status == DNS_OK && *out == NULL)
        status =
            dns_status_set(DNS_ERR_NOTFOUND, "%s/%s.safetensors: no such file", p->directory, name);
    return status;
}

dns_status dns_parity_tensor(const dns_tensor **out, const dns_safetensors *file, const char *name)
{
    *out = dns_safetensors_find(file, name);
    return *out != NULL ? DNS_OK
                        : dns_status_set(DNS_ERR_NOTFOUND, "%s: no tensor '%s'",
                                         dns_safetensors_path(file), name);
}

const char *dns_parity_after(const char *name, const char *prefix)
{
    size_t n = strlen(prefix);
    return strncmp(name, prefix, n) == 0 ? name + n : NULL;
}

double dns_parity_number(const dns_safetensors *file, const char *key, double otherwise)
{
    const char *text = dns_safetensors_metadata(file, key);
    return text != NULL ? strtod(text, NULL) : otherwise;
}

bool dns_parity_is_fine(const dns_safetensors *file, const char *prefix)
{
    static const char *const names[] = {"visil_head.conv1.weight", "video_comperator.conv1.weight",
                                        "mlp.model.0.weight"};
    bool found[3];
    for (size_t i = 0; i < 3; i++) {
        char name[256];
        snprintf(name, sizeof name, "%s%s", prefix, names[i]);
        found[i] = dns_safetensors_find(file, name) != NULL;
    }
    return (found[0] || found[1]) && !found[2];
}

bool dns_parity_is_symmetric(const dns_safetensors *file)
{
    const char *symmetric = dns_safetensors_metadata(file, "symmetric");
    return symmetric != NULL && strcmp(symmetric, "True") == 0;
}

static dns_status add_unknown(dns_parity *p, const char *file, const char *tensor)
{
    dns_status status = DNS_OK;
    DNS_TRY(dns_reserve(&p->unknown, &p->unknown_capacity, p->n_unknown + 1, sizeof *p->unknown));
    DNS_TRY(dns_string_format(&p->unknown[p->n_unknown], "%s%s%s", file, tensor[0] ? ": " : "",
                              tensor));
    p->n_unknown++;
out:
    return status;
}

dns_status dns_parity_unknown(dns_parity *p, const char *set, const char *tensor)
{
    return add_unknown(p, set, tensor);
}

static bool is_known(const dns_parity *p, const char *file_name)
{
    for (size_t i = 0; i < p->n_files; i++) {
        const char *end = dns_parity_after(file_name, p->files[i].name);
        if (p->files[i].known && end != NULL && strcmp(end, ".safetensors") == 0)
            return true;
    }
    return strcmp(file_name, "README.md") == 0;
}

static int by_text(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Names of the regular files of the folder, sorted. */
struct names {
    char **items;
    size_t n, capacity;
};

static void free_names(struct names *names)
{
    for (size_t i = 0; i < names->n; i++)
        dns_free(names->items[i]);
    dns_free(names->items);
}

static dns_status list_files(struct names *names, const char *directory)
{
    dns_status status = DNS_OK;
    DIR *folder = opendir(directory);
    if (folder == NULL)
        return dns_status_set_errno("%s", directory);
    for (struct dirent *entry; (entry = readdir(folder)) != NULL;) {
        struct stat info;
        if (fstatat(dirfd(folder), entry->d_name, &info, 0) != 0 || !S_ISREG(info.st_mode))
            continue;
        DNS_TRY(dns_reserve(&names->items, &names->capacity, names->n + 1, sizeof *names->items));
        DNS_TRY(dns_string_copy(&names->items[names->n], entry->d_name));
        names->n++;
    }
    if (names->n > 0)
        qsort(names->items, names->n, sizeof *names->items, by_text);
out:
    closedir(folder);
    return status;
}

static dns_status name_unknown_files(dns_parity *p)
{
    dns_status status = DNS_OK;
    struct names names = {0};
    DNS_TRY(list_files(&names, p->directory));
    for (size_t i = 0; i < names.n; i++) {
        if (!is_known(p, names.items[i]))
            DNS_TRY(add_unknown(p, names.items[i], ""));
    }
    if (p->n_unknown > 0)
        qsort(p->unknown, p->n_unknown, sizeof *p->unknown, by_text);
out:
    free_names(&names);
    return status;
}

dns_status dns_parity_each(dns_parity *p, const char *ending, dns_parity_visit visit)
{
    dns_status status = DNS_OK;
    struct names names = {0};
    char whole[64];
    snprintf(whole, sizeof whole, "%s.safetensors", ending);
    DNS_TRY(list_files(&names, p->directory));
    for (size_t i = 0; i < names.n; i++) {
        char *name = names.items[i];
        size_t length = strlen(name), index;
        bool taken = false;
        if (length <= strlen(whole) || strcmp(name + length - strlen(whole), whole) != 0)
            continue;
        name[length - strlen(".safetensors")] = '\0';
        DNS_TRY(find_file(p, &index, name));
        name[length - strlen(whole)] = '\0';
        const dns_safetensors *file = p->files[index].file;
        status = visit(p, name, file, &taken);
        if (status != DNS_OK) {
            dns_status_context(status, "%s%s", name, ending);
            goto out;
        }
        p->files[index].known = p->files[index].known || taken;
    }
out:
    free_names(&names);
    return status;
}

/* ---- comparing ---- */

static void measure(dns_parity_item *item, const double *got, const double *expected, size_t n,
                    const dns_parity_rule *rule)
{
    double largest = 0;
    bool finite = true;
    for (size_t i = 0; i < n; i++) {
        largest = fmax(largest, fabs(expected[i]));
        if (rule->excused != NULL && rule->excused[i]) {
            item->n_excused++;
            continue;
        }
        finite = finite && isfinite(got[i]) && isfinite(expected[i]);
        item->absolute = fmax(item->absolute, fabs(got[i] - expected[i]));
    }
    double scale = rule->scale != 0 ? rule->scale : largest != 0 ? largest : 1;
    item->n = n - item->n_excused;
    item->error = item->absolute / scale;
    item->passed = finite && item->error <= rule->tolerance;
}

dns_status dns_parity_compare_f64(dns_parity *p, const char *set, const char *name,
                                  const double *got, size_t n, const dns_tensor *expected,
                                  const dns_parity_rule *rule)
{
    dns_status status = DNS_OK;
    dns_parity_item item = {.tolerance = rule->tolerance, .unit = rule->unit};
    char *item_set = NULL, *item_tensor = NULL;
    float *narrow = NULL;
    double *wide = NULL;
    if (n != dns_tensor_count(expected))
        DNS_FAIL(DNS_ERR_SHAPE, "%s: tensor '%s' has %zu entries, %zu were computed", set, name,
                 dns_tensor_count(expected), n);
    DNS_TRY(dns_alloc(&narrow, n, sizeof *narrow));
    DNS_TRY(dns_alloc(&wide, n, sizeof *wide));
    dns_tensor_to_f32(narrow, expected);
    for (size_t i = 0; i < n; i++)
        wide[i] = narrow[i];
    if (expected->dtype == DNS_F64) /* which files need not align */
        memcpy(wide, expected->data, n * sizeof *wide);
    measure(&item, got, wide, n, rule);
    DNS_TRY(dns_reserve(&p->items, &p->item_capacity, p->n_items + 1, sizeof *p->items));
    DNS_TRY(dns_string_copy(&item_set, set));
    DNS_TRY(dns_string_copy(&item_tensor, name));
    item.set = item_set;
    item.tensor = item_tensor;
    p->items[p->n_items++] = item;
    item_set = item_tensor = NULL;
out:
    dns_free(item_tensor);
    dns_free(item_set);
    dns_free(wide);
    dns_free(narrow);
    return status;
}

dns_status dns_parity_compare(dns_parity *p, const char *set, const char *name, const float *got,
                              size_t n, const dns_tensor *expected, const dns_parity_rule *rule)
{
    double *wide = NULL;
    dns_status status = dns_alloc(&wide, n, sizeof *wide);
    for (size_t i = 0; status == DNS_OK && i < n; i++)
        wide[i] = (double)got[i];
    if (status == DNS_OK)
        status = dns_parity_compare_f64(p, set, name, wide, n, expected, rule);
    dns_free(wide);
    return status;
}

dns_status dns_parity_forward(dns_parity *p, const char *set, const char *name, const float *got,
                              size_t n, const dns_tensor *expected)
{
    const dns_parity_rule rule = {.tolerance = DNS_PARITY_FORWARD, .unit = "largest"};
    return dns_parity_compare(p, set, name, got, n, expected, &rule);
}

/* ---- running ---- */

dns_status dns_parity_run(dns_parity **out, const char *directory, dns_pool *pool)
{
    dns_status status = DNS_OK;
    dns_parity *p = NULL;
    *out = NULL;
    if (!dns_directory_exists(directory))
        DNS_FAIL(DNS_ERR_NOTFOUND, "%s: no such folder", directory);
    DNS_TRY(dns_alloc(&p, 1, sizeof *p));
    p->directory = directory;
    p->pool = pool;
    for (size_t i = 0; i < sizeof families / sizeof *families; i++)
        DNS_TRY(families[i](p));
    DNS_TRY(name_unknown_files(p));
    *out = p;
    p = NULL;
out:
    dns_parity_free(p);
    return status;
}

void dns_parity_free(dns_parity *p)
{
    if (p == NULL)
        return;
    for (size_t i = 0; i < p->n_files; i++) {
        dns_safetensors_close(p->files[i].file);
        dns_free(p->files[i].name);
    }
    for (size_t i = 0; i < p->n_items; i++) {
        dns_free((char *)p->items[i].set);
        dns_free((char *)p->items[i].tensor);
    }
    for (size_t i = 0; i < p->n_unknown; i++)
        dns_free(p->unknown[i]);
    dns_free(p->files);
    dns_free(p->items);
    dns_free(p->unknown);
    dns_free(p);
}

size_t dns_parity_count(const dns_parity *p)
{
    return p->n_items;
}

const dns_parity_item *dns_parity_at(const dns_parity *p, size_t index)
{
    return &p->items[index];
}

bool dns_parity_passed(const dns_parity *p)
{
    bool passed = p->n_items > 0;
    for (size_t i = 0; i < p->n_items; i++)
        passed = passed && p->items[i].passed;
    return passed;
}

size_t dns_parity_unknown_count(const dns_parity *p)
{
    return p->n_unknown;
}

const char *dns_parity_unknown_at(const dns_parity *p, size_t index)
{
    return p->unknown[index];
}
