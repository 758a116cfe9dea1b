/* Rules: how files are read, what is found where, in which reading, and at which bytes of the raw text. Offsets are
 * counted by hand; thousands of phrases are compared with strcasestr. */
#include "guard/rules.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#define COUNT(array) (sizeof(array) / sizeof *(array))

static struct sg_rules *parse(const char *text, enum sg_rules_format format)
{
    struct sg_rules *rules;
    struct sg_error err = {0};
    if (sg_rules_parse("test.yaml", sg_slice_of(text), format, &rules, &err) != SG_OK)
        fail_msg("%s", err.text);
    return rules;
}

static void match_bytes(const struct sg_rules *rules, struct sg_slice text, struct sg_rules_result *result)
{
    struct sg_normal normal = {0};
    struct sg_rules_scratch *scratch;
    struct sg_error err = {0};
    assert_int_equal(sg_rules_scratch_create(rules, &scratch, &err), SG_OK);
    assert_int_equal(sg_normalise(text, true, &normal, &err), SG_OK);
    assert_int_equal(sg_rules_match(rules, text, &normal, scratch, result, &err), SG_OK);
    sg_normal_deinit(&normal);
    sg_rules_scratch_destroy(scratch);
}

static void match(const struct sg_rules *rules, const char *text, struct sg_rules_result *result)
{
    match_bytes(rules, sg_slice_of(text), result);
}

/* "0@4+13 raw" of every match, joined by "|". */
static const char *found_text(const struct sg_rules_result *result)
{
    static char text[4096];
    size_t at = 0;
    text[0] = '\0';
    for (size_t i = 0; i < result->n_found; i++) {
        const struct sg_rule_found *found = &result->found[i];
        at += (size_t)snprintf(text + at, sizeof text - at, "%s%zu@%zu+%zu %s", i ? "|" : "", found->rule,
                               found->first_byte, found->n_bytes,
                               found->reading < 0 ? "raw" : sg_reading_name((enum sg_reading)found->reading));
    }
    return text;
}

/* --- files --------------------------------------------------------------------------------------------------- */

static const char yaml_file[] = "# a comment\n"
                                "version: 1\n"
                                "policy: spam\n"
                                "rules:\n"
                                "  - name: followers\n"
                                "    phrase: \"buy  followers \"\n"
                                "    action: violates\n"
                                "    words: true\n"
                                "    note: seen in March\n"
                                "  - regex: 'casino\\d+'\n"
                                "    action: escalate\n"
                                "  - {phrase: thanks, action: clear}\n";
static const char jsonl_file[] =
    "{\"version\":1,\"policy\":\"spam\"}\n\n"
    "{\"name\":\"followers\",\"phrase\":\"buy  followers \",\"action\":\"violates\",\"words\":true,"
    "\"note\":\"seen in March\"}\r\n"
    "{\"regex\":\"casino\\\\d+\",\"action\":\"Escalate\"}\n"
    "{\"phrase\":\"thanks\",\"action\":\"clear\"}";

static void check_file(struct sg_rules *rules, const size_t lines[3])
{
    assert_int_equal(sg_rules_count(rules), 3);
    assert_string_equal(sg_rules_policy(rules), "spam");
    const struct sg_rule *rule = sg_rules_at(rules, 0);
    assert_string_equal(rule->name, "followers");
    assert_string_equal(rule->pattern, "buy  followers");
    assert_string_equal(rule->note, "seen in March");
    assert_true(rule->action == SG_RULE_VIOLATES && rule->words && !rule->whole && !rule->regex);
    rule = sg_rules_at(rules, 1);
    assert_null(rule->name);
    assert_string_equal(rule->pattern, "casino\\d+");
    assert_true(rule->action == SG_RULE_ESCALATE && !rule->words && !rule->whole && rule->regex);
    /* What clears must be the whole text unless the rule says otherwise. */
    rule = sg_rules_at(rules, 2);
    assert_true(rule->action == SG_RULE_CLEAR && rule->whole);
    for (size_t i = 0; i < 3; i++)
        assert_int_equal(sg_rules_at(rules, i)->line, lines[i]);
    size_t n;
    sg_rules_notes(rules, &n);
    assert_int_equal(n, 0);
    sg_rules_close(rules);
}

