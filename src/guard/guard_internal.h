/* Parts of the guard: what is opened once (struct sg_guard), working memory of one check (struct sg_desk), and what
 * the stages before the reasoners see of one content (struct sg_look, look.c). */
#ifndef SG_GUARD_GUARD_INTERNAL_H
#define SG_GUARD_GUARD_INTERNAL_H

#include "guard/cache.h"
#include "guard/certificate.h"
#include "guard/governor.h"
#include "guard/rules.h"

#include <pthread.h>

struct sg_desk;

struct sg_guard {
    const struct sg_policy *policy;
    struct sg_guard_options options; /* its strings point into `strings` */
    char *strings[4];
    struct sg_rules *rules;
    struct sg_screen *screen;
    bool screen_damaged;
    size_t category; /* of the screen */
    struct sg_certificate *certificate;
    const struct sg_certificate_entry *claims; /* of the category; NULL without a certificate */
    double clear_below, flag_above;            /* margins; NaN: clears or flags nothing */
    struct sg_governor *governors[SG_GUARD_MAX_REASONERS], *own_governors[SG_GUARD_MAX_REASONERS];
    struct sg_cache *cache;
    pthread_mutex_t mutex; /* of what is below */
    struct sg_desk *free_desks;
    struct sg_guard_counts counts;
};

/* --- working memory: taken by one check at a time, made when there is none free ------------------------------- */

SG_MUST_CHECK enum sg_status sg_desk_take(struct sg_guard *guard, struct sg_desk **desk_out, struct sg_error *err);
void sg_desk_give_back(struct sg_guard *guard, struct sg_desk *desk); /* may be NULL */
void sg_desks_destroy(struct sg_guard *guard);

/* --- what rules, normaliser and screen see -------------------------------------------------------------------- */

#define SG_LOOK_MAX_FEATURES 16

struct sg_look {
    struct sg_rules_result rules;
    unsigned signals; /* enum sg_signal */
    bool evasive;     /* may not be cleared by a score or a rule */
    bool scored;
    struct sg_screen_score score;
    struct sg_screen_feature features[SG_LOOK_MAX_FEATURES];
    size_t n_features;
};

/* Normalise, and match the rules where `match` says so. */
SG_MUST_CHECK enum sg_status sg_look_rules(struct sg_guard *guard, const struct sg_content *content, bool match,
                                           struct sg_desk *desk, struct sg_look *look, struct sg_error *err);
SG_MUST_CHECK enum sg_status sg_look_screen(struct sg_guard *guard, const struct sg_content *content,
                                            struct sg_desk *desk, struct sg_look *look, struct sg_error *err);

/* The decision of the stages before the reasoners: violates > escalate > clear among rules, rules before the screen,
 * and nothing evasive is ever cleared. */
enum sg_cheap { SG_CHEAP_ESCALATES, SG_CHEAP_RULE_FLAGS, SG_CHEAP_RULE_CLEARS, SG_CHEAP_CLEARS, SG_CHEAP_FLAGS };
enum sg_cheap sg_look_settle(const struct sg_guard *guard, const struct sg_look *look);

/* Write signals, rule matches and the screen's trace into a verdict that has none yet. */
SG_MUST_CHECK enum sg_status sg_look_attach(const struct sg_guard *guard, const struct sg_content *content,
                                            const struct sg_look *look, struct sg_verdict *verdict,
                                            struct sg_error *err);

#endif
