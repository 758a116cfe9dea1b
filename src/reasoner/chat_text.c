#include "reasoner/chat_text.h"
#include "policy/fold.h"

#include <ctype.h>

#include "text/split.h"

#define MAX_TOKEN_BYTES 128 /* o200k's longest; other vocabularies' are shorter */
#define MAX_HEADER 256      /* bytes between <|channel|> and <|message|> */

/* --- markers ---------------------------------------------------------------------------------------------- */

/* Broken up wherever they stand: harmony, ChatML, Llama 3, Phi, GLM, Command R, Kimi, Gemma (bars on one or both
 * sides), DeepSeek (full-width bars). The space goes behind the first character. */
static const char *const bars[] = {"<|", "|>", "<\xEF\xBD\x9C", "\xEF\xBD\x9C>"};

/* Whole markers: Llama 2, Mistral, Gemma, BERT's kin, reasoning and tool tags. */
static const char *const names[] = {
    "<s>",
    "</s>",
    "<bos>",
    "<eos>",
    "<pad>",
    "<unk>",
    "<mask>",
    "<sop>",
    "<eop>",
    "<start_of_turn>",
    "<end_of_turn>",
    "<start_of_image>",
    "<end_of_image>",
    "<think>",
    "</think>",
    "<tool_call>",
    "</tool_call>",
    "<tool_response>",
    "</tool_response>",
    "<<SYS>>",
    "<</SYS>>",
    "[INST]",
    "[/INST]",
    "[SYSTEM_PROMPT]",
    "[/SYSTEM_PROMPT]",
    "[AVAILABLE_TOOLS]",
    "[/AVAILABLE_TOOLS]",
    "[TOOL_CALLS]",
    "[TOOL_RESULTS]",
    "[/TOOL_RESULTS]",
    "[TOOL_CONTENT]",
    "[ARGS]",
    "[CALL_ID]",
    "[THINK]",
    "[/THINK]",
    "[gMASK]",
    "[sMASK]",
    "[CLS]",
    "[SEP]",
    "[MASK]",
    "[PAD]",
    "[UNK]",
    "[BOS]",
    "[EOS]",
};

static bool starts(const char *at, const char *end, const char *what)
{
    size_t n = strlen(what);
    return (size_t)(end - at) >= n && memcmp(at, what, n) == 0;
}

/* Bytes of the first character of a marker that begins at `at`; 0 when none does. */
static size_t marker_head(const char *at, const char *end)
{
    if (*at != '<' && *at != '[' && *at != '|' && *at != '\xEF')
        return 0;
    for (size_t i = 0; i < sizeof bars / sizeof bars[0]; i++)
        if (starts(at, end, bars[i]))
            return *at == '\xEF' ? 3 : 1;
    for (size_t i = 0; *at != '\xEF' && i < sizeof names / sizeof names[0]; i++)
        if (starts(at, end, names[i]))
            return 1;
    return 0;
}

size_t sg_break_markers(struct sg_slice text, struct sg_buffer *out)
{
    size_t n_broken = 0, start = 0;
    const char *end = text.ptr + text.len;
    for (size_t i = 0; i < text.len; i++) {
        size_t head = marker_head(text.ptr + i, end);
        if (!head)
            continue;
        sg_buffer_append(out, text.ptr + start, i + head - start);
        sg_buffer_putc(out, ' ');
        start = i + head;
        i = start - 1;
        n_broken++;
    }
    sg_buffer_append(out, text.ptr + start, text.len - start);
    return n_broken;
}

/* --- counting --------------------------------------------------------------------------------------------- */

int64_t sg_least_tokens(struct sg_slice text, bool o200k)
{
    const char *at = text.ptr, *end = text.ptr + text.len;
    int64_t n = 0;
    while (at < end) {
        size_t len;
        if (o200k) {
            len = sg_split_next(SG_SPLIT_O200K, at, end);
        } else if (isspace((unsigned char)*at)) {
            at++;
            continue;
        } else {
            for (len = 1; at + len < end && !isspace((unsigned char)at[len]);)
                len++;
        }
        n += (int64_t)((len + MAX_TOKEN_BYTES - 1) / MAX_TOKEN_BYTES);
        at += len;
    }
    return n;
}

/* --- channels --------------------------------------------------------------------------------------------- */

static const char *find(struct sg_slice text, const char *from, const char *what)
{
    return memmem(from, (size_t)(text.ptr + text.len - from), what, strlen(what));
}

