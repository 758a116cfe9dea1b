/* The file data/prior_heads.bin as part of the program.
 *
 *     "SGHEADS1" | u32 bucket bits, heads, buckets, 0 | char version[16] | f32 scale[heads] | u32 bucket[buckets] |
 *     i8 weight[buckets][heads]
 */
#include "screen/prior.h"

#include "screen/incbin.h"

#include <assert.h>
#include <pthread.h>
#include <string.h>

SG_INCBIN(sg_prior_heads, SG_PRIOR_HEADS);

struct head {
    char magic[8];
    uint32_t bucket_bits, n_heads, n_buckets, zero;
    char version[16];
};

static struct sg_prior table;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void make_table(void)
{
    const struct head *head = (const struct head *)sg_prior_heads_start;
    assert(memcmp(head->magic, "SGHEADS1", 8) == 0 && head->n_heads <= SG_PRIOR_MAX_HEADS);
    table = (struct sg_prior){
        .n_heads = head->n_heads,
        .n_buckets = head->n_buckets,
        .bucket_bits = (int)head->bucket_bits,
        .version = head->version,
        .scale = (const float *)(head + 1),
    };
    table.buckets = (const uint32_t *)(table.scale + table.n_heads);
    table.weights = (const int8_t *)(table.buckets + table.n_buckets);
    assert(table.weights + (size_t)table.n_buckets * table.n_heads == (const int8_t *)sg_prior_heads_end);
}

const struct sg_prior *sg_prior(void)
{
    pthread_once(&once, make_table);
    return &table;
}
