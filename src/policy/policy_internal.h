/* What src/policy keeps to itself: the policy's parts, and the steps that fill them. */
#ifndef SG_POLICY_INTERNAL_H
#define SG_POLICY_INTERNAL_H

#include "base/buffer.h"
#include "policy/fold.h"
#include "safeguard/policy.h"

#define POLICY_MAX_KEYS 64
#define POLICY_MAX_RULE_IDS 1024
#define POLICY_MAX_INSTRUCTIONS 64
#define POLICY_MAX_SPELLINGS 192

/* List of owned strings, with the failure rule of sg_buffer. */
struct strings {
    char **items;
    size_t n, cap;
    bool failed;
};
void strings_add(struct strings *list, struct sg_slice text);
void strings_add_unique(struct strings *list, struct sg_slice text); /* without case */
bool strings_has(const struct strings *list, struct sg_slice text, size_t *index_out);
void strings_free(struct strings *list);
char *slice_copy(struct sg_slice text); /* NULL when memory is short */

/* One way to write an answer that the policy itself uses. A pair such as "D-SP2, R-SP0" is two of these. */
enum spelling_group {
    SPELLING_WORD,   /* VALID, or any label of the front matter */
    SPELLING_CODE,   /* DC2 */
    SPELLING_FIRST,  /* D-SP2 */
    SPELLING_SECOND, /* R-SP0 */
    SPELLING_EXTRA   /* ESCALATE: adds to another label, decides nothing alone */
};
struct spelling {
    char *text;
    char *canonical; /* "D-SP2" for "D-S2" */
    enum spelling_group group;
    unsigned meaning; /* SG_MEANS_… bits */
};

struct shape {
    bool found; /* the text holds an output instruction that was understood */
    enum sg_output_kind kind;
    struct sg_label labels[SG_POLICY_MAX_LABELS]; /* .text is owned */
    size_t n_labels;
    struct spelling spellings[POLICY_MAX_SPELLINGS];
    size_t n_spellings;
    struct sg_output_key keys[POLICY_MAX_KEYS]; /* .name is owned */
    size_t n_keys;
    char family[8];         /* letters of the level codes ("DC"), "" when there are none */
    bool several_spellings; /* of the same level, such as SP2 and D-S2 */
    bool guessed;           /* a label word whose meaning is not known counts as "a person should look" */
    int instructions[POLICY_MAX_INSTRUCTIONS]; /* lines of output instructions, ascending, from 1 */
    size_t n_instructions;
    int unclear_line; /* a line that asks for an output that was not understood; 0: none */
};

/* Find the output shape that the folded text asks for. SG_ENOMEM only. Zero `shape` first. */
SG_MUST_CHECK enum sg_status shape_detect(struct sg_slice folded, struct shape *shape, struct sg_error *err);
void shape_deinit(struct shape *shape);
/* Add a permitted label and its spelling; false when there is no room or memory is short. */
bool shape_add_label(struct shape *shape, struct sg_slice text, unsigned meaning);
bool shape_add_spelling(struct shape *shape, struct sg_slice text, struct sg_slice canonical,
                        enum spelling_group group, unsigned meaning);
bool shape_add_key(struct shape *shape, struct sg_slice name, enum sg_key_role role);
void shape_clear_keys(struct shape *shape);
void shape_clear_labels(struct shape *shape);
bool shape_permit(struct shape *shape, struct sg_slice text, unsigned meaning); /* a label alone */
void shape_note_instruction(struct shape *shape, int line);
/* The text has a word that announces an answer ("return", "label", "output"). */
bool shape_announces(struct sg_slice text);
/* Words, level codes and pairs (shape_labels.c); false when the text has none. *ok is false when memory is short. */
bool shape_find_labels(struct sg_slice folded, struct shape *shape, bool *ok);
/* Role of a JSON key by its name; -1 when the name says nothing. */
int shape_key_role(struct sg_slice name);
/* The keys that the guide's own examples have. */
bool shape_default_keys(struct shape *shape, enum sg_output_kind kind);

/* --- rule ids -------------------------------------------------------------------------------------------- */

struct rule_id {
    char *text;
    int line;     /* of its first appearance */
    bool defined; /* stands at the head of a line or heading, or opens a bracket: not only cited */
    int side;     /* 1 below a heading on violations, -1 below one on what is safe, 0 unknown */
};
struct rule_ids {
    struct rule_id *items;
    size_t n, cap;
    bool failed;
};
void rule_ids_find(struct sg_slice folded, struct rule_ids *ids);
void rule_ids_free(struct rule_ids *ids);
/* Index of the id that a folded citation names ("H2.f - a title", "Rule 4.2"), -1 when the policy has none such.
 * *is_id tells whether the citation has the form of an id at all. */
int rule_ids_cited(const struct rule_ids *ids, struct sg_slice citation, bool *is_id);
/* SG_MEANS_SAFE or _VIOLATION for a heading such as "VIOLATES (1)", "Allowed Content (DC0 - …)"; 0 for others. */
unsigned heading_meaning(struct sg_slice line);
/* The heading's text without its marks, or an empty slice when the line is no heading. */
struct sg_slice heading_text(struct sg_slice line);

/* --- the policy ------------------------------------------------------------------------------------------ */

struct sg_policy {
    char *id, *title, *effort;
    char sha256[65];
    char *prompt;
    size_t prompt_len;
    int first_line; /* of the text behind the front matter */
    char *folded;   /* the text for readers: without front matter, without what was added */
    size_t folded_len;
    bool wants_date, detected, added, declared_differs;
    enum sg_undecided_action undecided;
    struct shape shape;
    struct strings categories, notes;
    struct rule_ids rules;
    const char **rule_texts; /* rules' texts, for the accessor */
};

/* Values of the front matter; strings are owned, NULL or -1 when absent. */
struct front_matter {
    char *id, *name, *effort;
    int output;    /* enum sg_output_kind */
    int undecided; /* enum sg_undecided_action */
    int wants_date;
    struct strings categories, labels;
    unsigned label_meanings[SG_POLICY_MAX_LABELS];
};
/* Length in bytes of the front matter at the start of `text`, its closing line included; 0 when there is none.
 * `where` names the document in errors. */
SG_MUST_CHECK enum sg_status front_matter_read(const char *where, struct sg_slice text, struct front_matter *out,
                                               size_t *len_out, struct sg_error *err);
void front_matter_deinit(struct front_matter *front);

#endif
