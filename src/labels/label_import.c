#include "labels/label_import.h"

#include "labels/cluster.h"
#include "labels/label_rows.h"

#include <stdlib.h>

struct import {
    const struct sg_import_options *options;
    sg_import_note_fn note;
    void *note_context;
    struct sg_import_report *report;
    struct sg_labels *labels; /* what the file says, and every line that is added */
    struct sg_label_writer *writer;
    struct sg_row_reader reader;
    struct sg_dataset **datasets;
    size_t n_datasets;

    /* near-duplicates: numbers of the label file's contents first, then the rows of all data sets */
    struct sg_cluster *cluster;
    size_t n_contents, row; /* row: the next one's number behind the contents */
    const char **groups;    /* of each number that leads a cluster; NULL: not named yet */
    struct sg_arena names;
};

static void note_row(struct import *import, const char *path, size_t line, const char *what)
{
    struct sg_buffer text = {0};
    sg_buffer_printf(&text, "%s line %zu: %s", path, line, what);
    import->note(import->note_context, sg_buffer_text(&text));
    sg_buffer_free(&text);
}

static enum sg_status open_all(struct import *import, const char *labels_path, const char *const *paths, size_t n,
                               struct sg_error *err)
{
    import->datasets = calloc(n + 1, sizeof *import->datasets);
    enum sg_status status = import->datasets ? SG_OK : sg_fail(err, SG_ENOMEM, "out of memory");
    for (size_t i = 0; status == SG_OK && i < n; i++) {
        /* As a data set its reasoner's labels would become people's. */
        bool label_file = false;
        if (strcmp(paths[i], "-") != 0)
            status = sg_label_file_is(paths[i], &label_file, err);
        if (status == SG_OK && label_file)
            status =
                sg_fail(err, SG_EFORMAT, "%s: no data set but a label file, or without a readable row", paths[i]);
        if (status != SG_OK)
            break;
        status = sg_dataset_open(paths[i], &import->options->data, &import->datasets[i], err);
        import->n_datasets += status == SG_OK;
    }
    /* The lock first, so that nobody writes between reading and writing. */
    if (status == SG_OK)
        status = sg_label_writer_open(labels_path, &import->writer, err);
    if (status == SG_OK)
        status = sg_labels_open(&labels_path, 1, import->options->policy_sha256, &import->labels, err);
    return status;
}

/* --- near-duplicates -------------------------------------------------------------------------------------- */

static enum sg_status cluster_rows(struct import *import, const char *const *paths, struct sg_error *err)
{
    enum sg_status status = sg_cluster_create(&import->cluster, err);
    import->n_contents = sg_labels_count(import->labels);
    for (size_t i = 0; status == SG_OK && i < import->n_contents; i++) {
        const struct sg_labelled *item = sg_labels_at(import->labels, i);
        /* A content without its text resembles nothing: its hash stands in. */
        struct sg_slice text =
            item->text ? (struct sg_slice){item->text, item->text_len} : sg_slice_of(item->content_sha256);
        status = sg_cluster_add(import->cluster, text, err);
    }
    size_t n = import->n_contents;
    for (size_t d = 0; d < import->n_datasets; d++)
        for (size_t i = 0; status == SG_OK && i < sg_dataset_count(import->datasets[d]); i++, n++) {
            struct sg_dataset_row row;
            bool good = sg_dataset_row(import->datasets[d], i, &row, NULL) == SG_OK &&
                        sg_row_reader_text(&import->reader, &row, NULL) == SG_OK;
            char number[64];
            snprintf(number, sizeof number, "%zu %s", i, paths[d]); /* a row that cannot be read resembles nothing */
            status =
                sg_cluster_add(import->cluster,
                               good ? (struct sg_slice){sg_buffer_text(&import->reader.text), import->reader.text.len}
                                    : sg_slice_of(number),
                               err);
        }
    if (status == SG_OK)
        status = sg_cluster_run(import->cluster, err);
    import->groups = status == SG_OK ? calloc(n + 1, sizeof *import->groups) : NULL;
    if (status == SG_OK && !import->groups)
        status = sg_fail(err, SG_ENOMEM, "out of memory for %zu groups", n);
    /* A cluster that reaches into the label file has the name of its first member there. */
    for (size_t i = 0; status == SG_OK && i < import->n_contents; i++) {
        const char **group = &import->groups[sg_cluster_first(import->cluster, (uint32_t)i)];
        if (!*group)
            *group = sg_labels_at(import->labels, i)->group;
    }
    return status;
}

/* Contents that were in the file before and resemble each other, under different groups still. */
static size_t count_split(struct import *import)
{
    size_t n = 0;
    for (size_t i = 0; import->groups && i < import->n_contents; i++) {
        const char *group = import->groups[sg_cluster_first(import->cluster, (uint32_t)i)];
        n += strcmp(group, sg_labels_at(import->labels, i)->group) != 0;
    }
    return n;
}

