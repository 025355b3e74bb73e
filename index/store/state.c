/* What every commit leaves behind beside the records: the state record, and the journal of what it
 * changed. */
#include <string.h>

#include "record_codec.h"
#include "store_handle.h"

static void encode(uint8_t bytes[DNS_STATE_BYTES], const dns_state *state)
{
    memcpy(bytes, &state->transaction, 8);
    memcpy(bytes + 8, &state->generation, 8);
    memcpy(bytes + 16, &state->floor, 8);
    memcpy(bytes + 24, state->identity.bytes, 16);
    memset(bytes + 40, 0, 8);
    uint64_t checksum = dns_checksum(bytes, 48);
    memcpy(bytes + 48, &checksum, 8);
}

dns_status dns_state_decode(dns_state *out, const uint8_t *bytes, size_t size)
{
    uint64_t checksum;
    *out = (dns_state){0};
    if (size != DNS_STATE_BYTES)
        return dns_status_set(DNS_ERR_CORRUPT, "the state record is damaged");
    memcpy(&out->transaction, bytes, 8);
    memcpy(&out->generation, bytes + 8, 8);
    memcpy(&out->floor, bytes + 16, 8);
    memcpy(out->identity.bytes, bytes + 24, 16);
    memcpy(&checksum, bytes + 48, 8);
    if (checksum != dns_checksum(bytes, 48))
        return dns_status_set(DNS_ERR_CORRUPT, "the state record is damaged");
    return DNS_OK;
}

int dns_state_read(dns_state *out, MDB_txn *transaction, const dns_store *store)
{
    MDB_val key = {strlen(DNS_STATE_KEY), (void *)(uintptr_t)DNS_STATE_KEY}, value;
    int code = mdb_get(transaction, store->state, &key, &value);
    if (code == 0 && dns_state_decode(out, value.mv_data, value.mv_size) != DNS_OK)
        code = MDB_CORRUPTED;
    return code;
}

int dns_state_write(MDB_txn *transaction, const dns_store *store, dns_state *state)
{
    uint8_t bytes[DNS_STATE_BYTES];
    state->transaction = mdb_txn_id(transaction);
    encode(bytes, state);
    MDB_val key = {strlen(DNS_STATE_KEY), (void *)(uintptr_t)DNS_STATE_KEY},
            value = {sizeof bytes, bytes};
    return mdb_put(transaction, store->state, &key, &value, 0);
}

/* Keeps the journal from outgrowing the index. What is dropped only makes old derived files start
 * afresh. */
int dns_journal_trim(MDB_txn *transaction, const dns_store *store, dns_state *state)
{
    MDB_stat journal, videos;
    MDB_cursor *cursor = NULL;
    int code = mdb_stat(transaction, store->journal, &journal);
    if (code == 0)
        code = mdb_stat(transaction, store->kinds[DNS_KIND_META], &videos);
    if (code != 0 || journal.ms_entries <= 2 * videos.ms_entries + 100000)
        return code;
    size_t n_dropped = journal.ms_entries - videos.ms_entries - 50000;
    code = mdb_cursor_open(transaction, store->journal, &cursor);
    MDB_val key, value;
    for (bool whole = false; code == 0;) {
        code = mdb_cursor_get(cursor, &key, &value, MDB_FIRST);
        if (code != 0 || key.mv_size != 16)
            break;
        uint64_t generation = dns_id_from_key(key.mv_data);
        whole = n_dropped == 0 && generation != state->floor; /* all changes of a commit, or none */
        if (whole)
            break;
        state->floor = generation;
        n_dropped -= n_dropped > 0;
        code = mdb_cursor_del(cursor, 0);
    }
    if (cursor != NULL)
        mdb_cursor_close(cursor);
    return code == MDB_NOTFOUND ? 0 : code;
}
