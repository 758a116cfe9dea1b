/* Random models: in the golden model's shape they have exactly its tensors, metadata and config; weights are as large
 * as promised; the tokenizer made from ranks joins what it says. */
#include "weights/make_model.h"
#include "weights_helpers.h"

#include <jansson.h>
#include <math.h>

static const struct sg_model_shape tiny = {.layers = 4,
                                           .hidden = 128,
                                           .q_heads = 4,
                                           .kv_heads = 2,
                                           .head_dim = 64,
                                           .experts = 8,
                                           .experts_used = 4,
                                           .ffn = 96,
                                           .vocab = 512,
                                           .window = 128,
                                           .dense = SG_BF16,
                                           .seed = 7};

static struct sg_weights *make(const struct sg_model_shape *shape, const char *name)
{
    struct sg_error err = {0};
    if (sg_make_model(shape, scratch_path(name), &err) != SG_OK)
        fail_msg("%s", err.text);
    return open_or_fail(scratch_path(name));
}

static void expect_same_tensors(const struct sg_weights *made, const struct sg_weights *golden)
{
    assert_int_equal(sg_weights_count(made), sg_weights_count(golden));
    for (size_t i = 0; i < sg_weights_count(golden); i++) {
        const struct sg_tensor *want = sg_weights_at(golden, i), *got = sg_weights_find(made, want->name);
        if (!got)
            fail_msg("no tensor %s", want->name);
        assert_int_equal(got->dtype, want->dtype);
        assert_int_equal(got->n_dims, want->n_dims);
        assert_memory_equal(got->shape, want->shape, sizeof want->shape);
    }
}

/* Every model key of the golden file has the same type and value, whatever names the model and its size. */
static void expect_same_keys(const struct sg_weights *made, const struct sg_weights *golden)
{
    const char *type;
    for (size_t i = 0;; i++) {
        const char *key = sg_meta_key(golden, i, &type);
        if (!key)
            break;
        if (strncmp(key, "gpt-oss.", 8) != 0 && strncmp(key, "tokenizer.", 10) != 0 &&
            strcmp(key, "general.architecture") != 0 && strcmp(key, "general.file_type") != 0)
            continue;
        double x = NAN, y = NAN;
        struct sg_slice a, b;
        if (sg_meta_double(golden, key, &x)) {
            assert_true(sg_meta_double(made, key, &y));
            if (x != y)
                fail_msg("%s is %g, expected %g", key, y, x);
        } else if (sg_meta_string(golden, key, &a)) {
            assert_true(sg_meta_string(made, key, &b));
            assert_true(sg_slice_equal(a, b));
        } else {
            int64_t n = sg_meta_array_count(golden, key);
            assert_true(n > 0 && sg_meta_array_count(made, key) == n);
            for (int64_t k = 0; k < n && sg_meta_array_string(golden, key, k, &a); k++)
                assert_true(sg_meta_array_string(made, key, k, &b) && sg_slice_equal(a, b));
        }
    }
}

static void test_like_golden_gguf(void **state)
{
    (void)state;
    const char *const files[] = {"tiny-a-bf16.gguf", "tiny-a-q8.gguf"};
    const enum sg_dtype dense[] = {SG_BF16, SG_Q8_0};
    for (int i = 0; i < 2; i++) {
        struct sg_weights *golden = open_or_fail(golden_path(files[i]));
        struct sg_model_shape shape = tiny;
        shape.dense = dense[i];
        shape.tokenizer_gguf = golden_path(files[i]);
        struct sg_weights *made = make(&shape, "made.gguf");
        expect_same_tensors(made, golden);
        expect_same_keys(made, golden);
        sg_weights_close(made);
        sg_weights_close(golden);
    }
}

static void test_like_golden_safetensors(void **state)
{
    (void)state;
    struct sg_weights *golden = open_or_fail(golden_path("hf"));
    struct sg_model_shape shape = tiny;
    shape.safetensors = true;
    struct sg_weights *made = make(&shape, "made");
    expect_same_tensors(made, golden);
    json_t *want = json_deep_copy(sg_weights_config(golden));
    json_object_del(want, "eos_token_id"); /* belong to its tokenizer */
    json_object_del(want, "pad_token_id");
    json_object_del(want, "transformers_version");
    if (!json_equal(want, sg_weights_config(made)))
        fail_msg("config.json differs: %s", json_dumps(sg_weights_config(made), JSON_SORT_KEYS));
    json_decref(want);
    sg_weights_close(made);
    sg_weights_close(golden);
}

