#include "eval/eval_run.h"

#include "base/file.h"
#include "base/pool.h"

#include <limits.h>
#include <pthread.h>
#include <stdlib.h>

struct run {
    const struct sg_eval_pass *pass;
    const struct sg_question *questions;
    struct sg_answer *answers;
    size_t n, n_done;
    pthread_mutex_t lock;
    enum sg_status status; /* the first error that ends the pass */
    struct sg_error err;
};

static bool ends_pass(enum sg_status status)
{
    return status == SG_ELIMIT || status == SG_ENOTFOUND || status == SG_EUNAVAILABLE || status == SG_ECANCELLED ||
           status == SG_ENOMEM;
}

/* What could not be judged, as a line. */
static json_t *error_line(const struct sg_error *what)
{
    return json_pack("{s:i, s:{s:s, s:s}}", "schema", SG_VERDICT_SCHEMA, "error", "code", sg_status_name(what->code),
                     "text", what->text);
}

/* Ask; *line_out is a new reference. */
static enum sg_status ask(const struct sg_eval_pass *pass, const struct sg_question *question, struct sg_slice text,
                          json_t **line_out, struct sg_error *err)
{
    const struct sg_eval_row *row = &pass->rows->rows[question->row];
    struct sg_content *content = NULL;
    struct sg_verdict verdict;
    struct sg_error what;
    char *json = NULL;
    *line_out = NULL;
    sg_verdict_init(&verdict);
    enum sg_status status = row->is_messages && !question->text.ptr
                                ? sg_content_from_json(text.ptr, text.len, SG_JUDGE_LAST, &content, &what)
                                : sg_content_from_text(text.ptr, text.len, &content, &what);
    if (status == SG_OK)
        status = pass->judge(pass->context, question->task, content, &verdict, &what);
    if (pass->interrupted && *pass->interrupted)
        status = sg_fail(&what, SG_ECANCELLED, "interrupted"); /* a verdict cut short is no verdict */
    if (status == SG_OK)
        status = sg_verdict_to_json(&verdict, &json, &what);
    if (status == SG_OK)
        *line_out = json_loads(json, 0, NULL);
    else if (!ends_pass(status))
        *line_out = error_line(&what);
    if (status != SG_OK && ends_pass(status))
        *err = what;
    else
        status = *line_out ? SG_OK : sg_fail(err, SG_ENOMEM, "no memory for an answer");
    free(json);
    sg_verdict_deinit(&verdict);
    sg_content_destroy(content);
    return status;
}

static enum sg_status answer(const struct run *run, size_t i, struct sg_error *err)
{
    const struct sg_eval_pass *pass = run->pass;
    const struct sg_question *question = &run->questions[i];
    const struct sg_eval_row *row = &pass->rows->rows[question->row];
    struct sg_slice text = question->text.ptr ? question->text : row->text;
    char sha256[SG_SHA256_HEX];
    sg_sha256(text.ptr, text.len, sha256);
    struct sg_journal_question asked = {pass->config, pass->keys[question->task], row->id, sha256, question->attack};
    json_t *line = pass->journal ? json_incref(sg_journal_find(pass->journal, &asked)) : NULL;
    enum sg_status status = SG_OK;
    if (!line) {
        status = ask(pass, question, text, &line, err);
        if (status == SG_OK)
            status =
                pass->journal ? sg_journal_add(pass->journal, &asked, line, err) : sg_journal_mark(&asked, line, err);
    }
    if (status == SG_OK)
        status = sg_answer_read(line, pass->threshold, &run->answers[i], err);
    json_decref(line);
    return status;
}

static void on_item(void *context, int item, int thread)
{
    struct run *run = context;
    struct sg_error err;
    (void)thread;
    pthread_mutex_lock(&run->lock);
    bool stopped = run->status != SG_OK;
    pthread_mutex_unlock(&run->lock);
    if (stopped)
        return;
    enum sg_status status = run->pass->interrupted && *run->pass->interrupted
                                ? sg_fail(&err, SG_ECANCELLED, "interrupted")
                                : answer(run, (size_t)item, &err);
    pthread_mutex_lock(&run->lock);
    run->n_done += status == SG_OK;
    if (status != SG_OK && run->status == SG_OK) {
        run->status = status;
        run->err = err;
    }
    if (run->pass->progress && run->status == SG_OK)
        run->pass->progress(run->pass->context, run->n_done, run->n);
    pthread_mutex_unlock(&run->lock);
}

enum sg_status sg_eval_run(const struct sg_eval_pass *pass, const struct sg_question *questions, size_t n,
                           struct sg_answer *answers, struct sg_error *err)
{
    struct run run = {.pass = pass, .questions = questions, .answers = answers, .n = n};
    struct sg_pool *pool;
    if (n > INT_MAX)
        return sg_fail(err, SG_ELIMIT, "%zu questions, the limit is %d", n, INT_MAX);
    enum sg_status status = sg_pool_create(pass->in_flight > 1 ? pass->in_flight : 1, &pool, err);
    if (status != SG_OK)
        return status;
    pthread_mutex_init(&run.lock, NULL);
    sg_pool_run(pool, on_item, &run, (int)n);
    pthread_mutex_destroy(&run.lock);
    sg_pool_destroy(pool);
    if (run.status != SG_OK && err)
        *err = run.err;
    return run.status;
}
