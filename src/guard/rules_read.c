/* Rule files → struct sg_rule: YAML for people, JSON lines for programs. Both go through one setter of fields, which
 * knows what a rule may say. */
#include "guard/rules_internal.h"

#include <jansson.h>
#include <stdlib.h>
#include <strings.h>
#include <yaml.h>

#define FILE_KEYS "version, policy, rules"
#define RULE_KEYS "name, phrase, regex, action, words, whole, note"

/* Fields of a rule, as bits of what was seen; phrase and regex are one field with two spellings. */
enum field { FIELD_NAME, FIELD_PHRASE, FIELD_REGEX, FIELD_ACTION, FIELD_WORDS, FIELD_WHOLE, FIELD_NOTE, N_FIELDS };
static const char *const field_names[N_FIELDS] = {"name", "phrase", "regex", "action", "words", "whole", "note"};

struct reader {
    struct sg_rules *rules;
    struct sg_error *err;
    size_t line;
    bool version_seen;
};

/* "FILE: line 7: " in front of what a caller says. */
#define FAIL(reader, code, format, ...)                                                                              \
    sg_fail((reader)->err, code, "%s: line %zu: " format, (reader)->rules->name, (reader)->line, __VA_ARGS__)

static enum sg_status no_memory(const struct reader *reader)
{
    return sg_fail(reader->err, SG_ENOMEM, "%s: out of memory", reader->rules->name);
}

static int index_of(const char *word, const char *const *words, int n)
{
    for (int i = 0; i < n; i++) {
        if (strcasecmp(word, words[i]) == 0)
            return i;
    }
    return -1;
}

/* The text of a field: without white space at its ends, at least one byte, no NUL. */
static enum sg_status take_text(const struct reader *reader, const char *field, const char *text, size_t len,
                                size_t max, char **out)
{
    static const char blank[] = " \t\r\n";
    while (len > 0 && memchr(blank, text[len - 1], 4))
        len--;
    while (len > 0 && memchr(blank, *text, 4)) {
        text++;
        len--;
    }
    if (len == 0)
        return FAIL(reader, SG_EFORMAT, "%s is empty, expected a text", field);
    if (len > max)
        return FAIL(reader, SG_ELIMIT, "%s has %zu bytes, the maximum is %zu", field, len, max);
    if (memchr(text, 0, len))
        return FAIL(reader, SG_EFORMAT, "%s holds a NUL character, expected text without", field);
    *out = strndup(text, len);
    return *out ? SG_OK : no_memory(reader);
}

static enum sg_status take_truth(const struct reader *reader, const char *field, const char *text, bool *out)
{
    static const char *const words[] = {"no", "yes", "false", "true"};
    int i = index_of(text, words, 4);
    if (i < 0)
        return FAIL(reader, SG_EFORMAT, "%s is \"%.40s\", expected true or false", field, text);
    *out = i & 1;
    return SG_OK;
}

/* One field of a rule; `seen` has a bit for each field that was met. */
static enum sg_status set_field(const struct reader *reader, struct sg_rule *rule, unsigned *seen, const char *key,
                                const char *text, size_t len)
{
    static const char *const actions[] = {"clear", "escalate", "violates"}; /* as enum sg_rule_action */
    int field = index_of(key, field_names, N_FIELDS), action;
    if (field < 0)
        return FAIL(reader, SG_EFORMAT, "\"%.40s\" is no key of a rule, expected one of " RULE_KEYS, key);
    if (*seen & 1u << field)
        return FAIL(reader, SG_EFORMAT, "%s stands twice in one rule, expected once", key);
    *seen |= 1u << field;
    switch ((enum field)field) {
    case FIELD_NAME:
        return take_text(reader, key, text, len, SG_RULES_MAX_NAME, &rule->name);
    case FIELD_NOTE:
        return take_text(reader, key, text, len, SG_RULES_MAX_PATTERN, &rule->note);
    case FIELD_PHRASE:
    case FIELD_REGEX:
        if (rule->pattern)
            return FAIL(reader, SG_EFORMAT, "a rule has both %s and %s, expected one of them", "phrase", "regex");
        rule->regex = field == FIELD_REGEX;
        return take_text(reader, key, text, len, SG_RULES_MAX_PATTERN, &rule->pattern);
    case FIELD_ACTION:
        if ((action = index_of(text, actions, 3)) < 0)
            return FAIL(reader, SG_EFORMAT, "action is \"%.40s\", expected violates, escalate or clear", text);
        rule->action = (enum sg_rule_action)action;
        return SG_OK;
    case FIELD_WORDS:
        return take_truth(reader, key, text, &rule->words);
    default:
        return take_truth(reader, key, text, &rule->whole);
    }
}

