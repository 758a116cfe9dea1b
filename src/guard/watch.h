/* Is the promise of a certificate still kept? The drift test over audited rows of label files. */
#ifndef SG_GUARD_WATCH_H
#define SG_GUARD_WATCH_H

#include "guard/prove.h"

struct sg_watch_options {
    const struct sg_policy *policy;
    const char *screen_path, *certificate_path;
    const char *rules_path; /* NULL: none */
    const char *const *label_paths;
    size_t n_label_paths;
    const char *category;
    double p_floor; /* no content is audited with less; 0: the least among the rows */
};

struct sg_watch {
    struct sg_certificate_claim promise;
    size_t n_audited;   /* rows drawn for the audit since the certificate, of known truth, one of each group */
    size_t n_violating; /* of those */
    size_t n_cleared;   /* of those that violate */
    struct sg_drift drift;
};

/* Rows count whose `drawn` is "audit" and whose label is younger than the certificate, in the order of the files.
 * Opening checks that certificate, screen, rules and policy belong together (SG_EINVALID). */
SG_MUST_CHECK enum sg_status sg_watch_labels(const struct sg_watch_options *options, struct sg_watch *watch_out,
                                             struct sg_error *err);

#endif
