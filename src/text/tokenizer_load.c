/* Vocabulary → tokenizer: the building steps, and two of the formats: GGUF metadata and tiktoken ranks. (The third is
 * tokenizer_json.c.)
 *
 * GGUF and tokenizer.json spell bytes as GPT-2 does, each byte as one printable character, and list merges; a rank
 * file holds the bytes themselves and the rank of a pair is that of the token it makes. Files are hostile: every
 * id, count and string is checked, and what the tokenizer cannot do is refused by name, because it would change the
 * ids silently. */
#include "base/file.h"
#include "text/tokenizer_internal.h"
#include "weights/weights.h"

#include <stdio.h>
#include <stdlib.h>

#define RANK_FILE_MAX ((size_t)64 << 20)

/* --- building ------------------------------------------------------------------------------------------- */

enum sg_status sg_tokenizer_create(struct sg_tokenizer **tokenizer_out, struct sg_error *err)
{
    struct sg_tokenizer *tokenizer = *tokenizer_out = calloc(1, sizeof *tokenizer);
    if (!tokenizer)
        return sg_fail(err, SG_ENOMEM, "out of memory for a tokenizer");
    for (int i = 0; i < 256; i++)
        tokenizer->bpe.byte_ids[i] = -1;
    return SG_OK;
}

static enum sg_status add_name(struct sg_tokenizer *tokenizer, struct sg_slice name, int32_t id, struct sg_error *err)
{
    if (name.len == 0)
        return SG_OK;
    if (name.len > SG_SPECIAL_NAME_MAX)
        return sg_fail(err, SG_ELIMIT, "name of special token %d has %zu bytes, at most %d", id, name.len,
                       SG_SPECIAL_NAME_MAX);
    enum sg_status status = sg_vocab_push(&tokenizer->names, name, err);
    if (!status)
        status = sg_vocab_index(&tokenizer->names, tokenizer->names.n - 1, err);
    sg_buffer_append(&tokenizer->name_ids, &id, sizeof id);
    tokenizer->name_starts[(unsigned char)name.ptr[0]] = true;
    tokenizer->name_lengths[name.len] = true;
    return status ? status : sg_buffer_status(&tokenizer->name_ids, err);
}

enum sg_status sg_tokenizer_add_token(struct sg_tokenizer *tokenizer, struct sg_slice bytes, enum token_kind kind,
                                      struct sg_error *err)
{
    int32_t id = tokenizer->vocab.n;
    if (id >= SG_TOKENS_MAX)
        return sg_fail(err, SG_ELIMIT, "more than %d tokens", SG_TOKENS_MAX);
    enum sg_status status = sg_vocab_push(&tokenizer->vocab, bytes, err);
    if (status)
        return status;
    bool special = kind == TOKEN_SPECIAL;
    sg_buffer_append(&tokenizer->special, &special, 1);
    if (special)
        status = add_name(tokenizer, bytes, id, err);
    else if (kind == TOKEN_ORDINARY)
        status = sg_vocab_index(&tokenizer->vocab, id, err);
    if (kind == TOKEN_ORDINARY && bytes.len == 1 && tokenizer->bpe.byte_ids[(unsigned char)bytes.ptr[0]] < 0)
        tokenizer->bpe.byte_ids[(unsigned char)bytes.ptr[0]] = id;
    return status ? status : sg_buffer_status(&tokenizer->special, err);
}

/* The byte that GPT-2's spelling writes as this character, -1 for none: printable Latin-1 stands for itself, the
 * other 68 bytes are U+0100 … U+0143 in their order. */
static int spelled_byte(int code)
{
    if ((code >= 0x21 && code <= 0x7E) || (code >= 0xA1 && code <= 0xFF && code != 0xAD))
        return code;
    if (code < 0x100 || code > 0x143)
        return -1;
    code -= 0x100;
    return code < 0x21 ? code : code < 0x43 ? code - 0x21 + 0x7F : 0xAD;
}

/* Append the bytes of a spelled token; false (with some of them appended) when a character stands for no byte. */
static bool unspell(struct sg_slice spelled, struct sg_buffer *out)
{
    char *to = sg_buffer_reserve(out, spelled.len);
    if (!to)
        return true; /* the buffer remembers */
    for (size_t at = 0; at < spelled.len; at++) {
        int code = (unsigned char)spelled.ptr[at]; /* all spelled characters have one or two bytes of UTF-8 */
        if (code >= 0x80) {
            if (code < 0xC2 || code > 0xDF || ++at == spelled.len || (spelled.ptr[at] & 0xC0) != 0x80)
                return false;
            code = (code & 0x1F) << 6 | (spelled.ptr[at] & 0x3F);
        }
        int byte = spelled_byte(code);
        if (byte < 0)
            return false;
        *to++ = (char)byte;
        out->len++;
    }
    return true;
}

