/* Opening label files and data sets: which of the two a file is, its lines, and what is left out. */
#include "labels/label_line.h"
#include "labels/label_lines.h"
#include "labels/labels_internal.h"

#include "base/file.h"
#include "input/dataset.h"
#include "labels/label_rows.h"

#include <math.h>
#include <stdlib.h>
#include <strings.h>

#define LOOK_AHEAD 1000 /* lines that are looked at to tell a label file from a data set */

/* Notes on one file: the first lines that are left out by name, then a count. */
struct notes {
    struct sg_labels *labels;
    const char *path;
    size_t n_unusable;
    size_t n_foreign, foreign_line; /* labels under other policies */
    char foreign[65];
    size_t n_unknown_fields, unknown_line;
};

static enum sg_status note_line(struct notes *notes, size_t line, const char *what, struct sg_error *err)
{
    if (notes->n_unusable++ >= SG_LABEL_MAX_NOTES)
        return SG_OK;
    struct sg_buffer text = {0};
    sg_buffer_printf(&text, "%s line %zu: %s", notes->path, line, what);
    enum sg_status status = sg_buffer_status(&text, err);
    if (status == SG_OK)
        status = sg_labels_note(notes->labels, text.data, err);
    sg_buffer_free(&text);
    return status;
}

static enum sg_status note_summary(struct notes *notes, struct sg_error *err)
{
    struct sg_buffer text = {0};
    enum sg_status status = SG_OK;
    if (notes->n_unusable > SG_LABEL_MAX_NOTES) {
        sg_buffer_printf(&text, "%s: %zu more lines were left out", notes->path,
                         notes->n_unusable - SG_LABEL_MAX_NOTES);
        status = sg_labels_note(notes->labels, sg_buffer_text(&text), err);
    }
    if (status == SG_OK && notes->n_foreign) {
        sg_buffer_clear(&text);
        sg_buffer_printf(
            &text, "%s: %zu labels belong to other policies and were left out (the first, line %zu, to %.12s)",
            notes->path, notes->n_foreign, notes->foreign_line, notes->foreign[0] ? notes->foreign : "none");
        status = sg_labels_note(notes->labels, sg_buffer_text(&text), err);
    }
    if (status == SG_OK && notes->n_unknown_fields) {
        sg_buffer_clear(&text);
        sg_buffer_printf(&text, "%s: %zu lines have fields that are not known here (the first, line %zu)",
                         notes->path, notes->n_unknown_fields, notes->unknown_line);
        status = sg_labels_note(notes->labels, sg_buffer_text(&text), err);
    }
    if (status == SG_OK)
        status = sg_buffer_status(&text, err);
    sg_buffer_free(&text);
    return status;
}

static enum sg_status take_parsed(struct notes *notes, struct sg_parsed_line *parsed, const char *policy_sha256,
                                  size_t line, uint32_t file, struct sg_error *err)
{
    if (parsed->attempt) {
        char *json = json_dumps(parsed->attempt, JSON_COMPACT);
        enum sg_status status =
            json ? sg_labels_attempt_add(notes->labels, json, err) : sg_fail(err, SG_ENOMEM, "out of memory");
        free(json);
        return status;
    }
    if (parsed->unknown_field && notes->n_unknown_fields++ == 0)
        notes->unknown_line = line;
    const char *policy = parsed->line.policy_sha256;
    if (policy_sha256 && (!policy || strcmp(policy, policy_sha256) != 0)) {
        if (notes->n_foreign++ == 0) {
            notes->foreign_line = line;
            memcpy(notes->foreign, policy ? policy : "", policy ? sizeof notes->foreign : 1);
        }
        return SG_OK;
    }
    return sg_labels_take(notes->labels, &parsed->line, file, err);
}

static enum sg_status read_label_file(struct sg_labels *labels, const char *path, const char *policy_sha256,
                                      uint32_t file, struct sg_error *err)
{
    struct notes notes = {.labels = labels, .path = path};
    struct sg_parsed_line *parsed = malloc(sizeof *parsed);
    struct sg_lines *lines = NULL;
    enum sg_status status = parsed ? sg_lines_open(path, &lines, err) : sg_fail(err, SG_ENOMEM, "out of memory");
    while (status == SG_OK) {
        struct sg_line line;
        struct sg_error why;
        status = sg_lines_next(lines, &line, err);
        if (status != SG_OK || !line.text.ptr)
            break;
        if (line.too_long) {
            status = note_line(&notes, line.number, "longer than the limit", err);
            continue;
        }
        size_t blank = 0;
        while (blank < line.text.len && line.text.ptr[blank] && strchr(" \t\r", line.text.ptr[blank]))
            blank++;
        if (blank == line.text.len)
            continue;
        if (sg_label_line_parse(line.text, parsed, &why) != SG_OK) {
            if (!line.complete)
                sg_fail(&why, SG_EFORMAT, "torn: the last line of a writer that was cut off");
            status = note_line(&notes, line.number, why.text, err);
            continue;
        }
        status = take_parsed(&notes, parsed, policy_sha256, line.number, file, err);
        sg_parsed_line_deinit(parsed);
        if (status == SG_ELIMIT)
            sg_fail_in(err, status, "%s line %zu", path, line.number);
    }
    if (status == SG_OK)
        status = note_summary(&notes, err);
    sg_lines_close(lines);
    free(parsed);
    return status;
}

