#include "base/pool.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define MAX_THREADS 256
#define SPIN_NS 100000 /* longer than the gaps inside a decoding step, far shorter than one between requests */

struct worker {
    struct sg_pool *pool;
    int index;
    pthread_t thread;
};

struct sg_pool {
    int n_threads;
    sg_pool_fn fn;
    void *context;
    int n_items;
    _Alignas(64) atomic_int next;     /* next item to hand out */
    _Alignas(64) atomic_int busy;     /* workers that have not finished the current loop */
    _Alignas(64) atomic_uint loop;    /* counts loops; workers wait for a change */
    atomic_bool stop;
    pthread_mutex_t mutex;
    pthread_cond_t wake;
    int n_asleep; /* under mutex */
    struct worker *workers;
};

static void relax(void)
{
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

static int64_t now_ns(void)
{
    struct timespec at;
    clock_gettime(CLOCK_MONOTONIC, &at);
    return (int64_t)at.tv_sec * 1000000000 + at.tv_nsec;
}

static void take_items(struct sg_pool *pool, int thread)
{
    for (;;) {
        int item = atomic_fetch_add_explicit(&pool->next, 1, memory_order_relaxed);
        if (item >= pool->n_items)
            return;
        pool->fn(pool->context, item, thread);
    }
}

/* Spin, then sleep, until the loop counter moves on from `seen`. */
static unsigned wait_for_loop(struct sg_pool *pool, unsigned seen)
{
    int64_t until = now_ns() + SPIN_NS;
    for (int i = 0;; i++) {
        unsigned loop = atomic_load_explicit(&pool->loop, memory_order_acquire);
        if (loop != seen)
            return loop;
        relax();
        if (i % 64 == 63 && now_ns() > until)
            break;
    }
    pthread_mutex_lock(&pool->mutex);
    pool->n_asleep++;
    while (atomic_load_explicit(&pool->loop, memory_order_acquire) == seen)
        pthread_cond_wait(&pool->wake, &pool->mutex);
    pool->n_asleep--;
    pthread_mutex_unlock(&pool->mutex);
    return atomic_load_explicit(&pool->loop, memory_order_acquire);
}

static void *work(void *argument)
{
    struct worker *self = argument;
    struct sg_pool *pool = self->pool;
    unsigned seen = 0;
    for (;;) {
        seen = wait_for_loop(pool, seen);
        if (atomic_load(&pool->stop))
            return NULL;
        take_items(pool, self->index);
        atomic_fetch_sub_explicit(&pool->busy, 1, memory_order_release);
    }
}

static void start_loop(struct sg_pool *pool)
{
    pthread_mutex_lock(&pool->mutex);
    atomic_fetch_add_explicit(&pool->loop, 1, memory_order_release);
    if (pool->n_asleep)
        pthread_cond_broadcast(&pool->wake);
    pthread_mutex_unlock(&pool->mutex);
}

void sg_pool_run(struct sg_pool *pool, sg_pool_fn fn, void *context, int n_items)
{
    if (n_items <= 0)
        return;
    if (pool->n_threads == 1 || n_items == 1) {
        for (int i = 0; i < n_items; i++)
            fn(context, i, 0);
        return;
    }
    pool->fn = fn;
    pool->context = context;
    pool->n_items = n_items;
    atomic_store_explicit(&pool->next, 0, memory_order_relaxed);
    atomic_store_explicit(&pool->busy, pool->n_threads - 1, memory_order_relaxed);
    start_loop(pool);
    take_items(pool, 0);
    for (int i = 0; atomic_load_explicit(&pool->busy, memory_order_acquire) > 0; i++) {
        relax();
        if (i % 1024 == 1023)
            sched_yield(); /* more threads than cores: let the last worker finish */
    }
}

static int usable_processors(void)
{
#ifdef __linux__
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof set, &set) == 0)
        return CPU_COUNT(&set);
#endif
    return 1;
}

enum sg_status sg_pool_create(int threads, struct sg_pool **pool_out, struct sg_error *err)
{
    *pool_out = NULL;
    if (threads < 0 || threads > MAX_THREADS)
        return sg_fail(err, SG_EINVALID, "threads: got %d, expected 0 to %d", threads, MAX_THREADS);
    struct sg_pool *pool = aligned_alloc(64, (sizeof *pool + 63) / 64 * 64);
    if (!pool)
        return sg_fail(err, SG_ENOMEM, "out of memory for the thread pool");
    memset(pool, 0, sizeof *pool);
    pool->n_threads = 1;
    pthread_mutex_init(&pool->mutex, NULL);
    pthread_cond_init(&pool->wake, NULL);
    if (threads == 0)
        threads = usable_processors();
    pool->workers = calloc((size_t)threads, sizeof *pool->workers);
    if (!pool->workers) {
        sg_pool_destroy(pool);
        return sg_fail(err, SG_ENOMEM, "out of memory for %d threads", threads);
    }
    for (int i = 1; i < threads; i++) {
        pool->workers[i] = (struct worker){pool, i, 0};
        int failed = pthread_create(&pool->workers[i].thread, NULL, work, &pool->workers[i]);
        if (failed) {
            sg_pool_destroy(pool);
            return sg_fail(err, SG_EIO, "cannot start thread %d of %d: %s", i, threads, strerror(failed));
        }
        pool->n_threads = i + 1;
    }
    *pool_out = pool;
    return SG_OK;
}

void sg_pool_destroy(struct sg_pool *pool)
{
    if (!pool)
        return;
    atomic_store(&pool->stop, true);
    start_loop(pool);
    for (int i = 1; i < pool->n_threads; i++)
        pthread_join(pool->workers[i].thread, NULL);
    pthread_cond_destroy(&pool->wake);
    pthread_mutex_destroy(&pool->mutex);
    free(pool->workers);
    free(pool);
}

int sg_pool_threads(const struct sg_pool *pool)
{
    return pool->n_threads;
}
