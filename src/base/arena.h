/* Memory that is given back all at once: strings and records of a file that stay until it is closed. */
#ifndef SG_BASE_ARENA_H
#define SG_BASE_ARENA_H

#include "base/buffer.h"

struct sg_arena_block;

/* Zero-initialise to start. */
struct sg_arena {
    struct sg_arena_block *newest;
    size_t used, cap; /* of the newest block */
    size_t total;     /* bytes taken from the system */
};

/* Not initialised, aligned for any type, valid until sg_arena_free; NULL when memory is short. */
void *sg_arena_alloc(struct sg_arena *arena, size_t size);

/* A copy with a NUL behind it; NULL when memory is short. */
char *sg_arena_copy(struct sg_arena *arena, struct sg_slice text);

void sg_arena_free(struct sg_arena *arena);

#endif
