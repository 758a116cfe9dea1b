/* Label tries, and the JSON automaton against jansson: what it accepts parses and has the shape, what parses and has
 * the shape is accepted, and masks equal the same walk byte by byte. */
#include "base/utf8.h"
#include "engine/constraint.h"

#include "small_tokenizer.h"

#include <jansson.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <time.h>

#include <cmocka.h>

#define SLICE(text)                                                                                                  \
    {                                                                                                                \
        "" text, sizeof(text) - 1                                                                                    \
    }
#define COUNT(array) (sizeof(array) / sizeof *(array))

static uint64_t seed = 7;
static unsigned draw(unsigned n)
{
    seed = seed * 6364136223846793005u + 1442695040888963407u;
    return (unsigned)(seed >> 33) % n;
}

/* --- label trie ------------------------------------------------------------------------------------------------- */

/* The label at the end of the path of text's bytes, -1 when there is none, -2 when the path ends early. */
static int32_t follow(const struct sg_label_trie *trie, const char *text)
{
    int32_t node = 0;
    for (; *text; text++) {
        int32_t child = trie->nodes[node].first_child;
        while (child >= 0 && trie->nodes[child].token != (unsigned char)*text)
            child = trie->nodes[child].next;
        if (child < 0)
            return -2;
        node = child;
    }
    return trie->nodes[node].label;
}

static void test_label_trie(void **state)
{
    (void)state;
    struct sg_tokenizer *tokenizer = small_tokenizer(NULL, 0);
    static const struct sg_slice labels[] = {SLICE("INVALID + ESCALATE"), SLICE("VALID"), SLICE("INVALID")};
    struct sg_label_trie trie;
    struct sg_error err = {0};
    assert_int_equal(sg_label_trie_init(&trie, tokenizer, " ", labels, 3, &err), SG_OK);
    assert_int_equal(trie.nodes[0].token, -1);
    assert_int_equal(trie.nodes[0].label, -1);
    assert_int_equal(trie.n_nodes, 1 + 1 + 18 + 5); /* root, lead, the longer INVALID, VALID */
    assert_int_equal(follow(&trie, " INVALID + ESCALATE"), 0);
    assert_int_equal(follow(&trie, " VALID"), 1);
    assert_int_equal(follow(&trie, " INVALID"), 2); /* complete, and goes on */
    assert_int_equal(follow(&trie, " INVALID +"), -1);
    assert_int_equal(follow(&trie, "VALID"), -2);
    sg_label_trie_deinit(&trie);

    static const struct sg_slice twice[] = {SLICE("SAFE"), SLICE("spam"), SLICE("SAFE")};
    assert_int_equal(sg_label_trie_init(&trie, tokenizer, "", twice, 3, &err), SG_EINVALID);
    assert_non_null(strstr(err.text, "0 (\"SAFE\") and 2 (\"SAFE\")"));
    assert_null(trie.nodes);
    static const struct sg_slice empty = SLICE("");
    assert_int_equal(sg_label_trie_init(&trie, tokenizer, " ", &empty, 1, &err), SG_EINVALID);
    assert_int_equal(sg_label_trie_init(&trie, tokenizer, " ", twice, 0, &err), SG_EINVALID);
    assert_int_equal(sg_label_trie_init(&trie, tokenizer, " ", twice, SG_LABELS_MAX + 1, &err), SG_EINVALID);
    sg_tokenizer_destroy(tokenizer);
}

/* --- the grammar of most tests, and what jansson says of a document ----------------------------------------------
 */

enum { MAX_SPACE = 2 };
static const struct sg_slice bits[] = {SLICE("0"), SLICE("1")};
static const struct sg_slice levels[] = {SLICE("\"high\""), SLICE("\"medium\""), SLICE("\"low\""),
                                         SLICE("\"lower\"")};
static const struct sg_slice mixed[] = {SLICE("10"),  SLICE("1"),     SLICE("null"),
                                        SLICE("1.5"), SLICE("\"1\""), SLICE("[0]")};
