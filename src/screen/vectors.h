/* Word vectors: what a word means, learnt elsewhere from much text, so that a screen knows words it was never shown.
 *
 * Training sees a text as the mean of its words' vectors; what it learns from that folds into one weight for each
 * word of the vocabulary, which is all that a screen's file keeps (data/README.md says where the vectors come from).
 */
#ifndef SG_SCREEN_VECTORS_H
#define SG_SCREEN_VECTORS_H

#include <stddef.h>
#include <stdint.h>

#define SG_VECTORS_MAX_WORDS 65535
#define SG_VECTORS_MAX_DIMS 128

struct sg_vectors {
    uint32_t n_words, n_dims;
    const char *version;
    const float *scale;        /* [n_dims] */
    const uint64_t *hashes;    /* [n_words] rising */
    const int8_t *vectors;     /* [n_words][n_dims], of length 1 when multiplied by scale */
    uint16_t first[65536 + 1]; /* by the upper 16 bits of a hash: where to begin in hashes */
};

/* The table that is built into the program. Never NULL, may be called from any thread. */
const struct sg_vectors *sg_vectors(void);

/* Word of that hash (begun with SG_LEXEME_SEED, each code point added and multiplied with SG_LEXEME_STEP), or -1. */
#define SG_LEXEME_SEED 0x13198A2E03707344u
#define SG_LEXEME_STEP 0x9E3779B97F4A7C15u
static inline int32_t sg_vectors_find(const struct sg_vectors *vectors, uint64_t hash)
{
    for (uint32_t i = vectors->first[hash >> 48]; i < vectors->first[(hash >> 48) + 1]; i++)
        if (vectors->hashes[i] == hash)
            return (int32_t)i;
    return -1;
}

#endif
