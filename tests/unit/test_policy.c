/* Policy documents: front matter, output shapes, rule ids, lint; on the packs as published and on texts written for
 * one question each. */
#include "policy/lint.h"
#include "policy/template.h"
#include "policy_helpers.h"

#include <jansson.h>
#include <time.h>

/* "DC0:- DC1:V SP4:VR" of the permitted labels, "violation:0 rationale:4" of the keys. */
static const char *shape_text(const struct sg_policy *policy)
{
    static char text[4096];
    size_t n, at = 0;
    const struct sg_label *labels = sg_policy_labels(policy, &n);
    text[0] = '\0';
    for (size_t i = 0; i < n; i++)
        at += (size_t)snprintf(text + at, sizeof text - at, "%s%s:%s%s%s", i ? "|" : "", labels[i].text,
                               labels[i].violation ? "V" : "", labels[i].review ? "R" : "",
                               labels[i].violation || labels[i].review ? "" : "-");
    const struct sg_output_key *keys = sg_policy_keys(policy, &n);
    for (size_t i = 0; i < n; i++)
        at += (size_t)snprintf(text + at, sizeof text - at, "%s%s:%d", i ? "|" : "", keys[i].name, (int)keys[i].role);
    return text;
}

static const char *id_text(const struct sg_policy *policy)
{
    static char text[4096];
    size_t n, at = 0;
    const char *const *ids = sg_policy_rule_ids(policy, &n);
    text[0] = '\0';
    for (size_t i = 0; i < n; i++)
        at += (size_t)snprintf(text + at, sizeof text - at, "%s%s", i ? " " : "", ids[i]);
    return text;
}

#define EIGHT_FLAGS "S:5|H:5|V:5|HR:5|SH:5|S3:5|H2:5|V2:5"

static void test_packs(void **state)
{
    (void)state;
    static const struct {
        const char *path, *title;
        enum sg_output_kind kind;
        bool added;
        const char *shape;
        size_t n_ids;
    } packs[] = {
        {"teen-safety/dangerous-content/policy.md", "Dangerous Content Policy (#DC)", SG_OUTPUT_LABELS, false,
         "DC0:-|DC1:V|DC2:V|DC3:V|VALID:-|INVALID:V", 4 + 5 + 4 + 6 + 5},
        {"teen-safety/graphic-violent-content/policy.md", "Graphic Violent Content Policy (#GV)", SG_OUTPUT_LABELS,
         false, "GV0:-|GV1:V|GV2:V|VALID:-|INVALID:V", 3 + 6 + 7 + 4},
        {"teen-safety/harmful-body-ideals/policy.md", "Harmful Body Ideals Policy (#HBI)", SG_OUTPUT_LABELS, false,
         "HBI0:-|HBI1:V|HBI2:V|VALID:-|INVALID:V", 3 + 7 + 6 + 9},
        {"roost/drug_policy.md", "Drug Policy", SG_OUTPUT_LABELS, false, "Violating:V|Non-violating:-", 0},
        {"roost/openai_categories_policy_v001.md", "Content Moderation Policy", SG_OUTPUT_FLAGS, false, EIGHT_FLAGS,
         3},
        {"roost/openai_categories_policy_v002.md", "Content Moderation Policy", SG_OUTPUT_FLAGS, false, EIGHT_FLAGS,
         3},
        {"roost/openai_categories_policy_v003.md", "Content Moderation Policy", SG_OUTPUT_FLAGS, false, EIGHT_FLAGS,
         3},
        {"roost/toxicity_policy.md", "Criteria", SG_OUTPUT_BINARY, true, "0:-|1:V", 0},
    };
    for (size_t i = 0; i < COUNT(packs); i++) {
        struct sg_policy *policy = pack_policy(packs[i].path);
        assert_string_equal(sg_policy_title(policy), packs[i].title);
        assert_string_equal(sg_output_kind_name(sg_policy_output(policy)), sg_output_kind_name(packs[i].kind));
        assert_true(sg_policy_output_detected(policy));
        assert_int_equal(sg_policy_output_added(policy), packs[i].added);
        assert_string_equal(shape_text(policy), packs[i].shape);
        size_t n;
        sg_policy_rule_ids(policy, &n);
        assert_int_equal(n, packs[i].n_ids);
        sg_policy_close(policy);
    }
}

