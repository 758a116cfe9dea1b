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
#define LABEL_MAX 48
#define LEVELS_MAX 16
#define CANDIDATES_MAX 16
#define TEMPLATES_MAX 4096 /* braces looked at: keeps hostile nesting linear */

/* --- lists ----------------------------------------------------------------------------------------------- */

char *slice_copy(struct sg_slice text)
{
    return strndup(text.len ? text.ptr : "", text.len);
}

bool shape_add_spelling(struct shape *shape, struct sg_slice text, struct sg_slice canonical, enum spelling_group group,
                        unsigned meaning)
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

static bool permit(struct shape *shape, struct sg_slice text, unsigned meaning)
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
    return permit(shape, text, meaning) && shape_add_spelling(shape, text, text, SPELLING_WORD, meaning);
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

static void note_instruction(struct shape *shape, int line)
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
    note_instruction(shape, line);
}

/* Words that announce an answer. */
static bool announces(struct sg_slice text)
{
    static const char *const words[] = {"output", "outputs", "respond", "response", "return",   "answer",  "reply",
                                        "classify", "label", "labels",  "format",   "verdict",  "decision", "one of",
                                        "classification", "write", "emit", "result", "responses", "answers", "respong"};
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
    } names[] = {{"violation", SG_KEY_VIOLATION},       {"violates", SG_KEY_VIOLATION},
                 {"violating", SG_KEY_VIOLATION},       {"violated", SG_KEY_VIOLATION},
                 {"is_violation", SG_KEY_VIOLATION},    {"is_violating", SG_KEY_VIOLATION},
                 {"policy_violation", SG_KEY_VIOLATION}, {"violates_policy", SG_KEY_VIOLATION},
                 {"flagged", SG_KEY_VIOLATION},         {"unsafe", SG_KEY_VIOLATION},
                 {"is_unsafe", SG_KEY_VIOLATION},       {"policy_category", SG_KEY_CATEGORY},
                 {"category", SG_KEY_CATEGORY},         {"categories", SG_KEY_CATEGORY},
                 {"violation_category", SG_KEY_CATEGORY}, {"violation_type", SG_KEY_CATEGORY},
                 {"violated_policy", SG_KEY_CATEGORY},  {"policy", SG_KEY_CATEGORY},
                 {"harm_category", SG_KEY_CATEGORY},    {"rule_ids", SG_KEY_RULE_IDS},
                 {"rule_id", SG_KEY_RULE_IDS},          {"rules", SG_KEY_RULE_IDS},
                 {"rule", SG_KEY_RULE_IDS},             {"violated_rules", SG_KEY_RULE_IDS},
                 {"cited_rules", SG_KEY_RULE_IDS},      {"policy_rules", SG_KEY_RULE_IDS},
                 {"confidence", SG_KEY_CONFIDENCE},     {"confidence_level", SG_KEY_CONFIDENCE},
                 {"certainty", SG_KEY_CONFIDENCE},      {"rationale", SG_KEY_RATIONALE},
                 {"reason", SG_KEY_RATIONALE},          {"reasons", SG_KEY_RATIONALE},
                 {"reasoning", SG_KEY_RATIONALE},       {"explanation", SG_KEY_RATIONALE},
                 {"justification", SG_KEY_RATIONALE},   {"analysis", SG_KEY_RATIONALE}};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        if (sg_same_word(name, sg_slice_of(names[i].name)))
            return (int)names[i].role;
    }
    return -1;
}

/* A key that says what is fine: its 1 would mean the opposite of a flag's. */
static bool inverted_key(struct sg_slice name)
{
    static const char *const names[] = {"safe", "is_safe", "allowed", "is_allowed", "valid", "is_valid", "compliant",
                                        "is_compliant", "acceptable", "permitted"};
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
    } else if (all_flags && announces((struct sg_slice){folded.ptr + at - before, before})) {
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
        if (sg_find_word(line, "json", 0) == line.len || !announces(line))
            continue;
        size_t near = at + 1200 < folded.len ? at + 1200 : folded.len, from = at - line.len - 1;
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
            int role = shape_key_role(name);
            if (role >= 0)
                ok = shape_add_key(shape, name, (enum sg_key_role)role) && ok;
            has_violation = has_violation || role == SG_KEY_VIOLATION;
            i = end;
        }
        if (!has_violation)
            shape_clear_keys(shape);
        else
            note_instruction(shape, number);
    }
    return ok;
}

/* --- 0 or 1 ---------------------------------------------------------------------------------------------- */

