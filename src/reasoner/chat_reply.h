/* What a chat server answers, put together from the chunks of a stream or from one JSON document. Server output is
 * hostile like any other input: what is not as expected is left out or an error, and nothing in it is trusted to be
 * short. */
#ifndef SG_REASONER_CHAT_REPLY_H
#define SG_REASONER_CHAT_REPLY_H

#include "reasoner/logprobs.h"
#include "safeguard/reasoner.h"

#define SG_REPLY_MAX_REASONING ((size_t)8 << 20)
#define SG_REPLY_MAX_CONTENT ((size_t)8 << 20)
#define SG_REPLY_MAX_MESSAGE 300 /* bytes of the server's own error message that are kept */
#define SG_REPLY_MAX_NAME 256

struct sg_reply {
    struct sg_buffer reasoning, content;
    struct sg_logprobs logprobs;
    bool has_logprobs;                    /* the server gave any, wherever they stood */
    int64_t n_prompt, n_cached, n_output; /* -1: not said */
    char finish[32];                      /* finish_reason, "" before it came */
    char model[SG_REPLY_MAX_NAME];        /* the server's, "" when it did not say */
    bool ended;                           /* [DONE] */
    bool has_error;                       /* an error object, also inside HTTP 200 */
    int error_code;                       /* a number like an HTTP status, 0 when there is none */
    char error_type[64], error_param[64]; /* identifiers, "" otherwise */
    char error_message[SG_REPLY_MAX_MESSAGE + 1];
};

void sg_reply_init(struct sg_reply *reply);
void sg_reply_deinit(struct sg_reply *reply);

/* One JSON document: a chunk, a whole completion, or an error. `stream` (may be NULL) is told of new text. Sets
 * *grew_out when there was any. SG_EFORMAT for what is no JSON object, SG_ELIMIT beyond the maxima, SG_ENOMEM. */
SG_MUST_CHECK enum sg_status sg_reply_take(struct sg_reply *reply, const char *json, size_t len, sg_stream_fn stream,
                                           void *stream_context, bool *grew_out, struct sg_error *err);

#endif
