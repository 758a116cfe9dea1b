#include "engine/engine.h"

#include <pthread.h>
#include <stdlib.h>
#include <time.h>

struct pending {
    struct sg_request request;
    double submitted_ms;
    struct pending *next;
};

struct prefix {
    int32_t *tokens; /* NULL: unused */
    struct sg_kv kv; /* its n_positions tokens are filled in */
    uint64_t last_use;
};

struct sg_engine {
    const struct sg_model *model;
    int context;
    struct sg_scratch *scratch;
    struct sg_kv_pool pool;
    struct prefix prefixes[SG_PREFIXES_MAX];
    uint64_t n_uses;
    float *logits;
    pthread_t worker;
    bool started;
    pthread_mutex_t mutex; /* guards what follows */
    pthread_cond_t changed;
    struct pending *first, **last;
    int n_waiting;
    atomic_bool stop; /* also looked at between forward passes */
};

/* A request on its way through the worker. */
struct run {
    struct sg_engine *engine;
    const struct pending *pending;
    struct sg_kv kv;
    struct sg_usage usage;
    struct sg_error err;
};

static double now_ms(void)
{
    struct timespec at;
    clock_gettime(CLOCK_MONOTONIC, &at);
    return (double)at.tv_sec * 1e3 + (double)at.tv_nsec / 1e6;
}

/* --- forward ---------------------------------------------------------------------------------------------- */

static enum sg_status check_interrupts(struct run *run)
{
    const struct sg_request *request = &run->pending->request;
    if ((request->cancel && atomic_load(request->cancel)) || atomic_load(&run->engine->stop))
        return sg_fail(&run->err, SG_ECANCELLED, "cancelled");
    if (request->deadline_ms > 0 && now_ms() - run->pending->submitted_ms > request->deadline_ms)
        return sg_fail(&run->err, SG_EDEADLINE, "the deadline of %.0f ms passed", request->deadline_ms);
    return SG_OK;
}

/* Append tokens to a cache; the logits of the last are left in engine->logits when wanted. */
static enum sg_status append(struct run *run, struct sg_kv *kv, const int32_t *tokens, int n, int slack,
                             bool want_last, int64_t done, int64_t total)
{
    struct sg_engine *engine = run->engine;
    const struct sg_request *request = &run->pending->request;
    int32_t positions[SG_PROMPT_CHUNK];
    struct sg_kv *kvs[SG_PROMPT_CHUNK];
    bool want[SG_PROMPT_CHUNK];
    for (int first = 0; first < n; first += SG_PROMPT_CHUNK) {
        int rows = n - first < SG_PROMPT_CHUNK ? n - first : SG_PROMPT_CHUNK;
        enum sg_status status = check_interrupts(run);
        if (status == SG_OK)
            status = sg_kv_reserve(kv, rows, &run->err);
        if (status != SG_OK)
            return status;
        for (int i = 0; i < rows; i++) {
            positions[i] = kv->n_positions + i;
            kvs[i] = kv;
            want[i] = want_last && first + i == n - 1;
        }
        struct sg_batch batch = {rows, tokens + first, positions, kvs, want, engine->logits};
        sg_forward(engine->model, engine->scratch, &batch);
        sg_kv_advance(kv, rows, slack);
        if (total && request->progress)
            request->progress(request->context, done + first + rows, total);
    }
    return SG_OK;
}

/* --- prefixes --------------------------------------------------------------------------------------------- */

static void forget(struct prefix *prefix)
{
    if (prefix->tokens)
        sg_kv_deinit(&prefix->kv);
    free(prefix->tokens);
    *prefix = (struct prefix){0};
}

static struct prefix *find_prefix(struct sg_engine *engine, const int32_t *tokens, int n)
{
    for (int i = 0; i < SG_PREFIXES_MAX; i++) {
        struct prefix *prefix = &engine->prefixes[i];
        if (prefix->tokens && prefix->kv.n_positions == n &&
            memcmp(prefix->tokens, tokens, (size_t)n * sizeof *tokens) == 0)
            return prefix;
    }
    return NULL;
}

