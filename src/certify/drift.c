/* Has the miss rate risen above what was promised? A bet against the promise on every audited violating row.
 *
 * Promise: of what violates, the share cleared is ≤ rate, so Z = v · (cleared - rate) has mean ≤ 0 on violating rows
 * that were audited with probability p, v = p_floor / p. A gambler who stakes λ < 1/rate on each has capital
 * Π (1 + λ Z), a supermartingale while the promise holds. A gambler who started long ago has lost nearly all by the
 * time something goes wrong; so a new one starts in every block b = 1, 2, … with the part 1 / (b (b + 1)) of the
 * initial capital, and what has not started yet waits. All together are one e-process: it ever reaches 1/delta with
 * probability at most delta (Ville; e-detectors: Shin, Ramdas and Rinaldo, 2022, with a total budget in place of a
 * run length). Capital of all starts with one size of bet obeys one recursion: capital = (capital + new start) ·
 * factor. */
#include "safeguard/certify.h"

#include "certify/mix.h"

#include <math.h>

/* λ · rate must stay below 1. λ = factor - 1 grows fastest when the miss rate has become factor × rate and both are
 * small, so sizes from a quarter to 32 cover everything from a slight rise to a breach. */
static double bet(int k, double rate)
{
    double size = 0.25 * (double)(1 << k), most = 0.95 / rate;
    return size < most ? size : most;
}

static double start(uint64_t block)
{
    return 1 / ((double)block * (double)(block + 1));
}

void sg_drift_init(struct sg_drift *drift, double rate, double delta, double p_floor)
{
    *drift = (struct sg_drift){.rate = rate, .delta = delta, .p_floor = p_floor > 0 ? p_floor : 1, .highest = 1};
}

void sg_drift_add(struct sg_drift *drift, bool violates, bool cleared, double p_audited)
{
    if (!violates)
        return;
    double weight = drift->p_floor / p_audited;
    if (weight > 1 && cleared) /* below the floor, against the contract: never to the alarm's advantage */
        weight = 1;
    const double z = weight * ((cleared ? 1 : 0) - drift->rate);
    const double fresh = drift->n % SG_DRIFT_BLOCK == 0 ? start(drift->n / SG_DRIFT_BLOCK + 1) : 0;
    for (int k = 0; k < SG_DRIFT_BETS; k++) {
        double factor = 1 + bet(k, drift->rate) * z;
        double capital = (drift->capital[k] + fresh) * (factor > 0 ? factor : 0);
        drift->capital[k] = capital < 1e200 ? capital : 1e200; /* the alarm rang long before */
    }
    drift->n++;
    double value = sg_drift_value(drift);
    if (value > drift->highest)
        drift->highest = value;
}

double sg_drift_value(const struct sg_drift *drift)
{
    double sum = 0;
    for (int k = 0; k < SG_DRIFT_BETS; k++)
        sum += drift->capital[k];
    uint64_t started = (drift->n + SG_DRIFT_BLOCK - 1) / SG_DRIFT_BLOCK;
    return sum / SG_DRIFT_BETS + 1 / (double)(started + 1); /* what waits: 1 - Σ 1/(b (b + 1)) */
}

bool sg_drift_alarm(const struct sg_drift *drift)
{
    return drift->highest >= 1 / drift->delta;
}

double sg_drift_delay(double rate, double delta, double factor, uint64_t n_before)
{
    enum { RUNS = 200, LONGEST = 200000 };
    const double now = rate * factor < 1 ? rate * factor : 1;
    uint64_t state = 1;
    double sum = 0;
    for (int run = 0; run < RUNS; run++) {
        struct sg_drift drift;
        sg_drift_init(&drift, rate, delta, 1);
        uint64_t after = 0;
        for (uint64_t i = 0; after < LONGEST; i++) {
            double u = (double)(sg_mix(state++) >> 11) * 0x1p-53;
            sg_drift_add(&drift, true, u < (i < n_before ? rate : now), 1);
            if (i == n_before)
                drift.highest = sg_drift_value(&drift); /* a false alarm before is not a short delay */
            after += i >= n_before;
            if (after && sg_drift_alarm(&drift))
                break;
        }
        sum += (double)after;
    }
    return sum / RUNS;
}
