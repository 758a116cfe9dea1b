/* Log probabilities as chat servers return them, and what they say of a policy's answer.
 *
 * Servers return one entry per token of all that was generated: reasoning, markers and answer, some only a part of
 * it. The entries are matched with the answer's text from its end backwards, so that only tokens of the final part
 * count; where they do not match byte for byte, nothing is concluded. */
#ifndef SG_REASONER_LOGPROBS_H
#define SG_REASONER_LOGPROBS_H

#include "base/buffer.h"
#include "safeguard/verdict.h"

#define SG_LOGPROBS_MAX_TOKENS (1u << 18)
#define SG_LOGPROBS_MAX_TOP 32 /* alternatives of one token */

struct sg_token_option {
    size_t start, len; /* of its bytes in `text` */
    double p;
};

struct sg_token_odds {
    struct sg_token_option chosen;
    size_t first_top, n_top; /* its alternatives in `tops`, without itself */
};

/* Zero-initialise; free with sg_logprobs_free. */
struct sg_logprobs {
    struct sg_buffer text; /* bytes of all tokens and alternatives */
    struct sg_token_odds *tokens;
    struct sg_token_option *tops;
    size_t n_tokens, cap_tokens, n_tops, cap_tops;
    bool failed; /* out of memory, or more than the maxima: nothing is concluded */
};

void sg_logprobs_add(struct sg_logprobs *logprobs, const char *bytes, size_t len, double logprob);
/* An alternative of the token that was added last; the token itself is left out. */
void sg_logprobs_add_top(struct sg_logprobs *logprobs, const char *bytes, size_t len, double logprob);
void sg_logprobs_clear(struct sg_logprobs *logprobs);
void sg_logprobs_free(struct sg_logprobs *logprobs);

/* Fill p_violation, label_mass and the flags' p of a verdict that sg_verdict_parse has read from `answer`. What
 * cannot be told stays NaN: tokens that do not match, an answer that holds its label or key twice, too much
 * probability on tokens of which it cannot be told where they lead. label_mass is the mass of permitted answers among
 * the alternatives that the server lists: a lower bound; NaN when it lists none. */
void sg_logprobs_judge(const struct sg_logprobs *logprobs, const struct sg_policy *policy, struct sg_slice answer,
                       struct sg_verdict *verdict);

#endif
