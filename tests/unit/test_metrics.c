/* Figures and intervals against scikit-learn and SciPy (data/metrics.json, by tools/oracle_metrics.py). */
#include "eval/interval.h"

#include <jansson.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

static json_t *oracle;

static int load(void **state)
{
    (void)state;
    oracle = json_load_file(SG_TEST_DATA "/metrics.json", 0, NULL);
    return oracle ? 0 : -1;
}

static int unload(void **state)
{
    (void)state;
    json_decref(oracle);
    return 0;
}

static double number(const json_t *value)
{
    return json_is_number(value) ? json_number_value(value) : NAN;
}

static void assert_near(double got, double wanted, double within, const char *name, const char *what)
{
    if (isnan(got) != isnan(wanted) || (!isnan(got) && fabs(got - wanted) > within))
        fail_msg("%s, %s: got %.15g, expected %.15g", name, what, got, wanted);
}

/* Rows of a case; every row is its own group. */
static size_t rows_of(const json_t *of, struct sg_point *rows)
{
    size_t n = json_array_size(json_object_get(of, "truth"));
    for (size_t i = 0; i < n; i++) {
        const json_t *decision = json_array_get(json_object_get(of, "decision"), i);
        rows[i] = (struct sg_point){
            .truth = (int)json_integer_value(json_array_get(json_object_get(of, "truth"), i)),
            .decision = json_is_null(decision)              ? SG_UNDECIDED
                        : json_integer_value(decision) == 1 ? SG_VIOLATES
                                                            : SG_DOES_NOT_VIOLATE,
            .score = number(json_array_get(json_object_get(of, "score"), i)),
            .group = (uint32_t)i,
        };
    }
    return n;
}

static void test_figures_agree_with_sklearn(void **state)
{
    struct sg_point rows[512];
    const json_t *of;
    size_t k;
    (void)state;
    assert_true(json_array_size(json_object_get(oracle, "cases")) >= 16);
    json_array_foreach(json_object_get(oracle, "cases"), k, of)
    {
        struct sg_points points;
        double figures[SG_N_FIGURES];
        const char *name = json_string_value(json_object_get(of, "name"));
        size_t n = rows_of(of, rows);
        assert_int_equal(sg_points_init(&points, rows, n, NULL), SG_OK);
        sg_figures(&points, NULL, figures);
        for (int i = 0; i < SG_N_FIGURES; i++)
            assert_near(figures[i], number(json_object_get(json_object_get(of, "figures"), sg_figure_name(i))), 1e-9,
                        name, sg_figure_name(i));
        sg_points_deinit(&points);
    }
}

/* A row of weight w is the row written w times. */
static void test_weights_are_repetitions(void **state)
{
    struct sg_point rows[512], repeated[2048];
    uint32_t weights[512];
    const json_t *of;
    size_t k;
    (void)state;
    json_array_foreach(json_object_get(oracle, "cases"), k, of)
    {
        struct sg_points points, written;
        double weighted[SG_N_FIGURES], plain[SG_N_FIGURES];
        size_t n = rows_of(of, rows), m = 0;
        for (size_t i = 0; i < n; i++) {
            weights[i] = (uint32_t)((i * 7 + k) % 4);
            for (uint32_t w = 0; w < weights[i]; w++)
                repeated[m++] = rows[i];
        }
        assert_int_equal(sg_points_init(&points, rows, n, NULL), SG_OK);
        assert_int_equal(sg_points_init(&written, repeated, m, NULL), SG_OK);
        written.probabilities = points.probabilities;
        sg_figures(&points, weights, weighted);
        sg_figures(&written, NULL, plain);
        for (int i = 0; i < SG_N_FIGURES; i++)
            assert_near(weighted[i], plain[i], 1e-12, json_string_value(json_object_get(of, "name")),
                        sg_figure_name(i));
        sg_points_deinit(&points);
        sg_points_deinit(&written);
    }
}

static void test_curve_ends_where_everything_is_flagged(void **state)
{
    struct sg_point rows[512];
    const json_t *of;
    size_t k;
    (void)state;
    json_array_foreach(json_object_get(oracle, "cases"), k, of)
    {
        struct sg_curve_point curve[512];
        struct sg_points points;
        size_t n_rows = rows_of(of, rows);
        double area = 0, before = 0, figures[SG_N_FIGURES];
        assert_int_equal(sg_points_init(&points, rows, n_rows, NULL), SG_OK);
        size_t n = sg_curve(&points, curve);
        sg_figures(&points, NULL, figures);
        for (size_t i = 0; i < n; i++) {
            area += (curve[i].recall - before) * curve[i].precision;
            before = curve[i].recall;
            assert_true(i == 0 || curve[i].threshold < curve[i - 1].threshold);
        }
        assert_near(n ? area : NAN, figures[SG_AUPRC], 1e-9, "area under the curve",
                    json_string_value(json_object_get(of, "name")));
        if (n) {
            assert_true(fabs(curve[n - 1].recall - 1) < 1e-12);
            assert_true(fabs(curve[n - 1].share - 1) < 1e-12);
        }
        sg_points_deinit(&points);
    }
}

