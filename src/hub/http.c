#include "hub/http.h"

#include <ctype.h>
#include <curl/curl.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <strings.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define ETAG_MAX 256
#define CONNECT_TIMEOUT_S 20
#define MAX_DELAY_S 60
#define MAX_ANEW 3            /* times that one fetch starts from the first byte again */
#define MAX_CONNECT_RETRIES 2 /* without a network nobody wants to wait for long */

struct sg_http {
    CURL *curl;
    struct sg_http_options options;
};

/* One request and what its last response said. Redirects give several responses: each status line starts anew, only
 * `linked` stays, because the hub says it in front of the redirect. */
struct request {
    struct sg_http *http;
    const char *url;
    long code;
    char etag[ETAG_MAX], linked[SG_SHA256_HEX];
    char *next;
    int64_t range_start, range_total; /* of Content-Range; -1 unknown */
    int retry_after_s;
    /* a document … */
    struct sg_buffer *body;
    size_t max_bytes;
    /* … or a file */
    int fd;
    uint64_t offset, at, size; /* asked from; end of what is written; expected */
    char old_etag[ETAG_MAX];
    bool started;
    sg_http_progress_fn progress;
    void *context;
    /* why a callback ended the transfer */
    enum { GOES_ON, TOO_LARGE, DISK, CHANGED, CANCELLED } stop;
    int disk_errno;
};

enum sg_status sg_http_open(const struct sg_http_options *options, struct sg_http **http_out, struct sg_error *err)
{
    *http_out = NULL;
    for (const char *c = options->token ? options->token : ""; *c; c++)
        if (!isgraph((unsigned char)*c))
            return sg_fail(err, SG_EINVALID, "HF_TOKEN: has a character that no token has");
    struct sg_http *http = calloc(1, sizeof *http);
    if (http && curl_global_init(CURL_GLOBAL_DEFAULT) == 0)
        http->curl = curl_easy_init();
    if (!http || !http->curl) {
        free(http);
        return sg_fail(err, SG_ENOMEM, "out of memory for a connection");
    }
    http->options = *options;
    *http_out = http;
    return SG_OK;
}

void sg_http_close(struct sg_http *http)
{
    if (!http)
        return;
    curl_easy_cleanup(http->curl);
    free(http);
}

/* "Name: value" without white space around the value; NULL when the header has another name. */
static const char *header_value(const char *line, size_t len, const char *name, size_t *len_out)
{
    size_t n = strlen(name);
    if (len <= n || line[n] != ':' || strncasecmp(line, name, n) != 0)
        return NULL;
    const char *value = line + n + 1, *end = line + len;
    while (value < end && isspace((unsigned char)*value))
        value++;
    while (end > value && isspace((unsigned char)end[-1]))
        end--;
    *len_out = (size_t)(end - value);
    return value;
}

/* The target of rel="next" in a Link header. */
static char *next_link(const char *value, size_t len)
{
    char *copy = strndup(value, len), *found = NULL;
    for (char *at = copy; at && !found; at = strchr(at, ',') ? strchr(at, ',') + 1 : NULL) {
        char *open = strchr(at, '<'), *close = open ? strchr(open, '>') : NULL;
        if (!close)
            break;
        size_t rest = strcspn(close, ",");
        char *rel = memmem(close, rest, "rel=\"next\"", 10);
        if (rel)
            found = strndup(open + 1, (size_t)(close - open - 1));
        at = close;
    }
    free(copy);
    return found;
}

static size_t on_header(char *line, size_t size, size_t n, void *context)
{
    struct request *request = context;
    size_t len = size * n, value_len;
    const char *value;
    if (len > 5 && memcmp(line, "HTTP/", 5) == 0) {
        request->etag[0] = '\0';
        request->range_start = request->range_total = -1;
        request->retry_after_s = 0;
    } else if ((value = header_value(line, len, "ETag", &value_len)) && value_len < ETAG_MAX) {
        memcpy(request->etag, value, value_len);
        request->etag[value_len] = '\0';
    } else if ((value = header_value(line, len, "X-Linked-Etag", &value_len))) {
        if (value_len == 66 && value[0] == '"' && strspn(value + 1, "0123456789abcdef") == 64) {
            memcpy(request->linked, value + 1, 64);
            request->linked[64] = '\0';
        }
    } else if ((value = header_value(line, len, "Content-Range", &value_len)) && value_len < 100) {
        char text[101];
        long long start, end, total;
        snprintf(text, sizeof text, "%.*s", (int)value_len, value);
        if (sscanf(text, "bytes %lld-%lld/%lld", &start, &end, &total) == 3) {
            request->range_start = start;
            request->range_total = total;
        }
    } else if ((value = header_value(line, len, "Link", &value_len))) {
        free(request->next);
        request->next = next_link(value, value_len);
    } else if ((value = header_value(line, len, "Retry-After", &value_len))) {
        request->retry_after_s = atoi(value);
    }
    return len;
}

