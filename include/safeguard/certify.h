/* Certificates: how much of what violates a clearing function lets through, with proof. Mathematics only: no files,
 * no policies. docs/certificate.md gives the statements, proofs' sources and the simulations that check them.
 *
 * A clearing function is frozen before its rows are drawn and has one knob, the threshold: content whose score is
 * below it is cleared, unless something else (a rule, the evasion gate) forbids that. */
#ifndef SAFEGUARD_CERTIFY_H
#define SAFEGUARD_CERTIFY_H

#include "safeguard/status.h"

#include <stdbool.h>
#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

struct sg_certify_row {
    double score;   /* cleared when score < threshold; +INFINITY: never cleared; -INFINITY: cleared whatever the
                       threshold (a rule clears it) */
    bool violates;  /* the truth */
    double p_drawn; /* inclusion probability, 0 < p ≤ 1 */
    uint64_t group; /* rows of one group count as one: one of them is taken, by a hash of the seed */
};

enum sg_certify_side {
    SG_CERTIFY_MISS, /* of what violates, the share cleared is ≤ rate */
    SG_CERTIFY_FLAG  /* of what is flagged (score ≥ threshold), the share that does not violate is ≤ rate */
};

struct sg_certify_options {
    enum sg_certify_side side;
    double rate;       /* α: 0.01, 0.05 … */
    double confidence; /* 1 - δ: 0.95 */
    double spent;      /* part of δ that earlier attempts on overlapping rows have used */
    int grid;          /* thresholds tested, fixed before looking at truths; 0: a default */
    uint64_t seed;     /* which row of a group is taken, order of weighted rows */
};

enum sg_certify_method { SG_CLOPPER_PEARSON, SG_BETTING };

struct sg_certified {
    bool certified;
    double threshold; /* the highest (MISS) or lowest (FLAG) that passed; -INFINITY or +INFINITY when none did */
    enum sg_certify_method method;
    double bound;               /* upper confidence bound of the rate at the threshold; 1 when none passed */
    double estimate;            /* point estimate there */
    size_t n_rows, n_violating; /* after one row per group */
    size_t n_cleared_violating; /* at the threshold (FLAG: wrongly flagged) */
    size_t needed_violating;    /* when not certified: at least so many violating rows would be needed even if none of
                                   them were cleared */
    double cleared_share;       /* of rows that do not violate (weighted), at the threshold */
    double delta_used;          /* part of δ that this attempt used */
};

/* SG_EINVALID for rates, confidences, probabilities out of range and for spent ≥ δ. */
SG_MUST_CHECK enum sg_status sg_certify(const struct sg_certify_row *rows, size_t n_rows,
                                        const struct sg_certify_options *options, struct sg_certified *out,
                                        struct sg_error *err);

/* Upper confidence bound (one-sided, level 1 - delta) on a proportion: Clopper–Pearson. */
double sg_clopper_pearson_upper(size_t successes, size_t trials, double delta);
double sg_clopper_pearson_lower(size_t successes, size_t trials, double delta);

/* --- drift: the same claim, watched over audited traffic ------------------------------------------------------ */

/* A restarting e-process against "miss rate ≤ rate": value() stays below 1/delta with probability ≥ 1 - delta for
 * ever if the claim holds. Plain data: may be stored and resumed. */
struct sg_drift {
    double rate, delta;
    double log_e[8]; /* one for each bet size; their mean is the e-value */
    uint64_t n;      /* audited violating rows (weighted sum of indicator terms is in log_e) */
    double restarts;
};
void sg_drift_init(struct sg_drift *drift, double rate, double delta);
/* One audited row: did it violate, was it cleared, with which probability was it audited. */
void sg_drift_add(struct sg_drift *drift, bool violates, bool cleared, double p_audited);
double sg_drift_value(const struct sg_drift *drift);
bool sg_drift_alarm(const struct sg_drift *drift);
/* Expected number of audited violating rows until an alarm when the miss rate has become `factor` × rate, by
 * simulation with a fixed seed. */
double sg_drift_delay(double rate, double delta, double factor);

#ifdef __cplusplus
}
#endif
#endif
