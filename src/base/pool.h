/* A thread pool for loops: all threads, the caller's among them, share the items of one loop and meet at its end.
 *
 * Items are handed out one by one from an atomic counter, so that a slow core does not stall the others. Which
 * thread takes which item must not matter to the result. Between loops the workers spin for a short while
 * (decoding runs some 150 loops for each token) and then sleep. One loop at a time: calls to sg_pool_run
 * from several threads must be serialised by their callers. */
#ifndef SG_BASE_POOL_H
#define SG_BASE_POOL_H

#include "safeguard/status.h"

struct sg_pool;

/* `thread` is 0 … threads - 1: index of per-thread scratch. */
typedef void (*sg_pool_fn)(void *context, int item, int thread);

/* threads 0: one per processor that this process may use. */
SG_MUST_CHECK enum sg_status sg_pool_create(int threads, struct sg_pool **pool_out, struct sg_error *err);
void sg_pool_destroy(struct sg_pool *pool);
int sg_pool_threads(const struct sg_pool *pool);

/* Call fn for items 0 … n_items - 1 and return when all are done. */
void sg_pool_run(struct sg_pool *pool, sg_pool_fn fn, void *context, int n_items);

#endif
