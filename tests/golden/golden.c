#include "golden.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/file.h"

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
    const struct sg_config *c = &model->config;
    struct sg_error err;
    struct sg_kv_pool pool;
    struct sg_kv kv;
    struct sg_scratch *scratch;
    int n_windowed = 0, n_wanted = 0;
    for (int l = 0; l < c->n_layers; l++)
        n_windowed += c->windowed[l];
    sg_kv_pool_init(&pool, c->n_layers - n_windowed, n_windowed, c->n_kv_heads, c->head_dim, c->window);
    assert_int_equal(sg_kv_init(&kv, &pool, n, &err), SG_OK);
    assert_int_equal(sg_scratch_create(model, chunk, n, &scratch, &err), SG_OK);
    for (int i = 0; i < n; i++)
        n_wanted += !want || want[i];
    float *logits = malloc((size_t)n_wanted * (size_t)c->vocabulary * sizeof *logits), *next = logits;
    int32_t *positions = malloc((size_t)chunk * sizeof *positions);
    struct sg_kv **kvs = malloc((size_t)chunk * sizeof *kvs);
    bool *wanted = malloc((size_t)chunk * sizeof *wanted);
    for (int first = 0; first < n; first += chunk) {
        int rows = n - first < chunk ? n - first : chunk;
        for (int i = 0; i < rows; i++) {
            positions[i] = first + i;
            kvs[i] = &kv;
            wanted[i] = !want || want[first + i];
        }
        assert_int_equal(sg_kv_reserve(&kv, rows, &err), SG_OK);
        struct sg_batch batch = {rows, tokens + first, positions, kvs, wanted, next};
        sg_forward(model, scratch, &batch);
        sg_kv_advance(&kv, rows, 0);
        for (int i = 0; i < rows; i++)
            next += wanted[i] ? c->vocabulary : 0;
    }
    free(positions);
    free(kvs);
    free(wanted);
    sg_scratch_destroy(scratch);
    sg_kv_deinit(&kv);
    sg_kv_pool_deinit(&pool);
    return logits;
}
