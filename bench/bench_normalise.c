/* Speed of the normaliser on the lines of files, on one core: best of 7 passes, CPU time.
 *
 *     ninja -C BUILD src/text/bench_normalise && BUILD/src/text/bench_normalise FILE… */
#include "base/file.h"
#include "bench.h"
#include "text/normalise.h"

#include <stdio.h>

#define FILE_MAX ((size_t)1 << 30)

/* One pass over the lines; returns the seconds, or -1 with the error. */
static double pass(const struct sg_buffer *file, struct sg_normal *normal, size_t *n_out, size_t *n_evasive_out,
                   struct sg_error *err)
{
    double start = cpu_seconds();
    *n_out = *n_evasive_out = 0;
    for (const char *at = file->data, *end = at + file->len; at < end;) {
        const char *stop = memchr(at, '\n', (size_t)(end - at));
        stop = stop ? stop : end;
        if (sg_normalise((struct sg_slice){at, (size_t)(stop - at)}, false, normal, err) != SG_OK)
            return -1;
        *n_evasive_out += normal->evasive;
        ++*n_out;
        at = stop + 1;
    }
    return cpu_seconds() - start;
}

int main(int argc, char **argv)
{
    struct sg_normal normal = {0};
    struct sg_error err = {0};
    for (int i = 1; i < argc; i++) {
        struct sg_buffer file = {0};
        double best = 1e9, seconds = 0;
        size_t n = 0, n_evasive = 0;
        if (sg_file_read(argv[i], FILE_MAX, &file, &err) != SG_OK)
            seconds = -1;
        for (int k = 0; k < 7 && seconds >= 0; k++) {
            seconds = pass(&file, &normal, &n, &n_evasive, &err);
            best = seconds < best ? seconds : best;
        }
        if (seconds < 0) {
            fprintf(stderr, "%s\n", err.text);
            return 1;
        }
        printf("%s: %zu lines of %.0f bytes, %.0f ns each, %.1f ns a byte, %zu evasive\n", argv[i], n,
               (double)file.len / (double)n, 1e9 * best / (double)n, 1e9 * best / (double)file.len, n_evasive);
        sg_buffer_free(&file);
    }
    sg_normal_deinit(&normal);
    return 0;
}
