/* The file behind a matrix: header page, vectors, then ids, scales and checksums
 * (docs/index-format.md). */
#ifndef DNS_STORE_MATRIX_FILE_H
#define DNS_STORE_MATRIX_FILE_H

#include "dnsel/matrix.h"

enum { DNS_MATRIX_PAGE = 4096, DNS_MATRIX_BLOCK = 1 << 20, DNS_MATRIX_VERSION = 1 };

typedef struct dns_matrix_file {
    int fd;
    char *path;
    dns_dtype dtype;
    size_t dim, row_bytes, n_rows;
    uint64_t generation;
    uint64_t *ids;       /* [n_rows] ascending */
    float *scales;       /* [n_rows], I8 only */
    uint64_t *checksums; /* one for each DNS_MATRIX_BLOCK of the vectors */
    size_t n_blocks;
} dns_matrix_file;

/* What the rows of a matrix are made of. */
typedef struct dns_matrix_kind {
    const char *name; /* of its file */
    dns_kind kind;    /* of the records */
    bool rounded;     /* F32 records to rows of `dtype`; otherwise rows are what records hold */
    dns_dtype dtype;
} dns_matrix_kind;

/* DNS_ERR_ARG. */
DNS_MUST_CHECK dns_status dns_matrix_kind_get(const dns_matrix_kind **out, dns_matrix_id id);

/* Element type and length of the row that a record makes. DNS_ERR_SHAPE. */
DNS_MUST_CHECK dns_status dns_matrix_row_shape(dns_dtype *dtype, size_t *dim,
                                               const dns_matrix_kind *kind,
                                               const dns_record *record);
/* row [dim] and, of I8, *scale of a record. DNS_ERR_RANGE. */
DNS_MUST_CHECK dns_status dns_matrix_row_make(void *row, float *scale, const dns_matrix_kind *kind,
                                              const dns_record *record);

/* Reads everything but the vectors and checks it. DNS_ERR_NOTFOUND, DNS_ERR_FORMAT (also of another
 * index), DNS_ERR_VERSION, DNS_ERR_MODEL, DNS_ERR_CORRUPT. Close also after a failure. */
DNS_MUST_CHECK dns_status dns_matrix_file_open(dns_matrix_file *out, const dns_snapshot *snapshot,
                                               const dns_matrix_kind *kind);
void dns_matrix_file_close(dns_matrix_file *file);

DNS_MUST_CHECK dns_status dns_matrix_file_write(const dns_snapshot *snapshot,
                                                const dns_matrix_kind *kind,
                                                const dns_progress *progress, dns_cancel *cancel);

#endif
