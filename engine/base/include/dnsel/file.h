/*
 * Files: reading whole, mapping, replacing atomically.
 */
#ifndef DNSEL_FILE_H
#define DNSEL_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "dnsel/status.h"

#ifdef __cplusplus
extern "C" {
#endif

/* *data = the bytes of the file and a NUL after them, to be freed with dns_free; *size without the
 * NUL. A file of more than `limit` bytes is DNS_ERR_LIMIT; what is not a regular file is
 * DNS_ERR_FORMAT. */
DNS_API DNS_MUST_CHECK dns_status dns_file_read(char **data, size_t *size, const char *path,
                                                size_t limit);

/* A whole file mapped read-only and private. */
typedef struct dns_mapping {
    const uint8_t *data;
    size_t size;
} dns_mapping;

/* Fails with DNS_ERR_NOTFOUND, DNS_ERR_IO, or DNS_ERR_FORMAT for what is not a regular file. An
 * empty file has size 0 and data NULL. */
DNS_API DNS_MUST_CHECK dns_status dns_mapping_open(dns_mapping *out, const char *path);
DNS_API void dns_mapping_close(dns_mapping *mapping);

/* A new version of a file: written beside it and renamed over it when whole, so that a reader sees
 * the old one or the new one and a crash leaves the old one. */
typedef struct dns_replacement dns_replacement;

/* *stream is open for writing; it belongs to the replacement. */
DNS_API DNS_MUST_CHECK dns_status dns_replacement_open(dns_replacement **out, FILE **stream,
                                                       const char *path);
/* Flushes to the device, renames, flushes the directory, and frees. After a failure the old file is
 * as it was. */
DNS_API DNS_MUST_CHECK dns_status dns_replacement_commit(dns_replacement *replacement);
/* Drops what was written. NULL is fine. */
DNS_API void dns_replacement_abandon(dns_replacement *replacement);

/* Writes a whole file by replacement. */
DNS_API DNS_MUST_CHECK dns_status dns_file_write(const char *path, const void *data, size_t size);

/* Makes a directory and its missing parents; an existing one is fine. */
DNS_API DNS_MUST_CHECK dns_status dns_directory_make(const char *path);

DNS_API bool dns_file_exists(const char *path);
DNS_API bool dns_directory_exists(const char *path);

/* *out = "directory/name" (or name alone when directory is "" or name is absolute). */
DNS_API DNS_MUST_CHECK dns_status dns_path_join(char **out, const char *directory,
                                                const char *name);

/* XXH3-128 of bytes, as 16 bytes in canonical (big-endian) order: content hashes and digests. */
typedef struct dns_digest {
    uint8_t bytes[16];
} dns_digest;

typedef struct dns_hasher dns_hasher;

DNS_API dns_digest dns_digest_of(const void *data, size_t size);
/* 33 bytes: 32 lower-case hexadecimal digits and a NUL. */
DNS_API void dns_digest_text(const dns_digest *digest, char text[33]);
DNS_API bool dns_digest_parse(dns_digest *digest, const char *text);
DNS_API bool dns_digest_equal(const dns_digest *a, const dns_digest *b);
/* The digest of a file, read in pieces. */
DNS_API DNS_MUST_CHECK dns_status dns_digest_of_file(dns_digest *digest, const char *path);

/* A digest over several pieces. */
DNS_API DNS_MUST_CHECK dns_status dns_hasher_create(dns_hasher **out);
DNS_API void dns_hasher_add(dns_hasher *hasher, const void *data, size_t size);
DNS_API dns_digest dns_hasher_digest(const dns_hasher *hasher);
DNS_API void dns_hasher_free(dns_hasher *hasher);

/* XXH3-64, for checksums of records. */
DNS_API uint64_t dns_checksum(const void *data, size_t size);

#ifdef __cplusplus
}
#endif

#endif
