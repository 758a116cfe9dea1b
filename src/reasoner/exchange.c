#include "reasoner/exchange.h"

#include <curl/curl.h>
#include <math.h>
#include <pthread.h>
#include <stdlib.h>
#include <time.h>

#define SLICE_MS 50 /* how late a cancel or a time-out may be seen */

struct sg_connection {
    CURL *easy;
    CURLM *multi;
};

static pthread_once_t global_once = PTHREAD_ONCE_INIT;
static CURLcode global_result;

static void init_curl(void)
{
    global_result = curl_global_init(CURL_GLOBAL_DEFAULT);
}

enum sg_status sg_connection_create(struct sg_connection **connection_out, struct sg_error *err)
{
    pthread_once(&global_once, init_curl);
    struct sg_connection *c = *connection_out = calloc(1, sizeof *c);
    if (c && global_result == CURLE_OK) {
        c->easy = curl_easy_init();
        c->multi = curl_multi_init();
    }
    if (c && c->easy && c->multi)
        return SG_OK;
    sg_connection_destroy(c);
    *connection_out = NULL;
    return sg_fail(err, SG_ENOMEM, "out of memory for a connection");
}

void sg_connection_destroy(struct sg_connection *c)
{
    if (!c)
        return;
    if (c->easy)
        curl_easy_cleanup(c->easy);
    if (c->multi)
        curl_multi_cleanup(c->multi);
    free(c);
}

double sg_exchange_now(void)
{
    struct timespec at;
    clock_gettime(CLOCK_MONOTONIC, &at);
    return (double)at.tv_sec * 1e3 + (double)at.tv_nsec / 1e6;
}

/* --- one exchange ----------------------------------------------------------------------------------------- */

struct transfer {
    struct sg_exchange *exchange;
    CURL *easy;
    double began, last_moved; /* last_moved 0: no token yet */
    bool stopped;
};

/* The headers are complete before the body begins: what the receiver has to know of them is set here. */
static void read_head(struct transfer *t)
{
    struct sg_exchange *e = t->exchange;
    const char *type = NULL;
    curl_off_t retry_after = 0;
    curl_easy_getinfo(t->easy, CURLINFO_RESPONSE_CODE, &e->status);
    curl_easy_getinfo(t->easy, CURLINFO_CONTENT_TYPE, &type);
    curl_easy_getinfo(t->easy, CURLINFO_RETRY_AFTER, &retry_after);
    size_t n = type ? strcspn(type, "; \t") : 0;
    n = n < sizeof e->content_type ? n : 0;
    memcpy(e->content_type, type ? type : "", n);
    e->content_type[n] = '\0';
    e->retry_after_s = (double)retry_after;
}

static size_t on_body(char *bytes, size_t size, size_t n, void *context)
{
    struct transfer *t = context;
    if (!t->exchange->status)
        read_head(t);
    t->exchange->moved = false;
    t->stopped = !t->exchange->receive(t->exchange, bytes, size * n, t->exchange->context);
    if (t->exchange->moved)
        t->last_moved = sg_exchange_now();
    return t->stopped ? 0 : size * n;
}

static struct curl_slist *make_headers(const char *key)
{
    struct sg_buffer line = {0};
    struct curl_slist *headers = curl_slist_append(NULL, "Content-Type: application/json"), *more = NULL;
    if (headers)
        more = curl_slist_append(headers, "Accept: text/event-stream, application/json");
    if (more)
        more = curl_slist_append(headers, "Expect:"); /* no waiting for a 100 before a long body */
    if (more && key) {
        sg_buffer_printf(&line, "Authorization: Bearer %s", key);
        more = line.failed ? NULL : curl_slist_append(headers, line.data);
        if (line.data)
            explicit_bzero(line.data, line.len);
    }
    sg_buffer_free(&line);
    if (!more)
        curl_slist_free_all(headers);
    return more ? headers : NULL;
}

