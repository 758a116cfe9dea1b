/* In place of src/kernels/select.c's list: the scalar table and one whose instructions are emulated. */
#include "kernels/kernels.h"

extern const struct sg_kernels sg_kernels_emulated;

const struct sg_kernels *const *sg_kernels_all(void)
{
    static const struct sg_kernels *all[3];
    all[0] = &sg_kernels_scalar;
    all[1] = &sg_kernels_emulated;
    return all;
}
