/*
 * A pool of threads that the caller owns and passes in. Work is split by output, never inside a
 * sum, so that results are equal for any number of threads.
 */
#ifndef DNSEL_POOL_H
#define DNSEL_POOL_H

#include <stddef.h>

#include "dnsel/status.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct dns_pool dns_pool;

/* One task: `task` counts from 0; `worker` is below dns_pool_size and is never in two tasks at
 * once, so it may index scratch memory. */
typedef dns_status (*dns_task)(void *payload, size_t task, size_t worker);

/* *out = a pool of `n_threads` (0: one a processor that this process may use), the calling thread
 * included. Every worker flushes denormals to zero and keeps third-party libraries (OpenMP, BLAS)
 * to one thread. */
DNS_API DNS_MUST_CHECK dns_status dns_pool_create(dns_pool **out, size_t n_threads);

/* Waits for nothing: no run may be under way. NULL is fine. */
DNS_API void dns_pool_free(dns_pool *pool);

/* Number of threads; 1 for NULL. */
DNS_API size_t dns_pool_size(const dns_pool *pool);

/* Runs `task` for 0 .. n_tasks-1 and waits for all of them; a NULL pool runs them in order on the
 * calling thread. After a failure no new tasks are started; the code and text of the failed task
 * with the lowest number are returned on the calling thread. One run at a time per pool; not to be
 * called from within a task of the same pool. */
DNS_API DNS_MUST_CHECK dns_status dns_pool_run(dns_pool *pool, size_t n_tasks, dns_task task,
                                               void *payload);

/* Sets the calling thread up as a worker: denormals flushed to zero, one OpenMP thread. For threads
 * that the caller made. */
DNS_API void dns_pool_enter_worker(void);

/* Number of processors that this process may run on, at least 1. */
DNS_API size_t dns_processor_count(void);

#ifdef __cplusplus
}
#endif

#endif
