/* Labelled rows: a file in one of the known shapes → id, text or messages, what is known of each category, and the
 * rest as named strings.
 *
 * The shape is told by the columns (CSV) or by the fields of the first row (JSONL), or forced; a file of none of the
 * known shapes is refused by name. A label is 1, 0 or unknown: what is missing, empty or null is unknown, and a
 * spelling outside the table of dataset_shape.c is an error of its row. On top of input.h, which settles encodings,
 * ids and the order of rows. */
#ifndef SG_INPUT_DATASET_H
#define SG_INPUT_DATASET_H

#include "input/input.h"

#include "safeguard/label.h"

#define SG_DATASET_MAX_CATEGORIES 256
#define SG_DATASET_MAX_NAME 128 /* bytes of a category's name */

/* Names for --format, as an option table wants them. */
#define SG_DATASET_FORMATS "jsonl|csv|toxicchat|openai-2022|hatecheck|guardrails"

struct sg_dataset_options {
    const char *format;        /* one of SG_DATASET_FORMATS; NULL: from the columns or fields */
    const char *text_field;    /* NULL: as the shape has it */
    const char *id_field;      /* NULL: as the shape has it, else the row's number */
    const char *group_field;   /* NULL: as the shape has it; also a meta field */
    const char *const *labels; /* "COLUMN" or "COLUMN=CATEGORY": columns of one's own that hold labels */
    size_t n_labels;
    char separator; /* CSV; 0: from the header line */
    int skip_lines;
};

struct sg_dataset_field {
    const char *name, *value;
};

/* Strings are borrowed until the next sg_dataset_row or close; NULL where the row has none. */
struct sg_dataset_row {
    size_t row, line; /* from 1 */
    const char *id;
    struct sg_slice text; /* UTF-8; for messages: an object {"messages":[…],"judge":…} */
    bool is_messages;
    int violation; /* category "violation" where the row has it; else 1 when a known category is 1,
                      0 when all known ones are 0, unknown when none is known */
    const struct sg_label_value *labels; /* the known ones, each category once */
    size_t n_labels;
    const struct sg_dataset_field *meta; /* everything else: slices of an evaluation */
    size_t n_meta;
    const char *group, *split, *lang, *source;
    const char *drawn; /* as in a label file; NULL: the row does not say */
    double p_drawn;    /* NaN where the row does not say */
};

struct sg_dataset;

/* `path` "-" is standard input. Errors as of sg_input_open; SG_EFORMAT names the columns of a file of unknown shape.
 */
SG_MUST_CHECK enum sg_status sg_dataset_open(const char *path, const struct sg_dataset_options *options,
                                             struct sg_dataset **dataset_out, struct sg_error *err);
/* The same on bytes in memory; `name` tells CSV from JSONL by its ending. */
SG_MUST_CHECK enum sg_status sg_dataset_parse(const char *name, const char *bytes, size_t len,
                                              const struct sg_dataset_options *options,
                                              struct sg_dataset **dataset_out, struct sg_error *err);
void sg_dataset_close(struct sg_dataset *dataset);

const char *sg_dataset_format(const struct sg_dataset *dataset);
size_t sg_dataset_count(const struct sg_dataset *dataset);
/* Every category that a readable row has a label for, in the order of first appearance; reads all rows at the first
 * call, which ends what was borrowed of a row. Borrowed until close. */
const char *const *sg_dataset_categories(struct sg_dataset *dataset, size_t *n_out);
/* Row index of an id; false when no row has it. */
bool sg_dataset_find(const struct sg_dataset *dataset, const char *id, size_t *row_out);
/* What was decided from the file, a line each, "" for nothing. */
const char *sg_dataset_notes(const struct sg_dataset *dataset);

/* Read row i from 0. row, line and id are set in every case; on failure the error says what is wrong with the row,
 * without its content, and other rows can be read. */
SG_MUST_CHECK enum sg_status sg_dataset_row(struct sg_dataset *dataset, size_t i, struct sg_dataset_row *row_out,
                                            struct sg_error *err);

/* A label as people write it: 1, 0 or SG_LABEL_UNKNOWN by the table. SG_EFORMAT for any other spelling; the error
 * quotes it only when it is a short plain word. */
SG_MUST_CHECK enum sg_status sg_label_spelling(struct sg_slice text, int *value_out, struct sg_error *err);

#endif
