/* A policy document: bytes → version, front matter, prompt, output shape, rule ids. */
#include "safeguard/policy.h"

#include "base/file.h"
#include "base/utf8.h"
#include "policy/policy_internal.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#define TITLE_MAX 200

/* --- lists ----------------------------------------------------------------------------------------------- */

void strings_add(struct strings *list, struct sg_slice text)
{
    if (list->n == list->cap) {
        size_t cap = list->cap ? 2 * list->cap : 8;
        char **items = realloc(list->items, cap * sizeof *items);
        if (!items) {
            list->failed = true;
            return;
        }
        list->items = items;
        list->cap = cap;
    }
    list->items[list->n] = slice_copy(text);
    if (list->items[list->n])
        list->n++;
    else
        list->failed = true;
}

bool strings_has(const struct strings *list, struct sg_slice text, size_t *index_out)
{
    for (size_t i = 0; i < list->n; i++) {
        if (sg_same_word(sg_slice_of(list->items[i]), text)) {
            if (index_out)
                *index_out = i;
            return true;
        }
    }
    return false;
}

void strings_add_unique(struct strings *list, struct sg_slice text)
{
    if (!strings_has(list, text, NULL))
        strings_add(list, text);
}

void strings_free(struct strings *list)
{
    for (size_t i = 0; i < list->n; i++)
        free(list->items[i]);
    free(list->items);
    *list = (struct strings){0};
}

/* --- reading --------------------------------------------------------------------------------------------- */

static enum sg_status no_memory(struct sg_error *err)
{
    return sg_fail(err, SG_ENOMEM, "policy: out of memory");
}

__attribute__((format(printf, 2, 3))) static void note(struct sg_policy *policy, const char *format, ...)
{
    char text[512];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    strings_add(&policy->notes, sg_slice_of(text));
}

static enum sg_status check_text(const char *name, struct sg_slice text, struct sg_error *err)
{
    if (text.len > SG_POLICY_MAX_BYTES)
        return sg_fail(err, SG_ELIMIT, "policy %s: %zu bytes, the maximum is %u", name, text.len,
                       SG_POLICY_MAX_BYTES);
    if (text.len >= 2 && (memcmp(text.ptr, "\xFF\xFE", 2) == 0 || memcmp(text.ptr, "\xFE\xFF", 2) == 0))
        return sg_fail(err, SG_EFORMAT, "policy %s: the text is UTF-16, expected UTF-8", name);
    int line = 1;
    bool blank = true;
    for (size_t at = 0; at < text.len;) {
        int32_t code;
        size_t n = sg_utf8_decode((struct sg_slice){text.ptr + at, text.len - at}, &code);
        if (code <= 0)
            return sg_fail_at(err, SG_EFORMAT, at, "policy %s: line %d: byte 0x%02x, expected UTF-8 text", name, line,
                              (unsigned char)text.ptr[at]);
        line += code == '\n';
        blank = blank && (code == 0xFEFF || (code < 0x80 && isspace(code)));
        at += n;
    }
    return blank ? sg_fail(err, SG_EFORMAT, "policy %s: the text is empty, expected a policy", name) : SG_OK;
}

/* Front matter's own labels: they decide what is permitted; other spellings in the text stay understood. */
static bool declare_labels(struct sg_policy *policy, const struct front_matter *front)
{
    struct shape *shape = &policy->shape;
    struct shape *detected = malloc(sizeof *detected);
    if (!detected)
        return false;
    *detected = *shape;
    shape->n_labels = shape->n_spellings = 0;
    bool ok = true;
    for (size_t i = 0; i < front->labels.n && ok; i++) {
        struct sg_slice text = sg_slice_of(front->labels.items[i]);
        ok = shape_add_label(shape, text, front->label_meanings[i]);
    }
    for (size_t i = 0; i < detected->n_spellings && ok && detected->kind == SG_OUTPUT_LABELS; i++) {
        const struct spelling *old = &detected->spellings[i];
        ok = shape_add_spelling(shape, sg_slice_of(old->text), sg_slice_of(old->canonical), old->group, old->meaning);
    }
    detected->n_keys = 0; /* still the shape's */
    shape_deinit(detected);
    free(detected);
    shape->guessed = false;
    return ok;
}

