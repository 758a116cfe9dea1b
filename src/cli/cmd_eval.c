/* safeguard eval: figures of policies, models and cascades on labelled rows. */
#include "cli/check.h"
#include "cli/eval_setup.h"
#include "cli/render.h"
#include "cli/verbs.h"

#include "base/file.h"
#include "eval/eval_attacks.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <math.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#define RECORD_DEFAULT "safeguard-test-openings.jsonl"
#define RECORD_MAX_BYTES ((size_t)16 << 20)

#define X(symbol, name, about) "  " name ": " about "\n"
#define ATTACKS SG_ATTACK_LIST(X)

static const struct sg_verb verb = {
    .name = "eval",
    .summary = "measure policies, models and cascades on labelled content",
    .usage = "--data FILE… --policy [LABEL=]FILE [--model MODEL | --reasoner URL …]\n"
             "       safeguard eval --data FILE… --config NAME:key=value,… --config NAME:…\n"
             "       safeguard eval --data FILE… --predictions VERDICTS.jsonl …",
    .about = "Judges every row of the data and holds the decisions against its labels: precision, recall, F1,\n"
             "AUPRC, AUROC, ECE with confidence intervals, by slice and by category. What is undecided is\n"
             "counted as such, and a label that is missing is unknown, not negative. docs/evaluation.md\n"
             "explains every figure.\n"
             "\n"
             "Several configurations stand side by side: each --config is the options of the command line with\n"
             "the keys that it names replaced (policy, model, reasoner, effort, … and predictions). The first\n"
             "one is what the others are compared with. --predictions FILE is a configuration whose answers\n"
             "are there already: the output of check --batch, a journal, or lines {\"id\",\"score\"}.\n"
             "\n"
             "A part of the rows (about 30 %, by a hash of their group) is the test split. It stays closed\n"
             "until it is asked for by --split test --open-test, so that a policy is not polished on the rows\n"
             "that score it; each opening is written down.\n"
             "\n"
             "Attacks:\n" ATTACKS,
    .examples =
        "  safeguard eval --data rows.jsonl --policy toxic.md \\\n"
        "      --reasoner http://gpu:8000/v1 --reasoner-model gpt-oss-safeguard-20b\n"
        "  safeguard eval --data rows.csv --model m.gguf --config old:policy=v1.md \\\n"
        "      --config new:policy=v2.md --html report.html\n"
        "  safeguard eval --data rows.jsonl --policy p.md --config low:effort=low \\\n"
        "      --config high:effort=high --journal eval.jsonl --resume\n"
        "  safeguard eval --data rows.jsonl --label toxic --predictions scores.jsonl --fail-under auprc=0.75\n",
    .exits = "  0   measured, and every --fail-under was reached\n"
             "  1   it failed; standard error says what and why\n"
             "  2   wrong use\n"
             "  3   measured, but some rows could not be judged\n"
             "  4   measured, and a figure is below --fail-under (ece, fpr, undecided, missed_early:\n"
             "      above it)\n"
             "  130 interrupted by Ctrl-C\n",
};

#undef X

struct run {
    struct sg_settings settings;
    struct sg_eval_setup base;
    struct sg_list data, labels, configs, predictions, slices, demands, label_fields, attack_names;
    const char *journal_path, *html, *split, *record, *format, *separator;
    bool resume, open_test, json, quiet, no_text, attacks;
    int attack_rows, sample, resamples, max_listed;
    double confidence;
    uint64_t eval_seed;
    struct sg_dataset_options dataset;
    /* made */
    struct sg_eval_rows rows;
    struct sg_eval eval;
    struct sg_eval_setup setups[SG_EVAL_MAX_CONFIGS];
    size_t n_setups;
    struct sg_journal *journal;
    struct sg_attack_set attack_set;
    struct sg_render render;
    double started, shown;
    size_t in_hand; /* configuration */
};

/* --- tasks ------------------------------------------------------------------------------------------------------ */

