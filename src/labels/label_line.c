/* Lines of a label file: docs/labels.md describes the fields. */
#include "labels/label_line.h"

#include "base/file.h"
#include "base/utf8.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

static const char *const role_names[] = {[SG_ROLE_GOLD] = "gold",
                                         [SG_ROLE_REVIEW] = "review",
                                         [SG_ROLE_APPEAL] = "appeal",
                                         [SG_ROLE_REASONER] = "reasoner"};
#define N_ROLES (sizeof role_names / sizeof role_names[0])

const char *sg_label_role_name(enum sg_label_role role)
{
    return (size_t)role < N_ROLES ? role_names[role] : "unknown";
}

bool sg_label_role_of(const char *name, enum sg_label_role *role_out)
{
    for (size_t i = 0; i < N_ROLES; i++)
        if (strcmp(role_names[i], name) == 0) {
            *role_out = (enum sg_label_role)i;
            return true;
        }
    return false;
}

static bool is_sha256(const char *text)
{
    return strlen(text) == 64 && strspn(text, "0123456789abcdef") == 64;
}

/* A name as it may stand in a line: not empty, not too long, nothing that moves a terminal. */
static enum sg_status check_name(const char *field, const char *name, size_t max, struct sg_error *err)
{
    size_t len = strlen(name);
    if (len == 0 || len > max)
        return sg_fail(err, SG_EINVALID, "\"%s\" of %zu bytes, expected 1 to %zu", field, len, max);
    for (size_t i = 0; i < len; i++)
        if ((unsigned char)name[i] < ' ' || name[i] == 0x7f)
            return sg_fail(err, SG_EINVALID, "\"%s\" has a control character", field);
    if (!sg_utf8_valid(sg_slice_of(name)))
        return sg_fail(err, SG_EINVALID, "\"%s\" is not UTF-8", field);
    return SG_OK;
}

static enum sg_status check_value(const char *field, int value, struct sg_error *err)
{
    if (value == 0 || value == 1 || value == SG_LABEL_UNKNOWN)
        return SG_OK;
    return sg_fail(err, SG_EINVALID, "\"%s\": got %d, expected 0, 1 or unknown", field, value);
}

enum sg_status sg_label_line_check(const struct sg_label_line *line, struct sg_error *err)
{
    enum sg_status status = line->who ? check_name("who", line->who, SG_LABEL_MAX_NAME, err)
                                      : sg_fail(err, SG_EINVALID, "no \"who\": whose label is it?");
    const struct {
        const char *field, *value;
        size_t max;
    } names[] = {{"id", line->id, SG_LABEL_MAX_NAME},
                 {"drawn", line->drawn, SG_LABEL_MAX_NAME},
                 {"group", line->group, SG_LABEL_MAX_NAME}};
    for (size_t i = 0; status == SG_OK && i < sizeof names / sizeof names[0]; i++)
        if (names[i].value)
            status = check_name(names[i].field, names[i].value, names[i].max, err);
    if (status == SG_OK)
        status = check_value("violation", line->violation, err);
    if (status == SG_OK && line->n_categories > SG_LABEL_MAX_CATEGORIES)
        status =
            sg_fail(err, SG_ELIMIT, "%zu categories, the limit is %d", line->n_categories, SG_LABEL_MAX_CATEGORIES);
    for (size_t i = 0; status == SG_OK && i < line->n_categories; i++) {
        status = check_name("categories", line->categories[i].category, SG_LABEL_MAX_NAME, err);
        if (status == SG_OK)
            status = check_value("categories", line->categories[i].value, err);
    }
    if (status != SG_OK)
        return status;
    if ((size_t)line->role >= N_ROLES)
        return sg_fail(err, SG_EINVALID, "\"role\": expected gold, review, appeal or reasoner");
    bool machine = strncmp(line->who, "reasoner:", 9) == 0;
    if (machine != (line->role == SG_ROLE_REASONER))
        return sg_fail(err, SG_EINVALID,
                       "role %s of \"%.64s\": a reasoner's labels have the role reasoner and a "
                       "\"who\" that begins with reasoner:",
                       sg_label_role_name(line->role), line->who);
    if (line->content_sha256 ? !is_sha256(line->content_sha256) : !line->text)
        return sg_fail(err, SG_EINVALID, "\"content_sha256\": expected 64 hexadecimal digits in lower case");
    if (line->policy_sha256 && !is_sha256(line->policy_sha256))
        return sg_fail(err, SG_EINVALID, "\"policy_sha256\": expected 64 hexadecimal digits in lower case");
    bool has_p = !isnan(line->p_drawn);
    if (has_p && !(line->p_drawn > 0 && line->p_drawn <= 1))
        return sg_fail(err, SG_EINVALID, "\"p_drawn\": got %g, expected above 0 and at most 1", line->p_drawn);
    if (has_p && (!line->drawn || strcmp(line->drawn, "picked") == 0))
        return sg_fail(err, SG_EINVALID, "\"p_drawn\" of a row that %s",
                       line->drawn ? "was picked by hand: there is no probability" : "does not say how it was drawn");
    return SG_OK;
}

