/*
 * Checking a whole index, and saving what can be saved of a damaged one.
 */
#ifndef DNSEL_VERIFY_H
#define DNSEL_VERIFY_H

#include "dnsel/pool.h"
#include "dnsel/store.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef enum dns_verify_class {
    DNS_VERIFY_OK,
    DNS_VERIFY_REPAIRABLE, /* a derived file, a record that belongs to no video, a kept kind that a
                              video lacks */
    DNS_VERIFY_CORRUPT     /* records or pages are damaged: dns_store_copy saves the rest */
} dns_verify_class;

/* One thing that is wrong. Valid during the call that reports it. */
typedef struct dns_verify_problem {
    dns_verify_class severity;
    bool has_id; /* false: it concerns a page, a file or the whole index */
    uint64_t id;
    const char *path; /* name of the video; "" when unknown */
    const char *kind; /* "coarse", "pages", "index.json", "coarse.matrix", ... */
    const char *text; /* one line */
} dns_verify_problem;

typedef struct dns_verify_options {
    bool structure_only; /* pages and headers, not the payloads */
    const dns_progress *progress;
    dns_cancel *cancel;
    void *payload;
    void (*problem)(void *payload, const dns_verify_problem *problem); /* may be NULL */
} dns_verify_options;

#define DNS_VERIFY_OPTIONS_INIT       \
    {                                 \
        false, NULL, NULL, NULL, NULL \
    }

typedef struct dns_verify_report {
    dns_verify_class verdict; /* the worst of all problems */
    size_t n_repairable, n_corrupt;
    size_t n_videos, n_records;
    uint64_t n_bytes; /* read and compared */
    uint64_t n_pages;
} dns_verify_report;

/* Checks index.json, the page structure, every record's header and checksum, that all kinds of a
 * video agree (frames, model), that names give their ids, and the derived files. Never crashes on
 * damaged files. Returns DNS_OK when the check was done, whatever it found; otherwise why it could
 * not be done (DNS_ERR_NOTFOUND, DNS_ERR_CANCELLED, DNS_ERR_VERSION, DNS_ERR_BUSY when this process
 * has it open, ...). `options` may be NULL. */
DNS_API DNS_MUST_CHECK dns_status dns_store_verify(dns_verify_report *out, const char *directory,
                                                   const dns_verify_options *options);

typedef struct dns_copy_report {
    size_t n_copied; /* videos that are whole */
    size_t n_lost;   /* videos of which at least one record is damaged */
} dns_copy_report;

/* Makes a new index at `to` of all whole videos of `from`, which may be damaged: repair, and also
 * compaction. `lost` (may be NULL) is called with each video left out. The new index has the same
 * settings and a new identity. */
DNS_API DNS_MUST_CHECK dns_status dns_store_copy(dns_copy_report *out, const char *to,
                                                 const char *from,
                                                 const dns_verify_options *options);

#ifdef __cplusplus
}
#endif

#endif
