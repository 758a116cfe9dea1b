/* Random-weight gpt-oss models: the list of tensors of a shape, how each is filled, and the two forms of file.
 *
 * What is random: matrices have a standard deviation of 1/√columns, so that activations keep their size; embeddings
 * of 1; norms lie around 1; the output matrix is 3 times as large, which makes some tokens much likelier than others,
 * and the router 2 times, so that the choice of experts is no near-tie. 12 GB take as long as writing them: the
 * generator makes 8 bytes in about a nanosecond. */
#include "weights/make_model.h"
#include "weights/weights_internal.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <unistd.h>

const struct sg_model_shape sg_shape_20b = {.layers = 24,
                                            .hidden = 2880,
                                            .q_heads = 64,
                                            .kv_heads = 8,
                                            .head_dim = 64,
                                            .experts = 32,
                                            .experts_used = 4,
                                            .ffn = 2880,
                                            .vocab = SG_O200K_HARMONY_VOCAB,
                                            .window = 128,
                                            .dense = SG_Q8_0,
                                            .seed = 1};
const struct sg_model_shape sg_shape_120b = {.layers = 36,
                                             .hidden = 2880,
                                             .q_heads = 64,
                                             .kv_heads = 8,
                                             .head_dim = 64,
                                             .experts = 128,
                                             .experts_used = 4,
                                             .ffn = 2880,
                                             .vocab = SG_O200K_HARMONY_VOCAB,
                                             .window = 128,
                                             .dense = SG_Q8_0,
                                             .seed = 1};

/* --- the tensors ---------------------------------------------------------------------------------------- */

enum fill { FILL_NUMBERS, FILL_CODES, FILL_SCALES }; /* codes, scales: the two halves of safetensors' MXFP4 */

struct piece {
    char name[96];
    enum sg_dtype dtype;
    enum fill fill;
    int n_dims;
    int64_t shape[SG_TENSOR_DIMS];
    double centre, spread; /* mean and standard deviation */
    uint64_t n_bytes;
};

struct pieces {
    struct piece *list;
    size_t n, cap;
    bool failed;
};

static struct piece *add(struct pieces *pieces, enum sg_dtype dtype, double centre, double spread)
{
    static struct piece nowhere; /* written to and never read, when memory is short */
    if (pieces->failed || !sg_grow((void **)&pieces->list, pieces->n, &pieces->cap, sizeof *pieces->list)) {
        pieces->failed = true;
        return &nowhere;
    }
    struct piece *piece = &pieces->list[pieces->n++];
    *piece = (struct piece){.dtype = dtype, .shape = {1, 1, 1, 1}, .centre = centre, .spread = spread};
    return piece;
}

/* Shapes end at the first 0. */
static void set_shape(struct piece *piece, int64_t a, int64_t b, int64_t c, int64_t d)
{
    const int64_t dims[] = {a, b, c, d};
    for (int i = 0; i < SG_TENSOR_DIMS && dims[i]; i++)
        piece->shape[piece->n_dims++] = dims[i];
}

static void vector(struct pieces *pieces, const char *name, enum sg_dtype dtype, int64_t n, double centre,
                   double spread)
{
    struct piece *piece = add(pieces, dtype, centre, spread);
    snprintf(piece->name, sizeof piece->name, "%s", name);
    set_shape(piece, n, 0, 0, 0);
}

/* `gain` in units of 1/√columns. */
static void matrix(struct pieces *pieces, const char *name, enum sg_dtype dtype, int64_t rows, int64_t columns,
                   double gain)
{
    struct piece *piece = add(pieces, dtype, 0, gain / sqrt((double)columns));
    snprintf(piece->name, sizeof piece->name, "%s", name);
    set_shape(piece, rows, columns, 0, 0);
}

static void experts_gguf(struct pieces *pieces, const char *stem, int64_t experts, int64_t rows, int64_t columns)
{
    struct piece *piece = add(pieces, SG_MXFP4, 0, 1 / sqrt((double)columns));
    snprintf(piece->name, sizeof piece->name, "%s.weight", stem);
    set_shape(piece, experts, rows, columns, 0);
    piece = add(pieces, SG_F32, 0, 0.05);
    snprintf(piece->name, sizeof piece->name, "%s.bias", stem);
    set_shape(piece, experts, rows, 0, 0);
}

