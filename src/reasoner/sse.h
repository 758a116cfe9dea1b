/* Server-sent events: bytes as they come off the network → the data of each event.
 *
 * Source: WHATWG HTML, "Server-sent events", parsing an event stream. Of the fields only `data` and `event` count. */
#ifndef SG_REASONER_SSE_H
#define SG_REASONER_SSE_H

#include "base/buffer.h"

#define SG_SSE_MAX_EVENT ((size_t)4 << 20) /* bytes of a line, and of the data of one event */

/* Zero-initialise; free with sg_sse_free. */
struct sg_sse {
    struct sg_buffer line, data, event;
    bool after_cr, has_data, past_start, failed;
};

/* `event` is the event's name, "" for none. False ends the feed. */
typedef bool (*sg_sse_fn)(void *context, const char *event, const char *data, size_t len);

/* Feed any piece of the stream. False when `fn` said so; SG_ELIMIT and SG_ENOMEM stand in *status_out then. */
bool sg_sse_feed(struct sg_sse *sse, const char *bytes, size_t len, sg_sse_fn fn, void *context,
                 enum sg_status *status_out, struct sg_error *err);
void sg_sse_free(struct sg_sse *sse);

#endif
