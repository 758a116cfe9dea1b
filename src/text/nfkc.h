/* NFKC case-fold (Unicode 16, 3.13 R5) of short runs of code points, and what is known of a code point.
 *
 * A text may be cut before every character without CHAR_COMBINES: the pieces are folded each by itself. */
#ifndef SG_TEXT_NFKC_H
#define SG_TEXT_NFKC_H

#include "base/buffer.h"

#include <stdint.h>

/* Scripts as the evasion gate tells them apart, and what is known of a character. The tables (normalise_tables.h) are
 * generated for these numbers, by tools/gen_normalise.py, which says what each means. */
enum {
    GROUP_COMMON = 0,
    GROUP_INHERITED,
    GROUP_LATIN,
    GROUP_GREEK,
    GROUP_CYRILLIC,
    GROUP_ARABIC,
    GROUP_HEBREW,
    GROUP_INDIC,
    GROUP_SEA,
    GROUP_CJK,
    GROUP_OTHER
};
enum {
    CHAR_LETTER = 1 << 0,
    CHAR_MARK = 1 << 1,
    CHAR_DIGIT = 1 << 2,
    CHAR_SPACE = 1 << 3,
    CHAR_IGNORABLE = 1 << 4,
    CHAR_EMOJI = 1 << 5,
    CHAR_STYLED = 1 << 6,
    CHAR_UPPER = 1 << 7,
    CHAR_COMBINES = 1 << 8,
    CHAR_DECOMPOSES = 1 << 9,
    CHAR_MAPPED = 1 << 10,
    CHAR_LOOKALIKE = 1 << 11,
    CHAR_RARE = 1 << 12,
    CHAR_CONTROL = 1 << 13
};
struct sg_char {
    uint8_t group, ccc;
    uint16_t flags;
};

/* `code` 0 … 0x10FFFF. */
struct sg_char sg_char_of(int32_t code);

/* A character that takes part in the longest decomposition (U+FDFA) becomes 18. */
#define SG_NFKC_RUN_MAX 32
#define SG_NFKC_OUT_MAX (SG_NFKC_RUN_MAX * 18)

/* Fold codes[0 … n), n ≤ SG_NFKC_RUN_MAX, one piece or several, into out[SG_NFKC_OUT_MAX]. Returns how many. */
size_t sg_nfkc_run(const int32_t *codes, size_t n, int32_t *out);

/* The same for any text: NFKC_Casefold of it, with U+FFFD for what is no UTF-8. More than SG_NFKC_RUN_MAX combining
 * characters in a row are folded in pieces (Unicode's stream-safe text has at most 30). */
void sg_nfkc_casefold(struct sg_slice text, struct sg_buffer *out);

/* Letter under the marks of a composed character: the first of its canonical decomposition. */
int32_t sg_nfkc_base(int32_t code);

/* Where a look-alike is taken for its ASCII. */
enum {
    LOOKALIKE_LOOSE,  /* in words with ASCII letters */
    LOOKALIKE_STRICT, /* and in words that look ASCII as a whole */
    LOOKALIKE_DIRECT  /* everywhere */
};
/* The ASCII that a non-ASCII character looks like, or NULL; *strength_out: LOOKALIKE_…. Not NUL-terminated when it
 * has 3 bytes; unused bytes are 0. */
const char *sg_lookalike(int32_t code, unsigned *strength_out);

#endif
