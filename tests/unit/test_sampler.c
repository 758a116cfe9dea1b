/* From logits to tokens, against plain expectation. */
#include "engine/sampler.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define GREEDY ((struct sg_sampling){0, 1, 0})

static int32_t sample(const struct sg_sampling *sampling, const float *logits, int n, const uint64_t *mask,
                      int position)
{
    int32_t token = -1;
    struct sg_error err;
    if (sg_sample(sampling, logits, n, mask, position, &token, &err) != SG_OK)
        fail_msg("%s", err.text);
    return token;
}

static void test_greedy(void **unused)
{
    (void)unused;
    const float logits[70] = {[3] = 2, [5] = 7, [6] = 7, [66] = 7, [69] = -INFINITY};
    assert_int_equal(sample(&GREEDY, logits, 70, NULL, 0), 5); /* the lowest of equals */
    const uint64_t high[2] = {(uint64_t)1 << 3, (uint64_t)1 << 2};
    assert_int_equal(sample(&GREEDY, logits, 70, high, 0), 66);
    const uint64_t low[2] = {(uint64_t)1 << 3 | 1, (uint64_t)1 << 5};
    assert_int_equal(sample(&GREEDY, logits, 70, low, 0), 3);
    const uint64_t last[2] = {0, (uint64_t)1 << 5};
    assert_int_equal(sample(&GREEDY, logits, 70, last, 0), 69); /* permitted, although its logit is -infinity */
    assert_int_equal(sample(&(struct sg_sampling){1, 1, 3}, logits, 70, last, 0), 69);
}

static void test_errors(void **unused)
{
    (void)unused;
    float logits[8] = {1, 2, 3, 4, 5, 6, 7, 8};
    const uint64_t none = 0, outside = (uint64_t)1 << 8, one = 1;
    int32_t token;
    struct sg_error err;
    for (double temperature = 0; temperature < 2; temperature++) {
        const struct sg_sampling sampling = {temperature, 1, 0};
        assert_int_equal(sg_sample(&sampling, logits, 8, &none, 0, &token, &err), SG_EINVALID);
        assert_int_equal(sg_sample(&sampling, logits, 8, &outside, 0, &token, &err), SG_EINVALID);
        logits[7] = NAN; /* also where the mask forbids it: the model is broken */
        assert_int_equal(sg_sample(&sampling, logits, 8, &one, 12, &token, &err), SG_EFORMAT);
        assert_non_null(strstr(err.text, "position 12"));
        logits[7] = INFINITY;
        assert_int_equal(sg_sample(&sampling, logits, 8, NULL, 0, &token, &err), SG_EFORMAT);
        logits[7] = 8;
    }
}

static void test_log_sum_exp(void **unused)
{
    (void)unused;
    float logits[1000];
    long double sum = 0;
    for (int i = 0; i < 1000; i++) {
        logits[i] = (float)(300 + 20 * sin(i));
        sum += expl((long double)logits[i]);
    }
    assert_true(fabsl((long double)sg_log_sum_exp(logits, 1000) - logl(sum)) < 1e-12L * logl(sum));
    logits[17] = -INFINITY;
    assert_true(isfinite(sg_log_sum_exp(logits, 1000)));
    logits[17] = INFINITY;
    assert_true(isnan(sg_log_sum_exp(logits, 1000)));
    logits[17] = NAN;
    assert_true(isnan(sg_log_sum_exp(logits, 1000)));
}

/* The published generator's first outputs for seed 1234567. */
static void test_uniform(void **unused)
{
    (void)unused;
    static const uint64_t outputs[] = {6457827717110365317u, 3203168211198807973u, 9817491932198370423u,
                                       4593380528125082431u, 16408922859458223821u};
    for (uint64_t i = 0; i < 5; i++)
        assert_true(sg_uniform(1234567, i) == (double)(outputs[i] >> 11) * 0x1p-53);
}

