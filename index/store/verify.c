#include "dnsel/verify.h"

#include <stdlib.h>
#include <string.h>

#include "dnsel/matrix.h"
#include "dnsel/memory.h"
#include "record_codec.h"
#include "store_handle.h"

typedef struct checker {
    const dns_verify_options *options;
    dns_verify_report *report;
    dns_snapshot *snapshot;
    uint64_t *ids; /* of all videos, ascending */
    size_t n_ids;
    size_t n_expected, n_done; /* records, for progress */
    double told;
} checker;

static void tell(checker *c, dns_verify_class severity, const uint64_t *id, const char *kind,
                 const char *text)
{
    dns_verify_report *report = c->report;
    char copy[1024] = ""; /* looking the name up may overwrite the last message */
    strncpy(copy, text, sizeof copy - 1);
    if (severity == DNS_VERIFY_CORRUPT)
        report->n_corrupt++;
    else
        report->n_repairable++;
    if (severity > report->verdict)
        report->verdict = severity;
    if (c->options->problem == NULL)
        return;
    dns_meta meta = {.name = ""};
    if (id == NULL || c->snapshot == NULL || dns_snapshot_meta(&meta, c->snapshot, *id) != DNS_OK)
        meta.name = "";
    dns_verify_problem problem = {severity,  id != NULL, id != NULL ? *id : 0,
                                  meta.name, kind,       copy};
    c->options->problem(c->options->payload, &problem);
}

static void tell_page(void *payload, const char *tree, const char *text)
{
    checker *c = payload;
    char where[48] = "pages of ";
    strncat(where, tree, sizeof where - strlen(where) - 1);
    tell(c, DNS_VERIFY_CORRUPT, NULL, where, text);
}

static dns_status step(checker *c)
{
    const dns_progress *progress = c->options->progress;
    c->n_done++;
    if (dns_cancelled(c->options->cancel))
        return dns_status_set(DNS_ERR_CANCELLED, "interrupted");
    if (progress != NULL && progress->report != NULL && dns_seconds() - c->told > 0.1) {
        progress->report(progress->payload, c->n_done, c->n_expected, "records");
        c->told = dns_seconds();
    }
    return DNS_OK;
}

