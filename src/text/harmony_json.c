#include "text/harmony_json.h"

#include <jansson.h>
#include <stdlib.h>

static struct sg_slice string_slice(const json_t *string)
{
    return (struct sg_slice){json_string_value(string), json_string_length(string)};
}

static bool is_text(const json_t *string, const char *text)
{
    return json_is_string(string) && sg_slice_equal(string_slice(string), sg_slice_of(text));
}

/* An error when `object` has a member outside the NULL-ended list. */
static enum sg_status check_members(json_t *object, const char *const *known, size_t index, const char *where,
                                    struct sg_error *err)
{
    const char *key;
    json_t *value;
    json_object_foreach(object, key, value)
    {
        size_t i = 0;
        while (known[i] && strcmp(key, known[i]) != 0)
            i++;
        if (!known[i])
            return sg_fail(err, SG_EUNSUPPORTED, "messages[%zu]%s: got member \"%.40s\", expected only those known",
                           index, where, key);
    }
    return SG_OK;
}

/* An optional string member without NUL; NULL when absent or null. */
static enum sg_status c_string(const json_t *object, const char *key, size_t index, const char **text_out,
                               struct sg_error *err)
{
    const json_t *value = json_object_get(object, key);
    *text_out = NULL;
    if (!value || json_is_null(value))
        return SG_OK;
    if (!json_is_string(value) || strlen(json_string_value(value)) != json_string_length(value))
        return sg_fail(err, SG_EFORMAT, "messages[%zu].content.%s: got another value, expected a string without NUL",
                       index, key);
    *text_out = json_string_value(value);
    return SG_OK;
}

static enum sg_status system_text(json_t *content, size_t index, struct sg_buffer *text, struct sg_error *err)
{
    static const char *const known[] = {
        "type", "model_identity", "reasoning_effort", "knowledge_cutoff", "channels", "conversation_start_date",
        NULL};
    const char *effort, *cutoff, *date, *identity;
    enum sg_status status = check_members(content, known, index, ".content", err);
    if (status == SG_OK)
        status = c_string(content, "reasoning_effort", index, &effort, err);
    if (status == SG_OK)
        status = c_string(content, "knowledge_cutoff", index, &cutoff, err);
    if (status == SG_OK)
        status = c_string(content, "conversation_start_date", index, &date, err);
    if (status == SG_OK)
        status = c_string(content, "model_identity", index, &identity, err);
    if (status != SG_OK)
        return status;
    if (identity && strcmp(identity, SG_HARMONY_IDENTITY) != 0)
        return sg_fail(err, SG_EUNSUPPORTED,
                       "messages[%zu].content.model_identity: got another text, expected \"%s\"", index,
                       SG_HARMONY_IDENTITY);
    if (effort && strcmp(effort, "low") != 0 && strcmp(effort, "medium") != 0 && strcmp(effort, "high") != 0)
        return sg_fail(err, SG_EFORMAT,
                       "messages[%zu].content.reasoning_effort: got another word, expected low, medium or high",
                       index);
    json_t *channels = json_object_get(content, "channels"), *channel;
    struct sg_buffer list = {0};
    size_t i;
    json_array_foreach(channels, i, channel)
    {
        if (i > 0)
            sg_buffer_puts(&list, ", ");
        if (json_is_string(channel))
            sg_buffer_append(&list, json_string_value(channel), json_string_length(channel));
        else
            status = SG_EFORMAT;
    }
    if (channels && (!json_is_array(channels) || status != SG_OK || memchr(sg_buffer_text(&list), '\0', list.len)))
        status = sg_fail(err, SG_EFORMAT,
                         "messages[%zu].content.channels: got another value, expected a list of strings", index);
    else
        sg_harmony_system_text(effort ? effort : "medium", cutoff, date, list.len ? list.data : NULL, text);
    if (status == SG_OK)
        status = sg_buffer_status(&list, err);
    sg_buffer_free(&list);
    return status;
}

static enum sg_status content_text(json_t *content, const struct sg_message *message, size_t index,
                                   struct sg_buffer *text, struct sg_error *err)
{
    static const char *const developer[] = {"type", "instructions", NULL};
    const json_t *type = json_object_get(content, "type"), *instructions = json_object_get(content, "instructions");
    if (json_is_string(content)) {
        sg_buffer_append(text, json_string_value(content), json_string_length(content));
    } else if (is_text(type, "system") && sg_slice_equal(message->role, sg_slice_of("system"))) {
        return system_text(content, index, text, err);
    } else if (is_text(type, "developer") && sg_slice_equal(message->role, sg_slice_of("developer")) &&
               json_is_string(instructions)) {
        enum sg_status status = check_members(content, developer, index, ".content", err);
        if (status != SG_OK)
            return status;
        sg_harmony_developer_text(string_slice(instructions), text);
    } else {
        return sg_fail(err, SG_EFORMAT,
                       "messages[%zu].content: got another value, expected a string, in a system message "
                       "{\"type\": \"system\"}, in a developer message {\"type\": \"developer\", \"instructions\"}",
                       index);
    }
    return SG_OK;
}

