/* Near-duplicates: texts that share most of their character 5-grams, found in near-linear time.
 *
 * MinHash by one permutation (each shingle is hashed once and falls into one of 80 bins; empty bins borrow), 20 bands
 * of 4 bins; texts that meet in a band are compared by their 64 smallest shingle hashes, exactly when both have no
 * more than that. Similar pairs are joined, and so are their clusters. The answer depends on the texts and their
 * order alone.
 *
 * Sources: Broder 1997 (resemblance, bottom-k sketches); Li, Owen, Zhang 2012 and Shrivastava 2017 (one permutation
 * hashing, optimal densification). A pair of similarity 0.8 meets with probability 0.9999, one of 0.7 with 0.995. */
#ifndef SG_LABELS_CLUSTER_H
#define SG_LABELS_CLUSTER_H

#include "base/buffer.h"

#include <stdint.h>

#define SG_CLUSTER_SIMILARITY 0.7 /* Jaccard, of the sets of 5-grams */

struct sg_cluster;

SG_MUST_CHECK enum sg_status sg_cluster_create(struct sg_cluster **cluster_out, struct sg_error *err);
void sg_cluster_destroy(struct sg_cluster *cluster);

/* The next text, number 0, 1, … Case, digits and everything that is no letter or digit make no difference. */
SG_MUST_CHECK enum sg_status sg_cluster_add(struct sg_cluster *cluster, struct sg_slice text, struct sg_error *err);

/* Two that belong together for another reason. */
void sg_cluster_join(struct sg_cluster *cluster, uint32_t a, uint32_t b);

/* Join what is similar among all that were added. */
SG_MUST_CHECK enum sg_status sg_cluster_run(struct sg_cluster *cluster, struct sg_error *err);

/* The first text of the cluster that i stands in: i itself when it is the first or alone. */
uint32_t sg_cluster_first(struct sg_cluster *cluster, uint32_t i);

/* Estimated Jaccard similarity of two texts. */
double sg_cluster_similarity(const struct sg_cluster *cluster, uint32_t a, uint32_t b);

#endif
