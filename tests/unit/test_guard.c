/* The guard: which stage decides, what each failure becomes, and what the verdict says of it. The screen is a real
 * one, learnt from a few sentences; certificates are written with thresholds chosen from its margins; reasoners
 * answer from the words of the content. */
#include "guard/certificate.h"
#include "policy_helpers.h"
#include "reasoner/reasoner_internal.h"

#include <math.h>
#include <pthread.h>
#include <stdatomic.h>
#include <time.h>
#include <unistd.h>

/* --- a reasoner that does what the content says ----------------------------------------------------------------- */

struct fake {
    struct sg_reasoner base;
    const char *name;
    double p; /* its p_violation for what does not say */
    int in_flight;
    atomic_int calls, running, highest;
    double deadline_ms; /* of the last check */
    double seconds;     /* a check takes */
};

static enum sg_status fake_check(struct sg_reasoner *reasoner, const struct sg_policy *policy,
                                 const struct sg_content *content, const struct sg_check_options *options,
                                 sg_stream_fn stream, void *stream_context, struct sg_verdict *verdict,
                                 struct sg_error *err)
{
    struct fake *fake = (struct fake *)reasoner;
    size_t len;
    const char *text = sg_content_text(content, &len);
    (void)stream;
    (void)stream_context;
    int running = atomic_fetch_add(&fake->running, 1) + 1;
    if (running > atomic_load(&fake->highest))
        atomic_store(&fake->highest, running);
    atomic_fetch_add(&fake->calls, 1);
    if (fake->in_flight == 1)
        fake->deadline_ms = options->deadline_ms;
    if (fake->seconds > 0)
        nanosleep(&(struct timespec){.tv_nsec = (long)(fake->seconds * 1e9)}, NULL);
    atomic_fetch_sub(&fake->running, 1);
    if (strstr(text, "AWAY"))
        return sg_fail(err, SG_EUNAVAILABLE, "nobody at home");
    if (strstr(text, "BROKEN"))
        return sg_fail(err, SG_EINTERNAL, "asked to break");
    verdict->decision = strstr(text, "UNSURE") ? SG_UNDECIDED
                        : strstr(text, "BAD")  ? SG_VIOLATES
                                               : SG_DOES_NOT_VIOLATE;
    verdict->reason = strstr(text, "UNSURE") ? strdup("asked to be unsure") : NULL;
    verdict->p_violation = strstr(text, "BAD") ? 0.9 : fake->p;
    verdict->label_mass = 1;
    verdict->stage = strdup("reasoner");
    verdict->model_name = strdup(fake->name);
    verdict->policy_sha256 = strdup(sg_policy_sha256(policy));
    verdict->n_prompt_tokens = 100;
    verdict->n_cached_tokens = 90;
    verdict->n_output_tokens = 5;
    return SG_OK;
}

static void fake_cancel(struct sg_reasoner *reasoner)
{
    (void)reasoner;
}

static int fake_in_flight(const struct sg_reasoner *reasoner)
{
    return ((const struct fake *)reasoner)->in_flight;
}

static const struct sg_reasoner_class fake_class = {
    .check = fake_check, .cancel = fake_cancel, .in_flight = fake_in_flight};

#define FAKE(label, probability)                                                                                     \
    {                                                                                                                \
        .base = {&fake_class}, .name = label, .p = probability, .in_flight = 1                                       \
    }

/* --- policy, screen, rules, certificate ---------------------------------------------------------------------------
 */

static struct sg_policy *policy;
static char folder[] = "/tmp/test_guard.XXXXXX", screen_path[64], rules_path[64], certificate_path[64],
            damaged_path[64];
static double benign_margin, bad_margin; /* of the two sentences below */

#define BENIGN "shall we meet for lunch tomorrow at noon"
#define BAD_TEXT "win free cash now click this link to claim your prize"

static const char rules_text[] = "version: 1\n"
                                 "rules:\n"
                                 "  - {name: followers, phrase: buy followers, action: violates}\n"
                                 "  - {name: doubtful, phrase: investment, action: escalate, words: true}\n"
                                 "  - {name: thanks, phrase: thanks a lot, action: clear}\n";

static void write_file(const char *path, const void *bytes, size_t len)
{
    struct sg_error err;
    if (sg_file_write_atomic(path, bytes, len, &err) != SG_OK)
        fail_msg("%s", err.text);
}

static void train_screen(void)
{
    static const char *const benign[] = {"see you at lunch tomorrow",     "the meeting is at noon in my office",
                                         "can you send me the report",    "happy birthday to your mother",
                                         "the train is late again today", "shall we meet at the station",
                                         "dinner is ready come home",     "i will call you after work",
                                         "thanks for the lovely evening", "what time is the film tonight"};
    static const char *const bad[] = {"win free cash now",
                                      "click this link to claim your prize",
                                      "free prize claim now cash",
                                      "you have won cash click now",
                                      "claim your free cash prize today",
                                      "click now to win a free phone",
                                      "urgent claim your prize link",
                                      "cash prize winner click the link",
                                      "free free free click to win",
                                      "win a prize now reply to claim"};
    struct sg_screen_example examples[20];
    for (size_t i = 0; i < 20; i++) {
        const char *text = i < 10 ? benign[i] : bad[i - 10];
        examples[i] = (struct sg_screen_example){
            .text = text, .text_len = strlen(text), .value = i >= 10, .weight = 1, .calibrates = true, .p_drawn = 1};
    }
    const struct sg_screen_category category = {"any", examples, 20};
    const struct sg_screen_options options = {.policy_sha256 = sg_policy_sha256(policy), .c = 1, .threads = 1};
    struct sg_screen *screen;
    struct sg_error err = {0};
    if (sg_screen_train(&category, 1, &options, &screen, &err) != SG_OK ||
        sg_screen_save(screen, screen_path, &err) != SG_OK)
        fail_msg("%s", err.text);
    sg_screen_close(screen);
}