static enum sg_status add_task(struct run *run, const char *label, size_t len, struct sg_error *err)
{
    struct sg_eval *eval = &run->eval;
    char name[SG_DATASET_MAX_NAME + 1];
    struct sg_eval_task task = {0};
    snprintf(name, sizeof name, "%.*s", (int)(len < sizeof name ? len : 0), label);
    if (!sg_eval_find_category(&run->rows, name, &task.category))
        return sg_fail(err, SG_EINVALID, "the data has no category \"%s\"", name);
    task.label = task.category == SG_EVAL_ANY          ? "any"
                 : task.category == SG_EVAL_ANY_STRICT ? "any-strict"
                                                       : run->rows.categories[task.category];
    for (size_t i = 0; i < eval->n_tasks; i++)
        if (strcmp(eval->tasks[i].label, task.label) == 0)
            return SG_OK;
    if (eval->n_tasks == SG_EVAL_MAX_TASKS)
        return sg_fail(err, SG_EINVALID, "more than %d labels to measure against", SG_EVAL_MAX_TASKS);
    eval->tasks[eval->n_tasks++] = task;
    return SG_OK;
}

/* The label of a policy that names none: --label, else its own id, else the data's only category, else "any-strict".
 */
static enum sg_status task_of_policy(struct run *run, const char *value, struct sg_error *err)
{
    const char *path;
    size_t category;
    struct sg_slice named = sg_eval_policy_label(value, &run->rows, &path);
    if (named.len)
        return add_task(run, named.ptr, named.len, err);
    if (run->labels.n > 0)
        return SG_OK; /* they are added by themselves */
    struct sg_policy *policy;
    enum sg_status status = sg_policy_open(path, &policy, err);
    if (status != SG_OK)
        return status;
    const char *id = sg_policy_id(policy);
    if (sg_eval_find_category(&run->rows, id, &category))
        status = add_task(run, id, strlen(id), err);
    else if (run->rows.n_categories == 1)
        status = add_task(run, run->rows.categories[0], strlen(run->rows.categories[0]), err);
    else
        status = add_task(run, "any-strict", strlen("any-strict"), err);
    sg_policy_close(policy);
    return status;
}

static enum sg_status settle_tasks(struct run *run, struct sg_error *err)
{
    enum sg_status status = SG_OK;
    for (size_t i = 0; i < run->labels.n && status == SG_OK; i++)
        status = add_task(run, run->labels.values[i], strlen(run->labels.values[i]), err);
    for (size_t i = 0; i < run->base.policies.n && status == SG_OK; i++)
        status = task_of_policy(run, run->base.policies.values[i], err);
    for (size_t k = 0; k < run->n_setups; k++)
        for (size_t i = 0; i < run->setups[k].policies.n && status == SG_OK; i++) {
            const char *value = run->setups[k].policies.values[i], *path;
            bool named = sg_eval_policy_label(value, &run->rows, &path).len > 0;
            if (named || run->eval.n_tasks == 0) /* else it stands in for a policy that has a task */
                status = task_of_policy(run, value, err);
        }
    if (status == SG_OK && run->eval.n_tasks == 0) {
        const char *label = run->rows.n_categories == 1 ? run->rows.categories[0] : "any-strict";
        status = add_task(run, label, strlen(label), err);
    }
    return status;
}

/* --- configurations -----------------------------------------------------------------------------------------------
 */

static bool is_taken(const struct run *run, const char *name)
{
    for (size_t i = 0; i < run->n_setups; i++)
        if (strcmp(run->setups[i].name, name) == 0)
            return true;
    return false;
}

/* A file of answers is called after itself: "runs/old.jsonl" → "old". */
static enum sg_status name_after_file(struct sg_eval_setup *setup, struct sg_error *err)
{
    const char *slash = strrchr(setup->predictions, '/'), *name = slash ? slash + 1 : setup->predictions;
    size_t len = strcspn(name, ".");
    setup->text = strndup(name, len ? len : strlen(name));
    setup->name = setup->text;
    return setup->text ? SG_OK : sg_fail(err, SG_ENOMEM, "out of memory");
}