enum sg_status sg_tokenizer_add_spelled(struct sg_tokenizer *tokenizer, struct sg_slice spelled, enum token_kind kind,
                                        struct sg_buffer *scratch, struct sg_error *err)
{
    sg_buffer_clear(scratch);
    if (kind != TOKEN_ORDINARY)
        return sg_tokenizer_add_token(tokenizer, spelled, kind, err);
    if (!unspell(spelled, scratch))
        return sg_tokenizer_add_token(tokenizer, spelled, TOKEN_UNUSED, err);
    enum sg_status status = sg_buffer_status(scratch, err);
    return status ? status
                  : sg_tokenizer_add_token(tokenizer, (struct sg_slice){scratch->data, scratch->len}, kind, err);
}

enum sg_status sg_tokenizer_add_merge(struct sg_tokenizer *tokenizer, struct sg_slice left, struct sg_slice right,
                                      struct sg_buffer *scratch, struct sg_error *err)
{
    sg_buffer_clear(scratch);
    bool spelled = unspell(left, scratch);
    size_t left_len = scratch->len;
    spelled = spelled && unspell(right, scratch);
    if (scratch->failed)
        return sg_buffer_status(scratch, err);
    size_t rank = tokenizer->bpe.merged.len / sizeof(int32_t);
    int32_t ids[3] = {-1, -1, -1};
    if (spelled && left_len && scratch->len > left_len) {
        ids[0] = sg_vocab_find(&tokenizer->vocab, (struct sg_slice){scratch->data, left_len});
        ids[1] =
            sg_vocab_find(&tokenizer->vocab, (struct sg_slice){scratch->data + left_len, scratch->len - left_len});
        ids[2] = sg_vocab_find(&tokenizer->vocab, (struct sg_slice){scratch->data, scratch->len});
    }
    if (ids[0] < 0 || ids[1] < 0 || ids[2] < 0)
        return sg_fail(err, SG_EFORMAT, "merge %zu: \"%.*s\" + \"%.*s\": %s is not a token", rank, SHOWN(left),
                       SHOWN(right),
                       ids[0] < 0   ? "the first"
                       : ids[1] < 0 ? "the second"
                                    : "what they make");
    enum sg_status status = sg_bpe_add_rank(&tokenizer->bpe, ids[2], err);
    return status ? status : sg_bpe_add_pair(&tokenizer->bpe, ids[0], ids[1], err);
}

enum sg_status sg_tokenizer_index_reachable(struct sg_tokenizer *tokenizer, struct sg_error *err)
{
    struct sg_tokens ids = {0};
    enum sg_status status = SG_OK;
    struct sg_vocab *vocab = &tokenizer->vocab;
    bool *reached = calloc((size_t)vocab->n + 1, sizeof *reached);
    if (!reached)
        return sg_fail(err, SG_ENOMEM, "out of memory for %d tokens", vocab->n);
    for (int32_t id = 0; id < vocab->n && !status; id++) {
        struct sg_slice bytes = sg_vocab_get(vocab, id);
        if (sg_vocab_find(vocab, bytes) != id)
            continue;
        ids.n = 0;
        sg_bpe_encode(&tokenizer->bpe, bytes, &ids);
        reached[id] = ids.n == 1 && ids.ids[0] == id;
        status = sg_tokens_status(&ids, err);
    }
    sg_vocab_clear_index(vocab);
    for (int32_t id = 0; id < vocab->n && !status; id++) {
        if (reached[id])
            status = sg_vocab_index(vocab, id, err);
    }
    sg_tokens_free(&ids);
    free(reached);
    return status;
}

enum sg_status sg_tokenizer_finish(enum sg_status status, struct sg_tokenizer *tokenizer,
                                   struct sg_tokenizer **tokenizer_out)
{
    if (status) {
        sg_tokenizer_destroy(tokenizer);
        tokenizer = NULL;
    }
    *tokenizer_out = tokenizer;
    return status;
}

/* --- GGUF ----------------------------------------------------------------------------------------------- */

enum { GGUF_NORMAL = 1, GGUF_CONTROL = 3, GGUF_USER_DEFINED = 4 }; /* tokenizer.ggml.token_type */

