/* safeguard screen learn. */
#include "cli/check.h"
#include "cli/render.h"
#include "cli/verbs.h"

#include "eval/metrics.h"
#include "guard/learn.h"

#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

struct learning {
    const char *policy_path, *corpus_path, *labels_path, *out, *text_field, *id_field, *test_path, *test_category;
    struct sg_reasoner_options reasoner_options;
    struct sg_check_options check;
    struct sg_learn_options options;
    int budget, first, batch;
    bool resume, json, quiet;
    /* opened */
    struct sg_policy *policy;
    struct sg_input *input;
    struct sg_learn_row *rows;
    size_t n_rows, n_unreadable;
    struct sg_labels *test;
    struct sg_learn *learn;
    struct sg_render render;
    double started, shown;
    json_t *rounds;
    struct sg_error round_err; /* of a figure in a round */
    enum sg_status round_status;
};

/* --- the corpus ------------------------------------------------------------------------------------------------ */

static enum sg_status read_row(struct learning *learning, size_t i, struct sg_error *err)
{
    struct sg_input_row row;
    struct sg_content *content = NULL;
    enum sg_status status = sg_input_row(learning->input, i, &row, err);
    if (status == SG_OK)
        status = row.is_messages ? sg_content_from_json(row.text.ptr, row.text.len, SG_JUDGE_LAST, &content, err)
                                 : sg_content_from_text(row.text.ptr, row.text.len, &content, err);
    if (status != SG_OK)
        return status;
    char *id = row.id ? strdup(row.id) : NULL;
    learning->rows[learning->n_rows++] = (struct sg_learn_row){id, content};
    return row.id && !id ? sg_fail(err, SG_ENOMEM, "out of memory for an id") : SG_OK;
}

/* Rows that cannot be read, and empty ones, are left out and counted: they can teach nothing. */
static enum sg_status read_corpus(struct learning *learning, struct sg_error *err)
{
    struct sg_input_options how = {.text_field = learning->text_field, .id_field = learning->id_field};
    enum sg_status status = sg_input_open(learning->corpus_path, &how, &learning->input, err);
    if (status != SG_OK)
        return status;
    size_t n = sg_input_count(learning->input);
    learning->rows = calloc(n ? n : 1, sizeof *learning->rows);
    if (!learning->rows)
        return sg_fail(err, SG_ENOMEM, "out of memory for a corpus of %zu rows", n);
    for (size_t i = 0; i < n; i++) {
        struct sg_error what;
        status = read_row(learning, i, &what);
        if (status == SG_ENOMEM) {
            *err = what;
            return status;
        }
        learning->n_unreadable += status != SG_OK;
    }
    return learning->n_rows
               ? SG_OK
               : sg_fail(err, SG_EINVALID, "%s: no row that can be read of %zu", learning->corpus_path, n);
}

/* --- figures --------------------------------------------------------------------------------------------------- */

/* Average precision of a screen on labelled texts; NaN where a class is missing. */
static enum sg_status measure(const struct sg_screen *screen, const struct sg_screen_example *examples, size_t n,
                              double *figure_out, struct sg_error *err)
{
    struct sg_point *rows = calloc(n ? n : 1, sizeof *rows);
    struct sg_screen_scratch *scratch = NULL;
    struct sg_points points;
    *figure_out = NAN;
    enum sg_status status =
        rows ? sg_screen_scratch_create(&scratch, err) : sg_fail(err, SG_ENOMEM, "out of memory for %zu scores", n);
    for (size_t i = 0; status == SG_OK && i < n; i++) {
        struct sg_screen_score score = {0};
        status = sg_screen_score(screen, 0, examples[i].text, examples[i].text_len, scratch, &score, err);
        rows[i] = (struct sg_point){.truth = examples[i].value, .score = score.margin, .row = (uint32_t)i};
    }
    if (status == SG_OK)
        status = sg_points_init(&points, rows, n, err);
    if (status == SG_OK) {
        *figure_out = sg_average_precision(&points, NULL);
        sg_points_deinit(&points);
    }
    sg_screen_scratch_destroy(scratch);
    free(rows);
    return status;
}

