/* GGUF files (v2, v3, little-endian) → key-values and tensors.
 *
 * The file is mapped and never trusted: each count, length, size and offset is checked against the bytes that are
 * there before anything is read or allocated. Values stay in the map; what is built is a table of keys, one
 * of tensors, and for each array of strings where its elements start, so memory is bounded by the file's size.
 *
 * A split set is named PREFIX-00001-of-00003.gguf: the first part carries the metadata, every part its own
 * tensors and split.no, split.count, split.tensors.count.
 * Source: ggml docs/gguf.md; llama.cpp tools/gguf-split. */
#include "weights/weights_internal.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>

#define GGUF_TENSORS_MAX 65536
#define GGUF_KEYS_MAX 65536
#define GGUF_NAME_MAX 1024       /* bytes of a key or a tensor's name */
#define GGUF_ARRAY_MAX (1 << 24) /* elements; the largest vocabularies have 2^18 */
#define GGUF_PARTS_MAX 1024
#define GGUF_ALIGNMENT 32 /* when general.alignment is absent */

static const struct {
    const char *name;
    unsigned bytes;
} value_types[GGUF_VALUE_COUNT] = {
#define GGUF_VALUE_ROW(symbol, name, bytes) {name, bytes},
    GGUF_VALUE_LIST(GGUF_VALUE_ROW)
#undef GGUF_VALUE_ROW
};

/* dtype → ggml's type number. */
static const int ggml_types[SG_DTYPE_COUNT] = {
    [SG_F32] = 0,       [SG_F16] = 1,   [SG_BF16] = 30, [SG_Q8_0] = 8, [SG_MXFP4] = 39, [SG_MXFP4_T4] = 4,
    [SG_MXFP4_ST] = -1, [SG_Q4_0] = 2,  [SG_Q4_1] = 3,  [SG_Q5_0] = 6, [SG_Q5_1] = 7,   [SG_IQ4_NL] = 20,
    [SG_Q4_K] = 12,     [SG_Q5_K] = 13, [SG_Q6_K] = 14, [SG_U8] = -1,
};

int sg_gguf_type(enum sg_dtype dtype)
{
    return ggml_types[dtype];
}

/* Names of the types that we do not read, for the message. */
static const char *ggml_type_name(uint32_t type)
{
    static const struct {
        uint32_t type;
        const char *name;
    } others[] = {{4, "Q4_2"},    {9, "Q8_1"},     {10, "Q2_K"},  {11, "Q3_K"},  {15, "Q8_K"},  {16, "IQ2_XXS"},
                  {17, "IQ2_XS"}, {18, "IQ3_XXS"}, {19, "IQ1_S"}, {21, "IQ3_S"}, {22, "IQ2_S"}, {23, "IQ4_XS"},
                  {24, "I8"},     {25, "I16"},     {26, "I32"},   {27, "I64"},   {28, "F64"},   {29, "IQ1_M"},
                  {34, "TQ1_0"},  {35, "TQ2_0"},   {40, "NVFP4"}};
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++)
        if (others[i].type == type)
            return others[i].name;
    return "unknown";
}

/* --- reading bytes ------------------------------------------------------------------------------------ */

struct cursor {
    const char *path;
    const uint8_t *start, *at, *end;
    struct sg_error *err;
};

static uint64_t position(const struct cursor *cursor)
{
    return (uint64_t)(cursor->at - cursor->start);
}

static uint64_t left(const struct cursor *cursor)
{
    return (uint64_t)(cursor->end - cursor->at);
}

static enum sg_status need(const struct cursor *cursor, uint64_t n, const char *what)
{
    if (n <= left(cursor))
        return SG_OK;
    return sg_fail_at(cursor->err, SG_EFORMAT, position(cursor),
                      "%s: %s at byte %llu needs %llu bytes, but the file has only %llu more (truncated or damaged)",
                      cursor->path, what, (unsigned long long)position(cursor), (unsigned long long)n,
                      (unsigned long long)left(cursor));
}