static struct sg_guard *open_guard(const struct sg_guard_options *options)
{
    struct sg_guard *guard;
    struct sg_error err = {0};
    if (sg_guard_open(policy, options, NULL, &guard, &err) != SG_OK)
        fail_msg("%s", err.text);
    return guard;
}

static struct sg_content *content_of(const char *text)
{
    struct sg_content *content;
    struct sg_error err;
    bool talk = text[0] == '{';
    enum sg_status status = talk ? sg_content_from_json(text, strlen(text), SG_JUDGE_LAST, &content, &err)
                                 : sg_content_from_text(text, strlen(text), &content, &err);
    if (status != SG_OK)
        fail_msg("%s", err.text);
    return content;
}

/* The clearing function; *score_out may be NULL. */
static enum sg_clearing clearing(struct sg_guard *guard, const char *text, double *score_out)
{
    struct sg_content *content = content_of(text);
    enum sg_clearing result;
    double score;
    struct sg_error err;
    assert_int_equal(sg_guard_clearing(guard, content, &result, &score, &err), SG_OK);
    sg_content_destroy(content);
    if (score_out)
        *score_out = score;
    return result;
}

/* Certified thresholds half way between the two sentences: clears below, flags from there on. */
static void write_certificate(const char *path, bool with_rules, double clear_below, double flag_above,
                              double small_below)
{
    struct sg_certificate certificate = {.truth = "people", .n_people = 1000, .attempt = 1, .n_entries = 1};
    struct sg_certificate_entry *entry = &certificate.entries[0];
    struct sg_screen *screen;
    struct sg_error err = {0};
    assert_int_equal(sg_screen_open(screen_path, &screen, &err), SG_OK);
    strcpy(certificate.function.policy_sha256, sg_policy_sha256(policy));
    strcpy(certificate.function.screen_sha256, sg_screen_sha256(screen));
    snprintf(certificate.function.features_version, sizeof certificate.function.features_version, "%s",
             sg_screen_features_version());
    if (with_rules) {
        struct sg_buffer text = {0};
        assert_int_equal(sg_file_read(rules_path, 1 << 20, &text, &err), SG_OK);
        sg_sha256(text.data, text.len, certificate.function.rules_sha256);
        sg_buffer_free(&text);
    }
    strcpy(entry->category, "any");
    const struct sg_certified fine = {
        .certified = true, .bound = 0.04, .n_rows = 1000, .n_violating = 400, .n_counted = 400, .delta = 0.04};
    entry->miss = (struct sg_certificate_claim){true, 0.05, 0.95, 0, fine};
    entry->miss.result.threshold = clear_below;
    if (isnan(clear_below))
        entry->miss.result = (struct sg_certified){.threshold = -INFINITY,
                                                   .bound = 1,
                                                   .estimate = NAN,
                                                   .n_rows = 1000,
                                                   .n_violating = 10,
                                                   .needed = 59,
                                                   .delta = 0.04};
    if (!isnan(flag_above)) {
        entry->flag = (struct sg_certificate_claim){true, 0.05, 0.95, 0, fine};
        entry->flag.result.threshold = flag_above;
    }
    if (!isnan(small_below)) {
        struct sg_certificate_reasoner *small = &entry->reasoners[entry->n_reasoners++];
        strcpy(small->name, "small");
        small->miss = (struct sg_certificate_claim){true, 0.05, 0.95, 0, fine};
        small->miss.result.threshold = small_below;
        small->flag = (struct sg_certificate_claim){true, 0.05, 0.95, 0, fine};
        small->flag.result.threshold = 0.85;
    }
    if (sg_certificate_save(path, &certificate, &err) != SG_OK)
        fail_msg("%s", err.text);
    sg_screen_close(screen);
}

static int setup(void **state)
{
    (void)state;
    assert_non_null(mkdtemp(folder));
    snprintf(screen_path, sizeof screen_path, "%s/s.screen", folder);
    snprintf(damaged_path, sizeof damaged_path, "%s/damaged.screen", folder);
    snprintf(rules_path, sizeof rules_path, "%s/rules.yaml", folder);
    snprintf(certificate_path, sizeof certificate_path, "%s/c.json", folder);
    policy = parse_policy("# Spam\n\nAnswer with exactly one character: 1 for spam, 0 for anything else.\n");
    write_file(rules_path, rules_text, strlen(rules_text));
    train_screen();
    struct sg_guard *guard = open_guard(&(struct sg_guard_options){.screen_path = screen_path});
    assert_int_equal(clearing(guard, BENIGN, &benign_margin), SG_CLEARING_BY_SCORE);
    assert_int_equal(clearing(guard, BAD_TEXT, &bad_margin), SG_CLEARING_BY_SCORE);
    assert_true(benign_margin < bad_margin);
    sg_guard_close(guard);
    struct sg_buffer bytes = {0};
    struct sg_error err;
    assert_int_equal(sg_file_read(screen_path, 1u << 30, &bytes, &err), SG_OK);
    bytes.data[bytes.len / 2] ^= 1;
    write_file(damaged_path, bytes.data, bytes.len);
    sg_buffer_free(&bytes);
    double middle = (benign_margin + bad_margin) / 2;
    write_certificate(certificate_path, true, middle, bad_margin - 0.001, 0.2);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    sg_policy_close(policy);
    char *const paths[] = {screen_path, damaged_path, rules_path, certificate_path};
    for (size_t i = 0; i < COUNT(paths); i++)
        unlink(paths[i]);
    rmdir(folder);
    return 0;
}

/* One check with default options; the caller deinits the verdict. */
static enum sg_status check(struct sg_guard *guard, const char *text, struct sg_verdict *verdict)
{
    const struct sg_check_options options = {.top_p = 1};
    struct sg_content *content = content_of(text);
    struct sg_error err = {0};
    sg_verdict_init(verdict);
    enum sg_status status = sg_guard_check(guard, content, &options, NULL, NULL, verdict, &err);
    assert_true(status == SG_OK || err.text[0]);
    sg_content_destroy(content);
    return status;
}

