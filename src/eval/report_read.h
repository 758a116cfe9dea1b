/* Reading the report's JSON, for its views. What is absent reads as "", 0 or NaN. */
#ifndef SG_EVAL_REPORT_READ_H
#define SG_EVAL_REPORT_READ_H

#include "eval/report.h"

#include <math.h>

static inline const char *text_in(const json_t *object, const char *name)
{
    const char *text = json_string_value(json_object_get(object, name));
    return text ? text : "";
}

static inline int64_t count_in(const json_t *object, const char *name)
{
    return json_integer_value(json_object_get(object, name));
}

static inline double number_in(const json_t *object, const char *name)
{
    const json_t *value = json_object_get(object, name);
    return json_is_number(value) ? json_number_value(value) : NAN;
}

/* What a configuration reached on one task. */
static inline const json_t *task_in(const json_t *config, size_t task)
{
    return json_array_get(json_object_get(config, "tasks"), task);
}

/* "0.712 [0.661, 0.758]~", or "n/a (0 positives)"; `sign` puts one before positive numbers. */
void sg_show_interval(const json_t *interval, bool sign, char *text, size_t size);

/* Text for HTML: escaped, and characters that hide or reorder text are shown by their number. */
void sg_html_text(struct sg_buffer *out, const char *text);
/* The plots of one task, as SVG. */
void sg_html_plots(struct sg_buffer *out, const json_t *report, size_t task);

#endif
