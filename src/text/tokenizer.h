/* Text ↔ token ids: byte-level BPE with a split pattern and named special tokens.
 *
 * Sources: GGUF metadata (tokenizer.ggml.*), Hugging Face tokenizer.json, a tiktoken rank file.
 * Content is never parsed for special tokens: sg_tokenize is "ordinary" encoding, the only thing that makes
 * special ids is sg_tokenizer_special (by name) or sg_tokenize_special, meant for trusted text. */
#ifndef SG_TEXT_TOKENIZER_H
#define SG_TEXT_TOKENIZER_H

#include "base/buffer.h"

#include <stdint.h>

struct sg_weights;
struct sg_tokenizer;

/* Growing list of token ids, with the same failure rule as sg_buffer. Zero-initialise. */
struct sg_tokens {
    int32_t *ids;
    size_t n, cap;
    bool failed;
};
void sg_tokens_push(struct sg_tokens *tokens, int32_t id);
void sg_tokens_append(struct sg_tokens *tokens, const int32_t *ids, size_t n);
void sg_tokens_free(struct sg_tokens *tokens);
SG_MUST_CHECK enum sg_status sg_tokens_status(const struct sg_tokens *tokens, struct sg_error *err);

/* From an open model: GGUF metadata, or tokenizer.json in the safetensors folder. SG_ENOTFOUND when the model
 * brings none; SG_EUNSUPPORTED names an unknown pre-tokenizer or model kind; SG_EFORMAT a damaged one. The
 * tokenizer keeps no reference to the weights. */
SG_MUST_CHECK enum sg_status sg_tokenizer_from_weights(const struct sg_weights *weights,
                                                       struct sg_tokenizer **tokenizer_out, struct sg_error *err);
SG_MUST_CHECK enum sg_status sg_tokenizer_from_json(const char *path, struct sg_tokenizer **tokenizer_out,
                                                    struct sg_error *err);
/* A tiktoken rank file with the split and special tokens of o200k_harmony. */
SG_MUST_CHECK enum sg_status sg_tokenizer_from_tiktoken(const char *path, struct sg_tokenizer **tokenizer_out,
                                                        struct sg_error *err);
void sg_tokenizer_destroy(struct sg_tokenizer *tokenizer);

/* Append the ids of `text` as ordinary bytes (any bytes, also not UTF-8). Never fails but for memory (see
 * sg_tokens_status). Linear in the text up to a logarithm, also on adversarial input. Thread-safe. */
void sg_tokenize(const struct sg_tokenizer *tokenizer, struct sg_slice text, struct sg_tokens *out);

/* The same, but the names of special tokens inside text become their ids. For trusted text only. */
void sg_tokenize_special(const struct sg_tokenizer *tokenizer, struct sg_slice text, struct sg_tokens *out);

/* Number of ids, at most the model's vocabulary (padding ids of a matrix may lie beyond). */
int32_t sg_tokenizer_count(const struct sg_tokenizer *tokenizer);

/* Id of a special token by its exact name ("<|message|>"), -1 when there is none. */
int32_t sg_tokenizer_special(const struct sg_tokenizer *tokenizer, const char *name);
bool sg_tokenizer_is_special(const struct sg_tokenizer *tokenizer, int32_t id);

/* The bytes of a token (a special token's name), borrowed from the tokenizer; empty for an id without text. */
struct sg_slice sg_token_bytes(const struct sg_tokenizer *tokenizer, int32_t id);

/* Lengths in bytes of the pieces of the split pattern, appended to `lengths` as tokens: for tests. */
void sg_tokenizer_split(const struct sg_tokenizer *tokenizer, struct sg_slice text, struct sg_tokens *lengths);

#endif
