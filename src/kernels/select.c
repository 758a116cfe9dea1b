/* Which table runs: by what the processor says, or by SG_CPU. */
#include "kernels/kernels.h"

#include <stdlib.h>
#if defined(__x86_64__)
#include <cpuid.h>
#endif

#if defined(__x86_64__)
/* clang 14 does not know this one by name */
static bool has_f16c(void)
{
    unsigned a, b, c, d;
    return __get_cpuid(1, &a, &b, &c, &d) && (c & bit_F16C);
}

/* nor this one: leaf 7, subleaf 1, EAX bit 4 */
static bool has_avxvnni(void)
{
    unsigned a, b, c, d;
    return __get_cpuid_count(7, 1, &a, &b, &c, &d) && (a >> 4 & 1);
}
#endif

const struct sg_kernels *const *sg_kernels_all(void)
{
    static const struct sg_kernels *all[5];
    int n = 0;
    all[n++] = &sg_kernels_scalar;
#if defined(__x86_64__)
    __builtin_cpu_init();
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && has_f16c()) {
        all[n++] = &sg_kernels_avx2;
        if (has_avxvnni())
            all[n++] = &sg_kernels_avxvnni;
        if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
            __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") &&
            __builtin_cpu_supports("avx512vnni"))
            all[n++] = &sg_kernels_avx512;
    }
#endif
    all[n] = NULL;
    return all;
}

enum sg_status sg_kernels_select(const struct sg_kernels **kernels_out, struct sg_error *err)
{
    const struct sg_kernels *const *all = sg_kernels_all();
    const char *wanted = getenv("SG_CPU");
    *kernels_out = NULL;
    for (int i = 0; all[i]; i++)
        if (!wanted || !*wanted || strcmp(wanted, all[i]->name) == 0)
            *kernels_out = all[i]; /* the last is the best */
    if (*kernels_out)
        return SG_OK;
    char names[64] = "";
    for (int i = 0; all[i]; i++) {
        strcat(names, i ? ", " : "");
        strcat(names, all[i]->name);
    }
    return sg_fail(err, SG_EINVALID, "SG_CPU: got '%s', expected a level that this processor has: %s", wanted, names);
}
