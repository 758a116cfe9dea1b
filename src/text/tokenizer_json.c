/* Hugging Face tokenizer.json → tokenizer.
 *
 * The vocabulary and the merges of a large model are some 600,000 values; a JSON tree of them takes longer than all
 * the rest. They are therefore cut out of the text and read in one pass by the small reader below; what is left
 * goes to jansson. What the tokenizer would have to do beyond byte-level BPE with a known split (a normaliser, a
 * word prefix, another pattern) is refused by name. */
#include "base/file.h"
#include "base/utf8.h"
#include "text/tokenizer_internal.h"

#include <jansson.h>
#include <stdlib.h>

#define JSON_FILE_MAX ((size_t)256 << 20)

/* --- reading JSON in one pass --------------------------------------------------------------------------- */

struct reader {
    const char *at, *end;
};

/* The next character that is not white space, 0 at the end. */
static char peek(struct reader *reader)
{
    while (reader->at < reader->end &&
           (*reader->at == ' ' || *reader->at == '\n' || *reader->at == '\r' || *reader->at == '\t'))
        reader->at++;
    return reader->at < reader->end ? *reader->at : '\0';
}

static bool take(struct reader *reader, char c)
{
    if (peek(reader) != c || c == '\0')
        return false;
    reader->at++;
    return true;
}

/* Four hexadecimal digits, -1 for something else. */
static int32_t read_hex4(struct reader *reader)
{
    int32_t code = 0;
    for (int i = 0; i < 4; i++, reader->at++) {
        char c = reader->at < reader->end ? *reader->at : '\0';
        int digit = c >= '0' && c <= '9'   ? c - '0'
                    : c >= 'a' && c <= 'f' ? c - 'a' + 10
                    : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                           : -1;
        if (digit < 0)
            return -1;
        code = code << 4 | digit;
    }
    return code;
}

/* What stands behind a backslash. */
static bool read_escape(struct reader *reader, struct sg_buffer *out)
{
    static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
    if (reader->at == reader->end)
        return false;
    char c = *reader->at++;
    if (c != 'u') {
        const char *found = c ? strchr(from, c) : NULL;
        if (found)
            sg_buffer_putc(out, to[found - from]);
        return found != NULL;
    }
    int32_t code = read_hex4(reader);
    if (code >= 0xD800 && code < 0xDC00) { /* first half of a pair */
        if (reader->end - reader->at < 6 || reader->at[0] != '\\' || reader->at[1] != 'u')
            return false;
        reader->at += 2;
        int32_t low = read_hex4(reader);
        if (low < 0xDC00 || low > 0xDFFF)
            return false;
        code = 0x10000 + ((code - 0xD800) << 10) + (low - 0xDC00);
    } else if (code < 0 || (code >= 0xDC00 && code < 0xE000)) {
        return false;
    }
    sg_utf8_encode(code, out);
    return true;
}

/* Append the text of a string. Its bytes are not checked for being UTF-8: what is no spelled token is found out
 * later. */
static bool read_string(struct reader *reader, struct sg_buffer *out)
{
    if (!take(reader, '"'))
        return false;
    for (;;) {
        const char *begin = reader->at;
        while (reader->at < reader->end && *reader->at != '"' && *reader->at != '\\' && (*reader->at & 0xE0))
            reader->at++;
        sg_buffer_append(out, begin, (size_t)(reader->at - begin));
        if (reader->at == reader->end || !(*reader->at & 0xE0)) /* a control character */
            return false;
        if (*reader->at++ == '"')
            return true;
        if (!read_escape(reader, out))
            return false;
    }
}

/* Digits alone: an id. */
static bool read_id(struct reader *reader, int32_t *id_out)
{
    int32_t id = 0;
    peek(reader);
    const char *begin = reader->at;
    for (; reader->at < reader->end && *reader->at >= '0' && *reader->at <= '9' && id < SG_TOKENS_MAX; reader->at++)
        id = id * 10 + (*reader->at - '0');
    *id_out = id;
    char next = peek(reader);
    return reader->at > begin && id < SG_TOKENS_MAX && (next == ',' || next == '}');
}

