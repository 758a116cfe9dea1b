#include "reasoner/think.h"

#include <stdlib.h>

#include "base/utf8.h"

#define MAX_HEADER_TOKENS 64 /* a header that is longer is none: the decision is asked for */

struct sg_thought {
    const struct sg_format *format;
    const struct sg_policy *policy;
    int n_logits;
    struct sg_sampling sampling;
    int budget;
    void (*on_text)(void *context, const char *text, size_t len);
    void *context;
    const int32_t *script;
    size_t n_script;

    struct sg_harmony_parser *parser; /* NULL for ChatML */
    size_t n_messages;                /* of the parser whose text is part of `text` in full */
    size_t message_taken;             /* bytes of the open message that are */
    int header_tokens;                /* since the last message ended */
    int header_start;                 /* position of the first of them */
    bool unclosed;                    /* the message before it was not ended by <|end|> */
    struct sg_buffer text;            /* the reasoning */
    size_t told;                      /* bytes of it that on_text got */
    int n_tokens;
    bool forced;
    int32_t token;
    struct sg_tokens forced_tokens;
};

enum sg_status sg_thought_create(const struct sg_format *format, const struct sg_policy *policy, int n_logits,
                                 const struct sg_sampling *sampling, int budget,
                                 void (*on_text)(void *context, const char *text, size_t len), void *context,
                                 struct sg_thought **thought_out, struct sg_error *err)
{
    struct sg_thought *t = *thought_out = calloc(1, sizeof *t);
    if (t && format->harmony_format)
        t->parser = sg_harmony_parser_create(&format->harmony, "assistant", false);
    if (!t || (format->harmony_format && !t->parser)) {
        free(t);
        *thought_out = NULL;
        return sg_fail(err, SG_ENOMEM, "out of memory for the reasoning");
    }
    t->format = format;
    t->policy = policy;
    t->n_logits = n_logits;
    t->sampling = *sampling;
    t->budget = budget;
    t->on_text = on_text;
    t->context = context;
    t->header_start = -1;
    return SG_OK;
}

void sg_thought_destroy(struct sg_thought *t)
{
    if (!t)
        return;
    sg_harmony_parser_destroy(t->parser);
    sg_buffer_free(&t->text);
    sg_tokens_free(&t->forced_tokens);
    free(t);
}

void sg_thought_script(struct sg_thought *t, const int32_t *tokens, size_t n)
{
    t->script = tokens;
    t->n_script = n;
}

static void tell(struct sg_thought *t, bool all)
{
    struct sg_slice rest = {sg_buffer_text(&t->text) + t->told, t->text.len - t->told};
    size_t ready = all ? rest.len : sg_utf8_ready(rest);
    if (ready && t->on_text)
        t->on_text(t->context, rest.ptr, ready);
    t->told += ready;
}

/* Close the reasoning and ask for the decision. */
static void force(struct sg_thought *t, enum sg_prompt_place place, struct sg_step *step_out, bool *decide_out)
{
    tell(t, true);
    sg_prompt_decision(t->format, t->policy, place, &t->forced_tokens);
    t->forced = true;
    step_out->tokens = t->forced_tokens.ids;
    step_out->n_tokens = (int)t->forced_tokens.n;
    *decide_out = true;
}

/* Text of reasoning ends a sentence here. */
static bool ends_sentence(const struct sg_thought *t)
{
    const char *text = sg_buffer_text(&t->text);
    size_t len = t->text.len;
    static const char *const marks[] = {".", "!", "?", "\n", "\xE3\x80\x82" /* ideographic full stop */};
    for (size_t i = 0; i < sizeof marks / sizeof marks[0]; i++) {
        size_t n = strlen(marks[i]);
        if (len >= n && memcmp(text + len - n, marks[i], n) == 0)
            return true;
    }
    return false;
}

static bool budget_used(const struct sg_thought *t)
{
    return t->budget > 0 && t->n_tokens >= t->budget &&
           (ends_sentence(t) || t->n_tokens >= t->budget + SG_BUDGET_GRACE);
}

/* Text that the parser has and the reasoning has not yet. */
static void take_text(struct sg_thought *t)
{
    size_t count = sg_harmony_parser_count(t->parser);
    for (; t->n_messages < count; t->n_messages++, t->message_taken = 0) {
        struct sg_slice content = sg_harmony_parser_message(t->parser, t->n_messages).content;
        if (content.len > t->message_taken) {
            if (t->message_taken == 0 && t->text.len)
                sg_buffer_puts(&t->text, "\n\n");
            sg_buffer_append(&t->text, content.ptr + t->message_taken, content.len - t->message_taken);
            t->message_taken = content.len;
        }
        if (t->n_messages == count - 1 && sg_harmony_parser_in_content(t->parser))
            return; /* more may come */
    }
}

static bool is_final(const struct sg_message *message)
{
    return sg_slice_equal(message->channel, sg_slice_of("final")) && !message->recipient.ptr;
}

/* Ask for the decision as if the header that the model is in had not begun. */
static void force_without_header(struct sg_thought *t, bool first, struct sg_step *step_out, bool *decide_out)
{
    step_out->rewind_to = t->header_start;
    force(t, first ? SG_BEHIND_ROLE : t->unclosed ? SG_IN_MESSAGE : SG_BETWEEN_MESSAGES, step_out, decide_out);
}

