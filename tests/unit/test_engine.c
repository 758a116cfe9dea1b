/* The engine on a tiny gpt-oss model with windowed layers: shared prefixes, going back, and every way to end. */
#include "engine/engine.h"
#include "golden.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

enum { CONTEXT = 1024, MAX_MOVES = 64 };

static struct sg_model *models[2]; /* by enum sg_precision; NULL without reference material */
static int32_t *tokens;            /* a long sequence for that model */
static size_t n_tokens;

static int open_all(void **unused)
{
    (void)unused;
    if (!shared_path("golden/tiny-a"))
        return 0;
    for (int precision = 0; precision < 2; precision++)
        models[precision] = open_model(shared_path("golden/tiny-a/tiny-a-bf16.gguf"), precision, true, 2);
    tokens = read_numbers(shared_path("golden/tiny-a/tokens_4600.bin"), sizeof *tokens, &n_tokens);
    return 0;
}

static int close_all(void **unused)
{
    (void)unused;
    for (int precision = 0; precision < 2; precision++)
        sg_model_close(models[precision]);
    free(tokens);
    return 0;
}

static struct sg_engine *create_engine(enum sg_precision precision, int context)
{
    struct sg_engine *engine;
    struct sg_error err;
    if (!models[precision])
        skip();
    if (sg_engine_create(models[precision], context, &engine, &err) != SG_OK)
        fail_msg("%s", err.text);
    return engine;
}

/* --- a request that makes given moves ---------------------------------------------------------------------- */

/* Go back to a position (-1: stay), then append tokens. */
struct move {
    int rewind_to;
    const int32_t *tokens;
    int n;
};

struct job {
    struct sg_request request;
    const struct move *moves;
    int n_moves, next_move;
    float *logits;                /* [n_moves + 1, vocabulary]: behind the prompt and behind each move */
    int positions[MAX_MOVES + 1]; /* as the steps were told */
    int n_steps;
    int delay_ms;             /* of each step */
    atomic_bool *set_at_step; /* set by each step, if any */
    atomic_bool *set_at_progress;
    int64_t done, total; /* of the last progress */
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    int n_ends;
    enum sg_status status;
    struct sg_error err;
    struct sg_usage usage;
};

static void on_progress(void *context, int64_t done, int64_t total)
{
    struct job *job = context;
    job->done = done;
    job->total = total;
    if (job->set_at_progress)
        atomic_store(job->set_at_progress, true);
}

static enum sg_status on_step(void *context, const float *logits, int position, struct sg_step *step_out,
                              struct sg_error *err)
{
    struct job *job = context;
    (void)err;
    if (job->delay_ms)
        usleep((unsigned)job->delay_ms * 1000);
    if (job->set_at_step)
        atomic_store(job->set_at_step, true);
    if (job->logits) {
        size_t vocabulary = (size_t)models[SG_EXACT]->config.vocabulary;
        memcpy(job->logits + (size_t)job->n_steps * vocabulary, logits, vocabulary * sizeof *logits);
        job->positions[job->n_steps] = position;
    }
    job->n_steps++;
    if (job->next_move == job->n_moves) {
        step_out->end = true;
        return SG_OK;
    }
    const struct move *move = &job->moves[job->next_move++];
    step_out->rewind_to = move->rewind_to;
    step_out->tokens = move->tokens;
    step_out->n_tokens = move->n;
    return SG_OK;
}

static void on_end(void *context, enum sg_status status, const struct sg_error *err, const struct sg_usage *usage)
{
    struct job *job = context;
    pthread_mutex_lock(&job->mutex);
    job->n_ends++;
    job->status = status;
    job->err = *err;
    job->usage = *usage;
    pthread_cond_broadcast(&job->changed);
    pthread_mutex_unlock(&job->mutex);
}

static void init_job(struct job *job, const int32_t *prompt, int n, int n_shared)
{
    *job = (struct job){.request = {.tokens = prompt,
                                    .n_tokens = n,
                                    .n_shared = n_shared,
                                    .context = job,
                                    .progress = on_progress,
                                    .step = on_step,
                                    .end = on_end}};
    pthread_mutex_init(&job->mutex, NULL);
    pthread_cond_init(&job->changed, NULL);
}

