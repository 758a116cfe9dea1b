/* KV blocks: sequences that fork, rewind and grow at random, beside plain arrays of what each position holds. */
#include "model/kv.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { BLOCK = 32, WINDOW = 70, SLACK = 50, LONGEST = 600, SEQUENCES = 6, HEADS = 2, DIM = 3 };

struct shadow {
    struct sg_kv kv;
    bool live;
    float stamps[LONGEST]; /* by position */
    int oldest_rewind;     /* the lowest position that the slack lets it go back to */
};

static unsigned state;

static int below(int n)
{
    state = state * 1664525u + 1013904223u;
    return (int)(state >> 8) % n;
}

static size_t count_free(const struct sg_kv_pool *pool)
{
    size_t n = 0;
    for (int class = 0; class < SG_KV_CLASSES; class ++)
        for (const struct sg_kv_block *block = pool->free[class]; block; block = block->next_free)
            n++;
    return n;
}

/* One number in every layer, head and dimension of a position: keys hold it, values its negative. */
static void visit(const struct shadow *shadow, int class, int position, bool write)
{
    const struct sg_kv_pool *pool = shadow->kv.pool;
    struct sg_kv_block *block = shadow->kv.blocks[class][position / BLOCK];
    float stamp = shadow->stamps[position];
    assert_non_null(block);
    for (int layer = 0; layer < pool->n_layers[class]; layer++)
        for (int head = 0; head < HEADS; head++)
            for (int d = 0; d < DIM; d++) {
                float *key = sg_kv_keys(pool, block, layer, head) + d * BLOCK + position % BLOCK;
                float *value = sg_kv_values(pool, block, layer, head) + position % BLOCK * DIM + d;
                if (write) {
                    *key = stamp + (float)d;
                    *value = -stamp - (float)(layer * HEADS + head);
                } else if (*key != stamp + (float)d || *value != -stamp - (float)(layer * HEADS + head)) {
                    fail_msg("position %d of %d, class %d: got key %g, expected %g", position, shadow->kv.n_positions,
                             class, (double)*key, (double)stamp + d);
                }
            }
}

/* What the next token may look at is there and as it was written. */
static void check_contents(const struct shadow *shadow)
{
    int n = shadow->kv.n_positions;
    for (int p = 0; p < n; p++)
        visit(shadow, SG_KV_FULL, p, false);
    for (int p = n - WINDOW + 1 > 0 ? n - WINDOW + 1 : 0; p < n; p++)
        visit(shadow, SG_KV_WINDOWED, p, false);
}

/* Every block has as many users as tables that hold it, and is in use or free. */
static void check_counts(const struct sg_kv_pool *pool, const struct shadow *all)
{
    size_t n_used = 0;
    for (int s = 0; s < SEQUENCES; s++)
        for (int class = 0; all[s].live && class < SG_KV_CLASSES; class ++)
            for (int b = 0; b < all[s].kv.capacity; b++) {
                const struct sg_kv_block *block = all[s].kv.blocks[class][b];
                int holders = 0;
                bool first = true;
                for (int t = 0; block && t < SEQUENCES; t++)
                    if (all[t].live && b < all[t].kv.capacity && all[t].kv.blocks[class][b] == block) {
                        holders++;
                        first = first && t >= s;
                    }
                if (!block)
                    continue;
                assert_int_equal(block->n_users, holders);
                n_used += first;
            }
    assert_int_equal(n_used + count_free(pool), pool->n_blocks);
}

static void grow(struct shadow *shadow, int n)
{
    struct sg_error err;
    if (shadow->kv.n_positions + n > LONGEST)
        return;
    assert_int_equal(sg_kv_reserve(&shadow->kv, n, &err), SG_OK);
    int first = shadow->kv.n_positions;
    for (int p = first; p < first + n; p++) {
        shadow->stamps[p] = (float)below(1 << 20);
        visit(shadow, SG_KV_FULL, p, true);
        visit(shadow, SG_KV_WINDOWED, p, true);
    }
    sg_kv_advance(&shadow->kv, n, SLACK);
    int back = first + n - SLACK;
    shadow->oldest_rewind = back > shadow->oldest_rewind ? back : shadow->oldest_rewind;
}

static void fork_to(struct shadow *to, const struct shadow *from, struct sg_kv_pool *pool)
{
    struct sg_error err;
    if (to->live)
        sg_kv_deinit(&to->kv);
    *to = (struct shadow){.live = true, .oldest_rewind = from->oldest_rewind};
    memcpy(to->stamps, from->stamps, sizeof to->stamps);
    assert_int_equal(sg_kv_init(&to->kv, pool, LONGEST, &err), SG_OK);
    assert_int_equal(sg_kv_fork(&to->kv, &from->kv, &err), SG_OK);
}

