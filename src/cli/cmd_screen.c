/* safeguard screen train | info | score; certify has its own file. */
#include "cli/options.h"
#include "cli/render.h"
#include "cli/verbs.h"

#include "input/input.h"
#include "safeguard/content.h"
#include "safeguard/label.h"
#include "safeguard/policy.h"
#include "safeguard/screen.h"

#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* --- train ----------------------------------------------------------------------------------------------------- */

static void show_progress(void *context, const char *what, double done)
{
    const struct sg_render *render = context;
    (void)done;
    if (render->progress)
        fprintf(render->progress, "\r\033[K%s …", what);
}

struct training {
    const struct sg_labels *labels;
    const struct sg_list *names;
    bool use_kept; /* rows that are kept for certificates too */
    struct sg_screen_category categories[SG_SCREEN_MAX_CATEGORIES];
    struct sg_screen_example *examples; /* [names][labels], one behind the other */
    size_t n_no_text, n_unknown, n_disputed, n_kept;
};

/* Rows without text cannot teach; what is kept for certificates may not. */
static bool may_teach(struct training *training, size_t i)
{
    const struct sg_labelled *row = sg_labels_at(training->labels, i);
    training->n_disputed += row->disputed;
    if (row->disputed)
        return false;
    if (!row->text) {
        training->n_no_text++;
        return false;
    }
    if (sg_labelled_is_kept(row) && !training->use_kept) {
        training->n_kept++;
        return false;
    }
    return true;
}

static enum sg_status collect(struct training *training, struct sg_error *err)
{
    size_t n = sg_labels_count(training->labels), at = 0;
    training->examples = malloc((n ? n : 1) * training->names->n * sizeof *training->examples);
    char *teaches = malloc(n + 1);
    if (!training->examples || !teaches) {
        free(teaches);
        return sg_fail(err, SG_ENOMEM, "out of memory for %zu labels", n);
    }
    for (size_t i = 0; i < n; i++)
        teaches[i] = may_teach(training, i);
    for (size_t c = 0; c < training->names->n; c++) {
        struct sg_screen_category *category = training->categories + c;
        *category = (struct sg_screen_category){training->names->values[c], training->examples + at, 0};
        for (size_t i = 0; i < n; i++) {
            int value = sg_labels_value(training->labels, i, category->name);
            const struct sg_labelled *row = sg_labels_at(training->labels, i);
            if (!teaches[i] || value == SG_LABEL_UNKNOWN) {
                training->n_unknown += teaches[i] && value == SG_LABEL_UNKNOWN;
                continue;
            }
            training->examples[at++] = (struct sg_screen_example){
                .text = row->text,
                .text_len = row->text_len,
                .value = value,
                .weight = 1,
                .calibrates = row->p_drawn > 0,
                .p_drawn = row->p_drawn > 0 ? row->p_drawn : 0,
                .group = sg_screen_group_hash(row->group),
            };
            category->n_examples++;
        }
    }
    free(teaches);
    return SG_OK;
}

static void say_notes(const struct sg_labels *labels)
{
    size_t n;
    const char *const *notes = sg_labels_notes(labels, &n);
    for (size_t i = 0; i < n; i++) {
        fputs("safeguard: ", stderr);
        sg_put_safe(stderr, notes[i], strlen(notes[i]));
        fputc('\n', stderr);
    }
}

static void say_left_out(const struct training *training)
{
    const struct {
        size_t n;
        const char *why;
    } reasons[] = {{training->n_no_text, "have no text"},
                   {training->n_disputed, "are disputed"},
                   {training->n_kept, "are kept for certificates (--use-kept takes them too)"},
                   {training->n_unknown, "have no label for a category asked for"}};
    for (size_t i = 0; i < sizeof reasons / sizeof *reasons; i++)
        if (reasons[i].n)
            fprintf(stderr, "safeguard: %zu rows left out: they %s\n", reasons[i].n, reasons[i].why);
}

static enum sg_status run_training(struct training *training, struct sg_screen_options *options, const char *out,
                                   struct sg_error *err)
{
    struct sg_screen *screen = NULL;
    struct sg_render render;
    sg_render_init(&render, false);
    options->progress = show_progress;
    options->progress_context = &render;
    enum sg_status status = collect(training, err);
    if (status == SG_OK)
        say_left_out(training);
    size_t n = 0;
    for (size_t c = 0; status == SG_OK && c < training->names->n; c++)
        n += training->categories[c].n_examples;
    if (status == SG_OK && n == 0)
        status = sg_fail(err, SG_ENOTFOUND,
                         "no labels to learn from: there is no screen, and without one everything escalates to the "
                         "reasoner (unless rules decide)");
    if (status == SG_OK)
        status = sg_screen_train(training->categories, training->names->n, options, &screen, err);
    if (render.progress)
        fputs("\r\033[K", render.progress);
    if (status == SG_OK)
        status = sg_screen_save(screen, out, err);
    char *json = NULL;
    if (status == SG_OK)
        status = sg_screen_info(screen, &json, err);
    if (status == SG_OK)
        puts(json);
    free(json);
    sg_screen_close(screen);
    free(training->examples);
    return status;
}

