/* The guard that the options of a verb ask for: what stands before the reasoner, and how much of it there may be. */
#ifndef SG_CLI_GUARD_OPTIONS_H
#define SG_CLI_GUARD_OPTIONS_H

#include "cli/reasoner_options.h"
#include "safeguard/guard.h"

struct sg_guard_cli {
    const char *rules, *screen, *certificate, *category, *mode;
    const char *small_model; /* in front of the reasoner */
    const char *budget;      /* "2", "30/min", "500tokens/s" */
    double platform_compute; /* share; 0: not said */
    double platform_tokens;  /* tokens per second of the platform's own models */
    double max_wait_s, severity, audit;
    uint64_t audit_seed;
    int cache_mb, features; /* features -1: not said */
    /* settled by sg_guard_cli_wrong */
    enum sg_guard_mode guard_mode;
    double calls_per_second, tokens_per_second;
};

/* The rows of a verb's table; `o` is a struct sg_guard_cli. */
#define SG_GUARD_OPTIONS(o)                                                                                          \
    {"rules",                                                                                                        \
     SG_OPTION_STRING,                                                                                               \
     &(o).rules,                                                                                                     \
     "FILE",                                                                                                         \
     "phrases and expressions that violate, escalate or clear (docs/rules.md)",                                      \
     0,                                                                                                              \
     0},                                                                                                             \
        {"screen",                                                                                                   \
         SG_OPTION_STRING,                                                                                           \
         &(o).screen,                                                                                                \
         "FILE",                                                                                                     \
         "the policy's screen; without a certificate it clears nothing",                                             \
         0,                                                                                                          \
         0},                                                                                                         \
        {"certificate",                                                                                              \
         SG_OPTION_STRING,                                                                                           \
         &(o).certificate,                                                                                           \
         "FILE",                                                                                                     \
         "what the screen may clear and flag without the reasoner",                                                  \
         0,                                                                                                          \
         0},                                                                                                         \
        {"category", SG_OPTION_STRING, &(o).category, "NAME", "of the screen (any)", 0, 0},                          \
        {"mode",                                                                                                     \
         SG_OPTION_STRING,                                                                                           \
         &(o).mode,                                                                                                  \
         "cascade|reasoner-only|screen-only|shadow",                                                                 \
         "who decides (cascade); shadow: the reasoner, the rest is only recorded",                                   \
         0,                                                                                                          \
         0},                                                                                                         \
        {"small-model",                                                                                              \
         SG_OPTION_STRING,                                                                                           \
         &(o).small_model,                                                                                           \
         "MODEL",                                                                                                    \
         "a cheaper reasoner that is asked first; it decides where the certificate lets it",                         \
         0,                                                                                                          \
         0},                                                                                                         \
        {"cache", SG_OPTION_INT, &(o).cache_mb, "MB", "keep verdicts for contents that come again", 0, 1 << 20},     \
        {"reasoner-budget",                                                                                          \
         SG_OPTION_STRING,                                                                                           \
         &(o).budget,                                                                                                \
         "BUDGET",                                                                                                   \
         "most calls or tokens of the reasoner: 2/s, 30/min, 500tokens/s",                                           \
         0,                                                                                                          \
         0},                                                                                                         \
        {"platform-compute",                                                                                         \
         SG_OPTION_DOUBLE,                                                                                           \
         &(o).platform_compute,                                                                                      \
         "SHARE",                                                                                                    \
         "the same as a share of all compute, the reasoner's included: 0.16 with\n--platform-tokens",                \
         0,                                                                                                          \
         0.99},                                                                                                      \
        {"platform-tokens",                                                                                          \
         SG_OPTION_DOUBLE,                                                                                           \
         &(o).platform_tokens,                                                                                       \
         "N",                                                                                                        \
         "tokens per second that the platform's own models handle",                                                  \
         0,                                                                                                          \
         1e15},                                                                                                      \
        {"max-wait",                                                                                                 \
         SG_OPTION_DOUBLE,                                                                                           \
         &(o).max_wait_s,                                                                                            \
         "SECONDS",                                                                                                  \
         "longest wait for the budget; what cannot be asked by then is provisional",                                 \
         0,                                                                                                          \
         86400},                                                                                                     \
        {"severity", SG_OPTION_DOUBLE, &(o).severity, "N", "weight of this policy when the budget is short (1)", 0,  \
         1e6},                                                                                                       \
        {"audit",                                                                                                    \
         SG_OPTION_DOUBLE,                                                                                           \
         &(o).audit,                                                                                                 \
         "SHARE",                                                                                                    \
         "of what would be cleared, the share that the reasoner sees all the same",                                  \
         0,                                                                                                          \
         1},                                                                                                         \
        {"audit-seed", SG_OPTION_U64, &(o).audit_seed, "N", "of that draw; keep it secret", 0, 0},                   \
    {                                                                                                                \
        "features", SG_OPTION_INT, &(o).features, "N", "of the screen, in every verdict (5; --batch: 0)", 0, 16      \
    }

void sg_guard_cli_init(struct sg_guard_cli *options);

/* What is wrong with the options taken together, or NULL. */
const char *sg_guard_cli_wrong(struct sg_guard_cli *options, size_t n_policies);

/* Did anybody ask for more than a reasoner? */
bool sg_guard_cli_asked(const struct sg_guard_cli *options);

/* The reasoners and their governors, shared by the guards of all policies. */
struct sg_guard_stage {
    struct sg_model *models[2]; /* NULL where a server or a file answers */
    struct sg_reasoner *reasoners[2];
    struct sg_governor *governors[2];
    size_t n; /* the last one is the reasoner proper; 0 in mode screen-only */
};
SG_MUST_CHECK enum sg_status sg_guard_stage_open(const struct sg_guard_cli *options,
                                                 const struct sg_reasoner_options *reasoner,
                                                 struct sg_guard_stage *stage, struct sg_error *err);
void sg_guard_stage_close(struct sg_guard_stage *stage);
/* Hashes of the models in the order in which they are asked, "" for one that has none (a server's). */
SG_MUST_CHECK enum sg_status sg_guard_stage_sha256(const struct sg_guard_stage *stage, char hex_out[2][65],
                                                   struct sg_error *err);

/* A guard for one policy. Says on standard error when the screen is damaged and everything escalates. */
SG_MUST_CHECK enum sg_status sg_guard_cli_open(const struct sg_guard_cli *options, const struct sg_guard_stage *stage,
                                               const struct sg_policy *policy, struct sg_guard **guard_out,
                                               struct sg_error *err);

/* ,"guard":{…}: what, beside the reasoner, a verdict depends on; nothing when nobody asked for more than a reasoner.
 */
void sg_guard_cli_json(const struct sg_guard_cli *options, const struct sg_guard *guard, struct sg_buffer *out);

#endif
