/* The label file: who said what of which content, under which policy, and how the content was drawn.
 *
 * One append-only JSONL file per policy. A line is a label or an attempt at a certificate; nothing is ever changed or
 * removed, a later line of the same person on the same content replaces the earlier one when the file is read.
 * docs/labels.md describes the fields. */
#ifndef SAFEGUARD_LABEL_H
#define SAFEGUARD_LABEL_H

#include "safeguard/status.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define SG_LABEL_MAX_CATEGORIES 256
#define SG_LABEL_MAX_NAME 1024 /* bytes of an id, a person, a group */
#define SG_LABEL_MAX_TEXT (64 << 20)
#define SG_LABEL_MAX_NOTES 1000 /* lines left out that are told one by one; the rest are counted */

enum sg_label_role { SG_ROLE_GOLD, SG_ROLE_REVIEW, SG_ROLE_APPEAL, SG_ROLE_REASONER };

/* "gold", "review", "appeal", "reasoner". */
const char *sg_label_role_name(enum sg_label_role role);
bool sg_label_role_of(const char *name, enum sg_label_role *role_out);

/* Value of one category: 1, 0, or unknown. */
#define SG_LABEL_UNKNOWN (-1)

struct sg_label_value {
    const char *category;
    int value;
};

/* One line to be written. Strings are borrowed; NULL where absent. */
struct sg_label_line {
    const char *content_sha256; /* 64 hexadecimal digits; NULL: computed from text */
    const char *text;           /* optional: a store may keep hashes alone */
    size_t text_len;
    const char *id;
    int violation; /* 1, 0, SG_LABEL_UNKNOWN */
    const struct sg_label_value *categories;
    size_t n_categories;
    const char *policy_sha256;
    const char *who; /* a person's id, or "reasoner:NAME" */
    enum sg_label_role role;
    int64_t time;      /* seconds since 1970, UTC */
    const char *drawn; /* how: "uniform", "uncertainty", "audit", "picked" (by hand: no probability) */
    /* Inclusion probability, 0 < p ≤ 1; NaN when it is not known. Drawn in one of several rounds: p times what is
     * left by the rounds before, Π (1 - p there), so that rows of all rounds stand for all of the pool alike. */
    double p_drawn;
    const char *group; /* template, campaign, near-duplicate cluster; NULL: alone */
};

struct sg_label_writer;
/* Opens for appending, under a lock (SG_EUNAVAILABLE when another process holds it for 10 s); a torn last line of a
 * killed writer is completed by a line break, and readers report and skip it. SG_EFORMAT for a file that
 * holds something else: a data set is never appended to. */
SG_MUST_CHECK enum sg_status sg_label_writer_open(const char *path, struct sg_label_writer **writer_out,
                                                  struct sg_error *err);
/* Written at once, as one line. SG_EINVALID for what a label file may not hold: no "who", a reasoner in a person's
 * role, a probability of a row that was picked by hand. */
SG_MUST_CHECK enum sg_status sg_label_writer_add(struct sg_label_writer *writer, const struct sg_label_line *line,
                                                 struct sg_error *err);
/* An attempt at a certificate: `json` is one object, written as {"attempt": …} and given back by sg_labels_attempt.
 */
SG_MUST_CHECK enum sg_status sg_label_writer_attempt(struct sg_label_writer *writer, const char *json,
                                                     struct sg_error *err);
/* Flushes to disk and destroys the writer, also on failure. NULL is SG_OK. */
SG_MUST_CHECK enum sg_status sg_label_writer_close(struct sg_label_writer *writer, struct sg_error *err);

/* --- reading: one item per content ------------------------------------------------------------------------- */

enum sg_truth_source { SG_TRUTH_NONE, SG_TRUTH_REASONER, SG_TRUTH_PERSON };

/* What is known of one content. A person outranks a reasoner; an appeal outranks a review, which outranks gold;
 * people of the same rank who disagree make it disputed. Of several reasoners the latest counts. */
struct sg_labelled {
    const char *content_sha256;
    const char *id;   /* NULL when no line has one */
    const char *text; /* NULL when no line has it */
    size_t text_len;
    int violation; /* 1, 0, SG_LABEL_UNKNOWN (also when disputed) */
    enum sg_truth_source source;
    bool disputed;
    const char *drawn;       /* of the draw behind the lines of that source; NULL: no line says */
    double p_drawn;          /* NaN when unknown */
    double reasoner_p_drawn; /* of the draw behind the reasoner's lines, whoever decided */
    const char *group;       /* never NULL: content_sha256 when alone; else the latest that a line gives */
    int reasoner_violation;  /* what the reasoner said, whoever decided: for agreement */
};

/* What one person or reasoner says of a content: their last line. Borrowed until close. */
struct sg_said {
    const char *who;
    enum sg_label_role role;
    int violation;
    const struct sg_label_value *categories;
    size_t n_categories;
    int64_t time;
};

/* Which rows teach and which prove: fixed for ever by a hash of the group, half of the groups each, so that there are
 * always rows left for a proof and nobody has to remember which. Of rows that were drawn with a known probability
 * trainers take those of SG_SPLIT_TRAIN; certificates take rows of groups that the screen was not learnt from (it
 * remembers them: sg_screen_learnt_from). docs/certificate.md says why. */
enum sg_row_split { SG_SPLIT_TRAIN, SG_SPLIT_CERTIFY };
enum sg_row_split sg_split_of_group(const char *group); /* `group` of struct sg_labelled */
/* A row that may prove something and so may not teach. A person's correction does not undo the draw that it corrects.
 */
bool sg_labelled_is_kept(const struct sg_labelled *item);

struct sg_labels;
/* All lines of the files that belong to the policy (NULL: any policy). Also reads data sets in every shape of
 * docs/labels.md, .gz too: their rows are gold labels of the file, drawn "picked" unless they say how. A file that is
 * not there, and one that is neither, is an error; a line that cannot be used is left out with a note. */
SG_MUST_CHECK enum sg_status sg_labels_open(const char *const *paths, size_t n_paths, const char *policy_sha256,
                                            struct sg_labels **labels_out, struct sg_error *err);
void sg_labels_close(struct sg_labels *labels);
/* A label file (also an empty one), or a data set? Attempts are kept in label files. */
SG_MUST_CHECK enum sg_status sg_label_file_is(const char *path, bool *yes_out, struct sg_error *err);

size_t sg_labels_count(const struct sg_labels *labels);
const struct sg_labelled *sg_labels_at(const struct sg_labels *labels, size_t i); /* borrowed until close */
bool sg_labels_find(const struct sg_labels *labels, const char *content_sha256, size_t *i_out);
/* Value of item i for a category; "any" means its violation. Unknown for everything when the item is disputed. */
int sg_labels_value(const struct sg_labels *labels, size_t i, const char *category);
const char *const *sg_labels_categories(const struct sg_labels *labels, size_t *n_out);
/* Everybody's last word on item i, in the order of their first lines; at most `max` are written, the count is
 * returned. */
size_t sg_labels_said(const struct sg_labels *labels, size_t i, struct sg_said *said_out, size_t max);
/* Attempts at certificates, oldest first, as JSON text. */
const char *const *sg_labels_attempts(const struct sg_labels *labels, size_t *n_out);
/* Lines left out and why, for the user to see: "labels.jsonl line 7: …". */
const char *const *sg_labels_notes(const struct sg_labels *labels, size_t *n_out);

#ifdef __cplusplus
}
#endif
#endif
