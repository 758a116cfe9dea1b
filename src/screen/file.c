/* The screen's file: one per policy version.
 *
 *     header        256 bytes: magic, format, sizes, version of normaliser and features, hash of the policy
 *     models        168 bytes for each category: name, bias, scale, calibration, how it was made
 *     idf           [buckets] u8
 *     seen          [buckets / 8] bits
 *     learnt        [2^n / 8] bits: which groups it was learnt from
 *     lexeme idf    [words] u8: words of the vocabulary that has vectors
 *     weights       [categories][buckets] i8
 *     lexemes       [categories][words] i8
 *     checksum      SHA-256 of all of the above, 64 hexadecimal digits
 *
 * Little-endian, mapped as it is. The file is refused as a whole when anything in it does not fit: a screen that was
 * damaged must not clear anything. */
#include "base/utf8.h"
#include "screen/screen_internal.h"
#include "screen/vectors.h"

#include <jansson.h>
#include <pthread.h>
#include <stdlib.h>

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "the file is mapped as little-endian");

#define MAGIC "SGSCREEN"
#define FORMAT 1

struct header {
    char magic[8];
    uint32_t format, bucket_bits, n_categories, learnt_bits;
    uint64_t n_bytes; /* of the file, checksum included */
    uint64_t n_texts;
    double unseen_share;
    char features[64];      /* sg_screen_features_version() */
    char policy_sha256[72]; /* 64 digits */
    uint32_t n_words;       /* of the vocabulary */
    char unused[68];
};
_Static_assert(sizeof(struct header) == 256, "part of the file format");

static char version_text[sizeof((struct header *)NULL)->features];
static pthread_once_t version_once = PTHREAD_ONCE_INIT;

static void make_version(void)
{
    snprintf(version_text, sizeof version_text, "normaliser %s, features %s, words %s", SG_NORMALISER_VERSION,
             SG_FEATURES_OWN_VERSION, sg_vectors()->version);
}

const char *sg_screen_features_version(void)
{
    pthread_once(&version_once, make_version);
    return version_text;
}

static size_t size_of_file(const struct header *header)
{
    size_t buckets = (size_t)1 << header->bucket_bits;
    return sizeof *header + header->n_categories * (sizeof(struct sg_screen_model) + buckets + header->n_words) +
           buckets + buckets / 8 + header->n_words + ((size_t)1 << header->learnt_bits) / 8 +
           SG_SCREEN_CHECKSUM_BYTES;
}

static bool is_sha256(const char *text)
{
    return strspn(text, "0123456789abcdef") == 64 && text[64] == '\0';
}

/* --- reading --------------------------------------------------------------------------------------------------- */

static enum sg_status check_header(const char *name, const struct header *header, size_t len, struct sg_error *err)
{
    if (len < sizeof *header || memcmp(header->magic, MAGIC, sizeof header->magic) != 0)
        return sg_fail(err, SG_EFORMAT, "%s: not a screen file", name);
    if (header->format != FORMAT)
        return sg_fail(err, SG_EUNSUPPORTED, "%s: screen format %u, this version reads %d: train it again", name,
                       header->format, FORMAT);
    if (header->bucket_bits < SG_BUCKET_BITS_MIN || header->bucket_bits > SG_BUCKET_BITS_MAX)
        return sg_fail(err, SG_EFORMAT, "%s: 2^%u buckets, expected 2^%d to 2^%d", name, header->bucket_bits,
                       SG_BUCKET_BITS_MIN, SG_BUCKET_BITS_MAX);
    if (header->n_categories < 1 || header->n_categories > SG_SCREEN_MAX_CATEGORIES)
        return sg_fail(err, SG_EFORMAT, "%s: %u categories, expected 1 to %d", name, header->n_categories,
                       SG_SCREEN_MAX_CATEGORIES);
    if (header->learnt_bits < SG_LEARNT_BITS_MIN || header->learnt_bits > SG_LEARNT_BITS_MAX)
        return sg_fail(err, SG_EFORMAT, "%s: 2^%u bits of groups, expected 2^%d to 2^%d", name, header->learnt_bits,
                       SG_LEARNT_BITS_MIN, SG_LEARNT_BITS_MAX);
    if (header->n_words > SG_VECTORS_MAX_WORDS)
        return sg_fail(err, SG_EFORMAT, "%s: a vocabulary of %u words, at most %d", name, header->n_words,
                       SG_VECTORS_MAX_WORDS);
    size_t expected = size_of_file(header);
    if (header->n_bytes != expected || len != expected)
        return sg_fail(err, SG_EFORMAT, "%s: %zu bytes, header says %llu, its sizes need %zu", name, len,
                       (unsigned long long)header->n_bytes, expected);
    return SG_OK;
}