/* What the front matter says of the output overrides what the text seems to say. */
static enum sg_status declare_output(struct sg_policy *policy, const char *name, const struct front_matter *front,
                                     struct sg_error *err)
{
    struct shape *shape = &policy->shape;
    int declared = front->output >= 0 ? front->output : front->labels.n > 0 ? (int)SG_OUTPUT_LABELS : -1;
    if (front->labels.n > 0 && declared != SG_OUTPUT_LABELS)
        return sg_fail(err, SG_EFORMAT, "policy %s: labels are given and output is %s, expected output: labels", name,
                       sg_output_kind_name((enum sg_output_kind)declared));
    if (declared < 0) {
        policy->detected = true;
        return SG_OK;
    }
    enum sg_output_kind kind = (enum sg_output_kind)declared;
    bool differs = shape->found && shape->kind != kind, ok = true;
    policy->declared_differs = differs;
    if (front->labels.n > 0)
        ok = declare_labels(policy, front);
    if (differs || (kind == SG_OUTPUT_FLAGS && front->categories.n > 0))
        shape_clear_keys(shape);
    if (differs && front->labels.n == 0)
        shape_clear_labels(shape);
    shape->kind = kind;
    if (kind == SG_OUTPUT_LABELS && shape->n_labels == 0)
        return sg_fail(err, SG_EFORMAT,
                       "policy %s: output is labels, but neither the front matter nor the text names "
                       "any, expected labels: {WORD: violates, …}",
                       name);
    if (kind == SG_OUTPUT_BINARY && shape->n_labels == 0)
        ok = shape_add_label(shape, sg_slice_of("0"), SG_MEANS_SAFE) &&
             shape_add_label(shape, sg_slice_of("1"), SG_MEANS_VIOLATION) && ok;
    if ((kind == SG_OUTPUT_CATEGORY || kind == SG_OUTPUT_RATIONALE) && shape->n_keys == 0)
        ok = shape_default_keys(shape, kind) && ok;
    for (size_t i = 0; kind == SG_OUTPUT_FLAGS && i < front->categories.n; i++)
        ok = shape_add_key(shape, sg_slice_of(front->categories.items[i]), SG_KEY_FLAG) && ok;
    if (kind == SG_OUTPUT_FLAGS && shape->n_keys == 0)
        return sg_fail(err, SG_EFORMAT,
                       "policy %s: output is flags, but neither categories nor the text names any, "
                       "expected categories: [name, …]",
                       name);
    return ok ? SG_OK : no_memory(err);
}

/* The instruction for a policy that has none. */
static void added_instruction(const struct sg_policy *policy, struct sg_buffer *out)
{
    const struct shape *shape = &policy->shape;
    sg_buffer_puts(out, "\n\n## Output\n\n");
    switch (shape->kind) {
    case SG_OUTPUT_BINARY:
        sg_buffer_puts(out, "Return exactly one character: 0 or 1.\n"
                            "0 = the content does not violate this policy.\n1 = the content violates this policy.\n"
                            "Write nothing else.\n");
        return;
    case SG_OUTPUT_LABELS:
        sg_buffer_puts(out, "Return exactly one of these labels and nothing else:\n");
        for (size_t i = 0; i < shape->n_labels; i++)
            sg_buffer_printf(out, "- %s\n", shape->labels[i].text);
        return;
    default:
        break;
    }
    static const char *const values[] = {[SG_KEY_VIOLATION] = "0 or 1",
                                         [SG_KEY_CATEGORY] = "\"<category or rule id, null when violation is 0>\"",
                                         [SG_KEY_RULE_IDS] = "[\"<rule id>\"]",
                                         [SG_KEY_CONFIDENCE] = "\"low, medium or high\"",
                                         [SG_KEY_RATIONALE] = "\"<one or two sentences>\"",
                                         [SG_KEY_FLAG] = "0 or 1"};
    sg_buffer_puts(out, "Return only a JSON object of this form:\n{");
    for (size_t i = 0; i < shape->n_keys; i++)
        sg_buffer_printf(out, "%s\"%s\": %s", i ? ", " : "", shape->keys[i].name, values[shape->keys[i].role]);
    sg_buffer_puts(out, "}\n1 = the content violates this policy, 0 = it does not.\n");
}