static enum sg_status add_setup(struct run *run, const char *config, const char *predictions, struct sg_error *err)
{
    if (run->n_setups == SG_EVAL_MAX_CONFIGS)
        return sg_fail(err, SG_EINVALID, "more than %d configurations", SG_EVAL_MAX_CONFIGS);
    struct sg_eval_setup setup = run->base;
    enum sg_status status = SG_OK;
    if (config) {
        status = sg_eval_setup_parse(config, &run->base, &setup, err);
    } else if (predictions) {
        setup.policies.n = 0;
        setup.predictions = predictions;
        status = name_after_file(&setup, err);
    }
    if (status == SG_OK && is_taken(run, setup.name))
        status = sg_fail(err, SG_EINVALID, "two configurations are called \"%s\"; name them by --config NAME:…",
                         setup.name);
    if (status == SG_OK)
        run->setups[run->n_setups++] = setup;
    else
        free(setup.text);
    return status;
}

static enum sg_status settle_setups(struct run *run, struct sg_error *err)
{
    enum sg_status status = SG_OK;
    for (size_t i = 0; i < run->configs.n && status == SG_OK; i++)
        status = add_setup(run, run->configs.values[i], NULL, err);
    for (size_t i = 0; i < run->predictions.n && status == SG_OK; i++)
        status = add_setup(run, NULL, run->predictions.values[i], err);
    if (status == SG_OK && run->n_setups == 0)
        status = add_setup(run, NULL, NULL, err);
    return status;
}

/* --- answers ------------------------------------------------------------------------------------------------------
 */

static void on_progress(void *context, size_t done, size_t total)
{
    struct run *run = context;
    FILE *out = run->render.progress;
    double now = sg_now();
    if (!out || (now - run->shown < 0.1 && done < total))
        return;
    run->shown = now;
    char a[32], b[32], eta[32];
    fputs("\r\033[K", out);
    sg_put_safe(out, run->setups[run->in_hand].name, strlen(run->setups[run->in_hand].name));
    fprintf(out, " (%zu of %zu): %s of %s answers", run->in_hand + 1, run->n_setups,
            sg_show_count((int64_t)done, a, sizeof a), sg_show_count((int64_t)total, b, sizeof b));
    if (done > 0)
        fprintf(out, ", %s left",
                sg_show_time((now - run->started) / (double)done * (double)(total - done), eta, sizeof eta));
    fflush(out);
    run->render.progress_open = true;
}

static enum sg_status on_judge(void *context, size_t task, const struct sg_content *content,
                               struct sg_verdict *verdict, struct sg_error *err)
{
    struct run *run = context;
    return sg_eval_setup_judge(&run->setups[run->in_hand], task, content, verdict, err);
}

static enum sg_status ask(struct run *run, struct sg_eval_setup *setup, struct sg_answer *answers,
                          struct sg_error *err)
{
    size_t n_rows = run->rows.n, n = n_rows * run->eval.n_tasks;
    struct sg_question *questions = calloc(n + 1, sizeof *questions);
    const char *keys[SG_EVAL_MAX_TASKS];
    if (!questions)
        return sg_fail(err, SG_ENOMEM, "no memory for %zu questions", n);
    for (size_t i = 0; i < n; i++)
        questions[i] = (struct sg_question){.row = i % n_rows, .task = i / n_rows};
    struct sg_eval_setup *before = NULL;
    for (size_t i = 0; i < run->in_hand; i++)
        before = run->setups[i].stage.n ? &run->setups[i] : before;
    if (run->render.progress)
        fputs("opening the model …\r", run->render.progress);
    enum sg_status status = sg_eval_setup_open(setup, before, &run->rows, run->eval.tasks, run->eval.n_tasks, err);
    if (run->render.progress)
        fputs("\033[K", run->render.progress);
    for (size_t task = 0; task < run->eval.n_tasks; task++)
        keys[task] = setup->keys[task];
    struct sg_reasoner *reasoner = sg_eval_setup_reasoner(setup);
    struct sg_eval_pass pass = {.rows = &run->rows,
                                .config = setup->name,
                                .keys = keys,
                                .journal = run->journal,
                                .in_flight = reasoner ? sg_reasoner_in_flight(reasoner) : 1,
                                .threshold = setup->threshold,
                                .judge = on_judge,
                                .progress = on_progress,
                                .context = run,
                                .interrupted = &sg_interrupted};
    if (status == SG_OK) {
        sg_catch_interrupts(reasoner);
        run->started = sg_now();
        status = sg_eval_run(&pass, questions, n, answers, err);
    }
    if (status == SG_OK)
        status = sg_eval_setup_settle(setup, answers, n, err);
    if (status == SG_OK && run->attacks) {
        struct sg_eval_attacks *attacks = &run->attack_set.report;
        run->started = sg_now();
        status = sg_attack_set_run(&run->attack_set, &pass, run->in_hand, err);
        if (status == SG_OK)
            status =
                sg_eval_setup_settle(setup, attacks->answers[run->in_hand], attacks->n_rows * attacks->n_names, err);
    }
    sg_render_end(&run->render);
    free(questions);
    return status;
}

