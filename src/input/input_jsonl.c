/* JSONL: one object per line. Ids that are numbers keep their digits, so the id is cut out of the line itself. */
#include "input/input_rows.h"

#include "base/utf8.h"

/* Numbers are read as doubles so that no integer is too big; the digits of an id come from the text. */
#define JSON_FLAGS (JSON_DECODE_INT_AS_REAL | JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL)

static size_t skip_space(struct sg_slice line, size_t at)
{
    while (at < line.len && strchr(" \t\r\n", line.ptr[at]) && line.ptr[at])
        at++;
    return at;
}

/* End of the JSON value that starts at `at`; the line was parsed before and is known to be valid. */
static size_t value_end(struct sg_slice line, size_t at)
{
    int depth = 0;
    bool quoted = false;
    for (; at < line.len; at++) {
        char c = line.ptr[at];
        if (quoted) {
            if (c == '\\')
                at++;
            else if (c == '"')
                quoted = false;
            if (!quoted && depth == 0)
                return at + 1;
        } else if (c == '"') {
            quoted = true;
        } else if (c == '{' || c == '[') {
            depth++;
        } else if (c == '}' || c == ']') {
            if (depth == 0)
                return at; /* the object around a number ends */
            if (--depth == 0)
                return at + 1;
        } else if (depth == 0 && (c == ',' || strchr(" \t\r\n", c))) {
            return at;
        }
    }
    return line.len;
}

static bool key_is(struct sg_slice quoted, const char *name)
{
    if (!memchr(quoted.ptr, '\\', quoted.len))
        return quoted.len == strlen(name) + 2 && memcmp(quoted.ptr + 1, name, quoted.len - 2) == 0;
    json_t *key = json_loadb(quoted.ptr, quoted.len, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);
    bool same = key && json_string_length(key) == strlen(name) && strcmp(json_string_value(key), name) == 0;
    json_decref(key);
    return same;
}

/* The text of a member of the object in `line` (valid JSON); ptr NULL when there is none. */
static struct sg_slice raw_member(struct sg_slice line, const char *name)
{
    size_t at = skip_space(line, 0) + 1; /* behind { */
    for (;;) {
        at = skip_space(line, at);
        if (at >= line.len || line.ptr[at] != '"')
            return (struct sg_slice){0};
        size_t end = value_end(line, at);
        struct sg_slice key = {line.ptr + at, end - at};
        at = skip_space(line, skip_space(line, end) + 1); /* behind : */
        end = value_end(line, at);
        if (key_is(key, name))
            return (struct sg_slice){line.ptr + at, end - at};
        at = skip_space(line, end) + 1; /* behind , */
    }
}

/* Parse a line into an object. The text of the parser's error is not used: it quotes the content. */
static enum sg_status parse_line(struct sg_slice line, json_t **object_out, struct sg_error *err)
{
    json_error_t error;
    *object_out = json_loadb(line.ptr, line.len, JSON_FLAGS, &error);
    if (!*object_out && json_error_code(&error) == json_error_duplicate_key)
        return sg_fail_at(err, SG_EFORMAT, (uint64_t)error.position, "a key stands twice in the object, at byte %d",
                          error.position);
    if (!*object_out)
        return sg_fail_at(err, SG_EFORMAT, (uint64_t)error.position, "not valid JSON at byte %d of %zu",
                          error.position, line.len);
    if (json_is_object(*object_out))
        return SG_OK;
    json_decref(*object_out);
    *object_out = NULL;
    return sg_fail(err, SG_EFORMAT, "a JSON array, expected an object");
}

/* The id of a row, borrowed from the object or the line. SG_ENOTFOUND when it has none and none was asked for. */
static enum sg_status find_id(const struct sg_input *input, struct sg_slice line, const json_t *object,
                              struct sg_slice *id_out, struct sg_error *err)
{
    const char *name = input->options.id_field ? input->options.id_field : "id";
    const json_t *value = json_object_get(object, name);
    if (!value && !input->options.id_field)
        return SG_ENOTFOUND;
    if (!value)
        return sg_fail(err, SG_EFORMAT, "no field \"%s\"", name);
    if (json_is_string(value))
        *id_out = (struct sg_slice){json_string_value(value), json_string_length(value)};
    else if (json_is_number(value))
        *id_out = raw_member(line, name);
    else
        return sg_fail(err, SG_EFORMAT, "\"%s\" is neither a string nor a number", name);
    return sg_input_check_id(*id_out, err);
}

