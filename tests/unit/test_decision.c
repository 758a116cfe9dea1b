/* p_violation and label_mass against a plain computation of every permitted answer's probability. */
#include "reasoner_helpers.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

static struct sg_model *model;
static struct sg_reasoner *reasoner;

static int open_all(void **unused)
{
    (void)unused;
    model = open_tiny();
    if (model)
        reasoner = create_reasoner(model, 4096);
    return 0;
}

static int close_all(void **unused)
{
    (void)unused;
    sg_reasoner_destroy(reasoner);
    sg_model_close(model);
    return 0;
}

#define LABELS                                                                                                       \
    "---\nlabels:\n  VALID: safe\n  INVALID: violates\n  INVALID + ESCALATE: {violation: yes, review: yes}\n---\n"   \
    "Return exactly one label: VALID, INVALID or INVALID + ESCALATE.\n"
#define DIGIT "Return exactly one character: 0 or 1."
#define CATEGORY                                                                                                     \
    "Return only a JSON object: {\"violation\": 1, \"policy_category\": \"H2.f\"} or {\"violation\": 0, "            \
    "\"policy_category\": null}.\n\n- H2.f Insults."
#define FLAGS                                                                                                        \
    "---\ncategories: [first, second]\noutput: flags\n---\nReturn only a JSON object with one flag for each "        \
    "category: "                                                                                                     \
    "{\"first\": 0 or 1, \"second\": 0 or 1}"
#define THOUGHT "<|channel|>analysis<|message|>Hm.<|end|><|start|>assistant"

static const char *const contents[] = {"Buy now!", "You are a fool, and so is he.", "?", "naïve 東京 🙂"};
#define N_CONTENTS (sizeof contents / sizeof contents[0])

/* A policy and content, with the model's own words up to its answer. */
struct scene {
    struct sg_policy *policy;
    const char *content;
    struct sg_tokens script, before; /* `before`: prompt and script */
};

static struct scene open_scene(const char *policy, const char *script, const char *content)
{
    struct scene scene = {.policy = read_policy(policy), .content = content};
    append_text(model, script, &scene.script);
    scene.before = prompt_of(model, scene.policy, "medium", content);
    sg_tokens_append(&scene.before, scene.script.ids, scene.script.n);
    return scene;
}

static void close_scene(struct scene *scene)
{
    sg_policy_close(scene->policy);
    sg_tokens_free(&scene->script);
    sg_tokens_free(&scene->before);
}

/* Judge, and compare; `verdict` is for the caller to look at more and to free. */
static void check(const struct scene *scene, struct sg_verdict *verdict)
{
    double flags[64];
    enum sg_output_kind kind = sg_policy_output(scene->policy);
    bool labels = kind == SG_OUTPUT_LABELS || kind == SG_OUTPUT_BINARY;
    struct numbers expected = labels ? expect_label(model, scene->policy, &scene->before)
                                     : expect_json(model, scene->policy, &scene->before, flags);
    sg_reasoner_script(reasoner, scene->script.ids, scene->script.n);
    judge(reasoner, scene->policy, scene->content, &plain, NULL, NULL, verdict);
    sg_reasoner_script(reasoner, NULL, 0);
    assert_numbers(scene->content, verdict, &expected);
    assert_false(verdict->forced);
    if (labels) { /* what the cut of small branches costs is bounded, and only ever adds */
        assert_true(expected.label_mass >= expected.true_mass - 1e-12);
        assert_true(expected.label_mass <= expected.true_mass + 1e-4 * (double)expected.n_cut);
    }
    size_t n_keys;
    const struct sg_output_key *keys = sg_policy_keys(scene->policy, &n_keys);
    for (size_t i = 0; i < verdict->n_flags; i++) {
        size_t k = 0;
        while (strcmp(keys[k].name, verdict->flags[i].name) != 0)
            k++;
        assert_true(fabs(verdict->flags[i].p - flags[k]) <= 1e-6);
    }
}

