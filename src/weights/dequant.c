/* Blocks of weights → f32: the specification that every kernel is compared with.
 *
 * Block layouts and the order of operations are those of ggml (ggml-common.h, ggml-quants.c `dequantize_row_*`);
 * MXFP4 is the OCP Microscaling format, with element order as in weights.h. All arithmetic is f32, one rounding
 * for each product and each sum, so the values are ggml's own, but for the sign of MXFP4's code 8: it is −0 here
 * as in the OCP specification, 0 in ggml. */
#include "weights/weights.h"

#include <assert.h>

static uint16_t load_u16(const uint8_t *at)
{
    return (uint16_t)(at[0] | at[1] << 8);
}

static uint32_t load_u32(const uint8_t *at)
{
    return (uint32_t)at[0] | (uint32_t)at[1] << 8 | (uint32_t)at[2] << 16 | (uint32_t)at[3] << 24;
}

static float load_f16(const uint8_t *at)
{
    return sg_f16_to_f32(load_u16(at));
}

static float bits_to_f32(uint32_t bits)
{
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static uint32_t f32_to_bits(float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

float sg_f16_to_f32(uint16_t half)
{
    uint32_t sign = (uint32_t)(half & 0x8000) << 16;
    uint32_t exponent = half >> 10 & 31, mantissa = half & 1023;
    if (exponent == 31) /* infinity; NaN keeps its payload and becomes quiet, as the processor's own conversion */
        return bits_to_f32(sign | 0x7f800000 | mantissa << 13 | (mantissa ? 0x400000 : 0));
    if (exponent == 0) { /* mantissa × 2^-24, exact */
        float value = (float)mantissa * 0x1p-24f;
        return sign ? -value : value;
    }
    return bits_to_f32(sign | (exponent + 112) << 23 | mantissa << 13);
}

uint16_t sg_f32_to_f16(float value)
{
    uint32_t bits = f32_to_bits(value), magnitude = bits & 0x7fffffff;
    uint16_t sign = (uint16_t)(bits >> 16 & 0x8000);
    if (magnitude > 0x7f800000)
        return (uint16_t)(sign | 0x7e00 | (magnitude >> 13 & 0x3ff));
    if (magnitude >= 0x477ff000) /* 65520: halfway between the largest half and 2^16, rounds to infinity */
        return sign | 0x7c00;
    if (magnitude < 0x38800000) { /* below 2^-14: a multiple of 2^-24. Adding 0.5 puts that unit in the last place
                                     of the sum, so the addition itself rounds to nearest even. */
        uint32_t sum = f32_to_bits(bits_to_f32(magnitude) + 0.5f);
        return (uint16_t)(sign | (sum - 0x3f000000));
    }
    uint32_t odd = magnitude >> 13 & 1;
    return (uint16_t)(sign | ((magnitude - 0x38000000 + 0xfff + odd) >> 13));
}

uint16_t sg_f32_to_bf16(float value)
{
    uint32_t bits = f32_to_bits(value);
    if ((bits & 0x7fffffff) > 0x7f800000)
        return (uint16_t)(bits >> 16 | 64);
    return (uint16_t)((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

/* E8M0: 2^(byte - 127), exact also for byte 0, which is a subnormal f32. Byte 255 is NaN. */
static float e8m0(uint8_t byte)
{
    if (byte == 255)
        return bits_to_f32(0x7fc00000);
    return bits_to_f32(byte == 0 ? 0x00400000 : (uint32_t)byte << 23);
}

static const float fp4_values[16] = {0.0f,  0.5f,  1.0f,  1.5f,  2.0f,  3.0f,  4.0f,  6.0f,
                                     -0.0f, -0.5f, -1.0f, -1.5f, -2.0f, -3.0f, -4.0f, -6.0f};

/* Codes in halves: element i is the low nibble of byte i, element i + 16 the high one. */
static void mxfp4_halves(const uint8_t *codes, float scale, float *out)
{
    for (int i = 0; i < 16; i++) {
        out[i] = fp4_values[codes[i] & 15] * scale;
        out[i + 16] = fp4_values[codes[i] >> 4] * scale;
    }
}

/* Codes in pairs: byte i holds elements 2i (low nibble) and 2i + 1. */
static void mxfp4_pairs(const uint8_t *codes, float scale, float *out)
{
    for (int i = 0; i < 16; i++) {
        out[2 * i] = fp4_values[codes[i] & 15] * scale;
        out[2 * i + 1] = fp4_values[codes[i] >> 4] * scale;
    }
}

static void q8_0(const uint8_t *block, float *out)
{
    float scale = load_f16(block);
    for (int i = 0; i < 32; i++)
        out[i] = (float)(int8_t)block[2 + i] * scale;
}

/* The four types of 32 values with 4 bits in halves and perhaps a fifth bit: value = (code + offset) scale + min.
 * Types without a minimum pass −0, the one value that adds nothing to −0 either. */
static void q4_or_q5(const uint8_t *nibbles, uint32_t fifth_bits, int offset, float scale, float min, float *out)
{
    for (int i = 0; i < 16; i++) {
        int low = (nibbles[i] & 15) | (int)(fifth_bits >> i & 1) << 4;
        int high = nibbles[i] >> 4 | (int)(fifth_bits >> (i + 16) & 1) << 4;
        out[i] = (float)(low + offset) * scale + min;
        out[i + 16] = (float)(high + offset) * scale + min;
    }
}

static void iq4_nl(const uint8_t *block, float *out)
{
    static const int8_t levels[16] = {-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113};
    float scale = load_f16(block);
    for (int i = 0; i < 16; i++) {
        out[i] = scale * (float)levels[block[2 + i] & 15];
        out[i + 16] = scale * (float)levels[block[2 + i] >> 4];
    }
}

/* Scale and minimum of group j (0 … 7) of a Q4_K or Q5_K block: 6 bits each, packed in 12 bytes. Groups 0 – 3 lie
 * in the low 6 bits of bytes 0 – 3 and 4 – 7; of the others the low 4 bits share bytes 8 – 11 and the high 2 bits
 * are the top of bytes 0 – 7. */
static void k_scale_min(const uint8_t *packed, int j, int *scale_out, int *min_out)
{
    if (j < 4) {
        *scale_out = packed[j] & 63;
        *min_out = packed[j + 4] & 63;
    } else {
        *scale_out = (packed[j + 4] & 15) | packed[j - 4] >> 6 << 4;
        *min_out = packed[j + 4] >> 4 | packed[j] >> 6 << 4;
    }
}

/* Q4_K: d, dmin (f16), 12 bytes of scales, 128 bytes of nibbles. Q5_K has 32 bytes of fifth bits before the nibbles:
 * bit j of byte i belongs to value i of group j. Groups 2p and 2p + 1 are the low and high nibbles of the same
 * 32 bytes. */
static void q4_k_or_q5_k(const uint8_t *block, const uint8_t *fifth_bits, const uint8_t *nibbles, float *out)
{
    float d = load_f16(block), dmin = load_f16(block + 2);
    for (int j = 0; j < 8; j++) {
        int group_scale, group_min;
        k_scale_min(block + 4, j, &group_scale, &group_min);
        float scale = d * (float)group_scale, min = dmin * (float)group_min;
        const uint8_t *bytes = nibbles + 32 * (j / 2);
        for (int i = 0; i < 32; i++) {
            int code = j % 2 ? bytes[i] >> 4 : bytes[i] & 15;
            if (fifth_bits)
                code |= (fifth_bits[i] >> j & 1) << 4;
            out[32 * j + i] = scale * (float)code - min;
        }
    }
}

/* Q6_K: 128 bytes of low nibbles, 64 of upper bit pairs, 16 int8 scales (one for 16 values), d (f16). Each half of
 * 128 values has 64 nibble bytes and 32 bytes of pairs; its quarter k of 32 values takes the low (k < 2) or high
 * nibbles of bytes 32 (k % 2) … and bits 2k, 2k + 1 of the pairs. */
static void q6_k(const uint8_t *block, float *out)
{
    float d = load_f16(block + 208);
    for (int half = 0; half < 2; half++) {
        const uint8_t *pairs = block + 128 + 32 * half;
        const uint8_t *scales = block + 192 + 8 * half;
        for (int k = 0; k < 4; k++) {
            const uint8_t *nibbles = block + 64 * half + 32 * (k % 2);
            for (int i = 0; i < 32; i++) {
                int low = k < 2 ? nibbles[i] & 15 : nibbles[i] >> 4;
                int code = (low | (pairs[i] >> (2 * k) & 3) << 4) - 32;
                float scale = d * (float)(int8_t)scales[2 * k + i / 16];
                out[128 * half + 32 * k + i] = scale * (float)code;
            }
        }
    }
}

static void dequant_block(enum sg_dtype dtype, const uint8_t *block, const uint8_t *scale, float *out)
{
    switch (dtype) {
    case SG_F32:
        *out = bits_to_f32(load_u32(block));
        break;
    case SG_F16:
        *out = load_f16(block);
        break;
    case SG_BF16:
        *out = sg_bf16_to_f32(load_u16(block));
        break;
    case SG_Q8_0:
        q8_0(block, out);
        break;
    case SG_MXFP4:
        mxfp4_halves(block + 1, e8m0(block[0]), out);
        break;
    case SG_MXFP4_T4:
        mxfp4_pairs(block + 1, e8m0(block[0]), out);
        break;
    case SG_MXFP4_ST:
        mxfp4_pairs(block, e8m0(*scale), out);
        break;
    case SG_Q4_0:
        q4_or_q5(block + 2, 0, -8, load_f16(block), -0.0f, out);
        break;
    case SG_Q4_1:
        q4_or_q5(block + 4, 0, 0, load_f16(block), load_f16(block + 2), out);
        break;
    case SG_Q5_0:
        q4_or_q5(block + 6, load_u32(block + 2), -16, load_f16(block), -0.0f, out);
        break;
    case SG_Q5_1:
        q4_or_q5(block + 8, load_u32(block + 4), 0, load_f16(block), load_f16(block + 2), out);
        break;
    case SG_IQ4_NL:
        iq4_nl(block, out);
        break;
    case SG_Q4_K:
        q4_k_or_q5_k(block, NULL, block + 16, out);
        break;
    case SG_Q5_K:
        q4_k_or_q5_k(block, block + 16, block + 48, out);
        break;
    case SG_Q6_K:
        q6_k(block, out);
        break;
    case SG_U8: /* not numbers: weights.h forbids the call */
    case SG_DTYPE_COUNT:
        assert(false);
        break;
    }
}

void sg_dequant(enum sg_dtype dtype, const void *src, const uint8_t *scales, int64_t n, float *out)
{
    int values = sg_dtype_block_values(dtype), bytes = sg_dtype_block_bytes(dtype);
    const uint8_t *block = src;
    for (int64_t i = 0; i < n; i += values, block += bytes)
        dequant_block(dtype, block, scales ? scales + i / values : NULL, out + i);
}

void sg_dequant_row(const struct sg_tensor *tensor, int64_t row, float *out)
{
    int64_t columns = tensor->shape[tensor->n_dims - 1];
    const uint8_t *data = (const uint8_t *)tensor->data + (uint64_t)row * sg_tensor_row_bytes(tensor);
    const uint8_t *scales = tensor->scales ? tensor->scales + row * (columns / 32) : NULL;
    sg_dequant(tensor->dtype, data, scales, columns, out);
}
