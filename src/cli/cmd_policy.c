/* safeguard policy lint | show | new. */
#include "cli/dev.h"
#include "cli/render.h"
#include "cli/verbs.h"

#include "policy/lint.h"
#include "policy/template.h"
#include "safeguard/model.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* --- show ------------------------------------------------------------------------------------------------- */

static void put(const char *text)
{
    sg_put_safe(stdout, text, strlen(text));
}

static void print_list(const char *label, const char *const *items, size_t n)
{
    if (n == 0)
        return;
    printf("  %-14s", label);
    for (size_t i = 0; i < n; i++) {
        fputs(i ? ", " : "", stdout);
        put(items[i]);
    }
    putchar('\n');
}

static void print_policy(const struct sg_policy *policy)
{
    static const char *const actions[] = {
        [SG_UNDECIDED_BLOCK] = "block", [SG_UNDECIDED_ALLOW] = "allow", [SG_UNDECIDED_QUEUE] = "queue"};
    size_t n;
    put(sg_policy_title(policy) ? sg_policy_title(policy) : sg_policy_id(policy));
    printf("\n  %-14s", "id");
    put(sg_policy_id(policy));
    printf("\n  %-14s%s\n", "version", sg_policy_sha256(policy));
    printf("  %-14s%s, %s\n", "output", sg_output_kind_name(sg_policy_output(policy)),
           sg_policy_output_added(policy)      ? "added: the text asks for none"
           : sg_policy_output_detected(policy) ? "detected from the text"
                                               : "as the front matter says");
    const struct sg_label *labels = sg_policy_labels(policy, &n);
    for (size_t i = 0; i < n; i++) {
        printf("  %-14s", i ? "" : "labels");
        put(labels[i].text);
        printf(": %s%s\n", labels[i].violation ? "violates" : "does not violate",
               labels[i].review ? ", needs review" : "");
    }
    const struct sg_output_key *keys = sg_policy_keys(policy, &n);
    for (size_t i = 0; i < n; i++) {
        printf(i ? ", " : "  %-14s", "keys");
        put(keys[i].name);
    }
    if (n)
        putchar('\n');
    const char *const *items = sg_policy_categories(policy, &n);
    print_list("categories", items, n);
    items = sg_policy_rule_ids(policy, &n);
    print_list("rules", items, n);
    printf("  %-14s%s\n", "effort", sg_policy_effort(policy) ? sg_policy_effort(policy) : "(not said)");
    printf("  %-14s%s\n", "undecided", actions[sg_policy_undecided(policy)]);
    items = sg_policy_notes(policy, &n);
    for (size_t i = 0; i < n; i++) {
        printf("  %-14s", i ? "" : "notes");
        put(items[i]);
        putchar('\n');
    }
}

static int show(int argc, char **argv)
{
    static const struct sg_verb verb = {
        .name = "policy show",
        .summary = "how a policy is understood",
        .usage = "FILE",
        .about =
            "Shows id, version, output shape, labels and what they mean, categories, rule ids, and what was noticed\n"
            "while reading. --prompt prints the text that the model gets.\n",
        .examples = "  safeguard policy show policies/spam.md\n"
                    "  safeguard policy show --prompt policies/spam.md\n",
    };
    bool prompt = false;
    const struct sg_option options[] = {
        {"prompt", SG_OPTION_FLAG, &prompt, NULL, "the text for the model, as it is", 0, 0}, {0}};
    int exit = sg_options_start(&verb, options, &argc, argv, 1, 1);
    if (exit >= 0)
        return exit;
    struct sg_policy *policy;
    struct sg_error err;
    if (sg_policy_open(argv[0], &policy, &err) != SG_OK)
        return sg_say_error(&err, SG_EXIT_FAILURE);
    if (prompt) {
        size_t len;
        const char *text = sg_policy_prompt(policy, &len);
        if (isatty(STDOUT_FILENO))
            sg_put_safe(stdout, text, len);
        else
            fwrite(text, 1, len, stdout);
    } else {
        print_policy(policy);
    }
    sg_policy_close(policy);
    return SG_EXIT_OK;
}

/* --- lint ------------------------------------------------------------------------------------------------- */

