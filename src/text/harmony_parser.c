/* Token ids → harmony messages, one id at a time.
 *
 * A header is gathered as three texts: what stands before <|channel|> (role), behind it (channel) and behind
 * <|constrain|> (type). Only ids make these borders: text that spells a marker stays text. When the header ends,
 * the texts are taken apart into words; what no rule claims is "left over": an error in strict mode, in lenient
 * mode the first text of the message, so that nothing a model wrote is lost.
 *
 * The recoveries are the malformed output that users of llama.cpp, vLLM and openai/harmony report: no <|message|>,
 * a doubled <|channel|> or <|start|>, a word glued to the channel ("commentary?", "final{"), a role written twice,
 * ids between messages, a channel without a name, a recipient named twice. */
#include "base/utf8.h"
#include "text/harmony.h"

#include <stdlib.h>

enum state { EXPECT, HEADER, CONTENT, FINISHED };
enum section { ROLE, CHANNEL, TYPE, N_SECTIONS };

/* A part of a header: bytes of parsed.header. */
struct part {
    size_t at, len;
    bool present;
};

struct parsed {
    struct sg_buffer header, content;
    struct part role, name, recipient, channel, type;
};

struct sg_harmony_parser {
    struct sg_harmony harmony;
    int32_t endoftext; /* lenient mode takes it for <|return|>; -1 when the tokenizer has none */
    bool strict;
    enum state state;
    size_t n_ids, n_bytes;

    /* the open header, raw bytes */
    struct sg_buffer sections[N_SECTIONS];
    enum section section;
    bool has_channel, has_type;
    struct sg_buffer implied_role; /* empty: the header must bring one */

    struct sg_buffer held; /* bytes of the open content that may become a code point with the next id */
    struct parsed *messages;
    size_t n, cap;
};

struct sg_harmony_parser *sg_harmony_parser_create(const struct sg_harmony *harmony, const char *start_role,
                                                   bool strict)
{
    struct sg_harmony_parser *parser = calloc(1, sizeof *parser);
    if (!parser)
        return NULL;
    parser->harmony = *harmony;
    parser->endoftext = sg_tokenizer_special(harmony->tokenizer, "<|endoftext|>");
    parser->strict = strict;
    if (start_role) {
        parser->state = HEADER;
        sg_buffer_puts(&parser->implied_role, start_role);
        if (parser->implied_role.failed) {
            sg_harmony_parser_destroy(parser);
            return NULL;
        }
    }
    return parser;
}

static void parsed_free(struct parsed *message)
{
    sg_buffer_free(&message->header);
    sg_buffer_free(&message->content);
}

void sg_harmony_parser_destroy(struct sg_harmony_parser *parser)
{
    if (!parser)
        return;
    for (size_t i = 0; i < parser->n; i++)
        parsed_free(&parser->messages[i]);
    free(parser->messages);
    for (int i = 0; i < N_SECTIONS; i++)
        sg_buffer_free(&parser->sections[i]);
    sg_buffer_free(&parser->implied_role);
    sg_buffer_free(&parser->held);
    free(parser);
}

/* --- words of a header ---------------------------------------------------------------------------------- */

static const char *const known_roles[] = {"system", "developer", "user", "assistant", "tool"};
static const char *const known_channels[] = {"analysis", "commentary", "final"};

