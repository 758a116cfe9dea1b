#include "reasoner/chat_reply.h"

#include <ctype.h>
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/utf8.h"
#include "reasoner/chat_text.h"

#define MAX_TOKEN_BYTES 4096

void sg_reply_init(struct sg_reply *reply)
{
    *reply = (struct sg_reply){.n_prompt = -1, .n_cached = -1, .n_output = -1};
}

void sg_reply_deinit(struct sg_reply *reply)
{
    sg_buffer_free(&reply->reasoning);
    sg_buffer_free(&reply->content);
    sg_logprobs_free(&reply->logprobs);
    sg_reply_init(reply);
}

static json_t *get(const json_t *object, const char *name)
{
    return json_object_get(object, name);
}

static struct sg_slice string_of(const json_t *value)
{
    return json_is_string(value) ? (struct sg_slice){json_string_value(value), json_string_length(value)}
                                 : (struct sg_slice){"", 0};
}

/* A copy that fits, for an identifier: "" when the text has anything else in it. */
static void take_name(char *out, size_t size, const json_t *value)
{
    struct sg_slice text = string_of(value);
    bool good = text.len > 0 && text.len < size;
    for (size_t i = 0; good && i < text.len; i++)
        good = isgraph((unsigned char)text.ptr[i]);
    snprintf(out, size, "%s", good ? text.ptr : "");
}

/* A count that a server states, -1 for none that can be one. */
static int64_t count_of(const json_t *value)
{
    double number = json_is_number(value) ? json_number_value(value) : -1;
    return number >= 0 && number <= 1e15 ? (int64_t)number : -1;
}

/* --- errors ----------------------------------------------------------------------------------------------- */

/* {"error":{"message","type","code","param"}}, {"error":"text"}, vLLM's {"object":"error","message",…}, FastAPI's
 * {"detail":…}. */
static bool take_error(struct sg_reply *reply, const json_t *object)
{
    const json_t *error = get(object, "error");
    const char *kind = string_of(get(object, "object")).ptr;
    if (strcmp(kind, "error") == 0 && !json_is_object(error))
        error = object;
    else if (!error || json_is_null(error) || json_is_false(error))
        error = get(object, "choices") ? NULL : get(object, "detail");
    if (!error || json_is_null(error))
        return false;
    reply->has_error = true;
    const json_t *message = json_is_object(error) ? get(error, "message") : error, *code = get(error, "code");
    char *listed = json_is_array(error) ? json_dumps(error, JSON_COMPACT) : NULL;
    struct sg_slice text = listed ? sg_slice_of(listed) : string_of(message);
    size_t n = 0;
    for (size_t i = 0; i < text.len && n < SG_REPLY_MAX_MESSAGE; i++)
        reply->error_message[n++] = isprint((unsigned char)text.ptr[i]) ? text.ptr[i] : ' ';
    reply->error_message[n] = '\0';
    free(listed);
    if (json_is_number(code) && fabs(json_number_value(code)) < 1000)
        reply->error_code = (int)json_number_value(code);
    take_name(reply->error_type, sizeof reply->error_type, json_is_string(code) ? code : get(error, "type"));
    if (!*reply->error_type)
        take_name(reply->error_type, sizeof reply->error_type, get(error, "type"));
    take_name(reply->error_param, sizeof reply->error_param, get(error, "param"));
    return true;
}

/* --- log probabilities ------------------------------------------------------------------------------------ */

/* A token's own bytes: `bytes` where the server gives them, since text cannot hold a part of a character. */
static size_t token_bytes(const json_t *entry, char out[MAX_TOKEN_BYTES])
{
    const json_t *bytes = get(entry, "bytes"), *byte;
    size_t n = 0, i;
    if (json_is_array(bytes) && json_array_size(bytes) > 0 && json_array_size(bytes) <= MAX_TOKEN_BYTES) {
        json_array_foreach(bytes, i, byte) out[n++] = (char)(unsigned char)count_of(byte);
        return n;
    }
    struct sg_slice text = string_of(get(entry, "token"));
    n = text.len <= MAX_TOKEN_BYTES ? text.len : 0;
    memcpy(out, text.ptr, n);
    return n;
}

static double logprob_of(const json_t *entry)
{
    const json_t *value = get(entry, "logprob");
    return json_is_number(value) ? json_number_value(value) : NAN;
}

static void take_logprobs(struct sg_reply *reply, const json_t *logprobs)
{
    char bytes[MAX_TOKEN_BYTES];
    const json_t *entry, *top;
    size_t i, k;
    json_array_foreach(get(logprobs, "content"), i, entry)
    {
        reply->has_logprobs = true;
        size_t n = token_bytes(entry, bytes);
        sg_logprobs_add(&reply->logprobs, bytes, n, logprob_of(entry));
        json_array_foreach(get(entry, "top_logprobs"), k, top)
        {
            n = token_bytes(top, bytes);
            sg_logprobs_add_top(&reply->logprobs, bytes, n, logprob_of(top));
        }
    }
}

