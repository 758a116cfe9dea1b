#include "golden.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/file.h"
#include "model/sequence.h"

const char *shared_path(const char *below)
{
    static char paths[4][1024];
    static int turn;
    char *path = paths[turn++ % 4];
    const char *folder = getenv("SG_SHARED");
    snprintf(path, sizeof paths[0], "%s/%s", folder ? folder : "../shared", below);
    if (access(path, R_OK) == 0)
        return path;
    print_message("skipped: %s is absent (the folder of shared reference material)\n", path);
    return NULL;
}

void *read_numbers(const char *path, size_t size, size_t *count_out)
{
    struct sg_buffer buffer = {0};
    struct sg_error err;
    if (sg_file_read(path, 1u << 30, &buffer, &err) != SG_OK)
        fail_msg("%s", err.text);
    *count_out = buffer.len / size;
    return buffer.data;
}

struct sg_model *open_model(const char *path, enum sg_precision precision, bool repack, int threads)
{
    struct sg_model_options options = {precision, threads, repack};
    struct sg_model *model;
    struct sg_error err;
    if (sg_model_open(path, &options, &model, &err) != SG_OK)
        fail_msg("%s", err.text);
    return model;
}

float *run_model(const struct sg_model *model, const int32_t *tokens, int n, int chunk, const bool *want)
{
    struct sg_error err;
    struct sg_sequence sequence;
    size_t n_wanted = 0;
    for (int i = 0; i < n; i++)
        n_wanted += !want || want[i];
    float *logits = malloc(n_wanted * (size_t)model->config.vocabulary * sizeof *logits);
    assert_non_null(logits);
    assert_int_equal(sg_sequence_init(&sequence, model, n, chunk, &err), SG_OK);
    assert_int_equal(sg_sequence_append(&sequence, tokens, n, want, logits, &err), SG_OK);
    sg_sequence_deinit(&sequence);
    return logits;
}