static void test_spam_pack(void **state)
{
    (void)state;
    struct sg_policy *policy = pack_policy("openai-spam/policy.txt");
    assert_string_equal(sg_policy_title(policy), "Spam Policy (#SP)");
    assert_int_equal(sg_policy_output(policy), SG_OUTPUT_LABELS);
    size_t n, review = 0, violating = 0;
    const struct sg_label *labels = sg_policy_labels(policy, &n);
    /* Levels 0, 2, 3, 4: 16 pairs in each of two spellings, 4 codes, 3 words. */
    assert_int_equal(n, 16 + 16 + 4 + 3);
    assert_string_equal(labels[0].text, "D-SP0, R-SP0");
    assert_string_equal(labels[16].text, "SP0");
    assert_string_equal(labels[22].text, "INVALID + ESCALATE");
    assert_string_equal(labels[38].text, "D-S4, R-S4");
    for (size_t i = 0; i < n; i++) {
        violating += labels[i].violation;
        review += labels[i].review;
        assert_false(labels[i].review && !labels[i].violation);
    }
    assert_int_equal(violating, 15 + 15 + 3 + 2);
    assert_int_equal(review, 7 + 7 + 1 + 1); /* pairs with a 4, SP4, INVALID + ESCALATE */
    assert_string_equal(id_text(policy),
                        "SP0 SP0.a SP0.b SP0.c SP0.d SP0.e SP0.f SP0.g SP2 SP2.a SP2.b SP2.c SP3 SP3.a "
                        "SP3.b SP3.c SP3.d SP4 SP4.a SP4.b SP4.c");
    sg_policy_close(policy);
}

