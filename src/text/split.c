/* Split patterns as hand-written matchers: each tries the alternatives of its regular expression in order, and
 * where the expression would backtrack, works out directly where backtracking ends. That makes a pass over a text
 * linear: no byte is looked at more than a fixed number of times.
 *
 * \s is White_Space, \p{..} are general categories, both of Unicode 16 (unicode_tables.h). */
#include "text/split.h"

#include "base/utf8.h"
#include "text/unicode_tables.h"

#define END 64 /* class of the end of the text, beside the flags of unicode_tables.h */

#define CONTRACTION "'s|'t|'re|'ve|'m|'ll|'d"
#define WORD_PREFIX "[^\\r\\n\\p{L}\\p{N}]?"
#define WHITE "\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"

static const struct {
    enum sg_split split;
    bool whole_first;
    const char *names[3];
    const char *regex;
} splits[] = {
    {SG_SPLIT_O200K,
     true,
     {"gpt-4o"},
     WORD_PREFIX "[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]*[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]+(?i:" CONTRACTION
                 ")?|" WORD_PREFIX
                 "[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]+[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]*(?i:" CONTRACTION ")?|"
                 "\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*|" WHITE},
    {SG_SPLIT_LLAMA3,
     true,
     {"llama-bpe", "llama3", "llama-v3"},
     "(?i:" CONTRACTION ")|" WORD_PREFIX "\\p{L}+|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|" WHITE},
    {SG_SPLIT_QWEN2,
     false,
     {"qwen2"},
     "(?i:" CONTRACTION ")|" WORD_PREFIX "\\p{L}+|\\p{N}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|" WHITE},
    {SG_SPLIT_GPT2, false, {"gpt-2"}, CONTRACTION "| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+"},
    /* Two passes, so no single expression: every number alone first, then GPT-2's pattern on what is between. */
    {SG_SPLIT_SMOLLM, false, {"smollm"}, NULL},
};

bool sg_split_by_name(struct sg_slice name, enum sg_split *split_out, bool *whole_first_out)
{
    for (size_t i = 0; i < sizeof splits / sizeof *splits; i++) {
        for (size_t j = 0; j < 3 && splits[i].names[j]; j++) {
            if (!sg_slice_equal(name, sg_slice_of(splits[i].names[j])))
                continue;
            *split_out = splits[i].split;
            *whole_first_out = splits[i].whole_first;
            return true;
        }
    }
    return false;
}

bool sg_split_by_regex(const char *regex, enum sg_split *split_out)
{
    for (size_t i = 0; i < sizeof splits / sizeof *splits; i++) {
        if (splits[i].regex && strcmp(regex, splits[i].regex) == 0) {
            *split_out = splits[i].split;
            return true;
        }
    }
    return false;
}

/* Class of the character at p and its length; END and 0 at the end. */
static inline unsigned class_at(const char *p, const char *end, size_t *len_out)
{
    if (p == end) {
        *len_out = 0;
        return END;
    }
    unsigned char byte = (unsigned char)*p;
    if (byte < 0x80) {
        *len_out = 1;
        return (unsigned)unicode_blocks[0][byte] & 63;
    }
    int32_t code;
    *len_out = sg_utf8_decode((struct sg_slice){p, (size_t)(end - p)}, &code);
    if (code < 0) {
        *len_out = 1;
        return 0;
    }
    return (unsigned)unicode_blocks[unicode_index[code >> 7]][code & 127] & 63;
}

/* Past the longest run of characters that have one of the flags in `any`. */
static inline const char *run_of(const char *p, const char *end, unsigned any)
{
    size_t len;
    while (class_at(p, end, &len) & any)
        p += len;
    return p;
}

/* Past the longest run of [^\s\p{L}\p{N}]. */
static inline const char *run_of_others(const char *p, const char *end)
{
    size_t len;
    while (!(class_at(p, end, &len) & (UNICODE_SPACE | UNICODE_LETTER | UNICODE_NUMBER | END)))
        p += len;
    return p;
}

/* Length of a contraction at p, 0 for none. Case folding makes U+017F (long s) an s, as the engines that the
 * patterns were written for do. */
static inline size_t contraction(const char *p, const char *end, bool fold)
{
    if (end - p < 2 || p[0] != '\'')
        return 0;
    int bit = fold ? 0x20 : 0, c = p[1] | bit, d = end - p < 3 ? 0 : p[2] | bit;
    if (c == 's' || c == 't' || c == 'm' || c == 'd')
        return 2;
    if ((c == 'r' && d == 'e') || (c == 'v' && d == 'e') || (c == 'l' && d == 'l'))
        return 3;
    return fold && end - p >= 3 && memcmp(p + 1, "\xC5\xBF", 2) == 0 ? 3 : 0;
}

