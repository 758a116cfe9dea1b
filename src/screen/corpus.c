/* Counting: which n-grams each training text has, in how many texts each occurs, and the rows made of both. */
#include "screen/corpus.h"

#include <stdlib.h>

/* An n-gram of one text. */
struct entry {
    uint32_t key; /* kind << SG_BUCKET_BITS_MAX | bucket */
    uint32_t count;
};

struct counting {
    struct sg_corpus *corpus;
    uint32_t *counts; /* [SG_N_KINDS << SG_BUCKET_BITS_MAX] of the text at hand, 0 between texts */
    uint32_t *df;     /* [buckets] texts that have it */
    uint32_t *tri_df; /* the same of 3-grams alone */
    struct entry *entries;
    size_t n, cap;
    size_t *starts; /* [n_texts + 1] in entries */
    bool failed;
};

static uint32_t bucket_of(uint32_t key)
{
    return key & ((1u << SG_BUCKET_BITS_MAX) - 1);
}

static enum sg_feature_kind kind_of(uint32_t key)
{
    return key >> SG_BUCKET_BITS_MAX;
}

/* --- texts ----------------------------------------------------------------------------------------------------- */

static int by_address(const void *a, const void *b)
{
    const struct sg_slice *x = a, *y = b;
    if (x->ptr != y->ptr)
        return (uintptr_t)x->ptr < (uintptr_t)y->ptr ? -1 : 1;
    return x->len < y->len ? -1 : x->len > y->len;
}

static enum sg_status collect_texts(const struct sg_screen_category *categories, size_t n_categories,
                                    struct sg_corpus *corpus, struct sg_error *err)
{
    size_t total = 0, n = 0;
    for (size_t c = 0; c < n_categories; c++)
        total += categories[c].n_examples;
    corpus->texts = malloc((total ? total : 1) * sizeof *corpus->texts);
    if (!corpus->texts)
        return sg_fail(err, SG_ENOMEM, "out of memory for %zu examples", total);
    for (size_t c = 0; c < n_categories; c++)
        for (size_t i = 0; i < categories[c].n_examples; i++)
            corpus->texts[n++] =
                (struct sg_slice){categories[c].examples[i].text, categories[c].examples[i].text_len};
    qsort(corpus->texts, n, sizeof *corpus->texts, by_address);
    for (size_t i = 0; i < n; i++)
        if (i == 0 || by_address(corpus->texts + i, corpus->texts + corpus->n_texts - 1) != 0)
            corpus->texts[corpus->n_texts++] = corpus->texts[i];
    return SG_OK;
}

size_t sg_corpus_row(const struct sg_corpus *corpus, const struct sg_screen_example *example)
{
    struct sg_slice key = {example->text, example->text_len};
    const struct sg_slice *found = bsearch(&key, corpus->texts, corpus->n_texts, sizeof key, by_address);
    return (size_t)(found - corpus->texts);
}

/* --- counting -------------------------------------------------------------------------------------------------- */

static void count_unit(void *context, const struct sg_unit *unit)
{
    struct counting *counting = context;
    for (int kind = 0; kind < SG_N_KINDS && !counting->failed; kind++)
        for (int i = 0; i < unit->n[kind]; i++) {
            uint32_t key = (uint32_t)kind << SG_BUCKET_BITS_MAX | unit->buckets[kind][i];
            if (counting->counts[key]++ > 0)
                continue;
            if (counting->n == counting->cap) {
                size_t cap = counting->cap ? counting->cap * 2 : 1 << 16;
                struct entry *grown = realloc(counting->entries, cap * sizeof *grown);
                if (!grown) {
                    counting->failed = true;
                    return;
                }
                counting->entries = grown;
                counting->cap = cap;
            }
            counting->entries[counting->n++].key = key;
        }
}

static enum sg_status count_texts(struct counting *counting, struct sg_error *err)
{
    struct sg_corpus *corpus = counting->corpus;
    struct sg_normal normal = {0};
    enum sg_status status = SG_OK;
    for (size_t t = 0; t < corpus->n_texts && status == SG_OK; t++) {
        counting->starts[t] = counting->n;
        status = sg_normalise(corpus->texts[t], false, &normal, err);
        if (status != SG_OK)
            break;
        const struct sg_buffer *folded = &normal.readings[SG_READING_FOLDED];
        sg_features((struct sg_slice){folded->data, folded->len}, corpus->bucket_bits, false, count_unit, counting);
        if (counting->failed)
            status = sg_fail(err, SG_ENOMEM, "out of memory for the features of %zu texts", corpus->n_texts);
        for (size_t i = counting->starts[t]; i < counting->n; i++) {
            struct entry *entry = counting->entries + i;
            entry->count = counting->counts[entry->key];
            counting->counts[entry->key] = 0;
            counting->df[bucket_of(entry->key)]++;
            counting->tri_df[bucket_of(entry->key)] += kind_of(entry->key) == SG_TRIGRAMS;
        }
    }
    counting->starts[corpus->n_texts] = counting->n;
    sg_normal_deinit(&normal);
    return status;
}

/* --- what is made of the counts -------------------------------------------------------------------------------- */

