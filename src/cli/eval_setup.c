#include "cli/eval_setup.h"

#include "base/file.h"
#include "cli/check.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>

#define WORDS_MAX 64

/* --- --config ------------------------------------------------------------------------------------------------- */

static enum sg_status parse_keys(struct sg_eval_setup *setup, char **words, int n_words, struct sg_error *err)
{
    const struct sg_option options[] = {SG_EVAL_SETUP_OPTIONS(*setup), SG_EVAL_CONFIG_OPTIONS(*setup), {0}};
    bool help;
    enum sg_status status = sg_options_parse(options, &n_words, words, &help, err);
    if (status == SG_OK && (help || n_words > 0))
        return sg_fail(err, SG_EINVALID, "expected key=value");
    if (status != SG_OK)
        return status;
    const char *wrong = sg_reasoner_options_wrong(&setup->reasoner_options);
    return wrong ? sg_fail(err, SG_EINVALID, "%s", wrong) : SG_OK;
}

/* The words stay alive with the setup: their values are borrowed. */
enum sg_status sg_eval_setup_parse(const char *text, const struct sg_eval_setup *base, struct sg_eval_setup *setup,
                                   struct sg_error *err)
{
    char *words[WORDS_MAX];
    int n_words = 0;
    size_t n_name = strcspn(text, ":");
    *setup = *base;
    setup->policies.n = setup->rules.n = setup->screens.n = setup->certificates.n = 0;
    if (text[n_name] != ':' || n_name == 0 || n_name > 40 || strcspn(text, "=, ") < n_name)
        return sg_fail(err, SG_EINVALID, "--config: got \"%s\", expected NAME:key=value,…", text);
    /* name NUL, then for each word "--" word NUL */
    struct sg_buffer out = {0};
    sg_buffer_append(&out, text, n_name);
    sg_buffer_putc(&out, '\0');
    for (const char *at = text + n_name + 1; *at; at += strcspn(at, ",") + (strchr(at, ',') != NULL)) {
        size_t len = strcspn(at, ",");
        sg_buffer_puts(&out, "--");
        sg_buffer_append(&out, at, len);
        sg_buffer_putc(&out, '\0');
        if (++n_words == WORDS_MAX)
            break;
    }
    setup->text = sg_buffer_take(&out);
    if (!setup->text)
        return sg_fail(err, SG_ENOMEM, "out of memory for --config");
    setup->name = setup->text;
    char *at = setup->text + n_name + 1;
    for (int i = 0; i < n_words; i++) {
        words[i] = at;
        at += strlen(at) + 1;
    }
    /* a model of one's own takes the place of the base's server, and the other way round */
    for (int i = 0; i < n_words; i++) {
        if (strncmp(words[i], "--model=", 8) == 0) {
            setup->reasoner_options.remote = (struct sg_remote_options){0};
            setup->reasoner_options.in_flight = setup->reasoner_options.timeout_s = 0;
        } else if (strncmp(words[i], "--reasoner=", 11) == 0) {
            setup->reasoner_options.model_name = NULL;
        }
    }
    enum sg_status status = parse_keys(setup, words, n_words, err);
    setup->rules = setup->rules.n ? setup->rules : base->rules;
    setup->screens = setup->screens.n ? setup->screens : base->screens;
    setup->certificates = setup->certificates.n ? setup->certificates : base->certificates;
    return status == SG_OK ? SG_OK : sg_fail_in(err, status, "--config %s", setup->name);
}

/* --- policies ------------------------------------------------------------------------------------------------- */

struct sg_slice sg_eval_policy_label(const char *value, const struct sg_eval_rows *rows, const char **path_out)
{
    char name[SG_DATASET_MAX_NAME + 1];
    size_t len = strcspn(value, "="), category;
    *path_out = value;
    if (value[len] != '=' || len == 0 || len >= sizeof name)
        return (struct sg_slice){"", 0};
    memcpy(name, value, len);
    name[len] = '\0';
    if (!sg_eval_find_category(rows, name, &category))
        return (struct sg_slice){"", 0}; /* a path with = in it */
    *path_out = value + len + 1;
    return (struct sg_slice){value, len};
}

