/*
 * What an index keeps of a video: one record of each kind that its settings ask for, all under the
 * same 64-bit id. Byte tables: docs/index-format.md.
 */
#ifndef DNSEL_RECORD_H
#define DNSEL_RECORD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "dnsel/file.h"
#include "dnsel/tensor.h"

#ifdef __cplusplus
extern "C" {
#endif

/* The numbers are part of the format. T: frames, U: stored frames, R: regions of a frame (9), D:
 * dimensions. U is T but where frames that are alike were merged. */
typedef enum dns_kind {
    DNS_KIND_META = 0,   /* what the file is: dns_meta */
    DNS_KIND_COARSE = 1, /* [D] F32: the vector of the whole video */
    DNS_KIND_CODES = 2,  /* [D] I8, or [D/8] U8 (one bit a dimension): the coarse vector, made small
                            for scanning */
    DNS_KIND_SELECTOR = 3, /* [1] F32: self-similarity scalar */
    DNS_KIND_FINE_BINARY =
        4, /* [U,R,D/8] U8: one bit a dimension, bit i of byte j is dimension 8j+i */
    DNS_KIND_FINE_ATTENTION = 5, /* [U,R,D] F32, F16 or I8 */
    DNS_KIND_REGIONS = 6,        /* [U,R,D] F32, F16 or I8: the region features X themselves */
    DNS_KIND_ARCHIVE =
        7, /* [T,R,D] I8 under zstd: X, to rebuild all other records without decoding */
    DNS_KIND_COUNT = 8
} dns_kind;

/* "meta", "coarse", "codes", "selector", "fine_binary", ...; and back (false when unknown). */
DNS_API const char *dns_kind_name(dns_kind kind);
DNS_API bool dns_kind_parse(dns_kind *kind, const char *text);

enum {
    DNS_RECORD_RANK = 3,
    DNS_RECORD_HEADER = 64,
    DNS_RECORD_VERSION = 1,   /* of the format of a record */
    DNS_RECORD_WITH_RUNS = 2, /* of one with run lengths */
    DNS_RECORD_RUN = 65535    /* the longest run */
};

/* One record, to be written or as it lies in the index. Row-major, little-endian. Payloads are at
 * least 8-byte aligned, those of 2 KiB or more 16-byte aligned (use unaligned vector loads). */
typedef struct dns_record {
    dns_kind kind;
    dns_dtype dtype;
    size_t rank;
    size_t shape[DNS_RECORD_RANK];
    const void *data; /* elements; for DNS_KIND_ARCHIVE the zstd frame */
    size_t size; /* bytes of data; may be left 0 when writing, but for the archive and meta kinds */
    const float *scales; /* I8 only: one a row of the last dimension, x = scale * i8; NULL otherwise
                            and for the archive */
    /* Of fine_binary, fine_attention and regions records whose frames were merged: how many frames
     * each stored frame stands for, 1 or more, [shape[0]]; NULL: itself. */
    const uint16_t *runs;
    float merged; /* the distance up to which frames were merged (dns_store_settings); 0 without
                     runs */

    /* Set when read; when written, the store sets them. */
    uint64_t id;
    dns_digest model;
    const uint8_t *header; /* DNS_RECORD_HEADER bytes */
} dns_record;

/* Bytes of the whole payload as stored: data, then (I8, runs) padding to 4 bytes, (I8) the scales,
 * (runs) the run lengths. */
DNS_API size_t dns_record_payload_size(const dns_record *record);

/* T of a record of frames: how many its stored frames stand for. */
DNS_API size_t dns_record_frames(const dns_record *record);

/* Compares header and payload of a record that was read with the checksum, and looks at the run
 * lengths. DNS_ERR_CORRUPT. */
DNS_API DNS_MUST_CHECK dns_status dns_record_check(const dns_record *record);

/* out = the elements as f32, whatever F32, F16 or I8 they are stored as, of all frames:
 * [dns_record_frames, shape[1], shape[2]] for kinds by frame, else [shape...]. DNS_ERR_UNSUPPORTED
 * for other types. */
DNS_API DNS_MUST_CHECK dns_status dns_record_to_f32(float *out, const dns_record *record);

/* ---- ids ---- */

/* The id of an external name: the first 8 bytes, as a big-endian number, of XXH3-128 of its bytes.
 * A file's name is its absolute path without links; an imported row's name is the id that it came
 * with. */
DNS_API uint64_t dns_id_of_name(const char *name);

/* 16 lower-case hexadecimal digits and a NUL; and back (false when it is anything else). */
DNS_API void dns_id_text(uint64_t id, char text[17]);
DNS_API bool dns_id_parse(uint64_t *id, const char *text);

/* ---- meta ---- */

typedef struct dns_meta {
    const char *name; /* absolute path of a file, or the id of an imported row; 1 to 4095 bytes */
    const char
        *path;     /* where the video lies; the name of a file, possibly "" for an imported row */
    bool imported; /* the name is an id, not a path */
    bool damaged;  /* decoded only in part: n_errors tells how many errors the decoder met */
    uint32_t n_errors;
    uint64_t file_size;
    int64_t mtime_ns;
    dns_digest content;  /* of the file's bytes; zero for imported rows */
    dns_digest settings; /* how X was made: dns_store_settings_digest */
    double duration;     /* seconds */
    uint32_t width, height;
    uint32_t n_frames;        /* T, sampled frames */
    const float *frame_times; /* [n_frames] seconds, ascending; NULL when they are not known */
} dns_meta;

#ifdef __cplusplus
}
#endif

#endif
