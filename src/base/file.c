#include "base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum sg_status sg_file_read(const char *path, size_t max_bytes, struct sg_buffer *out, struct sg_error *err)
{
    bool standard_input = strcmp(path, "-") == 0;
    FILE *file = standard_input ? stdin : fopen(path, "rb");
    if (!file)
        return sg_fail(err, errno == ENOENT ? SG_ENOTFOUND : SG_EIO, "%s: cannot open: %s", path, strerror(errno));
    enum sg_status status = SG_OK;
    size_t start = out->len;
    for (;;) {
        char *end = sg_buffer_reserve(out, 65536);
        if (!end) {
            status = sg_fail(err, SG_ENOMEM, "%s: out of memory after %zu bytes", path, out->len - start);
            break;
        }
        size_t n = fread(end, 1, 65536, file);
        out->len += n;
        out->data[out->len] = '\0';
        if (out->len - start > max_bytes) {
            status = sg_fail(err, SG_ELIMIT, "%s: larger than the limit of %zu bytes", path, max_bytes);
            break;
        }
        if (n == 0) {
            if (ferror(file))
                status = sg_fail(err, SG_EIO, "%s: read failed: %s", path, strerror(errno));
            break;
        }
    }
    if (!standard_input)
        fclose(file);
    return status;
}

enum sg_status sg_mapping_open(const char *path, struct sg_mapping *mapping_out, struct sg_error *err)
{
    *mapping_out = (struct sg_mapping){0};
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return sg_fail(err, errno == ENOENT ? SG_ENOTFOUND : SG_EIO, "%s: cannot open: %s", path, strerror(errno));
    struct stat info;
    enum sg_status status = SG_OK;
    if (fstat(fd, &info) != 0) {
        status = sg_fail(err, SG_EIO, "%s: cannot stat: %s", path, strerror(errno));
    } else if (!S_ISREG(info.st_mode)) {
        status = sg_fail(err, SG_EFORMAT, "%s: not a regular file", path);
    } else if (info.st_size > 0) {
        void *data = mmap(NULL, (size_t)info.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
        if (data == MAP_FAILED)
            status =
                sg_fail(err, SG_EIO, "%s: cannot map %lld bytes: %s", path, (long long)info.st_size, strerror(errno));
        else
            *mapping_out = (struct sg_mapping){data, (size_t)info.st_size};
    }
    close(fd);
    return status;
}

void sg_mapping_close(struct sg_mapping *mapping)
{
    if (mapping->data)
        munmap((void *)(uintptr_t)mapping->data, mapping->size);
    *mapping = (struct sg_mapping){0};
}

enum sg_status sg_file_write_atomic(const char *path, const void *bytes, size_t len, struct sg_error *err)
{
    struct sg_buffer temporary = {0};
    sg_buffer_printf(&temporary, "%s.tmp-%ld", path, (long)getpid());
    enum sg_status status = sg_buffer_status(&temporary, err);
    if (status == SG_OK) {
        FILE *file = fopen(temporary.data, "wb");
        bool good = file && fwrite(bytes, 1, len, file) == len && fflush(file) == 0 && fsync(fileno(file)) == 0;
        if (file && fclose(file) != 0)
            good = false;
        if (!good || rename(temporary.data, path) != 0) {
            status = sg_fail(err, SG_EIO, "%s: cannot write: %s", path, strerror(errno));
            unlink(temporary.data);
        }
    }
    sg_buffer_free(&temporary);
    return status;
}

enum sg_status sg_mkdir_p(const char *path, struct sg_error *err)
{
    char *copy = strdup(path);
    if (!copy)
        return sg_fail(err, SG_ENOMEM, "out of memory");
    enum sg_status status = SG_OK;
    for (char *at = copy + 1; status == SG_OK; at++) {
        char was = *at;
        if (was != '/' && was != '\0')
            continue;
        *at = '\0';
        if (mkdir(copy, 0777) != 0 && errno != EEXIST)
            status = sg_fail(err, SG_EIO, "%s: cannot create folder: %s", copy, strerror(errno));
        *at = was;
        if (was == '\0')
            break;
    }
    free(copy);
    return status;
}

struct sg_sha256_stream *sg_sha256_create(void)
{
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    if (context && EVP_DigestInit_ex(context, EVP_sha256(), NULL) != 1) {
        EVP_MD_CTX_free(context);
        context = NULL;
    }
    return (struct sg_sha256_stream *)context;
}

void sg_sha256_update(struct sg_sha256_stream *stream, const void *bytes, size_t len)
{
    EVP_DigestUpdate((EVP_MD_CTX *)stream, bytes, len);
}

static void hex(const unsigned char *digest, unsigned n, char *hex_out)
{
    static const char digits[] = "0123456789abcdef";
    for (unsigned i = 0; i < n; i++) {
        hex_out[2 * i] = digits[digest[i] >> 4];
        hex_out[2 * i + 1] = digits[digest[i] & 15];
    }
    hex_out[2 * n] = '\0';
}

void sg_sha256_final(struct sg_sha256_stream *stream, char hex_out[SG_SHA256_HEX])
{
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned n = 0;
    EVP_DigestFinal_ex((EVP_MD_CTX *)stream, digest, &n);
    hex(digest, 32, hex_out);
    EVP_MD_CTX_free((EVP_MD_CTX *)stream);
}

void sg_sha256(const void *bytes, size_t len, char hex_out[SG_SHA256_HEX])
{
    unsigned char digest[EVP_MAX_MD_SIZE] = {0};
    EVP_Digest(bytes, len, digest, NULL, EVP_sha256(), NULL);
    hex(digest, 32, hex_out);
}

enum sg_status sg_cache_folder(char *path_out, size_t path_size, struct sg_error *err)
{
    static const struct {
        const char *variable, *below;
    } places[] = {{"SAFEGUARD_CACHE", ""}, {"XDG_CACHE_HOME", "/safeguard"}, {"HOME", "/.cache/safeguard"}};
    for (size_t i = 0; i < sizeof places / sizeof places[0]; i++) {
        const char *base = getenv(places[i].variable);
        if (!base || !*base)
            continue;
        int n = snprintf(path_out, path_size, "%s%s", base, places[i].below);
        if (n < 0 || (size_t)n >= path_size)
            return sg_fail(err, SG_ELIMIT, "$%s: path longer than %zu bytes", places[i].variable, path_size - 1);
        return SG_OK;
    }
    return sg_fail(err, SG_ENOTFOUND, "no cache folder: set SAFEGUARD_CACHE, XDG_CACHE_HOME or HOME");
}
