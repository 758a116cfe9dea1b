/* Command-line options of one verb: a table that is parsed and that makes the --help text. */
#ifndef SG_CLI_OPTIONS_H
#define SG_CLI_OPTIONS_H

#include "safeguard/status.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

/* Exit statuses; docs/exit-codes.md explains them to users. */
enum sg_exit {
    SG_EXIT_OK = 0, /* done; of check: no violation */
    SG_EXIT_FAILURE = 1,
    SG_EXIT_USAGE = 2,
    SG_EXIT_ROWS = 3,  /* --batch, eval: some rows failed */
    SG_EXIT_BELOW = 4, /* eval: a figure is below --fail-under */
    SG_EXIT_VIOLATION = 10,
    SG_EXIT_UNDECIDED = 11,
    SG_EXIT_REVIEW = 12,
    SG_EXIT_INTERRUPTED = 130
};

#define SG_LIST_MAX 64

/* Values of an option that may be given several times. Borrowed from argv. */
struct sg_list {
    const char *values[SG_LIST_MAX];
    size_t n;
};

enum sg_option_kind {
    SG_OPTION_FLAG,   /* bool */
    SG_OPTION_OFF,    /* bool, set to false: --no-repack */
    SG_OPTION_STRING, /* const char *; with choices ("low|medium|high") only these */
    SG_OPTION_LIST,   /* struct sg_list */
    SG_OPTION_INT,    /* int, min … max */
    SG_OPTION_U64,    /* uint64_t, all of it */
    SG_OPTION_DOUBLE  /* double, min … max */
};

struct sg_option {
    const char *name; /* without "--"; NULL ends the table */
    enum sg_option_kind kind;
    void *target;         /* what kind says; keeps its value when the option is not given */
    const char *argument; /* what --help calls the value, or the choices; NULL for flags */
    const char *help;     /* one line or several */
    double min, max;
};

struct sg_verb {
    const char *name;    /* "check", "policy lint" */
    const char *summary; /* one line */
    const char *usage;   /* what stands behind "safeguard NAME" */
    const char *about;   /* paragraphs, each line ending in \n */
    const char *examples;
    const char *exits; /* NULL for the usual 0, 1, 2 */
};

/* Parse argv[0 … *argc - 1] (without program and verb). What is no option is left in argv[0 … *argc - 1]; everything
 * after "--" is no option. Sets *help_out when --help or -h was met (then nothing else counts). SG_EINVALID names
 * the option, what it got and what it expects. */
SG_MUST_CHECK enum sg_status sg_options_parse(const struct sg_option *options, int *argc, char **argv, bool *help_out,
                                              struct sg_error *err);

void sg_options_help(const struct sg_verb *verb, const struct sg_option *options, FILE *out);

/* Parse, and do what every verb does: --help prints to standard output and returns SG_EXIT_OK, an error is said
 * on standard error and returns SG_EXIT_USAGE; -1 means go on. More or fewer words
 * than min_words … max_words that are no options are an error too. */
int sg_options_start(const struct sg_verb *verb, const struct sg_option *options, int *argc, char **argv,
                     int min_words, int max_words);

/* A verb that has verbs below it ("policy lint"), or the program itself. */
struct sg_family_verb {
    const char *name; /* NULL ends the table */
    int (*run)(int argc, char **argv);
    const char *summary;
};

/* Run the verb that argv[0] names on what follows it, or say on standard output (--help) or standard error which
 * there are. `name` is "safeguard" or "safeguard policy". */
int sg_family_run(const char *name, const char *summary, const struct sg_family_verb *verbs, int argc, char **argv);

/* "safeguard: TEXT" on standard error, safe for a terminal; returns `exit`. */
int sg_say_error(const struct sg_error *err, int exit);
int sg_say_usage(const struct sg_verb *verb, const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif
