/* The forward pass and its single steps against float64 values (data/README.md): two random models whose shapes the
 * reference model does not have, and steps in which a mistake would hardly move any logit. */
#include "golden.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>
#include <jansson.h>

#include "model/forward.h"

/* Valid as long as that of data_path. */
static const char *in_data(const char *name, const char *ending)
{
    char file[64];
    snprintf(file, sizeof file, "%s%s", name, ending);
    return data_path(file);
}

static json_t *load(const char *name)
{
    json_error_t error;
    json_t *json = json_load_file(in_data(name, ".json"), 0, &error);
    if (!json)
        fail_msg("%s.json: %s", name, error.text);
    return json;
}

/* --- whole models ----------------------------------------------------------------------------------------- */

/* The rounding of `fast` now and then tips the choice of an expert, which shows in the mean of so few positions: the
 * gaps between router logits go down to 0.02 here. A float64 simulation of int8 activations gives six other choices
 * in tiny-128e and one in tiny-odd, mean KL 0.0068 and 0.0034, median 0.0008 and 0.0013. */
static void check_model(const char *name)
{
    size_t n, count;
    json_t *about = load(name), *positions = json_object_get(about, "positions");
    int32_t *tokens = read_numbers(in_data(name, ".tokens.bin"), sizeof *tokens, &n);
    float *expected = read_numbers(in_data(name, ".logits.bin"), sizeof *expected, &count), largest = 0;
    struct sg_model *exact = open_model(in_data(name, ".gguf"), SG_EXACT, true, 2);
    struct sg_model *fast = open_model(in_data(name, ".gguf"), SG_FAST, true, 2);
    size_t vocabulary = (size_t)exact->config.vocabulary, n_positions = json_array_size(positions);
    assert_int_equal(count, n_positions * vocabulary);

    float *logits = run_model(exact, tokens, (int)n, 48, NULL), *rough = run_model(fast, tokens, (int)n, 48, NULL);
    for (size_t i = 0; i < n_positions; i++) {
        size_t at = (size_t)json_integer_value(json_array_get(positions, i));
        float difference = largest_difference(logits + at * vocabulary, expected + i * vocabulary, vocabulary);
        assert_true(difference <= 1e-3f);
        largest = difference > largest ? difference : largest;
    }
    struct comparison result = compare_logits(logits, rough, n, vocabulary);
    print_message("%s: largest difference %.2g; fast against exact: KL %.2g in the mean, %.2g in the median, top-1 "
                  "agreement where clear %.4f\n",
                  name, (double)largest, result.mean_kl, result.median_kl, result.agreement);
    assert_true(result.median_kl < 2e-3);
    assert_true(result.mean_kl < 2e-2);
    assert_true(result.agreement >= 0.98);
    free(logits);
    free(rough);
    sg_model_close(exact);
    sg_model_close(fast);
    free(tokens);
    free(expected);
    json_decref(about);
}

static void test_128_experts(void **unused)
{
    (void)unused;
    check_model("tiny-128e");
}

static void test_odd_shape(void **unused)
{
    (void)unused;
    check_model("tiny-odd");
}

/* --- single steps ----------------------------------------------------------------------------------------- */

static json_t *units;

static int load_units(void **unused)
{
    (void)unused;
    units = load("units");
    return 0;
}

static int free_units(void **unused)
{
    (void)unused;
    json_decref(units);
    return 0;
}

/* Numbers of a JSON array, of arrays within it too, one after the other; `out` has room for `max`. */
static size_t numbers(const json_t *array, double *out, size_t max)
{
    size_t n = 0;
    for (size_t i = 0; i < json_array_size(array); i++) {
        const json_t *item = json_array_get(array, i);
        if (json_is_array(item)) {
            n += numbers(item, out + n, max - n);
        } else {
            assert_true(n < max && json_is_number(item));
            out[n++] = json_number_value(item);
        }
    }
    return n;
}

