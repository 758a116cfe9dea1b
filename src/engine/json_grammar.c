/* JSON object of known keys as a byte automaton, and token masks from it (constraint.h).
 *
 * One place in the object is one phase; counters bound what JSON leaves unbounded. No phase is a dead end: a byte
 * is refused as soon as nothing permitted could follow it (a low surrogate first, the fourth 0 of \u0000, a
 * character beyond max_len). UTF-8: Unicode table 3-7. Strings and escapes: RFC 8259 section 7. */
#include "engine/constraint.h"

#include <jansson.h>
#include <stdlib.h>

enum phase {
    BEFORE_OBJECT, /* these first phases permit white space */
    BEFORE_KEY,
    BEFORE_COLON,
    BEFORE_VALUE,
    BEFORE_FIRST_ITEM,
    BEFORE_ITEM,
    AFTER_ITEM,
    AFTER_VALUE,
    LAST_WITH_SPACE = AFTER_VALUE,
    KEY,
    CHOICE,
    NULL_WORD,
    STRING,
    CONTINUATION, /* utf8: bytes due | low bound << 8 | high bound << 16 */
    ESCAPE,       /* behind the backslash */
    HEX,          /* utf8: value | digits read << 16 | LOW_SURROGATE */
    LOW_BACKSLASH,
    LOW_U,
    DONE
};
#define LOW_SURROGATE (1u << 24)

struct field {
    enum sg_json_type type;
    bool nullable;
    struct sg_slice key;      /* as JSON, with its quotes */
    struct sg_slice *choices; /* sorted bytewise */
    size_t n_choices;
    int max_len, max_items;
};

struct sg_json_grammar {
    struct field *fields;
    int n_fields, max_space;
};

/* --- making a grammar --------------------------------------------------------------------------------------- */

static struct sg_slice copy(struct sg_slice text)
{
    char *bytes = malloc(text.len + 1);
    if (bytes)
        memcpy(bytes, text.ptr, text.len);
    return (struct sg_slice){bytes, text.len};
}

static void free_slice(struct sg_slice slice)
{
    free((char *)slice.ptr);
}

void sg_json_grammar_destroy(struct sg_json_grammar *grammar)
{
    if (!grammar)
        return;
    for (int i = 0; grammar->fields && i < grammar->n_fields; i++) {
        struct field *field = &grammar->fields[i];
        for (size_t k = 0; field->choices && k < field->n_choices; k++)
            free_slice(field->choices[k]);
        free(field->choices);
        free_slice(field->key);
    }
    free(grammar->fields);
    free(grammar);
}

static int compare_slices(const void *a, const void *b)
{
    const struct sg_slice *x = a, *y = b;
    int order = memcmp(x->ptr, y->ptr, x->len < y->len ? x->len : y->len);
    return order ? order : (x->len > y->len) - (x->len < y->len);
}

static bool is_white(char c)
{
    return c == ' ' || c == '\n' || c == '\t' || c == '\r';
}

/* One JSON value without white space around it. */
static bool is_json_value(struct sg_slice text)
{
    if (text.len == 0 || is_white(text.ptr[0]) || is_white(text.ptr[text.len - 1]))
        return false;
    json_t *value = json_loadb(text.ptr, text.len, JSON_DECODE_ANY, NULL);
    json_decref(value);
    return value != NULL;
}

static enum sg_status copy_choices(struct field *field, const struct sg_json_field *from, size_t index,
                                   struct sg_error *err)
{
    if (from->n_choices == 0 || from->n_choices > SG_JSON_MAX_CHOICES)
        return sg_fail(err, SG_EINVALID, "json field %zu: got %zu choices, expected 1 to %d", index, from->n_choices,
                       SG_JSON_MAX_CHOICES);
    if (from->nullable)
        return sg_fail(err, SG_EINVALID, "json field %zu: got nullable choices, expected null among them", index);
    field->choices = calloc(from->n_choices, sizeof *field->choices);
    if (!field->choices)
        return sg_fail(err, SG_ENOMEM, "json field %zu: out of memory", index);
    field->n_choices = from->n_choices;
    for (size_t i = 0; i < from->n_choices; i++) {
        if (!is_json_value(from->choices[i]))
            return sg_fail(err, SG_EINVALID,
                           "json field %zu: choice %zu is not one JSON value without space around it", index, i);
        field->choices[i] = copy(from->choices[i]);
        if (!field->choices[i].ptr)
            return sg_fail(err, SG_ENOMEM, "json field %zu: out of memory", index);
    }
    qsort(field->choices, field->n_choices, sizeof *field->choices, compare_slices);
    for (size_t i = 1; i < field->n_choices; i++)
        if (sg_slice_equal(field->choices[i - 1], field->choices[i]))
            return sg_fail(err, SG_EINVALID, "json field %zu: choice \"%.*s\" stands twice", index,
                           (int)field->choices[i].len, field->choices[i].ptr);
    return SG_OK;
}

