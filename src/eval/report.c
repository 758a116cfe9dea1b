/* Figures of every configuration and task, as JSON. */
#include "eval/report_internal.h"

#include "base/utf8.h"

#include <math.h>
#include <stdlib.h>

/* --- JSON ----------------------------------------------------------------------------------------------------- */

void sg_put(struct sg_maker *maker, json_t *object, const char *name, json_t *value)
{
    if (!value || json_object_set_new(object, name, value) != 0)
        maker->failed = true;
}

void sg_add(struct sg_maker *maker, json_t *list, json_t *value)
{
    if (!value || json_array_append_new(list, value) != 0)
        maker->failed = true;
}

json_t *sg_text_json(const char *text, size_t len)
{
    json_t *json = text ? json_stringn(text, len) : json_null();
    if (json)
        return json;
    struct sg_buffer repaired = {0};
    sg_utf8_repair((struct sg_slice){text, len}, &repaired);
    json = repaired.failed ? NULL : json_stringn(sg_buffer_text(&repaired), repaired.len);
    sg_buffer_free(&repaired);
    return json;
}

json_t *sg_name_json(const char *text)
{
    return sg_text_json(text, text ? strlen(text) : 0);
}

json_t *sg_real(double value)
{
    return isfinite(value) ? json_real(value) : json_null();
}

json_t *sg_count(uint64_t value)
{
    return json_integer((json_int_t)value);
}

json_t *sg_interval_json(struct sg_interval interval, const char *why)
{
    json_t *json = json_pack("{s:o, s:o, s:o, s:s}", "value", sg_real(interval.value), "low", sg_real(interval.low),
                             "high", sg_real(interval.high), "method", sg_interval_method_name(interval.method));
    if (interval.few)
        json_object_set_new(json, "few", json_true());
    if (isnan(interval.value) && why)
        json_object_set_new(json, "why", json_string(why));
    return json;
}

/* --- points --------------------------------------------------------------------------------------------------- */

const struct sg_answer *sg_answer_of(const struct sg_eval *eval, size_t config, size_t task, size_t row)
{
    return &eval->configs[config].answers[task * eval->rows->n + row];
}

bool sg_take_answered(const struct sg_eval *eval, size_t config, size_t task, size_t row, const void *context,
                      struct sg_point *point)
{
    const struct sg_answer *answer = sg_answer_of(eval, config, task, row);
    int truth = sg_eval_truth(eval->rows, row, eval->tasks[task].category);
    (void)context;
    if (truth == SG_LABEL_UNKNOWN || !answer->line)
        return false;
    double score = eval->configs[config].several_stages[task] ? NAN : answer->score;
    *point = (struct sg_point){truth, answer->decision, score, 0, 0};
    return true;
}

/* Is there a decision that does not say which stage took it? */
static bool are_unknown_stages(const struct sg_eval *eval, size_t config, size_t task)
{
    for (size_t row = 0; row < eval->rows->n; row++) {
        const struct sg_answer *answer = sg_answer_of(eval, config, task, row);
        if (answer->line && answer->decision != SG_UNDECIDED && !answer->stage)
            return true;
    }
    return false;
}

/* Did more than one stage decide? */
static bool are_several_stages(const struct sg_eval *eval, size_t config, size_t task)
{
    const char *first = NULL;
    for (size_t row = 0; row < eval->rows->n; row++) {
        const char *stage = sg_answer_of(eval, config, task, row)->stage;
        if (stage && first && strcmp(stage, first) != 0)
            return true;
        first = stage ? stage : first;
    }
    return false;
}

enum sg_status sg_collect(const struct sg_eval *eval, size_t config, size_t task, sg_take_fn take,
                          const void *context, struct sg_question_points *out, struct sg_error *err)
{
    *out = (struct sg_question_points){0};
    out->rows = malloc((eval->rows->n + 1) * sizeof *out->rows);
    if (!out->rows)
        return sg_fail(err, SG_ENOMEM, "no memory for %zu rows", eval->rows->n);
    size_t n = 0;
    for (size_t row = 0; row < eval->rows->n; row++) {
        if (!take(eval, config, task, row, context, &out->rows[n]))
            continue;
        out->rows[n].group = eval->rows->rows[row].group;
        out->rows[n++].row = (uint32_t)row;
    }
    enum sg_status status = sg_points_init(&out->points, out->rows, n, err);
    if (status != SG_OK)
        sg_question_points_deinit(out);
    return status;
}