/* Tokens of the policy's prompt with the tokenizer of the model at `path`; -1 and *why when there is none. */
static int64_t count_tokens(const struct sg_policy *policy, const char *path, struct sg_error *why)
{
    struct sg_tokenizer *tokenizer = NULL;
    struct sg_tokens tokens = {0};
    size_t len;
    const char *prompt = sg_policy_prompt(policy, &len);
    int64_t n = -1;
    enum sg_status status = sg_dev_open_tokenizer(path, NULL, &tokenizer, why);
    if (status == SG_OK) {
        sg_tokenize(tokenizer, (struct sg_slice){prompt, len}, &tokens);
        status = sg_tokens_status(&tokens, why);
    }
    if (status == SG_OK)
        n = (int64_t)tokens.n;
    sg_tokens_free(&tokens);
    sg_tokenizer_destroy(tokenizer);
    return n;
}

static void print_findings(const char *path, const struct sg_lint *lint)
{
    for (size_t i = 0; i < lint->n; i++) {
        const struct sg_lint_finding *finding = &lint->findings[i];
        put(path);
        if (finding->line > 0)
            printf(":%d", finding->line);
        printf(": %s: ", sg_lint_severity_name(finding->severity));
        put(finding->text);
        printf(" [%s]\n", finding->code);
    }
}

static void print_findings_json(const char *path, const struct sg_policy *policy, const struct sg_lint *lint,
                                int64_t tokens, const char *tokenizer)
{
    json_t *findings = json_array();
    for (size_t i = 0; i < lint->n; i++) {
        const struct sg_lint_finding *finding = &lint->findings[i];
        json_array_append_new(findings, json_pack("{s:s, s:s, s:i, s:s}", "code", finding->code, "severity",
                                                  sg_lint_severity_name(finding->severity), "line", finding->line,
                                                  "text", finding->text));
    }
    json_t *object = json_pack("{s:s, s:s, s:s, s:I, s:s?, s:o}", "file", path, "id", sg_policy_id(policy), "sha256",
                               sg_policy_sha256(policy), "tokens", (json_int_t)tokens, "tokenizer", tokenizer,
                               "findings", findings);
    if (tokens < 0)
        json_object_set_new(object, "tokens", json_null());
    json_dumpf(object, stdout, JSON_COMPACT);
    putchar('\n');
    json_decref(object);
}

/* `model`: path of the model whose tokenizer counts, NULL for none. */
static int lint_one(const char *path, const char *model, bool json, size_t *n_warnings)
{
    struct sg_policy *policy;
    struct sg_lint lint = {0};
    struct sg_error err, why;
    int64_t tokens = -1;
    enum sg_status status = sg_policy_open(path, &policy, &err);
    if (status == SG_OK && model) {
        tokens = count_tokens(policy, model, &why);
        if (tokens < 0)
            sg_say_error(&why, 0);
    }
    if (status == SG_OK)
        status = sg_policy_lint(policy, tokens, model, &lint, &err);
    if (status == SG_OK && json)
        print_findings_json(path, policy, &lint, tokens, model);
    else if (status == SG_OK)
        print_findings(path, &lint);
    for (size_t i = 0; i < lint.n; i++)
        *n_warnings += lint.findings[i].severity == SG_LINT_WARNING;
    sg_lint_deinit(&lint);
    sg_policy_close(policy);
    return status == SG_OK ? SG_EXIT_OK : sg_say_error(&err, SG_EXIT_FAILURE);
}

static int lint(int argc, char **argv)
{
    static const struct sg_verb verb = {
        .name = "policy lint",
        .summary = "look for what makes a policy work badly",
        .usage = "[--model MODEL] FILE…",
        .about =
            "Follows the published guide for writing policies: sections, output instructions, hedging words, "
            "examples\n"
            "of both classes, rule ids, length. Each finding has its line and a code (docs/policies.md). Tokens are\n"
            "counted with the tokenizer of --model, else of the default model.\n",
        .examples = "  safeguard policy lint policies/*.md\n"
                    "  safeguard policy lint --strict --json my-policy.md\n",
        .exits = "  0  the files were read; with --strict: and there is no warning\n"
                 "  1  a file could not be read; with --strict: or there are warnings\n"
                 "  2  wrong use\n",
    };
    const char *model = NULL;
    bool json = false, strict = false;
    const struct sg_option options[] = {
        {"model", SG_OPTION_STRING, &model, "MODEL", "whose tokenizer counts", 0, 0},
        {"json", SG_OPTION_FLAG, &json, NULL, "one JSON object per file", 0, 0},
        {"strict", SG_OPTION_FLAG, &strict, NULL, "warnings make the exit status 1", 0, 0},
        {0}};
    int exit = sg_options_start(&verb, options, &argc, argv, 1, INT_MAX);
    if (exit >= 0)
        return exit;
    size_t n_warnings = 0;
    char *path;
    struct sg_error err;
    if (sg_model_locate(model, &path, &err) != SG_OK) {
        sg_say_error(&err, 0);
        if (model)
            return SG_EXIT_FAILURE;
        fputs("safeguard: so tokens are not counted\n", stderr);
    }
    exit = SG_EXIT_OK;
    for (int i = 0; i < argc; i++)
        if (lint_one(argv[i], path, json, &n_warnings) != SG_EXIT_OK)
            exit = SG_EXIT_FAILURE;
    free(path);
    return strict && n_warnings ? SG_EXIT_FAILURE : exit;
}

