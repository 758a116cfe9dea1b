#include "golden.h"

#include <math.h>
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

float largest_difference(const float *a, const float *b, size_t n)
{
    float largest = 0;
    for (size_t i = 0; i < n; i++) {
        float difference = fabsf(a[i] - b[i]);
        if (isnan(difference))
            return NAN;
        largest = difference > largest ? difference : largest;
    }
    return largest;
}

static int by_size(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

struct comparison compare_logits(const float *exact, const float *fast, size_t rows, size_t vocabulary)
{
    double *kl = calloc(rows, sizeof *kl), total = 0;
    assert_non_null(kl);
    size_t clear = 0, agree = 0;
    for (size_t row = 0; row < rows; row++) {
        const float *a = exact + row * vocabulary, *b = fast + row * vocabulary;
        double sum_a = 0, sum_b = 0;
        size_t best_a = 0, best_b = 0;
        for (size_t i = 0; i < vocabulary; i++) {
            sum_a += exp(a[i]);
            sum_b += exp(b[i]);
            best_a = a[i] > a[best_a] ? i : best_a;
            best_b = b[i] > b[best_b] ? i : best_b;
        }
        float second = -INFINITY;
        for (size_t i = 0; i < vocabulary; i++) {
            kl[row] += exp(a[i]) / sum_a * ((a[i] - log(sum_a)) - (b[i] - log(sum_b)));
            if (i != best_a && a[i] > second)
                second = a[i];
        }
        total += kl[row];
        if (a[best_a] - second > 0.2f) {
            clear++;
            agree += best_a == best_b;
        }
    }
    qsort(kl, rows, sizeof *kl, by_size);
    struct comparison result = {total / (double)rows, kl[rows / 2], clear ? (double)agree / (double)clear : 1};
    free(kl);
    return result;
}

const char *data_path(const char *name)
{
    static char paths[4][1024];
    static int turn;
    char *path = paths[turn++ % 4];
    const char *folder = getenv("SG_DATA");
    snprintf(path, sizeof paths[0], "%s/%s", folder ? folder : "tests/golden/data", name);
    return path;
}