static enum sg_status check_sum(const char *name, const unsigned char *bytes, size_t len, struct sg_error *err)
{
    char hex[SG_SHA256_HEX];
    size_t covered = len - SG_SCREEN_CHECKSUM_BYTES;
    sg_sha256(bytes, covered, hex);
    if (memcmp(hex, bytes + covered, SG_SCREEN_CHECKSUM_BYTES) != 0)
        return sg_fail(err, SG_EFORMAT, "%s: the screen's checksum does not fit its bytes: the file is damaged",
                       name);
    return SG_OK;
}

static enum sg_status check_model(const char *name, const struct sg_screen_model *models, size_t i,
                                  struct sg_error *err)
{
    const struct sg_screen_model *model = models + i;
    size_t len = strnlen(model->name, sizeof model->name);
    if (len == 0 || len == sizeof model->name || !sg_utf8_valid((struct sg_slice){model->name, len}))
        return sg_fail(err, SG_EFORMAT, "%s: category %zu has no readable name", name, i);
    for (size_t k = 0; k < i; k++)
        if (strcmp(models[k].name, model->name) == 0)
            return sg_fail(err, SG_EFORMAT, "%s: categories %zu and %zu have the same name", name, k, i);
    if (!isfinite(model->bias) || !isfinite(model->scale) || model->scale < 0 || !isfinite(model->lexeme_scale) ||
        model->lexeme_scale < 0 || !isfinite(model->slope) || model->slope < 0 || !isfinite(model->intercept) ||
        !isfinite(model->c) || !isfinite(model->vector_scale) || !isfinite(model->prior_scale))
        return sg_fail(err, SG_EFORMAT, "%s: category %zu: bias, scale or calibration is no number in range", name,
                       i);
    return SG_OK;
}

/* Point into the image, which is checked first. */
static enum sg_status bind(const char *name, struct sg_screen *screen, const unsigned char *bytes, size_t len,
                           struct sg_error *err)
{
    struct header header = {0};
    memcpy(&header, bytes, len < sizeof header ? len : sizeof header);
    enum sg_status status = check_header(name, &header, len, err);
    if (status == SG_OK)
        status = check_sum(name, bytes, len, err);
    if (status != SG_OK)
        return status;
    header.features[sizeof header.features - 1] = '\0';
    if (strcmp(header.features, sg_screen_features_version()) != 0)
        return sg_fail(err, SG_EUNSUPPORTED, "%s: made with \"%.63s\", this version has \"%s\": train it again", name,
                       sg_utf8_valid(sg_slice_of(header.features)) ? header.features : "?",
                       sg_screen_features_version());
    header.policy_sha256[sizeof header.policy_sha256 - 1] = '\0';
    if (header.policy_sha256[0] && !is_sha256(header.policy_sha256))
        return sg_fail(err, SG_EFORMAT, "%s: the policy's hash is no SHA-256", name);
    if (header.n_words != sg_vectors()->n_words)
        return sg_fail(err, SG_EFORMAT, "%s: a vocabulary of %u words, expected %u", name, header.n_words,
                       sg_vectors()->n_words);
    if (!(header.unseen_share >= 0))
        return sg_fail(err, SG_EFORMAT, "%s: the share of unseen features is no number from 0", name);

