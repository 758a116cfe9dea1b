#include "cli/options.h"

#include "cli/render.h"

#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

static bool has_value(const struct sg_option *option)
{
    return option->kind != SG_OPTION_FLAG && option->kind != SG_OPTION_OFF;
}

/* Is `value` one of "a|b|c"? */
static bool among(const char *choices, const char *value)
{
    size_t len = strlen(value);
    for (const char *at = choices; *at;) {
        size_t n = strcspn(at, "|");
        if (n == len && memcmp(at, value, n) == 0)
            return true;
        at += n + (at[n] == '|');
    }
    return false;
}

static enum sg_status set_number(const struct sg_option *option, const char *value, struct sg_error *err)
{
    char *end = NULL;
    errno = 0;
    if (option->kind == SG_OPTION_U64) {
        unsigned long long number = strtoull(value, &end, 10);
        if (end == value || *end || errno || value[0] == '-')
            return sg_fail(err, SG_EINVALID, "--%s: got \"%s\", expected a whole number from 0", option->name, value);
        *(uint64_t *)option->target = number;
    } else if (option->kind == SG_OPTION_INT) {
        long number = strtol(value, &end, 10);
        if (end == value || *end || errno || (double)number < option->min || (double)number > option->max)
            return sg_fail(err, SG_EINVALID, "--%s: got \"%s\", expected a whole number from %.0f to %.0f",
                           option->name, value, option->min, option->max);
        *(int *)option->target = (int)number;
    } else {
        double number = strtod(value, &end);
        if (end == value || *end || !isfinite(number) || number < option->min || number > option->max)
            return sg_fail(err, SG_EINVALID, "--%s: got \"%s\", expected a number from %g to %g", option->name, value,
                           option->min, option->max);
        *(double *)option->target = number;
    }
    return SG_OK;
}

static enum sg_status set_value(const struct sg_option *option, const char *value, struct sg_error *err)
{
    struct sg_list *list = option->target;
    switch (option->kind) {
    case SG_OPTION_FLAG:
    case SG_OPTION_OFF:
        *(bool *)option->target = option->kind == SG_OPTION_FLAG;
        return SG_OK;
    case SG_OPTION_STRING:
        if (strchr(option->argument, '|') && !among(option->argument, value))
            return sg_fail(err, SG_EINVALID, "--%s: got \"%s\", expected %s", option->name, value, option->argument);
        *(const char **)option->target = value;
        return SG_OK;
    case SG_OPTION_LIST:
        if (list->n == SG_LIST_MAX)
            return sg_fail(err, SG_EINVALID, "--%s: given more than %d times", option->name, SG_LIST_MAX);
        list->values[list->n++] = value;
        return SG_OK;
    default:
        return set_number(option, value, err);
    }
}

static const struct sg_option *find(const struct sg_option *options, const char *name, size_t len)
{
    for (const struct sg_option *option = options; option->name; option++)
        if (strlen(option->name) == len && memcmp(option->name, name, len) == 0)
            return option;
    return NULL;
}

enum sg_status sg_options_parse(const struct sg_option *options, int *argc, char **argv, bool *help_out,
                                struct sg_error *err)
{
    int n_words = 0, n = *argc;
    *help_out = false;
    bool open = true; /* until "--" */
    for (int i = 0; i < n; i++) {
        char *word = argv[i];
        if (!open || word[0] != '-' || word[1] == '\0') {
            argv[n_words++] = word;
            continue;
        }
        if (strcmp(word, "--") == 0) {
            open = false;
            continue;
        }
        if (strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0) {
            *help_out = true;
            return SG_OK;
        }
        size_t len = word[1] == '-' ? strcspn(word + 2, "=") : 0;
        const struct sg_option *option = len ? find(options, word + 2, len) : NULL;
        if (!option)
            return sg_fail(err, SG_EINVALID, "unknown option %s (text that begins with - goes behind --)", word);
        const char *value = word[2 + len] == '=' ? word + 3 + len : NULL;
        if (!has_value(option) && value)
            return sg_fail(err, SG_EINVALID, "--%s takes no value", option->name);
        if (has_value(option) && !value) {
            if (i + 1 == n)
                return sg_fail(err, SG_EINVALID, "--%s needs a value: %s", option->name, option->argument);
            value = argv[++i];
        }
        enum sg_status status = set_value(option, value, err);
        if (status != SG_OK)
            return status;
    }
    *argc = n_words;
    return SG_OK;
}

