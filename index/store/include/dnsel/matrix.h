/*
 * One vector a video in one contiguous array, for scanning: a file beside data.mdb, derived from
 * it. A reader maps it and brings it to the state of its own snapshot in private memory, so that an
 * answer never mixes two states and a missing, old or damaged file costs time only. 226 000 vectors
 * open in a few milliseconds.
 */
#ifndef DNSEL_MATRIX_H
#define DNSEL_MATRIX_H

#include "dnsel/pool.h"
#include "dnsel/store.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct dns_matrix dns_matrix;

typedef enum dns_matrix_id {
    DNS_MATRIX_COARSE,      /* coarse records as they are, F32: coarse.matrix */
    DNS_MATRIX_COARSE_I8,   /* coarse records by dns_rows_to_i8: coarse-int8.matrix */
    DNS_MATRIX_COARSE_BITS, /* coarse records by dns_codes_from_f32, U8; never a file */
    DNS_MATRIX_CODES,       /* codes records as they are, I8 or U8: codes.matrix */
    DNS_MATRIX_SELECTOR,    /* selector records as they are, F32: selector.matrix */
    DNS_MATRIX_COUNT
} dns_matrix_id;

/* "coarse.matrix", ... */
DNS_API const char *dns_matrix_name(dns_matrix_id id);

/* The matrix of int8 (dtype I8) or of bits (U8) to be scanned: that of the codes records where the
 * index keeps them as such, otherwise the one made of the coarse records. */
DNS_API dns_matrix_id dns_matrix_small(const dns_store_settings *settings, dns_dtype dtype);

typedef enum dns_matrix_source {
    DNS_MATRIX_FILE,    /* the file was current: rows ascend by id */
    DNS_MATRIX_PATCHED, /* the file was older and a few rows were changed in memory: rows in no
                           order */
    DNS_MATRIX_RECORDS  /* no usable file: read from the records: rows ascend by id */
} dns_matrix_source;

typedef struct dns_matrix_options {
    bool check;     /* compare the vectors of the file with their checksums (reads it all) */
    dns_pool *pool; /* for the check and for reading records; may be NULL */
    dns_cancel *cancel;
} dns_matrix_options;

#define DNS_MATRIX_OPTIONS_INIT \
    {                           \
        false, NULL, NULL       \
    }

/* What a scan needs; borrowed from the matrix. */
typedef struct dns_matrix_rows {
    size_t n_rows;
    dns_dtype dtype;     /* F32, I8 or U8 */
    size_t dim;          /* elements of a row (bytes, for U8 codes) */
    const uint64_t *ids; /* [n_rows] */
    const void *vectors; /* [n_rows, dim], dense, 64-byte aligned */
    const float *scales; /* [n_rows], I8 only: x = scale * i8 */
    dns_matrix_source source;
    const char *reason; /* one line why the file was not used as it is; "" for DNS_MATRIX_FILE */
} dns_matrix_rows;

/* *out = the matrix at just the state of `snapshot`; it may outlive the snapshot. An empty index
 * gives n_rows 0. DNS_ERR_ARG for an unknown id; DNS_ERR_CORRUPT when records must be read and are
 * damaged; DNS_ERR_SHAPE when records differ in dimension or dtype; DNS_ERR_RANGE when one that
 * must be rounded is not finite. `options` may be NULL. */
DNS_API DNS_MUST_CHECK dns_status dns_matrix_open(dns_matrix **out, const dns_snapshot *snapshot,
                                                  dns_matrix_id id,
                                                  const dns_matrix_options *options);
DNS_API void dns_matrix_close(dns_matrix *matrix);
DNS_API dns_matrix_rows dns_matrix_get(const dns_matrix *matrix);

/* Writes the file for the state of `snapshot` and puts it in the place of the old one atomically;
 * readers keep theirs. Nothing is done when the file is current, and of bits. `progress` and
 * `cancel` may be NULL. Errors as above. */
DNS_API DNS_MUST_CHECK dns_status dns_matrix_refresh(const dns_snapshot *snapshot, dns_matrix_id id,
                                                     const dns_progress *progress,
                                                     dns_cancel *cancel);

/* Refreshes all that queries of this index scan. */
DNS_API DNS_MUST_CHECK dns_status dns_matrix_refresh_all(const dns_snapshot *snapshot,
                                                         const dns_progress *progress,
                                                         dns_cancel *cancel);

/* *current = the file exists, is whole (all checksums compared) and is of the snapshot's
 * generation; otherwise *reason (may be NULL) = why not, to be freed with dns_free. */
DNS_API DNS_MUST_CHECK dns_status dns_matrix_verify(bool *current, char **reason,
                                                    const dns_snapshot *snapshot, dns_matrix_id id);

#ifdef __cplusplus
}
#endif

#endif