static bool is_space(char c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

static bool starts_with(struct sg_slice text, struct sg_slice prefix)
{
    return text.len >= prefix.len && (prefix.len == 0 || memcmp(text.ptr, prefix.ptr, prefix.len) == 0);
}

static struct sg_slice behind(struct sg_slice text, size_t n)
{
    return (struct sg_slice){text.ptr + n, text.len - n};
}

static struct sg_slice trim_start(struct sg_slice text)
{
    size_t n = 0;
    while (n < text.len && is_space(text.ptr[n]))
        n++;
    return behind(text, n);
}

/* Cut the first word off `text`, which does not begin with white space; empty at its end. */
static struct sg_slice next_word(struct sg_slice *text)
{
    size_t n = 0;
    while (n < text->len && !is_space(text->ptr[n]))
        n++;
    struct sg_slice word = {text->ptr, n};
    *text = behind(*text, n);
    return word;
}

static bool is_name_char(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '-' ||
           c == '.' || c == '/' || c == '+';
}

static bool is_known(struct sg_slice word, const char *const *known, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (sg_slice_equal(word, sg_slice_of(known[i])))
            return true;
    return false;
}
#define IS_KNOWN(word, known) is_known(word, known, sizeof(known) / sizeof *(known))

/* A word as harmony's headers have them: "json", "code", "text/plain", "analysis". */
static bool is_plain_word(struct sg_slice word)
{
    if (word.len == 0 || !((word.ptr[0] | 32) >= 'a' && (word.ptr[0] | 32) <= 'z'))
        return false;
    for (size_t i = 0; i < word.len; i++)
        if (!is_name_char(word.ptr[i]))
            return false;
    return true;
}

/* --- a header, when it is complete ------------------------------------------------------------------------ */

struct header_reader {
    struct parsed *message;
    bool strict;
    bool has_message;          /* ended by <|message|>, not by a stop token */
    struct sg_buffer leftover; /* what no rule claimed */
    const char *problem;       /* strict: the first of them */
};

static void problem(struct header_reader *reader, const char *text)
{
    if (!reader->problem)
        reader->problem = text;
}

/* Text that no rule claimed. */
static void leave(struct header_reader *reader, struct sg_slice text)
{
    text = trim_start(text);
    if (text.len == 0)
        return;
    problem(reader, "text that is neither role, recipient, channel nor content type");
    if (reader->leftover.len > 0)
        sg_buffer_putc(&reader->leftover, '\n');
    sg_buffer_append(&reader->leftover, text.ptr, text.len);
}

static struct part part_of(const struct header_reader *reader, struct sg_slice text)
{
    return (struct part){(size_t)(text.ptr - reader->message->header.data), text.len, true};
}

/* A part that the header's own text does not hold. Moves that text: no slice of it may be used afterwards. */
static struct part part_add(struct header_reader *reader, struct sg_slice text)
{
    struct sg_buffer *header = &reader->message->header;
    struct part part = {header->len, text.len, true};
    sg_buffer_append(header, text.ptr, text.len);
    return part;
}

/* "to=x" words and, when <|message|> follows, one content type without its marker. */
static void read_words(struct header_reader *reader, struct sg_slice text)
{
    struct parsed *message = reader->message;
    while ((text = trim_start(text)).len > 0) {
        struct sg_slice rest = text, word = next_word(&rest), next = trim_start(rest);
        if (starts_with(word, sg_slice_of("to="))) {
            if (message->recipient.present)
                problem(reader, "a second recipient");
            else if (word.len == 3)
                problem(reader, "a recipient without a name");
            else
                message->recipient = part_of(reader, behind(word, 3));
        } else if (reader->has_message && !message->type.present && is_plain_word(word) &&
                   (next.len == 0 || starts_with(next, sg_slice_of("to=")))) {
            message->type = part_of(reader, word);
        } else {
            leave(reader, text);
            return;
        }
        text = rest;
    }
}

static void read_channel(struct header_reader *reader, struct sg_slice text)
{
    text = trim_start(text);
    struct sg_slice rest = text, word = next_word(&rest);
    if (!reader->strict && !IS_KNOWN(word, known_channels)) {
        size_t known = 0;
        for (size_t i = 0; i < sizeof known_channels / sizeof *known_channels; i++)
            if (starts_with(word, sg_slice_of(known_channels[i])))
                known = strlen(known_channels[i]);
        if (known > 0 && !(word.ptr[known] >= 'a' && word.ptr[known] <= 'z'))
            word.len = known; /* "commentary?", "final{" */
        else if (!is_plain_word(word) || word.ptr[0] < 'a')
            word.len = 0; /* free text where the channel should stand */
        rest = behind(text, word.len);
    }
    if (word.len > 0)
        reader->message->channel = part_of(reader, word);
    else
        problem(reader, "<|channel|> without a name");
    read_words(reader, rest);
}

/* `text` begins with the marker. */
static void read_type(struct header_reader *reader, struct sg_slice text)
{
    size_t marker = strlen(SG_CONSTRAIN), n = marker;
    while (n < text.len && is_name_char(text.ptr[n]))
        n++;
    if (reader->message->type.present)
        problem(reader, "a second content type");
    if (n > marker)
        reader->message->type = part_of(reader, (struct sg_slice){text.ptr, n});
    else
        problem(reader, SG_CONSTRAIN " without a content type");
    read_words(reader, behind(text, n));
}

/* The author: a role, "role:name", or the name of a tool. Returns the text behind it. Without one the role is
 * set by the caller. *word_out is the unknown first word that may be a tool's name. */
static struct sg_slice read_role(struct header_reader *reader, struct sg_slice text, struct sg_slice implied,
                                 struct sg_slice *word_out)
{
    struct parsed *message = reader->message;
    text = trim_start(text);
    struct sg_slice rest = text, word = next_word(&rest);
    *word_out = (struct sg_slice){NULL, 0};
    if (implied.len > 0)
        return sg_slice_equal(word, implied) ? rest : text;
    if (word.len == 0 || starts_with(word, sg_slice_of("to=")))
        return text;
    for (size_t i = 0; i < sizeof known_roles / sizeof *known_roles; i++) {
        struct sg_slice role = sg_slice_of(known_roles[i]);
        if (!starts_with(word, role))
            continue;
        struct sg_slice tail = behind(word, role.len);
        while (!reader->strict && starts_with(tail, role))
            tail = behind(tail, role.len); /* "assistantassistant" */
        bool named = tail.len > 1 && tail.ptr[0] == ':';
        bool glued = !reader->strict && tail.len > 0 && !is_name_char(tail.ptr[0]) && tail.ptr[0] != ':';
        if (tail.len > 0 && !named && !glued)
            continue;
        message->role = part_of(reader, (struct sg_slice){word.ptr, role.len});
        if (!named)
            return behind(text, (size_t)(tail.ptr - text.ptr));
        message->name = part_of(reader, behind(tail, 1));
        return rest;
    }
    *word_out = word;
    return rest;
}

/* A first word that is no role: a tool's name when it looks like one or a recipient stands behind it. Else the
 * role is implied, and the word is text. */
static void settle_role(struct header_reader *reader, struct sg_slice word, struct sg_slice implied)
{
    struct parsed *message = reader->message;
    if (message->role.present)
        return;
    bool tool = word.len > 0 && (message->recipient.present || memchr(word.ptr, '.', word.len) ||
                                 (!reader->strict && reader->has_message));
    if (tool && is_plain_word(word)) {
        message->name = part_of(reader, word);
        message->role = part_add(reader, sg_slice_of("tool"));
        return;
    }
    if (implied.len == 0)
        problem(reader, word.len ? "an unknown role" : "no role");
    if (word.len > 0)
        leave(reader, word);
    message->role = part_add(reader, implied.len ? implied : sg_slice_of("assistant"));
}

/* Copy section text into message->header as valid UTF-8 and return where it stands. */
static struct part add_section(struct sg_buffer *header, const char *prefix, const struct sg_buffer *section)
{
    struct part part = {header->len, 0, true};
    sg_buffer_puts(header, prefix);
    sg_utf8_repair(trim_start((struct sg_slice){sg_buffer_text(section), section->len}), header);
    part.len = header->len - part.at;
    return part;
}

static struct sg_slice slice_of(const struct parsed *message, struct part part)
{
    return (struct sg_slice){part.present ? message->header.data + part.at : NULL, part.len};
}

static enum sg_status fail_at_id(struct sg_harmony_parser *parser, enum sg_status code, const char *what,
                                 struct sg_error *err)
{
    parser->state = FINISHED;
    return sg_fail_at(err, code, parser->n_ids, "harmony: id %zu, message %zu: %s", parser->n_ids, parser->n, what);
}

/* Make a message of the open header; *message_out is NULL when there is nothing to make one of. */
static enum sg_status finish_header(struct sg_harmony_parser *parser, bool has_message, bool keep_empty,
                                    struct parsed **message_out, struct sg_error *err)
{
    *message_out = NULL;
    if (parser->n == SG_HARMONY_MAX_MESSAGES)
        return fail_at_id(parser, SG_ELIMIT, "more messages than SG_HARMONY_MAX_MESSAGES", err);
    if (parser->n == parser->cap) {
        size_t cap = parser->cap ? 2 * parser->cap : 8;
        struct parsed *grown = realloc(parser->messages, cap * sizeof *grown);
        if (!grown)
            return fail_at_id(parser, SG_ENOMEM, "out of memory", err);
        parser->messages = grown;
        parser->cap = cap;
    }
    struct parsed *message = &parser->messages[parser->n];
    *message = (struct parsed){0};
    struct header_reader reader = {.message = message, .strict = parser->strict, .has_message = has_message};

    struct part role = add_section(&message->header, "", &parser->sections[ROLE]);
    struct part channel = add_section(&message->header, "", &parser->sections[CHANNEL]);
    struct part type = add_section(&message->header, parser->has_type ? SG_CONSTRAIN : "", &parser->sections[TYPE]);
    struct sg_slice implied = {sg_buffer_text(&parser->implied_role), parser->implied_role.len}, word = {0};
    if (!message->header.failed) {
        struct sg_slice behind_role = read_role(&reader, slice_of(message, role), implied, &word);
        if (word.len > 0 && !has_message && !parser->has_channel) { /* an answer without any header */
            behind_role = slice_of(message, role);
            word.len = 0;
        }
        read_words(&reader, behind_role);
        if (parser->has_channel)
            read_channel(&reader, slice_of(message, channel));
        if (parser->has_type)
            read_type(&reader, slice_of(message, type));
        settle_role(&reader, word, implied);
    }
    bool failed = message->header.failed || reader.leftover.failed;
    const char *found = failed ? "out of memory" : parser->strict ? reader.problem : NULL;
    bool empty = !has_message && !message->channel.present && !message->recipient.present && reader.leftover.len == 0;
    if (found || (empty && !keep_empty)) {
        parsed_free(message);
        sg_buffer_free(&reader.leftover);
        if (!found)
            return SG_OK;
        if (failed)
            return fail_at_id(parser, SG_ENOMEM, found, err);
        parser->state = FINISHED;
        return sg_fail_at(err, SG_EFORMAT, parser->n_ids,
                          "harmony: id %zu, header of message %zu: got %s, expected role[ to=recipient]"
                          "[<|channel|>channel[ to=recipient]][ <|constrain|>type]<|message|>",
                          parser->n_ids, parser->n, found);
    }
    if (has_message && reader.leftover.len > 0)
        sg_buffer_putc(&reader.leftover, '\n');
    message->content = reader.leftover;
    parser->n++;
    *message_out = message;
    return SG_OK;
}

/* --- the ids ---------------------------------------------------------------------------------------------- */

static void open_header(struct sg_harmony_parser *parser, const char *implied_role)
{
    for (int i = 0; i < N_SECTIONS; i++)
        sg_buffer_clear(&parser->sections[i]);
    sg_buffer_clear(&parser->implied_role);
    sg_buffer_puts(&parser->implied_role, implied_role);
    parser->section = ROLE;
    parser->has_channel = parser->has_type = false;
    parser->state = HEADER;
}

/* Bytes into the open message, those that may still become a code point held back. */
static bool add_content(struct sg_harmony_parser *parser, struct sg_slice bytes)
{
    struct sg_buffer *held = &parser->held, *content = &parser->messages[parser->n - 1].content;
    size_t before = content->len;
    sg_buffer_append(held, bytes.ptr, bytes.len);
    if (held->failed || held->len == 0)
        return false;
    size_t ready = sg_utf8_ready((struct sg_slice){held->data, held->len});
    sg_utf8_repair((struct sg_slice){held->data, ready}, content);
    memmove(held->data, held->data + ready, held->len - ready);
    held->len -= ready;
    return content->len > before;
}

static void close_content(struct sg_harmony_parser *parser)
{
    struct sg_buffer *held = &parser->held;
    if (held->len > 0)
        sg_utf8_repair((struct sg_slice){held->data, held->len}, &parser->messages[parser->n - 1].content);
    sg_buffer_clear(held);
    parser->state = EXPECT;
}

/* The event of a token that ends a message, SG_HARMONY_NONE for any other. */
static enum sg_harmony_event stop_event(const struct sg_harmony_parser *parser, int32_t id)
{
    if (id == parser->harmony.end)
        return SG_HARMONY_END;
    if (id == parser->harmony.return_ || (!parser->strict && id >= 0 && id == parser->endoftext))
        return SG_HARMONY_RETURN;
    return id == parser->harmony.call ? SG_HARMONY_CALL : SG_HARMONY_NONE;
}

/* U+FFFD for an id without text. */
static struct sg_slice text_of(const struct sg_harmony_parser *parser, int32_t id)
{
    struct sg_slice bytes = sg_token_bytes(parser->harmony.tokenizer, id);
    return bytes.len ? bytes : sg_slice_of("\xEF\xBF\xBD");
}

/* A second <|channel|>: the last one counts. Words behind the first (a recipient) are kept. */
static void move_channel_words(struct sg_harmony_parser *parser)
{
    struct sg_buffer *channel = &parser->sections[CHANNEL], *role = &parser->sections[ROLE];
    struct sg_slice text = trim_start((struct sg_slice){sg_buffer_text(channel), channel->len});
    struct sg_slice word = next_word(&text);
    if (!IS_KNOWN(word, known_channels))
        text = (struct sg_slice){word.ptr, word.len + text.len};
    sg_buffer_putc(role, ' ');
    sg_buffer_append(role, text.ptr, text.len);
    sg_buffer_clear(channel);
}

static enum sg_status feed_header(struct sg_harmony_parser *parser, int32_t id, enum sg_harmony_event *event_out,
                                  struct sg_error *err)
{
    const struct sg_harmony *harmony = &parser->harmony;
    struct parsed *message;
    enum sg_harmony_event stop = stop_event(parser, id);
    if (id == harmony->message) {
        enum sg_status status = finish_header(parser, true, true, &message, err);
        if (status != SG_OK)
            return status;
        parser->state = CONTENT;
        *event_out = SG_HARMONY_BEGIN;
    } else if (stop != SG_HARMONY_NONE || id == harmony->start) {
        if (parser->strict)
            return fail_at_id(parser, SG_EFORMAT, "got a control token inside a header, expected <|message|>", err);
        enum sg_status status = finish_header(parser, false, false, &message, err);
        if (status != SG_OK)
            return status;
        parser->state = EXPECT;
        if (message)
            *event_out = stop != SG_HARMONY_NONE ? stop : SG_HARMONY_END;
        if (id == harmony->start)
            open_header(parser, "");
    } else if (id == harmony->channel) {
        if (parser->has_channel && parser->strict)
            return fail_at_id(parser, SG_EFORMAT, "got a second <|channel|>, expected <|message|>", err);
        if (parser->has_channel)
            move_channel_words(parser);
        parser->has_channel = true;
        parser->section = CHANNEL;
    } else if (id == harmony->constrain) {
        if (parser->has_type && parser->strict)
            return fail_at_id(parser, SG_EFORMAT, "got a second <|constrain|>, expected <|message|>", err);
        parser->has_type = true;
        parser->section = TYPE;
    } else {
        struct sg_slice bytes = text_of(parser, id);
        sg_buffer_append(&parser->sections[parser->section], bytes.ptr, bytes.len);
        size_t len = 0;
        for (int i = 0; i < N_SECTIONS; i++)
            len += parser->sections[i].len;
        if (len <= SG_HARMONY_MAX_HEADER)
            return SG_OK;
        if (parser->strict)
            return fail_at_id(parser, SG_ELIMIT, "a header longer than SG_HARMONY_MAX_HEADER", err);
        enum sg_status status = finish_header(parser, false, true, &message, err);
        if (status != SG_OK)
            return status;
        parser->state = CONTENT; /* <|message|> was forgotten: the text goes on */
        *event_out = SG_HARMONY_BEGIN;
    }
    return SG_OK;
}

static enum sg_status feed_content(struct sg_harmony_parser *parser, int32_t id, enum sg_harmony_event *event_out,
                                   struct sg_error *err)
{
    const struct sg_harmony *harmony = &parser->harmony;
    enum sg_harmony_event stop = stop_event(parser, id);
    if (stop != SG_HARMONY_NONE) {
        close_content(parser);
        *event_out = stop;
    } else if (id == harmony->start || id == harmony->channel || id == harmony->message || id == harmony->constrain) {
        if (parser->strict)
            return fail_at_id(parser, SG_EFORMAT, "got a header's token inside content, expected text or its end",
                              err);
        if (id == harmony->message || id == harmony->constrain)
            return SG_OK;
        close_content(parser);
        *event_out = SG_HARMONY_END;
        open_header(parser, id == harmony->start ? "" : "assistant");
        if (id == harmony->channel) {
            parser->has_channel = true;
            parser->section = CHANNEL;
        }
    } else {
        struct sg_slice bytes = text_of(parser, id);
        parser->n_bytes += bytes.len;
        if (parser->n_bytes > SG_HARMONY_MAX_TEXT)
            return fail_at_id(parser, SG_ELIMIT, "more text than SG_HARMONY_MAX_TEXT", err);
        if (add_content(parser, bytes))
            *event_out = SG_HARMONY_CONTENT;
    }
    return SG_OK;
}

/* SG_ENOMEM when a buffer that feeding appends to ran out of memory. */
static enum sg_status check_memory(struct sg_harmony_parser *parser, struct sg_error *err)
{
    bool failed = parser->held.failed || parser->implied_role.failed;
    for (int i = 0; i < N_SECTIONS; i++)
        failed = failed || parser->sections[i].failed;
    if (parser->n > 0)
        failed = failed || parser->messages[parser->n - 1].content.failed;
    return failed ? fail_at_id(parser, SG_ENOMEM, "out of memory", err) : SG_OK;
}

enum sg_status sg_harmony_parser_feed(struct sg_harmony_parser *parser, int32_t id, enum sg_harmony_event *event_out,
                                      struct sg_error *err)
{
    *event_out = SG_HARMONY_NONE;
    if (parser->state == FINISHED)
        return sg_fail(err, SG_EINVALID, "harmony: got an id after the end, expected none");
    parser->n_ids++;
    if (parser->state == EXPECT) {
        if (id == parser->harmony.start) {
            open_header(parser, "");
            return check_memory(parser, err);
        }
        if (parser->strict)
            return fail_at_id(parser, SG_EFORMAT, "got another id between messages, expected <|start|>", err);
        if (stop_event(parser, id) != SG_HARMONY_NONE)
            return SG_OK;
        open_header(parser, "assistant");
    }
    enum sg_status status =
        parser->state == HEADER ? feed_header(parser, id, event_out, err) : feed_content(parser, id, event_out, err);
    return status == SG_OK ? check_memory(parser, err) : status;
}

enum sg_status sg_harmony_parser_end(struct sg_harmony_parser *parser, struct sg_error *err)
{
    enum sg_status status = SG_OK;
    struct parsed *message;
    if (parser->state == HEADER && parser->strict)
        status = fail_at_id(parser, SG_EFORMAT, "got the end of input inside a header, expected <|message|>", err);
    else if (parser->state == HEADER)
        status = finish_header(parser, false, false, &message, err);
    else if (parser->state == CONTENT)
        close_content(parser);
    parser->state = FINISHED;
    return status == SG_OK ? check_memory(parser, err) : status;
}

size_t sg_harmony_parser_count(const struct sg_harmony_parser *parser)
{
    return parser->n;
}

struct sg_message sg_harmony_parser_message(const struct sg_harmony_parser *parser, size_t i)
{
    if (i >= parser->n)
        return (struct sg_message){0};
    const struct parsed *message = &parser->messages[i];
    return (struct sg_message){
        .role = slice_of(message, message->role),
        .name = slice_of(message, message->name),
        .recipient = slice_of(message, message->recipient),
        .channel = slice_of(message, message->channel),
        .content_type = slice_of(message, message->type),
        .content = {sg_buffer_text(&message->content), message->content.len},
    };
}

bool sg_harmony_parser_in_content(const struct sg_harmony_parser *parser)
{
    return parser->state == CONTENT;
}
