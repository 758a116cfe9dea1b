/* Answers of models → verdicts. The expected results were written by hand, from what each policy says of each answer;
 * the packs bring real answers and labels. */
#include "policy_helpers.h"
#include "safeguard/verdict.h"

#include <jansson.h>
#include <math.h>

#define V SG_VIOLATES
#define N SG_DOES_NOT_VIOLATE
#define U SG_UNDECIDED

struct expected {
    const char *answer;
    enum sg_decision decision;
    bool review;
    const char *details; /* "labels / category / rule ids / unknown ids", NULL: not looked at */
};

static void join(char *out, size_t size, char *const *items, size_t n)
{
    size_t at = strlen(out);
    for (size_t i = 0; i < n; i++)
        at += (size_t)snprintf(out + at, size - at, "%s%s", i ? "," : "", items[i]);
}

static void check(const struct sg_policy *policy, const struct expected *cases, size_t n)
{
    struct sg_verdict verdict;
    sg_verdict_init(&verdict);
    for (size_t i = 0; i < n; i++) { /* one verdict for all: nothing of an earlier answer may stay */
        struct sg_error err = {0};
        assert_int_equal(sg_verdict_parse(policy, cases[i].answer, strlen(cases[i].answer), &verdict, &err), SG_OK);
        char details[1024] = "";
        join(details, sizeof details, verdict.labels, verdict.n_labels);
        strcat(details, "/");
        strcat(details, verdict.category ? verdict.category : "");
        strcat(details, "/");
        join(details, sizeof details, verdict.rule_ids, verdict.n_rule_ids);
        strcat(details, "/");
        join(details, sizeof details, verdict.unknown_rule_ids, verdict.n_unknown_rule_ids);
        bool right = verdict.decision == cases[i].decision && verdict.needs_review == cases[i].review &&
                     (!cases[i].details || strcmp(details, cases[i].details) == 0);
        if (!right)
            fail_msg("%s\n gives %s%s (%s) %s", cases[i].answer, sg_decision_name(verdict.decision),
                     verdict.needs_review ? " review" : "", verdict.reason ? verdict.reason : "", details);
        assert_true((verdict.decision == SG_UNDECIDED) == (verdict.reason != NULL));
        assert_string_equal(verdict.output, cases[i].answer);
    }
    sg_verdict_deinit(&verdict);
}

#define CHECK(text, ...)                                                                                             \
    do {                                                                                                             \
        static const struct expected cases[] = __VA_ARGS__;                                                          \
        struct sg_policy *asked = parse_policy(text);                                                                \
        check(asked, cases, COUNT(cases));                                                                           \
        sg_policy_close(asked);                                                                                      \
    } while (0)

static void test_binary(void **state)
{
    (void)state;
    CHECK("Return exactly one character: 0 or 1.",
          {{"0", N, false, "0///"},
           {"1\n", V, false, "1///"},
           {"\xEF\xBB\xBF"
            "1",
            V, false, "1///"},
           {" 0.\n\n", N, false, "0///"},
           {"\"1\"", V, false, "1///"},
           {"**1**", V, false, "1///"},
           {"```\n0\n```", N, false, "0///"},
           {"```text\n1\n```\n\n", V, false, NULL},
           {"\xEF\xBC\x91", V, false, "1///"}, /* full-width digit */
           {"1.0", V, false, NULL},
           {"Answer: 1", V, false, NULL},
           {"Answer (0 or 1): 0", N, false, NULL},
           {"**Final answer:** 1", V, false, NULL},
           {"Violation: 0", N, false, NULL},
           {"The text asks for credentials.\n\n1", V, false, NULL},
           {"0 - does not violate", N, false, NULL},
           {"1 \xE2\x80\x94 not safe", V, false, NULL},
           {"1: breaks R2 (see 4.2)", V, false, NULL},
           {"{\"violation\": 0}", N, false, NULL},
           {"{\"answer\": 1}", V, false, NULL},
           {"true", V, false, NULL},
           {"safe", N, false, NULL},
           {"Violates.", V, false, NULL},
           {"not a violation", N, false, NULL},
           {"does not violate", N, false, NULL},
           /* contradictory or unreadable */
           {"", U, false, NULL},
           {" \n", U, false, NULL},
           {"``````", U, false, NULL},
           {"2", U, false, NULL},
           {"0.5", U, false, NULL},
           {"-1", U, false, NULL},
           {"- 1", V, false, NULL},
           {"10", U, false, NULL},
           {"0, 1", U, false, NULL},
           {"0 or 1", U, false, NULL},
           {"0/1", U, false, NULL},
           {"1\n0", U, false, NULL},
           {"Answer: 0\nAnswer: 1", U, false, NULL},
           {"0 - this violates the policy", U, false, NULL},
           {"1 \xE2\x80\x94 the content does not violate", U, false, NULL},
           {"0 rules are violated", U, false, NULL},
           {"1. First, the text is fine.\n2. Second, it is short.", U, false, NULL},
           {"{\"violation\": 1", U, false, NULL},
           {"{\"violation\": 0, \"violation\": 1}", U, false, NULL},
           {"I cannot help with that.", U, false, NULL},
           {"0\nNo content was supplied.", U, false, NULL},
           {"It is hard to say whether this is a violation.", U, false, NULL}});
    CHECK("Answer 0 or 1.\n0 = violates\n1 = safe\n",
          {{"0", V, false, NULL}, {"1", N, false, NULL}, {"1 (safe)", N, false, NULL}});
}

