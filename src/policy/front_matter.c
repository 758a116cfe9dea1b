/* The optional YAML block between two "---" lines at the top of a policy. */
#include "policy/policy_internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <strings.h>
#include <yaml.h>

#define FRONT_MATTER_MAX (64u << 10)

static const char *const known_keys[] = {"id",     "name",       "effort",    "output",
                                         "labels", "categories", "undecided", "current_date"};
#define KNOWN_KEYS "id, name, effort, output, labels, categories, undecided, current_date"
#define N_KNOWN_KEYS (sizeof known_keys / sizeof known_keys[0])

struct reader {
    yaml_document_t *document;
    const char *where;
    struct sg_error *err;
};

static int line_of(const yaml_node_t *node)
{
    return (int)node->start_mark.line + 2; /* behind the opening line, from 1 */
}

static enum sg_status expected(const struct reader *reader, const yaml_node_t *node, const char *key,
                               const char *wanted)
{
    if (node->type == YAML_SCALAR_NODE)
        return sg_fail(reader->err, SG_EFORMAT, "%s: line %d: %s is \"%.60s\", expected %s", reader->where,
                       line_of(node), key, (const char *)node->data.scalar.value, wanted);
    return sg_fail(reader->err, SG_EFORMAT, "%s: line %d: %s is a %s, expected %s", reader->where, line_of(node), key,
                   node->type == YAML_MAPPING_NODE ? "mapping" : "list", wanted);
}

/* Index of a scalar in `words`, -1 when it is none of them or no scalar. */
static int choice(const yaml_node_t *node, const char *const *words, int n)
{
    for (int i = 0; node->type == YAML_SCALAR_NODE && i < n; i++) {
        if (strcasecmp((const char *)node->data.scalar.value, words[i]) == 0)
            return i;
    }
    return -1;
}

static int truth(const yaml_node_t *node)
{
    static const char *const words[] = {"no", "yes", "false", "true"};
    int i = choice(node, words, 4);
    return i < 0 ? -1 : i & 1;
}

static enum sg_status text_value(const struct reader *reader, const yaml_node_t *node, const char *key, size_t max,
                                 char **out)
{
    char wanted[48];
    snprintf(wanted, sizeof wanted, "a text of 1 to %zu bytes", max);
    if (node->type != YAML_SCALAR_NODE || node->data.scalar.length == 0 || node->data.scalar.length > max ||
        strlen((const char *)node->data.scalar.value) != node->data.scalar.length)
        return expected(reader, node, key, wanted);
    *out = slice_copy((struct sg_slice){(const char *)node->data.scalar.value, node->data.scalar.length});
    return *out ? SG_OK : sg_fail(reader->err, SG_ENOMEM, "policy: out of memory");
}

/* {violation: yes, review: no}, or one of violates, safe, review. */
static enum sg_status label_meaning(const struct reader *reader, const yaml_node_t *node, const char *word,
                                    unsigned *meaning_out)
{
    static const char *const short_forms[] = {"violates", "safe", "review"};
    static const unsigned meanings[] = {SG_MEANS_VIOLATION, SG_MEANS_SAFE, SG_MEANS_REVIEW};
    static const char *const wanted = "violates, safe, review or a mapping {violation: yes|no, review: yes|no}";
    int i = choice(node, short_forms, 3);
    if (i >= 0) {
        *meaning_out = meanings[i];
        return SG_OK;
    }
    if (node->type != YAML_MAPPING_NODE)
        return expected(reader, node, word, wanted);
    int violation = -1, review = -1;
    for (yaml_node_pair_t *pair = node->data.mapping.pairs.start; pair < node->data.mapping.pairs.top; pair++) {
        const yaml_node_t *key = yaml_document_get_node(reader->document, pair->key);
        const yaml_node_t *value = yaml_document_get_node(reader->document, pair->value);
        static const char *const fields[] = {"violation", "review"};
        int field = choice(key, fields, 2), answer = truth(value);
        if (field < 0)
            return expected(reader, key, "a key of a label", "violation or review");
        if (answer < 0)
            return expected(reader, value, fields[field], "yes or no");
        int *slot = field == 0 ? &violation : &review;
        if (*slot >= 0)
            return expected(reader, key, fields[field], "every key of a label once");
        *slot = answer;
    }
    if (violation < 0)
        return sg_fail(reader->err, SG_EFORMAT, "%s: line %d: label %.60s has no violation, expected %s",
                       reader->where, line_of(node), word, wanted);
    *meaning_out = (violation ? SG_MEANS_VIOLATION : SG_MEANS_SAFE) | (review > 0 ? SG_MEANS_REVIEW : 0);
    return SG_OK;
}

