/* Drawing rows with known probabilities. */
#include "guard/draw.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#define N 40

static void make_weights(double weights[N], uint64_t keys[N])
{
    for (int i = 0; i < N; i++) {
        weights[i] = exp(-i / 5.0);
        keys[i] = sg_draw_mix(7, (uint64_t)i);
    }
}

static double sum_of(const double *p, size_t n)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += p[i];
    return sum;
}

static void probabilities_add_up(void **state)
{
    (void)state;
    double weights[N], p[N];
    uint64_t keys[N];
    make_weights(weights, keys);
    for (size_t size = 1; size < N; size++) {
        double floor = 0.1 * (double)size / N;
        sg_draw_probabilities(weights, N, size, floor, 1, p);
        assert_true(fabs(sum_of(p, N) - (double)size) < 1e-6);
        for (int i = 0; i < N; i++) {
            assert_true(p[i] >= floor - 1e-12 && p[i] <= 1);
            if (i > 0)
                assert_true(p[i] <= p[i - 1] + 1e-12);
        }
    }
}

static void weights_of_zero_get_the_rest(void **state)
{
    (void)state;
    double weights[N] = {1, 1, 1}, p[N];
    sg_draw_probabilities(weights, N, 10, 0.01, 1, p);
    assert_true(fabs(sum_of(p, N) - 10) < 1e-6);
    assert_true(p[0] > 0.999 && p[3] > 0.18 && fabs(p[3] - p[N - 1]) < 1e-12);
}

static void few_rows_are_all_drawn(void **state)
{
    (void)state;
    double weights[3] = {1, 2, 0}, p[3];
    uint64_t keys[3] = {1, 2, 3};
    size_t chosen[4], n;
    sg_draw_probabilities(weights, 3, 3, 0.1, 1, p);
    assert_true(sg_draw(p, keys, 3, 3, 1, chosen, &n, NULL) == SG_OK);
    assert_int_equal(n, 3);
    assert_true(p[0] == 1 && p[1] == 1 && p[2] == 1);
}

/* The promise: row i is in the sample with probability p[i], over seeds. 20,000 draws; 5 standard deviations. */
static void rows_come_as_often_as_they_should(void **state)
{
    (void)state;
    enum { DRAWS = 20000, SIZE = 9 };
    double weights[N], p[N];
    uint64_t keys[N];
    size_t chosen[SIZE + 1], n, counts[N] = {0};
    make_weights(weights, keys);
    sg_draw_probabilities(weights, N, SIZE, 0.02, 0.9, p);
    assert_true(p[0] == 0.9);
    for (uint64_t seed = 0; seed < DRAWS; seed++) {
        assert_true(sg_draw(p, keys, N, SIZE, seed, chosen, &n, NULL) == SG_OK);
        assert_true(n >= SIZE - 1 && n <= SIZE + 1);
        for (size_t i = 0; i < n; i++)
            counts[chosen[i]]++;
    }
    for (int i = 0; i < N; i++) {
        double expected = p[i] * DRAWS;
        assert_true(fabs((double)counts[i] - expected) <= 5 * sqrt(expected * (1 - p[i]) + 1) + 1e-6 * DRAWS);
    }
}

static void draws_repeat(void **state)
{
    (void)state;
    double weights[N], p[N];
    uint64_t keys[N];
    size_t a[11], b[11], n_a, n_b;
    make_weights(weights, keys);
    sg_draw_probabilities(weights, N, 10, 0.02, 0.9, p);
    assert_true(sg_draw(p, keys, N, 10, 5, a, &n_a, NULL) == SG_OK);
    assert_true(sg_draw(p, keys, N, 10, 5, b, &n_b, NULL) == SG_OK);
    assert_int_equal(n_a, n_b);
    assert_memory_equal(a, b, n_a * sizeof *a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(probabilities_add_up),   cmocka_unit_test(weights_of_zero_get_the_rest),
        cmocka_unit_test(few_rows_are_all_drawn), cmocka_unit_test(rows_come_as_often_as_they_should),
        cmocka_unit_test(draws_repeat),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
