/* Policies and packs for the tests of src/policy. */
#ifndef POLICY_HELPERS_H
#define POLICY_HELPERS_H

#include "base/buffer.h"
#include "base/file.h"
#include "safeguard/policy.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#define COUNT(array) (sizeof(array) / sizeof *(array))

static inline struct sg_policy *parse_policy(const char *text)
{
    struct sg_policy *policy;
    struct sg_error err = {0};
    if (sg_policy_parse("test", text, strlen(text), &policy, &err) != SG_OK)
        fail_msg("%s", err.text);
    return policy;
}

/* A policy of the packs; skips the test when the folder is not there. */
static inline struct sg_policy *pack_policy(const char *name)
{
    const char *shared = getenv("SG_SHARED");
    char path[1024];
    snprintf(path, sizeof path, "%s/packs/%s", shared ? shared : "../shared", name);
    FILE *file = fopen(path, "rb");
    if (!file) {
        print_message("skipped: %s is not there (SG_SHARED)\n", path);
        skip();
    }
    fclose(file);
    struct sg_policy *policy;
    struct sg_error err = {0};
    if (sg_policy_open(path, &policy, &err) != SG_OK)
        fail_msg("%s", err.text);
    return policy;
}

/* A file of the packs, whole; the caller frees the buffer. */
static inline void pack_file(const char *name, struct sg_buffer *out)
{
    const char *shared = getenv("SG_SHARED");
    char path[1024];
    snprintf(path, sizeof path, "%s/packs/%s", shared ? shared : "../shared", name);
    struct sg_error err = {0};
    if (sg_file_read(path, 16u << 20, out, &err) != SG_OK) {
        print_message("skipped: %s\n", err.text);
        skip();
    }
}

#endif
