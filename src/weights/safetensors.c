/* Safetensors: a lone file, or a folder in the Hugging Face layout.
 *
 * A file is a length (u64), a JSON header of that length, and the tensors' bytes, which must follow one another
 * without gaps or overlaps (as the format's own reader demands; this also finds most damage). In a folder with
 * model.safetensors.index.json only what the index lists counts, each tensor from the part that it names;
 * other files in the folder and stale copies in other parts are ignored.
 *
 * Tensors that cannot be sg_tensors (I64, five dimensions, no elements …) do not make a file unreadable: they are
 * checked like the others, then remembered with the reason.
 * Source: the safetensors format's README; transformers' `get_checkpoint_shard_files`. */
#include "weights/weights_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define ST_HEADER_MAX (32 << 20) /* bytes of JSON; the 120b models have about 100 KB */
#define ST_CONFIG_MAX (4 << 20)
#define ST_TENSORS_MAX 65536 /* in one file */
#define ST_INDEX_MAX (32 << 20)
#define ST_PARTS_MAX 1024

struct extent {
    const char *name;
    uint64_t begin, end;
};

static int compare_extents(const void *a, const void *b)
{
    const struct extent *x = a, *y = b;
    if (x->begin != y->begin)
        return x->begin < y->begin ? -1 : 1;
    return (x->end > y->end) - (x->end < y->end);
}

static enum sg_status skip_tensor(struct sg_weights *weights, const char *name, const char *reason,
                                  struct sg_error *err)
{
    struct weights_skipped skipped = {strdup(name), strdup(reason)};
    if (!skipped.name || !skipped.reason ||
        !sg_grow((void **)&weights->skipped, weights->n_skipped, &weights->skipped_cap, sizeof skipped)) {
        free(skipped.name);
        free(skipped.reason);
        return sg_fail(err, SG_ENOMEM, "out of memory for %zu tensors", weights->n_skipped + 1);
    }
    weights->skipped[weights->n_skipped++] = skipped;
    return SG_OK;
}

/* Bytes per value of the dtypes that the format defines; 0 for others, whose size cannot be checked. */
static int dtype_bytes(const char *dtype)
{
    static const struct {
        const char *name;
        int bytes;
    } known[] = {{"F32", 4},     {"F16", 2},     {"BF16", 2}, {"U8", 1},  {"I8", 1},
                 {"BOOL", 1},    {"I16", 2},     {"U16", 2},  {"I32", 4}, {"U32", 4},
                 {"F8_E4M3", 1}, {"F8_E5M2", 1}, {"I64", 8},  {"U64", 8}, {"F64", 8}};
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
        if (strcmp(known[i].name, dtype) == 0)
            return known[i].bytes;
    return 0;
}

static bool find_dtype(const char *name, enum sg_dtype *out)
{
    static const enum sg_dtype ours[] = {SG_F32, SG_F16, SG_BF16, SG_U8};
    for (size_t i = 0; i < sizeof ours / sizeof ours[0]; i++) {
        if (strcmp(sg_dtype_name(ours[i]), name) == 0) {
            *out = ours[i];
            return true;
        }
    }
    return false;
}

static bool is_natural(const json_t *value)
{
    return json_is_integer(value) && json_integer_value(value) >= 0;
}