static const struct sg_json_field fields[] = {
    {SLICE("violation"), SG_JSON_CHOICE, false, bits, COUNT(bits), 0, 0},
    {SLICE("policy_category"), SG_JSON_STRING, true, NULL, 0, 4, 0},
    {SLICE("rule_ids"), SG_JSON_STRINGS, false, NULL, 0, 3, 2},
    {SLICE("mixed"), SG_JSON_CHOICE, false, mixed, COUNT(mixed), 0, 0},
    {SLICE("more \"é"), SG_JSON_STRINGS, true, NULL, 0, 1, 1},
    {SLICE("confidence"), SG_JSON_CHOICE, false, levels, COUNT(levels), 0, 0},
    {SLICE("rationale"), SG_JSON_STRING, false, NULL, 0, 6, 0},
};
static struct sg_json_grammar *grammar;

static int setup(void **state)
{
    (void)state;
    return sg_json_grammar_create(fields, COUNT(fields), MAX_SPACE, &grammar, NULL) == SG_OK ? 0 : -1;
}

static int teardown(void **state)
{
    (void)state;
    sg_json_grammar_destroy(grammar);
    return 0;
}

static bool complete(const struct sg_json_grammar *of, struct sg_slice text)
{
    struct sg_json_state state;
    sg_json_start(of, &state);
    for (size_t i = 0; i < text.len; i++)
        if (!sg_json_step(of, &state, (unsigned char)text.ptr[i]))
            return false;
    return sg_json_done(of, &state);
}

static bool string_fits(const json_t *value, const struct sg_json_field *field)
{
    if (!json_is_string(value))
        return false;
    int n = 0; /* code points: bytes that do not continue one */
    for (const char *p = json_string_value(value); *p; p++)
        n += ((unsigned char)*p & 0xC0) != 0x80;
    return n <= field->max_len;
}

static bool value_fits(const json_t *value, const struct sg_json_field *field)
{
    if (field->type == SG_JSON_CHOICE) {
        for (size_t i = 0; i < field->n_choices; i++) {
            json_t *choice = json_loadb(field->choices[i].ptr, field->choices[i].len, JSON_DECODE_ANY, NULL);
            bool same = json_equal(choice, value);
            json_decref(choice);
            if (same)
                return true;
        }
        return false;
    }
    if (field->nullable && json_is_null(value))
        return true;
    if (field->type == SG_JSON_STRING)
        return string_fits(value, field);
    if (!json_is_array(value) || json_array_size(value) > (size_t)field->max_items)
        return false;
    for (size_t i = 0; i < json_array_size(value); i++)
        if (!string_fits(json_array_get(value, i), field))
            return false;
    return true;
}

/* The document parses and has the shape. */
static bool has_shape(struct sg_slice text)
{
    json_t *root = json_loadb(text.ptr, text.len, JSON_REJECT_DUPLICATES, NULL);
    bool fits = json_is_object(root) && json_object_size(root) == COUNT(fields);
    void *at = fits ? json_object_iter(root) : NULL;
    for (size_t i = 0; fits && i < COUNT(fields); i++) { /* jansson keeps the order */
        fits = strlen(json_object_iter_key(at)) == fields[i].key.len &&
               memcmp(json_object_iter_key(at), fields[i].key.ptr, fields[i].key.len) == 0 &&
               value_fits(json_object_iter_value(at), &fields[i]);
        at = json_object_iter_next(root, at);
    }
    json_decref(root);
    return fits;
}

/* What JSON permits and the grammar does not: more white space, carriage returns, space behind the end, other
 * spellings of keys and choices. */
