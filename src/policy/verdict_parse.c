/* A model's answer → decision. One reader for constrained answers and for those of models that nothing held back.
 *
 * The rule throughout: an answer counts only when all that was found in it agrees. Two labels of opposite meaning, a
 * safe answer with a violated category, a damaged or doubled JSON key, a claim that there was no content: undecided,
 * with a reason that never quotes the answer. */
#include "base/utf8.h"
#include "policy/policy_internal.h"
#include "safeguard/verdict.h"

#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

#define ANSWER_MAX (256u << 10)
#define OBJECTS_MAX 8
#define IDS_MAX 64

struct answer {
    const struct sg_policy *policy;
    struct sg_verdict *verdict;
    struct sg_buffer folded; /* typographic variants folded */
    struct sg_buffer plain;  /* without markdown marks as well, blanks collapsed */
    struct strings labels, rule_ids, unknown_ids;
    unsigned groups[SPELLING_EXTRA + 1]; /* meanings found, by group of spelling */
    bool violates, safe, review;
    bool asks;          /* a label that says nothing but "let a person look" */
    const char *reason; /* set: undecided */
    bool no_memory;
};

static void undecided(struct answer *answer, const char *reason)
{
    if (!answer->reason)
        answer->reason = reason;
}

static void vote(struct answer *answer, unsigned meaning)
{
    answer->violates = answer->violates || (meaning & SG_MEANS_VIOLATION);
    answer->safe = answer->safe || (meaning & SG_MEANS_SAFE);
}

static void set_text(struct answer *answer, char **field, struct sg_slice text)
{
    free(*field);
    *field = slice_copy(text);
    answer->no_memory = answer->no_memory || !*field;
}

/* --- rule ids ------------------------------------------------------------------------------------------- */

static void cite(struct answer *answer, struct sg_slice written, bool only_ids)
{
    struct sg_buffer folded = {0};
    sg_fold(sg_trim(written, " \t\n\"'`*"), &folded);
    struct sg_slice text = {sg_buffer_text(&folded), folded.len};
    const struct rule_ids *rules = &answer->policy->rules;
    bool is_id = false;
    int known = rule_ids_cited(rules, text, &is_id);
    if (known >= 0 && answer->rule_ids.n < IDS_MAX)
        strings_add_unique(&answer->rule_ids, sg_slice_of(rules->items[known].text));
    else if (known < 0 && (is_id || !only_ids) && text.len > 0 && answer->unknown_ids.n < IDS_MAX)
        strings_add_unique(&answer->unknown_ids, sg_trim(written, " \t\n\"'`*"));
    answer->no_memory = answer->no_memory || folded.failed;
    sg_buffer_free(&folded);
}

/* "H2.d, H2.f - Title": each id of a list in one string; text without any is one citation. */
static void cite_list(struct answer *answer, struct sg_slice text)
{
    size_t start = 0;
    for (size_t i = 0; i <= text.len; i++) {
        if (i < text.len && text.ptr[i] != ',' && text.ptr[i] != ';' && text.ptr[i] != '\n')
            continue;
        struct sg_slice part = sg_trim((struct sg_slice){text.ptr + start, i - start}, " \t\n");
        bool is_id = false;
        rule_ids_cited(&answer->policy->rules, part, &is_id);
        if (start > 0 && !is_id)
            continue; /* a title with a comma in it */
        if (part.len > 0)
            cite(answer, part, false);
        start = i + 1;
    }
}

/* Ids that prose around a label cites. */
static void cite_prose(struct answer *answer)
{
    struct rule_ids found = {0};
    rule_ids_find((struct sg_slice){sg_buffer_text(&answer->plain), answer->plain.len}, &found);
    for (size_t i = 0; i < found.n; i++) {
        struct sg_slice id = sg_slice_of(found.items[i].text);
        bool label = false;
        for (size_t s = 0; s < answer->policy->shape.n_spellings && !label; s++)
            label = sg_same_word(id, sg_slice_of(answer->policy->shape.spellings[s].text));
        if (!label)
            cite(answer, id, true);
    }
    answer->no_memory = answer->no_memory || found.failed;
    rule_ids_free(&found);
}

/* --- label words in text ----------------------------------------------------------------------------------- */

