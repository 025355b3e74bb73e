/* Score matrices: ids, and where a score stands. */
#include "dnsel/protocol.h"

#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "dnsel/memory.h"

static int by_text(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static dns_status copy_ids(char ***out, const char *const *ids, size_t n)
{
    dns_status status = dns_alloc(out, n, sizeof **out);
    for (size_t i = 0; i < n && status == DNS_OK; i++)
        status = dns_string_copy(&(*out)[i], ids[i]);
    return status;
}

dns_status dns_scores_create(dns_scores **out, const char *const *queries, size_t n_queries,
                             const char *const *database, size_t n_database)
{
    dns_status status = DNS_OK;
    dns_scores *s = NULL;
    size_t n_values;
    *out = NULL;
    DNS_TRY(dns_alloc(&s, 1, sizeof *s));
    s->n_queries = n_queries;
    s->n_database = n_database;
    DNS_TRY(copy_ids(&s->queries, queries, n_queries));
    DNS_TRY(copy_ids(&s->database, database, n_database));
    if (!dns_size_multiply(n_queries, n_database, &n_values))
        DNS_FAIL(DNS_ERR_LIMIT, "%zu queries by %zu videos", n_queries, n_database);
    qsort(s->database, n_database, sizeof *s->database, by_text);
    for (size_t i = 1; i < n_database; i++)
        if (strcmp(s->database[i - 1], s->database[i]) == 0)
            DNS_FAIL(DNS_ERR_FORMAT, "database id '%s' occurs twice", s->database[i]);
    DNS_TRY(dns_alloc(&s->values, n_values, sizeof *s->values));
    for (size_t i = 0; i < n_values; i++)
        s->values[i] = NAN;
    *out = s;
    s = NULL;
out:
    dns_scores_free(s);
    return status;
}

void dns_scores_free(dns_scores *s)
{
    if (s == NULL)
        return;
    for (size_t i = 0; s->queries != NULL && i < s->n_queries; i++)
        dns_free(s->queries[i]);
    for (size_t i = 0; s->database != NULL && i < s->n_database; i++)
        dns_free(s->database[i]);
    dns_free(s->queries);
    dns_free(s->database);
    dns_free(s->values);
    dns_free(s);
}

size_t dns_scores_column(const dns_scores *s, const char *id)
{
    char *const *found = bsearch(&id, s->database, s->n_database, sizeof *s->database, by_text);
    return found != NULL ? (size_t)(found - s->database) : SIZE_MAX;
}

size_t dns_scores_row(const dns_scores *s, const char *query)
{
    for (size_t i = 0; i < s->n_queries; i++)
        if (strcmp(s->queries[i], query) == 0)
            return i;
    return SIZE_MAX;
}

dns_status dns_scores_from_matrix(dns_scores **out, const char *const *queries, size_t n_queries,
                                  const char *const *database, size_t n_database, const float *f32,
                                  const double *f64)
{
    dns_status status = dns_scores_create(out, queries, n_queries, database, n_database);
    if (status != DNS_OK)
        return status;
    for (size_t j = 0; j < n_database; j++) {
        size_t column = dns_scores_column(*out, database[j]);
        for (size_t i = 0; i < n_queries; i++)
            (*out)->values[i * n_database + column] =
                f32 != NULL ? (double)f32[i * n_database + j] : f64[i * n_database + j];
    }
    return DNS_OK;
}

/* First pass over {query: {id: score}}: all names, the database with repeats. */
struct names {
    const char **queries, **ids;
    size_t n_queries, n_ids, queries_capacity, ids_capacity;
};

static dns_status collect_id(void *payload, const char *key, const dns_json *value)
{
    struct names *names = payload;
    if (dns_json_kind_of(value) != DNS_JSON_NUMBER)
        return dns_status_set(DNS_ERR_FORMAT, "score of '%s' is not a number", key);
    dns_status status =
        dns_reserve(&names->ids, &names->ids_capacity, names->n_ids + 1, sizeof *names->ids);
    if (status == DNS_OK)
        names->ids[names->n_ids++] = key;
    return status;
}

static dns_status collect_query(void *payload, const char *key, const dns_json *value)
{
    struct names *names = payload;
    if (dns_json_kind_of(value) != DNS_JSON_OBJECT)
        return dns_status_set(DNS_ERR_FORMAT, "scores of query '%s' are not an object {id: score}",
                              key);
    dns_status status = dns_reserve(&names->queries, &names->queries_capacity, names->n_queries + 1,
                                    sizeof *names->queries);
    if (status != DNS_OK)
        return status;
    names->queries[names->n_queries++] = key;
    return dns_json_each(value, collect_id, names);
}

struct row {
    dns_scores *scores;
    size_t index;
};

static dns_status place_score(void *payload, const char *key, const dns_json *value)
{
    struct row *row = payload;
    size_t column = dns_scores_column(row->scores, key);
    row->scores->values[row->index * row->scores->n_database + column] =
        dns_json_number(value, NAN);
    return DNS_OK;
}

dns_status dns_scores_from_json(dns_scores **out, const dns_json *object)
{
    dns_status status = DNS_OK;
    struct names names = {0};
    *out = NULL;
    if (dns_json_kind_of(object) != DNS_JSON_OBJECT)
        DNS_FAIL(DNS_ERR_FORMAT, "scores are not an object {query: {id: score}}");
    DNS_TRY(dns_json_each(object, collect_query, &names));
    if (names.n_ids > 0)
        qsort(names.ids, names.n_ids, sizeof *names.ids, by_text);
    size_t n = 0;
    for (size_t i = 0; i < names.n_ids; i++)
        if (n == 0 || strcmp(names.ids[n - 1], names.ids[i]) != 0)
            names.ids[n++] = names.ids[i];
    DNS_TRY(dns_scores_create(out, names.queries, names.n_queries, names.ids, n));
    for (size_t i = 0; i < names.n_queries; i++) {
        struct row row = {*out, i};
        DNS_TRY(dns_json_each(dns_json_get(object, names.queries[i]), place_score, &row));
    }
out:
    dns_free(names.queries);
    dns_free(names.ids);
    return status;
}