static void test_files(void **state)
{
    (void)state;
    check_file(parse(yaml_file, SG_RULES_YAML), (const size_t[]){5, 10, 12});
    check_file(parse(jsonl_file, SG_RULES_JSONL), (const size_t[]){3, 4, 5});
    struct sg_rules *rules = parse("\xEF\xBB\xBFversion: 1\nrules: []\n", SG_RULES_BY_NAME);
    struct sg_rules_result result;
    assert_int_equal(sg_rules_count(rules), 0);
    assert_null(sg_rules_policy(rules));
    /* sha256sum of the file */
    assert_string_equal(sg_rules_sha256(rules), "ad2d284db802b10fa340e8d39e127aa5198843c38459708f0b2aa78fc175f5f4");
    match(rules, "anything", &result);
    assert_int_equal(result.n_found, 0);
    sg_rules_close(rules);
}

static void test_notes(void **state)
{
    (void)state;
    struct sg_rules *rules = parse("rules:\n"
                                   "  - {phrase: hello, action: clear, whole: false}\n"
                                   "  - {phrase: ad, action: escalate}\n"
                                   "  - {phrase: casino, action: escalate}\n"
                                   "  - {phrase: Casino, action: violates}\n"
                                   "  - {phrase: ad, action: escalate, words: true}\n",
                                   SG_RULES_YAML);
    static const char *const expected[] = {
        "line 2: rule \"hello\": clears whatever", "line 3: rule \"ad\": short",
        "line 6: rule \"ad\": stands in line 3 already",
        "line 5: rule \"Casino\": line 4 has the same with another action; violates"};
    size_t n;
    const char *const *notes = sg_rules_notes(rules, &n);
    assert_int_equal(n, COUNT(expected));
    for (size_t i = 0; i < n; i++)
        if (strncmp(notes[i], expected[i], strlen(expected[i])) != 0)
            fail_msg("%s", notes[i]);
    sg_rules_close(rules);
}

