/* Learning from a reasoner: which rows it is asked, what the label file then says, and going on. The reasoner repeats
 * a file, so every answer is known. */
#include "base/file.h"
#include "guard/learn.h"

#include <jansson.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#define N_ROWS 400

static struct sg_policy *policy;
static struct sg_learn_row rows[N_ROWS];
static char truth[N_ROWS], folder[] = "/tmp/sg-learn-XXXXXX";
static char answers_path[64], labels_path[64];

/* One row in eight violates and says "casino" among words that make no difference. */
static void make_text(int i, char *text, size_t size)
{
    static const char *const words[] = {"river",  "garden", "letter", "window",
                                        "cousin", "market", "engine", "winter"};
    truth[i] = i % 8 == 3;
    snprintf(text, size, "%s %s %d %s %s%s", words[i % 7], words[(i * 5 + i / 9) % 8], i * 7919,
             words[(i * 3 + i / 7) % 8], words[(i + i / 8) % 8], truth[i] ? " casino bonus" : "");
}

static int start(void **state)
{
    (void)state;
    static const char text[] = "# Gambling\n\nAnswer 1 for gambling, else 0.\n";
    assert_non_null(mkdtemp(folder));
    snprintf(answers_path, sizeof answers_path, "%s/answers.jsonl", folder);
    snprintf(labels_path, sizeof labels_path, "%s/labels.jsonl", folder);
    assert_true(sg_policy_parse("gambling.md", text, sizeof text - 1, &policy, NULL) == SG_OK);
    struct sg_buffer answers = {0};
    for (int i = 0; i < N_ROWS; i++) {
        char line[200];
        struct sg_content *content;
        make_text(i, line, sizeof line);
        assert_true(sg_content_from_text(line, strlen(line), &content, NULL) == SG_OK);
        rows[i] = (struct sg_learn_row){NULL, content};
        if (i % 50 != 49) /* what the file does not know is undecided */
            sg_buffer_printf(&answers, "{\"text\":\"%s\",\"labels\":{\"gambling\":%d}}\n", line, truth[i]);
    }
    assert_true(sg_file_write_atomic(answers_path, answers.data, answers.len, NULL) == SG_OK);
    sg_buffer_free(&answers);
    return 0;
}

static int end(void **state)
{
    (void)state;
    for (int i = 0; i < N_ROWS; i++)
        sg_content_destroy((struct sg_content *)rows[i].content);
    sg_policy_close(policy);
    unlink(answers_path);
    unlink(labels_path);
    rmdir(folder);
    return 0;
}

static int no_labels(void **state)
{
    (void)state;
    unlink(labels_path);
    return 0;
}

struct run {
    struct sg_learn_report last; /* of the final round */
    int n_rounds;
    size_t stop_after; /* answers after which it is interrupted; 0: never */
    volatile sig_atomic_t stop;
    enum sg_status status;
};

static void on_answer(void *context, const struct sg_learn_report *report)
{
    struct run *run = context;
    run->stop = run->stop_after && report->n_asked >= run->stop_after;
}

static void on_round(void *context, const struct sg_learn_report *report)
{
    struct run *run = context;
    run->n_rounds++;
    run->last = *report;
}

static void learn(size_t budget, double floor, struct run *run)
{
    struct sg_check_options check = {.top_p = 1};
    struct sg_learn_options options = {
        .policy = policy,
        .check = &check,
        .labels_path = labels_path,
        .budget = budget,
        .first = 40,
        .batch = 20,
        .audit = 0.1,
        .floor = floor,
        .c = 10,
        .threads = 1,
        .seed = 1,
        .interrupted = &run->stop,
        .on_answer = on_answer,
        .on_round = on_round,
        .context = run,
    };
    struct sg_learn *learn;
    struct sg_screen *screen = NULL;
    assert_true(sg_reasoner_replay(answers_path, NULL, &options.reasoner, NULL) == SG_OK);
    assert_true(sg_learn_create(&options, rows, N_ROWS, &learn, NULL) == SG_OK);
    run->status = sg_learn_run(learn, &screen, NULL);
    assert_true((run->status == SG_OK) == (screen != NULL));
    sg_screen_close(screen);
    sg_learn_destroy(learn);
    sg_reasoner_destroy(options.reasoner);
}

static json_t *read_lines(void)
{
    struct sg_buffer text = {0};
    json_t *lines = json_array();
    assert_true(sg_file_read(labels_path, 1 << 24, &text, NULL) == SG_OK);
    for (char *line = strtok(text.data, "\n"); line; line = strtok(NULL, "\n"))
        json_array_append_new(lines, json_loads(line, 0, NULL));
    sg_buffer_free(&text);
    return lines;
}