static bool spelled_otherwise(struct sg_slice text)
{
    bool in_string = false;
    int spaces = 0;
    for (size_t i = 0; i < text.len; i++) {
        char c = text.ptr[i];
        bool space = !in_string && (c == ' ' || c == '\n' || c == '\t');
        spaces = space ? spaces + 1 : 0;
        if (spaces > MAX_SPACE || (!in_string && c == '\r'))
            return true;
        if (in_string && c == '\\')
            i++;
        else if (c == '"')
            in_string = !in_string;
    }
    if (spaces > 0)
        return true;
    char *copy = strndup(text.ptr, text.len);
    json_t *root = json_loads(copy, 0, NULL);
    bool other = false;
    for (size_t i = 0; i < COUNT(fields) && !other; i++) {
        char quoted[64];
        snprintf(quoted, sizeof quoted, "\"%s\"",
                 strcmp(fields[i].key.ptr, "more \"é") ? fields[i].key.ptr : "more \\\"é");
        char *at = strstr(copy, quoted);
        other = !at;
        if (at && fields[i].type == SG_JSON_CHOICE) {
            at += strlen(quoted);
            at += strspn(at, " \n\t");
            at += 1 + strspn(at + 1, " \n\t"); /* the colon */
            other = true;
            for (size_t k = 0; k < fields[i].n_choices && other; k++)
                other = strncmp(at, fields[i].choices[k].ptr, fields[i].choices[k].len) != 0 ||
                        strchr(" \n\t,}", at[fields[i].choices[k].len]) == NULL;
        }
    }
    json_decref(root);
    free(copy);
    return other;
}

/* --- documents ---------------------------------------------------------------------------------------------------
 */

static void put_space(struct sg_buffer *out)
{
    for (unsigned n = draw(3) ? 0 : draw(MAX_SPACE + 1); n > 0; n--)
        sg_buffer_putc(out, " \n\t"[draw(3)]);
}

static void put_string(struct sg_buffer *out, int max_len)
{
    static const char *const characters[] = {"a",
                                             "é",
                                             "中",
                                             "💖",
                                             "\\n",
                                             "\\\"",
                                             "\\\\",
                                             "\\/",
                                             "\\u00e9",
                                             "\\uD83D\\uDE00",
                                             "\\ud83d\\ude00",
                                             "]",
                                             "}",
                                             ",",
                                             "\x7f",
                                             "\xED\x9F\xBF",
                                             "\xEE\x80\x80",
                                             "\xF4\x8F\xBF\xBF",
                                             "\\uFFFF",
                                             " "};
    sg_buffer_putc(out, '"');
    for (unsigned n = draw((unsigned)max_len + 1); n > 0; n--)
        sg_buffer_puts(out, characters[draw(COUNT(characters))]);
    sg_buffer_putc(out, '"');
}

static void put_value(struct sg_buffer *out, const struct sg_json_field *field)
{
    if (field->type == SG_JSON_CHOICE) {
        struct sg_slice choice = field->choices[draw((unsigned)field->n_choices)];
        sg_buffer_append(out, choice.ptr, choice.len);
    } else if (field->nullable && draw(3) == 0) {
        sg_buffer_puts(out, "null");
    } else if (field->type == SG_JSON_STRING) {
        put_string(out, field->max_len);
    } else {
        sg_buffer_putc(out, '[');
        put_space(out);
        for (unsigned i = 0, n = draw((unsigned)field->max_items + 1); i < n; i++) {
            if (i > 0) {
                sg_buffer_putc(out, ',');
                put_space(out);
            }
            put_string(out, field->max_len);
            put_space(out);
        }
        sg_buffer_putc(out, ']');
    }
}

static void put_document(struct sg_buffer *out)
{
    put_space(out);
    for (size_t i = 0; i < COUNT(fields); i++) {
        sg_buffer_putc(out, i ? ',' : '{');
        put_space(out);
        sg_buffer_printf(out, "\"%s\"", i == 4 ? "more \\\"é" : fields[i].key.ptr);
        put_space(out);
        sg_buffer_putc(out, ':');
        put_space(out);
        put_value(out, &fields[i]);
        put_space(out);
    }
    sg_buffer_putc(out, '}');
}

