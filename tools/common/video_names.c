#include "video_names.h"

#include <stdlib.h>
#include <string.h>

#include "dnsel/memory.h"

struct entry {
    char *name; /* of the file, without folders */
    size_t place;
};

struct dns_video_names {
    const dns_snapshot *snapshot;
    const uint64_t *ids;
    struct entry *entries; /* sorted by name */
    size_t n;
};

static int by_name(const void *a, const void *b)
{
    return strcmp(((const struct entry *)a)->name, ((const struct entry *)b)->name);
}

static const char *file_name(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash != NULL ? slash + 1 : path;
}

dns_status dns_video_names_create(dns_video_names **out, const dns_snapshot *snapshot,
                                  const uint64_t *ids, size_t n)
{
    dns_status status = DNS_OK;
    dns_video_names *names = NULL;
    dns_meta meta;
    *out = NULL;
    DNS_TRY(dns_alloc(&names, 1, sizeof *names));
    names->snapshot = snapshot;
    names->ids = ids;
    DNS_TRY(dns_alloc(&names->entries, n, sizeof *names->entries));
    for (; names->n < n; names->n++) {
        struct entry *entry = &names->entries[names->n];
        DNS_TRY(dns_snapshot_meta(&meta, snapshot, ids[names->n]));
        DNS_TRY(dns_string_copy(&entry->name, file_name(meta.name)));
        entry->place = names->n;
    }
    if (n > 0)
        qsort(names->entries, n, sizeof *names->entries, by_name);
    *out = names;
    names = NULL;
out:
    dns_video_names_free(names);
    return status;
}

void dns_video_names_free(dns_video_names *names)
{
    if (names == NULL)
        return;
    for (size_t i = 0; names->entries != NULL && i < names->n; i++)
        dns_free(names->entries[i].name);
    dns_free(names->entries);
    dns_free(names);
}

static size_t place_of(const dns_video_names *names, uint64_t id)
{
    size_t low = 0, high = names->n;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (names->ids[middle] < id)
            low = middle + 1;
        else
            high = middle;
    }
    return low < names->n && names->ids[low] == id ? low : SIZE_MAX;
}

/* Equal, or equal but for the extension of `stored`. */
static bool same_name(const char *stored, size_t length)
{
    return stored[length] == '\0' ||
           (stored[length] == '.' && strchr(stored + length + 1, '.') == NULL);
}

dns_status dns_video_names_find(size_t *place, const dns_video_names *names, const char *text)
{
    uint64_t id;
    const size_t length = strlen(text);
    bool exact = false;
    size_t low = 0, high = names->n;
    *place = SIZE_MAX;
    dns_status status = dns_snapshot_find(&id, names->snapshot, text);
    if (status != DNS_ERR_NOTFOUND) {
        *place = status == DNS_OK ? place_of(names, id) : SIZE_MAX;
        return status == DNS_OK && *place == SIZE_MAX ? DNS_ERR_NOTFOUND : status;
    }
    if (strchr(text, '/') != NULL || *text == '\0')
        return dns_status_set(DNS_ERR_NOTFOUND, "no video '%s'", text);
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (strcmp(names->entries[middle].name, text) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    for (size_t i = low; i < names->n && strncmp(names->entries[i].name, text, length) == 0; i++) {
        const char *name = names->entries[i].name;
        if (!same_name(name, length) || (exact && name[length] != '\0'))
            continue;
        if (*place != SIZE_MAX)
            return dns_status_set(DNS_ERR_ARG, "several videos are called '%s': give the path",
                                  text);
        exact = name[length] == '\0';
        *place = names->entries[i].place;
    }
    return *place != SIZE_MAX ? DNS_OK : dns_status_set(DNS_ERR_NOTFOUND, "no video '%s'", text);
}