static enum sg_status labels_value(const struct reader *reader, const yaml_node_t *node, struct front_matter *out)
{
    if (node->type != YAML_MAPPING_NODE)
        return expected(reader, node, "labels", "a mapping of label words");
    for (yaml_node_pair_t *pair = node->data.mapping.pairs.start; pair < node->data.mapping.pairs.top; pair++) {
        const yaml_node_t *key = yaml_document_get_node(reader->document, pair->key);
        const yaml_node_t *value = yaml_document_get_node(reader->document, pair->value);
        char *word;
        enum sg_status status = text_value(reader, key, "a label", 64, &word);
        if (status != SG_OK)
            return status;
        struct sg_slice text = sg_slice_of(word);
        if (out->labels.n == SG_POLICY_MAX_LABELS)
            status = sg_fail(reader->err, SG_ELIMIT, "%s: line %d: more than %d labels", reader->where, line_of(key),
                             SG_POLICY_MAX_LABELS);
        else if (strings_has(&out->labels, text, NULL))
            status = sg_fail(reader->err, SG_EFORMAT, "%s: line %d: label %s stands twice, expected once",
                             reader->where, line_of(key), word);
        else
            status = label_meaning(reader, value, word, &out->label_meanings[out->labels.n]);
        if (status == SG_OK)
            strings_add(&out->labels, text);
        free(word);
        if (status != SG_OK)
            return status;
    }
    return SG_OK;
}

static enum sg_status categories_value(const struct reader *reader, const yaml_node_t *node, struct front_matter *out)
{
    if (node->type != YAML_SEQUENCE_NODE)
        return expected(reader, node, "categories", "a list of names");
    for (yaml_node_item_t *item = node->data.sequence.items.start; item < node->data.sequence.items.top; item++) {
        const yaml_node_t *entry = yaml_document_get_node(reader->document, *item);
        char *name;
        enum sg_status status = text_value(reader, entry, "a category", 64, &name);
        if (status != SG_OK)
            return status;
        if (out->categories.n == POLICY_MAX_KEYS)
            status = sg_fail(reader->err, SG_ELIMIT, "%s: line %d: more than %d categories", reader->where,
                             line_of(entry), POLICY_MAX_KEYS);
        else if (strings_has(&out->categories, sg_slice_of(name), NULL))
            status = sg_fail(reader->err, SG_EFORMAT, "%s: line %d: category %s stands twice, expected once",
                             reader->where, line_of(entry), name);
        else
            strings_add(&out->categories, sg_slice_of(name));
        free(name);
        if (status != SG_OK)
            return status;
    }
    return SG_OK;
}

static enum sg_status one_key(const struct reader *reader, int key, const yaml_node_t *value,
                              struct front_matter *out)
{
    static const char *const efforts[] = {"low", "medium", "high"};
    static const char *const outputs[] = {"binary", "category", "rationale", "labels", "flags"};
    static const char *const actions[] = {"block", "allow", "queue"};
    switch (key) {
    case 0: {
        enum sg_status status = text_value(reader, value, "id", 128, &out->id);
        for (const char *c = out->id; status == SG_OK && *c; c++) {
            if (!isalnum((unsigned char)*c) && !strchr("._-/", *c))
                return expected(reader, value, "id", "letters, digits and . _ - /");
        }
        return status;
    }
    case 1:
        return text_value(reader, value, "name", 256, &out->name);
    case 2: {
        int effort = choice(value, efforts, 3);
        if (effort < 0)
            return expected(reader, value, "effort", "low, medium or high");
        out->effort = slice_copy(sg_slice_of(efforts[effort]));
        return out->effort ? SG_OK : sg_fail(reader->err, SG_ENOMEM, "policy: out of memory");
    }
    case 3:
        out->output = choice(value, outputs, 5);
        return out->output >= 0 ? SG_OK
                                : expected(reader, value, "output", "binary, category, rationale, labels or flags");
    case 4:
        return labels_value(reader, value, out);
    case 5:
        return categories_value(reader, value, out);
    case 6:
        out->undecided = choice(value, actions, 3);
        return out->undecided >= 0 ? SG_OK : expected(reader, value, "undecided", "block, allow or queue");
    default:
        out->wants_date = truth(value);
        return out->wants_date >= 0 ? SG_OK : expected(reader, value, "current_date", "true or false");
    }
}