static enum sg_status gguf_split(const struct sg_weights *weights, struct sg_tokenizer *tokenizer,
                                 bool *whole_first_out, struct sg_error *err)
{
    struct sg_slice model = {0}, pre = {"default", 7}, arch = {0};
    if (!sg_meta_string(weights, "tokenizer.ggml.model", &model) || sg_slice_equal(model, sg_slice_of("none")))
        return sg_fail(err, SG_ENOTFOUND, "the file has no tokenizer (tokenizer.ggml.model)");
    if (!sg_slice_equal(model, sg_slice_of("gpt2")))
        return sg_fail(err, SG_EUNSUPPORTED, "tokenizer.ggml.model is \"%.*s\", expected \"gpt2\"", SHOWN(model));
    sg_meta_string(weights, "tokenizer.ggml.pre", &pre);
    sg_meta_string(weights, "general.architecture", &arch);
    bool gptoss = sg_slice_equal(arch, sg_slice_of("gptoss")) || sg_slice_equal(arch, sg_slice_of("gpt-oss"));
    if (gptoss && sg_slice_equal(pre, sg_slice_of("default")))
        pre = sg_slice_of("gpt-4o"); /* Ollama leaves it to the architecture */
    if (!sg_split_by_name(pre, &tokenizer->split, whole_first_out))
        return sg_fail(err, SG_EUNSUPPORTED,
                       "tokenizer.ggml.pre is \"%.*s\", expected gpt-4o, smollm, gpt-2, llama-bpe or qwen2",
                       SHOWN(pre));
    return SG_OK;
}

static enum sg_status gguf_tokens(const struct sg_weights *weights, struct sg_tokenizer *tokenizer,
                                  struct sg_buffer *scratch, struct sg_error *err)
{
    int64_t n = sg_meta_array_count(weights, "tokenizer.ggml.tokens");
    int64_t n_types = sg_meta_array_count(weights, "tokenizer.ggml.token_type");
    if (n <= 0)
        return sg_fail(err, SG_EFORMAT, "tokenizer.ggml.tokens is missing or empty");
    if (n_types >= 0 && n_types != n)
        return sg_fail(err, SG_EFORMAT, "tokenizer.ggml.token_type has %lld entries, tokenizer.ggml.tokens %lld",
                       (long long)n_types, (long long)n);
    enum sg_status status = SG_OK;
    for (int64_t i = 0; i < n && !status; i++) {
        struct sg_slice spelled;
        int64_t type = GGUF_NORMAL;
        if (!sg_meta_array_string(weights, "tokenizer.ggml.tokens", i, &spelled))
            return sg_fail(err, SG_EFORMAT, "tokenizer.ggml.tokens is not an array of strings");
        if (n_types >= 0 && !sg_meta_array_int(weights, "tokenizer.ggml.token_type", i, &type))
            return sg_fail(err, SG_EFORMAT, "tokenizer.ggml.token_type is not an array of integers");
        enum token_kind kind = type == GGUF_NORMAL                                 ? TOKEN_ORDINARY
                               : type == GGUF_CONTROL || type == GGUF_USER_DEFINED ? TOKEN_SPECIAL
                                                                                   : TOKEN_UNUSED;
        status = sg_tokenizer_add_spelled(tokenizer, spelled, kind, scratch, err);
    }
    return status;
}

static enum sg_status gguf_merges(const struct sg_weights *weights, struct sg_tokenizer *tokenizer,
                                  struct sg_buffer *scratch, struct sg_error *err)
{
    int64_t n = sg_meta_array_count(weights, "tokenizer.ggml.merges");
    if (n < 0)
        return sg_fail(err, SG_EFORMAT, "tokenizer.ggml.merges is missing");
    enum sg_status status = SG_OK;
    for (int64_t i = 0; i < n && !status; i++) {
        struct sg_slice merge;
        if (!sg_meta_array_string(weights, "tokenizer.ggml.merges", i, &merge))
            return sg_fail(err, SG_EFORMAT, "tokenizer.ggml.merges is not an array of strings");
        const char *space = merge.len ? memchr(merge.ptr, ' ', merge.len) : NULL;
        if (!space)
            return sg_fail(err, SG_EFORMAT, "merge %lld: \"%.*s\" is not two tokens with a space between",
                           (long long)i, SHOWN(merge));
        size_t left = (size_t)(space - merge.ptr);
        status = sg_tokenizer_add_merge(tokenizer, (struct sg_slice){merge.ptr, left},
                                        (struct sg_slice){space + 1, merge.len - left - 1}, scratch, err);
    }
    return status;
}

