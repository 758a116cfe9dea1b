/* Rules, compiled to one Vectorscan database, and matched.
 *
 * Phrases and regular expressions are two databases. A phrase is its escaped bytes; where the normaliser folds it to
 * something else, the folded phrase is a second expression of the same rule, and that is what knows case beyond
 * ASCII. It is looked for in a copy of the text with every run of white space made one space: \s+ in the expressions
 * would do the same, and so would the matcher's UTF-8 mode for case, at fifty to a hundred times the time to compile.
 * Whole words are judged here, beside the match, because the matcher knows \b for ASCII only. */
#include "guard/rules_internal.h"

#include "base/utf8.h"
#include "text/unicode_tables.h"

#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

/* In the rule number of an expression: looked for in the spacing reading alone, which has lost the spaces between
 * words together with those between letters. */
#define SPACED (1u << 31)
#define EXPRESSIONS_OF_A_RULE 3
#define MIN_PLAIN_PHRASE 3 /* bytes; a shorter phrase inside words is found nearly everywhere */

const char *sg_rule_action_name(enum sg_rule_action action)
{
    static const char *const names[] = {"clear", "escalate", "violates"};
    return names[action];
}

/* Class flags (unicode_tables.h) of a code point; 0 for an invalid one. */
static unsigned class_of(int32_t code)
{
    return code < 0 ? 0 : unicode_blocks[unicode_index[code >> 7]][code & 127] & 63u;
}

/* Equal but for the case of ASCII letters. */
static bool same_letters(struct sg_slice a, struct sg_slice b)
{
    if (a.len != b.len)
        return false;
    for (size_t i = 0; i < a.len; i++) {
        unsigned char x = (unsigned char)a.ptr[i], y = (unsigned char)b.ptr[i];
        if (x != y && ((x ^ y) != 0x20 || (x | 0x20) < 'a' || (x | 0x20) > 'z'))
            return false;
    }
    return true;
}

/* --- expressions -------------------------------------------------------------------------------------------- */

/* The phrase as an expression of bytes, its words joined by `between`. True when it has several. */
static bool escape(struct sg_slice phrase, const char *between, struct sg_buffer *out)
{
    bool space = false, several = false;
    for (size_t at = 0, n; at < phrase.len; at += n) {
        int32_t code;
        n = sg_utf8_decode((struct sg_slice){phrase.ptr + at, phrase.len - at}, &code);
        bool is_space = class_of(code) & UNICODE_SPACE;
        if (is_space && !space) /* one for each run, as in the text */
            sg_buffer_puts(out, between);
        several = several || is_space;
        space = is_space;
        for (size_t i = 0; i < n && !is_space; i++) {
            unsigned char byte = (unsigned char)phrase.ptr[at + i];
            if (byte < 128 && (class_of(byte) & (UNICODE_LETTER | UNICODE_NUMBER)))
                sg_buffer_putc(out, (char)byte);
            else
                sg_buffer_printf(out, "\\x%02x", byte);
        }
    }
    return several;
}

/* What an expression's text says about how it must be compiled. */
static bool has(const char *pattern, char a, char b)
{
    for (const char *at = pattern; (at = strchr(at, '\\')); at += at[1] ? 2 : 1) {
        if (at[1] == a || at[1] == b)
            return true;
    }
    return false;
}

/* "(?-i" and "(?s-i": case matters, so readings, which are folded to lower case, say nothing. */
static bool minds_case(const char *pattern)
{
    for (const char *at = pattern; (at = strstr(at, "(?")); at += 2) {
        const char *flag = at + 2 + strspn(at + 2, "imsx");
        if (*flag == '-' && flag[1 + strspn(flag + 1, "msx")] == 'i')
            return true;
    }
    return false;
}

struct expressions {
    char **texts;
    unsigned *flags, *ids, *rules;
    size_t n;
};