/* Past a value, by brackets and strings alone. True does not mean that it is valid. */
static bool skip_value(struct reader *reader)
{
    size_t depth = 0;
    do {
        char c = peek(reader);
        if (c == '\0')
            return false;
        reader->at++;
        if (c == '"') {
            while (reader->at < reader->end && *reader->at != '"')
                reader->at += *reader->at == '\\' && reader->end - reader->at > 1 ? 2 : 1;
            if (reader->at == reader->end)
                return false;
            reader->at++;
        } else if (c == '{' || c == '[') {
            depth++;
        } else if (c == '}' || c == ']') {
            if (depth-- == 0)
                return false;
        } else if (c != ',' && c != ':') {
            while (reader->at < reader->end && !strchr(",:]} \n\r\t", *reader->at))
                reader->at++;
        } else if (depth == 0) {
            return false;
        }
    } while (depth);
    return true;
}

/* The next key of an object: text behind its colon is where the value starts. False at the end of the object. */
static bool next_key(struct reader *reader, bool first, struct sg_buffer *key)
{
    sg_buffer_clear(key);
    return (first || take(reader, ',')) && read_string(reader, key) && take(reader, ':');
}

/* Where the values of model.vocab and model.merges stand in the text; NULL what is not found. */
static void find_large(struct sg_slice json, struct sg_slice *vocab, struct sg_slice *merges)
{
    struct reader reader = {json.ptr, json.ptr + json.len};
    struct sg_buffer key = {0};
    bool in_model = false, first = true;
    *vocab = *merges = (struct sg_slice){NULL, 0};
    if (take(&reader, '{')) {
        while (next_key(&reader, first, &key)) {
            struct sg_slice name = {sg_buffer_text(&key), key.len};
            first = false;
            peek(&reader);
            const char *begin = reader.at;
            if (!in_model && sg_slice_equal(name, sg_slice_of("model"))) {
                in_model = first = take(&reader, '{');
                if (in_model)
                    continue;
            }
            if (!skip_value(&reader))
                break;
            struct sg_slice value = {begin, (size_t)(reader.at - begin)};
            if (in_model && sg_slice_equal(name, sg_slice_of("vocab")))
                *vocab = value;
            if (in_model && sg_slice_equal(name, sg_slice_of("merges")))
                *merges = value;
        }
    }
    sg_buffer_free(&key);
}

/* --- what the file asks for ----------------------------------------------------------------------------- */

static const char *type_of(const json_t *part)
{
    const char *type = json_string_value(json_object_get(part, "type"));
    return type ? type : "(without type)";
}

/* True when a member is absent, null, false, "" or 0: an option that is off. */
static bool is_off(const json_t *object, const char *key)
{
    const json_t *value = json_object_get(object, key);
    return !value || json_is_null(value) || json_is_false(value) ||
           (json_is_string(value) && json_string_length(value) == 0) ||
           (json_is_number(value) && json_number_value(value) == 0);
}

/* The pre-tokenizer is one of: ByteLevel with GPT-2's pattern; Digits one by one, then that; Split by a known
 * pattern, then ByteLevel without. */
static enum sg_status json_split(const json_t *pre, enum sg_split *split_out, struct sg_error *err)
{
    const json_t *steps[2] = {pre, NULL};
    size_t n = 1;
    if (strcmp(type_of(pre), "Sequence") == 0) {
        const json_t *list = json_object_get(pre, "pretokenizers");
        n = json_array_size(list);
        for (size_t i = 0; i < 2; i++)
            steps[i] = json_array_get(list, i);
    }
    const json_t *last = n == 1 ? steps[0] : steps[1];
    if (n < 1 || n > 2 || strcmp(type_of(last), "ByteLevel") != 0)
        return sg_fail(err, SG_EUNSUPPORTED,
                       "pre_tokenizer %s of %zu steps (first %s), expected [Split or Digits and] ByteLevel",
                       type_of(pre), n, type_of(steps[0]));
    if (!json_is_false(json_object_get(last, "add_prefix_space")))
        return sg_fail(err, SG_EUNSUPPORTED, "pre_tokenizer ByteLevel: add_prefix_space is not false");
    bool gpt2 = !json_is_false(json_object_get(last, "use_regex"));
    if (n == 1 && gpt2) {
        *split_out = SG_SPLIT_GPT2;
        return SG_OK;
    }
    if (n == 2 && gpt2 && strcmp(type_of(steps[0]), "Digits") == 0 &&
        json_is_true(json_object_get(steps[0], "individual_digits"))) {
        *split_out = SG_SPLIT_SMOLLM;
        return SG_OK;
    }
    if (n != 2 || gpt2 || strcmp(type_of(steps[0]), "Split") != 0)
        return sg_fail(err, SG_EUNSUPPORTED, "pre_tokenizer %s before ByteLevel %s a pattern of its own",
                       n == 2 ? type_of(steps[0]) : "none", gpt2 ? "with" : "without");
    const char *behavior = json_string_value(json_object_get(steps[0], "behavior"));
    bool invert = json_is_true(json_object_get(steps[0], "invert"));
    const char *regex = json_string_value(json_object_get(json_object_get(steps[0], "pattern"), "Regex"));
    if (!behavior || strcmp(behavior, invert ? "Removed" : "Isolated") != 0)
        return sg_fail(err, SG_EUNSUPPORTED, "pre_tokenizer Split: behavior %.80s%s", behavior ? behavior : "missing",
                       invert ? " inverted" : "");
    if (!regex || !sg_split_by_regex(regex, split_out))
        return sg_fail(err, SG_EUNSUPPORTED, "pre_tokenizer Split: pattern %.400s", regex ? regex : "is no Regex");
    return SG_OK;
}

