/* Do certificates keep their promise, and how often do they come about? Draws rows from populations whose true rates
 * are known and counts: "broken" is the share of draws whose certified threshold is worse than promised, to be at
 * most delta up to the error of the simulation; "power" the share of draws that certify at least the threshold named.
 *
 *     simulate_certify [DRAWS]      2000 by default
 *
 * Exit status 1 when a promise was broken more often than delta + 3 standard errors of the simulation, or a power
 * named in the table was missed by as much. docs/certificate.md shows the table. */
#include "certify/mix.h"
#include "safeguard/certify.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#define MAX_ROWS 60000
#define DELTA 0.05

static uint64_t state;
static struct sg_certify_row rows[MAX_ROWS];
static size_t n_rows;

static double uniform(void)
{
    return (double)(sg_mix(state++) >> 11) * 0x1p-53;
}

static double normal(void)
{
    double u = 1 - uniform(), v = uniform();
    return sqrt(-2 * log(u)) * cos(2 * M_PI * v);
}

static double phi(double x)
{
    return erfc(-x / M_SQRT2) / 2;
}

/* --- populations -------------------------------------------------------------------------------------------- */

/* Scores are normal: mean 0 for what does not violate, `gap` for what does, both of spread 1. */
struct population {
    double violating; /* share */
    double gap;
    double step;                     /* scores are multiples of it; 0: continuous */
    double always, never;            /* MISS: shares of what violates that a rule clears, that a gate keeps back */
    double correlation;              /* within a group */
    double mean_group;               /* rows of a group: 1 + geometric; 0: alone */
    double (*p_drawn)(double score); /* NULL: every row */
    double p_floor;
    bool hole; /* FLAG: a stretch of high scores in which little violates */
};

static double rounded(const struct population *population, double score)
{
    return population->step > 0 ? floor(score / population->step) * population->step : score;
}

/* True share of what violates that is cleared below t; rows of whole groups have the same law as rows alone. */
static double true_miss(const struct population *population, double t)
{
    double steps = population->step > 0 ? ceil(t / population->step - 1e-12) * population->step : t;
    return population->always + (1 - population->always - population->never) * phi(steps - population->gap);
}

static double violating_at(const struct population *population, double score)
{
    if (population->hole && score > 3.2 && score < 3.6)
        return 0.2;
    double odds = population->violating / (1 - population->violating) *
                  exp(population->gap * score - population->gap * population->gap / 2);
    return odds / (1 + odds);
}

/* Share of what is flagged from t on that does not violate: by numbers, over the density of scores. */
static double true_wrong(const struct population *population, double t)
{
    double all = 0, wrong = 0;
    for (double s = t + 0.0005; s < population->gap + 8; s += 0.001) {
        double density = (1 - population->violating) * exp(-s * s / 2) +
                         population->violating * exp(-(s - population->gap) * (s - population->gap) / 2);
        all += density;
        wrong += density * (1 - violating_at(population, s));
    }
    return wrong / all;
}

/* Rows until `n` of them violate (MISS), or n in all (FLAG); those not drawn are left out but counted. */
static void draw(const struct population *population, size_t n, enum sg_certify_side side)
{
    size_t counted = 0;
    uint64_t group = 0;
    for (n_rows = 0; counted < n && n_rows < MAX_ROWS; group++) {
        size_t size = 1;
        while (population->mean_group > 0 && uniform() < population->mean_group / (1 + population->mean_group))
            size++;
        bool violates = uniform() < population->violating;
        double common = normal() * sqrt(population->correlation);
        for (size_t i = 0; i < size && n_rows < MAX_ROWS; i++) {
            double score = common + normal() * sqrt(1 - population->correlation) + (violates ? population->gap : 0);
            bool truth = violates;
            if (side == SG_CERTIFY_FLAG && population->mean_group == 0)
                truth = uniform() < violating_at(population, score); /* also where there is a hole */
            score = rounded(population, score);
            double u = uniform();
            if (truth && side == SG_CERTIFY_MISS && u < population->always + population->never)
                score = u < population->always ? -INFINITY : INFINITY;
            counted += side == SG_CERTIFY_FLAG ? i == 0 : truth && i == 0;
            double p = population->p_drawn ? population->p_drawn(score) : 1;
            if (p < 1 && uniform() >= p)
                continue;
            rows[n_rows++] = (struct sg_certify_row){score, truth, p, group, size > 1};
        }
    }
}

/* --- plans of drawing --------------------------------------------------------------------------------------- */

static double low_more(double score) /* what would be cleared is looked at most */
{
    return score < 1 ? 0.9 : 0.3;
}

static double boundary_more(double score) /* the uncertain ones, as a learner asks for them */
{
    return 0.1 + 0.8 * exp(-(score - 1.5) * (score - 1.5));
}

static double low_less(double score) /* the worst for a proof: what may be missed is rarely drawn */
{
    return score < 0.5 ? 0.1 : 1;
}

/* --- the table ---------------------------------------------------------------------------------------------- */