static uint64_t load(const uint8_t *at, unsigned n_bytes)
{
    uint64_t value = 0;
    for (unsigned i = 0; i < n_bytes; i++)
        value |= (uint64_t)at[i] << 8 * i;
    return value;
}

static enum sg_status take_u32(struct cursor *cursor, const char *what, uint32_t *out)
{
    enum sg_status status = need(cursor, 4, what);
    if (status == SG_OK) {
        *out = (uint32_t)load(cursor->at, 4);
        cursor->at += 4;
    }
    return status;
}

static enum sg_status take_u64(struct cursor *cursor, const char *what, uint64_t *out)
{
    enum sg_status status = need(cursor, 8, what);
    if (status == SG_OK) {
        *out = load(cursor->at, 8);
        cursor->at += 8;
    }
    return status;
}

static enum sg_status take_string(struct cursor *cursor, const char *what, struct sg_slice *out)
{
    uint64_t len = 0;
    enum sg_status status = take_u64(cursor, what, &len);
    if (status == SG_OK)
        status = need(cursor, len, what);
    if (status == SG_OK) {
        *out = (struct sg_slice){(const char *)cursor->at, (size_t)len};
        cursor->at += len;
    }
    return status;
}

/* A key or tensor name as a C string of its own. */
static enum sg_status take_name(struct cursor *cursor, const char *what, char **name_out)
{
    struct sg_slice name;
    uint64_t at = position(cursor);
    enum sg_status status = take_string(cursor, what, &name);
    if (status != SG_OK)
        return status;
    if (name.len == 0 || name.len > GGUF_NAME_MAX)
        return sg_fail_at(cursor->err, name.len ? SG_ELIMIT : SG_EFORMAT, at,
                          "%s: %s at byte %llu has %zu bytes, expected 1 to %d", cursor->path, what,
                          (unsigned long long)at, name.len, GGUF_NAME_MAX);
    if (memchr(name.ptr, '\0', name.len))
        return sg_fail_at(cursor->err, SG_EFORMAT, at, "%s: %s at byte %llu (\"%s\") contains a NUL byte",
                          cursor->path, what, (unsigned long long)at, sg_shown(name.ptr, name.len).text);
    *name_out = strndup(name.ptr, name.len);
    return *name_out ? SG_OK : sg_fail(cursor->err, SG_ENOMEM, "%s: out of memory", cursor->path);
}

/* A count of things of at least `least` bytes each: never more than the rest of the file can hold. */
static enum sg_status take_count(struct cursor *cursor, const char *what, uint64_t most, uint64_t least,
                                 uint64_t *out)
{
    uint64_t at = position(cursor);
    enum sg_status status = take_u64(cursor, what, out);
    if (status != SG_OK)
        return status;
    if (*out > most)
        return sg_fail_at(cursor->err, SG_ELIMIT, at, "%s: %s at byte %llu is %llu, expected at most %llu",
                          cursor->path, what, (unsigned long long)at, (unsigned long long)*out,
                          (unsigned long long)most);
    if (*out > left(cursor) / least)
        return sg_fail_at(cursor->err, SG_EFORMAT, at,
                          "%s: %s at byte %llu is %llu, but the %llu bytes that follow hold at most %llu",
                          cursor->path, what, (unsigned long long)at, (unsigned long long)*out,
                          (unsigned long long)left(cursor), (unsigned long long)(left(cursor) / least));
    return SG_OK;
}

/* --- key-values --------------------------------------------------------------------------------------- */

static enum sg_status take_value_type(struct cursor *cursor, const char *key, enum gguf_value *out)
{
    uint32_t type = 0;
    uint64_t at = position(cursor);
    enum sg_status status = take_u32(cursor, "value type", &type);
    if (status == SG_OK && type >= GGUF_VALUE_COUNT)
        status = sg_fail_at(cursor->err, SG_EFORMAT, at,
                            "%s: key %s has value type %u at byte %llu, expected 0 to %d", cursor->path,
                            sg_shown(key, strlen(key)).text, type, (unsigned long long)at, GGUF_VALUE_COUNT - 1);
    *out = (enum gguf_value)type;
    return status;
}