static void test_shapes(void **state)
{
    (void)state;
    static const struct {
        const char *text, *kind, *shape;
        bool added;
    } cases[] = {
        {"Return exactly one character: 0 or 1.\n0 = Content does NOT violate this policy.\n1 = Content violates "
         "it.\n",
         "binary", "0:-|1:V", false},
        {"# P\n## VIOLATES (1)\nx\n## SAFE (0)\ny\n## EXAMPLES\nContent: [INPUT]\nAnswer (0 or 1):\n", "binary",
         "0:-|1:V", false},
        {"# P\n### VIOLATES Policy (Label: 1)\nx\n### DOES NOT Violate Policy (Label: 0)\ny\n", "binary", "0:-|1:V",
         false},
        {"Answer with `0` or `1`.\n0: violates the policy\n1: safe\n", "binary", "0:V|1:-", false},
        {"Respond only with 1/0.", "binary", "0:-|1:V", false},
        {"If it violates, return:\n{\"violation\": 1, \"policy_category\": \"<category_or_rule_id>\"}\nelse\n"
         "{\"violation\": 0, \"policy_category\": null}\n",
         "category", "violation:0|policy_category:1", false},
        {"Return JSON:\n```json\n{\n  \"violation\": 1,\n  \"policy_category\": \"H2.f\",\n  \"rule_ids\": "
         "[\"H2.d\", \"H2.f\"],\n"
         "  \"confidence\": \"high\",\n  \"rationale\": \"Compares people to animals, which is {bad}.\"\n}\n```\n",
         "rationale", "violation:0|policy_category:1|rule_ids:2|confidence:3|rationale:4", false},
        {"Return \xE2\x80\x9Cjson\xE2\x80\x9D: {\xE2\x80\x9Cviolation\xE2\x80\x9D: 0 or 1, \xE2\x80\x9C"
         "category\xE2\x80\x9D: null}",
         "category", "violation:0|category:1", false},
        {"Output a JSON object with the keys `violation` (0 or 1), `policy_category` and `rationale`.", "rationale",
         "violation:0|policy_category:1|rationale:4", false},
        {"Return only: {\"spam\": 0|1, \"scam\": 0|1, \"phishing\": <0 or 1>}", "flags", "spam:5|scam:5|phishing:5",
         false},
        {"Respond with {\"hate\": true/false, \"threat\": true/false}", "flags", "hate:5|threat:5", false},
        {"Classify as VALID (no spam) or INVALID (spam).\nOutput: INVALID + ESCALATE\n", "labels",
         "VALID:-|INVALID:V|INVALID + ESCALATE:VR", false},
        {"Answer with exactly one word: SAFE or UNSAFE.", "labels", "SAFE:-|UNSAFE:V", false},
        {"Return one of:\n- `ALLOW`: fine\n- `BLOCK`: breaks a rule\n- `ESCALATE`: a person must look\n", "labels",
         "ALLOW:-|BLOCK:V|ESCALATE:R", false},
        {"Respond with \"compliant\" or \"non-compliant\".", "labels", "compliant:-|non-compliant:V", false},
        {"Answer YES if it violates, NO otherwise.", "labels", "YES:V|NO:-", false},
        {"Label: SAFE, DISPUTED or UNSAFE", "labels", "SAFE:-|DISPUTED:R|UNSAFE:V", false},
        {"## Levels\n- `L0`: fine\n- `L1`: mild\n- `L2`: severe\nGive one label.", "labels", "L0:-|L1:V|L2:V", false},
        {"## Hate (H0 - none)\n## Hate (H2 - some)\nPairs: D-H#, R-H#\n", "labels",
         "D-H0, R-H0:-|D-H0, R-H2:V|D-H2, R-H0:V|D-H2, R-H2:V|H0:-|H2:V", false},
        {"Answer with a single digit:\n- `1` if the content is toxic\n- `0` if it is not\n", "binary", "0:-|1:V",
         false},
        {"Label the content 1 if it violates, 0 if it does not.", "binary", "0:-|1:V", false},
        {"Return a JSON object with 0 or 1 for each category:\n- `sexual`: x\n- **hate**\n", "flags",
         "sexual:5|hate:5", false},
        {"Return JSON only:\n{\"decision\": \"ALLOW\" | \"BLOCK\", \"reason\": \"...\"}", "labels", "ALLOW:-|BLOCK:V",
         false},
        {"Respond with a JSON object:\n{\n  \"label\": \"SAFE\" or \"UNSAFE\",\n  \"explanation\": \"short\"\n}\n",
         "labels", "SAFE:-|UNSAFE:V", false},
        {"Output exactly one of the following labels: NON_VIOLATING, VIOLATING, NEEDS_REVIEW.", "labels",
         "NON_VIOLATING:-|VIOLATING:V|NEEDS_REVIEW:R", false},
        {"Output format:\n{\n \"violation\": 0 | 1, // 1, if it violates\n \"policy_category\": \"T1.a\" | null,\n"
         " \"severity\": \"low\",\n \"rationale\": \"x\"\n}",
         "rationale", "violation:0|policy_category:1|rationale:4", false},
        /* No instruction, and things that look like one. */
        {"# Rules\nNo spam. MP3 and U18 are words, 0 and 1 are numbers.\n", "binary", "0:-|1:V", true},
        {"# Rules\nA text such as {\"role\": \"admin\", \"x\": 2} is fine.\n", "binary", "0:-|1:V", true},
        /* A key whose 1 would mean the opposite is not taken for a flag. */
        {"Return {\"is_safe\": 0 or 1}", "binary", "0:-|1:V", true},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct sg_policy *policy = parse_policy(cases[i].text);
        const char *kind = sg_output_kind_name(sg_policy_output(policy));
        if (strcmp(kind, cases[i].kind) != 0 || strcmp(shape_text(policy), cases[i].shape) != 0 ||
            sg_policy_output_added(policy) != cases[i].added)
            fail_msg("case %zu: %s %s %s, expected %s %s", i, kind, shape_text(policy),
                     sg_policy_output_added(policy) ? "added" : "", cases[i].kind, cases[i].shape);
        sg_policy_close(policy);
    }
}