static const char *const category_policy =
    "# Hate\nReturn {\"violation\": 1, \"policy_category\": \"H2.f\"} or {\"violation\": 0, \"policy_category\": "
    "null}\n"
    "## VIOLATES (1)\n- H2.d Slurs\n- H2.f Dehumanising\n- TX-1 Taunts\n## SAFE (0)\n- H0.a Counter speech\n";

static void test_category(void **state)
{
    (void)state;
    CHECK(
        category_policy,
        {{"{\"violation\":1,\"policy_category\":\"H2.f\"}", V, false, "/H2.f/H2.f/"},
         {"{\"violation\":0,\"policy_category\":null}\n\n", N, false, "///"},
         {"```json\n{\n  \"violation\": 1,\n  \"policy_category\": \"H2.f\"\n}\n```\n\n", V, false, "/H2.f/H2.f/"},
         {"Here is the result:\n{\"violation\": \"1\", \"policy_category\": \"h2.F\"} as asked.", V, false,
          "/H2.f/H2.f/"},
         {"{\"violation\": true, \"policy_category\": \"H2.f \xE2\x80\x93 Dehumanising comparison\"}", V, false,
          "/H2.f/H2.f/"},
         {"{\"violation\": 1, \"policy_category\": \"TX\xE2\x80\x91"
          "1\"}",
          V, false, "/TX-1/TX-1/"},
         {"{\"violation\": 1, \"policy_category\": \"H2\xE2\x80\x91"
          "f\"}",
          V, false,
          "/H2\xE2\x80\x91"
          "f//H2\xE2\x80\x91"
          "f"},
         {"{\"violation\": 1, \"policy_category\": \"Hass\"}", V, false, "/Hass//"},
         {"{\"violation\": 1, \"policy_category\": null}", V, false, "///"},
         {"{\"violation\": 1.0}", V, false, NULL},
         {"{\"Violation\": 0, \"policy_category\": \"none\"}", N, false, "///"},
         {"{\xE2\x80\x9Cviolation\xE2\x80\x9D: 1, \xE2\x80\x9Cpolicy_category\xE2\x80\x9D: "
          "\xE2\x80\x9CH2.d\xE2\x80\x9D}",
          V, false, "/H2.d/H2.d/"},
         {"{\"violation\":1,\"policy_category\":\"H2.d\"} {\"violation\":1,\"policy_category\":\"H2.d\"}", V, false,
          "/H2.d/H2.d/"},
         {"[{\"violation\":1}]", V, false, NULL},
         {"1", V, false, NULL},
         {"{\"violation\": 0, \"policy_category\": \"H0.a\"}", N, false, "/H0.a/H0.a/"}, /* a rule of what is safe */
         {"{\"violation\": 0, \"policy_category\": \"safe\"}", N, false, "/safe//"},
         {"{\"violation\":1,\"policy_category\":[\"H2.d\",\"H9.z\"]}", V, false, "/H2.d/H2.d/H9.z"},
         /* contradictory or unreadable */
         {"{\"violation\": 0, \"policy_category\": \"H2.f\"}", U, false, NULL},
         {"{\"violation\": 0, \"policy_category\": \"insults\"}", U, false, NULL},
         {"{\"violation\": 1, \"policy_category\": \"H0.a\"}", U, false, NULL},
         {"{\"violation\": 2}", U, false, NULL},
         {"{\"violation\": null}", U, false, NULL},
         {"{\"violation\": 0.5}", U, false, NULL},
         {"{\"violation\": \"maybe\"}", U, false, NULL},
         {"{\"violation\": \"0 or 1\"}", U, false, NULL},
         {"{\"policy_category\": \"H2.f\"}", U, false, NULL},
         {"{}", U, false, NULL},
         {"{\"violation\": 1, \"policy_cat", U, false, NULL},
         {"{\"violation\": 1, \"detail\": {\"violation\": 0}", U, false, NULL},
         {"{\"violation\": 0, \"violation\": 1}", U, false, NULL},
         {"{\"violation\": 1} {\"violation\": 0}", U, false, NULL},
         {"{\"violation\": 0, \"violates\": 1}", U, false, NULL},
         {"{'violation': 0}", U, false, NULL},
         {"{violation: 0}", U, false, NULL},
         {"no violation here, but {\"x\": 1}", U, false, NULL},
         {"{\"violation\": 0, \"rationale\": \"No content was provided.\"}", U, false, NULL}});
}

