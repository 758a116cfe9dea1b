/* The journal of an evaluation: every verdict as soon as it is there, one JSON line each, so that an interrupted run
 * goes on where it ended. A line is the verdict with {"eval":{"config","key","content_sha256","attack"}} added; the
 * file can also be read as predictions. */
#ifndef SG_EVAL_JOURNAL_H
#define SG_EVAL_JOURNAL_H

#include "safeguard/status.h"

#include <jansson.h>
#include <stdbool.h>

/* What was asked: the same question need not be asked again. */
struct sg_journal_question {
    const char *config; /* its name: shown, no part of the identity */
    const char *key;    /* hash of everything that the answer depends on besides the content */
    const char *id;
    const char *content_sha256; /* of what was judged: the attacked text, where there is an attack */
    const char *attack;         /* NULL: none */
};

struct sg_journal;

/* With `resume` the lines that are there are read and a torn last one is dropped; without it a file with something in
 * it is SG_EINVALID. Held under a lock. SG_EFORMAT when the file holds something else. */
SG_MUST_CHECK enum sg_status sg_journal_open(const char *path, bool resume, struct sg_journal **journal_out,
                                             struct sg_error *err);
/* The answer of an earlier run, borrowed; NULL when there is none. Failed ones are not kept. */
json_t *sg_journal_find(const struct sg_journal *journal, const struct sg_journal_question *question);
/* Adds "id" and "eval" to the line and appends it. From any thread. */
SG_MUST_CHECK enum sg_status sg_journal_add(struct sg_journal *journal, const struct sg_journal_question *question,
                                            json_t *line, struct sg_error *err);
/* Closes in every case. NULL is nothing to do. */
SG_MUST_CHECK enum sg_status sg_journal_close(struct sg_journal *journal, struct sg_error *err);

/* Only the "id" and "eval" of a line, for runs without a journal. */
SG_MUST_CHECK enum sg_status sg_journal_mark(const struct sg_journal_question *question, json_t *line,
                                             struct sg_error *err);

#endif
