/*
 * Rows to learn from or to test on, as a table that anybody can write (dnsel/labelled_rows.h):
 * columns x0, x1, ... are regular features; p1_0, p1_1, ... p2_0, ... privileged blocks (1 to 64),
 * where a block of empty fields is missing; `label` is a name, for tags names with | between, for
 * pairs 0 or 1, and empty for a row without label; rows of one `group` (or `scene_group`), any
 * text, are never on both sides of a fold. Other columns are not read.
 */
#ifndef DNSEL_LABELLED_CSV_H
#define DNSEL_LABELLED_CSV_H

#include "dnsel/labelled_rows.h"

#ifdef __cplusplus
extern "C" {
#endif

/* *out = the rows of a CSV or TSV. `labels` [n_labels] are the names that are known; NULL: those of
 * the file, sorted. Pairs have the names "different" and "duplicate" always. Errors: those of
 * dnsel/csv.h; DNS_ERR_FORMAT, with the row, for a table without x0, a field that is no finite
 * number, a block that is there in part, or a label that is not known. */
DNS_API DNS_MUST_CHECK dns_status dns_labelled_csv_read(dns_row_file **out, const char *path,
                                                        dns_label_task task,
                                                        const char *const *labels, size_t n_labels);

/* The same for any file: a name that ends in .csv or .tsv is a table, all else a .cpf, whose task
 * and labels must be the given ones (DNS_ERR_MODEL) when `labels` is not NULL. */
DNS_API DNS_MUST_CHECK dns_status dns_labelled_file_read(dns_row_file **out, const char *path,
                                                         dns_label_task task,
                                                         const char *const *labels,
                                                         size_t n_labels);

/* The labels alone of a table without features: rows with y and labelled, dim 0. Errors as above;
 * DNS_ERR_ARG when no row has a label. */
DNS_API DNS_MUST_CHECK dns_status dns_label_table_read(dns_row_file **out, const char *path,
                                                       dns_label_task task);

/* The number of a group by its name, for dns_labelled_rows; "" is no group. */
DNS_API int64_t dns_group_of_name(const char *name);

#ifdef __cplusplus
}
#endif

#endif
