/* The parts of the remote reasoner that need no server: event streams, replies, log probabilities, chat text. The
 * expected numbers are worked out by hand in each test. */
#include "policy_helpers.h"

#include "reasoner/chat_reply.h"
#include "reasoner/chat_text.h"
#include "reasoner/remote_ask.h"
#include "reasoner/sse.h"
#include "reasoner/windows.h"
#include "text/tokenizer.h"

#include <math.h>

/* --- event streams ---------------------------------------------------------------------------------------- */

static bool note(void *context, const char *event, const char *data, size_t len)
{
    struct sg_buffer *out = context;
    sg_buffer_printf(out, "%s(%.*s)", event, (int)len, data);
    return !strstr(sg_buffer_text(out), "STOP");
}

static void expect_events(const char *stream, const char *expected)
{
    size_t len = strlen(stream);
    for (size_t cut = 0; cut <= len; cut++) { /* in two pieces, everywhere */
        struct sg_sse sse = {0};
        struct sg_buffer seen = {0};
        enum sg_status status;
        struct sg_error err;
        if (sg_sse_feed(&sse, stream, cut, note, &seen, &status, &err))
            (void)!sg_sse_feed(&sse, stream + cut, len - cut, note, &seen, &status, &err);
        assert_int_equal(status, SG_OK);
        assert_string_equal(sg_buffer_text(&seen), expected);
        sg_buffer_free(&seen);
        sg_sse_free(&sse);
    }
}

static void test_events(void **unused)
{
    (void)unused;
    expect_events("data: a\n\ndata: b\n\n", "(a)(b)");
    expect_events("data: a\r\n\r\ndata: b\r\n\r\n", "(a)(b)");
    expect_events("data: a\r\rdata:b\r\r", "(a)(b)");
    expect_events("data: a\n\r\ndata:  b\n\n", "(a)( b)");
    expect_events("\xEF\xBB\xBF"
                  "data: a\n\n",
                  "(a)");
    expect_events(": comment\n\ndata: a\n:x\ndata: b\n\n", "(a\nb)");
    expect_events("event: error\ndata: a\nid: 7\nretry: 1\n\ndata: b\n\n", "error(a)(b)");
    expect_events("data\n\n", "()");
    expect_events("event: x\n\ndata: torn", "");
    expect_events("dataset: a\ndata : b\n\n", "");
    expect_events("data: STOP\n\ndata: b\n\n", "(STOP)");
}

static void test_event_beyond_its_maximum(void **unused)
{
    (void)unused;
    struct sg_sse sse = {0};
    struct sg_buffer seen = {0}, line = {0};
    enum sg_status status = SG_OK;
    struct sg_error err;
    for (int i = 0; i < 1 << 16; i++)
        sg_buffer_putc(&line, 'x');
    bool goes_on = true;
    for (int i = 0; i < 128 && goes_on; i++)
        goes_on = sg_sse_feed(&sse, line.data, line.len, note, &seen, &status, &err);
    assert_false(goes_on);
    assert_int_equal(status, SG_ELIMIT);
    sg_sse_free(&sse);
    sg_buffer_clear(&line);
    sg_buffer_puts(&line, "data: 0123456789012345678901234567890123456789\n"); /* many short lines of one event */
    for (goes_on = true; goes_on;)
        goes_on = sg_sse_feed(&sse, line.data, line.len, note, &seen, &status, &err);
    assert_int_equal(status, SG_ELIMIT);
    sg_sse_free(&sse);
    sg_buffer_free(&line);
    sg_buffer_free(&seen);
}

/* --- log probabilities ------------------------------------------------------------------------------------ */

struct option {
    const char *text;
    double p;
};
struct entry {
    struct option chosen, tops[5];
};

