/* The verdict as a value: start, end, and as JSON. */
#include "safeguard/verdict.h"

#include "base/utf8.h"

#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

const char *sg_decision_name(enum sg_decision decision)
{
    return decision == SG_VIOLATES ? "violates" : decision == SG_DOES_NOT_VIOLATE ? "does_not_violate" : "undecided";
}

void sg_verdict_init(struct sg_verdict *verdict)
{
    memset(verdict, 0, sizeof *verdict);
    verdict->p_violation = verdict->label_mass = verdict->temperature = NAN;
    verdict->n_prompt_tokens = verdict->n_cached_tokens = verdict->n_output_tokens = -1;
    verdict->prefill_ms = verdict->decode_ms = verdict->total_ms = NAN;
}

static void free_list(char **items, size_t n)
{
    for (size_t i = 0; i < n; i++)
        free(items[i]);
    free(items);
}

void sg_verdict_deinit(struct sg_verdict *verdict)
{
    char *const texts[] = {verdict->id,
                           verdict->reason,
                           verdict->category,
                           verdict->stated_confidence,
                           verdict->rationale,
                           verdict->reasoning,
                           verdict->output,
                           verdict->policy_id,
                           verdict->policy_sha256,
                           verdict->model_name,
                           verdict->model_sha256,
                           verdict->adapter,
                           verdict->precision,
                           verdict->cpu,
                           verdict->effort,
                           verdict->stage};
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++)
        free(texts[i]);
    free_list(verdict->labels, verdict->n_labels);
    free_list(verdict->rule_ids, verdict->n_rule_ids);
    free_list(verdict->unknown_rule_ids, verdict->n_unknown_rule_ids);
    free_list(verdict->not_judged, verdict->n_not_judged);
    for (size_t i = 0; i < verdict->n_flags; i++)
        free(verdict->flags[i].name);
    free(verdict->flags);
    for (size_t i = 0; i < verdict->n_windows; i++)
        free(verdict->windows[i].reason);
    free(verdict->windows);
    sg_verdict_init(verdict);
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

static json_t *verdict_json(const struct sg_verdict *verdict, bool *ok)
{
    json_t *object = json_object();
    const struct {
        const char *name;
        json_t *value;
    } fields[] = {
        {"schema", json_integer(SG_VERDICT_SCHEMA)},
        {"id", text_json(verdict->id)},
        {"violation", decision_json(verdict->decision)},
        {"decision", json_string(sg_decision_name(verdict->decision))},
        {"needs_review", json_boolean(verdict->needs_review)},
        {"reason", text_json(verdict->reason)},
        {"p_violation", real_json(verdict->p_violation)},
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
