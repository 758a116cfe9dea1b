#include "guard/governor.h"

#include <math.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <time.h>

#define BURST_SECONDS 1.0 /* of work that an idle governor saves up; at least one call */
#define POLL_SECONDS 0.1  /* within which a cancel is seen: it may come from a signal handler, which wakes nobody */
#define MEAN_WEIGHT 0.05  /* of the newest call in the running mean of tokens */
#define AUDIT_PART 0.05   /* of the grants that waiting audits get, whatever their weight */
#define DEFAULT_WAITING 256

/* What refills with time. A call's tokens are known only afterwards, so the level may fall below 0. */
struct bucket {
    double rate, level; /* rate 0: no bound */
};

struct waiter {
    double weight;
    uint64_t arrival;
    bool audit, settled;
    enum sg_grant grant;
    pthread_cond_t wake;
};

struct sg_governor {
    pthread_mutex_t mutex;
    struct bucket calls, tokens;
    double refilled; /* when */
    int in_flight, n_running;
    double mean_tokens; /* of a call so far; 0 before the first */
    struct waiter **queue;
    size_t n_waiting, max_waiting;
    uint64_t arrivals, grants, audit_grants; /* grants: since callers had to wait */
    bool has_bound;
    atomic_bool cancelled;
};

double sg_governor_now(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

static double room_of(const struct bucket *bucket)
{
    return fmax(1, bucket->rate * BURST_SECONDS);
}

enum sg_status sg_governor_create(const struct sg_governor_options *options, struct sg_governor **governor_out,
                                  struct sg_error *err)
{
    *governor_out = NULL;
    if (!(options->calls_per_second >= 0) || !(options->tokens_per_second >= 0))
        return sg_fail(err, SG_EINVALID, "reasoner budget: got %g calls and %g tokens per second, expected 0 or more",
                       options->calls_per_second, options->tokens_per_second);
    struct sg_governor *governor = calloc(1, sizeof *governor);
    size_t max_waiting = options->max_waiting > 0 ? options->max_waiting : DEFAULT_WAITING;
    if (governor)
        governor->queue = calloc(max_waiting, sizeof(struct waiter *));
    if (!governor || !governor->queue || pthread_mutex_init(&governor->mutex, NULL) != 0) {
        if (governor)
            free(governor->queue);
        free(governor);
        return sg_fail(err, SG_ENOMEM, "governor: out of memory");
    }
    governor->calls.rate = options->calls_per_second;
    governor->tokens.rate = options->tokens_per_second;
    governor->calls.level = room_of(&governor->calls);
    governor->tokens.level = room_of(&governor->tokens);
    governor->in_flight = options->in_flight > 0 ? options->in_flight : 1;
    governor->max_waiting = max_waiting;
    governor->refilled = sg_governor_now();
    atomic_init(&governor->cancelled, false);
    *governor_out = governor;
    return SG_OK;
}

void sg_governor_destroy(struct sg_governor *governor)
{
    if (!governor)
        return;
    pthread_mutex_destroy(&governor->mutex);
    free(governor->queue);
    free(governor);
}

/* --- buckets; the mutex is held from here on ---------------------------------------------------------------- */

static void refill(struct sg_governor *governor, double now)
{
    double passed = fmax(0, now - governor->refilled);
    struct bucket *const buckets[] = {&governor->calls, &governor->tokens};
    for (int i = 0; i < 2; i++)
        buckets[i]->level = fmin(room_of(buckets[i]), buckets[i]->level + passed * buckets[i]->rate);
    governor->refilled = now;
}

/* Tokens that may still be promised: those of running calls are expected to be the mean. */
static double free_tokens(const struct sg_governor *governor)
{
    return governor->tokens.level - governor->n_running * governor->mean_tokens;
}

static bool budget_left(const struct sg_governor *governor)
{
    return (governor->calls.rate <= 0 || governor->calls.level >= 1) &&
           (governor->tokens.rate <= 0 || free_tokens(governor) > 0);
}

/* Seconds until the budget allows a call. */
static double until_budget(const struct sg_governor *governor)
{
    double wait = 0;
    if (governor->calls.rate > 0)
        wait = fmax(wait, (1 - governor->calls.level) / governor->calls.rate);
    if (governor->tokens.rate > 0)
        wait = fmax(wait, -free_tokens(governor) / governor->tokens.rate);
    return wait;
}

/* --- the queue ---------------------------------------------------------------------------------------------- */

static bool goes_before(const struct waiter *a, const struct waiter *b)
{
    return a->weight > b->weight || (a->weight == b->weight && a->arrival < b->arrival);
}

static void settle(struct sg_governor *governor, size_t i, enum sg_grant grant)
{
    struct waiter *waiter = governor->queue[i];
    waiter->grant = grant;
    waiter->settled = true;
    governor->queue[i] = governor->queue[--governor->n_waiting];
    pthread_cond_signal(&waiter->wake);
    if (i == 0 && governor->n_waiting > 0)
        pthread_cond_signal(&governor->queue[0]->wake); /* keeps the time for all now */
}

static size_t place_of(const struct sg_governor *governor, const struct waiter *waiter)
{
    size_t i = 0;
    while (governor->queue[i] != waiter)
        i++;
    return i;
}

/* Who goes next: an audit while audits have had less than their part, else the weightiest. */
static size_t next_waiter(const struct sg_governor *governor)
{
    bool audits_first = (double)governor->audit_grants < AUDIT_PART * (double)(governor->grants + 1);
    size_t best = 0;
    for (size_t i = 1; i < governor->n_waiting; i++) {
        const struct waiter *a = governor->queue[i], *b = governor->queue[best];
        if (audits_first && a->audit != b->audit ? a->audit : goes_before(a, b))
            best = i;
    }
    return best;
}

/* Grant what can be granted now. */
static void serve(struct sg_governor *governor, double now)
{
    refill(governor, now);
    while (governor->n_waiting > 0 && atomic_load(&governor->cancelled))
        settle(governor, 0, SG_GRANT_CANCELLED);
    while (governor->n_waiting > 0 && governor->n_running < governor->in_flight && budget_left(governor)) {
        size_t i = next_waiter(governor);
        governor->grants++;
        governor->audit_grants += governor->queue[i]->audit;
        governor->calls.level -= governor->calls.rate > 0;
        governor->n_running++;
        settle(governor, i, SG_GRANT_GO);
    }
}

/* The budget alone says that a caller behind `ahead` others cannot go before the deadline. */
static bool hopeless(const struct sg_governor *governor, size_t ahead, double now, double deadline)
{
    double needed = (double)ahead + 1 - governor->calls.level;
    return governor->calls.rate > 0 && needed > 0 && now + needed / governor->calls.rate > deadline;
}

/* Room in a full queue: the lightest of those who are no audit goes, if it is lighter than the newcomer. */
static bool displace(struct sg_governor *governor, const struct waiter *newcomer)
{
    size_t lightest = governor->n_waiting;
    for (size_t i = 0; i < governor->n_waiting; i++) {
        if (!governor->queue[i]->audit &&
            (lightest == governor->n_waiting || goes_before(governor->queue[lightest], governor->queue[i])))
            lightest = i;
    }
    if (lightest == governor->n_waiting || !(newcomer->audit || goes_before(newcomer, governor->queue[lightest])))
        return false;
    settle(governor, lightest, SG_GRANT_DISPLACED);
    return true;
}

static enum sg_grant join(struct sg_governor *governor, struct waiter *waiter, double now, double deadline)
{
    size_t ahead = 0;
    for (size_t i = 0; i < governor->n_waiting; i++)
        ahead += goes_before(governor->queue[i], waiter);
    if (now >= deadline || hopeless(governor, ahead, now, deadline)) {
        governor->has_bound = governor->has_bound || now < deadline;
        return SG_GRANT_LATE;
    }
    if (governor->n_waiting == governor->max_waiting && !displace(governor, waiter))
        return SG_GRANT_DISPLACED;
    governor->queue[governor->n_waiting++] = waiter;
    return SG_GRANT_GO;
}

static void wait_until(struct sg_governor *governor, struct waiter *waiter, double time)
{
    double whole = floor(time);
    struct timespec until = {(time_t)whole, (long)(1e9 * (time - whole))};
    pthread_cond_timedwait(&waiter->wake, &governor->mutex, &until);
}

enum sg_grant sg_governor_enter(struct sg_governor *governor, double weight, bool audit, double deadline)
{
    struct waiter waiter = {.weight = isnan(weight) ? INFINITY : weight, .audit = audit};
    pthread_condattr_t attributes;
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&waiter.wake, &attributes);
    pthread_condattr_destroy(&attributes);

    pthread_mutex_lock(&governor->mutex);
    double now = sg_governor_now();
    refill(governor, now);
    waiter.arrival = governor->arrivals++;
    waiter.grant = join(governor, &waiter, now, deadline);
    if (waiter.grant == SG_GRANT_GO)
        serve(governor, now);
    else
        waiter.settled = true;
    while (!waiter.settled) {
        governor->has_bound = governor->has_bound || !budget_left(governor);
        /* The first in the queue keeps the time for all; the others are woken. */
        bool keeps_time = governor->queue[0] == &waiter;
        double wait = keeps_time ? fmin(POLL_SECONDS, fmax(1e-4, until_budget(governor))) : 3600;
        if (keeps_time && budget_left(governor)) /* only the checks in flight are in the way: woken by a leave */
            wait = POLL_SECONDS;
        wait_until(governor, &waiter, fmin(deadline, now + wait));
        now = sg_governor_now();
        if (!waiter.settled)
            serve(governor, now);
        if (!waiter.settled && now >= deadline)
            settle(governor, place_of(governor, &waiter), SG_GRANT_LATE);
    }
    pthread_mutex_unlock(&governor->mutex);
    pthread_cond_destroy(&waiter.wake);
    return waiter.grant;
}

void sg_governor_leave(struct sg_governor *governor, int64_t tokens)
{
    pthread_mutex_lock(&governor->mutex);
    double now = sg_governor_now(), taken = tokens >= 0 ? (double)tokens : governor->mean_tokens;
    refill(governor, now);
    governor->mean_tokens =
        governor->mean_tokens > 0 ? governor->mean_tokens + MEAN_WEIGHT * (taken - governor->mean_tokens) : taken;
    governor->n_running--;
    if (governor->tokens.rate > 0)
        governor->tokens.level -= taken;
    serve(governor, now);
    pthread_mutex_unlock(&governor->mutex);
}

bool sg_governor_has_bound(struct sg_governor *governor)
{
    pthread_mutex_lock(&governor->mutex);
    bool bound = governor->has_bound;
    pthread_mutex_unlock(&governor->mutex);
    return bound;
}

void sg_governor_cancel(struct sg_governor *governor)
{
    atomic_store(&governor->cancelled, true);
}