/* Compute the KV of the request's shared tokens and keep it. */
static enum sg_status add_prefix(struct run *run, struct prefix **prefix_out)
{
    struct sg_engine *engine = run->engine;
    const struct sg_request *request = &run->pending->request;
    struct prefix *oldest = &engine->prefixes[0];
    for (int i = 1; i < SG_PREFIXES_MAX; i++)
        if (engine->prefixes[i].last_use < oldest->last_use)
            oldest = &engine->prefixes[i];
    forget(oldest);
    size_t bytes = (size_t)request->n_shared * sizeof *request->tokens;
    oldest->tokens = malloc(bytes);
    if (!oldest->tokens)
        return sg_fail(&run->err, SG_ENOMEM, "out of memory for a prefix of %d tokens", request->n_shared);
    memcpy(oldest->tokens, request->tokens, bytes);
    enum sg_status status = sg_kv_init(&oldest->kv, &engine->pool, request->n_shared, &run->err);
    if (status == SG_OK)
        status = append(run, &oldest->kv, request->tokens, request->n_shared, 0, false, 0, request->n_tokens);
    if (status != SG_OK)
        forget(oldest);
    *prefix_out = oldest;
    return status;
}

static enum sg_status read_prompt(struct run *run)
{
    struct sg_engine *engine = run->engine;
    const struct sg_request *request = &run->pending->request;
    int done = 0;
    enum sg_status status = sg_kv_init(&run->kv, &engine->pool, engine->context, &run->err);
    if (status != SG_OK)
        return status;
    if (request->n_shared > 0 && request->n_shared < request->n_tokens) {
        struct prefix *prefix = find_prefix(engine, request->tokens, request->n_shared);
        if (prefix)
            run->usage.n_cached = request->n_shared;
        else
            status = add_prefix(run, &prefix);
        if (status == SG_OK) {
            prefix->last_use = ++engine->n_uses;
            status = sg_kv_fork(&run->kv, &prefix->kv, &run->err);
        }
        if (status != SG_OK)
            return status;
        done = request->n_shared;
    }
    return append(run, &run->kv, request->tokens + done, request->n_tokens - done, SG_REWIND_MAX, true, done,
                  request->n_tokens);
}

/* --- the worker ------------------------------------------------------------------------------------------- */

static enum sg_status take_step(struct run *run, bool *end_out)
{
    const struct sg_request *request = &run->pending->request;
    struct sg_step step = {.rewind_to = -1};
    enum sg_status status =
        request->step(request->context, run->engine->logits, run->kv.n_positions, &step, &run->err);
    *end_out = step.end;
    if (status != SG_OK || step.end)
        return status;
    if (step.rewind_to >= 0)
        status = sg_kv_rewind(&run->kv, step.rewind_to, &run->err);
    if (status == SG_OK && run->kv.n_positions + step.n_tokens > run->engine->context)
        status = sg_fail(&run->err, SG_ELIMIT, "the context of %d positions is full", run->engine->context);
    if (status == SG_OK)
        status = append(run, &run->kv, step.tokens, step.n_tokens, SG_REWIND_MAX, true, 0, 0);
    return status;
}

static void serve(struct sg_engine *engine, const struct pending *pending)
{
    struct run run = {.engine = engine, .pending = pending, .usage = {.n_prompt = pending->request.n_tokens}};
    double start = now_ms();
    enum sg_status status = check_interrupts(&run);
    if (status == SG_OK)
        status = read_prompt(&run);
    double read = now_ms();
    run.usage.prompt_ms = read - start;
    for (bool end = false; status == SG_OK && !end;)
        status = take_step(&run, &end);
    run.usage.step_ms = now_ms() - read;
    run.usage.n_positions = run.kv.n_positions;
    if (run.kv.pool)
        sg_kv_deinit(&run.kv);
    pending->request.end(pending->request.context, status, &run.err, &run.usage);
}

static void *work(void *argument)
{
    struct sg_engine *engine = argument;
    for (;;) {
        pthread_mutex_lock(&engine->mutex);
        while (!engine->first && !atomic_load(&engine->stop))
            pthread_cond_wait(&engine->changed, &engine->mutex);
        struct pending *pending = engine->first;
        if (pending) {
            engine->first = pending->next;
            engine->n_waiting--;
            if (!engine->first)
                engine->last = &engine->first;
        }
        pthread_mutex_unlock(&engine->mutex);
        if (!pending)
            return NULL; /* stopped, and every request was told */
        serve(engine, pending);
        free(pending);
    }
}

