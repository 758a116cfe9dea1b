/* Text on its way to and from a chat server: markers of chat formats broken up, a lower bound of its tokens, and
 * reasoning that comes back inside the content. */
#ifndef SG_REASONER_CHAT_TEXT_H
#define SG_REASONER_CHAT_TEXT_H

#include "base/buffer.h"

#include <stdint.h>

/* Append `text` with a space inside every marker that some chat format gives a meaning (`<|start|>` becomes
 * `< |start| >`), and return how many there were. Many servers read such markers in content as the tokens
 * themselves: whoever wrote the content could then end the user's message and speak as the system. A space and no
 * zero-width character, because tokenizers that normalise drop those. */
size_t sg_break_markers(struct sg_slice text, struct sg_buffer *out);

/* At least so many tokens has `text`. o200k: as the tokenizer of gpt-oss and newer OpenAI models splits, where no
 * token reaches over a split; else for any tokenizer whose tokens do not reach over white space, have at most 128
 * bytes, and leave no word out. */
int64_t sg_least_tokens(struct sg_slice text, bool o200k);

enum sg_channels {
    SG_CHANNELS_NONE,   /* all of it is the answer */
    SG_CHANNELS_SPLIT,  /* reasoning and answer (empty when it never came to one) */
    SG_CHANNELS_UNCLEAR /* it says twice where the answer begins: whoever quotes such a marker could choose */
};

/* Content of a server that does not part reasoning from answer: harmony's text (`<|channel|>analysis<|message|>…`),
 * the same with its markers lost (`analysis…assistantfinal…`), and `<think>…</think>`. Appends to both. */
enum sg_channels sg_split_channels(struct sg_slice content, struct sg_buffer *reasoning, struct sg_buffer *answer);

/* True when content that begins so may turn out to hold reasoning. */
bool sg_may_hold_channels(struct sg_slice beginning);

#endif
