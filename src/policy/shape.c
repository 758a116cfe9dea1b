/* The output shape that a policy asks for, read from its own text.
 *
 * Explicit beats implied: a JSON object with a violation key or with 0/1 flags, then an instruction to write 0 or 1,
 * then label words, level codes ("DC0" … "DC3") and pairs of them ("D-SP2, R-SP0"), then sections marked (1) and
 * (0). Policies often use several spellings for one level. All of them become permitted answers, those that the
 * policy asks for first: a model that picks another of the policy's own spellings has still answered, and a mask
 * that forbade them would measure the spelling and not the decision. */
#include "policy/policy_internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

#define OBJECT_MAX 4096
#define TEMPLATES_MAX 4096 /* braces looked at: keeps hostile nesting linear */

/* --- lists ----------------------------------------------------------------------------------------------- */

char *slice_copy(struct sg_slice text)
{
    return strndup(text.len ? text.ptr : "", text.len);
}

bool shape_add_spelling(struct shape *shape, struct sg_slice text, struct sg_slice canonical,
                        enum spelling_group group, unsigned meaning)
{
    for (size_t i = 0; i < shape->n_spellings; i++) {
        if (sg_same_word(sg_slice_of(shape->spellings[i].text), text))
            return true;
    }
    if (shape->n_spellings == POLICY_MAX_SPELLINGS)
        return true;
    char *copy = slice_copy(text), *name = slice_copy(canonical);
    if (!copy || !name) {
        free(copy);
        free(name);
        return false;
    }
    shape->spellings[shape->n_spellings++] = (struct spelling){copy, name, group, meaning};
    return true;
}

bool shape_permit(struct shape *shape, struct sg_slice text, unsigned meaning)
{
    if (shape->n_labels == SG_POLICY_MAX_LABELS)
        return true;
    char *copy = slice_copy(text);
    if (!copy)
        return false;
    shape->labels[shape->n_labels++] =
        (struct sg_label){copy, (meaning & SG_MEANS_VIOLATION) != 0, (meaning & SG_MEANS_REVIEW) != 0};
    return true;
}

bool shape_add_label(struct shape *shape, struct sg_slice text, unsigned meaning)
{
    return shape_permit(shape, text, meaning) && shape_add_spelling(shape, text, text, SPELLING_WORD, meaning);
}

bool shape_add_key(struct shape *shape, struct sg_slice name, enum sg_key_role role)
{
    for (size_t i = 0; i < shape->n_keys; i++) {
        if (sg_same_word(sg_slice_of(shape->keys[i].name), name))
            return true;
    }
    if (shape->n_keys == POLICY_MAX_KEYS)
        return true;
    char *copy = slice_copy(name);
    if (!copy)
        return false;
    shape->keys[shape->n_keys++] = (struct sg_output_key){copy, role};
    return true;
}

void shape_clear_keys(struct shape *shape)
{
    for (size_t i = 0; i < shape->n_keys; i++)
        free((char *)shape->keys[i].name);
    shape->n_keys = 0;
}

void shape_clear_labels(struct shape *shape)
{
    for (size_t i = 0; i < shape->n_labels; i++)
        free((char *)shape->labels[i].text);
    shape->n_labels = 0;
}

void shape_deinit(struct shape *shape)
{
    shape_clear_keys(shape);
    shape_clear_labels(shape);
    for (size_t i = 0; i < shape->n_spellings; i++) {
        free(shape->spellings[i].text);
        free(shape->spellings[i].canonical);
    }
    shape->n_spellings = 0;
}

bool shape_default_keys(struct shape *shape, enum sg_output_kind kind)
{
    static const struct sg_output_key keys[] = {{"violation", SG_KEY_VIOLATION},
                                                {"policy_category", SG_KEY_CATEGORY},
                                                {"rule_ids", SG_KEY_RULE_IDS},
                                                {"confidence", SG_KEY_CONFIDENCE},
                                                {"rationale", SG_KEY_RATIONALE}};
    bool ok = true;
    for (size_t i = 0; i < (kind == SG_OUTPUT_CATEGORY ? 2u : 5u); i++)
        ok = shape_add_key(shape, sg_slice_of(keys[i].name), keys[i].role) && ok;
    return ok;
}

