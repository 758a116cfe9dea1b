/* UTF-8: what may be shown of a stream now, and repair of bytes that are not UTF-8. */
#ifndef SG_BASE_UTF8_H
#define SG_BASE_UTF8_H

#include "base/buffer.h"

#include <stdint.h>

/* Decode one code point at the start of `text` (not empty). Returns its length in bytes and sets *code_out; for an
 * invalid or incomplete sequence returns the length of the maximal subpart (1–3) and sets *code_out to -1. */
size_t sg_utf8_decode(struct sg_slice text, int32_t *code_out);

/* Append a code point (0 … 0x10FFFF, no surrogates). */
void sg_utf8_encode(int32_t code, struct sg_buffer *out);

/* How many leading bytes of `text` are complete sequences or certainly invalid: what a stream may show now; the
 * rest (at most 3 bytes) may be completed by what follows. */
size_t sg_utf8_ready(struct sg_slice text);

bool sg_utf8_valid(struct sg_slice text);

/* Characters that act on a terminal, or that make what is read differ from what is written: controls (but newline and
 * tab), zero-width and bidirectional ones, tags. They are shown by their number. */
bool sg_utf8_deceives(int32_t code);

/* Append `text` with every maximal invalid subpart replaced by U+FFFD. */
void sg_utf8_repair(struct sg_slice text, struct sg_buffer *out);

#endif
