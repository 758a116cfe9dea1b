/* The guard: one content's way through rules, cache, screen and reasoners, and what is said about it. */
#include "guard/guard_internal.h"
#include "reasoner/describe.h"

#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

const char *sg_guard_mode_name(enum sg_guard_mode mode)
{
    static const char *const names[] = {"cascade", "reasoner-only", "screen-only", "shadow"};
    return names[mode];
}

/* --- opening ------------------------------------------------------------------------------------------------- */

static enum sg_status check_options(const struct sg_guard_options *options, struct sg_error *err)
{
    if (options->n_reasoners > SG_GUARD_MAX_REASONERS)
        return sg_fail(err, SG_EINVALID, "guard: %zu reasoners, the maximum is %d", options->n_reasoners,
                       SG_GUARD_MAX_REASONERS);
    if (options->n_reasoners == 0 && (options->mode == SG_GUARD_REASONER_ONLY || options->mode == SG_GUARD_SHADOW))
        return sg_fail(err, SG_EINVALID, "guard: mode %s needs a reasoner, got none",
                       sg_guard_mode_name(options->mode));
    if (!(options->audit_share >= 0 && options->audit_share <= 1))
        return sg_fail(err, SG_EINVALID, "guard: audit share %g, expected 0 to 1", options->audit_share);
    if (!(options->severity >= 0) || isinf(options->severity))
        return sg_fail(err, SG_EINVALID, "guard: severity %g, expected 0 (for 1) or more", options->severity);
    if (!(options->max_wait_ms >= 0))
        return sg_fail(err, SG_EINVALID, "guard: longest wait %g ms, expected 0 (none) or more",
                       options->max_wait_ms);
    if (options->certificate_path && !options->screen_path)
        return sg_fail(err, SG_EINVALID, "%s: a certificate needs the screen that it is about, got none",
                       options->certificate_path);
    return SG_OK;
}

static enum sg_status open_rules(struct sg_guard *guard, struct sg_error *err)
{
    enum sg_status status = sg_rules_open(guard->options.rules_path, &guard->rules, err);
    if (status != SG_OK)
        return status;
    const char *policy = sg_rules_policy(guard->rules);
    if (policy && strcmp(policy, sg_policy_id(guard->policy)) != 0)
        return sg_fail(err, SG_EINVALID, "%s: the rules belong to policy %s, got policy %s",
                       guard->options.rules_path, policy, sg_policy_id(guard->policy));
    return SG_OK;
}

/* Without a wish: "any", or the only one that there is. */
static enum sg_status find_category(struct sg_guard *guard, struct sg_error *err)
{
    const char *wanted = guard->options.category ? guard->options.category : "any";
    size_t n = sg_screen_n_categories(guard->screen);
    struct sg_buffer names = {0};
    for (size_t i = 0; i < n; i++) {
        const char *name = sg_screen_category_name(guard->screen, i);
        sg_buffer_printf(&names, "%s%s", i ? ", " : "", name);
        if (strcmp(name, wanted) == 0 || (n == 1 && !guard->options.category)) {
            guard->category = i;
            sg_buffer_free(&names);
            return SG_OK;
        }
    }
    enum sg_status status = sg_fail(err, SG_EINVALID, "%s: the screen has no category %s, expected one of %s",
                                    guard->options.screen_path, wanted, sg_buffer_text(&names));
    sg_buffer_free(&names);
    return status;
}

static enum sg_status open_screen(struct sg_guard *guard, bool *escalate_all_out, struct sg_error *err)
{
    struct sg_error what;
    enum sg_status status = sg_screen_open(guard->options.screen_path, &guard->screen, &what);
    bool damaged = status == SG_EFORMAT || status == SG_ECHECKSUM || status == SG_EUNSUPPORTED;
    if (damaged && escalate_all_out) {
        *escalate_all_out = guard->screen_damaged = true;
        return SG_OK;
    }
    if (status != SG_OK) {
        if (err)
            *err = what;
        return status;
    }
    const char *trained = sg_screen_policy_sha256(guard->screen), *policy = sg_policy_sha256(guard->policy);
    if (strcmp(trained, policy) != 0)
        return sg_fail(err, SG_EINVALID, "%s: the screen was trained for policy version %.12s…, got version %.12s…",
                       guard->options.screen_path, trained, policy);
    return find_category(guard, err);
}

