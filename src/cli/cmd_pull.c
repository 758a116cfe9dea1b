/* safeguard pull: fetch a model into the cache folder. */
#include "hub/pull.h"

#include "cli/options.h"
#include "cli/render.h"
#include "cli/verbs.h"
#include "hub/known.h"
#include "hub/settings.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct view {
    bool terminal;
    double started, shown;
    uint64_t first; /* bytes that were there at the start */
    bool has_first;
};

static bool show(void *context, const struct sg_pull_progress *progress)
{
    struct view *view = context;
    double now = sg_now(), spent = now - view->started;
    if (!view->has_first) {
        view->first = progress->done;
        view->has_first = true;
    }
    if (!view->terminal || now - view->shown < 0.2)
        return true;
    view->shown = now;
    double rate = spent > 0.5 ? (double)(progress->done - view->first) / spent : 0;
    char eta[32];
    fprintf(stderr, "\r\033[K%s %zu/%zu ", progress->checking ? "checking" : "fetching", progress->index + 1,
            progress->n_files);
    sg_put_safe(stderr, progress->file, strlen(progress->file));
    fprintf(stderr, ": %.2f of %.2f GB", (double)progress->done / 1e9, (double)progress->total / 1e9);
    if (rate > 0 && progress->done > view->first && !progress->checking)
        fprintf(stderr, ", %.1f MB/s, %s left", rate / 1e6,
                sg_show_time((double)(progress->total - progress->done) / rate, eta, sizeof eta));
    fflush(stderr);
    return true;
}

static const char *pick(const char *a, const char *b)
{
    return a && *a ? a : b && *b ? b : NULL;
}

static int pull(const char *name, struct sg_pull_options *options)
{
    struct view view = {.terminal = isatty(STDERR_FILENO), .started = sg_now()};
    struct sg_error err;
    char *path;
    options->progress = show;
    options->context = &view;
    enum sg_status status = sg_pull(name, options, &path, &err);
    if (view.terminal)
        fputs("\r\033[K", stderr);
    if (status != SG_OK) {
        sg_say_error(&err, 0);
        if (status == SG_EUNAVAILABLE || status == SG_ECANCELLED)
            fputs("safeguard: what was fetched stays; the same command goes on from there\n", stderr);
        return status == SG_EINVALID ? SG_EXIT_USAGE : SG_EXIT_FAILURE;
    }
    puts(path);
    free(path);
    return SG_EXIT_OK;
}

/* The about text with the table of known models. free() it. */
static char *make_about(void)
{
    struct sg_buffer text = {0};
    sg_buffer_puts(&text, "NAME is one of these, or hf:OWNER/NAME, or hf:OWNER/NAME:FILE for one GGUF of several:\n");
    const struct sg_known_model *model;
    for (size_t i = 0; (model = sg_known_at(i)); i++)
        sg_buffer_printf(&text, "  %-28s%s\n", model->name, model->about);
    sg_buffer_puts(
        &text,
        "\nFiles go into the cache folder ($SAFEGUARD_CACHE, else ~/.cache/safeguard) and --model finds them by "
        "the same\nNAME. A broken download goes on where it stopped, also at the next start. Every file is "
        "checked against its\nchecksum before it gets its name. HF_TOKEN is sent where a model needs "
        "permission.\nThe path of the model is printed.\n");
    return sg_buffer_take(&text);
}

int sg_verb_pull(int argc, char **argv)
{
    struct sg_settings settings;
    struct sg_error err;
    if (sg_settings_load(&settings, &err) != SG_OK)
        return sg_say_error(&err, SG_EXIT_FAILURE);
    struct sg_pull_options pull_options = {.retry_delay_s = 1, .retries = 5, .stall_s = 30};
    const struct sg_option options[] = {
        {"endpoint", SG_OPTION_STRING, &pull_options.endpoint, "URL",
         "server of the hub ($HF_ENDPOINT, \"endpoint\" in the settings file, else\n" SG_HUB_ENDPOINT ")", 0, 0},
        {"retries", SG_OPTION_INT, &pull_options.retries, "N", "tries again so often without progress (5)", 0, 1000},
        {"retry-delay", SG_OPTION_DOUBLE, &pull_options.retry_delay_s, "SECONDS",
         "before the first retry, doubled for each further one (1)", 0, 3600},
        {"stall-timeout", SG_OPTION_INT, &pull_options.stall_s, "SECONDS",
         "give up a connection below 1 kB/s for so long (30)", 1, 3600},
        {0}};
    char *about = make_about();
    const struct sg_verb verb = {
        .name = "pull",
        .summary = "fetch a model",
        .usage = "NAME",
        .about = about,
        .examples = "  safeguard pull " SG_DEFAULT_MODEL "\n"
                    "  safeguard pull gpt-oss-safeguard-20b\n"
                    "  HF_ENDPOINT=https://mirror.example safeguard pull hf:openai/gpt-oss-safeguard-20b\n",
    };
    int exit = about ? sg_options_start(&verb, options, &argc, argv, 1, 1) : SG_EXIT_FAILURE;
    if (exit < 0) {
        pull_options.token = pick(getenv("HF_TOKEN"), NULL);
        pull_options.endpoint = pick(pull_options.endpoint, pick(getenv("HF_ENDPOINT"), settings.endpoint));
        exit = pull(argv[0], &pull_options);
    }
    free(about);
    sg_settings_deinit(&settings);
    return exit;
}