/* The model knows nothing of the policy: whatever it is made to write, the verdict is undecided. */
static void test_ignorant_model(void **unused)
{
    (void)unused;
    if (!model)
        skip();
    static const char *const policies[] = {LABELS, DIGIT, CATEGORY, FLAGS};
    static const char *const scripts[] = {FINAL, THOUGHT FINAL, FINAL,
                                          THOUGHT "<|channel|>final <|constrain|>json<|message|>"};
    for (size_t c = 0; c < N_CONTENTS; c++)
        for (size_t p = 0; p < 4; p++) {
            struct scene scene = open_scene(policies[p], scripts[p], contents[c]);
            struct sg_verdict verdict;
            check(&scene, &verdict);
            assert_true(verdict.label_mass < SG_LABEL_MASS_MIN);
            assert_int_equal(verdict.decision, SG_UNDECIDED);
            assert_false(verdict.needs_review);
            assert_non_null(strstr(verdict.reason, "label mass"));
            sg_verdict_deinit(&verdict);
            close_scene(&scene);
        }
}

/* Teach the label `text`, whose first `n_known` tokens were taught already as part of another. */
static void teach_label(struct lessons *lessons, const struct scene *scene, const char *text, size_t n_known)
{
    static const double level = 6;
    struct sg_tokens sequence = {0}, ids = {0};
    sg_tokens_append(&sequence, scene->before.ids, scene->before.n);
    append_text(model, text, &ids);
    append_text(model, "<|end|>", &ids);
    for (size_t i = 0; i < ids.n; i++) {
        if (i >= n_known)
            teach(lessons, &sequence, &ids.ids[i], &level, 1);
        sg_tokens_push(&sequence, ids.ids[i]);
    }
    sg_tokens_free(&sequence);
    sg_tokens_free(&ids);
}

/* Three labels, of which one is the beginning of another, with shares of the model's mind. */
static void test_labels(void **unused)
{
    (void)unused;
    if (!model)
        skip();
    static const struct {
        double valid, invalid, end, escalate; /* levels of the first token, and of what follows INVALID */
        enum sg_decision decision;
        const char *output;
    } minds[] = {
        {6, 5, 3, 3, SG_DOES_NOT_VIOLATE, "VALID"},
        {3, 6, 6, 2, SG_VIOLATES, "INVALID"},
        {3, 6, 3, 6, SG_VIOLATES, "INVALID + ESCALATE"},
        {-9, 6, 6, 5.9, SG_VIOLATES, "INVALID"},
    };
    for (size_t m = 0; m < sizeof minds / sizeof minds[0]; m++) {
        struct scene scene = open_scene(LABELS, m % 2 ? FINAL : THOUGHT FINAL, contents[m]);
        struct lessons *lessons = start_lessons(model);
        struct sg_tokens invalid = {0}, behind = {0}, ids = {0};
        append_text(model, "VI<|end|>", &ids); /* the tokens with which the answers part */
        append_text(model, " ", &ids);
        assert_int_equal(ids.n, 4);
        teach(lessons, &scene.before, ids.ids, (double[]){minds[m].valid, minds[m].invalid}, 2);
        append_text(model, "INVALID", &invalid);
        sg_tokens_append(&behind, scene.before.ids, scene.before.n);
        sg_tokens_append(&behind, invalid.ids, invalid.n);
        teach(lessons, &behind, ids.ids + 2, (double[]){minds[m].end, minds[m].escalate}, 2);
        teach_label(lessons, &scene, "VALID", 1);
        for (size_t i = 1; i < invalid.n; i++) { /* INVALID but for its first token and its end */
            struct sg_tokens part = {0};
            sg_tokens_append(&part, behind.ids, scene.before.n + i);
            teach(lessons, &part, &invalid.ids[i], &(const double){6}, 1);
            sg_tokens_free(&part);
        }
        teach_label(lessons, &scene, "INVALID + ESCALATE", invalid.n + 1);

        struct sg_verdict verdict;
        check(&scene, &verdict);
        print_message("label mass %.3f, p_violation %.3f: %s\n", verdict.label_mass, verdict.p_violation,
                      verdict.output);
        assert_int_equal(verdict.decision, minds[m].decision);
        assert_string_equal(verdict.output, minds[m].output);
        assert_int_equal(verdict.needs_review, strstr(minds[m].output, "ESCALATE") != NULL);
        assert_true(verdict.label_mass > 0.5);
        assert_null(verdict.reason);
        sg_verdict_deinit(&verdict);
        end_lessons(lessons);
        sg_tokens_free(&invalid);
        sg_tokens_free(&behind);
        sg_tokens_free(&ids);
        close_scene(&scene);
    }
}