/* Occurrences of `what`, counted up to 2; *first_out is where the first begins. */
static int count(struct sg_slice text, const char *what, const char **first_out)
{
    *first_out = find(text, text.ptr, what);
    return !*first_out ? 0 : find(text, *first_out + strlen(what), what) ? 2 : 1;
}

static void append_part(struct sg_buffer *out, struct sg_slice part)
{
    part = sg_trim_space(part);
    if (part.len && out->len)
        sg_buffer_puts(out, "\n\n");
    sg_buffer_append(out, part.ptr, part.len);
}

/* Does this header, from behind the last message to <|message|>, name the channel "final"? */
static bool is_final(struct sg_slice header)
{
    const char *end = header.ptr + header.len, *channel = find(header, header.ptr, "<|channel|>");
    const char *word = channel ? channel + strlen("<|channel|>") : header.ptr;
    while (word < end && isspace((unsigned char)*word))
        word++;
    return header.len <= MAX_HEADER && starts(word, end, "final");
}

/* Messages of harmony as text. A message whose channel is final is the answer, every other is reasoning. */
static enum sg_channels split_harmony(struct sg_slice text, struct sg_buffer *reasoning, struct sg_buffer *answer)
{
    static const char *const ends[] = {"<|end|>", "<|return|>", "<|call|>", "<|start|>", "<|channel|>"};
    const char *at = text.ptr, *stop = text.ptr + text.len;
    int n_final = 0;
    while (at < stop) {
        const char *message = find(text, at, "<|message|>");
        if (!message)
            break; /* a header that was cut, or nothing */
        struct sg_slice header = {at, (size_t)(message - at)};
        bool final = is_final(header);
        const char *body = message + strlen("<|message|>"), *close = stop;
        for (size_t i = 0; i < sizeof ends / sizeof ends[0]; i++) {
            const char *found = find(text, body, ends[i]);
            close = found && found < close ? found : close;
        }
        append_part(final && n_final == 0 ? answer : reasoning, (struct sg_slice){body, (size_t)(close - body)});
        n_final += final;
        at = close;
        for (size_t i = 0; i < 3;
             i++) /* behind what ends a message; <|start|> and <|channel|> open the next header */
            if (starts(at, stop, ends[i]))
                at += strlen(ends[i]);
    }
    return n_final > 1 ? SG_CHANNELS_UNCLEAR : SG_CHANNELS_SPLIT;
}

/* Everything before the one `mark` is reasoning, everything behind it the answer. */
static enum sg_channels split_at(struct sg_slice text, const char *mark, struct sg_buffer *reasoning,
                                 struct sg_buffer *answer)
{
    const char *at;
    int n = count(text, mark, &at);
    if (n > 1)
        return SG_CHANNELS_UNCLEAR;
    if (n == 0)
        at = text.ptr + text.len;
    append_part(reasoning, (struct sg_slice){text.ptr, (size_t)(at - text.ptr)});
    if (n == 1) {
        at += strlen(mark);
        append_part(answer, (struct sg_slice){at, (size_t)(text.ptr + text.len - at)});
    }
    return SG_CHANNELS_SPLIT;
}

/* "analysis" with the reasoning right behind it: harmony whose markers a server has dropped. */
static bool lost_markers(struct sg_slice text)
{
    return text.len > 8 && memcmp(text.ptr, "analysis", 8) == 0 && isupper((unsigned char)text.ptr[8]);
}

enum sg_channels sg_split_channels(struct sg_slice content, struct sg_buffer *reasoning, struct sg_buffer *answer)
{
    struct sg_slice text = sg_trim_space(content);
    const char *end = text.ptr + text.len, *first;
    if (find(text, text.ptr, "<|message|>") || starts(text.ptr, end, "<|channel|>"))
        return split_harmony(text, reasoning, answer);
    if (lost_markers(text)) {
        text = (struct sg_slice){text.ptr + 8, text.len - 8};
        return split_at(text, "assistantfinal", reasoning, answer);
    }
    if (starts(text.ptr, end, "<think>")) {
        text = (struct sg_slice){text.ptr + 7, text.len - 7};
        return split_at(text, "</think>", reasoning, answer);
    }
    if (count(text, "</think>", &first))
        return split_at(text, "</think>", reasoning, answer); /* the prompt had opened it */
    sg_buffer_append(answer, content.ptr, content.len);
    return SG_CHANNELS_NONE;
}

bool sg_may_hold_channels(struct sg_slice beginning)
{
    beginning = sg_trim_space(beginning);
    return beginning.len == 0 || *beginning.ptr == '<' || *beginning.ptr == 'a';
}