static enum sg_status read_predictions(struct run *run, struct sg_eval_setup *setup, struct sg_eval_config *config,
                                       struct sg_error *err)
{
    enum sg_status status = SG_OK;
    for (size_t task = 0; task < run->eval.n_tasks && status == SG_OK; task++) {
        struct sg_answer *answers = config->answers + task * run->rows.n;
        struct sg_predictions predictions = {.label = run->eval.n_tasks > 1 ? run->eval.tasks[task].label : NULL,
                                             .policy_id = config->policy_id[task],
                                             .policy_sha256 = config->policy_sha256[task],
                                             .config = setup->of,
                                             .threshold = setup->threshold};
        status = sg_predictions_read(setup->predictions, &predictions, &run->rows, answers, err);
        size_t n = 0;
        for (size_t row = 0; row < run->rows.n; row++) {
            n += answers[row].line != NULL;
            if (answers[row].policy_sha256 && !config->policy_sha256[task]) {
                config->policy_id[task] = answers[row].policy_id;
                config->policy_sha256[task] = answers[row].policy_sha256;
            }
        }
        if (status == SG_OK && n == 0)
            status = sg_fail(err, SG_EFORMAT, "%s: no line answers a row of the data (%s); %zu lines have other ids",
                             setup->predictions, run->eval.tasks[task].label, predictions.n_unknown);
        if (status == SG_OK && n < run->rows.n && !run->quiet)
            fprintf(stderr, "safeguard: %s answers %zu of %zu rows (%s): the figures rest on these\n", setup->name, n,
                    run->rows.n, run->eval.tasks[task].label);
    }
    return status;
}

static enum sg_status answer_all(struct run *run, struct sg_error *err)
{
    enum sg_status status = SG_OK;
    for (size_t i = 0; i < run->n_setups && status == SG_OK; i++) {
        struct sg_eval_setup *setup = &run->setups[i];
        struct sg_eval_config *config = &run->eval.configs[i];
        config->name = setup->name;
        config->settings = sg_eval_setup_json(setup);
        config->answers = calloc(run->rows.n * run->eval.n_tasks + 1, sizeof *config->answers);
        run->eval.n_configs = i + 1;
        if (!config->answers || !config->settings)
            return sg_fail(err, SG_ENOMEM, "no memory for %zu answers", run->rows.n);
        for (size_t task = 0; task < run->eval.n_tasks; task++) {
            if (setup->policy[task]) {
                config->policy_id[task] = sg_policy_id(setup->policy[task]);
                config->policy_sha256[task] = sg_policy_sha256(setup->policy[task]);
            }
        }
        run->in_hand = i;
        status =
            setup->predictions ? read_predictions(run, setup, config, err) : ask(run, setup, config->answers, err);
    }
    return status;
}

/* Attack violating rows, if that was asked for and somebody is there to be asked. */
static enum sg_status prepare_attacks(struct run *run, struct sg_error *err)
{
    enum sg_attack attacks[SG_N_ATTACKS];
    size_t n = 0, n_live = 0;
    for (size_t i = 0; i < run->attack_names.n; i++) {
        if (!sg_attack_find(run->attack_names.values[i], &attacks[n]))
            return sg_fail(err, SG_EINVALID, "--attack: got \"%s\"; --help lists the attacks",
                           run->attack_names.values[i]);
        if (++n == SG_N_ATTACKS)
            break;
    }
    for (; run->attack_names.n == 0 && n < SG_N_ATTACKS; n++)
        attacks[n] = (enum sg_attack)n;
    for (size_t i = 0; i < run->n_setups; i++)
        n_live += !run->setups[i].predictions;
    if (n_live == 0)
        return sg_fail(err, SG_EINVALID,
                       "recorded answers cannot be attacked: say --policy and --model or --reasoner");
    run->eval.attacks = &run->attack_set.report;
    return sg_attack_set_make(&run->eval, attacks, n, (size_t)run->attack_rows, run->eval_seed, &run->attack_set,
                              err);
}