/* Drop markdown marks, blanks around '+' and all but one blank of a run, so that spellings compare plainly. */
static void make_plain(struct sg_slice text, struct sg_buffer *out)
{
    for (size_t i = 0; i < text.len; i++) {
        char c = text.ptr[i], last = out->len ? out->data[out->len - 1] : '\n';
        char next = i + 1 < text.len ? text.ptr[i + 1] : '\n';
        if (c == '*' || c == '`' || c == '~' ||
            (c == '_' && !(isalnum((unsigned char)last) && isalnum((unsigned char)next))))
            continue;
        if (c == '\n') {
            if (last == ' ')
                out->data[--out->len] = '\0';
            sg_buffer_putc(out, '\n');
        } else if (isspace((unsigned char)c) || c == '\0') {
            if (last != ' ' && last != '\n' && last != '+')
                sg_buffer_putc(out, ' ');
        } else {
            if (c == '+' && last == ' ')
                out->data[--out->len] = '\0';
            sg_buffer_putc(out, c);
        }
    }
}

static bool joins(char a, char b)
{
    return (sg_is_word(a) && sg_is_word(b)) || ((a & 0x80) && (b & 0x80));
}

/* Length of `spelling` at `at` of plain text, 0 when it is not there; *same_case tells whether letters agree. */
static size_t match(struct sg_slice text, size_t at, const struct spelling *spelling, bool *same_case)
{
    size_t i = at;
    const char *s = spelling->text;
    *same_case = true;
    for (; *s; s++) {
        if (*s == ' ' && (s[1] == '+' || (s > spelling->text && s[-1] == '+')))
            continue;
        if (i == text.len)
            return 0;
        char c = text.ptr[i] == '\n' ? ' ' : text.ptr[i];
        if (tolower((unsigned char)c) != tolower((unsigned char)*s))
            return 0;
        *same_case = *same_case && c == *s;
        i++;
    }
    char first = spelling->text[0], last = s[-1], before = at ? text.ptr[at - 1] : '\n';
    if (joins(before, first) || (before == '-' && at > 1 && joins(text.ptr[at - 2], first)))
        return 0;
    if (i == text.len)
        return i - at;
    char after = text.ptr[i], beyond = i + 1 < text.len ? text.ptr[i + 1] : '\n';
    bool rule = spelling->group != SPELLING_WORD && after == '.' && isalnum((unsigned char)beyond);
    if (joins(last, after) || (after == '-' && sg_is_word(beyond)) || (after == '.' && sg_is_word(beyond) && !rule))
        return 0;
    return i - at;
}

static bool line_start(struct sg_slice text, size_t at)
{
    while (at > 0 && strchr(" \"'>#-:", text.ptr[at - 1]) && text.ptr[at - 1])
        at--;
    return at == 0 || text.ptr[at - 1] == '\n';
}

static void take_spelling(struct answer *answer, const struct spelling *spelling)
{
    answer->groups[spelling->group] |= spelling->meaning;
    answer->asks = answer->asks || spelling->meaning == SG_MEANS_REVIEW;
    if (spelling->group != SPELLING_EXTRA)
        strings_add_unique(&answer->labels, sg_slice_of(spelling->canonical));
}

/* Find every label in plain text, longest first, negated ones aside. `valid` in a sentence is an ordinary word when
 * the label is VALID: a lower-case spelling of a safe label counts only where nothing better does. */
static void find_labels(struct answer *answer, struct sg_slice text)
{
    const struct shape *shape = &answer->policy->shape;
    const struct spelling *weak = NULL;
    bool strong = false;
    for (size_t i = 0; i < text.len;) {
        const struct spelling *best = NULL;
        size_t best_len = 0;
        bool exact = false, same_case;
        for (size_t s = 0; s < shape->n_spellings; s++) {
            size_t len = match(text, i, &shape->spellings[s], &same_case);
            if (len > best_len) {
                best = &shape->spellings[s];
                best_len = len;
                exact = same_case;
            }
        }
        if (!best) {
            i++;
            continue;
        }
        bool negated = !line_start(text, i) && sg_negated(text, i);
        bool prose = !exact && !line_start(text, i) && (best->meaning & SG_MEANS_SAFE);
        if (!negated && prose) {
            weak = best;
        } else if (!negated) {
            take_spelling(answer, best);
            strong = true;
        }
        i += best_len;
    }
    if (!strong && weak)
        take_spelling(answer, weak);
}