static void test_prompt(void **state)
{
    (void)state;
    size_t len;
    struct sg_policy *policy = parse_policy("\xEF\xBB\xBF---\nid: a\n---\n\n# A\r\nReturn 0 or 1.\n");
    assert_string_equal(sg_policy_prompt(policy, &len), "# A\r\nReturn 0 or 1.\n");
    assert_int_equal(len, strlen("# A\r\nReturn 0 or 1.\n"));
    sg_policy_close(policy);

    policy = parse_policy("# A\nNo spam.\n\n");
    const char *prompt = sg_policy_prompt(policy, &len);
    assert_true(strncmp(prompt, "# A\nNo spam.\n\n## Output\n\nReturn exactly one character: 0 or 1.", 60) == 0);
    assert_int_equal(len, strlen(prompt));
    size_t n;
    const char *const *notes = sg_policy_notes(policy, &n);
    assert_int_equal(n, 1);
    assert_non_null(strstr(notes[0], "no output instruction"));
    /* sha256sum of the document, made with coreutils. */
    assert_string_equal(sg_policy_sha256(policy), "c4b98060e983bffd396ee6b4d0ef3cc29b46a69c28c04bfb9709b23ab4c13ada");
    sg_policy_close(policy);
}

static void test_front_matter(void **state)
{
    (void)state;
    struct sg_policy *policy =
        parse_policy("---\n"
                     "id: my/policy-1.2\nname: My policy\neffort: high\nundecided: queue\ncurrent_date: yes\n"
                     "labels:\n  OK: safe\n  BAD: violates\n  ASK: review\n"
                     "  'BAD + CALL': {violation: yes, review: yes}\n  MEH: {violation: no, review: yes}\n"
                     "---\n# T\nBe good. Answer OK or BAD.\n");
    assert_string_equal(sg_policy_id(policy), "my/policy-1.2");
    assert_string_equal(sg_policy_title(policy), "My policy");
    assert_string_equal(sg_policy_effort(policy), "high");
    assert_int_equal(sg_policy_undecided(policy), SG_UNDECIDED_QUEUE);
    assert_true(sg_policy_wants_date(policy));
    assert_false(sg_policy_output_detected(policy));
    assert_string_equal(shape_text(policy), "OK:-|BAD:V|ASK:R|BAD + CALL:VR|MEH:R");
    sg_policy_close(policy);

    policy = parse_policy("---\noutput: flags\ncategories: [a, b]\n---\nJudge.\n");
    size_t n;
    assert_string_equal(shape_text(policy), "a:5|b:5");
    assert_true(sg_policy_output_added(policy));
    assert_non_null(strstr(sg_policy_prompt(policy, &n), "{\"a\": 0 or 1, \"b\": 0 or 1}"));
    assert_string_equal(sg_policy_categories(policy, &n)[1], "b");
    assert_null(sg_policy_effort(policy));
    assert_string_equal(sg_policy_id(policy), "test");
    assert_int_equal(sg_policy_undecided(policy), SG_UNDECIDED_BLOCK);
    sg_policy_close(policy);

    policy = parse_policy(
        "---\noutput: rationale\n---\nReturn {\"violation\": 1, \"category\": \"x\", \"reason\": \"y\"}\n");
    assert_string_equal(shape_text(policy), "violation:0|category:1|reason:4");
    sg_policy_close(policy);
}