/* Root mean square about `centre` of all values, which must be finite. */
static double deviation(const struct sg_weights *weights, const char *name, double centre)
{
    const struct sg_tensor *tensor = sg_weights_find(weights, name);
    assert_non_null(tensor);
    int64_t columns = tensor->shape[tensor->n_dims - 1], rows = 1;
    for (int i = 0; i + 1 < tensor->n_dims; i++)
        rows *= tensor->shape[i];
    float *row = malloc((size_t)columns * sizeof *row);
    double sum = 0;
    for (int64_t i = 0; i < rows; i++) {
        sg_dequant_row(tensor, i, row);
        for (int64_t k = 0; k < columns; k++) {
            assert_true(isfinite(row[k]));
            sum += ((double)row[k] - centre) * ((double)row[k] - centre);
        }
    }
    free(row);
    return sqrt(sum / (double)(rows * columns));
}

static void expect_near(double got, double want, double factor)
{
    if (!(got > want / factor && got < want * factor))
        fail_msg("deviation is %g, expected %g within a factor of %g", got, want, factor);
}

static void check_sizes(const struct sg_weights *weights, bool hf)
{
    expect_near(deviation(weights, hf ? "model.embed_tokens.weight" : "token_embd.weight", 0), 1, 1.1);
    expect_near(deviation(weights, hf ? "lm_head.weight" : "output.weight", 0), 3 / sqrt(128), 1.1);
    expect_near(deviation(weights, hf ? "model.norm.weight" : "output_norm.weight", 1), 0.1, 1.3);
    expect_near(deviation(weights, hf ? "model.layers.1.self_attn.o_proj.weight" : "blk.1.attn_output.weight", 0),
                1 / sqrt(256), 1.1);
    expect_near(deviation(weights, hf ? "model.layers.3.mlp.router.weight" : "blk.3.ffn_gate_inp.weight", 0),
                2 / sqrt(128), 1.1);
    expect_near(
        deviation(weights, hf ? "model.layers.0.mlp.experts.down_proj_blocks" : "blk.0.ffn_down_exps.weight", 0),
        1 / sqrt(96), 1.5);
    expect_near(
        deviation(weights, hf ? "model.layers.2.mlp.experts.gate_up_proj_blocks" : "blk.2.ffn_up_exps.weight", 0),
        1 / sqrt(128), 1.5);
}

static void test_sizes(void **state)
{
    (void)state;
    for (int form = 0; form < 5; form++) {
        struct sg_model_shape shape = tiny;
        shape.safetensors = form >= 3;
        shape.dense = form == 0 ? SG_Q8_0 : form % 2 ? SG_BF16 : SG_F32;
        struct sg_weights *weights = make(&shape, shape.safetensors ? "sizes" : "sizes.gguf");
        check_sizes(weights, shape.safetensors);
        for (size_t i = 0; i < sg_weights_count(weights); i++) {
            const struct sg_tensor *tensor = sg_weights_at(weights, i);
            const uint8_t *bytes = tensor->data;
            for (uint64_t k = 0; tensor->dtype == SG_Q8_0 && k < tensor->n_bytes; k++)
                assert_true(k % 34 < 2 || bytes[k] != 0x80);
        }
        sg_weights_close(weights);
    }
}

static void file_sha256(const char *path, char hex[SG_SHA256_HEX])
{
    struct sg_buffer bytes = {0};
    assert_int_equal(sg_file_read(path, 64 << 20, &bytes, NULL), SG_OK);
    sg_sha256(bytes.data, bytes.len, hex);
    sg_buffer_free(&bytes);
}