static void add_expression(struct expressions *list, struct sg_buffer *text, unsigned flags, unsigned rule)
{
    list->flags[list->n] = flags;
    list->ids[list->n] = (unsigned)list->n;
    list->rules[list->n] = rule;
    list->texts[list->n++] = sg_buffer_take(text);
}

static enum sg_status express(struct sg_rules *rules, size_t i, struct expressions *list, struct sg_normal *normal,
                              struct sg_error *err)
{
    const struct sg_rule *rule = &rules->items[i];
    const unsigned flags = HS_FLAG_CASELESS | HS_FLAG_SOM_LEFTMOST;
    struct sg_buffer text = {0};
    rules->raw_only[i] = rule->action == SG_RULE_CLEAR || (rule->regex && minds_case(rule->pattern));
    if (rule->regex) {
        sg_buffer_puts(&text, rule->pattern);
        add_expression(list, &text, flags | HS_FLAG_UTF8 | (has(rule->pattern, 'b', 'B') ? 0 : HS_FLAG_UCP),
                       (unsigned)i);
        return SG_OK;
    }
    struct sg_slice phrase = sg_slice_of(rule->pattern);
    enum sg_status status = sg_normalise(phrase, false, normal, err);
    if (status != SG_OK)
        return status;
    escape(phrase, " ", &text);
    add_expression(list, &text, flags, (unsigned)i);
    const struct sg_buffer *reading = &normal->readings[SG_READING_FOLDED];
    struct sg_slice folded = {reading->data, reading->len};
    if (folded.len == 0 || rules->raw_only[i])
        return SG_OK;
    if (!same_letters(folded, phrase)) {
        escape(folded, " ", &text);
        add_expression(list, &text, flags, (unsigned)i);
    }
    if (escape(folded, "", &text))
        add_expression(list, &text, flags, (unsigned)i | SPACED);
    else
        sg_buffer_free(&text);
    return SG_OK; /* a text that is missing for lack of memory is seen by the caller */
}

/* Expressions [from, to) of the list, with their places in it for ids. */
static enum sg_status compile(const struct sg_rules *rules, const struct expressions *list, size_t from, size_t to,
                              hs_database_t **database_out, struct sg_error *err)
{
    hs_compile_error_t *refused = NULL;
    *database_out = NULL;
    if (from == to)
        return SG_OK;
    hs_error_t status =
        hs_compile_multi((const char *const *)list->texts + from, list->flags + from, list->ids + from,
                         (unsigned)(to - from), HS_MODE_BLOCK, NULL, database_out, &refused);
    if (status == HS_SUCCESS)
        return SG_OK;
    enum sg_status code;
    if (refused && refused->expression >= 0 && from + (size_t)refused->expression < to) {
        const struct sg_rule *rule = &rules->items[list->rules[from + (size_t)refused->expression] & ~SPACED];
        code = sg_fail(err, SG_EFORMAT, "%s: line %zu: rule \"%.60s\": the matcher refuses it: %s", rules->name,
                       rule->line, rule->name ? rule->name : rule->pattern, refused->message);
    } else {
        code = sg_fail(err, status == HS_NOMEM ? SG_ENOMEM : SG_EFORMAT, "%s: the matcher refuses %zu rules: %s",
                       rules->name, rules->n, refused ? refused->message : "out of memory");
    }
    hs_free_compile_error(refused);
    *database_out = NULL;
    return code;
}

static enum sg_status express_all(struct sg_rules *rules, struct expressions *list, struct sg_error *err)
{
    struct sg_normal normal = {0};
    enum sg_status status = SG_OK;
    size_t n_phrases = 0;
    for (int regex = 0; regex < 2; regex++) {
        n_phrases = regex ? list->n : 0;
        for (size_t i = 0; i < rules->n && status == SG_OK; i++)
            status = rules->items[i].regex == regex ? express(rules, i, list, &normal, err) : SG_OK;
    }
    sg_normal_deinit(&normal);
    for (size_t i = 0; i < list->n && status == SG_OK; i++)
        status = list->texts[i] ? SG_OK : sg_fail(err, SG_ENOMEM, "%s: out of memory", rules->name);
    if (status == SG_OK && list->n > 0 && hs_valid_platform() != HS_SUCCESS)
        status = sg_fail(err, SG_EUNSUPPORTED, "%s: this processor lacks what the matcher of rules needs (SSE4.2)",
                         rules->name);
    if (status == SG_OK)
        status = compile(rules, list, 0, n_phrases, &rules->phrases, err);
    if (status == SG_OK)
        status = compile(rules, list, n_phrases, list->n, &rules->regexes, err);
    return status;
}

