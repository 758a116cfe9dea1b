/* The arithmetic of the forward pass, one table of functions for each instruction set.
 *
 * Every output value is reduced in one fixed order that depends neither on the number of rows in a call, nor on
 * threads, nor on the instruction set:
 *   - f32 dot products run in 16 lanes (element k goes to lane k % 16) with fused multiply-add, and the lanes are
 *     summed as a fixed tree;
 *   - int8 dot products are exact integers within a block of 32, and the blocks are added in order, one fused
 *     multiply-add each;
 *   - attention scores run over the head dimension in order, values over the positions in order.
 * The scalar table is the specification; tests/kernels compares every other with it, bit for bit.
 *
 * Panels. A matrix for the int8 kernels is stored in panels of 16 rows: a block of 32 columns holds the vectors
 * g = 0 … 7, each with columns 4g … 4g + 3 of all 16 rows, row after row (64 bytes). A panel is
 *   Q8    n_blocks × 512 bytes of int8, then n_blocks × 16 f16 scales
 *   MXFP4 n_blocks × 256 bytes of codes (low nibbles: vectors 0, 2, 4, 6; high: 1, 3, 5, 7 of each pair),
 *         then n_blocks × 16 E8M0 scale bytes
 * and starts on 64 bytes. */
#ifndef SG_KERNELS_KERNELS_H
#define SG_KERNELS_KERNELS_H

#include "weights/weights.h"

#include <stddef.h>
#include <stdint.h>

#define SG_PANEL_ROWS 16
#define SG_BLOCK 32 /* columns that share a scale; also positions in a KV block */

/* Activations as int8, for n_rows rows of n_blocks blocks, block-major so that all rows of a block lie together:
 *   q   [n_blocks][n_rows][32] int8
 *   d   [n_blocks][n_rows]     scale: x ≈ d q, d = max |x| / 127 over the block
 *   sum [n_blocks][n_rows]     sum of q over the block; sum12 is 12 times that: kernels that need unsigned weights
 * add 128 (int8) or 12 (doubled E2M1) to them and take it out with these */
struct sg_q8 {
    int8_t *q;
    float *d;
    int32_t *sum, *sum12;
    int n_rows, n_blocks;
};

struct sg_kernels {
    const char *name;

    /* out[i * out_stride] = w · x[rows[i]] for i < n_rows; w [n] f32, x [.., n] f32; rows NULL: 0 … n_rows - 1. */
    void (*dot)(const float *w, int n, const float *x, const int32_t *rows, int n_rows, float *out,
                size_t out_stride);

    /* Whole blocks of any number type to f32; the same bits as sg_dequant. scales only for SG_MXFP4_ST. */
    void (*dequant)(enum sg_dtype dtype, const void *src, const uint8_t *scales, int n, float *out);

    /* Row `row` of x, from x [32 n_blocks] f32. */
    void (*quantize)(const float *x, const struct sg_q8 *out, int row);

    /* 16 outputs for each row: out[i * out_stride + r] = sum over the blocks in order of (scale_r d) isum. */
    void (*panel_q8)(const uint8_t *panel, const struct sg_q8 *x, const int32_t *rows, int n_rows, float *out,
                     size_t out_stride);
    void (*panel_mxfp4)(const uint8_t *panel, const struct sg_q8 *x, const int32_t *rows, int n_rows, float *out,
                        size_t out_stride);

    /* out = x / sqrt(mean(x²) + eps) * scale; may be in place. */
    void (*rmsnorm)(const float *x, const float *scale, int n, float eps, float *out);

    /* gpt-oss: out = min(gate, 7) sigmoid(1.702 min(gate, 7)) (clamp(up, -7, 7) + 1). Source: model.py `swiglu`. */
    void (*swiglu_clamped)(const float *gate, const float *up, int n, float limit, float *out);
    /* llama: out = gate sigmoid(gate) up. */
    void (*swiglu)(const float *gate, const float *up, int n, float *out);

    /* Rotate pairs (i, i + half) of one head: o1 = x1 cos - x2 sin, o2 = x2 cos + x1 sin. */
    void (*rope)(float *head, const float *cos, const float *sin, int half);

    /* Scores of n_heads queries against a KV block's keys: out[h * out_stride + p], p < 32.
     *   q [n_heads, dim] f32, keys [dim, 32] f32 (position is the inner index) */
    void (*scores)(const float *q, int n_heads, int dim, const float *keys, float scale, float *out,
                   size_t out_stride);

    /* In place over s[first … end): s = exp(s - m) / (sum + exp(sink - m)), m the largest of all. The sum runs in
     * 16 lanes by position; s must have room for whole groups of 16 around the range, which it overwrites.
     * sink: -INFINITY for none. */
    void (*softmax)(float *s, int first, int end, float sink);

    /* out[h, d] += sum over p in [first, end) in order of weights[h * stride + p] values[p, d].
     *   values [32, dim] f32, out [n_heads, dim] */
    void (*mix)(const float *weights, size_t stride, int n_heads, int dim, const float *values, int first, int end,
                float *out);

    /* x += a y */
    void (*add_scaled)(float *x, const float *y, float a, int n);
};

/* The table for this machine: the best that the processor has, or what SG_CPU names (scalar, avx2, avxvnni, avx512).
 * SG_EINVALID when SG_CPU names a level that is unknown or that the processor lacks. */
SG_MUST_CHECK enum sg_status sg_kernels_select(const struct sg_kernels **kernels_out, struct sg_error *err);

/* Every table that this processor can run, scalar first, NULL-terminated: for tests. */
const struct sg_kernels *const *sg_kernels_all(void);

/* Bytes of a panel, a multiple of 64. */
size_t sg_panel_q8_bytes(int n_blocks);
size_t sg_panel_mxfp4_bytes(int n_blocks);

/* Fill a panel from 16 rows of a file (NULL rows become zeros). dtype: SG_MXFP4, SG_MXFP4_T4 or SG_MXFP4_ST (the
 * last with scales); SG_Q8_0 blocks for pack_q8. */
void sg_pack_mxfp4(enum sg_dtype dtype, const uint8_t *const rows[SG_PANEL_ROWS],
                   const uint8_t *const scales[SG_PANEL_ROWS], int n_blocks, uint8_t *panel);
void sg_pack_q8(const uint8_t *const rows[SG_PANEL_ROWS], int n_blocks, uint8_t *panel);
/* Quantise one row [32 n_blocks] to int8 per 32 with an f16 scale and put it in its place of a zeroed panel. */
void sg_pack_q8_from_f32(const float *values, int row, int n_blocks, uint8_t *panel);

extern const struct sg_kernels sg_kernels_scalar;
extern const struct sg_kernels sg_kernels_avx2;
extern const struct sg_kernels sg_kernels_avxvnni;
extern const struct sg_kernels sg_kernels_avx512;

#endif
