/* The verdict as a value: start, end, and as JSON. */
#include "safeguard/verdict.h"

#include "base/utf8.h"

#include <jansson.h>
#include <math.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

const char *sg_decision_name(enum sg_decision decision)
{
    return decision == SG_VIOLATES ? "violates" : decision == SG_DOES_NOT_VIOLATE ? "does_not_violate" : "undecided";
}

void sg_verdict_init(struct sg_verdict *verdict)
{
    memset(verdict, 0, sizeof *verdict);
    verdict->p_violation = verdict->label_mass = verdict->temperature = verdict->p_audited = NAN;
    verdict->n_prompt_tokens = verdict->n_cached_tokens = verdict->n_output_tokens = -1;
    verdict->prefill_ms = verdict->decode_ms = verdict->total_ms = NAN;
    verdict->screen.score = verdict->screen.margin = NAN;
    verdict->screen.clear_below = verdict->screen.flag_above = NAN;
}

/* --- what a verdict owns: one table for the end of a verdict and for its copies ------------------------------ */

#define AT(field) offsetof(struct sg_verdict, field)

static const size_t texts[] = {AT(id),
                               AT(content_sha256),
                               AT(reason),
                               AT(category),
                               AT(stated_confidence),
                               AT(rationale),
                               AT(reasoning),
                               AT(output),
                               AT(why),
                               AT(p_source),
                               AT(policy_id),
                               AT(policy_sha256),
                               AT(adapter),
                               AT(precision),
                               AT(cpu),
                               AT(effort),
                               AT(stage),
                               AT(model_name),
                               AT(model_sha256),
                               AT(screen.screen_sha256),
                               AT(screen.certificate_sha256)};

static const struct {
    size_t items, n;
} lists[] = {{AT(labels), AT(n_labels)},
             {AT(rule_ids), AT(n_rule_ids)},
             {AT(unknown_rule_ids), AT(n_unknown_rule_ids)},
             {AT(not_judged), AT(n_not_judged)},
             {AT(signals), AT(n_signals)},
             {AT(screen.features), AT(screen.n_features)}};

#define N(table) (sizeof(table) / sizeof *(table))

static void *at(const struct sg_verdict *verdict, size_t offset)
{
    return (char *)verdict + offset;
}

void sg_verdict_deinit(struct sg_verdict *verdict)
{
    for (size_t i = 0; i < N(texts); i++)
        free(*(char **)at(verdict, texts[i]));
    for (size_t i = 0; i < N(lists); i++) {
        char **items = *(char ***)at(verdict, lists[i].items);
        for (size_t j = 0; j < *(size_t *)at(verdict, lists[i].n); j++)
            free(items[j]);
        free(items);
    }
    for (size_t i = 0; i < verdict->n_flags; i++)
        free(verdict->flags[i].name);
    free(verdict->flags);
    for (size_t i = 0; i < verdict->n_windows; i++)
        free(verdict->windows[i].reason);
    free(verdict->windows);
    for (size_t i = 0; i < verdict->n_rule_matches; i++) {
        free(verdict->rule_matches[i].rule);
        free(verdict->rule_matches[i].action);
        free(verdict->rule_matches[i].reading);
    }
    free(verdict->rule_matches);
    sg_verdict_init(verdict);
}

struct copier {
    size_t bytes;
    bool failed;
};

static char *copy_text(struct copier *copier, const char *text)
{
    char *copy = text ? strdup(text) : NULL;
    copier->bytes += text ? strlen(text) + 1 : 0;
    copier->failed = copier->failed || (text && !copy);
    return copy;
}

/* Room for n items, zeroed; sets *n_out to n, or to 0 when memory is short. */
static void *copy_room(struct copier *copier, size_t n, size_t size, size_t *n_out)
{
    void *room = n ? calloc(n, size) : NULL;
    copier->bytes += n * size;
    copier->failed = copier->failed || (n && !room);
    *n_out = room ? n : 0;
    return room;
}

static void copy_structs(struct copier *copier, const struct sg_verdict *from, struct sg_verdict *to)
{
    to->flags = copy_room(copier, from->n_flags, sizeof *to->flags, &to->n_flags);
    for (size_t i = 0; i < to->n_flags; i++) {
        to->flags[i] = from->flags[i];
        to->flags[i].name = copy_text(copier, from->flags[i].name);
    }
    to->windows = copy_room(copier, from->n_windows, sizeof *to->windows, &to->n_windows);
    for (size_t i = 0; i < to->n_windows; i++) {
        to->windows[i] = from->windows[i];
        to->windows[i].reason = copy_text(copier, from->windows[i].reason);
    }
    to->rule_matches = copy_room(copier, from->n_rule_matches, sizeof *to->rule_matches, &to->n_rule_matches);
    for (size_t i = 0; i < to->n_rule_matches; i++) {
        const struct sg_rule_match *match = &from->rule_matches[i];
        to->rule_matches[i] =
            (struct sg_rule_match){copy_text(copier, match->rule), copy_text(copier, match->action),
                                   copy_text(copier, match->reading), match->first_byte, match->n_bytes};
    }
}

