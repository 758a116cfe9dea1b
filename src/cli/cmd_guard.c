/* safeguard guard forecast | rules. */
#include "cli/guard_options.h"
#include "cli/render.h"
#include "cli/verbs.h"

#include "guard/rules.h"
#include "input/input.h"
#include "safeguard/content.h"

#include <inttypes.h>
#include <jansson.h>
#include <limits.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* --- forecast ------------------------------------------------------------------------------------------------- */

#define MEASURE_MAX 100000
#define NORMAL_QUANTILE 1.959963984540054 /* two-sided 95 % */

/* A mean with its 95 % interval; n 0: not known. */
struct mean {
    size_t n;
    double mean, low, high;
};

struct forecasting {
    const char *policy_path, *text_field;
    struct sg_list traffic;
    struct sg_guard_cli guard_options;
    struct sg_reasoner_options reasoner_options;
    double seconds_per_call, tokens_per_call, peak;
    int measure;
    uint64_t seed;
    bool json, quiet;
    /* opened */
    struct sg_policy *policy;
    struct sg_guard *guard;
    struct sg_forecaster *forecaster;
    struct sg_input *inputs[SG_LIST_MAX];
    /* a uniform sample of what needs the reasoner: file and row */
    struct {
        size_t file, row;
    } * sample;
    size_t n_sample, n_escalated, n_unreadable;
    struct mean seconds, tokens;
};

static enum sg_status read_row(const struct forecasting *run, size_t file, size_t row,
                               struct sg_content **content_out, struct sg_error *err)
{
    struct sg_input_row taken;
    *content_out = NULL;
    enum sg_status status = sg_input_row(run->inputs[file], row, &taken, err);
    if (status != SG_OK)
        return status;
    return taken.is_messages ? sg_content_from_json(taken.text.ptr, taken.text.len, SG_JUDGE_LAST, content_out, err)
                             : sg_content_from_text(taken.text.ptr, taken.text.len, content_out, err);
}

/* Algorithm R: after any number of candidates, each is in the sample with the same probability. */
static void sample(struct forecasting *run, size_t file, size_t row)
{
    size_t seen = run->n_escalated++, cap = (size_t)run->measure, at = seen;
    if (seen >= cap) {
        run->seed = run->seed * 6364136223846793005u + 1442695040888963407u;
        at = (size_t)((double)(run->seed >> 11) * 0x1p-53 * (double)(seen + 1));
    }
    if (at < cap) {
        run->sample[at].file = file;
        run->sample[at].row = row;
        run->n_sample = seen < cap ? seen + 1 : cap;
    }
}

static enum sg_status look_at_traffic(struct forecasting *run, struct sg_error *err)
{
    enum sg_status status = SG_OK;
    for (size_t i = 0; i < run->traffic.n && status == SG_OK; i++) {
        size_t n = sg_input_count(run->inputs[i]);
        for (size_t row = 0; row < n && status == SG_OK; row++) {
            struct sg_content *content;
            struct sg_error what;
            bool escalates = false;
            if (read_row(run, i, row, &content, &what) != SG_OK) {
                run->n_unreadable++;
                continue;
            }
            status = sg_forecaster_add(run->forecaster, content, &escalates, err);
            sg_content_destroy(content);
            if (escalates)
                sample(run, i, row);
        }
    }
    return status;
}

static struct mean mean_of(const double *values, size_t n)
{
    struct mean out = {.n = n};
    double sum = 0, squares = 0;
    for (size_t i = 0; i < n; i++)
        sum += values[i];
    out.mean = n ? sum / (double)n : NAN;
    for (size_t i = 0; i < n; i++)
        squares += (values[i] - out.mean) * (values[i] - out.mean);
    double half = n > 1 ? NORMAL_QUANTILE * sqrt(squares / (double)(n - 1) / (double)n) : INFINITY;
    out.low = fmax(0, out.mean - half);
    out.high = out.mean + half;
    return out;
}

