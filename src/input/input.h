/* Rows of a batch: JSONL or CSV → (id, text or messages).
 *
 * The whole file is read (SG_INPUT_MAX_BYTES), its encoding and shape are settled and its ids are checked before
 * anything is judged. What can be read in two ways is refused with an error that names it; what is decided from
 * the file itself (a separator) is noted. A row that cannot be read is an error of that row only. */
#ifndef SG_INPUT_INPUT_H
#define SG_INPUT_INPUT_H

#include "base/buffer.h"

#include <stdint.h>

#define SG_INPUT_MAX_BYTES ((size_t)2 << 30)
#define SG_INPUT_MAX_ROWS 20000000
#define SG_INPUT_MAX_COLUMNS 4096
#define SG_INPUT_MAX_ID 1024

enum sg_input_format { SG_INPUT_BY_NAME, SG_INPUT_JSONL, SG_INPUT_CSV };

struct sg_input_options;
/* Told the columns of the header, or the keys of the first object, before anything is read: may set text_field and
 * id_field, or refuse the file. */
typedef enum sg_status (*sg_input_settle_fn)(void *context, const struct sg_slice *names, size_t n,
                                             struct sg_input_options *options, struct sg_error *err);

struct sg_input_options {
    enum sg_input_format format; /* BY_NAME: .jsonl, .ndjson, .csv, .tsv, and each of them with .gz */
    const char *text_field;      /* NULL: "text" (JSONL: or "messages") */
    const char *id_field;        /* NULL: "id" where there is one, else the row's number */
    char separator;              /* CSV; 0: from the header line */
    int skip_lines;              /* lines above the header, or above the first row */
    sg_input_settle_fn settle;   /* NULL: the names above stand */
    void *settle_context;
};

struct sg_input_row {
    size_t row;           /* 1, 2, … in the order of the file, without the header */
    size_t line;          /* where it starts, from 1 */
    const char *id;       /* NULL when it could not be read */
    struct sg_slice text; /* UTF-8; for messages: an object {"messages":[…],"judge":…} */
    bool is_messages;
};

struct sg_input;

/* `path` "-" is standard input. What is compressed with gzip is read through it. SG_EINVALID for what the options ask
 * and the file does not have; SG_EFORMAT for what is refused (with the line); for a doubled id both lines are named.
 */
SG_MUST_CHECK enum sg_status sg_input_open(const char *path, const struct sg_input_options *options,
                                           struct sg_input **input_out, struct sg_error *err);
/* The same on bytes in memory, which are copied; `name` stands in errors. */
SG_MUST_CHECK enum sg_status sg_input_parse(const char *name, const char *bytes, size_t len,
                                            const struct sg_input_options *options, struct sg_input **input_out,
                                            struct sg_error *err);
void sg_input_close(struct sg_input *input);

size_t sg_input_count(const struct sg_input *input);
/* Row index of an id; false when no row has it. */
bool sg_input_find(const struct sg_input *input, const char *id, size_t *row_out);
/* What was decided from the file, a line each, "" for nothing. */
const char *sg_input_notes(const struct sg_input *input);

/* Read row i. row, line and id are set in every case; on failure the error says what is wrong with the row,
 * without its content. Slices are borrowed until the next call or close. */
SG_MUST_CHECK enum sg_status sg_input_row(struct sg_input *input, size_t i, struct sg_input_row *row_out,
                                          struct sg_error *err);

#endif
