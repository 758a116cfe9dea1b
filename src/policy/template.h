/* The text of a new policy, for `policy new`. */
#ifndef SG_POLICY_TEMPLATE_H
#define SG_POLICY_TEMPLATE_H

#include "safeguard/policy.h"

/* A well-formed starter policy of the given output shape, complete but for the rules themselves, which stand in
 * square brackets. `id` must be a valid id, `name` is its title. free() *text_out. */
SG_MUST_CHECK enum sg_status sg_policy_template(const char *id, const char *name, enum sg_output_kind kind,
                                                char **text_out, struct sg_error *err);

#endif