static enum sg_status copy_field(struct sg_json_grammar *grammar, const struct sg_json_field *from, size_t index,
                                 struct sg_error *err)
{
    struct field *field = &grammar->fields[index];
    *field = (struct field){
        .type = from->type, .nullable = from->nullable, .max_len = from->max_len, .max_items = from->max_items};
    json_t *key = memchr(from->key.ptr, '\0', from->key.len) ? NULL : json_stringn(from->key.ptr, from->key.len);
    char *text = key ? json_dumps(key, JSON_ENCODE_ANY) : NULL;
    json_decref(key);
    if (!key)
        return sg_fail(err, SG_EINVALID, "json field %zu: the key is not UTF-8 without NUL", index);
    if (!text)
        return sg_fail(err, SG_ENOMEM, "json field %zu: out of memory", index);
    field->key = sg_slice_of(text);
    for (size_t i = 0; i < index; i++)
        if (sg_slice_equal(grammar->fields[i].key, field->key))
            return sg_fail(err, SG_EINVALID, "json field %zu: key %s stands twice", index, text);
    if (from->type == SG_JSON_CHOICE)
        return copy_choices(field, from, index, err);
    if (from->type != SG_JSON_STRING && from->type != SG_JSON_STRINGS)
        return sg_fail(err, SG_EINVALID, "json field %zu: got type %d", index, (int)from->type);
    if (from->max_len < 0 || from->max_len > SG_JSON_MAX_LEN)
        return sg_fail(err, SG_EINVALID, "json field %zu: max_len is %d, expected 0 to %d", index, from->max_len,
                       SG_JSON_MAX_LEN);
    if (from->type == SG_JSON_STRINGS && (from->max_items < 0 || from->max_items > SG_JSON_MAX_ITEMS))
        return sg_fail(err, SG_EINVALID, "json field %zu: max_items is %d, expected 0 to %d", index, from->max_items,
                       SG_JSON_MAX_ITEMS);
    return SG_OK;
}

enum sg_status sg_json_grammar_create(const struct sg_json_field *fields, size_t n_fields, int max_space,
                                      struct sg_json_grammar **grammar_out, struct sg_error *err)
{
    *grammar_out = NULL;
    if (n_fields == 0 || n_fields > SG_JSON_MAX_FIELDS)
        return sg_fail(err, SG_EINVALID, "json: got %zu fields, expected 1 to %d", n_fields, SG_JSON_MAX_FIELDS);
    if (max_space < 0 || max_space > SG_JSON_MAX_SPACE)
        return sg_fail(err, SG_EINVALID, "json: max_space is %d, expected 0 to %d", max_space, SG_JSON_MAX_SPACE);
    struct sg_json_grammar *grammar = calloc(1, sizeof *grammar);
    if (grammar)
        grammar->fields = calloc(n_fields, sizeof *grammar->fields);
    enum sg_status status = SG_OK;
    if (!grammar || !grammar->fields) {
        status = sg_fail(err, SG_ENOMEM, "json: out of memory for %zu fields", n_fields);
    } else {
        grammar->n_fields = (int)n_fields;
        grammar->max_space = max_space;
    }
    for (size_t i = 0; i < n_fields && status == SG_OK; i++)
        status = copy_field(grammar, &fields[i], i, err);
    if (status == SG_OK)
        *grammar_out = grammar;
    else
        sg_json_grammar_destroy(grammar);
    return status;
}

/* --- the automaton ------------------------------------------------------------------------------------------ */

static bool enter(struct sg_json_state *state, enum phase phase)
{
    state->phase = (int16_t)phase;
    state->at = 0;
    state->spaces = 0;
    return true;
}

