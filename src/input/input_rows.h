/* Inside the batch reader: what input.c (encoding, ids, order) shares with input_csv.c and input_jsonl.c. */
#ifndef SG_INPUT_INPUT_ROWS_H
#define SG_INPUT_INPUT_ROWS_H

#include "input/input.h"

#include <jansson.h>

/* A row as it stands in the text. */
struct record {
    size_t offset, len, line;
    size_t id; /* offset into ids, NO_ID when there is none */
};
#define NO_ID SIZE_MAX

/* Fields of one CSV record, unquoted, one behind the other. */
struct csv_fields {
    struct sg_buffer text;
    size_t ends[SG_INPUT_MAX_COLUMNS];
    size_t n;        /* may be above SG_INPUT_MAX_COLUMNS: then the rest was counted only */
    const char *bad; /* what is wrong with this record, or NULL */
};

struct sg_input {
    const char *name;
    struct sg_input_options options;
    struct sg_buffer text; /* the file as UTF-8 without its mark */
    struct sg_buffer ids;  /* NUL-terminated */
    struct sg_buffer notes;
    struct record *records;
    size_t n, cap;
    size_t *by_id, n_by_id;                   /* rows that have an id, in the order of their ids */
    struct sg_buffer row;                     /* of the last sg_input_row */
    struct csv_fields *fields;                /* CSV: of the last sg_input_row */
    struct csv_fields *header;                /* CSV */
    json_t *object;                           /* JSONL: of the last sg_input_row */
    size_t text_column, id_column, n_columns; /* CSV; id_column SIZE_MAX: none */
};

/* The format that was settled: JSONL or CSV. */
static inline enum sg_input_format sg_input_format(const struct sg_input *input)
{
    return input->options.format;
}

/* Field i of the record; borrowed until the next one is read. */
struct sg_slice sg_csv_field(const struct csv_fields *fields, size_t i);

/* Replace what is compressed with gzip (one member or several) by what it holds, at most SG_INPUT_MAX_BYTES; anything
 * else is left alone. */
SG_MUST_CHECK enum sg_status sg_gz_inflate(const char *name, struct sg_buffer *text, struct sg_error *err);

/* Append a record; `id` NULL for none. */
SG_MUST_CHECK enum sg_status sg_input_add(struct sg_input *input, size_t offset, size_t len, size_t line,
                                          const struct sg_slice *id, struct sg_error *err);

/* SG_OK when the bytes can be an id: not empty, not too long, UTF-8 without NUL. */
SG_MUST_CHECK enum sg_status sg_input_check_id(struct sg_slice id, struct sg_error *err);

/* Index the rows of input->text from `at`, which is the start of line `line`. */
SG_MUST_CHECK enum sg_status sg_csv_index(struct sg_input *input, size_t at, size_t line, struct sg_error *err);
SG_MUST_CHECK enum sg_status sg_jsonl_index(struct sg_input *input, size_t at, size_t line, struct sg_error *err);

/* Read the text of one record into row_out (id, row and line are the caller's). */
SG_MUST_CHECK enum sg_status sg_csv_row(struct sg_input *input, const struct record *record,
                                        struct sg_input_row *row_out, struct sg_error *err);
SG_MUST_CHECK enum sg_status sg_jsonl_row(struct sg_input *input, const struct record *record,
                                          struct sg_input_row *row_out, struct sg_error *err);

#endif