/* --- new -------------------------------------------------------------------------------------------------- */

static enum sg_output_kind kind_of(const char *name)
{
    enum sg_output_kind kind = SG_OUTPUT_BINARY;
    while (kind < SG_OUTPUT_FLAGS && strcmp(sg_output_kind_name(kind), name) != 0)
        kind++;
    return kind;
}

static enum sg_status write_new(const char *path, const char *text, struct sg_error *err)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    if (fd < 0)
        return sg_fail(err, SG_EIO, "%s: cannot create: %s", path, strerror(errno));
    size_t len = strlen(text);
    bool good = write(fd, text, len) == (ssize_t)len;
    if (close(fd) != 0 || !good)
        return sg_fail(err, SG_EIO, "%s: cannot write: %s", path, strerror(errno));
    return SG_OK;
}

static int new_policy(int argc, char **argv)
{
    static const struct sg_verb verb = {
        .name = "policy new",
        .summary = "start a policy from a template",
        .usage = "ID [--name NAME] [--output SHAPE] [--out FILE]",
        .about =
            "Prints a template with the sections that the writing guide asks for; what is to be filled in stands in\n"
            "square brackets. docs/policies.md tells how, policy lint checks it.\n",
        .examples = "  safeguard policy new fake-reviews --name \"Fake reviews\" --out fake-reviews.md\n",
    };
    const char *name = NULL, *out = NULL, *kind = "binary";
    const struct sg_option options[] = {
        {"name", SG_OPTION_STRING, &name, "NAME", "what people call it (the id)", 0, 0},
        {"output", SG_OPTION_STRING, &kind, "binary|category|rationale|labels|flags", "shape of the answers (binary)",
         0, 0},
        {"out", SG_OPTION_STRING, &out, "FILE", "write it there; a file that exists is left alone", 0, 0},
        {0}};
    int exit = sg_options_start(&verb, options, &argc, argv, 1, 1);
    if (exit >= 0)
        return exit;
    const char *id = argv[0];
    if (!*id || strlen(id) > 64 || strspn(id, "abcdefghijklmnopqrstuvwxyz0123456789-_.") < strlen(id))
        return sg_say_usage(&verb, "\"%s\": an id has lower-case letters, digits and -_., at most 64", id);
    if (name && (strpbrk(name, "\r\n\"\\:#") || strlen(name) > 200))
        return sg_say_usage(&verb, "--name: one line of at most 200 bytes without \" \\ : #");
    struct sg_error err;
    char *text;
    enum sg_status status = sg_policy_template(id, name ? name : id, kind_of(kind), &text, &err);
    if (status == SG_OK && out)
        status = write_new(out, text, &err);
    else if (status == SG_OK)
        fputs(text, stdout);
    free(text);
    if (status != SG_OK)
        return sg_say_error(&err, status == SG_EINVALID ? SG_EXIT_USAGE : SG_EXIT_FAILURE);
    return SG_EXIT_OK;
}

/* --- the family ------------------------------------------------------------------------------------------- */

static const struct sg_family_verb verbs[] = {
    {"lint", lint, "look for what makes a policy work badly"},
    {"show", show, "how a policy is understood: shape, labels, rules, version"},
    {"new", new_policy, "start a policy from a template"},
    {NULL, NULL, NULL},
};

int sg_verb_policy(int argc, char **argv)
{
    return sg_family_run("safeguard policy", "lint, show or start a policy", verbs, argc, argv);
}