void shape_note_instruction(struct shape *shape, int line)
{
    if (shape->n_instructions < POLICY_MAX_INSTRUCTIONS &&
        (shape->n_instructions == 0 || shape->instructions[shape->n_instructions - 1] < line))
        shape->instructions[shape->n_instructions++] = line;
}

static void note_instruction_at(struct shape *shape, struct sg_slice text, size_t at)
{
    int line = 1;
    for (size_t i = 0; i < at && shape->n_instructions < POLICY_MAX_INSTRUCTIONS; i++)
        line += text.ptr[i] == '\n';
    shape_note_instruction(shape, line);
}

/* Words that announce an answer. */
bool shape_announces(struct sg_slice text)
{
    static const char *const words[] = {"output",    "outputs",  "respond",        "response", "return", "answer",
                                        "reply",     "classify", "label",          "labels",   "format", "verdict",
                                        "decision",  "one of",   "classification", "write",    "emit",   "result",
                                        "responses", "answers",  "respong"};
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
        if (sg_find_word(text, words[i], 0) < text.len)
            return true;
    }
    return false;
}

/* --- JSON objects ---------------------------------------------------------------------------------------- */

int shape_key_role(struct sg_slice name)
{
    static const struct {
        const char *name;
        enum sg_key_role role;
    } names[] = {{"violation", SG_KEY_VIOLATION},
                 {"violates", SG_KEY_VIOLATION},
                 {"violating", SG_KEY_VIOLATION},
                 {"violated", SG_KEY_VIOLATION},
                 {"is_violation", SG_KEY_VIOLATION},
                 {"is_violating", SG_KEY_VIOLATION},
                 {"policy_violation", SG_KEY_VIOLATION},
                 {"violates_policy", SG_KEY_VIOLATION},
                 {"flagged", SG_KEY_VIOLATION},
                 {"unsafe", SG_KEY_VIOLATION},
                 {"is_unsafe", SG_KEY_VIOLATION},
                 {"policy_category", SG_KEY_CATEGORY},
                 {"category", SG_KEY_CATEGORY},
                 {"categories", SG_KEY_CATEGORY},
                 {"violation_category", SG_KEY_CATEGORY},
                 {"violation_type", SG_KEY_CATEGORY},
                 {"violated_policy", SG_KEY_CATEGORY},
                 {"policy", SG_KEY_CATEGORY},
                 {"harm_category", SG_KEY_CATEGORY},
                 {"rule_ids", SG_KEY_RULE_IDS},
                 {"rule_id", SG_KEY_RULE_IDS},
                 {"rules", SG_KEY_RULE_IDS},
                 {"rule", SG_KEY_RULE_IDS},
                 {"violated_rules", SG_KEY_RULE_IDS},
                 {"cited_rules", SG_KEY_RULE_IDS},
                 {"policy_rules", SG_KEY_RULE_IDS},
                 {"confidence", SG_KEY_CONFIDENCE},
                 {"confidence_level", SG_KEY_CONFIDENCE},
                 {"certainty", SG_KEY_CONFIDENCE},
                 {"rationale", SG_KEY_RATIONALE},
                 {"reason", SG_KEY_RATIONALE},
                 {"reasons", SG_KEY_RATIONALE},
                 {"reasoning", SG_KEY_RATIONALE},
                 {"explanation", SG_KEY_RATIONALE},
                 {"justification", SG_KEY_RATIONALE},
                 {"analysis", SG_KEY_RATIONALE}};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        if (sg_same_word(name, sg_slice_of(names[i].name)))
            return (int)names[i].role;
    }
    return -1;
}

/* A key that says what is fine: its 1 would mean the opposite of a flag's. */
static bool inverted_key(struct sg_slice name)
{
    static const char *const names[] = {"safe",     "is_safe",   "allowed",      "is_allowed", "valid",
                                        "is_valid", "compliant", "is_compliant", "acceptable", "permitted"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        if (sg_same_word(name, sg_slice_of(names[i])))
            return true;
    }
    return false;
}

