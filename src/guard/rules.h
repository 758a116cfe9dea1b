/* Rules: a policy's list of phrases and regular expressions with an action, thousands of them matched at once.
 *
 * The raw text and every reading of the normaliser are looked at; offsets are those of the raw text. A rule that
 * asks for violates or escalates counts wherever it is found; a rule that clears counts in the raw text alone,
 * because what is hidden must never help. docs/rules.md describes the file. */
#ifndef SG_GUARD_RULES_H
#define SG_GUARD_RULES_H

#include "base/buffer.h"
#include "text/normalise.h"

#define SG_RULES_MAX_BYTES (32u << 20)
#define SG_RULES_MAX 100000
#define SG_RULES_MAX_PATTERN 4096 /* bytes of a phrase or regular expression */
#define SG_RULES_MAX_NAME 128     /* bytes */
#define SG_RULES_MAX_MATCHES 64   /* listed for one text */
#define SG_RULES_MAX_PER_RULE 4   /* of those, of one rule */

/* In ascending precedence. */
enum sg_rule_action { SG_RULE_CLEAR, SG_RULE_ESCALATE, SG_RULE_VIOLATES };
const char *sg_rule_action_name(enum sg_rule_action action);

enum sg_rules_format { SG_RULES_BY_NAME, SG_RULES_YAML, SG_RULES_JSONL };

struct sg_rule {
    char *name;    /* NULL: it has none */
    char *pattern; /* the phrase or regular expression as written */
    char *note;    /* NULL: it has none */
    enum sg_rule_action action;
    bool regex;
    bool words; /* no letter, number or mark may touch the match */
    bool whole; /* the match must be the whole text, white space around it aside */
    size_t line;
};

struct sg_rules; /* immutable after opening; may be used from any thread, with a scratch for each */

/* Reads and compiles. Errors name the file, the line, the rule and the reason (for an expression that the matcher
 * refuses: the matcher's own). BY_NAME: .jsonl and .ndjson are JSON lines, everything else YAML. */
SG_MUST_CHECK enum sg_status sg_rules_open(const char *path, struct sg_rules **rules_out, struct sg_error *err);
SG_MUST_CHECK enum sg_status sg_rules_parse(const char *name, struct sg_slice text, enum sg_rules_format format,
                                            struct sg_rules **rules_out, struct sg_error *err);
void sg_rules_close(struct sg_rules *rules);

size_t sg_rules_count(const struct sg_rules *rules);
const struct sg_rule *sg_rules_at(const struct sg_rules *rules, size_t i);
const char *sg_rules_policy(const struct sg_rules *rules); /* id of the policy that they belong to, NULL for any */
const char *sg_rules_sha256(const struct sg_rules *rules); /* of the file's bytes */
/* What looks unwise, a line each: a rule that clears wherever its words stand, a doubled phrase, … */
const char *const *sg_rules_notes(const struct sg_rules *rules, size_t *n_out);

struct sg_rules_scratch;
SG_MUST_CHECK enum sg_status sg_rules_scratch_create(const struct sg_rules *rules,
                                                     struct sg_rules_scratch **scratch_out, struct sg_error *err);
void sg_rules_scratch_destroy(struct sg_rules_scratch *scratch);

#define SG_READING_RAW (-1)

struct sg_rule_found {
    size_t rule;
    int reading;                /* SG_READING_RAW or enum sg_reading */
    size_t first_byte, n_bytes; /* in the raw text */
};

struct sg_rules_result {
    bool any[SG_RULE_VIOLATES + 1];     /* by action, complete whatever the list holds */
    size_t first[SG_RULE_VIOLATES + 1]; /* the rule that gave it, the first in the file of those found */
    struct sg_rule_found found[SG_RULES_MAX_MATCHES];
    size_t n_found;
    bool more; /* there were more than are listed */
};

/* Match text (UTF-8, repaired) and its readings. `normal` must have been made of the same text with offsets. */
SG_MUST_CHECK enum sg_status sg_rules_match(const struct sg_rules *rules, struct sg_slice text,
                                            const struct sg_normal *normal, struct sg_rules_scratch *scratch,
                                            struct sg_rules_result *result, struct sg_error *err);

#endif