static void mutate(struct sg_buffer *text)
{
    static const char alphabet[] = "{}[]:,\"\\ \n\t\r01579.eE+-nulltruefalsedDcC8bfu\x80\xBF\xC3\xED\xF0\xF4\x1F";
    size_t at = draw((unsigned)text->len);
    struct sg_buffer out = {0};
    sg_buffer_append(&out, text->data, at);
    switch (draw(6)) {
    case 0: /* replace */
        sg_buffer_putc(&out, alphabet[draw(sizeof alphabet - 1)]);
        sg_buffer_append(&out, text->data + at + 1, text->len - at - 1);
        break;
    case 1: /* insert */
        sg_buffer_putc(&out, alphabet[draw(sizeof alphabet - 1)]);
        sg_buffer_append(&out, text->data + at, text->len - at);
        break;
    case 2: /* leave out */
        sg_buffer_append(&out, text->data + at + 1, text->len - at - 1);
        break;
    case 3: { /* repeat a piece */
        size_t n = draw(12);
        n = n < text->len - at ? n : text->len - at;
        sg_buffer_append(&out, text->data + at, n);
        sg_buffer_append(&out, text->data + at, text->len - at);
        break;
    }
    case 4: { /* leave a piece out */
        size_t n = draw(24);
        n = n < text->len - at ? n : text->len - at;
        sg_buffer_append(&out, text->data + at + n, text->len - at - n);
        break;
    }
    default: /* cut off */
        break;
    }
    sg_buffer_free(text);
    *text = out;
}

static void compare_with_jansson(struct sg_slice text, size_t counts[2])
{
    bool accepted = complete(grammar, text), fits = has_shape(text);
    if (accepted != (fits && !spelled_otherwise(text)))
        fail_msg("%s: %.*s", accepted ? "accepted, but jansson disagrees" : "refused", (int)text.len, text.ptr);
    counts[accepted]++;
}

static void test_against_jansson(void **state)
{
    (void)state;
    size_t counts[2] = {0};
    for (int round = 0; round < 30000; round++) {
        struct sg_buffer text = {0};
        put_document(&text);
        if (!complete(grammar, (struct sg_slice){text.data, text.len}))
            fail_msg("refused: %s", text.data);
        assert_true(has_shape((struct sg_slice){text.data, text.len}));
        for (int k = 0; k < 4 && text.len > 0; k++) {
            mutate(&text);
            compare_with_jansson((struct sg_slice){sg_buffer_text(&text), text.len}, counts);
        }
        sg_buffer_free(&text);
    }
    print_message("mutants: %zu accepted, %zu refused\n", counts[1], counts[0]);
    assert_true(counts[1] > 1000 && counts[0] > 1000);
}

static size_t permitted(const struct sg_json_state *state, unsigned char bytes[256])
{
    size_t n = 0;
    for (int byte = 0; byte < 256; byte++) {
        struct sg_json_state next = *state;
        if (sg_json_step(grammar, &next, (unsigned char)byte))
            bytes[n++] = (unsigned char)byte;
    }
    return n;
}

/* Any walk of permitted bytes can be completed, and is then what jansson takes; on the way `forced` is the one byte
 * that can follow. */
