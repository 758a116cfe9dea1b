/* safeguard check --batch: the rows of a file into JSON lines, as many at a time as the reasoner takes.
 *
 * Workers take rows in the order of the file and judge them; this thread writes their lines in that order. A worker
 * is at most WINDOW_PER_WORKER rows per worker ahead of what is written. */
#include "base/file.h"
#include "cli/batch_out.h"
#include "cli/check.h"
#include "cli/render.h"

#include <jansson.h>
#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>

#define BAR_WIDTH 20
#define WINDOW_PER_WORKER 8
#define WAITING_WORKERS 16
#define MAX_UNAVAILABLE 8 /* rows in a row for which the reasoner was unavailable: then the run ends */

/* A row on its way. lines[policy] is its JSON text, NULL for what was answered before. */
struct job {
    bool done;
    char **lines;
    enum sg_status status; /* not SG_OK: this ends the run */
    struct sg_error err;
    bool kept, failed, unavailable;
    size_t n_decided[3], n_review;
};

struct batch {
    struct sg_check_run *run;
    struct sg_input *input;
    struct sg_out out;
    struct sg_render render; /* for its progress stream */
    size_t n_rows;
    pthread_mutex_t mutex;  /* guards everything below, the input and the progress */
    pthread_cond_t changed; /* a job is done, a row was written, or the run ends */
    size_t next, row;       /* the next to be taken; the next to be written */
    struct job *jobs;       /* [n_jobs]: row i is at i % n_jobs */
    size_t n_jobs, n_workers;
    bool ends; /* take no more rows */
    size_t n_judged, n_kept, n_failed, n_decided[3], n_review, n_unavailable;
    double started, shown;
};

static void show_progress(struct batch *batch, const struct sg_stream_event *event)
{
    FILE *out = batch->render.progress;
    double now = sg_now();
    if (!out || now - batch->shown < 0.1)
        return;
    batch->shown = now;
    char a[32], b[32], eta[32];
    int filled = (int)(BAR_WIDTH * batch->row / batch->n_rows);
    fprintf(out, "\r\033[K[%.*s%*s] %s of %s rows", filled, "####################", BAR_WIDTH - filled, "",
            sg_show_count((int64_t)batch->row, a, sizeof a), sg_show_count((int64_t)batch->n_rows, b, sizeof b));
    if (batch->n_failed)
        fprintf(out, ", %zu failed", batch->n_failed);
    double rate = batch->n_judged ? (double)batch->n_judged / (now - batch->started) : 0;
    if (rate > 0)
        fprintf(out, ", %.*f rows/s, %s left", rate < 10 ? 2 : 0, rate,
                sg_show_time((double)(batch->n_rows - batch->row) / rate, eta, sizeof eta));
    if (event && event->kind == SG_STREAM_PROMPT && event->total > 0)
        fprintf(out, " (reading %d %%)", (int)(100 * event->done / event->total));
    else if (event && event->kind == SG_STREAM_REASONING)
        fputs(" (reasoning)", out);
    fflush(out);
    batch->render.progress_open = true;
}

static void on_stream(void *context, const struct sg_stream_event *event)
{
    struct batch *batch = context;
    pthread_mutex_lock(&batch->mutex);
    show_progress(batch, event);
    pthread_mutex_unlock(&batch->mutex);
}

/* --- judging ---------------------------------------------------------------------------------------------- */

/* What could not be judged: {"schema":1,"id":…,"row":…,"line":…,"policy":{…},"error":{"code","text"}}. */
static enum sg_status error_line(struct batch *batch, struct job *job, const struct sg_input_row *row, size_t policy,
                                 const struct sg_error *what, struct sg_error *err)
{
    const struct sg_policy *judged_by = batch->run->policies[policy];
    json_t *line = json_pack("{s:i, s:s?, s:I, s:I, s:{s:s, s:s}, s:{s:s, s:s}}", "schema", SG_VERDICT_SCHEMA, "id",
                             row->id, "row", (json_int_t)row->row, "line", (json_int_t)row->line, "policy", "id",
                             sg_policy_id(judged_by), "sha256", sg_policy_sha256(judged_by), "error", "code",
                             sg_status_name(what->code), "text", what->text);
    job->lines[policy] = line ? json_dumps(line, JSON_COMPACT) : NULL;
    json_decref(line);
    job->failed = true;
    return job->lines[policy] ? SG_OK : sg_fail(err, SG_ENOMEM, "out of memory for an error line");
}

/* An error that every further row would meet as well ends the run. */
static bool is_fatal(enum sg_status status)
{
    return status == SG_ELIMIT || status == SG_ENOTFOUND;
}