/* The row's group: that of its cluster, which the first row names by its own group or by its hash. */
static enum sg_status choose_group(struct import *import, const struct sg_dataset_row *row, struct sg_error *err)
{
    uint32_t number = (uint32_t)(import->n_contents + import->row);
    uint32_t first = sg_cluster_first(import->cluster, number);
    if (!import->groups[first]) {
        enum sg_status status = sg_row_reader_text(&import->reader, row, err);
        if (status != SG_OK)
            return status;
        const char *name = row->group ? row->group : import->reader.sha256;
        if (!(import->groups[first] = sg_arena_copy(&import->names, sg_slice_of(name))))
            return sg_fail(err, SG_ENOMEM, "out of memory for a group");
    }
    import->reader.group = first == number ? NULL : import->groups[first]; /* the first keeps its own */
    return SG_OK;
}

/* --- rows ------------------------------------------------------------------------------------------------- */

/* Errors of the row are noted; what is returned ends the import. */
static enum sg_status import_row(struct import *import, const struct sg_dataset_row *row, const char *path,
                                 struct sg_error *err)
{
    struct sg_error why = {.code = SG_OK};
    struct sg_label_line line;
    bool already;
    enum sg_status status = import->cluster ? choose_group(import, row, &why) : SG_OK;
    if (status == SG_OK)
        status = sg_row_reader_line(&import->reader, row, &line, &already, &why);
    if (status == SG_ENOMEM)
        return sg_fail(err, status, "%s line %zu: %s", path, row->line, why.text);
    if (status != SG_OK) {
        import->report->n_unusable++;
        note_row(import, path, row->line, why.text);
        return SG_OK;
    }
    import->report->n_voices += strcmp(line.who, import->reader.who) != 0;
    import->report->n_no_violation += line.violation == SG_LABEL_UNKNOWN;
    if (already) {
        import->report->n_already++;
        return SG_OK;
    }
    import->report->n_grouped += import->reader.group != NULL;
    status = sg_label_writer_add(import->writer, &line, err);
    if (status == SG_OK)
        status = sg_labels_take(import->labels, &line, import->reader.file, err);
    import->report->n_added += status == SG_OK;
    return status;
}

static enum sg_status import_data(struct import *import, struct sg_dataset *dataset, const char *path,
                                  struct sg_error *err)
{
    if (strcmp(import->options->category, "any-strict") == 0)
        sg_dataset_categories(dataset, &import->reader.n_categories);
    enum sg_status status = import->options->who ? SG_OK : sg_row_reader_name(&import->reader, path, err);
    for (size_t i = 0; status == SG_OK && i < sg_dataset_count(dataset); i++, import->row++) {
        struct sg_dataset_row row;
        struct sg_error why;
        import->report->n_rows++;
        if (sg_dataset_row(dataset, i, &row, &why) != SG_OK) {
            import->report->n_unusable++;
            note_row(import, path, row.line, why.text);
        } else if (row.n_labels == 0) {
            import->report->n_unlabelled++;
        } else {
            status = import_row(import, &row, path, err);
        }
    }
    return status;
}

enum sg_status sg_labels_import(const char *labels_path, const char *const *data_paths, size_t n_data,
                                const struct sg_import_options *options, sg_import_note_fn note, void *note_context,
                                struct sg_import_report *report_out, struct sg_error *err)
{
    *report_out = (struct sg_import_report){0};
    struct import import = {.options = options, .note = note, .note_context = note_context, .report = report_out};
    import.reader = (struct sg_row_reader){.who = options->who,
                                           .role = options->role,
                                           .category = options->category,
                                           .drawn = options->drawn,
                                           .p_drawn = options->p_drawn,
                                           .policy_sha256 = options->policy_sha256,
                                           .time = options->time,
                                           .no_text = options->no_text,
                                           .file = 1};
    enum sg_status status = open_all(&import, labels_path, data_paths, n_data, err);
    import.reader.labels = import.labels;
    if (status == SG_OK && options->near_duplicates)
        status = cluster_rows(&import, data_paths, err);
    for (size_t i = 0; status == SG_OK && i < n_data; i++)
        status = import_data(&import, import.datasets[i], data_paths[i], err);
    if (status == SG_OK)
        report_out->n_split = count_split(&import);
    struct sg_error close_error;
    enum sg_status closed = sg_label_writer_close(import.writer, &close_error);
    if (status == SG_OK && closed != SG_OK)
        status = sg_fail(err, closed, "%s", close_error.text);
    for (size_t i = 0; i < import.n_datasets; i++)
        sg_dataset_close(import.datasets[i]);
    free(import.datasets);
    sg_row_reader_deinit(&import.reader);
    sg_cluster_destroy(import.cluster);
    free(import.groups);
    sg_arena_free(&import.names);
    sg_labels_close(import.labels);
    return status;
}
