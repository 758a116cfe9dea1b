/* Label files: any bytes are a file. What is read keeps the promises of label.h, and each label that was taken can be
 * written and read again. */
#include "base/file.h"
#include "labels/label_line.h"
#include "safeguard/label.h"

#include <math.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Every line that parses is written and parses to the same. */
static void check_line(struct sg_slice text)
{
    struct sg_parsed_line *first = malloc(sizeof *first), *second = malloc(sizeof *second);
    struct sg_buffer out = {0};
    if (sg_label_line_parse(text, first, NULL) == SG_OK) {
        if (!first->attempt) {
            const struct sg_label_line *a = &first->line, *b = &second->line;
            if (sg_label_line_write(a, &out, NULL) != SG_OK || out.data[out.len - 1] != '\n' ||
                memchr(out.data, '\n', out.len - 1))
                abort();
            if (sg_label_line_parse((struct sg_slice){out.data, out.len - 1}, second, NULL) != SG_OK)
                abort();
            if (a->violation != b->violation || a->role != b->role || a->time != b->time ||
                a->n_categories != b->n_categories || strcmp(a->who, b->who) != 0 ||
                strcmp(a->content_sha256, b->content_sha256) != 0 || a->text_len != b->text_len ||
                (a->text_len && memcmp(a->text, b->text, a->text_len) != 0) ||
                !(a->p_drawn == b->p_drawn || (isnan(a->p_drawn) && isnan(b->p_drawn))))
                abort();
            sg_parsed_line_deinit(second);
        }
        sg_parsed_line_deinit(first);
    }
    sg_buffer_free(&out);
    free(first);
    free(second);
}

static void check_item(const struct sg_labels *labels, size_t i)
{
    const struct sg_labelled *item = sg_labels_at(labels, i);
    size_t found;
    char sha256[SG_SHA256_HEX];
    if (!sg_labels_find(labels, item->content_sha256, &found) || found != i || !item->group)
        abort();
    if (item->text) {
        sg_sha256(item->text, item->text_len, sha256);
        if (strcmp(sha256, item->content_sha256) != 0)
            abort();
    }
    if (item->disputed && (item->violation != SG_LABEL_UNKNOWN || item->source != SG_TRUTH_PERSON))
        abort();
    if (item->source == SG_TRUTH_NONE && item->violation != SG_LABEL_UNKNOWN)
        abort();
    if (!isnan(item->p_drawn) && !(item->p_drawn > 0 && item->p_drawn <= 1 && item->drawn))
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static int fd = -1;
    static char path[64];
    if (fd < 0) {
        fd = memfd_create("labels", MFD_CLOEXEC);
        snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    }
    for (size_t at = 0; at < size;) {
        const uint8_t *end = memchr(data + at, '\n', size - at);
        size_t len = end ? (size_t)(end - data) - at : size - at;
        check_line((struct sg_slice){(const char *)data + at, len});
        at += len + 1;
    }
    if (ftruncate(fd, 0) != 0 || pwrite(fd, data, size, 0) != (ssize_t)size)
        return 0;
    const char *file = path;
    struct sg_labels *labels;
    struct sg_error err;
    if (sg_labels_open(&file, 1, NULL, &labels, &err) != SG_OK) {
        if (labels)
            abort();
        return 0;
    }
    size_t n;
    for (size_t i = 0; i < sg_labels_count(labels); i++)
        check_item(labels, i);
    sg_labels_notes(labels, &n);
    sg_labels_attempts(labels, &n);
    sg_labels_close(labels);
    return 0;
}
