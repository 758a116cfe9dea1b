/* Two ways to the same result. Short pieces: an array of symbols whose smallest rank is searched at every step,
 * quadratic but without any overhead. Long pieces: a linked list of symbols and a heap of (rank, position), so that
 * hostile text (a megabyte of one letter is one piece) costs n log n.
 *
 * Neither assumes that merges only make pairs of higher rank: that holds for trained vocabularies, not for every
 * file. */
#include "text/bpe.h"

#include <stdlib.h>

#define SHORT_MAX 64
#define NO_RANK UINT32_MAX

void sg_bpe_free(struct sg_bpe *bpe)
{
    sg_buffer_free(&bpe->merged);
    free(bpe->pairs);
    bpe->pairs = NULL;
}

/* --- the table of pairs --------------------------------------------------------------------------------- */

static uint64_t pair_key(int32_t left, int32_t right)
{
    return (uint64_t)left << 21 | (uint64_t)right;
}

static uint32_t pair_hash(uint64_t key)
{
    return (uint32_t)(key * 0x9E3779B97F4A7C15u >> 32);
}

/* Slots hold key << 22 | (rank + 1), so that none is 0. */
static void insert(struct sg_bpe *bpe, uint64_t slot)
{
    uint32_t at = pair_hash(slot >> 22);
    while (bpe->pairs[at & bpe->mask])
        at++;
    bpe->pairs[at & bpe->mask] = slot;
}

static uint32_t rank_of(const struct sg_bpe *bpe, int32_t left, int32_t right)
{
    if ((left | right) < 0 || !bpe->pairs)
        return NO_RANK;
    uint64_t key = pair_key(left, right);
    for (uint32_t at = pair_hash(key);; at++) {
        uint64_t slot = bpe->pairs[at & bpe->mask];
        if (!slot)
            return NO_RANK;
        if (slot >> 22 == key)
            return (uint32_t)(slot & SG_MERGES_MAX) - 1;
    }
}

static int32_t merged_id(const struct sg_bpe *bpe, uint32_t rank)
{
    return ((const int32_t *)(const void *)bpe->merged.data)[rank];
}

enum sg_status sg_bpe_add_rank(struct sg_bpe *bpe, int32_t id, struct sg_error *err)
{
    if (bpe->merged.len / sizeof id >= SG_MERGES_MAX)
        return sg_fail(err, SG_ELIMIT, "more than %d merges", SG_MERGES_MAX);
    sg_buffer_append(&bpe->merged, &id, sizeof id);
    return sg_buffer_status(&bpe->merged, err);
}

enum sg_status sg_bpe_add_pair(struct sg_bpe *bpe, int32_t left, int32_t right, struct sg_error *err)
{
    if (rank_of(bpe, left, right) != NO_RANK)
        return SG_OK;
    if (!bpe->pairs || bpe->used > bpe->mask / 2) {
        uint32_t old_size = bpe->pairs ? bpe->mask + 1 : 0, size = old_size ? old_size * 2 : 1024;
        uint64_t *old = bpe->pairs, *pairs = calloc(size, sizeof *pairs);
        if (!pairs)
            return sg_fail(err, SG_ENOMEM, "out of memory for a table of %u merges", size);
        bpe->pairs = pairs;
        bpe->mask = size - 1;
        for (uint32_t i = 0; i < old_size; i++) {
            if (old[i])
                insert(bpe, old[i]);
        }
        free(old);
    }
    insert(bpe, pair_key(left, right) << 22 | bpe->merged.len / sizeof(int32_t)); /* rank + 1 */
    bpe->used++;
    return SG_OK;
}

/* --- short pieces --------------------------------------------------------------------------------------- */

static void encode_short(const struct sg_bpe *bpe, struct sg_slice piece, struct sg_tokens *out)
{
    int32_t ids[SHORT_MAX];
    uint32_t ranks[SHORT_MAX]; /* of the pair (i, i + 1) */
    int n = (int)piece.len;
    for (int i = 0; i < n; i++)
        ids[i] = bpe->byte_ids[(unsigned char)piece.ptr[i]];
    for (int i = 0; i + 1 < n; i++)
        ranks[i] = rank_of(bpe, ids[i], ids[i + 1]);
    for (;;) {
        uint32_t best = NO_RANK;
        int at = 0;
        for (int i = 0; i + 1 < n; i++) {
            if (ranks[i] < best) {
                best = ranks[i];
                at = i;
            }
        }
        if (best == NO_RANK)
            break;
        ids[at] = merged_id(bpe, best);
        n--;
        memmove(ids + at + 1, ids + at + 2, (size_t)(n - at - 1) * sizeof *ids);
        if (at + 1 < n) {
            memmove(ranks + at + 1, ranks + at + 2, (size_t)(n - at - 2) * sizeof *ranks);
            ranks[at] = rank_of(bpe, ids[at], ids[at + 1]);
        }
        if (at > 0)
            ranks[at - 1] = rank_of(bpe, ids[at - 1], ids[at]);
    }
    for (int i = 0; i < n; i++) {
        if (ids[i] >= 0)
            sg_tokens_push(out, ids[i]);
    }
}

