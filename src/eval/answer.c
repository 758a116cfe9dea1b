#include "eval/answer.h"

#include "base/file.h"

#include <math.h>
#include <stdlib.h>

static double number_of(const json_t *object, const char *name)
{
    const json_t *value = json_object_get(object, name);
    return json_is_number(value) ? json_number_value(value) : NAN;
}

static int64_t count_of(const json_t *object, const char *name)
{
    double value = number_of(object, name);
    return value >= 0 && value < 9e15 ? (int64_t)value : -1;
}

static const char *text_of(const json_t *object, const char *name)
{
    return json_string_value(json_object_get(object, name));
}

/* Reasons of the verdict reader begin so; docs/verdict.md. A request for a person was read well. */
static bool says_unreadable(const char *reason)
{
    return reason && strncmp(reason, "the answer", 10) == 0 && !strstr(reason, "asks for a person");
}

/* true, false, 1, 0, or a spelling of the table; null is undecided. */
static enum sg_status read_decision(const json_t *value, enum sg_decision *out, struct sg_error *err)
{
    int label = SG_LABEL_UNKNOWN;
    enum sg_status status = SG_OK;
    if (json_is_boolean(value))
        label = json_is_true(value);
    else if (json_is_number(value) && (json_number_value(value) == 0 || json_number_value(value) == 1))
        label = (int)json_number_value(value);
    else if (json_is_string(value))
        status =
            sg_label_spelling((struct sg_slice){json_string_value(value), json_string_length(value)}, &label, err);
    else if (!json_is_null(value))
        status = sg_fail(err, SG_EFORMAT, "\"violation\" is neither true, false, 0, 1 nor null");
    *out = label == 1 ? SG_VIOLATES : label == 0 ? SG_DOES_NOT_VIOLATE : SG_UNDECIDED;
    return status;
}

enum sg_status sg_answer_read(json_t *line, double threshold, struct sg_answer *answer, struct sg_error *err)
{
    const json_t *violation = json_object_get(line, "violation"), *tokens = json_object_get(line, "tokens");
    *answer = (struct sg_answer){.score = number_of(line, "p_violation"),
                                 .failed = json_is_object(json_object_get(line, "error")),
                                 .calls = -1,
                                 .n_prompt_tokens = count_of(tokens, "prompt"),
                                 .n_cached_tokens = count_of(tokens, "cached"),
                                 .n_output_tokens = count_of(tokens, "output"),
                                 .total_ms = number_of(json_object_get(line, "ms"), "total"),
                                 .margin = number_of(json_object_get(line, "screen"), "margin"),
                                 .screen_score = number_of(json_object_get(line, "screen"), "score"),
                                 .stage = text_of(line, "stage"),
                                 .reason = text_of(line, "reason"),
                                 .policy_id = text_of(json_object_get(line, "policy"), "id"),
                                 .policy_sha256 = text_of(json_object_get(line, "policy"), "sha256")};
    if (isnan(answer->score))
        answer->score = number_of(line, "score");
    if (answer->failed) {
        answer->score = NAN;
    } else if (violation) {
        enum sg_status status = read_decision(violation, &answer->decision, err);
        if (status != SG_OK)
            return status;
    } else if (isnan(answer->score)) {
        return sg_fail(err, SG_EFORMAT, "none of \"violation\", \"p_violation\", \"score\" and \"error\"");
    } else {
        answer->decision = answer->score >= (isnan(threshold) ? 0.5 : threshold) ? SG_VIOLATES : SG_DOES_NOT_VIOLATE;
    }
    answer->by_model = text_of(line, "output") != NULL;
    answer->unreadable = answer->by_model && answer->decision == SG_UNDECIDED && says_unreadable(answer->reason);
    if (answer->stage) {
        answer->calls = strcmp(answer->stage, "reasoner") == 0;
        answer->early = answer->calls == 0 && strcmp(answer->stage, "cache") != 0;
    }
    answer->line = json_incref(line);
    return SG_OK;
}

void sg_answer_deinit(struct sg_answer *answer)
{
    json_decref(answer->line);
    *answer = (struct sg_answer){.score = NAN};
}

bool sg_answer_flag(const struct sg_answer *answer, const char *category, int *value_out)
{
    const json_t *value = json_object_get(json_object_get(answer->line, "flags"), category);
    const char *named = text_of(answer->line, "category");
    bool is_named = named && strcmp(named, category) == 0 && answer->decision == SG_VIOLATES;
    *value_out = SG_LABEL_UNKNOWN;
    if (value)
        *value_out = json_is_number(value) ? json_number_value(value) == 1 : SG_LABEL_UNKNOWN;
    else if (answer->decision == SG_DOES_NOT_VIOLATE || (answer->decision == SG_VIOLATES && named))
        *value_out = is_named;
    return value || is_named;
}

/* --- files of predictions ------------------------------------------------------------------------------------ */

