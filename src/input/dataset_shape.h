/* Inside the data-set reader: the known shapes, and the table of label spellings. */
#ifndef SG_INPUT_DATASET_SHAPE_H
#define SG_INPUT_DATASET_SHAPE_H

#include "input/dataset.h"

/* What a column or field is for. */
enum sg_column_role {
    SG_COLUMN_META,
    SG_COLUMN_SKIP, /* text, id, and what would be no slice: another model's output, scores */
    SG_COLUMN_LABEL,
    SG_COLUMN_LABELS, /* an object category → label */
    SG_COLUMN_METAS,  /* an object name → value */
    SG_COLUMN_GROUP,
    SG_COLUMN_SPLIT,
    SG_COLUMN_LANG,
    SG_COLUMN_SOURCE,
    SG_COLUMN_DRAWN,
    SG_COLUMN_P_DRAWN
};

struct sg_column {
    const char *name;
    enum sg_column_role role;
    const char *category; /* SG_COLUMN_LABEL */
};

#define SG_SHAPE_MAX_COLUMNS 16
#define SG_SHAPE_MAX_NEEDS 4

struct sg_shape {
    const char *name;
    const char *needs[SG_SHAPE_MAX_NEEDS]; /* the file has all of these … */
    bool needs_label;                      /* … and one of the label columns, and nothing that is not named here */
    bool common;                           /* "group", "split", "lang" and so on mean what they say */
    const char *text;                      /* NULL: "text", in JSONL also "messages" */
    const char *ids[2];                    /* the first that is there; none: "id" */
    struct sg_column columns[SG_SHAPE_MAX_COLUMNS]; /* a name of NULL ends them */
};

/* What the shape says of a name; NULL: nothing, so it is meta. */
const struct sg_column *sg_shape_column(const struct sg_shape *shape, const char *name);

/* The shape of that name, or with NULL the one that the names fit. SG_EFORMAT tells the names and the known shapes;
 * `csv` chooses between the two plain ones. */
SG_MUST_CHECK enum sg_status sg_shape_find(const char *format, const struct sg_slice *names, size_t n,
                                           const char *text_field, bool csv, const struct sg_shape **shape_out,
                                           struct sg_error *err);

/* SG_EINVALID for a name that no shape has. */
SG_MUST_CHECK enum sg_status sg_shape_known(const char *format, struct sg_error *err);

bool sg_names_have(const struct sg_slice *names, size_t n, const char *name);

#endif
