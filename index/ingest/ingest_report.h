/* What runs over many videos share: the report, and what is done at the end whatever happened. */
#ifndef DNS_INGEST_REPORT_H
#define DNS_INGEST_REPORT_H

#include "dnsel/ingest.h"

/* Notes the last error as that of `path`, and warns of it. Only running out of memory is an error.
 */
DNS_MUST_CHECK dns_status dns_ingest_add_failure(dns_ingest_report *report,
                                                 const dns_logger *logger, const char *path,
                                                 dns_status code);

/* Commits what waits (`batch` may be NULL), also after an error of the index (`status`), which is
 * then returned with its own text; sorts the failures. */
DNS_MUST_CHECK dns_status dns_ingest_save(dns_ingest_report *report, dns_batch *batch,
                                          dns_status status);

/* Whether all kinds that the settings ask for are there, with the types that they ask for. */
bool dns_ingest_is_complete(const dns_snapshot *snapshot, const dns_store_settings *settings,
                            uint64_t id);

#endif
