/* Inside the screen: what a screen holds, and how features become a margin.
 *
 * For a span of text (the whole of one reading, or a window of it), with q_b the 8-bit IDF of bucket b and w_b its
 * 8-bit weight, sums run over the buckets that the span has, each once, apart for characters (c), words (w) and
 * lexemes (v), whose buckets are the words of the vocabulary that has vectors:
 *
 *     margin = bias + scale · ( Σc q_b w_b / √(Σc q_b²)  +  Σw q_b w_b / √(Σw q_b²) )
 *                   + lexeme_scale · Σv q_b w_b / √(Σv q_b²)
 *
 * How often an n-gram occurs does not count: measured, counts cost 2 points of average precision on long texts. Sums
 * are integers: the same on every machine, in any order. */
#ifndef SG_SCREEN_SCREEN_INTERNAL_H
#define SG_SCREEN_SCREEN_INTERNAL_H

#include "base/file.h"
#include "safeguard/screen.h"
#include "screen/ngrams.h"
#include "text/normalise.h"

#include <math.h>

enum sg_block { SG_BLOCK_CHARS, SG_BLOCK_WORDS, SG_BLOCK_LEXEMES, SG_N_BLOCKS };

static inline enum sg_block sg_block_of(enum sg_feature_kind kind)
{
    return kind == SG_WORDS ? SG_BLOCK_WORDS : kind == SG_LEXEMES ? SG_BLOCK_LEXEMES : SG_BLOCK_CHARS;
}

struct sg_screen_sums {
    int64_t dot[SG_N_BLOCKS], norm[SG_N_BLOCKS];
};

/* As it stands in the file, behind the header. Little-endian, like everything in it. */
struct sg_screen_model {
    char name[SG_SCREEN_MAX_NAME];
    double bias, scale, lexeme_scale;
    double slope, intercept; /* probability = 1 / (1 + exp(-(slope · margin + intercept))); slope 0: not calibrated */
    double c, vector_scale, prior_scale; /* of the fit */
    double average_precision;            /* by cross-validation; NaN when there was none */
    uint64_t n_examples, n_positive;
    uint64_t n_calibration, n_calibration_positive; /* rows drawn at random that it was calibrated on */
};
_Static_assert(sizeof(struct sg_screen_model) == 168, "part of the file format");

/* IDF and weight of a bucket side by side: one cache line for both. */
struct sg_bucket {
    uint8_t idf;
    int8_t weight;
};

struct sg_screen {
    int bucket_bits;
    size_t n_categories;
    double unseen_share;       /* a larger part of 3-grams never seen is a signal; above 1: never */
    uint64_t n_texts;          /* that document frequencies were counted in */
    const uint8_t *idf;        /* [buckets]; 0: never seen, counts nowhere */
    const uint8_t *lexeme_idf; /* [words of the vocabulary] */
    const uint8_t *seen;       /* [buckets / 8] bits: 3-grams of the training texts */
    int learnt_bits;
    const uint8_t *learnt; /* [2^learnt_bits / 8], see learnt.c */
    const struct sg_screen_model *models;
    const int8_t *weights[SG_SCREEN_MAX_CATEGORIES];        /* [buckets] */
    const int8_t *lexeme_weights[SG_SCREEN_MAX_CATEGORIES]; /* [words of the vocabulary] */
    struct sg_bucket *pairs[SG_SCREEN_MAX_CATEGORIES];      /* [buckets], then [words]: sg_screen_pair */
    char policy_sha256[SG_SHA256_HEX];
    char sha256[SG_SHA256_HEX];

    struct sg_mapping mapping; /* of a file … */
    unsigned char *bytes;      /* … or the same image in memory */
    size_t n_bytes;
};

static inline const uint8_t *sg_screen_idf(const struct sg_screen *screen, enum sg_block block)
{
    return block == SG_BLOCK_LEXEMES ? screen->lexeme_idf : screen->idf;
}