/* --- text ------------------------------------------------------------------------------------------------- */

static void tell(sg_stream_fn stream, void *context, enum sg_stream_kind kind, struct sg_slice text)
{
    struct sg_stream_event event = {kind, text.ptr, text.len, 0, 0};
    if (stream && text.len)
        stream(context, &event);
}

/* Append a delta without NUL characters: the verdict's texts end at one. */
static void append_text(struct sg_buffer *out, struct sg_slice text)
{
    for (size_t at = 0; at < text.len;) {
        const char *nul = memchr(text.ptr + at, '\0', text.len - at);
        size_t n = nul ? (size_t)(nul - text.ptr) - at : text.len - at;
        sg_buffer_append(out, text.ptr + at, n);
        if (nul)
            sg_utf8_encode(0xFFFD, out);
        at += n + (nul != NULL);
    }
}

/* The reasoning of a delta or message: vLLM and Ollama say `reasoning`, llama-server, SGLang and older vLLM
 * `reasoning_content`; some say both, with the same text. */
static struct sg_slice reasoning_of(const json_t *part)
{
    struct sg_slice text = string_of(get(part, "reasoning"));
    return text.len ? text : string_of(get(part, "reasoning_content"));
}

static enum sg_status take_choice(struct sg_reply *reply, const json_t *choice, sg_stream_fn stream, void *context,
                                  bool *grew_out, struct sg_error *err)
{
    const json_t *part = get(choice, "delta");
    if (!json_is_object(part))
        part = get(choice, "message");
    struct sg_slice reasoning = reasoning_of(part), content = string_of(get(part, "content"));
    if (reply->reasoning.len + reasoning.len > SG_REPLY_MAX_REASONING ||
        reply->content.len + content.len > SG_REPLY_MAX_CONTENT)
        return sg_fail(err, SG_ELIMIT, "the answer has more than %zu bytes", SG_REPLY_MAX_CONTENT);
    bool whole = get(choice, "delta") == NULL;
    if (content.len && !reply->content.len && reply->reasoning.len)
        sg_logprobs_clear(&reply->logprobs); /* so far they were the reasoning's */
    if (!reasoning.len || content.len || whole)
        take_logprobs(reply, get(choice, "logprobs"));
    else
        reply->has_logprobs = reply->has_logprobs || json_array_size(get(get(choice, "logprobs"), "content")) > 0;
    append_text(&reply->reasoning, reasoning);
    append_text(&reply->content, content);
    tell(stream, context, SG_STREAM_REASONING, reasoning);
    if (!sg_may_hold_channels((struct sg_slice){sg_buffer_text(&reply->content), reply->content.len}))
        tell(stream, context, SG_STREAM_OUTPUT, content);
    if (json_is_string(get(choice, "finish_reason")))
        take_name(reply->finish, sizeof reply->finish, get(choice, "finish_reason"));
    *grew_out = *grew_out || reasoning.len || content.len;
    enum sg_status status = sg_buffer_status(&reply->reasoning, err);
    return status == SG_OK ? sg_buffer_status(&reply->content, err) : status;
}

static void take_usage(struct sg_reply *reply, const json_t *usage)
{
    if (!json_is_object(usage))
        return;
    reply->n_prompt = count_of(get(usage, "prompt_tokens"));
    reply->n_output = count_of(get(usage, "completion_tokens"));
    reply->n_cached = count_of(get(get(usage, "prompt_tokens_details"), "cached_tokens"));
}

enum sg_status sg_reply_take(struct sg_reply *reply, const char *json, size_t len, sg_stream_fn stream, void *context,
                             bool *grew_out, struct sg_error *err)
{
    *grew_out = false;
    json_t *object = json_loadb(json, len, JSON_DECODE_INT_AS_REAL | JSON_ALLOW_NUL, NULL);
    enum sg_status status = SG_OK;
    if (!json_is_object(object)) {
        json_decref(object);
        return sg_fail(err, SG_EFORMAT, "the answer is no JSON object");
    }
    if (!take_error(reply, object)) {
        const json_t *choice;
        size_t i;
        if (!*reply->model)
            take_name(reply->model, sizeof reply->model, get(object, "model"));
        take_usage(reply, get(object, "usage"));
        json_array_foreach(get(object, "choices"), i, choice)
        {
            if (status == SG_OK && (!get(choice, "index") || count_of(get(choice, "index")) == 0))
                status = take_choice(reply, choice, stream, context, grew_out, err);
        }
    }
    json_decref(object);
    return status;
}
