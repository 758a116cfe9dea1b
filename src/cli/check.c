/* safeguard check: one content (or, with --batch, many) under one or several policies. */
#include "cli/check.h"

#include "base/file.h"
#include "cli/render.h"
#include "cli/verbs.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdlib.h>
#include <unistd.h>

static const struct sg_verb verb = {
    .name = "check",
    .summary = "judge content against a written policy",
    .usage = "--policy FILE [--model MODEL] [TEXT…]\n"
             "       safeguard check --policy FILE [--model MODEL] --file FILE\n"
             "       safeguard check --policy FILE [--model MODEL] --batch ROWS.jsonl|ROWS.csv [--out FILE]\n"
             "       safeguard check --policy FILE --reasoner URL --reasoner-model NAME …",
    .about =
        "The model reads the policy and the content, reasons, and decides. The content is TEXT (several words are\n"
        "joined by spaces), or --file, or else standard input. It is hostile by assumption: nothing in it is taken "
        "as\n"
        "an instruction. Empty content is an error (\"nothing to judge\"), not safe content.\n"
        "\n"
        "Without --model: $SAFEGUARD_MODEL, \"model\" in the settings file (~/.config/safeguard/config.yaml), else "
        "the\n"
        "small default model in the cache folder.\n",
    .examples =
        "  safeguard check --policy spam.md \"Buy followers, 5 $ for 1000!\"\n"
        "  safeguard check --policy spam.md --policy hate.md --json --file comment.txt\n"
        "  safeguard check --policy spam.md --model ollama:gpt-oss-safeguard:20b < comment.txt\n"
        "  safeguard check --policy spam.md --reasoner http://gpu:8000/v1 --reasoner-model gpt-oss-safeguard-20b hi\n"
        "  safeguard check --policy spam.md --rules spam.yaml --screen spam.screen --certificate spam.cert hi\n"
        "  safeguard check --policy chat.md --file talk.json --judge all\n"
        "  safeguard check --policy spam.md --batch rows.csv --text-field body --out verdicts.jsonl\n"
        "  safeguard check --policy spam.md --batch rows.csv --text-field body --out verdicts.jsonl --resume\n",
    .exits = "  0   no violation; --batch: every row was answered\n"
             "  10  violation\n"
             "  11  undecided\n"
             "  12  the policy asks for a person's review (of several verdicts the worst counts: 10, 12, 11, 0)\n"
             "  1   it failed; standard error says what and why\n"
             "  2   wrong use\n"
             "  3   --batch: some rows failed, each has an error line\n"
             "  130 interrupted by Ctrl-C\n",
};

volatile sig_atomic_t sg_interrupted;
static struct sg_reasoner *volatile interrupted_reasoner;
static struct sg_guard *volatile interrupted_guard;

static void on_interrupt(int number)
{
    sg_interrupted = 1;
    signal(number, SIG_DFL);
    if (interrupted_reasoner)
        sg_reasoner_cancel(interrupted_reasoner);
    if (interrupted_guard)
        sg_guard_cancel(interrupted_guard);
}

static void catch_interrupts(struct sg_reasoner *reasoner, struct sg_guard *guard)
{
    struct sigaction action = {.sa_handler = on_interrupt};
    interrupted_reasoner = reasoner;
    interrupted_guard = guard;
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
}

void sg_catch_interrupts(struct sg_reasoner *reasoner)
{
    catch_interrupts(reasoner, NULL);
}

void sg_catch_guard_interrupts(struct sg_guard *guard)
{
    catch_interrupts(NULL, guard);
}

enum sg_status sg_check_open(struct sg_check_run *run, struct sg_error *err)
{
    enum sg_status status = sg_guard_stage_open(&run->guard_options, &run->reasoner_options, &run->stage, err);
    for (size_t i = 0; i < run->n_policies && status == SG_OK; i++)
        status = sg_guard_cli_open(&run->guard_options, &run->stage, run->policies[i], &run->guards[i], err);
    return status;
}

int sg_check_exit(const struct sg_verdict *verdict)
{
    if (verdict->decision == SG_VIOLATES)
        return SG_EXIT_VIOLATION;
    if (verdict->needs_review)
        return SG_EXIT_REVIEW;
    return verdict->decision == SG_UNDECIDED ? SG_EXIT_UNDECIDED : SG_EXIT_OK;
}

int sg_check_worse(int a, int b)
{
    static const int order[] = {SG_EXIT_VIOLATION, SG_EXIT_REVIEW, SG_EXIT_UNDECIDED};
    for (size_t i = 0; i < sizeof order / sizeof order[0]; i++)
        if (a == order[i] || b == order[i])
            return order[i];
    return SG_EXIT_OK;
}

