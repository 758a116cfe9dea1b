/* safeguard: the command line. One file per verb; this one finds the verb. */
#include "cli/options.h"
#include "cli/verbs.h"

#include <signal.h>
#include <string.h>

static const struct sg_family_verb verbs[] = {
    {"check", sg_verb_check, "judge content against a written policy"},
    {"eval", sg_verb_eval, "measure policies, models and cascades on labelled content"},
    {"labels", sg_verb_labels, "who said what of which content"},
    {"screen", sg_verb_screen, "a fast classifier in front of the reasoner"},
    {"guard", sg_verb_guard, "rules and forecasts of a policy's cascade"},
    {"policy", sg_verb_policy, "lint, show or start a policy"},
    {"model", sg_verb_model, "look at a model"},
    {"pull", sg_verb_pull, "fetch a model"},
    {"bench", sg_verb_bench, "how fast a model is on this machine"},
    {"dev", sg_verb_dev, "parts of the program, for tests and developers"},
    {NULL, NULL, NULL},
};

int main(int argc, char **argv)
{
    signal(SIGPIPE, SIG_IGN); /* a reader that went away is a write error, which is reported */
    if (argc > 1 && strcmp(argv[1], "--version") == 0) {
        puts("safeguard " SG_VERSION);
        return SG_EXIT_OK;
    }
    return sg_family_run("safeguard", "judge content against your own written policy, with the reasoning shown",
                         verbs, argc - 1, argv + 1);
}
