/*
 * Reports from a long run to its caller, a wish to stop the other way, and the clock.
 */
#ifndef DNSEL_PROGRESS_H
#define DNSEL_PROGRESS_H

#include <stdbool.h>
#include <stddef.h>

#include "dnsel/status.h"

/* C++17 knows atomic_bool by another name; the bytes are the same. */
#ifdef __cplusplus
#include <atomic>
typedef std::atomic<bool> dns_atomic_bool;
#define DNS_RELAXED std::memory_order_relaxed
#else
#include <stdatomic.h>
typedef atomic_bool dns_atomic_bool;
#define DNS_RELAXED memory_order_relaxed
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* Called at most about ten times a second, from one thread at a time, never concurrently. `total`
 * is 0 when unknown; `unit` is a plural noun ("videos"). */
typedef struct dns_progress {
    void *payload;
    void (*report)(void *payload, size_t done, size_t total, const char *unit);
} dns_progress;

/* Messages of a library that never prints. */
typedef enum dns_message_level {
    DNS_MESSAGE_ERROR,
    DNS_MESSAGE_WARNING,
    DNS_MESSAGE_INFO,
    DNS_MESSAGE_DEBUG
} dns_message_level;

typedef struct dns_logger {
    void *payload;
    void (*write)(void *payload, dns_message_level level, const char *line);
} dns_logger;

/* Set by a signal handler or another thread; looked at between units of work. NULL means never. */
typedef struct dns_cancel {
    dns_atomic_bool wanted;
} dns_cancel;

static inline bool dns_cancelled(dns_cancel *cancel)
{
    return cancel != NULL && atomic_load_explicit(&cancel->wanted, DNS_RELAXED);
}

/* Seconds of the monotonic clock. */
DNS_API double dns_seconds(void);

/* Processor seconds used by the calling thread. */
DNS_API double dns_thread_seconds(void);

/* Formats and hands a line to the logger; nothing happens when `logger` or its function is NULL. */
DNS_API void dns_logger_print(const dns_logger *logger, dns_message_level level, const char *format,
                              ...) DNS_PRINTF(3, 4);

#ifdef __cplusplus
}
#endif

#endif
