#include "cli/reasoner_options.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define REPLAY "replay:"

void sg_reasoner_options_init(struct sg_reasoner_options *options, const struct sg_settings *settings)
{
    *options = (struct sg_reasoner_options){
        .precision = settings->precision ? settings->precision : "fast",
        .threads = settings->threads,
        .context = settings->context,
        .repack = settings->repack,
    };
}

static bool is_replay(const char *url)
{
    return strncmp(url, REPLAY, strlen(REPLAY)) == 0;
}

const char *sg_reasoner_options_wrong(const struct sg_reasoner_options *options)
{
    const struct sg_remote_options *remote = &options->remote;
    if (remote->url && options->model_name)
        return "--model and --reasoner exclude each other";
    if (remote->url && is_replay(remote->url))
        return remote->model || options->in_flight || remote->votes || options->timeout_s
                   ? "--reasoner-model, --in-flight, --votes and --reasoner-timeout do not go with replay:"
                   : NULL;
    if (remote->url && !remote->model)
        return "--reasoner needs --reasoner-model NAME";
    if (!remote->url && (remote->model || options->in_flight || remote->votes || options->timeout_s))
        return "--reasoner-model, --in-flight, --votes and --reasoner-timeout go with --reasoner URL";
    return NULL;
}

static enum sg_status open_remote(const struct sg_reasoner_options *options, struct sg_reasoner **reasoner_out,
                                  struct sg_error *err)
{
    struct sg_remote_options remote = options->remote;
    remote.in_flight = options->in_flight;
    remote.total_ms = options->timeout_s * 1e3;
    if (options->timeout_s) { /* the parts are no longer than the whole, nor shorter than was asked for */
        remote.first_token_ms = remote.total_ms;
        remote.idle_ms = remote.total_ms;
    }
    if (sg_remote_exposes_key(&remote))
        fprintf(stderr, "safeguard: warning: SAFEGUARD_REASONER_KEY travels unencrypted: the server is on another "
                        "machine and its URL begins with http:\n");
    return sg_reasoner_remote(&remote, reasoner_out, err);
}

/* "replay:FILE" or "replay:FILE#CATEGORY"; a file whose name has a # is meant when it is there. */
static enum sg_status open_replay(const char *url, struct sg_reasoner **reasoner_out, struct sg_error *err)
{
    const char *path = url + strlen(REPLAY), *hash = strrchr(path, '#');
    if (!hash || access(path, F_OK) == 0)
        return sg_reasoner_replay(path, NULL, reasoner_out, err);
    char *file = strndup(path, (size_t)(hash - path));
    enum sg_status status =
        file ? sg_reasoner_replay(file, hash + 1, reasoner_out, err) : sg_fail(err, SG_ENOMEM, "out of memory");
    free(file);
    return status;
}

enum sg_status sg_reasoner_options_open(const struct sg_reasoner_options *options, struct sg_model **model_out,
                                        struct sg_reasoner **reasoner_out, struct sg_error *err)
{
    *model_out = NULL;
    *reasoner_out = NULL;
    if (options->remote.url && is_replay(options->remote.url))
        return open_replay(options->remote.url, reasoner_out, err);
    if (options->remote.url)
        return open_remote(options, reasoner_out, err);
    char *path;
    enum sg_status status = sg_model_locate(options->model_name, &path, err);
    if (status != SG_OK)
        return status;
    struct sg_model_options model = {
        .precision = strcmp(options->precision, "exact") == 0 ? SG_EXACT : SG_FAST,
        .threads = options->threads,
        .repack = options->repack,
    };
    status = sg_model_open(path, &model, model_out, err);
    if (status == SG_OK)
        status = sg_reasoner_native(*model_out, options->context, reasoner_out, err);
    free(path);
    return status;
}

void sg_options_put_text(struct sg_buffer *out, const char *name, const char *value)
{
    json_t *text = json_string(value);
    char *json = text ? json_dumps(text, JSON_ENCODE_ANY) : NULL;
    sg_buffer_printf(out, ",\"%s\":%s", name, json ? json : "null");
    json_decref(text);
    free(json);
}

void sg_reasoner_options_json(const struct sg_reasoner_options *options, struct sg_buffer *out)
{
    if (!options->remote.url) {
        sg_buffer_printf(out, ",\"precision\":\"%s\",\"context\":%d", options->precision, options->context);
        return;
    }
    sg_options_put_text(out, "reasoner", options->remote.url);
    sg_options_put_text(out, "reasoner_model", options->remote.model);
    sg_buffer_printf(out, ",\"votes\":%d", options->remote.votes);
}