/* --- reading ---------------------------------------------------------------------------------------------- */

static enum sg_status take_string(const json_t *value, const char *name, const char **out, struct sg_error *err)
{
    *out = NULL;
    if (!value || json_is_null(value))
        return SG_OK;
    if (!json_is_string(value))
        return sg_fail(err, SG_EFORMAT, "\"%s\" is not a string", name);
    *out = json_string_value(value);
    if (strlen(*out) != json_string_length(value))
        return sg_fail(err, SG_EFORMAT, "\"%s\" has a NUL in it", name);
    return SG_OK;
}

static enum sg_status take_value(const json_t *value, const char *name, int *out, struct sg_error *err)
{
    *out = SG_LABEL_UNKNOWN;
    if (!value || json_is_null(value))
        return SG_OK;
    double number = json_is_number(value) ? json_number_value(value) : NAN;
    if (number != 0 && number != 1)
        return sg_fail(err, SG_EFORMAT, "\"%s\": expected 0, 1 or null", name);
    *out = (int)number;
    return SG_OK;
}

static enum sg_status take_categories(json_t *object, struct sg_parsed_line *parsed, struct sg_error *err)
{
    const char *name;
    json_t *value;
    size_t n = 0;
    if (!object || json_is_null(object))
        return SG_OK;
    if (!json_is_object(object))
        return sg_fail(err, SG_EFORMAT, "\"categories\" is no object");
    if (json_object_size(object) > SG_LABEL_MAX_CATEGORIES)
        return sg_fail(err, SG_ELIMIT, "%zu categories, the limit is %d", json_object_size(object),
                       SG_LABEL_MAX_CATEGORIES);
    json_object_foreach(object, name, value)
    {
        parsed->categories[n].category = name;
        enum sg_status status = take_value(value, "categories", &parsed->categories[n].value, err);
        if (status != SG_OK)
            return status;
        n++;
    }
    parsed->line.categories = parsed->categories;
    parsed->line.n_categories = n;
    return SG_OK;
}

static enum sg_status take_numbers(const json_t *time, const json_t *p_drawn, struct sg_label_line *line,
                                   struct sg_error *err)
{
    line->p_drawn = NAN;
    if (p_drawn && !json_is_null(p_drawn)) {
        if (!json_is_number(p_drawn))
            return sg_fail(err, SG_EFORMAT, "\"p_drawn\" is no number");
        line->p_drawn = json_number_value(p_drawn);
    }
    if (!time || json_is_null(time))
        return SG_OK;
    if (!json_is_integer(time))
        return sg_fail(err, SG_EFORMAT, "\"time\": expected whole seconds since 1970");
    line->time = json_integer_value(time);
    return SG_OK;
}

static enum sg_status take_role(const json_t *value, enum sg_label_role *role_out, struct sg_error *err)
{
    if (!json_is_string(value) || !sg_label_role_of(json_string_value(value), role_out))
        return sg_fail(err, SG_EFORMAT, "\"role\": expected gold, review, appeal or reasoner");
    return SG_OK;
}

static const char *first_unknown(json_t *object)
{
    static const char *const known[] = {"content_sha256", "id",   "text", "violation", "categories",
                                        "policy_sha256",  "who",  "role", "time",      "drawn",
                                        "p_drawn",        "group"};
    const char *name;
    json_t *value;
    json_object_foreach(object, name, value)
    {
        bool found = false;
        for (size_t i = 0; !found && i < sizeof known / sizeof known[0]; i++)
            found = strcmp(known[i], name) == 0;
        if (!found)
            return name;
    }
    return NULL;
}

static enum sg_status take_text(const json_t *value, struct sg_parsed_line *parsed, struct sg_error *err)
{
    struct sg_label_line *line = &parsed->line;
    if (!value || json_is_null(value))
        return line->content_sha256 ? SG_OK : sg_fail(err, SG_EFORMAT, "neither \"content_sha256\" nor \"text\"");
    if (!json_is_string(value))
        return sg_fail(err, SG_EFORMAT, "\"text\" is not a string");
    line->text = json_string_value(value);
    line->text_len = json_string_length(value);
    sg_sha256(line->text, line->text_len, parsed->sha256);
    if (line->content_sha256 && strcmp(line->content_sha256, parsed->sha256) != 0)
        return sg_fail(err, SG_EFORMAT, "\"content_sha256\" is not the SHA-256 of \"text\"");
    line->content_sha256 = parsed->sha256;
    return SG_OK;
}

