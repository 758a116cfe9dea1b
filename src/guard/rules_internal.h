/* What the reader of rule files (rules_read.c) fills and the matcher (rules.c) compiles. */
#ifndef SG_GUARD_RULES_INTERNAL_H
#define SG_GUARD_RULES_INTERNAL_H

#include "base/file.h"
#include "guard/rules.h"

#include <hs/hs.h>

#define RULES_MAX_NOTES 100

struct sg_rules {
    char *name; /* of the file, for errors */
    char *policy;
    char sha256[SG_SHA256_HEX];
    struct sg_rule *items;
    size_t n, cap;
    char *notes[RULES_MAX_NOTES];
    size_t n_notes;
    /* Compiled: phrases, of which a rule has one for each reading that needs its own, and regular expressions. */
    hs_database_t *phrases, *regexes;
    unsigned *expression_rules; /* rule of each expression, SPACED set in some */
    bool *raw_only;             /* by rule: not looked for in the normaliser's readings */
};

/* Fill policy, items of `rules` (name is set). */
SG_MUST_CHECK enum sg_status sg_rules_read(struct sg_rules *rules, struct sg_slice text, bool jsonl,
                                           struct sg_error *err);

#endif