/* Is the line an answer of this configuration and task? */
static bool is_ours(const struct sg_predictions *predictions, const json_t *line)
{
    const json_t *of = json_object_get(line, "eval"), *policy = json_object_get(line, "policy");
    const char *config = text_of(of, "config"), *id = text_of(policy, "id"), *sha256 = text_of(policy, "sha256");
    if (predictions->config && (!config || strcmp(config, predictions->config) != 0))
        return false;
    if (json_is_string(json_object_get(of, "attack")))
        return false;
    if (!predictions->label)
        return true;
    return (id && (strcmp(id, predictions->label) == 0 ||
                   (predictions->policy_id && strcmp(id, predictions->policy_id) == 0))) ||
           (sha256 && predictions->policy_sha256 && strcmp(sha256, predictions->policy_sha256) == 0);
}

/* The id of a line: a string, or a number as JSON writes it. */
static const char *id_of(const json_t *line, char *text, size_t size)
{
    const json_t *id = json_object_get(line, "id");
    if (json_is_integer(id)) {
        snprintf(text, size, "%" JSON_INTEGER_FORMAT, json_integer_value(id));
        return text;
    }
    return json_string_value(id);
}

static enum sg_status take_line(struct sg_predictions *predictions, const struct sg_eval_rows *rows, json_t *line,
                                size_t *lines, size_t number, struct sg_answer *answers, struct sg_error *err)
{
    char text[32];
    size_t row;
    struct sg_answer answer;
    const char *id = id_of(line, text, sizeof text);
    if (!is_ours(predictions, line)) {
        predictions->n_other++;
        return SG_OK;
    }
    if (!id)
        return sg_fail(err, SG_EFORMAT, "no \"id\"");
    if (!sg_eval_find_row(rows, id, &row)) {
        predictions->n_unknown++;
        return SG_OK;
    }
    enum sg_status status = sg_answer_read(line, predictions->threshold, &answer, err);
    if (status != SG_OK)
        return status;
    if (lines[row] && !answers[row].failed) {
        sg_answer_deinit(&answer);
        return sg_fail(err, SG_EFORMAT, "a second answer to id \"%.64s\", the first is in line %zu", id, lines[row]);
    }
    sg_answer_deinit(&answers[row]);
    answers[row] = answer;
    lines[row] = number;
    return SG_OK;
}

static bool is_blank(const char *text, size_t len)
{
    size_t i = 0;
    while (i < len && (text[i] == ' ' || text[i] == '\t' || text[i] == '\r'))
        i++;
    return i == len;
}

static enum sg_status read_lines(const char *text, size_t size, struct sg_predictions *predictions,
                                 const struct sg_eval_rows *rows, size_t *lines, struct sg_answer *answers,
                                 struct sg_error *err)
{
    size_t number = 1;
    for (size_t at = 0; at < size; number++) {
        const char *end = memchr(text + at, '\n', size - at);
        size_t len = end ? (size_t)(end - text) - at : size - at, start = at;
        at += len + 1;
        if (is_blank(text + start, len))
            continue;
        if (len > SG_PREDICTIONS_MAX_LINE)
            return sg_fail(err, SG_ELIMIT, "line %zu: %zu bytes, the limit is %zu", number, len,
                           SG_PREDICTIONS_MAX_LINE);
        json_t *line = json_loadb(text + start, len, JSON_REJECT_DUPLICATES, NULL);
        enum sg_status status = json_is_object(line)
                                    ? take_line(predictions, rows, line, lines, number, answers, err)
                                    : sg_fail(err, SG_EFORMAT, "not a JSON object%s",
                                              end ? "" : " (the last line: was its writer stopped?)");
        json_decref(line);
        if (status != SG_OK)
            return sg_fail_in(err, status, "line %zu", number);
    }
    return SG_OK;
}

enum sg_status sg_predictions_parse(const char *name, const char *bytes, size_t len,
                                    struct sg_predictions *predictions, const struct sg_eval_rows *rows,
                                    struct sg_answer *answers, struct sg_error *err)
{
    size_t *lines = calloc(rows->n + 1, sizeof *lines);
    predictions->n_unknown = predictions->n_other = 0;
    enum sg_status status;
    if (!lines)
        status = sg_fail(err, SG_ENOMEM, "no memory for %zu rows", rows->n);
    else if (len > SG_PREDICTIONS_MAX_BYTES)
        status = sg_fail(err, SG_ELIMIT, "%zu bytes, the limit is %zu", len, SG_PREDICTIONS_MAX_BYTES);
    else
        status = read_lines(bytes, len, predictions, rows, lines, answers, err);
    free(lines);
    return status == SG_OK ? SG_OK : sg_fail_in(err, status, "%s", name);
}

enum sg_status sg_predictions_read(const char *path, struct sg_predictions *predictions,
                                   const struct sg_eval_rows *rows, struct sg_answer *answers, struct sg_error *err)
{
    struct sg_mapping map;
    enum sg_status status = sg_mapping_open(path, &map, err);
    if (status == SG_OK)
        status = sg_predictions_parse(path, (const char *)map.data, map.size, predictions, rows, answers, err);
    sg_mapping_close(&map);
    return status;
}