static void test_seed(void **state)
{
    (void)state;
    char first[SG_SHA256_HEX], again[SG_SHA256_HEX], other[SG_SHA256_HEX];
    struct sg_model_shape shape = tiny;
    sg_weights_close(make(&shape, "seed.gguf"));
    file_sha256(scratch_path("seed.gguf"), first);
    sg_weights_close(make(&shape, "seed.gguf"));
    file_sha256(scratch_path("seed.gguf"), again);
    shape.seed++;
    sg_weights_close(make(&shape, "seed.gguf"));
    file_sha256(scratch_path("seed.gguf"), other);
    assert_string_equal(first, again);
    assert_string_not_equal(first, other);
}

/* The published shapes as holes: sizes as published, hardly any disk. */
static void test_sparse(void **state)
{
    (void)state;
    for (int form = 0; form < 3; form++) {
        struct sg_model_shape shape = form == 0 ? sg_shape_20b : sg_shape_120b;
        shape.sparse = true;
        shape.safetensors = form == 2;
        shape.dense = form == 2 ? SG_BF16 : SG_Q8_0;
        struct sg_weights *weights = make(&shape, form == 2 ? "sparse" : "sparse.gguf");
        double n = 0;
        for (size_t i = 0; i < sg_weights_count(weights); i++) {
            const struct sg_tensor *tensor = sg_weights_at(weights, i);
            n += (double)tensor->shape[0] * (double)tensor->shape[1] * (double)tensor->shape[2];
        }
        assert_true(form == 0 ? n > 20.5e9 && n < 21.5e9 : n > 116e9 && n < 118e9); /* 21 B and 117 B parameters */
        double size = (double)sg_weights_file_size(weights, 0);
        assert_true(form == 0 ? size > 12e9 && size < 14e9 : size > 61e9 && size < 66e9);
        struct stat info;
        assert_int_equal(stat(sg_weights_file_path(weights, 0), &info), 0);
        assert_true(info.st_blocks * 512 < 4 << 20);
        sg_weights_close(weights);
        unlink(scratch_path("sparse.gguf"));
    }
}

static const char *ranks_path(void)
{
    static char path[1024];
    const char *shared = getenv("SG_SHARED");
    snprintf(path, sizeof path, "%s/vectors/o200k_base.tiktoken", shared ? shared : "../shared");
    if (access(path, R_OK) != 0) {
        print_message("skipped: no %s (set SG_SHARED)\n", path);
        skip();
    }
    return path;
}

static bool is_text(struct sg_slice slice, const char *text)
{
    return sg_slice_equal(slice, sg_slice_of(text));
}

/* All 199,998 ranks but the 256 single bytes come from a merge, in their order; the pair's spelling without the space
 * is the token's. That encoding with these merges gives the published ids was checked by hand with `tokenizers`. */
static void test_tiktoken(void **state)
{
    (void)state;
    struct sg_model_shape shape = {.layers = 1,
                                   .hidden = 32,
                                   .q_heads = 1,
                                   .kv_heads = 1,
                                   .head_dim = 32,
                                   .experts = 1,
                                   .experts_used = 1,
                                   .ffn = 32,
                                   .vocab = SG_O200K_HARMONY_VOCAB,
                                   .window = 128,
                                   .dense = SG_Q8_0,
                                   .sparse = true,
                                   .tokenizer_tiktoken = ranks_path()};
    struct sg_weights *weights = make(&shape, "vocab.gguf");
    const char *tokens = "tokenizer.ggml.tokens", *merges = "tokenizer.ggml.merges";
    struct sg_slice token, merge;
    assert_int_equal(sg_meta_array_count(weights, tokens), SG_O200K_HARMONY_VOCAB);
    assert_int_equal(sg_meta_array_count(weights, "tokenizer.ggml.token_type"), SG_O200K_HARMONY_VOCAB);
    assert_int_equal(sg_meta_array_count(weights, merges), 199998 - 256);
    int64_t merged = 0;
    for (int64_t i = 0; i < 199998; i++) {
        assert_true(sg_meta_array_string(weights, tokens, i, &token));
        size_t characters = 0;
        for (size_t k = 0; k < token.len; k++)
            characters += (token.ptr[k] & 0xc0) != 0x80;
        if (characters == 1)
            continue;
        assert_true(sg_meta_array_string(weights, merges, merged++, &merge));
        const char *space = memchr(merge.ptr, ' ', merge.len);
        assert_non_null(space);
        size_t left = (size_t)(space - merge.ptr);
        assert_true(merge.len == token.len + 1 && left > 0 && left < token.len &&
                    memcmp(merge.ptr, token.ptr, left) == 0 &&
                    memcmp(space + 1, token.ptr + left, token.len - left) == 0);
    }
    /* ids of single bytes and of harmony's tokens, from the published rank file and registry */
    assert_true(sg_meta_array_string(weights, tokens, 0, &token) && is_text(token, "!"));
    assert_true(sg_meta_array_string(weights, tokens, 220, &token) && is_text(token, "\u0120")); /* space */
    assert_true(sg_meta_array_string(weights, tokens, 198, &token) && is_text(token, "\u010a")); /* newline */
    static const struct {
        int id;
        const char *name;
    } specials[] = {{199998, "<|startoftext|>"}, {199999, "<|endoftext|>"},   {200000, "<|reserved_200000|>"},
                    {200002, "<|return|>"},      {200003, "<|constrain|>"},   {200005, "<|channel|>"},
                    {200006, "<|start|>"},       {200007, "<|end|>"},         {200008, "<|message|>"},
                    {200012, "<|call|>"},        {200018, "<|endofprompt|>"}, {201087, "<|reserved_201087|>"}};
    for (size_t i = 0; i < sizeof specials / sizeof specials[0]; i++) {
        int64_t type;
        assert_true(sg_meta_array_string(weights, tokens, specials[i].id, &token) &&
                    is_text(token, specials[i].name));
        assert_true(sg_meta_array_int(weights, "tokenizer.ggml.token_type", specials[i].id, &type) && type == 3);
    }
    sg_weights_close(weights);
}