void sg_question_points_deinit(struct sg_question_points *points)
{
    sg_points_deinit(&points->points);
    free(points->rows);
    *points = (struct sg_question_points){0};
}

/* --- figures -------------------------------------------------------------------------------------------------- */

/* Why a figure is n/a. */
static const char *why_not(const struct sg_points *points, enum sg_figure figure, bool several_stages)
{
    size_t n_pos = 0, n_flagged = 0;
    for (size_t i = 0; i < points->n; i++) {
        n_pos += points->points[i].truth == 1;
        n_flagged += points->points[i].decision == SG_VIOLATES;
    }
    bool scored = figure == SG_AUPRC || figure == SG_AUROC || figure == SG_ECE;
    if (points->n == 0)
        return "0 rows";
    if (figure == SG_PRECISION && n_flagged == 0)
        return "0 flagged";
    if (figure != SG_FPR && figure != SG_ECE && n_pos == 0)
        return "0 positives";
    if ((figure == SG_FPR || figure == SG_AUROC) && n_pos == points->n)
        return "0 negatives";
    if (scored && points->n_scored == 0)
        return several_stages ? "several stages" : "no scores";
    return figure == SG_ECE ? "no probabilities" : "one class unscored";
}

static enum sg_status put_figures(struct sg_maker *maker, const struct sg_points *points, bool several_stages,
                                  json_t *object, struct sg_error *err)
{
    struct sg_interval figures[SG_N_FIGURES];
    struct sg_confusion c = sg_confusion_of(points->points, points->n, NULL);
    enum sg_status status = sg_intervals(points, &maker->eval->interval, figures, err);
    if (status != SG_OK)
        return status;
    json_t *all = json_object();
    for (int i = 0; i < SG_N_FIGURES; i++)
        sg_put(maker, all, sg_figure_name(i), sg_interval_json(figures[i], why_not(points, i, several_stages)));
    sg_put(maker, object, "rows", sg_count(points->n));
    sg_put(maker, object, "violating", sg_count(c.tp + c.fn + c.undecided_pos));
    sg_put(maker, object, "unscored", sg_count(points->n - points->n_scored));
    sg_put(maker, object, "confusion",
           json_pack("{s:I, s:I, s:I, s:I, s:I, s:I}", "tp", (json_int_t)c.tp, "fp", (json_int_t)c.fp, "fn",
                     (json_int_t)c.fn, "tn", (json_int_t)c.tn, "undecided_violating", (json_int_t)c.undecided_pos,
                     "undecided_other", (json_int_t)c.undecided_neg));
    sg_put(maker, object, "figures", all);
    return SG_OK;
}

/* A share of rows, `good` of those that `take` lets in (truth is 1 for each, violates: it counts). */
static enum sg_status share_json(struct sg_maker *maker, size_t config, size_t task, sg_take_fn take,
                                 const void *context, const char *why, json_t **out, struct sg_error *err)
{
    struct sg_question_points points;
    struct sg_interval figures[SG_N_FIGURES];
    *out = NULL;
    enum sg_status status = sg_collect(maker->eval, config, task, take, context, &points, err);
    if (status == SG_OK)
        status = sg_intervals(&points.points, &maker->eval->interval, figures, err);
    if (status == SG_OK) {
        *out = sg_interval_json(figures[SG_RECALL], why);
        sg_put(maker, *out, "rows", sg_count(points.points.n));
    }
    sg_question_points_deinit(&points);
    return status;
}

static struct sg_point share_point(bool counts)
{
    return (struct sg_point){1, counts ? SG_VIOLATES : SG_DOES_NOT_VIOLATE, NAN, 0, 0};
}

static bool take_readable(const struct sg_eval *eval, size_t config, size_t task, size_t row, const void *context,
                          struct sg_point *point)
{
    const struct sg_answer *answer = sg_answer_of(eval, config, task, row);
    (void)context;
    *point = share_point(!answer->unreadable);
    return answer->by_model;
}

/* context: the truth of the rows that are looked at. Where a decision does not tell its stage there is nothing to say
 * of any: an unknown clearing must not count as none. */
static bool take_early(const struct sg_eval *eval, size_t config, size_t task, size_t row, const void *context,
                       struct sg_point *point)
{
    const struct sg_answer *answer = sg_answer_of(eval, config, task, row);
    int truth = sg_eval_truth(eval->rows, row, eval->tasks[task].category);
    *point = share_point(answer->decision == SG_DOES_NOT_VIOLATE && answer->early);
    return answer->line && truth == *(const int *)context && !eval->configs[config].unknown_stages[task];
}