/* Ask the reasoner about the sample, one after the other, and take times and tokens. */
static enum sg_status measure(struct forecasting *run, struct sg_error *err)
{
    struct sg_guard_stage stage;
    double *seconds = malloc((run->n_sample + 1) * sizeof *seconds);
    double *tokens = malloc((run->n_sample + 1) * sizeof *tokens);
    size_t n = 0, n_tokens = 0;
    enum sg_status status = seconds && tokens
                                ? sg_guard_stage_open(&(struct sg_guard_cli){0}, &run->reasoner_options, &stage, err)
                                : sg_fail(err, SG_ENOMEM, "out of memory");
    bool opened = seconds && tokens, show = !run->quiet && isatty(STDERR_FILENO);
    const struct sg_check_options options = {.top_p = 1};
    for (size_t i = 0; i < run->n_sample && status == SG_OK; i++) {
        struct sg_content *content;
        struct sg_verdict verdict;
        sg_verdict_init(&verdict);
        if (show)
            fprintf(stderr, "\r\033[Kmeasuring: call %zu of %zu", i + 1, run->n_sample);
        status = read_row(run, run->sample[i].file, run->sample[i].row, &content, err);
        double started = sg_now();
        if (status == SG_OK)
            status = sg_reasoner_check(stage.reasoners[0], run->policy, content, &options, NULL, NULL, &verdict, err);
        seconds[n++] = sg_now() - started;
        if (verdict.n_prompt_tokens >= 0 && verdict.n_output_tokens >= 0)
            tokens[n_tokens++] = (double)(verdict.n_prompt_tokens + verdict.n_output_tokens) -
                                 (verdict.n_cached_tokens > 0 ? (double)verdict.n_cached_tokens : 0);
        sg_verdict_deinit(&verdict);
        sg_content_destroy(content);
    }
    if (show)
        fputs("\r\033[K", stderr);
    if (opened)
        sg_guard_stage_close(&stage);
    run->seconds = mean_of(seconds, seconds ? n : 0);
    run->tokens = mean_of(tokens, tokens ? n_tokens : 0);
    free(seconds);
    free(tokens);
    return status;
}

static json_t *share_json(const struct sg_share *share)
{
    return json_pack("{s:I, s:f, s:f, s:f}", "n", (json_int_t)share->n, "share",
                     isnan(share->share) ? 0 : share->share, "low", share->low, "high", share->high);
}

static json_t *mean_json(const struct mean *mean)
{
    if (isnan(mean->mean) || (mean->n == 0 && mean->mean <= 0))
        return json_null();
    json_t *interval = isfinite(mean->high) ? json_real(mean->high) : json_null();
    return json_pack("{s:f, s:f, s:o, s:I}", "mean", mean->mean, "low", mean->low, "high", interval, "measured",
                     (json_int_t)mean->n);
}

static int print_json(const struct forecasting *run, const struct sg_forecast *f)
{
    json_t *out =
        json_pack("{s:I, s:I, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o}", "contents", (json_int_t)f->n, "unreadable",
                  (json_int_t)run->n_unreadable, "flagged_by_rules", share_json(&f->by_rules_flagged),
                  "cleared_by_rules", share_json(&f->by_rules_cleared), "cleared_by_screen", share_json(&f->cleared),
                  "flagged_by_screen", share_json(&f->flagged), "escalated", share_json(&f->escalated),
                  "escalated_by_rules", share_json(&f->escalated_by_rules), "escalated_by_gate",
                  share_json(&f->escalated_by_gate), "repeated_of_escalated", share_json(&f->repeated));
    if (f->n > 0)
        json_object_set_new(
            out, "calls_per_content",
            json_pack("{s:f, s:f, s:f}", "mean", f->calls_per_item, "low", f->calls_low, "high", f->calls_high));
    json_object_set_new(out, "bytes_per_call", isnan(f->bytes_per_call) ? json_null() : json_real(f->bytes_per_call));
    json_object_set_new(out, "cheap_stages_seconds", json_real(isnan(f->stage_seconds) ? 0 : f->stage_seconds));
    json_object_set_new(out, "seconds_per_call", mean_json(&run->seconds));
    json_object_set_new(out, "tokens_per_call", mean_json(&run->tokens));
    if (run->peak > 0 && f->n > 0) {
        double calls = run->peak * f->calls_high;
        json_object_set_new(
            out, "peak",
            json_pack("{s:f, s:f, s:o, s:o}", "contents_per_second", run->peak, "calls_per_second", calls,
                      "calls_in_flight", run->seconds.mean > 0 ? json_real(calls * run->seconds.mean) : json_null(),
                      "tokens_per_second", run->tokens.mean > 0 ? json_real(calls * run->tokens.mean) : json_null()));
    }
    char *text = json_dumps(out, JSON_COMPACT | JSON_REAL_PRECISION(9));
    if (text)
        puts(text);
    free(text);
    json_decref(out);
    return text ? SG_EXIT_OK : SG_EXIT_FAILURE;
}

