/* The governor: rates, order, deadlines and the bounded queue, with real time in small portions. Bounds on times are
 * wide, because the machine may be busy; what must not happen is checked exactly. */
#include "guard/governor.h"

#include <math.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <time.h>

#include <cmocka.h>

static struct sg_governor *create(double calls, double tokens, int in_flight, size_t max_waiting)
{
    struct sg_governor *governor;
    struct sg_error err;
    const struct sg_governor_options options = {calls, tokens, in_flight, max_waiting};
    assert_int_equal(sg_governor_create(&options, &governor, &err), SG_OK);
    return governor;
}

static void nap(double seconds)
{
    nanosleep(&(struct timespec){(time_t)seconds, (long)(1e9 * (seconds - floor(seconds)))}, NULL);
}

static void test_options(void **state)
{
    (void)state;
    struct sg_governor *governor;
    struct sg_error err;
    assert_int_equal(sg_governor_create(&(struct sg_governor_options){.calls_per_second = -1}, &governor, &err),
                     SG_EINVALID);
    assert_null(governor);
    assert_int_equal(sg_governor_create(&(struct sg_governor_options){.tokens_per_second = NAN}, &governor, &err),
                     SG_EINVALID);
    sg_governor_destroy(NULL);
}

/* At most rate × time + burst calls; unbounded ones do not wait. */
static void test_rate(void **state)
{
    (void)state;
    struct sg_governor *governor = create(0, 0, 1, 0);
    for (int i = 0; i < 1000; i++) {
        assert_int_equal(sg_governor_enter(governor, 1, false, INFINITY), SG_GRANT_GO);
        sg_governor_leave(governor, 10);
    }
    assert_false(sg_governor_has_bound(governor));
    sg_governor_destroy(governor);

    governor = create(50, 0, 1, 0);
    double started = sg_governor_now();
    for (int i = 0; i < 60; i++) { /* 50 of them saved up */
        assert_int_equal(sg_governor_enter(governor, 1, false, INFINITY), SG_GRANT_GO);
        sg_governor_leave(governor, 10);
    }
    assert_true(sg_governor_now() - started >= 0.19);
    assert_true(sg_governor_has_bound(governor));
    sg_governor_destroy(governor);
}

/* A call's tokens are known afterwards: the debt is waited for. */
static void test_tokens(void **state)
{
    (void)state;
    struct sg_governor *governor = create(0, 1000, 4, 0);
    assert_int_equal(sg_governor_enter(governor, 1, false, INFINITY), SG_GRANT_GO);
    sg_governor_leave(governor, 1200);
    double started = sg_governor_now();
    assert_int_equal(sg_governor_enter(governor, 1, false, INFINITY), SG_GRANT_GO);
    assert_true(sg_governor_now() - started >= 0.15);
    /* While it runs, another of the same size is expected of it. */
    assert_int_equal(sg_governor_enter(governor, 1, false, sg_governor_now() + 0.05), SG_GRANT_LATE);
    sg_governor_leave(governor, -1);
    sg_governor_destroy(governor);
}

static void test_deadline(void **state)
{
    (void)state;
    struct sg_governor *governor = create(1, 0, 1, 0);
    assert_int_equal(sg_governor_enter(governor, 1, false, INFINITY), SG_GRANT_GO);
    sg_governor_leave(governor, -1);
    /* Nobody waits for what the budget makes impossible. */
    double started = sg_governor_now();
    assert_int_equal(sg_governor_enter(governor, 1, false, started + 0.5), SG_GRANT_LATE);
    assert_true(sg_governor_now() - started < 0.4);
    assert_int_equal(sg_governor_enter(governor, 1, false, started - 1), SG_GRANT_LATE);
    assert_true(sg_governor_has_bound(governor));
    sg_governor_destroy(governor);
    /* Calls in flight end when they end: who waits for them waits until the deadline. */
    governor = create(0, 0, 1, 0);
    assert_int_equal(sg_governor_enter(governor, 1, false, INFINITY), SG_GRANT_GO);
    started = sg_governor_now();
    assert_int_equal(sg_governor_enter(governor, 1, false, started + 0.1), SG_GRANT_LATE);
    assert_true(sg_governor_now() - started >= 0.1);
    sg_governor_destroy(governor);
}

/* --- callers that wait ---------------------------------------------------------------------------------------- */

struct caller {
    struct sg_governor *governor;
    double weight;
    bool audit;
    enum sg_grant grant;
    int place; /* in the order of grants */
    pthread_t thread;
};

static atomic_int n_granted;

static void *call(void *context)
{
    struct caller *caller = context;
    caller->grant = sg_governor_enter(caller->governor, caller->weight, caller->audit, INFINITY);
    if (caller->grant == SG_GRANT_GO) {
        caller->place = atomic_fetch_add(&n_granted, 1);
        sg_governor_leave(caller->governor, 1);
    }
    return NULL;
}

/* Start callers one after the other while the only place is taken, so that all of them wait. */
static void start(struct sg_governor *governor, struct caller *callers, size_t n)
{
    atomic_store(&n_granted, 0);
    for (size_t i = 0; i < n; i++) {
        callers[i].governor = governor;
        assert_int_equal(pthread_create(&callers[i].thread, NULL, call, &callers[i]), 0);
        nap(0.05);
    }
}

