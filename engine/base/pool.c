#define _GNU_SOURCE
#include "dnsel/pool.h"

#include <pthread.h>
#include <sched.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <omp.h>
#if defined(__SSE2__)
#include <immintrin.h>
#endif

#include "dnsel/memory.h"

struct dns_pool {
    size_t n_threads; /* the caller's included */
    pthread_t *threads;
    size_t n_started;
    pthread_mutex_t lock;
    pthread_cond_t work_ready, work_done;
    /* One run; all under `lock`. */
    uint64_t generation;
    bool stopping;
    dns_task task;
    void *payload;
    size_t n_tasks, next_task, n_busy;
    dns_status failed_code;
    size_t failed_task;
    char failed_text[1024];
};

struct worker {
    dns_pool *pool;
    size_t index;
};

void dns_pool_enter_worker(void)
{
#if defined(__SSE2__)
    _mm_setcsr(_mm_getcsr() |
               0x8040); /* FTZ | DAZ: one layer of denormals costs 60 times its normal time */
#endif
    omp_set_num_threads(1);
}

size_t dns_processor_count(void)
{
    cpu_set_t set;
    CPU_ZERO(&set);
    if (sched_getaffinity(0, sizeof set, &set) != 0)
        return 1;
    int n = CPU_COUNT(&set);
    return n < 1 ? 1 : (size_t)n;
}

/* Takes tasks until none is left. Called and left with the lock held. */
static void take_tasks(dns_pool *pool, size_t worker)
{
    while (pool->next_task < pool->n_tasks && pool->failed_code == DNS_OK) {
        size_t task = pool->next_task++;
        pool->n_busy++;
        pthread_mutex_unlock(&pool->lock);
        dns_status status = pool->task(pool->payload, task, worker);
        pthread_mutex_lock(&pool->lock);
        pool->n_busy--;
        if (status != DNS_OK && (pool->failed_code == DNS_OK || task < pool->failed_task)) {
            pool->failed_code = status;
            pool->failed_task = task;
            snprintf(pool->failed_text, sizeof pool->failed_text, "%s", dns_status_message());
        }
    }
}

static void *worker_main(void *argument)
{
    struct worker self = *(struct worker *)argument;
    dns_free(argument);
    dns_pool *pool = self.pool;
    dns_pool_enter_worker();
    pthread_mutex_lock(&pool->lock);
    uint64_t seen = 0;
    for (;;) {
        while (!pool->stopping && pool->generation == seen)
            pthread_cond_wait(&pool->work_ready, &pool->lock);
        if (pool->stopping)
            break;
        seen = pool->generation;
        take_tasks(pool, self.index);
        if (pool->n_busy == 0)
            pthread_cond_signal(&pool->work_done);
    }
    pthread_mutex_unlock(&pool->lock);
    return NULL;
}

static dns_status start_worker(dns_pool *pool, size_t index)
{
    struct worker *self;
    dns_status status = dns_alloc(&self, 1, sizeof *self);
    if (status != DNS_OK)
        return status;
    *self = (struct worker){pool, index};
    if (pthread_create(&pool->threads[index - 1], NULL, worker_main, self) != 0) {
        dns_free(self);
        return dns_status_set(DNS_ERR_NOMEM, "thread %zu of %zu could not be started", index,
                              pool->n_threads);
    }
    pool->n_started++;
    return DNS_OK;
}

dns_status dns_pool_create(dns_pool **out, size_t n_threads)
{
    dns_status status = DNS_OK;
    dns_pool *pool = NULL;
    *out = NULL;
    if (n_threads == 0)
        n_threads = dns_processor_count();
    DNS_TRY(dns_alloc(&pool, 1, sizeof *pool));
    pool->n_threads = n_threads;
    pthread_mutex_init(&pool->lock, NULL);
    pthread_cond_init(&pool->work_ready, NULL);
    pthread_cond_init(&pool->work_done, NULL);
    DNS_TRY(dns_alloc(&pool->threads, n_threads, sizeof *pool->threads));
    for (size_t i = 1; i < n_threads; i++)
        DNS_TRY(start_worker(pool, i));
    dns_pool_enter_worker();
    *out = pool;
    pool = NULL;
out:
    dns_pool_free(pool);
    return status;
}

void dns_pool_free(dns_pool *pool)
{
    if (pool == NULL)
        return;
    pthread_mutex_lock(&pool->lock);
    pool->stopping = true;
    pthread_cond_broadcast(&pool->work_ready);
    pthread_mutex_unlock(&pool->lock);
    for (size_t i = 0; i < pool->n_started; i++)
        pthread_join(pool->threads[i], NULL);
    pthread_mutex_destroy(&pool->lock);
    pthread_cond_destroy(&pool->work_ready);
    pthread_cond_destroy(&pool->work_done);
    dns_free(pool->threads);
    dns_free(pool);
}

size_t dns_pool_size(const dns_pool *pool)
{
    return pool == NULL ? 1 : pool->n_threads;
}

dns_status dns_pool_run(dns_pool *pool, size_t n_tasks, dns_task task, void *payload)
{
    if (pool == NULL || pool->n_threads == 1 || n_tasks <= 1) {
        for (size_t i = 0; i < n_tasks; i++) {
            dns_status status = task(payload, i, 0);
            if (status != DNS_OK)
                return status;
        }
        return DNS_OK;
    }
    pthread_mutex_lock(&pool->lock);
    pool->task = task;
    pool->payload = payload;
    pool->n_tasks = n_tasks;
    pool->next_task = 0;
    pool->failed_code = DNS_OK;
    pool->generation++;
    pthread_cond_broadcast(&pool->work_ready);
    take_tasks(pool, 0);
    while (pool->n_busy > 0)
        pthread_cond_wait(&pool->work_done, &pool->lock);
    pool->n_tasks = 0;
    dns_status status = pool->failed_code;
    if (status != DNS_OK)
        dns_status_set(status, "%s", pool->failed_text);
    pthread_mutex_unlock(&pool->lock);
    return status;
}