static void experts_hf(struct pieces *pieces, const char *stem, enum sg_dtype dense, int64_t experts, int64_t rows,
                       int64_t columns)
{
    struct piece *piece = add(pieces, SG_U8, 0, 1 / sqrt((double)columns));
    snprintf(piece->name, sizeof piece->name, "%s_blocks", stem);
    piece->fill = FILL_CODES;
    set_shape(piece, experts, rows, columns / 32, 16);
    piece = add(pieces, SG_U8, 0, 1 / sqrt((double)columns));
    snprintf(piece->name, sizeof piece->name, "%s_scales", stem);
    piece->fill = FILL_SCALES;
    set_shape(piece, experts, rows, columns / 32, 0);
    piece = add(pieces, dense, 0, 0.05);
    snprintf(piece->name, sizeof piece->name, "%s_bias", stem);
    set_shape(piece, experts, rows, 0, 0);
}

/* Names of one layer's tensors in the two forms; %d is the layer. */
struct layer_names {
    const char *attn_norm, *ffn_norm, *sinks, *router;
    const char *q, *k, *v, *o;
};
static const struct layer_names gguf_names = {"blk.%d.attn_norm.weight",
                                              "blk.%d.post_attention_norm.weight",
                                              "blk.%d.attn_sinks.weight",
                                              "blk.%d.ffn_gate_inp",
                                              "blk.%d.attn_q",
                                              "blk.%d.attn_k",
                                              "blk.%d.attn_v",
                                              "blk.%d.attn_output"};
static const struct layer_names hf_names = {
    "model.layers.%d.input_layernorm.weight", "model.layers.%d.post_attention_layernorm.weight",
    "model.layers.%d.self_attn.sinks",        "model.layers.%d.mlp.router",
    "model.layers.%d.self_attn.q_proj",       "model.layers.%d.self_attn.k_proj",
    "model.layers.%d.self_attn.v_proj",       "model.layers.%d.self_attn.o_proj"};

struct name {
    char text[96];
};

static struct name named(const char *format, int layer, const char *tail)
{
    struct name name, stem;
    snprintf(stem.text, sizeof stem.text, format, layer);
    snprintf(name.text, sizeof name.text, "%.80s%s", stem.text, tail);
    return name;
}

static void linear(struct pieces *pieces, const char *format, int layer, enum sg_dtype weight, enum sg_dtype bias,
                   int64_t rows, int64_t columns, double gain)
{
    matrix(pieces, named(format, layer, ".weight").text, weight, rows, columns, gain);
    vector(pieces, named(format, layer, ".bias").text, bias, rows, 0, 0.05);
}

static void layer_pieces(struct pieces *pieces, const struct sg_model_shape *shape, int layer)
{
    const struct layer_names *names = shape->safetensors ? &hf_names : &gguf_names;
    enum sg_dtype dense = shape->dense, rest = shape->safetensors ? shape->dense : SG_F32;
    int64_t hidden = shape->hidden, q = (int64_t)shape->q_heads * shape->head_dim;
    int64_t kv = (int64_t)shape->kv_heads * shape->head_dim;
    vector(pieces, named(names->attn_norm, layer, "").text, rest, hidden, 1, 0.1);
    linear(pieces, names->q, layer, dense, rest, q, hidden, 1);
    linear(pieces, names->k, layer, dense, rest, kv, hidden, 1);
    linear(pieces, names->v, layer, dense, rest, kv, hidden, 1);
    linear(pieces, names->o, layer, dense, rest, hidden, q, 1);
    vector(pieces, named(names->sinks, layer, "").text, rest, shape->q_heads, 0, 1);
    vector(pieces, named(names->ffn_norm, layer, "").text, rest, hidden, 1, 0.1);
    linear(pieces, names->router, layer, rest, rest, shape->experts, hidden, 2);
    if (shape->safetensors) {
        const char *stem = "model.layers.%d.mlp.experts.";
        experts_hf(pieces, named(stem, layer, "gate_up_proj").text, dense, shape->experts, 2 * (int64_t)shape->ffn,
                   hidden);
        experts_hf(pieces, named(stem, layer, "down_proj").text, dense, shape->experts, hidden, shape->ffn);
    } else {
        experts_gguf(pieces, named("blk.%d.", layer, "ffn_gate_exps").text, shape->experts, shape->ffn, hidden);
        experts_gguf(pieces, named("blk.%d.", layer, "ffn_up_exps").text, shape->experts, shape->ffn, hidden);
        experts_gguf(pieces, named("blk.%d.", layer, "ffn_down_exps").text, shape->experts, hidden, shape->ffn);
    }
}

