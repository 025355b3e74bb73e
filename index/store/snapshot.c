#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "dnsel/matrix.h"
#include "dnsel/memory.h"
#include "record_codec.h"
#include "store_handle.h"

/* ---- opening ---- */

/* A view of data.mdb that reaches to its end. Called with the mutex held. */
static dns_status map_file(dns_snapshot *snapshot)
{
    dns_store *store = snapshot->store;
    struct stat info;
    if (fstat(store->data_fd, &info) != 0)
        return dns_status_set_errno("%s", store->data_path);
    size_t n = store->n_mappings, needed = (size_t)info.st_size, size = (size_t)1 << 30;
    if (n == 0 || store->mappings[n - 1].size < needed) {
        while (size < 2 * needed)
            size *= 2;
        void *base = n < DNS_STORE_MAPPINGS
                         ? mmap(NULL, size, PROT_READ, MAP_SHARED, store->data_fd, 0)
                         : MAP_FAILED;
        if (base == MAP_FAILED)
            return dns_status_set(DNS_ERR_NOMEM, "%s: no address space for %zu bytes",
                                  store->data_path, size);
        store->mappings[n].base = base;
        store->mappings[n].size = size;
        store->n_mappings = ++n;
    }
    snapshot->pages = (dns_pages){store->mappings[n - 1].base, needed / store->page_size,
                                  store->page_size, store->data_path};
    return DNS_OK;
}

/* Takes a reader's slot, so that LMDB keeps the pages of this commit, and maps them. */
static dns_status begin(dns_snapshot *snapshot)
{
    dns_store *store = snapshot->store;
    dns_status status = DNS_OK;
    int code = 0, dead;
    pthread_mutex_lock(&store->mutex);
    for (int attempt = 0; attempt < 40; attempt++) {
        MDB_envinfo info;
        code = mdb_txn_begin(store->env, NULL, MDB_RDONLY, &snapshot->transaction);
        if (code == MDB_READERS_FULL && attempt == 0 && mdb_reader_check(store->env, &dead) == 0)
            continue;
        if (code != MDB_MAP_RESIZED)
            break;
        if (mdb_env_info(store->env, &info) != 0 ||
            mdb_env_set_mapsize(store->env, 2 * info.me_mapsize) != 0)
            break;
    }
    if (code != 0)
        status = dns_store_lmdb_error(store, code, "opening a snapshot", 0);
    else
        status = map_file(snapshot);
    pthread_mutex_unlock(&store->mutex);
    return status;
}

/* The root of our transaction is in the meta page of its parity, until the writer has committed
 * twice more. */
static dns_status find_root(bool *overtaken, dns_snapshot *snapshot)
{
    uint64_t transaction = mdb_txn_id(snapshot->transaction);
    dns_status status = dns_pages_root(&snapshot->root, &snapshot->pages, transaction & 1);
    if (status != DNS_OK)
        return status;
    *overtaken = snapshot->root.transaction != transaction;
    return DNS_OK;
}

static dns_status find_trees(dns_snapshot *snapshot)
{
    dns_status status = DNS_OK;
    dns_entry entry, around[2];
    const dns_store *store = snapshot->store;
    for (int k = 0; k < DNS_KIND_COUNT; k++)
        DNS_TRY(dns_tree_open(&snapshot->kinds[k], &snapshot->pages, &snapshot->root,
                              dns_kind_name((dns_kind)k)));
    DNS_TRY(dns_tree_open(&snapshot->journal, &snapshot->pages, &snapshot->root, DNS_TREE_JOURNAL));
    DNS_TRY(dns_tree_open(&snapshot->state, &snapshot->pages, &snapshot->root, DNS_TREE_STATE));
    DNS_TRY(dns_tree_get(&entry, around, &snapshot->pages, &snapshot->state,
                         (const uint8_t *)DNS_STATE_KEY, strlen(DNS_STATE_KEY)));
    DNS_TRY(dns_state_decode(&snapshot->now, entry.value, entry.value_size));
    if (snapshot->now.transaction != snapshot->root.transaction)
        DNS_FAIL(DNS_ERR_CORRUPT, "%s: its meta page leads to another commit", store->data_path);
    static const dns_digest none;
    if (!dns_digest_equal(&snapshot->now.identity, &store->identity) &&
        !dns_digest_equal(&store->identity, &none))
        DNS_FAIL(DNS_ERR_FORMAT, "%s: data.mdb and index.json are of two different indexes",
                 store->directory);
out:
    if (status == DNS_ERR_NOTFOUND)
        status = dns_status_context(DNS_ERR_CORRUPT, "damaged or not an index");
    return status;
}

