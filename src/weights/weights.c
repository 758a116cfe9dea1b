/* Opening, the table of tensors and its index by name. The formats are in gguf.c and safetensors.c. */
#include "weights/weights_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

static const struct {
    const char *name;
    int values, bytes;
} dtypes[SG_DTYPE_COUNT] = {
#define SG_DTYPE_ROW(symbol, name, values, bytes) {name, values, bytes},
    SG_DTYPE_LIST(SG_DTYPE_ROW)
#undef SG_DTYPE_ROW
};

const char *sg_dtype_name(enum sg_dtype dtype)
{
    return (unsigned)dtype < SG_DTYPE_COUNT ? dtypes[dtype].name : "unknown";
}

int sg_dtype_block_values(enum sg_dtype dtype)
{
    return dtypes[dtype].values;
}

int sg_dtype_block_bytes(enum sg_dtype dtype)
{
    return dtypes[dtype].bytes;
}

uint64_t sg_tensor_row_bytes(const struct sg_tensor *tensor)
{
    uint64_t columns = (uint64_t)tensor->shape[tensor->n_dims - 1];
    return columns / (uint64_t)dtypes[tensor->dtype].values * (uint64_t)dtypes[tensor->dtype].bytes;
}

struct shown sg_shown(const char *bytes, size_t len)
{
    struct shown shown;
    size_t n = len < sizeof shown.text ? len : sizeof shown.text - 1;
    for (size_t i = 0; i < n; i++)
        shown.text[i] = (unsigned char)bytes[i] < 32 || bytes[i] == 127 ? '?' : bytes[i];
    shown.text[n] = '\0';
    if (n < len)
        memcpy(shown.text + n - 3, "...", 3);
    return shown;
}

bool sg_grow(void **array, size_t n, size_t *cap, size_t item_size)
{
    if (n < *cap)
        return true;
    size_t cap_new = *cap ? 2 * *cap : 64;
    void *moved = realloc(*array, cap_new * item_size);
    if (!moved)
        return false;
    *array = moved;
    *cap = cap_new;
    return true;
}

/* --- building ----------------------------------------------------------------------------------------- */

static enum sg_status add_file(struct sg_weights *weights, const char *path, struct sg_mapping map, bool borrowed,
                               struct sg_error *err)
{
    struct weights_file *files = realloc(weights->files, (weights->n_files + 1) * sizeof *files);
    if (files)
        weights->files = files;
    char *copy = files ? strdup(path) : NULL;
    if (!copy)
        return sg_fail(err, SG_ENOMEM, "%s: out of memory", path);
    weights->files[weights->n_files++] = (struct weights_file){copy, map, borrowed};
    return SG_OK;
}

enum sg_status sg_weights_map(struct sg_weights *weights, const char *path, struct sg_error *err)
{
    struct sg_mapping map;
    enum sg_status status = sg_mapping_open(path, &map, err);
    if (status == SG_OK) {
        status = add_file(weights, path, map, false, err);
        if (status != SG_OK)
            sg_mapping_close(&map);
    }
    return status;
}

enum sg_status sg_weights_add(struct sg_weights *weights, const struct sg_tensor *tensor, struct sg_error *err)
{
    if (!sg_grow((void **)&weights->tensors, weights->n_tensors, &weights->tensors_cap, sizeof *tensor)) {
        free((char *)(uintptr_t)tensor->name);
        return sg_fail(err, SG_ENOMEM, "out of memory for %zu tensors", weights->n_tensors + 1);
    }
    weights->tensors[weights->n_tensors++] = *tensor;
    return SG_OK;
}

enum sg_status sg_tensor_measure(struct sg_tensor *tensor, const char *where, struct sg_error *err)
{
    int64_t columns = tensor->shape[tensor->n_dims - 1];
    int values = dtypes[tensor->dtype].values;
    if (columns % values != 0)
        return sg_fail(err, SG_EFORMAT, "%s: rows have %lld values, expected a multiple of %d for %s", where,
                       (long long)columns, values, dtypes[tensor->dtype].name);
    uint64_t bytes = (uint64_t)dtypes[tensor->dtype].bytes;
    bool overflow = __builtin_mul_overflow(bytes, (uint64_t)(columns / values), &bytes);
    int64_t n_values = 1;
    for (int i = 0; i < tensor->n_dims; i++) {
        overflow |= __builtin_mul_overflow(n_values, tensor->shape[i], &n_values);
        if (i + 1 < tensor->n_dims)
            overflow |= __builtin_mul_overflow(bytes, (uint64_t)tensor->shape[i], &bytes);
    }
    if (overflow)
        return sg_fail(err, SG_EFORMAT, "%s: shape [%lld, %lld, %lld, %lld] overflows 64 bits", where,
                       (long long)tensor->shape[0], (long long)tensor->shape[1], (long long)tensor->shape[2],
                       (long long)tensor->shape[3]);
    tensor->n_bytes = bytes;
    return SG_OK;
}

