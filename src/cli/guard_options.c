#include "cli/guard_options.h"

#include "cli/render.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define DEFAULT_FEATURES 5

void sg_guard_cli_init(struct sg_guard_cli *options)
{
    *options = (struct sg_guard_cli){.severity = 1, .features = -1};
}

/* "2", "2/s", "2calls/s", "30/min", "500tokens/s". */
static bool parse_budget(const char *text, struct sg_guard_cli *options)
{
    static const struct {
        const char *unit;
        bool tokens;
        double seconds;
    } units[] = {{"", false, 1},           {"/s", false, 1},         {"/min", false, 60},      {"/h", false, 3600},
                 {"calls/s", false, 1},    {"calls/min", false, 60}, {"calls/h", false, 3600}, {"tokens/s", true, 1},
                 {"tokens/min", true, 60}, {"tokens/h", true, 3600}};
    char *end;
    double number = strtod(text, &end);
    if (end == text || !(number > 0) || isinf(number))
        return false;
    while (*end == ' ')
        end++;
    for (size_t i = 0; i < sizeof units / sizeof *units; i++) {
        if (strcmp(end, units[i].unit) == 0) {
            *(units[i].tokens ? &options->tokens_per_second : &options->calls_per_second) = number / units[i].seconds;
            return true;
        }
    }
    return false;
}

const char *sg_guard_cli_wrong(struct sg_guard_cli *options, size_t n_policies)
{
    static const enum sg_guard_mode modes[] = {SG_GUARD_CASCADE, SG_GUARD_REASONER_ONLY, SG_GUARD_SCREEN_ONLY,
                                               SG_GUARD_SHADOW};
    options->guard_mode = SG_GUARD_CASCADE;
    for (size_t i = 0; i < sizeof modes / sizeof *modes && options->mode; i++) {
        if (strcmp(options->mode, sg_guard_mode_name(modes[i])) == 0)
            options->guard_mode = modes[i];
    }
    if (n_policies > 1 && (options->rules || options->screen || options->certificate))
        return "--rules, --screen and --certificate belong to one policy: say --policy once";
    if (options->certificate && !options->screen)
        return "--certificate goes with --screen";
    if (options->category && !options->screen)
        return "--category goes with --screen";
    if (options->guard_mode == SG_GUARD_SCREEN_ONLY && !options->screen && !options->rules)
        return "--mode screen-only needs --screen or --rules";
    if (options->budget && !parse_budget(options->budget, options))
        return "--reasoner-budget: expected a number above 0 with /s, /min, /h, calls/s or tokens/s (or /min, /h)";
    if ((options->platform_compute > 0) != (options->platform_tokens > 0))
        return "--platform-compute and --platform-tokens go together";
    if (options->platform_compute > 0 && options->tokens_per_second > 0)
        return "--platform-compute and a --reasoner-budget in tokens exclude each other";
    /* The share is of the whole: reasoner / (platform + reasoner). */
    if (options->platform_compute > 0)
        options->tokens_per_second =
            options->platform_tokens * options->platform_compute / (1 - options->platform_compute);
    return NULL;
}

bool sg_guard_cli_asked(const struct sg_guard_cli *options)
{
    return options->rules || options->screen || options->mode || options->small_model || options->cache_mb > 0 ||
           options->calls_per_second > 0 || options->tokens_per_second > 0 || options->audit > 0;
}

static enum sg_status add_governor(struct sg_guard_stage *stage, double calls, double tokens, struct sg_error *err)
{
    struct sg_governor_options options = {.calls_per_second = calls,
                                          .tokens_per_second = tokens,
                                          .in_flight = sg_reasoner_in_flight(stage->reasoners[stage->n])};
    return sg_governor_create(&options, &stage->governors[stage->n++], err);
}