static bool lone_digit(struct sg_slice text, size_t at, char wanted)
{
    return at < text.len && text.ptr[at] == wanted && (at == 0 || !(sg_is_word(text.ptr[at - 1]) || text.ptr[at - 1] == '.')) &&
           (at + 1 == text.len || !(sg_is_word(text.ptr[at + 1]) ||
                                    (text.ptr[at + 1] == '.' && at + 2 < text.len && isdigit((unsigned char)text.ptr[at + 2]))));
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
            joined = joined || line.ptr[at] == '/' || line.ptr[at] == '|' || strncasecmp(line.ptr + at, "or ", 3) == 0;
            if (isalpha((unsigned char)line.ptr[at]) && strncasecmp(line.ptr + at, "or ", 3) != 0)
                break;
            at += strncasecmp(line.ptr + at, "or ", 3) == 0 ? 3 : 1;
        }
        if (joined && lone_digit(line, at, first == '0' ? '1' : '0'))
            return true;
    }
    return false;
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
    for (size_t at = 0; sg_next_line(folded, &at, &line);) {
        number++;
        sense += digit_meaning(line);
        if (!weak && zero_or_one(line) && announces(line)) {
            found = true;
            note_instruction(shape, number);
        }
        if (weak && heading_text(line).len > 0) {
            one = one || memmem(line.ptr, line.len, "(1)", 3) || sg_find_word(line, "label: 1", 0) < line.len;
            zero = zero || memmem(line.ptr, line.len, "(0)", 3) || sg_find_word(line, "label: 0", 0) < line.len;
        }
    }
    found = found || (one && zero);
    if (found)
        *ok = set_binary(shape, sense < 0);
    return found;
}

/* --- label words ------------------------------------------------------------------------------------------ */

struct candidate {
    struct sg_slice text;
    size_t at, end;
    unsigned meaning;
    bool quoted;
};

static bool is_upper_word(struct sg_slice word)
{
    size_t letters = 0;
    for (size_t i = 0; i < word.len; i++) {
        if (islower((unsigned char)word.ptr[i]) || isdigit((unsigned char)word.ptr[i]))
            return false;
        letters += isalpha((unsigned char)word.ptr[i]) != 0;
    }
    return letters >= 2;
}

static size_t upper_word_end(struct sg_slice line, size_t at)
{
    while (at < line.len && (sg_is_word(line.ptr[at]) || (line.ptr[at] == '-' && at + 1 < line.len && isupper((unsigned char)line.ptr[at + 1]))))
        at++;
    return at;
}

/* The upper-case run at `at`: "INVALID + ESCALATE", "NOT SPAM". */
static size_t upper_run(struct sg_slice line, size_t at)
{
    static const char *const joins[] = {"OR", "AND", "IF", "WITH", "THE"};
    size_t end = upper_word_end(line, at);
    if (!is_upper_word((struct sg_slice){line.ptr + at, end - at}))
        return at;
    for (;;) {
        size_t next = end;
        while (next < line.len && (line.ptr[next] == ' ' || line.ptr[next] == '+'))
            next++;
        size_t stop = upper_word_end(line, next);
        struct sg_slice word = {line.ptr + next, stop - next};
        if (next == end || !is_upper_word(word) || next - end > 3 || stop - at > LABEL_MAX)
            return end;
        for (size_t i = 0; i < sizeof joins / sizeof joins[0]; i++) {
            if (sg_same_word(word, sg_slice_of(joins[i])))
                return end;
        }
        end = stop;
    }
}

static void push(struct candidate *list, size_t *n, struct sg_slice line, size_t at, size_t end, bool quoted)
{
    struct sg_slice text = {line.ptr + at, end - at};
    if (*n < CANDIDATES_MAX && text.len >= 2 && text.len <= LABEL_MAX)
        list[(*n)++] = (struct candidate){text, at, end, sg_phrase_meaning(text), quoted};
}

/* Quoted words and upper-case runs of a line; the words of a run apart when the run as a whole says nothing. */
static size_t line_candidates(struct sg_slice line, struct candidate *list)
{
    size_t n = 0;
    for (size_t i = 0; i < line.len;) {
        char c = line.ptr[i];
        if (c == '"' || c == '`') {
            const char *close = memchr(line.ptr + i + 1, c, line.len - i - 1);
            size_t end = close ? (size_t)(close - line.ptr) : i;
            if (close && end - i - 1 <= LABEL_MAX && end > i + 1 && isalpha((unsigned char)line.ptr[i + 1])) {
                push(list, &n, line, i + 1, end, true);
                i = end + 1;
                continue;
            }
            if (close && c == '"') { /* quoted prose: nothing in it is a label */
                i = end + 1;
                continue;
            }
        }
        if (isupper((unsigned char)c) && (i == 0 || !(sg_is_word(line.ptr[i - 1]) || line.ptr[i - 1] == '-'))) {
            size_t end = upper_run(line, i), word = upper_word_end(line, i);
            if (end > i && sg_phrase_meaning((struct sg_slice){line.ptr + i, end - i}) == 0)
                end = word;
            if (end > i)
                push(list, &n, line, i, end, false);
            i = end > i ? end : word > i ? word : i + 1;
            continue;
        }
        i++;
    }
    return n;
}