static void test_rationale(void **state)
{
    (void)state;
    struct sg_policy *policy = parse_policy(category_policy);
    struct sg_verdict verdict;
    struct sg_error err = {0};
    const char *answer =
        "{\"violation\": 1, \"policy_category\": \"H2.d\", \"rule_ids\": [\"H2.d: Schimpfw\xC3\xB6rter\", "
        "\"Rule H2.f \xE2\x80\x93 Dehumanising, in part\", \"H3.b\", \"H2.d\", \"TX\xE2\x80\x91"
        "1\"], "
        "\"confidence\": \"high\", \"rationale\": [\"It says \xE2\x80\x9Cvermin\xE2\x80\x9D.\", \"It means "
        "people.\"]}";
    sg_verdict_init(&verdict);
    assert_int_equal(sg_verdict_parse(policy, answer, strlen(answer), &verdict, &err), SG_OK);
    assert_int_equal(verdict.decision, SG_VIOLATES);
    char ids[256] = "";
    join(ids, sizeof ids, verdict.rule_ids, verdict.n_rule_ids);
    assert_string_equal(ids, "H2.d,H2.f,TX-1");
    assert_int_equal(verdict.n_unknown_rule_ids, 1);
    assert_string_equal(verdict.unknown_rule_ids[0], "H3.b");
    assert_string_equal(verdict.stated_confidence, "high");
    assert_string_equal(verdict.rationale, "It says \xE2\x80\x9Cvermin\xE2\x80\x9D.\nIt means people.");
    answer = "{\"violation\": 1, \"rule_ids\": \"H2.d, H2.f; Z9.a\", \"confidence\": 0.75}";
    assert_int_equal(sg_verdict_parse(policy, answer, strlen(answer), &verdict, &err), SG_OK);
    assert_int_equal(verdict.n_rule_ids, 2);
    assert_int_equal(verdict.n_unknown_rule_ids, 1);
    assert_string_equal(verdict.stated_confidence, "0.75");
    assert_null(verdict.rationale);
    assert_null(verdict.category);
    sg_verdict_deinit(&verdict);
    sg_policy_close(policy);
}

