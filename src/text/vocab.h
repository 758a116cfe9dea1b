/* A numbered list of byte strings, and a hash table from bytes to number for those that were indexed. Holds the
 * tokens by id, and apart from them the names of the special tokens. */
#ifndef SG_TEXT_VOCAB_H
#define SG_TEXT_VOCAB_H

#include "base/buffer.h"

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "vocab_head packs bytes in little-endian order");

/* A slot holds the first 8 bytes of its string itself: most pieces of real text are found without touching the
 * string. len 0: free (the empty string is never indexed). */
struct sg_vocab_slot {
    uint64_t head;
    uint32_t len;
    int32_t index;
};

/* Zero-initialise. */
struct sg_vocab {
    struct sg_buffer bytes;
    struct sg_buffer ends; /* uint32_t: where string i ends in bytes */
    int32_t n;
    struct sg_vocab_slot *slots; /* mask + 1, a power of two; NULL until something is indexed */
    uint32_t mask, used;
};

void sg_vocab_free(struct sg_vocab *vocab);

/* Append a string that gets number n. SG_ELIMIT beyond 2 GiB of bytes. */
SG_MUST_CHECK enum sg_status sg_vocab_push(struct sg_vocab *vocab, struct sg_slice text, struct sg_error *err);

/* Make string i findable; of equal strings the one indexed first stays. */
SG_MUST_CHECK enum sg_status sg_vocab_index(struct sg_vocab *vocab, int32_t i, struct sg_error *err);

/* Nothing is findable until indexed again. */
void sg_vocab_clear_index(struct sg_vocab *vocab);

static inline struct sg_slice sg_vocab_get(const struct sg_vocab *vocab, int32_t i)
{
    const uint32_t *ends = (const uint32_t *)(const void *)vocab->ends.data;
    uint32_t begin = i ? ends[i - 1] : 0;
    return (struct sg_slice){vocab->bytes.data + begin, ends[i] - begin};
}

/* Up to 8 leading bytes as a number: equal for strings of one length up to 8 only if they are equal. */
static inline uint64_t vocab_head(const char *p, size_t len)
{
    uint64_t head;
    uint32_t low, high;
    if (len >= 8) {
        memcpy(&head, p, 8);
        return head;
    }
    if (len >= 4) {
        memcpy(&low, p, 4);
        memcpy(&high, p + len - 4, 4);
        return low | (uint64_t)high << 8 * (len - 4);
    }
    return (uint64_t)(unsigned char)p[0] | (uint64_t)(unsigned char)p[len / 2] << 8 * (len / 2) |
           (uint64_t)(unsigned char)p[len - 1] << 8 * (len - 1);
}

static inline uint32_t vocab_hash(const char *p, size_t len, uint64_t head)
{
    const uint64_t k = 0x9E3779B97F4A7C15u;
    uint64_t hash = head ^ len;
    hash = (hash ^ hash >> 32) * k;
    for (size_t at = 8; at < len; at += 8) {
        size_t left = len - at;
        hash = (hash ^ hash >> 32 ^ vocab_head(p + at, left < 8 ? left : 8)) * k;
    }
    return (uint32_t)(hash >> 32);
}

/* Number of an indexed string, -1 when there is none. */
static inline int32_t sg_vocab_find(const struct sg_vocab *vocab, struct sg_slice text)
{
    if (!text.len || !vocab->slots)
        return -1;
    uint64_t head = vocab_head(text.ptr, text.len);
    for (uint32_t at = vocab_hash(text.ptr, text.len, head);; at++) {
        const struct sg_vocab_slot *slot = &vocab->slots[at & vocab->mask];
        if (!slot->len)
            return -1;
        if (slot->head == head && slot->len == text.len &&
            (text.len <= 8 || memcmp(sg_vocab_get(vocab, slot->index).ptr, text.ptr, text.len) == 0))
            return slot->index;
    }
}

#endif