/* Room for one more rule at the end of the list, zeroed; it counts once rules->n is raised. */
static struct sg_rule *next_rule(struct reader *reader, enum sg_status *status)
{
    struct sg_rules *rules = reader->rules;
    *status =
        rules->n < SG_RULES_MAX ? SG_OK : FAIL(reader, SG_ELIMIT, "more than %d rules in one file", SG_RULES_MAX);
    if (*status == SG_OK && rules->n == rules->cap) {
        size_t cap = rules->cap ? 2 * rules->cap : 64;
        struct sg_rule *items = realloc(rules->items, cap * sizeof *items);
        if (!items) {
            *status = no_memory(reader);
            return NULL;
        }
        rules->items = items;
        rules->cap = cap;
    }
    if (*status != SG_OK)
        return NULL;
    struct sg_rule *rule = &rules->items[rules->n++];
    *rule = (struct sg_rule){.line = reader->line};
    return rule;
}

static enum sg_status check_rule(const struct reader *reader, struct sg_rule *rule, unsigned seen)
{
    if (!rule->pattern)
        return FAIL(reader, SG_EFORMAT, "a rule has neither %s nor %s, expected one of them", "phrase", "regex");
    if (!(seen & 1u << FIELD_ACTION))
        return FAIL(reader, SG_EFORMAT, "rule \"%.60s\" has no action, expected violates, escalate or clear",
                    rule->name ? rule->name : rule->pattern);
    /* Words that clear wherever they stand are a password for whoever knows them. */
    if (rule->action == SG_RULE_CLEAR && !(seen & 1u << FIELD_WHOLE))
        rule->whole = true;
    return SG_OK;
}

static enum sg_status set_version(struct reader *reader, const char *text)
{
    if (strcmp(text, "1") != 0)
        return FAIL(reader, SG_EUNSUPPORTED, "version is \"%.40s\", expected 1", text);
    if (reader->version_seen)
        return FAIL(reader, SG_EFORMAT, "%s stands twice, expected once", "version");
    reader->version_seen = true;
    return SG_OK;
}

static enum sg_status set_policy(const struct reader *reader, const char *text, size_t len)
{
    if (reader->rules->policy)
        return FAIL(reader, SG_EFORMAT, "%s stands twice, expected once", "policy");
    return take_text(reader, "policy", text, len, SG_RULES_MAX_NAME, &reader->rules->policy);
}

/* --- YAML ------------------------------------------------------------------------------------------------- */

static const char *scalar(const yaml_node_t *node)
{
    return node && node->type == YAML_SCALAR_NODE ? (const char *)node->data.scalar.value : NULL;
}

static enum sg_status read_yaml_rule(struct reader *reader, yaml_document_t *document, const yaml_node_t *node)
{
    enum sg_status status;
    unsigned seen = 0;
    reader->line = node->start_mark.line + 1;
    if (node->type != YAML_MAPPING_NODE)
        return FAIL(reader, SG_EFORMAT, "a rule is no mapping, expected keys %s", RULE_KEYS);
    struct sg_rule *rule = next_rule(reader, &status);
    for (const yaml_node_pair_t *pair = node->data.mapping.pairs.start;
         status == SG_OK && pair < node->data.mapping.pairs.top; pair++) {
        const yaml_node_t *key_node = yaml_document_get_node(document, pair->key);
        const yaml_node_t *value = yaml_document_get_node(document, pair->value);
        const char *key = scalar(key_node), *text = scalar(value);
        reader->line = key_node->start_mark.line + 1;
        if (!key)
            status = FAIL(reader, SG_EFORMAT, "a key of a rule is no text, expected one of %s", RULE_KEYS);
        else if (!text)
            status = FAIL(reader, SG_EFORMAT, "%.40s is a list or mapping, expected a text", key);
        else
            status = set_field(reader, rule, &seen, key, text, value->data.scalar.length);
    }
    reader->line = node->start_mark.line + 1;
    return status == SG_OK ? check_rule(reader, rule, seen) : status;
}

static enum sg_status read_yaml_root(struct reader *reader, yaml_document_t *document, const yaml_node_t *root)
{
    enum sg_status status = SG_OK;
    bool rules_seen = false;
    reader->line = root->start_mark.line + 1;
    if (root->type != YAML_MAPPING_NODE)
        return FAIL(reader, SG_EFORMAT, "no mapping, expected keys %s", FILE_KEYS);
    for (const yaml_node_pair_t *pair = root->data.mapping.pairs.start;
         status == SG_OK && pair < root->data.mapping.pairs.top; pair++) {
        const yaml_node_t *key_node = yaml_document_get_node(document, pair->key);
        const yaml_node_t *value = yaml_document_get_node(document, pair->value);
        const char *key = scalar(key_node), *text = scalar(value);
        reader->line = key_node->start_mark.line + 1;
        if (key && strcmp(key, "rules") == 0 && value->type == YAML_SEQUENCE_NODE && !rules_seen) {
            rules_seen = true;
            for (const yaml_node_item_t *item = value->data.sequence.items.start;
                 status == SG_OK && item < value->data.sequence.items.top; item++)
                status = read_yaml_rule(reader, document, yaml_document_get_node(document, *item));
        } else if (key && strcmp(key, "rules") == 0) {
            status = FAIL(reader, SG_EFORMAT, "%s, expected one list of rules",
                          rules_seen ? "rules stands twice" : "rules is no list");
        } else if (key && text && strcmp(key, "version") == 0) {
            status = set_version(reader, text);
        } else if (key && text && strcmp(key, "policy") == 0) {
            status = set_policy(reader, text, value->data.scalar.length);
        } else {
            status = FAIL(reader, SG_EFORMAT,
                          "\"%.40s\" is no key of a rule file with that kind of value, expected "
                          "one of " FILE_KEYS,
                          key ? key : "(a list or mapping)");
        }
    }
    return status;
}

