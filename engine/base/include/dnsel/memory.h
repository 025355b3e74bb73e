/*
 * Allocation with checked sizes. All blocks are 64-byte aligned, so that kernels may load whole
 * vectors, and are freed with dns_free (never with free).
 */
#ifndef DNSEL_MEMORY_H
#define DNSEL_MEMORY_H

#include <stdbool.h>
#include <stddef.h>

#include "dnsel/status.h"

#ifdef __cplusplus
extern "C" {
#endif

/* *product = a * b; false when it does not fit into size_t. */
static inline bool dns_size_multiply(size_t a, size_t b, size_t *product)
{
    return !__builtin_mul_overflow(a, b, product);
}

/* *out = `count` elements of `size` bytes, zeroed; a pointer to one byte's worth when either is 0.
 * Fails with DNS_ERR_NOMEM, also when count * size overflows; *out is then NULL. `out` is the
 * address of any object pointer. */
DNS_API DNS_MUST_CHECK dns_status dns_alloc(void *out, size_t count, size_t size);

/* Grows *block (an object pointer, possibly NULL) to hold at least `needed` elements of `size`
 * bytes; *capacity is in elements and grows geometrically. New elements are zero. On failure the
 * old block stays as it was. */
DNS_API DNS_MUST_CHECK dns_status dns_reserve(void *block, size_t *capacity, size_t needed,
                                              size_t size);

/* *out = a copy of a NUL-terminated string. */
DNS_API DNS_MUST_CHECK dns_status dns_string_copy(char **out, const char *text);

/* *out = printf into a new string. */
DNS_API DNS_MUST_CHECK dns_status dns_string_format(char **out, const char *format, ...)
    DNS_PRINTF(2, 3);

/* Frees a block of the functions above; NULL is fine. */
DNS_API void dns_free(void *block);

#ifdef __cplusplus
}
#endif

#endif
