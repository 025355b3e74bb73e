#include "truth.h"

#include <stdint.h>
#include <string.h>

#include "dnsel/csv.h"
#include "dnsel/memory.h"

struct dns_truth {
    dns_csv *table;
    dns_index_ids ids; /* with extensions */
    char (*keys)[17];  /* [ids.n]: their 16 digits */
    dns_truth_query *queries;
    size_t n_queries, capacity, n_missing;
    size_t query, original, group, edit, exclude; /* columns */
};

/* Equal, or equal but for the extension of `stored`. */
static bool same_name(const char *given, const char *stored)
{
    size_t n = strlen(given);
    if (strncmp(given, stored, n) != 0)
        return false;
    return stored[n] == '\0' || (stored[n] == '.' && strchr(stored + n + 1, '.') == NULL);
}

static size_t find_video(const dns_truth *t, const char *name)
{
    const char *slash = strrchr(name, '/');
    for (size_t i = 0; i < t->ids.n; i++)
        if (strcmp(t->ids.texts[i], name) == 0 || strcmp(t->keys[i], name) == 0)
            return i;
    for (size_t i = 0; i < t->ids.n; i++)
        if (same_name(slash != NULL ? slash + 1 : name, t->ids.texts[i]))
            return i;
    return SIZE_MAX;
}

static dns_truth_query *find_query(const dns_truth *t, const char *name)
{
    for (size_t i = 0; i < t->n_queries; i++)
        if (strcmp(t->queries[i].name, name) == 0)
            return &t->queries[i];
    return NULL;
}

static dns_status add_query(dns_truth_query **out, dns_truth *t, const char *name)
{
    *out = find_query(t, name);
    if (*out != NULL)
        return DNS_OK;
    dns_status status =
        dns_reserve(&t->queries, &t->capacity, t->n_queries + 1, sizeof *t->queries);
    if (status != DNS_OK)
        return status;
    dns_truth_query *q = &t->queries[t->n_queries];
    *q = (dns_truth_query){.name = name, .edit = ""};
    status = dns_alloc(&q->relevant, t->ids.n, sizeof *q->relevant);
    if (status == DNS_OK)
        status = dns_alloc(&q->excluded, t->ids.n, sizeof *q->excluded);
    t->n_queries++;
    *out = q;
    return status;
}

static void mark_relevant(dns_truth *t, dns_truth_query *q, const char *original)
{
    size_t video = find_video(t, original);
    if (video == SIZE_MAX) {
        t->n_missing++;
        q->n_relevant++;
    } else if (!q->relevant[video]) {
        q->relevant[video] = true;
        q->n_relevant++;
    }
}

static void mark_excluded(dns_truth *t, dns_truth_query *q, const char *names)
{
    char name[4096];
    while (*names != '\0') {
        size_t n = strcspn(names, ";");
        if (n > 0 && n < sizeof name) {
            memcpy(name, names, n);
            name[n] = '\0';
            size_t video = find_video(t, name);
            if (video != SIZE_MAX)
                q->excluded[video] = true;
        }
        names += n + (names[n] == ';');
    }
}

static dns_status take_row(dns_truth *t, size_t row)
{
    const char *name = dns_csv_field(t->table, row, t->query),
               *original = dns_csv_field(t->table, row, t->original);
    const char *group = dns_csv_field(t->table, row, t->group),
               *exclude = dns_csv_field(t->table, row, t->exclude);
    dns_truth_query *q;
    if (strcmp(exclude, "1") == 0 || strcmp(exclude, "true") == 0)
        return DNS_OK;
    dns_status status = add_query(&q, t, name);
    if (status != DNS_OK)
        return status;
    q->edit = dns_csv_field(t->table, row, t->edit);
    mark_relevant(t, q, original);
    for (size_t other = 0; group[0] != '\0' && other < dns_csv_rows(t->table); other++)
        if (strcmp(dns_csv_field(t->table, other, t->group), group) == 0 &&
            find_video(t, dns_csv_field(t->table, other, t->original)) != SIZE_MAX)
            mark_relevant(t, q, dns_csv_field(t->table, other, t->original));
    if (strcmp(exclude, "0") != 0)
        mark_excluded(t, q, exclude);
    return DNS_OK;
}

dns_status dns_truth_read(dns_truth **out, const char *path, dns_store *store)
{
    dns_status status = DNS_OK;
    dns_truth *t = NULL;
    *out = NULL;
    DNS_TRY(dns_alloc(&t, 1, sizeof *t));
    DNS_TRY(dns_csv_read(&t->table, path));
    t->query = dns_csv_column(t->table, "query");
    t->original = dns_csv_column(t->table, "original");
    t->group = dns_csv_column(t->table, "group");
    if (t->group == SIZE_MAX)
        t->group = dns_csv_column(t->table, "scene_group");
    t->edit = dns_csv_column(t->table, "edit");
    t->exclude = dns_csv_column(t->table, "exclude");
    if (t->query == SIZE_MAX || t->original == SIZE_MAX)
        DNS_FAIL(DNS_ERR_FORMAT, "%s: no columns 'query' and 'original'", path);
    DNS_TRY(dns_index_ids_read(&t->ids, store, true));
    DNS_TRY(dns_alloc(&t->keys, t->ids.n, sizeof *t->keys));
    for (size_t i = 0; i < t->ids.n; i++)
        dns_id_text(t->ids.keys[i], t->keys[i]);
    for (size_t row = 0; row < dns_csv_rows(t->table); row++)
        DNS_TRY(take_row(t, row));
    if (t->n_queries == 0)
        DNS_FAIL(DNS_ERR_FORMAT, "%s: no queries", path);
    *out = t;
    t = NULL;
out:
    dns_truth_free(t);
    return status;
}

void dns_truth_free(dns_truth *t)
{
    if (t == NULL)
        return;
    for (size_t i = 0; i < t->n_queries; i++) {
        dns_free(t->queries[i].relevant);
        dns_free(t->queries[i].excluded);
    }
    dns_free(t->queries);
    dns_free(t->keys);
    dns_index_ids_free(&t->ids);
    dns_csv_free(t->table);
    dns_free(t);
}

const dns_index_ids *dns_truth_ids(const dns_truth *t)
{
    return &t->ids;
}

size_t dns_truth_count(const dns_truth *t)
{
    return t->n_queries;
}

const dns_truth_query *dns_truth_at(const dns_truth *t, size_t index)
{
    return &t->queries[index];
}

size_t dns_truth_missing(const dns_truth *t)
{
    return t->n_missing;
}
