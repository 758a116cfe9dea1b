#include "hub/settings.h"

#include "base/file.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <yaml.h>

#define SETTINGS_MAX_BYTES (64u << 10)

void sg_settings_deinit(struct sg_settings *settings)
{
    free(settings->model);
    free(settings->precision);
    free(settings->effort);
    free(settings->endpoint);
    *settings = (struct sg_settings){.repack = true};
}

static enum sg_status set_string(char **target, const char *value, const char *choices, struct sg_error *err)
{
    if (choices) {
        size_t n = strlen(value);
        const char *at = choices; /* "a|b|c" */
        while (*at && !(strcspn(at, "|") == n && memcmp(at, value, n) == 0))
            at += strcspn(at, "|") + (at[strcspn(at, "|")] == '|');
        if (!*at)
            return sg_fail(err, SG_EFORMAT, "got \"%.64s\", expected %s", value, choices);
    }
    free(*target);
    *target = strdup(value);
    return *target ? SG_OK : sg_fail(err, SG_ENOMEM, "out of memory");
}

static enum sg_status set_count(int *target, const char *value, struct sg_error *err)
{
    char *end;
    errno = 0;
    long number = strtol(value, &end, 10);
    if (end == value || *end || errno || number < 0 || number > INT_MAX)
        return sg_fail(err, SG_EFORMAT, "got \"%.64s\", expected a whole number", value);
    *target = (int)number;
    return SG_OK;
}

static enum sg_status set(struct sg_settings *settings, const char *key, const char *value, struct sg_error *err)
{
    if (strcmp(key, "model") == 0)
        return set_string(&settings->model, value, NULL, err);
    if (strcmp(key, "endpoint") == 0)
        return set_string(&settings->endpoint, value, NULL, err);
    if (strcmp(key, "precision") == 0)
        return set_string(&settings->precision, value, "fast|exact", err);
    if (strcmp(key, "effort") == 0)
        return set_string(&settings->effort, value, "low|medium|high", err);
    if (strcmp(key, "threads") == 0)
        return set_count(&settings->threads, value, err);
    if (strcmp(key, "context") == 0)
        return set_count(&settings->context, value, err);
    if (strcmp(key, "repack") != 0)
        return sg_fail(err, SG_EFORMAT,
                       "unknown key; known are model, threads, precision, context, effort, repack, endpoint");
    if (strcmp(value, "true") != 0 && strcmp(value, "false") != 0)
        return sg_fail(err, SG_EFORMAT, "got \"%.64s\", expected true or false", value);
    settings->repack = strcmp(value, "true") == 0;
    return SG_OK;
}

/* Walk `key: value` pairs; anything nested is refused. */
static enum sg_status read_mapping(yaml_parser_t *parser, struct sg_settings *settings, struct sg_error *err)
{
    char key[64] = "";
    bool in_mapping = false, has_key = false;
    for (;;) {
        yaml_event_t event;
        if (!yaml_parser_parse(parser, &event))
            return sg_fail(err, SG_EFORMAT, "line %zu: %s", parser->problem_mark.line + 1, parser->problem);
        enum sg_status status = SG_OK;
        yaml_event_type_t type = event.type;
        size_t line = event.start_mark.line + 1;
        if (type == YAML_MAPPING_START_EVENT && !in_mapping) {
            in_mapping = true;
        } else if (type == YAML_SCALAR_EVENT && in_mapping && !has_key) {
            snprintf(key, sizeof key, "%s", (const char *)event.data.scalar.value);
            has_key = true;
        } else if (type == YAML_SCALAR_EVENT && in_mapping) {
            has_key = false;
            status = set(settings, key, (const char *)event.data.scalar.value, err);
            if (status != SG_OK)
                status = sg_fail_in(err, status, "line %zu: %s", line, key);
        } else if (type == YAML_SCALAR_EVENT || type == YAML_SEQUENCE_START_EVENT || type == YAML_ALIAS_EVENT ||
                   type == YAML_MAPPING_START_EVENT) {
            status = sg_fail(err, SG_EFORMAT, "line %zu: expected lines of the form \"key: value\"", line);
        }
        yaml_event_delete(&event);
        if (status != SG_OK || type == YAML_STREAM_END_EVENT)
            return status;
    }
}

static bool settings_path(char *path, size_t size, bool *asked_out)
{
    static const struct {
        const char *variable, *below;
    } places[] = {{"SAFEGUARD_CONFIG", ""},
                  {"XDG_CONFIG_HOME", "/safeguard/config.yaml"},
                  {"HOME", "/.config/safeguard/config.yaml"}};
    for (size_t i = 0; i < sizeof places / sizeof places[0]; i++) {
        const char *base = getenv(places[i].variable);
        if (!base || !*base)
            continue;
        *asked_out = i == 0;
        int n = snprintf(path, size, "%s%s", base, places[i].below);
        return n > 0 && (size_t)n < size;
    }
    return false;
}

enum sg_status sg_settings_load(struct sg_settings *settings, struct sg_error *err)
{
    char path[PATH_MAX];
    bool asked = false;
    struct sg_buffer text = {0};
    *settings = (struct sg_settings){.repack = true};
    if (!settings_path(path, sizeof path, &asked))
        return SG_OK;
    enum sg_status status = sg_file_read(path, SETTINGS_MAX_BYTES, &text, err);
    if (status == SG_ENOTFOUND && !asked)
        status = SG_OK;
    yaml_parser_t parser;
    if (status == SG_OK && text.len > 0) {
        if (!yaml_parser_initialize(&parser)) {
            status = sg_fail(err, SG_ENOMEM, "%s: out of memory", path);
        } else {
            yaml_parser_set_input_string(&parser, (const unsigned char *)text.data, text.len);
            status = read_mapping(&parser, settings, err);
            if (status != SG_OK)
                status = sg_fail_in(err, status, "%s", path);
            yaml_parser_delete(&parser);
        }
    }
    sg_buffer_free(&text);
    return status;
}
