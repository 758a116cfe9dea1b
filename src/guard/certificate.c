/* The certificate file: {"certificate": {…}, "sha256": "…"}. The hash is of the certificate object written compactly
 * with sorted keys, so that a file that was edited by hand, by however little, is refused. */
#include "guard/certificate.h"

#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define VERSION 1

static const char *const methods[] = {[SG_CLOPPER_PEARSON] = "clopper-pearson", [SG_BETTING] = "betting"};

/* --- writing ------------------------------------------------------------------------------------------------ */

static json_t *number(double value)
{
    return isfinite(value) ? json_real(value) : json_null();
}

static json_t *claim_to_json(const struct sg_certificate_claim *claim)
{
    if (!claim->tried)
        return json_null();
    const struct sg_certified *result = &claim->result;
    return json_pack("{s:o, s:o, s:o, s:b, s:o, s:s, s:o, s:o, s:I, s:I, s:I, s:I, s:o, s:I, s:o}", //
                     "rate", number(claim->rate), "confidence", number(claim->confidence), "spent",
                     number(claim->spent), "certified", result->certified, "threshold", number(result->threshold),
                     "method", methods[result->method], "bound", number(result->bound), "estimate",
                     number(result->estimate), "rows", (json_int_t)result->n_rows, "violating",
                     (json_int_t)result->n_violating, "counted", (json_int_t)result->n_counted, "wrong",
                     (json_int_t)result->n_wrong, "passed_share", number(result->passed_share), "needed",
                     (json_int_t)result->needed, "delta", number(result->delta));
}

static json_t *entry_to_json(const struct sg_certificate_entry *entry)
{
    json_t *reasoners = json_array();
    for (size_t i = 0; i < entry->n_reasoners; i++) {
        const struct sg_certificate_reasoner *reasoner = &entry->reasoners[i];
        json_array_append_new(reasoners, json_pack("{s:s, s:s, s:o, s:o}", "name", reasoner->name, "sha256",
                                                   reasoner->sha256, "miss", claim_to_json(&reasoner->miss), "flag",
                                                   claim_to_json(&reasoner->flag)));
    }
    return json_pack("{s:s, s:o, s:o, s:o}", "category", entry->category, "miss", claim_to_json(&entry->miss), "flag",
                     claim_to_json(&entry->flag), "reasoners", reasoners);
}

static json_t *body_to_json(const struct sg_certificate *certificate)
{
    const struct sg_clearing_function *function = &certificate->function;
    json_t *categories = json_array();
    for (size_t i = 0; i < certificate->n_entries; i++)
        json_array_append_new(categories, entry_to_json(&certificate->entries[i]));
    return json_pack("{s:i, s:s, s:s, s:s, s:s, s:s, s:I, s:I, s:s, s:I, s:I, s:o}", //
                     "version", VERSION, "policy_sha256", function->policy_sha256, "screen_sha256",
                     function->screen_sha256, "rules_sha256", function->rules_sha256, "features_version",
                     function->features_version, "truth", certificate->truth, "rows_people",
                     (json_int_t)certificate->n_people, "rows_reasoner", (json_int_t)certificate->n_reasoner,
                     "reasoner", certificate->reasoner, "attempt", (json_int_t)certificate->attempt, "time",
                     (json_int_t)certificate->time, "categories", categories);
}

/* Numbers are written with 17 digits, so what is read and written again is the same text. */
static enum sg_status hash_of(const json_t *body, char hex_out[SG_SHA256_HEX], struct sg_error *err)
{
    char *text = json_dumps(body, JSON_COMPACT | JSON_SORT_KEYS | JSON_REAL_PRECISION(17));
    if (!text)
        return sg_fail(err, SG_ENOMEM, "certificate: no memory");
    sg_sha256(text, strlen(text), hex_out);
    free(text);
    return SG_OK;
}