static void test_no_front_matter(void **state)
{
    (void)state;
    static const char *const texts[] = {"---\n# Title\nReturn 0 or 1.\n---\nmore\n",
                                        "---\n- a\n- b\n---\nReturn 0 or 1.\n",
                                        "---\n\nReturn 0 or 1.\n",
                                        "----\nid: x\n----\nReturn 0 or 1.\n",
                                        "---\nIt is: that: [simple\n---\nReturn 0 or 1.\n",
                                        " ---\nid: x\n---\nReturn 0 or 1."};
    for (size_t i = 0; i < COUNT(texts); i++) {
        size_t len;
        struct sg_policy *policy = parse_policy(texts[i]);
        assert_string_equal(sg_policy_prompt(policy, &len), texts[i]);
        sg_policy_close(policy);
    }
    /* a rule without a line break is the whole text: nothing behind it may be looked at */
    struct sg_error err = {0};
    struct sg_policy *policy;
    char *exact = malloc(3);
    memcpy(exact, "---", 3);
    assert_int_equal(sg_policy_parse("test", exact, 3, &policy, &err), SG_OK);
    sg_policy_close(policy);
    free(exact);
}

static void test_errors(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        enum sg_status status;
        const char *line, *got, *expected;
    } cases[] = {
        {"", SG_EFORMAT, "empty", "", "a policy"},
        {" \n\xEF\xBB\xBF\t\n", SG_EFORMAT, "empty", "", "a policy"},
        {"---\nid: a\n---\n\n", SG_EFORMAT, "empty", "", "a policy"},
        {"good\nbad \xC3( x", SG_EFORMAT, "line 2", "0xc3", "UTF-8"},
        {"\xFF\xFEx", SG_EFORMAT, "UTF-16", "", "UTF-8"},
        {"---\nid: a\ncolour: red\n---\nx", SG_EFORMAT, "line 3", "\"colour\"", "id, name, effort"},
        {"---\nid: a\nid: b\n---\nx", SG_EFORMAT, "line 3", "\"id\"", "once"},
        {"---\nid: a b\n---\nx", SG_EFORMAT, "line 2", "\"a b\"", "letters"},
        {"---\neffort: extreme\n---\nx", SG_EFORMAT, "line 2", "\"extreme\"", "low, medium or high"},
        {"---\noutput: json\n---\nx", SG_EFORMAT, "line 2", "\"json\"", "binary, category"},
        {"---\noutput: [binary]\n---\nx", SG_EFORMAT, "line 2", "list", "binary, category"},
        {"---\nundecided: pass\n---\nx", SG_EFORMAT, "line 2", "\"pass\"", "block, allow or queue"},
        {"---\ncurrent_date: today\n---\nx", SG_EFORMAT, "line 2", "\"today\"", "true or false"},
        {"---\nlabels: [A]\n---\nx", SG_EFORMAT, "line 2", "list", "mapping"},
        {"---\nlabels:\n  A: bad\n---\nx", SG_EFORMAT, "line 3", "\"bad\"", "violates, safe"},
        {"---\nlabels:\n  A: {review: yes}\n---\nx", SG_EFORMAT, "line 3", "A has no violation", "violates, safe"},
        {"---\nlabels:\n  A: {violation: perhaps}\n---\nx", SG_EFORMAT, "line 3", "\"perhaps\"", "yes or no"},
        {"---\nlabels:\n  A: {blame: yes}\n---\nx", SG_EFORMAT, "line 3", "\"blame\"", "violation or review"},
        {"---\nlabels:\n  A: {violation: yes, violation: no}\n---\nx", SG_EFORMAT, "line 3", "violation", "once"},
        {"---\nlabels:\n  A: safe\n  a: violates\n---\nx", SG_EFORMAT, "line 4", "label a", "once"},
        {"---\nlabels: {A: safe}\noutput: binary\n---\nx", SG_EFORMAT, "", "output is binary", "output: labels"},
        {"---\noutput: labels\n---\nx", SG_EFORMAT, "", "names any", "labels: {"},
        {"---\noutput: flags\n---\nx", SG_EFORMAT, "", "names any", "categories: ["},
        {"---\ncategories: [a, a]\n---\nx", SG_EFORMAT, "line 2", "category a", "once"},
        {"---\ncategories: a\n---\nx", SG_EFORMAT, "line 2", "\"a\"", "list"},
        {"---\nid: \"a\n---\nx", SG_EFORMAT, "line", "not YAML", "key: value"},
        {"---\nid: a\nno end\n", SG_EFORMAT, "line 1", "not closed", "---"},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct sg_policy *policy = (struct sg_policy *)1;
        struct sg_error err = {0};
        enum sg_status status = sg_policy_parse("test", cases[i].text, strlen(cases[i].text), &policy, &err);
        if (status != cases[i].status || policy || !strstr(err.text, cases[i].line) ||
            !strstr(err.text, cases[i].got) || !strstr(err.text, cases[i].expected))
            fail_msg("case %zu: %s: %s", i, sg_status_name(status), err.text);
    }
    struct sg_policy *policy;
    struct sg_error err = {0};
    assert_int_equal(sg_policy_parse("test", "a\0b", 3, &policy, &err), SG_EFORMAT);
    char *big = calloc(1, SG_POLICY_MAX_BYTES + 1);
    memset(big, 'a', SG_POLICY_MAX_BYTES + 1);
    assert_int_equal(sg_policy_parse("test", big, SG_POLICY_MAX_BYTES + 1, &policy, &err), SG_ELIMIT);
    free(big);
    assert_int_equal(sg_policy_open("/no/such/file.md", &policy, &err), SG_ENOTFOUND);
    assert_null(policy);
}