static void test_errors(void **state)
{
    (void)state;
    static const struct {
        enum sg_rules_format format;
        enum sg_status status;
        const char *text, *expected;
    } cases[] = {
        {SG_RULES_YAML, SG_EFORMAT, "- a\n- b\n", "t: line 1: no mapping"},
        {SG_RULES_YAML, SG_EFORMAT, "rules: [\n", "t: line 2: not YAML"},
        {SG_RULES_YAML, SG_EUNSUPPORTED, "version: 2\n", "t: line 1: version is \"2\", expected 1"},
        {SG_RULES_YAML, SG_EFORMAT, "version: 1\nrule: []\n", "t: line 2: \"rule\" is no key of a rule file"},
        {SG_RULES_YAML, SG_EFORMAT, "rules: []\nrules: []\n", "t: line 2: rules stands twice"},
        {SG_RULES_YAML, SG_EFORMAT, "rules:\n  - hello\n", "t: line 2: a rule is no mapping"},
        {SG_RULES_YAML, SG_EFORMAT, "rules:\n  - phrase: a\n    words: yes\n    acton: clear\n",
         "t: line 4: \"acton\" is no key of a rule"},
        {SG_RULES_YAML, SG_EFORMAT, "rules:\n  - phrase: a\n", "t: line 2: rule \"a\" has no action"},
        {SG_RULES_YAML, SG_EFORMAT, "rules:\n  - {phrase: a, action: block}\n",
         "action is \"block\", expected violates"},
        {SG_RULES_YAML, SG_EFORMAT, "rules:\n  - {phrase: a, regex: b, action: clear}\n", "both phrase and regex"},
        {SG_RULES_YAML, SG_EFORMAT, "rules:\n  - {name: a, action: clear}\n", "neither phrase nor regex"},
        {SG_RULES_YAML, SG_EFORMAT, "rules:\n  - {phrase: ' ', action: clear}\n", "phrase is empty"},
        {SG_RULES_YAML, SG_EFORMAT, "rules:\n  - {phrase: \"a\\0b\", action: clear}\n", "NUL"},
        {SG_RULES_YAML, SG_EFORMAT, "rules:\n  - {phrase: [a], action: clear}\n", "phrase is a list or mapping"},
        {SG_RULES_YAML, SG_EFORMAT, "rules:\n  - {phrase: a, phrase: b, action: clear}\n", "phrase stands twice"},
        {SG_RULES_YAML, SG_EFORMAT, "rules:\n  - {phrase: a, words: maybe, action: clear}\n",
         "words is \"maybe\", expected true or false"},
        /* The matcher's own refusals carry the rule. */
        {SG_RULES_YAML, SG_EFORMAT,
         "rules:\n  - {phrase: ok, action: clear}\n  - {name: bad, regex: '(a', action: clear}\n",
         "t: line 3: rule \"bad\": the matcher refuses it: "},
        {SG_RULES_YAML, SG_EFORMAT, "rules:\n  - {regex: '(a)\\1', action: clear}\n", "the matcher refuses it"},
        {SG_RULES_YAML, SG_EFORMAT, "rules:\n  - {regex: 'a*', action: clear}\n", "the matcher refuses it"},
        {SG_RULES_JSONL, SG_EFORMAT, "{\"phrase\":\"a\",\"action\":\"clear\"}\nx\n",
         "t: line 2: column 1: not a JSON object"},
        {SG_RULES_JSONL, SG_EFORMAT, "[1]\n", "t: line 1: column 1: not a JSON object"},
        {SG_RULES_JSONL, SG_EFORMAT, "{\"phrase\":7,\"action\":\"clear\"}\n", "phrase has the wrong type"},
        {SG_RULES_JSONL, SG_EFORMAT, "{\"phrase\":\"a\",\"phrase\":\"b\"}\n", "t: line 1"},
        {SG_RULES_JSONL, SG_EFORMAT, "{\"version\":1,\"phrase\":\"a\"}\n", "\"phrase\" stands beside version"},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct sg_rules *rules;
        struct sg_error err = {0};
        enum sg_status status = sg_rules_parse("t", sg_slice_of(cases[i].text), cases[i].format, &rules, &err);
        assert_null(rules);
        if (status != cases[i].status || !strstr(err.text, cases[i].expected))
            fail_msg("case %zu: %s: %s", i, sg_status_name(status), err.text);
    }
    static char large[SG_RULES_MAX_PATTERN + 100];
    struct sg_rules *rules;
    struct sg_error err = {0};
    snprintf(large, sizeof large, "{\"action\":\"clear\",\"phrase\":\"%0*d\"}", SG_RULES_MAX_PATTERN + 1, 0);
    assert_int_equal(sg_rules_parse("t", sg_slice_of(large), SG_RULES_JSONL, &rules, &err), SG_ELIMIT);
    assert_int_equal(sg_rules_open("/no/such/file.yaml", &rules, &err), SG_ENOTFOUND);
}

/* --- matching ------------------------------------------------------------------------------------------------ */

