/* One answer to one row: what a configuration said, read from the JSON of a verdict.
 *
 * Verdicts of a run, of a journal and of a file of predictions all come this way, so that a recorded run and a live
 * one give the same figures. Besides whole verdicts (docs/verdict.md) a line may be {"id","score"},
 * {"id","p_violation"} or {"id","violation"}. */
#ifndef SG_EVAL_ANSWER_H
#define SG_EVAL_ANSWER_H

#include "eval/eval_rows.h"
#include "safeguard/verdict.h"

#include <jansson.h>

struct sg_answer {
    json_t *line; /* owned reference; NULL: not answered */
    enum sg_decision decision;
    double score;    /* p_violation, else score; NaN */
    bool failed;     /* an error line: undecided, and counted by itself */
    bool by_model;   /* a model wrote an answer, … */
    bool unreadable; /* … which could not be read as a decision */
    int calls;       /* of the reasoner: 0 or 1, -1 unknown */
    bool early;      /* decided by a stage that asks no reasoner, nor repeats one */
    int64_t n_prompt_tokens, n_cached_tokens, n_output_tokens; /* -1 unknown */
    double total_ms;                                           /* NaN unknown */
    double margin, screen_score;                               /* of the screen; NaN */
    /* borrowed from line; NULL where absent */
    const char *stage, *reason, *policy_id, *policy_sha256;
};

/* Takes a reference of `line` when it succeeds. A line that has only a score is decided by score ≥ threshold
 * (NaN: 0.5).
 * SG_EFORMAT for a line that says nothing about violation, or says it in an unknown way. */
SG_MUST_CHECK enum sg_status sg_answer_read(json_t *line, double threshold, struct sg_answer *answer,
                                            struct sg_error *err);
void sg_answer_deinit(struct sg_answer *answer);

/* What the answer says of a category: its flag, else whether it is the one category that the answer names; 1, 0, or
 * SG_LABEL_UNKNOWN. False when the answer does not mention it. */
bool sg_answer_flag(const struct sg_answer *answer, const char *category, int *value_out);

/* Of a file of predictions, the answers to rows. */
struct sg_predictions {
    const char *label;                     /* of the task, for policies' ids; NULL: every line is of this task */
    const char *policy_id, *policy_sha256; /* also accepted; NULL */
    const char *config;                    /* only lines of this configuration, as journals name them; NULL: any */
    double threshold;
    size_t n_unknown, n_other; /* out: lines of ids that no row has; lines of other policies or configurations */
};

#define SG_PREDICTIONS_MAX_BYTES ((size_t)4 << 30)
#define SG_PREDICTIONS_MAX_LINE ((size_t)64 << 20)

/* Fill answers[n rows] (zeroed by the caller). The last of several lines with one id counts only when it stands for a
 * repeated attempt at a failed one; else SG_EFORMAT names both lines. Journals' attacked rows are left out. */
SG_MUST_CHECK enum sg_status sg_predictions_parse(const char *name, const char *bytes, size_t len,
                                                  struct sg_predictions *predictions, const struct sg_eval_rows *rows,
                                                  struct sg_answer *answers, struct sg_error *err);
SG_MUST_CHECK enum sg_status sg_predictions_read(const char *path, struct sg_predictions *predictions,
                                                 const struct sg_eval_rows *rows, struct sg_answer *answers,
                                                 struct sg_error *err);

#endif