/* A hostile text costs time in proportion to its length: this one once took minutes. */
static void test_hostile_length(void **state)
{
    (void)state;
    static const char part[] = "(X0 (X1 output escalate ";
    const size_t n = 1u << 20;
    char *text = malloc(n);
    for (size_t i = 0; i < n; i++)
        text[i] = part[i % (sizeof part - 1)];
    struct sg_policy *policy;
    struct sg_error err = {0};
    clock_t start = clock();
    assert_int_equal(sg_policy_parse("hostile", text, n, &policy, &err), SG_OK);
    assert_true((double)(clock() - start) / CLOCKS_PER_SEC < 30);
    sg_policy_close(policy);
    free(text);
}

static void test_rule_ids(void **state)
{
    (void)state;
    struct sg_policy *policy =
        parse_policy("# Title of 2024.05\n"
                     "Covers COVID-19, GPT-4.1, MP3.com, U.S. law, e.g. v1.2, http://x.com/S3.a, H1N1 and a@B2.c.\n"
                     "1.5 million in 3.2 days. Adults are U18 no more; B2B too.\n"
                     "- **R-1** first\n* HS-1.a second; see (R2)\n### 2.1 Title\n2.2 Another rule\n- H2\xE2\x80\x91"
                     "f third\n"
                     "- HATE-TH-1 fourth\nRule 4.2: Fifth\n1. not one\n2.5 times is none\n\xC2\xA7 7.3 Title\n"
                     "Cites h2-f and R-1 and DC0.b and DC10.iv again.\n| S3 | cell |\nReturn 0 or 1.\n");
    assert_string_equal(id_text(policy), "R-1 HS-1.a R2 2.1 2.2 H2-f HATE-TH-1 4.2 7.3 DC0.b DC10.iv S3");
    sg_policy_close(policy);
}

/* --- lint ------------------------------------------------------------------------------------------------ */

static const struct sg_lint_finding *finding(const struct sg_lint *lint, const char *code)
{
    for (size_t i = 0; i < lint->n; i++) {
        if (strcmp(lint->findings[i].code, code) == 0)
            return &lint->findings[i];
    }
    return NULL;
}

static struct sg_lint lint_of(struct sg_policy *policy, int64_t tokens)
{
    struct sg_lint lint;
    struct sg_error err = {0};
    if (sg_policy_lint(policy, tokens, "o200k", &lint, &err) != SG_OK)
        fail_msg("%s", err.text);
    return lint;
}

