/* The texts of a training run as rows of numbers, with what is counted over all of them. */
#ifndef SG_SCREEN_CORPUS_H
#define SG_SCREEN_CORPUS_H

#include "screen/prior.h"
#include "screen/screen_internal.h"
#include "screen/vectors.h"

#include <linear.h>

struct sg_corpus {
    int bucket_bits;
    size_t n_texts;                   /* distinct by address: categories share the texts they have in common */
    struct sg_slice *texts;           /* sorted by address */
    uint8_t *idf, *lexeme_idf, *seen; /* as in struct sg_screen */
    double unseen_share;
    uint32_t *columns; /* [buckets] column of a bucket that some text has, from 1: LIBLINEAR's time and memory
                          grow with the number of columns */
    uint32_t n_columns;
    struct feature_node *nodes; /* rows of LIBLINEAR: the dense values, column → value, the bias, -1. A row without
                                   its dense values begins so many nodes later */
    size_t *starts;             /* [n_texts + 1] first node of each */
    int32_t *prior_rows;        /* [buckets] row of the prior heads' table, or -1; all -1 without them */
    uint32_t n_heads;           /* dense values behind the vectors' */
    double *dense_mean, *dense_unit; /* [n_dense] dense value = (mean vector - dense_mean) * dense_unit */
};

static inline uint32_t sg_corpus_n_dense(const struct sg_corpus *corpus)
{
    return sg_vectors()->n_dims + corpus->n_heads;
}

/* Index of the first dense value: the dimensions of the mean of a text's word vectors. */
static inline int sg_corpus_dense_index(const struct sg_corpus *corpus)
{
    return (int)corpus->n_columns + 1;
}

/* Index of LIBLINEAR's bias, which is 1 in every row. */
static inline int sg_corpus_bias_index(const struct sg_corpus *corpus)
{
    return sg_corpus_dense_index(corpus) + (int)sg_corpus_n_dense(corpus);
}

/* What LIBLINEAR fitted, as weights of buckets and of the vocabulary's words, and the bias. */
void sg_corpus_fold(const struct sg_corpus *corpus, const double *fitted, double *bucket_weights_out,
                    double *word_weights_out, double *bias_out);

/* Features of the folded reading of every text. The scales say how much the vectors and the prior heads count;
 * prior_scale 0 leaves the heads out. */
SG_MUST_CHECK enum sg_status sg_corpus_create(const struct sg_screen_category *categories, size_t n_categories,
                                              double vector_scale, double prior_scale, struct sg_corpus *corpus,
                                              struct sg_error *err);
void sg_corpus_destroy(struct sg_corpus *corpus);

/* Row of an example's text, which must be one of the texts that the corpus was made of. */
size_t sg_corpus_row(const struct sg_corpus *corpus, const struct sg_screen_example *example);

#endif