dns_status dns_snapshot_open(dns_snapshot **out, dns_store *store)
{
    dns_status status = DNS_OK;
    dns_snapshot *snapshot = NULL;
    *out = NULL;
    DNS_TRY(dns_alloc(&snapshot, 1, sizeof *snapshot));
    snapshot->store = store;
    bool overtaken = true;
    for (int attempt = 0; attempt < 100 && overtaken; attempt++) {
        if (snapshot->transaction != NULL)
            mdb_txn_abort(snapshot->transaction);
        snapshot->transaction = NULL;
        DNS_TRY(begin(snapshot));
        DNS_TRY(find_root(&overtaken, snapshot));
    }
    if (overtaken)
        DNS_FAIL(DNS_ERR_CORRUPT, "%s: its meta pages contradict each other", store->data_path);
    DNS_TRY(find_trees(snapshot));
    *out = snapshot;
    snapshot = NULL;
out:
    dns_snapshot_close(snapshot);
    return status;
}

void dns_snapshot_close(dns_snapshot *snapshot)
{
    if (snapshot == NULL)
        return;
    if (snapshot->transaction != NULL)
        mdb_txn_abort(snapshot->transaction);
    dns_free(snapshot);
}

dns_store *dns_snapshot_store(const dns_snapshot *snapshot)
{
    return snapshot->store;
}

uint64_t dns_snapshot_generation(const dns_snapshot *snapshot)
{
    return snapshot->now.generation;
}

size_t dns_snapshot_count(const dns_snapshot *snapshot, dns_kind kind)
{
    return (unsigned)kind < DNS_KIND_COUNT ? (size_t)snapshot->kinds[kind].n_entries : 0;
}

/* ---- records ---- */

static dns_status decode(dns_record *out, const dns_snapshot *snapshot, const dns_entry *entry,
                         dns_kind kind, uint64_t id)
{
    dns_status status = dns_record_decode(out, entry->value, entry->value_size, kind, id);
    if (status == DNS_OK && !dns_digest_equal(&out->model, &snapshot->store->settings.model)) {
        char text[17];
        dns_id_text(id, text);
        status = dns_status_set(DNS_ERR_MODEL, "%s record %s: not made by the index's model '%s'",
                                dns_kind_name(kind), text, snapshot->store->settings.model_name);
    }
    return status;
}

/* By dns_tree_get or dns_tree_locate. */
static dns_status find_entry(dns_entry *out, const dns_snapshot *snapshot, dns_kind kind,
                             uint64_t id,
                             dns_status (*find)(dns_entry *, dns_entry[2], const dns_pages *,
                                                const dns_tree *, const uint8_t *, size_t))
{
    uint8_t key[8];
    dns_entry around[2];
    char text[17];
    dns_id_to_key(key, id);
    dns_status status =
        find(out, around, &snapshot->pages, &snapshot->kinds[kind], key, sizeof key);
    if (status != DNS_ERR_NOTFOUND)
        return status;
    dns_id_text(id, text);
    for (size_t i = 0; i < 2; i++)
        if (around[i].key != NULL && !dns_record_has_key(around[i].value, around[i].value_size,
                                                         around[i].key, around[i].key_size))
            return dns_status_set(DNS_ERR_CORRUPT, "%s record %s: a damaged key beside its place",
                                  dns_kind_name(kind), text);
    return dns_status_set(DNS_ERR_NOTFOUND, "%s: no %s record", text, dns_kind_name(kind));
}

dns_status dns_snapshot_entry(dns_entry *out, const dns_snapshot *snapshot, dns_kind kind,
                              uint64_t id)
{
    return find_entry(out, snapshot, kind, id, dns_tree_get);
}

dns_status dns_snapshot_get(dns_record *out, const dns_snapshot *snapshot, dns_kind kind,
                            uint64_t id, bool check)
{
    dns_entry entry;
    *out = (dns_record){0};
    if ((unsigned)kind >= DNS_KIND_COUNT)
        return dns_status_set(DNS_ERR_ARG, "unknown kind %d", (int)kind);
    dns_status status = dns_snapshot_entry(&entry, snapshot, kind, id);
    if (status == DNS_OK)
        status = decode(out, snapshot, &entry, kind, id);
    if (status == DNS_OK && check)
        status = dns_record_check(out);
    return status;
}

