/* Ground truth given as pairs in text files. */
#include "dnsel/protocol.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dnsel/memory.h"

/* The next field of a line, ended by one of `separators`; NULL at the end. */
static char *next_field(char **line, const char *separators)
{
    char *field = *line + strspn(*line, separators);
    if (*field == '\0')
        return NULL;
    char *end = field + strcspn(field, separators);
    *line = *end != '\0' ? end + 1 : end;
    *end = '\0';
    return field;
}

static dns_status put_pair(dns_json_writer *w, char *line, const char *source, size_t number)
{
    bool commas = strchr(line, ',') != NULL;
    const char *separators = commas ? ",\t" : " \t";
    char *query = next_field(&line, separators), *video = next_field(&line, separators);
    char *label = next_field(&line, separators);
    if (query == NULL)
        return DNS_OK;
    if (video == NULL)
        return dns_status_set(DNS_ERR_FORMAT, "%s: line %zu: one field, expected a pair of videos",
                              source, number);
    int64_t value = 1;
    if (!commas && label != NULL) {
        if (strcmp(label, "0") != 0 && strcmp(label, "1") != 0)
            return dns_status_set(DNS_ERR_FORMAT, "%s: line %zu: label '%s' is neither 0 nor 1",
                                  source, number, label);
        value = label[0] - '0';
    }
    dns_json_begin_array(w, NULL);
    dns_json_put_string(w, NULL, query);
    dns_json_put_string(w, NULL, video);
    dns_json_put_integer(w, NULL, value);
    dns_json_end_array(w);
    return DNS_OK;
}

dns_status dns_protocol_pairs(dns_json **out, const char *text, const char *source)
{
    dns_status status = DNS_OK;
    char *copy = NULL, *json = NULL;
    size_t size = 0, number = 0;
    *out = NULL;
    FILE *stream = open_memstream(&json, &size);
    if (stream == NULL)
        return dns_status_set_errno("%s", source);
    dns_json_writer w = dns_json_writer_to(stream, false);
    DNS_TRY(dns_string_copy(&copy, text));
    dns_json_begin_object(&w, NULL);
    dns_json_begin_array(&w, "pairs");
    for (char *line = copy; *line != '\0';) {
        char *end = line + strcspn(line, "\r\n");
        char *next = *end != '\0' ? end + 1 : end;
        *end = '\0';
        DNS_TRY(put_pair(&w, line, source, ++number));
        line = next;
    }
    dns_json_end_array(&w);
    dns_json_end_object(&w);
    DNS_TRY(dns_json_finish(&w));
    DNS_TRY(dns_json_parse(out, json, size, source));
out:
    fclose(stream);
    free(json);
    dns_free(copy);
    return status;
}
