/* safeguard bench: how fast a model reads and writes on this machine. */
#include "cli/options.h"
#include "cli/render.h"
#include "cli/verbs.h"

#include "model/sequence.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#define ROUNDS 3
#define DECODE_TOKENS 32

static const int prefills[] = {128, 512};
#define N_PREFILLS ((int)(sizeof prefills / sizeof prefills[0]))

struct rates {
    double prefill[N_PREFILLS][ROUNDS], decode[ROUNDS]; /* tokens per second */
};

static int ascending(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median(double *values)
{
    qsort(values, ROUNDS, sizeof *values, ascending);
    return values[ROUNDS / 2];
}

/* Tokens that spread over the vocabulary: what is said does not matter to the speed, which experts it meets does. */
static void fill(int32_t *tokens, int n, int vocabulary, unsigned seed)
{
    for (int i = 0; i < n; i++) {
        seed = seed * 1664525u + 1013904223u;
        tokens[i] = (int32_t)((seed >> 8) % (unsigned)vocabulary);
    }
}

/* Seconds for n tokens on a fresh sequence, `chunk` rows at a time, of which only the last logits are wanted. */
static enum sg_status time_run(const struct sg_model *model, int n, int chunk, unsigned seed, float *logits,
                               double *seconds_out, struct sg_error *err)
{
    struct sg_sequence sequence;
    int32_t tokens[SG_MAX_ROWS];
    bool want[SG_MAX_ROWS] = {false};
    fill(tokens, n, model->config.vocabulary, seed);
    want[n - 1] = true;
    enum sg_status status = sg_sequence_init(&sequence, model, n, chunk, err);
    if (status != SG_OK)
        return status;
    double start = sg_now();
    if (chunk > 1) {
        status = sg_sequence_append(&sequence, tokens, n, want, logits, err);
    } else {
        for (int i = 0; status == SG_OK && i < n; i++) /* logits of every token, as decoding needs them */
            status = sg_sequence_append(&sequence, tokens + i, 1, NULL, logits, err);
    }
    *seconds_out = sg_now() - start;
    sg_sequence_deinit(&sequence);
    return status;
}

static enum sg_status measure(const struct sg_model *model, struct rates *rates, struct sg_error *err)
{
    float *logits = malloc((size_t)model->config.vocabulary * sizeof *logits);
    double seconds = 0;
    enum sg_status status = logits ? SG_OK : sg_fail(err, SG_ENOMEM, "out of memory for logits");
    if (status == SG_OK) /* once for nothing: pages and caches */
        status = time_run(model, 4, 1, 1, logits, &seconds, err);
    for (int round = 0; round < ROUNDS; round++) {
        for (int i = 0; status == SG_OK && i < N_PREFILLS; i++) {
            status = time_run(model, prefills[i], prefills[i], (unsigned)round + 7, logits, &seconds, err);
            rates->prefill[i][round] = prefills[i] / seconds;
        }
        if (status == SG_OK) {
            status = time_run(model, DECODE_TOKENS, 1, (unsigned)round + 77, logits, &seconds, err);
            rates->decode[round] = DECODE_TOKENS / seconds;
        }
    }
    free(logits);
    return status;
}

static void report(struct rates *rates, double load_s, bool json)
{
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    double peak_mb = (double)usage.ru_maxrss / 1024, decode = median(rates->decode);
    if (!json)
        printf("load       %.2f s\n", load_s);
    else
        printf("{\"prefill\":[");
    for (int i = 0; i < N_PREFILLS; i++) {
        double rate = median(rates->prefill[i]);
        if (json)
            printf("%s{\"tokens\":%d,\"tok_s\":%.2f}", i ? "," : "", prefills[i], rate);
        else
            printf("prefill    %d tokens: %.1f tokens/s\n", prefills[i], rate);
    }
    if (json)
        printf("],\"decode\":[{\"depth\":0,\"seqs\":1,\"tok_s\":%.2f}],\"load_s\":%.3f,\"peak_rss_mb\":%.0f}\n",
               decode, load_s, peak_mb);
    else
        printf("decode     one sequence: %.1f tokens/s\npeak RSS   %.0f MB\n", decode, peak_mb);
}

int sg_verb_bench(int argc, char **argv)
{
    static const struct sg_verb verb = {
        .name = "bench",
        .summary = "how fast a model reads and writes on this machine",
        .usage = "[--model MODEL] [--json]",
        .about =
            "Prefill of 128 and 512 tokens, and decoding of one sequence from depth 0; medians of 3. Load is the\n"
            "time to open and prepare the model.\n",
        .examples = "  safeguard bench --model gpt-oss-safeguard-20b\n"
                    "  safeguard bench --model ollama:gpt-oss-safeguard:20b --threads 2 --json\n",
    };
    struct sg_model_options model_options = {.precision = SG_FAST, .repack = true};
    const char *name = NULL, *precision = "fast";
    bool json = false;
    const struct sg_option options[] = {
        {"model", SG_OPTION_STRING, &name, "MODEL", "the model (as check takes it)", 0, 0},
        {"json", SG_OPTION_FLAG, &json, NULL, "one JSON object", 0, 0},
        {"precision", SG_OPTION_STRING, &precision, "exact|fast", "arithmetic (fast)", 0, 0},
        {"threads", SG_OPTION_INT, &model_options.threads, "N", "threads (one per processor)", 0, 256},
        {"no-repack", SG_OPTION_OFF, &model_options.repack, NULL, "use the file's own layout: quick to load, slower",
         0, 0},
        {0}};
    int exit = sg_options_start(&verb, options, &argc, argv, 0, 0);
    if (exit >= 0)
        return exit;
    model_options.precision = strcmp(precision, "exact") == 0 ? SG_EXACT : SG_FAST;
    struct sg_error err;
    struct sg_model *model = NULL;
    struct rates rates;
    char *path;
    enum sg_status status = sg_model_locate(name, &path, &err);
    double start = sg_now();
    if (status == SG_OK)
        status = sg_model_open(path, &model_options, &model, &err);
    double load_s = sg_now() - start;
    if (status == SG_OK)
        status = measure(model, &rates, &err);
    if (status == SG_OK)
        report(&rates, load_s, json);
    sg_model_close(model);
    free(path);
    return status == SG_OK ? SG_EXIT_OK : sg_say_error(&err, SG_EXIT_FAILURE);
}
