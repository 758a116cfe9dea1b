/* One configuration of an evaluation: what the options say, what --config changes of it, and asking it. */
#ifndef SG_CLI_EVAL_SETUP_H
#define SG_CLI_EVAL_SETUP_H

#include "cli/guard_options.h"
#include "eval/eval_run.h"
#include "eval/report.h"

struct sg_eval_setup {
    const char *name;
    char *text; /* of --config, cut into words; owned */
    /* "FILE" or "LABEL=FILE" */
    struct sg_list policies, rules, screens, certificates;
    struct sg_reasoner_options reasoner_options;
    struct sg_check_options check;
    const char *mode;             /* NULL: cascade where there are rules or a screen, else the reasoner alone */
    const char *category;         /* of the screens */
    const char *small_model;      /* asked before the reasoner; NULL: none */
    const char *predictions, *of; /* a file of answers; of which configuration */
    double threshold;             /* NaN: 0.5, and 0 for the margin of a screen without calibration */
    /* opened */
    struct sg_policy *policy[SG_EVAL_MAX_TASKS]; /* NULL: none for this task */
    struct sg_guard *guard[SG_EVAL_MAX_TASKS];   /* NULL: the reasoner alone */
    struct sg_guard_stage stage;                 /* the reasoners; none where no mode needs one */
    char keys[SG_EVAL_MAX_TASKS][65];
};

/* clang-format off */

/* Rows of an option table that say what a configuration is; `s` is a struct sg_eval_setup. Also the keys of --config. */
#define SG_EVAL_SETUP_OPTIONS(s)                                                                                     \
    {"policy", SG_OPTION_LIST, &(s).policies, "[LABEL=]FILE",                                                        \
     "the policy; its decisions are held against LABEL, a category of the data. Several:\n"                          \
     "each against its own, and rows that all of them get right are counted", 0, 0},                                 \
    SG_REASONER_OPTIONS((s).reasoner_options),                                                                       \
    {"effort", SG_OPTION_STRING, &(s).check.effort, "low|medium|high",                                               \
     "how long the model reasons (the policy's own, else medium)", 0, 0},                                            \
    {"reasoning-budget", SG_OPTION_INT, &(s).check.reasoning_budget, "TOKENS",                                       \
     "end the reasoning after so many tokens and ask for the decision", 0, 1e6},                                     \
    {"temperature", SG_OPTION_DOUBLE, &(s).check.temperature, "T", "0 (greedy) unless given", 0, 10},                \
    {"seed", SG_OPTION_U64, &(s).check.seed, "N", "for --temperature above 0", 0, 0},                                \
    {"mode", SG_OPTION_STRING, &(s).mode, "cascade|reasoner-only|screen-only|shadow|score",                          \
     "which stages decide (cascade where there are rules or a screen); score: the\n"                                 \
     "screen's score alone, at --threshold", 0, 0},                                                                  \
    {"rules", SG_OPTION_LIST, &(s).rules, "[LABEL=]FILE", "the policy's list of rules (docs/rules.md)", 0, 0},       \
    {"screen", SG_OPTION_LIST, &(s).screens, "[LABEL=]FILE", "the policy's screen", 0, 0},                           \
    {"certificate", SG_OPTION_LIST, &(s).certificates, "[LABEL=]FILE",                                               \
     "what the screen may clear or flag by itself", 0, 0},                                                           \
    {"category", SG_OPTION_STRING, &(s).category, "NAME", "of the screen (any)", 0, 0},                              \
    {"small-model", SG_OPTION_STRING, &(s).small_model, "MODEL",                                                     \
     "a cheaper reasoner that is asked first; it decides where the certificate lets it", 0, 0},                      \
    {"threshold", SG_OPTION_DOUBLE, &(s).threshold, "X",                                                             \
     "answers that are a score alone violate from here on (0.5)", -1e9, 1e9}

/* Keys that only --config has. */
#define SG_EVAL_CONFIG_OPTIONS(s)                                                                                    \
    {"predictions", SG_OPTION_STRING, &(s).predictions, "FILE", "answers of an earlier run", 0, 0},                  \
    {"of", SG_OPTION_STRING, &(s).of, "NAME", "of which configuration of a journal", 0, 0}

/* clang-format on */

/* "NAME:key=value,…": a copy of `base` with the keys replaced. SG_EINVALID says what is wrong with it. */
SG_MUST_CHECK enum sg_status sg_eval_setup_parse(const char *text, const struct sg_eval_setup *base,
                                                 struct sg_eval_setup *setup, struct sg_error *err);

/* Label and path of a --policy value; the label is empty where it names none. */
struct sg_slice sg_eval_policy_label(const char *value, const struct sg_eval_rows *rows, const char **path_out);

/* Open the policies of the setup, those of `base` where it has none of its own for a task. */
SG_MUST_CHECK enum sg_status sg_eval_setup_policies(struct sg_eval_setup *setup, const struct sg_list *base,
                                                    const struct sg_eval_rows *rows, const struct sg_eval_task *tasks,
                                                    size_t n_tasks, struct sg_error *err);

/* Models or server, taken over from `before` where that one has the same; guards; then the journal's keys. */
SG_MUST_CHECK enum sg_status sg_eval_setup_open(struct sg_eval_setup *setup, struct sg_eval_setup *before,
                                                const struct sg_eval_rows *rows, const struct sg_eval_task *tasks,
                                                size_t n_tasks, struct sg_error *err);
/* The reasoner proper; NULL where none is asked. */
struct sg_reasoner *sg_eval_setup_reasoner(const struct sg_eval_setup *setup);
SG_MUST_CHECK enum sg_status sg_eval_setup_judge(struct sg_eval_setup *setup, size_t task,
                                                 const struct sg_content *content, struct sg_verdict *verdict,
                                                 struct sg_error *err);
/* What only the configuration knows: mode=score decides the answers by the screen's score; a small model in front of
 * the reasoner is a stage of its own. */
SG_MUST_CHECK enum sg_status sg_eval_setup_settle(const struct sg_eval_setup *setup, struct sg_answer *answers,
                                                  size_t n, struct sg_error *err);
/* What the report shows of it; new reference. */
json_t *sg_eval_setup_json(const struct sg_eval_setup *setup);
/* Guards, reasoner and model only. */
void sg_eval_setup_close(struct sg_eval_setup *setup);
void sg_eval_setup_deinit(struct sg_eval_setup *setup);

#endif
