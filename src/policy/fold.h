/* Text as the readers of policies and answers want it: typographic variants folded to ASCII, words with a
 * meaning ("INVALID", "does not violate"), and the small scanning steps that both share. */
#ifndef SG_POLICY_FOLD_H
#define SG_POLICY_FOLD_H

#include "base/buffer.h"

#include <ctype.h>

/* Append `text` with hyphen-like characters as '-', typographic quotes as '"' and '\'', every space as ' ',
 * full-width forms as ASCII; zero-width characters, soft hyphens and carriage returns are dropped. Line feeds stay,
 * so line numbers hold. */
void sg_fold(struct sg_slice text, struct sg_buffer *out);

/* What a label word says, as bits; 0 when it is not known. */
enum { SG_MEANS_SAFE = 1, SG_MEANS_VIOLATION = 2, SG_MEANS_REVIEW = 4 };

/* Meaning of a whole folded phrase of a few words, with negation ("NOT SPAM", "non-violating") and "+" or "and" for
 * what comes in addition ("INVALID + ESCALATE"). A phrase that merely contains a known word has no meaning. */
unsigned sg_phrase_meaning(struct sg_slice phrase);

/* True when one of the few words before `at`, in the same clause, negates what follows. */
bool sg_negated(struct sg_slice text, size_t at);

static inline bool sg_is_word(char c)
{
    return isalnum((unsigned char)c) || c == '_';
}

struct sg_slice sg_trim(struct sg_slice text, const char *strip);
static inline struct sg_slice sg_trim_space(struct sg_slice text)
{
    return sg_trim(text, " \t\n\v\f\r");
}
bool sg_same_word(struct sg_slice a, struct sg_slice b); /* equal but for ASCII case */

/* Offset of `needle` in text from `from` on, without case, at word boundaries on both sides; text.len when it is
 * not there. */
size_t sg_find_word(struct sg_slice text, const char *needle, size_t from);

/* The next line from *at on (without its line feed), advancing *at; false at the end. */
bool sg_next_line(struct sg_slice text, size_t *at, struct sg_slice *line_out);

#endif
