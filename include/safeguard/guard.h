/* The guard: one policy's whole way of deciding. rules → verdict cache → screen → reasoners from cheap to dear.
 *
 * What may clear content without the reasoner is the clearing function; a screen clears only below a certified
 * threshold. Every verdict says which stage decided and why. Nothing that could not be checked is reported as safe.
 */
#ifndef SAFEGUARD_GUARD_H
#define SAFEGUARD_GUARD_H

#include "safeguard/reasoner.h"
#include "safeguard/screen.h"

#ifdef __cplusplus
extern "C" {
#endif

enum sg_guard_mode {
    SG_GUARD_CASCADE,
    SG_GUARD_REASONER_ONLY,
    SG_GUARD_SCREEN_ONLY, /* what the screen may not decide is undecided: "escalated" */
    SG_GUARD_SHADOW       /* both run, the reasoner decides, the screen is recorded */
};

#define SG_GUARD_MAX_REASONERS 4

struct sg_guard_options {
    enum sg_guard_mode mode;
    const char *rules_path;                                /* NULL: no rules */
    const char *screen_path;                               /* NULL: everything escalates (unless rules decide) */
    const char *certificate_path;                          /* NULL: the screen clears and flags nothing */
    const char *category;                                  /* of the screen; NULL: "any" */
    struct sg_reasoner *reasoners[SG_GUARD_MAX_REASONERS]; /* from cheap to dear; borrowed */
    size_t n_reasoners;
    size_t cache_bytes; /* verdicts kept in memory; 0: no cache */
    /* Governor: most reasoner work per second, 0 for no bound; `platform_compute` expresses calls as a share of the
     * platform's own requests per second. When it binds, the highest severity × score goes first. */
    double calls_per_second, tokens_per_second;
    double severity;    /* of this policy, 1 by default */
    double audit_share; /* of cleared content that goes to the reasoner all the same, 0 to 1 */
    uint64_t seed;
};

struct sg_guard;

/* Opens rules, screen and certificate and checks that they belong together (policy hash, screen hash, rules hash,
 * feature version): SG_EINVALID says which does not. A damaged screen is refused; with `escalate_all_out` not NULL
 * the guard opens all the same, everything escalates, and *escalate_all_out is set to true. */
SG_MUST_CHECK enum sg_status sg_guard_open(const struct sg_policy *policy, const struct sg_guard_options *options,
                                           bool *escalate_all_out, struct sg_guard **guard_out, struct sg_error *err);
void sg_guard_close(struct sg_guard *guard);

/* Judge one content. May be called from as many threads as the reasoners take checks at a time. Errors as
 * sg_reasoner_check; SG_EUNAVAILABLE when the reasoner cannot be reached: then the verdict is filled as far as known,
 * undecided. */
SG_MUST_CHECK enum sg_status sg_guard_check(struct sg_guard *guard, const struct sg_content *content,
                                            const struct sg_check_options *options, sg_stream_fn stream,
                                            void *stream_context, struct sg_verdict *verdict, struct sg_error *err);

/* The clearing function alone, for certificates and forecasts: score and whether rules or the gate settle it. */
enum sg_clearing { SG_CLEARING_BY_SCORE, SG_CLEARING_NEVER, SG_CLEARING_ALWAYS, SG_CLEARING_FLAGGED };
SG_MUST_CHECK enum sg_status sg_guard_clearing(struct sg_guard *guard, const struct sg_content *content,
                                               enum sg_clearing *clearing_out, double *score_out,
                                               struct sg_error *err);

struct sg_guard_counts {
    uint64_t checks, by_rules, by_cache, cleared, flagged, escalated, waiting, audited, unavailable;
    uint64_t reasoner_calls, reasoner_tokens;
};
void sg_guard_counts(const struct sg_guard *guard, struct sg_guard_counts *out);

#ifdef __cplusplus
}
#endif
#endif
