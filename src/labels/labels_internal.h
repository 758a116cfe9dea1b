/* Inside the labels: what labels.c (lines → store), label_resolve.c (store → one answer per content) and the readers
 * share. */
#ifndef SG_LABELS_LABELS_INTERNAL_H
#define SG_LABELS_LABELS_INTERNAL_H

#include "base/arena.h"
#include "labels/label_index.h"
#include "safeguard/label.h"

#define MAX_FILES 4096

/* One person's or reasoner's last word on a content. Strings stand in the arena. */
struct said {
    uint32_t content, next; /* next of the same content; SG_INDEX_NONE ends */
    uint32_t who;           /* index into names */
    uint32_t file;
    int64_t time;
    const struct sg_label_value *categories;
    uint16_t n_categories;
    uint8_t role;
    int8_t violation;
};

enum { DRAW_REASONER, DRAW_PERSON };

struct content {
    struct sg_labelled item; /* sources, violation and draws are filled in by sg_labels_resolve */
    const char *drawn[2];
    double p_drawn[2];
    const struct sg_label_value *categories; /* known ones */
    size_t n_categories;
    uint32_t first, last; /* said */
    uint32_t reasoner;    /* the latest reasoner's said */
};

struct sg_labels {
    struct sg_arena arena;
    struct content *contents;
    size_t n_contents, cap_contents;
    struct said *said;
    size_t n_said, cap_said;
    const char **names; /* interned: persons, categories, draws, groups */
    size_t n_names, cap_names;
    struct sg_index by_sha256, by_content_and_who, by_name;
    const char **categories, **attempts, **notes;
    size_t n_categories, n_attempts, n_notes, cap_categories, cap_attempts, cap_notes;
    size_t n_lines; /* labels that were taken */
};

/* Take a line into the store. `file` numbers the files in the order of reading. SG_EFORMAT when the line cannot be
 * taken, SG_ENOMEM, SG_ELIMIT. */
SG_MUST_CHECK enum sg_status sg_labels_take(struct sg_labels *labels, const struct sg_label_line *line, uint32_t file,
                                            struct sg_error *err);
SG_MUST_CHECK enum sg_status sg_labels_attempt_add(struct sg_labels *labels, const char *json, struct sg_error *err);
SG_MUST_CHECK enum sg_status sg_labels_note(struct sg_labels *labels, const char *text, struct sg_error *err);
/* What `who` says of a content; NULL when nothing. */
struct said *sg_labels_who_said(struct sg_labels *labels, const char *content_sha256, const char *who);

/* One answer per content, once every line is taken. */
SG_MUST_CHECK enum sg_status sg_labels_resolve(struct sg_labels *labels, struct sg_error *err);

/* Do a line and what was said before say the same? */
bool sg_said_same(const struct said *said, const struct sg_label_line *line);

#endif