/* What the labels found amount to. In a pair the higher severity wins; everything else must agree. */
static void judge_labels(struct answer *answer)
{
    unsigned first = answer->groups[SPELLING_FIRST], second = answer->groups[SPELLING_SECOND], all = 0;
    for (int group = 0; group <= SPELLING_EXTRA; group++) {
        unsigned meaning = answer->groups[group];
        all |= meaning;
        if ((meaning & SG_MEANS_SAFE) && (meaning & SG_MEANS_VIOLATION))
            undecided(answer, "the answer holds labels that contradict each other");
    }
    answer->review = (all & SG_MEANS_REVIEW) != 0;
    unsigned pair = (first | second) & SG_MEANS_VIOLATION;
    if (!pair && first && second)
        pair = SG_MEANS_SAFE;
    if ((first || second) && !pair)
        undecided(answer, "the answer holds one label of a pair, the policy asks for two");
    vote(answer, pair | answer->groups[SPELLING_WORD] | answer->groups[SPELLING_CODE]);
    if (all == 0)
        undecided(answer, "the answer holds no label of the policy");
    else if (answer->violates && answer->safe)
        undecided(answer, "the answer holds labels that contradict each other");
    else if (!answer->violates && !answer->safe)
        undecided(answer, "the policy's answer asks for a person");
    else if (answer->safe && answer->asks)
        undecided(answer, "the answer is a safe label and asks for a person");
}

/* --- 0 or 1 in text ---------------------------------------------------------------------------------------- */

/* "1", "1.0", "0: safe" → 0 or 1; -1 when text does not start so; -2 for another number. */
static int leading_digit(struct sg_slice text)
{
    const char *start = text.ptr;
    text = sg_trim(text, " \t\n\"'#>-()[]=:");
    if (text.len > 0 && text.ptr > start && text.ptr[-1] == '-')
        return -2; /* a negative number; a list mark has a blank behind it */
    size_t n = 0;
    while (n < text.len && (isdigit((unsigned char)text.ptr[n]) ||
                            (text.ptr[n] == '.' && n + 1 < text.len && isdigit((unsigned char)text.ptr[n + 1]))))
        n++;
    if (n == 0 || n > 8)
        return n == 0 ? -1 : -2;
    char number[9] = {0};
    memcpy(number, text.ptr, n);
    double value = strtod(number, NULL);
    char after = n < text.len ? text.ptr[n] : '\n', beyond = n + 1 < text.len ? text.ptr[n + 1] : '\n';
    if (!strchr("\n\t .,:;)-(=\"']", after) || after == '\0')
        return -1;
    if (after == ' ' && isalnum((unsigned char)beyond))
        return -1;                          /* "0 rules are …" */
    for (size_t i = n; i < text.len; i++) { /* "0, 1" */
        char c = text.ptr[i], next = i + 1 < text.len ? text.ptr[i + 1] : ' ';
        if ((c == '0' || c == '1') && c != number[0] && strchr(" ,/|", text.ptr[i - 1]) && strchr(" ,\n", next))
            return -2;
    }
    return value == 0 ? 0 : value == 1 ? 1 : -2;
}

/* The text behind "Answer:", "Violation =", "Answer (0 or 1):" at the head of a line; ptr NULL when there is none. */
static struct sg_slice behind_marker(struct sg_slice line)
{
    static const char *const words[] = {"final answer",   "answer",  "label",    "output", "violation", "violates",
                                        "classification", "verdict", "decision", "result", "final"};
    line = sg_trim(line, " \t\"'#>-");
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
        size_t n = strlen(words[i]);
        if (line.len <= n || strncasecmp(line.ptr, words[i], n) != 0 || sg_is_word(line.ptr[n]))
            continue;
        struct sg_slice rest = sg_trim((struct sg_slice){line.ptr + n, line.len - n}, " ");
        if (rest.len > 0 && rest.ptr[0] == '(') {
            const char *close = memchr(rest.ptr, ')', rest.len);
            size_t skip = close ? (size_t)(close - rest.ptr) + 1 : rest.len;
            rest = sg_trim((struct sg_slice){rest.ptr + skip, rest.len - skip}, " ");
        }
        if (rest.len > 0 && (rest.ptr[0] == ':' || rest.ptr[0] == '='))
            return (struct sg_slice){rest.ptr + 1, rest.len - 1};
    }
    return (struct sg_slice){NULL, 0};
}

