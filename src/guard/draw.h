/* Which rows a person or a reasoner is asked about next: by weight, each with a probability that is known exactly.
 *
 * A sample that was picked for being hard can teach, but proves nothing about the traffic unless the chance of every
 * row to be in it is known. So each row gets an inclusion probability p first, and then exactly n rows are drawn so
 * that row i is among them with probability p[i]: systematic sampling in an order that depends on a seed and the
 * rows' keys alone (Madow 1949; Tillé, Sampling Algorithms, 2006, section 7.1). */
#ifndef SG_GUARD_DRAW_H
#define SG_GUARD_DRAW_H

#include "safeguard/status.h"

#include <stddef.h>
#include <stdint.h>

/* p[i] = weight i × c, at most `most` and at least `floor`, with the c for which they add up to `size`; all 1 when
 * there are no more than `size` rows. Weights ≥ 0; 0 < floor × n ≤ size ≤ most × n, most ≤ 1. */
void sg_draw_probabilities(const double *weights, size_t n, size_t size, double floor, double most, double *p_out);

/* Draws `size` rows, which the p must add up to, into chosen_out in the order drawn; returns how many (rounding may
 * make it one less or more, never more than size + 1). `keys` are the rows' hashes: two rows should not share one. */
SG_MUST_CHECK enum sg_status sg_draw(const double *p, const uint64_t *keys, size_t n, size_t size, uint64_t seed,
                                     size_t *chosen_out, size_t *n_out, struct sg_error *err);

/* A well-mixed hash of a key under a seed: the order above, and anything else that must be random and repeatable. */
uint64_t sg_draw_mix(uint64_t seed, uint64_t key);

#endif