/* `text` with every line after the first indented. */
static void put_indented(const char *text, int indent, FILE *out)
{
    for (; *text; text++) {
        fputc(*text, out);
        if (*text == '\n')
            fprintf(out, "%*s", indent, "");
    }
    fputc('\n', out);
}

void sg_options_help(const struct sg_verb *verb, const struct sg_option *options, FILE *out)
{
    fprintf(out, "safeguard %s: %s\n\nUsage: safeguard %s %s\n", verb->name, verb->summary, verb->name, verb->usage);
    if (verb->about)
        fprintf(out, "\n%s", verb->about);
    if (options->name)
        fprintf(out, "\nOptions:\n");
    for (const struct sg_option *option = options; option->name; option++) {
        int n = fprintf(out, "  --%s%s%s", option->name, option->argument ? " " : "",
                        option->argument ? option->argument : "");
        if (n > 28)
            fprintf(out, "\n%*s", 30, "");
        else
            fprintf(out, "%*s", 30 - n, "");
        put_indented(option->help, 30, out);
    }
    if (verb->examples)
        fprintf(out, "\nExamples:\n%s", verb->examples);
    fprintf(out, "\nExit status:\n%s",
            verb->exits ? verb->exits
                        : "  0  done\n  1  it failed; standard error says what and why\n  2  wrong use\n");
}

int sg_options_start(const struct sg_verb *verb, const struct sg_option *options, int *argc, char **argv,
                     int min_words, int max_words)
{
    struct sg_error err;
    bool help;
    if (sg_options_parse(options, argc, argv, &help, &err) != SG_OK)
        return sg_say_usage(verb, "%s", err.text);
    if (help) {
        sg_options_help(verb, options, stdout);
        return SG_EXIT_OK;
    }
    if (*argc < min_words || *argc > max_words)
        return sg_say_usage(verb, "expected %s, got %d words besides the options", verb->usage, *argc);
    return -1;
}

int sg_family_run(const char *name, const char *summary, const struct sg_family_verb *verbs, int argc, char **argv)
{
    for (const struct sg_family_verb *verb = verbs; argc > 0 && verb->name; verb++)
        if (strcmp(verb->name, argv[0]) == 0)
            return verb->run(argc - 1, argv + 1);
    bool help =
        argc > 0 && (strcmp(argv[0], "--help") == 0 || strcmp(argv[0], "-h") == 0 || !strcmp(argv[0], "help"));
    FILE *out = help ? stdout : stderr;
    if (argc > 0 && !help)
        fprintf(out, "%s: no such verb\n\n", name);
    fprintf(out, "%s: %s\n\nUsage: %s VERB …\n\nVerbs:\n", name, summary, name);
    for (const struct sg_family_verb *verb = verbs; verb->name; verb++)
        fprintf(out, "  %-12s%s\n", verb->name, verb->summary);
    fprintf(out, "\n%s VERB --help tells more, with examples.\n", name);
    return help ? SG_EXIT_OK : SG_EXIT_USAGE;
}

int sg_say_error(const struct sg_error *err, int exit)
{
    fputs("safeguard: ", stderr);
    sg_put_safe(stderr, err->text, strlen(err->text));
    fputc('\n', stderr);
    return exit;
}

int sg_say_usage(const struct sg_verb *verb, const char *format, ...)
{
    char text[SG_ERROR_TEXT_MAX];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    fprintf(stderr, "safeguard %s: ", verb->name);
    sg_put_safe(stderr, text, strlen(text));
    fprintf(stderr, "\nTry: safeguard %s --help\n", verb->name);
    return SG_EXIT_USAGE;
}
