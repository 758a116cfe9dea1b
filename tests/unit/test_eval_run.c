/* Questions of an evaluation, several at a time: every answer in its place, errors told apart, the journal whole. */
#include "eval/eval_run.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define N 200

static struct sg_eval_rows rows;
static char folder[] = "/tmp/sg_eval_run_XXXXXX";

static const char *in_folder(const char *name)
{
    static char path[128];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    return path;
}

static int setup(void **state)
{
    (void)state;
    if (!mkdtemp(folder))
        return -1;
    char path[128];
    snprintf(path, sizeof path, "%s", in_folder("rows.jsonl"));
    FILE *file = fopen(path, "w");
    for (int i = 0; i < N; i++)
        fprintf(file, "{\"id\":\"r%03d\",\"text\":\"%s %d\",\"labels\":{\"x\":%d}}\n", i,
                i % 50 == 7   ? "fails"
                : i % 50 == 9 ? "unsure"
                : i % 2       ? "bad"
                              : "good",
                i, i % 2);
    fclose(file);
    const char *paths[] = {path};
    return sg_eval_rows_open(paths, 1, &(struct sg_dataset_options){0}, &rows, NULL) == SG_OK ? 0 : -1;
}

static int teardown(void **state)
{
    (void)state;
    sg_eval_rows_close(&rows);
    unlink(in_folder("rows.jsonl"));
    unlink(in_folder("journal.jsonl"));
    return rmdir(folder);
}

/* --- a judge that does what the text says --------------------------------------------------------------------- */

struct judge {
    atomic_int n_asked, n_now, most_at_once;
    int fatal_at; /* the question that is answered with an error of every content; -1: none */
    size_t last_done;
    bool progress_is_wrong;
};

static enum sg_status on_judge(void *context, size_t task, const struct sg_content *content,
                               struct sg_verdict *verdict, struct sg_error *err)
{
    struct judge *judge = context;
    size_t len;
    const char *text = sg_content_text(content, &len);
    int asked = atomic_fetch_add(&judge->n_asked, 1), now = atomic_fetch_add(&judge->n_now, 1) + 1;
    for (int most = atomic_load(&judge->most_at_once); now > most;)
        if (atomic_compare_exchange_weak(&judge->most_at_once, &most, now))
            break;
    usleep(500);
    atomic_fetch_sub(&judge->n_now, 1);
    if (asked == judge->fatal_at)
        return sg_fail(err, SG_EUNAVAILABLE, "gone");
    if (strstr(text, "fails"))
        return sg_fail(err, SG_EIO, "this content fails");
    verdict->decision = strstr(text, "bad")      ? SG_VIOLATES
                        : strstr(text, "unsure") ? SG_UNDECIDED
                                                 : SG_DOES_NOT_VIOLATE;
    verdict->p_violation = verdict->decision == SG_VIOLATES ? 0.75 : 0.25;
    verdict->stage = strdup(task ? "screen" : "reasoner");
    return SG_OK;
}

static void on_progress(void *context, size_t done, size_t total)
{
    struct judge *judge = context;
    judge->progress_is_wrong |= done > total || done < judge->last_done; /* no asserts off the test's own thread */
    judge->last_done = done;
}

static const char *const keys[] = {"key-of-task-0", "key-of-task-1"};

static struct sg_eval_pass pass_of(struct judge *judge, struct sg_journal *journal)
{
    return (struct sg_eval_pass){.rows = &rows,
                                 .config = "c",
                                 .keys = keys,
                                 .journal = journal,
                                 .in_flight = 8,
                                 .threshold = NAN,
                                 .judge = on_judge,
                                 .progress = on_progress,
                                 .context = judge};
}

/* Both tasks of every row. */
static void ask_all(const struct sg_eval_pass *pass, enum sg_status expected, struct sg_answer answers[2 * N])
{
    struct sg_question questions[2 * N];
    struct sg_error err = {0};
    for (size_t i = 0; i < 2 * N; i++)
        questions[i] = (struct sg_question){.row = i % N, .task = i / N};
    memset(answers, 0, 2 * N * sizeof *answers);
    assert_int_equal(sg_eval_run(pass, questions, 2 * N, answers, &err), expected);
    assert_false(((struct judge *)pass->context)->progress_is_wrong);
    if (expected != SG_OK)
        assert_int_equal(err.code, expected);
}

