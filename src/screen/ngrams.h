/* Features of one reading of a text: hashed n-grams, unit by unit.
 *
 * A unit is a word with what clings to it (white space ends it, or SG_UNIT_CHARS characters), and every n-gram
 * belongs to the unit in which it starts; a pair of words to the unit of the second. So sums over units give the sums
 * over any window of the text, and nothing larger than a unit is ever kept. */
#ifndef SG_SCREEN_NGRAMS_H
#define SG_SCREEN_NGRAMS_H

#include "base/buffer.h"

#include <stdint.h>

/* Changes whenever the features of any text change. */
#define SG_FEATURES_OWN_VERSION "1"

#define SG_BUCKET_BITS 18 /* of the screens that are trained now; files say their own */
#define SG_BUCKET_BITS_MIN 8
#define SG_BUCKET_BITS_MAX 20

#define SG_UNIT_CHARS 16 /* a run without white space is cut into units of so many characters */
#define SG_UNIT_STARTS (SG_UNIT_CHARS + 1)
#define SG_UNIT_WORDS (2 * SG_UNIT_STARTS) /* single words and pairs */
#define SG_UNIT_FEATURES (4 * SG_UNIT_STARTS + SG_UNIT_WORDS + SG_UNIT_STARTS)

/* Characters' 2-, 4- and 5-grams of a word between its spaces; 3-grams apart, since they tell what was never seen;
 * words and pairs of words; runs of letters or digits that have a vector: their "bucket" is the vector's number. */
enum sg_feature_kind { SG_GRAMS, SG_TRIGRAMS, SG_WORDS, SG_LEXEMES, SG_N_KINDS };

struct sg_place {
    uint32_t first_byte, n_bytes; /* in the reading */
};

struct sg_unit {
    uint32_t first_byte, n_bytes; /* in the reading */
    int n[SG_N_KINDS];
    uint32_t buckets[SG_N_KINDS][3 * SG_UNIT_STARTS];
    struct sg_place places[SG_N_KINDS][3 * SG_UNIT_STARTS]; /* only when they were asked for */
};

typedef void (*sg_unit_fn)(void *context, const struct sg_unit *unit);

/* Call `fn` for each unit of the text (UTF-8; bytes that are not count as U+FFFD; ASCII capitals as small letters),
 * at most 4 GB. Needs no memory but the stack's. */
void sg_features(struct sg_slice text, int bucket_bits, bool want_places, sg_unit_fn fn, void *context);

#endif
