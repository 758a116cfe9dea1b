/* safeguard labels add | import | stats. */
#include "cli/options.h"
#include "cli/render.h"
#include "cli/verbs.h"

#include "base/file.h"
#include "labels/label_import.h"
#include "labels/label_stats.h"
#include "safeguard/content.h"
#include "safeguard/policy.h"

#include <jansson.h>
#include <limits.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define MAX_SHOWN 20 /* names of a list in stats, and notes on standard error */

static void put(const char *text)
{
    sg_put_safe(stdout, text, strlen(text));
}

/* The policy's version; SG_OK with an empty string when no policy is named. */
static enum sg_status policy_version(const char *path, char sha256_out[SG_SHA256_HEX], struct sg_error *err)
{
    struct sg_policy *policy = NULL;
    sha256_out[0] = '\0';
    if (!path)
        return SG_OK;
    enum sg_status status = sg_policy_open(path, &policy, err);
    if (status == SG_OK)
        memcpy(sha256_out, sg_policy_sha256(policy), SG_SHA256_HEX);
    sg_policy_close(policy);
    return status;
}

static void show_notes(const char *const *notes, size_t n)
{
    for (size_t i = 0; i < n && i < MAX_SHOWN; i++) {
        sg_put_safe(stderr, notes[i], strlen(notes[i]));
        fputc('\n', stderr);
    }
    if (n > MAX_SHOWN)
        fprintf(stderr, "… and %zu more notes\n", n - MAX_SHOWN);
}

/* --- add -------------------------------------------------------------------------------------------------- */

struct add_options {
    const char *policy, *labels, *file, *label, *who, *role, *id, *group, *drawn;
    struct sg_list categories;
    double p_drawn;
    bool no_text;
};

static enum sg_status parse_categories(const struct sg_list *list, char **names, struct sg_label_value *values,
                                       struct sg_error *err)
{
    for (size_t i = 0; i < list->n; i++) {
        const char *equals = strrchr(list->values[i], '=');
        if (!equals || equals == list->values[i])
            return sg_fail(err, SG_EINVALID, "--category: got \"%.64s\", expected NAME=1 or NAME=0", list->values[i]);
        names[i] = strndup(list->values[i], (size_t)(equals - list->values[i]));
        if (!names[i])
            return sg_fail(err, SG_ENOMEM, "out of memory");
        values[i].category = names[i];
        if (sg_label_spelling(sg_slice_of(equals + 1), &values[i].value, err) != SG_OK)
            return sg_fail_in(err, SG_EINVALID, "--category %.64s", names[i]);
    }
    return SG_OK;
}

/* The content as it is judged: a file, or the words. */
static enum sg_status read_content(const struct add_options *options, char **words, struct sg_content **content_out,
                                   struct sg_error *err)
{
    struct sg_buffer text = {0};
    enum sg_status status = SG_OK;
    *content_out = NULL;
    if (options->file)
        status = sg_file_read(options->file, SG_CONTENT_MAX_BYTES, &text, err);
    else
        sg_buffer_puts(&text, words[0]);
    if (status == SG_OK)
        status = sg_buffer_status(&text, err);
    size_t len = options->file ? strlen(options->file) : 0;
    bool conversation = len > 5 && strcmp(options->file + len - 5, ".json") == 0;
    if (status == SG_OK)
        status = conversation ? sg_content_from_json(text.data, text.len, SG_JUDGE_LAST, content_out, err)
                              : sg_content_from_text(sg_buffer_text(&text), text.len, content_out, err);
    sg_buffer_free(&text);
    return status;
}

static enum sg_status append_line(const struct add_options *options, const struct sg_label_line *line,
                                  struct sg_error *err)
{
    struct sg_label_writer *writer;
    enum sg_status status = sg_label_writer_open(options->labels, &writer, err);
    if (status != SG_OK)
        return status;
    status = sg_label_writer_add(writer, line, err);
    struct sg_error close_error;
    enum sg_status closed = sg_label_writer_close(writer, &close_error);
    return status == SG_OK && closed != SG_OK ? sg_fail(err, closed, "%s", close_error.text) : status;
}