static enum sg_status judge(struct batch *batch, struct job *job, const struct sg_input_row *row,
                            const struct sg_content *content, size_t policy, struct sg_error *err)
{
    struct sg_check_run *run = batch->run;
    struct sg_verdict verdict;
    struct sg_error what;
    sg_verdict_init(&verdict);
    enum sg_status status =
        sg_guard_check(run->guards[policy], content, &run->check, on_stream, batch, &verdict, &what);
    if (sg_interrupted) {
        status = sg_fail(err, SG_ECANCELLED, "interrupted");
    } else if (status != SG_OK && is_fatal(status)) {
        *err = what;
    } else if (status != SG_OK) {
        job->unavailable |= status == SG_EUNAVAILABLE;
        status = error_line(batch, job, row, policy, &what, err);
    } else {
        free(verdict.id);
        verdict.id = strdup(row->id);
        status = verdict.id ? sg_check_json(run, &verdict, &job->lines[policy], err)
                            : sg_fail(err, SG_ENOMEM, "out of memory");
        job->n_decided[verdict.decision]++;
        job->n_review += verdict.needs_review;
    }
    sg_verdict_deinit(&verdict);
    return status;
}

/* Is there an answer to this content already? The same id with another content is another row: its old line goes. */
static bool is_answered(struct batch *batch, size_t at, size_t policy, const char *content_sha256)
{
    struct sg_out_line *line = batch->out.lines ? &batch->out.lines[at * batch->run->n_policies + policy] : NULL;
    if (!line || line->len == 0)
        return false;
    if (content_sha256[0] && strcmp(line->content_sha256, content_sha256) == 0)
        return true;
    *line = (struct sg_out_line){0};
    return false;
}

/* A row as judged content: what the input lends is copied, because other workers ask it for other rows. */
struct taken {
    struct sg_input_row row;
    struct sg_content *content;
    enum sg_status readable;
    struct sg_error what;
    bool *answered;
};

static enum sg_status take(struct batch *batch, size_t at, struct taken *taken, struct sg_error *err)
{
    struct sg_check_run *run = batch->run;
    struct sg_input_row *row = &taken->row;
    *taken = (struct taken){.answered = calloc(run->n_policies, sizeof *taken->answered)};
    if (sg_interrupted)
        return sg_fail(err, SG_ECANCELLED, "interrupted");
    taken->readable = sg_input_row(batch->input, at, row, &taken->what);
    if (taken->readable == SG_OK)
        taken->readable =
            row->is_messages
                ? sg_content_from_json(row->text.ptr, row->text.len, run->judge_index, &taken->content, &taken->what)
                : sg_content_from_text(row->text.ptr, row->text.len, &taken->content, &taken->what);
    char sha256[SG_SHA256_HEX] = "";
    if (taken->readable == SG_OK && batch->out.lines) {
        size_t len;
        const char *text = sg_content_text(taken->content, &len);
        sg_sha256(text, len, sha256);
    }
    for (size_t i = 0; taken->answered && i < run->n_policies; i++)
        taken->answered[i] = is_answered(batch, at, i, sha256);
    bool good = taken->answered != NULL;
    if (row->id) {
        row->id = strdup(row->id);
        good = good && row->id;
    }
    row->text = (struct sg_slice){NULL, 0};
    return good ? SG_OK : sg_fail(err, SG_ENOMEM, "out of memory for a row");
}

/* The worker's part: without the lock, but for reading the input. */
static void do_row(struct batch *batch, size_t at, struct job *job)
{
    struct taken taken;
    size_t n_policies = batch->run->n_policies, n_answered = 0;
    pthread_mutex_lock(&batch->mutex);
    job->status = take(batch, at, &taken, &job->err);
    pthread_mutex_unlock(&batch->mutex);
    for (size_t i = 0; i < n_policies && job->status == SG_OK; i++) {
        if (taken.answered[i])
            n_answered++;
        else if (taken.readable == SG_OK)
            job->status = judge(batch, job, &taken.row, taken.content, i, &job->err);
        else
            job->status = error_line(batch, job, &taken.row, i, &taken.what, &job->err);
    }
    job->kept = n_answered == n_policies;
    sg_content_destroy(taken.content);
    free((char *)taken.row.id);
    free(taken.answered);
}

static void *work(void *argument)
{
    struct batch *batch = argument;
    pthread_mutex_lock(&batch->mutex);
    for (;;) {
        while (!batch->ends && batch->next < batch->n_rows && batch->next >= batch->row + batch->n_jobs)
            pthread_cond_wait(&batch->changed, &batch->mutex);
        if (batch->ends || batch->next >= batch->n_rows)
            break;
        size_t at = batch->next++;
        struct job *job = &batch->jobs[at % batch->n_jobs];
        pthread_mutex_unlock(&batch->mutex);
        do_row(batch, at, job);
        pthread_mutex_lock(&batch->mutex);
        job->done = true;
        pthread_cond_broadcast(&batch->changed);
    }
    pthread_mutex_unlock(&batch->mutex);
    return NULL;
}