/* Words in the text that speak for one side, as meanings. */
static unsigned stance(struct sg_slice text)
{
    static const char *const bad[] = {"violates", "violating", "violation", "unsafe", "invalid", "disallowed"};
    static const char *const good[] = {"safe", "valid", "compliant", "allowed", "non-violating"};
    unsigned meaning = 0;
    for (int side = 0; side < 2; side++) {
        const char *const *words = side == 0 ? bad : good;
        for (size_t i = 0; i < (side == 0 ? 6u : 5u); i++) {
            for (size_t at = 0; (at = sg_find_word(text, words[i], at)) < text.len; at++) {
                size_t end = at + strlen(words[i]);
                end += end < text.len && strchr(" \"'", text.ptr[end]) && text.ptr[end];
                bool key = end < text.len && (text.ptr[end] == ':' || text.ptr[end] == '=' || text.ptr[end] == '(');
                if (key || (at > 0 && text.ptr[at - 1] == '-'))
                    continue;
                bool against = (side == 0) != sg_negated(text, at);
                meaning |= against ? SG_MEANS_VIOLATION : SG_MEANS_SAFE;
            }
        }
    }
    for (size_t at = 0; (at = sg_find_word(text, "violate", at)) < text.len; at++)
        meaning |= sg_negated(text, at) ? SG_MEANS_SAFE : SG_MEANS_VIOLATION;
    return meaning;
}

static unsigned digit_vote(const struct answer *answer, int digit)
{
    const struct shape *shape = &answer->policy->shape;
    bool inverted = shape->kind == SG_OUTPUT_BINARY && shape->n_labels == 2 && shape->labels[0].violation;
    return (digit == 1) != inverted ? SG_MEANS_VIOLATION : SG_MEANS_SAFE;
}

static void judge_digits(struct answer *answer)
{
    struct sg_slice text = sg_trim((struct sg_slice){sg_buffer_text(&answer->plain), answer->plain.len}, " \t\n\"'"),
                    line;
    bool found = false, bad = false, first = true, zero = false, one = false;
    for (size_t at = 0; sg_next_line(text, &at, &line);) {
        struct sg_slice bare = sg_trim(line, " \t\"'.,:;!()[]"), marked = behind_marker(line);
        if (bare.len == 0)
            continue;
        bool alone = bare.len <= 3 && isdigit((unsigned char)bare.ptr[0]);
        int digit = marked.ptr ? leading_digit(marked) : alone || first ? leading_digit(line) : -1;
        if (marked.ptr && digit == -1) {
            unsigned meaning = sg_phrase_meaning(marked);
            digit = meaning == digit_vote(answer, 0) ? 0 : meaning == digit_vote(answer, 1) ? 1 : -1;
        }
        /* "1. …" and "2. …" below it number a list. */
        bad = bad || digit == -2 || (line.len > 1 && line.ptr[0] == '2' && strchr(".)", line.ptr[1]));
        found = found || digit >= 0;
        zero = zero || digit == 0;
        one = one || digit == 1;
        first = false;
    }
    unsigned phrase = sg_phrase_meaning(text);
    if (!found && !bad && (phrase == SG_MEANS_SAFE || phrase == SG_MEANS_VIOLATION)) {
        vote(answer, phrase);
        return;
    }
    if (bad)
        undecided(answer, "the answer is a number other than 0 or 1");
    else if (!found)
        undecided(answer, "the answer holds neither 0 nor 1");
    else if (zero && one)
        undecided(answer, "the answer holds both 0 and 1");
    if (!found || bad || (zero && one))
        return;
    unsigned meaning = digit_vote(answer, one), words = stance(text);
    vote(answer, meaning);
    if (words != 0 && !(words & meaning))
        undecided(answer, "the answer's words contradict its number");
    char label[2] = {one ? '1' : '0', '\0'};
    if (answer->policy->shape.kind == SG_OUTPUT_BINARY)
        strings_add_unique(&answer->labels, sg_slice_of(label));
}

/* --- JSON -------------------------------------------------------------------------------------------------- */

/* All outermost objects of `text`. -1: something that starts like one is damaged; -2: a key stands twice. */
static int find_objects(struct sg_slice text, json_t *objects[OBJECTS_MAX])
{
    int n = 0;
    for (size_t i = 0; i < text.len;) {
        size_t next = i + 1;
        while (text.ptr[i] == '{' && next < text.len && isspace((unsigned char)text.ptr[next]))
            next++;
        if (text.ptr[i] != '{' || next == text.len || !strchr("\"'}", text.ptr[next]) || !text.ptr[next]) {
            i++;
            continue;
        }
        json_error_t error;
        json_t *object =
            json_loadb(text.ptr + i, text.len - i, JSON_REJECT_DUPLICATES | JSON_DISABLE_EOF_CHECK, &error);
        if (!object || n == OBJECTS_MAX) {
            json_decref(object);
            while (n > 0)
                json_decref(objects[--n]);
            return !object && json_error_code(&error) == json_error_duplicate_key ? -2 : -1;
        }
        objects[n++] = object;
        i += (size_t)error.position;
    }
    return n;
}

