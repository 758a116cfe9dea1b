/* gzip: what a file holds. */
#include "input/input_rows.h"

#include <zlib.h>

#define CHUNK ((size_t)1 << 20)

/* One member after the other into `out`; what follows the last is zero padding or an error. */
static enum sg_status inflate_members(const char *name, z_stream *stream, struct sg_buffer *out, struct sg_error *err)
{
    int result = Z_OK;
    while (stream->avail_in > 0 || stream->avail_out == 0) {
        char *end = sg_buffer_reserve(out, CHUNK);
        if (!end)
            return sg_fail(err, SG_ENOMEM, "%s: out of memory after %zu bytes", name, out->len);
        stream->next_out = (Bytef *)end;
        stream->avail_out = (uInt)CHUNK;
        result = inflate(stream, Z_NO_FLUSH);
        out->len += CHUNK - stream->avail_out;
        out->data[out->len] = '\0';
        if (out->len > SG_INPUT_MAX_BYTES)
            return sg_fail(err, SG_ELIMIT, "%s: decompressed, larger than the limit of %zu bytes", name,
                           SG_INPUT_MAX_BYTES);
        if (result == Z_STREAM_END) {
            while (stream->avail_in > 0 && *stream->next_in == 0) {
                stream->next_in++;
                stream->avail_in--;
            }
            if (stream->avail_in == 0)
                return SG_OK;
            result = inflateReset(stream);
        }
        if (result == Z_BUF_ERROR)
            break;
        if (result != Z_OK)
            return sg_fail(err, SG_EFORMAT, "%s: damaged gzip after %zu bytes of text", name, out->len);
    }
    return sg_fail(err, SG_EFORMAT, "%s: gzip ends too early, after %zu bytes of text", name, out->len);
}

enum sg_status sg_gz_inflate(const char *name, struct sg_buffer *text, struct sg_error *err)
{
    if (text->len < 2 || memcmp(text->data, "\x1f\x8b", 2) != 0)
        return SG_OK;
    z_stream stream = {.next_in = (Bytef *)text->data, .avail_in = (uInt)text->len};
    if (inflateInit2(&stream, 16 + MAX_WBITS) != Z_OK)
        return sg_fail(err, SG_ENOMEM, "%s: out of memory", name);
    struct sg_buffer out = {0};
    enum sg_status status = inflate_members(name, &stream, &out, err);
    inflateEnd(&stream);
    sg_buffer_free(text);
    *text = out;
    return status;
}
