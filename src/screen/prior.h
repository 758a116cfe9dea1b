/* Prior heads: what open sets teach about kinds of harm, as weights of n-gram buckets (data/README.md names the
 * sets).
 *
 * A head's value of a text is Σ q w / √Σ q² like the screen's own margin, with the screen's own IDF. Training sees
 * the values as a few more numbers of a text, and what it learns from them folds into the screen's weights. */
#ifndef SG_SCREEN_PRIOR_H
#define SG_SCREEN_PRIOR_H

#include <stdint.h>

#define SG_PRIOR_MAX_HEADS 16

struct sg_prior {
    uint32_t n_heads, n_buckets; /* buckets that any head has a weight for */
    int bucket_bits;
    const char *version;
    const float *scale;      /* [n_heads] */
    const uint32_t *buckets; /* [n_buckets] rising */
    const int8_t *weights;   /* [n_buckets][n_heads], to be multiplied by scale */
};

/* The table that is built into the program. Never NULL, may be called from any thread. */
const struct sg_prior *sg_prior(void);

#endif