/* "does_not_violate screen", "undecided -", with " provisional" and " audited". */
static const char *outcome(struct sg_guard *guard, const char *text)
{
    static char line[1024];
    struct sg_verdict verdict;
    assert_int_equal(check(guard, text, &verdict), SG_OK);
    snprintf(line, sizeof line, "%s %s%s%s", sg_decision_name(verdict.decision), verdict.stage ? verdict.stage : "-",
             verdict.provisional ? " provisional" : "", verdict.audited ? " audited" : "");
    sg_verdict_deinit(&verdict);
    return line;
}

static const char *why(struct sg_guard *guard, const char *text)
{
    static char line[1024];
    struct sg_verdict verdict;
    assert_int_equal(check(guard, text, &verdict), SG_OK);
    snprintf(line, sizeof line, "%s", verdict.why ? verdict.why : "(null)");
    sg_verdict_deinit(&verdict);
    return line;
}

#define assert_contains(text, part)                                                                                  \
    do {                                                                                                             \
        const char *text_ = (text);                                                                                  \
        if (!strstr(text_, part))                                                                                    \
            fail_msg("%s: expected %s", text_, part);                                                                \
    } while (0)

/* --- the stages ------------------------------------------------------------------------------------------------- */

static void test_reasoner_alone(void **state)
{
    (void)state;
    struct fake reasoner = FAKE("large", 0.1);
    struct sg_guard *guard = open_guard(&(struct sg_guard_options){.reasoners = {&reasoner.base}, .n_reasoners = 1});
    struct sg_verdict verdict;
    assert_int_equal(check(guard, "BAD thing", &verdict), SG_OK);
    assert_int_equal(verdict.decision, SG_VIOLATES);
    assert_string_equal(verdict.stage, "reasoner");
    assert_null(verdict.why);
    assert_string_equal(verdict.p_source, "label tokens");
    /* printf 'BAD thing' | sha256sum */
    assert_string_equal(verdict.content_sha256, "5b440d5c6c69fa228b4bfac111bebc54cc909799bc5115a51cadeb18b692a0c1");
    assert_false(verdict.screen.scored);
    assert_true(verdict.total_ms >= 0);
    sg_verdict_deinit(&verdict);
    assert_string_equal(outcome(guard, "good thing"), "does_not_violate reasoner");
    assert_string_equal(outcome(guard, "UNSURE thing"), "undecided reasoner");
    struct sg_guard_counts counts;
    sg_guard_counts(guard, &counts);
    assert_true(counts.checks == 3 && counts.escalated == 3 && counts.reasoner_calls == 3);
    assert_int_equal(counts.reasoner_tokens, 3 * 15);
    sg_guard_close(guard);
}

static void test_rules(void **state)
{
    (void)state;
    struct fake reasoner = FAKE("large", 0.1);
    struct sg_guard *guard = open_guard(
        &(struct sg_guard_options){.rules_path = rules_path, .reasoners = {&reasoner.base}, .n_reasoners = 1});
    struct sg_verdict verdict;
    assert_int_equal(check(guard, "now Buy  Followers", &verdict), SG_OK);
    assert_int_equal(verdict.decision, SG_VIOLATES);
    assert_string_equal(verdict.stage, "rules");
    assert_string_equal(verdict.why, "rule \"followers\" says that it violates");
    assert_int_equal(verdict.n_rule_matches, 1);
    assert_string_equal(verdict.rule_matches[0].rule, "followers");
    assert_string_equal(verdict.rule_matches[0].action, "violates");
    assert_string_equal(verdict.rule_matches[0].reading, "raw");
    assert_true(verdict.rule_matches[0].first_byte == 4 && verdict.rule_matches[0].n_bytes == 14);
    assert_true(isnan(verdict.p_violation));
    sg_verdict_deinit(&verdict);

    assert_string_equal(outcome(guard, "thanks a lot"), "does_not_violate rules");
    assert_int_equal(atomic_load(&reasoner.calls), 0);
    assert_string_equal(outcome(guard, "an investment"), "does_not_violate reasoner");
    assert_contains(why(guard, "an investment"), "rule \"doubtful\" asks for the reasoner");
    assert_contains(why(guard, "hello"), "there is no screen");
    /* violates > escalate > clear */
    assert_string_equal(outcome(guard, "investment: buy followers"), "violates rules");
    /* What is written in an unusual way is not cleared, and what is hidden is found. */
    assert_string_equal(outcome(guard, "than\xE2\x80\x8Bks a lot"), "does_not_violate reasoner");
    assert_int_equal(check(guard,
                           "b\xE2\x80\x8Buy fol\xE2\x80\x8Blow\xE2\x80\x8B"
                           "ers",
                           &verdict),
                     SG_OK);
    assert_string_equal(verdict.stage, "rules");
    assert_string_equal(verdict.rule_matches[0].reading, "folded");
    assert_true(verdict.n_signals > 0);
    assert_string_equal(verdict.signals[0], "hidden_characters");
    sg_verdict_deinit(&verdict);
    sg_guard_close(guard);
}

