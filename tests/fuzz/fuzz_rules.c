/* Any bytes as a file of rules, in both formats: an error that says something, or rules that match without harm. What
 * follows the first NUL is the text to match them on. */
#include "base/utf8.h"
#include "guard/rules.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define REQUIRE(what)                                                                                                \
    do {                                                                                                             \
        if (!(what))                                                                                                 \
            abort();                                                                                                 \
    } while (0)

/* Compiling is the matcher's work, not ours: files with many or long expressions only cost time here. */
#define MAX_FILE 512

static void match(const struct sg_rules *rules, struct sg_slice bytes)
{
    static struct sg_normal normal;
    struct sg_rules_scratch *scratch;
    static struct sg_rules_result result;
    struct sg_buffer text = {0};
    struct sg_error err;
    sg_utf8_repair(bytes, &text);
    struct sg_slice repaired = {sg_buffer_text(&text), text.len};
    REQUIRE(sg_rules_scratch_create(rules, &scratch, &err) == SG_OK);
    REQUIRE(sg_normalise(repaired, true, &normal, &err) == SG_OK);
    REQUIRE(sg_rules_match(rules, repaired, &normal, scratch, &result, &err) == SG_OK);
    bool any[SG_RULE_VIOLATES + 1] = {false};
    REQUIRE(result.n_found <= SG_RULES_MAX_MATCHES);
    for (size_t i = 0; i < result.n_found; i++) {
        const struct sg_rule_found *found = &result.found[i];
        REQUIRE(found->rule < sg_rules_count(rules));
        REQUIRE(found->first_byte <= repaired.len && found->n_bytes <= repaired.len - found->first_byte);
        enum sg_rule_action action = sg_rules_at(rules, found->rule)->action;
        REQUIRE(action != SG_RULE_CLEAR || found->reading == SG_READING_RAW);
        any[action] = true;
    }
    for (int i = 0; i <= SG_RULE_VIOLATES; i++) {
        REQUIRE(result.any[i] || !any[i]);
        REQUIRE(!result.any[i] || (size_t)sg_rules_at(rules, result.first[i])->action == (size_t)i);
    }
    REQUIRE(!result.any[SG_RULE_VIOLATES] || any[SG_RULE_VIOLATES]); /* what decides is always shown */
    sg_rules_scratch_destroy(scratch);
    sg_buffer_free(&text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const uint8_t *end = memchr(data, 0, size);
    struct sg_slice file = {(const char *)data, end ? (size_t)(end - data) : size};
    struct sg_slice text = {(const char *)data + file.len, size - file.len};
    if (file.len > MAX_FILE)
        return 0;
    for (int jsonl = 0; jsonl < 2; jsonl++) {
        struct sg_rules *rules;
        struct sg_error err = {0};
        if (sg_rules_parse("fuzz", file, jsonl ? SG_RULES_JSONL : SG_RULES_YAML, &rules, &err) != SG_OK) {
            REQUIRE(!rules && err.text[0]);
            continue;
        }
        size_t n;
        for (size_t i = 0; i < sg_rules_count(rules); i++)
            REQUIRE(sg_rules_at(rules, i)->pattern && sg_rules_at(rules, i)->line > 0);
        sg_rules_notes(rules, &n);
        match(rules, text);
        sg_rules_close(rules);
    }
    return 0;
}