static enum sg_status list_pieces(const struct sg_model_shape *shape, struct pieces *pieces, struct sg_error *err)
{
    bool hf = shape->safetensors;
    matrix(pieces, hf ? "model.embed_tokens.weight" : "token_embd.weight", shape->dense, shape->vocab, shape->hidden,
           sqrt((double)shape->hidden));
    for (int layer = 0; layer < shape->layers; layer++)
        layer_pieces(pieces, shape, layer);
    vector(pieces, hf ? "model.norm.weight" : "output_norm.weight", hf ? shape->dense : SG_F32, shape->hidden, 1,
           0.1);
    matrix(pieces, hf ? "lm_head.weight" : "output.weight", shape->dense, shape->vocab, shape->hidden, 3);
    if (pieces->failed)
        return sg_fail(err, SG_ENOMEM, "out of memory for %zu tensors", pieces->n + 1);
    for (size_t i = 0; i < pieces->n; i++) {
        struct piece *piece = &pieces->list[i];
        struct sg_tensor tensor = {.name = piece->name, .dtype = piece->dtype, .n_dims = piece->n_dims};
        memcpy(tensor.shape, piece->shape, sizeof tensor.shape);
        enum sg_status status = sg_tensor_measure(&tensor, piece->name, err);
        if (status != SG_OK)
            return status;
        piece->n_bytes = tensor.n_bytes;
    }
    return SG_OK;
}

/* --- random bytes ---------------------------------------------------------------------------------------- */

/* xorshift64*: fast and good enough for weights. The state is never 0. */
static uint64_t next(uint64_t *state)
{
    *state ^= *state >> 12;
    *state ^= *state << 25;
    *state ^= *state >> 27;
    return *state * 0x2545f4914f6cdd1d;
}

static uint64_t seed_of(uint64_t seed, size_t piece)
{
    uint64_t z = seed + 0x9e3779b97f4a7c15 * (piece + 1); /* splitmix64 */
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
    z = (z ^ z >> 27) * 0x94d049bb133111eb;
    return (z ^ z >> 31) | 1;
}

static void random_bytes(uint64_t *state, uint8_t *out, size_t n)
{
    for (size_t i = 0; i < n; i += 8) {
        uint64_t word = next(state);
        memcpy(out + i, &word, n - i < 8 ? n - i : 8);
    }
}

/* Uniform with the given mean and standard deviation. */
static void random_numbers(uint64_t *state, const struct piece *piece, uint8_t *out, size_t n)
{
    size_t bytes = (size_t)sg_dtype_block_bytes(piece->dtype);
    float centre = (float)piece->centre, half_width = (float)(piece->spread * sqrt(3.0));
    for (size_t i = 0; i < n; i++) {
        float value = centre + half_width * ((float)(int32_t)(next(state) >> 32) * 0x1p-31f);
        uint16_t rounded = sg_f32_to_bf16(value);
        memcpy(out + i * bytes, bytes == 2 ? (const void *)&rounded : (const void *)&value, bytes);
    }
}

/* Codes are all equally likely, which makes them 127/√3 large on average; scales vary by a quarter. */
static void random_q8_0(uint64_t *state, const struct piece *piece, uint8_t *out, size_t n_blocks)
{
    uint16_t scales[8];
    for (int i = 0; i < 8; i++)
        scales[i] = sg_f32_to_f16((float)(piece->spread * sqrt(3.0) / 127 * (0.75 + i / 14.0)));
    for (size_t i = 0; i < n_blocks; i++, out += 34) {
        memcpy(out, &scales[next(state) >> 61], 2);
        random_bytes(state, out + 2, 32);
        for (int k = 2; k < 34; k++)
            out[k] = out[k] == 0x80 ? 0x81 : out[k]; /* quantisers never write −128 */
    }
}

/* E8M0 bytes b − 1, b, b, b + 1: with codes that are all equally likely (2.93 on average) the deviation is within a
 * factor of √2 of the wanted one. */