static void deinit_job(struct job *job)
{
    pthread_mutex_destroy(&job->mutex);
    pthread_cond_destroy(&job->changed);
    free(job->logits);
}

static void submit(struct sg_engine *engine, struct job *job)
{
    struct sg_error err;
    if (sg_engine_submit(engine, &job->request, &err) != SG_OK)
        fail_msg("%s", err.text);
}

static void wait_for(struct job *job)
{
    pthread_mutex_lock(&job->mutex);
    while (!job->n_ends)
        pthread_cond_wait(&job->changed, &job->mutex);
    pthread_mutex_unlock(&job->mutex);
}

/* Run to the end with moves; the logits stay in the job. */
static void run(struct sg_engine *engine, struct job *job, const int32_t *prompt, int n, int n_shared,
                const struct move *moves, int n_moves)
{
    init_job(job, prompt, n, n_shared);
    job->moves = moves;
    job->n_moves = n_moves;
    job->logits = malloc((size_t)(n_moves + 1) * (size_t)models[SG_EXACT]->config.vocabulary * sizeof(float));
    assert_non_null(job->logits);
    submit(engine, job);
    wait_for(job);
}

/* --- logits ------------------------------------------------------------------------------------------------ */

/* The sequence that the moves leave behind, after each of them, computed afresh in one go. */
static void check_against_fresh(const struct sg_model *model, const struct job *job)
{
    int32_t sequence[CONTEXT];
    size_t vocabulary = (size_t)model->config.vocabulary;
    int n = job->request.n_tokens;
    memcpy(sequence, job->request.tokens, (size_t)n * sizeof *sequence);
    assert_int_equal(job->n_steps, job->n_moves + 1);
    for (int i = 0; i <= job->n_moves; i++) {
        if (i > 0) {
            const struct move *move = &job->moves[i - 1];
            n = move->rewind_to >= 0 ? move->rewind_to : n;
            memcpy(sequence + n, move->tokens, (size_t)move->n * sizeof *sequence);
            n += move->n;
        }
        assert_int_equal(job->positions[i], n);
        bool want[CONTEXT] = {false};
        want[n - 1] = true;
        float *fresh = run_model(model, sequence, n, 100, want);
        assert_memory_equal(job->logits + (size_t)i * vocabulary, fresh, vocabulary * sizeof *fresh);
        free(fresh);
    }
}

/* Uncached, with the prefix computed, and with the prefix found: the same bits, and those of a run without engine. */
static void test_prefixes(void **unused)
{
    (void)unused;
    static const int lengths[] = {1, 31, 32, 33, 127, 128, 129, 300};
    for (int precision = 0; precision < 2; precision++) {
        struct sg_engine *engine = create_engine(precision, CONTEXT);
        const struct sg_model *model = models[precision];
        for (size_t i = 0; i < sizeof lengths / sizeof lengths[0]; i++) {
            int n = lengths[i];
            const struct move moves[] = {{-1, tokens + 1000, 1}, {-1, tokens + 1001, 40}};
            struct job plain, first, second, other;
            run(engine, &plain, tokens, n + 20, 0, moves, 2);
            check_against_fresh(model, &plain);
            assert_int_equal(plain.usage.n_cached, 0);
            assert_int_equal(plain.usage.n_prompt, n + 20);
            assert_int_equal(plain.usage.n_positions, n + 61);
            assert_int_equal(plain.done, n + 20);
            assert_int_equal(plain.total, n + 20);
            size_t bytes = 3 * (size_t)model->config.vocabulary * sizeof(float);
            run(engine, &first, tokens, n + 20, n, moves, 2);
            assert_int_equal(first.usage.n_cached, 0);
            assert_memory_equal(first.logits, plain.logits, bytes);
            run(engine, &second, tokens, n + 20, n, moves, 2);
            assert_int_equal(second.usage.n_cached, n);
            assert_memory_equal(second.logits, plain.logits, bytes);

            int32_t prompt[400]; /* the same prefix, another content */
            memcpy(prompt, tokens, (size_t)n * sizeof *prompt);
            memcpy(prompt + n, tokens + 2000, 50 * sizeof *prompt);
            run(engine, &other, prompt, n + 50, n, moves, 2);
            assert_int_equal(other.usage.n_cached, n);
            check_against_fresh(model, &other);
            deinit_job(&plain);
            deinit_job(&first);
            deinit_job(&second);
            deinit_job(&other);
        }
        sg_engine_destroy(engine);
    }
}

