/* Attention of a batch's rows over their sequences: grouped heads, rotary positions, alternating windows, learned
 * sinks. Source: gpt-oss reference, model.py `sdpa` and `AttentionBlock`; without sinks and windows it is llama's. */
#include "model/forward.h"

#include <math.h>

struct attention {
    const struct sg_model *model;
    struct sg_scratch *scratch;
    const struct sg_batch *batch;
    const struct sg_layer *layer;
    enum sg_kv_class class;
    int index; /* of the layer within its class */
};

/* Rotate q and k of a row and put k and v in the cache. */
static void store_row(void *context, int row, int thread)
{
    (void)thread;
    const struct attention *a = context;
    const struct sg_config *c = &a->model->config;
    const struct sg_kernels *kernels = a->model->kernels;
    int dim = c->head_dim, half = dim / 2, position = a->batch->positions[row];
    const float *cosine = a->scratch->cos + (size_t)row * (size_t)half;
    const float *sine = a->scratch->sin + (size_t)row * (size_t)half;
    float *q = a->scratch->q + (size_t)row * (size_t)(c->n_heads * dim);
    for (int h = 0; h < c->n_heads; h++)
        kernels->rope(q + h * dim, cosine, sine, half);
    const struct sg_kv *kv = a->batch->kv[row];
    struct sg_kv_block *block = kv->blocks[a->class][position / SG_BLOCK];
    int p = position % SG_BLOCK;
    for (int h = 0; h < c->n_kv_heads; h++) {
        float *k = a->scratch->k + ((size_t)row * (size_t)c->n_kv_heads + (size_t)h) * (size_t)dim;
        const float *v = a->scratch->v + ((size_t)row * (size_t)c->n_kv_heads + (size_t)h) * (size_t)dim;
        kernels->rope(k, cosine, sine, half);
        float *keys = sg_kv_keys(kv->pool, block, a->index, h);
        for (int d = 0; d < dim; d++)
            keys[d * SG_BLOCK + p] = k[d];
        memcpy(sg_kv_values(kv->pool, block, a->index, h) + p * dim, v, (size_t)dim * sizeof *v);
    }
}

/* One row and one kv head, with all query heads that share it. */
static void attend(void *context, int item, int thread)
{
    const struct attention *a = context;
    const struct sg_config *c = &a->model->config;
    const struct sg_kernels *kernels = a->model->kernels;
    int row = item / c->n_kv_heads, kv_head = item % c->n_kv_heads;
    int group = c->n_heads / c->n_kv_heads, dim = c->head_dim, head = kv_head * group;
    int position = a->batch->positions[row];
    int first = a->class == SG_KV_WINDOWED && position >= c->window ? position - c->window + 1 : 0;
    int first_block = first / SG_BLOCK, last_block = position / SG_BLOCK, base = first_block * SG_BLOCK;
    size_t stride = (size_t)a->scratch->max_context;
    float *scores = a->scratch->scores + (size_t)thread * (size_t)group * stride;
    const float *q = a->scratch->q + ((size_t)row * (size_t)c->n_heads + (size_t)head) * (size_t)dim;
    float *out = a->scratch->attention + ((size_t)row * (size_t)c->n_heads + (size_t)head) * (size_t)dim;
    const struct sg_kv *kv = a->batch->kv[row];
    struct sg_kv_block *const *blocks = kv->blocks[a->class];
    float scale = 1.0f / sqrtf((float)dim);

    for (int b = first_block; b <= last_block; b++)
        kernels->scores(q, group, dim, sg_kv_keys(kv->pool, blocks[b], a->index, kv_head), scale,
                        scores + (b * SG_BLOCK - base), stride);
    for (int h = 0; h < group; h++)
        kernels->softmax(scores + (size_t)h * stride, first - base, position + 1 - base,
                         a->layer->sinks ? a->layer->sinks[head + h] : -INFINITY);
    memset(out, 0, (size_t)(group * dim) * sizeof *out);
    for (int b = first_block; b <= last_block; b++)
        kernels->mix(scores + (b * SG_BLOCK - base), stride, group, dim,
                     sg_kv_values(kv->pool, blocks[b], a->index, kv_head), b == first_block ? first % SG_BLOCK : 0,
                     b == last_block ? position % SG_BLOCK + 1 : SG_BLOCK, out);
}

void sg_attention(const struct sg_model *model, struct sg_scratch *s, const struct sg_batch *batch, int l)
{
    const struct sg_config *c = &model->config;
    const struct sg_layer *layer = &model->layers[l];
    int n = batch->n_rows, q_size = c->n_heads * c->head_dim, kv_size = c->n_kv_heads * c->head_dim;
    struct attention work = {model, s, batch, layer, c->windowed[l] ? SG_KV_WINDOWED : SG_KV_FULL, 0};
    for (int before = 0; before < l; before++)
        work.index += c->windowed[before] == c->windowed[l];

    struct sg_input input = sg_input_of(model, s->t, n, c->hidden, &s->hidden_q8);
    const struct sg_product qkv[3] = {
        {&layer->q, 0, layer->q_bias, NULL, n, s->q, (size_t)q_size},
        {&layer->k, 0, layer->k_bias, NULL, n, s->k, (size_t)kv_size},
        {&layer->v, 0, layer->v_bias, NULL, n, s->v, (size_t)kv_size},
    };
    sg_multiply(model, &input, qkv, 3);
    sg_pool_run(model->pool, store_row, &work, n);
    sg_pool_run(model->pool, attend, &work, n * c->n_kv_heads);
    input = sg_input_of(model, s->attention, n, q_size, &s->attention_q8);
    const struct sg_product o = {&layer->o, 0, layer->o_bias, NULL, n, s->t, (size_t)c->hidden};
    sg_multiply(model, &input, &o, 1);
}
