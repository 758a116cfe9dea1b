/* The public calls, passed on to the reasoner's own kind. */
#include "reasoner/reasoner_internal.h"

#include <string.h>

void sg_reasoner_destroy(struct sg_reasoner *reasoner)
{
    if (reasoner)
        reasoner->class->destroy(reasoner);
}

static enum sg_status check_options(const struct sg_check_options *options, struct sg_error *err)
{
    static const char *const efforts[] = {"low", "medium", "high"};
    bool known = !options->effort;
    for (int i = 0; i < 3 && !known; i++)
        known = strcmp(options->effort, efforts[i]) == 0;
    if (!known)
        return sg_fail(err, SG_EINVALID, "effort: got '%s', expected low, medium or high", options->effort);
    if (!(options->temperature >= 0 && options->temperature <= 10))
        return sg_fail(err, SG_EINVALID, "temperature: got %g, expected 0 to 10", options->temperature);
    if (!(options->top_p > 0 && options->top_p <= 1))
        return sg_fail(err, SG_EINVALID, "top_p: got %g, expected above 0 and at most 1", options->top_p);
    if (options->reasoning_budget < 0)
        return sg_fail(err, SG_EINVALID, "reasoning budget: got %d tokens, expected 0 (none) or more",
                       options->reasoning_budget);
    if (!(options->deadline_ms >= 0))
        return sg_fail(err, SG_EINVALID, "deadline: got %g ms, expected 0 (none) or more", options->deadline_ms);
    return SG_OK;
}

enum sg_status sg_reasoner_check(struct sg_reasoner *reasoner, const struct sg_policy *policy,
                                 const struct sg_content *content, const struct sg_check_options *options,
                                 sg_stream_fn stream, void *stream_context, struct sg_verdict *verdict,
                                 struct sg_error *err)
{
    enum sg_status status = check_options(options, err);
    if (status != SG_OK)
        return status;
    return reasoner->class->check(reasoner, policy, content, options, stream, stream_context, verdict, err);
}

int sg_reasoner_in_flight(const struct sg_reasoner *reasoner)
{
    return reasoner->class->in_flight(reasoner);
}

void sg_reasoner_cancel(struct sg_reasoner *reasoner)
{
    reasoner->class->cancel(reasoner);
}

enum sg_status sg_reasoner_count(struct sg_reasoner *reasoner, const char *text, size_t len, int64_t *tokens_out,
                                 struct sg_error *err)
{
    return reasoner->class->count(reasoner, text, len, tokens_out, err);
}
