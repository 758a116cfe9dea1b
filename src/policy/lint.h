/* Advice on a policy document, after the published guide for gpt-oss-safeguard: what the model needs to find in it.
 * docs/policies.md lists the codes. */
#ifndef SG_POLICY_LINT_H
#define SG_POLICY_LINT_H

#include "safeguard/policy.h"

enum sg_lint_severity {
    SG_LINT_NOTE,   /* worth knowing */
    SG_LINT_WARNING /* likely to cost accuracy, or not to work as meant */
};

struct sg_lint_finding {
    const char *code; /* "hedging": static */
    enum sg_lint_severity severity;
    int line;   /* in the document, from 1; 0 when it is about the whole */
    char *text; /* what is the matter and what to do, one sentence */
};

struct sg_lint {
    struct sg_lint_finding *findings; /* by line, those about the whole first */
    size_t n;
};

/* Look at a policy. `tokens` is the length of its prompt counted with the tokenizer that `tokenizer_name` names, -1
 * when it was not counted. On failure (SG_ENOMEM) *lint_out is empty. */
SG_MUST_CHECK enum sg_status sg_policy_lint(const struct sg_policy *policy, int64_t tokens,
                                            const char *tokenizer_name, struct sg_lint *lint_out,
                                            struct sg_error *err);
void sg_lint_deinit(struct sg_lint *lint);

const char *sg_lint_severity_name(enum sg_lint_severity severity);

#endif
