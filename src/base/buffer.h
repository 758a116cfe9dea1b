/* Growing byte buffer and borrowed byte slice.
 *
 * A buffer remembers a failed allocation: appends after it do nothing, and sg_buffer_status says so once at
 * the end, so that building text needs no check on every line. */
#ifndef SG_BASE_BUFFER_H
#define SG_BASE_BUFFER_H

#include "safeguard/status.h"

#include <stdbool.h>
#include <stddef.h>
#include <string.h>

/* Borrowed bytes, not NUL-terminated. */
struct sg_slice {
    const char *ptr;
    size_t len;
};

static inline struct sg_slice sg_slice_of(const char *text)
{
    return (struct sg_slice){text, strlen(text)};
}

static inline bool sg_slice_equal(struct sg_slice a, struct sg_slice b)
{
    return a.len == b.len && (a.len == 0 || memcmp(a.ptr, b.ptr, a.len) == 0);
}

/* Zero-initialise to start: `struct sg_buffer text = {0};`. Always NUL-terminated once something was
 * appended, so data reads as a C string; data is NULL before that. */
struct sg_buffer {
    char *data;
    size_t len, cap;
    bool failed;
};

void sg_buffer_append(struct sg_buffer *buffer, const void *bytes, size_t len);
void sg_buffer_puts(struct sg_buffer *buffer, const char *text);
void sg_buffer_printf(struct sg_buffer *buffer, const char *format, ...) __attribute__((format(printf, 2, 3)));
void sg_buffer_putc(struct sg_buffer *buffer, char c);

/* Room for `extra` more bytes behind len (which stays); NULL when memory is short. */
char *sg_buffer_reserve(struct sg_buffer *buffer, size_t extra);

/* len = 0, storage kept. */
void sg_buffer_clear(struct sg_buffer *buffer);

/* Free the storage and zero the struct. */
void sg_buffer_free(struct sg_buffer *buffer);

/* The text as a C string, "" when nothing was appended. Borrowed until the next append or free. */
const char *sg_buffer_text(const struct sg_buffer *buffer);

/* SG_ENOMEM when any append failed. */
SG_MUST_CHECK enum sg_status sg_buffer_status(const struct sg_buffer *buffer, struct sg_error *err);

/* Hand the storage to the caller (free() it) and zero the struct; "" when empty; NULL when memory ran out. */
char *sg_buffer_take(struct sg_buffer *buffer);

#endif
