/* The texts of a training run as rows of numbers, with what is counted over all of them. */
#ifndef SG_SCREEN_CORPUS_H
#define SG_SCREEN_CORPUS_H

#include "screen/screen_internal.h"

#include <linear.h>

struct sg_corpus {
    int bucket_bits;
    size_t n_texts;             /* distinct by address: categories share the texts they have in common */
    struct sg_slice *texts;     /* sorted by address */
    uint8_t *idf, *seen;        /* as in struct sg_screen */
    double unseen_share;
    struct feature_node *nodes; /* rows of LIBLINEAR: bucket + 1 → value, then the bias, then -1 */
    size_t *starts;             /* [n_texts] first node of each */
};

/* Index of LIBLINEAR's bias, which is 1 in every row. */
static inline int sg_corpus_bias_index(const struct sg_corpus *corpus)
{
    return (1 << corpus->bucket_bits) + 1;
}

/* Features of the folded reading of every text. `benign_only` texts set what share of unseen 3-grams is ordinary. */
SG_MUST_CHECK enum sg_status sg_corpus_create(const struct sg_screen_category *categories, size_t n_categories,
                                              struct sg_corpus *corpus, struct sg_error *err);
void sg_corpus_destroy(struct sg_corpus *corpus);

/* Row of an example's text, which must be one of the texts that the corpus was made of. */
size_t sg_corpus_row(const struct sg_corpus *corpus, const struct sg_screen_example *example);

#endif
