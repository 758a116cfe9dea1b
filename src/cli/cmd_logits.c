/* safeguard dev logits: the logits of a token sequence, for comparing with other implementations. */
#include "cli/dev.h"
#include "cli/verbs.h"

#include "base/file.h"
#include "model/sequence.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define TOKENS_MAX_BYTES ((size_t)64 << 20)

/* "0,5,17" → want[]; strictly rising, below n. */
static enum sg_status parse_positions(const char *list, int n, bool *want, struct sg_error *err)
{
    long last = -1;
    for (const char *at = list; *at;) {
        char *end;
        errno = 0;
        long position = strtol(at, &end, 10);
        if (end == at || errno || (*end && *end != ',') || position <= last || position >= n)
            return sg_fail_at(err, SG_EINVALID, (uint64_t)(at - list),
                              "--positions: at byte %td: expected rising numbers below %d, separated by commas",
                              at - list, n);
        want[position] = true;
        last = position;
        at = *end ? end + 1 : end;
    }
    return SG_OK;
}

/* Position by position, so that all logits of a long sequence never stand in memory at once. */
static enum sg_status write_logits(const struct sg_model *model, const int32_t *tokens, int n, const bool *want,
                                   FILE *out, const char *path, struct sg_error *err)
{
    enum { CHUNK = 64 };
    struct sg_sequence sequence;
    size_t vocabulary = (size_t)model->config.vocabulary;
    enum sg_status status = sg_sequence_init(&sequence, model, n, CHUNK, err);
    if (status != SG_OK)
        return status;
    float *logits = malloc(CHUNK * vocabulary * sizeof *logits);
    if (!logits)
        status = sg_fail(err, SG_ENOMEM, "out of memory for logits");
    for (int first = 0; status == SG_OK && first < n; first += CHUNK) {
        int rows = n - first < CHUNK ? n - first : CHUNK;
        size_t wanted = 0;
        for (int i = 0; i < rows; i++)
            wanted += want[first + i];
        status = sg_sequence_append(&sequence, tokens + first, rows, want + first, logits, err);
        if (status == SG_OK && fwrite(logits, sizeof *logits * vocabulary, wanted, out) != wanted)
            status = sg_fail(err, SG_EIO, "%s: cannot write: %s", path, strerror(errno));
    }
    free(logits);
    sg_sequence_deinit(&sequence);
    return status;
}

static enum sg_status run(const char *model_name, const struct sg_model_options *options, const char *tokens_path,
                          const char *out_path, const char *positions, struct sg_error *err)
{
    struct sg_buffer bytes = {0};
    struct sg_model *model = NULL;
    bool *want = NULL;
    FILE *out = NULL;
    char *path;
    enum sg_status status = sg_model_locate(model_name, &path, err);
    if (status == SG_OK)
        status = sg_model_open(path, options, &model, err);
    if (status == SG_OK)
        status = sg_file_read(tokens_path, TOKENS_MAX_BYTES, &bytes, err);
    size_t n = bytes.len / sizeof(int32_t);
    if (status == SG_OK && (bytes.len % sizeof(int32_t) || n == 0 || n > (size_t)sg_model_context(model)))
        status = sg_fail(err, SG_EFORMAT, "%s: got %zu bytes, expected int32 numbers, 1 to %d of them", tokens_path,
                         bytes.len, sg_model_context(model));
    if (status == SG_OK && !(want = calloc(n, sizeof *want)))
        status = sg_fail(err, SG_ENOMEM, "out of memory");
    if (status == SG_OK && positions)
        status = parse_positions(positions, (int)n, want, err);
    for (size_t i = 0; status == SG_OK && !positions && i < n; i++)
        want[i] = true;
    if (status == SG_OK && !(out = fopen(out_path, "wb")))
        status = sg_fail(err, SG_EIO, "%s: cannot create: %s", out_path, strerror(errno));
    if (status == SG_OK)
        status = write_logits(model, (const int32_t *)(const void *)bytes.data, (int)n, want, out, out_path, err);
    if (out && fclose(out) != 0 && status == SG_OK)
        status = sg_fail(err, SG_EIO, "%s: cannot write: %s", out_path, strerror(errno));
    free(want);
    sg_buffer_free(&bytes);
    sg_model_close(model);
    free(path);
    return status;
}

int sg_verb_dev_logits(int argc, char **argv)
{
    static const struct sg_verb verb = {
        .name = "dev logits",
        .summary = "the logits of a token sequence",
        .usage = "--model MODEL --tokens T.bin --out L.bin [--positions N,N,…]",
        .about = "T.bin holds token ids as int32, L.bin gets float32 [positions, vocabulary], both little-endian. A\n"
                 "model without a tokenizer will do.\n",
        .examples = "  safeguard dev logits --model tiny.gguf --tokens t.bin --precision exact --out l.bin\n",
    };
    struct sg_model_options model_options = {.precision = SG_FAST, .repack = true};
    const char *model = NULL, *tokens = NULL, *out = NULL, *positions = NULL, *precision = "fast";
    const struct sg_option options[] = {
        {"model", SG_OPTION_STRING, &model, "MODEL", "the model", 0, 0},
        {"tokens", SG_OPTION_STRING, &tokens, "FILE", "token ids", 0, 0},
        {"out", SG_OPTION_STRING, &out, "FILE", "where the logits go", 0, 0},
        {"positions", SG_OPTION_STRING, &positions, "N,N,…", "only these positions, rising (all)", 0, 0},
        {"precision", SG_OPTION_STRING, &precision, "exact|fast", "arithmetic (fast)", 0, 0},
        {"threads", SG_OPTION_INT, &model_options.threads, "N", "threads (one per processor)", 0, 256},
        {"no-repack", SG_OPTION_OFF, &model_options.repack, NULL, "use the file's own layout", 0, 0},
        {0}};
    int exit = sg_options_start(&verb, options, &argc, argv, 0, 0);
    if (exit >= 0)
        return exit;
    if (!tokens || !out)
        return sg_say_usage(&verb, "expected --tokens FILE and --out FILE");
    model_options.precision = strcmp(precision, "exact") == 0 ? SG_EXACT : SG_FAST;
    struct sg_error err;
    if (run(model, &model_options, tokens, out, positions, &err) != SG_OK)
        return sg_say_error(&err, SG_EXIT_FAILURE);
    return SG_EXIT_OK;
}
