#include "guard/stage_verdicts.h"

#include "labels/label_lines.h"

#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

struct entry {
    char *key; /* "#" and the content's hash, or "@" and its id */
    double p;
};

struct sg_stage_verdicts {
    struct entry *entries;
    size_t n, cap;
    char *name, *sha256;
};

static int compare(const void *a, const void *b)
{
    return strcmp(((const struct entry *)a)->key, ((const struct entry *)b)->key);
}

static enum sg_status add(struct sg_stage_verdicts *verdicts, char kind, const char *key, double p,
                          struct sg_error *err)
{
    if (verdicts->n == SG_STAGE_MAX_VERDICTS)
        return sg_fail(err, SG_ELIMIT, "more than the limit of %d verdicts", SG_STAGE_MAX_VERDICTS);
    if (verdicts->n == verdicts->cap) {
        size_t cap = verdicts->cap ? 2 * verdicts->cap : 1024;
        struct entry *entries = realloc(verdicts->entries, cap * sizeof(*entries));
        if (!entries)
            return sg_fail(err, SG_ENOMEM, "no memory for %zu verdicts", cap);
        verdicts->entries = entries;
        verdicts->cap = cap;
    }
    size_t len = strlen(key);
    char *copy = malloc(len + 2);
    if (!copy)
        return sg_fail(err, SG_ENOMEM, "no memory for a verdict");
    copy[0] = kind;
    memcpy(copy + 1, key, len + 1);
    verdicts->entries[verdicts->n++] = (struct entry){copy, p};
    return SG_OK;
}

/* All verdicts have to be of one model. */
static enum sg_status take_model(struct sg_stage_verdicts *verdicts, const json_t *verdict, struct sg_error *err)
{
    const json_t *model = json_object_get(verdict, "model");
    const char *name = json_string_value(json_object_get(model, "name"));
    const char *sha256 = json_string_value(json_object_get(model, "sha256"));
    if (!name)
        return sg_fail(err, SG_EFORMAT, "no verdict: the model has no name");
    if (!verdicts->name) {
        verdicts->name = strdup(name);
        verdicts->sha256 = strdup(sha256 ? sha256 : "");
        if (!verdicts->name || !verdicts->sha256)
            return sg_fail(err, SG_ENOMEM, "no memory for a verdict");
    }
    if (strcmp(verdicts->name, name) != 0 || strcmp(verdicts->sha256, sha256 ? sha256 : "") != 0)
        return sg_fail(err, SG_EFORMAT, "verdicts of several models");
    return SG_OK;
}

static enum sg_status take_line(struct sg_stage_verdicts *verdicts, struct sg_slice text, struct sg_error *err)
{
    json_t *verdict = json_loadb(text.ptr, text.len, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, NULL);
    if (!json_is_object(verdict)) {
        json_decref(verdict);
        return sg_fail(err, SG_EFORMAT, "no verdict: not a JSON object");
    }
    enum sg_status status = SG_OK;
    if (!json_object_get(verdict, "error")) {
        const char *sha256 = json_string_value(json_object_get(verdict, "content_sha256"));
        const char *id = json_string_value(json_object_get(verdict, "id"));
        const char *decision = json_string_value(json_object_get(verdict, "decision"));
        const json_t *p = json_object_get(verdict, "p_violation");
        bool decided = decision && strcmp(decision, "undecided") != 0 && json_is_number(p);
        status = take_model(verdicts, verdict, err);
        if (status == SG_OK && !sha256 && !id)
            status = sg_fail(err, SG_EFORMAT, "a verdict with neither content_sha256 nor id");
        if (status == SG_OK)
            status =
                add(verdicts, sha256 ? '#' : '@', sha256 ? sha256 : id, decided ? json_number_value(p) : NAN, err);
    }
    json_decref(verdict);
    return status;
}

enum sg_status sg_stage_verdicts_open(const char *path, struct sg_stage_verdicts **verdicts_out, struct sg_error *err)
{
    struct sg_lines *lines = NULL;
    struct sg_line line = {.number = 0};
    struct sg_stage_verdicts *verdicts = calloc(1, sizeof(*verdicts));
    *verdicts_out = NULL;
    enum sg_status status = verdicts ? sg_lines_open(path, &lines, err) : sg_fail(err, SG_ENOMEM, "no memory");
    while (status == SG_OK) {
        status = sg_lines_next(lines, &line, err);
        if (status != SG_OK || !line.text.ptr)
            break;
        if (line.text.len > 0)
            status = take_line(verdicts, line.text, err);
        if (status != SG_OK)
            sg_fail_in(err, status, "%s line %zu", path, line.number);
    }
    sg_lines_close(lines);
    if (status == SG_OK && !verdicts->name)
        status = sg_fail(err, SG_EFORMAT, "%s: there is no verdict in it", path);
    if (status != SG_OK) {
        sg_stage_verdicts_close(verdicts);
        return status;
    }
    qsort(verdicts->entries, verdicts->n, sizeof(*verdicts->entries), compare);
    *verdicts_out = verdicts;
    return SG_OK;
}

void sg_stage_verdicts_close(struct sg_stage_verdicts *verdicts)
{
    if (!verdicts)
        return;
    for (size_t i = 0; i < verdicts->n; i++)
        free(verdicts->entries[i].key);
    free(verdicts->entries);
    free(verdicts->name);
    free(verdicts->sha256);
    free(verdicts);
}

const char *sg_stage_model_name(const struct sg_stage_verdicts *verdicts)
{
    return verdicts->name;
}

const char *sg_stage_model_sha256(const struct sg_stage_verdicts *verdicts)
{
    return verdicts->sha256;
}

static double look_up(const struct sg_stage_verdicts *verdicts, char kind, const char *text)
{
    char key[1100];
    if ((size_t)snprintf(key, sizeof(key), "%c%s", kind, text) >= sizeof(key))
        return NAN;
    const struct entry *found =
        bsearch(&(struct entry){key, 0}, verdicts->entries, verdicts->n, sizeof(*verdicts->entries), compare);
    return found ? found->p : NAN;
}

double sg_stage_p_violation(const struct sg_stage_verdicts *verdicts, const char *content_sha256, const char *id)
{
    double p = look_up(verdicts, '#', content_sha256);
    return isnan(p) && id ? look_up(verdicts, '@', id) : p;
}
