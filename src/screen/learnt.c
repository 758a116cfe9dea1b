/* Which groups and texts a screen was learnt from: a Bloom filter, so that a certificate can leave their rows out.
 *
 * 16 bits for each and 4 probes answer wrongly for one in 400 (more above 260,000 texts: the filter grows no
 * further), always towards "yes": a row more is left out, by chance and whatever it says, which costs a proof nothing
 * but size. */
#include "screen/screen_internal.h"

#define PROBES 4
#define BITS_PER_GROUP 16

static uint64_t spread(uint64_t x)
{
    x = (x ^ x >> 30) * 0xBF58476D1CE4E5B9u;
    x = (x ^ x >> 27) * 0x94D049BB133111EBu;
    return x ^ x >> 31;
}

uint64_t sg_screen_group_hash(const char *group)
{
    uint64_t hash = 0xCBF29CE484222325u; /* FNV-1a */
    for (; *group; group++)
        hash = (hash ^ (unsigned char)*group) * 0x100000001B3u;
    hash = spread(hash);
    return hash ? hash : 1;
}

int sg_learnt_bits(size_t n_groups)
{
    int bits = SG_LEARNT_BITS_MIN;
    while (bits < SG_LEARNT_BITS_MAX && (size_t)1 << bits < n_groups * BITS_PER_GROUP)
        bits++;
    return bits;
}

void sg_learnt_add(uint8_t *filter, int bits, uint64_t group)
{
    uint64_t step = spread(group) | 1;
    for (int i = 0; i < PROBES; i++, group += step) {
        uint64_t at = group >> (64 - bits);
        filter[at >> 3] |= (uint8_t)(1 << (at & 7));
    }
}

bool sg_screen_learnt_from(const struct sg_screen *screen, uint64_t group)
{
    uint64_t step = spread(group) | 1;
    for (int i = 0; i < PROBES; i++, group += step) {
        uint64_t at = group >> (64 - screen->learnt_bits);
        if (!(screen->learnt[at >> 3] >> (at & 7) & 1))
            return false;
    }
    return true;
}
