/* From logits to a token, and to probabilities. All in double precision, in order of id, so that the same logits
 * give the same answer everywhere. */
#ifndef SG_ENGINE_SAMPLER_H
#define SG_ENGINE_SAMPLER_H

#include "safeguard/status.h"

#include <stdbool.h>
#include <stdint.h>

struct sg_sampling {
    double temperature; /* 0: greedy */
    double top_p;       /* in (0, 1] */
    uint64_t seed;
};

/* log of the sum of exp over all logits; NaN when a logit is NaN or +infinity. */
double sg_log_sum_exp(const float *logits, int n);

/* The token for position `position`: the largest logit (lowest id among equals), or a draw that depends on the seed
 * and the position alone. `mask`: bits of permitted ids, NULL for all. SG_EFORMAT when logits are not finite,
 * SG_EINVALID when the mask permits nothing. */
SG_MUST_CHECK enum sg_status sg_sample(const struct sg_sampling *sampling, const float *logits, int n,
                                       const uint64_t *mask, int position, int32_t *token_out, struct sg_error *err);

/* A number in [0, 1) from seed and position. */
double sg_uniform(uint64_t seed, uint64_t position);

#endif