static enum sg_status measure_test(const struct learning *learning, const struct sg_screen *screen,
                                   double *figure_out, struct sg_error *err)
{
    size_t n = sg_labels_count(learning->test), at = 0;
    struct sg_screen_example *examples = malloc((n ? n : 1) * sizeof *examples);
    if (!examples)
        return sg_fail(err, SG_ENOMEM, "out of memory for %zu rows", n);
    for (size_t i = 0; i < n; i++) {
        const struct sg_labelled *item = sg_labels_at(learning->test, i);
        int value = sg_labels_value(learning->test, i, learning->test_category);
        if (item->text && value != SG_LABEL_UNKNOWN)
            examples[at++] =
                (struct sg_screen_example){.text = item->text, .text_len = item->text_len, .value = value};
    }
    enum sg_status status = measure(screen, examples, at, figure_out, err);
    free(examples);
    return status;
}

static enum sg_status measure_audit(const struct learning *learning, const struct sg_screen *screen,
                                    double *figure_out, struct sg_error *err)
{
    size_t n = sg_learn_n_audited(learning->learn);
    struct sg_screen_example *examples = malloc((n ? n : 1) * sizeof *examples);
    if (!examples)
        return sg_fail(err, SG_ENOMEM, "out of memory for %zu rows", n);
    for (size_t i = 0; i < n; i++)
        examples[i] = sg_learn_audited(learning->learn, i);
    enum sg_status status = measure(screen, examples, n, figure_out, err);
    free(examples);
    return status;
}

/* --- telling --------------------------------------------------------------------------------------------------- */

static void show_answer(void *context, const struct sg_learn_report *report)
{
    struct learning *learning = context;
    FILE *out = learning->render.progress;
    double now = sg_now();
    if (!out || (now - learning->shown < 0.1 && report->n_asked < report->budget))
        return;
    learning->shown = now;
    char asked[32], budget[32], left[32];
    size_t n_new = report->n_asked - report->n_kept;
    double rate = n_new ? (double)n_new / (now - learning->started) : 0;
    fprintf(out, "\r\033[Kround %d: %s of %s answers, %zu violate", report->round,
            sg_show_count((int64_t)report->n_asked, asked, sizeof asked),
            sg_show_count((int64_t)report->budget, budget, sizeof budget), report->n_violating);
    if (rate > 0)
        fprintf(out, ", %s left", sg_show_time((double)(report->budget - report->n_asked) / rate, left, sizeof left));
    fflush(out);
}

static void put_figure(double figure)
{
    if (isnan(figure))
        printf("%9s", "n/a");
    else
        printf("%9.3f", figure);
}

static void print_round(const struct learning *learning, const struct sg_learn_report *report, double audit,
                        double test)
{
    if (report->round <= 1 && !report->final)
        printf("round  answers  violate  undecided  audited  violating share  AUPRC audit%s\n",
               learning->test ? "  AUPRC test" : "");
    if (report->final)
        printf("%-7s", "final");
    else
        printf("%-7d", report->round);
    printf("%7zu%9zu%11zu%9zu", report->n_asked, report->n_violating, report->n_undecided, report->n_audit);
    if (isnan(report->violating_share))
        printf("%17s    ", "n/a");
    else
        printf("%15.1f %%    ", 100 * report->violating_share);
    put_figure(audit);
    if (learning->test) {
        printf("   ");
        put_figure(test);
    }
    putchar('\n');
    fflush(stdout);
}

static json_t *number_or_null(double x)
{
    return isnan(x) ? json_null() : json_real(x);
}