/* --- calls ------------------------------------------------------------------------------------------------ */

enum sg_status sg_engine_create(const struct sg_model *model, int context, struct sg_engine **engine_out,
                                struct sg_error *err)
{
    *engine_out = NULL;
    const struct sg_config *c = &model->config;
    if (context < 1 || context > c->context)
        return sg_fail(err, SG_EINVALID, "context: got %d, expected 1 to %d, the model's own", context, c->context);
    struct sg_engine *engine = calloc(1, sizeof *engine);
    if (!engine)
        return sg_fail(err, SG_ENOMEM, "out of memory for an engine");
    engine->model = model;
    engine->context = context;
    engine->last = &engine->first;
    pthread_mutex_init(&engine->mutex, NULL);
    pthread_cond_init(&engine->changed, NULL);
    sg_kv_pool_for(&engine->pool, c);
    engine->logits = malloc((size_t)c->vocabulary * sizeof *engine->logits);
    enum sg_status status = engine->logits ? SG_OK : sg_fail(err, SG_ENOMEM, "out of memory for logits");
    if (status == SG_OK)
        status = sg_scratch_create(model, SG_PROMPT_CHUNK, context, &engine->scratch, err);
    if (status == SG_OK) {
        int failed = pthread_create(&engine->worker, NULL, work, engine);
        engine->started = !failed;
        if (failed)
            status = sg_fail(err, SG_EIO, "cannot start the engine's thread: %s", strerror(failed));
    }
    if (status != SG_OK) {
        sg_engine_destroy(engine);
        return status;
    }
    *engine_out = engine;
    return SG_OK;
}

void sg_engine_destroy(struct sg_engine *engine)
{
    if (!engine)
        return;
    pthread_mutex_lock(&engine->mutex);
    atomic_store(&engine->stop, true);
    pthread_cond_broadcast(&engine->changed);
    pthread_mutex_unlock(&engine->mutex);
    if (engine->started)
        pthread_join(engine->worker, NULL);
    for (int i = 0; i < SG_PREFIXES_MAX; i++)
        forget(&engine->prefixes[i]);
    sg_kv_pool_deinit(&engine->pool);
    sg_scratch_destroy(engine->scratch);
    free(engine->logits);
    pthread_cond_destroy(&engine->changed);
    pthread_mutex_destroy(&engine->mutex);
    free(engine);
}

enum sg_status sg_engine_submit(struct sg_engine *engine, const struct sg_request *request, struct sg_error *err)
{
    int vocabulary = engine->model->config.vocabulary;
    if (request->n_tokens < 1)
        return sg_fail(err, SG_EINVALID, "prompt: got no tokens");
    if (request->n_tokens > engine->context)
        return sg_fail(err, SG_ELIMIT, "prompt: got %d tokens, expected at most the context of %d", request->n_tokens,
                       engine->context);
    for (int i = 0; i < request->n_tokens; i++)
        if (request->tokens[i] < 0 || request->tokens[i] >= vocabulary)
            return sg_fail_at(err, SG_EINVALID, (uint64_t)i, "prompt token %d: got id %d, expected 0 to %d", i,
                              request->tokens[i], vocabulary - 1);
    struct pending *pending = malloc(sizeof *pending);
    if (!pending)
        return sg_fail(err, SG_ENOMEM, "out of memory for a request");
    *pending = (struct pending){*request, now_ms(), NULL};
    pthread_mutex_lock(&engine->mutex);
    bool full = engine->n_waiting >= SG_QUEUE_MAX;
    if (!full) {
        *engine->last = pending;
        engine->last = &pending->next;
        engine->n_waiting++;
        pthread_cond_signal(&engine->changed);
    }
    pthread_mutex_unlock(&engine->mutex);
    if (full) {
        free(pending);
        return sg_fail(err, SG_EFULL, "the queue is full: %d requests wait", SG_QUEUE_MAX);
    }
    return SG_OK;
}

int sg_engine_context(const struct sg_engine *engine)
{
    return engine->context;
}
