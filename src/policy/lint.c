/* Checks of a policy document against the writing guide (sections, output instruction said twice, examples of both
 * classes near the boundary, no hedging, 400–600 tokens), and against what this program can make of it. */
#include "policy/lint.h"

#include "policy/policy_internal.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

#define HEDGES_MAX 20
#define UNDEFINED_MAX 20
#define TOKENS_LOW 400
#define TOKENS_HIGH 600
#define TOKENS_MAX 10000
#define EXAMPLES_MIN 4
#define EXAMPLES_MAX 20

/* What one walk over the lines finds. */
struct survey {
    int instructions, definitions, examples; /* lines of the sections, 0 when missing */
    int n_examples, n_violating, n_safe;
    bool violates_section, safe_section;
    bool precedence, escalation;
};

struct linter {
    const struct sg_policy *policy;
    struct sg_slice text;
    struct survey survey;
    struct sg_lint *lint;
    bool failed;
};

__attribute__((format(printf, 5, 6))) static void
find(struct linter *linter, const char *code, enum sg_lint_severity severity, int line, const char *format, ...)
{
    char text[512];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    struct sg_lint *lint = linter->lint;
    struct sg_lint_finding *findings = realloc(lint->findings, (lint->n + 1) * sizeof *findings);
    char *copy = strdup(text);
    if (findings)
        lint->findings = findings;
    if (!findings || !copy) {
        free(copy);
        linter->failed = true;
        return;
    }
    if (line > 0)
        line += linter->policy->first_line - 1;
    findings[lint->n++] = (struct sg_lint_finding){code, severity, line, copy};
}

static bool has(struct sg_slice line, const char *const *words, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (sg_find_word(line, words[i], 0) < line.len)
            return true;
    }
    return false;
}
#define HAS(line, words) has(line, words, sizeof(words) / sizeof((words)[0]))

/* --- survey ------------------------------------------------------------------------------------------------ */

/* The class that an example's line gives: SG_MEANS_ bits, 0 when the line gives none. Looked for behind the last
 * arrow,
 * "=" or "|" or in a label in brackets, and in JSON. */
static unsigned example_class(const struct sg_policy *policy, struct sg_slice line)
{
    size_t tail = 0;
    for (size_t i = 0; i + 1 < line.len; i++) {
        bool arrow = strncmp(line.ptr + i, "->", 2) == 0 || strncmp(line.ptr + i, "=>", 2) == 0 ||
                     (i + 2 < line.len && strncmp(line.ptr + i, "\xE2\x86\x92", 3) == 0);
        if (arrow)
            tail = i + 2;
    }
    size_t json = sg_find_word(line, "violation", 0);
    if (json < line.len) {
        struct sg_slice value = sg_trim((struct sg_slice){line.ptr + json + 9, line.len - json - 9}, " \"':=");
        if (value.len > 0 && (value.ptr[0] == '0' || value.ptr[0] == '1'))
            return value.ptr[0] == '1' ? SG_MEANS_VIOLATION : SG_MEANS_SAFE;
    }
    if (tail == 0) { /* "Answer: 1", "| text | D-SP2, R-SP0 |", "### Example 1 (Label: 1)", "Example 3 - HR = 1" */
        static const char *const marks[] = {"answer",  "label", "output", "classification", "expected response",
                                            "verdict", "="};
        for (size_t m = 0; m < sizeof marks / sizeof marks[0] && tail == 0; m++) {
            size_t at = marks[m][0] == '=' ? 0 : sg_find_word(line, marks[m], 0);
            const char *equals = memchr(line.ptr, '=', line.len);
            if (marks[m][0] == '=')
                at = equals ? (size_t)(equals - line.ptr) : line.len;
            if (at < line.len)
                tail = at + strlen(marks[m]);
        }
        struct sg_slice trimmed = sg_trim(line, " \t");
        if (tail == 0 && trimmed.len > 2 && trimmed.ptr[0] == '|') {
            for (size_t i = (size_t)(trimmed.ptr - line.ptr) + 1; i + 1 < line.len; i++)
                tail =
                    line.ptr[i] == '|' && sg_trim((struct sg_slice){line.ptr + i + 1, line.len - i - 1}, " |").len > 0
                        ? i + 1
                        : tail;
        }
        if (tail == 0)
            return 0;
    }
    if (policy->shape.kind == SG_OUTPUT_FLAGS && memchr(line.ptr + tail, '{', line.len - tail))
        return memmem(line.ptr + tail, line.len - tail, "\": 1", 4) ? SG_MEANS_VIOLATION : SG_MEANS_SAFE;
    struct sg_slice rest = sg_trim((struct sg_slice){line.ptr + tail, line.len - tail}, " \t|:=*`\"'()->.");
    unsigned meaning = 0, safe = 0;
    for (size_t i = 0; i < policy->shape.n_spellings; i++) {
        const struct spelling *spelling = &policy->shape.spellings[i];
        size_t at = sg_find_word(rest, spelling->text, 0);
        if (at == 0 || (at < rest.len && spelling->group != SPELLING_WORD))
            meaning |= spelling->meaning;
    }
    if (meaning & SG_MEANS_VIOLATION) /* the higher of a pair */
        return SG_MEANS_VIOLATION;
    if (rest.len > 0 && (rest.ptr[0] == '0' || rest.ptr[0] == '1') && (rest.len == 1 || !sg_is_word(rest.ptr[1])))
        safe = rest.ptr[0] == '0' ? SG_MEANS_SAFE : SG_MEANS_VIOLATION;
    return meaning ? meaning & SG_MEANS_SAFE : safe ? safe : sg_phrase_meaning(rest) & 3u;
}