static enum sg_status read_mapping(const struct reader *reader, const yaml_node_t *root, struct front_matter *out)
{
    bool seen[N_KNOWN_KEYS] = {false};
    for (yaml_node_pair_t *pair = root->data.mapping.pairs.start; pair < root->data.mapping.pairs.top; pair++) {
        const yaml_node_t *key = yaml_document_get_node(reader->document, pair->key);
        int index = choice(key, known_keys, N_KNOWN_KEYS);
        if (index < 0)
            return expected(reader, key, "a key", "one of " KNOWN_KEYS);
        if (seen[index])
            return expected(reader, key, "a second key", "every key once");
        seen[index] = true;
        enum sg_status status = one_key(reader, index, yaml_document_get_node(reader->document, pair->value), out);
        if (status != SG_OK)
            return status;
    }
    return out->categories.failed || out->labels.failed ? sg_fail(reader->err, SG_ENOMEM, "policy: out of memory")
                                                        : SG_OK;
}

/* The first line behind the rule reads like a key of ours, so that a slip in it is an error and not prose. */
static bool looks_meant(struct sg_slice block)
{
    for (size_t i = 0; i < N_KNOWN_KEYS; i++) {
        size_t n = strlen(known_keys[i]);
        if (block.len > n && strncmp(block.ptr, known_keys[i], n) == 0 && block.ptr[n] == ':')
            return true;
    }
    return false;
}

enum sg_status front_matter_read(const char *where, struct sg_slice text, struct front_matter *out, size_t *len_out,
                                 struct sg_error *err)
{
    *out = (struct front_matter){.output = -1, .undecided = -1, .wants_date = -1};
    *len_out = 0;
    size_t at = 0;
    struct sg_slice line;
    if (!sg_next_line(text, &at, &line) || !sg_slice_equal(sg_trim(line, " \t\r"), sg_slice_of("---")) ||
        line.ptr[0] != '-')
        return SG_OK;
    size_t start = at, end = 0;
    while (end == 0 && at < text.len && at < FRONT_MATTER_MAX) {
        size_t line_start = at;
        sg_next_line(text, &at, &line);
        struct sg_slice mark = sg_trim(line, " \t\r");
        if (sg_slice_equal(mark, sg_slice_of("---")) || sg_slice_equal(mark, sg_slice_of("...")))
            end = line_start;
    }
    struct sg_slice block = {text.ptr + start, (end ? end : text.len) - start};
    if (end == 0 && looks_meant(block))
        return sg_fail(err, SG_EFORMAT, "%s: line 1: front matter is not closed, expected a line --- within %u bytes",
                       where, FRONT_MATTER_MAX);
    if (end == 0)
        return SG_OK;

    yaml_parser_t parser;
    yaml_document_t document;
    if (!yaml_parser_initialize(&parser))
        return sg_fail(err, SG_ENOMEM, "policy: out of memory");
    yaml_parser_set_encoding(&parser, YAML_UTF8_ENCODING);
    yaml_parser_set_input_string(&parser, (const unsigned char *)block.ptr, block.len);
    enum sg_status status = SG_OK;
    if (!yaml_parser_load(&parser, &document)) {
        if (parser.error == YAML_MEMORY_ERROR)
            status = sg_fail(err, SG_ENOMEM, "policy: out of memory");
        else if (looks_meant(block))
            status = sg_fail(err, SG_EFORMAT, "%s: line %d: front matter is not YAML (%s), expected key: value lines",
                             where, (int)parser.problem_mark.line + 2, parser.problem ? parser.problem : "damaged");
        yaml_parser_delete(&parser);
        return status;
    }
    yaml_node_t *root = yaml_document_get_root_node(&document);
    if (root && root->type == YAML_MAPPING_NODE) {
        struct reader reader = {&document, where, err};
        status = read_mapping(&reader, root, out);
        *len_out = at < text.len ? at : text.len;
    }
    yaml_document_delete(&document);
    yaml_parser_delete(&parser);
    if (status != SG_OK) {
        front_matter_deinit(out);
        *len_out = 0;
    }
    return status;
}

void front_matter_deinit(struct front_matter *front)
{
    free(front->id);
    free(front->name);
    free(front->effort);
    strings_free(&front->categories);
    strings_free(&front->labels);
    front->id = front->name = front->effort = NULL;
}