/* Only what enumerations have between their items, with an explanation in brackets: " (spam), " or " or ". */
static bool enumerated(struct sg_slice gap)
{
    size_t i = 0;
    bool separator = false;
    while (i < gap.len) {
        char c = gap.ptr[i];
        if (c == '(') {
            const char *close = memchr(gap.ptr + i, ')', gap.len - i);
            if (!close)
                return false;
            i = (size_t)(close - gap.ptr) + 1;
        } else if (strchr(",/|", c)) {
            separator = true;
            i++;
        } else if (strchr(" `\"*", c)) {
            i++;
        } else if (strncasecmp(gap.ptr + i, "or", 2) == 0 && i + 2 <= gap.len) {
            separator = true;
            i += 2;
        } else {
            return false;
        }
    }
    return separator;
}

struct words {
    struct {
        struct sg_slice text;
        unsigned meaning;
        bool guessed;
    } items[CANDIDATES_MAX];
    size_t n;
};

static void add_word(struct words *words, struct sg_slice text, unsigned meaning, bool guessed)
{
    for (size_t i = 0; i < words->n; i++) {
        if (sg_same_word(words->items[i].text, text))
            return;
    }
    if (words->n < CANDIDATES_MAX) {
        words->items[words->n].text = text;
        words->items[words->n].meaning = meaning;
        words->items[words->n++].guessed = guessed;
    }
}

static void take_line(struct sg_slice line, struct words *words, bool *took)
{
    struct candidate list[CANDIDATES_MAX];
    size_t n = line_candidates(line, list);
    for (size_t i = 0; i < n; i++) {
        if (list[i].meaning != 0) {
            add_word(words, list[i].text, list[i].meaning, false);
            *took = true;
            continue;
        }
        /* An unknown word between known labels is a label too: SAFE, DISPUTED or UNSAFE. */
        bool beside = (i > 0 && list[i - 1].meaning && enumerated((struct sg_slice){line.ptr + list[i - 1].end, list[i].at - list[i - 1].end})) ||
                      (i + 1 < n && list[i + 1].meaning && enumerated((struct sg_slice){line.ptr + list[i].end, list[i + 1].at - list[i].end}));
        if (beside)
            add_word(words, list[i].text, SG_MEANS_REVIEW, true);
    }
}

/* Label words on lines that announce an answer, and on list lines below one. */
static void find_words(struct sg_slice folded, struct words *words, struct shape *shape)
{
    struct sg_slice line;
    int number = 0, open = 0;
    for (size_t at = 0; sg_next_line(folded, &at, &line);) {
        number++;
        struct sg_slice text = sg_trim(line, " \t*_");
        bool heading = line.len > 0 && line.ptr[0] == '#', announced = announces(line), took = false;
        bool item = text.len > 0 && strchr("-+\"`0123456789|", text.ptr[0]);
        item = item || (line.len > 0 && strchr("-*", line.ptr[0]));
        if (announced || (open > 0 && item))
            take_line(line, words, &took);
        if (took && announced)
            note_instruction(shape, number);
        if (announced && (heading || (text.len > 0 && text.ptr[text.len - 1] == ':')))
            open = 12;
        else if (heading || (text.len > 0 && !item && !announced))
            open = 0;
        else if (open > 0)
            open--;
    }
    bool bad = false, good = false;
    for (size_t i = 0; i < words->n; i++) {
        bad = bad || (words->items[i].meaning & SG_MEANS_VIOLATION);
        good = good || (words->items[i].meaning & SG_MEANS_SAFE);
    }
    if (!bad || !good)
        words->n = 0;
}

/* --- level codes and pairs --------------------------------------------------------------------------------- */

struct levels {
    char family[8];
    bool seen[LEVELS_MAX], review[LEVELS_MAX];
    char first, second;   /* letters of a pair, 0 for none */
    char short_family[8]; /* other letters that pairs are written with, "" for none */
};

/* The code at `at` ("DC2", with '#' for any digit when `templates`): its letters' length, level in *level (-1 for
 * '#'), total length; 0 when there is none. */
