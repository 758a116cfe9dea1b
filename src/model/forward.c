/* The forward pass, top to bottom:
 *   x = embedding[token]
 *   for each layer: x += attention(rmsnorm(x)); x += feed_forward(rmsnorm(x))
 *   logits = W_out rmsnorm(x)
 * The architectures differ in rotary frequencies, sinks and biases (attention.c) and in the feed-forward part
 * (gptoss.c: experts; llama.c: one SwiGLU). Sources: openai/gpt-oss gpt_oss/torch/model.py; the Llama papers. */
#include "model/forward.h"

#include <math.h>
#include <stdlib.h>

/* --- scratch -------------------------------------------------------------------------------------------- */

static void *allocate(size_t count, size_t size, bool *failed)
{
    void *memory = aligned_alloc(64, (count * size + 127) / 64 * 64);
    if (!memory)
        *failed = true;
    else
        memset(memory, 0, (count * size + 127) / 64 * 64);
    return memory;
}

static struct sg_q8 allocate_q8(int rows, int columns, bool *failed)
{
    size_t blocks = (size_t)rows * (size_t)(columns / SG_BLOCK + 1);
    return (struct sg_q8){allocate(blocks, SG_BLOCK, failed),
                          allocate(blocks, 4, failed),
                          allocate(blocks, 4, failed),
                          allocate(blocks, 4, failed),
                          rows,
                          columns / SG_BLOCK};
}

static void free_q8(struct sg_q8 *q8)
{
    free(q8->q);
    free(q8->d);
    free(q8->sum);
    free(q8->sum12);
}

/* Rotary frequencies; YaRN "NTK by parts" without rounding the ramp's ends, as the reference has it. */
static void set_frequencies(const struct sg_model *model, struct sg_scratch *scratch)
{
    const struct sg_config *c = &model->config;
    int half = c->head_dim / 2;
    double log_theta = log(c->rope_theta);
    double low = half * log(c->yarn_original_context / (c->yarn_beta_fast * 2 * M_PI)) / log_theta;
    double high = half * log(c->yarn_original_context / (c->yarn_beta_slow * 2 * M_PI)) / log_theta;
    scratch->concentration = c->yarn_factor > 1 ? 0.1 * log(c->yarn_factor) + 1 : 1;
    for (int i = 0; i < half; i++) {
        double f = pow(c->rope_theta, 2.0 * i / c->head_dim);
        double inverse = 1 / f;
        if (c->yarn_factor > 1) {
            double ramp = (i - low) / (high - low);
            double mask = 1 - (ramp < 0 ? 0 : ramp > 1 ? 1 : ramp);
            inverse = (1 - mask) / (c->yarn_factor * f) + mask / f;
        }
        if (model->rope_freqs)
            inverse /= model->rope_freqs[i];
        scratch->inverse_frequency[i] = inverse;
    }
}

enum sg_status sg_scratch_create(const struct sg_model *model, int max_rows, int max_context,
                                 struct sg_scratch **scratch_out, struct sg_error *err)
{
    const struct sg_config *c = &model->config;
    bool failed = false;
    struct sg_scratch *s = *scratch_out = calloc(1, sizeof *s);
    if (!s)
        return sg_fail(err, SG_ENOMEM, "out of memory for scratch");
    size_t rows = (size_t)max_rows, hidden = (size_t)c->hidden, half = (size_t)c->head_dim / 2;
    size_t q = (size_t)c->n_heads * (size_t)c->head_dim, kv = (size_t)c->n_kv_heads * (size_t)c->head_dim;
    size_t used = c->n_experts ? (size_t)c->n_experts_used : 1, slots = rows * used;
    s->max_rows = max_rows;
    s->max_context = (max_context + SG_BLOCK - 1) / SG_BLOCK * SG_BLOCK;
    s->x = allocate(rows * hidden, 4, &failed);
    s->t = allocate(rows * hidden, 4, &failed);
    s->q = allocate(rows * q, 4, &failed);
    s->attention = allocate(rows * q, 4, &failed);
    s->k = allocate(rows * kv, 4, &failed);
    s->v = allocate(rows * kv, 4, &failed);
    s->cos = allocate(rows * half, 4, &failed);
    s->sin = allocate(rows * half, 4, &failed);
    s->router = allocate(rows * (size_t)c->n_experts, 4, &failed);
    s->gate = allocate(slots * (size_t)c->ffn, 4, &failed);
    s->up = allocate(slots * (size_t)c->ffn, 4, &failed);
    s->y = allocate(slots * hidden, 4, &failed);
    s->slot_row = allocate(slots, 4, &failed);
    s->row_slot = allocate(slots, 4, &failed);
    s->row_weight = allocate(slots, 4, &failed);
    s->row_expert = allocate(slots, 4, &failed);
    s->hidden_q8 = allocate_q8(max_rows, c->hidden, &failed);
    s->attention_q8 = allocate_q8(max_rows, (int)q, &failed);
    s->ffn_q8 = allocate_q8((int)slots, c->ffn, &failed);
    s->scores =
        allocate((size_t)sg_pool_threads(model->pool) * (size_t)(c->n_heads / c->n_kv_heads) * (size_t)s->max_context,
                 4, &failed);
    if (failed) {
        sg_scratch_destroy(s);
        *scratch_out = NULL;
        return sg_fail(err, SG_ENOMEM, "out of memory for scratch of %d rows and %d positions", max_rows,
                       max_context);
    }
    set_frequencies(model, s);
    return SG_OK;
}

