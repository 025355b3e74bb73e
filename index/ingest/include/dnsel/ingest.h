/*
 * Many files become many records: in parallel, resumably. A video is in the index wholly or not at
 * all; killed at any moment and run again, a build goes on and ends with the same logical index
 * (dns_snapshot_digest). One bad file costs one line in the report.
 */
#ifndef DNSEL_INGEST_H
#define DNSEL_INGEST_H

#include "dnsel/embedder.h"
#include "dnsel/file_list.h"
#include "dnsel/pool.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct dns_ingest_options {
    dns_pool *pool; /* one video a worker; NULL: one after the other */
    bool prune;     /* videos of the index whose file is gone are removed */
    bool dry_run;   /* say what would be done; change nothing */
    dns_progress progress;
    dns_cancel *cancel; /* videos in hand are finished and saved */
    dns_logger logger;  /* a warning a file that was not taken in */
} dns_ingest_options;

typedef struct dns_ingest_failure {
    char *path, *message;
    dns_status status;
} dns_ingest_failure;

typedef struct dns_ingest_report {
    size_t n_added, n_updated; /* new to the index; changed since */
    size_t n_unchanged; /* same size, time of change and settings: not opened (or same content: only
                           noted) */
    size_t n_removed;   /* by prune */
    size_t n_damaged;   /* of the added and updated: decoded in part */
    size_t n_frames;
    double video_seconds; /* length of what was decoded */
    double decode_seconds, feature_seconds, record_seconds,
        store_seconds; /* processor time over all workers */
    double wall_seconds;
    bool interrupted;
    dns_ingest_failure *failures; /* in ascending order of paths */
    size_t n_failures, capacity;
} dns_ingest_report;

/* Takes the files of `list` into `store` (open for writing, with the settings of this embedder's
 * model: DNS_ERR_MODEL otherwise). The report is filled whatever happens; free it with
 * dns_ingest_report_free. Failures of single files are in the report; an error is returned when the
 * index itself can no longer be written (DNS_ERR_FULL, DNS_ERR_IO, ...): everything before is
 * saved. */
DNS_API DNS_MUST_CHECK dns_status dns_ingest_run(dns_ingest_report *report, dns_store *store,
                                                 const dns_embedder *embedder,
                                                 const dns_file_list *list,
                                                 const dns_ingest_options *options);
DNS_API void dns_ingest_report_free(dns_ingest_report *report);

#ifdef __cplusplus
}
#endif

#endif