static enum sg_status add_label(const struct add_options *options, char **words, struct sg_error *err)
{
    char policy[SG_SHA256_HEX], sha256[SG_SHA256_HEX], *names[SG_LIST_MAX] = {NULL};
    struct sg_label_value values[SG_LIST_MAX];
    struct sg_content *content = NULL;
    struct sg_label_line line = {.violation = strcmp(options->label, "violates") == 0 ? 1
                                              : strcmp(options->label, "safe") == 0   ? 0
                                                                                      : SG_LABEL_UNKNOWN,
                                 .categories = values,
                                 .n_categories = options->categories.n,
                                 .id = options->id,
                                 .who = options->who,
                                 .time = time(NULL),
                                 .drawn = options->drawn,
                                 .p_drawn = options->p_drawn,
                                 .group = options->group};
    sg_label_role_of(options->role, &line.role);
    enum sg_status status = policy_version(options->policy, policy, err);
    if (status == SG_OK)
        status = parse_categories(&options->categories, names, values, err);
    if (status == SG_OK)
        status = read_content(options, words, &content, err);
    if (status == SG_OK) {
        line.policy_sha256 = policy;
        line.text = sg_content_text(content, &line.text_len);
        sg_sha256(line.text, line.text_len, sha256);
        line.content_sha256 = sha256;
        if (options->no_text)
            line.text = NULL;
        status = append_line(options, &line, err);
    }
    if (status == SG_OK)
        printf("%s\n", sha256);
    sg_content_destroy(content);
    for (size_t i = 0; i < SG_LIST_MAX; i++)
        free(names[i]);
    return status;
}

static int add(int argc, char **argv)
{
    static const struct sg_verb verb = {
        .name = "labels add",
        .summary = "say what one content is under a policy",
        .usage =
            "--policy FILE --labels FILE --label violates|safe --who NAME [--role ROLE] [TEXT | --content-file FILE]",
        .about =
            "Appends one line to the label file, which is made when it is not there, and prints the content's hash.\n"
            "A later label of the same person on the same content replaces the earlier one; --label unknown takes\n"
            "it back. People who disagree make the content disputed (docs/labels.md).\n",
        .examples =
            "  safeguard labels add --policy spam.md --labels spam.labels.jsonl --label violates --who anna \\\n"
            "      \"You have won! Send your bank details.\"\n"
            "  safeguard labels add --policy spam.md --labels spam.labels.jsonl --label safe --who berta \\\n"
            "      --role review --no-text --content-file message.txt\n",
    };
    struct add_options own = {.role = "gold", .p_drawn = NAN};
    const struct sg_option options[] = {
        {"policy", SG_OPTION_STRING, &own.policy, "FILE", "the policy that the label is about", 0, 0},
        {"labels", SG_OPTION_STRING, &own.labels, "FILE", "the label file", 0, 0},
        {"content-file", SG_OPTION_STRING, &own.file, "FILE",
         "the content; a name that ends in .json is read as a conversation; - is standard input", 0, 0},
        {"label", SG_OPTION_STRING, &own.label, "violates|safe|unknown", "what it is", 0, 0},
        {"category", SG_OPTION_LIST, &own.categories, "NAME=1", "what it is in one category (=0: not)", 0, 0},
        {"who", SG_OPTION_STRING, &own.who, "NAME", "the person who says so", 0, 0},
        {"role", SG_OPTION_STRING, &own.role, "gold|review|appeal",
         "in what role (gold): an appeal outranks a review, a review outranks gold", 0, 0},
        {"id", SG_OPTION_STRING, &own.id, "ID", "the content's id, where it has one", 0, 0},
        {"group", SG_OPTION_STRING, &own.group, "NAME", "template, campaign or cluster that it belongs to", 0, 0},
        {"drawn", SG_OPTION_STRING, &own.drawn, "uniform|uncertainty|audit|picked",
         "how it was drawn from the traffic", 0, 0},
        {"p", SG_OPTION_DOUBLE, &own.p_drawn, "P", "with what probability", 0, 1},
        {"no-text", SG_OPTION_FLAG, &own.no_text, NULL, "keep the hash of the content alone", 0, 0},
        {0}};
    int exit = sg_options_start(&verb, options, &argc, argv, 0, 1);
    if (exit >= 0)
        return exit;
    const char *missing = !own.policy   ? "policy"
                          : !own.labels ? "labels"
                          : !own.label  ? "label"
                          : !own.who    ? "who"
                                        : NULL;
    if (missing)
        return sg_say_usage(&verb, "--%s is missing", missing);
    if (argc > 0 ? own.file != NULL : own.file == NULL)
        return sg_say_usage(&verb, "give the content once: as TEXT or by --content-file");
    struct sg_error err;
    enum sg_status status = add_label(&own, argv, &err);
    return status == SG_OK ? SG_EXIT_OK : sg_say_error(&err, status == SG_EINVALID ? SG_EXIT_USAGE : SG_EXIT_FAILURE);
}

