/* The screen: a fast classifier for one policy, learnt from labels.
 *
 * Hashed n-grams of two readings of the text (as written, and normalised) → L2 logistic regression → margin.
 * Thresholds live on the margin; a calibrated probability is given where calibration rows were drawn at random. Long
 * texts are scored whole and in overlapping windows of words; the highest margin counts. */
#ifndef SAFEGUARD_SCREEN_H
#define SAFEGUARD_SCREEN_H

#include "safeguard/status.h"

#include <stdbool.h>
#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

/* What normalising saw; the names are those of the verdict's `signals`. */
#define SG_SIGNAL_LIST(X)                                                                                            \
    X(SG_SIGNAL_HIDDEN_CHARACTERS, 0, "hidden_characters") /* zero-width and other ignorable ones, out of place */   \
    X(SG_SIGNAL_BIDI_CONTROLS, 1, "bidi_controls")                                                                   \
    X(SG_SIGNAL_MIXED_SCRIPT, 2, "mixed_script")       /* inside one word */                                         \
    X(SG_SIGNAL_CONFUSABLES, 3, "confusables")         /* look-alikes of ASCII among ASCII */                        \
    X(SG_SIGNAL_STYLED_LETTERS, 4, "styled_letters")   /* full-width, mathematical, circled … */                   \
    X(SG_SIGNAL_LEET, 5, "leet")                       /* digits and signs for letters inside words */               \
    X(SG_SIGNAL_LETTER_SPACING, 6, "letter_spacing")   /* i d i o t, i.d.i.o.t */                                    \
    X(SG_SIGNAL_SMUGGLED_TEXT, 7, "smuggled_text")     /* in emoji tags or variation selectors */                    \
    X(SG_SIGNAL_COMBINING_MARKS, 8, "combining_marks") /* stacked on one letter */                                   \
    X(SG_SIGNAL_UNSEEN_FEATURES, 9, "unseen_features") /* far from what the screen was trained on */
enum sg_signal {
#define X(symbol, bit, name) symbol = 1u << (bit),
    SG_SIGNAL_LIST(X)
#undef X
};

#define SG_SCREEN_MAX_CATEGORIES 20
#define SG_SCREEN_MAX_NAME 64          /* of a category, with its NUL */
#define SG_SCREEN_MAX_BYTES (8u << 20) /* of a screen's file */
#define SG_SCREEN_MAX_EXAMPLES 10000000

struct sg_screen;

/* --- training ---------------------------------------------------------------------------------------------- */

struct sg_screen_example {
    const char *text;
    size_t text_len;
    int value;       /* 1 or 0 */
    double weight;   /* of its loss; 1 for most, 0 counts as 1 */
    bool calibrates; /* drawn at random: may calibrate, by the margin of a fit that has not seen it */
    double p_drawn;  /* of a row that calibrates: its inclusion probability; 0 counts as 1 */
    uint64_t group;  /* sg_screen_group_hash; rows of one group stay together in cross-validation; 0: alone */
};

/* Of a group's name as labels have it (the content's own hash where it is alone); never 0. */
uint64_t sg_screen_group_hash(const char *group);

struct sg_screen_options {
    const char *policy_sha256;
    double c;            /* inverse regularisation; 0: chosen by cross-validation among a few */
    double vector_scale; /* how much the word vectors count in the fit that has them; 0: 0.6 */
    bool no_prior;       /* leave out what other sets teach about kinds of harm (data/README.md says which sets) */
    /* Texts of the same traffic without labels (value and weight are not looked at): which n-grams are frequent is
     * counted over them too, which is worth much where labels are few. Their groups count as learnt from. */
    const struct sg_screen_example *background;
    size_t n_background;
    int threads;
    uint64_t seed;
    void (*progress)(void *context, const char *what, double done); /* may be NULL */
    void *progress_context;
};

struct sg_screen_category {
    const char *name; /* "any" for the violation itself */
    const struct sg_screen_example *examples;
    size_t n_examples;
};

/* Fit one model per category. SG_EINVALID when a category has no example of one class (with the counts). */
SG_MUST_CHECK enum sg_status sg_screen_train(const struct sg_screen_category *categories, size_t n_categories,
                                             const struct sg_screen_options *options, struct sg_screen **screen_out,
                                             struct sg_error *err);
SG_MUST_CHECK enum sg_status sg_screen_save(const struct sg_screen *screen, const char *path, struct sg_error *err);

/* --- using ------------------------------------------------------------------------------------------------- */

/* Maps the file and checks its version, sizes and checksum: a damaged one is SG_EFORMAT. Immutable afterwards; may be
 * used from any thread, with a scratch for each. */
SG_MUST_CHECK enum sg_status sg_screen_open(const char *path, struct sg_screen **screen_out, struct sg_error *err);
void sg_screen_close(struct sg_screen *screen);

const char *sg_screen_policy_sha256(const struct sg_screen *screen);
const char *sg_screen_sha256(const struct sg_screen *screen); /* of the file's bytes */
/* Version of the normaliser and the features: a screen of another version is refused by sg_screen_open. */
const char *sg_screen_features_version(void);
size_t sg_screen_n_categories(const struct sg_screen *screen);
const char *sg_screen_category_name(const struct sg_screen *screen, size_t category);
/* Was a row of this group (sg_screen_group_hash) learnt from? Such a row proves nothing about the screen. Never false
 * for one that was; true for one in some 400 that was not, more of
 * them above 260,000 texts. Texts are remembered likewise, by the group hash of their SHA-256. */
bool sg_screen_learnt_from(const struct sg_screen *screen, uint64_t group);
/* The whole description as a JSON object (examples, classes, C, calibration, sizes); free() it. */
SG_MUST_CHECK enum sg_status sg_screen_info(const struct sg_screen *screen, char **json_out, struct sg_error *err);

struct sg_screen_scratch; /* working memory: one for each thread */
SG_MUST_CHECK enum sg_status sg_screen_scratch_create(struct sg_screen_scratch **scratch_out, struct sg_error *err);
void sg_screen_scratch_destroy(struct sg_screen_scratch *scratch);

struct sg_screen_score {
    double margin;              /* highest over whole text, windows and readings */
    double probability;         /* calibrated; NaN when the screen has no calibration */
    size_t first_byte, n_bytes; /* the window that it comes from, in the raw text */
    unsigned signals;           /* enum sg_signal bits of the whole text */
    bool evasive;               /* the gate: this text may not be cleared by a score */
};

/* Score UTF-8 text (repaired by the caller) for one category. */
SG_MUST_CHECK enum sg_status sg_screen_score(const struct sg_screen *screen, size_t category, const char *text,
                                             size_t len, struct sg_screen_scratch *scratch,
                                             struct sg_screen_score *score_out, struct sg_error *err);

/* The strongest features of the deciding window: readable n-grams and their part of the margin. */
struct sg_screen_feature {
    char text[48]; /* cut at a character, shown with ▁ for a space */
    double weight;
};
SG_MUST_CHECK enum sg_status sg_screen_explain(const struct sg_screen *screen, size_t category, const char *text,
                                               size_t len, struct sg_screen_scratch *scratch,
                                               struct sg_screen_feature *features, size_t cap, size_t *n_out,
                                               struct sg_error *err);

#ifdef __cplusplus
}
#endif
#endif