static void test_spam_answers(void **state)
{
    (void)state;
    static const struct expected cases[] = {
        {"SP0", N, false, "SP0///"},
        {"**SP2**", V, false, "SP2/SP2//"},
        {"SP4", V, true, "SP4/SP4//"},
        {"sp3.", V, false, "SP3/SP3//"},
        {"VALID", N, false, "VALID///"},
        {"INVALID", V, false, "INVALID///"},
        {"INVALID + ESCALATE", V, true, "INVALID + ESCALATE///"},
        {"`INVALID+ESCALATE`.", V, true, "INVALID + ESCALATE///"},
        {"**INVALID** + **ESCALATE**", V, true, "INVALID + ESCALATE///"},
        {"```\nINVALID\n```\n", V, false, "INVALID///"},
        {"D-S2, R-S0", V, false, "D-SP2,R-SP0/SP2//"},
        {"D\xE2\x80\x91SP0, R\xE2\x80\x91SP3", V, false, "D-SP0,R-SP3/SP3//"},
        {"D-SP0, R-SP0", N, false, "D-SP0,R-SP0///"},
        {"D-SP4 / R-SP0", V, true, "D-SP4,R-SP0/SP4//"},
        {"Depiction: D-SP2\nRequest: R-SP2", V, false, "D-SP2,R-SP2/SP2//"},
        {"D-SP2, R-SP0 (INVALID)", V, false, NULL},
        {"INVALID (SP3.b Pyramid bait)", V, false, "INVALID,SP3/SP3/SP3.b/"},
        {"SP4.z", V, true, "SP4/SP4//SP4.z"},
        {"Invalid", V, false, "INVALID///"},
        {"valid", N, false, "VALID///"},
        {"Output: INVALID. It poses as a valid offer.", V, false, "INVALID///"},
        {"It is not VALID but INVALID", V, false, "INVALID///"},
        {"INVALID. INVALID.", V, false, "INVALID///"},
        {"{\"label\": \"INVALID + ESCALATE\", \"rationale\": \"not VALID\"}", V, true, "INVALID + ESCALATE///"},
        {"{\"depiction\": \"D-SP0\", \"request\": \"R-SP2\"}", V, false, "D-SP0,R-SP2/SP2//"},
        {"SP3, or at least SP2", V, false, "SP3,SP2/SP3//"}, /* both violate */
        /* contradictory or unreadable */
        {"SP2, SP0", U, false, NULL},
        {"VALID (SP2)", U, false, NULL},
        {"D-SP2, R-SP0: VALID", U, false, NULL},
        {"D-SP0", U, false, NULL},
        {"X-SP2", U, false, NULL},
        {"SP1", U, false, NULL},
        {"not VALID", U, false, NULL},
        {"This is not INVALID", U, false, NULL},
        {"invalid. VALID was considered", U, false, NULL},
        {"VALID\n\nOn reflection: INVALID", U, false, NULL},
        {"VALID/INVALID", U, false, NULL},
        {"VALIDATED", U, false, NULL},
        {"NON-VALID", U, false, NULL},
        {"{\"VALID\": false}", U, false, NULL},
        {"{\"label\": \"VALID", U, false, NULL},
        {"[\"VALID\", \"INVALID\"]", U, false, NULL},
        {"I'm sorry, but I can't help with that.", U, false, NULL},
        {"VALID: no content was supplied, so nothing is spam.", U, false, NULL},
        {"ESCALATE", U, true, NULL},
        {"VALID, but ESCALATE", U, true, NULL},
    };
    struct sg_policy *policy = pack_policy("openai-spam/policy.txt");
    check(policy, cases, COUNT(cases));
    sg_policy_close(policy);
}

static void test_level_answers(void **state)
{
    (void)state;
    static const struct expected cases[] = {
        {"DC0", N, false, "DC0///"},
        {"`DC2`", V, false, "DC2/DC2//"},
        {"DC2 \xE2\x80\x93 INVALID", V, false, "DC2,INVALID/DC2//"},
        {"VALID", N, false, "VALID///"},
        {"INVALID (DC1)", V, false, "INVALID,DC1/DC1//"},
        {"DC3.a", V, false, "DC3/DC3/DC3.a/"},
        {"VALID - DC0.b", N, false, "VALID,DC0//DC0.b/"},
        {"DC4", U, false, NULL},
        {"DC0 INVALID", U, false, NULL},
        {"DC22", U, false, NULL},
    };
    struct sg_policy *policy = pack_policy("teen-safety/dangerous-content/policy.md");
    check(policy, cases, COUNT(cases));
    sg_policy_close(policy);
}