static void test_screen(void **state)
{
    (void)state;
    struct fake reasoner = FAKE("large", 0.1);
    struct sg_guard_options options = {.rules_path = rules_path,
                                       .screen_path = screen_path,
                                       .certificate_path = certificate_path,
                                       .reasoners = {&reasoner.base},
                                       .n_reasoners = 1,
                                       .n_features = 5};
    struct sg_guard *guard = open_guard(&options);
    struct sg_verdict verdict;
    assert_int_equal(check(guard, BENIGN, &verdict), SG_OK);
    assert_int_equal(verdict.decision, SG_DOES_NOT_VIOLATE);
    assert_string_equal(verdict.stage, "screen");
    assert_contains(verdict.why, "is below");
    assert_contains(verdict.why, "at most 5 % of what violates is cleared, with confidence 95 %");
    assert_true(verdict.screen.scored);
    assert_float_equal(verdict.screen.margin, benign_margin, 0);
    assert_float_equal(verdict.screen.clear_below, (benign_margin + bad_margin) / 2, 1e-12);
    assert_string_equal(verdict.screen.screen_sha256, sg_guard_screen_sha256(guard));
    assert_string_equal(verdict.screen.certificate_sha256, sg_guard_certificate_sha256(guard));
    assert_true(verdict.screen.n_features > 0 && verdict.screen.n_features <= 5);
    sg_verdict_deinit(&verdict);
    assert_string_equal(outcome(guard, BAD_TEXT), "violates screen");
    assert_contains(why(guard, BAD_TEXT), "at most 5 % of what is flagged does not violate");
    assert_int_equal(atomic_load(&reasoner.calls), 0);
    /* A rule that asks for the reasoner goes before the screen, in both directions. */
    assert_string_equal(outcome(guard, BENIGN " investment"), "does_not_violate reasoner");
    assert_string_equal(outcome(guard, BAD_TEXT " investment"), "does_not_violate reasoner");
    /* The gate: the same words, hidden; the screen may not clear them. */
    assert_string_equal(outcome(guard, "shall we m\xE2\x80\x8B"
                                       "eet for lun\xE2\x80\x8B"
                                       "ch"),
                        "does_not_violate reasoner");
    assert_contains(why(guard, "shall we m\xE2\x80\x8B"
                               "eet for lun\xE2\x80\x8B"
                               "ch"),
                    "the evasion gate");
    sg_guard_close(guard);

    /* No certificate: the screen is seen and decides nothing. */
    options.certificate_path = NULL;
    guard = open_guard(&options);
    assert_string_equal(outcome(guard, BENIGN), "does_not_violate reasoner");
    assert_contains(why(guard, BENIGN), "there is no certificate");
    assert_int_equal(check(guard, BENIGN, &verdict), SG_OK);
    assert_true(verdict.screen.scored && isnan(verdict.screen.clear_below));
    sg_verdict_deinit(&verdict);
    sg_guard_close(guard);

    /* A certificate that certifies nothing. */
    char path[80];
    snprintf(path, sizeof path, "%s/nothing.json", folder);
    write_certificate(path, true, NAN, NAN, NAN);
    options.certificate_path = path;
    guard = open_guard(&options);
    assert_string_equal(outcome(guard, BENIGN), "does_not_violate reasoner");
    assert_contains(why(guard, BENIGN), "the certificate clears nothing");
    sg_guard_close(guard);
    unlink(path);
}

static void test_opening(void **state)
{
    (void)state;
    struct fake reasoner = FAKE("large", 0.1);
    struct sg_guard *guard;
    struct sg_error err = {0};
    bool escalate_all;
    struct sg_guard_options whole = {.rules_path = rules_path,
                                     .screen_path = screen_path,
                                     .certificate_path = certificate_path,
                                     .reasoners = {&reasoner.base},
                                     .n_reasoners = 1};
    struct sg_guard_options options = whole;

    /* The certificate is about the rules too. */
    options.rules_path = NULL;
    assert_int_equal(sg_guard_open(policy, &options, NULL, &guard, &err), SG_EINVALID);
    assert_null(guard);
    assert_contains(err.text, "rules");
    /* Another version of the policy. */
    struct sg_policy *other = parse_policy("# Spam\n\nAnswer 1 for spam, 0 for anything else. Really.\n");
    options = whole;
    assert_int_equal(sg_guard_open(other, &options, NULL, &guard, &err), SG_EINVALID);
    assert_contains(err.text, "trained for policy version");
    sg_policy_close(other);
    /* Rules of another policy. */
    char path[80];
    snprintf(path, sizeof path, "%s/other.yaml", folder);
    write_file(path, "policy: hate\nrules: []\n", 23);
    options = (struct sg_guard_options){.rules_path = path};
    assert_int_equal(sg_guard_open(policy, &options, NULL, &guard, &err), SG_EINVALID);
    assert_contains(err.text, "belong to policy hate");
    unlink(path);
    options = whole;
    options.category = "hate";
    assert_int_equal(sg_guard_open(policy, &options, NULL, &guard, &err), SG_EINVALID);
    assert_contains(err.text, "no category hate, expected one of any");
    /* A damaged screen is refused, or everything escalates and every verdict says so. */
    options = whole;
    options.screen_path = damaged_path;
    assert_true(sg_guard_open(policy, &options, NULL, &guard, &err) != SG_OK);
    assert_int_equal(sg_guard_open(policy, &options, &escalate_all, &guard, &err), SG_OK);
    assert_true(escalate_all);
    assert_string_equal(outcome(guard, BENIGN), "does_not_violate reasoner");
    assert_contains(why(guard, BENIGN), "the screen's file is damaged");
    assert_string_equal(outcome(guard, "buy followers"), "violates rules");
    sg_guard_close(guard);
    assert_int_equal(sg_guard_open(policy, &whole, &escalate_all, &guard, &err), SG_OK);
    assert_false(escalate_all);
    sg_guard_close(guard);

    static const struct {
        struct sg_guard_options options;
        const char *expected;
    } wrong[] = {
        {{.mode = SG_GUARD_REASONER_ONLY}, "reasoner-only needs a reasoner"},
        {{.mode = SG_GUARD_SHADOW}, "shadow needs a reasoner"},
        {{.n_reasoners = SG_GUARD_MAX_REASONERS + 1}, "the maximum is"},
        {{.audit_share = 1.5}, "audit share 1.5"},
        {{.severity = -1}, "severity"},
        {{.certificate_path = "c.json"}, "needs the screen"},
        {{.max_wait_ms = NAN}, "longest wait"},
    };
    for (size_t i = 0; i < COUNT(wrong); i++) {
        assert_int_equal(sg_guard_open(policy, &wrong[i].options, NULL, &guard, &err), SG_EINVALID);
        assert_contains(err.text, wrong[i].expected);
    }
    options = (struct sg_guard_options){.screen_path = "/no/such/screen"};
    assert_int_equal(sg_guard_open(policy, &options, &escalate_all, &guard, &err), SG_ENOTFOUND);
    assert_false(escalate_all);
}

