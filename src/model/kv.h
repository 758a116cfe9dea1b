/* Keys and values of sequences, in blocks of 32 positions that sequences can share.
 *
 * Layers fall into two classes, full and windowed, with a pool of blocks each: a block of a class holds 32 positions
 * of all its layers. A windowed layer needs only the last window - 1 positions, so old blocks of that class are
 * given back. Forking shares all full blocks and copies the last, partly filled one. */
#ifndef SG_MODEL_KV_H
#define SG_MODEL_KV_H

#include "safeguard/status.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum sg_kv_class { SG_KV_FULL, SG_KV_WINDOWED, SG_KV_CLASSES };

/* One class's 32 positions: for each of its layers
 *   keys   [n_kv_heads][head_dim][32] f32, then
 *   values [n_kv_heads][32][head_dim] f32 */
struct sg_kv_block {
    int n_users;
    struct sg_kv_block *next_free;
    float data[];
};

struct sg_kv_pool {
    int n_layers[SG_KV_CLASSES];
    int n_kv_heads, head_dim, window;
    struct sg_kv_block *free[SG_KV_CLASSES];
    size_t n_blocks; /* allocated, in use or free */
};

struct sg_kv {
    struct sg_kv_pool *pool;
    int n_positions;                            /* filled */
    int capacity;                               /* blocks in each table */
    struct sg_kv_block **blocks[SG_KV_CLASSES]; /* by position / 32; NULL where given back or not yet there */
};

void sg_kv_pool_init(struct sg_kv_pool *pool, int n_full, int n_windowed, int n_kv_heads, int head_dim, int window);
void sg_kv_pool_deinit(struct sg_kv_pool *pool); /* all sequences must be gone */

SG_MUST_CHECK enum sg_status sg_kv_init(struct sg_kv *kv, struct sg_kv_pool *pool, int max_positions,
                                        struct sg_error *err);
void sg_kv_deinit(struct sg_kv *kv);

/* Make room for n more positions (own, unshared blocks). On failure the cache is as before. */
SG_MUST_CHECK enum sg_status sg_kv_reserve(struct sg_kv *kv, int n, struct sg_error *err);

/* Count n more positions as filled and give back windowed blocks that no later position needs, keeping `slack`
 * positions so that the sequence may be rewound by as many. */
void sg_kv_advance(struct sg_kv *kv, int n, int slack);

/* Forget all from position n on. Going back further than the slack of a windowed pool is SG_EINVALID. */
SG_MUST_CHECK enum sg_status sg_kv_rewind(struct sg_kv *kv, int n, struct sg_error *err);

/* Start `kv` (empty, same pool) as a copy of the first n positions of `from`, n = from->n_positions. */
SG_MUST_CHECK enum sg_status sg_kv_fork(struct sg_kv *kv, const struct sg_kv *from, struct sg_error *err);

/* Keys or values of a layer (`index` counts within its class) and head in a block. */
static inline float *sg_kv_keys(const struct sg_kv_pool *pool, struct sg_kv_block *block, int index, int head)
{
    size_t head_size = (size_t)pool->head_dim * 32;
    return block->data + ((size_t)index * 2 * (size_t)pool->n_kv_heads + (size_t)head) * head_size;
}
static inline float *sg_kv_values(const struct sg_kv_pool *pool, struct sg_kv_block *block, int index, int head)
{
    return sg_kv_keys(pool, block, index, pool->n_kv_heads + head);
}

#endif