static void survey_heading(struct linter *linter, struct sg_slice heading, struct sg_slice line, int number,
                           bool *in_examples)
{
    static const char *const instructions[] = {"instruction", "instructions", "goal",      "task",
                                               "objective",   "overview",     "what to do"};
    static const char *const definitions[] = {"definition", "definitions", "terms", "key terms", "glossary", "scope"};
    static const char *const examples[] = {"example", "examples", "edge cases", "label format"};
    struct survey *survey = &linter->survey;
    unsigned meaning = heading_meaning(line);
    survey->violates_section = survey->violates_section || meaning == SG_MEANS_VIOLATION;
    survey->safe_section = survey->safe_section || meaning == SG_MEANS_SAFE;
    if (!survey->instructions && HAS(heading, instructions))
        survey->instructions = number;
    if (!survey->definitions && HAS(heading, definitions))
        survey->definitions = number;
    bool here = HAS(heading, examples);
    if (here && !survey->examples)
        survey->examples = number;
    *in_examples =
        here || (*in_examples && line.len > 2 && line.ptr[0] == '#' && line.ptr[1] == '#' && line.ptr[2] == '#');
}

static void take_survey(struct linter *linter)
{
    static const char *const precedence[] = {"precedence",       "takes priority", "priority",  "highest severity",
                                             "highest-severity", "wins",           "overrides", "most severe"};
    static const char *const escalation[] = {"escalate", "escalation", "manual review", "human review",  "a person",
                                             "unclear",  "ambiguity",  "ambiguous",     "when in doubt", "uncertain"};
    struct survey *survey = &linter->survey;
    struct sg_slice line;
    int number = 0;
    bool in_examples = false;
    for (size_t at = 0; sg_next_line(linter->text, &at, &line);) {
        number++;
        struct sg_slice heading = heading_text(line);
        if (heading.len > 0)
            survey_heading(linter, heading, line, number, &in_examples);
        struct sg_slice text = sg_trim(line, " \t*_");
        if (strncasecmp(text.ptr, "examples:", text.len < 9 ? text.len : 9) == 0 && text.len == 9 &&
            !survey->examples)
            survey->examples = number;
        survey->precedence = survey->precedence || HAS(line, precedence);
        survey->escalation = survey->escalation || HAS(line, escalation);
        if (strncasecmp(text.ptr, "goal:", text.len < 5 ? text.len : 5) == 0 && text.len >= 5 &&
            !survey->instructions)
            survey->instructions = number;
        unsigned class = in_examples ? example_class(linter->policy, line) : 0;
        survey->n_examples += class != 0;
        survey->n_violating += (class & SG_MEANS_VIOLATION) != 0;
        survey->n_safe += (class & SG_MEANS_SAFE) != 0;
    }
}

/* --- checks ------------------------------------------------------------------------------------------------ */

