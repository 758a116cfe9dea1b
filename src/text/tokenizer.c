/* The public calls on a loaded tokenizer. Text goes through the split pattern; a piece that is a token is looked
 * up as a whole, any other is encoded by BPE. */
#include "text/tokenizer.h"

#include "text/tokenizer_internal.h"

#include <stdlib.h>

void sg_tokens_push(struct sg_tokens *tokens, int32_t id)
{
    sg_tokens_append(tokens, &id, 1);
}

void sg_tokens_append(struct sg_tokens *tokens, const int32_t *ids, size_t n)
{
    if (tokens->failed || n == 0)
        return;
    if (n > tokens->cap - tokens->n) {
        size_t cap = tokens->cap ? tokens->cap : 64;
        while (cap - tokens->n < n && cap <= SIZE_MAX / 2 / sizeof *ids)
            cap *= 2;
        int32_t *grown = cap - tokens->n < n ? NULL : realloc(tokens->ids, cap * sizeof *ids);
        if (!grown) {
            tokens->failed = true;
            return;
        }
        tokens->ids = grown;
        tokens->cap = cap;
    }
    memcpy(tokens->ids + tokens->n, ids, n * sizeof *ids);
    tokens->n += n;
}

void sg_tokens_free(struct sg_tokens *tokens)
{
    free(tokens->ids);
    *tokens = (struct sg_tokens){0};
}

enum sg_status sg_tokens_status(const struct sg_tokens *tokens, struct sg_error *err)
{
    if (tokens->failed)
        return sg_fail(err, SG_ENOMEM, "out of memory after %zu tokens", tokens->n);
    return SG_OK;
}

void sg_tokenizer_destroy(struct sg_tokenizer *tokenizer)
{
    if (!tokenizer)
        return;
    sg_vocab_free(&tokenizer->vocab);
    sg_bpe_free(&tokenizer->bpe);
    sg_buffer_free(&tokenizer->special);
    sg_vocab_free(&tokenizer->names);
    sg_buffer_free(&tokenizer->name_ids);
    free(tokenizer);
}

void sg_tokenize(const struct sg_tokenizer *tokenizer, struct sg_slice text, struct sg_tokens *out)
{
    for (size_t at = 0; at < text.len && !out->failed;) {
        const char *p = text.ptr + at;
        struct sg_slice piece = {p, sg_split_next(tokenizer->split, p, text.ptr + text.len)};
        int32_t id = sg_vocab_find(&tokenizer->vocab, piece);
        if (id >= 0)
            sg_tokens_push(out, id);
        else
            sg_bpe_encode(&tokenizer->bpe, piece, out);
        at += piece.len;
    }
}

static int32_t name_id(const struct sg_tokenizer *tokenizer, struct sg_slice name)
{
    int32_t i = sg_vocab_find(&tokenizer->names, name);
    return i < 0 ? -1 : ((const int32_t *)(const void *)tokenizer->name_ids.data)[i];
}

/* Id of the longest special name that text begins with, -1 when there is none. */
static int32_t special_at(const struct sg_tokenizer *tokenizer, struct sg_slice text, size_t *len_out)
{
    if (!tokenizer->name_starts[(unsigned char)text.ptr[0]])
        return -1;
    for (size_t len = text.len < SG_SPECIAL_NAME_MAX ? text.len : SG_SPECIAL_NAME_MAX; len > 0; len--) {
        int32_t id = tokenizer->name_lengths[len] ? name_id(tokenizer, (struct sg_slice){text.ptr, len}) : -1;
        if (id >= 0) {
            *len_out = len;
            return id;
        }
    }
    return -1;
}

void sg_tokenize_special(const struct sg_tokenizer *tokenizer, struct sg_slice text, struct sg_tokens *out)
{
    size_t begin = 0;
    for (size_t at = 0; at < text.len;) {
        size_t len = 1;
        int32_t id = special_at(tokenizer, (struct sg_slice){text.ptr + at, text.len - at}, &len);
        if (id >= 0) {
            sg_tokenize(tokenizer, (struct sg_slice){text.ptr + begin, at - begin}, out);
            sg_tokens_push(out, id);
            begin = at + len;
        }
        at += len;
    }
    if (begin < text.len)
        sg_tokenize(tokenizer, (struct sg_slice){text.ptr + begin, text.len - begin}, out);
}

int32_t sg_tokenizer_count(const struct sg_tokenizer *tokenizer)
{
    return tokenizer->vocab.n;
}

int32_t sg_tokenizer_special(const struct sg_tokenizer *tokenizer, const char *name)
{
    return name_id(tokenizer, sg_slice_of(name));
}

bool sg_tokenizer_is_special(const struct sg_tokenizer *tokenizer, int32_t id)
{
    return id >= 0 && id < tokenizer->vocab.n && tokenizer->special.data[id];
}

struct sg_slice sg_token_bytes(const struct sg_tokenizer *tokenizer, int32_t id)
{
    if (id < 0 || id >= tokenizer->vocab.n)
        return (struct sg_slice){"", 0};
    return sg_vocab_get(&tokenizer->vocab, id);
}

void sg_tokenizer_split(const struct sg_tokenizer *tokenizer, struct sg_slice text, struct sg_tokens *lengths)
{
    for (size_t at = 0; at < text.len && !lengths->failed;) {
        size_t len = sg_split_next(tokenizer->split, text.ptr + at, text.ptr + text.len);
        sg_tokens_push(lengths, (int32_t)len);
        at += len;
    }
}