/* --- long pieces ---------------------------------------------------------------------------------------- */

struct symbol {
    int32_t id;
    uint32_t rank; /* of the pair of this symbol and the next; NO_RANK too once merged into the one before */
    uint32_t prev, next;
};

/* Smallest first; rank << 32 | position, so that equal ranks come from left to right. */
struct heap {
    uint64_t *items;
    size_t n;
};

static void sift_down(struct heap *heap, size_t at, uint64_t item)
{
    for (size_t child; (child = 4 * at + 1) < heap->n; at = child) {
        size_t last = child + 4 < heap->n ? child + 4 : heap->n;
        for (size_t i = child + 1; i < last; i++) {
            if (heap->items[i] < heap->items[child])
                child = i;
        }
        if (heap->items[child] >= item)
            break;
        heap->items[at] = heap->items[child];
    }
    heap->items[at] = item;
}

static void heap_push(struct heap *heap, uint64_t item)
{
    size_t at = heap->n++;
    for (; at > 0 && heap->items[(at - 1) / 4] > item; at = (at - 1) / 4)
        heap->items[at] = heap->items[(at - 1) / 4];
    heap->items[at] = item;
}

static uint64_t heap_pop(struct heap *heap)
{
    uint64_t top = heap->items[0];
    heap->n--;
    if (heap->n)
        sift_down(heap, 0, heap->items[heap->n]);
    return top;
}

static void rerank(const struct sg_bpe *bpe, struct symbol *symbols, uint32_t n, uint32_t at, struct heap *heap)
{
    struct symbol *symbol = &symbols[at];
    symbol->rank = symbol->next < n ? rank_of(bpe, symbol->id, symbols[symbol->next].id) : NO_RANK;
    if (symbol->rank != NO_RANK)
        heap_push(heap, (uint64_t)symbol->rank << 32 | at);
}

static void encode_long(const struct sg_bpe *bpe, struct sg_slice piece, struct sg_tokens *out)
{
    uint32_t n = (uint32_t)piece.len;
    struct symbol *symbols = malloc(n * sizeof *symbols);
    /* At most n - 1 pairs at first; a merge takes one item out and puts at most two in, and there are less than n. */
    struct heap heap = {malloc(2 * (size_t)n * sizeof(uint64_t)), 0};
    if (piece.len >= UINT32_MAX || !symbols || !heap.items) {
        out->failed = true;
        goto done;
    }
    for (uint32_t i = 0; i < n; i++)
        symbols[i] = (struct symbol){bpe->byte_ids[(unsigned char)piece.ptr[i]], NO_RANK, i - 1, i + 1};
    for (uint32_t i = 0; i + 1 < n; i++) {
        uint32_t rank = symbols[i].rank = rank_of(bpe, symbols[i].id, symbols[i + 1].id);
        if (rank != NO_RANK)
            heap.items[heap.n++] = (uint64_t)rank << 32 | i;
    }
    for (size_t i = heap.n / 4 + 1; i-- > 0 && heap.n;)
        sift_down(&heap, i, heap.items[i]);

    while (heap.n) {
        uint64_t item = heap_pop(&heap);
        uint32_t rank = (uint32_t)(item >> 32), at = (uint32_t)item;
        struct symbol *symbol = &symbols[at];
        if (symbol->rank != rank)
            continue; /* the pair has changed since it was put in */
        symbols[symbol->next].rank = NO_RANK;
        symbol->id = merged_id(bpe, rank);
        symbol->next = symbols[symbol->next].next;
        if (symbol->next < n)
            symbols[symbol->next].prev = at;
        rerank(bpe, symbols, n, at, &heap);
        if (at > 0)
            rerank(bpe, symbols, n, symbol->prev, &heap);
    }
    for (uint32_t i = 0; i < n; i = symbols[i].next) {
        if (symbols[i].id >= 0)
            sg_tokens_push(out, symbols[i].id);
    }
done:
    free(heap.items);
    free(symbols);
}

void sg_bpe_encode(const struct sg_bpe *bpe, struct sg_slice piece, struct sg_tokens *out)
{
    if (piece.len <= SHORT_MAX)
        encode_short(bpe, piece, out);
    else
        encode_long(bpe, piece, out);
}