static int train(int argc, char **argv)
{
    const char *policy_path = NULL, *out = NULL;
    struct sg_list files = {0}, names = {0};
    struct training training = {.names = &names};
    struct sg_screen_options how = {0};
    const struct sg_option options[] = {
        {"policy", SG_OPTION_STRING, &policy_path, "FILE", "the policy that the labels belong to", 0, 0},
        {"labels", SG_OPTION_LIST, &files, "FILE",
         "label file, or rows {\"id\",\"text\",\"labels\"}; may be given several times", 0, 0},
        {"category", SG_OPTION_LIST, &names, "NAME",
         "what to learn: a category of the labels, or \"any\" violation (the default); may be given several times", 0,
         0},
        {"out", SG_OPTION_STRING, &out, "FILE", "the screen to write", 0, 0},
        {"c", SG_OPTION_DOUBLE, &how.c, "C", "inverse regularisation (default: chosen by cross-validation)", 1e-4,
         1e6},
        {"vector-scale", SG_OPTION_DOUBLE, &how.vector_scale, "X", "how much the word vectors count (default: 0.6)",
         1e-3, 100},
        {"threads", SG_OPTION_INT, &how.threads, "N", "threads (default: one for each processor)", 0, 256},
        {"seed", SG_OPTION_U64, &how.seed, "N", "of the folds of cross-validation", 0, 0},
        {"no-prior", SG_OPTION_FLAG, &how.no_prior, NULL,
         "start from these labels alone, without what open data sets teach about kinds of harm", 0, 0},
        {"use-kept", SG_OPTION_FLAG, &training.use_kept, NULL,
         "learn also from the rows that are kept for certificates; they certify nothing then", 0, 0},
        {NULL, 0, NULL, NULL, NULL, 0, 0},
    };
    static const struct sg_verb verb = {
        .name = "screen train",
        .summary = "learn a fast screen for a policy from its labels",
        .usage = "--policy FILE --labels FILE … --out FILE",
        .about = "The screen is a small file that scores a text in a few microseconds. Of the rows that were drawn\n"
                 "with a known probability, half (by a hash of their group) are kept for certificates and not\n"
                 "learnt from. Prints the description of the screen as JSON.\n",
        .examples = "  safeguard screen train --policy spam.md --labels spam.labels.jsonl --out spam.screen\n",
    };
    int exit = sg_options_start(&verb, options, &argc, argv, 0, 0);
    if (exit >= 0)
        return exit;
    if (!policy_path || !out)
        return sg_say_usage(&verb, "--policy and --out are needed");
    if (names.n == 0)
        names = (struct sg_list){.values = {"any"}, .n = 1};
    if (names.n > SG_SCREEN_MAX_CATEGORIES)
        return sg_say_usage(&verb, "--category: at most %d", SG_SCREEN_MAX_CATEGORIES);
    struct sg_error err;
    struct sg_policy *policy = NULL;
    struct sg_labels *labels = NULL;
    enum sg_status status = sg_policy_open(policy_path, &policy, &err);
    if (status == SG_OK)
        status = sg_labels_open(files.values, files.n, sg_policy_sha256(policy), &labels, &err);
    if (status == SG_OK) {
        say_notes(labels);
        training.labels = labels;
        how.policy_sha256 = sg_policy_sha256(policy);
        status = run_training(&training, &how, out, &err);
    }
    sg_labels_close(labels);
    sg_policy_close(policy);
    return status == SG_OK ? SG_EXIT_OK : sg_say_error(&err, SG_EXIT_FAILURE);
}

/* --- info ------------------------------------------------------------------------------------------------------ */