/* --- import ----------------------------------------------------------------------------------------------- */

static void count_note(void *context, const char *text)
{
    size_t *n = context;
    if ((*n)++ < MAX_SHOWN) {
        sg_put_safe(stderr, text, strlen(text));
        fputc('\n', stderr);
    }
}

static void print_report(const struct sg_import_report *report, bool json)
{
    const struct {
        const char *name, *text;
        size_t n;
        bool always;
    } lines[] = {
        {"rows", "rows", report->n_rows, true},
        {"added", "added", report->n_added, true},
        {"already", "said before: nothing added", report->n_already, true},
        {"unlabelled", "without any label: left out", report->n_unlabelled, false},
        {"unusable", "that cannot be used: left out (see above)", report->n_unusable, false},
        {"no_violation", "without a value of the category that was asked for: its label is unknown",
         report->n_no_violation, false},
        {"contradictions", "whose text stands in the data with another label too: disputed", report->n_voices, false},
        {"grouped", "that are near-duplicates of an earlier one: in its group", report->n_grouped, false},
        {"split", "that were there before resemble each other and stand in different groups", report->n_split, false},
    };
    json_t *object = json ? json_object() : NULL;
    for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++) {
        if (object)
            json_object_set_new(object, lines[i].name, json_integer((json_int_t)lines[i].n));
        else if (lines[i].n || lines[i].always)
            printf("%8zu %s\n", lines[i].n, lines[i].text);
    }
    if (object) {
        json_dumpf(object, stdout, JSON_COMPACT);
        putchar('\n');
        json_decref(object);
    }
}

struct import_command {
    const char *policy, *labels, *role, *group, *separator;
    struct sg_list data, label_fields;
    struct sg_import_options import;
    bool json;
};

static enum sg_status run_import(struct import_command *command, struct sg_error *err)
{
    char policy[SG_SHA256_HEX];
    struct sg_import_report report;
    size_t n_notes = 0;
    enum sg_status status = policy_version(command->policy, policy, err);
    if (status != SG_OK)
        return status;
    command->import.policy_sha256 = policy;
    command->import.time = time(NULL);
    command->import.data.labels = command->label_fields.values;
    command->import.data.n_labels = command->label_fields.n;
    status = sg_labels_import(command->labels, command->data.values, command->data.n, &command->import, count_note,
                              &n_notes, &report, err);
    if (n_notes > MAX_SHOWN)
        fprintf(stderr, "… and %zu more rows\n", n_notes - MAX_SHOWN);
    print_report(&report, command->json);
    return status;
}