static uint8_t base_scale(const struct piece *piece)
{
    return (uint8_t)(127 + lrint(log2(piece->spread / (2.93 * 1.25))));
}

static uint8_t random_scale(uint64_t *state, uint8_t base)
{
    static const int8_t steps[4] = {-1, 0, 0, 1};
    return (uint8_t)(base + steps[next(state) >> 62]);
}

/* Whole blocks of the piece's next n_bytes. */
static void fill(uint64_t *state, const struct piece *piece, uint8_t *out, size_t n_bytes)
{
    if (piece->fill == FILL_CODES) {
        random_bytes(state, out, n_bytes);
    } else if (piece->fill == FILL_SCALES) {
        uint8_t base = base_scale(piece);
        for (size_t i = 0; i < n_bytes; i++)
            out[i] = random_scale(state, base);
    } else if (piece->dtype == SG_MXFP4) {
        uint8_t base = base_scale(piece);
        for (size_t i = 0; i < n_bytes; i += 17) {
            out[i] = random_scale(state, base);
            random_bytes(state, out + i + 1, 16);
        }
    } else if (piece->dtype == SG_Q8_0) {
        random_q8_0(state, piece, out, n_bytes / 34);
    } else {
        random_numbers(state, piece, out, n_bytes / (size_t)sg_dtype_block_bytes(piece->dtype));
    }
}

/* --- the two forms --------------------------------------------------------------------------------------- */

/* Where the bytes go: one of the two. */
struct sink {
    struct sg_gguf_writer *gguf;
    FILE *file;
    const char *path;
};

static enum sg_status sink_write(struct sink *sink, const uint8_t *bytes, size_t n, struct sg_error *err)
{
    if (sink->gguf)
        return sg_gguf_write(sink->gguf, bytes, n, err);
    if (fwrite(bytes, 1, n, sink->file) != n)
        return sg_fail(err, SG_EIO, "%s: cannot write: %s", sink->path, strerror(errno));
    return SG_OK;
}

static enum sg_status sink_skip(struct sink *sink, uint64_t n, struct sg_error *err)
{
    if (sink->gguf)
        return sg_gguf_skip(sink->gguf, n, err);
    if (fseeko(sink->file, (off_t)n, SEEK_CUR) != 0)
        return sg_fail(err, SG_EIO, "%s: cannot skip: %s", sink->path, strerror(errno));
    return SG_OK;
}

/* Common multiple of all blocks: 1 MiB or so. */
#define CHUNK_BYTES (17 * 34 * 64 * 28)

static enum sg_status write_pieces(const struct sg_model_shape *shape, const struct pieces *pieces, struct sink *sink,
                                   struct sg_error *err)
{
    uint8_t *chunk = malloc(CHUNK_BYTES);
    enum sg_status status = chunk ? SG_OK : sg_fail(err, SG_ENOMEM, "out of memory");
    for (size_t i = 0; i < pieces->n && status == SG_OK; i++) {
        const struct piece *piece = &pieces->list[i];
        if (shape->sparse) {
            status = sink_skip(sink, piece->n_bytes, err);
            continue;
        }
        uint64_t state = seed_of(shape->seed, i);
        for (uint64_t done = 0; done < piece->n_bytes && status == SG_OK;) {
            size_t n = piece->n_bytes - done < CHUNK_BYTES ? (size_t)(piece->n_bytes - done) : CHUNK_BYTES;
            fill(&state, piece, chunk, n);
            status = sink_write(sink, chunk, n, err);
            done += n;
        }
    }
    free(chunk);
    return status;
}

