/*
 * What FAISS's C interface leaves out: binary indexes from a text, the settings behind an index of
 * any kind, files in memory, mapped files. No exception leaves these functions. Private.
 */
#ifndef DNS_FAISS_SHIM_H
#define DNS_FAISS_SHIM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#ifdef __cplusplus
extern "C" {
#endif

/* One of the two is set. */
struct faiss_handle {
    struct FaissIndex_H *f32;
    struct FaissIndexBinary_H *codes;
};

struct faiss_error {
    bool no_memory;
    char text[512];
};

struct faiss_traits {
    bool can_remove, mapped;
    size_t n_lists, effort;
};

/* All that return a bool: false after an exception, whose text is then in *error. */

bool dns_faiss_binary_factory(struct FaissIndexBinary_H **out, int n_bits, const char *factory,
                              struct faiss_error *error);

/* Makes a new index take ids, keeps it from printing warnings, and lets a second look see four
 * times k candidates. */
bool dns_faiss_prepare(struct faiss_handle *index, struct faiss_error *error);

struct faiss_traits dns_faiss_traits(const struct faiss_handle *index);

/* `effort` lists or candidates; false when there is no such setting. */
bool dns_faiss_set_effort(struct faiss_handle *index, size_t effort);

/* Each vector of an f32 index: its id, and what the index knows of it, [d]; NULL where FAISS cannot
 * tell. False also when `visit` returned false. */
bool dns_faiss_visit(const struct faiss_handle *index,
                     bool (*visit)(void *payload, int64_t id, const float *vector), void *payload,
                     struct faiss_error *error);

/* `write` returns false to stop. */
bool dns_faiss_write(const struct faiss_handle *index,
                     bool (*write)(void *payload, const void *data, size_t size), void *payload,
                     struct faiss_error *error);

/* Reads an index from memory, f32 or codes. */
bool dns_faiss_read(struct faiss_handle *out, bool codes, const uint8_t *data, size_t size,
                    struct faiss_error *error);

/* Reads an index from the stream's position; the lists of an IVF are mapped and stay so when the
 * stream is closed. */
bool dns_faiss_read_mapped(struct faiss_handle *out, bool codes, FILE *stream,
                           struct faiss_error *error);

#ifdef __cplusplus
}
#endif

#endif