/* The file of a list that belongs to the label: by the name in front of it, else because there is one of each. */
static const char *file_for(const struct sg_list *list, const struct sg_eval_rows *rows, const char *label,
                            bool only_task)
{
    for (size_t i = 0; i < list->n; i++) {
        const char *path;
        struct sg_slice named = sg_eval_policy_label(list->values[i], rows, &path);
        if (named.len ? sg_slice_equal(named, sg_slice_of(label)) : only_task && list->n == 1)
            return path;
    }
    return NULL;
}

/* The policy for a label: by file_for, else the one whose own id is the label. *policy_out is NULL when there is
 * none. */
static enum sg_status open_for(const struct sg_list *list, const struct sg_eval_rows *rows, const char *label,
                               bool only_task, struct sg_policy **policy_out, struct sg_error *err)
{
    const char *path = file_for(list, rows, label, only_task);
    *policy_out = NULL;
    if (path)
        return sg_policy_open(path, policy_out, err);
    for (size_t i = 0; i < list->n; i++) {
        if (sg_eval_policy_label(list->values[i], rows, &path).len)
            continue;
        enum sg_status status = sg_policy_open(path, policy_out, err);
        if (status != SG_OK || strcmp(sg_policy_id(*policy_out), label) == 0)
            return status;
        sg_policy_close(*policy_out);
        *policy_out = NULL;
    }
    return SG_OK;
}

enum sg_status sg_eval_setup_policies(struct sg_eval_setup *setup, const struct sg_list *base,
                                      const struct sg_eval_rows *rows, const struct sg_eval_task *tasks,
                                      size_t n_tasks, struct sg_error *err)
{
    for (size_t task = 0; task < n_tasks; task++) {
        const char *label = tasks[task].label;
        enum sg_status status = open_for(&setup->policies, rows, label, n_tasks == 1, &setup->policy[task], err);
        if (status == SG_OK && !setup->policy[task])
            status = open_for(base, rows, label, n_tasks == 1, &setup->policy[task], err);
        if (status != SG_OK)
            return status;
        if (!setup->policy[task] && !setup->predictions)
            return sg_fail(err, SG_EINVALID, "configuration %s: no policy for \"%s\"; say --policy %s=FILE",
                           setup->name, label, label);
    }
    return SG_OK;
}

/* --- opening -------------------------------------------------------------------------------------------------- */

/* Does the mode ask a guard, and does it ask the reasoner? */
static bool has_guard(const struct sg_eval_setup *setup)
{
    return setup->mode || setup->rules.n || setup->screens.n || setup->small_model;
}

static bool is_score(const struct sg_eval_setup *setup)
{
    return setup->mode && strcmp(setup->mode, "score") == 0;
}

static bool has_reasoner(const struct sg_eval_setup *setup)
{
    return !is_score(setup) && !(setup->mode && strcmp(setup->mode, "screen-only") == 0);
}

static enum sg_guard_mode mode_of(const struct sg_eval_setup *setup)
{
    enum sg_guard_mode mode = SG_GUARD_CASCADE;
    if (is_score(setup))
        return SG_GUARD_SCREEN_ONLY;
    while (setup->mode && mode < SG_GUARD_SHADOW && strcmp(sg_guard_mode_name(mode), setup->mode) != 0)
        mode++;
    return mode;
}

static bool same_text(const char *a, const char *b)
{
    return a == b || (a && b && strcmp(a, b) == 0);
}

static bool same_reasoners(const struct sg_eval_setup *one, const struct sg_eval_setup *other)
{
    const struct sg_reasoner_options *a = &one->reasoner_options, *b = &other->reasoner_options;
    return same_text(one->small_model, other->small_model) && same_text(a->model_name, b->model_name) &&
           same_text(a->precision, b->precision) && a->threads == b->threads && a->context == b->context &&
           a->repack == b->repack && same_text(a->remote.url, b->remote.url) &&
           same_text(a->remote.model, b->remote.model) && a->remote.votes == b->remote.votes &&
           a->in_flight == b->in_flight && a->timeout_s == b->timeout_s;
}