static void print_share(const char *name, const struct sg_share *share, const char *note)
{
    if (share->n == 0 && *note == '(')
        return;
    char count[32];
    printf("  %-22s%8s  %5.1f %%  (%.1f to %.1f %%)%s%s\n", name,
           sg_show_count((int64_t)share->n, count, sizeof count), 100 * share->share, 100 * share->low,
           100 * share->high, *note ? "  " : "", note);
}

static void print_cost(const char *what, const struct mean *cost, const struct sg_forecast *f, const char *unit)
{
    if (!(cost->mean > 0))
        return;
    printf("  %-22s%8.*f%s", what, cost->mean < 10 ? 2 : 0, cost->mean, unit);
    if (cost->n > 1)
        printf("  (%.2f to %.2f; measured on %zu)", cost->low, cost->high, cost->n);
    else
        fputs(cost->n == 1 ? "  (measured once)" : "  (as given)", stdout);
    double low = 1000 * f->calls_low * cost->low, high = 1000 * f->calls_high * cost->high;
    printf(", for 1,000 contents %.0f%s", 1000 * f->calls_per_item * cost->mean, unit);
    if (isfinite(high))
        printf(" (%.0f to %.0f)", low, high);
    putchar('\n');
}

static int print_text(const struct forecasting *run, const struct sg_forecast *f)
{
    char count[32];
    printf("%s contents", sg_show_count((int64_t)f->n, count, sizeof count));
    if (run->n_unreadable)
        printf(", and %zu rows that could not be read", run->n_unreadable);
    puts("; intervals are of 95 %");
    if (f->n == 0)
        return SG_EXIT_OK;
    if (!run->guard_options.certificate)
        puts("  without a certificate the screen clears and flags nothing");
    print_share("flagged by rules", &f->by_rules_flagged, "");
    print_share("cleared by rules", &f->by_rules_cleared, "");
    print_share("cleared by the screen", &f->cleared, "");
    print_share("flagged by the screen", &f->flagged, "");
    print_share("escalated", &f->escalated, "");
    print_share("  by a rule", &f->escalated_by_rules, "(of all)");
    print_share("  by the evasion gate", &f->escalated_by_gate, "(of all)");
    print_share("  seen before", &f->repeated, "(of the escalated: a cache answers)");
    printf("  %-22s%8.1f  (%.1f to %.1f) for 1,000 contents%s\n", "reasoner calls", 1000 * f->calls_per_item,
           1000 * f->calls_low, 1000 * f->calls_high, run->guard_options.audit > 0 ? ", the audit included" : "");
    print_cost("time of a call", &run->seconds, f, " s");
    print_cost("tokens of a call", &run->tokens, f, "");
    printf("  %-22s%8.1f µs a content\n", "rules and screen", 1e6 * f->stage_seconds);
    if (run->peak > 0) {
        double calls = run->peak * f->calls_high;
        printf("  at %g contents a second, at most %.1f calls a second", run->peak, calls);
        if (run->seconds.mean > 0)
            printf(", %.0f in flight", ceil(calls * run->seconds.mean));
        if (run->tokens.mean > 0)
            printf(", %.0f tokens a second", calls * run->tokens.mean);
        putchar('\n');
    }
    return SG_EXIT_OK;
}

