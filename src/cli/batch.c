/* safeguard check --batch: the rows of a file, one after the other, into JSON lines. */
#include "cli/batch_out.h"
#include "cli/check.h"
#include "cli/render.h"

#include <jansson.h>
#include <stdlib.h>
#include <unistd.h>

#define BAR_WIDTH 20

struct batch {
    struct sg_check_run *run;
    struct sg_input *input;
    struct sg_out out;
    struct sg_render render; /* for its progress stream */
    size_t n_rows, row;      /* row: the one in hand, from 0 */
    size_t n_judged, n_kept, n_failed, n_decided[3], n_review;
    bool row_failed;
    double started, shown, judged_seconds;
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
    show_progress(context, event);
}

static enum sg_status write_line(struct batch *batch, size_t policy, const char *json, struct sg_error *err)
{
    if (!batch->out.path)
        sg_render_end(&batch->render); /* the same terminal, perhaps */
    return sg_out_write(&batch->out, batch->row * batch->run->n_policies + policy, json, err);
}

/* What could not be judged: {"schema":1,"id":…,"row":…,"line":…,"policy":{…},"error":{"code","text"}}. */
static enum sg_status write_error(struct batch *batch, const struct sg_input_row *row, size_t policy,
                                  const struct sg_error *what, struct sg_error *err)
{
    const struct sg_policy *judged_by = batch->run->policies[policy];
    json_t *line = json_pack("{s:i, s:s?, s:I, s:I, s:{s:s, s:s}, s:{s:s, s:s}}", "schema", SG_VERDICT_SCHEMA, "id",
                             row->id, "row", (json_int_t)row->row, "line", (json_int_t)row->line, "policy", "id",
                             sg_policy_id(judged_by), "sha256", sg_policy_sha256(judged_by), "error", "code",
                             sg_status_name(what->code), "text", what->text);
    char *json = line ? json_dumps(line, JSON_COMPACT) : NULL;
    json_decref(line);
    enum sg_status status =
        json ? write_line(batch, policy, json, err) : sg_fail(err, SG_ENOMEM, "out of memory for an error line");
    free(json);
    batch->row_failed = true;
    return status;
}

/* An error that every further row would meet as well ends the run. */
static bool is_fatal(enum sg_status status)
{
    return status == SG_ELIMIT || status == SG_ENOTFOUND || status == SG_EUNAVAILABLE;
}

static enum sg_status judge(struct batch *batch, const struct sg_input_row *row, const struct sg_content *content,
                            size_t policy, struct sg_error *err)
{
    struct sg_check_run *run = batch->run;
    struct sg_verdict verdict;
    struct sg_error what;
    char *json = NULL;
    sg_verdict_init(&verdict);
    enum sg_status status = sg_reasoner_check(run->reasoner, run->policies[policy], content, &run->check, on_stream,
                                              batch, &verdict, &what);
    if (sg_interrupted) {
        status = sg_fail(err, SG_ECANCELLED, "interrupted");
    } else if (status != SG_OK && is_fatal(status)) {
        *err = what;
    } else if (status != SG_OK) {
        status = write_error(batch, row, policy, &what, err);
    } else {
        free(verdict.id);
        verdict.id = strdup(row->id);
        status = verdict.id ? sg_check_json(run, &verdict, &json, err) : sg_fail(err, SG_ENOMEM, "out of memory");
        if (status == SG_OK)
            status = write_line(batch, policy, json, err);
        batch->n_decided[verdict.decision]++;
        batch->n_review += verdict.needs_review;
    }
    free(json);
    sg_verdict_deinit(&verdict);
    return status;
}

static bool is_answered(const struct batch *batch, size_t policy)
{
    return batch->out.lines && batch->out.lines[batch->row * batch->run->n_policies + policy].len > 0;
}

static enum sg_status do_row(struct batch *batch, struct sg_error *err)
{
    struct sg_input_row row;
    struct sg_error what;
    struct sg_content *content = NULL;
    size_t n_policies = batch->run->n_policies, n_answered = 0;
    for (size_t i = 0; i < n_policies; i++)
        n_answered += is_answered(batch, i);
    if (n_answered == n_policies) {
        batch->n_kept++;
        return SG_OK;
    }
    enum sg_status readable = sg_input_row(batch->input, batch->row, &row, &what);
    if (readable == SG_OK)
        readable = row.is_messages
                       ? sg_content_from_json(row.text.ptr, row.text.len, batch->run->judge_index, &content, &what)
                       : sg_content_from_text(row.text.ptr, row.text.len, &content, &what);
    enum sg_status status = SG_OK;
    batch->row_failed = false;
    for (size_t i = 0; i < n_policies && status == SG_OK; i++) {
        if (!is_answered(batch, i))
            status =
                readable == SG_OK ? judge(batch, &row, content, i, err) : write_error(batch, &row, i, &what, err);
    }
    sg_content_destroy(content);
    batch->n_failed += batch->row_failed;
    batch->n_judged++;
    return status;
}

static enum sg_status open_out(struct batch *batch, struct sg_error *err)
{
    struct sg_check_run *run = batch->run;
    if (!run->resume)
        return sg_out_create(run->out, run->overwrite, &batch->out, err);
    char model[65];
    const char *policies[SG_LIST_MAX];
    struct sg_buffer options = {0};
    for (size_t i = 0; i < run->n_policies; i++)
        policies[i] = sg_policy_sha256(run->policies[i]);
    sg_check_options_json(run, &options);
    enum sg_status status = sg_buffer_status(&options, err);
    if (status == SG_OK)
        status = sg_model_sha256(run->model, model, err);
    struct sg_out_key key = {policies, run->n_policies, model, options.data};
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

/* All rows; the output file is open. */
static enum sg_status run_rows(struct batch *batch, struct sg_error *err)
{
    enum sg_status status = SG_OK;
    batch->started = sg_now();
    for (; batch->row < batch->n_rows && status == SG_OK; batch->row += status == SG_OK) {
        show_progress(batch, NULL);
        status = sg_interrupted ? sg_fail(err, SG_ECANCELLED, "interrupted") : do_row(batch, err);
    }
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
    enum sg_status status = sg_input_open(run->batch, &run->input, &batch.input, &err);
    if (status != SG_OK)
        return sg_say_error(&err, status == SG_EINVALID ? SG_EXIT_USAGE : SG_EXIT_FAILURE);
    batch.n_rows = sg_input_count(batch.input);
    sg_render_init(&batch.render, run->quiet);
    say_notes(&batch);
    bool opened = false;
    status = sg_check_open_model(run, &err);
    if (status == SG_OK) {
        status = open_out(&batch, &err);
        opened = status == SG_OK;
    }
    if (opened) {
        sg_catch_interrupts(run->reasoner);
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
