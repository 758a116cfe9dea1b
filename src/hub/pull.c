#include "hub/pull.h"

#include "base/hash_cache.h"
#include "hub/http.h"
#include "hub/known.h"

#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <jansson.h>
#include <openssl/evp.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#define LISTING_MAX_BYTES ((size_t)16 << 20)
#define LISTING_MAX_PAGES 50
#define SPARE_BYTES ((uint64_t)64 << 20) /* left free on the disk */
#define SHA1_HEX 41
#define PATH_CHARACTERS "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._+=@-"

/* A file of the listing that is wanted. */
struct remote_file {
    char *path;
    uint64_t size;
    char sha256[SG_SHA256_HEX]; /* "" when the listing has none … */
    char git_sha1[SHA1_HEX];    /* … then this: SHA-1 of "blob SIZE\0" and the bytes */
    bool present;
};

struct pull {
    const struct sg_pull_options *options;
    const struct sg_known_model *known; /* or NULL */
    struct sg_hub_name hub;
    const char *endpoint;
    struct sg_http *http;
    char *folder;
    json_t *listing; /* array of entries */
    struct remote_file *files;
    size_t n_files;
    struct sg_pull_progress progress;
    uint64_t done_before; /* bytes of the files that are finished */
};

static bool ends_with(const char *text, const char *ending)
{
    size_t n = strlen(text), m = strlen(ending);
    return n >= m && strcmp(text + n - m, ending) == 0;
}

/* --- what there is ---------------------------------------------------------------------------------------- */

static enum sg_status read_page(struct pull *pull, const char *url, char **next_out, struct sg_error *err)
{
    struct sg_buffer body = {0};
    enum sg_status status = sg_http_get(pull->http, url, LISTING_MAX_BYTES, &body, next_out, err);
    json_t *page = status == SG_OK ? json_loadb(sg_buffer_text(&body), body.len, 0, NULL) : NULL;
    if (status == SG_OK && (!json_is_array(page) || json_array_extend(pull->listing, page) != 0))
        status = sg_fail(err, SG_EFORMAT, "%s: the answer is no JSON array of files", url);
    json_decref(page);
    sg_buffer_free(&body);
    return status;
}

static enum sg_status read_listing(struct pull *pull, struct sg_error *err)
{
    struct sg_buffer url = {0};
    sg_buffer_printf(&url, "%s/api/models/%s/%s/tree/main?recursive=1", pull->endpoint, pull->hub.owner,
                     pull->hub.name);
    enum sg_status status = sg_buffer_status(&url, err);
    char *at = sg_buffer_take(&url);
    pull->listing = json_array();
    for (int n = 0; status == SG_OK && at && n < LISTING_MAX_PAGES; n++) {
        char *next = NULL;
        status = read_page(pull, at, &next, err);
        free(at);
        at = next;
        /* The token goes with every page: never to another server. */
        size_t len = strlen(pull->endpoint);
        if (status == SG_OK && at && (strncmp(at, pull->endpoint, len) != 0 || at[len] != '/'))
            status = sg_fail(err, SG_EFORMAT, "%s: the listing goes on at another server", pull->endpoint);
    }
    free(at);
    return status;
}

/* Stem of a split set: length of "NAME" in "NAME-00001-of-00003.gguf"; 0 for other names. */
static size_t split_stem(const char *path)
{
    size_t n = strlen(path);
    const char *tail = n > 20 ? path + n - 20 : "";
    bool split = tail[0] == '-' && strspn(tail + 1, "0123456789") == 5 && strncmp(tail + 6, "-of-", 4) == 0 &&
                 strspn(tail + 10, "0123456789") == 5 && strcmp(tail + 15, ".gguf") == 0;
    return split ? n - 20 : 0;
}

/* The same file, or parts of the same split set. */
static bool same_set(const char *a, const char *b)
{
    size_t n = split_stem(a);
    return strcmp(a, b) == 0 ||
           (n && n == split_stem(b) && memcmp(a, b, n) == 0 && strcmp(a + n + 6, b + n + 6) == 0);
}

