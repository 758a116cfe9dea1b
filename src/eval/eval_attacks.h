/* The robustness suite: the known evasions (attacks.h) applied to violating rows, put to the same configurations. */
#ifndef SG_EVAL_EVAL_ATTACKS_H
#define SG_EVAL_EVAL_ATTACKS_H

#include "eval/attacks.h"
#include "eval/eval_run.h"
#include "eval/report.h"

struct sg_attack_set {
    struct sg_eval_attacks report; /* what sg_report_make is given */
    struct sg_question *questions; /* [attack][row]; text.ptr NULL where the attack finds nothing to change */
    struct sg_buffer *texts;       /* of the questions */
    const char *names[SG_N_ATTACKS];
};

/* Attack at most max_rows violating rows of each task, one of each group, drawn by the seed; conversations are left
 * out. Padding is made of rows that do not violate. SG_EINVALID when no row violates. */
SG_MUST_CHECK enum sg_status sg_attack_set_make(const struct sg_eval *eval, const enum sg_attack *attacks,
                                                size_t n_attacks, size_t max_rows, uint64_t seed,
                                                struct sg_attack_set *set, struct sg_error *err);
/* Put all of it to one configuration; its answers go into set->report. */
SG_MUST_CHECK enum sg_status sg_attack_set_run(struct sg_attack_set *set, const struct sg_eval_pass *pass,
                                               size_t config, struct sg_error *err);
void sg_attack_set_deinit(struct sg_attack_set *set);

#endif