struct scenario {
    const char *name;
    struct population population;
    size_t n;
    enum sg_certify_side side;
    double rate;
    double easy;   /* MISS: power counts draws that certify the threshold at which so much is missed; 0: none */
    double wanted; /* power */
    bool blind;    /* groups are not told: shown for comparison, expected to break its promise */
    double share;
};

static const struct scenario scenarios[] = {
    {"miss, 400 violating", {.violating = 0.2, .gap = 2}, 400, SG_CERTIFY_MISS, 0.05, 0.017, 0.9, false, 1},
    {"… first of several attempts", {.violating = 0.2, .gap = 2}, 400, SG_CERTIFY_MISS, 0.05, 0.017, 0.9, false, 0},
    {"miss, 100 violating", {.violating = 0.2, .gap = 2}, 100, SG_CERTIFY_MISS, 0.05, 0.01, 0, false, 1},
    {"miss, 1 %, 1000 violating", {.violating = 0.5, .gap = 3}, 1000, SG_CERTIFY_MISS, 0.01, 0.003, 0, false, 1},
    {"miss, scores in steps", {.violating = 0.2, .gap = 2, .step = 0.25}, 400, SG_CERTIFY_MISS, 0.05, 0, 0, false, 1},
    {"miss, a rule clears 2 %, a gate keeps 10 %",
     {.violating = 0.2, .gap = 2, .always = 0.02, .never = 0.1},
     400,
     SG_CERTIFY_MISS,
     0.05,
     0,
     0,
     false,
     1},
    {"miss, groups of 5",
     {.violating = 0.2, .gap = 2, .correlation = 0.8, .mean_group = 4},
     400,
     SG_CERTIFY_MISS,
     0.05,
     0.017,
     0.9,
     false,
     1},
    {"(the same, groups not told)",
     {.violating = 0.2, .gap = 2, .correlation = 0.8, .mean_group = 4},
     100,
     SG_CERTIFY_MISS,
     0.05,
     0,
     0,
     true,
     1},
    {"miss, low scores drawn more",
     {.violating = 0.2, .gap = 2, .p_drawn = low_more, .p_floor = 0.3},
     1300,
     SG_CERTIFY_MISS,
     0.05,
     0.017,
     0.9,
     false,
     1},
    {"miss, uncertain scores drawn more",
     {.violating = 0.2, .gap = 2, .p_drawn = boundary_more, .p_floor = 0.1},
     1500,
     SG_CERTIFY_MISS,
     0.05,
     0.017,
     0,
     false,
     1},
    {"miss, low scores drawn rarely",
     {.violating = 0.2, .gap = 2, .p_drawn = low_less, .p_floor = 0.1},
     2000,
     SG_CERTIFY_MISS,
     0.05,
     0.017,
     0,
     false,
     1},
    {"miss, weights, a third in groups",
     {.violating = 0.2, .gap = 2, .correlation = 0.95, .mean_group = 0.5, .p_drawn = low_more, .p_floor = 0.3},
     1300,
     SG_CERTIFY_MISS,
     0.05,
     0,
     0,
     false,
     1},
    {"flag, 3000 rows", {.violating = 0.2, .gap = 2.5}, 3000, SG_CERTIFY_FLAG, 0.05, 0, 0, false, 1},
    {"flag, high scores that do not violate",
     {.violating = 0.2, .gap = 2.5, .hole = true},
     3000,
     SG_CERTIFY_FLAG,
     0.1,
     0,
     0,
     false,
     1},
    {"flag, uncertain scores drawn more",
     {.violating = 0.2, .gap = 2.5, .p_drawn = boundary_more, .p_floor = 0.1},
     12000,
     SG_CERTIFY_FLAG,
     0.1,
     0,
     0,
     false,
     1},
};

static bool worse(const struct scenario *scenario, double threshold)
{
    return (scenario->side == SG_CERTIFY_MISS ? true_miss(&scenario->population, threshold)
                                              : true_wrong(&scenario->population, threshold)) > scenario->rate;
}

static int simulate(const struct scenario *scenario, int draws)
{
    int broken = 0, certified = 0, powerful = 0;
    double passed = 0;
    for (int i = 0; i < draws; i++) {
        state = (uint64_t)i << 32 | (uint64_t)scenario->n << 16;
        draw(&scenario->population, scenario->n, scenario->side);
        for (size_t j = 0; j < n_rows && scenario->blind; j++)
            rows[j].group = j;
        struct sg_certify_options options = {.side = scenario->side,
                                             .rate = scenario->rate,
                                             .confidence = 1 - DELTA,
                                             .share = scenario->share,
                                             .p_floor = scenario->population.p_floor,
                                             .seed = (uint64_t)i};
        struct sg_certified out;
        struct sg_error err;
        if (sg_certify(rows, n_rows, &options, &out, &err) != SG_OK) {
            fprintf(stderr, "simulate_certify: %s\n", err.text);
            return 1;
        }
        certified += out.certified;
        broken += out.certified && worse(scenario, out.threshold);
        passed += out.passed_share;
        /* the threshold next below counts: between two of the grid nothing could be told apart */
        powerful += out.certified && scenario->easy > 0 &&
                    true_miss(&scenario->population, out.threshold + 0.005) >= scenario->easy;
    }
    const double limit = DELTA + 3 * sqrt(DELTA * (1 - DELTA) / draws);
    const double power = (double)powerful / draws, share = (double)broken / draws;
    const bool bad = (share > limit && !scenario->blind) ||
                     (scenario->wanted > 0 &&
                      power < scenario->wanted - 3 * sqrt(scenario->wanted * (1 - scenario->wanted) / draws));
    printf("| %s | %zu | %g %% | %.1f %% | %.1f %% | ", scenario->name, scenario->n, 100 * scenario->rate,
           100 * share, 100.0 * certified / draws);
    if (scenario->easy > 0)
        printf("%.1f %% at %g %% | ", 100 * power, 100 * scenario->easy);
    else
        printf(" | ");
    printf("%.1f %% |%s\n", 100 * passed / draws, bad ? " **outside**" : "");
    fflush(stdout);
    return bad;
}