/* 0 or 1 of a JSON value, -1 for anything else. */
static int truth(const json_t *value)
{
    if (json_is_boolean(value))
        return json_is_true(value);
    if (json_is_number(value)) {
        double number = json_number_value(value);
        return number == 0 ? 0 : number == 1 ? 1 : -1;
    }
    if (!json_is_string(value))
        return -1;
    unsigned meaning = sg_phrase_meaning((struct sg_slice){json_string_value(value), json_string_length(value)});
    return meaning == SG_MEANS_VIOLATION ? 1 : meaning == SG_MEANS_SAFE ? 0 : -1;
}

static struct sg_slice string_of(const json_t *value)
{
    return (struct sg_slice){json_string_value(value), json_string_length(value)};
}

static int role_of(const struct answer *answer, const char *name)
{
    const struct shape *shape = &answer->policy->shape;
    for (size_t i = 0; i < shape->n_keys; i++) {
        if (sg_same_word(sg_slice_of(shape->keys[i].name), sg_slice_of(name)))
            return (int)shape->keys[i].role;
    }
    return shape_key_role(sg_slice_of(name));
}

/* A string, or the strings of a list joined; false for null and words for it. */
static bool text_of(const json_t *value, const char *glue, struct sg_buffer *out)
{
    if (json_is_string(value)) {
        static const char *const nothing[] = {"", "null", "none", "n/a", "na", "-"};
        struct sg_slice text = sg_trim(string_of(value), " \t\n");
        for (size_t i = 0; i < sizeof nothing / sizeof nothing[0]; i++) {
            if (sg_same_word(text, sg_slice_of(nothing[i])))
                return false;
        }
        sg_buffer_append(out, text.ptr, text.len);
    } else if (json_is_array(value)) {
        for (size_t i = 0; i < json_array_size(value) && i < IDS_MAX; i++) {
            size_t len = out->len;
            if (len > 0)
                sg_buffer_puts(out, glue);
            if (json_is_array(json_array_get(value, i)) || !text_of(json_array_get(value, i), glue, out)) {
                out->len = len;
                if (out->data)
                    out->data[len] = '\0';
            }
        }
    } else if (json_is_number(value)) {
        sg_buffer_printf(out, "%g", json_number_value(value));
    }
    return out->len > 0;
}

/* What a category says of its own: a rule or level of the safe part of the policy, of the violating part, or 0. */
static unsigned category_meaning(const struct answer *answer, struct sg_slice folded)
{
    bool is_id;
    int known = rule_ids_cited(&answer->policy->rules, folded, &is_id);
    if (known >= 0 && answer->policy->rules.items[known].side != 0)
        return answer->policy->rules.items[known].side < 0 ? SG_MEANS_SAFE : SG_MEANS_VIOLATION;
    return sg_phrase_meaning(folded) & SG_MEANS_SAFE;
}

static void take_category(struct answer *answer, const json_t *value, int violation)
{
    struct sg_buffer text = {0}, folded = {0};
    bool present = text_of(value, ", ", &text);
    sg_fold((struct sg_slice){sg_buffer_text(&text), text.len}, &folded);
    struct sg_slice plain = {sg_buffer_text(&folded), folded.len};
    unsigned meaning = present ? category_meaning(answer, plain) : 0;
    if (present && violation == 0 && meaning != SG_MEANS_SAFE)
        undecided(answer, "the answer says no violation and names a category");
    if (present && violation == 1 && meaning == SG_MEANS_SAFE)
        undecided(answer, "the answer says violation and names a category of what is safe");
    if (present) {
        size_t index;
        bool is_id = false;
        int known = rule_ids_cited(&answer->policy->rules, plain, &is_id);
        if (strings_has(&answer->policy->categories, plain, &index))
            set_text(answer, &answer->verdict->category, sg_slice_of(answer->policy->categories.items[index]));
        else if (known >= 0)
            set_text(answer, &answer->verdict->category, sg_slice_of(answer->policy->rules.items[known].text));
        else
            set_text(answer, &answer->verdict->category, (struct sg_slice){text.data, text.len});
        if (is_id)
            cite_list(answer, (struct sg_slice){text.data, text.len});
    }
    answer->no_memory = answer->no_memory || text.failed || folded.failed;
    sg_buffer_free(&text);
    sg_buffer_free(&folded);
}