static enum sg_status build(struct sg_rules *rules, struct sg_error *err)
{
    size_t cap = EXPRESSIONS_OF_A_RULE * rules->n + 1;
    struct expressions list = {.texts = calloc(cap, sizeof *list.texts),
                               .flags = calloc(cap, sizeof *list.flags),
                               .ids = calloc(cap, sizeof *list.ids),
                               .rules = calloc(cap, sizeof *list.rules)};
    rules->raw_only = calloc(rules->n + 1, sizeof *rules->raw_only);
    enum sg_status status = list.texts && list.flags && list.ids && list.rules && rules->raw_only
                                ? express_all(rules, &list, err)
                                : sg_fail(err, SG_ENOMEM, "%s: out of memory", rules->name);
    if (status == SG_OK) {
        rules->expression_rules = list.rules;
        list.rules = NULL;
    }
    for (size_t i = 0; i < list.n; i++)
        free(list.texts[i]);
    free(list.texts);
    free(list.flags);
    free(list.ids);
    free(list.rules);
    return status;
}

/* --- notes -------------------------------------------------------------------------------------------------- */

static void note(struct sg_rules *rules, const struct sg_rule *rule, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
static void note(struct sg_rules *rules, const struct sg_rule *rule, const char *format, ...)
{
    if (rules->n_notes == RULES_MAX_NOTES)
        return;
    char text[256];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    struct sg_buffer line = {0};
    sg_buffer_printf(&line, "line %zu: rule \"%.60s\": %s", rule->line, rule->name ? rule->name : rule->pattern,
                     text);
    rules->notes[rules->n_notes] = sg_buffer_take(&line);
    rules->n_notes += rules->notes[rules->n_notes] != NULL;
}

static int by_pattern(const void *a, const void *b)
{
    const struct sg_rule *x = *(const struct sg_rule *const *)a, *y = *(const struct sg_rule *const *)b;
    int order = x->regex != y->regex ? (x->regex ? 1 : -1)
                : x->regex           ? strcmp(x->pattern, y->pattern)
                                     : strcasecmp(x->pattern, y->pattern);
    return order ? order : x->line < y->line ? -1 : x->line > y->line;
}

static void take_notes(struct sg_rules *rules)
{
    const struct sg_rule **sorted = malloc((rules->n + 1) * sizeof *sorted);
    for (size_t i = 0; i < rules->n; i++) {
        const struct sg_rule *rule = &rules->items[i];
        if (rule->action == SG_RULE_CLEAR && !rule->whole)
            note(rules, rule,
                 "clears whatever text it stands in: whoever knows it passes; whole: true asks for the "
                 "whole text");
        if (!rule->regex && !rule->words && !rule->whole && strlen(rule->pattern) < MIN_PLAIN_PHRASE)
            note(rules, rule, "short enough to stand inside many words; words: true asks for whole words");
        if (sorted)
            sorted[i] = rule;
    }
    if (!sorted)
        return;
    qsort(sorted, rules->n, sizeof *sorted, by_pattern);
    for (size_t i = 1; i < rules->n; i++) {
        const struct sg_rule *a = sorted[i - 1], *b = sorted[i];
        bool same = a->regex == b->regex &&
                    (a->regex ? strcmp(a->pattern, b->pattern) : strcasecmp(a->pattern, b->pattern)) == 0;
        if (same && a->action == b->action)
            note(rules, b, "stands in line %zu already", a->line);
        else if (same)
            note(rules, b, "line %zu has the same with another action; %s wins", a->line,
                 sg_rule_action_name(a->action > b->action ? a->action : b->action));
    }
    free(sorted);
}

/* --- opening ------------------------------------------------------------------------------------------------ */

static bool is_jsonl(const char *name)
{
    const char *dot = strrchr(name, '.');
    return dot && (strcasecmp(dot, ".jsonl") == 0 || strcasecmp(dot, ".ndjson") == 0);
}

enum sg_status sg_rules_parse(const char *name, struct sg_slice text, enum sg_rules_format format,
                              struct sg_rules **rules_out, struct sg_error *err)
{
    *rules_out = NULL;
    if (text.len > SG_RULES_MAX_BYTES)
        return sg_fail(err, SG_ELIMIT, "%s: %zu bytes, the maximum is %u", name, text.len, SG_RULES_MAX_BYTES);
    struct sg_rules *rules = calloc(1, sizeof *rules);
    if (rules)
        rules->name = strdup(name);
    if (!rules || !rules->name) {
        free(rules);
        return sg_fail(err, SG_ENOMEM, "%s: out of memory", name);
    }
    sg_sha256(text.ptr, text.len, rules->sha256);
    bool jsonl = format == SG_RULES_BY_NAME ? is_jsonl(name) : format == SG_RULES_JSONL;
    enum sg_status status = sg_rules_read(rules, text, jsonl, err);
    if (status == SG_OK)
        status = build(rules, err);
    if (status == SG_OK) {
        take_notes(rules);
        *rules_out = rules;
        rules = NULL;
    }
    sg_rules_close(rules);
    return status;
}

enum sg_status sg_rules_open(const char *path, struct sg_rules **rules_out, struct sg_error *err)
{
    struct sg_buffer text = {0};
    *rules_out = NULL;
    enum sg_status status = sg_file_read(path, SG_RULES_MAX_BYTES, &text, err);
    if (status == SG_OK)
        status = sg_rules_parse(path, (struct sg_slice){sg_buffer_text(&text), text.len}, SG_RULES_BY_NAME, rules_out,
                                err);
    sg_buffer_free(&text);
    return status;
}

void sg_rules_close(struct sg_rules *rules)
{
    if (!rules)
        return;
    for (size_t i = 0; i < rules->n; i++) {
        free(rules->items[i].name);
        free(rules->items[i].pattern);
        free(rules->items[i].note);
    }
    for (size_t i = 0; i < rules->n_notes; i++)
        free(rules->notes[i]);
    hs_free_database(rules->phrases);
    hs_free_database(rules->regexes);
    free(rules->items);
    free(rules->expression_rules);
    free(rules->raw_only);
    free(rules->policy);
    free(rules->name);
    free(rules);
}

size_t sg_rules_count(const struct sg_rules *rules)
{
    return rules->n;
}

const struct sg_rule *sg_rules_at(const struct sg_rules *rules, size_t i)
{
    return &rules->items[i];
}

const char *sg_rules_policy(const struct sg_rules *rules)
{
    return rules->policy;
}

const char *sg_rules_sha256(const struct sg_rules *rules)
{
    return rules->sha256;
}

const char *const *sg_rules_notes(const struct sg_rules *rules, size_t *n_out)
{
    *n_out = rules->n_notes;
    return (const char *const *)rules->notes;
}

/* --- matching ----------------------------------------------------------------------------------------------- */

/* What is known of a rule within one text; valid while `text` is the scratch's own number of the text. */
struct rule_state {
    uint32_t text;
    uint16_t n_listed, last; /* entries in the list, the newest of them */
};

struct sg_rules_scratch {
    hs_scratch_t *matcher;
    struct rule_state *states;
    size_t n_states;
    uint32_t text;
    struct sg_buffer squeezed; /* a text with every run of white space made one space, */
    uint32_t *places;          /* and where in it each byte comes from */
    size_t cap_places;
};

enum sg_status sg_rules_scratch_create(const struct sg_rules *rules, struct sg_rules_scratch **scratch_out,
                                       struct sg_error *err)
{
    struct sg_rules_scratch *scratch = calloc(1, sizeof *scratch);
    *scratch_out = NULL;
    if (scratch)
        scratch->states = calloc(rules->n + 1, sizeof *scratch->states);
    hs_database_t *const databases[] = {rules->phrases, rules->regexes};
    bool ok = scratch && scratch->states;
    for (int i = 0; i < 2 && ok; i++)
        ok = !databases[i] || hs_alloc_scratch(databases[i], &scratch->matcher) == HS_SUCCESS;
    if (!ok) {
        sg_rules_scratch_destroy(scratch);
        return sg_fail(err, SG_ENOMEM, "%s: no memory to match rules in", rules->name);
    }
    scratch->n_states = rules->n;
    *scratch_out = scratch;
    return SG_OK;
}

void sg_rules_scratch_destroy(struct sg_rules_scratch *scratch)
{
    if (!scratch)
        return;
    hs_free_scratch(scratch->matcher);
    sg_buffer_free(&scratch->squeezed);
    free(scratch->places);
    free(scratch->states);
    free(scratch);
}

struct scan {
    const struct sg_rules *rules;
    struct sg_rules_scratch *scratch;
    struct sg_rules_result *result;
    struct sg_slice raw, text; /* `text` is what is being scanned: the raw text or a reading, squeezed or not */
    int reading;
    const uint32_t *places;          /* of a squeezed text, NULL for others */
    const uint32_t *offsets;         /* of the reading, NULL for the raw text */
    size_t first_inked, after_inked; /* bounds of the text without white space around it */
};

static bool word_before(struct sg_slice text, size_t at)
{
    size_t start = at;
    while (start > 0 && at - start < 4 && ((unsigned char)text.ptr[--start] & 0xC0) == 0x80)
        ;
    int32_t code = -1;
    if (start < at)
        sg_utf8_decode((struct sg_slice){text.ptr + start, at - start}, &code);
    return code == '_' || (class_of(code) & (UNICODE_LETTER | UNICODE_NUMBER | UNICODE_UPPER | UNICODE_LOWER));
}

static bool word_at(struct sg_slice text, size_t at)
{
    int32_t code = -1;
    if (at < text.len)
        sg_utf8_decode((struct sg_slice){text.ptr + at, text.len - at}, &code);
    return code == '_' || (class_of(code) & (UNICODE_LETTER | UNICODE_NUMBER | UNICODE_UPPER | UNICODE_LOWER));
}

/* No word goes on over either edge. An edge that is no part of a word itself ("#tag", "C++") is free. */
static bool stands_alone(struct sg_slice text, size_t from, size_t to)
{
    return !(word_before(text, from) && word_at(text, from)) && !(word_before(text, to) && word_at(text, to));
}

static void find_ink(struct scan *scan)
{
    struct sg_slice text = scan->text;
    size_t first = text.len, after = 0;
    for (size_t at = 0; at < text.len;) {
        int32_t code;
        size_t n = sg_utf8_decode((struct sg_slice){text.ptr + at, text.len - at}, &code);
        if (!(class_of(code) & UNICODE_SPACE)) {
            first = at;
            break;
        }
        at += n;
    }
    for (size_t at = text.len; at > 0;) {
        size_t start = at;
        while (start > 0 && at - start < 4 && ((unsigned char)text.ptr[--start] & 0xC0) == 0x80)
            ;
        int32_t code;
        sg_utf8_decode((struct sg_slice){text.ptr + start, at - start}, &code);
        if (!(class_of(code) & UNICODE_SPACE)) {
            after = at;
            break;
        }
        at = start;
    }
    scan->first_inked = first;
    scan->after_inked = after;
}

/* The raw byte that byte i of the scanned text comes from. */
static size_t origin(const struct scan *scan, size_t i)
{
    size_t place = scan->places ? scan->places[i] : i;
    return scan->offsets ? scan->offsets[place] : place;
}

/* The raw bytes that [from, to) of the scanned text comes from. */
static void locate(const struct scan *scan, size_t from, size_t to, size_t *first_out, size_t *after_out)
{
    *first_out = from;
    *after_out = to;
    if ((!scan->offsets && !scan->places) || from >= to)
        return;
    size_t first = origin(scan, from), last = origin(scan, to - 1);
    if (last < first || last >= scan->raw.len) /* an order that a reading does not have; shown as one character */
        last = first;
    size_t after = last < scan->raw.len ? last + 1 : scan->raw.len;
    while (after < scan->raw.len && ((unsigned char)scan->raw.ptr[after] & 0xC0) == 0x80)
        after++;
    *first_out = first;
    *after_out = after;
}

/* A full list makes room for an action of higher precedence, so that what decides is always shown. */
static struct sg_rule_found *room_for(struct scan *scan, enum sg_rule_action action)
{
    struct sg_rules_result *result = scan->result;
    if (result->n_found < SG_RULES_MAX_MATCHES)
        return &result->found[result->n_found++];
    result->more = true;
    for (size_t i = SG_RULES_MAX_MATCHES; i-- > 0;) {
        if (scan->rules->items[result->found[i].rule].action < action)
            return &result->found[i];
    }
    return NULL;
}

static void list_match(struct scan *scan, size_t index, size_t from, size_t to)
{
    struct sg_rules_result *result = scan->result;
    struct rule_state *state = &scan->scratch->states[index];
    size_t first, after;
    locate(scan, from, to, &first, &after);
    if (state->text != scan->scratch->text)
        *state = (struct rule_state){.text = scan->scratch->text};
    /* The newest entry first: a longer end of the same match is what comes most. */
    if (state->n_listed > 0) {
        struct sg_rule_found *last = &result->found[state->last];
        if (last->rule == index && last->reading == scan->reading && last->first_byte == first) {
            if (after - first > last->n_bytes)
                last->n_bytes = after - first;
            return;
        }
    }
    if (state->n_listed == SG_RULES_MAX_PER_RULE) {
        result->more = true;
        return;
    }
    for (size_t i = 0; i < result->n_found && state->n_listed > 0; i++) {
        const struct sg_rule_found *found = &result->found[i];
        if (found->rule == index && first < found->first_byte + found->n_bytes && found->first_byte < after)
            return;
    }
    struct sg_rule_found *found = room_for(scan, scan->rules->items[index].action);
    if (!found)
        return;
    *found = (struct sg_rule_found){index, scan->reading, first, after - first};
    state->last = (uint16_t)(found - result->found);
    state->n_listed++;
}

static int on_match(unsigned id, unsigned long long from, unsigned long long to, unsigned flags, void *context)
{
    struct scan *scan = context;
    unsigned expression = scan->rules->expression_rules[id];
    size_t index = expression & ~SPACED;
    const struct sg_rule *rule = &scan->rules->items[index];
    (void)flags;
    if ((scan->reading != SG_READING_RAW && scan->rules->raw_only[index]) ||
        ((expression & SPACED) && scan->reading != SG_READING_SPACING))
        return 0;
    if (rule->words && !stands_alone(scan->text, from, to))
        return 0;
    if (rule->whole && (from > scan->first_inked || to < scan->after_inked))
        return 0;
    struct sg_rules_result *result = scan->result;
    if (!result->any[rule->action] || index < result->first[rule->action])
        result->first[rule->action] = index;
    result->any[rule->action] = true;
    list_match(scan, index, (size_t)from, (size_t)to);
    return 0;
}

static enum sg_status scan_text(struct scan *scan, const hs_database_t *database, struct sg_slice text,
                                struct sg_error *err)
{
    if (text.len > UINT_MAX)
        return sg_fail(err, SG_ELIMIT, "rules: a reading of %zu bytes, the maximum is %u", text.len, UINT_MAX);
    scan->text = text;
    find_ink(scan);
    hs_error_t status = hs_scan(database, text.ptr, (unsigned)text.len, 0, scan->scratch->matcher, on_match, scan);
    return status == HS_SUCCESS ? SG_OK : sg_fail(err, SG_EINTERNAL, "rules: the matcher failed (%d)", (int)status);
}

/* Does it hold white space that is not one space between other characters? */
static bool needs_squeezing(struct sg_slice text)
{
    char before = ' ';
    for (size_t i = 0; i < text.len; i++) {
        unsigned char c = (unsigned char)text.ptr[i];
        if ((c == ' ' && before == ' ') || (c >= '\t' && c <= '\r') || c == 0xC2 || (c >= 0xE1 && c <= 0xE3))
            return true; /* the last three begin all white space beyond ASCII, and much else */
        before = (char)c;
    }
    return false;
}

static enum sg_status squeeze(struct sg_slice text, struct sg_rules_scratch *scratch, struct sg_error *err)
{
    struct sg_buffer *out = &scratch->squeezed;
    if (scratch->cap_places < text.len) {
        uint32_t *places = realloc(scratch->places, text.len * sizeof *places);
        if (!places)
            return sg_fail(err, SG_ENOMEM, "rules: no memory for a text of %zu bytes", text.len);
        scratch->places = places;
        scratch->cap_places = text.len;
    }
    sg_buffer_clear(out);
    bool space = false;
    for (size_t at = 0, n; at < text.len; at += n) {
        int32_t code;
        n = sg_utf8_decode((struct sg_slice){text.ptr + at, text.len - at}, &code);
        bool is_space = class_of(code) & UNICODE_SPACE;
        if (is_space && space)
            continue;
        space = is_space;
        for (size_t i = 0; i < (is_space ? 1 : n); i++)
            scratch->places[out->len + i] = (uint32_t)(at + i);
        if (is_space)
            sg_buffer_putc(out, ' ');
        else
            sg_buffer_append(out, text.ptr + at, n);
    }
    return sg_buffer_status(out, err);
}

/* The raw text or a reading: expressions as it is, phrases with its white space squeezed. */
static enum sg_status scan_lane(struct scan *scan, struct sg_slice text, struct sg_error *err)
{
    struct sg_rules_scratch *scratch = scan->scratch;
    enum sg_status status = SG_OK;
    scan->places = NULL;
    if (scan->rules->regexes)
        status = scan_text(scan, scan->rules->regexes, text, err);
    if (status != SG_OK || !scan->rules->phrases)
        return status;
    if (needs_squeezing(text)) {
        status = squeeze(text, scratch, err);
        text = (struct sg_slice){sg_buffer_text(&scratch->squeezed), scratch->squeezed.len};
        scan->places = scratch->places;
    }
    return status == SG_OK ? scan_text(scan, scan->rules->phrases, text, err) : status;
}

enum sg_status sg_rules_match(const struct sg_rules *rules, struct sg_slice text, const struct sg_normal *normal,
                              struct sg_rules_scratch *scratch, struct sg_rules_result *result, struct sg_error *err)
{
    struct scan scan = {.rules = rules, .scratch = scratch, .result = result, .raw = text, .reading = SG_READING_RAW};
    memset(result->any, 0, sizeof result->any);
    result->n_found = 0;
    result->more = false;
    if (++scratch->text == 0) { /* numbers begin anew: forget all states */
        memset(scratch->states, 0, scratch->n_states * sizeof *scratch->states);
        scratch->text = 1;
    }
    enum sg_status status = scan_lane(&scan, text, err);
    for (int i = 0; i < SG_N_READINGS && status == SG_OK; i++) {
        struct sg_slice reading = {normal->readings[i].data, normal->readings[i].len};
        /* Expressions mind no case, or are not looked for in readings. */
        if (reading.len == 0 || same_letters(reading, text))
            continue;
        scan.offsets = normal->offsets[i];
        scan.reading = i;
        status = scan_lane(&scan, reading, err);
    }
    return status;
}
