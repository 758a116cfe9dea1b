/* The plots of the HTML report, as SVG: precision against recall, calibration, cost against recall. Series differ by
 * colour and by dash; every plot has a title and a description for those who do not see it. */
#include "eval/report_read.h"

#include <inttypes.h>

#define SERIES 8 /* styles s0 … s7 of the page */

/* The unit square on paper. */
#define LEFT 46.0
#define TOP 10.0
#define WIDTH 330.0
#define HEIGHT 240.0

static double x_of(double x)
{
    return LEFT + x * WIDTH;
}

static double y_of(double y)
{
    return TOP + (1 - y) * HEIGHT;
}

static void begin(struct sg_buffer *out, const char *title, const char *about, const char *x_title,
                  const char *y_title)
{
    sg_buffer_printf(out,
                     "<figure><figcaption>%s</figcaption><svg viewBox=\"0 0 400 300\" role=\"img\" "
                     "aria-label=\"%s. %s\"><title>%s</title>\n",
                     title, title, about, title);
    for (int i = 0; i <= 5; i++) {
        double at = i / 5.0;
        sg_buffer_printf(out,
                         "<path class=\"grid\" d=\"M%.1f %.1fH%.1fM%.1f %.1fV%.1f\"/><text class=\"tick\" x=\"%.1f\" "
                         "y=\"%.1f\" text-anchor=\"end\">%.1f</text><text class=\"tick\" x=\"%.1f\" y=\"%.1f\" "
                         "text-anchor=\"middle\">%.1f</text>\n",
                         x_of(0), y_of(at), x_of(1), x_of(at), y_of(0), y_of(1), x_of(0) - 5, y_of(at) + 3.5, at,
                         x_of(at), y_of(0) + 14, at);
    }
    sg_buffer_printf(
        out,
        "<text class=\"axis\" x=\"%.1f\" y=\"%.1f\" text-anchor=\"middle\">%s</text><text class=\"axis\" "
        "transform=\"translate(12 %.1f) rotate(-90)\" text-anchor=\"middle\">%s</text>\n",
        x_of(0.5), y_of(0) + 31, x_title, y_of(0.5), y_title);
}

static void end(struct sg_buffer *out)
{
    sg_buffer_puts(out, "</svg></figure>\n");
}

static double at(const json_t *point, size_t i)
{
    const json_t *value = json_array_get(point, i);
    return json_is_number(value) ? json_number_value(value) : 0;
}

/* A line through the points, x and y being places in them. False when there is none. */
static bool put_line(struct sg_buffer *out, const json_t *curve, size_t x, size_t y, size_t series)
{
    const json_t *point;
    size_t i;
    if (json_array_size(curve) == 0)
        return false;
    sg_buffer_printf(out, "<path class=\"line s%zu\" d=\"", series % SERIES);
    json_array_foreach(curve, i, point)
        sg_buffer_printf(out, "%c%.1f %.1f", i ? 'L' : 'M', x_of(at(point, x)), y_of(at(point, y)));
    sg_buffer_puts(out, "\"/>\n");
    return true;
}

/* A marker that tells its values when it is pointed at. */
static void put_mark(struct sg_buffer *out, double x, double y, size_t series, const char *name, const char *what)
{
    sg_buffer_printf(out, "<circle class=\"mark s%zu\" cx=\"%.1f\" cy=\"%.1f\" r=\"4.5\"><title>", series % SERIES,
                     x_of(x), y_of(y));
    sg_html_text(out, name);
    sg_buffer_printf(out, ": %s</title></circle>\n", what);
}

static double figure(const json_t *task, const char *name)
{
    return number_in(json_object_get(json_object_get(task, "figures"), name), "value");
}

static void put_precision_recall(struct sg_buffer *out, const json_t *configs, size_t task)
{
    const json_t *config;
    size_t i;
    begin(out, "Precision against recall", "One line per configuration; a dot is where its decisions are", "recall",
          "precision");
    json_array_foreach(configs, i, config)
    {
        const json_t *of = task_in(config, task);
        double recall = figure(of, "recall"), precision = figure(of, "precision");
        char what[80];
        put_line(out, json_object_get(of, "curve"), 1, 2, i);
        snprintf(what, sizeof what, "recall %.3f, precision %.3f", recall, precision);
        if (!isnan(recall) && !isnan(precision))
            put_mark(out, recall, precision, i, text_in(config, "name"), what);
    }
    end(out);
}