    size_t buckets = (size_t)1 << header.bucket_bits;
    screen->bucket_bits = (int)header.bucket_bits;
    screen->n_categories = header.n_categories;
    screen->unseen_share = header.unseen_share;
    screen->n_texts = header.n_texts;
    memcpy(screen->policy_sha256, header.policy_sha256, sizeof screen->policy_sha256);
    screen->models = (const struct sg_screen_model *)(bytes + sizeof header);
    for (size_t i = 0; i < screen->n_categories; i++)
        if ((status = check_model(name, screen->models, i, err)) != SG_OK)
            return status;
    screen->idf = (const uint8_t *)(screen->models + screen->n_categories);
    screen->seen = screen->idf + buckets;
    screen->learnt_bits = (int)header.learnt_bits;
    screen->learnt = screen->seen + buckets / 8;
    screen->lexeme_idf = screen->learnt + ((size_t)1 << header.learnt_bits) / 8;
    const int8_t *weights = (const int8_t *)(screen->lexeme_idf + header.n_words);
    for (size_t i = 0; i < screen->n_categories; i++) {
        screen->weights[i] = weights + i * buckets;
        screen->lexeme_weights[i] = weights + screen->n_categories * buckets + i * header.n_words;
    }
    screen->n_bytes = len;
    sg_sha256(bytes, len, screen->sha256);
    return sg_screen_pair(screen, err);
}

static enum sg_status new_screen(struct sg_screen **screen_out, struct sg_error *err)
{
    *screen_out = calloc(1, sizeof **screen_out);
    return *screen_out ? SG_OK : sg_fail(err, SG_ENOMEM, "out of memory for a screen");
}

enum sg_status sg_screen_open(const char *path, struct sg_screen **screen_out, struct sg_error *err)
{
    struct sg_screen *screen;
    *screen_out = NULL;
    enum sg_status status = new_screen(&screen, err);
    if (status != SG_OK)
        return status;
    status = sg_mapping_open(path, &screen->mapping, err);
    if (status == SG_OK)
        status = bind(path, screen, screen->mapping.data, screen->mapping.size, err);
    if (status != SG_OK)
        sg_screen_close(screen);
    else
        *screen_out = screen;
    return status;
}

enum sg_status sg_screen_open_memory(const char *name, const void *bytes, size_t len, struct sg_screen **screen_out,
                                     struct sg_error *err)
{
    struct sg_screen *screen;
    *screen_out = NULL;
    enum sg_status status = new_screen(&screen, err);
    if (status != SG_OK)
        return status;
    screen->bytes = malloc(len ? len : 1);
    if (!screen->bytes)
        status = sg_fail(err, SG_ENOMEM, "%s: out of memory for %zu bytes", name, len);
    else {
        memcpy(screen->bytes, bytes, len);
        status = bind(name, screen, screen->bytes, len, err);
    }
    if (status != SG_OK)
        sg_screen_close(screen);
    else
        *screen_out = screen;
    return status;
}

void sg_screen_close(struct sg_screen *screen)
{
    if (!screen)
        return;
    if (screen->mapping.data)
        sg_mapping_close(&screen->mapping);
    sg_screen_unpair(screen);
    free(screen->bytes);
    free(screen);
}

/* --- writing --------------------------------------------------------------------------------------------------- */

enum sg_status sg_screen_assemble(const struct sg_screen_parts *parts, struct sg_screen **screen_out,
                                  struct sg_error *err)
{
    size_t buckets = (size_t)1 << parts->bucket_bits;
    struct header header = {
        .format = FORMAT,
        .bucket_bits = (uint32_t)parts->bucket_bits,
        .n_categories = (uint32_t)parts->n_categories,
        .learnt_bits = (uint32_t)parts->learnt_bits,
        .n_texts = parts->n_texts,
        .unseen_share = parts->unseen_share,
        .n_words = sg_vectors()->n_words,
    };
    *screen_out = NULL;
    header.n_bytes = size_of_file(&header);
    memcpy(header.magic, MAGIC, sizeof header.magic);
    snprintf(header.features, sizeof header.features, "%s", sg_screen_features_version());
    snprintf(header.policy_sha256, sizeof header.policy_sha256, "%s",
             parts->policy_sha256 ? parts->policy_sha256 : "");
    struct sg_buffer image = {0};
    sg_buffer_append(&image, &header, sizeof header);
    sg_buffer_append(&image, parts->models, parts->n_categories * sizeof *parts->models);
    sg_buffer_append(&image, parts->idf, buckets);
    sg_buffer_append(&image, parts->seen, buckets / 8);
    sg_buffer_append(&image, parts->learnt, ((size_t)1 << parts->learnt_bits) / 8);
    sg_buffer_append(&image, parts->lexeme_idf, header.n_words);
    for (size_t i = 0; i < parts->n_categories; i++)
        sg_buffer_append(&image, parts->weights[i], buckets);
    for (size_t i = 0; i < parts->n_categories; i++)
        sg_buffer_append(&image, parts->lexeme_weights[i], header.n_words);
    enum sg_status status = sg_buffer_status(&image, err);
    if (status == SG_OK) {
        char hex[SG_SHA256_HEX];
        sg_sha256(image.data, image.len, hex);
        sg_buffer_append(&image, hex, SG_SCREEN_CHECKSUM_BYTES);
        status = sg_buffer_status(&image, err);
    }
    if (status == SG_OK)
        status = sg_screen_open_memory("new screen", image.data, image.len, screen_out, err);
    sg_buffer_free(&image);
    return status;
}