static void test_modes(void **state)
{
    (void)state;
    struct fake reasoner = FAKE("large", 0.1);
    struct sg_guard_options options = {.rules_path = rules_path,
                                       .screen_path = screen_path,
                                       .certificate_path = certificate_path,
                                       .reasoners = {&reasoner.base},
                                       .n_reasoners = 1};
    struct sg_verdict verdict;

    options.mode = SG_GUARD_REASONER_ONLY;
    struct sg_guard *guard = open_guard(&options);
    assert_string_equal(outcome(guard, BENIGN " BAD"), "violates reasoner");
    assert_string_equal(outcome(guard, "buy followers"), "does_not_violate reasoner");
    assert_int_equal(check(guard, BAD_TEXT, &verdict), SG_OK);
    assert_false(verdict.screen.scored);
    assert_null(verdict.why);
    sg_verdict_deinit(&verdict);
    sg_guard_close(guard);

    options.mode = SG_GUARD_SHADOW;
    guard = open_guard(&options);
    assert_int_equal(check(guard, BENIGN, &verdict), SG_OK);
    assert_string_equal(verdict.stage, "reasoner");
    assert_true(verdict.screen.scored);
    assert_contains(verdict.why, "shadow: the screen would have cleared it");
    sg_verdict_deinit(&verdict);
    assert_string_equal(outcome(guard, "buy followers"), "does_not_violate reasoner");
    assert_contains(why(guard, "buy followers"), "shadow: the rules would have flagged it");
    sg_guard_close(guard);

    options.mode = SG_GUARD_SCREEN_ONLY;
    int calls = atomic_load(&reasoner.calls);
    guard = open_guard(&options);
    assert_string_equal(outcome(guard, BENIGN), "does_not_violate screen");
    assert_string_equal(outcome(guard, "buy followers"), "violates rules");
    assert_int_equal(check(guard, "an investment", &verdict), SG_OK);
    assert_int_equal(verdict.decision, SG_UNDECIDED);
    assert_string_equal(verdict.reason, "escalated");
    assert_true(verdict.provisional);
    assert_null(verdict.stage);
    sg_verdict_deinit(&verdict);
    assert_int_equal(atomic_load(&reasoner.calls), calls);
    sg_guard_close(guard);

    options.mode = SG_GUARD_CASCADE;
    options.n_reasoners = 0;
    guard = open_guard(&options);
    assert_string_equal(outcome(guard, "an investment"), "undecided - provisional");
    sg_guard_close(guard);
}

static void test_cache(void **state)
{
    (void)state;
    struct fake reasoner = FAKE("large", 0.1);
    struct sg_guard *guard = open_guard(
        &(struct sg_guard_options){.reasoners = {&reasoner.base}, .n_reasoners = 1, .cache_bytes = 1 << 20});
    struct sg_verdict verdict;
    struct sg_error err;
    assert_string_equal(outcome(guard, "BAD thing"), "violates reasoner");
    assert_int_equal(check(guard, "BAD thing", &verdict), SG_OK);
    assert_int_equal(verdict.decision, SG_VIOLATES);
    assert_string_equal(verdict.stage, "cache");
    assert_string_equal(verdict.model_name, "large");
    assert_int_equal(verdict.n_prompt_tokens, -1); /* nobody read any */
    sg_verdict_deinit(&verdict);
    assert_int_equal(atomic_load(&reasoner.calls), 1);
    /* Other options, other key. */
    struct sg_content *content = content_of("BAD thing");
    sg_verdict_init(&verdict);
    assert_int_equal(sg_guard_check(guard, content, &(struct sg_check_options){.top_p = 1, .effort = "high"}, NULL,
                                    NULL, &verdict, &err),
                     SG_OK);
    assert_string_equal(verdict.stage, "reasoner");
    sg_verdict_deinit(&verdict);
    sg_content_destroy(content);
    /* What was not decided is asked again. */
    assert_string_equal(outcome(guard, "UNSURE"), "undecided reasoner");
    assert_string_equal(outcome(guard, "UNSURE"), "undecided reasoner");
    for (int i = 0; i < 2; i++) {
        assert_int_equal(check(guard, "AWAY", &verdict), SG_EUNAVAILABLE);
        sg_verdict_deinit(&verdict);
    }
    struct sg_guard_counts counts;
    sg_guard_counts(guard, &counts);
    assert_true(counts.by_cache == 1 && counts.unavailable == 2 && counts.reasoner_calls == 6);
    sg_guard_close(guard);
}

static void test_failures(void **state)
{
    (void)state;
    struct fake reasoner = FAKE("large", 0.1);
    struct sg_guard *guard = open_guard(
        &(struct sg_guard_options){.rules_path = rules_path, .reasoners = {&reasoner.base}, .n_reasoners = 1});
    struct sg_verdict verdict;
    assert_int_equal(check(guard, "AWAY with an investment", &verdict), SG_EUNAVAILABLE);
    assert_int_equal(verdict.decision, SG_UNDECIDED);
    assert_contains(verdict.reason, "unavailable");
    assert_null(verdict.stage);
    assert_non_null(verdict.content_sha256);
    assert_int_equal(verdict.n_rule_matches, 1); /* filled as far as known */
    sg_verdict_deinit(&verdict);
    assert_int_equal(check(guard, "BROKEN", &verdict), SG_EINTERNAL);
    assert_int_equal(verdict.decision, SG_UNDECIDED);
    assert_non_null(verdict.reason);
    sg_verdict_deinit(&verdict);
    sg_guard_close(guard);
}