static enum sg_status json_model_options(const json_t *root, const json_t *model, struct sg_error *err)
{
    static const char *const off[] = {"dropout", "continuing_subword_prefix", "end_of_word_suffix", "byte_fallback"};
    if (!json_is_object(model))
        return sg_fail(err, SG_EFORMAT, "there is no object \"model\"");
    if (json_object_get(model, "type") && strcmp(type_of(model), "BPE") != 0)
        return sg_fail(err, SG_EUNSUPPORTED, "model type is %.80s, expected BPE", type_of(model));
    for (size_t i = 0; i < sizeof off / sizeof *off; i++) {
        if (!is_off(model, off[i]))
            return sg_fail(err, SG_EUNSUPPORTED, "model option %s is set", off[i]);
    }
    const json_t *normalizer = json_object_get(root, "normalizer");
    if (json_is_object(normalizer) && (strcmp(type_of(normalizer), "Sequence") != 0 ||
                                       json_array_size(json_object_get(normalizer, "normalizers")) > 0))
        return sg_fail(err, SG_EUNSUPPORTED, "normalizer is %.80s, expected none", type_of(normalizer));
    return SG_OK;
}

/* --- tokens and merges ---------------------------------------------------------------------------------- */

struct json_token {
    size_t begin, len; /* in json_vocab.text */
    enum token_kind kind;
    bool present;
};

struct json_vocab {
    struct json_token *tokens; /* by id */
    size_t n, cap;
    struct sg_buffer text;
};

/* `token` is the last one in vocab->text, from `begin` on. */
static enum sg_status put_token(struct json_vocab *vocab, size_t begin, int32_t id, enum token_kind kind,
                                struct sg_error *err)
{
    size_t i = (size_t)id;
    if (i >= vocab->cap) {
        size_t cap = i < 4096 ? 8192 : 2 * i;
        struct json_token *grown = realloc(vocab->tokens, cap * sizeof *grown);
        if (!grown)
            return sg_fail(err, SG_ENOMEM, "out of memory for %zu tokens", cap);
        memset(grown + vocab->cap, 0, (cap - vocab->cap) * sizeof *grown);
        vocab->tokens = grown;
        vocab->cap = cap;
    }
    if (kind == TOKEN_ORDINARY && vocab->tokens[i].present)
        return sg_fail(err, SG_EFORMAT, "model.vocab: two tokens have the id %zu", i);
    /* An added token may stand in the vocabulary too. */
    vocab->tokens[i] = (struct json_token){begin, vocab->text.len - begin, kind, true};
    if (i >= vocab->n)
        vocab->n = i + 1;
    return sg_buffer_status(&vocab->text, err);
}