static json_t *round_json(const struct sg_learn_report *report, double audit, double test)
{
    return json_pack("{s:i, s:b, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:o, s:o, s:o}", "round", report->round,
                     "final", report->final, "answers", (json_int_t)report->n_asked, "kept",
                     (json_int_t)report->n_kept, "violating", (json_int_t)report->n_violating, "harmless",
                     (json_int_t)report->n_harmless, "undecided", (json_int_t)report->n_undecided, "failed",
                     (json_int_t)report->n_failed, "audited", (json_int_t)report->n_audit, "audited_violating",
                     (json_int_t)report->n_audit_violating, "violating_share",
                     number_or_null(report->violating_share), "auprc_audit", number_or_null(audit), "auprc_test",
                     number_or_null(test));
}

static void tell_round(void *context, const struct sg_learn_report *report)
{
    struct learning *learning = context;
    double audit = NAN, test = NAN;
    enum sg_status status = SG_OK;
    if (report->screen)
        status = measure_audit(learning, report->screen, &audit, &learning->round_err);
    if (report->screen && status == SG_OK && learning->test)
        status = measure_test(learning, report->screen, &test, &learning->round_err);
    if (status != SG_OK)
        learning->round_status = status;
    if (learning->render.progress)
        fputs("\r\033[K", learning->render.progress);
    if (learning->json)
        json_array_append_new(learning->rounds, round_json(report, audit, test));
    else
        print_round(learning, report, audit, test);
}

static enum sg_status print_json(const struct learning *learning, const struct sg_screen *screen,
                                 struct sg_error *err)
{
    char *info = NULL;
    size_t n_copies, n = sg_learn_n_rows(learning->learn, &n_copies);
    enum sg_status status = sg_screen_info(screen, &info, err);
    if (status != SG_OK)
        return status;
    json_t *report = json_pack(
        "{s:s, s:I, s:I, s:I, s:f, s:O, s:o?}", "policy_sha256", sg_policy_sha256(learning->policy), "rows",
        (json_int_t)n, "copies", (json_int_t)n_copies, "unreadable", (json_int_t)learning->n_unreadable, "seconds",
        sg_now() - learning->started, "rounds", learning->rounds, "screen", json_loads(info, 0, NULL));
    char *text = report ? json_dumps(report, JSON_COMPACT | JSON_REAL_PRECISION(9)) : NULL;
    if (text)
        puts(text);
    else
        status = sg_fail(err, SG_ENOMEM, "out of memory for the report");
    json_decref(report);
    free(text);
    free(info);
    return status;
}

/* --- the verb -------------------------------------------------------------------------------------------------- */

static void say_corpus(const struct learning *learning)
{
    size_t n_copies, n = sg_learn_n_rows(learning->learn, &n_copies);
    if (learning->quiet)
        return;
    fprintf(stderr, "safeguard: %zu rows to draw from", n);
    if (n_copies)
        fprintf(stderr, "; %zu copies of others left out", n_copies);
    if (learning->n_unreadable)
        fprintf(stderr, "; %zu empty or unreadable ones left out", learning->n_unreadable);
    fputc('\n', stderr);
}

static enum sg_status run_learning(struct learning *learning, struct sg_error *err)
{
    struct sg_screen *screen = NULL;
    enum sg_status status =
        sg_learn_create(&learning->options, learning->rows, learning->n_rows, &learning->learn, err);
    if (status != SG_OK)
        return status;
    say_corpus(learning);
    sg_catch_interrupts(learning->options.reasoner);
    learning->started = sg_now();
    status = sg_learn_run(learning->learn, &screen, err);
    if (learning->render.progress)
        fputs("\r\033[K", learning->render.progress);
    if (status == SG_OK && learning->round_status != SG_OK) {
        *err = learning->round_err;
        status = learning->round_status;
    }
    if (status == SG_OK)
        status = sg_screen_save(screen, learning->out, err);
    if (status == SG_OK && learning->json)
        status = print_json(learning, screen, err);
    sg_screen_close(screen);
    return status;
}