static void test_phrases(void **state)
{
    (void)state;
    struct sg_rules *rules =
        parse("rules:\n"
              "  - {phrase: buy followers, action: violates}\n"
              "  - {phrase: cat, action: escalate, words: true}\n"
              "  - {phrase: 'C++ (now)', action: escalate, words: true}\n"
              "  - {phrase: Stra\xC3\x9F"
              "e, action: escalate}\n"
              "  - {phrase: \xD0\xBF\xD1\x80\xD0\xB8\xD0\xB2\xD0\xB5\xD1\x82, action: escalate}\n",
              SG_RULES_YAML);
    static const struct {
        const char *text, *found;
    } cases[] = {
        {"Now BUY \n Followers!", "0@4+15 raw"},
        {"buyfollowers", ""},
        {"a cat, concat, cats, Cat", "1@2+3 raw|1@21+3 raw"},
        {"_cat cat1", ""},
        {"\xC3\xA9"
         "cat",
         ""}, /* a letter beyond ASCII goes before it */
        {"\xE2\x80\x9C"
         "cat\xE2\x80\x9D",
         "1@3+3 raw"},                      /* quotation marks are no letters */
        {"cat\xCC\x81", "1@0+3 folded"},    /* the folded reading knows no decoration */
        {"use c++ (now)ever", "2@4+9 raw"}, /* an edge that is no letter needs no end of a word */
        {"usec++ (now)", ""},
        {"STRASSE, Stra\xC3\x9F"
         "e",
         "3@0+7 raw|3@9+7 raw"},
        {"\xD0\x9F\xD0\xA0\xD0\x98\xD0\x92\xD0\x95\xD0\xA2", "4@0+12 folded"},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct sg_rules_result result;
        match(rules, cases[i].text, &result);
        if (strcmp(found_text(&result), cases[i].found) != 0)
            fail_msg("%s: %s, expected %s", cases[i].text, found_text(&result), cases[i].found);
        assert_int_equal(result.any[SG_RULE_VIOLATES], strncmp(cases[i].found, "0@", 2) == 0);
    }
    sg_rules_close(rules);
}

static void test_expressions(void **state)
{
    (void)state;
    struct sg_rules *rules = parse("rules:\n"
                                   "  - {regex: 'casino\\d+', action: escalate}\n"
                                   "  - {regex: '(?-i)AKIA[0-9A-Z]{4}', action: violates}\n"
                                   "  - {regex: '\\bfree\\s+money\\b', action: violates}\n"
                                   "  - {regex: '^\\d+ pts$', action: clear}\n"
                                   "  - {regex: 'a.c', action: escalate, words: true}\n",
                                   SG_RULES_YAML);
    static const struct {
        const char *text, *found;
    } cases[] = {
        {"at CASINO777 now", "0@3+9 raw"},
        {"casino777 casino8", "0@0+9 raw|0@10+7 raw"},
        {"AKIA12AB", "1@0+8 raw"},
        {"akia12ab", ""},
        /* A reading is folded to lower case: where case matters, the raw text alone counts. */
        {"AK\xE2\x80\x8BIA12AB", ""},
        {"free  money", "2@0+11 raw"},
        {"carefree money", ""},
        {"120 pts", "3@0+7 raw"},
        {" 120 pts", ""},
        {"a\xC3\xA9"
         "c xabc abc",
         "4@0+4 raw|4@10+3 raw"}, /* . is a character, not a byte */
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct sg_rules_result result;
        match(rules, cases[i].text, &result);
        if (strcmp(found_text(&result), cases[i].found) != 0)
            fail_msg("%s: %s, expected %s", cases[i].text, found_text(&result), cases[i].found);
    }
    sg_rules_close(rules);
}

