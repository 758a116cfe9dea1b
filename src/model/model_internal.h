/* The opened model as src/model and src/engine see it: configuration, matrices, and the forward pass. */
#ifndef SG_MODEL_INTERNAL_H
#define SG_MODEL_INTERNAL_H

#include "base/pool.h"
#include "kernels/kernels.h"
#include "model/kv.h"
#include "safeguard/model.h"
#include "text/tokenizer.h"

/* Return at the first call that fails; for functions that hold nothing yet. */
#define TRY(call)                                                                                                    \
    do {                                                                                                             \
        enum sg_status try_status = (call);                                                                          \
        if (try_status != SG_OK)                                                                                     \
            return try_status;                                                                                       \
    } while (0)

enum sg_architecture { SG_GPTOSS, SG_LLAMA };

#define SG_MAX_LAYERS 256
#define SG_MAX_EXPERTS 1024
#define SG_MAX_ROWS 512 /* rows of one forward call: enough for each expert of a 20b to get some 64 of them */

struct sg_config {
    enum sg_architecture architecture;
    int n_layers, hidden, vocabulary, context;
    int n_heads, n_kv_heads, head_dim;
    int ffn;                       /* of one expert, or of the whole layer without experts */
    int n_experts, n_experts_used; /* 0 without experts */
    int window;                    /* positions that a windowed layer sees, 0: all layers are full */
    float norm_eps, swiglu_limit;
    double rope_theta;
    double yarn_factor; /* 1: none */
    double yarn_original_context, yarn_beta_fast, yarn_beta_slow;
    bool windowed[SG_MAX_LAYERS];
    bool adjacent_pairs; /* llama GGUF files: rows of Q and K are permuted for pairs (2i, 2i + 1) */
};

/* From GGUF metadata or config.json; SG_EUNSUPPORTED names the architecture or feature, SG_EFORMAT the key, what
 * it holds and what was expected. */
SG_MUST_CHECK enum sg_status sg_config_read(const struct sg_weights *weights, struct sg_config *config_out,
                                            struct sg_error *err);

/* A pool for sequences of a model of this shape. */
void sg_kv_pool_for(struct sg_kv_pool *pool, const struct sg_config *config);

/* --- matrices ------------------------------------------------------------------------------------------- */

/* A weight matrix [n_experts][rows, columns] (dense: n_experts 1), as a view of a tensor's rows: row r of expert e is
 * the tensor's row e * expert_stride + first + r * step, or with `permuted` head_dim the row that a llama GGUF file
 * moved elsewhere. */
struct sg_matrix {
    const struct sg_tensor *tensor;
    int rows, columns, n_experts;
    int64_t expert_stride, first, step;
    int permuted;                                                  /* head dim, 0: not permuted */
    enum sg_form { SG_FORM_ROWS, SG_FORM_Q8, SG_FORM_MXFP4 } form; /* which kernel: f32 activations, or int8 panels */
    uint8_t *panels; /* [n_experts][panels][panel_bytes], NULL: packed one by one as they are used (--no-repack) */
    size_t panel_bytes;
};

/* One product: out[i * out_stride + r] = bias[r] + row r of expert · x[rows[i]]. */
struct sg_product {
    const struct sg_matrix *matrix;
    int expert;
    const float *bias;   /* [rows] or NULL */
    const int32_t *rows; /* rows of the input, NULL: 0 … n_rows - 1 */
    int n_rows;
    float *out;
    size_t out_stride;
};

/* The input of a set of products: f32 rows, and the same as int8 where a matrix wants that. */
struct sg_input {
    const float *x; /* [n_rows, columns] */
    int n_rows, columns;
    struct sg_q8 q8;
};

struct sg_layer {
    const float *attn_norm, *ffn_norm; /* [hidden] */
    struct sg_matrix q, k, v, o;
    const float *q_bias, *k_bias, *v_bias, *o_bias; /* NULL without biases */
    const float *sinks;                             /* [n_heads], NULL without */
    struct sg_matrix router;
    const float *router_bias;
    struct sg_matrix gate, up, down;              /* with experts: one per expert */
    const float *gate_bias, *up_bias, *down_bias; /* [n_experts, rows], NULL without */
};

struct sg_model {
    struct sg_weights *weights;
    struct sg_tokenizer *tokenizer; /* NULL when the files bring none */
    struct sg_config config;
    struct sg_model_options options;
    const struct sg_kernels *kernels;
    struct sg_pool *pool;
    char *name, *path;
    const struct sg_tensor *embedding;
    const float *output_norm;
    const float *rope_freqs; /* [head_dim / 2] divisors of the rotary frequencies, NULL without */
    struct sg_matrix output;
    struct sg_layer layers[SG_MAX_LAYERS];
    float **owned; /* small tensors converted to f32 */
    size_t n_owned;
    uint8_t **thread_scratch; /* [threads]: a row as f32, or a panel */
};

/* Find the tensors of the architecture under any of the names that publishers use, check every shape, and set up
 * norms, biases and matrices (bind.c). */
SG_MUST_CHECK enum sg_status sg_model_bind(struct sg_model *model, struct sg_error *err);

/* Decide the matrix's kernel and, when the options say so, pack its panels and give the file's pages back. */
SG_MUST_CHECK enum sg_status sg_matrix_prepare(struct sg_model *model, struct sg_matrix *matrix,
                                               struct sg_error *err);
void sg_matrix_release(struct sg_matrix *matrix);

/* Make the int8 form of an input's rows (in parallel), if any matrix of the model uses it. */
void sg_input_quantize(const struct sg_model *model, struct sg_input *input);

/* All products of one input in one parallel loop; all matrices have input->columns columns. */
void sg_multiply(const struct sg_model *model, const struct sg_input *input, const struct sg_product *products,
                 int n_products);

/* --- forward pass --------------------------------------------------------------------------------------- */

/* Row `i` is token tokens[i] at position positions[i] of the sequence whose cache is kv[i]; rows of one sequence
 * come in order and its cache has room for them. Where want[i], the logits are written, in order, to
 * logits [count of wants, vocabulary]. */
struct sg_batch {
    int n_rows; /* ≤ SG_MAX_ROWS */
    const int32_t *tokens;
    const int32_t *positions;
    struct sg_kv *const *kv;
    const bool *want;
    float *logits;
};

/* Scratch for batches of up to max_rows rows and sequences of up to max_context positions. One per thread that calls
 * forward. */
struct sg_scratch;
SG_MUST_CHECK enum sg_status sg_scratch_create(const struct sg_model *model, int max_rows, int max_context,
                                               struct sg_scratch **scratch_out, struct sg_error *err);
void sg_scratch_destroy(struct sg_scratch *scratch);

void sg_forward(const struct sg_model *model, struct sg_scratch *scratch, const struct sg_batch *batch);

#endif
