/* The pre-tokenizer: text → pieces that BPE never merges across. One hand-written matcher for each of the split
 * patterns that the models we read use; the patterns stand in split.c. */
#ifndef SG_TEXT_SPLIT_H
#define SG_TEXT_SPLIT_H

#include "base/buffer.h"

enum sg_split { SG_SPLIT_O200K, SG_SPLIT_LLAMA3, SG_SPLIT_QWEN2, SG_SPLIT_GPT2, SG_SPLIT_SMOLLM };

/* By the name in GGUF's tokenizer.ggml.pre. *whole_first_out says whether that tokenizer takes a piece that is a
 * token without asking the merges. false for an unknown name. */
bool sg_split_by_name(struct sg_slice name, enum sg_split *split_out, bool *whole_first_out);

/* By the regular expression of a Hugging Face Split pre-tokenizer, compared as text. */
bool sg_split_by_regex(const char *regex, enum sg_split *split_out);

/* Length in bytes of the first piece of [text, end), which must not be empty: at least 1. A byte that is not part
 * of valid UTF-8 counts as a character that is neither letter, number nor white space. */
size_t sg_split_next(enum sg_split split, const char *text, const char *end);

#endif