void sg_check_options_json(const struct sg_check_run *run, struct sg_buffer *out)
{
    const char *effort = run->check.effort;
    sg_buffer_printf(out, "{\"effort\":%s%s%s,\"reasoning_budget\":%d", effort ? "\"" : "", effort ? effort : "null",
                     effort ? "\"" : "", run->check.reasoning_budget);
    sg_reasoner_options_json(&run->reasoner_options, out);
    sg_guard_cli_json(&run->guard_options, run->guards[0], out);
    sg_buffer_printf(out, ",\"temperature\":%g,\"seed\":%" PRIu64 ",\"judge\":\"%s\"}", run->check.temperature,
                     run->check.seed, run->judge ? run->judge : "last");
}

enum sg_status sg_check_json(const struct sg_check_run *run, const struct sg_verdict *verdict, char **json_out,
                             struct sg_error *err)
{
    struct sg_buffer text = {0};
    *json_out = NULL;
    char *json;
    enum sg_status status = sg_verdict_to_json(verdict, &json, err);
    if (status != SG_OK)
        return status;
    size_t len = strlen(json);
    if (len < 2 || json[len - 1] != '}') {
        free(json);
        return sg_fail(err, SG_EINTERNAL, "the verdict's JSON is not an object");
    }
    sg_buffer_append(&text, json, len - 1);
    sg_buffer_puts(&text, ",\"options\":");
    sg_check_options_json(run, &text);
    sg_buffer_putc(&text, '}');
    free(json);
    status = sg_buffer_status(&text, err);
    if (status == SG_OK)
        *json_out = sg_buffer_take(&text);
    sg_buffer_free(&text);
    return status;
}

/* "last", "all", or an index. */
static bool parse_judge(const char *text, int *judge_out)
{
    char *end;
    long number = strtol(text, &end, 10);
    if (strcmp(text, "last") == 0)
        *judge_out = SG_JUDGE_LAST;
    else if (strcmp(text, "all") == 0)
        *judge_out = SG_JUDGE_ALL;
    else if (end != text && !*end && number >= 0 && number < SG_CONTENT_MAX_MESSAGES && text[0] != '+')
        *judge_out = (int)number;
    else
        return false;
    return true;
}

static bool ends_with(const char *text, const char *ending)
{
    size_t n = strlen(text), m = strlen(ending);
    return n >= m && strcmp(text + n - m, ending) == 0;
}

/* Does it look like {"messages": …}? Only to say so: text is never taken for a conversation by its looks, because
 * whoever wrote the content could choose then which part of it is judged. */
static bool looks_like_conversation(const struct sg_buffer *text)
{
    const char *at = sg_buffer_text(text);
    at += strspn(at, " \t\r\n");
    if (*at++ != '{')
        return false;
    at += strspn(at, " \t\r\n");
    return strncmp(at, "\"messages\"", 10) == 0;
}

static enum sg_status read_content(struct sg_check_run *run, char **words, int n_words,
                                   struct sg_content **content_out, struct sg_error *err)
{
    struct sg_buffer text = {0};
    enum sg_status status = SG_OK;
    *content_out = NULL;
    for (int i = 0; i < n_words; i++)
        sg_buffer_printf(&text, "%s%s", i ? " " : "", words[i]);
    if (n_words == 0)
        status = sg_file_read(run->file ? run->file : "-", SG_CONTENT_MAX_BYTES, &text, err);
    if (status == SG_OK)
        status = sg_buffer_status(&text, err);
    bool conversation = run->conversation || run->judge || (run->file && ends_with(run->file, ".json"));
    if (status == SG_OK && conversation) {
        status = sg_content_from_json(sg_buffer_text(&text), text.len, run->judge_index, content_out, err);
    } else if (status == SG_OK) {
        if (looks_like_conversation(&text) && !run->quiet)
            fprintf(stderr, "safeguard: the content looks like a conversation and is judged as plain text; "
                            "--conversation reads it as one\n");
        status = sg_content_from_text(sg_buffer_text(&text), text.len, content_out, err);
    }
    sg_buffer_free(&text);
    return status;
}

