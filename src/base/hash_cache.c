#include "base/hash_cache.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <sys/stat.h>

#define CHUNK ((size_t)1 << 20)
#define MAX_ENTRY ((size_t)1 << 20)

/* One line per file: size, times, real path. Two sets with the same key are taken to have the same bytes. */
static enum sg_status make_key(const char *const *paths, size_t n, struct sg_buffer *key, struct sg_error *err)
{
    for (size_t i = 0; i < n; i++) {
        struct stat info;
        char *real = realpath(paths[i], NULL);
        if (!real || stat(real, &info) != 0) {
            free(real);
            return sg_fail(err, errno == ENOENT ? SG_ENOTFOUND : SG_EIO, "%s: %s", paths[i], strerror(errno));
        }
        sg_buffer_printf(key, "%lld %lld.%09ld %lld.%09ld %s\n", (long long)info.st_size,
                         (long long)info.st_mtim.tv_sec, info.st_mtim.tv_nsec, (long long)info.st_ctim.tv_sec,
                         info.st_ctim.tv_nsec, real);
        free(real);
    }
    return sg_buffer_status(key, err);
}

static enum sg_status hash_file(const char *path, struct sg_sha256_stream *stream, char *chunk, struct sg_error *err)
{
    FILE *file = fopen(path, "rb");
    if (!file)
        return sg_fail(err, errno == ENOENT ? SG_ENOTFOUND : SG_EIO, "%s: cannot open: %s", path, strerror(errno));
    enum sg_status status = SG_OK;
    size_t n;
    while ((n = fread(chunk, 1, CHUNK, file)) > 0)
        sg_sha256_update(stream, chunk, n);
    if (ferror(file))
        status = sg_fail(err, SG_EIO, "%s: read failed: %s", path, strerror(errno));
    fclose(file);
    return status;
}

static enum sg_status hash_files(const char *const *paths, size_t n, char hex_out[SG_SHA256_HEX],
                                 struct sg_error *err)
{
    struct sg_sha256_stream *stream = sg_sha256_create();
    char *chunk = malloc(CHUNK);
    enum sg_status status = stream && chunk ? SG_OK : sg_fail(err, SG_ENOMEM, "out of memory for hashing");
    for (size_t i = 0; i < n && status == SG_OK; i++)
        status = hash_file(paths[i], stream, chunk, err);
    free(chunk);
    if (stream)
        sg_sha256_final(stream, hex_out);
    return status;
}

/* Path of the entry for a key; false when there is no cache folder. */
static bool entry_path(const struct sg_buffer *key, bool create, char *path, size_t size)
{
    char folder[PATH_MAX], name[SG_SHA256_HEX];
    if (sg_cache_folder(folder, sizeof folder, NULL) != SG_OK)
        return false;
    sg_sha256(key->data, key->len, name);
    int n = snprintf(path, size, "%s/hashes", folder);
    if (n < 0 || (size_t)n + SG_SHA256_HEX + 1 >= size || (create && sg_mkdir_p(path, NULL) != SG_OK))
        return false;
    snprintf(path + n, size - (size_t)n, "/%s", name);
    return true;
}

/* An entry is the hash, a newline and the key it belongs to. */
static bool read_entry(const char *path, const struct sg_buffer *key, char hex_out[SG_SHA256_HEX])
{
    struct sg_buffer entry = {0};
    bool good = sg_file_read(path, MAX_ENTRY, &entry, NULL) == SG_OK && entry.len == SG_SHA256_HEX + key->len &&
                entry.data[SG_SHA256_HEX - 1] == '\n' &&
                memcmp(entry.data + SG_SHA256_HEX, key->data, key->len) == 0 &&
                strspn(entry.data, "0123456789abcdef") == SG_SHA256_HEX - 1;
    if (good) {
        memcpy(hex_out, entry.data, SG_SHA256_HEX - 1);
        hex_out[SG_SHA256_HEX - 1] = '\0';
    }
    sg_buffer_free(&entry);
    return good;
}

static void write_entry(const char *path, const struct sg_buffer *key, const char *hex)
{
    struct sg_buffer entry = {0};
    sg_buffer_printf(&entry, "%s\n", hex);
    sg_buffer_append(&entry, key->data, key->len);
    /* When it cannot be written there is no cache; the hash itself is good. */
    enum sg_status ignored = SG_ENOMEM;
    if (!entry.failed && entry.len <= MAX_ENTRY)
        ignored = sg_file_write_atomic(path, entry.data, entry.len, NULL);
    (void)ignored;
    sg_buffer_free(&entry);
}

enum sg_status sg_file_set_sha256(const char *const *paths, size_t n, char hex_out[SG_SHA256_HEX],
                                  struct sg_error *err)
{
    struct sg_buffer key = {0}, key_after = {0};
    char path[PATH_MAX];
    hex_out[0] = '\0';
    enum sg_status status = make_key(paths, n, &key, err);
    if (status == SG_OK && !(entry_path(&key, false, path, sizeof path) && read_entry(path, &key, hex_out))) {
        status = hash_files(paths, n, hex_out, err);
        /* A file that changed while it was read is not remembered. */
        if (status == SG_OK && make_key(paths, n, &key_after, NULL) == SG_OK &&
            strcmp(key.data, key_after.data) == 0 && entry_path(&key, true, path, sizeof path))
            write_entry(path, &key, hex_out);
    }
    sg_buffer_free(&key);
    sg_buffer_free(&key_after);
    return status;
}