/* The reference implementation's own numbers come out of the engine too. */
static void test_golden(void **unused)
{
    (void)unused;
    struct sg_engine *engine = create_engine(SG_EXACT, CONTEXT);
    size_t n, count, vocabulary = (size_t)models[SG_EXACT]->config.vocabulary;
    int32_t *golden = read_numbers(shared_path("golden/tiny-a/tokens_300.bin"), sizeof *golden, &n);
    float *expected = read_numbers(shared_path("golden/tiny-a/logits_300.bin"), sizeof *expected, &count);
    struct move moves[50];
    for (int i = 0; i < 50; i++)
        moves[i] = (struct move){-1, golden + 250 + i, 1};
    for (int round = 0; round < 2; round++) { /* the second time with the kept prefix */
        struct job job;
        run(engine, &job, golden, 250, 200, moves, 50);
        assert_int_equal(job.usage.n_cached, round ? 200 : 0);
        assert_true(largest_difference(job.logits, expected + 249 * vocabulary, 51 * vocabulary) <= 1e-3f);
        deinit_job(&job);
    }
    free(golden);
    free(expected);
    sg_engine_destroy(engine);
}

/* Branches as the scoring of labels makes them, far and near, within the prompt's own part and into the shared one.
 */
static void test_branches(void **unused)
{
    (void)unused;
    struct sg_engine *engine = create_engine(SG_FAST, CONTEXT);
    for (int round = 0; round < 2; round++)
        for (int n_shared = 0; n_shared <= 64; n_shared += 16) {
            const struct move moves[] = {{-1, tokens + 500, 3}, {66, tokens + 600, 2},       {67, tokens + 610, 1},
                                         {66, tokens + 620, 5}, {66, tokens + 700, 250},     {66, tokens + 30, 1},
                                         {64, tokens + 40, 4},  {n_shared, tokens + 50, 70}, {1, tokens + 60, 33},
                                         {10, tokens + 70, 90}, {100, tokens + 80, 200}};
            struct job job;
            run(engine, &job, tokens, 66, n_shared, moves, sizeof moves / sizeof moves[0]);
            assert_int_equal(job.status, SG_OK);
            check_against_fresh(models[SG_FAST], &job);
            deinit_job(&job);
        }
    sg_engine_destroy(engine);
}

/* The whole of what the header promises, behind prompts that are longer than the window. */
static void test_rewind_limits(void **unused)
{
    (void)unused;
    struct sg_engine *engine = create_engine(SG_FAST, CONTEXT);
    for (int n = 390; n < 425; n += 7) {
        const struct move moves[] = {
            {-1, tokens + 1000, SG_REWIND_MAX}, {n, tokens + 2000, 1}, {n + 1, tokens + 2100, 9}};
        struct job job;
        run(engine, &job, tokens, n, 0, moves, 3);
        check_against_fresh(models[SG_FAST], &job);
        deinit_job(&job);
    }
    const struct move bad[] = {{20, tokens, 1}, {501, tokens, 1}};
    for (int i = 0; i < 2; i++) { /* too far back for the windowed layers, and forward */
        struct job job;
        run(engine, &job, tokens, 500, 300, &bad[i], 1);
        assert_int_equal(job.status, SG_EINVALID);
        assert_non_null(strstr(job.err.text, "rewind"));
        deinit_job(&job);
    }
    sg_engine_destroy(engine);
}

