/* safeguard policy lint | show | new. */
#include "cli/options.h"
#include "cli/render.h"
#include "cli/verbs.h"

#include "base/file.h"
#include "safeguard/policy.h"
#include "safeguard/reasoner.h"

#include <fcntl.h>
#include <jansson.h>
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

/* --- new -------------------------------------------------------------------------------------------------- */

/* A policy to write over. It follows the published writing guide: instructions, definitions, what violates, what does
 * not, examples of both classes, and the output instruction twice. */
static const char template[] =
    "---\n"
    "id: %s\n"
    "name: %s\n"
    "output: binary\n"
    "undecided: queue\n"
    "---\n"
    "# %s\n"
    "\n"
    "## Instructions\n"
    "\n"
    "You decide whether CONTENT violates this policy. Judge only the content that is given, by this policy alone.\n"
    "Answer with exactly one character: 1 when it violates the policy, 0 when it does not.\n"
    "\n"
    "## Definitions\n"
    "\n"
    "- **Content**: one post, comment or message. (Say what your platform calls it.)\n"
    "- **Target**: … (Define every word that a stranger could read in two ways.)\n"
    "\n"
    "## Violates (1)\n"
    "\n"
    "- R1: … (One rule per line, each testable. Avoid \"generally\", \"usually\", \"may\".)\n"
    "- R2: …\n"
    "\n"
    "## Does not violate (0)\n"
    "\n"
    "- R3: … (What looks alike and is allowed: quoting, news, satire, a question.)\n"
    "- When both a rule of this section and one of the last apply, the last section wins.\n"
    "\n"
    "Answer with exactly one character: 1 or 0.\n"
    "\n"
    "## Examples\n"
    "\n"
    "Content: … (borderline, violates by R1)\n"
    "Answer: 1\n"
    "\n"
    "Content: … (borderline, violates by R2)\n"
    "Answer: 1\n"
    "\n"
    "Content: … (borderline, allowed by R3)\n"
    "Answer: 0\n"
    "\n"
    "Content: … (plainly allowed)\n"
    "Answer: 0\n";

static int new_policy(int argc, char **argv)
{
    static const struct sg_verb verb = {
        .name = "policy new",
        .summary = "start a policy from a template",
        .usage = "ID [--name NAME] [--out FILE]",
        .about =
            "Prints a template with the sections that the writing guide asks for. ID is made of lower-case letters,\n"
            "digits and hyphens. docs/policies.md tells how to fill it; policy lint checks it.\n",
        .examples = "  safeguard policy new fake-reviews --name \"Fake reviews\" --out fake-reviews.md\n",
    };
    const char *name = NULL, *out = NULL;
    const struct sg_option options[] = {
        {"name", SG_OPTION_STRING, &name, "NAME", "what people call it (the id)", 0, 0},
        {"out", SG_OPTION_STRING, &out, "FILE", "write it there; a file that exists is left alone", 0, 0},
        {0}};
    int exit = sg_options_start(&verb, options, &argc, argv, 1, 1);
    if (exit >= 0)
        return exit;
    const char *id = argv[0];
    if (!*id || strlen(id) > 64 || strspn(id, "abcdefghijklmnopqrstuvwxyz0123456789-") < strlen(id))
        return sg_say_usage(&verb, "\"%s\": an id has lower-case letters, digits and hyphens, at most 64", id);
    if (name && (strpbrk(name, "\r\n\"\\") || strlen(name) > 200))
        return sg_say_usage(&verb, "--name: one line without quotes and backslashes, at most 200 bytes");
    struct sg_buffer quoted = {0}, text = {0};
    sg_buffer_printf(&quoted, "\"%s\"", name ? name : id);
    sg_buffer_printf(&text, template, id, sg_buffer_text(&quoted), name ? name : id);
    struct sg_error err;
    enum sg_status status = sg_buffer_status(&text, &err);
    if (status == SG_OK && out) {
        int fd = open(out, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
        if (fd < 0)
            status = sg_fail(&err, SG_EIO, "%s: cannot create: %m", out);
        else if (write(fd, text.data, text.len) != (ssize_t)text.len)
            status = sg_fail(&err, SG_EIO, "%s: cannot write: %m", out);
        if (fd >= 0)
            close(fd);
    } else if (status == SG_OK) {
        fputs(text.data, stdout);
    }
    sg_buffer_free(&quoted);
    sg_buffer_free(&text);
    return status == SG_OK ? SG_EXIT_OK : sg_say_error(&err, SG_EXIT_FAILURE);
}

/* --- the family ------------------------------------------------------------------------------------------- */

static const struct sg_family_verb verbs[] = {
    {"show", show, "how a policy is understood: shape, labels, rules, version"},
    {"new", new_policy, "start a policy from a template"},
    {NULL, NULL, NULL},
};

int sg_verb_policy(int argc, char **argv)
{
    return sg_family_run("safeguard policy", "lint, show or start a policy", verbs, argc, argv);
}
