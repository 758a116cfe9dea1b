/* HTTP as the model download needs it: small documents, and large files that survive broken connections. */
#ifndef SG_HUB_HTTP_H
#define SG_HUB_HTTP_H

#include "base/file.h"

struct sg_http_options {
    const char *token;    /* sent as a bearer token to the first host only; NULL: none */
    double retry_delay_s; /* before the first retry, doubled for each further one, at most 60 s */
    int retries;          /* in a row without a single byte of progress */
    int stall_s;          /* give up a connection below 1 kB/s for so long */
};

struct sg_http;

/* Called with the bytes of the file that are there; false ends the transfer with SG_ECANCELLED. */
typedef bool (*sg_http_progress_fn)(void *context, uint64_t n_bytes);

SG_MUST_CHECK enum sg_status sg_http_open(const struct sg_http_options *options, struct sg_http **http_out,
                                          struct sg_error *err);
void sg_http_close(struct sg_http *http);

/* GET a document of at most `max_bytes`, appended to `body`. *next_out is the URL of a "next" Link header (free()
 * it), or NULL. Network errors, 429 and 5xx are tried again; SG_ENOTFOUND for 404, SG_EUNAVAILABLE for 401, 403, what
 * else the server refuses, and no connection. */
SG_MUST_CHECK enum sg_status sg_http_get(struct sg_http *http, const char *url, size_t max_bytes,
                                         struct sg_buffer *body, char **next_out, struct sg_error *err);

/* Fetch a file of `size` bytes into `path`, going on from what `path` holds already: with Range and, where the server
 * gave an ETag (kept in `path`.etag), If-Range. A server that ignores Range or whose file has changed makes it start
 * anew. `linked_out` gets the X-Linked-Etag when it is a SHA-256, else "". Retries as above; what was fetched stays
 * for the next call. SG_EIO when the disk is full; SG_EFORMAT when the file is not `size` bytes long. */
SG_MUST_CHECK enum sg_status sg_http_fetch(struct sg_http *http, const char *url, const char *path, uint64_t size,
                                           sg_http_progress_fn progress, void *context,
                                           char linked_out[SG_SHA256_HEX], struct sg_error *err);

#endif