static size_t floats(const json_t *object, const char *key, float *out, size_t max)
{
    double wide[8192];
    assert_true(max <= sizeof wide / sizeof wide[0]);
    size_t n = numbers(json_object_get(object, key), wide, max);
    assert_true(n > 0);
    for (size_t i = 0; i < n; i++)
        out[i] = (float)wide[i];
    return n;
}

static void assert_near(double got, double want, double relative, double absolute, const char *what, size_t i)
{
    if (!(fabs(got - want) <= relative * fabs(want) + absolute))
        fail_msg("%s, value %zu: got %.9g, expected %.9g", what, i, got, want);
}

static void test_swiglu(void **unused)
{
    (void)unused;
    static float h[2048], gate[1024], up[1024], want[1024], out[1024];
    const json_t *unit = json_object_get(units, "swiglu");
    size_t n = floats(unit, "h", h, 2048) / 2;
    assert_int_equal(floats(unit, "out", want, 1024), n);
    for (size_t i = 0; i < n; i++) {
        gate[i] = h[2 * i];
        up[i] = h[2 * i + 1];
    }
    for (const struct sg_kernels *const *level = sg_kernels_all(); *level; level++) {
        (*level)->swiglu_clamped(gate, up, (int)n, 7.0f, out);
        for (size_t i = 0; i < n; i++) /* exp ends near e^-88: what it leaves of a gate of -120 is as good as 0 */
            assert_near((double)out[i], (double)want[i], 2e-6, 6e-36, (*level)->name, i);
    }
}

static void test_rmsnorm(void **unused)
{
    (void)unused;
    const json_t *cases = json_object_get(units, "rmsnorm");
    for (size_t c = 0; c < json_array_size(cases); c++)
        for (int small = 0; small < 2; small++)
            for (const struct sg_kernels *const *level = sg_kernels_all(); *level; level++) {
                float x[256], scale[256], want[256], out[256];
                const json_t *unit = json_array_get(cases, c);
                size_t n = floats(unit, "x", x, 256);
                assert_int_equal(floats(unit, "weight", scale, 256), n);
                assert_int_equal(floats(unit, small ? "out_eps_1e-6" : "out_eps_1e-5", want, 256), n);
                (*level)->rmsnorm(x, scale, (int)n, small ? 1e-6f : 1e-5f, out);
                for (size_t i = 0; i < n; i++)
                    assert_near((double)out[i], (double)want[i], 1e-6, 0,
                                json_string_value(json_object_get(unit, "name")), i);
            }
}

/* A model for single steps: no file, matrices over arrays of ours. */
static struct sg_model *create_model(const struct sg_config *config)
{
    struct sg_model *model = calloc(1, sizeof *model);
    struct sg_error err;
    assert_non_null(model);
    model->config = *config;
    model->options.precision = SG_EXACT;
    assert_int_equal(sg_kernels_select(&model->kernels, &err), SG_OK);
    assert_int_equal(sg_pool_create(2, &model->pool, &err), SG_OK);
    static uint8_t *no_scratch[2]; /* F32 rows are multiplied where they are */
    model->thread_scratch = no_scratch;
    return model;
}

static struct sg_scratch *create_scratch(const struct sg_model *model, int rows, int context)
{
    struct sg_scratch *scratch;
    struct sg_error err;
    assert_int_equal(sg_scratch_create(model, rows, context, &scratch, &err), SG_OK);
    return scratch;
}

static void destroy_model(struct sg_model *model, struct sg_scratch *scratch)
{
    sg_scratch_destroy(scratch);
    sg_pool_destroy(model->pool);
    free(model);
}

/* An F32 tensor over `data`, and the matrix that is all of it. */
static void set_matrix(struct sg_tensor *tensor, struct sg_matrix *matrix, const float *data, int rows, int columns)
{
    *tensor = (struct sg_tensor){.name = "test",
                                 .dtype = SG_F32,
                                 .n_dims = 2,
                                 .shape = {rows, columns, 1, 1},
                                 .data = data,
                                 .n_bytes = (uint64_t)rows * (uint64_t)columns * 4};
    *matrix = (struct sg_matrix){
        .tensor = tensor, .rows = rows, .columns = columns, .n_experts = 1, .expert_stride = rows, .step = 1};
}

