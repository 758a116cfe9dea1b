/* What the stages before the reasoners see: normaliser, rules and screen on one content, and what follows from it. */
#include "guard/guard_internal.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

struct sg_desk {
    struct sg_desk *next;
    struct sg_normal normal;
    struct sg_rules_scratch *rules;
    struct sg_screen_scratch *screen;
    struct sg_rules_result around; /* of a whole conversation, beside that of the message to be judged */
};

static void destroy_desk(struct sg_desk *desk)
{
    sg_normal_deinit(&desk->normal);
    sg_rules_scratch_destroy(desk->rules);
    sg_screen_scratch_destroy(desk->screen);
    free(desk);
}

enum sg_status sg_desk_take(struct sg_guard *guard, struct sg_desk **desk_out, struct sg_error *err)
{
    pthread_mutex_lock(&guard->mutex);
    struct sg_desk *desk = guard->free_desks;
    if (desk)
        guard->free_desks = desk->next;
    pthread_mutex_unlock(&guard->mutex);
    *desk_out = desk;
    if (desk)
        return SG_OK;
    desk = calloc(1, sizeof *desk);
    enum sg_status status = desk ? SG_OK : sg_fail(err, SG_ENOMEM, "guard: out of memory");
    if (status == SG_OK && guard->rules)
        status = sg_rules_scratch_create(guard->rules, &desk->rules, err);
    if (status == SG_OK && guard->screen)
        status = sg_screen_scratch_create(&desk->screen, err);
    if (status == SG_OK)
        *desk_out = desk;
    else if (desk)
        destroy_desk(desk);
    return status;
}

void sg_desk_give_back(struct sg_guard *guard, struct sg_desk *desk)
{
    if (!desk)
        return;
    pthread_mutex_lock(&guard->mutex);
    desk->next = guard->free_desks;
    guard->free_desks = desk;
    pthread_mutex_unlock(&guard->mutex);
}

void sg_desks_destroy(struct sg_guard *guard)
{
    while (guard->free_desks) {
        struct sg_desk *desk = guard->free_desks;
        guard->free_desks = desk->next;
        destroy_desk(desk);
    }
}

/* --- rules ---------------------------------------------------------------------------------------------------- */

/* A conversation: `result` is of the message to be judged, `around` of all messages. What stands in the context may
 * forbid that something is cleared, and decides nothing else. */
static void add_context(const struct sg_rules *rules, const struct sg_rules_result *around, size_t first,
                        size_t judged, struct sg_rules_result *result)
{
    for (size_t i = 0; i < result->n_found; i++)
        result->found[i].first_byte += first;
    for (size_t i = 0; i < around->n_found; i++) {
        const struct sg_rule_found *found = &around->found[i];
        bool outside = found->first_byte + found->n_bytes <= first || found->first_byte >= first + judged;
        if (outside && result->n_found < SG_RULES_MAX_MATCHES &&
            sg_rules_at(rules, found->rule)->action != SG_RULE_CLEAR)
            result->found[result->n_found++] = *found;
    }
    result->more = result->more || around->more;
    result->any[SG_RULE_CLEAR] = false;
    enum sg_rule_action action = around->any[SG_RULE_ESCALATE] ? SG_RULE_ESCALATE : SG_RULE_VIOLATES;
    if (!result->any[SG_RULE_ESCALATE] && around->any[action]) {
        result->any[SG_RULE_ESCALATE] = true;
        result->first[SG_RULE_ESCALATE] = around->first[action];
    }
}

enum sg_status sg_look_rules(struct sg_guard *guard, const struct sg_content *content, bool match,
                             struct sg_desk *desk, struct sg_look *look, struct sg_error *err)
{
    size_t len, first, judged;
    const char *plain = sg_content_plain(content, &len, &first, &judged);
    struct sg_slice whole = {plain, len}, part = {plain + first, judged};
    bool context = judged < len;
    bool rules = guard->rules && match;
    enum sg_status status = SG_OK;
    if (rules && context) {
        status = sg_normalise(part, true, &desk->normal, err);
        if (status == SG_OK)
            status = sg_rules_match(guard->rules, part, &desk->normal, desk->rules, &look->rules, err);
    }
    if (status == SG_OK)
        status = sg_normalise(whole, rules, &desk->normal, err);
    if (status == SG_OK && rules)
        status = sg_rules_match(guard->rules, whole, &desk->normal, desk->rules,
                                context ? &desk->around : &look->rules, err);
    if (status == SG_OK && rules && context)
        add_context(guard->rules, &desk->around, first, judged, &look->rules);
    look->signals = desk->normal.signals;
    look->evasive = desk->normal.evasive;
    return status;
}

/* --- screen --------------------------------------------------------------------------------------------------- */

enum sg_status sg_look_screen(struct sg_guard *guard, const struct sg_content *content, struct sg_desk *desk,
                              struct sg_look *look, struct sg_error *err)
{
    size_t len, first, judged;
    const char *plain = sg_content_plain(content, &len, &first, &judged);
    if (!guard->screen)
        return SG_OK;
    enum sg_status status =
        sg_screen_score(guard->screen, guard->category, plain, len, desk->screen, &look->score, err);
    size_t wanted =
        guard->options.n_features < SG_LOOK_MAX_FEATURES ? guard->options.n_features : SG_LOOK_MAX_FEATURES;
    if (status == SG_OK && wanted > 0)
        status = sg_screen_explain(guard->screen, guard->category, plain, len, desk->screen, look->features, wanted,
                                   &look->n_features, err);
    if (status != SG_OK)
        return status;
    look->scored = true;
    look->signals |= look->score.signals;
    look->evasive = look->evasive || look->score.evasive;
    return SG_OK;
}

