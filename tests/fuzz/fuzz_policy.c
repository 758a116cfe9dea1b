/* Any bytes as a policy: an error, or a policy whose parts are all there and whose own labels parse. */
#include "policy/lint.h"
#include "safeguard/verdict.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define REQUIRE(what)                                                                                                \
    do {                                                                                                             \
        if (!(what))                                                                                                 \
            abort();                                                                                                 \
    } while (0)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct sg_policy *policy;
    struct sg_error err = {0};
    if (sg_policy_parse("fuzz", (const char *)data, size, &policy, &err) != SG_OK) {
        REQUIRE(!policy && err.text[0]);
        return 0;
    }
    size_t n, len;
    const char *prompt = sg_policy_prompt(policy, &len);
    REQUIRE(strlen(prompt) == len && len > 0 && strlen(sg_policy_sha256(policy)) == 64);
    const struct sg_label *labels = sg_policy_labels(policy, &n);
    for (size_t i = 0; i < n && i < 4; i++) {
        struct sg_verdict verdict;
        sg_verdict_init(&verdict);
        REQUIRE(sg_verdict_parse(policy, labels[i].text, strlen(labels[i].text), &verdict, &err) == SG_OK);
        /* Whatever a policy calls its labels, a violating one must not read as safe. */
        REQUIRE(!(labels[i].violation && verdict.decision == SG_DOES_NOT_VIOLATE));
        sg_verdict_deinit(&verdict);
    }
    struct sg_lint lint;
    REQUIRE(sg_policy_lint(policy, (int64_t)size, "fuzz", &lint, &err) == SG_OK);
    sg_lint_deinit(&lint);
    sg_policy_close(policy);
    return 0;
}