static enum sg_status from_gguf(const struct sg_weights *weights, struct sg_tokenizer **tokenizer_out,
                                struct sg_error *err)
{
    struct sg_tokenizer *tokenizer;
    struct sg_buffer scratch = {0};
    bool whole_first = false;
    enum sg_status status = sg_tokenizer_create(&tokenizer, err);
    if (!status)
        status = gguf_split(weights, tokenizer, &whole_first, err);
    if (!status)
        status = gguf_tokens(weights, tokenizer, &scratch, err);
    if (!status)
        status = gguf_merges(weights, tokenizer, &scratch, err);
    if (!status && !whole_first)
        status = sg_tokenizer_index_reachable(tokenizer, err);
    sg_buffer_free(&scratch);
    return sg_tokenizer_finish(status, tokenizer, tokenizer_out);
}

enum sg_status sg_tokenizer_from_weights(const struct sg_weights *weights, struct sg_tokenizer **tokenizer_out,
                                         struct sg_error *err)
{
    *tokenizer_out = NULL;
    if (sg_weights_kind(weights) == SG_WEIGHTS_GGUF) {
        enum sg_status status = from_gguf(weights, tokenizer_out, err);
        return status ? sg_fail_in(err, status, "%s", sg_weights_file_path(weights, 0)) : SG_OK;
    }
    const char *folder = sg_weights_folder(weights);
    if (!folder)
        return sg_fail(err, SG_ENOTFOUND, "%s: a lone safetensors file has no tokenizer",
                       sg_weights_file_path(weights, 0));
    struct sg_buffer path = {0};
    sg_buffer_printf(&path, "%s/tokenizer.json", folder);
    enum sg_status status = sg_buffer_status(&path, err);
    if (!status)
        status = sg_tokenizer_from_json(path.data, tokenizer_out, err);
    sg_buffer_free(&path);
    return status;
}

/* --- tiktoken ranks ------------------------------------------------------------------------------------- */

/* The named tokens of o200k_harmony (openai/harmony registry); the other ids in the range are <|reserved_ID|>. */
enum { HARMONY_FIRST = 199998, HARMONY_LAST = 201088 };
static const struct {
    int32_t id;
    const char *name;
} harmony_names[] = {
    {199998, "<|startoftext|>"}, {199999, "<|endoftext|>"},   {200002, "<|return|>"}, {200003, "<|constrain|>"},
    {200005, "<|channel|>"},     {200006, "<|start|>"},       {200007, "<|end|>"},    {200008, "<|message|>"},
    {200012, "<|call|>"},        {200018, "<|endofprompt|>"},
};

static enum sg_status add_harmony_specials(struct sg_tokenizer *tokenizer, struct sg_error *err)
{
    enum sg_status status = SG_OK;
    size_t next = 0, n_names = sizeof harmony_names / sizeof *harmony_names;
    for (int32_t id = HARMONY_FIRST; id <= HARMONY_LAST && !status; id++) {
        char reserved[32];
        snprintf(reserved, sizeof reserved, "<|reserved_%d|>", id);
        bool named = next < n_names && harmony_names[next].id == id;
        status = sg_tokenizer_add_token(tokenizer, sg_slice_of(named ? harmony_names[next++].name : reserved),
                                        TOKEN_SPECIAL, err);
        if (named && id > 200013 && !status) /* has both names */
            status = add_name(tokenizer, sg_slice_of(reserved), id, err);
    }
    return status;
}

static int base64_digit(unsigned char c)
{
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26;
    if (c >= '0' && c <= '9')
        return c - '0' + 52;
    return c == '+' ? 62 : c == '/' ? 63 : -1;
}

/* One line "BASE64 RANK": appends the bytes, sets the rank. false when it is something else. */
static bool rank_line(struct sg_slice line, struct sg_buffer *bytes, int32_t *rank_out)
{
    size_t at = 0, digits = 0;
    uint32_t bits = 0;
    for (int digit; at < line.len && (digit = base64_digit((unsigned char)line.ptr[at])) >= 0; at++, digits++) {
        bits = bits << 6 | (uint32_t)digit;
        if (digits % 4 > 0)
            sg_buffer_putc(bytes, (char)(bits >> (6 - 2 * (digits % 4))));
    }
    size_t padding = 0;
    for (; at < line.len && line.ptr[at] == '='; at++)
        padding++;
    if (digits == 0 || digits % 4 == 1 || padding != (4 - digits % 4) % 4 || at >= line.len || line.ptr[at++] != ' ')
        return false;
    int32_t rank = 0;
    size_t first = at;
    for (; at < line.len && line.ptr[at] >= '0' && line.ptr[at] <= '9' && rank < HARMONY_FIRST; at++)
        rank = rank * 10 + (line.ptr[at] - '0');
    *rank_out = rank;
    return at > first && at == line.len && rank < HARMONY_FIRST;
}