/* The same phrase under the tricks that the normaliser undoes. Offsets are those of what was written. */
static void test_readings(void **state)
{
    (void)state;
    struct sg_rules *rules = parse("rules:\n"
                                   "  - {regex: 'idiot|shit', action: violates, words: true}\n"
                                   "  - {phrase: ok, action: clear}\n",
                                   SG_RULES_YAML);
    static const struct {
        const char *text;
        size_t first, n;
    } cases[] = {
        {"you id\xE2\x80\x8Biot!", 4, 8},              /* zero width space */
        {"you id\xE2\x81\xA0i\xE2\x80\x8Dot!", 4, 11}, /* word joiner, zero width joiner */
        {"you \xD1\x96"
         "di\xD0\xBEt!",
         4, 7},                                                                       /* Cyrillic look-alikes */
        {"you \xEF\xBD\x89\xEF\xBD\x84\xEF\xBD\x89\xEF\xBD\x8F\xEF\xBD\x94!", 4, 15}, /* full-width */
        {"you sh1t!", 4, 4},                                                          /* leet */
        {"you i d i o t !", 4, 9},                                                    /* spaced */
        {"you i.d.i.o.t !", 4, 9},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct sg_rules_result result;
        match(rules, cases[i].text, &result);
        if (!result.any[SG_RULE_VIOLATES] || result.n_found != 1 || result.found[0].reading == SG_READING_RAW)
            fail_msg("case %zu: %s", i, found_text(&result));
        if (result.found[0].first_byte != cases[i].first || result.found[0].n_bytes != cases[i].n)
            fail_msg("case %zu: %s, expected @%zu+%zu", i, found_text(&result), cases[i].first, cases[i].n);
    }
    /* Letter spacing loses the spaces between words too. */
    struct sg_rules *words = parse("rules: [{phrase: Buy  Followers, action: violates}]", SG_RULES_YAML);
    static const char *const spaced[] = {"b u y f o l l o w e r s", "b.u.y f.o.l.l.o.w.e.r.s",
                                         "b u y   f o l l o w e r s"};
    for (size_t i = 0; i < COUNT(spaced); i++) {
        struct sg_rules_result result;
        match(words, spaced[i], &result);
        if (!result.any[SG_RULE_VIOLATES] || result.found[0].n_bytes != strlen(spaced[i]))
            fail_msg("%s: %s", spaced[i], found_text(&result));
    }
    struct sg_rules_result joined;
    match(words, "buyfollowers", &joined);
    assert_false(joined.any[SG_RULE_VIOLATES]);
    sg_rules_close(words);
    /* What is only there once tricks are undone never clears. */
    struct sg_rules_result result;
    match(rules, "ok", &result);
    assert_true(result.any[SG_RULE_CLEAR]);
    match(rules, "o\xE2\x80\x8Bk", &result);
    assert_false(result.any[SG_RULE_CLEAR]);
    match(rules, "\xEF\xBD\x8F\xEF\xBD\x8B", &result);
    assert_false(result.any[SG_RULE_CLEAR]);
    sg_rules_close(rules);
}

static void test_whole(void **state)
{
    (void)state;
    struct sg_rules *rules = parse("rules:\n"
                                   "  - {phrase: thank you, action: clear}\n"
                                   "  - {phrase: hello, action: clear, whole: false}\n"
                                   "  - {phrase: die, action: violates, whole: true}\n",
                                   SG_RULES_YAML);
    static const struct {
        const char *text;
        bool clear, violates;
    } cases[] = {
        {"thank you", true, false},        {"\n Thank   YOU \xC2\xA0", true, false},
        {"thank you!", false, false},      {"oh, thank you", false, false},
        {"well hello there", true, false}, {"die", false, true},
        {" D\xC2\xADIE ", false, true},    {"die hard", false, false},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct sg_rules_result result;
        match(rules, cases[i].text, &result);
        if (result.any[SG_RULE_CLEAR] != cases[i].clear || result.any[SG_RULE_VIOLATES] != cases[i].violates)
            fail_msg("%s: %s", cases[i].text, found_text(&result));
    }
    sg_rules_close(rules);
}

/* However much matches, the list is bounded, and what decides stands in it. */
static void test_bounds(void **state)
{
    (void)state;
    struct sg_buffer file = {0}, text = {0};
    for (int i = 0; i < 100; i++) {
        sg_buffer_printf(&file, "{\"phrase\":\"word%02d\",\"action\":\"escalate\"}\n", i);
        for (int j = 0; j < 10; j++)
            sg_buffer_printf(&text, "word%02d ", i);
    }
    sg_buffer_puts(&file, "{\"phrase\":\"bad\",\"action\":\"violates\"}\n");
    struct sg_rules *rules = parse(sg_buffer_text(&file), SG_RULES_JSONL);
    struct sg_rules_result result;
    match(rules, sg_buffer_text(&text), &result);
    assert_int_equal(result.n_found, SG_RULES_MAX_MATCHES);
    assert_true(result.more && result.any[SG_RULE_ESCALATE] && !result.any[SG_RULE_VIOLATES]);
    assert_int_equal(result.first[SG_RULE_ESCALATE], 0);
    sg_buffer_puts(&text, "bad");
    match(rules, sg_buffer_text(&text), &result);
    assert_int_equal(result.n_found, SG_RULES_MAX_MATCHES);
    assert_true(result.any[SG_RULE_VIOLATES]);
    assert_int_equal(result.first[SG_RULE_VIOLATES], 100);
    size_t n_bad = 0;
    for (size_t i = 0; i < result.n_found; i++)
        n_bad += result.found[i].rule == 100;
    assert_int_equal(n_bad, 1);
    sg_rules_close(rules);
    sg_buffer_free(&file);

    /* A match that has many ends is one match. */
    rules = parse("rules: [{regex: 'a+', action: escalate}]", SG_RULES_YAML);
    sg_buffer_clear(&text);
    for (int i = 0; i < 1 << 20; i++)
        sg_buffer_putc(&text, 'a');
    match(rules, sg_buffer_text(&text), &result);
    assert_int_equal(result.n_found, 1);
    assert_int_equal(result.found[0].n_bytes, 1 << 20);
    sg_rules_close(rules);
    sg_buffer_free(&text);
}

