#include "dnsel/csv.h"

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "dnsel/file.h"
#include "dnsel/memory.h"

struct dns_csv {
    char *text;    /* fields, cut apart in place */
    char **fields; /* [n_rows + 1, n_columns]; the heading first; NULL: the row is shorter */
    size_t n_rows, n_columns, capacity;
};

/* Cuts one field off `*at` and unquotes it in place; *end = the byte that ended it. */
static dns_status take_field(char **field, char *end, char **at, char separator, const char *source,
                             size_t line)
{
    char *in = *at, *out = in;
    *field = in;
    if (*in == '"') {
        for (in++; *in != '\0' && !(in[0] == '"' && in[1] != '"'); in++) {
            in += in[0] == '"';
            *out++ = *in;
        }
        if (*in == '\0')
            return dns_status_set(DNS_ERR_FORMAT, "%s: line %zu: a quote is not closed", source,
                                  line);
        in++;
    }
    while (*in != '\0' && *in != separator && *in != '\n' && *in != '\r')
        *out++ = *in++;
    *end = *in;
    if (in[0] == '\r' && in[1] == '\n')
        in++;
    *at = *in != '\0' ? in + 1 : in;
    if (*end == '\r')
        *end = '\n';
    *out = '\0';
    return DNS_OK;
}

static dns_status take_row(dns_csv *csv, char **at, char separator, const char *source, size_t line)
{
    char end = separator, *field;
    size_t column = 0;
    for (; end == separator; column++) {
        dns_status status = take_field(&field, &end, at, separator, source, line);
        if (status != DNS_OK)
            return status;
        bool heading = csv->n_rows == 0;
        if (!heading && column >= csv->n_columns)
            return dns_status_set(DNS_ERR_FORMAT,
                                  "%s: line %zu: more fields than the heading's %zu", source, line,
                                  csv->n_columns);
        size_t place = heading ? column : csv->n_rows * csv->n_columns + column;
        size_t needed = heading ? place + 1 : (csv->n_rows + 1) * csv->n_columns;
        status = dns_reserve(&csv->fields, &csv->capacity, needed, sizeof *csv->fields);
        if (status != DNS_OK)
            return status;
        csv->fields[place] = field;
    }
    if (csv->n_rows == 0)
        csv->n_columns = column;
    csv->n_rows++; /* the heading counts until the end */
    return DNS_OK;
}

dns_status dns_csv_parse(dns_csv **out, const char *text, size_t size, const char *source)
{
    dns_status status = DNS_OK;
    dns_csv *csv = NULL;
    *out = NULL;
    if (memchr(text, '\0', size) != NULL)
        DNS_FAIL(DNS_ERR_FORMAT, "%s: a NUL byte in a table", source);
    DNS_TRY(dns_alloc(&csv, 1, sizeof *csv));
    DNS_TRY(dns_alloc(&csv->text, size + 1, 1));
    memcpy(csv->text, text, size);
    char *at = csv->text;
    if (strncmp(at, "\xef\xbb\xbf", 3) == 0)
        at += 3;
    char separator = memchr(at, '\t', strcspn(at, "\r\n")) != NULL ? '\t' : ',';
    for (size_t line = 1; *at != '\0'; line++) {
        if (*at == '\n' || *at == '\r') {
            at++;
            continue;
        }
        DNS_TRY(take_row(csv, &at, separator, source, line));
    }
    if (csv->n_rows == 0)
        DNS_FAIL(DNS_ERR_FORMAT, "%s: no heading", source);
    csv->n_rows--;
    *out = csv;
    csv = NULL;
out:
    dns_csv_free(csv);
    return status;
}

dns_status dns_csv_read(dns_csv **out, const char *path)
{
    enum { LIMIT = 1 << 30 };
    char *text;
    size_t size;
    *out = NULL;
    dns_status status = dns_file_read(&text, &size, path, LIMIT);
    if (status == DNS_OK)
        status = dns_csv_parse(out, text, size, path);
    dns_free(text);
    return status;
}

void dns_csv_free(dns_csv *csv)
{
    if (csv == NULL)
        return;
    dns_free(csv->text);
    dns_free(csv->fields);
    dns_free(csv);
}

size_t dns_csv_rows(const dns_csv *csv)
{
    return csv->n_rows;
}

size_t dns_csv_column(const dns_csv *csv, const char *heading)
{
    for (size_t i = 0; i < csv->n_columns; i++)
        if (strcmp(csv->fields[i], heading) == 0)
            return i;
    return SIZE_MAX;
}

const char *dns_csv_field(const dns_csv *csv, size_t row, size_t column)
{
    const char *field = row < csv->n_rows && column < csv->n_columns
                            ? csv->fields[(row + 1) * csv->n_columns + column]
                            : NULL;
    return field != NULL ? field : "";
}
