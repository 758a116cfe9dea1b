/* The report as tables for a terminal: configurations side by side. */
#include "eval/report_read.h"

#include "base/utf8.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>

#define COLUMN 24
#define COLUMNS_MAX 4 /* configurations beside each other */
#define TITLE 18
#define RULES_MAX 10

/* Text padded to a width in characters, cut when it is wider. */
static void put_padded(struct sg_buffer *out, const char *text, size_t width)
{
    size_t n = 0, at = 0, len = strlen(text);
    while (at < len && n < width) {
        int32_t code;
        size_t step = sg_utf8_decode((struct sg_slice){text + at, len - at}, &code);
        sg_buffer_append(out, text + at, step);
        at += step;
        n++;
    }
    for (; n < width; n++)
        sg_buffer_putc(out, ' ');
}

void sg_show_interval(const json_t *interval, bool sign, char *text, size_t size)
{
    double value = number_in(interval, "value"), low = number_in(interval, "low"), high = number_in(interval, "high");
    const char *why = text_in(interval, "why"), *few = json_is_true(json_object_get(interval, "few")) ? "~" : "";
    if (isnan(value))
        snprintf(text, size, *why ? "n/a (%s)" : "n/a", why);
    else if (isnan(low))
        snprintf(text, size, sign ? "%+.3f" : "%.3f", value);
    else
        snprintf(text, size, sign ? "%+.3f [%+.3f, %+.3f]%s" : "%.3f [%.3f, %.3f]%s", value, low, high, few);
}

/* End a line, without the spaces that pad its last column. */
static void end_line(struct sg_buffer *out)
{
    while (!out->failed && out->len > 0 && out->data[out->len - 1] == ' ')
        out->data[--out->len] = '\0';
    sg_buffer_putc(out, '\n');
}

static void put_interval(struct sg_buffer *out, const json_t *interval, size_t width)
{
    char text[96];
    sg_show_interval(interval, false, text, sizeof text);
    put_padded(out, text, width);
}

/* --- figures of a task, configurations as columns ------------------------------------------------------------- */

struct columns {
    const json_t *configs[COLUMNS_MAX];
    size_t n;
    size_t task;
};

static const json_t *task_of(const struct columns *columns, size_t i)
{
    return task_in(columns->configs[i], columns->task);
}

static void put_row(struct sg_buffer *out, const struct columns *columns, const char *title,
                    void (*cell)(const json_t *config, const json_t *task, const void *context, char *text,
                                 size_t size),
                    const void *context)
{
    char text[96];
    put_padded(out, title, TITLE);
    for (size_t i = 0; i < columns->n; i++) {
        cell(columns->configs[i], task_of(columns, i), context, text, sizeof text);
        put_padded(out, text, COLUMN);
    }
    end_line(out);
}

static void name_cell(const json_t *config, const json_t *task, const void *context, char *text, size_t size)
{
    (void)task;
    (void)context;
    snprintf(text, size, "%.*s", COLUMN - 2, text_in(config, "name"));
}

static void figure_cell(const json_t *config, const json_t *task, const void *context, char *text, size_t size)
{
    (void)config;
    sg_show_interval(json_object_get(json_object_get(task, "figures"), context), false, text, size);
}

static void task_cell(const json_t *config, const json_t *task, const void *context, char *text, size_t size)
{
    (void)config;
    sg_show_interval(json_object_get(task, context), false, text, size);
}

static void answered_cell(const json_t *config, const json_t *task, const void *context, char *text, size_t size)
{
    int64_t missing = count_in(task, "not_answered"), failed = count_in(task, "failed");
    (void)config;
    (void)context;
    int n = snprintf(text, size, "%" PRId64, count_in(task, "rows"));
    if (failed)
        n += snprintf(text + n, size - (size_t)n, ", %" PRId64 " failed", failed);
    if (missing)
        snprintf(text + n, size - (size_t)n, ", %" PRId64 " missing", missing);
}

static void calls_cell(const json_t *config, const json_t *task, const void *context, char *text, size_t size)
{
    const json_t *calls = json_object_get(task, "reasoner_calls");
    (void)config;
    (void)context;
    if (json_is_integer(calls))
        snprintf(text, size, "%" JSON_INTEGER_FORMAT, json_integer_value(calls));
    else
        snprintf(text, size, "n/a");
}

static void tokens_cell(const json_t *config, const json_t *task, const void *context, char *text, size_t size)
{
    const json_t *tokens = json_object_get(task, "tokens");
    (void)config;
    (void)context;
    if (json_is_object(tokens))
        snprintf(text, size, "%" PRId64 " in, %" PRId64 " out", count_in(tokens, "prompt"),
                 count_in(tokens, "output"));
    else
        snprintf(text, size, "n/a");
}

