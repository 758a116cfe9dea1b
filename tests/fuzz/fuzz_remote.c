/* Any bytes as what a chat server answers: an event stream, fed in two pieces, then the reply that was put together
 * of it, split into channels, read under a policy of each kind, and weighed by its log probabilities. */
#include <math.h>
#include <stdint.h>
#include <stdlib.h>

#include "reasoner/chat_reply.h"
#include "reasoner/chat_text.h"
#include "reasoner/sse.h"

#define REQUIRE(what)                                                                                                \
    do {                                                                                                             \
        if (!(what))                                                                                                 \
            abort();                                                                                                 \
    } while (0)

static const char *const texts[] = {
    "Return 0 or 1.",
    "Return {\"violation\": 1, \"policy_category\": \"H2.f\"}\n- H2.f rule\n- TX-1 rule\n## SAFE (0)\n- H0.a fine\n",
    "Classify as VALID or INVALID.\nOutput: INVALID + ESCALATE\n(SP0 - no) (SP2 - yes) D-SP#, R-SP# | D-S2, R-S0 | "
    "label\n",
    "Return {\"S\": 0 or 1, \"H\": 0 or 1}",
};
#define N_POLICIES (sizeof texts / sizeof texts[0])

static bool on_event(void *context, const char *event, const char *data, size_t len)
{
    bool grew;
    struct sg_error err;
    (void)event;
    enum sg_status status = sg_reply_take(context, data, len, NULL, NULL, &grew, &err);
    REQUIRE(status == SG_OK || status == SG_EFORMAT || status == SG_ELIMIT);
    return true;
}

static bool is_probability(double p)
{
    return isnan(p) || (p >= 0 && p <= 1);
}

static void judge(const struct sg_reply *reply, const struct sg_policy *policy, struct sg_slice answer)
{
    struct sg_verdict verdict;
    struct sg_error err;
    sg_verdict_init(&verdict);
    REQUIRE(sg_verdict_parse(policy, answer.ptr, answer.len, &verdict, &err) == SG_OK);
    sg_logprobs_judge(&reply->logprobs, policy, answer, &verdict);
    REQUIRE(is_probability(verdict.p_violation) && is_probability(verdict.label_mass));
    REQUIRE(verdict.decision != SG_UNDECIDED || isnan(verdict.p_violation));
    for (size_t i = 0; i < verdict.n_flags; i++)
        REQUIRE(is_probability(verdict.flags[i].p));
    sg_verdict_deinit(&verdict);
}

static void break_markers(struct sg_slice text)
{
    struct sg_buffer once = {0}, twice = {0};
    sg_break_markers(text, &once);
    REQUIRE(sg_break_markers((struct sg_slice){sg_buffer_text(&once), once.len}, &twice) == 0);
    REQUIRE(sg_least_tokens(text, false) <= (int64_t)text.len && sg_least_tokens(text, true) <= (int64_t)text.len);
    sg_buffer_free(&once);
    sg_buffer_free(&twice);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct sg_policy *policies[N_POLICIES];
    struct sg_error err;
    for (size_t i = 0; i < N_POLICIES; i++)
        if (!policies[i])
            REQUIRE(sg_policy_parse("fuzz", texts[i], strlen(texts[i]), &policies[i], &err) == SG_OK);
    struct sg_sse sse = {0};
    struct sg_reply reply;
    struct sg_buffer reasoning = {0}, answer = {0};
    enum sg_status status;
    size_t cut = size ? data[0] % size : 0;
    sg_reply_init(&reply);
    REQUIRE(sg_sse_feed(&sse, (const char *)data, cut, on_event, &reply, &status, &err));
    REQUIRE(sg_sse_feed(&sse, (const char *)data + cut, size - cut, on_event, &reply, &status, &err));
    struct sg_slice content = {sg_buffer_text(&reply.content), reply.content.len};
    sg_split_channels(content, &reasoning, &answer);
    REQUIRE(reasoning.len + answer.len <= 2 * content.len);
    for (size_t i = 0; i < N_POLICIES; i++)
        judge(&reply, policies[i], (struct sg_slice){sg_buffer_text(&answer), answer.len});
    break_markers((struct sg_slice){(const char *)data, size});
    sg_buffer_free(&reasoning);
    sg_buffer_free(&answer);
    sg_reply_deinit(&reply);
    sg_sse_free(&sse);
    return 0;
}
