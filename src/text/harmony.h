/* The harmony message format of gpt-oss: messages → token ids, and token ids → messages as they arrive.
 *
 * Source: openai/harmony docs/format.md and src/encoding.rs. Special ids are looked up by name in the
 * tokenizer. Message text is always encoded as ordinary bytes, so that text which spells a special token
 * stays text. */
#ifndef SG_TEXT_HARMONY_H
#define SG_TEXT_HARMONY_H

#include "text/tokenizer.h"

struct sg_harmony { /* a tokenizer together with the ids that harmony needs */
    const struct sg_tokenizer *tokenizer;
    int32_t start, end, message, channel, constrain, return_, call;
};

/* SG_ENOTFOUND names the first special token that the tokenizer lacks. `tokenizer` must outlive it. */
SG_MUST_CHECK enum sg_status sg_harmony_init(struct sg_harmony *harmony, const struct sg_tokenizer *tokenizer,
                                             struct sg_error *err);

#define SG_CONSTRAIN "<|constrain|>"
#define SG_HARMONY_IDENTITY "You are ChatGPT, a large language model trained by OpenAI."

/* A message. Absent parts have ptr NULL. role is "system", "developer", "user", "assistant" or "tool";
 * name (the author of a tool message, such as "functions.f") is rendered instead of the role of a tool, and as
 * "role:name" for the others. content_type is as harmony writes it, with the marker when it has one
 * ("<|constrain|>json" or "code"). */
struct sg_message {
    struct sg_slice role, name, recipient, channel, content_type, content;
};

/* The text of the harmony system message. `effort` is "low", "medium" or "high"; `knowledge_cutoff` NULL for
 * "2024-06"; `current_date` NULL for none; `channels` NULL for "analysis, commentary, final". */
void sg_harmony_system_text(const char *effort, const char *knowledge_cutoff, const char *current_date,
                            const char *channels, struct sg_buffer *out);

/* The text of the developer message: "# Instructions", blank line, instructions. */
void sg_harmony_developer_text(struct sg_slice instructions, struct sg_buffer *out);

/* One message with its end (<|end|>; <|call|> for an assistant message with a recipient). */
void sg_harmony_render(const struct sg_harmony *harmony, const struct sg_message *message, struct sg_tokens *out);

/* A conversation as upstream renders it for completion: with drop_analysis, when the last assistant message is
 * final, analysis before the first final is dropped. Ends with <|start|>next_role unless that is NULL. */
void sg_harmony_render_conversation(const struct sg_harmony *harmony, const struct sg_message *messages, size_t n,
                                    bool drop_analysis, const char *next_role, struct sg_tokens *out);

/* --- incremental parsing ------------------------------------------------------------------------------ */

/* Named maxima. A header beyond its own is an error in strict mode; in lenient mode its text becomes content. The
 * others are SG_ELIMIT in both. */
enum {
    SG_HARMONY_MAX_HEADER = 1024,   /* bytes of one header */
    SG_HARMONY_MAX_MESSAGES = 4096, /* of one parser */
    SG_HARMONY_MAX_TEXT = 64 << 20  /* bytes of content of one parser */
};

/* What the parser saw with the last token. END, RETURN and CALL always come with a message, the last one; a
 * recovered message that had no <|message|> ends without BEGIN. */
enum sg_harmony_event {
    SG_HARMONY_NONE,    /* inside a header, or nothing to tell */
    SG_HARMONY_BEGIN,   /* header complete: role, recipient, channel, content_type are set; lenient: content may
                           hold already what stood in the header and did not belong there */
    SG_HARMONY_CONTENT, /* content grew (sg_harmony_parser_message shows it all) */
    SG_HARMONY_END,     /* message closed by <|end|> */
    SG_HARMONY_RETURN,  /* message closed by <|return|>: generation done */
    SG_HARMONY_CALL     /* message closed by <|call|>: a tool call */
};

struct sg_harmony_parser;

/* `start_role` is the role of the first message when its <|start|>role stands in the prompt ("assistant"),
 * NULL when the ids begin with <|start|>. strict: a malformed header is an error; lenient: it is recovered as
 * llama.cpp and vLLM users need it (text behind the channel word becomes content, a missing channel stays
 * absent, <|start|> and <|channel|> inside content close the message). NULL when memory is short. */
struct sg_harmony_parser *sg_harmony_parser_create(const struct sg_harmony *harmony, const char *start_role,
                                                   bool strict);
void sg_harmony_parser_destroy(struct sg_harmony_parser *parser);

/* Feed one id. In strict mode SG_EFORMAT says what was found and expected; the parser is then finished. */
SG_MUST_CHECK enum sg_status sg_harmony_parser_feed(struct sg_harmony_parser *parser, int32_t id,
                                                    enum sg_harmony_event *event_out, struct sg_error *err);

/* End of input: an open message is closed as it stands (invalid UTF-8 at its end is repaired). */
SG_MUST_CHECK enum sg_status sg_harmony_parser_end(struct sg_harmony_parser *parser, struct sg_error *err);

/* Messages so far, the open one last. Slices are borrowed until the next feed. */
size_t sg_harmony_parser_count(const struct sg_harmony_parser *parser);
struct sg_message sg_harmony_parser_message(const struct sg_harmony_parser *parser, size_t i);

/* True while a message's content is open (after BEGIN, before END/RETURN/CALL). */
bool sg_harmony_parser_in_content(const struct sg_harmony_parser *parser);

/* --- ChatML, for models that use it -------------------------------------------------------------------- */

/* `<|im_start|>role\ntext<|im_end|>\n`; the template's own text and the given text are tokenised apart, so that
 * they never merge and a prefix stays reusable. */
struct sg_chatml {
    const struct sg_tokenizer *tokenizer;
    int32_t im_start, im_end;
};
SG_MUST_CHECK enum sg_status sg_chatml_init(struct sg_chatml *chatml, const struct sg_tokenizer *tokenizer,
                                            struct sg_error *err);
void sg_chatml_render(const struct sg_chatml *chatml, struct sg_slice role, struct sg_slice text,
                      struct sg_tokens *out);
/* `<|im_start|>role\n`, where the model goes on. */
void sg_chatml_open(const struct sg_chatml *chatml, struct sg_slice role, struct sg_tokens *out);

#endif