static void make_idf(struct sg_corpus *corpus, const struct counting *counting)
{
    size_t buckets = (size_t)1 << corpus->bucket_bits;
    double n = (double)corpus->n_texts, highest = log((1 + n) / 2) + 1;
    for (size_t b = 0; b < buckets; b++) {
        double df = (double)counting->df[b];
        if (df == 0)
            continue;
        double idf = log((1 + n) / (1 + (df < n ? df : n))) + 1;
        corpus->idf[b] = (uint8_t)fmax(1, round(255 * idf / highest));
        if (counting->tri_df[b])
            corpus->seen[b >> 3] |= (uint8_t)(1 << (b & 7));
    }
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

/* Which share of 3-grams that no other text has is still ordinary: all but one text in 200 have less. */
static enum sg_status make_unseen_share(struct sg_corpus *corpus, const struct counting *counting,
                                        struct sg_error *err)
{
    double *shares = malloc(corpus->n_texts * sizeof *shares);
    if (!shares)
        return sg_fail(err, SG_ENOMEM, "out of memory for %zu numbers", corpus->n_texts);
    for (size_t t = 0; t < corpus->n_texts; t++) {
        uint32_t n = 0, n_unseen = 0;
        for (size_t i = counting->starts[t]; i < counting->starts[t + 1]; i++) {
            const struct entry *entry = counting->entries + i;
            if (kind_of(entry->key) != SG_TRIGRAMS)
                continue;
            n += entry->count;
            n_unseen += counting->tri_df[bucket_of(entry->key)] == 1 ? entry->count : 0;
        }
        shares[t] = sg_unseen_share(n_unseen, n);
    }
    qsort(shares, corpus->n_texts, sizeof *shares, by_value);
    corpus->unseen_share = shares[(size_t)(0.995 * (double)(corpus->n_texts - 1))];
    free(shares);
    return SG_OK;
}

static enum sg_status make_rows(struct sg_corpus *corpus, const struct counting *counting, struct sg_error *err)
{
    corpus->nodes = malloc((counting->n + 2 * corpus->n_texts) * sizeof *corpus->nodes);
    if (!corpus->nodes)
        return sg_fail(err, SG_ENOMEM, "out of memory for %zu features", counting->n);
    struct feature_node *node = corpus->nodes;
    for (size_t t = 0; t < corpus->n_texts; t++) {
        const struct entry *entry = counting->entries + counting->starts[t];
        const struct entry *end = counting->entries + counting->starts[t + 1];
        double norm[SG_N_BLOCKS] = {0};
        for (const struct entry *e = entry; e < end; e++) {
            double q = corpus->idf[bucket_of(e->key)];
            norm[sg_block_of(kind_of(e->key))] += q * q;
        }
        corpus->starts[t] = (size_t)(node - corpus->nodes);
        for (; entry < end; entry++, node++) {
            node->index = (int)bucket_of(entry->key) + 1;
            node->value = corpus->idf[bucket_of(entry->key)] / sqrt(norm[sg_block_of(kind_of(entry->key))]);
        }
        *node++ = (struct feature_node){sg_corpus_bias_index(corpus), 1};
        *node++ = (struct feature_node){-1, 0};
    }
    return SG_OK;
}

enum sg_status sg_corpus_create(const struct sg_screen_category *categories, size_t n_categories,
                                struct sg_corpus *corpus, struct sg_error *err)
{
    memset(corpus, 0, sizeof *corpus);
    corpus->bucket_bits = SG_BUCKET_BITS;
    enum sg_status status = collect_texts(categories, n_categories, corpus, err);
    if (status != SG_OK)
        return status;
    size_t buckets = (size_t)1 << corpus->bucket_bits;
    struct counting counting = {
        .corpus = corpus,
        .counts = calloc((size_t)SG_N_KINDS << SG_BUCKET_BITS_MAX, sizeof *counting.counts),
        .df = calloc(buckets, sizeof *counting.df),
        .tri_df = calloc(buckets, sizeof *counting.tri_df),
        .starts = malloc((corpus->n_texts + 1) * sizeof *counting.starts),
    };
    corpus->idf = calloc(buckets, 1);
    corpus->seen = calloc(buckets / 8, 1);
    corpus->starts = malloc(corpus->n_texts * sizeof *corpus->starts);
    if (!counting.counts || !counting.df || !counting.tri_df || !counting.starts || !corpus->idf || !corpus->seen ||
        !corpus->starts)
        status = sg_fail(err, SG_ENOMEM, "out of memory for the counts of %zu texts", corpus->n_texts);
    if (status == SG_OK)
        status = count_texts(&counting, err);
    if (status == SG_OK) {
        make_idf(corpus, &counting);
        status = make_unseen_share(corpus, &counting, err);
    }
    if (status == SG_OK)
        status = make_rows(corpus, &counting, err);
    free(counting.counts);
    free(counting.df);
    free(counting.tri_df);
    free(counting.entries);
    free(counting.starts);
    if (status != SG_OK)
        sg_corpus_destroy(corpus);
    return status;
}

void sg_corpus_destroy(struct sg_corpus *corpus)
{
    free(corpus->texts);
    free(corpus->idf);
    free(corpus->seen);
    free(corpus->nodes);
    free(corpus->starts);
    memset(corpus, 0, sizeof *corpus);
}
