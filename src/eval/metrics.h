/* Figures of one question: how well decisions and scores agree with what is known to be true.
 *
 * Arrays of rows in, numbers out; no files, no policies. A figure that cannot be computed is NaN ("n/a"), never 0.
 * Rows whose truth is unknown are left out before they come here.
 *
 * Every function takes an optional weight per row (how often the row counts), which is what the bootstrap needs;
 * NULL means once each. */
#ifndef SG_EVAL_METRICS_H
#define SG_EVAL_METRICS_H

#include "safeguard/verdict.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SG_ECE_BINS 15

struct sg_point {
    int truth; /* 1 or 0 */
    enum sg_decision decision;
    double score; /* higher: more likely to violate; NaN: there is none */
    uint32_t group;
    uint32_t row; /* the caller's */
};

/* X(symbol, name, title): the figures that come with an interval. */
#define SG_FIGURE_LIST(X)                                                                                            \
    X(SG_PRECISION, "precision", "precision")                                                                        \
    X(SG_RECALL, "recall", "recall")                                                                                 \
    X(SG_F1, "f1", "F1")                                                                                             \
    X(SG_HELD, "held", "held")                                                                                       \
    X(SG_FPR, "fpr", "wrongly flagged")                                                                              \
    X(SG_UNDECIDED_SHARE, "undecided", "undecided")                                                                  \
    X(SG_AUPRC, "auprc", "AUPRC")                                                                                    \
    X(SG_AUROC, "auroc", "AUROC")                                                                                    \
    X(SG_ECE, "ece", "ECE")
enum sg_figure {
#define X(symbol, name, title) symbol,
    SG_FIGURE_LIST(X)
#undef X
        SG_N_FIGURES
};
const char *sg_figure_name(enum sg_figure figure);  /* "auprc" */
const char *sg_figure_title(enum sg_figure figure); /* "AUPRC" */

/* What was decided, against the truth. Undecided rows are in neither true nor false ones. */
struct sg_confusion {
    uint64_t tp, fp, fn, tn;
    uint64_t undecided_pos, undecided_neg;
};
struct sg_confusion sg_confusion_of(const struct sg_point *points, size_t n, const uint32_t *weights);

/* Points with their order by score, made once and used for every resample. */
struct sg_points {
    const struct sg_point *points; /* borrowed */
    size_t n;
    uint32_t *by_score; /* indices of the scored points, highest score first */
    size_t n_scored;
    bool probabilities; /* every score lies in [0, 1] */
};
SG_MUST_CHECK enum sg_status sg_points_init(struct sg_points *points, const struct sg_point *rows, size_t n,
                                            struct sg_error *err);
void sg_points_deinit(struct sg_points *points);

/* Average precision: Σ (R_k - R_{k-1}) P_k over the distinct scores, no interpolation. NaN without a scored positive
 * row. */
double sg_average_precision(const struct sg_points *points, const uint32_t *weights);
/* P(score of a positive > score of a negative) + half of the ties. NaN when a class is missing. */
double sg_auroc(const struct sg_points *points, const uint32_t *weights);
/* Expected calibration error of P(violation) over SG_ECE_BINS bins of equal width [i/15, (i+1)/15), the last closed:
 * Σ n_b/n |mean score - share that violates|. NaN when scores are no probabilities. */
double sg_ece(const struct sg_points *points, const uint32_t *weights);

/* All of them. Precision tp/(tp+fp); recall tp/(all violating rows): an undecided one was not found; F1 from these
 * two; held (tp + undecided violating)/(all violating): what was not let through; fpr fp/(all that do not violate);
 * undecided (of all rows). AUPRC, AUROC and ECE rest on the rows that have a score. */
void sg_figures(const struct sg_points *points, const uint32_t *weights, double out[SG_N_FIGURES]);

/* --- for plots ---------------------------------------------------------------------------------------------- */

struct sg_curve_point {
    double threshold; /* flagged: score ≥ threshold */
    double recall, precision;
    double share; /* of all scored rows that are flagged */
};
/* One point per distinct score, highest first; at most n_scored of them. Returns their number, 0 without a positive
 * row. */
size_t sg_curve(const struct sg_points *points, struct sg_curve_point *out);

struct sg_calibration_bin {
    uint64_t n, n_violating;
    double mean_score; /* NaN when empty */
};
/* False when scores are no probabilities. */
bool sg_calibration(const struct sg_points *points, const uint32_t *weights,
                    struct sg_calibration_bin bins[SG_ECE_BINS]);

#endif