/* A reasoner in front of the last one: it may decide where the certificate knows it, and only there. */
static void test_chain(void **state)
{
    (void)state;
    struct fake small = FAKE("small", 0.1), large = FAKE("large", 0.1);
    struct sg_guard_options options = {.rules_path = rules_path,
                                       .screen_path = screen_path,
                                       .certificate_path = certificate_path,
                                       .reasoners = {&small.base, &large.base},
                                       .n_reasoners = 2};
    char path[80];
    snprintf(path, sizeof path, "%s/chain.json", folder);
    options.certificate_path = path;
    write_certificate(path, true, benign_margin - 1, NAN, 0.2); /* the screen leaves both sentences open */
    struct sg_guard *guard = open_guard(&options);
    struct sg_verdict verdict;
    assert_int_equal(check(guard, BENIGN, &verdict), SG_OK);
    assert_string_equal(verdict.model_name, "small");
    assert_int_equal(verdict.decision, SG_DOES_NOT_VIOLATE);
    assert_contains(verdict.why, "p_violation 0.1000 is below 0.2000: at most 5 % of what violates is cleared");
    sg_verdict_deinit(&verdict);
    assert_int_equal(check(guard, BENIGN " BAD", &verdict), SG_OK);
    assert_string_equal(verdict.model_name, "small");
    assert_int_equal(verdict.decision, SG_VIOLATES);
    sg_verdict_deinit(&verdict);
    assert_int_equal(atomic_load(&large.calls), 0);
    /* Between its thresholds, by rule, by the gate, undecided, unavailable: the last one decides. */
    static const char *const passed_on[] = {BENIGN " investment",
                                            "shall we m\xE2\x80\x8B"
                                            "eet for lun\xE2\x80\x8B"
                                            "ch",
                                            "UNSURE"};
    for (size_t i = 0; i < COUNT(passed_on); i++) {
        assert_int_equal(check(guard, passed_on[i], &verdict), SG_OK);
        assert_string_equal(verdict.model_name, "large");
        sg_verdict_deinit(&verdict);
    }
    small.p = 0.5;
    assert_int_equal(check(guard, BENIGN, &verdict), SG_OK);
    assert_string_equal(verdict.model_name, "large");
    sg_verdict_deinit(&verdict);
    struct sg_guard_counts counts;
    sg_guard_counts(guard, &counts);
    assert_true(counts.cleared == 1 && counts.flagged == 1 && counts.escalated == 4);
    assert_int_equal(counts.reasoner_calls, 6 + 4);
    sg_guard_close(guard);

    /* What it would clear is drawn for the audit like what the screen clears; what it flags is not. */
    small.p = 0.1;
    options.audit_share = 1;
    guard = open_guard(&options);
    assert_int_equal(check(guard, BENIGN, &verdict), SG_OK);
    assert_string_equal(verdict.model_name, "large");
    assert_true(verdict.audited);
    assert_contains(verdict.why, "reasoner small would have cleared it and it was drawn for the audit");
    sg_verdict_deinit(&verdict);
    assert_string_equal(outcome(guard, BENIGN " BAD"), "violates reasoner");
    sg_guard_close(guard);
    options.audit_share = 0;

    /* Not known to the certificate: it clears nothing however sure it is. */
    write_certificate(path, true, benign_margin - 1, NAN, NAN);
    small.p = 0.0001;
    guard = open_guard(&options);
    assert_int_equal(check(guard, BENIGN, &verdict), SG_OK);
    assert_string_equal(verdict.model_name, "large");
    sg_verdict_deinit(&verdict);
    sg_guard_close(guard);
    unlink(path);
}

static void test_away_then_last(void **state)
{
    (void)state;
    struct fake away = FAKE("AWAY", 0.1), large = FAKE("large", 0.1);
    /* The first one fails for every content: a class of its own. */
    struct sg_guard *guard =
        open_guard(&(struct sg_guard_options){.reasoners = {&away.base, &large.base}, .n_reasoners = 2});
    struct sg_verdict verdict;
    assert_int_equal(check(guard, "AWAY", &verdict), SG_EUNAVAILABLE); /* both */
    sg_verdict_deinit(&verdict);
    assert_int_equal(atomic_load(&away.calls), 1);
    assert_int_equal(atomic_load(&large.calls), 1);
    sg_guard_close(guard);
}

static void test_audit(void **state)
{
    (void)state;
    struct fake reasoner = FAKE("large", 0.1);
    struct sg_guard_options options = {.rules_path = rules_path,
                                       .screen_path = screen_path,
                                       .certificate_path = certificate_path,
                                       .reasoners = {&reasoner.base},
                                       .n_reasoners = 1,
                                       .audit_share = 1};
    struct sg_guard *guard = open_guard(&options);
    struct sg_verdict verdict;
    assert_string_equal(outcome(guard, "thanks a lot"), "does_not_violate reasoner audited");
    assert_string_equal(outcome(guard, "buy followers"), "violates rules"); /* what is flagged is not audited */
    assert_string_equal(outcome(guard, "an investment"), "does_not_violate reasoner");
    assert_int_equal(check(guard, BENIGN, &verdict), SG_OK);
    assert_true(verdict.audited);
    assert_float_equal(verdict.p_audited, 1, 0);
    assert_contains(verdict.why, "the screen would have cleared it and it was drawn for the audit");
    sg_verdict_deinit(&verdict);
    sg_guard_close(guard);

    /* A share of 0.3 of 1,000 contents: 300 ± 5 standard deviations; the same ones every time, others by another
     * seed. */
    options.audit_share = 0.3;
    size_t n_drawn[2] = {0, 0}, n_both = 0;
    for (int round = 0; round < 3; round++) {
        static bool drawn[1000];
        options.seed = round == 2 ? 8 : 7;
        guard = open_guard(&options);
        for (int i = 0; i < 1000; i++) {
            char text[128];
            snprintf(text, sizeof text, BENIGN " %d", i + 1);
            assert_int_equal(check(guard, text, &verdict), SG_OK);
            if (round == 0)
                drawn[i] = verdict.audited;
            if (round == 1)
                assert_int_equal(drawn[i], verdict.audited);
            n_drawn[round == 2] += round != 1 && verdict.audited;
            n_both += round == 2 && drawn[i] && verdict.audited;
            sg_verdict_deinit(&verdict);
        }
        struct sg_guard_counts counts;
        sg_guard_counts(guard, &counts);
        assert_int_equal(counts.cleared + counts.audited, 1000);
        sg_guard_close(guard);
    }
    for (int i = 0; i < 2; i++)
        assert_in_range(n_drawn[i], 300 - 73, 300 + 73);
    assert_in_range(n_both, 90 - 46, 90 + 46); /* independent: 0.09 of them */
}

