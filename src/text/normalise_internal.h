/* Between the parts of the normaliser: lanes of text, and what each byte of one is. */
#ifndef SG_TEXT_NORMALISE_INTERNAL_H
#define SG_TEXT_NORMALISE_INTERNAL_H

#include "text/normalise.h"

/* What a byte of a reading is. Case is that of the raw text. */
enum kind {
    KIND_SPACE,
    KIND_PUNCT,  /* also symbols and emoji */
    KIND_SIGN,   /* may stand for a letter: @ $ ! | + */
    KIND_DIGIT,  /* 0-9 */
    KIND_LOWER,  /* a-z */
    KIND_UPPER,  /* a-z that was upper case */
    KIND_LETTER, /* first byte of a letter that is not ASCII */
    KIND_CONT    /* further bytes of a character, and marks on it */
};
#define KIND_BIT(kind) (1u << (kind))
#define KIND_LETTERS (KIND_BIT(KIND_LOWER) | KIND_BIT(KIND_UPPER) | KIND_BIT(KIND_LETTER))

/* Text being written: bytes with their kinds and, when asked for, their places in the raw text. */
struct lane {
    char *text;
    uint8_t *kinds;
    uint32_t *offsets; /* NULL: not wanted */
    size_t len, cap;   /* cap holds for all that is wanted */
    size_t offsets_cap;
    bool want_offsets, failed;
};

/* Room for `extra` more bytes and a closing NUL; false and failed when memory is short. */
bool sg_lane_reserve(struct lane *lane, size_t extra);
/* Append a character: `kind` for its first byte, KIND_CONT for the others. */
void sg_lane_put(struct lane *lane, const char *bytes, size_t len, enum kind kind, uint32_t offset);
void sg_lane_put_code(struct lane *lane, int32_t code, enum kind kind, uint32_t offset);

/* Letters written one by one, in the folded reading. */
struct chain {
    size_t start, end;
    bool spaced; /* spaces stand between them; else one sign */
    size_t gap;  /* smallest number of spaces between two: wider ones part words */
};

struct sg_normal_work {
    struct lane lanes[SG_N_READINGS];
    struct lane word;     /* the current word with look-alikes turned to ASCII */
    struct lane smuggled; /* bytes as they are decoded, before they are read as UTF-8 */
    struct chain *chains;
    size_t n_chains, cap_chains;
    bool failed;
};

/* normalise_fold.c: text that is not all ASCII. Writes the folded lane, work->smuggled and signals. */
void sg_fold_text(struct sg_slice text, struct sg_normal *normal);
/* normalise_gate.c: leet and letter spacing, on the folded lane; writes their lanes. */
void sg_gate(struct sg_normal *normal);

#endif
