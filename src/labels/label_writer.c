/* Appending to a label file: one writer at a time, whole lines only. */
#include "labels/label_line.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define LOCK_WAIT_MS 10000
#define LOCK_STEP_MS 50

struct sg_label_writer {
    char *path;
    int fd;
    off_t size; /* of the whole lines: what a write that fails is cut back to */
    struct sg_buffer line;
};

static enum sg_status lock(struct sg_label_writer *writer, struct sg_error *err)
{
    for (int waited = 0; flock(writer->fd, LOCK_EX | LOCK_NB) != 0; waited += LOCK_STEP_MS) {
        if (errno != EWOULDBLOCK && errno != EINTR)
            return sg_fail(err, SG_EIO, "%s: cannot lock: %s", writer->path, strerror(errno));
        if (waited >= LOCK_WAIT_MS)
            return sg_fail(err, SG_EUNAVAILABLE, "%s: another process is writing to it (waited %d s)", writer->path,
                           LOCK_WAIT_MS / 1000);
        nanosleep(&(struct timespec){.tv_nsec = LOCK_STEP_MS * 1000000L}, NULL);
    }
    return SG_OK;
}

static enum sg_status append(struct sg_label_writer *writer, const char *bytes, size_t len, struct sg_error *err)
{
    for (size_t done = 0; done < len;) {
        ssize_t n = write(writer->fd, bytes + done, len - done);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0) {
            enum sg_status status =
                sg_fail(err, SG_EIO, "%s: cannot write: %s", writer->path, n ? strerror(errno) : "nothing was taken");
            if (done && ftruncate(writer->fd, writer->size) != 0)
                sg_fail_in(err, status, "%s: a part of a line remains", writer->path);
            return status;
        }
        done += (size_t)n;
    }
    writer->size += (off_t)len;
    return SG_OK;
}

/* The file is one that may be appended to, and its last line ends. */
static enum sg_status complete_last_line(struct sg_label_writer *writer, struct sg_error *err)
{
    struct stat info;
    char last = '\n';
    bool ours;
    if (fstat(writer->fd, &info) != 0)
        return sg_fail(err, SG_EIO, "%s: cannot stat: %s", writer->path, strerror(errno));
    if (!S_ISREG(info.st_mode))
        return sg_fail(err, SG_EFORMAT, "%s: not a regular file", writer->path);
    enum sg_status status = sg_label_file_is(writer->path, &ours, err);
    if (status != SG_OK)
        return status;
    if (!ours && info.st_size > 0)
        return sg_fail(err, SG_EFORMAT, "%s: not a label file (a data set?): nothing is written to it", writer->path);
    writer->size = info.st_size;
    if (info.st_size > 0 && pread(writer->fd, &last, 1, info.st_size - 1) != 1)
        return sg_fail(err, SG_EIO, "%s: cannot read: %s", writer->path, strerror(errno));
    return last == '\n' ? SG_OK : append(writer, "\n", 1, err);
}

static void destroy(struct sg_label_writer *writer)
{
    if (writer->fd >= 0)
        close(writer->fd); /* gives the lock back */
    sg_buffer_free(&writer->line);
    free(writer->path);
    free(writer);
}

enum sg_status sg_label_writer_open(const char *path, struct sg_label_writer **writer_out, struct sg_error *err)
{
    *writer_out = NULL;
    size_t len = strlen(path);
    if (len > 3 && strcmp(path + len - 3, ".gz") == 0)
        return sg_fail(err, SG_EINVALID, "%s: a compressed file cannot be appended to", path);
    struct sg_label_writer *writer = calloc(1, sizeof *writer);
    if (writer)
        writer->path = strdup(path);
    if (!writer || !writer->path) {
        free(writer);
        return sg_fail(err, SG_ENOMEM, "%s: out of memory", path);
    }
    writer->fd = open(path, O_RDWR | O_APPEND | O_CREAT | O_CLOEXEC | O_NONBLOCK, 0666);
    enum sg_status status = writer->fd >= 0
                                ? lock(writer, err)
                                : sg_fail(err, SG_EIO, "%s: cannot open for appending: %s", path, strerror(errno));
    if (status == SG_OK)
        status = complete_last_line(writer, err);
    if (status == SG_OK)
        *writer_out = writer;
    else
        destroy(writer);
    return status;
}

enum sg_status sg_label_writer_add(struct sg_label_writer *writer, const struct sg_label_line *line,
                                   struct sg_error *err)
{
    sg_buffer_clear(&writer->line);
    enum sg_status status = sg_label_line_write(line, &writer->line, err);
    /* One write a line: a killed process loses at most the line in hand. */
    return status == SG_OK ? append(writer, writer->line.data, writer->line.len, err) : status;
}

enum sg_status sg_label_writer_attempt(struct sg_label_writer *writer, const char *json, struct sg_error *err)
{
    json_t *object = json_loads(json, JSON_REJECT_DUPLICATES, NULL);
    if (!json_is_object(object)) {
        json_decref(object);
        return sg_fail(err, SG_EINVALID, "an attempt is one JSON object");
    }
    json_t *line = json_pack("{s:o}", "attempt", object);
    char *text = line ? json_dumps(line, JSON_COMPACT) : NULL;
    json_decref(line);
    if (!text)
        return sg_fail(err, SG_ENOMEM, "out of memory for an attempt");
    sg_buffer_clear(&writer->line);
    sg_buffer_puts(&writer->line, text);
    sg_buffer_putc(&writer->line, '\n');
    free(text);
    enum sg_status status = sg_buffer_status(&writer->line, err);
    return status == SG_OK ? append(writer, writer->line.data, writer->line.len, err) : status;
}

enum sg_status sg_label_writer_close(struct sg_label_writer *writer, struct sg_error *err)
{
    if (!writer)
        return SG_OK;
    enum sg_status status = SG_OK;
    if (fsync(writer->fd) != 0)
        status = sg_fail(err, SG_EIO, "%s: cannot flush to disk: %s", writer->path, strerror(errno));
    destroy(writer);
    return status;
}
