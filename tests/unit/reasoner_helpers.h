/* Checks on a tiny gpt-oss model of random weights, and what they must give: the probability of each answer computed
 * plainly, without engine, masks and tries. */
#ifndef SG_TESTS_REASONER_HELPERS_H
#define SG_TESTS_REASONER_HELPERS_H

#include "golden.h"
#include "reasoner/reasoner_internal.h"

#define FINAL "<|channel|>final<|message|>"

extern const struct sg_check_options plain; /* greedy, no budget */

/* NULL (after saying so) without the shared reference material. The caller closes it. */
struct sg_model *open_tiny(void);
struct sg_reasoner *create_reasoner(struct sg_model *model, int context);
struct sg_policy *read_policy(const char *text);

/* Fails the test on an error. */
void judge(struct sg_reasoner *reasoner, const struct sg_policy *policy, const char *text,
           const struct sg_check_options *options, sg_stream_fn stream, void *context, struct sg_verdict *verdict);

/* Trusted text: names of special tokens are special tokens. */
void append_text(const struct sg_model *model, const char *text, struct sg_tokens *tokens);
/* The harmony prompt of a check, written out here. free it. */
struct sg_tokens prompt_of(const struct sg_model *model, const struct sg_policy *policy, const char *effort,
                           const char *content);

/* [vocabulary] of the token behind these, free() them. */
double *probabilities(const struct sg_model *model, const struct sg_tokens *tokens);

struct numbers {
    double p_violation, label_mass;
    double true_mass;  /* without the cut of negligible branches */
    size_t n_cut;      /* branches that were cut */
    char answer[2048]; /* the permitted answer that is written */
};
/* Label shapes: every label with its end; a branch below 1e-4 counts as it stands for its first label. */
struct numbers expect_label(const struct sg_model *model, const struct sg_policy *policy,
                            const struct sg_tokens *before);
/* JSON shapes: greedy steps among the permitted tokens. flags [keys]: probability of 1, NaN for other keys. */
struct numbers expect_json(const struct sg_model *model, const struct sg_policy *policy,
                           const struct sg_tokens *before, double *flags);

/* --- teaching ---------------------------------------------------------------------------------------------- */

/* A model of random weights gives next to nothing to any answer. Lessons change its output matrix so that behind
 * given tokens it prefers given ones: each adds to a token's row a vector that only this state of the model, and none
 * that was taught before, has a part in. */
struct lessons;
struct lessons *start_lessons(struct sg_model *model);
/* The model has its own matrix back. */
void end_lessons(struct lessons *lessons);
/* Behind `before`, the logit of each token becomes the largest one plus `level`. All that is taught behind the same
 * tokens has to come in one call. */
void teach(struct lessons *lessons, const struct sg_tokens *before, const int32_t *tokens, const double *levels,
           size_t n);
/* A whole answer, token by token and with <|end|> behind it, each at this level. */
void teach_text(struct lessons *lessons, const struct sg_tokens *before, const char *text, double level);

/* To 1e-6, and 1e-6 of what is small. */
void assert_numbers(const char *name, const struct sg_verdict *verdict, const struct numbers *expected);

#endif
