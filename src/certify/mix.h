/* Numbers that look random, from numbers that do not (splitmix64: Steele, Lea, Flood, 2014). */
#ifndef SG_CERTIFY_MIX_H
#define SG_CERTIFY_MIX_H

#include <stdint.h>

static inline uint64_t sg_mix(uint64_t z)
{
    z += 0x9E3779B97F4A7C15u;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return z ^ (z >> 31);
}

#endif
