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

/* "cascade", "reasoner-only", "screen-only", "shadow". */
const char *sg_guard_mode_name(enum sg_guard_mode mode);

#define SG_GUARD_MAX_REASONERS 4

/* Stands before one reasoner, for all guards that ask it: bounds the checks in flight and, where asked to, calls and
 * tokens per second. When a bound is met, the highest severity × score goes first, drawn audits keep a part of the
 * calls, and who cannot be served in time gets a provisional verdict. May be used from any thread. */
struct sg_governor;
struct sg_governor_options {
    double calls_per_second, tokens_per_second; /* 0: no bound */
    int in_flight;                              /* as sg_reasoner_in_flight says; 0: 1 */
    size_t max_waiting;                         /* callers that may wait; 0: 256 */
};
SG_MUST_CHECK enum sg_status sg_governor_create(const struct sg_governor_options *options,
                                                struct sg_governor **governor_out, struct sg_error *err);
void sg_governor_destroy(struct sg_governor *governor);
/* From any thread or a signal handler: every wait ends, now and from now on. */
void sg_governor_cancel(struct sg_governor *governor);

struct sg_guard_options {
    enum sg_guard_mode mode;
    const char *rules_path;                                /* NULL: no rules */
    const char *screen_path;                               /* NULL: everything escalates (unless rules decide) */
    const char *certificate_path;                          /* NULL: the screen clears and flags nothing */
    const char *category;                                  /* of the screen; NULL: "any" */
    struct sg_reasoner *reasoners[SG_GUARD_MAX_REASONERS]; /* from cheap to dear; borrowed */
    size_t n_reasoners;
    /* Of each reasoner; borrowed, shared by guards that share a reasoner. NULL: the guard makes its own, with the
     * budget below before the last reasoner. */
    struct sg_governor *governors[SG_GUARD_MAX_REASONERS];
    double calls_per_second, tokens_per_second; /* budget of the last reasoner; 0: no bound */
    double max_wait_ms; /* longest wait for the budget; 0: as long as the deadline of the check allows */
    double severity;    /* of this policy; 0 means 1 */
    double audit_share; /* of content that goes to the reasoner whatever the cheaper stages say, 0 to 1 */
    uint64_t seed;      /* of the draw for the audit; whoever knows it knows what is drawn */
    size_t cache_bytes; /* verdicts kept in memory; 0: no cache */
    size_t n_features;  /* strongest features of the screen that a verdict lists; 0: none */
};

struct sg_guard;

/* Opens rules, screen and certificate and checks that they belong together (policy hash, screen hash, rules hash,
 * feature version): SG_EINVALID says which does not. A damaged screen is refused; with `escalate_all_out` not NULL
 * the guard opens all the same, everything escalates, and *escalate_all_out is set to true. */
SG_MUST_CHECK enum sg_status sg_guard_open(const struct sg_policy *policy, const struct sg_guard_options *options,
                                           bool *escalate_all_out, struct sg_guard **guard_out, struct sg_error *err);
void sg_guard_close(struct sg_guard *guard);

/* Judge one content, from any number of threads: those that need the reasoner wait for their turn. `verdict` must be
 * initialised. Errors as sg_reasoner_check; then too the verdict is filled as far as known, undecided, with the
 * reason (SG_EUNAVAILABLE: the reasoner cannot be reached). */
SG_MUST_CHECK enum sg_status sg_guard_check(struct sg_guard *guard, const struct sg_content *content,
                                            const struct sg_check_options *options, sg_stream_fn stream,
                                            void *stream_context, struct sg_verdict *verdict, struct sg_error *err);

/* From any thread or a signal handler: checks in progress end as undecided, "cancelled". */
void sg_guard_cancel(struct sg_guard *guard);

/* The clearing function alone, for certificates: whether rules or the gate settle it, and what thresholds compare.
 * The evasion gate keeps content from being cleared (SG_CLEARING_NEVER), not from being flagged by its score; where a
 * rule escalates the score is -INFINITY, where nothing was scored +INFINITY. */
enum sg_clearing { SG_CLEARING_BY_SCORE, SG_CLEARING_NEVER, SG_CLEARING_ALWAYS, SG_CLEARING_FLAGGED };
SG_MUST_CHECK enum sg_status sg_guard_clearing(struct sg_guard *guard, const struct sg_content *content,
                                               enum sg_clearing *clearing_out, double *score_out,
                                               struct sg_error *err);

struct sg_guard_counts {
    uint64_t checks;
    uint64_t by_rules, by_cache;              /* decided there */
    uint64_t cleared, flagged;                /* by the screen, or by a reasoner that is not the last */
    uint64_t escalated;                       /* needed the last reasoner, or a person */
    uint64_t waiting;                         /* of those: provisional, because the budget did not reach them */
    uint64_t audited, unavailable;            /* drawn though they would have been cleared; no reasoner answered */
    uint64_t reasoner_calls, reasoner_tokens; /* of all reasoners; tokens as far as they are known */
};
void sg_guard_counts(struct sg_guard *guard, struct sg_guard_counts *out);

/* What the guard was made of, for records and reports; NULL where there is none. Borrowed. */
const char *sg_guard_rules_sha256(const struct sg_guard *guard);
const char *sg_guard_screen_sha256(const struct sg_guard *guard);
const char *sg_guard_certificate_sha256(const struct sg_guard *guard);

/* --- forecast: what unlabelled traffic would cost, before launch ---------------------------------------------- */

/* A share with its exact (Clopper–Pearson) 95 % interval. */
struct sg_share {
    uint64_t n;
    double share, low, high;
};

struct sg_forecast {
    uint64_t n; /* contents looked at */
    struct sg_share by_rules_flagged, by_rules_cleared, cleared, flagged, escalated;
    struct sg_share escalated_by_gate, escalated_by_rules; /* parts of escalated */
    struct sg_share repeated;                     /* of what needs the reasoner: seen before, the cache answers */
    double calls_per_item, calls_low, calls_high; /* reasoner calls, audit included, cache not counted on */
    double bytes_per_call;                        /* mean content of a call */
    double stage_seconds;                         /* rules and screen, a content, measured */
};

struct sg_forecaster;
SG_MUST_CHECK enum sg_status sg_forecaster_create(struct sg_guard *guard, struct sg_forecaster **forecaster_out,
                                                  struct sg_error *err);
void sg_forecaster_destroy(struct sg_forecaster *forecaster);
/* What the guard would do with this content, without asking a reasoner. */
SG_MUST_CHECK enum sg_status sg_forecaster_add(struct sg_forecaster *forecaster, const struct sg_content *content,
                                               bool *needs_reasoner_out, struct sg_error *err);
void sg_forecaster_result(const struct sg_forecaster *forecaster, struct sg_forecast *out);

#ifdef __cplusplus
}
#endif
#endif
