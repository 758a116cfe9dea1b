/* Certificates: exact bounds against SciPy's, thresholds against counts made by hand, promises by small simulations
 * (bench/simulate_certify.c has the large ones). */
#include "certify/binomial.h"
#include "certify/mix.h"
#include "safeguard/certify.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define MAX_ROWS 20000

static struct sg_certify_row rows[MAX_ROWS];
static size_t n_rows;

static void add(double score, bool violates, double p, uint64_t group)
{
    rows[n_rows++] = (struct sg_certify_row){score, violates, p, group, false};
}

/* n rows, each its own group, scores from low upwards in steps of `by`. */
static void add_many(size_t n, double low, double by, bool violates, double p)
{
    for (size_t i = 0; i < n; i++)
        add(low + by * (double)i, violates, p, 1000000 + n_rows);
}

static struct sg_certified certify(struct sg_certify_options options)
{
    struct sg_certified out;
    struct sg_error err;
    if (options.confidence == 0)
        options.confidence = 0.95;
    if (options.share == 0)
        options.share = 1;
    if (sg_certify(rows, n_rows, &options, &out, &err) != SG_OK)
        fail_msg("%s", err.text);
    return out;
}

static double uniform(uint64_t *state)
{
    return (double)(sg_mix((*state)++) >> 11) * 0x1p-53;
}

static double normal(uint64_t *state)
{
    double u = 1 - uniform(state), v = uniform(state);
    return sqrt(-2 * log(u)) * cos(2 * M_PI * v);
}

static void assert_close(double got, double expected, double relative)
{
    if (!(fabs(got - expected) <= relative * fabs(expected)))
        fail_msg("got %.17g, expected %.17g", got, expected);
}

/* --- exact bounds ------------------------------------------------------------------------------------------- */

static void test_against_scipy(void **unused)
{
    (void)unused;
    FILE *file = fopen(SG_TEST_DATA "/binomial.txt", "r");
    assert_non_null(file);
    char line[256];
    int n_beta = 0, n_bound = 0, n_needed = 0;
    while (fgets(line, sizeof(line), file)) {
        double a, b, x, value, delta, lower, upper, rate;
        size_t k, n;
        if (sscanf(line, "beta %lf %lf %lf %lf", &a, &b, &x, &value) == 4) {
            assert_close(sg_incomplete_beta(a, b, x), value, 1e-7);
            n_beta++;
        } else if (sscanf(line, "bound %zu %zu %lf %lf %lf", &k, &n, &delta, &lower, &upper) == 5) {
            assert_close(sg_clopper_pearson_lower(k, n, delta), lower, 1e-8);
            assert_close(sg_clopper_pearson_upper(k, n, delta), upper, 1e-8);
            n_bound++;
        } else if (sscanf(line, "rows %lf %lf %zu %zu", &delta, &rate, &k, &n) == 4) {
            assert_true(sg_binomial_at_most(k, n, rate) <= delta);
            assert_true(sg_binomial_at_most(k, n - 1, rate) > delta);
            n_needed++;
        } else {
            assert_int_equal(line[0], '#');
        }
    }
    fclose(file);
    assert_true(n_beta > 40 && n_bound == 70 && n_needed == 60);
}

static void test_edges(void **unused)
{
    (void)unused;
    assert_true(sg_clopper_pearson_upper(0, 0, 0.05) == 1 && sg_clopper_pearson_lower(0, 0, 0.05) == 0);
    assert_true(sg_binomial_at_most(3, 3, 0.9) == 1 && sg_binomial_at_most(2, 3, 1) == 0);
    assert_true(sg_incomplete_beta(2, 3, 0) == 0 && sg_incomplete_beta(2, 3, 1) == 1);
}

/* --- misses ------------------------------------------------------------------------------------------------- */

