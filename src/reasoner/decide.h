/* The decision: from the first token of the answer on, the model is held to what the policy permits, and how much it
 * wanted that is measured.
 *
 * Labels are scored whole: the probability of a label is that of its tokens and of an end behind them, found by a
 * walk over the trie of all labels (the engine goes back and forth between branches). A JSON answer is sampled under
 * the grammar's mask; the probabilities are read at the value of the violation (or of each flag).
 *   p_violation  normalised mass of the violating answers
 *   label_mass   unmasked probability that the model gave to all permitted answers; for JSON the product of the
 *                permitted mass of each step up to the last value that decides */
#ifndef SG_REASONER_DECIDE_H
#define SG_REASONER_DECIDE_H

#include "engine/engine.h"
#include "engine/sampler.h"
#include "reasoner/answers.h"

/* What does not change between decisions of one model. */
struct sg_vocabulary {
    const struct sg_tokenizer *tokenizer;
    int n; /* logits */
    struct sg_vocab_trie *trie;
    uint64_t *ends;         /* bits: special tokens that end a message, and white space with a line break */
    struct sg_tokens fence; /* "```json\n": how most answers begin when nothing constrains them */
};
SG_MUST_CHECK enum sg_status sg_vocabulary_init(struct sg_vocabulary *vocabulary,
                                                const struct sg_tokenizer *tokenizer, int n_logits,
                                                const int32_t *end_ids, size_t n_end_ids, struct sg_error *err);
void sg_vocabulary_deinit(struct sg_vocabulary *vocabulary);

struct sg_decider;

/* guided: keys and punctuation of a JSON answer are written for the model, and the masses speak of its free choices
 * alone: for models that were never trained on such answers. */
SG_MUST_CHECK enum sg_status sg_decider_create(const struct sg_vocabulary *vocabulary,
                                               const struct sg_answers *answers, const struct sg_sampling *sampling,
                                               bool guided, struct sg_decider **decider_out, struct sg_error *err);
void sg_decider_destroy(struct sg_decider *decision);

/* An engine step: logits behind the header at first, then behind what the last step appended. step_out->end once the
 * decision is made. */
SG_MUST_CHECK enum sg_status sg_decider_step(struct sg_decider *decision, const float *logits, int position,
                                             struct sg_step *step_out, struct sg_error *err);

/* After the end, or at any time before: the answer's text so far, and the numbers (NaN until known). */
struct sg_slice sg_decider_text(const struct sg_decider *decision);
double sg_decider_p_violation(const struct sg_decider *decision);
double sg_decider_label_mass(const struct sg_decider *decision);
/* SG_OUTPUT_FLAGS: probability of 1 for key i of the policy. */
double sg_decider_flag(const struct sg_decider *decision, size_t i);
int sg_decider_tokens(const struct sg_decider *decision);

#endif
