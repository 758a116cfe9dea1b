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

/* tokenizer.json from memory: for tests and fuzzing. */
SG_MUST_CHECK enum sg_status sg_tokenizer_from_json_text(struct sg_slice json, struct sg_tokenizer **tokenizer_out,
                                                         struct sg_error *err);

#endif