static double threshold_of(const struct sg_certificate_claim *claim)
{
    return claim->tried && claim->result.certified ? claim->result.threshold : NAN;
}

static enum sg_status open_certificate(struct sg_guard *guard, struct sg_error *err)
{
    struct sg_clearing_function function = {0};
    const char *path = guard->options.certificate_path;
    guard->certificate = calloc(1, sizeof *guard->certificate);
    if (!guard->certificate)
        return sg_fail(err, SG_ENOMEM, "%s: out of memory", path);
    enum sg_status status = sg_certificate_open(path, guard->certificate, err);
    if (status != SG_OK)
        return status;
    snprintf(function.policy_sha256, sizeof function.policy_sha256, "%s", sg_policy_sha256(guard->policy));
    snprintf(function.screen_sha256, sizeof function.screen_sha256, "%s", sg_screen_sha256(guard->screen));
    snprintf(function.rules_sha256, sizeof function.rules_sha256, "%s",
             guard->rules ? sg_rules_sha256(guard->rules) : "");
    snprintf(function.features_version, sizeof function.features_version, "%s", sg_screen_features_version());
    status = sg_certificate_matches(guard->certificate, &function, err);
    if (status != SG_OK)
        return sg_fail_in(err, status, "%s", path);
    const char *category = sg_screen_category_name(guard->screen, guard->category);
    guard->claims = sg_certificate_entry(guard->certificate, category);
    if (!guard->claims)
        return sg_fail(err, SG_EINVALID, "%s: the certificate says nothing about category %s", path, category);
    guard->clear_below = threshold_of(&guard->claims->miss);
    guard->flag_above = threshold_of(&guard->claims->flag);
    return SG_OK;
}

/* A governor before every reasoner that came without one. */
static enum sg_status open_governors(struct sg_guard *guard, struct sg_error *err)
{
    size_t n = guard->options.n_reasoners;
    for (size_t i = 0; i < n; i++) {
        guard->governors[i] = guard->options.governors[i];
        if (guard->governors[i])
            continue;
        bool last = i + 1 == n;
        struct sg_governor_options options = {
            .calls_per_second = last ? guard->options.calls_per_second : 0,
            .tokens_per_second = last ? guard->options.tokens_per_second : 0,
            .in_flight = sg_reasoner_in_flight(guard->options.reasoners[i]),
        };
        enum sg_status status = sg_governor_create(&options, &guard->own_governors[i], err);
        if (status != SG_OK)
            return status;
        guard->governors[i] = guard->own_governors[i];
    }
    return SG_OK;
}

static bool own_paths(struct sg_guard *guard)
{
    const char **const paths[] = {&guard->options.rules_path, &guard->options.screen_path,
                                  &guard->options.certificate_path, &guard->options.category};
    bool ok = true;
    for (size_t i = 0; i < 4; i++) {
        guard->strings[i] = *paths[i] ? strdup(*paths[i]) : NULL;
        ok = ok && (guard->strings[i] || !*paths[i]);
        *paths[i] = guard->strings[i];
    }
    return ok;
}

enum sg_status sg_guard_open(const struct sg_policy *policy, const struct sg_guard_options *options,
                             bool *escalate_all_out, struct sg_guard **guard_out, struct sg_error *err)
{
    *guard_out = NULL;
    if (escalate_all_out)
        *escalate_all_out = false;
    enum sg_status status = check_options(options, err);
    if (status != SG_OK)
        return status;
    struct sg_guard *guard = calloc(1, sizeof *guard);
    if (!guard || pthread_mutex_init(&guard->mutex, NULL) != 0) {
        free(guard);
        return sg_fail(err, SG_ENOMEM, "guard: out of memory");
    }
    guard->policy = policy;
    guard->options = *options;
    guard->clear_below = guard->flag_above = NAN;
    if (!(guard->options.severity > 0))
        guard->options.severity = 1;
    status = own_paths(guard) ? SG_OK : sg_fail(err, SG_ENOMEM, "guard: out of memory");
    if (status == SG_OK && options->rules_path)
        status = open_rules(guard, err);
    if (status == SG_OK && options->screen_path)
        status = open_screen(guard, escalate_all_out, err);
    if (status == SG_OK && options->certificate_path && guard->screen)
        status = open_certificate(guard, err);
    if (status == SG_OK)
        status = open_governors(guard, err);
    if (status == SG_OK && options->cache_bytes > 0)
        status = sg_cache_create(options->cache_bytes, &guard->cache, err);
    if (status == SG_OK)
        *guard_out = guard;
    else
        sg_guard_close(guard);
    return status;
}