static void put_metadata(struct sg_gguf_writer *writer, const struct sg_model_shape *shape)
{
    char name[96];
    snprintf(name, sizeof name, "random gpt-oss, seed %llu", (unsigned long long)shape->seed);
    sg_gguf_put_string(writer, "general.architecture", sg_slice_of("gpt-oss"));
    sg_gguf_put_string(writer, "general.type", sg_slice_of("model"));
    sg_gguf_put_string(writer, "general.name", sg_slice_of(name));
    sg_gguf_put_string(writer, "general.basename", sg_slice_of("gpt-oss"));
    sg_gguf_put_u32(writer, "gpt-oss.block_count", (uint32_t)shape->layers);
    sg_gguf_put_u32(writer, "gpt-oss.context_length", 131072);
    sg_gguf_put_u32(writer, "gpt-oss.embedding_length", (uint32_t)shape->hidden);
    sg_gguf_put_u32(writer, "gpt-oss.feed_forward_length", (uint32_t)shape->ffn);
    sg_gguf_put_u32(writer, "gpt-oss.attention.head_count", (uint32_t)shape->q_heads);
    sg_gguf_put_u32(writer, "gpt-oss.attention.head_count_kv", (uint32_t)shape->kv_heads);
    sg_gguf_put_f32(writer, "gpt-oss.rope.freq_base", 150000.0f);
    sg_gguf_put_f32(writer, "gpt-oss.attention.layer_norm_rms_epsilon", 1e-5f);
    sg_gguf_put_u32(writer, "gpt-oss.expert_count", (uint32_t)shape->experts);
    sg_gguf_put_u32(writer, "gpt-oss.expert_used_count", (uint32_t)shape->experts_used);
    sg_gguf_put_u32(writer, "gpt-oss.attention.key_length", (uint32_t)shape->head_dim);
    sg_gguf_put_u32(writer, "gpt-oss.attention.value_length", (uint32_t)shape->head_dim);
    sg_gguf_put_u32(writer, "gpt-oss.attention.sliding_window", (uint32_t)shape->window);
    sg_gguf_put_u32(writer, "gpt-oss.expert_feed_forward_length", (uint32_t)shape->ffn);
    sg_gguf_put_string(writer, "gpt-oss.rope.scaling.type", sg_slice_of("yarn"));
    sg_gguf_put_f32(writer, "gpt-oss.rope.scaling.factor", 32.0f);
    sg_gguf_put_u32(writer, "gpt-oss.rope.scaling.original_context_length", 4096);
    sg_gguf_put_u32(writer, "general.quantization_version", 2);
    sg_gguf_put_u32(writer, "general.file_type", shape->dense == SG_Q8_0 ? 38 : shape->dense == SG_BF16 ? 32 : 0);
}

static bool is_tokenizer_key(const char *key, const void *context)
{
    (void)context;
    return strncmp(key, "tokenizer.", 10) == 0;
}

static enum sg_status put_tokenizer(struct sg_gguf_writer *writer, const struct sg_model_shape *shape,
                                    struct sg_error *err)
{
    if (shape->tokenizer_tiktoken)
        return sg_gguf_put_tiktoken(writer, shape->tokenizer_tiktoken, err);
    if (!shape->tokenizer_gguf)
        return SG_OK;
    struct sg_weights *from = NULL;
    enum sg_status status = sg_weights_open(shape->tokenizer_gguf, &from, err);
    if (status != SG_OK)
        return status;
    int64_t n = sg_meta_array_count(from, "tokenizer.ggml.tokens");
    if (n == shape->vocab)
        sg_gguf_copy(writer, from, is_tokenizer_key, NULL);
    else
        status = sg_fail(err, SG_EINVALID, "%s: tokenizer.ggml.tokens has %lld tokens, expected %d as in the shape",
                         shape->tokenizer_gguf, (long long)n, shape->vocab);
    sg_weights_close(from);
    return status;
}

static enum sg_status make_gguf(const struct sg_model_shape *shape, const char *path, const struct pieces *pieces,
                                struct sg_error *err)
{
    struct sg_gguf_writer *writer = sg_gguf_create(path, err);
    if (!writer)
        return err->code;
    put_metadata(writer, shape);
    enum sg_status status = put_tokenizer(writer, shape, err);
    for (size_t i = 0; i < pieces->n; i++)
        sg_gguf_declare(writer, pieces->list[i].name, pieces->list[i].dtype, pieces->list[i].n_dims,
                        pieces->list[i].shape);
    struct sink sink = {.gguf = writer, .path = path};
    if (status == SG_OK)
        status = write_pieces(shape, pieces, &sink, err);
    enum sg_status finished = sg_gguf_finish(writer, status == SG_OK ? err : NULL);
    if (status != SG_OK && finished == SG_OK)
        unlink(path);
    return status == SG_OK ? finished : status;
}

