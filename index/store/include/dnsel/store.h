/*
 * An index: a directory with index.json (what it is and how it was made), data.mdb and lock.mdb
 * (LMDB: the truth), and files derived from it (*.matrix, *.faiss), which can always be rebuilt.
 *
 * A handle may be used from several threads. One handle an index in one process at a time (LMDB's
 * rule; a second is DNS_ERR_BUSY): a writer's handle gives snapshots too. Not to be used in a child
 * after fork(). Not on network file systems. Any number of processes may read while one writes;
 * neither waits for the other.
 *
 * LMDB trusts its file; we do not. Readers walk its pages with our own code, which checks every
 * offset, so that a damaged file gives DNS_ERR_CORRUPT; a writer has the whole page structure
 * checked before LMDB may touch it.
 */
#ifndef DNSEL_STORE_H
#define DNSEL_STORE_H

#include "dnsel/progress.h"
#include "dnsel/record.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ---- settings ---- */

enum { DNS_MODEL_NAME = 128, DNS_SAMPLING_NAME = 16, DNS_STORE_ANN = 64 };

/* What an index was made to hold. A value: copy it. */
typedef struct dns_store_settings {
    char model_name[DNS_MODEL_NAME];  /* at most 127 bytes */
    dns_digest model;                 /* dns_model_digest; records of another model are refused */
    char sampling[DNS_SAMPLING_NAME]; /* how frames were chosen: "exact", "keyframe", ...; not empty
                                       */
    double fps;
    bool kept[DNS_KIND_COUNT];       /* kinds that every video shall have; meta always */
    dns_dtype dtype[DNS_KIND_COUNT]; /* of the kept kinds */
    /* Bits of a region in fine_binary records, the first of those that the network makes, a
     * multiple of 64; 0: all. */
    size_t code_bits;
    /* Consecutive frames are stored once in fine_binary, fine_attention and regions records when
     * none of their region vectors, codes being of unit length, is further than this from that of
     * the first: the similarity of two frames changes by at most as much a side. 0: only equal
     * ones, which changes no score. */
    float merge;
    /* How coarse vectors are kept in FAISS, too (dnsel/coarse_ann.h): "" as suits their number,
     * "none", or FAISS's factory text. */
    char ann[DNS_STORE_ANN];
} dns_store_settings;

/* 1 frame a second, exact, meta and F32 coarse vectors. */
DNS_API dns_store_settings dns_store_settings_init(void);

/* Digest of what X depends on (model, sampling, fps); which kinds are kept does not count. */
DNS_API dns_digest dns_store_settings_digest(const dns_store_settings *settings);

/* ---- opening ---- */

typedef struct dns_store dns_store;

typedef enum dns_store_mode { DNS_STORE_READ, DNS_STORE_WRITE } dns_store_mode;

typedef struct dns_store_options {
    /* The model about to be used; an index of another is DNS_ERR_MODEL, naming both. NULL: any. */
    const dns_digest *model;
    /* Writer: commits flush the data but not the meta page. Faster; a power failure may undo the
     * last commits, never part of one. dns_store_close flushes everything. */
    bool bulk;
    /* Writer: trust the page structure. Opens at once, but LMDB may crash on a damaged file. */
    bool unchecked;
} dns_store_options;

#define DNS_STORE_OPTIONS_INIT \
    {                          \
        NULL, false, false     \
    }

/* Makes a directory with an empty index and opens it for writing. DNS_ERR_EXISTS where there is one
 * already. */
DNS_API DNS_MUST_CHECK dns_status dns_store_create(dns_store **out, const char *directory,
                                                   const dns_store_settings *settings,
                                                   const dns_store_options *options);

/* Opens an index. Errors: DNS_ERR_NOTFOUND (none there), DNS_ERR_FORMAT (index.json is none of
 * ours), DNS_ERR_VERSION (made by a newer dnsel), DNS_ERR_MODEL, DNS_ERR_BUSY (writer: another
 * process writes, named by pid; or already open in this process), DNS_ERR_CORRUPT, DNS_ERR_IO.
 * `options` may be NULL. */
DNS_API DNS_MUST_CHECK dns_status dns_store_open(dns_store **out, const char *directory,
                                                 dns_store_mode mode,
                                                 const dns_store_options *options);

/* All snapshots and batches must be closed before. NULL is fine. */
DNS_API void dns_store_close(dns_store *store);