/* Every task's truth is known and answered; counts when every decision is right. */
static bool take_exact(const struct sg_eval *eval, size_t config, size_t task, size_t row, const void *context,
                       struct sg_point *point)
{
    bool right = true;
    (void)task;
    for (size_t i = 0; i < eval->n_tasks; i++) {
        struct sg_point one;
        if (!sg_take_answered(eval, config, i, row, context, &one))
            return false;
        right = right && one.decision == (one.truth ? SG_VIOLATES : SG_DOES_NOT_VIOLATE);
    }
    *point = share_point(right);
    return true;
}

/* --- slices and categories ------------------------------------------------------------------------------------ */

struct slice {
    const struct sg_eval_field *field;
    uint8_t value;
};

static bool take_slice(const struct sg_eval *eval, size_t config, size_t task, size_t row, const void *context,
                       struct sg_point *point)
{
    const struct slice *slice = context;
    return slice->field->of_row[row] == slice->value && sg_take_answered(eval, config, task, row, NULL, point);
}

/* How many values does the field have in the rows that were chosen? */
static size_t n_values(const struct sg_eval_rows *rows, const struct sg_eval_field *field)
{
    bool seen[SG_EVAL_MAX_VALUES] = {0};
    size_t n = 0;
    for (size_t row = 0; row < rows->n; row++) {
        uint8_t value = field->of_row[row];
        n += value != SG_EVAL_NO_VALUE && value < field->n_values && !seen[value];
        if (value != SG_EVAL_NO_VALUE)
            seen[value] = true;
    }
    return n;
}

static bool is_wanted(const struct sg_eval *eval, const struct sg_eval_field *field)
{
    size_t n = field->too_many ? 0 : n_values(eval->rows, field);
    for (size_t i = 0; i < eval->n_slices; i++)
        if (strcmp(eval->slices[i], field->name) == 0)
            return n > 0;
    return eval->n_slices == 0 && n > 1 && n <= SG_EVAL_SLICE_VALUES;
}

static enum sg_status put_slices(struct sg_maker *maker, size_t config, size_t task, json_t *object,
                                 struct sg_error *err)
{
    const struct sg_eval *eval = maker->eval;
    json_t *list = json_array();
    enum sg_status status = SG_OK;
    for (size_t f = 0; f < eval->rows->n_fields && status == SG_OK; f++) {
        const struct sg_eval_field *field = &eval->rows->fields[f];
        if (!is_wanted(eval, field))
            continue;
        for (size_t v = 0; v < field->n_values && status == SG_OK; v++) {
            struct slice slice = {field, (uint8_t)v};
            struct sg_question_points points;
            if (json_array_size(list) >= SG_EVAL_MAX_SLICES)
                break;
            status = sg_collect(eval, config, task, take_slice, &slice, &points, err);
            if (status == SG_OK && points.points.n > 0) {
                json_t *entry = json_pack("{s:o, s:o}", "field", sg_name_json(field->name), "value",
                                          sg_name_json(field->values[v]));
                status = put_figures(maker, &points.points, eval->configs[config].several_stages[task], entry, err);
                sg_add(maker, list, entry);
            }
            sg_question_points_deinit(&points);
        }
    }
    sg_put(maker, object, "slices", list);
    return status;
}

/* Rows of one category: with `flags` what the answer says of it, else the whole decision on rows that have it. */
struct category {
    size_t index;
    bool flags;
};
static bool take_category(const struct sg_eval *eval, size_t config, size_t task, size_t row, const void *context,
                          struct sg_point *point)
{
    const struct category *category = context;
    const struct sg_answer *answer = sg_answer_of(eval, config, task, row);
    int truth = sg_eval_truth(eval->rows, row, category->index), flag;
    if (truth == SG_LABEL_UNKNOWN || !answer->line || (!category->flags && truth != 1))
        return false;
    *point = (struct sg_point){truth, answer->decision, NAN, 0, 0};
    if (category->flags) {
        sg_answer_flag(answer, eval->rows->categories[category->index], &flag);
        point->decision = flag == 1 ? SG_VIOLATES : flag == 0 ? SG_DOES_NOT_VIOLATE : SG_UNDECIDED;
    }
    return true;
}

