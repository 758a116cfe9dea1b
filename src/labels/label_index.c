#include "labels/label_index.h"

#include <stdlib.h>
#include <sys/random.h>
#include <time.h>

static uint64_t mix(uint64_t h, uint64_t word)
{
    h = (h ^ word) * 0x9e3779b97f4a7c15u;
    return h ^ h >> 29;
}

uint32_t sg_index_hash(struct sg_index *index, const void *bytes, size_t len)
{
    if (index->seed == 0 && getrandom(&index->seed, sizeof index->seed, GRND_NONBLOCK) != sizeof index->seed)
        index->seed = (uint64_t)time(NULL) ^ (uint64_t)(uintptr_t)index;
    index->seed |= 1;
    uint64_t h = mix(index->seed, len);
    const unsigned char *at = bytes;
    for (; len >= 8; at += 8, len -= 8) {
        uint64_t word;
        memcpy(&word, at, 8);
        h = mix(h, word);
    }
    uint64_t word = 0;
    if (len)
        memcpy(&word, at, len);
    h = mix(mix(h, word), index->seed);
    return (uint32_t)(h >> 32);
}

uint32_t sg_index_find(const struct sg_index *index, uint32_t hash, sg_index_same_fn same, const void *context,
                       const void *key)
{
    if (index->cap == 0)
        return SG_INDEX_NONE;
    for (size_t i = hash & (index->cap - 1); index->slots[i].number; i = (i + 1) & (index->cap - 1))
        if (index->slots[i].hash == hash && same(context, index->slots[i].number - 1, key))
            return index->slots[i].number - 1;
    return SG_INDEX_NONE;
}

static void place(struct sg_index_slot *slots, size_t cap, struct sg_index_slot slot)
{
    size_t i = slot.hash & (cap - 1);
    while (slots[i].number)
        i = (i + 1) & (cap - 1);
    slots[i] = slot;
}

enum sg_status sg_index_add(struct sg_index *index, uint32_t hash, uint32_t number, struct sg_error *err)
{
    if (2 * (index->n + 1) > index->cap) {
        size_t cap = index->cap ? 2 * index->cap : 64;
        struct sg_index_slot *slots = calloc(cap, sizeof *slots);
        if (!slots)
            return sg_fail(err, SG_ENOMEM, "out of memory for an index of %zu", cap);
        for (size_t i = 0; i < index->cap; i++)
            if (index->slots[i].number)
                place(slots, cap, index->slots[i]);
        free(index->slots);
        index->slots = slots;
        index->cap = cap;
    }
    place(index->slots, index->cap, (struct sg_index_slot){hash, number + 1});
    index->n++;
    return SG_OK;
}

void sg_index_free(struct sg_index *index)
{
    free(index->slots);
    *index = (struct sg_index){0};
}
