/* Audited rows, as a bet against the promise of the certificate. One row of each group, the first: what comes later
 * of a group is no surprise, and a bet on it would be none. */
#include "guard/watch.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

struct audited {
    uint64_t group;
    size_t at; /* of the labels */
};

static int by_group(const void *a, const void *b)
{
    const struct audited *x = a, *y = b;
    if (x->group != y->group)
        return x->group < y->group ? -1 : 1;
    return (x->at > y->at) - (x->at < y->at);
}

static int by_place(const void *a, const void *b)
{
    const struct audited *x = a, *y = b;
    return (x->at > y->at) - (x->at < y->at);
}

static bool since(const struct sg_labels *labels, size_t i, int64_t time)
{
    struct sg_said said[16];
    size_t n = sg_labels_said(labels, i, said, sizeof(said) / sizeof(said[0]));
    for (size_t j = 0; j < n && j < sizeof(said) / sizeof(said[0]); j++)
        if (said[j].time < time)
            return false; /* known before, and may have been part of the proof */
    return n > 0;
}

/* Rows of the audit, one of each group, in their order. */
static size_t choose(const struct sg_labels *labels, const char *category, int64_t time, struct audited *rows)
{
    size_t n = 0, kept = 0;
    for (size_t i = 0; i < sg_labels_count(labels); i++) {
        const struct sg_labelled *row = sg_labels_at(labels, i);
        if (!row->disputed && row->text && row->drawn && strcmp(row->drawn, "audit") == 0 && row->p_drawn > 0 &&
            sg_labels_value(labels, i, category) != SG_LABEL_UNKNOWN && since(labels, i, time))
            rows[n++] = (struct audited){sg_screen_group_hash(row->group), i};
    }
    qsort(rows, n, sizeof(*rows), by_group);
    for (size_t i = 0; i < n; i++)
        if (i == 0 || rows[i].group != rows[i - 1].group)
            rows[kept++] = rows[i];
    qsort(rows, kept, sizeof(*rows), by_place);
    return kept;
}

static enum sg_status add_row(const struct sg_watch_options *options, struct sg_guard *guard,
                              const struct sg_labels *labels, size_t i, struct sg_watch *watch, struct sg_error *err)
{
    const struct sg_labelled *row = sg_labels_at(labels, i);
    enum sg_clearing clearing;
    double score;
    enum sg_status status = sg_row_clearing(guard, row, &clearing, &score, err);
    if (status != SG_OK)
        return status == SG_EINVALID ? SG_OK : status;
    bool violates = sg_labels_value(labels, i, options->category) == 1;
    bool cleared = clearing == SG_CLEARING_ALWAYS ||
                   (clearing == SG_CLEARING_BY_SCORE && score < watch->promise.result.threshold);
    watch->n_audited++;
    watch->n_violating += violates;
    watch->n_cleared += violates && cleared;
    sg_drift_add(&watch->drift, violates, cleared, row->p_drawn);
    return SG_OK;
}

static enum sg_status watch_rows(const struct sg_watch_options *options, struct sg_guard *guard,
                                 const struct sg_labels *labels, int64_t time, struct sg_watch *watch,
                                 struct sg_error *err)
{
    struct audited *rows = malloc((sg_labels_count(labels) + 1) * sizeof(*rows));
    if (!rows)
        return sg_fail(err, SG_ENOMEM, "drift: no memory for %zu labels", sg_labels_count(labels));
    size_t n = choose(labels, options->category, time, rows);
    double floor = options->p_floor;
    for (size_t i = 0; i < n; i++) {
        double p = sg_labels_at(labels, rows[i].at)->p_drawn;
        if (options->p_floor == 0 && (floor == 0 || p < floor))
            floor = p;
    }
    sg_drift_init(&watch->drift, watch->promise.rate, 1 - watch->promise.confidence, floor);
    enum sg_status status = SG_OK;
    for (size_t i = 0; i < n && status == SG_OK; i++)
        status = add_row(options, guard, labels, rows[i].at, watch, err);
    free(rows);
    return status;
}

enum sg_status sg_watch_labels(const struct sg_watch_options *options, struct sg_watch *watch_out,
                               struct sg_error *err)
{
    struct sg_certificate *certificate = malloc(sizeof(*certificate));
    struct sg_guard *guard = NULL;
    struct sg_labels *labels = NULL;
    const struct sg_guard_options how = {.mode = SG_GUARD_SCREEN_ONLY,
                                         .rules_path = options->rules_path,
                                         .screen_path = options->screen_path,
                                         .certificate_path = options->certificate_path,
                                         .category = options->category};
    *watch_out = (struct sg_watch){0};
    enum sg_status status = certificate ? sg_certificate_open(options->certificate_path, certificate, err)
                                        : sg_fail(err, SG_ENOMEM, "drift: no memory");
    if (status == SG_OK)
        status = sg_guard_open(options->policy, &how, NULL, &guard, err);
    if (status == SG_OK) {
        const struct sg_certificate_entry *entry = sg_certificate_entry(certificate, options->category);
        if (entry && entry->miss.tried && entry->miss.result.certified)
            watch_out->promise = entry->miss;
        else
            status = sg_fail(err, SG_EINVALID, "%s: no miss rate is promised for this category",
                             options->certificate_path);
    }
    if (status == SG_OK)
        status = sg_labels_open(options->label_paths, options->n_label_paths, sg_policy_sha256(options->policy),
                                &labels, err);
    if (status == SG_OK)
        status = watch_rows(options, guard, labels, certificate->time, watch_out, err);
    sg_labels_close(labels);
    sg_guard_close(guard);
    free(certificate);
    return status;
}