/* Slices borrow from `object` and `text`. */
static enum sg_status message_of(json_t *object, size_t index, struct sg_message *message, struct sg_buffer *text,
                                 struct sg_error *err)
{
    static const char *const known[] = {"role", "name", "recipient", "channel", "content_type", "content", NULL};
    struct sg_slice *const parts[] = {&message->role, &message->name, &message->recipient, &message->channel,
                                      &message->content_type};
    if (!json_is_object(object))
        return sg_fail(err, SG_EFORMAT, "messages[%zu]: got another value, expected an object", index);
    enum sg_status status = check_members(object, known, index, "", err);
    for (size_t i = 0; i < sizeof parts / sizeof *parts && status == SG_OK; i++) {
        const json_t *value = json_object_get(object, known[i]);
        if (json_is_string(value))
            *parts[i] = string_slice(value);
        else if (i == 0 || (value && !json_is_null(value)))
            status = sg_fail(err, SG_EFORMAT, "messages[%zu].%s: got %s, expected a string", index, known[i],
                             value ? "another value" : "none");
    }
    if (status == SG_OK)
        status = content_text(json_object_get(object, "content"), message, index, text, err);
    if (status == SG_OK)
        status = sg_buffer_status(text, err);
    message->content = (struct sg_slice){sg_buffer_text(text), text->len};
    return status;
}

enum sg_status sg_harmony_json_render(const struct sg_harmony *harmony, struct sg_slice json, bool drop_analysis,
                                      const char *next_role, struct sg_tokens *out, struct sg_error *err)
{
    if (json.len > SG_HARMONY_JSON_MAX_BYTES)
        return sg_fail(err, SG_ELIMIT, "messages: got %zu bytes of JSON, expected at most %u", json.len,
                       SG_HARMONY_JSON_MAX_BYTES);
    json_error_t where;
    json_t *root = json_loadb(json.ptr, json.len, JSON_ALLOW_NUL | JSON_REJECT_DUPLICATES, &where);
    if (!root) /* jansson's own text can quote the input */
        return sg_fail_at(err, SG_EFORMAT, (uint64_t)where.position,
                          "messages: not JSON at line %d, column %d, expected an array of messages", where.line,
                          where.column);
    size_t n = json_array_size(root);
    struct sg_message *messages = calloc(n + 1, sizeof *messages);
    struct sg_buffer *texts = calloc(n + 1, sizeof *texts);
    enum sg_status status = SG_OK;
    if (!json_is_array(root))
        status = sg_fail(err, SG_EFORMAT, "messages: got another JSON value, expected an array of messages");
    else if (!messages || !texts)
        status = sg_fail(err, SG_ENOMEM, "messages: out of memory for %zu messages", n);
    for (size_t i = 0; i < n && status == SG_OK; i++)
        status = message_of(json_array_get(root, i), i, &messages[i], &texts[i], err);
    if (status == SG_OK) {
        sg_harmony_render_conversation(harmony, messages, n, drop_analysis, next_role, out);
        status = sg_tokens_status(out, err);
    }
    for (size_t i = 0; texts && i < n; i++)
        sg_buffer_free(&texts[i]);
    free(texts);
    free(messages);
    json_decref(root);
    return status;
}

/* NULL when memory is short. */
static json_t *message_json(const struct sg_message *message)
{
    const struct {
        const char *key;
        struct sg_slice text;
    } members[] = {
        {"role", message->role},
        {"name", message->name},
        {"recipient", message->recipient},
        {"channel", message->channel},
        {"content_type", message->content_type},
        {"content", message->content},
    };
    json_t *object = json_object();
    for (size_t i = 0; i < sizeof members / sizeof *members; i++)
        if (members[i].text.ptr && json_object_set_new(object, members[i].key,
                                                       json_stringn(members[i].text.ptr, members[i].text.len)) != 0) {
            json_decref(object);
            return NULL;
        }
    return object;
}

enum sg_status sg_harmony_json_parse(const struct sg_harmony *harmony, const int32_t *ids, size_t n_ids,
                                     const char *start_role, bool strict, struct sg_buffer *out, struct sg_error *err)
{
    struct sg_harmony_parser *parser = sg_harmony_parser_create(harmony, start_role, strict);
    json_t *root = json_array();
    char *text = NULL;
    enum sg_status status = SG_OK;
    if (!parser || !root)
        status = sg_fail(err, SG_ENOMEM, "harmony: out of memory");
    for (size_t i = 0; i < n_ids && status == SG_OK; i++) {
        enum sg_harmony_event event;
        status = sg_harmony_parser_feed(parser, ids[i], &event, err);
    }
    if (status == SG_OK)
        status = sg_harmony_parser_end(parser, err);
    for (size_t i = 0; status == SG_OK && i < sg_harmony_parser_count(parser); i++) {
        struct sg_message message = sg_harmony_parser_message(parser, i);
        if (json_array_append_new(root, message_json(&message)) != 0)
            status = sg_fail(err, SG_ENOMEM, "harmony: out of memory for %zu messages", i);
    }
    if (status == SG_OK) {
        text = json_dumps(root, JSON_COMPACT);
        if (!text)
            status = sg_fail(err, SG_ENOMEM, "harmony: out of memory for the messages as JSON");
    }
    if (status == SG_OK) {
        sg_buffer_puts(out, text);
        status = sg_buffer_status(out, err);
    }
    free(text);
    json_decref(root);
    sg_harmony_parser_destroy(parser);
    return status;
}
