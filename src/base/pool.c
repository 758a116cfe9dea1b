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

/* One loop at a time. `remaining` alone says whether there is work: taking it down by one from above zero claims the
 * item of that number, and publishes fn and context with it. The loop is over when `done` items were finished, so the
 * caller never waits for a worker that sleeps or was put aside by the kernel: it does the work itself. */
struct sg_pool {
    int n_threads;
    sg_pool_fn fn;
    void *context;
    _Alignas(64) atomic_int remaining;
    _Alignas(64) atomic_int done;
    _Alignas(64) atomic_uint loop; /* counts loops; sleepers wait for a change */
    atomic_bool stop;
    pthread_mutex_t mutex;
    pthread_cond_t wake;
    atomic_int n_asleep;
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
    while (atomic_load_explicit(&pool->remaining, memory_order_relaxed) > 0) {
        int item = atomic_fetch_sub_explicit(&pool->remaining, 1, memory_order_acquire) - 1;
        if (item < 0)
            return;
        pool->fn(pool->context, item, thread);
        atomic_fetch_add_explicit(&pool->done, 1, memory_order_release);
    }
}

/* Spin for a while for work, then sleep until a loop starts that was not there when the spinning began. */
static void wait_for_work(struct sg_pool *pool)
{
    unsigned seen = atomic_load(&pool->loop);
    int64_t until = now_ns() + SPIN_NS;
    for (int i = 0;; i++) {
        if (atomic_load_explicit(&pool->remaining, memory_order_relaxed) > 0 || atomic_load(&pool->stop))
            return;
        relax();
        if (i % 64 == 63 && now_ns() > until)
            break;
    }
    pthread_mutex_lock(&pool->mutex);
    atomic_fetch_add(&pool->n_asleep, 1);
    while (atomic_load(&pool->loop) == seen && !atomic_load(&pool->stop))
        pthread_cond_wait(&pool->wake, &pool->mutex);
    atomic_fetch_sub(&pool->n_asleep, 1);
    pthread_mutex_unlock(&pool->mutex);
}

static void *work(void *argument)
{
    struct worker *self = argument;
    while (!atomic_load(&self->pool->stop)) {
        take_items(self->pool, self->index);
        wait_for_work(self->pool);
    }
    return NULL;
}

static void wake_sleepers(struct sg_pool *pool)
{
    pthread_mutex_lock(&pool->mutex);
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
    atomic_store_explicit(&pool->done, 0, memory_order_relaxed);
    atomic_store_explicit(&pool->remaining, n_items, memory_order_release);
    atomic_fetch_add(&pool->loop, 1);
    if (atomic_load(&pool->n_asleep))
        wake_sleepers(pool);
    take_items(pool, 0);
    for (int i = 0; atomic_load_explicit(&pool->done, memory_order_acquire) < n_items; i++) {
        relax();
        if (i % 64 == 63)
            sched_yield(); /* a worker in the middle of an item may wait for this very core */
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
    wake_sleepers(pool);
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