static void finish(struct caller *callers, size_t n)
{
    for (size_t i = 0; i < n; i++)
        pthread_join(callers[i].thread, NULL);
}

static void test_order(void **state)
{
    (void)state;
    struct sg_governor *governor = create(0, 0, 1, 0);
    struct caller callers[] = {{.weight = 0.2}, {.weight = 0.9}, {.weight = 0.5}, {.weight = 0.9}};
    assert_int_equal(sg_governor_enter(governor, 1, false, INFINITY), SG_GRANT_GO);
    start(governor, callers, 4);
    sg_governor_leave(governor, 1);
    finish(callers, 4);
    static const int places[] = {3, 0, 2, 1}; /* of equals the first to come */
    for (int i = 0; i < 4; i++) {
        assert_int_equal(callers[i].grant, SG_GRANT_GO);
        assert_int_equal(callers[i].place, places[i]);
    }
    sg_governor_destroy(governor);
}

/* An audit has a low weight nearly always; it goes all the same while audits have had less than their part. */
static void test_audit(void **state)
{
    (void)state;
    struct sg_governor *governor = create(0, 0, 1, 0);
    struct caller callers[] = {
        {.weight = 0.9}, {.weight = 0.1, .audit = true}, {.weight = 0.8}, {.weight = 0.05, .audit = true}};
    assert_int_equal(sg_governor_enter(governor, 1, false, INFINITY), SG_GRANT_GO);
    start(governor, callers, 4);
    sg_governor_leave(governor, 1);
    finish(callers, 4);
    static const int places[] = {1, 0, 2, 3}; /* one audit is more than a twentieth of four: the other waits */
    for (int i = 0; i < 4; i++)
        assert_int_equal(callers[i].place, places[i]);
    sg_governor_destroy(governor);
}

static void test_full(void **state)
{
    (void)state;
    struct sg_governor *governor = create(0, 0, 1, 2);
    struct caller callers[] = {{.weight = 0.3}, {.weight = 0.1, .audit = true}, {.weight = 0.2}, {.weight = 0.7}};
    assert_int_equal(sg_governor_enter(governor, 1, false, INFINITY), SG_GRANT_GO);
    start(governor, callers, 4);
    sg_governor_leave(governor, 1);
    finish(callers, 4);
    assert_int_equal(callers[2].grant, SG_GRANT_DISPLACED); /* lighter than all who wait: not even let in */
    assert_int_equal(callers[0].grant, SG_GRANT_DISPLACED); /* by the last one; the audit is not touched */
    assert_int_equal(callers[1].grant, SG_GRANT_GO);
    assert_int_equal(callers[3].grant, SG_GRANT_GO);
    sg_governor_destroy(governor);
}

static void test_cancel(void **state)
{
    (void)state;
    struct sg_governor *governor = create(0, 0, 1, 0);
    struct caller callers[] = {{.weight = 0.3}, {.weight = 0.1}};
    assert_int_equal(sg_governor_enter(governor, 1, false, INFINITY), SG_GRANT_GO);
    start(governor, callers, 2);
    sg_governor_cancel(governor);
    finish(callers, 2);
    for (int i = 0; i < 2; i++)
        assert_int_equal(callers[i].grant, SG_GRANT_CANCELLED);
    sg_governor_leave(governor, 1);
    sg_governor_destroy(governor);
}

/* Never more in flight than allowed, and everybody is served. */
struct crowd {
    struct sg_governor *governor;
    atomic_int running, highest, served;
};

static void *visit(void *context)
{
    struct crowd *crowd = context;
    for (int i = 0; i < 200; i++) {
        if (sg_governor_enter(crowd->governor, i % 7, i % 5 == 0, INFINITY) != SG_GRANT_GO)
            continue;
        int running = atomic_fetch_add(&crowd->running, 1) + 1, highest = atomic_load(&crowd->highest);
        while (running > highest && !atomic_compare_exchange_weak(&crowd->highest, &highest, running))
            ;
        atomic_fetch_add(&crowd->served, 1);
        atomic_fetch_sub(&crowd->running, 1);
        sg_governor_leave(crowd->governor, 5);
    }
    return NULL;
}

static void test_crowd(void **state)
{
    (void)state;
    struct crowd crowd = {.governor = create(0, 0, 3, 0)};
    pthread_t threads[12];
    for (int i = 0; i < 12; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, visit, &crowd), 0);
    for (int i = 0; i < 12; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(atomic_load(&crowd.served), 12 * 200);
    assert_true(atomic_load(&crowd.highest) <= 3);
    sg_governor_destroy(crowd.governor);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_options),  cmocka_unit_test(test_rate),   cmocka_unit_test(test_tokens),
        cmocka_unit_test(test_deadline), cmocka_unit_test(test_order),  cmocka_unit_test(test_audit),
        cmocka_unit_test(test_full),     cmocka_unit_test(test_cancel), cmocka_unit_test(test_crowd),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