/* Hash of all that an answer depends on besides the content. */
static enum sg_status make_key(struct sg_eval_setup *setup, size_t task, struct sg_error *err)
{
    struct sg_buffer text = {0};
    const struct sg_check_options *check = &setup->check;
    const struct sg_guard *guard = setup->guard[task];
    char model[65];
    sg_buffer_printf(&text, "safeguard eval 1 %s %s", sg_policy_sha256(setup->policy[task]),
                     check->effort ? check->effort : "-");
    for (size_t i = 0; i < setup->stage.n; i++) {
        enum sg_status known = setup->stage.models[i] ? sg_model_sha256(setup->stage.models[i], model, err) : SG_OK;
        if (known != SG_OK) {
            sg_buffer_free(&text);
            return known;
        }
        sg_buffer_printf(&text, " %s", setup->stage.models[i] ? model : "-");
    }
    sg_buffer_printf(&text, " %d %.17g %" PRIu64, check->reasoning_budget, check->temperature, check->seed);
    if (guard) {
        const char *files[] = {sg_guard_rules_sha256(guard), sg_guard_screen_sha256(guard),
                               sg_guard_certificate_sha256(guard), setup->category};
        sg_buffer_printf(&text, " %s", sg_guard_mode_name(mode_of(setup)));
        for (size_t i = 0; i < sizeof files / sizeof files[0]; i++)
            sg_buffer_printf(&text, " %s", files[i] ? files[i] : "-");
    }
    if (setup->stage.n)
        sg_reasoner_options_json(&setup->reasoner_options, &text);
    enum sg_status status = sg_buffer_status(&text, err);
    if (status == SG_OK)
        sg_sha256(text.data, text.len, setup->keys[task]);
    sg_buffer_free(&text);
    return status;
}

static enum sg_status open_reasoners(struct sg_eval_setup *setup, struct sg_eval_setup *before, struct sg_error *err)
{
    struct sg_guard_cli options = {.guard_mode = mode_of(setup), .small_model = setup->small_model};
    if (before && before->stage.n && same_reasoners(setup, before)) {
        setup->stage = before->stage;
        before->stage = (struct sg_guard_stage){0};
        return SG_OK;
    }
    if (before)
        sg_eval_setup_close(before); /* two large models at a time would not fit */
    return sg_guard_stage_open(&options, &setup->reasoner_options, &setup->stage, err);
}

/* No cache: each row costs what it would cost the first time. No budget: a figure must not depend on the clock. */
static enum sg_status open_guard(struct sg_eval_setup *setup, size_t task, const char *label,
                                 const struct sg_eval_rows *rows, bool only_task, struct sg_error *err)
{
    struct sg_guard_options options = {
        .mode = mode_of(setup),
        .rules_path = file_for(&setup->rules, rows, label, only_task),
        .screen_path = file_for(&setup->screens, rows, label, only_task),
        .certificate_path = file_for(&setup->certificates, rows, label, only_task),
        .category = setup->category,
        .n_reasoners = setup->stage.n,
    };
    for (size_t i = 0; i < setup->stage.n; i++) {
        options.reasoners[i] = setup->stage.reasoners[i];
        options.governors[i] = setup->stage.governors[i];
    }
    if (is_score(setup)) {
        options.certificate_path = NULL;
        if (!options.screen_path)
            return sg_fail(err, SG_EINVALID, "configuration %s: mode score needs a screen for \"%s\"", setup->name,
                           label);
    }
    return sg_guard_open(setup->policy[task], &options, NULL, &setup->guard[task], err);
}

enum sg_status sg_eval_setup_open(struct sg_eval_setup *setup, struct sg_eval_setup *before,
                                  const struct sg_eval_rows *rows, const struct sg_eval_task *tasks, size_t n_tasks,
                                  struct sg_error *err)
{
    enum sg_status status = SG_OK;
    for (size_t task = 0; before && task < n_tasks; task++) { /* they ask its reasoner */
        sg_guard_close(before->guard[task]);
        before->guard[task] = NULL;
    }
    if (has_reasoner(setup))
        status = open_reasoners(setup, before, err);
    for (size_t task = 0; task < n_tasks && status == SG_OK; task++) {
        if (has_guard(setup))
            status = open_guard(setup, task, tasks[task].label, rows, n_tasks == 1, err);
        if (status == SG_OK)
            status = make_key(setup, task, err);
    }
    return status;
}

struct sg_reasoner *sg_eval_setup_reasoner(const struct sg_eval_setup *setup)
{
    return setup->stage.n ? setup->stage.reasoners[setup->stage.n - 1] : NULL;
}