/* The least recently used of the kept prefixes goes first. */
static void test_oldest_prefix_goes(void **unused)
{
    (void)unused;
    struct sg_engine *engine = create_engine(SG_FAST, CONTEXT);
    struct job job;
    int n_cached[SG_PREFIXES_MAX + 4];
    int order[SG_PREFIXES_MAX + 4], n = 0;
    for (int i = 0; i < SG_PREFIXES_MAX; i++)
        order[n++] = i;
    order[n++] = 0;               /* found, and now the newest */
    order[n++] = SG_PREFIXES_MAX; /* takes the place of 1 */
    order[n++] = 0;               /* still there */
    order[n++] = 1;               /* gone */
    for (int i = 0; i < n; i++) {
        run(engine, &job, tokens + 40 * order[i], 40, 35, NULL, 0);
        assert_int_equal(job.status, SG_OK);
        n_cached[i] = job.usage.n_cached;
        deinit_job(&job);
    }
    for (int i = 0; i < n; i++)
        assert_int_equal(n_cached[i], i == n - 4 || i == n - 2 ? 35 : 0);
    sg_engine_destroy(engine);
}

/* --- ends -------------------------------------------------------------------------------------------------- */

static void assert_ended(struct job *job, enum sg_status status)
{
    wait_for(job);
    if (job->status != status)
        fail_msg("got %s (%s), expected %s", sg_status_name(job->status), job->err.text, sg_status_name(status));
    if (status != SG_OK)
        assert_int_equal(job->err.code, status);
}

static void test_cancel(void **unused)
{
    (void)unused;
    struct sg_engine *engine = create_engine(SG_FAST, CONTEXT);
    const struct move more = {-1, tokens, 1};
    struct job slow, queued, reading, stepping;
    atomic_bool cancel[4] = {false};

    init_job(&slow, tokens, 10, 0);
    slow.delay_ms = 1000;
    init_job(&queued, tokens, 10, 0);
    queued.request.cancel = &cancel[1];
    submit(engine, &slow);
    submit(engine, &queued);
    atomic_store(&cancel[1], true);
    assert_ended(&queued, SG_ECANCELLED);
    assert_int_equal(queued.n_steps, 0);
    assert_ended(&slow, SG_OK);

    init_job(&reading, tokens, 3 * SG_PROMPT_CHUNK,
             2 * SG_PROMPT_CHUNK); /* in the shared part: the prefix is not kept */
    reading.request.cancel = reading.set_at_progress = &cancel[2];
    submit(engine, &reading);
    assert_ended(&reading, SG_ECANCELLED);
    assert_int_equal(reading.done, SG_PROMPT_CHUNK);
    assert_int_equal(reading.n_steps, 0);
    struct job again;
    run(engine, &again, tokens, 3 * SG_PROMPT_CHUNK, 2 * SG_PROMPT_CHUNK, NULL, 0);
    assert_int_equal(again.status, SG_OK);
    assert_int_equal(again.usage.n_cached, 0);

    init_job(&stepping, tokens, 10, 0);
    stepping.moves = &more;
    stepping.n_moves = 1;
    stepping.request.cancel = stepping.set_at_step = &cancel[3];
    submit(engine, &stepping);
    assert_ended(&stepping, SG_ECANCELLED);
    assert_int_equal(stepping.n_steps, 1);
    assert_int_equal(stepping.usage.n_positions, 10);
    sg_engine_destroy(engine);
    deinit_job(&slow);
    deinit_job(&queued);
    deinit_job(&reading);
    deinit_job(&again);
    deinit_job(&stepping);
}

static void test_deadline(void **unused)
{
    (void)unused;
    struct sg_engine *engine = create_engine(SG_FAST, CONTEXT);
    const struct move more = {-1, tokens, 1};
    struct job slow, queued, stepping, in_time;
    init_job(&slow, tokens, 10, 0);
    slow.delay_ms = 100;
    init_job(&queued, tokens, 10, 0);
    queued.request.deadline_ms = 50;
    submit(engine, &slow);
    submit(engine, &queued);
    assert_ended(&queued, SG_EDEADLINE); /* it counts from submission */
    assert_int_equal(queued.n_steps, 0);
    assert_non_null(strstr(queued.err.text, "50 ms"));

    init_job(&stepping, tokens, 10, 0);
    stepping.delay_ms = 3000;
    stepping.moves = &more;
    stepping.n_moves = 1;
    stepping.request.deadline_ms = 2900;
    submit(engine, &stepping);
    assert_ended(&stepping, SG_EDEADLINE);
    assert_int_equal(stepping.n_steps, 1);

    init_job(&in_time, tokens, 10, 0);
    in_time.request.deadline_ms = 1e6;
    submit(engine, &in_time);
    assert_ended(&in_time, SG_OK);
    sg_engine_destroy(engine);
    deinit_job(&slow);
    deinit_job(&queued);
    deinit_job(&stepping);
    deinit_job(&in_time);
}

