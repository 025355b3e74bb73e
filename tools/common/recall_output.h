/* How scans of coarse vectors compare, as text and as JSON. */
#ifndef DNS_RECALL_OUTPUT_H
#define DNS_RECALL_OUTPUT_H

#include "dnsel/coarse_recall.h"
#include "dnsel/json.h"

/* A table on standard output. */
void dns_recall_print(const dns_coarse_recall recall[DNS_SCAN_COUNT]);
/* An array "scans". */
void dns_recall_put(dns_json_writer *w, const dns_coarse_recall recall[DNS_SCAN_COUNT]);

#endif