static void take_details(struct answer *answer, enum sg_key_role role, const json_t *value, int violation)
{
    struct sg_buffer text = {0};
    if (role == SG_KEY_CATEGORY) {
        take_category(answer, value, violation);
    } else if (role == SG_KEY_RULE_IDS && json_is_array(value)) {
        for (size_t i = 0; i < json_array_size(value) && i < IDS_MAX; i++) {
            sg_buffer_clear(&text);
            if (text_of(json_array_get(value, i), ", ", &text))
                cite_list(answer, (struct sg_slice){text.data, text.len});
        }
    } else if (role == SG_KEY_RULE_IDS && text_of(value, ", ", &text)) {
        cite_list(answer, (struct sg_slice){text.data, text.len});
    } else if (role == SG_KEY_CONFIDENCE && text_of(value, ", ", &text)) {
        set_text(answer, &answer->verdict->stated_confidence, (struct sg_slice){text.data, text.len});
    } else if (role == SG_KEY_RATIONALE && text_of(value, "\n", &text)) {
        set_text(answer, &answer->verdict->rationale, (struct sg_slice){text.data, text.len});
    }
    answer->no_memory = answer->no_memory || text.failed;
    sg_buffer_free(&text);
}

/* {"violation": …, …}. Returns false when the object has no such key. */
static bool judge_verdict_object(struct answer *answer, json_t *object)
{
    const char *name;
    json_t *value;
    int violation = -1;
    bool has_key = false;
    json_object_foreach(object, name, value)
    {
        if (role_of(answer, name) != SG_KEY_VIOLATION)
            continue;
        int one = truth(value);
        if (one < 0)
            undecided(answer, "the answer's violation is neither 0 nor 1");
        if (has_key && one != violation)
            undecided(answer, "the answer's keys contradict each other");
        violation = one;
        has_key = true;
    }
    if (!has_key)
        return false;
    vote(answer, violation == 1 ? SG_MEANS_VIOLATION : violation == 0 ? SG_MEANS_SAFE : 0);
    json_object_foreach(object, name, value)
    {
        int role = role_of(answer, name);
        if (role >= 0)
            take_details(answer, (enum sg_key_role)role, value, violation);
    }
    return true;
}

static void judge_flags_object(struct answer *answer, json_t *object)
{
    struct sg_verdict *verdict = answer->verdict;
    const char *name;
    json_t *value;
    json_object_foreach(object, name, value)
    {
        int flag = truth(value);
        bool known = false;
        for (size_t i = 0; i < verdict->n_flags; i++) {
            struct sg_flag *slot = &verdict->flags[i];
            if (!sg_same_word(sg_slice_of(slot->name), sg_slice_of(name)))
                continue;
            known = true;
            if (flag < 0)
                undecided(answer, "a flag of the answer is neither 0 nor 1");
            else if (slot->value >= 0 && slot->value != flag)
                undecided(answer, "the answer's objects contradict each other");
            else
                slot->value = flag;
        }
        int role = shape_key_role(sg_slice_of(name));
        if (!known && role > SG_KEY_VIOLATION)
            take_details(answer, (enum sg_key_role)role, value, 1);
        else if (!known && flag == 1)
            undecided(answer, "the answer sets a flag that the policy does not have");
    }
}

static void judge_flags(struct answer *answer, json_t *const *objects, int n)
{
    struct sg_verdict *verdict = answer->verdict;
    const struct shape *shape = &answer->policy->shape;
    verdict->flags = calloc(shape->n_keys + 1, sizeof *verdict->flags);
    for (size_t i = 0; verdict->flags && i < shape->n_keys; i++) {
        char *name = slice_copy(sg_slice_of(shape->keys[i].name));
        if (name)
            verdict->flags[verdict->n_flags++] = (struct sg_flag){name, -1, NAN};
    }
    if (verdict->n_flags < shape->n_keys) {
        answer->no_memory = true;
        return;
    }
    for (int i = 0; i < n; i++)
        judge_flags_object(answer, objects[i]);
    bool all = true;
    for (size_t i = 0; i < verdict->n_flags; i++) {
        all = all && verdict->flags[i].value >= 0;
        if (verdict->flags[i].value == 1)
            vote(answer, SG_MEANS_VIOLATION);
    }
    if (!answer->violates && !all)
        undecided(answer, "the answer lacks flags that the policy asks for");
    else if (!answer->violates)
        vote(answer, SG_MEANS_SAFE);
}

