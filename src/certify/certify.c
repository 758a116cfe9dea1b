/* From scored rows to a threshold with a promise: which rows count, which thresholds are tested, in which order.
 *
 * MISS. Among what violates, the share cleared M(t) grows with the threshold t. Thresholds are tested from the safest
 * upwards, each at level delta, until the first that fails; the last that passed is certified. To certify any t with
 * M(t) > rate the first such t of the grid has to pass, which has probability ≤ delta: fixed-sequence testing costs
 * nothing (Angelopoulos et al., "Learn then Test", 2021). The grid is made of scores of rows that do not violate:
 * given the truths they are independent of the violating rows, which alone decide. (Clopper–Pearson in this sequence
 * is valid with any grid at all, for it can only pass below the k-th smallest violating score: a tolerance limit.)
 *
 * FLAG. Among what is flagged, the share that does not violate need not fall with t, and at the highest thresholds
 * too little is flagged to prove anything. So there are several starts, at fixed ranks of the scores, each with its
 * part of delta, from which thresholds go down until the first that fails. Ranks depend on scores alone; given the
 * scores the wrong rows are independent, and the binomial tail holds for their mean probability (Hoeffding 1956).
 *
 * Rows of one group are not independent, so one is taken of each: the promise is about traffic in which a campaign of
 * a thousand copies counts once. Which one depends on the seed and the row's place, never on its score. Where rows
 * were drawn with different probabilities, that of a group depends on contents nobody drew. A row of such a group
 * then counts with nothing when it is right and with its full weight when it is wrong: of a group of which the share
 * m would be cleared, the expected term is at most -(1 - rate) m ≤ rate - m, what the group should have brought. */
#include "safeguard/certify.h"

#include "certify/betting.h"
#include "certify/binomial.h"
#include "certify/mix.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define N_STARTS 4 /* FLAG: at 1, 2, 4 and 8 times the rows that could pass at all */

struct taken {
    double score, weight;  /* weight: p_floor / p_drawn */
    uint64_t group, order; /* order: by hash */
    bool violates, shared;
};

struct work {
    const struct sg_certify_options *options;
    struct sg_certified *out;
    struct taken *rows; /* one per group (MISS: and truth), in hash order */
    size_t n;
    bool uniform;
    double *grid; /* ascending, distinct, finite */
    size_t n_grid;
    struct sg_stake *stakes; /* scratch of one test, [n] each */
    bool *wrong;
    struct sg_bets bets; /* MISS: the same rows count at every threshold */
};

/* --- rows --------------------------------------------------------------------------------------------------- */

static int by_group(const void *a, const void *b)
{
    const struct taken *x = a, *y = b;
    if (x->group != y->group)
        return x->group < y->group ? -1 : 1;
    if (x->violates != y->violates)
        return x->violates ? -1 : 1;
    return (x->order > y->order) - (x->order < y->order);
}

static int by_order(const void *a, const void *b)
{
    const struct taken *x = a, *y = b;
    return (x->order > y->order) - (x->order < y->order);
}

