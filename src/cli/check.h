/* The verb "check": what one run needs, shared by the single check and the batch. */
#ifndef SG_CLI_CHECK_H
#define SG_CLI_CHECK_H

#include "cli/guard_options.h"
#include "input/input.h"
#include "safeguard/safeguard.h"

#include <signal.h>

struct sg_check_run {
    const struct sg_verb *verb;
    struct sg_settings settings;
    /* from the command line */
    struct sg_list policy_paths;
    const char *judge, *file, *batch, *out;
    bool quiet, json, conversation, resume, overwrite;
    struct sg_reasoner_options reasoner_options;
    struct sg_guard_cli guard_options;
    struct sg_check_options check;
    struct sg_input_options input;
    const char *format, *separator;
    /* opened */
    int judge_index;
    struct sg_policy *policies[SG_LIST_MAX];
    size_t n_policies;
    struct sg_guard_stage stage;
    struct sg_guard *guards[SG_LIST_MAX]; /* one for each policy */
};

/* Set by Ctrl-C and SIGTERM between sg_catch_interrupts and the end; a second one ends the program at once. */
extern volatile sig_atomic_t sg_interrupted;
/* From now on an interrupt cancels the checks in progress of `reasoner`. */
void sg_catch_interrupts(struct sg_reasoner *reasoner);
/* The same for a guard: waits for the reasoner end too. */
void sg_catch_guard_interrupts(struct sg_guard *guard);

/* Open the reasoners and the guard of every policy. */
SG_MUST_CHECK enum sg_status sg_check_open(struct sg_check_run *run, struct sg_error *err);

/* The verdict's JSON with the options as they were asked for ("options": effort, budget, context, judge …), so that
 * a line tells by what it was made and --resume can tell whether it is the same. free() *json_out. */
SG_MUST_CHECK enum sg_status sg_check_json(const struct sg_check_run *run, const struct sg_verdict *verdict,
                                           char **json_out, struct sg_error *err);
/* The value of "options", appended to `out`. */
void sg_check_options_json(const struct sg_check_run *run, struct sg_buffer *out);

/* Worst of two exit statuses of verdicts: 10 > 12 > 11 > 0. */
int sg_check_worse(int a, int b);
int sg_check_exit(const struct sg_verdict *verdict);

/* Judge the rows of run->batch; returns the exit status. */
int sg_batch_run(struct sg_check_run *run);

#endif