static void test_mcnemar_agrees_with_scipy(void **state)
{
    const json_t *of;
    size_t k;
    (void)state;
    json_array_foreach(json_object_get(oracle, "mcnemar"), k, of)
    {
        uint64_t a = (uint64_t)json_integer_value(json_object_get(of, "only_a"));
        uint64_t b = (uint64_t)json_integer_value(json_object_get(of, "only_b"));
        double wanted = number(json_object_get(of, "p"));
        assert_near(sg_mcnemar(a, b), wanted, 1e-9 * wanted + 1e-300, "McNemar", "p");
    }
    assert_true(isnan(sg_mcnemar(0, 0)));
}

static void test_exact_shares_agree_with_scipy(void **state)
{
    const json_t *of;
    size_t k;
    (void)state;
    json_array_foreach(json_object_get(oracle, "shares"), k, of)
    {
        struct sg_interval got = sg_exact_share((uint64_t)json_integer_value(json_object_get(of, "part")),
                                                (uint64_t)json_integer_value(json_object_get(of, "whole")),
                                                number(json_object_get(of, "confidence")));
        assert_near(got.low, number(json_object_get(of, "low")), 1e-8, "Clopper-Pearson", "low");
        assert_near(got.high, number(json_object_get(of, "high")), 1e-8, "Clopper-Pearson", "high");
    }
    assert_true(isnan(sg_exact_share(0, 0, 0.95).value));
}

/* --- intervals --------------------------------------------------------------------------------------------- */

static const struct sg_interval_options options = {.confidence = 0.95, .resamples = 500, .seed = 1};

/* splitmix64, for the rows of the tests below */
static double uniform(uint64_t *state)
{
    uint64_t z = *state += 0x9e3779b97f4a7c15;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
    z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
    return (double)((z ^ (z >> 31)) >> 11) * 0x1p-53;
}

/* n groups of `size` rows that are alike: the truth, and whether the decision is right with probability 0.8. */
static void alike(struct sg_point *rows, size_t n, size_t size, uint64_t *state)
{
    for (size_t g = 0; g < n; g++) {
        int truth = uniform(state) < 0.5;
        bool right = uniform(state) < 0.8;
        for (size_t i = 0; i < size; i++)
            rows[g * size + i] = (struct sg_point){
                .truth = truth,
                .decision = (truth == 1) == right ? SG_VIOLATES : SG_DOES_NOT_VIOLATE,
                .score = (truth == 1) == right ? 0.9 : 0.1,
                .group = (uint32_t)g,
            };
    }
}

/* How often the interval of a figure holds the true value, over `repeats` sets of rows. */
static double coverage(enum sg_figure figure, double true_value, size_t n, size_t size, int repeats)
{
    struct sg_point *rows = calloc(n * size, sizeof *rows);
    int covered = 0;
    uint64_t state = 7;
    for (int k = 0; k < repeats; k++) {
        struct sg_points points;
        struct sg_interval out[SG_N_FIGURES];
        struct sg_interval_options of = {.confidence = 0.95, .resamples = 200, .seed = (uint64_t)k};
        alike(rows, n, size, &state);
        assert_int_equal(sg_points_init(&points, rows, n * size, NULL), SG_OK);
        assert_int_equal(sg_intervals(&points, &of, out, NULL), SG_OK);
        covered += out[figure].low <= true_value && true_value <= out[figure].high;
        sg_points_deinit(&points);
    }
    free(rows);
    return (double)covered / repeats;
}

/* The promise of 95 % within the error of 300 repeats; resampling is known to be a little optimistic. */
static void test_intervals_cover(void **state)
{
    (void)state;
    assert_true(coverage(SG_RECALL, 0.8, 120, 1, 300) >= 0.93);
    assert_true(coverage(SG_F1, 0.8, 120, 1, 300) >= 0.90);
    /* ten copies of every row: an interval over rows would be three times too narrow and cover about half */
    assert_true(coverage(SG_RECALL, 0.8, 60, 10, 300) >= 0.93);
    assert_true(coverage(SG_F1, 0.8, 60, 10, 300) >= 0.88);
}

static void test_method_follows_groups(void **state)
{
    struct sg_point rows[200];
    struct sg_points points;
    struct sg_interval out[SG_N_FIGURES];
    uint64_t random = 3;
    (void)state;
    alike(rows, 100, 1, &random);
    assert_int_equal(sg_points_init(&points, rows, 100, NULL), SG_OK);
    assert_int_equal(sg_intervals(&points, &options, out, NULL), SG_OK);
    assert_int_equal(out[SG_RECALL].method, SG_INTERVAL_EXACT);
    assert_int_equal(out[SG_F1].method, SG_INTERVAL_BOOTSTRAP);
    assert_false(out[SG_F1].few);
    sg_points_deinit(&points);
    alike(rows, 100, 2, &random);
    assert_int_equal(sg_points_init(&points, rows, 200, NULL), SG_OK);
    assert_int_equal(sg_intervals(&points, &options, out, NULL), SG_OK);
    assert_int_equal(out[SG_RECALL].method, SG_INTERVAL_EFFECTIVE);
    assert_int_equal(out[SG_F1].method, SG_INTERVAL_BOOTSTRAP);
    /* twice the same rows say no more than once: about as wide as the exact interval over half of them */
    struct sg_confusion c = sg_confusion_of(rows, 200, NULL);
    struct sg_interval half = sg_exact_share(c.tp / 2, (c.tp + c.fn) / 2, 0.95);
    assert_true(fabs((out[SG_RECALL].high - out[SG_RECALL].low) / (half.high - half.low) - 1) < 0.2);
    /* the same rows and seed give the same interval */
    struct sg_interval again[SG_N_FIGURES];
    assert_int_equal(sg_intervals(&points, &options, again, NULL), SG_OK);
    assert_true(again[SG_F1].low == out[SG_F1].low && again[SG_F1].high == out[SG_F1].high);
    sg_points_deinit(&points);
}

