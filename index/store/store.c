#include "dnsel/store.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "dnsel/memory.h"
#include "record_codec.h"
#include "store_handle.h"

enum { N_TREES = DNS_KIND_COUNT + 2, N_READERS = 1022, SETTINGS_LIMIT = 1 << 20 };

#define SMALLEST_MAP ((size_t)16 << 20)

/* ---- LMDB's codes ---- */

/* LMDB 0.9 calls a write that was cut short EIO, whatever the reason. */
static bool is_full(const dns_store *store, size_t pending)
{
    struct statvfs system;
    struct rlimit limit;
    struct stat file;
    if (fstatvfs(store->data_fd, &system) == 0 &&
        (uint64_t)system.f_bavail * system.f_frsize < (uint64_t)pending + (1u << 20))
        return true;
    return getrlimit(RLIMIT_FSIZE, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY &&
           fstat(store->data_fd, &file) == 0 && (uint64_t)file.st_size + pending > limit.rlim_cur;
}

dns_status dns_store_lmdb_error(const dns_store *store, int code, const char *action,
                                size_t pending)
{
    const char *path = store->data_path;
    switch (code) {
    case ENOSPC:
    case EDQUOT:
    case EFBIG:
        return dns_status_set(DNS_ERR_FULL, "%s: no space left (%s)", path, action);
    case EIO:
        if (is_full(store, pending))
            return dns_status_set(DNS_ERR_FULL, "%s: no space left (%s)", path, action);
        break;
    case ENOMEM:
        return dns_status_set(DNS_ERR_NOMEM, "%s: out of memory (%s)", path, action);
    case MDB_READERS_FULL:
        return dns_status_set(DNS_ERR_LIMIT, "%s: more than %d readers at a time", path, N_READERS);
    case MDB_CORRUPTED:
    case MDB_PAGE_NOTFOUND:
    case MDB_INVALID:
    case MDB_CURSOR_FULL:
        return dns_status_set(DNS_ERR_CORRUPT, "%s: %s (%s)", path, mdb_strerror(code), action);
    case MDB_VERSION_MISMATCH:
        return dns_status_set(DNS_ERR_VERSION, "%s: made by another version of LMDB", path);
    default:
        break;
    }
    return dns_status_set(DNS_ERR_IO, "%s: %s (%s)", path, mdb_strerror(code), action);
}

dns_status dns_store_grow_map(dns_store *store)
{
    MDB_envinfo info;
    struct stat file;
    int code = mdb_env_info(store->env, &info);
    if (code == 0 && fstat(store->data_fd, &file) != 0)
        code = errno;
    if (code == 0) {
        size_t size = info.me_mapsize, needed = 2 * (size_t)file.st_size;
        size = 2 * (size > needed / 2 ? size : needed / 2);
        pthread_mutex_lock(&store->mutex);
        code = mdb_env_set_mapsize(store->env, size);
        pthread_mutex_unlock(&store->mutex);
    }
    return code == 0 ? DNS_OK : dns_store_lmdb_error(store, code, "enlarging its map", 0);
}

/* ---- one handle in a process, one writer on a machine ---- */

/* LMDB forbids opening a file twice in one process: the second would silently drop the first one's
 * locks. */
static pthread_mutex_t open_mutex = PTHREAD_MUTEX_INITIALIZER;
static dns_store *open_stores;

static dns_status enter_open_stores(dns_store *store)
{
    struct stat info;
    dns_status status = DNS_OK;
    if (stat(store->directory, &info) != 0)
        return dns_status_set_errno("%s", store->directory);
    pthread_mutex_lock(&open_mutex);
    for (dns_store *s = open_stores; s != NULL; s = s->next)
        if (s->device == info.st_dev && s->inode == info.st_ino)
            status =
                dns_status_set(DNS_ERR_BUSY, "%s: already open in this process", store->directory);
    if (status == DNS_OK) {
        store->device = info.st_dev;
        store->inode = info.st_ino;
        store->next = open_stores;
        open_stores = store;
    }
    pthread_mutex_unlock(&open_mutex);
    return status;
}

static void leave_open_stores(dns_store *store)
{
    pthread_mutex_lock(&open_mutex);
    for (dns_store **s = &open_stores; *s != NULL; s = &(*s)->next)
        if (*s == store) {
            *s = store->next;
            break;
        }
    pthread_mutex_unlock(&open_mutex);
}

static dns_status lock_for_writing(dns_store *store)
{
    char *path, text[32] = "";
    dns_status status = dns_path_join(&path, store->directory, "writer.lock");
    if (status != DNS_OK)
        return status;
    store->lock_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
    if (store->lock_fd < 0) {
        status = dns_status_set_errno("%s", path);
    } else if (flock(store->lock_fd, LOCK_EX | LOCK_NB) != 0) {
        if (errno != EWOULDBLOCK)
            status = dns_status_set_errno("%s", path);
        else if (read(store->lock_fd, text, sizeof text - 1) > 0)
            status = dns_status_set(DNS_ERR_BUSY, "%s: process %ld is writing to it",
                                    store->directory, strtol(text, NULL, 10));
        else
            status = dns_status_set(DNS_ERR_BUSY, "%s: another process is writing to it",
                                    store->directory);
        close(store->lock_fd);
        store->lock_fd = -1;
    } else { /* for people only: the lock is what counts */
        int n = snprintf(text, sizeof text, "%ld\n", (long)getpid());
        if (ftruncate(store->lock_fd, 0) != 0 || write(store->lock_fd, text, (size_t)n) != n)
            status = dns_status_set_errno("%s", path);
    }
    dns_free(path);
    return status;
}

/* ---- opening ---- */

/* Both meta pages, before LMDB sees them. Reading may race with a writer, so a surprising pair is
 * read again. */
static dns_status check_data_file(dns_store *store)
{
    dns_status status = DNS_OK;
    uint8_t *bytes = NULL;
    int fd = open(store->data_path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0) {
        status = errno == ENOENT ? dns_status_set(DNS_ERR_CORRUPT, "%s: missing", store->data_path)
                                 : dns_status_set_errno("%s", store->data_path);
        goto out;
    }
    DNS_TRY(dns_alloc(&bytes, 1, (size_t)2 << 16));
    for (int attempt = 0; attempt < 20; attempt++) {
        ssize_t got = pread(fd, bytes, (size_t)2 << 16, 0);
        if (got < 0) {
            status = dns_status_set_errno("%s", store->data_path);
            goto out;
        }
        DNS_TRY(dns_pages_measure(&store->page_size, bytes, (size_t)got, store->data_path));
        dns_pages pages = {bytes, (uint64_t)got / store->page_size, store->page_size,
                           store->data_path};
        dns_root roots[2];
        status = dns_pages_root(&roots[0], &pages, 0);
        if (status == DNS_OK)
            status = dns_pages_root(&roots[1], &pages, 1);
        uint64_t a = roots[0].transaction, b = roots[1].transaction;
        if (status == DNS_OK && ((a == 0 && b == 0) || (a % 2 == 0 && (b == a + 1 || b + 1 == a))))
            goto out;
        usleep(1000);
    }
    if (status == DNS_OK)
        status = dns_status_set(DNS_ERR_CORRUPT, "%s: its meta pages contradict each other",
                                store->data_path);
out:
    dns_free(bytes);
    if (fd >= 0)
        close(fd);
    return status;
}

static dns_status open_environment(dns_store *store, const dns_store_options *options)
{
    struct stat info;
    int dead;
    unsigned flags = MDB_NOTLS | MDB_NORDAHEAD;
    if (store->mode == DNS_STORE_READ)
        flags |= MDB_RDONLY;
    if (options->bulk)
        flags |= MDB_NOMETASYNC;
    size_t map = SMALLEST_MAP;
    if (stat(store->data_path, &info) == 0)
        while (map < (size_t)info.st_size + SMALLEST_MAP / 2)
            map *= 2;
    int code = mdb_env_create(&store->env);
    if (code == 0)
        code = mdb_env_set_maxdbs(store->env, N_TREES);
    if (code == 0)
        code = mdb_env_set_maxreaders(store->env, N_READERS);
    if (code == 0)
        code = mdb_env_set_mapsize(store->env, map);
    if (code == 0)
        code = mdb_env_open(store->env, store->directory, flags, 0666);
    if (code == 0)
        code = mdb_env_get_fd(store->env, &store->data_fd);
    if (code == 0)
        code = mdb_reader_check(store->env, &dead); /* slots of killed readers hold pages back */
    if (code == EACCES)
        return dns_status_set(DNS_ERR_IO,
                              "%s: no permission (readers too must be able to write lock.mdb)",
                              store->directory);
    return code == 0 ? DNS_OK : dns_store_lmdb_error(store, code, "opening", 0);
}

/* Only after the pages have been checked: LMDB reads the main tree here. */
static dns_status open_trees(dns_store *store, unsigned flags)
{
    MDB_txn *transaction = NULL;
    int code = mdb_txn_begin(store->env, NULL, 0, &transaction);
    for (int k = 0; k < DNS_KIND_COUNT && code == 0; k++)
        code = mdb_dbi_open(transaction, dns_kind_name((dns_kind)k), flags, &store->kinds[k]);
    if (code == 0)
        code = mdb_dbi_open(transaction, DNS_TREE_STATE, flags, &store->state);
    if (code == 0)
        code = mdb_dbi_open(transaction, DNS_TREE_JOURNAL, flags, &store->journal);
    if (code == 0 && (flags & MDB_CREATE) != 0) {
        dns_state state = {.identity = store->identity};
        code = dns_state_write(transaction, store, &state);
    }
    if (code == 0) {
        code = mdb_txn_commit(transaction);
        transaction = NULL;
    }
    if (transaction != NULL)
        mdb_txn_abort(transaction);
    return code == 0 ? DNS_OK : dns_store_lmdb_error(store, code, "opening its trees", 0);
}

static dns_status check_structure(dns_store *store)
{
    dns_snapshot *snapshot = NULL;
    size_t n_problems = 0;
    uint64_t n_free;
    dns_status status = dns_snapshot_open(&snapshot, store);
    if (status == DNS_OK)
        status = dns_pages_verify(&n_problems, &n_free, &snapshot->pages, &snapshot->root, true,
                                  NULL, NULL);
    if (status == DNS_OK && n_problems > 0)
        status =
            dns_status_context(DNS_ERR_CORRUPT, "%zu problems in its pages, the last:", n_problems);
    dns_snapshot_close(snapshot);
    return status;
}

/* index.json, or (leniently) the copy of it in data.mdb. */
static dns_status read_settings(dns_store *store)
{
    char *path = NULL, *text = NULL;
    size_t size;
    dns_status status = dns_path_join(&path, store->directory, "index.json");
    if (status == DNS_OK)
        status = dns_file_read(&text, &size, path, SETTINGS_LIMIT);
    if (status == DNS_ERR_NOTFOUND)
        dns_status_set(DNS_ERR_NOTFOUND, "%s: no index here", store->directory);
    if (status == DNS_OK)
        status = dns_settings_parse(store, text, size, path);
    dns_free(text);
    dns_free(path);
    return status;
}

static dns_status read_settings_copy(dns_store *store)
{
    dns_entry entry, around[2];
    dns_snapshot *snapshot;
    dns_status status = dns_snapshot_open(&snapshot, store);
    if (status != DNS_OK)
        return status;
    status = dns_tree_get(&entry, around, &snapshot->pages, &snapshot->state,
                          (const uint8_t *)DNS_SETTINGS_KEY, strlen(DNS_SETTINGS_KEY));
    if (status == DNS_OK)
        status = dns_settings_parse(store, (const char *)entry.value, entry.value_size,
                                    store->data_path);
    if (status == DNS_OK && !dns_digest_equal(&store->identity, &snapshot->now.identity))
        status = dns_status_set(DNS_ERR_CORRUPT, "%s: its copy of index.json is of another index",
                                store->data_path);
    dns_snapshot_close(snapshot);
    return status;
}

static dns_status allocate(dns_store **out, const char *directory, dns_store_mode mode)
{
    dns_status status = dns_alloc(out, 1, sizeof **out);
    if (status != DNS_OK)
        return status;
    dns_store *store = *out;
    store->mode = mode;
    store->data_fd = -1;
    store->lock_fd = -1;
    pthread_mutex_init(&store->mutex, NULL);
    status = dns_string_copy(&store->directory, directory);
    if (status == DNS_OK)
        status = dns_path_join(&store->data_path, directory, "data.mdb");
    if (status != DNS_OK) {
        dns_store_close(store);
        *out = NULL;
    }
    return status;
}

static dns_status open_store(dns_store **out, const char *directory, dns_store_mode mode,
                             const dns_store_options *given, bool lenient)
{
    dns_status status = DNS_OK;
    dns_store *store = NULL;
    dns_store_options options = DNS_STORE_OPTIONS_INIT;
    dns_snapshot *snapshot = NULL;
    if (given != NULL)
        options = *given;
    *out = NULL;
    DNS_TRY(allocate(&store, directory, mode));
    if (!dns_directory_exists(directory))
        DNS_FAIL(DNS_ERR_NOTFOUND, "%s: no index here", directory);
    status = read_settings(store);
    if (lenient &&
        (status == DNS_ERR_NOTFOUND || status == DNS_ERR_FORMAT || status == DNS_ERR_CORRUPT))
        status = dns_string_copy(&store->settings_problem, dns_status_message());
    if (status != DNS_OK)
        goto out;
    if (options.model != NULL && !dns_digest_equal(options.model, &store->settings.model)) {
        char made[33], wanted[33];
        dns_digest_text(&store->settings.model, made);
        dns_digest_text(options.model, wanted);
        DNS_FAIL(DNS_ERR_MODEL, "%s: made by model '%s' (%.8s), not by the model in use (%.8s)",
                 directory, store->settings.model_name, made, wanted);
    }
    if (mode == DNS_STORE_WRITE)
        DNS_TRY(lock_for_writing(store));
    DNS_TRY(check_data_file(store));
    DNS_TRY(enter_open_stores(store));
    DNS_TRY(open_environment(store, &options));
    if (store->settings_problem != NULL)
        DNS_TRY(read_settings_copy(store));
    DNS_TRY(dns_snapshot_open(&snapshot, store)); /* that data.mdb and index.json belong together */
    dns_snapshot_close(snapshot);
    if (mode == DNS_STORE_WRITE && !options.unchecked)
        DNS_TRY(check_structure(store));
    if (mode == DNS_STORE_WRITE)
        DNS_TRY(open_trees(store, 0));
    *out = store;
    store = NULL;
out:
    dns_store_close(store);
    return status;
}

dns_status dns_store_open(dns_store **out, const char *directory, dns_store_mode mode,
                          const dns_store_options *options)
{
    return open_store(out, directory, mode, options, false);
}

dns_status dns_store_open_lenient(dns_store **out, const char *directory)
{
    return open_store(out, directory, DNS_STORE_READ, NULL, true);
}

/* ---- creating ---- */

static dns_status write_settings(dns_store *store)
{
    dns_status status = DNS_OK;
    char *text = NULL, *path = NULL;
    size_t size;
    MDB_txn *transaction = NULL;
    DNS_TRY(dns_settings_write(&text, &size, store));
    DNS_TRY(dns_path_join(&path, store->directory, "index.json"));
    dns_state state;
    MDB_val key = {strlen(DNS_SETTINGS_KEY), (void *)(uintptr_t)DNS_SETTINGS_KEY},
            value = {size, text};
    int code = mdb_txn_begin(store->env, NULL, 0, &transaction);
    if (code == 0)
        code = dns_state_read(&state, transaction, store);
    if (code == 0)
        code = dns_state_write(transaction, store, &state);
    if (code == 0)
        code = mdb_put(transaction, store->state, &key, &value, 0);
    if (code == 0) { /* the copy first: index.json is what counts */
        code = mdb_txn_commit(transaction);
        transaction = NULL;
    }
    if (transaction != NULL)
        mdb_txn_abort(transaction);
    if (code != 0) {
        status = dns_store_lmdb_error(store, code, "keeping a copy of index.json", size);
        goto out;
    }
    status = dns_file_write(path, text, size);
out:
    dns_free(path);
    dns_free(text);
    return status;
}

/* Whether a data.mdb without an index.json may hold videos. A creation that was cut short leaves
 * one that is too short for its meta pages, or has no trees yet, or empty ones. */
static dns_status holds_videos(bool *holds, const char *path)
{
    dns_mapping file;
    dns_root roots[2];
    dns_tree meta;
    dns_status status = dns_mapping_open(&file, path);
    *holds = false;
    if (status == DNS_ERR_NOTFOUND)
        return DNS_OK;
    if (status != DNS_OK)
        return status;
    dns_pages pages = {file.data, 0, 0, path};
    if (file.size >= 2 * 4096) {
        *holds = true; /* unless it can be read, and says otherwise */
        if (dns_pages_measure(&pages.page_size, file.data, file.size, path) == DNS_OK) {
            pages.n_pages = file.size / pages.page_size;
            if (dns_pages_root(&roots[0], &pages, 0) == DNS_OK &&
                dns_pages_root(&roots[1], &pages, 1) == DNS_OK) {
                const dns_root *root = &roots[roots[1].transaction > roots[0].transaction];
                *holds =
                    root->main.n_entries > 0 &&
                    (dns_tree_open(&meta, &pages, root, "meta") != DNS_OK || meta.n_entries > 0);
            }
        }
    }
    dns_mapping_close(&file);
    return DNS_OK;
}

static dns_status clear_ruins(const dns_store *store)
{
    char *index = NULL, *lock = NULL;
    bool holds;
    dns_status status = DNS_OK;
    DNS_TRY(dns_path_join(&index, store->directory, "index.json"));
    DNS_TRY(dns_path_join(&lock, store->directory, "lock.mdb"));
    if (dns_file_exists(index))
        DNS_FAIL(DNS_ERR_EXISTS, "%s: there is an index already", store->directory);
    DNS_TRY(holds_videos(&holds, store->data_path));
    if (holds)
        DNS_FAIL(DNS_ERR_EXISTS, "%s: holds data.mdb, but no index.json", store->directory);
    if ((unlink(store->data_path) != 0 && errno != ENOENT) ||
        (unlink(lock) != 0 && errno != ENOENT))
        status = dns_status_set_errno("%s", store->directory);
out:
    dns_free(lock);
    dns_free(index);
    return status;
}

dns_status dns_store_create(dns_store **out, const char *directory,
                            const dns_store_settings *settings, const dns_store_options *given)
{
    dns_status status = DNS_OK;
    dns_store *store = NULL;
    dns_store_options options = DNS_STORE_OPTIONS_INIT;
    if (given != NULL)
        options = *given;
    *out = NULL;
    DNS_TRY(dns_settings_check(settings));
    DNS_TRY(allocate(&store, directory, DNS_STORE_WRITE));
    store->settings = *settings;
    if (getrandom(store->identity.bytes, sizeof store->identity.bytes, 0) !=
        sizeof store->identity.bytes) {
        status = dns_status_set_errno("random numbers");
        goto out;
    }
    DNS_TRY(dns_string_format(&store->created_by, "dnsel %s", DNS_VERSION));
    DNS_TRY(dns_directory_make(directory));
    DNS_TRY(lock_for_writing(store));
    DNS_TRY(clear_ruins(store));
    DNS_TRY(enter_open_stores(store));
    DNS_TRY(open_environment(store, &options));
    DNS_TRY(open_trees(store, MDB_CREATE));
    DNS_TRY(check_data_file(store));
    DNS_TRY(write_settings(store));
    *out = store;
    store = NULL;
out:
    dns_store_close(store);
    return status;
}

void dns_store_close(dns_store *store)
{
    if (store == NULL)
        return;
    for (size_t i = 0; i < store->n_mappings; i++)
        munmap((void *)(uintptr_t)store->mappings[i].base, store->mappings[i].size);
    if (store->env != NULL) {
        if (store->mode == DNS_STORE_WRITE)
            mdb_env_sync(store->env, 1);
        mdb_env_close(store->env);
    }
    leave_open_stores(store);
    if (store->lock_fd >= 0)
        close(store->lock_fd);
    pthread_mutex_destroy(&store->mutex);
    dns_free(store->settings_problem);
    dns_free(store->created_by);
    dns_free(store->data_path);
    dns_free(store->directory);
    dns_free(store);
}

/* ---- what it is ---- */

const char *dns_store_directory(const dns_store *store)
{
    return store->directory;
}

const dns_store_settings *dns_store_settings_get(const dns_store *store)
{
    return &store->settings;
}

dns_digest dns_store_identity(const dns_store *store)
{
    return store->identity;
}

const char *dns_store_created_by(const dns_store *store)
{
    return store->created_by;
}

dns_status dns_store_set_kept(dns_store *store, const dns_store_settings *wanted)
{
    if (store->mode != DNS_STORE_WRITE)
        return dns_status_set(DNS_ERR_ARG, "%s: opened for reading", store->directory);
    dns_store_settings before = store->settings;
    memcpy(store->settings.kept, wanted->kept, sizeof before.kept);
    memcpy(store->settings.dtype, wanted->dtype, sizeof before.dtype);
    store->settings.code_bits = wanted->code_bits;
    store->settings.merge = wanted->merge;
    memcpy(store->settings.ann, wanted->ann, sizeof before.ann);
    dns_status status = dns_settings_check(&store->settings);
    if (status == DNS_OK)
        status = write_settings(store);
    if (status != DNS_OK)
        store->settings = before;
    return status;
}