/* Let the caller choose by the keys of the first object. */
static enum sg_status settle_keys(struct sg_input *input, json_t *object, size_t line, struct sg_error *err)
{
    struct sg_slice names[SG_INPUT_MAX_COLUMNS];
    size_t n = 0;
    const char *key;
    json_t *value;
    json_object_foreach(object, key, value) if (n < SG_INPUT_MAX_COLUMNS) names[n++] = sg_slice_of(key);
    enum sg_status status = input->options.settle(input->options.settle_context, names, n, &input->options, err);
    input->options.settle = NULL;
    return status == SG_OK ? SG_OK : sg_fail_in(err, status, "%s: line %zu", input->name, line);
}

enum sg_status sg_jsonl_index(struct sg_input *input, size_t at, size_t line, struct sg_error *err)
{
    const char *text = sg_buffer_text(&input->text);
    enum sg_status status = SG_OK;
    for (; status == SG_OK && at < input->text.len; line++) {
        const char *end = memchr(text + at, '\n', input->text.len - at);
        struct sg_slice row = {text + at, end ? (size_t)(end - text) - at : input->text.len - at};
        size_t start = at;
        at += row.len + 1;
        size_t first = skip_space(row, 0);
        if (first == row.len)
            continue;
        if (input->n == 0 && row.ptr[first] == '[')
            return sg_fail(err, SG_EFORMAT,
                           "%s: line %zu begins a JSON array, expected one object per line (jq -c '.[]' makes it so)",
                           input->name, line);
        char number[24];
        struct sg_slice id = {number, (size_t)snprintf(number, sizeof number, "%zu", input->n + 1)};
        json_t *object;
        bool known = false;
        if (parse_line(row, &object, NULL) == SG_OK) {
            if (input->options.settle)
                status = settle_keys(input, object, line, err);
            enum sg_status found = find_id(input, row, object, &id, NULL);
            known = found == SG_OK || found == SG_ENOTFOUND;
        }
        if (status == SG_OK)
            status = sg_input_add(input, start, row.len, line, known ? &id : NULL, err);
        json_decref(object);
    }
    return status;
}

/* {"messages":…} with the row's own "judge", as text: the content reader sees nothing else of the row. */
static enum sg_status take_messages(struct sg_input *input, struct sg_slice line, struct sg_input_row *row_out,
                                    struct sg_error *err)
{
    struct sg_slice messages = raw_member(line, "messages"), judge = raw_member(line, "judge");
    sg_buffer_puts(&input->row, "{\"messages\":");
    sg_buffer_append(&input->row, messages.ptr, messages.len);
    if (judge.ptr) {
        sg_buffer_puts(&input->row, ",\"judge\":");
        sg_buffer_append(&input->row, judge.ptr, judge.len);
    }
    sg_buffer_putc(&input->row, '}');
    row_out->text = (struct sg_slice){sg_buffer_text(&input->row), input->row.len};
    row_out->is_messages = true;
    return sg_buffer_status(&input->row, err);
}

static enum sg_status take_text(struct sg_input *input, struct sg_slice line, const json_t *object,
                                struct sg_input_row *row_out, struct sg_error *err)
{
    const char *name = input->options.text_field ? input->options.text_field : "text";
    const json_t *value = json_object_get(object, name);
    bool may_have_messages = !input->options.text_field && json_object_get(object, "messages");
    if (value && may_have_messages)
        return sg_fail(err, SG_EFORMAT, "both \"text\" and \"messages\"; say --text-field text to take the text");
    if (may_have_messages)
        return take_messages(input, line, row_out, err);
    if (!value)
        return sg_fail(err, SG_EFORMAT, "no field \"%s\"%s", name,
                       input->options.text_field ? "" : " and no \"messages\"");
    if (!json_is_string(value))
        return sg_fail(err, SG_EFORMAT, "\"%s\" is not a string", name);
    sg_buffer_append(&input->row, json_string_value(value), json_string_length(value));
    row_out->text = (struct sg_slice){sg_buffer_text(&input->row), input->row.len};
    return sg_buffer_status(&input->row, err);
}

enum sg_status sg_jsonl_row(struct sg_input *input, const struct record *record, struct sg_input_row *row_out,
                            struct sg_error *err)
{
    struct sg_slice line = {input->text.data + record->offset, record->len}, id;
    json_t *object;
    json_decref(input->object);
    input->object = NULL;
    enum sg_status status = parse_line(line, &object, err);
    if (status != SG_OK)
        return status;
    status = find_id(input, line, object, &id, err);
    if (status == SG_OK || status == SG_ENOTFOUND)
        status = take_text(input, line, object, row_out, err);
    input->object = object;
    return status;
}