static void test_zero_missed_needs_59(void **unused)
{
    (void)unused;
    /* 0.95^59 < 0.05 < 0.95^58 */
    n_rows = 0;
    add_many(100, 0, 0.01, false, 1);
    add_many(58, 5, 0.01, true, 1);
    struct sg_certified out = certify((struct sg_certify_options){.rate = 0.05});
    assert_false(out.certified);
    assert_true(out.threshold == -INFINITY && out.bound == 1 && isnan(out.estimate) && out.passed_share == 0);
    assert_int_equal(out.needed, 59);
    assert_int_equal(out.n_violating, 58);
    add_many(1, 9, 0, true, 1);
    out = certify((struct sg_certify_options){.rate = 0.05});
    assert_true(out.certified);
    assert_int_equal(out.method, SG_CLOPPER_PEARSON);
    assert_close(out.threshold, 0.99, 1e-12); /* the highest score that does not violate: 99 of 100 are below it */
    assert_close(out.passed_share, 0.99, 1e-12);
    assert_true(out.bound <= 0.05 && out.bound > 0.049 && out.estimate == 0);
    assert_int_equal(out.n_rows, 159);
    assert_close(out.delta, 0.05, 1e-9);
}

static void test_threshold_stops_at_the_count(void **unused)
{
    (void)unused;
    /* of 153 violating, 3 may be cleared for 5 % (the table of zero, one, three … missed) */
    n_rows = 0;
    add_many(1000, 0, 0.01, false, 1); /* 0 … 9.99 */
    add_many(150, 20, 0.01, true, 1);
    add(1.005, true, 1, 1), add(2.005, true, 1, 2), add(3.005, true, 1, 3);
    struct sg_certified out = certify((struct sg_certify_options){.rate = 0.05});
    assert_true(out.certified && out.n_wrong == 3 && out.n_counted == 153);
    assert_close(out.threshold, 9.99, 1e-12);
    rows[n_rows - 4].score = 4.005; /* a fourth */
    out = certify((struct sg_certify_options){.rate = 0.05});
    assert_true(out.certified && out.n_wrong == 3);
    assert_close(out.threshold, 4, 1e-9); /* the grid's last below 4.005 */
    assert_close(out.passed_share, 0.4, 1e-9);
    assert_close(out.estimate, 3.0 / 153, 1e-12);
    /* equal scores are cleared together or not at all */
    for (size_t i = 0; i < n_rows; i++)
        rows[i].score = floor(rows[i].score);
    out = certify((struct sg_certify_options){.rate = 0.05});
    assert_true(out.threshold == 4 && out.n_wrong == 3);
}

static void test_rules_and_gate(void **unused)
{
    (void)unused;
    n_rows = 0;
    add_many(100, 0, 0.01, false, 1);
    add_many(149, 5, 0.01, true, 1);
    for (int i = 0; i < 4; i++)
        add(-INFINITY, true, 1, (uint64_t)i); /* a rule clears them: one more than 153 rows grant */
    struct sg_certified out = certify((struct sg_certify_options){.rate = 0.05});
    assert_false(out.certified);
    assert_int_equal(out.n_wrong, 4);
    assert_int_equal(out.needed, 181); /* binom.cdf(4, 181, 0.05) ≤ 0.05 */
    for (int i = 0; i < 40; i++)
        add(INFINITY, true, 1, 100 + (uint64_t)i); /* a gate keeps them back: they count, and are never cleared */
    out = certify((struct sg_certify_options){.rate = 0.05});
    assert_true(out.certified && out.n_wrong == 4 && out.n_counted == 193);
}