/* Into a phase of the string whose characters `at` counts. */
static bool within(struct sg_json_state *state, enum phase phase, uint32_t utf8)
{
    state->phase = (int16_t)phase;
    state->utf8 = utf8;
    return true;
}

void sg_json_start(const struct sg_json_grammar *grammar, struct sg_json_state *state)
{
    (void)grammar;
    *state = (struct sg_json_state){.phase = BEFORE_OBJECT};
}

static bool step_after_value(const struct sg_json_grammar *grammar, struct sg_json_state *state, unsigned char byte)
{
    bool last = state->field + 1 == grammar->n_fields;
    if (byte == '}' && last)
        return enter(state, DONE);
    if (byte != ',' || last)
        return false;
    state->field++;
    return enter(state, BEFORE_KEY);
}

/* Keep the choices that go on with `byte`. One that is whole already (1 of 1 and 10) ends here if none does. */
static bool step_choice(const struct sg_json_grammar *grammar, struct sg_json_state *state, unsigned char byte)
{
    const struct sg_slice *choices = grammar->fields[state->field].choices;
    int first = state->choice, end = first + state->n_choices;
    size_t at = (size_t)state->at;
    bool whole = choices[first].len == at; /* a prefix of the others is sorted before them */
    if (whole)
        first++;
    while (first < end && (unsigned char)choices[first].ptr[at] < byte)
        first++;
    int n = 0;
    while (first + n < end && (unsigned char)choices[first + n].ptr[at] == byte)
        n++;
    if (n == 0) {
        if (!whole)
            return false;
        enter(state, AFTER_VALUE);
        return sg_json_step(grammar, state, byte);
    }
    state->choice = first;
    state->n_choices = n;
    state->at++;
    if (n == 1 && choices[first].len == at + 1)
        return enter(state, AFTER_VALUE);
    return true;
}

static bool step_value(const struct field *field, struct sg_json_state *state, unsigned char byte)
{
    if (byte == 'n' && field->nullable) {
        enter(state, NULL_WORD);
        state->at = 1;
        return true;
    }
    if (field->type == SG_JSON_STRING && byte == '"')
        return enter(state, STRING);
    if (field->type == SG_JSON_STRINGS && byte == '[') {
        state->items = 0;
        return enter(state, BEFORE_FIRST_ITEM);
    }
    return false;
}

static bool step_item(const struct field *field, struct sg_json_state *state, unsigned char byte)
{
    bool first = state->phase == BEFORE_FIRST_ITEM;
    if (first && byte == ']')
        return enter(state, AFTER_VALUE);
    if (byte != '"' || state->items == field->max_items)
        return false;
    state->items++;
    return enter(state, STRING);
}

static bool step_after_item(const struct field *field, struct sg_json_state *state, unsigned char byte)
{
    if (byte == ']')
        return enter(state, AFTER_VALUE);
    return byte == ',' && state->items < field->max_items && enter(state, BEFORE_ITEM);
}

static bool step_string(const struct field *field, struct sg_json_state *state, unsigned char byte)
{
    if (byte == '"')
        return enter(state, field->type == SG_JSON_STRINGS ? AFTER_ITEM : AFTER_VALUE);
    if (state->at == field->max_len || byte < 0x20)
        return false;
    state->at++;
    if (byte == '\\')
        return within(state, ESCAPE, 0);
    if (byte < 0x80)
        return true;
    if (byte < 0xC2 || byte > 0xF4)
        return false;
    uint32_t due = byte < 0xE0 ? 1 : byte < 0xF0 ? 2 : 3;
    uint32_t low = byte == 0xE0 ? 0xA0 : byte == 0xF0 ? 0x90 : 0x80;
    uint32_t high = byte == 0xED ? 0x9F : byte == 0xF4 ? 0x8F : 0xBF;
    return within(state, CONTINUATION, due | low << 8 | high << 16);
}

static bool step_continuation(struct sg_json_state *state, unsigned char byte)
{
    uint32_t due = state->utf8 & 0xFF;
    if (byte < (state->utf8 >> 8 & 0xFF) || byte > state->utf8 >> 16)
        return false;
    return due == 1 ? within(state, STRING, 0) : within(state, CONTINUATION, (due - 1) | 0x80 << 8 | 0xBF << 16);
}