/* A JSON answer to a policy that asks for labels: strings that are labels as a whole count, wherever they stand. */
static void labels_in(struct answer *answer, const json_t *value)
{
    size_t index;
    json_t *item;
    if (json_is_array(value)) {
        json_array_foreach(value, index, item)
        {
            if (json_is_string(item))
                labels_in(answer, item);
        }
    } else if (json_is_string(value) && json_string_length(value) <= 80) {
        struct sg_buffer folded = {0}, plain = {0};
        sg_fold(string_of(value), &folded);
        make_plain((struct sg_slice){sg_buffer_text(&folded), folded.len}, &plain);
        find_labels(answer, sg_trim((struct sg_slice){sg_buffer_text(&plain), plain.len}, " \n"));
        answer->no_memory = answer->no_memory || folded.failed || plain.failed;
        sg_buffer_free(&folded);
        sg_buffer_free(&plain);
    }
}

static void judge_label_objects(struct answer *answer, json_t *const *objects, int n)
{
    bool binary = answer->policy->shape.kind == SG_OUTPUT_BINARY, decided = false;
    for (int i = 0; i < n; i++) {
        const char *name;
        json_t *value;
        decided = judge_verdict_object(answer, objects[i]) || decided;
        json_object_foreach(objects[i], name, value)
        {
            int role = role_of(answer, name);
            if (role == SG_KEY_RATIONALE || role == SG_KEY_CONFIDENCE || role == SG_KEY_RULE_IDS) {
                if (!decided)
                    take_details(answer, (enum sg_key_role)role, value, 1);
            } else if (role != SG_KEY_VIOLATION && !binary) {
                labels_in(answer, value);
            } else if (role < 0 && json_object_size(objects[i]) == 1 && truth(value) >= 0) {
                vote(answer, digit_vote(answer, truth(value)));
                decided = true;
            }
        }
    }
    bool any = false;
    for (int group = 0; group <= SPELLING_EXTRA; group++)
        any = any || answer->groups[group];
    if (any)
        judge_labels(answer);
    else if (!decided)
        undecided(answer, "the answer's JSON holds no label of the policy");
}

/* --- the whole --------------------------------------------------------------------------------------------- */

static void judge(struct answer *answer, struct sg_slice raw)
{
    enum sg_output_kind kind = answer->policy->shape.kind;
    json_t *objects[OBJECTS_MAX];
    struct sg_slice folded = {sg_buffer_text(&answer->folded), answer->folded.len};
    int n = find_objects(raw, objects);
    if (n == 0 || n == -1)
        n = find_objects(folded, objects);
    if (n == -1) {
        undecided(answer, "the answer's JSON is damaged or cut short");
    } else if (n == -2) {
        undecided(answer, "a key stands twice in the answer's JSON");
    } else if (n > 0 && kind == SG_OUTPUT_FLAGS) {
        judge_flags(answer, objects, n);
    } else if (n > 0 && (kind == SG_OUTPUT_LABELS || kind == SG_OUTPUT_BINARY)) {
        judge_label_objects(answer, objects, n);
    } else if (n > 0) {
        bool any = false;
        for (int i = 0; i < n; i++)
            any = judge_verdict_object(answer, objects[i]) || any;
        if (!any)
            undecided(answer, "the answer's JSON has no violation key");
    } else if (kind == SG_OUTPUT_FLAGS || memchr(folded.ptr, '{', folded.len)) {
        undecided(answer, "the answer is not the JSON object that the policy asks for");
    } else if (kind == SG_OUTPUT_LABELS) {
        find_labels(answer, (struct sg_slice){sg_buffer_text(&answer->plain), answer->plain.len});
        judge_labels(answer);
        cite_prose(answer);
    } else {
        judge_digits(answer);
        cite_prose(answer);
    }
    for (int i = 0; i < n; i++)
        json_decref(objects[i]);
}

/* "No content was supplied" is no verdict on the content that was. */
static bool claims_no_content(struct sg_slice text)
{
    static const char *const phrases[] = {"no content was",
                                          "no content provided",
                                          "no content supplied",
                                          "no content has been",
                                          "no content to evaluate",
                                          "no content to classify",
                                          "no content to assess",
                                          "no content to judge",
                                          "no content to review",
                                          "no content is provided",
                                          "no text was provided",
                                          "no input was provided",
                                          "content was not provided",
                                          "content was not supplied",
                                          "content is missing",
                                          "did not provide any content",
                                          "didn't provide any content",
                                          "haven't provided any content",
                                          "please provide the content",
                                          "no message was provided",
                                          "content is empty",
                                          "no content given",
                                          "no user content"};
    for (size_t i = 0; i < sizeof phrases / sizeof phrases[0]; i++) {
        if (sg_find_word(text, phrases[i], 0) < text.len)
            return true;
    }
    return false;
}

