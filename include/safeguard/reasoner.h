/* The reasoner: policy + content → reasoning and verdict. */
#ifndef SAFEGUARD_REASONER_H
#define SAFEGUARD_REASONER_H

#include "safeguard/content.h"
#include "safeguard/model.h"
#include "safeguard/verdict.h"

#ifdef __cplusplus
extern "C" {
#endif

struct sg_check_options {
    const char *effort;   /* "low", "medium", "high"; NULL: the policy's, else "medium" */
    int reasoning_budget; /* tokens of analysis after which the decision is asked for; 0: no budget */
    double temperature;   /* 0: greedy */
    double top_p;         /* 1: all */
    uint64_t seed;
    double deadline_ms; /* of the whole check; 0: none */
};

/* Below this share of the model's own probability for all permitted answers, a verdict is undecided: a mask turns
 * "the model wanted to say something else" into a confident answer. docs/verdict.md tells how it was chosen. */
#define SG_LABEL_MASS_MIN 0.10

enum sg_stream_kind {
    SG_STREAM_PROMPT,    /* prompt being read: done and total tokens are set */
    SG_STREAM_REASONING, /* text of the analysis, complete UTF-8 */
    SG_STREAM_OUTPUT     /* text of the answer */
};
struct sg_stream_event {
    enum sg_stream_kind kind;
    const char *text; /* borrowed for the call */
    size_t len;
    int64_t done, total;
};
/* Runs on the engine's worker thread; what it takes, the model waits. */
typedef void (*sg_stream_fn)(void *context, const struct sg_stream_event *event);

struct sg_reasoner;

/* A reasoner on our own engine. `context` is the number of positions of KV memory per sequence (0: the model's own
 * context, at most 8,192). The model must outlive it. */
SG_MUST_CHECK enum sg_status sg_reasoner_native(struct sg_model *model, int context,
                                                struct sg_reasoner **reasoner_out, struct sg_error *err);
#define SG_REMOTE_MAX_IN_FLIGHT 1024
#define SG_REMOTE_MAX_VOTES 64

/* A reasoner on any server that speaks OpenAI's chat completions: vLLM, SGLang, llama-server, Ollama, OpenAI
 * (docs/remote.md). Zero means the default in brackets. Strings are copied. */
struct sg_remote_options {
    const char *url;     /* "http://host:8000/v1"; with or without /chat/completions */
    const char *model;   /* the server's name for it */
    const char *api_key; /* NULL: $SAFEGUARD_REASONER_KEY, else none */
    int in_flight;       /* checks at a time [4] */
    double connect_ms, first_token_ms, idle_ms, total_ms; /* time-outs [5 s, 120 s, 60 s, 600 s] */
    int retries;     /* of what may be repeated: no connection, a broken one, 429, 5xx [3]; -1: none */
    double retry_ms; /* about how long to wait before the first retry; doubled for each further one [500] */
    int breaker;     /* failures in a row after which calls fail at once for a while [8] */
    int votes;       /* answers to ask for where the server gives no logprobs; 0 or 1: none */
};
/* True when a key (api_key or $SAFEGUARD_REASONER_KEY) would travel unencrypted to another machine. */
bool sg_remote_exposes_key(const struct sg_remote_options *options);
/* Connects to nobody yet. SG_EINVALID for a URL, key or model name that cannot be one. */
SG_MUST_CHECK enum sg_status sg_reasoner_remote(const struct sg_remote_options *options,
                                                struct sg_reasoner **reasoner_out, struct sg_error *err);
/* A reasoner that repeats what a file says of a content: JSON lines (also gzip) of verdicts as check writes them, of
 * labels, or of a data set; `category` chooses among a row's labels, NULL: the worst of them. A content that the file
 * does not know is undecided. For dry runs, forecasts and tests. SG_EFORMAT names the line. */
SG_MUST_CHECK enum sg_status sg_reasoner_replay(const char *path, const char *category,
                                                struct sg_reasoner **reasoner_out, struct sg_error *err);
/* How many checks it takes at a time: 1 for the native one. Further ones wait. */
int sg_reasoner_in_flight(const struct sg_reasoner *reasoner);
void sg_reasoner_destroy(struct sg_reasoner *reasoner);

/* Judge one content under one policy; blocks until the verdict. From as many threads at a time as
 * sg_reasoner_in_flight says. `verdict` must be initialised; it is filled also when undecided (reason says why:
 * budget, context, unreadable, low label mass, deadline, cancelled, a prompt that the server has cut). Errors are for
 * what could not be judged at all: SG_ELIMIT (the policy alone exceeds the
 * context, with both numbers), SG_ENOTFOUND (a model without a tokenizer), SG_EUNAVAILABLE (a server that cannot be
 * reached or fails), SG_ENOMEM. `stream` may be NULL. */
SG_MUST_CHECK enum sg_status sg_reasoner_check(struct sg_reasoner *reasoner, const struct sg_policy *policy,
                                               const struct sg_content *content,
                                               const struct sg_check_options *options, sg_stream_fn stream,
                                               void *stream_context, struct sg_verdict *verdict,
                                               struct sg_error *err);

/* From any thread or a signal handler: all checks in progress, or if there are none the next one, end as undecided,
 * "cancelled". */
void sg_reasoner_cancel(struct sg_reasoner *reasoner);

/* Tokens of the policy's prompt with this reasoner's tokenizer (for lint), without content. SG_ENOTFOUND for a
 * server: its tokenizer is not known. */
SG_MUST_CHECK enum sg_status sg_reasoner_count(struct sg_reasoner *reasoner, const char *text, size_t len,
                                               int64_t *tokens_out, struct sg_error *err);

#ifdef __cplusplus
}
#endif
#endif
