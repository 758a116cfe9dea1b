/* The reasoner that repeats a file: whose line counts, and what of it is told again. */
#include "policy_helpers.h"
#include "safeguard/reasoner.h"

#include <math.h>
#include <unistd.h>
#include <zlib.h>

static char path[] = "/tmp/test_replay.XXXXXX";
static struct sg_policy *policy;

static void write_text(const char *text)
{
    struct sg_error err;
    if (sg_file_write_atomic(path, text, strlen(text), &err) != SG_OK)
        fail_msg("%s", err.text);
}

static struct sg_reasoner *replay(const char *text, const char *category)
{
    struct sg_reasoner *reasoner;
    struct sg_error err = {0};
    write_text(text);
    if (sg_reasoner_replay(path, category, &reasoner, &err) != SG_OK)
        fail_msg("%s", err.text);
    return reasoner;
}

static void ask(struct sg_reasoner *reasoner, const char *text, struct sg_verdict *verdict)
{
    const struct sg_check_options options = {.top_p = 1};
    struct sg_content *content;
    struct sg_error err = {0};
    sg_verdict_init(verdict);
    assert_int_equal(sg_content_from_text(text, strlen(text), &content, &err), SG_OK);
    assert_int_equal(sg_reasoner_check(reasoner, policy, content, &options, NULL, NULL, verdict, &err), SG_OK);
    sg_content_destroy(content);
}

static enum sg_decision decision(struct sg_reasoner *reasoner, const char *text)
{
    struct sg_verdict verdict;
    ask(reasoner, text, &verdict);
    enum sg_decision decision = verdict.decision;
    assert_true((decision == SG_UNDECIDED) == (verdict.reason != NULL));
    sg_verdict_deinit(&verdict);
    return decision;
}

static void test_lines(void **state)
{
    (void)state;
    /* printf one | sha256sum */
    struct sg_reasoner *reasoner =
        replay("{\"content_sha256\":\"7692c3ad3540bb803c020b3aee66cd8887123234ea0c6e7143c0add73ff431ed\","
               "\"violation\":true}\n"
               "\n"
               "{\"text\":\"two\",\"violation\":0}\r\n"
               "{\"text\":\"three\",\"violation\":null}\n"
               "{\"text\":\"four\",\"violation\":1}\n"
               "{\"text\":\"four\",\"violation\":0}\n"
               "{\"text\":\"five\",\"labels\":{\"hate\":0,\"spam\":1}}\n"
               "{\"text\":\"six\",\"categories\":{\"hate\":0,\"spam\":null}}\n"
               "{\"text\":\"a\\u0000b\",\"violation\":1}\n"
               "{\"id\":\"x\",\"error\":{\"code\":\"io\"}}\n"
               "{\"attempt\":{}}",
               NULL);
    assert_int_equal(decision(reasoner, "one"), SG_VIOLATES);
    assert_int_equal(decision(reasoner, "two"), SG_DOES_NOT_VIOLATE);
    assert_int_equal(decision(reasoner, "three"), SG_UNDECIDED);
    assert_int_equal(decision(reasoner, "four"), SG_DOES_NOT_VIOLATE); /* the last line counts */
    assert_int_equal(decision(reasoner, "five"), SG_VIOLATES);
    assert_int_equal(decision(reasoner, "six"), SG_DOES_NOT_VIOLATE);
    assert_int_equal(decision(reasoner, "seven"), SG_UNDECIDED);
    assert_int_equal(sg_reasoner_in_flight(reasoner), 64);
    sg_reasoner_destroy(reasoner);
    reasoner = replay(
        "{\"text\":\"five\",\"labels\":{\"hate\":0,\"spam\":1}}\n{\"text\":\"six\",\"labels\":{\"spam\":1}}", "hate");
    assert_int_equal(decision(reasoner, "five"), SG_DOES_NOT_VIOLATE);
    assert_int_equal(decision(reasoner, "six"), SG_UNDECIDED);
    sg_reasoner_destroy(reasoner);
}

/* A line about this version of the policy goes before one about any, wherever it stands. */
static void test_policies(void **state)
{
    (void)state;
    struct sg_buffer text = {0};
    sg_buffer_printf(&text,
                     "{\"text\":\"one\",\"violation\":true,\"policy\":{\"id\":\"p\",\"sha256\":\"%s\"}}\n"
                     "{\"text\":\"one\",\"violation\":false}\n"
                     "{\"text\":\"two\",\"violation\":true,\"policy_sha256\":\"%064d\"}\n",
                     sg_policy_sha256(policy), 7);
    struct sg_reasoner *reasoner = replay(text.data, NULL);
    assert_int_equal(decision(reasoner, "one"), SG_VIOLATES);
    assert_int_equal(decision(reasoner, "two"), SG_UNDECIDED); /* that is about another policy */
    sg_reasoner_destroy(reasoner);
    sg_buffer_free(&text);
}

