/* The golden model's five files hold the same numbers: every tensor of each GGUF form is compared with the
 * safetensors form, byte by byte where the layouts meet, else value by value after dequantising. */
#include "weights_helpers.h"

#include <jansson.h>

enum { LAYERS = 4 };

static const struct sg_tensor *need(const struct sg_weights *weights, const char *format, int layer)
{
    char name[128];
    snprintf(name, sizeof name, format, layer);
    const struct sg_tensor *tensor = sg_weights_find(weights, name);
    if (!tensor)
        fail_msg("%s: no tensor %s", sg_weights_file_path(weights, 0), name);
    assert_string_equal(tensor->name, name);
    return tensor;
}

static int64_t rows_of(const struct sg_tensor *tensor)
{
    int64_t rows = 1;
    for (int i = 0; i + 1 < tensor->n_dims; i++)
        rows *= tensor->shape[i];
    return rows;
}

/* Row i of `a` is row first + step i of `b`, for all rows of a. Bits are compared. */
static void expect_rows(const struct sg_tensor *a, const struct sg_tensor *b, int64_t first, int64_t step)
{
    int64_t columns = a->shape[a->n_dims - 1];
    assert_int_equal(columns, b->shape[b->n_dims - 1]);
    assert_true(first + step * (rows_of(a) - 1) < rows_of(b));
    float *x = malloc((size_t)columns * sizeof *x), *y = malloc((size_t)columns * sizeof *y);
    for (int64_t i = 0; i < rows_of(a); i++) {
        sg_dequant_row(a, i, x);
        sg_dequant_row(b, first + step * i, y);
        if (memcmp(x, y, (size_t)columns * sizeof *x) != 0)
            fail_msg("%s row %lld differs from %s row %lld", a->name, (long long)i, b->name,
                     (long long)(first + step * i));
    }
    free(x);
    free(y);
}

static void expect_same(const struct sg_tensor *a, const struct sg_tensor *b)
{
    assert_int_equal(a->n_dims, b->n_dims);
    assert_memory_equal(a->shape, b->shape, sizeof a->shape);
    if (a->dtype == b->dtype && a->dtype != SG_MXFP4_ST)
        assert_memory_equal(a->data, b->data, a->n_bytes);
    expect_rows(a, b, 0, 1);
}

/* Names that differ only in spelling: GGUF, safetensors. */
static const char *const same_names[][2] = {
    {"blk.%d.attn_norm.weight", "model.layers.%d.input_layernorm.weight"},
    {"blk.%d.attn_q.weight", "model.layers.%d.self_attn.q_proj.weight"},
    {"blk.%d.attn_k.weight", "model.layers.%d.self_attn.k_proj.weight"},
    {"blk.%d.attn_v.weight", "model.layers.%d.self_attn.v_proj.weight"},
    {"blk.%d.attn_q.bias", "model.layers.%d.self_attn.q_proj.bias"},
    {"blk.%d.attn_k.bias", "model.layers.%d.self_attn.k_proj.bias"},
    {"blk.%d.attn_v.bias", "model.layers.%d.self_attn.v_proj.bias"},
    {"blk.%d.attn_output.weight", "model.layers.%d.self_attn.o_proj.weight"},
    {"blk.%d.attn_output.bias", "model.layers.%d.self_attn.o_proj.bias"},
    {"blk.%d.attn_sinks.weight", "model.layers.%d.self_attn.sinks"},
    {"blk.%d.post_attention_norm.weight", "model.layers.%d.post_attention_layernorm.weight"},
    {"blk.%d.ffn_gate_inp.weight", "model.layers.%d.mlp.router.weight"},
    {"blk.%d.ffn_gate_inp.bias", "model.layers.%d.mlp.router.bias"},
    {"blk.%d.ffn_down_exps.weight", "model.layers.%d.mlp.experts.down_proj_blocks"},
    {"blk.%d.ffn_down_exps.bias", "model.layers.%d.mlp.experts.down_proj_bias"},
};

static void expect_embeddings(const struct sg_weights *gguf, const struct sg_weights *hf)
{
    expect_same(need(gguf, "token_embd.weight", 0), need(hf, "model.embed_tokens.weight", 0));
    expect_same(need(gguf, "output.weight", 0), need(hf, "lm_head.weight", 0));
    expect_same(need(gguf, "output_norm.weight", 0), need(hf, "model.norm.weight", 0));
}