/* What the safetensors form needs, at the top of the repository; original/ and metal/ hold copies for others. */
static bool is_folder_file(const char *path)
{
    return !strchr(path, '/') &&
           (strcmp(path, "config.json") == 0 || strcmp(path, "tokenizer.json") == 0 ||
            strcmp(path, "model.safetensors.index.json") == 0 || fnmatch("model*.safetensors", path, 0) == 0);
}

static const char *entry_path(const json_t *entry)
{
    const char *type = json_string_value(json_object_get(entry, "type"));
    const char *path = json_string_value(json_object_get(entry, "path"));
    return type && path && strcmp(type, "file") == 0 ? path : NULL;
}

/* The name of the GGUF that is meant: the only one (or only split set) that matches the pattern. */
static enum sg_status choose_gguf(struct pull *pull, const char *pattern, const char **chosen_out,
                                  struct sg_error *err)
{
    struct sg_buffer names = {0};
    size_t i, n = 0;
    json_t *entry;
    *chosen_out = NULL;
    json_array_foreach(pull->listing, i, entry)
    {
        const char *path = entry_path(entry);
        if (!path || !ends_with(path, ".gguf") || fnmatch(pattern, path, 0) != 0 ||
            (*chosen_out && same_set(*chosen_out, path)))
            continue;
        sg_buffer_printf(&names, "%s%s", n++ ? ", " : "", path);
        *chosen_out = path;
    }
    enum sg_status status = SG_OK;
    if (n == 0)
        status = sg_fail(err, SG_ENOTFOUND, "%s/%s: neither config.json with safetensors nor a GGUF file in it",
                         pull->hub.owner, pull->hub.name);
    if (n > 1)
        status = sg_fail(err, SG_EINVALID, "%s/%s: several models: say hf:%s/%s:FILE with one of %s", pull->hub.owner,
                         pull->hub.name, pull->hub.owner, pull->hub.name, sg_buffer_text(&names));
    sg_buffer_free(&names);
    return status;
}

static bool has_folder_model(const struct pull *pull)
{
    size_t i;
    json_t *entry;
    bool config = false, weights = false;
    json_array_foreach(pull->listing, i, entry)
    {
        const char *path = entry_path(entry);
        config |= path && strcmp(path, "config.json") == 0;
        weights |= path && is_folder_file(path) && ends_with(path, ".safetensors");
    }
    return config && weights;
}

/* Names from a listing become paths and URLs here: nothing may lead out of the folder or need escaping. */
static bool is_safe_path(const char *path)
{
    for (const char *part = path;; part++) {
        size_t n = strcspn(part, "/");
        if (n == 0 || part[0] == '.' || strspn(part, PATH_CHARACTERS) < n)
            return false;
        part += n;
        if (!*part)
            return true;
    }
}

static enum sg_status add_file(struct pull *pull, const json_t *entry, const char *path, struct sg_error *err)
{
    struct remote_file *file = &pull->files[pull->n_files];
    const json_t *lfs = json_object_get(entry, "lfs");
    const json_t *size = json_object_get(lfs ? lfs : entry, "size");
    const char *oid = json_string_value(json_object_get(entry, "oid"));
    const char *sha256 = json_string_value(json_object_get(lfs, "oid"));
    const char *pinned = pull->known ? pull->known->sha256 : NULL;
    if (!is_safe_path(path) || !json_is_integer(size) || json_integer_value(size) < 0)
        return sg_fail(err, SG_EFORMAT, "%s/%s: the listing has a file of a bad name or size", pull->hub.owner,
                       pull->hub.name);
    file->size = (uint64_t)json_integer_value(size);
    if (pinned && sha256 && strcmp(pinned, sha256) != 0)
        return sg_fail(err, SG_ECHECKSUM, "%s: the hub lists SHA-256 %.64s, expected %s", path, sha256, pinned);
    if (pinned)
        sha256 = pinned;
    if (sha256 && strlen(sha256) == 64)
        snprintf(file->sha256, sizeof file->sha256, "%s", sha256);
    else if (!lfs && oid && strlen(oid) == 40)
        snprintf(file->git_sha1, sizeof file->git_sha1, "%s", oid);
    file->path = strdup(path);
    pull->n_files++;
    return file->path ? SG_OK : sg_fail(err, SG_ENOMEM, "out of memory for the listing");
}

