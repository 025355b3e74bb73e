/*
 * A batch keeps encoded records in memory and writes them in one LMDB transaction. So a write
 * transaction is short and belongs to one thread, a map that turns out too small costs a second
 * try, and a failed commit can be repeated.
 */
#include <stdlib.h>
#include <string.h>

#include "dnsel/memory.h"
#include "record_codec.h"
#include "store_handle.h"

/* What becomes of one kind of one video. */
typedef struct slot {
    bool touched;
    uint8_t *value; /* NULL: removed */
    size_t size;
} slot;

/* All changes of one video; later ones are merged into earlier ones. */
typedef struct change {
    uint64_t id;
    char *name; /* NULL when the meta record does not change */
    slot slots[DNS_KIND_COUNT];
} change;

struct dns_batch {
    dns_store *store;
    dns_batch_options options;
    change *changes;
    size_t n_changes, capacity, bytes;
    double first; /* when the oldest change came */
};

dns_status dns_batch_create(dns_batch **out, dns_store *store, const dns_batch_options *options)
{
    *out = NULL;
    if (store->mode != DNS_STORE_WRITE)
        return dns_status_set(DNS_ERR_ARG, "%s: opened for reading", store->directory);
    dns_status status = dns_alloc(out, 1, sizeof **out);
    if (status != DNS_OK)
        return status;
    (*out)->store = store;
    (*out)->options = options != NULL ? *options : (dns_batch_options)DNS_BATCH_OPTIONS_INIT;
    return DNS_OK;
}

static void clear_slots(slot slots[DNS_KIND_COUNT])
{
    for (int k = 0; k < DNS_KIND_COUNT; k++) {
        dns_free(slots[k].value);
        slots[k] = (slot){0};
    }
}

static void clear(dns_batch *batch)
{
    for (size_t i = 0; i < batch->n_changes; i++) {
        clear_slots(batch->changes[i].slots);
        dns_free(batch->changes[i].name);
    }
    batch->n_changes = 0;
    batch->bytes = 0;
}

void dns_batch_free(dns_batch *batch)
{
    if (batch == NULL)
        return;
    clear(batch);
    dns_free(batch->changes);
    dns_free(batch);
}

size_t dns_batch_pending(const dns_batch *batch)
{
    return batch->n_changes;
}

static change *waiting(dns_batch *batch, uint64_t id)
{
    for (size_t i = batch->n_changes; i-- > 0;)
        if (batch->changes[i].id == id)
            return &batch->changes[i];
    return NULL;
}

/* ---- collecting ---- */

/* Whether the index will have the video when what waits is written, and under which name (*name may
 * be NULL: unknown or not needed). The name is copied. */
static dns_status look_up(bool *exists, char **name, dns_batch *batch, uint64_t id)
{
    change *c = waiting(batch, id);
    *exists = false;
    *name = NULL;
    if (c != NULL && c->slots[DNS_KIND_META].touched) {
        *exists = c->slots[DNS_KIND_META].value != NULL;
        return *exists ? dns_string_copy(name, c->name) : DNS_OK;
    }
    dns_snapshot *snapshot;
    dns_meta meta;
    dns_status status = dns_snapshot_open(&snapshot, batch->store);
    if (status != DNS_OK)
        return status;
    status = dns_snapshot_meta(&meta, snapshot, id);
    *exists = status != DNS_ERR_NOTFOUND;
    if (status == DNS_OK)
        status = dns_string_copy(name, meta.name);
    else if (status == DNS_ERR_NOTFOUND ||
             status == DNS_ERR_CORRUPT) /* a damaged one may be replaced */
        status = DNS_OK;
    dns_snapshot_close(snapshot);
    return status;
}

static dns_status commit_if_due(dns_batch *batch, size_t more)
{
    const dns_batch_options *limit = &batch->options;
    bool due = batch->n_changes > 0 &&
               ((limit->max_videos > 0 && batch->n_changes >= limit->max_videos) ||
                (limit->max_bytes > 0 && batch->bytes + more > limit->max_bytes) ||
                (limit->max_seconds > 0 && dns_seconds() - batch->first > limit->max_seconds));
    return due ? dns_batch_commit(batch) : DNS_OK;
}

static dns_status encode(slot slots[DNS_KIND_COUNT], size_t *bytes, const dns_batch *batch,
                         uint64_t id, const dns_record *given)
{
    if ((unsigned)given->kind >= DNS_KIND_COUNT || slots[given->kind].touched)
        return dns_status_set(DNS_ERR_ARG, "record kind %d is unknown or given twice",
                              (int)given->kind);
    dns_record record = *given;
    record.id = id;
    record.model = batch->store->settings.model;
    slot *s = &slots[record.kind];
    dns_status status = dns_record_encode(&s->value, &s->size, &record);
    s->touched = status == DNS_OK;
    *bytes += s->size;
    return status;
}

