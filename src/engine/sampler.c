#include "engine/sampler.h"

#include <math.h>
#include <stdlib.h>

double sg_log_sum_exp(const float *logits, int n)
{
    float largest = -INFINITY;
    for (int i = 0; i < n; i++) {
        if (!(logits[i] < INFINITY))
            return NAN;
        largest = logits[i] > largest ? logits[i] : largest;
    }
    double sum = 0;
    for (int i = 0; i < n; i++)
        sum += exp((double)logits[i] - (double)largest);
    return log(sum) + (double)largest;
}

/* splitmix64 (Steele, Lea, Flood 2014) of the two numbers */
double sg_uniform(uint64_t seed, uint64_t position)
{
    uint64_t z = seed + (position + 1) * 0x9E3779B97F4A7C15u;
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9u;
    z = (z ^ z >> 27) * 0x94D049BB133111EBu;
    z ^= z >> 31;
    return (double)(z >> 11) * 0x1p-53;
}

struct candidate {
    int32_t token;
    double weight;
};

static int by_weight(const void *a, const void *b)
{
    const struct candidate *x = a, *y = b;
    if (x->weight != y->weight)
        return x->weight < y->weight ? 1 : -1;
    return x->token < y->token ? -1 : x->token > y->token;
}

static bool permitted(const uint64_t *mask, int i)
{
    return !mask || (mask[i / 64] >> (i % 64) & 1);
}

enum sg_status sg_sample(const struct sg_sampling *sampling, const float *logits, int n, const uint64_t *mask,
                         int position, int32_t *token_out, struct sg_error *err)
{
    int best = -1;
    for (int i = 0; i < n; i++) {
        if (!(logits[i] < INFINITY))
            return sg_fail(err, SG_EFORMAT, "the model's logits are not finite at position %d", position);
        if (permitted(mask, i) && (best < 0 || logits[i] > logits[best]))
            best = i;
    }
    if (best < 0)
        return sg_fail(err, SG_EINVALID, "no token is permitted at position %d", position);
    *token_out = best;
    if (sampling->temperature <= 0 || logits[best] == -INFINITY) /* all are: weights would be 0 / 0 */
        return SG_OK;

    struct candidate *candidates = malloc((size_t)n * sizeof *candidates);
    if (!candidates)
        return sg_fail(err, SG_ENOMEM, "out of memory for sampling");
    int count = 0;
    double total = 0;
    for (int i = 0; i < n; i++) {
        double weight = exp(((double)logits[i] - (double)logits[best]) / sampling->temperature);
        if (permitted(mask, i) && weight > 1e-12) { /* below, together less than a millionth of the best */
            candidates[count++] = (struct candidate){i, weight};
            total += weight;
        }
    }
    qsort(candidates, (size_t)count, sizeof *candidates, by_weight);
    double kept = 0;
    int n_kept = 0; /* the smallest set of best candidates that holds top_p of the weight */
    while (n_kept < count && (n_kept == 0 || kept < sampling->top_p * total))
        kept += candidates[n_kept++].weight;
    double at = sg_uniform(sampling->seed, (uint64_t)position) * kept;
    int chosen = 0;
    while (chosen < n_kept - 1 && at >= candidates[chosen].weight)
        at -= candidates[chosen++].weight;
    *token_out = candidates[chosen].token;
    free(candidates);
    return SG_OK;
}