/* The same rows, six attempts, each with another screen (scores of its own): is any certificate wrong? */
static int simulate_attempts(int draws)
{
    const struct population population = {.violating = 0.2, .gap = 2};
    int broken = 0;
    for (int i = 0; i < draws; i++) {
        state = (uint64_t)i << 32 | 77;
        draw(&population, 400, SG_CERTIFY_MISS);
        double spent = 0;
        bool any = false;
        for (int attempt = 0; attempt < 6; attempt++) {
            struct sg_certify_options options = {.rate = 0.05, .confidence = 1 - DELTA, .spent = spent};
            struct sg_certified out;
            struct sg_error err;
            if (sg_certify(rows, n_rows, &options, &out, &err) != SG_OK) {
                fprintf(stderr, "simulate_certify: %s\n", err.text);
                return 1;
            }
            any = any || (out.certified && true_miss(&population, out.threshold) > 0.05);
            spent += out.delta;
            for (size_t j = 0; j < n_rows; j++)
                rows[j].score = normal() + (rows[j].violates ? population.gap : 0);
        }
        broken += any;
    }
    bool bad = (double)broken / draws > DELTA + 3 * sqrt(DELTA * (1 - DELTA) / draws);
    printf("| six attempts on the same rows, any of them wrong | 400 | 5 %% | %.1f %% | | | |%s\n",
           100.0 * broken / draws, bad ? " **outside**" : "");
    return bad;
}

static int simulate_drift(int draws)
{
    int bad = 0;
    puts("\n| audited | promise | rows | false alarms |\n|---|---|---|---|");
    for (int weighted = 0; weighted < 2; weighted++) {
        int alarms = 0;
        for (int i = 0; i < draws; i++) {
            state = (uint64_t)i << 32 | 99;
            struct sg_drift drift;
            sg_drift_init(&drift, 0.05, DELTA, weighted ? 0.05 : 1);
            for (int j = 0; j < 5000; j++) { /* weighted: of what was cleared 5 %, of what was escalated half */
                bool cleared = uniform() < 0.05;
                double p = !weighted ? 1 : cleared ? 0.05 : 0.5;
                if (uniform() < p)
                    sg_drift_add(&drift, true, cleared, p);
            }
            alarms += sg_drift_alarm(&drift);
        }
        bool outside = (double)alarms / draws > DELTA + 3 * sqrt(DELTA * (1 - DELTA) / draws);
        bad |= outside;
        printf("| %s | 5 %% | 5000 | %.1f %% |%s\n", weighted ? "5 % of cleared, half of escalated" : "all",
               100.0 * alarms / draws, outside ? " **outside**" : "");
    }
    puts("\n| promise | rises to | after rows | expected delay, audited violating rows |\n|---|---|---|---|");
    for (double rate = 0.01; rate < 0.2; rate = rate < 0.02 ? 0.05 : rate * 2)
        for (double factor = 2; factor < 5; factor += 2)
            for (uint64_t before = 0; before < 3000; before += 2000)
                printf("| %g %% | %g %% | %d | %.0f |\n", 100 * rate, 100 * rate * factor, (int)before,
                       sg_drift_delay(rate, DELTA, factor, before));
    return bad;
}

int main(int argc, char **argv)
{
    int draws = argc > 1 ? atoi(argv[1]) : 2000, bad = 0;
    if (draws < 1) {
        fprintf(stderr, "usage: simulate_certify [DRAWS]\n");
        return 2;
    }
    printf("%d draws each; confidence %g %%\n\n", draws, 100 * (1 - DELTA));
    puts("| rows | violating (flag: rows) | promise | broken | certified | power | passed: benign cleared, violating "
         "flagged |\n|---|---|---|---|---|---|---|");
    for (size_t i = 0; i < sizeof(scenarios) / sizeof(scenarios[0]); i++)
        bad |= simulate(&scenarios[i], draws);
    bad |= simulate_attempts(draws);
    bad |= simulate_drift(draws);
    return bad;
}
