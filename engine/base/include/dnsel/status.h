/*
 * Status codes and the text of the last error.
 *
 * Every function that can fail returns a dns_status: DNS_OK (0) or a negative code. Its text is one
 * line that names the thing ("tensor 'attention.weight': shape [512,1], expected [512]") and is
 * kept per thread until the next failure on that thread; dns_pool copies it to the thread that
 * waits. The library never prints and never exits.
 */
#ifndef DNSEL_STATUS_H
#define DNSEL_STATUS_H

#ifdef __cplusplus
extern "C" {
#endif

#define DNS_API __attribute__((visibility("default")))
#define DNS_MUST_CHECK __attribute__((warn_unused_result))
#define DNS_PRINTF(format_index, first) __attribute__((format(printf, format_index, first)))

typedef enum dns_status {
    DNS_OK = 0,
    /* The caller's fault. */
    DNS_ERR_ARG = -1,
    DNS_ERR_SHAPE = -2, /* sizes of arrays do not fit each other */
    DNS_ERR_RANGE = -3, /* a value is not finite or outside its domain */
    /* Limits. */
    DNS_ERR_NOMEM = -10,
    DNS_ERR_LIMIT = -11, /* a configured limit was passed */
    /* The outside world. */
    DNS_ERR_IO = -20,
    DNS_ERR_NOTFOUND = -21,
    DNS_ERR_EXISTS = -22,
    DNS_ERR_BUSY = -23, /* locked by another process */
    DNS_ERR_FULL = -24, /* no space left on the device */
    DNS_EOF = -25,      /* nothing more to read; not a failure, sets no text */
    /* Data. */
    DNS_ERR_FORMAT = -30,      /* not a file of this kind */
    DNS_ERR_CORRUPT = -31,     /* a file of this kind, but damaged */
    DNS_ERR_VERSION = -32,     /* made by another version */
    DNS_ERR_UNSUPPORTED = -33, /* well-formed, but nothing here can use it */
    DNS_ERR_MODEL = -34,       /* made by another model */
    /* Control. */
    DNS_ERR_CANCELLED = -40,
    DNS_ERR_TIMEOUT = -41,
    /* Back ends. */
    DNS_ERR_DECODE = -50,
    DNS_ERR_BACKEND = -51,
    DNS_ERR_INTERNAL = -90
} dns_status;

/* Records one line of text (at most 1023 bytes) for this thread and returns `code`, so that callers
 * may write `return dns_status_set(DNS_ERR_IO, "%s: %s", path, reason)`. Control characters in it
 * become '?'. */
DNS_API dns_status dns_status_set(dns_status code, const char *format, ...) DNS_PRINTF(2, 3);

/* Puts "prefix: " before the text of the last error and returns `code` unchanged. */
DNS_API dns_status dns_status_context(dns_status code, const char *format, ...) DNS_PRINTF(2, 3);

/* As dns_status_set, from the current errno: ENOSPC and EDQUOT become DNS_ERR_FULL, ENOENT
 * DNS_ERR_NOTFOUND, EEXIST DNS_ERR_EXISTS, ENOMEM DNS_ERR_NOMEM, all others DNS_ERR_IO; the
 * system's text is appended. */
DNS_API dns_status dns_status_set_errno(const char *format, ...) DNS_PRINTF(1, 2);

/* Text of the last error on this thread; "" when there was none. Borrowed; valid until the next
 * failure. */
DNS_API const char *dns_status_message(void);

/* Short name of a code, for example "corrupt". Never NULL. */
DNS_API const char *dns_status_name(dns_status code);

/* Within a function that has `dns_status status` and a label `out`: leave on failure. */
#define DNS_TRY(expression)    \
    do {                       \
        status = (expression); \
        if (status != DNS_OK)  \
            goto out;          \
    } while (0)

/* The same with a new error: DNS_FAIL(DNS_ERR_SHAPE, "%zu frames", n). */
#define DNS_FAIL(code, ...)                           \
    do {                                              \
        status = dns_status_set((code), __VA_ARGS__); \
        goto out;                                     \
    } while (0)

#ifdef __cplusplus
}
#endif

#endif