static void test_against_arrays(void **unused)
{
    (void)unused;
    static struct shadow all[SEQUENCES];
    struct sg_kv_pool pool;
    struct sg_error err;
    sg_kv_pool_init(&pool, 1, 2, HEADS, DIM, WINDOW);
    memset(all, 0, sizeof all);
    state = 7;
    for (int turn = 0; turn < 4000; turn++) {
        int s = below(SEQUENCES), other = below(SEQUENCES), what = below(16);
        struct shadow *shadow = &all[s];
        if (!shadow->live) {
            *shadow = (struct shadow){.live = true};
            assert_int_equal(sg_kv_init(&shadow->kv, &pool, LONGEST, &err), SG_OK);
        } else if (what == 0) {
            sg_kv_deinit(&shadow->kv);
            shadow->live = false;
        } else if (what < 4 && other != s) {
            fork_to(&all[other], shadow, &pool);
            check_contents(&all[other]);
        } else if (what < 8) {
            int least = shadow->oldest_rewind > 0 ? shadow->oldest_rewind : 0;
            if (least <= shadow->kv.n_positions) {
                int to = least + below(shadow->kv.n_positions - least + 1);
                assert_int_equal(sg_kv_rewind(&shadow->kv, to, &err), SG_OK);
                assert_int_equal(shadow->kv.n_positions, to);
            }
        } else {
            grow(shadow, 1 + below(what < 12 ? 3 : 80));
        }
        if (shadow->live)
            check_contents(shadow);
        if (turn % 16 == 0) {
            check_counts(&pool, all);
            for (int t = 0; t < SEQUENCES; t++)
                if (all[t].live)
                    check_contents(&all[t]);
        }
    }
    for (int s = 0; s < SEQUENCES; s++)
        if (all[s].live)
            sg_kv_deinit(&all[s].kv);
    assert_true(pool.n_blocks > 0);
    assert_int_equal(count_free(&pool), pool.n_blocks);
    sg_kv_pool_deinit(&pool);
}

/* A long sequence keeps no more of a windowed layer than the window and the slack. */
static void test_window_is_given_back(void **unused)
{
    (void)unused;
    struct sg_kv_pool pool;
    struct sg_kv kv;
    struct sg_error err;
    sg_kv_pool_init(&pool, 0, 1, 1, 1, 128);
    assert_int_equal(sg_kv_init(&kv, &pool, 100000, &err), SG_OK);
    for (int n = 0; n < 100000; n += 50) {
        assert_int_equal(sg_kv_reserve(&kv, 50, &err), SG_OK);
        sg_kv_advance(&kv, 50, 256);
    }
    assert_true(pool.n_blocks <= (128 + 256 + 50) / BLOCK + 2);
    assert_int_equal(sg_kv_rewind(&kv, 100000 - 256, &err), SG_OK);
    assert_int_equal(sg_kv_rewind(&kv, 100000 - 256 - 2 * BLOCK, &err), SG_EINVALID);
    assert_int_equal(kv.n_positions, 100000 - 256);
    sg_kv_deinit(&kv);
    assert_int_equal(count_free(&pool), pool.n_blocks);
    sg_kv_pool_deinit(&pool);
}

static void test_limits(void **unused)
{
    (void)unused;
    struct sg_kv_pool pool;
    struct sg_kv kv, small;
    struct sg_error err;
    sg_kv_pool_init(&pool, 1, 1, 1, 1, 128);
    assert_int_equal(sg_kv_init(&kv, &pool, 64, &err), SG_OK);
    assert_int_equal(sg_kv_reserve(&kv, 65, &err), SG_ELIMIT);
    assert_int_equal(pool.n_blocks, 0);
    assert_int_equal(sg_kv_reserve(&kv, 64, &err), SG_OK);
    sg_kv_advance(&kv, 64, 0);
    assert_int_equal(sg_kv_rewind(&kv, 65, &err), SG_EINVALID);
    assert_int_equal(sg_kv_rewind(&kv, -1, &err), SG_EINVALID);
    assert_int_equal(sg_kv_init(&small, &pool, 32, &err), SG_OK);
    assert_int_equal(sg_kv_fork(&small, &kv, &err), SG_ELIMIT);
    sg_kv_deinit(&small);
    sg_kv_deinit(&kv);
    assert_int_equal(count_free(&pool), pool.n_blocks);
    sg_kv_pool_deinit(&pool);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_against_arrays),
        cmocka_unit_test(test_window_is_given_back),
        cmocka_unit_test(test_limits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