/* p_violation, label_mass and the flags of `answer` under `policy`, from tokens. */
static struct sg_verdict judge(const char *policy_text, const char *answer, const struct entry *entries, size_t n)
{
    struct sg_policy *policy = parse_policy(policy_text);
    struct sg_logprobs logprobs = {0};
    struct sg_verdict verdict;
    struct sg_error err = {0};
    sg_verdict_init(&verdict);
    assert_int_equal(sg_verdict_parse(policy, answer, strlen(answer), &verdict, &err), SG_OK);
    for (size_t i = 0; i < n; i++) {
        const struct option *chosen = &entries[i].chosen;
        sg_logprobs_add(&logprobs, chosen->text, strlen(chosen->text), log(chosen->p));
        sg_logprobs_add_top(&logprobs, chosen->text, strlen(chosen->text), log(chosen->p)); /* servers list it too */
        for (const struct option *top = entries[i].tops; top->text; top++)
            sg_logprobs_add_top(&logprobs, top->text, strlen(top->text), log(top->p));
    }
    sg_logprobs_judge(&logprobs, policy, sg_slice_of(answer), &verdict);
    sg_logprobs_free(&logprobs);
    sg_policy_close(policy);
    return verdict;
}

static void expect(const char *policy, const char *answer, const struct entry *entries, size_t n, double p,
                   double mass)
{
    struct sg_verdict verdict = judge(policy, answer, entries, n);
    double got[2] = {verdict.p_violation, verdict.label_mass}, expected[2] = {p, mass};
    for (int i = 0; i < 2; i++)
        if (isnan(got[i]) != isnan(expected[i]) || fabs(got[i] - expected[i]) > 1e-9)
            fail_msg("\"%s\": %s is %.9g, expected %.9g", answer, i ? "label_mass" : "p_violation", got[i],
                     expected[i]);
    sg_verdict_deinit(&verdict);
}
#define EXPECT(policy, answer, p, mass, ...)                                                                         \
    do {                                                                                                             \
        const struct entry entries[] = {__VA_ARGS__};                                                                \
        expect(policy, answer, entries, COUNT(entries), p, mass);                                                    \
    } while (0)

#define DIGIT "Return exactly one character: 0 or 1."
#define WORDS                                                                                                        \
    "---\nlabels:\n  VALID: safe\n  INVALID: violates\n  INVALID + ESCALATE: {violation: yes, review: yes}\n---\n"   \
    "Return exactly one label: VALID, INVALID or INVALID + ESCALATE.\n"
#define CODES "---\nlabels:\n  D-SP0: safe\n  D-SP2: violates\n  D-SP4: violates\n---\nReturn one label.\n"
#define PAIR                                                                                                         \
    "Classify as VALID or INVALID.\nOutput: INVALID + ESCALATE\n(SP0 - no) (SP2 - yes) D-SP#, R-SP# | D-S2, R-S0 | " \
    "label\n"
#define OBJECT                                                                                                       \
    "Return only a JSON object: {\"violation\": 1, \"policy_category\": \"H2.f\"} or {\"violation\": 0, "            \
    "\"policy_category\": null}.\n\n- H2.f Insults."
#define FLAGS                                                                                                        \
    "---\ncategories: [first, second]\noutput: flags\n---\nReturn only a JSON object with one flag for each "        \
    "category: {\"first\": 0 or 1, \"second\": 0 or 1}"

static void test_digits(void **unused)
{
    (void)unused;
    EXPECT(DIGIT, "1", 0.9 / 0.98, 0.98, {{"1", 0.9}, {{"0", 0.08}, {"The", 0.01}}});
    EXPECT(DIGIT, "0", 0.2, 1.0, {{"0", 0.8}, {{"1", 0.2}}});
    /* several tokens mean the same: with a blank, with a quote */
    EXPECT(DIGIT, "1", 0.75 / 0.95, 0.95, {{"1", 0.7}, {{" 1", 0.05}, {"0", 0.15}, {"\"0", 0.05}, {"10", 0.02}}});
    /* blanks alone may lead anywhere: little of it is borne, much is not */
    EXPECT(DIGIT, "1", 0.9 / 0.95, 0.95, {{"1", 0.9}, {{"0", 0.05}, {" ", 0.04}}});
    EXPECT(DIGIT, "1", NAN, 0.6, {{"1", 0.5}, {{"0", 0.1}, {" ", 0.4}}});
    EXPECT(DIGIT, "1", NAN, 0.003, {{"1", 0.003}, {{"\n", 0.5}, {"The", 0.4}}});
    /* no alternatives listed: the rest counts for the other side */
    EXPECT(DIGIT, "0", 0.25, NAN, {{"0", 0.75}, {{0}}});
    EXPECT(DIGIT, "1", 0.75, NAN, {{"1", 0.75}, {{0}}});
}

