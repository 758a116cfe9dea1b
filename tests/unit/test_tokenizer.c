/* Tokenizer against other people's: tiktoken's vectors and long texts, Hugging Face's split patterns and SmolLM2's
 * ids (also llama.cpp's); then files of our own making: structure, damage, merges in any order. */
#include "base/file.h"
#include "tokenizer_helpers.h"
#include "weights/weights.h"

#include <jansson.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>

#include <cmocka.h>

/* --- helpers -------------------------------------------------------------------------------------------- */

static struct sg_tokenizer *o200k; /* NULL when shared/ is not there */

static const char *shared_path(const char *name)
{
    static char path[1024];
    const char *shared = getenv("SG_SHARED");
    snprintf(path, sizeof path, "%s/%s", shared ? shared : "../shared", name);
    return path;
}

static void need_o200k(void)
{
    if (!o200k) {
        print_message("%s is not there\n", shared_path("vectors/o200k_base.tiktoken"));
        skip();
    }
}

static int load_o200k(void **state)
{
    (void)state;
    struct sg_error err;
    const char *path = shared_path("vectors/o200k_base.tiktoken");
    if (access(path, R_OK) != 0 || sg_tokenizer_from_tiktoken(path, &o200k, &err) == SG_OK)
        return 0;
    print_message("%s\n", err.text);
    return -1;
}

static int free_o200k(void **state)
{
    (void)state;
    sg_tokenizer_destroy(o200k);
    return 0;
}

static struct sg_slice text_of(const json_t *row)
{
    const json_t *text = json_object_get(row, "text");
    assert_true(json_is_string(text));
    return (struct sg_slice){json_string_value(text), json_string_length(text)};
}

static void assert_ids(const struct sg_tokens *got, const json_t *expected, const json_t *row)
{
    bool equal = got->n == json_array_size(expected) && !got->failed;
    for (size_t i = 0; equal && i < got->n; i++)
        equal = got->ids[i] == json_integer_value(json_array_get(expected, i));
    if (equal)
        return;
    char *shown = json_dumps(row, JSON_COMPACT);
    print_message("%s\ngot", shown);
    for (size_t i = 0; i < got->n; i++)
        print_message(" %d", got->ids[i]);
    print_message("\n");
    free(shown);
    fail();
}

typedef void (*row_fn)(const json_t *row, void *context);

/* Calls fn for every line; fails when there are fewer than at_least. */
static void each_row(const char *path, size_t at_least, row_fn fn, void *context)
{
    struct sg_buffer text = {0};
    struct sg_error err;
    if (sg_file_read(path, (size_t)64 << 20, &text, &err))
        fail_msg("%s", err.text);
    size_t n = 0;
    for (char *line = text.data, *next; *line; line = next, n++) {
        next = strchr(line, '\n');
        assert_non_null(next);
        json_t *row = json_loadb(line, (size_t)(next - line), JSON_ALLOW_NUL, NULL);
        assert_non_null(row);
        fn(row, context);
        json_decref(row);
        next++;
    }
    assert_true(n >= at_least);
    sg_buffer_free(&text);
}

static void decode(const struct sg_tokenizer *tokenizer, const struct sg_tokens *ids, struct sg_buffer *out)
{
    for (size_t i = 0; i < ids->n; i++) {
        struct sg_slice bytes = sg_token_bytes(tokenizer, ids->ids[i]);
        sg_buffer_append(out, bytes.ptr, bytes.len);
    }
}

static uint64_t random_state;

static uint32_t rnd(uint32_t below)
{
    random_state = random_state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (uint32_t)(random_state >> 33) % below;
}

/* --- o200k ---------------------------------------------------------------------------------------------- */

static void check_ids(const json_t *row, void *context)
{
    const struct sg_tokenizer *tokenizer = context;
    struct sg_tokens ids = {0};
    if (json_is_true(json_object_get(row, "special")))
        sg_tokenize_special(tokenizer, text_of(row), &ids);
    else
        sg_tokenize(tokenizer, text_of(row), &ids);
    assert_ids(&ids, json_object_get(row, "ids"), row);
    for (size_t i = 0; i < ids.n && !json_is_true(json_object_get(row, "special")); i++)
        assert_false(sg_tokenizer_is_special(tokenizer, ids.ids[i]));
    sg_tokens_free(&ids);
}

static void test_o200k_ids(void **state)
{
    (void)state;
    need_o200k();
    each_row(shared_path("vectors/o200k.jsonl"), 2902, check_ids, o200k);
}

/* Two characters that Unicode 17 added, U+11DE0 (number) and U+323B0 (letter): these rows know them, tiktoken's own
 * core (regex-syntax, Unicode 16) does not. It is the reference, see test_unicode_version. */
static bool newer_than_unicode_16(struct sg_slice text)
{
    return memmem(text.ptr, text.len, "\xF0\x91\xB7\xA0", 4) || memmem(text.ptr, text.len, "\xF0\xB2\x8E\xB0", 4);
}

static void check_split(const json_t *row, void *context)
{
    size_t *n_newer = context;
    if (newer_than_unicode_16(text_of(row))) {
        ++*n_newer;
        return;
    }
    struct sg_tokens lengths = {0};
    sg_tokenizer_split(o200k, text_of(row), &lengths);
    assert_ids(&lengths, json_object_get(row, "lens"), row);
    sg_tokens_free(&lengths);
}

