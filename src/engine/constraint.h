/* What the decision may look like, as token masks.
 *
 * Two kinds. A label set is a finite list of whole texts: it becomes a trie of token ids, so that every label
 * is scored whole, with its end. A JSON object of known keys is a small deterministic automaton over bytes
 * with counters for bounded strings and white space: a token is permitted when all its bytes are.
 * This file knows nothing of policies or verdicts; src/reasoner builds these from a policy's output shape. */
#ifndef SG_ENGINE_CONSTRAINT_H
#define SG_ENGINE_CONSTRAINT_H

#include "text/tokenizer.h"

/* --- label set ----------------------------------------------------------------------------------------- */

/* Node 0 is the root. Children of a node are siblings chained by `next`; label ≥ 0 marks a node where that
 * label is complete (it may still have children: "INVALID" and "INVALID + ESCALATE"). */
struct sg_label_node {
    int32_t token;             /* of the edge into this node; -1 at the root */
    int32_t first_child, next; /* node indices, -1 for none */
    int32_t label;
};
struct sg_label_trie {
    struct sg_label_node *nodes;
    size_t n_nodes;
};

enum { SG_LABELS_MAX = 4096, SG_LABEL_MAX_BYTES = 1024 };

/* Labels are tokenised whole after `lead` ("" or " ": what stands between the header and the label). Two labels
 * with the same ids are SG_EINVALID and named. */
SG_MUST_CHECK enum sg_status sg_label_trie_init(struct sg_label_trie *trie, const struct sg_tokenizer *tokenizer,
                                                const char *lead, const struct sg_slice *labels, size_t n_labels,
                                                struct sg_error *err);
void sg_label_trie_deinit(struct sg_label_trie *trie);

/* --- JSON object ---------------------------------------------------------------------------------------- */

enum sg_json_type {
    SG_JSON_CHOICE, /* one of `choices`, each JSON text as it stands: 0, 1, null, "high" */
    SG_JSON_STRING, /* string of at most max_len characters (code points); with `nullable` also null */
    SG_JSON_STRINGS /* array of at most max_items such strings, none of them null; with `nullable` null for it all */
};
struct sg_json_field {
    struct sg_slice key;
    enum sg_json_type type;
    bool nullable;
    const struct sg_slice *choices;
    size_t n_choices;
    int max_len, max_items;
};

struct sg_json_grammar;

enum { /* SG_EINVALID beyond them */
       SG_JSON_MAX_FIELDS = 256,
       SG_JSON_MAX_CHOICES = 1024,
       SG_JSON_MAX_LEN = 65536,
       SG_JSON_MAX_ITEMS = 4096,
       SG_JSON_MAX_SPACE = 64
};

/* An object with exactly these fields in this order; at most `max_space` bytes of white space (space, newline,
 * tab) at each place where JSON allows it, but none behind the closing brace. Copies what it is given. Strings are
 * valid UTF-8 without raw control characters; escapes as in RFC 8259 (\uXXXX with paired surrogates), but for
 * \u0000, which C strings and many parsers cannot hold. From every state that can be reached the object can be
 * completed. SG_EINVALID names the field and what is wrong with it. */
SG_MUST_CHECK enum sg_status sg_json_grammar_create(const struct sg_json_field *fields, size_t n_fields,
                                                    int max_space, struct sg_json_grammar **grammar_out,
                                                    struct sg_error *err);
void sg_json_grammar_destroy(struct sg_json_grammar *grammar);

/* Where a walk stands. Plain data: copy to fork. */
struct sg_json_state {
    int16_t field; /* index of the current field */
    int16_t phase; /* see json_grammar.c */
    int32_t at;    /* bytes into a literal, characters into a string */
    int32_t items, spaces;
    int32_t choice, n_choices; /* the choices that still match: a range of the sorted list */
    uint32_t utf8;             /* continuation bytes still due and their bounds, or the escape's digits so far */
};
void sg_json_start(const struct sg_json_grammar *grammar, struct sg_json_state *state);

/* Advance by one byte; false (state undefined) when the byte is not permitted here. */
bool sg_json_step(const struct sg_json_grammar *grammar, struct sg_json_state *state, unsigned char byte);
bool sg_json_accepts(const struct sg_json_grammar *grammar, const struct sg_json_state *state, struct sg_slice bytes);
/* True once the closing brace was read: the only thing left to emit is the end of the message. */
bool sg_json_done(const struct sg_json_grammar *grammar, const struct sg_json_state *state);
/* The field whose value starts at the next non-space byte, -1 elsewhere: where p_violation is read. */
int sg_json_value_next(const struct sg_json_grammar *grammar, const struct sg_json_state *state);
/* When only one byte can follow (no choice of spaces counted), that byte, else -1: keys need no model. */
int sg_json_forced(const struct sg_json_grammar *grammar, const struct sg_json_state *state);

/* Vocabulary prepared for masks: ordinary tokens sorted by their bytes, with shared-prefix lengths. Keeps no
 * reference to the tokenizer. NULL when memory is short. */
enum { SG_VOCAB_MAX_TOKEN = 256 }; /* bytes; longer tokens are never permitted */
struct sg_vocab_trie;
struct sg_vocab_trie *sg_vocab_trie_create(const struct sg_tokenizer *tokenizer);
void sg_vocab_trie_destroy(struct sg_vocab_trie *vocab);

/* Set bit `id` of mask[(n_vocab + 63) / 64] for each ordinary token that the grammar permits here; all other
 * bits are cleared. Special and empty tokens are never permitted. Walks shared prefixes once. Thread-safe. */
void sg_json_mask(const struct sg_json_grammar *grammar, const struct sg_json_state *state,
                  const struct sg_vocab_trie *vocab, int32_t n_vocab, uint64_t *mask);

#endif
