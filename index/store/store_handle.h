/* Inside of a store and a snapshot: what the files of this room share. */
#ifndef DNS_STORE_HANDLE_H
#define DNS_STORE_HANDLE_H

#include <pthread.h>
#include <sys/types.h>

#include <lmdb.h>

#include "dnsel/store.h"
#include "pages.h"

/* Version 2: with code_bits or merge, which are written only when they are not 0. */
enum { DNS_INDEX_VERSION = 2, DNS_STORE_MAPPINGS = 48 };

/* Names of the trees beside those of the kinds. */
#define DNS_TREE_STATE "state"
#define DNS_TREE_JOURNAL "journal"

/* Keys in the state tree. */
#define DNS_STATE_KEY "progress"
#define DNS_SETTINGS_KEY "settings"

struct dns_store {
    char *directory, *data_path;
    dns_store_mode mode;
    dns_store_settings settings;
    dns_digest identity;
    char *created_by;
    char *settings_problem; /* opened leniently: why index.json was not used; NULL otherwise */

    MDB_env *env;
    MDB_dbi kinds[DNS_KIND_COUNT], state, journal; /* writers only */
    int data_fd;                                   /* LMDB's */
    int lock_fd;                                   /* -1 for readers */
    size_t page_size;

    /* Our own view of data.mdb. When the file outgrows it a larger one is added; the old ones stay,
     * since snapshots may point into them. */
    pthread_mutex_t mutex;
    struct {
        const uint8_t *base;
        size_t size;
    } mappings[DNS_STORE_MAPPINGS];
    size_t n_mappings;

    dev_t device; /* of the directory: one handle in a process */
    ino_t inode;
    struct dns_store *next;
};

/* What every commit leaves behind: proof that the roots that were found are the last ones. */
typedef struct dns_state {
    uint64_t transaction; /* LMDB's number of this commit */
    uint64_t generation;
    uint64_t floor; /* the journal holds all changes after this generation */
    dns_digest identity;
} dns_state;

enum { DNS_STATE_BYTES = 56 };

DNS_MUST_CHECK dns_status dns_state_decode(dns_state *out, const uint8_t *bytes, size_t size);
/* Within a write transaction; LMDB's codes. Writing sets state->transaction: every commit must do
 * it. */
int dns_state_read(dns_state *out, MDB_txn *transaction, const dns_store *store);
int dns_state_write(MDB_txn *transaction, const dns_store *store, dns_state *state);
int dns_journal_trim(MDB_txn *transaction, const dns_store *store, dns_state *state);

struct dns_snapshot {
    dns_store *store;
    MDB_txn *transaction;
    dns_pages pages;
    dns_root root;
    dns_tree kinds[DNS_KIND_COUNT], state, journal;
    dns_state now;
};

/* One record as LMDB's entry, its key proved but not its contents. DNS_ERR_NOTFOUND only when it is
 * surely not there. */
DNS_MUST_CHECK dns_status dns_snapshot_entry(dns_entry *out, const dns_snapshot *snapshot,
                                             dns_kind kind, uint64_t id);

/* As dns_store_open; a damaged or missing index.json is replaced by the copy in data.mdb where
 * there is one. */
DNS_MUST_CHECK dns_status dns_store_open_lenient(dns_store **out, const char *directory);

/* Translates an LMDB code. `pending` is the number of bytes that were about to be written. */
dns_status dns_store_lmdb_error(const dns_store *store, int code, const char *action,
                                size_t pending);

/* Gives LMDB a map twice as large. No write transaction may be open. */
DNS_MUST_CHECK dns_status dns_store_grow_map(dns_store *store);

/* settings.c: index.json. */
DNS_MUST_CHECK dns_status dns_settings_write(char **text, size_t *size, const dns_store *store);
DNS_MUST_CHECK dns_status dns_settings_parse(dns_store *store, const char *text, size_t size,
                                             const char *source);
/* Which kinds are kept and as what; DNS_ERR_ARG. */
DNS_MUST_CHECK dns_status dns_settings_check(const dns_store_settings *settings);

#endif
