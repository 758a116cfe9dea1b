#include "guard/cache.h"

#include <pthread.h>
#include <stdlib.h>

#define MIN_BUCKETS 64
#define LARGEST_PART 16 /* of the cache that one verdict may take */

struct entry {
    char key[SG_SHA256_HEX];
    struct sg_verdict verdict;
    size_t bytes;
    struct entry *chain;         /* next in the bucket */
    struct entry *newer, *older; /* order of use */
};

struct sg_cache {
    pthread_mutex_t mutex;
    struct entry **buckets;
    size_t n_buckets; /* a power of two */
    struct entry *newest, *oldest;
    size_t max_bytes;
    struct sg_cache_counts counts;
};

enum sg_status sg_cache_create(size_t max_bytes, struct sg_cache **cache_out, struct sg_error *err)
{
    struct sg_cache *cache = calloc(1, sizeof *cache);
    *cache_out = NULL;
    if (cache)
        cache->buckets = calloc(MIN_BUCKETS, sizeof *cache->buckets);
    if (!cache || !cache->buckets || pthread_mutex_init(&cache->mutex, NULL) != 0) {
        if (cache)
            free(cache->buckets);
        free(cache);
        return sg_fail(err, SG_ENOMEM, "verdict cache: out of memory");
    }
    cache->n_buckets = MIN_BUCKETS;
    cache->max_bytes = max_bytes;
    *cache_out = cache;
    return SG_OK;
}

/* The key is a hash already: its first digits choose the bucket. */
static struct entry **bucket_of(const struct sg_cache *cache, const char *key)
{
    uint64_t number = 0;
    for (int i = 0; i < 16; i++) {
        unsigned digit = (unsigned char)key[i];
        number = number << 4 | ((digit & 15) + (digit >= 'A' ? 9 : 0));
    }
    return &cache->buckets[number & (cache->n_buckets - 1)];
}

static struct entry *find(const struct sg_cache *cache, const char *key)
{
    struct entry *entry = *bucket_of(cache, key);
    while (entry && strcmp(entry->key, key) != 0)
        entry = entry->chain;
    return entry;
}

static void unlink_use(struct sg_cache *cache, struct entry *entry)
{
    *(entry->newer ? &entry->newer->older : &cache->newest) = entry->older;
    *(entry->older ? &entry->older->newer : &cache->oldest) = entry->newer;
}

static void link_newest(struct sg_cache *cache, struct entry *entry)
{
    entry->newer = NULL;
    entry->older = cache->newest;
    *(cache->newest ? &cache->newest->newer : &cache->oldest) = entry;
    cache->newest = entry;
}

static void drop(struct sg_cache *cache, struct entry *entry)
{
    struct entry **at = bucket_of(cache, entry->key);
    while (*at != entry)
        at = &(*at)->chain;
    *at = entry->chain;
    unlink_use(cache, entry);
    cache->counts.bytes -= entry->bytes;
    cache->counts.entries--;
    sg_verdict_deinit(&entry->verdict);
    free(entry);
}

/* Twice the buckets; without memory for them the chains grow longer, which is no failure. */
static void grow(struct sg_cache *cache)
{
    struct entry **old = cache->buckets, **buckets = calloc(2 * cache->n_buckets, sizeof(struct entry *));
    if (!buckets)
        return;
    cache->buckets = buckets;
    cache->n_buckets *= 2;
    for (struct entry *entry = cache->newest; entry; entry = entry->older) {
        struct entry **bucket = bucket_of(cache, entry->key);
        entry->chain = *bucket;
        *bucket = entry;
    }
    free(old);
}

void sg_cache_destroy(struct sg_cache *cache)
{
    if (!cache)
        return;
    while (cache->oldest)
        drop(cache, cache->oldest);
    pthread_mutex_destroy(&cache->mutex);
    free(cache->buckets);
    free(cache);
}

bool sg_cache_get(struct sg_cache *cache, const char key[SG_SHA256_HEX], struct sg_verdict *verdict_out)
{
    pthread_mutex_lock(&cache->mutex);
    struct entry *entry = find(cache, key);
    bool hit = entry && sg_verdict_copy(&entry->verdict, verdict_out, NULL, NULL) == SG_OK;
    if (hit) {
        unlink_use(cache, entry);
        link_newest(cache, entry);
    }
    *(hit ? &cache->counts.hits : &cache->counts.misses) += 1;
    pthread_mutex_unlock(&cache->mutex);
    return hit;
}

bool sg_cache_put(struct sg_cache *cache, const char key[SG_SHA256_HEX], const struct sg_verdict *verdict)
{
    if (verdict->decision == SG_UNDECIDED || verdict->provisional)
        return false;
    struct entry *entry = malloc(sizeof *entry);
    size_t bytes = 0;
    if (!entry || sg_verdict_copy(verdict, &entry->verdict, &bytes, NULL) != SG_OK) {
        free(entry);
        return false;
    }
    memcpy(entry->key, key, SG_SHA256_HEX);
    entry->bytes = bytes + sizeof *entry - sizeof entry->verdict;
    if (entry->bytes > cache->max_bytes / LARGEST_PART) {
        sg_verdict_deinit(&entry->verdict);
        free(entry);
        return false;
    }
    pthread_mutex_lock(&cache->mutex);
    struct entry *twin = find(cache, key);
    if (twin)
        drop(cache, twin);
    while (cache->oldest && cache->counts.bytes + entry->bytes > cache->max_bytes) {
        drop(cache, cache->oldest);
        cache->counts.evicted++;
    }
    if (cache->counts.entries >= cache->n_buckets)
        grow(cache);
    struct entry **bucket = bucket_of(cache, key);
    entry->chain = *bucket;
    *bucket = entry;
    link_newest(cache, entry);
    cache->counts.bytes += entry->bytes;
    cache->counts.entries++;
    pthread_mutex_unlock(&cache->mutex);
    return true;
}

void sg_cache_counts(struct sg_cache *cache, struct sg_cache_counts *out)
{
    pthread_mutex_lock(&cache->mutex);
    *out = cache->counts;
    pthread_mutex_unlock(&cache->mutex);
}