/* `0 or 1`, `<0/1>`, `"0|1"`, `true|false`, `0`. */
static bool flag_value(struct sg_slice value)
{
    static const char *const words[] = {"0", "1", "or", "true", "false", "bool", "boolean"};
    value = sg_trim(value, " \t\n\"'`<>()[]");
    size_t i = 0, found = 0;
    while (i < value.len) {
        size_t start = i;
        while (i < value.len && sg_is_word(value.ptr[i]))
            i++;
        bool known = false;
        for (size_t w = 0; w < sizeof words / sizeof words[0]; w++)
            known = known || sg_same_word((struct sg_slice){value.ptr + start, i - start}, sg_slice_of(words[w]));
        if (i > start && !known)
            return false;
        found += i > start;
        while (i < value.len && !sg_is_word(value.ptr[i])) {
            if (!strchr(" |/,", value.ptr[i]))
                return false;
            i++;
        }
    }
    return found > 0;
}

struct entry {
    struct sg_slice key, value;
};

/* Read a JSON-like template at `text` (which starts with '{'): `"key": anything` entries of the outer level. Returns
 * the length, 0 when it is none. */
static size_t read_template(struct sg_slice text, struct entry *entries, size_t *n_out)
{
    size_t i = 1, n = 0;
    if (text.len > OBJECT_MAX)
        text.len = OBJECT_MAX;
    for (;;) {
        while (i < text.len && strchr(" \t\n,", text.ptr[i]))
            i++;
        if (i >= text.len)
            return 0;
        if (text.ptr[i] == '}')
            break;
        char quote = text.ptr[i];
        if (quote != '"' && quote != '\'') { /* a comment or an ellipsis: on to the next line */
            const char *end = memchr(text.ptr + i, '\n', text.len - i);
            if (!end || n == 0)
                return 0;
            i = (size_t)(end - text.ptr);
            continue;
        }
        size_t key = ++i;
        while (i < text.len && text.ptr[i] != quote && text.ptr[i] != '\n')
            i++;
        struct sg_slice name = {text.ptr + key, i - key};
        for (i++; i < text.len && strchr(" \t", text.ptr[i]); i++)
            ;
        if (i >= text.len || text.ptr[i] != ':' || name.len == 0 || name.len > 64)
            return 0;
        size_t value = ++i;
        int depth = 0;
        for (bool in_string = false; i < text.len; i++) {
            char c = text.ptr[i];
            if (c == '"' && text.ptr[i - 1] != '\\')
                in_string = !in_string;
            if (in_string && c != '\n')
                continue;
            in_string = in_string && c != '\n';
            if (depth == 0 && (c == ',' || c == '}'))
                break;
            depth += c == '{' || c == '[' ? 1 : c == '}' || c == ']' ? -1 : 0;
        }
        if (n < POLICY_MAX_KEYS)
            entries[n++] = (struct entry){name, sg_trim((struct sg_slice){text.ptr + value, i - value}, " \t\n")};
    }
    *n_out = n;
    return n > 0 ? i + 1 : 0;
}

struct objects { /* what the templates of a policy amount to */
    struct shape *verdicts, *flags;
    bool failed, inverted;
};

