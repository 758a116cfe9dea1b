#include "policy/template.h"

#include "base/buffer.h"

/* What a shape asks for, and how its answers to a violating and a safe example look. */
struct form {
    const char *front, *instruction, *violates, *violates_other, *safe, *safe_other;
};

static const struct form forms[] = {
    [SG_OUTPUT_BINARY] =
        {"", "Return exactly one character: 0 or 1. 1 = the content violates this policy, 0 = it does not.", "1", "1",
         "0", "0"},
    [SG_OUTPUT_CATEGORY] =
        {"",
         "Return only a JSON object: {\"violation\": 1, \"policy_category\": \"R1\"} when a rule is "
         "broken, {\"violation\": 0, \"policy_category\": null} when none is.",
         "{\"violation\": 1, \"policy_category\": \"R1\"}", "{\"violation\": 1, \"policy_category\": \"R2\"}",
         "{\"violation\": 0, \"policy_category\": null}", "{\"violation\": 0, \"policy_category\": null}"},
    [SG_OUTPUT_RATIONALE] =
        {"",
         "Return only a JSON object: {\"violation\": 1, \"policy_category\": \"R1\", \"rule_ids\": [\"R1\"], "
         "\"confidence\": \"high\", \"rationale\": \"one sentence\"}; violation is 0 and policy_category null when "
         "no "
         "rule is broken.",
         "{\"violation\": 1, \"policy_category\": \"R1\", \"rule_ids\": [\"R1\"], \"confidence\": \"high\", "
         "\"rationale\": \"[Why.]\"}",
         "{\"violation\": 1, \"policy_category\": \"R2\", \"rule_ids\": [\"R2\"], \"confidence\": \"medium\", "
         "\"rationale\": \"[Why.]\"}",
         "{\"violation\": 0, \"policy_category\": null, \"rule_ids\": [\"S1\"], \"confidence\": \"high\", "
         "\"rationale\": \"[Why.]\"}",
         "{\"violation\": 0, \"policy_category\": null, \"rule_ids\": [\"S2\"], \"confidence\": \"medium\", "
         "\"rationale\": \"[Why.]\"}"},
    [SG_OUTPUT_LABELS] =
        {"labels:\n  VALID: safe\n  INVALID: violates\n  INVALID + ESCALATE: {violation: yes, review: yes}\n",
         "Return exactly one label: VALID, INVALID or INVALID + ESCALATE.", "INVALID", "INVALID + ESCALATE", "VALID",
         "VALID"},
    [SG_OUTPUT_FLAGS] = {"categories: [first, second]\n",
                         "Return only a JSON object with one flag for each category, 1 = violates, 0 = does not: "
                         "{\"first\": 0 or 1, \"second\": 0 or 1}",
                         "{\"first\": 1, \"second\": 0}", "{\"first\": 0, \"second\": 1}",
                         "{\"first\": 0, \"second\": 0}", "{\"first\": 0, \"second\": 0}"}};

enum sg_status sg_policy_template(const char *id, const char *name, enum sg_output_kind kind, char **text_out,
                                  struct sg_error *err)
{
    *text_out = NULL;
    if ((unsigned)kind >= sizeof forms / sizeof forms[0])
        return sg_fail(err, SG_EINVALID, "policy template: output shape %d, expected 0 to 4", (int)kind);
    const struct form *form = &forms[kind];
    struct sg_buffer text = {0};
    sg_buffer_printf(&text, "---\nid: %s\noutput: %s\n%sundecided: block\n---\n", id, sg_output_kind_name(kind),
                     form->front);
    sg_buffer_printf(&text,
                     "# %s\n\n## INSTRUCTIONS\n\nDecide whether the content violates this policy. Judge only by "
                     "the rules below.\n%s\n\n",
                     name, form->instruction);
    sg_buffer_puts(&text,
                   "## DEFINITIONS\n\n- **[Term]**: [what it means here, in one sentence].\n"
                   "- **[Another term]**: [what it means, and what it does not].\n\n"
                   "## VIOLATES (1)\n\n- R1 [Rule]: content that [does what, to whom].\n"
                   "- R2 [Rule]: content that [does what else].\n\n"
                   "## SAFE (0)\n\n- S1 [Near miss]: content that [looks like R1 and is fine, because …].\n"
                   "- S2 [Near miss]: content that [quotes, reports or criticises R2].\n\n"
                   "## PRECEDENCE\n\nA VIOLATES rule wins over a SAFE one. When several rules apply, name the one "
                   "with the lowest number. When the content is too unclear to decide, [what to answer].\n\n");
    sg_buffer_printf(
        &text,
        "## OUTPUT\n\n%s\n\n## EXAMPLES\n\n- \"[breaks R1, barely]\" -> %s\n- \"[breaks R2, barely]\" -> %s\n"
        "- \"[S1: nearly breaks R1]\" -> %s\n- \"[S2: nearly breaks R2]\" -> %s\n",
        form->instruction, form->violates, form->violates_other, form->safe, form->safe_other);
    *text_out = sg_buffer_take(&text);
    return *text_out ? SG_OK : sg_fail(err, SG_ENOMEM, "policy template: out of memory");
}