enum sg_status sg_certificate_to_json(struct sg_certificate *certificate, char **json_out, struct sg_error *err)
{
    *json_out = NULL;
    json_t *body = body_to_json(certificate);
    if (!body)
        return sg_fail(err, SG_EINVALID, "certificate: a name in it is not UTF-8, or no memory");
    enum sg_status status = hash_of(body, certificate->sha256, err);
    json_t *file =
        status == SG_OK ? json_pack("{s:O, s:s}", "certificate", body, "sha256", certificate->sha256) : NULL;
    if (file)
        *json_out = json_dumps(file, JSON_INDENT(2) | JSON_REAL_PRECISION(17));
    json_decref(file);
    json_decref(body);
    return status == SG_OK && !*json_out ? sg_fail(err, SG_ENOMEM, "certificate: no memory") : status;
}

enum sg_status sg_certificate_save(const char *path, struct sg_certificate *certificate, struct sg_error *err)
{
    char *json;
    enum sg_status status = sg_certificate_to_json(certificate, &json, err);
    if (status == SG_OK)
        status = sg_file_write_atomic(path, json, strlen(json), err);
    free(json);
    return status;
}

/* --- reading ------------------------------------------------------------------------------------------------ */

/* The first thing that is wrong with a file, else NULL members. */
struct reader {
    struct sg_error *err;
    enum sg_status status;
};

static void fail(struct reader *reader, const char *field, const char *expected)
{
    if (reader->status == SG_OK)
        reader->status = sg_fail(reader->err, SG_EFORMAT, "certificate: %s is not %s", field, expected);
}

static void read_string(struct reader *reader, const json_t *object, const char *field, char *out, size_t size)
{
    const json_t *value = json_object_get(object, field);
    out[0] = '\0';
    if (!json_is_string(value) || json_string_length(value) >= size ||
        strlen(json_string_value(value)) != json_string_length(value))
        fail(reader, field, "a short text");
    else
        memcpy(out, json_string_value(value), json_string_length(value) + 1);
}

/* 64 hexadecimal digits; "" where there may be none. */
static void read_hash(struct reader *reader, const json_t *object, const char *field, bool optional,
                      char out[SG_SHA256_HEX])
{
    read_string(reader, object, field, out, SG_SHA256_HEX);
    size_t len = strlen(out);
    if (!(optional && len == 0) && (len != 64 || strspn(out, "0123456789abcdef") != 64))
        fail(reader, field, "a SHA-256");
}

static bool read_bool(struct reader *reader, const json_t *object, const char *field)
{
    const json_t *value = json_object_get(object, field);
    if (!json_is_boolean(value))
        fail(reader, field, "true or false");
    return json_is_true(value);
}

static uint64_t read_count(struct reader *reader, const json_t *object, const char *field)
{
    const json_t *value = json_object_get(object, field);
    if (!json_is_integer(value) || json_integer_value(value) < 0)
        fail(reader, field, "a count");
    return (uint64_t)json_integer_value(value);
}

/* A number in [low, high]; null is `absent` where that is no NaN or where `nullable`. */
static double read_number(struct reader *reader, const json_t *object, const char *field, double low, double high,
                          bool nullable, double absent)
{
    const json_t *value = json_object_get(object, field);
    if (nullable && json_is_null(value))
        return absent;
    double got = json_is_number(value) ? json_number_value(value) : NAN;
    if (!(got >= low && got <= high))
        fail(reader, field, "a number in its range");
    return got;
}

