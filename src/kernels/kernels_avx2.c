/* AVX2, FMA and F16C; compiled a second time with AVX-VNNI. The int8 kernels hold the 8 weight vectors of a block for
 * 8 rows in registers and go over all rows of activations with them, so that weights are decoded once for each block.
 */
#include "kernels/kernels.h"

#include <math.h>
#include <string.h>

#include "kernels/vec_avx2.h"

static inline __m256i broadcast4(const int8_t *q)
{
    int32_t four;
    memcpy(&four, q, 4);
    return _mm256_set1_epi32(four);
}

#ifdef __AVXVNNI__
/* vpdpbusd sums four products into 32 bits without saturation. Signed × signed: |w| as the unsigned operand, the sign
 * moved to x. */
static inline __m256i dot_q8(const __m256i w[8], const int8_t *q)
{
    __m256i sum = _mm256_setzero_si256();
    for (int g = 0; g < 8; g++)
        sum = _mm256_dpbusd_avx_epi32(sum, _mm256_abs_epi8(w[g]), _mm256_sign_epi8(broadcast4(q + 4 * g), w[g]));
    return sum;
}

/* Weights are doubled E2M1 values + 12. The 12 is taken out again with the sum of x. Two chains of four. */
static inline __m256i dot_mxfp4(const __m256i w[8], const int8_t *q, int32_t sum_of_x_times_12)
{
    __m256i a = _mm256_set1_epi32(-sum_of_x_times_12), b = _mm256_setzero_si256();
    for (int g = 0; g < 8; g += 2) {
        a = _mm256_dpbusd_avx_epi32(a, w[g], broadcast4(q + 4 * g));
        b = _mm256_dpbusd_avx_epi32(b, w[g + 1], broadcast4(q + 4 * g + 4));
    }
    return _mm256_add_epi32(a, b);
}
#else
/* Signed × signed: |w| as the unsigned operand, the sign moved to x. |w| ≤ 128 and |x| ≤ 127, so a pair stays
 * within 2 × 128 × 127 = 32,512 and the 16-bit sum does not saturate. */
static inline __m256i dot_q8(const __m256i w[8], const int8_t *q)
{
    __m256i ones = _mm256_set1_epi16(1), sum = _mm256_setzero_si256();
    for (int g = 0; g < 8; g++) {
        __m256i x = _mm256_sign_epi8(broadcast4(q + 4 * g), w[g]);
        sum = _mm256_add_epi32(sum, _mm256_madd_epi16(_mm256_maddubs_epi16(_mm256_abs_epi8(w[g]), x), ones));
    }
    return sum;
}

/* Weights are doubled E2M1 values + 12, 0 … 24: a pair stays within 2 × 24 × 127 = 6,096, so four may be added in
 * 16 bits. The 12 is taken out again with the sum of x. */
static inline __m256i dot_mxfp4(const __m256i w[8], const int8_t *q, int32_t sum_of_x_times_12)
{
    __m256i ones = _mm256_set1_epi16(1), halves[2];
    for (int part = 0; part < 2; part++) {
        const __m256i *v = w + 4 * part;
        const int8_t *x = q + 16 * part;
        __m256i a = _mm256_add_epi16(_mm256_maddubs_epi16(v[0], broadcast4(x)),
                                     _mm256_maddubs_epi16(v[1], broadcast4(x + 4)));
        __m256i b = _mm256_add_epi16(_mm256_maddubs_epi16(v[2], broadcast4(x + 8)),
                                     _mm256_maddubs_epi16(v[3], broadcast4(x + 12)));
        halves[part] = _mm256_madd_epi16(_mm256_add_epi16(a, b), ones);
    }
    return _mm256_sub_epi32(_mm256_add_epi32(halves[0], halves[1]), _mm256_set1_epi32(sum_of_x_times_12));
}
#endif

static inline __m256 accumulate(__m256i dot, __m256 scale, float d, __m256 sum)
{
    return _mm256_fmadd_ps(_mm256_cvtepi32_ps(dot), _mm256_mul_ps(scale, _mm256_set1_ps(d)), sum);
}

static inline void load_q8(const uint8_t *block, int half, __m256i w[8])
{
    for (int g = 0; g < 8; g++)
        w[g] = _mm256_load_si256((const __m256i *)(block + 64 * g + 32 * half));
}