static void test_verdicts(void **state)
{
    (void)state;
    struct sg_reasoner *reasoner = replay(
        "{\"text\":\"one\",\"violation\":true,\"p_violation\":0.75,\"p_source\":\"votes of 4\",\"reasoning\":"
        "\"Because.\",\"rationale\":\"r\",\"category\":\"SP2\",\"output\":\"1\",\"effort\":\"low\",\"needs_review\":"
        "true,"
        "\"model\":{\"name\":\"m\",\"sha256\":\"abc\"},\"tokens\":{\"prompt\":9,\"cached\":null,\"output\":2}}",
        NULL);
    struct sg_verdict verdict;
    ask(reasoner, "one", &verdict);
    assert_float_equal(verdict.p_violation, 0.75, 0);
    assert_string_equal(verdict.p_source, "votes of 4");
    assert_string_equal(verdict.reasoning, "Because.");
    assert_string_equal(verdict.category, "SP2");
    assert_string_equal(verdict.model_name, "m");
    assert_string_equal(verdict.model_sha256, "abc");
    assert_true(verdict.needs_review && verdict.n_prompt_tokens == 9 && verdict.n_cached_tokens == -1);
    assert_string_equal(verdict.policy_sha256, sg_policy_sha256(policy));
    sg_verdict_deinit(&verdict);
    ask(reasoner, "two", &verdict);
    assert_true(isnan(verdict.p_violation));
    assert_string_equal(verdict.model_name, "replay");
    sg_verdict_deinit(&verdict);
    sg_reasoner_destroy(reasoner);
}

static void test_many(void **state)
{
    (void)state;
    struct sg_buffer text = {0};
    for (int i = 0; i < 5000; i++)
        sg_buffer_printf(&text, "{\"text\":\"row %d\",\"violation\":%d}\n", i, i % 3 == 0);
    gzFile file = gzopen(path, "wb");
    assert_int_equal(gzwrite(file, text.data, (unsigned)text.len), (int)text.len);
    gzclose(file);
    struct sg_reasoner *reasoner;
    struct sg_error err;
    assert_int_equal(sg_reasoner_replay(path, NULL, &reasoner, &err), SG_OK);
    for (int i = 0; i < 5000; i++) {
        char row[16];
        snprintf(row, sizeof row, "row %d", i);
        assert_int_equal(decision(reasoner, row), i % 3 == 0 ? SG_VIOLATES : SG_DOES_NOT_VIOLATE);
    }
    int64_t tokens;
    assert_int_equal(sg_reasoner_count(reasoner, "x", 1, &tokens, &err), SG_ENOTFOUND);
    sg_reasoner_destroy(reasoner);
    sg_buffer_free(&text);
}

static void test_errors(void **state)
{
    (void)state;
    static const struct {
        const char *text, *expected;
    } cases[] = {
        {"", "no line says anything"},
        {"{\"violation\":1}\n", "no line says anything"},
        {"{\"text\":\"a\"}\nnonsense\n", "line 2: not a JSON object"},
        {"{\"text\":\"a\",\"violation\":1,\"violation\":0}", "line 1: not a JSON object with every key once"},
        {"[]", "line 1: not a JSON object"}};
    struct sg_reasoner *reasoner;
    struct sg_error err = {0};
    for (size_t i = 0; i < COUNT(cases); i++) {
        write_text(cases[i].text);
        assert_int_equal(sg_reasoner_replay(path, NULL, &reasoner, &err), SG_EFORMAT);
        assert_null(reasoner);
        if (!strstr(err.text, cases[i].expected))
            fail_msg("%s", err.text);
    }
    static const char nul[] = "{\"text\":\"a\",\"violation\":0}\n\0{\"text\":\"b\",\"violation\":1}\n";
    FILE *file = fopen(path, "wb");
    assert_int_equal(fwrite(nul, 1, sizeof nul - 1, file), sizeof nul - 1);
    assert_int_equal(fclose(file), 0);
    assert_int_equal(sg_reasoner_replay(path, NULL, &reasoner, &err), SG_EFORMAT);
    assert_non_null(strstr(err.text, "line 2: a NUL byte"));
    assert_int_equal(sg_reasoner_replay("/no/such/file", NULL, &reasoner, &err), SG_ENOTFOUND);
}

static int setup(void **state)
{
    (void)state;
    int file = mkstemp(path);
    assert_true(file >= 0);
    close(file);
    policy = parse_policy("# Spam\n\nAnswer 1 for spam, 0 for anything else.\n");
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    unlink(path);
    sg_policy_close(policy);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lines), cmocka_unit_test(test_policies), cmocka_unit_test(test_verdicts),
        cmocka_unit_test(test_many),  cmocka_unit_test(test_errors),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
