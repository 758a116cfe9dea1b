/* Tensors of the file → the model's norms, biases and matrices, under any of the names that publishers use, every
 * shape checked. Names: facts of llama.cpp's gpt-oss and llama architectures, Ollama's convert_gptoss.go, and
 * transformers' GptOssForCausalLM. */
#include "model/model_internal.h"

#include <stdio.h>
#include <stdlib.h>

#define MAX_NAMES 3

/* %d is the layer; the first name that the file has is taken. */
struct names {
    const char *text[MAX_NAMES];
};
#define LAYER "blk.%d."
#define HF_LAYER "model.layers.%d."
static const struct names embedding_names = {{"token_embd.weight", "model.embed_tokens.weight"}};
static const struct names output_names = {{"output.weight", "lm_head.weight"}};
static const struct names output_norm_names = {{"output_norm.weight", "model.norm.weight"}};
static const struct names rope_freqs_names = {{"rope_freqs.weight"}};
static const struct names attn_norm_names = {{LAYER "attn_norm.weight", HF_LAYER "input_layernorm.weight"}};
static const struct names ffn_norm_names = {
    {LAYER "post_attention_norm.weight", LAYER "ffn_norm.weight", HF_LAYER "post_attention_layernorm.weight"}};
static const struct names qkv_names = {{LAYER "attn_qkv.weight"}};
static const struct names qkv_bias_names = {{LAYER "attn_qkv.bias"}};
static const struct names q_names = {{LAYER "attn_q.weight", HF_LAYER "self_attn.q_proj.weight"}};
static const struct names k_names = {{LAYER "attn_k.weight", HF_LAYER "self_attn.k_proj.weight"}};
static const struct names v_names = {{LAYER "attn_v.weight", HF_LAYER "self_attn.v_proj.weight"}};
static const struct names o_names = {
    {LAYER "attn_output.weight", LAYER "attn_out.weight", HF_LAYER "self_attn.o_proj.weight"}};
static const struct names q_bias_names = {{LAYER "attn_q.bias", HF_LAYER "self_attn.q_proj.bias"}};
static const struct names k_bias_names = {{LAYER "attn_k.bias", HF_LAYER "self_attn.k_proj.bias"}};
static const struct names v_bias_names = {{LAYER "attn_v.bias", HF_LAYER "self_attn.v_proj.bias"}};
static const struct names o_bias_names = {
    {LAYER "attn_output.bias", LAYER "attn_out.bias", HF_LAYER "self_attn.o_proj.bias"}};
static const struct names sinks_names = {{LAYER "attn_sinks.weight", LAYER "attn_sinks", HF_LAYER "self_attn.sinks"}};
static const struct names router_names = {{LAYER "ffn_gate_inp.weight", HF_LAYER "mlp.router.weight"}};
static const struct names router_bias_names = {{LAYER "ffn_gate_inp.bias", HF_LAYER "mlp.router.bias"}};
static const struct names gate_up_names = {
    {LAYER "ffn_gate_up_exps.weight", HF_LAYER "mlp.experts.gate_up_proj_blocks"}};
static const struct names gate_up_bias_names = {
    {LAYER "ffn_gate_up_exps.bias", HF_LAYER "mlp.experts.gate_up_proj_bias"}};
static const struct names gate_exps_names = {{LAYER "ffn_gate_exps.weight"}};
static const struct names up_exps_names = {{LAYER "ffn_up_exps.weight"}};
static const struct names down_exps_names = {{LAYER "ffn_down_exps.weight", HF_LAYER "mlp.experts.down_proj_blocks"}};
static const struct names gate_exps_bias_names = {{LAYER "ffn_gate_exps.bias"}};
static const struct names up_exps_bias_names = {{LAYER "ffn_up_exps.bias"}};
static const struct names down_exps_bias_names = {
    {LAYER "ffn_down_exps.bias", HF_LAYER "mlp.experts.down_proj_bias"}};
static const struct names gate_names = {{LAYER "ffn_gate.weight", HF_LAYER "mlp.gate_proj.weight"}};
static const struct names up_names = {{LAYER "ffn_up.weight", HF_LAYER "mlp.up_proj.weight"}};
static const struct names down_names = {{LAYER "ffn_down.weight", HF_LAYER "mlp.down_proj.weight"}};

struct binder {
    struct sg_model *model;
    int layer;
    struct sg_error *err;
};

static const struct sg_tensor *find(const struct binder *binder, const struct names *names)
{
    for (int i = 0; i < MAX_NAMES && names->text[i]; i++) {
        char name[128];
        snprintf(name, sizeof name, names->text[i], binder->layer); /* formats are the literals above */
        const struct sg_tensor *tensor = sg_weights_find(binder->model->weights, name);
        if (tensor)
            return tensor;
    }
    return NULL;
}

static enum sg_status missing(const struct binder *binder, const struct names *names)
{
    char name[128];
    snprintf(name, sizeof name, names->text[0], binder->layer);
    return sg_fail(binder->err, SG_EFORMAT, "tensor %s is missing (other names that would do: %s)", name,
                   names->text[1] ? names->text[1] : "none");
}

