#include "base/utf8.h"

/* Length of the sequence that a lead byte starts and the bounds of its second byte (Unicode table 3-7); 0 for a
 * byte that starts none. */
static size_t lead(unsigned char byte, unsigned char *low, unsigned char *high)
{
    *low = 0x80;
    *high = 0xBF;
    if (byte < 0x80)
        return 1;
    if (byte >= 0xC2 && byte <= 0xDF)
        return 2;
    if (byte >= 0xE0 && byte <= 0xEF) {
        if (byte == 0xE0)
            *low = 0xA0;
        if (byte == 0xED)
            *high = 0x9F;
        return 3;
    }
    if (byte >= 0xF0 && byte <= 0xF4) {
        if (byte == 0xF0)
            *low = 0x90;
        if (byte == 0xF4)
            *high = 0x8F;
        return 4;
    }
    return 0;
}

/* Valid bytes at the start of text; *complete says whether they are a whole sequence. */
static size_t scan(struct sg_slice text, bool *complete)
{
    const unsigned char *bytes = (const unsigned char *)text.ptr;
    unsigned char low, high;
    size_t want = lead(bytes[0], &low, &high), n = 1;
    *complete = want == 1;
    if (want == 0)
        return 1;
    for (; n < want && n < text.len && bytes[n] >= low && bytes[n] <= high; n++) {
        low = 0x80;
        high = 0xBF;
    }
    *complete = n == want;
    return n;
}

size_t sg_utf8_decode(struct sg_slice text, int32_t *code_out)
{
    bool complete;
    size_t n = scan(text, &complete);
    if (!complete) {
        *code_out = -1;
        return n;
    }
    const unsigned char *bytes = (const unsigned char *)text.ptr;
    int32_t code = n == 1 ? bytes[0] : bytes[0] & (0x7F >> n);
    for (size_t i = 1; i < n; i++)
        code = code << 6 | (bytes[i] & 0x3F);
    *code_out = code;
    return n;
}

void sg_utf8_encode(int32_t code, struct sg_buffer *out)
{
    unsigned char bytes[4];
    size_t n;
    if (code < 0x80) {
        bytes[0] = (unsigned char)code;
        n = 1;
    } else if (code < 0x800) {
        bytes[0] = (unsigned char)(0xC0 | code >> 6);
        bytes[1] = (unsigned char)(0x80 | (code & 0x3F));
        n = 2;
    } else if (code < 0x10000) {
        bytes[0] = (unsigned char)(0xE0 | code >> 12);
        bytes[1] = (unsigned char)(0x80 | (code >> 6 & 0x3F));
        bytes[2] = (unsigned char)(0x80 | (code & 0x3F));
        n = 3;
    } else {
        bytes[0] = (unsigned char)(0xF0 | code >> 18);
        bytes[1] = (unsigned char)(0x80 | (code >> 12 & 0x3F));
        bytes[2] = (unsigned char)(0x80 | (code >> 6 & 0x3F));
        bytes[3] = (unsigned char)(0x80 | (code & 0x3F));
        n = 4;
    }
    sg_buffer_append(out, bytes, n);
}

size_t sg_utf8_ready(struct sg_slice text)
{
    size_t at = 0;
    while (at < text.len) {
        bool complete;
        size_t n = scan((struct sg_slice){text.ptr + at, text.len - at}, &complete);
        unsigned char low, high;
        if (!complete && at + n == text.len && lead((unsigned char)text.ptr[at], &low, &high) > n)
            break; /* reaches the end and may still be completed */
        at += n;
    }
    return at;
}

bool sg_utf8_valid(struct sg_slice text)
{
    for (size_t at = 0; at < text.len;) {
        int32_t code;
        at += sg_utf8_decode((struct sg_slice){text.ptr + at, text.len - at}, &code);
        if (code < 0)
            return false;
    }
    return true;
}

void sg_utf8_repair(struct sg_slice text, struct sg_buffer *out)
{
    for (size_t at = 0; at < text.len;) {
        int32_t code;
        size_t n = sg_utf8_decode((struct sg_slice){text.ptr + at, text.len - at}, &code);
        if (code < 0)
            sg_buffer_append(out, "\xEF\xBF\xBD", 3);
        else
            sg_buffer_append(out, text.ptr + at, n);
        at += n;
    }
}

bool sg_utf8_deceives(int32_t code)
{
    return (code < 0x20 && code != '\n' && code != '\t') || (code >= 0x7f && code <= 0x9f) || code == 0xad ||
           (code >= 0x200b && code <= 0x200f) || (code >= 0x2028 && code <= 0x202e) ||
           (code >= 0x2060 && code <= 0x206f) || code == 0x061c || code == 0xfeff ||
           (code >= 0xfff9 && code <= 0xfffb) || (code >= 0xe0000 && code <= 0xe0fff);
}
