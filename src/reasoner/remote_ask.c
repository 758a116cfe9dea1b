#include "reasoner/remote_ask.h"

#include <ctype.h>
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>
#include <time.h>

#include "reasoner/chat_text.h"
#include "reasoner/sse.h"

#define MAX_URL 2048
#define MAX_MODEL 256
#define MAX_ERROR_BODY ((size_t)64 << 10)
#define MAX_JSON_BODY ((size_t)64 << 20) /* of a server that does not stream: text and log probabilities */
#define MAX_STREAM_BODY ((size_t)256 << 20)
#define MAX_PAUSE_MS 60e3 /* longer than this nobody waits for a retry */
#define COOL_MS 5e3       /* how long the breaker stays open at first; doubled up to COOL_MAX_MS */
#define COOL_MAX_MS 120e3
#define TOP_LOGPROBS 5 /* enough to see both answers; some servers refuse more */

/* --- the server ------------------------------------------------------------------------------------------- */

/* "http://host:port/v1" → its parts; false when it is none. */
struct url_parts {
    bool https;
    struct sg_slice host; /* without port */
    struct sg_slice path; /* from the first slash on, without query */
};

static bool parse_url(const char *url, struct url_parts *parts)
{
    bool https = strncasecmp(url, "https://", 8) == 0;
    if (!https && strncasecmp(url, "http://", 7) != 0)
        return false;
    for (const char *c = url; *c; c++)
        if (!isgraph((unsigned char)*c))
            return false;
    const char *host = url + (https ? 8 : 7);
    size_t n = strcspn(host, "/?#");
    if (n == 0 || memchr(host, '@', n) || strchr(host + n, '#') || strlen(url) > MAX_URL)
        return false;
    const char *path = host + n;
    size_t host_len = *host == '[' ? strcspn(host, "]") + 1 : strcspn(host, ":/?");
    *parts = (struct url_parts){https, {host, host_len < n ? host_len : n}, {path, strcspn(path, "?")}};
    return true;
}

static bool is_local(struct sg_slice host)
{
    static const char *const local[] = {"localhost", "[::1]"};
    for (size_t i = 0; i < 2; i++)
        if (host.len == strlen(local[i]) && strncasecmp(host.ptr, local[i], host.len) == 0)
            return true;
    return host.len > 4 && memcmp(host.ptr, "127.", 4) == 0 && strspn(host.ptr, "0123456789.") >= host.len;
}

static const char *key_of(const struct sg_remote_options *options)
{
    const char *key = options->api_key ? options->api_key : getenv("SAFEGUARD_REASONER_KEY");
    return key && *key ? key : NULL;
}

bool sg_remote_exposes_key(const struct sg_remote_options *options)
{
    struct url_parts parts;
    return key_of(options) && options->url && parse_url(options->url, &parts) && !parts.https &&
           !is_local(parts.host);
}

static bool ends_with(struct sg_slice text, const char *ending)
{
    size_t n = strlen(ending);
    return text.len >= n && strncasecmp(text.ptr + text.len - n, ending, n) == 0;
}

/* The URL of chat completions, whether or not the given one names them already. */
static char *completions_url(const char *url, const struct url_parts *parts)
{
    struct sg_buffer out = {0};
    struct sg_slice base = {url, (size_t)(parts->path.ptr + parts->path.len - url)};
    while (base.len && base.ptr[base.len - 1] == '/')
        base.len--;
    sg_buffer_append(&out, base.ptr, base.len);
    if (!ends_with(base, "/chat/completions"))
        sg_buffer_puts(&out, "/chat/completions");
    sg_buffer_puts(&out, parts->path.ptr + parts->path.len); /* the query */
    return sg_buffer_take(&out);
}

/* Who takes the policy. A server that applies a model's own template turns "system" into what the model was trained
 * on: harmony's developer message for gpt-oss. OpenAI's own service calls that role "developer", and has kept
 * "system" for its older models. */
static const char *policy_role(const struct sg_server *server)
{
    bool older = strncmp(server->model, "gpt-3", 5) == 0 || strncmp(server->model, "gpt-4", 5) == 0;
    return server->openai && !older ? "developer" : "system";
}

