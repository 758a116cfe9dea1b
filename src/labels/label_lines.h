/* Lines of a file of any size, plain or compressed with gzip, one at a time. */
#ifndef SG_LABELS_LABEL_LINES_H
#define SG_LABELS_LABEL_LINES_H

#include "base/buffer.h"

#define SG_LABEL_MAX_LINE ((size_t)256 << 20)

struct sg_lines;

struct sg_line {
    struct sg_slice text; /* without its line break, borrowed until the next call; ptr NULL at the end */
    size_t number;        /* from 1 */
    bool complete;        /* a line break follows */
    bool too_long;        /* above SG_LABEL_MAX_LINE: text is empty */
};

SG_MUST_CHECK enum sg_status sg_lines_open(const char *path, struct sg_lines **lines_out, struct sg_error *err);
SG_MUST_CHECK enum sg_status sg_lines_next(struct sg_lines *lines, struct sg_line *line_out, struct sg_error *err);
void sg_lines_close(struct sg_lines *lines);

#endif