static void hand_list(struct strings *from, char ***items, size_t *n)
{
    for (size_t i = 0; i < *n; i++)
        free((*items)[i]);
    free(*items);
    *items = from->items;
    *n = from->n;
    *from = (struct strings){0};
}

static void clear_flags(struct sg_verdict *verdict)
{
    for (size_t i = 0; i < verdict->n_flags; i++)
        free(verdict->flags[i].name);
    free(verdict->flags);
    verdict->flags = NULL;
    verdict->n_flags = 0;
}

static void clear_text(char **field)
{
    free(*field);
    *field = NULL;
}

/* The highest violating level, "SP2" of "SP2" as of "D-SP2, R-SP0", is the category. Spellings ascend by level. */
static void category_from_labels(struct answer *answer)
{
    const struct shape *shape = &answer->policy->shape;
    for (size_t i = shape->n_spellings; i-- > 0 && !answer->verdict->category;) {
        const struct spelling *spelling = &shape->spellings[i];
        bool pair = spelling->group == SPELLING_FIRST || spelling->group == SPELLING_SECOND;
        if ((pair || spelling->group == SPELLING_CODE) && (spelling->meaning & SG_MEANS_VIOLATION) &&
            strings_has(&answer->labels, sg_slice_of(spelling->canonical), NULL))
            set_text(answer, &answer->verdict->category, sg_slice_of(spelling->canonical + (pair ? 2 : 0)));
    }
}

enum sg_status sg_verdict_parse(const struct sg_policy *policy, const char *bytes, size_t len,
                                struct sg_verdict *verdict, struct sg_error *err)
{
    struct answer answer = {.policy = policy, .verdict = verdict};
    verdict->decision = SG_UNDECIDED;
    verdict->needs_review = false;
    clear_flags(verdict);
    char **const texts[] = {&verdict->reason, &verdict->category, &verdict->stated_confidence, &verdict->rationale,
                            &verdict->output};
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++)
        clear_text(texts[i]);

    struct sg_buffer repaired = {0};
    sg_utf8_repair((struct sg_slice){bytes, len}, &repaired);
    set_text(&answer, &verdict->output, (struct sg_slice){sg_buffer_text(&repaired), repaired.len});
    struct sg_slice raw = {sg_buffer_text(&repaired), repaired.len};
    if (len > ANSWER_MAX) {
        undecided(&answer, "the answer is longer than 256 KiB");
    } else {
        sg_fold(raw, &answer.folded);
        make_plain((struct sg_slice){sg_buffer_text(&answer.folded), answer.folded.len}, &answer.plain);
        struct sg_slice plain = {sg_buffer_text(&answer.plain), answer.plain.len};
        if (sg_trim(plain, " \n\t").len == 0)
            undecided(&answer, "the answer is empty");
        else
            judge(&answer, raw);
        if (answer.violates && answer.safe)
            undecided(&answer, "the answer contradicts itself");
        if (answer.safe && claims_no_content(plain))
            undecided(&answer, "the answer claims that there was no content");
        if (!answer.violates && !answer.safe)
            undecided(&answer, "the answer holds no decision");
        category_from_labels(&answer);
    }
    if (answer.reason)
        set_text(&answer, &verdict->reason, sg_slice_of(answer.reason));
    else
        verdict->decision = answer.violates ? SG_VIOLATES : SG_DOES_NOT_VIOLATE;
    verdict->needs_review = answer.review;

    bool failed = answer.no_memory || repaired.failed || answer.folded.failed || answer.plain.failed ||
                  answer.labels.failed || answer.rule_ids.failed || answer.unknown_ids.failed;
    hand_list(&answer.labels, &verdict->labels, &verdict->n_labels);
    hand_list(&answer.rule_ids, &verdict->rule_ids, &verdict->n_rule_ids);
    hand_list(&answer.unknown_ids, &verdict->unknown_rule_ids, &verdict->n_unknown_rule_ids);
    sg_buffer_free(&repaired);
    sg_buffer_free(&answer.folded);
    sg_buffer_free(&answer.plain);
    if (failed) {
        verdict->decision = SG_UNDECIDED;
        return sg_fail(err, SG_ENOMEM, "verdict: out of memory");
    }
    return SG_OK;
}
