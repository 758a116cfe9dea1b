#include "cli/batch_out.h"

#include "base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

static enum sg_status fail(const struct sg_out *out, const char *what, struct sg_error *err)
{
    return sg_fail(err, SG_EIO, "%s: %s: %s", out->path ? out->path : "standard output", what, strerror(errno));
}

static enum sg_status open_file(struct sg_out *out, int flags, struct sg_error *err)
{
    out->fd = open(out->path, O_RDWR | O_CREAT | O_CLOEXEC | flags, 0666);
    if (out->fd < 0)
        return fail(out, "cannot open", err);
    if (flock(out->fd, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK)
        return sg_fail(err, SG_EINVALID, "%s: another run is writing it", out->path);
    return SG_OK;
}

enum sg_status sg_out_create(const char *path, bool overwrite, struct sg_out *out, struct sg_error *err)
{
    *out = (struct sg_out){.path = path, .fd = STDOUT_FILENO};
    if (!path)
        return SG_OK;
    enum sg_status status = open_file(out, 0, err);
    struct stat info;
    if (status == SG_OK && fstat(out->fd, &info) == 0 && S_ISREG(info.st_mode)) {
        if (info.st_size > 0 && !overwrite)
            status = sg_fail(err, SG_EINVALID, "%s: already has %lld bytes; say --resume to go on, or --overwrite",
                             path, (long long)info.st_size);
        else if (ftruncate(out->fd, 0) != 0)
            status = fail(out, "cannot empty it", err);
    }
    if (status != SG_OK && out->fd >= 0)
        close(out->fd);
    return status;
}

static bool write_all(int fd, const char *bytes, size_t len)
{
    while (len > 0) {
        ssize_t n = write(fd, bytes, len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return false;
        bytes += n;
        len -= (size_t)n;
    }
    return true;
}

enum sg_status sg_out_write(struct sg_out *out, size_t slot, const char *json, struct sg_error *err)
{
    struct sg_buffer line = {0};
    sg_buffer_printf(&line, "%s\n", json);
    enum sg_status status = sg_buffer_status(&line, err);
    if (status == SG_OK && !write_all(out->fd, line.data, line.len)) {
        status = fail(out, "write failed", err);
        if (out->path && ftruncate(out->fd, (off_t)out->size) != 0)
            status = SG_EIO; /* the torn line stays; --resume drops it */
    }
    if (status == SG_OK && out->lines)
        out->lines[slot] = (struct sg_out_line){out->size, line.len, ""};
    if (status == SG_OK)
        out->size += line.len;
    sg_buffer_free(&line);
    return status;
}

/* JSON text in one spelling, so that equal values compare equal; NULL for no JSON. free() it. */
static char *normal_json(const json_t *value)
{
    return value ? json_dumps(value, JSON_COMPACT | JSON_SORT_KEYS | JSON_ENCODE_ANY) : NULL;
}

static const char *string_in(const json_t *object, const char *name, const char *member)
{
    const char *text = json_string_value(json_object_get(json_object_get(object, name), member));
    return text ? text : "";
}

enum line_kind { LINE_OTHER, LINE_ANSWER, LINE_ERROR };

/* Whose line is this? Sets *slot_out for an answer of this run. LINE_ERROR is an error of a row that this run judges
 * again. */
static enum line_kind classify(const json_t *object, const struct sg_input *input, const struct sg_out_key *key,
                               const char *options, size_t *slot_out)
{
    const char *id = json_string_value(json_object_get(object, "id")),
               *policy = string_in(object, "policy", "sha256");
    size_t row = 0, i = 0;
    while (i < key->n_policies && strcmp(policy, key->policy_sha256[i]) != 0)
        i++;
    if (i == key->n_policies || (id && !sg_input_find(input, id, &row)))
        return LINE_OTHER;
    /* What waits for the reasoner is no answer yet. */
    if (json_object_get(object, "error") || json_is_true(json_object_get(object, "provisional")))
        return LINE_ERROR;
    char *own = normal_json(json_object_get(object, "options"));
    const char *model = string_in(object, "model", "sha256");
    /* Rules and screens, which the options name, decide without a model. */
    bool same = id && own && strcmp(own, options) == 0 &&
                (!*model || strcmp(model, key->model_sha256[0]) == 0 || strcmp(model, key->model_sha256[1]) == 0);
    free(own);
    *slot_out = row * key->n_policies + i;
    return same ? LINE_ANSWER : LINE_OTHER;
}

static enum sg_status add_other(struct sg_out *out, struct sg_out_line line, struct sg_error *err)
{
    if (out->n_others == out->cap_others) {
        size_t cap = out->cap_others ? 2 * out->cap_others : 64;
        struct sg_out_line *others = realloc(out->others, cap * sizeof *others);
        if (!others)
            return sg_fail(err, SG_ENOMEM, "%s: out of memory", out->path);
        out->others = others;
        out->cap_others = cap;
    }
    out->others[out->n_others++] = line;
    return SG_OK;
}

static enum sg_status index_lines(struct sg_out *out, const struct sg_mapping *map, const struct sg_input *input,
                                  const struct sg_out_key *key, struct sg_error *err)
{
    json_t *value = json_loads(key->options, JSON_DECODE_INT_AS_REAL, NULL);
    char *options = normal_json(value);
    json_decref(value);
    enum sg_status status = options ? SG_OK : sg_fail(err, SG_ENOMEM, "%s: out of memory", out->path);
    const char *text = (const char *)map->data;
    size_t number = 1;
    for (size_t at = 0; status == SG_OK && at < map->size; number++) {
        const char *end = memchr(text + at, '\n', map->size - at);
        struct sg_out_line line = {at, end ? (size_t)(end - text) + 1 - at : map->size - at, ""};
        at += line.len;
        if (!end)
            break; /* torn */
        json_t *object = json_loadb(text + line.offset, line.len, JSON_DECODE_INT_AS_REAL, NULL);
        size_t slot = 0;
        if (!json_is_object(object)) {
            status = sg_fail(err, SG_EFORMAT, "%s: line %zu is no JSON object: this is not the output of a batch",
                             out->path, number);
        } else {
            enum line_kind kind = classify(object, input, key, options, &slot);
            const char *content = json_string_value(json_object_get(object, "content_sha256"));
            snprintf(line.content_sha256, sizeof line.content_sha256, "%s", content ? content : "");
            if (kind == LINE_ANSWER)
                out->lines[slot] = line;
            else if (kind == LINE_OTHER)
                status = add_other(out, line, err);
        }
        json_decref(object);
    }
    free(options);
    return status;
}

/* Are all kept lines in their order, one behind the other, from the start to the end of the file? */
static bool in_order(const struct sg_out *out)
{
    uint64_t at = 0;
    for (size_t pass = 0; pass < 2; pass++) {
        const struct sg_out_line *lines = pass ? out->lines : out->others;
        for (size_t i = 0; i < (pass ? out->n_lines : out->n_others); i++) {
            if (lines[i].len && lines[i].offset != at)
                return false;
            at += lines[i].len;
        }
    }
    return at == out->size;
}

/* Write the kept lines in order to a new file and put it in the place of the old one. */
static enum sg_status rewrite(struct sg_out *out, const struct sg_mapping *map, struct sg_error *err)
{
    struct sg_buffer name = {0};
    sg_buffer_printf(&name, "%s.tmp-%ld", out->path, (long)getpid());
    enum sg_status status = sg_buffer_status(&name, err);
    if (status != SG_OK)
        return status;
    int old = out->fd;
    out->fd = open(name.data, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    bool good = out->fd >= 0 && flock(out->fd, LOCK_EX | LOCK_NB) == 0;
    uint64_t at = 0;
    for (size_t pass = 0; pass < 2; pass++) {
        struct sg_out_line *lines = pass ? out->lines : out->others;
        for (size_t i = 0; good && i < (pass ? out->n_lines : out->n_others); i++) {
            good = write_all(out->fd, (const char *)map->data + lines[i].offset, lines[i].len);
            lines[i].offset = at;
            at += lines[i].len;
        }
    }
    good = good && fsync(out->fd) == 0 && rename(name.data, out->path) == 0;
    if (!good) {
        status = fail(out, "cannot write it anew", err);
        unlink(name.data);
        if (out->fd >= 0)
            close(out->fd);
        out->fd = old;
    } else {
        close(old);
        out->size = at;
    }
    sg_buffer_free(&name);
    return status;
}

static enum sg_status bring_in_order(struct sg_out *out, struct sg_error *err)
{
    struct sg_mapping map;
    if (in_order(out))
        return SG_OK;
    enum sg_status status = sg_mapping_open(out->path, &map, err);
    if (status == SG_OK)
        status = rewrite(out, &map, err);
    sg_mapping_close(&map);
    return status;
}

enum sg_status sg_out_resume(const char *path, const struct sg_input *input, const struct sg_out_key *key,
                             struct sg_out *out, struct sg_error *err)
{
    *out = (struct sg_out){.path = path, .fd = -1, .n_lines = sg_input_count(input) * key->n_policies};
    out->lines = calloc(out->n_lines + 1, sizeof *out->lines);
    enum sg_status status = out->lines ? open_file(out, 0, err) : sg_fail(err, SG_ENOMEM, "%s: out of memory", path);
    struct sg_mapping map = {0};
    if (status == SG_OK)
        status = sg_mapping_open(path, &map, err);
    out->size = map.size;
    if (status == SG_OK)
        status = index_lines(out, &map, input, key, err);
    if (status == SG_OK && !in_order(out))
        status = rewrite(out, &map, err);
    sg_mapping_close(&map);
    if (status == SG_OK && lseek(out->fd, 0, SEEK_END) < 0)
        status = fail(out, "cannot seek", err);
    if (status != SG_OK) {
        if (out->fd >= 0)
            close(out->fd);
        free(out->lines);
        free(out->others);
        *out = (struct sg_out){.fd = -1};
    }
    return status;
}

enum sg_status sg_out_close(struct sg_out *out, struct sg_error *err)
{
    enum sg_status status = out->lines ? bring_in_order(out, err) : SG_OK;
    if (out->path && close(out->fd) != 0 && status == SG_OK)
        status = fail(out, "cannot close", err);
    free(out->lines);
    free(out->others);
    *out = (struct sg_out){.fd = -1};
    return status;
}