/* --- data sets -------------------------------------------------------------------------------------------- */

static enum sg_status read_data_set(struct sg_labels *labels, const char *path, uint32_t file, struct sg_error *err)
{
    struct notes notes = {.labels = labels, .path = path};
    struct sg_dataset *dataset = NULL;
    struct sg_dataset_options options = {0};
    struct sg_row_reader reader = {
        .labels = labels, .drawn = "picked", .p_drawn = NAN, .category = "any", .file = file};
    enum sg_status status = sg_dataset_open(path, &options, &dataset, err);
    if (status == SG_OK)
        status = sg_row_reader_name(&reader, path, err);
    for (size_t i = 0; status == SG_OK && i < sg_dataset_count(dataset); i++) {
        struct sg_dataset_row row;
        struct sg_error why;
        struct sg_label_line line;
        bool already;
        if (sg_dataset_row(dataset, i, &row, &why) == SG_OK &&
            sg_row_reader_line(&reader, &row, &line, &already, &why) == SG_OK)
            status = already ? SG_OK : sg_labels_take(labels, &line, file, err);
        else
            status = why.code == SG_ENOMEM ? sg_fail(err, SG_ENOMEM, "%s: out of memory", path)
                                           : note_line(&notes, row.line, why.text, err);
    }
    if (status == SG_OK)
        status = note_summary(&notes, err);
    sg_row_reader_deinit(&reader);
    sg_dataset_close(dataset);
    return status;
}

static bool ends(const char *path, const char *ending)
{
    size_t len = strlen(path), n = strlen(ending);
    return len >= n && strcasecmp(path + len - n, ending) == 0;
}

enum sg_status sg_label_file_is(const char *path, bool *yes_out, struct sg_error *err)
{
    *yes_out = false;
    if (ends(path, ".csv") || ends(path, ".tsv") || ends(path, ".csv.gz") || ends(path, ".tsv.gz"))
        return SG_OK;
    *yes_out = true; /* an empty file, and one without a readable line */
    struct sg_lines *lines;
    enum sg_status status = sg_lines_open(path, &lines, err);
    if (status != SG_OK)
        return status;
    for (int i = 0; i < LOOK_AHEAD; i++) {
        struct sg_line line;
        status = sg_lines_next(lines, &line, err);
        if (status != SG_OK || !line.text.ptr)
            break;
        json_t *object = json_loadb(line.text.ptr, line.text.len, JSON_ALLOW_NUL, NULL);
        bool found = json_is_object(object);
        if (found)
            *yes_out = json_object_get(object, "content_sha256") || json_object_get(object, "attempt") ||
                       (json_object_get(object, "who") && json_object_get(object, "role"));
        json_decref(object);
        if (found)
            break;
    }
    sg_lines_close(lines);
    return status;
}

enum sg_status sg_labels_open(const char *const *paths, size_t n_paths, const char *policy_sha256,
                              struct sg_labels **labels_out, struct sg_error *err)
{
    *labels_out = NULL;
    if (n_paths > MAX_FILES)
        return sg_fail(err, SG_ELIMIT, "%zu label files, the limit is %d", n_paths, MAX_FILES);
    struct sg_labels *labels = calloc(1, sizeof *labels);
    if (!labels)
        return sg_fail(err, SG_ENOMEM, "out of memory for labels");
    enum sg_status status = SG_OK;
    for (size_t i = 0; status == SG_OK && i < n_paths; i++) {
        bool label_file;
        status = sg_label_file_is(paths[i], &label_file, err);
        if (status == SG_OK && label_file)
            status = read_label_file(labels, paths[i], policy_sha256, (uint32_t)i, err);
        else if (status == SG_OK)
            status = read_data_set(labels, paths[i], (uint32_t)i, err);
    }
    if (status == SG_OK)
        status = sg_labels_resolve(labels, err);
    if (status == SG_OK)
        *labels_out = labels;
    else
        sg_labels_close(labels);
    return status;
}