/* Fill tokens[rank] with slices of `bytes`. */
static enum sg_status read_ranks(struct sg_slice text, struct sg_buffer *bytes, struct sg_slice *tokens,
                                 struct sg_error *err)
{
    /* Decoded bytes are fewer than the text's, so the buffer does not move from here on. */
    if (!sg_buffer_reserve(bytes, text.len))
        return sg_buffer_status(bytes, err);
    size_t number = 1;
    for (size_t at = 0, len; at < text.len; at += len + 1, number++) {
        const char *line = text.ptr + at, *newline = memchr(line, '\n', text.len - at);
        len = newline ? (size_t)(newline - line) : text.len - at;
        if (len == 0)
            continue;
        size_t begin = bytes->len;
        int32_t rank;
        if (!rank_line((struct sg_slice){line, len}, bytes, &rank))
            return sg_fail_at(err, SG_EFORMAT, at, "line %zu is not \"BASE64 RANK\" with a rank below %d", number,
                              HARMONY_FIRST);
        if (tokens[rank].ptr)
            return sg_fail_at(err, SG_EFORMAT, at, "line %zu: rank %d stands twice", number, rank);
        tokens[rank] = (struct sg_slice){bytes->data + begin, bytes->len - begin};
    }
    return SG_OK;
}

/* Every way to make a token of two others has the token's own rank. */
static enum sg_status add_rank_merges(struct sg_tokenizer *tokenizer, struct sg_error *err)
{
    const struct sg_vocab *vocab = &tokenizer->vocab;
    enum sg_status status = SG_OK;
    for (int32_t id = 0; id < HARMONY_FIRST && !status; id++) {
        struct sg_slice bytes = sg_vocab_get(vocab, id);
        status = sg_bpe_add_rank(&tokenizer->bpe, id, err);
        for (size_t cut = 1; cut < bytes.len && !status; cut++) {
            int32_t left = sg_vocab_find(vocab, (struct sg_slice){bytes.ptr, cut});
            int32_t right = left < 0 ? -1 : sg_vocab_find(vocab, (struct sg_slice){bytes.ptr + cut, bytes.len - cut});
            if (right >= 0)
                status = sg_bpe_add_pair(&tokenizer->bpe, left, right, err);
        }
    }
    return status;
}

static enum sg_status from_ranks(struct sg_slice text, struct sg_tokenizer *tokenizer, struct sg_error *err)
{
    struct sg_buffer bytes = {0};
    struct sg_slice *tokens = calloc(HARMONY_FIRST, sizeof *tokens);
    enum sg_status status = tokens ? read_ranks(text, &bytes, tokens, err)
                                   : sg_fail(err, SG_ENOMEM, "out of memory for %d tokens", HARMONY_FIRST);
    for (int32_t id = 0; id < HARMONY_FIRST && !status; id++)
        status = sg_tokenizer_add_token(tokenizer, tokens[id].ptr ? tokens[id] : (struct sg_slice){"", 0},
                                        tokens[id].ptr ? TOKEN_ORDINARY : TOKEN_UNUSED, err);
    for (int i = 0; i < 256 && !status; i++) {
        if (tokenizer->bpe.byte_ids[i] < 0)
            status = sg_fail(err, SG_EFORMAT, "byte 0x%02X has no rank", (unsigned)i);
    }
    if (!status)
        status = add_rank_merges(tokenizer, err);
    if (!status)
        status = add_harmony_specials(tokenizer, err);
    sg_buffer_free(&bytes);
    free(tokens);
    return status;
}

enum sg_status sg_tokenizer_from_tiktoken(const char *path, struct sg_tokenizer **tokenizer_out, struct sg_error *err)
{
    *tokenizer_out = NULL;
    struct sg_tokenizer *tokenizer = NULL;
    struct sg_buffer text = {0};
    enum sg_status status = sg_file_read(path, RANK_FILE_MAX, &text, err);
    if (!status) {
        status = sg_tokenizer_create(&tokenizer, err);
        if (!status)
            status = from_ranks((struct sg_slice){sg_buffer_text(&text), text.len}, tokenizer, err);
        if (status)
            sg_fail_in(err, status, "%s", path);
    }
    sg_buffer_free(&text);
    return sg_tokenizer_finish(status, tokenizer, tokenizer_out);
}