static void test_groups_count_once(void **unused)
{
    (void)unused;
    n_rows = 0;
    add_many(100, 0, 0.01, false, 1);
    for (int i = 0; i < 590; i++)
        add(5 + 0.001 * i, true, 1, (uint64_t)i / 10); /* 59 groups of ten */
    struct sg_certified out = certify((struct sg_certify_options){.rate = 0.05});
    assert_true(out.certified);
    assert_int_equal(out.n_counted, 59);
    for (int i = 0; i < 10; i++) { /* whichever row of the group is taken, and whatever else is in it */
        add(5, false, 1, 0);
        rows[100 + i].group = 7;
    }
    out = certify((struct sg_certify_options){.rate = 0.05});
    assert_false(out.certified);
    assert_int_equal(out.n_counted, 58);
    assert_int_equal(out.needed, 59);
}

static void test_row_of_a_group_depends_on_seed_alone(void **unused)
{
    (void)unused;
    int low = 0;
    for (uint64_t seed = 0; seed < 400; seed++) {
        n_rows = 0;
        add_many(50, 0, 0.1, false, 1);
        add_many(200, 10, 0.1, true, 1);
        for (int i = 0; i < 4; i++)
            add(i == 0 ? 0.05 : 10, true, 1, 5);
        struct sg_certified out = certify((struct sg_certify_options){.rate = 0.05, .seed = seed});
        low += out.n_wrong == 1;
        n_rows--; /* one row less that would not have been taken changes nothing else */
    }
    assert_true(low > 60 && low < 140); /* a quarter of 400, ± 4.6 standard errors */
}

static void test_delta_is_spent(void **unused)
{
    (void)unused;
    n_rows = 0;
    add_many(100, 0, 0.01, false, 1);
    add_many(120, 5, 0.01, true, 1);
    struct sg_certify_options options = {.rate = 0.05, .confidence = 0.95};
    struct sg_certified out;
    struct sg_error err;
    assert_int_equal(sg_certify(rows, n_rows, &options, &out, &err), SG_OK);
    assert_close(out.delta, 0.04, 1e-9); /* four fifths */
    options.spent = out.delta;
    assert_int_equal(sg_certify(rows, n_rows, &options, &out, &err), SG_OK);
    assert_close(out.delta, 0.008, 1e-9);
    options.spent += out.delta;
    options.rate = 0.03;
    assert_int_equal(sg_certify(rows, n_rows, &options, &out, &err), SG_OK);
    assert_false(out.certified);
    assert_int_equal(out.needed, 212); /* 0.97^212 < 0.0016 < 0.97^211 */
    options.spent = 0.05;
    assert_int_equal(sg_certify(rows, n_rows, &options, &out, &err), SG_EINVALID);
    assert_non_null(strstr(err.text, "draw new rows"));
}

/* --- weights ------------------------------------------------------------------------------------------------ */

static void test_weights(void **unused)
{
    (void)unused;
    /* without a miss, at full stakes: (1 + 0.05/0.95)^n ≥ 20 at n = 59 rows of full weight */
    n_rows = 0;
    add_many(100, 0, 0.01, false, 1);
    add_many(58, 5, 0.01, true, 0.5);
    struct sg_certified out = certify((struct sg_certify_options){.rate = 0.05});
    assert_false(out.certified);
    assert_int_equal(out.method, SG_BETTING);
    assert_int_equal(out.needed, 59);
    add_many(1, 6, 0.01, true, 0.5);
    out = certify((struct sg_certify_options){.rate = 0.05});
    assert_true(out.certified);
    assert_true(out.bound <= 0.05 && out.estimate == 0);
    /* the plan could have drawn with 0.1: the same rows weigh a fifth, and prove little */
    out = certify((struct sg_certify_options){.rate = 0.05, .p_floor = 0.1});
    assert_false(out.certified);
    assert_int_equal(out.needed, 287); /* ceil(ln 20 / ln(1 + 0.2 · 0.05 / 0.95)) */
    /* a row whose group may have more contents proves nothing: they may have been drawn more likely than it says */
    rows[120].shared = true;
    out = certify((struct sg_certify_options){.rate = 0.05});
    assert_false(out.certified);
    rows[120].shared = false;
    /* one miss where rows are drawn rarely outweighs many hits where they are not */
    n_rows = 0;
    add_many(100, 0, 0.01, false, 1);
    add_many(400, 5, 0.01, true, 1);
    for (int i = 0; i < 4; i++)
        add(0.5, true, 0.02, (uint64_t)i);
    out = certify((struct sg_certify_options){.rate = 0.05});
    assert_false(out.certified); /* 400 such hits weigh as much as 8 */
    add_many(4000, 5, 0.01, true, 1);
    out = certify((struct sg_certify_options){.rate = 0.05});
    assert_true(out.certified && out.threshold <= 0.5);
}