static const struct weights_file *file_of(const struct sg_weights *weights, const void *data)
{
    for (size_t i = 0; i < weights->n_files; i++) {
        const struct sg_mapping *map = &weights->files[i].map;
        if (map->data && (const unsigned char *)data >= map->data &&
            (const unsigned char *)data <= map->data + map->size)
            return &weights->files[i];
    }
    return NULL;
}

const char *sg_weights_path_of(const struct sg_weights *weights, const struct sg_tensor *tensor)
{
    const struct weights_file *file = file_of(weights, tensor->data);
    return file ? file->path : "?";
}

static int compare_names(const void *a, const void *b)
{
    return strcmp((*(const struct sg_tensor *const *)a)->name, (*(const struct sg_tensor *const *)b)->name);
}

enum sg_status sg_weights_index(struct sg_weights *weights, struct sg_error *err)
{
    size_t n = weights->n_tensors;
    free(weights->by_name);
    weights->by_name = malloc((n ? n : 1) * sizeof *weights->by_name);
    if (!weights->by_name)
        return sg_fail(err, SG_ENOMEM, "out of memory for %zu tensors", n);
    for (size_t i = 0; i < n; i++)
        weights->by_name[i] = &weights->tensors[i];
    qsort(weights->by_name, n, sizeof *weights->by_name, compare_names);
    for (size_t i = 1; i < n; i++) {
        const struct sg_tensor *one = weights->by_name[i - 1], *two = weights->by_name[i];
        if (strcmp(one->name, two->name) == 0)
            return sg_fail(err, SG_EFORMAT, "%s: tensor %s occurs twice (also in %s), expected once",
                           sg_weights_path_of(weights, two), sg_shown(two->name, strlen(two->name)).text,
                           sg_weights_path_of(weights, one));
    }
    return SG_OK;
}

/* --- opening ------------------------------------------------------------------------------------------ */

static enum sg_status detect_kind(const char *path, enum sg_weights_kind *kind_out, struct sg_error *err)
{
    struct stat info;
    if (stat(path, &info) != 0)
        return sg_fail(err, errno == ENOENT || errno == ENOTDIR ? SG_ENOTFOUND : SG_EIO, "%s: cannot open: %s", path,
                       strerror(errno));
    static const char suffix[] = ".safetensors";
    size_t len = strlen(path), tail = sizeof suffix - 1;
    bool safetensors = S_ISDIR(info.st_mode) || (len > tail && strcmp(path + len - tail, suffix) == 0);
    *kind_out = safetensors ? SG_WEIGHTS_SAFETENSORS : SG_WEIGHTS_GGUF;
    return SG_OK;
}

enum sg_status sg_weights_open(const char *path, struct sg_weights **weights_out, struct sg_error *err)
{
    *weights_out = NULL;
    enum sg_weights_kind kind = SG_WEIGHTS_GGUF;
    enum sg_status status = detect_kind(path, &kind, err);
    if (status != SG_OK)
        return status;
    struct sg_weights *weights = calloc(1, sizeof *weights);
    if (!weights)
        return sg_fail(err, SG_ENOMEM, "%s: out of memory", path);
    weights->kind = kind;
    if (kind == SG_WEIGHTS_GGUF)
        status = sg_gguf_read(weights, path, err);
    else
        status = sg_safetensors_read(weights, path, err);
    if (status == SG_OK)
        status = sg_weights_index(weights, err);
    if (status == SG_OK) {
        *weights_out = weights;
        weights = NULL;
    }
    sg_weights_close(weights);
    return status;
}