static enum sg_status take_string_array(struct cursor *cursor, struct weights_meta *meta)
{
    meta->strings = malloc((meta->n_items ? meta->n_items : 1) * sizeof *meta->strings);
    if (!meta->strings)
        return sg_fail(cursor->err, SG_ENOMEM, "%s: out of memory for %llu strings of %s", cursor->path,
                       (unsigned long long)meta->n_items, meta->key);
    for (uint64_t i = 0; i < meta->n_items; i++) {
        uint64_t offset = (uint64_t)(cursor->at - meta->items);
        if (offset > UINT32_MAX)
            return sg_fail_at(cursor->err, SG_ELIMIT, position(cursor), "%s: key %s: array larger than 4 GiB",
                              cursor->path, sg_shown(meta->key, strlen(meta->key)).text);
        meta->strings[i] = (uint32_t)offset;
        struct sg_slice skipped;
        enum sg_status status = take_string(cursor, "string of an array", &skipped);
        if (status != SG_OK)
            return sg_fail_in(cursor->err, status, "key %s, element %llu",
                              sg_shown(meta->key, strlen(meta->key)).text, (unsigned long long)i);
    }
    return SG_OK;
}

static enum sg_status take_array(struct cursor *cursor, struct weights_meta *meta)
{
    enum sg_status status = take_value_type(cursor, meta->key, &meta->item_type);
    if (status != SG_OK)
        return status;
    if (meta->item_type == GGUF_ARRAY)
        return sg_fail_at(cursor->err, SG_EUNSUPPORTED, position(cursor),
                          "%s: key %s is an array of arrays, expected scalars or strings", cursor->path,
                          sg_shown(meta->key, strlen(meta->key)).text);
    unsigned item_bytes = value_types[meta->item_type].bytes;
    status = take_count(cursor, "array length", GGUF_ARRAY_MAX, item_bytes ? item_bytes : 8, &meta->n_items);
    if (status != SG_OK)
        return sg_fail_in(cursor->err, status, "key %s", sg_shown(meta->key, strlen(meta->key)).text);
    meta->items = cursor->at;
    if (meta->item_type == GGUF_STRING)
        return take_string_array(cursor, meta);
    cursor->at += meta->n_items * item_bytes; /* within the file: take_count looked */
    return SG_OK;
}

static enum sg_status take_meta(struct cursor *cursor, struct weights_meta *meta)
{
    enum sg_status status = take_name(cursor, "key", &meta->key);
    if (status == SG_OK)
        status = take_value_type(cursor, meta->key, &meta->type);
    if (status != SG_OK)
        return status;
    meta->value = meta->items = cursor->at;
    meta->n_items = 1;
    if (meta->type == GGUF_ARRAY) {
        status = take_array(cursor, meta);
    } else if (meta->type == GGUF_STRING) {
        struct sg_slice skipped;
        status = take_string(cursor, "string value", &skipped);
    } else {
        status = need(cursor, value_types[meta->type].bytes, "value");
        if (status == SG_OK)
            cursor->at += value_types[meta->type].bytes;
    }
    meta->n_bytes = (uint64_t)(cursor->at - meta->value);
    return status;
}

static int compare_metas(const void *a, const void *b)
{
    return strcmp((*(const struct weights_meta *const *)a)->key, (*(const struct weights_meta *const *)b)->key);
}

static enum sg_status take_metas(struct cursor *cursor, uint64_t n, struct weights_metas *metas)
{
    metas->list = calloc(n ? n : 1, sizeof *metas->list);
    metas->by_key = malloc((n ? n : 1) * sizeof *metas->by_key);
    if (!metas->list || !metas->by_key)
        return sg_fail(cursor->err, SG_ENOMEM, "%s: out of memory for %llu keys", cursor->path,
                       (unsigned long long)n);
    for (uint64_t i = 0; i < n; i++) {
        metas->by_key[i] = &metas->list[i];
        metas->n++; /* before reading: what was half read is freed with the rest */
        enum sg_status status = take_meta(cursor, &metas->list[i]);
        if (status != SG_OK)
            return status;
    }
    qsort(metas->by_key, metas->n, sizeof *metas->by_key, compare_metas);
    for (size_t i = 1; i < metas->n; i++)
        if (compare_metas(&metas->by_key[i - 1], &metas->by_key[i]) == 0)
            return sg_fail(cursor->err, SG_EFORMAT, "%s: key %s occurs twice, expected once", cursor->path,
                           sg_shown(metas->by_key[i]->key, strlen(metas->by_key[i]->key)).text);
    return SG_OK;
}