static void test_where_the_answer_stands(void **unused)
{
    (void)unused;
    /* behind reasoning that holds the same token, in front of markers and white space */
    EXPECT(DIGIT, "1", 0.9, 1, {{"is 1", 0.5}, {{0}}}, {{"1", 0.2}, {{"0", 0.8}}}, {{"1", 0.9}, {{"0", 0.1}}},
           {{"\n", 1}, {{0}}}, {{"<|return|>", 1}, {{0}}});
    EXPECT(DIGIT, "```\n1\n```", 0.9, 1, {{"```\n", 1}, {{0}}}, {{"1", 0.9}, {{"0", 0.1}}}, {{"\n```", 1}, {{0}}});
    EXPECT(DIGIT, "Answer: 1", 0.9, 1, {{"Answer", 1}, {{0}}}, {{":", 1}, {{0}}}, {{" 1", 0.9}, {{" 0", 0.1}}});
    /* tokens that do not spell the answer */
    EXPECT(DIGIT, "1", NAN, NAN, {{"0", 0.9}, {{"1", 0.1}}});
    EXPECT(DIGIT, "1", NAN, NAN, {{"1", 0.9}, {{"0", 0.1}}}, {{"more", 1}, {{0}}});
    /* the label twice: which of them is the answer? */
    EXPECT(DIGIT, "1 - rule 1 applies", NAN, NAN, {{"1", 0.9}, {{"0", 0.1}}}, {{" - rule ", 1}, {{0}}},
           {{"1", 1}, {{"2", 0.3}}}, {{" applies", 1}, {{0}}});
}

static void test_words(void **unused)
{
    (void)unused;
    /* two spellings of the same start; what leads to both kinds of INVALID leads to a violation all the same */
    EXPECT(WORDS, "INVALID", 0.65 / 0.95, 0.95, {{"IN", 0.6}, {{"VALID", 0.3}, {"INV", 0.05}, {"Hm", 0.05}}},
           {{"VALID", 1}, {{0}}});
    EXPECT(WORDS, "INVALID + ESCALATE", 0.7, 1, {{"IN", 0.7}, {{"VALID", 0.3}}}, {{"VALID", 1}, {{0}}},
           {{" +", 0.5}, {{"\n", 0.5}}}, {{" ESCALATE", 1}, {{0}}});
    EXPECT(WORDS, "VALID", 0.1, 1, {{"VALID", 0.9}, {{"IN", 0.1}}});
    /* the decision falls in the third token; the first two are shared by all */
    EXPECT(CODES, "D-SP2", (0.8 * 0.7) / (0.8 * 0.9), 0.8 * 0.9, {{"D", 0.8}, {{"R", 0.2}}}, {{"-SP", 1}, {{"x", 0}}},
           {{"2", 0.6}, {{"0", 0.2}, {"4", 0.1}, {"9", 0.1}}});
    /* typographic hyphens, cut through the middle of the character */
    EXPECT(CODES, "D\xE2\x80\x91SP0", 0.25, 1, {{"D\xE2\x80", 1}, {{"x", 0}}}, {{"\x91SP", 1}, {{"x", 0}}},
           {{"0", 0.75}, {{"2", 0.25}}});
    /* lower case */
    EXPECT(WORDS, "invalid", 0.6, 1, {{"inv", 0.6}, {{"valid", 0.4}}}, {{"alid", 1}, {{0}}});
}