enum sg_status sg_verdict_copy(const struct sg_verdict *from, struct sg_verdict *to_out, size_t *bytes_out,
                               struct sg_error *err)
{
    struct copier copier = {.bytes = sizeof *to_out};
    *to_out = *from; /* numbers; every pointer is replaced below */
    for (size_t i = 0; i < N(texts); i++)
        *(char **)at(to_out, texts[i]) = copy_text(&copier, *(char **)at(from, texts[i]));
    for (size_t i = 0; i < N(lists); i++) {
        size_t *n = at(to_out, lists[i].n);
        char *const *items = *(char ***)at(from, lists[i].items);
        char **copies = copy_room(&copier, *n, sizeof *copies, n);
        for (size_t j = 0; j < *n; j++)
            copies[j] = copy_text(&copier, items[j]);
        *(char ***)at(to_out, lists[i].items) = copies;
    }
    copy_structs(&copier, from, to_out);
    if (bytes_out)
        *bytes_out = copier.bytes;
    if (!copier.failed)
        return SG_OK;
    sg_verdict_deinit(to_out);
    return sg_fail(err, SG_ENOMEM, "verdict: no memory for a copy of %zu bytes", copier.bytes);
}

/* --- JSON: builders return new references; a NULL anywhere makes the object incomplete, seen at the end ------- */

static json_t *text_json(const char *text)
{
    json_t *json = text ? json_string(text) : json_null();
    if (json)
        return json;
    /* Not UTF-8 (an id as the caller gave it): a verdict is worth more than its spelling. */
    struct sg_buffer repaired = {0};
    sg_utf8_repair(sg_slice_of(text), &repaired);
    json = repaired.failed ? NULL : json_string(sg_buffer_text(&repaired));
    sg_buffer_free(&repaired);
    return json;
}

static json_t *real_json(double value)
{
    return isfinite(value) ? json_real(value) : json_null();
}

static json_t *count_json(int64_t value)
{
    return value >= 0 ? json_integer(value) : json_null();
}

static json_t *decision_json(enum sg_decision decision)
{
    return decision == SG_UNDECIDED ? json_null() : json_boolean(decision == SG_VIOLATES);
}

static json_t *list_json(char *const *items, size_t n, bool *ok)
{
    json_t *list = json_array();
    for (size_t i = 0; i < n; i++)
        *ok = json_array_append_new(list, text_json(items[i])) == 0 && *ok;
    return list;
}

static json_t *flags_json(const struct sg_verdict *verdict, bool *ok)
{
    json_t *object = json_object();
    for (size_t i = 0; i < verdict->n_flags; i++) {
        const struct sg_flag *flag = &verdict->flags[i];
        *ok =
            json_object_set_new(object, flag->name, flag->value < 0 ? json_null() : json_integer(flag->value)) == 0 &&
            *ok;
    }
    return object;
}

static json_t *windows_json(const struct sg_verdict *verdict, bool *ok)
{
    json_t *list = json_array();
    for (size_t i = 0; i < verdict->n_windows; i++) {
        const struct sg_window *window = &verdict->windows[i];
        json_t *entry = json_pack("{s:I, s:I, s:o, s:s, s:o, s:o}", "first_byte", (json_int_t)window->first_byte,
                                  "bytes", (json_int_t)window->n_bytes, "violation", decision_json(window->decision),
                                  "decision", sg_decision_name(window->decision), "p_violation",
                                  real_json(window->p_violation), "reason", text_json(window->reason));
        *ok = json_array_append_new(list, entry) == 0 && *ok;
    }
    return list;
}

static json_t *rule_matches_json(const struct sg_verdict *verdict, bool *ok)
{
    json_t *list = json_array();
    for (size_t i = 0; i < verdict->n_rule_matches; i++) {
        const struct sg_rule_match *match = &verdict->rule_matches[i];
        json_t *entry = json_pack("{s:o, s:o, s:o, s:I, s:I}", "rule", text_json(match->rule), "action",
                                  text_json(match->action), "reading", text_json(match->reading), "first_byte",
                                  (json_int_t)match->first_byte, "bytes", (json_int_t)match->n_bytes);
        *ok = json_array_append_new(list, entry) == 0 && *ok;
    }
    return list;
}