static enum sg_status write_config(const struct sg_model_shape *shape, const char *path, struct sg_error *err)
{
    json_t *layer_types = json_array();
    for (int i = 0; i < shape->layers; i++)
        json_array_append_new(layer_types, json_string(i % 2 ? "full_attention" : "sliding_attention"));
    json_t *config = json_pack(
        "{s:[s], s:b, s:f, s:i, s:i, s:s, s:i, s:i, s:f, s:i, s:o, s:i, s:s, s:i, s:i, s:i, s:i, s:i, s:b,"
        " s:{s:[s,s,s,s], s:s}, s:f, s:{s:f, s:f, s:f, s:i, s:s, s:b}, s:i, s:f, s:i, s:f, s:b, s:b, s:i}",
        "architectures", "GptOssForCausalLM", "attention_bias", 1, "attention_dropout", 0.0, "experts_per_token",
        shape->experts_used, "head_dim", shape->head_dim, "hidden_act", "silu", "hidden_size", shape->hidden,
        "initial_context_length", 4096, "initializer_range", 0.02, "intermediate_size", shape->ffn, "layer_types",
        layer_types, "max_position_embeddings", 131072, "model_type", "gpt_oss", "num_attention_heads",
        shape->q_heads, "num_experts_per_tok", shape->experts_used, "num_hidden_layers", shape->layers,
        "num_key_value_heads", shape->kv_heads, "num_local_experts", shape->experts, "output_router_logits", 0,
        "quantization_config", "modules_to_not_convert", "model.layers.*.self_attn", "model.layers.*.mlp.router",
        "model.embed_tokens", "lm_head", "quant_method", "mxfp4", "rms_norm_eps", 1e-5, "rope_scaling", "beta_fast",
        32.0, "beta_slow", 1.0, "factor", 32.0, "original_max_position_embeddings", 4096, "rope_type", "yarn",
        "truncate", 0, "rope_theta", 150000, "router_aux_loss_coef", 0.9, "sliding_window", shape->window,
        "swiglu_limit", 7.0, "tie_word_embeddings", 0, "use_cache", 1, "vocab_size", shape->vocab);
    char *text = config ? json_dumps(config, JSON_INDENT(2) | JSON_SORT_KEYS) : NULL;
    enum sg_status status = text ? sg_file_write_atomic(path, text, strlen(text), err)
                                 : sg_fail(err, SG_ENOMEM, "%s: out of memory", path);
    free(text);
    json_decref(config);
    return status;
}

/* The header's length, the header (padded to 8 bytes), nothing else. */
static enum sg_status write_header(const struct pieces *pieces, struct sink *sink, struct sg_error *err)
{
    struct sg_buffer header = {0};
    uint64_t offset = 0;
    sg_buffer_puts(&header, "{\"__metadata__\":{\"format\":\"pt\"}");
    for (size_t i = 0; i < pieces->n; i++) {
        const struct piece *piece = &pieces->list[i];
        sg_buffer_printf(&header, ",\"%s\":{\"dtype\":\"%s\",\"shape\":[", piece->name, sg_dtype_name(piece->dtype));
        for (int d = 0; d < piece->n_dims; d++)
            sg_buffer_printf(&header, d ? ",%lld" : "%lld", (long long)piece->shape[d]);
        sg_buffer_printf(&header, "],\"data_offsets\":[%llu,%llu]}", (unsigned long long)offset,
                         (unsigned long long)(offset + piece->n_bytes));
        offset += piece->n_bytes;
    }
    sg_buffer_putc(&header, '}');
    while (header.len % 8 && !header.failed)
        sg_buffer_putc(&header, ' ');
    uint8_t length[8];
    for (int i = 0; i < 8; i++)
        length[i] = (uint8_t)((uint64_t)header.len >> 8 * i);
    enum sg_status status = sg_buffer_status(&header, err);
    if (status == SG_OK)
        status = sink_write(sink, length, 8, err);
    if (status == SG_OK)
        status = sink_write(sink, (const uint8_t *)header.data, header.len, err);
    sg_buffer_free(&header);
    return status;
}

