/* Binomial tails through the incomplete beta function, and the bounds of Clopper and Pearson (Biometrika 26, 1934):
 * the proportions at which the tail is exactly delta. */
#include "certify/binomial.h"

#include "safeguard/certify.h"

#include <math.h>

/* I_x(a, b) without its prefactor, for x below the mean: DLMF 8.17.22, evaluated by Lentz's method as modified by
 * Thompson and Barnett (J. Comp. Phys. 64, 1986). Converges in O(sqrt(max(a, b))) steps there. */
static double continued_fraction(double a, double b, double x)
{
    const double tiny = 1e-300;
    double c = 1, d = 1 - (a + b) * x / (a + 1);
    d = 1 / (fabs(d) < tiny ? tiny : d);
    double f = d;
    for (int m = 1; m <= 100000; m++) {
        double even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m));
        double odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1));
        d = 1 + even * d;
        d = 1 / (fabs(d) < tiny ? tiny : d);
        c = 1 + even / c;
        c = fabs(c) < tiny ? tiny : c;
        f *= c * d;
        d = 1 + odd * d;
        d = 1 / (fabs(d) < tiny ? tiny : d);
        c = 1 + odd / c;
        c = fabs(c) < tiny ? tiny : c;
        double step = c * d;
        f *= step;
        if (fabs(step - 1) < 1e-15)
            break;
    }
    return f;
}

double sg_incomplete_beta(double a, double b, double x)
{
    if (x <= 0)
        return 0;
    if (x >= 1)
        return 1;
    int sign;
    double log_beta = lgamma_r(a, &sign) + lgamma_r(b, &sign) - lgamma_r(a + b, &sign);
    double front = a * log(x) + b * log1p(-x) - log_beta; /* in logs: its factors leave the range of a double */
    if (x < (a + 1) / (a + b + 2))
        return exp(front) * continued_fraction(a, b, x) / a;
    return 1 - exp(front) * continued_fraction(b, a, 1 - x) / b;
}

double sg_binomial_at_most(size_t k, size_t n, double p)
{
    if (k >= n || p <= 0)
        return 1;
    if (p >= 1)
        return 0;
    double a = (double)(n - k), b = (double)k + 1;
    /* The tail itself is computed, not 1 minus the other one, wherever it is the small one. */
    return sg_incomplete_beta(a, b, 1 - p);
}

double sg_clopper_pearson_upper(size_t successes, size_t trials, double delta)
{
    if (successes >= trials)
        return 1;
    double low = 0, high = 1;
    for (int i = 0; i < 2000; i++) { /* the tail falls with p; ends when halving changes nothing */
        double middle = low + (high - low) / 2;
        if (middle <= low || middle >= high)
            break;
        if (sg_binomial_at_most(successes, trials, middle) > delta)
            low = middle;
        else
            high = middle;
    }
    return high;
}

double sg_clopper_pearson_lower(size_t successes, size_t trials, double delta)
{
    if (successes == 0)
        return 0;
    if (successes > trials)
        successes = trials;
    double low = 0, high = 1;
    for (int i = 0; i < 2000; i++) {
        double middle = low + (high - low) / 2;
        if (middle <= low || middle >= high)
            break;
        if (sg_incomplete_beta((double)successes, (double)(trials - successes) + 1, middle) > delta)
            high = middle;
        else
            low = middle;
    }
    return low;
}