/* 0 for weights, larger for what must come later: the folder counts as a model when config.json is there. */
static int rank(const char *path)
{
    return strcmp(path, "config.json") == 0 ? 2 : !ends_with(path, ".safetensors") && !ends_with(path, ".gguf");
}

static int compare_files(const void *a, const void *b)
{
    const char *x = ((const struct remote_file *)a)->path, *y = ((const struct remote_file *)b)->path;
    int order = rank(x) - rank(y);
    return order ? order : strcmp(y, x); /* descending: the first part of a split set last */
}

static enum sg_status choose_files(struct pull *pull, struct sg_error *err)
{
    const char *file = pull->hub.file, *pattern = pull->known ? pull->known->files : *file ? file : NULL;
    const char *chosen = NULL;
    size_t i;
    json_t *entry;
    if (pattern || !has_folder_model(pull)) {
        enum sg_status status = choose_gguf(pull, pattern ? pattern : "*", &chosen, err);
        if (status == SG_ENOTFOUND && *file)
            return sg_fail(err, SG_ENOTFOUND, "%s/%s: no file %s in it", pull->hub.owner, pull->hub.name, file);
        if (status != SG_OK)
            return status;
    }
    pull->files = calloc(json_array_size(pull->listing) + 1, sizeof *pull->files);
    if (!pull->files)
        return sg_fail(err, SG_ENOMEM, "out of memory for the listing");
    json_array_foreach(pull->listing, i, entry)
    {
        const char *path = entry_path(entry);
        if (!path || !(chosen ? same_set(chosen, path) : is_folder_file(path)))
            continue;
        enum sg_status status = add_file(pull, entry, path, err);
        if (status != SG_OK)
            return status;
    }
    qsort(pull->files, pull->n_files, sizeof *pull->files, compare_files);
    return SG_OK;
}

/* --- fetching ---------------------------------------------------------------------------------------------- */

static enum sg_status git_sha1(const char *path, uint64_t size, char hex_out[SHA1_HEX], struct sg_error *err)
{
    struct sg_mapping map;
    enum sg_status status = sg_mapping_open(path, &map, err);
    if (status != SG_OK)
        return status;
    unsigned char digest[EVP_MAX_MD_SIZE];
    char head[32];
    int n = snprintf(head, sizeof head, "blob %llu", (unsigned long long)size);
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    if (!context || EVP_DigestInit_ex(context, EVP_sha1(), NULL) != 1 ||
        EVP_DigestUpdate(context, head, (size_t)n + 1) != 1 || EVP_DigestUpdate(context, map.data, map.size) != 1 ||
        EVP_DigestFinal_ex(context, digest, NULL) != 1)
        status = sg_fail(err, SG_ENOMEM, "%s: cannot compute SHA-1", path);
    for (int i = 0; status == SG_OK && i < 20; i++)
        snprintf(hex_out + 2 * i, 3, "%02x", digest[i]);
    EVP_MD_CTX_free(context);
    sg_mapping_close(&map);
    return status;
}

/* SG_ECHECKSUM when the bytes at `path` are not those that the listing (or the pinned hash) names. */
static enum sg_status check_file(const struct remote_file *file, const char *path, struct sg_error *err)
{
    char got[SG_SHA256_HEX];
    const char *expected = file->sha256[0] ? file->sha256 : file->git_sha1,
               *kind = file->sha256[0] ? "SHA-256" : "SHA-1";
    struct stat info;
    if (stat(path, &info) != 0)
        return sg_fail(err, SG_ENOTFOUND, "%s: %s", path, strerror(errno));
    if ((uint64_t)info.st_size != file->size)
        return sg_fail(err, SG_ECHECKSUM, "%s: %lld bytes, expected %llu", path, (long long)info.st_size,
                       (unsigned long long)file->size);
    if (!*expected)
        return sg_fail(err, SG_ECHECKSUM, "%s: the hub names no checksum for it", file->path);
    enum sg_status status =
        file->sha256[0] ? sg_file_set_sha256(&path, 1, got, err) : git_sha1(path, file->size, got, err);
    if (status == SG_OK && strcmp(got, expected) != 0)
        status = sg_fail(err, SG_ECHECKSUM, "%s: %s is %s, expected %s", file->path, kind, got, expected);
    return status;
}