/* --- the test split ------------------------------------------------------------------------------------------------
 */

/* How often was this test split opened before? */
static size_t count_openings(const char *text, const char *test_sha256)
{
    size_t n = 0;
    for (const char *at = text; *at;) {
        size_t len = strcspn(at, "\n");
        json_t *line = json_loadb(at, len, 0, NULL);
        const char *opened = json_string_value(json_object_get(line, "test_sha256"));
        n += opened && strcmp(opened, test_sha256) == 0;
        json_decref(line);
        at += len + (at[len] == '\n');
    }
    return n;
}

/* Write the opening down before anything of the split is looked at. */
static enum sg_status record_opening(struct run *run, struct sg_error *err)
{
    struct sg_buffer text = {0};
    json_t *names = json_array();
    for (size_t i = 0; i < run->n_setups; i++)
        json_array_append_new(names, json_string(run->setups[i].name));
    json_t *line =
        json_pack("{s:I, s:s, s:I, s:o}", "time", (json_int_t)time(NULL), "test_sha256", run->rows.test_sha256,
                  "test_rows", (json_int_t)run->rows.n_test, "configurations", names);
    char *json = line ? json_dumps(line, JSON_COMPACT) : NULL;
    json_decref(line);
    if (!json)
        return sg_fail(err, SG_ENOMEM, "out of memory");
    sg_buffer_printf(&text, "%s\n", json);
    free(json);
    int fd = open(run->record, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
    bool good = fd >= 0 && !text.failed && write(fd, text.data, text.len) == (ssize_t)text.len && fsync(fd) == 0;
    enum sg_status status = good
                                ? SG_OK
                                : sg_fail(err, SG_EIO, "%s: the opening of the test split cannot be written down: %s",
                                          run->record, strerror(errno));
    if (fd >= 0)
        close(fd);
    sg_buffer_free(&text);
    if (status == SG_OK)
        status = sg_file_read(run->record, RECORD_MAX_BYTES, &text, err);
    if (status == SG_OK)
        run->eval.n_opened = count_openings(sg_buffer_text(&text), run->rows.test_sha256);
    sg_buffer_free(&text);
    return status;
}

static enum sg_status choose_rows(struct run *run, struct sg_error *err)
{
    struct sg_eval *eval = &run->eval;
    eval->split = strcmp(run->split, "test") == 0  ? SG_SPLIT_TEST
                  : strcmp(run->split, "all") == 0 ? SG_SPLIT_ALL
                                                   : SG_SPLIT_DEV;
    eval->n_rows_before = run->rows.n;
    eval->sample = (size_t)run->sample;
    enum sg_status status = SG_OK;
    if (eval->split != SG_SPLIT_DEV)
        status = record_opening(run, err);
    if (status == SG_OK)
        status = sg_eval_rows_choose(&run->rows, eval->split, eval->sample, run->eval_seed, err);
    if (status == SG_OK && run->rows.n == 0)
        status = sg_fail(err, SG_EINVALID, "the %s split has no rows", run->split);
    return status;
}

/* --- the report
 * ----------------------------------------------------------------------------------------------------- */

static enum sg_status write_html(const struct run *run, const json_t *report, struct sg_error *err)
{
    struct sg_buffer page = {0};
    if (!run->html)
        return SG_OK;
    sg_report_html(report, &page);
    enum sg_status status = sg_buffer_status(&page, err);
    if (status == SG_OK)
        status = sg_file_write_atomic(run->html, page.data, page.len, err);
    sg_buffer_free(&page);
    return status;
}

static enum sg_status show(const struct run *run, const json_t *report, struct sg_error *err)
{
    struct sg_buffer text = {0};
    if (run->json) {
        char *json = json_dumps(report, JSON_COMPACT | JSON_REAL_PRECISION(9));
        if (!json)
            return sg_fail(err, SG_ENOMEM, "no memory for the report");
        puts(json);
        free(json);
    } else {
        sg_report_text(report, &text);
        enum sg_status status = sg_buffer_status(&text, err);
        if (status != SG_OK)
            return status;
        sg_put_safe(stdout, text.data, text.len);
        sg_buffer_free(&text);
    }
    return fflush(stdout) == 0 ? SG_OK : sg_fail(err, SG_EIO, "standard output: %s", strerror(errno));
}

static bool any_failed(const struct run *run)
{
    for (size_t i = 0; i < run->eval.n_configs; i++)
        for (size_t k = 0; k < run->rows.n * run->eval.n_tasks; k++)
            if (run->eval.configs[i].answers[k].failed)
                return true;
    return false;
}

static enum sg_status report(struct run *run, int *exit_out, struct sg_error *err)
{
    json_t *made;
    bool below = false;
    enum sg_status status = sg_report_make(&run->eval, &made, err);
    for (size_t i = 0; i < run->demands.n && status == SG_OK; i++) {
        status = sg_report_check(made, run->demands.values[i], &below, err);
        if (status != SG_OK)
            sg_fail_in(err, status, "--fail-under");
    }
    if (status == SG_OK)
        status = write_html(run, made, err);
    if (status == SG_OK)
        status = show(run, made, err);
    json_decref(made);
    *exit_out = below ? SG_EXIT_BELOW : any_failed(run) ? SG_EXIT_ROWS : SG_EXIT_OK;
    return status;
}

/* --- the verb
 * -------------------------------------------------------------------------------------------------------- */

static void say_notes(const struct run *run)
{
    const char *notes = sg_buffer_text(&run->rows.notes);
    for (const char *at = notes; *at && !run->quiet; at += strcspn(at, "\n") + 1) {
        fputs("safeguard: ", stderr);
        sg_put_safe(stderr, at, strcspn(at, "\n"));
        fputc('\n', stderr);
    }
}

static enum sg_status check_slices(const struct run *run, struct sg_error *err)
{
    for (size_t i = 0; i < run->slices.n; i++) {
        bool found = false;
        for (size_t f = 0; f < run->rows.n_fields; f++)
            found = found || strcmp(run->rows.fields[f].name, run->slices.values[i]) == 0;
        if (!found)
            return sg_fail(err, SG_EINVALID, "--slice: the data has no field \"%s\"", run->slices.values[i]);
    }
    return SG_OK;
}

static enum sg_status prepare(struct run *run, struct sg_error *err)
{
    enum sg_status status = settle_setups(run, err);
    run->eval.rows = &run->rows;
    run->attacks = run->attacks || run->attack_names.n > 0;
    if (status == SG_OK)
        status = sg_eval_rows_open(run->data.values, run->data.n, &run->dataset, &run->rows, err);
    if (status == SG_OK)
        status = settle_tasks(run, err);
    if (status == SG_OK)
        status = check_slices(run, err);
    for (size_t i = 0; i < run->n_setups && status == SG_OK; i++)
        status = sg_eval_setup_policies(&run->setups[i], &run->base.policies, &run->rows, run->eval.tasks,
                                        run->eval.n_tasks, err);
    if (status == SG_OK && run->journal_path)
        status = sg_journal_open(run->journal_path, run->resume, &run->journal, err);
    if (status == SG_OK)
        status = choose_rows(run, err);
    if (status == SG_OK && run->attacks)
        status = prepare_attacks(run, err);
    run->eval.files = run->data.values;
    run->eval.n_files = run->data.n;
    run->eval.slices = run->slices.values;
    run->eval.n_slices = run->slices.n;
    run->eval.interval = (struct sg_interval_options){run->confidence, run->resamples, run->eval_seed};
    run->eval.with_text = !run->no_text;
    run->eval.max_listed = (size_t)run->max_listed;
    run->eval.version = "safeguard " SG_VERSION;
    return status;
}

static int run_eval(struct run *run)
{
    struct sg_error err, closing;
    int exit = SG_EXIT_OK;
    sg_render_init(&run->render, run->quiet);
    enum sg_status status = prepare(run, &err);
    bool started = status == SG_OK;
    if (started) {
        say_notes(run);
        status = answer_all(run, &err);
    }
    if (status == SG_OK)
        status = report(run, &exit, &err);
    enum sg_status closed = sg_journal_close(run->journal, &closing);
    if (status == SG_OK && closed != SG_OK) {
        status = closed;
        err = closing;
    }
    if (status == SG_OK)
        return exit;
    if (sg_interrupted && status == SG_ECANCELLED) {
        fprintf(stderr, "safeguard: interrupted; %s\n",
                run->journal_path ? "the same command with --resume goes on" : "with --journal FILE it could go on");
        return SG_EXIT_INTERRUPTED;
    }
    if (started && status == SG_EUNAVAILABLE && run->journal_path)
        fputs("safeguard: what was answered stands in the journal; the same command with --resume goes on\n", stderr);
    return sg_say_error(&err, status == SG_EINVALID ? SG_EXIT_USAGE : SG_EXIT_FAILURE);
}

/* What options alone can tell; -1 when all is well. */
static int check_use(const struct run *run)
{
    const char *wrong = sg_reasoner_options_wrong(&run->base.reasoner_options);
    if (wrong)
        return sg_say_usage(&verb, "%s", wrong);
    if (run->data.n == 0)
        return sg_say_usage(&verb, "no data: say --data FILE");
    if (run->base.policies.n == 0 && run->configs.n == 0 && run->predictions.n == 0)
        return sg_say_usage(&verb, "nothing to measure: say --policy FILE, --predictions FILE or --config NAME:…");
    if (strcmp(run->split, "dev") != 0 && !run->open_test)
        return sg_say_usage(&verb, "--split %s looks at the test split; say --open-test too, it is written down",
                            run->split);
    if (run->open_test && strcmp(run->split, "dev") == 0)
        return sg_say_usage(&verb, "--open-test goes with --split test or --split all");
    if (run->resume && !run->journal_path)
        return sg_say_usage(&verb, "--resume needs --journal FILE");
    return -1;
}

static int parse(struct run *run, int *argc, char **argv)
{
    const struct sg_option options[] = {
        {"data", SG_OPTION_LIST, &run->data, "FILE",
         "labelled rows: our JSONL, CSV, or a published format (docs/labels.md); .gz too; several", 0, 0},
        SG_EVAL_SETUP_OPTIONS(run->base),
        {"label", SG_OPTION_LIST, &run->labels, "NAME",
         "the category of the data that decisions are held against; any: whether one that is\nknown is 1; "
         "any-strict: 0 only where all are known",
         0, 0},
        {"config", SG_OPTION_LIST, &run->configs, "NAME:key=value,…",
         "a configuration: the options above with these keys replaced", 0, 0},
        {"predictions", SG_OPTION_LIST, &run->predictions, "FILE", "a configuration whose answers are in FILE", 0, 0},
        {"attacks", SG_OPTION_FLAG, &run->attacks, NULL,
         "put the known evasions of violating rows to every configuration that is not recorded", 0, 0},
        {"attack", SG_OPTION_LIST, &run->attack_names, "NAME", "--attacks: only this one; several", 0, 0},
        {"attack-rows", SG_OPTION_INT, &run->attack_rows, "N", "--attacks: rows drawn for each policy (200)", 1,
         1000000},
        {"slice", SG_OPTION_LIST, &run->slices, "FIELD",
         "figures for each value of a field of the data (all fields with few values)", 0, 0},
        {"split", SG_OPTION_STRING, &run->split, "dev|test|all", "which rows (dev)", 0, 0},
        {"open-test", SG_OPTION_FLAG, &run->open_test, NULL, "--split test, all: yes, open the closed split", 0, 0},
        {"record", SG_OPTION_STRING, &run->record, "FILE", "where openings are written down (" RECORD_DEFAULT ")", 0,
         0},
        {"sample", SG_OPTION_INT, &run->sample, "N", "at most N rows, drawn at random", 1, INT_MAX},
        {"journal", SG_OPTION_STRING, &run->journal_path, "FILE", "write every verdict there at once, as JSONL", 0,
         0},
        {"resume", SG_OPTION_FLAG, &run->resume, NULL, "--journal: take the answers that are there", 0, 0},
        {"json", SG_OPTION_FLAG, &run->json, NULL, "the report as JSON instead of tables", 0, 0},
        {"html", SG_OPTION_STRING, &run->html, "FILE", "also write one self-contained page", 0, 0},
        {"no-text", SG_OPTION_FLAG, &run->no_text, NULL, "leave content and reasoning out of JSON and HTML", 0, 0},
        {"list", SG_OPTION_INT, &run->max_listed, "N", "failures and flips in JSON and HTML (500)", 0, 1000000},
        {"fail-under", SG_OPTION_LIST, &run->demands, "[NAME:]FIGURE=X",
         "exit status 4 unless the figure (f1, recall, auprc, exact_match, …) reaches X", 0, 0},
        {"confidence", SG_OPTION_DOUBLE, &run->confidence, "P", "of the intervals (0.95)", 0.5, 0.9999},
        {"bootstrap", SG_OPTION_INT, &run->resamples, "N", "resamples (1000)", 2, SG_BOOTSTRAP_MAX},
        {"eval-seed", SG_OPTION_U64, &run->eval_seed, "N", "of --sample and the resamples", 0, 0},
        {"quiet", SG_OPTION_FLAG, &run->quiet, NULL, "no progress, no notes", 0, 0},
        {"format", SG_OPTION_STRING, &run->dataset.format, SG_DATASET_FORMATS, "of the data, instead of by its looks",
         0, 0},
        {"text-field", SG_OPTION_STRING, &run->dataset.text_field, "NAME", "field or column of the content", 0, 0},
        {"id-field", SG_OPTION_STRING, &run->dataset.id_field, "NAME", "of the id", 0, 0},
        {"group-field", SG_OPTION_STRING, &run->dataset.group_field, "NAME",
         "of the group: template, campaign, near-duplicates", 0, 0},
        {"label-field", SG_OPTION_LIST, &run->label_fields, "COLUMN[=CATEGORY]", "a column that is a label", 0, 0},
        {"separator", SG_OPTION_STRING, &run->separator, "comma|semicolon|tab", "of a CSV file", 0, 0},
        {"skip-lines", SG_OPTION_INT, &run->dataset.skip_lines, "N", "lines above the header", 0, 1000000},
        {0}};
    int exit = sg_options_start(&verb, options, argc, argv, 0, 0);
    if (run->separator)
        run->dataset.separator = *run->separator == 'c' ? ',' : *run->separator == 's' ? ';' : '\t';
    run->dataset.labels = run->label_fields.values;
    run->dataset.n_labels = run->label_fields.n;
    return exit >= 0 ? exit : check_use(run);
}

static void deinit(struct run *run)
{
    for (size_t i = 0; i < run->eval.n_configs; i++) {
        struct sg_eval_config *config = &run->eval.configs[i];
        for (size_t k = 0; config->answers && k < run->rows.n * run->eval.n_tasks; k++)
            sg_answer_deinit(&config->answers[k]);
        free(config->answers);
        json_decref(config->settings);
    }
    for (size_t i = 0; i < run->n_setups; i++)
        sg_eval_setup_deinit(&run->setups[i]);
    sg_attack_set_deinit(&run->attack_set);
    sg_eval_rows_close(&run->rows);
    sg_settings_deinit(&run->settings);
}

int sg_verb_eval(int argc, char **argv)
{
    struct sg_error err;
    struct run *run = calloc(1, sizeof *run);
    if (!run)
        return SG_EXIT_FAILURE;
    run->split = "dev";
    run->record = RECORD_DEFAULT;
    run->resamples = SG_BOOTSTRAP_DEFAULT;
    run->confidence = 0.95;
    run->max_listed = 500;
    run->attack_rows = 200;
    run->base.name = "all";
    run->base.threshold = NAN;
    run->base.check.top_p = 1;
    int exit = sg_settings_load(&run->settings, &err) == SG_OK ? -1 : sg_say_error(&err, SG_EXIT_FAILURE);
    if (exit < 0) {
        sg_reasoner_options_init(&run->base.reasoner_options, &run->settings);
        run->base.check.effort = run->settings.effort;
        exit = parse(run, &argc, argv);
    }
    if (exit < 0)
        exit = run_eval(run);
    sg_catch_interrupts(NULL);
    deinit(run);
    free(run);
    return exit;
}