/* --- writing ---------------------------------------------------------------------------------------------- */

/* The next row in order is done: its lines, and what it adds to the sums. Under the lock. */
static enum sg_status write_row(struct batch *batch, struct job *job, struct sg_error *err)
{
    size_t n_policies = batch->run->n_policies;
    enum sg_status status = SG_OK;
    for (size_t i = 0; i < n_policies; i++) {
        if (job->lines[i] && status == SG_OK) {
            if (!batch->out.path)
                sg_render_end(&batch->render); /* the same terminal, perhaps */
            status = sg_out_write(&batch->out, batch->row * n_policies + i, job->lines[i], err);
        }
        free(job->lines[i]);
        job->lines[i] = NULL;
    }
    for (int i = 0; i < 3; i++)
        batch->n_decided[i] += job->n_decided[i];
    batch->n_review += job->n_review;
    batch->n_failed += job->failed;
    batch->n_kept += job->kept;
    batch->n_judged += !job->kept;
    batch->n_unavailable = job->unavailable ? batch->n_unavailable + 1 : job->kept ? batch->n_unavailable : 0;
    if (status == SG_OK && job->status != SG_OK) {
        *err = job->err;
        status = job->status;
    }
    if (status == SG_OK && batch->n_unavailable >= MAX_UNAVAILABLE)
        status = sg_fail(err, SG_EUNAVAILABLE, "the reasoner was unavailable for %zu rows in a row, see their lines",
                         batch->n_unavailable);
    return status;
}

/* Write rows in order until all are written or one ends the run. Under the lock. */
static enum sg_status write_rows(struct batch *batch, struct sg_error *err)
{
    enum sg_status status = SG_OK;
    while (status == SG_OK && batch->row < batch->n_rows) {
        struct job *job = &batch->jobs[batch->row % batch->n_jobs];
        if (!job->done) {
            pthread_cond_wait(&batch->changed, &batch->mutex);
            continue;
        }
        status = write_row(batch, job, err);
        *job = (struct job){.lines = job->lines};
        batch->row += status == SG_OK;
        show_progress(batch, NULL);
        pthread_cond_broadcast(&batch->changed);
    }
    return status;
}

static enum sg_status open_out(struct batch *batch, struct sg_error *err)
{
    struct sg_check_run *run = batch->run;
    if (!run->resume)
        return sg_out_create(run->out, run->overwrite, &batch->out, err);
    char models[2][65]; /* a server's model has no hash: its URL and name stand in the options */
    const char *policies[SG_LIST_MAX];
    struct sg_buffer options = {0};
    for (size_t i = 0; i < run->n_policies; i++)
        policies[i] = sg_policy_sha256(run->policies[i]);
    sg_check_options_json(run, &options);
    enum sg_status status = sg_buffer_status(&options, err);
    if (status == SG_OK)
        status = sg_guard_stage_sha256(&run->stage, models, err);
    struct sg_out_key key = {policies, run->n_policies, {models[0], models[1]}, options.data};
    if (status == SG_OK)
        status = sg_out_resume(run->out, batch->input, &key, &batch->out, err);
    sg_buffer_free(&options);
    return status;
}

static void say_summary(const struct batch *batch)
{
    fprintf(stderr, "safeguard: %zu of %zu rows", batch->row, batch->n_rows);
    if (batch->n_kept)
        fprintf(stderr, " (%zu answered before)", batch->n_kept);
    fprintf(stderr, ": %zu verdicts violate, %zu do not, %zu are undecided", batch->n_decided[SG_VIOLATES],
            batch->n_decided[SG_DOES_NOT_VIOLATE], batch->n_decided[SG_UNDECIDED]);
    if (batch->n_review)
        fprintf(stderr, "; %zu need review", batch->n_review);
    if (batch->n_failed)
        fprintf(stderr, "; %zu rows failed", batch->n_failed);
    fputc('\n', stderr);
}

static void say_notes(const struct batch *batch)
{
    for (const char *at = sg_input_notes(batch->input); *at;) {
        size_t len = strcspn(at, "\n");
        fprintf(stderr, "safeguard: %s: ", batch->run->batch);
        fwrite(at, 1, len + 1, stderr);
        at += len + 1;
    }
}