dns_status dns_snapshot_place(dns_place *out, const dns_snapshot *snapshot, dns_kind kind,
                              uint64_t id)
{
    dns_entry entry;
    const dns_pages *pages = &snapshot->pages;
    *out = (dns_place){0};
    if ((unsigned)kind >= DNS_KIND_COUNT)
        return dns_status_set(DNS_ERR_ARG, "unknown kind %d", (int)kind);
    dns_status status = find_entry(&entry, snapshot, kind, id, dns_tree_locate);
    if (status != DNS_OK)
        return status;
    out->size = entry.value_size;
    out->offset = entry.overflow != DNS_PAGE_NONE ? entry.overflow * pages->page_size
                                                  : (uint64_t)(entry.value - pages->base);
    return DNS_OK;
}

void dns_snapshot_read_ahead(const dns_snapshot *snapshot, const dns_place *place)
{
    const dns_pages *pages = &snapshot->pages;
    uint64_t end = pages->n_pages * pages->page_size;
    uint64_t first = place->offset / pages->page_size * pages->page_size;
    uint64_t last = place->offset + place->size;
    if (first < end && last > first)
        posix_madvise((void *)(uintptr_t)(pages->base + first),
                      (size_t)((last < end ? last : end) - first), POSIX_MADV_WILLNEED);
}

dns_status dns_snapshot_meta(dns_meta *out, const dns_snapshot *snapshot, uint64_t id)
{
    dns_record record;
    *out = (dns_meta){0};
    dns_status status = dns_snapshot_get(&record, snapshot, DNS_KIND_META, id, true);
    return status == DNS_OK ? dns_meta_decode(out, &record) : status;
}

static dns_status find_name(uint64_t *id, const dns_snapshot *snapshot, const char *name)
{
    dns_meta meta;
    dns_status status = dns_snapshot_meta(&meta, snapshot, dns_id_of_name(name));
    if (status == DNS_OK && strcmp(meta.name, name) != 0)
        status = dns_status_set(DNS_ERR_NOTFOUND, "%s: not in the index", name);
    if (status == DNS_OK)
        *id = dns_id_of_name(name);
    return status;
}

/* A file that is gone is still found in its folder. */
static bool absolute_path(char path[PATH_MAX], const char *text)
{
    if (realpath(text, path) != NULL)
        return true;
    const char *slash = strrchr(text, '/'), *base = slash != NULL ? slash + 1 : text;
    size_t n = (size_t)(base - text);
    char folder[PATH_MAX] = ".";
    if (n >= PATH_MAX || base[0] == '\0')
        return false;
    if (n > 0) {
        memcpy(folder, text, n);
        folder[n] = '\0';
    }
    if (realpath(folder, path) == NULL || strlen(path) + strlen(base) + 2 > PATH_MAX)
        return false;
    if (path[strlen(path) - 1] != '/')
        strcat(path, "/");
    strcat(path, base);
    return true;
}

dns_status dns_snapshot_find(uint64_t *id, const dns_snapshot *snapshot, const char *text)
{
    dns_status status = find_name(id, snapshot, text);
    if (status != DNS_ERR_NOTFOUND)
        return status;
    char path[PATH_MAX];
    if (absolute_path(path, text)) {
        status = find_name(id, snapshot, path);
        if (status != DNS_ERR_NOTFOUND)
            return status;
    }
    dns_record record;
    uint64_t number;
    if (dns_id_parse(&number, text)) {
        status = dns_snapshot_get(&record, snapshot, DNS_KIND_META, number, true);
        if (status == DNS_OK)
            *id = number;
        if (status != DNS_ERR_NOTFOUND)
            return status;
    }
    return dns_status_set(DNS_ERR_NOTFOUND, "%s: not in the index", text);
}

/* ---- all records of a kind ---- */

struct dns_cursor {
    const dns_snapshot *snapshot;
    dns_kind kind;
    dns_walk walk;
    dns_status start; /* what reaching the first one said */
};

