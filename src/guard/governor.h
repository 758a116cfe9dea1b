/* The governor: who may ask the reasoner next, and who must go without.
 *
 * One governor stands before one reasoner, for all guards (policies) that share it. It bounds the checks in flight
 * and, where asked to, calls and tokens per second. Callers wait in its queue; the highest weight (severity × score)
 * goes first, except that drawn audits keep a part of all grants, because a proof that only sees what looks bad sees
 * nothing. Whoever cannot be served in time, or is pushed out of a full queue, is told so at once. */
#ifndef SG_GUARD_GOVERNOR_H
#define SG_GUARD_GOVERNOR_H

#include "safeguard/guard.h"

enum sg_grant {
    SG_GRANT_GO,        /* call the reasoner, then sg_governor_leave */
    SG_GRANT_LATE,      /* not before the deadline */
    SG_GRANT_DISPLACED, /* the queue is full of weightier callers */
    SG_GRANT_CANCELLED
};

/* Blocks until one of them is known. `deadline` is a time of sg_governor_now, INFINITY for none. */
enum sg_grant sg_governor_enter(struct sg_governor *governor, double weight, bool audit, double deadline);

/* After a granted call: the tokens that it took, -1 when they are not known (the mean of earlier ones counts). */
void sg_governor_leave(struct sg_governor *governor, int64_t tokens);

/* True when a bound other than the checks in flight made somebody wait or go without since the governor began. */
bool sg_governor_has_bound(struct sg_governor *governor);

/* Seconds of a clock that only goes forward. */
double sg_governor_now(void);

#endif
