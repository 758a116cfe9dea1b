/* A stand-in for model and reasoner, so that the command line can be tested without a model: it answers at once and
 * does what the content tells it to. Linked into safeguard_double only; never shipped.
 *   BAD: violates · REVIEW: needs review · UNSURE: undecided · ESCAPE: reasoning full of terminal escapes
 *   SLOW: 10 s unless cancelled · PAUSE: 50 ms · FAIL: an error of this content · FATAL: an error of every content
 *   AWAY: the reasoner is unavailable
 * As a server (--reasoner) it takes as many checks at a time as it is asked to. */
#include "base/hash_cache.h"
#include "cli/verbs.h"
#include "safeguard/reasoner.h"

#include <math.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

struct sg_model {
    char *path;
};
struct sg_reasoner {
    struct sg_model *model; /* NULL: a server */
    int in_flight;
    atomic_bool cancelled;
};

enum sg_status sg_model_open(const char *path, const struct sg_model_options *options, struct sg_model **model_out,
                             struct sg_error *err)
{
    (void)options;
    (void)err;
    *model_out = calloc(1, sizeof **model_out);
    (*model_out)->path = strdup(path);
    return SG_OK;
}

void sg_model_close(struct sg_model *model)
{
    if (model)
        free(model->path);
    free(model);
}

enum sg_status sg_model_sha256(const struct sg_model *model, char hex_out[65], struct sg_error *err)
{
    const char *path = model->path;
    return sg_file_set_sha256(&path, 1, hex_out, err);
}

enum sg_status sg_reasoner_native(struct sg_model *model, int context, struct sg_reasoner **reasoner_out,
                                  struct sg_error *err)
{
    (void)context;
    (void)err;
    *reasoner_out = calloc(1, sizeof **reasoner_out);
    (*reasoner_out)->model = model;
    (*reasoner_out)->in_flight = 1;
    return SG_OK;
}

bool sg_remote_exposes_key(const struct sg_remote_options *options)
{
    (void)options;
    return false;
}

enum sg_status sg_reasoner_remote(const struct sg_remote_options *options, struct sg_reasoner **reasoner_out,
                                  struct sg_error *err)
{
    (void)err;
    *reasoner_out = calloc(1, sizeof **reasoner_out);
    (*reasoner_out)->in_flight = options->in_flight ? options->in_flight : 4;
    return SG_OK;
}

enum sg_status sg_reasoner_replay(const char *path, const char *category, struct sg_reasoner **reasoner_out,
                                  struct sg_error *err)
{
    (void)category;
    *reasoner_out = NULL;
    return sg_fail(err, SG_EUNSUPPORTED, "%s: the stand-in replays nothing", path);
}

int sg_reasoner_in_flight(const struct sg_reasoner *reasoner)
{
    return reasoner->in_flight;
}

void sg_reasoner_destroy(struct sg_reasoner *reasoner)
{
    free(reasoner);
}

void sg_reasoner_cancel(struct sg_reasoner *reasoner)
{
    atomic_store(&reasoner->cancelled, true);
}

enum sg_status sg_reasoner_count(struct sg_reasoner *reasoner, const char *text, size_t len, int64_t *tokens_out,
                                 struct sg_error *err)
{
    (void)reasoner;
    (void)text;
    (void)err;
    *tokens_out = (int64_t)len / 4;
    return SG_OK;
}

static void nap(struct sg_reasoner *reasoner, int n_steps)
{
    for (int i = 0; i < n_steps && !atomic_load(&reasoner->cancelled); i++)
        nanosleep(&(struct timespec){.tv_nsec = 10000000}, NULL);
}

static void tell(sg_stream_fn stream, void *context, enum sg_stream_kind kind, const char *text, int64_t done)
{
    struct sg_stream_event event = {kind, text, strlen(text), done, 100};
    if (stream)
        stream(context, &event);
}

enum sg_status sg_reasoner_check(struct sg_reasoner *reasoner, const struct sg_policy *policy,
                                 const struct sg_content *content, const struct sg_check_options *options,
                                 sg_stream_fn stream, void *stream_context, struct sg_verdict *verdict,
                                 struct sg_error *err)
{
    size_t len;
    const char *text = sg_content_text(content, &len);
    if (strstr(text, "FATAL"))
        return sg_fail(err, SG_ELIMIT, "the policy has 9000 tokens, the context 8192");
    if (strstr(text, "AWAY"))
        return sg_fail(err, SG_EUNAVAILABLE, "nobody at home");
    if (strstr(text, "FAIL"))
        return sg_fail(err, SG_EIO, "asked to fail");
    tell(stream, stream_context, SG_STREAM_PROMPT, "", 50);
    nap(reasoner, strstr(text, "SLOW") ? 1000 : strstr(text, "PAUSE") ? 5 : 0);
    tell(stream, stream_context, SG_STREAM_PROMPT, "", 100);
    tell(stream, stream_context, SG_STREAM_REASONING,
         strstr(text, "ESCAPE") ? "a\033[31mred\007\xc2\x9b"
                                  "2J\xe2\x80\xae\r end"
                                : "Because.",
         0);
    tell(stream, stream_context, SG_STREAM_OUTPUT, "1", 0);
    verdict->decision = strstr(text, "UNSURE") ? SG_UNDECIDED
                        : strstr(text, "BAD")  ? SG_VIOLATES
                                               : SG_DOES_NOT_VIOLATE;
    verdict->reason = verdict->decision == SG_UNDECIDED ? strdup("asked to be unsure") : NULL;
    verdict->needs_review = strstr(text, "REVIEW");
    verdict->p_violation = verdict->decision == SG_VIOLATES ? 0.9 : 0.1;
    verdict->label_mass = 0.99;
    verdict->reasoning = strdup("Because.");
    verdict->output = strdup(text);
    verdict->policy_id = strdup(sg_policy_id(policy));
    verdict->policy_sha256 = strdup(sg_policy_sha256(policy));
    verdict->model_name = strdup("double");
    verdict->effort = strdup(options->effort ? options->effort : "medium");
    verdict->precision = strdup("fast");
    verdict->stage = strdup("reasoner");
    if (!reasoner->model)
        return SG_OK;
    verdict->model_sha256 = calloc(1, 65);
    return sg_model_sha256(reasoner->model, verdict->model_sha256, err);
}

/* Verbs that look inside the model, which the stand-in has not. */
int sg_verb_bench(int argc, char **argv)
{
    (void)argc;
    (void)argv;
    return 1;
}

int sg_verb_dev_logits(int argc, char **argv)
{
    (void)argc;
    (void)argv;
    return 1;
}
