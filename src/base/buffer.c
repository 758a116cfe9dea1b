#include "base/buffer.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

char *sg_buffer_reserve(struct sg_buffer *buffer, size_t extra)
{
    if (buffer->failed)
        return NULL;
    if (extra >= SIZE_MAX / 2 - buffer->len) {
        buffer->failed = true;
        return NULL;
    }
    size_t need = buffer->len + extra + 1; /* 1: the closing NUL */
    if (need > buffer->cap) {
        size_t cap = buffer->cap ? buffer->cap : 64;
        while (cap < need)
            cap *= 2;
        char *data = realloc(buffer->data, cap);
        if (!data) {
            buffer->failed = true;
            return NULL;
        }
        buffer->data = data;
        buffer->cap = cap;
    }
    return buffer->data + buffer->len;
}

void sg_buffer_append(struct sg_buffer *buffer, const void *bytes, size_t len)
{
    char *end = sg_buffer_reserve(buffer, len);
    if (!end)
        return;
    if (len)
        memcpy(end, bytes, len);
    buffer->len += len;
    buffer->data[buffer->len] = '\0';
}

void sg_buffer_puts(struct sg_buffer *buffer, const char *text)
{
    sg_buffer_append(buffer, text, strlen(text));
}

void sg_buffer_putc(struct sg_buffer *buffer, char c)
{
    sg_buffer_append(buffer, &c, 1);
}

void sg_buffer_printf(struct sg_buffer *buffer, const char *format, ...)
{
    va_list args, again;
    va_start(args, format);
    va_copy(again, args);
    int n = vsnprintf(NULL, 0, format, args);
    va_end(args);
    char *end = n < 0 ? NULL : sg_buffer_reserve(buffer, (size_t)n);
    if (end) {
        vsnprintf(end, (size_t)n + 1, format, again);
        buffer->len += (size_t)n;
    }
    va_end(again);
}

void sg_buffer_clear(struct sg_buffer *buffer)
{
    buffer->len = 0;
    buffer->failed = false;
    if (buffer->data)
        buffer->data[0] = '\0';
}

void sg_buffer_free(struct sg_buffer *buffer)
{
    free(buffer->data);
    *buffer = (struct sg_buffer){0};
}

const char *sg_buffer_text(const struct sg_buffer *buffer)
{
    return buffer->data ? buffer->data : "";
}

enum sg_status sg_buffer_status(const struct sg_buffer *buffer, struct sg_error *err)
{
    if (buffer->failed)
        return sg_fail(err, SG_ENOMEM, "out of memory after %zu bytes of text", buffer->len);
    return SG_OK;
}

char *sg_buffer_take(struct sg_buffer *buffer)
{
    if (!buffer->data)
        sg_buffer_append(buffer, "", 0);
    char *data = buffer->failed ? NULL : buffer->data;
    if (!data)
        free(buffer->data);
    *buffer = (struct sg_buffer){0};
    return data;
}
