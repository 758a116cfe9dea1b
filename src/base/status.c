/* Error text: see include/safeguard/status.h. */
#include "safeguard/status.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

const char *sg_status_name(enum sg_status status)
{
    switch (status) {
#define SG_STATUS_CASE(symbol, name, meaning)                                                                        \
    case symbol:                                                                                                     \
        return name;
        SG_STATUS_LIST(SG_STATUS_CASE)
#undef SG_STATUS_CASE
    case SG_STATUS_COUNT:
        break;
    }
    return "unknown";
}

static void fill(struct sg_error *err, enum sg_status code, uint64_t position, const char *format, va_list args)
{
    err->code = code;
    err->position = position;
    int n = vsnprintf(err->text, sizeof err->text, format, args);
    if (n >= (int)sizeof err->text)
        memcpy(err->text + sizeof err->text - 4, "...", 4);
}

enum sg_status sg_fail(struct sg_error *err, enum sg_status code, const char *format, ...)
{
    if (err) {
        va_list args;
        va_start(args, format);
        fill(err, code, 0, format, args);
        va_end(args);
    }
    return code;
}

enum sg_status sg_fail_at(struct sg_error *err, enum sg_status code, uint64_t position, const char *format, ...)
{
    if (err) {
        va_list args;
        va_start(args, format);
        fill(err, code, position, format, args);
        va_end(args);
    }
    return code;
}

enum sg_status sg_fail_in(struct sg_error *err, enum sg_status code, const char *format, ...)
{
    if (!err)
        return code;
    struct sg_error context;
    va_list args;
    va_start(args, format);
    fill(&context, code, 0, format, args);
    va_end(args);
    struct sg_error inner = *err;
    int n = snprintf(err->text, sizeof err->text, "%s: %s", context.text, inner.text);
    if (n >= (int)sizeof err->text)
        memcpy(err->text + sizeof err->text - 4, "...", 4);
    err->code = code;
    return code;
}
