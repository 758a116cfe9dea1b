/* tiktoken's ranks (o200k_base.tiktoken) → the tokenizer keys of a gpt-oss GGUF: tokens spelled as GPT-2 spells
 * bytes, harmony's special tokens, and merges.
 *
 * Ranks have no merges. The merge that makes a token is the last one when its bytes are merged by the ranks below its
 * own: two parts are left, and these are the pair. */
#include "weights/weights_internal.h"

#include "base/utf8.h"

#include <stdlib.h>

#define RANKS 199998  /* of o200k_base */
#define VOCAB 201088  /* of o200k_harmony */
#define TOKEN_MAX 256 /* bytes; the longest in the file has 128 */
#define FILE_MAX (64 << 20)

struct ranks {
    struct sg_buffer bytes;   /* all tokens one after another */
    uint32_t ends[RANKS];     /* token i ends here in bytes */
    uint32_t by_bytes[RANKS]; /* ids in the order of their bytes */
};

static struct sg_slice token(const struct ranks *ranks, uint32_t i)
{
    uint32_t begin = i ? ranks->ends[i - 1] : 0;
    return (struct sg_slice){ranks->bytes.data + begin, ranks->ends[i] - begin};
}

static int compare(struct sg_slice a, struct sg_slice b)
{
    int order = memcmp(a.ptr, b.ptr, a.len < b.len ? a.len : b.len);
    return order ? order : (a.len > b.len) - (a.len < b.len);
}

static int compare_ids(const void *a, const void *b, void *ranks)
{
    return compare(token(ranks, *(const uint32_t *)a), token(ranks, *(const uint32_t *)b));
}

/* Rank of these bytes, UINT32_MAX when they are no token. */
static uint32_t rank_of(const struct ranks *ranks, struct sg_slice bytes)
{
    size_t low = 0, high = RANKS;
    while (low < high) {
        size_t middle = (low + high) / 2;
        int order = compare(token(ranks, ranks->by_bytes[middle]), bytes);
        if (order == 0)
            return ranks->by_bytes[middle];
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return UINT32_MAX;
}

static int base64_value(char c)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const char *at = c ? strchr(digits, c) : NULL;
    return at ? (int)(at - digits) : -1;
}

/* One line, "BASE64 RANK". */
static bool parse_line(const char *line, const char *end, uint32_t rank, struct sg_buffer *bytes)
{
    uint32_t bits = 0;
    int n_bits = 0;
    const char *at = line;
    for (; at < end && *at != ' ' && *at != '='; at++) {
        int value = base64_value(*at);
        if (value < 0)
            return false;
        bits = bits << 6 | (uint32_t)value;
        n_bits += 6;
        if (n_bits >= 8) {
            n_bits -= 8;
            sg_buffer_putc(bytes, (char)(bits >> n_bits & 255));
        }
    }
    while (at < end && *at == '=')
        at++;
    char expected[16];
    int len = snprintf(expected, sizeof expected, " %u", rank);
    return end - at == len && memcmp(at, expected, (size_t)len) == 0;
}

static enum sg_status read_ranks(const char *path, struct ranks *ranks, struct sg_error *err)
{
    struct sg_buffer text = {0};
    enum sg_status status = sg_file_read(path, FILE_MAX, &text, err);
    const char *at = sg_buffer_text(&text), *end = at + text.len;
    for (uint32_t i = 0; i < RANKS && status == SG_OK; i++) {
        const char *newline = at < end ? memchr(at, '\n', (size_t)(end - at)) : NULL;
        size_t before = ranks->bytes.len;
        if (!newline || !parse_line(at, newline, i, &ranks->bytes) || ranks->bytes.len == before ||
            ranks->bytes.len - before > TOKEN_MAX)
            status = sg_fail(err, SG_EFORMAT, "%s: line %u: expected 1 to %d bytes in base64, a space and %u", path,
                             i + 1, TOKEN_MAX, i);
        ranks->ends[i] = (uint32_t)ranks->bytes.len;
        ranks->by_bytes[i] = i;
        at = newline ? newline + 1 : end;
    }
    if (status == SG_OK && at != end)
        status = sg_fail(err, SG_EFORMAT, "%s: more than %d lines", path, RANKS);
    if (status == SG_OK)
        status = sg_buffer_status(&ranks->bytes, err);
    if (status == SG_OK)
        qsort_r(ranks->by_bytes, RANKS, sizeof ranks->by_bytes[0], compare_ids, ranks);
    sg_buffer_free(&text);
    return status;
}

/* Where token `id` (of two bytes and more) was joined: the length of its left part; 0 when the ranks below its own do
 * not lead to two parts. */
static size_t merge_point(const struct ranks *ranks, uint32_t id)
{
    struct sg_slice whole = token(ranks, id);
    uint16_t starts[TOKEN_MAX + 1]; /* part i is [starts[i], starts[i + 1]) */
    uint32_t pair_ranks[TOKEN_MAX]; /* of parts i and i + 1 together */
    size_t n = whole.len;
    for (size_t i = 0; i <= n; i++)
        starts[i] = (uint16_t)i;
    for (size_t i = 0; i + 1 < n; i++)
        pair_ranks[i] = rank_of(ranks, (struct sg_slice){whole.ptr + i, 2});
    while (n > 2) {
        size_t best = 0;
        for (size_t i = 1; i + 1 < n; i++)
            if (pair_ranks[i] < pair_ranks[best])
                best = i;
        if (pair_ranks[best] >= id)
            return 0;
        memmove(&starts[best + 1], &starts[best + 2], (n - best - 1) * sizeof starts[0]);
        memmove(&pair_ranks[best], &pair_ranks[best + 1], (n - best - 2) * sizeof pair_ranks[0]);
        n--;
        for (size_t i = best ? best - 1 : 0; i <= best && i + 1 < n; i++)
            pair_ranks[i] =
                rank_of(ranks, (struct sg_slice){whole.ptr + starts[i], (size_t)(starts[i + 2] - starts[i])});
    }
    return starts[1];
}