static void take_object(struct sg_slice folded, size_t at, const struct entry *entries, size_t n, struct objects *out)
{
    bool has_violation = false, all_flags = true, has_category = false, inverted = false;
    size_t n_flags = 0;
    for (size_t i = 0; i < n; i++) {
        int role = shape_key_role(entries[i].key);
        bool flag = flag_value(entries[i].value);
        has_violation = has_violation || role == SG_KEY_VIOLATION;
        has_category = has_category || role == SG_KEY_CATEGORY;
        inverted = inverted || (flag && inverted_key(entries[i].key));
        n_flags += flag && role < 0;
        all_flags = all_flags && flag;
    }
    size_t before = at > 400 ? 400 : at;
    if (inverted && !has_violation) {
        out->inverted = true;
    } else if (has_violation && (has_category || n_flags < 2)) {
        for (size_t i = 0; i < n; i++) {
            int role = shape_key_role(entries[i].key);
            if (role >= 0 && !shape_add_key(out->verdicts, entries[i].key, (enum sg_key_role)role))
                out->failed = true;
        }
        note_instruction_at(out->verdicts, folded, at);
    } else if (all_flags && shape_announces((struct sg_slice){folded.ptr + at - before, before})) {
        for (size_t i = 0; i < n; i++) {
            if (!shape_add_key(out->flags, entries[i].key, SG_KEY_FLAG))
                out->failed = true;
        }
        note_instruction_at(out->flags, folded, at);
    }
}

static void find_objects(struct sg_slice folded, struct objects *out)
{
    struct entry entries[POLICY_MAX_KEYS];
    int tried = 0;
    for (size_t i = 0; i < folded.len && tried < TEMPLATES_MAX;) {
        size_t n = 0, len = 0;
        tried += folded.ptr[i] == '{';
        if (folded.ptr[i] == '{')
            len = read_template((struct sg_slice){folded.ptr + i, folded.len - i}, entries, &n);
        if (len > 0)
            take_object(folded, i, entries, n, out);
        i += len > 0 ? len : 1;
    }
}

/* "Return JSON with `violation` (0 or 1), `policy_category` and `rationale`": keys named in prose. */
static bool prose_keys(struct sg_slice folded, struct shape *shape)
{
    struct sg_slice line;
    int number = 0;
    bool ok = true;
    for (size_t at = 0; shape->n_keys == 0 && sg_next_line(folded, &at, &line);) {
        number++;
        if (sg_find_word(line, "json", 0) == line.len || !shape_announces(line))
            continue;
        size_t near = at + 1200 < folded.len ? at + 1200 : folded.len, from = (size_t)(line.ptr - folded.ptr);
        bool has_violation = false;
        for (size_t i = from; i < near; i++) {
            char quote = folded.ptr[i];
            size_t end = i + 1;
            if (quote != '`' && quote != '"')
                continue;
            while (end < near && sg_is_word(folded.ptr[end]))
                end++;
            if (end == near || folded.ptr[end] != quote)
                continue;
            struct sg_slice name = {folded.ptr + i + 1, end - i - 1};
            int role = islower((unsigned char)name.ptr[0]) ? shape_key_role(name) : -1; /* "UNSAFE" is a label */
            if (role >= 0)
                ok = shape_add_key(shape, name, (enum sg_key_role)role) && ok;
            has_violation = has_violation || role == SG_KEY_VIOLATION;
            i = end;
        }
        if (!has_violation)
            shape_clear_keys(shape);
        else
            shape_note_instruction(shape, number);
    }
    return ok;
}

/* --- 0 or 1 ---------------------------------------------------------------------------------------------- */

static bool lone_digit(struct sg_slice text, size_t at, char wanted)
{
    return at < text.len && text.ptr[at] == wanted &&
           (at == 0 || !(sg_is_word(text.ptr[at - 1]) || text.ptr[at - 1] == '.')) &&
           (at + 1 == text.len || !(sg_is_word(text.ptr[at + 1]) || (text.ptr[at + 1] == '.' && at + 2 < text.len &&
                                                                     isdigit((unsigned char)text.ptr[at + 2]))));
}

/* "0 or 1", "0/1", "0 | 1", "1 or 0", with quotes or backticks around the digits. */
static bool zero_or_one(struct sg_slice line)
{
    for (size_t i = 0; i < line.len; i++) {
        char first = line.ptr[i];
        if ((first != '0' && first != '1') || !lone_digit(line, i, first))
            continue;
        size_t at = i + 1;
        bool joined = false;
        while (at < line.len && at < i + 16 && !isdigit((unsigned char)line.ptr[at])) {
            joined =
                joined || line.ptr[at] == '/' || line.ptr[at] == '|' || strncasecmp(line.ptr + at, "or ", 3) == 0;
            if (isalpha((unsigned char)line.ptr[at]) && strncasecmp(line.ptr + at, "or ", 3) != 0)
                break;
            at += strncasecmp(line.ptr + at, "or ", 3) == 0 ? 3 : 1;
        }
        if (joined && lone_digit(line, at, first == '0' ? '1' : '0'))
            return true;
    }
    return false;
}