void sg_scratch_destroy(struct sg_scratch *s)
{
    if (!s)
        return;
    void *all[] = {s->x,    s->t,  s->q, s->attention, s->k,        s->v,          s->cos,        s->sin,   s->router,
                   s->gate, s->up, s->y, s->slot_row,  s->row_slot, s->row_weight, s->row_expert, s->scores};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++)
        free(all[i]);
    free_q8(&s->hidden_q8);
    free_q8(&s->attention_q8);
    free_q8(&s->ffn_q8);
    free(s);
}

/* --- loops over rows -------------------------------------------------------------------------------------- */

struct row_loop {
    const struct sg_model *model;
    const struct sg_scratch *scratch;
    const struct sg_batch *batch;
    const float *scale;
};

static void norm_row(void *context, int row, int thread)
{
    (void)thread;
    const struct row_loop *loop = context;
    const struct sg_config *c = &loop->model->config;
    size_t at = (size_t)row * (size_t)c->hidden;
    loop->model->kernels->rmsnorm(loop->scratch->x + at, loop->scale, c->hidden, c->norm_eps, loop->scratch->t + at);
}

void sg_norm_rows(const struct sg_model *model, const struct sg_scratch *scratch, const float *scale, int n_rows)
{
    struct row_loop loop = {model, scratch, NULL, scale};
    sg_pool_run(model->pool, norm_row, &loop, n_rows);
}

static void add_row(void *context, int row, int thread)
{
    (void)thread;
    const struct row_loop *loop = context;
    size_t n = (size_t)loop->model->config.hidden;
    loop->model->kernels->add_scaled(loop->scratch->x + (size_t)row * n, loop->scratch->t + (size_t)row * n, 1.0f,
                                     (int)n);
}

void sg_add_rows(const struct sg_model *model, const struct sg_scratch *scratch, int n_rows)
{
    struct row_loop loop = {model, scratch, NULL, NULL};
    sg_pool_run(model->pool, add_row, &loop, n_rows);
}

/* A row's embedding, and the rotation of its position: the same for all layers. */
static void embed_row(void *context, int row, int thread)
{
    (void)thread;
    const struct row_loop *loop = context;
    const struct sg_config *c = &loop->model->config;
    const struct sg_scratch *s = loop->scratch;
    sg_dequant_row(loop->model->embedding, loop->batch->tokens[row], s->x + (size_t)row * (size_t)c->hidden);
    for (int i = 0; i < c->head_dim / 2; i++) {
        size_t at = (size_t)row * (size_t)(c->head_dim / 2) + (size_t)i;
        double angle = loop->batch->positions[row] * s->inverse_frequency[i];
        s->cos[at] = (float)(cos(angle) * s->concentration);
        s->sin[at] = (float)(sin(angle) * s->concentration);
    }
}

struct sg_input sg_input_of(const struct sg_model *model, const float *x, int n_rows, int columns,
                            const struct sg_q8 *q8)
{
    struct sg_input input = {x, n_rows, columns, *q8};
    sg_input_quantize(model, &input);
    return input;
}

/* --- the pass --------------------------------------------------------------------------------------------- */

void sg_forward(const struct sg_model *model, struct sg_scratch *s, const struct sg_batch *batch)
{
    const struct sg_config *c = &model->config;
    int n = batch->n_rows;
    struct row_loop loop = {model, s, batch, NULL};
    sg_pool_run(model->pool, embed_row, &loop, n);
    for (int l = 0; l < c->n_layers; l++) {
        const struct sg_layer *layer = &model->layers[l];
        sg_norm_rows(model, s, layer->attn_norm, n);
        sg_attention(model, s, batch, l);
        sg_add_rows(model, s, n);
        sg_norm_rows(model, s, layer->ffn_norm, n);
        if (c->architecture == SG_GPTOSS)
            sg_gptoss_experts(model, s, l, n);
        else
            sg_llama_ffn(model, s, l, n);
        sg_add_rows(model, s, n);
    }
    int n_wanted = 0; /* rows whose logits are wanted move to the front */
    for (int row = 0; row < n; row++)
        if (batch->want[row])
            memmove(s->x + (size_t)n_wanted++ * (size_t)c->hidden, s->x + (size_t)row * (size_t)c->hidden,
                    (size_t)c->hidden * sizeof *s->x);
    if (!n_wanted)
        return;
    sg_norm_rows(model, s, model->output_norm, n_wanted);
    struct sg_input input = sg_input_of(model, s->t, n_wanted, c->hidden, &s->hidden_q8);
    struct sg_product product = {
        .matrix = &model->output, .n_rows = n_wanted, .out = batch->logits, .out_stride = (size_t)c->vocabulary};
    sg_multiply(model, &input, &product, 1);
}