static void test_o200k_split(void **state)
{
    (void)state;
    need_o200k();
    size_t n_newer = 0;
    each_row(shared_path("vectors/o200k_split.jsonl"), 5504, check_split, &n_newer);
    assert_true(n_newer <= 11);
}

/* Ids by tiktoken 0.14: U+11DE0 is no number to it, so that the digits after it start a piece of three; U+10D40
 * (Garay digit zero, Unicode 16) is one. */
static void test_unicode_version(void **state)
{
    (void)state;
    need_o200k();
    static const struct {
        const char *text;
        size_t last_digits;
    } cases[] = {{"\xF0\x91\xB7\xA0"
                  "1234",
                  1},
                 {"\xF0\x90\xB5\x80"
                  "1234",
                  2}};
    for (size_t i = 0; i < 2; i++) {
        struct sg_tokens ids = {0};
        sg_tokenize(o200k, sg_slice_of(cases[i].text), &ids);
        assert_int_equal(sg_token_bytes(o200k, ids.ids[ids.n - 1]).len, cases[i].last_digits);
        sg_tokens_free(&ids);
    }
}

static void check_decode(const json_t *row, void *context)
{
    (void)context;
    struct sg_buffer bytes = {0}, hex = {0};
    struct sg_tokens ids = {0};
    size_t i;
    json_t *id;
    json_array_foreach(json_object_get(row, "ids"), i, id) sg_tokens_push(&ids, (int32_t)json_integer_value(id));
    decode(o200k, &ids, &bytes);
    for (i = 0; i < bytes.len; i++)
        sg_buffer_printf(&hex, "%02x", (unsigned char)bytes.data[i]);
    assert_string_equal(sg_buffer_text(&hex), json_string_value(json_object_get(row, "hex")));
    sg_tokens_free(&ids);
    sg_buffer_free(&bytes);
    sg_buffer_free(&hex);
}

static void test_o200k_decode(void **state)
{
    (void)state;
    need_o200k();
    each_row(shared_path("vectors/o200k_decode.jsonl"), 565, check_decode, NULL);
    assert_int_equal(sg_token_bytes(o200k, -1).len, 0);
    assert_int_equal(sg_token_bytes(o200k, sg_tokenizer_count(o200k)).len, 0);
}

/* Long single pieces, where merging takes its other way; texts made as tools/oracle_tokenize.py does. */
static void check_long(const json_t *row, void *context)
{
    (void)context;
    const char *alphabet = json_string_value(json_object_get(row, "alphabet"));
    struct sg_slice symbols[32];
    uint32_t n_symbols = 0;
    for (const char *at = alphabet; at; n_symbols++) {
        const char *bar = strchr(at, '|');
        symbols[n_symbols] = (struct sg_slice){at, bar ? (size_t)(bar - at) : strlen(at)};
        at = bar ? bar + 1 : NULL;
    }
    struct sg_buffer text = {0};
    random_state = (uint64_t)json_integer_value(json_object_get(row, "seed"));
    for (json_int_t n = json_integer_value(json_object_get(row, "n")); n > 0; n--) {
        struct sg_slice symbol = symbols[rnd(n_symbols)];
        sg_buffer_append(&text, symbol.ptr, symbol.len);
    }
    struct sg_tokens ids = {0};
    sg_tokenize(o200k, (struct sg_slice){text.data, text.len}, &ids);
    assert_int_equal(ids.n, json_integer_value(json_object_get(row, "ids")));
    char hex[SG_SHA256_HEX];
    sg_sha256(ids.ids, ids.n * sizeof *ids.ids, hex);
    assert_string_equal(hex, json_string_value(json_object_get(row, "sha256")));
    sg_tokens_free(&ids);
    sg_buffer_free(&text);
}

static void test_o200k_long(void **state)
{
    (void)state;
    need_o200k();
    each_row(SG_TEST_DATA "/o200k_long.jsonl", 20, check_long, NULL);
}

static void test_o200k_special(void **state)
{
    (void)state;
    need_o200k();
    static const struct {
        const char *name;
        int32_t id;
    } names[] = {{"<|startoftext|>", 199998},
                 {"<|endoftext|>", 199999},
                 {"<|return|>", 200002},
                 {"<|constrain|>", 200003},
                 {"<|channel|>", 200005},
                 {"<|start|>", 200006},
                 {"<|end|>", 200007},
                 {"<|message|>", 200008},
                 {"<|call|>", 200012},
                 {"<|endofprompt|>", 200018},
                 {"<|reserved_200018|>", 200018},
                 {"<|reserved_200000|>", 200000},
                 {"<|end|", -1},
                 {"", -1},
                 {" the", -1}};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        assert_int_equal(sg_tokenizer_special(o200k, names[i].name), names[i].id);
        assert_true(sg_tokenizer_is_special(o200k, names[i].id) == (names[i].id >= 0));
    }
    assert_false(sg_tokenizer_is_special(o200k, 199997));
    assert_false(sg_tokenizer_is_special(o200k, sg_tokenizer_count(o200k)));
    /* No name becomes its id as content, alone or in a row. */
    struct sg_tokens ids = {0};
    for (int32_t id = 199998; id < sg_tokenizer_count(o200k); id++)
        sg_tokenize(o200k, sg_token_bytes(o200k, id), &ids);
    for (size_t i = 0; i < ids.n; i++)
        assert_true(ids.ids[i] < 199998);
    sg_tokens_free(&ids);
}

