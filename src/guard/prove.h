/* From label files to a certificate: which rows may prove something, what they cost of the error probability that may
 * be spent on them, and what comes out. The attempt is written to the label file before anything is told of its
 * outcome. */
#ifndef SG_GUARD_PROVE_H
#define SG_GUARD_PROVE_H

#include "guard/certificate.h"
#include "safeguard/label.h"

struct sg_proof_options {
    const struct sg_policy *policy;
    const char *screen_path;
    const char *rules_path; /* NULL: none */
    const char *const *label_paths;
    size_t n_label_paths;
    const char *attempts_path; /* label file that keeps attempts; NULL: the first of the label files that is none of
                                  the data sets */
    /* Both or none: the claims are about the reasoner whose verdicts these are, behind what the certificate lets
     * rules and screen decide, of one category. They are added to a copy of the certificate. */
    const char *certificate_path, *verdicts_path;
    const char *const *categories;
    size_t n_categories;
    double miss, flag; /* promised rates; NaN: not asked for */
    double confidence, share, p_floor;
    uint64_t seed;
    bool people_only;   /* truths of people alone */
    bool one_per_group; /* at most one row of each group could be drawn, p_drawn is the group's */
    int64_t time;
};

/* Why rows prove nothing. X(symbol, why) */
#define SG_UNFIT_LIST(X)                                                                                             \
    X(SG_UNFIT_NO_TEXT, "have no text (hashes alone)")                                                               \
    X(SG_UNFIT_DISPUTED, "are disputed")                                                                             \
    X(SG_UNFIT_UNKNOWN, "have no label for the category")                                                            \
    X(SG_UNFIT_NOT_PEOPLE, "have no label of a person")                                                              \
    X(SG_UNFIT_NOT_DRAWN, "were picked, or nobody says with what probability they were drawn")                       \
    X(SG_UNFIT_LEARNT, "are of groups that the screen has learnt from")                                              \
    X(SG_UNFIT_UNREADABLE, "are empty")
enum sg_unfit {
#define X(symbol, why) symbol,
    SG_UNFIT_LIST(X)
#undef X
        SG_UNFIT_COUNT
};

struct sg_proof {
    struct sg_certificate certificate;
    size_t n_rows, n_fit[SG_SCREEN_MAX_CATEGORIES]; /* of each category */
    size_t n_unfit[SG_SCREEN_MAX_CATEGORIES][SG_UNFIT_COUNT];
    bool repeated; /* every attempt had been made before, with the same outcome: nothing new was spent */
    char **notes;  /* of the label files */
    size_t n_notes;
};

/* *proof_out is NULL on failure. Nothing certified is no failure. */
SG_MUST_CHECK enum sg_status sg_prove(const struct sg_proof_options *options, struct sg_proof **proof_out,
                                      struct sg_error *err);
void sg_proof_destroy(struct sg_proof *proof);

/* What the guard's clearing function says of a row's text. SG_EINVALID when there is nothing in it to judge. */
SG_MUST_CHECK enum sg_status sg_row_clearing(struct sg_guard *guard, const struct sg_labelled *row,
                                             enum sg_clearing *clearing_out, double *score_out, struct sg_error *err);

#endif