static enum sg_status open_all(struct learning *learning, struct sg_model **model, struct sg_error *err)
{
    struct stat file;
    if (!learning->resume && stat(learning->labels_path, &file) == 0 && file.st_size > 0)
        return sg_fail(err, SG_EINVALID,
                       "%s has labels already: with --resume people's labels are learnt from, and the reasoner is "
                       "not asked again what it has answered",
                       learning->labels_path);
    enum sg_status status = sg_policy_open(learning->policy_path, &learning->policy, err);
    learning->options.policy = learning->policy;
    if (status == SG_OK)
        status = read_corpus(learning, err);
    if (status == SG_OK && learning->test_path)
        status = sg_labels_open(&learning->test_path, 1, sg_policy_sha256(learning->policy), &learning->test, err);
    if (status == SG_OK)
        status = sg_reasoner_options_open(&learning->reasoner_options, model, &learning->options.reasoner, err);
    return status;
}

static void close_all(struct learning *learning, struct sg_model *model)
{
    sg_learn_destroy(learning->learn);
    sg_reasoner_destroy(learning->options.reasoner);
    sg_model_close(model);
    sg_labels_close(learning->test);
    for (size_t i = 0; i < learning->n_rows; i++) {
        sg_content_destroy((struct sg_content *)learning->rows[i].content);
        free((char *)learning->rows[i].id);
    }
    free(learning->rows);
    sg_input_close(learning->input);
    sg_policy_close(learning->policy);
    json_decref(learning->rounds);
}

static int run(struct learning *learning)
{
    struct sg_error err;
    struct sg_model *model = NULL;
    sg_render_init(&learning->render, learning->quiet);
    learning->rounds = json_array();
    learning->options.labels_path = learning->labels_path;
    learning->options.budget = (size_t)learning->budget;
    learning->options.first = (size_t)learning->first;
    learning->options.batch = (size_t)learning->batch;
    learning->options.check = &learning->check;
    learning->options.interrupted = &sg_interrupted;
    learning->options.on_answer = show_answer;
    learning->options.on_round = tell_round;
    learning->options.context = learning;
    enum sg_status status = open_all(learning, &model, &err);
    bool opened = status == SG_OK;
    if (opened)
        status = run_learning(learning, &err);
    close_all(learning, model);
    if (status == SG_ECANCELLED && sg_interrupted) {
        fprintf(stderr, "safeguard: interrupted; every answer is in the label file, --resume goes on\n");
        return SG_EXIT_INTERRUPTED;
    }
    if (status != SG_OK)
        return sg_say_error(&err, !opened && status == SG_EINVALID ? SG_EXIT_USAGE : SG_EXIT_FAILURE);
    return SG_EXIT_OK;
}