static void test_objects(void **unused)
{
    (void)unused;
#define REST                                                                                                         \
    {                                                                                                                \
        {", \"policy_category\": \"H2.f\"}", 1},                                                                     \
        {                                                                                                            \
            {                                                                                                        \
                0                                                                                                    \
            }                                                                                                        \
        }                                                                                                            \
    }
    const char *text = "{\"violation\": 1, \"policy_category\": \"H2.f\"}";
    EXPECT(OBJECT, text, 0.8, 1, {{"{\"violation\":", 1}, {{0}}}, {{" ", 1}, {{0}}}, {{"1", 0.8}, {{"0", 0.2}}},
           REST);
    EXPECT(OBJECT, text, 0.8, 1, {{"{\"violation\":", 1}, {{0}}}, {{" 1", 0.8}, {{" 0", 0.2}}}, REST);
    EXPECT(OBJECT, text, 0.8, 1, {{"{\"violation", 1}, {{0}}}, {{"\": 1", 0.8}, {{"\": 0", 0.1}, {"\":0", 0.1}}},
           REST);
    EXPECT(OBJECT, text, 0.7 / 0.9, 0.9, {{"{\"violation\": ", 1}, {{0}}},
           {{"1", 0.6}, {{"true", 0.1}, {"false", 0.1}, {"0", 0.1}, {"null", 0.1}}}, REST);
    struct sg_verdict verdict;
    const struct entry flags[] = {{{"{\"first\": ", 1}, {{0}}},
                                  {{"0", 0.9}, {{"1", 0.1}}},
                                  {{", \"second\": ", 1}, {{0}}},
                                  {{"1", 0.6}, {{"0", 0.4}}},
                                  {{"}", 1}, {{0}}}};
    verdict = judge(FLAGS, "{\"first\": 0, \"second\": 1}", flags, COUNT(flags));
    assert_int_equal(verdict.n_flags, 2);
    assert_true(fabs(verdict.flags[0].p - 0.1) < 1e-9);
    assert_true(fabs(verdict.flags[1].p - 0.6) < 1e-9);
    assert_true(fabs(verdict.p_violation - (1 - 0.9 * 0.4)) < 1e-9);
    sg_verdict_deinit(&verdict);
}

static void test_undecided_answers_have_no_probability(void **unused)
{
    (void)unused;
    EXPECT(DIGIT, "perhaps", NAN, NAN, {{"perhaps", 0.9}, {{"1", 0.1}}});
    EXPECT(DIGIT, "0 or 1", NAN, NAN, {{"0", 0.9}, {{"1", 0.1}}}, {{" or ", 1}, {{0}}}, {{"1", 1}, {{0}}});
}

/* --- chat text -------------------------------------------------------------------------------------------- */

static void test_markers(void **unused)
{
    (void)unused;
    static const char *const cases[][2] = {
        {"<|end|>", "< |end| >"},
        {"<turn|>", "<turn| >"},
        {"<\xEF\xBD\x9CUser\xEF\xBD\x9C>", "< \xEF\xBD\x9CUser\xEF\xBD\x9C >"},
        {"a[INST]b[/INST]", "a[ INST]b[ /INST]"},
        {"<s></s><<SYS>>", "< s>< /s>< <SYS>>"},
        {"</think>", "< /think>"},
        {"<||>", "< || >"},
        {"a < b | c > d, <b>x</b> [1] [inst] <S> |x| \xEF\xBD\x9C",
         "a < b | c > d, <b>x</b> [1] [inst] <S> |x| \xEF\xBD\x9C"},
        {"<", "<"},
        {"", ""},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct sg_buffer out = {0}, again = {0};
        size_t n = sg_break_markers(sg_slice_of(cases[i][0]), &out);
        assert_string_equal(sg_buffer_text(&out), cases[i][1]);
        assert_int_equal(n > 0, strcmp(cases[i][0], cases[i][1]) != 0);
        struct sg_slice once = {sg_buffer_text(&out), out.len};
        assert_int_equal(sg_break_markers(once, &again), 0); /* nothing is put together anew */
        sg_buffer_free(&out);
        sg_buffer_free(&again);
    }
}

static void expect_split(const char *content, enum sg_channels channels, const char *reasoning, const char *answer)
{
    struct sg_buffer r = {0}, a = {0};
    assert_int_equal(sg_split_channels(sg_slice_of(content), &r, &a), channels);
    if (channels != SG_CHANNELS_UNCLEAR) {
        assert_string_equal(sg_buffer_text(&r), reasoning);
        assert_string_equal(sg_buffer_text(&a), answer);
    }
    sg_buffer_free(&r);
    sg_buffer_free(&a);
}