static void set_defaults(struct sg_remote_options *o)
{
    double *const times[] = {&o->connect_ms, &o->first_token_ms, &o->idle_ms, &o->total_ms, &o->retry_ms};
    static const double defaults[] = {5e3, 120e3, 60e3, 600e3, 500};
    for (size_t i = 0; i < 5; i++)
        if (!(*times[i] > 0))
            *times[i] = defaults[i];
    o->in_flight = o->in_flight > 0 ? o->in_flight : 4;
    o->retries = o->retries > 0 ? o->retries : o->retries == 0 ? 3 : 0;
    o->breaker = o->breaker > 0 ? o->breaker : 8;
}

static enum sg_status check_options(const struct sg_remote_options *o, struct url_parts *parts, struct sg_error *err)
{
    if (!o->url || !parse_url(o->url, parts))
        return sg_fail(err, SG_EINVALID,
                       "the reasoner's URL is none: expected http://HOST[:PORT]/v1 or https://…, without user, "
                       "password or fragment");
    if (!o->model || !*o->model || strlen(o->model) > MAX_MODEL)
        return sg_fail(err, SG_EINVALID, "%.*s: no name of the server's model, or one beyond %d bytes",
                       (int)(parts->path.ptr - o->url), o->url, MAX_MODEL);
    for (const char *c = key_of(o) ? key_of(o) : ""; *c; c++)
        if (!isgraph((unsigned char)*c))
            return sg_fail(err, SG_EINVALID, "SAFEGUARD_REASONER_KEY: has a character that no key has");
    if (o->in_flight < 0 || o->in_flight > SG_REMOTE_MAX_IN_FLIGHT || o->votes < 0 || o->votes > SG_REMOTE_MAX_VOTES)
        return sg_fail(err, SG_EINVALID, "got %d checks in flight and %d votes, expected at most %d and %d",
                       o->in_flight, o->votes, SG_REMOTE_MAX_IN_FLIGHT, SG_REMOTE_MAX_VOTES);
    return SG_OK;
}

enum sg_status sg_server_init(struct sg_server *s, const struct sg_remote_options *given, struct sg_error *err)
{
    struct url_parts parts;
    *s = (struct sg_server){.options = *given};
    enum sg_status status = check_options(given, &parts, err);
    if (status != SG_OK)
        return status;
    set_defaults(&s->options);
    s->url = completions_url(given->url, &parts);
    s->shown = s->url ? strndup(s->url, strcspn(s->url, "?")) : NULL;
    s->model = strdup(given->model);
    s->key = key_of(given) ? strdup(key_of(given)) : NULL;
    s->idle = calloc((size_t)s->options.in_flight, sizeof *s->idle);
    if (!s->url || !s->shown || !s->model || !s->idle || (key_of(given) && !s->key)) {
        sg_server_deinit(s);
        return sg_fail(err, SG_ENOMEM, "out of memory for a server");
    }
    s->openai = (parts.host.len == 14 && strncasecmp(parts.host.ptr, "api.openai.com", 14) == 0) ||
                ends_with(parts.host, ".openai.azure.com");
    s->o200k = strstr(s->model, "gpt-oss") != NULL;
    s->policy_role = policy_role(s);
    s->cool_ms = COOL_MS;
    s->options.url = s->options.model = s->options.api_key = NULL;
    pthread_mutex_init(&s->mutex, NULL);
    pthread_cond_init(&s->freed, NULL);
    atomic_store(&s->jitter, (unsigned)(uint64_t)(sg_exchange_now() * 1e3));
    for (; status == SG_OK && s->n_idle < s->options.in_flight; s->n_idle += status == SG_OK)
        status = sg_connection_create(&s->idle[s->n_idle], err);
    if (status != SG_OK)
        sg_server_deinit(s);
    return status;
}

void sg_server_deinit(struct sg_server *s)
{
    if (s->policy_role) {
        pthread_mutex_destroy(&s->mutex);
        pthread_cond_destroy(&s->freed);
    }
    for (int i = 0; i < s->n_idle; i++)
        sg_connection_destroy(s->idle[i]);
    if (s->key)
        explicit_bzero(s->key, strlen(s->key));
    free(s->idle);
    free(s->url);
    free(s->shown);
    free(s->model);
    free(s->key);
    *s = (struct sg_server){0};
}

/* --- waiting ---------------------------------------------------------------------------------------------- */

static const char *const reason_cancelled = "cancelled";
static const char *const reason_deadline = "deadline: no decision before it passed";

