/* Messages → token ids. The parser of what a model answers is in harmony_parser.c.
 *
 * Each part of a header is tokenised on its own, as openai/harmony's encoding.rs does: "assistant" and " to=f"
 * never merge, and the same header always has the same ids. */
#include "text/harmony.h"

enum sg_status sg_harmony_init(struct sg_harmony *harmony, const struct sg_tokenizer *tokenizer, struct sg_error *err)
{
    *harmony = (struct sg_harmony){.tokenizer = tokenizer};
    const struct {
        const char *name;
        int32_t *id;
    } specials[] = {
        {"<|start|>", &harmony->start},     {"<|end|>", &harmony->end},          {"<|message|>", &harmony->message},
        {"<|channel|>", &harmony->channel}, {SG_CONSTRAIN, &harmony->constrain}, {"<|return|>", &harmony->return_},
        {"<|call|>", &harmony->call},
    };
    for (size_t i = 0; i < sizeof specials / sizeof *specials; i++) {
        *specials[i].id = sg_tokenizer_special(tokenizer, specials[i].name);
        if (*specials[i].id < 0)
            return sg_fail(err, SG_ENOTFOUND, "harmony: the tokenizer has no special token %s", specials[i].name);
    }
    return SG_OK;
}

void sg_harmony_system_text(const char *effort, const char *knowledge_cutoff, const char *current_date,
                            const char *channels, struct sg_buffer *out)
{
    sg_buffer_puts(out, SG_HARMONY_IDENTITY "\nKnowledge cutoff: ");
    sg_buffer_puts(out, knowledge_cutoff ? knowledge_cutoff : "2024-06");
    if (current_date) {
        sg_buffer_puts(out, "\nCurrent date: ");
        sg_buffer_puts(out, current_date);
    }
    sg_buffer_puts(out, "\n\nReasoning: ");
    sg_buffer_puts(out, effort);
    sg_buffer_puts(out, "\n\n# Valid channels: ");
    sg_buffer_puts(out, channels ? channels : "analysis, commentary, final");
    sg_buffer_puts(out, ". Channel must be included for every message.");
}

void sg_harmony_developer_text(struct sg_slice instructions, struct sg_buffer *out)
{
    sg_buffer_puts(out, "# Instructions\n\n");
    sg_buffer_append(out, instructions.ptr, instructions.len);
}

static bool is(struct sg_slice slice, const char *text)
{
    return sg_slice_equal(slice, sg_slice_of(text));
}

/* `prefix` and `text` tokenised as one piece of text. */
static void render_joined(const struct sg_harmony *harmony, const char *prefix, struct sg_slice text,
                          struct sg_tokens *out)
{
    struct sg_buffer joined = {0};
    sg_buffer_puts(&joined, prefix);
    sg_buffer_append(&joined, text.ptr, text.len);
    if (joined.failed)
        out->failed = true;
    else
        sg_tokenize(harmony->tokenizer, (struct sg_slice){joined.data, joined.len}, out);
    sg_buffer_free(&joined);
}

static void render_content_type(const struct sg_harmony *harmony, struct sg_slice type, struct sg_tokens *out)
{
    size_t marker = strlen(SG_CONSTRAIN);
    if (type.len < marker || memcmp(type.ptr, SG_CONSTRAIN, marker) != 0) {
        render_joined(harmony, " ", type, out);
        return;
    }
    sg_tokenize(harmony->tokenizer, sg_slice_of(" "), out);
    sg_tokens_push(out, harmony->constrain);
    sg_tokenize(harmony->tokenizer, (struct sg_slice){type.ptr + marker, type.len - marker}, out);
}

void sg_harmony_render(const struct sg_harmony *harmony, const struct sg_message *message, struct sg_tokens *out)
{
    const struct sg_tokenizer *tokenizer = harmony->tokenizer;
    sg_tokens_push(out, harmony->start);
    if (message->name.ptr && is(message->role, "tool")) {
        sg_tokenize(tokenizer, message->name, out);
    } else {
        sg_tokenize(tokenizer, message->role, out);
        if (message->name.ptr)
            render_joined(harmony, ":", message->name, out);
    }
    if (message->recipient.ptr && !is(message->recipient, "all"))
        render_joined(harmony, " to=", message->recipient, out);
    if (message->channel.ptr) {
        sg_tokens_push(out, harmony->channel);
        sg_tokenize(tokenizer, message->channel, out);
    }
    if (message->content_type.ptr)
        render_content_type(harmony, message->content_type, out);
    sg_tokens_push(out, harmony->message);
    sg_tokenize(tokenizer, message->content, out);
    bool call = message->recipient.ptr && is(message->role, "assistant");
    sg_tokens_push(out, call ? harmony->call : harmony->end);
}

void sg_harmony_render_conversation(const struct sg_harmony *harmony, const struct sg_message *messages, size_t n,
                                    bool drop_analysis, const char *next_role, struct sg_tokens *out)
{
    size_t first_final = n;
    bool last_is_final = false;
    for (size_t i = 0; i < n; i++) {
        bool final = is(messages[i].channel, "final");
        if (final && first_final == n)
            first_final = i;
        if (is(messages[i].role, "assistant"))
            last_is_final = final;
    }
    for (size_t i = 0; i < n; i++) {
        bool dropped = drop_analysis && last_is_final && i < first_final && is(messages[i].channel, "analysis");
        if (!dropped)
            sg_harmony_render(harmony, &messages[i], out);
    }
    if (next_role) {
        sg_tokens_push(out, harmony->start);
        sg_tokenize(harmony->tokenizer, sg_slice_of(next_role), out);
    }
}
