/* What went wrong, row by row: failures grouped by the rule they cite, and flips between two configurations. */
#include "eval/report_internal.h"

#include "base/utf8.h"

#include <math.h>
#include <stdlib.h>

/* --- one answer ------------------------------------------------------------------------------------------------ */

/* Rules of the policy that an answer cites, else those of the policy's list that matched, else the category; else
 * NULL. New reference. */
static json_t *rules_of(const struct sg_answer *answer)
{
    json_t *rules = json_object_get(answer->line, "rule_ids"), *category = json_object_get(answer->line, "category"),
           *matches = json_object_get(answer->line, "rule_matches"), *match;
    size_t i;
    if (json_array_size(rules) > 0)
        return json_incref(rules);
    if (json_array_size(matches) > 0) {
        rules = json_array();
        json_array_foreach(matches, i, match) json_array_append(rules, json_object_get(match, "rule"));
        return rules;
    }
    return json_is_string(category) ? json_pack("[O]", category) : NULL;
}

/* Text cut at SG_REPORT_TEXT_MAX bytes, between characters, and said so. */
static json_t *cut_json(const char *text, size_t len)
{
    if (len <= SG_REPORT_TEXT_MAX)
        return sg_text_json(text, len);
    struct sg_buffer cut = {0};
    size_t n = sg_utf8_ready((struct sg_slice){text, SG_REPORT_TEXT_MAX});
    sg_buffer_append(&cut, text, n);
    sg_buffer_printf(&cut, " … (%zu bytes more)", len - n);
    json_t *json = cut.failed ? NULL : sg_text_json(cut.data, cut.len);
    sg_buffer_free(&cut);
    return json;
}

static void put_cut(struct sg_maker *maker, json_t *object, const char *name, const struct sg_answer *answer)
{
    const json_t *value = json_object_get(answer->line, name);
    if (json_is_string(value))
        sg_put(maker, object, name, cut_json(json_string_value(value), json_string_length(value)));
}

/* What a person wants to see of an answer; reasoning quotes content, so it goes with the texts. */
static json_t *answer_json(struct sg_maker *maker, const struct sg_answer *answer)
{
    json_t *object = json_object(), *rules = rules_of(answer);
    sg_put(maker, object, "decision", json_string(answer->failed ? "failed" : sg_decision_name(answer->decision)));
    sg_put(maker, object, "score", sg_real(answer->score));
    sg_put(maker, object, "stage", sg_name_json(answer->stage));
    sg_put(maker, object, "reason", sg_name_json(answer->reason));
    sg_put(maker, object, "rules", rules ? rules : json_array());
    if (maker->eval->with_text) {
        put_cut(maker, object, "reasoning", answer);
        put_cut(maker, object, "rationale", answer);
    }
    return object;
}

static json_t *row_json(struct sg_maker *maker, size_t task, size_t row)
{
    const struct sg_eval *eval = maker->eval;
    int truth = sg_eval_truth(eval->rows, row, eval->tasks[task].category);
    json_t *object = json_object();
    sg_put(maker, object, "id", sg_name_json(eval->rows->rows[row].id));
    sg_put(maker, object, "truth", truth == SG_LABEL_UNKNOWN ? json_null() : json_integer(truth));
    if (eval->with_text)
        sg_put(maker, object, "text", cut_json(eval->rows->rows[row].text.ptr, eval->rows->rows[row].text.len));
    return object;
}

/* --- failures --------------------------------------------------------------------------------------------------- */

/* How an answer stands to the truth; NULL: not answered, or the truth is not known. */
static const char *outcome(const struct sg_eval *eval, size_t config, size_t task, size_t row)
{
    const struct sg_answer *answer = sg_answer_of(eval, config, task, row);
    int truth = sg_eval_truth(eval->rows, row, eval->tasks[task].category);
    if (!answer->line || truth == SG_LABEL_UNKNOWN)
        return NULL;
    if (answer->decision == SG_UNDECIDED)
        return "undecided";
    if (answer->decision == SG_VIOLATES)
        return truth ? "right" : "wrongly_flagged";
    return truth ? "missed" : "right";
}

static void count_rule(struct sg_maker *maker, json_t *groups, const char *rule, const char *how)
{
    json_t *group = json_object_get(groups, rule);
    if (!group) {
        group = json_pack("{s:i, s:i, s:i, s:i}", "wrongly_flagged", 0, "missed", 0, "undecided", 0, "right", 0);
        sg_put(maker, groups, rule, group);
    }
    sg_put(maker, group, how, json_integer(json_integer_value(json_object_get(group, how)) + 1));
}

static void count_rules(struct sg_maker *maker, json_t *groups, const struct sg_answer *answer, const char *how)
{
    json_t *rules = rules_of(answer), *rule;
    size_t i;
    json_array_foreach(rules, i, rule) if (json_is_string(rule))
        count_rule(maker, groups, json_string_value(rule), how);
    if (!rules)
        count_rule(maker, groups, "", how);
    json_decref(rules);
}

struct failure {
    size_t row;
    double surety; /* how far the score is on the wrong side: the surest errors come first */
};
static int compare_failures(const void *a, const void *b)
{
    const struct failure *x = a, *y = b;
    return x->surety != y->surety ? (x->surety < y->surety) - (x->surety > y->surety)
                                  : (x->row > y->row) - (x->row < y->row);
}