/* \p{N}{1,max} */
static inline const char *numbers(const char *p, const char *end, int max)
{
    size_t len;
    for (int n = 0; n < max && class_at(p, end, &len) & UNICODE_NUMBER; n++)
        p += len;
    return p;
}

/* `\s*[\r\n]+` (when `newlines`), `\s+(?!\S)`, `\s+` at a white space. The lookahead leaves the last white space to
 * what follows, unless that is a character of a class in `as_end`. */
static const char *white(const char *p, const char *end, bool newlines, unsigned as_end)
{
    const char *at = p, *last = p, *after_newline = NULL;
    unsigned class;
    size_t len;
    for (; (class = class_at(at, end, &len)) & UNICODE_SPACE; at += len) {
        last = at;
        if (class & UNICODE_NEWLINE)
            after_newline = at + len;
    }
    if (newlines && after_newline)
        return after_newline;
    return class & as_end || last == p ? at : last;
}

/* The two word alternatives of o200k at once; p itself when neither matches. After the optional prefix both take
 * the run of upper-case characters [\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]; the first then needs a lower-case one
 * [\p{Ll}\p{Lm}\p{Lo}\p{M}]: it stands behind the run, or backtracking finds the last one inside the run, or, if
 * the prefix is a mark, gives up the prefix and takes the mark alone. Else the second takes the run as it is. */
static const char *word_o200k(const char *p, const char *end)
{
    size_t len;
    unsigned class = class_at(p, end, &len), prefix = 0;
    const char *at = p;
    if (!(class & (UNICODE_NEWLINE | UNICODE_LETTER | UNICODE_NUMBER | END))) {
        prefix = class;
        at += len;
    }
    const char *start = at, *after_lower = NULL;
    for (; (class = class_at(at, end, &len)) & UNICODE_UPPER; at += len) {
        if (class & UNICODE_LOWER)
            after_lower = at + len;
    }
    if (class & UNICODE_LOWER)
        at = run_of(at, end, UNICODE_LOWER);
    else if (after_lower)
        at = after_lower;
    else if (prefix & UNICODE_LOWER)
        at = start;
    else if (at == start)
        return p;
    return at + contraction(at, end, true);
}

static const char *next_o200k(const char *p, const char *end)
{
    const char *at = word_o200k(p, end);
    if (at > p || (at = numbers(p, end, 3)) > p)
        return at;
    const char *others = p + (*p == ' ');
    if ((at = run_of_others(others, end)) > others) {
        while (at < end && (*at == '\r' || *at == '\n' || *at == '/'))
            at++;
        return at;
    }
    return white(p, end, true, END);
}

/* llama3 and qwen2 differ in how many digits make a piece. */
static const char *next_llama3(const char *p, const char *end, int max_numbers)
{
    size_t len = contraction(p, end, true);
    if (len)
        return p + len;
    unsigned class = class_at(p, end, &len);
    const char *word = class & (UNICODE_NEWLINE | UNICODE_LETTER | UNICODE_NUMBER) ? p : p + len;
    const char *at = run_of(word, end, UNICODE_LETTER);
    if (at > word || (at = numbers(p, end, max_numbers)) > p)
        return at;
    const char *others = p + (*p == ' ');
    if ((at = run_of_others(others, end)) > others) {
        while (at < end && (*at == '\r' || *at == '\n'))
            at++;
        return at;
    }
    return white(p, end, true, END);
}

static const char *next_gpt2(const char *p, const char *end, bool numbers_alone)
{
    size_t len = contraction(p, end, false);
    if (len)
        return p + len;
    const char *word = p + (*p == ' ');
    unsigned class = class_at(word, end, &len);
    if (class & UNICODE_LETTER)
        return run_of(word, end, UNICODE_LETTER);
    if (class & UNICODE_NUMBER) {
        if (!numbers_alone)
            return run_of(word, end, UNICODE_NUMBER);
        return word + (word == p ? len : 0); /* a space before a number is the end of its segment */
    }
    if (!(class & (UNICODE_SPACE | END)))
        return run_of_others(word, end);
    return white(p, end, false, numbers_alone ? END | UNICODE_NUMBER : END);
}

size_t sg_split_next(enum sg_split split, const char *text, const char *end)
{
    const char *next = NULL;
    switch (split) {
    case SG_SPLIT_O200K:
        next = next_o200k(text, end);
        break;
    case SG_SPLIT_LLAMA3:
        next = next_llama3(text, end, 3);
        break;
    case SG_SPLIT_QWEN2:
        next = next_llama3(text, end, 1);
        break;
    case SG_SPLIT_GPT2:
        next = next_gpt2(text, end, false);
        break;
    case SG_SPLIT_SMOLLM:
        next = next_gpt2(text, end, true);
        break;
    }
    return (size_t)(next - text);
}
