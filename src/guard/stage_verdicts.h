/* What a cheaper reasoner said of the rows that are to prove something about it: the output of `check --batch`. */
#ifndef SG_GUARD_STAGE_VERDICTS_H
#define SG_GUARD_STAGE_VERDICTS_H

#include "base/file.h"

#define SG_STAGE_MAX_VERDICTS 10000000

struct sg_stage_verdicts;

/* SG_EFORMAT for a line that is no verdict, for verdicts of several models, and when there is none; SG_ELIMIT. Lines
 * with an error in place of a verdict are passed over. */
SG_MUST_CHECK enum sg_status sg_stage_verdicts_open(const char *path, struct sg_stage_verdicts **verdicts_out,
                                                    struct sg_error *err);
void sg_stage_verdicts_close(struct sg_stage_verdicts *verdicts);

const char *sg_stage_model_name(const struct sg_stage_verdicts *verdicts);
const char *sg_stage_model_sha256(const struct sg_stage_verdicts *verdicts); /* "" when it has none */

/* p_violation of the content, by its hash, else by its id (may be NULL); NaN when it was not judged, was undecided,
 * or has no probability: then this reasoner decides nothing. */
double sg_stage_p_violation(const struct sg_stage_verdicts *verdicts, const char *content_sha256, const char *id);

#endif