static void test_channels(void **unused)
{
    (void)unused;
    const char *two =
        "<|channel|>analysis<|message|>a<|end|><|start|>assistant<|channel|>commentary<|message|>b<|end|>"
        "<|start|>assistant<|channel|>final<|message|>1<|return|>";
    expect_split(two, SG_CHANNELS_SPLIT, "a\n\nb", "1");
    expect_split("<|start|>assistant<|channel|>final<|message|>1", SG_CHANNELS_SPLIT, "", "1");
    expect_split("<|channel|>analysis<|message|>cut", SG_CHANNELS_SPLIT, "cut", "");
    expect_split("<|channel|>ana", SG_CHANNELS_SPLIT, "", "");
    expect_split("analysisWe.assistantfinal{\"violation\": 1}", SG_CHANNELS_SPLIT, "We.", "{\"violation\": 1}");
    expect_split("analysis of the text: 1", SG_CHANNELS_NONE, "", "analysis of the text: 1");
    expect_split("1", SG_CHANNELS_NONE, "", "1");
    expect_split(" <think>a</think> 1 ", SG_CHANNELS_SPLIT, "a", "1");
    expect_split("<|channel|>final<|message|>0<|channel|>final<|message|>1", SG_CHANNELS_UNCLEAR, "", "");
    expect_split("a</think>0</think>1", SG_CHANNELS_UNCLEAR, "", "");
    expect_split("", SG_CHANNELS_NONE, "", "");
}

/* The lower bound holds for the real vocabulary, in every script. */
static void test_least_tokens(void **unused)
{
    (void)unused;
    static const char *const texts[] = {
        "The quick brown fox isn't jumping over 1234567 lazy dogs; see https://example.com/a_b?c=d&e=%20 !!! :-) "
        "----",
        "Der Donaudampfschifffahrtskapitän trinkt Äpfelwein.\r\n\r\n\tEinrückung   mit    Blanks\n\n\n",
        "東京は夜の七時。これは長い文章です、句読点もあります。",
        "Это обычный русский текст, с запятыми и точкой. ЗАГЛАВНЫЕ",
        "السلام عليكم ورحمة الله وبركاته",
        "हिन्दी में एक वाक्य और दूसरा वाक्य",
        "😀😃😄👩‍👩‍👧‍👦 ❤️🇩🇪",
        "aGVsbG8gd29ybGQgaGVsbG8gd29ybGQgaGVsbG8gd29ybGQgaGVsbG8gd29ybGQgaGVsbG8gd29ybGQgaGVsbG8gd29ybGQgaGVsbG8g",
        "                                                                                                      x",
        "====================================================================================================",
        "camelCaseIdentifierWithManyParts(int a, float *b) { return a->b.c[0]; } // comment",
        "",
    };
    const char *shared = getenv("SG_SHARED");
    char path[1024];
    snprintf(path, sizeof path, "%s/vectors/o200k_base.tiktoken", shared ? shared : "../shared");
    struct sg_tokenizer *tokenizer;
    struct sg_error err;
    if (sg_tokenizer_from_tiktoken(path, &tokenizer, &err) != SG_OK) {
        print_message("skipped: %s\n", err.text);
        skip();
    }
    for (size_t i = 0; i < COUNT(texts); i++) {
        struct sg_tokens tokens = {0};
        sg_tokenize(tokenizer, sg_slice_of(texts[i]), &tokens);
        int64_t split = sg_least_tokens(sg_slice_of(texts[i]), true),
                words = sg_least_tokens(sg_slice_of(texts[i]), false);
        assert_true(split <= (int64_t)tokens.n && words <= (int64_t)tokens.n);
        assert_true(texts[i][0] == '\0' || (split > 0 && words > 0));
        sg_tokens_free(&tokens);
    }
    sg_tokenizer_destroy(tokenizer);
}

/* --- replies ---------------------------------------------------------------------------------------------- */

static enum sg_status take(struct sg_reply *reply, const char *json)
{
    bool grew;
    struct sg_error err;
    return sg_reply_take(reply, json, strlen(json), NULL, NULL, &grew, &err);
}