static bool is_cancelled(void *context)
{
    const struct sg_call *call = context;
    return atomic_load(&call->server->cancels) != call->cancels;
}

/* Why the call may not go on, or NULL. */
static const char *must_end(struct sg_call *call)
{
    if (is_cancelled(call))
        return reason_cancelled;
    return call->deadline_at > 0 && sg_exchange_now() >= call->deadline_at ? reason_deadline : NULL;
}

enum sg_status sg_call_begin(struct sg_call *call, const char **reason_out, struct sg_error *err)
{
    struct sg_server *s = call->server;
    call->cancels = atomic_load(&s->cancels_seen);
    call->refused = atomic_load(&s->refused);
    *reason_out = must_end(call);
    if (pthread_mutex_lock(&s->mutex) != 0)
        return sg_fail(err, SG_EINTERNAL, "%s: cannot lock", s->shown);
    while (!*reason_out && s->n_idle == 0) {
        struct timespec until;
        clock_gettime(CLOCK_REALTIME, &until);
        until.tv_nsec += 50000000;
        until.tv_sec += until.tv_nsec / 1000000000;
        until.tv_nsec %= 1000000000;
        pthread_cond_timedwait(&s->freed, &s->mutex, &until);
        *reason_out = must_end(call);
    }
    if (!*reason_out)
        call->connection = s->idle[--s->n_idle];
    pthread_mutex_unlock(&s->mutex);
    return SG_OK;
}

void sg_call_end(struct sg_call *call)
{
    struct sg_server *s = call->server;
    pthread_mutex_lock(&s->mutex);
    if (call->connection)
        s->idle[s->n_idle++] = call->connection;
    pthread_cond_signal(&s->freed);
    pthread_mutex_unlock(&s->mutex);
    unsigned cancels = atomic_load(&s->cancels);
    if (cancels != call->cancels)
        atomic_store(&s->cancels_seen, cancels); /* what begins from now on was not meant */
}

/* 0.5 to 1, so that clients that failed together do not come back together. */
static double jitter(struct sg_server *s)
{
    unsigned x = atomic_fetch_add(&s->jitter, 0x9E3779B9u);
    x = (x ^ (x >> 16)) * 0x85EBCA6Bu;
    x = (x ^ (x >> 13)) * 0xC2B2AE35u;
    return 0.5 + 0.5 * (double)(x ^ (x >> 16)) / 4294967295.0;
}

/* Wait before retry n (from 0); why the call ends instead, or NULL. */
static const char *pause_before(struct sg_call *call, int n, double retry_after_s)
{
    struct sg_server *s = call->server;
    double pause = fmin(s->options.retry_ms * pow(2, n), MAX_PAUSE_MS) * jitter(s);
    if (retry_after_s > 0)
        pause = fmax(pause, retry_after_s * 1e3);
    double until = sg_exchange_now() + pause;
    if (call->deadline_at > 0 && until >= call->deadline_at)
        return reason_deadline;
    const char *reason = must_end(call);
    for (double left; !reason && (left = until - sg_exchange_now()) > 0; reason = must_end(call)) {
        left = fmin(left, 50);
        nanosleep(&(struct timespec){0, (long)(left * 1e6)}, NULL);
    }
    return reason;
}

/* --- breaker ---------------------------------------------------------------------------------------------- */

/* May a request go out? While the breaker is open one in each cooling time may, to try. */
static bool breaker_lets(struct sg_server *s, int *n_failures_out)
{
    pthread_mutex_lock(&s->mutex);
    double now = sg_exchange_now();
    bool open = s->n_failures >= s->options.breaker, lets = !open || now >= s->open_until;
    if (open && lets)
        s->open_until = now + s->cool_ms;
    *n_failures_out = s->n_failures;
    pthread_mutex_unlock(&s->mutex);
    return lets;
}

static void breaker_note(struct sg_server *s, bool failed)
{
    pthread_mutex_lock(&s->mutex);
    if (!failed) {
        s->n_failures = 0;
        s->cool_ms = COOL_MS;
    } else if (++s->n_failures >= s->options.breaker) {
        s->open_until = sg_exchange_now() + s->cool_ms;
        s->cool_ms = fmin(s->n_failures > s->options.breaker ? 2 * s->cool_ms : s->cool_ms, COOL_MAX_MS);
    }
    pthread_mutex_unlock(&s->mutex);
}

/* --- the request ------------------------------------------------------------------------------------------ */

