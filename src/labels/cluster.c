#include "labels/cluster.h"

#include "base/arena.h"
#include "base/utf8.h"

#include <stdlib.h>

#define SHINGLE 5
#define BANDS 20
#define ROWS 4
#define BINS (BANDS * ROWS)
#define SKETCH 64
#define MAX_TEXTS (UINT32_MAX / 2)

struct sketch {
    uint32_t *smallest; /* ascending, different */
    uint32_t n;
    bool whole; /* every shingle of the text is in it */
    uint32_t bands[BANDS];
};

struct sg_cluster {
    struct sg_arena arena;
    struct sketch *sketches;
    uint32_t *parents;
    size_t n, cap;
};

static uint64_t mix(uint64_t h)
{
    h = (h ^ h >> 30) * 0xbf58476d1ce4e5b9u; /* splitmix64 */
    h = (h ^ h >> 27) * 0x94d049bb133111ebu;
    return h ^ h >> 31;
}

enum sg_status sg_cluster_create(struct sg_cluster **cluster_out, struct sg_error *err)
{
    *cluster_out = calloc(1, sizeof **cluster_out);
    return *cluster_out ? SG_OK : sg_fail(err, SG_ENOMEM, "out of memory for clusters");
}

void sg_cluster_destroy(struct sg_cluster *cluster)
{
    if (!cluster)
        return;
    sg_arena_free(&cluster->arena);
    free(cluster->sketches);
    free(cluster->parents);
    free(cluster);
}

/* --- a text → its sketch ----------------------------------------------------------------------------------- */

struct sketching {
    uint32_t window[SHINGLE]; /* the last characters, a ring */
    size_t n_chars;
    bool gap; /* something that is no letter or digit came last */
    uint32_t smallest[SKETCH];
    uint32_t n_smallest;
    bool overflowed;
    uint64_t bins[BINS];
    bool filled[BINS];
};

static void take_shingle(struct sketching *state, size_t n)
{
    uint64_t h = 0x9e3779b97f4a7c15u;
    for (size_t i = 0; i < n; i++)
        h = mix(h ^ state->window[(state->n_chars - n + i) % SHINGLE]);
    size_t bin = (size_t)((h >> 32) * BINS >> 32);
    uint64_t value = mix(h);
    if (!state->filled[bin] || value < state->bins[bin])
        state->bins[bin] = value;
    state->filled[bin] = true;

    uint32_t small = (uint32_t)(value >> 32), at = state->n_smallest;
    if (at == SKETCH && small >= state->smallest[SKETCH - 1]) {
        state->overflowed |= small > state->smallest[SKETCH - 1];
        return;
    }
    while (at > 0 && state->smallest[at - 1] > small)
        at--;
    if (at > 0 && state->smallest[at - 1] == small)
        return;
    state->overflowed |= state->n_smallest == SKETCH;
    uint32_t last = state->n_smallest < SKETCH ? state->n_smallest++ : SKETCH - 1;
    memmove(state->smallest + at + 1, state->smallest + at, (last - at) * sizeof *state->smallest);
    state->smallest[at] = small;
}

static void take_char(struct sketching *state, uint32_t c)
{
    state->window[state->n_chars++ % SHINGLE] = c;
    if (state->n_chars >= SHINGLE)
        take_shingle(state, SHINGLE);
}

static void take_text(struct sketching *state, struct sg_slice text)
{
    while (text.len > 0) {
        unsigned char first = (unsigned char)text.ptr[0];
        int32_t code = first;
        size_t n = first < 0x80 ? 1 : sg_utf8_decode(text, &code);
        text.ptr += n;
        text.len -= n;
        if (code >= 'A' && code <= 'Z')
            code += 'a' - 'A';
        else if (code >= '0' && code <= '9')
            code = '0';
        else if (code < 0x80 && !(code >= 'a' && code <= 'z')) {
            state->gap = true;
            continue;
        }
        if (state->gap && state->n_chars > 0)
            take_char(state, ' ');
        state->gap = false;
        take_char(state, (uint32_t)code);
    }
    if (state->n_chars < SHINGLE)
        take_shingle(state, state->n_chars);
}

/* Bands over the bins; an empty bin takes the value of a full one that its own number leads to. */
static void make_bands(struct sketching *state, uint32_t bands_out[BANDS])
{
    uint64_t values[BINS];
    for (size_t i = 0; i < BINS; i++) {
        size_t from = i;
        for (uint64_t step = 1; !state->filled[from]; step++) /* one bin at least is full */
            from = (size_t)((mix(i << 32 | step) >> 32) * BINS >> 32);
        values[i] = state->bins[from];
    }
    for (size_t b = 0; b < BANDS; b++) {
        uint64_t h = b;
        for (size_t r = 0; r < ROWS; r++)
            h = mix(h ^ values[b * ROWS + r]);
        bands_out[b] = (uint32_t)(h >> 32);
    }
}