static size_t on_body(char *bytes, size_t size, size_t n, void *context)
{
    struct request *request = context;
    size_t len = size * n;
    if (request->body->len + len > request->max_bytes) {
        request->stop = TOO_LARGE;
        return 0;
    }
    sg_buffer_append(request->body, bytes, len);
    return request->body->failed ? 0 : len;
}

/* An etag that promises the same bytes: not empty, not weak. */
static bool is_strong(const char *etag)
{
    return etag[0] == '"';
}

/* The first bytes of a file's body: decide from the response where they belong. */
static bool place_body(struct request *request)
{
    curl_easy_getinfo(request->http->curl, CURLINFO_RESPONSE_CODE, &request->code);
    bool resumes = request->code == 206 && request->offset > 0;
    if (resumes && request->range_start != (int64_t)request->offset)
        request->stop = CHANGED;
    if (resumes && request->range_total >= 0 && (uint64_t)request->range_total != request->size)
        request->stop = CHANGED;
    if (resumes && is_strong(request->old_etag) && is_strong(request->etag) &&
        strcmp(request->old_etag, request->etag) != 0)
        request->stop = CHANGED;
    request->at = resumes ? request->offset : 0;
    if (request->stop == GOES_ON && !resumes && ftruncate(request->fd, 0) != 0) {
        request->stop = DISK;
        request->disk_errno = errno;
    }
    request->started = true;
    return request->stop == GOES_ON;
}

static size_t on_file(char *bytes, size_t size, size_t n, void *context)
{
    struct request *request = context;
    size_t len = size * n;
    if (!request->started) {
        long code = 0;
        curl_easy_getinfo(request->http->curl, CURLINFO_RESPONSE_CODE, &code);
        if (code != 200 && code != 206)
            return len; /* the page of an error or a redirect */
        if (!place_body(request))
            return 0;
    }
    if (request->at + len > request->size) {
        request->stop = TOO_LARGE;
        return 0;
    }
    for (size_t done = 0; done < len;) {
        ssize_t written = pwrite(request->fd, bytes + done, len - done, (off_t)(request->at + done));
        if (written < 0 && errno == EINTR)
            continue;
        if (written <= 0) {
            request->stop = DISK;
            request->disk_errno = errno;
            return 0;
        }
        done += (size_t)written;
    }
    request->at += len;
    if (request->progress && !request->progress(request->context, request->at)) {
        request->stop = CANCELLED;
        return 0;
    }
    return len;
}

static struct curl_slist *make_headers(const struct request *request, struct sg_error *err)
{
    struct sg_buffer line = {0};
    struct curl_slist *headers = NULL;
    const char *token = request->http->options.token;
    sg_buffer_puts(&line, "Accept: */*");
    headers = curl_slist_append(headers, sg_buffer_text(&line));
    if (token && *token) {
        /* libcurl does not send it on to another host when it follows a redirect. */
        sg_buffer_clear(&line);
        sg_buffer_printf(&line, "Authorization: Bearer %s", token);
        headers = curl_slist_append(headers, sg_buffer_text(&line));
    }
    if (request->offset > 0 && is_strong(request->old_etag)) {
        sg_buffer_clear(&line);
        sg_buffer_printf(&line, "If-Range: %s", request->old_etag);
        headers = curl_slist_append(headers, sg_buffer_text(&line));
    }
    if (!headers || line.failed)
        sg_fail(err, SG_ENOMEM, "out of memory for a request");
    sg_buffer_free(&line);
    return headers;
}