enum sg_status sg_guard_stage_open(const struct sg_guard_cli *options, const struct sg_reasoner_options *reasoner,
                                   struct sg_guard_stage *stage, struct sg_error *err)
{
    *stage = (struct sg_guard_stage){0};
    if (options->guard_mode == SG_GUARD_SCREEN_ONLY)
        return SG_OK;
    enum sg_status status = SG_OK;
    if (options->small_model) {
        struct sg_reasoner_options small = *reasoner;
        bool replays = strncmp(options->small_model, "replay:", 7) == 0;
        small.remote = (struct sg_remote_options){.url = replays ? options->small_model : NULL};
        small.model_name = options->small_model;
        status = sg_reasoner_options_open(&small, &stage->models[0], &stage->reasoners[0], err);
        if (status == SG_OK)
            status = add_governor(stage, 0, 0, err);
    }
    size_t i = stage->n;
    if (status == SG_OK)
        status = sg_reasoner_options_open(reasoner, &stage->models[i], &stage->reasoners[i], err);
    if (status == SG_OK)
        status = add_governor(stage, options->calls_per_second, options->tokens_per_second, err);
    return status;
}

void sg_guard_stage_close(struct sg_guard_stage *stage)
{
    for (size_t i = 0; i < 2; i++) {
        sg_governor_destroy(stage->governors[i]);
        if (stage->reasoners[i])
            sg_reasoner_destroy(stage->reasoners[i]);
        sg_model_close(stage->models[i]);
    }
    *stage = (struct sg_guard_stage){0};
}

enum sg_status sg_guard_stage_sha256(const struct sg_guard_stage *stage, char hex_out[2][65], struct sg_error *err)
{
    enum sg_status status = SG_OK;
    for (size_t i = 0; i < 2; i++) {
        hex_out[i][0] = '\0';
        if (status == SG_OK && stage->models[i])
            status = sg_model_sha256(stage->models[i], hex_out[i], err);
    }
    return status;
}

enum sg_status sg_guard_cli_open(const struct sg_guard_cli *options, const struct sg_guard_stage *stage,
                                 const struct sg_policy *policy, struct sg_guard **guard_out, struct sg_error *err)
{
    struct sg_guard_options guard = {
        .mode = options->guard_mode,
        .rules_path = options->rules,
        .screen_path = options->screen,
        .certificate_path = options->certificate,
        .category = options->category,
        .n_reasoners = stage->n,
        .max_wait_ms = 1000 * options->max_wait_s,
        .severity = options->severity,
        .audit_share = options->audit,
        .seed = options->audit_seed,
        .cache_bytes = (size_t)options->cache_mb << 20,
        .n_features = options->features >= 0 ? (size_t)options->features : DEFAULT_FEATURES,
    };
    for (size_t i = 0; i < stage->n; i++) {
        guard.reasoners[i] = stage->reasoners[i];
        guard.governors[i] = stage->governors[i];
    }
    bool escalate_all;
    enum sg_status status = sg_guard_open(policy, &guard, &escalate_all, guard_out, err);
    if (status == SG_OK && escalate_all) {
        fputs("safeguard: warning: ", stderr);
        sg_put_safe(stderr, options->screen, strlen(options->screen));
        fputs(" is damaged or of another version: nothing is cleared by it, everything escalates\n", stderr);
    }
    return status;
}

static void put_hash(struct sg_buffer *out, const char *name, const char *hash)
{
    sg_buffer_printf(out, hash ? ",\"%s\":\"%s\"" : ",\"%s\":null", name, hash);
}

void sg_guard_cli_json(const struct sg_guard_cli *options, const struct sg_guard *guard, struct sg_buffer *out)
{
    if (!guard || !sg_guard_cli_asked(options))
        return;
    sg_buffer_printf(out, ",\"guard\":{\"mode\":\"%s\"", sg_guard_mode_name(options->guard_mode));
    put_hash(out, "rules", sg_guard_rules_sha256(guard));
    put_hash(out, "screen", sg_guard_screen_sha256(guard));
    put_hash(out, "certificate", sg_guard_certificate_sha256(guard));
    sg_options_put_text(out, "category", options->category);
    sg_options_put_text(out, "small_model", options->small_model);
    sg_buffer_printf(out, ",\"audit\":%g,\"audit_seed\":\"%" PRIu64 "\"}", options->audit, options->audit_seed);
}