static json_t *screen_json(const struct sg_screen_trace *screen, bool *ok)
{
    if (!screen->scored)
        return json_null();
    return json_pack("{s:o, s:o, s:o, s:o, s:I, s:I, s:o, s:o, s:o}", "score", real_json(screen->score), "margin",
                     real_json(screen->margin), "clear_below", real_json(screen->clear_below), "flag_above",
                     real_json(screen->flag_above), "first_byte", (json_int_t)screen->first_byte, "bytes",
                     (json_int_t)screen->n_bytes, "sha256", text_json(screen->screen_sha256), "certificate_sha256",
                     text_json(screen->certificate_sha256), "features",
                     list_json(screen->features, screen->n_features, ok));
}

static json_t *verdict_json(const struct sg_verdict *verdict, bool *ok)
{
    json_t *object = json_object();
    const struct {
        const char *name;
        json_t *value;
    } fields[] = {
        {"schema", json_integer(SG_VERDICT_SCHEMA)},
        {"id", text_json(verdict->id)},
        {"content_sha256", text_json(verdict->content_sha256)},
        {"violation", decision_json(verdict->decision)},
        {"decision", json_string(sg_decision_name(verdict->decision))},
        {"needs_review", json_boolean(verdict->needs_review)},
        {"reason", text_json(verdict->reason)},
        {"p_violation", real_json(verdict->p_violation)},
        {"p_source", text_json(verdict->p_source)},
        {"label_mass", real_json(verdict->label_mass)},
        {"labels", list_json(verdict->labels, verdict->n_labels, ok)},
        {"flags", flags_json(verdict, ok)},
        {"category", text_json(verdict->category)},
        {"rule_ids", list_json(verdict->rule_ids, verdict->n_rule_ids, ok)},
        {"unknown_rule_ids", list_json(verdict->unknown_rule_ids, verdict->n_unknown_rule_ids, ok)},
        {"stated_confidence", text_json(verdict->stated_confidence)},
        {"rationale", text_json(verdict->rationale)},
        {"reasoning", text_json(verdict->reasoning)},
        {"output", text_json(verdict->output)},
        {"forced", json_boolean(verdict->forced)},
        {"policy",
         json_pack("{s:o, s:o}", "id", text_json(verdict->policy_id), "sha256", text_json(verdict->policy_sha256))},
        {"model", json_pack("{s:o, s:o, s:o}", "name", text_json(verdict->model_name), "sha256",
                            text_json(verdict->model_sha256), "adapter", text_json(verdict->adapter))},
        {"precision", text_json(verdict->precision)},
        {"cpu", text_json(verdict->cpu)},
        {"effort", text_json(verdict->effort)},
        /* A JSON integer of jansson is signed: seeds beyond 2^63 would turn negative, so they are written as text. */
        {"seed", verdict->seed <= INT64_MAX ? json_integer((json_int_t)verdict->seed)
                                            : json_sprintf("%llu", (unsigned long long)verdict->seed)},
        {"temperature", real_json(verdict->temperature)},
        {"stage", text_json(verdict->stage)},
        {"why", text_json(verdict->why)},
        {"provisional", json_boolean(verdict->provisional)},
        {"audited", json_boolean(verdict->audited)},
        {"p_audited", real_json(verdict->p_audited)},
        {"signals", list_json(verdict->signals, verdict->n_signals, ok)},
        {"rule_matches", rule_matches_json(verdict, ok)},
        {"screen", screen_json(&verdict->screen, ok)},
        {"tokens", json_pack("{s:o, s:o, s:o}", "prompt", count_json(verdict->n_prompt_tokens), "cached",
                             count_json(verdict->n_cached_tokens), "output", count_json(verdict->n_output_tokens))},
        {"ms", json_pack("{s:o, s:o, s:o}", "prefill", real_json(verdict->prefill_ms), "decode",
                         real_json(verdict->decode_ms), "total", real_json(verdict->total_ms))},
        {"windows", windows_json(verdict, ok)},
        {"not_judged", list_json(verdict->not_judged, verdict->n_not_judged, ok)},
    };
    for (size_t i = 0; i < sizeof fields / sizeof fields[0]; i++)
        *ok = json_object_set_new(object, fields[i].name, fields[i].value) == 0 && *ok;
    return object;
}

enum sg_status sg_verdict_to_json(const struct sg_verdict *verdict, char **json_out, struct sg_error *err)
{
    bool ok = true;
    json_t *object = verdict_json(verdict, &ok);
    *json_out = ok ? json_dumps(object, JSON_COMPACT | JSON_REAL_PRECISION(9)) : NULL;
    json_decref(object);
    return *json_out ? SG_OK : sg_fail(err, SG_ENOMEM, "verdict: no memory for its JSON");
}