static bool has_flag(const struct sg_eval *eval, size_t config, size_t task, const char *category)
{
    int value;
    for (size_t row = 0; row < eval->rows->n; row++)
        if (sg_answer_flag(sg_answer_of(eval, config, task, row), category, &value))
            return true;
    return false;
}

static enum sg_status put_categories(struct sg_maker *maker, size_t config, size_t task, json_t *object,
                                     struct sg_error *err)
{
    const struct sg_eval *eval = maker->eval;
    json_t *list = json_array();
    enum sg_status status = SG_OK;
    for (size_t i = 0; i < eval->rows->n_categories && status == SG_OK; i++) {
        struct category category = {i, has_flag(eval, config, task, eval->rows->categories[i])};
        struct sg_question_points points;
        if (!category.flags && eval->tasks[task].category < eval->rows->n_categories)
            continue; /* another question than the task's */
        status = sg_collect(eval, config, task, take_category, &category, &points, err);
        if (status == SG_OK) {
            json_t *entry =
                json_pack("{s:o, s:b}", "category", sg_name_json(eval->rows->categories[i]), "flags", category.flags);
            status = put_figures(maker, &points.points, eval->configs[config].several_stages[task], entry, err);
            sg_add(maker, list, entry);
        }
        sg_question_points_deinit(&points);
    }
    sg_put(maker, object, "categories", list);
    return status;
}

/* --- curves --------------------------------------------------------------------------------------------------- */

/* Points of a curve that can be told apart on paper; scale: recall is of caught rows, times the share caught. */
static json_t *curve_json(struct sg_maker *maker, const struct sg_points *points, double scale)
{
    json_t *list = json_array();
    struct sg_curve_point *curve = malloc((points->n_scored + 1) * sizeof *curve), last = {.recall = -1};
    size_t n = curve ? sg_curve(points, curve) : 0;
    maker->failed = maker->failed || !curve;
    for (size_t i = 0; i < n; i++) {
        double moved = fabs(curve[i].recall - last.recall) + fabs(curve[i].precision - last.precision) +
                       fabs(curve[i].share - last.share);
        if (moved < 0.008 && i + 1 < n)
            continue;
        last = curve[i];
        sg_add(maker, list,
               json_pack("[o, f, f, f]", sg_real(last.threshold), last.recall * scale, last.precision, last.share));
    }
    free(curve);
    return list;
}

static void put_calibration(struct sg_maker *maker, const struct sg_points *points, json_t *object)
{
    struct sg_calibration_bin bins[SG_ECE_BINS];
    json_t *list = json_array();
    bool known = sg_calibration(points, NULL, bins);
    for (int i = 0; known && i < SG_ECE_BINS; i++) {
        if (bins[i].n == 0)
            continue;
        struct sg_interval share = sg_exact_share(bins[i].n_violating, bins[i].n, maker->eval->interval.confidence);
        json_t *entry = sg_interval_json(share, NULL);
        sg_put(maker, entry, "rows", sg_count(bins[i].n));
        sg_put(maker, entry, "mean_score", sg_real(bins[i].mean_score));
        sg_add(maker, list, entry);
    }
    sg_put(maker, object, "calibration", list);
}

/* Both ran, the reasoner decided: what would a cascade have caught that clears below each margin of the screen? */
static bool take_shadow(const struct sg_eval *eval, size_t config, size_t task, size_t row, const void *context,
                        struct sg_point *point)
{
    const struct sg_answer *answer = sg_answer_of(eval, config, task, row);
    (void)context;
    if (!sg_take_answered(eval, config, task, row, NULL, point) || isnan(answer->margin) || answer->calls != 1)
        return false;
    point->score = answer->margin;
    point->truth = point->truth && point->decision == SG_VIOLATES;
    return true;
}

/* Share of rows that go on against recall: to the reasoner, where screen and reasoner both looked at every row; else
 * to whoever looks at what scores high. */