static void test_random_walks(void **state)
{
    (void)state;
    static const char closing[] = "\"]},:"; /* tried first when it is time to end */
    for (int round = 0; round < 3000; round++) {
        struct sg_json_state at;
        struct sg_buffer text = {0};
        sg_json_start(grammar, &at);
        bool in_string = false, escaped = false;
        for (unsigned step = 0, n = draw(400); !sg_json_done(grammar, &at); step++) {
            assert_true(step < 2000);
            unsigned char bytes[256], solid[256];
            size_t n_bytes = permitted(&at, bytes), n_solid = 0;
            assert_true(n_bytes > 0);
            for (size_t i = 0; i < n_bytes; i++)
                if (in_string || !strchr(" \n\t", bytes[i]))
                    solid[n_solid++] = bytes[i];
            assert_int_equal(sg_json_forced(grammar, &at), n_solid == 1 ? solid[0] : -1);
            unsigned char byte = step < n ? bytes[draw((unsigned)n_bytes)] : solid[draw((unsigned)n_solid)];
            for (size_t i = 0; step >= n && i < sizeof closing - 1; i++)
                if (memchr(solid, closing[i], n_solid)) {
                    byte = (unsigned char)closing[i];
                    break;
                }
            assert_true(sg_json_step(grammar, &at, byte));
            sg_buffer_putc(&text, (char)byte);
            if (escaped)
                escaped = false;
            else if (byte == '"')
                in_string = !in_string;
            else
                escaped = in_string && byte == '\\';
        }
        unsigned char bytes[256];
        assert_int_equal(permitted(&at, bytes), 0);
        assert_int_equal(sg_json_forced(grammar, &at), -1);
        if (!has_shape((struct sg_slice){text.data, text.len}))
            fail_msg("jansson disagrees: %s", text.data);
        sg_buffer_free(&text);
    }
}

/* --- strings -------------------------------------------------------------------------------------------------------
 */

/* The inside of a string, in an object of one field. */
static bool string_accepted(const struct sg_json_grammar *of, const char *inside, size_t len)
{
    struct sg_buffer text = {0};
    sg_buffer_puts(&text, "{\"s\":\"");
    sg_buffer_append(&text, inside, len);
    sg_buffer_puts(&text, "\"}");
    bool accepted = complete(of, (struct sg_slice){text.data, text.len});
    sg_buffer_free(&text);
    return accepted;
}

static void test_utf8(void **state)
{
    (void)state;
    static const struct sg_json_field field = {SLICE("s"), SG_JSON_STRING, false, NULL, 0, 4, 0};
    struct sg_json_grammar *one;
    assert_int_equal(sg_json_grammar_create(&field, 1, 0, &one, NULL), SG_OK);
    struct sg_json_state open;
    sg_json_start(one, &open);
    for (const char *p = "{\"s\":\""; *p; p++)
        assert_true(sg_json_step(one, &open, (unsigned char)*p));

    for (uint32_t bytes = 0x800000; bytes < 0x1000000; bytes++) { /* all triples with a first byte above ASCII */
        char text[5] = {(char)(bytes >> 16), (char)(bytes >> 8), (char)bytes, '"', '}'};
        unsigned char second = (unsigned char)text[1], third = (unsigned char)text[2];
        if ((second < 0x7F && second != 'a') || (third < 0x7F && third != 'a'))
            continue; /* one letter stands for ASCII */
        assert_int_equal(sg_json_accepts(one, &open, (struct sg_slice){text, 5}),
                         sg_utf8_valid((struct sg_slice){text, 3}));
    }
    static const unsigned char edges[] = {0x7F, 0x80, 0x8F, 0x90, 0x9F, 0xA0, 0xBF, 0xC0};
    for (int first = 0xE0; first < 256; first++)
        for (int second = 0x7F; second < 256; second++)
            for (size_t i = 0; i < 64; i++) {
                char text[6] = {(char)first, (char)second, (char)edges[i / 8], (char)edges[i % 8], '"', '}'};
                assert_int_equal(sg_json_accepts(one, &open, (struct sg_slice){text, 6}),
                                 sg_utf8_valid((struct sg_slice){text, 4}));
            }
    for (int byte = 0; byte < 0x80; byte++) {
        char text = (char)byte;
        assert_int_equal(string_accepted(one, &text, 1), byte >= 0x20 && byte != '"' && byte != '\\');
        char escape[2] = {'\\', text};
        assert_int_equal(string_accepted(one, escape, 2), byte && strchr("\"\\/bfnrt", byte) != NULL);
    }
    sg_json_grammar_destroy(one);
}