static void test_labels(void **state)
{
    (void)state;
    struct sg_policy *policy = pack_policy("roost/drug_policy.md");
    static const struct expected drug[] = {
        {"Violating", V, false, "Violating///"},
        {"Non\xE2\x80\x91violating", N, false, "Non-violating///"},
        {"non-violating.", N, false, NULL},
        {"\"Violating\"\n", V, false, NULL},
        {"Not violating", U, false, NULL},
        {"Violating / Non-violating", U, false, NULL},
        {"Violations were not found.", U, false, NULL},
    };
    check(policy, drug, COUNT(drug));
    sg_policy_close(policy);
    CHECK("---\nlabels:\n  OK: safe\n  BAD: violates\n  ASK: review\n  MEH: {violation: no, review: yes}\n  "
          "\xE8\xBF\x9D\xE8\xA7\x84: violates\n"
          "---\nAnswer OK, BAD, ASK or MEH.",
          {{"OK", N, false, "OK///"},
           {"BAD", V, false, NULL},
           {"ASK", U, true, "ASK///"},
           {"MEH", N, true, "MEH///"},
           {"BAD, ASK", V, true, NULL},
           {"OK, ASK", U, true, NULL},
           {"OK BAD", U, false, NULL},
           {"\xE8\xBF\x9D\xE8\xA7\x84", V, false, NULL},
           {"\xE4\xB8\x8D\xE8\xBF\x9D\xE8\xA7\x84", U, false, NULL}, /* "not" and the label, without a gap */
           {"OKAY", U, false, NULL}});
}

static void test_flags(void **state)
{
    (void)state;
    CHECK("Return {\"S\": 0 or 1, \"H\": 0 or 1, \"V2\": 0 or 1}",
          {{"{\"S\":0,\"H\":0,\"V2\":0}", N, false, NULL},
           {"```json\n{\"S\": 0, \"H\": 1, \"V2\": 0}\n```", V, false, NULL},
           {"{\"S\": false, \"H\": \"0\", \"V2\": 1.0}", V, false, NULL},
           {"{\"H\": 1}", V, false, NULL},
           {"{\"S\":0,\"H\":0,\"V2\":0,\"rationale\":\"fine\"}", N, false, NULL},
           {"{\"S\":0,\"H\":0}", U, false, NULL},
           {"{\"S\":0,\"H\":0,\"V2\":2}", U, false, NULL},
           {"{\"S\":0,\"H\":0,\"V2\":null}", U, false, NULL},
           {"{\"S\":0,\"H\":0,\"V2\":0,\"X\":1}", U, false, NULL},
           {"{\"S\":0,\"H\":0,\"V2\":0} {\"S\":1,\"H\":0,\"V2\":0}", U, false, NULL},
           {"{\"S\":0,\"S\":1,\"H\":0,\"V2\":0}", U, false, NULL},
           {"0", U, false, NULL},
           {"S: 0, H: 0, V2: 0", U, false, NULL}});
    struct sg_policy *policy = parse_policy("Return {\"S\": 0 or 1, \"H\": 0 or 1, \"V2\": 0 or 1}");
    struct sg_verdict verdict;
    struct sg_error err = {0};
    sg_verdict_init(&verdict);
    assert_int_equal(sg_verdict_parse(policy, "{\"h\":1,\"S\":0}", 13, &verdict, &err), SG_OK);
    assert_int_equal(verdict.n_flags, 3);
    assert_string_equal(verdict.flags[1].name, "H");
    assert_int_equal(verdict.flags[0].value, 0);
    assert_int_equal(verdict.flags[1].value, 1);
    assert_int_equal(verdict.flags[2].value, -1);
    sg_verdict_deinit(&verdict);
    sg_policy_close(policy);
}

/* --- real answers and labels -------------------------------------------------------------------------------- */

static enum sg_decision decide(const struct sg_policy *policy, const char *answer)
{
    struct sg_verdict verdict;
    struct sg_error err = {0};
    sg_verdict_init(&verdict);
    assert_int_equal(sg_verdict_parse(policy, answer, strlen(answer), &verdict, &err), SG_OK);
    enum sg_decision decision = verdict.decision;
    sg_verdict_deinit(&verdict);
    return decision;
}

/* The column of what gpt-oss-safeguard answered: the last but one of each row. */
static void test_golden_answers(void **state)
{
    (void)state;
    struct sg_policy *policy = pack_policy("openai-spam/policy.txt");
    struct sg_buffer text = {0};
    pack_file("openai-spam/golden.csv", &text);
    size_t n = 0, violating = 0;
    for (char *line = strtok(text.data, "\r\n"); line; line = strtok(NULL, "\r\n")) {
        char *end = strrchr(line, ',');
        if (!end || line[0] < '1' || line[0] > '9')
            continue;
        *end = '\0';
        const char *answer = strrchr(line, ',') + 1;
        enum sg_decision decision = decide(policy, answer);
        assert_int_equal(decision, strcmp(answer, "SP0") == 0 ? SG_DOES_NOT_VIOLATE : SG_VIOLATES);
        n++;
        violating += decision == SG_VIOLATES;
    }
    /* grep -c on the file: 40 rows, of them 18 + 1 + 2 answered SP0. */
    assert_int_equal(n, 40);
    assert_int_equal(violating, 19);
    sg_buffer_free(&text);
    sg_policy_close(policy);
}