static inline void decode_mxfp4(const uint8_t *block, int half, __m256i w[8])
{
    const __m256i values =
        _mm256_broadcastsi128_si256(_mm_setr_epi8(12, 13, 14, 15, 16, 18, 20, 24, 12, 11, 10, 9, 8, 6, 4, 0));
    const __m256i low = _mm256_set1_epi8(15);
    for (int pair = 0; pair < 4; pair++) {
        __m256i codes = _mm256_load_si256((const __m256i *)(block + 64 * pair + 32 * half));
        w[2 * pair] = _mm256_shuffle_epi8(values, _mm256_and_si256(codes, low));
        w[2 * pair + 1] = _mm256_shuffle_epi8(values, _mm256_and_si256(_mm256_srli_epi16(codes, 4), low));
    }
}

static inline __m256 scale_q8(const uint8_t *scales, int half)
{
    return _mm256_cvtph_ps(_mm_load_si128((const __m128i *)(scales + 16 * half)));
}

static inline __m256 scale_mxfp4(const uint8_t *scales, int half)
{
    __m256i exponent = _mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *)(scales + 8 * half)));
    return _mm256_castsi256_ps(_mm256_slli_epi32(exponent, 23));
}

/* One row: the 16 sums stay in registers over all blocks. Several: they live in out. */
#define PANEL(name, block_bytes, scale_bytes, load, scale_of, DOT, factor)                                           \
    static void name(const uint8_t *panel, const struct sg_q8 *x, const int32_t *rows, int n_rows, float *out,       \
                     size_t out_stride)                                                                              \
    {                                                                                                                \
        const int n_blocks = x->n_blocks, all_rows = x->n_rows;                                                      \
        const int8_t *const x_q = x->q;                                                                              \
        const float *const x_d = x->d;                                                                               \
        const int32_t *const x_sum12 = x->sum12;                                                                     \
        (void)x_sum12;                                                                                               \
        const uint8_t *scales = panel + (size_t)n_blocks * (block_bytes);                                            \
        __m256i w[8];                                                                                                \
        if (n_rows == 1) {                                                                                           \
            __m256 sum0 = _mm256_setzero_ps(), sum1 = sum0;                                                          \
            size_t at = (size_t)(rows ? rows[0] : 0);                                                                \
            for (int b = 0; b < n_blocks; b++, at += (size_t)all_rows) {                                             \
                const int8_t *q = x_q + at * 32;                                                                     \
                const uint8_t *block = panel + (size_t)b * (block_bytes);                                            \
                const uint8_t *s = scales + (size_t)b * (scale_bytes);                                               \
                load(block, 0, w);                                                                                   \
                sum0 = accumulate(DOT, scale_of(s, 0), x_d[at] * (factor), sum0);                                    \
                load(block, 1, w);                                                                                   \
                sum1 = accumulate(DOT, scale_of(s, 1), x_d[at] * (factor), sum1);                                    \
            }                                                                                                        \
            _mm256_storeu_ps(out, sum0);                                                                             \
            _mm256_storeu_ps(out + 8, sum1);                                                                         \
            return;                                                                                                  \
        }                                                                                                            \
        for (int i = 0; i < n_rows; i++)                                                                             \
            memset(out + (size_t)i * out_stride, 0, 16 * sizeof *out);                                               \
        for (int b = 0; b < n_blocks; b++) {                                                                         \
            for (int half = 0; half < 2; half++) {                                                                   \
                load(panel + (size_t)b * (block_bytes), half, w);                                                    \
                __m256 scale = scale_of(scales + (size_t)b * (scale_bytes), half);                                   \
                for (int i = 0; i < n_rows; i++) {                                                                   \
                    size_t at = (size_t)b * (size_t)all_rows + (size_t)(rows ? rows[i] : i);                         \
                    const int8_t *q = x_q + at * 32;                                                                 \
                    float *to = out + (size_t)i * out_stride + 8 * half;                                             \
                    _mm256_storeu_ps(to, accumulate(DOT, scale, x_d[at] * (factor), _mm256_loadu_ps(to)));           \
                }                                                                                                    \
            }                                                                                                        \
        }                                                                                                            \
    }

PANEL(panel_q8, 512, 32, load_q8, scale_q8, dot_q8(w, q), 1.0f)
PANEL(panel_mxfp4, 256, 16, decode_mxfp4, scale_mxfp4, dot_mxfp4(w, q, x_sum12[at]), 0.5f)

#include "kernels/kernel_body.h"

#ifdef __AVXVNNI__
const struct sg_kernels sg_kernels_avxvnni = KERNEL_TABLE("avxvnni");
#else
const struct sg_kernels sg_kernels_avx2 = KERNEL_TABLE("avx2");
#endif
