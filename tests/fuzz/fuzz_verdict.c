/* Any bytes as an answer, under one policy of each shape. The verdict must be whole, and its JSON must parse. */
#include "safeguard/verdict.h"

#include <jansson.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define REQUIRE(what)                                                                                                \
    do {                                                                                                             \
        if (!(what))                                                                                                 \
            abort();                                                                                                 \
    } while (0)

static const char *const texts[] = {
    "Return 0 or 1.",
    "Return {\"violation\": 1, \"policy_category\": \"H2.f\"}\n- H2.f rule\n- TX-1 rule\n## SAFE (0)\n- H0.a fine\n",
    "Return {\"violation\": 1, \"policy_category\": \"H2.f\", \"rule_ids\": [], \"confidence\": \"low\", "
    "\"rationale\": \"x\"}\n- 4.2 Title\n",
    "Classify as VALID or INVALID.\nOutput: INVALID + ESCALATE\n(SP0 - no) (SP2 - yes) D-SP#, R-SP# | D-S2, R-S0 | "
    "label\n",
    "Return {\"S\": 0 or 1, \"H\": 0 or 1}",
    "---\nlabels:\n  OK: safe\n  ASK: review\n  \xE8\xBF\x9D\xE8\xA7\x84: violates\n---\nAnswer OK or ASK.\n"};
#define N_POLICIES (sizeof texts / sizeof texts[0])

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct sg_policy *policies[N_POLICIES];
    struct sg_error err = {0};
    struct sg_verdict verdict;
    sg_verdict_init(&verdict);
    for (size_t i = 0; i < N_POLICIES; i++) {
        if (!policies[i])
            REQUIRE(sg_policy_parse("fuzz", texts[i], strlen(texts[i]), &policies[i], &err) == SG_OK);
        REQUIRE(sg_verdict_parse(policies[i], (const char *)data, size, &verdict, &err) == SG_OK);
        REQUIRE((verdict.decision == SG_UNDECIDED) == (verdict.reason != NULL));
        REQUIRE(size > 0 || verdict.decision == SG_UNDECIDED);
        char *json;
        REQUIRE(sg_verdict_to_json(&verdict, &json, &err) == SG_OK);
        json_t *read = json_loads(json, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, NULL);
        REQUIRE(json_object_get(read, "decision") && json_object_get(read, "not_judged"));
        json_decref(read);
        free(json);
    }
    sg_verdict_deinit(&verdict);
    return 0;
}