static void test_replies(void **unused)
{
    (void)unused;
    struct sg_reply reply;
    sg_reply_init(&reply);
    assert_int_equal(take(&reply, "{\"choices\":[{\"delta\":{\"content\":\"a\\u0000b\"}}]}"), SG_OK);
    assert_string_equal(sg_buffer_text(&reply.content), "a\xEF\xBF\xBD"
                                                        "b");
    assert_int_equal(take(&reply, "{\"choices\":[{\"index\":1,\"delta\":{\"content\":\"other\"}}]}"), SG_OK);
    assert_int_equal(take(&reply, "{\"choices\":[{\"delta\":{\"content\":7,\"reasoning\":null}}],\"usage\":null}"),
                     SG_OK);
    assert_int_equal(reply.content.len, 5);
    assert_int_equal(take(&reply, "{\"usage\":{\"prompt_tokens\":-3,\"completion_tokens\":\"x\"}}"), SG_OK);
    assert_int_equal(reply.n_prompt, -1);
    assert_int_equal(take(&reply, "{\"usage\":{\"prompt_tokens\":12.0}}"), SG_OK);
    assert_int_equal(reply.n_prompt, 12);
    assert_int_equal(take(&reply, "{\"choices\":[{\"delta\":{},\"finish_reason\":\"stop\"}]}"), SG_OK);
    assert_string_equal(reply.finish, "stop");
    assert_false(reply.has_error);
    for (const char *const *bad = (const char *const[]){"", "[]", "7", "{", "null", "{}x", NULL}; *bad; bad++)
        assert_int_equal(take(&reply, *bad), SG_EFORMAT);
    sg_reply_deinit(&reply);
}

static void test_error_objects(void **unused)
{
    (void)unused;
    static const struct {
        const char *json, *message, *type, *param;
        int code;
    } cases[] = {
        {"{\"error\":{\"message\":\"m\",\"type\":\"t\",\"param\":\"p\",\"code\":\"c\"}}", "m", "c", "p", 0},
        {"{\"error\":{\"message\":\"m\",\"type\":\"t\",\"code\":503}}", "m", "t", "", 503},
        {"{\"error\":\"m\"}", "m", "", "", 0},
        {"{\"object\":\"error\",\"message\":\"m\",\"type\":\"t\",\"code\":400}", "m", "t", "", 400},
        {"{\"detail\":\"m\"}", "m", "", "", 0},
        {"{\"error\":{\"message\":\"a\\n\\u001b[31m\"}}", "a  [31m", "", "", 0},
        {"{\"error\":{\"type\":\"two words\"}}", "", "", "", 0},
        {"{\"error\":true}", "", "", "", 0},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct sg_reply reply;
        sg_reply_init(&reply);
        assert_int_equal(take(&reply, cases[i].json), SG_OK);
        assert_true(reply.has_error);
        assert_string_equal(reply.error_message, cases[i].message);
        assert_string_equal(reply.error_type, cases[i].type);
        assert_string_equal(reply.error_param, cases[i].param);
        assert_int_equal(reply.error_code, cases[i].code);
        sg_reply_deinit(&reply);
    }
    struct sg_reply reply;
    sg_reply_init(&reply);
    assert_int_equal(take(&reply, "{\"error\":null,\"choices\":[]}"), SG_OK);
    assert_false(reply.has_error);
    sg_reply_deinit(&reply);
}

/* --- servers ---------------------------------------------------------------------------------------------- */

