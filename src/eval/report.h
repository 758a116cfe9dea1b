/* The report of an evaluation: one JSON document (docs/evaluation.md gives its fields), of which the terminal's
 * tables and the HTML page are views. */
#ifndef SG_EVAL_REPORT_H
#define SG_EVAL_REPORT_H

#include "eval/answer.h"
#include "eval/interval.h"

#define SG_REPORT_SCHEMA 1
#define SG_EVAL_MAX_TASKS 16
#define SG_EVAL_MAX_CONFIGS 16
#define SG_EVAL_MAX_SLICES 96   /* of one task; further ones are left out */
#define SG_EVAL_SLICE_VALUES 16 /* fields with more values make slices only where asked for by name */
#define SG_REPORT_TEXT_MAX 4000 /* bytes shown of one text */

/* X(name, title): shares of a task's rows that come beside the figures of metrics.h.
 * parse_rate: of the answers that a model wrote, those that could be read as a decision.
 * cleared_early: of the rows that do not violate, those cleared without asking the reasoner.
 * missed_early: of the rows that violate, those cleared without asking the reasoner: what a certificate bounds. */
#define SG_SHARE_LIST(X)                                                                                             \
    X("parse_rate", "answers readable")                                                                              \
    X("cleared_early", "cleared early")                                                                              \
    X("missed_early", "missed early")

/* What is measured: a policy's decisions against one category of the data. */
struct sg_eval_task {
    const char *label; /* "toxic", "any" */
    size_t category;   /* or SG_EVAL_ANY, SG_EVAL_ANY_STRICT */
};

struct sg_eval_config {
    const char *name;
    json_t *settings; /* borrowed: what it was made with, shown as it is */
    const char *policy_id[SG_EVAL_MAX_TASKS], *policy_sha256[SG_EVAL_MAX_TASKS]; /* NULL unknown */
    struct sg_answer *answers;                                                   /* [task][row] */
    /* Set by sg_report_make: answers are of several stages, whose scores are not comparable. */
    bool unknown_stages[SG_EVAL_MAX_TASKS]; /* some decision does not say which stage took it */
    bool several_stages[SG_EVAL_MAX_TASKS];
};

/* Answers to attacked rows. */
struct sg_eval_attacks {
    const char *const *names;
    size_t n_names;
    const uint32_t *rows, *tasks; /* [n_rows]: which row, violating under which task */
    size_t n_rows;
    struct sg_answer *answers[SG_EVAL_MAX_CONFIGS]; /* [name][attacked row]; NULL: not attacked */
};

struct sg_eval {
    const struct sg_eval_rows *rows;
    const char *const *files;
    size_t n_files;
    struct sg_eval_task tasks[SG_EVAL_MAX_TASKS];
    size_t n_tasks;
    struct sg_eval_config configs[SG_EVAL_MAX_CONFIGS];
    size_t n_configs;
    struct sg_interval_options interval;
    const char *const *slices; /* names of fields; none: those with few values */
    size_t n_slices;
    const struct sg_eval_attacks *attacks; /* NULL: none */
    enum sg_eval_split split;
    size_t n_rows_before; /* of all splits, without sampling */
    size_t n_opened;      /* how often the test split was opened, this time included */
    size_t sample;        /* 0: none */
    const char *version;
    bool with_text;
    size_t max_listed; /* failures and flips in the report */
};

/* *report_out is a new reference, NULL on failure. */
SG_MUST_CHECK enum sg_status sg_report_make(struct sg_eval *eval, json_t **report_out, struct sg_error *err);

/* "f1=0.8" or "CONFIG:recall=0.9": every task of every configuration (or that one) must reach it; for ece, fpr and
 * undecided it must not exceed it. Adds to report "checks" and sets *failed_out when one does not. A figure that is
 * n/a fails. SG_EINVALID for an unknown figure or configuration. */
SG_MUST_CHECK enum sg_status sg_report_check(json_t *report, const char *wanted, bool *failed_out,
                                             struct sg_error *err);

/* Tables for a terminal, plain text. Names from data and policies are in it as they are: write it with sg_put_safe.
 */
void sg_report_text(const json_t *report, struct sg_buffer *out);

/* One self-contained page: no outside resource, and everything that comes from data escaped. */
void sg_report_html(const json_t *report, struct sg_buffer *out);

#endif
