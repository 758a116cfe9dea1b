#include "reasoner/answers.h"

#include <stdlib.h>

#define MAX_SPACE 8     /* bytes of white space in one place of a JSON answer: pretty-printing passes */
#define MAX_ID_CHARS 80 /* a rule id with a title behind it */
#define MAX_IDS 16
#define MAX_RATIONALE_CHARS 1200

#define HYPHEN "\xE2\x80\x91" /* U+2011: real answers have it where the policy has "-" */

static void spell(struct sg_slice text, bool typographic, struct sg_buffer *out)
{
    for (size_t i = 0; i < text.len; i++)
        if (typographic && text.ptr[i] == '-')
            sg_buffer_puts(out, HYPHEN);
        else
            sg_buffer_putc(out, text.ptr[i]);
}

static enum sg_status init_labels(struct sg_answers *answers, const struct sg_tokenizer *tokenizer, const char *lead,
                                  struct sg_error *err)
{
    size_t n_labels;
    const struct sg_label *labels = sg_policy_labels(answers->policy, &n_labels);
    struct sg_slice spellings[2 * SG_POLICY_MAX_LABELS];
    size_t ends[2 * SG_POLICY_MAX_LABELS];
    struct sg_buffer text = {0};
    answers->label_of = calloc(2 * n_labels + 1, sizeof *answers->label_of);
    if (!answers->label_of)
        return sg_fail(err, SG_ENOMEM, "out of memory for %zu labels", n_labels);
    for (size_t i = 0; i < n_labels; i++)
        for (int typographic = 0; typographic < 2; typographic++) {
            struct sg_slice label = sg_slice_of(labels[i].text);
            if (typographic && !memchr(label.ptr, '-', label.len))
                continue;
            spell(label, typographic, &text);
            answers->label_of[answers->n_spellings] = (int)i;
            ends[answers->n_spellings++] = text.len;
        }
    enum sg_status status = sg_buffer_status(&text, err);
    for (size_t i = 0; status == SG_OK && i < answers->n_spellings; i++) {
        size_t start = i ? ends[i - 1] : 0;
        spellings[i] = (struct sg_slice){text.data + start, ends[i] - start};
    }
    if (status == SG_OK)
        status = sg_label_trie_init(&answers->trie, tokenizer, lead, spellings, answers->n_spellings, err);
    sg_buffer_free(&text);
    return status;
}

static enum sg_status init_grammar(struct sg_answers *answers, struct sg_error *err)
{
    static const struct sg_slice zero_one[] = {{"0", 1}, {"1", 1}};
    static const struct sg_slice confidence[] = {{"\"low\"", 5}, {"\"medium\"", 8}, {"\"high\"", 6}};
    size_t n;
    const struct sg_output_key *keys = sg_policy_keys(answers->policy, &n);
    struct sg_json_field *fields = calloc(n + 1, sizeof *fields);
    if (!fields)
        return sg_fail(err, SG_ENOMEM, "out of memory for %zu keys", n);
    for (size_t i = 0; i < n; i++) {
        struct sg_json_field *field = &fields[i];
        field->key = sg_slice_of(keys[i].name);
        switch (keys[i].role) {
        case SG_KEY_VIOLATION:
        case SG_KEY_FLAG:
            *field = (struct sg_json_field){field->key, SG_JSON_CHOICE, false, zero_one, 2, 0, 0};
            break;
        case SG_KEY_CONFIDENCE:
            *field = (struct sg_json_field){field->key, SG_JSON_CHOICE, false, confidence, 3, 0, 0};
            break;
        case SG_KEY_CATEGORY:
            *field = (struct sg_json_field){field->key, SG_JSON_STRING, true, NULL, 0, MAX_ID_CHARS, 0};
            break;
        case SG_KEY_RULE_IDS:
            *field = (struct sg_json_field){field->key, SG_JSON_STRINGS, false, NULL, 0, MAX_ID_CHARS, MAX_IDS};
            break;
        case SG_KEY_RATIONALE:
            *field = (struct sg_json_field){field->key, SG_JSON_STRING, false, NULL, 0, MAX_RATIONALE_CHARS, 0};
            break;
        }
    }
    enum sg_status status = sg_json_grammar_create(fields, n, MAX_SPACE, &answers->grammar, err);
    free(fields);
    return status;
}

enum sg_status sg_answers_init(struct sg_answers *answers, const struct sg_policy *policy,
                               const struct sg_tokenizer *tokenizer, const char *lead, struct sg_error *err)
{
    *answers = (struct sg_answers){.policy = policy};
    enum sg_output_kind kind = sg_policy_output(policy);
    bool labels = kind == SG_OUTPUT_BINARY || kind == SG_OUTPUT_LABELS;
    enum sg_status status = labels ? init_labels(answers, tokenizer, lead, err) : init_grammar(answers, err);
    if (status != SG_OK)
        sg_answers_deinit(answers);
    return status;
}

void sg_answers_deinit(struct sg_answers *answers)
{
    sg_label_trie_deinit(&answers->trie);
    sg_json_grammar_destroy(answers->grammar);
    free(answers->label_of);
    *answers = (struct sg_answers){0};
}
