/* A policy document: the developer's own text, its version, and what its answers look like. */
#ifndef SAFEGUARD_POLICY_H
#define SAFEGUARD_POLICY_H

#include "safeguard/status.h"

#include <stdbool.h>
#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

#define SG_POLICY_MAX_BYTES (4u << 20)
#define SG_POLICY_MAX_LABELS 64

enum sg_output_kind {
    SG_OUTPUT_BINARY,    /* exactly 0 or 1 */
    SG_OUTPUT_CATEGORY,  /* {"violation":1,"policy_category":"H2.f"} */
    SG_OUTPUT_RATIONALE, /* … with rule_ids, confidence, rationale */
    SG_OUTPUT_LABELS,    /* one of a list of label words, codes or pairs */
    SG_OUTPUT_FLAGS      /* a JSON object with one 0/1 for each category */
};

/* What the policy's own answer means. */
struct sg_label {
    const char *text; /* canonical spelling, what a constrained model is made to write */
    bool violation;
    bool review; /* the policy asks for a person */
};

/* JSON keys of category, rationale and flags shapes, in the order in which the policy shows them. */
enum sg_key_role {
    SG_KEY_VIOLATION,
    SG_KEY_CATEGORY,
    SG_KEY_RULE_IDS,
    SG_KEY_CONFIDENCE,
    SG_KEY_RATIONALE,
    SG_KEY_FLAG
};
struct sg_output_key {
    const char *name;
    enum sg_key_role role;
};

enum sg_undecided_action { SG_UNDECIDED_BLOCK, SG_UNDECIDED_ALLOW, SG_UNDECIDED_QUEUE };

struct sg_policy; /* immutable after opening; may be used from any thread */

/* Read and understand a policy. `name` names it in errors and is the id when the front matter gives none (a
 * path's file name without its ending). SG_EFORMAT for bad front matter (line, got, expected), not UTF-8, empty;
 * SG_ELIMIT above SG_POLICY_MAX_BYTES. *policy_out is NULL on failure. */
SG_MUST_CHECK enum sg_status sg_policy_open(const char *path, struct sg_policy **policy_out, struct sg_error *err);
SG_MUST_CHECK enum sg_status sg_policy_parse(const char *name, const char *bytes, size_t len,
                                             struct sg_policy **policy_out, struct sg_error *err);
void sg_policy_close(struct sg_policy *policy);

const char *sg_policy_id(const struct sg_policy *policy);
const char *sg_policy_title(const struct sg_policy *policy);
/* SHA-256 of the document's bytes, 64 hexadecimal digits: the policy's version. */
const char *sg_policy_sha256(const struct sg_policy *policy);
/* The text for the model: the document without front matter, with the output instruction added where the
 * policy has none. */
const char *sg_policy_prompt(const struct sg_policy *policy, size_t *len_out);
/* "low", "medium", "high", or NULL when the policy does not say. */
const char *sg_policy_effort(const struct sg_policy *policy);
/* True when the front matter asks for "Current date: …" in the system message (`current_date: true`). */
bool sg_policy_wants_date(const struct sg_policy *policy);
enum sg_undecided_action sg_policy_undecided(const struct sg_policy *policy);

enum sg_output_kind sg_policy_output(const struct sg_policy *policy);
const char *sg_output_kind_name(enum sg_output_kind kind);
/* True when the shape was detected from the text or added, false when the front matter gave it. */
bool sg_policy_output_detected(const struct sg_policy *policy);
bool sg_policy_output_added(const struct sg_policy *policy);

/* SG_OUTPUT_LABELS and SG_OUTPUT_BINARY ("0", "1"): the permitted answers. */
const struct sg_label *sg_policy_labels(const struct sg_policy *policy, size_t *n_out);
/* JSON shapes: the keys in order. */
const struct sg_output_key *sg_policy_keys(const struct sg_policy *policy, size_t *n_out);

/* Categories (front matter, or known from the text) and rule ids ("H2.f") found in the text. Each id once, in
 * order of first appearance; ids are compared without case and with every hyphen-like character as "-". */
const char *const *sg_policy_categories(const struct sg_policy *policy, size_t *n_out);
const char *const *sg_policy_rule_ids(const struct sg_policy *policy, size_t *n_out);

/* What was noticed while reading: "no output instruction: added …", "labels detected: …". */
const char *const *sg_policy_notes(const struct sg_policy *policy, size_t *n_out);

#ifdef __cplusplus
}
#endif
#endif