static void test_roles(void **unused)
{
    (void)unused;
    static const struct {
        const char *url, *model, *role, *asked;
    } cases[] = {
        {"http://gpu:8000/v1", "gpt-oss-safeguard-20b", "system", "http://gpu:8000/v1/chat/completions"},
        {"https://api.openai.com/v1/", "gpt-5", "developer", "https://api.openai.com/v1/chat/completions"},
        {"https://api.openai.com/v1", "gpt-4o-mini", "system", "https://api.openai.com/v1/chat/completions"},
        {"https://x.openai.azure.com/openai/deployments/d?api-version=1", "o4-mini", "developer",
         "https://x.openai.azure.com/openai/deployments/d/chat/completions?api-version=1"},
        {"http://[::1]:8080", "m", "system", "http://[::1]:8080/chat/completions"},
        {"https://api.openai.com.evil.example/v1", "gpt-5", "system",
         "https://api.openai.com.evil.example/v1/chat/completions"},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct sg_server server;
        struct sg_error err;
        struct sg_remote_options options = {.url = cases[i].url, .model = cases[i].model};
        assert_int_equal(sg_server_init(&server, &options, &err), SG_OK);
        assert_string_equal(server.policy_role, cases[i].role);
        assert_string_equal(server.url, cases[i].asked);
        assert_null(strchr(server.shown, '?'));
        sg_server_deinit(&server);
    }
}

static void test_exposed_keys(void **unused)
{
    (void)unused;
    static const struct {
        const char *url, *key;
        bool exposed;
    } cases[] = {
        {"http://gpu:8000/v1", "k", true},         {"https://gpu:8000/v1", "k", false},
        {"http://gpu:8000/v1", NULL, false},       {"http://localhost:8000/v1", "k", false},
        {"http://127.0.0.1:8000/v1", "k", false},  {"http://[::1]:8000/v1", "k", false},
        {"http://127.evil.example/v1", "k", true}, {"http://localhost.evil.example/v1", "k", true},
    };
    unsetenv("SAFEGUARD_REASONER_KEY");
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct sg_remote_options options = {.url = cases[i].url, .model = "m", .api_key = cases[i].key};
        assert_int_equal(sg_remote_exposes_key(&options), cases[i].exposed);
    }
}

/* The worst part decides, and whatever part asks for a person is heard, in either order. */
static void test_windows(void **state)
{
    (void)state;
    static const struct {
        enum sg_decision a, b, worst;
        bool a_review, b_review;
    } cases[] = {{SG_DOES_NOT_VIOLATE, SG_UNDECIDED, SG_UNDECIDED, true, false},
                 {SG_DOES_NOT_VIOLATE, SG_VIOLATES, SG_VIOLATES, true, false},
                 {SG_UNDECIDED, SG_VIOLATES, SG_VIOLATES, false, false},
                 {SG_DOES_NOT_VIOLATE, SG_DOES_NOT_VIOLATE, SG_DOES_NOT_VIOLATE, false, true}};
    for (size_t i = 0; i < 2 * COUNT(cases); i++) {
        struct sg_verdict whole, parts[2];
        struct sg_error err = {0};
        sg_verdict_init(&whole);
        for (size_t k = 0; k < 2; k++) {
            bool second = (k == 1) != (i % 2 == 1);
            sg_verdict_init(&parts[k]);
            parts[k].decision = second ? cases[i / 2].b : cases[i / 2].a;
            parts[k].needs_review = second ? cases[i / 2].b_review : cases[i / 2].a_review;
            assert_int_equal(sg_windows_add(&whole, 10 * k, 10, &parts[k], &err), SG_OK);
        }
        assert_int_equal(whole.decision, cases[i / 2].worst);
        assert_int_equal(whole.needs_review, cases[i / 2].a_review || cases[i / 2].b_review);
        assert_int_equal(whole.n_windows, 2);
        for (size_t k = 0; k < 2; k++)
            sg_verdict_deinit(&parts[k]);
        sg_verdict_deinit(&whole);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_events),
        cmocka_unit_test(test_event_beyond_its_maximum),
        cmocka_unit_test(test_digits),
        cmocka_unit_test(test_where_the_answer_stands),
        cmocka_unit_test(test_words),
        cmocka_unit_test(test_objects),
        cmocka_unit_test(test_undecided_answers_have_no_probability),
        cmocka_unit_test(test_markers),
        cmocka_unit_test(test_channels),
        cmocka_unit_test(test_least_tokens),
        cmocka_unit_test(test_replies),
        cmocka_unit_test(test_error_objects),
        cmocka_unit_test(test_roles),
        cmocka_unit_test(test_exposed_keys),
        cmocka_unit_test(test_windows),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