/* Draws at many positions against the softmax: the sum of (got - expected)² / expected over the tokens has the mean
 * n_tokens - 1 and the variance 2 (n_tokens - 1); six standard deviations are allowed. */
static void check_distribution(const struct sg_sampling *sampling, const float *logits, int n, const uint64_t *mask,
                               const double *expected)
{
    enum { DRAWS = 40000 };
    int counts[16] = {0};
    for (int position = 0; position < DRAWS; position++)
        counts[sample(sampling, logits, n, mask, position)]++;
    double sum = 0;
    int possible = 0;
    for (int i = 0; i < n; i++) {
        if (expected[i] == 0) {
            assert_int_equal(counts[i], 0);
            continue;
        }
        double mean = expected[i] * DRAWS;
        sum += (counts[i] - mean) * (counts[i] - mean) / mean;
        possible++;
    }
    int freedom = possible - 1;
    if (sum > freedom + 6 * sqrt(2.0 * freedom))
        fail_msg("temperature %g, top_p %g: chi-square %g with %d degrees of freedom", sampling->temperature,
                 sampling->top_p, sum, freedom);
}

/* Softmax over the permitted tokens at the temperature; then the best ones that together reach top_p. */
static void expect(const float *logits, int n, const uint64_t *mask, double temperature, double top_p, double *out)
{
    double total = 0, kept = 0, all = 0;
    for (int i = 0; i < n; i++) {
        bool in = !mask || (mask[0] >> i & 1);
        out[i] = in ? exp((double)logits[i] / temperature) : 0;
        total += out[i];
    }
    bool chosen[16] = {false};
    while (kept < top_p * total * (1 - 1e-12)) {
        int best = -1;
        for (int i = 0; i < n; i++)
            if (out[i] > 0 && !chosen[i] && (best < 0 || out[i] > out[best]))
                best = i;
        chosen[best] = true;
        kept += out[best];
    }
    for (int i = 0; i < n; i++) {
        out[i] = chosen[i] ? out[i] / kept : 0;
        all += out[i];
    }
    assert_true(fabs(all - 1) < 1e-12);
}

static void test_distribution(void **unused)
{
    (void)unused;
    static const float logits[10] = {0.5f, -1, 2, 1.9f, 0, -3, 1, 1, -0.5f, 0.3f};
    static const double temperatures[] = {0.5, 1, 2.5}, shares[] = {1, 0.9, 0.5, 0.01};
    const uint64_t masks[] = {1023, 0x2E3};
    for (int t = 0; t < 3; t++)
        for (int s = 0; s < 4; s++)
            for (int m = 0; m < 2; m++) {
                double expected[16];
                expect(logits, 10, &masks[m], temperatures[t], shares[s], expected);
                const struct sg_sampling sampling = {temperatures[t], shares[s], 42};
                check_distribution(&sampling, logits, 10, &masks[m], expected);
            }
}

/* A draw depends on seed and position alone, and on both. */
static void test_seeds(void **unused)
{
    (void)unused;
    static const float logits[8];
    int same_seed = 0, same_position = 0;
    for (int i = 0; i < 1000; i++) {
        const struct sg_sampling one = {1, 1, 1}, two = {1, 1, 2};
        int32_t token = sample(&one, logits, 8, NULL, i);
        assert_int_equal(sample(&one, logits, 8, NULL, i), token);
        same_seed += sample(&one, logits, 8, NULL, i + 1) == token;
        same_position += sample(&two, logits, 8, NULL, i) == token;
    }
    assert_in_range(same_seed, 70, 190); /* 125 expected, six standard deviations are 63 */
    assert_in_range(same_position, 70, 190);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_greedy),  cmocka_unit_test(test_errors),       cmocka_unit_test(test_log_sum_exp),
        cmocka_unit_test(test_uniform), cmocka_unit_test(test_distribution), cmocka_unit_test(test_seeds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