/* What a server may refuse. Where an error names several, the first counts. */
static const char *const fields[] = {
    "top_logprobs", "logprobs", "stream_options", "reasoning_effort", "max_completion_tokens",
    "max_tokens",   "min_p",    "top_k",          "temperature",      "top_p",
    "seed"};
#define N_FIELDS ((int)(sizeof fields / sizeof fields[0]))

static unsigned bit_of(const char *field)
{
    int i = 0;
    while (i < N_FIELDS && strcmp(fields[i], field) != 0)
        i++;
    return i < N_FIELDS ? 1u << i : 0;
}

bool sg_call_without_logprobs(const struct sg_call *call)
{
    return call->refused & bit_of("logprobs");
}

/* Set a field unless it was refused. Takes the value. */
static void offer(const struct sg_call *call, json_t *body, const char *field, json_t *value)
{
    if (call->refused & bit_of(field))
        json_decref(value);
    else
        json_object_set_new(body, field, value);
}

static char *make_body(const struct sg_call *call, const struct sg_ask *ask)
{
    struct sg_buffer content = {0};
    sg_buffer_append(&content, call->content.ptr, call->content.len);
    sg_buffer_append(&content, ask->more.ptr, ask->more.len);
    json_t *body = json_pack("{s:s, s:[{s:s, s:s%}, {s:s, s:s%}], s:b}", "model", call->server->model, "messages",
                             "role", call->server->policy_role, "content", call->policy.ptr, call->policy.len, "role",
                             "user", "content", sg_buffer_text(&content), content.len, "stream", 1);
    bool good = body && !content.failed;
    sg_buffer_free(&content);
    offer(call, body, "stream_options", json_pack("{s:b}", "include_usage", 1));
    offer(call, body, "temperature", json_real(ask->temperature));
    offer(call, body, "top_p", json_real(ask->top_p));
    offer(call, body, "seed", json_integer((json_int_t)(ask->seed % 2147483648u)));
    offer(call, body, "reasoning_effort", json_string(call->effort));
    if (ask->sample && !call->server->openai) { /* several servers narrow the choice unless told not to */
        offer(call, body, "top_k", json_integer(-1));
        offer(call, body, "min_p", json_real(0));
    }
    if (ask->count_only) {
        offer(call, body, "max_completion_tokens", json_integer(1));
        offer(call, body, "max_tokens", json_integer(1)); /* Ollama and older servers know no other */
    } else {
        if (call->output_limit)
            offer(call, body, "max_completion_tokens", json_integer(call->output_limit));
        if (!(call->refused & bit_of("logprobs"))) {
            offer(call, body, "logprobs", json_true());
            offer(call, body, "top_logprobs", json_integer(TOP_LOGPROBS));
        }
    }
    char *text = good ? json_dumps(body, JSON_COMPACT) : NULL;
    json_decref(body);
    return text;
}

/* --- the answer ------------------------------------------------------------------------------------------- */

/* What is made of one answer while it arrives. */
struct receiver {
    struct sg_call *call; /* first: the exchange's context is also that of is_cancelled */
    struct sg_exchange *exchange;
    struct sg_reply *reply;
    struct sg_sse sse;
    struct sg_buffer document; /* of an answer that is no stream */
    size_t n_bytes;
    bool quiet; /* nobody is told of the text */
    enum sg_status status;
    struct sg_error err;
};

static bool receiver_cancelled(void *context)
{
    return is_cancelled(((struct receiver *)context)->call);
}

static bool is_stream(const struct sg_exchange *e)
{
    return strcasecmp(e->content_type, "text/event-stream") == 0;
}

static bool is_json(const struct sg_exchange *e)
{
    return strcasecmp(e->content_type, "application/json") == 0 ||
           strcasecmp(e->content_type, "application/problem+json") == 0;
}

static enum sg_status take(struct receiver *r, const char *json, size_t len)
{
    bool grew;
    enum sg_status status = sg_reply_take(r->reply, json, len, r->quiet ? NULL : r->call->stream,
                                          r->call->stream_context, &grew, &r->err);
    r->exchange->moved = r->exchange->moved || grew;
    return status;
}

static bool on_event(void *context, const char *event, const char *data, size_t len)
{
    struct receiver *r = context;
    (void)event; /* an error says so in its data */
    if (len == 6 && memcmp(data, "[DONE]", 6) == 0) {
        r->reply->ended = true;
        return true;
    }
    if (!r->reply->ended)
        r->status = take(r, data, len);
    return r->status == SG_OK;
}