static dns_status encode_meta(slot slots[DNS_KIND_COUNT], size_t *bytes, const dns_batch *batch,
                              uint64_t id, const dns_meta *meta)
{
    dns_record record = {.kind = DNS_KIND_META, .dtype = DNS_U8, .rank = 1};
    uint8_t *payload;
    dns_status status = dns_meta_encode(&payload, &record.size, meta);
    if (status != DNS_OK)
        return status;
    record.shape[0] = record.size;
    record.data = payload;
    status = encode(slots, bytes, batch, id, &record);
    dns_free(payload);
    return status;
}

static dns_status encode_all(slot slots[DNS_KIND_COUNT], size_t *bytes, const dns_batch *batch,
                             uint64_t id, const dns_meta *meta, const dns_record *records,
                             size_t n_records)
{
    dns_status status = DNS_OK;
    if (meta != NULL)
        DNS_TRY(encode_meta(slots, bytes, batch, id, meta));
    for (size_t i = 0; i < n_records; i++) {
        const dns_kind_rule *rule = dns_kind_rule_get(records[i].kind);
        if (records[i].kind == DNS_KIND_META)
            DNS_FAIL(DNS_ERR_ARG, "meta is given as dns_meta, not as a record");
        if (meta != NULL && rule != NULL && rule->by_frame &&
            dns_record_frames(&records[i]) != meta->n_frames)
            DNS_FAIL(DNS_ERR_SHAPE, "%s: %zu frames in the %s record, %u in the video", meta->name,
                     dns_record_frames(&records[i]), rule->name, meta->n_frames);
        DNS_TRY(encode(slots, bytes, batch, id, &records[i]));
    }
out:
    return status;
}

/* Moves the slots into the batch. */
static dns_status append(dns_batch *batch, uint64_t id, slot slots[DNS_KIND_COUNT], size_t bytes,
                         const char *name)
{
    dns_status status = DNS_OK;
    char *copy = NULL;
    if (name != NULL)
        DNS_TRY(dns_string_copy(&copy, name));
    change *c = waiting(batch, id);
    if (c == NULL) {
        DNS_TRY(dns_reserve(&batch->changes, &batch->capacity, batch->n_changes + 1,
                            sizeof *batch->changes));
        if (batch->n_changes == 0)
            batch->first = dns_seconds();
        c = &batch->changes[batch->n_changes++];
        *c = (change){.id = id};
    }
    for (int k = 0; k < DNS_KIND_COUNT; k++)
        if (slots[k].touched) {
            batch->bytes -= c->slots[k].size;
            dns_free(c->slots[k].value);
            c->slots[k] = slots[k];
            slots[k] = (slot){0};
        }
    batch->bytes += bytes;
    if (copy != NULL) {
        dns_free(c->name);
        c->name = copy;
        copy = NULL;
    }
out:
    dns_free(copy);
    return status;
}

dns_status dns_batch_put(dns_batch *batch, const dns_meta *meta, const dns_record *records,
                         size_t n_records, uint64_t *id)
{
    dns_status status = DNS_OK;
    slot slots[DNS_KIND_COUNT] = {{0}};
    size_t bytes = 0;
    char *present = NULL;
    bool exists;
    if (meta == NULL || meta->name == NULL)
        return dns_status_set(DNS_ERR_ARG, "a video without a name");
    uint64_t key = dns_id_of_name(meta->name);
    DNS_TRY(look_up(&exists, &present, batch, key));
    if (present != NULL && strcmp(present, meta->name) != 0)
        DNS_FAIL(DNS_ERR_EXISTS, "%s: has the same 64-bit id as '%s', which is in the index",
                 meta->name, present);
    DNS_TRY(encode_all(slots, &bytes, batch, key, meta, records, n_records));
    DNS_TRY(commit_if_due(batch, bytes));
    for (int k = 0; k < DNS_KIND_COUNT; k++)
        slots[k].touched = true;
    DNS_TRY(append(batch, key, slots, bytes, meta->name));
    if (id != NULL)
        *id = key;
out:
    clear_slots(slots);
    dns_free(present);
    return status;
}

dns_status dns_batch_update(dns_batch *batch, uint64_t id, const dns_meta *meta,
                            const dns_record *records, size_t n_records, unsigned dropped)
{
    dns_status status = DNS_OK;
    slot slots[DNS_KIND_COUNT] = {{0}};
    size_t bytes = 0;
    char *present = NULL, text[17];
    bool exists;
    dns_id_text(id, text);
    if ((dropped & 1u << DNS_KIND_META) != 0 || dropped >> DNS_KIND_COUNT != 0)
        return dns_status_set(DNS_ERR_ARG, "%s: these kinds cannot be dropped", text);
    DNS_TRY(look_up(&exists, &present, batch, id));
    if (!exists)
        DNS_FAIL(DNS_ERR_NOTFOUND, "%s: not in the index", text);
    if (meta != NULL && (meta->name == NULL || dns_id_of_name(meta->name) != id ||
                         (present != NULL && strcmp(present, meta->name) != 0)))
        DNS_FAIL(DNS_ERR_ARG, "%s: a video cannot change its name", text);
    DNS_TRY(encode_all(slots, &bytes, batch, id, meta, records, n_records));
    for (int k = 0; k < DNS_KIND_COUNT; k++)
        slots[k].touched |= (dropped >> k & 1) != 0;
    DNS_TRY(commit_if_due(batch, bytes));
    DNS_TRY(append(batch, id, slots, bytes, meta != NULL ? meta->name : NULL));
out:
    clear_slots(slots);
    dns_free(present);
    return status;
}