dns_status dns_cursor_create(dns_cursor **out, const dns_snapshot *snapshot, dns_kind kind,
                             uint64_t from)
{
    uint8_t key[8];
    *out = NULL;
    if ((unsigned)kind >= DNS_KIND_COUNT)
        return dns_status_set(DNS_ERR_ARG, "unknown kind %d", (int)kind);
    dns_status status = dns_alloc(out, 1, sizeof **out);
    if (status != DNS_OK)
        return status;
    (*out)->snapshot = snapshot;
    (*out)->kind = kind;
    dns_id_to_key(key, from);
    status =
        dns_walk_start(&(*out)->walk, &snapshot->pages, &snapshot->kinds[kind], key, sizeof key);
    if (status != DNS_OK) {
        dns_free(*out);
        *out = NULL;
    }
    return status;
}

dns_status dns_cursor_next(dns_record *out, dns_cursor *cursor)
{
    dns_entry entry;
    *out = (dns_record){0};
    dns_status status = dns_walk_next(&entry, &cursor->walk);
    if (status != DNS_OK)
        return status;
    if (entry.key_size != 8)
        return dns_status_set(DNS_ERR_CORRUPT, "%s: a %s record has a key of %zu bytes",
                              cursor->snapshot->store->data_path, dns_kind_name(cursor->kind),
                              entry.key_size);
    return decode(out, cursor->snapshot, &entry, cursor->kind, dns_id_from_key(entry.key));
}

void dns_cursor_free(dns_cursor *cursor)
{
    dns_free(cursor);
}

dns_status dns_snapshot_ids(uint64_t **ids, size_t *n_ids, const dns_snapshot *snapshot,
                            dns_kind kind)
{
    dns_status status = DNS_OK;
    dns_walk walk = {.shallow = true};
    size_t capacity = 0, n = 0;
    uint64_t *list = NULL;
    *ids = NULL;
    *n_ids = 0;
    if ((unsigned)kind >= DNS_KIND_COUNT)
        DNS_FAIL(DNS_ERR_ARG, "unknown kind %d", (int)kind);
    DNS_TRY(dns_walk_start(&walk, &snapshot->pages, &snapshot->kinds[kind], NULL, 0));
    for (;;) {
        dns_entry entry;
        status = dns_walk_next(&entry, &walk);
        if (status == DNS_EOF)
            break;
        if (status != DNS_OK)
            goto out;
        if (entry.key_size != 8)
            DNS_FAIL(DNS_ERR_CORRUPT, "%s: a %s record has a key of %zu bytes",
                     snapshot->store->data_path, dns_kind_name(kind), entry.key_size);
        DNS_TRY(dns_reserve(&list, &capacity, n + 1, sizeof *list));
        list[n++] = dns_id_from_key(entry.key);
    }
    if (list == NULL)
        DNS_TRY(dns_alloc(&list, 1, sizeof *list));
    *ids = list;
    *n_ids = n;
    list = NULL;
    status = DNS_OK;
out:
    dns_free(list);
    return status;
}

/* ---- the journal ---- */