void sg_metas_free(struct weights_metas *metas)
{
    for (size_t i = 0; i < metas->n; i++) {
        free(metas->list[i].key);
        free(metas->list[i].strings);
    }
    free(metas->list);
    free(metas->by_key);
    *metas = (struct weights_metas){0};
}

const struct weights_meta *sg_metas_find(const struct weights_metas *metas, const char *key)
{
    const struct weights_meta wanted = {.key = (char *)(uintptr_t)key}, *pointer = &wanted;
    const struct weights_meta **found =
        metas->n ? bsearch(&pointer, metas->by_key, metas->n, sizeof *metas->by_key, compare_metas) : NULL;
    return found ? *found : NULL;
}

/* Item i of integer type. */
static bool item_int(const struct weights_meta *meta, enum gguf_value type, uint64_t i, int64_t *out)
{
    unsigned bytes = value_types[type].bytes;
    switch (type) {
    case GGUF_U64:
        if (load(meta->items + 8 * i, 8) > INT64_MAX)
            return false;
        break;
    case GGUF_U8:
    case GGUF_U16:
    case GGUF_U32:
    case GGUF_I8:
    case GGUF_I16:
    case GGUF_I32:
    case GGUF_I64:
        break;
    default:
        return false;
    }
    uint64_t value = load(meta->items + bytes * i, bytes);
    bool is_signed = type == GGUF_I8 || type == GGUF_I16 || type == GGUF_I32;
    if (is_signed && value >> (8 * bytes - 1))
        value |= ~UINT64_C(0) << 8 * bytes;
    *out = (int64_t)value;
    return true;
}

static bool item_double(const struct weights_meta *meta, enum gguf_value type, uint64_t i, double *out)
{
    int64_t integer;
    float single;
    if (type == GGUF_F32) {
        memcpy(&single, meta->items + 4 * i, 4);
        *out = (double)single;
    } else if (type == GGUF_F64) {
        memcpy(out, meta->items + 8 * i, 8);
    } else if (item_int(meta, type, i, &integer)) {
        *out = (double)integer;
    } else {
        return false;
    }
    return true;
}

static struct sg_slice string_at(const uint8_t *at)
{
    return (struct sg_slice){(const char *)at + 8, (size_t)load(at, 8)};
}

bool sg_metas_int(const struct weights_metas *metas, const char *key, int64_t *out)
{
    const struct weights_meta *meta = sg_metas_find(metas, key);
    return meta && item_int(meta, meta->type, 0, out);
}

bool sg_meta_int(const struct sg_weights *weights, const char *key, int64_t *out)
{
    return sg_metas_int(&weights->metas, key, out);
}

bool sg_meta_double(const struct sg_weights *weights, const char *key, double *out)
{
    const struct weights_meta *meta = sg_metas_find(&weights->metas, key);
    return meta && item_double(meta, meta->type, 0, out);
}

bool sg_meta_bool(const struct sg_weights *weights, const char *key, bool *out)
{
    const struct weights_meta *meta = sg_metas_find(&weights->metas, key);
    if (!meta || meta->type != GGUF_BOOL)
        return false;
    *out = *meta->items != 0;
    return true;
}

bool sg_meta_string(const struct sg_weights *weights, const char *key, struct sg_slice *out)
{
    const struct weights_meta *meta = sg_metas_find(&weights->metas, key);
    if (!meta || meta->type != GGUF_STRING)
        return false;
    *out = string_at(meta->value);
    return true;
}