static bool ends_open(struct sg_slice line)
{
    line = sg_trim(line, " \t*_");
    return line.len > 0 && line.ptr[line.len - 1] == ':';
}

/* "Return a JSON object with 0 or 1 for each category:" and a list of names below it. */
static bool prose_flags(struct sg_slice folded, struct shape *shape)
{
    struct sg_slice line;
    int number = 0;
    bool ok = true, open = false;
    for (size_t at = 0; sg_next_line(folded, &at, &line);) {
        number++;
        struct sg_slice item = sg_trim(line, " \t");
        bool asks = sg_find_word(line, "json", 0) < line.len && zero_or_one(line) && ends_open(line);
        if (asks && shape->n_keys == 0) {
            open = true;
        } else if (open && item.len > 3 && (item.ptr[0] == '-' || item.ptr[0] == '*') && item.ptr[1] == ' ') {
            struct sg_slice name = sg_trim((struct sg_slice){item.ptr + 1, item.len - 1}, " *`\"");
            size_t n = 0;
            while (n < name.len && (sg_is_word(name.ptr[n]) || name.ptr[n] == '-' || name.ptr[n] == '/'))
                n++;
            if (n > 0 && n <= 64)
                ok = shape_add_key(shape, (struct sg_slice){name.ptr, n}, SG_KEY_FLAG) && ok;
            shape_note_instruction(shape, number);
        } else if (item.len > 0) {
            open = false;
        }
    }
    return ok;
}

/* The digit that a line gives as an answer with its condition, as bits 1 and 2 for 0 and 1: "`1` if …", "0 when …".
 */
static unsigned conditional_digits(struct sg_slice line)
{
    unsigned found = 0;
    for (size_t i = 0; i < line.len; i++) {
        if ((line.ptr[i] != '0' && line.ptr[i] != '1') || !lone_digit(line, i, line.ptr[i]))
            continue;
        size_t at = i + 1;
        while (at < line.len && strchr(" `\"'*", line.ptr[at]))
            at++;
        if (at + 5 < line.len &&
            (strncasecmp(line.ptr + at, "if ", 3) == 0 || strncasecmp(line.ptr + at, "when ", 5) == 0))
            found |= line.ptr[i] == '0' ? 1u : 2u;
    }
    return found;
}

/* "0 = Content does NOT violate", "1: violates": +1 when it says what 0 and 1 mean in common, -1 the reverse. */
static int digit_meaning(struct sg_slice line)
{
    line = sg_trim(line, " \t-*`\"'");
    if (line.len < 4 || !(line.ptr[0] == '0' || line.ptr[0] == '1') || sg_is_word(line.ptr[1]))
        return 0;
    struct sg_slice rest = sg_trim((struct sg_slice){line.ptr + 1, line.len - 1}, " `\"'*=:->)(.");
    if (rest.ptr == line.ptr + 1 || rest.len == 0)
        return 0;
    static const char *const bad[] = {"violates", "violate", "violation", "violating", "unsafe", "invalid"};
    static const char *const good[] = {"safe", "compliant", "valid", "allowed"};
    int stance = 0;
    for (size_t i = 0; i < 10 && stance == 0; i++) {
        size_t at = sg_find_word(rest, i < 6 ? bad[i] : good[i - 6], 0);
        if (at < rest.len)
            stance = (i < 6) != sg_negated(rest, at) ? 1 : -1;
    }
    return line.ptr[0] == '1' ? stance : -stance;
}

static bool set_binary(struct shape *shape, bool inverted)
{
    shape->kind = SG_OUTPUT_BINARY;
    return shape_add_label(shape, sg_slice_of("0"), inverted ? SG_MEANS_VIOLATION : SG_MEANS_SAFE) &&
           shape_add_label(shape, sg_slice_of("1"), inverted ? SG_MEANS_SAFE : SG_MEANS_VIOLATION);
}