static int compare_ids(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

/* What one record must agree with. */
static void check_record(checker *c, const dns_record *record)
{
    const char *kind = dns_kind_name(record->kind);
    const dns_kind_rule *rule = dns_kind_rule_get(record->kind);
    dns_meta meta;
    c->report->n_records++;
    if (!c->options->structure_only || record->kind == DNS_KIND_META) {
        c->report->n_bytes += DNS_RECORD_HEADER + dns_record_payload_size(record);
        if (dns_record_check(record) != DNS_OK) {
            tell(c, DNS_VERIFY_CORRUPT, &record->id, kind, dns_status_message());
            return;
        }
    }
    if (record->kind == DNS_KIND_META) {
        if (dns_meta_decode(&meta, record) != DNS_OK)
            tell(c, DNS_VERIFY_CORRUPT, &record->id, kind, dns_status_message());
        else if (dns_id_of_name(meta.name) != record->id)
            tell(c, DNS_VERIFY_CORRUPT, &record->id, kind, "its name gives another id");
        return;
    }
    if (bsearch(&record->id, c->ids, c->n_ids, sizeof *c->ids, compare_ids) == NULL)
        tell(c, DNS_VERIFY_REPAIRABLE, &record->id, kind, "belongs to no video");
    else if (rule->by_frame && dns_snapshot_meta(&meta, c->snapshot, record->id) == DNS_OK &&
             meta.n_frames != dns_record_frames(record))
        tell(c, DNS_VERIFY_CORRUPT, &record->id, kind,
             "has another number of frames than its video");
}

/* Which of the ids of a kind are missing; `have` is ascending. */
static void check_kept(checker *c, dns_kind kind, const uint64_t *have, size_t n)
{
    size_t at = 0;
    if (!c->snapshot->store->settings.kept[kind])
        return;
    for (size_t i = 0; i < c->n_ids; i++) {
        while (at < n && have[at] < c->ids[i])
            at++;
        if (at == n || have[at] != c->ids[i])
            tell(c, DNS_VERIFY_REPAIRABLE, &c->ids[i], dns_kind_name(kind),
                 "missing, though the index keeps this kind");
    }
}

/* Walks one kind; a damaged place is told and passed over. */
static dns_status check_kind(checker *c, dns_kind kind)
{
    dns_status status = DNS_OK;
    uint64_t *have = NULL;
    size_t n = 0, capacity = 0;
    dns_walk walk = {0};
    status = dns_walk_start(&walk, &c->snapshot->pages, &c->snapshot->kinds[kind], NULL, 0);
    while (status == DNS_OK || status == DNS_ERR_CORRUPT) {
        dns_entry entry;
        dns_record record;
        /* Damaged pages have been told by the check of the pages. */
        status = dns_walk_next(&entry, &walk);
        if (status != DNS_OK)
            continue;
        DNS_TRY(step(c));
        if (entry.key_size != 8) {
            tell(c, DNS_VERIFY_CORRUPT, NULL, dns_kind_name(kind), "a key that is no id");
            continue;
        }
        uint64_t id = dns_id_from_key(entry.key);
        DNS_TRY(dns_reserve(&have, &capacity, n + 1, sizeof *have));
        have[n++] = id;
        if (dns_record_decode(&record, entry.value, entry.value_size, kind, id) != DNS_OK)
            tell(c, DNS_VERIFY_CORRUPT, &id, dns_kind_name(kind), dns_status_message());
        else if (!dns_digest_equal(&record.model, &c->snapshot->store->settings.model))
            tell(c, DNS_VERIFY_CORRUPT, &id, dns_kind_name(kind), "made by another model");
        else
            check_record(c, &record);
    }
    if (status != DNS_EOF)
        goto out;
    status = DNS_OK;
    if (kind == DNS_KIND_META) {
        c->ids = have;
        c->n_ids = n;
        have = NULL;
    } else {
        check_kept(c, kind, have, n);
    }
out:
    dns_free(have);
    return status;
}

static dns_status check_derived(checker *c)
{
    dns_status status = DNS_OK;
    for (int id = 0; id < DNS_MATRIX_COUNT && status == DNS_OK; id++) {
        char *path = NULL, *reason = NULL;
        const char *name = dns_matrix_name((dns_matrix_id)id);
        bool current;
        status = dns_path_join(&path, c->snapshot->store->directory, name);
        bool exists = status == DNS_OK &&
                      dns_file_exists(path); /* none is fine: it is made when it is wanted */
        dns_free(path);
        if (exists)
            status = dns_matrix_verify(&current, &reason, c->snapshot, (dns_matrix_id)id);
        if (status == DNS_OK && exists && !current)
            tell(c, DNS_VERIFY_REPAIRABLE, NULL, name, reason);
        dns_free(reason);
    }
    return status;
}

/* What cannot be opened because it is damaged is a finding, not a failure. */
static bool is_finding(dns_status status)
{
    return status == DNS_ERR_CORRUPT || status == DNS_ERR_FORMAT || status == DNS_ERR_MODEL;
}

dns_status dns_store_verify(dns_verify_report *out, const char *directory,
                            const dns_verify_options *given)
{
    dns_status status = DNS_OK;
    dns_verify_options options = DNS_VERIFY_OPTIONS_INIT;
    dns_store *store = NULL;
    checker c = {.options = &options, .report = out};
    size_t n_problems;
    uint64_t n_free;
    if (given != NULL)
        options = *given;
    *out = (dns_verify_report){.verdict = DNS_VERIFY_OK};
    status = dns_store_open_lenient(&store, directory);
    if (status == DNS_OK)
        status = dns_snapshot_open(&c.snapshot, store);
    if (is_finding(status)) {
        tell(&c, DNS_VERIFY_CORRUPT, NULL, "index", dns_status_message());
        status = DNS_OK;
        goto out;
    }
    if (status != DNS_OK)
        goto out;
    if (store->settings_problem != NULL)
        tell(&c, DNS_VERIFY_REPAIRABLE, NULL, "index.json", store->settings_problem);
    out->n_pages = c.snapshot->root.last_page + 1;
    DNS_TRY(dns_pages_verify(&n_problems, &n_free, &c.snapshot->pages, &c.snapshot->root, false,
                             tell_page, &c));
    for (int k = 0; k < DNS_KIND_COUNT; k++)
        c.n_expected += dns_snapshot_count(c.snapshot, (dns_kind)k);
    for (int k = 0; k < DNS_KIND_COUNT; k++)
        DNS_TRY(check_kind(&c, (dns_kind)k));
    out->n_videos = c.n_ids;
    DNS_TRY(check_derived(&c));
out:
    dns_free(c.ids);
    dns_snapshot_close(c.snapshot);
    dns_store_close(store);
    return status;
}

/* ---- saving what is whole ---- */

static dns_status copy_video(dns_batch *batch, const dns_snapshot *from, uint64_t id)
{
    dns_record records[DNS_KIND_COUNT];
    dns_meta meta;
    size_t n = 0;
    dns_status status = dns_snapshot_meta(&meta, from, id);
    if (status == DNS_OK && dns_id_of_name(meta.name) != id)
        status = dns_status_set(DNS_ERR_CORRUPT, "its name gives another id");
    for (int k = DNS_KIND_META + 1; k < DNS_KIND_COUNT && status == DNS_OK; k++) {
        status = dns_snapshot_get(&records[n], from, (dns_kind)k, id, true);
        if (status == DNS_OK)
            n++;
        else if (status == DNS_ERR_NOTFOUND) /* proved: no damage hides it */
            status = DNS_OK;
    }
    return status == DNS_OK ? dns_batch_put(batch, &meta, records, n, NULL) : status;
}

/* Damage of one video, not of the copy. */
static bool is_loss(dns_status status)
{
    return is_finding(status) || status == DNS_ERR_NOTFOUND || status == DNS_ERR_SHAPE ||
           status == DNS_ERR_VERSION;
}

/* All ids that any kind still knows, so that a video whose meta record is lost is told of. */
static dns_status gather_ids(uint64_t **ids, size_t *n_ids, const dns_snapshot *snapshot)
{
    dns_status status = DNS_OK;
    size_t capacity = 0, n = 0;
    uint64_t *list = NULL;
    for (int k = 0; k < DNS_KIND_COUNT; k++) {
        dns_walk walk = {.shallow = true};
        status = dns_walk_start(&walk, &snapshot->pages, &snapshot->kinds[k], NULL, 0);
        while (status == DNS_OK || status == DNS_ERR_CORRUPT) {
            dns_entry entry;
            status = dns_walk_next(&entry, &walk);
            if (status != DNS_OK || entry.key_size != 8)
                continue;
            DNS_TRY(dns_reserve(&list, &capacity, n + 1, sizeof *list));
            list[n++] = dns_id_from_key(entry.key);
        }
        if (status != DNS_EOF)
            goto out;
    }
    status = DNS_OK;
    if (n > 0)
        qsort(list, n, sizeof *list, compare_ids);
    *n_ids = 0;
    for (size_t i = 0; i < n; i++)
        if (i == 0 || list[i] != list[i - 1])
            list[(*n_ids)++] = list[i];
    *ids = list;
    list = NULL;
out:
    dns_free(list);
    return status;
}

dns_status dns_store_copy(dns_copy_report *out, const char *to, const char *from,
                          const dns_verify_options *given)
{
    dns_status status = DNS_OK;
    dns_verify_options options = DNS_VERIFY_OPTIONS_INIT;
    dns_verify_report counts = {0};
    dns_store *source = NULL, *target = NULL;
    dns_batch *batch = NULL;
    checker c = {.options = &options, .report = &counts};
    if (given != NULL)
        options = *given;
    *out = (dns_copy_report){0};
    DNS_TRY(dns_store_open_lenient(&source, from));
    DNS_TRY(dns_snapshot_open(&c.snapshot, source));
    DNS_TRY(gather_ids(&c.ids, &c.n_ids, c.snapshot));
    DNS_TRY(dns_store_create(&target, to, &source->settings, NULL));
    DNS_TRY(dns_batch_create(&batch, target, NULL));
    c.n_expected = c.n_ids;
    for (size_t i = 0; i < c.n_ids; i++) {
        DNS_TRY(step(&c));
        status = copy_video(batch, c.snapshot, c.ids[i]);
        if (status == DNS_OK) {
            out->n_copied++;
        } else if (is_loss(status)) {
            out->n_lost++;
            tell(&c, DNS_VERIFY_CORRUPT, &c.ids[i], "video", dns_status_message());
        } else {
            goto out;
        }
    }
    DNS_TRY(dns_batch_commit(batch));
out:
    dns_batch_free(batch);
    dns_free(c.ids);
    dns_snapshot_close(c.snapshot);
    dns_store_close(target);
    dns_store_close(source);
    return status;
}