enum sg_status sg_cluster_add(struct sg_cluster *cluster, struct sg_slice text, struct sg_error *err)
{
    if (cluster->n == MAX_TEXTS)
        return sg_fail(err, SG_ELIMIT, "more than %u texts", MAX_TEXTS);
    if (cluster->n == cluster->cap) {
        size_t cap = cluster->cap ? 2 * cluster->cap : 256;
        struct sketch *sketches = realloc(cluster->sketches, cap * sizeof *sketches);
        if (sketches)
            cluster->sketches = sketches;
        uint32_t *parents = realloc(cluster->parents, cap * sizeof *parents);
        if (parents)
            cluster->parents = parents;
        if (!sketches || !parents)
            return sg_fail(err, SG_ENOMEM, "out of memory after %zu texts", cluster->n);
        cluster->cap = cap;
    }
    struct sketching state = {0};
    take_text(&state, text);
    struct sketch *sketch = &cluster->sketches[cluster->n];
    sketch->n = state.n_smallest;
    sketch->whole = !state.overflowed;
    sketch->smallest = sg_arena_alloc(&cluster->arena, sketch->n * sizeof *sketch->smallest);
    if (!sketch->smallest)
        return sg_fail(err, SG_ENOMEM, "out of memory after %zu texts", cluster->n);
    memcpy(sketch->smallest, state.smallest, sketch->n * sizeof *sketch->smallest);
    make_bands(&state, sketch->bands);
    cluster->parents[cluster->n] = (uint32_t)cluster->n;
    cluster->n++;
    return SG_OK;
}

/* --- similarity and clusters ------------------------------------------------------------------------------- */

double sg_cluster_similarity(const struct sg_cluster *cluster, uint32_t a, uint32_t b)
{
    const struct sketch *x = &cluster->sketches[a], *y = &cluster->sketches[b];
    bool exact = x->whole && y->whole;
    uint32_t i = 0, k = 0, n_union = 0, n_both = 0;
    /* The smallest hashes of the union are a random sample of it, as far as both sketches reach. */
    while ((i < x->n || k < y->n) && (exact || n_union < SKETCH)) {
        uint32_t left = i < x->n ? x->smallest[i] : UINT32_MAX, right = k < y->n ? y->smallest[k] : UINT32_MAX;
        n_both += left == right && i < x->n && k < y->n;
        i += left <= right && i < x->n;
        k += right <= left && k < y->n;
        n_union++;
    }
    return n_union ? (double)n_both / n_union : 1;
}

uint32_t sg_cluster_first(struct sg_cluster *cluster, uint32_t i)
{
    while (cluster->parents[i] != i)
        i = cluster->parents[i] = cluster->parents[cluster->parents[i]];
    return i;
}

void sg_cluster_join(struct sg_cluster *cluster, uint32_t a, uint32_t b)
{
    a = sg_cluster_first(cluster, a);
    b = sg_cluster_first(cluster, b);
    if (a < b) /* the first text leads: slower than by rank in theory only */
        cluster->parents[b] = a;
    else
        cluster->parents[a] = b;
}

static void compare(struct sg_cluster *cluster, uint32_t a, uint32_t b)
{
    if (sg_cluster_first(cluster, a) != sg_cluster_first(cluster, b) &&
        sg_cluster_similarity(cluster, a, b) >= SG_CLUSTER_SIMILARITY)
        sg_cluster_join(cluster, a, b);
}

static int by_value(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

/* Of those that share a band each is compared with the first and with the one before it, so that a thousand copies
 * cost a thousand comparisons and not half a million. */
enum sg_status sg_cluster_run(struct sg_cluster *cluster, struct sg_error *err)
{
    uint64_t *keys = malloc((cluster->n + 1) * sizeof *keys);
    if (!keys)
        return sg_fail(err, SG_ENOMEM, "out of memory for %zu texts", cluster->n);
    for (size_t band = 0; band < BANDS; band++) {
        for (size_t i = 0; i < cluster->n; i++)
            keys[i] = (uint64_t)cluster->sketches[i].bands[band] << 32 | i;
        qsort(keys, cluster->n, sizeof *keys, by_value);
        size_t start = 0;
        for (size_t i = 1; i < cluster->n; i++) {
            if (keys[i] >> 32 != keys[start] >> 32) {
                start = i;
                continue;
            }
            compare(cluster, (uint32_t)keys[start], (uint32_t)keys[i]);
            if (i - 1 > start)
                compare(cluster, (uint32_t)keys[i - 1], (uint32_t)keys[i]);
        }
    }
    free(keys);
    return SG_OK;
}