/* With equal weights below 1 the betting test answers the question of the exact one: how far behind is it? */
static void test_betting_is_nearly_exact(void **unused)
{
    (void)unused;
    for (size_t n = 100; n <= 1600; n *= 4) {
        int exact = 0, betting = 0, draws = 100;
        for (int draw = 0; draw < draws; draw++) {
            uint64_t state = (uint64_t)draw << 32 | n;
            n_rows = 0;
            add_many(200, -3, 0.03, false, 1);
            for (size_t i = 0; i < n; i++)
                add(2 + normal(&state), true, 1, i);
            add(1, false, 1, n + 1);
            exact += (int)certify((struct sg_certify_options){.rate = 0.05, .seed = state}).n_wrong;
            rows[0].p_drawn = 0.99; /* another weight somewhere: now they count as weighted */
            struct sg_certified out = certify((struct sg_certify_options){.rate = 0.05, .seed = state});
            assert_int_equal(out.method, SG_BETTING);
            betting += (int)out.n_wrong;
        }
        if (betting < exact - 2 * draws)
            fail_msg("%zu rows: %d misses granted by betting, %d exactly, in %d draws", n, betting, exact, draws);
    }
}

/* --- promises ----------------------------------------------------------------------------------------------- */

/* Share of draws in which the promise of 5 % is broken; scores are normal, of what violates around `gap`. */
static double broken(enum sg_certify_side side, bool weighted, bool grouped, int draws)
{
    const double gap = side == SG_CERTIFY_MISS ? 2 : 3;
    int n_broken = 0, n_certified = 0;
    for (int draw = 0; draw < draws; draw++) {
        uint64_t state = (uint64_t)draw << 32 | (uint64_t)side << 8 | (uint64_t)weighted << 1 | grouped;
        n_rows = 0;
        for (uint64_t group = 0; group < (side == SG_CERTIFY_MISS ? 1000 : 3000); group++) {
            bool violates = uniform(&state) < 0.3;
            double common = normal(&state) + (violates ? gap : 0);
            for (int i = 0; i < (grouped ? 1 + (int)(group % 4) : 1); i++) {
                double score = grouped ? common + 0.01 * i : common;
                double p = weighted ? (score < 1 ? 0.9 : 0.4) : 1;
                if (uniform(&state) < p)
                    add(score, violates, p, group);
            }
        }
        double t = certify((struct sg_certify_options){.side = side, .rate = 0.05, .seed = state}).threshold;
        double miss = erfc((gap - t) / M_SQRT2) / 2, seen = erfc((t - gap) / M_SQRT2) / 2 * 0.3;
        double wrong = erfc(t / M_SQRT2) / 2 * 0.7;
        n_certified += isfinite(t);
        n_broken += isfinite(t) && (side == SG_CERTIFY_MISS ? miss > 0.05 : wrong / (wrong + seen) > 0.05);
    }
    assert_true(n_certified > draws / 2);
    return (double)n_broken / draws;
}

static void test_promises_hold(void **unused)
{
    (void)unused;
    const int draws = 300;
    const double limit = 0.05 + 3 * sqrt(0.05 * 0.95 / draws);
    assert_true(broken(SG_CERTIFY_MISS, false, false, draws) <= limit);
    assert_true(broken(SG_CERTIFY_MISS, false, true, draws) <= limit);
    assert_true(broken(SG_CERTIFY_MISS, true, false, draws) <= limit);
    assert_true(broken(SG_CERTIFY_FLAG, false, false, draws) <= limit);
    assert_true(broken(SG_CERTIFY_FLAG, true, false, draws) <= limit);
}

