/* Byte-pair encoding of one piece: merge the pair of lowest rank, the leftmost of equals, until no pair has one. */
#ifndef SG_TEXT_BPE_H
#define SG_TEXT_BPE_H

#include "text/tokenizer.h"
#include "text/vocab.h"

/* A pair of ids and its rank share one 64-bit table slot: 21 + 21 + 22 bits. */
#define SG_TOKENS_MAX ((1 << 21) - 1)
#define SG_MERGES_MAX ((1 << 22) - 1)

/* Zero-initialise; a token of one byte must be set in byte_ids, -1 for bytes that the vocabulary lacks. */
struct sg_bpe {
    int32_t byte_ids[256];
    struct sg_buffer merged; /* int32_t by rank: the id that the pair of this rank becomes */
    uint64_t *pairs;         /* mask + 1 slots (left, right, rank), 0 for a free one; NULL until one is added */
    uint32_t mask, used;
};

void sg_bpe_free(struct sg_bpe *bpe);

/* Give the next rank (0, 1, 2 …) to what merges into `id`; then name pairs of it: usually one, none is allowed. Of
 * equal pairs the one added first stays. */
SG_MUST_CHECK enum sg_status sg_bpe_add_rank(struct sg_bpe *bpe, int32_t id, struct sg_error *err);
SG_MUST_CHECK enum sg_status sg_bpe_add_pair(struct sg_bpe *bpe, int32_t left, int32_t right, struct sg_error *err);

/* Append the ids of a piece. Bytes without a token are left out and nothing merges across them. */
void sg_bpe_encode(const struct sg_bpe *bpe, struct sg_slice piece, struct sg_tokens *out);

#endif