static void read_claim(struct reader *reader, const json_t *object, const char *side,
                       struct sg_certificate_claim *claim)
{
    const json_t *json = json_object_get(object, side);
    struct sg_certified *result = &claim->result;
    if (json_is_null(json))
        return;
    if (!json_is_object(json)) {
        fail(reader, side, "a claim");
        return;
    }
    const double none = strcmp(side, "miss") == 0 ? -INFINITY : INFINITY;
    char method[32];
    claim->tried = true;
    claim->rate = read_number(reader, json, "rate", 0, 1, false, NAN);
    claim->confidence = read_number(reader, json, "confidence", 0.5, 1, false, NAN);
    claim->spent = read_number(reader, json, "spent", 0, 1, false, NAN);
    result->certified = read_bool(reader, json, "certified");
    result->threshold = read_number(reader, json, "threshold", -1e300, 1e300, !result->certified, none);
    result->bound = read_number(reader, json, "bound", 0, result->certified ? claim->rate : 1, false, NAN);
    result->estimate = read_number(reader, json, "estimate", 0, 1, !result->certified, NAN);
    result->n_rows = read_count(reader, json, "rows");
    result->n_violating = read_count(reader, json, "violating");
    result->n_counted = read_count(reader, json, "counted");
    result->n_wrong = read_count(reader, json, "wrong");
    result->passed_share = read_number(reader, json, "passed_share", 0, 1, false, NAN);
    result->needed = read_count(reader, json, "needed");
    result->delta = read_number(reader, json, "delta", 0, 0.5, false, NAN);
    read_string(reader, json, "method", method, sizeof(method));
    if (strcmp(method, methods[SG_BETTING]) == 0)
        result->method = SG_BETTING;
    else if (strcmp(method, methods[SG_CLOPPER_PEARSON]) != 0)
        fail(reader, "method", "clopper-pearson or betting");
    if (!result->certified && !json_is_null(json_object_get(json, "threshold")))
        fail(reader, "threshold", "null, although nothing is certified");
    if (result->delta + claim->spent > 1 - claim->confidence + 1e-9)
        fail(reader, "delta", "within what the confidence permits");
}

static void read_entry(struct reader *reader, const json_t *json, struct sg_certificate_entry *entry)
{
    read_string(reader, json, "category", entry->category, sizeof(entry->category));
    read_claim(reader, json, "miss", &entry->miss);
    read_claim(reader, json, "flag", &entry->flag);
    const json_t *reasoners = json_object_get(json, "reasoners");
    if (!json_is_array(reasoners) ||
        json_array_size(reasoners) > sizeof(entry->reasoners) / sizeof(entry->reasoners[0])) {
        fail(reader, "reasoners", "a short list");
        return;
    }
    for (; entry->n_reasoners < json_array_size(reasoners); entry->n_reasoners++) {
        struct sg_certificate_reasoner *reasoner = &entry->reasoners[entry->n_reasoners];
        const json_t *item = json_array_get(reasoners, entry->n_reasoners);
        read_string(reader, item, "name", reasoner->name, sizeof(reasoner->name));
        read_hash(reader, item, "sha256", true, reasoner->sha256);
        read_claim(reader, item, "miss", &reasoner->miss);
        read_claim(reader, item, "flag", &reasoner->flag);
    }
}

static void read_body(struct reader *reader, const json_t *body, struct sg_certificate *certificate)
{
    struct sg_clearing_function *function = &certificate->function;
    if (json_integer_value(json_object_get(body, "version")) != VERSION) {
        fail(reader, "version", "1, the one that this program reads");
        return;
    }
    read_hash(reader, body, "policy_sha256", false, function->policy_sha256);
    read_hash(reader, body, "screen_sha256", true, function->screen_sha256);
    read_hash(reader, body, "rules_sha256", true, function->rules_sha256);
    read_string(reader, body, "features_version", function->features_version, sizeof(function->features_version));
    read_string(reader, body, "truth", certificate->truth, sizeof(certificate->truth));
    certificate->n_people = read_count(reader, body, "rows_people");
    certificate->n_reasoner = read_count(reader, body, "rows_reasoner");
    read_string(reader, body, "reasoner", certificate->reasoner, sizeof(certificate->reasoner));
    certificate->attempt = read_count(reader, body, "attempt");
    certificate->time = (int64_t)read_count(reader, body, "time");
    const json_t *categories = json_object_get(body, "categories");
    if (!json_is_array(categories) || json_array_size(categories) > SG_SCREEN_MAX_CATEGORIES) {
        fail(reader, "categories", "a list as long as a screen may have");
        return;
    }
    for (; certificate->n_entries < json_array_size(categories); certificate->n_entries++)
        read_entry(reader, json_array_get(categories, certificate->n_entries),
                   &certificate->entries[certificate->n_entries]);
}

