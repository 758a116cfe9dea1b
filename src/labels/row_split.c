/* Which rows teach and which prove: by a hash of the group. */
#include "base/file.h"
#include "safeguard/label.h"

#include <stdio.h>
#include <string.h>

enum sg_row_split sg_split_of_group(const char *group)
{
    char hex[SG_SHA256_HEX], salted[SG_SHA256_HEX + 32];
    sg_sha256(group, strlen(group), hex);
    /* Another salt would mix what was kept apart for ever. Hashed twice, so that nothing else that is ordered by the
     * hash of a content (a group of its own is named by it) goes along with the split. */
    snprintf(salted, sizeof(salted), "safeguard split 1 %s", hex);
    sg_sha256(salted, strlen(salted), hex);
    return hex[0] <= '7' ? SG_SPLIT_TRAIN : SG_SPLIT_CERTIFY; /* 0 … 7, and 8, 9, a … f */
}

bool sg_labelled_is_kept(const struct sg_labelled *item)
{
    bool drawn = item->p_drawn > 0 || item->reasoner_p_drawn > 0; /* NaN is neither */
    return drawn && sg_split_of_group(item->group) == SG_SPLIT_CERTIFY;
}
