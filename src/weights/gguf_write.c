/* GGUF v3, written front to back: header and descriptions are collected in memory, then come the tensors' bytes in
 * the order of declaration, each padded to 32 bytes. */
#include "weights/weights_internal.h"

#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <unistd.h>

#define ALIGNMENT 32

struct sg_gguf_writer {
    FILE *file;
    char *path;
    struct sg_buffer keys, tensors; /* as they will stand in the file */
    uint64_t n_keys;
    struct declared {
        char *name;
        uint64_t n_bytes;
    } * declared;
    size_t n_declared, declared_cap;
    uint64_t offset;       /* of the next tensor in the data section */
    bool started;          /* the header is in the file: no more keys or tensors */
    size_t current;        /* tensor being written … */
    uint64_t n_written;    /* … and how much of it is */
    enum sg_status status; /* the first failure, which every later call repeats */
    struct sg_error error;
};

static enum sg_status fail(struct sg_gguf_writer *writer, enum sg_status status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static enum sg_status fail(struct sg_gguf_writer *writer, enum sg_status status, const char *format, ...)
{
    if (writer->status == SG_OK) {
        char text[512];
        va_list arguments;
        va_start(arguments, format);
        vsnprintf(text, sizeof text, format, arguments);
        va_end(arguments);
        writer->status = sg_fail(&writer->error, status, "%s: %s", writer->path, text);
    }
    return writer->status;
}

static enum sg_status report(const struct sg_gguf_writer *writer, struct sg_error *err)
{
    if (writer->status != SG_OK && err)
        *err = writer->error;
    return writer->status;
}

struct sg_gguf_writer *sg_gguf_create(const char *path, struct sg_error *err)
{
    struct sg_gguf_writer *writer = calloc(1, sizeof *writer);
    char *copy = strdup(path);
    FILE *file = writer && copy ? fopen(path, "wb") : NULL;
    if (!file) {
        if (writer && copy)
            sg_fail(err, errno == ENOENT ? SG_ENOTFOUND : SG_EIO, "%s: cannot create: %s", path, strerror(errno));
        else
            sg_fail(err, SG_ENOMEM, "%s: out of memory", path);
        free(writer);
        free(copy);
        return NULL;
    }
    writer->file = file;
    writer->path = copy;
    return writer;
}

/* --- metadata ----------------------------------------------------------------------------------------- */

static void append_number(struct sg_buffer *buffer, uint64_t value, int n_bytes)
{
    for (int i = 0; i < n_bytes; i++)
        sg_buffer_putc(buffer, (char)(value >> 8 * i & 255));
}

static void append_string(struct sg_buffer *buffer, struct sg_slice text)
{
    append_number(buffer, text.len, 8);
    sg_buffer_append(buffer, text.ptr, text.len);
}

static void put_key(struct sg_gguf_writer *writer, const char *key, enum gguf_value type)
{
    if (writer->started)
        fail(writer, SG_EINVALID, "key %s: put after the first tensor bytes", key);
    append_string(&writer->keys, sg_slice_of(key));
    append_number(&writer->keys, type, 4);
    writer->n_keys++;
}

static void put_array(struct sg_gguf_writer *writer, const char *key, enum gguf_value type, size_t n)
{
    put_key(writer, key, GGUF_ARRAY);
    append_number(&writer->keys, type, 4);
    append_number(&writer->keys, n, 8);
}

void sg_gguf_put_u32(struct sg_gguf_writer *writer, const char *key, uint32_t value)
{
    put_key(writer, key, GGUF_U32);
    append_number(&writer->keys, value, 4);
}

void sg_gguf_put_f32(struct sg_gguf_writer *writer, const char *key, float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    put_key(writer, key, GGUF_F32);
    append_number(&writer->keys, bits, 4);
}

void sg_gguf_put_bool(struct sg_gguf_writer *writer, const char *key, bool value)
{
    put_key(writer, key, GGUF_BOOL);
    append_number(&writer->keys, value, 1);
}

void sg_gguf_put_string(struct sg_gguf_writer *writer, const char *key, struct sg_slice value)
{
    put_key(writer, key, GGUF_STRING);
    append_string(&writer->keys, value);
}

void sg_gguf_put_strings(struct sg_gguf_writer *writer, const char *key, const struct sg_slice *values, size_t n)
{
    put_array(writer, key, GGUF_STRING, n);
    for (size_t i = 0; i < n; i++)
        append_string(&writer->keys, values[i]);
}

void sg_gguf_put_ints(struct sg_gguf_writer *writer, const char *key, const int32_t *values, size_t n)
{
    put_array(writer, key, GGUF_I32, n);
    for (size_t i = 0; i < n; i++)
        append_number(&writer->keys, (uint32_t)values[i], 4);
}

void sg_gguf_copy(struct sg_gguf_writer *writer, const struct sg_weights *from,
                  bool (*keep)(const char *key, const void *context), const void *context)
{
    for (size_t i = 0; i < from->metas.n; i++) {
        const struct weights_meta *meta = &from->metas.list[i];
        if (!keep(meta->key, context))
            continue;
        put_key(writer, meta->key, meta->type);
        sg_buffer_append(&writer->keys, meta->value, meta->n_bytes);
    }
}

static bool not_prefixed(const char *key, const void *context)
{
    const char *prefix = context;
    if (strncmp(key, "split.", 6) == 0 || strcmp(key, "general.alignment") == 0)
        return false;
    return !prefix || strncmp(key, prefix, strlen(prefix)) != 0;
}

void sg_gguf_put_all(struct sg_gguf_writer *writer, const struct sg_weights *from, const char *but_prefix)
{
    sg_gguf_copy(writer, from, not_prefixed, but_prefix);
}

/* --- tensors ------------------------------------------------------------------------------------------ */

static uint64_t padded(uint64_t n)
{
    return (n + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
}

void sg_gguf_declare(struct sg_gguf_writer *writer, const char *name, enum sg_dtype dtype, int n_dims,
                     const int64_t *shape)
{
    struct sg_tensor tensor = {.name = name, .dtype = dtype, .n_dims = n_dims, .shape = {1, 1, 1, 1}};
    if (writer->started)
        fail(writer, SG_EINVALID, "tensor %s: declared after the first tensor bytes", name);
    else if (sg_gguf_type(dtype) < 0)
        fail(writer, SG_EUNSUPPORTED, "tensor %s: GGUF has no type for %s", name, sg_dtype_name(dtype));
    else if (n_dims < 1 || n_dims > SG_TENSOR_DIMS)
        fail(writer, SG_EINVALID, "tensor %s: %d dimensions, expected 1 to %d", name, n_dims, SG_TENSOR_DIMS);
    if (writer->status != SG_OK)
        return;
    for (int i = 0; i < n_dims; i++)
        tensor.shape[i] = shape[i];
    struct sg_error why;
    enum sg_status status = sg_tensor_measure(&tensor, name, &why);
    if (status != SG_OK) {
        fail(writer, status, "tensor %s", why.text);
        return;
    }
    char *copy = strdup(name);
    if (!copy ||
        !sg_grow((void **)&writer->declared, writer->n_declared, &writer->declared_cap, sizeof *writer->declared)) {
        free(copy);
        fail(writer, SG_ENOMEM, "out of memory");
        return;
    }
    writer->declared[writer->n_declared++] = (struct declared){copy, tensor.n_bytes};
    append_string(&writer->tensors, sg_slice_of(name));
    append_number(&writer->tensors, (uint32_t)n_dims, 4);
    for (int i = n_dims; i-- > 0;)
        append_number(&writer->tensors, (uint64_t)shape[i], 8);
    append_number(&writer->tensors, (uint32_t)sg_gguf_type(dtype), 4);
    append_number(&writer->tensors, writer->offset, 8);
    writer->offset += padded(tensor.n_bytes);
}

static void write_bytes(struct sg_gguf_writer *writer, const void *bytes, size_t len)
{
    if (writer->status == SG_OK && len && fwrite(bytes, 1, len, writer->file) != len)
        fail(writer, SG_EIO, "cannot write %zu bytes: %s", len, strerror(errno));
}

static void start(struct sg_gguf_writer *writer)
{
    if (writer->started)
        return;
    writer->started = true;
    struct sg_buffer header = {0};
    sg_buffer_puts(&header, "GGUF");
    append_number(&header, 3, 4);
    append_number(&header, writer->n_declared, 8);
    append_number(&header, writer->n_keys, 8);
    if (header.failed || writer->keys.failed || writer->tensors.failed)
        fail(writer, SG_ENOMEM, "out of memory");
    size_t len = header.len + writer->keys.len + writer->tensors.len;
    static const char zeros[ALIGNMENT];
    write_bytes(writer, header.data, header.len);
    write_bytes(writer, writer->keys.data, writer->keys.len);
    write_bytes(writer, writer->tensors.data, writer->tensors.len);
    write_bytes(writer, zeros, padded(len) - len);
    sg_buffer_free(&header);
    sg_buffer_free(&writer->keys);
    sg_buffer_free(&writer->tensors);
}

/* `len` bytes of the current tensor are to come: do they fit? */
static bool accept(struct sg_gguf_writer *writer, uint64_t len)
{
    start(writer);
    if (writer->status != SG_OK)
        return false;
    if (writer->current == writer->n_declared) {
        fail(writer, SG_EINVALID, "%llu bytes after the last of %zu tensors", (unsigned long long)len,
             writer->n_declared);
        return false;
    }
    const struct declared *tensor = &writer->declared[writer->current];
    if (len > tensor->n_bytes - writer->n_written) {
        fail(writer, SG_EINVALID, "tensor %s: %llu bytes more after %llu, expected %llu in all", tensor->name,
             (unsigned long long)len, (unsigned long long)writer->n_written, (unsigned long long)tensor->n_bytes);
        return false;
    }
    return true;
}

static void advance(struct sg_gguf_writer *writer, uint64_t len)
{
    static const char zeros[ALIGNMENT];
    uint64_t n_bytes = writer->declared[writer->current].n_bytes;
    writer->n_written += len;
    if (writer->n_written == n_bytes) {
        write_bytes(writer, zeros, padded(n_bytes) - n_bytes);
        writer->current++;
        writer->n_written = 0;
    }
}

enum sg_status sg_gguf_write(struct sg_gguf_writer *writer, const void *bytes, size_t len, struct sg_error *err)
{
    if (accept(writer, len)) {
        write_bytes(writer, bytes, len);
        advance(writer, len);
    }
    return report(writer, err);
}

enum sg_status sg_gguf_skip(struct sg_gguf_writer *writer, uint64_t len, struct sg_error *err)
{
    if (accept(writer, len)) {
        if (fseeko(writer->file, (off_t)len, SEEK_CUR) != 0)
            fail(writer, SG_EIO, "cannot skip %llu bytes: %s", (unsigned long long)len, strerror(errno));
        advance(writer, len);
    }
    return report(writer, err);
}

enum sg_status sg_gguf_finish(struct sg_gguf_writer *writer, struct sg_error *err)
{
    start(writer);
    if (writer->status == SG_OK && writer->current < writer->n_declared)
        fail(writer, SG_EINVALID, "tensor %s: %llu bytes written, expected %llu",
             writer->declared[writer->current].name, (unsigned long long)writer->n_written,
             (unsigned long long)writer->declared[writer->current].n_bytes);
    /* A file that ends in a hole is as long as its declaration says only after this. */
    off_t end = writer->status == SG_OK ? ftello(writer->file) : 0;
    if (end < 0 ||
        (writer->status == SG_OK && (fflush(writer->file) != 0 || ftruncate(fileno(writer->file), end) != 0)))
        fail(writer, SG_EIO, "cannot write: %s", strerror(errno));
    if (fclose(writer->file) != 0)
        fail(writer, SG_EIO, "cannot write: %s", strerror(errno));
    if (writer->status != SG_OK)
        unlink(writer->path);
    enum sg_status status = report(writer, err);
    for (size_t i = 0; i < writer->n_declared; i++)
        free(writer->declared[i].name);
    free(writer->declared);
    sg_buffer_free(&writer->keys);
    sg_buffer_free(&writer->tensors);
    free(writer->path);
    free(writer);
    return status;
}