enum sg_status sg_certificate_parse(const char *json, size_t len, struct sg_certificate *certificate_out,
                                    struct sg_error *err)
{
    json_error_t error;
    struct reader reader = {.err = err};
    char written[SG_SHA256_HEX];
    *certificate_out = (struct sg_certificate){0};
    json_t *file = json_loadb(json, len, JSON_REJECT_DUPLICATES, &error);
    if (!file)
        return sg_fail_at(err, SG_EFORMAT, (uint64_t)(error.position > 0 ? error.position : 0),
                          "certificate: no JSON, line %d: %s", error.line, error.text);
    const json_t *body = json_object_get(file, "certificate");
    if (!json_is_object(body))
        fail(&reader, "the file", "a certificate");
    else
        read_hash(&reader, file, "sha256", false, written);
    if (reader.status == SG_OK)
        reader.status = hash_of(body, certificate_out->sha256, err);
    if (reader.status == SG_OK && strcmp(written, certificate_out->sha256) != 0)
        reader.status = sg_fail(err, SG_ECHECKSUM, "certificate: its sha256 is %.12s…, the file says %.12s…: changed",
                                certificate_out->sha256, written);
    if (reader.status == SG_OK)
        read_body(&reader, body, certificate_out);
    json_decref(file);
    if (reader.status != SG_OK)
        *certificate_out = (struct sg_certificate){0};
    return reader.status;
}

enum sg_status sg_certificate_open(const char *path, struct sg_certificate *certificate_out, struct sg_error *err)
{
    struct sg_buffer text = {0};
    *certificate_out = (struct sg_certificate){0};
    enum sg_status status = sg_file_read(path, SG_CERTIFICATE_MAX_BYTES, &text, err);
    if (status == SG_OK) {
        status = sg_certificate_parse(sg_buffer_text(&text), text.len, certificate_out, err);
        if (status != SG_OK)
            sg_fail_in(err, status, "%s", path);
    }
    sg_buffer_free(&text);
    return status;
}

/* --- using -------------------------------------------------------------------------------------------------- */

static enum sg_status same(const char *what, const char *about, const char *got, struct sg_error *err)
{
    if (strcmp(about, got) == 0)
        return SG_OK;
    return sg_fail(err, SG_EINVALID, "the certificate is about %s %.12s%s, got %.12s%s: certify anew", what,
                   about[0] ? about : "(none)", strlen(about) > 12 ? "…" : "", got[0] ? got : "(none)",
                   strlen(got) > 12 ? "…" : "");
}

enum sg_status sg_certificate_matches(const struct sg_certificate *certificate,
                                      const struct sg_clearing_function *function, struct sg_error *err)
{
    const struct sg_clearing_function *about = &certificate->function;
    enum sg_status status = same("policy", about->policy_sha256, function->policy_sha256, err);
    if (status == SG_OK)
        status = same("screen", about->screen_sha256, function->screen_sha256, err);
    if (status == SG_OK)
        status = same("rules", about->rules_sha256, function->rules_sha256, err);
    if (status == SG_OK)
        status = same("features version", about->features_version, function->features_version, err);
    return status;
}

const struct sg_certificate_entry *sg_certificate_entry(const struct sg_certificate *certificate,
                                                        const char *category)
{
    for (size_t i = 0; i < certificate->n_entries; i++)
        if (strcmp(certificate->entries[i].category, category) == 0)
            return &certificate->entries[i];
    return NULL;
}