static enum sg_status make_prompt(struct sg_policy *policy, struct sg_slice body, struct sg_error *err)
{
    struct sg_buffer prompt = {0};
    sg_buffer_append(&prompt, body.ptr, body.len);
    if (policy->added) {
        while (prompt.len > 0 && isspace((unsigned char)prompt.data[prompt.len - 1]))
            prompt.len--;
        added_instruction(policy, &prompt);
    }
    policy->prompt_len = prompt.len;
    policy->prompt = sg_buffer_take(&prompt);
    return policy->prompt ? SG_OK : no_memory(err);
}

/* The first heading, else the first line. */
static char *make_title(struct sg_slice folded)
{
    struct sg_slice line, first = {0};
    for (size_t at = 0; sg_next_line(folded, &at, &line);) {
        struct sg_slice text = sg_trim(line, "#*_` \t");
        if (text.len == 0 || (first.len > 0 && line.ptr[0] != '#'))
            continue;
        bool prose = first.len == 0 && line.ptr[0] != '#' && text.len > TITLE_MAX;
        if (!prose) {
            first = text;
            break;
        }
        first = text;
    }
    if (first.len > TITLE_MAX) {
        first.len = TITLE_MAX;
        while (first.len > 0 && ((unsigned char)first.ptr[first.len] & 0xC0) == 0x80)
            first.len--;
    }
    return slice_copy(first);
}

static void make_notes(struct sg_policy *policy, const struct front_matter *front)
{
    const struct shape *shape = &policy->shape;
    const char *kind = sg_output_kind_name(shape->kind);
    if (policy->added && policy->detected)
        note(policy, "no output instruction found: one that asks for 0 or 1 was added at the end");
    else if (policy->added)
        note(policy, "no output instruction found: one for output %s was added at the end", kind);
    else if (policy->declared_differs)
        note(policy, "the front matter says output %s, the text asks for something else", kind);
    if (policy->detected && !policy->added) {
        struct sg_buffer list = {0};
        for (size_t i = 0; i < shape->n_labels && list.len < 300; i++)
            sg_buffer_printf(&list, "%s%s", i ? " | " : "", shape->labels[i].text);
        for (size_t i = 0; i < shape->n_keys && list.len < 300; i++)
            sg_buffer_printf(&list, "%s%s", i ? ", " : "", shape->keys[i].name);
        note(policy, "output detected: %s (%s%s)", kind, sg_buffer_text(&list), list.len >= 300 ? " …" : "");
        sg_buffer_free(&list);
    }
    if (shape->several_spellings && front->labels.n == 0)
        note(policy, "the text writes its labels in several spellings: all are permitted");
    if (shape->guessed)
        note(policy, "a label whose meaning is not known counts as one that asks for a person");
    if (shape->kind == SG_OUTPUT_BINARY && shape->n_labels == 2 && shape->labels[0].violation)
        note(policy, "the text says that 0 is the violation");
}

