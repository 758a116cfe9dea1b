#include "reasoner/describe.h"

#include "base/utf8.h"

#include <stdlib.h>
#include <time.h>

enum sg_status sg_verdict_set(char **slot, const char *text, struct sg_error *err)
{
    char *copy = strdup(text);
    if (!copy)
        return sg_fail(err, SG_ENOMEM, "out of memory for a verdict");
    free(*slot);
    *slot = copy;
    return SG_OK;
}

enum sg_status sg_verdict_set_repaired(char **slot, struct sg_slice text, struct sg_error *err)
{
    struct sg_buffer repaired = {0};
    sg_utf8_repair(text, &repaired);
    free(*slot);
    *slot = sg_buffer_take(&repaired);
    return *slot ? SG_OK : sg_fail(err, SG_ENOMEM, "out of memory for a verdict");
}

enum sg_status sg_verdict_describe(struct sg_verdict *verdict, const struct sg_policy *policy,
                                   const struct sg_content *content, const struct sg_check_options *options,
                                   struct sg_error *err)
{
    const struct {
        char **slot;
        const char *text;
    } fields[] = {
        {&verdict->policy_id, sg_policy_id(policy)},
        {&verdict->policy_sha256, sg_policy_sha256(policy)},
        {&verdict->effort, sg_check_effort(policy, options)},
        {&verdict->stage, "reasoner"},
    };
    enum sg_status status = SG_OK;
    for (size_t i = 0; status == SG_OK && i < sizeof fields / sizeof fields[0]; i++)
        status = sg_verdict_set(fields[i].slot, fields[i].text, err);
    verdict->seed = options->seed;
    verdict->temperature = options->temperature;
    size_t n;
    const char *const *parts = sg_content_not_judged(content, &n);
    if (status == SG_OK && n) {
        verdict->not_judged = calloc(n, sizeof *verdict->not_judged);
        if (!verdict->not_judged)
            return sg_fail(err, SG_ENOMEM, "out of memory for a verdict");
        for (; status == SG_OK && verdict->n_not_judged < n; verdict->n_not_judged++)
            status = sg_verdict_set(&verdict->not_judged[verdict->n_not_judged], parts[verdict->n_not_judged], err);
    }
    return status;
}

const char *sg_check_effort(const struct sg_policy *policy, const struct sg_check_options *options)
{
    if (options->effort)
        return options->effort;
    return sg_policy_effort(policy) ? sg_policy_effort(policy) : "medium";
}

const char *sg_check_date(const struct sg_policy *policy, char out[11])
{
    time_t now = time(NULL);
    struct tm parts;
    if (!sg_policy_wants_date(policy))
        return NULL;
    strftime(out, 11, "%Y-%m-%d", gmtime_r(&now, &parts));
    return out;
}