static const struct weights_meta *find_array(const struct sg_weights *weights, const char *key, int64_t i)
{
    const struct weights_meta *meta = sg_metas_find(&weights->metas, key);
    return meta && meta->type == GGUF_ARRAY && i >= 0 && (uint64_t)i < meta->n_items ? meta : NULL;
}

int64_t sg_meta_array_count(const struct sg_weights *weights, const char *key)
{
    const struct weights_meta *meta = sg_metas_find(&weights->metas, key);
    return meta && meta->type == GGUF_ARRAY ? (int64_t)meta->n_items : -1;
}

bool sg_meta_array_string(const struct sg_weights *weights, const char *key, int64_t i, struct sg_slice *out)
{
    const struct weights_meta *meta = find_array(weights, key, i);
    if (!meta || meta->item_type != GGUF_STRING)
        return false;
    *out = string_at(meta->items + meta->strings[i]);
    return true;
}

bool sg_meta_array_int(const struct sg_weights *weights, const char *key, int64_t i, int64_t *out)
{
    const struct weights_meta *meta = find_array(weights, key, i);
    return meta && item_int(meta, meta->item_type, (uint64_t)i, out);
}

bool sg_meta_array_double(const struct sg_weights *weights, const char *key, int64_t i, double *out)
{
    const struct weights_meta *meta = find_array(weights, key, i);
    return meta && item_double(meta, meta->item_type, (uint64_t)i, out);
}

const char *sg_meta_key(const struct sg_weights *weights, size_t i, const char **type_out)
{
    static const char *const array_names[GGUF_VALUE_COUNT] = {
#define GGUF_ARRAY_NAME(symbol, name, bytes) "array[" name "]",
        GGUF_VALUE_LIST(GGUF_ARRAY_NAME)
#undef GGUF_ARRAY_NAME
    };
    if (i >= weights->metas.n)
        return NULL;
    const struct weights_meta *meta = &weights->metas.list[i];
    *type_out = meta->type == GGUF_ARRAY ? array_names[meta->item_type] : value_types[meta->type].name;
    return meta->key;
}

/* --- tensors ------------------------------------------------------------------------------------------ */

/* Type 4 was ggml's Q4_2, long gone; Ollama used it for MXFP4 in its first gpt-oss files. */
static bool is_gpt_oss(const struct sg_weights *weights)
{
    struct sg_slice name;
    return sg_meta_string(weights, "general.architecture", &name) &&
           (sg_slice_equal(name, sg_slice_of("gptoss")) || sg_slice_equal(name, sg_slice_of("gpt-oss")));
}

static enum sg_status find_dtype(const struct sg_weights *weights, const char *where, uint32_t type,
                                 enum sg_dtype *out, struct sg_error *err)
{
    for (int dtype = 0; dtype < SG_DTYPE_COUNT; dtype++) {
        if (ggml_types[dtype] < 0 || (uint32_t)ggml_types[dtype] != type)
            continue;
        if (dtype == SG_MXFP4_T4 && !is_gpt_oss(weights))
            break;
        *out = (enum sg_dtype)dtype;
        return SG_OK;
    }
    return sg_fail(err, SG_EUNSUPPORTED,
                   "%s has type %u (%s), expected F32, F16, BF16, MXFP4, Q8_0, Q4_0, Q4_1, Q5_0, Q5_1, IQ4_NL, Q4_K, "
                   "Q5_K or Q6_K",
                   where, type, ggml_type_name(type));
}

