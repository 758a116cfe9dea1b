/* What the loaders (tokenizer_load.c) fill and the public calls (tokenizer.c) read. */
#ifndef SG_TEXT_TOKENIZER_INTERNAL_H
#define SG_TEXT_TOKENIZER_INTERNAL_H

#include "text/bpe.h"
#include "text/split.h"

#define SG_SPECIAL_NAME_MAX 255

struct sg_tokenizer {
    enum sg_split split;
    /* Bytes of every id. Indexed are the ordinary tokens that a piece of their bytes becomes: all of them when a
     * piece that is a token is never taken apart, else those that the merges arrive at. Special ids never are. */
    struct sg_vocab vocab;
    struct sg_bpe bpe;
    struct sg_buffer special;  /* bool by id */
    struct sg_vocab names;     /* of special tokens; one id can have two */
    struct sg_buffer name_ids; /* int32_t by name */
    bool name_starts[256];     /* a name begins with this byte */
    bool name_lengths[SG_SPECIAL_NAME_MAX + 1];
};

/* --- building, in this order (tokenizer_load.c) --------------------------------------------------------- */

enum token_kind { TOKEN_ORDINARY, TOKEN_SPECIAL, TOKEN_UNUSED }; /* unused: has text, but no text becomes it */

#define SHOWN(slice) (int)((slice).len < 80 ? (slice).len : 80), (slice).ptr /* for %.*s in errors */

SG_MUST_CHECK enum sg_status sg_tokenizer_create(struct sg_tokenizer **tokenizer_out, struct sg_error *err);

/* The token of the next id, by its bytes or as GPT-2 spells them. Text of a special token, and of one that is not
 * spelled after all, is literal. `scratch` is any buffer, kept between calls to save allocations. */
SG_MUST_CHECK enum sg_status sg_tokenizer_add_token(struct sg_tokenizer *tokenizer, struct sg_slice bytes,
                                                    enum token_kind kind, struct sg_error *err);
SG_MUST_CHECK enum sg_status sg_tokenizer_add_spelled(struct sg_tokenizer *tokenizer, struct sg_slice spelled,
                                                      enum token_kind kind, struct sg_buffer *scratch,
                                                      struct sg_error *err);

/* The merge of the next rank, spelled. */
SG_MUST_CHECK enum sg_status sg_tokenizer_add_merge(struct sg_tokenizer *tokenizer, struct sg_slice left,
                                                    struct sg_slice right, struct sg_buffer *scratch,
                                                    struct sg_error *err);

/* For a tokenizer that asks the merges about every piece: leave only those tokens in the index that the merges
 * arrive at, so that a piece found there needs no merging. */
SG_MUST_CHECK enum sg_status sg_tokenizer_index_reachable(struct sg_tokenizer *tokenizer, struct sg_error *err);

/* Hand over the tokenizer, or destroy it when loading failed. Returns status. */
SG_MUST_CHECK enum sg_status sg_tokenizer_finish(enum sg_status status, struct sg_tokenizer *tokenizer,
                                                 struct sg_tokenizer **tokenizer_out);

/* tokenizer.json from memory: for tests and fuzzing. */
SG_MUST_CHECK enum sg_status sg_tokenizer_from_json_text(struct sg_slice json, struct sg_tokenizer **tokenizer_out,
                                                         struct sg_error *err);

#endif
