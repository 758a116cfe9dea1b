/* The output file of a batch: JSON lines, whole at every moment, and resumable. */
#ifndef SG_CLI_BATCH_OUT_H
#define SG_CLI_BATCH_OUT_H

#include "input/input.h"

/* Where the line of one (row, policy) stands in the file; len 0: not there. */
struct sg_out_line {
    uint64_t offset;
    size_t len;              /* with its newline */
    char content_sha256[65]; /* of a line that was kept: which content it answers, "" unknown */
};

struct sg_out {
    const char *path; /* NULL: standard output */
    int fd;
    uint64_t size;
    /* Only with resume: one line per row and policy, and the lines that belong to other runs. */
    struct sg_out_line *lines, *others;
    size_t n_lines, n_others, cap_others;
};

/* What a line of this run carries besides its id, to be found again. */
struct sg_out_key {
    const char *const *policy_sha256;
    size_t n_policies;
    const char *model_sha256[2]; /* of those that may answer; "" for none */
    const char *options;         /* JSON text */
};

/* Create or replace `path` (NULL: standard output). A file with something in it is SG_EINVALID unless `overwrite`. */
SG_MUST_CHECK enum sg_status sg_out_create(const char *path, bool overwrite, struct sg_out *out,
                                           struct sg_error *err);

/* Open `path` to go on. Lines that answer an id of `input` under `key` are kept and stand in out->lines
 * (whether the id still has that content, the caller sees); errors of
 * rows and a torn last line go; lines of other runs stay in front. SG_EFORMAT when the file is not made of JSON
 * objects: it is not ours then. */
SG_MUST_CHECK enum sg_status sg_out_resume(const char *path, const struct sg_input *input,
                                           const struct sg_out_key *key, struct sg_out *out, struct sg_error *err);

/* Append one line (without its newline), for lines[slot] when resuming. On failure the file ends in a whole line. */
SG_MUST_CHECK enum sg_status sg_out_write(struct sg_out *out, size_t slot, const char *json, struct sg_error *err);

/* After a resumed run: bring the lines into the order of the input. Then close. Closes in every case. */
SG_MUST_CHECK enum sg_status sg_out_close(struct sg_out *out, struct sg_error *err);

#endif