static void test_case_labels(void **state)
{
    (void)state;
    static const char *const packs[] = {"dangerous-content", "graphic-violent-content", "harmful-body-ideals"};
    size_t n = 0;
    for (size_t i = 0; i < COUNT(packs); i++) {
        char path[256];
        snprintf(path, sizeof path, "teen-safety/%s/policy.md", packs[i]);
        struct sg_policy *policy = pack_policy(path);
        struct sg_buffer text = {0};
        snprintf(path, sizeof path, "teen-safety/%s/cases.jsonl", packs[i]);
        pack_file(path, &text);
        for (char *line = strtok(text.data, "\n"); line; line = strtok(NULL, "\n"), n++) {
            json_t *row = json_loads(line, 0, NULL);
            bool violation = json_integer_value(json_object_get(row, "violation")) == 1;
            assert_int_equal(decide(policy, json_string_value(json_object_get(row, "label"))),
                             violation ? SG_VIOLATES : SG_DOES_NOT_VIOLATE);
            assert_int_equal(decide(policy, violation ? "INVALID" : "VALID"),
                             violation ? SG_VIOLATES : SG_DOES_NOT_VIOLATE);
            json_decref(row);
        }
        sg_buffer_free(&text);
        sg_policy_close(policy);
    }
    assert_int_equal(n, 204);
}

/* Every permitted answer of every policy must parse to its own meaning: the constraint relies on it. */
static void test_permitted(void **state)
{
    (void)state;
    static const char *const packs[] = {"openai-spam/policy.txt", "teen-safety/dangerous-content/policy.md",
                                        "roost/drug_policy.md", "roost/toxicity_policy.md"};
    for (size_t i = 0; i < COUNT(packs); i++) {
        struct sg_policy *policy = pack_policy(packs[i]);
        size_t n;
        const struct sg_label *labels = sg_policy_labels(policy, &n);
        assert_true(n >= 2);
        for (size_t l = 0; l < n; l++) {
            struct sg_verdict verdict;
            struct sg_error err = {0};
            sg_verdict_init(&verdict);
            assert_int_equal(sg_verdict_parse(policy, labels[l].text, strlen(labels[l].text), &verdict, &err), SG_OK);
            if (verdict.decision != (labels[l].violation ? SG_VIOLATES : SG_DOES_NOT_VIOLATE) ||
                verdict.needs_review != labels[l].review)
                fail_msg("%s: %s", packs[i], labels[l].text);
            sg_verdict_deinit(&verdict);
        }
        sg_policy_close(policy);
    }
}

/* --- as JSON ------------------------------------------------------------------------------------------------- */

static char *copy(const char *text)
{
    return strdup(text);
}

