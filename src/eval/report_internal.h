/* Shared by the makers of the report. */
#ifndef SG_EVAL_REPORT_INTERNAL_H
#define SG_EVAL_REPORT_INTERNAL_H

#include "eval/report.h"

struct sg_maker {
    const struct sg_eval *eval;
    bool failed; /* memory ran out somewhere; seen at the end */
};

/* object[name] = value (stolen); a NULL value or a failure is remembered. */
void sg_put(struct sg_maker *maker, json_t *object, const char *name, json_t *value);
void sg_add(struct sg_maker *maker, json_t *list, json_t *value);
/* Any text as JSON, repaired where it is not UTF-8; null for NULL. */
json_t *sg_text_json(const char *text, size_t len);
json_t *sg_name_json(const char *text);
/* A number, null when it is none. */
json_t *sg_real(double value);
json_t *sg_count(uint64_t value);
json_t *sg_interval_json(struct sg_interval interval, const char *why);

const struct sg_answer *sg_answer_of(const struct sg_eval *eval, size_t config, size_t task, size_t row);

/* Points of one question, with what is needed to judge intervals. */
struct sg_question_points {
    struct sg_point *rows;
    struct sg_points points;
};
/* Does row count, with which truth and decision? For sg_collect. */
typedef bool (*sg_take_fn)(const struct sg_eval *eval, size_t config, size_t task, size_t row, const void *context,
                           struct sg_point *point);
SG_MUST_CHECK enum sg_status sg_collect(const struct sg_eval *eval, size_t config, size_t task, sg_take_fn take,
                                        const void *context, struct sg_question_points *out, struct sg_error *err);
void sg_question_points_deinit(struct sg_question_points *points);

/* Rows whose truth is known and that were answered. context NULL. */
bool sg_take_answered(const struct sg_eval *eval, size_t config, size_t task, size_t row, const void *context,
                      struct sg_point *point);

/* report_lists.c */
SG_MUST_CHECK enum sg_status sg_report_failures(struct sg_maker *maker, size_t config, size_t task, json_t *object,
                                                struct sg_error *err);
SG_MUST_CHECK enum sg_status sg_report_comparison(struct sg_maker *maker, size_t a, size_t b, size_t task,
                                                  json_t *list, struct sg_error *err);
/* report_attacks.c */
SG_MUST_CHECK enum sg_status sg_report_attacks(struct sg_maker *maker, json_t *report, struct sg_error *err);

#endif
