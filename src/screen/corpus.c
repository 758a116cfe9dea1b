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
    uint32_t *counts;    /* [SG_N_KINDS << SG_BUCKET_BITS_MAX] of the text at hand, 0 between texts */
    uint32_t *df;        /* [buckets] texts that have it */
    uint32_t *tri_df;    /* the same of 3-grams alone */
    uint32_t *lexeme_df; /* [words of the vocabulary] */
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
            if (kind_of(entry->key) == SG_LEXEMES) {
                counting->lexeme_df[bucket_of(entry->key)]++;
                continue;
            }
            counting->df[bucket_of(entry->key)]++;
            counting->tri_df[bucket_of(entry->key)] += kind_of(entry->key) == SG_TRIGRAMS;
        }
    }
    counting->starts[corpus->n_texts] = counting->n;
    sg_normal_deinit(&normal);
    return status;
}

/* --- what is made of the counts -------------------------------------------------------------------------------- */

/* ln((1 + n) / (1 + df)) + 1 on a scale to 255, at least 1. */
static uint8_t idf_of(uint32_t df, size_t n_texts, double highest)
{
    double n = (double)n_texts;
    return (uint8_t)fmax(1, round(255 * (log((1 + n) / (1 + fmin(df, n))) + 1) / highest));
}

/* An n-gram that neither a training text nor the prior heads have counts nowhere; a word of the vocabulary has its
 * meaning all the same. */
