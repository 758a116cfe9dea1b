#include "eval/metrics.h"

#include <math.h>
#include <stdlib.h>

const char *sg_figure_name(enum sg_figure figure)
{
    static const char *const names[] = {
#define X(symbol, name, title) name,
        SG_FIGURE_LIST(X)
#undef X
    };
    return names[figure];
}

const char *sg_figure_title(enum sg_figure figure)
{
    static const char *const titles[] = {
#define X(symbol, name, title) title,
        SG_FIGURE_LIST(X)
#undef X
    };
    return titles[figure];
}

static uint32_t weight_of(const uint32_t *weights, size_t i)
{
    return weights ? weights[i] : 1;
}

/* NaN instead of a division by nothing */
static double ratio(double part, double whole)
{
    return whole > 0 ? part / whole : NAN;
}

struct sg_confusion sg_confusion_of(const struct sg_point *points, size_t n, const uint32_t *weights)
{
    struct sg_confusion counts = {0};
    for (size_t i = 0; i < n; i++) {
        uint32_t w = weight_of(weights, i);
        switch (points[i].decision) {
        case SG_VIOLATES:
            *(points[i].truth ? &counts.tp : &counts.fp) += w;
            break;
        case SG_DOES_NOT_VIOLATE:
            *(points[i].truth ? &counts.fn : &counts.tn) += w;
            break;
        case SG_UNDECIDED:
            *(points[i].truth ? &counts.undecided_pos : &counts.undecided_neg) += w;
            break;
        }
    }
    return counts;
}

/* Highest score first; equal scores in the order of the rows, so that sums do not depend on the sort. */
static int compare_scores(const void *a, const void *b, void *context)
{
    const struct sg_point *points = context;
    uint32_t i = *(const uint32_t *)a, j = *(const uint32_t *)b;
    double x = points[i].score, y = points[j].score;
    return x > y ? -1 : x < y ? 1 : (i > j) - (i < j);
}

enum sg_status sg_points_init(struct sg_points *points, const struct sg_point *rows, size_t n, struct sg_error *err)
{
    *points = (struct sg_points){.points = rows, .n = n, .probabilities = true};
    points->by_score = malloc((n + 1) * sizeof *points->by_score);
    if (!points->by_score)
        return sg_fail(err, SG_ENOMEM, "no memory to sort %zu scores", n);
    for (size_t i = 0; i < n; i++) {
        if (isnan(rows[i].score))
            continue;
        points->by_score[points->n_scored++] = (uint32_t)i;
        points->probabilities = points->probabilities && rows[i].score >= 0 && rows[i].score <= 1;
    }
    points->probabilities = points->probabilities && points->n_scored > 0;
    qsort_r(points->by_score, points->n_scored, sizeof *points->by_score, compare_scores, (void *)rows);
    return SG_OK;
}

void sg_points_deinit(struct sg_points *points)
{
    free(points->by_score);
    *points = (struct sg_points){0};
}

/* Rows of one score, from *at on; moves *at behind them. False at the end. */
struct tie {
    double score;
    double pos, neg;
};
static bool next_tie(const struct sg_points *points, const uint32_t *weights, size_t *at, struct tie *out)
{
    if (*at == points->n_scored)
        return false;
    *out = (struct tie){.score = points->points[points->by_score[*at]].score};
    for (; *at < points->n_scored; (*at)++) {
        uint32_t i = points->by_score[*at];
        if (points->points[i].score != out->score)
            break;
        *(points->points[i].truth ? &out->pos : &out->neg) += weight_of(weights, i);
    }
    return true;
}

double sg_average_precision(const struct sg_points *points, const uint32_t *weights)
{
    double tp = 0, fp = 0, sum = 0;
    struct tie tie;
    for (size_t at = 0; next_tie(points, weights, &at, &tie);) {
        tp += tie.pos;
        fp += tie.neg;
        if (tie.pos > 0)
            sum += tie.pos * (tp / (tp + fp));
    }
    return ratio(sum, tp);
}

