/* Real weights: SmolLM2-135M-Instruct on its Q4_1 file. `exact` computes with the dequantised values in F32, as
 * transformers and llama.cpp did for the records in data/ (layout: tools/oracle_smollm2.py); `fast` is set beside
 * what llama.cpp makes of the Q4_1 file itself. */
#include "golden.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>
#include <jansson.h>

#include "base/file.h"

enum { SEQUENCES = 20, TOKENS = 64, TOP = 16, FIXED = 24, STRIDE = 4, Q4_TOP = 128, Q4_ROWS = 64 };

/* Little-endian without padding, as the machines are that run this. */
struct record {
    float log_sum_exp;
    uint16_t id[TOP];
    float logit[TOP], fixed[FIXED];
};
_Static_assert(sizeof(struct record) == 4 + 2 * TOP + 4 * TOP + 4 * FIXED, "record of oracle_smollm2.py");
struct q4_record {
    uint16_t id[Q4_TOP];
    float log_probability[Q4_TOP];
};
_Static_assert(sizeof(struct q4_record) == 6 * Q4_TOP, "Q4_1 record of oracle_smollm2.py");

static struct expected {
    int32_t *tokens;             /* [SEQUENCES][TOKENS] */
    struct record *transformers; /* [SEQUENCES][TOKENS] */
    struct record *llamacpp;     /* [SEQUENCES][TOKENS / STRIDE], of positions 3, 7, … */
    struct q4_record *q4;        /* [Q4_ROWS] */
    int prompt_lengths[SEQUENCES], fixed_ids[FIXED], q4_rows[Q4_ROWS]; /* row: sequence * TOKENS + position */
} expected;

static void *records(const char *name, size_t size, size_t count)
{
    size_t n;
    void *data = read_numbers(data_path(name), size, &n);
    assert_int_equal(n, count);
    return data;
}

static void integers(const json_t *about, const char *key, int *out, size_t n)
{
    const json_t *array = json_object_get(about, key);
    assert_int_equal(json_array_size(array), n);
    for (size_t i = 0; i < n; i++)
        out[i] = (int)json_integer_value(json_array_get(array, i));
}

static int read_expected(void **unused)
{
    (void)unused;
    json_t *about = json_load_file(data_path("smollm2.json"), 0, NULL);
    assert_non_null(about);
    integers(about, "prompt_lengths", expected.prompt_lengths, SEQUENCES);
    integers(about, "fixed_ids", expected.fixed_ids, FIXED);
    integers(about, "q4_1_rows", expected.q4_rows, Q4_ROWS);
    json_decref(about);
    expected.tokens = records("smollm2_tokens.bin", sizeof *expected.tokens, SEQUENCES * TOKENS);
    expected.transformers = records("smollm2_transformers.bin", sizeof *expected.transformers, SEQUENCES * TOKENS);
    expected.llamacpp = records("smollm2_llamacpp.bin", sizeof *expected.llamacpp, SEQUENCES * TOKENS / STRIDE);
    expected.q4 = records("smollm2_q4_1.bin", sizeof *expected.q4, Q4_ROWS);
    return 0;
}

static int free_expected(void **unused)
{
    (void)unused;
    free(expected.tokens);
    free(expected.transformers);
    free(expected.llamacpp);
    free(expected.q4);
    return 0;
}

/* $SG_SMOLLM2, or where `make demo` and `safeguard pull` put the file; NULL after saying that it is absent. */
static const char *model_path(void)
{
    static char path[4096 + 128];
    const char *given = getenv("SG_SMOLLM2");
    char folder[4096];
    if (given)
        snprintf(path, sizeof path, "%s", given);
    else if (sg_cache_folder(folder, sizeof folder, NULL) == SG_OK)
        snprintf(path, sizeof path, "%s/models/smollm2-135m-instruct/SmolLM2-135M-Instruct.Q4_1.gguf", folder);
    if (access(path, R_OK) == 0)
        return path;
    print_message(
        "skipped: no SmolLM2-135M-Instruct.Q4_1.gguf at '%s' (set SG_SMOLLM2, or run tools/fetch_demo_model.sh)\n",
        path);
    return NULL;
}

/* --- exact ------------------------------------------------------------------------------------------------ */

struct tally {
    const char *name;
    float largest; /* difference of a logit or of the logsumexp */
    int n_rows, n_near_ties;
};

static double log_sum_exp(const float *logits, int n)
{
    double most = -INFINITY, sum = 0;
    for (int i = 0; i < n; i++)
        most = (double)logits[i] > most ? (double)logits[i] : most;
    for (int i = 0; i < n; i++)
        sum += exp((double)logits[i] - most);
    return most + log(sum);
}