static void set_options(struct transfer *t, struct curl_slist *headers)
{
    const struct sg_exchange *e = t->exchange;
    CURL *easy = t->easy;
    curl_easy_reset(easy);
    curl_easy_setopt(easy, CURLOPT_URL, e->url);
    curl_easy_setopt(easy, CURLOPT_HTTPHEADER, headers);
    curl_easy_setopt(easy, CURLOPT_USERAGENT, "safeguard");
    curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(easy, CURLOPT_FOLLOWLOCATION, 0L); /* the content goes where it was sent to, and the key too */
    curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(easy, CURLOPT_TCP_KEEPALIVE, 1L);
    curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS, (long)fmax(e->connect_ms, 1));
    curl_easy_setopt(easy, CURLOPT_POST, 1L);
    curl_easy_setopt(easy, CURLOPT_POSTFIELDS, e->body.ptr);
    curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)e->body.len);
    curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(easy, CURLOPT_WRITEDATA, t);
}

/* Which time is up? DONE: none. */
static enum sg_exchange_end overdue(const struct transfer *t)
{
    const struct sg_exchange *e = t->exchange;
    double now = sg_exchange_now();
    if (e->cancelled && e->cancelled(e->context))
        return SG_EXCHANGE_CANCELLED;
    if (e->deadline_at > 0 && now >= e->deadline_at)
        return SG_EXCHANGE_DEADLINE;
    if (now - t->began >= e->total_ms)
        return SG_EXCHANGE_TOTAL;
    if (t->last_moved == 0 && now - t->began >= e->first_ms)
        return SG_EXCHANGE_FIRST;
    if (t->last_moved > 0 && now - t->last_moved >= e->idle_ms)
        return SG_EXCHANGE_IDLE;
    return SG_EXCHANGE_DONE;
}

static enum sg_exchange_end end_of(const struct transfer *t, CURLcode result)
{
    struct sg_exchange *e = t->exchange;
    if (t->stopped)
        return SG_EXCHANGE_STOPPED;
    if (result == CURLE_OK)
        return SG_EXCHANGE_DONE;
    e->why = curl_easy_strerror(result);
    bool none = result == CURLE_COULDNT_CONNECT || result == CURLE_COULDNT_RESOLVE_HOST ||
                result == CURLE_COULDNT_RESOLVE_PROXY || result == CURLE_OPERATION_TIMEDOUT ||
                result == CURLE_SSL_CONNECT_ERROR || result == CURLE_PEER_FAILED_VERIFICATION;
    return none ? SG_EXCHANGE_UNREACHABLE : SG_EXCHANGE_BROKEN;
}

static enum sg_exchange_end drive(struct sg_connection *c, struct transfer *t)
{
    enum sg_exchange_end end = SG_EXCHANGE_DONE;
    for (int running = 1; running && end == SG_EXCHANGE_DONE;) {
        if (curl_multi_perform(c->multi, &running) != CURLM_OK)
            return SG_EXCHANGE_BROKEN;
        if (running) {
            curl_multi_poll(c->multi, NULL, 0, SLICE_MS, NULL);
            end = overdue(t);
        }
    }
    int left;
    for (const CURLMsg *message; end == SG_EXCHANGE_DONE && (message = curl_multi_info_read(c->multi, &left));)
        if (message->msg == CURLMSG_DONE)
            end = end_of(t, message->data.result);
    return end;
}

enum sg_exchange_end sg_exchange_run(struct sg_connection *c, struct sg_exchange *e)
{
    struct transfer t = {.exchange = e, .easy = c->easy, .began = sg_exchange_now()};
    struct curl_slist *headers = make_headers(e->key);
    e->status = 0;
    e->content_type[0] = '\0';
    e->retry_after_s = 0;
    e->why = "out of memory";
    if (!headers)
        return SG_EXCHANGE_BROKEN;
    set_options(&t, headers);
    enum sg_exchange_end end = SG_EXCHANGE_BROKEN;
    if (curl_multi_add_handle(c->multi, c->easy) == CURLM_OK) {
        end = drive(c, &t);
        if (!e->status)
            read_head(&t);
        curl_multi_remove_handle(c->multi, c->easy); /* closes the connection when the answer is not whole */
    }
    curl_slist_free_all(headers);
    return end;
}
