/* Rows of data sets as lines of a label file. */
#ifndef SG_LABELS_LABEL_ROWS_H
#define SG_LABELS_LABEL_ROWS_H

#include "base/file.h"
#include "input/dataset.h"
#include "labels/label_line.h"
#include "labels/labels_internal.h"

/* How many different labels of one text a data set may hold. */
#define SG_ROW_MAX_VOICES 16

/* Set the upper part, zero the rest. */
struct sg_row_reader {
    struct sg_labels *labels; /* what is said already; the caller takes each new line into it, as `file` */
    uint32_t file;
    const char *who; /* sg_row_reader_name makes one of a file's name */
    enum sg_label_role role;
    /* Whose value is the violation: a category; "any": the row's own; "any-strict": safe only where every one of the
     * data set's n_categories is known. */
    const char *category;
    size_t n_categories;
    const char *drawn; /* where the row does not say */
    double p_drawn;
    const char *group; /* instead of the row's own, may change from row to row */
    const char *policy_sha256;
    int64_t time;
    bool no_text;

    struct sg_buffer name, voice, text;
    char sha256[SG_SHA256_HEX];
};

/* reader->who = "data:NAME" of a path. */
SG_MUST_CHECK enum sg_status sg_row_reader_name(struct sg_row_reader *reader, const char *path, struct sg_error *err);

/* The text that is judged, and its hash, into reader->text and reader->sha256. */
SG_MUST_CHECK enum sg_status sg_row_reader_text(struct sg_row_reader *reader, const struct sg_dataset_row *row,
                                                struct sg_error *err);

/* Row → line, borrowed until the next call. *already_out: the same is said already, there is nothing to add. A text
 * that stands in the data set with different labels speaks with several voices (who, who#2, …), so that it ends up
 * disputed and not decided by the last row. SG_EFORMAT for a row without any label. */
SG_MUST_CHECK enum sg_status sg_row_reader_line(struct sg_row_reader *reader, const struct sg_dataset_row *row,
                                                struct sg_label_line *line_out, bool *already_out,
                                                struct sg_error *err);
void sg_row_reader_deinit(struct sg_row_reader *reader);

#endif