enum sg_cheap sg_look_settle(const struct sg_guard *guard, const struct sg_look *look)
{
    if (look->rules.any[SG_RULE_VIOLATES])
        return SG_CHEAP_RULE_FLAGS;
    if (look->rules.any[SG_RULE_ESCALATE])
        return SG_CHEAP_ESCALATES;
    if (look->rules.any[SG_RULE_CLEAR] && !look->evasive)
        return SG_CHEAP_RULE_CLEARS;
    if (!look->scored)
        return SG_CHEAP_ESCALATES;
    /* NaN thresholds and margins compare false: neither clears nor flags. */
    bool clears = look->score.margin < guard->clear_below && !look->evasive;
    bool flags = look->score.margin >= guard->flag_above;
    return clears == flags ? SG_CHEAP_ESCALATES : clears ? SG_CHEAP_CLEARS : SG_CHEAP_FLAGS;
}

/* --- into the verdict ----------------------------------------------------------------------------------------- */

static bool attach_signals(const struct sg_look *look, struct sg_verdict *verdict)
{
    static const struct {
        unsigned bit;
        const char *name;
    } signals[] = {
#define X(symbol, bit, name) {symbol, name},
        SG_SIGNAL_LIST(X)
#undef X
    };
    const size_t n = sizeof signals / sizeof *signals;
    /* Behind those that a reasoner has already put there. */
    char **names = realloc(verdict->signals, (verdict->n_signals + n) * sizeof *names);
    bool ok = names;
    if (ok)
        verdict->signals = names;
    for (size_t i = 0; i < n && ok; i++) {
        bool there = !(look->signals & signals[i].bit);
        for (size_t j = 0; j < verdict->n_signals && !there; j++)
            there = strcmp(names[j], signals[i].name) == 0;
        if (there)
            continue;
        names[verdict->n_signals] = strdup(signals[i].name);
        ok = names[verdict->n_signals] != NULL;
        verdict->n_signals += ok;
    }
    return ok;
}

static bool attach_matches(const struct sg_guard *guard, const struct sg_look *look, struct sg_verdict *verdict)
{
    verdict->rule_matches = calloc(look->rules.n_found + 1, sizeof *verdict->rule_matches);
    bool ok = verdict->rule_matches;
    for (size_t i = 0; i < look->rules.n_found && ok; i++) {
        const struct sg_rule_found *found = &look->rules.found[i];
        const struct sg_rule *rule = sg_rules_at(guard->rules, found->rule);
        struct sg_rule_match *match = &verdict->rule_matches[verdict->n_rule_matches++];
        *match = (struct sg_rule_match){
            strdup(rule->name ? rule->name : rule->pattern), strdup(sg_rule_action_name(rule->action)),
            strdup(found->reading == SG_READING_RAW ? "raw" : sg_reading_name((enum sg_reading)found->reading)),
            found->first_byte, found->n_bytes};
        ok = match->rule && match->action && match->reading;
    }
    return ok;
}

static bool attach_screen(const struct sg_guard *guard, const struct sg_look *look, struct sg_screen_trace *trace)
{
    trace->scored = true;
    trace->score = look->score.probability;
    trace->margin = look->score.margin;
    trace->clear_below = guard->clear_below;
    trace->flag_above = guard->flag_above;
    trace->first_byte = look->score.first_byte;
    trace->n_bytes = look->score.n_bytes;
    trace->screen_sha256 = strdup(sg_screen_sha256(guard->screen));
    bool ok = trace->screen_sha256;
    if (guard->claims) {
        trace->certificate_sha256 = strdup(guard->certificate->sha256);
        ok = ok && trace->certificate_sha256;
    }
    trace->features = look->n_features ? calloc(look->n_features, sizeof *trace->features) : NULL;
    ok = ok && (trace->features || look->n_features == 0);
    for (size_t i = 0; i < look->n_features && ok; i++) {
        char text[80];
        snprintf(text, sizeof text, "%s %+.2f", look->features[i].text, look->features[i].weight);
        trace->features[trace->n_features] = strdup(text);
        ok = trace->features[trace->n_features] != NULL;
        trace->n_features += ok;
    }
    return ok;
}

static bool attach_not_judged(const struct sg_content *content, struct sg_verdict *verdict)
{
    size_t n;
    const char *const *parts = sg_content_not_judged(content, &n);
    if (verdict->n_not_judged > 0 || n == 0)
        return true;
    verdict->not_judged = calloc(n, sizeof *verdict->not_judged);
    bool ok = verdict->not_judged;
    for (size_t i = 0; i < n && ok; i++) {
        verdict->not_judged[verdict->n_not_judged] = strdup(parts[i]);
        ok = verdict->not_judged[verdict->n_not_judged] != NULL;
        verdict->n_not_judged += ok;
    }
    return ok;
}

enum sg_status sg_look_attach(const struct sg_guard *guard, const struct sg_content *content,
                              const struct sg_look *look, struct sg_verdict *verdict, struct sg_error *err)
{
    bool ok = attach_signals(look, verdict) && attach_not_judged(content, verdict);
    if (ok && look->rules.n_found > 0)
        ok = attach_matches(guard, look, verdict);
    if (ok && look->scored)
        ok = attach_screen(guard, look, &verdict->screen);
    return ok ? SG_OK : sg_fail(err, SG_ENOMEM, "guard: out of memory for a verdict");
}
