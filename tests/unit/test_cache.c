/* The verdict cache: what is kept, what goes first, and that copies are copies. */
#include "guard/cache.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

static void key_of(int i, char key[SG_SHA256_HEX])
{
    char text[16];
    int len = snprintf(text, sizeof text, "%d", i);
    sg_sha256(text, (size_t)len, key);
}

static bool put(struct sg_cache *cache, int i, size_t reasoning)
{
    struct sg_verdict verdict;
    char key[SG_SHA256_HEX];
    sg_verdict_init(&verdict);
    verdict.decision = i % 2 ? SG_VIOLATES : SG_DOES_NOT_VIOLATE;
    verdict.reasoning = malloc(reasoning + 1);
    memset(verdict.reasoning, 'a' + i % 26, reasoning);
    verdict.reasoning[reasoning] = '\0';
    key_of(i, key);
    bool kept = sg_cache_put(cache, key, &verdict);
    sg_verdict_deinit(&verdict);
    return kept;
}

/* cmocka's asserts may not be called from other threads: they count here what is wrong. */
static atomic_int n_wrong;

static bool has(struct sg_cache *cache, int i)
{
    struct sg_verdict verdict;
    char key[SG_SHA256_HEX];
    key_of(i, key);
    if (!sg_cache_get(cache, key, &verdict))
        return false;
    n_wrong += verdict.decision != (i % 2 ? SG_VIOLATES : SG_DOES_NOT_VIOLATE);
    n_wrong += verdict.reasoning[0] != 'a' + i % 26;
    sg_verdict_deinit(&verdict);
    return true;
}

static struct sg_cache *create(size_t bytes)
{
    struct sg_cache *cache;
    struct sg_error err;
    assert_int_equal(sg_cache_create(bytes, &cache, &err), SG_OK);
    return cache;
}

static void test_keeps(void **state)
{
    (void)state;
    struct sg_cache *cache = create(1 << 20);
    struct sg_cache_counts counts;
    assert_false(has(cache, 1));
    assert_true(put(cache, 1, 100));
    assert_true(put(cache, 2, 100));
    assert_true(put(cache, 1, 200)); /* replaces */
    assert_true(has(cache, 1) && has(cache, 2) && !has(cache, 3));
    sg_cache_counts(cache, &counts);
    assert_true(counts.hits == 2 && counts.misses == 2 && counts.entries == 2 && counts.evicted == 0);
    assert_true(counts.bytes > 300 + 2 * sizeof(struct sg_verdict));
    sg_cache_destroy(cache);
    sg_cache_destroy(NULL);
}

/* The least recently used goes; the bound holds at every moment. */
static void test_evicts(void **state)
{
    (void)state;
    enum { BYTES = 200000 };
    struct sg_cache *cache = create(BYTES);
    struct sg_cache_counts counts;
    for (int i = 0; i < 1000; i++) {
        assert_true(put(cache, i, 500));
        assert_true(has(cache, 0)); /* used all the time, so it stays */
        sg_cache_counts(cache, &counts);
        assert_true(counts.bytes <= BYTES);
    }
    assert_true(counts.evicted > 0 && counts.entries + counts.evicted == 1000);
    assert_true(has(cache, 999) && !has(cache, 1));
    int oldest = 1000 - (int)counts.entries + 1; /* beside 0, the newest ones are there and no others */
    assert_true(has(cache, oldest) && !has(cache, oldest - 1));
    sg_cache_destroy(cache);
}

static void test_refuses(void **state)
{
    (void)state;
    struct sg_cache *cache = create(100000);
    struct sg_verdict verdict;
    char key[SG_SHA256_HEX];
    key_of(1, key);
    sg_verdict_init(&verdict);
    assert_false(sg_cache_put(cache, key, &verdict)); /* undecided */
    verdict.decision = SG_VIOLATES;
    verdict.provisional = true;
    assert_false(sg_cache_put(cache, key, &verdict));
    assert_false(put(cache, 1, 100000 / 16)); /* would push out too many others */
    assert_false(has(cache, 1));
    sg_cache_destroy(cache);
}

static void *hammer(void *context)
{
    for (int i = 0; i < 2000; i++) {
        int n = i * 7 % 97;
        if (!has(context, n))
            put(context, n, 300);
    }
    return NULL;
}

static void test_threads(void **state)
{
    (void)state;
    struct sg_cache *cache = create(60000);
    pthread_t threads[4];
    struct sg_cache_counts counts;
    for (int i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, hammer, cache), 0);
    for (int i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    sg_cache_counts(cache, &counts);
    assert_int_equal(atomic_load(&n_wrong), 0); /* of all tests: this is the last */
    assert_int_equal(counts.hits + counts.misses, 8000);
    assert_true(counts.bytes <= 60000);
    sg_cache_destroy(cache);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_keeps),
        cmocka_unit_test(test_evicts),
        cmocka_unit_test(test_refuses),
        cmocka_unit_test(test_threads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