enum sg_status sg_report_failures(struct sg_maker *maker, size_t config, size_t task, json_t *object,
                                  struct sg_error *err)
{
    const struct sg_eval *eval = maker->eval;
    struct failure *failures = malloc((eval->rows->n + 1) * sizeof *failures);
    json_t *groups = json_object(), *list = json_array();
    size_t n = 0;
    sg_put(maker, object, "rules", groups);
    sg_put(maker, object, "failures", list);
    if (!failures)
        return sg_fail(err, SG_ENOMEM, "no memory for the list of failures");
    for (size_t row = 0; row < eval->rows->n; row++) {
        const struct sg_answer *answer = sg_answer_of(eval, config, task, row);
        const char *how = outcome(eval, config, task, row);
        if (!how)
            continue;
        count_rules(maker, groups, answer, how);
        if (strcmp(how, "right") == 0)
            continue;
        double score = isnan(answer->score) || strcmp(how, "undecided") == 0 ? -INFINITY : answer->score;
        failures[n++] = (struct failure){row, strcmp(how, "missed") == 0 && isfinite(score) ? 1 - score : score};
    }
    qsort(failures, n, sizeof *failures, compare_failures);
    sg_put(maker, object, "n_failures", sg_count(n));
    for (size_t i = 0; i < n && i < eval->max_listed; i++) {
        json_t *entry = row_json(maker, task, failures[i].row);
        sg_put(maker, entry, "kind", json_string(outcome(eval, config, task, failures[i].row)));
        sg_put(maker, entry, "answer", answer_json(maker, sg_answer_of(eval, config, task, failures[i].row)));
        sg_add(maker, list, entry);
    }
    free(failures);
    return SG_OK;
}

/* --- comparisons -------------------------------------------------------------------------------------------------
 */

/* Rows that both answered. context: the other configuration. */
static bool take_both(const struct sg_eval *eval, size_t config, size_t task, size_t row, const void *context,
                      struct sg_point *point)
{
    const size_t *other = context;
    return sg_answer_of(eval, *other, task, row)->line && sg_take_answered(eval, config, task, row, NULL, point);
}

static void put_comparison(struct sg_maker *maker, const struct sg_comparison *comparison, json_t *object)
{
    json_t *difference = json_object();
    for (int i = 0; i < SG_N_FIGURES; i++)
        sg_put(maker, difference, sg_figure_name(i),
               sg_interval_json(comparison->difference[i], "in one of the two"));
    sg_put(maker, object, "rows", sg_count(comparison->n));
    sg_put(maker, object, "both_right", sg_count(comparison->both));
    sg_put(maker, object, "neither_right", sg_count(comparison->neither));
    sg_put(maker, object, "only_a_right", sg_count(comparison->only_a));
    sg_put(maker, object, "only_b_right", sg_count(comparison->only_b));
    sg_put(maker, object, "mcnemar_p", sg_real(comparison->p));
    sg_put(maker, object, "grouped", json_boolean(comparison->grouped));
    sg_put(maker, object, "difference", difference);
}

/* How a row went over from a to b. */
static const char *change(const char *of_a, const char *of_b)
{
    if (!of_a || !of_b)
        return "truth unknown";
    bool right_a = strcmp(of_a, "right") == 0, right_b = strcmp(of_b, "right") == 0;
    return right_b ? "fixed" : right_a ? "broken" : "still wrong";
}

static void put_flips(struct sg_maker *maker, size_t a, size_t b, size_t task, json_t *object)
{
    const struct sg_eval *eval = maker->eval;
    json_t *counts = json_pack("{s:i, s:i, s:i, s:i}", "fixed", 0, "broken", 0, "still wrong", 0, "truth unknown", 0),
           *list = json_array();
    sg_put(maker, object, "n_flips", counts);
    sg_put(maker, object, "flips", list);
    for (size_t row = 0; row < eval->rows->n; row++) {
        const struct sg_answer *of_a = sg_answer_of(eval, a, task, row), *of_b = sg_answer_of(eval, b, task, row);
        if (!of_a->line || !of_b->line || of_a->decision == of_b->decision)
            continue;
        const char *how = change(outcome(eval, a, task, row), outcome(eval, b, task, row));
        sg_put(maker, counts, how, json_integer(json_integer_value(json_object_get(counts, how)) + 1));
        if (json_array_size(list) >= eval->max_listed)
            continue;
        json_t *entry = row_json(maker, task, row);
        sg_put(maker, entry, "change", json_string(how));
        sg_put(maker, entry, "a", answer_json(maker, of_a));
        sg_put(maker, entry, "b", answer_json(maker, of_b));
        sg_add(maker, list, entry);
    }
}

enum sg_status sg_report_comparison(struct sg_maker *maker, size_t a, size_t b, size_t task, json_t *list,
                                    struct sg_error *err)
{
    const struct sg_eval *eval = maker->eval;
    struct sg_question_points of_a, of_b = {0};
    struct sg_comparison comparison;
    json_t *object = json_pack("{s:o, s:o, s:o}", "a", sg_name_json(eval->configs[a].name), "b",
                               sg_name_json(eval->configs[b].name), "label", sg_name_json(eval->tasks[task].label));
    sg_add(maker, list, object);
    enum sg_status status = sg_collect(eval, a, task, take_both, &b, &of_a, err);
    if (status == SG_OK)
        status = sg_collect(eval, b, task, take_both, &a, &of_b, err);
    if (status == SG_OK)
        status = sg_compare(&of_a.points, &of_b.points, &eval->interval, &comparison, err);
    if (status == SG_OK) {
        put_comparison(maker, &comparison, object);
        put_flips(maker, a, b, task, object);
    }
    sg_question_points_deinit(&of_a);
    sg_question_points_deinit(&of_b);
    return status;
}
