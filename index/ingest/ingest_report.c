#include "ingest_report.h"

#include <stdlib.h>
#include <string.h>

#include "dnsel/memory.h"
#include "record_makers.h"

dns_status dns_ingest_add_failure(dns_ingest_report *r, const dns_logger *logger, const char *path,
                                  dns_status code)
{
    dns_status status =
        dns_reserve(&r->failures, &r->capacity, r->n_failures + 1, sizeof *r->failures);
    if (status != DNS_OK)
        return status;
    dns_ingest_failure *failure = &r->failures[r->n_failures];
    *failure = (dns_ingest_failure){.status = code};
    status = dns_string_copy(&failure->message, dns_status_message());
    if (status == DNS_OK)
        status = dns_string_copy(&failure->path, path);
    r->n_failures++;
    if (status == DNS_OK)
        dns_logger_print(logger, DNS_MESSAGE_WARNING, "%s", failure->message);
    return status;
}

static int by_path(const void *a, const void *b)
{
    return strcmp(((const dns_ingest_failure *)a)->path, ((const dns_ingest_failure *)b)->path);
}

dns_status dns_ingest_save(dns_ingest_report *report, dns_batch *batch, dns_status status)
{
    char message[1024];
    strncpy(message, dns_status_message(), sizeof message - 1);
    message[sizeof message - 1] = '\0';
    dns_status saved = batch != NULL ? dns_batch_commit(batch) : DNS_OK;
    if (report->n_failures > 1)
        qsort(report->failures, report->n_failures, sizeof *report->failures, by_path);
    if (status == DNS_OK)
        return saved;
    return dns_status_set(status, "%s", message);
}

bool dns_ingest_is_complete(const dns_snapshot *snapshot, const dns_store_settings *settings,
                            uint64_t id)
{
    for (int kind = DNS_KIND_META + 1; kind < DNS_KIND_COUNT; kind++) {
        dns_record record;
        if (settings->kept[kind] &&
            (dns_snapshot_get(&record, snapshot, (dns_kind)kind, id, false) != DNS_OK ||
             !dns_record_fits(&record, settings)))
            return false;
    }
    return true;
}

void dns_ingest_report_free(dns_ingest_report *report)
{
    for (size_t i = 0; i < report->n_failures; i++) {
        dns_free(report->failures[i].path);
        dns_free(report->failures[i].message);
    }
    dns_free(report->failures);
    *report = (dns_ingest_report){0};
}