static bool receive(struct sg_exchange *exchange, const char *bytes, size_t len, void *context)
{
    struct receiver *r = context;
    bool wanted = exchange->status == 200 && (is_stream(exchange) || is_json(exchange));
    size_t most = !wanted ? MAX_ERROR_BODY : is_stream(exchange) ? MAX_STREAM_BODY : MAX_JSON_BODY;
    r->n_bytes += len;
    if (r->n_bytes > most) {
        if (wanted)
            r->status = sg_fail(&r->err, SG_ELIMIT, "the answer has more than %zu bytes", most);
        return false; /* the rest of a long error page is not wanted */
    }
    if (wanted && is_stream(exchange)) {
        enum sg_status status;
        bool goes_on = sg_sse_feed(&r->sse, bytes, len, on_event, r, &status, &r->err);
        r->status = r->status == SG_OK ? status : r->status;
        return goes_on;
    }
    exchange->moved = true; /* a document comes in one piece, after the last token */
    sg_buffer_append(&r->document, bytes, len);
    if (r->document.failed)
        r->status = sg_fail(&r->err, SG_ENOMEM, "out of memory for an answer");
    return r->status == SG_OK;
}

/* --- what became of a request ----------------------------------------------------------------------------- */

enum outcome {
    OUTCOME_ANSWER,
    OUTCOME_NONE,    /* no answer; the reason is set */
    OUTCOME_REFUSED, /* a field was refused: ask without it */
    OUTCOME_AGAIN,   /* a failure that may pass */
    OUTCOME_FAILURE
};

/* Does `message` repeat a part of `content`? Server errors may quote the request, our errors must not. */
static bool quotes(const char *message, struct sg_slice content)
{
    size_t len = strlen(message), n = content.len < 8 ? content.len : 8;
    for (size_t i = 0; n > 0 && i + n <= len; i++)
        if (memmem(content.ptr, content.len, message + i, n))
            return true;
    return false;
}

/* ": the server's own words", where there are any that may be shown. */
static const char *words(const struct sg_call *call, const struct sg_reply *reply,
                         char out[SG_REPLY_MAX_MESSAGE + 80])
{
    bool shown = *reply->error_message && !quotes(reply->error_message, call->content);
    snprintf(out, SG_REPLY_MAX_MESSAGE + 80, "%s%s%s%s", *reply->error_type ? ", " : "", reply->error_type,
             shown ? ": " : "", shown ? reply->error_message : "");
    return out;
}

static bool is_identifier(char c)
{
    return isalnum((unsigned char)c) || c == '_';
}

static bool names(const char *text, const char *field)
{
    size_t n = strlen(field);
    for (const char *at = text; (at = strstr(at, field)); at += n)
        if ((at == text || !is_identifier(at[-1])) && !is_identifier(at[n]))
            return true;
    return false;
}

/* The field of the request that an error names, as a bit; 0 for none. */
static unsigned refused_field(const struct sg_call *call, const struct sg_reply *reply, const char *body)
{
    for (int pass = 0; pass < 2; pass++)
        for (int i = 0; i < N_FIELDS; i++) {
            unsigned bit = 1u << i;
            bool sent = !(call->refused & bit) && names(body, fields[i]);
            if (sent && (pass ? names(reply->error_message, fields[i]) : strcmp(reply->error_param, fields[i]) == 0))
                return bit;
        }
    return 0;
}

static bool is_too_long(const struct sg_reply *reply)
{
    return strstr(reply->error_type, "context_length") || strstr(reply->error_type, "exceed_context") ||
           strcasestr(reply->error_message, "context length") || strcasestr(reply->error_message, "context size") ||
           strcasestr(reply->error_message, "maximum context");
}