static int import(int argc, char **argv)
{
    static const struct sg_verb verb = {
        .name = "labels import",
        .summary = "take the labels of data sets into a label file",
        .usage = "--policy FILE --labels FILE --data FILE… [--category NAME] [--who NAME] [--role ROLE]",
        .about =
            "Reads JSONL and CSV, also .gz, of one's own or as published (ToxicChat, OpenAI's moderation set of "
            "2022,\n"
            "HateCheck, OpenAI Guardrails); docs/labels.md has the shapes. What the label file says already is not\n"
            "written again: an import that was cut off is simply repeated. --drawn uniform --p P says that every\n"
            "row was drawn from the traffic at random, each with probability P: rows without it train a screen and\n"
            "prove nothing.\n",
        .examples = "  safeguard labels import --policy spam.md --labels spam.labels.jsonl --data sms.csv \\\n"
                    "      --label-field is_spam=spam --category spam --drawn uniform --p 1 --group near-duplicate\n",
    };
    struct import_command own = {.role = "gold", .import = {.category = "any", .drawn = "picked", .p_drawn = NAN}};
    struct sg_dataset_options *data = &own.import.data;
    const struct sg_option options[] = {
        {"policy", SG_OPTION_STRING, &own.policy, "FILE", "the policy that the labels are about", 0, 0},
        {"labels", SG_OPTION_STRING, &own.labels, "FILE", "the label file", 0, 0},
        {"data", SG_OPTION_LIST, &own.data, "FILE", "a data set; may be given several times", 0, 0},
        {"category", SG_OPTION_STRING, &own.import.category, "NAME",
         "the category whose label is the policy's (any: violated when one of them is, safe\nwhen all that are known "
         "are not; any-strict: safe only where every one is known)",
         0, 0},
        {"who", SG_OPTION_STRING, &own.import.who, "NAME", "whose labels they are (data:FILE)", 0, 0},
        {"role", SG_OPTION_STRING, &own.role, "gold|review|appeal", "in what role (gold)", 0, 0},
        {"drawn", SG_OPTION_STRING, &own.import.drawn, "uniform|audit|picked",
         "how the rows were drawn, where they do not say (picked)", 0, 0},
        {"p", SG_OPTION_DOUBLE, &own.import.p_drawn, "P", "with what probability each", 0, 1},
        {"group", SG_OPTION_STRING, &own.group, "near-duplicate",
         "near-duplicates, here and in the label file, are one group", 0, 0},
        {"group-field", SG_OPTION_STRING, &data->group_field, "NAME", "field or column of the group", 0, 0},
        {"no-text", SG_OPTION_FLAG, &own.import.no_text, NULL, "keep hashes of the contents alone", 0, 0},
        {"format", SG_OPTION_STRING, &data->format, SG_DATASET_FORMATS, "instead of by columns or fields", 0, 0},
        {"text-field", SG_OPTION_STRING, &data->text_field, "NAME", "field or column of the content (text)", 0, 0},
        {"id-field", SG_OPTION_STRING, &data->id_field, "NAME", "field or column of the id (id)", 0, 0},
        {"label-field", SG_OPTION_LIST, &own.label_fields, "NAME[=CATEGORY]", "field or column of a label", 0, 0},
        {"separator", SG_OPTION_STRING, &own.separator, "comma|semicolon|tab",
         "of a CSV file, instead of by its header line", 0, 0},
        {"skip-lines", SG_OPTION_INT, &data->skip_lines, "N", "lines above the header", 0, 1000000},
        {"json", SG_OPTION_FLAG, &own.json, NULL, "the counts as one JSON object", 0, 0},
        {0}};
    int exit = sg_options_start(&verb, options, &argc, argv, 0, 0);
    if (exit >= 0)
        return exit;
    const char *missing = !own.policy ? "policy" : !own.labels ? "labels" : own.data.n == 0 ? "data" : NULL;
    if (missing)
        return sg_say_usage(&verb, "--%s is missing", missing);
    if (own.group && strcmp(own.group, "near-duplicate") != 0)
        return sg_say_usage(&verb, "--group: got \"%s\", expected near-duplicate (--group-field names a column)",
                            own.group);
    bool picked = strcmp(own.import.drawn, "picked") == 0;
    if (picked && !isnan(own.import.p_drawn))
        return sg_say_usage(&verb, "--p: rows that were picked have no probability; say --drawn uniform or audit");
    if (!picked && !(own.import.p_drawn > 0))
        return sg_say_usage(&verb, "--drawn %s needs --p P above 0: with what probability was each row drawn?",
                            own.import.drawn);
    sg_label_role_of(own.role, &own.import.role);
    own.import.near_duplicates = own.group != NULL;
    if (own.separator)
        data->separator = *own.separator == 'c' ? ',' : *own.separator == 's' ? ';' : '\t';
    struct sg_error err;
    enum sg_status status = run_import(&own, &err);
    return status == SG_OK ? SG_EXIT_OK : sg_say_error(&err, status == SG_EINVALID ? SG_EXIT_USAGE : SG_EXIT_FAILURE);
}

/* --- stats ------------------------------------------------------------------------------------------------ */

static double percent(size_t n, size_t of)
{
    return of ? 100.0 * (double)n / (double)of : 0;
}

static void print_counts(const char *title, const struct sg_named_count *counts, size_t n)
{
    printf("\n%s\n", title);
    for (size_t i = 0; i < n && i < MAX_SHOWN; i++) {
        printf("%10zu  ", counts[i].n);
        put(counts[i].name);
        putchar('\n');
    }
    if (n > MAX_SHOWN)
        printf("            and %zu more\n", n - MAX_SHOWN);
}

static void print_agreement(const struct sg_agreement *agreement)
{
    size_t n = agreement->n[0][0] + agreement->n[0][1] + agreement->n[1][0] + agreement->n[1][1];
    printf("\nagreement of people with the reasoner\n");
    if (n == 0) {
        printf("            n/a: no content has a label of both\n");
        return;
    }
    printf("%10zu  contents with a label of both, equal on %.1f %%\n", n, 100 * agreement->observed);
    printf("%10zu  violate and the reasoner says safe, %zu the other way round\n", agreement->n[1][0],
           agreement->n[0][1]);
    if (isnan(agreement->kappa))
        printf("            kappa n/a: one side always says the same\n");
    else
        printf("            Cohen's kappa %.3f (95 %%: %.3f to %.3f)\n", agreement->kappa, agreement->low,
               agreement->high);
}