/* --- flags -------------------------------------------------------------------------------------------------- */

static void test_flag(void **unused)
{
    (void)unused;
    /* From a quarter of delta each, 86 rows without a wrong one are the first that pass: 0.95^86 < 0.0125 < 0.95^85.
     */
    n_rows = 0;
    add_many(85, 10, 0.01, true, 1);
    struct sg_certified out = certify((struct sg_certify_options){.side = SG_CERTIFY_FLAG, .rate = 0.05});
    assert_false(out.certified);
    assert_true(out.threshold == INFINITY);
    assert_int_equal(out.needed, 86);
    add_many(1000, 0, 0.01, false, 1); /* 0 … 9.99 */
    add_many(1, 20, 0.01, true, 1);
    out = certify((struct sg_certify_options){.side = SG_CERTIFY_FLAG, .rate = 0.05});
    assert_true(out.certified);
    assert_close(out.threshold, 10, 1e-9);
    assert_true(out.n_counted == 86 && out.n_wrong == 0 && out.passed_share == 1);
    /* a rule that flags wrongly counts at every threshold */
    for (int i = 0; i < 100; i++)
        add(INFINITY, false, 1, (uint64_t)i);
    assert_false(certify((struct sg_certify_options){.side = SG_CERTIFY_FLAG, .rate = 0.05}).certified);
}

static void test_later_start(void **unused)
{
    (void)unused;
    /* two wrong rows at the very top spoil the first start, not the third */
    n_rows = 0;
    add_many(800, 10, 0.01, true, 1);
    add_many(2, 30, 1, false, 1);
    add_many(500, 0, 0.01, false, 1);
    struct sg_certified out = certify((struct sg_certify_options){.side = SG_CERTIFY_FLAG, .rate = 0.05});
    assert_true(out.certified && out.n_counted >= 802 && out.passed_share == 1);
}

/* --- errors ------------------------------------------------------------------------------------------------- */

static void test_errors(void **unused)
{
    (void)unused;
    const struct sg_certify_options good = {.rate = 0.05, .confidence = 0.95};
    struct sg_certified out;
    struct sg_error err;
    n_rows = 0;
    add_many(10, 0, 1, true, 0.5);
    struct {
        struct sg_certify_options options;
        const char *text;
    } cases[] = {{good, "rate"},  {good, "rate"},  {good, "confidence"}, {good, "confidence"}, {good, "spent"},
                 {good, "share"}, {good, "floor"}, {good, "floor"},      {good, "grid"},       {good, "grid"}};
    cases[0].options.rate = 0, cases[1].options.rate = NAN, cases[2].options.confidence = 1;
    cases[3].options.confidence = 0.4, cases[4].options.spent = -1, cases[5].options.share = 1.5;
    cases[6].options.p_floor = 2, cases[7].options.p_floor = 0.6, cases[8].options.grid = -1;
    cases[9].options.grid = SG_CERTIFY_MAX_GRID + 1;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        assert_int_equal(sg_certify(rows, n_rows, &cases[i].options, &out, &err), SG_EINVALID);
        assert_non_null(strstr(err.text, cases[i].text));
        assert_false(out.certified);
    }
    rows[3].p_drawn = 0;
    assert_int_equal(sg_certify(rows, n_rows, &good, &out, &err), SG_EINVALID);
    assert_non_null(strstr(err.text, "p_drawn of row 3"));
    rows[3].p_drawn = NAN;
    assert_int_equal(sg_certify(rows, n_rows, &good, &out, &err), SG_EINVALID);
    rows[3].p_drawn = 1;
    rows[4].score = NAN;
    assert_int_equal(sg_certify(rows, n_rows, &good, &out, &err), SG_EINVALID);
    assert_int_equal(sg_certify(rows, (size_t)SG_CERTIFY_MAX_ROWS + 1, &good, &out, &err), SG_ELIMIT);
    n_rows = 0; /* nothing at all, and nothing but one class */
    out = certify(good);
    assert_true(!out.certified && out.needed == 59);
    add_many(500, 0, 1, true, 1);
    assert_false(certify(good).certified);
}