static void time_cell(const json_t *config, const json_t *task, const void *context, char *text, size_t size)
{
    const json_t *ms = json_object_get(task, "ms");
    (void)config;
    (void)context;
    if (json_is_object(ms))
        snprintf(text, size, "%.3g, 95 %%: %.3g", number_in(ms, "median"), number_in(ms, "p95"));
    else
        snprintf(text, size, "n/a");
}

static void exact_cell(const json_t *config, const json_t *task, const void *context, char *text, size_t size)
{
    (void)task;
    (void)context;
    sg_show_interval(json_object_get(config, "exact_match"), false, text, size);
}

static void put_figures(struct sg_buffer *out, const struct columns *columns)
{
    put_row(out, columns, "", name_cell, NULL);
    for (int i = 0; i < SG_N_FIGURES; i++)
        put_row(out, columns, sg_figure_title(i), figure_cell, sg_figure_name(i));
    put_row(out, columns, "rows measured", answered_cell, NULL);
#define X(name, title) put_row(out, columns, title, task_cell, name);
    SG_SHARE_LIST(X)
#undef X
    put_row(out, columns, "reasoner calls", calls_cell, NULL);
    put_row(out, columns, "tokens", tokens_cell, NULL);
    put_row(out, columns, "ms, median", time_cell, NULL);
    sg_buffer_putc(out, '\n');
}

/* --- slices, categories, stages, rules -------------------------------------------------------------------------- */

static const char *const slice_figures[] = {"precision", "recall", "f1"};

static void put_slice(struct sg_buffer *out, const char *field, const char *value, const json_t *slice)
{
    char text[96];
    sg_buffer_puts(out, "  ");
    snprintf(text, sizeof text, "%.40s%s%.40s", field, *field ? "=" : "", value);
    put_padded(out, text, 26);
    sg_buffer_printf(out, "%8" PRId64 "%8" PRId64 "  ", count_in(slice, "rows"), count_in(slice, "violating"));
    for (size_t i = 0; i < sizeof slice_figures / sizeof slice_figures[0]; i++)
        put_interval(out, json_object_get(json_object_get(slice, "figures"), slice_figures[i]), COLUMN);
    end_line(out);
}

static void put_slices(struct sg_buffer *out, const char *what, const char *config, const json_t *list,
                       const char *field, const char *value)
{
    const json_t *slice;
    size_t i;
    if (json_array_size(list) == 0)
        return;
    sg_buffer_printf(out, "%s, %s\n", what, config);
    put_padded(out, "", 28);
    sg_buffer_puts(out, "    rows violate  ");
    for (size_t k = 0; k < sizeof slice_figures / sizeof slice_figures[0]; k++)
        put_padded(out, slice_figures[k], COLUMN);
    end_line(out);
    json_array_foreach(list, i, slice)
        put_slice(out, field ? text_in(slice, field) : "", text_in(slice, value), slice);
    sg_buffer_putc(out, '\n');
}

static void put_stages(struct sg_buffer *out, const json_t *config, json_t *stages)
{
    const char *name;
    const json_t *stage;
    if (json_object_size(stages) < 2)
        return;
    sg_buffer_printf(out, "Which stage decided, %s\n", text_in(config, "name"));
    json_object_foreach(stages, name, stage)
    {
        sg_buffer_puts(out, "  ");
        put_padded(out, name, 12);
        sg_buffer_printf(out,
                         "%8" PRId64 " rows: %" PRId64 " flagged (%" PRId64 " wrongly), %" PRId64 " cleared (%" PRId64
                         " missed), %" PRId64 " undecided\n",
                         count_in(stage, "rows"), count_in(stage, "violates"), count_in(stage, "wrongly_flagged"),
                         count_in(stage, "does_not_violate"), count_in(stage, "missed"),
                         count_in(stage, "undecided"));
    }
    sg_buffer_putc(out, '\n');
}

static void put_reasons(struct sg_buffer *out, const json_t *config, json_t *reasons)
{
    const char *reason;
    const json_t *n;
    if (json_object_size(reasons) == 0)
        return;
    sg_buffer_printf(out, "Undecided, %s\n", text_in(config, "name"));
    json_object_foreach(reasons, reason, n)
        sg_buffer_printf(out, "%8" JSON_INTEGER_FORMAT "  %s\n", json_integer_value(n), reason);
    sg_buffer_putc(out, '\n');
}