static void check_llama_cpp_form(const char *file)
{
    struct sg_weights *hf = open_or_fail(golden_path("hf")), *gguf = open_or_fail(golden_path(file));
    expect_embeddings(gguf, hf);
    for (int layer = 0; layer < LAYERS; layer++) {
        for (size_t i = 0; i < sizeof same_names / sizeof same_names[0]; i++)
            expect_same(need(gguf, same_names[i][0], layer), need(hf, same_names[i][1], layer));
        const struct sg_tensor *both = need(hf, "model.layers.%d.mlp.experts.gate_up_proj_blocks", layer);
        expect_rows(need(gguf, "blk.%d.ffn_gate_exps.weight", layer), both, 0, 2);
        expect_rows(need(gguf, "blk.%d.ffn_up_exps.weight", layer), both, 1, 2);
    }
    assert_int_equal(sg_weights_count(gguf), 3 + LAYERS * 19);
    sg_weights_close(gguf);
    sg_weights_close(hf);
}

static void test_bf16(void **state)
{
    (void)state;
    check_llama_cpp_form("tiny-a-bf16.gguf");
}

static void test_q8(void **state)
{
    (void)state;
    check_llama_cpp_form("tiny-a-q8.gguf");
}

/* Fused q, k, v; type 4: scale byte, then the safetensors' own 16 bytes. */
static void test_ollama(void **state)
{
    (void)state;
    struct sg_weights *hf = open_or_fail(golden_path("hf")), *gguf = open_or_fail(golden_path("tiny-a-ollama.gguf"));
    expect_embeddings(gguf, hf);
    for (int layer = 0; layer < LAYERS; layer++) {
        const struct sg_tensor *fused = need(gguf, "blk.%d.attn_qkv.weight", layer);
        assert_int_equal(rows_of(fused), 512);
        expect_rows(need(hf, "model.layers.%d.self_attn.q_proj.weight", layer), fused, 0, 1);
        expect_rows(need(hf, "model.layers.%d.self_attn.k_proj.weight", layer), fused, 256, 1);
        expect_rows(need(hf, "model.layers.%d.self_attn.v_proj.weight", layer), fused, 384, 1);
        const struct sg_tensor *blocks = need(hf, "model.layers.%d.mlp.experts.gate_up_proj_blocks", layer);
        const struct sg_tensor *type4 = need(gguf, "blk.%d.ffn_gate_up_exps.weight", layer);
        assert_int_equal(type4->dtype, SG_MXFP4_T4);
        expect_same(type4, blocks);
        for (uint64_t i = 0; i < blocks->n_bytes / 16; i++) {
            const uint8_t *block = (const uint8_t *)type4->data + 17 * i;
            assert_int_equal(block[0], blocks->scales[i]);
            assert_memory_equal(block + 1, (const uint8_t *)blocks->data + 16 * i, 16);
        }
        const struct sg_tensor *bias = need(gguf, "blk.%d.ffn_gate_up_exps.bias", layer);
        assert_int_equal(bias->dtype, SG_BF16);
        expect_same(bias, need(hf, "model.layers.%d.mlp.experts.gate_up_proj_bias", layer));
    }
    sg_weights_close(gguf);
    gguf = open_or_fail(golden_path("tiny-a-ollama-new.gguf"));
    for (int layer = 0; layer < LAYERS; layer++)
        expect_same(need(gguf, "blk.%d.ffn_gate_up_exps.weight", layer),
                    need(hf, "model.layers.%d.mlp.experts.gate_up_proj_blocks", layer));
    sg_weights_close(gguf);
    sg_weights_close(hf);
}

static void test_safetensors_shape(void **state)
{
    (void)state;
    struct sg_weights *hf = open_or_fail(golden_path("hf"));
    assert_int_equal(sg_weights_kind(hf), SG_WEIGHTS_SAFETENSORS);
    assert_string_equal(sg_weights_folder(hf), golden_path("hf"));
    assert_int_equal(sg_weights_file_count(hf), 1);
    assert_string_equal(sg_weights_file_path(hf, 0), golden_path("hf/model.safetensors"));
    struct stat info;
    assert_int_equal(stat(golden_path("hf/model.safetensors"), &info), 0);
    assert_int_equal(sg_weights_file_size(hf, 0), info.st_size);
    const json_t *config = sg_weights_config(hf);
    assert_int_equal(json_integer_value(json_object_get(config, "hidden_size")), 128);
    const struct sg_tensor *experts = need(hf, "model.layers.%d.mlp.experts.gate_up_proj_blocks", 3);
    assert_int_equal(experts->dtype, SG_MXFP4_ST);
    assert_int_equal(experts->n_dims, 3);
    const int64_t shape[4] = {8, 192, 128, 1};
    assert_memory_equal(experts->shape, shape, sizeof shape);
    assert_int_equal(sg_tensor_row_bytes(experts), 64);
    assert_null(sg_weights_find(hf, "model.layers.3.mlp.experts.gate_up_proj_scales"));
    assert_int_equal(sg_weights_count(hf), 3 + LAYERS * 17);
    int64_t number;
    assert_false(sg_meta_int(hf, "general.alignment", &number));
    assert_null(sg_weights_skipped(hf, "no such tensor"));
    sg_weights_close(hf);

    /* the file stands for its folder */
    hf = open_or_fail(golden_path("hf/model.safetensors"));
    assert_non_null(sg_weights_config(hf));
    sg_weights_close(hf);
}