static double number(const json_t *object, const char *key)
{
    assert_true(json_is_number(json_object_get(object, key)));
    return json_number_value(json_object_get(object, key));
}

/* The tables that a forward pass without layers leaves behind. */
static void check_yarn(const json_t *unit)
{
    const char *name = json_string_value(json_object_get(unit, "name"));
    const struct sg_config config = {.architecture = SG_GPTOSS,
                                     .hidden = 1,
                                     .vocabulary = 1,
                                     .context = 131072,
                                     .n_heads = 1,
                                     .n_kv_heads = 1,
                                     .head_dim = (int)number(unit, "head_dim"),
                                     .ffn = 1,
                                     .rope_theta = number(unit, "theta"),
                                     .yarn_factor = number(unit, "factor"),
                                     .yarn_original_context = number(unit, "original"),
                                     .yarn_beta_fast = number(unit, "beta_fast"),
                                     .yarn_beta_slow = number(unit, "beta_slow")};
    struct sg_model *model = create_model(&config);
    struct sg_scratch *scratch = create_scratch(model, 8, 32);
    static const float zero;
    struct sg_tensor embedding;
    struct sg_matrix ignored;
    set_matrix(&embedding, &ignored, &zero, 1, 1);
    model->embedding = &embedding;

    double want[256], where[8];
    size_t half = numbers(json_object_get(unit, "inverse_frequency"), want, 256);
    assert_int_equal(half, config.head_dim / 2);
    for (size_t i = 0; i < half; i++)
        assert_near(scratch->inverse_frequency[i], want[i], 1e-12, 0, name, i);
    assert_near(scratch->concentration, number(unit, "concentration"), 1e-12, 0, name, 0);

    int32_t tokens[8] = {0}, positions[8];
    bool unwanted[8] = {false};
    size_t n = numbers(json_object_get(unit, "positions"), where, 8);
    for (size_t i = 0; i < n; i++)
        positions[i] = (int32_t)where[i];
    struct sg_batch batch = {(int)n, tokens, positions, NULL, unwanted, NULL};
    sg_forward(model, scratch, &batch);
    assert_int_equal(numbers(json_object_get(unit, "cos"), want, 256), n * half);
    for (size_t i = 0; i < n * half; i++)
        assert_near((double)scratch->cos[i], want[i], 1e-7, 1e-9, name, i);
    assert_int_equal(numbers(json_object_get(unit, "sin"), want, 256), n * half);
    for (size_t i = 0; i < n * half; i++)
        assert_near((double)scratch->sin[i], want[i], 1e-7, 1e-9, name, i);
    destroy_model(model, scratch);
}

static void test_yarn(void **unused)
{
    (void)unused;
    const json_t *cases = json_object_get(units, "yarn");
    assert_true(json_array_size(cases) > 0);
    for (size_t c = 0; c < json_array_size(cases); c++)
        check_yarn(json_array_get(cases, c));
}