/* Expected shape [a, b, c] with leading dimensions of 1 left out where a tensor has fewer. */
static enum sg_status check_shape(const struct binder *binder, const struct sg_tensor *tensor, int64_t experts,
                                  int64_t rows, int64_t columns)
{
    int64_t want[3] = {experts, rows, columns}, got[3] = {1, 1, 1};
    bool good = tensor->n_dims <= 3 && tensor->dtype != SG_U8;
    for (int i = 0; good && i < tensor->n_dims; i++)
        got[3 - tensor->n_dims + i] = tensor->shape[i];
    for (int i = 0; good && i < 3; i++)
        good = got[i] == want[i];
    if (good)
        return SG_OK;
    return sg_fail(binder->err, SG_EFORMAT,
                   "tensor %s: got %s %d-d [%lld, %lld, %lld, %lld], expected numbers [%lld, %lld, %lld]",
                   tensor->name, sg_dtype_name(tensor->dtype), tensor->n_dims, (long long)tensor->shape[0],
                   (long long)tensor->shape[1], (long long)tensor->shape[2], (long long)tensor->shape[3],
                   (long long)want[0], (long long)want[1], (long long)want[2]);
}

/* `count` values of a whole tensor of `total`, from `first` on, every `step`-th, as f32 that the model owns. */
static enum sg_status vector_part(const struct binder *binder, const struct names *names, int64_t experts,
                                  int64_t total, int64_t first, int64_t step, int64_t count, const float **out)
{
    struct sg_model *model = binder->model;
    const struct sg_tensor *tensor = find(binder, names);
    if (!tensor)
        return missing(binder, names);
    TRY(check_shape(binder, tensor, 1, experts, total));
    float *values = malloc((size_t)(experts * count) * sizeof *values), *row = malloc((size_t)total * sizeof *row);
    float **owned = realloc(model->owned, (model->n_owned + 1) * sizeof *owned);
    if (owned)
        model->owned = owned;
    if (!values || !row || !owned) {
        free(values);
        free(row);
        return sg_fail(binder->err, SG_ENOMEM, "tensor %s: out of memory", tensor->name);
    }
    for (int64_t e = 0; e < experts; e++) {
        sg_dequant_row(tensor, e, row);
        for (int64_t i = 0; i < count; i++)
            values[e * count + i] = row[first + i * step];
    }
    free(row);
    model->owned[model->n_owned++] = values;
    *out = values;
    return SG_OK;
}

static enum sg_status vector(const struct binder *binder, const struct names *names, int64_t n, const float **out)
{
    return vector_part(binder, names, 1, n, 0, 1, n, out);
}

/* Rows first, first + step, … of each expert's `total_rows`. */
static enum sg_status matrix_part(const struct binder *binder, const struct names *names, int experts, int total_rows,
                                  int first, int step, int rows, int columns, struct sg_matrix *out)
{
    const struct sg_tensor *tensor = find(binder, names);
    if (!tensor)
        return missing(binder, names);
    TRY(check_shape(binder, tensor, experts, total_rows, columns));
    *out = (struct sg_matrix){.tensor = tensor,
                              .rows = rows,
                              .columns = columns,
                              .n_experts = experts,
                              .expert_stride = total_rows,
                              .first = first,
                              .step = step};
    return SG_OK;
}

static enum sg_status matrix(const struct binder *binder, const struct names *names, int experts, int rows,
                             int columns, struct sg_matrix *out)
{
    return matrix_part(binder, names, experts, rows, 0, 1, rows, columns, out);
}

static enum sg_status bind_attention(const struct binder *binder, struct sg_layer *layer)
{
    const struct sg_config *c = &binder->model->config;
    int q_rows = c->n_heads * c->head_dim, kv_rows = c->n_kv_heads * c->head_dim, all = q_rows + 2 * kv_rows;
    bool fused = find(binder, &qkv_names) != NULL;
    if (fused) {
        TRY(matrix_part(binder, &qkv_names, 1, all, 0, 1, q_rows, c->hidden, &layer->q));
        TRY(matrix_part(binder, &qkv_names, 1, all, q_rows, 1, kv_rows, c->hidden, &layer->k));
        TRY(matrix_part(binder, &qkv_names, 1, all, q_rows + kv_rows, 1, kv_rows, c->hidden, &layer->v));
    } else {
        TRY(matrix(binder, &q_names, 1, q_rows, c->hidden, &layer->q));
        TRY(matrix(binder, &k_names, 1, kv_rows, c->hidden, &layer->k));
        TRY(matrix(binder, &v_names, 1, kv_rows, c->hidden, &layer->v));
    }
    TRY(matrix(binder, &o_names, 1, c->hidden, q_rows, &layer->o));
    if (c->adjacent_pairs)
        layer->q.permuted = layer->k.permuted = c->head_dim;
    if (c->architecture == SG_LLAMA) {
        if (find(binder, &q_bias_names) || find(binder, &o_bias_names))
            return sg_fail(binder->err, SG_EUNSUPPORTED, "layer %d: attention biases in a llama model",
                           binder->layer);
        return SG_OK;
    }
    if (fused) {
        TRY(vector_part(binder, &qkv_bias_names, 1, all, 0, 1, q_rows, &layer->q_bias));
        TRY(vector_part(binder, &qkv_bias_names, 1, all, q_rows, 1, kv_rows, &layer->k_bias));
        TRY(vector_part(binder, &qkv_bias_names, 1, all, q_rows + kv_rows, 1, kv_rows, &layer->v_bias));
    } else {
        TRY(vector(binder, &q_bias_names, q_rows, &layer->q_bias));
        TRY(vector(binder, &k_bias_names, kv_rows, &layer->k_bias));
        TRY(vector(binder, &v_bias_names, kv_rows, &layer->v_bias));
    }
    TRY(vector(binder, &o_bias_names, c->hidden, &layer->o_bias));
    return vector(binder, &sinks_names, c->n_heads, &layer->sinks);
}