static void random_text(struct sg_buffer *out)
{
    static const char *const parts[] = {"a",
                                        "B",
                                        " ",
                                        "  ",
                                        "\n",
                                        "\r",
                                        "'s",
                                        "'",
                                        "9",
                                        "!",
                                        "/",
                                        "\xCC\x80",
                                        "\xD0\xB6",
                                        "\xE4\xB8\xAD",
                                        "\xF0\x9F\x98\x80",
                                        "\xC2\xA0",
                                        "\xF0\x9F",
                                        "\xFF",
                                        "\xC0",
                                        "the"};
    sg_buffer_clear(out);
    bool bytes = rnd(3) == 0;
    for (uint32_t n = rnd(rnd(8) ? 24 : 300); n > 0; n--) {
        if (bytes)
            sg_buffer_putc(out, (char)rnd(256));
        else
            sg_buffer_puts(out, parts[rnd(sizeof parts / sizeof *parts)]);
    }
}

static void assert_round_trip(const struct sg_tokenizer *tokenizer, int n_texts)
{
    struct sg_buffer text = {0}, back = {0};
    for (int i = 0; i < n_texts; i++) {
        random_text(&text);
        struct sg_tokens ids = {0}, lengths = {0};
        struct sg_slice slice = {text.data, text.len};
        sg_tokenize(tokenizer, slice, &ids);
        sg_tokenizer_split(tokenizer, slice, &lengths);
        size_t sum = 0;
        for (size_t j = 0; j < lengths.n; j++) {
            assert_true(lengths.ids[j] > 0);
            sum += (size_t)lengths.ids[j];
        }
        assert_int_equal(sum, text.len);
        sg_buffer_clear(&back);
        decode(tokenizer, &ids, &back);
        assert_true(sg_slice_equal((struct sg_slice){back.data, back.len}, slice));
        sg_tokens_free(&ids);
        sg_tokens_free(&lengths);
    }
    sg_buffer_free(&text);
    sg_buffer_free(&back);
}

static void test_round_trip(void **state)
{
    (void)state;
    need_o200k();
    random_state = 1;
    assert_round_trip(o200k, 20000);
    struct sg_tokens ids = {0};
    sg_tokenize(o200k, (struct sg_slice){NULL, 0}, &ids);
    assert_int_equal(ids.n, 0);
}

/* The same vocabulary as tokenizer.json, with every split of every token as a merge, the way converters write it:
 * merging by pairs of ids must give what merging by ranks of bytes gives. */
static void test_o200k_as_json(void **state)
{
    (void)state;
    need_o200k();
    struct sg_buffer json = {0};
    sg_buffer_puts(&json, "{\"model\":{\"type\":\"BPE\",\"ignore_merges\":true,\"vocab\":{");
    for (int32_t id = 0; id < 199998; id++) {
        sg_buffer_puts(&json, id ? ",\"" : "\"");
        spell(sg_token_bytes(o200k, id), &json);
        sg_buffer_printf(&json, "\":%d", id);
    }
    sg_buffer_puts(&json, "},\"merges\":[");
    size_t n = 0;
    for (int32_t id = 0; id < 199998; id++) {
        struct sg_slice bytes = sg_token_bytes(o200k, id);
        for (size_t cut = 1; cut < bytes.len; cut++) {
            struct sg_slice left = {bytes.ptr, cut}, right = {bytes.ptr + cut, bytes.len - cut};
            if (sg_vocab_find(&o200k->vocab, left) < 0 || sg_vocab_find(&o200k->vocab, right) < 0)
                continue;
            sg_buffer_puts(&json, n++ ? ",[\"" : "[\"");
            spell(left, &json);
            sg_buffer_puts(&json, "\",\"");
            spell(right, &json);
            sg_buffer_puts(&json, "\"]");
        }
    }
    assert_true(n > 400000);
    sg_buffer_puts(&json, "]},\"added_tokens\":[");
    for (int32_t id = 199998; id < sg_tokenizer_count(o200k); id++) {
        struct sg_slice name = sg_token_bytes(o200k, id);
        sg_buffer_printf(&json, "%s{\"id\":%d,\"content\":\"%.*s\",\"special\":true}", id > 199998 ? "," : "", id,
                         (int)name.len, name.ptr);
    }
    /* The pattern as published. */
    sg_buffer_puts(
        &json,
        "],\"pre_tokenizer\":{\"type\":\"Sequence\",\"pretokenizers\":[{\"type\":\"Split\",\"behavior\":\"Isolated\","
        "\"invert\":false,\"pattern\":{\"Regex\":\""
        "[^\\\\r\\\\n\\\\p{L}\\\\p{N}]?[\\\\p{Lu}\\\\p{Lt}\\\\p{Lm}\\\\p{Lo}\\\\p{M}]*[\\\\p{Ll}\\\\p{Lm}\\\\p{Lo}"
        "\\\\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|[^\\\\r\\\\n\\\\p{L}\\\\p{N}]?[\\\\p{Lu}\\\\p{Lt}\\\\p{Lm}\\\\p{Lo}"
        "\\\\p{M}]+[\\\\p{Ll}\\\\p{Lm}\\\\p{Lo}\\\\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\\\\p{N}{1,3}| "
        "?[^\\\\s\\\\p{L}"
        "\\\\p{N}]+[\\\\r\\\\n/]*|\\\\s*[\\\\r\\\\n]+|\\\\s+(?!\\\\S)|\\\\s+\"}},"
        "{\"type\":\"ByteLevel\",\"add_prefix_space\":false,\"use_regex\":false}]}}");
    struct sg_tokenizer *tokenizer;
    struct sg_error err;
    if (sg_tokenizer_from_json_text((struct sg_slice){json.data, json.len}, &tokenizer, &err))
        fail_msg("%s", err.text);
    each_row(shared_path("vectors/o200k.jsonl"), 2902, check_ids, tokenizer);
    sg_tokenizer_destroy(tokenizer);
    sg_buffer_free(&json);
}

