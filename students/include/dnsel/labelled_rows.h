/*
 * Rows to learn a classifier from: regular features, privileged ones that exist in training alone,
 * and labels (docs/classifier.md). On disk a .cpf file: safetensors with the tensors x, y,
 * labelled, groups and, where there are privileged blocks, privileged, block_sizes and present;
 * task and names of the labels are metadata.
 */
#ifndef DNSEL_LABELLED_ROWS_H
#define DNSEL_LABELLED_ROWS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "dnsel/status.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef enum dns_label_task {
    DNS_LABEL_CLASS, /* one label of K: softmax */
    DNS_LABEL_TAGS,  /* any of K labels: K sigmoids */
    DNS_LABEL_PAIR   /* a row is a pair of videos; two classes, the second is "duplicate" */
} dns_label_task;

/* "class", "tags", "pair"; and back (false when unknown). */
DNS_API const char *dns_label_task_name(dns_label_task task);
DNS_API bool dns_label_task_parse(dns_label_task *task, const char *text);

/* A view; nothing is owned. Privileged blocks of a row lie one after the other. */
typedef struct dns_labelled_rows {
    dns_label_task task;
    size_t n, dim, n_labels;
    const float *x;            /* [n, dim] */
    const float *y;            /* [n, n_labels], 1 where the label holds, otherwise 0 */
    const uint8_t *labelled;   /* [n]; rows of 0 have no label, their y is not read */
    const int64_t *groups;     /* [n]; rows of one group, for example of one scene, are always held
                                  out together; negative: alone. NULL: all are */
    const char *const *labels; /* [n_labels] names */
    const char *origin;        /* what made x, for example the digest of a model; NULL: not known */
    size_t n_blocks;
    const size_t *block_sizes; /* [n_blocks] */
    const float *privileged;   /* [n, sum of block_sizes] */
    const uint8_t *present;    /* [n, n_blocks]; 0: that block of that row is missing, its numbers
                                  are not read. NULL: all are there and no bits are given */
} dns_labelled_rows;

/* Numbers of a row's privileged blocks together. */
DNS_API size_t dns_labelled_rows_privileged(const dns_labelled_rows *rows);

/* What training cannot do without. Errors: DNS_ERR_ARG for no rows, fewer than two classes, no
 * labelled row, one class only among the labelled ones (tags: no label that is both given and not);
 * DNS_ERR_RANGE for a feature that is not finite (with its row and column, from 1), a label other
 * than 0 and 1, or a class row without just one label. */
DNS_API DNS_MUST_CHECK dns_status dns_labelled_rows_check(const dns_labelled_rows *rows);

/* The same without asking for anything that can be learnt: for rows to predict. */
DNS_API DNS_MUST_CHECK dns_status dns_labelled_rows_check_values(const dns_labelled_rows *rows);

/* leader[i] [n] = one and the same row for all labelled rows of a group, the row itself for others;
 * *n_groups = how many groups there are, rows that are alone counted. DNS_ERR_NOMEM. */
DNS_API DNS_MUST_CHECK dns_status dns_labelled_rows_leaders(size_t *leader, size_t *n_groups,
                                                            const dns_labelled_rows *rows);

/* folds[i] [n] = the fold, 0 to n_folds - 1, that row i is held out in; SIZE_MAX without a label.
 * Labelled rows are dealt like cards from a shuffled pack, those of a group to one fold, always to
 * the smallest. DNS_ERR_ARG unless there are 2 folds or more and as many groups. */
DNS_API DNS_MUST_CHECK dns_status dns_labelled_rows_deal(size_t *folds,
                                                         const dns_labelled_rows *rows,
                                                         size_t n_folds, uint64_t seed);

/* Rows that own their memory. */
typedef struct dns_row_file dns_row_file;

/* *out = an empty table to be filled: zeros everywhere, all rows unlabelled and alone, all blocks
 * missing. Names are copied. DNS_ERR_LIMIT above 2^31 numbers. */
DNS_API DNS_MUST_CHECK dns_status dns_row_file_create(dns_row_file **out,
                                                      const dns_labelled_rows *shape);
/* Reads a .cpf. Errors: those of safetensors; DNS_ERR_FORMAT when it is another kind of file
 * or its values fail the check, DNS_ERR_SHAPE when tensors do not fit each other. */
DNS_API DNS_MUST_CHECK dns_status dns_row_file_read(dns_row_file **out, const char *path);
DNS_API DNS_MUST_CHECK dns_status dns_row_file_write(const dns_labelled_rows *rows,
                                                     const char *path);
DNS_API void dns_row_file_free(dns_row_file *file);

/* Borrowed. */
DNS_API const dns_labelled_rows *dns_row_file_rows(const dns_row_file *file);

/* Where a row is filled in; `privileged` and `present` are NULL without blocks. */
typedef struct dns_row_slot {
    float *x, *y, *privileged;
    uint8_t *labelled, *present;
    int64_t *group;
} dns_row_slot;
DNS_API dns_row_slot dns_row_file_slot(dns_row_file *file, size_t row);

/* *out = the rows for which kept[i]. */
DNS_API DNS_MUST_CHECK dns_status dns_row_file_select(dns_row_file **out,
                                                      const dns_labelled_rows *rows,
                                                      const bool *kept);

/* *out = the rows of a, then those of b with their labels taken away. DNS_ERR_SHAPE when their
 * features or blocks differ in size. */
DNS_API DNS_MUST_CHECK dns_status dns_row_file_append_unlabelled(dns_row_file **out,
                                                                 const dns_labelled_rows *a,
                                                                 const dns_labelled_rows *b);

#ifdef __cplusplus
}
#endif

#endif