static bool jansson_takes(const char *inside)
{
    char text[64];
    snprintf(text, sizeof text, "{\"s\":\"%s\"}", inside);
    json_t *root = json_loads(text, 0, NULL);
    json_decref(root);
    return root != NULL;
}

static void test_surrogates(void **state)
{
    (void)state;
    static const struct sg_json_field field = {SLICE("s"), SG_JSON_STRING, false, NULL, 0, 1, 0};
    struct sg_json_grammar *one;
    assert_int_equal(sg_json_grammar_create(&field, 1, 0, &one, NULL), SG_OK);
    char text[32];
    for (unsigned unit = 0; unit < 0x10000; unit++) {
        snprintf(text, sizeof text, unit & 1 ? "\\u%04x" : "\\u%04X", unit);
        assert_int_equal(string_accepted(one, text, strlen(text)), jansson_takes(text));
    }
    for (unsigned high = 0xD7FF; high <= 0xDC00; high += high % 256 == 0 ? 1 : 17)
        for (unsigned low = 0xC000; low < 0x10000; low += 13) {
            snprintf(text, sizeof text, "\\u%04X\\u%04x", high, low);
            bool pair = high >= 0xD800 && high <= 0xDBFF; /* else they are two characters, one too many */
            assert_int_equal(string_accepted(one, text, strlen(text)), pair && jansson_takes(text));
        }
    static const char *const broken[] = {"\\u12g4",    "\\u123", "\\uD800", "\\uD800x",
                                         "\\uD800\\n", "\\x41",  "\\U0041"};
    for (size_t i = 0; i < COUNT(broken); i++)
        assert_false(string_accepted(one, broken[i], strlen(broken[i])));
    sg_json_grammar_destroy(one);
}

/* --- places
 * ---------------------------------------------------------------------------------------------------------- */

static void test_value_next(void **state)
{
    (void)state;
    static const char text[] = " {\"violation\" : 1, \"policy_category\":\"a:\",\"rule_ids\":[\"b\"]";
    struct sg_json_state at;
    sg_json_start(grammar, &at);
    int expected = -1;
    for (const char *p = text; *p; p++) {
        assert_int_equal(sg_json_value_next(grammar, &at), expected);
        assert_true(sg_json_step(grammar, &at, (unsigned char)*p));
        if (strncmp(p, ": 1", 3) == 0)
            expected = 0;
        else if (strncmp(p, ":\"a", 3) == 0)
            expected = 1;
        else if (strncmp(p, ":[", 2) == 0)
            expected = 2;
        else if (*p != ' ')
            expected = -1;
    }
}