double sg_auroc(const struct sg_points *points, const uint32_t *weights)
{
    double pos = 0, neg = 0, above = 0; /* above: pairs in which the positive stands higher */
    struct tie tie;
    for (size_t at = 0; next_tie(points, weights, &at, &tie);) {
        above += tie.neg * (pos + tie.pos / 2);
        pos += tie.pos;
        neg += tie.neg;
    }
    return ratio(above, pos * neg);
}

static void bin_sums(const struct sg_points *points, const uint32_t *weights, double n[SG_ECE_BINS],
                     double violating[SG_ECE_BINS], double score[SG_ECE_BINS])
{
    for (size_t k = 0; k < points->n_scored; k++) {
        uint32_t i = points->by_score[k];
        const struct sg_point *point = &points->points[i];
        int bin = (int)(point->score * SG_ECE_BINS);
        bin = bin < SG_ECE_BINS ? bin : SG_ECE_BINS - 1;
        double w = weight_of(weights, i);
        n[bin] += w;
        violating[bin] += w * point->truth;
        score[bin] += w * point->score;
    }
}

double sg_ece(const struct sg_points *points, const uint32_t *weights)
{
    double n[SG_ECE_BINS] = {0}, violating[SG_ECE_BINS] = {0}, score[SG_ECE_BINS] = {0}, total = 0, gap = 0;
    if (!points->probabilities)
        return NAN;
    bin_sums(points, weights, n, violating, score);
    for (int bin = 0; bin < SG_ECE_BINS; bin++) {
        total += n[bin];
        gap += fabs(score[bin] - violating[bin]);
    }
    return ratio(gap, total);
}

void sg_figures(const struct sg_points *points, const uint32_t *weights, double out[SG_N_FIGURES])
{
    struct sg_confusion c = sg_confusion_of(points->points, points->n, weights);
    double pos = (double)(c.tp + c.fn + c.undecided_pos), neg = (double)(c.fp + c.tn + c.undecided_neg);
    out[SG_PRECISION] = ratio((double)c.tp, (double)(c.tp + c.fp));
    out[SG_RECALL] = ratio((double)c.tp, pos);
    out[SG_F1] = pos > 0 ? ratio(2 * (double)c.tp, (double)(c.tp + c.fp) + pos) : NAN;
    out[SG_HELD] = ratio((double)(c.tp + c.undecided_pos), pos);
    out[SG_FPR] = ratio((double)c.fp, neg);
    out[SG_UNDECIDED_SHARE] = ratio((double)(c.undecided_pos + c.undecided_neg), pos + neg);
    out[SG_AUPRC] = sg_average_precision(points, weights);
    out[SG_AUROC] = sg_auroc(points, weights);
    out[SG_ECE] = sg_ece(points, weights);
}

size_t sg_curve(const struct sg_points *points, struct sg_curve_point *out)
{
    double tp = 0, fp = 0;
    size_t n = 0;
    struct tie tie;
    for (size_t at = 0; next_tie(points, NULL, &at, &tie); n++) {
        tp += tie.pos;
        fp += tie.neg;
        out[n] = (struct sg_curve_point){tie.score, tp, tp / (tp + fp), (tp + fp) / (double)points->n_scored};
    }
    for (size_t i = 0; i < n; i++)
        out[i].recall = ratio(out[i].recall, tp);
    return tp > 0 ? n : 0;
}

bool sg_calibration(const struct sg_points *points, const uint32_t *weights,
                    struct sg_calibration_bin bins[SG_ECE_BINS])
{
    double n[SG_ECE_BINS] = {0}, violating[SG_ECE_BINS] = {0}, score[SG_ECE_BINS] = {0};
    if (!points->probabilities)
        return false;
    bin_sums(points, weights, n, violating, score);
    for (int bin = 0; bin < SG_ECE_BINS; bin++)
        bins[bin] =
            (struct sg_calibration_bin){(uint64_t)n[bin], (uint64_t)violating[bin], ratio(score[bin], n[bin])};
    return true;
}