static size_t code_at(struct sg_slice text, size_t at, bool templates, size_t *letters, int *level)
{
    size_t n = at;
    while (n < text.len && isupper((unsigned char)text.ptr[n]))
        n++;
    *letters = n - at;
    if (*letters == 0 || *letters > 6 || n == text.len)
        return 0;
    if (templates && text.ptr[n] == '#') {
        *level = -1;
        return n + 1 - at;
    }
    int value = 0;
    size_t digits = n;
    while (n < text.len && isdigit((unsigned char)text.ptr[n]) && n - digits < 2)
        value = value * 10 + (text.ptr[n++] - '0');
    if (n == digits || value >= LEVELS_MAX || (n < text.len && sg_is_word(text.ptr[n])) ||
        (text.ptr[digits] == '0' && n - digits > 1))
        return 0;
    *level = value;
    return n - at;
}

struct family {
    char letters[8];
    unsigned seen; /* levels as bits */
    int n_seen;
};

/* The family of bare codes with a level 0 and the most levels. */
static void find_family(struct sg_slice folded, struct levels *levels)
{
    struct family families[32] = {0};
    size_t n = 0;
    for (size_t i = 0; i < folded.len; i++) {
        size_t letters;
        int level;
        if (i > 0 && (sg_is_word(folded.ptr[i - 1]) || strchr("-./$#&@", folded.ptr[i - 1])))
            continue;
        size_t len = code_at(folded, i, false, &letters, &level);
        if (len == 0)
            continue;
        bool dotted = i + len + 1 < folded.len && folded.ptr[i + len] == '.' && sg_is_word(folded.ptr[i + len + 1]);
        bool marked = i > 0 && strchr("(`>\"|*", folded.ptr[i - 1]);
        size_t f = 0;
        while (f < n && (strncmp(families[f].letters, folded.ptr + i, letters) != 0 || families[f].letters[letters]))
            f++;
        if (f == n && n < 32 && !dotted && marked)
            memcpy(families[n++].letters, folded.ptr + i, letters);
        if (f < n && !dotted)
            families[f].seen |= 1u << level;
        i += len - 1;
    }
    int best = 1;
    for (size_t f = 0; f < n; f++) {
        int count = __builtin_popcount(families[f].seen);
        if ((families[f].seen & 1) && count > best) {
            best = count;
            memcpy(levels->family, families[f].letters, sizeof levels->family);
            for (int level = 0; level < LEVELS_MAX; level++)
                levels->seen[level] = families[f].seen >> level & 1;
        }
    }
}

/* "D-SP#" and "R-SP#", or "D-S2, R-S0" in a table of examples. */
static void find_pairs(struct sg_slice folded, struct levels *levels)
{
    for (size_t i = 0; i + 3 < folded.len; i++) {
        size_t letters;
        int level;
        if (!isupper((unsigned char)folded.ptr[i]) || folded.ptr[i + 1] != '-' || (i > 0 && sg_is_word(folded.ptr[i - 1])))
            continue;
        size_t len = code_at(folded, i + 2, true, &letters, &level);
        if (len == 0)
            continue;
        char letter = folded.ptr[i];
        if (!levels->first)
            levels->first = letter;
        else if (letter != levels->first && !levels->second)
            levels->second = letter;
        char family[8] = {0};
        memcpy(family, folded.ptr + i + 2, letters);
        if (!levels->family[0])
            memcpy(levels->family, family, sizeof family);
        else if (strcmp(levels->family, family) != 0)
            memcpy(levels->short_family, family, sizeof family);
        if (level >= 0)
            levels->seen[level] = true;
        i += 1 + len;
    }
    if (!levels->second)
        levels->first = 0;
}

/* "(SP4 – …)" above "Output: INVALID + ESCALATE": what a level's own output line adds. */
static void find_review(struct sg_slice folded, struct levels *levels)
{
    struct sg_slice line;
    int current = -1;
    size_t n = strlen(levels->family);
    for (size_t at = 0; sg_next_line(folded, &at, &line);) {
        for (size_t i = 0; i + n < line.len; i++) {
            size_t letters;
            int level;
            if (line.ptr[i] == '(' && strncmp(line.ptr + i + 1, levels->family, n) == 0 &&
                code_at(line, i + 1, false, &letters, &level) > 0 && letters == n)
                current = level;
        }
        if (current >= 0 && sg_find_word(line, "output", 0) < line.len && sg_find_word(line, "escalate", 0) < line.len)
            levels->review[current] = true;
    }
}

static unsigned level_meaning(const struct levels *levels, int level)
{
    return (level == 0 ? SG_MEANS_SAFE : SG_MEANS_VIOLATION) | (levels->review[level] ? SG_MEANS_REVIEW : 0);
}

