/* safeguard dev normalise, attack: what the normaliser makes of texts, and texts that it is meant for. */
#include "cli/dev.h"
#include "cli/verbs.h"

#include "eval/attacks.h"
#include "text/normalise.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

static enum sg_status print_object(json_t *object, struct sg_error *err)
{
    char *line = object ? json_dumps(object, JSON_COMPACT) : NULL;
    json_decref(object);
    if (!line)
        return sg_fail(err, SG_ENOMEM, "out of memory");
    puts(line);
    free(line);
    return SG_OK;
}

/* --- normalise -------------------------------------------------------------------------------------------- */

static json_t *signals_json(unsigned signals)
{
    static const char *const names[] = {
#define X(symbol, bit, name) [bit] = name,
        SG_SIGNAL_LIST(X)
#undef X
    };
    json_t *list = json_array();
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        if (signals >> i & 1)
            json_array_append_new(list, json_string(names[i]));
    }
    return list;
}

static enum sg_status normalise_text(void *context, struct sg_slice text, struct sg_error *err)
{
    struct sg_normal *normal = context;
    enum sg_status status = sg_normalise(text, false, normal, err);
    if (status != SG_OK)
        return status;
    json_t *readings = json_object();
    for (int i = 0; i < SG_N_READINGS; i++) {
        const struct sg_buffer *reading = &normal->readings[i];
        if (reading->len)
            json_object_set_new(readings, sg_reading_name((enum sg_reading)i),
                                json_stringn(reading->data, reading->len));
    }
    return print_object(json_pack("{s:o, s:o, s:b}", "readings", readings, "signals", signals_json(normal->signals),
                                  "evasive", (int)normal->evasive),
                        err);
}

int sg_verb_dev_normalise(int argc, char **argv)
{
    static const struct sg_verb verb = {
        .name = "dev normalise",
        .summary = "the readings of a text and its signals",
        .usage = "< LINES",
        .about = "Reads JSON lines {\"text\": …} from standard input and writes\n"
                 "{\"readings\": {\"folded\": …}, \"signals\": […], \"evasive\": …} for each.\n",
        .examples = "  echo '{\"text\":\"i d i o t\"}' | safeguard dev normalise\n",
    };
    const struct sg_option options[] = {{0}};
    int exit = sg_options_start(&verb, options, &argc, argv, 0, 0);
    if (exit >= 0)
        return exit;
    struct sg_normal normal = {0};
    struct sg_error err;
    enum sg_status status = sg_dev_each_text(normalise_text, &normal, &err);
    sg_normal_deinit(&normal);
    return status == SG_OK ? SG_EXIT_OK : sg_say_error(&err, SG_EXIT_FAILURE);
}

/* --- attack ----------------------------------------------------------------------------------------------- */

struct attack_run {
    enum sg_attack attack;
    struct sg_attack_options options;
};

static enum sg_status attack_text(void *context, struct sg_slice text, struct sg_error *err)
{
    const struct attack_run *run = context;
    struct sg_buffer out = {0};
    bool applied;
    enum sg_status status = sg_attack_apply(run->attack, text, &run->options, &out, &applied, err);
    if (status == SG_OK)
        status = print_object(json_pack("{s:s, s:s%, s:b}", "attack", sg_attack_name(run->attack), "text",
                                        sg_buffer_text(&out), out.len, "applied", (int)applied),
                              err);
    sg_buffer_free(&out);
    return status;
}

int sg_verb_dev_attack(int argc, char **argv)
{
    static const struct sg_verb verb = {
        .name = "dev attack",
        .summary = "a text as a writer hides it",
        .usage = "ATTACK < LINES",
        .about =
            "Reads JSON lines {\"text\": …} from standard input and writes {\"attack\", \"text\", \"applied\"} for\n"
            "each; \"applied\" is false where there was nothing to change. The attacks:\n"
#define X(symbol, name, about) "  " name ": " about "\n"
        SG_ATTACK_LIST(X),
#undef X
        .examples = "  echo '{\"text\":\"you idiot\"}' | safeguard dev attack leet | safeguard dev normalise\n",
    };
    struct attack_run run = {.options = {.share = SG_ATTACK_SHARE}};
    const struct sg_option options[] = {
        {"seed", SG_OPTION_U64, &run.options.seed, "N", "what is drawn depends on it and on the text", 0, 0},
        {"share", SG_OPTION_DOUBLE, &run.options.share, "X", "of words whose letters are changed (default 0.5)", 0,
         1},
        {0}};
    int exit = sg_options_start(&verb, options, &argc, argv, 1, 1);
    if (exit >= 0)
        return exit;
    struct sg_error err;
    enum sg_status status = sg_attack_find(argv[0], &run.attack)
                                ? sg_dev_each_text(attack_text, &run, &err)
                                : sg_fail(&err, SG_EINVALID, "unknown attack %s: see --help", argv[0]);
    return status == SG_OK ? SG_EXIT_OK : sg_say_error(&err, SG_EXIT_FAILURE);
}