/* --- drift -------------------------------------------------------------------------------------------------- */

static void test_drift(void **unused)
{
    (void)unused;
    struct sg_drift drift;
    uint64_t state = 1, n = 0;
    sg_drift_init(&drift, 0.05, 0.05, 1);
    assert_close(sg_drift_value(&drift), 1, 1e-12);
    for (int i = 0; i < 3000; i++)
        sg_drift_add(&drift, i % 3 != 0, uniform(&state) < 0.05, 1);
    assert_false(sg_drift_alarm(&drift));
    assert_int_equal(drift.n, 2000);
    while (!sg_drift_alarm(&drift) && n < 5000) { /* a hundred times what was promised is noticed at once, 2× soon */
        sg_drift_add(&drift, true, uniform(&state) < 0.1, 1);
        n++;
    }
    assert_true(n > 50 && n < 2000);
    for (int i = 0; i < 1000; i++)
        sg_drift_add(&drift, true, false, 1);
    assert_true(sg_drift_alarm(&drift)); /* stays */
    sg_drift_init(&drift, 0.05, 0.05, 1);
    for (n = 0; !sg_drift_alarm(&drift); n++)
        sg_drift_add(&drift, true, true, 1);
    assert_true(n < 6);
    assert_true(sg_drift_delay(0.05, 0.05, 4, 0) < sg_drift_delay(0.05, 0.05, 2, 0));
}

/* By hand: the first row, cleared, audited with the floor, multiplies each started half by 1 + λ · 0.9. */
static void test_drift_by_hand(void **unused)
{
    (void)unused;
    struct sg_drift drift;
    sg_drift_init(&drift, 0.1, 0.05, 0.2);
    sg_drift_add(&drift, true, true, 0.2);
    const double bets[] = {0.25, 0.5, 1, 2, 4, 8, 9.5, 9.5};
    double sum = 0;
    for (int i = 0; i < SG_DRIFT_BETS; i++)
        sum += 0.5 * (1 + bets[i] * 0.9) / SG_DRIFT_BETS;
    assert_close(sg_drift_value(&drift), sum + 0.5, 1e-12);
    sg_drift_init(&drift, 0.1, 0.05, 0.2);
    sg_drift_add(&drift, true, false, 0.4); /* half the weight, escalated: 1 - λ · 0.5 · 0.1 */
    sum = 0;
    for (int i = 0; i < SG_DRIFT_BETS; i++)
        sum += 0.5 * (1 - bets[i] * 0.05) / SG_DRIFT_BETS;
    assert_close(sg_drift_value(&drift), sum + 0.5, 1e-12);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_against_scipy),
        cmocka_unit_test(test_edges),
        cmocka_unit_test(test_zero_missed_needs_59),
        cmocka_unit_test(test_threshold_stops_at_the_count),
        cmocka_unit_test(test_rules_and_gate),
        cmocka_unit_test(test_groups_count_once),
        cmocka_unit_test(test_row_of_a_group_depends_on_seed_alone),
        cmocka_unit_test(test_delta_is_spent),
        cmocka_unit_test(test_weights),
        cmocka_unit_test(test_betting_is_nearly_exact),
        cmocka_unit_test(test_promises_hold),
        cmocka_unit_test(test_flag),
        cmocka_unit_test(test_later_start),
        cmocka_unit_test(test_errors),
        cmocka_unit_test(test_drift),
        cmocka_unit_test(test_drift_by_hand),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