static void check_output(struct linter *linter)
{
    const struct sg_policy *policy = linter->policy;
    const struct shape *shape = &policy->shape;
    if (policy->added && shape->unclear_line > 0)
        find(linter, "output-unclear", SG_LINT_WARNING, shape->unclear_line,
             "an output instruction that was not understood, so one for %s was added: say the form in front matter "
             "(output:, labels:, categories:) or write one of the forms of docs/policies.md",
             sg_output_kind_name(shape->kind));
    else if (policy->added)
        find(linter, "no-output", SG_LINT_WARNING, 0,
             "no output instruction: one for %s is added to the prompt; write it yourself, near the top and again "
             "before the examples",
             sg_output_kind_name(shape->kind));
    if (policy->declared_differs)
        find(linter, "output-differs", SG_LINT_WARNING, 0,
             "the front matter says output: %s and the text asks for another form: make both say the same",
             sg_output_kind_name(shape->kind));
    if (!policy->added && !policy->declared_differs && shape->n_instructions > 0) {
        int first = shape->instructions[0], last = shape->instructions[shape->n_instructions - 1];
        if (last - first < 6)
            find(linter, "output-once", SG_LINT_WARNING, first,
                 "the output instruction stands in one place: repeat it near the top and again before the examples");
    }
    if (policy->detected && shape->several_spellings)
        find(linter, "label-spellings", SG_LINT_WARNING, 0,
             "the same decision has several spellings (%s … %s): choose one, or list the labels in front matter",
             shape->labels[0].text, shape->labels[shape->n_labels - 1].text);
    if (shape->guessed)
        find(linter, "label-meaning", SG_LINT_WARNING, 0,
             "a label whose meaning is not known counts as one that asks for a person: say what it means in front "
             "matter (labels: {WORD: violates})");
}

static void check_sections(struct linter *linter)
{
    const struct survey *survey = &linter->survey;
    if (!survey->instructions)
        find(
            linter, "no-instructions", SG_LINT_WARNING, 0,
            "no section that says what to do: begin with INSTRUCTIONS and say what the model must decide and answer");
    if (!survey->definitions)
        find(linter, "no-definitions", SG_LINT_WARNING, 0,
             "no section of definitions: explain the terms that the rules rest on under DEFINITIONS");
    if (!survey->violates_section)
        find(linter, "no-violates", SG_LINT_WARNING, 0,
             "no section on what violates: list it under a heading such as VIOLATES (1)");
    if (!survey->safe_section)
        find(linter, "no-safe", SG_LINT_WARNING, 0,
             "no section on what is safe: list the near misses under a heading such as SAFE (0)");
    if (!survey->examples)
        find(linter, "no-examples", SG_LINT_WARNING, 0,
             "no examples: add 4 to 6 short ones near the boundary, of both classes");
    else if (survey->n_examples > 0 && (survey->n_violating == 0 || survey->n_safe == 0))
        find(linter, "one-class", SG_LINT_WARNING, survey->examples, "all examples %s: add some that %s",
             survey->n_safe ? "are safe" : "violate", survey->n_safe ? "violate" : "are safe");
    else if (survey->n_examples == 0)
        find(linter, "examples-unlabelled", SG_LINT_NOTE, survey->examples,
             "no labelled example was recognised: write each as text -> label");
    if (survey->n_examples > 0 && survey->n_examples < EXAMPLES_MIN)
        find(linter, "few-examples", SG_LINT_NOTE, survey->examples, "%d labelled examples: 4 to 6 work best",
             survey->n_examples);
    if (survey->n_examples > EXAMPLES_MAX)
        find(linter, "many-examples", SG_LINT_NOTE, survey->examples,
             "%d labelled examples: 4 to 6 near the boundary work best", survey->n_examples);
    if (!survey->precedence)
        find(linter, "no-precedence", SG_LINT_NOTE, 0,
             "nothing says which rule wins when several apply: state the precedence");
    if (!survey->escalation)
        find(linter, "no-escalation", SG_LINT_NOTE, 0,
             "nothing says what to do when the case is unclear: name an escalation path");
}

static void check_hedging(struct linter *linter)
{
    static const char *const words[] = {"generally",
                                        "usually",
                                        "typically",
                                        "often",
                                        "sometimes",
                                        "normally",
                                        "mostly",
                                        "probably",
                                        "perhaps",
                                        "in most cases",
                                        "as appropriate",
                                        "where appropriate",
                                        "use your judgment",
                                        "use your judgement",
                                        "and so on",
                                        "etc"};
    struct sg_slice line;
    int number = 0, found = 0;
    for (size_t at = 0; sg_next_line(linter->text, &at, &line);) {
        number++;
        for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
            size_t word = sg_find_word(line, words[i], 0);
            /* A word inside quotes belongs to an example. */
            size_t quotes = 0;
            for (size_t c = 0; c < word && word < line.len; c++)
                quotes += line.ptr[c] == '"';
            if (word == line.len || quotes % 2 == 1 || found++ >= HEDGES_MAX)
                continue;
            find(linter, "hedging", SG_LINT_WARNING, number, "\"%s\" leaves the rule open: say when it holds",
                 words[i]);
        }
    }
}

