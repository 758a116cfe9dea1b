/* The rows of an evaluation: every data file in memory, with truths, groups, slices and the closed test split.
 *
 * A row belongs to the test split by the hash of its group alone, so that it stays there whatever else changes: other
 * files, other policies, other machines. Rows without a group are grouped by their text, so that no text stands on
 * both sides. */
#ifndef SG_EVAL_EVAL_ROWS_H
#define SG_EVAL_EVAL_ROWS_H

#include "input/dataset.h"

#define SG_EVAL_MAX_CATEGORIES 128
#define SG_EVAL_MAX_FIELDS 64 /* slice fields; further ones are left out, which a note says */
#define SG_EVAL_MAX_VALUES 64 /* of one field: beyond it the field makes no slices */
#define SG_EVAL_TEST_PERCENT 30

enum sg_eval_split { SG_SPLIT_DEV, SG_SPLIT_TEST, SG_SPLIT_ALL };

struct sg_eval_row {
    const char *id;
    struct sg_slice text;
    bool is_messages;
    bool test;
    uint32_t group;
    int violation;  /* any category that is known: 1, 0, SG_LABEL_UNKNOWN */
    bool all_known; /* and nothing that its file knows of other rows is unknown of this one */
};

#define SG_EVAL_NO_VALUE UINT8_MAX
_Static_assert(SG_EVAL_MAX_VALUES < SG_EVAL_NO_VALUE, "a value's number fits in a byte");

/* A field of the data that slices can be made of. */
struct sg_eval_field {
    const char *name;
    const char *values[SG_EVAL_MAX_VALUES];
    size_t n_values; /* 0 when there were too many */
    bool too_many;
    uint8_t *of_row; /* SG_EVAL_NO_VALUE where the row has none */
};

struct sg_eval_rows {
    struct sg_eval_row *rows;
    size_t n, n_groups;
    size_t n_test; /* before the choice of a split */
    const char *categories[SG_EVAL_MAX_CATEGORIES];
    size_t n_categories;
    int8_t *truth; /* [n][n_categories] */
    struct sg_eval_field fields[SG_EVAL_MAX_FIELDS];
    size_t n_fields;
    bool more_fields; /* than there is room for */
    size_t n_unreadable;
    struct sg_buffer notes; /* a line each */
    char test_sha256[65];   /* of the ids and texts of the test split: names it in the record of openings */
    char **strings;         /* owns every string above */
    size_t n_strings, cap_strings;
};

/* Read the files. SG_EFORMAT when an id stands in two of them. */
SG_MUST_CHECK enum sg_status sg_eval_rows_open(const char *const *paths, size_t n_paths,
                                               const struct sg_dataset_options *options, struct sg_eval_rows *rows,
                                               struct sg_error *err);
void sg_eval_rows_close(struct sg_eval_rows *rows);

/* Keep the rows of a split and, with sample > 0, at most so many of them, chosen by a hash of seed and id. */
SG_MUST_CHECK enum sg_status sg_eval_rows_choose(struct sg_eval_rows *rows, enum sg_eval_split split, size_t sample,
                                                 uint64_t seed, struct sg_error *err);

/* 1, 0 or SG_LABEL_UNKNOWN. "any": a known category is 1, or all that are known are 0; "any-strict": one is 1, or all
 * are known and 0. */
#define SG_EVAL_ANY SIZE_MAX
#define SG_EVAL_ANY_STRICT (SIZE_MAX - 1)
int sg_eval_truth(const struct sg_eval_rows *rows, size_t row, size_t category);
/* False when the data has no such category ("any" and "any-strict" always are). */
bool sg_eval_find_category(const struct sg_eval_rows *rows, const char *name, size_t *category_out);
/* Row of an id; false when none has it. */
bool sg_eval_find_row(const struct sg_eval_rows *rows, const char *id, size_t *row_out);

#endif
