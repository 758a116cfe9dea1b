/* AVX-512 in software, for machines without it: this header is included in front of src/kernels/kernels_avx512.c
 * (compiler option -include), puts SIMDe's portable implementations in place of the intrinsics, and keeps the real
 * <immintrin.h> out. What SIMDe does not have is written below, lane by lane. */
#ifndef SG_TESTS_SIMDE_AVX512_H
#define SG_TESTS_SIMDE_AVX512_H

#include <math.h>
#include <stdint.h>

#define SIMDE_ENABLE_NATIVE_ALIASES
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wconversion"
#pragma GCC diagnostic ignored "-Wshadow"
#include <simde/x86/avx512.h>
#pragma GCC diagnostic pop
#define _IMMINTRIN_H_INCLUDED

float sg_f16_to_f32(uint16_t half);

/* TO result of LANES values of type IN, each turned by EXPRESSION of x. */
#define LANE_BY_LANE(name, argument, in, out, result, store, load, expression)                                       \
    static inline result name(argument a)                                                                            \
    {                                                                                                                \
        in from[16];                                                                                                 \
        out to[16];                                                                                                  \
        store(from, a);                                                                                              \
        for (int i = 0; i < 16; i++) {                                                                               \
            in x = from[i];                                                                                          \
            to[i] = (out)(expression);                                                                               \
        }                                                                                                            \
        return load(to);                                                                                             \
    }

LANE_BY_LANE(emulated_cvtps_epi32, simde__m512, float, int32_t, simde__m512i, simde_mm512_storeu_ps,
             simde_mm512_loadu_si512, rintf(x))
LANE_BY_LANE(emulated_cvtepi32_ps, simde__m512i, int32_t, float, simde__m512, simde_mm512_storeu_si512,
             simde_mm512_loadu_ps, x)
LANE_BY_LANE(emulated_cvtepi8_epi32, simde__m128i, int8_t, int32_t, simde__m512i, simde_mm_storeu_si128,
             simde_mm512_loadu_si512, x)
LANE_BY_LANE(emulated_cvtepu8_epi32, simde__m128i, uint8_t, int32_t, simde__m512i, simde_mm_storeu_si128,
             simde_mm512_loadu_si512, x)
LANE_BY_LANE(emulated_cvtepu16_epi32, simde__m256i, uint16_t, int32_t, simde__m512i, simde_mm256_storeu_si256,
             simde_mm512_loadu_si512, x)
LANE_BY_LANE(emulated_cvtph_ps, simde__m256i, uint16_t, float, simde__m512, simde_mm256_storeu_si256,
             simde_mm512_loadu_ps, sg_f16_to_f32(x))
LANE_BY_LANE(emulated_cvtsepi32_epi8, simde__m512i, int32_t, int8_t, simde__m128i, simde_mm512_storeu_si512,
             simde_mm_loadu_si128,
             x > 127    ? 127
             : x < -128 ? -128
                        : x)

#undef _mm512_cvtps_epi32
#undef _mm512_cvtepi32_ps
#undef _mm512_cvtepi8_epi32
#undef _mm512_cvtepu8_epi32
#undef _mm512_cvtepu16_epi32
#undef _mm512_cvtph_ps
#undef _mm512_cvtsepi32_epi8
#define _mm512_cvtps_epi32 emulated_cvtps_epi32
#define _mm512_cvtepi32_ps emulated_cvtepi32_ps
#define _mm512_cvtepi8_epi32 emulated_cvtepi8_epi32
#define _mm512_cvtepu8_epi32 emulated_cvtepu8_epi32
#define _mm512_cvtepu16_epi32 emulated_cvtepu16_epi32
#define _mm512_cvtph_ps emulated_cvtph_ps
#define _mm512_cvtsepi32_epi8 emulated_cvtsepi32_epi8

#endif
