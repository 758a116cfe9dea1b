/* AVX-512 (F, BW, VL, DQ) with VNNI: one 512-bit vector holds 4 columns of all 16 rows of a panel, and vpdpbusd sums
 * the four products into 32 bits without saturation. */
#include "kernels/kernels.h"

#include <math.h>
#include <string.h>

#include "kernels/vec_avx512.h"

static inline __m512i broadcast4(const int8_t *q)
{
    int32_t four;
    memcpy(&four, q, 4);
    return _mm512_set1_epi32(four);
}

/* Weights are unsigned with an offset, which is taken out again with the sum of x. Two chains of four. */
static inline __m512i dot_block(const __m512i w[8], const int8_t *q, int32_t offset)
{
    __m512i a = _mm512_set1_epi32(-offset), b = _mm512_setzero_si512();
    for (int g = 0; g < 8; g += 2) {
        a = _mm512_dpbusd_epi32(a, w[g], broadcast4(q + 4 * g));
        b = _mm512_dpbusd_epi32(b, w[g + 1], broadcast4(q + 4 * g + 4));
    }
    return _mm512_add_epi32(a, b);
}

static inline __m512 accumulate(__m512i dot, __m512 scale, float d, __m512 sum)
{
    return _mm512_fmadd_ps(_mm512_cvtepi32_ps(dot), _mm512_mul_ps(scale, _mm512_set1_ps(d)), sum);
}

/* int8 + 128 */
static inline void load_q8(const uint8_t *block, __m512i w[8])
{
    const __m512i flip = _mm512_set1_epi8((char)0x80);
    for (int g = 0; g < 8; g++)
        w[g] = _mm512_xor_si512(_mm512_load_si512(block + 64 * g), flip);
}

/* doubled E2M1 values + 12 */
static inline void decode_mxfp4(const uint8_t *block, __m512i w[8])
{
    const __m512i values =
        _mm512_broadcast_i32x4(_mm_setr_epi8(12, 13, 14, 15, 16, 18, 20, 24, 12, 11, 10, 9, 8, 6, 4, 0));
    const __m512i low = _mm512_set1_epi8(15);
    for (int pair = 0; pair < 4; pair++) {
        __m512i codes = _mm512_load_si512(block + 64 * pair);
        w[2 * pair] = _mm512_shuffle_epi8(values, _mm512_and_si512(codes, low));
        w[2 * pair + 1] = _mm512_shuffle_epi8(values, _mm512_and_si512(_mm512_srli_epi16(codes, 4), low));
    }
}

static inline __m512 scale_q8(const uint8_t *scales)
{
    return _mm512_cvtph_ps(_mm256_load_si256((const __m256i *)scales));
}

static inline __m512 scale_mxfp4(const uint8_t *scales)
{
    __m512i exponent = _mm512_cvtepu8_epi32(_mm_load_si128((const __m128i *)scales));
    return _mm512_castsi512_ps(_mm512_slli_epi32(exponent, 23));
}

#define PANEL(name, block_bytes, scale_bytes, load, scale_of, offset, factor)                                        \
    static void name(const uint8_t *panel, const struct sg_q8 *x, const int32_t *rows, int n_rows, float *out,       \
                     size_t out_stride)                                                                              \
    {                                                                                                                \
        int n_blocks = x->n_blocks;                                                                                  \
        const uint8_t *scales = panel + (size_t)n_blocks * (block_bytes);                                            \
        __m512i w[8];                                                                                                \
        if (n_rows == 1) {                                                                                           \
            __m512 sum = _mm512_setzero_ps();                                                                        \
            size_t at = (size_t)(rows ? rows[0] : 0);                                                                \
            for (int b = 0; b < n_blocks; b++, at += (size_t)x->n_rows) {                                            \
                load(panel + (size_t)b * (block_bytes), w);                                                          \
                __m512i dot = dot_block(w, x->q + at * 32, offset);                                                  \
                sum = accumulate(dot, scale_of(scales + (size_t)b * (scale_bytes)), x->d[at] * (factor), sum);       \
            }                                                                                                        \
            _mm512_storeu_ps(out, sum);                                                                              \
            return;                                                                                                  \
        }                                                                                                            \
        for (int i = 0; i < n_rows; i++)                                                                             \
            _mm512_storeu_ps(out + (size_t)i * out_stride, _mm512_setzero_ps());                                     \
        for (int b = 0; b < n_blocks; b++) {                                                                         \
            load(panel + (size_t)b * (block_bytes), w);                                                              \
            __m512 scale = scale_of(scales + (size_t)b * (scale_bytes));                                             \
            for (int i = 0; i < n_rows; i++) {                                                                       \
                size_t at = (size_t)b * (size_t)x->n_rows + (size_t)(rows ? rows[i] : i);                            \
                float *to = out + (size_t)i * out_stride;                                                            \
                __m512i dot = dot_block(w, x->q + at * 32, offset);                                                  \
                _mm512_storeu_ps(to, accumulate(dot, scale, x->d[at] * (factor), _mm512_loadu_ps(to)));              \
            }                                                                                                        \
        }                                                                                                            \
    }

PANEL(panel_q8, 512, 32, load_q8, scale_q8, 128 * x->sum[at], 1.0f)
PANEL(panel_mxfp4, 256, 16, decode_mxfp4, scale_mxfp4, x->sum12[at], 0.5f)

#include "kernels/kernel_body.h"

const struct sg_kernels sg_kernels_avx512 = KERNEL_TABLE("avx512");