static enum sg_status prepare(struct forecasting *run, struct sg_error *err)
{
    const struct sg_guard_stage nobody = {0};
    const struct sg_input_options input = {.text_field = run->text_field};
    run->sample = calloc((size_t)run->measure + 1, sizeof *run->sample);
    enum sg_status status =
        run->sample ? sg_policy_open(run->policy_path, &run->policy, err) : sg_fail(err, SG_ENOMEM, "out of memory");
    if (status == SG_OK)
        status = sg_guard_cli_open(&run->guard_options, &nobody, run->policy, &run->guard, err);
    if (status == SG_OK)
        status = sg_forecaster_create(run->guard, &run->forecaster, err);
    for (size_t i = 0; i < run->traffic.n && status == SG_OK; i++)
        status = sg_input_open(run->traffic.values[i], &input, &run->inputs[i], err);
    return status;
}

static int run_forecast(struct forecasting *run)
{
    struct sg_error err;
    struct sg_forecast result = {0};
    enum sg_status status = prepare(run, &err);
    if (status == SG_OK)
        status = look_at_traffic(run, &err);
    run->seconds = (struct mean){0, run->seconds_per_call, run->seconds_per_call, run->seconds_per_call};
    run->tokens = (struct mean){0, run->tokens_per_call, run->tokens_per_call, run->tokens_per_call};
    if (status == SG_OK && run->measure > 0)
        status = measure(run, &err);
    if (status == SG_OK)
        sg_forecaster_result(run->forecaster, &result);
    int exit = status != SG_OK ? sg_say_error(&err, SG_EXIT_FAILURE)
               : run->json     ? print_json(run, &result)
                               : print_text(run, &result);
    for (size_t i = 0; i < run->traffic.n; i++)
        sg_input_close(run->inputs[i]);
    sg_forecaster_destroy(run->forecaster);
    sg_guard_close(run->guard);
    sg_policy_close(run->policy);
    free(run->sample);
    return exit;
}

