/* Demands on a report: --fail-under. */
#include "eval/report_internal.h"

#include <math.h>
#include <stdlib.h>

static bool is_better_low(const char *figure)
{
    static const char *const names[] = {"ece", "fpr", "undecided", "missed_early"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (strcmp(figure, names[i]) == 0)
            return true;
    return false;
}

static void check_one(json_t *checks, const char *config, const char *label, const char *figure, double limit,
                      const json_t *interval, bool *failed_out)
{
    const json_t *value = json_object_get(interval, "value");
    double got = json_is_number(value) ? json_number_value(value) : NAN;
    bool passed = is_better_low(figure) ? got <= limit : got >= limit;
    *failed_out = *failed_out || !passed;
    json_array_append_new(checks,
                          json_pack("{s:s, s:s, s:s, s:f, s:o, s:b}", "configuration", config, "label", label,
                                    "figure", figure, "limit", limit, "value", sg_real(got), "passed", passed));
}

static bool is_share(const char *name)
{
#define X(share, title) || strcmp(name, share) == 0
    return false SG_SHARE_LIST(X);
#undef X
}

static bool is_figure(const char *name)
{
    for (int i = 0; i < SG_N_FIGURES; i++)
        if (strcmp(sg_figure_name(i), name) == 0)
            return true;
    return strcmp(name, "exact_match") == 0 || is_share(name);
}

enum sg_status sg_report_check(json_t *report, const char *wanted, bool *failed_out, struct sg_error *err)
{
    char name[64] = "", figure[32] = "";
    const char *colon = strrchr(wanted, ':'), *at = colon ? colon + 1 : wanted, *equals = strchr(at, '=');
    char *end = NULL;
    double limit = equals ? strtod(equals + 1, &end) : 0;
    if (equals && (size_t)(equals - at) < sizeof figure)
        memcpy(figure, at, (size_t)(equals - at));
    if (colon && (size_t)(colon - wanted) < sizeof name)
        memcpy(name, wanted, (size_t)(colon - wanted));
    if (!equals || end == equals + 1 || *end || !(limit >= 0 && limit <= 1) || !is_figure(figure))
        return sg_fail(err, SG_EINVALID,
                       "got \"%s\", expected [CONFIGURATION:]FIGURE=LIMIT with a limit from 0 to 1 and "
                       "precision, recall, f1, held, fpr, undecided, auprc, auroc, ece, exact_match, parse_rate, "
                       "cleared_early or missed_early",
                       wanted);
    json_t *checks = json_object_get(report, "checks"), *config, *task;
    if (!checks) {
        checks = json_array();
        if (json_object_set_new(report, "checks", checks) != 0)
            return sg_fail(err, SG_ENOMEM, "no memory for the report");
    }
    size_t i, k, n_before = json_array_size(checks);
    json_array_foreach(json_object_get(report, "configurations"), i, config)
    {
        const char *config_name = json_string_value(json_object_get(config, "name"));
        if (colon && strcmp(config_name, name) != 0)
            continue;
        if (strcmp(figure, "exact_match") == 0) {
            check_one(checks, config_name, "all", figure, limit, json_object_get(config, figure), failed_out);
            continue;
        }
        json_array_foreach(json_object_get(config, "tasks"), k, task)
        {
            const json_t *interval = is_share(figure) ? json_object_get(task, figure)
                                                      : json_object_get(json_object_get(task, "figures"), figure);
            check_one(checks, config_name, json_string_value(json_object_get(task, "label")), figure, limit, interval,
                      failed_out);
        }
    }
    if (json_array_size(checks) == n_before)
        return sg_fail(err, SG_EINVALID, "got \"%s\", but no configuration is called \"%s\"", wanted, name);
    return SG_OK;
}