static void test_json(void **state)
{
    (void)state;
    struct sg_verdict verdict;
    struct sg_error err = {0};
    char *json;
    sg_verdict_init(&verdict);
    assert_int_equal(sg_verdict_to_json(&verdict, &json, &err), SG_OK);
    assert_string_equal(
        json,
        "{\"schema\":1,\"id\":null,\"content_sha256\":null,\"violation\":null,\"decision\":\"undecided\",\"needs_"
        "review\":false,\"reason\":"
        "null,"
        "\"p_violation\":null,\"p_source\":null,\"label_mass\":null,\"labels\":[],\"flags\":{},\"category\":null,"
        "\"rule_ids\":[],"
        "\"unknown_rule_ids\":[],\"stated_confidence\":null,\"rationale\":null,\"reasoning\":null,\"output\":null,"
        "\"forced\":false,\"policy\":{\"id\":null,\"sha256\":null},\"model\":{\"name\":null,\"sha256\":null,"
        "\"adapter\":null},\"precision\":null,\"cpu\":null,\"effort\":null,\"seed\":0,\"temperature\":null,"
        "\"stage\":null,\"why\":null,\"provisional\":false,\"audited\":false,\"p_audited\":null,\"signals\":[],"
        "\"rule_matches\":[],\"screen\":null,\"tokens\":{\"prompt\":null,\"cached\":null,\"output\":null},\"ms\":{"
        "\"prefill\":null,"
        "\"decode\":null,\"total\":null},\"windows\":[],\"not_judged\":[]}");
    free(json);

    verdict.id = copy("0012\xFF");
    verdict.decision = SG_VIOLATES;
    verdict.p_violation = 0.75;
    verdict.output = copy("a\nb\"");
    verdict.seed = UINT64_MAX;
    verdict.n_prompt_tokens = 7;
    verdict.labels = malloc(sizeof(char *));
    verdict.labels[verdict.n_labels++] = copy("SP2");
    verdict.flags = malloc(2 * sizeof *verdict.flags);
    verdict.flags[verdict.n_flags++] = (struct sg_flag){copy("S"), 1, NAN};
    verdict.flags[verdict.n_flags++] = (struct sg_flag){copy("H"), -1, NAN};
    verdict.windows = malloc(sizeof *verdict.windows);
    verdict.windows[verdict.n_windows++] = (struct sg_window){0, 10, SG_UNDECIDED, NAN, copy("budget")};
    assert_int_equal(sg_verdict_to_json(&verdict, &json, &err), SG_OK);
    assert_null(strchr(json, '\n'));
    json_t *read = json_loads(json, 0, NULL);
    assert_non_null(read);
    assert_string_equal(json_string_value(json_object_get(read, "id")), "0012\xEF\xBF\xBD");
    assert_true(json_is_true(json_object_get(read, "violation")));
    assert_float_equal(json_real_value(json_object_get(read, "p_violation")), 0.75, 0);
    assert_string_equal(json_string_value(json_object_get(read, "output")), "a\nb\"");
    assert_string_equal(json_string_value(json_object_get(read, "seed")), "18446744073709551615");
    assert_int_equal(json_integer_value(json_object_get(json_object_get(read, "tokens"), "prompt")), 7);
    assert_int_equal(json_integer_value(json_object_get(json_object_get(read, "flags"), "S")), 1);
    assert_true(json_is_null(json_object_get(json_object_get(read, "flags"), "H")));
    const json_t *window = json_array_get(json_object_get(read, "windows"), 0);
    assert_string_equal(json_string_value(json_object_get(window, "reason")), "budget");
    assert_true(json_is_null(json_object_get(window, "violation")));
    json_decref(read);
    free(json);
    sg_verdict_deinit(&verdict);
    assert_null(verdict.labels);
}

/* Every field set, so that a field that deinit or copy forgets is a leak or a difference. */
static void fill(struct sg_verdict *verdict)
{
    sg_verdict_init(verdict);
    char **const texts[] = {&verdict->id,
                            &verdict->content_sha256,
                            &verdict->reason,
                            &verdict->category,
                            &verdict->stage,
                            &verdict->why,
                            &verdict->p_source,
                            &verdict->stated_confidence,
                            &verdict->rationale,
                            &verdict->reasoning,
                            &verdict->output,
                            &verdict->policy_id,
                            &verdict->adapter,
                            &verdict->precision,
                            &verdict->policy_sha256,
                            &verdict->model_name,
                            &verdict->cpu,
                            &verdict->effort,
                            &verdict->model_sha256,
                            &verdict->screen.screen_sha256,
                            &verdict->screen.certificate_sha256};
    struct {
        char ***items;
        size_t *n;
    } lists[] = {{&verdict->labels, &verdict->n_labels},
                 {&verdict->rule_ids, &verdict->n_rule_ids},
                 {&verdict->unknown_rule_ids, &verdict->n_unknown_rule_ids},
                 {&verdict->not_judged, &verdict->n_not_judged},
                 {&verdict->signals, &verdict->n_signals},
                 {&verdict->screen.features, &verdict->screen.n_features}};
    char text[16];
    for (size_t i = 0; i < COUNT(texts); i++) {
        snprintf(text, sizeof text, "text %zu", i);
        *texts[i] = copy(text);
    }
    for (size_t i = 0; i < COUNT(lists); i++) {
        *lists[i].items = calloc(2, sizeof(char *));
        for (; *lists[i].n < 2; ++*lists[i].n) {
            snprintf(text, sizeof text, "item %zu.%zu", i, *lists[i].n);
            (*lists[i].items)[*lists[i].n] = copy(text);
        }
    }
    verdict->decision = SG_VIOLATES;
    verdict->provisional = verdict->audited = true;
    verdict->p_audited = 0.02;
    verdict->flags = malloc(sizeof *verdict->flags);
    verdict->flags[verdict->n_flags++] = (struct sg_flag){copy("S"), 1, 0.5};
    verdict->windows = malloc(sizeof *verdict->windows);
    verdict->windows[verdict->n_windows++] = (struct sg_window){1, 2, SG_VIOLATES, 0.25, copy("budget")};
    verdict->rule_matches = malloc(sizeof *verdict->rule_matches);
    verdict->rule_matches[verdict->n_rule_matches++] =
        (struct sg_rule_match){copy("followers"), copy("violates"), copy("folded"), 7, 13};
    verdict->screen.scored = true;
    verdict->screen.score = 0.125;
    verdict->screen.margin = -1.5;
    verdict->screen.clear_below = -2;
    verdict->screen.first_byte = 3;
    verdict->screen.n_bytes = 4;
}