static int forecast(int argc, char **argv)
{
    static const struct sg_verb verb = {
        .name = "guard forecast",
        .summary = "what a cascade would do with traffic that nobody has labelled, and what it would cost",
        .usage = "--policy FILE --traffic ROWS… [--rules FILE] [--screen FILE --certificate FILE]",
        .about = "Runs rules, normaliser and screen over the rows and counts what would be cleared, flagged and "
                 "escalated,\n"
                 "with exact intervals. No reasoner is asked, except with --measure N: then N of the escalated rows, "
                 "drawn\n"
                 "uniformly, are judged one after the other, and their times and tokens are what a call costs.\n",
        .examples =
            "  safeguard guard forecast --policy spam.md --screen spam.screen --certificate spam.cert \\\n"
            "    --traffic yesterday.jsonl --seconds-per-call 1.5 --peak 200\n"
            "  safeguard guard forecast --policy spam.md --rules spam.yaml --traffic rows.csv --measure 20 --json\n",
    };
    struct sg_settings settings;
    struct sg_error err;
    struct forecasting run = {0};
    if (sg_settings_load(&settings, &err) != SG_OK)
        return sg_say_error(&err, SG_EXIT_FAILURE);
    sg_guard_cli_init(&run.guard_options);
    run.guard_options.features = 0; /* nobody reads them */
    sg_reasoner_options_init(&run.reasoner_options, &settings);
    struct sg_guard_cli *o = &run.guard_options;
    const struct sg_option options[] = {
        {"policy", SG_OPTION_STRING, &run.policy_path, "FILE", "the policy", 0, 0},
        {"traffic", SG_OPTION_LIST, &run.traffic, "ROWS", "a .jsonl, .csv or .tsv file of contents; several add up",
         0, 0},
        {"text-field", SG_OPTION_STRING, &run.text_field, "NAME", "field or column of the content (text)", 0, 0},
        {"rules", SG_OPTION_STRING, &o->rules, "FILE", "phrases and expressions of the policy", 0, 0},
        {"screen", SG_OPTION_STRING, &o->screen, "FILE", "the policy's screen", 0, 0},
        {"certificate", SG_OPTION_STRING, &o->certificate, "FILE", "what the screen may clear and flag", 0, 0},
        {"category", SG_OPTION_STRING, &o->category, "NAME", "of the screen (any)", 0, 0},
        {"audit", SG_OPTION_DOUBLE, &o->audit, "SHARE", "of what is cleared, the share that is drawn", 0, 1},
        {"seconds-per-call", SG_OPTION_DOUBLE, &run.seconds_per_call, "S", "of the reasoner, if not measured", 0,
         1e6},
        {"tokens-per-call", SG_OPTION_DOUBLE, &run.tokens_per_call, "N", "of the reasoner, if not measured", 0, 1e9},
        {"peak", SG_OPTION_DOUBLE, &run.peak, "N", "contents per second at the busiest time", 0, 1e12},
        {"measure", SG_OPTION_INT, &run.measure, "N", "ask the reasoner about N escalated rows", 0, MEASURE_MAX},
        SG_REASONER_OPTIONS(run.reasoner_options),
        {"seed", SG_OPTION_U64, &run.seed, "N", "of the draw of rows to measure", 0, 0},
        {"json", SG_OPTION_FLAG, &run.json, NULL, "one JSON object", 0, 0},
        {"quiet", SG_OPTION_FLAG, &run.quiet, NULL, "no progress", 0, 0},
        {0}};
    int exit = sg_options_start(&verb, options, &argc, argv, 0, 0);
    const char *wrong = exit >= 0 ? NULL : sg_guard_cli_wrong(o, 1);
    if (exit < 0 && !wrong)
        wrong = sg_reasoner_options_wrong(&run.reasoner_options);
    if (exit < 0 && wrong)
        exit = sg_say_usage(&verb, "%s", wrong);
    else if (exit < 0 && !run.policy_path)
        exit = sg_say_usage(&verb, "no policy: say --policy FILE");
    else if (exit < 0 && run.traffic.n == 0)
        exit = sg_say_usage(&verb, "no traffic: say --traffic ROWS");
    else if (exit < 0 && run.measure > 0 && (run.seconds_per_call > 0 || run.tokens_per_call > 0))
        exit = sg_say_usage(&verb, "--measure and a cost that is given exclude each other");
    if (exit < 0)
        exit = run_forecast(&run);
    sg_settings_deinit(&settings);
    return exit;
}

/* --- rules ------------------------------------------------------------------------------------------------------ */

static enum sg_status match_text(const struct sg_rules *rules, const struct sg_buffer *text,
                                 struct sg_rules_result *result, struct sg_normal *normal, struct sg_error *err)
{
    struct sg_content *content;
    struct sg_rules_scratch *scratch;
    enum sg_status status = sg_content_from_text(sg_buffer_text(text), text->len, &content, err);
    if (status != SG_OK)
        return status;
    struct sg_slice whole;
    whole.ptr = sg_content_text(content, &whole.len);
    status = sg_rules_scratch_create(rules, &scratch, err);
    if (status == SG_OK)
        status = sg_normalise(whole, true, normal, err);
    if (status == SG_OK)
        status = sg_rules_match(rules, whole, normal, scratch, result, err);
    sg_rules_scratch_destroy(scratch);
    sg_content_destroy(content);
    return status;
}