static enum sg_status put_cost(struct sg_maker *maker, size_t config, size_t task, const struct sg_points *points,
                               json_t *object, struct sg_error *err)
{
    struct sg_question_points shadow;
    struct sg_confusion c = sg_confusion_of(points->points, points->n, NULL);
    enum sg_status status = sg_collect(maker->eval, config, task, take_shadow, NULL, &shadow, err);
    if (status != SG_OK)
        return status;
    double n_pos = (double)(c.tp + c.fn + c.undecided_pos);
    bool cascade = shadow.points.n == points->n && c.tp > 0;
    sg_put(maker, object, "cost",
           json_pack("{s:s, s:o}", "of", cascade ? "screen in front of the reasoner" : "score", "curve",
                     curve_json(maker, cascade ? &shadow.points : points, cascade ? (double)c.tp / n_pos : 1)));
    sg_question_points_deinit(&shadow);
    return SG_OK;
}

/* --- one configuration ---------------------------------------------------------------------------------------- */

static void count_in(json_t *object, const char *name)
{
    json_int_t n = json_integer_value(json_object_get(object, name));
    json_object_set_new(object, name, json_integer(n + 1));
}

/* Stage → how many rows it decided how, and how many of them wrongly. */
static json_t *stages_json(struct sg_maker *maker, size_t config, size_t task)
{
    const struct sg_eval *eval = maker->eval;
    json_t *stages = json_object();
    for (size_t row = 0; row < eval->rows->n; row++) {
        const struct sg_answer *answer = sg_answer_of(eval, config, task, row);
        int truth = sg_eval_truth(eval->rows, row, eval->tasks[task].category);
        if (!answer->line || !answer->stage)
            continue;
        json_t *stage = json_object_get(stages, answer->stage);
        if (!stage) {
            stage = json_object();
            sg_put(maker, stages, answer->stage, stage);
        }
        count_in(stage, "rows");
        count_in(stage, sg_decision_name(answer->decision));
        if (answer->decision == SG_DOES_NOT_VIOLATE && truth == 1)
            count_in(stage, "missed");
        if (answer->decision == SG_VIOLATES && truth == 0)
            count_in(stage, "wrongly_flagged");
    }
    return stages;
}

static json_t *reasons_json(struct sg_maker *maker, size_t config, size_t task)
{
    const struct sg_eval *eval = maker->eval;
    json_t *reasons = json_object();
    for (size_t row = 0; row < eval->rows->n; row++) {
        const struct sg_answer *answer = sg_answer_of(eval, config, task, row);
        if (!answer->line || answer->decision != SG_UNDECIDED)
            continue;
        const json_t *error = json_object_get(answer->line, "error");
        const char *code = json_string_value(json_object_get(error, "code"));
        struct sg_buffer text = {0};
        if (answer->failed)
            sg_buffer_printf(&text, "could not be judged: %s", code ? code : "error");
        else
            sg_buffer_puts(&text, answer->reason ? answer->reason : "no reason given");
        count_in(reasons, sg_buffer_text(&text));
        sg_buffer_free(&text);
    }
    (void)maker;
    return reasons;
}