/* An error by its status: HTTP's, or the one inside an error object. */
static enum outcome judge_status(struct sg_call *call, long status, const struct sg_reply *reply, const char *body,
                                 double retry_after_s, char reason[SG_REASON_MAX], struct sg_error *err)
{
    const char *url = call->server->shown;
    char text[SG_REPLY_MAX_MESSAGE + 80];
    unsigned field = status == 400 || status == 422 ? refused_field(call, reply, body) : 0;
    if (field) {
        call->refused |= field;
        return OUTCOME_REFUSED;
    }
    if (status == 413 || (status >= 400 && is_too_long(reply))) {
        snprintf(reason, SG_REASON_MAX, SG_REASON_TOO_LONG "policy and content are longer than the server takes");
        return OUTCOME_NONE;
    }
    if (status == 400 && strcmp(reply->error_type, "content_filter") == 0) {
        snprintf(reason, SG_REASON_MAX, "filter: the server's own filter refused the content");
        return OUTCOME_NONE;
    }
    if (status == 401 || status == 403) {
        sg_fail(err, SG_EUNAVAILABLE, "%s: the server answers %ld: %s", url, status,
                call->server->key ? "the key is not right, or not enough" : "it wants a key: SAFEGUARD_REASONER_KEY");
        return OUTCOME_FAILURE;
    }
    if (status == 404) {
        sg_fail(err, SG_ENOTFOUND, "%s: the server answers 404: no such path, or no model %s%s", url,
                call->server->model, words(call, reply, text));
        return OUTCOME_FAILURE;
    }
    bool again = status == 408 || status == 425 || status == 429 || status >= 500;
    if (again && retry_after_s * 1e3 > MAX_PAUSE_MS) {
        sg_fail(err, SG_EUNAVAILABLE, "%s: the server answers %ld and asks to wait %.0f s, longer than %.0f s", url,
                status, retry_after_s, MAX_PAUSE_MS / 1e3);
        return OUTCOME_FAILURE;
    }
    sg_fail(err, SG_EUNAVAILABLE, "%s: the server answers %ld%s%s", url, status,
            status >= 300 && status < 400 ? " (redirects are not followed)" : "", words(call, reply, text));
    return again ? OUTCOME_AGAIN : OUTCOME_FAILURE;
}

/* An answer with status 200, whole as far as HTTP goes. */
static enum outcome judge_answer(struct receiver *r, const char *body, char reason[SG_REASON_MAX],
                                 struct sg_error *err)
{
    const char *url = r->call->server->shown;
    struct sg_reply *reply = r->reply;
    if (!is_stream(r->exchange) && !is_json(r->exchange)) {
        sg_fail(err, SG_EUNAVAILABLE, "%s: the answer is %.60s, expected text/event-stream or application/json", url,
                *r->exchange->content_type ? r->exchange->content_type : "of no type");
        return OUTCOME_FAILURE;
    }
    if (r->status == SG_OK && is_json(r->exchange))
        r->status = take(r, sg_buffer_text(&r->document), r->document.len);
    if (r->status == SG_ENOMEM) {
        *err = r->err;
        return OUTCOME_FAILURE;
    }
    if (r->status != SG_OK) {
        sg_fail(err, SG_EUNAVAILABLE, "%s: %s", url, r->err.text);
        return OUTCOME_FAILURE;
    }
    if (reply->has_error) { /* inside HTTP 200 */
        long code = reply->error_code >= 400 && reply->error_code < 600 ? reply->error_code : 500;
        return judge_status(r->call, code, reply, body, 0, reason, err);
    }
    if (!*reply->finish && !reply->ended) {
        sg_fail(err, SG_EUNAVAILABLE, "%s: the answer ends before its end", url);
        return OUTCOME_AGAIN;
    }
    return OUTCOME_ANSWER;
}