static void test_full_context(void **unused)
{
    (void)unused;
    struct sg_engine *engine = create_engine(SG_FAST, 100);
    const struct move one = {-1, tokens, 1}, replace = {99, tokens, 1};
    struct job job;
    assert_int_equal(sg_engine_context(engine), 100);
    run(engine, &job, tokens, 100, 0, &one, 1); /* the prompt may fill it */
    assert_int_equal(job.n_steps, 1);
    assert_ended(&job, SG_ELIMIT);
    assert_non_null(strstr(job.err.text, "100"));
    deinit_job(&job);
    run(engine, &job, tokens, 100, 50, &replace, 1); /* room again after going back */
    check_against_fresh(models[SG_FAST], &job);
    assert_ended(&job, SG_OK);
    deinit_job(&job);
    sg_engine_destroy(engine);
}

static void test_refused(void **unused)
{
    (void)unused;
    struct sg_engine *engine = create_engine(SG_FAST, 100);
    struct sg_engine *none;
    struct sg_error err;
    struct job job;
    int vocabulary = models[SG_FAST]->config.vocabulary;
    const int32_t bad[][3] = {{1, -1, 2}, {1, vocabulary, 2}};
    for (int i = 0; i < 2; i++) {
        init_job(&job, bad[i], 3, 0);
        assert_int_equal(sg_engine_submit(engine, &job.request, &err), SG_EINVALID);
        assert_int_equal(err.position, 1);
        deinit_job(&job);
    }
    init_job(&job, tokens, 0, 0);
    assert_int_equal(sg_engine_submit(engine, &job.request, &err), SG_EINVALID);
    job.request.n_tokens = 101;
    assert_int_equal(sg_engine_submit(engine, &job.request, &err), SG_ELIMIT);
    assert_non_null(strstr(err.text, "101"));
    assert_non_null(strstr(err.text, "100"));
    assert_int_equal(sg_engine_create(models[SG_FAST], 0, &none, &err), SG_EINVALID);
    assert_null(none);
    assert_int_equal(sg_engine_create(models[SG_FAST], models[SG_FAST]->config.context + 1, &none, &err),
                     SG_EINVALID);
    sg_engine_destroy(engine);
    assert_int_equal(job.n_ends, 0); /* what was refused has no end */
    deinit_job(&job);
    sg_engine_destroy(NULL);
}

/* A step that fails ends its request with its own error, and the next one is served. */
static enum sg_status failing_step(void *context, const float *logits, int position, struct sg_step *step_out,
                                   struct sg_error *err)
{
    (void)context;
    (void)logits;
    (void)step_out;
    return sg_fail(err, SG_EFORMAT, "a step at %d", position);
}

static void test_failing_step(void **unused)
{
    (void)unused;
    struct sg_engine *engine = create_engine(SG_FAST, 100);
    struct job job, next;
    init_job(&job, tokens, 7, 0);
    job.request.step = failing_step;
    submit(engine, &job);
    assert_ended(&job, SG_EFORMAT);
    assert_string_equal(job.err.text, "a step at 7");
    run(engine, &next, tokens, 7, 0, NULL, 0);
    assert_ended(&next, SG_OK);
    sg_engine_destroy(engine);
    deinit_job(&job);
    deinit_job(&next);
}

/* While a step holds the worker the queue fills up; then everything ends, once each, in order or by the engine's end.
 */
