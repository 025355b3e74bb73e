/* CSV to standard output. */
#ifndef DNS_CSV_OUTPUT_H
#define DNS_CSV_OUTPUT_H

/* A field: quoted where it holds commas, quotes or line breaks. */
void dns_csv_print(const char *text);

#endif