static bool tell(struct pull *pull, uint64_t n_bytes, bool checking)
{
    pull->progress.done = pull->done_before + n_bytes;
    pull->progress.checking = checking;
    return !pull->options->progress || pull->options->progress(pull->options->context, &pull->progress);
}

static bool on_bytes(void *context, uint64_t n_bytes)
{
    return tell(context, n_bytes, false);
}

/* FOLDER/PATH + ending, its folders made. free() it. */
static char *local_path(const struct pull *pull, const struct remote_file *file, const char *ending)
{
    struct sg_buffer path = {0};
    sg_buffer_printf(&path, "%s/%s%s", pull->folder, file->path, ending);
    return sg_buffer_take(&path);
}

static enum sg_status make_folder(const char *path, struct sg_error *err)
{
    char *copy = strdup(path), *slash = copy ? strrchr(copy, '/') : NULL;
    if (slash)
        *slash = '\0';
    enum sg_status status = copy ? sg_mkdir_p(copy, err) : sg_fail(err, SG_ENOMEM, "out of memory");
    free(copy);
    return status;
}

/* Fetch, check, rename. Bytes left by an earlier run may be the wrong ones: then once more from the start. */
static enum sg_status fetch_file(struct pull *pull, struct remote_file *file, struct sg_error *err)
{
    char *path = local_path(pull, file, ""), *part = local_path(pull, file, ".part"), linked[SG_SHA256_HEX];
    struct sg_buffer url = {0};
    sg_buffer_printf(&url, "%s/%s/%s/resolve/main/%s", pull->endpoint, pull->hub.owner, pull->hub.name, file->path);
    enum sg_status status = path && part ? sg_buffer_status(&url, err) : sg_fail(err, SG_ENOMEM, "out of memory");
    if (status == SG_OK)
        status = make_folder(path, err);
    struct stat info;
    bool resumed = status == SG_OK && stat(part, &info) == 0 && info.st_size > 0;
    for (int round = 0; status == SG_OK && round < 2; round++) {
        status = sg_http_fetch(pull->http, url.data, part, file->size, on_bytes, pull, linked, err);
        if (status != SG_OK)
            break;
        if (!file->sha256[0] && !file->git_sha1[0])
            memcpy(file->sha256, linked, sizeof linked);
        if (!tell(pull, file->size, true))
            status = sg_fail(err, SG_ECANCELLED, "%s: cancelled", file->path);
        else
            status = check_file(file, part, err);
        if (status != SG_ECHECKSUM)
            break;
        unlink(part);
        if (resumed && round == 0)
            status = SG_OK; /* again */
    }
    if (status == SG_OK && rename(part, path) != 0)
        status = sg_fail(err, SG_EIO, "%s: cannot rename: %s", part, strerror(errno));
    free(path);
    free(part);
    sg_buffer_free(&url);
    return status;
}

/* Which files are there already, and is there room for the others? */
static enum sg_status survey(struct pull *pull, struct sg_error *err)
{
    uint64_t need = 0;
    pull->progress.n_files = pull->n_files;
    for (size_t i = 0; i < pull->n_files; i++)
        pull->progress.total += pull->files[i].size;
    for (size_t i = 0; i < pull->n_files; i++) {
        struct remote_file *file = &pull->files[i];
        char *path = local_path(pull, file, ""), *part = local_path(pull, file, ".part");
        struct stat info;
        if (!path || !part) {
            free(path);
            free(part);
            return sg_fail(err, SG_ENOMEM, "out of memory");
        }
        pull->progress.file = file->path;
        pull->progress.index = i;
        if (stat(path, &info) == 0) {
            tell(pull, 0, true);
            file->present = check_file(file, path, NULL) == SG_OK;
        }
        uint64_t have = stat(part, &info) == 0 ? (uint64_t)info.st_size : 0;
        if (!file->present)
            need += file->size > have ? file->size - have : 0;
        free(path);
        free(part);
    }
    struct statvfs disk;
    if (need > 0 && statvfs(pull->folder, &disk) == 0) {
        uint64_t room = (uint64_t)disk.f_bavail * disk.f_frsize;
        if (room < need + SPARE_BYTES)
            return sg_fail(err, SG_EIO, "%s: not enough room on the disk: %.2f GB to fetch, %.2f GB free",
                           pull->folder, (double)need / 1e9, (double)room / 1e9);
    }
    return SG_OK;
}