static void expect_refused(struct sg_model_shape shape, const char *text)
{
    struct sg_error err = {0};
    assert_int_equal(sg_make_model(&shape, scratch_path("refused.gguf"), &err), SG_EINVALID);
    expect_text(err.text, text);
    assert_int_not_equal(access(scratch_path("refused.gguf"), F_OK), 0);
}

static void test_refused(void **state)
{
    (void)state;
    struct sg_model_shape shape = tiny;
    shape.hidden = 100;
    expect_refused(shape, "hidden is 100, expected a multiple of 32");
    shape = tiny;
    shape.layers = 0;
    expect_refused(shape, "layers is 0");
    shape = tiny;
    shape.experts_used = 9;
    expect_refused(shape, "experts used is 9");
    shape = tiny;
    shape.kv_heads = 3;
    expect_refused(shape, "4 query heads, expected a multiple of the 3 kv heads");
    shape = tiny;
    shape.dense = SG_Q4_0;
    expect_refused(shape, "matrices as Q4_0, expected BF16, F32 or Q8_0");
    shape.dense = SG_Q8_0;
    shape.safetensors = true;
    expect_refused(shape, "matrices as Q8_0, expected BF16, F32 in safetensors");
    shape = tiny;
    shape.tokenizer_tiktoken = "ranks";
    expect_refused(shape, "vocabulary is 512, expected 201088");

    write_file(scratch_path("ranks"), "IQ== 0\nIg== 2\n", 14);
    shape.vocab = SG_O200K_HARMONY_VOCAB;
    shape.tokenizer_tiktoken = scratch_path("ranks");
    struct sg_error err = {0};
    assert_int_equal(sg_make_model(&shape, scratch_path("refused.gguf"), &err), SG_EFORMAT);
    expect_text(err.text, "ranks: line 2: expected");
    assert_int_not_equal(access(scratch_path("refused.gguf"), F_OK), 0);

    shape = tiny;
    sg_weights_close(make(&shape, "no-tokenizer.gguf"));
    shape.tokenizer_gguf = scratch_path("no-tokenizer.gguf");
    expect_refused(shape, "tokenizer.ggml.tokens has -1 tokens, expected 512");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_like_golden_gguf),
        cmocka_unit_test(test_like_golden_safetensors),
        cmocka_unit_test(test_sizes),
        cmocka_unit_test(test_seed),
        cmocka_unit_test(test_sparse),
        cmocka_unit_test(test_tiktoken),
        cmocka_unit_test(test_refused),
    };
    return cmocka_run_group_tests_name("make_model", tests, scratch_make, scratch_remove);
}
