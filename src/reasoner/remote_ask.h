/* A chat server and how it is asked: the request, what the server refuses of it, retries with growing pauses, and a
 * circuit breaker that all threads share. remote.c makes verdicts of the replies. */
#ifndef SG_REASONER_REMOTE_ASK_H
#define SG_REASONER_REMOTE_ASK_H

#include "reasoner/chat_reply.h"
#include "reasoner/exchange.h"
#include "reasoner/reasoner_internal.h"

#include <pthread.h>
#include <stdatomic.h>

#define SG_REASON_MAX 256

struct sg_server {
    char *url;   /* of chat completions, as it is asked */
    char *shown; /* the same without its query: for texts */
    char *model, *key;
    const char *policy_role; /* "system" or "developer" */
    bool openai;             /* OpenAI's own service, which refuses what it does not know */
    bool o200k;              /* its tokenizer splits as o200k does */
    struct sg_remote_options options;
    pthread_mutex_t mutex;
    pthread_cond_t freed;
    struct sg_connection **idle; /* [options.in_flight] connections that nobody uses */
    int n_idle;
    /* the breaker, under the mutex */
    int n_failures;
    double open_until, cool_ms;
    /* what was learned of the server */
    atomic_uint refused; /* bits of fields that it refuses */
    atomic_bool no_logprobs;
    atomic_llong proven; /* a prompt that counts at most so many tokens was not cut */
    /* cancelling: all checks that began before the last cancel */
    atomic_uint cancels, cancels_seen;
    atomic_uint jitter;
};

/* Default times and numbers, copies, and checks of URL, key and model. */
SG_MUST_CHECK enum sg_status sg_server_init(struct sg_server *server, const struct sg_remote_options *options,
                                            struct sg_error *err);
void sg_server_deinit(struct sg_server *server);

/* One check on its way. */
struct sg_call {
    struct sg_server *server;
    struct sg_connection *connection;
    struct sg_slice policy, content; /* as they are sent */
    const char *effort;
    int output_limit; /* tokens; 0: none */
    double deadline_at;
    unsigned cancels; /* server->cancels when it began */
    unsigned refused; /* server->refused and what was refused to this call */
    sg_stream_fn stream;
    void *stream_context;
};

/* Take a free connection, or wait for one. Sets *reason_out ("cancelled", "deadline …") when there was none in time.
 */
SG_MUST_CHECK enum sg_status sg_call_begin(struct sg_call *call, const char **reason_out, struct sg_error *err);
void sg_call_end(struct sg_call *call);

struct sg_ask {
    double temperature, top_p;
    uint64_t seed;
    bool sample;          /* for a vote: nothing may narrow the choice of tokens */
    struct sg_slice more; /* behind the content */
    bool count_only;      /* the prompt's tokens are asked for, not an answer */
};

/* Ask once, with retries. SG_OK with reply filled and `reason` empty; SG_OK with a reason why there is no answer
 * (deadline, cancelled, the prompt is too long for the server, its filter); SG_EUNAVAILABLE, SG_ENOTFOUND, SG_ENOMEM.
 */
SG_MUST_CHECK enum sg_status sg_ask(struct sg_call *call, const struct sg_ask *ask, struct sg_reply *reply,
                                    char reason[SG_REASON_MAX], struct sg_error *err);

#define SG_REASON_TOO_LONG "context: "

/* True when the server has refused to give log probabilities. */
bool sg_call_without_logprobs(const struct sg_call *call);

#endif
