/* The reasoning: the model generates freely until it begins its decision, or until it has to be asked for one.
 *
 * harmony: messages of any channel but final are reasoning; the header of a final message begins the decision.
 * ChatML: text is reasoning until a line begins with "Answer:".
 * The decision is asked for (forced) when the model ends or calls a tool without one, and when the reasoning budget
 * is used up: then at the next end of a sentence, at the latest SG_BUDGET_GRACE tokens on. */
#ifndef SG_REASONER_THINK_H
#define SG_REASONER_THINK_H

#include "engine/engine.h"
#include "engine/sampler.h"
#include "reasoner/prompt.h"

#define SG_BUDGET_GRACE 64

struct sg_thought;

/* `budget`: tokens of reasoning, 0 for none. `on_text` (may be NULL) gets complete UTF-8 as it is produced. */
SG_MUST_CHECK enum sg_status sg_thought_create(const struct sg_format *format, const struct sg_policy *policy,
                                               int n_logits, const struct sg_sampling *sampling, int budget,
                                               void (*on_text)(void *context, const char *text, size_t len),
                                               void *context, struct sg_thought **thought_out, struct sg_error *err);
void sg_thought_destroy(struct sg_thought *thought);

/* Tokens to take in place of sampled ones, as long as they last: for tests of what models do. Borrowed. */
void sg_thought_script(struct sg_thought *thought, const int32_t *tokens, size_t n);

/* An engine step. *decide_out becomes true with the step whose appended tokens end where the answer begins. */
SG_MUST_CHECK enum sg_status sg_thought_step(struct sg_thought *thought, const float *logits, int position,
                                             struct sg_step *step_out, bool *decide_out, struct sg_error *err);

/* All reasoning so far, messages separated by a blank line. */
struct sg_slice sg_thought_text(const struct sg_thought *thought);
bool sg_thought_forced(const struct sg_thought *thought);
int sg_thought_tokens(const struct sg_thought *thought);

#endif