static void check_rules(struct linter *linter)
{
    const struct sg_policy *policy = linter->policy;
    int found = 0;
    size_t defined = 0;
    for (size_t i = 0; i < policy->rules.n; i++)
        defined += policy->rules.items[i].defined;
    for (size_t i = 0; i < policy->rules.n; i++) {
        const struct rule_id *rule = &policy->rules.items[i];
        bool flag = false;
        for (size_t k = 0; k < policy->shape.n_keys; k++)
            flag = flag || sg_same_word(sg_slice_of(policy->shape.keys[k].name), sg_slice_of(rule->text));
        if (!rule->defined && !flag && found++ < UNDEFINED_MAX)
            find(linter, "undefined-rule", SG_LINT_WARNING, rule->line,
                 "%s is cited and nowhere defined: put it at the head of its rule, or cite another", rule->text);
    }
    bool cites = policy->shape.kind == SG_OUTPUT_CATEGORY || policy->shape.kind == SG_OUTPUT_RATIONALE;
    if (cites && defined == 0 && policy->categories.n == 0)
        find(linter, "no-rule-ids", SG_LINT_WARNING, 0,
             "the answer names a category or rule, but no rule has an id: give each one (H1.a) or list categories in "
             "front matter");
}

static void check_length(struct linter *linter, int64_t tokens, const char *tokenizer)
{
    if (!tokenizer)
        tokenizer = "an unnamed tokenizer";
    if (tokens < 0)
        find(linter, "not-counted", SG_LINT_NOTE, 0, "the length was not counted: name a model with a tokenizer");
    else if (tokens > TOKENS_MAX)
        find(linter, "too-long", SG_LINT_WARNING, 0,
             "%lld tokens (%s), about %d still work: split it into several policies", (long long)tokens, tokenizer,
             TOKENS_MAX);
    else if (tokens > TOKENS_HIGH)
        find(linter, "long", SG_LINT_NOTE, 0, "%lld tokens (%s), 400 to 600 work best: shorten it, or split it",
             (long long)tokens, tokenizer);
    else if (tokens < TOKENS_LOW)
        find(linter, "short", SG_LINT_NOTE, 0, "%lld tokens (%s), 400 to 600 work best: add definitions and examples",
             (long long)tokens, tokenizer);
    else
        find(linter, "length", SG_LINT_NOTE, 0, "%lld tokens (%s): within the 400 to 600 that work best",
             (long long)tokens, tokenizer);
}

enum sg_status sg_policy_lint(const struct sg_policy *policy, int64_t tokens, const char *tokenizer_name,
                              struct sg_lint *lint_out, struct sg_error *err)
{
    *lint_out = (struct sg_lint){0};
    struct linter linter = {.policy = policy, .text = {policy->folded, policy->folded_len}, .lint = lint_out};
    take_survey(&linter);
    check_output(&linter);
    check_sections(&linter);
    check_length(&linter, tokens, tokenizer_name);
    check_hedging(&linter);
    check_rules(&linter);
    if (linter.failed) {
        sg_lint_deinit(lint_out);
        return sg_fail(err, SG_ENOMEM, "lint: out of memory");
    }
    /* By line, findings of one line as they came. */
    for (size_t i = 1; i < lint_out->n; i++) {
        struct sg_lint_finding moved = lint_out->findings[i];
        size_t at = i;
        for (; at > 0 && lint_out->findings[at - 1].line > moved.line; at--)
            lint_out->findings[at] = lint_out->findings[at - 1];
        lint_out->findings[at] = moved;
    }
    return SG_OK;
}

void sg_lint_deinit(struct sg_lint *lint)
{
    for (size_t i = 0; i < lint->n; i++)
        free(lint->findings[i].text);
    free(lint->findings);
    *lint = (struct sg_lint){0};
}

const char *sg_lint_severity_name(enum sg_lint_severity severity)
{
    return severity == SG_LINT_WARNING ? "warning" : "note";
}