/* GPT-2's spelling: printable bytes of Latin-1 stand for themselves, the others in order for U+0100 and up. */
static void spell(struct sg_slice bytes, struct sg_buffer *out)
{
    for (size_t i = 0; i < bytes.len; i++) {
        int byte = (unsigned char)bytes.ptr[i];
        if ((byte >= 33 && byte <= 126) || (byte >= 161 && byte <= 172) || byte >= 174)
            sg_utf8_encode(byte, out);
        else if (byte < 33)
            sg_utf8_encode(256 + byte, out);
        else if (byte < 161)
            sg_utf8_encode(256 + 33 + byte - 127, out);
        else
            sg_utf8_encode(256 + 33 + 34, out); /* 173 */
    }
}

static void spell_special(uint32_t id, struct sg_buffer *out)
{
    static const struct {
        uint32_t id;
        const char *name;
    } named[] = {{199998, "<|startoftext|>"}, {199999, "<|endoftext|>"}, {200002, "<|return|>"},
                 {200003, "<|constrain|>"},   {200005, "<|channel|>"},   {200006, "<|start|>"},
                 {200007, "<|end|>"},         {200008, "<|message|>"},   {200012, "<|call|>"},
                 {200018, "<|endofprompt|>"}};
    for (size_t i = 0; i < sizeof named / sizeof named[0]; i++) {
        if (named[i].id == id) {
            sg_buffer_puts(out, named[i].name);
            return;
        }
    }
    sg_buffer_printf(out, "<|reserved_%u|>", id);
}

/* Strings in one buffer → slices, once the buffer does not move any more. */
static void slice_up(const struct sg_buffer *text, const uint32_t *ends, size_t n, struct sg_slice *slices)
{
    for (size_t i = 0; i < n; i++) {
        uint32_t begin = i ? ends[i - 1] : 0;
        slices[i] = (struct sg_slice){text->data + begin, ends[i] - begin};
    }
}

static void put_tokens(struct sg_gguf_writer *writer, const struct ranks *ranks, struct sg_slice *slices,
                       uint32_t *ends, int32_t *types, struct sg_buffer *text)
{
    for (uint32_t i = 0; i < VOCAB; i++) {
        if (i < RANKS)
            spell(token(ranks, i), text);
        else
            spell_special(i, text);
        ends[i] = (uint32_t)text->len;
        types[i] = i < RANKS ? 1 : 3; /* normal, control */
    }
    if (text->failed)
        return;
    slice_up(text, ends, VOCAB, slices);
    sg_gguf_put_strings(writer, "tokenizer.ggml.tokens", slices, VOCAB);
    sg_gguf_put_ints(writer, "tokenizer.ggml.token_type", types, VOCAB);
}

static void put_merges(struct sg_gguf_writer *writer, const struct ranks *ranks, struct sg_slice *slices,
                       uint32_t *ends, struct sg_buffer *text)
{
    size_t n = 0;
    for (uint32_t i = 0; i < RANKS; i++) {
        struct sg_slice bytes = token(ranks, i);
        size_t point = bytes.len > 1 ? merge_point(ranks, i) : 0;
        if (point == 0)
            continue;
        spell((struct sg_slice){bytes.ptr, point}, text);
        sg_buffer_putc(text, ' ');
        spell((struct sg_slice){bytes.ptr + point, bytes.len - point}, text);
        ends[n++] = (uint32_t)text->len;
    }
    if (text->failed)
        return;
    slice_up(text, ends, n, slices);
    sg_gguf_put_strings(writer, "tokenizer.ggml.merges", slices, n);
}

enum sg_status sg_gguf_put_tiktoken(struct sg_gguf_writer *writer, const char *path, struct sg_error *err)
{
    struct ranks *ranks = calloc(1, sizeof *ranks);
    struct sg_slice *slices = malloc(VOCAB * sizeof *slices);
    uint32_t *ends = malloc(VOCAB * sizeof *ends);
    int32_t *types = malloc(VOCAB * sizeof *types);
    struct sg_buffer tokens = {0}, merges = {0};
    enum sg_status status;
    if (!ranks || !slices || !ends || !types)
        status = sg_fail(err, SG_ENOMEM, "%s: out of memory", path);
    else
        status = read_ranks(path, ranks, err);
    if (status == SG_OK) {
        sg_gguf_put_string(writer, "tokenizer.ggml.model", sg_slice_of("gpt2"));
        sg_gguf_put_string(writer, "tokenizer.ggml.pre", sg_slice_of("gpt-4o"));
        put_tokens(writer, ranks, slices, ends, types, &tokens);
        put_merges(writer, ranks, slices, ends, &merges);
        sg_gguf_put_u32(writer, "tokenizer.ggml.bos_token_id", 199998);
        sg_gguf_put_u32(writer, "tokenizer.ggml.eos_token_id", 200002);
        sg_gguf_put_u32(writer, "tokenizer.ggml.padding_token_id", 199999);
        status = sg_buffer_status(&tokens, err);
    }
    if (status == SG_OK)
        status = sg_buffer_status(&merges, err);
    sg_buffer_free(&tokens);
    sg_buffer_free(&merges);
    if (ranks)
        sg_buffer_free(&ranks->bytes);
    free(ranks);
    free(slices);
    free(ends);
    free(types);
    return status;
}