static enum sg_status fetch_all(struct pull *pull, struct sg_error *err)
{
    struct sg_buffer lock_path = {0};
    enum sg_status status = sg_mkdir_p(pull->folder, err);
    sg_buffer_printf(&lock_path, "%s/.lock", pull->folder);
    int lock = status == SG_OK ? open(sg_buffer_text(&lock_path), O_RDWR | O_CREAT | O_CLOEXEC, 0666) : -1;
    if (status == SG_OK && lock < 0)
        status = sg_fail(err, SG_EIO, "%s: cannot write: %s", sg_buffer_text(&lock_path), strerror(errno));
    else if (status == SG_OK && flock(lock, LOCK_EX | LOCK_NB) != 0)
        status = sg_fail(err, SG_EFULL, "%s: another pull is at work here", pull->folder);
    if (status == SG_OK)
        status = survey(pull, err);
    for (size_t i = 0; status == SG_OK && i < pull->n_files; i++) {
        pull->progress.file = pull->files[i].path;
        pull->progress.index = i;
        if (!pull->files[i].present)
            status = fetch_file(pull, &pull->files[i], err);
        pull->done_before += pull->files[i].size;
    }
    if (lock >= 0)
        close(lock);
    sg_buffer_free(&lock_path);
    return status;
}

enum sg_status sg_pull(const char *name, const struct sg_pull_options *options, char **path_out, struct sg_error *err)
{
    struct pull pull = {.options = options, .known = sg_known_find(name)};
    struct sg_http_options http = {options->token, options->retry_delay_s, options->retries, options->stall_s};
    *path_out = NULL;
    if (!pull.known && strncmp(name, "hf:", 3) != 0)
        return sg_fail(err, SG_EINVALID,
                       "\"%.128s\" is no known model, nor hf:OWNER/NAME; --help lists the known ones", name);
    char *endpoint = strdup(options->endpoint ? options->endpoint : SG_HUB_ENDPOINT);
    for (size_t n = endpoint ? strlen(endpoint) : 0; n > 0 && endpoint[n - 1] == '/'; n--)
        endpoint[n - 1] = '\0';
    pull.endpoint = endpoint;
    enum sg_status status = endpoint ? sg_hub_name_parse(pull.known ? pull.known->repository : name, &pull.hub, err)
                                     : sg_fail(err, SG_ENOMEM, "out of memory");
    if (status == SG_OK && strncmp(endpoint, "http://", 7) != 0 && strncmp(endpoint, "https://", 8) != 0)
        status = sg_fail(err, SG_EINVALID, "endpoint \"%.128s\": expected https://… or http://…", endpoint);
    if (status == SG_OK)
        status = sg_hub_folder(name, &pull.folder, err);
    if (status == SG_OK)
        status = sg_http_open(&http, &pull.http, err);
    if (status == SG_OK)
        status = read_listing(&pull, err);
    if (status == SG_OK)
        status = choose_files(&pull, err);
    if (status == SG_OK)
        status = fetch_all(&pull, err);
    if (status == SG_OK)
        status = sg_hub_pick(pull.folder, pull.hub.file, path_out, err);
    for (size_t i = 0; i < pull.n_files; i++)
        free(pull.files[i].path);
    free(pull.files);
    free(pull.folder);
    free(endpoint);
    json_decref(pull.listing);
    sg_http_close(pull.http);
    return status;
}
