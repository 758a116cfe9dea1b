/* The verdict: what was decided about one content under one policy, and why. */
#ifndef SAFEGUARD_VERDICT_H
#define SAFEGUARD_VERDICT_H

#include "safeguard/policy.h"

#ifdef __cplusplus
extern "C" {
#endif

#define SG_VERDICT_SCHEMA 1

enum sg_decision { SG_UNDECIDED, SG_DOES_NOT_VIOLATE, SG_VIOLATES };

/* "undecided", "does_not_violate", "violates". */
const char *sg_decision_name(enum sg_decision decision);

/* One window of content that was longer than the context. */
struct sg_window {
    size_t first_byte, n_bytes; /* of the judged text */
    enum sg_decision decision;
    double p_violation; /* NaN when unknown */
    char *reason;       /* why undecided, or NULL */
};

/* A category's flag, for SG_OUTPUT_FLAGS. value: 0, 1, -1 unknown. */
struct sg_flag {
    char *name;
    int value;
    double p; /* probability of 1, NaN when unknown */
};

/* A rule of the policy's list that matched. */
struct sg_rule_match {
    char *rule;                 /* its name, else its text */
    char *action;               /* "violates", "escalate", "clear" */
    char *reading;              /* "raw", or the reading of the normaliser in which it was found */
    size_t first_byte, n_bytes; /* in the raw text */
};

/* What the screen said, whoever decided. */
struct sg_screen_trace {
    bool scored;
    double score, margin;           /* calibrated probability (NaN without calibration); what thresholds compare */
    double clear_below, flag_above; /* margins in force; NaN when there is none */
    size_t first_byte, n_bytes;     /* the deciding window */
    char *screen_sha256, *certificate_sha256;
    char **features; /* the strongest, with their weights: "free entry +1.32" */
    size_t n_features;
};

/* All strings are owned by the verdict, UTF-8, NULL when absent. Numbers that are not known are NaN or -1. */
struct sg_verdict {
    char *id;             /* of the content, as the caller gave it */
    char *content_sha256; /* of the judged text: the key that labels, caches and records have in common */
    enum sg_decision decision;
    bool needs_review;
    char *reason; /* why undecided */
    double p_violation;
    double label_mass;
    char **labels; /* canonical spellings, as the policy answers */
    size_t n_labels;
    struct sg_flag *flags;
    size_t n_flags;
    char *category;
    char **rule_ids; /* cited and known to the policy, in the policy's spelling */
    size_t n_rule_ids;
    char **unknown_rule_ids; /* cited, not in the policy, as written */
    size_t n_unknown_rule_ids;
    char *stated_confidence;
    char *rationale;
    char *reasoning;
    char *output; /* the final message as written */
    bool forced;
    struct sg_window *windows;
    size_t n_windows;
    char **not_judged; /* parts that were not looked at: "image in message 2" */
    size_t n_not_judged;

    /* Where it comes from. */
    char *policy_id, *policy_sha256;
    char *model_name, *model_sha256, *adapter;
    char *precision; /* "exact", "fast" */
    char *cpu;       /* kernel level: "scalar", "avx2", … */
    char *effort;
    uint64_t seed;
    double temperature;
    char *stage;      /* which stage decided: "rules", "cache", "screen", "reasoner" */
    char *why;        /* one sentence: why this stage and not another; NULL where there is only a reasoner */
    bool provisional; /* escalated and not yet seen by the reasoner: a cheaper stage's view, never "safe" */
    bool audited;     /* would have been cleared, was drawn for the audit */
    double p_audited; /* probability with which contents like this one are drawn, NaN where nothing is drawn */
    char *p_source;   /* where p_violation comes from: "label tokens", "votes of 5", "screen" */
    char **signals;   /* what normalising saw: "hidden_characters", … */
    size_t n_signals;
    struct sg_rule_match *rule_matches;
    size_t n_rule_matches;
    struct sg_screen_trace screen;
    /* tokens: prompt, of those reused from a cached prefix, produced; times in milliseconds */
    int64_t n_prompt_tokens, n_cached_tokens, n_output_tokens;
    double prefill_ms, decode_ms, total_ms;
};

/* All fields absent: pointers NULL, p_violation, label_mass NaN, decision undecided. */
void sg_verdict_init(struct sg_verdict *verdict);
void sg_verdict_deinit(struct sg_verdict *verdict);
/* A deep copy into *to_out (which need not be initialised; all absent on failure). *bytes_out, where not NULL, is the
 * memory that the copy takes. SG_ENOMEM only. */
SG_MUST_CHECK enum sg_status sg_verdict_copy(const struct sg_verdict *from, struct sg_verdict *to_out,
                                             size_t *bytes_out, struct sg_error *err);

/* Read an answer written by a model, constrained or not, into decision, needs_review, labels, flags, category,
 * rule ids, stated_confidence, rationale and output; other fields stay. Code fences, stops, case, typographic
 * hyphens and text around the answer are understood. Contradictory or unreadable answers give SG_UNDECIDED with
 * the reason and SG_OK; only SG_ENOMEM is an error. */
SG_MUST_CHECK enum sg_status sg_verdict_parse(const struct sg_policy *policy, const char *answer, size_t len,
                                              struct sg_verdict *verdict, struct sg_error *err);

/* The verdict as one JSON object without line breaks (fields as docs/verdict.md says); free() the text. */
SG_MUST_CHECK enum sg_status sg_verdict_to_json(const struct sg_verdict *verdict, char **json_out,
                                                struct sg_error *err);

#ifdef __cplusplus
}
#endif
#endif