static enum sg_status show(struct sg_check_run *run, struct sg_render *render, const struct sg_policy *policy,
                           const struct sg_verdict *verdict, struct sg_error *err)
{
    if (run->json) {
        char *json;
        enum sg_status status = sg_check_json(run, verdict, &json, err);
        if (status == SG_OK)
            printf("%s\n", json);
        free(json);
        return status;
    }
    if (run->quiet) {
        if (run->n_policies > 1) {
            sg_put_safe(stdout, sg_policy_id(policy), strlen(sg_policy_id(policy)));
            fputs(": ", stdout);
        }
        printf("%s%s\n", sg_decision_name(verdict->decision), verdict->needs_review ? ", needs review" : "");
        return SG_OK;
    }
    sg_render_verdict(render, policy, verdict);
    return SG_OK;
}

static int check_one(struct sg_check_run *run, char **words, int n_words)
{
    struct sg_error err;
    struct sg_content *content;
    if (read_content(run, words, n_words, &content, &err) != SG_OK)
        return sg_say_error(&err, SG_EXIT_FAILURE);
    struct sg_render render;
    sg_render_init(&render, run->quiet || run->json);
    if (render.progress && !run->reasoner_options.remote.url)
        fputs("loading the model …\r", render.progress);
    enum sg_status status = sg_check_open(run, &err);
    if (render.progress)
        fputs("\033[K", render.progress);
    int exit = SG_EXIT_OK;
    if (status == SG_OK)
        sg_catch_guard_interrupts(run->guards[0]); /* all share what there is to interrupt */
    for (size_t i = 0; i < run->n_policies && status == SG_OK; i++) {
        struct sg_verdict verdict;
        sg_verdict_init(&verdict);
        if (i > 0 && !run->quiet && !run->json)
            fputc('\n', render.out);
        sg_render_begin(&render);
        status = sg_guard_check(run->guards[i], content, &run->check, sg_render_stream, &render, &verdict, &err);
        sg_render_end(&render);
        if (status == SG_OK && sg_interrupted)
            status = sg_fail(&err, SG_ECANCELLED, "interrupted");
        if (status == SG_OK)
            status = show(run, &render, run->policies[i], &verdict, &err);
        exit = sg_check_worse(exit, sg_check_exit(&verdict));
        sg_verdict_deinit(&verdict);
    }
    sg_content_destroy(content);
    if (status == SG_OK && fflush(stdout) != 0)
        status = sg_fail(&err, SG_EIO, "standard output: %s", strerror(errno));
    if (status != SG_OK)
        return sg_say_error(&err, sg_interrupted ? SG_EXIT_INTERRUPTED : SG_EXIT_FAILURE);
    return exit;
}

/* What options alone can tell; -1 when all is well. */
static int check_use(struct sg_check_run *run, int n_words)
{
    if (run->policy_paths.n == 0)
        return sg_say_usage(&verb, "no policy: say --policy FILE");
    if (run->judge && !parse_judge(run->judge, &run->judge_index))
        return sg_say_usage(&verb, "--judge: got \"%s\", expected last, all, or an index from 0", run->judge);
    if (n_words > 0 && (run->file || run->batch))
        return sg_say_usage(&verb, "content is given twice: as text and by %s", run->file ? "--file" : "--batch");
    if (run->file && run->batch)
        return sg_say_usage(&verb, "content is given twice: by --file and by --batch");
    if (!run->batch && (run->out || run->resume))
        return sg_say_usage(&verb, "%s goes with --batch", run->out ? "--out" : "--resume");
    if (run->resume && !run->out)
        return sg_say_usage(&verb, "--resume needs --out FILE");
    const char *wrong = sg_reasoner_options_wrong(&run->reasoner_options);
    if (!wrong)
        wrong = sg_guard_cli_wrong(&run->guard_options, run->policy_paths.n);
    if (wrong)
        return sg_say_usage(&verb, "%s", wrong);
    if (run->resume && run->overwrite)
        return sg_say_usage(&verb, "--resume and --overwrite exclude each other");
    if (!run->batch && n_words == 0 && !run->file && isatty(STDIN_FILENO))
        return sg_say_usage(&verb, "nothing to judge: give TEXT, --file FILE, or standard input");
    return -1;
}

static int run_check(struct sg_check_run *run, char **words, int n_words)
{
    struct sg_error err;
    for (; run->n_policies < run->policy_paths.n; run->n_policies++) {
        const char *path = run->policy_paths.values[run->n_policies];
        if (sg_policy_open(path, &run->policies[run->n_policies], &err) != SG_OK)
            return sg_say_error(&err, SG_EXIT_FAILURE);
    }
    return run->batch ? sg_batch_run(run) : check_one(run, words, n_words);
}