static void make_categories(struct sg_policy *policy, const struct front_matter *front)
{
    const struct shape *shape = &policy->shape;
    for (size_t i = 0; i < front->categories.n; i++)
        strings_add(&policy->categories, sg_slice_of(front->categories.items[i]));
    if (front->categories.n > 0)
        return;
    for (size_t i = 0; shape->kind == SG_OUTPUT_FLAGS && i < shape->n_keys; i++)
        strings_add(&policy->categories, sg_slice_of(shape->keys[i].name));
    for (size_t i = 0; shape->kind == SG_OUTPUT_LABELS && i < shape->n_spellings; i++) {
        if (shape->spellings[i].group == SPELLING_CODE && !(shape->spellings[i].meaning & SG_MEANS_SAFE))
            strings_add(&policy->categories, sg_slice_of(shape->spellings[i].text));
    }
}

static enum sg_status understand(struct sg_policy *policy, const char *name, struct sg_slice text,
                                 const struct front_matter *front, size_t front_len, struct sg_error *err)
{
    struct sg_slice body = {text.ptr + front_len, text.len - front_len};
    policy->first_line = 1;
    for (size_t i = 0; i < front_len; i++)
        policy->first_line += text.ptr[i] == '\n';
    while (front_len > 0 && body.len > 0 && strchr("\r\n", body.ptr[0])) {
        policy->first_line += body.ptr[0] == '\n';
        body.ptr++;
        body.len--;
    }
    enum sg_status status = check_text(name, body, err);
    if (status != SG_OK)
        return status;

    struct sg_buffer folded = {0};
    sg_fold(body, &folded);
    policy->folded_len = folded.len;
    policy->folded = sg_buffer_take(&folded);
    if (!policy->folded)
        return no_memory(err);
    struct sg_slice readable = {policy->folded, policy->folded_len};
    status = shape_detect(readable, &policy->shape, err);
    if (status != SG_OK)
        return status;
    if (!policy->shape.found)
        policy->added = true;
    if (policy->added && front->output < 0 && front->labels.n == 0 &&
        (!shape_add_label(&policy->shape, sg_slice_of("0"), SG_MEANS_SAFE) ||
         !shape_add_label(&policy->shape, sg_slice_of("1"), SG_MEANS_VIOLATION)))
        return no_memory(err);
    status = declare_output(policy, name, front, err);
    if (status != SG_OK)
        return status;

    rule_ids_find(readable, &policy->rules);
    policy->rule_texts = calloc(policy->rules.n + 1, sizeof *policy->rule_texts);
    policy->title = front->name ? slice_copy(sg_slice_of(front->name)) : make_title(readable);
    policy->id = slice_copy(sg_slice_of(front->id ? front->id : name));
    policy->effort = front->effort ? slice_copy(sg_slice_of(front->effort)) : NULL;
    if (policy->rules.failed || !policy->rule_texts || !policy->title || !policy->id ||
        (front->effort && !policy->effort))
        return no_memory(err);
    for (size_t i = 0; i < policy->rules.n; i++)
        policy->rule_texts[i] = policy->rules.items[i].text;
    policy->undecided = front->undecided >= 0 ? (enum sg_undecided_action)front->undecided : SG_UNDECIDED_BLOCK;
    policy->wants_date = front->wants_date == 1;
    make_categories(policy, front);
    make_notes(policy, front);
    if (policy->categories.failed || policy->notes.failed)
        return no_memory(err);
    return make_prompt(policy, body, err);
}

enum sg_status sg_policy_parse(const char *name, const char *bytes, size_t len, struct sg_policy **policy_out,
                               struct sg_error *err)
{
    *policy_out = NULL;
    struct sg_slice text = {bytes, len};
    enum sg_status status = check_text(name, text, err);
    if (status != SG_OK)
        return status;
    struct sg_policy *policy = calloc(1, sizeof *policy);
    if (!policy)
        return no_memory(err);
    sg_sha256(bytes, len, policy->sha256);
    if (len >= 3 && memcmp(bytes, "\xEF\xBB\xBF", 3) == 0)
        text = (struct sg_slice){bytes + 3, len - 3};
    char where[300];
    snprintf(where, sizeof where, "policy %.280s", name);
    struct front_matter front;
    size_t front_len;
    status = front_matter_read(where, text, &front, &front_len, err);
    if (status == SG_OK)
        status = understand(policy, name, text, &front, front_len, err);
    front_matter_deinit(&front);
    if (status != SG_OK) {
        sg_policy_close(policy);
        return status;
    }
    *policy_out = policy;
    return SG_OK;
}

