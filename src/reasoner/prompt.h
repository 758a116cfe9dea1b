/* The prompt of a check. Everything up to the content is the same for all contents of a policy and effort, so that
 * the engine keeps its KV. */
#ifndef SG_REASONER_PROMPT_H
#define SG_REASONER_PROMPT_H

#include "safeguard/policy.h"
#include "text/harmony.h"

/* How a model is spoken to: harmony where its tokenizer has harmony's tokens, else ChatML. */
struct sg_format {
    bool harmony_format;
    struct sg_harmony harmony;
    struct sg_chatml chatml;
};
SG_MUST_CHECK enum sg_status sg_format_init(struct sg_format *format, const struct sg_tokenizer *tokenizer,
                                            struct sg_error *err);

/* System and developer message (ChatML: one system message) for a policy: the shared part. `date` is "YYYY-MM-DD" or
 * NULL. */
void sg_prompt_policy(const struct sg_format *format, const struct sg_policy *policy, const char *effort,
                      const char *date, struct sg_tokens *out);
/* The content as the user's message, and the opening of the assistant's. */
void sg_prompt_content(const struct sg_format *format, struct sg_slice content, struct sg_tokens *out);

/* What closes the reasoning and asks for the decision, by where the model stands (ChatML: always a new turn, which
 * repeats the permitted answers and opens the reply with "Answer:"). */
enum sg_prompt_place { SG_IN_MESSAGE, SG_BETWEEN_MESSAGES, SG_BEHIND_ROLE };
void sg_prompt_decision(const struct sg_format *format, const struct sg_policy *policy, enum sg_prompt_place place,
                        struct sg_tokens *out);

/* What a ChatML model's answer begins with, and what stands between that (or harmony's header) and the answer. */
#define SG_ANSWER_PREFIX "Answer:"
const char *sg_prompt_lead(const struct sg_format *format);

#endif
