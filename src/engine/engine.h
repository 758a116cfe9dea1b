/* Sequences on a model: a queue of requests, one worker thread, and the KV of prompt prefixes that requests share.
 *
 * A request is a prompt and a step function. After the prompt, and then after every set of tokens that the step
 * function appended, the worker calls it with the logits of the last token; it answers with what to do next:
 * go back some positions, append tokens, or end. Sampling, forced tokens and the scoring of alternatives are all
 * written with these three (src/reasoner/native.c). For now the worker runs one sequence after another; the calls
 * are made so that continuous batching fits behind them. */
#ifndef SG_ENGINE_ENGINE_H
#define SG_ENGINE_ENGINE_H

#include "model/model_internal.h"

#include <stdatomic.h>

#define SG_QUEUE_MAX 1024   /* requests waiting */
#define SG_PREFIXES_MAX 16  /* prompt prefixes whose KV is kept; the least recently used goes first */
#define SG_REWIND_MAX 256   /* positions that a step may go back */
#define SG_PROMPT_CHUNK 256 /* prompt tokens per forward pass; cancel and deadline are looked at between */

struct sg_engine;

struct sg_step {
    int rewind_to;         /* go back to this many positions first; -1: stay */
    const int32_t *tokens; /* append these, at least one; valid until the next call */
    int n_tokens;
    bool end; /* done: nothing is appended */
};

struct sg_usage {
    int n_prompt, n_cached, n_positions; /* prompt tokens, of these taken from a kept prefix; positions at the end */
    double prompt_ms, step_ms;           /* reading the prompt; everything after it */
};

struct sg_request {
    const int32_t *tokens; /* the prompt: 1 … context tokens; must stay valid until `end` was called */
    int n_tokens;
    int n_shared;              /* leading tokens whose KV is worth keeping for later requests (a policy), or 0 */
    double deadline_ms;        /* from submission; 0: none */
    const atomic_bool *cancel; /* set it, from anywhere, to end the request; NULL: cannot be cancelled */
    void *context;

    /* All three run on the worker thread; while one runs, nothing else does. They must not call the engine. */
    void (*progress)(void *context, int64_t done, int64_t total); /* prompt tokens read; may be NULL */
    /* logits [vocabulary] of the token at `position` - 1 */
    enum sg_status (*step)(void *context, const float *logits, int position, struct sg_step *step_out,
                           struct sg_error *err);
    /* The last call of a request, exactly one: SG_OK after a step with `end`, SG_ECANCELLED, SG_EDEADLINE, SG_ELIMIT
     * (the context is full), or what the step function returned. `err` is set unless SG_OK. */
    void (*end)(void *context, enum sg_status status, const struct sg_error *err, const struct sg_usage *usage);
};

/* `context`: most positions of a sequence. The model must outlive the engine. */
SG_MUST_CHECK enum sg_status sg_engine_create(const struct sg_model *model, int context,
                                              struct sg_engine **engine_out, struct sg_error *err);

/* Ends what is queued or running as SG_ECANCELLED, waits for the worker, frees. Not from a callback. */
void sg_engine_destroy(struct sg_engine *engine);

/* Queue a request (copied). SG_EFULL when SG_QUEUE_MAX wait; SG_EINVALID for tokens outside the vocabulary, an empty
 * prompt or one that is longer than the context (SG_ELIMIT): then `end` is not called. From any thread. */
SG_MUST_CHECK enum sg_status sg_engine_submit(struct sg_engine *engine, const struct sg_request *request,
                                              struct sg_error *err);

int sg_engine_context(const struct sg_engine *engine);

#endif