static int compare_ids(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

dns_status dns_snapshot_changes(uint64_t **ids, size_t *n_ids, const dns_snapshot *snapshot,
                                uint64_t since)
{
    dns_status status = DNS_OK;
    uint64_t *list = NULL;
    size_t capacity = 0, n = 0, n_kept = 0;
    uint8_t key[8];
    dns_walk walk = {0};
    *ids = NULL;
    *n_ids = 0;
    if (since < snapshot->now.floor || since > snapshot->now.generation)
        return dns_status_set(
            DNS_ERR_NOTFOUND, "%s: the journal holds the changes from %llu to %llu, not since %llu",
            snapshot->store->directory, (unsigned long long)snapshot->now.floor,
            (unsigned long long)snapshot->now.generation, (unsigned long long)since);
    DNS_TRY(dns_alloc(&list, 1, sizeof *list));
    capacity = 1;
    dns_id_to_key(key, since + 1);
    DNS_TRY(dns_walk_start(&walk, &snapshot->pages, &snapshot->journal, key, sizeof key));
    for (;;) {
        dns_entry entry;
        status = dns_walk_next(&entry, &walk);
        if (status == DNS_EOF)
            break;
        if (status != DNS_OK)
            goto out;
        if (entry.key_size != 16)
            DNS_FAIL(DNS_ERR_CORRUPT, "%s: a damaged journal", snapshot->store->data_path);
        DNS_TRY(dns_reserve(&list, &capacity, n + 1, sizeof *list));
        list[n++] = dns_id_from_key(entry.key + 8);
    }
    qsort(list, n, sizeof *list, compare_ids);
    for (size_t i = 0; i < n; i++)
        if (i == 0 || list[i] != list[i - 1])
            list[n_kept++] = list[i];
    *ids = list;
    *n_ids = n_kept;
    list = NULL;
    status = DNS_OK;
out:
    dns_free(list);
    return status;
}

/* ---- summaries ---- */

dns_status dns_snapshot_digest(dns_digest *digest, const dns_snapshot *snapshot, dns_cancel *cancel)
{
    dns_status status = DNS_OK;
    dns_hasher *hasher = NULL;
    dns_cursor *cursor = NULL;
    DNS_TRY(dns_hasher_create(&hasher));
    for (int k = 0; k < DNS_KIND_COUNT; k++) {
        DNS_TRY(dns_cursor_create(&cursor, snapshot, (dns_kind)k, 0));
        dns_record record;
        while ((status = dns_cursor_next(&record, cursor)) == DNS_OK) {
            if (dns_cancelled(cancel))
                DNS_FAIL(DNS_ERR_CANCELLED, "interrupted");
            DNS_TRY(dns_record_check(&record));
            /* The header names kind, id and shape, and its checksum covers the payload. */
            dns_hasher_add(hasher, record.header, DNS_RECORD_HEADER);
        }
        if (status != DNS_EOF)
            goto out;
        dns_cursor_free(cursor);
        cursor = NULL;
    }
    *digest = dns_hasher_digest(hasher);
    status = DNS_OK;
out:
    dns_cursor_free(cursor);
    dns_hasher_free(hasher);
    return status;
}

static dns_status derived_bytes(uint64_t *bytes, const dns_store *store)
{
    dns_status status = DNS_OK;
    for (int i = 0; i < DNS_MATRIX_COUNT && status == DNS_OK; i++) {
        char *path;
        struct stat info;
        status = dns_path_join(&path, store->directory, dns_matrix_name((dns_matrix_id)i));
        if (status == DNS_OK && stat(path, &info) == 0)
            *bytes += (uint64_t)info.st_size;
        dns_free(path);
    }
    return status;
}

dns_status dns_snapshot_stat(dns_store_stat *out, const dns_snapshot *snapshot)
{
    dns_status status = DNS_OK;
    dns_cursor *cursor = NULL;
    const dns_store *store = snapshot->store;
    struct stat info;
    *out = (dns_store_stat){0};
    for (int k = 0; k < DNS_KIND_COUNT; k++) {
        const dns_tree *tree = &snapshot->kinds[k];
        out->kinds[k].n_records = (size_t)tree->n_entries;
        out->kinds[k].page_bytes =
            (tree->n_branches + tree->n_leaves + tree->n_overflow) * store->page_size;
        DNS_TRY(dns_cursor_create(&cursor, snapshot, (dns_kind)k, 0));
        dns_record record;
        while ((status = dns_cursor_next(&record, cursor)) == DNS_OK) {
            out->kinds[k].bytes += DNS_RECORD_HEADER + dns_record_payload_size(&record);
            dns_meta meta;
            if (dns_kind_rule_get((dns_kind)k)->by_frame)
                out->kinds[k].n_frames += record.shape[0];
            if (k != DNS_KIND_META)
                continue;
            DNS_TRY(dns_meta_decode(&meta, &record));
            out->n_frames += meta.n_frames;
            out->duration += meta.duration;
        }
        if (status != DNS_EOF)
            goto out;
        dns_cursor_free(cursor);
        cursor = NULL;
    }
    dns_walk walk = {0};
    DNS_TRY(dns_walk_start(&walk, &snapshot->pages, &snapshot->root.spare, NULL, 0));
    dns_entry entry;
    while ((status = dns_walk_next(&entry, &walk)) == DNS_OK) {
        uint64_t n = 0;
        if (entry.value_size >= 8)
            memcpy(&n, entry.value, 8);
        out->free_bytes += n * store->page_size;
    }
    if (status != DNS_EOF)
        goto out;
    if (fstat(store->data_fd, &info) == 0)
        out->file_bytes = (uint64_t)info.st_size;
    status = derived_bytes(&out->derived_bytes, store);
out:
    dns_cursor_free(cursor);
    return status;
}
