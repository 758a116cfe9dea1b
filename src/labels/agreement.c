#include "labels/agreement.h"

#include <math.h>

void sg_agreement_measure(struct sg_agreement *agreement)
{
    double n = 0, p[2][2], first[2], second[2];
    for (int i = 0; i < 2; i++)
        for (int k = 0; k < 2; k++)
            n += (double)agreement->n[i][k];
    for (int i = 0; i < 2; i++)
        for (int k = 0; k < 2; k++)
            p[i][k] = (double)agreement->n[i][k] / n;
    for (int i = 0; i < 2; i++) {
        first[i] = p[i][0] + p[i][1];
        second[i] = p[0][i] + p[1][i];
    }
    double observed = p[0][0] + p[1][1], chance = first[0] * second[0] + first[1] * second[1];
    agreement->observed = observed;
    agreement->kappa = agreement->low = agreement->high = NAN;
    if (n == 0 || 1 - chance < 1e-12)
        return;
    double kappa = (observed - chance) / (1 - chance), same = 0, different = 0;
    for (int i = 0; i < 2; i++)
        for (int k = 0; k < 2; k++) {
            double part = i == k ? (1 - chance) - (first[i] + second[i]) * (1 - observed) : second[i] + first[k];
            *(i == k ? &same : &different) += p[i][k] * part * part;
        }
    double last = observed * chance - 2 * chance + observed;
    double variance = (same + (1 - observed) * (1 - observed) * different - last * last) / (n * pow(1 - chance, 4));
    double half = 1.959963984540054 * sqrt(fmax(variance, 0));
    agreement->kappa = kappa;
    agreement->low = fmax(kappa - half, -1);
    agreement->high = fmin(kappa + half, 1);
}