static void put_calibration(struct sg_buffer *out, const json_t *configs, size_t task)
{
    const json_t *config, *bin;
    size_t i, k;
    begin(out, "Calibration",
          "Mean probability of each bin against the share that violates, with its interval; on the diagonal the "
          "probability can be taken at its word",
          "mean p(violation)", "share that violates");
    sg_buffer_printf(out, "<path class=\"diagonal\" d=\"M%.1f %.1fL%.1f %.1f\"/>\n", x_of(0), y_of(0), x_of(1),
                     y_of(1));
    json_array_foreach(configs, i, config)
    {
        json_array_foreach(json_object_get(task_in(config, task), "calibration"), k, bin)
        {
            double x = number_in(bin, "mean_score");
            char what[96];
            sg_buffer_printf(out, "<path class=\"line s%zu\" d=\"M%.1f %.1fV%.1f\"/>\n", i % SERIES, x_of(x),
                             y_of(number_in(bin, "low")), y_of(number_in(bin, "high")));
            snprintf(what, sizeof what, "%" PRId64 " rows, mean %.3f, %.3f of them violate", count_in(bin, "rows"), x,
                     number_in(bin, "value"));
            put_mark(out, x, number_in(bin, "value"), i, text_in(config, "name"), what);
        }
    }
    end(out);
}

/* Share of answered rows that asked the reasoner, where that is known. */
static double cost_of(const json_t *task)
{
    double n = (double)count_in(task, "answered");
    const json_t *calls = json_object_get(task, "reasoner_calls");
    return json_is_integer(calls) && n > 0 ? (double)json_integer_value(calls) / n : NAN;
}

static void put_cost(struct sg_buffer *out, const json_t *configs, size_t task)
{
    const json_t *config;
    size_t i;
    begin(out, "Cost against recall",
          "Share of rows that go on at each threshold of the score, against the share of violations among them; a "
          "dot is "
          "the share that asked the reasoner",
          "share of rows that go on", "recall");
    json_array_foreach(configs, i, config)
    {
        const json_t *of = task_in(config, task);
        double cost = cost_of(of), recall = figure(of, "recall");
        char what[96];
        put_line(out, json_object_get(json_object_get(of, "cost"), "curve"), 3, 1, i);
        snprintf(what, sizeof what, "%.3f of the rows asked the reasoner, recall %.3f", cost, recall);
        if (!isnan(cost) && !isnan(recall))
            put_mark(out, cost, recall, i, text_in(config, "name"), what);
    }
    end(out);
}

static void put_legend(struct sg_buffer *out, const json_t *configs)
{
    const json_t *config;
    size_t i;
    sg_buffer_puts(out, "<ul class=\"legend\">");
    json_array_foreach(configs, i, config)
    {
        sg_buffer_printf(out,
                         "<li><svg viewBox=\"0 0 30 10\" aria-hidden=\"true\"><path class=\"line s%zu\" d=\"M0 "
                         "5H30\"/><circle class=\"mark s%zu\" cx=\"15\" cy=\"5\" r=\"4\"/></svg> ",
                         i % SERIES, i % SERIES);
        sg_html_text(out, text_in(config, "name"));
        sg_buffer_puts(out, "</li>");
    }
    sg_buffer_puts(out, "</ul>\n");
}

void sg_html_plots(struct sg_buffer *out, const json_t *report, size_t task)
{
    const json_t *configs = json_object_get(report, "configurations");
    put_legend(out, configs);
    sg_buffer_puts(out, "<div class=\"plots\">\n");
    put_precision_recall(out, configs, task);
    put_calibration(out, configs, task);
    put_cost(out, configs, task);
    sg_buffer_puts(out, "</div>\n");
}
