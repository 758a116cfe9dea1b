/* Testing by betting (Waudby-Smith and Ramdas, "Estimating means of bounded random variables by betting", JRSS B 86,
 * 2024), on the terms that BARGAIN (Zeighami et al., 2025) bets on for recall under weighted draws.
 *
 * Claim to refute: of what counts, `rate` or more is wrong. Row i brings
 *     Z_i = v_i · (rate - wrong_i),  v_i = p_floor / p_i in (0, 1],
 * and E[Z_i] ≤ 0 under the claim: drawing with probability p and weighing with 1/p cancel. A gambler who starts with
 * 1 and stakes λ_i in [0, 1/(1 - rate)] of it on each row, chosen before the row is looked at, has W_n = Π (1 + λ_i
 * Z_i) ≥ 0, a supermartingale under the claim, so it ever reaches 1/delta with probability ≤ delta (Ville). Any such
 * bets are valid; good ones win soon.
 *
 * How much to stake. The number of rows is known beforehand, the wins needed are too: it is a game with a last round,
 * and the bets that make capital grow fastest (Kelly) are not those that most often reach the goal in time. So the
 * bet is chosen anew as the game goes (as in the target-recalculating bets of Voráček and Orabona, 2025): with log
 * capital G still to win and R rows to go, take the λ under which the most wrong rows among the R would still be
 * survived. With mean log growth a(λ) of right rows and b(λ) < 0 of wrong ones, as the weights seen so far have it, a
 * share m of wrong rows is survived when (1 - m) a + m b ≥ G / R, so m(λ) = (a - G/R) / (a - b). Where no λ survives
 * even m = 0 the largest is staked. With equal weights this comes within about one row of the exact binomial test,
 * where bets of constant size lose two to four (docs/certificate.md).
 *
 * Under the claim only the weights' law must not enter the choice of the bet on the row itself: rows seen may. */
#include "certify/betting.h"

#include <math.h>
#include <stdlib.h>

/* Sizes of bets, as shares of the largest permitted one. */
static const double sizes[] = {1,    0.95,  0.9,  0.85, 0.8,  0.75, 0.7,  0.65,  0.6,   0.55, 0.5,
                               0.45, 0.4,   0.36, 0.32, 0.28, 0.25, 0.22, 0.19,  0.165, 0.14, 0.12,
                               0.1,  0.085, 0.07, 0.06, 0.05, 0.04, 0.03, 0.022, 0.016, 0.011};
#define SG_BET_SIZES (sizeof(sizes) / sizeof(sizes[0]))
#define MAX_STEPS 512 /* more choices of the bet than this gain nothing that shows */

/* log(1 + λ Z) for a row that is right, and for one that is wrong; λ = size / (1 - rate). */
static double log_right(double size, double weight, double rate)
{
    return log1p(size * weight * rate / (1 - rate));
}

static double log_wrong(double size, double weight)
{
    return log1p(-size * weight); /* -infinity: all was staked */
}

enum sg_status sg_bets_init(struct sg_bets *bets, const struct sg_stake *stakes, size_t n, double rate,
                            struct sg_error *err)
{
    *bets = (struct sg_bets){.n = n, .stakes = stakes, .rate = rate};
    if (n == 0)
        return SG_OK;
    bets->step = (n + MAX_STEPS - 1) / MAX_STEPS;
    bets->n_steps = (n + bets->step - 1) / bets->step;
    bets->sums = malloc(bets->n_steps * SG_BET_SIZES * 2 * sizeof(double));
    if (!bets->sums)
        return sg_fail(err, SG_ENOMEM, "certificate: no memory for the bets on %zu rows", n);
    for (size_t j = 0; j < SG_BET_SIZES; j++) {
        double right = 0, wrong = 0;
        for (size_t i = 0; i < n; i++) {
            if (i % bets->step == 0) {
                double *sums = bets->sums + (i / bets->step * SG_BET_SIZES + j) * 2;
                sums[0] = right;
                sums[1] = wrong;
            }
            right += log_right(sizes[j], stakes[i].right, rate);
            wrong += log_wrong(sizes[j], stakes[i].wrong);
        }
    }
    return SG_OK;
}

void sg_bets_deinit(struct sg_bets *bets)
{
    free(bets->sums);
    *bets = (struct sg_bets){0};
}

/* The size under which the largest share of wrong rows is survived. `growth`: log capital wanted per row. */
static double choose(const struct sg_bets *bets, size_t step, double growth)
{
    double best = 0, size = sizes[0];
    size_t seen = step * bets->step;
    for (size_t j = 0; j < SG_BET_SIZES; j++) {
        double right, wrong;
        if (seen == 0) { /* nothing seen: as if every row weighed most */
            right = log_right(sizes[j], 1, bets->rate);
            wrong = log_wrong(sizes[j], 1);
        } else {
            const double *sums = bets->sums + (step * SG_BET_SIZES + j) * 2;
            right = sums[0] / (double)seen;
            wrong = sums[1] / (double)seen;
        }
        double survived = (right - growth) / (right - wrong); /* 0 when wrong is -infinity and right suffices */
        if (survived > best) {
            best = survived;
            size = sizes[j];
        }
    }
    return size;
}

bool sg_bets_win(const struct sg_bets *bets, const bool *wrong, double delta)
{
    const double goal = -log(delta);
    double capital = 0, size = 0; /* log of the capital */
    for (size_t i = 0; i < bets->n; i++) {
        if (i % bets->step == 0)
            size = choose(bets, i / bets->step, (goal - capital) / (double)(bets->n - i));
        capital +=
            wrong[i] ? log_wrong(size, bets->stakes[i].wrong) : log_right(size, bets->stakes[i].right, bets->rate);
        if (capital >= goal)
            return true;
        if (isinf(capital))
            return false;
    }
    return false;
}

size_t sg_bets_needed(const struct sg_bets *bets, double delta)
{
    double growth = 0;
    for (size_t i = 0; i < bets->n; i++)
        growth += log_right(1, bets->stakes[i].right, bets->rate);
    double mean = bets->n ? growth / (double)bets->n : log_right(1, 1, bets->rate);
    double needed = mean > 0 ? ceil(-log(delta) / mean - 1e-9) : INFINITY;
    return needed < 1e9 ? (size_t)needed : 0;
}