static int compare_doubles(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Tokens, times and calls; null where no answer tells. */
static void put_cost_counts(struct sg_maker *maker, size_t config, size_t task, json_t *object)
{
    const struct sg_eval *eval = maker->eval;
    size_t n = eval->rows->n, n_ms = 0, n_tokens = 0, n_calls_known = 0;
    int64_t prompt = 0, cached = 0, output = 0, calls = 0;
    double *ms = malloc((n + 1) * sizeof *ms), sum = 0;
    maker->failed = maker->failed || !ms;
    for (size_t i = 0; ms && i < n; i++) {
        const struct sg_answer *answer = sg_answer_of(eval, config, task, i);
        if (!answer->line)
            continue;
        if (answer->n_output_tokens >= 0) {
            n_tokens++;
            prompt += answer->n_prompt_tokens > 0 ? answer->n_prompt_tokens : 0;
            cached += answer->n_cached_tokens > 0 ? answer->n_cached_tokens : 0;
            output += answer->n_output_tokens;
        }
        n_calls_known += answer->calls >= 0;
        calls += answer->calls > 0;
        if (isfinite(answer->total_ms)) {
            ms[n_ms++] = answer->total_ms;
            sum += answer->total_ms;
        }
    }
    if (n_ms)
        qsort(ms, n_ms, sizeof *ms, compare_doubles);
    sg_put(maker, object, "tokens",
           n_tokens ? json_pack("{s:I, s:I, s:I, s:I}", "answers", (json_int_t)n_tokens, "prompt", (json_int_t)prompt,
                                "cached", (json_int_t)cached, "output", (json_int_t)output)
                    : json_null());
    sg_put(maker, object, "ms",
           n_ms ? json_pack("{s:I, s:f, s:f, s:f, s:f}", "answers", (json_int_t)n_ms, "total", sum, "mean",
                            sum / (double)n_ms, "median", ms[n_ms / 2], "p95", ms[n_ms * 95 / 100])
                : json_null());
    sg_put(maker, object, "reasoner_calls", n_calls_known ? json_integer(calls) : json_null());
    free(ms);
}

static enum sg_status put_shares(struct sg_maker *maker, size_t config, size_t task, json_t *object,
                                 struct sg_error *err)
{
    static const int violates = 1, does_not = 0;
    static const struct {
        const char *name, *why;
        sg_take_fn take;
        const int *truth;
    } shares[] = {{"parse_rate", "no model answers", take_readable, NULL},
                  {"cleared_early", "stages unknown", take_early, &does_not},
                  {"missed_early", "stages unknown", take_early, &violates}};
    enum sg_status status = SG_OK;
    for (size_t i = 0; i < sizeof shares / sizeof shares[0] && status == SG_OK; i++) {
        json_t *share;
        status = share_json(maker, config, task, shares[i].take, shares[i].truth, shares[i].why, &share, err);
        if (status == SG_OK)
            sg_put(maker, object, shares[i].name, share);
    }
    return status;
}

static enum sg_status task_json(struct sg_maker *maker, size_t config, size_t task, json_t *list,
                                struct sg_error *err)
{
    const struct sg_eval *eval = maker->eval;
    struct sg_question_points points;
    json_t *object = json_object();
    size_t n_missing = 0, n_failed = 0;
    for (size_t row = 0; row < eval->rows->n; row++) {
        const struct sg_answer *answer = sg_answer_of(eval, config, task, row);
        n_missing += !answer->line;
        n_failed += answer->line && answer->failed;
    }
    sg_add(maker, list, object);
    sg_put(maker, object, "label", sg_name_json(eval->tasks[task].label));
    sg_put(maker, object, "policy",
           json_pack("{s:o, s:o}", "id", sg_name_json(eval->configs[config].policy_id[task]), "sha256",
                     sg_name_json(eval->configs[config].policy_sha256[task])));
    sg_put(maker, object, "answered", sg_count(eval->rows->n - n_missing));
    sg_put(maker, object, "not_answered", sg_count(n_missing));
    sg_put(maker, object, "failed", sg_count(n_failed));
    put_cost_counts(maker, config, task, object);
    enum sg_status status = sg_collect(eval, config, task, sg_take_answered, NULL, &points, err);
    if (status != SG_OK)
        return status;
    status = put_figures(maker, &points.points, eval->configs[config].several_stages[task], object, err);
    if (status == SG_OK)
        status = put_shares(maker, config, task, object, err);
    if (status == SG_OK) {
        sg_put(maker, object, "stages", stages_json(maker, config, task));
        sg_put(maker, object, "undecided_reasons", reasons_json(maker, config, task));
        sg_put(maker, object, "curve", curve_json(maker, &points.points, 1));
        put_calibration(maker, &points.points, object);
        status = put_cost(maker, config, task, &points.points, object, err);
    }
    if (status == SG_OK)
        status = put_slices(maker, config, task, object, err);
    if (status == SG_OK)
        status = put_categories(maker, config, task, object, err);
    if (status == SG_OK)
        status = sg_report_failures(maker, config, task, object, err);
    sg_question_points_deinit(&points);
    return status;
}

static enum sg_status config_json(struct sg_maker *maker, size_t config, json_t *list, struct sg_error *err)
{
    const struct sg_eval *eval = maker->eval;
    json_t *object = json_object(), *tasks = json_array(), *exact = json_null();
    enum sg_status status = SG_OK;
    sg_add(maker, list, object);
    sg_put(maker, object, "name", sg_name_json(eval->configs[config].name));
    sg_put(maker, object, "settings", json_incref(eval->configs[config].settings));
    sg_put(maker, object, "tasks", tasks);
    if (eval->n_tasks > 1)
        status = share_json(maker, config, 0, take_exact, NULL, "no row is known under every policy", &exact, err);
    sg_put(maker, object, "exact_match", exact);
    for (size_t task = 0; task < eval->n_tasks && status == SG_OK; task++)
        status = task_json(maker, config, task, tasks, err);
    return status;
}

/* --- the whole ------------------------------------------------------------------------------------------------ */

static json_t *lines_json(struct sg_maker *maker, const char *text)
{
    json_t *list = json_array();
    for (const char *at = text; *at; at += strcspn(at, "\n") + (at[strcspn(at, "\n")] == '\n'))
        sg_add(maker, list, sg_text_json(at, strcspn(at, "\n")));
    return list;
}

static json_t *data_json(struct sg_maker *maker)
{
    static const char *const splits[] = {"dev", "test", "all"};
    const struct sg_eval *eval = maker->eval;
    const struct sg_eval_rows *rows = eval->rows;
    json_t *files = json_array(), *data = json_object();
    for (size_t i = 0; i < eval->n_files; i++)
        sg_add(maker, files, sg_name_json(eval->files[i]));
    sg_put(maker, data, "files", files);
    sg_put(maker, data, "rows", sg_count(rows->n));
    sg_put(maker, data, "split", json_string(splits[eval->split]));
    sg_put(maker, data, "sample", eval->sample ? sg_count(eval->sample) : json_null());
    sg_put(maker, data, "rows_of_all_splits", sg_count(eval->n_rows_before));
    sg_put(maker, data, "test_rows", sg_count(rows->n_test));
    sg_put(maker, data, "test_opened", sg_count(eval->n_opened));
    sg_put(maker, data, "unreadable", sg_count(rows->n_unreadable));
    sg_put(maker, data, "notes", lines_json(maker, sg_buffer_text(&rows->notes)));
    return data;
}

static json_t *tasks_json(struct sg_maker *maker)
{
    const struct sg_eval *eval = maker->eval;
    json_t *list = json_array();
    for (size_t task = 0; task < eval->n_tasks; task++) {
        size_t n_violating = 0, n_unknown = 0;
        for (size_t row = 0; row < eval->rows->n; row++) {
            int truth = sg_eval_truth(eval->rows, row, eval->tasks[task].category);
            n_violating += truth == 1;
            n_unknown += truth == SG_LABEL_UNKNOWN;
        }
        sg_add(maker, list,
               json_pack("{s:o, s:I, s:I, s:I}", "label", sg_name_json(eval->tasks[task].label), "rows",
                         (json_int_t)(eval->rows->n - n_unknown), "violating", (json_int_t)n_violating, "unknown",
                         (json_int_t)n_unknown));
    }
    return list;
}

enum sg_status sg_report_make(struct sg_eval *eval, json_t **report_out, struct sg_error *err)
{
    struct sg_maker maker = {.eval = eval};
    json_t *report = json_object(), *configs = json_array(), *comparisons = json_array();
    enum sg_status status = SG_OK;
    *report_out = NULL;
    for (size_t i = 0; i < eval->n_configs * eval->n_tasks; i++) {
        struct sg_eval_config *config = eval->configs + i / eval->n_tasks;
        size_t task = i % eval->n_tasks;
        config->unknown_stages[task] = are_unknown_stages(eval, i / eval->n_tasks, task);
        config->several_stages[task] = are_several_stages(eval, i / eval->n_tasks, task);
    }
    sg_put(&maker, report, "schema", json_integer(SG_REPORT_SCHEMA));
    sg_put(&maker, report, "made_by", sg_name_json(eval->version));
    sg_put(&maker, report, "intervals",
           json_pack("{s:f, s:i, s:o}", "confidence", eval->interval.confidence, "resamples",
                     eval->interval.resamples, "seed", json_integer((json_int_t)eval->interval.seed)));
    sg_put(&maker, report, "text", json_boolean(eval->with_text));
    sg_put(&maker, report, "data", data_json(&maker));
    sg_put(&maker, report, "tasks", tasks_json(&maker));
    sg_put(&maker, report, "configurations", configs);
    sg_put(&maker, report, "comparisons", comparisons);
    for (size_t config = 0; config < eval->n_configs && status == SG_OK; config++)
        status = config_json(&maker, config, configs, err);
    for (size_t b = 1; b < eval->n_configs && status == SG_OK; b++)
        for (size_t task = 0; task < eval->n_tasks && status == SG_OK; task++)
            status = sg_report_comparison(&maker, 0, b, task, comparisons, err);
    if (status == SG_OK)
        status = sg_report_attacks(&maker, report, err);
    if (status == SG_OK && maker.failed)
        status = sg_fail(err, SG_ENOMEM, "no memory for the report");
    if (status == SG_OK)
        *report_out = report;
    else
        json_decref(report);
    return status;
}
