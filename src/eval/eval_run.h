/* Asking one configuration its questions: a row, a task, perhaps an attack on the row's text. Several at a time where
 * the configuration can; answers already in the journal are taken from there. */
#ifndef SG_EVAL_EVAL_RUN_H
#define SG_EVAL_EVAL_RUN_H

#include "eval/answer.h"
#include "eval/journal.h"
#include "safeguard/content.h"

#include <signal.h>

struct sg_question {
    size_t row, task;
    const char *attack;   /* NULL: the row as it is */
    struct sg_slice text; /* what is judged; `text.ptr` NULL: the row's own */
};

struct sg_eval_pass {
    const struct sg_eval_rows *rows;
    const char *config;         /* name */
    const char *const *keys;    /* of each task: see journal.h */
    struct sg_journal *journal; /* NULL: none */
    int in_flight;
    double threshold;
    /* Judge one content; an error is of this content unless it is SG_ELIMIT, SG_ENOTFOUND, SG_EUNAVAILABLE or
     * SG_ECANCELLED: those end the pass. From `in_flight` threads. */
    enum sg_status (*judge)(void *context, size_t task, const struct sg_content *content, struct sg_verdict *verdict,
                            struct sg_error *err);
    void (*progress)(void *context, size_t done, size_t total); /* may be NULL; one call at a time */
    void *context;
    const volatile sig_atomic_t *interrupted; /* NULL: cannot be */
};

/* answers[n], zeroed by the caller; filled as far as it came also on failure. SG_ECANCELLED when interrupted. */
SG_MUST_CHECK enum sg_status sg_eval_run(const struct sg_eval_pass *pass, const struct sg_question *questions,
                                         size_t n, struct sg_answer *answers, struct sg_error *err);

#endif