/* Rules with the most failures first; at most RULES_MAX. */
static void put_rules(struct sg_buffer *out, const json_t *config, json_t *rules)
{
    const char *shown[RULES_MAX] = {0}, *rule;
    const json_t *group;
    size_t n = 0;
    if (json_object_size(rules) == 0 || (json_object_size(rules) == 1 && json_object_get(rules, "")))
        return;
    sg_buffer_printf(out, "Failures by the rule they cite, %s\n", text_in(config, "name"));
    for (; n < RULES_MAX; n++) {
        int64_t most = 0;
        json_object_foreach(rules, rule, group)
        {
            int64_t failures =
                count_in(group, "wrongly_flagged") + count_in(group, "missed") + count_in(group, "undecided");
            bool before = false;
            for (size_t i = 0; i < n; i++)
                before = before || shown[i] == rule;
            if (!before && failures > most) {
                most = failures;
                shown[n] = rule;
            }
        }
        if (!shown[n])
            break;
        group = json_object_get(rules, shown[n]);
        sg_buffer_puts(out, "  ");
        put_padded(out, *shown[n] ? shown[n] : "(no rule)", 16);
        sg_buffer_printf(
            out, " %" PRId64 " wrongly flagged, %" PRId64 " missed, %" PRId64 " undecided, %" PRId64 " right\n",
            count_in(group, "wrongly_flagged"), count_in(group, "missed"), count_in(group, "undecided"),
            count_in(group, "right"));
    }
    if (n == RULES_MAX && json_object_size(rules) > n)
        sg_buffer_printf(out, "  … and %zu more\n", json_object_size(rules) - n);
    sg_buffer_putc(out, '\n');
}

static void put_details(struct sg_buffer *out, const json_t *config, size_t task)
{
    const json_t *of = task_in(config, task);
    const char *name = text_in(config, "name");
    put_slices(out, "By slice", name, json_object_get(of, "slices"), "field", "value");
    put_slices(out, "By category of the data", name, json_object_get(of, "categories"), NULL, "category");
    put_stages(out, config, json_object_get(of, "stages"));
    put_reasons(out, config, json_object_get(of, "undecided_reasons"));
    put_rules(out, config, json_object_get(of, "rules"));
}

/* --- comparisons, attacks, demands --------------------------------------------------------------------------- */

static void put_comparison(struct sg_buffer *out, const json_t *comparison)
{
    static const char *const figures[] = {"precision", "recall", "f1", "auprc"};
    const json_t *difference = json_object_get(comparison, "difference"),
                 *flips = json_object_get(comparison, "n_flips");
    double p = number_in(comparison, "mcnemar_p");
    sg_buffer_printf(out, "%s against %s, %s: %" PRId64 " rows\n", text_in(comparison, "b"), text_in(comparison, "a"),
                     text_in(comparison, "label"), count_in(comparison, "rows"));
    for (size_t i = 0; i < sizeof figures / sizeof figures[0]; i++) {
        char text[96];
        sg_show_interval(json_object_get(difference, figures[i]), true, text, sizeof text);
        sg_buffer_puts(out, "  ");
        put_padded(out, figures[i], TITLE - 2);
        sg_buffer_printf(out, "%s\n", text);
    }
    sg_buffer_printf(out, "  only %s right: %" PRId64 ", only %s right: %" PRId64, text_in(comparison, "a"),
                     count_in(comparison, "only_a_right"), text_in(comparison, "b"),
                     count_in(comparison, "only_b_right"));
    if (isnan(p))
        sg_buffer_puts(out, "; McNemar: n/a (no row is right in one alone)\n");
    else
        sg_buffer_printf(out, "; McNemar exact p = %.3g%s\n", p,
                         json_is_true(json_object_get(comparison, "grouped"))
                             ? " (takes rows as independent; groups have several: too small)"
                             : "");
    sg_buffer_printf(out,
                     "  flips: %" PRId64 " fixed, %" PRId64 " broken, %" PRId64 " still wrong, %" PRId64
                     " of unknown truth\n\n",
                     count_in(flips, "fixed"), count_in(flips, "broken"), count_in(flips, "still wrong"),
                     count_in(flips, "truth unknown"));
}

static void put_attacks(struct sg_buffer *out, const json_t *attacks)
{
    const json_t *attack, *n;
    size_t i;
    const char *before = "", *label_before = "", *stage;
    if (json_array_size(attacks) == 0)
        return;
    json_array_foreach(attacks, i, attack)
    {
        const char *config = text_in(attack, "configuration"), *label = text_in(attack, "label");
        if (strcmp(config, before) != 0 || strcmp(label, label_before) != 0) {
            sg_buffer_printf(out, "Attacks on violating rows, %s (%s)\n  ", config, label);
            put_padded(out, "", 20);
            put_padded(out, "before", COLUMN);
            put_padded(out, "flagged", COLUMN);
            put_padded(out, "not cleared", COLUMN);
            sg_buffer_puts(out, "change  cleared by\n");
        }
        before = config;
        label_before = label;
        sg_buffer_puts(out, "  ");
        put_padded(out, text_in(attack, "attack"), 20);
        put_interval(out, json_object_get(attack, "plain"), COLUMN);
        put_interval(out, json_object_get(attack, "flagged"), COLUMN);
        put_interval(out, json_object_get(attack, "not_cleared"), COLUMN);
        sg_buffer_printf(out, "%+.3f ", number_in(attack, "change"));
        json_object_foreach(json_object_get(attack, "cleared_by"), stage, n)
            sg_buffer_printf(out, " %s %" JSON_INTEGER_FORMAT, stage, json_integer_value(n));
        end_line(out);
    }
    sg_buffer_putc(out, '\n');
}