static enum outcome judge_end(struct receiver *r, enum sg_exchange_end end, const char *body,
                              char reason[SG_REASON_MAX], struct sg_error *err)
{
    struct sg_exchange *e = r->exchange;
    const char *url = r->call->server->shown;
    switch (end) {
    case SG_EXCHANGE_CANCELLED:
    case SG_EXCHANGE_DEADLINE:
        snprintf(reason, SG_REASON_MAX, "%s", end == SG_EXCHANGE_CANCELLED ? reason_cancelled : reason_deadline);
        return OUTCOME_NONE;
    case SG_EXCHANGE_UNREACHABLE:
        sg_fail(err, SG_EUNAVAILABLE, "%s: no connection: %s", url, e->why);
        return OUTCOME_AGAIN;
    case SG_EXCHANGE_BROKEN:
        sg_fail(err, SG_EUNAVAILABLE, "%s: the connection broke: %s", url, e->why);
        return OUTCOME_AGAIN;
    case SG_EXCHANGE_FIRST:
    case SG_EXCHANGE_IDLE:
        sg_fail(err, SG_EUNAVAILABLE, "%s: no %s token for %g s", url, end == SG_EXCHANGE_FIRST ? "first" : "further",
                (end == SG_EXCHANGE_FIRST ? e->first_ms : e->idle_ms) / 1e3);
        return OUTCOME_FAILURE;
    case SG_EXCHANGE_TOTAL:
        sg_fail(err, SG_EUNAVAILABLE, "%s: the answer took longer than %g s", url, e->total_ms / 1e3);
        return OUTCOME_FAILURE;
    case SG_EXCHANGE_DONE:
    case SG_EXCHANGE_STOPPED:
        break;
    }
    if (e->status == 200)
        return judge_answer(r, body, reason, err);
    bool grew;
    struct sg_error ignored;
    if (r->document.len &&
        sg_reply_take(r->reply, r->document.data, r->document.len, NULL, NULL, &grew, &ignored) != SG_OK)
        r->reply->has_error = true; /* a page of a proxy: its status says enough */
    return judge_status(r->call, e->status, r->reply, body, e->retry_after_s, reason, err);
}

/* One request. Sets *retry_after_out for OUTCOME_AGAIN. */
static enum outcome attempt(struct sg_call *call, const struct sg_ask *ask, struct sg_reply *reply,
                            char reason[SG_REASON_MAX], double *retry_after_out, struct sg_error *err)
{
    struct sg_server *s = call->server;
    int n_failures;
    *retry_after_out = 0;
    if (!breaker_lets(s, &n_failures)) {
        sg_fail(err, SG_EUNAVAILABLE, "%s: not asked: the last %d requests failed", s->shown, n_failures);
        return OUTCOME_FAILURE;
    }
    char *body = make_body(call, ask);
    if (!body) {
        sg_fail(err, SG_ENOMEM, "out of memory for a request");
        return OUTCOME_FAILURE;
    }
    struct receiver r = {.call = call, .reply = reply, .quiet = ask->count_only};
    struct sg_exchange exchange = {.url = s->url,
                                   .key = s->key,
                                   .body = sg_slice_of(body),
                                   .connect_ms = s->options.connect_ms,
                                   .first_ms = s->options.first_token_ms,
                                   .idle_ms = s->options.idle_ms,
                                   .total_ms = s->options.total_ms,
                                   .deadline_at = call->deadline_at,
                                   .cancelled = receiver_cancelled,
                                   .receive = receive,
                                   .context = &r};
    r.exchange = &exchange;
    sg_reply_deinit(reply);
    enum sg_exchange_end end = sg_exchange_run(call->connection, &exchange);
    enum outcome outcome = judge_end(&r, end, body, reason, err);
    *retry_after_out = exchange.retry_after_s;
    bool away = end != SG_EXCHANGE_DONE && end != SG_EXCHANGE_STOPPED;
    if (outcome != OUTCOME_NONE)
        breaker_note(s, away || exchange.status >= 500 || outcome == OUTCOME_AGAIN ? exchange.status != 429 : false);
    sg_sse_free(&r.sse);
    sg_buffer_free(&r.document);
    free(body);
    return outcome;
}

enum sg_status sg_ask(struct sg_call *call, const struct sg_ask *ask, struct sg_reply *reply,
                      char reason[SG_REASON_MAX], struct sg_error *err)
{
    struct sg_error what = {0};
    const char *ends = must_end(call);
    snprintf(reason, SG_REASON_MAX, "%s", ends ? ends : "");
    if (ends)
        return SG_OK;
    for (int n_retries = 0;;) {
        double retry_after_s;
        enum outcome outcome = attempt(call, ask, reply, reason, &retry_after_s, &what);
        if (outcome == OUTCOME_ANSWER) {
            atomic_fetch_or(&call->server->refused, call->refused);
            return SG_OK;
        }
        if (outcome == OUTCOME_NONE)
            return SG_OK;
        if (outcome == OUTCOME_REFUSED)
            continue; /* at most once per field */
        if (outcome == OUTCOME_FAILURE || n_retries >= call->server->options.retries) {
            if (err)
                *err = what;
            return what.code;
        }
        const char *why = pause_before(call, n_retries++, retry_after_s);
        if (why) {
            snprintf(reason, SG_REASON_MAX, "%s", why);
            return SG_OK;
        }
    }
}