static enum sg_status read_yaml(struct reader *reader, struct sg_slice text)
{
    yaml_parser_t parser;
    yaml_document_t document;
    if (!yaml_parser_initialize(&parser))
        return no_memory(reader);
    yaml_parser_set_encoding(&parser, YAML_UTF8_ENCODING);
    yaml_parser_set_input_string(&parser, (const unsigned char *)text.ptr, text.len);
    enum sg_status status = SG_OK;
    if (!yaml_parser_load(&parser, &document)) {
        reader->line = parser.problem_mark.line + 1;
        status = parser.error == YAML_MEMORY_ERROR
                     ? no_memory(reader)
                     : FAIL(reader, SG_EFORMAT, "not YAML (%s), expected version, policy, rules",
                            parser.problem ? parser.problem : "damaged");
        yaml_parser_delete(&parser);
        return status;
    }
    yaml_node_t *root = yaml_document_get_root_node(&document);
    if (root)
        status = read_yaml_root(reader, &document, root);
    yaml_document_delete(&document);
    yaml_parser_delete(&parser);
    return status;
}

/* --- JSON lines ------------------------------------------------------------------------------------------- */

/* The value of a key as text: strings, true and false, and the version's number. */
static const char *json_text(const json_t *value, size_t *len_out)
{
    const char *text = json_is_string(value)                                      ? json_string_value(value)
                       : json_is_true(value)                                      ? "true"
                       : json_is_false(value)                                     ? "false"
                       : json_is_integer(value) && json_integer_value(value) == 1 ? "1"
                                                                                  : NULL;
    *len_out = json_is_string(value) ? json_string_length(value) : text ? strlen(text) : 0;
    return text;
}

static enum sg_status read_json_line(struct reader *reader, json_t *object)
{
    const char *key, *text;
    json_t *value;
    size_t len;
    enum sg_status status = SG_OK;
    /* A line with version or policy is the file's head, all others are rules. */
    bool head = json_object_get(object, "version") || json_object_get(object, "policy");
    unsigned seen = 0;
    struct sg_rule *rule = head ? NULL : next_rule(reader, &status);
    json_object_foreach(object, key, value)
    {
        if (status != SG_OK)
            break;
        text = json_text(value, &len);
        if (!text)
            status = FAIL(reader, SG_EFORMAT, "%.40s has the wrong type, expected a text, true or false", key);
        else if (!head)
            status = set_field(reader, rule, &seen, key, text, len);
        else if (strcmp(key, "version") == 0)
            status = set_version(reader, text);
        else if (strcmp(key, "policy") == 0)
            status = set_policy(reader, text, len);
        else
            status = FAIL(reader, SG_EFORMAT, "\"%.40s\" stands beside version or policy, expected a line of its own",
                          key);
    }
    return status == SG_OK && rule ? check_rule(reader, rule, seen) : status;
}

static enum sg_status read_jsonl(struct reader *reader, struct sg_slice text)
{
    enum sg_status status = SG_OK;
    const char *at = text.ptr, *end = text.ptr + text.len;
    for (; at < end && status == SG_OK; reader->line++) {
        const char *stop = memchr(at, '\n', (size_t)(end - at));
        size_t len = (size_t)((stop ? stop : end) - at), blank = 0;
        while (blank < len && memchr(" \t\r", at[blank], 3))
            blank++;
        if (blank < len) {
            json_error_t error;
            json_t *object = json_loadb(at, len, JSON_REJECT_DUPLICATES, &error);
            status = json_is_object(object)
                         ? read_json_line(reader, object)
                         : FAIL(reader, SG_EFORMAT, "column %d: not a JSON object, expected one rule in each line",
                                error.column > 0 && !object ? error.column : 1);
            json_decref(object);
        }
        at = stop ? stop + 1 : end;
    }
    return status;
}

enum sg_status sg_rules_read(struct sg_rules *rules, struct sg_slice text, bool jsonl, struct sg_error *err)
{
    struct reader reader = {.rules = rules, .err = err, .line = 1};
    static const char mark[] = "\xef\xbb\xbf";
    if (text.len >= 3 && memcmp(text.ptr, mark, 3) == 0)
        text = (struct sg_slice){text.ptr + 3, text.len - 3};
    return jsonl ? read_jsonl(&reader, text) : read_yaml(&reader, text);
}