static void test_metadata(void **state)
{
    (void)state;
    struct sg_weights *gguf = open_or_fail(golden_path("tiny-a-bf16.gguf"));
    assert_int_equal(sg_weights_kind(gguf), SG_WEIGHTS_GGUF);
    assert_null(sg_weights_config(gguf));
    assert_null(sg_weights_folder(gguf));
    struct sg_slice text;
    int64_t integer;
    double number;
    assert_true(sg_meta_string(gguf, "general.architecture", &text));
    assert_true(sg_slice_equal(text, sg_slice_of("gpt-oss")));
    assert_true(sg_meta_int(gguf, "gpt-oss.attention.sliding_window", &integer));
    assert_int_equal(integer, 128);
    assert_true(sg_meta_double(gguf, "gpt-oss.rope.freq_base", &number));
    assert_true(number == 150000);
    assert_true(sg_meta_double(gguf, "gpt-oss.block_count", &number));
    assert_true(number == LAYERS);
    assert_false(sg_meta_int(gguf, "general.architecture", &integer));
    assert_false(sg_meta_int(gguf, "gpt-oss.rope.freq_base", &integer));
    assert_false(sg_meta_string(gguf, "gpt-oss.block_count", &text));
    assert_false(sg_meta_int(gguf, "no.such.key", &integer));
    assert_int_equal(sg_meta_array_count(gguf, "tokenizer.ggml.tokens"), 512);
    assert_int_equal(sg_meta_array_count(gguf, "general.architecture"), -1);
    assert_true(sg_meta_array_string(gguf, "tokenizer.ggml.tokens", 495, &text));
    assert_true(sg_slice_equal(text, sg_slice_of("<|return|>")));
    assert_false(sg_meta_array_string(gguf, "tokenizer.ggml.tokens", 512, &text));
    assert_false(sg_meta_array_string(gguf, "tokenizer.ggml.tokens", -1, &text));
    assert_true(sg_meta_array_int(gguf, "tokenizer.ggml.token_type", 495, &integer));
    assert_int_equal(integer, 3);
    const char *type = NULL;
    assert_string_equal(sg_meta_key(gguf, 0, &type), "general.architecture");
    assert_string_equal(type, "string");
    size_t n = 0;
    for (const char *key; (key = sg_meta_key(gguf, n, &type)) != NULL; n++)
        if (strcmp(key, "tokenizer.ggml.token_type") == 0)
            assert_string_equal(type, "array[i32]");
    assert_int_equal(n, 33);
    sg_weights_close(gguf);
}

/* Released pages read the same again. */
static void test_release(void **state)
{
    (void)state;
    struct sg_weights *hf = open_or_fail(golden_path("hf"));
    const struct sg_tensor *tensor = need(hf, "model.layers.%d.mlp.experts.gate_up_proj_blocks", 1);
    void *copy = malloc(tensor->n_bytes);
    memcpy(copy, tensor->data, tensor->n_bytes);
    uint8_t last_scale = tensor->scales[tensor->n_bytes / 16 - 1];
    sg_weights_release_pages(hf, tensor);
    assert_memory_equal(tensor->data, copy, tensor->n_bytes);
    assert_int_equal(tensor->scales[tensor->n_bytes / 16 - 1], last_scale);
    free(copy);
    sg_weights_close(hf);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bf16),     cmocka_unit_test(test_q8),
        cmocka_unit_test(test_ollama),   cmocka_unit_test(test_safetensors_shape),
        cmocka_unit_test(test_metadata), cmocka_unit_test(test_release),
    };
    return cmocka_run_group_tests_name("weights", tests, NULL, NULL);
}