static void test_refused_grammars(void **state)
{
    (void)state;
    static const struct sg_slice spaced[] = {SLICE("0 ")}, two[] = {SLICE("0,1")}, twice[] = {SLICE("0"), SLICE("0")},
                                 word[] = {SLICE("yes")};
    static const struct {
        struct sg_json_field field;
        int max_space;
        const char *says;
    } cases[] = {
        {{SLICE("k"), SG_JSON_CHOICE, false, NULL, 0, 0, 0}, 0, "got 0 choices"},
        {{SLICE("k"), SG_JSON_CHOICE, false, spaced, 1, 0, 0}, 0, "choice 0"},
        {{SLICE("k"), SG_JSON_CHOICE, false, two, 1, 0, 0}, 0, "choice 0"},
        {{SLICE("k"), SG_JSON_CHOICE, false, word, 1, 0, 0}, 0, "choice 0"},
        {{SLICE("k"), SG_JSON_CHOICE, false, twice, 2, 0, 0}, 0, "stands twice"},
        {{SLICE("k"), SG_JSON_CHOICE, true, bits, 2, 0, 0}, 0, "nullable"},
        {{SLICE("k\0"), SG_JSON_STRING, false, NULL, 0, 1, 0}, 0, "key"},
        {{SLICE("k\xFF"), SG_JSON_STRING, false, NULL, 0, 1, 0}, 0, "key"},
        {{SLICE("k"), SG_JSON_STRING, false, NULL, 0, -1, 0}, 0, "max_len is -1"},
        {{SLICE("k"), SG_JSON_STRING, false, NULL, 0, SG_JSON_MAX_LEN + 1, 0}, 0, "max_len"},
        {{SLICE("k"), SG_JSON_STRINGS, false, NULL, 0, 1, SG_JSON_MAX_ITEMS + 1}, 0, "max_items"},
        {{SLICE("k"), SG_JSON_STRING, false, NULL, 0, 1, 0}, SG_JSON_MAX_SPACE + 1, "max_space"},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct sg_json_grammar *made;
        struct sg_error err = {0};
        assert_int_equal(sg_json_grammar_create(&cases[i].field, 1, cases[i].max_space, &made, &err), SG_EINVALID);
        assert_null(made);
        if (!strstr(err.text, cases[i].says))
            fail_msg("case %zu: error \"%s\" lacks \"%s\"", i, err.text, cases[i].says);
    }
    struct sg_json_grammar *made;
    struct sg_json_field same[] = {fields[1], fields[1]};
    assert_int_equal(sg_json_grammar_create(same, 2, 0, &made, NULL), SG_EINVALID);
    assert_int_equal(sg_json_grammar_create(same, 0, 0, &made, NULL), SG_EINVALID);
}

/* --- masks
 * ------------------------------------------------------------------------------------------------------------ */

/* The mask against a walk of each token on its own. */
static void check_mask(const struct sg_tokenizer *tokenizer, const struct sg_vocab_trie *vocab,
                       const struct sg_json_state *at, int32_t n_vocab)
{
    size_t words = (size_t)(n_vocab + 63) / 64;
    uint64_t *mask = malloc(words * sizeof *mask);
    memset(mask, 0xA5, words * sizeof *mask);
    sg_json_mask(grammar, at, vocab, n_vocab, mask);
    for (int32_t id = 0; id < (int32_t)words * 64; id++) {
        struct sg_slice bytes = sg_token_bytes(tokenizer, id);
        bool expected = id < n_vocab && bytes.len > 0 && !sg_tokenizer_is_special(tokenizer, id) &&
                        sg_json_accepts(grammar, at, bytes);
        if ((mask[id / 64] >> id % 64 & 1) != expected)
            fail_msg("id %d (\"%.*s\"): expected %d", id, (int)bytes.len, bytes.ptr, expected);
    }
    free(mask);
}

static void test_mask(void **state)
{
    (void)state;
    enum { EXTRA = 1500 };
    static char texts[EXTRA][24];
    static struct sg_slice extra[EXTRA];
    static const char *const pieces[] = {"\"",       "\"\"", "{\"", "vio",  "lation", "\":", " ", "1",
                                         "0,",       "null", "[\"", "\"]",  "a",      "ab",  "é", "\xF0\x9F",
                                         "\x92\x96", "\\",   "\\u", "D83D", "high",   "}",   "\n"};
    for (int i = 0; i < EXTRA; i++) { /* a number makes each its own */
        snprintf(texts[i], sizeof texts[i], "%s%s%s", pieces[draw(COUNT(pieces))], pieces[draw(COUNT(pieces))],
                 pieces[draw(COUNT(pieces))]);
        for (int k = 0; k < i; k++)
            if (strcmp(texts[i], texts[k]) == 0)
                snprintf(texts[i], sizeof texts[i], "x%d", i);
        if (strlen(texts[i]) == 1)
            snprintf(texts[i], sizeof texts[i], "x%d", i);
        extra[i] = sg_slice_of(texts[i]);
    }
    struct sg_tokenizer *tokenizer = small_tokenizer(extra, EXTRA);
    assert_non_null(tokenizer);
    struct sg_vocab_trie *vocab = sg_vocab_trie_create(tokenizer);
    int32_t count = sg_tokenizer_count(tokenizer);
    for (int round = 0; round < 60; round++) {
        struct sg_buffer text = {0};
        struct sg_json_state at;
        put_document(&text);
        sg_json_start(grammar, &at);
        for (size_t i = 0; i < text.len; i++) {
            if (draw(8) == 0)
                check_mask(tokenizer, vocab, &at, draw(2) ? count + 70 : (int32_t)draw((unsigned)count));
            assert_true(sg_json_step(grammar, &at, (unsigned char)text.data[i]));
        }
        check_mask(tokenizer, vocab, &at, count); /* done: nothing follows */
        sg_buffer_free(&text);
    }
    sg_vocab_trie_destroy(vocab);
    sg_tokenizer_destroy(tokenizer);
}

