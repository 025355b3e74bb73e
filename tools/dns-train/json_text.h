/* JSON that becomes a text in memory: sections of a model, provenance. */
#ifndef DNS_JSON_TEXT_H
#define DNS_JSON_TEXT_H

#include <stdio.h>

#include "dnsel/json.h"

/* Start with {0}, always free. `data` is the text once finished. */
typedef struct dns_json_text {
    char *data;
    size_t size;
    FILE *stream;
    dns_json_writer writer;
} dns_json_text;

DNS_MUST_CHECK dns_status dns_json_text_open(dns_json_text *text);
DNS_MUST_CHECK dns_status dns_json_text_finish(dns_json_text *text);
void dns_json_text_free(dns_json_text *text);

#endif