static void put_checks(struct sg_buffer *out, const json_t *checks)
{
    const json_t *check;
    size_t i;
    json_array_foreach(checks, i, check)
    {
        double value = number_in(check, "value");
        char got[32];
        snprintf(got, sizeof got, isnan(value) ? "n/a" : "%.4f", value);
        sg_buffer_printf(out, "%s  %s of %s, %s: %s, asked for %g\n",
                         json_is_true(json_object_get(check, "passed")) ? "ok  " : "FAIL", text_in(check, "figure"),
                         text_in(check, "configuration"), text_in(check, "label"), got, number_in(check, "limit"));
    }
}

/* --- head and foot ---------------------------------------------------------------------------------------------- */

static void put_head(struct sg_buffer *out, const json_t *data)
{
    const char *split = text_in(data, "split");
    int64_t n_test = count_in(data, "test_rows"), n_opened = count_in(data, "test_opened");
    sg_buffer_printf(out, "%" PRId64 " rows", count_in(data, "rows"));
    if (json_is_integer(json_object_get(data, "sample")))
        sg_buffer_puts(out, ", a sample");
    sg_buffer_printf(out, " of the %s split", split);
    if (strcmp(split, "dev") == 0)
        sg_buffer_printf(out, " (%" PRId64 " rows of the test split stay closed)", n_test);
    else
        sg_buffer_printf(out, " (the test split has been opened %" PRId64 " time%s)", n_opened,
                         n_opened == 1 ? "" : "s");
    if (count_in(data, "unreadable"))
        sg_buffer_printf(out, "; %" PRId64 " rows could not be read", count_in(data, "unreadable"));
    sg_buffer_puts(out, "\n\n");
}

void sg_report_text(const json_t *report, struct sg_buffer *out)
{
    const json_t *configs = json_object_get(report, "configurations"), *tasks = json_object_get(report, "tasks"),
                 *task, *comparison, *intervals = json_object_get(report, "intervals");
    size_t t, n_configs = json_array_size(configs), i;
    put_head(out, json_object_get(report, "data"));
    json_array_foreach(tasks, t, task)
    {
        sg_buffer_printf(out, "%s: %" PRId64 " of %" PRId64 " rows violate", text_in(task, "label"),
                         count_in(task, "violating"), count_in(task, "rows"));
        if (count_in(task, "unknown"))
            sg_buffer_printf(out, "; the truth of %" PRId64 " is unknown: they are not counted",
                             count_in(task, "unknown"));
        sg_buffer_puts(out, "\n\n");
        for (size_t first = 0; first < n_configs; first += COLUMNS_MAX) {
            struct columns columns = {.task = t};
            for (; columns.n < COLUMNS_MAX && first + columns.n < n_configs; columns.n++)
                columns.configs[columns.n] = json_array_get(configs, first + columns.n);
            put_figures(out, &columns);
        }
        for (size_t c = 0; c < n_configs; c++)
            put_details(out, json_array_get(configs, c), t);
    }
    for (size_t first = 0; json_array_size(tasks) > 1 && first < n_configs; first += COLUMNS_MAX) {
        struct columns columns = {0};
        for (; columns.n < COLUMNS_MAX && first + columns.n < n_configs; columns.n++)
            columns.configs[columns.n] = json_array_get(configs, first + columns.n);
        sg_buffer_puts(out, "Every policy right\n");
        put_row(out, &columns, "", name_cell, NULL);
        put_row(out, &columns, "exact match", exact_cell, NULL);
        sg_buffer_putc(out, '\n');
    }
    json_array_foreach(json_object_get(report, "comparisons"), i, comparison) put_comparison(out, comparison);
    put_attacks(out, json_object_get(report, "attacks"));
    put_checks(out, json_object_get(report, "checks"));
    sg_buffer_printf(out,
                     "Intervals: %g %%. Shares: exact, where groups have several rows over as many rows as these are "
                     "worth; F1, AUPRC,\nAUROC, ECE and differences: from %" PRId64
                     " resamples of groups (~: fewer than %d groups with a violation, take it with\ncare). Undecided "
                     "rows are not found in recall and F1; \"held\" counts them as not let through.\n",
                     100 * number_in(intervals, "confidence"), count_in(intervals, "resamples"), SG_FEW_GROUPS);
}