static double now_ms(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec * 1e3 + (double)time.tv_nsec / 1e6;
}

/* The vocabulary of gpt-oss: correct in every place, and how long a mask takes where it takes longest. */
static void test_mask_o200k(void **state)
{
    (void)state;
    char path[1024];
    const char *shared = getenv("SG_SHARED");
    snprintf(path, sizeof path, "%s/vectors/o200k_base.tiktoken", shared ? shared : "../shared");
    struct sg_tokenizer *tokenizer;
    struct sg_error err = {0};
    enum sg_status status = sg_tokenizer_from_tiktoken(path, &tokenizer, &err);
    if (status == SG_ENOTFOUND || status == SG_EIO) {
        print_message("skipped: %s\n", err.text);
        skip();
    }
    assert_int_equal(status, SG_OK);
    double before = now_ms();
    struct sg_vocab_trie *vocab = sg_vocab_trie_create(tokenizer);
    print_message("vocabulary prepared in %.0f ms\n", now_ms() - before);
    static const char text[] = "{\"violation\": 1, \"policy_category\": \"H2.f\", \"rule_ids\": [\"a\xF0\x9F";
    struct sg_json_state at;
    sg_json_start(grammar, &at);
    for (size_t i = 0; text[i]; i++) {
        check_mask(tokenizer, vocab, &at, 201088);
        assert_true(sg_json_step(grammar, &at, (unsigned char)text[i]));
    }
    check_mask(tokenizer, vocab, &at, 201088);

    static const struct sg_json_field free_text = {SLICE("s"), SG_JSON_STRING, false, NULL, 0, 4000, 0};
    struct sg_json_grammar *one;
    assert_int_equal(sg_json_grammar_create(&free_text, 1, 0, &one, NULL), SG_OK);
    sg_json_start(one, &at);
    for (const char *p = "{\"s\":\"a"; *p; p++)
        assert_true(sg_json_step(one, &at, (unsigned char)*p));
    static uint64_t mask[(201088 + 63) / 64];
    double best = 1e9;
    for (int i = 0; i < 20; i++) {
        before = now_ms();
        sg_json_mask(one, &at, vocab, 201088, mask);
        double took = now_ms() - before;
        best = took < best ? took : best;
    }
    size_t n = 0;
    for (size_t i = 0; i < COUNT(mask); i++)
        n += (size_t)__builtin_popcountll(mask[i]);
    print_message("mask inside a free string: %.2f ms, best of 20; %zu tokens permitted\n", best, n);
    assert_true(n > 150000);
    sg_json_grammar_destroy(one);
    sg_vocab_trie_destroy(vocab);
    sg_tokenizer_destroy(tokenizer);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_label_trie),       cmocka_unit_test(test_against_jansson),
        cmocka_unit_test(test_random_walks),     cmocka_unit_test(test_utf8),
        cmocka_unit_test(test_surrogates),       cmocka_unit_test(test_value_next),
        cmocka_unit_test(test_refused_grammars), cmocka_unit_test(test_mask),
        cmocka_unit_test(test_mask_o200k),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