void sg_guard_close(struct sg_guard *guard)
{
    if (!guard)
        return;
    sg_desks_destroy(guard);
    sg_cache_destroy(guard->cache);
    for (size_t i = 0; i < SG_GUARD_MAX_REASONERS; i++)
        sg_governor_destroy(guard->own_governors[i]);
    free(guard->certificate);
    sg_screen_close(guard->screen);
    sg_rules_close(guard->rules);
    for (size_t i = 0; i < 4; i++)
        free(guard->strings[i]);
    pthread_mutex_destroy(&guard->mutex);
    free(guard);
}

const char *sg_guard_rules_sha256(const struct sg_guard *guard)
{
    return guard->rules ? sg_rules_sha256(guard->rules) : NULL;
}

const char *sg_guard_screen_sha256(const struct sg_guard *guard)
{
    return guard->screen ? sg_screen_sha256(guard->screen) : NULL;
}

const char *sg_guard_certificate_sha256(const struct sg_guard *guard)
{
    return guard->claims ? guard->certificate->sha256 : NULL;
}

void sg_guard_counts(struct sg_guard *guard, struct sg_guard_counts *out)
{
    pthread_mutex_lock(&guard->mutex);
    *out = guard->counts;
    pthread_mutex_unlock(&guard->mutex);
}

static void count(struct sg_guard *guard, uint64_t *counter, uint64_t n)
{
    pthread_mutex_lock(&guard->mutex);
    *counter += n;
    pthread_mutex_unlock(&guard->mutex);
}

void sg_guard_cancel(struct sg_guard *guard)
{
    for (size_t i = 0; i < guard->options.n_reasoners; i++) {
        sg_governor_cancel(guard->governors[i]);
        sg_reasoner_cancel(guard->options.reasoners[i]);
    }
}

/* --- one check ----------------------------------------------------------------------------------------------- */

struct check {
    struct sg_guard *guard;
    const struct sg_content *content;
    const struct sg_check_options *options;
    sg_stream_fn stream;
    void *stream_context;
    double started, deadline; /* of sg_governor_now; deadline INFINITY for none */
    char content_sha256[SG_SHA256_HEX], key[SG_SHA256_HEX];
    struct sg_look look;
    bool drawn, audited;
    struct sg_buffer why;
};

/* Drawn by a hash of seed and content: nobody who does not know the seed can tell what is drawn, and the same content
 * is drawn always or never. */
static bool draw(const struct sg_guard *guard, const char *content_sha256)
{
    char text[128], hash[SG_SHA256_HEX];
    int len = snprintf(text, sizeof text, "audit %" PRIu64 " %s", guard->options.seed, content_sha256);
    sg_sha256(text, (size_t)len, hash);
    hash[13] = '\0'; /* 52 bits, which a double holds */
    return (double)strtoull(hash, NULL, 16) < guard->options.audit_share * 0x1p52;
}

