/* In place of src/kernels/select.c's list: the scalar table and the emulated AVX-512 one. */
#include "kernels/kernels.h"

extern const struct sg_kernels sg_kernels_avx512_emulated;

const struct sg_kernels *const *sg_kernels_all(void)
{
    static const struct sg_kernels *all[3];
    all[0] = &sg_kernels_scalar;
    all[1] = &sg_kernels_avx512_emulated;
    return all;
}
