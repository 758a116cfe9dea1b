/* vpdpbusd in software, for machines without AVX-VNNI: this header is included in front of src/kernels/kernels_avx2.c
 * (compiler option -include), whose other instructions run as they are. */
#ifndef SG_TESTS_SOFTWARE_AVXVNNI_H
#define SG_TESTS_SOFTWARE_AVXVNNI_H

#include <immintrin.h>
#include <stdint.h>

#define __AVXVNNI__ 1

/* Lane by lane as the manual has it: four products of an unsigned and a signed byte, summed in 32 bits. */
static inline __m256i software_dpbusd(__m256i sum, __m256i unsigned_bytes, __m256i signed_bytes)
{
    int32_t sums[8];
    uint8_t a[32];
    int8_t b[32];
    _mm256_storeu_si256((__m256i *)sums, sum);
    _mm256_storeu_si256((__m256i *)a, unsigned_bytes);
    _mm256_storeu_si256((__m256i *)b, signed_bytes);
    for (int i = 0; i < 32; i++)
        sums[i / 4] += a[i] * b[i];
    return _mm256_loadu_si256((const __m256i *)sums);
}
#define _mm256_dpbusd_avx_epi32 software_dpbusd

#endif
