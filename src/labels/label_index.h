/* Numbers found by what they stand for: open addressing over (hash, number), the things themselves stay where they
 * are. The seed is drawn anew for each table, so that no file can make it slow. */
#ifndef SG_LABELS_LABEL_INDEX_H
#define SG_LABELS_LABEL_INDEX_H

#include "base/buffer.h"

#include <stdint.h>

#define SG_INDEX_NONE UINT32_MAX

struct sg_index_slot {
    uint32_t hash, number; /* number + 1; 0: empty */
};

/* Zero-initialise to start. */
struct sg_index {
    struct sg_index_slot *slots;
    size_t cap, n; /* cap: a power of two */
    uint64_t seed;
};

/* Does `number` stand for `key`? */
typedef bool (*sg_index_same_fn)(const void *context, uint32_t number, const void *key);

uint32_t sg_index_hash(struct sg_index *index, const void *bytes, size_t len);
/* SG_INDEX_NONE when there is none. */
uint32_t sg_index_find(const struct sg_index *index, uint32_t hash, sg_index_same_fn same, const void *context,
                       const void *key);
/* Of a key that is not in it. SG_ENOMEM leaves the index as it was. */
SG_MUST_CHECK enum sg_status sg_index_add(struct sg_index *index, uint32_t hash, uint32_t number,
                                          struct sg_error *err);
void sg_index_free(struct sg_index *index);

#endif
