/* The verdict cache: same key, same verdict. In memory, bounded by bytes, the least recently used goes first. */
#ifndef SG_GUARD_CACHE_H
#define SG_GUARD_CACHE_H

#include "base/file.h"
#include "safeguard/verdict.h"

#include <stdint.h>

struct sg_cache; /* may be used from any thread */

SG_MUST_CHECK enum sg_status sg_cache_create(size_t max_bytes, struct sg_cache **cache_out, struct sg_error *err);
void sg_cache_destroy(struct sg_cache *cache);

/* `key` is a SHA-256 over everything that the verdict depends on. True: *verdict_out is a copy of the verdict that
 * was put there. False also when memory for the copy is short: a cache is never a reason to fail. */
bool sg_cache_get(struct sg_cache *cache, const char key[SG_SHA256_HEX], struct sg_verdict *verdict_out);

/* Keep a copy. Undecided and provisional verdicts are not kept: what could not be decided may be decidable next
 * time. Neither is one that is larger than a sixteenth of the cache. Returns whether it was kept. */
bool sg_cache_put(struct sg_cache *cache, const char key[SG_SHA256_HEX], const struct sg_verdict *verdict);

struct sg_cache_counts {
    uint64_t hits, misses, evicted;
    size_t entries, bytes;
};
void sg_cache_counts(struct sg_cache *cache, struct sg_cache_counts *out);

#endif
