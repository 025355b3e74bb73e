/*
 * Python pickles as trees of plain values: published annotations, and the inside of PyTorch
 * checkpoints.
 *
 * Reading runs nothing. A pickle may name classes and functions; those in a fixed list are kept as
 * values of their own (dictionaries and sets of the standard library become DICT and SET, all
 * others OBJECT: a name, arguments, a state), and every other name is refused, as are protocols
 * above 5, values that contain themselves, more than 64 levels, more than 8 Mi values, and values
 * shared so often that the tree would have more than 64 Mi nodes.
 */
#ifndef DNSEL_PICKLE_H
#define DNSEL_PICKLE_H

#include "dnsel/json.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct dns_pickle dns_pickle;
/* Borrowed; lives as long as its pickle. The getters take NULL for "absent", so that lookups may be
 * chained. */
typedef struct dns_pickle_value dns_pickle_value;

typedef enum dns_pickle_kind {
    DNS_PICKLE_NONE,
    DNS_PICKLE_BOOL,
    DNS_PICKLE_INTEGER, /* one that does not fit into 64 bits is a FLOAT */
    DNS_PICKLE_FLOAT,
    DNS_PICKLE_STRING, /* UTF-8; a Python 2 str as it is */
    DNS_PICKLE_BYTES,
    DNS_PICKLE_TUPLE,
    DNS_PICKLE_LIST,
    DNS_PICKLE_SET,
    DNS_PICKLE_DICT,
    DNS_PICKLE_NAME,     /* a known class, function or constant: "torch.FloatStorage" */
    DNS_PICKLE_OBJECT,   /* what a known name was called with */
    DNS_PICKLE_REFERENCE /* a persistent id: something outside the pickle */
} dns_pickle_kind;

/* *out = the first pickle in `size` bytes, which may be freed afterwards; *used (NULL is fine) =
 * how many of them it took. `source` names it in messages. Errors: DNS_ERR_FORMAT (does not begin
 * as a pickle), DNS_ERR_CORRUPT (cut short or damaged), DNS_ERR_VERSION (protocol above 5),
 * DNS_ERR_UNSUPPORTED (a name that is not in the list, or an instruction for code), DNS_ERR_LIMIT
 * (see above). */
DNS_API DNS_MUST_CHECK dns_status dns_pickle_parse(dns_pickle **out, size_t *used,
                                                   const void *bytes, size_t size,
                                                   const char *source);
/* A file that holds one pickle and nothing else (otherwise DNS_ERR_FORMAT), at most 1 GiB. */
DNS_API DNS_MUST_CHECK dns_status dns_pickle_read(dns_pickle **out, const char *path);
DNS_API void dns_pickle_free(dns_pickle *pickle);

DNS_API const dns_pickle_value *dns_pickle_root(const dns_pickle *pickle);

/* DNS_PICKLE_NONE for NULL. */
DNS_API dns_pickle_kind dns_pickle_kind_of(const dns_pickle_value *value);

/* Elements of a tuple, list or set, entries of a dictionary, parts of a reference; 0 for other
 * kinds. */
DNS_API size_t dns_pickle_size(const dns_pickle_value *value);
/* Element by position, of a dictionary the value of an entry; NULL when out of range. Order is that
 * of the pickle. */
DNS_API const dns_pickle_value *dns_pickle_at(const dns_pickle_value *value, size_t index);
/* Key of an entry of a dictionary; NULL when out of range or for other kinds. */
DNS_API const dns_pickle_value *dns_pickle_key_at(const dns_pickle_value *dict, size_t index);
/* Value under a string key, the last one when a pickle repeats it; NULL when absent. Searches one
 * by one. */
DNS_API const dns_pickle_value *dns_pickle_get(const dns_pickle_value *dict, const char *key);

/* The value, or `otherwise` when it is of another kind. Numbers take integers too. */
DNS_API bool dns_pickle_bool(const dns_pickle_value *value, bool otherwise);
DNS_API int64_t dns_pickle_integer(const dns_pickle_value *value, int64_t otherwise);
DNS_API double dns_pickle_number(const dns_pickle_value *value, double otherwise);
/* NUL-terminated; a string that holds a NUL counts as another kind. */
DNS_API const char *dns_pickle_string(const dns_pickle_value *value, const char *otherwise);
/* The bytes of a STRING or BYTES and their number, a NUL after them; NULL for other kinds. */
DNS_API const char *dns_pickle_bytes(const dns_pickle_value *value, size_t *size);

/* "module.name" of a NAME or OBJECT; NULL for other kinds. */
DNS_API const char *dns_pickle_name(const dns_pickle_value *value);
/* Arguments (a TUPLE) and state of an OBJECT; NULL for other kinds and when it has no state. */
DNS_API const dns_pickle_value *dns_pickle_arguments(const dns_pickle_value *object);
DNS_API const dns_pickle_value *dns_pickle_state(const dns_pickle_value *object);

/* Writes a value as JSON: tuples and sets become arrays, objects with a dictionary as state become
 * that dictionary, integer keys become text, entries with other keys are left out. Bytes,
 * references, other objects and what lies deeper than JSON is written (DNS_JSON_DEPTH) become null.
 */
DNS_API void dns_pickle_write_json(dns_json_writer *writer, const char *key,
                                   const dns_pickle_value *value);

#ifdef __cplusplus
}
#endif

#endif
