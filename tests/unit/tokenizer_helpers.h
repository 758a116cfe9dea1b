/* Tokenizers of the tests' own making, as tokenizer.json. */
#ifndef TESTS_UNIT_TOKENIZER_HELPERS_H
#define TESTS_UNIT_TOKENIZER_HELPERS_H

#include "base/utf8.h"
#include "text/tokenizer_internal.h"

#include <stdlib.h>

/* Append bytes as GPT-2 spells them, escaped for a JSON string. Written from the definition in GPT-2's encoder.py:
 * bytes_to_unicode counts the bytes outside three printable ranges upwards from 256. */
static inline void spell(struct sg_slice bytes, struct sg_buffer *out)
{
    for (size_t i = 0; i < bytes.len; i++) {
        int byte = (unsigned char)bytes.ptr[i], code = byte, skipped = 0;
        for (int b = 0; b <= byte; b++) {
            bool printable = (b >= '!' && b <= '~') || (b >= 0xA1 && b <= 0xAC) || (b >= 0xAE && b <= 0xFF);
            if (b == byte && !printable)
                code = 256 + skipped;
            skipped += !printable;
        }
        if (code == '"' || code == '\\')
            sg_buffer_putc(out, '\\');
        sg_utf8_encode(code, out);
    }
}

/* Append the members of a vocabulary whose tokens 0 … 255 are the bytes. */
static inline void put_byte_vocab(struct sg_buffer *json)
{
    for (int i = 0; i < 256; i++) {
        char byte = (char)i;
        sg_buffer_puts(json, i ? ",\"" : "\"");
        spell((struct sg_slice){&byte, 1}, json);
        sg_buffer_printf(json, "\":%d", i);
    }
}

#endif