/* One tensor description; offset_out is from the start of the data section, which is not known yet. */
static enum sg_status take_tensor(struct cursor *cursor, const struct sg_weights *weights, struct sg_tensor *tensor,
                                  uint64_t *offset_out)
{
    char *name = NULL;
    uint32_t n_dims = 0, type = 0;
    enum sg_status status = take_name(cursor, "tensor name", &name);
    if (status != SG_OK)
        return status;
    tensor->name = name;
    char where[4096];
    snprintf(where, sizeof where, "%s: tensor %s", cursor->path, sg_shown(name, strlen(name)).text);

    status = take_u32(cursor, "number of dimensions", &n_dims);
    if (status == SG_OK && (n_dims < 1 || n_dims > SG_TENSOR_DIMS))
        return sg_fail_at(cursor->err, SG_EFORMAT, position(cursor) - 4, "%s has %u dimensions, expected 1 to %d",
                          where, n_dims, SG_TENSOR_DIMS);
    tensor->n_dims = (int)n_dims;
    for (uint32_t i = 0; i < n_dims && status == SG_OK; i++) {
        uint64_t dim = 0;
        status = take_u64(cursor, "dimension", &dim);
        if (status == SG_OK && (dim < 1 || dim > INT64_MAX))
            return sg_fail_at(cursor->err, SG_EFORMAT, position(cursor) - 8,
                              "%s: dimension %u is %llu, expected 1 to 2^63 - 1", where, i, (unsigned long long)dim);
        tensor->shape[n_dims - 1 - i] = (int64_t)dim; /* GGUF lists the innermost first */
    }
    if (status == SG_OK)
        status = take_u32(cursor, "tensor type", &type);
    if (status == SG_OK)
        status = take_u64(cursor, "tensor offset", offset_out);
    if (status == SG_OK)
        status = find_dtype(weights, where, type, &tensor->dtype, cursor->err);
    if (status == SG_OK)
        status = sg_tensor_measure(tensor, where, cursor->err);
    return status;
}

struct extent {
    uint64_t begin, end;
    size_t tensor;
};

static int compare_extents(const void *a, const void *b)
{
    uint64_t x = ((const struct extent *)a)->begin, y = ((const struct extent *)b)->begin;
    return (x > y) - (x < y);
}

/* The descriptions of n tensors, then their bytes: inside the file, aligned, not overlapping. */
static enum sg_status take_tensors(struct cursor *cursor, struct sg_weights *weights, uint64_t n, uint32_t alignment)
{
    struct extent *extents = malloc((n ? n : 1) * sizeof *extents);
    if (!extents)
        return sg_fail(cursor->err, SG_ENOMEM, "%s: out of memory for %llu tensors", cursor->path,
                       (unsigned long long)n);
    enum sg_status status = SG_OK;
    size_t first = weights->n_tensors;
    for (uint64_t i = 0; i < n && status == SG_OK; i++) {
        struct sg_tensor tensor = {.shape = {1, 1, 1, 1}};
        status = take_tensor(cursor, weights, &tensor, &extents[i].begin);
        if (status == SG_OK)
            status = sg_weights_add(weights, &tensor, cursor->err);
        else
            free((char *)(uintptr_t)tensor.name);
    }
    uint64_t data = (position(cursor) + alignment - 1) / alignment * alignment;
    uint64_t file_size = (uint64_t)(cursor->end - cursor->start);
    for (uint64_t i = 0; i < n && status == SG_OK; i++) {
        struct sg_tensor *tensor = &weights->tensors[first + i];
        struct shown name = sg_shown(tensor->name, strlen(tensor->name));
        uint64_t offset = extents[i].begin, room = file_size > data ? file_size - data : 0;
        if (offset % alignment != 0)
            status = sg_fail(cursor->err, SG_EFORMAT, "%s: tensor %s has offset %llu, expected a multiple of %u",
                             cursor->path, name.text, (unsigned long long)offset, alignment);
        else if (offset > room || tensor->n_bytes > room - offset)
            status = sg_fail_at(cursor->err, SG_EFORMAT, data + offset,
                                "%s: tensor %s needs %llu bytes at offset %llu of the data section, which starts at "
                                "byte %llu, but the file has %llu bytes (truncated or damaged)",
                                cursor->path, name.text, (unsigned long long)tensor->n_bytes,
                                (unsigned long long)offset, (unsigned long long)data, (unsigned long long)file_size);
        else
            tensor->data = cursor->start + data + offset;
        extents[i].end = offset + tensor->n_bytes;
        extents[i].tensor = first + i;
    }
    if (status == SG_OK)
        qsort(extents, n, sizeof *extents, compare_extents);
    for (uint64_t i = 1; i < n && status == SG_OK; i++) {
        if (extents[i].begin >= extents[i - 1].end)
            continue;
        const char *one = weights->tensors[extents[i - 1].tensor].name;
        const char *two = weights->tensors[extents[i].tensor].name;
        status =
            sg_fail(cursor->err, SG_EFORMAT, "%s: tensor %s starts at offset %llu, inside tensor %s (ends at %llu)",
                    cursor->path, sg_shown(two, strlen(two)).text, (unsigned long long)extents[i].begin,
                    sg_shown(one, strlen(one)).text, (unsigned long long)extents[i - 1].end);
    }
    free(extents);
    return status;
}

