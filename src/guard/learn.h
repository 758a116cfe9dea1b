/* Learning a screen from a reasoner: draw the rows that teach most, ask the reasoner, train, repeat.
 *
 * The first round is drawn by chance. Each later one prefers the rows about which the screen so far is least certain:
 * the row of rank r by distance from the decision has weight exp(-2 r / round's size), above a floor that every row
 * has. Where violations are rare those are also the rows that look most like one.
 *
 * Before that a share of the budget is drawn by chance for audits: from rows that are set aside before the first
 * answer (a fixed part of the groups that sg_split_of_group keeps for proofs). No screen learns from them, so they
 * show how good it is and may prove what it misses.
 *
 * p_drawn in the label file is the chance of the row in its round times the chance that no earlier round drew it.
 * Given what was known before the round, its inverse has expectation 1 for every row, so that rows weighted by it
 * stand for the whole corpus, however the rounds depend on earlier answers; all rounds together count it once a
 * round.
 *
 * The label file is the journal. What is drawn depends only on corpus, seed, options and answers, so a run that goes
 * on draws the same rounds again and asks the reasoner only what the file does not say. People's labels count as
 * known from the start and cost nothing. */
#ifndef SG_GUARD_LEARN_H
#define SG_GUARD_LEARN_H

#include "safeguard/content.h"
#include "safeguard/label.h"
#include "safeguard/reasoner.h"
#include "safeguard/screen.h"

#include <signal.h>

#define SG_LEARN_MAX_ROWS 5000000

struct sg_learn_row {
    const char *id; /* NULL: none */
    const struct sg_content *content;
};

struct sg_learn_report {
    int round;              /* from 1 */
    size_t n_asked, budget; /* answers of the reasoner so far, those of the label file among them */
    size_t n_kept;          /* of them from the label file */
    size_t n_violating, n_harmless, n_undecided, n_failed; /* of them */
    size_t n_known;                                        /* labels of people */
    size_t n_audit, n_audit_violating;
    double violating_share;         /* of the corpus, estimated; NaN: nothing drawn */
    const struct sg_screen *screen; /* of what is known so far, not trained on audit rows; NULL: not trained yet */
    bool final;                     /* C chosen by cross-validation, calibrated: the result */
};

struct sg_learn_options {
    const struct sg_policy *policy;
    struct sg_reasoner *reasoner;
    const struct sg_check_options *check;
    const char *labels_path; /* appended to */
    size_t budget;           /* answers of the reasoner */
    size_t first, batch;     /* rows of the first round and of each later one */
    double audit;            /* share of each round, 0 to 0.5 */
    double floor;            /* share of each round that is spread evenly, 0.01 to 1; 1 draws by chance alone */
    double c;                /* of the final fit; 0: cross-validation */
    int threads;             /* for training */
    uint64_t seed;
    bool no_text;                             /* hashes alone into the label file */
    const volatile sig_atomic_t *interrupted; /* set: end with SG_ECANCELLED; NULL: never */
    /* Called from one thread at a time; may be NULL. */
    void (*on_answer)(void *context, const struct sg_learn_report *report);
    void (*on_round)(void *context, const struct sg_learn_report *report);
    void *context;
};

struct sg_learn;

/* Reads labels, finds copies and near-duplicates, sets rows for audits aside. Rows are borrowed until destroy. */
SG_MUST_CHECK enum sg_status sg_learn_create(const struct sg_learn_options *options, const struct sg_learn_row *rows,
                                             size_t n_rows, struct sg_learn **learn_out, struct sg_error *err);
void sg_learn_destroy(struct sg_learn *learn);

/* All rounds and the final fit. SG_ENOTFOUND when all answers are alike: there is nothing to tell apart. Whatever
 * ends it early, the label file has every answer that was given. */
SG_MUST_CHECK enum sg_status sg_learn_run(struct sg_learn *learn, struct sg_screen **screen_out,
                                          struct sg_error *err);

/* Rows left after copies were taken out, and how many copies there were. */
size_t sg_learn_n_rows(const struct sg_learn *learn, size_t *n_copies_out);
/* Audited rows with an answer: their texts as a screen reads them, and whether they violate. Borrowed. */
size_t sg_learn_n_audited(const struct sg_learn *learn);
struct sg_screen_example sg_learn_audited(const struct sg_learn *learn, size_t i);

#endif
