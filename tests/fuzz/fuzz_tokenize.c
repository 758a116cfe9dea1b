/* Any text, with each split pattern (the first byte chooses): pieces are not empty and sum to the text; ids decode to
 * it and are never special; and a piece found in the vocabulary is what the merges make of it. (Merging itself is
 * checked against a naive way in tests/unit/test_tokenizer.c.) */
#include "../unit/tokenizer_helpers.h"

#include <stdio.h>

static const char *const merges[][2] = {{" ", "t"},   {"h", "e"},       {" t", "he"}, {"a", "a"},
                                        {"aa", "aa"}, {" ", " "},       {"'", "s"},   {"aa", "a"},
                                        {"\n", "\n"}, {"\xC3", "\xA9"}, {"!", "!"},   {"0", "0"}};

/* All bytes, the merges above, and <|end|> as 999. */
static struct sg_tokenizer *make(void)
{
    struct sg_buffer json = {0};
    size_t n = sizeof merges / sizeof *merges;
    sg_buffer_puts(&json, "{\"pre_tokenizer\":{\"type\":\"ByteLevel\",\"add_prefix_space\":false},\"added_tokens\":["
                          "{\"id\":999,\"content\":\"<|end|>\"}],\"model\":{\"vocab\":{");
    put_byte_vocab(&json);
    for (size_t i = 0; i < n; i++) {
        sg_buffer_puts(&json, ",\"");
        spell(sg_slice_of(merges[i][0]), &json);
        spell(sg_slice_of(merges[i][1]), &json);
        sg_buffer_printf(&json, "\":%zu", 256 + i);
    }
    sg_buffer_puts(&json, "},\"merges\":[");
    for (size_t i = 0; i < n; i++) {
        sg_buffer_puts(&json, i ? ",[\"" : "[\"");
        spell(sg_slice_of(merges[i][0]), &json);
        sg_buffer_puts(&json, "\",\"");
        spell(sg_slice_of(merges[i][1]), &json);
        sg_buffer_puts(&json, "\"]");
    }
    sg_buffer_puts(&json, "]}}");
    struct sg_tokenizer *tokenizer;
    struct sg_error err;
    if (sg_tokenizer_from_json_text((struct sg_slice){json.data, json.len}, &tokenizer, &err)) {
        fprintf(stderr, "%s\n", err.text);
        abort();
    }
    sg_buffer_free(&json);
    return tokenizer;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct sg_tokenizer *tokenizer;
    if (!tokenizer)
        tokenizer = make();
    if (size == 0)
        return 0;
    tokenizer->split = data[0] % 5;
    /* A copy of its own, so that a read before or behind it is seen. */
    struct sg_slice text = {size > 1 ? malloc(size - 1) : NULL, size - 1};
    if (text.len)
        memcpy((char *)text.ptr, data + 1, text.len);

    struct sg_tokens ids = {0}, lengths = {0}, alone = {0};
    struct sg_buffer back = {0};
    sg_tokenize(tokenizer, text, &ids);
    sg_tokenizer_split(tokenizer, text, &lengths);
    size_t sum = 0;
    for (size_t i = 0; i < lengths.n; sum += (size_t)lengths.ids[i], i++) {
        if (lengths.ids[i] <= 0 || (size_t)lengths.ids[i] > text.len - sum)
            abort();
        sg_bpe_encode(&tokenizer->bpe, (struct sg_slice){text.ptr + sum, (size_t)lengths.ids[i]}, &alone);
    }
    if (sum != text.len || alone.n != ids.n || (ids.n && memcmp(alone.ids, ids.ids, ids.n * sizeof *ids.ids) != 0))
        abort();
    for (size_t i = 0; i < ids.n; i++) {
        if (sg_tokenizer_is_special(tokenizer, ids.ids[i]))
            abort();
        struct sg_slice bytes = sg_token_bytes(tokenizer, ids.ids[i]);
        sg_buffer_append(&back, bytes.ptr, bytes.len);
    }
    if (!sg_slice_equal((struct sg_slice){back.data, back.len}, text))
        abort();
    sg_tokens_free(&ids);
    sg_tokens_free(&lengths);
    sg_tokens_free(&alone);
    sg_buffer_free(&back);
    free((char *)text.ptr);
    return 0;
}