enum sg_status sg_eval_setup_judge(struct sg_eval_setup *setup, size_t task, const struct sg_content *content,
                                   struct sg_verdict *verdict, struct sg_error *err)
{
    return setup->guard[task] ? sg_guard_check(setup->guard[task], content, &setup->check, NULL, NULL, verdict, err)
                              : sg_reasoner_check(sg_eval_setup_reasoner(setup), setup->policy[task], content,
                                                  &setup->check, NULL, NULL, verdict, err);
}

static void settle_score(const struct sg_eval_setup *setup, struct sg_answer *answer)
{
    bool calibrated = !isnan(answer->screen_score);
    double threshold = !isnan(setup->threshold) ? setup->threshold : calibrated ? 0.5 : 0;
    answer->score = calibrated ? answer->screen_score : answer->margin;
    if (isnan(answer->score) || answer->failed)
        return;
    answer->decision = answer->score >= threshold ? SG_VIOLATES : SG_DOES_NOT_VIOLATE;
    answer->stage = "screen";
    answer->reason = NULL;
    answer->calls = 0;
}

enum sg_status sg_eval_setup_settle(const struct sg_eval_setup *setup, struct sg_answer *answers, size_t n,
                                    struct sg_error *err)
{
    char small[65] = "";
    if (setup->small_model && setup->stage.n == 2 && setup->stage.models[0]) {
        enum sg_status status = sg_model_sha256(setup->stage.models[0], small, err);
        if (status != SG_OK)
            return status;
    }
    for (size_t i = 0; i < n; i++) {
        const char *model = json_string_value(json_object_get(json_object_get(answers[i].line, "model"), "sha256"));
        if (is_score(setup))
            settle_score(setup, &answers[i]);
        if (*small && answers[i].calls == 1 && model && strcmp(model, small) == 0) {
            answers[i].stage = "small model"; /* the reasoner proper was not asked */
            answers[i].calls = 0;
        }
    }
    return SG_OK;
}

/* --- for the report --------------------------------------------------------------------------------------------- */

static void put_text(json_t *object, const char *name, const char *text)
{
    if (text)
        json_object_set_new(object, name, json_string(text));
}

static void put_list(json_t *object, const char *name, const struct sg_list *list)
{
    json_t *values = json_array();
    for (size_t i = 0; i < list->n; i++)
        json_array_append_new(values, json_string(list->values[i]));
    if (list->n == 1)
        json_object_set(object, name, json_array_get(values, 0));
    else if (list->n > 1)
        json_object_set(object, name, values);
    json_decref(values);
}

json_t *sg_eval_setup_json(const struct sg_eval_setup *setup)
{
    const struct sg_reasoner_options *reasoner = &setup->reasoner_options;
    json_t *object = json_object();
    put_text(object, "predictions", setup->predictions);
    put_text(object, "of", setup->of);
    if (setup->predictions)
        return object;
    put_text(object, "model", reasoner->model_name);
    put_text(object, "reasoner", reasoner->remote.url);
    put_text(object, "reasoner_model", reasoner->remote.model);
    put_text(object, "effort", setup->check.effort);
    put_text(object, "mode", has_guard(setup) ? setup->mode ? setup->mode : "cascade" : NULL);
    put_list(object, "rules", &setup->rules);
    put_list(object, "screen", &setup->screens);
    put_list(object, "certificate", &setup->certificates);
    put_text(object, "category", setup->category);
    put_text(object, "small_model", setup->small_model);
    if (setup->check.reasoning_budget)
        json_object_set_new(object, "reasoning_budget", json_integer(setup->check.reasoning_budget));
    if (setup->check.temperature > 0) {
        json_object_set_new(object, "temperature", json_real(setup->check.temperature));
        json_object_set_new(object, "seed", json_integer((json_int_t)setup->check.seed));
    }
    return object;
}

void sg_eval_setup_close(struct sg_eval_setup *setup)
{
    for (size_t task = 0; task < SG_EVAL_MAX_TASKS; task++) {
        sg_guard_close(setup->guard[task]);
        setup->guard[task] = NULL;
    }
    sg_guard_stage_close(&setup->stage);
}

void sg_eval_setup_deinit(struct sg_eval_setup *setup)
{
    sg_eval_setup_close(setup);
    for (size_t task = 0; task < SG_EVAL_MAX_TASKS; task++)
        sg_policy_close(setup->policy[task]);
    free(setup->text);
    *setup = (struct sg_eval_setup){0};
}
