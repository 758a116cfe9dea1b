#include "reasoner/sse.h"

void sg_sse_free(struct sg_sse *sse)
{
    sg_buffer_free(&sse->line);
    sg_buffer_free(&sse->data);
    sg_buffer_free(&sse->event);
    *sse = (struct sg_sse){0};
}

/* The value of field `name`; ptr NULL when the line is of another field. */
static struct sg_slice field(struct sg_slice line, const char *name)
{
    size_t n = strlen(name);
    if (line.len < n || memcmp(line.ptr, name, n) != 0 || (line.len > n && line.ptr[n] != ':'))
        return (struct sg_slice){NULL, 0};
    size_t skip = line.len == n ? n : n + 1;
    skip += skip < line.len && line.ptr[skip] == ' ';
    return (struct sg_slice){line.ptr + skip, line.len - skip};
}

/* A whole line; an empty one ends the event. */
static bool take_line(struct sg_sse *sse, sg_sse_fn fn, void *context)
{
    struct sg_slice line = {sg_buffer_text(&sse->line), sse->line.len}, value;
    bool goes_on = true;
    sse->failed = sse->failed || sse->line.failed;
    if (!sse->past_start && line.len >= 3 && memcmp(line.ptr, "\xEF\xBB\xBF", 3) == 0)
        line = (struct sg_slice){line.ptr + 3, line.len - 3};
    sse->past_start = true;
    if (line.len == 0) {
        if (sse->has_data && !sse->failed)
            goes_on = fn(context, sg_buffer_text(&sse->event), sg_buffer_text(&sse->data), sse->data.len);
        sg_buffer_clear(&sse->data);
        sg_buffer_clear(&sse->event);
        sse->has_data = false;
    } else if ((value = field(line, "data")).ptr) {
        if (sse->has_data)
            sg_buffer_putc(&sse->data, '\n');
        sg_buffer_append(&sse->data, value.ptr, value.len);
        sse->has_data = true;
    } else if ((value = field(line, "event")).ptr) {
        sg_buffer_clear(&sse->event);
        sg_buffer_append(&sse->event, value.ptr, value.len);
    }
    sse->failed = sse->failed || sse->data.failed || sse->event.failed;
    sg_buffer_clear(&sse->line);
    return goes_on && !sse->failed;
}

bool sg_sse_feed(struct sg_sse *sse, const char *bytes, size_t len, sg_sse_fn fn, void *context,
                 enum sg_status *status_out, struct sg_error *err)
{
    *status_out = SG_OK;
    for (size_t at = 0; at < len;) {
        if (sse->after_cr && bytes[at] == '\n') { /* the second half of a line's end */
            sse->after_cr = false;
            at++;
            continue;
        }
        sse->after_cr = false;
        size_t n = 0;
        while (at + n < len && bytes[at + n] != '\n' && bytes[at + n] != '\r')
            n++;
        if (sse->line.len + n > SG_SSE_MAX_EVENT || sse->data.len + n > SG_SSE_MAX_EVENT) {
            *status_out = sg_fail(err, SG_ELIMIT, "an event of the stream has more than %zu bytes", SG_SSE_MAX_EVENT);
            return false;
        }
        sg_buffer_append(&sse->line, bytes + at, n);
        at += n;
        if (at == len)
            break;
        sse->after_cr = bytes[at++] == '\r';
        if (!take_line(sse, fn, context)) {
            if (sse->failed)
                *status_out = sg_fail(err, SG_ENOMEM, "out of memory for an event of the stream");
            return false;
        }
    }
    if (sse->line.failed)
        *status_out = sg_fail(err, SG_ENOMEM, "out of memory for an event of the stream");
    return *status_out == SG_OK;
}