static void test_lint_codes(void **state)
{
    (void)state;
    static const struct {
        const char *text, *code;
        int line;
    } cases[] = {
        {"No spam.", "no-output", 0},
        {"Be fair.\nRespond with a colour.", "output-unclear", 2},
        {"---\noutput: binary\n---\nReturn {\"violation\": 1, \"category\": \"A\"}", "output-differs", 0},
        {"---\nid: a\n---\nReturn 0 or 1.\n", "output-once", 4},
        {"Classify as VALID or INVALID.\n`X0` `X1` label", "label-spellings", 0},
        {"Label: SAFE, DISPUTED or UNSAFE", "label-meaning", 0},
        {"x", "no-instructions", 0},
        {"x", "no-definitions", 0},
        {"x", "no-violates", 0},
        {"x", "no-safe", 0},
        {"x", "no-examples", 0},
        {"x", "no-precedence", 0},
        {"x", "no-escalation", 0},
        {"Return 0 or 1\n## Examples\n- a -> 1\n- b -> 1\n", "one-class", 2},
        {"Return 0 or 1\n## Examples\n- a -> 1\n- b -> 0\n", "few-examples", 2},
        {"Return 0 or 1\n## Examples\n- a\n", "examples-unlabelled", 2},
        {"---\nid: a\n---\n# A\n\nSpam is usually bad.\n", "hedging", 6},
        {"R1 Rule\nSee R2.b here.\n", "undefined-rule", 2},
        {"Return {\"violation\": 1, \"policy_category\": \"x\"}", "no-rule-ids", 0},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct sg_policy *policy = parse_policy(cases[i].text);
        struct sg_lint lint = lint_of(policy, -1);
        const struct sg_lint_finding *found = finding(&lint, cases[i].code);
        if (!found || found->line != cases[i].line)
            fail_msg("%s: %s, line %d, expected %d", cases[i].code, found ? found->text : "not found",
                     found ? found->line : 0, cases[i].line);
        sg_lint_deinit(&lint);
        sg_policy_close(policy);
    }
    static const struct {
        int64_t tokens;
        const char *code;
        enum sg_lint_severity severity;
    } lengths[] = {{-1, "not-counted", SG_LINT_NOTE},   {399, "short", SG_LINT_NOTE}, {400, "length", SG_LINT_NOTE},
                   {600, "length", SG_LINT_NOTE},       {601, "long", SG_LINT_NOTE},  {10000, "long", SG_LINT_NOTE},
                   {10001, "too-long", SG_LINT_WARNING}};
    struct sg_policy *policy = parse_policy("x");
    for (size_t i = 0; i < COUNT(lengths); i++) {
        struct sg_lint lint = lint_of(policy, lengths[i].tokens);
        const struct sg_lint_finding *found = finding(&lint, lengths[i].code);
        assert_non_null(found);
        assert_int_equal(found->severity, lengths[i].severity);
        assert_true(lengths[i].tokens < 0 || strstr(found->text, "o200k"));
        sg_lint_deinit(&lint);
    }
    sg_policy_close(policy);
}

static void expect_no_warnings(const struct sg_policy *policy)
{
    struct sg_lint lint = lint_of((struct sg_policy *)policy, 500);
    for (size_t i = 0; i < lint.n; i++) {
        if (lint.findings[i].severity == SG_LINT_WARNING)
            fail_msg("%s, line %d: %s: %s", sg_policy_id(policy), lint.findings[i].line, lint.findings[i].code,
                     lint.findings[i].text);
    }
    sg_lint_deinit(&lint);
}

static void test_template(void **state)
{
    (void)state;
    for (int kind = SG_OUTPUT_BINARY; kind <= SG_OUTPUT_FLAGS; kind++) {
        char *text;
        struct sg_error err = {0};
        assert_int_equal(sg_policy_template("new-one", "New one", (enum sg_output_kind)kind, &text, &err), SG_OK);
        struct sg_policy *policy = parse_policy(text);
        assert_string_equal(sg_policy_id(policy), "new-one");
        assert_string_equal(sg_policy_title(policy), "New one");
        assert_int_equal(sg_policy_output(policy), kind);
        assert_false(sg_policy_output_added(policy));
        expect_no_warnings(policy);
        sg_policy_close(policy);
        free(text);
    }
}

