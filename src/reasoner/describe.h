/* What every kind of reasoner writes into a verdict, and how it reads the options of a check. */
#ifndef SG_REASONER_DESCRIBE_H
#define SG_REASONER_DESCRIBE_H

#include "base/buffer.h"
#include "safeguard/reasoner.h"

/* Replace a text of the verdict by a copy. */
SG_MUST_CHECK enum sg_status sg_verdict_set(char **slot, const char *text, struct sg_error *err);
/* The same with what is not UTF-8 in it replaced by U+FFFD. */
SG_MUST_CHECK enum sg_status sg_verdict_set_repaired(char **slot, struct sg_slice text, struct sg_error *err);

/* Policy, effort, seed, temperature, stage, and the parts of the content that were not judged. */
SG_MUST_CHECK enum sg_status sg_verdict_describe(struct sg_verdict *verdict, const struct sg_policy *policy,
                                                 const struct sg_content *content,
                                                 const struct sg_check_options *options, struct sg_error *err);

/* The effort in force: the options', else the policy's, else "medium". */
const char *sg_check_effort(const struct sg_policy *policy, const struct sg_check_options *options);
/* Today (UTC) as "YYYY-MM-DD" for policies that ask for it, else NULL. */
const char *sg_check_date(const struct sg_policy *policy, char out[11]);

#endif