static enum sg_status make_jobs(struct batch *batch, struct sg_error *err)
{
    const struct sg_guard_stage *stage = &batch->run->stage;
    batch->n_workers = stage->n ? (size_t)sg_reasoner_in_flight(stage->reasoners[stage->n - 1]) : 1;
    /* Where callers wait for a budget, several have to, or there would be nothing to choose among. */
    if (batch->run->guard_options.calls_per_second > 0 || batch->run->guard_options.tokens_per_second > 0)
        batch->n_workers += WAITING_WORKERS;
    batch->n_jobs = batch->n_workers * WINDOW_PER_WORKER;
    batch->jobs = calloc(batch->n_jobs, sizeof *batch->jobs);
    bool good = batch->jobs != NULL;
    for (size_t i = 0; good && i < batch->n_jobs; i++) {
        batch->jobs[i].lines = calloc(batch->run->n_policies, sizeof(char *));
        good = batch->jobs[i].lines != NULL;
    }
    return good ? SG_OK : sg_fail(err, SG_ENOMEM, "out of memory for %zu rows in flight", batch->n_jobs);
}

static void free_jobs(struct batch *batch)
{
    for (size_t i = 0; batch->jobs && i < batch->n_jobs; i++) {
        for (size_t k = 0; batch->jobs[i].lines && k < batch->run->n_policies; k++)
            free(batch->jobs[i].lines[k]);
        free(batch->jobs[i].lines);
    }
    free(batch->jobs);
}

/* Start workers, write, wait for the workers. When the run ends early, what is in flight is cancelled. */
static enum sg_status run_workers(struct batch *batch, struct sg_error *err)
{
    pthread_t *workers = calloc(batch->n_workers, sizeof *workers);
    size_t n = 0;
    while (workers && n < batch->n_workers && n < batch->n_rows &&
           pthread_create(&workers[n], NULL, work, batch) == 0)
        n++;
    pthread_mutex_lock(&batch->mutex);
    enum sg_status status = n || !batch->n_rows ? SG_OK : sg_fail(err, SG_ENOMEM, "cannot start a thread");
    if (status == SG_OK)
        status = write_rows(batch, err);
    batch->ends = true;
    if (batch->next > batch->row)
        sg_guard_cancel(batch->run->guards[0]);
    pthread_cond_broadcast(&batch->changed);
    pthread_mutex_unlock(&batch->mutex);
    for (size_t i = 0; i < n; i++)
        pthread_join(workers[i], NULL);
    free(workers);
    return status;
}

/* All rows; the output file is open. */
static enum sg_status run_rows(struct batch *batch, struct sg_error *err)
{
    pthread_mutex_init(&batch->mutex, NULL);
    pthread_cond_init(&batch->changed, NULL);
    batch->started = sg_now();
    show_progress(batch, NULL);
    enum sg_status status = make_jobs(batch, err);
    if (status == SG_OK)
        status = run_workers(batch, err);
    free_jobs(batch);
    pthread_cond_destroy(&batch->changed);
    pthread_mutex_destroy(&batch->mutex);
    sg_render_end(&batch->render);
    struct sg_error closing;
    enum sg_status closed = sg_out_close(&batch->out, &closing);
    if (status == SG_OK && closed != SG_OK) {
        *err = closing;
        status = closed;
    }
    return status;
}

int sg_batch_run(struct sg_check_run *run)
{
    struct batch batch = {.run = run};
    struct sg_error err;
    if (run->guard_options.features < 0)
        run->guard_options.features = 0; /* they take longer to find than the score itself */
    enum sg_status status = sg_input_open(run->batch, &run->input, &batch.input, &err);
    if (status != SG_OK)
        return sg_say_error(&err, status == SG_EINVALID ? SG_EXIT_USAGE : SG_EXIT_FAILURE);
    batch.n_rows = sg_input_count(batch.input);
    sg_render_init(&batch.render, run->quiet);
    say_notes(&batch);
    bool opened = false;
    status = sg_check_open(run, &err);
    if (status == SG_OK) {
        status = open_out(&batch, &err);
        opened = status == SG_OK;
    }
    if (opened) {
        sg_catch_guard_interrupts(run->guards[0]);
        status = run_rows(&batch, &err);
        if (!run->quiet)
            say_summary(&batch);
    }
    sg_input_close(batch.input);
    if (sg_interrupted && status == SG_ECANCELLED) {
        fprintf(stderr, "safeguard: interrupted; %s\n",
                run->out ? "the same command with --resume goes on" : "the lines written so far are whole");
        return SG_EXIT_INTERRUPTED;
    }
    if (status != SG_OK)
        return sg_say_error(&err, !opened && status == SG_EINVALID ? SG_EXIT_USAGE : SG_EXIT_FAILURE);
    return batch.n_failed ? SG_EXIT_ROWS : SG_EXIT_OK;
}
