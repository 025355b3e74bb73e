/*
 * JSON in (a tree that is only read) and out (a stream of events).
 */
#ifndef DNSEL_JSON_H
#define DNSEL_JSON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "dnsel/status.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ---- in ---- */

/* A value in a parsed document. All getters borrow; they live as long as the document. */
typedef struct dns_json dns_json;

/* *out = the document in `size` bytes of `text`. Duplicate keys and text after the document are
 * DNS_ERR_FORMAT; `source` names the text in messages. Free the root with dns_json_free. */
DNS_API DNS_MUST_CHECK dns_status dns_json_parse(dns_json **out, const char *text, size_t size,
                                                 const char *source);
DNS_API DNS_MUST_CHECK dns_status dns_json_read(dns_json **out, const char *path);
DNS_API void dns_json_free(dns_json *root);

typedef enum dns_json_kind {
    DNS_JSON_NULL,
    DNS_JSON_BOOL,
    DNS_JSON_NUMBER,
    DNS_JSON_STRING,
    DNS_JSON_ARRAY,
    DNS_JSON_OBJECT
} dns_json_kind;

/* DNS_JSON_NULL for a NULL pointer, so that lookups may be chained. */
DNS_API dns_json_kind dns_json_kind_of(const dns_json *value);

/* A member of an object; NULL when absent or when `object` is none. */
DNS_API const dns_json *dns_json_get(const dns_json *object, const char *key);

/* Members or elements; 0 for other kinds. */
DNS_API size_t dns_json_size(const dns_json *value);
/* Element of an array; NULL when out of range. */
DNS_API const dns_json *dns_json_at(const dns_json *array, size_t index);

/* Calls `visit` for each member in file order; stops at the first status that is not DNS_OK and
 * returns it. */
DNS_API dns_status dns_json_each(const dns_json *object,
                                 dns_status (*visit)(void *payload, const char *key,
                                                     const dns_json *value),
                                 void *payload);

/* The value, or `otherwise` when it is absent or of another kind. */
DNS_API const char *dns_json_string(const dns_json *value, const char *otherwise);
DNS_API double dns_json_number(const dns_json *value, double otherwise);
DNS_API int64_t dns_json_integer(const dns_json *value, int64_t otherwise);
DNS_API bool dns_json_bool(const dns_json *value, bool otherwise);

/* ---- out ---- */

enum { DNS_JSON_DEPTH = 32 };

/* Writes one document to a stream. Bytes that are no UTF-8 become U+FFFD;
 * numbers that are not finite become null. An error of the stream is kept and returned by
 * dns_json_finish. */
typedef struct dns_json_writer {
    FILE *stream;
    bool pretty; /* new lines and two blanks a level; otherwise one line */
    int depth;
    bool has_member[DNS_JSON_DEPTH];
} dns_json_writer;

DNS_API dns_json_writer dns_json_writer_to(FILE *stream, bool pretty);
/* `key` is NULL inside arrays and at the root. */
DNS_API void dns_json_begin_object(dns_json_writer *w, const char *key);
DNS_API void dns_json_end_object(dns_json_writer *w);
DNS_API void dns_json_begin_array(dns_json_writer *w, const char *key);
DNS_API void dns_json_end_array(dns_json_writer *w);
/* NULL text is written as null. */
DNS_API void dns_json_put_string(dns_json_writer *w, const char *key, const char *text);
/* `digits` significant digits; 17 keeps every double. */
DNS_API void dns_json_put_number(dns_json_writer *w, const char *key, double value, int digits);
DNS_API void dns_json_put_integer(dns_json_writer *w, const char *key, int64_t value);
DNS_API void dns_json_put_bool(dns_json_writer *w, const char *key, bool value);
DNS_API void dns_json_put_null(dns_json_writer *w, const char *key);
/* Copies a parsed value. */
DNS_API void dns_json_put_value(dns_json_writer *w, const char *key, const dns_json *value);
/* Ends the document with a new line. */
DNS_API DNS_MUST_CHECK dns_status dns_json_finish(dns_json_writer *w);

#ifdef __cplusplus
}
#endif

#endif