/* --- budget ------------------------------------------------------------------------------------------------------
 */

static void test_budget(void **state)
{
    (void)state;
    struct fake reasoner = FAKE("large", 0.1);
    struct sg_guard_options options = {.screen_path = screen_path,
                                       .reasoners = {&reasoner.base},
                                       .n_reasoners = 1,
                                       .calls_per_second = 0.01,
                                       .max_wait_ms = 20};
    struct sg_guard *guard = open_guard(&options);
    struct sg_verdict verdict;
    assert_string_equal(outcome(guard, BENIGN), "does_not_violate reasoner");
    /* The budget is spent: undecided for now, never safe. */
    assert_int_equal(check(guard, BENIGN, &verdict), SG_OK);
    assert_int_equal(verdict.decision, SG_UNDECIDED);
    assert_string_equal(verdict.reason, "escalated, waiting for the reasoner");
    assert_true(verdict.provisional);
    assert_null(verdict.stage);
    assert_contains(verdict.why, "budget");
    assert_string_equal(verdict.p_source, "screen"); /* a cheaper stage's view */
    assert_true(verdict.p_violation < 0.5);
    sg_verdict_deinit(&verdict);
    struct sg_guard_counts counts;
    sg_guard_counts(guard, &counts);
    assert_true(counts.waiting == 1 && counts.escalated == 2 && counts.reasoner_calls == 1);
    sg_guard_close(guard);

    /* The deadline of the check bounds the wait and reaches the reasoner. */
    options.max_wait_ms = 0;
    options.calls_per_second = 0;
    guard = open_guard(&options);
    struct sg_content *content = content_of(BENIGN);
    struct sg_error err;
    sg_verdict_init(&verdict);
    assert_int_equal(sg_guard_check(guard, content, &(struct sg_check_options){.top_p = 1, .deadline_ms = 60000},
                                    NULL, NULL, &verdict, &err),
                     SG_OK);
    assert_true(reasoner.deadline_ms > 30000 && reasoner.deadline_ms <= 60000);
    sg_verdict_deinit(&verdict);
    sg_content_destroy(content);
    sg_guard_cancel(guard);
    assert_int_equal(check(guard, BENIGN, &verdict), SG_OK);
    assert_string_equal(verdict.reason, "cancelled");
    assert_false(verdict.provisional);
    sg_verdict_deinit(&verdict);
    sg_guard_close(guard);
}

/* --- conversations ------------------------------------------------------------------------------------------------
 */

#define TALK(first, last)                                                                                            \
    "{\"messages\":[{\"role\":\"user\",\"content\":\"" first "\"},{\"role\":\"assistant\",\"content\":\"" last "\"}" \
    "]}"

static void test_conversation(void **state)
{
    (void)state;
    struct fake reasoner = FAKE("large", 0.1);
    struct sg_guard *guard = open_guard(
        &(struct sg_guard_options){.rules_path = rules_path, .reasoners = {&reasoner.base}, .n_reasoners = 1});
    struct sg_verdict verdict;
    /* JSON's escapes are no part of what people wrote: a line break stands between the words. */
    assert_int_equal(check(guard, TALK("hi", "so:\\nbuy\\nfollowers"), &verdict), SG_OK);
    assert_string_equal(verdict.stage, "rules");
    assert_int_equal(verdict.rule_matches[0].first_byte, 7); /* "hi\nso:\n" goes before it */
    sg_verdict_deinit(&verdict);
    /* In the context it says nothing of the message that is judged, but nothing is cleared beside it. */
    assert_string_equal(outcome(guard, TALK("buy followers", "thanks a lot")), "does_not_violate reasoner");
    assert_contains(why(guard, TALK("buy followers", "no")), "rule \"followers\" asks for the reasoner");
    assert_string_equal(outcome(guard, TALK("hello", "thanks a lot")), "does_not_violate reasoner");
    assert_string_equal(outcome(guard, "{\"messages\":[{\"role\":\"user\",\"content\":\"thanks a lot\"}]}"),
                        "does_not_violate rules");
    sg_guard_close(guard);
}

static void test_clearing(void **state)
{
    (void)state;
    struct sg_guard *guard =
        open_guard(&(struct sg_guard_options){.rules_path = rules_path, .screen_path = screen_path});
    double score;
    assert_int_equal(clearing(guard, BENIGN, &score), SG_CLEARING_BY_SCORE);
    assert_float_equal(score, benign_margin, 0);
    assert_int_equal(clearing(guard, "buy followers", &score), SG_CLEARING_FLAGGED);
    assert_int_equal(clearing(guard, "thanks a lot", &score), SG_CLEARING_ALWAYS);
    assert_int_equal(clearing(guard, "an investment", &score), SG_CLEARING_NEVER);
    assert_int_equal(clearing(guard,
                              "shall we m\xE2\x80\x8B"
                              "eet for lun\xE2\x80\x8B"
                              "ch",
                              &score),
                     SG_CLEARING_NEVER);
    sg_guard_close(guard);
    guard = open_guard(&(struct sg_guard_options){0});
    assert_int_equal(clearing(guard, BENIGN, &score), SG_CLEARING_NEVER);
    assert_true(isinf(score) && score > 0);
    sg_guard_close(guard);
}

