/* What the benchmark programs share: processor time, and numbers by chance that are the same in every run. */
#ifndef SG_BENCH_BENCH_H
#define SG_BENCH_BENCH_H

#include <stdint.h>
#include <time.h>

static inline double cpu_seconds(void)
{
    struct timespec time;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
    return (double)time.tv_sec + 1e-9 * (double)time.tv_nsec;
}

/* xorshift64 */
static inline uint32_t rnd(void)
{
    static uint64_t state = 88172645463325252u;
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return (uint32_t)(state >> 20);
}

#endif