static void check_all(struct sg_answer answers[2 * N])
{
    for (int i = 0; i < 2 * N; i++) {
        int row = i % N;
        const char *id = json_string_value(json_object_get(answers[i].line, "id"));
        assert_non_null(id);
        assert_int_equal(atoi(id + 1), row);
        assert_int_equal(answers[i].failed, row % 50 == 7);
        if (answers[i].failed)
            continue;
        assert_int_equal(answers[i].decision, row % 50 == 9 ? SG_UNDECIDED
                                              : row % 2     ? SG_VIOLATES
                                                            : SG_DOES_NOT_VIOLATE);
        assert_int_equal(answers[i].calls, i < N);
        assert_true(answers[i].score == (answers[i].decision == SG_VIOLATES ? 0.75 : 0.25));
    }
}

static void release(struct sg_answer answers[2 * N])
{
    for (size_t i = 0; i < 2 * N; i++)
        sg_answer_deinit(&answers[i]);
}

static void test_answers_are_in_their_places(void **state)
{
    struct judge judge = {.fatal_at = -1};
    struct sg_eval_pass pass = pass_of(&judge, NULL);
    struct sg_answer answers[2 * N];
    (void)state;
    ask_all(&pass, SG_OK, answers);
    check_all(answers);
    assert_int_equal(atomic_load(&judge.n_asked), 2 * N);
    assert_int_equal(judge.last_done, 2 * N);
    assert_true(atomic_load(&judge.most_at_once) > 1 && atomic_load(&judge.most_at_once) <= 8);
    release(answers);
}

/* A fatal error ends the pass; what was answered stands in the journal and is not asked again. */
static void test_resume_asks_the_rest(void **state)
{
    struct judge judge = {.fatal_at = 120};
    struct sg_journal *journal;
    struct sg_answer answers[2 * N];
    (void)state;
    assert_int_equal(sg_journal_open(in_folder("journal.jsonl"), false, &journal, NULL), SG_OK);
    struct sg_eval_pass pass = pass_of(&judge, journal);
    ask_all(&pass, SG_EUNAVAILABLE, answers);
    size_t n_answered = 0, n_failed = 0;
    for (size_t i = 0; i < 2 * N; i++) {
        n_answered += answers[i].line != NULL;
        n_failed += answers[i].failed;
    }
    assert_true(n_answered >= 100 && n_answered < 2 * N);
    release(answers);
    assert_int_equal(sg_journal_close(journal, NULL), SG_OK);

    assert_int_equal(sg_journal_open(in_folder("journal.jsonl"), false, &journal, NULL), SG_EINVALID);
    assert_int_equal(sg_journal_open(in_folder("journal.jsonl"), true, &journal, NULL), SG_OK);
    struct judge again = {.fatal_at = -1};
    pass = pass_of(&again, journal);
    ask_all(&pass, SG_OK, answers);
    check_all(answers);
    /* failed ones are asked again */
    assert_int_equal(atomic_load(&again.n_asked), 2 * N - n_answered + n_failed);
    release(answers);

    struct judge other = {.fatal_at = -1};
    static const char *const other_keys[] = {"another policy", "another policy"};
    pass = pass_of(&other, journal);
    pass.keys = other_keys;
    ask_all(&pass, SG_OK, answers);
    assert_int_equal(atomic_load(&other.n_asked), 2 * N);
    release(answers);
    assert_int_equal(sg_journal_close(journal, NULL), SG_OK);
}

static void test_interrupt_ends_the_pass(void **state)
{
    struct judge judge = {.fatal_at = -1};
    volatile sig_atomic_t interrupted = 1;
    struct sg_eval_pass pass = pass_of(&judge, NULL);
    struct sg_answer answers[2 * N];
    (void)state;
    pass.interrupted = &interrupted;
    ask_all(&pass, SG_ECANCELLED, answers);
    assert_int_equal(atomic_load(&judge.n_asked), 0);
    release(answers);
}

static void test_attacked_text_is_what_is_judged(void **state)
{
    struct judge judge = {.fatal_at = -1};
    struct sg_eval_pass pass = pass_of(&judge, NULL);
    struct sg_question question = {.row = 0, .attack = "leet", .text = {"bad news", 8}};
    struct sg_answer answer = {0};
    (void)state;
    assert_int_equal(sg_eval_run(&pass, &question, 1, &answer, NULL), SG_OK);
    assert_int_equal(answer.decision, SG_VIOLATES);
    assert_string_equal(json_string_value(json_object_get(json_object_get(answer.line, "eval"), "attack")), "leet");
    sg_answer_deinit(&answer);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_answers_are_in_their_places),
        cmocka_unit_test(test_resume_asks_the_rest),
        cmocka_unit_test(test_interrupt_ends_the_pass),
        cmocka_unit_test(test_attacked_text_is_what_is_judged),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
