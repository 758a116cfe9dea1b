#include "labels/label_stats.h"

#include "labels/cluster.h"
#include "labels/labels_internal.h"

#include <math.h>
#include <stdlib.h>

static int by_name(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static int by_count(const void *a, const void *b)
{
    const struct sg_named_count *x = a, *y = b;
    return x->n != y->n ? (x->n < y->n) - (x->n > y->n) : strcmp(x->name, y->name);
}

/* How often does each name stand in `names` (which is sorted by this)? NULL when memory is short. */
static struct sg_named_count *count_names(const char **names, size_t n, size_t *n_out)
{
    size_t n_counts = 0;
    qsort(names, n, sizeof *names, by_name);
    for (size_t i = 0; i < n; i++)
        n_counts += i == 0 || strcmp(names[i], names[i - 1]) != 0;
    struct sg_named_count *counts = calloc(n_counts + 1, sizeof *counts);
    *n_out = counts ? n_counts : 0;
    if (!counts)
        return NULL;
    for (size_t i = 0, at = 0; i < n; i++) {
        at += i > 0 && strcmp(names[i], names[i - 1]) != 0;
        counts[at].name = names[i];
        counts[at].n++;
    }
    qsort(counts, n_counts, sizeof *counts, by_count);
    return counts;
}

static enum sg_status count_near(const struct sg_labels *labels, struct sg_label_stats *stats, struct sg_error *err)
{
    struct sg_cluster *cluster;
    uint32_t *numbers = malloc((labels->n_contents + 1) * sizeof *numbers), n = 0;
    enum sg_status status = sg_cluster_create(&cluster, err);
    if (status == SG_OK && !numbers)
        status = sg_fail(err, SG_ENOMEM, "out of memory for near-duplicates");
    for (size_t i = 0; status == SG_OK && i < labels->n_contents; i++) {
        const struct sg_labelled *item = &labels->contents[i].item;
        if (!item->text)
            continue;
        numbers[n++] = (uint32_t)i;
        status = sg_cluster_add(cluster, (struct sg_slice){item->text, item->text_len}, err);
    }
    if (status == SG_OK)
        status = sg_cluster_run(cluster, err);
    for (uint32_t i = 0; status == SG_OK && i < n; i++) {
        uint32_t first = sg_cluster_first(cluster, i);
        if (first == i)
            continue;
        stats->n_near++;
        stats->n_near_apart +=
            strcmp(labels->contents[numbers[i]].item.group, labels->contents[numbers[first]].item.group) != 0;
    }
    sg_cluster_destroy(cluster);
    free(numbers);
    return status;
}

static void count_item(const struct sg_labelled *item, struct sg_label_stats *stats)
{
    stats->n_disputed += item->disputed;
    stats->n_violates += item->violation == 1;
    stats->n_safe += item->violation == 0;
    stats->n_unknown += item->violation == SG_LABEL_UNKNOWN && !item->disputed;
    stats->n_by_person += item->source == SG_TRUTH_PERSON;
    stats->n_by_reasoner += item->source == SG_TRUTH_REASONER;
    stats->n_with_text += item->text != NULL;
    if (!isnan(item->p_drawn)) {
        stats->n_drawn_known++;
        stats->p_low = fmin(stats->p_low, item->p_drawn); /* fmin and fmax pass over NaN */
        stats->p_high = fmax(stats->p_high, item->p_drawn);
    }
    if (item->source == SG_TRUTH_PERSON && item->violation != SG_LABEL_UNKNOWN &&
        item->reasoner_violation != SG_LABEL_UNKNOWN)
        stats->agreement.n[item->violation][item->reasoner_violation]++;
}

enum sg_status sg_label_stats_make(const struct sg_labels *labels, struct sg_label_stats *stats_out,
                                   struct sg_error *err)
{
    struct sg_label_stats *stats = stats_out;
    *stats = (struct sg_label_stats){
        .n_contents = labels->n_contents, .n_labels = labels->n_said, .p_low = NAN, .p_high = NAN};
    size_t most = labels->n_contents > labels->n_said ? labels->n_contents : labels->n_said;
    const char **names = malloc((most + 1) * sizeof *names);
    if (!names)
        return sg_fail(err, SG_ENOMEM, "out of memory for %zu names", most);
    for (size_t i = 0; i < labels->n_said; i++) {
        names[i] = labels->names[labels->said[i].who];
        stats->n_roles[labels->said[i].role]++;
    }
    stats->who = count_names(names, labels->n_said, &stats->n_who);
    for (size_t i = 0; i < labels->n_contents; i++) {
        const struct sg_labelled *item = &labels->contents[i].item;
        names[i] = item->drawn ? item->drawn : "not said";
        count_item(item, stats);
    }
    stats->drawn = count_names(names, labels->n_contents, &stats->n_drawn);
    for (size_t i = 0; i < labels->n_contents; i++)
        names[i] = labels->contents[i].item.group;
    struct sg_named_count *groups = count_names(names, labels->n_contents, &stats->n_groups);
    if (groups && stats->n_groups)
        stats->largest_group = groups[0].n;
    bool short_of_memory = !stats->who || !stats->drawn || !groups;
    free(groups);
    free(names);
    sg_agreement_measure(&stats->agreement);
    enum sg_status status = short_of_memory ? sg_fail(err, SG_ENOMEM, "out of memory for %zu labels", most)
                                            : count_near(labels, stats, err);
    if (status != SG_OK)
        sg_label_stats_deinit(stats);
    return status;
}

void sg_label_stats_deinit(struct sg_label_stats *stats)
{
    free(stats->who);
    free(stats->drawn);
    *stats = (struct sg_label_stats){0};
}