enum sg_status sg_policy_open(const char *path, struct sg_policy **policy_out, struct sg_error *err)
{
    *policy_out = NULL;
    struct sg_buffer bytes = {0};
    enum sg_status status = sg_file_read(path, SG_POLICY_MAX_BYTES, &bytes, err);
    if (status == SG_OK) {
        const char *slash = strrchr(path, '/');
        char *name = slice_copy(sg_slice_of(slash && slash[1] ? slash + 1 : path));
        char *dot = name ? strrchr(name, '.') : NULL;
        if (dot && dot != name)
            *dot = '\0';
        status = name ? sg_policy_parse(name, sg_buffer_text(&bytes), bytes.len, policy_out, err) : no_memory(err);
        free(name);
    }
    sg_buffer_free(&bytes);
    return status;
}

void sg_policy_close(struct sg_policy *policy)
{
    if (!policy)
        return;
    free(policy->id);
    free(policy->title);
    free(policy->effort);
    free(policy->prompt);
    free(policy->folded);
    shape_deinit(&policy->shape);
    strings_free(&policy->categories);
    strings_free(&policy->notes);
    rule_ids_free(&policy->rules);
    free(policy->rule_texts);
    free(policy);
}

/* --- accessors ------------------------------------------------------------------------------------------- */

const char *sg_policy_id(const struct sg_policy *policy)
{
    return policy->id;
}

const char *sg_policy_title(const struct sg_policy *policy)
{
    return policy->title;
}

const char *sg_policy_sha256(const struct sg_policy *policy)
{
    return policy->sha256;
}

const char *sg_policy_prompt(const struct sg_policy *policy, size_t *len_out)
{
    *len_out = policy->prompt_len;
    return policy->prompt;
}

const char *sg_policy_effort(const struct sg_policy *policy)
{
    return policy->effort;
}

bool sg_policy_wants_date(const struct sg_policy *policy)
{
    return policy->wants_date;
}

enum sg_undecided_action sg_policy_undecided(const struct sg_policy *policy)
{
    return policy->undecided;
}

enum sg_output_kind sg_policy_output(const struct sg_policy *policy)
{
    return policy->shape.kind;
}

const char *sg_output_kind_name(enum sg_output_kind kind)
{
    static const char *const names[] = {"binary", "category", "rationale", "labels", "flags"};
    return (unsigned)kind < 5 ? names[kind] : "unknown";
}

bool sg_policy_output_detected(const struct sg_policy *policy)
{
    return policy->detected;
}

bool sg_policy_output_added(const struct sg_policy *policy)
{
    return policy->added;
}

const struct sg_label *sg_policy_labels(const struct sg_policy *policy, size_t *n_out)
{
    bool listed = policy->shape.kind == SG_OUTPUT_LABELS || policy->shape.kind == SG_OUTPUT_BINARY;
    *n_out = listed ? policy->shape.n_labels : 0;
    return policy->shape.labels;
}

const struct sg_output_key *sg_policy_keys(const struct sg_policy *policy, size_t *n_out)
{
    *n_out = policy->shape.n_keys;
    return policy->shape.keys;
}

const char *const *sg_policy_categories(const struct sg_policy *policy, size_t *n_out)
{
    *n_out = policy->categories.n;
    return (const char *const *)policy->categories.items;
}

const char *const *sg_policy_rule_ids(const struct sg_policy *policy, size_t *n_out)
{
    *n_out = policy->rules.n;
    return policy->rule_texts;
}

const char *const *sg_policy_notes(const struct sg_policy *policy, size_t *n_out)
{
    *n_out = policy->notes.n;
    return (const char *const *)policy->notes.items;
}