/* A NUL ends nothing: what differs behind it is looked at too. */
static void test_nul(void **state)
{
    (void)state;
    struct sg_rules *rules = parse("rules: [{phrase: idiot, action: violates}]", SG_RULES_YAML);
    struct sg_rules_result result;
    static const char plain[] = "a\0idiot", hidden[] = "a\0\xEF\xBD\x89"
                                                       "diot";
    match_bytes(rules, (struct sg_slice){plain, sizeof plain - 1}, &result);
    assert_true(result.any[SG_RULE_VIOLATES]);
    match_bytes(rules, (struct sg_slice){hidden, sizeof hidden - 1}, &result);
    assert_true(result.any[SG_RULE_VIOLATES]);
    sg_rules_close(rules);
}

static uint32_t next_random(uint32_t *seed)
{
    *seed = *seed * 1664525u + 1013904223u;
    return *seed >> 8;
}

static void test_thousands(void **state)
{
    (void)state;
    enum { N = 3000 };
    static char phrases[N][16];
    struct sg_buffer file = {0};
    uint32_t seed = 7;
    for (size_t i = 0; i < N; i++) {
        size_t len = 3 + next_random(&seed) % 3;
        for (size_t j = 0; j < len; j++)
            phrases[i][j] = "abcdefgh-+."[next_random(&seed) % 11];
        phrases[i][len] = '\0';
        sg_buffer_printf(&file, "{\"phrase\":\"%s\",\"action\":\"escalate\"}\n", phrases[i]);
    }
    struct sg_rules *rules = parse(sg_buffer_text(&file), SG_RULES_JSONL);
    size_t n_found = 0, n_missed = 0;
    for (int t = 0; t < 300; t++) {
        char text[24];
        size_t len = 4 + next_random(&seed) % 16;
        for (size_t j = 0; j < len; j++)
            text[j] = "ABcdEFgh-+."[next_random(&seed) % 11];
        text[len] = '\0';
        struct sg_rules_result result;
        match(rules, text, &result);
        assert_false(result.more);
        bool *found = calloc(N, sizeof *found);
        for (size_t i = 0; i < result.n_found; i++) {
            const struct sg_rule_found *at = &result.found[i];
            found[at->rule] = true;
            if (at->reading == SG_READING_RAW)
                assert_int_equal(strncasecmp(text + at->first_byte, phrases[at->rule], at->n_bytes), 0);
        }
        for (size_t i = 0; i < N; i++) {
            bool expected = strcasestr(text, phrases[i]);
            n_found += expected;
            n_missed += expected && !found[i];
        }
        free(found);
    }
    assert_true(n_found > 100);
    assert_int_equal(n_missed, 0);
    sg_rules_close(rules);
    sg_buffer_free(&file);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_files),     cmocka_unit_test(test_notes),    cmocka_unit_test(test_errors),
        cmocka_unit_test(test_phrases),   cmocka_unit_test(test_readings), cmocka_unit_test(test_expressions),
        cmocka_unit_test(test_whole),     cmocka_unit_test(test_bounds),   cmocka_unit_test(test_nul),
        cmocka_unit_test(test_thousands),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
