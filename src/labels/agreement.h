/* How far two judges of the same rows agree. */
#ifndef SG_LABELS_AGREEMENT_H
#define SG_LABELS_AGREEMENT_H

#include <stddef.h>

struct sg_agreement {
    size_t n[2][2];   /* [what the first said][what the second said] */
    double observed;  /* share on which they agree; NaN without rows */
    double kappa;     /* Cohen's; NaN where one of them always says the same or there are no rows */
    double low, high; /* 95 %, large-sample: Fleiss, Cohen, Everitt 1969; NaN where kappa is */
};

/* Fill in the rest from n. */
void sg_agreement_measure(struct sg_agreement *agreement);

#endif