static enum sg_status take_header(struct cursor *cursor, uint64_t *n_tensors_out, uint64_t *n_keys_out)
{
    enum sg_status status = need(cursor, 24, "header");
    if (status != SG_OK)
        return status;
    if (memcmp(cursor->at, "GGUF", 4) != 0)
        return sg_fail(cursor->err, SG_EFORMAT, "%s: starts with bytes %02x %02x %02x %02x, expected \"GGUF\"",
                       cursor->path, cursor->at[0], cursor->at[1], cursor->at[2], cursor->at[3]);
    cursor->at += 4;
    uint32_t version = 0;
    status = take_u32(cursor, "version", &version);
    if (status != SG_OK)
        return status;
    if (version != 2 && version != 3)
        return sg_fail_at(cursor->err, SG_EUNSUPPORTED, 4, "%s: GGUF version is %u, expected 2 or 3%s", cursor->path,
                          version, version && !(version & 0xffff) ? " (a big-endian file)" : "");
    /* Least bytes: a tensor has a name of 1, one dimension, type, offset; a key has a name of 1, a type, a byte. */
    status = take_count(cursor, "tensor count", GGUF_TENSORS_MAX, 9 + 4 + 8 + 4 + 8, n_tensors_out);
    if (status == SG_OK)
        status = take_count(cursor, "key count", GGUF_KEYS_MAX, 9 + 4 + 1, n_keys_out);
    return status;
}

enum sg_status sg_gguf_parse(struct sg_weights *weights, size_t file, struct weights_metas *metas_out,
                             struct sg_error *err)
{
    const struct weights_file *source = &weights->files[file];
    static const uint8_t nothing[1];
    const uint8_t *start = source->map.data ? source->map.data : nothing; /* NULL for an empty file */
    struct cursor cursor = {source->path, start, start, start + source->map.size, err};
    uint64_t n_tensors = 0, n_keys = 0;
    enum sg_status status = take_header(&cursor, &n_tensors, &n_keys);
    if (status == SG_OK)
        status = take_metas(&cursor, n_keys, metas_out);
    if (status != SG_OK)
        return status;

    int64_t alignment = GGUF_ALIGNMENT;
    const struct weights_meta *meta = sg_metas_find(metas_out, "general.alignment");
    if (meta && (meta->type != GGUF_U32 || !item_int(meta, GGUF_U32, 0, &alignment) || alignment < 1 ||
                 (alignment & (alignment - 1)) != 0))
        return sg_fail(err, SG_EFORMAT, "%s: general.alignment is %lld (%s), expected a power of two (u32)",
                       source->path, meta->type == GGUF_U32 ? (long long)alignment : -1,
                       value_types[meta->type].name);
    return take_tensors(&cursor, weights, n_tensors, (uint32_t)alignment);
}

/* --- split sets --------------------------------------------------------------------------------------- */

/* "PREFIX-00002-of-00003.gguf" → length of PREFIX, 2, 3. false for other names. */
static bool part_of_name(const char *path, size_t *prefix_len_out, int *no_out, int *count_out)
{
    static const char pattern[] = "-ddddd-of-ddddd.gguf";
    size_t len = strlen(path), tail = sizeof pattern - 1;
    if (len <= tail)
        return false;
    const char *at = path + len - tail;
    for (size_t i = 0; i < tail; i++)
        if (pattern[i] == 'd' ? !isdigit((unsigned char)at[i]) : at[i] != pattern[i])
            return false;
    *prefix_len_out = len - tail;
    *no_out = atoi(at + 1);
    *count_out = atoi(at + 10);
    return true;
}