/* Rows of the input are unit vectors, so that the router's columns are the logits. */
static void test_router(void **unused)
{
    (void)unused;
    enum { ROWS = 3, EXPERTS = 128 };
    const json_t *unit = json_object_get(units, "router");
    int top = (int)number(unit, "top");
    float logits[ROWS * EXPERTS], weights[EXPERTS * ROWS];
    assert_int_equal(floats(unit, "logits", logits, ROWS * EXPERTS), ROWS * EXPERTS);
    for (int e = 0; e < EXPERTS; e++)
        for (int row = 0; row < ROWS; row++)
            weights[e * ROWS + row] = logits[row * EXPERTS + e];
    const struct sg_config config = {.architecture = SG_GPTOSS,
                                     .hidden = ROWS,
                                     .vocabulary = 1,
                                     .context = 32,
                                     .n_heads = 1,
                                     .n_kv_heads = 1,
                                     .head_dim = 2,
                                     .ffn = 1,
                                     .n_experts = EXPERTS,
                                     .n_experts_used = top,
                                     .swiglu_limit = 7,
                                     .rope_theta = 10000,
                                     .yarn_factor = 1};
    struct sg_model *model = create_model(&config);
    struct sg_scratch *scratch = create_scratch(model, ROWS, 32);
    static const float zeros[EXPERTS * ROWS];
    struct sg_tensor router, in, out;
    struct sg_layer *layer = &model->layers[0];
    set_matrix(&router, &layer->router, weights, EXPERTS, ROWS);
    set_matrix(&in, &layer->gate, zeros, 1, ROWS);
    layer->up = layer->gate;
    set_matrix(&out, &layer->down, zeros, ROWS, 1);
    layer->router_bias = layer->gate_bias = layer->up_bias = layer->down_bias = zeros;
    for (int row = 0; row < ROWS; row++)
        for (int d = 0; d < ROWS; d++)
            scratch->t[row * ROWS + d] = row == d ? 1.0f : 0.0f;
    sg_gptoss_experts(model, scratch, 0, ROWS);

    double experts[ROWS * 8], shares[ROWS * 8];
    assert_int_equal(numbers(json_object_get(unit, "experts"), experts, ROWS * 8), ROWS * top);
    assert_int_equal(numbers(json_object_get(unit, "weights"), shares, ROWS * 8), ROWS * top);
    for (int i = 0; i < ROWS * top; i++) {
        assert_int_equal(scratch->row_expert[i], (int)experts[i]);
        assert_near((double)scratch->row_weight[i], shares[i], 1e-6, 0, "router", (size_t)i);
    }
    destroy_model(model, scratch);
}

/* Each input row holds the q, k and v of its position, which the matrices pick out; the output matrix passes the
 * result on. Positions are not rotated: cos 1, sin 0. Layer 0 sees all positions, layer 1 has a window. */