static enum sg_status bind_experts(const struct binder *binder, struct sg_layer *layer)
{
    const struct sg_config *c = &binder->model->config;
    int n = c->n_experts, ffn = c->ffn;
    TRY(matrix(binder, &router_names, 1, n, c->hidden, &layer->router));
    TRY(vector(binder, &router_bias_names, n, &layer->router_bias));
    if (find(binder, &gate_up_names)) { /* gate and up rows interleaved */
        TRY(matrix_part(binder, &gate_up_names, n, 2 * ffn, 0, 2, ffn, c->hidden, &layer->gate));
        TRY(matrix_part(binder, &gate_up_names, n, 2 * ffn, 1, 2, ffn, c->hidden, &layer->up));
        TRY(vector_part(binder, &gate_up_bias_names, n, 2 * ffn, 0, 2, ffn, &layer->gate_bias));
        TRY(vector_part(binder, &gate_up_bias_names, n, 2 * ffn, 1, 2, ffn, &layer->up_bias));
    } else {
        TRY(matrix(binder, &gate_exps_names, n, ffn, c->hidden, &layer->gate));
        TRY(matrix(binder, &up_exps_names, n, ffn, c->hidden, &layer->up));
        TRY(vector_part(binder, &gate_exps_bias_names, n, ffn, 0, 1, ffn, &layer->gate_bias));
        TRY(vector_part(binder, &up_exps_bias_names, n, ffn, 0, 1, ffn, &layer->up_bias));
    }
    TRY(matrix(binder, &down_exps_names, n, c->hidden, ffn, &layer->down));
    return vector_part(binder, &down_exps_bias_names, n, c->hidden, 0, 1, c->hidden, &layer->down_bias);
}

enum sg_status sg_model_bind(struct sg_model *model, struct sg_error *err)
{
    struct binder binder = {model, 0, err};
    struct sg_config *c = &model->config;
    model->embedding = find(&binder, &embedding_names);
    if (!model->embedding)
        return missing(&binder, &embedding_names);
    if (model->embedding->n_dims != 2 || model->embedding->shape[0] > 1 << 24 || model->embedding->shape[0] < 1)
        return sg_fail(err, SG_EFORMAT, "tensor %s: got %d dimensions and %lld rows, expected [vocabulary, hidden]",
                       model->embedding->name, model->embedding->n_dims, (long long)model->embedding->shape[0]);
    c->vocabulary = (int)model->embedding->shape[0];
    TRY(check_shape(&binder, model->embedding, 1, c->vocabulary, c->hidden));
    TRY(vector(&binder, &output_norm_names, c->hidden, &model->output_norm));
    bool tied = c->architecture == SG_LLAMA && !find(&binder, &output_names);
    TRY(matrix(&binder, tied ? &embedding_names : &output_names, 1, c->vocabulary, c->hidden, &model->output));
    if (c->architecture == SG_LLAMA && find(&binder, &rope_freqs_names))
        TRY(vector(&binder, &rope_freqs_names, c->head_dim / 2, &model->rope_freqs));
    for (int l = 0; l < c->n_layers; l++) {
        struct sg_layer *layer = &model->layers[l];
        binder.layer = l;
        TRY(vector(&binder, &attn_norm_names, c->hidden, &layer->attn_norm));
        TRY(vector(&binder, &ffn_norm_names, c->hidden, &layer->ffn_norm));
        TRY(bind_attention(&binder, layer));
        if (c->architecture == SG_GPTOSS) {
            TRY(bind_experts(&binder, layer));
            continue;
        }
        TRY(matrix(&binder, &gate_names, 1, c->ffn, c->hidden, &layer->gate));
        TRY(matrix(&binder, &up_names, 1, c->ffn, c->hidden, &layer->up));
        TRY(matrix(&binder, &down_names, 1, c->hidden, c->ffn, &layer->down));
    }
    return SG_OK;
}