enum sg_status sg_weights_open_memory(enum sg_weights_kind kind, const char *name, const void *bytes, size_t len,
                                      struct sg_weights **weights_out, struct sg_error *err)
{
    *weights_out = NULL;
    struct sg_weights *weights = calloc(1, sizeof *weights);
    if (!weights)
        return sg_fail(err, SG_ENOMEM, "%s: out of memory", name);
    weights->kind = kind;
    enum sg_status status = add_file(weights, name, (struct sg_mapping){bytes, len}, true, err);
    if (status == SG_OK && kind == SG_WEIGHTS_GGUF)
        status = sg_gguf_parse(weights, 0, &weights->metas, err);
    else if (status == SG_OK)
        status = sg_safetensors_parse(weights, 0, NULL, NULL, err);
    if (status == SG_OK && kind == SG_WEIGHTS_SAFETENSORS)
        status = sg_safetensors_join(weights, err);
    if (status == SG_OK)
        status = sg_weights_index(weights, err);
    if (status == SG_OK) {
        *weights_out = weights;
        weights = NULL;
    }
    sg_weights_close(weights);
    return status;
}

void sg_weights_close(struct sg_weights *weights)
{
    if (!weights)
        return;
    for (size_t i = 0; i < weights->n_tensors; i++)
        free((char *)(uintptr_t)weights->tensors[i].name);
    for (size_t i = 0; i < weights->n_skipped; i++) {
        free(weights->skipped[i].name);
        free(weights->skipped[i].reason);
    }
    for (size_t i = 0; i < weights->n_files; i++) {
        if (!weights->files[i].borrowed)
            sg_mapping_close(&weights->files[i].map);
        free(weights->files[i].path);
    }
    sg_metas_free(&weights->metas);
    json_decref(weights->config);
    free(weights->tensors);
    free(weights->by_name);
    free(weights->skipped);
    free(weights->files);
    free(weights->folder);
    free(weights);
}

/* --- looking ------------------------------------------------------------------------------------------ */

size_t sg_weights_count(const struct sg_weights *weights)
{
    return weights->n_tensors;
}

const struct sg_tensor *sg_weights_at(const struct sg_weights *weights, size_t i)
{
    return &weights->tensors[i];
}

const struct sg_tensor *sg_weights_find(const struct sg_weights *weights, const char *name)
{
    const struct sg_tensor wanted = {.name = name}, *pointer = &wanted;
    if (weights->n_tensors == 0)
        return NULL;
    const struct sg_tensor **found =
        bsearch(&pointer, weights->by_name, weights->n_tensors, sizeof *weights->by_name, compare_names);
    return found ? *found : NULL;
}

const char *sg_weights_skipped(const struct sg_weights *weights, const char *name)
{
    for (size_t i = 0; i < weights->n_skipped; i++)
        if (strcmp(weights->skipped[i].name, name) == 0)
            return weights->skipped[i].reason;
    return NULL;
}

/* The first and last page may hold neighbours too: dropping those as well only means that they are read again. */
static void release(const struct sg_weights *weights, const void *data, uint64_t n_bytes)
{
    const struct weights_file *file = file_of(weights, data);
    if (!file || file->borrowed || n_bytes == 0)
        return;
    uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
    uintptr_t begin = (uintptr_t)data / page * page;
    uintptr_t end = ((uintptr_t)data + n_bytes + page - 1) / page * page;
    madvise((void *)begin, end - begin, MADV_DONTNEED);
}

void sg_weights_release_pages(const struct sg_weights *weights, const struct sg_tensor *tensor)
{
    release(weights, tensor->data, tensor->n_bytes);
    if (tensor->scales)
        release(weights, tensor->scales, tensor->n_bytes / 16);
}

size_t sg_weights_file_count(const struct sg_weights *weights)
{
    return weights->n_files;
}

const char *sg_weights_file_path(const struct sg_weights *weights, size_t i)
{
    return weights->files[i].path;
}

uint64_t sg_weights_file_size(const struct sg_weights *weights, size_t i)
{
    return weights->files[i].map.size;
}

enum sg_weights_kind sg_weights_kind(const struct sg_weights *weights)
{
    return weights->kind;
}

const struct json_t *sg_weights_config(const struct sg_weights *weights)
{
    return weights->config;
}

const char *sg_weights_folder(const struct sg_weights *weights)
{
    return weights->folder;
}