static void print_categories(const struct sg_labels *labels)
{
    size_t n;
    const char *const *names = sg_labels_categories(labels, &n);
    if (n)
        printf("\ncategories: violating, safe\n");
    for (size_t k = 0; k < n; k++) {
        size_t counts[2] = {0, 0};
        for (size_t i = 0; i < sg_labels_count(labels); i++) {
            int value = sg_labels_value(labels, i, names[k]);
            if (value != SG_LABEL_UNKNOWN)
                counts[value]++;
        }
        printf("%10zu %10zu  ", counts[1], counts[0]);
        put(names[k]);
        putchar('\n');
    }
}

static void print_stats(const struct sg_labels *labels, const struct sg_label_stats *stats)
{
    size_t n = stats->n_contents;
    printf("%10zu  contents, %zu with their text; %zu labels\n", n, stats->n_with_text, stats->n_labels);
    printf("%10zu  violate (%.1f %%)\n", stats->n_violates, percent(stats->n_violates, n));
    printf("%10zu  are safe\n", stats->n_safe);
    if (stats->n_unknown)
        printf("%10zu  have no known label\n", stats->n_unknown);
    if (stats->n_disputed)
        printf("%10zu  are disputed: people disagree, used for neither training nor proof\n", stats->n_disputed);
    printf("%10zu  are decided by people, %zu by the reasoner\n", stats->n_by_person, stats->n_by_reasoner);
    print_counts("who", stats->who, stats->n_who);
    printf("\nroles\n");
    for (size_t i = 0; i < 4; i++)
        if (stats->n_roles[i])
            printf("%10zu  %s\n", stats->n_roles[i], sg_label_role_name((enum sg_label_role)i));
    print_counts("drawn", stats->drawn, stats->n_drawn);
    if (stats->n_drawn_known)
        printf("%10zu  with a recorded probability, %g to %g\n", stats->n_drawn_known, stats->p_low, stats->p_high);
    printf("\ngroups\n%10zu  groups, the largest of %zu contents\n", stats->n_groups, stats->largest_group);
    printf("%10zu  contents are near-duplicates of an earlier one", stats->n_near);
    if (stats->n_near_apart)
        printf("; %zu stand in another group: a certificate needs\n            them together "
               "(labels import --group near-duplicate)",
               stats->n_near_apart);
    putchar('\n');
    print_categories(labels);
    print_agreement(&stats->agreement);
    size_t n_attempts;
    sg_labels_attempts(labels, &n_attempts);
    if (n_attempts)
        printf("\n%10zu  attempts at a certificate\n", n_attempts);
}

static json_t *counts_json(const struct sg_named_count *counts, size_t n)
{
    json_t *object = json_object();
    for (size_t i = 0; i < n; i++)
        json_object_set_new(object, counts[i].name, json_integer((json_int_t)counts[i].n));
    return object;
}

static json_t *number_json(double number)
{
    return isnan(number) ? json_null() : json_real(number);
}

static json_t *categories_json(const struct sg_labels *labels)
{
    size_t n;
    const char *const *names = sg_labels_categories(labels, &n);
    json_t *object = json_object();
    for (size_t k = 0; k < n; k++) {
        json_int_t counts[2] = {0, 0};
        for (size_t i = 0; i < sg_labels_count(labels); i++) {
            int value = sg_labels_value(labels, i, names[k]);
            if (value != SG_LABEL_UNKNOWN)
                counts[value]++;
        }
        json_object_set_new(object, names[k], json_pack("{s:I, s:I}", "violates", counts[1], "safe", counts[0]));
    }
    return object;
}

