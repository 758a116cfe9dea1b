/* What the forward passes of the architectures share: scratch memory, norms over rows, attention. */
#ifndef SG_MODEL_FORWARD_H
#define SG_MODEL_FORWARD_H

#include "model/model_internal.h"

/* All for max_rows rows; a slot is one expert's work for one row (without experts: one slot a row). */
struct sg_scratch {
    int max_rows, max_context;
    float *x;             /* [rows, hidden] residual stream */
    float *t;             /* [rows, hidden] normed input, then a block's output */
    float *q, *attention; /* [rows, n_heads, head_dim] */
    float *k, *v;         /* [rows, n_kv_heads, head_dim] */
    float *cos, *sin;     /* [rows, head_dim / 2] */
    float *router;        /* [rows, n_experts] */
    float *gate, *up;     /* [slots, ffn] */
    float *y;             /* [slots, hidden] */
    int32_t *slot_row;    /* [slots] row of each slot, slots in order of expert */
    int32_t *row_slot;    /* [rows, n_experts_used] where a row's choices went, best first */
    float *row_weight;    /* [rows, n_experts_used] */
    int32_t *row_expert;  /* [rows, n_experts_used] */
    struct sg_q8 hidden_q8, attention_q8, ffn_q8;
    float *scores;                 /* [threads][n_heads / n_kv_heads][max_context] */
    double inverse_frequency[512]; /* [head_dim / 2] */
    double concentration;
};

/* t = rmsnorm(x) for all rows. */
void sg_norm_rows(const struct sg_model *model, const struct sg_scratch *scratch, const float *scale, int n_rows);

/* x += t for all rows. */
void sg_add_rows(const struct sg_model *model, const struct sg_scratch *scratch, int n_rows);

/* The input of products: [n_rows, columns] with its int8 form in q8 where the model uses it. */
struct sg_input sg_input_of(const struct sg_model *model, const float *x, int n_rows, int columns,
                            const struct sg_q8 *q8);

/* One layer's attention for all rows of the batch: t = Wo attend(rope(Wq t), rope(Wk t), Wv t) + bo, with the keys
 * and values of the rows written to their sequences' caches first. */
void sg_attention(const struct sg_model *model, struct sg_scratch *scratch, const struct sg_batch *batch, int layer);

/* One layer's feed-forward part: t = ffn(t). */
void sg_gptoss_experts(const struct sg_model *model, struct sg_scratch *scratch, int layer, int n_rows);
void sg_llama_ffn(const struct sg_model *model, struct sg_scratch *scratch, int layer, int n_rows);

#endif