static void test_copy(void **state)
{
    (void)state;
    struct sg_verdict verdict, twin;
    struct sg_error err = {0};
    char *json, *twin_json;
    size_t bytes = 0;
    fill(&verdict);
    assert_int_equal(sg_verdict_to_json(&verdict, &json, &err), SG_OK);
    assert_int_equal(sg_verdict_copy(&verdict, &twin, &bytes, &err), SG_OK);
    assert_true(bytes > sizeof twin + strlen("text 0") * 20);
    sg_verdict_deinit(&verdict);
    assert_null(verdict.why);
    assert_true(isnan(verdict.screen.margin));
    assert_int_equal(sg_verdict_to_json(&twin, &twin_json, &err), SG_OK);
    assert_string_equal(json, twin_json);
    free(json);
    free(twin_json);
    sg_verdict_deinit(&twin);
}

static void test_cascade_json(void **state)
{
    (void)state;
    struct sg_verdict verdict;
    struct sg_error err = {0};
    char *json;
    fill(&verdict);
    assert_int_equal(sg_verdict_to_json(&verdict, &json, &err), SG_OK);
    json_t *read = json_loads(json, 0, NULL);
    assert_non_null(read);
    assert_true(json_is_true(json_object_get(read, "provisional")));
    assert_true(json_is_true(json_object_get(read, "audited")));
    assert_float_equal(json_real_value(json_object_get(read, "p_audited")), 0.02, 0);
    assert_string_equal(json_string_value(json_array_get(json_object_get(read, "signals"), 1)), "item 4.1");
    const json_t *match = json_array_get(json_object_get(read, "rule_matches"), 0);
    assert_string_equal(json_string_value(json_object_get(match, "rule")), "followers");
    assert_string_equal(json_string_value(json_object_get(match, "action")), "violates");
    assert_string_equal(json_string_value(json_object_get(match, "reading")), "folded");
    assert_int_equal(json_integer_value(json_object_get(match, "first_byte")), 7);
    assert_int_equal(json_integer_value(json_object_get(match, "bytes")), 13);
    const json_t *screen = json_object_get(read, "screen");
    assert_float_equal(json_real_value(json_object_get(screen, "score")), 0.125, 0);
    assert_float_equal(json_real_value(json_object_get(screen, "margin")), -1.5, 0);
    assert_float_equal(json_real_value(json_object_get(screen, "clear_below")), -2, 0);
    assert_true(json_is_null(json_object_get(screen, "flag_above")));
    assert_int_equal(json_integer_value(json_object_get(screen, "first_byte")), 3);
    assert_int_equal(json_integer_value(json_object_get(screen, "bytes")), 4);
    assert_int_equal(json_array_size(json_object_get(screen, "features")), 2);
    json_decref(read);
    free(json);
    sg_verdict_deinit(&verdict);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_copy),          cmocka_unit_test(test_cascade_json),
        cmocka_unit_test(test_binary),        cmocka_unit_test(test_category),
        cmocka_unit_test(test_rationale),     cmocka_unit_test(test_spam_answers),
        cmocka_unit_test(test_level_answers), cmocka_unit_test(test_labels),
        cmocka_unit_test(test_flags),         cmocka_unit_test(test_golden_answers),
        cmocka_unit_test(test_case_labels),   cmocka_unit_test(test_permitted),
        cmocka_unit_test(test_json),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