static inline const int8_t *sg_screen_weights(const struct sg_screen *screen, enum sg_block block, size_t category)
{
    return block == SG_BLOCK_LEXEMES ? screen->lexeme_weights[category] : screen->weights[category];
}

/* Lay IDF and weights of every category out for scoring; sg_screen_unpair frees that. */
SG_MUST_CHECK enum sg_status sg_screen_pair(struct sg_screen *screen, struct sg_error *err);
void sg_screen_unpair(struct sg_screen *screen);

/* --- score.c ------------------------------------------------------------------------------------------------- */

/* Windows of a long text, in units; each begins half its length behind the one before. A text that is not longer than
 * a window has none of that length. Measured on the 2022 moderation set with 16 times as much benign text around:
 * 24 and 64 together keep 98 % of what is caught and cost 11 points of the benign share below the 5 % margin; 48
 * alone keeps 93 % and costs 2; 32 keeps 97 % and costs 5. */
#define SG_WINDOW_LENGTHS 48
#define SG_WINDOW_MAX 64

/* A reading with fewer 3-grams that were never seen is no stranger. */
#define SG_UNSEEN_MIN 6

/* A span of one reading, in units. */
struct sg_span {
    uint32_t first_unit, n_units;
    uint32_t first_byte, n_bytes; /* in the reading */
    bool whole;
};

struct sg_reading_score {
    double margin; /* of the best span */
    struct sg_span span;
    uint32_t n_trigrams, n_unseen;
};

static inline double sg_screen_margin(const struct sg_screen_model *model, const struct sg_screen_sums *sums)
{
    double margin = model->bias;
    for (int block = 0; block < SG_N_BLOCKS; block++)
        if (sums->norm[block] > 0)
            margin += (double)sums->dot[block] / sqrt((double)sums->norm[block]) *
                      (block == SG_BLOCK_LEXEMES ? model->lexeme_scale : model->scale);
    return margin;
}

/* Share of 3-grams never seen, drawn towards 0 for short texts. */
static inline double sg_unseen_share(uint32_t n_unseen, uint32_t n_trigrams)
{
    return n_unseen < SG_UNSEEN_MIN ? 0 : (double)n_unseen / (n_trigrams + 10.0);
}

/* --- explain.c ----------------------------------------------------------------------------------------------- */

/* The parts of a span's margin, strongest first. */
SG_MUST_CHECK enum sg_status sg_explain_span(const struct sg_screen *screen, size_t category, struct sg_slice reading,
                                             const struct sg_span *span, struct sg_screen_feature *features,
                                             size_t cap, size_t *n_out, struct sg_error *err);

/* --- learnt.c ------------------------------------------------------------------------------------------------- */

#define SG_LEARNT_BITS_MIN 10
#define SG_LEARNT_BITS_MAX 23

/* log2 of the filter's bits for so many groups. */
int sg_learnt_bits(size_t n_groups);
void sg_learnt_add(uint8_t *filter, int bits, uint64_t group);

/* --- file.c -------------------------------------------------------------------------------------------------- */

/* What training hands over to be laid out as a file. */
struct sg_screen_parts {
    int bucket_bits;
    double unseen_share;
    uint64_t n_texts;
    const char *policy_sha256;
    const uint8_t *idf, *lexeme_idf, *seen;
    int learnt_bits;
    const uint8_t *learnt;
    const struct sg_screen_model *models;
    const int8_t *const *weights, *const *lexeme_weights;
    size_t n_categories;
};
SG_MUST_CHECK enum sg_status sg_screen_assemble(const struct sg_screen_parts *parts, struct sg_screen **screen_out,
                                                struct sg_error *err);
/* An image in memory, which is copied; `name` stands in errors. */
SG_MUST_CHECK enum sg_status sg_screen_open_memory(const char *name, const void *bytes, size_t len,
                                                   struct sg_screen **screen_out, struct sg_error *err);
/* Bytes at the end of a file that hold the SHA-256 of all before, in hexadecimal digits. */
#define SG_SCREEN_CHECKSUM_BYTES 64

#endif
