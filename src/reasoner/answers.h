/* What a policy permits as an answer, in the form that the engine's constraints want: a trie of label spellings, or
 * the grammar of a JSON object. */
#ifndef SG_REASONER_ANSWERS_H
#define SG_REASONER_ANSWERS_H

#include "engine/constraint.h"
#include "safeguard/policy.h"

struct sg_answers {
    const struct sg_policy *policy;
    /* label shapes: the trie's label is an index into label_of (several spellings can mean one label) */
    struct sg_label_trie trie;
    int *label_of;
    size_t n_spellings;
    /* JSON shapes */
    struct sg_json_grammar *grammar; /* NULL for label shapes */
};

/* `lead` stands between the header and the answer (" " after "Answer:"). The policy must outlive it. */
SG_MUST_CHECK enum sg_status sg_answers_init(struct sg_answers *answers, const struct sg_policy *policy,
                                             const struct sg_tokenizer *tokenizer, const char *lead,
                                             struct sg_error *err);
void sg_answers_deinit(struct sg_answers *answers);

#endif