static void print_matches(const struct sg_rules *rules, const struct sg_rules_result *result, bool evasive)
{
    for (size_t i = 0; i < result->n_found; i++) {
        const struct sg_rule_found *found = &result->found[i];
        const struct sg_rule *rule = sg_rules_at(rules, found->rule);
        const char *name = rule->name ? rule->name : rule->pattern;
        printf("  %-10s", sg_rule_action_name(rule->action));
        sg_put_safe(stdout, name, strlen(name));
        printf("  line %zu, bytes %zu to %zu, %s\n", rule->line, found->first_byte,
               found->first_byte + found->n_bytes,
               found->reading == SG_READING_RAW ? "raw" : sg_reading_name((enum sg_reading)found->reading));
    }
    if (result->more)
        puts("  … and more matches than are listed");
    bool clears = result->any[SG_RULE_CLEAR];
    puts(result->any[SG_RULE_VIOLATES]   ? "these rules say: violates"
         : result->any[SG_RULE_ESCALATE] ? "these rules say: ask the reasoner"
         : clears && evasive             ? "a rule would clear it, but it is written in a way that is never cleared"
         : clears                        ? "these rules say: does not violate"
                                         : "no rule decides");
}

static int rules(int argc, char **argv)
{
    static const struct sg_verb verb = {
        .name = "guard rules",
        .summary = "check a file of rules, and try it on a text",
        .usage = "FILE [TEXT…]",
        .about = "Reads and compiles the rules (docs/rules.md), says how many there are and what looks unwise. With "
                 "TEXT, lists\nwhat matches it, in which reading, at which bytes.\n",
        .examples = "  safeguard guard rules spam.yaml\n"
                    "  safeguard guard rules spam.yaml \"b.u.y followers\"\n",
    };
    const struct sg_option options[] = {{0}};
    int exit = sg_options_start(&verb, options, &argc, argv, 1, INT_MAX);
    if (exit >= 0)
        return exit;
    struct sg_rules *opened;
    struct sg_error err;
    double started = sg_now();
    if (sg_rules_open(argv[0], &opened, &err) != SG_OK)
        return sg_say_error(&err, SG_EXIT_FAILURE);
    double seconds = sg_now() - started;
    size_t n = sg_rules_count(opened), by_action[SG_RULE_VIOLATES + 1] = {0}, n_notes;
    for (size_t i = 0; i < n; i++)
        by_action[sg_rules_at(opened, i)->action]++;
    printf("%zu rules: %zu violate, %zu escalate, %zu clear; compiled in %.2f s\n", n, by_action[SG_RULE_VIOLATES],
           by_action[SG_RULE_ESCALATE], by_action[SG_RULE_CLEAR], seconds);
    const char *const *notes = sg_rules_notes(opened, &n_notes);
    for (size_t i = 0; i < n_notes; i++) {
        fputs("  note: ", stdout);
        sg_put_safe(stdout, notes[i], strlen(notes[i]));
        putchar('\n');
    }
    enum sg_status status = SG_OK;
    if (argc > 1) {
        struct sg_buffer text = {0};
        struct sg_rules_result result;
        struct sg_normal normal = {0};
        for (int i = 1; i < argc; i++)
            sg_buffer_printf(&text, "%s%s", i > 1 ? " " : "", argv[i]);
        status = match_text(opened, &text, &result, &normal, &err);
        if (status == SG_OK)
            print_matches(opened, &result, normal.evasive);
        sg_normal_deinit(&normal);
        sg_buffer_free(&text);
    }
    sg_rules_close(opened);
    return status == SG_OK ? SG_EXIT_OK : sg_say_error(&err, SG_EXIT_FAILURE);
}

int sg_verb_guard(int argc, char **argv)
{
    static const struct sg_family_verb verbs[] = {
        {"forecast", forecast, "what a cascade would do with traffic, and what it would cost"},
        {"rules", rules, "check a file of rules, and try it on a text"},
        {NULL, NULL, NULL},
    };
    return sg_family_run("safeguard guard", "rules and forecasts of a policy's cascade", verbs, argc, argv);
}
