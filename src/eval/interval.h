/* How far chance alone may move a figure: intervals of a given confidence.
 *
 * Rows of one group (a template, a campaign, near-duplicates) are not independent: treating them so makes intervals
 * too narrow. Shares have exact (Clopper–Pearson) intervals: over their rows where every row is its own group, else
 * over as many rows as they are worth, by how much the share varies when whole groups are resampled. Other figures
 * have the percentiles of resampled groups (bootstrap). Where all resamples give the same value, as with no mistakes
 * at all, the bootstrap knows nothing: a share then rests on the number of groups, F1 on the bounds of its two
 * shares, and the rest has no interval. */
#ifndef SG_EVAL_INTERVAL_H
#define SG_EVAL_INTERVAL_H

#include "eval/metrics.h"

#define SG_BOOTSTRAP_DEFAULT 1000
#define SG_BOOTSTRAP_MAX 100000

/* Below so many groups with a violating row the bootstrap's own assumption is thin: `few` is set. */
#define SG_FEW_GROUPS 10

enum sg_interval_method {
    SG_INTERVAL_NONE,
    SG_INTERVAL_EXACT,     /* Clopper–Pearson over rows */
    SG_INTERVAL_EFFECTIVE, /* … over effective rows: groups have several */
    SG_INTERVAL_BOOTSTRAP
};
/* "exact", "exact over effective rows", "bootstrap", "none" */
const char *sg_interval_method_name(enum sg_interval_method method);

struct sg_interval {
    double value;     /* the figure; NaN: n/a */
    double low, high; /* NaN without an interval */
    enum sg_interval_method method;
    bool few;
};

struct sg_interval_options {
    double confidence; /* two-sided, 0.95 */
    int resamples;
    uint64_t seed;
};

/* Two-sided Clopper–Pearson interval of a share. */
struct sg_interval sg_exact_share(uint64_t part, uint64_t whole, double confidence);

/* Every figure of the points with its interval. */
SG_MUST_CHECK enum sg_status sg_intervals(const struct sg_points *points, const struct sg_interval_options *options,
                                          struct sg_interval out[SG_N_FIGURES], struct sg_error *err);

/* --- A against B on the same rows --------------------------------------------------------------------------- */

struct sg_comparison {
    size_t n;              /* rows judged by both, truth known */
    size_t both, neither;  /* right */
    size_t only_a, only_b; /* right: the discordant pairs */
    double p;              /* McNemar's exact test, two-sided; NaN without a discordant pair */
    bool grouped;          /* some group has several rows: p takes rows as independent and is too small */
    struct sg_interval difference[SG_N_FIGURES]; /* B - A, groups resampled jointly */
};

/* a[i] and b[i] are the same row: same truth and group. An undecided row is not right. */
SG_MUST_CHECK enum sg_status sg_compare(const struct sg_points *a, const struct sg_points *b,
                                        const struct sg_interval_options *options, struct sg_comparison *out,
                                        struct sg_error *err);

/* Two-sided exact binomial test of `only_a` against `only_b` at one half. NaN when both are 0. */
double sg_mcnemar(uint64_t only_a, uint64_t only_b);

#endif