static void make_idf(struct sg_corpus *corpus, const struct counting *counting)
{
    size_t buckets = (size_t)1 << corpus->bucket_bits;
    double n = (double)corpus->n_texts, highest = log((1 + n) / 2) + 1, highest_lexeme = log(1 + n) + 1;
    for (size_t b = 0; b < buckets; b++) {
        if (counting->df[b] == 0) {
            corpus->idf[b] = corpus->prior_rows[b] >= 0 ? 255 : 0;
            continue;
        }
        corpus->idf[b] = idf_of(counting->df[b], corpus->n_texts, highest);
        corpus->columns[b] = ++corpus->n_columns;
        if (counting->tri_df[b])
            corpus->seen[b >> 3] |= (uint8_t)(1 << (b & 7));
    }
    for (uint32_t w = 0; w < sg_vectors()->n_words; w++)
        corpus->lexeme_idf[w] = idf_of(counting->lexeme_df[w], corpus->n_texts, highest_lexeme);
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

static uint8_t idf_of_key(const struct sg_corpus *corpus, uint32_t key)
{
    return kind_of(key) == SG_LEXEMES ? corpus->lexeme_idf[bucket_of(key)] : corpus->idf[bucket_of(key)];
}

/* Most dense values of a text. */
#define MAX_DENSE (SG_VECTORS_MAX_DIMS + SG_PRIOR_MAX_HEADS)

/* One row: the mean of the vectors and the heads' values as they are, the n-grams' values, the bias. Returns the node
 * behind it. */
static struct feature_node *make_row(const struct sg_corpus *corpus, const struct entry *entry,
                                     const struct entry *end, struct feature_node *node)
{
    const struct sg_vectors *vectors = sg_vectors();
    const struct sg_prior *prior = sg_prior();
    double norm[SG_N_BLOCKS] = {0}, dense[MAX_DENSE] = {0};
    struct feature_node *first = node;
    node += sg_corpus_n_dense(corpus);
    for (const struct entry *e = entry; e < end; e++) {
        double q = idf_of_key(corpus, e->key);
        norm[sg_block_of(kind_of(e->key))] += q * q;
    }
    for (; entry < end; entry++) {
        double value = idf_of_key(corpus, entry->key) / sqrt(norm[sg_block_of(kind_of(entry->key))]);
        if (kind_of(entry->key) != SG_LEXEMES) {
            *node++ = (struct feature_node){(int)corpus->columns[bucket_of(entry->key)], value};
            int32_t row = corpus->prior_rows[bucket_of(entry->key)];
            for (uint32_t h = 0; row >= 0 && h < corpus->n_heads; h++)
                dense[vectors->n_dims + h] += value * prior->weights[(size_t)row * prior->n_heads + h];
            continue;
        }
        const int8_t *vector = vectors->vectors + (size_t)bucket_of(entry->key) * vectors->n_dims;
        for (uint32_t d = 0; d < vectors->n_dims; d++)
            dense[d] += value * vector[d] * (double)vectors->scale[d];
    }
    for (uint32_t d = 0; d < sg_corpus_n_dense(corpus); d++)
        first[d] = (struct feature_node){sg_corpus_dense_index(corpus) + (int)d, dense[d]};
    *node++ = (struct feature_node){sg_corpus_bias_index(corpus), 1};
    *node++ = (struct feature_node){-1, 0};
    return node;
}

/* Dense values of text t. */
static struct feature_node *dense_of(const struct sg_corpus *corpus, size_t t)
{
    return corpus->nodes + corpus->starts[t];
}

/* Dense values to mean 0, and to a length of about its scale for a text's vector and for its heads' values. */
static void whiten(struct sg_corpus *corpus, double vector_scale, double prior_scale)
{
    uint32_t n_dims = sg_vectors()->n_dims;
    double n = (double)corpus->n_texts;
    for (uint32_t d = 0; d < sg_corpus_n_dense(corpus); d++) {
        double sum = 0, squares = 0;
        for (size_t t = 0; t < corpus->n_texts; t++)
            sum += dense_of(corpus, t)[d].value;
        corpus->dense_mean[d] = sum / n;
        for (size_t t = 0; t < corpus->n_texts; t++) {
            struct feature_node *node = dense_of(corpus, t) + d;
            node->value -= corpus->dense_mean[d];
            squares += node->value * node->value;
        }
        double length =
            d < n_dims ? vector_scale / sqrt((double)n_dims) : prior_scale / sqrt((double)corpus->n_heads);
        corpus->dense_unit[d] = length / (sqrt(squares / n) + 1e-6);
        for (size_t t = 0; t < corpus->n_texts; t++)
            dense_of(corpus, t)[d].value *= corpus->dense_unit[d];
    }
}

void sg_corpus_fold(const struct sg_corpus *corpus, const double *fitted, double *bucket_weights_out,
                    double *word_weights_out, double *bias_out)
{
    const struct sg_vectors *vectors = sg_vectors();
    const struct sg_prior *prior = sg_prior();
    const double *dense = fitted + sg_corpus_dense_index(corpus) - 1;
    double direction[MAX_DENSE];
    *bias_out = fitted[sg_corpus_bias_index(corpus) - 1];
    for (uint32_t d = 0; d < sg_corpus_n_dense(corpus); d++) {
        direction[d] = dense[d] * corpus->dense_unit[d];
        *bias_out -= direction[d] * corpus->dense_mean[d];
        if (d < vectors->n_dims)
            direction[d] *= (double)vectors->scale[d];
    }
    for (uint32_t w = 0; w < vectors->n_words; w++) {
        const int8_t *vector = vectors->vectors + (size_t)w * vectors->n_dims;
        double sum = 0;
        for (uint32_t d = 0; d < vectors->n_dims; d++)
            sum += direction[d] * vector[d];
        word_weights_out[w] = sum;
    }
    for (size_t b = 0; b < (size_t)1 << corpus->bucket_bits; b++) {
        int32_t row = corpus->prior_rows[b];
        double sum = corpus->columns[b] ? fitted[corpus->columns[b] - 1] : 0;
        for (uint32_t h = 0; row >= 0 && h < corpus->n_heads; h++)
            sum += direction[vectors->n_dims + h] * prior->weights[(size_t)row * prior->n_heads + h];
        bucket_weights_out[b] = sum;
    }
}

static void use_prior(struct sg_corpus *corpus, bool wanted)
{
    const struct sg_prior *prior = sg_prior();
    for (size_t b = 0; b < (size_t)1 << corpus->bucket_bits; b++)
        corpus->prior_rows[b] = -1;
    if (!wanted || prior->bucket_bits != corpus->bucket_bits)
        return;
    corpus->n_heads = prior->n_heads;
    for (uint32_t i = 0; i < prior->n_buckets; i++)
        corpus->prior_rows[prior->buckets[i]] = (int32_t)i;
}

static enum sg_status make_rows(struct sg_corpus *corpus, const struct counting *counting, double vector_scale,
                                double prior_scale, struct sg_error *err)
{
    size_t most = counting->n + (sg_corpus_n_dense(corpus) + 2) * corpus->n_texts;
    corpus->nodes = malloc(most * sizeof *corpus->nodes);
    if (!corpus->nodes)
        return sg_fail(err, SG_ENOMEM, "out of memory for %zu features", most);
    struct feature_node *node = corpus->nodes;
    for (size_t t = 0; t < corpus->n_texts; t++) {
        corpus->starts[t] = (size_t)(node - corpus->nodes);
        node = make_row(corpus, counting->entries + counting->starts[t], counting->entries + counting->starts[t + 1],
                        node);
    }
    corpus->starts[corpus->n_texts] = (size_t)(node - corpus->nodes);
    whiten(corpus, vector_scale, prior_scale);
    return SG_OK;
}

enum sg_status sg_corpus_create(const struct sg_screen_category *categories, size_t n_categories, double vector_scale,
                                double prior_scale, struct sg_corpus *corpus, struct sg_error *err)
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
        .lexeme_df = calloc(SG_VECTORS_MAX_WORDS, sizeof *counting.lexeme_df),
        .starts = malloc((corpus->n_texts + 1) * sizeof *counting.starts),
    };
    corpus->idf = calloc(buckets, 1);
    corpus->columns = calloc(buckets, sizeof *corpus->columns);
    corpus->prior_rows = malloc(buckets * sizeof *corpus->prior_rows);
    corpus->seen = calloc(buckets / 8, 1);
    corpus->lexeme_idf = calloc(SG_VECTORS_MAX_WORDS, 1);
    corpus->starts = malloc((corpus->n_texts + 1) * sizeof *corpus->starts);
    corpus->dense_mean = calloc(MAX_DENSE, sizeof *corpus->dense_mean);
    corpus->dense_unit = calloc(MAX_DENSE, sizeof *corpus->dense_unit);
    if (!counting.counts || !counting.df || !counting.tri_df || !counting.lexeme_df || !counting.starts ||
        !corpus->idf || !corpus->columns || !corpus->prior_rows || !corpus->seen || !corpus->lexeme_idf ||
        !corpus->starts || !corpus->dense_mean || !corpus->dense_unit)
        status = sg_fail(err, SG_ENOMEM, "out of memory for the counts of %zu texts", corpus->n_texts);
    if (status == SG_OK) {
        use_prior(corpus, prior_scale > 0);
        status = count_texts(&counting, err);
    }
    if (status == SG_OK) {
        make_idf(corpus, &counting);
        status = make_unseen_share(corpus, &counting, err);
    }
    if (status == SG_OK)
        status = make_rows(corpus, &counting, vector_scale, prior_scale, err);
    free(counting.counts);
    free(counting.df);
    free(counting.tri_df);
    free(counting.lexeme_df);
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
    free(corpus->columns);
    free(corpus->prior_rows);
    free(corpus->lexeme_idf);
    free(corpus->dense_mean);
    free(corpus->dense_unit);
    free(corpus->seen);
    free(corpus->nodes);
    free(corpus->starts);
    memset(corpus, 0, sizeof *corpus);
}