static enum sg_status harmony_step(struct sg_thought *t, int position, struct sg_step *step_out, bool *decide_out,
                                   struct sg_error *err)
{
    const struct sg_harmony *harmony = &t->format->harmony;
    bool first = sg_harmony_parser_count(t->parser) == 0, was_in_content = sg_harmony_parser_in_content(t->parser);
    enum sg_harmony_event event;
    enum sg_status status = sg_harmony_parser_feed(t->parser, t->token, &event, err);
    if (status != SG_OK)
        return status;
    bool in_content = sg_harmony_parser_in_content(t->parser);
    if (!in_content && t->header_tokens++ == 0)
        t->header_start = position;
    if (in_content)
        t->header_tokens = 0;
    if (event == SG_HARMONY_BEGIN) {
        struct sg_message message = sg_harmony_parser_message(t->parser, sg_harmony_parser_count(t->parser) - 1);
        if (is_final(&message)) {
            tell(t, true);
            *decide_out = true;
        }
        return SG_OK; /* the sampled token is appended as it is */
    }
    take_text(t);
    tell(t, false);
    bool ends = event == SG_HARMONY_RETURN || event == SG_HARMONY_CALL || t->token == harmony->return_ ||
                t->token == harmony->call; /* between messages the parser ignores these */
    if (ends && was_in_content) {
        force(t, SG_IN_MESSAGE, step_out, decide_out); /* <|end|> in place of what the model wrote */
    } else if (ends) {
        force_without_header(t, first, step_out, decide_out);
    } else if (event == SG_HARMONY_END) {
        t->unclosed = t->token != harmony->end; /* recovered: <|start|> or <|channel|> within the message */
        t->header_tokens = t->unclosed;
        t->header_start = position;
        if (t->budget > 0 && t->n_tokens >= t->budget)
            force(t, SG_IN_MESSAGE, step_out, decide_out);
    } else if (in_content && budget_used(t)) {
        sg_tokens_push(&t->forced_tokens, t->token); /* the sentence's last token stays */
        force(t, SG_IN_MESSAGE, step_out, decide_out);
    } else if (!in_content && t->header_tokens > MAX_HEADER_TOKENS) {
        force_without_header(t, first, step_out, decide_out);
    }
    return sg_tokens_status(&t->forced_tokens, err);
}

static bool line_begins_answer(const struct sg_buffer *text)
{
    size_t n = strlen(SG_ANSWER_PREFIX);
    return text->len >= n && memcmp(text->data + text->len - n, SG_ANSWER_PREFIX, n) == 0 &&
           (text->len == n || text->data[text->len - n - 1] == '\n');
}

/* "Answer:" is no part of the reasoning. */
static void cut_answer(struct sg_thought *t)
{
    t->text.len -= strlen(SG_ANSWER_PREFIX);
    while (t->text.len && t->text.data[t->text.len - 1] == '\n')
        t->text.len--;
    t->text.data[t->text.len] = '\0';
    t->told = t->told < t->text.len ? t->told : t->text.len;
    tell(t, true);
}

static enum sg_status chatml_step(struct sg_thought *t, struct sg_step *step_out, bool *decide_out,
                                  struct sg_error *err)
{
    const struct sg_tokenizer *tokenizer = t->format->chatml.tokenizer;
    if (sg_tokenizer_is_special(tokenizer, t->token)) { /* <|im_end|>, or another end */
        force(t, SG_IN_MESSAGE, step_out, decide_out);
        return sg_tokens_status(&t->forced_tokens, err);
    }
    struct sg_slice bytes = sg_token_bytes(tokenizer, t->token);
    sg_buffer_append(&t->text, bytes.ptr, bytes.len);
    if (line_begins_answer(&t->text)) {
        cut_answer(t);
        force(t, SG_IN_MESSAGE, step_out, decide_out); /* the same turn for all, so that answers compare */
        t->forced = false;                             /* it came to an answer by itself */
        return sg_tokens_status(&t->forced_tokens, err);
    }
    tell(t, false);
    if (budget_used(t)) {
        sg_tokens_push(&t->forced_tokens, t->token);
        force(t, SG_IN_MESSAGE, step_out, decide_out);
    }
    return sg_tokens_status(&t->forced_tokens, err);
}

enum sg_status sg_thought_step(struct sg_thought *t, const float *logits, int position, struct sg_step *step_out,
                               bool *decide_out, struct sg_error *err)
{
    enum sg_status status = SG_OK;
    *decide_out = false;
    if (t->n_script) {
        t->token = *t->script++;
        t->n_script--;
    } else {
        status = sg_sample(&t->sampling, logits, t->n_logits, NULL, position, &t->token, err);
    }
    if (status != SG_OK)
        return status;
    t->n_tokens++;
    step_out->tokens = &t->token;
    step_out->n_tokens = 1;
    status =
        t->parser ? harmony_step(t, position, step_out, decide_out, err) : chatml_step(t, step_out, decide_out, err);
    return status == SG_OK ? sg_buffer_status(&t->text, err) : status;
}

struct sg_slice sg_thought_text(const struct sg_thought *t)
{
    return (struct sg_slice){sg_buffer_text(&t->text), t->text.len};
}

bool sg_thought_forced(const struct sg_thought *t)
{
    return t->forced;
}

int sg_thought_tokens(const struct sg_thought *t)
{
    return t->n_tokens;
}