/* --- shipped policies ---------------------------------------------------------------------------------------- */

static bool known(const char *const *list, size_t n, const char *word)
{
    for (size_t i = 0; i < n; i++) {
        if (strcmp(list[i], word) == 0)
            return true;
    }
    return false;
}

/* Every example cites rules that the policy has, and has a category exactly when it violates. */
static void check_examples(const struct sg_policy *policy, const char *path)
{
    struct sg_buffer text = {0};
    struct sg_error err = {0};
    assert_int_equal(sg_file_read(path, 1u << 20, &text, &err), SG_OK);
    size_t n_ids, n_rows = 0, n_violating = 0;
    const char *const *ids = sg_policy_rule_ids(policy, &n_ids);
    for (char *line = strtok(text.data, "\n"); line; line = strtok(NULL, "\n")) {
        json_t *row = json_loads(line, JSON_REJECT_DUPLICATES, NULL);
        const char *id, *content, *why;
        int violation;
        json_t *category, *rules;
        if (json_unpack(row, "{s:s, s:s, s:i, s:o, s:o, s:s !}", "id", &id, "text", &content, "violation", &violation,
                        "category", &category, "rule_ids", &rules, "why", &why) != 0)
            fail_msg("%s: row %zu has other fields", path, n_rows + 1);
        assert_true(violation == 0 ? json_is_null(category) : violation == 1 && json_is_string(category));
        assert_true(json_array_size(rules) > 0 && *content && *why);
        for (size_t i = 0; i < json_array_size(rules); i++) {
            if (!known(ids, n_ids, json_string_value(json_array_get(rules, i))))
                fail_msg("%s: %s cites an unknown rule", path, id);
        }
        n_rows++;
        n_violating += (size_t)violation;
        json_decref(row);
    }
    assert_true(n_rows >= 20 && n_violating >= 8 && n_rows - n_violating >= 8);
    sg_buffer_free(&text);
}

static void test_shipped(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        enum sg_output_kind kind;
    } policies[] = {{"game-chat", SG_OUTPUT_CATEGORY},
                    {"product-reviews", SG_OUTPUT_RATIONALE},
                    {"harassment-hate", SG_OUTPUT_LABELS},
                    {"spam-scams", SG_OUTPUT_BINARY},
                    {"prompt-attacks", SG_OUTPUT_FLAGS}};
    for (size_t i = 0; i < COUNT(policies); i++) {
        char path[1024];
        struct sg_policy *policy;
        struct sg_error err = {0};
        snprintf(path, sizeof path, SG_POLICIES "/%s.md", policies[i].name);
        if (sg_policy_open(path, &policy, &err) != SG_OK)
            fail_msg("%s", err.text);
        assert_string_equal(sg_policy_id(policy), policies[i].name);
        assert_int_equal(sg_policy_output(policy), policies[i].kind);
        assert_false(sg_policy_output_added(policy));
        expect_no_warnings(policy);
        snprintf(path, sizeof path, SG_POLICIES "/%s.jsonl", policies[i].name);
        check_examples(policy, path);
        sg_policy_close(policy);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_packs),          cmocka_unit_test(test_spam_pack),
        cmocka_unit_test(test_shapes),         cmocka_unit_test(test_prompt),
        cmocka_unit_test(test_front_matter),   cmocka_unit_test(test_no_front_matter),
        cmocka_unit_test(test_errors),         cmocka_unit_test(test_rule_ids),
        cmocka_unit_test(test_hostile_length), cmocka_unit_test(test_lint_codes),
        cmocka_unit_test(test_template),       cmocka_unit_test(test_shipped),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
