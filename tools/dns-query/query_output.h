/* How answers are written: text for people, JSON, NDJSON and CSV for programs. */
#ifndef DNS_QUERY_OUTPUT_H
#define DNS_QUERY_OUTPUT_H

#include "dnsel/json.h"
#include "dnsel/search.h"

typedef enum dns_query_format {
    DNS_FORMAT_TEXT,
    DNS_FORMAT_JSON,
    DNS_FORMAT_NDJSON,
    DNS_FORMAT_CSV
} dns_query_format;

typedef struct dns_query_output {
    dns_query_format format;
    const char *networks;
    bool quiet;
    dns_json_writer w;
} dns_query_output;

void dns_query_output_begin(dns_query_output *o);
/* `embed_seconds`: decoding and features of the query; 0 for a stored video. */
void dns_query_output_put(dns_query_output *o, const char *query, const dns_answer *answer,
                          double embed_seconds);
DNS_MUST_CHECK dns_status dns_query_output_end(dns_query_output *o);

#endif
