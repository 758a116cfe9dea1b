#include "eval/interval.h"

#include "certify/mix.h"
#include "safeguard/certify.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

const char *sg_interval_method_name(enum sg_interval_method method)
{
    static const char *const names[] = {"none", "exact", "exact over effective rows", "bootstrap"};
    return names[method];
}

struct sg_interval sg_exact_share(uint64_t part, uint64_t whole, double confidence)
{
    struct sg_interval interval = {NAN, NAN, NAN, SG_INTERVAL_NONE, false};
    if (whole == 0)
        return interval;
    double tail = (1 - confidence) / 2;
    interval.value = (double)part / (double)whole;
    interval.low = sg_clopper_pearson_lower(part, whole, tail);
    interval.high = sg_clopper_pearson_upper(part, whole, tail);
    interval.method = SG_INTERVAL_EXACT;
    return interval;
}

/* --- resampling --------------------------------------------------------------------------------------------- */

struct resampler {
    size_t n_groups, n;
    uint32_t *group;              /* of each row, 0 … n_groups - 1 */
    uint32_t *drawn;              /* how often each group was drawn */
    uint32_t *weights;            /* the same for each row */
    double *values[SG_N_FIGURES]; /* of each resample */
    size_t n_values[SG_N_FIGURES];
    uint64_t state;
};

static int compare_groups(const void *a, const void *b, void *context)
{
    const struct sg_point *points = context;
    uint32_t i = points[*(const uint32_t *)a].group, j = points[*(const uint32_t *)b].group;
    return (i > j) - (i < j);
}

/* Number the groups that occur 0, 1, … */
static void number_groups(struct resampler *resampler, const struct sg_point *points)
{
    uint32_t *order = resampler->weights; /* not in use yet */
    for (size_t i = 0; i < resampler->n; i++)
        order[i] = (uint32_t)i;
    qsort_r(order, resampler->n, sizeof *order, compare_groups, (void *)points);
    for (size_t i = 0; i < resampler->n; i++) {
        resampler->n_groups += i == 0 || points[order[i]].group != points[order[i - 1]].group;
        resampler->group[order[i]] = (uint32_t)(resampler->n_groups - 1);
    }
}

static void resampler_deinit(struct resampler *resampler)
{
    free(resampler->group);
    free(resampler->drawn);
    free(resampler->weights);
    for (int i = 0; i < SG_N_FIGURES; i++)
        free(resampler->values[i]);
}

static enum sg_status resampler_init(struct resampler *resampler, const struct sg_points *points,
                                     const struct sg_interval_options *options, struct sg_error *err)
{
    *resampler = (struct resampler){.n = points->n, .state = options->seed};
    resampler->group = malloc((points->n + 1) * sizeof *resampler->group);
    resampler->drawn = malloc((points->n + 1) * sizeof *resampler->drawn);
    resampler->weights = malloc((points->n + 1) * sizeof *resampler->weights);
    bool good = resampler->group && resampler->drawn && resampler->weights;
    for (int i = 0; i < SG_N_FIGURES; i++) {
        resampler->values[i] = malloc(((size_t)options->resamples + 1) * sizeof *resampler->values[i]);
        good = good && resampler->values[i];
    }
    if (!good) {
        resampler_deinit(resampler);
        return sg_fail(err, SG_ENOMEM, "no memory for %d resamples of %zu rows", options->resamples, points->n);
    }
    number_groups(resampler, points->points);
    return SG_OK;
}

/* Draw as many groups as there are, with replacement. */
static void resample(struct resampler *resampler)
{
    memset(resampler->drawn, 0, resampler->n_groups * sizeof *resampler->drawn);
    for (size_t i = 0; i < resampler->n_groups; i++)
        resampler->drawn[sg_mix(resampler->state += 0x9e3779b97f4a7c15) % resampler->n_groups]++;
    for (size_t i = 0; i < resampler->n; i++)
        resampler->weights[i] = resampler->drawn[resampler->group[i]];
}

static void keep(struct resampler *resampler, int figure, double value)
{
    if (!isnan(value))
        resampler->values[figure][resampler->n_values[figure]++] = value;
}