/* One entry of the header: its fields, its extent against the data section of `room` bytes, its size. */
static enum sg_status check_entry(const char *path, struct extent *extent, const json_t *entry, uint64_t room,
                                  struct sg_error *err)
{
    struct shown name = sg_shown(extent->name, strlen(extent->name));
    const char *dtype = json_string_value(json_object_get(entry, "dtype"));
    const json_t *shape = json_object_get(entry, "shape"), *offsets = json_object_get(entry, "data_offsets");
    if (!dtype || !json_is_array(shape) || json_array_size(offsets) != 2 || !is_natural(json_array_get(offsets, 0)) ||
        !is_natural(json_array_get(offsets, 1)))
        return sg_fail(err, SG_EFORMAT,
                       "%s: tensor %s: expected \"dtype\" (string), \"shape\" (array) and \"data_offsets\" (two "
                       "integers from 0)",
                       path, name.text);
    extent->begin = (uint64_t)json_integer_value(json_array_get(offsets, 0));
    extent->end = (uint64_t)json_integer_value(json_array_get(offsets, 1));
    if (extent->begin > extent->end || extent->end > room)
        return sg_fail(
            err, SG_EFORMAT,
            "%s: tensor %s has data_offsets [%llu, %llu], expected a range within the %llu data bytes of the "
            "file (truncated or damaged)",
            path, name.text, (unsigned long long)extent->begin, (unsigned long long)extent->end,
            (unsigned long long)room);
    uint64_t bytes = (uint64_t)dtype_bytes(dtype);
    bool overflow = false;
    for (size_t i = 0; i < json_array_size(shape); i++) {
        const json_t *dim = json_array_get(shape, i);
        if (!is_natural(dim))
            return sg_fail(err, SG_EFORMAT, "%s: tensor %s: dimension %zu of its shape is not an integer from 0",
                           path, name.text, i);
        overflow |= __builtin_mul_overflow(bytes, (uint64_t)json_integer_value(dim), &bytes);
    }
    if (overflow || (dtype_bytes(dtype) && bytes != extent->end - extent->begin))
        return sg_fail(err, SG_EFORMAT, "%s: tensor %s has %llu bytes of data, expected %llu for its shape and %s%s",
                       path, name.text, (unsigned long long)(extent->end - extent->begin), (unsigned long long)bytes,
                       sg_shown(dtype, strlen(dtype)).text, overflow ? " (the product overflows 64 bits)" : "");
    return SG_OK;
}

/* A checked entry → a tensor, or a skipped one with the reason. */
static enum sg_status add_entry(struct sg_weights *weights, const struct weights_file *file,
                                const struct extent *extent, const uint8_t *data, const json_t *entry,
                                struct sg_error *err)
{
    const char *dtype = json_string_value(json_object_get(entry, "dtype"));
    const json_t *shape = json_object_get(entry, "shape");
    size_t n_dims = json_array_size(shape);
    struct sg_tensor tensor = {.n_dims = n_dims ? (int)n_dims : 1, .shape = {1, 1, 1, 1}};
    char reason[96] = "";
    if (!find_dtype(dtype, &tensor.dtype))
        snprintf(reason, sizeof reason, "dtype %s", sg_shown(dtype, strlen(dtype)).text);
    else if (n_dims > SG_TENSOR_DIMS)
        snprintf(reason, sizeof reason, "%zu dimensions", n_dims);
    else if (extent->begin == extent->end)
        snprintf(reason, sizeof reason, "no elements");
    if (reason[0])
        return skip_tensor(weights, extent->name, reason, err);

    for (size_t i = 0; i < n_dims; i++)
        tensor.shape[i] = json_integer_value(json_array_get(shape, i));
    tensor.data = data + extent->begin;
    enum sg_status status = sg_tensor_measure(&tensor, file->path, err);
    if (status != SG_OK)
        return status;
    tensor.name = strdup(extent->name);
    if (!tensor.name)
        return sg_fail(err, SG_ENOMEM, "%s: out of memory", file->path);
    return sg_weights_add(weights, &tensor, err);
}

/* The entries must tile the data section. `extents` is sorted here. */
static enum sg_status check_tiling(const char *path, struct extent *extents, size_t n, uint64_t room,
                                   struct sg_error *err)
{
    qsort(extents, n, sizeof *extents, compare_extents);
    uint64_t end = 0;
    for (size_t i = 0; i < n; i++) {
        if (extents[i].begin != end)
            return sg_fail(err, SG_EFORMAT, "%s: tensor %s starts at data offset %llu, expected %llu (%s)", path,
                           sg_shown(extents[i].name, strlen(extents[i].name)).text,
                           (unsigned long long)extents[i].begin, (unsigned long long)end,
                           extents[i].begin < end ? "tensors overlap" : "a gap");
        end = extents[i].end;
    }
    if (end != room)
        return sg_fail(err, SG_EFORMAT, "%s: the tensors end at data offset %llu, but the file has %llu data bytes",
                       path, (unsigned long long)end, (unsigned long long)room);
    return SG_OK;
}

static enum sg_status parse_json(const char *path, const char *text, size_t len, json_t **out, struct sg_error *err)
{
    json_error_t error;
    *out = json_loadb(text, len, JSON_REJECT_DUPLICATES, &error);
    if (!*out)
        return sg_fail_at(err, SG_EFORMAT, (uint64_t)(error.position > 0 ? error.position : 0),
                          "%s: JSON, line %d, byte %d: %s", path, error.line, error.position,
                          sg_shown(error.text, strlen(error.text)).text);
    if (!json_is_object(*out)) {
        json_decref(*out);
        *out = NULL;
        return sg_fail(err, SG_EFORMAT, "%s: expected a JSON object", path);
    }
    return SG_OK;
}

