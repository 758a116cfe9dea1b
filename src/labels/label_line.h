/* One line of a label file, between JSON and struct sg_label_line. */
#ifndef SG_LABELS_LABEL_LINE_H
#define SG_LABELS_LABEL_LINE_H

#include "base/buffer.h"
#include "safeguard/label.h"

#include <jansson.h>

/* A line as read: its strings are borrowed from `object`. */
struct sg_parsed_line {
    json_t *object;
    json_t *attempt; /* borrowed; NULL: the line is a label */
    struct sg_label_line line;
    char sha256[65]; /* where the line has a text and no hash */
    struct sg_label_value categories[SG_LABEL_MAX_CATEGORIES];
    const char *unknown_field; /* the first that is none of ours; NULL */
};

/* SG_EFORMAT says the field, what it got and what it expected, never content. `parsed` holds an object to release
 * with sg_parsed_line_deinit on success only. */
SG_MUST_CHECK enum sg_status sg_label_line_parse(struct sg_slice text, struct sg_parsed_line *parsed,
                                                 struct sg_error *err);
void sg_parsed_line_deinit(struct sg_parsed_line *parsed);

/* Append the line with its line break. SG_EINVALID for what a label file may not hold. */
SG_MUST_CHECK enum sg_status sg_label_line_write(const struct sg_label_line *line, struct sg_buffer *out,
                                                 struct sg_error *err);

/* What both directions refuse: a machine that calls itself a person, a probability without a draw, and so on. */
SG_MUST_CHECK enum sg_status sg_label_line_check(const struct sg_label_line *line, struct sg_error *err);

#endif
