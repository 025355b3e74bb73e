/* What the commands of dns-index share. */
#ifndef DNS_INDEX_TOOL_H
#define DNS_INDEX_TOOL_H

#include "dnsel/coarse_ann.h"
#include "dnsel/json.h"
#include "dnsel/store.h"
#include "program.h"

extern const dns_command dns_index_build, dns_index_add, dns_index_remove, dns_index_list,
    dns_index_stat, dns_index_verify, dns_index_repair, dns_index_import, dns_index_tiers,
    dns_index_ann;

/* Complains and returns the exit code: DNS_EXIT_NO_INDEX where there is none. */
int dns_index_open_failed(const dns_invocation *invocation, const char *directory,
                          dns_status status);

/* Bytes of all records over the number of videos; 0 for an empty index. */
double dns_index_bytes_a_video(const dns_store_stat *stat);

/* auto, none or FAISS's text into settings->ann. DNS_ERR_ARG. */
DNS_MUST_CHECK dns_status dns_index_set_ann(dns_store_settings *settings, const char *kind);

/* One line, or one object, about coarse.faiss. */
void dns_index_print_ann(const dns_coarse_ann_state *state);
void dns_index_put_ann(dns_json_writer *w, const dns_coarse_ann_state *state);

/* How lists are written: --json, --ndjson, --csv; text otherwise. */
typedef struct dns_format_options {
    bool json, ndjson, csv;
} dns_format_options;

#endif