int sg_verb_screen_learn(int argc, char **argv)
{
    static const struct sg_verb verb = {
        .name = "screen learn",
        .summary = "learn a screen from the reasoner: it is asked about the rows that teach most",
        .usage = "--policy FILE --corpus ROWS --budget N --labels FILE --out SCREEN",
        .about =
            "Draws rows of unlabelled content in rounds, asks the reasoner, trains, and draws again: first by "
            "chance,\n"
            "then where the screen is least certain. A share is drawn by chance for audits and never learnt from.\n"
            "Every answer goes into the label file with the probability of its draw, at once: after an interrupt, "
            "or\n"
            "with a larger budget, --resume asks only what is not answered yet. Prints one line a round: the share "
            "of\n"
            "the corpus that violates, and the screen's AUPRC on the audited rows (and on --test).\n",
        .examples = "  safeguard screen learn --policy spam.md --corpus posts.jsonl --budget 1000 \\\n"
                    "    --labels spam.labels.jsonl --out spam.screen --reasoner http://gpu:8000/v1 "
                    "--reasoner-model gpt-oss-safeguard-20b\n",
    };
    struct sg_settings settings;
    struct sg_error err;
    struct learning learning = {.first = 100, .batch = 50, .check = {.top_p = 1}, .test_category = "any"};
    learning.options.audit = 0.05;
    learning.options.floor = 0.05;
    if (sg_settings_load(&settings, &err) != SG_OK)
        return sg_say_error(&err, SG_EXIT_FAILURE);
    sg_reasoner_options_init(&learning.reasoner_options, &settings);
    learning.check.effort = settings.effort;
    const struct sg_option options[] = {
        {"policy", SG_OPTION_STRING, &learning.policy_path, "FILE", "the policy", 0, 0},
        {"corpus", SG_OPTION_STRING, &learning.corpus_path, "ROWS",
         "content without labels: .jsonl, .csv or .tsv, also .gz; labels in it are not looked at", 0, 0},
        {"budget", SG_OPTION_INT, &learning.budget, "N", "answers of the reasoner", 1, SG_LEARN_MAX_ROWS},
        {"labels", SG_OPTION_STRING, &learning.labels_path, "FILE", "label file; answers are appended", 0, 0},
        {"out", SG_OPTION_STRING, &learning.out, "SCREEN", "the screen to write", 0, 0},
        {"resume", SG_OPTION_FLAG, &learning.resume, NULL, "go on from what the label file has", 0, 0},
        SG_REASONER_OPTIONS(learning.reasoner_options),
        {"effort", SG_OPTION_STRING, &learning.check.effort, "low|medium|high",
         "how long the model reasons (the policy's own, else medium)", 0, 0},
        {"reasoning-budget", SG_OPTION_INT, &learning.check.reasoning_budget, "TOKENS",
         "end the reasoning after so many tokens and ask for the decision", 0, 1e6},
        {"first", SG_OPTION_INT, &learning.first, "N", "rows of the first round, drawn by chance (100)", 1, 100000},
        {"batch", SG_OPTION_INT, &learning.batch, "N", "rows of each later round (50)", 1, 100000},
        {"audit", SG_OPTION_DOUBLE, &learning.options.audit, "SHARE",
         "of the budget: drawn by chance, not learnt from, left to judge and to prove (0.05)", 0, 0.5},
        {"floor", SG_OPTION_DOUBLE, &learning.options.floor, "SHARE",
         "of each round: spread evenly over all rows; 1 draws by chance alone (0.05)", 0.01, 1},
        {"c", SG_OPTION_DOUBLE, &learning.options.c, "C",
         "inverse regularisation of the final fit (by cross-validation)", 1e-4, 1e6},
        {"seed", SG_OPTION_U64, &learning.options.seed, "N", "of all draws", 0, 0},
        {"text-field", SG_OPTION_STRING, &learning.text_field, "NAME", "field or column of the content (text)", 0, 0},
        {"id-field", SG_OPTION_STRING, &learning.id_field, "NAME", "field or column of the id (id)", 0, 0},
        {"no-text", SG_OPTION_FLAG, &learning.options.no_text, NULL, "write hashes without texts into the label file",
         0, 0},
        {"test", SG_OPTION_STRING, &learning.test_path, "FILE",
         "labelled rows that measure the screen after each round", 0, 0},
        {"test-category", SG_OPTION_STRING, &learning.test_category, "NAME", "--test: which of their labels (any)", 0,
         0},
        {"json", SG_OPTION_FLAG, &learning.json, NULL, "one JSON object with all rounds and the screen", 0, 0},
        {"quiet", SG_OPTION_FLAG, &learning.quiet, NULL, "no progress", 0, 0},
        {0}};
    int exit = sg_options_start(&verb, options, &argc, argv, 0, 0);
    const char *wrong = exit >= 0 ? NULL : sg_reasoner_options_wrong(&learning.reasoner_options);
    if (exit < 0 && wrong)
        exit = sg_say_usage(&verb, "%s", wrong);
    else if (exit < 0 && (!learning.policy_path || !learning.corpus_path || !learning.labels_path || !learning.out))
        exit = sg_say_usage(&verb, "--policy, --corpus, --labels and --out are needed");
    else if (exit < 0 && learning.budget == 0)
        exit = sg_say_usage(&verb, "--budget is needed: how many answers of the reasoner");
    if (exit < 0) {
        learning.options.threads = learning.reasoner_options.threads;
        exit = run(&learning);
    }
    sg_settings_deinit(&settings);
    return exit;
}
