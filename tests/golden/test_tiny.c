/* The forward pass against the reference implementation's logits on tiny gpt-oss models, in every file form. */
#include "golden.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>
#include <jansson.h>

static const char *const forms[] = {"hf", "tiny-a-bf16.gguf", "tiny-a-q8.gguf", "tiny-a-ollama.gguf",
                                    "tiny-a-ollama-new.gguf"};
#define N_FORMS (sizeof forms / sizeof forms[0])

static const char *form_path(size_t form)
{
    char below[128];
    snprintf(below, sizeof below, "golden/tiny-a/%s", forms[form]);
    return shared_path(below);
}

static void test_exact_300(void **unused)
{
    (void)unused;
    if (!shared_path("golden/tiny-a"))
        skip();
    size_t n, count;
    int32_t *tokens = read_numbers(shared_path("golden/tiny-a/tokens_300.bin"), 4, &n);
    float *expected = read_numbers(shared_path("golden/tiny-a/logits_300.bin"), 4, &count);
    for (size_t form = 0; form < N_FORMS; form++) {
        struct sg_model *model = open_model(form_path(form), SG_EXACT, true, 2);
        float *logits = run_model(model, tokens, (int)n, 64, NULL);
        float difference = largest_difference(logits, expected, count);
        print_message("%s, 300 tokens: largest difference %.2g\n", forms[form], (double)difference);
        assert_true(difference <= 1e-3f);
        free(logits);
        sg_model_close(model);
    }
    free(tokens);
    free(expected);
}

static void test_exact_4600(void **unused)
{
    (void)unused;
    if (!shared_path("golden/tiny-a"))
        skip();
    size_t n, count;
    int32_t *tokens = read_numbers(shared_path("golden/tiny-a/tokens_4600.bin"), 4, &n);
    float *expected = read_numbers(shared_path("golden/tiny-a/logits_4600.bin"), 4, &count);
    json_t *golden = json_load_file(shared_path("golden/tiny-a/golden.json"), 0, NULL);
    assert_non_null(golden);
    json_t *positions = json_object_get(golden, "positions_4600");
    bool *want = calloc(n, sizeof *want);
    for (size_t i = 0; i < json_array_size(positions); i++)
        want[json_integer_value(json_array_get(positions, i))] = true;
    struct sg_model *model = open_model(form_path(1), SG_EXACT, true, 2);
    float *logits = run_model(model, tokens, (int)n, 512, want);
    float difference = largest_difference(logits, expected, count);
    print_message("4,600 tokens: largest difference %.2g\n", (double)difference);
    assert_true(difference <= 1e-3f);
    free(logits);
    sg_model_close(model);
    free(want);
    json_decref(golden);
    free(tokens);
    free(expected);
}

static void test_fast(void **unused)
{
    (void)unused;
    if (!shared_path("golden/tiny-a"))
        skip();
    size_t n;
    int32_t *tokens = read_numbers(shared_path("golden/tiny-a/tokens_300.bin"), 4, &n);
    for (size_t form = 0; form < N_FORMS; form++) {
        struct sg_model *exact = open_model(form_path(form), SG_EXACT, true, 2);
        struct sg_model *fast = open_model(form_path(form), SG_FAST, true, 2);
        float *a = run_model(exact, tokens, (int)n, 64, NULL), *b = run_model(fast, tokens, (int)n, 64, NULL);
        struct comparison result = compare_logits(a, b, n, (size_t)exact->config.vocabulary);
        print_message("%s, fast against exact: mean KL %.2g, top-1 agreement where clear %.4f\n", forms[form],
                      result.mean_kl, result.agreement);
        assert_true(result.mean_kl < 2e-3);
        assert_true(result.agreement >= 0.99);
        free(a);
        free(b);
        sg_model_close(exact);
        sg_model_close(fast);
    }
    free(tokens);
}

/* The same bits whatever the chunk, the number of threads, packing, and the instruction set. */
static void test_reproducible(void **unused)
{
    (void)unused;
    if (!shared_path("golden/tiny-a"))
        skip();
    size_t n;
    int32_t *tokens = read_numbers(shared_path("golden/tiny-a/tokens_300.bin"), 4, &n);
    for (int precision = 0; precision < 2; precision++) {
        struct sg_model *model = open_model(form_path(2), precision ? SG_EXACT : SG_FAST, true, 1);
        size_t bytes = n * (size_t)model->config.vocabulary * sizeof(float);
        float *expected = run_model(model, tokens, (int)n, 300, NULL);
        sg_model_close(model);
        for (int variant = 0; variant < 5; variant++) {
            static const int chunks[] = {1, 7, 300, 64, 33}, threads[] = {2, 3, 2, 1, 2};
            if (variant == 4)
                setenv("SG_CPU", "scalar", 1);
            model = open_model(form_path(2), precision ? SG_EXACT : SG_FAST, variant != 2, threads[variant]);
            unsetenv("SG_CPU");
            float *logits = run_model(model, tokens, (int)n, chunks[variant], NULL);
            assert_memory_equal(logits, expected, bytes);
            free(logits);
            sg_model_close(model);
        }
        free(expected);
    }
    free(tokens);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_exact_300),
        cmocka_unit_test(test_exact_4600),
        cmocka_unit_test(test_fast),
        cmocka_unit_test(test_reproducible),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