/* {"token": id, …} */
static enum sg_status read_vocab(struct sg_slice json, struct sg_slice part, struct json_vocab *vocab,
                                 struct sg_error *err)
{
    struct reader reader = {part.ptr, part.ptr + part.len};
    enum sg_status status = SG_OK;
    bool more = take(&reader, '{');
    while (more && !status) {
        size_t begin = vocab->text.len;
        int32_t id;
        if (!read_string(&reader, &vocab->text) || !take(&reader, ':') || !read_id(&reader, &id))
            break;
        status = put_token(vocab, begin, id, TOKEN_ORDINARY, err);
        more = take(&reader, ',');
    }
    if (!status && (more || !take(&reader, '}') || vocab->n == 0))
        return sg_fail_at(err, SG_EFORMAT, (uint64_t)(reader.at - json.ptr),
                          "model.vocab at byte %zu: expected {\"token\": id, …} with ids from 0 to %d",
                          (size_t)(reader.at - json.ptr), SG_TOKENS_MAX - 1);
    return status;
}

static enum sg_status read_added(const json_t *root, struct json_vocab *vocab, struct sg_error *err)
{
    json_t *added = json_object_get(root, "added_tokens"), *item;
    enum sg_status status = SG_OK;
    size_t i;
    json_array_foreach(added, i, item)
    {
        const json_t *content = json_object_get(item, "content"), *id = json_object_get(item, "id");
        json_int_t value = json_is_integer(id) ? json_integer_value(id) : -1;
        if (!json_is_string(content) || value < 0 || value >= SG_TOKENS_MAX)
            return sg_fail(err, SG_EFORMAT, "added_tokens[%zu] has no content or no id from 0 to %d", i,
                           SG_TOKENS_MAX - 1);
        size_t begin = vocab->text.len;
        sg_buffer_append(&vocab->text, json_string_value(content), json_string_length(content));
        if ((status = put_token(vocab, begin, (int32_t)value, TOKEN_SPECIAL, err)))
            break;
    }
    return status;
}

static enum sg_status add_tokens(const struct json_vocab *vocab, struct sg_tokenizer *tokenizer,
                                 struct sg_buffer *scratch, struct sg_error *err)
{
    enum sg_status status = SG_OK;
    for (size_t i = 0; i < vocab->n && !status; i++) {
        const struct json_token *token = &vocab->tokens[i];
        struct sg_slice text = {sg_buffer_text(&vocab->text) + token->begin, token->len};
        status = sg_tokenizer_add_spelled(tokenizer, text, token->present ? token->kind : TOKEN_UNUSED, scratch, err);
        int32_t same = status ? -1 : sg_vocab_find(&tokenizer->vocab, sg_vocab_get(&tokenizer->vocab, (int32_t)i));
        if (token->kind == TOKEN_ORDINARY && same >= 0 && (size_t)same != i)
            status = sg_fail(err, SG_EFORMAT, "model.vocab: \"%.*s\" has two ids, %d and %zu", SHOWN(text), same, i);
    }
    return status;
}

/* Both forms: ["left right", …] and [["left", "right"], …]. */
static enum sg_status read_merges(struct sg_slice json, struct sg_slice part, struct sg_tokenizer *tokenizer,
                                  struct sg_buffer *scratch, struct sg_error *err)
{
    struct reader reader = {part.ptr, part.ptr + part.len};
    struct sg_buffer text = {0};
    enum sg_status status = SG_OK;
    bool more = take(&reader, '[');
    if (more && take(&reader, ']'))
        return SG_OK;
    bool valid = more;
    while (more && !status) {
        sg_buffer_clear(&text);
        size_t left = 0, right = 0; /* end of the one, start of the other */
        bool pair = take(&reader, '[');
        valid = read_string(&reader, &text);
        if (pair) {
            left = right = text.len;
            valid = valid && take(&reader, ',') && read_string(&reader, &text) && take(&reader, ']');
        } else if (valid) {
            const char *space = memchr(sg_buffer_text(&text), ' ', text.len);
            left = space ? (size_t)(space - text.data) : text.len;
            right = space ? left + 1 : text.len;
        }
        if (!valid || (status = sg_buffer_status(&text, err)))
            break;
        status = sg_tokenizer_add_merge(tokenizer, (struct sg_slice){text.data, left},
                                        (struct sg_slice){text.data + right, text.len - right}, scratch, err);
        more = take(&reader, ',');
    }
    if (!status && (!valid || !take(&reader, ']')))
        status = sg_fail_at(err, SG_EFORMAT, (uint64_t)(reader.at - json.ptr),
                            "model.merges at byte %zu: expected [\"left right\", …] or [[\"left\", \"right\"], …]",
                            (size_t)(reader.at - json.ptr));
    sg_buffer_free(&text);
    return status;
}

