/* Shared by the tests of src/weights: a scratch folder, and "this must fail, saying so". */
#ifndef TESTS_UNIT_WEIGHTS_HELPERS_H
#define TESTS_UNIT_WEIGHTS_HELPERS_H

#include "base/file.h"
#include "weights/weights.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

/* A scratch folder for the test program, removed by scratch_remove. */
static char scratch[64];

static inline int scratch_make(void **state)
{
    (void)state;
    const char *base = getenv("TMPDIR");
    snprintf(scratch, sizeof scratch, "%.40s/sg-weights-XXXXXX", base ? base : "/tmp");
    return mkdtemp(scratch) ? 0 : -1;
}

static inline int scratch_remove(void **state)
{
    (void)state;
    char command[96];
    snprintf(command, sizeof command, "rm -rf '%s'", scratch);
    return system(command);
}

/* Path in the scratch folder; valid until the eighth call after this one. */
static inline const char *scratch_path(const char *name)
{
    static char paths[8][256];
    static int next;
    char *path = paths[next++ % 8];
    snprintf(path, sizeof paths[0], "%s/%s", scratch, name);
    return path;
}

static inline void write_file(const char *path, const void *bytes, size_t len)
{
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(bytes, 1, len, file), len);
    assert_int_equal(fclose(file), 0);
}

/* $SG_SHARED/golden/tiny-a/NAME; skips the test when it is not there. */
static inline const char *golden_path(const char *name)
{
    static char paths[8][1024];
    static int next;
    char *path = paths[next++ % 8];
    const char *shared = getenv("SG_SHARED");
    snprintf(path, sizeof paths[0], "%s/golden/tiny-a/%s", shared ? shared : "../shared", name);
    if (access(path, R_OK) != 0) {
        print_message("skipped: no %s (set SG_SHARED)\n", path);
        skip();
    }
    return path;
}

static inline struct sg_weights *open_or_fail(const char *path)
{
    struct sg_error err = {0};
    struct sg_weights *weights = NULL;
    if (sg_weights_open(path, &weights, &err) != SG_OK)
        fail_msg("%s", err.text);
    return weights;
}

static inline void expect_text(const char *text, const char *wanted)
{
    if (!strstr(text, wanted))
        fail_msg("the error is \"%s\", expected it to contain \"%s\"", text, wanted);
}

/* Opening must fail with `status`, and its text must contain each of the strings up to NULL. */
static inline void expect_failure(const char *path, enum sg_status status, ...)
{
    struct sg_error err = {0};
    struct sg_weights *weights = (struct sg_weights *)&err;
    enum sg_status got = sg_weights_open(path, &weights, &err);
    if (got != status)
        fail_msg("%s: status %s, expected %s: %s", path, sg_status_name(got), sg_status_name(status), err.text);
    assert_null(weights);
    assert_int_equal(err.code, status);
    va_list wanted;
    va_start(wanted, status);
    for (const char *text; (text = va_arg(wanted, const char *)) != NULL;)
        expect_text(err.text, text);
    va_end(wanted);
}

#endif