static void test_attention(void **unused)
{
    (void)unused;
    enum { DIM = 64, HEADS = 2, ROWS = 40, Q = HEADS * DIM, HIDDEN = Q + 2 * DIM };
    const json_t *unit = json_object_get(units, "attention");
    static float q[Q], k[ROWS * DIM], v[ROWS * DIM], sinks[HEADS], want[2][Q], identity[HIDDEN * HIDDEN],
        pass[HIDDEN * Q];
    assert_int_equal(floats(unit, "q", q, Q), Q);
    assert_int_equal(floats(unit, "k", k, ROWS * DIM), ROWS * DIM);
    assert_int_equal(floats(unit, "v", v, ROWS * DIM), ROWS * DIM);
    assert_int_equal(floats(unit, "sinks", sinks, HEADS), HEADS);
    assert_int_equal(floats(unit, "out_full", want[0], Q), Q);
    assert_int_equal(floats(unit, "out_window", want[1], Q), Q);
    for (int i = 0; i < HIDDEN; i++)
        identity[i * HIDDEN + i] = 1;
    for (int i = 0; i < Q; i++)
        pass[i * Q + i] = 1;

    struct sg_config config = {.architecture = SG_GPTOSS,
                               .n_layers = 2,
                               .hidden = HIDDEN,
                               .vocabulary = 1,
                               .context = 64,
                               .n_heads = HEADS,
                               .n_kv_heads = 1,
                               .head_dim = DIM,
                               .ffn = 1,
                               .window = (int)number(unit, "window"),
                               .rope_theta = 10000,
                               .yarn_factor = 1,
                               .windowed = {false, true}};
    struct sg_model *model = create_model(&config);
    struct sg_scratch *scratch = create_scratch(model, ROWS, ROWS);
    struct sg_tensor picks[3], out;
    struct sg_kv_pool pool;
    struct sg_kv kv;
    struct sg_error err;
    sg_kv_pool_init(&pool, 1, 1, 1, DIM, config.window);
    assert_int_equal(sg_kv_init(&kv, &pool, ROWS, &err), SG_OK);
    assert_int_equal(sg_kv_reserve(&kv, ROWS, &err), SG_OK);
    int32_t tokens[ROWS] = {0}, positions[ROWS];
    struct sg_kv *kvs[ROWS];
    for (int row = 0; row < ROWS; row++) {
        positions[row] = row;
        kvs[row] = &kv;
    }
    for (int l = 0; l < 2; l++) {
        struct sg_layer *layer = &model->layers[l];
        set_matrix(&picks[0], &layer->q, identity, Q, HIDDEN);
        set_matrix(&picks[1], &layer->k, identity + Q * HIDDEN, DIM, HIDDEN);
        set_matrix(&picks[2], &layer->v, identity + (Q + DIM) * HIDDEN, DIM, HIDDEN);
        set_matrix(&out, &layer->o, pass, HIDDEN, Q);
        layer->sinks = sinks;
        for (int row = 0; row < ROWS; row++) {
            float *t = scratch->t + row * HIDDEN;
            memcpy(t, q, sizeof q);
            memcpy(t + Q, k + row * DIM, DIM * sizeof *k);
            memcpy(t + Q + DIM, v + row * DIM, DIM * sizeof *v);
            for (int i = 0; i < DIM / 2; i++) {
                scratch->cos[row * DIM / 2 + i] = 1;
                scratch->sin[row * DIM / 2 + i] = 0;
            }
        }
        struct sg_batch batch = {ROWS, tokens, positions, kvs, NULL, NULL};
        sg_attention(model, scratch, &batch, l);
        for (int i = 0; i < Q; i++)
            assert_near((double)scratch->t[(ROWS - 1) * HIDDEN + i], (double)want[l][i], 1e-5, 1e-6,
                        l ? "windowed attention" : "full attention", (size_t)i);
    }
    sg_kv_deinit(&kv);
    sg_kv_pool_deinit(&pool);
    destroy_model(model, scratch);
}

/* 32 values with every code, in the three orders in which files hold them. */
static void test_mxfp4(void **unused)
{
    (void)unused;
    const json_t *cases = json_object_get(units, "mxfp4");
    assert_true(json_array_size(cases) > 0);
    for (size_t c = 0; c < json_array_size(cases); c++) {
        const json_t *unit = json_array_get(cases, c);
        uint8_t scale = (uint8_t)number(unit, "scale"), ggml[17] = {scale}, ollama[17] = {scale};
        float values[16], out[32], want[32];
        assert_int_equal(floats(unit, "values", values, 16), 16);
        for (int i = 0; i < 32; i++) {
            int code = (i * 7 + 3) % 16;
            want[i] = values[code];
            ggml[1 + i % 16] |= (uint8_t)(code << (i / 16 * 4));
            ollama[1 + i / 2] |= (uint8_t)(code << (i % 2 * 4));
        }
        for (const struct sg_kernels *const *level = sg_kernels_all(); *level; level++) {
            (*level)->dequant(SG_MXFP4, ggml, NULL, 32, out);
            assert_memory_equal(out, want, sizeof out);
            (*level)->dequant(SG_MXFP4_T4, ollama, NULL, 32, out);
            assert_memory_equal(out, want, sizeof out);
            (*level)->dequant(SG_MXFP4_ST, ollama + 1, &scale, 32, out);
            assert_memory_equal(out, want, sizeof out);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_128_experts), cmocka_unit_test(test_odd_shape), cmocka_unit_test(test_swiglu),
        cmocka_unit_test(test_rmsnorm),     cmocka_unit_test(test_yarn),      cmocka_unit_test(test_router),
        cmocka_unit_test(test_attention),   cmocka_unit_test(test_mxfp4),
    };
    return cmocka_run_group_tests(tests, load_units, free_units);
}