/* --- the other split patterns, SmolLM2, the golden files ------------------------------------------------- */

static void check_pattern(const json_t *row, void *context)
{
    (void)context;
    enum sg_split split;
    bool whole_first;
    struct sg_slice text = text_of(row);
    assert_true(
        sg_split_by_name(sg_slice_of(json_string_value(json_object_get(row, "split"))), &split, &whole_first));
    struct sg_tokens lengths = {0};
    for (size_t at = 0, len; at < text.len; at += len) {
        len = sg_split_next(split, text.ptr + at, text.ptr + text.len);
        sg_tokens_push(&lengths, (int32_t)len);
    }
    assert_ids(&lengths, json_object_get(row, "lens"), row);
    sg_tokens_free(&lengths);
}

static void test_split_patterns(void **state)
{
    (void)state;
    each_row(SG_TEST_DATA "/splits.jsonl", 1365, check_pattern, NULL);
}

static struct sg_tokenizer *from_gguf(const char *path)
{
    struct sg_weights *weights;
    struct sg_tokenizer *tokenizer = NULL;
    struct sg_error err;
    if (sg_weights_open(path, &weights, &err) || sg_tokenizer_from_weights(weights, &tokenizer, &err))
        fail_msg("%s", err.text);
    sg_weights_close(weights);
    return tokenizer;
}

static void test_smollm2(void **state)
{
    (void)state;
    char path[1200], folder[1024];
    struct sg_error err;
    const char *given = getenv("SG_SMOLLM2");
    if (given)
        snprintf(path, sizeof path, "%s", given);
    else if (sg_cache_folder(folder, sizeof folder, &err) == SG_OK)
        snprintf(path, sizeof path, "%s/SmolLM2-135M-Instruct-Q4_1.gguf", folder);
    else
        path[0] = '\0';
    if (access(path, R_OK) != 0) {
        print_message("SmolLM2 is not there: neither SG_SMOLLM2 nor %s\n", path);
        skip();
    }
    struct sg_tokenizer *tokenizer = from_gguf(path);
    each_row(SG_TEST_DATA "/smollm2_tokens.jsonl", 423, check_ids, tokenizer);
    assert_int_equal(sg_tokenizer_count(tokenizer), 49152);
    assert_int_equal(sg_tokenizer_special(tokenizer, "<|im_start|>"), 1);
    assert_int_equal(sg_tokenizer_special(tokenizer, "<|im_end|>"), 2);
    struct sg_tokens ids = {0};
    sg_tokenize_special(tokenizer, sg_slice_of("<|im_start|>a<|im_end|><|im_start|>"), &ids);
    assert_int_equal(ids.n, 4);
    assert_int_equal(ids.ids[0], 1);
    assert_int_equal(ids.ids[2], 2);
    assert_int_equal(ids.ids[3], 1);
    /* 0xF5 has no token and is left out. */
    ids.n = 0;
    sg_tokenize(tokenizer, sg_slice_of("\xF5"), &ids);
    assert_int_equal(ids.n, 0);
    sg_tokens_free(&ids);
    sg_tokenizer_destroy(tokenizer);
}

static void test_golden_ggufs(void **state)
{
    (void)state;
    static const char *const names[] = {"tiny-a-bf16", "tiny-a-q8", "tiny-a-ollama", "tiny-a-ollama-new"};
    random_state = 2;
    for (size_t i = 0; i < 4; i++) {
        char path[64];
        snprintf(path, sizeof path, "golden/tiny-a/%s.gguf", names[i]);
        if (access(shared_path(path), R_OK) != 0) {
            print_message("%s is not there\n", shared_path(path));
            skip();
        }
        struct sg_tokenizer *tokenizer = from_gguf(shared_path(path));
        assert_int_equal(sg_tokenizer_count(tokenizer), 512);
        assert_int_equal(sg_tokenizer_special(tokenizer, "<|startoftext|>"), 491);
        assert_int_equal(sg_tokenizer_special(tokenizer, "<|message|>"), 501);
        assert_int_equal(sg_tokenizer_special(tokenizer, "<|endofprompt|>"), 511);
        assert_round_trip(tokenizer, 500);
        struct sg_tokens lengths = {0}; /* o200k's pattern: "12" and "34" would be one piece elsewhere */
        sg_tokenizer_split(tokenizer, sg_slice_of("isn't 1234"), &lengths);
        assert_int_equal(lengths.n, 4);
        assert_int_equal(lengths.ids[0], 5);
        assert_int_equal(lengths.ids[2], 3);
        sg_tokens_free(&lengths);
        sg_tokenizer_destroy(tokenizer);
    }
}

/* --- tokenizer.json of our own -------------------------------------------------------------------------- */

