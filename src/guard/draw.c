#include "guard/draw.h"

#include <math.h>
#include <stdlib.h>

#define BISECTIONS 200

uint64_t sg_draw_mix(uint64_t seed, uint64_t key)
{
    uint64_t x = key + 0x9E3779B97F4A7C15u * (seed + 1);
    for (int i = 0; i < 2; i++) {
        x = (x ^ x >> 30) * 0xBF58476D1CE4E5B9u;
        x = (x ^ x >> 27) * 0x94D049BB133111EBu;
        x ^= x >> 31;
    }
    return x;
}

static double bounded(double p, double floor, double most)
{
    return p > most ? most : p < floor ? floor : p;
}

static double total(const double *weights, size_t n, double c, double floor, double most)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += bounded(weights[i] * c, floor, most);
    return sum;
}

void sg_draw_probabilities(const double *weights, size_t n, size_t size, double floor, double most, double *p_out)
{
    double low = 0, high = 1;
    if (size < n) {
        /* weights that cannot reach `size` even at their highest (many zeros) leave the rest to the floor below */
        for (int i = 0; i < 1000 && total(weights, n, high, floor, most) < (double)size; i++)
            high *= 2;
        for (int i = 0; i < BISECTIONS; i++) {
            double c = (low + high) / 2;
            if (total(weights, n, c, floor, most) < (double)size)
                low = c;
            else
                high = c;
        }
    }
    for (size_t i = 0; i < n; i++)
        p_out[i] = size < n ? bounded(weights[i] * high, floor, most) : 1;
    /* where the weights are all used up, everybody's chance rises alike */
    double sum = total(p_out, n, 1, floor, most);
    if (size < n && sum < (double)size - 1e-6)
        for (size_t i = 0; i < n; i++)
            p_out[i] += (most - p_out[i]) * ((double)size - sum) / (most * (double)n - sum);
}

struct place {
    uint64_t order;
    size_t row;
};

static int by_order(const void *a, const void *b)
{
    const struct place *x = a, *y = b;
    if (x->order != y->order)
        return x->order < y->order ? -1 : 1;
    return x->row < y->row ? -1 : x->row > y->row;
}

enum sg_status sg_draw(const double *p, const uint64_t *keys, size_t n, size_t size, uint64_t seed,
                       size_t *chosen_out, size_t *n_out, struct sg_error *err)
{
    struct place *places = malloc((n ? n : 1) * sizeof *places);
    *n_out = 0;
    if (!places)
        return sg_fail(err, SG_ENOMEM, "out of memory for drawing from %zu rows", n);
    for (size_t i = 0; i < n; i++)
        places[i] = (struct place){sg_draw_mix(seed, keys[i]), i};
    qsort(places, n, sizeof *places, by_order);
    /* the p laid end to end on a line; every whole number, counted from a random start, hits one row */
    double start = (double)(sg_draw_mix(seed, ~seed) >> 11) * 0x1p-53, at = 0;
    for (size_t i = 0; i < n && *n_out <= size; i++) {
        double before = floor(at + start);
        at += p[places[i].row];
        if (floor(at + start) > before)
            chosen_out[(*n_out)++] = places[i].row;
    }
    free(places);
    return SG_OK;
}