static bool step_escape(struct sg_json_state *state, unsigned char byte)
{
    switch (byte) {
    case '"':
    case '\\':
    case '/':
    case 'b':
    case 'f':
    case 'n':
    case 'r':
    case 't':
        return within(state, STRING, 0);
    case 'u':
        return within(state, HEX, 0);
    default:
        return false;
    }
}

static bool step_hex(struct sg_json_state *state, unsigned char byte)
{
    unsigned char lower = byte | 0x20;
    uint32_t digit = byte >= '0' && byte <= '9' ? byte - 48u : lower >= 'a' && lower <= 'f' ? lower - 'a' + 10u : 16;
    if (digit == 16)
        return false;
    uint32_t low = state->utf8 & LOW_SURROGATE, n = state->utf8 >> 16 & 0xFF, value = state->utf8 & 0xFFFF;
    if (low && ((n == 0 && digit != 0xD) || (n == 1 && digit < 0xC)))
        return false; /* the second half of a pair is DC00–DFFF */
    if (!low && n == 1 && value == 0xD && digit >= 0xC)
        return false; /* and never stands first */
    value = value << 4 | digit;
    if (n < 3)
        return within(state, HEX, value | (n + 1) << 16 | low);
    if (value == 0)
        return false;
    return within(state, !low && value >= 0xD800 && value <= 0xDBFF ? LOW_BACKSLASH : STRING, 0);
}

static bool step_literal(struct sg_json_state *state, struct sg_slice literal, unsigned char byte, enum phase next)
{
    if ((unsigned char)literal.ptr[state->at] != byte)
        return false;
    return (size_t)++state->at < literal.len || enter(state, next);
}

static bool step_known(const struct sg_json_grammar *grammar, struct sg_json_state *state, unsigned char byte)
{
    const struct field *field = &grammar->fields[state->field];
    switch ((enum phase)state->phase) {
    case STRING:
        return step_string(field, state, byte);
    case BEFORE_OBJECT:
        return byte == '{' && enter(state, BEFORE_KEY);
    case BEFORE_KEY:
        return byte == '"' && enter(state, KEY) && step_literal(state, field->key, byte, BEFORE_COLON);
    case KEY:
        return step_literal(state, field->key, byte, BEFORE_COLON);
    case BEFORE_COLON:
        return byte == ':' && enter(state, BEFORE_VALUE);
    case BEFORE_VALUE:
        if (field->type != SG_JSON_CHOICE)
            return step_value(field, state, byte);
        enter(state, CHOICE);
        state->choice = 0;
        state->n_choices = (int32_t)field->n_choices;
        return step_choice(grammar, state, byte);
    case CHOICE:
        return step_choice(grammar, state, byte);
    case NULL_WORD:
        return step_literal(state, sg_slice_of("null"), byte, AFTER_VALUE);
    case BEFORE_FIRST_ITEM:
    case BEFORE_ITEM:
        return step_item(field, state, byte);
    case AFTER_ITEM:
        return step_after_item(field, state, byte);
    case AFTER_VALUE:
        return step_after_value(grammar, state, byte);
    case CONTINUATION:
        return step_continuation(state, byte);
    case ESCAPE:
        return step_escape(state, byte);
    case HEX:
        return step_hex(state, byte);
    case LOW_BACKSLASH:
        return byte == '\\' && within(state, LOW_U, 0);
    case LOW_U:
        return byte == 'u' && within(state, HEX, LOW_SURROGATE);
    case DONE:
        break;
    }
    return false;
}

bool sg_json_step(const struct sg_json_grammar *grammar, struct sg_json_state *state, unsigned char byte)
{
    if (state->phase <= LAST_WITH_SPACE && (byte == ' ' || byte == '\n' || byte == '\t'))
        return state->spaces++ < grammar->max_space;
    return step_known(grammar, state, byte);
}

bool sg_json_accepts(const struct sg_json_grammar *grammar, const struct sg_json_state *state, struct sg_slice bytes)
{
    struct sg_json_state walk = *state;
    for (size_t i = 0; i < bytes.len; i++)
        if (!sg_json_step(grammar, &walk, (unsigned char)bytes.ptr[i]))
            return false;
    return true;
}

