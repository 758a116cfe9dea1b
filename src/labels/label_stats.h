/* What stands in label files, counted. */
#ifndef SG_LABELS_LABEL_STATS_H
#define SG_LABELS_LABEL_STATS_H

#include "labels/agreement.h"
#include "safeguard/label.h"

struct sg_named_count {
    const char *name; /* borrowed from the labels */
    size_t n;
};

struct sg_label_stats {
    size_t n_contents, n_labels; /* labels: everybody's last word */
    size_t n_violates, n_safe, n_unknown, n_disputed;
    size_t n_by_person, n_by_reasoner; /* whose word is the truth */
    size_t n_roles[4];                 /* labels by role */
    size_t n_with_text;
    size_t n_drawn_known; /* contents with a probability */
    double p_low, p_high; /* NaN without any */
    size_t n_groups, largest_group;
    struct sg_named_count *who, *drawn; /* most first; those without a draw are called "not said" */
    size_t n_who, n_drawn;
    struct sg_agreement agreement; /* of people (first) with the reasoner (second) */
    /* Contents with a text that resemble an earlier one, and those of them that stand in another group. */
    size_t n_near, n_near_apart;
};

SG_MUST_CHECK enum sg_status sg_label_stats_make(const struct sg_labels *labels, struct sg_label_stats *stats_out,
                                                 struct sg_error *err);
void sg_label_stats_deinit(struct sg_label_stats *stats);

#endif
