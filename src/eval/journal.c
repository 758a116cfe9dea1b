#include "eval/journal.h"

#include "base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/file.h>
#include <unistd.h>

struct sg_journal {
    char *path;
    int fd;
    json_t *answers; /* identity → line */
    pthread_mutex_t lock;
};

static enum sg_status fail(const struct sg_journal *journal, const char *what, struct sg_error *err)
{
    return sg_fail(err, SG_EIO, "%s: %s: %s", journal->path, what, strerror(errno));
}

/* "key attack sha256 id": none of the first three has a space in it. free() it. */
static char *identity(const struct sg_journal_question *question)
{
    struct sg_buffer text = {0};
    sg_buffer_printf(&text, "%s %s %s %s", question->key, question->attack ? question->attack : "-",
                     question->content_sha256, question->id);
    return sg_buffer_take(&text);
}

static const char *text_of(const json_t *object, const char *name)
{
    const char *text = json_string_value(json_object_get(object, name));
    return text ? text : "";
}

static enum sg_status keep_line(struct sg_journal *journal, json_t *line, struct sg_error *err)
{
    const json_t *of = json_object_get(line, "eval");
    struct sg_journal_question question = {.key = text_of(of, "key"),
                                           .id = text_of(line, "id"),
                                           .content_sha256 = text_of(of, "content_sha256"),
                                           .attack = json_string_value(json_object_get(of, "attack"))};
    if (!*question.key || json_is_object(json_object_get(line, "error")))
        return SG_OK;
    char *name = identity(&question);
    bool good = name && json_object_set(journal->answers, name, line) == 0;
    free(name);
    return good ? SG_OK : sg_fail(err, SG_ENOMEM, "%s: no memory for its lines", journal->path);
}

static enum sg_status read_lines(struct sg_journal *journal, const struct sg_mapping *map, struct sg_error *err)
{
    const char *text = (const char *)map->data;
    enum sg_status status = SG_OK;
    size_t number = 1, at = 0;
    for (; at < map->size && status == SG_OK; number++) {
        const char *end = memchr(text + at, '\n', map->size - at);
        if (!end)
            break; /* torn: its writer was killed */
        json_t *line = json_loadb(text + at, (size_t)(end - text) - at, 0, NULL);
        status = json_is_object(line) ? keep_line(journal, line, err)
                                      : sg_fail(err, SG_EFORMAT, "%s: line %zu is no JSON object: this is no journal",
                                                journal->path, number);
        json_decref(line);
        at = (size_t)(end - text) + 1;
    }
    if (status == SG_OK && at < map->size && ftruncate(journal->fd, (off_t)at) != 0)
        status = fail(journal, "cannot drop a torn last line", err);
    return status;
}

enum sg_status sg_journal_open(const char *path, bool resume, struct sg_journal **journal_out, struct sg_error *err)
{
    struct sg_mapping map = {0};
    *journal_out = NULL;
    struct sg_journal *journal = calloc(1, sizeof *journal);
    if (!journal)
        return sg_fail(err, SG_ENOMEM, "%s: out of memory", path);
    pthread_mutex_init(&journal->lock, NULL);
    journal->path = strdup(path);
    journal->answers = json_object();
    journal->fd = open(path, O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
    enum sg_status status = SG_OK;
    if (!journal->path || !journal->answers)
        status = sg_fail(err, SG_ENOMEM, "%s: out of memory", path);
    else if (journal->fd < 0)
        status = fail(journal, "cannot open", err);
    else if (flock(journal->fd, LOCK_EX | LOCK_NB) != 0)
        status = sg_fail(err, SG_EINVALID, "%s: another run is writing it", path);
    else
        status = sg_mapping_open(path, &map, err);
    if (status == SG_OK && map.size > 0 && !resume)
        status =
            sg_fail(err, SG_EINVALID, "%s: already has %zu bytes; say --resume to go on with it", path, map.size);
    if (status == SG_OK)
        status = read_lines(journal, &map, err);
    sg_mapping_close(&map);
    if (status == SG_OK)
        *journal_out = journal;
    else if (sg_journal_close(journal, NULL) != SG_OK)
        return status; /* the first error tells more */
    return status;
}

json_t *sg_journal_find(const struct sg_journal *journal, const struct sg_journal_question *question)
{
    char *name = identity(question);
    json_t *line = name ? json_object_get(journal->answers, name) : NULL;
    free(name);
    return line;
}

enum sg_status sg_journal_mark(const struct sg_journal_question *question, json_t *line, struct sg_error *err)
{
    json_t *of = json_pack("{s:s, s:s, s:s, s:s?}", "config", question->config, "key", question->key,
                           "content_sha256", question->content_sha256, "attack", question->attack);
    bool good = json_object_set_new(line, "id", json_string(question->id)) == 0;
    good = json_object_set_new(line, "eval", of) == 0 && good;
    return good ? SG_OK : sg_fail(err, SG_ENOMEM, "no memory for a line of the journal");
}

enum sg_status sg_journal_add(struct sg_journal *journal, const struct sg_journal_question *question, json_t *line,
                              struct sg_error *err)
{
    enum sg_status status = sg_journal_mark(question, line, err);
    char *json = status == SG_OK ? json_dumps(line, JSON_COMPACT | JSON_REAL_PRECISION(9)) : NULL;
    struct sg_buffer text = {0};
    if (status == SG_OK && json)
        sg_buffer_printf(&text, "%s\n", json);
    free(json);
    if (status == SG_OK && (text.failed || text.len == 0))
        status = sg_fail(err, SG_ENOMEM, "%s: no memory for a line", journal->path);
    pthread_mutex_lock(&journal->lock);
    for (size_t at = 0; status == SG_OK && at < text.len;) {
        ssize_t n = write(journal->fd, text.data + at, text.len - at);
        if (n < 0 && errno != EINTR)
            status = fail(journal, "write failed", err);
        at += n > 0 ? (size_t)n : 0;
    }
    pthread_mutex_unlock(&journal->lock);
    sg_buffer_free(&text);
    return status;
}

enum sg_status sg_journal_close(struct sg_journal *journal, struct sg_error *err)
{
    if (!journal)
        return SG_OK;
    enum sg_status status = SG_OK;
    if (journal->fd >= 0 && close(journal->fd) != 0)
        status = fail(journal, "cannot close", err);
    pthread_mutex_destroy(&journal->lock);
    json_decref(journal->answers);
    free(journal->path);
    free(journal);
    return status;
}