/* One attempt. The transport's own result; the response's code is in request->code. */
static CURLcode attempt(struct request *request, struct curl_slist *headers)
{
    CURL *curl = request->http->curl;
    char range[48];
    bool https = strncasecmp(request->url, "https:", 6) == 0;
    curl_easy_reset(curl);
    curl_easy_setopt(curl, CURLOPT_URL, request->url);
    curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
    curl_easy_setopt(curl, CURLOPT_USERAGENT, "safeguard");
    curl_easy_setopt(curl, CURLOPT_FOLLOWLOCATION, 1L);
    curl_easy_setopt(curl, CURLOPT_MAXREDIRS, 5L);
    curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(curl, CURLOPT_REDIR_PROTOCOLS_STR, https ? "https" : "http,https");
    curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT, (long)CONNECT_TIMEOUT_S);
    curl_easy_setopt(curl, CURLOPT_LOW_SPEED_LIMIT, 1000L);
    curl_easy_setopt(curl, CURLOPT_LOW_SPEED_TIME, (long)request->http->options.stall_s);
    curl_easy_setopt(curl, CURLOPT_HEADERFUNCTION, on_header);
    curl_easy_setopt(curl, CURLOPT_HEADERDATA, request);
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, request->body ? on_body : on_file);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, request);
    if (request->offset > 0) {
        snprintf(range, sizeof range, "%llu-", (unsigned long long)request->offset);
        curl_easy_setopt(curl, CURLOPT_RANGE, range);
    }
    request->code = 0;
    request->started = false;
    request->stop = GOES_ON;
    CURLcode result = curl_easy_perform(curl);
    curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &request->code);
    return result;
}

/* The error of an attempt that will not get better, or SG_OK when it may. */
static enum sg_status final_error(const struct request *request, CURLcode result, struct sg_error *err)
{
    const char *url = request->url;
    switch (request->stop) {
    case TOO_LARGE:
        return request->body ? sg_fail(err, SG_ELIMIT, "%s: more than %zu bytes", url, request->max_bytes)
                             : sg_fail(err, SG_EFORMAT, "%s: more bytes than the %llu that the listing says", url,
                                       (unsigned long long)request->size);
    case DISK:
        return sg_fail(err, SG_EIO, "%s: cannot write: %s", url, strerror(request->disk_errno));
    case CANCELLED:
        return sg_fail(err, SG_ECANCELLED, "%s: cancelled", url);
    default:
        break;
    }
    if (request->code == 401 || request->code == 403)
        return sg_fail(err, SG_EUNAVAILABLE,
                       "%s: the server answers %ld: this needs permission. Accept the terms on the model's page and "
                       "set HF_TOKEN%s",
                       url, request->code, request->http->options.token ? " (the one given is not enough)" : "");
    if (request->code == 404)
        return sg_fail(err, SG_ENOTFOUND, "%s: the server answers 404: no such model or file", url);
    if (request->code >= 400 && request->code < 500 && request->code != 408 && request->code != 416 &&
        request->code != 429)
        return sg_fail(err, SG_EUNAVAILABLE, "%s: the server answers %ld", url, request->code);
    if (result == CURLE_UNSUPPORTED_PROTOCOL || result == CURLE_URL_MALFORMAT || result == CURLE_TOO_MANY_REDIRECTS ||
        result == CURLE_PEER_FAILED_VERIFICATION || result == CURLE_OUT_OF_MEMORY)
        return sg_fail(err, SG_EUNAVAILABLE, "%s: %s", url, curl_easy_strerror(result));
    return SG_OK;
}

static enum sg_status last_error(const struct request *request, CURLcode result, struct sg_error *err)
{
    if (result == CURLE_OK && request->code >= 400)
        return sg_fail(err, SG_EUNAVAILABLE, "%s: the server answers %ld, also to the last retry", request->url,
                       request->code);
    return sg_fail(err, SG_EUNAVAILABLE, "%s: %s, also at the last retry", request->url,
                   result == CURLE_OK ? "the answer is shorter than it should be" : curl_easy_strerror(result));
}

static void wait_to_retry(const struct request *request, int n_failed)
{
    double delay = request->http->options.retry_delay_s;
    for (int i = 1; i < n_failed && delay < MAX_DELAY_S; i++)
        delay *= 2;
    if (request->retry_after_s > delay)
        delay = request->retry_after_s;
    if (delay > MAX_DELAY_S)
        delay = MAX_DELAY_S;
    struct timespec pause = {(time_t)delay, (long)((delay - (double)(time_t)delay) * 1e9)};
    nanosleep(&pause, NULL);
}

enum sg_status sg_http_get(struct sg_http *http, const char *url, size_t max_bytes, struct sg_buffer *body,
                           char **next_out, struct sg_error *err)
{
    struct request request = {.http = http, .url = url, .body = body, .max_bytes = max_bytes, .old_etag = ""};
    *next_out = NULL;
    struct curl_slist *headers = make_headers(&request, err);
    enum sg_status status = headers ? SG_OK : SG_ENOMEM;
    for (int n_failed = 0; status == SG_OK;) {
        sg_buffer_clear(body);
        CURLcode result = attempt(&request, headers);
        if (result == CURLE_OK && request.code == 200)
            break;
        status = final_error(&request, result, err);
        bool no_network = result == CURLE_COULDNT_RESOLVE_HOST || result == CURLE_COULDNT_CONNECT;
        int retries =
            no_network && http->options.retries > MAX_CONNECT_RETRIES ? MAX_CONNECT_RETRIES : http->options.retries;
        if (status == SG_OK && ++n_failed > retries)
            status = last_error(&request, result, err);
        if (status == SG_OK)
            wait_to_retry(&request, n_failed);
    }
    curl_slist_free_all(headers);
    if (status == SG_OK)
        *next_out = request.next;
    else
        free(request.next);
    return status;
}

