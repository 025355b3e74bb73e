#include "labelled_pairs.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "dnsel/csv.h"
#include "dnsel/memory.h"
#include "dnsel/pickle.h"

struct name {
    char *text; /* owned */
    uint32_t video;
};

struct reading {
    struct name *names; /* sorted */
    size_t n_names;
    dns_labelled_pair *pairs;
    size_t n, capacity;
};

/* ---- names ---- */

static int by_text(const void *a, const void *b)
{
    const struct name *x = a, *y = b;
    int order = strcmp(x->text, y->text);
    return order != 0 ? order : x->video < y->video ? -1 : x->video > y->video;
}

static int only_text(const void *key, const void *entry)
{
    return strcmp(key, ((const struct name *)entry)->text);
}

static dns_status list_names(struct reading *r, const dns_training_set *set)
{
    dns_status status = DNS_OK;
    size_t n = dns_training_set_n_videos(set);
    DNS_TRY(dns_alloc(&r->names, 3 * n, sizeof *r->names));
    for (size_t i = 0; i < n; i++) {
        const char *path = dns_training_set_video(set, i)->path, *slash = strrchr(path, '/');
        const char *file = slash != NULL ? slash + 1 : path;
        for (int form = 0; form < 3; form++) {
            struct name *name = &r->names[r->n_names++];
            name->video = (uint32_t)i;
            DNS_TRY(dns_string_copy(&name->text, form == 0 ? path : file));
            char *dot = strrchr(name->text, '.');
            if (form == 2 && dot != NULL)
                *dot = '\0';
        }
    }
    qsort(r->names, r->n_names, sizeof *r->names, by_text);
out:
    return status;
}

/* UINT32_MAX for an unknown one. */
static uint32_t find_video(const struct reading *r, const char *text)
{
    const struct name *found = bsearch(text, r->names, r->n_names, sizeof *r->names, only_text);
    return found != NULL ? found->video : UINT32_MAX;
}

static dns_status add(struct reading *r, uint32_t query, uint32_t video, double similarity,
                      bool positive)
{
    if (query == UINT32_MAX || video == UINT32_MAX)
        return DNS_OK;
    dns_status status = dns_reserve(&r->pairs, &r->capacity, r->n + 1, sizeof *r->pairs);
    if (status == DNS_OK)
        r->pairs[r->n++] = (dns_labelled_pair){query, video, (float)similarity, positive};
    return status;
}

/* ---- the two kinds of files ---- */

static dns_status read_csv(struct reading *r, const char *path)
{
    dns_status status = DNS_OK;
    dns_csv *csv = NULL;
    DNS_TRY(dns_csv_read(&csv, path));
    size_t query = dns_csv_column(csv, "query"), video = dns_csv_column(csv, "video"),
           positive = dns_csv_column(csv, "positive"),
           similarity = dns_csv_column(csv, "similarity");
    if (query == SIZE_MAX || video == SIZE_MAX || positive == SIZE_MAX)
        DNS_FAIL(DNS_ERR_FORMAT, "%s: no columns 'query', 'video' and 'positive'", path);
    for (size_t row = 0; row < dns_csv_rows(csv); row++) {
        const char *number = dns_csv_field(csv, row, similarity);
        DNS_TRY(add(r, find_video(r, dns_csv_field(csv, row, query)),
                    find_video(r, dns_csv_field(csv, row, video)),
                    number[0] != '\0' ? strtod(number, NULL) : NAN,
                    strcmp(dns_csv_field(csv, row, positive), "1") == 0));
    }
out:
    dns_csv_free(csv);
    return status;
}

/* A number stands for a place in the index, a text for itself. */
static uint32_t video_of(const struct reading *r, const dns_pickle_value *key,
                         const dns_pickle_value *index)
{
    int64_t place = dns_pickle_integer(key, -1);
    const char *text = place >= 0 ? dns_pickle_string(dns_pickle_at(index, (size_t)place), NULL)
                                  : dns_pickle_string(key, NULL);
    return text != NULL ? find_video(r, text) : UINT32_MAX;
}

static dns_status read_pickle(struct reading *r, const char *path)
{
    static const char *const pools[] = {"negatives", "positives"};
    dns_status status = DNS_OK;
    dns_pickle *pickle = NULL;
    DNS_TRY(dns_pickle_read(&pickle, path));
    const dns_pickle_value *index = dns_pickle_get(dns_pickle_root(pickle), "index"),
                           *pairs = dns_pickle_get(dns_pickle_root(pickle), "pairs");
    if (dns_pickle_kind_of(pairs) != DNS_PICKLE_DICT)
        DNS_FAIL(DNS_ERR_FORMAT, "%s: no 'pairs'", path);
    for (size_t i = 0; i < dns_pickle_size(pairs); i++) {
        uint32_t query = video_of(r, dns_pickle_key_at(pairs, i), index);
        for (int positive = 0; positive < 2; positive++) {
            const dns_pickle_value *pool = dns_pickle_get(dns_pickle_at(pairs, i), pools[positive]);
            for (size_t k = 0; k < dns_pickle_size(pool); k++)
                DNS_TRY(add(r, query, video_of(r, dns_pickle_key_at(pool, k), index),
                            dns_pickle_number(dns_pickle_at(pool, k), NAN), positive == 1));
        }
    }
out:
    dns_pickle_free(pickle);
    return status;
}

dns_status dns_labelled_pairs_read(dns_labelled_pair **pairs, size_t *n, const char *path,
                                   const dns_training_set *set)
{
    dns_status status = DNS_OK;
    struct reading r = {0};
    size_t length = strlen(path);
    *pairs = NULL;
    *n = 0;
    DNS_TRY(list_names(&r, set));
    bool csv = length > 4 && strcmp(path + length - 4, ".csv") == 0;
    DNS_TRY(csv ? read_csv(&r, path) : read_pickle(&r, path));
    if (r.n == 0)
        DNS_FAIL(DNS_ERR_NOTFOUND, "%s: none of its pairs is of videos in the set", path);
    *pairs = r.pairs;
    *n = r.n;
    r.pairs = NULL;
out:
    for (size_t i = 0; i < r.n_names; i++)
        dns_free(r.names[i].text);
    dns_free(r.names);
    dns_free(r.pairs);
    return status;
}
