/* The portable kernels: the specification, and what runs where no faster table exists. */
#include "kernels/kernels.h"

#include <string.h>

#include "kernels/vec_scalar.h"

/* Q8 block: w [8 vectors][16 rows][4 columns]; x [32]. */
static void panel_q8(const uint8_t *panel, const struct sg_q8 *x, const int32_t *rows, int n_rows, float *out,
                     size_t out_stride)
{
    const uint8_t *scales = panel + (size_t)x->n_blocks * 512;
    for (int i = 0; i < n_rows; i++) {
        float sums[16] = {0};
        for (int b = 0; b < x->n_blocks; b++) {
            size_t at = (size_t)b * (size_t)x->n_rows + (size_t)(rows ? rows[i] : i);
            const int8_t *w = (const int8_t *)panel + (size_t)b * 512, *q = x->q + at * 32;
            for (int r = 0; r < 16; r++) {
                int32_t dot = 0;
                for (int k = 0; k < 32; k++)
                    dot += w[k / 4 * 64 + r * 4 + k % 4] * q[k];
                uint16_t half;
                memcpy(&half, scales + (size_t)b * 32 + (size_t)r * 2, 2);
                sums[r] = fmaf((float)dot, sg_f16_to_f32(half) * x->d[at], sums[r]);
            }
        }
        memcpy(out + (size_t)i * out_stride, sums, sizeof sums);
    }
}

/* Codes are doubled E2M1 values, so the scale is halved: 2^(s - 127) / 2. s = 0 counts as 0, not 2^-128. */
static void panel_mxfp4(const uint8_t *panel, const struct sg_q8 *x, const int32_t *rows, int n_rows, float *out,
                        size_t out_stride)
{
    static const int8_t doubled[16] = {0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12};
    const uint8_t *scales = panel + (size_t)x->n_blocks * 256;
    for (int i = 0; i < n_rows; i++) {
        float sums[16] = {0};
        for (int b = 0; b < x->n_blocks; b++) {
            size_t at = (size_t)b * (size_t)x->n_rows + (size_t)(rows ? rows[i] : i);
            const uint8_t *codes = panel + (size_t)b * 256;
            const int8_t *q = x->q + at * 32;
            for (int r = 0; r < 16; r++) {
                int32_t dot = 0;
                for (int k = 0; k < 32; k++) {
                    uint8_t pair = codes[k / 8 * 64 + r * 4 + k % 4];
                    dot += doubled[k / 4 % 2 ? pair >> 4 : pair & 15] * q[k];
                }
                uint32_t bits = (uint32_t)scales[(size_t)b * 16 + (size_t)r] << 23;
                float scale;
                memcpy(&scale, &bits, 4);
                sums[r] = fmaf((float)dot, scale * (x->d[at] * 0.5f), sums[r]);
            }
        }
        memcpy(out + (size_t)i * out_stride, sums, sizeof sums);
    }
}

#include "kernels/kernel_body.h"

const struct sg_kernels sg_kernels_scalar = KERNEL_TABLE("scalar");