enum sg_status sg_safetensors_parse(struct sg_weights *weights, size_t file, const json_t *weight_map,
                                    const char *part, struct sg_error *err)
{
    const struct weights_file *source = &weights->files[file];
    const uint8_t *bytes = source->map.data;
    uint64_t size = source->map.size, header_len = 0;
    if (size < 8)
        return sg_fail(err, SG_EFORMAT, "%s: has %llu bytes, expected at least 8 (the header's length)", source->path,
                       (unsigned long long)size);
    for (int i = 0; i < 8; i++)
        header_len |= (uint64_t)bytes[i] << 8 * i;
    if (header_len > size - 8 || header_len > ST_HEADER_MAX)
        return sg_fail(err, header_len > size - 8 ? SG_EFORMAT : SG_ELIMIT,
                       "%s: the header's length is %llu, expected at most %llu (the file has %llu bytes)",
                       source->path, (unsigned long long)header_len,
                       (unsigned long long)(size - 8 < ST_HEADER_MAX ? size - 8 : ST_HEADER_MAX),
                       (unsigned long long)size);
    json_t *header = NULL;
    enum sg_status status = parse_json(source->path, (const char *)bytes + 8, header_len, &header, err);
    if (status != SG_OK)
        return status;

    size_t n = 0, n_entries = json_object_size(header);
    struct extent *extents = calloc(n_entries + 1, sizeof *extents);
    if (n_entries > ST_TENSORS_MAX)
        status = sg_fail(err, SG_ELIMIT, "%s: has %zu tensors, expected at most %d", source->path, n_entries,
                         ST_TENSORS_MAX);
    else if (!extents)
        status = sg_fail(err, SG_ENOMEM, "%s: out of memory", source->path);
    const uint8_t *data = bytes + 8 + header_len;
    uint64_t room = size - 8 - header_len;
    const char *name;
    json_t *entry;
    json_object_foreach(header, name, entry)
    {
        if (status != SG_OK)
            break;
        if (strcmp(name, "__metadata__") == 0)
            continue;
        extents[n].name = name;
        status = check_entry(source->path, &extents[n], entry, room, err);
        const char *place = weight_map ? json_string_value(json_object_get(weight_map, name)) : NULL;
        if (status == SG_OK && (!weight_map || (place && strcmp(place, part) == 0)))
            status = add_entry(weights, source, &extents[n], data, entry, err);
        n++;
    }
    if (status == SG_OK)
        status = check_tiling(source->path, extents, n, room, err);
    free(extents);
    json_decref(header);
    return status;
}

/* --- MXFP4 experts ------------------------------------------------------------------------------------ */

static bool has_suffix(const char *text, const char *suffix)
{
    size_t len = strlen(text), tail = strlen(suffix);
    return len > tail && strcmp(text + len - tail, suffix) == 0;
}

/* X_blocks u8 [experts, rows, columns / 32, 16] and X_scales u8 [experts, rows, columns / 32]. */
static enum sg_status join_one(const struct sg_weights *weights, struct sg_tensor *blocks,
                               const struct sg_tensor **scales_out, struct sg_error *err)
{
    size_t stem = strlen(blocks->name) - strlen("_blocks");
    char *name = NULL;
    if (asprintf(&name, "%.*s_scales", (int)stem, blocks->name) < 0)
        return sg_fail(err, SG_ENOMEM, "out of memory");
    const struct sg_tensor *scales = sg_weights_find(weights, name);
    struct shown shown = sg_shown(name, strlen(name));
    free(name);
    if (!scales)
        return sg_fail(err, SG_EFORMAT, "%s: tensor %s: there is no %s for it", sg_weights_path_of(weights, blocks),
                       sg_shown(blocks->name, strlen(blocks->name)).text, shown.text);
    const int64_t *have = scales->shape, *want = blocks->shape;
    if (scales->dtype != SG_U8 || scales->n_dims != 3 || have[0] != want[0] || have[1] != want[1] ||
        have[2] != want[2])
        return sg_fail(err, SG_EFORMAT,
                       "%s: tensor %s is %s [%lld, %lld, %lld, %lld], expected U8 [%lld, %lld, %lld] as its blocks",
                       sg_weights_path_of(weights, scales), shown.text, sg_dtype_name(scales->dtype),
                       (long long)have[0], (long long)have[1], (long long)have[2], (long long)have[3],
                       (long long)want[0], (long long)want[1], (long long)want[2]);
    blocks->dtype = SG_MXFP4_ST;
    blocks->n_dims = 3;
    blocks->shape[2] *= 32; /* the blocks' 16 bytes each are in memory: no overflow */
    blocks->shape[3] = 1;
    blocks->scales = scales->data;
    *scales_out = scales;
    return SG_OK;
}