static void check_row(struct tally *tally, const struct record *record, const float *logits, int vocabulary)
{
    float got[1 + TOP + FIXED], want[1 + TOP + FIXED];
    size_t n = 0;
    got[n] = (float)log_sum_exp(logits, vocabulary);
    want[n++] = record->log_sum_exp;
    for (int i = 0; i < TOP; i++) {
        got[n] = logits[record->id[i]];
        want[n++] = record->logit[i];
    }
    for (int i = 0; i < FIXED; i++) {
        got[n] = logits[expected.fixed_ids[i]];
        want[n++] = record->fixed[i];
    }
    float difference = largest_difference(got, want, n);
    if (!(difference <= 1e-3f))
        fail_msg("%s, row %d: a logit differs by %g", tally->name, tally->n_rows, (double)difference);
    tally->largest = difference > tally->largest ? difference : tally->largest;
    tally->n_rows++;

    int best = 0;
    for (int i = 1; i < vocabulary; i++)
        best = logits[i] > logits[best] ? i : best;
    if (best == record->id[0])
        return;
    float gap = logits[best] - logits[record->id[0]];
    print_message("%s, row %d: token %d, expected %d, a near-tie of %.2g\n", tally->name, tally->n_rows - 1, best,
                  record->id[0], (double)gap);
    assert_true(gap < 1e-2f);
    tally->n_near_ties++;
}

static void test_exact(void **unused)
{
    (void)unused;
    const char *path = model_path();
    if (!path)
        skip();
    struct sg_model *model = open_model(path, SG_EXACT, true, 2);
    int vocabulary = model->config.vocabulary, n_continued = 0;
    struct tally transformers = {.name = "transformers"}, llamacpp = {.name = "llama.cpp"};
    for (int s = 0; s < SEQUENCES; s++) {
        const int32_t *tokens = expected.tokens + s * TOKENS;
        float *logits = run_model(model, tokens, TOKENS, TOKENS, NULL);
        for (int p = 0; p < TOKENS; p++) {
            const float *row = logits + (size_t)p * (size_t)vocabulary;
            const struct record *record = &expected.transformers[s * TOKENS + p];
            check_row(&transformers, record, row, vocabulary);
            if (p % STRIDE == STRIDE - 1)
                check_row(&llamacpp, &expected.llamacpp[(s * TOKENS + p) / STRIDE], row, vocabulary);
            if (p >= expected.prompt_lengths[s] - 1 &&
                p + 1 < TOKENS) { /* so the sequence is its greedy continuation */
                assert_int_equal(tokens[p + 1], record->id[0]);
                n_continued++;
            }
        }
        free(logits);
    }
    sg_model_close(model);
    print_message(
        "exact: largest difference to transformers %.2g (%d positions, %d of them greedy steps, %d near-ties), "
        "to llama.cpp %.2g (%d positions, %d near-ties)\n",
        (double)transformers.largest, transformers.n_rows, n_continued, transformers.n_near_ties,
        (double)llamacpp.largest, llamacpp.n_rows, llamacpp.n_near_ties);
}

/* --- fast ------------------------------------------------------------------------------------------------- */

/* KL(record || logits) with all that the record does not list as one bucket: a lower bound. */
static double divergence(const struct q4_record *record, const float *logits, int vocabulary)
{
    double total = log_sum_exp(logits, vocabulary), kl = 0, rest_p = 1, rest_q = 1;
    for (int i = 0; i < Q4_TOP; i++) {
        double log_p = (double)record->log_probability[i], log_q = (double)logits[record->id[i]] - total;
        kl += exp(log_p) * (log_p - log_q);
        rest_p -= exp(log_p);
        rest_q -= exp(log_q);
    }
    return rest_p > 0 && rest_q > 0 ? kl + rest_p * log(rest_p / rest_q) : kl;
}

/* Both round activations to int8 (and `fast` the weights again), so they differ by about as much as each does from
 * F32: llama.cpp by 0.0022 on these rows (data/README.md). */
static void test_fast(void **unused)
{
    (void)unused;
    const char *path = model_path();
    if (!path)
        skip();
    struct sg_model *model = open_model(path, SG_FAST, true, 2);
    int vocabulary = model->config.vocabulary, next = 0;
    double kl = 0;
    for (int s = 0; s < SEQUENCES; s++) {
        bool want[TOKENS] = {false};
        int first = next;
        for (; next < Q4_ROWS && expected.q4_rows[next] / TOKENS == s; next++)
            want[expected.q4_rows[next] % TOKENS] = true;
        float *logits = run_model(model, expected.tokens + s * TOKENS, TOKENS, TOKENS, want);
        for (int row = first; row < next; row++)
            kl += divergence(&expected.q4[row], logits + (size_t)(row - first) * (size_t)vocabulary, vocabulary) /
                  Q4_ROWS;
        free(logits);
    }
    sg_model_close(model);
    assert_int_equal(next, Q4_ROWS);
    print_message("fast on the Q4_1 file: mean KL of llama.cpp's distribution to ours %.2g\n", kl);
    assert_true(kl > 0 && kl < 2e-2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_exact), cmocka_unit_test(test_fast)};
    return cmocka_run_group_tests(tests, read_expected, free_expected);
}
