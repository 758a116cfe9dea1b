/* Platt scaling by Newton's method with backtracking.
 *
 * Source: Lin, Lin, Weng, "A note on Platt's probabilistic outputs for support vector machines" (2007), whose targets
 * (n+ + 1)/(n+ + 2) and 1/(n- + 2) keep a separable sample from an infinite slope. Rows count 1/π each, scaled so
 * that all together count as many as there are. */
#include "screen/calibrate.h"

#include <math.h>

#define MAX_STEPS 100

struct fit {
    const struct sg_calibration_row *rows;
    size_t n;
    double unit; /* weights are multiplied by it */
    double target_positive, target_negative;
};

static double loss_at(const struct fit *fit, double slope, double intercept)
{
    double loss = 0;
    for (size_t i = 0; i < fit->n; i++) {
        const struct sg_calibration_row *row = fit->rows + i;
        double z = slope * row->margin + intercept;
        double target = row->violates ? fit->target_positive : fit->target_negative;
        double softplus = z > 0 ? z + log1p(exp(-z)) : log1p(exp(z));
        loss += fit->unit * row->weight * (softplus - target * z);
    }
    return loss;
}

static void newton(const struct fit *fit, double *slope, double *intercept)
{
    double loss = loss_at(fit, *slope, *intercept);
    for (int step = 0; step < MAX_STEPS; step++) {
        double g1 = 0, g2 = 0, h11 = 1e-12, h22 = 1e-12, h12 = 0;
        for (size_t i = 0; i < fit->n; i++) {
            const struct sg_calibration_row *row = fit->rows + i;
            double p = 1 / (1 + exp(-(*slope * row->margin + *intercept)));
            double weight = fit->unit * row->weight;
            double gradient = weight * (p - (row->violates ? fit->target_positive : fit->target_negative));
            double curvature = weight * p * (1 - p);
            g1 += gradient * row->margin;
            g2 += gradient;
            h11 += curvature * row->margin * row->margin;
            h12 += curvature * row->margin;
            h22 += curvature;
        }
        if (fabs(g1) < 1e-8 * (double)fit->n && fabs(g2) < 1e-8 * (double)fit->n)
            return;
        double det = h11 * h22 - h12 * h12;
        double d1 = -(h22 * g1 - h12 * g2) / det, d2 = -(h11 * g2 - h12 * g1) / det;
        double slack = g1 * d1 + g2 * d2, size = 1;
        for (; size > 1e-10; size /= 2) {
            double tried = loss_at(fit, *slope + size * d1, *intercept + size * d2);
            if (tried < loss + 1e-4 * size * slack) {
                *slope += size * d1;
                *intercept += size * d2;
                loss = tried;
                break;
            }
        }
        if (size <= 1e-10)
            return; /* no step is better: as good as it gets in these numbers */
    }
}

bool sg_calibrate(const struct sg_calibration_row *rows, size_t n, double *slope_out, double *intercept_out)
{
    size_t n_positive = 0;
    double total = 0, total_positive = 0;
    *slope_out = *intercept_out = 0;
    for (size_t i = 0; i < n; i++) {
        n_positive += rows[i].violates;
        total += rows[i].weight;
        total_positive += rows[i].violates ? rows[i].weight : 0;
    }
    if (n_positive < SG_CALIBRATION_MIN || n - n_positive < SG_CALIBRATION_MIN)
        return false;
    double positive = total_positive * (double)n / total, negative = (double)n - positive;
    struct fit fit = {
        .rows = rows,
        .n = n,
        .unit = (double)n / total,
        .target_positive = (positive + 1) / (positive + 2),
        .target_negative = 1 / (negative + 2),
    };
    double slope = 0, intercept = log((positive + 1) / (negative + 1));
    newton(&fit, &slope, &intercept);
    if (!isfinite(slope) || !isfinite(intercept) || slope <= 0)
        return false;
    *slope_out = slope;
    *intercept_out = intercept;
    return true;
}