/* Defaults from the settings file, then the command line over them; -1 means go on. */
static int parse(struct sg_check_run *run, int *argc, char **argv)
{
    const struct sg_option options[] = {
        {"policy", SG_OPTION_LIST, &run->policy_paths, "FILE",
         "the policy, Markdown or plain text; several: each is judged by itself", 0, 0},
        SG_REASONER_OPTIONS(run->reasoner_options),
        SG_GUARD_OPTIONS(run->guard_options),
        {"file", SG_OPTION_STRING, &run->file, "FILE",
         "take the content from FILE; a name that ends in .json is read as a conversation", 0, 0},
        {"conversation", SG_OPTION_FLAG, &run->conversation, NULL,
         "the content is {\"messages\":[{\"role\",\"content\"}…]}; the last one is judged", 0, 0},
        {"judge", SG_OPTION_STRING, &run->judge, "last, all or N",
         "which message of the conversation is judged (implies --conversation)", 0, 0},
        {"json", SG_OPTION_FLAG, &run->json, NULL, "one JSON object per verdict (docs/verdict.md)", 0, 0},
        {"quiet", SG_OPTION_FLAG, &run->quiet, NULL, "the verdict alone", 0, 0},
        {"effort", SG_OPTION_STRING, &run->check.effort, "low|medium|high",
         "how long the model reasons (the policy's own, else medium)", 0, 0},
        {"reasoning-budget", SG_OPTION_INT, &run->check.reasoning_budget, "TOKENS",
         "end the reasoning after so many tokens and ask for the decision", 0, 1e6},
        {"seed", SG_OPTION_U64, &run->check.seed, "N", "for --temperature above 0", 0, 0},
        {"temperature", SG_OPTION_DOUBLE, &run->check.temperature, "T", "0 (greedy) unless given", 0, 10},
        {"batch", SG_OPTION_STRING, &run->batch, "ROWS",
         "judge every row of a .jsonl, .csv or .tsv file (- is stdin)", 0, 0},
        {"out", SG_OPTION_STRING, &run->out, "FILE", "--batch: where JSONL goes (standard output)", 0, 0},
        {"resume", SG_OPTION_FLAG, &run->resume, NULL,
         "--batch: keep what --out has already answered for the same id, policy, model and\noptions; judge the rest",
         0, 0},
        {"overwrite", SG_OPTION_FLAG, &run->overwrite, NULL, "--batch: replace an --out file that is not empty", 0,
         0},
        {"text-field", SG_OPTION_STRING, &run->input.text_field, "NAME",
         "--batch: field or column of the content (text; JSONL also messages)", 0, 0},
        {"id-field", SG_OPTION_STRING, &run->input.id_field, "NAME",
         "--batch: field or column of the id (id where there is one, else the row's number)", 0, 0},
        {"format", SG_OPTION_STRING, &run->format, "jsonl|csv", "--batch: instead of by the file's name", 0, 0},
        {"separator", SG_OPTION_STRING, &run->separator, "comma|semicolon|tab",
         "--batch: of a CSV file, instead of by its header line", 0, 0},
        {"skip-lines", SG_OPTION_INT, &run->input.skip_lines, "N", "--batch: lines above the header", 0, 1000000},
        {0}};
    struct sg_error err;
    if (sg_settings_load(&run->settings, &err) != SG_OK)
        return sg_say_error(&err, SG_EXIT_FAILURE);
    sg_reasoner_options_init(&run->reasoner_options, &run->settings);
    sg_guard_cli_init(&run->guard_options);
    run->check.effort = run->settings.effort;
    int exit = sg_options_start(&verb, options, argc, argv, 0, INT_MAX);
    if (run->format)
        run->input.format = strcmp(run->format, "csv") == 0 ? SG_INPUT_CSV : SG_INPUT_JSONL;
    if (run->separator)
        run->input.separator = *run->separator == 'c' ? ',' : *run->separator == 's' ? ';' : '\t';
    return exit >= 0 ? exit : check_use(run, *argc);
}

int sg_verb_check(int argc, char **argv)
{
    struct sg_check_run run = {.verb = &verb, .judge_index = SG_JUDGE_LAST, .check = {.top_p = 1}};
    int exit = parse(&run, &argc, argv);
    if (exit < 0)
        exit = run_check(&run, argv, argc);
    interrupted_guard = NULL;
    for (size_t i = 0; i < run.n_policies; i++)
        sg_guard_close(run.guards[i]);
    sg_guard_stage_close(&run.stage);
    for (size_t i = 0; i < run.n_policies; i++)
        sg_policy_close(run.policies[i]);
    sg_settings_deinit(&run.settings);
    return exit;
}