static enum sg_status check_split_key(const char *path, const struct weights_metas *metas, const char *key,
                                      int64_t expected, struct sg_error *err)
{
    int64_t got;
    if (!sg_metas_int(metas, key, &got))
        return sg_fail(err, SG_EFORMAT, "%s: key %s is missing, expected %lld as the file's name says", path, key,
                       (long long)expected);
    if (got != expected)
        return sg_fail(err, SG_EFORMAT, "%s: %s is %lld, expected %lld as the file's name says (parts swapped?)",
                       path, key, (long long)got, (long long)expected);
    return SG_OK;
}

/* Map and parse part `no` (from 1). The first part's metadata becomes that of the set. */
static enum sg_status read_part(struct sg_weights *weights, const char *path, int no, int count, int64_t *all_tensors,
                                struct sg_error *err)
{
    enum sg_status status = sg_weights_map(weights, path, err);
    if (status == SG_ENOTFOUND)
        return sg_fail(err, SG_ENOTFOUND, "%s: part %d of %d is missing", path, no, count);
    if (status != SG_OK)
        return status;
    struct weights_metas other = {0}, *metas = no == 1 ? &weights->metas : &other;
    status = sg_gguf_parse(weights, weights->n_files - 1, metas, err);
    if (status == SG_OK)
        status = check_split_key(path, metas, "split.no", no - 1, err);
    if (status == SG_OK)
        status = check_split_key(path, metas, "split.count", count, err);
    int64_t tensors = -1;
    if (status == SG_OK && sg_metas_int(metas, "split.tensors.count", &tensors)) {
        if (no > 1 && tensors != *all_tensors)
            status = sg_fail(err, SG_EFORMAT,
                             "%s: split.tensors.count is %lld, expected %lld as in part 1 (a part of another model?)",
                             path, (long long)tensors, (long long)*all_tensors);
    }
    if (no == 1)
        *all_tensors = tensors;
    sg_metas_free(&other);
    return status;
}

static enum sg_status read_split(struct sg_weights *weights, const char *path, size_t prefix_len, int no, int count,
                                 struct sg_error *err)
{
    if (no < 1 || no > count || count > GGUF_PARTS_MAX)
        return sg_fail(err, SG_EFORMAT, "%s: named part %d of %d, expected 1 to %d of at most %d", path, no, count,
                       count, GGUF_PARTS_MAX);
    enum sg_status status = SG_OK;
    int64_t all_tensors = -1;
    for (int i = 1; i <= count && status == SG_OK; i++) {
        struct sg_buffer part = {0};
        sg_buffer_append(&part, path, prefix_len);
        sg_buffer_printf(&part, "-%05d-of-%05d.gguf", i, count);
        status = sg_buffer_status(&part, err);
        if (status == SG_OK)
            status = read_part(weights, part.data, i, count, &all_tensors, err);
        sg_buffer_free(&part);
    }
    if (status == SG_OK && all_tensors >= 0 && (uint64_t)all_tensors != weights->n_tensors)
        status = sg_fail(err, SG_EFORMAT, "%s: the %d parts hold %zu tensors, expected %lld (split.tensors.count)",
                         path, count, weights->n_tensors, (long long)all_tensors);
    return status;
}

enum sg_status sg_gguf_read(struct sg_weights *weights, const char *path, struct sg_error *err)
{
    size_t prefix_len;
    int no, count;
    if (part_of_name(path, &prefix_len, &no, &count) && count != 1)
        return read_split(weights, path, prefix_len, no, count, err);
    enum sg_status status = sg_weights_map(weights, path, err);
    if (status == SG_OK)
        status = sg_gguf_parse(weights, weights->n_files - 1, &weights->metas, err);
    int64_t parts;
    if (status == SG_OK && sg_metas_int(&weights->metas, "split.count", &parts) && parts > 1)
        status = sg_fail(err, SG_EFORMAT,
                         "%s: split.count is %lld, but the name is not that of a part (NAME-00001-of-%05lld.gguf)",
                         path, (long long)parts, (long long)parts);
    return status;
}