static bool add_singles(struct shape *shape, const struct levels *levels)
{
    const char letters[2] = {levels->first, levels->second};
    const char *const families[2] = {levels->family, levels->short_family};
    bool ok = true;
    for (int level = 0; level < LEVELS_MAX; level++) {
        if (!levels->seen[level])
            continue;
        unsigned meaning = level_meaning(levels, level);
        char text[32], canonical[32];
        snprintf(text, sizeof text, "%s%d", levels->family, level);
        ok = ok && shape_add_spelling(shape, sg_slice_of(text), sg_slice_of(text), SPELLING_CODE, meaning);
        for (int pair = 0; pair < 2 && levels->second; pair++) {
            for (int family = 0; family < 2 && families[family][0]; family++) {
                snprintf(text, sizeof text, "%c-%s%d", letters[pair], families[family], level);
                snprintf(canonical, sizeof canonical, "%c-%s%d", letters[pair], levels->family, level);
                ok = ok && shape_add_spelling(shape, sg_slice_of(text), sg_slice_of(canonical),
                                              pair == 0 ? SPELLING_FIRST : SPELLING_SECOND, meaning);
            }
        }
    }
    return ok;
}

static bool permit_codes(struct shape *shape, const struct levels *levels)
{
    bool ok = true;
    for (int level = 0; level < LEVELS_MAX && ok; level++) {
        char text[32];
        snprintf(text, sizeof text, "%s%d", levels->family, level);
        if (levels->seen[level])
            ok = permit(shape, sg_slice_of(text), level_meaning(levels, level));
    }
    return ok;
}

/* All pairs of levels, written with `family`; none when they do not all fit, `reserve` places kept free. */
static bool permit_pairs(struct shape *shape, const struct levels *levels, const char *family, size_t reserve)
{
    size_t n = 0;
    for (int level = 0; level < LEVELS_MAX; level++)
        n += levels->seen[level];
    bool ok = true;
    if (!family[0] || shape->n_labels + n * n + reserve > SG_POLICY_MAX_LABELS)
        return ok;
    for (int a = 0; a < LEVELS_MAX; a++) {
        for (int b = 0; b < LEVELS_MAX && ok; b++) {
            char text[64];
            snprintf(text, sizeof text, "%c-%s%d, %c-%s%d", levels->first, family, a, levels->second, family, b);
            if (levels->seen[a] && levels->seen[b]) {
                unsigned meaning = level_meaning(levels, a) | level_meaning(levels, b);
                ok = permit(shape, sg_slice_of(text), meaning);
            }
        }
    }
    return ok;
}

/* Words, codes and pairs together. */
static bool find_labels(struct sg_slice folded, struct shape *shape, bool *ok)
{
    struct words words = {0};
    struct levels levels = {0};
    find_family(folded, &levels);
    if (levels.family[0]) {
        find_pairs(folded, &levels);
        find_review(folded, &levels);
    }
    find_words(folded, &words, shape);
    if (!levels.family[0] && words.n == 0)
        return false;
    shape->kind = SG_OUTPUT_LABELS;
    *ok = true;
    if (levels.family[0]) {
        memcpy(shape->family, levels.family, sizeof shape->family);
        shape->several_spellings = levels.second || words.n > 0;
        *ok = add_singles(shape, &levels);
        if (levels.second)
            *ok = *ok && permit_pairs(shape, &levels, levels.family, LEVELS_MAX + words.n);
        *ok = *ok && permit_codes(shape, &levels);
    }
    for (size_t i = 0; i < words.n; i++) {
        struct sg_slice text = words.items[i].text;
        shape->guessed = shape->guessed || words.items[i].guessed;
        *ok = *ok && shape_add_label(shape, text, words.items[i].meaning);
        const char *plus = memchr(text.ptr, '+', text.len);
        if (plus) {
            struct sg_slice extra = sg_trim((struct sg_slice){plus + 1, text.len - (size_t)(plus + 1 - text.ptr)}, " ");
            *ok = *ok && shape_add_spelling(shape, extra, extra, SPELLING_EXTRA, SG_MEANS_REVIEW);
        }
    }
    if (levels.second)
        *ok = *ok && permit_pairs(shape, &levels, levels.short_family, 0);
    return true;
}

/* --- all together ------------------------------------------------------------------------------------------ */

static void find_unclear(struct sg_slice folded, struct shape *shape)
{
    static const char *const words[] = {"respond with", "return only", "return exactly", "output format",
                                        "answer with", "output only", "response format", "return json"};
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
        bool found = find_binary(folded, &parts[2], false, &ok) || find_labels(folded, &parts[2], &ok) ||
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