dns_status dns_batch_remove(dns_batch *batch, uint64_t id)
{
    dns_status status = DNS_OK;
    slot slots[DNS_KIND_COUNT] = {{0}};
    char *present = NULL, text[17];
    bool exists;
    dns_id_text(id, text);
    DNS_TRY(look_up(&exists, &present, batch, id));
    if (!exists)
        DNS_FAIL(DNS_ERR_NOTFOUND, "%s: not in the index", text);
    DNS_TRY(commit_if_due(batch, 0));
    for (int k = 0; k < DNS_KIND_COUNT; k++)
        slots[k].touched = true;
    DNS_TRY(append(batch, id, slots, 0, NULL));
out:
    dns_free(present);
    return status;
}

/* ---- writing ---- */

/* LMDB frees the pages of a value that it replaces by what their own header says: checked here,
 * since a writer's check at opening leaves them out. */
static dns_status check_replaced(const dns_batch *batch)
{
    dns_snapshot *snapshot;
    dns_status status = dns_snapshot_open(&snapshot, batch->store);
    if (status != DNS_OK)
        return status;
    for (size_t i = 0; i < batch->n_changes && status == DNS_OK; i++)
        for (int k = 0; k < DNS_KIND_COUNT && status == DNS_OK; k++) {
            dns_entry entry;
            if (!batch->changes[i].slots[k].touched)
                continue;
            status = dns_snapshot_entry(&entry, snapshot, (dns_kind)k, batch->changes[i].id);
            if (status == DNS_ERR_NOTFOUND)
                status = DNS_OK;
        }
    dns_snapshot_close(snapshot);
    return status;
}

static int write_change(MDB_txn *transaction, const dns_store *store, const change *c,
                        uint64_t generation)
{
    uint8_t key_bytes[16], nothing[8] = {0};
    dns_id_to_key(key_bytes, c->id);
    int code = 0;
    for (int k = 0; k < DNS_KIND_COUNT && code == 0; k++) {
        const slot *s = &c->slots[k];
        MDB_val key = {8, key_bytes}, value = {s->size, s->value};
        if (s->touched && s->value != NULL)
            code = mdb_put(transaction, store->kinds[k], &key, &value, 0);
        else if (s->touched)
            code = mdb_del(transaction, store->kinds[k], &key, NULL);
        if (code == MDB_NOTFOUND)
            code = 0;
    }
    dns_id_to_key(key_bytes, generation);
    dns_id_to_key(key_bytes + 8, c->id);
    MDB_val key = {16, key_bytes}, value = {sizeof nothing, nothing};
    return code == 0 ? mdb_put(transaction, store->journal, &key, &value, 0) : code;
}

static int write_all(const dns_batch *batch)
{
    const dns_store *store = batch->store;
    MDB_txn *transaction = NULL;
    dns_state state;
    int code = mdb_txn_begin(store->env, NULL, 0, &transaction);
    if (code != 0)
        return code;
    code = dns_state_read(&state, transaction, store);
    if (code == 0)
        state.generation++;
    for (size_t i = 0; i < batch->n_changes && code == 0; i++)
        code = write_change(transaction, store, &batch->changes[i], state.generation);
    if (code == 0)
        code = dns_journal_trim(transaction, store, &state);
    if (code == 0)
        code = dns_state_write(transaction, store, &state);
    if (code == 0)
        return mdb_txn_commit(transaction);
    mdb_txn_abort(transaction);
    return code;
}

dns_status dns_batch_commit(dns_batch *batch)
{
    int code, dead;
    if (batch->n_changes == 0)
        return DNS_OK;
    dns_status status = check_replaced(batch);
    if (status != DNS_OK)
        return status;
    mdb_reader_check(batch->store->env, &dead); /* a killed reader would hold pages back for ever */
    while ((code = write_all(batch)) == MDB_MAP_FULL || code == MDB_MAP_RESIZED) {
        status = dns_store_grow_map(batch->store);
        if (status != DNS_OK)
            return status;
    }
    if (code != 0)
        return dns_store_lmdb_error(batch->store, code, "writing a batch", batch->bytes);
    clear(batch);
    return DNS_OK;
}