static int ascending(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static enum sg_status check(const struct sg_certify_row *rows, size_t n, const struct sg_certify_options *options,
                            struct sg_error *err)
{
    const double delta = 1 - options->confidence;
    if (!(options->rate > 0 && options->rate < 1))
        return sg_fail(err, SG_EINVALID, "certificate: rate is %g, expected more than 0 and less than 1",
                       options->rate);
    if (!(options->confidence >= 0.5 && options->confidence < 1))
        return sg_fail(err, SG_EINVALID, "certificate: confidence is %g, expected 0.5 or more and less than 1",
                       options->confidence);
    if (!(options->spent >= 0))
        return sg_fail(err, SG_EINVALID, "certificate: spent is %g, expected 0 or more", options->spent);
    if (options->spent >= delta * (1 - 1e-9)) /* sums of parts are not exact */
        return sg_fail(err, SG_EINVALID,
                       "certificate: earlier attempts on these rows have used %g of the permitted error probability "
                       "%g: nothing is left; draw new rows",
                       options->spent, delta);
    if (!(options->share >= 0 && options->share <= 1))
        return sg_fail(err, SG_EINVALID, "certificate: share is %g, expected 0 to 1", options->share);
    if (!(options->p_floor >= 0 && options->p_floor <= 1))
        return sg_fail(err, SG_EINVALID, "certificate: p_floor is %g, expected 0 to 1", options->p_floor);
    if (options->grid < 0 || options->grid > SG_CERTIFY_MAX_GRID)
        return sg_fail(err, SG_EINVALID, "certificate: grid is %d, expected 0 to %d", options->grid,
                       SG_CERTIFY_MAX_GRID);
    if (n > SG_CERTIFY_MAX_ROWS)
        return sg_fail(err, SG_ELIMIT, "certificate: %zu rows, at most %u", n, SG_CERTIFY_MAX_ROWS);
    for (size_t i = 0; i < n; i++) {
        if (isnan(rows[i].score))
            return sg_fail(err, SG_EINVALID, "certificate: score of row %zu is not a number", i);
        if (!(rows[i].p_drawn > 0 && rows[i].p_drawn <= 1))
            return sg_fail(err, SG_EINVALID,
                           "certificate: p_drawn of row %zu is %g, expected more than 0 and at most 1", i,
                           rows[i].p_drawn);
        if (rows[i].p_drawn < options->p_floor)
            return sg_fail(err, SG_EINVALID, "certificate: p_drawn of row %zu is %g, below the floor %g", i,
                           rows[i].p_drawn, options->p_floor);
    }
    return SG_OK;
}

/* Fill work->rows. */
static enum sg_status take(struct work *work, const struct sg_certify_row *rows, size_t n, struct sg_error *err)
{
    work->rows = malloc((n ? n : 1) * sizeof(*work->rows));
    if (!work->rows)
        return sg_fail(err, SG_ENOMEM, "certificate: no memory for %zu rows", n);
    double floor = work->options->p_floor;
    for (size_t i = 0; i < n && work->options->p_floor == 0; i++)
        floor = floor == 0 || rows[i].p_drawn < floor ? rows[i].p_drawn : floor;
    work->uniform = true;
    for (size_t i = 0; i < n; i++) {
        double weight = floor / rows[i].p_drawn;
        if (weight < 1 - 1e-9)
            work->uniform = false;
        work->rows[i] = (struct taken){rows[i].score,    weight,
                                       rows[i].group,    sg_mix(sg_mix(work->options->seed ^ rows[i].group) + i),
                                       rows[i].violates, rows[i].shared};
    }
    qsort(work->rows, n, sizeof(*work->rows), by_group);
    bool per_truth = work->options->side == SG_CERTIFY_MISS;
    size_t kept = 0;
    for (size_t i = 0; i < n; i++) {
        const struct taken *row = &work->rows[i], *last = kept ? &work->rows[kept - 1] : NULL;
        if (last && last->group == row->group && (!per_truth || last->violates == row->violates)) {
            if (row->order < last->order) /* FLAG: truths are mixed, the least of all counts */
                work->rows[kept - 1] = *row;
            work->rows[kept - 1].shared = true;
            continue;
        }
        work->rows[kept++] = *row;
    }
    work->n = kept;
    qsort(work->rows, kept, sizeof(*work->rows), by_order);
    return SG_OK;
}

/* Thresholds to test: finite scores of rows that do not violate (MISS), of all (FLAG), thinned to evenly spaced ranks
 * where there are too many. */
static enum sg_status make_grid(struct work *work, struct sg_error *err)
{
    size_t n = 0, cap = work->options->grid > 0 ? (size_t)work->options->grid : SG_CERTIFY_GRID;
    work->grid = malloc((work->n ? work->n : 1) * sizeof(double));
    work->stakes = malloc((work->n ? work->n : 1) * sizeof(*work->stakes));
    work->wrong = malloc((work->n ? work->n : 1) * sizeof(bool));
    if (!work->grid || !work->stakes || !work->wrong)
        return sg_fail(err, SG_ENOMEM, "certificate: no memory for the thresholds of %zu rows", work->n);
    for (size_t i = 0; i < work->n; i++)
        if (isfinite(work->rows[i].score) && (work->options->side == SG_CERTIFY_FLAG || !work->rows[i].violates))
            work->grid[n++] = work->rows[i].score;
    qsort(work->grid, n, sizeof(double), ascending);
    size_t distinct = 0;
    for (size_t i = 0; i < n; i++)
        if (distinct == 0 || work->grid[i] != work->grid[distinct - 1])
            work->grid[distinct++] = work->grid[i];
    work->n_grid = distinct < cap ? distinct : cap;
    for (size_t j = 1; j < work->n_grid && work->n_grid < distinct; j++) /* first and last stay; targets lie left */
        work->grid[j] = work->grid[j * (distinct - 1) / (work->n_grid - 1)];
    return SG_OK;
}

/* --- one threshold ------------------------------------------------------------------------------------------ */

static bool counts(const struct work *work, const struct taken *row, double threshold)
{
    return work->options->side == SG_CERTIFY_MISS ? row->violates : row->score >= threshold;
}

static bool is_wrong(const struct work *work, const struct taken *row, double threshold)
{
    /* -INFINITY is cleared always: no threshold of the grid is as low. */
    return work->options->side == SG_CERTIFY_MISS ? row->score < threshold : !row->violates;
}

/* Rows that count at the threshold, into stakes and wrong. Returns how many; *n_wrong_out of them are wrong. */
static size_t collect(struct work *work, double threshold, size_t *n_wrong_out)
{
    size_t n = 0, n_wrong = 0;
    for (size_t i = 0; i < work->n; i++) {
        const struct taken *row = &work->rows[i];
        if (!counts(work, row, threshold))
            continue;
        work->stakes[n] = (struct sg_stake){row->shared ? 0 : row->weight, row->weight};
        work->wrong[n] = is_wrong(work, row, threshold);
        n_wrong += work->wrong[n++];
    }
    *n_wrong_out = n_wrong;
    return n;
}

/* Is the share wrong at `threshold` at most `rate`, at level delta? */
static enum sg_status test(struct work *work, double threshold, double rate, double delta, bool *passed_out,
                           struct sg_error *err)
{
    size_t n_wrong, n = collect(work, threshold, &n_wrong);
    if (work->uniform) {
        *passed_out = n > 0 && sg_binomial_at_most(n_wrong, n, rate) <= delta;
        return SG_OK;
    }
    if (work->bets.sums && rate == work->options->rate) { /* MISS: made once */
        *passed_out = sg_bets_win(&work->bets, work->wrong, delta);
        return SG_OK;
    }
    struct sg_bets bets;
    enum sg_status status = sg_bets_init(&bets, work->stakes, n, rate, err);
    if (status == SG_OK)
        *passed_out = sg_bets_win(&bets, work->wrong, delta);
    sg_bets_deinit(&bets);
    return status;
}

/* The least rate that the test at `threshold` would still grant, and what stands behind it. */
static enum sg_status describe(struct work *work, double threshold, double delta, struct sg_error *err)
{
    struct sg_certified *out = work->out;
    double all = 0, wrong = 0, others = 0, passed = 0;
    out->n_counted = out->n_wrong = 0;
    for (size_t i = 0; i < work->n; i++) {
        const struct taken *row = &work->rows[i];
        if (counts(work, row, threshold)) {
            out->n_counted++;
            out->n_wrong += is_wrong(work, row, threshold);
            all += row->weight;
            wrong += is_wrong(work, row, threshold) ? row->weight : 0;
        }
        if (work->options->side == SG_CERTIFY_MISS ? row->violates : !row->violates)
            continue;
        others += row->weight;
        if (work->options->side == SG_CERTIFY_MISS ? row->score < threshold : row->score >= threshold)
            passed += row->weight;
    }
    out->estimate = all > 0 ? wrong / all : NAN;
    out->passed_share = others > 0 ? passed / others : 0;
    out->bound = work->options->rate;
    if (work->uniform) {
        out->bound = fmin(out->bound, sg_clopper_pearson_upper(out->n_wrong, out->n_counted, delta));
        return SG_OK;
    }
    double low = out->estimate;
    for (int i = 0; i < 12; i++) {
        double middle = (low + out->bound) / 2;
        bool granted = false;
        if (!(middle > 0 && middle < out->bound))
            break;
        enum sg_status status = test(work, threshold, middle, delta, &granted, err);
        if (status != SG_OK)
            return status;
        if (granted)
            out->bound = middle;
        else
            low = middle;
    }
    return SG_OK;
}

/* --- the sequences ------------------------------------------------------------------------------------------ */

/* How many rows it would take at the threshold where least is wrong. */
static enum sg_status say_needed(struct work *work, double threshold, double delta, struct sg_error *err)
{
    struct sg_certified *out = work->out;
    const double rate = work->options->rate;
    size_t n_wrong, n = collect(work, threshold, &n_wrong);
    out->n_counted = n;
    out->n_wrong = n_wrong;
    if (work->uniform) {
        size_t low = n, high = n ? n : 1;
        while (high < SG_CERTIFY_MAX_ROWS && sg_binomial_at_most(n_wrong, high, rate) > delta)
            high *= 2;
        while (low + 1 < high) {
            size_t middle = low + (high - low) / 2;
            *(sg_binomial_at_most(n_wrong, middle, rate) > delta ? &low : &high) = middle;
        }
        out->needed = high;
        return SG_OK;
    }
    struct sg_bets bets;
    enum sg_status status = sg_bets_init(&bets, work->stakes, n, rate, err);
    if (status == SG_OK) {
        out->needed = sg_bets_needed(&bets, delta);
        out->needed = out->needed > n ? out->needed : 0;
    }
    sg_bets_deinit(&bets);
    return status;
}

static enum sg_status certify_miss(struct work *work, struct sg_error *err)
{
    struct sg_certified *out = work->out;
    const double delta = out->delta;
    size_t n_wrong, n = collect(work, -INFINITY, &n_wrong);
    struct sg_stake *stakes = malloc((n ? n : 1) * sizeof(*stakes)); /* the bets keep them */
    if (!stakes)
        return sg_fail(err, SG_ENOMEM, "certificate: no memory for the bets on %zu rows", n);
    memcpy(stakes, work->stakes, n * sizeof(*stakes));
    enum sg_status status = SG_OK;
    if (!work->uniform && n > 0)
        status = sg_bets_init(&work->bets, stakes, n, work->options->rate, err);
    bool passed = true;
    for (size_t j = 0; j < work->n_grid && status == SG_OK && passed; j++) {
        status = test(work, work->grid[j], work->options->rate, delta, &passed, err);
        if (status == SG_OK && passed) {
            out->certified = true;
            out->threshold = work->grid[j];
        }
    }
    if (status == SG_OK && !out->certified)
        status = say_needed(work, work->n_grid ? work->grid[0] : -INFINITY, delta, err);
    sg_bets_deinit(&work->bets);
    free(stakes);
    return status;
}

static enum sg_status certify_flag(struct work *work, struct sg_error *err)
{
    struct sg_certified *out = work->out;
    const double delta = out->delta / N_STARTS;
    const double first = ceil(log(delta) / log1p(-work->options->rate)); /* fewer cannot pass with equal weights */
    size_t n_wrong, j = work->n_grid;
    enum sg_status status = SG_OK;
    for (int start = 0; start < N_STARTS && status == SG_OK; start++) {
        bool passed = true;
        while (j > 0 && (double)collect(work, work->grid[j - 1], &n_wrong) < first * (1 << start))
            j--;
        while (j > 0 && passed && status == SG_OK) {
            status = test(work, work->grid[j - 1], work->options->rate, delta, &passed, err);
            if (status == SG_OK && passed) {
                out->certified = true;
                out->threshold = work->grid[--j];
            }
        }
        /* A later start lies lower, or its ranks were passed already: then it goes on where this one failed. */
    }
    if (status == SG_OK && !out->certified && work->n_grid) {
        for (j = work->n_grid; j > 1 && (double)collect(work, work->grid[j - 1], &n_wrong) < first;)
            j--;
        status = say_needed(work, work->grid[j - 1], delta, err);
    } else if (status == SG_OK && !out->certified) {
        out->needed = (size_t)first;
    }
    return status;
}

enum sg_status sg_certify(const struct sg_certify_row *rows, size_t n_rows, const struct sg_certify_options *options,
                          struct sg_certified *out, struct sg_error *err)
{
    struct work work = {.options = options, .out = out};
    *out = (struct sg_certified){
        .threshold = options->side == SG_CERTIFY_MISS ? -INFINITY : INFINITY, .bound = 1, .estimate = NAN};
    enum sg_status status = check(rows, n_rows, options, err);
    if (status == SG_OK)
        status = take(&work, rows, n_rows, err);
    if (status == SG_OK)
        status = make_grid(&work, err);
    if (status == SG_OK) {
        out->delta =
            (options->share > 0 ? options->share : SG_CERTIFY_SHARE) * (1 - options->confidence - options->spent);
        out->method = work.uniform ? SG_CLOPPER_PEARSON : SG_BETTING;
        out->n_rows = work.n;
        for (size_t i = 0; i < work.n; i++)
            out->n_violating += work.rows[i].violates;
        status = options->side == SG_CERTIFY_MISS ? certify_miss(&work, err) : certify_flag(&work, err);
    }
    if (status == SG_OK && out->certified)
        status = describe(&work, out->threshold,
                          options->side == SG_CERTIFY_FLAG ? out->delta / N_STARTS : out->delta, err);
    free(work.rows);
    free(work.grid);
    free(work.stakes);
    free(work.wrong);
    return status;
}
