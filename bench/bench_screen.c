/* Screen speed end to end (normalise, features, windows, margin), one thread, texts already in memory.
 *
 *     bench_screen score SCREEN TEXTS.txt …      one text a line; messages a second, best and median of 5 passes
 *     bench_screen fit LABELLED.txt C SCALE      "__label__1 text" a line; seconds of one fit without any choosing
 *
 * bench/screen.py makes the files, and runs fastText over the same ones. Times are of the process's processor. */
#include "base/file.h"
#include "bench.h"
#include "safeguard/screen.h"

#include <stdio.h>
#include <stdlib.h>

#define PASSES 5
#define MAX_FILE ((size_t)1 << 30)

static int fail(const struct sg_error *err)
{
    fprintf(stderr, "bench_screen: %s\n", err->text);
    return 1;
}

/* Slices of the lines, which must not be empty. */
static struct sg_slice *split_lines(const struct sg_buffer *text, size_t *n_out)
{
    struct sg_slice *lines = NULL;
    size_t n = 0, cap = 0;
    for (size_t at = 0; at < text->len;) {
        const char *start = text->data + at, *end = memchr(start, '\n', text->len - at);
        size_t len = end ? (size_t)(end - start) : text->len - at;
        at += len + 1;
        if (len == 0)
            continue;
        if (n == cap) {
            cap = cap ? 2 * cap : 1024;
            lines = realloc(lines, cap * sizeof *lines);
            if (!lines)
                abort();
        }
        lines[n++] = (struct sg_slice){start, len};
    }
    *n_out = n;
    return lines;
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

static enum sg_status bench_file(const struct sg_screen *screen, struct sg_screen_scratch *scratch, const char *path,
                                 struct sg_error *err)
{
    struct sg_buffer text = {0};
    enum sg_status status = sg_file_read(path, MAX_FILE, &text, err);
    if (status != SG_OK)
        return status;
    size_t n, bytes = 0, n_evasive = 0;
    struct sg_slice *lines = split_lines(&text, &n);
    double seconds[PASSES], sum = 0;
    for (size_t i = 0; i < n; i++)
        bytes += lines[i].len;
    for (int pass = 0; pass < PASSES && status == SG_OK; pass++) {
        double start = cpu_seconds();
        for (size_t i = 0; i < n && status == SG_OK; i++) {
            struct sg_screen_score score;
            status = sg_screen_score(screen, 0, lines[i].ptr, lines[i].len, scratch, &score, err);
            sum += score.margin;
            n_evasive += score.evasive;
        }
        seconds[pass] = cpu_seconds() - start;
    }
    if (status == SG_OK) {
        qsort(seconds, PASSES, sizeof *seconds, by_value);
        printf("{\"file\":\"%s\",\"texts\":%zu,\"mean_bytes\":%.1f,\"best_per_s\":%.0f,\"median_per_s\":%.0f,"
               "\"evasive\":%.4f,\"mean_margin\":%.4f}\n",
               path, n, (double)bytes / (double)n, (double)n / seconds[0], (double)n / seconds[PASSES / 2],
               (double)n_evasive / (double)(n * PASSES), sum / (double)(n * PASSES));
    }
    free(lines);
    sg_buffer_free(&text);
    return status;
}

static int bench_score(const char *path, char **files, int n_files)
{
    struct sg_screen *screen;
    struct sg_screen_scratch *scratch = NULL;
    struct sg_error err;
    enum sg_status status = sg_screen_open(path, &screen, &err);
    if (status == SG_OK)
        status = sg_screen_scratch_create(&scratch, &err);
    for (int i = 0; i < n_files && status == SG_OK; i++)
        status = bench_file(screen, scratch, files[i], &err);
    sg_screen_scratch_destroy(scratch);
    sg_screen_close(screen);
    return status == SG_OK ? 0 : fail(&err);
}

static int bench_fit(const char *path, double c, double vector_scale)
{
    static const char label[] = "__label__";
    struct sg_buffer text = {0};
    struct sg_error err;
    struct sg_screen *screen = NULL;
    if (sg_file_read(path, MAX_FILE, &text, &err) != SG_OK)
        return fail(&err);
    size_t n, n_examples = 0;
    struct sg_slice *lines = split_lines(&text, &n);
    struct sg_screen_example *examples = calloc(n + 1, sizeof *examples);
    for (size_t i = 0; examples && i < n; i++) {
        size_t head = sizeof label + 1; /* the digit and a space */
        if (lines[i].len <= head || memcmp(lines[i].ptr, label, sizeof label - 1) != 0)
            continue;
        examples[n_examples++] = (struct sg_screen_example){
            .text = lines[i].ptr + head, .text_len = lines[i].len - head, .value = lines[i].ptr[head - 2] == '1'};
    }
    struct sg_screen_category category = {"any", examples, n_examples};
    struct sg_screen_options options = {.c = c, .vector_scale = vector_scale, .threads = 1};
    double start = cpu_seconds();
    enum sg_status status = sg_screen_train(&category, 1, &options, &screen, &err);
    if (status == SG_OK)
        printf("{\"file\":\"%s\",\"rows\":%zu,\"fit_s\":%.2f}\n", path, n_examples, cpu_seconds() - start);
    sg_screen_close(screen);
    free(examples);
    free(lines);
    sg_buffer_free(&text);
    return status == SG_OK ? 0 : fail(&err);
}

int main(int argc, char **argv)
{
    if (argc > 3 && strcmp(argv[1], "score") == 0)
        return bench_score(argv[2], argv + 3, argc - 3);
    if (argc == 5 && strcmp(argv[1], "fit") == 0)
        return bench_fit(argv[2], atof(argv[3]), atof(argv[4]));
    fprintf(stderr, "usage: bench_screen score SCREEN TEXTS.txt … | fit LABELLED.txt C SCALE\n");
    return 2;
}
