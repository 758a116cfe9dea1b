/* One POST to a chat server and its answer as it arrives, under four time-outs, a deadline, and cancelling from
 * another thread. What the answer says is no business of this file. */
#ifndef SG_REASONER_EXCHANGE_H
#define SG_REASONER_EXCHANGE_H

#include "base/buffer.h"

/* A connection that is kept open between exchanges; one exchange at a time. */
struct sg_connection;
SG_MUST_CHECK enum sg_status sg_connection_create(struct sg_connection **connection_out, struct sg_error *err);
void sg_connection_destroy(struct sg_connection *connection);

enum sg_exchange_end {
    SG_EXCHANGE_DONE,        /* an answer with a status, whole */
    SG_EXCHANGE_UNREACHABLE, /* no connection */
    SG_EXCHANGE_BROKEN,      /* the connection broke, before or within the answer */
    SG_EXCHANGE_FIRST,       /* time-out before the first token */
    SG_EXCHANGE_IDLE,        /* time-out between two tokens */
    SG_EXCHANGE_TOTAL,       /* time-out of the whole answer */
    SG_EXCHANGE_DEADLINE,
    SG_EXCHANGE_CANCELLED,
    SG_EXCHANGE_STOPPED /* `receive` returned false */
};

struct sg_exchange {
    const char *url, *key; /* key NULL: none */
    struct sg_slice body;
    double connect_ms, first_ms, idle_ms, total_ms;
    double deadline_at; /* as sg_exchange_now, 0: none */
    bool (*cancelled)(void *context);
    /* A piece of the body. Sets exchange->moved when it brought a token: what else keeps a connection busy (comments,
     * empty chunks) does not count as progress. */
    bool (*receive)(struct sg_exchange *exchange, const char *bytes, size_t len, void *context);
    void *context;
    /* as far as the answer came */
    long status; /* of HTTP, 0 when there was none */
    char content_type[64];
    double retry_after_s; /* 0: not said */
    bool moved;
    const char *why; /* of UNREACHABLE and BROKEN: libcurl's words */
};

enum sg_exchange_end sg_exchange_run(struct sg_connection *connection, struct sg_exchange *exchange);

/* Milliseconds of a clock that only goes forward. */
double sg_exchange_now(void);

#endif
