/* Random-weight gpt-oss models of a given shape, for tests and benchmarks: nothing trained, but activations of the
 * usual size, experts that are all used, and files that load wherever the real ones do. */
#ifndef SG_WEIGHTS_MAKE_MODEL_H
#define SG_WEIGHTS_MAKE_MODEL_H

#include "weights/weights.h"

struct sg_model_shape {
    int layers, hidden, q_heads, kv_heads, head_dim;
    int experts, experts_used, ffn; /* hidden and ffn: multiples of 32 */
    int vocab, window;
    enum sg_dtype dense; /* SG_Q8_0 (GGUF only), SG_BF16 or SG_F32: attention, embedding and output matrices */
    uint64_t seed;       /* same shape and seed: same bytes */
    bool safetensors;    /* a Hugging Face folder (config.json, model.safetensors) in place of a GGUF file */
    bool sparse;         /* no weights: the file has holes, which read as zeros; for looking at a large shape */
    /* GGUF's tokenizer: tokenizer.* of another GGUF file of this vocabulary size, or made from tiktoken's ranks
     * (o200k_base.tiktoken; vocab must be SG_O200K_HARMONY_VOCAB). Both NULL: none. */
    const char *tokenizer_gguf, *tokenizer_tiktoken;
};

#define SG_O200K_HARMONY_VOCAB 201088

/* The published shapes, dense SG_Q8_0, seed 1, no tokenizer. */
extern const struct sg_model_shape sg_shape_20b, sg_shape_120b;

/* Write the model to `path` (a folder is made when it does not exist). SG_EINVALID for a shape that cannot be. */
SG_MUST_CHECK enum sg_status sg_make_model(const struct sg_model_shape *shape, const char *path,
                                           struct sg_error *err);

#endif