/* Instructions to write 0 or 1; `weak` ones are sections marked (1) and (0). */
static bool find_binary(struct sg_slice folded, struct shape *shape, bool weak, bool *ok)
{
    struct sg_slice line;
    int number = 0, sense = 0;
    bool found = false, one = false, zero = false;
    unsigned conditional = 0;
    int open = 0; /* lines left below one that announces an answer */
    for (size_t at = 0; sg_next_line(folded, &at, &line);) {
        number++;
        sense += digit_meaning(line);
        open = shape_announces(line) ? 6 : open - (open > 0);
        unsigned digits = weak || open == 0 ? 0 : conditional_digits(line);
        conditional |= digits;
        if (digits)
            shape_note_instruction(shape, number);
        if (!weak && zero_or_one(line) && shape_announces(line)) {
            found = true;
            shape_note_instruction(shape, number);
        }
        if (weak && heading_text(line).len > 0) {
            one = one || memmem(line.ptr, line.len, "(1)", 3) || sg_find_word(line, "label: 1", 0) < line.len;
            zero = zero || memmem(line.ptr, line.len, "(0)", 3) || sg_find_word(line, "label: 0", 0) < line.len;
        }
    }
    found = found || (one && zero) || conditional == 3;
    if (found)
        *ok = set_binary(shape, sense < 0);
    return found;
}

/* --- all together ------------------------------------------------------------------------------------------ */

static void find_unclear(struct sg_slice folded, struct shape *shape)
{
    static const char *const words[] = {"respond with", "return only", "return exactly",  "output format",
                                        "answer with",  "output only", "response format", "return json"};
    struct sg_slice line;
    int number = 0;
    for (size_t at = 0; shape->unclear_line == 0 && sg_next_line(folded, &at, &line);) {
        number++;
        for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
            if (sg_find_word(line, words[i], 0) < line.len)
                shape->unclear_line = number;
        }
    }
}

static void take(struct shape *shape, struct shape *part)
{
    *shape = *part;
    shape->found = true;
    *part = (struct shape){0};
}

enum sg_status shape_detect(struct sg_slice folded, struct shape *shape, struct sg_error *err)
{
    /* Big for the stack of a small thread. */
    struct shape *parts = calloc(3, sizeof *parts);
    if (!parts)
        return sg_fail(err, SG_ENOMEM, "policy: out of memory");
    struct objects objects = {.verdicts = &parts[0], .flags = &parts[1]};
    find_objects(folded, &objects);
    bool ok = !objects.failed;
    if (ok && parts[0].n_keys == 0)
        ok = prose_keys(folded, &parts[0]);
    if (ok && parts[0].n_keys == 0 && parts[1].n_keys == 0)
        ok = prose_flags(folded, &parts[1]);
    if (parts[0].n_keys > 0) {
        take(shape, &parts[0]);
        shape->kind = SG_OUTPUT_CATEGORY;
        for (size_t i = 0; i < shape->n_keys; i++) {
            if (shape->keys[i].role != SG_KEY_VIOLATION && shape->keys[i].role != SG_KEY_CATEGORY)
                shape->kind = SG_OUTPUT_RATIONALE;
        }
    } else if (parts[1].n_keys > 0) {
        take(shape, &parts[1]);
        shape->kind = SG_OUTPUT_FLAGS;
    } else if (ok && !objects.inverted) {
        bool found = find_binary(folded, &parts[2], false, &ok) || shape_find_labels(folded, &parts[2], &ok) ||
                     find_binary(folded, &parts[2], true, &ok);
        if (found)
            take(shape, &parts[2]);
    }
    if (!shape->found)
        find_unclear(folded, shape);
    for (int i = 0; i < 3; i++)
        shape_deinit(&parts[i]);
    free(parts);
    return ok ? SG_OK : sg_fail(err, SG_ENOMEM, "policy: out of memory");
}
