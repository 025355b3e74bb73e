#include "recall_output.h"

#include <stdio.h>

void dns_recall_print(const dns_coarse_recall recall[DNS_SCAN_COUNT])
{
    printf("%-16s %10s %12s %12s\n", "scan", "recall@10", "ms a query", "ms to open");
    for (int scan = DNS_SCAN_AUTO; scan < DNS_SCAN_COUNT; scan++) {
        const dns_coarse_recall *r = &recall[scan];
        const char *name = dns_coarse_scan_name((dns_coarse_scan)scan);
        if (scan == DNS_SCAN_AUTO)
            printf("auto: %-10s %10.4f %12.3f\n", dns_coarse_scan_name(r->scan), r->recall,
                   1e3 * r->seconds);
        else if (r->scan == DNS_SCAN_AUTO)
            printf("%-16s %10s\n", name, "cannot");
        else
            printf("%-16s %10.4f %12.3f %12.1f\n", name, r->recall, 1e3 * r->seconds,
                   1e3 * r->open_seconds);
    }
}

void dns_recall_put(dns_json_writer *w, const dns_coarse_recall recall[DNS_SCAN_COUNT])
{
    dns_json_begin_array(w, "scans");
    for (int scan = DNS_SCAN_AUTO; scan < DNS_SCAN_COUNT; scan++) {
        const dns_coarse_recall *r = &recall[scan];
        dns_json_begin_object(w, NULL);
        dns_json_put_string(w, "scan", dns_coarse_scan_name((dns_coarse_scan)scan));
        if (scan == DNS_SCAN_AUTO)
            dns_json_put_string(w, "chosen", dns_coarse_scan_name(r->scan));
        else
            dns_json_put_bool(w, "can", r->scan != DNS_SCAN_AUTO);
        dns_json_put_number(w, "recall_10", r->recall, 6);
        dns_json_put_number(w, "ms", 1e3 * r->seconds, 6);
        dns_json_put_number(w, "open_ms", 1e3 * r->open_seconds, 6);
        dns_json_end_object(w);
    }
    dns_json_end_array(w);
}