static const char small_json[] =
    "{\"normalizer\":null,\"added_tokens\":[{\"id\":8,\"content\":\"<|end|>\",\"special\":true}],"
    "\"pre_tokenizer\":{\"type\":\"ByteLevel\",\"add_prefix_space\":false,\"trim_offsets\":true,\"use_regex\":true},"
    "\"model\":{\"type\":\"BPE\",\"dropout\":null,\"continuing_subword_prefix\":\"\",\"end_of_word_suffix\":\"\","
    "\"byte_fallback\":false,\"ignore_merges\":false,"
    "\"vocab\":{\"a\":0,\"b\":1,\"c\":2,\"\xC4\xA0\":3,\"ab\":4,\"bc\":5,\"abc\":6,\"\xC4\xA0"
    "a\":7},"
    "\"merges\":[\"b c\",\"a b\",[\"\xC4\xA0\",\"a\"]]}}";

/* small_json with one part replaced. */
static enum sg_status load_changed(const char *find, const char *replace, struct sg_tokenizer **tokenizer,
                                   struct sg_error *err)
{
    struct sg_buffer json = {0};
    const char *at = strstr(small_json, find);
    assert_non_null(at);
    sg_buffer_append(&json, small_json, (size_t)(at - small_json));
    sg_buffer_puts(&json, replace);
    sg_buffer_puts(&json, at + strlen(find));
    enum sg_status status = sg_tokenizer_from_json_text((struct sg_slice){json.data, json.len}, tokenizer, err);
    sg_buffer_free(&json);
    return status;
}

static void assert_encodes(const char *find, const char *replace, const char *text, const char *expected)
{
    struct sg_tokenizer *tokenizer;
    struct sg_error err;
    if (load_changed(find, replace, &tokenizer, &err))
        fail_msg("%s", err.text);
    struct sg_tokens ids = {0};
    sg_tokenize_special(tokenizer, sg_slice_of(text), &ids);
    struct sg_buffer got = {0};
    for (size_t i = 0; i < ids.n; i++)
        sg_buffer_printf(&got, i ? " %d" : "%d", ids.ids[i]);
    assert_string_equal(sg_buffer_text(&got), expected);
    sg_buffer_free(&got);
    sg_tokens_free(&ids);
    sg_tokenizer_destroy(tokenizer);
}

static void test_json(void **state)
{
    (void)state;
    assert_encodes("{", "{", "abc", "0 5"); /* b c first; nothing makes abc of a and bc */
    assert_encodes("\"ignore_merges\":false", "\"ignore_merges\":true", "abc", "6");
    assert_encodes("\"ignore_merges\":false", "\"ignore_merges\":true", "abca", "0 5 0");
    assert_encodes("{", "{", "ab ab<|end|>a", "4 3 4 8 0");
    assert_encodes("{", "{", " ac", "7 2");
    assert_encodes("{", "{", "a<|end|", "0");              /* the bytes < | e n d have no token */
    assert_encodes("{", "{", "abxbc", "4 5");              /* nor has x, and nothing merges across it */
    assert_encodes("\"<|end|>\"", "\"ab\"", "cab", "2 8"); /* an added token wins over the vocabulary */
    assert_encodes("{\"id\":8", "{\"id\":12", "<|end|>", "12");
    assert_encodes("[{\"id\"", "[{\"id\":9,\"content\":\"<|end|>>\"},{\"id\"", "<|end|>><|end|>", "9 8");
    assert_encodes("\"a\":0", "\"a\":20", "ab", "4");
    assert_encodes("\"a\":0", " \"\\u0061\" : 0 ", "ab", "4"); /* escapes and white space */
    assert_encodes("\"\xC4\xA0\":3", "\"\\u0120\":3,\"\\\"\":9,\"\\\\\":10", " \"\\", "3 9 10");
    assert_encodes("\"merges\":[", "\"merges\" : [ \"\\u0120 a\", ", " ab", "7 1");
    /* Digits one by one, then ByteLevel. */
    assert_encodes("{\"type\":\"ByteLevel\"",
                   "{\"type\":\"Sequence\",\"pretokenizers\":[{\"type\":\"Digits\",\"individual_digits\":true},"
                   "{\"type\":\"ByteLevel\",\"add_prefix_space\":false}],\"x\":\"\"",
                   " a", "7");
}

