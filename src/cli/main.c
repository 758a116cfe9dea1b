/* safeguard: the command line. One file per verb; this one finds the verb. */
#include "cli/verbs.h"

#include "cli/options.h"

#include <signal.h>
#include <string.h>

static const struct {
    const char *name;
    int (*run)(int argc, char **argv);
    const char *summary;
} verbs[] = {
    {"check", sg_verb_check, "judge content against a written policy"},
    {"pull", sg_verb_pull, "fetch a model"},
    {NULL, NULL, NULL},
};

static void help(FILE *out)
{
    fputs("safeguard: judge content against your own written policy, with the reasoning shown\n\n"
          "Usage: safeguard VERB …\n\nVerbs:\n",
          out);
    for (size_t i = 0; verbs[i].name; i++)
        fprintf(out, "  %-10s%s\n", verbs[i].name, verbs[i].summary);
    fputs("\nsafeguard VERB --help tells more, with examples; safeguard --version says which program this is.\n",
          out);
}

int main(int argc, char **argv)
{
    signal(SIGPIPE, SIG_IGN); /* a reader that went away is a write error, which is reported */
    if (argc < 2) {
        help(stderr);
        return SG_EXIT_USAGE;
    }
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0 || strcmp(argv[1], "help") == 0) {
        help(stdout);
        return SG_EXIT_OK;
    }
    if (strcmp(argv[1], "--version") == 0) {
        puts("safeguard " SG_VERSION);
        return SG_EXIT_OK;
    }
    for (size_t i = 0; verbs[i].name; i++)
        if (strcmp(verbs[i].name, argv[1]) == 0)
            return verbs[i].run(argc - 2, argv + 2);
    fprintf(stderr, "safeguard: no verb of that name; safeguard --help lists them\n");
    return SG_EXIT_USAGE;
}