/* An answer whose tokens are all taught; where it first says 1, the model has a mind for 0 as well. */
static void check_json(const char *policy, const char *answer, double level_of_0, enum sg_decision decision)
{
    struct scene scene = open_scene(policy, THOUGHT FINAL, contents[0]);
    struct lessons *lessons = start_lessons(model);
    struct sg_tokens sequence = {0}, ids = {0}, zero = {0};
    sg_tokens_append(&sequence, scene.before.ids, scene.before.n);
    append_text(model, answer, &ids);
    append_text(model, "0", &zero);
    bool chosen = false;
    for (size_t i = 0; i < ids.n; i++) {
        struct sg_slice bytes = sg_token_bytes(model->tokenizer, ids.ids[i]);
        bool choice = !chosen && sg_slice_equal(bytes, sg_slice_of("1"));
        chosen = chosen || choice;
        teach(lessons, &sequence, (int32_t[]){ids.ids[i], zero.ids[0]}, (double[]){5, level_of_0}, choice ? 2 : 1);
        sg_tokens_push(&sequence, ids.ids[i]);
    }
    struct sg_verdict verdict;
    check(&scene, &verdict);
    print_message("label mass %.3f, p_violation %.3f: %s\n", verdict.label_mass, verdict.p_violation, verdict.output);
    assert_string_equal(verdict.output, answer);
    assert_int_equal(verdict.decision, decision);
    assert_true(verdict.label_mass > SG_LABEL_MASS_MIN);
    sg_verdict_deinit(&verdict);
    end_lessons(lessons);
    sg_tokens_free(&sequence);
    sg_tokens_free(&ids);
    sg_tokens_free(&zero);
    close_scene(&scene);
}

static void test_json(void **unused)
{
    (void)unused;
    if (!model)
        skip();
    check_json(CATEGORY, "{\"violation\": 1, \"policy_category\": \"H2.f\"}", 4, SG_VIOLATES);
    check_json(CATEGORY, "{\"violation\":1,\n \"policy_category\":null}", -3, SG_VIOLATES);
    check_json(CATEGORY, "```json\n{\"violation\": 0, \"policy_category\": null}\n```", 0, SG_DOES_NOT_VIOLATE);
    check_json(FLAGS, "{\"first\": 1, \"second\": 0}", 4.5, SG_VIOLATES);
    check_json(FLAGS, "{\"first\": 0, \"second\": 1}", 2, SG_VIOLATES);
    check_json(FLAGS, "{\"first\": 0, \"second\": 0}", 2, SG_DOES_NOT_VIOLATE);
}

/* With a temperature a label is drawn by its mass to the power of 1 / temperature. */
static void test_drawn_label(void **unused)
{
    (void)unused;
    enum { DRAWS = 240 };
    if (!model)
        skip();
    struct scene scene = open_scene(DIGIT, FINAL, contents[0]);
    struct numbers expected = expect_label(model, scene.policy, &scene.before);
    double p = pow(expected.p_violation, 1 / 3.0), q = pow(1 - expected.p_violation, 1 / 3.0);
    int n_violating = 0;
    sg_reasoner_script(reasoner, scene.script.ids, scene.script.n);
    for (int i = 0; i < DRAWS; i++) {
        struct sg_check_options options = {.top_p = 1, .temperature = 3, .seed = (uint64_t)i};
        struct sg_verdict verdict;
        judge(reasoner, scene.policy, scene.content, &options, NULL, NULL, &verdict);
        assert_true(strcmp(verdict.output, "0") == 0 || strcmp(verdict.output, "1") == 0);
        assert_true(fabs(verdict.p_violation - expected.p_violation) <
                    1e-6); /* what was drawn does not matter to it */
        n_violating += verdict.output[0] == '1';
        sg_verdict_deinit(&verdict);
    }
    sg_reasoner_script(reasoner, NULL, 0);
    double mean = DRAWS * p / (p + q), deviation = sqrt(mean * q / (p + q));
    if (fabs(n_violating - mean) > 5 * deviation + 1)
        fail_msg("%d of %d draws violate, expected %g", n_violating, DRAWS, mean);
    close_scene(&scene);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ignorant_model),
        cmocka_unit_test(test_labels),
        cmocka_unit_test(test_json),
        cmocka_unit_test(test_drawn_label),
    };
    return cmocka_run_group_tests(tests, open_all, close_all);
}