static void asks_what_the_budget_allows(void **state)
{
    (void)state;
    struct run run = {0};
    learn(150, 0.1, &run);
    assert_true(run.status == SG_OK);
    assert_true(run.last.final && run.last.n_asked == 150 && run.last.n_kept == 0);
    assert_int_equal(run.last.n_violating + run.last.n_harmless + run.last.n_undecided, 150);
    json_t *lines = read_lines();
    assert_int_equal(json_array_size(lines), 150);
    size_t n_audit = 0, n_uniform = 0;
    const char *seen[150];
    for (size_t i = 0; i < 150; i++) {
        json_t *line = json_array_get(lines, i);
        const char *drawn = json_string_value(json_object_get(line, "drawn"));
        double p = json_number_value(json_object_get(line, "p_drawn"));
        n_audit += strcmp(drawn, "audit") == 0;
        n_uniform += strcmp(drawn, "uniform") == 0;
        assert_true(p > 0 && p <= 1);
        assert_string_equal(json_string_value(json_object_get(line, "role")), "reasoner");
        assert_string_equal(json_string_value(json_object_get(line, "who")), "reasoner:replay");
        seen[i] = json_string_value(json_object_get(line, "content_sha256"));
        for (size_t k = 0; k < i; k++)
            assert_string_not_equal(seen[i], seen[k]);
    }
    assert_int_equal(n_audit, 15);
    assert_int_equal(n_uniform, 40);
    json_decref(lines);
}

/* Uncertainty finds more of what is rare than chance does. */
static void finds_more_than_chance(void **state)
{
    (void)state;
    struct run by_chance = {0}, by_uncertainty = {0};
    learn(150, 1, &by_chance);
    unlink(labels_path);
    learn(150, 0.1, &by_uncertainty);
    assert_true(by_uncertainty.last.n_violating > by_chance.last.n_violating + 5);
}

/* Weighted by 1/p the first round's rows stand for the whole corpus without what was set aside, and those of all
 * rounds for its share of violating rows, however the earlier answers steered them (one fixed seed; frequencies over
 * many draws: test_draw.c). */
static void weights_stand_for_the_corpus(void **state)
{
    (void)state;
    struct run run = {0};
    learn(200, 0.2, &run);
    json_t *lines = read_lines();
    size_t n = json_array_size(lines);
    double first = 0;
    for (size_t i = 0; i < n; i++) {
        json_t *line = json_array_get(lines, i);
        if (strcmp(json_string_value(json_object_get(line, "drawn")), "uniform") == 0)
            first += 1 / json_number_value(json_object_get(line, "p_drawn"));
    }
    json_decref(lines);
    assert_true(first > 0.8 * N_ROWS && first <= N_ROWS); /* exact up to the rows set aside */
    assert_true(fabs(run.last.violating_share - 1.0 / 8) < 0.06);
}

static void an_interrupted_run_goes_on(void **state)
{
    (void)state;
    struct run cut = {.stop_after = 70}, rest = {0}, whole = {0};
    learn(150, 0.1, &cut);
    assert_true(cut.status == SG_ECANCELLED);
    json_t *before = read_lines();
    size_t n = json_array_size(before);
    json_decref(before);
    assert_true(n >= 69 && n < 150);
    learn(150, 0.1, &rest);
    assert_true(rest.status == SG_OK && rest.last.n_asked == 150 && rest.last.n_kept == n);
    json_t *lines = read_lines();
    assert_int_equal(json_array_size(lines), 150);
    /* the same rows with the same probabilities as a run that nobody interrupted */
    double sum = 0, again = 0;
    for (size_t i = 0; i < 150; i++)
        sum += 1 / json_number_value(json_object_get(json_array_get(lines, i), "p_drawn"));
    json_decref(lines);
    unlink(labels_path);
    learn(150, 0.1, &whole);
    lines = read_lines();
    for (size_t i = 0; i < 150; i++)
        again += 1 / json_number_value(json_object_get(json_array_get(lines, i), "p_drawn"));
    json_decref(lines);
    assert_true(fabs(sum - again) < 1e-6 * sum);
    assert_int_equal(whole.last.n_violating, rest.last.n_violating);
}

static void nothing_is_asked_twice(void **state)
{
    (void)state;
    struct run first = {0}, second = {0};
    learn(100, 0.1, &first);
    learn(100, 0.1, &second);
    assert_true(second.status == SG_OK && second.last.n_kept == 100);
    json_t *lines = read_lines();
    assert_int_equal(json_array_size(lines), 100);
    json_decref(lines);
}

static void options_are_checked(void **state)
{
    (void)state;
    struct sg_check_options check = {.top_p = 1};
    struct sg_learn_options good = {.policy = policy,
                                    .check = &check,
                                    .labels_path = labels_path,
                                    .budget = 10,
                                    .first = 5,
                                    .batch = 5,
                                    .floor = 0.1};
    struct sg_learn_options bad = good;
    struct sg_learn *learn;
    struct sg_error err;
    bad.budget = 0;
    assert_true(sg_learn_create(&bad, rows, N_ROWS, &learn, &err) == SG_EINVALID && !learn);
    bad = good;
    bad.audit = 0.6;
    assert_true(sg_learn_create(&bad, rows, N_ROWS, &learn, &err) == SG_EINVALID);
    bad = good;
    bad.floor = 0;
    assert_true(sg_learn_create(&bad, rows, N_ROWS, &learn, &err) == SG_EINVALID);
    assert_true(sg_learn_create(&good, rows, SG_LEARN_MAX_ROWS + 1, &learn, &err) == SG_ELIMIT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(asks_what_the_budget_allows, no_labels),
        cmocka_unit_test_setup(finds_more_than_chance, no_labels),
        cmocka_unit_test_setup(weights_stand_for_the_corpus, no_labels),
        cmocka_unit_test_setup(an_interrupted_run_goes_on, no_labels),
        cmocka_unit_test_setup(nothing_is_asked_twice, no_labels),
        cmocka_unit_test_setup(options_are_checked, no_labels),
    };
    return cmocka_run_group_tests(tests, start, end);
}