static enum sg_status write_safetensors(const struct sg_model_shape *shape, const char *path,
                                        const struct pieces *pieces, struct sg_error *err)
{
    struct sink sink = {.file = fopen(path, "wb"), .path = path};
    if (!sink.file)
        return sg_fail(err, SG_EIO, "%s: cannot create: %s", path, strerror(errno));
    enum sg_status status = write_header(pieces, &sink, err);
    if (status == SG_OK)
        status = write_pieces(shape, pieces, &sink, err);
    off_t end = ftello(sink.file); /* the last tensor may be a hole */
    bool good = end >= 0 && fflush(sink.file) == 0 && ftruncate(fileno(sink.file), end) == 0;
    if (fclose(sink.file) != 0 || !good)
        status = status == SG_OK ? sg_fail(err, SG_EIO, "%s: cannot write: %s", path, strerror(errno)) : status;
    if (status != SG_OK)
        unlink(path);
    return status;
}

static enum sg_status make_folder(const struct sg_model_shape *shape, const char *folder, const struct pieces *pieces,
                                  struct sg_error *err)
{
    enum sg_status status = sg_mkdir_p(folder, err);
    char *config = NULL, *model = NULL;
    if (status == SG_OK &&
        (asprintf(&config, "%s/config.json", folder) < 0 || asprintf(&model, "%s/model.safetensors", folder) < 0))
        status = sg_fail(err, SG_ENOMEM, "out of memory");
    if (status == SG_OK)
        status = write_safetensors(shape, model, pieces, err);
    if (status == SG_OK)
        status = write_config(shape, config, err);
    free(config);
    free(model);
    return status;
}

/* --- the shape ------------------------------------------------------------------------------------------- */

static enum sg_status check(const struct sg_model_shape *shape, struct sg_error *err)
{
    const struct {
        const char *name;
        int value, multiple, most;
    } fields[] = {{"layers", shape->layers, 1, 1024},
                  {"hidden", shape->hidden, 32, 65536},
                  {"query heads", shape->q_heads, 1, 1024},
                  {"kv heads", shape->kv_heads, 1, 1024},
                  {"head dimension", shape->head_dim, 2, 1024},
                  {"experts", shape->experts, 1, 4096},
                  {"experts used", shape->experts_used, 1, shape->experts},
                  {"ffn", shape->ffn, 32, 65536},
                  {"vocabulary", shape->vocab, 1, 1 << 24},
                  {"window", shape->window, 1, 1 << 24}};
    for (size_t i = 0; i < sizeof fields / sizeof fields[0]; i++)
        if (fields[i].value < 1 || fields[i].value > fields[i].most || fields[i].value % fields[i].multiple != 0)
            return sg_fail(err, SG_EINVALID, "shape: %s is %d, expected a multiple of %d up to %d", fields[i].name,
                           fields[i].value, fields[i].multiple, fields[i].most);
    if (shape->q_heads % shape->kv_heads != 0)
        return sg_fail(err, SG_EINVALID, "shape: %d query heads, expected a multiple of the %d kv heads",
                       shape->q_heads, shape->kv_heads);
    if (shape->dense != SG_BF16 && shape->dense != SG_F32 && (shape->dense != SG_Q8_0 || shape->safetensors))
        return sg_fail(err, SG_EINVALID, "shape: matrices as %s, expected BF16, F32%s", sg_dtype_name(shape->dense),
                       shape->safetensors ? " in safetensors" : " or Q8_0");
    if (shape->safetensors && (shape->tokenizer_gguf || shape->tokenizer_tiktoken))
        return sg_fail(err, SG_EINVALID, "shape: a tokenizer for a safetensors folder, expected none");
    if (shape->tokenizer_tiktoken && shape->vocab != SG_O200K_HARMONY_VOCAB)
        return sg_fail(err, SG_EINVALID, "shape: vocabulary is %d, expected %d for a tokenizer made from ranks",
                       shape->vocab, SG_O200K_HARMONY_VOCAB);
    return SG_OK;
}

enum sg_status sg_make_model(const struct sg_model_shape *shape, const char *path, struct sg_error *err)
{
    struct sg_error scratch;
    err = err ? err : &scratch;
    enum sg_status status = check(shape, err);
    if (status != SG_OK)
        return status;
    struct pieces pieces = {0};
    status = list_pieces(shape, &pieces, err);
    if (status == SG_OK)
        status = shape->safetensors ? make_folder(shape, path, &pieces, err) : make_gguf(shape, path, &pieces, err);
    free(pieces.list);
    return status;
}
