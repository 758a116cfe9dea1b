#include "base/arena.h"

#include <stdlib.h>

#define BLOCK ((size_t)1 << 16)
#define ALIGN _Alignof(max_align_t)

struct sg_arena_block {
    struct sg_arena_block *older;
    _Alignas(max_align_t) unsigned char bytes[];
};

void *sg_arena_alloc(struct sg_arena *arena, size_t size)
{
    size_t start = (arena->used + ALIGN - 1) & ~(ALIGN - 1);
    if (!arena->newest || start > arena->cap || size > arena->cap - start) {
        size_t cap = size > BLOCK ? size : BLOCK;
        if (cap > SIZE_MAX / 2)
            return NULL;
        struct sg_arena_block *block = malloc(sizeof *block + cap);
        if (!block)
            return NULL;
        block->older = arena->newest;
        arena->newest = block;
        arena->cap = cap;
        arena->total += sizeof *block + cap;
        start = 0;
    }
    arena->used = start + size;
    return arena->newest->bytes + start;
}

char *sg_arena_copy(struct sg_arena *arena, struct sg_slice text)
{
    /* Strings need no alignment: they stand close together where the block has room. */
    char *copy;
    if (arena->newest && arena->used <= arena->cap && text.len < arena->cap - arena->used) {
        copy = (char *)arena->newest->bytes + arena->used;
        arena->used += text.len + 1;
    } else {
        copy = sg_arena_alloc(arena, text.len + 1);
    }
    if (!copy)
        return NULL;
    if (text.len)
        memcpy(copy, text.ptr, text.len);
    copy[text.len] = '\0';
    return copy;
}

void sg_arena_free(struct sg_arena *arena)
{
    while (arena->newest) {
        struct sg_arena_block *older = arena->newest->older;
        free(arena->newest);
        arena->newest = older;
    }
    *arena = (struct sg_arena){0};
}