/* The key of a verdict: everything that it is a function of. The reasoners do not change while a guard lives. */
static void make_key(struct check *check)
{
    const struct sg_guard *guard = check->guard;
    const struct sg_check_options *options = check->options;
    const char *effort = options->effort ? options->effort : sg_policy_effort(guard->policy);
    char date[11];
    const char *today = sg_check_date(guard->policy, date); /* NULL unless the policy tells the model the date */
    struct sg_buffer text = {0};
    sg_buffer_printf(&text, "date %s\n", today ? today : "-");
    sg_buffer_printf(&text, "policy %s\ncontent %s\nmode %s\nnormaliser %s\n", sg_policy_sha256(guard->policy),
                     check->content_sha256, sg_guard_mode_name(guard->options.mode), SG_NORMALISER_VERSION);
    sg_buffer_printf(&text, "rules %s\nscreen %s\ncertificate %s\ncategory %zu\n",
                     guard->rules ? sg_rules_sha256(guard->rules) : "-",
                     guard->screen ? sg_screen_sha256(guard->screen) : "-",
                     guard->claims ? guard->certificate->sha256 : "-", guard->category);
    sg_buffer_printf(&text, "effort %s\nbudget %d\ntemperature %a\ntop_p %a\nseed %" PRIu64 "\naudit %a %" PRIu64,
                     effort ? effort : "-", options->reasoning_budget, options->temperature, options->top_p,
                     options->seed, guard->options.audit_share, guard->options.seed);
    for (size_t i = 0; i < guard->options.n_reasoners; i++)
        sg_buffer_printf(&text, "\nreasoner %p", (void *)guard->options.reasoners[i]);
    if (text.failed)
        check->key[0] = '\0'; /* no memory: no cache for this one */
    else
        sg_sha256(text.data, text.len, check->key);
    sg_buffer_free(&text);
}

