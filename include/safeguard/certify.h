/* Certificates: how much of what violates a clearing function lets through, with proof. Mathematics only: no files,
 * no policies. docs/certificate.md gives the statements, their sources, and the simulations that check them.
 *
 * A clearing function is frozen before the truth of its rows is looked at and has one knob, the threshold: content
 * whose score is below it is cleared, unless something else (a rule, the evasion gate) settles it. */
#ifndef SAFEGUARD_CERTIFY_H
#define SAFEGUARD_CERTIFY_H

#include "safeguard/status.h"

#include <stdbool.h>
#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

#define SG_CERTIFY_MAX_ROWS (1u << 26)
#define SG_CERTIFY_GRID 1000 /* thresholds, unless told otherwise */
#define SG_CERTIFY_MAX_GRID 100000
#define SG_CERTIFY_SHARE 0.8 /* of the part of δ that is left: what an attempt uses, unless told otherwise */

struct sg_certify_row {
    double score;   /* for SG_CERTIFY_MISS: cleared when score < threshold; -INFINITY: cleared whatever the threshold,
                       +INFINITY: never. For SG_CERTIFY_FLAG: flagged when score ≥ threshold; +INFINITY: flagged
                       whatever the threshold, -INFINITY: never */
    bool violates;  /* the truth */
    double p_drawn; /* probability with which this content was drawn for labelling, 0 < p ≤ 1 */
    uint64_t group; /* rows of one group count as one: one of them is taken, by a hash of the seed */
    bool shared;    /* the group may have contents that were not drawn. Where rows were drawn with different
                       probabilities that of the whole group is not known then, and the row counts only against */
};

enum sg_certify_side {
    SG_CERTIFY_MISS, /* of what violates, the share cleared is ≤ rate */
    SG_CERTIFY_FLAG  /* of what is flagged, the share that does not violate is ≤ rate */
};

struct sg_certify_options {
    enum sg_certify_side side;
    double rate;       /* α, 0 < α < 1 */
    double confidence; /* 1 - δ, from 0.5 to less than 1 */
    double spent;      /* part of δ that earlier attempts on these rows have used: 0 … δ, less than δ */
    double share;      /* of the rest of δ, what this attempt uses, at most 1; 0: SG_CERTIFY_SHARE */
    double p_floor;    /* no content could have been drawn with less: a property of the plan by which rows were drawn.
                          0: the least p_drawn of all rows given, which is right only if rows with the floor are common
                          among them */
    int grid;          /* at most so many thresholds are tested, 0: SG_CERTIFY_GRID */
    uint64_t seed;     /* which row of a group is taken, in which order bets are placed */
};

enum sg_certify_method {
    SG_CLOPPER_PEARSON, /* all rows were drawn with one probability */
    SG_BETTING
};

struct sg_certified {
    bool certified;
    double threshold; /* the highest (MISS) or lowest (FLAG) that passed: finite; when none did -INFINITY (MISS) or
                         +INFINITY (FLAG): clears or flags nothing */
    enum sg_certify_method method;
    double bound;               /* upper confidence bound of the rate at the threshold; 1 when none passed */
    double estimate;            /* point estimate there; NaN when none passed */
    size_t n_rows, n_violating; /* one per group (MISS: one per group and truth) */
    size_t n_counted;           /* rows that the bound rests on: MISS all violating ones, FLAG those flagged */
    size_t n_wrong;             /* of those, cleared (MISS) or not violating (FLAG) */
    double passed_share; /* at the threshold, weighted. MISS: of what does not violate, the share cleared; FLAG:
                            of what violates, the share flagged. 0 when none passed */
    size_t needed; /* when not certified: n_counted would have to be at least this even if no further row were wrong;
                      0 when more rows alone may not help */
    double delta;  /* what this attempt used */
};

/* SG_EINVALID for rates, confidences, probabilities out of range, NaN scores, and when nothing of δ is left;
 * SG_ELIMIT above SG_CERTIFY_MAX_ROWS. The answer depends on the rows' order when groups or weights do: keep it. */
SG_MUST_CHECK enum sg_status sg_certify(const struct sg_certify_row *rows, size_t n_rows,
                                        const struct sg_certify_options *options, struct sg_certified *out,
                                        struct sg_error *err);

/* Confidence bounds (one-sided, level 1 - delta) on a proportion: Clopper–Pearson. Nothing tried: 1 and 0. */
double sg_clopper_pearson_upper(size_t successes, size_t trials, double delta);
double sg_clopper_pearson_lower(size_t successes, size_t trials, double delta);

/* --- drift: the same claim, watched over audited traffic ------------------------------------------------------ */

#define SG_DRIFT_BETS 8

/* An e-process against "of what violates, the share cleared is ≤ rate" that starts anew every SG_DRIFT_BLOCK audited
 * violating rows, so that a good past does not hide a bad present. While the claim holds it ever reaches 1/delta with
 * probability ≤ delta. Plain data: may be stored and resumed. */
#define SG_DRIFT_BLOCK 32
struct sg_drift {
    double rate, delta, p_floor;
    double capital[SG_DRIFT_BETS]; /* one for each size of bet, all starts together */
    double highest;                /* value so far: the alarm stays */
    uint64_t n;                    /* audited violating rows */
};

/* Audits draw cleared and escalated content with probabilities of at least p_floor, which may differ. */
void sg_drift_init(struct sg_drift *drift, double rate, double delta, double p_floor);
/* One audited content: did it violate, was it cleared, with which probability was content like it audited. */
void sg_drift_add(struct sg_drift *drift, bool violates, bool cleared, double p_audited);
double sg_drift_value(const struct sg_drift *drift);
bool sg_drift_alarm(const struct sg_drift *drift);
/* Expected number of audited violating rows until the alarm once the miss rate has become factor × rate, after
 * n_before rows at exactly the promised rate (the hardest case). By simulation with a fixed seed. */
double sg_drift_delay(double rate, double delta, double factor, uint64_t n_before);

#ifdef __cplusplus
}
#endif
#endif