/* --- files ---------------------------------------------------------------------------------------------- */

static void read_etag(const char *path, char etag[ETAG_MAX])
{
    struct sg_buffer text = {0};
    etag[0] = '\0';
    if (sg_file_read(path, ETAG_MAX - 1, &text, NULL) == SG_OK && text.len && !strpbrk(text.data, "\r\n"))
        snprintf(etag, ETAG_MAX, "%s", text.data);
    sg_buffer_free(&text);
}

static enum sg_status fetch_rest(struct request *request, const char *etag_path, struct sg_error *err)
{
    char *etag = request->old_etag;
    read_etag(etag_path, etag);
    for (int n_failed = 0, n_anew = 0; request->at < request->size;) {
        request->offset = request->at;
        struct curl_slist *headers = make_headers(request, err);
        if (!headers)
            return SG_ENOMEM;
        CURLcode result = attempt(request, headers);
        curl_slist_free_all(headers);
        bool progressed = request->started && request->stop == GOES_ON && request->at > request->offset;
        if (request->started && request->stop == GOES_ON && strcmp(etag, request->etag) != 0) {
            snprintf(etag, ETAG_MAX, "%s", request->etag);
            enum sg_status status = sg_file_write_atomic(etag_path, etag, strlen(etag), err);
            if (status != SG_OK)
                return status;
        }
        if (request->at == request->size && request->stop == GOES_ON)
            break;
        enum sg_status status = final_error(request, result, err);
        if (status != SG_OK)
            return status;
        curl_off_t promised = -1;
        curl_easy_getinfo(request->http->curl, CURLINFO_CONTENT_LENGTH_DOWNLOAD_T, &promised);
        if (result == CURLE_OK && request->started && request->stop == GOES_ON && promised >= 0)
            return sg_fail(err, SG_EFORMAT, "%s: the file ends after %llu bytes, the listing says %llu", request->url,
                           (unsigned long long)request->at, (unsigned long long)request->size);
        if (request->stop == CHANGED || request->code == 416) {
            request->at = 0;
            etag[0] = '\0';
            if (n_anew++ == MAX_ANEW)
                return sg_fail(err, SG_EUNAVAILABLE, "%s: the file keeps changing", request->url);
        }
        n_failed = progressed ? 1 : n_failed + 1;
        if (n_failed > request->http->options.retries)
            return last_error(request, result, err);
        wait_to_retry(request, n_failed);
    }
    return SG_OK;
}

enum sg_status sg_http_fetch(struct sg_http *http, const char *url, const char *path, uint64_t size,
                             sg_http_progress_fn progress, void *context, char linked_out[SG_SHA256_HEX],
                             struct sg_error *err)
{
    struct request request = {
        .http = http, .url = url, .size = size, .progress = progress, .context = context, .old_etag = ""};
    struct sg_buffer etag_path = {0};
    struct stat info;
    linked_out[0] = '\0';
    sg_buffer_printf(&etag_path, "%s.etag", path);
    enum sg_status status = sg_buffer_status(&etag_path, err);
    request.fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
    if (request.fd < 0 || fstat(request.fd, &info) != 0) {
        status = sg_fail(err, SG_EIO, "%s: cannot open: %s", path, strerror(errno));
    } else if (status == SG_OK) {
        request.at = (uint64_t)info.st_size <= size ? (uint64_t)info.st_size : 0;
        status = fetch_rest(&request, etag_path.data, err);
        if (status == SG_OK && (ftruncate(request.fd, (off_t)size) != 0 || fsync(request.fd) != 0))
            status = sg_fail(err, SG_EIO, "%s: cannot write: %s", path, strerror(errno));
    }
    if (request.fd >= 0)
        close(request.fd);
    if (status == SG_OK) {
        memcpy(linked_out, request.linked, SG_SHA256_HEX);
        unlink(etag_path.data);
    }
    free(request.next);
    sg_buffer_free(&etag_path);
    return status;
}