static enum sg_status take_fields(struct sg_parsed_line *parsed, struct sg_error *err)
{
    json_t *object = parsed->object;
    struct sg_label_line *line = &parsed->line;
    const struct {
        const char *name, **out;
    } strings[] = {{"content_sha256", &line->content_sha256}, {"id", &line->id},       {"who", &line->who},
                   {"policy_sha256", &line->policy_sha256},   {"drawn", &line->drawn}, {"group", &line->group}};
    enum sg_status status = SG_OK;
    for (size_t i = 0; status == SG_OK && i < sizeof strings / sizeof strings[0]; i++)
        status = take_string(json_object_get(object, strings[i].name), strings[i].name, strings[i].out, err);
    if (status == SG_OK)
        status = take_value(json_object_get(object, "violation"), "violation", &line->violation, err);
    if (status == SG_OK)
        status = take_categories(json_object_get(object, "categories"), parsed, err);
    if (status == SG_OK)
        status = take_numbers(json_object_get(object, "time"), json_object_get(object, "p_drawn"), line, err);
    if (status == SG_OK)
        status = take_role(json_object_get(object, "role"), &line->role, err);
    if (status == SG_OK)
        status = take_text(json_object_get(object, "text"), parsed, err);
    if (status == SG_OK && sg_label_line_check(line, err) != SG_OK)
        status = SG_EFORMAT;
    parsed->unknown_field = first_unknown(object);
    return status;
}

enum sg_status sg_label_line_parse(struct sg_slice text, struct sg_parsed_line *parsed, struct sg_error *err)
{
    json_error_t error;
    parsed->attempt = NULL;
    parsed->line = (struct sg_label_line){0};
    parsed->unknown_field = NULL;
    /* The text of the parser's error is not used: it quotes the content. */
    parsed->object = json_loadb(text.ptr, text.len, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &error);
    if (!parsed->object)
        return sg_fail_at(err, SG_EFORMAT, (uint64_t)error.position, "not valid JSON at byte %d of %zu",
                          error.position, text.len);
    enum sg_status status;
    if (!json_is_object(parsed->object)) {
        status = sg_fail(err, SG_EFORMAT, "a JSON array, expected an object");
    } else if (json_object_get(parsed->object, "attempt")) {
        parsed->attempt = json_object_get(parsed->object, "attempt");
        status = json_is_object(parsed->attempt) ? SG_OK : sg_fail(err, SG_EFORMAT, "\"attempt\" is no object");
    } else {
        status = take_fields(parsed, err);
    }
    if (status != SG_OK)
        sg_parsed_line_deinit(parsed);
    return status;
}

void sg_parsed_line_deinit(struct sg_parsed_line *parsed)
{
    json_decref(parsed->object);
    parsed->object = NULL;
}

/* --- writing ---------------------------------------------------------------------------------------------- */

static json_t *value_json(int value)
{
    return value == SG_LABEL_UNKNOWN ? json_null() : json_integer(value);
}

static void put_string(json_t *object, const char *name, const char *value)
{
    if (value)
        json_object_set_new(object, name, json_string(value));
}

enum sg_status sg_label_line_write(const struct sg_label_line *line, struct sg_buffer *out, struct sg_error *err)
{
    enum sg_status status = sg_label_line_check(line, err);
    if (status != SG_OK)
        return status;
    if (line->text_len > SG_LABEL_MAX_TEXT)
        return sg_fail(err, SG_ELIMIT, "a text of %zu bytes, the limit is %d", line->text_len, SG_LABEL_MAX_TEXT);
    if (line->text && !sg_utf8_valid((struct sg_slice){line->text, line->text_len}))
        return sg_fail(err, SG_EINVALID, "the text is not UTF-8");
    char sha256[SG_SHA256_HEX];
    if (line->text)
        sg_sha256(line->text, line->text_len, sha256);
    if (line->text && line->content_sha256 && strcmp(line->content_sha256, sha256) != 0)
        return sg_fail(err, SG_EINVALID, "\"content_sha256\" is not the SHA-256 of the text");
    json_t *object = json_object();
    put_string(object, "content_sha256", line->text ? sha256 : line->content_sha256);
    put_string(object, "id", line->id);
    if (line->text)
        json_object_set_new(object, "text", json_stringn(line->text, line->text_len));
    json_object_set_new(object, "violation", value_json(line->violation));
    if (line->n_categories) {
        json_t *categories = json_object();
        for (size_t i = 0; i < line->n_categories; i++)
            json_object_set_new(categories, line->categories[i].category, value_json(line->categories[i].value));
        json_object_set_new(object, "categories", categories);
    }
    put_string(object, "policy_sha256", line->policy_sha256);
    put_string(object, "who", line->who);
    put_string(object, "role", sg_label_role_name(line->role));
    json_object_set_new(object, "time", json_integer(line->time));
    put_string(object, "drawn", line->drawn);
    if (!isnan(line->p_drawn))
        json_object_set_new(object, "p_drawn", json_real(line->p_drawn));
    put_string(object, "group", line->group);
    /* The one real number: in 15 digits where they say it all (0.1 and not 0.10000000000000001). */
    char digits[40];
    snprintf(digits, sizeof digits, "%.15g", line->p_drawn);
    size_t flags = strtod(digits, NULL) == line->p_drawn ? JSON_REAL_PRECISION(15) : 0;
    char *text = object ? json_dumps(object, JSON_COMPACT | flags) : NULL;
    json_decref(object);
    if (!text)
        return sg_fail(err, SG_ENOMEM, "out of memory for a label of %zu bytes", line->text_len);
    sg_buffer_puts(out, text);
    sg_buffer_putc(out, '\n');
    free(text);
    return sg_buffer_status(out, err);
}