bool sg_json_done(const struct sg_json_grammar *grammar, const struct sg_json_state *state)
{
    (void)grammar;
    return state->phase == DONE;
}

int sg_json_value_next(const struct sg_json_grammar *grammar, const struct sg_json_state *state)
{
    (void)grammar;
    return state->phase == BEFORE_VALUE ? state->field : -1;
}

int sg_json_forced(const struct sg_json_grammar *grammar, const struct sg_json_state *state)
{
    int found = -1;
    for (int byte = 0; byte < 256; byte++) {
        struct sg_json_state next = *state;
        if (!step_known(grammar, &next, (unsigned char)byte))
            continue;
        if (found >= 0)
            return -1;
        found = byte;
    }
    return found;
}

/* --- masks ---------------------------------------------------------------------------------------------------- */

struct entry {
    int32_t id;
    uint16_t shared, len; /* bytes in common with the entry before; bytes in all */
};

struct sg_vocab_trie {
    struct entry *entries;
    size_t n;
    struct sg_buffer tails; /* of each entry in turn the bytes behind its shared ones */
};

struct word {
    struct sg_slice bytes; /* first: compare_slices reads it */
    int32_t id;
};

struct sg_vocab_trie *sg_vocab_trie_create(const struct sg_tokenizer *tokenizer)
{
    int32_t count = sg_tokenizer_count(tokenizer);
    struct sg_vocab_trie *vocab = calloc(1, sizeof *vocab);
    struct word *words = calloc((size_t)count + 1, sizeof *words);
    if (vocab)
        vocab->entries = calloc((size_t)count + 1, sizeof *vocab->entries);
    if (!vocab || !words || !vocab->entries) {
        free(words);
        sg_vocab_trie_destroy(vocab);
        return NULL;
    }
    for (int32_t id = 0; id < count; id++) {
        struct sg_slice bytes = sg_token_bytes(tokenizer, id);
        if (bytes.len > 0 && bytes.len <= SG_VOCAB_MAX_TOKEN && !sg_tokenizer_is_special(tokenizer, id))
            words[vocab->n++] = (struct word){bytes, id};
    }
    qsort(words, vocab->n, sizeof *words, compare_slices);
    struct sg_slice before = {"", 0};
    for (size_t i = 0; i < vocab->n; i++) {
        struct sg_slice bytes = words[i].bytes;
        size_t shared = 0;
        while (shared < before.len && shared < bytes.len && before.ptr[shared] == bytes.ptr[shared])
            shared++;
        vocab->entries[i] = (struct entry){words[i].id, (uint16_t)shared, (uint16_t)bytes.len};
        sg_buffer_append(&vocab->tails, bytes.ptr + shared, bytes.len - shared);
        before = bytes;
    }
    free(words);
    if (vocab->tails.failed) {
        sg_vocab_trie_destroy(vocab);
        return NULL;
    }
    return vocab;
}

void sg_vocab_trie_destroy(struct sg_vocab_trie *vocab)
{
    if (!vocab)
        return;
    sg_buffer_free(&vocab->tails);
    free(vocab->entries);
    free(vocab);
}

void sg_json_mask(const struct sg_json_grammar *grammar, const struct sg_json_state *state,
                  const struct sg_vocab_trie *vocab, int32_t n_vocab, uint64_t *mask)
{
    memset(mask, 0, (size_t)(n_vocab + 63) / 64 * sizeof *mask);
    /* walked[k] stands behind the first k bytes of the current entry, good of which are permitted */
    struct sg_json_state walked[SG_VOCAB_MAX_TOKEN + 1];
    walked[0] = *state;
    size_t good = 0;
    const unsigned char *tail = (const unsigned char *)sg_buffer_text(&vocab->tails);
    for (size_t i = 0; i < vocab->n; i++) {
        const struct entry *entry = &vocab->entries[i];
        size_t at = entry->shared, n_tail = (size_t)(entry->len - entry->shared);
        if (good >= at) {
            for (; at < entry->len; at++) {
                walked[at + 1] = walked[at];
                if (!sg_json_step(grammar, &walked[at + 1], tail[at - entry->shared]))
                    break;
            }
            good = at;
        }
        if (good == entry->len && entry->id < n_vocab)
            mask[entry->id / 64] |= UINT64_C(1) << entry->id % 64;
        tail += n_tail;
    }
}