static void test_bad_json(void **state)
{
    (void)state;
    static const struct {
        const char *find, *replace;
        enum sg_status status;
        const char *says;
    } cases[] = {
        {"{", "[", SG_EFORMAT, "line 1"},
        {"\"model\"", "\"modell\"", SG_EFORMAT, "\"model\""},
        {"\"BPE\"", "\"Unigram\"", SG_EUNSUPPORTED, "Unigram"},
        {"\"dropout\":null", "\"dropout\":0.1", SG_EUNSUPPORTED, "dropout"},
        {"\"byte_fallback\":false", "\"byte_fallback\":true", SG_EUNSUPPORTED, "byte_fallback"},
        {"\"end_of_word_suffix\":\"\"", "\"end_of_word_suffix\":\"</w>\"", SG_EUNSUPPORTED, "end_of_word_suffix"},
        {"\"normalizer\":null", "\"normalizer\":{\"type\":\"NFC\"}", SG_EUNSUPPORTED, "normalizer is NFC"},
        {"\"add_prefix_space\":false", "\"add_prefix_space\":true", SG_EUNSUPPORTED, "add_prefix_space"},
        {"\"use_regex\":true", "\"use_regex\":false", SG_EUNSUPPORTED, "none before ByteLevel"},
        {"\"ByteLevel\"", "\"Metaspace\"", SG_EUNSUPPORTED, "Metaspace"},
        {"\"pre_tokenizer\"", "\"pre\"", SG_EUNSUPPORTED, "pre_tokenizer"},
        {"{\"type\":\"ByteLevel\"",
         "{\"type\":\"Sequence\",\"pretokenizers\":[{\"type\":\"Split\",\"behavior\":\"Isolated\","
         "\"pattern\":{\"Regex\":\"\\\\d+\"}},{\"type\":\"ByteLevel\",\"add_prefix_space\":false,\"use_regex\":false}"
         "],\"x\":\"\"",
         SG_EUNSUPPORTED, "pattern \\d+"},
        {"\"a\":0", "\"a\":-1", SG_EFORMAT, "model.vocab at byte "},
        {"\"a\":0", "\"a\":2097151", SG_EFORMAT, "model.vocab at byte "},
        {"\"a\":0", "\"a\":\"0\"", SG_EFORMAT, "model.vocab at byte "},
        {"\"a\":0", "\"a\":1", SG_EFORMAT, "two tokens have the id 1"},
        {"\"a\":0", "\"b\":0", SG_EFORMAT, "\"b\" has two ids, 0 and 1"},
        {"\"a\":0", "\"a\" 0", SG_EFORMAT, "model.vocab at byte "},
        {"\"a\":0,", "\"a\":0", SG_EFORMAT, "model.vocab at byte "},
        {"\"a\":0", "\"a\\u12g4\":0", SG_EFORMAT, "model.vocab at byte "},
        {"\"a\":0", "\"a\\ud83d\":0", SG_EFORMAT, "model.vocab at byte "},
        {"\"a\":0", "\"a\n\":0", SG_EFORMAT, "model.vocab at byte "},
        {"\"vocab\":{", "\"vocab\":7,\"x\":{", SG_EFORMAT, "model.vocab at byte "},
        {"\"vocab\":", "\"vocab\":{},\"vocab\":", SG_EFORMAT, "line 1: duplicate object key"},
        {"\"merges\":[", "\"merges\":{", SG_EFORMAT, "model.merges at byte "},
        {"\"vocab\"", "\"vocabulary\"", SG_EFORMAT, "model has no vocab"},
        {"\"merges\"", "\"merge\"", SG_EFORMAT, "model has no merges"},
        {"\"b c\"", "\"bc\"", SG_EFORMAT, "merge 0"},
        {"\"b c\"", "\"b\xC4\xA0 c\"", SG_EFORMAT, "the first is not a token"},
        {"\"a b\"", "\"a x\"", SG_EFORMAT, "merge 1: \"a\" + \"x\": the second is not a token"},
        {"\"a b\"", "\"a c\"", SG_EFORMAT, "what they make is not a token"},
        {"\"a b\"", "[\"a\"]", SG_EFORMAT, "model.merges at byte "},
        {"\"a b\"", "[\"a\",\"b\",\"c\"]", SG_EFORMAT, "model.merges at byte "},
        {"\"a b\"", "7", SG_EFORMAT, "model.merges at byte "},
        {"\"a b\"", "\" ab\"", SG_EFORMAT, "merge 1"},
        {"\"content\"", "\"text\"", SG_EFORMAT, "added_tokens[0]"},
        {"\"id\":8", "\"id\":8.5", SG_EFORMAT, "added_tokens[0]"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct sg_tokenizer *tokenizer = (void *)1;
        struct sg_error err = {0};
        enum sg_status status = load_changed(cases[i].find, cases[i].replace, &tokenizer, &err);
        if (status != cases[i].status || err.code != status || !strstr(err.text, cases[i].says))
            fail_msg("case %zu: %s: %s, expected %s: %s", i, sg_status_name(status), err.text,
                     sg_status_name(cases[i].status), cases[i].says);
        assert_null(tokenizer);
    }
    struct sg_tokenizer *tokenizer;
    struct sg_error err;
    assert_int_equal(sg_tokenizer_from_json("/nonexistent/tokenizer.json", &tokenizer, &err), SG_ENOTFOUND);
    assert_non_null(strstr(err.text, "/nonexistent/tokenizer.json"));
}

/* A special token longer than SG_SPECIAL_NAME_MAX. */
static void test_long_name(void **state)
{
    (void)state;
    char name[320] = "\"";
    memset(name + 1, 'x', 256);
    strcat(name, "\"");
    struct sg_tokenizer *tokenizer;
    struct sg_error err;
    assert_int_equal(load_changed("\"<|end|>\"", name, &tokenizer, &err), SG_ELIMIT);
    assert_null(tokenizer);
}

/* Merging as it is defined, without any cleverness: find the first rank that occurs, merge its leftmost place. */
static void naive_merge(char parts[][16], size_t *n, char merges[][2][16], size_t n_merges)
{
    for (size_t rank = 0; rank < n_merges; rank++) {
        for (size_t i = 0; i + 1 < *n; i++) {
            if (strcmp(parts[i], merges[rank][0]) || strcmp(parts[i + 1], merges[rank][1]))
                continue;
            strcat(parts[i], parts[i + 1]);
            memmove(parts[i + 1], parts[i + 2], (*n - i - 2) * sizeof *parts);
            --*n;
            rank = (size_t)-1; /* start over */
            break;
        }
    }
}

/* Vocabularies whose merges stand in any order, which no training would make. */
static void test_any_merges(void **state)
{
    (void)state;
    enum { N_MERGES = 40, LENGTH = 150 };
    random_state = 3;
    for (int round = 0; round < 60; round++) {
        char tokens[3 + N_MERGES][16] = {"a", "b", "c"}, merges[N_MERGES][2][16], parts[LENGTH + 1][16];
        size_t n_tokens = 3, n_merges = 0;
        for (int i = 0; i < N_MERGES; i++) {
            char made[32];
            const char *left = tokens[rnd((uint32_t)n_tokens)], *right = tokens[rnd((uint32_t)n_tokens)];
            snprintf(made, sizeof made, "%s%s", left, right);
            size_t known = 0;
            while (known < n_tokens && strcmp(tokens[known], made))
                known++;
            if (strlen(made) > 9)
                continue;
            strcpy(tokens[known], made);
            n_tokens += known == n_tokens;
            size_t at = rnd((uint32_t)n_merges + 1); /* anywhere in the list */
            bool twice = false;
            for (size_t k = 0; k < n_merges; k++)
                twice |= !strcmp(merges[k][0], left) && !strcmp(merges[k][1], right);
            if (twice)
                continue;
            memmove(merges[at + 1], merges[at], (n_merges - at) * sizeof *merges);
            snprintf(merges[at][0], sizeof merges[at][0], "%s", left);
            snprintf(merges[at][1], sizeof merges[at][1], "%s", right);
            n_merges++;
        }
        struct sg_buffer json = {0};
        sg_buffer_puts(
            &json, "{\"pre_tokenizer\":{\"type\":\"ByteLevel\",\"add_prefix_space\":false},\"model\":{\"vocab\":{");
        for (size_t i = 0; i < n_tokens; i++)
            sg_buffer_printf(&json, "%s\"%s\":%zu", i ? "," : "", tokens[i], i);
        sg_buffer_puts(&json, "},\"merges\":[");
        for (size_t i = 0; i < n_merges; i++)
            sg_buffer_printf(&json, "%s\"%s %s\"", i ? "," : "", merges[i][0], merges[i][1]);
        sg_buffer_puts(&json, "]}}");
        struct sg_tokenizer *tokenizer;
        struct sg_error err;
        if (sg_tokenizer_from_json_text((struct sg_slice){json.data, json.len}, &tokenizer, &err))
            fail_msg("%s", err.text);
        for (int text_round = 0; text_round < 20; text_round++) {
            char text[LENGTH + 1] = "";
            size_t n = 1 + rnd(text_round % 2 ? 20 : LENGTH), n_letters = 1 + rnd(3), len = n;
            for (size_t i = 0; i < n; i++) {
                text[i] = (char)('a' + rnd((uint32_t)n_letters));
                parts[i][0] = text[i];
                parts[i][1] = '\0';
            }
            naive_merge(parts, &n, merges, n_merges);
            struct sg_tokens ids = {0};
            sg_tokenize(tokenizer, (struct sg_slice){text, len}, &ids);
            assert_int_equal(ids.n, n);
            for (size_t i = 0; i < n; i++)
                assert_string_equal(tokens[ids.ids[i]], parts[i]);
            sg_tokens_free(&ids);
        }
        sg_tokenizer_destroy(tokenizer);
        sg_buffer_free(&json);
    }
}

/* --- damaged rank files and GGUFs ------------------------------------------------------------------------ */

static char scratch[64];

static int make_scratch(void **state)
{
    (void)state;
    snprintf(scratch, sizeof scratch, "/tmp/sg-tokenizer-XXXXXX");
    int file = mkstemp(scratch);
    return file < 0 ? -1 : close(file);
}

static int remove_scratch(void **state)
{
    (void)state;
    return unlink(scratch);
}

static void test_bad_ranks(void **state)
{
    (void)state;
    static const struct {
        const char *text, *says;
    } cases[] = {{"IQ== 0\nIg== 1\n", "byte 0x00 has no rank"},
                 {"IQ== 0\nIg== 0\n", "line 2: rank 0 stands twice"},
                 {"IQ== 199998\n", "line 1 "},
                 {"IQ== 0\nIg=1\n", "line 2 "},
                 {"IQ== 99999999999999\n", "line 1 "},
                 {"IQ= 0\n", "line 1 "},
                 {"I 0\n", "line 1 "},
                 {" 0\n", "line 1 "},
                 {"IQ== \n", "line 1 "},
                 {"IQ== 0 \n", "line 1 "},
                 {"IQ==", "line 1 "},
                 {"", "has no rank"}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        FILE *file = fopen(scratch, "w");
        assert_non_null(file);
        assert_true(fputs(cases[i].text, file) >= 0);
        assert_int_equal(fclose(file), 0);
        struct sg_tokenizer *tokenizer = (void *)1;
        struct sg_error err;
        assert_int_equal(sg_tokenizer_from_tiktoken(scratch, &tokenizer, &err), SG_EFORMAT);
        if (!strstr(err.text, cases[i].says) || !strstr(err.text, scratch))
            fail_msg("case %zu: %s, expected %s", i, err.text, cases[i].says);
        assert_null(tokenizer);
    }
}

struct gguf_case {
    const char *arch, *model, *pre, *merge;
    int n_types;
    enum sg_status status;
    const char *says;
};

static enum sg_status load_gguf_case(const struct gguf_case *test, struct sg_tokenizer **tokenizer,
                                     struct sg_error *err)
{
    static const int32_t types[] = {1, 1, 1, 3, 4, 5};
    struct sg_slice tokens[] = {sg_slice_of("a"),       sg_slice_of("b"),       sg_slice_of("ab"),
                                sg_slice_of("<|end|>"), sg_slice_of("\t user"), sg_slice_of("[PAD5]")};
    struct sg_gguf_writer *writer = sg_gguf_create(scratch, err);
    assert_non_null(writer);
    sg_gguf_put_string(writer, "general.architecture", sg_slice_of(test->arch));
    if (test->model)
        sg_gguf_put_string(writer, "tokenizer.ggml.model", sg_slice_of(test->model));
    if (test->pre)
        sg_gguf_put_string(writer, "tokenizer.ggml.pre", sg_slice_of(test->pre));
    sg_gguf_put_strings(writer, "tokenizer.ggml.tokens", tokens, 6);
    if (test->n_types)
        sg_gguf_put_ints(writer, "tokenizer.ggml.token_type", types, (size_t)test->n_types);
    if (test->merge)
        sg_gguf_put_strings(writer, "tokenizer.ggml.merges", &(struct sg_slice){test->merge, strlen(test->merge)}, 1);
    sg_gguf_declare(writer, "x", SG_F32, 1, (const int64_t[]){1});
    assert_int_equal(sg_gguf_write(writer, "\0\0\0", 4, err), SG_OK);
    assert_int_equal(sg_gguf_finish(writer, err), SG_OK);
    struct sg_weights *weights;
    assert_int_equal(sg_weights_open(scratch, &weights, err), SG_OK);
    enum sg_status status = sg_tokenizer_from_weights(weights, tokenizer, err);
    sg_weights_close(weights);
    return status;
}

static void test_gguf(void **state)
{
    (void)state;
    static const struct gguf_case cases[] = {
        {"gpt-oss", "gpt2", "gpt-4o", "a b", 6, SG_OK, ""},
        {"gptoss", "gpt2", "default", "a b", 6, SG_OK, ""},
        {"gptoss", "gpt2", NULL, "a b", 6, SG_OK, ""},
        {"llama", "gpt2", "smollm", "a b", 6, SG_OK, ""},
        {"llama", "gpt2", "default", "a b", 6, SG_EUNSUPPORTED, "pre is \"default\""},
        {"llama", "gpt2", "tekken", "a b", 6, SG_EUNSUPPORTED, "pre is \"tekken\""},
        {"llama", "llama", "default", "a b", 6, SG_EUNSUPPORTED, "model is \"llama\""},
        {"llama", NULL, "smollm", "a b", 6, SG_ENOTFOUND, "tokenizer.ggml.model"},
        {"llama", "gpt2", "smollm", "ab", 6, SG_EFORMAT, "merge 0"},
        {"llama", "gpt2", "smollm", "b a", 6, SG_EFORMAT, "what they make is not a token"},
        {"llama", "gpt2", "smollm", NULL, 6, SG_EFORMAT, "merges is missing"},
        {"llama", "gpt2", "smollm", "a b", 5, SG_EFORMAT, "token_type has 5 entries, tokenizer.ggml.tokens 6"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct sg_tokenizer *tokenizer = (void *)1;
        struct sg_error err = {0};
        enum sg_status status = load_gguf_case(&cases[i], &tokenizer, &err);
        if (status != cases[i].status || !strstr(err.text, cases[i].says))
            fail_msg("case %zu: %s: %s, expected %s: %s", i, sg_status_name(status), err.text,
                     sg_status_name(cases[i].status), cases[i].says);
        if (status) {
            assert_null(tokenizer);
            assert_non_null(strstr(err.text, scratch));
            continue;
        }
        static const int32_t expected[] = {2, 4, 3}; /* unused tokens are never made; their bytes have none here */
        struct sg_tokens ids = {0};
        sg_tokenize_special(tokenizer, sg_slice_of("ab\t user[PAD5]<|end|>"), &ids);
        assert_int_equal(ids.n, 3);
        assert_memory_equal(ids.ids, expected, sizeof expected);
        sg_tokens_free(&ids);
        sg_tokenizer_destroy(tokenizer);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_o200k_ids),
        cmocka_unit_test(test_o200k_split),
        cmocka_unit_test(test_unicode_version),
        cmocka_unit_test(test_o200k_decode),
        cmocka_unit_test(test_o200k_long),
        cmocka_unit_test(test_o200k_special),
        cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_o200k_as_json),
        cmocka_unit_test(test_split_patterns),
        cmocka_unit_test(test_smollm2),
        cmocka_unit_test(test_golden_ggufs),
        cmocka_unit_test(test_json),
        cmocka_unit_test(test_bad_json),
        cmocka_unit_test(test_long_name),
        cmocka_unit_test(test_any_merges),
        cmocka_unit_test_setup_teardown(test_bad_ranks, make_scratch, remove_scratch),
        cmocka_unit_test_setup_teardown(test_gguf, make_scratch, remove_scratch),
    };
    return cmocka_run_group_tests(tests, load_o200k, free_o200k);
}