/* Borrowed, constant while the store is open (but for dns_store_set_kept). */
DNS_API const char *dns_store_directory(const dns_store *store);
DNS_API const dns_store_settings *dns_store_settings_get(const dns_store *store);
/* Of this index, given at creation: derived files name it, so that files of two indexes cannot be
 * mixed up. */
DNS_API dns_digest dns_store_identity(const dns_store *store);
/* "dnsel 0.1.0" of the program that created it. Borrowed. */
DNS_API const char *dns_store_created_by(const dns_store *store);

/* Writer: changes which kinds are kept, and as what (kept, dtype, code_bits and merge of `wanted`),
 * and its ann; rewrites index.json atomically. Records are not touched: dnsel/tiers.h does both. */
DNS_API DNS_MUST_CHECK dns_status dns_store_set_kept(dns_store *store,
                                                     const dns_store_settings *wanted);

/* ---- reading: snapshots ---- */

/* The index as it was at one commit. Several threads may read one snapshot. What it gives is
 * borrowed and lies in the mapped file: it is valid until dns_snapshot_close. Keep snapshots short
 * (a query, not a day): pages that one still sees cannot be used again, so the file grows
 * meanwhile. */
typedef struct dns_snapshot dns_snapshot;

DNS_API DNS_MUST_CHECK dns_status dns_snapshot_open(dns_snapshot **out, dns_store *store);
DNS_API void dns_snapshot_close(dns_snapshot *snapshot);

/* Borrowed; the store that it was taken from. */
DNS_API dns_store *dns_snapshot_store(const dns_snapshot *snapshot);

/* Commits since creation: 0 for an empty index, one more after every commit. */
DNS_API uint64_t dns_snapshot_generation(const dns_snapshot *snapshot);

/* Number of records of a kind; of DNS_KIND_META: of videos. */
DNS_API size_t dns_snapshot_count(const dns_snapshot *snapshot, dns_kind kind);

/* One record. Its header (magic, version, kind, id, shape against size, model) is checked always,
 * its checksum when `check` is true (about 0.1 ms a MiB cold in cache). DNS_ERR_NOTFOUND (sets no
 * other text than the id), DNS_ERR_CORRUPT, DNS_ERR_VERSION, DNS_ERR_MODEL. */
DNS_API DNS_MUST_CHECK dns_status dns_snapshot_get(dns_record *out, const dns_snapshot *snapshot,
                                                   dns_kind kind, uint64_t id, bool check);

/* Where a record lies in the data file, in bytes. */
typedef struct dns_place {
    uint64_t offset, size;
} dns_place;

/* Found without touching the record itself, so that many can be sorted before the first is read.
 * Errors as dns_snapshot_get. */
DNS_API DNS_MUST_CHECK dns_status dns_snapshot_place(dns_place *out, const dns_snapshot *snapshot,
                                                     dns_kind kind, uint64_t id);

/* Asks the system to read the record at `place` soon; a hint. */
DNS_API void dns_snapshot_read_ahead(const dns_snapshot *snapshot, const dns_place *place);

/* The meta record, checksum checked. Strings and times are borrowed from the snapshot. */
DNS_API DNS_MUST_CHECK dns_status dns_snapshot_meta(dns_meta *out, const dns_snapshot *snapshot,
                                                    uint64_t id);

/* *id of what a person typed: a name as stored, a path (made absolute, links resolved where it
 * exists), or 16 hexadecimal digits, tried in this order. DNS_ERR_NOTFOUND. */
DNS_API DNS_MUST_CHECK dns_status dns_snapshot_find(uint64_t *id, const dns_snapshot *snapshot,
                                                    const char *text);

/* *ids = all ids that have a record of this kind, ascending, to be freed with dns_free. */
DNS_API DNS_MUST_CHECK dns_status dns_snapshot_ids(uint64_t **ids, size_t *n_ids,
                                                   const dns_snapshot *snapshot, dns_kind kind);

/* Records of one kind in ascending order of ids. */
typedef struct dns_cursor dns_cursor;

/* Starts at the first id that is `from` or more. */
DNS_API DNS_MUST_CHECK dns_status dns_cursor_create(dns_cursor **out, const dns_snapshot *snapshot,
                                                    dns_kind kind, uint64_t from);
/* The next record, its header checked; DNS_EOF after the last. */
DNS_API DNS_MUST_CHECK dns_status dns_cursor_next(dns_record *out, dns_cursor *cursor);
DNS_API void dns_cursor_free(dns_cursor *cursor);