static void say(struct check *check, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void say(struct check *check, const char *format, ...)
{
    char text[512];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    sg_buffer_puts(&check->why, text);
}

static const char *rule_name(const struct check *check, enum sg_rule_action action)
{
    const struct sg_rule *rule = sg_rules_at(check->guard->rules, check->look.rules.first[action]);
    return rule->name ? rule->name : rule->pattern;
}

/* What was promised of a threshold: "at most 5 % of what violates is cleared, with confidence 95 %". */
static void say_claim(struct check *check, const struct sg_certificate_claim *claim, const char *promise)
{
    say(check, "at most %g %% of what %s, with confidence %g %%", 100 * claim->rate, promise,
        100 * claim->confidence);
}

/* Why the cheaper stages do not decide. */
static void say_escalation(struct check *check)
{
    const struct sg_guard *guard = check->guard;
    const struct sg_look *look = &check->look;
    if (look->rules.any[SG_RULE_ESCALATE])
        say(check, "rule \"%.60s\" asks for the reasoner", rule_name(check, SG_RULE_ESCALATE));
    else if (look->evasive)
        say(check, "the evasion gate: this is not how ordinary text is written");
    else if (guard->screen_damaged)
        say(check, "the screen's file is damaged, so nothing is cleared");
    else if (!guard->screen)
        say(check, "there is no screen");
    else if (!guard->claims)
        say(check, "there is no certificate, so the screen may clear nothing");
    else if (isnan(guard->clear_below))
        say(check, "the certificate clears nothing");
    else
        say(check, "margin %.3f is not below %.3f", look->score.margin, guard->clear_below);
}

/* What rules and screen would do. Sets why. */
static enum sg_cheap settle_cheaply(struct check *check)
{
    const struct sg_guard *guard = check->guard;
    const struct sg_look *look = &check->look;
    enum sg_cheap cheap = sg_look_settle(guard, look);
    switch (cheap) {
    case SG_CHEAP_RULE_FLAGS:
        say(check, "rule \"%.60s\" says that it violates", rule_name(check, SG_RULE_VIOLATES));
        break;
    case SG_CHEAP_RULE_CLEARS:
        say(check, "rule \"%.60s\" clears it", rule_name(check, SG_RULE_CLEAR));
        break;
    case SG_CHEAP_CLEARS:
        say(check, "margin %.3f is below %.3f: ", look->score.margin, guard->clear_below);
        say_claim(check, &guard->claims->miss, "violates is cleared");
        break;
    case SG_CHEAP_FLAGS:
        say(check, "margin %.3f is not below %.3f: ", look->score.margin, guard->flag_above);
        say_claim(check, &guard->claims->flag, "is flagged does not violate");
        break;
    case SG_CHEAP_ESCALATES:
        say_escalation(check);
    }
    return cheap;
}

/* The text of why, put in front of what stands there. */
static void say_before(struct check *check, const char *before)
{
    char *after = sg_buffer_take(&check->why);
    sg_buffer_puts(&check->why, before);
    if (after)
        sg_buffer_puts(&check->why, after);
    free(after);
}

/* --- reasoners ------------------------------------------------------------------------------------------------ */

static double probability_of(const struct sg_screen_score *score)
{
    return isfinite(score->probability) ? score->probability : 1 / (1 + exp(-score->margin));
}

/* Severity × score; what no screen has seen goes before all that one has. */
static double weight_of(const struct check *check)
{
    return check->guard->options.severity * (check->look.scored ? probability_of(&check->look.score) : 1);
}

static int64_t tokens_of(const struct sg_verdict *answer)
{
    if (answer->n_prompt_tokens < 0 || answer->n_output_tokens < 0)
        return -1;
    int64_t cached = answer->n_cached_tokens > 0 ? answer->n_cached_tokens : 0;
    return answer->n_prompt_tokens - cached + answer->n_output_tokens;
}

/* Ask reasoner i. *grant_out is SG_GRANT_GO when it was asked at all. */
static enum sg_status ask(struct check *check, size_t i, struct sg_verdict *answer, enum sg_grant *grant_out,
                          struct sg_error *err)
{
    struct sg_guard *guard = check->guard;
    double wait = guard->options.max_wait_ms > 0 ? sg_governor_now() + guard->options.max_wait_ms / 1000 : INFINITY;
    *grant_out = sg_governor_enter(guard->governors[i], weight_of(check), check->drawn, fmin(wait, check->deadline));
    if (*grant_out != SG_GRANT_GO)
        return SG_OK;
    struct sg_check_options options = *check->options;
    if (isfinite(check->deadline))
        options.deadline_ms = fmax(1, 1000 * (check->deadline - sg_governor_now()));
    enum sg_status status = sg_reasoner_check(guard->options.reasoners[i], guard->policy, check->content, &options,
                                              check->stream, check->stream_context, answer, err);
    int64_t tokens = tokens_of(answer);
    sg_governor_leave(guard->governors[i], tokens);
    count(guard, &guard->counts.reasoner_calls, 1);
    if (tokens > 0)
        count(guard, &guard->counts.reasoner_tokens, (uint64_t)tokens);
    return status;
}

static const struct sg_certificate_reasoner *claims_of(const struct sg_guard *guard, const struct sg_verdict *answer)
{
    for (size_t i = 0; guard->claims && answer->model_name && i < guard->claims->n_reasoners; i++) {
        const struct sg_certificate_reasoner *claim = &guard->claims->reasoners[i];
        if (strcmp(claim->name, answer->model_name) == 0 &&
            strcmp(claim->sha256, answer->model_sha256 ? answer->model_sha256 : "") == 0)
            return claim;
    }
    return NULL;
}

/* Does the certificate let a reasoner that is not the last decide by its own score? Its decision becomes the one of
 * the threshold then. */
static bool may_decide(struct check *check, struct sg_verdict *answer)
{
    const struct sg_certificate_reasoner *claims = claims_of(check->guard, answer);
    if (!claims || answer->decision == SG_UNDECIDED || isnan(answer->p_violation) ||
        check->look.rules.any[SG_RULE_ESCALATE])
        return false;
    double below = threshold_of(&claims->miss), above = threshold_of(&claims->flag), p = answer->p_violation;
    bool clears = !isnan(below) && p < below && !check->look.evasive, flags = !isnan(above) && p >= above;
    if (clears == flags)
        return false;
    if (clears && check->drawn) { /* a stage of the clearing function like the others */
        check->audited = true;
        count(check->guard, &check->guard->counts.audited, 1);
        sg_buffer_clear(&check->why);
        say(check, "reasoner %.60s would have cleared it and it was drawn for the audit; p_violation %.4f",
            answer->model_name, p);
        return false;
    }
    sg_buffer_clear(&check->why);
    say(check, "p_violation %.4f is %sbelow %.4f: ", p, clears ? "" : "not ", clears ? below : above);
    say_claim(check, clears ? &claims->miss : &claims->flag,
              clears ? "violates is cleared" : "is flagged does not violate");
    answer->decision = clears ? SG_DOES_NOT_VIOLATE : SG_VIOLATES;
    return true;
}

static void refuse(struct check *check, enum sg_grant grant, struct sg_verdict *answer)
{
    bool cancelled = grant == SG_GRANT_CANCELLED;
    answer->reason = strdup(cancelled ? "cancelled" : "escalated, waiting for the reasoner");
    answer->provisional = !cancelled;
    say(check, grant == SG_GRANT_LATE        ? "; the reasoner's budget leaves no call before the deadline"
               : grant == SG_GRANT_DISPLACED ? "; weightier content fills the queue for the reasoner"
                                             : "; cancelled while waiting for the reasoner");
    if (!cancelled)
        count(check->guard, &check->guard->counts.waiting, 1);
}

/* From cheap to dear until one may decide. */
static enum sg_status reason(struct check *check, struct sg_verdict *answer, struct sg_error *err)
{
    struct sg_guard *guard = check->guard;
    size_t n = guard->options.n_reasoners;
    enum sg_status status = SG_OK;
    bool only = guard->options.mode == SG_GUARD_REASONER_ONLY || guard->options.mode == SG_GUARD_SHADOW;
    for (size_t i = only || check->audited ? n - 1 : 0; i < n; i++) {
        bool last = i + 1 == n;
        enum sg_grant grant;
        struct sg_error what;
        if (last)
            count(guard, &guard->counts.escalated, 1);
        status = ask(check, i, answer, &grant, &what);
        if (grant == SG_GRANT_GO && status == SG_OK && !last && may_decide(check, answer)) {
            bool cleared = answer->decision == SG_DOES_NOT_VIOLATE;
            count(guard, cleared ? &guard->counts.cleared : &guard->counts.flagged, 1);
            return SG_OK;
        }
        if (last && grant != SG_GRANT_GO)
            refuse(check, grant, answer);
        if (last && status != SG_OK) {
            sg_verdict_deinit(answer);
            answer->reason = strdup(status == SG_EUNAVAILABLE ? "unavailable: no reasoner could be reached"
                                                              : "the reasoner failed");
            count(guard, &guard->counts.unavailable, status == SG_EUNAVAILABLE);
            if (err)
                *err = what;
        }
        if (!last) {
            if (status != SG_OK)
                say(check, "; reasoner %zu of %zu failed (%s)", i + 1, n, sg_status_name(status));
            sg_verdict_deinit(answer);
        }
    }
    return status;
}

/* --- the verdict ---------------------------------------------------------------------------------------------- */

static void put(char **field, const char *text)
{
    free(*field);
    *field = text ? strdup(text) : NULL;
}

/* What the guard knows, onto whatever was decided by whom. */
static enum sg_status finish(struct check *check, const char *stage, struct sg_verdict *verdict, struct sg_error *err)
{
    const struct sg_guard *guard = check->guard;
    put(&verdict->content_sha256, check->content_sha256);
    put(&verdict->policy_id, sg_policy_id(guard->policy));
    put(&verdict->policy_sha256, sg_policy_sha256(guard->policy));
    if (stage)
        put(&verdict->stage, stage);
    if (check->why.len > 0)
        put(&verdict->why, check->why.data);
    verdict->audited = check->audited;
    verdict->p_audited = guard->options.audit_share > 0 ? guard->options.audit_share : NAN;
    if (!verdict->p_source && isfinite(verdict->p_violation) && isfinite(verdict->label_mass))
        verdict->p_source = strdup("label tokens");
    verdict->total_ms = 1000 * (sg_governor_now() - check->started);
    enum sg_status status = sg_look_attach(guard, check->content, &check->look, verdict, err);
    if (status == SG_OK && (!verdict->content_sha256 || !verdict->policy_sha256 || check->why.failed))
        status = sg_fail(err, SG_ENOMEM, "guard: out of memory for a verdict");
    return status;
}

/* A stage before the reasoners decides. */
static void decide(struct check *check, enum sg_cheap cheap, struct sg_verdict *verdict)
{
    struct sg_guard *guard = check->guard;
    bool flags = cheap == SG_CHEAP_RULE_FLAGS || cheap == SG_CHEAP_FLAGS;
    bool by_rules = cheap == SG_CHEAP_RULE_FLAGS || cheap == SG_CHEAP_RULE_CLEARS;
    verdict->decision = flags ? SG_VIOLATES : SG_DOES_NOT_VIOLATE;
    count(guard, by_rules ? &guard->counts.by_rules : flags ? &guard->counts.flagged : &guard->counts.cleared, 1);
}

/* Escalated, and there is nobody to ask. */
static void leave_open(struct check *check, struct sg_verdict *verdict)
{
    bool screen_only = check->guard->options.mode == SG_GUARD_SCREEN_ONLY;
    count(check->guard, &check->guard->counts.escalated, 1);
    verdict->reason = strdup(screen_only ? "escalated" : "escalated: there is no reasoner");
    verdict->provisional = true;
}

static void show_screen_probability(const struct check *check, struct sg_verdict *verdict)
{
    if (check->look.scored && isfinite(check->look.score.probability) && isnan(verdict->p_violation)) {
        verdict->p_violation = check->look.score.probability;
        verdict->p_source = strdup("screen");
    }
}

static bool answered_before(struct check *check, struct sg_verdict *verdict)
{
    struct sg_guard *guard = check->guard;
    struct sg_verdict copy;
    if (!guard->cache)
        return false;
    make_key(check);
    if (!check->key[0] || !sg_cache_get(guard->cache, check->key, &copy))
        return false;
    sg_verdict_deinit(verdict);
    *verdict = copy;
    put(&verdict->id, NULL);
    put(&verdict->stage, "cache");
    verdict->n_prompt_tokens = verdict->n_cached_tokens = verdict->n_output_tokens = -1;
    verdict->prefill_ms = verdict->decode_ms = NAN;
    verdict->total_ms = 1000 * (sg_governor_now() - check->started);
    struct sg_buffer why = {0};
    sg_buffer_printf(&why, "the reasoner has decided the same content before%s%s", verdict->why ? ": " : "",
                     verdict->why ? verdict->why : "");
    put(&verdict->why, why.data);
    sg_buffer_free(&why);
    count(guard, &guard->counts.by_cache, 1);
    return true;
}

/* The cheaper stages alone have spoken, and what they say does not count: the reasoner is asked all the same. */
static void say_overruled(struct check *check, enum sg_cheap cheap)
{
    const char *mode = check->guard->options.mode == SG_GUARD_SHADOW ? "shadow: " : "";
    char text[160];
    const char *what = cheap == SG_CHEAP_RULE_FLAGS    ? "the rules would have flagged it"
                       : cheap == SG_CHEAP_RULE_CLEARS ? "the rules would have cleared it"
                       : cheap == SG_CHEAP_CLEARS      ? "the screen would have cleared it"
                       : cheap == SG_CHEAP_FLAGS       ? "the screen would have flagged it"
                                                       : "it would have been escalated";
    snprintf(text, sizeof text, "%s%s%s; ", mode, what, check->audited ? " and it was drawn for the audit" : "");
    say_before(check, text);
}

/* The way of one content. Sets verdict whatever happens. */
static enum sg_status pass(struct check *check, struct sg_desk *desk, struct sg_verdict *verdict,
                           struct sg_error *err)
{
    struct sg_guard *guard = check->guard;
    enum sg_guard_mode mode = guard->options.mode;
    bool looks = mode != SG_GUARD_REASONER_ONLY,
         cheap_decides = mode == SG_GUARD_CASCADE || mode == SG_GUARD_SCREEN_ONLY;
    enum sg_status status = sg_look_rules(guard, check->content, looks, desk, &check->look, err);
    if (status != SG_OK)
        return status;
    bool flagged = cheap_decides && sg_look_settle(guard, &check->look) == SG_CHEAP_RULE_FLAGS;
    if (!flagged && answered_before(check, verdict))
        return SG_OK;
    if (looks && !flagged) /* also where a rule clears: the screen's gate counts against that */
        status = sg_look_screen(guard, check->content, desk, &check->look, err);
    if (status != SG_OK)
        return status;
    enum sg_cheap cheap = looks ? settle_cheaply(check) : SG_CHEAP_ESCALATES;
    bool clears = cheap == SG_CHEAP_CLEARS || cheap == SG_CHEAP_RULE_CLEARS;
    check->drawn = guard->options.audit_share > 0 && draw(guard, check->content_sha256);
    check->audited = mode == SG_GUARD_CASCADE && clears && check->drawn && guard->options.n_reasoners > 0;
    if (cheap_decides && cheap != SG_CHEAP_ESCALATES && !check->audited) {
        bool by_rules = cheap == SG_CHEAP_RULE_FLAGS || cheap == SG_CHEAP_RULE_CLEARS;
        decide(check, cheap, verdict);
        if (!by_rules)
            show_screen_probability(check, verdict);
        return finish(check, by_rules ? "rules" : "screen", verdict, err);
    }
    if (check->audited)
        count(guard, &guard->counts.audited, 1);
    if (check->audited || mode == SG_GUARD_SHADOW)
        say_overruled(check, cheap);
    if (mode == SG_GUARD_SCREEN_ONLY || guard->options.n_reasoners == 0) {
        leave_open(check, verdict);
    } else {
        status = reason(check, verdict, err);
        bool first_reasoner_alone = mode == SG_GUARD_REASONER_ONLY || (!guard->rules && !guard->options.screen_path);
        if (first_reasoner_alone && !verdict->provisional)
            sg_buffer_clear(&check->why);
    }
    if (verdict->provisional)
        show_screen_probability(check, verdict);
    struct sg_error lost; /* the reasoner's error is worth more than that of its report */
    enum sg_status finished = finish(check, NULL, verdict, status == SG_OK ? err : &lost);
    if (status == SG_OK && finished == SG_OK && guard->cache && check->key[0])
        sg_cache_put(guard->cache, check->key, verdict);
    return status == SG_OK ? finished : status;
}

enum sg_status sg_guard_check(struct sg_guard *guard, const struct sg_content *content,
                              const struct sg_check_options *options, sg_stream_fn stream, void *stream_context,
                              struct sg_verdict *verdict, struct sg_error *err)
{
    struct check check = {.guard = guard,
                          .content = content,
                          .options = options,
                          .stream = stream,
                          .stream_context = stream_context,
                          .started = sg_governor_now(),
                          .deadline = INFINITY};
    if (options->deadline_ms > 0)
        check.deadline = check.started + options->deadline_ms / 1000;
    size_t len;
    const char *text = sg_content_text(content, &len);
    sg_sha256(text, len, check.content_sha256);
    count(guard, &guard->counts.checks, 1);
    struct sg_desk *desk;
    enum sg_status status = sg_desk_take(guard, &desk, err);
    if (status == SG_OK)
        status = pass(&check, desk, verdict, err);
    sg_desk_give_back(guard, desk);
    sg_buffer_free(&check.why);
    return status;
}

/* --- the clearing function --------------------------------------------------------------------------------- */

enum sg_status sg_guard_clearing(struct sg_guard *guard, const struct sg_content *content,
                                 enum sg_clearing *clearing_out, double *score_out, struct sg_error *err)
{
    struct sg_desk *desk;
    struct sg_look look = {0};
    *clearing_out = SG_CLEARING_NEVER;
    *score_out = INFINITY;
    enum sg_status status = sg_desk_take(guard, &desk, err);
    if (status == SG_OK)
        status = sg_look_rules(guard, content, true, desk, &look, err);
    if (status == SG_OK)
        status = sg_look_screen(guard, content, desk, &look, err);
    sg_desk_give_back(guard, desk);
    if (status != SG_OK)
        return status;
    enum sg_cheap cheap = sg_look_settle(guard, &look);
    if (look.scored)
        *score_out = look.score.margin;
    if (cheap == SG_CHEAP_RULE_FLAGS)
        *clearing_out = SG_CLEARING_FLAGGED;
    else if (cheap == SG_CHEAP_RULE_CLEARS)
        *clearing_out = SG_CLEARING_ALWAYS;
    else if (look.rules.any[SG_RULE_ESCALATE])
        *score_out = -INFINITY; /* no score flags it either */
    else if (look.scored && !look.evasive)
        *clearing_out = SG_CLEARING_BY_SCORE;
    return SG_OK;
}