static void print_stats_json(const struct sg_labels *labels, const struct sg_label_stats *stats)
{
    size_t n_attempts, n_notes;
    sg_labels_attempts(labels, &n_attempts);
    const char *const *notes = sg_labels_notes(labels, &n_notes);
    const struct sg_agreement *agreement = &stats->agreement;
    json_t *roles = json_object(), *left_out = json_array();
    for (size_t i = 0; i < 4; i++)
        json_object_set_new(roles, sg_label_role_name((enum sg_label_role)i),
                            json_integer((json_int_t)stats->n_roles[i]));
    for (size_t i = 0; i < n_notes; i++)
        json_array_append_new(left_out, json_string(notes[i]));
    const struct {
        const char *name;
        size_t n;
    } counts[] = {{"contents", stats->n_contents},
                  {"labels", stats->n_labels},
                  {"with_text", stats->n_with_text},
                  {"violates", stats->n_violates},
                  {"safe", stats->n_safe},
                  {"unknown", stats->n_unknown},
                  {"disputed", stats->n_disputed},
                  {"by_person", stats->n_by_person},
                  {"by_reasoner", stats->n_by_reasoner},
                  {"with_probability", stats->n_drawn_known},
                  {"groups", stats->n_groups},
                  {"largest_group", stats->largest_group},
                  {"near_duplicates", stats->n_near},
                  {"near_duplicates_apart", stats->n_near_apart},
                  {"attempts", n_attempts}};
    json_t *object = json_object();
    for (size_t i = 0; i < sizeof counts / sizeof counts[0]; i++)
        json_object_set_new(object, counts[i].name, json_integer((json_int_t)counts[i].n));
    json_object_set_new(object, "who", counts_json(stats->who, stats->n_who));
    json_object_set_new(object, "roles", roles);
    json_object_set_new(object, "drawn", counts_json(stats->drawn, stats->n_drawn));
    json_object_set_new(object, "categories", categories_json(labels));
    json_object_set_new(object, "agreement",
                        json_pack("{s:I, s:I, s:I, s:I, s:o, s:o, s:o, s:o}", "both_violate",
                                  (json_int_t)agreement->n[1][1], "person_only", (json_int_t)agreement->n[1][0],
                                  "reasoner_only", (json_int_t)agreement->n[0][1], "both_safe",
                                  (json_int_t)agreement->n[0][0], "observed", number_json(agreement->observed),
                                  "kappa", number_json(agreement->kappa), "low", number_json(agreement->low), "high",
                                  number_json(agreement->high)));
    json_object_set_new(object, "notes", left_out);
    json_dumpf(object, stdout, JSON_COMPACT);
    putchar('\n');
    json_decref(object);
}

static int stats(int argc, char **argv)
{
    static const struct sg_verb verb = {
        .name = "labels stats",
        .summary = "what stands in label files",
        .usage = "[--policy FILE] [--json] FILE…",
        .about =
            "Counts labels by person, role, value and draw, the contents on which people disagree, near-duplicates,\n"
            "and how far people and the reasoner agree. Reads data sets too. With --policy: only labels under this\n"
            "version of it.\n",
        .examples = "  safeguard labels stats --policy spam.md spam.labels.jsonl\n",
    };
    const char *policy = NULL;
    bool json = false;
    const struct sg_option options[] = {
        {"policy", SG_OPTION_STRING, &policy, "FILE", "labels under this policy alone", 0, 0},
        {"json", SG_OPTION_FLAG, &json, NULL, "one JSON object", 0, 0},
        {0}};
    int exit = sg_options_start(&verb, options, &argc, argv, 1, INT_MAX);
    if (exit >= 0)
        return exit;
    char sha256[SG_SHA256_HEX];
    struct sg_error err;
    struct sg_labels *labels = NULL;
    struct sg_label_stats counts = {0};
    enum sg_status status = policy_version(policy, sha256, &err);
    if (status == SG_OK)
        status = sg_labels_open((const char *const *)argv, (size_t)argc, policy ? sha256 : NULL, &labels, &err);
    if (status == SG_OK)
        status = sg_label_stats_make(labels, &counts, &err);
    if (status == SG_OK) {
        size_t n_notes;
        const char *const *notes = sg_labels_notes(labels, &n_notes);
        if (json)
            print_stats_json(labels, &counts);
        else
            print_stats(labels, &counts);
        show_notes(notes, json ? 0 : n_notes);
    }
    sg_label_stats_deinit(&counts);
    sg_labels_close(labels);
    return status == SG_OK ? SG_EXIT_OK : sg_say_error(&err, SG_EXIT_FAILURE);
}

/* --- the family ------------------------------------------------------------------------------------------- */

static const struct sg_family_verb verbs[] = {
    {"add", add, "say what one content is under a policy"},
    {"import", import, "take the labels of data sets into a label file"},
    {"stats", stats, "what stands in label files"},
    {NULL, NULL, NULL},
};

int sg_verb_labels(int argc, char **argv)
{
    return sg_family_run("safeguard labels", "who said what of which content", verbs, argc, argv);
}
