/* Exact binomial tails. */
#ifndef SG_CERTIFY_BINOMIAL_H
#define SG_CERTIFY_BINOMIAL_H

#include <stddef.h>

/* Regularised incomplete beta function I_x(a, b), a and b > 0, 0 ≤ x ≤ 1. Relative error below 1e-8 for a + b up to
 * 1e7 (tests/unit/test_certify.c). */
double sg_incomplete_beta(double a, double b, double x);

/* P(X ≤ k) for X binomial with n trials of probability p. */
double sg_binomial_at_most(size_t k, size_t n, double p);

#endif
