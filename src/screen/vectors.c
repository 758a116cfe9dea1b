/* The file data/word_vectors.bin as part of the program.
 *
 *     "SGWORDS1" | u32 words | u32 dims | char version[16] | f32 scale[dims] | u64 hash[words] | i8
 * vector[words][dims]
 */
#include "screen/vectors.h"

#include "screen/incbin.h"

#include <assert.h>
#include <pthread.h>
#include <string.h>

SG_INCBIN(sg_word_vectors, SG_WORD_VECTORS);

struct head {
    char magic[8];
    uint32_t n_words, n_dims;
    char version[16];
};

static struct sg_vectors table;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void make_table(void)
{
    const struct head *head = (const struct head *)sg_word_vectors_start;
    assert(memcmp(head->magic, "SGWORDS1", 8) == 0);
    assert(head->n_words <= SG_VECTORS_MAX_WORDS && head->n_dims <= SG_VECTORS_MAX_DIMS && head->n_dims % 2 == 0);
    table.n_words = head->n_words;
    table.n_dims = head->n_dims;
    table.version = head->version;
    table.scale = (const float *)(head + 1);
    table.hashes = (const uint64_t *)(table.scale + head->n_dims); /* n_dims is even: aligned */
    table.vectors = (const int8_t *)(table.hashes + head->n_words);
    assert(table.vectors + (size_t)head->n_words * head->n_dims == (const int8_t *)sg_word_vectors_end);
    uint32_t i = 0;
    for (uint32_t top = 0; top < 65536; top++) {
        table.first[top] = (uint16_t)i;
        while (i < table.n_words && table.hashes[i] >> 48 == top)
            i++;
    }
    table.first[65536] = (uint16_t)i;
}

const struct sg_vectors *sg_vectors(void)
{
    pthread_once(&once, make_table);
    return &table;
}
