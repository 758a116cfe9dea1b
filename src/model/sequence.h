/* One sequence run through a model from outside the engine: for measuring and for comparing logits. */
#ifndef SG_MODEL_SEQUENCE_H
#define SG_MODEL_SEQUENCE_H

#include "model/model_internal.h"

struct sg_sequence {
    const struct sg_model *model;
    struct sg_kv_pool pool;
    struct sg_kv kv;
    struct sg_scratch *scratch;
    int chunk;
};

/* Room for max_positions; rows go through the model `chunk` at a time (1 … SG_MAX_ROWS). */
SG_MUST_CHECK enum sg_status sg_sequence_init(struct sg_sequence *sequence, const struct sg_model *model,
                                              int max_positions, int chunk, struct sg_error *err);
void sg_sequence_deinit(struct sg_sequence *sequence);

/* Append n tokens. The logits of those with want[i] (want NULL: of all) are written in order to
 * logits [count of wants, vocabulary]. SG_EINVALID for a token outside the vocabulary. */
SG_MUST_CHECK enum sg_status sg_sequence_append(struct sg_sequence *sequence, const int32_t *tokens, int n,
                                                const bool *want, float *logits, struct sg_error *err);

#endif
