/* Data sets → label file. What the file says already is not written again, so that an import that was cut off is
 * simply repeated. */
#ifndef SG_LABELS_LABEL_IMPORT_H
#define SG_LABELS_LABEL_IMPORT_H

#include "input/dataset.h"

struct sg_import_options {
    const char *policy_sha256;
    const char *who; /* NULL: "data:NAME" of each file */
    enum sg_label_role role;
    const char *category; /* whose value is the violation; "any", "any-strict" */
    const char *drawn;    /* where a row does not say */
    double p_drawn;       /* NaN: none */
    int64_t time;
    bool no_text;
    bool near_duplicates; /* rows that are alone get the group of the first near-duplicate, here or in the label file
                           */
    struct sg_dataset_options data;
};

struct sg_import_report {
    size_t n_rows, n_added;
    size_t n_already;      /* said before, nothing written */
    size_t n_unlabelled;   /* no label known */
    size_t n_no_violation; /* written, without a value for the category that was asked for */
    size_t n_unusable;     /* rows that cannot be read */
    size_t n_voices;       /* texts that stand in the data with different labels */
    size_t n_grouped;      /* rows that share a near-duplicate group with another */
    size_t n_split;        /* near-duplicates that stand in the label file under different groups already */
};

/* `note` gets a line for each row that is left out. */
typedef void (*sg_import_note_fn)(void *context, const char *text);

/* Creates the label file when it is not there, and holds its lock from before it is read. On failure what was written
 * stays written. */
SG_MUST_CHECK enum sg_status sg_labels_import(const char *labels_path, const char *const *data_paths, size_t n_data,
                                              const struct sg_import_options *options, sg_import_note_fn note,
                                              void *note_context, struct sg_import_report *report_out,
                                              struct sg_error *err);

#endif