/* Without any mistake resampling always gives 1: the interval must not claim to know that. */
static void test_no_mistake_is_no_certainty(void **state)
{
    struct sg_point rows[40];
    struct sg_points points;
    struct sg_interval out[SG_N_FIGURES];
    (void)state;
    for (uint32_t i = 0; i < 40; i++)
        rows[i] = (struct sg_point){i % 4 < 2, i % 4 < 2 ? SG_VIOLATES : SG_DOES_NOT_VIOLATE, i % 4 < 2, i / 2, i};
    assert_int_equal(sg_points_init(&points, rows, 40, NULL), SG_OK);
    assert_int_equal(sg_intervals(&points, &options, out, NULL), SG_OK);
    assert_int_equal(out[SG_RECALL].method, SG_INTERVAL_EFFECTIVE);
    /* ten groups of violations, none missed: 0.025^(1/10) by hand */
    assert_true(fabs(out[SG_RECALL].low - pow(0.025, 0.1)) < 1e-9);
    assert_true(out[SG_F1].low > 0 && out[SG_F1].low < out[SG_RECALL].low && out[SG_F1].high == 1);
    assert_int_equal(out[SG_AUPRC].method, SG_INTERVAL_NONE);
    assert_true(isnan(out[SG_AUPRC].low) && out[SG_AUPRC].value == 1);
    sg_points_deinit(&points);
}

static void test_nothing_to_measure(void **state)
{
    struct sg_points points;
    struct sg_interval out[SG_N_FIGURES];
    (void)state;
    assert_int_equal(sg_points_init(&points, NULL, 0, NULL), SG_OK);
    assert_int_equal(sg_intervals(&points, &options, out, NULL), SG_OK);
    for (int i = 0; i < SG_N_FIGURES; i++)
        assert_true(isnan(out[i].value) && out[i].method == SG_INTERVAL_NONE);
    sg_points_deinit(&points);
}

static void test_comparison_counts_pairs(void **state)
{
    struct sg_point a[6], b[6];
    struct sg_points of_a, of_b;
    struct sg_comparison got;
    (void)state;
    /* truth, a, b: both right, only a, only b, neither (undecided), only b, both */
    static const int truth[] = {1, 1, 0, 1, 0, 0}, da[] = {2, 2, 2, 0, 0, 1}, db[] = {2, 1, 1, 1, 1, 1};
    for (uint32_t i = 0; i < 6; i++) {
        a[i] = (struct sg_point){truth[i], (enum sg_decision)da[i], NAN, i, i};
        b[i] = (struct sg_point){truth[i], (enum sg_decision)db[i], NAN, i, i};
    }
    assert_int_equal(sg_points_init(&of_a, a, 6, NULL), SG_OK);
    assert_int_equal(sg_points_init(&of_b, b, 6, NULL), SG_OK);
    assert_int_equal(sg_compare(&of_a, &of_b, &options, &got, NULL), SG_OK);
    assert_int_equal(got.both, 2);
    assert_int_equal(got.only_a, 1);
    assert_int_equal(got.only_b, 2);
    assert_int_equal(got.neither, 1);
    assert_false(got.grouped);
    assert_true(got.p == 1); /* 1 against 2 */
    assert_true(fabs(got.difference[SG_RECALL].value - (1.0 / 3 - 2.0 / 3)) < 1e-12);
    sg_points_deinit(&of_b);
    of_b.n = 3;
    assert_int_equal(sg_compare(&of_a, &of_b, &options, &got, NULL), SG_EINVALID);
    sg_points_deinit(&of_a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_figures_agree_with_sklearn),
        cmocka_unit_test(test_weights_are_repetitions),
        cmocka_unit_test(test_curve_ends_where_everything_is_flagged),
        cmocka_unit_test(test_mcnemar_agrees_with_scipy),
        cmocka_unit_test(test_exact_shares_agree_with_scipy),
        cmocka_unit_test(test_intervals_cover),
        cmocka_unit_test(test_method_follows_groups),
        cmocka_unit_test(test_no_mistake_is_no_certainty),
        cmocka_unit_test(test_nothing_to_measure),
        cmocka_unit_test(test_comparison_counts_pairs),
    };
    return cmocka_run_group_tests(tests, load, unload);
}