static void check_queue(bool destroy_while_waiting)
{
    struct sg_engine *engine = create_engine(SG_FAST, 100);
    struct sg_error err;
    static struct job jobs[SG_QUEUE_MAX + 2];
    atomic_bool at_work = false, cancel = false;
    init_job(&jobs[0], tokens, 5, 0);
    jobs[0].delay_ms = 1000;
    jobs[0].set_at_progress = &at_work; /* from here on it is no longer waiting */
    submit(engine, &jobs[0]);
    while (!atomic_load(&at_work))
        usleep(1000);
    for (int i = 1; i < SG_QUEUE_MAX + 2; i++) {
        init_job(&jobs[i], tokens + i, 5, 0);
        jobs[i].request.cancel = &cancel;
    }
    for (int i = 1; i <= SG_QUEUE_MAX; i++)
        submit(engine, &jobs[i]);
    assert_int_equal(sg_engine_submit(engine, &jobs[SG_QUEUE_MAX + 1].request, &err), SG_EFULL);
    assert_non_null(strstr(err.text, "1024"));
    if (destroy_while_waiting) {
        sg_engine_destroy(engine);
    } else {
        atomic_store(&cancel, true);
        wait_for(&jobs[SG_QUEUE_MAX]);
        atomic_store(&cancel, false);
        struct job next; /* and there is room again */
        run(engine, &next, tokens, 5, 0, NULL, 0);
        assert_ended(&next, SG_OK);
        deinit_job(&next);
        sg_engine_destroy(engine);
    }
    for (int i = 0; i < SG_QUEUE_MAX + 2; i++) {
        assert_int_equal(jobs[i].n_ends, i <= SG_QUEUE_MAX);
        if (i > 0 && i <= SG_QUEUE_MAX)
            assert_int_equal(jobs[i].status, SG_ECANCELLED);
        deinit_job(&jobs[i]);
    }
}

static void test_queue_full(void **unused)
{
    (void)unused;
    check_queue(false);
}

static void test_destroy_while_waiting(void **unused)
{
    (void)unused;
    check_queue(true);
}

/* Many threads submit at once. */
struct submitter {
    struct sg_engine *engine;
    struct job jobs[8];
    int first;
};

static void *submit_all(void *argument)
{
    struct submitter *submitter = argument;
    for (int i = 0; i < 8; i++) {
        init_job(&submitter->jobs[i], tokens + submitter->first + i, 40, 35);
        submitter->jobs[i].logits = malloc((size_t)models[SG_FAST]->config.vocabulary * sizeof(float));
        struct sg_error err;
        if (sg_engine_submit(submitter->engine, &submitter->jobs[i].request, &err) == SG_OK)
            wait_for(&submitter->jobs[i]);
    }
    return NULL;
}

static void test_many_threads(void **unused)
{
    (void)unused;
    struct sg_engine *engine = create_engine(SG_FAST, 100);
    static struct submitter submitters[4];
    pthread_t threads[4];
    for (int t = 0; t < 4; t++) {
        submitters[t] = (struct submitter){.engine = engine, .first = 3 * t};
        assert_int_equal(pthread_create(&threads[t], NULL, submit_all, &submitters[t]), 0);
    }
    for (int t = 0; t < 4; t++)
        pthread_join(threads[t], NULL);
    sg_engine_destroy(engine);
    for (int t = 0; t < 4; t++)
        for (int i = 0; i < 8; i++) {
            struct job *job = &submitters[t].jobs[i];
            assert_int_equal(job->n_ends, 1);
            assert_int_equal(job->status, SG_OK);
            check_against_fresh(models[SG_FAST], job);
            deinit_job(job);
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_prefixes),
        cmocka_unit_test(test_golden),
        cmocka_unit_test(test_branches),
        cmocka_unit_test(test_rewind_limits),
        cmocka_unit_test(test_oldest_prefix_goes),
        cmocka_unit_test(test_cancel),
        cmocka_unit_test(test_deadline),
        cmocka_unit_test(test_full_context),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_failing_step),
        cmocka_unit_test(test_queue_full),
        cmocka_unit_test(test_destroy_while_waiting),
        cmocka_unit_test(test_many_threads),
    };
    return cmocka_run_group_tests(tests, open_all, close_all);
}