static int compare_doubles(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Linear between the order statistics. */
static double quantile(const double *sorted, size_t n, double q)
{
    double at = q * (double)(n - 1);
    size_t below = (size_t)at;
    double part = at - (double)below;
    return below + 1 < n ? sorted[below] + part * (sorted[below + 1] - sorted[below]) : sorted[below];
}

/* Percentile interval of one figure, none when half of the resamples had no value or all gave the same. */
static struct sg_interval percentile(struct resampler *resampler, int figure, double value,
                                     const struct sg_interval_options *options)
{
    struct sg_interval interval = {value, NAN, NAN, SG_INTERVAL_NONE, false};
    double *values = resampler->values[figure], tail = (1 - options->confidence) / 2;
    size_t n = resampler->n_values[figure];
    if (isnan(value) || n < 2 || 2 * n < (size_t)options->resamples)
        return interval;
    qsort(values, n, sizeof *values, compare_doubles);
    if (values[0] == values[n - 1])
        return interval;
    interval.low = quantile(values, n, tail);
    interval.high = quantile(values, n, 1 - tail);
    interval.method = SG_INTERVAL_BOOTSTRAP;
    return interval;
}

/* --- shares ------------------------------------------------------------------------------------------------- */

/* Which rows does a share rest on, and which of them count? False: the figure is no share. */
static bool in_share(int figure, const struct sg_point *point, bool *whole, bool *part)
{
    bool flagged = point->decision == SG_VIOLATES, undecided = point->decision == SG_UNDECIDED;
    switch (figure) {
    case SG_PRECISION:
        *whole = flagged;
        *part = point->truth;
        return true;
    case SG_RECALL:
        *whole = point->truth;
        *part = flagged;
        return true;
    case SG_HELD:
        *whole = point->truth;
        *part = flagged || undecided;
        return true;
    case SG_FPR:
        *whole = !point->truth;
        *part = flagged;
        return true;
    case SG_UNDECIDED_SHARE:
        *whole = true;
        *part = undecided;
        return true;
    default:
        return false;
    }
}

/* As many independent rows as would make the share vary as much as it does when groups are resampled (Korn and
 * Graubard 1998, without their factor for the degrees of freedom); the number of groups where resampling says
 * nothing. */
static uint64_t effective_rows(const struct resampler *resampler, int figure, uint64_t n_part, uint64_t n_whole,
                               uint64_t n_groups)
{
    const double *values = resampler->values[figure];
    size_t n = resampler->n_values[figure];
    double share = (double)n_part / (double)n_whole, sum = 0;
    if (n_part == 0 || n_part == n_whole || n < 2)
        return n_groups;
    for (size_t i = 0; i < n; i++)
        sum += (values[i] - share) * (values[i] - share);
    double rows = share * (1 - share) * (double)n / sum;
    return rows < (double)n_whole ? (uint64_t)fmax(rows, 1) : n_whole; /* also when sum is 0 */
}

/* Exact bounds of a share: over its rows where no two of them are of one group, else over as many rows as they are
 * worth. False when the figure is no share. */
static bool exact_figure(const struct resampler *resampler, const struct sg_points *points, int figure,
                         double confidence, struct sg_interval *out)
{
    uint32_t *seen = resampler->drawn;
    uint64_t n_whole = 0, n_part = 0, n_groups = 0;
    bool whole, part;
    memset(seen, 0, resampler->n_groups * sizeof *seen);
    for (size_t i = 0; i < points->n; i++) {
        if (!in_share(figure, &points->points[i], &whole, &part))
            return false;
        if (!whole)
            continue;
        n_whole++;
        n_part += part;
        n_groups += seen[resampler->group[i]]++ == 0;
    }
    *out = sg_exact_share(n_part, n_whole, confidence);
    if (n_whole == n_groups)
        return true;
    uint64_t n = effective_rows(resampler, figure, n_part, n_whole, n_groups);
    double tail = (1 - confidence) / 2, hits = out->value * (double)n; /* rounded outwards */
    out->low = sg_clopper_pearson_lower((uint64_t)(hits + 1e-9), n, tail);
    out->high = sg_clopper_pearson_upper((uint64_t)ceil(hits - 1e-9), n, tail);
    out->method = SG_INTERVAL_EFFECTIVE;
    return true;
}

/* F1 is monotone in precision and recall: exact bounds of both, each at half of the error, bound it. For the case
 * without any mistake (or without any hit), about which resampling says nothing. */
static void bound_f1(const struct resampler *resampler, const struct sg_points *points, double confidence,
                     struct sg_interval *f1)
{
    struct sg_interval precision, recall;
    double half = 1 - (1 - confidence) / 2;
    if (isnan(f1->value) || !exact_figure(resampler, points, SG_PRECISION, half, &precision) ||
        !exact_figure(resampler, points, SG_RECALL, half, &recall) || isnan(precision.low) || isnan(recall.low))
        return;
    f1->low = precision.low + recall.low > 0 ? 2 * precision.low * recall.low / (precision.low + recall.low) : 0;
    f1->high = 2 * precision.high * recall.high / (precision.high + recall.high);
    f1->method = precision.method == recall.method ? precision.method : SG_INTERVAL_EFFECTIVE;
}

static size_t count_violating_groups(const struct resampler *resampler, const struct sg_points *points)
{
    size_t n = 0;
    memset(resampler->drawn, 0, resampler->n_groups * sizeof *resampler->drawn);
    for (size_t i = 0; i < points->n; i++)
        n += points->points[i].truth && resampler->drawn[resampler->group[i]]++ == 0;
    return n;
}

enum sg_status sg_intervals(const struct sg_points *points, const struct sg_interval_options *options,
                            struct sg_interval out[SG_N_FIGURES], struct sg_error *err)
{
    struct resampler resampler;
    double values[SG_N_FIGURES], drawn[SG_N_FIGURES];
    sg_figures(points, NULL, values);
    for (int i = 0; i < SG_N_FIGURES; i++)
        out[i] = (struct sg_interval){values[i], NAN, NAN, SG_INTERVAL_NONE, false};
    if (points->n == 0)
        return SG_OK;
    enum sg_status status = resampler_init(&resampler, points, options, err);
    if (status != SG_OK)
        return status;
    for (int k = 0; k < options->resamples; k++) {
        resample(&resampler);
        sg_figures(points, resampler.weights, drawn);
        for (int i = 0; i < SG_N_FIGURES; i++)
            keep(&resampler, i, drawn[i]);
    }
    bool few = count_violating_groups(&resampler, points) < SG_FEW_GROUPS;
    for (int i = 0; i < SG_N_FIGURES; i++) {
        if (!exact_figure(&resampler, points, i, options->confidence, &out[i]))
            out[i] = percentile(&resampler, i, values[i], options);
        if (i == SG_F1 && out[i].method == SG_INTERVAL_NONE)
            bound_f1(&resampler, points, options->confidence, &out[i]);
        out[i].few = few && out[i].method == SG_INTERVAL_BOOTSTRAP;
    }
    resampler_deinit(&resampler);
    return SG_OK;
}

/* --- A against B -------------------------------------------------------------------------------------------- */

double sg_mcnemar(uint64_t only_a, uint64_t only_b)
{
    uint64_t n = only_a + only_b, least = only_a < only_b ? only_a : only_b;
    if (n == 0)
        return NAN;
    int sign;
    double tail = 0, all = lgamma_r((double)n + 1, &sign) - (double)n * log(2);
    for (uint64_t k = 0; k <= least; k++)
        tail += exp(all - lgamma_r((double)k + 1, &sign) - lgamma_r((double)(n - k) + 1, &sign));
    return fmin(1, 2 * tail);
}

static bool is_right(const struct sg_point *point)
{
    return point->decision == (point->truth ? SG_VIOLATES : SG_DOES_NOT_VIOLATE);
}

enum sg_status sg_compare(const struct sg_points *a, const struct sg_points *b,
                          const struct sg_interval_options *options, struct sg_comparison *out, struct sg_error *err)
{
    struct resampler resampler;
    double of_a[SG_N_FIGURES], of_b[SG_N_FIGURES];
    *out = (struct sg_comparison){.n = a->n};
    if (a->n != b->n)
        return sg_fail(err, SG_EINVALID, "%zu rows of one against %zu of the other", a->n, b->n);
    for (size_t i = 0; i < a->n; i++) {
        bool right_a = is_right(&a->points[i]), right_b = is_right(&b->points[i]);
        *(right_a ? (right_b ? &out->both : &out->only_a) : right_b ? &out->only_b : &out->neither) += 1;
    }
    out->p = sg_mcnemar(out->only_a, out->only_b);
    sg_figures(a, NULL, of_a);
    sg_figures(b, NULL, of_b);
    for (int i = 0; i < SG_N_FIGURES; i++)
        out->difference[i] = (struct sg_interval){of_b[i] - of_a[i], NAN, NAN, SG_INTERVAL_NONE, false};
    if (a->n == 0)
        return SG_OK;
    enum sg_status status = resampler_init(&resampler, a, options, err);
    if (status != SG_OK)
        return status;
    out->grouped = resampler.n_groups < a->n;
    for (int k = 0; k < options->resamples; k++) {
        double drawn_a[SG_N_FIGURES], drawn_b[SG_N_FIGURES];
        resample(&resampler);
        sg_figures(a, resampler.weights, drawn_a);
        sg_figures(b, resampler.weights, drawn_b);
        for (int i = 0; i < SG_N_FIGURES; i++)
            keep(&resampler, i, drawn_b[i] - drawn_a[i]);
    }
    bool few = count_violating_groups(&resampler, a) < SG_FEW_GROUPS;
    for (int i = 0; i < SG_N_FIGURES; i++) {
        out->difference[i] = percentile(&resampler, i, of_b[i] - of_a[i], options);
        out->difference[i].few = few && out->difference[i].method == SG_INTERVAL_BOOTSTRAP;
    }
    resampler_deinit(&resampler);
    return SG_OK;
}
