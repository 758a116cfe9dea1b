/* A byte-level tokenizer without any file: id b is the byte b, then come `extra` tokens that no text becomes (they
 * have no merges), then harmony's and ChatML's special tokens. */
#ifndef TESTS_UNIT_SMALL_TOKENIZER_H
#define TESTS_UNIT_SMALL_TOKENIZER_H

#include "base/utf8.h"
#include "text/tokenizer_internal.h"

/* GPT-2's spelling of bytes as printable characters, as a JSON string's inside. */
static inline void spell_bytes(struct sg_slice bytes, struct sg_buffer *out)
{
    for (size_t i = 0; i < bytes.len; i++) {
        int byte = (unsigned char)bytes.ptr[i], code = 256;
        bool itself = (byte >= 33 && byte <= 126) || (byte >= 161 && byte <= 172) || byte >= 174;
        for (int b = 0; b < byte; b++)
            code += !((b >= 33 && b <= 126) || (b >= 161 && b <= 172) || b >= 174);
        if (byte == '"' || byte == '\\')
            sg_buffer_putc(out, '\\');
        sg_utf8_encode(itself ? byte : code, out);
    }
}

/* NULL when it could not be made. */
static inline struct sg_tokenizer *small_tokenizer(const struct sg_slice *extra, size_t n_extra)
{
    static const char *const specials[] = {"<|start|>",  "<|end|>",  "<|message|>",   "<|channel|>",  "<|constrain|>",
                                           "<|return|>", "<|call|>", "<|endoftext|>", "<|im_start|>", "<|im_end|>"};
    struct sg_buffer json = {0};
    sg_buffer_puts(&json, "{\"model\":{\"type\":\"BPE\",\"merges\":[],\"vocab\":{");
    for (size_t id = 0; id < 256 + n_extra; id++) {
        char byte = (char)id;
        sg_buffer_puts(&json, id ? ",\"" : "\"");
        spell_bytes(id < 256 ? (struct sg_slice){&byte, 1} : extra[id - 256], &json);
        sg_buffer_printf(&json, "\":%zu", id);
    }
    sg_buffer_puts(&json,
                   "}},\"pre_tokenizer\":{\"type\":\"ByteLevel\",\"use_regex\":true,\"add_prefix_space\":false},"
                   "\"added_tokens\":[");
    for (size_t i = 0; i < sizeof specials / sizeof *specials; i++)
        sg_buffer_printf(&json, "%s{\"id\":%zu,\"content\":\"%s\",\"special\":true}", i ? "," : "", 256 + n_extra + i,
                         specials[i]);
    sg_buffer_puts(&json, "]}");
    struct sg_tokenizer *tokenizer = NULL;
    struct sg_error err = {0};
    enum sg_status status = sg_tokenizer_from_json_text((struct sg_slice){json.data, json.len}, &tokenizer, &err);
    sg_buffer_free(&json);
    return status == SG_OK ? tokenizer : NULL;
}

#endif