enum sg_status sg_screen_save(const struct sg_screen *screen, const char *path, struct sg_error *err)
{
    const unsigned char *bytes = screen->bytes ? screen->bytes : screen->mapping.data;
    return sg_file_write_atomic(path, bytes, screen->n_bytes, err);
}

/* --- what a screen says of itself --------------------------------------------------------------------------------
 */

const char *sg_screen_policy_sha256(const struct sg_screen *screen)
{
    return screen->policy_sha256;
}

const char *sg_screen_sha256(const struct sg_screen *screen)
{
    return screen->sha256;
}

size_t sg_screen_n_categories(const struct sg_screen *screen)
{
    return screen->n_categories;
}

const char *sg_screen_category_name(const struct sg_screen *screen, size_t category)
{
    return category < screen->n_categories ? screen->models[category].name : NULL;
}

static json_t *number_or_null(double value)
{
    return isfinite(value) ? json_real(value) : json_null();
}

static json_t *model_json(const struct sg_screen_model *model)
{
    json_t *calibration = json_null();
    if (model->slope > 0)
        calibration =
            json_pack("{s:f, s:f, s:I, s:I}", "slope", model->slope, "intercept", model->intercept, "rows",
                      (json_int_t)model->n_calibration, "violating", (json_int_t)model->n_calibration_positive);
    return json_pack("{s:s, s:I, s:I, s:f, s:f, s:f, s:o, s:f, s:o}", "category", model->name, "examples",
                     (json_int_t)model->n_examples, "violating", (json_int_t)model->n_positive, "c", model->c,
                     "vector_scale", model->vector_scale, "prior_scale", model->prior_scale, "average_precision",
                     number_or_null(model->average_precision), "bias", model->bias, "calibration", calibration);
}

enum sg_status sg_screen_info(const struct sg_screen *screen, char **json_out, struct sg_error *err)
{
    *json_out = NULL;
    json_t *models = json_array();
    for (size_t i = 0; i < screen->n_categories; i++)
        json_array_append_new(models, model_json(screen->models + i));
    size_t seen = 0, buckets = (size_t)1 << screen->bucket_bits;
    for (size_t i = 0; i < buckets; i++)
        seen += screen->idf[i] != 0;
    json_t *object = json_pack(
        "{s:s, s:s?, s:s, s:I, s:I, s:I, s:I, s:o, s:o}", "sha256", screen->sha256, "policy_sha256",
        screen->policy_sha256[0] ? screen->policy_sha256 : NULL, "features", sg_screen_features_version(), "bytes",
        (json_int_t)screen->n_bytes, "buckets", (json_int_t)buckets, "buckets_used", (json_int_t)seen, "texts",
        (json_int_t)screen->n_texts, "unseen_share", number_or_null(screen->unseen_share), "categories", models);
    if (object)
        *json_out = json_dumps(object, JSON_COMPACT | JSON_REAL_PRECISION(9));
    json_decref(object);
    return *json_out ? SG_OK : sg_fail(err, SG_ENOMEM, "out of memory for the description of a screen");
}