static int info(int argc, char **argv)
{
    static const struct sg_option options[] = {{NULL, 0, NULL, NULL, NULL, 0, 0}};
    static const struct sg_verb verb = {
        .name = "screen info",
        .summary = "what a screen was learnt from, as JSON",
        .usage = "SCREEN",
        .about = "A screen that is damaged or of another version is refused.\n",
        .examples = "  safeguard screen info spam.screen\n",
    };
    int exit = sg_options_start(&verb, options, &argc, argv, 1, 1);
    if (exit >= 0)
        return exit;
    struct sg_error err;
    struct sg_screen *screen;
    char *json = NULL;
    enum sg_status status = sg_screen_open(argv[0], &screen, &err);
    if (status == SG_OK)
        status = sg_screen_info(screen, &json, &err);
    if (status == SG_OK)
        puts(json);
    free(json);
    sg_screen_close(screen);
    return status == SG_OK ? SG_EXIT_OK : sg_say_error(&err, SG_EXIT_FAILURE);
}

/* --- score ----------------------------------------------------------------------------------------------------- */

#define MOST_FEATURES 100

struct scoring {
    const struct sg_screen *screen;
    size_t category;
    struct sg_screen_scratch *scratch;
    int explain; /* features shown for each row */
    size_t n_failed;
};

static json_t *signals_json(unsigned signals)
{
    json_t *list = json_array();
#define X(symbol, bit, name)                                                                                         \
    if (signals & symbol)                                                                                            \
        json_array_append_new(list, json_string(name));
    SG_SIGNAL_LIST(X)
#undef X
    return list;
}

static enum sg_status explain_json(struct scoring *scoring, const char *text, size_t len, json_t **list_out,
                                   struct sg_error *err)
{
    struct sg_screen_feature features[MOST_FEATURES];
    size_t n;
    *list_out = NULL;
    enum sg_status status = sg_screen_explain(scoring->screen, scoring->category, text, len, scoring->scratch,
                                              features, (size_t)scoring->explain, &n, err);
    if (status != SG_OK)
        return status;
    *list_out = json_array();
    for (size_t i = 0; i < n; i++)
        json_array_append_new(*list_out, json_pack("[s, f]", features[i].text, features[i].weight));
    return SG_OK;
}

/* One line of output. The score is the calibrated probability, or the logistic of the margin where the screen has no
 * calibration: both rise with the margin. */
static enum sg_status score_text(struct scoring *scoring, const char *id, const char *text, size_t len,
                                 struct sg_error *err)
{
    struct sg_screen_score score;
    json_t *features = NULL;
    enum sg_status status =
        sg_screen_score(scoring->screen, scoring->category, text, len, scoring->scratch, &score, err);
    if (status == SG_OK && scoring->explain)
        status = explain_json(scoring, text, len, &features, err);
    if (status != SG_OK)
        return status;
    bool calibrated = !isnan(score.probability);
    json_t *line =
        json_pack("{s:s, s:f, s:f, s:b, s:o, s:b, s:[I, I]}", "id", id, "score",
                  calibrated ? score.probability : 1 / (1 + exp(-score.margin)), "margin", score.margin, "calibrated",
                  calibrated, "signals", signals_json(score.signals), "evasive", score.evasive, "window",
                  (json_int_t)score.first_byte, (json_int_t)(score.first_byte + score.n_bytes));
    if (line && features)
        json_object_set(line, "features", features);
    json_decref(features);
    char *json = line ? json_dumps(line, JSON_COMPACT | JSON_REAL_PRECISION(9)) : NULL;
    json_decref(line);
    if (!json)
        return sg_fail(err, SG_ENOMEM, "out of memory for a line");
    puts(json);
    free(json);
    return SG_OK;
}

static enum sg_status score_row(struct scoring *scoring, const struct sg_input_row *row, struct sg_error *err)
{
    struct sg_content *content = NULL;
    enum sg_status status = row->is_messages
                                ? sg_content_from_json(row->text.ptr, row->text.len, SG_JUDGE_ALL, &content, err)
                                : sg_content_from_text(row->text.ptr, row->text.len, &content, err);
    if (status != SG_OK)
        return status;
    size_t len, first, judged;
    const char *text = sg_content_plain(content, &len, &first, &judged);
    status = score_text(scoring, row->id, text, len, err);
    sg_content_destroy(content);
    return status;
}

/* A row that cannot be read gets a line that says so and no score: whoever reads it may not take it for harmless. */
static void say_row_error(struct scoring *scoring, const struct sg_input_row *row, const struct sg_error *err)
{
    json_t *line = json_pack("{s:s?, s:n, s:I, s:{s:s, s:s}}", "id", row->id, "score", "line", (json_int_t)row->line,
                             "error", "code", sg_status_name(err->code), "text", err->text);
    char *json = line ? json_dumps(line, JSON_COMPACT) : NULL;
    puts(json ? json : "{\"id\":null,\"score\":null,\"error\":{\"code\":\"no_memory\"}}");
    free(json);
    json_decref(line);
    scoring->n_failed++;
}

