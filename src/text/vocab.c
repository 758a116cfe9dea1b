#include "text/vocab.h"

#include <stdlib.h>

#define VOCAB_BYTES_MAX (UINT32_C(1) << 31)

void sg_vocab_free(struct sg_vocab *vocab)
{
    sg_buffer_free(&vocab->bytes);
    sg_buffer_free(&vocab->ends);
    free(vocab->slots);
    *vocab = (struct sg_vocab){0};
}

enum sg_status sg_vocab_push(struct sg_vocab *vocab, struct sg_slice text, struct sg_error *err)
{
    if (text.len > VOCAB_BYTES_MAX - vocab->bytes.len)
        return sg_fail(err, SG_ELIMIT, "tokens of more than %u bytes in all", VOCAB_BYTES_MAX);
    sg_buffer_append(&vocab->bytes, text.ptr, text.len);
    uint32_t end = (uint32_t)vocab->bytes.len;
    sg_buffer_append(&vocab->ends, &end, sizeof end);
    if (vocab->bytes.failed || vocab->ends.failed)
        return sg_fail(err, SG_ENOMEM, "out of memory for token %d", vocab->n);
    vocab->n++;
    return SG_OK;
}

static void insert(struct sg_vocab *vocab, struct sg_vocab_slot new)
{
    uint32_t at = vocab_hash(sg_vocab_get(vocab, new.index).ptr, new.len, new.head);
    while (vocab->slots[at & vocab->mask].len)
        at++;
    vocab->slots[at & vocab->mask] = new;
}

enum sg_status sg_vocab_index(struct sg_vocab *vocab, int32_t i, struct sg_error *err)
{
    struct sg_slice text = sg_vocab_get(vocab, i);
    if (!text.len || sg_vocab_find(vocab, text) >= 0)
        return SG_OK;
    if (!vocab->slots || vocab->used > vocab->mask / 2) { /* at most half full */
        uint32_t old_size = vocab->slots ? vocab->mask + 1 : 0, size = old_size ? old_size * 2 : 1024;
        struct sg_vocab_slot *old = vocab->slots, *slots = calloc(size, sizeof *slots);
        if (!slots)
            return sg_fail(err, SG_ENOMEM, "out of memory for an index of %u tokens", size);
        vocab->slots = slots;
        vocab->mask = size - 1;
        for (uint32_t j = 0; j < old_size; j++) {
            if (old[j].len)
                insert(vocab, old[j]);
        }
        free(old);
    }
    insert(vocab, (struct sg_vocab_slot){vocab_head(text.ptr, text.len), (uint32_t)text.len, i});
    vocab->used++;
    return SG_OK;
}

void sg_vocab_clear_index(struct sg_vocab *vocab)
{
    free(vocab->slots);
    vocab->slots = NULL;
    vocab->used = 0;
}
