#include "model/kv.h"

#include <stdlib.h>
#include <string.h>

#define POSITIONS 32

void sg_kv_pool_init(struct sg_kv_pool *pool, int n_full, int n_windowed, int n_kv_heads, int head_dim, int window)
{
    *pool = (struct sg_kv_pool){
        .n_layers = {n_full, n_windowed}, .n_kv_heads = n_kv_heads, .head_dim = head_dim, .window = window};
}

void sg_kv_pool_deinit(struct sg_kv_pool *pool)
{
    for (int class = 0; class < SG_KV_CLASSES; class ++)
        while (pool->free[class]) {
            struct sg_kv_block *block = pool->free[class];
            pool->free[class] = block->next_free;
            free(block);
        }
    memset(pool, 0, sizeof *pool);
}

static size_t block_bytes(const struct sg_kv_pool *pool, int class)
{
    return sizeof(struct sg_kv_block) + (size_t)pool->n_layers[class] * 2 * (size_t)pool->n_kv_heads *
                                            (size_t)pool->head_dim * POSITIONS * sizeof(float);
}

static struct sg_kv_block *take(struct sg_kv_pool *pool, int class)
{
    struct sg_kv_block *block = pool->free[class];
    if (block) {
        pool->free[class] = block->next_free;
    } else {
        block = calloc(1, block_bytes(pool, class)); /* zeroed: kernels read whole blocks */
        if (!block)
            return NULL;
        pool->n_blocks++;
    }
    block->n_users = 1;
    return block;
}

static void drop(struct sg_kv_pool *pool, int class, struct sg_kv_block **slot)
{
    struct sg_kv_block *block = *slot;
    *slot = NULL;
    if (block && --block->n_users == 0) {
        block->next_free = pool->free[class];
        pool->free[class] = block;
    }
}

enum sg_status sg_kv_init(struct sg_kv *kv, struct sg_kv_pool *pool, int max_positions, struct sg_error *err)
{
    *kv = (struct sg_kv){.pool = pool, .capacity = (max_positions + POSITIONS - 1) / POSITIONS};
    for (int class = 0; class < SG_KV_CLASSES; class ++) {
        kv->blocks[class] = calloc((size_t)kv->capacity, sizeof *kv->blocks[class]);
        if (!kv->blocks[class]) {
            sg_kv_deinit(kv);
            return sg_fail(err, SG_ENOMEM, "out of memory for a KV table of %d positions", max_positions);
        }
    }
    return SG_OK;
}

void sg_kv_deinit(struct sg_kv *kv)
{
    for (int class = 0; class < SG_KV_CLASSES; class ++) {
        for (int b = 0; kv->blocks[class] && b < kv->capacity; b++)
            drop(kv->pool, class, &kv->blocks[class][b]);
        free(kv->blocks[class]);
    }
    *kv = (struct sg_kv){0};
}

/* A block of our own with the contents of `block`. */
static struct sg_kv_block *copy(struct sg_kv_pool *pool, int class, const struct sg_kv_block *block)
{
    struct sg_kv_block *own = take(pool, class);
    if (own)
        memcpy(own->data, block->data, block_bytes(pool, class) - sizeof *block);
    return own;
}

enum sg_status sg_kv_reserve(struct sg_kv *kv, int n, struct sg_error *err)
{
    int end = kv->n_positions + n, last = (end + POSITIONS - 1) / POSITIONS;
    if (last > kv->capacity)
        return sg_fail(err, SG_ELIMIT, "context: got %d positions, expected at most %d", end,
                       kv->capacity * POSITIONS);
    for (int class = 0; class < SG_KV_CLASSES; class ++) {
        if (!kv->pool->n_layers[class])
            continue;
        for (int b = kv->n_positions / POSITIONS; b < last; b++) {
            struct sg_kv_block **slot = &kv->blocks[class][b], *own = *slot;
            if (!own)
                own = take(kv->pool, class);
            else if (own->n_users > 1) /* rewound into a shared block, which others still read */
                own = copy(kv->pool, class, own);
            if (!own)
                return sg_fail(err, SG_ENOMEM, "out of memory for the KV block of positions %d to %d", b * POSITIONS,
                               (b + 1) * POSITIONS - 1);
            if (own != *slot)
                drop(kv->pool, class, slot);
            *slot = own;
        }
    }
    return SG_OK;
}

void sg_kv_advance(struct sg_kv *kv, int n, int slack)
{
    kv->n_positions += n;
    int oldest = kv->n_positions - slack - kv->pool->window + 1; /* first position that the window still sees */
    for (int b = oldest / POSITIONS - 1; b >= 0 && kv->blocks[SG_KV_WINDOWED][b]; b--)
        drop(kv->pool, SG_KV_WINDOWED, &kv->blocks[SG_KV_WINDOWED][b]);
}

enum sg_status sg_kv_rewind(struct sg_kv *kv, int n, struct sg_error *err)
{
    int oldest = n - kv->pool->window + 1;
    int needed = oldest > 0 ? oldest / POSITIONS : 0;
    if (n > kv->n_positions || n < 0 ||
        (kv->pool->n_layers[SG_KV_WINDOWED] && n > 0 && !kv->blocks[SG_KV_WINDOWED][needed]))
        return sg_fail(err, SG_EINVALID, "rewind: got position %d, of %d filled; the window's blocks are gone", n,
                       kv->n_positions);
    for (int class = 0; class < SG_KV_CLASSES; class ++)
        for (int b = (n + POSITIONS - 1) / POSITIONS; b < kv->capacity; b++)
            drop(kv->pool, class, &kv->blocks[class][b]);
    kv->n_positions = n;
    return SG_OK;
}

enum sg_status sg_kv_fork(struct sg_kv *kv, const struct sg_kv *from, struct sg_error *err)
{
    int n = from->n_positions, whole = n / POSITIONS, used = (n + POSITIONS - 1) / POSITIONS;
    if (used > kv->capacity)
        return sg_fail(err, SG_ELIMIT, "context: a shared prefix of %d positions, expected at most %d", n,
                       kv->capacity * POSITIONS);
    for (int class = 0; class < SG_KV_CLASSES; class ++)
        for (int b = 0; b < used; b++) {
            struct sg_kv_block *block = from->blocks[class][b];
            if (!block)
                continue;
            if (b < whole) {
                block->n_users++;
                kv->blocks[class][b] = block;
                continue;
            }
            kv->blocks[class][b] = copy(kv->pool, class, block);
            if (!kv->blocks[class][b])
                return sg_fail(err, SG_ENOMEM, "out of memory for a copy of a KV block");
        }
    kv->n_positions = n;
    return SG_OK;
}