enum sg_status sg_safetensors_join(struct sg_weights *weights, struct sg_error *err)
{
    enum sg_status status = sg_weights_index(weights, err);
    if (status != SG_OK)
        return status;
    bool *joined = calloc(weights->n_tensors + 1, sizeof *joined);
    if (!joined)
        return sg_fail(err, SG_ENOMEM, "out of memory for %zu tensors", weights->n_tensors);
    for (size_t i = 0; i < weights->n_tensors && status == SG_OK; i++) {
        struct sg_tensor *tensor = &weights->tensors[i];
        if (tensor->dtype != SG_U8 || tensor->n_dims != 4 || tensor->shape[3] != 16 ||
            !has_suffix(tensor->name, "_blocks"))
            continue;
        const struct sg_tensor *scales = NULL;
        status = join_one(weights, tensor, &scales, err);
        if (status == SG_OK)
            joined[scales - weights->tensors] = true;
    }
    size_t n = 0;
    for (size_t i = 0; i < weights->n_tensors && status == SG_OK; i++) {
        if (joined[i])
            free((char *)(uintptr_t)weights->tensors[i].name);
        else
            weights->tensors[n++] = weights->tensors[i];
    }
    if (status == SG_OK)
        weights->n_tensors = n;
    free(joined);
    return status; /* the index is stale now: sg_weights_open makes it anew */
}

/* --- folders ------------------------------------------------------------------------------------------ */

static char *join_path(const char *folder, const char *name)
{
    char *path = NULL;
    return asprintf(&path, "%s/%s", folder, name) < 0 ? NULL : path;
}

static bool exists(const char *folder, const char *name)
{
    char *path = join_path(folder, name);
    bool found = path && access(path, F_OK) == 0;
    free(path);
    return found;
}

static enum sg_status read_json(const char *folder, const char *name, size_t max, json_t **out, struct sg_error *err)
{
    char *path = join_path(folder, name);
    if (!path)
        return sg_fail(err, SG_ENOMEM, "out of memory");
    struct sg_buffer text = {0};
    enum sg_status status = sg_file_read(path, max, &text, err);
    if (status == SG_OK)
        status = parse_json(path, sg_buffer_text(&text), text.len, out, err);
    sg_buffer_free(&text);
    free(path);
    return status;
}

static enum sg_status read_part(struct sg_weights *weights, const char *part, const json_t *weight_map,
                                struct sg_error *err)
{
    char *path = join_path(weights->folder, part);
    if (!path)
        return sg_fail(err, SG_ENOMEM, "out of memory");
    enum sg_status status = sg_weights_map(weights, path, err);
    if (status == SG_ENOTFOUND)
        status = sg_fail(err, SG_ENOTFOUND, "%s: missing, but model.safetensors.index.json lists it", path);
    if (status == SG_OK)
        status = sg_safetensors_parse(weights, weights->n_files - 1, weight_map, part, err);
    free(path);
    return status;
}

static int compare_strings(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* The distinct parts that the weight map names, sorted. A part is a file name: nothing outside the folder. */
static enum sg_status list_parts(const char *folder, const json_t *weight_map, const char **parts, size_t *n_out,
                                 struct sg_error *err)
{
    size_t n = 0;
    const char *tensor;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)weight_map, tensor, value)
    {
        const char *part = json_string_value(value);
        if (!part || !*part || *part == '.' || strchr(part, '/'))
            return sg_fail(
                err, SG_EFORMAT,
                "%s/model.safetensors.index.json: tensor %s is placed in \"%s\", expected a file name in the "
                "same folder",
                folder, sg_shown(tensor, strlen(tensor)).text,
                part ? sg_shown(part, strlen(part)).text : "(not a string)");
        parts[n++] = part;
    }
    qsort(parts, n, sizeof *parts, compare_strings);
    size_t distinct = 0;
    for (size_t i = 0; i < n; i++)
        if (distinct == 0 || strcmp(parts[distinct - 1], parts[i]) != 0)
            parts[distinct++] = parts[i];
    if (distinct > ST_PARTS_MAX)
        return sg_fail(err, SG_ELIMIT, "%s/model.safetensors.index.json: names %zu parts, expected at most %d",
                       folder, distinct, ST_PARTS_MAX);
    *n_out = distinct;
    return SG_OK;
}