/* --- forecast -----------------------------------------------------------------------------------------------------
 */

static void test_forecast(void **state)
{
    (void)state;
    struct sg_guard_options options = {.rules_path = rules_path,
                                       .screen_path = screen_path,
                                       .certificate_path = certificate_path,
                                       .audit_share = 0.1};
    struct sg_guard *guard = open_guard(&options);
    struct sg_forecaster *forecaster;
    struct sg_forecast forecast;
    struct sg_error err;
    assert_int_equal(sg_forecaster_create(guard, &forecaster, &err), SG_OK);
    static const struct {
        const char *text;
        int times;
        bool escalates;
    } traffic[] = {{BENIGN, 6, false},
                   {BAD_TEXT, 1, false},
                   {"buy followers", 1, false},
                   {"thanks a lot", 2, false},
                   {"an investment", 9, true},
                   {"shall we m\xE2\x80\x8B"
                    "eet for lun\xE2\x80\x8B"
                    "ch",
                    1, true}};
    for (size_t i = 0; i < COUNT(traffic); i++) {
        for (int t = 0; t < traffic[i].times; t++) {
            struct sg_content *content = content_of(traffic[i].text);
            bool needs;
            assert_int_equal(sg_forecaster_add(forecaster, content, &needs, &err), SG_OK);
            assert_int_equal(needs, traffic[i].escalates);
            sg_content_destroy(content);
        }
    }
    sg_forecaster_result(forecaster, &forecast);
    assert_true(forecast.n == 20 && forecast.cleared.n == 6 && forecast.flagged.n == 1);
    assert_true(forecast.by_rules_flagged.n == 1 && forecast.by_rules_cleared.n == 2 && forecast.escalated.n == 10);
    assert_true(forecast.escalated_by_rules.n == 9 && forecast.escalated_by_gate.n == 1);
    assert_int_equal(forecast.repeated.n, 8);
    /* scipy.stats.beta.ppf([0.025, 0.975], [10, 11], [11, 10]) */
    assert_float_equal(forecast.escalated.low, 0.2719578496, 1e-8);
    assert_float_equal(forecast.escalated.high, 0.7280421504, 1e-8);
    assert_true(fabs(forecast.calls_per_item - (0.5 + 0.1 * 8 / 20)) < 1e-12);
    assert_true(forecast.calls_low < forecast.calls_per_item && forecast.calls_per_item < forecast.calls_high);
    sg_forecaster_destroy(forecaster);
    sg_guard_close(guard);
}

/* --- threads ------------------------------------------------------------------------------------------------------
 */

struct crowd {
    struct sg_guard *guard;
    atomic_int n, wrong;
};

static void *visit(void *context)
{
    struct crowd *crowd = context;
    static const struct {
        const char *text;
        enum sg_decision decision;
    } traffic[] = {{BENIGN, SG_DOES_NOT_VIOLATE},
                   {"buy followers", SG_VIOLATES},
                   {"an investment", SG_DOES_NOT_VIOLATE},
                   {"an investment BAD", SG_VIOLATES}};
    const struct sg_check_options options = {.top_p = 1};
    for (int i = 0; i < 400; i++) {
        const char *base = traffic[i % 4].text;
        char text[128];
        snprintf(text, sizeof text, "%s%.*s", base, i % 40 / 4, "..........");
        struct sg_content *content;
        struct sg_verdict verdict;
        struct sg_error err;
        sg_verdict_init(&verdict);
        enum sg_status status = sg_content_from_text(text, strlen(text), &content, &err);
        if (status == SG_OK)
            status = sg_guard_check(crowd->guard, content, &options, NULL, NULL, &verdict, &err);
        atomic_fetch_add(&crowd->wrong, status != SG_OK || verdict.decision != traffic[i % 4].decision);
        atomic_fetch_add(&crowd->n, 1);
        sg_verdict_deinit(&verdict);
        sg_content_destroy(content);
    }
    return NULL;
}

static void test_threads(void **state)
{
    (void)state;
    struct fake reasoner = FAKE("large", 0.1);
    reasoner.in_flight = 2;
    struct sg_guard_options options = {.rules_path = rules_path,
                                       .screen_path = screen_path,
                                       .certificate_path = certificate_path,
                                       .reasoners = {&reasoner.base},
                                       .n_reasoners = 1,
                                       .cache_bytes = 20000};
    struct crowd crowd = {.guard = open_guard(&options)};
    pthread_t threads[8];
    for (int i = 0; i < 8; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, visit, &crowd), 0);
    for (int i = 0; i < 8; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(atomic_load(&crowd.n), 3200);
    assert_int_equal(atomic_load(&crowd.wrong), 0);
    assert_true(atomic_load(&reasoner.highest) <= 2);
    struct sg_guard_counts counts;
    sg_guard_counts(crowd.guard, &counts);
    assert_int_equal(counts.checks, 3200);
    assert_int_equal(counts.by_rules + counts.by_cache + counts.cleared + counts.flagged + counts.escalated, 3200);
    assert_int_equal(counts.by_rules, 800);
    sg_guard_close(crowd.guard);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_reasoner_alone), cmocka_unit_test(test_rules),    cmocka_unit_test(test_screen),
        cmocka_unit_test(test_opening),        cmocka_unit_test(test_modes),    cmocka_unit_test(test_cache),
        cmocka_unit_test(test_failures),       cmocka_unit_test(test_chain),    cmocka_unit_test(test_away_then_last),
        cmocka_unit_test(test_audit),          cmocka_unit_test(test_budget),   cmocka_unit_test(test_conversation),
        cmocka_unit_test(test_clearing),       cmocka_unit_test(test_forecast), cmocka_unit_test(test_threads),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
