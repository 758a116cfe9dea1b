#include "labels/label_lines.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#define CHUNK ((size_t)1 << 17)

struct sg_lines {
    char *path;
    gzFile file;
    struct sg_buffer window;
    size_t start;   /* of the line in hand */
    size_t scanned; /* no line break before it */
    size_t number;
    bool ended, skipping;
};

enum sg_status sg_lines_open(const char *path, struct sg_lines **lines_out, struct sg_error *err)
{
    *lines_out = NULL;
    struct sg_lines *lines = calloc(1, sizeof *lines);
    char *copy = strdup(path);
    int fd = lines && copy ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    int cause = errno;
    struct stat info = {0};
    enum sg_status status = SG_OK;
    if (!lines || !copy)
        status = sg_fail(err, SG_ENOMEM, "%s: out of memory", path);
    else if (fd < 0)
        status = sg_fail(err, cause == ENOENT ? SG_ENOTFOUND : SG_EIO, "%s: cannot open: %s", path, strerror(cause));
    else if (fstat(fd, &info) == 0 && S_ISDIR(info.st_mode))
        status = sg_fail(err, SG_EFORMAT, "%s: a folder, expected a file", path);
    gzFile file = status == SG_OK ? gzdopen(fd, "rb") : NULL;
    if (status == SG_OK && !file)
        status = sg_fail(err, SG_ENOMEM, "%s: out of memory", path);
    if (status != SG_OK) {
        if (fd >= 0)
            close(fd);
        free(copy);
        free(lines);
        return status;
    }
    gzbuffer(file, (unsigned)CHUNK / 4);
    lines->path = copy;
    lines->file = file;
    *lines_out = lines;
    return SG_OK;
}

/* More bytes behind the window; the line in hand moves to its front. */
static enum sg_status fill(struct sg_lines *lines, struct sg_error *err)
{
    struct sg_buffer *window = &lines->window;
    if (lines->start > 0) {
        memmove(window->data, window->data + lines->start, window->len - lines->start);
        window->len -= lines->start;
        lines->scanned -= lines->start;
        lines->start = 0;
    }
    char *end = sg_buffer_reserve(window, CHUNK);
    if (!end)
        return sg_fail(err, SG_ENOMEM, "%s: out of memory after line %zu", lines->path, lines->number);
    int n = gzread(lines->file, end, CHUNK), code = Z_OK;
    if (n > 0)
        window->len += (size_t)n;
    window->data[window->len] = '\0';
    if (n > 0)
        return SG_OK;
    lines->ended = true;
    gzerror(lines->file, &code);
    if (code == Z_BUF_ERROR)
        return sg_fail(err, SG_EFORMAT, "%s: gzip ends too early, behind line %zu", lines->path, lines->number);
    if (n < 0)
        return sg_fail(err, code == Z_ERRNO ? SG_EIO : SG_EFORMAT, "%s: %s behind line %zu", lines->path,
                       code == Z_ERRNO ? "read failed" : "damaged gzip", lines->number);
    return SG_OK;
}

enum sg_status sg_lines_next(struct sg_lines *lines, struct sg_line *line_out, struct sg_error *err)
{
    struct sg_buffer *window = &lines->window;
    *line_out = (struct sg_line){.number = lines->number + 1};
    for (;;) {
        const char *data = sg_buffer_text(window);
        const char *end =
            window->len > lines->scanned ? memchr(data + lines->scanned, '\n', window->len - lines->scanned) : NULL;
        if (end || lines->ended) {
            size_t stop = end ? (size_t)(end - data) : window->len;
            if (!end && stop == lines->start && !lines->skipping)
                return SG_OK;
            line_out->too_long = lines->skipping;
            line_out->complete = end != NULL;
            line_out->text = (struct sg_slice){data + lines->start, lines->skipping ? 0 : stop - lines->start};
            lines->start = lines->scanned = stop + (end != NULL);
            lines->skipping = false;
            lines->number++;
            return SG_OK;
        }
        lines->scanned = window->len;
        if (lines->scanned - lines->start > SG_LABEL_MAX_LINE || lines->skipping) {
            lines->skipping = true;
            lines->start = lines->scanned;
        }
        enum sg_status status = fill(lines, err);
        if (status != SG_OK)
            return status;
    }
}

void sg_lines_close(struct sg_lines *lines)
{
    if (!lines)
        return;
    gzclose(lines->file);
    sg_buffer_free(&lines->window);
    free(lines->path);
    free(lines);
}