static enum sg_status score_rows(struct scoring *scoring, const char *path, struct sg_error *err)
{
    struct sg_input_options options = {0};
    struct sg_input *input;
    enum sg_status status = sg_input_open(path, &options, &input, err);
    if (status != SG_OK)
        return status;
    for (size_t i = 0; i < sg_input_count(input); i++) {
        struct sg_input_row row;
        struct sg_error what;
        status = sg_input_row(input, i, &row, &what);
        if (status == SG_OK)
            status = score_row(scoring, &row, &what);
        if (status == SG_ENOMEM) {
            if (err)
                *err = what;
            break;
        }
        if (status != SG_OK)
            say_row_error(scoring, &row, &what);
        status = SG_OK;
    }
    sg_input_close(input);
    if (status == SG_OK && (fflush(stdout) != 0 || ferror(stdout)))
        status = sg_fail(err, SG_EIO, "standard output: write failed");
    return status;
}

static enum sg_status find_category(const struct sg_screen *screen, const char *name, size_t *category_out,
                                    struct sg_error *err)
{
    *category_out = 0;
    for (size_t i = 0; i < sg_screen_n_categories(screen); i++)
        if (strcmp(sg_screen_category_name(screen, i), name ? name : "any") == 0) {
            *category_out = i;
            return SG_OK;
        }
    if (!name && sg_screen_n_categories(screen) == 1)
        return SG_OK;
    return sg_fail(err, SG_EINVALID, "the screen has no category \"%s\" (screen info lists them)",
                   name ? name : "any");
}

static int score(int argc, char **argv)
{
    const char *category = NULL;
    struct scoring scoring = {0};
    const struct sg_option options[] = {
        {"category", SG_OPTION_STRING, &category, "NAME", "of the screen (default: any)", 0, 0},
        {"explain", SG_OPTION_INT, &scoring.explain, "N", "show the N strongest features of each row", 0,
         MOST_FEATURES},
        {NULL, 0, NULL, NULL, NULL, 0, 0},
    };
    static const struct sg_verb verb = {
        .name = "screen score",
        .summary = "score every row of a file",
        .usage = "SCREEN FILE|-",
        .about =
            "FILE has rows {\"id\",\"text\"} as JSON lines or CSV. Each row becomes one line {\"id\",\"score\",\n"
            "\"margin\",\"calibrated\",\"signals\",\"evasive\",\"window\"}: the higher the score, the likelier a\n"
            "violation. A score clears nothing by itself: thresholds come from a certificate.\n",
        .examples = "  safeguard screen score spam.screen posts.jsonl > scores.jsonl\n",
        .exits = "  0  done\n  1  it failed; standard error says what and why\n  2  wrong use\n"
                 "  3  some rows could not be scored, each has an error line\n",
    };
    int exit = sg_options_start(&verb, options, &argc, argv, 2, 2);
    if (exit >= 0)
        return exit;
    struct sg_error err;
    struct sg_screen *screen;
    enum sg_status status = sg_screen_open(argv[0], &screen, &err);
    scoring.screen = screen;
    if (status == SG_OK)
        status = find_category(screen, category, &scoring.category, &err);
    if (status == SG_OK)
        status = sg_screen_scratch_create(&scoring.scratch, &err);
    if (status == SG_OK)
        status = score_rows(&scoring, argv[1], &err);
    sg_screen_scratch_destroy(scoring.scratch);
    sg_screen_close(screen);
    if (status != SG_OK)
        return sg_say_error(&err, status == SG_EINVALID ? SG_EXIT_USAGE : SG_EXIT_FAILURE);
    return scoring.n_failed ? SG_EXIT_ROWS : SG_EXIT_OK;
}

/* --- the family ------------------------------------------------------------------------------------------------ */

static const struct sg_family_verb verbs[] = {
    {"train", train, "learn a fast screen for a policy from its labels"},
    {"learn", sg_verb_screen_learn,
     "learn a screen from the reasoner, which is asked about the rows that teach most"},
    {"info", info, "what a screen was learnt from"},
    {"score", score, "score every row of a file"},
    {"certify", sg_verb_screen_certify, "thresholds with proof of how much is missed"},
    {"watch", sg_verb_screen_watch, "is a certificate's promise still kept?"},
    {NULL, NULL, NULL},
};

int sg_verb_screen(int argc, char **argv)
{
    return sg_family_run("safeguard screen", "a fast classifier in front of the reasoner", verbs, argc, argv);
}
