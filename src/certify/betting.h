/* Testing by betting: is the weighted share of wrong rows at most a rate? */
#ifndef SG_CERTIFY_BETTING_H
#define SG_CERTIFY_BETTING_H

#include "safeguard/status.h"

#include <stdbool.h>
#include <stddef.h>

/* p_floor / p_drawn, in (0, 1], of a row that is right, and that is wrong. They differ where the probability is known
 * in part only: then right counts for no more, wrong for no less than it may. */
struct sg_stake {
    double right, wrong;
};

/* The rows that count, in the order in which bets are placed on them, and what depends on neither threshold nor
 * truth. */
struct sg_bets {
    size_t n;
    const struct sg_stake *stakes; /* [n], borrowed */
    double rate;
    size_t n_steps; /* the bet is chosen anew before each step of `step` rows */
    size_t step;
    double *sums; /* [n_steps][SG_BET_SIZES][2]: log growth so far of each size of bet if no row, if every row had
                     been wrong */
};

SG_MUST_CHECK enum sg_status sg_bets_init(struct sg_bets *bets, const struct sg_stake *stakes, size_t n, double rate,
                                          struct sg_error *err);
void sg_bets_deinit(struct sg_bets *bets);

/* True when the capital of a gambler who bets that fewer than `rate` are wrong reaches 1/delta: of probability at
 * most delta if E[weight · (wrong - rate)] ≥ 0. wrong [n]. */
bool sg_bets_win(const struct sg_bets *bets, const bool *wrong, double delta);

/* At least so many rows with such weights are needed, none of them wrong; 0 when these prove nothing however many. */
size_t sg_bets_needed(const struct sg_bets *bets, double delta);

#endif