/* *ids = the ids put, updated or removed by commits after generation `since`, ascending, without
 * repeats; free with dns_free. DNS_ERR_NOTFOUND when the journal no longer reaches back so far:
 * rebuild from the start. */
DNS_API DNS_MUST_CHECK dns_status dns_snapshot_changes(uint64_t **ids, size_t *n_ids,
                                                       const dns_snapshot *snapshot,
                                                       uint64_t since);

/* *digest = over all records of all videos in key order: equal for equal contents, in whatever
 * order and however many commits they were written. Reads everything. */
DNS_API DNS_MUST_CHECK dns_status dns_snapshot_digest(dns_digest *digest,
                                                      const dns_snapshot *snapshot,
                                                      dns_cancel *cancel);

/* Counts and bytes. */
typedef struct dns_store_stat {
    struct {
        size_t n_records;
        uint64_t bytes; /* records with their headers, without LMDB's pages */
        uint64_t page_bytes;
        uint64_t n_frames; /* stored, of kinds by frame: fewer than the videos have where frames
                              were merged */
    } kinds[DNS_KIND_COUNT];
    uint64_t file_bytes; /* data.mdb */
    uint64_t free_bytes; /* of it, free for new records */
    uint64_t derived_bytes;
    uint64_t n_frames; /* of all videos */
    double duration;   /* of all videos, seconds */
} dns_store_stat;

/* Walks all records' headers. */
DNS_API DNS_MUST_CHECK dns_status dns_snapshot_stat(dns_store_stat *out,
                                                    const dns_snapshot *snapshot);

/* ---- writing: batches ---- */

/* Changes that wait in memory for one commit. A video is in it wholly or not at all, and so in the
 * index, whenever the power fails or the process is killed. For one thread at a time. */
typedef struct dns_batch dns_batch;

typedef struct dns_batch_options {
    /* Each put or remove that passes one of these commits first what waits. 0: never for this
     * reason. */
    size_t max_videos;
    size_t max_bytes;
    double max_seconds; /* since the first waiting change */
} dns_batch_options;

#define DNS_BATCH_OPTIONS_INIT      \
    {                               \
        256, (size_t)64 << 20, 10.0 \
    }

/* DNS_ERR_ARG for a store opened for reading. `options` may be NULL. */
DNS_API DNS_MUST_CHECK dns_status dns_batch_create(dns_batch **out, dns_store *store,
                                                   const dns_batch_options *options);

/* A whole video: replaces all that the index had of it. `records` holds the other kinds, each at
 * most once, no meta. Everything is copied. *id (may be NULL) = its id. Errors: DNS_ERR_ARG,
 * DNS_ERR_SHAPE (a record's shape is none of its kind, or its frames are not meta->n_frames),
 * DNS_ERR_EXISTS (another name has the same 64-bit id), DNS_ERR_LIMIT (a record over 4 GiB), and
 * those of dns_batch_commit. */
DNS_API DNS_MUST_CHECK dns_status dns_batch_put(dns_batch *batch, const dns_meta *meta,
                                                const dns_record *records, size_t n_records,
                                                uint64_t *id);

/* Changes an existing video: replaces its meta (unless NULL; the name must be the same), adds or
 * replaces the given kinds, removes the kinds of `dropped` (a bit each, 1u << kind).
 * DNS_ERR_NOTFOUND. */
DNS_API DNS_MUST_CHECK dns_status dns_batch_update(dns_batch *batch, uint64_t id,
                                                   const dns_meta *meta, const dns_record *records,
                                                   size_t n_records, unsigned dropped);

/* Removes a video with all its records. DNS_ERR_NOTFOUND. */
DNS_API DNS_MUST_CHECK dns_status dns_batch_remove(dns_batch *batch, uint64_t id);

/* Changes that wait. */
DNS_API size_t dns_batch_pending(const dns_batch *batch);

/* Writes what waits as one commit and flushes it to the device; does nothing when nothing waits.
 * After a failure it still waits, and the index is as it was. DNS_ERR_FULL (no space; free some and
 * commit again), DNS_ERR_IO. */
DNS_API DNS_MUST_CHECK dns_status dns_batch_commit(dns_batch *batch);

/* Drops what was not committed. NULL is fine. */
DNS_API void dns_batch_free(dns_batch *batch);

#ifdef __cplusplus
}
#endif

#endif