/* The text without the two large values, parsed. */
static enum sg_status parse_rest(struct sg_slice json, struct sg_slice vocab, struct sg_slice merges,
                                 json_t **root_out, struct sg_error *err)
{
    struct sg_slice parts[2] = {vocab, merges};
    if (merges.ptr && merges.ptr < vocab.ptr) {
        parts[0] = merges;
        parts[1] = vocab;
    }
    struct sg_buffer rest = {0};
    const char *at = json.ptr, *end = json.ptr + json.len;
    for (int i = 0; i < 2; i++) {
        if (!parts[i].ptr)
            continue;
        sg_buffer_append(&rest, at, (size_t)(parts[i].ptr - at));
        sg_buffer_putc(&rest, '0');
        at = parts[i].ptr + parts[i].len;
    }
    sg_buffer_append(&rest, at, (size_t)(end - at));
    enum sg_status status = sg_buffer_status(&rest, err);
    json_error_t json_err;
    *root_out = status ? NULL : json_loadb(rest.data, rest.len, JSON_REJECT_DUPLICATES, &json_err);
    if (!status && !*root_out) {
        json_decref(
            json_loadb(json.ptr, json.len, JSON_REJECT_DUPLICATES, &json_err)); /* for its line in the whole text */
        status =
            sg_fail_at(err, SG_EFORMAT, (uint64_t)json_err.position, "line %d: %s", json_err.line, json_err.text);
    }
    sg_buffer_free(&rest);
    return status;
}

static enum sg_status load(struct sg_slice json, const json_t *root, struct sg_slice vocab_part,
                           struct sg_slice merges_part, struct sg_tokenizer *tokenizer, struct sg_error *err)
{
    struct json_vocab vocab = {0};
    struct sg_buffer scratch = {0};
    const json_t *model = json_object_get(root, "model");
    enum sg_status status = json_model_options(root, model, err);
    if (!status)
        status = json_split(json_object_get(root, "pre_tokenizer"), &tokenizer->split, err);
    if (!status)
        status = read_vocab(json, vocab_part, &vocab, err);
    if (!status)
        status = read_added(root, &vocab, err);
    if (!status)
        status = add_tokens(&vocab, tokenizer, &scratch, err);
    if (!status)
        status = read_merges(json, merges_part, tokenizer, &scratch, err);
    if (!status && !json_is_true(json_object_get(model, "ignore_merges")))
        status = sg_tokenizer_index_reachable(tokenizer, err);
    free(vocab.tokens);
    sg_buffer_free(&vocab.text);
    sg_buffer_free(&scratch);
    return status;
}

enum sg_status sg_tokenizer_from_json_text(struct sg_slice json, struct sg_tokenizer **tokenizer_out,
                                           struct sg_error *err)
{
    *tokenizer_out = NULL;
    struct sg_slice vocab, merges;
    struct sg_tokenizer *tokenizer = NULL;
    json_t *root = NULL;
    find_large(json, &vocab, &merges);
    enum sg_status status = parse_rest(json, vocab, merges, &root, err);
    if (!status)
        status = sg_tokenizer_create(&tokenizer, err);
    if (!status && (!vocab.ptr || !merges.ptr) && json_is_object(json_object_get(root, "model")))
        status = sg_fail(err, SG_EFORMAT, "model has no %s", vocab.ptr ? "merges" : "vocab");
    if (!status)
        status = load(json, root, vocab, merges, tokenizer, err);
    json_decref(root);
    return sg_tokenizer_finish(status, tokenizer, tokenizer_out);
}

enum sg_status sg_tokenizer_from_json(const char *path, struct sg_tokenizer **tokenizer_out, struct sg_error *err)
{
    *tokenizer_out = NULL;
    struct sg_buffer text = {0};
    enum sg_status status = sg_file_read(path, JSON_FILE_MAX, &text, err);
    if (!status) {
        status = sg_tokenizer_from_json_text((struct sg_slice){sg_buffer_text(&text), text.len}, tokenizer_out, err);
        if (status)
            sg_fail_in(err, status, "%s", path);
    }
    sg_buffer_free(&text);
    return status;
}