/* Every tensor of the weight map was found in its part. */
static enum sg_status check_index(struct sg_weights *weights, const json_t *weight_map, struct sg_error *err)
{
    enum sg_status status = sg_weights_index(weights, err);
    if (status != SG_OK)
        return status;
    const char *tensor;
    json_t *part;
    json_object_foreach((json_t *)(uintptr_t)weight_map, tensor, part)
    {
        if (!sg_weights_find(weights, tensor) && !sg_weights_skipped(weights, tensor))
            return sg_fail(err, SG_EFORMAT,
                           "%s/%s: has no tensor %s, but model.safetensors.index.json places it there",
                           weights->folder, sg_shown(json_string_value(part), json_string_length(part)).text,
                           sg_shown(tensor, strlen(tensor)).text);
    }
    return SG_OK;
}

static enum sg_status read_index(struct sg_weights *weights, struct sg_error *err)
{
    json_t *index = NULL;
    enum sg_status status = read_json(weights->folder, "model.safetensors.index.json", ST_INDEX_MAX, &index, err);
    if (status != SG_OK)
        return status;
    const json_t *weight_map = json_object_get(index, "weight_map");
    size_t n = 0;
    const char **parts = malloc((json_object_size(weight_map) + 1) * sizeof *parts);
    if (!parts)
        status = sg_fail(err, SG_ENOMEM, "out of memory");
    else if (!json_is_object(weight_map) || json_object_size(weight_map) == 0)
        status = sg_fail(err, SG_EFORMAT,
                         "%s/model.safetensors.index.json: expected an object \"weight_map\" that is "
                         "not empty",
                         weights->folder);
    else
        status = list_parts(weights->folder, weight_map, parts, &n, err);
    for (size_t i = 0; i < n && status == SG_OK; i++)
        status = read_part(weights, parts[i], weight_map, err);
    if (status == SG_OK)
        status = check_index(weights, weight_map, err);
    free(parts);
    json_decref(index);
    return status;
}

static enum sg_status read_folder(struct sg_weights *weights, struct sg_error *err)
{
    const char *folder = weights->folder;
    enum sg_status status = read_json(folder, "config.json", ST_CONFIG_MAX, &weights->config, err);
    if (status != SG_OK)
        return status;
    if (exists(folder, "model.safetensors.index.json"))
        return read_index(weights, err);
    if (exists(folder, "model.safetensors"))
        return read_part(weights, "model.safetensors", NULL, err);
    return sg_fail(err, SG_ENOTFOUND,
                   "%s: has neither model.safetensors nor model.safetensors.index.json beside config.json", folder);
}

/* The model.safetensors of a folder, or one of its numbered parts, stands for the whole folder. */
static bool belongs_to_folder(const char *folder, const char *name)
{
    if (!exists(folder, "config.json"))
        return false;
    if (strcmp(name, "model.safetensors") == 0)
        return true;
    return strncmp(name, "model-", 6) == 0 && strstr(name, "-of-") && exists(folder, "model.safetensors.index.json");
}

enum sg_status sg_safetensors_read(struct sg_weights *weights, const char *path, struct sg_error *err)
{
    struct stat info;
    bool is_folder = stat(path, &info) == 0 && S_ISDIR(info.st_mode);
    size_t folder_len = strlen(path);
    const char *name = path;
    if (is_folder) {
        while (folder_len > 1 && path[folder_len - 1] == '/')
            folder_len--;
    } else {
        const char *slash = strrchr(path, '/');
        name = slash ? slash + 1 : path;
        folder_len = slash ? (size_t)(slash - path) : 0;
        if (slash == path)
            folder_len = 1; /* the root itself */
    }
    weights->folder = folder_len ? strndup(path, folder_len) : strdup(".");
    if (!weights->folder)
        return sg_fail(err, SG_ENOMEM, "%s: out of memory", path);
    enum sg_status status;
    if (is_folder || belongs_to_folder(weights->folder, name)) {
        status = read_folder(weights, err);
    } else {
        status = sg_weights_map(weights, path, err);
        if (status == SG_OK)
            status = sg_safetensors_parse(weights, 0, NULL, NULL, err);
    }
    return status == SG_OK ? sg_safetensors_join(weights, err) : status;
}
