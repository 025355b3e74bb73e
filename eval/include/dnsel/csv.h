/*
 * CSV and TSV tables with a heading, wholly in memory: fields may be quoted, quotes within are
 * doubled.
 */
#ifndef DNSEL_CSV_H
#define DNSEL_CSV_H

#include <stddef.h>

#include "dnsel/status.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct dns_csv dns_csv;

/* The separator is a tab when the heading has one, otherwise a comma. Lines that are empty are left
 * out. Errors: those of reading; DNS_ERR_FORMAT with the line (no heading, a row with more fields
 * than the heading, a quote that is not closed, a NUL byte). */
DNS_API DNS_MUST_CHECK dns_status dns_csv_read(dns_csv **out, const char *path);
DNS_API DNS_MUST_CHECK dns_status dns_csv_parse(dns_csv **out, const char *text, size_t size,
                                                const char *source);
DNS_API void dns_csv_free(dns_csv *csv);

DNS_API size_t dns_csv_rows(const dns_csv *csv);
/* Number of the column with this heading; SIZE_MAX when there is none. */
DNS_API size_t dns_csv_column(const dns_csv *csv, const char *heading);
/* A field; "" where the row is shorter or `column` is SIZE_MAX. Borrowed. */
DNS_API const char *dns_csv_field(const dns_csv *csv, size_t row, size_t column);

#ifdef __cplusplus
}
#endif

#endif
